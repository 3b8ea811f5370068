/* proxy/session/encrypt.h - TLS with a server, from the question to the handshake; the
 * same for a login and for a cancel.
 *
 * Source: PostgreSQL manual 55.2.10 (SSL Session Encryption), 34.19 (SSL Support).
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ENCRYPT_H
#define PGWEIR_SESSION_ENCRYPT_H

#include "session/session.h"

enum encrypt {
	ENCRYPT_CLEAR = 0,
	ENCRYPT_ASK,             /* SSLRequest, and then as it says */
	ENCRYPT_DIRECT
};

/* What holds for a connection of s's shard to its target is its own from now on
 * (encrypt_drop). -1: out of memory. */
MUST_CHECK int encrypt_take(struct server *s);
void encrypt_drop(struct server *s);
/* NULL: clear. */
const struct tls_db *encrypt_settings(const struct server *s);
/* Is it as secret, and as sure of whom it talks to, as db asks for? */
bool encrypt_suits(const struct server *s, const struct snapshot_db *db);
/* How a connection begins; k may be NULL. second: it was tried one way and may be tried
 * the other (sslmode allow and prefer). */
enum encrypt encrypt_how(const struct tls_db *k, bool second);
/* Is there another way, and may it be taken? */
bool encrypt_has_second(const struct tls_db *k);
/* Nothing may be said in clear. */
bool encrypt_must(const struct tls_db *k);

/* Sends the SSLRequest. -1: the connection is lost. */
MUST_CHECK int encrypt_ask(struct stream *st);

enum encrypt_answer {
	ENCRYPT_MORE = 0,        /* wait for bytes */
	ENCRYPT_YES,             /* encrypt_start() now */
	ENCRYPT_NO,              /* it has none: go on in clear, if that is allowed */
	ENCRYPT_ERROR,           /* it sent an ErrorResponse, which is in the buffer */
	ENCRYPT_BAD,             /* no answer to that question; *why says what */
	ENCRYPT_LOST
};
enum encrypt_answer encrypt_answered(struct stream *st, const char **why);

/* The handshake; the stream's secured() tells its end. -1: out of memory. */
MUST_CHECK int encrypt_start(struct stream *st, const struct tls_db *k, const char *host,
			     const struct target *t);

#endif
