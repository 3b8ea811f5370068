/* proxy/session/quota.h - what a client counts against, from accept to its end.
 *
 * Until it has logged in: max_client_logins (session/door.h). Then: max_client_conn,
 * max_db_client_connections and max_user_client_connections; a client of the console:
 * CONSOLES_MAX and nothing else. client.quota says what it holds now.
 *
 * Threads: its worker's, but quota_strangers_max: any.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_QUOTA_H
#define PGWEIR_SESSION_QUOTA_H

#include "session/session.h"

/* Clients of the console at one time. */
#define CONSOLES_MAX 100

/* What it is told when it is one too many. */
struct quota_no {
	const char *sqlstate, *why;  /* why: the setting, for the log */
	char message[200], hint[160];
};

/* It is known who it is and what for; db NULL: for the console. false: *no says why, and
 * it counts as it did. */
bool quota_take(struct client *c, const struct conf_db *db, struct quota_no *no);
/* It is gone; idempotent. */
void quota_give(struct client *c);

/* Most who have not logged in. */
unsigned quota_strangers_max(const struct conf_global *g);

#endif
