/* proxy/session/raw.c - see raw.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/raw.h"

#include <strings.h>

#include "session/count.h"

int raw_replication(const char *value)
{
	static const char *const yes[] = { "true", "on", "yes", "1", "t", "y" };
	static const char *const no[] = { "false", "off", "no", "0", "f", "n" };
	size_t i;

	if (strcasecmp(value, "database") == 0)
		return REPLICATION_LOGICAL;
	for (i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		if (strcasecmp(value, yes[i]) == 0)
			return REPLICATION_PHYSICAL;
		if (strcasecmp(value, no[i]) == 0)
			return REPLICATION_NONE;
	}
	return -1;
}

/* What is in the buffer goes. */
static enum relay empty(struct stream *from, struct stream *to, enum relay to_gone, size_t *bytes)
{
	size_t n = stream_have(from);
	enum io io = n ? stream_send(to, stream_data(from), n) : IO_OK;

	stream_consume(from, n);
	*bytes += n;
	return io == IO_FAIL ? to_gone : stream_backed_up(to) ? RELAY_PAUSE : RELAY_ON;
}

static enum relay pass(struct stream *from, struct stream *to, enum relay from_gone,
		       enum relay to_gone, size_t *bytes)
{
	enum relay r = empty(from, to, to_gone, bytes);
	int fills;

	for (fills = 0; r == RELAY_ON && fills < 4; fills++) {
		switch (stream_fill(from, 0)) {
		case IO_OK:
			r = empty(from, to, to_gone, bytes);
			break;
		case IO_AGAIN:
			return RELAY_ON;
		case IO_EOF:
		case IO_FAIL:
		default:
			return from_gone;
		}
	}
	return r;
}

enum relay raw_up(struct client *c, struct server *s)
{
	size_t n = 0;
	enum relay r = pass(&c->s, &s->s, RELAY_CLIENT_GONE, RELAY_SERVER_GONE, &n);

	c->in_bytes += n;
	COUNT_AT_ADD(c, s, received_bytes, n);
	return r;
}

enum relay raw_down(struct client *c, struct server *s)
{
	size_t n = 0;
	enum relay r = pass(&s->s, &c->s, RELAY_SERVER_GONE, RELAY_CLIENT_GONE, &n);

	c->out_bytes += n;
	COUNT_AT_ADD(c, s, sent_bytes, n);
	return r;
}
