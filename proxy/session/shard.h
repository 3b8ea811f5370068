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
/* A shard for this client's replication connection alone. */
struct shard *shard_replication(struct client *c, const struct snapshot_db *db, const char *user);
/* Takes a newer configuration. */
void shard_reconf(struct shard *sh, struct snapshot *snap);
/* Frees shards that have been empty for a while (all: now). */
void shards_sweep(struct hall *h, bool all);
enum session_attrs shard_attrs(const struct shard *sh);
/* Is t one of the hosts of the entry? */
bool shard_lists(const struct snapshot_db *db, const struct target *t);

#endif
