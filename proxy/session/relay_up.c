/* proxy/session/relay_up.c - see relay_up.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/relay_up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/gather.h"
#include "session/names.h"
#include "session/retry.h"
#include "session/server.h"
#include "session/step.h"
#include "session/unit.h"
#include "wire/lexer.h"
#include "wire/wire.h"

/* One pass over the client's buffer. */
struct up {
	struct client *c;
	struct server *s;
	struct gather g;
	size_t at;               /* bytes of the buffer dealt with */
	size_t want;             /* the next message needs that many */
	struct up_why *why;
	bool backed_up;
};

/* What one message came to. */
enum step { STEP_ON, STEP_STOP_MORE, STEP_STOP_NEED, STEP_STOP_PAUSE, STEP_CLIENT, STEP_SERVER };

static enum step refuse(struct up *u, const char *why, const char *sqlstate, const char *message)
{
	u->why->why = why;
	u->why->sqlstate = sqlstate;
	u->why->message = message;
	return STEP_CLIENT;
}

/* ---- sending ---- */

static enum step flush(struct up *u)
{
	enum io io = IO_OK;

	if (u->g.n) {
		io = stream_sendv(&u->s->s, u->g.v, u->g.n);
		gather_init(&u->g);
	}
	if (u->at) {
		u->c->in_bytes += u->at;
		STAT_ADD(&u->c->h->stats, received_bytes, u->at);
		stream_consume(&u->c->s, u->at);
		u->at = 0;
	}
	if (io == IO_AGAIN)
		u->backed_up = true;
	return io == IO_FAIL ? STEP_SERVER : STEP_ON;
}

static enum step room(struct up *u, int pieces, size_t own)
{
	return gather_room(&u->g, pieces, own) ? STEP_ON : flush(u);
}

static enum step owe(struct up *u, char type, char what, bool swallow, uint64_t ref, bool *live)
{
	if (owed_sent(&u->s->owed, type, what, swallow, ref, live))
		return refuse(u, "out of memory", "53200", "out of memory");
	return STEP_ON;
}

static enum step owe_local(struct up *u, enum names_local what, bool *live)
{
	uint64_t ref = what;

	if (owed_sent_local(&u->s->owed, ref, live))
		return refuse(u, "out of memory", "53200", "out of memory");
	if (*live) {
		unit_record(u->c, UNIT_LOCAL);
		unit_log(u->c, &ref, sizeof(ref));
	}
	return STEP_ON;
}

/* The message at `at`, as it is. */
static void pass_whole(struct up *u, const uint8_t *msg, uint32_t len)
{
	unit_record(u->c, UNIT_FORWARD);
	unit_log(u->c, msg, len);
	gather_range(&u->g, msg, len);
}

/* ---- statements ---- */

static void classify_stmt(struct client *c, struct stmt *st)
{
	struct lex_class k;
	size_t n = strnlen((const char *)st->body, st->len);

	lex_classify((const char *)st->body, n, (const char *const *)c->h->snap->deny, &k);
	st->retryable = lex_retryable(&k) && k.statements == 1;
	st->may_commit = !k.sure || k.txn_control;
}

/* Puts a Close for the statement that has to go, so that one more fits. */
static enum step evict(struct up *u)
{
	uint32_t max = (uint32_t)u->c->h->snap->conf->g.max_prepared_statements;
	char name[STMT_NAME_CAP];
	uint8_t b[64];

	while (u->s->cache.n >= max && u->s->cache.n) {
		struct wire_put w = wire_put_to(b, sizeof(b));
		uint64_t id = stmt_cache_oldest(&u->s->cache);
		enum step st = room(u, 1, sizeof(b));
		bool live;

		if (st == STEP_ON)
			st = owe(u, 'C', 0, true, id, &live);
		if (st != STEP_ON)
			return st;
		if (!live)
			return STEP_ON;
		stmt_name(id, name);
		wire_begin(&w, 'C');
		wire_put_u8(&w, 'S');
		wire_put_str(&w, name);
		wire_end(&w);
		unit_record(u->c, UNIT_SWALLOW);
		unit_log(u->c, b, w.len);
		gather_copy(&u->g, b, w.len);
		stmt_cache_del(&u->s->cache, id);
	}
	return STEP_ON;
}

/* Sends a Parse under the name `name` ("" for the unnamed one). */
static enum step send_parse(struct up *u, const struct stmt *st, const char *name, bool swallow,
			    uint64_t ref, bool *live)
{
	uint8_t head[WIRE_HEADER + STMT_NAME_CAP];
	struct wire_put w = wire_put_to(head, sizeof(head));
	enum step r = room(u, 3, sizeof(head));

	if (r == STEP_ON)
		r = owe(u, 'P', 0, swallow, ref, live);
	if (r != STEP_ON || !*live)
		return r;
	wire_put_u8(&w, 'P');
	wire_put_u32(&w, (uint32_t)(4 + strlen(name) + 1 + st->len));
	wire_put_str(&w, name);
	unit_record(u->c, swallow ? UNIT_SWALLOW : UNIT_FORWARD);
	unit_log(u->c, head, w.len);
	unit_log(u->c, st->body, st->len);
	gather_copy(&u->g, head, w.len);
	gather_range(&u->g, st->body, st->len);
	STAT_INC(&u->c->h->stats, server_parses);
	return STEP_ON;
}

/* Makes sure the server has the statement before it is used. */
static enum step need_stmt(struct up *u, const struct stmt *st)
{
	char name[STMT_NAME_CAP];
	enum step r;
	bool live;

	if (stmt_cache_use(&u->s->cache, st->id))
		return STEP_ON;
	r = evict(u);
	if (r != STEP_ON)
		return r;
	stmt_name(st->id, name);
	r = send_parse(u, st, name, true, st->id, &live);
	if (r == STEP_ON && live && stmt_cache_add(&u->s->cache, st->id))
		return refuse(u, "out of memory", "53200", "out of memory");
	return r;
}

/* The unnamed statement of this client, wherever it was parsed. */
static enum step need_unnamed(struct up *u)
{
	static const uint8_t close_unnamed[] = { 'C', 0, 0, 0, 6, 'S', 0 };
	struct client *c = u->c;
	struct server *s = u->s;
	enum step r;
	bool live;

	if (s->unnamed_serial == c->unnamed_serial)
		return STEP_ON;
	if (c->unnamed) {
		r = send_parse(u, c->unnamed, "", true, REF_UNNAMED, &live);
		if (r == STEP_ON && live)
			s->unnamed_serial = c->unnamed_serial;
		return r;
	}
	/* It has none: the one that is there is somebody else's. */
	r = room(u, 1, sizeof(close_unnamed));
	if (r == STEP_ON)
		r = owe(u, 'C', 0, true, 0, &live);
	if (r != STEP_ON || !live)
		return r;
	unit_record(c, UNIT_SWALLOW);
	unit_log(c, close_unnamed, sizeof(close_unnamed));
	gather_copy(&u->g, close_unnamed, sizeof(close_unnamed));
	s->unnamed_serial = 0;
	return STEP_ON;
}

static void drop_unnamed(struct client *c)
{
	stmts_put(&c->h->stmts, c->unnamed);
	c->unnamed = NULL;
	c->unnamed_serial = 0;
}

/* A change of the client's statements may free one whose text is still in the
 * gather. */
static enum step settle_gather(struct up *u)
{
	return u->g.n ? flush(u) : STEP_ON;
}

/* DEALLOCATE of a statement that was prepared by protocol: the server knows it
 * under our name. Writes the text with that name to out and takes the client's
 * name away; *len is 0 when the text is something else. */
static enum step up_deallocate(struct up *u, const char *sql, size_t n, char out[64], size_t *len)
{
	struct client *c = u->c;
	char name[256], sname[STMT_NAME_CAP];
	struct stmt *st = NULL;
	enum step r;

	*len = 0;
	if (c->names.n && u->s->tx != 'E' && names_deallocated(sql, n, name, sizeof(name)))
		st = stmt_names_get(&c->names, name);
	if (!st)
		return STEP_ON;
	r = need_stmt(u, st);
	if (r == STEP_ON)
		r = settle_gather(u);
	if (r != STEP_ON)
		return r;
	unit_pass(c, RV_CLASS);
	stmt_name(st->id, sname);
	*len = (size_t)snprintf(out, 64, "DEALLOCATE %s", sname);
	stmt_cache_del(&u->s->cache, st->id);
	stmts_put(&c->h->stmts, stmt_names_del(&c->names, name));
	return STEP_ON;
}

/* ---- one message each ---- */

static void own_query(struct up *u, const char *text)
{
	uint8_t b[80];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'Q', text);
	gather_copy(&u->g, b, w.len);
}

static enum step up_query(struct up *u, const uint8_t *msg, uint32_t len, size_t have)
{
	struct client *c = u->c;
	const char *sql = (const char *)msg + WIRE_HEADER;
	bool whole = have == len;
	struct lex_class k = { 0 };
	char dealloc[64];
	size_t dealloc_len = 0;
	enum step r = STEP_ON;

	if (whole && (len < 6 || msg[len - 1] != 0))
		return refuse(u, "protocol violation", "08P01", "invalid string in message");
	if (whole)
		lex_classify(sql, len - WIRE_HEADER - 1, (const char *const *)c->h->snap->deny, &k);
	if (k.first == VERB_DEALLOCATE && k.statements == 1)
		r = up_deallocate(u, sql, len - WIRE_HEADER - 1, dealloc, &dealloc_len);
	if (r == STEP_ON)
		r = room(u, 1, 80);
	if (r == STEP_ON)
		r = owe(u, 'Q', 0, false, 0, NULL);
	if (r != STEP_ON)
		return r;
	if (!whole || !k.sure || k.txn_control)
		c->commit_sent = true;
	c->unit.statements = (uint16_t)(k.statements > 60000 ? 60000 : k.statements);
	if (!whole || !lex_retryable(&k))
		unit_pass(c, RV_CLASS);
	/* A simple Query ends the unnamed statement on the server. */
	if (c->unnamed || u->s->unnamed_serial) {
		r = settle_gather(u);
		drop_unnamed(c);
		u->s->unnamed_serial = 0;
	}
	c->unit.closed = true;
	if (dealloc_len)
		own_query(u, dealloc);
	else
		pass_whole(u, msg, (uint32_t)have);
	return r;
}

static enum step up_parse_named(struct up *u, const char *name, struct stmt *st)
{
	char sname[STMT_NAME_CAP];
	struct client *c = u->c;
	bool live;
	enum step r;

	stmt_name(st->id, sname);
	if (stmt_names_get(&c->names, name)) {
		/* The server's own 42P05: it has the statement, and is asked
		 * for it once more. */
		r = need_stmt(u, stmt_names_get(&c->names, name));
		stmt_name(stmt_names_get(&c->names, name)->id, sname);
		if (r == STEP_ON)
			r = send_parse(u, st, sname, false, 0, &live);
		if (r == STEP_ON)
			r = flush(u); /* st's text may go now */
		stmts_put(&c->h->stmts, st);
		return r;
	}
	if (stmt_cache_use(&u->s->cache, st->id)) {
		r = owe_local(u, LOCAL_PARSE_COMPLETE, &live);
	} else {
		r = evict(u);
		if (r == STEP_ON)
			r = send_parse(u, st, sname, false, st->id, &live);
		if (r == STEP_ON && live && stmt_cache_add(&u->s->cache, st->id))
			r = refuse(u, "out of memory", "53200", "out of memory");
	}
	if (r == STEP_ON && live) {
		if (names_pending(c, name) || stmt_names_add(&c->names, name, st))
			return refuse(u, "out of memory", "53200", "out of memory");
		return STEP_ON;
	}
	if (r == STEP_ON)
		r = settle_gather(u);
	stmts_put(&c->h->stmts, st);
	return r;
}

static enum step up_parse(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct client *c = u->c;
	struct wire_get g = wire_body(msg, len);
	const char *name = wire_get_str(&g, NULL);
	const uint8_t *body = g.p;
	size_t sql_len, dealloc_len, body_len = wire_left(&g);
	char dealloc[64] = { 0 };
	bool fresh, live;
	struct stmt *st;
	enum step r = STEP_ON;

	(void)wire_get_str(&g, &sql_len);
	if (g.bad)
		return refuse(u, "protocol violation", "08P01", "malformed Parse message");
	if (!*name)
		r = up_deallocate(u, (const char *)body, sql_len, dealloc, &dealloc_len);
	if (r != STEP_ON)
		return r;
	if (!*name && dealloc_len) {
		body = (const uint8_t *)dealloc; /* text, zero, no parameter types */
		body_len = dealloc_len + 3;
	}
	st = stmts_get(&c->h->stmts, body, (uint32_t)body_len, &fresh);
	if (!st)
		return refuse(u, "out of memory", "53200", "out of memory");
	if (fresh)
		classify_stmt(c, st);
	STAT_INC(&c->h->stats, parses);
	if (!st->retryable)
		unit_pass(c, RV_CLASS);
	if (*name)
		return up_parse_named(u, name, st);
	r = settle_gather(u);
	if (r == STEP_ON) {
		drop_unnamed(c);
		c->unnamed = st;
		c->unnamed_serial = ++c->h->serial;
		r = send_parse(u, st, "", false, REF_UNNAMED, &live);
		if (r == STEP_ON && live)
			u->s->unnamed_serial = c->unnamed_serial;
	} else {
		stmts_put(&c->h->stmts, st);
	}
	return r;
}

/* The statement a message names, made ready on the server. *found: NULL when
 * the client has no such name: the server will say so. */
static enum step use_stmt(struct up *u, const char *name, const struct stmt **found)
{
	struct client *c = u->c;
	enum step r;

	*found = *name ? stmt_names_get(&c->names, name) : c->unnamed;
	if (!*name)
		r = need_unnamed(u);
	else
		r = *found ? need_stmt(u, *found) : STEP_ON;
	if (!*found || !(*found)->retryable)
		unit_pass(c, RV_CLASS);
	if (!*found || (*found)->may_commit)
		c->commit_sent = true;
	return r;
}

/* Sends a message with the statement's name in it replaced: before, name,
 * after. `before` begins behind the length. */
static enum step send_renamed(struct up *u, uint8_t type, const uint8_t *msg, size_t before,
			      const char *old, const struct stmt *st, size_t have, uint32_t len)
{
	char name[STMT_NAME_CAP];
	uint8_t head[WIRE_HEADER];
	size_t tail = WIRE_HEADER + before + strlen(old) + 1;
	enum step r = room(u, 5, sizeof(head) + sizeof(name));

	if (r != STEP_ON)
		return r;
	stmt_name(st->id, name);
	head[0] = type;
	wire_set_u32(head + 1, (uint32_t)(len - 1 - strlen(old) + strlen(name)));
	unit_record(u->c, UNIT_FORWARD);
	unit_log(u->c, head, sizeof(head));
	unit_log(u->c, msg + WIRE_HEADER, before);
	unit_log(u->c, name, strlen(name) + 1);
	unit_log(u->c, msg + tail, have - tail);
	gather_copy(&u->g, head, sizeof(head));
	gather_range(&u->g, msg + WIRE_HEADER, before);
	gather_copy(&u->g, name, strlen(name) + 1);
	gather_range(&u->g, msg + tail, have - tail);
	return STEP_ON;
}

/* Bind: portal, statement, the rest, of which only `have` bytes may be here. */
static enum step up_bind(struct up *u, const uint8_t *msg, uint32_t len, size_t have)
{
	struct wire_get g = { msg + WIRE_HEADER, msg + have, false };
	const struct stmt *st;
	const char *name;
	size_t before;
	enum step r;

	(void)wire_get_str(&g, NULL);
	before = (size_t)(g.p - (msg + WIRE_HEADER));
	name = wire_get_str(&g, NULL);
	if (g.bad)
		return refuse(u, "protocol violation", "08P01", "malformed Bind message");
	r = use_stmt(u, name, &st);
	if (r == STEP_ON)
		r = room(u, 5, 64);
	if (r == STEP_ON)
		r = owe(u, 'B', 0, false, u->s->bound = st ? st->id : 0, NULL);
	if (r != STEP_ON)
		return r;
	STAT_INC(&u->c->h->stats, binds);
	if (have < len)
		unit_pass(u->c, RV_MEMORY);
	if (*name && st)
		return send_renamed(u, 'B', msg, before, name, st, have, len);
	pass_whole(u, msg, (uint32_t)have);
	return STEP_ON;
}

static enum step up_describe(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);
	char what = (char)wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);
	const struct stmt *st = NULL;
	enum step r = STEP_ON;

	if (g.bad || (what != 'S' && what != 'P'))
		return refuse(u, "protocol violation", "08P01", "malformed Describe message");
	if (what == 'S')
		r = use_stmt(u, name, &st);
	if (r == STEP_ON)
		r = room(u, 5, 64);
	if (r == STEP_ON)
		r = owe(u, 'D', what, false, 0, NULL);
	if (r != STEP_ON)
		return r;
	if (*name && st)
		return send_renamed(u, 'D', msg, 1, name, st, len, len);
	pass_whole(u, msg, len);
	return STEP_ON;
}

static enum step up_close(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);
	char what = (char)wire_get_u8(&g);
	const char *name = wire_get_str(&g, NULL);
	enum step r;
	bool live;

	if (g.bad || (what != 'S' && what != 'P'))
		return refuse(u, "protocol violation", "08P01", "malformed Close message");
	if (what == 'S' && *name) {
		/* The server keeps it for the others; its text may be freed. */
		r = owe_local(u, LOCAL_CLOSE_COMPLETE, &live);
		if (r == STEP_ON)
			r = settle_gather(u);
		if (live)
			stmts_put(&u->c->h->stmts, stmt_names_del(&u->c->names, name));
		return r;
	}
	r = room(u, 1, 0);
	if (r == STEP_ON)
		r = owe(u, 'C', 0, false, 0, &live);
	if (r != STEP_ON)
		return r;
	pass_whole(u, msg, len);
	if (what == 'S' && live) {
		r = settle_gather(u);
		drop_unnamed(u->c);
		u->s->unnamed_serial = 0;
	}
	return r;
}

/* Everything that passes untouched. */
static enum step up_plain(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len)
{
	enum step r = room(u, 1, 0);

	if (r == STEP_ON)
		r = owe(u, (char)type, 0, false, type == 'E' ? u->s->bound : 0, NULL);
	if (r != STEP_ON)
		return r;
	switch (type) {
	case 'S':
		u->c->unit.closed = true;
		break;
	case 'E':
		break;
	default: /* Flush lets the client see part of the answer; F and COPY are never run twice */
		unit_pass(u->c, type == 'H' ? RV_STARTED : RV_CLASS);
	}
	pass_whole(u, msg, len);
	return STEP_ON;
}

/* ---- without a server ---- */

/* A message that is no work for a server. true: dealt with. */
static bool up_unlinked(struct client *c, uint8_t type)
{
	if (type == 'd' || type == 'c' || type == 'f')
		return true; /* the rest of a COPY that has failed: PostgreSQL ignores it too */
	if (type == 'S') {
		c->skip_to_sync = false;
		say_ready(c, c->limbo ? 'E' : 'I');
		return true;
	}
	return c->skip_to_sync || type == 'H';
}

static bool is_frontend(uint8_t type)
{
	return type && strchr("QPBDECSHFdcfX", type);
}

/* The part of a message that must be here before it is dealt with. */
static size_t needed(uint8_t type, uint32_t len)
{
	switch (type) {
	case 'Q':
	case 'P':
		return len <= UP_WHOLE_MAX || type == 'P' ? len : BUF_CAP;
	default:
		return len <= BUF_CAP ? len : BUF_CAP;
	}
}

static enum step dispatch(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	switch (type) {
	case 'Q':
		return up_query(u, msg, len, have);
	case 'P':
		return up_parse(u, msg, len);
	case 'B':
		return up_bind(u, msg, len, have);
	case 'D':
		return up_describe(u, msg, len);
	case 'C':
		return up_close(u, msg, len);
	default:
		return up_plain(u, type, msg, (uint32_t)have);
	}
}

/* A message for the server the client has. */
static enum step up_linked(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	struct client *c = u->c;

	if (!owed_room(&u->s->owed, 8))
		return STEP_STOP_PAUSE;
	if (c->at_start)
		unit_begin(c, u->s);
	else if (c->unit.closed)
		unit_pass(c, RV_PIPELINED);
	return dispatch(u, type, msg, len, have);
}

static enum step one_message(struct up *u)
{
	struct client *c = u->c;
	uint8_t type = 0, *msg = stream_data(&c->s) + u->at;
	size_t have = stream_have(&c->s) - u->at, need;
	uint32_t len = 0;
	enum step r;

	switch (wire_header(msg, have, &type, &len)) {
	case WIRE_BAD:
		return refuse(u, "protocol violation", "08P01", "invalid message length");
	case WIRE_MORE:
		u->want = WIRE_HEADER;
		return STEP_STOP_MORE;
	case WIRE_OK:
	default:
		break;
	}
	if (!is_frontend(type))
		return refuse(u, "protocol violation", "08P01", "invalid frontend message type");
	need = needed(type, len);
	if (type == 'P' && len > UP_WHOLE_MAX)
		return refuse(u, "message too long", "54000",
			      "Parse message is longer than 1 MiB");
	if ((type == 'D' || type == 'C' || type == 'E' || type == 'S' || type == 'H' ||
	     type == 'X') && len > BUF_CAP)
		return refuse(u, "protocol violation", "08P01", "invalid message length");
	if (have < need) {
		u->want = need;
		return STEP_STOP_MORE;
	}
	if (have > len)
		have = len;
	if (type == 'X')
		return refuse(u, "client closed the session", NULL, NULL);
	if (!u->s && up_unlinked(c, type)) {
		r = STEP_ON;
		c->body_drop = true;
	} else if (!u->s) {
		return STEP_STOP_NEED;
	} else {
		r = up_linked(u, type, msg, len, have);
		c->body_drop = false;
	}
	if (r == STEP_ON) {
		/* what was flushed on the way has been consumed */
		u->at += have;
		c->body_left = len - (uint32_t)have;
	}
	return r;
}

/* The next stretch of a message longer than the buffer. */
static enum step body(struct up *u)
{
	struct client *c = u->c;
	size_t have = stream_have(&c->s) - u->at;
	size_t n = have < c->body_left ? have : c->body_left;
	enum step r = STEP_ON;

	if (!c->body_drop) {
		if (!u->s)
			return refuse(u, "server lost in the middle of a message", NULL, NULL);
		r = room(u, 1, 0);
		if (r == STEP_ON)
			gather_range(&u->g, stream_data(&c->s) + u->at, n);
	}
	if (r == STEP_ON) {
		u->at += n;
		c->body_left -= (uint32_t)n;
	}
	return r;
}

/* All that is in the buffer. */
static enum step pass_over(struct up *u)
{
	enum step r = STEP_ON, f;

	while (r == STEP_ON && stream_have(&u->c->s) > u->at) {
		if (u->backed_up && u->at == 0)
			r = STEP_STOP_PAUSE;
		else
			r = u->c->body_left ? body(u) : one_message(u);
	}
	f = flush(u);
	if (u->s)
		names_emit_due(u->c, u->s);
	return f != STEP_ON ? f : r == STEP_ON && u->backed_up ? STEP_STOP_PAUSE : r;
}

enum relay relay_up(struct client *c, bool readable, struct up_why *why)
{
	struct up u;
	int fills;

	u.c = c;
	u.s = server_for(c);
	gather_init(&u.g);
	u.at = 0;
	u.why = why;
	u.backed_up = u.s && stream_backed_up(&u.s->s);
	*why = (struct up_why){ "client connection lost", NULL, NULL };
	for (fills = 0;; fills++) {
		size_t had;

		u.want = 0;
		switch (pass_over(&u)) {
		case STEP_STOP_NEED:
			return RELAY_NEED_SERVER;
		case STEP_STOP_PAUSE:
			return RELAY_PAUSE;
		case STEP_CLIENT:
			return RELAY_CLIENT_GONE;
		case STEP_SERVER:
			return RELAY_SERVER_GONE;
		case STEP_ON:
		case STEP_STOP_MORE:
		default:
			break;
		}
		if (!readable || fills == 4)
			return RELAY_ON;
		had = stream_have(&c->s);
		switch (stream_fill(&c->s, u.want)) {
		case IO_AGAIN:
			return RELAY_ON;
		case IO_EOF:
			why->why = "client closed the connection";
			return RELAY_CLIENT_GONE;
		case IO_FAIL:
			why->why = "client connection lost";
			return RELAY_CLIENT_GONE;
		case IO_OK:
		default:
			break;
		}
		/* A read that did not fill the buffer was the last there is. */
		if (stream_have(&c->s) - had < BUF_CAP / 2 && c->s.in->end < c->s.in->cap)
			readable = false;
	}
}
