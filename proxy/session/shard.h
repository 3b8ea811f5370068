/* proxy/session/shard.h - one worker's part of a pool: made from its entry, changed
 * with the configuration, freed when nobody has used it for a while.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SHARD_H
#define PGWEIR_SESSION_SHARD_H

#include "session/session.h"

/* The shard for a database entry, the name the client asked for and its user.
 * NULL: out of memory. It is kept while it has clients or servers. */
struct shard *shard_get(struct hall *h, const struct snapshot_db *db, const char *db_name,
			const char *user);
/* The one for auth_query of this user: no client's, whatever its name, so that nothing that
 * clients leave behind on servers meets it. */
struct shard *shard_asks(struct hall *h, const struct snapshot_db *db, const char *db_name,
			 const char *user);
/* The secret of its user by auth_query: serves for logins to servers too. */
void shard_found(struct shard *sh, enum secret_kind kind, const char *secret);
/* A shard for this client alone: a replication connection, which logs in with the client's
 * own settings, or crdb_remote_addr. */
struct shard *shard_alone(struct client *c, const struct snapshot_db *db, const char *user);
/* Does it need one? */
bool shard_is_for_one(const struct client *c, const struct snapshot_db *db);
/* Takes a newer configuration. */
void shard_reconf(struct shard *sh, struct snapshot *snap);
/* A server has taken this password of a client: the pool logs in with it from now on.
 * false: that is nothing new, or there is no memory. */
bool shard_learn(struct shard *sh, const char *password);
/* It is the right one no more. */
void shard_unlearn(struct shard *sh);
/* A client has logged in by SCRAM with these. */
void shard_keep_keys(struct shard *sh, const struct scram_keys *k);
/* Frees shards that have been empty for a while (all: now). */
void shards_sweep(struct hall *h, bool all);
enum session_attrs shard_attrs(const struct shard *sh);
/* Is t one of the hosts of the entry? */
bool shard_lists(const struct snapshot_db *db, const struct target *t);

/* Looks whether the pool needs its reserve (reserve_pool_size): somebody has waited for
 * reserve_pool_timeout, in any worker. Servers beyond the pool's size stay as long as
 * they are not idle for too long. */
void shard_reserve(struct shard *sh);

#endif
