/* proxy/console/admin.c - see admin.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/admin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf/version.h"
#include "console/rows.h"
#include "session/step.h"

typedef void show_fn(struct client *c, struct rows *r);

static uint64_t sum(const struct shared *sh, size_t offset)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < sh->hall_n; i++)
		n += atomic_load_explicit((const _Atomic uint64_t *)(const void *)((const char *)&sh->halls[i].stats +
									     offset),
					  memory_order_relaxed);
	return n;
}

static void config_row(void *arg, const char *key, const char *value, const char *def,
		       bool reloadable)
{
	struct rows *r = arg;

	rows_row(r);
	rows_text(r, key);
	rows_text(r, value);
	rows_text(r, def);
	rows_text(r, reloadable ? "yes" : "no");
	rows_end_row(r);
}

static void show_config(struct client *c, struct rows *r)
{
	static const char *const col[] = { "key", "value", "default", "changeable", NULL };

	rows_begin(r, col, NULL);
	conf_each(c->h->snap->conf, config_row, r);
}

static void show_version(struct client *c, struct rows *r)
{
	static const char *const col[] = { "version", NULL };

	(void)c;
	rows_begin(r, col, NULL);
	rows_row(r);
	rows_text(r, "pgweir " PGWEIR_VERSION);
	rows_end_row(r);
}

struct pool_sum {
	int cl, waiting, busy, idle, dialling, cleaning;
	uint64_t oldest;
};

static void pool_row(void *arg, struct hub *hub)
{
	struct rows *r = arg;
	struct pool_sum s = { 0 };
	uint64_t now = clock_mono_us(), wait;
	unsigned i;

	for (i = 0; i < hub->worker_n; i++) {
		struct hub_side *d = &hub->side[i];
		uint64_t t = atomic_load(&d->oldest);

		s.cl += atomic_load(&d->clients);
		s.waiting += atomic_load(&d->waiting);
		s.busy += atomic_load(&d->busy);
		s.idle += atomic_load(&d->idle);
		s.dialling += atomic_load(&d->dialling);
		s.cleaning += atomic_load(&d->cleaning);
		if (t && (!s.oldest || t < s.oldest))
			s.oldest = t;
	}
	wait = s.oldest && now > s.oldest ? now - s.oldest : 0;
	rows_row(r);
	rows_text(r, hub->db);
	rows_text(r, hub->user);
	rows_uint(r, (uint64_t)(s.cl - s.waiting));
	rows_uint(r, (uint64_t)s.waiting);
	rows_uint(r, (uint64_t)s.busy);
	rows_uint(r, (uint64_t)s.idle);
	rows_uint(r, (uint64_t)s.dialling);
	rows_uint(r, (uint64_t)s.cleaning);
	rows_uint(r, wait / 1000000);
	rows_uint(r, wait % 1000000);
	rows_uint(r, (uint64_t)atomic_load(&hub->limit.used));
	rows_uint(r, (uint64_t)atomic_load(&hub->limit.max));
	rows_uint(r, (uint64_t)atomic_load(&hub->pins.used));
	rows_uint(r, (uint64_t)atomic_load(&hub->pins.max));
	rows_end_row(r);
}

static void show_pools(struct client *c, struct rows *r)
{
	static const char *const col[] = { "database", "user",	   "cl_active", "cl_waiting",
					   "sv_active", "sv_idle", "sv_login",	"sv_cleaning",
					   "maxwait",	"maxwait_us", "sv_total", "pool_size",
					   "sv_pinned", "max_pinned", NULL };
	static const int type[] = { ROWS_TEXT, ROWS_TEXT, ROWS_INT8, ROWS_INT8,
				    ROWS_INT8, ROWS_INT8, ROWS_INT8, ROWS_INT8,
				    ROWS_INT8, ROWS_INT8, ROWS_INT8, ROWS_INT8,
				    ROWS_INT8, ROWS_INT8 };

	rows_begin(r, col, type);
	hubs_each(&c->h->sh->hubs, pool_row, r);
}

/* Has this target been shown in an entry before (d, i)? */
static bool seen_before(const struct snapshot *s, size_t d, size_t i, const struct target *t)
{
	size_t k, j;

	for (k = 0; k <= d; k++) {
		const struct snapshot_db *db = k < s->conf->db_n ? &s->dbs[k] : &s->fallback;

		for (j = 0; j < db->node_n && (k < d || j < i); j++)
			if (db->nodes[j].t == t)
				return true;
	}
	return false;
}

static void one_node_row(void *arg, struct target *t)
{
	struct rows *r = arg;

	rows_row(r);
	rows_text(r, t->addr.name);
	rows_text(r, target_shown(t));
	rows_text(r, target_role_name((enum target_role)atomic_load(&t->role)));
	rows_text(r, atomic_load(&t->read_only) ? "yes" : "no");
	rows_uint(r, (uint64_t)atomic_load(&t->conns));
	rows_uint(r, atomic_load(&t->probe_us));
	rows_uint(r, atomic_load(&t->fails_total));
	rows_uint(r, atomic_load(&t->lag_us));
	rows_uint(r, (uint64_t)atomic_load(&t->dialling));
	rows_end_row(r);
}

/* A name that has no address. */
static void missing_row(struct rows *r, const char *name)
{
	int i;

	rows_row(r);
	rows_text(r, name);
	rows_text(r, "unresolved");
	rows_text(r, target_role_name(ROLE_UNKNOWN));
	rows_text(r, "no");
	for (i = 0; i < 5; i++)
		rows_uint(r, 0);
	rows_end_row(r);
}

static bool missing_before(const struct snapshot *s, size_t d, size_t i, const char *name)
{
	size_t k, j;

	for (k = 0; k <= d; k++) {
		const struct snapshot_db *db = k < s->conf->db_n ? &s->dbs[k] : &s->fallback;

		for (j = 0; j < db->missing_n && (k < d || j < i); j++)
			if (strcmp(db->missing[j].host->name, name) == 0)
				return true;
	}
	return false;
}

static void missing_rows(const struct snapshot *s, struct rows *r)
{
	size_t d, i;

	for (d = 0; d <= s->conf->db_n; d++) {
		const struct snapshot_db *db = d < s->conf->db_n ? &s->dbs[d] : &s->fallback;

		for (i = 0; i < db->missing_n; i++)
			if (!missing_before(s, d, i, db->missing[i].host->name))
				missing_row(r, db->missing[i].host->name);
	}
}

/* Each target of the snapshot once. */
static void each_node(const struct snapshot *s, void (*fn)(void *arg, struct target *t), void *arg)
{
	size_t d, i;

	for (d = 0; d <= s->conf->db_n; d++) {
		const struct snapshot_db *db = d < s->conf->db_n ? &s->dbs[d] : &s->fallback;

		for (i = 0; i < db->node_n; i++)
			if (!seen_before(s, d, i, db->nodes[i].t))
				fn(arg, db->nodes[i].t);
	}
}

static void show_nodes(struct client *c, struct rows *r)
{
	static const char *const col[] = { "node",  "state",	"role",	 "read_only", "conns",
					   "probe_us", "fails", "lag_us", "dialling",  NULL };
	static const int type[] = { ROWS_TEXT, ROWS_TEXT, ROWS_TEXT, ROWS_TEXT, ROWS_INT8,
				    ROWS_INT8, ROWS_INT8, ROWS_INT8, ROWS_INT8 };

	rows_begin(r, col, type);
	each_node(c->h->snap, one_node_row, r);
	missing_rows(c->h->snap, r);
}

static void stat_rows(struct client *c, struct rows *r, bool retries)
{
	static const char *const col[] = { "name", "value", "meaning", NULL };
	static const int type[] = { ROWS_TEXT, ROWS_INT8, ROWS_TEXT };
	static const struct {
		const char *name, *help;
		size_t at;
	} row[] = {
#define X(name, help) { #name, help, offsetof(struct stats, name) },
		STATS_LIST(X)
#undef X
	};
	size_t i;

	rows_begin(r, col, type);
	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		bool is_retry = strncmp(row[i].name, "retr", 4) == 0 || strncmp(row[i].name, "replay", 6) == 0 ||
				strncmp(row[i].name, "refused_", 8) == 0;

		if (is_retry != retries)
			continue;
		rows_row(r);
		rows_text(r, row[i].name);
		rows_uint(r, sum(c->h->sh, row[i].at));
		rows_text(r, row[i].help);
		rows_end_row(r);
	}
}

static void show_stats(struct client *c, struct rows *r)
{
	stat_rows(c, r, false);
}

static void show_retries(struct client *c, struct rows *r)
{
	stat_rows(c, r, true);
}

/* One fingerprint, in all workers; of a worker's own only the first one has it. */
static void mismatch_row(struct shared *sh, struct rows *r, unsigned hall, unsigned at)
{
	const struct mismatch *m = &sh->halls[hall].mismatches.row[at];
	uint64_t print = atomic_load(&m->fingerprint), n = atomic_load(&m->count);
	unsigned i, k;
	char text[24];

	for (i = 0; i < sh->hall_n; i++)
		for (k = 0; i != hall && k <= MISMATCHES_MAX; k++) {
			const struct mismatch *o = &sh->halls[i].mismatches.row[k];

			if (atomic_load(&o->fingerprint) != print || (!print && k != MISMATCHES_MAX))
				continue;
			if (i < hall)
				return;
			n += atomic_load(&o->count);
		}
	(void)snprintf(text, sizeof(text), "%016llx", (unsigned long long)print);
	rows_row(r);
	rows_text(r, print ? text : "others");
	rows_uint(r, atomic_load(&m->unit));
	rows_uint(r, n);
	rows_end_row(r);
}

static void show_mismatches(struct client *c, struct rows *r)
{
	static const char *const col[] = { "fingerprint", "unit", "mismatches", NULL };
	static const int type[] = { ROWS_TEXT, ROWS_INT8, ROWS_INT8 };
	struct shared *sh = c->h->sh;
	unsigned i, k;

	rows_begin(r, col, type);
	for (i = 0; i < sh->hall_n; i++)
		for (k = 0; k <= MISMATCHES_MAX; k++)
			if (atomic_load(&sh->halls[i].mismatches.row[k].count))
				mismatch_row(sh, r, i, k);
}

static void count_pool(void *arg, struct hub *hub)
{
	int *n = arg;
	unsigned i;

	n[0]++;
	n[2] += atomic_load(&hub->limit.used);
	for (i = 0; i < hub->worker_n; i++)
		n[1] += atomic_load(&hub->side[i].waiting);
}

static void list_row(struct rows *r, const char *name, uint64_t v)
{
	rows_row(r);
	rows_text(r, name);
	rows_uint(r, v);
	rows_end_row(r);
}

static void show_lists(struct client *c, struct rows *r)
{
	static const char *const col[] = { "list", "items", NULL };
	static const int type[] = { ROWS_TEXT, ROWS_INT8 };
	struct shared *sh = c->h->sh;
	int n[3] = { 0 };

	hubs_each(&sh->hubs, count_pool, n);
	rows_begin(r, col, type);
	list_row(r, "databases", c->h->snap->conf->db_n + (c->h->snap->conf->fallback ? 1 : 0));
	list_row(r, "users", c->h->snap->conf->user_n);
	list_row(r, "pools", (uint64_t)n[0]);
	list_row(r, "clients", (uint64_t)atomic_load(&sh->clients.used));
	list_row(r, "login_clients", door_n(&sh->door));
	list_row(r, "waiting_clients", (uint64_t)n[1]);
	list_row(r, "servers", (uint64_t)n[2]);
	list_row(r, "workers", sh->hall_n);
	list_row(r, "held_bytes", (uint64_t)atomic_load(&sh->held_bytes));
}

static void show_help(struct client *c, struct rows *r);

static const struct {
	const char *word;
	show_fn *show;
} command[] = {
	{ "config", show_config }, { "version", show_version }, { "pools", show_pools },
	{ "nodes", show_nodes },   { "stats", show_stats },	{ "retries", show_retries },
	{ "lists", show_lists },   { "help", show_help },	{ "mismatches", show_mismatches },
};

static const struct {
	const char *word, *tag;
	enum node_order what;
	bool all;                /* of all nodes when none is named */
} order[] = {
	{ "exclude", "EXCLUDE", ORDER_EXCLUDE, false },
	{ "include", "INCLUDE", ORDER_INCLUDE, false },
	{ "probe", "PROBE", ORDER_PROBE, true },
};

static void show_help(struct client *c, struct rows *r)
{
	static const char *const col[] = { "command", NULL };
	char text[64];
	size_t i;

	(void)c;
	rows_begin(r, col, NULL);
	for (i = 0; i < sizeof(command) / sizeof(*command); i++) {
		(void)snprintf(text, sizeof(text), "SHOW %s", command[i].word);
		rows_row(r);
		rows_text(r, text);
		rows_end_row(r);
	}
	for (i = 0; i < sizeof(order) / sizeof(*order); i++) {
		(void)snprintf(text, sizeof(text), order[i].all ? "%s [NODE 'NAME']" : "%s NODE 'NAME'",
			       order[i].tag);
		rows_row(r);
		rows_text(r, text);
		rows_end_row(r);
	}
}

/* The next word, lower case; cut to cap. */
static void word(const char **at, const char *end, char *out, size_t cap)
{
	const char *p = *at;
	size_t n = 0;

	while (p < end && strchr(" \t\r\n;", *p))
		p++;
	for (; p < end && !strchr(" \t\r\n;", *p); p++)
		if (n + 1 < cap)
			out[n++] = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	out[n] = 0;
	*at = p;
}

static void answer(struct client *c, struct rows *r, const char *tag)
{
	rows_end(r, tag);
	if (r->bad) {
		say_error(c, "ERROR", "53200", "out of memory", NULL, NULL);
		say_ready(c, 'I');
	} else {
		say(c, r->p, r->len);
	}
	rows_free(r);
}

static void refuse(struct client *c, const char *sqlstate, const char *message, const char *detail,
		   const char *hint)
{
	say_error(c, "ERROR", sqlstate, message, detail, hint);
	say_ready(c, 'I');
}

/* ---- orders ---- */

/* An order on its way to the nodes of this name, NULL: to all. */
struct errand {
	struct client *c;
	const char *name;
	enum node_order what;
	unsigned found;
	bool failed;
	char known[360];         /* names, for who gave another; three dots at the end: more */
};

static void add_known(struct errand *e, const char *name)
{
	static const char more[] = ", ...";
	size_t n = strlen(e->known), room = sizeof(e->known) - n, k = strlen(name);

	if (n >= sizeof(more) && strcmp(e->known + n + 1 - sizeof(more), more) == 0)
		return;
	(void)snprintf(e->known + n, room, "%s%s", n ? ", " : "",
		       k + 2 + sizeof(more) > room ? "..." : name);
}

static void run_errand(void *arg, struct target *t)
{
	struct errand *e = arg;
	struct shared *sh = e->c->h->sh;

	add_known(e, t->addr.name);
	if (e->name && strcmp(e->name, t->addr.name) != 0)
		return;
	e->found++;
	e->failed |= !sh->node_order(sh, t, e->what);
}

/* 'NAME', a quote in it twice; nothing behind it. -1: something else. */
static int take_name(const char *at, const char *end, char *out, size_t cap)
{
	bool closed = false;
	size_t n = 0;

	while (at < end && strchr(" \t\r\n", *at))
		at++;
	if (at == end || *at++ != '\'')
		return -1;
	while (at < end && n + 1 < cap) {
		if (*at == '\'' && (at + 1 == end || at[1] != '\'')) {
			closed = true;
			at++;
			break;
		}
		at += *at == '\'';
		out[n++] = *at++;
	}
	out[n] = 0;
	while (at < end && strchr(" \t\r\n;", *at))
		at++;
	return closed && n && at == end ? 0 : -1;
}

/* The order of this verb, or false. what: the word behind it, `at` behind that. */
static bool run_order(struct client *c, const char *verb, const char *what, const char *at,
		      const char *end)
{
	struct errand e = { .c = c };
	char name[256], text[320];
	struct rows r = { 0 };
	size_t i;

	for (i = 0; i < sizeof(order) / sizeof(*order); i++)
		if (strcmp(verb, order[i].word) == 0)
			break;
	if (i == sizeof(order) / sizeof(*order))
		return false;
	if (strcmp(what, "node") == 0 && take_name(at, end, name, sizeof(name)) == 0)
		e.name = name;
	else if (!order[i].all || *what)
		return false;
	if (!c->console_admin) {
		refuse(c, "42501", "only users of admin_users may do this", NULL, NULL);
		return true;
	}
	e.what = order[i].what;
	each_node(c->h->snap, run_errand, &e);
	if (!e.found) {
		(void)snprintf(text, sizeof(text), "there is no node \"%.255s\"", e.name ? name : "");
		refuse(c, "42704", text, e.known, NULL);
	} else if (e.failed) {
		refuse(c, "53200", "out of memory", NULL, NULL);
	} else {
		answer(c, &r, order[i].tag);
	}
	return true;
}

void admin_query(struct client *c, const char *sql, size_t len)
{
	const char *at = sql, *end = sql + len, *behind;
	char verb[16], what[32], more[8], text[128];
	struct rows r = { 0 };
	size_t i;

	word(&at, end, verb, sizeof(verb));
	word(&at, end, what, sizeof(what));
	behind = at;
	word(&at, end, more, sizeof(more));
	for (i = 0; strcmp(verb, "show") == 0 && !*more && i < sizeof(command) / sizeof(*command);
	     i++) {
		if (strcmp(what, command[i].word) != 0)
			continue;
		command[i].show(c, &r);
		answer(c, &r, "SHOW");
		return;
	}
	if (run_order(c, verb, what, behind, end))
		return;
	(void)snprintf(text, sizeof(text), "unknown console command \"%.14s %.30s\"", verb, what);
	refuse(c, "42601", text, NULL, "SHOW HELP lists the commands.");
}
