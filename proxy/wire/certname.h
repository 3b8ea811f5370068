/* proxy/wire/certname.h - whom a certificate names.
 *
 * Pure. Threads: any. Names with a zero byte in them are none: what follows it would be
 * somebody else.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_CERTNAME_H
#define PGWEIR_WIRE_CERTNAME_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

#define CERTNAME_MAX 1024

enum certname { CERTNAME_OK = 0, CERTNAME_NONE, CERTNAME_BAD };

/* The common name (the first, if there are several), as UTF-8. NONE: it has none; BAD: it is
 * empty, does not fit, or has a zero byte in it. */
MUST_CHECK enum certname certname_cn(X509 *cert, char *out, size_t cap);
/* The whole subject as RFC 2253 writes it and PostgreSQL compares it: "CN=x,OU=y". -1: it
 * does not fit. */
MUST_CHECK int certname_dn(X509 *cert, char *out, size_t cap);
/* Calls fn with each DNS name, mail address and URI of the subject's other names, until
 * it says true; that is the result. */
bool certname_each_alt(X509 *cert, bool (*fn)(void *arg, const char *name), void *arg);

#endif
