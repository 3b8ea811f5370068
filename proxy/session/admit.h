/* proxy/session/admit.h - a client that has shown who it is gets its place: the
 * console, or a pool and the settings that hold for it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ADMIT_H
#define PGWEIR_SESSION_ADMIT_H

#include "session/refusal.h"
#include "session/session.h"

/* STARTUP_IN, or STARTUP_REFUSED. Only now is it told that a database is not there. */
enum startup admit(struct client *c, struct startup_no *no);
/* The same for a client of our own: user is that of auth_query, and nothing is asked of
 * the configuration but how long it may wait. */
enum startup admit_inner(struct client *c, struct startup_no *no);
/* The databases of the console. */
bool admit_is_console(const char *db);
/* Who runs pgweir rules it, under the console's own names, as with PgBouncer. */
bool admit_is_owner(const struct client *c);

#endif
