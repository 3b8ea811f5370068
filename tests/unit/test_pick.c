/* tests/unit/test_pick.c - which node is dialled: who suits, who is near, what was
 * tried, pauses and limits, and each balance rule with its weights.
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
#define NOW 100000000u
#define NEVER UINT64_MAX

static struct target node[PICK_TRIED];
static struct pick_node all[PICK_TRIED];
static struct pick_turn turn;
static uint64_t rng_state;

/* xorshift: the same numbers in each run. */
static uint64_t rnd(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state >> 3;
}

static enum target_state state_of(char c)
{
	switch (c) {
	case 'u':
		return TARGET_UP;
	case '?':
		return TARGET_UNKNOWN;
	case 'p':
		return TARGET_PROBATION;
	case 'r':
		return TARGET_DRAINING;
	default:
		return TARGET_DOWN;
	}
}

/* A letter for each node, the last one for all that follow. States as above, x:
 * excluded, l: up and lagging; roles p(rimary), s(tandby), ? */
static void setup(size_t n, const char *states, const char *roles)
{
	size_t i;

	memset(node, 0, sizeof(node));
	memset(&turn, 0, sizeof(turn));
	rng_state = 88172645463325252u;
	for (i = 0; i < n; i++) {
		char s = states[i < strlen(states) ? i : strlen(states) - 1];
		char r = roles[i < strlen(roles) ? i : strlen(roles) - 1];

		all[i] = (struct pick_node){&node[i], 1, true, 0};
		node[i].state = (int)state_of(s == 'x' || s == 'l' ? 'u' : s);
		node[i].excluded = s == 'x';
		node[i].lagging = s == 'l';
		node[i].role = r == 'p' ? ROLE_PRIMARY : r == 's' ? ROLE_STANDBY : ROLE_UNKNOWN;
		node[i].read_only = r == 's';
	}
}

static int pick_as(size_t n, const struct pick_rule *r, uint64_t tried, uint64_t *when)
{
	return pick_node(all, n, r, tried, NOW, rnd(), &turn, when);
}

static int pick(size_t n, enum session_attrs attrs, enum balance how, uint64_t tried)
{
	const struct pick_rule r = {.attrs = attrs, .how = how};
	uint64_t when;

	return pick_as(n, &r, tried, &when);
}

/* Who would be chosen, as a bit mask: asked so often that all are seen. */
static uint64_t chosen(size_t n, const struct pick_rule *r, uint64_t tried)
{
	uint64_t seen = 0, when;
	unsigned i;

	for (i = 0; i < 200; i++) {
		int k = pick_as(n, r, tried, &when);

		if (k != PICK_NONE)
			seen |= (uint64_t)1 << k;
	}
	return seen;
}

#define EACH_RULE(how) for ((how) = BALANCE_LEASTCONN; (how) <= BALANCE_DISABLE; (how)++)

static void test_nothing(void **state)
{
	enum balance how;

	(void)state;
	EACH_RULE (how) {
		setup(0, "u", "p");
		assert_int_equal(pick(0, ATTRS_ANY, how, 0), PICK_NONE);
		setup(3, "x", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 0), PICK_NONE);
		setup(3, "u", "s");
		assert_int_equal(pick(3, ATTRS_PRIMARY, how, 0), PICK_NONE);
		setup(3, "u", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 7), PICK_NONE);
		setup(3, "d", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 7), PICK_NONE);
	}
}

/* In the order written, down ones left out. */
static void test_disable(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 20; i++) {
		setup(N, "u", "p");
		all[0].weight = 1;
		all[1].weight = 100;
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 0), 0);
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 1), 1);
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 1 | 2 | 8), 2);
		setup(N, "ddu", "p");
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_DISABLE, 0), 2);
	}
}

/* Classes of nodes: up, then in doubt, and the others only when all that suit are
 * out; which of them, with the most connections or without any, is no matter. */
static void test_states(void **state)
{
	static const struct {
		const char *states;
		uint64_t want;
	} cases[] = {
		{"u", 1}, {"?", 1}, {"p", 1}, {"d", 1}, {"r", 1}, {"x", 0},
		{"pu", 2}, {"p?", 2}, {"u?", 3}, {"dpu", 4}, {"dp", 2}, {"ddpd", 4},
		{"pdpdu", 16}, {"rp", 2}, {"ru", 2}, {"dr", 3}, {"ddd", 7}, {"dxr", 5},
		{"xu", 2}, {"xp", 2}, {"xd", 2}, {"drp", 4},
	};
	enum balance how;
	size_t i, k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		EACH_RULE (how) {
			const struct pick_rule r = {.attrs = ATTRS_ANY, .how = how};
			size_t n = strlen(cases[i].states);
			uint64_t want = cases[i].want;

			setup(n, cases[i].states, "p");
			for (k = 0; k < n; k++)
				node[k].conns = want >> k & 1 ? 100 : 0;
			if (how == BALANCE_DISABLE)
				want &= ~want + 1; /* the first of them */
			assert_true(chosen(n, &r, 0) == want);
		}
	/* lagging is as bad as down, of a standby */
	setup(3, "lud", "s");
	assert_int_equal(pick(3, ATTRS_ANY, BALANCE_DISABLE, 0), 1);
	assert_int_equal(pick(3, ATTRS_ANY, BALANCE_DISABLE, 2), PICK_NONE);
	setup(2, "ld", "s");
	assert_int_equal(pick(2, ATTRS_ANY, BALANCE_DISABLE, 0), 0);
	assert_int_equal(pick(2, ATTRS_ANY, BALANCE_DISABLE, 1), 1);
	setup(2, "lu", "p");
	assert_int_equal(pick(2, ATTRS_ANY, BALANCE_DISABLE, 0), 0);
}

static void test_best(void **state)
{
	static const struct {
		const char *states, *roles;
		enum session_attrs attrs;
		enum target_suit best;
	} cases[] = {
		{"du", "p", ATTRS_ANY, SUIT_FULL},	  {"dp", "p", ATTRS_ANY, SUIT_DOUBT},
		{"dr", "p", ATTRS_ANY, SUIT_PANIC},	  {"xx", "p", ATTRS_ANY, SUIT_NO},
		{"ll", "s", ATTRS_ANY, SUIT_PANIC},	  {"du", "ps", ATTRS_PRIMARY, SUIT_PANIC},
		{"uu", "s", ATTRS_PRIMARY, SUIT_NO},	  {"ud", "ps", ATTRS_PREFER_STANDBY, SUIT_DOUBT},
		{"uu", "?", ATTRS_READ_WRITE, SUIT_NO},	  {"xd", "p", ATTRS_ANY, SUIT_PANIC},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		setup(2, cases[i].states, cases[i].roles);
		assert_int_equal(pick_best(all, 2, cases[i].attrs), cases[i].best);
	}
	assert_int_equal(pick_best(all, 0, ATTRS_ANY), SUIT_NO);
}

/* Where may a session with these wishes go, among p(rimary) and s(tandby)? */
static void test_roles(void **state)
{
	static const struct {
		enum session_attrs attrs;
		const char *roles, *states;
		int want;
	} cases[] = {
		{ATTRS_READ_WRITE, "sp", "u", 1},      {ATTRS_READ_WRITE, "ss", "u", PICK_NONE},
		{ATTRS_PRIMARY, "ssp", "u", 2},	       {ATTRS_PRIMARY, "ssp", "uud", 2},
		{ATTRS_PRIMARY, "ssp", "uup", 2},      {ATTRS_PRIMARY, "ssp", "uux", PICK_NONE},
		{ATTRS_PRIMARY, "?", "u", PICK_NONE},  {ATTRS_STANDBY, "ps", "u", 1},
		{ATTRS_STANDBY, "p", "u", PICK_NONE},  {ATTRS_READ_ONLY, "ps", "u", 1},
		{ATTRS_READ_ONLY, "p", "u", PICK_NONE}, {ATTRS_PREFER_STANDBY, "ps", "u", 1},
		{ATTRS_PREFER_STANDBY, "p", "u", 0},   {ATTRS_PREFER_STANDBY, "ps", "ud", 0},
		{ATTRS_ANY, "?", "u", 0},
	};
	enum balance how;
	size_t i;
	unsigned k;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		EACH_RULE (how) {
			size_t n = strlen(cases[i].roles);

			setup(n, cases[i].states, cases[i].roles);
			for (k = 0; k < 6; k++)
				assert_int_equal(pick(n, cases[i].attrs, how, 0), cases[i].want);
		}
	/* a primary that only reads */
	setup(2, "u", "p");
	node[0].read_only = 1;
	assert_int_equal(pick(2, ATTRS_READ_WRITE, BALANCE_DISABLE, 0), 1);
	assert_int_equal(pick(2, ATTRS_READ_ONLY, BALANCE_DISABLE, 0), 0);
	assert_int_equal(pick(2, ATTRS_PRIMARY, BALANCE_DISABLE, 0), 0);
}

/* Near ones first, whatever weighs or is free elsewhere; far ones when the near
 * are worse, tried, paused or full. */
static void test_near(void **state)
{
	const struct dial_limits two = {2, 0};
	enum balance how;

	(void)state;
	EACH_RULE (how) {
		struct pick_rule r = {.attrs = ATTRS_ANY, .how = how};
		uint64_t far = how == BALANCE_DISABLE ? 1 : 3, when;

		setup(4, "u", "p");
		all[0].near = all[1].near = false;
		all[0].weight = 100;
		node[2].conns = node[3].conns = 50;
		assert_true(chosen(4, &r, 0) == (how == BALANCE_DISABLE ? 4 : 12));
		assert_true(chosen(4, &r, 4) == 8);
		if (how != BALANCE_LEASTCONN) /* the weight outdoes 50 connections */
			assert_true(chosen(4, &r, 12) == far);
		node[2].dial_after_us = NOW + 5;
		assert_true(chosen(4, &r, 0) == 8);
		assert_int_equal(pick_as(4, &r, 8, &when) < 2, 1);
		r.limits = two;
		assert_true((chosen(4, &r, 0) & ~far) == 0);
		/* doubt is worse than far, panic too */
		setup(4, "uupp", "p");
		all[0].near = all[1].near = false;
		assert_true((chosen(4, &r, 0) & ~far) == 0);
		setup(4, "uurd", "p");
		all[0].near = all[1].near = false;
		assert_true((chosen(4, &r, 0) & ~far) == 0);
		/* of those in doubt, the near; and when all are out */
		setup(3, "p", "p");
		all[0].near = false;
		all[1].near = false;
		assert_true(chosen(3, &r, 0) == 4);
		setup(3, "drd", "p");
		all[0].near = false;
		all[1].near = false;
		assert_true(chosen(3, &r, 0) == 4);
	}
}

/* Pauses, limits, and when it is worth to look again. */
static void test_when(void **state)
{
	enum balance how;

	(void)state;
	EACH_RULE (how) {
		struct pick_rule r = {.attrs = ATTRS_ANY, .how = how, .limits = {4, 1}};
		uint64_t when = 0;

		setup(4, "uuux", "p");
		node[0].dial_after_us = NOW + 30;
		node[1].dial_after_us = NOW + 20;
		node[2].dial_after_us = NOW + 40;
		node[3].dial_after_us = NOW + 10;
		assert_int_equal(pick_as(4, &r, 0, &when), PICK_NONE);
		assert_true(when == NOW + 20);
		assert_int_equal(pick_as(4, &r, 2, &when), PICK_NONE);
		assert_true(when == NOW + 30);
		assert_int_equal(pick_as(4, &r, 7, &when), PICK_NONE);
		assert_true(when == NEVER);
		/* a node that is out does not come in while another only waits */
		node[0].state = TARGET_DOWN;
		node[0].dial_after_us = 0;
		assert_int_equal(pick_as(4, &r, 0, &when), PICK_NONE);
		assert_true(when == NOW + 20);
		/* full: who makes room tells */
		setup(2, "u", "p");
		node[0].conns = 4;
		node[1].dialling = 1;
		assert_int_equal(pick_as(2, &r, 0, &when), PICK_NONE);
		assert_true(when == NEVER);
		assert_true(node[0].dial_wanted && node[1].dial_wanted);
		r.limits.logins = 2;
		assert_int_equal(pick_as(2, &r, 0, &when), 1);
		/* one that failed has one login at a time */
		node[1].dial_fails = 1;
		assert_int_equal(pick_as(2, &r, 0, &when), PICK_NONE);
		node[1].dialling = 0;
		assert_int_equal(pick_as(2, &r, 0, &when), 1);
	}
}

/* The one with fewer for its weight; among equals the heavier. */
static void test_leastconn(void **state)
{
	static const struct {
		int conns[3];
		unsigned weight[3];
		uint64_t want;
	} cases[] = {
		{{5, 3, 4}, {1, 1, 1}, 2},   {{2, 2, 2}, {1, 1, 1}, 7},  {{2, 2, 3}, {1, 1, 1}, 3},
		{{3, 1, 9}, {2, 1, 1}, 2},   {{2, 1, 9}, {2, 1, 1}, 1},  {{4, 1, 9}, {2, 1, 1}, 2},
		{{0, 0, 0}, {1, 1, 100}, 4}, {{0, 0, 99}, {1, 1, 100}, 3}, {{0, 0, 100}, {1, 1, 100}, 3},
	};
	const struct pick_rule r = {.attrs = ATTRS_ANY, .how = BALANCE_LEASTCONN};
	unsigned hits[3] = {0}, i, k;
	uint64_t when;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		setup(3, "u", "p");
		for (k = 0; k < 3; k++) {
			node[k].conns = cases[i].conns[k];
			all[k].weight = cases[i].weight[k];
		}
		assert_true(chosen(3, &r, 0) == cases[i].want);
	}
	/* among equals, by chance */
	setup(3, "u", "p");
	for (i = 0; i < 3000; i++)
		hits[pick_as(3, &r, 0, &when)]++;
	for (k = 0; k < 3; k++)
		assert_in_range(hits[k], 800, 1200);
	/* filled one by one, they end in the proportion of their weights */
	setup(3, "u", "p");
	all[0].weight = 5;
	all[1].weight = 3;
	all[2].weight = 2;
	for (i = 0; i < 100; i++)
		node[pick_as(3, &r, 0, &when)].conns++;
	assert_in_range(node[0].conns, 49, 51);
	assert_in_range(node[1].conns, 29, 31);
	assert_in_range(node[2].conns, 19, 21);
}

static void test_round_robin(void **state)
{
	struct pick_turn before;
	unsigned i, start;

	(void)state;
	/* strictly in turn, wherever it begins */
	for (start = 0; start < 2 * N; start++) {
		setup(N, "u", "p");
		turn.start = start;
		for (i = 0; i < 4 * N; i++)
			assert_int_equal(pick(N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0), (start + i) % N);
	}
	/* one is down: the others in turn */
	setup(N, "uuduu", "p");
	turn.start = 1;
	for (i = 0; i < 8; i++)
		assert_int_equal(pick(N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0), "13401340"[i] - '0');
	/* nothing found moves nothing, and neither do the other rules */
	before = turn;
	assert_int_equal(pick(N, ATTRS_ANY, BALANCE_ROUND_ROBIN, 31), PICK_NONE);
	(void)pick(N, ATTRS_ANY, BALANCE_RANDOM, 0);
	(void)pick(N, ATTRS_ANY, BALANCE_LEASTCONN, 0);
	(void)pick(N, ATTRS_ANY, BALANCE_DISABLE, 0);
	assert_memory_equal(&turn, &before, sizeof(turn));
	/* smooth: the heavy one never twice too often in a row */
	setup(3, "u", "p");
	all[0].weight = 5;
	for (i = 0; i < 14; i++)
		assert_int_equal(pick(3, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0), "00102000010200"[i] - '0');
}

/* Whoever comes and goes: over many turns each has its share. */
static void test_round_robin_shares(void **state)
{
	unsigned hits[4] = {0}, i;

	(void)state;
	setup(4, "u", "p");
	for (i = 0; i < 4; i++)
		all[i].weight = i + 1;
	turn.start = 2;
	for (i = 0; i < 1000; i++)
		hits[pick(4, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0)]++;
	for (i = 0; i < 4; i++)
		assert_int_equal(hits[i], 100 * (i + 1));
	/* the last one is away now and then */
	memset(hits, 0, sizeof(hits));
	for (i = 0; i < 1000; i++) {
		node[3].state = i / 7 % 2 ? TARGET_DOWN : TARGET_UP;
		hits[pick(4, ATTRS_ANY, BALANCE_ROUND_ROBIN, 0)]++;
	}
	assert_in_range(hits[0], 123, 143);
	assert_in_range(hits[1], 256, 276);
	assert_in_range(hits[2], 389, 409);
	assert_in_range(hits[3], 191, 211);
}

static void test_random(void **state)
{
	const struct pick_rule r = {.attrs = ATTRS_ANY, .how = BALANCE_RANDOM};
	unsigned hits[N] = {0}, i;
	uint64_t when;

	(void)state;
	setup(N, "uuuud", "p");
	all[1].weight = 2;
	all[2].weight = 5;
	for (i = 0; i < 9000; i++)
		hits[pick_as(N, &r, 0, &when)]++;
	assert_in_range(hits[0], 900, 1100);
	assert_in_range(hits[1], 1850, 2150);
	assert_in_range(hits[2], 4800, 5200);
	assert_in_range(hits[3], 900, 1100);
	assert_int_equal(hits[4], 0);
}

/* A node that came back has a tenth of its share, and more and more of it. */
static void test_slow_start(void **state)
{
	struct pick_rule r = {.attrs = ATTRS_ANY, .slow_us = 10000000};
	static const struct {
		uint64_t ago;
		unsigned least, most;   /* of 1100 */
	} cases[] = {
		{0, 85, 115}, {1000000, 85, 115}, {5000000, 335, 400}, {10000000, 510, 590},
		{50000000, 510, 590},
	};
	unsigned i, k, hits;
	uint64_t when;

	(void)state;
	for (i = 0; i < COUNT(cases); i++)
		for (k = BALANCE_LEASTCONN; k < BALANCE_DISABLE; k++) {
			setup(2, "u", "p");
			node[1].up_since_us = NOW - cases[i].ago;
			r.how = (enum balance)k;
			for (hits = 0; node[0].conns + node[1].conns < 1100;) {
				int p = pick_as(2, &r, 0, &when);

				node[p].conns++;
				hits += p == 1;
			}
			assert_in_range(hits, cases[i].least, cases[i].most);
		}
	/* the order written knows no shares */
	setup(2, "u", "p");
	node[0].up_since_us = NOW;
	r.how = BALANCE_DISABLE;
	assert_true(chosen(2, &r, 0) == 1);
	/* and slowstart 0 neither */
	r.how = BALANCE_LEASTCONN;
	r.slow_us = 0;
	assert_true(chosen(2, &r, 0) == 3);
}

static void test_tried(void **state)
{
	enum balance how;
	unsigned k;

	(void)state;
	EACH_RULE (how) {
		const struct pick_rule r = {.attrs = ATTRS_ANY, .how = how};

		setup(PICK_TRIED, "u", "p");
		for (k = 0; k < PICK_TRIED; k++)
			assert_int_equal(pick(PICK_TRIED, ATTRS_ANY, how, ~((uint64_t)1 << k)), k);
		assert_int_equal(pick(PICK_TRIED, ATTRS_ANY, how, UINT64_MAX), PICK_NONE);
		assert_true(chosen(3, &r, 2) == (how == BALANCE_DISABLE ? 1 : 5));
		/* what was tried is not made up for by those that are out */
		setup(3, "uud", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 3), PICK_NONE);
		/* but by those in doubt */
		setup(3, "uup", "p");
		assert_int_equal(pick(3, ATTRS_ANY, how, 3), 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),	    cmocka_unit_test(test_disable),
		cmocka_unit_test(test_states),	    cmocka_unit_test(test_best),
		cmocka_unit_test(test_roles),	    cmocka_unit_test(test_near),
		cmocka_unit_test(test_when),	    cmocka_unit_test(test_leastconn),
		cmocka_unit_test(test_round_robin), cmocka_unit_test(test_round_robin_shares),
		cmocka_unit_test(test_random),	    cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
