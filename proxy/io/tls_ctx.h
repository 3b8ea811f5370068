/* proxy/io/tls_ctx.h - what TLS connections are made from: certificates, keys,
 * authorities, versions, ciphers.
 *
 * Owner:   counted references; made from files and never changed.
 * Threads: tls_ctx_new the control thread's (it reads files); the rest any.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_TLS_CTX_H
#define PGWEIR_IO_TLS_CTX_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/err.h"

/* Words of the settings; NULL or "": not given. All are borrowed. */
struct tls_settings {
	bool server;                 /* the side that accepts */
	const char *key, *cert, *ca, *crl;  /* files, PEM */
	const char *protocols;       /* PgBouncer's *_tls_protocols */
	const char *min, *max;       /* libpq's: TLSv1.2, TLSv1.3 */
	const char *ciphers, *ciphers13, *curve, *dh;
	bool verify;                 /* towards a server: it must show a certificate of `ca` */
	bool libpq;                  /* errors name libpq's parameters, not PgBouncer's */
};

struct tls_ctx {
	_Atomic unsigned refs;
	SSL_CTX *ctx;
	BIO_METHOD *bio;
	uint64_t id;             /* of this one alone: sessions are resumed with no other */
	bool server, checks;
};

/* NULL: *e names the setting and says why. */
struct tls_ctx *tls_ctx_new(const struct tls_settings *s, struct err *e);
struct tls_ctx *tls_ctx_hold(struct tls_ctx *c);
void tls_ctx_drop(struct tls_ctx *c);
/* It has certificates to check the other end's against. */
bool tls_ctx_checks(const struct tls_ctx *c);

#endif
