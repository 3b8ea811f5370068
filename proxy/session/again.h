/* proxy/session/again.h - may the unit whose ReadyForQuery has come be run again on
 * its server? The facts for session/retry.h, which decides.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_AGAIN_H
#define PGWEIR_SESSION_AGAIN_H

#include "session/retry.h"
#include "session/session.h"

/* After a retryable error; status is that of the ReadyForQuery. */
enum retry_verdict again_decide(const struct client *c, const struct server *s, char status);
/* The server had another statement under the name, or none, and said so at the
 * first Bind: has nothing been run, and nothing been passed on? */
bool again_reprepare(const struct client *c, const struct server *s, char status);
/* Counts it under the verdict's name (health/stats.h). */
void again_count(struct client *c, enum retry_verdict v);

#endif
