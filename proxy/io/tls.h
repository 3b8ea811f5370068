/* proxy/io/tls.h - TLS on a connection.
 *
 * Owner: its stream. Threads: the stream's.
 *
 * It reads ahead, so that a record costs one recv and not two, and holds what came
 * with it: bytes in here do not wake the loop (tls_buffered). What one call of
 * tls_write makes leaves in one piece.
 *
 * Sources: RFC 8446, RFC 7301 (ALPN), RFC 5929 (tls-server-end-point), PostgreSQL
 * manual 34.19 (libpq's sslmode), 55.2.10 (SSL Session Encryption).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_TLS_H
#define PGWEIR_IO_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/tls_bio.h"
#include "io/tls_ctx.h"
#include "io/tls_sessions.h"

/* Towards a server. */
struct tls_peer {
	const char *host;            /* as written; "" or a socket's path: none */
	bool check_host;             /* its certificate must be for that host */
	bool sni;
	const char *session;         /* name to resume by, NULL: no */
	struct tls_sessions *cache;
};

enum tls_result { TLS_OK = 0, TLS_AGAIN, TLS_EOF, TLS_FAIL };

struct tls;

/* peer NULL: the other end begins (we are the server). Takes a reference to c. NULL:
 * out of memory. */
struct tls *tls_new(struct tls_ctx *c, const struct tls_peer *peer, const struct tls_io *io,
		    void *arg);
/* Sends nothing; see tls_goodbye. NULL is fine. */
void tls_free(struct tls *t);

/* One more step. TLS_AGAIN: when bytes have come. TLS_FAIL: tls_why. */
enum tls_result tls_handshake(struct tls *t);
bool tls_ready(const struct tls *t);

/* Up to n bytes, one recv at most unless that was full. *got > 0 only with TLS_OK. */
enum tls_result tls_read(struct tls *t, void *p, size_t n, size_t *got);
/* on: what has been read is wiped from where it was decrypted. */
void tls_wipe(struct tls *t, bool on);
/* What can be read without a recv; part of a record counts. */
bool tls_buffered(const struct tls *t);
/* An end or a failure came behind what was read; no recv tells of it again. */
bool tls_over(const struct tls *t);
/* It is another worker's now. */
void tls_moved(struct tls *t, struct tls_sessions *cache);
/* All of it. */
enum tls_result tls_write(struct tls *t, const void *p, size_t n);
/* The notice that nothing more comes, once. */
void tls_goodbye(struct tls *t);

/* After TLS_FAIL: errno, EPROTO for what is wrong with the protocol or a certificate,
 * and a text for people. */
int tls_error(const struct tls *t);
const char *tls_why(const struct tls *t);

/* The other end's certificate, NULL: none. One reference, the caller's. */
X509 *tls_peer_cert(const struct tls *t);
/* Our own, borrowed; NULL: none. */
X509 *tls_own_cert(const struct tls *t);
/* It began with TLS and without an SSLRequest: the protocol must have been named. */
bool tls_has_alpn(const struct tls *t);
bool tls_resumed(const struct tls *t);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
const char *tls_version(const struct tls *t);
const char *tls_cipher(const struct tls *t);

#endif
