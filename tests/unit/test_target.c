/* tests/unit/test_target.c - health/target: every transition, every role
 * against every attrs, and the registry.
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

enum result { GOOD = 0, BAD, HARD, SEEN, SEEN_HARD, RESULT_N };

static bool feed(struct target *t, const struct target_rule *r, enum result res)
{
	switch (res) {
	case GOOD:
		return target_probe_good(t, r, ROLE_PRIMARY, false, 7);
	case BAD:
		return target_probe_bad(t, r, false);
	case HARD:
		return target_probe_bad(t, r, true);
	case SEEN:
		return target_seen_bad(t, r, false);
	case SEEN_HARD:
		return target_seen_bad(t, r, true);
	case RESULT_N:
		break;
	}
	fail();
	return false;
}

/* From each state with no history, one result, rise = fall = 3. */
static void one_result(void **unused)
{
	static const enum target_state next[TARGET_STATE_N][RESULT_N] = {
		[TARGET_UNKNOWN] = {TARGET_UP, TARGET_PROBATION, TARGET_DOWN, TARGET_PROBATION,
				    TARGET_DOWN},
		[TARGET_UP] = {TARGET_UP, TARGET_PROBATION, TARGET_DOWN, TARGET_PROBATION,
			       TARGET_DOWN},
		[TARGET_PROBATION] = {TARGET_UP, TARGET_PROBATION, TARGET_DOWN, TARGET_PROBATION,
				      TARGET_DOWN},
		[TARGET_DOWN] = {TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_DOWN},
	};
	const struct target_rule r = {.rise = 3, .fall = 3};

	(void)unused;
	for (int s = 0; s < TARGET_STATE_N; s++) {
		for (int res = 0; res < RESULT_N; res++) {
			struct target t = {.state = s, .role = ROLE_PRIMARY};

			assert_int_equal(feed(&t, &r, (enum result)res), (int)next[s][res] != s);
			assert_int_equal(t.state, next[s][res]);
			assert_int_equal(t.fails_total, res == GOOD ? 0 : 1);
		}
	}
}

/* The last result of a row and what it must lead to; fall and rise from 1 on. */
static void rows_of_results(void **unused)
{
	(void)unused;
	for (unsigned n = 1; n <= 5; n++) {
		const struct target_rule r = {.rise = n, .fall = n};

		for (int from = TARGET_UNKNOWN; from <= TARGET_PROBATION; from++) {
			struct target t = {.state = from};

			for (unsigned i = 1; i < n; i++) {
				feed(&t, &r, BAD);
				assert_int_equal(t.state, TARGET_PROBATION);
			}
			assert_true(feed(&t, &r, BAD));
			assert_int_equal(t.state, TARGET_DOWN);
			assert_false(feed(&t, &r, BAD));
			for (unsigned i = 1; i < n; i++) {
				feed(&t, &r, GOOD);
				assert_int_equal(t.state, TARGET_DOWN);
			}
			assert_true(feed(&t, &r, GOOD));
			assert_int_equal(t.state, TARGET_UP);
			assert_false(feed(&t, &r, GOOD));
		}
	}
}

static void a_row_must_be_unbroken(void **unused)
{
	const struct target_rule r = {.rise = 2, .fall = 3};
	struct target t = {.state = TARGET_UP, .role = ROLE_PRIMARY};

	(void)unused;
	feed(&t, &r, BAD);
	feed(&t, &r, BAD);
	assert_true(feed(&t, &r, GOOD));
	assert_int_equal(t.state, TARGET_UP);
	feed(&t, &r, BAD);
	feed(&t, &r, BAD);
	assert_int_equal(t.state, TARGET_PROBATION);
	feed(&t, &r, BAD);
	assert_int_equal(t.state, TARGET_DOWN);
	feed(&t, &r, GOOD);
	feed(&t, &r, SEEN); /* breaks the row of good ones */
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
			feed(&t, &r, SEEN);
		assert_int_equal(t.state, TARGET_PROBATION);
		assert_int_equal(t.fails_total, 100);
		assert_true(feed(&t, &r, BAD));
		assert_int_equal(t.state, TARGET_DOWN);
	}
	/* and counts like one: two seen and one probed make fall = 3 */
	{
		const struct target_rule r = {.rise = 1, .fall = 3};
		struct target t = {.state = TARGET_UP};

		feed(&t, &r, SEEN);
		feed(&t, &r, BAD);
		assert_int_equal(t.state, TARGET_PROBATION);
		feed(&t, &r, BAD);
		assert_int_equal(t.state, TARGET_DOWN);
	}
}

static void good_results_bring_news(void **unused)
{
	const struct target_rule r = {.rise = 1, .fall = 1};
	struct target t = {.state = TARGET_UP};

	(void)unused;
	assert_true(target_probe_good(&t, &r, ROLE_PRIMARY, false, 100));
	assert_int_equal(t.probe_us, 100);
	assert_false(target_probe_good(&t, &r, ROLE_PRIMARY, false, 200));
	assert_int_equal(t.probe_us, 200);
	assert_true(target_probe_good(&t, &r, ROLE_PRIMARY, true, 100));
	assert_int_equal(t.read_only, 1);
	assert_true(target_probe_good(&t, &r, ROLE_STANDBY, false, 100));
	assert_int_equal(t.role, ROLE_STANDBY);
	/* a standby is read-only whatever it says */
	assert_int_equal(t.read_only, 1);
	assert_true(target_probe_good(&t, &r, ROLE_PRIMARY, false, 100));
	assert_int_equal(t.read_only, 0);
	/* the role outlives the fall */
	assert_true(target_probe_bad(&t, &r, true));
	assert_int_equal(t.role, ROLE_PRIMARY);
	assert_int_equal(t.probe_us, 100);
}

/* libpq's words, for an UP target. */
static void attrs_against_roles(void **unused)
{
	static const struct {
		enum target_role role;
		int read_only;
		int suits[6]; /* any, read-write, read-only, primary, standby, prefer-standby */
	} rows[] = {
		{ROLE_UNKNOWN, 0, {2, 0, 0, 0, 0, 0}}, {ROLE_UNKNOWN, 1, {2, 0, 0, 0, 0, 0}},
		{ROLE_PRIMARY, 0, {2, 2, 0, 2, 0, 1}}, {ROLE_PRIMARY, 1, {2, 0, 2, 2, 0, 1}},
		{ROLE_STANDBY, 1, {2, 0, 2, 0, 2, 2}},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int a = ATTRS_ANY; a <= ATTRS_PREFER_STANDBY; a++) {
			enum session_attrs attrs = (enum session_attrs)a;
			int full = rows[i].suits[a];
			struct target t = {.role = (int)rows[i].role,
					   .read_only = rows[i].read_only};

			t.state = TARGET_UP;
			assert_int_equal(target_suits(&t, attrs), full);
			t.state = TARGET_UNKNOWN;
			assert_int_equal(target_suits(&t, attrs), full);
			t.state = TARGET_PROBATION;
			assert_int_equal(target_suits(&t, attrs), full ? 1 : 0);
			t.state = TARGET_DOWN;
			assert_int_equal(target_suits(&t, attrs), 0);
			assert_int_equal(target_role_suits(&t, attrs), full > 0);
		}
	}
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
		cmocka_unit_test(rows_of_results),
		cmocka_unit_test(a_row_must_be_unbroken),
		cmocka_unit_test(what_workers_see_needs_a_probe),
		cmocka_unit_test(good_results_bring_news),
		cmocka_unit_test(attrs_against_roles),
		cmocka_unit_test(addresses),
		cmocka_unit_test(references),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
