/* proxy/wire/binding.h - SCRAM's channel binding of type tls-server-end-point
 * (RFC 5802 section 6, RFC 5929 section 4): the login is tied to the server's
 * certificate, and the client picks one of the mechanisms that it is offered.
 *
 * Pure. Threads: any. Source: PostgreSQL 15, fe-auth.c and be-secure-openssl.c.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_BINDING_H
#define PGWEIR_WIRE_BINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#include "conf/err.h"

#define SCRAM_MECH "SCRAM-SHA-256"
#define SCRAM_MECH_PLUS "SCRAM-SHA-256-PLUS"
#define SCRAM_BINDING_MAX 64 /* EVP_MAX_MD_SIZE */

/* The hash of the server's certificate. */
struct scram_binding {
	uint8_t hash[SCRAM_BINDING_MAX];
	size_t len;              /* 0: none */
};

/* The hash is that of the certificate's signature, SHA-256 for MD5 and SHA-1. -1,
 * and none: the signature names no hash (Ed25519, Ed448), as with PostgreSQL, which
 * offers SCRAM-SHA-256-PLUS all the same and fails every login that takes it. A
 * server of ours that has none should offer SCRAM-SHA-256 alone. */
MUST_CHECK int scram_cert_hash(X509 *cert, struct scram_binding *out);

/* libpq's channel_binding. */
enum scram_want { SCRAM_PREFER, SCRAM_REQUIRE, SCRAM_DISABLE };

/* What a client of ours knows before its first message. Zero: a clear connection,
 * nothing offered yet. */
struct scram_channel {
	enum scram_want want;
	bool tls;
	bool offered, plus_offered;      /* by the server: scram_channel_offer() */
	struct scram_binding binding;    /* of the server's certificate */
};

/* Once for each name in the server's list; those not known here are ignored. */
void scram_channel_offer(struct scram_channel *ch, const char *mech);

/* How the client begins. */
struct scram_choice {
	const char *mech;        /* SCRAM_MECH or SCRAM_MECH_PLUS */
	char flag;               /* of the gs2 header: 'n', 'y' or 'p' */
};

/* As libpq chooses: PLUS where it is offered, y where it is not although we could.
 * -1 with *why (a literal): nothing that is offered will do. */
MUST_CHECK int scram_choose(const struct scram_channel *ch, struct scram_choice *out,
			    const char **why);

#define SCRAM_GS2_PLUS "p=tls-server-end-point,,"
/* "c=" and the value that belongs to flag; flag p needs a binding. */
#define SCRAM_C_MAX 128
/* Returns the length, or -1. */
MUST_CHECK int scram_print_c(char flag, const struct scram_binding *binding,
			     char out[SCRAM_C_MAX]);

#endif
