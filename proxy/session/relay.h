/* proxy/session/relay.h - what a pass of the relay comes to, in either direction.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RELAY_H
#define PGWEIR_SESSION_RELAY_H

#include <stdbool.h>

enum relay {
	RELAY_ON = 0,         /* all done for now */
	RELAY_NEED_SERVER,    /* a whole message waits and there is no server */
	RELAY_PAUSE,          /* the other side does not keep up */
	RELAY_TX_DONE,        /* down: the server is free */
	RELAY_RETRY,          /* down: the unit is to be run again */
	RELAY_SETTINGS_REFUSED, /* down: the server refused the client's settings */
	RELAY_CLIENT_GONE,
	RELAY_SERVER_GONE
};

/* How a server was lost; the rest are its last words, when it had any. */
struct down_why {
	const char *why;
	bool fatal;              /* by their severity */
	char sqlstate[6];
	char message[200];
};

#endif
