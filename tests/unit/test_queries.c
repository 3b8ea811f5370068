/* tests/unit/test_queries.c - the table of fingerprints: who stays, who goes, and that
 * nothing is lost; normalized texts.
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

#include "health/queries.h"
#include "wire/fingerprint.h"

static struct query_sum *fresh(void)
{
	struct query_sum *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	return s;
}

static uint64_t count_of(struct queries *q, uint64_t print)
{
	struct query_sum *s = fresh();
	int at = print ? queries_find(q, print) : (int)q->n;
	uint64_t n = 0;

	if (at >= 0 && queries_read(q, (unsigned)at, s))
		n = s->took.n;
	free(s);
	return n;
}

static void test_off(void **state)
{
	struct queries q;

	(void)state;
	assert_int_equal(queries_init(&q, 0), 0);
	queries_add(&q, 1, 1, false);
	assert_false(queries_wants_text(&q, 1));
	queries_text(&q, 1, "x");
	assert_null(queries_text_of(&q, 1));
	assert_int_equal(queries_find(&q, 1), -1);
	queries_free(&q);
}

static void test_counts(void **state)
{
	struct query_sum *s = fresh();
	struct queries q;

	(void)state;
	assert_int_equal(queries_init(&q, 3), 0);
	assert_int_equal(q.n, QUERIES_WAYS);
	queries_add(&q, 7, 100, false);
	queries_add(&q, 7, 300, true);
	queries_add(&q, 8, 5, false);
	assert_true(queries_read(&q, (unsigned)queries_find(&q, 7), s));
	assert_int_equal(s->print, 7);
	assert_int_equal(s->took.n, 2);
	assert_int_equal(s->took.sum_us, 400);
	assert_int_equal(s->took.max_us, 300);
	assert_int_equal(s->errors, 1);
	assert_string_equal(s->text, "");
	assert_true(queries_wants_text(&q, 7));
	queries_text(&q, 7, "select ?");
	assert_false(queries_wants_text(&q, 7));
	assert_string_equal(queries_text_of(&q, 7), "select ?");
	assert_true(queries_wants_text(&q, 9)); /* it has a slot now */
	assert_true(queries_find(&q, 9) >= 0);
	assert_int_equal(count_of(&q, 9), 0);
	assert_false(queries_read(&q, q.n + 1, s));
	queries_free(&q);
	free(s);
}

/* What runs all the time stays, however many others come once; what has stopped goes; and
 * the sum of all is that of what was added. */
static void test_eviction(void **state)
{
	uint64_t total = 0, i, all = 0;
	struct queries q;
	unsigned k;

	(void)state;
	assert_int_equal(queries_init(&q, 4 * QUERIES_WAYS), 0);
	for (i = 0; i < 100000; i++, total += 2) {
		queries_add(&q, 1 + i % 8, 10, false);          /* in use */
		queries_add(&q, 1000 + i * 7919, 10, i % 2);    /* once each */
	}
	for (k = 1; k <= 8; k++)
		assert_int_equal(count_of(&q, k), 12500);
	for (k = 0; k <= q.n; k++) {
		struct query_sum *s = fresh();

		if (queries_read(&q, k, s))
			all += s->took.n;
		free(s);
	}
	assert_int_equal(all, total);
	/* others are in use now */
	for (i = 0; i < 100000; i++)
		queries_add(&q, 101 + i % 24, 10, false);
	for (k = 101, all = 0; k < 125; k++)
		all += queries_find(&q, k) >= 0;
	assert_int_equal(all, 24);
	queries_free(&q);
}

static void test_normalized(void **state)
{
	static const struct {
		const char *sql, *text;
	} row[] = {
		{ "SELECT  1", "select ?" },
		{ "select 'secret' , $1,\n 7", "select ?" },
		{ "SELECT a FROM t WHERE b IN (1, 2, 3) AND c = 'x';", "select a from t where b in ( ? ) and c = ?" },
		{ "SELECT \"Aa\" /* no */ FROM t -- no", "select \"Aa\" from t" },
		{ "SELECT $q$ hidden $q$, E'\\' hidden'", "select ?" },
		{ "SELECT 'never ends", "select" },
		{ "", "" },
		{ "INSERT INTO t VALUES (1, f(2), 3)", "insert into t values ( ? , f ( ? ) , ? )" },
	};
	char out[QUERIES_TEXT], small[12];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(*row); i++) {
		assert_string_equal(lex_normalized(row[i].sql, strlen(row[i].sql), out, sizeof(out)),
				    row[i].text);
		/* what it says has the same number, but for what it leaves out */
		if (i == 2)
			assert_true(lex_fingerprint(row[i].sql, strlen(row[i].sql)) ==
				    lex_fingerprint("select a from t where b in (9) and c = 5", 40));
	}
	assert_string_equal(lex_normalized("SELECT abcdefgh FROM t", 22, small, sizeof(small)), "select");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off), cmocka_unit_test(test_counts),
		cmocka_unit_test(test_eviction), cmocka_unit_test(test_normalized),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
