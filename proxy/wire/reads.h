/* proxy/wire/reads.h - does a text only read? Fails closed: what is not known to
 * read is taken to write.
 *
 * Pure. Functions of the user's own behind operators, types, views, policies, a.f for
 * f(a), or the name of a built-in one with other arguments cannot be seen in a text:
 * whoever asks must be told so.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_READS_H
#define PGWEIR_WIRE_READS_H

#include <stdbool.h>
#include <stddef.h>

/* Every statement is a SELECT, VALUES, TABLE, SHOW or WITH, no word in it belongs to
 * writing, and every function it calls is on a list of harmless ones.
 * standard_conforming_strings = on is assumed. */
bool lex_reads_only(const char *sql, size_t len);

#endif
