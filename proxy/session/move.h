/* proxy/session/move.h - a unit that was certainly not done begins anew on another
 * server, from the client's own messages.
 *
 * The messages of a unit that began outside a transaction are kept as the client
 * sent them (unit.raw) as long as all that has been done for them can be taken
 * back: no name settled, nothing of an answer passed on, nothing sent behind it.
 * When its server goes they are put back in front of what the
 * client has sent since, and pass through the relay as if they had just come: its
 * settings, its statements and what they leave behind are seen to as always.
 *
 * Certainly not done, or undone:
 *  - CockroachDB: 57P01 in its words for a drain as the only answer to the unit. A
 *    DrainRequest stands in line behind what was received before it, and what comes
 *    later is not run;
 *  - PostgreSQL: FATAL 57P01 before any CommandComplete, to a unit that only reads, or
 *    with retry_terminated to one of statements of which nothing lasts when they are
 *    broken off: the backend has aborted its transaction. (Foreign tables have committed
 *    before that, so it is not the default for what writes.) Or before the settings in
 *    front of the unit are answered. Not when it has run for more than a second: an
 *    operator may have ended it on purpose;
 *  - a unit that touches its session alone (BEGIN, SET, SHOW, a Parse without a Bind):
 *    whatever was done of it ended with the server;
 *  - a unit that had failed with a retryable error and waited for its next attempt;
 *  - with retry_unknown = readonly, one that only reads: twice is as good as once;
 *    with hinted, also one whose author says so (wire/hints.h);
 *  - 25006 from a server that is no primary any more.
 *
 * Never what its client has asked to be cancelled.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_MOVE_H
#define PGWEIR_SESSION_MOVE_H

#include "session/relay.h"
#include "session/session.h"

/* May it, now that s is lost for the reason w? */
bool move_may(const struct client *c, const struct server *s, const struct down_why *w);
/* c has no server then (s is closed), and its unit is in front of its buffer: run
 * it. false: out of memory, nothing has changed. */
MUST_CHECK bool move_unit(struct client *c, struct server *s, const struct down_why *w);

/* An error 25006 for c on s: is it the server that is in another role than it was? */
bool move_wrong_role(const struct client *c, const struct server *s);

#endif
