/* pool/pool.h - one shard of a pool, in one worker: seats, the waiting queue,
 * who is next, whether to dial. No sockets, no clock, no log.
 *
 * Owner:   a worker's route table. Threads: that worker's.
 *
 * A server sits on exactly one seat, which is the list it is on, and seat() is
 * the one function that moves it. Client and server point at each other
 * exactly while the server is busy for that client: marry() and part() are the
 * only places that write these pointers.
 *
 * First come, first served: each waiter draws a ticket, the time of its
 * arrival. Within a shard the queue decides; between workers, a waiter
 * elsewhere who came more than POOL_SLACK_US before our own first one gets the
 * server that comes free here.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_POOL_H
#define PGWEIR_POOL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/list.h"
#include "pool/hub.h"

/* Handing a server to another thread costs two system calls and a cold cache:
 * not for less than this. */
#define POOL_SLACK_US 1000u

#define POOL_SEATS(X)                                                          \
	X(SEAT_NONE, "none")                                                   \
	X(SEAT_DIALLING, "dialling")                                           \
	X(SEAT_IDLE, "idle")                                                   \
	X(SEAT_BUSY, "busy")                                                   \
	X(SEAT_CLEANING, "cleaning")  /* not to be used yet: reset, rollback, cancel */

enum pool_seat {
#define X(id, name) id,
	POOL_SEATS(X)
#undef X
	SEAT_N
};

struct pool_client;

/* Embedded in a server connection. */
struct pool_server {
	struct link link;
	struct pool *pool;
	struct pool_client *client;      /* while busy */
	enum pool_seat seat;
	bool tokens;                     /* holds one of the pool, the database and the user */
	bool slow;                       /* dialling, and not counted on */
};

/* Embedded in a client. */
struct pool_client {
	struct link link;                /* in the waiting queue */
	struct pool *pool;
	struct pool_server *server;      /* while linked */
	uint64_t ticket;                 /* 0: not waiting */
};

struct pool {
	struct hub *hub;
	struct hub_side *side;           /* hub->side[worker] */
	unsigned worker;
	bool round_robin;
	struct link seats[SEAT_N];       /* idle: most recently used first */
	struct link waiting;
	int n[SEAT_N];
	int waiting_n;
	int slow_n;                      /* of those that dial: not counted on */
};

void pool_init(struct pool *p, struct hub *hub, unsigned worker, bool round_robin);

/* A server for pc at once, married, or NULL: pool_wait() then. Whoever waits
 * already is not overtaken. */
struct pool_server *pool_take(struct pool *p, struct pool_client *pc);
/* Joins the queue with a ticket (monotonic us, never 0). */
void pool_wait(struct pool *p, struct pool_client *pc, uint64_t ticket);
/* Leaves the queue; harmless when not in it. */
void pool_unwait(struct pool_client *pc);

/* Are there more waiters than servers on their way to them? */
static inline int pool_dialling(const struct pool *p)
{
	return p->n[SEAT_DIALLING] - p->slow_n;
}
static inline bool pool_wants_dial(const struct pool *p)
{
	return p->waiting_n > pool_dialling(p) + p->n[SEAT_CLEANING];
}
/* ps, dialling, takes so long that it is not counted on any more; it keeps its
 * place. */
void pool_slow(struct pool_server *ps);

/* A seat for a server to be dialled. POOL_FULL / POOL_DB_FULL / POOL_USER_FULL: no
 * token; the caller asks the other workers (pool_asks). */
enum pool_grant { POOL_OK = 0, POOL_FULL, POOL_DB_FULL, POOL_USER_FULL };
enum pool_grant pool_seat_new(struct pool *p, struct pool_server *ps);

/* Where a server that has come free goes. */
enum pool_next { POOL_IDLE = 0, POOL_MARRIED, POOL_ELSEWHERE };

/* The server is clean and free (after login, after a transaction, after a
 * hand-over). POOL_MARRIED: ps->client is the waiter who was next.
 * POOL_ELSEWHERE: *worker waits longer; ps has left this pool (tokens and all)
 * and must be posted there. */
enum pool_next pool_put(struct pool *p, struct pool_server *ps, unsigned *worker);
/* Ends the link between ps and its client; ps is cleaning then. */
void pool_part(struct pool_server *ps);
/* Not free yet, not linked: reset or cancel is under way. */
void pool_clean(struct pool_server *ps);

/* ps is closed: gives its tokens back. Returns true when somebody in any
 * worker waits for a token: tell them all. */
bool pool_drop(struct pool_server *ps);

/* Worker `asker` has a waiter and no token: an idle server for it, taken out
 * of this pool with its tokens, or NULL. */
struct pool_server *pool_spare(struct pool *p, unsigned asker);
/* A server from another worker takes a seat here (cleaning; pool_put follows). */
void pool_adopt(struct pool *p, struct pool_server *ps);
/* Should worker i be asked for a spare server? */
static inline bool pool_asks(const struct pool *p, unsigned i)
{
	return i != p->worker && atomic_load(&p->hub->side[i].idle) > 0;
}

struct pool_server *pool_oldest_idle(const struct pool *p);

#endif
