/* proxy/top/grid.h - a page of characters: written to cell by cell, told to a terminal as
 * bytes. Pure.
 *
 * Names come from whoever connects, so nothing that a terminal would obey gets out: control
 * characters and what is no UTF-8 are shown as '?'.
 *
 * Owner:   who made it (zeroed), until grid_free(). Threads: one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_GRID_H
#define PGWEIR_TOP_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/* How a cell looks; colours only with grid.colours. */
enum look { LOOK_PLAIN = 0, LOOK_BOLD, LOOK_DIM, LOOK_HEAD, LOOK_GOOD, LOOK_WARN, LOOK_BAD, LOOK_N };

struct cell {
	uint32_t ch;             /* 0: the second half of a wide one */
	uint8_t look;
};

struct grid {
	int w, h;
	bool colours;            /* else bold, dim and reverse only */
	bool utf8;               /* else '?' for what is not ASCII */
	struct cell *cells;
	char *out;               /* grid_bytes() */
	size_t len, cap;
};

/* Blank, of this size. -1: out of memory (the size is 0 x 0 then). */
MUST_CHECK int grid_size(struct grid *g, int w, int h);
void grid_free(struct grid *g);

/* Writes at most max columns from (x, y) on, cut at the edge; returns the columns used. */
int grid_put(struct grid *g, int x, int y, int max, enum look look, const char *text);
/* ... so that it ends at column x + max; cut at its end when it is longer. */
void grid_right(struct grid *g, int x, int y, int max, enum look look, const char *text);
/* One character n times. */
void grid_fill(struct grid *g, int x, int y, int n, enum look look, uint32_t ch);
/* Columns that a text takes. */
int grid_width(const struct grid *g, const char *text);

/* The page for a terminal: from its top left, each line cleared to its end, nothing behind
 * the last one. Or plain lines, without blanks at their ends and without
 * empty ones at the end. The bytes live until the next
 * call; NULL: out of memory. */
const char *grid_bytes(struct grid *g, size_t *len);
const char *grid_lines(struct grid *g, size_t *len);

#endif
