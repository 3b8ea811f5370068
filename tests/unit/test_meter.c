/* tests/unit/test_meter.c - histograms against sorted lists, the registry of meters, its
 * periods and PgBouncer's averages.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "health/meter.h"

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- histograms ---- */

static void test_buckets(void **state)
{
	uint64_t last = 0, us;
	unsigned i;

	(void)state;
	for (us = 1; us <= 16; us++) {
		assert_int_equal(hist_at(us), us - 1);
		assert_int_equal(hist_edge((unsigned)us - 1), us);
	}
	assert_int_equal(hist_at(0), 0);
	for (i = 0; i < HIST_N; i++) {
		uint64_t edge = hist_edge(i);

		assert_true(edge > last);
		assert_int_equal(hist_at(edge), i);
		assert_int_equal(hist_at(last + 1), i);
		/* no wider than an eighth of what is in it */
		assert_true(edge - last <= 1 || (edge - last) * 8 <= last);
		last = edge;
	}
	assert_int_equal(last, 1ull << HIST_MAX_BITS);
	assert_int_equal(hist_at(last + 1), HIST_N - 1);
	assert_int_equal(hist_at(UINT64_MAX), HIST_N - 1);
	for (i = 3; i <= HIST_MAX_BITS; i++)
		assert_int_equal(hist_edge(hist_at(1ull << i)), 1ull << i);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Against the list itself: never too low, and at most an eighth too high. */
static void quantiles_of(uint64_t *v, size_t n)
{
	static const unsigned at[] = { 1, 1000, 50000, 90000, 95000, 99000, 99900, 100000 };
	struct hist *h = calloc(1, sizeof(*h));
	struct hist_sum *s = calloc(1, sizeof(*s));
	uint64_t sum = 0;
	size_t i, k;

	assert_true(h && s);
	for (i = 0; i < n; i++) {
		hist_add(h, v[i]);
		sum += v[i];
	}
	hist_sum_read(s, h);
	qsort(v, n, sizeof(*v), by_size);
	assert_int_equal(s->n, n);
	assert_int_equal(s->sum_us, sum);
	assert_int_equal(s->max_us, v[n - 1]);
	assert_int_equal(hist_mean(s), sum / n);
	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		size_t rank = (n * at[i] + 99999) / 100000;
		uint64_t right = v[rank ? rank - 1 : 0], got = hist_quantile(s, at[i]);

		assert_true(got >= right);
		assert_true(got <= right + right / 8 + 1);
	}
	for (k = 3; k < HIST_MAX_BITS; k++) {
		uint64_t below = 0;

		for (i = 0; i < n; i++)
			below += v[i] <= 1ull << k;
		assert_int_equal(hist_upto(s, 1ull << k), below);
	}
	free(h);
	free(s);
}

static void test_quantiles(void **state)
{
	uint64_t v[3000], seed = 88172645463325252u;
	unsigned round, i;
	size_t n;

	(void)state;
	for (round = 0; round < 200; round++) {
		n = 1 + rnd(&seed) % 3000;
		for (i = 0; i < n; i++)
			v[i] = rnd(&seed) % (1ull << (1 + rnd(&seed) % 34));
		quantiles_of(v, n);
	}
	v[0] = 7;
	quantiles_of(v, 1);
	v[0] = 0;
	quantiles_of(v, 1);
}

static void test_empty_and_huge(void **state)
{
	struct hist *h = calloc(1, sizeof(*h));
	struct hist_sum *s = calloc(1, sizeof(*s));

	(void)state;
	assert_true(h && s);
	hist_sum_read(s, h);
	assert_int_equal(hist_quantile(s, 99000), 0);
	assert_int_equal(hist_mean(s), 0);
	hist_add(h, 1ull << 40);
	hist_sum_read(s, h);
	assert_int_equal(hist_quantile(s, 50000), 1ull << 40);
	assert_int_equal(hist_upto(s, 1ull << 36), 0);
	hist_clear(h);
	memset(s, 0, sizeof(*s));
	hist_sum_read(s, h);
	assert_int_equal(s->n + s->sum_us + s->max_us, 0);
	free(h);
	free(s);
}

static void test_since(void **state)
{
	struct hist *h = calloc(1, sizeof(*h));
	struct hist_sum *before = calloc(1, sizeof(*before)), *now = calloc(1, sizeof(*now));
	int i;

	(void)state;
	assert_true(h && before && now);
	for (i = 0; i < 100; i++)
		hist_add(h, 1000000);
	hist_sum_read(before, h);
	for (i = 0; i < 10; i++)
		hist_add(h, 100);
	hist_sum_read(now, h);
	assert_int_equal(hist_quantile(now, 99000), 1000000);
	hist_sum_since(now, before);
	assert_int_equal(now->n, 10);
	assert_int_equal(now->sum_us, 1000);
	assert_int_equal(hist_quantile(now, 99000), 104);
	memset(now, 0, sizeof(*now));
	hist_sum_read(now, h);
	*before = *now;
	hist_sum_since(now, before);
	assert_int_equal(now->n + now->max_us, 0);
	free(h);
	free(before);
	free(now);
}

/* ---- meters ---- */

static void test_names(void **state)
{
	struct meter_sum *now = malloc(sizeof(*now));
	struct meter *a, *b, *node;
	struct meters ms;

	(void)state;
	assert_non_null(now);
	assert_int_equal(meters_init(&ms, 2, 1), 0);
	a = meters_get(&ms, METER_DB, "app");
	assert_ptr_equal(meters_get(&ms, METER_DB, "app"), a);
	node = meters_get(&ms, METER_NODE, "app");
	assert_ptr_not_equal(node, a);
	b = meters_get(&ms, METER_DB, "appl");
	assert_ptr_not_equal(a, b);
	STAT_INC(&meter_side(a, 0)->stats, xacts);
	STAT_ADD(&meter_side(a, 1)->stats, xacts, 2);
	hist_add(&meter_side(a, 0)->hist[METER_XACT], 5);
	hist_add(&meter_side(a, 1)->hist[METER_XACT], 7);
	meter_error(meter_side(a, 1), meter_class("40001"));
	/* used by nobody, and nothing is lost */
	meters_put(&ms, a);
	meters_put(&ms, a);
	assert_ptr_equal(meters_get(&ms, METER_DB, "app"), a);
	assert_true(meters_read(&ms, METER_DB, 1, 99, now, NULL));
	assert_string_equal(now->name, "app");
	assert_int_equal(now->at_us, 99);
	assert_int_equal(now->stats.xacts, 3);
	assert_int_equal(now->hist[METER_XACT].n, 2);
	assert_int_equal(now->hist[METER_XACT].sum_us, 12);
	assert_int_equal(now->errors[meter_class("40P01")], 1);
	assert_true(meters_read(&ms, METER_DB, 0, 99, now, NULL));
	assert_string_equal(now->name, METER_OTHERS);
	assert_false(meters_read(&ms, METER_DB, 3, 99, now, NULL));
	assert_false(meters_read(&ms, METER_NODE, 2, 99, now, NULL));
	meter_error(meters_lobby(&ms, 1), meter_class("28P01"));
	meters_read_lobby(&ms, now);
	assert_string_equal(now->name, METER_LOBBY);
	assert_int_equal(now->errors[meter_class("28000")], 1);
	meters_put(&ms, NULL);
	meters_free(&ms);
	meters_free(&ms);
	free(now);
}

/* More names than there is room for: in use, they are counted as others; out of use, the
 * one that went first makes room. */
static void test_many_names(void **state)
{
	struct meter_sum *now = malloc(sizeof(*now));
	struct meter *m[METERS_MAX], *more;
	struct meters ms;
	char name[32];
	unsigned i;

	(void)state;
	assert_non_null(now);
	assert_int_equal(meters_init(&ms, 1, 1), 0);
	for (i = 0; i < METERS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "db%u", i);
		m[i] = meters_get(&ms, METER_DB, name);
		STAT_INC(&meter_side(m[i], 0)->stats, queries);
	}
	more = meters_get(&ms, METER_DB, "one more");
	STAT_ADD(&meter_side(more, 0)->stats, queries, 5);
	assert_ptr_equal(meters_get(&ms, METER_DB, "and one"), more);
	assert_true(meters_read(&ms, METER_DB, 0, 1, now, NULL));
	assert_int_equal(now->stats.queries, 5);
	meters_put(&ms, m[7]);
	meters_put(&ms, m[3]);
	more = meters_get(&ms, METER_DB, "one more");
	assert_int_equal(STAT_GET(&meter_side(more, 0)->stats, queries), 0);
	assert_ptr_equal(meters_get(&ms, METER_DB, "db3"), m[3]); /* it was db7 that went */
	assert_true(meters_read(&ms, METER_DB, 8, 1, now, NULL));
	assert_string_equal(now->name, "one more");
	meters_total(&ms, 1, now, NULL);
	assert_int_equal(now->stats.queries, METERS_MAX + 5); /* db7's went to the others */
	assert_true(meters_read(&ms, METER_DB, 0, 1, now, NULL));
	assert_int_equal(now->stats.queries, 5 + 1);
	meters_free(&ms);
	free(now);
}

static void test_periods(void **state)
{
	struct meter_sum *now = malloc(sizeof(*now)), *older = malloc(sizeof(*older));
	struct meter_side *s;
	struct meters ms;

	(void)state;
	assert_true(now && older);
	assert_int_equal(meters_init(&ms, 1, 1000000), 0);
	s = meter_side(meters_get(&ms, METER_DB, "app"), 0);
	STAT_ADD(&s->stats, xacts, 10);
	STAT_ADD(&s->stats, queries, 20);
	STAT_ADD(&s->stats, received_bytes, 3000);
	hist_add(&s->hist[METER_XACT], 1000);
	hist_add(&s->hist[METER_QUERY], 600);
	/* within the first period: since the start */
	assert_true(meters_read(&ms, METER_DB, 1, 3000000, now, older));
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_XACT), 5);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_RECEIVED), 1500);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_XACT_TIME), 100);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_QUERY_TIME), 30);
	meters_tick(&ms, 11000000);
	STAT_ADD(&s->stats, xacts, 40);
	assert_true(meters_read(&ms, METER_DB, 1, 11000000 + 10000000, now, older));
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_XACT), 50 / 20);
	meters_tick(&ms, 21000000);
	assert_int_equal(meters_older_us(&ms), 11000000);
	assert_true(meters_read(&ms, METER_DB, 1, 21000000, now, older));
	assert_int_equal(older->stats.xacts, 10);
	assert_int_equal(older->at_us, 11000000);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_XACT), 4);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_QUERY_TIME), 0);
	meters_tick(&ms, 31000000);
	meters_total(&ms, 31000000, now, older);
	assert_int_equal(meter_rate(now, older, meters_older_us(&ms), METER_C_XACT), 0);
	assert_int_equal(meter_column(now, METER_C_XACT), 50);
	assert_int_equal(older->stats.xacts, 50);
	/* no time has gone by */
	assert_int_equal(meter_rate(now, older, 31000000, METER_C_XACT), 0);
	meters_free(&ms);
	free(now);
	free(older);
}

static void test_classes(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i + 1 < METER_CLASSES_N; i++)
		assert_int_equal(meter_class(meter_class_name(i)), i);
	assert_string_equal(meter_class_name(meter_class("40001")), "40");
	assert_string_equal(meter_class_name(meter_class("XXUUU")), "XX");
	assert_string_equal(meter_class_name(meter_class("ZZ000")), "other");
	assert_string_equal(meter_class_name(meter_class("")), "other");
	assert_string_equal(meter_class_name(METER_CLASSES_N), "other");
	assert_string_equal(meter_hist_name(METER_XACT), "transaction");
}

/* ---- threads ---- */

#define WRITERS 3u
#define ADDS 200000u

struct writer {
	struct meters *ms;
	unsigned id;
	_Atomic bool *go_on;
};

static void *write_some(void *arg)
{
	const struct writer *w = arg;
	struct meter *m = meters_get(w->ms, METER_DB, "app");
	struct meter_side *s = meter_side(m, w->id);
	unsigned i;

	for (i = 0; i < ADDS; i++) {
		STAT_INC(&s->stats, queries);
		hist_add(&s->hist[METER_QUERY], i % 1000);
	}
	meters_put(w->ms, m);
	return NULL;
}

static void *read_some(void *arg)
{
	const struct writer *w = arg;
	struct meter_sum *now = malloc(sizeof(*now));
	uint64_t last = 0;

	assert_non_null(now);
	while (atomic_load(w->go_on)) {
		meters_total(w->ms, 1, now, NULL);
		assert_true(now->stats.queries >= last);
		last = now->stats.queries;
		meters_tick(w->ms, 1);
	}
	free(now);
	return NULL;
}

static void test_threads(void **state)
{
	struct meter_sum *now = malloc(sizeof(*now));
	struct writer w[WRITERS + 1];
	pthread_t t[WRITERS + 1];
	_Atomic bool go_on = true;
	struct meters ms;
	unsigned i;

	(void)state;
	assert_non_null(now);
	assert_int_equal(meters_init(&ms, WRITERS, 1), 0);
	for (i = 0; i <= WRITERS; i++) {
		w[i] = (struct writer){ &ms, i, &go_on };
		assert_int_equal(pthread_create(&t[i], NULL, i < WRITERS ? write_some : read_some,
						&w[i]), 0);
	}
	for (i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	atomic_store(&go_on, false);
	pthread_join(t[WRITERS], NULL);
	meters_total(&ms, 1, now, NULL);
	assert_int_equal(now->stats.queries, WRITERS * ADDS);
	assert_int_equal(now->hist[METER_QUERY].n, WRITERS * ADDS);
	meters_free(&ms);
	free(now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),	   cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_empty_and_huge), cmocka_unit_test(test_since),
		cmocka_unit_test(test_names),	   cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_periods),	   cmocka_unit_test(test_classes),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
