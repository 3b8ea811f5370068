/* proxy/console/rows.h - result sets: columns with names and types, rows as DataRow
 * messages in the formats that were asked for.
 *
 * Owner: whoever embeds struct rows. Threads: one at a time.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_ROWS_H
#define PGWEIR_CONSOLE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PostgreSQL's type oids. */
enum { ROWS_TEXT = 25, ROWS_INT4 = 23, ROWS_INT8 = 20, ROWS_NUMERIC = 1700, ROWS_BYTEA = 17 };

#define ROWS_COLUMNS_MAX 64u     /* a bit each in `binary` */

/* An array of these ends with a name of NULL. */
struct column {
	const char *name;
	int type;                /* ROWS_* */
};

struct rows {
	uint8_t *p;
	size_t len, cap, row_at;
	const struct column *col;
	unsigned columns;
	unsigned at;             /* the column that comes next */
	uint64_t binary;         /* columns, a bit each, that are wanted so */
	bool bad;                /* out of memory: what is there is not whole */
};

/* No rows yet; col outlives r. */
void rows_init(struct rows *r, const struct column *col, uint64_t binary);
unsigned rows_count(const struct column *col);
/* A RowDescription. */
void rows_describe(struct rows *r, const struct column *col, uint64_t binary);

/* One row: its values in the order of the columns, then the end. */
void rows_row(struct rows *r);
/* NULL is NULL. For columns of text and bytea. */
void rows_text(struct rows *r, const char *s);
/* For columns of int4 (what is too large becomes the largest), int8 and numeric; in one of
 * text it is written in digits. */
void rows_int(struct rows *r, int64_t v);
void rows_uint(struct rows *r, uint64_t v);
void rows_null(struct rows *r);
void rows_end_row(struct rows *r);

/* Whole messages, appended as they are. */
void rows_append(struct rows *r, const void *p, size_t n);
/* The first n bytes are done with. */
void rows_consume(struct rows *r, size_t n);
void rows_free(struct rows *r);

#endif
