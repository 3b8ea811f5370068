/* proxy/session/replay_run.c - see replay_run.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/replay_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/count.h"
#include "session/ending.h"
#include "session/lost_words.h"
#include "session/names.h"
#include "session/nodes.h"
#include "session/ours.h"
#include "session/outcome.h"
#include "session/replay_name.h"
#include "session/residue.h"
#include "session/resend.h"
#include "session/server.h"
#include "session/settings.h"
#include "session/step.h"
#include "session/undo.h"
#include "session/unit.h"
#include "wire/wire.h"

/* Longer than that is long for a statement: who ended it may have meant it. */
#define LONG_US 1000000u

static bool send_own(struct server *s, const char *sql)
{
	uint8_t b[1100];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'Q', sql);
	s->unnamed_serial = UNNAMED_UNKNOWN; /* a simple Query ends it */
	return !w.bad && !owed_sent(&s->owed, 'Q', 0, true, OURS_REPLAY, NULL) &&
	       stream_send(&s->s, b, w.len) != IO_FAIL;
}

/* The unnamed statement that the client has is put aside while older ones take its
 * place. */
static void keep_unnamed(struct client *c)
{
	struct replay *r = c->replay;

	if (r->unnamed_kept)
		return;
	r->unnamed_kept = true;
	r->unnamed_now = c->unnamed;
	if (r->unnamed_now)
		r->unnamed_now->refs++;
	r->unnamed_now_serial = c->unnamed_serial;
}

static void restore_unnamed(struct client *c)
{
	struct replay *r = c->replay;

	names_clear(c);
	if (!r->unnamed_kept)
		return;
	r->unnamed_kept = false;
	stmts_put(&c->h->stmts, c->unnamed);
	c->unnamed = r->unnamed_now;
	c->unnamed_serial = r->unnamed_now_serial;
	r->unnamed_now = NULL;
	c->pending = r->pending;
	r->pending = NULL;
	names_clear(c); /* of a unit that is lost for good */
}

/* ---- giving up ---- */

static void count_end(struct client *c, const char *why)
{
	struct replay *r = c->replay;
	bool mismatch = strcmp(why, "mismatch") == 0;
	unsigned unit = mismatch ? r->unit_at : r->units;
	uint64_t fingerprint = replay_fingerprint(c, unit);
	unsigned begin = r->begin != NULL; /* not in the log, and a unit of the client's */

	COUNT_INC(c, replay_gave_up);
	if (mismatch) {
		COUNT_INC(c, replay_mismatch);
		if (fingerprint)
			mismatches_add(&c->h->mismatches, fingerprint, unit + begin);
	}
	LOG(&c->log, LOG_LEVEL_INFO, "replay_gave_up",
	    "reason=%s attempts=%u unit=%u units=%u fingerprint=%016llx time_us=%llu", why,
	    r->attempts, unit + begin, r->units + begin, (unsigned long long)fingerprint,
	    (unsigned long long)(c->h->w.now_us - r->first_fail_us));
}

/* The client's 57014 in place of the error that it would have got. */
static void cancelled_instead(struct client *c)
{
	static const struct wire_error e = { "ERROR", "57014",
					     "canceling statement due to user request", NULL, NULL,
					     NULL };
	struct replay *r = c->replay;
	const struct conf_global *g = &c->h->snap->conf->g;
	uint8_t b[512];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_error(&w, 'E', &e);
	if (!r->lost)
		wire_put_ready(&w, r->status);
	/* without memory for it the old error does */
	if (hold_room(&r->first, w.len, w.len + r->first.len, &c->h->holds,
		      g->retry_mem_total))
		return;
	r->first.len = 0;
	memcpy(r->first.p, b, w.len);
	r->first.len = w.len;
}

/* What the client believes from now on is told, or known already. */
static void forget_unit(struct client *c, char status)
{
	restore_unnamed(c);
	unit_end(c);
	c->unit.answered = c->unit.resending = false;
	names_stay(c);
	if (status == 'I') {
		residue_confirmed(c);
		replay_forget(c);
	} else {
		c->replay->phase = REPLAY_ARMED;
		replay_disarm(c, RV_EXHAUSTED);
	}
	c->commit_sent = c->opens_sent = c->barrier = false;
	c->at_start = true;
	deadline_clear(&c->dl);
}

/* The server is where the client expects it. */
static enum replay_next deliver(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	if (s->tx != r->status)
		return REPLAY_BROKEN;
	if (r->cancelled)
		c->unit.error = (uint8_t)(meter_class("57014") + 1);
	say(c, r->first.p, r->first.len);
	count_answered(c, s, s->tx);
	forget_unit(c, s->tx);
	client_step(c, CE_AGAIN);
	return REPLAY_TOLD;
}

/* Without a server: the error alone where the server was lost, else its ReadyForQuery too. */
static void say_first(struct client *c)
{
	const struct replay *r = c->replay;

	if (r->lost)
		count_error(c, r->asks ? "40003" : "40001");
	else
		count_ready(c);
	say(c, r->first.p, r->first.len);
}

void replay_abandon(struct client *c, const char *sqlstate, const char *message,
		    const char *detail, const char *hint)
{
	struct replay *r = c->replay;
	bool lost = r->lost, in_flight = r->in_flight, closed = c->unit.closed;
	/* a BEGIN alone has failed, and there is no transaction */
	bool before = r->over || (lost && in_flight && c->unit.opens && !r->told && !c->unit.outside);
	char status = r->status;

	if (lost) {
		undo_unseen(c); /* what an attempt has set */
		residue_lost(c);
	}
	client_forget_begin(c);
	if (!sqlstate && !r->first.len) {
		sqlstate = "40001";
		message = lost_in_block;
		hint = lost_in_block_hint;
	}
	if (!lost || in_flight) {
		if (sqlstate)
			say_error(c, "ERROR", sqlstate, message, detail, hint);
		else
			say_first(c);
	}
	r->phase = REPLAY_ARMED;
	forget_unit(c, 'E');
	replay_forget(c);
	c->limbo = !before && (lost || status == 'E');
	c->limbo_told = !lost || in_flight;
	c->limbo_exit = false;
	c->skip_to_sync = c->batch_lost = false;
	if (lost && in_flight && !closed)
		c->skip_to_sync = true;
	else if (before || (!c->limbo && sqlstate))
		say_ready(c, 'I');
	else if ((lost && in_flight) || (!lost && sqlstate))
		say_ready(c, 'E');
}

static enum replay_next give_up(struct client *c, struct server *s, const char *why)
{
	struct replay *r = c->replay;
	bool ok = true;

	count_end(c, why);
	if (r->cancelled) {
		COUNT_INC(c, replay_cancelled);
		cancelled_instead(c);
	}
	if (r->lost) {
		/* where the client was, no server is: it is told by lost.h */
		client_release(c, s);
		replay_abandon(c, NULL, NULL, NULL, NULL);
		return REPLAY_LEFT;
	}
	if (c->state != CL_REPLAY)
		client_step(c, CE_REPLAY);
	deadline_clear(&c->dl);
	r->phase = REPLAY_GIVE_UP;
	if (s->tx != 'I')
		ok = send_own(s, "ROLLBACK");
	if (r->status != 'I') {
		ok = ok && send_own(s, "BEGIN");
		ok = ok && send_own(s, "ROLLBACK TO SAVEPOINT \"pgweir_giveup\"");
	}
	if (!ok)
		return REPLAY_BROKEN;
	return owed_nothing(&s->owed) ? deliver(c, s) : REPLAY_WAIT;
}

/* ---- an attempt ---- */

/* It has closed its connection, or said that it does. */
static bool has_left(struct client *c)
{
	enum io io = stream_have(&c->s) ? IO_OK : stream_fill(&c->s, 0);

	if (io == IO_EOF || io == IO_FAIL)
		return true;
	return stream_have(&c->s) ? *stream_data(&c->s) == 'X' || stream_gone(&c->s) :
				    stream_gone(&c->s);
}

static enum replay_next live(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	if (has_left(c))
		return REPLAY_CLIENT_GONE; /* never commit for nobody */
	r->phase = REPLAY_ARMED;
	tally_begin(&r->tally);
	r->notices = 0;
	stmts_put(&c->h->stmts, r->unnamed_now);
	r->unnamed_now = NULL;
	r->unnamed_kept = false;
	c->pending = r->pending; /* nothing else is awaited */
	r->pending = NULL;
	names_settle_all(c);
	c->residue.nextval |= r->nextval;
	if (c->undo)
		params_clear(&c->undo->told); /* of a transaction that was lost, and is not */
	client_step(c, CE_AGAIN);
	r->over = false;
	if (r->in_flight && c->unit.commits && !outcome_ask_again(c, s))
		return REPLAY_BROKEN;
	if (r->in_flight) {
		/* a batch that was flushed, and of which nothing was told, waits for it */
		c->unit.state = r->flushed ? UNIT_PASS : UNIT_ARMED;
		c->barrier = c->unit.closed;
		return resend_unit(c, s) ? REPLAY_GOES_ON : REPLAY_BROKEN;
	}
	replay_success(c);
	c->at_start = true;
	return REPLAY_GOES_ON;
}

/* Unless it has been parsed by the log itself. */
static bool send_unnamed(struct client *c, struct server *s)
{
	const struct stmt *st = c->replay->unnamed;
	uint8_t head[WIRE_HEADER + 1];

	if (!st)
		return true;
	head[0] = 'P';
	wire_set_u32(head + 1, 4 + 1 + st->len);
	head[WIRE_HEADER] = 0;
	s->unnamed_serial = UNNAMED_UNKNOWN;
	return !owed_sent(&s->owed, 'P', 0, true, REF_UNNAMED, NULL) &&
	       stream_send(&s->s, head, sizeof(head)) != IO_FAIL &&
	       stream_send(&s->s, st->body, st->len) != IO_FAIL;
}

/* Units of the log to where the records of one end. */
static bool send_units(struct client *c, struct server *s, size_t end)
{
	struct replay *r = c->replay;
	size_t at = r->log_at;

	r->log_at = end;
	return resend_log(c, s, &r->log, at, end);
}

static enum replay_next rest(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	if (r->log_at == r->log.len)
		return live(c, s);
	if (has_left(c))
		return REPLAY_CLIENT_GONE;
	r->phase = REPLAY_REST;
	return send_units(c, s, r->log.len) ? REPLAY_WAIT : REPLAY_BROKEN;
}

/* s is in no transaction. */
static enum replay_next start(struct client *c, struct server *s)
{
	struct replay *r = c->replay;
	uint32_t end;

	if (r->cancelled)
		return give_up(c, s, "cancelled");
	COUNT_INC(c, replay_begun);
	if (c->state != CL_REPLAY)
		client_step(c, CE_REPLAY);
	r->attempts++;
	r->log_at = r->sum_at = r->unit_at = 0;
	r->failed = r->differs = false;
	tally_begin(&r->tally);
	r->phase = REPLAY_FIRST;
	if (r->begin)
		return send_own(s, r->begin) ? REPLAY_WAIT : REPLAY_BROKEN;
	if (!r->units)
		return live(c, s);
	memcpy(&end, r->sums.p, sizeof(end));
	return send_unnamed(c, s) && send_units(c, s, end) ? REPLAY_WAIT : REPLAY_BROKEN;
}

static void pause(struct client *c)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	struct replay *r = c->replay;
	uint64_t us = retry_backoff_us(r->attempts, (uint64_t)g->retry_backoff_base,
				       (uint64_t)g->retry_backoff_max, worker_random(&c->h->w));

	client_step(c, CE_FAIL40001);
	stream_want(&c->s, false);
	deadline_clear(&c->idle_dl);
	deadline_set(&c->h->w, DL_BACKOFF, &c->dl, c->h->w.now_us + us);
}

/* Another attempt, if there is time for one. */
static enum replay_next again(struct client *c, struct server *s)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	struct replay *r = c->replay;

	if (r->cancelled)
		return give_up(c, s, "cancelled");
	if (r->attempts >= (unsigned)g->retry_max_attempts ||
	    c->h->w.now_us - r->first_fail_us > (uint64_t)g->retry_max_time) {
		COUNT_INC(c, replay_exhausted);
		return give_up(c, s, "exhausted");
	}
	r->phase = REPLAY_BACK;
	r->due = false;
	if (s->tx != 'I' && !send_own(s, "ROLLBACK"))
		return REPLAY_BROKEN;
	pause(c);
	return REPLAY_WAIT;
}

enum replay_next replay_recover(struct client *c, struct server *s)
{
	struct replay *r = c->replay;
	struct unit *u = &c->unit;
	bool first = !r->attempts;

	/* of one that was longer in coming, the client has had more */
	if (first || r->told > r->first_told || r->asked) {
		hold_free(&r->first, &c->h->holds);
		r->first = u->back;
		r->first_told = r->told;
		u->back = (struct hold){ 0 };
		r->status = u->status;
		r->lost &= !r->asked;
		r->asked = false;
	}
	if (first) {
		r->first_fail_us = u->first_fail_us;
		r->lost = r->cancelled = r->flushed = false;
	}
	r->cancelled |= u->cancelled;
	u->answered = false;
	r->in_flight = true;
	c->at_start = false;
	keep_unnamed(c);
	return r->failed ? again(c, s) : give_up(c, s, "mismatch");
}

enum replay_next replay_due(struct client *c, struct server *s)
{
	c->replay->due = true;
	return replay_step(c, s);
}

/* All that was sent of an attempt has been answered. */
static enum replay_next advance(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	if (r->failed)
		return again(c, s);
	if (r->cancelled)
		return give_up(c, s, "cancelled");
	if (r->differs || s->tx != 'T' || (r->phase == REPLAY_REST && r->unit_at != r->units))
		return give_up(c, s, "mismatch");
	return r->phase == REPLAY_FIRST ? rest(c, s) : live(c, s);
}

enum replay_next replay_cancel(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	r->cancelled = true;
	if (r->phase == REPLAY_ELSEWHERE) {
		if (s)
			client_release(c, s); /* it has come this very moment */
		COUNT_INC(c, replay_cancelled);
		count_end(c, "cancelled");
		replay_abandon(c, "57014", "canceling statement due to user request", NULL, NULL);
		return REPLAY_LEFT;
	}
	if (r->phase != REPLAY_BACK || !owed_nothing(&s->owed))
		return REPLAY_WAIT;
	return give_up(c, s, "cancelled");
}

/* ---- another server ---- */

/* The server said why, and it was not that it is going away. */
static bool has_reason(const struct down_why *w)
{
	return *w->sqlstate && strncmp(w->sqlstate, "57P0", 4) != 0 &&
	       strncmp(w->sqlstate, "08", 2) != 0;
}

bool replay_may_move(const struct client *c, const struct server *s, const struct down_why *w)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	const struct replay *r = c->replay;
	const struct unit *u = &c->unit;
	uint64_t now = c->h->w.now_us;
	bool runs = replay_runs(c), in_flight = !runs && !c->at_start;

	if ((!runs && !replay_covers(c)) || c->pool_mode == POOL_SESSION || residue_holds(c) ||
	    (s->body_left && !s->body_swallow) || c->body_left || c->ending || hall_leaves(c->h) ||
	    has_reason(w))
		return false;
	if (runs && r->cancelled)
		return false;
	if (in_flight && (u->cancelled || u->other_error ||
			  ((u->commits || c->commit_sent) && !outcome_known(c, s))))
		return false;
	/* what it has been told of a batch that goes on could be compared only while the rest
	 * of it, a COMMIT perhaps, is on its way */
	if (in_flight && !u->closed && u->state == UNIT_PASS && r->tally.bytes)
		return false;
	if (in_flight && w->fatal && strcmp(w->sqlstate, "57P01") == 0 && now - u->begun_us > LONG_US)
		return false;
	return r->attempts < (unsigned)g->retry_max_attempts &&
	       (!r->attempts || now - r->first_fail_us <= (uint64_t)g->retry_max_time);
}

/* The error that the client gets if the replay does not come to anything. */
static void keep_error(struct client *c, const struct server *s, const struct down_why *w)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	char detail[320];
	struct wire_error e = { "ERROR", "40001", lost_in_block, detail, lost_in_block_hint, NULL };
	struct replay *r = c->replay;
	uint8_t b[1024];
	struct wire_put p = wire_put_to(b, sizeof(b));

	if (r->asks) {
		e.sqlstate = "40003";
		e.message = lost_commit;
		e.hint = lost_unknown_hint;
	} else if (r->in_flight && c->unit.opens) { /* not even its BEGIN, as far as its client knows */
		e.message = lost_undone;
		e.hint = NULL;
	}

	(void)snprintf(detail, sizeof(detail), "Node %s: %s%s%s.", s->target->addr.name, w->why,
		       *w->message ? ": " : "", w->message);
	wire_put_error(&p, 'E', &e);
	hold_free(&r->first, &c->h->holds);
	/* without memory it is told shorter: replay_abandon() */
	if (hold_add(&r->first, b, p.len, sizeof(b), &c->h->holds, g->retry_mem_total))
		r->first.len = 0;
}

/* What of the unit under way the client has been told. */
static void keep_told(struct client *c)
{
	struct replay *r = c->replay;
	struct unit *u = &c->unit;

	r->flushed = u->state == UNIT_PASS && !u->closed;
	if (u->state == UNIT_PASS) {
		r->told = r->tally.bytes;
		r->told_len = tally_sum(&r->tally, r->told_sum);
		r->notices_told = r->notices;
	}
	hold_free(&u->back, &c->h->holds);
	r->pending = c->pending;
	c->pending = NULL;
}

void replay_move(struct client *c, struct server *s, const struct down_why *w)
{
	struct replay *r = c->replay;
	char token[64];

	if (!replay_runs(c)) {
		r->in_flight = !c->at_start;
		r->lost = true;
		r->cancelled = false;
		r->status = 'E';
		if (!r->first_fail_us)
			r->first_fail_us = c->h->w.now_us;
		r->asks = r->over = r->in_flight && c->unit.commits;
		if (r->asks && outcome_keep(c, s))
			r->done.len = 0; /* without memory for it nobody can be told */
		if (r->in_flight)
			keep_told(c);
		keep_error(c, s, w);
		if (!r->asks && undo_lost(c, s))
			c->residue.evict = true;
	} else if (!r->asks) {
		undo_unseen(c);
	}
	keep_unnamed(c);
	names_clear(c);
	r->nextval |= c->residue.nextval;
	if (!r->asks)
		residue_moved(c);
	nodes_avoid(s->shard, s->target);
	COUNT_AT(c, s, replay_lost);
	LOG(&c->log, LOG_LEVEL_INFO, "transaction_moved", "from=%s why=%s", s->target->addr.name,
	    log_token(token, sizeof(token), w->why));
	client_forget_begin(c);
	deadline_clear(&c->dl);
	deadline_clear(&c->idle_dl);
	c->dressing = c->dressed_only = c->beginning = c->begin_failed = c->cancel_due = false;
	c->barrier = c->opens_sent = false;
	r->phase = REPLAY_ELSEWHERE;
	client_step(c, CE_UNLINK);
	server_close(s, w->why, false);
}

/* The server is given the client's settings, and the transaction begins. */
static enum replay_next dress(struct client *c, struct server *s)
{
	uint8_t b[4096], *big = NULL;
	struct wire_put p = wire_put_to(b, sizeof(b));
	size_t big_len = 0;
	bool await, ok;

	c->replay->phase = REPLAY_DRESS;
	if (params_same(&c->params, &s->params))
		return start(c, s);
	if (settings_put(c, s, &p, &big, &big_len, &await)) {
		free(big);
		return REPLAY_BROKEN;
	}
	c->dressing = true;
	ok = stream_send(&s->s, big ? big : b, big ? big_len : p.len) != IO_FAIL;
	free(big);
	return ok ? REPLAY_WAIT : REPLAY_BROKEN;
}

enum replay_next replay_moved(struct client *c, struct server *s)
{
	c->at_start = c->undressed = false;
	stream_want(&c->s, false);
	client_step(c, CE_REPLAY);
	if (!c->replay->asks)
		return dress(c, s);
	c->replay->phase = REPLAY_ASK;
	return outcome_look_up(c, s) ? REPLAY_WAIT : REPLAY_BROKEN;
}

/* It was committed: the client has its answer. */
static enum replay_next committed(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	COUNT_INC(c, retry_commits_found);
	say(c, r->done.p, r->done.len);
	count_answered(c, s, 'I');
	c->pending = r->pending;
	r->pending = NULL;
	names_settle_all(c);
	undo_forget(c);
	r->phase = REPLAY_ARMED;
	forget_unit(c, 'I');
	client_release(c, s);
	return REPLAY_LEFT;
}

static enum replay_next asked(struct client *c, struct server *s)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	struct replay *r = c->replay;
	bool late = c->h->w.now_us - r->first_fail_us > (uint64_t)g->retry_max_time;

	if (c->state == CL_BACKOFF) {
		if (!r->due)
			return REPLAY_WAIT;
		client_step(c, CE_REPLAY);
		return outcome_look_up(c, s) ? REPLAY_WAIT : REPLAY_BROKEN;
	}
	if (r->outcome == OUTCOME_COMMITTED && r->done.len)
		return committed(c, s);
	if (r->outcome == OUTCOME_ABORTED) {
		r->asks = false;
		r->asked = true;
		if (undo_lost(c, s))
			c->residue.evict = true;
		residue_moved(c);
		return dress(c, s);
	}
	if (r->outcome == OUTCOME_IN_PROGRESS && !late) {
		r->due = false;
		pause(c); /* its backend has not noticed yet */
		return REPLAY_WAIT;
	}
	return give_up(c, s, "unknown");
}

/* ---- steps ---- */

enum replay_next replay_step(struct client *c, struct server *s)
{
	struct replay *r = c->replay;

	if (!owed_nothing(&s->owed) || s->body_left)
		return REPLAY_WAIT;
	switch ((enum replay_phase)r->phase) {
	case REPLAY_BACK:
		if (s->tx != 'I')
			return REPLAY_BROKEN;
		return r->due ? start(c, s) : REPLAY_WAIT;
	case REPLAY_ASK:
		return asked(c, s);
	case REPLAY_DRESS:
		return c->dressing ? REPLAY_WAIT : start(c, s);
	case REPLAY_FIRST:
	case REPLAY_REST:
		return advance(c, s);
	case REPLAY_GIVE_UP:
		return deliver(c, s);
	case REPLAY_ARMED:
	case REPLAY_OFF:
	case REPLAY_ELSEWHERE:
	default:
		return REPLAY_WAIT;
	}
}
