/* proxy/session/lost.c - see lost.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/lost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/lost_words.h"
#include "session/names.h"
#include "session/replay.h"
#include "session/server.h"
#include "session/step.h"
#include "session/undo.h"
#include "session/unit.h"
#include "wire/lexer.h"
#include "wire/wire.h"

struct verdict {
	const char *sqlstate, *message, *detail, *hint;
	char status;             /* of the ReadyForQuery */
};

/* The server said why, and it was not that it is going away: its own reason
 * (a timeout, say) is worth more than ours. */
static bool has_reason(const struct down_why *w)
{
	return *w->sqlstate && strncmp(w->sqlstate, "57P0", 4) != 0 &&
	       strncmp(w->sqlstate, "08", 2) != 0;
}

static void judge(const struct client *c, const struct server *s, const struct down_why *w,
		  struct verdict *v)
{
	/* What its client has sent behind a BEGIN is not to run without it, and be
	 * committed on its own. */
	bool block = s->block, opens = c->opens_sent;

	if (has_reason(w) && !(block && c->commit_sent)) {
		v->sqlstate = w->sqlstate;
		v->message = w->message;
		v->status = block || opens ? 'E' : 'I';
		return;
	}
	if (block && !c->commit_sent) {
		v->sqlstate = "40001";
		v->message = lost_in_block;
		v->hint = lost_in_block_hint;
		v->status = 'E';
		return;
	}
	if (!block && c->unit.state != UNIT_NONE && !c->unit.outside) {
		v->sqlstate = "40001";
		v->message = lost_undone;
		v->status = opens ? 'E' : 'I';
		return;
	}
	v->sqlstate = "40003";
	v->message = block ? lost_commit : lost_unknown;
	v->hint = lost_unknown_hint;
	v->status = opens ? 'E' : 'I';
}

static void say_verdict(struct client *c, const struct verdict *v)
{
	say_error(c, "ERROR", v->sqlstate, v->message, v->detail, v->hint);
}

/* Walks what was owed: an error and a ReadyForQuery for each unit. A batch without
 * its Sync is in flight even with every answer here: what it did is undone, or not
 * known, and its client would go on as if it were not. Returns whether anything of
 * the client's was in flight. */
static bool answer_owed(struct client *c, struct server *s, const struct verdict *v)
{
	struct owed *o = &s->owed;
	bool any = false, waits = false, told = false;
	uint32_t i, behind = !s->block && c->opens_sent ? c->opens_behind : 0;

	for (i = 0; i < o->n; i++) {
		const struct owed_entry *e = &o->q[(o->head + i) & (o->cap - 1)];

		if (e->swallow || e->kind == OWED_COPY_END)
			continue;
		if (waits && e->kind != OWED_SYNC && !o->query_ends_skip)
			continue; /* an error in the batch skips to its Sync */
		waits = e->kind != OWED_SYNC && e->kind != OWED_QUERY && e->kind != OWED_FCALL;
		if (waits)
			continue;
		say_verdict(c, v);
		say_ready(c, behind ? 'I' : v->status);
		behind -= behind > 0;
		any = told = true;
	}
	if (waits) {
		say_verdict(c, v);
		any = told = true;
	}
	c->batch_lost = o->open && !o->skipping && !waits;
	c->skip_to_sync = waits || o->skipping;
	c->limbo_told = told;
	return any || o->skipping || c->batch_lost;
}

/* Is all that is in flight a ROLLBACK? The server has done as it says by going. */
static bool rolls_back(const struct client *c, const struct server *s)
{
	const struct unit *u = &c->unit;
	const struct owed *o = &s->owed;
	unsigned runs = 0;
	uint32_t i;

	if (!u->rollback || !u->closed || o->ready_n != 1 || o->skipping || c->body_left)
		return false;
	for (i = 0; i < o->n; i++) {
		const struct owed_entry *e = &o->q[(o->head + i) & (o->cap - 1)];

		/* a name that is given on the way has to wait for its server */
		if (e->kind == OWED_LOCAL || (e->kind == OWED_PARSE && !e->swallow && e->ref != REF_UNNAMED))
			return false;
		if (e->kind == OWED_FCALL || e->kind == OWED_COPY_END)
			return false;
		runs += !e->swallow && (e->kind == OWED_EXECUTE || e->kind == OWED_QUERY);
	}
	return u->fresh && runs == 1;
}

/* It gets what it asked for. */
static void answer_rollback(struct client *c, struct server *s)
{
	static const uint8_t reply[OWED_KIND_N][12] = {
		[OWED_PARSE] = { '1', 0, 0, 0, 4 },	 [OWED_BIND] = { '2', 0, 0, 0, 4 },
		[OWED_CLOSE] = { '3', 0, 0, 0, 4 },	 [OWED_DESCRIBE_P] = { 'n', 0, 0, 0, 4 },
		[OWED_DESCRIBE_S] = { 't', 0, 0, 0, 6, 0, 0, 'n', 0, 0, 0, 4 },
	};
	uint32_t i;

	for (i = 0; i < s->owed.n; i++) {
		const struct owed_entry *e = &s->owed.q[(s->owed.head + i) & (s->owed.cap - 1)];
		uint8_t b[32];
		struct wire_put w = wire_put_to(b, sizeof(b));

		if (e->swallow)
			continue;
		names_settled(s, e);
		if (e->kind == OWED_EXECUTE || e->kind == OWED_QUERY)
			wire_put_msg_str(&w, 'C', "ROLLBACK");
		else if (e->kind < OWED_SYNC)
			wire_put_bytes(&w, reply[e->kind], e->kind == OWED_DESCRIBE_S ? 12 : 5);
		say(c, b, w.len);
	}
}

/* Lost while a unit was being sent again: the client sent all of it long ago. */
static bool answer_unit(struct client *c, const struct verdict *v)
{
	c->unit.resending = false;
	say_verdict(c, v);
	say_ready(c, v->status);
	c->skip_to_sync = c->batch_lost = false;
	c->limbo_told = true;
	return true;
}

bool lost_server(struct client *c, struct server *s, const struct down_why *w)
{
	bool cut = s->body_left && !s->body_swallow, block, in_flight;
	struct verdict v = { 0 };
	char detail[320], token[64];
	bool done = s->block && rolls_back(c, s);

	if (cut) {
		client_step(c, CE_UNLINK);
		server_close(s, w->why, false);
		return false;
	}
	if (c->dressing)
		s->block = false; /* it is that of the settings */
	block = s->block;
	/* A text that might have committed, or a portal of COMMIT that waits in its
	 * block: nothing of it is on its way now. */
	if (!owed_forwards(&s->owed) && (!s->owed.open || s->owed.skipping))
		c->commit_sent = false;
	judge(c, s, w, &v);
	(void)snprintf(detail, sizeof(detail), "Node %s: %s%s%s.", s->target->addr.name, w->why,
		       *w->message ? ": " : "", w->message);
	v.detail = detail;
	if (c->unit.answered)
		relay_give_up(c); /* it had failed for certain, and was to be run again */
	if (done)
		answer_rollback(c, s);
	else if (s->owed.skipping && s->owed.open)
		unit_pass(c, RV_STARTED); /* its error is held, and nothing else will be said */
	unit_end(c);
	replay_forget(c);
	names_clear(c);
	deadline_clear(&c->dl);
	c->dressing = c->dressed_only = c->beginning = c->begin_failed =
		c->cancel_due = false;
	deadline_clear(&c->idle_dl);
	c->limbo = v.status == 'E' && !done;
	/* also when the outcome is not known: the client is told what holds from now on */
	if (undo_lost(c, s))
		c->residue.evict = true;
	if (done) {
		say_ready(c, 'I'); /* with the settings of before */
		c->skip_to_sync = c->batch_lost = false;
	}
	in_flight = done		? true :
		    c->unit.resending ? answer_unit(c, &v) :
					answer_owed(c, s, &v);
	if (c->limbo || in_flight)
		client_forget_begin(c); /* of the transaction that is lost */
	c->limbo_exit = false;
	c->commit_sent = c->opens_sent = false;
	c->opens_behind = 0;
	c->at_start = true;
	if (c->body_left)
		c->body_drop = true;
	if (in_flight || block)
		LOG(&c->log, LOG_LEVEL_WARN, "server_lost", "sqlstate=%s why=%s", v.sqlstate,
		    log_token(token, sizeof(token), w->why));
	client_step(c, CE_UNLINK);
	server_close(s, w->why, false);
	return true;
}

/* ---- refusing ---- */

void refuse_unit(struct client *c, const char *sqlstate, const char *message, const char *detail,
		 const char *hint)
{
	uint8_t type = 0, *msg = stream_have(&c->s) ? stream_data(&c->s) : NULL;
	size_t have = stream_have(&c->s);
	uint32_t len = 0;

	say_error(c, "ERROR", sqlstate, message, detail, hint);
	if (!msg || wire_header(msg, have, &type, &len) != WIRE_OK) {
		c->skip_to_sync = true;
		return;
	}
	if (have > len)
		have = len;
	stream_consume(&c->s, have);
	c->body_left = len - (uint32_t)have;
	c->body_drop = true;
	if (c->begun) {
		/* its transaction has failed before it began anywhere */
		client_forget_begin(c);
		replay_forget(c);
		c->limbo = c->limbo_told = true;
	}
	if (type == 'Q' || (type == 'F' && !c->crdb))
		say_ready(c, c->limbo ? 'E' : 'I');
	else
		c->skip_to_sync = true;
}

/* ---- limbo ---- */

static bool is_exit(const struct lex_class *k)
{
	return k->sure && !k->chain && (k->first == VERB_ROLLBACK || k->first == VERB_COMMIT);
}

static void limbo_error(struct client *c)
{
	if (c->limbo_told)
		say_error(c, "ERROR", "25P02",
			  "current transaction is aborted, commands ignored until end of "
			  "transaction block",
			  NULL, NULL);
	else
		say_error(c, "ERROR", "40001", lost_in_block, NULL, lost_in_block_hint);
	c->limbo_told = true;
}

static void leave_limbo(struct client *c)
{
	uint8_t b[32];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'C', "ROLLBACK");
	say(c, b, w.len);
	c->limbo = false;
	c->limbo_exit = false;
}

static void tell_undone(struct client *c)
{
	uint8_t b[2048];
	struct wire_put w = wire_put_to(b, sizeof(b));

	undo_put(c, &w);
	if (!w.bad)
		say(c, b, w.len);
}

/* true: the message is dealt with; false: what is left of it is a Query for a
 * server, at the head of the buffer. */
static bool limbo_query(struct client *c, uint8_t *msg, uint32_t len)
{
	const char *sql = (const char *)msg + WIRE_HEADER;
	struct lex_class k;
	size_t n = len - WIRE_HEADER - 1, rest;
	uint8_t *head;

	lex_classify(sql, n, NULL, &k);
	names_query(c);
	if (!is_exit(&k)) {
		limbo_error(c);
		say_ready(c, 'E');
		stream_consume(&c->s, len);
		return true;
	}
	if (k.first == VERB_COMMIT && !c->limbo_told) {
		/* It believes that there is something to commit. */
		limbo_error(c);
		c->limbo = false;
		say_ready(c, 'I');
		stream_consume(&c->s, len);
		return true;
	}
	leave_limbo(c);
	if (k.statements > 1 && undo_untold(c))
		tell_undone(c);
	if (k.statements <= 1) {
		say_ready(c, 'I');
		stream_consume(&c->s, len);
		return true;
	}
	/* "ROLLBACK; and more": the rest becomes the message. */
	rest = n - k.second_at;
	head = msg + k.second_at;
	head[0] = 'Q';
	wire_set_u32(head + 1, (uint32_t)(4 + rest + 1));
	stream_consume(&c->s, k.second_at);
	return false;
}

static const uint8_t parse_complete[] = { '1', 0, 0, 0, 4 };
static const uint8_t bind_complete[] = { '2', 0, 0, 0, 4 };
static const uint8_t close_complete[] = { '3', 0, 0, 0, 4 };
static const uint8_t no_params[] = { 't', 0, 0, 0, 6, 0, 0 };
static const uint8_t no_data[] = { 'n', 0, 0, 0, 4 };

static bool stmt_is_exit(const struct stmt *st, bool *commit)
{
	struct lex_class k;

	if (!st)
		return false;
	lex_classify((const char *)st->body, strnlen((const char *)st->body, st->len), NULL, &k);
	*commit = k.first == VERB_COMMIT;
	return is_exit(&k) && k.statements == 1;
}

static bool limbo_parse(struct client *c, struct wire_get g)
{
	const char *name = wire_get_str(&g, NULL);
	bool fresh, commit;
	struct stmt *st = g.bad ? NULL :
				  stmts_get(&c->h->stmts, g.p, (uint32_t)wire_left(&g), &fresh);

	if (!st || !stmt_is_exit(st, &commit) || (*name && stmt_names_add(&c->names, name, st))) {
		stmts_put(&c->h->stmts, st);
		return false;
	}
	st->may_commit = true;
	if (!*name) {
		stmts_put(&c->h->stmts, c->unnamed);
		c->unnamed = st;
		c->unnamed_serial = ++c->h->serial;
	}
	say(c, parse_complete, sizeof(parse_complete));
	return true;
}

/* One message of the extended protocol. false: it is an error here. */
static bool limbo_extended(struct client *c, uint8_t type, struct wire_get g)
{
	const char *name;
	bool commit;
	char what;

	switch (type) {
	case 'P':
		return limbo_parse(c, g);
	case 'B':
		(void)wire_get_str(&g, NULL);
		name = wire_get_str(&g, NULL);
		c->limbo_exit = !g.bad && stmt_is_exit(*name ? stmt_names_get(&c->names, name) :
							       c->unnamed,
						       &c->limbo_commit);
		if (c->limbo_exit)
			say(c, bind_complete, sizeof(bind_complete));
		return c->limbo_exit;
	case 'D':
		what = (char)wire_get_u8(&g);
		name = wire_get_str(&g, NULL);
		if (what == 'P' ? !c->limbo_exit :
				  !stmt_is_exit(*name ? stmt_names_get(&c->names, name) : c->unnamed,
						&commit))
			return false;
		if (what == 'S')
			say(c, no_params, sizeof(no_params));
		say(c, no_data, sizeof(no_data));
		return true;
	case 'C':
		what = (char)wire_get_u8(&g);
		name = wire_get_str(&g, NULL);
		if (g.bad)
			return false;
		if (what == 'S' && *name)
			stmts_put(&c->h->stmts, stmt_names_del(&c->names, name));
		say(c, close_complete, sizeof(close_complete));
		return true;
	case 'E':
		if (!c->limbo_exit)
			return false;
		if (c->limbo_commit && !c->limbo_told) {
			c->limbo = false; /* the error that follows ends it */
			return false;
		}
		leave_limbo(c);
		return true;
	default:
		return false;
	}
}

bool limbo_message(struct client *c)
{
	uint8_t type = 0, *msg = stream_data(&c->s);
	size_t have = stream_have(&c->s);
	uint32_t len = 0;

	if (wire_header(msg, have, &type, &len) != WIRE_OK)
		return true; /* relay_up has looked at it before */
	if (type == 'Q' && have >= len && len > WIRE_HEADER)
		return limbo_query(c, msg, len);
	if (type == 'Q' || type == 'F' || have < len) {
		limbo_error(c);
		if (type == 'Q' || (type == 'F' && !c->crdb))
			say_ready(c, 'E');
		else
			c->skip_to_sync = true;
	} else if (!limbo_extended(c, type, wire_body(msg, len))) {
		limbo_error(c);
		c->skip_to_sync = true;
	}
	if (have > len)
		have = len;
	stream_consume(&c->s, have);
	c->body_left = len - (uint32_t)have;
	c->body_drop = true;
	return true;
}
