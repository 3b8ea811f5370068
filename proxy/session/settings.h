/* proxy/session/settings.h - a server takes on its client's settings.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SETTINGS_H
#define PGWEIR_SESSION_SETTINGS_H

#include "session/session.h"

/* Sends the difference between the server's settings and the client's, in front
 * of everything else; the answers are swallowed. 0; -1: the server is not usable
 * (close it). *sent: was there a difference? */
MUST_CHECK int settings_sync(struct client *c, struct server *s, bool *sent);

/* The client has sent RESET name, or RESET ALL (NULL): from now on it has what
 * it asked for at its start. -1: out of memory. */
MUST_CHECK int settings_reset(struct client *c, const char *name);

/* Looks for RESET and DISCARD ALL among the statements of a text that is being
 * sent, and does settings_reset() for each. 1: found; 0: none; -1: out of
 * memory. */
MUST_CHECK int settings_scan(struct client *c, const char *sql, size_t n);

#endif
