/* conf/users.h - auth_file: users and their secrets, in PgBouncer's format.
 *
 * Owner:   the caller, for one load.
 * Threads: the caller's.
 *
 * One user a line: "name" "secret", a quote inside is "". Empty lines and lines
 * that begin with ; or # are skipped. The secret is a password, md5 and 32 hex
 * digits, SCRAM-SHA-256$..., or empty: no secret, no login with a password.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_USERS_H
#define PGWEIR_CONF_USERS_H

#include <stddef.h>

#include "conf/conf.h"
#include "conf/err.h"

/* Called for each line; both strings are borrowed. 0, or -1 with *e to stop. */
typedef int users_fn(void *arg, const char *name, const char *secret, enum secret_kind kind,
		     struct err *e);

/* Reads the bytes of the file `path`. Sentences start with "path:line:" and
 * never show a secret. */
MUST_CHECK int users_read(const char *path, const char *text, size_t len, users_fn *fn,
			  void *arg, struct err *e);

/* Which kind of secret a text is. -1: it begins like one of SCRAM and is none. */
MUST_CHECK int users_kind(const char *secret, enum secret_kind *kind);

#endif
