/* conf/regexp.h - the regular expressions of pg_hba.conf and pg_ident.conf.
 *
 * Owner:   who made it.
 * Threads: any; an expression never changes after it was made.
 *
 * PostgreSQL has an engine of its own (advanced regular expressions), and regexec(3)
 * is none for names that a stranger sends: on some short expressions it never ends
 * once it is asked for a group, it keeps every state it has met, and it takes a lock.
 * So this is a small matcher whose time is bounded by expression times name, that
 * allocates nothing and waits for nothing. It knows
 *
 *   . [...] [^...] [[:class:]] ( ) | ^ $ * + ? {n} {n,} {n,m}
 *   \d \w \s \D \W \S, in brackets \d \w \s; and \ before any other character that is
 *   neither letter nor digit, for that character
 *
 * as PostgreSQL does. Everything else PostgreSQL knows is refused, and does not come to
 * mean something else: (?: (?= (?i) *? +? ?? {n}? \m \y \A \Z \1 \n \x.. [.x.] ***.
 * What remains different:
 * - a name is bytes, not characters: . matches one byte of a letter beyond ASCII; such
 *   letters may stand in an expression, but neither in brackets nor before * + ? {};
 * - classes are those of ASCII;
 * - of several ways in which the first group can match, PostgreSQL takes the longest,
 *   here the first alternative that leads to the longest match of the whole counts:
 *   (a|ab)(c|bcd) on abcd gives a here, and ab there.
 *
 * A match may begin and end anywhere in the name, unless ^ and $ say otherwise; the
 * leftmost one counts, and of these the longest.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_REGEXP_H
#define PGWEIR_CONF_REGEXP_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

/* Bytes of an expression; steps that it has when its repetitions are written out; how
 * deep its groups are nested. */
#define REGEXP_TEXT_MAX 255
#define REGEXP_STEPS_MAX 1000
#define REGEXP_DEPTH_MAX 30

/* Bytes of a name. */
#define REGEXP_NAME_MAX 1024

struct regexp;

/* The first group: bytes [from, to) of the name; from -1 when it has no part in
 * the match. */
struct regexp_span {
	int from, to;
};

/* From the text behind the slash. The sentence has no place in front. */
MUST_CHECK int regexp_make(const char *text, struct regexp **out, struct err *e);
void regexp_free(struct regexp *re);   /* NULL is fine */

/* Is what the first group matched certain? Not when it is repeated: (a|b)* can have
 * matched several times, and PostgreSQL is of two minds which one counts. */
enum regexp_group { REGEXP_NO_GROUP = 0, REGEXP_GROUP, REGEXP_GROUP_REPEATED };
enum regexp_group regexp_group(const struct regexp *re);

/* Does it match? group may be NULL. The name has at most REGEXP_NAME_MAX bytes: that is
 * the caller's to check, who knows what a name that is too long must lead to (here: no
 * match). Uses some 35 kB of stack. */
bool regexp_try(const struct regexp *re, const char *name, struct regexp_span *group);

#endif
