/* proxy/wire/certname.c - see certname.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/certname.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static int take(const unsigned char *p, int n, char *out, size_t cap)
{
	if (n <= 0 || (size_t)n >= cap || memchr(p, 0, (size_t)n))
		return -1;
	memcpy(out, p, (size_t)n);
	out[n] = 0;
	return 0;
}

enum certname certname_cn(X509 *cert, char *out, size_t cap)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), n, rc = -1;
	unsigned char *text = NULL;

	if (at < 0)
		return CERTNAME_NONE;
	n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (n >= 0)
		rc = take(text, n, out, cap);
	OPENSSL_free(text);
	ERR_clear_error();
	return rc ? CERTNAME_BAD : CERTNAME_OK;
}

int certname_dn(X509 *cert, char *out, size_t cap)
{
	BIO *b = BIO_new(BIO_s_mem());
	unsigned char *text = NULL;
	int rc = -1;
	long n;

	if (b && X509_NAME_print_ex(b, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
		n = BIO_get_mem_data(b, &text);
		if (n > 0 && n <= CERTNAME_MAX)
			rc = take(text, (int)n, out, cap);
	}
	BIO_free(b);
	ERR_clear_error();
	return rc;
}

bool certname_each_alt(X509 *cert, bool (*fn)(void *arg, const char *name), void *arg)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	char text[CERTNAME_MAX];
	bool yes = false;
	int i;

	for (i = 0; !yes && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s;

		if (g->type != GEN_DNS && g->type != GEN_EMAIL && g->type != GEN_URI)
			continue;
		s = g->d.ia5;
		if (take(ASN1_STRING_get0_data(s), ASN1_STRING_length(s), text, sizeof(text)) == 0)
			yes = fn(arg, text);
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return yes;
}
