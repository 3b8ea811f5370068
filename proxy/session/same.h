/* proxy/session/same.h - is a password the one of a secret? In a time that does not tell
 * what is in either.
 *
 * Threads: any.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SAME_H
#define PGWEIR_SESSION_SAME_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/scram.h"

bool same(const char *a, const char *b, size_t n);
/* How long a secret is may be told. */
bool same_plain(const char *a, const char *b);
/* stored: md5 and 32 digits. */
bool same_by_md5(const char *user, const char *stored, const char *pw);
/* Takes as long as k has iterations. */
bool same_by_scram(const char *pw, const struct scram_secret *k);

#endif
