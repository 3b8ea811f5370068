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

#endif
