/* proxy/session/relay_up.h - from client to server: which messages, when, and
 * what is rewritten on the way.
 *
 * A message goes on only when it is whole, so that half a message never takes
 * a server; one that is longer than the buffer streams through once its head
 * is here. Parse, Bind, Describe and Close carry the client's statement names
 * and are rewritten; all else passes untouched from the buffer it came in.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RELAY_UP_H
#define PGWEIR_SESSION_RELAY_UP_H

#include "session/relay.h"
#include "session/session.h"

/* Handles what is in the client's buffer, then (readable) reads on. *why says
 * for RELAY_CLIENT_GONE what happened, for the log; sqlstate and message for
 * the client when not NULL. */
enum relay relay_up(struct client *c, bool readable, struct up_why *why);

#endif
