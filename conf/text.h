/* conf/text.h - strings and whole files that may hold secrets.
 *
 * Owner:   the caller.
 * Threads: the caller's.
 *
 * Configuration text is full of passwords, and at this point nobody knows
 * which part is one. So whatever is copied here is wiped before it is freed,
 * and buffers that grow leave nothing behind.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_TEXT_H
#define PGWEIR_CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

struct text_buf {
	char *data;                    /* always terminated once something was added */
	size_t len;
	size_t cap;
};

/* Appends n bytes; -1 when memory ran out (nothing changed). */
MUST_CHECK int text_add(struct text_buf *b, const void *bytes, size_t n);

/* Empties the buffer and wipes what it held, but keeps the memory. */
void text_clear(struct text_buf *b);

/* Wipes and frees; the buffer can be used again. */
void text_free(struct text_buf *b);

/* Wipes and frees a string and sets the pointer to NULL. NULL inside is fine. */
void text_wipe(char **s);

/* The array with room for one more behind its n elements: itself, or a copy
 * with *cap raised and the old one wiped and freed. NULL when memory ran out
 * (the old one stays). */
MUST_CHECK void *text_grow(void *array, size_t *cap, size_t n, size_t element);

/* Reads a regular file. On failure the sentence names the path:
 * `cannot read "x": No such file or directory`. Blocks on the disk. */
MUST_CHECK int text_slurp(const char *path, struct text_buf *out, struct err *e);

/* What is asked of a file beyond being a regular one. */
struct text_rule {
	size_t max;                    /* bytes */
	bool is_private;               /* group and others have no right to it at all */
	bool is_optional;              /* one that is not there, may not be read or is no
					* regular file is taken as empty */
};

MUST_CHECK int text_slurp_as(const char *path, const struct text_rule *rule,
			     struct text_buf *out, struct err *e);

/* May everybody on the machine read it? false too for what is not there. */
bool text_is_public(const char *path);

#endif
