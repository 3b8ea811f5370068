/* proxy/session/reply.h - one question of auth_query and its answer, as messages.
 *
 * Pure: bytes in, bytes out. Threads: any.
 *
 * The user's name travels as the parameter $1 of type text, never in the query's text.
 * The answer is two columns of text, the user and the secret, and at most one row. A NULL
 * in it says that there is no such user, as no row does. What begins like a secret of SCRAM or MD5 and is none is no
 * secret either: else the text itself would be somebody's password.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_REPLY_H
#define PGWEIR_SESSION_REPLY_H

#include "conf/conf.h"
#include "wire/wire.h"

struct reply {
	const char *wrong;           /* a constant: why it is not to be used, NULL: it is fine */
	char sqlstate[6];            /* of the server's error, if that is why */
	char message[160];           /* ... its words, where they cannot hold what is secret */
	bool described;
	unsigned rows;
	enum secret_kind kind;       /* NONE: no such user, or no secret that is of use */
	uint32_t iterations;         /* of one of SCRAM */
	char *secret;                /* NULL: the same */
};

/* Parse, Bind, Describe, Execute and Sync. */
void reply_ask(struct wire_put *w, const char *query, const char *name);
/* The next message to that, up to ReadyForQuery, which is the caller's to notice. */
void reply_message(struct reply *a, const char *name, uint8_t type, struct wire_get g);
/* All of it has come: nothing that is missing is taken for a no. */
void reply_end(struct reply *a);
/* It went with its server, and may be asked again. */
bool reply_lost(const struct reply *a);
/* It may be better later: a server or a limit is why, not the query. */
bool reply_passes(const struct reply *a);
/* Notes an error: its words only where no value of a row can be among them. */
void reply_error(struct reply *a, struct wire_get g);
/* Wipes it. */
void reply_clear(struct reply *a);

#endif
