/* health/gate.h - may libpq see what a server has sent? It would answer a request for the
 * password as it is on any connection: libpq 15 has no require_auth.
 *
 * Source: PostgreSQL manual 55.7 (Message Formats), and what libpq 15 takes of them.
 * Threads: any; pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_GATE_H
#define PGWEIR_HEALTH_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One recv of libpq takes as much, at least. */
#define GATE_MAX 8192

enum gate {
	GATE_PASS = 0,
	GATE_MORE,  /* the last message is cut: not before there are *need bytes */
	GATE_CLEAR, /* it wants the password as it is */
	GATE_BAD    /* nothing that belongs into a login */
};

/* What has come and is not read yet, n bytes of at most GATE_MAX, on a connection without
 * TLS. Messages until the end of the authentication; asked: the answer to an SSLRequest. */
enum gate gate_look(const uint8_t *p, size_t n, bool asked, size_t *need);

#endif
