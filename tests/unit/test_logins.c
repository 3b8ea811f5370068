/* tests/unit/test_logins.c - failed logins, counted for all workers.
 *
 * SPDX-License-Identifier: ISC
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool/logins.h"

#define MS 1000u
#define S 1000000u

static const struct login_source alice = { 7, 70 }, bob = { 7, 71 }, other = { 8, 80 };

static void make(struct logins *l, uint64_t base, uint64_t max)
{
	*l = (struct logins){ 0 };
	assert_int_equal(logins_init(l, 42, base, max), 0);
}

static void test_quiet(void **state)
{
	struct logins l;

	(void)state;
	make(&l, 50 * MS, 10 * S);
	assert_true(logins_quiet(&l, S));
	assert_int_equal(logins_wait(&l, alice, true, S), 0);
	assert_int_equal(logins_wait(&l, alice, true, S), 0);
	logins_failed(&l, alice, S);
	assert_false(logins_quiet(&l, S));
	assert_int_equal(logins_wait(&l, bob, false, S), 50 * MS);
	assert_int_equal(logins_wait(&l, other, true, S), 0);
	/* ten pauses of max at most are remembered: 9 failures reach it */
	assert_false(logins_quiet(&l, S + 89 * S));
	assert_true(logins_quiet(&l, S + 90 * S));
	logins_free(&l);
}

static void test_look_and_attempt(void **state)
{
	struct logins l;
	uint64_t now = S;

	(void)state;
	make(&l, 50 * MS, 10 * S);
	logins_failed(&l, alice, now);
	now += 50 * MS;
	assert_int_equal(logins_wait(&l, bob, false, now), 0);
	assert_int_equal(logins_wait(&l, bob, false, now), 0);
	assert_int_equal(logins_wait(&l, bob, true, now), 0);
	assert_int_equal(logins_wait(&l, bob, true, now), 50 * MS);
	assert_int_equal(logins_wait(&l, alice, false, now), 50 * MS);
	logins_ok(&l, bob, now);
	assert_int_equal(logins_wait(&l, alice, true, now), 0);
	logins_ok(&l, alice, now);
	assert_int_equal(logins_wait(&l, alice, true, now), 0);
	assert_int_equal(logins_wait(&l, alice, true, now), 0);
	logins_free(&l);
}

/* A worker whose clock is behind. */
static void test_late_clock(void **state)
{
	struct logins l;

	(void)state;
	make(&l, 50 * MS, 10 * S);
	logins_failed(&l, alice, 2 * S);
	assert_int_equal(logins_wait(&l, alice, true, S), 50 * MS);
	logins_failed(&l, alice, S);
	assert_int_equal(logins_wait(&l, alice, true, 2 * S + 49 * MS), MS);
	logins_free(&l);
}

static void test_settings(void **state)
{
	struct logins l, none = { 0 };

	(void)state;
	make(&l, 0, 10 * S);
	logins_failed(&l, alice, S);
	assert_true(logins_quiet(&l, S));
	logins_set(&l, S, 10 * S, S);
	logins_failed(&l, alice, S);
	assert_int_equal(logins_wait(&l, alice, true, S), S);
	logins_set(&l, S, 10 * S, S); /* the same: nothing is forgotten */
	assert_int_equal(logins_wait(&l, alice, true, S), S);
	logins_set(&l, S / 10, S / 10, S);
	assert_int_equal(logins_wait(&l, alice, true, S), S / 10);
	logins_set(&l, S, 0, S);
	assert_true(logins_quiet(&l, S));
	assert_int_equal(logins_wait(&l, alice, true, S), 0);
	logins_free(&l);
	/* nobody has made it */
	logins_failed(&none, alice, S);
	logins_ok(&none, alice, S);
	assert_int_equal(logins_wait(&none, alice, true, S), 0);
	logins_free(&none);
}

#define THREADS 4
#define TRIES 20000

struct guesser {
	struct logins *l;
	unsigned made;
};

static void *guess(void *arg)
{
	struct guesser *g = arg;
	unsigned i;

	for (i = 0; i < TRIES; i++)
		if (!logins_wait(g->l, alice, true, S)) {
			g->made++;
			logins_failed(g->l, alice, S);
		}
	return NULL;
}

/* At the first failure each may be comparing, and nobody is afterwards. */
static void test_threads(void **state)
{
	struct logins l;
	struct guesser g[THREADS];
	pthread_t t[THREADS];
	unsigned i, n = 0;

	(void)state;
	make(&l, 10 * S, 10 * S);
	for (i = 0; i < THREADS; i++) {
		g[i] = (struct guesser){ &l, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, guess, &g[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		n += g[i].made;
	}
	assert_in_range(n, 1, THREADS);
	logins_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_look_and_attempt),
		cmocka_unit_test(test_late_clock),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
