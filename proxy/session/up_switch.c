/* proxy/session/up_switch.c - see up_switch.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_switch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/names.h"
#include "session/ours.h"
#include "session/replay.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/unit.h"
#include "session/up_stmt.h"
#include "wire/wire.h"

/* Texts that one client's statements may keep in memory, as in up_message.c. */
#define NAMES_MAX (32u << 20)

static const char in_failed[] = "current transaction is aborted, commands ignored until end of "
				"transaction block";

static void no_because(struct switch_no *no, const char *sqlstate, const char *message,
		       const char *hint)
{
	no->sqlstate = sqlstate;
	(void)snprintf(no->message, sizeof(no->message), "%s", message);
	(void)snprintf(no->hint, sizeof(no->hint), "%s", hint);
}

static bool is_raw(const struct client *c)
{
	return c->h->snap->conf->g.max_prepared_statements == 0;
}

static void no_in_raw(struct switch_no *no)
{
	no_because(no, "0A000", "this setting cannot be prepared here",
		   "max_prepared_statements is 0: send it as a simple query.");
}

static void no_twice(struct switch_no *no, const char *name)
{
	char text[120];

	(void)snprintf(text, sizeof(text), "prepared statement \"%.60s\" already exists", name);
	no_because(no, "42P05", text, "");
}

/* ---- portals and statements ---- */

static void drop_portal(struct client *c)
{
	free(c->switches.portal);
	c->switches.portal = NULL;
}

/* s: its server or NULL. */
static struct switch_portal *portal_of(const struct client *c, const struct server *s,
				       const char *name)
{
	struct switch_portal *p = c->switches.portal;

	if (!p || strcmp(p->name, name) != 0 || (p->block && !c->begun && !(s && s->tx == 'T')))
		return NULL;
	return p;
}

static struct stmt *stmt_of(const struct client *c, const char *name)
{
	struct stmt *st = *name ? stmt_names_get(&c->names, name) : c->unnamed;

	return st && st->switches ? st : NULL;
}

static enum switch_op read_stmt(const struct stmt *st, struct switch_text *t)
{
	const char *sql = (const char *)st->body;

	return switches_read(sql, strnlen(sql, st->len), t);
}

static uint16_t params_of(const struct stmt *st)
{
	struct wire_get g = { st->body, st->body + st->len, false };

	(void)wire_get_str(&g, NULL);
	return wire_get_u16(&g);
}

/* Behind the statement's name of a Bind: formats, parameters, formats of the row. */
static bool read_bind(struct wire_get *g, uint16_t *params, bool *binary)
{
	uint16_t n = wire_get_u16(g), i;

	for (i = 0; i < n; i++)
		(void)wire_get_u16(g);
	*params = wire_get_u16(g);
	for (i = 0; i < *params && !g->bad; i++) {
		uint32_t len = wire_get_u32(g);

		if (len != UINT32_MAX && len <= wire_left(g))
			g->p += len;
		else if (len != UINT32_MAX)
			return false;
	}
	n = wire_get_u16(g);
	*binary = n > 0 && wire_get_u16(g) == 1;
	return !g->bad;
}

/* Binds st. false: *no says why not. */
static bool bind_portal(struct client *c, const char *portal, const struct stmt *st,
			struct wire_get *g, bool block, struct switch_no *no)
{
	size_t n = strlen(portal) + 1;
	struct switch_portal *p;
	uint16_t params;
	bool binary;

	if (!read_bind(g, &params, &binary)) {
		no_because(no, "08P01", "invalid message format", "");
		return false;
	}
	if (params != 0 || params_of(st) != 0) {
		no_because(no, "08P01", "settings of pgweir take no parameters", "");
		return false;
	}
	p = calloc(1, sizeof(*p) + n);
	if (!p) {
		no_because(no, "53200", "out of memory", "");
		return false;
	}
	(void)read_stmt(st, &p->text);
	p->binary = binary;
	p->block = block;
	memcpy(p->name, portal, n);
	drop_portal(c);
	c->switches.portal = p;
	return true;
}

/* What is told of its rows. 0: *no says why there are none. */
static uint64_t told_ref(const struct switch_text *t, bool portal, bool binary,
			 struct switch_no *no)
{
	if (t->op == SWITCH_SHOW)
		return switches_ref(t, portal ? SWITCH_ROWS : SWITCH_TOLD_ROWS, binary, no);
	return REF_SWITCH | (portal ? SWITCH_NO_DATA : SWITCH_TOLD);
}

/* A portal is executed. 0: *no says why it cannot be. */
static uint64_t run_ref(struct switch_portal *p, uint32_t limit, struct switch_no *no)
{
	enum switch_reply what = SWITCH_DONE_SET;
	bool again = p->run;

	p->run = true;
	if (p->text.op == SWITCH_SHOW && again) {
		what = SWITCH_SHOWN;
	} else if (p->text.op == SWITCH_SHOW && limit == 1) {
		what = SWITCH_SUSPENDED; /* PostgreSQL has not looked for a second one either */
	} else if (again) {
		(void)snprintf(no->message, sizeof(no->message), "portal \"%.60s\" cannot be run",
			       p->name);
		no->sqlstate = "55000";
		*no->hint = 0;
		return 0;
	}
	return switches_ref(&p->text, what, p->binary, no);
}

/* ---- without a server ---- */

/* An error, and what it does to a transaction that has begun nowhere yet. */
static void fail_alone(struct client *c, const struct switch_no *no)
{
	say_error(c, "ERROR", no->sqlstate, no->message, NULL, *no->hint ? no->hint : NULL);
	drop_portal(c);
	if (!c->begun)
		return;
	client_forget_begin(c);
	replay_forget(c);
	c->limbo = c->limbo_told = true;
}

/* One is set in a transaction: what it has logged would set it again. */
static void no_replay(struct client *c, const struct switch_text *t)
{
	if (t->op != SWITCH_SHOW)
		replay_disarm(c, RV_CLASS);
}

/* The answer to a Query of a text that can be done, without its ReadyForQuery. */
static void say_done(struct client *c, const struct switch_text *t, uint64_t ref)
{
	uint8_t b[256];
	struct switch_no no;
	size_t n = 0;

	no_replay(c, t);
	if (t->op == SWITCH_SHOW)
		n = switches_reply(c, switches_ref(t, SWITCH_ROWS, false, &no), b, sizeof(b));
	n += switches_reply(c, ref, b + n, sizeof(b) - n);
	say(c, b, n);
}

bool up_switch_text(struct client *c, const char *sql, size_t n)
{
	struct switch_text t;
	struct switch_no no;
	uint64_t ref;

	if (c->limbo || switches_read(sql, n, &t) == SWITCH_NOT)
		return false;
	names_query(c);
	ref = switches_ref(&t, SWITCH_DONE_SET, false, &no);
	if (ref)
		say_done(c, &t, ref);
	else
		fail_alone(c, &no);
	say_ready(c, c->limbo ? 'E' : c->begun ? 'T' : 'I');
	return true;
}

/* false: not one of these, or *no says why it fails. */
static bool parse_alone(struct client *c, struct wire_get g, struct switch_no *no)
{
	const char *name = wire_get_str(&g, NULL);
	const uint8_t *body = g.p;
	size_t body_len = wire_left(&g), n;
	const char *sql = wire_get_str(&g, &n);
	struct switch_text t;
	struct wire_get types = g;
	struct stmt *st;
	bool fresh;

	if (g.bad || wire_left(&g) != 2u + 4u * wire_get_u16(&types) ||
	    switches_read(sql, n, &t) == SWITCH_NOT || t.op == SWITCH_AMONG)
		return false;
	if (is_raw(c)) {
		no_in_raw(no);
		return false;
	}
	if (*name && (stmt_names_get(&c->names, name) || c->names.bytes + body_len > NAMES_MAX)) {
		if (stmt_names_get(&c->names, name))
			no_twice(no, name);
		else
			no_because(no, "54000", "too many prepared statements", "");
		return false;
	}
	st = stmts_get(&c->h->stmts, body, (uint32_t)body_len, &fresh);
	if (st && fresh)
		up_classify(c, st);
	if (!st || (*name && stmt_names_add(&c->names, name, st))) {
		stmts_put(&c->h->stmts, st);
		no_because(no, "53200", "out of memory", "");
		return false;
	}
	if (!*name) {
		stmts_put(&c->h->stmts, c->unnamed);
		c->unnamed = st;
		c->unnamed_serial = ++c->h->serial;
	}
	c->switches.prepared = true;
	return true;
}

/* The ref of the answer; 0: not one of these, or *no says why it fails. */
static uint64_t bind_alone(struct client *c, struct wire_get g, struct switch_no *no)
{
	const char *portal = wire_get_str(&g, NULL), *name = wire_get_str(&g, NULL);
	const struct stmt *st = g.bad ? NULL : stmt_of(c, name);

	return st && bind_portal(c, portal, st, &g, c->begun != NULL, no) ?
		       REF_SWITCH | SWITCH_BOUND :
		       0;
}

static uint64_t describe_alone(struct client *c, struct wire_get g, struct switch_no *no)
{
	uint8_t what = wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);
	const struct stmt *st = what == 'S' && !g.bad ? stmt_of(c, name) : NULL;
	const struct switch_portal *p = what == 'P' && !g.bad ? portal_of(c, NULL, name) : NULL;
	struct switch_text t;

	if (p)
		return told_ref(&p->text, true, p->binary, no);
	return st && read_stmt(st, &t) != SWITCH_NOT ? told_ref(&t, false, false, no) : 0;
}

static uint64_t execute_alone(struct client *c, struct wire_get g, struct switch_no *no)
{
	struct switch_portal *p = portal_of(c, NULL, wire_get_str(&g, NULL));
	uint32_t limit = wire_get_u32(&g);

	if (!p || g.bad)
		return 0;
	no_replay(c, &p->text);
	return run_ref(p, limit, no);
}

static uint64_t close_alone(struct client *c, struct wire_get g)
{
	uint8_t what = wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);

	if (g.bad || (what == 'S' ? !stmt_of(c, name) : what != 'P' || !portal_of(c, NULL, name)))
		return 0;
	if (what == 'P')
		drop_portal(c);
	else if (*name)
		stmts_put(&c->h->stmts, stmt_names_del(&c->names, name));
	else
		names_query(c);
	return REF_SWITCH | SWITCH_CLOSED;
}

bool up_switch_alone(struct client *c, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	static const uint8_t parse_complete[] = { '1', 0, 0, 0, 4 };
	struct switch_no no = { .sqlstate = NULL };
	uint8_t b[NAMES_REPLY_MAX];
	struct wire_get g;
	uint64_t ref = 0;

	if (have < len || c->limbo || c->skip_to_sync || (type != 'P' && !c->switches.prepared))
		return false;
	g = wire_body(msg, len);
	switch (type) {
	case 'P':
		if (parse_alone(c, g, &no)) {
			say(c, parse_complete, sizeof(parse_complete));
			return true;
		}
		break;
	case 'B':
		ref = bind_alone(c, g, &no);
		break;
	case 'D':
		ref = describe_alone(c, g, &no);
		break;
	case 'E':
		ref = execute_alone(c, g, &no);
		break;
	case 'C':
		ref = close_alone(c, g);
		break;
	case 'S':
		if (c->switches.portal && !c->begun)
			drop_portal(c);
		return false;
	default:
		return false;
	}
	if (!ref && !no.sqlstate)
		return false;
	if (ref) {
		say(c, b, switches_reply(c, ref, b, sizeof(b)));
	} else {
		fail_alone(c, &no);
		c->skip_to_sync = true;
	}
	return true;
}

/* ---- with one ---- */

/* Who answers a message of these. */
enum whose { OF_SERVER, OF_LATER, OF_US };

/* The server knows what a COPY makes of it, and says 25P02 itself; in a batch that has
 * bound something the failed transaction may have been ended by that. What is in front
 * in other units may yet fail the transaction, or end it. */
static enum whose whose(const struct up *u)
{
	if (owed_in_copy(&u->s->owed))
		return OF_SERVER;
	if (owed_unit(&u->s->owed))
		return OF_LATER;
	return u->s->tx == 'E' && !u->c->unit.binds ? OF_SERVER : OF_US;
}

/* true: it is not for us, or not yet. */
static bool not_now(const struct up *u, enum step *r, bool *done)
{
	enum whose w = whose(u);

	*done = w == OF_LATER;
	if (w == OF_LATER)
		*r = STEP_STOP_PAUSE;
	return w != OF_US;
}

static void still_idle(struct client *c, char tx)
{
	int64_t t = tx == 'I' ? c->idle_timeout_us : c->idle_tx_timeout_us;

	if (t > 0)
		deadline_set(&c->h->w, tx == 'I' ? DL_IDLE : DL_IDLE_TX, &c->idle_dl,
			     c->h->w.now_us + (uint64_t)t);
}

bool up_switch_query(struct up *u, const uint8_t *msg, uint32_t len, size_t have, enum step *r)
{
	struct client *c = u->c;
	struct server *s = u->s;
	struct switch_text t;
	struct switch_no no;
	uint64_t ref;

	if (have < len || len < WIRE_HEADER + 2 || msg[len - 1] != 0 || s->owed.skipping ||
	    owed_in_copy(&s->owed) ||
	    switches_read((const char *)msg + WIRE_HEADER, len - WIRE_HEADER - 1, &t) == SWITCH_NOT)
		return false;
	if (s->owed.ready_n) {
		*r = STEP_STOP_PAUSE;
		return true;
	}
	if (!owed_nothing(&s->owed) || !c->at_start || c->begun)
		return false;
	ref = switches_ref(&t, SWITCH_DONE_SET, false, &no);
	if (!ref && s->tx != 'E')
		return false;
	names_query(c);
	if (c->switches.portal && !*c->switches.portal->name)
		drop_portal(c);
	if (s->tx == 'E')
		say_error(c, "ERROR", "25P02", in_failed, NULL, NULL);
	else
		say_done(c, &t, ref);
	say_ready(c, s->tx);
	still_idle(c, s->tx);
	*r = STEP_ON;
	return true;
}

enum refusal up_switch_fails(struct up *u, const char *sql, size_t n, const struct lex_class *k)
{
	struct switch_text t;
	struct switch_no no;

	if (!k->switches || !k->sure || u->s->owed.skipping || owed_in_copy(&u->s->owed) ||
	    (u->s->tx == 'E' && !lex_may_exit(k)))
		return REFUSED_NOT;
	if (k->statements > 1) {
		(void)switches_read(sql, n, &t);
		t.op = SWITCH_AMONG;
		(void)snprintf(t.name, sizeof(t.name), "%s", "pgweir.retry");
		(void)switches_ref(&t, SWITCH_DONE_SET, false, &no);
	} else if (switches_read(sql, n, &t) == SWITCH_NOT) {
		return REFUSED_NOT; /* the server finds fault with it */
	} else if (switches_ref(&t, SWITCH_DONE_SET, false, &no)) {
		/* a Query in an open batch */
		no_because(&no, "0A000", "this setting cannot be set or shown in a batch without its Sync",
			   "");
	}
	switches_refused(u->c, &no);
	return REFUSED_SWITCH;
}

bool up_switch_parses(struct up *u, const struct stmt *st, enum step *r)
{
	bool done;

	if (!st->switches)
		return false;
	u->c->switches.prepared = true;
	return !not_now(u, r, &done) || done;
}

/* An answer in its place. */
static enum step answer(struct up *u, uint64_t ref, const struct switch_no *no)
{
	bool live;

	if (ref)
		return up_owe_local(u, ref, &live);
	switches_refused(u->c, no);
	return up_refused_bind(u, REFUSED_SWITCH);
}

static bool bind_linked(struct up *u, struct wire_get g, enum step *r)
{
	const char *portal = wire_get_str(&g, NULL), *name = wire_get_str(&g, NULL);
	const struct stmt *st = g.bad ? NULL : stmt_of(u->c, name);
	struct switch_no no;
	bool ok, done = false;

	if (!st || not_now(u, r, &done)) {
		/* it takes the portal's name */
		if (!done && !g.bad && portal_of(u->c, u->s, portal))
			drop_portal(u->c);
		return done;
	}
	ok = bind_portal(u->c, portal, st, &g, u->s->tx == 'T' && !u->c->dressing, &no);
	u->c->unit.binds++;
	*r = answer(u, ok ? REF_SWITCH | SWITCH_BOUND : 0, &no);
	return true;
}

static bool describe_linked(struct up *u, struct wire_get g, enum step *r)
{
	uint8_t what = wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);
	const struct stmt *st = what == 'S' && !g.bad ? stmt_of(u->c, name) : NULL;
	const struct switch_portal *p = what == 'P' && !g.bad ? portal_of(u->c, u->s, name) : NULL;
	struct switch_text t;
	struct switch_no no;
	bool done = false;
	uint64_t ref;

	if ((!st && !p) || not_now(u, r, &done))
		return done;
	if (st)
		(void)read_stmt(st, &t);
	ref = p ? told_ref(&p->text, true, p->binary, &no) : told_ref(&t, false, false, &no);
	*r = answer(u, ref, &no);
	return true;
}

static bool execute_linked(struct up *u, struct wire_get g, enum step *r)
{
	const char *name = wire_get_str(&g, NULL);
	uint32_t limit = wire_get_u32(&g);
	struct switch_portal *p = g.bad ? NULL : portal_of(u->c, u->s, name);
	struct switch_no no;
	bool done = false;

	if (!p || not_now(u, r, &done))
		return done;
	if (p->text.op != SWITCH_SHOW)
		unit_pass(u->c, RV_CLASS);
	*r = answer(u, run_ref(p, limit, &no), &no);
	return true;
}

static bool close_linked(struct up *u, struct wire_get g, enum step *r)
{
	uint8_t what = wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);

	bool done = false;

	/* names are the same as all others */
	if (what != 'P' || g.bad || !portal_of(u->c, u->s, name) || not_now(u, r, &done))
		return done;
	drop_portal(u->c);
	*r = answer(u, REF_SWITCH | SWITCH_CLOSED, NULL);
	return true;
}

/* A Parse that the server cannot refuse as it should be: of a name that is one of these,
 * or with max_prepared_statements = 0. */
static bool parse_linked(struct up *u, struct wire_get g, enum step *r)
{
	const char *name = wire_get_str(&g, NULL), *sql;
	bool raw = is_raw(u->c), taken = *name && stmt_of(u->c, name);
	struct switch_text t;
	struct switch_no no;
	bool done = false;
	size_t n = 0;

	sql = wire_get_str(&g, &n);
	if (g.bad || (!raw && !taken) ||
	    (raw && (switches_read(sql, n, &t) == SWITCH_NOT || t.op == SWITCH_AMONG)) ||
	    not_now(u, r, &done))
		return done;
	if (raw)
		no_in_raw(&no);
	else
		no_twice(&no, name);
	*r = answer(u, 0, &no);
	return true;
}

bool up_switch_message(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have,
		       enum step *r)
{
	struct client *c = u->c;
	struct wire_get g;

	if (type == 'S' && c->switches.portal && !c->switches.portal->block)
		drop_portal(c);
	if (have < len || (type != 'P' && !c->switches.prepared))
		return false;
	g = wire_body(msg, len);
	switch (type) {
	case 'P':
		return parse_linked(u, g, r);
	case 'B':
		return bind_linked(u, g, r);
	case 'D':
		return describe_linked(u, g, r);
	case 'E':
		return execute_linked(u, g, r);
	case 'C':
		return close_linked(u, g, r);
	default:
		return false;
	}
}
