/* proxy/session/tally.c - see tally.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/tally.h"

#include <string.h>

void tally_begin(struct tally *t)
{
	t->bytes = 0;
	t->bad = false;
}

static void hash(struct tally *t, const void *p, size_t n)
{
	const EVP_MD *md = NULL; /* a context that has been used knows it, and that is cheaper */

	if (!t->hash) {
		t->hash = EVP_MD_CTX_new();
		md = EVP_sha256();
	}
	if (t->hash && t->bytes <= TALLY_RAW &&
	    (!EVP_DigestInit_ex(t->hash, md, NULL) ||
	     !EVP_DigestUpdate(t->hash, t->raw, (size_t)t->bytes)))
		t->bad = true;
	if (!t->hash || t->bad || !EVP_DigestUpdate(t->hash, p, n))
		t->bad = true;
}

void tally_add(struct tally *t, const void *p, size_t n)
{
	if (t->bad || !n)
		return;
	if (t->bytes + n <= TALLY_RAW)
		memcpy(t->raw + t->bytes, p, n);
	else
		hash(t, p, n);
	t->bytes += n;
}

static size_t short_sum(const struct tally *t, uint8_t out[TALLY_MAX])
{
	out[0] = (uint8_t)t->bytes;
	memcpy(out + 1, t->raw, (size_t)t->bytes);
	return 1 + (size_t)t->bytes;
}

static size_t hash_sum(EVP_MD_CTX *ctx, uint8_t out[TALLY_MAX])
{
	unsigned n = 0;

	out[0] = 255;
	return EVP_DigestFinal_ex(ctx, out + 1, &n) ? 1 + n : 0;
}

size_t tally_sum(const struct tally *t, uint8_t out[TALLY_MAX])
{
	EVP_MD_CTX *copy;
	size_t n = 0;

	if (t->bad)
		return 0;
	if (t->bytes <= TALLY_RAW)
		return short_sum(t, out);
	copy = EVP_MD_CTX_new();
	if (copy && EVP_MD_CTX_copy_ex(copy, t->hash))
		n = hash_sum(copy, out);
	EVP_MD_CTX_free(copy);
	return n;
}

size_t tally_end(struct tally *t, uint8_t out[TALLY_MAX])
{
	size_t n = t->bad ? 0 : t->bytes <= TALLY_RAW ? short_sum(t, out) : hash_sum(t->hash, out);

	tally_begin(t);
	return n;
}

void tally_free(struct tally *t)
{
	EVP_MD_CTX_free(t->hash);
	t->hash = NULL;
}
