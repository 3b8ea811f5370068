/* proxy/wire/hints.h - what the author of a text says of it, in a comment in front of
 * its first token: pgweir:retry=off, pgweir:idempotent.
 *
 * Pure. A comment counts when its first word begins with pgweir:, several words stand
 * apart by blanks or commas, and the first other word ends them. Those behind the first
 * token say nothing: programs put comments of their own there.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_HINTS_H
#define PGWEIR_WIRE_HINTS_H

#include <stddef.h>

enum hint {
	HINT_RETRY_OFF = 1 << 0,
	HINT_IDEMPOTENT = 1 << 1
};

/* enum hint bits. */
unsigned hints_read(const char *sql, size_t len);

#endif
