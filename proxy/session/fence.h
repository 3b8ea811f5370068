/* proxy/session/fence.h - default_transaction_read_only of a node that somebody fences
 * off.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_FENCE_H
#define PGWEIR_SESSION_FENCE_H

#include "session/session.h"

/* A ParameterStatus of s, with or without a client: is it the node's own doing? ours: it
 * answers something of ours. */
bool fence_is(const struct server *s, const struct client *c, const char *name, const char *value,
	      bool ours);
/* So it is. */
void fence_got(struct server *s, const char *name, const char *value);
/* The block is over in which it was not clear whose doing it was (s->fence_due). */
void fence_settle(struct server *s, struct client *c);

#endif
