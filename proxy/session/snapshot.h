/* proxy/session/snapshot.h - one generation of the configuration, with the
 * targets its hosts stand for and what is worked out once from its settings.
 *
 * Owner:   counted references; the daemon and every hall and shard hold one.
 * Threads: immutable but for the count and the lazily made SCRAM secrets, which
 *          are atomics.
 *
 * A snapshot holds a reference to each of its targets.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SNAPSHOT_H
#define PGWEIR_SESSION_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "conf/conf.h"
#include "health/names.h"
#include "health/target.h"
#include "io/stream.h"
#include "pool/pick.h"
#include "wire/lexer.h"
#include "wire/scram.h"

#define SNAPSHOT_CODES 16u

/* A host whose name has no address. */
struct snapshot_missing {
	const struct addr *host;       /* the configuration's */
	char *text;                    /* a sentence for people */
};

struct snapshot_db {
	const struct conf_db *conf;
	/* One for each address of conf->hosts, in that order: an address that
	 * several hosts have is there once, a name without one not at all. */
	struct pick_node *nodes;
	size_t node_n;                 /* at most PICK_TRIED */
	struct snapshot_missing *missing;
	size_t missing_n;
};

struct snapshot {
	_Atomic unsigned refs;
	struct conf *conf;
	struct snapshot_db *dbs;       /* parallel to conf->dbs */
	struct snapshot_db fallback;   /* conf NULL when there is none */
	char **deny;                   /* retry_deny_functions, lower case, NULL at the end */
	char **leave;                  /* pin_functions, the same */
	struct lex_lists lists;        /* both, for the lexer */
	char codes[SNAPSHOT_CODES][6];
	unsigned code_n;
	_Atomic(struct scram_secret *) *secrets;  /* parallel to conf->users */
};

/* What a host name stands for now. NULL, or an empty set, when that is not known,
 * and *why (a constant) says why, or is NULL when nothing was heard yet. */
typedef const struct ip_set *snapshot_names_fn(void *arg, const char *host, const char **why);

/* Takes over the caller's reference to conf, also when it fails. Control
 * thread (it uses the registry). names may be NULL: no name is known. NULL: out
 * of memory.
 * A target that comes from a name is called "name:port/address"; localhost, which
 * stands for its first IPv4 address or else its first, "localhost:port". */
struct snapshot *snapshot_make(struct conf *conf, struct targets *ts, snapshot_names_fn *names,
			       void *arg);
struct snapshot *snapshot_hold(struct snapshot *s);
void snapshot_drop(struct snapshot *s);

/* The TCP settings for every connection. */
struct kernel_tcp snapshot_tcp(const struct snapshot *s);

/* NULL when the name is not served. */
const struct snapshot_db *snapshot_db(const struct snapshot *s, const char *name);
bool snapshot_is_retry_code(const struct snapshot *s, const char *sqlstate);

/* The secret to check a user against: parsed or made (about a millisecond, once
 * per user and generation) and kept. NULL: the user has none. */
const struct scram_secret *snapshot_secret(struct snapshot *s, const struct conf_user *u);

#endif
