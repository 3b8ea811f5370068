/* tests/unit/test_target.c - health/target: every state against every result,
 * rows of results, who hangs, every state and role against every attrs, shares,
 * and the registry.
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
#include <cmocka.h>
#include <netinet/in.h>

#include "health/target.h"

/* A check's result, or what a worker saw. */
enum result {
	GOOD = 0,
	LOST,
	SILENT,
	HARD,
	DRAIN,
	WANTED,
	SLOW,
	SAW_BAD,
	SAW_HARD,
	SAW_DRAIN,
	SAW_PRIMARY,
	SAW_STANDBY,
	RESULT_N
};

#define NOW 1000000u

static const struct target_facts primary = {.role = ROLE_PRIMARY, .took_us = 7, .now_us = NOW};

static bool feed(struct target *t, const struct target_rule *r, enum result res)
{
	if (res == GOOD)
		return target_probe_good(t, r, &primary);
	if (res < WANTED)
		return target_probe_bad(t, r, (enum target_bad)(BAD_LOST + (res - LOST)));
	assert_true(res < RESULT_N);
	return target_seen(t, r, (enum target_seen)(SEEN_WANTED + (res - WANTED)));
}

static bool counts_as_failure(enum target_state s, enum result res)
{
	if (res == SAW_DRAIN)
		return s != TARGET_DOWN;
	return (res >= LOST && res <= DRAIN) || res == SAW_BAD || res == SAW_HARD;
}

/* From each state with no history, one result, rise = fall = 3. */
static void one_result(void **unused)
{
	enum { UNK = TARGET_UNKNOWN, UP, PROB, DRAINS, DOWN };
	static const int next[TARGET_STATE_N][RESULT_N] = {
		/*         GOOD   LOST   SILENT HARD  DRAIN   WANTED SLOW   BAD    HARD  DRAIN   role */
		[UNK] =    {UP,   PROB,  PROB,  DOWN, DRAINS, UNK,   PROB,  PROB,  DOWN, DRAINS, UNK, UNK},
		[UP] =     {UP,   PROB,  PROB,  DOWN, DRAINS, UP,    PROB,  PROB,  DOWN, DRAINS, UP, UP},
		[PROB] =   {UP,   PROB,  PROB,  DOWN, DRAINS, PROB,  PROB,  PROB,  DOWN, DRAINS, PROB, PROB},
		[DRAINS] = {DRAINS, DRAINS, DRAINS, DOWN, DRAINS, DRAINS, DRAINS, DRAINS, DOWN, DRAINS,
			    DRAINS, DRAINS},
		[DOWN] =   {DOWN, DOWN,  DOWN,  DOWN, DRAINS, DOWN,  DOWN,  DOWN,  DOWN, DOWN, DOWN, DOWN},
	};
	const struct target_rule r = {.rise = 3, .fall = 3};

	(void)unused;
	assert_int_equal(DOWN, TARGET_DOWN);
	assert_int_equal(DRAINS, TARGET_DRAINING);
	for (int s = 0; s < TARGET_STATE_N; s++) {
		for (int i = 0; i < RESULT_N; i++) {
			struct target t = {.state = s, .role = ROLE_PRIMARY};
			bool news = next[s][i] != s || i == SAW_STANDBY;

			assert_int_equal(feed(&t, &r, (enum result)i), news);
			assert_int_equal(t.state, next[s][i]);
			assert_int_equal(t.fails_total,
					 counts_as_failure((enum target_state)s, (enum result)i));
			assert_int_equal(t.role, i == SAW_STANDBY ? ROLE_STANDBY : ROLE_PRIMARY);
			assert_int_equal(t.read_only, i == SAW_STANDBY);
			assert_int_equal(t.hung, 0);
			assert_int_equal(t.probe_us, i == GOOD ? 7 : 0);
			/* with rise = 3 nothing has come back yet */
			assert_int_equal(t.up_since_us, 0);
		}
	}
}

/* With fall = 1 and rise = 1 one result is a row. */
static void rows_of_one(void **unused)
{
	const struct target_rule r = {.rise = 1, .fall = 1};

	(void)unused;
	for (int s = 0; s < TARGET_STATE_N; s++) {
		for (int i = GOOD; i <= DRAIN; i++) {
			struct target t = {.state = s, .role = ROLE_PRIMARY};
			int want = i == GOOD ? TARGET_UP : i == DRAIN ? TARGET_DRAINING : TARGET_DOWN;
			bool away = s == TARGET_DRAINING || s == TARGET_DOWN;

			(void)feed(&t, &r, (enum result)i);
			assert_int_equal(t.state, want);
			assert_int_equal(t.hung, i == SILENT);
			assert_int_equal(t.up_since_us, i == GOOD && away ? NOW : 0);
		}
	}
}

/* The last result of a row and what it must lead to; fall and rise from 1 on. */
static void rows_of_results(void **unused)
{
	(void)unused;
	for (unsigned n = 1; n <= 5; n++) {
		const struct target_rule r = {.rise = n, .fall = n};

		for (int from = TARGET_UNKNOWN; from < TARGET_DOWN; from++) {
			struct target t = {.state = from};

			for (unsigned i = 1; i < n; i++) {
				feed(&t, &r, i % 2 ? LOST : SILENT);
				assert_int_equal(t.state, from == TARGET_DRAINING ? TARGET_DRAINING :
										    TARGET_PROBATION);
			}
			assert_true(feed(&t, &r, LOST));
			assert_int_equal(t.state, TARGET_DOWN);
			assert_false(feed(&t, &r, LOST));
			for (unsigned i = 1; i < n; i++) {
				feed(&t, &r, GOOD);
				assert_int_equal(t.state, TARGET_DOWN);
				assert_int_equal(t.up_since_us, 0);
			}
			assert_true(feed(&t, &r, GOOD));
			assert_int_equal(t.state, TARGET_UP);
			assert_int_equal(t.up_since_us, NOW);
			assert_false(feed(&t, &r, GOOD));
		}
	}
}

static void a_row_must_be_unbroken(void **unused)
{
	const struct target_rule r = {.rise = 2, .fall = 3};
	struct target t = {.state = TARGET_UP, .role = ROLE_PRIMARY};

	(void)unused;
	feed(&t, &r, LOST);
	feed(&t, &r, LOST);
	assert_true(feed(&t, &r, GOOD));
	assert_int_equal(t.state, TARGET_UP);
	feed(&t, &r, LOST);
	feed(&t, &r, LOST);
	assert_int_equal(t.state, TARGET_PROBATION);
	feed(&t, &r, LOST);
	assert_int_equal(t.state, TARGET_DOWN);
	feed(&t, &r, GOOD);
	feed(&t, &r, SAW_BAD); /* breaks the row of good ones */
	feed(&t, &r, GOOD);
	assert_int_equal(t.state, TARGET_DOWN);
	feed(&t, &r, GOOD);
	assert_int_equal(t.state, TARGET_UP);
}

static void what_workers_see_needs_a_probe(void **unused)
{
	(void)unused;
	for (unsigned fall = 1; fall <= 4; fall++) {
		const struct target_rule r = {.rise = 1, .fall = fall};
		struct target t = {.state = TARGET_UP};

		for (int i = 0; i < 100; i++)
			feed(&t, &r, SAW_BAD);
		assert_int_equal(t.state, TARGET_PROBATION);
		assert_int_equal(t.fails_total, 100);
		assert_true(feed(&t, &r, LOST));
		assert_int_equal(t.state, TARGET_DOWN);
	}
	/* and counts like one: one seen and two probed make fall = 3 */
	{
		const struct target_rule r = {.rise = 1, .fall = 3};
		struct target t = {.state = TARGET_UP};

		feed(&t, &r, SAW_BAD);
		feed(&t, &r, LOST);
		assert_int_equal(t.state, TARGET_PROBATION);
		feed(&t, &r, LOST);
		assert_int_equal(t.state, TARGET_DOWN);
	}
	/* that a dial is slow, or a node wanted, counts for nothing */
	{
		const struct target_rule r = {.rise = 1, .fall = 2};
		struct target t = {.state = TARGET_UP};

		for (int i = 0; i < 100; i++)
			feed(&t, &r, i % 2 ? SLOW : WANTED);
		assert_int_equal(t.state, TARGET_PROBATION);
		feed(&t, &r, LOST);
		assert_int_equal(t.state, TARGET_PROBATION);
		feed(&t, &r, LOST);
		assert_int_equal(t.state, TARGET_DOWN);
	}
}

static void draining(void **unused)
{
	const struct target_rule r = {.rise = 2, .fall = 3};
	struct target t = {.state = TARGET_UP, .role = ROLE_PRIMARY};

	(void)unused;
	/* as often as it likes: it answers, so it never counts as gone */
	assert_true(feed(&t, &r, DRAIN));
	for (int i = 0; i < 10; i++) {
		assert_false(feed(&t, &r, LOST));
		assert_false(feed(&t, &r, SILENT));
		assert_false(feed(&t, &r, DRAIN));
	}
	assert_int_equal(t.state, TARGET_DRAINING);
	/* and one good answer is not its return */
	assert_false(feed(&t, &r, GOOD));
	assert_false(feed(&t, &r, DRAIN));
	assert_false(feed(&t, &r, GOOD));
	assert_int_equal(t.state, TARGET_DRAINING);
	assert_true(feed(&t, &r, GOOD));
	assert_int_equal(t.state, TARGET_UP);
	assert_int_equal(t.up_since_us, NOW);
	/* it goes */
	feed(&t, &r, SAW_DRAIN);
	feed(&t, &r, LOST);
	feed(&t, &r, LOST);
	assert_int_equal(t.state, TARGET_DRAINING);
	assert_true(feed(&t, &r, SILENT));
	assert_int_equal(t.state, TARGET_DOWN);
	/* a connection that tells of it late does not make it better; a check does */
	assert_false(feed(&t, &r, SAW_DRAIN));
	assert_int_equal(t.state, TARGET_DOWN);
	assert_true(feed(&t, &r, DRAIN));
	assert_int_equal(t.state, TARGET_DRAINING);
	assert_true(feed(&t, &r, SAW_HARD));
	assert_int_equal(t.state, TARGET_DOWN);
}

static void hangs(void **unused)
{
	static const enum result answers[] = {GOOD, LOST, HARD, DRAIN};
	const struct target_rule r = {.rise = 3, .fall = 3};

	(void)unused;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct target t = {.state = TARGET_UP};

		feed(&t, &r, SILENT);
		feed(&t, &r, SILENT);
		assert_int_equal(t.hung, 0);
		assert_true(feed(&t, &r, SILENT));
		assert_int_equal(t.state, TARGET_DOWN);
		assert_int_equal(t.hung, 1);
		assert_false(feed(&t, &r, SILENT));
		/* what workers see of it ends nothing */
		assert_false(feed(&t, &r, SAW_BAD));
		assert_false(feed(&t, &r, SAW_HARD));
		assert_int_equal(t.hung, 1);
		assert_true(feed(&t, &r, answers[i]));
		assert_int_equal(t.hung, 0);
		/* from the beginning again */
		feed(&t, &r, SILENT);
		feed(&t, &r, SILENT);
		assert_int_equal(t.hung, 0);
		feed(&t, &r, SILENT);
		assert_int_equal(t.hung, t.state == TARGET_DOWN);
		assert_int_equal(t.state, TARGET_DOWN);
	}
	/* down for another reason: silence must last on its own */
	{
		struct target t = {.state = TARGET_UP};

		feed(&t, &r, LOST);
		feed(&t, &r, LOST);
		feed(&t, &r, SILENT);
		assert_int_equal(t.state, TARGET_DOWN);
		assert_int_equal(t.hung, 0);
		feed(&t, &r, SILENT);
		assert_int_equal(t.hung, 0);
		assert_true(feed(&t, &r, SILENT));
		assert_int_equal(t.hung, 1);
	}
}

static void good_results_bring_news(void **unused)
{
	const struct target_rule r = {.rise = 1, .fall = 1};
	struct target t = {.state = TARGET_UP};
	struct target_facts f = {.role = ROLE_PRIMARY, .took_us = 100, .now_us = NOW};

	(void)unused;
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.probe_us, 100);
	f.took_us = 200;
	assert_false(target_probe_good(&t, &r, &f));
	assert_int_equal(t.probe_us, 200);
	f.read_only = true;
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.read_only, 1);
	f = (struct target_facts){.role = ROLE_STANDBY, .lag_us = 5, .took_us = 100};
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.role, ROLE_STANDBY);
	/* a standby is read-only whatever it says */
	assert_int_equal(t.read_only, 1);
	/* how far it is behind is no news, that it is too far is */
	assert_int_equal(t.lag_us, 5);
	f.lag_us = 6;
	assert_false(target_probe_good(&t, &r, &f));
	assert_int_equal(t.lag_us, 6);
	f.lagging = true;
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.lagging, 1);
	f.lagging = false;
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.lagging, 0);
	f = (struct target_facts){.role = ROLE_PRIMARY, .took_us = 100};
	assert_true(target_probe_good(&t, &r, &f));
	assert_int_equal(t.read_only, 0);
	/* the role outlives the fall */
	assert_true(target_probe_bad(&t, &r, BAD_HARD));
	assert_int_equal(t.role, ROLE_PRIMARY);
	assert_int_equal(t.probe_us, 100);
}

/* A good check ends the pause between dials, once the node is up. */
static void good_results_end_pauses(void **unused)
{
	const struct target_rule r = {.rise = 2, .fall = 1};
	struct target t = {.state = TARGET_DOWN, .dial_fails = 3, .dial_after_us = 99};

	(void)unused;
	feed(&t, &r, GOOD);
	assert_int_equal(t.dial_fails, 3);
	assert_int_equal(t.dial_after_us, 99);
	feed(&t, &r, GOOD);
	assert_int_equal(t.state, TARGET_UP);
	assert_int_equal(t.dial_fails, 0);
	assert_int_equal(t.dial_after_us, 0);
}

static void the_operators_word(void **unused)
{
	const struct target_rule r = {.rise = 1, .fall = 1};
	struct target t = {.state = TARGET_UP, .role = ROLE_PRIMARY};

	(void)unused;
	assert_string_equal(target_shown(&t), "up");
	assert_true(target_exclude(&t, true, 5));
	assert_false(target_exclude(&t, true, 6));
	assert_int_equal(t.up_since_us, 0);
	assert_string_equal(target_shown(&t), "excluded");
	/* checks go on below, and change nothing of it */
	assert_true(feed(&t, &r, HARD));
	assert_int_equal(t.state, TARGET_DOWN);
	assert_string_equal(target_shown(&t), "excluded");
	assert_int_equal(target_suits(&t, ATTRS_ANY), SUIT_NO);
	assert_true(feed(&t, &r, GOOD));
	assert_int_equal(target_suits(&t, ATTRS_ANY), SUIT_NO);
	/* back: little by little */
	assert_true(target_exclude(&t, false, 7));
	assert_false(target_exclude(&t, false, 8));
	assert_int_equal(t.up_since_us, 7);
	assert_string_equal(target_shown(&t), "up");
	assert_int_equal(target_suits(&t, ATTRS_ANY), SUIT_FULL);
}

/* How well a role fits: 2 the very thing, 1 will do. */
static const struct {
	enum target_role role;
	int read_only;
	int fits[6]; /* any, read-write, read-only, primary, standby, prefer-standby */
} roles[] = {
	{ROLE_UNKNOWN, 0, {2, 0, 0, 0, 0, 0}}, {ROLE_UNKNOWN, 1, {2, 0, 0, 0, 0, 0}},
	{ROLE_PRIMARY, 0, {2, 2, 0, 2, 0, 1}}, {ROLE_PRIMARY, 1, {2, 0, 2, 2, 0, 1}},
	{ROLE_STANDBY, 1, {2, 0, 2, 0, 2, 2}},
};

/* Every state, role, wish, lagging or not, excluded or not. */
static void states_against_attrs(void **unused)
{
	static const enum target_suit best[TARGET_STATE_N] = {
		[TARGET_UNKNOWN] = SUIT_FULL,	 [TARGET_UP] = SUIT_FULL,
		[TARGET_PROBATION] = SUIT_DOUBT, [TARGET_DRAINING] = SUIT_PANIC,
		[TARGET_DOWN] = SUIT_PANIC,
	};

	(void)unused;
	for (unsigned i = 0; i < 4 * TARGET_STATE_N * sizeof(roles) / sizeof(roles[0]); i++) {
		size_t k = i / 4 / TARGET_STATE_N;
		int state = (int)(i / 4 % TARGET_STATE_N);
		struct target t = {.role = (int)roles[k].role, .read_only = roles[k].read_only,
				   .state = state, .lagging = i & 1, .excluded = i >> 1 & 1};

		for (int a = ATTRS_ANY; a <= ATTRS_PREFER_STANDBY; a++) {
			enum session_attrs attrs = (enum session_attrs)a;
			int fit = roles[k].fits[a];
			enum target_suit want = best[state];

			if (fit == 1 && want == SUIT_FULL)
				want = SUIT_DOUBT;
			if (t.lagging && t.role == ROLE_STANDBY)
				want = SUIT_PANIC;
			if (!fit || t.excluded)
				want = SUIT_NO;
			assert_int_equal(target_suits(&t, attrs), want);
			assert_int_equal(target_role_suits(&t, attrs), fit && !t.excluded);
		}
	}
}

static void shares(void **unused)
{
	struct target t = {.up_since_us = 0};

	(void)unused;
	/* never away */
	assert_int_equal(target_share(&t, 0, 1000), 1000);
	assert_int_equal(target_share(&t, UINT64_MAX, 1000), 1000);
	t.up_since_us = 5000000;
	assert_int_equal(target_share(&t, 5000000, 0), 1000);
	assert_int_equal(target_share(&t, 5000000, 10000000), 100);
	assert_int_equal(target_share(&t, 5999999, 10000000), 100);
	assert_int_equal(target_share(&t, 7000000, 10000000), 200);
	assert_int_equal(target_share(&t, 10000000, 10000000), 500);
	assert_int_equal(target_share(&t, 14999999, 10000000), 999);
	assert_int_equal(target_share(&t, 15000000, 10000000), 1000);
	/* a worker's clock may be a turn behind the control loop's */
	assert_int_equal(target_share(&t, 4999999, 10000000), 100);
	assert_int_equal(target_share(&t, 4999999, 0), 1000);
}

static struct addr inet(const char *ip, int port)
{
	struct addr a = {.host = (char *)"h", .name = (char *)"n", .port = port};
	struct sockaddr_in *in = (struct sockaddr_in *)&a.sock.any;

	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)port);
	assert_int_equal(inet_pton(AF_INET, ip, &in->sin_addr), 1);
	a.sock_len = sizeof(*in);
	return a;
}

static struct addr inet6(const char *ip, int port, uint32_t scope, uint32_t flow)
{
	struct addr a = {.host = (char *)"h", .name = (char *)"n", .port = port};
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a.sock.any;

	in->sin6_family = AF_INET6;
	in->sin6_port = htons((uint16_t)port);
	in->sin6_scope_id = scope;
	in->sin6_flowinfo = flow;
	assert_int_equal(inet_pton(AF_INET6, ip, &in->sin6_addr), 1);
	a.sock_len = sizeof(*in);
	return a;
}

/* garbage: what stands behind the path's end. */
static struct addr local(const char *path, size_t len, size_t extra, char garbage)
{
	struct addr a = {.host = (char *)"h", .name = (char *)"n", .port = 5432};

	a.sock.un.sun_family = AF_UNIX;
	memset(a.sock.un.sun_path, garbage, sizeof(a.sock.un.sun_path));
	memcpy(a.sock.un.sun_path, path, len);
	if (path[0])
		a.sock.un.sun_path[len] = '\0';
	a.sock_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + extra);
	return a;
}

/* Equal addresses stand side by side: 2i and 2i + 1. */
static void addresses(void **unused)
{
	struct addr list[] = {
		inet("127.0.0.1", 5432),          inet("127.0.0.1", 5432),
		inet("127.0.0.1", 5433),          inet("127.0.0.1", 5433),
		inet("127.0.0.2", 5432),          inet("127.0.0.2", 5432),
		inet6("::1", 5432, 0, 0),         inet6("::1", 5432, 0, 9),
		inet6("::1", 5433, 0, 0),         inet6("::1", 5433, 0, 0),
		inet6("fe80::1", 5432, 1, 0),     inet6("fe80::1", 5432, 1, 0),
		inet6("fe80::1", 5432, 2, 0),     inet6("fe80::1", 5432, 2, 0),
		local("/a/.s.PGSQL.1", 13, 1, 0), local("/a/.s.PGSQL.1", 13, 60, 'x'),
		local("/a/.s.PGSQL.2", 13, 1, 0), local("/a/.s.PGSQL.2", 13, 0, 'x'),
		local("/b/.s.PGSQL.1", 13, 1, 0), local("/b/.s.PGSQL.1", 13, 1, 0),
		local("\0ab", 3, 0, 0),           local("\0ab", 3, 0, 'x'),
		local("\0abc", 4, 0, 0),          local("\0abc", 4, 0, 'x'),
	};
	size_t n = sizeof(list) / sizeof(list[0]);
	struct target *got[sizeof(list) / sizeof(list[0])];
	struct targets ts = {0};
	size_t i = 0;

	(void)unused;
	for (i = 0; i < n; i++) {
		got[i] = targets_get(&ts, &list[i]);
		assert_non_null(got[i]);
	}
	for (i = 0; i < n; i++) {
		for (size_t j = 0; j < n; j++)
			assert_int_equal(got[i] == got[j], i / 2 == j / 2);
	}
	/* in the order in which they were asked for first */
	i = 0;
	for (struct target *t = ts.head; t; t = t->next, i += 2)
		assert_ptr_equal(t, got[i]);
	assert_int_equal(i, n);
	for (i = 0; i < n; i++)
		targets_put(&ts, got[i]);
	assert_null(ts.head);
}

static void references(void **unused)
{
	struct addr a = inet("10.0.0.1", 5432), b = inet("10.0.0.2", 5432);
	struct addr c = inet("10.0.0.3", 5432);
	struct targets ts = {0};
	struct target *ta, *tb, *tc;

	(void)unused;
	a.name = NULL; /* half an address is kept as it is */
	a.host = NULL;
	ta = targets_get(&ts, &a);
	tb = targets_get(&ts, &b);
	tc = targets_get(&ts, &c);
	assert_int_equal(tb->refs, 1);
	assert_int_equal(tb->state, TARGET_UNKNOWN);
	assert_null(ta->addr.name);
	/* its own copy */
	assert_ptr_not_equal(tb->addr.name, b.name);
	assert_string_equal(tb->addr.name, "n");
	assert_string_equal(tb->addr.host, "h");

	/* what is known stays as long as one wants it */
	tb->state = TARGET_DOWN;
	assert_ptr_equal(targets_get(&ts, &b), tb);
	assert_int_equal(tb->refs, 2);
	targets_put(&ts, tb);
	assert_ptr_equal(targets_get(&ts, &b), tb);
	assert_int_equal(tb->state, TARGET_DOWN);
	targets_put(&ts, tb);
	targets_put(&ts, tb);
	/* taken out of the middle */
	assert_ptr_equal(ts.head, ta);
	assert_ptr_equal(ta->next, tc);
	targets_put(&ts, ta);
	assert_ptr_equal(ts.head, tc);
	tb = targets_get(&ts, &b);
	assert_int_equal(tb->state, TARGET_UNKNOWN);
	assert_ptr_equal(tc->next, tb);
	targets_put(&ts, tb);
	targets_put(&ts, tc);
	targets_put(&ts, NULL);
	assert_null(ts.head);
}

static void names(void **unused)
{
	(void)unused;
#define X(id, name) assert_string_equal(target_state_name(id), name);
	TARGET_STATES(X)
#undef X
	assert_string_equal(target_role_name(ROLE_UNKNOWN), "unknown");
	assert_string_equal(target_role_name(ROLE_PRIMARY), "primary");
	assert_string_equal(target_role_name(ROLE_STANDBY), "standby");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_result),
		cmocka_unit_test(rows_of_one),
		cmocka_unit_test(rows_of_results),
		cmocka_unit_test(a_row_must_be_unbroken),
		cmocka_unit_test(what_workers_see_needs_a_probe),
		cmocka_unit_test(draining),
		cmocka_unit_test(hangs),
		cmocka_unit_test(good_results_bring_news),
		cmocka_unit_test(good_results_end_pauses),
		cmocka_unit_test(the_operators_word),
		cmocka_unit_test(states_against_attrs),
		cmocka_unit_test(shares),
		cmocka_unit_test(addresses),
		cmocka_unit_test(references),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
