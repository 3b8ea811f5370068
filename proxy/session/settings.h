/* proxy/session/settings.h - a server takes on its client's settings.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SETTINGS_H
#define PGWEIR_SESSION_SETTINGS_H

#include "session/session.h"
#include "wire/wire.h"

/* The difference between the server's settings and the client's, as messages
 * that go in front of the client's; their answers are swallowed. What the server
 * does not report it is taken to have from now on. Put into w, when *big is NULL; else
 * it did not fit and *big, which the caller frees, holds *big_len bytes. *await:
 * nothing of the client's may follow before the answers (wire/params.h says why
 * it may otherwise). 0; -1: out of memory. */
MUST_CHECK int settings_put(struct client *c, struct server *s, struct wire_put *w, uint8_t **big,
			    size_t *big_len, bool *await);

/* The server has taken them on: what it reports is what it calls them. -1: out of
 * memory. */
MUST_CHECK int settings_done(struct client *c, const struct server *s);

/* A RESET inside a session goes back to what the server began with, which is not
 * what this client began with: are there such settings, noted and in effect? */
bool settings_due(const struct client *c);
/* The message that sets them as the client's startup packet did. w->bad: did not
 * fit. */
void settings_restore(struct client *c, struct server *s, struct wire_put *w);

/* A ParameterStatus has come for c: what is to be told instead, NULL: nothing. A
 * RESET reports the server's own value where the client is to have the one of its
 * startup packet. ours: it answers something of ours. */
const char *settings_reported(struct client *c, struct server *s, const char *name,
			      const char *value, bool ours);
/* At the end of a unit: the settings a RESET gave back to c of which the server did
 * not report anything, as it had not to change them. */
void settings_unreported(struct client *c, const struct server *s, struct wire_put *w);

#endif
