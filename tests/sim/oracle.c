/* tests/sim/oracle.c - see oracle.h
 *
 * The client's messages are played, one by one, to an engine that is the same as that of
 * the simulated servers, as soon as the answers to them have come (a ReadyForQuery, a
 * CopyInResponse, an error). Everything that the engine says must be what came next.
 * What it asks (a key's value, whether a commit succeeds) is looked up in what came.
 *
 * Compared byte for byte: everything, but
 *  - errors and notices: severity, SQLSTATE and message only; not the name of a statement
 *    in them, nor the severity at login;
 *  - BackendKeyData and pg_backend_pid(): taken as they come;
 *  - NotificationResponse: handed on to who asked for it (oracle_on_notification);
 *  - several ParameterStatus in a row: in any order. At login the value of
 *    in_hot_standby: it depends on the node;
 *  - the value of a key: taken as it comes, and given to the history. That of a row that
 *    is not there yet when the engine makes it (RETURNING in a portal with a row limit)
 *    is not checked at all;
 *  - behind a RESET of a setting of the startup packet, in the same unit, that setting may
 *    be the server's own;
 *  - settings with a dot in their names (docs/session-state.md): one that is empty may be
 *    NULL, or unknown (42704), on a server where nobody has set it, and the other way round;
 *  - a Parse of more than 1 MiB ends the session (54000): pgweir keeps its text;
 *  - a startup packet that PostgreSQL would refuse too is refused in pgweir's words.
 *
 * Errors that the session has no reason for are allowed by oracle_may(); their texts
 * are in oracle_stream.c, and each has its places:
 *  - serialization failures: where data is read or written and at the commit;
 *  - a message that was refused as a whole (cancel, no server, pins, memory): in front
 *    of everything that it does. A cancel is also told where a statement may wait. A
 *    refused message behind a BEGIN that pgweir has answered by itself leaves a failed
 *    block that knows no server: then as in limbo, below;
 *  - FATAL: anywhere between messages, and then nothing more. For a message of no known
 *    type pgweir does not wait for the answers to what was sent in front of it without
 *    a Sync.
 *
 * A lost server (proxy/session/lost.c), anywhere between messages:
 *  - in a block, its COMMIT not sent: 40001, status E ("limbo"). Nothing of it was
 *    done. Until ROLLBACK or COMMIT everything but these, Close and Sync gets 25P02,
 *    also where a server would say something else (ROLLBACK TO, a syntax error). If the
 *    first that hears of it is a COMMIT, the 40001 is its answer and the status is I;
 *  - otherwise 40003 for each unit in flight; status I, and E from one on that begins a
 *    block: nothing that was sent behind its BEGIN may run without it. What was in flight
 *    may have been done or not: it is played to its end, unheard, for the history (fate
 *    unknown); then the engine is made anew and fails where the error came;
 *  - a batch without its Sync, all of whose answers are there, fails where it stands;
 *  - a unit of nothing but Close and Sync has no place for an error: status E tells of it;
 *  - the unnamed statement may be gone, or not, until the next is prepared;
 *  - pgweir goes by the status of the last ReadyForQuery: a unit that had ended its
 *    block (COMMIT in a batch) is in E;
 *  - settings of a transaction of unknown fate are what they were or what they were to
 *    become, each for itself: both are tried when the next answer does not fit;
 *  - what cannot follow to another server (LISTEN, temporary tables, held cursors,
 *    session locks, SQL PREPARE) must have ended the session: going on is wrong.
 *
 * When the connection ends, what came must be the beginning of right answers, and what
 * was not answered may have been done: it is played unheard. A block whose BEGIN was not
 * acknowledged may not have been one, so its appends are told to the history one by one.
 *
 * Fates: committed when the CommandComplete or ReadyForQuery behind the commit has come;
 * aborted when the engine rolls back, in limbo, or when the connection ends in a block;
 * unknown with 40003, and when nothing was heard behind the commit.
 *
 * SPDX-License-Identifier: ISC
 */
#include "oracle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oracle_in.h"
#include "wire/wire.h"

static void deaf(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}

void oracle_fail(struct oracle *o, const char *fmt, ...)
{
	char text[1400];
	va_list ap;

	if (o->dead)
		return;
	o->dead = true;
	o->due = DUE_NOTHING;
	o->how = HOW_BLIND;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o->wrong(o->wrong_arg, text);
}

struct oracle *oracle_new(unsigned client, const struct engine_conf *conf, struct history *h,
			  oracle_wrong_fn *wrong, void *arg)
{
	struct oracle *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->client = client;
	o->conf = *conf;
	o->h = h;
	o->wrong = wrong;
	o->wrong_arg = arg;
	o->txn = NO_TXN;
	o->status = 'I';
	o->at_start = true;
	oracle_env(o);
	o->deaf = o->env;
	o->deaf.out = deaf;
	o->e = engine_new(&o->conf, &o->env);
	o->plain = engine_new(&o->conf, &o->deaf);
	if (!o->e || !o->plain)
		abort();
	return o;
}

void oracle_free(struct oracle *o)
{
	if (!o)
		return;
	o->how = HOW_OFF;
	engine_free(o->e);
	engine_free(o->plain);
	while (o->in_n)
		free(o->in[--o->in_n].own);
	free(o->in);
	asks_free(o);
	free(o->ask);
	msgs_free(&o->sent);
	msgs_free(&o->got);
	msgs_free(&o->told);
	free(o->startup);
	free(o->value);
	free(o);
}

void oracle_may(struct oracle *o, unsigned bits)
{
	o->may |= bits;
}

void oracle_on_notification(struct oracle *o, oracle_notified_fn *fn, void *arg)
{
	o->notified = fn;
	o->notified_arg = arg;
}

/* ---- messages of the oracle's own ---- */

/* In the extended protocol and under a name of its own: a simple Query would end the
 * unnamed statement. */
static void own_sql(struct oracle *o, const char *sql)
{
	uint8_t b[1024];
	struct wire_put w = wire_put_to(b, sizeof(b));
	static const char name[] = "\002";

	wire_begin(&w, 'P');
	wire_put_str(&w, name);
	wire_put_str(&w, sql);
	wire_put_u16(&w, 0);
	wire_end(&w);
	wire_begin(&w, 'B');
	wire_put_str(&w, name);
	wire_put_str(&w, name);
	wire_put_u16(&w, 0);
	wire_put_u16(&w, 0);
	wire_put_u16(&w, 0);
	wire_end(&w);
	wire_begin(&w, 'E');
	wire_put_str(&w, name);
	wire_put_u32(&w, 0);
	wire_end(&w);
	wire_put_close(&w, name);
	wire_put_msg(&w, 'S');
	oracle_feed_own(o, b, w.len, HOW_MUTE);
}

/* Brings the engine to the status that the client was told. */
static void repair(struct oracle *o)
{
	char to = o->repair;

	o->repair = 0;
	if (to == 'I') {
		own_sql(o, "ROLLBACK");
	} else {
		if (engine_status(o->e) == 'I')
			own_sql(o, "BEGIN");
		o->repair = 'E';
		own_sql(o, "SELECT 1");
		o->repair = 0;
	}
	oracle_history_over(o, FATE_ABORTED, FATE_ABORTED); /* if nobody has said so yet */
}

/* ---- settings in doubt ---- */

static void add_name(struct oracle *o, const char *p, size_t n)
{
	unsigned i;

	if (n >= sizeof(o->names[0]) || o->names_n == 16)
		return;
	for (i = 0; i < o->names_n; i++)
		if (strncasecmp(o->names[i], p, n) == 0 && !o->names[i][n])
			return;
	memcpy(o->names[o->names_n], p, n);
	o->names[o->names_n++][n] = 0;
}

/* Words with a dot: names of settings, perhaps. */
static void note_names(struct oracle *o, const char *sql)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.";

	while (*sql) {
		size_t n = strspn(sql, word);
		const char *dot = n ? memchr(sql, '.', n) : NULL;

		if (dot && dot > sql && dot + 1 < sql + n)
			add_name(o, sql, n);
		sql += n ? n : 1;
	}
}

static const char *const fixed[] = {
	"application_name", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone",
	"standard_conforming_strings", "search_path", "statement_timeout", "lock_timeout",
	"work_mem", "extra_float_digits", "default_transaction_isolation",
	"default_transaction_read_only", "role", "session_authorization",
};

/* What the settings are now. */
static unsigned note_settings(const struct oracle *o, struct doubt *to, unsigned max)
{
	unsigned i, n = sizeof(fixed) / sizeof(*fixed), k = 0;

	for (i = 0; i < n + o->names_n && k < max; i++) {
		const char *name = i < n ? fixed[i] : o->names[i - n];
		const char *value = engine_setting(o->e, name);

		if (!value)
			continue;
		(void)snprintf(to[k].name, sizeof(to[k].name), "%s", name);
		(void)snprintf(to[k].may, sizeof(to[k].may), "%s", value);
		k++;
	}
	return k;
}

void oracle_doubt(struct oracle *o, const char *name, const char *may)
{
	const char *is = engine_setting(o->e, name);
	struct doubt *d;
	unsigned i;

	for (i = 0; i < o->doubts && strcasecmp(o->doubt[i].name, name) != 0; i++)
		;
	if (i == DOUBTS || (is && strcmp(is, may) == 0))
		return;
	d = &o->doubt[i];
	if (i == o->doubts)
		o->doubts++;
	(void)snprintf(d->name, sizeof(d->name), "%s", name);
	(void)snprintf(d->may, sizeof(d->may), "%s", may);
	(void)snprintf(d->was, sizeof(d->was), "%s", is ? is : "");
}

static void doubt_settings(struct oracle *o)
{
	unsigned i;

	for (i = 0; i < o->maybes; i++)
		oracle_doubt(o, o->maybe[i].name, o->maybe[i].may);
	o->maybes = 0;
}

static void drop_doubt(struct oracle *o, unsigned i)
{
	memmove(&o->doubt[i], &o->doubt[i + 1], (o->doubts - i - 1) * sizeof(o->doubt[0]));
	o->doubts--;
}

/* Those that were tried and did fit, or that somebody has set since. */
static void settle_doubts(struct oracle *o)
{
	unsigned i;

	for (i = o->doubts; i-- > 0;) {
		const char *is = engine_setting(o->e, o->doubt[i].name);
		bool tried = o->mask >> i & 1;

		if (o->status == 'I' && (tried || strcmp(is ? is : "", o->doubt[i].was) != 0))
			drop_doubt(o, i);
	}
	o->mask = 0;
}

/* The unit is played anew with some of the settings as they may be. */
static void try_doubts(struct oracle *o)
{
	unsigned i;
	char sql[600];

	if (++o->mask >= 1u << o->doubts) {
		o->doubts = 0;
		oracle_fail(o, "%s", o->first_wrong);
		return;
	}
	oracle_rebuild(o, o->start_in, NO_ASK);
	o->got_at = o->start_got;
	o->sent_at = o->start_sent;
	o->ready = o->fatal = false;
	o->last_trouble = 0;
	for (i = 0; i < o->doubts; i++) {
		const struct doubt *d = &o->doubt[i];

		if (!(o->mask >> i & 1))
			continue;
		(void)snprintf(sql, sizeof(sql), "SELECT set_config('%s','%s',false)", d->name, d->may);
		own_sql(o, sql);
	}
}

/* ---- settings of the startup packet ---- */

static bool resets(const char *sql)
{
	return strcasestr(sql, "reset") || strcasestr(sql, "discard");
}

static bool is_value(const struct engine *e, const char *name, const char *p, size_t n)
{
	const char *v = settings_get(e, name);

	if (!v)
		v = ""; /* one with a dot that nobody has set */
	return strlen(v) == n && memcmp(v, p, n) == 0;
}

bool oracle_was_reset(const struct oracle *o, const char *a, size_t na, const char *b, size_t nb)
{
	unsigned i, n = sizeof(fixed) / sizeof(*fixed);
	bool any = false;

	for (i = o->start_sent; i < o->sent_at; i++)
		any |= resets(msg_sql(&o->sent.v[i]));
	for (i = 0; any && i < n + o->names_n; i++) {
		const char *name = i < n ? fixed[i] : o->names[i - n];

		if (is_value(o->e, name, a, na) && is_value(o->plain, name, b, nb))
			return true;
	}
	return false;
}

/* ---- playing ---- */

static void play_message(struct oracle *o, enum how how)
{
	const struct msg *m = &o->sent.v[o->sent_at];

	if (how == HOW_LIVE) {
		if (o->in_n == o->in_cap) {
			o->in_cap = o->in_cap ? 2 * o->in_cap : 64;
			o->in = mem_grow(o->in, o->in_cap * sizeof(*o->in));
		}
		o->in[o->in_n++] = (struct input){ o->sent_at, NULL, 0 };
	}
	o->sent_at++;
	o->now_us = m->at_us;
	o->sent_type = m->p[0];
	note_names(o, msg_sql(m));
	/* whether a Query ends the unnamed statement on CockroachDB is not known: pgweir lets it */
	o->unnamed_doubt |= m->p[0] == 'Q' && o->conf.dialect == DIALECT_CRDB;
	o->saw_commit |= m->p[0] == 'P' && sql_commits(msg_sql(m));
	o->how = how;
	o->asked = false;
	engine_input(o->e, m->p, m->len);
	match_said(o);
}

static char type_ahead(const struct oracle *o)
{
	return o->sent_at < o->sent.n ? (char)o->sent.v[o->sent_at].p[0] : 0;
}

/* What else of this unit was sent: it may have been done. */
static void ghost_unit(struct oracle *o)
{
	bool batch = o->sent_type != 'Q' && o->sent_type != 'S' && o->sent_type != 'F';
	char t;

	if (o->e->task.copying)
		while ((t = type_ahead(o)) && strchr("dcfHS", t)) {
			play_message(o, HOW_GHOST);
			if (t == 'c' || t == 'f')
				break;
		}
	while (batch && (t = type_ahead(o)) && t != 'X') {
		play_message(o, HOW_GHOST);
		batch = !strchr("QSF", t);
	}
}

static void finish_cut(struct oracle *o)
{
	if (o->how == HOW_GHOST) {
		ghost_unit(o);
		o->maybes = note_settings(o, o->maybe, 32);
		oracle_history_over(o, FATE_UNKNOWN, FATE_UNKNOWN);
	}
	o->due = DUE_NOTHING;
	oracle_rebuild(o, o->in_n, o->last_trouble);
	match_said(o);
}

/* The connection is at its end, for a reason that the session has not. */
static void finish_end(struct oracle *o)
{
	const struct msg *r = o->got_at < o->got.n ? &o->got.v[o->got_at] : NULL;
	bool fatal = r && excuse_of(o, r) == EX_FATAL;

	o->due = DUE_NOTHING;
	o->ghost_block |= o->begun_here;
	while (o->sent_at < o->sent.n) {
		if (o->sent_type == 'Q' || o->sent_type == 'S')
			o->loose = o->ghost_block;
		play_message(o, HOW_GHOST);
	}
	if (o->over && o->sent.part_n) {
		/* it is closed for a bad length as soon as that is read */
		o->how = HOW_GHOST;
		engine_input(o->e, o->sent.part, o->sent.part_n);
	}
	oracle_history_over(o, FATE_ABORTED, FATE_UNKNOWN);
	o->got_at += fatal;
	o->fatal = true;
	o->refused |= fatal; /* and so the connection is closed */
}

/* Has this unit ended a block whose server may have been lost? */
static bool rolled_back(const struct oracle *o)
{
	const struct msg *m = o->got_at > 1 ? &o->got.v[o->got_at - 2] : NULL;

	return (o->may & MAY_LOSE) && o->status != 'I' && m && m->p[0] == 'C' &&
	       strcmp((const char *)m->p + WIRE_HEADER, "ROLLBACK") == 0;
}

/* A ReadyForQuery has been matched, and the engine has returned. */
static void unit_over(struct oracle *o)
{
	char status = (char)o->got.v[o->got_at - 1].p[5];
	unsigned bound = LEFT_PREPARE | LEFT_LISTEN | LEFT_TEMP | LEFT_HOLD |
			 (o->conf.dialect == DIALECT_PG ? LEFT_LOCK : 0u);
	unsigned i;

	o->ready = false;
	if (o->repair)
		repair(o);
	o->limbo = status != 'I' && (o->limbo || o->lost);
	doubt_settings(o);
	/* CockroachDB undoes no setting, but with its server pgweir loses them; who rolls
	 * back is not told of that */
	for (i = 0; status == 'I' && (o->was_lost || rolled_back(o)) && i < o->calms; i++)
		oracle_doubt(o, o->calm[i].name, o->calm[i].may);
	if (status == 'I' && o->was_lost) {
		o->doomed |= (engine_left(o->e) & bound) != 0;
		o->was_lost = false;
	}
	o->status = status;
	settle_doubts(o);
	if (status == 'I' && o->conf.dialect == DIALECT_CRDB)
		o->calms = note_settings(o, o->calm, 32);
	o->lost = o->lost_unknown = o->exits = o->begun_here = false;
	o->at_start = true;
	o->rows_ahead = 0;
	o->logged_in = true;
	msgs_drop(&o->got, o->got_at);
	o->got_at = 0;
}

static void follow_up(struct oracle *o)
{
	while (o->due != DUE_NOTHING && !o->dead) {
		switch (o->due) {
		case DUE_CUT:
			finish_cut(o);
			break;
		case DUE_DOUBT:
			o->due = DUE_NOTHING;
			try_doubts(o);
			break;
		case DUE_END:
			finish_end(o);
			break;
		case DUE_NOTHING:
		default:
			break;
		}
	}
	if (o->ready && !o->dead)
		unit_over(o);
}

/* Is a message still to be played that asks for a ReadyForQuery? */
static bool ready_ahead(const struct oracle *o)
{
	unsigned i;

	for (i = o->sent_at; i < o->sent.n; i++)
		if (o->sent.v[i].p[0] && strchr("QSF", o->sent.v[i].p[0]))
			return true;
	return false;
}

/* Has enough come for the next message to be played? What follows an error that has an
 * excuse depends on the status that is told then. */
static bool can_play(const struct oracle *o)
{
	char t = type_ahead(o);
	bool whole = o->e->task.copying && !o->e->extended; /* a Query's COPY: up to its end */
	unsigned i;

	if (o->sent_at == o->sent.n || o->fatal || o->dead || !o->logged_in)
		return false;
	if (o->over || t == 'X' || (o->e->task.copying && (t == 'S' || t == 'H')))
		return true;
	whole |= o->e->task.copying && !strchr("dcf", t);
	if (o->e->skip && t && strchr(o->conf.dialect == DIALECT_PG ? "PBDECHdcfFQ" : "PBDECHdcf", t))
		return true;
	for (i = o->got_at; i < o->got.n; i++) {
		const struct msg *m = &o->got.v[i];
		enum excuse x = excuse_of(o, m);

		if ((m->p[0] == 'Z' || m->p[0] == 'G') && t)
			return true;
		if ((x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN) && !whole && !ready_ahead(o))
			return true;
		if (m->p[0] == 'E' && (x == EX_FATAL || strcmp(msg_fields(m->p, m->len).s, "FATAL") == 0 ||
				       (x == NO_EXCUSE && !whole && t && strchr("PBDECHdcf", t))))
			return true;
	}
	return false;
}

/* Messages that came and that nothing of the client's explains. */
static void look_at_rest(struct oracle *o)
{
	const struct msg *r = match_next(o);
	enum excuse x = r ? excuse_of(o, r) : NO_EXCUSE;

	if (o->dead || !r)
		return;
	if (o->fatal)
		oracle_fail(o, "message %u of the answers, behind the last word: \"%s\"", r->number,
			    msg_show(r->p, r->len).s);
	else if (o->sent_at == o->sent.n && x == EX_FATAL)
		finish_end(o);
	else if (o->sent_at == o->sent.n &&
		 !(o->e->task.copying && (x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN)))
		oracle_fail(o, "message %u of the answers came unasked: \"%s\"", r->number,
			    msg_show(r->p, r->len).s);
}

/* Is that word of the startup packet's options one that says something? */
static bool is_option(const char *p, size_t n)
{
	return n > 2 && (memcmp(p, "--", 2) == 0 || memcmp(p, "-c", 2) == 0) && memchr(p, '=', n);
}

static bool bad_options(const char *p)
{
	for (p += strspn(p, " \t\n"); *p; p += strspn(p, " \t\n")) {
		size_t n = strcspn(p, " \t\n");

		if (n == 2 && memcmp(p, "-c", 2) == 0) {
			p += n + strspn(p + n, " \t\n");
			n = strcspn(p, " \t\n");
			if (!memchr(p, '=', n))
				return true;
		} else if (!is_option(p, n)) {
			return true;
		}
		p += n;
	}
	return false;
}

/* A startup packet that is refused before anybody asks a server: in pgweir's words. */
static bool refused_at_once(struct oracle *o)
{
	struct wire_get g = { o->startup, o->startup + o->startup_n, false };
	const struct msg *r = o->got_at < o->got.n ? &o->got.v[o->got_at] : NULL;
	struct fields f = r ? msg_fields(r->p, r->len) : (struct fields){ "", "", "", "" };
	bool bad = false, layout;

	for (;;) {
		const char *name = wire_get_str(&g, NULL), *value;

		if (g.bad || !*name)
			break;
		value = wire_get_str(&g, NULL);
		bad |= strcmp(name, "options") == 0 && bad_options(value);
	}
	layout = g.bad || wire_left(&g);
	if (!r || r->p[0] != 'E' || strcmp(f.s, "FATAL") != 0)
		return false;
	if (layout ? strcmp(f.c, "08P01") == 0 && strncmp(f.m, "invalid startup packet layout", 29) == 0 :
		     bad && strcmp(f.c, "22023") == 0 && strncmp(f.m, "startup parameter \"options\"", 27) == 0)
		o->refused = o->fatal = true;
	o->got_at += o->refused;
	return o->refused;
}

static void play_login(struct oracle *o)
{
	unsigned i;
	bool enough = o->over;

	for (i = o->got_at; i < o->got.n; i++)
		enough |= o->got.v[i].p[0] == 'Z' || o->got.v[i].p[0] == 'E';
	if (!enough || o->fatal || !o->startup || refused_at_once(o))
		return;
	o->how = HOW_LIVE;
	o->now_us = o->startup_us;
	engine_login(o->e, o->startup, o->startup_n);
	match_said(o);
	follow_up(o);
}

/* A COPY's server is lost while it waits for data. */
static void look_at_copy(struct oracle *o)
{
	const struct msg *r;
	enum excuse x;

	if (o->dead || o->fatal || !o->e->task.copying)
		return;
	o->how = HOW_LIVE;
	r = match_next(o);
	x = r ? excuse_of(o, r) : NO_EXCUSE;
	if ((x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN) && (o->over || match_status_behind(o, r))) {
		match_cut(o, r, x);
		follow_up(o);
	}
}

/* A batch whose Sync has not been sent is lost between two messages: as if there were
 * one more, and that failed. */
static void look_at_batch(struct oracle *o)
{
	static const uint8_t close[] = { 'C', 0, 0, 0, 7, 'S', 2, 0 };
	const struct msg *r;
	enum excuse x;

	if (o->dead || o->fatal || !o->logged_in || o->at_start || o->e->task.copying || o->e->skip ||
	    o->sent_at != o->sent.n || !o->sent_type || !strchr("PBDECH", o->sent_type))
		return;
	o->how = HOW_LIVE;
	r = match_next(o);
	x = r ? excuse_of(o, r) : NO_EXCUSE;
	if (x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN) {
		oracle_feed_own(o, close, sizeof(close), HOW_LIVE);
		follow_up(o);
	}
}

static void play(struct oracle *o)
{
	if (!o->logged_in && !o->dead && !o->fatal)
		play_login(o);
	while (look_at_copy(o), can_play(o)) {
		if (o->at_start) {
			o->at_start = false;
			o->effects = false;
			o->start_in = o->in_n;
			o->start_got = o->got_at;
			o->start_sent = o->sent_at;
		}
		play_message(o, HOW_LIVE);
		follow_up(o);
	}
	look_at_batch(o);
	if (o->logged_in || o->fatal)
		look_at_rest(o);
}

/* ---- what happens ---- */

void oracle_startup(struct oracle *o, const uint8_t *params, size_t n)
{
	free(o->startup);
	o->startup = (uint8_t *)mem_copy_n(params, n);
	o->startup_n = n;
}

void oracle_sent(struct oracle *o, const uint8_t *p, size_t n, uint64_t now_us)
{
	if (o->dead)
		return;
	msgs_add(&o->sent, p, n, now_us);
	play(o);
}

/* The notice of query_wait_notify: whoever waits for a server may be told. */
static bool is_wait_notice(const struct msg *m)
{
	static const char fields[] = "SNOTICE\0VNOTICE\0C00000\0MNo server connection available in "
				     "postgres backend, client being queued\0";

	return m->p[0] == 'N' && m->len == 5 + sizeof(fields) &&
	       memcmp(m->p + 5, fields, sizeof(fields)) == 0;
}

/* Takes the notifications out, and what is said to who waits, from message i on. */
static void sift(struct oracle *o, unsigned i)
{
	unsigned to = i;

	for (; i < o->got.n; i++) {
		struct msg m = o->got.v[i];
		struct wire_get g = wire_body(m.p, m.len);
		const char *channel, *payload;

		if (is_wait_notice(&m)) {
			free(m.p);
			continue;
		}
		if (m.p[0] != 'A') {
			o->got.v[to++] = m;
			continue;
		}
		(void)wire_get_u32(&g);
		channel = wire_get_str(&g, NULL);
		payload = wire_get_str(&g, NULL);
		if (g.bad || wire_left(&g))
			oracle_fail(o, "message %u of the answers is malformed: \"%s\"", m.number,
				    msg_show(m.p, m.len).s);
		else if (o->notified)
			o->notified(o->notified_arg, channel, payload);
		free(m.p);
	}
	o->got.n = to;
}

void oracle_got(struct oracle *o, const uint8_t *p, size_t n, uint64_t now_us)
{
	unsigned had = o->got.n;

	if (o->dead)
		return;
	msgs_add(&o->got, p, n, now_us);
	sift(o, had);
	if (o->got.broken)
		oracle_fail(o, "no length can be read: \"%s\"",
			    msg_show(o->got.v[o->got.n - 1].p, o->got.v[o->got.n - 1].len).s);
	play(o);
}

/* CockroachDB reads a message of up to 16 MiB, of whatever type; pgweir, as PostgreSQL,
 * takes its length for nonsense. */
static bool begins_too_long(const struct oracle *o)
{
	uint8_t type = 0;
	uint32_t len = 0;

	return o->conf.dialect == DIALECT_CRDB && wire_header(o->sent.part, o->sent.part_n, &type, &len) == WIRE_OK &&
	       len > 1u << 14;
}

void oracle_over(struct oracle *o, bool by_client, uint64_t now_us)
{
	(void)now_us;
	if (o->dead || o->over)
		return;
	o->over = true;
	play(o);
	if (o->dead)
		return;
	if (!o->fatal)
		finish_end(o);
	if (!by_client && !(o->may & MAY_CLOSE) && !engine_over(o->e) && !o->sent.broken &&
	    !o->refused && !begins_too_long(o))
		oracle_fail(o, "the connection was closed without a reason");
	o->dead = true;
}

unsigned oracle_owed(const struct oracle *o)
{
	unsigned i, n = 0;

	if (o->dead || o->fatal)
		return 0;
	for (i = o->sent_at; i < o->sent.n; i++)
		n += strchr("QSF", o->sent.v[i].p[0]) && o->sent.v[i].p[0];
	return n + !o->logged_in;
}

char oracle_status(const struct oracle *o)
{
	return engine_status(o->e);
}
