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
#include "session/tls_set.h"
#include "wire/lexer.h"
#include "wire/scram.h"

#define SNAPSHOT_CODES 16u
#define SNAPSHOT_STRANGERS 2048u   /* words of 32 bits */

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
	const struct tls_db *tls;      /* NULL: in clear */
};

/* One of [peers]. */
struct snapshot_peer {
	struct addr *addr;             /* sock_len 0: a name that has no address; NULL: no host */
	size_t n;
};

struct snapshot {
	_Atomic unsigned refs;
	struct conf *conf;
	struct tls_set *tls;           /* NULL: none */
	struct snapshot_db *dbs;       /* parallel to conf->dbs */
	struct snapshot_db fallback;   /* conf NULL when there is none */
	struct snapshot_peer *peers;   /* parallel to conf->peers */
	char **deny;                   /* retry_deny_functions, lower case, NULL at the end */
	char **leave;                  /* pin_functions, the same */
	struct lex_lists lists;        /* both, for the lexer */
	char codes[SNAPSHOT_CODES][6];
	unsigned code_n;
	_Atomic(struct scram_secret *) *secrets;  /* parallel to conf->users */
	/* What the users have, so that nobody's name can look like one of theirs. */
	size_t kind_n[SECRET_SCRAM + 1];
	uint32_t mock_iterations;      /* the most common of the secrets of SCRAM */
	/* a bit for the names of nobody that have been asked for, so that the second time
	 * is as quick as that of a user */
	_Atomic uint32_t strangers[SNAPSHOT_STRANGERS];
};

/* What a host name stands for now. NULL, or an empty set, when that is not known,
 * and *why (a constant) says why, or is NULL when nothing was heard yet. */
typedef const struct ip_set *snapshot_names_fn(void *arg, const char *host, const char **why);

/* Takes over the caller's references to conf and tls, also when it fails. Control
 * thread (it uses the registry). tls may be NULL: nothing is encrypted. names may be
 * NULL: no name is known. NULL: out of memory.
 * A target that comes from a name is called "name:port/address"; localhost, which
 * stands for its first IPv4 address or else its first, "localhost:port". */
struct snapshot *snapshot_make(struct conf *conf, struct tls_set *tls, struct targets *ts,
			       snapshot_names_fn *names, void *arg);
struct snapshot *snapshot_hold(struct snapshot *s);
void snapshot_drop(struct snapshot *s);

/* The TCP settings for every connection. */
struct kernel_tcp snapshot_tcp(const struct snapshot *s);

/* NULL when the name is not served. */
const struct snapshot_db *snapshot_db(const struct snapshot *s, const char *name);
/* Where the peer of that number listens. NULL: there is none. */
const struct addr *snapshot_peer(const struct snapshot *s, int id);
/* conf_secret_for the host that gave the entry this target. */
const char *snapshot_secret_for(const struct snapshot_db *db, const struct target *t,
				const char *dbname, const char *user);
bool snapshot_is_retry_code(const struct snapshot *s, const char *sqlstate);

/* What somebody of this name, who is no user, or has no secret, has in the eyes of the
 * world: a kind of secret as frequent as it is among the users, the same for as long as the
 * process runs and that changes little; and *out, which no password fits. key:
 * shared.mock_key. */
enum secret_kind snapshot_mock(const struct snapshot *s, const char *name, const uint8_t key[32],
			       struct scram_secret *out);

/* The secret to check a user against: parsed or made (about a millisecond, once per user
 * and generation) and kept. NULL: the user has none that serves SCRAM. u NULL, or a user
 * without a secret: NULL after the work that kind (snapshot_mock's) would have made. */
const struct scram_secret *snapshot_secret(struct snapshot *s, const struct conf_user *u,
					   const char *name, enum secret_kind kind,
					   const uint8_t key[32]);
/* Will it take that millisecond? */
bool snapshot_secret_is_heavy(const struct snapshot *s, const struct conf_user *u,
			      const char *name, enum secret_kind kind);

#endif
