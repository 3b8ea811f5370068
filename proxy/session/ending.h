/* proxy/session/ending.h - the end of a client, and what becomes of its server.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ENDING_H
#define PGWEIR_SESSION_ENDING_H

#include "session/session.h"

/* Ends the session; idempotent. why: a word for the log. */
void client_close(struct client *c, const char *why);
/* Tells it (FATAL) and ends the session once that has gone. */
void client_end(struct client *c, const char *sqlstate, const char *message, const char *detail,
		const char *hint, const char *why);
/* It has not logged in within client_login_timeout. */
void client_login_late(struct client *c);

/* One that has not logged in makes room for another. */
void client_shed(struct client *c);

/* c, out of its transaction, needs its server no more: it goes back to the pool,
 * cleaned where the settings ask for it. */
void client_release(struct client *c, struct server *s);

#endif
