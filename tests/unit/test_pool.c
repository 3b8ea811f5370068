/* tests/unit/test_pool.c - pools without sockets: who gets which server, in one
 * shard and between workers; a random walk over three workers with invariants
 * after each step; tokens and letters under real threads.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>

#include "proxy/io/mbox.h"
#include "pool/hub.h"
#include "pool/limit.h"
#include "pool/pool.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t rng_state = 88172645463325252ULL;

static unsigned rnd(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)((rng_state >> 11) % n);
}

/* ---- one or a few shards by hand ---- */

struct stage {
	struct hubs hubs;
	struct hub *hub;
	struct pool p[4];
	struct pool_server s[8];
	struct pool_client c[8];
	unsigned worker;       /* what pool_put() said */
};

static void open_stage(struct stage *g, unsigned workers, int size, int db_max, bool rr)
{
	unsigned i;

	memset(g, 0, sizeof(*g));
	assert_int_equal(hubs_init(&g->hubs, workers), 0);
	g->hub = hubs_get(&g->hubs, "db", "user", false, "user",
			  &(struct hub_max){ size, db_max, 0, 0 });
	assert_non_null(g->hub);
	for (i = 0; i < workers; i++)
		pool_init(&g->p[i], g->hub, i, rr);
	g->worker = 99;
}

static void close_stage(struct stage *g)
{
	unsigned i;

	for (i = 0; i < COUNT(g->c); i++)
		pool_unwait(&g->c[i]);
	for (i = 0; i < COUNT(g->s); i++)
		if (g->s[i].pool)
			(void)pool_drop(&g->s[i]);
	assert_int_equal(atomic_load(&g->hub->limit.used), 0);
	assert_int_equal(atomic_load(&g->hub->in->limit.used), 0);
	assert_int_equal(atomic_load(&g->hub->of->limit.used), 0);
	assert_int_equal(atomic_load(&g->hub->hungry), 0);
	assert_int_equal(atomic_load(&g->hub->moving), 0);
	hubs_put(&g->hubs, g->hub);
	assert_null(g->hubs.head);
	assert_null(g->hubs.dbs);
	assert_null(g->hubs.users);
	hubs_free(&g->hubs);
}

static enum pool_next put(struct stage *g, struct pool_server *s)
{
	g->worker = 99;
	return pool_put(s->pool, s, &g->worker);
}

/* A server of shard w, logged in and idle. */
static void idle_server(struct stage *g, unsigned w, unsigned i)
{
	assert_int_equal(pool_seat_new(&g->p[w], &g->s[i]), POOL_OK);
	assert_int_equal(put(g, &g->s[i]), POOL_IDLE);
}

static void test_fifo(void **state)
{
	struct stage g;
	unsigned i;

	(void)state;
	open_stage(&g, 1, 2, 0, false);
	assert_null(pool_take(&g.p[0], &g.c[0]));
	assert_false(pool_wants_dial(&g.p[0]));
	for (i = 0; i < 4; i++) {
		pool_wait(&g.p[0], &g.c[i], 100 + i);
		assert_true(pool_wants_dial(&g.p[0]));
	}
	assert_int_equal(atomic_load(&g.p[0].side->oldest), 100);
	assert_int_equal(atomic_load(&g.p[0].side->waiting), 4);
	pool_unwait(&g.c[1]); /* the second gives up */
	pool_unwait(&g.c[1]);
	assert_int_equal(g.p[0].waiting_n, 3);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_OK);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	assert_ptr_equal(g.s[0].client, &g.c[0]);
	assert_ptr_equal(g.c[0].server, &g.s[0]);
	assert_int_equal(g.c[0].ticket, 0);
	assert_int_equal(atomic_load(&g.p[0].side->oldest), 102);
	pool_part(&g.s[0]);
	assert_null(g.c[0].server);
	assert_null(g.s[0].client);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	assert_ptr_equal(g.s[0].client, &g.c[2]);
	/* a newcomer does not overtake c3, though a server is on its way */
	assert_null(pool_take(&g.p[0], &g.c[0]));
	pool_part(&g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	assert_ptr_equal(g.s[0].client, &g.c[3]);
	assert_int_equal(atomic_load(&g.p[0].side->oldest), 0);
	assert_int_equal(atomic_load(&g.hub->hungry), 0);
	close_stage(&g);
}

static void test_reuse(void **state)
{
	static const unsigned lifo[] = {2, 1, 0}, rr[] = {0, 1, 2};
	struct stage g;
	unsigned k, i;

	(void)state;
	for (k = 0; k < 2; k++) {
		const unsigned *want = k ? rr : lifo;

		open_stage(&g, 1, 3, 0, k == 1);
		for (i = 0; i < 3; i++)
			idle_server(&g, 0, i);
		assert_ptr_equal(pool_oldest_idle(&g.p[0]), &g.s[0]);
		for (i = 0; i < 3; i++)
			assert_ptr_equal(pool_take(&g.p[0], &g.c[i]), &g.s[want[i]]);
		assert_null(pool_take(&g.p[0], &g.c[3]));
		assert_null(pool_oldest_idle(&g.p[0]));
		assert_int_equal(atomic_load(&g.p[0].side->busy), 3);
		/* given back in the order 1, 0: which one is next? */
		pool_part(&g.s[1]);
		assert_int_equal(put(&g, &g.s[1]), POOL_IDLE);
		pool_part(&g.s[0]);
		assert_int_equal(put(&g, &g.s[0]), POOL_IDLE);
		assert_ptr_equal(pool_oldest_idle(&g.p[0]), &g.s[1]);
		assert_ptr_equal(pool_take(&g.p[0], &g.c[4]), &g.s[k ? 1 : 0]);
		close_stage(&g);
	}
}

/* One that takes long to be dialled is not waited for, and keeps its place. */
static void test_slow(void **state)
{
	struct stage g;
	struct pool *p = &g.p[0];

	(void)state;
	open_stage(&g, 1, 3, 0, false);
	pool_wait(p, &g.c[0], 1);
	assert_int_equal(pool_seat_new(p, &g.s[0]), POOL_OK);
	assert_int_equal(pool_dialling(p), 1);
	assert_false(pool_wants_dial(p));
	pool_slow(&g.s[0]);
	pool_slow(&g.s[0]); /* once */
	assert_int_equal(pool_dialling(p), 0);
	assert_int_equal(p->n[SEAT_DIALLING], 1);
	assert_int_equal(atomic_load(&p->side->dialling), 1);
	assert_int_equal(atomic_load(&g.hub->limit.used), 1);
	assert_true(pool_wants_dial(p));
	assert_int_equal(pool_seat_new(p, &g.s[1]), POOL_OK);
	assert_false(pool_wants_dial(p));
	/* it comes after all: served, and counted like any other from then on */
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	assert_int_equal(p->slow_n, 0);
	assert_false(g.s[0].slow);
	assert_int_equal(pool_dialling(p), 1);
	/* only those that dial can be slow */
	pool_slow(&g.s[0]);
	pool_part(&g.s[0]);
	pool_slow(&g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_IDLE);
	pool_slow(&g.s[0]);
	assert_int_equal(p->slow_n, 0);
	/* closed, cleaned */
	pool_slow(&g.s[1]);
	assert_int_equal(p->slow_n, 1);
	(void)pool_drop(&g.s[1]);
	assert_int_equal(p->slow_n, 0);
	assert_int_equal(pool_dialling(p), 0);
	assert_int_equal(pool_seat_new(p, &g.s[1]), POOL_OK);
	assert_false(g.s[1].slow);
	pool_slow(&g.s[1]);
	pool_clean(&g.s[1]);
	assert_int_equal(p->slow_n, 0);
	close_stage(&g);
}

static void test_tokens(void **state)
{
	struct stage g;
	struct hub *other;
	struct pool q;

	(void)state;
	open_stage(&g, 1, 2, 3, false);
	other = hubs_get(&g.hubs, "db", "other", false, "other", &(struct hub_max){ 2, 3, 0, 0 });
	assert_non_null(other);
	assert_ptr_equal(other->in, g.hub->in);
	pool_init(&q, other, 0, false);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_OK);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[1]), POOL_OK);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[2]), POOL_FULL);
	assert_int_equal(atomic_load(&g.hub->in->limit.used), 2);
	assert_int_equal(pool_seat_new(&q, &g.s[2]), POOL_OK);
	assert_int_equal(pool_seat_new(&q, &g.s[3]), POOL_DB_FULL);
	assert_int_equal(atomic_load(&other->limit.used), 1); /* it gave the first one back */
	/* closed: both tokens come back; somebody is told only if he waits */
	assert_false(pool_drop(&g.s[0]));
	pool_wait(&q, &g.c[0], 5);
	assert_true(pool_drop(&g.s[1]));
	assert_int_equal(atomic_load(&g.hub->limit.used), 0);
	assert_int_equal(atomic_load(&g.hub->in->limit.used), 1);
	pool_unwait(&g.c[0]);
	(void)pool_drop(&g.s[2]);
	hubs_put(&g.hubs, other);
	/* the same user on the servers, in another database and by another name */
	atomic_store(&g.hub->in->limit.max, 0);
	other = hubs_get(&g.hubs, "db2", "other", false, "user", &(struct hub_max){ 2, 2, 1, 0 });
	assert_non_null(other);
	assert_ptr_equal(other->of, g.hub->of);
	assert_ptr_not_equal(other->in, g.hub->in);
	pool_init(&q, other, 0, false);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_OK);
	assert_int_equal(pool_seat_new(&q, &g.s[1]), POOL_USER_FULL);
	assert_int_equal(atomic_load(&other->limit.used) + atomic_load(&other->in->limit.used), 0);
	pool_wait(&q, &g.c[0], 5);
	assert_true(pool_drop(&g.s[0]));
	assert_int_equal(pool_seat_new(&q, &g.s[1]), POOL_OK);
	pool_unwait(&g.c[0]);
	(void)pool_drop(&g.s[1]);
	hubs_put(&g.hubs, other);
	/* no limit at all */
	atomic_store(&g.hub->of->limit.max, 0);
	atomic_store(&g.hub->limit.max, 0);
	atomic_store(&g.hub->in->limit.max, 0);
	for (unsigned i = 0; i < COUNT(g.s); i++)
		assert_int_equal(pool_seat_new(&g.p[0], &g.s[i]), POOL_OK);
	assert_false(limit_over(&g.hub->limit));
	atomic_store(&g.hub->limit.max, 7); /* lowered under what is used */
	assert_true(limit_over(&g.hub->limit));
	(void)pool_drop(&g.s[0]);
	assert_false(limit_over(&g.hub->limit));
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_FULL);
	close_stage(&g);
}

static void test_drop_and_clean(void **state)
{
	struct stage g;

	(void)state;
	open_stage(&g, 1, 4, 0, false);
	idle_server(&g, 0, 0);
	assert_ptr_equal(pool_take(&g.p[0], &g.c[0]), &g.s[0]);
	(void)pool_drop(&g.s[0]); /* dies under its client */
	assert_null(g.c[0].server);
	assert_null(g.s[0].pool);
	assert_int_equal(g.p[0].n[SEAT_BUSY], 0);
	assert_int_equal(atomic_load(&g.p[0].side->busy), 0);
	/* cleaning: nobody gets it, but he who waits needs no dial for it */
	idle_server(&g, 0, 1);
	pool_clean(&g.s[1]);
	assert_int_equal(atomic_load(&g.p[0].side->cleaning), 1);
	assert_int_equal(atomic_load(&g.p[0].side->idle), 0);
	assert_null(pool_take(&g.p[0], &g.c[1]));
	pool_wait(&g.p[0], &g.c[1], 10);
	assert_false(pool_wants_dial(&g.p[0]));
	pool_wait(&g.p[0], &g.c[2], 11);
	assert_true(pool_wants_dial(&g.p[0]));
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[2]), POOL_OK);
	assert_false(pool_wants_dial(&g.p[0]));
	(void)pool_drop(&g.s[2]); /* the dial failed */
	assert_true(pool_wants_dial(&g.p[0]));
	assert_int_equal(put(&g, &g.s[1]), POOL_MARRIED);
	assert_ptr_equal(g.s[1].client, &g.c[1]);
	close_stage(&g);
}

/* ---- between workers ---- */

static void test_elsewhere(void **state)
{
	struct stage g;
	unsigned n;

	(void)state;
	for (n = 2; n <= 4; n++) {
		open_stage(&g, n, 1, 0, false);
		idle_server(&g, 0, 0);
		assert_ptr_equal(pool_take(&g.p[0], &g.c[0]), &g.s[0]);
		pool_wait(&g.p[n - 1], &g.c[1], 5000);
		assert_int_equal(atomic_load(&g.hub->hungry), 1);
		assert_int_equal(pool_seat_new(&g.p[n - 1], &g.s[1]), POOL_FULL);
		pool_part(&g.s[0]);
		assert_int_equal(put(&g, &g.s[0]), POOL_ELSEWHERE);
		assert_int_equal(g.worker, n - 1);
		/* claimed: nobody sends another one for the same ticket */
		assert_int_equal(atomic_load(&g.hub->side[n - 1].oldest), 0);
		assert_int_equal(atomic_load(&g.hub->hungry), 0);
		assert_int_equal(atomic_load(&g.hub->moving), 1);
		assert_int_equal(atomic_load(&g.hub->limit.used), 1); /* the token goes along */
		assert_null(g.s[0].pool);
		pool_adopt(&g.p[n - 1], &g.s[0]);
		assert_int_equal(atomic_load(&g.hub->moving), 0);
		assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
		assert_ptr_equal(g.s[0].client, &g.c[1]);
		close_stage(&g);
	}
}

/* The waiter has left before the server arrives: it stays there, idle, or goes
 * on to the next. */
static void test_claimed_in_vain(void **state)
{
	struct stage g;

	(void)state;
	open_stage(&g, 3, 1, 0, false);
	idle_server(&g, 0, 0);
	assert_ptr_equal(pool_take(&g.p[0], &g.c[0]), &g.s[0]);
	pool_wait(&g.p[1], &g.c[1], 5000);
	pool_part(&g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_ELSEWHERE);
	pool_unwait(&g.c[1]);
	assert_int_equal(atomic_load(&g.hub->hungry), 0);
	pool_adopt(&g.p[1], &g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_IDLE);
	pool_wait(&g.p[2], &g.c[2], 9000);
	assert_true(pool_asks(&g.p[2], 1));
	assert_false(pool_asks(&g.p[2], 0));
	assert_false(pool_asks(&g.p[1], 1)); /* never oneself */
	assert_null(pool_spare(&g.p[0], 2));
	assert_ptr_equal(pool_spare(&g.p[1], 2), &g.s[0]);
	assert_null(pool_spare(&g.p[1], 2)); /* once */
	pool_adopt(&g.p[2], &g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	assert_ptr_equal(g.s[0].client, &g.c[2]);
	close_stage(&g);
}

/* Two are idle, one is asked for: one goes. */
static void test_spare_once(void **state)
{
	struct stage g;

	(void)state;
	open_stage(&g, 2, 2, 0, false);
	idle_server(&g, 0, 0);
	idle_server(&g, 0, 1);
	pool_wait(&g.p[1], &g.c[1], 5000);
	assert_ptr_equal(pool_spare(&g.p[0], 1), &g.s[1]);
	assert_int_equal(atomic_load(&g.hub->hungry), 0);
	assert_null(pool_spare(&g.p[0], 1));
	assert_int_equal(g.p[0].n[SEAT_IDLE], 1);
	pool_adopt(&g.p[1], &g.s[1]);
	assert_int_equal(put(&g, &g.s[1]), POOL_MARRIED);
	close_stage(&g);
}

/* Nobody waits there any more: nothing is spared. */
static void test_spare_too_late(void **state)
{
	struct stage g;

	(void)state;
	open_stage(&g, 2, 2, 0, false);
	idle_server(&g, 0, 0);
	pool_wait(&g.p[1], &g.c[1], 5000);
	pool_unwait(&g.c[1]);
	assert_null(pool_spare(&g.p[0], 1));
	assert_int_equal(g.p[0].n[SEAT_IDLE], 1);
	close_stage(&g);
}

/* Who waited longer elsewhere goes first, but not for less than the slack. */
static void test_slack(void **state)
{
	static const struct {
		uint64_t here, there;
		bool elsewhere;
	} cases[] = {
		{10000, 9999, false},	 {10000, 10000 - POOL_SLACK_US, false},
		{10000, 10000 - POOL_SLACK_US - 1, true}, {10000, 1, true},
		{10000, 20000, false},	 {500, 1, false}, /* nothing is that old */
		{0, 1, true},		 {0, UINT64_MAX / 2, true}, /* nobody here */
	};
	struct stage g;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		open_stage(&g, 2, 1, 0, false);
		assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_OK);
		if (cases[i].here)
			pool_wait(&g.p[0], &g.c[0], cases[i].here);
		pool_wait(&g.p[1], &g.c[1], cases[i].there);
		assert_int_equal(put(&g, &g.s[0]),
				 cases[i].elsewhere ? POOL_ELSEWHERE : POOL_MARRIED);
		if (cases[i].elsewhere) {
			assert_int_equal(g.worker, 1);
			pool_adopt(&g.p[1], &g.s[0]);
		}
		close_stage(&g);
	}
}

/* Of several elsewhere: the oldest. */
static void test_oldest_first(void **state)
{
	static const uint64_t ticket[] = {0, 9000, 7000, 8000};
	static const unsigned order[] = {2, 3, 1};
	struct stage g;
	unsigned i;

	(void)state;
	open_stage(&g, 4, 3, 0, false);
	for (i = 1; i < 4; i++)
		pool_wait(&g.p[i], &g.c[i], ticket[i]);
	for (i = 0; i < 3; i++) {
		assert_int_equal(pool_seat_new(&g.p[0], &g.s[i]), POOL_OK);
		assert_int_equal(put(&g, &g.s[i]), POOL_ELSEWHERE);
		assert_int_equal(g.worker, order[i]);
		pool_adopt(&g.p[g.worker], &g.s[i]);
		assert_int_equal(put(&g, &g.s[i]), POOL_MARRIED);
	}
	close_stage(&g);
}

/* A server that was sent here goes on to one who waits longer still; the
 * ticket that it had come for is shown again. */
static void test_passed_on(void **state)
{
	struct stage g;

	(void)state;
	open_stage(&g, 3, 1, 0, false);
	assert_int_equal(pool_seat_new(&g.p[0], &g.s[0]), POOL_OK);
	pool_wait(&g.p[1], &g.c[1], 9000);
	assert_int_equal(put(&g, &g.s[0]), POOL_ELSEWHERE);
	pool_wait(&g.p[2], &g.c[2], 1000); /* older, but it came to light late */
	pool_adopt(&g.p[1], &g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_ELSEWHERE);
	assert_int_equal(g.worker, 2);
	assert_int_equal(atomic_load(&g.hub->side[1].oldest), 9000);
	assert_int_equal(atomic_load(&g.hub->hungry), 1);
	pool_adopt(&g.p[2], &g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	pool_part(&g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_ELSEWHERE);
	assert_int_equal(g.worker, 1);
	pool_adopt(&g.p[1], &g.s[0]);
	assert_int_equal(put(&g, &g.s[0]), POOL_MARRIED);
	close_stage(&g);
}

static void test_welcome(void **state)
{
	struct stage g;
	uint8_t out[16], key[2] = { 0, 7 };
	unsigned i;

	(void)state;
	open_stage(&g, 1, 1, 0, false);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, NULL, 0, out, sizeof(out)), 0);
	assert_int_equal(hub_welcome_set(&g.hubs, g.hub, NULL, 0, (const uint8_t *)"hello", 5), 0);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, NULL, 0, out, 4), -1);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, NULL, 0, out, 5), 5);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(hub_welcome_set(&g.hubs, g.hub, NULL, 0, (const uint8_t *)"hi", 2), 0);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, NULL, 0, out, sizeof(out)), 2);
	/* others by their wishes, until what is usual changes; the oldest go */
	for (i = 0; i < 2 * HUB_WELCOMES; i++) {
		key[0] = (uint8_t)i;
		assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 2, out, sizeof(out)), 0);
		assert_int_equal(hub_welcome_set(&g.hubs, g.hub, key, 2, key, 1), 0);
		assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 2, out, sizeof(out)), 1);
		assert_int_equal(out[0], i);
		assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 1, out, sizeof(out)), 0);
	}
	key[0] = 0;
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 2, out, sizeof(out)), 0);
	key[0] = 2 * HUB_WELCOMES - 1;
	assert_int_equal(hub_welcome_set(&g.hubs, g.hub, NULL, 0, (const uint8_t *)"hi", 2), 0);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 2, out, sizeof(out)), 1);
	assert_int_equal(hub_welcome_set(&g.hubs, g.hub, NULL, 0, (const uint8_t *)"ho", 2), 0);
	assert_int_equal(hub_welcome_copy(&g.hubs, g.hub, key, 2, out, sizeof(out)), 0);
	close_stage(&g);
}

/* ---- the walk ---- */

#define WORKERS_MAX 64u
#define HUBS_MAX 24u
#define SERVERS_MAX 128u
#define CLIENTS_MAX 200u
#define WORKERS (w.size.workers)
#define HUBS (w.size.hubs)
#define SERVERS (w.size.servers)
#define CLIENTS (w.size.clients)
#define LETTERS 4096u

enum what { SPARE, TOKENS, EVICT, SERVER };

struct note {
	enum what what;
	unsigned from, hub, server;
};

struct wserver {
	struct pool_server ps;
	unsigned hub, worker;
	bool exists, bad;
	uint64_t idle_since;   /* a count, not a time */
};

struct wclient {
	struct pool_client pc;
	unsigned hub, worker;
	uint64_t came;         /* a count: who came first */
};

struct size {
	unsigned workers, hubs, servers, clients;
};

struct world {
	struct size size;
	struct hubs hubs;
	struct hub *hub[HUBS_MAX];
	struct pool pool[WORKERS_MAX][HUBS_MAX];
	bool asked[WORKERS_MAX][HUBS_MAX];
	struct wserver s[SERVERS_MAX];
	struct wclient c[CLIENTS_MAX];
	struct note box[WORKERS_MAX][LETTERS];
	unsigned box_n[WORKERS_MAX];
	uint64_t now, count;
	bool rr;
	bool lowered;          /* a bound was lowered: more than it may be out */
	unsigned long married, elsewhere, spared, evicted;
};

static struct world w;

static void post(unsigned to, enum what what, unsigned from, unsigned hub, unsigned server)
{
	assert_true(w.box_n[to] < LETTERS);
	w.box[to][w.box_n[to]++] = (struct note){what, from, hub, server};
}

static struct wserver *wserver_of(struct pool_server *ps)
{
	return (struct wserver *)(void *)ps;
}

static void look(unsigned worker);
static void dial(unsigned worker, unsigned hub);

static void close_server(struct wserver *s)
{
	unsigned i;

	s->exists = false;
	if (pool_drop(&s->ps))
		for (i = 0; i < WORKERS; i++)
			post(i, TOKENS, s->worker, 0, 0);
}

static void hand_over(struct wserver *s, unsigned to)
{
	s->worker = to;
	post(to, SERVER, 0, s->hub, (unsigned)(s - w.s));
}

/* What pool_put() must do, worked out plainly. */
static enum pool_next expected(const struct wserver *s, unsigned *to, struct wclient **who)
{
	uint64_t ours = UINT64_MAX, best, came = UINT64_MAX;
	enum pool_next next = POOL_IDLE;
	unsigned i;

	for (i = 0; i < CLIENTS; i++) {
		struct wclient *c = &w.c[i];

		if (c->pc.ticket && c->worker == s->worker && c->hub == s->hub && c->came < came) {
			came = c->came;
			ours = c->pc.ticket;
			*who = c;
			next = POOL_MARRIED;
		}
	}
	best = ours > POOL_SLACK_US ? ours - POOL_SLACK_US : 0;
	for (i = 0; i < WORKERS; i++) {
		uint64_t t = atomic_load(&w.hub[s->hub]->side[i].oldest);

		if (i != s->worker && t && t < best) {
			best = t;
			*to = i;
			next = POOL_ELSEWHERE;
		}
	}
	return next;
}

/* Also one that was handed over for somebody's ticket and is closed on arrival. */
static bool outlived(const struct wserver *s)
{
	return s->bad || limit_over(&w.hub[s->hub]->limit) || limit_over(&w.hub[s->hub]->in->limit) ||
	       limit_over(&w.hub[s->hub]->of->limit);
}

/* The server has come free: as session/ does it. */
static void free_server(struct wserver *s)
{
	struct wclient *who = NULL;
	unsigned to = 99, want_to = 99, worker = s->worker;
	enum pool_next want, got;

	if (outlived(s)) {
		close_server(s);
		dial(worker, s->hub);
		return;
	}
	want = expected(s, &want_to, &who);
	got = pool_put(&w.pool[worker][s->hub], &s->ps, &to);
	assert_int_equal(got, want);
	switch (got) {
	case POOL_MARRIED:
		w.married++;
		assert_ptr_equal(s->ps.client, &who->pc);
		break;
	case POOL_ELSEWHERE:
		w.elsewhere++;
		assert_int_equal(to, want_to);
		hand_over(s, to);
		if (w.pool[worker][s->hub].waiting_n) {
			w.asked[worker][s->hub] = false;
			dial(worker, s->hub);
		}
		break;
	case POOL_IDLE:
	default:
		s->idle_since = ++w.count;
	}
}

/* An idle one of another pool makes room for hub. */
static bool evict_one(unsigned worker, unsigned hub)
{
	unsigned h;

	for (h = 0; h < HUBS; h++) {
		struct pool_server *ps = h == hub ? NULL : pool_oldest_idle(&w.pool[worker][h]);

		if (!ps)
			continue;
		w.evicted++;
		close_server(wserver_of(ps));
		return true;
	}
	return false;
}

static void ask_others(unsigned worker, unsigned hub, bool evict)
{
	unsigned i;

	if (evict && evict_one(worker, hub))
		return;
	if (w.asked[worker][hub])
		return;
	w.asked[worker][hub] = true;
	for (i = 0; i < WORKERS; i++) {
		if (pool_asks(&w.pool[worker][hub], i))
			post(i, SPARE, worker, hub, 0);
		if (evict && i != worker)
			post(i, EVICT, worker, hub, 0);
	}
}

static struct wserver *unused(void)
{
	unsigned i;

	for (i = 0; i < SERVERS; i++)
		if (!w.s[i].exists)
			return &w.s[i];
	fail_msg("more servers than bounds allow");
	return NULL;
}

static bool dial_one(unsigned worker, unsigned hub)
{
	struct wserver *s = unused();
	enum pool_grant g = pool_seat_new(&w.pool[worker][hub], &s->ps);

	if (g != POOL_OK) {
		ask_others(worker, hub, g == POOL_DB_FULL || g == POOL_USER_FULL);
		return false;
	}
	s->exists = true;
	s->bad = false;
	s->hub = hub;
	s->worker = worker;
	return true;
}

static void dial(unsigned worker, unsigned hub)
{
	while (pool_wants_dial(&w.pool[worker][hub]))
		if (!dial_one(worker, hub))
			return;
}

static void look(unsigned worker)
{
	unsigned h;

	for (h = 0; h < HUBS; h++)
		if (w.pool[worker][h].waiting_n) {
			w.asked[worker][h] = false;
			dial(worker, h);
		}
}

static void deliver(unsigned worker, unsigned i)
{
	struct note n = w.box[worker][i];
	struct pool_server *ps;

	w.box[worker][i] = w.box[worker][--w.box_n[worker]];
	switch (n.what) {
	case SPARE:
		ps = pool_spare(&w.pool[worker][n.hub], n.from);
		if (ps) {
			w.spared++;
			hand_over(wserver_of(ps), n.from);
		}
		break;
	case TOKENS:
		look(worker);
		break;
	case EVICT:
		(void)evict_one(worker, n.hub);
		break;
	case SERVER:
		pool_adopt(&w.pool[worker][n.hub], &w.s[n.server].ps);
		free_server(&w.s[n.server]);
		break;
	}
}

/* A client wants a server. */
static void arrive(struct wclient *c)
{
	struct pool *p;
	struct pool_server *ps;
	unsigned i;
	bool none;

	c->worker = rnd(WORKERS);
	c->hub = rnd(HUBS);
	p = &w.pool[c->worker][c->hub];
	none = p->n[SEAT_IDLE] == 0;
	ps = pool_take(p, &c->pc);
	assert_int_equal(ps == NULL, none);
	if (!ps) {
		c->came = ++w.count;
		pool_wait(p, &c->pc, w.now);
		w.asked[c->worker][c->hub] = false;
		dial(c->worker, c->hub);
		return;
	}
	for (i = 0; i < SERVERS; i++) { /* the one used last, or the one used first */
		struct wserver *s = &w.s[i];

		if (s->exists && s->ps.seat == SEAT_IDLE && s->ps.pool == p)
			assert_true(w.rr ? wserver_of(ps)->idle_since < s->idle_since :
					   wserver_of(ps)->idle_since > s->idle_since);
	}
}

static void leave(struct wclient *c)
{
	struct pool_server *ps = c->pc.server;

	if (ps) {
		pool_part(ps);
		if (rnd(8)) /* else it is cleaned first */
			free_server(wserver_of(ps));
	} else {
		pool_unwait(&c->pc);
	}
}

static void die(struct wserver *s)
{
	unsigned worker = s->worker, hub = s->hub;

	close_server(s);
	dial(worker, hub);
}

/* A dial or a cleaning ends. */
static void progress(struct wserver *s)
{
	free_server(s);
}

static void new_bounds(void)
{
	unsigned i;

	for (i = 0; i < HUBS; i++)
		atomic_store(&w.hub[i]->limit.max, (int)(1 + rnd(5)));
	if (rnd(2))
		atomic_store(&w.hub[0]->in->limit.max, (int)rnd(8));
	if (rnd(2))
		atomic_store(&w.hub[0]->of->limit.max, (int)rnd(8));
	w.lowered = true;
	for (i = 0; i < WORKERS; i++)
		look(i);
}

static unsigned on_the_way(unsigned worker, unsigned hub)
{
	unsigned i, n = 0;

	for (i = 0; i < w.box_n[worker]; i++)
		n += w.box[worker][i].what == SERVER && w.box[worker][i].hub == hub;
	return n;
}

static void check_shard(unsigned k, unsigned h)
{
	const struct pool *p = &w.pool[k][h];
	uint64_t oldest = atomic_load(&p->side->oldest), first = UINT64_MAX, ticket = 0;
	int n[SEAT_N] = {0}, waiting = 0, slow = 0;
	unsigned i;

	for (i = 0; i < SERVERS; i++)
		if (w.s[i].exists && w.s[i].ps.pool == p) {
			n[w.s[i].ps.seat]++;
			slow += w.s[i].ps.slow;
			assert_true(!w.s[i].ps.slow || w.s[i].ps.seat == SEAT_DIALLING);
		}
	for (i = 0; i < CLIENTS; i++) {
		const struct wclient *c = &w.c[i];

		if (c->pc.server) /* they point at each other */
			assert_ptr_equal(c->pc.server->client, &c->pc);
		if (!c->pc.ticket || c->pc.pool != p)
			continue;
		waiting++;
		if (c->came < first) {
			first = c->came;
			ticket = c->pc.ticket;
		}
	}
	for (i = 0; i < SEAT_N; i++)
		assert_int_equal(p->n[i], n[i]);
	assert_int_equal(p->slow_n, slow);
	assert_int_equal(p->waiting_n, waiting);
	assert_int_equal(atomic_load(&p->side->waiting), waiting);
	assert_int_equal(atomic_load(&p->side->idle), n[SEAT_IDLE]);
	assert_int_equal(atomic_load(&p->side->busy), n[SEAT_BUSY]);
	/* nobody waits beside an idle server */
	assert_false(waiting && n[SEAT_IDLE]);
	/* who waits is seen, or somebody is on the way */
	assert_true(oldest == 0 || oldest == ticket);
	if (waiting && !oldest)
		assert_true(on_the_way(k, h) + (unsigned)n[SEAT_DIALLING] +
				    (unsigned)n[SEAT_CLEANING] > 0);
}

static void check_world(void)
{
	int used[HUBS_MAX] = {0}, hungry[HUBS_MAX] = {0}, moving[HUBS_MAX] = {0}, all = 0, want = 0;
	unsigned i, k, h;

	for (i = 0; i < SERVERS; i++) {
		used[w.s[i].hub] += w.s[i].exists;
		if (w.s[i].exists && w.s[i].ps.seat == SEAT_NONE)
			moving[w.s[i].hub]++;
	}
	for (h = 0; h < HUBS; h++) {
		for (k = 0; k < WORKERS; k++) {
			check_shard(k, h);
			hungry[h] += atomic_load(&w.hub[h]->side[k].oldest) != 0;
			moving[h] -= (int)on_the_way(k, h);
		}
		assert_int_equal(atomic_load(&w.hub[h]->limit.used), used[h]);
		assert_int_equal(atomic_load(&w.hub[h]->hungry), hungry[h]);
		assert_int_equal(moving[h], 0);
		if (!w.lowered)
			assert_true(used[h] <= atomic_load(&w.hub[h]->limit.max));
		all += used[h];
		want += hungry[h];
	}
	assert_int_equal(atomic_load(&w.hub[0]->in->limit.used), all);
	assert_int_equal(atomic_load(&w.hub[0]->in->hungry), want);
	if (!w.lowered && atomic_load(&w.hub[0]->in->limit.max))
		assert_true(all <= atomic_load(&w.hub[0]->in->limit.max));
	assert_int_equal(atomic_load(&w.hub[0]->of->limit.used), all);
	assert_int_equal(atomic_load(&w.hub[0]->of->hungry), want);
	if (!w.lowered && atomic_load(&w.hub[0]->of->limit.max))
		assert_true(all <= atomic_load(&w.hub[0]->of->limit.max));
}

static void step(void)
{
	unsigned i = rnd(100), k = rnd(WORKERS);
	struct wclient *c = &w.c[rnd(CLIENTS)];
	struct wserver *s = &w.s[rnd(SERVERS)];

	w.now += rnd(3) ? rnd(400) : rnd(3000);
	if (i < 30) {
		if (!c->pc.ticket && !c->pc.server)
			arrive(c);
	} else if (i < 60) {
		if (c->pc.server || (c->pc.ticket && rnd(4) == 0))
			leave(c);
	} else if (i < 80) {
		if (w.box_n[k])
			deliver(k, rnd(w.box_n[k]));
	} else if (!s->exists || s->ps.seat == SEAT_NONE) {
		return;
	} else if (i < 96) {
		if (s->ps.seat == SEAT_DIALLING && rnd(8) == 0) {
			pool_slow(&s->ps);
			dial(s->worker, s->hub);
		} else if (s->ps.seat == SEAT_DIALLING || s->ps.seat == SEAT_CLEANING) {
			progress(s);
		}
	} else if (i < 98) {
		die(s);
	} else if (s->ps.seat == SEAT_IDLE) {
		pool_clean(&s->ps);
	} else {
		s->bad = rnd(4) == 0;
	}
}

static bool waits(void)
{
	unsigned i;

	for (i = 0; i < CLIENTS; i++)
		if (w.c[i].pc.ticket)
			return true;
	return false;
}

/* Everything goes well from here: letters arrive, dials succeed, transactions
 * end. Whoever waits must have been served in the end, and nobody looked at a
 * clock for it (tick: except between two pools of one full database). */
static void settle(bool tick)
{
	unsigned i, k, round;

	for (round = 0; round < 10000; round++) {
		bool moved = false;

		for (k = 0; k < WORKERS; k++)
			while (w.box_n[k]) {
				deliver(k, rnd(w.box_n[k]));
				moved = true;
			}
		for (i = 0; i < SERVERS; i++)
			if (w.s[i].exists && (w.s[i].ps.seat == SEAT_DIALLING ||
					      w.s[i].ps.seat == SEAT_CLEANING)) {
				progress(&w.s[i]);
				moved = true;
			}
		i = rnd(CLIENTS);
		for (k = 0; k < CLIENTS; k++, i = (i + 1) % CLIENTS)
			if (w.c[i].pc.server) {
				leave(&w.c[i]);
				moved = true;
				break;
			}
		check_world();
		if (!moved && !waits())
			return;
		if (!moved && tick)
			for (k = 0; k < WORKERS; k++)
				look(k);
		else if (!moved)
			fail_msg("somebody waits and nobody comes");
	}
	fail_msg("no end");
}

/* What all walks of a test together must have met. */
struct seen {
	unsigned long spared, evicted;
};

static void walk(unsigned run, unsigned steps, struct size size, struct seen *seen)
{
	int db_max = run % 3 == 1 ? (int)size.hubs / 2 + 3 : 0;
	int user_max = run % 5 == 2 ? (int)size.hubs / 2 + 2 : 0;
	unsigned i, k, h;
	bool reloads = run % 4 == 3;

	memset(&w, 0, sizeof(w));
	w.size = size;
	w.rr = run & 1;
	w.now = 1000000;
	assert_int_equal(hubs_init(&w.hubs, WORKERS), 0);
	for (h = 0; h < HUBS; h++) {
		char name[] = { (char)('a' + h), 0 };

		w.hub[h] = hubs_get(&w.hubs, "db", name, false, "role",
				    &(struct hub_max){ (int)(2 + run % 3), db_max, user_max, 0 });
		assert_non_null(w.hub[h]);
		for (k = 0; k < WORKERS; k++)
			pool_init(&w.pool[k][h], w.hub[h], k, w.rr);
	}
	for (i = 0; i < steps; i++) {
		if (reloads && rnd(500) == 0)
			new_bounds();
		step();
		check_world();
		if (i % 1000 == 999)
			settle(db_max || user_max || reloads);
	}
	settle(db_max || user_max || reloads);
	for (i = 0; i < SERVERS; i++)
		if (w.s[i].exists)
			close_server(&w.s[i]);
	for (h = 0; h < HUBS; h++) {
		assert_int_equal(atomic_load(&w.hub[h]->limit.used), 0);
		hubs_put(&w.hubs, w.hub[h]);
	}
	assert_null(w.hubs.dbs);
	assert_null(w.hubs.users);
	hubs_free(&w.hubs);
	assert_true(w.married > steps / 100 && w.elsewhere > steps / 1000);
	seen->spared += w.spared;
	seen->evicted += w.evicted;
}

static void test_walk(void **state)
{
	struct seen seen = {0};
	unsigned run;

	(void)state;
	for (run = 0; run < 12; run++)
		walk(run, 60000, (struct size){ 3, 2, 24, 40 }, &seen);
	assert_true(seen.spared > 300 && seen.evicted > 300);
}

/* The same rules hold for as many workers as one machine has, and for many pools of one
 * database and one user. */
static void test_walk_wide(void **state)
{
	struct seen wide = {0}, many = {0};
	unsigned run;

	(void)state;
	for (run = 0; run < 6; run++)
		walk(run, 10000, (struct size){ 64, 2, 24, 200 }, &wide);
	for (run = 0; run < 6; run++)
		walk(run, 10000, (struct size){ 8, 24, 128, 200 }, &many);
	assert_true(wide.spared > 10 && wide.evicted > 10);
	assert_true(many.spared > 10 && many.evicted > 10);
}

/* ---- real threads ---- */

#define THREADS 4
#define ROUNDS 20000
#define TOKEN_MAX 3

struct token_letter {
	struct letter l;
	unsigned from, number;
};

struct crowd {
	struct limit limit;
	struct mbox box;
	_Atomic int inside, highest;
	_Atomic unsigned taken, refused;
};

struct member {
	struct crowd *crowd;
	unsigned number;
};

static void *take_and_post(void *arg)
{
	struct member *me = arg;
	struct crowd *c = me->crowd;
	unsigned i, sent = 0;

	for (i = 0; i < ROUNDS; i++) {
		struct token_letter *l;
		int in, high;

		if (!limit_take(&c->limit)) {
			atomic_fetch_add(&c->refused, 1);
			continue;
		}
		atomic_fetch_add(&c->taken, 1);
		in = atomic_fetch_add(&c->inside, 1) + 1;
		high = atomic_load(&c->highest);
		while (in > high && !atomic_compare_exchange_weak(&c->highest, &high, in))
			;
		atomic_fetch_sub(&c->inside, 1);
		limit_give(&c->limit);
		l = calloc(1, sizeof(*l));
		if (!l)
			abort();
		l->from = me->number;
		l->number = sent++;
		mbox_post(&c->box, &l->l);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct crowd c;
	struct member m[THREADS];
	pthread_t t[THREADS];
	unsigned next[THREADS] = {0}, got = 0, i;

	(void)state;
	memset(&c, 0, sizeof(c));
	limit_init(&c.limit, TOKEN_MAX);
	assert_int_equal(mbox_init(&c.box), 0);
	for (i = 0; i < THREADS; i++) {
		m[i] = (struct member){&c, i};
		assert_int_equal(pthread_create(&t[i], NULL, take_and_post, &m[i]), 0);
	}
	while (atomic_load(&c.taken) + atomic_load(&c.refused) < THREADS * ROUNDS ||
	       got < atomic_load(&c.taken)) {
		struct pollfd p = {c.box.fd, POLLIN, 0};
		struct letter *l, *after;

		/* a letter that nobody is woken for would end it here */
		if (got < atomic_load(&c.taken))
			assert_int_equal(poll(&p, 1, 10000), 1);
		for (l = mbox_take(&c.box); l; l = after) {
			struct token_letter *tl = (struct token_letter *)(void *)l;

			after = l->next;
			assert_int_equal(tl->number, next[tl->from]++);
			got++;
			free(tl);
		}
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_null(mbox_take(&c.box));
	assert_int_equal(got, atomic_load(&c.taken));
	assert_int_equal(atomic_load(&c.limit.used), 0);
	assert_true(atomic_load(&c.highest) >= 1 && atomic_load(&c.highest) <= TOKEN_MAX);
	mbox_close(&c.box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fifo),	    cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_tokens),	    cmocka_unit_test(test_drop_and_clean),
		cmocka_unit_test(test_elsewhere),   cmocka_unit_test(test_claimed_in_vain),
		cmocka_unit_test(test_spare_once),  cmocka_unit_test(test_spare_too_late), cmocka_unit_test(test_slack),
		cmocka_unit_test(test_oldest_first), cmocka_unit_test(test_passed_on),
		cmocka_unit_test(test_welcome),	    cmocka_unit_test(test_walk),
		cmocka_unit_test(test_walk_wide),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
