/* conf/dialect.h - PgBouncer's ini dialect, read through libinih.
 *
 * Owner:   the caller, for one load.
 * Threads: the caller's. Blocks on the disk.
 *
 * libinih reads a dialect of its own: it takes an indented line for a
 * continuation of the value above, splits lines at 199 bytes, cuts values at
 * " ;", takes ':' for '=', and gives no line numbers. So it is fed by a reader
 * of ours (ini_parse_stream) that checks each line itself, hands over only
 * what cannot be misread, and compares what comes back with what went in: a
 * library built with other options fails loudly instead of reading something
 * else than the operator wrote.
 *
 * The dialect: [section]; name = value; blanks at both ends of a line mean
 * nothing; ';' and '#' start a comment only as a line's first character;
 * names are letters, digits and _.*- or 'quoted' ('' for a quote); a value is
 * the rest of the line, whatever its length; %include FILE, at most
 * DIALECT_INCLUDE_MAX deep; control bytes are refused.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_DIALECT_H
#define PGWEIR_CONF_DIALECT_H

#include <stddef.h>

#include "conf/err.h"

#define DIALECT_INCLUDE_MAX 10

/* Where something was written. file is borrowed: copy it to keep it. */
struct dialect_pos {
	const char *file;
	int line;
};

/* Called in the order of the file. Each returns 0, or -1 with *e written, which
 * ends the reading. name and value are borrowed and may hold secrets. */
struct dialect_sink {
	void *arg;
	int (*section)(void *arg, const struct dialect_pos *pos, const char *name, struct err *e);
	int (*setting)(void *arg, const struct dialect_pos *pos, const char *name,
		       const char *value, struct err *e);
};

MUST_CHECK int dialect_read_file(const char *path, const struct dialect_sink *sink, struct err *e);

/* The same from memory; %include is refused. */
MUST_CHECK int dialect_read_mem(const char *name, const char *text, size_t len,
				const struct dialect_sink *sink, struct err *e);

#endif
