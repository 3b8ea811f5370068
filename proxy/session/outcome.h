/* proxy/session/outcome.h - what became of a COMMIT whose server was lost, where that can
 * be proven (retry_commit).
 *
 * In front of a COMMIT, in the same write, the server is asked for the number of the
 * transaction and for when its postmaster began. If it is lost before it has answered the
 * COMMIT, another connection to the same postmaster knows what became of that number:
 * committed, then the client is told so; aborted, then the transaction is replayed. Nothing
 * is proven by another postmaster, be it the same machine's: after a crash a number may be
 * given to a second transaction.
 *
 * Source: PostgreSQL manual 9.27.5 (Transaction ID and Snapshot Information Functions).
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_OUTCOME_H
#define PGWEIR_SESSION_OUTCOME_H

#include "session/replay.h"

/* The question in front of a COMMIT (session/up_outcome.h). */
extern const char outcome_question[];
/* Is it to be asked, of this server? */
bool outcome_wanted(const struct client *c, const struct server *s);
/* In front of a COMMIT that is sent again. false: the server is lost. */
bool outcome_ask_again(struct client *c, struct server *s);
/* The answer: a DataRow's body. */
void outcome_number(struct client *c, const uint8_t *body, size_t n);

/* Is the number of the transaction known whose COMMIT is in flight on s? */
bool outcome_known(const struct client *c, const struct server *s);
/* What the client gets if it was committed is kept: what was held, and what s owes. -1:
 * out of memory. */
MUST_CHECK int outcome_keep(struct client *c, struct server *s);

enum outcome { OUTCOME_UNKNOWN = 0, OUTCOME_COMMITTED, OUTCOME_ABORTED, OUTCOME_IN_PROGRESS };
/* The question to another server: false: it is lost. */
bool outcome_look_up(struct client *c, struct server *s);
/* A row of its answer. */
void outcome_row(struct client *c, const uint8_t *body, size_t n);

#endif
