/* pool/hub.h - what the shards of one pool, one in each worker, share.
 *
 * A pool is all server connections for one database and one user. Each worker
 * has a shard of it (pool/pool.h); the bound and the order of waiting are
 * common: tokens, and for each worker the arrival of its longest waiter.
 *
 * Owner:   struct hubs, the daemon's registry; counted, one reference a shard.
 * Threads: the atomics any; the registry under its mutex, taken at logins and
 *          reloads only, never for a query. The other mutex is taken at dials.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_HUB_H
#define PGWEIR_POOL_HUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "pool/counts.h"
#include "pool/limit.h"

/* The pools of one database name, max_db_connections, or those that log in to servers as
 * one user, max_user_connections. */
struct hub_group {
	char *name;
	struct limit limit;
	_Atomic int hungry;            /* shards of these pools that wait for a token */
	unsigned refs;
	struct hub_group *next;
};

/* Bounds of server connections, 0: none. */
struct hub_max {
	int pool, db, user;
	int reserve;                   /* beyond pool: what is in use of it stays */
};

/* One worker's side of a hub, on a cache line of its own. Written by that
 * worker, except that another one claims `oldest` (sets it to 0) when it sends
 * a server over. */
struct hub_side {
	_Alignas(64) _Atomic uint64_t oldest;  /* ticket of the longest waiter, 0: none */
	_Atomic int idle, busy, dialling, cleaning;
	_Atomic int clients, waiting;
	_Atomic int cancels;           /* cancel requests on their way to servers */
	_Atomic int parked;            /* of those that are cleaning: only waiting for them */
};

/* What a login tells a client with these wishes: ParameterStatus messages. */
struct hub_welcome {
	uint8_t *key, *p;
	size_t key_len, len;
};
#define HUB_WELCOMES 32u

struct hub {
	char *db, *user;
	bool apart;                    /* of none that a client can name: pgweir's own */
	struct hub_group *in, *of;     /* its database, its user on the servers */
	pthread_mutex_t *tokens;       /* the registry's */
	struct limit limit;
	_Atomic uint64_t reserve_until; /* monotonic us: its reserve is open (shard_reserve) */
	struct limit pins;             /* clients bound to their server */
	_Atomic int hungry;            /* sides with a ticket out */
	_Atomic int moving;            /* servers on their way between workers */
	unsigned worker_n;
	struct hub_side *side;         /* worker_n of them */
	unsigned refs;
	struct hub *next;
	struct hub_welcome welcome[HUB_WELCOMES]; /* [0]: of a client without wishes */
	unsigned welcome_next;         /* the one to go when all are taken */
};

struct hubs {
	pthread_mutex_t lock;
	unsigned worker_n;
	struct hub *head;
	struct hub_group *dbs, *users;
	pthread_mutex_t tokens;        /* held while one of each bound is taken */
	struct counts clients;         /* those that have logged in */
};

MUST_CHECK int hubs_init(struct hubs *h, unsigned worker_n);
void hubs_free(struct hubs *h);

/* Finds or makes; one reference more. New limits are applied. user: what the pool is
 * called; apart: one that a client cannot come to by any name; role: who it is on the
 * servers. NULL: out of memory. */
struct hub *hubs_get(struct hubs *h, const char *db, const char *user, bool apart,
		     const char *role, const struct hub_max *max);
/* The bounds of a hub and its groups from now on. */
void hub_bound(struct hub *hub, const struct hub_max *max);
void hubs_put(struct hubs *h, struct hub *hub);

/* What a client of this pool is told at login, by its wishes (an opaque key; none,
 * NULL and 0, after each server login). When what a client without wishes is told
 * changes, the others are forgotten. Copying gives the length, 0 when there is
 * none yet, -1 when cap is too small. */
MUST_CHECK int hub_welcome_set(struct hubs *h, struct hub *hub, const uint8_t *key, size_t key_len,
			       const uint8_t *p, size_t n);
long hub_welcome_copy(struct hubs *h, struct hub *hub, const uint8_t *key, size_t key_len,
		      uint8_t *out, size_t cap);
/* Server connections of the pools of this database, NULL: of all; those on their way
 * between workers too (*moving, may be NULL: how many of these). Dials count. */
int hubs_used(struct hubs *h, const char *db, int *moving);
/* Calls fn for each hub under the lock: for SHOW and for reloads. */
/* The hub behind prev (NULL: the first), with a reference; takes over that to prev. NULL:
 * it was the last. For walks in pieces: those that are there all the time come once. */
struct hub *hubs_next(struct hubs *h, struct hub *prev);
/* The same for databases. */
struct hub_group *hubs_next_db(struct hubs *h, struct hub_group *prev);
void hubs_put_db(struct hubs *h, struct hub_group *g);
/* Server connections now of this database, or of this user on the servers. */
int hubs_db_used(struct hubs *h, const char *db);
int hubs_user_used(struct hubs *h, const char *role);
void hubs_each(struct hubs *h, void (*fn)(void *arg, struct hub *hub), void *arg);

#endif
