/* proxy/session/up_message.c - see up_message.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/count.h"
#include "session/ours.h"
#include "session/prints.h"
#include "session/replay.h"
#include "session/unit.h"
#include "session/up_rewrite.h"
#include "session/up_stmt.h"
#include "session/up_switch.h"
#include "wire/wire.h"

/* Texts that one client's statements may keep in memory. */
#define UP_NAMES_MAX (32u << 20)

/* A text is part of a transaction that may be replayed; k NULL: it is not all here. */
static bool takes_for_replay(struct up *u, const char *sql, size_t n, const struct lex_class *k)
{
	struct replayable x;

	if (u->c->retry != RETRY_REPLAY && u->c->retry != RETRY_OBSERVE && !u->c->replay)
		return false;
	if (k)
		x = lex_replayable(sql, n, &u->c->h->snap->lists, k);
	return replay_takes(u->c, u->s, k ? &x : NULL);
}

/* Several statements, the first of which is BEGIN, and none ends what it began. */
static bool only_opens(const struct up *u, const struct replayable *x)
{
	return !u->s->odd_sql && (x->flags & (REPLAYABLE_OPENS | REPLAYABLE_COMMITS | REPLAYABLE_NOT)) ==
					 REPLAYABLE_OPENS;
}

static enum step up_query(struct up *u, const uint8_t *msg, uint32_t len, size_t have)
{
	struct client *c = u->c;
	const char *sql = (const char *)msg + WIRE_HEADER;
	bool whole = have == len;
	struct lex_class k = { 0 };
	struct replayable x = { 0 };
	uint8_t *other = NULL;
	size_t other_len = 0;
	enum refusal no = REFUSED_NOT;
	enum step r = STEP_ON;
	bool live = false, takes;

	if (whole && (len < 6 || msg[len - 1] != 0))
		return up_malformed(u, 'Q', msg, len, have);
	if (whole)
		lex_classify(sql, len - WIRE_HEADER - 1, &c->h->snap->lists, &k);
	else
		k.leaves = LEAVES_UNKNOWN;
	if (whole && (k.leaves & (LEAVES_END | LEAVES_EXECUTE)))
		r = up_rewrite(u, sql, len - WIRE_HEADER - 1, &other, &other_len);
	if (r == STEP_ON)
		r = up_room(u, 1, UP_OWN_QUERY);
	if (!whole || lex_may_nextval(&k))
		residue_nextval(c);
	if (r == STEP_ON)
		no = up_switch_fails(u, sql, len - WIRE_HEADER - 1, &k);
	if (r == STEP_ON && no == REFUSED_NOT && (k.leaves || u->s->odd_sql || c->temp_path) && !stmt_ends_only(&k))
		no = up_note(u, k.leaves, k.sure, sql, whole ? len - WIRE_HEADER - 1 : 0);
	if (r == STEP_ON && prints_on(c))
		prints_text(c, u->s, sql, whole ? len - WIRE_HEADER - 1 : have - WIRE_HEADER, 0);
	/* A simple Query ends the unnamed statement on the server. */
	takes = c->unnamed || c->pending;
	if (r == STEP_ON)
		r = up_owe(u, 'Q', 0, false,
			   (no == REFUSED_NOT ? 0 : REF_REFUSED | no) | (takes ? REF_TAKES : 0),
			   &live);
	if (r == STEP_ON && live && takes && names_unnamed(c, NULL))
		r = up_refuse(u, "out of memory", "53200", "out of memory");
	if (r != STEP_ON) {
		free(other);
		return r;
	}
	if (live && whole && (k.first == VERB_BEGIN || stmt_ends_only(&k))) {
		x = lex_replayable(sql, len - WIRE_HEADER - 1, &c->h->snap->lists, &k);
		up_opens(u, &x, owed_readies(&u->s->owed) - 1);
	}
	if (!whole || c->unit.ended || (stmt_may_commit(&k) && !only_opens(u, &x)))
		c->commit_sent = true;
	if (!whole || stmt_changes_names(&k))
		c->barrier = true;
	c->unit.statements = (uint16_t)(k.statements > 60000 ? 60000 : k.statements);
	if (!whole || !lex_all_or_nothing(&k))
		c->unit.uncertain = true;
	c->unit.outside |= !whole || !lex_session_only(&k);
	c->unit.rollback = whole && stmt_ends_only(&k) && !stmt_may_commit(&k);
	c->unit.closed = true;
	if (takes_for_replay(u, sql, whole ? len - WIRE_HEADER - 1 : 0, whole ? &k : NULL))
		c->barrier = true; /* one unit at a time */
	else if (!whole || !lex_retryable(&k) || c->unit.bound_only)
		unit_pass(c, RV_CLASS);
	if (live) /* CockroachDB may keep it: another client's */
		u->s->unnamed_serial = u->s->crdb ? UNNAMED_UNKNOWN : 0;
	if (no != REFUSED_NOT) {
		unit_pass(c, RV_CLASS);
		/* the end of a failed block is carried out all the same */
		up_own_query(u, u->s->tx == 'E' && (k.first == VERB_ROLLBACK || k.first == VERB_COMMIT) ?
					"ROLLBACK;SELECT pgweir_refuses_this" :
					"pgweir_refuses_this");
	} else if (other) {
		unit_pass(c, RV_CLASS);
		r = up_flush(u);
		if (r == STEP_ON && stream_send(&u->s->s, other, other_len) == IO_FAIL)
			r = STEP_SERVER;
	} else {
		up_pass(u, msg, (uint32_t)have);
	}
	free(other);
	return r;
}

/* A statement that nobody holds but its text, which may be in the gather. */
static enum step let_go(struct up *u, struct stmt *st, enum step r)
{
	enum step f = up_settle(u);

	stmts_put(&u->c->h->stmts, st);
	return r == STEP_ON ? f : r;
}

static enum step up_parse_named(struct up *u, const char *name, struct stmt *st)
{
	char sname[STMT_NAME_CAP];
	struct client *c = u->c;
	/* CockroachDB prepares in a failed transaction as in any */
	bool failed = u->s->tx == 'E' && !u->s->crdb, live = false;
	enum step r = STEP_ON;

	stmt_name(st->id, sname);
	/* the unit before may be skipped, and with it what it does to the name */
	if (names_awaits(c, name) && owed_unit(&u->s->owed))
		return let_go(u, st, STEP_STOP_PAUSE);
	/* ... or end the failed transaction */
	if (failed && !st->may_exit && owed_unit(&u->s->owed))
		return let_go(u, st, STEP_STOP_PAUSE);
	/* A Parse that must fail is the server's to refuse: of a name that is taken (its
	 * own 42P05: it has the statement, and is asked for it once more), in a failed
	 * transaction, or in a COPY. */
	if (stmt_names_get(&c->names, name) || owed_in_copy(&u->s->owed) ||
	    (failed && !st->may_exit)) {
		const struct stmt *there = stmt_names_get(&c->names, name);

		r = there && !failed && !owed_in_copy(&u->s->owed) ? up_need_stmt(u, there) : STEP_ON;
		stmt_name(there ? there->id : st->id, sname);
		if (r == STEP_ON)
			r = up_send_parse(u, st, sname, false, 0, &live);
		return let_go(u, st, r);
	}
	if (c->names.bytes + st->len > UP_NAMES_MAX) {
		stmts_put(&c->h->stmts, st);
		return up_refuse(u, "too many prepared statements", "54000",
			      "the prepared statements of this connection take more than 32 MiB");
	}
	if (up_switch_parses(u, st, &r)) {
		if (r == STEP_ON)
			r = up_owe_local(u, LOCAL_PARSE_COMPLETE, &live);
	} else if (stmt_cache_use(&u->s->cache, st->id) && owed_unit(&u->s->owed)) {
		/* what is in front of it may yet fail its transaction, and with it this */
		r = up_parse_scratch(u, st, &live);
	} else if (stmt_cache_use(&u->s->cache, st->id)) {
		r = up_owe_local(u, LOCAL_PARSE_COMPLETE, &live);
	} else if (up_in_doubt(&u->s->owed, st->id)) {
		r = STEP_STOP_PAUSE;
	} else {
		r = up_evict(u);
		if (r == STEP_ON)
			r = up_send_parse(u, st, sname, false, st->id, &live);
		if (r == STEP_ON && live && stmt_cache_add(&u->s->cache, st->id))
			r = up_refuse(u, "out of memory", "53200", "out of memory");
	}
	if (r == STEP_ON && live) {
		if (!names_give(c, name, st))
			return STEP_ON;
		r = up_refuse(u, "out of memory", "53200", "out of memory");
	}
	return let_go(u, st, r);
}

static enum step up_parse(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct client *c = u->c;
	struct wire_get g = wire_body(msg, len), types;
	const char *name = wire_get_str(&g, NULL);
	const uint8_t *body = g.p;
	size_t sql_len, dealloc_len, body_len = wire_left(&g);
	char dealloc[64] = { 0 };
	bool fresh, live = false, ours;
	struct stmt *st;
	enum step r = STEP_ON;

	(void)wire_get_str(&g, &sql_len);
	types = g;
	if (g.bad || wire_left(&g) != 2u + 4u * wire_get_u16(&types))
		return up_malformed(u, 'P', msg, len, len);
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
		return up_refuse(u, "out of memory", "53200", "out of memory");
	if (fresh)
		up_classify(c, st);
	COUNT_INC(c, parses);
	if (!st->retryable && !replay_might_take(c, &st->replayable))
		unit_doubt(c, RV_CLASS);
	if (*name)
		return up_parse_named(u, name, st);
	ours = up_switch_parses(u, st, &r);
	if (r == STEP_ON && ours)
		r = up_owe_local(u, LOCAL_PARSE_COMPLETE, &live);
	else if (r == STEP_ON)
		r = up_send_parse(u, st, "", false, REF_UNNAMED, &live);
	if (r == STEP_ON && live && names_unnamed(c, st))
		r = up_refuse(u, "out of memory", "53200", "out of memory");
	if (r != STEP_ON || !live)
		return let_go(u, st, r);
	if (!ours)
		u->s->unnamed_serial = c->unnamed_serial;
	return STEP_ON;
}

/* A name for which the server has nothing. Its own error tells the client so;
 * names like ours are kept from meeting ours. */
static const char *stranger(const char *name, char out[STMT_NAME_CAP])
{
	if (strncmp(name, STMT_PREFIX, sizeof(STMT_PREFIX) - 1) != 0)
		return NULL;
	(void)snprintf(out, STMT_NAME_CAP, " %.28s", name);
	return out;
}

/* What a Bind of this statement brings with it. */
static enum refusal note_bind(struct up *u, const struct stmt *st)
{
	const char *sql = (const char *)st->body;

	if (st->barrier)
		u->c->barrier = true;
	if (st->nextval)
		residue_nextval(u->c);
	if (st->ends_only || (!st->leaves && !u->s->odd_sql && !u->c->temp_path))
		return REFUSED_NOT;
	return up_note(u, st->leaves, st->sure, sql, strnlen(sql, st->len));
}

/* Bind: portal, statement, the rest, of which only `have` bytes may be here. */
static enum step up_bind(struct up *u, const uint8_t *msg, uint32_t len, size_t have)
{
	struct wire_get g = { msg + WIRE_HEADER, msg + have, false };
	const char *name, *other = NULL;
	char own[STMT_NAME_CAP];
	const struct stmt *st;
	enum refusal no = REFUSED_NOT;
	size_t before;
	enum step r;

	(void)wire_get_str(&g, NULL);
	before = (size_t)(g.p - (msg + WIRE_HEADER));
	name = wire_get_str(&g, NULL);
	if (g.bad)
		return up_malformed(u, 'B', msg, len, have);
	r = up_use_stmt(u, name, &st);
	if (r == STEP_ON && st && u->told)
		r = up_check_rows(u, st, msg + have, stream_have(&u->c->s) - u->at - have, &no);
	if (r == STEP_ON && st) {
		if (no == REFUSED_NOT)
			no = note_bind(u, st);
		if (no != REFUSED_NOT)
			return have == len ? up_refused_bind(u, no) :
					     up_refuse(u, "statement refused", "0A000",
						       "a statement that binds its client to a server was refused");
	}
	if (r == STEP_ON && !st &&
	    (u->c->residue.pinned || u->c->residue.asking || u->c->residue.leaves))
		(void)up_note(u, LEAVES_UNKNOWN, false, "", 0); /* SQL may know the name */
	if (r == STEP_ON)
		r = up_room(u, 5, 64);
	if (!u->told)
		u->c->unit.rows_known = false;
	if (r == STEP_ON)
		r = up_owe(u, 'B', 0, false, u->s->bound = st && *name ? st->id : 0, NULL);
	if (r != STEP_ON)
		return r;
	COUNT_INC(u->c, binds);
	if (st && prints_on(u->c))
		prints_text(u->c, u->s, (const char *)st->body,
			    strnlen((const char *)st->body, st->len), st->print);
	if (!replay_takes(u->c, u->s, st ? &st->replayable : NULL) && st && !st->retryable)
		unit_doubt(u->c, RV_CLASS);
	replay_binds(u->c, (const char *)msg + WIRE_HEADER);
	if (u->c->unit.ended)
		u->c->commit_sent = true; /* by the Sync */
	u->c->unit.ended |= st && st->ends_only && !st->may_commit;
	u->c->unit.binds++;
	if (st && !u->s->owed.skipping)
		up_opens(u, &st->replayable, owed_readies(&u->s->owed));
	u->c->unit.outside |= !st || !st->session_only;
	u->c->unit.rollback = u->c->unit.binds == 1 && st && st->ends_only && !st->may_commit;
	if (have < len)
		unit_pass(u->c, RV_MEMORY);
	if (*name && st)
		stmt_name(st->id, own);
	if (*name)
		other = st ? own : stranger(name, own);
	if (other)
		return up_send_renamed(u, 'B', msg, before, name, other, have, len);
	up_pass(u, msg, (uint32_t)have);
	return STEP_ON;
}

/* Whose rows the answer will describe, 0: nobody's who needs to know. */
static uint64_t rows_of(const struct up *u, char what, const char *name, const struct stmt *st)
{
	if (what == 'S')
		return st && *name ? st->id : 0;
	return *name || u->c->unit.rows_known ? 0 : u->s->bound;
}

static enum step up_describe(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);
	char what = (char)wire_get_u8(&g), own[STMT_NAME_CAP];
	const char *name = wire_get_str(&g, NULL), *other = NULL;
	const struct stmt *st = NULL;
	enum step r = STEP_ON;

	if (g.bad || (what != 'S' && what != 'P'))
		return up_malformed(u, 'D', msg, len, len);
	if (what == 'S')
		r = up_use_stmt(u, name, &st);
	if (r == STEP_ON)
		r = up_room(u, 5, 64);
	if (r == STEP_ON)
		r = up_owe(u, 'D', what, false, rows_of(u, what, name, st), NULL);
	if (r != STEP_ON)
		return r;
	if (what == 'P')
		replay_uses(u->c, name);
	if (what == 'P' && u->c->unit.binds == 1)
		u->c->unit.described = true;
	if (*name && st)
		stmt_name(st->id, own);
	if (*name && what == 'S')
		other = st ? own : stranger(name, own);
	if (other)
		return up_send_renamed(u, 'D', msg, 1, name, other, len, len);
	up_pass(u, msg, len);
	return STEP_ON;
}

static enum step up_close(struct up *u, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);
	char what = (char)wire_get_u8(&g), other[STMT_NAME_CAP];
	const char *name = wire_get_str(&g, NULL);
	enum step r;
	bool live = false, unnamed;

	if (g.bad || (what != 'S' && what != 'P'))
		return up_malformed(u, 'C', msg, len, len);
	if (what == 'S' && *name && stmt_names_get(&u->c->names, name)) {
		/* The server keeps it for the others. */
		r = up_owe_local(u, LOCAL_CLOSE_COMPLETE, &live);
		if (r == STEP_ON && live && names_take(u->c, name))
			r = up_refuse(u, "out of memory", "53200", "out of memory");
		return r;
	}
	unnamed = what == 'S' && !*name;
	if (what == 'P')
		replay_uses(u->c, name);
	r = up_room(u, 5, 64);
	if (r == STEP_ON)
		r = up_owe(u, 'C', 0, false, unnamed ? REF_UNNAMED : 0, &live);
	if (r != STEP_ON)
		return r;
	/* one that was prepared by SQL, or none */
	if (what == 'S' && *name && u->c->residue.pinned)
		u->c->residue.leaves |= LEAVES_END;
	if (what == 'S' && stranger(name, other))
		return up_send_renamed(u, 'C', msg, 1, name, other, len, len);
	up_pass(u, msg, len);
	if (!unnamed || !live)
		return STEP_ON;
	u->s->unnamed_serial = 0;
	return names_unnamed(u->c, NULL) ? up_refuse(u, "out of memory", "53200", "out of memory") :
					   STEP_ON;
}

/* Everything that passes untouched. */
static enum step up_plain(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len)
{
	enum step r = up_room(u, 1, 0);

	if ((type == 'S' || type == 'H') && len != WIRE_HEADER)
		return up_malformed(u, type, msg, len, len);

	if (r == STEP_ON)
		r = up_owe(u, (char)type, 0, false, type == 'E' ? u->s->bound : 0, NULL);
	if (r != STEP_ON)
		return r;
	switch (type) {
	case 'S':
		u->c->unit.closed = true;
		u->c->barrier |= replay_covers(u->c); /* one unit at a time */
		break;
	case 'E':
		replay_uses(u->c, (const char *)msg + WIRE_HEADER);
		break;
	case 'F':
		residue_nextval(u->c);
		(void)up_note(u, LEAVES_UNKNOWN, false, "", 0);
		unit_pass(u->c, RV_CLASS);
		u->c->unit.uncertain = u->c->unit.outside = true;
		break;
	default: /* Flush lets the client see part of the answer; F and COPY are never run twice */
		u->c->unit.uncertain |= type != 'H';
		u->c->unit.outside |= type != 'H';
		unit_pass(u->c, type == 'H' ? RV_STARTED : RV_CLASS);
	}
	up_pass(u, msg, len);
	return STEP_ON;
}

/* What any of its texts may leave behind, any Bind may. */
static void raw_note(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len)
{
	struct client *c = u->c;
	struct wire_get g = wire_body(msg, len);
	struct lex_class k;
	const char *sql;
	size_t n = 0;

	if (type == 'B' && c->raw_leaves) {
		residue_nextval(c);
		(void)up_note(u, c->raw_leaves | LEAVES_UNKNOWN, false, "", 0);
	}
	if (type == 'B')
		return;
	(void)wire_get_str(&g, NULL);
	sql = wire_get_str(&g, &n);
	if (g.bad)
		return;
	lex_classify(sql, n, &c->h->snap->lists, &k);
	c->raw_leaves |= k.leaves;
	if (u->s->odd_sql || c->temp_path)
		c->raw_leaves |= LEAVES_UNKNOWN;
}

/* max_prepared_statements = 0: statements are the client's own affair. */
static enum step up_raw(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	enum step r = up_room(u, 1, 0);

	if (len <= WIRE_HEADER)
		return up_malformed(u, type, msg, len, have);
	if (r == STEP_ON && (type == 'P' || type == 'B'))
		raw_note(u, type, msg, len);
	if (r == STEP_ON)
		r = up_owe(u, (char)type, (char)msg[WIRE_HEADER], false, 0, NULL);
	if (r != STEP_ON)
		return r;
	unit_pass(u->c, RV_CLASS);
	/* the texts are not looked at */
	u->c->commit_sent = u->c->unit.uncertain = u->c->unit.outside = true;
	u->s->unnamed_serial = UNNAMED_UNKNOWN;
	gather_range(&u->g, msg, have);
	return STEP_ON;
}

enum step up_message(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	enum step r = STEP_ON;

	if (up_switch_message(u, type, msg, len, have, &r))
		return r;
	if (u->c->h->snap->conf->g.max_prepared_statements == 0 && strchr("PBDC", type))
		return up_raw(u, type, msg, len, have);
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
