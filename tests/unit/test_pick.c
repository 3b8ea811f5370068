/* tests/unit/test_pick.c - which node is dialled: each balance rule, states and
 * roles, what was tried already.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pool/pick.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define N 5

static struct target node[70];
static struct target *all[70];

static void setup(size_t n, const char *states, const char *roles)
{
	size_t i;

	memset(node, 0, sizeof(node));
	for (i = 0; i < n; i++) {
		char s = states[i < strlen(states) ? i : strlen(states) - 1];
		char r = roles[i < strlen(roles) ? i : strlen(roles) - 1];

		all[i] = &node[i];
		atomic_store(&node[i].state, s == 'u'	? TARGET_UP :
					     s == '?' ? TARGET_UNKNOWN :
					     s == 'p' ? TARGET_PROBATION :
							TARGET_DOWN);
		atomic_store(&node[i].role, r == 'p' ? ROLE_PRIMARY :
					    r == 's' ? ROLE_STANDBY :
						       ROLE_UNKNOWN);
		atomic_store(&node[i].read_only, r == 's');
	}
}

static int pick(size_t n, enum session_attrs attrs, enum balance how, uint64_t tried, uint64_t rnd)
{
	uint64_t rr = rnd;

	return pick_target(all, n, attrs, how, tried, rnd, &rr);
}

static void test_nothing(void **state)
{
	enum balance how;

	(void)state;
	for (how = BALANCE_LEASTCONN; how <= BALANCE_DISABLE; how++) {
		assert_int_equal(pick(0, ATTRS_ANY, how, 0, 7), PICK_NONE);
		setup(3, "d", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 0, 7), PICK_NONE);
		setup(3, "u", "s");
		assert_int_equal(pick(3, ATTRS_PRIMARY, how, 0, 7), PICK_NONE);
		setup(3, "u", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 7, 7), PICK_NONE);
	}
}

/* In the order written, down ones left out. */
static void test_disable(void **state)
{
	uint64_t rnd;

	(void)state;
	for (rnd = 0; rnd < 20; rnd++) {
		setup(N, "u", "p");
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 0, rnd), 0);
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 1, rnd), 1);
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 1 | 2 | 8, rnd), 2);
		setup(N, "ddu", "p");
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 0, rnd), 2);
	}
}

static void test_round_robin(void **state)
{
	uint64_t rr = 0, before;
	unsigned i;

	(void)state;
	setup(N, "u", "p");
	for (i = 0; i < 3 * N; i++)
		assert_int_equal(pick_target(all, N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0, i * 7, &rr),
				 i % N);
	/* one is down: the others in turn */
	setup(N, "uuduu", "p");
	rr = 1;
	for (i = 0; i < 8; i++)
		assert_int_equal(pick_target(all, N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0, 0, &rr),
				 "13401340"[i] - '0');
	/* from anywhere; nothing found moves nothing */
	rr = UINT64_MAX;
	assert_in_range(pick_target(all, N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0, 0, &rr), 0, N - 1);
	setup(N, "d", "p");
	before = rr;
	assert_int_equal(pick_target(all, N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0, 0, &rr), PICK_NONE);
	assert_int_equal(rr, before);
	/* the other rules do not move it */
	setup(N, "u", "p");
	(void)pick_target(all, N, ATTRS_ANY, BALANCE_RANDOM, 0, 3, &rr);
	(void)pick_target(all, N, ATTRS_ANY, BALANCE_LEASTCONN, 0, 3, &rr);
	(void)pick_target(all, N, ATTRS_ANY, BALANCE_DISABLE, 0, 3, &rr);
	assert_int_equal(rr, before);
}

static void test_random(void **state)
{
	unsigned hits[N] = {0};
	uint64_t rnd;
	int i;

	(void)state;
	setup(N, "uuuud", "p");
	for (rnd = 0; rnd < 1000; rnd++) {
		i = pick(N, ATTRS_ANY, BALANCE_RANDOM, 0, rnd * 0x9e3779b97f4a7c15ULL);
		assert_in_range(i, 0, 3);
		hits[i]++;
	}
	for (i = 0; i < 4; i++)
		assert_in_range(hits[i], 100, 500);
}

static void test_leastconn(void **state)
{
	unsigned hits[N] = {0};
	uint64_t rnd;
	int i;

	(void)state;
	for (rnd = 0; rnd < 1000; rnd++) {
		setup(N, "u", "p");
		for (i = 0; i < N; i++)
			atomic_store(&node[i].conns, "53424"[i] - '0');
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_LEASTCONN, 0, rnd), 3);
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_LEASTCONN, 8, rnd), 1);
		/* among equals, a random start */
		atomic_store(&node[1].conns, 2);
		i = pick(N, ATTRS_ANY, BALANCE_LEASTCONN, 0, rnd);
		assert_true(i == 1 || i == 3);
		hits[i]++;
	}
	assert_true(hits[1] > 200 && hits[3] > 200);
}

/* Probation only when nothing is up, however few connections it has. */
static void test_states(void **state)
{
	static const struct {
		const char *states;
		int want;
	} cases[] = {
		{"u", 0},   {"?", 0},	{"p", 0},   {"d", PICK_NONE}, {"pu", 1}, {"p?", 1},
		{"dpu", 2}, {"dp", 1},	{"ddpd", 2}, {"pdpdu", 4},
	};
	enum balance how;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		for (how = BALANCE_LEASTCONN; how <= BALANCE_DISABLE; how++) {
			size_t n = strlen(cases[i].states), k;
			uint64_t rnd;

			setup(n, cases[i].states, "p");
			for (k = 0; k < n; k++)
				if (cases[i].states[k] != 'p')
					atomic_store(&node[k].conns, 100);
			for (rnd = 0; rnd < 10; rnd++)
				assert_int_equal(pick(n, ATTRS_ANY, how, 0, rnd), cases[i].want);
		}
}

/* Where may a session with these wishes go, among p(rimary) and s(tandby)? */
static void test_roles(void **state)
{
	static const struct {
		enum session_attrs attrs;
		const char *roles, *states;
		int want;
	} cases[] = {
		{ATTRS_READ_WRITE, "sp", "u", 1},     {ATTRS_READ_WRITE, "ss", "u", PICK_NONE},
		{ATTRS_PRIMARY, "ssp", "u", 2},	      {ATTRS_PRIMARY, "ssp", "uud", PICK_NONE},
		{ATTRS_PRIMARY, "ssp", "uup", 2},     {ATTRS_PRIMARY, "?", "u", PICK_NONE},
		{ATTRS_STANDBY, "ps", "u", 1},	      {ATTRS_STANDBY, "p", "u", PICK_NONE},
		{ATTRS_READ_ONLY, "ps", "u", 1},      {ATTRS_READ_ONLY, "p", "u", PICK_NONE},
		{ATTRS_PREFER_STANDBY, "ps", "u", 1}, {ATTRS_PREFER_STANDBY, "p", "u", 0},
		{ATTRS_PREFER_STANDBY, "ps", "ud", 0}, {ATTRS_ANY, "?", "u", 0},
	};
	enum balance how;
	size_t i;
	uint64_t rnd;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		for (how = BALANCE_LEASTCONN; how <= BALANCE_DISABLE; how++)
			for (rnd = 0; rnd < 6; rnd++) {
				size_t n = strlen(cases[i].roles);

				setup(n, cases[i].states, cases[i].roles);
				assert_int_equal(pick(n, cases[i].attrs, how, 0, rnd),
						 cases[i].want);
			}
	/* a primary that only reads */
	setup(2, "u", "p");
	atomic_store(&node[0].read_only, 1);
	assert_int_equal(pick(2, ATTRS_READ_WRITE, BALANCE_DISABLE, 0, 0), 1);
	assert_int_equal(pick(2, ATTRS_READ_ONLY, BALANCE_DISABLE, 0, 0), 0);
	assert_int_equal(pick(2, ATTRS_PRIMARY, BALANCE_DISABLE, 0, 0), 0);
}

/* Only the first 64 have a bit: the others are never thought tried. */
static void test_many(void **state)
{
	(void)state;
	setup(70, "u", "p");
	assert_int_equal(pick(70, ATTRS_ANY, BALANCE_DISABLE, UINT64_MAX, 0), 64);
	assert_int_equal(pick(64, ATTRS_ANY, BALANCE_DISABLE, UINT64_MAX, 0), PICK_NONE);
	assert_int_equal(pick(64, ATTRS_ANY, BALANCE_DISABLE, UINT64_MAX >> 1, 0), 63);
	assert_int_equal(pick(70, ATTRS_ANY, BALANCE_RANDOM, 0, 69), 69);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),	  cmocka_unit_test(test_disable),
		cmocka_unit_test(test_round_robin), cmocka_unit_test(test_random),
		cmocka_unit_test(test_leastconn), cmocka_unit_test(test_states),
		cmocka_unit_test(test_roles),	  cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
