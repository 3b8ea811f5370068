/* proxy/wire/saslprep.h - passwords in the form that SCRAM hashes (RFC 4013),
 * exactly as PostgreSQL prepares them.
 *
 * Pure. Threads: any. What is handed out is wiped by saslprep_free(). GNU libidn
 * makes copies of its own on the way, which it frees unwiped; ASCII never gets
 * there.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_SASLPREP_H
#define PGWEIR_WIRE_SASLPREP_H

#include "conf/err.h"

/* Bytes of a password that is not ASCII; the work grows with their square when
 * they are combining marks. ASCII may have any length. */
#define SASLPREP_MAX 8192

/* *out: the prepared password, or NULL: take it as it is, because it is ASCII,
 * not UTF-8, or has characters that may not be in a password. -1: too long, or
 * no memory; then *out is NULL too. */
MUST_CHECK int saslprep(const char *password, char **out);
/* NULL is allowed. */
void saslprep_free(char *prepared);

#endif
