/* conf/foreign.h - settings of PgBouncer that pgweir does not have.
 *
 * Owner:   nobody; const table.
 * Threads: any.
 *
 * Whoever brings a file along deserves a better answer than "unknown".
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_FOREIGN_H
#define PGWEIR_CONF_FOREIGN_H

#include <stdbool.h>

/* In any section. */
bool foreign_is_pgbouncer(const char *name);

#endif
