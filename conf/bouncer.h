/* conf/bouncer.h - defaults that differ in a section named [pgbouncer].
 *
 * Owner:   nobody; const table.
 * Threads: any.
 *
 * Who brings a file along without a setting means PgBouncer's default by it. Where
 * this matters to clients, or to what is open to whom, that holds.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_BOUNCER_H
#define PGWEIR_CONF_BOUNCER_H

#include <stddef.h>

struct bouncer {
	const char *name, *def;        /* a global setting and its default there */
};

/* The i-th, NULL behind the last. */
const struct bouncer *bouncer_row(size_t i);

/* NULL: the same as in a section named [pgweir]. */
const char *bouncer_default(const char *name);

#endif
