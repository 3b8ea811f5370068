/* proxy/session/welcome.h - what a login tells a client: the settings of its
 * session, as the server spells them.
 *
 * A client that asks for settings in its startup packet is told their values as
 * the server has them ("ISO" becomes "ISO, MDY"), and is refused when the server
 * refuses one, as PostgreSQL does. So the first client with a set of settings
 * borrows a server at its login; what it was told is kept with the pool for those
 * who ask for the same (pool/hub.h).
 *
 * Threads: the worker's; what is kept is shared.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_WELCOME_H
#define PGWEIR_SESSION_WELCOME_H

#include "session/session.h"

/* Tells c that it is logged in. false: a server of the pool must be asked first. */
bool welcome_known(struct client *c);
/* The server c is linked to has taken on its settings: tells c, and keeps it for
 * the next. false: the server reported nothing. */
bool welcome_by(struct client *c, const struct server *s);

/* CockroachDB takes no notice of names in a startup packet that it does not know, and
 * refuses to set them afterwards: c forgets the one that s refused. false: s has refused
 * something else. */
bool welcome_without(struct client *c, struct server *s);

/* The server is its own: tells c what the server told. */
bool welcome_raw(struct client *c);
/* It has shown who it is; what comes may be a refusal still. */
void welcome_auth_ok(struct client *c);
void welcome_console(struct client *c);

#endif
