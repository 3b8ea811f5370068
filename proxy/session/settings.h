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

#endif
