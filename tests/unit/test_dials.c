/* tests/unit/test_dials.c - health/dials: limits, pauses and their growth, one
 * trial after a failure, who is told of room; and all of it under real threads.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <pthread.h>

#include "health/dials.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RETRY 1000000u
#define NOW 50000000u
#define NEVER UINT64_MAX

static const struct dial_limits none = {0, 0};

static void take(struct target *t, const struct dial_limits *l)
{
	uint64_t when;

	assert_true(dials_open(t, l, NOW, &when));
	assert_true(dials_take(t, l, NOW));
}

/* There is no place, and none by time alone. */
static void full(struct target *t, const struct dial_limits *l)
{
	uint64_t when = 0;

	assert_false(dials_open(t, l, NOW, &when));
	assert_true(when == NEVER);
	assert_false(dials_take(t, l, NOW));
}

static bool end(struct target *t, enum dial_end how, uint64_t now)
{
	return dials_end(t, how, now, RETRY, 0);
}

static void test_limits(void **state)
{
	static const struct dial_limits conns = {3, 0}, logins = {0, 2}, both = {3, 2};
	struct target t = {.state = TARGET_UP};
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		take(&t, &none);
	assert_int_equal(t.conns, 100);
	assert_int_equal(t.dialling, 100);
	/* limits that came later hold for those to come */
	full(&t, &conns);
	full(&t, &logins);
	for (i = 0; i < 100; i++) {
		(void)end(&t, DIAL_OK, NOW);
		(void)dials_gone(&t);
	}
	assert_int_equal(t.conns, 0);
	assert_int_equal(t.dialling, 0);
	for (i = 0; i < 3; i++)
		take(&t, &conns);
	full(&t, &conns);
	(void)end(&t, DIAL_OK, NOW); /* logged in, and still a connection */
	full(&t, &conns);
	(void)dials_gone(&t);
	take(&t, &conns);
	full(&t, &conns);
	for (i = 0; i < 3; i++) {
		(void)end(&t, DIAL_OK, NOW);
		(void)dials_gone(&t);
	}
	take(&t, &both);
	take(&t, &both);
	full(&t, &both);
	(void)end(&t, DIAL_OK, NOW);
	take(&t, &both);
	full(&t, &both);
	(void)end(&t, DIAL_OK, NOW);
	full(&t, &both);
}

static void test_wanted(void **state)
{
	static const struct dial_limits one = {2, 1};
	struct target t = {.state = TARGET_UP};
	uint64_t when;

	(void)state;
	take(&t, &one);
	/* nobody has looked in vain: nobody is told */
	assert_false(end(&t, DIAL_OK, NOW));
	take(&t, &one);
	full(&t, &one);
	assert_true(end(&t, DIAL_DROPPED, NOW));
	assert_false(dials_gone(&t));
	take(&t, &one);
	assert_false(end(&t, DIAL_OK, NOW));
	full(&t, &one);
	full(&t, &one);
	assert_true(dials_gone(&t));
	assert_false(dials_gone(&t));
	/* a pause ends by itself: nobody need be told */
	take(&t, &one);
	assert_false(end(&t, DIAL_FAILED, NOW));
	assert_false(dials_open(&t, &one, NOW, &when));
	assert_true(when > NOW && when < NEVER);
	assert_false(dials_take(&t, &one, NOW));
	assert_false(dials_gone(&t));
}

/* An eighth, a quarter, a half, all, all ... less a random half. */
static void test_pauses(void **state)
{
	static const uint64_t most[] = {RETRY / 8, RETRY / 4, RETRY / 2, RETRY, RETRY, RETRY};
	static const uint64_t rnd[] = {0, 1, 12345678901, RETRY / 16, UINT64_MAX};
	size_t i, k;

	(void)state;
	for (k = 0; k < COUNT(rnd); k++) {
		struct target t = {.state = TARGET_UP};
		uint64_t now = NOW, when, open;

		for (i = 0; i < COUNT(most); i++) {
			assert_true(dials_take(&t, &none, now));
			(void)dials_end(&t, DIAL_FAILED, now, RETRY, rnd[k]);
			(void)dials_gone(&t);
			assert_int_equal(t.dial_fails, i + 1);
			assert_false(dials_open(&t, &none, now, &when));
			assert_in_range(when - now, most[i] / 2, most[i]);
			if (rnd[k] == 0)
				assert_int_equal(when - now, most[i] / 2);
			assert_false(dials_open(&t, &none, when - 1, &open));
			assert_true(open == when);
			assert_true(dials_open(&t, &none, when, &open));
			now = when;
		}
		/* one that comes through begins anew */
		assert_true(dials_take(&t, &none, now));
		(void)end(&t, DIAL_OK, now);
		assert_true(dials_open(&t, &none, 0, &when));
		assert_true(dials_take(&t, &none, now));
		(void)end(&t, DIAL_FAILED, now);
		assert_false(dials_open(&t, &none, now, &when));
		assert_int_equal(when - now, RETRY / 16);
		/* what says nothing of the node changes nothing */
		now = when;
		assert_true(dials_take(&t, &none, now));
		(void)end(&t, DIAL_DROPPED, now);
		assert_int_equal(t.dial_fails, 1);
		assert_true(dials_open(&t, &none, now, &when));
	}
}

/* server_login_retry = 0, or next to nothing */
static void test_no_pause(void **state)
{
	uint64_t retry, when;

	(void)state;
	for (retry = 0; retry < 3; retry++) {
		struct target t = {.state = TARGET_UP};
		int i;

		for (i = 0; i < 10; i++) {
			assert_true(dials_take(&t, &none, NOW + (uint64_t)i * 3));
			(void)dials_end(&t, DIAL_FAILED, NOW + (uint64_t)i * 3, retry, UINT64_MAX);
		}
		assert_true(dials_open(&t, &none, NOW + 40, &when));
	}
}

static void test_one_trial(void **state)
{
	static const struct dial_limits l = {0, 16};
	struct target t = {.state = TARGET_UP};
	uint64_t later;
	unsigned i, unlimited;

	(void)state;
	for (unlimited = 0; unlimited < 2; unlimited++) {
		const struct dial_limits *lim = unlimited ? &none : &l;

		take(&t, lim);
		(void)end(&t, DIAL_FAILED, NOW);
		assert_false(dials_open(&t, lim, NOW, &later));
		assert_true(dials_take(&t, lim, later));
		for (i = 0; i < 3; i++)
			assert_false(dials_take(&t, lim, later));
		/* dropped: the next one tries, and again alone */
		assert_true(end(&t, DIAL_DROPPED, later));
		assert_true(dials_take(&t, lim, later));
		assert_false(dials_take(&t, lim, later));
		/* through: all may */
		assert_true(end(&t, DIAL_OK, later));
		for (i = 0; i < 16; i++)
			assert_true(dials_take(&t, lim, later));
		assert_int_equal(dials_take(&t, lim, later), unlimited);
		for (i = 0; i < 16 + unlimited; i++)
			(void)end(&t, DIAL_OK, later);
		assert_int_equal(t.dialling, 0);
	}
}

/* Ten were under way when the node went: that is one failure. */
static void test_together(void **state)
{
	struct target t = {.state = TARGET_UP};
	uint64_t first, when;
	unsigned i;

	(void)state;
	for (i = 0; i < 10; i++)
		take(&t, &none);
	(void)dials_end(&t, DIAL_FAILED, NOW, RETRY, 0);
	assert_false(dials_open(&t, &none, NOW, &first));
	for (i = 1; i < 9; i++)
		(void)dials_end(&t, DIAL_FAILED, NOW + i * RETRY / 160, RETRY, UINT64_MAX);
	assert_int_equal(t.dial_fails, 1);
	assert_false(dials_open(&t, &none, NOW, &when));
	assert_true(when == first);
	/* the last one takes longer than the pause: the second */
	(void)dials_end(&t, DIAL_FAILED, first, RETRY, 0);
	assert_int_equal(t.dial_fails, 2);
	assert_int_equal(t.dialling, 0);
}

/* ---- real threads ---- */

#define THREADS 4
#define ROUNDS 20000

/* Time passes when somebody waits for it. */
struct crowd {
	struct target t;
	struct dial_limits l;
	_Atomic uint64_t clock;
	_Atomic int conns, dialling, conns_high, dialling_high, lost;
	_Atomic unsigned taken, waited, paused;
	pthread_mutex_t mutex;
	pthread_cond_t bell;
	unsigned rings;
};

struct member {
	struct crowd *crowd;
	uint64_t random;
};

static uint64_t rnd_of(struct member *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random >> 11;
}

static void enter(_Atomic int *n, _Atomic int *highest)
{
	int in = atomic_fetch_add(n, 1) + 1, high = atomic_load(highest);

	while (in > high && !atomic_compare_exchange_weak(highest, &high, in))
		;
}

static void ring(struct crowd *c, bool wanted)
{
	if (!wanted)
		return;
	pthread_mutex_lock(&c->mutex);
	c->rings++;
	pthread_cond_broadcast(&c->bell);
	pthread_mutex_unlock(&c->mutex);
}

static unsigned rings(struct crowd *c)
{
	unsigned n;

	pthread_mutex_lock(&c->mutex);
	n = c->rings;
	pthread_mutex_unlock(&c->mutex);
	return n;
}

/* Until somebody tells of room: within ten seconds, or it was forgotten. */
static void await(struct crowd *c, unsigned heard)
{
	struct timespec until;
	int err = 0;

	atomic_fetch_add(&c->waited, 1);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&c->mutex);
	while (c->rings == heard && !err)
		err = pthread_cond_timedwait(&c->bell, &c->mutex, &until);
	pthread_mutex_unlock(&c->mutex);
	if (err)
		atomic_store(&c->lost, 1);
}

static void pass_time(struct crowd *c, uint64_t when)
{
	uint64_t now = atomic_load(&c->clock);

	atomic_fetch_add(&c->paused, 1);
	while (now < when && !atomic_compare_exchange_weak(&c->clock, &now, when))
		;
}

/* A place, or none because somebody else has failed. */
static void get_place(struct crowd *c, struct member *m)
{
	for (;;) {
		unsigned heard = rings(c);
		uint64_t now = atomic_load(&c->clock), when;

		/* a turn of its loop may lie between the clock and the look */
		if (rnd_of(m) % 64 == 0)
			sched_yield();
		if (dials_take(&c->t, &c->l, now))
			return;
		if (dials_open(&c->t, &c->l, now, &when))
			continue;
		if (atomic_load(&c->lost))
			return;
		if (when == NEVER)
			await(c, heard);
		else
			pass_time(c, when);
	}
}

static void *dial_and_go(void *arg)
{
	struct member *m = arg;
	struct crowd *c = m->crowd;
	unsigned i;

	for (i = 0; i < ROUNDS && !atomic_load(&c->lost); i++) {
		uint64_t lot;
		enum dial_end how;

		get_place(c, m);
		lot = rnd_of(m) % 10;
		how = lot < 6 ? DIAL_OK : lot < 8 ? DIAL_FAILED : DIAL_DROPPED;
		if (atomic_load(&c->lost))
			break;
		atomic_fetch_add(&c->taken, 1);
		enter(&c->conns, &c->conns_high);
		enter(&c->dialling, &c->dialling_high);
		if (lot == 3)
			sched_yield();
		atomic_fetch_sub(&c->dialling, 1);
		ring(c, dials_end(&c->t, how, atomic_load(&c->clock), 1000, rnd_of(m)));
		if (lot == 4)
			sched_yield();
		atomic_fetch_sub(&c->conns, 1);
		ring(c, dials_gone(&c->t));
	}
	return NULL;
}

static void crowd_of(int conns, int logins)
{
	struct crowd c = {.t = {.state = TARGET_UP}, .l = {conns, logins}, .clock = NOW};
	struct member m[THREADS];
	pthread_t th[THREADS];
	unsigned i;

	assert_int_equal(pthread_mutex_init(&c.mutex, NULL), 0);
	assert_int_equal(pthread_cond_init(&c.bell, NULL), 0);
	for (i = 0; i < THREADS; i++) {
		m[i] = (struct member){&c, 88172645463325252u * (i + 1)};
		assert_int_equal(pthread_create(&th[i], NULL, dial_and_go, &m[i]), 0);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(th[i], NULL), 0);
	pthread_cond_destroy(&c.bell);
	pthread_mutex_destroy(&c.mutex);
	/* somebody waited for room that nobody told of */
	assert_int_equal(c.lost, 0);
	assert_int_equal(c.taken, THREADS * ROUNDS);
	assert_int_equal(c.t.conns, 0);
	assert_int_equal(c.t.dialling, 0);
	assert_true(c.conns_high >= 1 && (!conns || c.conns_high <= conns));
	assert_true(c.dialling_high >= 1 && (!logins || c.dialling_high <= logins));
	assert_true(c.paused > 0);
}

static void test_threads(void **state)
{
	(void)state;
	crowd_of(1, 0);
	crowd_of(0, 1);
	crowd_of(2, 1);
	crowd_of(3, 2);
	crowd_of(0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),	  cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_pauses),	  cmocka_unit_test(test_no_pause),
		cmocka_unit_test(test_one_trial), cmocka_unit_test(test_together),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
