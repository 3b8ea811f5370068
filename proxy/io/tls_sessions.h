/* proxy/io/tls_sessions.h - sessions with servers, to be resumed.
 *
 * Owner: struct worker. Threads: its worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_TLS_SESSIONS_H
#define PGWEIR_IO_TLS_SESSIONS_H

#include <openssl/ssl.h>
#include <stdint.h>

struct tls_session;

struct tls_sessions {
	struct tls_session *head;    /* the newest first */
	unsigned n;
};

/* Whose sessions an SSL keeps: its app data. NULL or no cache: nobody's. */
struct tls_resume {
	struct tls_sessions *cache;
	char *name;
	uint64_t ctx;                /* tls_ctx.id */
};

/* From now on the sessions of c's connections are kept as their tls_resume says. */
void tls_sessions_hook(SSL_CTX *c);
/* Borrowed; NULL: none. */
SSL_SESSION *tls_sessions_find(const struct tls_resume *r);
void tls_sessions_drop(const struct tls_resume *r);
void tls_sessions_clear(struct tls_sessions *c);

#endif
