/* conf/secret.h - where the password for a server comes from.
 *
 * Owner:   the struct conf that holds it; wiped when that is freed.
 * Threads: loading: the loader's (it reads files and the environment, so never a
 *          worker's). Looking up is pure, on any thread.
 *
 * One of:
 *   password = TEXT              as it stands
 *   password_env = NAME          an environment variable
 *   password_file = PATH         a whole file less the newline at its end
 *   passfile = PATH              libpq's: host:port:database:user:password a line
 * For files, credential:NAME is the file NAME in $CREDENTIALS_DIRECTORY, where
 * systemd puts what LoadCredential= names.
 *
 * All are read at start and at reload. Two of them on one database are refused,
 * so there is nothing to choose between, except what conf_secret_for (conf.h)
 * says of users. No sentence shows a password, or what could be one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_SECRET_H
#define PGWEIR_CONF_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/err.h"

#define SECRET_MAX 8000u                /* bytes of a password */
#define SECRET_PASSFILE_MAX (1u << 20)  /* bytes of a passfile */

/* The settings as they are written; NULL: not given. */
struct secret_source {
	const char *prefix;            /* of their names: "" or "health_check_" */
	const char *password, *env, *file, *passfile;
	/* Nobody has named the passfile: it is empty when it is not there, may not be
	 * read or is no regular file, as libpq has it. */
	bool is_implied;
};

/* One line of a passfile. */
struct secret_line {
	size_t len;
	char *text;                    /* len bytes and a terminator: as it stands there; then as
					* many in which each field, at the place it has in the
					* first, stands without backslashes and terminated */
};

struct secret {
	char *password;                /* NULL: none, or by the lines */
	struct secret_line *lines;     /* as they stand in the file */
	size_t line_n;
};

/* Reads what the source names; out is overwritten. -1: the sentence begins with
 * the name of the setting, and out is empty. */
MUST_CHECK int secret_load(const struct secret_source *from, struct secret *out, struct err *e);

/* The lines of a passfile, as libpq reads it: # begins a comment, \ takes the next
 * character as it is (a : in a name needs none: ::1 is written as it is), a field of *
 * alone fits everything, a line of fewer than five fields fits nothing, and what
 * follows the password and a : is ignored. The password of the first line that fits
 * holds. path is for the sentence; -1: memory, a NUL byte, a password that is too
 * long. */
MUST_CHECK int secret_parse(const char *path, const char *text, size_t len, struct secret *out,
			    struct err *e);

/* The passfile's password, borrowed; NULL: none fits, or the one that does is empty.
 * host: as it is written in the configuration. localhost is also the host of
 * libpq's default directory of sockets. */
const char *secret_match(const struct secret *s, const char *host, int port, const char *dbname,
			 const char *user);

/* Wipes and frees what it holds. */
void secret_clear(struct secret *s);

#endif
