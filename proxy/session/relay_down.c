/* proxy/session/relay_down.c - see relay_down.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/relay_down.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/again.h"
#include "session/count.h"
#include "session/down.h"
#include "session/fence.h"
#include "session/move.h"
#include "session/names.h"
#include "session/nodes.h"
#include "session/ours.h"
#include "session/outcome.h"
#include "session/replay.h"
#include "session/residue.h"
#include "session/server.h"
#include "session/settings.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/undo.h"
#include "session/unit.h"
#include "wire/wire.h"

enum step { STEP_ON = 0, STEP_MORE, STEP_PAUSE, STEP_SERVER, STEP_REFUSED };

/* What the oldest entry is: what the next message answers. */
struct front {
	uint64_t described;      /* its rows are described, 0: nobody asks */
	enum ours ours;          /* a Query of ours */
	enum refusal refused;    /* a message of the client's that must fail */
	bool abandoned;
};

static enum step gone(struct down *d, const char *why)
{
	d->why->why = why;
	return STEP_SERVER;
}

/* ---- replies of our own ---- */

static __attribute__((noinline)) void locals(struct down *d)
{
	uint8_t b[NAMES_REPLY_MAX];

	do {
		size_t n = names_reply(d->s, owed_local_take(&d->s->owed), b);

		if (d->c)
			down_copy(d, b, n);
	} while (owed_local_due(&d->s->owed));
}

static inline void local_due(struct down *d)
{
	if (owed_local_due(&d->s->owed))
		locals(d);
}

/* ---- what a message means ---- */

/* Its answer is kept: the unit is to be run again. */
static void due_again(struct down *d, char status)
{
	struct unit *u = &d->c->unit;

	u->answered = true;
	u->status = status;
	d->retry = true;
	gather_init(&d->g);
}

/* The unit's ReadyForQuery has come. */
static void unit_answered(struct down *d, char status)
{
	struct client *c = d->c;
	struct hall *h = c->h;
	struct unit *u = &c->unit;
	enum retry_verdict v;

	if (u->state == UNIT_ARMED && u->statements && u->completes > u->statements) {
		/* The lexer believed in fewer statements than there were. */
		c->retry_off = true;
		LOG(&c->log, LOG_LEVEL_WARN, "lexer_disagrees", "believed=%u completed=%u",
		    u->statements, u->completes);
	}
	if (u->reprepare && again_reprepare(c, d->s, status) && down_keep(d)) {
		u->reprepared = true;
		due_again(d, status);
		return;
	}
	u->reprepare = false;
	u->wrong_role = u->wrong_role && u->state == UNIT_ARMED && status == 'I' &&
			move_wrong_role(c, d->s);
	if (u->wrong_role && down_keep(d)) {
		due_again(d, status);
		return;
	}
	c->moves = 0;
	if (u->failed || replay_short(c)) {
		v = u->failed ? again_decide(c, d->s, status) : RV_STATUS;
		if (u->failed)
			again_count(c, v);
		if ((v == RV_RETRY || replay_short(c)) && u->state == UNIT_ARMED && !u->bound_only &&
		    down_keep(d)) {
			if (c->replay)
				c->replay->failed = v == RV_RETRY;
			due_again(d, status);
			return;
		}
		if (v == RV_EXHAUSTED)
			LOG(&c->log, LOG_LEVEL_INFO, "retry_gave_up", "attempts=%u time_us=%llu",
			    u->attempts,
			    (unsigned long long)(h->w.now_us - u->first_fail_us));
	} else if (u->attempts) {
		COUNT_INC(c, retry_ok);
		COUNT_ADD(c, retry_time_us, h->w.now_us - u->first_fail_us);
		count_saved(c, d->s, u->first_fail_us);
	}
	down_send(d);
	gather_init(&d->g);
	replay_answered(c, status);
	unit_end(c);
	deadline_clear(&c->idle_dl);
}

static void got_ready(struct down *d, bool mine, char status)
{
	struct client *c = d->c;

	d->s->tx = status;
	d->s->block = status != 'I';
	if (c && status == 'I' && d->s->fence_due)
		fence_settle(d->s, c);
	if (c && status == 'I')
		undo_forget(c);
	if (c && mine && replay_runs(c))
		replay_compare(c);
	else if (c && mine && status == 'I' && c->replay && c->replay->phase == REPLAY_OFF)
		replay_forget(c); /* others may be in flight behind it */
	if (!c || !mine || replay_runs(c))
		return;
	if (c->opens_behind)
		c->opens_behind--;
	else
		c->opens_sent = false; /* the server has said whether there is a block */
	names_stay(c);
	if (status == 'I')
		residue_confirmed(c);
	if (!owed_nothing(&d->s->owed)) {
		count_answered(c, d->s, status);
		return;
	}
	if (status == 'I')
		c->commit_sent = false; /* a portal bound to COMMIT lives as long as its block */
	c->at_start = true;
	if (c->unit.state != UNIT_NONE)
		unit_answered(d, status);
	if (!d->retry)
		count_answered(c, d->s, status);
}

static void got_complete(struct down *d, bool mine, const struct front *f, const char *tag)
{
	struct client *c = d->c;

	if (c && mine) {
		c->unit.complete_seen = true;
		c->unit.completes++;
	}
	switch (tag[0]) {
	case 'B':
		if (strcmp(tag, "BEGIN") == 0)
			d->s->block = true;
		return;
	case 'C':
		if (strcmp(tag, "COMMIT") != 0)
			return;
		d->s->block = false; /* AND CHAIN: the verdict is the careful one */
		if (c && mine)
			c->unit.commit_seen = true;
		return;
	case 'D':
		if (c && mine && strcmp(tag, "DEALLOCATE") == 0)
			names_left(c);
		if (strcmp(tag, "DISCARD ALL") != 0 && strcmp(tag, "DEALLOCATE ALL") != 0 &&
		    strcmp(tag, "DISCARD") != 0)
			return;
		server_forget_statements(d->s);
		if (c && mine)
			stmt_names_clear(&c->names, &c->h->stmts);
		if (!mine && !f->abandoned && strncmp(tag, "DISCARD", 7) == 0)
			params_clear(&d->s->params);
		else if (c && mine && strcmp(tag, d->s->crdb ? "DISCARD" : "DISCARD ALL") == 0)
			residue_was_reset(c);
		return;
	case 'S':
		if (strcmp(tag, "START TRANSACTION") == 0)
			d->s->block = true;
		if (c && mine && d->s->crdb && strcmp(tag, "SET") == 0)
			residue_was_reset(c); /* so is a RESET called there */
		return;
	case 'R':
		if (strcmp(tag, "ROLLBACK") == 0)
			d->s->block = false; /* or of a savepoint */
		if (!mine && !f->abandoned && f->ours == OURS_OTHER && strcmp(tag, "RESET") == 0)
			params_clear(&d->s->params);
		else if (c && mine && strcmp(tag, "RESET") == 0)
			residue_was_reset(c);
		else if (c && mine && strcmp(tag, "ROLLBACK") == 0)
			residue_undone(c);
		return;
	default:
		return;
	}
}

static bool is_fatal(const struct wire_fields *f)
{
	return strcmp(f->severity, "FATAL") == 0 || strcmp(f->severity, "PANIC") == 0;
}

/* CockroachDB calls every error ERROR. */
static bool leaving(const struct server *s, const struct wire_fields *f)
{
	return is_fatal(f) || (s->crdb && strcmp(f->sqlstate, "57P01") == 0);
}

/* The connection ends with this error. It answers nothing: what was owed is owed
 * still, for lost_server() to tell of. */
static bool last_words(struct down *d, const uint8_t *msg, size_t have)
{
	struct wire_get g = { msg + WIRE_HEADER, msg + have, false };
	const struct owed_entry *front = owed_front(&d->s->owed);
	struct wire_fields f;

	wire_get_fields(g, &f);
	if (!leaving(d->s, &f))
		return false;
	meter_error(d->s->meter, meter_class(f.sqlstate));
	d->why->fatal = is_fatal(&f);
	(void)snprintf(d->why->sqlstate, sizeof(d->why->sqlstate), "%s", f.sqlstate);
	(void)snprintf(d->why->message, sizeof(d->why->message), "%s", f.message);
	if (d->c && front && !front->swallow && snapshot_is_retry_code(d->c->h->snap, f.sqlstate)) {
		COUNT_INC(d->c, retry_seen);
		again_count(d->c, RV_SEVERITY);
	}
	return true;
}

/* An error that may begin a replay is held, whatever came before it. */
static void hold_error(struct down *d, size_t n)
{
	struct client *c = d->c;
	size_t max = (size_t)c->h->snap->conf->g.retry_hold_max;

	down_flush(d);
	/* with room for what may come behind it */
	if (c->unit.back.len && c->unit.back.len + n + 512 > max)
		unit_pass(c, RV_STARTED);
	replay_hold(c);
}

/* What will count as the unit's error; what was made to fail is not the server's. */
static void note_error(struct down *d, enum refusal no, const char *sqlstate)
{
	struct wire_error e;

	if (no == REFUSED_NOT) {
		count_server_error(d->c, d->s, sqlstate);
		return;
	}
	if (no == REFUSED_SWITCH)
		switches_error(d->c, &e);
	else
		refusal_error(no, &e);
	d->c->unit.error = (uint8_t)(meter_class(e.sqlstate) + 1);
}

/* An ErrorResponse. */
static enum step got_error(struct down *d, enum owed_verdict v, const struct front *front,
			   const struct wire_get body)
{
	struct server *s = d->s;
	struct client *c = d->c;
	struct wire_fields f;

	wire_get_fields(body, &f);
	if (c && v == OWED_FORWARD && replay_runs(c)) {
		meter_error(s->meter, meter_class(f.sqlstate));
		residue_undone(c);
		c->replay->failed |= snapshot_is_retry_code(c->h->snap, f.sqlstate);
	} else if (c && v == OWED_FORWARD) {
		note_error(d, front->refused, f.sqlstate);
		if (c->replay)
			c->replay->nextval |= c->residue.nextval;
		residue_undone(c);
		if (snapshot_is_retry_code(c->h->snap, f.sqlstate)) {
			COUNT_INC(c, retry_seen);
			c->unit.failed = true;
			if (replay_covers(c))
				hold_error(d, wire_left(&body));
			if (!c->unit.first_fail_us)
				c->unit.first_fail_us = c->h->w.now_us;
		} else {
			c->unit.other_error = true;
		}
	}
	if (c && v == OWED_FORWARD && strcmp(f.sqlstate, "25006") == 0)
		c->unit.wrong_role = true;
	if (c && front->ours == OURS_REPLAY && replay_runs(c) &&
	    snapshot_is_retry_code(c->h->snap, f.sqlstate))
		c->replay->failed = true; /* our own BEGIN */
	if (v == OWED_ASYNC)
		s->close_needed = true; /* said without being asked: it is leaving */
	if (v != OWED_SWALLOW || front->abandoned)
		return STEP_ON;
	s->sync_failed = front->ours != OURS_QUESTION && front->ours != OURS_SETTINGS_BEGIN &&
			 front->ours < OURS_REPLAY;
	(void)snprintf(s->sync_error, sizeof(s->sync_error), "%s", f.sqlstate);
	(void)snprintf(s->sync_message, sizeof(s->sync_message), "%s", f.message);
	if (c && front->ours == OURS_QUESTION)
		residue_failed(c, f.sqlstate);
	/* without the BEGIN the rest is applied all the same (wire/params.h) */
	return c && (front->ours == OURS_SETTINGS || front->ours == OURS_SETTINGS_PART) ?
		       STEP_REFUSED :
		       STEP_ON;
}

/* A ParameterStatus goes to the client, unless it comes of something of ours or
 * says what is not to be so for this one. */
static void got_setting(struct down *d, enum owed_verdict v, const struct front *f,
			const char *name, const char *value, const uint8_t *msg, size_t have)
{
	struct client *c = d->c;
	bool ours = v == OWED_SWALLOW;
	const char *tell = NULL;
	uint8_t b[1024];
	struct wire_put w = wire_put_to(b, sizeof(b));

	if (fence_is(d->s, c, name, value, ours)) {
		if (!c || ours || !d->s->block) {
			fence_got(d->s, name, value);
			return; /* the node's, and not of this session */
		}
		d->s->fence_due = true; /* or a SET LOCAL, which is taken back */
	}
	if (c && (!ours || f->ours == OURS_RESTORE))
		tell = settings_reported(c, d->s, name, value, ours);
	server_param(d->s, tell == value || ours ? c : NULL, name, value);
	if (c && !ours && strcasecmp(name, "client_encoding") == 0)
		residue_encoding(c);
	if (tell == value) {
		down_forward(d, msg, have);
	} else if (tell) {
		wire_begin(&w, 'S');
		wire_put_str(&w, name);
		wire_put_str(&w, tell);
		wire_end(&w);
		if (!w.bad)
			down_copy(d, b, w.len);
	}
}

static enum step interpret(struct down *d, uint8_t type, enum owed_verdict v,
			   const struct front *f, const uint8_t *msg, size_t have)
{
	struct wire_get g = { msg + WIRE_HEADER, msg + have, false };
	bool mine = v == OWED_FORWARD;
	const char *name, *value;

	switch (type) {
	case 'T':
	case 'n':
		if (f->described)
			names_rows(d->s, mine, type, f->described, msg, have);
		return STEP_ON;
	case 'C':
		name = wire_get_str(&g, NULL);
		got_complete(d, mine, f, name);
		return STEP_ON;
	case 'D':
		if (d->c && f->ours == OURS_QUESTION)
			residue_row(d->c, d->s, g.p, wire_left(&g));
		else if (d->c && f->ours == OURS_NUMBER)
			outcome_number(d->c, g.p, wire_left(&g));
		else if (d->c && f->ours == OURS_OUTCOME)
			outcome_row(d->c, g.p, wire_left(&g));
		return STEP_ON;
	case 's':
		if (d->c && mine)
			d->c->unit.complete_seen = true;
		return STEP_ON;
	case 'S':
		name = wire_get_str(&g, NULL);
		value = wire_get_str(&g, NULL);
		if (g.bad)
			return gone(d, "server sent a malformed message");
		got_setting(d, v, f, name, value, msg, have);
		return STEP_ON;
	case 'E':
		return got_error(d, v, f, g);
	default:
		return STEP_ON;
	}
}

/* "COPY t, line 3, column x: ..." speaks of data; without column and text it may be
 * a cancel before any. The routine is the one that reads CopyFail. Where the words
 * are translated this says no, and the server is not used again (wire/owed.h). */
static bool copy_was_read(const struct wire_fields *f)
{
	return strcmp(f->routine, "CopyGetData") == 0 ||
	       (strncmp(f->context, "COPY ", 5) == 0 &&
		(strstr(f->context, ", column ") || strstr(f->context, ": \"")));
}

/* What must be known of an error before it is settled. */
static void look_at_error(struct server *s, const uint8_t *msg, size_t have)
{
	struct wire_get g = { msg + WIRE_HEADER, msg + have, false };
	struct wire_fields f;

	wire_get_fields(g, &f);
	s->stmt_trouble = STMT_FINE;
	if (strcmp(f.sqlstate, "0A000") == 0)
		s->stmt_trouble = STMT_STALE;
	else if (strcmp(f.sqlstate, "26000") == 0)
		s->stmt_trouble = STMT_GONE;
	if (copy_was_read(&f))
		owed_copy_line(&s->owed);
}

static void look_at_front(const struct owed *o, struct front *f)
{
	const struct owed_entry *e = owed_front(o);

	*f = (struct front){ 0 };
	if (!e)
		return;
	f->abandoned = e->swallow && e->ref == REF_ABANDONED;
	if (!f->abandoned && (e->kind == OWED_DESCRIBE_S || e->kind == OWED_DESCRIBE_P))
		f->described = e->ref;
	if (e->kind == OWED_QUERY && e->swallow && !f->abandoned)
		f->ours = (enum ours)e->ref;
	if ((e->kind == OWED_QUERY || e->kind == OWED_BIND) && !e->swallow && (e->ref & REF_REFUSED))
		f->refused = (enum refusal)(e->ref & ~(REF_REFUSED | REF_TAKES));
}

/* The server failed as it was made to: this is why. */
static void say_refusal(struct down *d, enum refusal no)
{
	struct wire_error e;
	uint8_t b[1024];
	struct wire_put w = wire_put_to(b, sizeof(b));

	if (no == REFUSED_SWITCH)
		switches_error(d->c, &e);
	else
		refusal_error(no, &e);
	wire_put_error(&w, 'E', &e);
	down_copy(d, b, w.len);
}

/* An error: in the client's words. */
static void forward_error(struct down *d, const uint8_t *msg, size_t n)
{
	uint8_t b[GATHER_OWN];
	size_t len = d->c ? replay_translated(d->c, msg, n, b, sizeof(b)) : 0;

	if (!len && d->c)
		len = names_translated(d->c, msg, n, b, sizeof(b));

	if (len)
		down_copy(d, b, len);
	else
		down_forward(d, msg, n);
}

static enum step not_applied(struct server *s)
{
	(void)snprintf(s->sync_error, sizeof(s->sync_error), "08P01");
	(void)snprintf(s->sync_message, sizeof(s->sync_message),
		       "the server did not end the transaction of the settings");
	return STEP_REFUSED;
}

/* A ReadyForQuery of something of ours. */
static void got_ours(struct down *d, enum ours ours)
{
	struct client *c = d->c;

	switch (ours) {
	case OURS_SETTINGS:
		c->dressing = false;
		if (settings_done(c, d->s))
			d->s->close_needed = true;
		c->dress_fails = 0;
		c->dressed_only = c->at_start;
		break;
	case OURS_QUESTION:
		residue_answered(c, d->s);
		break;
	case OURS_BEGIN:
		c->beginning = false;
		c->begin_failed = d->s->tx == 'I';
		if (!c->begin_failed)
			client_forget_begin(c);
		break;
	case OURS_OTHER:
	case OURS_SETTINGS_BEGIN:
	case OURS_SETTINGS_PART:
	case OURS_RESTORE:
	case OURS_REPLAY:
	case OURS_NUMBER:
	case OURS_OUTCOME:
	default:
		break;
	}
}

/* In front of the ReadyForQuery. */
static void tell_unreported(struct down *d)
{
	uint8_t b[GATHER_OWN];
	struct wire_put w = wire_put_to(b, sizeof(b));

	settings_unreported(d->c, d->s, &w);
	if (w.len && !w.bad)
		down_copy(d, b, w.len);
}

/* Does it go to the client? */
static void pass_on(struct down *d, uint8_t type, enum owed_verdict v, const struct front *f,
		    const uint8_t *msg, size_t have, uint32_t len)
{
	if (type == 'A' && d->c && d->c->unit.state == UNIT_ARMED && have == len)
		say(d->c, msg, have); /* belongs to no attempt: not held with one */
	else if (type == 'E' && f->refused != REFUSED_NOT)
		say_refusal(d, f->refused);
	else if (type == 'E' && v == OWED_FORWARD && have == len)
		forward_error(d, msg, have);
	else if (type != 'S' && (v == OWED_FORWARD || type == 'A' || (v == OWED_ASYNC && type != 'E'))) {
		d->notice = type == 'N';
		down_forward(d, msg, have);
		d->notice = false;
	}
}

static enum step one_message(struct down *d)
{
	struct server *s = d->s;
	uint8_t type = 0, *msg = stream_data(&s->s) + d->at;
	size_t have = stream_have(&s->s) - d->at, need;
	struct owed_entry settled;
	enum owed_verdict v;
	struct front front;
	uint32_t len = 0;
	enum step st;

	switch (wire_header(msg, have, &type, &len)) {
	case WIRE_BAD:
		return gone(d, "server sent a malformed message");
	case WIRE_MORE:
		d->want = WIRE_HEADER;
		return STEP_MORE;
	case WIRE_OK:
	default:
		break;
	}
	need = len <= BUF_CAP ? len : BUF_CAP;
	if (have < need) {
		d->want = need;
		return STEP_MORE;
	}
	if (have > len)
		have = len;
	if (type == 'Z' && (len != 6 || !strchr("ITE", msg[5])))
		return gone(d, "server sent a malformed message");
	if (type == 'E' && last_words(d, msg, have))
		return gone(d, "server ended the session");
	local_due(d);
	if (type == 'E' || type == 'Z')
		s->describing = 0;
	if (type == 'E')
		look_at_error(s, msg, have);
	look_at_front(&s->owed, &front);
	v = owed_got(&s->owed, (char)type, &settled, names_dropped, s);
	if (v == OWED_BROKEN)
		return gone(d, "server is out of step");
	if (d->c && front.ours == OURS_OTHER && (v == OWED_FORWARD || v == OWED_SWALLOW))
		d->c->unit.fresh = false;
	if (type == 'E' && d->c)
		names_undo(d->c);
	else if (settled.kind != OWED_KIND_N)
		names_settled(s, &settled);
	st = interpret(d, type, v, &front, msg, have);
	if (st != STEP_ON)
		return st;
	if (type == 'Z' && v == OWED_FORWARD && d->c && settings_due(d->c))
		tell_unreported(d);
	pass_on(d, type, v, &front, msg, have, len);
	d->at += have;
	s->body_left = len - (uint32_t)have;
	s->body_swallow = v == OWED_SWALLOW || !d->c;
	if (type != 'Z') /* behind it they are of the next unit */
		local_due(d);
	/* what is held goes; what is gathered comes behind it, with the rest */
	if (type == '2' && d->c && v == OWED_FORWARD && d->c->unit.bound_only)
		unit_pass(d->c, d->c->unit.refused);
	if (type == 'Z') {
		got_ready(d, v == OWED_FORWARD, (char)msg[5]);
		if (d->c && front.ours == OURS_SETTINGS && s->tx != 'I')
			return not_applied(s);
		if (d->c && front.ours != OURS_OTHER)
			got_ours(d, front.ours);
	}
	return STEP_ON;
}

/* What answers a Query or an Execute of the client's and means nothing to us: its rows, in
 * one piece as far as they are here. false: something else is next. */
static bool rows(struct down *d)
{
	struct server *s = d->s;
	const struct owed_entry *e = owed_front(&s->owed);
	const uint8_t *p = stream_data(&s->s) + d->at;
	size_t have = stream_have(&s->s) - d->at, n = 0;
	uint8_t type;
	uint32_t len;

	if (!d->c || !e || e->swallow || s->owed.unsure ||
	    (e->kind != OWED_QUERY && e->kind != OWED_EXECUTE))
		return false;
	while (wire_header(p + n, have - n, &type, &len) == WIRE_OK && len <= have - n &&
	       (type == 'D' || type == 'd' || (type == 'T' && e->kind == OWED_QUERY)))
		n += len;
	if (n == 0)
		return false;
	down_forward(d, p, n);
	d->at += n;
	s->body_swallow = false;
	return true;
}

/* The next stretch of a message longer than the buffer. */
static void body(struct down *d)
{
	struct server *s = d->s;
	size_t have = stream_have(&s->s) - d->at;
	size_t n = have < s->body_left ? have : s->body_left;

	if (!s->body_swallow)
		down_forward(d, stream_data(&s->s) + d->at, n);
	d->at += n;
	s->body_left -= (uint32_t)n;
}

static enum step pass_over(struct down *d)
{
	struct server *s = d->s;
	enum step r = STEP_ON;

	while (r == STEP_ON && !d->retry && stream_have(&s->s) > d->at) {
		if (d->backed_up && d->at == 0)
			r = STEP_PAUSE;
		else if (s->body_left)
			body(d);
		else if (!rows(d))
			r = one_message(d);
	}
	if (r == STEP_ON && !d->retry && !s->body_left)
		local_due(d);
	down_flush(d);
	return r == STEP_ON && d->backed_up && !d->retry ? STEP_PAUSE : r;
}

static bool is_free(const struct server *s)
{
	return owed_nothing(&s->owed) && s->tx == 'I' && !s->body_left && !stream_have(&s->s);
}

enum relay relay_down(struct server *s, bool readable, struct down_why *why)
{
	struct down d;
	int fills;

	d.s = s;
	d.c = client_for(s);
	gather_init(&d.g);
	d.at = 0;
	d.why = why;
	d.retry = d.notice = false;
	d.backed_up = d.c && stream_backed_up(&d.c->s);
	*why = (struct down_why){ .why = "server closed the connection" };
	for (fills = 0;; fills++) {
		size_t had;
		enum io io;

		d.want = 0;
		switch (pass_over(&d)) {
		case STEP_SERVER:
			return RELAY_SERVER_GONE;
		case STEP_REFUSED:
			return RELAY_SETTINGS_REFUSED;
		case STEP_PAUSE:
			return RELAY_PAUSE;
		case STEP_ON:
		case STEP_MORE:
		default:
			break;
		}
		if (d.retry)
			return RELAY_RETRY;
		if (fills && is_free(s))
			return RELAY_TX_DONE;
		if (!readable || fills == 4)
			return is_free(s) ? RELAY_TX_DONE : RELAY_ON;
		had = stream_have(&s->s);
		io = stream_fill(&s->s, d.want);
		if (io == IO_AGAIN)
			return is_free(s) ? RELAY_TX_DONE : RELAY_ON;
		if (io != IO_OK) {
			if (io == IO_FAIL)
				why->why = "server connection lost";
			return RELAY_SERVER_GONE;
		}
		if (stream_had_it_all(&s->s, had))
			readable = false;
	}
}

void relay_give_up(struct client *c)
{
	struct unit *u = &c->unit;

	say(c, u->back.p, u->back.len);
	count_ready(c);
	u->answered = false;
	unit_end(c);
}
