/* conf/rulefile.h - lines, columns and words of pg_hba.conf and pg_ident.conf, as
 * PostgreSQL 16 takes them apart.
 *
 * Owner:   the caller, for one load.
 * Threads: the caller's. Blocks on the disk.
 *
 * Columns are separated by blanks, words of a column by commas. "..." keeps blanks,
 * commas and # together, "" in it is a quote. # begins a comment. A backslash at the
 * end of a line joins the next one to it, comments too. @FILE as a word stands for all
 * the words of that file. A line of two columns, include FILE, include_if_exists FILE
 * or include_dir DIRECTORY (its *.conf, sorted), stands for the lines of those files.
 * Paths are relative to the directory of the file that names them.
 *
 * Refused here, unlike in PostgreSQL: a quote that is not closed, a NUL byte, a column
 * whose files have no word at all (PostgreSQL leaves it out, and so moves the others).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_RULEFILE_H
#define PGWEIR_CONF_RULEFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

/* Bounds, all files of one load together; the depth is PostgreSQL's. */
#define RULEFILE_BYTES_MAX (16u << 20)
#define RULEFILE_FILES_MAX 1000u
#define RULEFILE_LINES_MAX 10000u
#define RULEFILE_WORDS_MAX 200000u
#define RULEFILE_DEPTH_MAX 10

struct rule_word {
	char *text;
	bool is_quoted;                /* it began with a quote: no keyword */
};

struct rule_column {
	struct rule_word *words;       /* at least one */
	size_t n, cap;
};

struct rule_line {
	const char *file;              /* borrowed from the whole */
	int line;                      /* its first, when it goes on over several */
	struct rule_column *columns;   /* at least one */
	size_t n, cap;
};

struct rule_lines {
	struct rule_line *at;
	size_t n, cap;
};

struct rulefile {
	struct rule_lines lines;
	char **files;                  /* the names of those that were read */
	size_t file_n, file_cap;
};

/* Sentences start with "file:line:"; one about the file itself with nothing. */
MUST_CHECK int rulefile_read(const char *path, struct rulefile *out, struct err *e);

/* The same from memory, named `name` in messages; other files are refused. */
MUST_CHECK int rulefile_read_mem(const char *name, const char *text, size_t len,
				 struct rulefile *out, struct err *e);

void rulefile_free(struct rulefile *f);

/* Hands the names of the files over: who keeps places of lines needs them longer. */
char **rulefile_take_files(struct rulefile *f, size_t *n);

/* A column that has exactly one word, NULL with a sentence otherwise (what: "an
 * address"). The sentence has no place in front. */
const struct rule_word *rule_single(const struct rule_line *l, size_t column, const char *what,
				    struct err *e);

#endif
