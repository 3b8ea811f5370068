/* proxy/http/facts.h - what there is at one moment: pools, nodes, databases.
 *
 * Owner:   the caller's. Threads: the HTTP thread's.
 *
 * Bounded: of more pools than FACTS_POOLS the rest is one of FACTS_OTHERS, more nodes than
 * FACTS_NODES and more databases than FACTS_DBS are counted and not named. Everything
 * read is an atomic; the lock of the pools is held for as long as it takes to copy the
 * numbers and names, which is what a login may have to wait.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_FACTS_H
#define PGWEIR_HTTP_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "health/target.h"
#include "session/session.h"

#define FACTS_POOLS 500u
#define FACTS_NODES 500u
#define FACTS_DBS 500u
#define FACTS_OTHERS "(others)"
#define FACTS_NAME 128u          /* of a database or user, with its zero; longer: others */

struct fact_pool {
	char db[FACTS_NAME], user[FACTS_NAME];
	bool apart;                    /* pgweir's own questions */
	int clients, waiting, busy, idle, dialling, cleaning;
	int servers, servers_max, pins, pins_max; /* _max 0: no limit */
	uint64_t wait_us;              /* of who waits longest */
};

struct fact_node {
	const struct target *t;        /* held by the snapshot; NULL: a name without address */
	const char *name, *state;      /* as SHOW NODES has them */
	enum target_role role;
	bool excluded, live;           /* live: work is given to it now */
	bool checked;                  /* some check has had a result */
	bool lagging;
	int conns, dialling;
	uint64_t check_us, lag_us, fails;
};

struct fact_db {
	const char *name;
	unsigned nodes, live;          /* those that have the role, and those that are live */
};

struct facts {
	uint64_t now_us;               /* monotonic */
	struct fact_pool *pool;        /* sorted by name */
	struct fact_node *node;        /* the same */
	struct fact_db *db;            /* in the order of the configuration */
	size_t pool_n, node_n, db_n;
	size_t node_left, db_left;     /* of more than could be named: so many, */
	size_t node_left_live, db_left_live; /* of these live */
	struct fact_pool all;          /* of all pools; wait_us the longest */
	size_t pools;
	int clients, clients_max;
	unsigned logging_in;
	int64_t held_bytes;
};

/* snap: the configuration in use, held until facts_free. -1: out of memory, nothing to
 * free. */
MUST_CHECK int facts_read(struct facts *f, struct shared *sh, const struct snapshot *snap);
void facts_free(struct facts *f);

#endif
