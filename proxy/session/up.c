/* proxy/session/up.c - see up.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up.h"

#include "session/count.h"
#include "session/prints.h"
#include "session/replay.h"
#include "session/unit.h"
#include "wire/wire.h"

enum step up_refuse(struct up *u, const char *why, const char *sqlstate, const char *message)
{
	u->why->why = why;
	u->why->sqlstate = sqlstate;
	u->why->message = message;
	u->why->number = -1;
	return STEP_CLIENT;
}

enum step up_end(struct up *u, const char *reason, const char *sqlstate, const char *message,
		 int number)
{
	struct up_why why = { reason, sqlstate, message, number };

	if (u->s && u->s->owed.ready_n > 0) {
		u->c->ending = true;
		u->c->end = why;
		return STEP_STOP_PAUSE;
	}
	*u->why = why;
	return STEP_CLIENT;
}

enum step up_malformed(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have)
{
	char what = len > WIRE_HEADER && have > WIRE_HEADER ? (char)msg[WIRE_HEADER] : 0;
	enum step r = up_room(u, 1, 0);

	if (have < len)
		return up_refuse(u, "protocol violation", "08P01", "malformed message");
	unit_pass(u->c, RV_CLASS);
	if (type == 'Q' || type == 'S')
		u->c->unit.closed = true;
	/* a Flush is owed nothing, but for its error */
	if (r == STEP_ON)
		r = up_owe(u, type == 'H' ? 'E' : (char)type, what, false, 0, NULL);
	if (r == STEP_ON)
		gather_range(&u->g, msg, len);
	return r;
}

enum step up_flush(struct up *u)
{
	enum io io = IO_OK;

	if (u->g.n) {
		io = stream_sendv(&u->s->s, u->g.v, u->g.n);
		gather_init(&u->g);
	}
	if (u->at) {
		u->c->in_bytes += u->at;
		COUNT_ADD(u->c, received_bytes, u->at);
		if (u->s)
			STAT_ADD(&u->s->meter->stats, received_bytes, u->at);
		stream_consume(&u->c->s, u->at);
		u->at = 0;
	}
	if (io == IO_AGAIN)
		u->backed_up = true;
	return io == IO_FAIL ? STEP_SERVER : STEP_ON;
}

enum step up_room(struct up *u, int pieces, size_t own)
{
	return gather_room(&u->g, pieces, own) ? STEP_ON : up_flush(u);
}

enum step up_owe(struct up *u, char type, char what, bool swallow, uint64_t ref, bool *live)
{
	bool counts;

	if (owed_sent(&u->s->owed, type, what, swallow, ref, &counts))
		return up_refuse(u, "out of memory", "53200", "out of memory");
	if (live)
		*live = counts;
	if ((type == 'S' || type == 'Q' || type == 'F') && counts && !swallow && prints_on(u->c))
		prints_sent(u->s);
	return STEP_ON;
}

enum step up_owe_local(struct up *u, uint64_t ref, bool *live)
{
	if (owed_sent_local(&u->s->owed, ref, live))
		return up_refuse(u, "out of memory", "53200", "out of memory");
	if (!*live) {
		unit_pass(u->c, RV_CLASS); /* when it is run again it would not be skipped */
		return STEP_ON;
	}
	unit_record(u->c, UNIT_LOCAL);
	unit_log(u->c, &ref, sizeof(ref));
	return STEP_ON;
}

/* The message at `at`, as it is. */
void up_pass(struct up *u, const uint8_t *msg, uint32_t len)
{
	unit_record(u->c, UNIT_FORWARD);
	unit_log(u->c, msg, len);
	gather_range(&u->g, msg, len);
}

void up_own_query(struct up *u, const char *text)
{
	uint8_t b[UP_OWN_QUERY];
	struct wire_put w = wire_put_to(b, sizeof(b));

	u->s->unnamed_serial = UNNAMED_UNKNOWN; /* a simple Query ends it */
	wire_put_msg_str(&w, 'Q', text);
	gather_copy(&u->g, b, w.len);
}
