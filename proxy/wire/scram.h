/* proxy/wire/scram.h - SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677,
 * RFC 5929) and PostgreSQL's MD5 passwords, both roles: the maths and the messages,
 * no I/O, no randomness (nonces and salts are handed in).
 *
 * Threads: any. Secrets in these structs are wiped by the *_wipe functions.
 * Every function that takes bytes from the peer bounds them and never reads
 * past len; a message with anything missing, out of order, repeated or behind
 * the end is refused.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_SCRAM_H
#define PGWEIR_WIRE_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "proxy/wire/binding.h"

#define SCRAM_KEY_LEN 32
#define SCRAM_SALT_MAX 256
#define SCRAM_NONCE_MAX 256          /* of client + server nonce together, base64 text */
#define SCRAM_MSG_MAX 1024           /* longest message made or accepted */
#define SCRAM_ITERATIONS_DEFAULT 4096
#define SCRAM_ITERATIONS_MAX 1000000 /* a server that asks for more is refused */

/* What a verifier keeps (RFC 5803; PostgreSQL's pg_authid.rolpassword). */
struct scram_secret {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint8_t stored_key[SCRAM_KEY_LEN];
	uint8_t server_key[SCRAM_KEY_LEN];
};

/* "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey" -> secret. -1 if malformed. */
MUST_CHECK int scram_secret_parse(const char *text, struct scram_secret *out);
/* From a password, in its SASLprep form; costs `iterations` rounds of HMAC (about
 * 1 ms for 4096). -1 also for one that saslprep() refuses. */
MUST_CHECK int scram_secret_make(const char *password, const uint8_t *salt, size_t salt_len,
				 uint32_t iterations, struct scram_secret *out);
/* Text form, for tests and tools. Returns out, NULL if cap is too small. */
const char *scram_secret_print(const struct scram_secret *s, char *out, size_t cap);
/* A secret that nobody knows the password of, the same each time for the same
 * user and key: what unknown users are asked with, so that they look like
 * known ones. iterations: as known ones have them; the salt is as long as that of
 * PostgreSQL's. */
void scram_secret_mock(const char *user, const uint8_t key[32], uint32_t iterations,
		       struct scram_secret *out);
void scram_secret_wipe(struct scram_secret *s);

/* ---- the side that checks (we towards a client) ---- */

struct scram_server {
	/* set before scram_server_first: */
	struct scram_secret secret;
	bool doomed;                             /* mock secret: always refuse at the end */
	bool plus_offered;                       /* beside SCRAM-SHA-256 */
	struct scram_binding binding;            /* of our certificate */
	/* set by it: */
	char nonce[SCRAM_NONCE_MAX];             /* client nonce + ours */
	char client_first_bare[SCRAM_MSG_MAX];
	char server_first[SCRAM_MSG_MAX];
	char gs2_header;                         /* 'n', 'y' or 'p' */
	/* set by scram_server_final, when it accepts: what the client logs in with
	 * wherever this secret is (scram_client_final_keys) */
	bool have_client_key;
	uint8_t client_key[SCRAM_KEY_LEN];
};

/* Takes client-first-message (RFC 5802 section 7; the user name in it is ignored
 * as PostgreSQL does) of the mechanism that the client named, writes
 * server-first-message to out. The gs2 header must be p=tls-server-end-point with
 * SCRAM-SHA-256-PLUS, and n or y without; y is refused when PLUS was offered,
 * because somebody has taken it from the list then. our_nonce: printable, without
 * comma. Returns the length, or -1 with *why (a literal) set. */
MUST_CHECK int scram_server_first(struct scram_server *s, const char *mech, const char *msg,
				  size_t len, const char *our_nonce, char *out, size_t cap,
				  const char **why);
/* Takes client-final-message, writes server-final-message ("v=..."). Returns
 * its length, or -1: refused (*why says whether it was the password or the
 * protocol). Compares in constant time. Fills in client_key. */
MUST_CHECK int scram_server_final(struct scram_server *s, const char *msg, size_t len, char *out,
				  size_t cap, const char **why);
void scram_server_wipe(struct scram_server *s);

/* ---- the side that shows (we towards a server) ---- */

/* PBKDF2's result, kept per (password, salt, iterations), because it is the
 * expensive part. */
struct scram_salted {
	uint8_t key[SCRAM_KEY_LEN];
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint32_t iterations;                     /* 0: empty */
};

struct scram_client {
	struct scram_choice choice;
	struct scram_binding binding;
	char client_first_bare[SCRAM_MSG_MAX];
	char nonce[SCRAM_NONCE_MAX];
	uint8_t server_signature[SCRAM_KEY_LEN];
	bool have_signature;
};

/* Writes client-first-message for the mechanism c->choice.mech, which it picks.
 * Returns its length, or -1 with *why (a literal). */
MUST_CHECK int scram_client_first(struct scram_client *c, const struct scram_channel *ch,
				  const char *our_nonce, char *out, size_t cap, const char **why);
/* Takes server-first-message, writes client-final-message. password: any bytes, of
 * which the SASLprep form is used. cache: used when its salt and iterations fit,
 * filled otherwise; may be NULL. */
MUST_CHECK int scram_client_final(struct scram_client *c, const char *msg, size_t len,
				  const char *password, struct scram_salted *cache, char *out,
				  size_t cap, const char **why);
/* The same without the password, by what a client of ours has proved: its key and
 * the secret that it was checked against. Refuses when the server asks with another
 * salt or iteration count: then its secret is another one, and the key is of no use. */
MUST_CHECK int scram_client_final_keys(struct scram_client *c, const char *msg, size_t len,
				       const struct scram_secret *secret,
				       const uint8_t client_key[SCRAM_KEY_LEN], char *out,
				       size_t cap, const char **why);
/* Checks server-final-message: 0 when the server knows the secret too. */
MUST_CHECK int scram_client_check(const struct scram_client *c, const char *msg, size_t len,
				  const char **why);
void scram_client_wipe(struct scram_client *c);

/* ---- MD5 (PostgreSQL protocol 55.3: "md5" + md5(md5(password + user) + salt)) ---- */

/* secret: a password, or "md5" + 32 hex digits as stored. Writes 35 characters
 * and a terminator. -1 when MD5 is not available (FIPS). */
MUST_CHECK int md5_response(const char *user, const char *secret, const uint8_t salt[4],
			    char out[36]);
/* What a server stores of a password, "md5" and all, whatever the password looks like:
 * who has the stored text has not the password. */
MUST_CHECK int md5_stored(const char *user, const char *password, char out[36]);

#endif
