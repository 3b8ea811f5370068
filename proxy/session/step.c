/* proxy/session/step.c - see step.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/step.h"

#include <stdlib.h>

#include "session/count.h"
#include "session/undo.h"

void client_step(struct client *c, enum client_event e)
{
	enum client_state next = client_next(c->state, e);

	if (next == CL_NONE) {
		LOG(&c->log, LOG_LEVEL_ERROR, "cannot_happen", "state=\"%s\" event_was=\"%s\"",
		    client_state_name(c->state), client_event_name(e));
		return;
	}
	c->state = next;
}

void server_step(struct server *s, enum server_event e)
{
	enum server_state next = server_next(s->state, e);

	if (next == SV_NONE) {
		LOG(&s->log, LOG_LEVEL_ERROR, "cannot_happen", "state=\"%s\" event_was=\"%s\"",
		    server_state_name(s->state), server_event_name(e));
		return;
	}
	s->state = next;
}

void client_forget_begin(struct client *c)
{
	free(c->begun);
	c->begun = NULL;
}

void say(struct client *c, const void *p, size_t n)
{
	c->out_bytes += n;
	COUNT_ADD(c, sent_bytes, n);
	/* A failed send is told by the stream; one that backs up is bounded:
	 * these are a few hundred bytes per message of the client's. */
	if (stream_send(&c->s, p, n) == IO_FAIL)
		return;
}

void say_error(struct client *c, const char *severity, const char *sqlstate, const char *message,
	       const char *detail, const char *hint)
{
	struct wire_error e = { severity, sqlstate, message, detail, hint, NULL };
	uint8_t b[2048];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_error(&w, 'E', &e);
	count_error(c, sqlstate);
	say(c, b, w.len);
}

void say_ready(struct client *c, char status)
{
	uint8_t b[2048];
	struct wire_put w = wire_put_to(b, sizeof(b));

	if (undo_untold(c))
		undo_put(c, &w);
	if (w.bad)
		w = wire_put_to(b, sizeof(b));
	wire_put_ready(&w, status);
	if (c->shard)
		count_ready(c);
	say(c, b, w.len);
}
