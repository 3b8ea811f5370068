/* conf/ident.h - pg_ident.conf: which user of a certificate or of the machine may be
 * which user of the database.
 *
 * Owner:   struct conf (read at start and on SIGHUP).
 * Threads: any; never changes after it was read.
 *
 * As PostgreSQL 16 reads it (see also rulefile.h): MAPNAME SYSTEM-USER DATABASE-USER.
 * A SYSTEM-USER that begins with / is a regular expression, and then \1 in DATABASE-USER
 * is what its first group matched. DATABASE-USER may be all, or an expression itself.
 * Otherwise than in PostgreSQL, refused: +role (unknown here), a fourth column, \1 where
 * the expression has no group or repeats it, expressions that regexp.h does not know.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_IDENT_H
#define PGWEIR_CONF_IDENT_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"
#include "conf/regexp.h"

/* Longer names match no line. A certificate's distinguished name can be long. */
#define IDENT_NAME_MAX REGEXP_NAME_MAX

struct ident_name {
	char *text;                    /* as written, without quotes */
	bool is_all;                   /* database users only */
	struct regexp *re;             /* NULL: the text itself */
};

struct ident_line {
	const char *file;              /* borrowed from the whole */
	int line;
	char *map;
	struct ident_name system_user, db_user;
};

struct ident {
	struct ident_line *lines;
	size_t n, cap;
	char **files;
	size_t file_n;
};

/* Reads and checks the file and all that it includes; may be empty. *out is for
 * ident_free; or -1 with a sentence that starts with "file:line:". Blocks on the disk. */
MUST_CHECK int ident_read(const char *path, struct ident **out, struct err *e);

/* The same from memory, other files refused. */
MUST_CHECK int ident_read_mem(const char *name, const char *text, size_t len, struct ident **out,
			      struct err *e);
void ident_free(struct ident *m);      /* NULL is fine */

/* May system_user be db_user? map_name NULL or empty: when they are equal. m NULL: no
 * file, so no map. Allocates nothing and waits for nothing. A line that asks for a group
 * that had no part in the match ends the search, as in PostgreSQL: no. */
bool ident_allows(const struct ident *m, const char *map_name, const char *system_user,
		  const char *db_user);

#endif
