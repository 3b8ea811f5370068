/* conf/draft.h - a configuration while it is written: settings as they come in,
 * with the place each was written at, until they are checked and frozen.
 *
 * Owner:   the loader, for one load.
 * Threads: the loader's.
 *
 * Order of use: draft_init, then settings (from a file through draft_sink, from
 * a connection string through draft_db), draft_override, users, draft_settle,
 * the checks, draft_hosts, draft_take; draft_free in any case.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_DRAFT_H
#define PGWEIR_CONF_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "conf/dialect.h"
#include "conf/err.h"

enum draft_section { DRAFT_NONE = 0, DRAFT_GLOBAL, DRAFT_DATABASES, DRAFT_USERS, DRAFT_PEERS };

struct draft_db {
	struct conf_db d;
	const char *file;              /* borrowed from the draft */
	bool passfile_is_implied;      /* by libpq's rules, nobody has written it */
	size_t seq;                    /* the last of equal names wins */
};

struct draft_user {
	struct conf_user u;
	bool is_secret_only;           /* of auth_file: has no settings */
	size_t seq;
};

struct draft_peer {
	struct conf_peer p;
	const char *file;              /* borrowed from the draft */
	size_t seq;
};

struct draft {
	const char *path;              /* borrowed; a word for what has no file */
	enum addr_names names;
	struct conf *conf;             /* global settings; lists come at draft_take */
	enum draft_section section;    /* the one that is being read */
	struct dialect_pos global;     /* the first [pgweir] or [pgbouncer] */
	struct dialect_pos *set;       /* where each row was set; .file NULL: it was not */
	struct draft_db *dbs;
	size_t db_n, db_cap;
	struct draft_user *users;
	size_t user_n, user_cap;
	struct draft_peer *peers;
	size_t peer_n, peer_cap;
	size_t warning_cap;            /* of conf->warnings */
	uint64_t foreign_told;         /* settings of foreign.h that were told of, a bit each */
	char **files;                  /* names of files, for the places above */
	size_t file_n, file_cap;
};

/* All settings at their defaults. path names the whole in messages. */
MUST_CHECK int draft_init(struct draft *d, const char *path, enum addr_names names,
			  struct err *e);
void draft_free(struct draft *d);

/* Adds a warning, as conf.h has them; the text begins with its place. Out of memory: the
 * warning is lost. */
void draft_warn(struct draft *d, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What a file is read into. */
struct dialect_sink draft_sink(struct draft *d);

/* Adds an empty database, to be filled by key_set on ->d.k. NULL: out of
 * memory. Valid until the next one is added. */
struct draft_db *draft_db(struct draft *d, const char *name, const struct dialect_pos *pos);

/* A users_fn: one line of auth_file. arg is the draft. */
int draft_secret(void *arg, const char *name, const char *secret, enum secret_kind kind,
		 struct err *e);

/* The command line; its settings count as set there. */
MUST_CHECK int draft_override(struct draft *d, const struct conf_over *over, struct err *e);

/* Sorts, lets the last of equal names win, joins [users] and auth_file, and
 * fixes defaults that depend on other things. */
MUST_CHECK int draft_settle(struct draft *d, struct err *e);

/* The lists of hosts, all databases. Names stay names. */
MUST_CHECK int draft_hosts(struct draft *d, struct err *e);

/* host_conf of one of these, from its settings and the global ones. */
MUST_CHECK int draft_host_conf(const struct conf_db *db, const struct conf_global *g,
			       struct conf_host **out, struct err *e);

/* The finished configuration, one reference, taken out of the draft. NULL: out
 * of memory. */
struct conf *draft_take(struct draft *d);

/* "file:line" of a global setting or a database, else what names the whole.
 * Both return out. */
const char *draft_where(const struct draft *d, const char *key, char *out, size_t cap);
const char *draft_db_where(const struct draft_db *db, char *out, size_t cap);
const char *draft_peer_where(const struct draft_peer *p, char *out, size_t cap);

#endif
