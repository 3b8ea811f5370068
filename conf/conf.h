/* conf/conf.h - what the operator said, whole, checked and frozen.
 *
 * Owner:   counted references (conf_hold/conf_drop); the first is the
 *          caller's of conf_load_*.
 * Threads: any; a struct conf never changes after it was loaded. The count is
 *          atomic.
 *
 * conf.c holds only the life of a struct conf; the loaders are in load.c and
 * what prints it in show.c and manual.c, so that no two files need each other.
 *
 * Sources: an ini file in PgBouncer's dialect, or a libpq URI / connection
 * string (parsed by PQconninfoParse, so that it means what it means to libpq).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_CONF_H
#define PGWEIR_CONF_CONF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/addr.h"
#include "conf/auth.h"
#include "conf/err.h"
#include "conf/hosts.h"
#include "conf/secret.h"

struct hba;
struct ident;

/* Statement is transaction pooling that ends who begins a transaction. */
enum pool_mode { POOL_SESSION = 0, POOL_TRANSACTION, POOL_STATEMENT };
enum balance { BALANCE_LEASTCONN = 0, BALANCE_ROUND_ROBIN, BALANCE_RANDOM, BALANCE_DISABLE };
enum session_attrs {
	ATTRS_ANY = 0,
	ATTRS_READ_WRITE,
	ATTRS_READ_ONLY,
	ATTRS_PRIMARY,
	ATTRS_STANDBY,
	ATTRS_PREFER_STANDBY
};
enum sslmode {
	SSLMODE_DISABLE = 0,
	SSLMODE_ALLOW,
	SSLMODE_PREFER,
	SSLMODE_REQUIRE,
	SSLMODE_VERIFY_CA,
	SSLMODE_VERIFY_FULL
};
enum sslnegotiation { SSLNEG_POSTGRES = 0, SSLNEG_DIRECT };
enum channel_binding { BINDING_PREFER = 0, BINDING_REQUIRE, BINDING_DISABLE };
/* Where a server may ask for a password as it is, without TLS. Unix sockets: always. */
enum cleartext { CLEARTEXT_NEVER = 0, CLEARTEXT_LOOPBACK, CLEARTEXT_ANYWHERE };
enum pin_mode { PIN_OFF = 0, PIN_ON, PIN_ERROR };
enum marked_down { DOWN_NONE = 0, DOWN_SHUTDOWN };
enum retry_unknown { UNKNOWN_OFF = 0, UNKNOWN_READONLY, UNKNOWN_HINTED };
enum retry_mode { RETRY_OFF = 0, RETRY_OBSERVE, RETRY_IMPLICIT, RETRY_REPLAY };

/* The value of a DB or USER setting that was not given there. STR: NULL. */
#define CONF_UNSET INT64_MIN

/* Every setting that is not a string is an int64_t (BOOL 0/1, enum its value,
 * TIME microseconds, SIZE bytes, WORKERS the number, 0 for auto). */
#define CONF_FIELD_STR char *
#define CONF_FIELD_BOOL int64_t
#define CONF_FIELD_INT int64_t
#define CONF_FIELD_TIME int64_t
#define CONF_FIELD_SIZE int64_t
#define CONF_FIELD_WORKERS int64_t
#define CONF_FIELD_MODE int64_t
#define CONF_FIELD_POOL_MODE int64_t
#define CONF_FIELD_BALANCE int64_t
#define CONF_FIELD_SESSION_ATTRS int64_t
#define CONF_FIELD_AUTH_TYPE int64_t
#define CONF_FIELD_SSLMODE int64_t
#define CONF_FIELD_SSLNEGOTIATION int64_t
#define CONF_FIELD_CHANNEL_BINDING int64_t
#define CONF_FIELD_CLEARTEXT int64_t
#define CONF_FIELD_RETRY int64_t
#define CONF_FIELD_PIN int64_t
#define CONF_FIELD_RETRY_UNKNOWN int64_t
#define CONF_FIELD_ON_MARKED_DOWN int64_t

#define CONF_ROW_GLOBAL(type, name) CONF_FIELD_##type name;
#define CONF_ROW_DB(type, name)
#define CONF_ROW_USER(type, name)
#define CONF_ROW_PEER(type, name)
struct conf_global {
#define KEY(scope, type, name, def, min, max, when, help) CONF_ROW_##scope(type, name)
#include "conf/keys.def"
};
#undef CONF_ROW_GLOBAL
#undef CONF_ROW_DB
#undef CONF_ROW_USER

#define CONF_ROW_GLOBAL(type, name)
#define CONF_ROW_DB(type, name) CONF_FIELD_##type name;
#define CONF_ROW_USER(type, name)
struct conf_db_keys {
#define KEY(scope, type, name, def, min, max, when, help) CONF_ROW_##scope(type, name)
#include "conf/keys.def"
};
#undef CONF_ROW_DB
#undef CONF_ROW_USER

#define CONF_ROW_DB(type, name)
#define CONF_ROW_USER(type, name) CONF_FIELD_##type name;
struct conf_user_keys {
#define KEY(scope, type, name, def, min, max, when, help) CONF_ROW_##scope(type, name)
#include "conf/keys.def"
};
#undef CONF_ROW_USER
#undef CONF_ROW_PEER

#define CONF_ROW_USER(type, name)
#define CONF_ROW_PEER(type, name) CONF_FIELD_##type name;
struct conf_peer_keys {
#define KEY(scope, type, name, def, min, max, when, help) CONF_ROW_##scope(type, name)
#include "conf/keys.def"
};
#undef CONF_ROW_GLOBAL
#undef CONF_ROW_DB
#undef CONF_ROW_USER
#undef CONF_ROW_PEER

/* One [databases] entry. name "*" is the fallback for every other name. */
struct conf_db {
	char *name;
	int line;                      /* where it was defined; 0 for a URI */
	struct conf_db_keys k;
	struct addr *hosts;            /* host x port, in the order written; names not
					* looked up (sock_len 0) */
	struct conf_host *host_conf;   /* one for each host */
	size_t host_n;                 /* at most CONF_HOSTS_MAX */
	struct secret secret;          /* what password*= and passfile= gave */
};

enum secret_kind { SECRET_NONE = 0, SECRET_PLAIN, SECRET_MD5, SECRET_SCRAM };

/* One user: of [users], of auth_file, or of both. */
struct conf_user {
	char *name;
	struct conf_user_keys k;
	bool in_file;                  /* of auth_file, if only with an empty secret */
	enum secret_kind secret_kind;
	char *secret;                  /* as written in auth_file; wiped on free */
};

/* One [peers] entry: another process whose clients' cancels may come here. */
struct conf_peer {
	int id;                        /* 1 .. CONF_PEER_ID_MAX */
	int line;                      /* where it was defined */
	struct conf_peer_keys k;
};
#define CONF_PEER_ID_MAX 16383

struct conf {
	_Atomic unsigned refs;
	/* Made by conf_set: all but g, dbs and host_conf in them is this one's, to
	 * which it holds a reference. NULL: all is its own. */
	struct conf *base;
	char *path;                    /* NULL for a URI */
	bool from_uri;
	bool from_pgbouncer;           /* its section is named [pgbouncer] */
	bool has_limits;               /* a database or user has a query_timeout or
					* transaction_timeout of its own */
	/* URI form only: loopback clients need no password, and every client is
	 * the URI's user. */
	bool loopback_trust;
	struct conf_global g;
	struct secret health_secret;   /* what health_check_password*= gave */
	struct conf_db *dbs;           /* sorted by name; "*" is not in here */
	size_t db_n;
	struct conf_db *fallback;      /* "*" or NULL */
	struct conf_user *users;       /* sorted by name */
	size_t user_n;
	struct conf_peer *peers;       /* sorted by id */
	size_t peer_n;
	/* What is accepted and probably not what was meant, "file:line: sentence" each. */
	char **warnings;
	size_t warning_n;
	size_t told_n;                 /* the first of them, for the log; the others are
					* advice, for --check */
	/* auth_type = hba, else NULL (conf/hba.h, conf/ident.h) */
	struct hba *hba;
	struct ident *ident;           /* NULL too without auth_ident_file */
};

/* What the command line overrides, applied after the file. */
struct conf_over {
	const char *listen_addr;       /* -l, NULL = not given */
	int listen_port;               /* -p, -1 = not given */
	const char *user;              /* -u */
	int verbose;                   /* number of -v */
	bool numeric_hosts;            /* look up no names in listen_addr (tests, fuzzing) */
};

/* Loads and checks an ini file: *out with one reference, or -1 and *e says
 * "file:line: what is wrong and what is allowed". Reads auth_file and, for auth_type = hba,
 * auth_hba_file and auth_ident_file too. Blocks
 * (files, names in listen_addr): control thread or start only.
 * The dialect is PgBouncer's, not inih's: see dialect.c. */
MUST_CHECK int conf_load_file(const char *path, const struct conf_over *over,
			      struct conf **out, struct err *e);

/* The same from a libpq URI or keyword/value string. A whole configuration:
 * one fallback database "*" with all hosts, a forced user, plus the entry of
 * the URI's own dbname as default. auth_type trust for loopback only
 * (loopback_trust); listening beyond loopback is refused. */
MUST_CHECK int conf_load_uri(const char *uri, const struct conf_over *over,
			     struct conf **out, struct err *e);

/* True when the argument is a URI or keyword/value string and not a path. */
bool conf_is_uri(const char *arg);

/* The same loader on bytes in memory, named `path` in messages; %include is
 * refused. For tests and fuzzing. */
MUST_CHECK int conf_load_mem(const char *path, const char *text, size_t len,
			     const struct conf_over *over, struct conf **out, struct err *e);

/* A new configuration that is `old` with one setting of [pgweir] changed (SET on the
 * console): *out with one reference, or -1 and *e says what is wrong, in the words of the
 * loaders. The same names, types, limits and checks between settings; no file is read
 * and none written, so the next reload brings back what the file says. Refused are
 * settings that only a restart applies, and those that name files with users, rules or
 * passwords: they take effect by RELOAD. Of client_tls_* and server_tls_* the caller
 * makes the contexts anew (session/tls_set.h). Looks up names in listen_addr, as the
 * loaders do: control thread. */
MUST_CHECK int conf_set(struct conf *old, const char *name, const char *value, struct conf **out,
			struct err *e);

struct conf *conf_hold(struct conf *c);
void conf_drop(struct conf *c);        /* NULL is fine */

/* Wipes and frees what an entry holds (for the loaders, before there is a
 * whole conf to drop). */
void conf_db_clear(struct conf_db *d);
void conf_user_clear(struct conf_user *u);
void conf_peer_clear(struct conf_peer *p);

/* The entry for a name the client asked for: its own, else the fallback, else
 * NULL. Borrowed from c. */
const struct conf_db *conf_find_db(const struct conf *c, const char *name);
const struct conf_user *conf_find_user(const struct conf *c, const char *name);
/* NULL: no such peer. */
const struct conf_peer *conf_find_peer(const struct conf *c, int id);

/* What the entry says is the password for a login, borrowed from it; NULL: nothing. That
 * of password, password_env or password_file is for the user of user= and for nobody
 * else; a passfile has one for whoever its lines name (secret_match). The caller's own
 * knowledge of a user (auth_file) comes behind it. host: as it is written. Pure. */
const char *conf_secret_for(const struct conf_db *d, const char *host, int port,
			    const char *dbname, const char *user);

/* True when name stands in a comma separated list (blanks around names are
 * ignored); list may be NULL. */
bool conf_listed(const char *list, const char *name);

/* The value that holds for this client: user over database over global. u and
 * d may be NULL. */
#define CONF_PICK(u_val, d_val, g_val)                                         \
	((u_val) != CONF_UNSET ? (u_val) : (d_val) != CONF_UNSET ? (d_val) : (g_val))

/* Walks the rows of SHOW CONFIG (global scope), sorted by key; secrets are
 * shown as "********". value and def are the file's words. */
typedef void conf_row_fn(void *arg, const char *key, const char *value, const char *def,
			 bool reloadable);
void conf_each(const struct conf *c, conf_row_fn *fn, void *arg);

/* Writes pgweir.ini(5) as roff, from the table. */
void conf_manual(FILE *out);

#endif
