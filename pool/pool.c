/* pool/pool.c - see pool.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/pool.h"

#include <stddef.h>
#include <string.h>

void pool_init(struct pool *p, struct hub *hub, unsigned worker, bool round_robin)
{
	unsigned i;

	memset(p, 0, sizeof(*p));
	p->hub = hub;
	p->worker = worker;
	p->side = &hub->side[worker];
	p->round_robin = round_robin;
	for (i = 0; i < SEAT_N; i++)
		list_init(&p->seats[i]);
	list_init(&p->waiting);
}

/* What SHOW and the other workers see. */
static void show(struct pool *p)
{
	atomic_store(&p->side->idle, p->n[SEAT_IDLE]);
	atomic_store_explicit(&p->side->busy, p->n[SEAT_BUSY], memory_order_relaxed);
	atomic_store_explicit(&p->side->dialling, p->n[SEAT_DIALLING], memory_order_relaxed);
	atomic_store_explicit(&p->side->cleaning, p->n[SEAT_CLEANING], memory_order_relaxed);
}

/* The one mover. */
static void seat(struct pool *p, struct pool_server *ps, enum pool_seat to)
{
	if (ps->slow) {
		ps->slow = false;
		p->slow_n--;
	}
	if (ps->seat != SEAT_NONE) {
		list_del(&ps->link);
		p->n[ps->seat]--;
	}
	ps->seat = to;
	ps->pool = to == SEAT_NONE ? NULL : p;
	if (to != SEAT_NONE) {
		/* idle: the one used last comes first, unless all take turns */
		if (to == SEAT_IDLE && !p->round_robin)
			list_push_front(&p->seats[to], &ps->link);
		else
			list_push_back(&p->seats[to], &ps->link);
		p->n[to]++;
	}
	show(p);
}

void pool_slow(struct pool_server *ps)
{
	if (ps->seat != SEAT_DIALLING || ps->slow)
		return;
	ps->slow = true;
	ps->pool->slow_n++;
}

static void marry(struct pool *p, struct pool_server *ps, struct pool_client *pc)
{
	seat(p, ps, SEAT_BUSY);
	ps->client = pc;
	pc->server = ps;
	pc->pool = p;
}

void pool_part(struct pool_server *ps)
{
	if (ps->client) {
		ps->client->server = NULL;
		ps->client = NULL;
	}
	seat(ps->pool, ps, SEAT_CLEANING);
}

void pool_clean(struct pool_server *ps)
{
	seat(ps->pool, ps, SEAT_CLEANING);
}

static struct pool_client *first_waiter(const struct pool *p)
{
	if (list_empty(&p->waiting))
		return NULL;
	return LIST_ITEM(p->waiting.next, struct pool_client, link);
}

static void hunger(struct hub *hub, int n)
{
	atomic_fetch_add(&hub->hungry, n);
	atomic_fetch_add(&hub->in->hungry, n);
	atomic_fetch_add(&hub->of->hungry, n);
}

/* Shows the longest waiter's ticket to the other workers. It is counted before it is
 * shown: who claims it in between must not take away the count of somebody else. */
static void publish(struct pool *p)
{
	struct pool_client *first = first_waiter(p);
	uint64_t now = first ? first->ticket : 0;

	atomic_store_explicit(&p->side->waiting, p->waiting_n, memory_order_relaxed);
	if (now)
		hunger(p->hub, 1);
	if (atomic_exchange(&p->side->oldest, now))
		hunger(p->hub, -1);
}

/* Takes the ticket of worker i as served: exactly one server is sent for it. */
static bool claim(struct hub *hub, unsigned i, uint64_t ticket)
{
	if (!atomic_compare_exchange_strong(&hub->side[i].oldest, &ticket, 0))
		return false;
	hunger(hub, -1);
	return true;
}

struct pool_server *pool_take(struct pool *p, struct pool_client *pc)
{
	struct pool_server *ps;

	if (p->waiting_n || list_empty(&p->seats[SEAT_IDLE]))
		return NULL;
	ps = LIST_ITEM(p->seats[SEAT_IDLE].next, struct pool_server, link);
	marry(p, ps, pc);
	return ps;
}

void pool_wait(struct pool *p, struct pool_client *pc, uint64_t ticket)
{
	pc->pool = p;
	pc->ticket = ticket;
	list_push_back(&p->waiting, &pc->link);
	p->waiting_n++;
	publish(p);
}

void pool_unwait(struct pool_client *pc)
{
	struct pool *p = pc->pool;

	if (!pc->ticket)
		return;
	list_del(&pc->link);
	pc->ticket = 0;
	p->waiting_n--;
	publish(p);
}

/* One of each, or none: another worker that was told of room must not find a bound
 * reached by who gives it back at once, for it would not look again. */
static enum pool_grant take_tokens(struct hub *hub)
{
	enum pool_grant grant = POOL_OK;

	pthread_mutex_lock(hub->tokens);
	if (!limit_take(&hub->limit)) {
		grant = POOL_FULL;
	} else if (!limit_take(&hub->in->limit)) {
		limit_give(&hub->limit);
		grant = POOL_DB_FULL;
	} else if (!limit_take(&hub->of->limit)) {
		limit_give(&hub->in->limit);
		limit_give(&hub->limit);
		grant = POOL_USER_FULL;
	}
	pthread_mutex_unlock(hub->tokens);
	return grant;
}

enum pool_grant pool_seat_new(struct pool *p, struct pool_server *ps)
{
	enum pool_grant grant = take_tokens(p->hub);

	if (grant != POOL_OK)
		return grant;
	list_init(&ps->link);
	ps->client = NULL;
	ps->seat = SEAT_NONE;
	ps->tokens = true;
	seat(p, ps, SEAT_DIALLING);
	return POOL_OK;
}

/* The worker that should get a server of ours: the one whose first waiter came
 * before ours by more than the slack; claimed. */
static bool someone_elsewhere(struct pool *p, unsigned *worker)
{
	struct pool_client *first = first_waiter(p);
	uint64_t ours = first ? first->ticket : UINT64_MAX;

	while (atomic_load(&p->hub->hungry) > 0) {
		uint64_t best = ours > POOL_SLACK_US ? ours - POOL_SLACK_US : 0;
		unsigned i, who = p->hub->worker_n;

		for (i = 0; i < p->hub->worker_n; i++) {
			uint64_t t = i == p->worker ? 0 : atomic_load(&p->hub->side[i].oldest);

			if (t && t < best) {
				best = t;
				who = i;
			}
		}
		if (who == p->hub->worker_n)
			return false;
		if (claim(p->hub, who, best)) {
			*worker = who;
			return true;
		}
	}
	return false;
}

/* ps goes to another worker, with its tokens. The hub is kept meanwhile. */
static void leave(struct pool *p, struct pool_server *ps)
{
	atomic_fetch_add(&p->hub->moving, 1);
	seat(p, ps, SEAT_NONE);
}

enum pool_next pool_put(struct pool *p, struct pool_server *ps, unsigned *worker)
{
	struct pool_client *first;

	if (p->hub->worker_n > 1 && someone_elsewhere(p, worker)) {
		leave(p, ps);
		/* ps may have come for a ticket of ours that was claimed */
		if (p->waiting_n)
			publish(p);
		return POOL_ELSEWHERE;
	}
	first = first_waiter(p);
	if (first) {
		pool_unwait(first);
		marry(p, ps, first);
		return POOL_MARRIED;
	}
	seat(p, ps, SEAT_IDLE);
	/* Who began to wait after our first look has either seen this idle
	 * server and asks for it, or is seen now. */
	if (p->hub->worker_n > 1 && someone_elsewhere(p, worker)) {
		leave(p, ps);
		return POOL_ELSEWHERE;
	}
	return POOL_IDLE;
}

bool pool_drop(struct pool_server *ps)
{
	struct pool *p = ps->pool;
	struct hub *hub = p->hub;

	if (ps->client) {
		ps->client->server = NULL;
		ps->client = NULL;
	}
	seat(p, ps, SEAT_NONE);
	if (ps->tokens) {
		ps->tokens = false;
		limit_give(&hub->limit);
		limit_give(&hub->in->limit);
		limit_give(&hub->of->limit);
	}
	return atomic_load(&hub->in->hungry) > 0 || atomic_load(&hub->of->hungry) > 0;
}

struct pool_server *pool_spare(struct pool *p, unsigned asker)
{
	uint64_t t = atomic_load(&p->hub->side[asker].oldest);
	struct pool_server *ps;

	if (!t || list_empty(&p->seats[SEAT_IDLE]) || !claim(p->hub, asker, t))
		return NULL;
	ps = LIST_ITEM(p->seats[SEAT_IDLE].next, struct pool_server, link);
	leave(p, ps);
	return ps;
}

void pool_adopt(struct pool *p, struct pool_server *ps)
{
	seat(p, ps, SEAT_CLEANING);
	atomic_fetch_sub(&p->hub->moving, 1);
	/* Our first waiter's ticket was claimed for ps. Should ps be closed
	 * instead of given to it, it must be seen again. */
	publish(p);
}

struct pool_server *pool_oldest_idle(const struct pool *p)
{
	const struct link *head = &p->seats[SEAT_IDLE];

	if (list_empty(head))
		return NULL;
	return LIST_ITEM(p->round_robin ? head->next : head->prev, struct pool_server, link);
}
