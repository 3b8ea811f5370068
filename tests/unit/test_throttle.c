/* tests/unit/test_throttle.c - pauses after failed logins: their lengths, and random
 * walks beside a model that forgets nobody.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cmocka.h>

#include "pool/throttle.h"

#define MS 1000u
#define S 1000000u
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct throttle make(unsigned sources, uint64_t base, uint64_t max)
{
	struct throttle t;

	assert_int_equal(throttle_init(&t, sources, 0x1234567890abcdef, base, max), 0);
	return t;
}

static bool allowed(struct throttle *t, uint64_t key, uint64_t now)
{
	uint64_t retry = 99;
	bool yes = throttle_allowed(t, key, now, &retry);

	assert_true(yes ? retry == 0 : retry > 0);
	return yes;
}

/* How long it has to wait, 0: not at all; it does not attempt anything. */
static uint64_t pause_at(const struct throttle *t, uint64_t key, uint64_t now)
{
	struct throttle copy = *t;
	size_t size = (t->mask + 1) * sizeof(*t->sets);
	uint64_t retry;

	copy.sets = malloc(size);
	assert_non_null(copy.sets);
	memcpy(copy.sets, t->sets, size);
	(void)throttle_allowed(&copy, key, now, &retry);
	throttle_free(&copy);
	return retry;
}

/* ---- one source ---- */

static void test_pauses(void **state)
{
	/* some melts away meanwhile, so one of them comes twice */
	static const uint64_t want_ms[] = {50, 100, 200, 400, 800, 1600, 3200, 6400, 6400, 10000,
					   10000, 10000, 10000};
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = 5 * S;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(want_ms); i++) {
		assert_true(allowed(&t, 7, now));
		throttle_failed(&t, 7, 7, now);
		assert_int_equal(pause_at(&t, 7, now), want_ms[i] * MS);
		assert_false(allowed(&t, 7, now + want_ms[i] * MS - 1));
		assert_true(allowed(&t, 8, now));
		now += want_ms[i] * MS;
	}
	throttle_free(&t);
}

static void test_quiet_forgets(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = 0;
	int i;

	(void)state;
	for (i = 0; i < 20; i++)
		throttle_failed(&t, 7, 7, now);
	now += 10 * S;
	/* nine were kept, and each 10 s take one of them */
	for (i = 9; i >= 1; i--) {
		throttle_failed(&t, 7, 7, now);
		assert_int_equal(pause_at(&t, 7, now),
				 i == 9 ? 10 * S : (uint64_t)50 * MS << (i - 1));
		now += 20 * S;
	}
	assert_true(allowed(&t, 7, now));
	assert_true(allowed(&t, 7, now + 10 * S));
	assert_true(allowed(&t, 7, now + 10 * S));
	throttle_failed(&t, 7, 7, now + 10 * S);
	assert_int_equal(pause_at(&t, 7, now + 10 * S), 50 * MS);
	throttle_free(&t);
}

static void test_success_forgives(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = 1;
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		throttle_failed(&t, 7, 7, now);
	throttle_failed(&t, 8, 8, now);
	throttle_ok(&t, 7, 7, now);
	throttle_ok(&t, 9, 9, now);
	assert_true(allowed(&t, 7, now));
	assert_true(allowed(&t, 7, now));
	assert_false(allowed(&t, 8, now));
	throttle_failed(&t, 7, 7, now);
	assert_int_equal(pause_at(&t, 7, now), 50 * MS);
	throttle_free(&t);
}

/* ... what the same part has failed, and no more. */
static void test_success_of_a_part(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = S;
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		throttle_failed(&t, 7, 70, now); /* all of one moment: one pause, three failures */
	throttle_failed(&t, 7, 71, now);
	throttle_failed(&t, 8, 80, now);
	/* one that had begun before the pause */
	throttle_ok(&t, 7, 72, now);
	assert_int_equal(pause_at(&t, 7, now), 50 * MS);
	/* the attempt of somebody else: the next need not wait, but all is still known */
	now += 50 * MS;
	assert_true(allowed(&t, 7, now));
	assert_false(allowed(&t, 7, now));
	throttle_ok(&t, 7, 72, now);
	assert_true(allowed(&t, 7, now));
	assert_int_equal(pause_at(&t, 7, now), 400 * MS);
	/* of who failed three times */
	throttle_ok(&t, 7, 70, now);
	assert_true(allowed(&t, 7, now));
	assert_int_equal(pause_at(&t, 7, now), 50 * MS);
	throttle_ok(&t, 7, 70, now);
	assert_true(allowed(&t, 7, now));
	/* both parts have forgotten 50 ms' worth since, the source did so once */
	throttle_ok(&t, 7, 71, now);
	assert_true(allowed(&t, 7, now));
	assert_false(allowed(&t, 7, now));
	assert_true(allowed(&t, 7, now + 50 * MS));
	assert_true(allowed(&t, 7, now + 50 * MS));
	assert_true(allowed(&t, 8, now));
	assert_false(allowed(&t, 8, now));
	throttle_free(&t);
}

/* Whoever has an account there guesses another's secret, and logs in in between. */
static void test_own_account_is_no_way_around(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = S, guesses = 0, turn = 0;

	(void)state;
	for (; now < 3601 * S; now += 10 * MS) {
		if (!allowed(&t, 7, now))
			continue;
		switch (turn++ % 3) {
		case 0:
			throttle_failed(&t, 7, 70, now);
			guesses++;
			break;
		case 1: /* something of its own to be forgiven */
			throttle_failed(&t, 7, 71, now);
			break;
		default:
			throttle_ok(&t, 7, 71, now);
			break;
		}
	}
	/* one each max, and some more at the beginning */
	assert_in_range(guesses, 100, 3600 / 10 + 10);
	throttle_free(&t);
}

static void test_wait_takes_nothing(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = S;

	(void)state;
	assert_int_equal(throttle_wait(&t, 7, now), 0);
	throttle_failed(&t, 7, 70, now);
	assert_int_equal(throttle_wait(&t, 7, now + MS), 49 * MS);
	assert_int_equal(throttle_wait(&t, 7, now + 50 * MS), 0);
	assert_int_equal(throttle_wait(&t, 7, now + 50 * MS), 0);
	assert_true(allowed(&t, 7, now + 50 * MS));
	assert_int_equal(throttle_wait(&t, 7, now + 50 * MS), 50 * MS);
	throttle_free(&t);
}

/* One at a time after a failure, whether it ends or not. */
static void test_one_attempt(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = S;

	(void)state;
	throttle_failed(&t, 7, 7, now);
	now += 50 * MS;
	assert_true(allowed(&t, 7, now));
	assert_false(allowed(&t, 7, now));
	assert_int_equal(pause_at(&t, 7, now), 50 * MS);
	/* it fails at once: longer */
	throttle_failed(&t, 7, 7, now + 1);
	assert_int_equal(pause_at(&t, 7, now + 1), 100 * MS);
	now += 1 + 100 * MS;
	assert_true(allowed(&t, 7, now));
	/* nothing is heard of it: the same pause again */
	assert_false(allowed(&t, 7, now + 100 * MS - 1));
	assert_true(allowed(&t, 7, now + 100 * MS));
	/* it succeeds: no more of it */
	throttle_ok(&t, 7, 7, now + 100 * MS);
	assert_true(allowed(&t, 7, now + 100 * MS));
	assert_true(allowed(&t, 7, now + 100 * MS));
	throttle_free(&t);
}

/* A hundred at once with an old password: soon one may try the new one, but all count. */
static void test_burst(void **state)
{
	struct throttle t = make(64, 50 * MS, 10 * S);
	uint64_t now = S;
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_true(allowed(&t, 7, now));
	for (i = 0; i < 100; i++)
		throttle_failed(&t, 7, 7, now + (uint64_t)i);
	assert_int_equal(pause_at(&t, 7, now + 100), 50 * MS - 100);
	now += 50 * MS;
	assert_true(allowed(&t, 7, now));
	throttle_failed(&t, 7, 7, now);
	assert_int_equal(pause_at(&t, 7, now), 10 * S);
	throttle_free(&t);
}

static void test_off(void **state)
{
	struct throttle off = make(64, 0, 10 * S), none = make(64, 50 * MS, 0);
	struct throttle t = make(64, 20 * S, 10 * S);
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		throttle_failed(&off, 7, 7, S);
		throttle_failed(&none, 7, 7, S);
		throttle_ok(&off, 7, 7, S);
		assert_true(allowed(&off, 7, S));
		assert_true(allowed(&none, 7, S));
	}
	throttle_failed(&t, 7, 7, S);
	assert_int_equal(pause_at(&t, 7, S), 10 * S);
	throttle_set(&t, 0, 0, S);
	assert_true(allowed(&t, 7, S));
	throttle_set(&t, 50 * MS, S, S);
	throttle_failed(&t, 7, 7, S);
	assert_int_equal(pause_at(&t, 7, S), 50 * MS);
	throttle_free(&t);
	throttle_free(&off);
	throttle_free(&none);
}

static void test_other_settings(void **state)
{
	struct throttle t = make(64, S, 3600u * (uint64_t)S);
	uint64_t now = S;
	int i;

	(void)state;
	for (i = 0; i < 30; i++) {
		uint64_t retry;

		if (!throttle_allowed(&t, 7, now, &retry))
			now += retry;
		throttle_failed(&t, 7, 7, now);
	}
	assert_int_equal(pause_at(&t, 7, now), 3600u * (uint64_t)S);
	throttle_set(&t, 50 * MS, 10 * S, now);
	assert_int_equal(pause_at(&t, 7, now), 10 * S);
	now += 10 * S;
	assert_true(allowed(&t, 7, now));
	/* all of it is forgotten in nine times ten seconds */
	assert_false(allowed(&t, 7, now));
	assert_true(allowed(&t, 7, now + 80 * S));
	assert_true(allowed(&t, 7, now + 80 * S));
	throttle_free(&t);
}

/* ---- keys ---- */

static bool key_of(const char *text, uint64_t *key)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(7)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(7)};
	const struct sockaddr *sa = (const struct sockaddr *)(const void *)&in6;

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		sa = (const struct sockaddr *)(const void *)&in4;
	else
		assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return throttle_key(sa, key);
}

static void test_keys(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"10.0.0.1", "::ffff:10.0.0.2", false},
		{"10.0.0.1", "::10.0.0.1", false},
		{"0.0.0.0", "::2", false},
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8:0:0:8000::", "2001:db8::2", true},
		{"2001:db8:0:1::", "2001:db8::", false},
		{"a00:1::", "10.0.0.1", false},
	};
	const struct sockaddr_un un = {.sun_family = AF_UNIX};
	static const char *const here[] = {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.2"};
	uint64_t a, b;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(here); i++)
		assert_false(key_of(here[i], &a));
	for (i = 0; i < COUNT(rows); i++) {
		assert_true(key_of(rows[i].a, &a) && key_of(rows[i].b, &b));
		if ((a == b) != rows[i].same)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
	}
	assert_false(throttle_key((const struct sockaddr *)(const void *)&un, &a));
}

/* ---- random walks ---- */

/* The same rules for one source, put differently: failures that melt away. */
struct model {
	double failures;
	uint64_t at, until;
	bool out;
};

struct rules {
	uint64_t base, max;
	int steps;
};

static void melt(struct model *m, const struct rules *r, uint64_t now)
{
	m->failures -= (double)(now - m->at) / (double)r->max;
	m->at = now;
	if (m->failures < 1e-9)
		*m = (struct model){.at = now};
}

static uint64_t model_pause(const struct model *m, const struct rules *r)
{
	uint64_t pause = r->base;
	double n;

	for (n = m->failures; n > 1 + 1e-9 && pause < r->max; n--)
		pause *= 2;
	return pause < r->max ? pause : r->max;
}

static uint64_t model_allowed(struct model *m, const struct rules *r, uint64_t now)
{
	melt(m, r, now);
	if (m->failures > 0 && now < m->until)
		return m->until - now;
	if (m->failures > 0) {
		m->until = now + model_pause(m, r);
		m->out = true;
	}
	return 0;
}

static void model_failed(struct model *m, const struct rules *r, uint64_t now)
{
	bool early;

	melt(m, r, now);
	early = m->failures > 0 && now < m->until && !m->out;
	m->failures++;
	if (m->failures > r->steps)
		m->failures = r->steps;
	if (early)
		return;
	m->until = now + model_pause(m, r);
	m->out = false;
}

static uint64_t next(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

#define KEYS 40u

/* In a table with room for all, each source goes as if it were alone. Times are whole
 * milliseconds, and max no divisor of anything, so that no rounding decides. */
static void test_walk_with_room(void **state)
{
	const struct rules r = {3 * MS, 1009 * MS, 10};
	struct throttle t = make(4096, r.base, r.max);
	struct model m[KEYS] = {{0}};
	uint64_t seed = 11, now = S, waited = 0, i;

	(void)state;
	for (i = 0; i < 300000; i++) {
		uint64_t k = next(&seed, KEYS), retry, key = k << 16;

		now += next(&seed, 500) ? next(&seed, 3) * MS : next(&seed, 3000) * MS;
		switch (next(&seed, 20)) {
		case 0:
			throttle_ok(&t, key, key, now);
			m[k] = (struct model){.at = now};
			break;
		case 1:
		case 2:
		case 3:
		case 4:
		case 5:
		case 6:
			throttle_failed(&t, key, key, now);
			model_failed(&m[k], &r, now);
			break;
		default:
			(void)throttle_allowed(&t, key, now, &retry);
			assert_int_equal(retry, model_allowed(&m[k], &r, now));
			waited += retry > 0;
		}
	}
	assert_true(waited > 10000);
	throttle_free(&t);
}

/* Ten times as many sources as slots, and some of them never fail: who has failed is
 * never let off with less than the model has, but for the one attempt after it was pushed
 * out; who has not does not wait. */
static void test_walk_without_room(void **state)
{
	const struct rules r = {3 * MS, 1009 * MS, 10};
	struct throttle t = make(32, r.base, r.max);
	struct model m[320] = {{0}};
	uint64_t seed = 12, now = S, retry, more = 0, failed = 0, i;

	(void)state;
	assert_int_equal(t.mask, 3);
	for (i = 0; i < 300000; i++) {
		uint64_t k = next(&seed, 3) ? next(&seed, 320) : next(&seed, 8);

		now += next(&seed, 500) ? next(&seed, 20) * MS : next(&seed, 30000) * MS;
		if (!throttle_allowed(&t, k, now, &retry)) {
			assert_true(k % 10 != 9);
			continue;
		}
		if (k % 10 == 9)
			continue;
		throttle_failed(&t, k, k, now);
		/* it was let through, so nothing of the model's is early */
		m[k].out = true;
		model_failed(&m[k], &r, now);
		(void)throttle_allowed(&t, k, now, &retry);
		assert_true(retry >= m[k].until - now);
		more += retry > m[k].until - now;
		failed++;
	}
	/* there were evictions, and they were paid for */
	assert_true(failed > 5000);
	assert_true(more > 100);
	throttle_free(&t);
}

/* One that has failed six times, and a flood of sources that fail once each: it comes
 * back to what it had, and others come in as they are. */
static void test_flood(void **state)
{
	struct throttle t = make(16, 50 * MS, 10 * S);
	uint64_t i, now = S;

	(void)state;
	for (i = 0; i < 6; i++)
		throttle_failed(&t, 7, 7, now);
	for (i = 100; i < 100000; i++) {
		assert_true(allowed(&t, i, now));
		throttle_failed(&t, i, i, now);
	}
	/* pushed out, or still there */
	now += 50 * MS;
	assert_true(allowed(&t, 7, now));
	throttle_failed(&t, 7, 7, now);
	assert_true(pause_at(&t, 7, now) >= (uint64_t)50 * MS << 6);
	assert_true(allowed(&t, 3, now));
	throttle_free(&t);
}

/* Those who fail once do not push out who has failed more: eight have place in a set. */
static void test_worst_stay(void **state)
{
	struct throttle t = make(8, 50 * MS, 10 * S);
	uint64_t i, now = S;
	int k;

	(void)state;
	assert_int_equal(t.mask, 0);
	for (i = 0; i < 7; i++)
		for (k = 0; k < 5; k++)
			throttle_failed(&t, i, i, now);
	for (i = 100; i < 104; i++)
		throttle_failed(&t, i, i, now);
	for (i = 0; i < 7; i++)
		assert_false(allowed(&t, i, now));
	assert_true(allowed(&t, 100, now));
	assert_false(allowed(&t, 103, now));
	throttle_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pauses),
		cmocka_unit_test(test_quiet_forgets),
		cmocka_unit_test(test_success_forgives),
		cmocka_unit_test(test_success_of_a_part),
		cmocka_unit_test(test_own_account_is_no_way_around),
		cmocka_unit_test(test_wait_takes_nothing),
		cmocka_unit_test(test_one_attempt),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_other_settings),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_walk_with_room),
		cmocka_unit_test(test_walk_without_room),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_worst_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
