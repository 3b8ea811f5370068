/* proxy/session/same.c - see same.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/same.h"

#include <openssl/crypto.h>
#include <string.h>

#include "wire/wire.h"

bool same(const char *a, const char *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

bool same_plain(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == strlen(b) && same(a, b, n);
}

bool same_by_md5(const char *user, const char *stored, const char *pw)
{
	char mine[36];
	bool yes = md5_stored(user, pw, mine) == 0 && same(mine, stored, sizeof(mine) - 1);

	explicit_bzero(mine, sizeof(mine));
	return yes;
}

bool same_by_scram(const char *pw, const struct scram_secret *k)
{
	struct scram_secret mine;
	bool yes = scram_secret_make(pw, k->salt, k->salt_len, k->iterations, &mine) == 0 &&
		   CRYPTO_memcmp(mine.stored_key, k->stored_key, SCRAM_KEY_LEN) == 0;

	scram_secret_wipe(&mine);
	return yes;
}
