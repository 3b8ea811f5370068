/* proxy/session/tally.h - what a client was told of one unit, as a number that no
 * other answer has: short answers as they are, longer ones as SHA-256.
 *
 * A client that chooses the contents of rows must not be able to make two answers
 * look the same: so no weaker hash.
 *
 * Owner: a client's replay. Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_TALLY_H
#define PGWEIR_SESSION_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "conf/err.h"

#define TALLY_RAW 96u
/* A sum: one byte that says how many of the others count, or 255: a hash. */
#define TALLY_MAX (1u + TALLY_RAW)

struct tally {
	uint64_t bytes;          /* so far */
	EVP_MD_CTX *hash;        /* of all of them, once they are more than fit in raw */
	bool bad;                /* out of memory: equal to nothing */
	uint8_t raw[TALLY_RAW];
};

/* Nothing yet. */
void tally_begin(struct tally *t);
void tally_add(struct tally *t, const void *p, size_t n);
/* Writes the sum of what has been added (it may go on), returns its length. 0: out of
 * memory. */
MUST_CHECK size_t tally_sum(const struct tally *t, uint8_t out[TALLY_MAX]);
/* The same, and begins anew: cheaper. */
MUST_CHECK size_t tally_end(struct tally *t, uint8_t out[TALLY_MAX]);
void tally_free(struct tally *t);

#endif
