/* proxy/session/slow.h - a client's login where logins have failed (pool/logins.h).
 *
 * Which source a client is of:
 * - its address, or its /64. Users there have their failures in common, so that many
 *   names are not many guesses;
 * - from this machine (loopback, a unix socket), where a sidecar or a proxy may stand for
 *   many: the user that it asks for, and for a unix socket the uid at its other end. An
 *   application with an old password does not slow down its neighbours then. All of
 *   127.0.0.0/8 and ::1 are one, as anybody here may have each of them; the database is
 *   no part of it, as it may be any word until the login is done.
 *
 * What fails is an answer to the question for a secret, with a secret that does not fit
 * or none in it. Nothing else does: who goes away before (psql does so to ask its user),
 * sends what is no answer, comes with a certificate of somebody else or where a rule
 * says reject, has guessed no secret. A secret that fits is a success, whatever comes
 * after it (3D000, 53300); logins without a secret neither wait nor forgive.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SLOW_H
#define PGWEIR_SESSION_SLOW_H

#include "session/refusal.h"
#include "session/session.h"

/* Before all else. */
struct login_source slow_source(const struct client *c);
/* A secret is about to be asked for, or (attempt) compared. STARTUP_MORE: it may be. */
enum startup slow_look(struct client *c, struct login_source s, bool attempt,
		       struct startup_no *no);
/* Would one more of its source have to wait? */
bool slow_waits(const struct client *c, struct login_source s);
/* What has been compared did not fit, or did. */
void slow_failed(struct client *c, struct login_source s);
void slow_ok(struct client *c, struct login_source s);

#endif
