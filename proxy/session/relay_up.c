/* proxy/session/relay_up.c - see relay_up.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/relay_up.h"

#include <string.h>

#include "session/lost_words.h"
#include "session/residue.h"
#include "session/retry.h"
#include "session/step.h"
#include "session/unit.h"
#include "session/up_begin.h"
#include "session/up_message.h"
#include "session/up_outcome.h"
#include "session/up_switch.h"
#include "wire/wire.h"

/* Answers of our own that a client does not read: no more before it does. */
#define UP_ANSWERS_MAX 65536u
/* Longest Query or Parse that is looked at as a whole. */
#define UP_WHOLE_MAX (1u << 20)

/* ---- without a server ---- */

/* A message that is no work for a server. true: dealt with. */
static bool up_unlinked(struct client *c, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	if (type == 'd' || type == 'c' || type == 'f')
		return true; /* the rest of a COPY that has failed: PostgreSQL ignores it too */
	if (c->batch_lost && type != 'H') {
		lost_batch(c);
		c->skip_to_sync = type != 'S' && type != 'Q' && (type != 'F' || c->crdb);
		if (!c->skip_to_sync)
			say_ready(c, c->limbo ? 'E' : 'I');
		return true;
	}
	if (type == 'Q' && c->skip_to_sync && c->crdb) {
		c->skip_to_sync = false; /* not run, and told of (wire/owed.h) */
		say_ready(c, c->limbo ? 'E' : c->begun ? 'T' : 'I');
		return true;
	}
	if (type == 'Q' && have == len && len > WIRE_HEADER && !c->skip_to_sync && !msg[len - 1])
		return up_switch_text(c, (const char *)msg + WIRE_HEADER, len - WIRE_HEADER - 1) ||
		       up_lazily(c, (const char *)msg + WIRE_HEADER, len - WIRE_HEADER - 1);
	if (up_switch_alone(c, type, msg, len, have))
		return true;
	if (type == 'S' && len == WIRE_HEADER) {
		c->skip_to_sync = false;
		say_ready(c, c->limbo ? 'E' : c->begun ? 'T' : 'I');
		return true;
	}
	return c->skip_to_sync || (type == 'H' && len == WIRE_HEADER);
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

/* Behind a barrier nothing goes on before all is answered; but what belongs to
 * its own unit does, or its Sync would never be sent, and so does all when an
 * error has made the server skip the barrier itself. */
static bool must_wait(const struct up *u, uint8_t type)
{
	const struct client *c = u->c;

	if (type == 'd' || type == 'c' || type == 'f')
		return false; /* the unit itself waits for them */
	if (owed_in_copy(&u->s->owed))
		return false; /* and they may stand behind this */
	return c->barrier && !c->at_start && c->unit.closed && u->s->owed.ready_n > 0;
}

/* A message for the server the client has. */
static enum step up_linked(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	struct client *c = u->c;
	enum step r = STEP_ON;

	if (!owed_room(&u->s->owed, 8) || must_wait(u, type))
		return STEP_STOP_PAUSE;
	if (type == 'Q' && up_switch_query(u, msg, len, have, &r))
		return r;
	r = up_prepare(u);
	if (r != STEP_ON)
		return r;
	if (c->dressing && (c->dress_await || up_might_exit(u, type, msg, len)))
		return STEP_STOP_PAUSE;
	if (up_outcome_due(u, type, msg, len, have)) {
		r = up_outcome_ask(u);
		if (r != STEP_ON)
			return r;
	}
	if (c->at_start) {
		c->barrier = false;
		unit_begin(c, u->s);
		if (residue_holds(c))
			unit_stays(c);
	} else if (c->unit.closed) {
		unit_pass(c, RV_PIPELINED);
		unit_stays(c);
	}
	r = up_message(u, type, msg, len, have);
	if (r == STEP_ON)
		unit_keep(c, stream_data(&c->s) + u->at, have, have == len);
	return r;
}

static enum step one_message(struct up *u)
{
	static const char bad[] = "protocol violation";
	struct client *c = u->c;
	uint8_t type = 0, *msg = stream_data(&c->s) + u->at;
	size_t have = stream_have(&c->s) - u->at, need;
	uint32_t len = 0;
	enum step r;

	switch (wire_header(msg, have, &type, &len)) {
	case WIRE_BAD:
		return up_end(u, bad, NULL, NULL, -1); /* PostgreSQL says nothing either */
	case WIRE_MORE:
		u->want = WIRE_HEADER;
		return STEP_STOP_MORE;
	case WIRE_OK:
	default:
		break;
	}
	if (!is_frontend(type))
		return up_end(u, bad, "08P01", "invalid frontend message type", type);
	need = needed(type, len);
	if (type == 'P' && len > UP_WHOLE_MAX)
		return up_end(u, "message too long", "54000", "Parse message is longer than 1 MiB", -1);
	if ((type == 'D' || type == 'C' || type == 'E' || type == 'S' || type == 'H' ||
	     type == 'X') && len > BUF_CAP)
		return up_end(u, bad, NULL, NULL, -1);
	if (have < need) {
		u->want = need;
		return STEP_STOP_MORE;
	}
	if (have > len)
		have = len;
	if (type == 'Q' && c->h->snap->conf->g.disable_pqexec && !c->inner)
		return up_end(u, "simple query", "08P01", "PQexec disallowed", -1);
	if (type == 'X')
		return up_end(u, "client closed the session", NULL, NULL, -1);
	if (!u->s && up_unlinked(c, type, msg, len, have)) {
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
			return up_refuse(u, "server lost in the middle of a message", NULL, NULL);
		r = up_room(u, 1, 0);
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
		if ((u->backed_up && u->at == 0) || u->c->s.out_len > UP_ANSWERS_MAX)
			r = STEP_STOP_PAUSE;
		else
			r = u->c->body_left ? body(u) : one_message(u);
	}
	f = up_flush(u);
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
	*why = (struct up_why){ "client connection lost", NULL, NULL, -1 };
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
		if (stream_had_it_all(&c->s, had))
			readable = false;
	}
}
