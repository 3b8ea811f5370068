/* proxy/session/proofs.c - see proofs.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/proofs.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

int proofs_init(struct proofs *p, const uint8_t *key)
{
	p->sets = calloc(PROOF_SETS, sizeof(*p->sets));
	if (!p->sets)
		return -1;
	memcpy(p->key, key, PROOF_LEN);
	return 0;
}

void proofs_free(struct proofs *p)
{
	if (p->sets)
		explicit_bzero(p->sets, PROOF_SETS * sizeof(*p->sets));
	free(p->sets);
	explicit_bzero(p, sizeof(*p));
}

static int hmac(const uint8_t key[PROOF_LEN], const char *text, uint8_t out[PROOF_LEN])
{
	unsigned n = 0;

	if (!HMAC(EVP_sha256(), key, PROOF_LEN, (const uint8_t *)text, strlen(text), out, &n))
		return -1;
	return n == PROOF_LEN ? 0 : -1;
}

/* The database's hash is the key of the user's, and so on: no two triples are one. */
static int owner(const struct proofs *p, const char *db, const char *user, uint8_t out[PROOF_LEN],
		 uint64_t *who)
{
	uint8_t a[PROOF_LEN];

	if (hmac(p->key, db, a) || hmac(a, user, out))
		return -1;
	memcpy(who, out, sizeof(*who));
	return 0;
}

int proofs_key(const struct proofs *p, const char *db, const char *user, const char *password,
	       struct proof_key *out)
{
	uint8_t k[PROOF_LEN];

	return owner(p, db, user, k, &out->who) || hmac(k, password, out->mac) ? -1 : 0;
}

int proofs_who(const struct proofs *p, const char *db, const char *user, uint64_t *who)
{
	uint8_t k[PROOF_LEN];

	return owner(p, db, user, k, who);
}

bool proofs_same(const struct proof_key *a, const struct proof_key *b)
{
	return a->who == b->who && CRYPTO_memcmp(a->mac, b->mac, PROOF_LEN) == 0;
}

static struct proof *set_of(const struct proofs *p, uint64_t who)
{
	return p->sets[who % PROOF_SETS];
}

bool proofs_has(const struct proofs *p, const struct proof_key *k, uint64_t now_us)
{
	const struct proof *set = set_of(p, k->who);
	bool yes = false;
	unsigned i;

	for (i = 0; i < PROOF_WAYS; i++)
		yes |= set[i].until_us > now_us && proofs_same(&set[i].key, k);
	return yes;
}

void proofs_add(struct proofs *p, const struct proof_key *k, uint64_t now_us, uint64_t until_us)
{
	struct proof *set = set_of(p, k->who), *to = set;
	unsigned i;

	if (until_us <= now_us)
		return;
	for (i = 0; i < PROOF_WAYS; i++) {
		if (set[i].until_us > now_us && proofs_same(&set[i].key, k)) {
			to = &set[i];
			break;
		}
		if (set[i].until_us < to->until_us)
			to = &set[i];
	}
	to->key = *k;
	to->until_us = until_us;
}

void proofs_clear(struct proofs *p)
{
	if (p->sets)
		explicit_bzero(p->sets, PROOF_SETS * sizeof(*p->sets));
}

void proofs_forget(struct proofs *p, uint64_t who)
{
	struct proof *set;
	unsigned i;

	if (!p->sets)
		return;
	set = set_of(p, who);
	for (i = 0; i < PROOF_WAYS; i++)
		if (set[i].key.who == who)
			explicit_bzero(&set[i], sizeof(set[i]));
}
