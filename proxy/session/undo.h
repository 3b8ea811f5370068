/* proxy/session/undo.h - reported settings that a transaction has changed, in case its
 * server is lost with it: PostgreSQL would take them back and say so.
 *
 * What is not reported is asked for after a transaction (session/residue.h), and so was
 * never noted of one that is lost.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UNDO_H
#define PGWEIR_SESSION_UNDO_H

#include "session/session.h"
#include "wire/wire.h"

/* A reported setting of c is about to change. -1: out of memory. */
MUST_CHECK int undo_note(struct client *c);
/* A ReadyForQuery outside a transaction: it is final. */
void undo_forget(struct client *c);
/* The transaction was lost with its server: c's settings are what they were before it.
 * -1: out of memory. */
MUST_CHECK int undo_lost(struct client *c, const struct server *s);
/* The same where the client was told of nothing since. */
void undo_unseen(struct client *c);
/* ParameterStatus messages that tell of that, once: in front of the first ReadyForQuery
 * after it. */
void undo_put(struct client *c, struct wire_put *w);
static inline bool undo_untold(const struct client *c)
{
	return c->undo && c->undo->told.n;
}
void undo_free(struct client *c);

#endif
