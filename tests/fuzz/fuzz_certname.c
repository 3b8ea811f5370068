/* tests/fuzz/fuzz_certname.c - any bytes as a client's certificate (DER): whom it names.
 *
 * What is said to be a name must be one: terminated, not empty, and without a zero byte
 * in it as the certificate has it. The answer must not depend on how often it is asked.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "proxy/wire/certname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLAIM(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "broken: %s\n", #what);                                    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_name(const char *name)
{
	size_t n = strnlen(name, CERTNAME_MAX);

	CLAIM(n > 0 && n < CERTNAME_MAX);
}

/* Counts, and says yes to the third. */
static bool third(void *arg, const char *name)
{
	check_name(name);
	return ++*(int *)arg == 3;
}

static void check_cn(X509 *cert)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), n;
	char name[CERTNAME_MAX], again[CERTNAME_MAX], small[4];
	enum certname r = certname_cn(cert, name, sizeof(name));
	unsigned char *text = NULL;

	CLAIM((r == CERTNAME_NONE) == (at < 0));
	CLAIM(certname_cn(cert, again, sizeof(again)) == r);
	if (r != CERTNAME_OK)
		return;
	check_name(name);
	CLAIM(strcmp(name, again) == 0);
	CLAIM((certname_cn(cert, small, sizeof(small)) == CERTNAME_OK) == (strlen(name) < sizeof(small)));
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	CLAIM(n > 0 && strlen(name) == (size_t)n && memcmp(name, text, (size_t)n) == 0);
	OPENSSL_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned char *p = data;
	X509 *cert = size < 100000 ? d2i_X509(NULL, &p, (long)size) : NULL;
	char name[CERTNAME_MAX];
	int n = 0;
	bool yes;

	if (!cert)
		return 0;
	check_cn(cert);
	if (certname_dn(cert, name, sizeof(name)) == 0)
		check_name(name);
	yes = certname_each_alt(cert, third, &n);
	CLAIM(n <= 3 && yes == (n == 3));
	X509_free(cert);
	return 0;
}
