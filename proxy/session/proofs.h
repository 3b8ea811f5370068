/* proxy/session/proofs.h - passwords that a server has taken a moment ago, as hashes: the
 * next client with the same one need not wait for a login to a server.
 *
 * Kept is HMAC-SHA-256 with a random key of this process, of the database, the user and
 * the password: of no use elsewhere, or later, but as good as a list of guesses for who
 * can read this memory. The table does not grow; the one that ends first makes room.
 *
 * Owner:   a hall. Threads: its worker's. No clock, no randomness: both are handed in.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_PROOFS_H
#define PGWEIR_SESSION_PROOFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

#define PROOF_LEN 32u
#define PROOF_WAYS 8u
#define PROOF_SETS 512u

/* Which password of whom. */
struct proof_key {
	uint8_t mac[PROOF_LEN];
	uint64_t who;                  /* database and user */
};

struct proof {
	struct proof_key key;
	uint64_t until_us;             /* has passed: a free place */
};

struct proofs {
	uint8_t key[PROOF_LEN];
	struct proof (*sets)[PROOF_WAYS]; /* NULL: none yet */
};

/* key: PROOF_LEN random bytes. -1: out of memory. */
MUST_CHECK int proofs_init(struct proofs *p, const uint8_t *key);
/* Wiped. Harmless when there is nothing. */
void proofs_free(struct proofs *p);
static inline bool proofs_ready(const struct proofs *p)
{
	return p->sets != NULL;
}

/* -1: there is no such hash on this machine. */
MUST_CHECK int proofs_key(const struct proofs *p, const char *db, const char *user,
			  const char *password, struct proof_key *out);
/* Only whose. */
MUST_CHECK int proofs_who(const struct proofs *p, const char *db, const char *user,
			  uint64_t *who);
bool proofs_same(const struct proof_key *a, const struct proof_key *b);

bool proofs_has(const struct proofs *p, const struct proof_key *k, uint64_t now_us);
void proofs_add(struct proofs *p, const struct proof_key *k, uint64_t now_us, uint64_t until_us);
/* All of them. */
void proofs_clear(struct proofs *p);
/* All of that database and user. */
void proofs_forget(struct proofs *p, uint64_t who);

#endif
