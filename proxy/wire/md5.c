/* proxy/wire/md5.c - scram.h's MD5 part, apart from SCRAM because the two share
 * nothing and this one will go some day.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/scram.h"

#include <string.h>

#include <openssl/evp.h>

#define MD5_LEN 16
#define MD5_HEX_LEN 32

/* Hex of md5(a + b), terminated. */
static int md5_hex(const void *a, size_t a_len, const void *b, size_t b_len, char out[33])
{
	static const char hex[17] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int i, rc = -1;

	if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, a, a_len) == 1 && EVP_DigestUpdate(ctx, b, b_len) == 1 &&
	    EVP_DigestFinal_ex(ctx, sum, &len) == 1 && len == MD5_LEN)
		rc = 0;
	for (i = 0; rc == 0 && i < MD5_LEN; i++) {
		out[2 * i] = hex[sum[i] >> 4];
		out[2 * i + 1] = hex[sum[i] & 15];
	}
	out[MD5_HEX_LEN] = 0;
	explicit_bzero(sum, sizeof(sum));
	EVP_MD_CTX_free(ctx); /* wipes what it held of the password */
	return rc;
}

/* As PostgreSQL decides it: lower case only. Anything else is a password,
 * however much it looks like a hash. */
static bool is_stored(const char *secret)
{
	return strncmp(secret, "md5", 3) == 0 && strlen(secret) == 3 + MD5_HEX_LEN &&
	       strspn(secret + 3, "0123456789abcdef") == MD5_HEX_LEN;
}

int md5_response(const char *user, const char *secret, const uint8_t salt[4], char out[36])
{
	char inner[MD5_HEX_LEN + 1] = "";
	int rc = 0;

	if (is_stored(secret))
		memcpy(inner, secret + 3, MD5_HEX_LEN + 1);
	else
		rc = md5_hex(secret, strlen(secret), user, strlen(user), inner);
	if (rc == 0)
		rc = md5_hex(inner, MD5_HEX_LEN, salt, 4, out + 3);
	explicit_bzero(inner, sizeof(inner));
	if (rc != 0) {
		out[0] = 0;
		return -1;
	}
	memcpy(out, "md5", 3);
	return 0;
}

int md5_stored(const char *user, const char *password, char out[36])
{
	memcpy(out, "md5", 4);
	if (md5_hex(password, strlen(password), user, strlen(user), out + 3) == 0)
		return 0;
	out[0] = 0;
	return -1;
}
