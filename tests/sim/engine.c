/* tests/sim/engine.c - see engine.h: the outside of a backend, and its loop.
 *
 * SPDX-License-Identifier: ISC
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine_state.h"

#define SMALL_MESSAGE 10000u
#define LARGE_MESSAGE 0x3ffffffeu

struct engine *engine_new(const struct engine_conf *conf, const struct engine_env *env)
{
	struct engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->conf = *conf;
	e->env = *env;
	e->crdb = conf->dialect == DIALECT_CRDB;
	e->temps = mem_grow(NULL, sizeof(*e->temps));
	*e->temps = (struct temps){ 1, 0, NULL };
	(void)snprintf(e->version, sizeof(e->version),
		       e->crdb ? "CockroachDB OSS v21.2.0-alpha (simulated)" :
				 "PostgreSQL %u.%u (simulated)",
		       conf->version / 10000, conf->version % 10000);
	settings_init(e);
	return e;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	e->out.len = 0; /* nobody hears it */
	engine_close(e);
	prepared_drop_all(e);
	prepared_drop(e, "");
	settings_free(e);
	temps_drop(e->temps);
	while (e->notices) {
		struct notice *n = e->notices;

		e->notices = n->next;
		free(n->channel);
		free(n->payload);
		free(n);
	}
	free(e->listens);
	free(e->locks);
	free(e->marks);
	free(e->deeds);
	buf_free(&e->in);
	buf_free(&e->out);
	free(e);
}

/* ---- messages ---- */

/* 0: there is no such message. */
static size_t most_bytes(const struct engine *e, uint8_t type)
{
	if (e->task.copying)
		return type == 'd' ? LARGE_MESSAGE : strchr("cfHS", type) && type ? SMALL_MESSAGE : 0;
	if (e->crdb || (type && strchr("QFBPd", type)))
		return LARGE_MESSAGE;
	return type && strchr("XCDEHScf", type) ? SMALL_MESSAGE : 0;
}

static void bad_type(struct engine *e, uint8_t type)
{
	if (e->task.copying) {
		(void)fail(e, "08P01", "unexpected message type 0x%02X during COPY from stdin", type);
		(void)snprintf(e->context, sizeof(e->context), "COPY kv, line %llu",
			       (unsigned long long)e->task.run->count + 1);
		e->routine = "CopyGetData";
		out_error(e, "ERROR", &e->err);
		(void)fail(e, "08P01",
			   "terminating connection because protocol synchronization was lost");
	} else {
		(void)fail(e, "08P01", "invalid frontend message type %u", type);
	}
	e->err.fatal = true;
	engine_failed(e);
}

/* A message while COPY wants data. */
static void copy_message(struct engine *e, uint8_t type, const uint8_t *body, size_t n)
{
	struct get g = { e, body, body + n, false, false };
	const char *why;

	if (type == 'd') {
		buf_put(&e->copy.data, body, n);
	} else if (type == 'c') {
		e->copy.done = true;
	} else if (type == 'f') {
		why = get_str(&g);
		if (!g.told)
			(void)fail(e, g.bad ? "08P01" : e->crdb ? "XXUUU" : "57014",
				   g.bad   ? "invalid string in message%.0s" :
				   e->crdb ? "client canceled COPY%.0s" :
					     "COPY from stdin failed: %s", why);
		(void)snprintf(e->context, sizeof(e->context), "COPY kv, line %llu",
			       (unsigned long long)e->task.run->count + 1);
		e->routine = "CopyGetData";
		engine_failed(e);
		return;
	} else {
		return;
	}
	e->task.copying = false;
}

/* false: there is not a whole one. */
static bool next_message(struct engine *e)
{
	const uint8_t *p = e->in.p + e->in_at;
	size_t left = e->in.len - e->in_at, most;
	uint32_t n;

	if (!left)
		return false;
	most = most_bytes(e, p[0]);
	if (!most) {
		bad_type(e, p[0]);
		return false;
	}
	if (left < 5)
		return false;
	n = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	if (n < 4 || n > most) {
		e->out.len = 0; /* only its log hears why */
		engine_close(e);
		return false;
	}
	if (left < (size_t)n + 1)
		return false;
	e->in_at += (size_t)n + 1;
	if (e->task.copying)
		copy_message(e, p[0], p + 5, n - 4);
	else
		proto_message(e, p[0], p + 5, n - 4);
	return true;
}

static void tidy(struct engine *e)
{
	if (e->in_at && e->in_at == e->in.len) {
		e->in_at = e->in.len = 0;
	} else if (e->in_at > 65536) {
		memmove(e->in.p, e->in.p + e->in_at, e->in.len - e->in_at);
		e->in.len -= e->in_at;
		e->in_at = 0;
	}
}

/* In no transaction, and nothing is being done. */
static bool is_idle(const struct engine *e)
{
	return e->logged_in && !e->over && e->block == BLOCK_DEFAULT && e->task.kind == TASK_NONE;
}

static void go_on(struct engine *e)
{
	if (e->busy)
		return;
	e->busy = true;
	while (!e->over) {
		if (e->task.kind != TASK_NONE && !e->task.copying) {
			if (!task_step(e) && !e->task.copying)
				break;
			continue;
		}
		if (!next_message(e))
			break;
	}
	if (is_idle(e) && e->notices) {
		out_notices(e);
		out_flush(e);
	}
	tidy(e);
	e->busy = false;
}

void engine_input(struct engine *e, const uint8_t *p, size_t n)
{
	if (e->over)
		return;
	buf_put(&e->in, p, n);
	if (!e->task.waits)
		go_on(e);
}

void engine_resume(struct engine *e)
{
	if (!e->over && e->task.waits)
		go_on(e);
}

bool engine_waits(const struct engine *e)
{
	return !e->over && e->task.waits;
}

bool engine_at_rest(const struct engine *e)
{
	return is_idle(e) && !e->batch && !e->skip && e->in_at == e->in.len;
}

const char *engine_abort_code(const struct engine *e)
{
	return engine_status(e) == 'E' ? e->abort_code : "";
}

char engine_status(const struct engine *e)
{
	switch (e->block) {
	case BLOCK_DEFAULT:
	case BLOCK_STARTED:
		return 'I';
	case BLOCK_ABORT:
	case BLOCK_ABORT_END:
	case BLOCK_ABORT_PENDING:
		return 'E';
	case BLOCK_BEGIN:
	case BLOCK_INPROGRESS:
	case BLOCK_IMPLICIT:
	case BLOCK_END:
	case BLOCK_RESTART:
	case BLOCK_RELEASE:
	case BLOCK_DONE:
	default:
		return 'T';
	}
}

void engine_cancel(struct engine *e)
{
	if (e->over || !e->task.waits)
		return;
	e->busy = true;
	e->task.waits = false;
	(void)fail(e, "57014", e->crdb ? "query execution canceled" :
					  "canceling statement due to user request");
	engine_failed(e);
	e->busy = false;
	go_on(e);
}

void engine_end(struct engine *e, const struct engine_error *err)
{
	if (e->over)
		return;
	e->err = *err;
	(void)env_fail(e);
	e->err.fatal = true;
	engine_failed(e);
}

bool engine_over(const struct engine *e)
{
	return e->over;
}

void engine_notified(struct engine *e, uint32_t pid, const char *channel, const char *payload)
{
	struct notice **at = &e->notices;
	size_t i;

	for (i = 0; i < e->n_listens && strcmp(e->listens[i], channel) != 0; i++)
		;
	if (e->over || i == e->n_listens)
		return;
	while (*at)
		at = &(*at)->next;
	*at = mem_grow(NULL, sizeof(**at));
	**at = (struct notice){ NULL, pid, mem_copy(channel), mem_copy(payload) };
	if (!e->busy && is_idle(e)) {
		out_notices(e);
		out_flush(e);
	}
}

/* ---- login ---- */

static bool login_failed(struct engine *e)
{
	e->err.fatal = true;
	engine_failed(e);
	return false;
}

/* The next word of options, backslashes undone; NULL: none. Malloc'ed. */
static char *option_word(const char **at)
{
	char *w = mem_grow(NULL, strlen(*at) + 1);
	const char *s = *at;
	size_t n = 0;

	while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
		s++;
	if (!*s) {
		free(w);
		return NULL;
	}
	for (; *s && *s != ' ' && !(*s >= '\t' && *s <= '\r'); s++) {
		if (*s == '\\' && !*++s)
			break;
		w[n++] = *s;
	}
	w[n] = 0;
	*at = s;
	return w;
}

static bool set_option(struct engine *e, char *text)
{
	char *eq = strchr(text, '='), *p;

	if (!eq) {
		(void)fail(e, "42601", "-c %s requires a value", text);
		return login_failed(e);
	}
	*eq = 0;
	for (p = text; *p; p++)
		if (*p == '-')
			*p = '_';
	if (e->crdb)
		return crdb_startup(e, text, eq + 1) == GOT_DONE || login_failed(e);
	return settings_set(e, text, eq + 1, SET_STARTUP) == GOT_DONE || login_failed(e);
}

static bool set_options(struct engine *e, const char *options)
{
	bool ok = true;
	char *w;

	while (ok && (w = option_word(&options)) != NULL) {
		if (strcmp(w, "-c") == 0) {
			char *next = option_word(&options);

			ok = next && set_option(e, next);
			if (!next) {
				(void)fail(e, "42601", "invalid command-line argument for server "
						       "process: %s", w);
				ok = login_failed(e);
			}
			free(next);
		} else if (strncmp(w, "-c", 2) == 0 || strncmp(w, "--", 2) == 0) {
			ok = set_option(e, w + 2);
		} else {
			(void)fail(e, "42601", "invalid command-line argument for server process: %s",
				   w);
			ok = login_failed(e);
		}
		free(w);
	}
	return ok;
}

static bool is_special(const char *name)
{
	return strcmp(name, "user") == 0 || strcmp(name, "database") == 0 ||
	       strcmp(name, "options") == 0 || strcmp(name, "replication") == 0 ||
	       strncmp(name, "_pq_.", 5) == 0;
}

/* Is it made of names and values, with a user? Said before anything else. */
static bool well_formed(struct engine *e, const char *p, size_t n)
{
	const char *user = "";
	size_t at = 0, value;

	while (at < n && p[at]) {
		value = at + strlen(p + at) + 1;
		if (value >= n)
			break;
		if (strcmp(p + at, "user") == 0)
			user = p + value;
		at = value + strlen(p + value) + 1;
	}
	/* what the last byte is does not matter */
	if (at + 1 != n) {
		(void)fail(e, "08P01",
			   "invalid startup packet layout: expected terminator as last byte");
		return login_failed(e);
	}
	if (*user)
		return true;
	(void)fail(e, "28000", "no PostgreSQL user name specified in startup packet");
	return login_failed(e);
}

/* The user and options, whatever the order; then the other names. */
static bool apply(struct engine *e, const char *p, const char *end, bool options)
{
	while (*p && p < end) {
		const char *name = p, *value = p + strlen(p) + 1;

		if (value >= end)
			break;
		p = value + strlen(value) + 1;
		if (options && strcmp(name, "user") == 0)
			(void)settings_set(e, "session_authorization", value, SET_STARTUP);
		if (options && strcmp(name, "options") == 0 && !set_options(e, value))
			return false;
		if (options || is_special(name))
			continue;
		if ((e->crdb ? crdb_startup(e, name, value) :
			       settings_set(e, name, value, SET_STARTUP)) == GOT_FAIL)
			return login_failed(e);
	}
	return true;
}

void engine_login(struct engine *e, const uint8_t *params, size_t n)
{
	char *text;
	bool ok;

	if (e->over)
		return;
	text = mem_copy_n(params, n);
	if (!well_formed(e, text, n)) {
		free(text);
		return;
	}
	e->pid = e->env.pid(e->env.arg, &e->secret);
	out_begin(e, 'R');
	out_u32(e, 0);
	out_end(e);
	ok = apply(e, text, text + n, true) && apply(e, text, text + n, false);
	free(text);
	if (!ok)
		return;
	e->logged_in = true;
	if (e->crdb)
		crdb_login(e);
	else
		settings_report(e);
	out_begin(e, 'K');
	out_u32(e, e->pid);
	out_u32(e, e->secret);
	out_end(e);
	out_ready(e);
}

/* ---- looking in ---- */

const char *engine_setting(const struct engine *e, const char *name)
{
	return settings_get(e, name);
}

const char *engine_show(const struct engine *e, const char *name, char *out, size_t cap)
{
	int i = settings_find(e, name);

	return i < 0 || (unsigned)i >= guc_count() ? settings_get(e, name) :
		       guc_show(guc_at((unsigned)i), settings_value(e, i), out, cap);
}

unsigned engine_left(const struct engine *e)
{
	const struct prepared *p;
	const struct portal *q;
	unsigned left = 0;

	if (e->block != BLOCK_DEFAULT)
		left |= LEFT_TXN;
	for (p = e->prepared; p; p = p->next)
		if (p->from_sql)
			left |= LEFT_PREPARE;
	for (q = e->portals; q; q = q->next)
		if (q->hold)
			left |= LEFT_HOLD;
	if (e->n_listens)
		left |= LEFT_LISTEN;
	if (e->temps->n)
		left |= LEFT_TEMP;
	if (e->n_locks)
		left |= LEFT_LOCK;
	return left;
}

void engine_dump(const struct engine *e, void (*line)(void *arg, const char *text), void *arg)
{
	const struct prepared *p;
	const struct portal *q;
	char text[300];
	unsigned i;

	(void)snprintf(text, sizeof(text), "status %c marks %u left %u%s%s%s", engine_status(e),
		       e->n_marks, engine_left(e), e->skip ? " skip" : "",
		       e->batch ? " batch" : "", e->task.waits ? " waits" : "");
	line(arg, text);
	for (p = e->prepared; p; p = p->next) {
		(void)snprintf(text, sizeof(text), "statement \"%.100s\" params %u%s", p->name,
			       p->n_params, p->from_sql ? " sql" : "");
		line(arg, text);
	}
	for (q = e->portals; q; q = q->next) {
		(void)snprintf(text, sizeof(text), "portal \"%.100s\"%s", q->name,
			       q->held ? " held" : q->cursor ? " cursor" : "");
		line(arg, text);
	}
	for (i = 0; i < e->settings->n; i++) {
		const char *v = settings_value(e, (int)i);

		if (strcmp(v, e->reset[i]) == 0)
			continue;
		(void)snprintf(text, sizeof(text), "setting %.80s = %.180s",
			       settings_name(e, (int)i), v);
		line(arg, text);
	}
}
