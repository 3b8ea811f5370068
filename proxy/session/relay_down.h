/* proxy/session/relay_down.h - from server to client: what is forwarded, what
 * is swallowed, what is held, and when the server is free.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RELAY_DOWN_H
#define PGWEIR_SESSION_RELAY_DOWN_H

#include "session/relay_up.h"
#include "session/session.h"

/* Handles what is in the server's buffer, then (readable) reads on. For a
 * server without a client everything is swallowed.
 * RELAY_TX_DONE: nothing is owed and the status is I; the client, if there is
 *   one, has been told.
 * RELAY_RETRY: the client's unit failed and may run again; its answer is kept
 *   in unit.back for the case that it is given up.
 * RELAY_SERVER_GONE: *why says how (buffer of the caller). */
enum relay relay_down(struct server *s, bool readable, struct down_why *why);

/* The kept answer of a failed unit goes to the client after all. */
void relay_give_up(struct client *c);

#endif
