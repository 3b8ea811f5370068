/* proxy/top/tables.h - the tables of nodes and of pools on a grid. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_TABLES_H
#define PGWEIR_TOP_TABLES_H

#include "top/grid.h"
#include "top/sample.h"

/* A head and at most `rows` rows from line y on; the columns that matter least are left out
 * where there is no room. Rows that are not shown are counted in the last one. Returns the
 * lines used. */
int tables_nodes(struct grid *g, int y, int rows, const struct top_sample *s);
/* skip: rows left out at the top. */
int tables_pools(struct grid *g, int y, int rows, int skip, const struct top_sample *s);

#endif
