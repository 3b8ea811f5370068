/* conf/foreign.h - settings of PgBouncer that pgweir accepts and does nothing with.
 *
 * Owner:   nobody; const table.
 * Threads: any.
 *
 * Whoever brings a file along is told of each, once, and what to do instead.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_FOREIGN_H
#define PGWEIR_CONF_FOREIGN_H

#include <stddef.h>

struct foreign {
	const char *name;
	const char *why;               /* ends "name has no effect: " */
};

/* The i-th, NULL behind the last; there are at most FOREIGN_MAX. */
#define FOREIGN_MAX 64u
const struct foreign *foreign_row(size_t i);

/* In any section. The row's number, or -1: it is none of these. */
int foreign_find(const char *name);

#endif
