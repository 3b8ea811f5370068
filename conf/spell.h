/* conf/spell.h - "did you mean": the nearest of a list of known words.
 *
 * Owner:   the caller, on its stack.
 * Threads: the caller's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_SPELL_H
#define PGWEIR_CONF_SPELL_H

#include <stddef.h>

struct spell {
	const char *typed;
	const char *best;              /* NULL: nothing is near enough */
	size_t distance;
};

/* Starts with a word that is not known. Borrowed. */
void spell_start(struct spell *s, const char *typed);

/* Offers one known word. Borrowed until the hint is printed. */
void spell_try(struct spell *s, const char *known);

/* Writes `; did you mean "x"?` or nothing. Returns out. */
const char *spell_hint(const struct spell *s, char *out, size_t cap);

#endif
