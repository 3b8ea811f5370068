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

#include "session/session.h"

enum relay {
	RELAY_ON = 0,         /* all done for now */
	RELAY_NEED_SERVER,    /* a whole message waits and there is no server */
	RELAY_PAUSE,          /* the other side does not keep up */
	RELAY_TX_DONE,        /* down: the server is free */
	RELAY_RETRY,          /* down: the unit is to be run again */
	RELAY_CLIENT_GONE,
	RELAY_SERVER_GONE
};

/* Longest Query or Parse that is looked at as a whole. */
#define UP_WHOLE_MAX (1u << 20)

/* Handles what is in the client's buffer, then (readable) reads on. *why says
 * for RELAY_CLIENT_GONE what happened, for the log; sqlstate and message for
 * the client when not NULL. */
struct up_why {
	const char *why;
	const char *sqlstate;
	const char *message;
};
enum relay relay_up(struct client *c, bool readable, struct up_why *why);

#endif
