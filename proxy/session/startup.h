/* proxy/session/startup.h - a client's way in: startup packet, password, and
 * what it is told at the end of it.
 *
 * Source: PostgreSQL manual 55.2.1 (Start-up), 55.3 (SASL).
 * Until the login is done a client costs one buffer and struct login, and no
 * more however long its messages claim to be.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_STARTUP_H
#define PGWEIR_SESSION_STARTUP_H

#include "session/session.h"

/* What an attempt to log in needs and a session does not. */
struct login {
	struct scram_server scram;
	bool scram_begun;
	bool known;              /* the user has a secret here */
	const char *why;         /* of the refusal, for the log */
};

enum startup {
	STARTUP_MORE = 0,        /* wait for bytes */
	STARTUP_IN,              /* logged in: c->shard is set, or console */
	STARTUP_CANCEL,          /* was a CancelRequest: c's fd has been given away */
	STARTUP_REFUSED          /* *no says what it is to be told */
};

struct startup_no {
	const char *sqlstate;
	char message[200];
	const char *hint;
	char hint_text[160];     /* what hint is, where it is put together */
	const char *why;
};

/* Handles one packet or message in the buffer of a client in state startup or
 * password. */
enum startup startup_message(struct client *c, struct startup_no *no);
void startup_end(struct client *c);

#endif
