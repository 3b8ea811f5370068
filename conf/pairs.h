/* conf/pairs.h - "key=value key='va''lue'": the right side of [databases] and
 * [users].
 *
 * Owner:   the caller.
 * Threads: the caller's.
 *
 * Pairs are separated by blanks; a value is a word, or '...' with '' for a
 * quote inside. Blanks around = are allowed, empty values are not, both as in
 * PgBouncer.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_PAIRS_H
#define PGWEIR_CONF_PAIRS_H

#include "conf/err.h"

/* Called for each pair; both are borrowed. 0, or -1 with *e to stop. */
typedef int pairs_fn(void *arg, const char *key, const char *value, struct err *e);

/* Sentences never show values: one of them is the password. */
MUST_CHECK int pairs_each(const char *text, pairs_fn *fn, void *arg, struct err *e);

#endif
