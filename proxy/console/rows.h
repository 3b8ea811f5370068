/* proxy/console/rows.h - builds a result set in memory.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_ROWS_H
#define PGWEIR_CONSOLE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PostgreSQL's type oids. */
enum { ROWS_TEXT = 25, ROWS_INT4 = 23, ROWS_INT8 = 20, ROWS_NUMERIC = 1700 };

struct rows {
	uint8_t *p;
	size_t len, cap, row_at;
	uint16_t columns;
	bool bad;                /* out of memory */
};

/* names ends with NULL; types: one for each, or NULL: all text. */
void rows_begin(struct rows *r, const char *const *names, const int *types);
void rows_row(struct rows *r);                       /* a row begins */
void rows_text(struct rows *r, const char *s);       /* NULL is NULL */
void rows_uint(struct rows *r, uint64_t v);
void rows_end_row(struct rows *r);
/* CommandComplete with this tag and ReadyForQuery. */
void rows_end(struct rows *r, const char *tag);
void rows_free(struct rows *r);

#endif
