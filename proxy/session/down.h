/* proxy/session/down.h - one pass over a server's buffer: what is gathered for the
 * client, and what of it is kept until the outcome of its unit is known.
 *
 * On the stack of relay_down(). Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_DOWN_H
#define PGWEIR_SESSION_DOWN_H

#include "session/gather.h"
#include "session/relay.h"
#include "session/session.h"

/* One pass over the server's buffer. */
struct down {
	struct server *s;
	struct client *c;        /* NULL: being cleaned, or idle */
	struct gather g;
	size_t at;               /* bytes of the buffer dealt with */
	size_t want;             /* the next message needs that many */
	struct down_why *why;
	bool backed_up;
	bool retry;              /* the unit is to be run again */
	bool notice;             /* a NoticeResponse is passed on */
};

/* A piece of the buffer goes to the client, if there is one, and if it has not been told
 * of it by an attempt before. */
void down_forward(struct down *d, const uint8_t *p, size_t n);
/* A message of our own making. */
void down_copy(struct down *d, const uint8_t *p, size_t n);
/* Everything gathered goes where it belongs; the buffer moves on. */
void down_flush(struct down *d);
/* Keeps what is gathered until the outcome is known. false: no room. */
bool down_keep(struct down *d);
/* What is kept, then what is gathered, to the client in one call. */
void down_send(struct down *d);

#endif
