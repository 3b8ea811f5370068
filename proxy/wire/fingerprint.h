/* proxy/wire/fingerprint.h - a statement as one number that does not tell its values.
 *
 * Pure. Texts that differ only in constants, parameters, the length of a list of them,
 * blanks, comments and the case of unquoted words have the same number.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_FINGERPRINT_H
#define PGWEIR_WIRE_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

/* Never 0. Of a long text the first 4096 tokens count. */
uint64_t lex_fingerprint(const char *sql, size_t len);
/* The text that all of that number share, but for its blanks: a ? for constants and lists of
 * them, one blank between tokens, unquoted words in lower case. Cut at cap. Returns out. */
const char *lex_normalized(const char *sql, size_t len, char *out, size_t cap);

#endif
