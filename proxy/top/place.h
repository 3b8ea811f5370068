/* proxy/top/place.h - which console `pgweir top` looks at: the options of its command line,
 * a pgweir.ini or a libpq string, and what libpq's environment says.
 *
 * Owner: who made it (zeroed), until place_free(). Threads: one. Blocks on the disk.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_PLACE_H
#define PGWEIR_TOP_PLACE_H

#include "conf/err.h"

enum { PLACE_KEYS = 10 };

struct place {
	/* of the command line, borrowed; NULL: not given */
	const char *host, *port, *user, *dbname;
	/* of the file */
	char *file_host, *file_port, *file_user;
	char *password;              /* asked for; wiped by place_free() */
	const char *keys[PLACE_KEYS], *values[PLACE_KEYS]; /* for PQconnectStartParams() */
	char shown[256];             /* "host:port" or so, no secrets */
};

/* source: the argument, or NULL. Fills keys, values and shown. What is not said anywhere is
 * the database pgweir, port 6432 and, if there is such a socket, /run/pgweir, else
 * localhost. */
MUST_CHECK int place_find(struct place *p, const char *source, struct err *e);
/* The same with this password, which becomes the place's. */
void place_password(struct place *p, char *password);
void place_free(struct place *p);

#endif
