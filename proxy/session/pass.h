/* proxy/session/pass.h - passthrough: a client is who it says it is when a server takes its
 * password.
 *
 * A trial is a server of the client's pool that logs in with the client's password. It
 * takes a place of the pool like any other; when the login is done it is a server like any
 * other, the pool logs in with that password from now on, in all workers, and the client
 * is let in with all others who wait with the same one. A server that lets anybody in
 * without asking proves nothing. What a server says against a password is told to that
 * client alone, and says nothing of the pool or the node. Trials of one pool are begun in
 * the order of their coming; one password is tried once at a time.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_PASS_H
#define PGWEIR_SESSION_PASS_H

#include "session/refusal.h"
#include "session/session.h"

/* STARTUP_MORE: c may be asked for its password in clear. */
enum startup pass_may(const struct client *c, struct startup_no *no);
/* c's password. STARTUP_IN: a server has taken it a moment ago. STARTUP_MORE: it is tried,
 * and over() will tell, never from within this call. */
enum startup pass_try(struct client *c, const char *password, const struct trial_calls *calls,
		      struct startup_no *no);
/* Its trial, if there is one, is given up. */
void pass_end(struct client *c);
/* SQLSTATE of a trial that took too long. */
const char *pass_late(const struct client *c);

/* The next trial that needs a server, NULL: none. */
struct trial *pass_next(const struct shard *sh);
/* The source of t's client has failed since it was let through, and no server has been
 * asked yet: it is refused like those that come now, and t is no more. */
bool pass_held_up(struct trial *t);
/* s has logged in. true: that has proven something, which is now known; pass_let_in() is to
 * be called when s has found its place. */
bool pass_proven(struct server *s, struct proof_key *key);
void pass_let_in(struct shard *sh, const struct proof_key *key);
/* Its server, closed already, did not come through. */
void pass_failed(struct trial *t, const struct login_end *e);
/* s, with a trial, takes long: another node is asked, if there is one. */
void pass_slow(struct server *s);

#endif
