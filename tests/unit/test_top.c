/* tests/unit/test_top.c - `pgweir top`: numbers as words, the grid, answers of consoles.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "top/grid.h"
#include "top/order.h"
#include "top/sample.h"
#include "top/words.h"

#define MS(fn, v) fn((char[WORDS_MAX]){ 0 }, v)

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(MS(words_count, 0), "0");
	assert_string_equal(MS(words_count, 999), "999");
	assert_string_equal(MS(words_count, 1000), "1,000");
	assert_string_equal(MS(words_count, 999999), "999,999");
	assert_string_equal(MS(words_count, 1234567), "1.23M");
	assert_string_equal(MS(words_count, 5000000000u), "5.00G");
	assert_string_equal(MS(words_count, UINT64_MAX), "-");
	assert_string_equal(MS(words_rate, -1), "-");
	assert_string_equal(MS(words_rate, 0), "0");
	assert_string_equal(MS(words_rate, 0.25), "0.2");
	assert_string_equal(MS(words_rate, 9.96), "10");
	assert_string_equal(MS(words_rate, 12345.4), "12,345");
	assert_string_equal(MS(words_bytes, 0), "0 B");
	assert_string_equal(MS(words_bytes, 999.4), "999 B");
	assert_string_equal(MS(words_bytes, 999.6), "1.0 kB");
	assert_string_equal(MS(words_bytes, 12.3e6), "12 MB");
	assert_string_equal(MS(words_bytes, 9.99e15), "9990 TB");
	assert_string_equal(MS(words_us, -1), "-");
	assert_string_equal(MS(words_us, 0), "0");
	assert_string_equal(MS(words_us, 0.5), "0 us");
	assert_string_equal(MS(words_us, 850), "850 us");
	assert_string_equal(MS(words_us, 999.6), "1.0 ms");
	assert_string_equal(MS(words_us, 34000), "34 ms");
	assert_string_equal(MS(words_us, 5600000), "5.6 s");
	assert_string_equal(MS(words_us, 119e6), "119 s");
	assert_string_equal(MS(words_us, 600e6), "10 min");
}

/* A grid of one line with this text on it. */
static char *line(struct grid *g, int w, const char *text)
{
	size_t n;

	assert_int_equal(grid_size(g, w, 1), 0);
	(void)grid_put(g, 0, 0, w, LOOK_PLAIN, text);
	assert_non_null(grid_lines(g, &n) ? g->cells : NULL);
	return n ? strndup(g->out, n - 1) : strdup("");
}

#define LINE(w, text, want)                                                    \
	do {                                                                   \
		char *l_ = line(&g, w, text);                                   \
		assert_string_equal(l_, want);                                 \
		free(l_);                                                      \
	} while (0)

static void test_grid_characters(void **state)
{
	struct grid g = { .utf8 = true };

	(void)state;
	assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
	LINE(10, "abc", "abc");
	LINE(2, "abc", "ab");
	LINE(10, "", "");
	LINE(10, "a\x1b[2Jb\x7f", "a?[2Jb?");
	LINE(10, "gr\xc3\xbcn", "gr\xc3\xbcn");
	/* C1 controls, overlong forms, surrogates, what is cut off, beyond Unicode */
	LINE(10, "\xc2\x9b", "?");
	LINE(10, "\xc0\xaf", "??");
	LINE(10, "\xed\xa0\x80", "???");
	LINE(10, "a\xe2\x82", "a??");
	LINE(10, "\xf5\x80\x80\x80", "????");
	LINE(10, "\xff", "?");
	/* marks that join, and directions */
	LINE(10, "e\xcc\x81x", "e?x");
	LINE(10, "\xe2\x80\xaex", "?x");
	/* a wide one needs two columns, or none */
	LINE(4, "\xe6\xbc\xa2\xe5\xad\x97x", "\xe6\xbc\xa2\xe5\xad\x97");
	LINE(3, "\xe6\xbc\xa2\xe5\xad\x97x", "\xe6\xbc\xa2");
	g.utf8 = false;
	LINE(10, "gr\xc3\xbcn", "gr?n");
	grid_free(&g);
}

static void test_grid_bytes(void **state)
{
	struct grid g = { .colours = true };
	size_t n;
	const char *p;

	(void)state;
	assert_int_equal(grid_size(&g, 4, 2), 0);
	assert_int_equal(grid_put(&g, 1, 0, 3, LOOK_BAD, "up!!"), 3);
	grid_right(&g, 0, 1, 3, LOOK_PLAIN, "7");
	/* outside: nothing */
	assert_int_equal(grid_put(&g, 0, 2, 3, LOOK_PLAIN, "x"), 0);
	assert_int_equal(grid_put(&g, 4, 0, 3, LOOK_PLAIN, "x"), 0);
	grid_fill(&g, 3, 5, 9, LOOK_PLAIN, 'x');
	p = grid_bytes(&g, &n);
	assert_non_null(p);
	assert_int_equal(n, strlen("\033[H\033[0m \033[0;1;31mup!\033[0m\r\n\033[0m  7\033[0m\033[K"));
	assert_memory_equal(p, "\033[H\033[0m \033[0;1;31mup!\033[0m\r\n\033[0m  7\033[0m\033[K", n);
	assert_int_equal(grid_size(&g, 0, 0), 0);
	assert_non_null(grid_bytes(&g, &n));
	grid_free(&g);
}

/* A result of text: names with blanks between them, then rows in the same way. */
static PGresult *result(const char *names, ...)
{
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc att[32];
	char copy[512], *at, *word;
	const char *row;
	int n = 0, rows = 0, i;
	va_list ap;

	memset(att, 0, sizeof(att));
	assert_true(strlen(names) < sizeof(copy));
	memcpy(copy, names, strlen(names) + 1);
	for (at = copy; (word = strsep(&at, " ")) && n < 32;)
		att[n++].name = word;
	assert_int_equal(PQsetResultAttrs(r, n, att), 1);
	va_start(ap, names);
	for (; (row = va_arg(ap, const char *)); rows++) {
		memcpy(copy, row, strlen(row) + 1);
		at = copy;
		for (i = 0; i < n; i++) {
			word = strsep(&at, " ");
			assert_non_null(word);
			assert_int_equal(PQsetvalue(r, rows, i, word, *word == '~' ? -1 : (int)strlen(word)), 1);
		}
	}
	va_end(ap);
	return r;
}

static void take(struct top_sample *s, enum top_ask a, PGresult *r)
{
	assert_int_equal(sample_take(s, a, r), 0);
	PQclear(r);
}

static void test_pgbouncers_answers(void **state)
{
	struct top_sample s = { 0 }, later = { 0 };

	(void)state;
	sample_clear(&s);
	take(&s, TOP_ASK_POOLS,
	     result("database user cl_active cl_waiting sv_active sv_idle sv_used sv_tested sv_login maxwait maxwait_us",
		    "app bob 5 2 3 1 1 1 1 2 500000", "pgbouncer pgbouncer 1 0 0 0 0 0 0 0 0", NULL));
	assert_int_equal(s.pool_n, 1);
	assert_int_equal(s.pool_all, 1);
	assert_int_equal(s.pools[0].used, 5);
	assert_int_equal(s.pools[0].idle, 2);
	assert_int_equal(s.pools[0].maxwait_us, 2500000);
	assert_true(s.pools[0].max == TOP_UNKNOWN);
	take(&s, TOP_ASK_STATS,
	     result("database total_xact_count total_query_count total_received total_wait_time", "app 10 20 300 9",
		    "b 1 2 3 1", "pgbouncer 100 100 100 0", NULL));
	assert_int_equal(s.counter[TOP_XACTS], 11);
	assert_int_equal(s.counter[TOP_QUERIES], 22);
	assert_true(s.counter[TOP_OUT] == TOP_UNKNOWN);
	/* the databases, without the console, go before the process as a whole */
	take(&s, TOP_ASK_COUNTERS, result("name value", "xacts 9999", "sent_bytes 77", NULL));
	assert_int_equal(s.counter[TOP_XACTS], 11);
	assert_int_equal(s.counter[TOP_OUT], 77);
	take(&s, TOP_ASK_LISTS, result("list items", "used_clients 7", "free_servers 2", "used_servers 3", NULL));
	assert_int_equal(s.clients, 7);
	assert_int_equal(s.servers, 5);
	/* rates want two, in order, of the same daemon */
	s.at_us = 1000000;
	assert_int_equal(sample_copy(&later, &s), 0);
	assert_true(sample_rate(&s, &later, TOP_XACTS) < 0);
	later.at_us = 3000000;
	later.counter[TOP_XACTS] += 5;
	assert_true(sample_rate(&s, &later, TOP_XACTS) == 2.5);
	assert_true(sample_rate(&s, &later, TOP_LOST) < 0);
	later.counter[TOP_XACTS] = 0;
	assert_true(sample_rate(&s, &later, TOP_XACTS) < 0);
	assert_true(sample_mean_wait_us(&s, &later) < 0);
	sample_free(&s);
	sample_free(&later);
}

static void test_answers_with_columns_missing(void **state)
{
	struct top_sample s = { 0 };

	(void)state;
	sample_clear(&s);
	take(&s, TOP_ASK_NODES, result("node state", "a up", "b down", NULL));
	assert_int_equal(s.node_n, 2);
	assert_string_equal(s.nodes[1].state, "down");
	assert_true(s.nodes[1].latency_us == TOP_UNKNOWN);
	/* asked again: the rows of before go */
	take(&s, TOP_ASK_NODES, result("other", NULL));
	assert_int_equal(s.node_n, 0);
	take(&s, TOP_ASK_COUNTERS, result("name value", "queries 18446744073709551614", "xacts x", "wait_us -5", "waits ~", NULL));
	assert_true(s.counter[TOP_QUERIES] == UINT64_MAX - 1);
	assert_true(s.counter[TOP_XACTS] == TOP_UNKNOWN);
	assert_true(s.counter[TOP_WAIT_US] == TOP_UNKNOWN);
	assert_true(s.counter[TOP_WAITS] == TOP_UNKNOWN);
	take(&s, TOP_ASK_RETRIES, result("something else", NULL));
	take(&s, TOP_ASK_HISTOGRAMS, result("p99_us", "7", NULL));
	assert_true(s.wait_p99_us == TOP_UNKNOWN);
	/* the longest of the databases that had any */
	take(&s, TOP_ASK_HISTOGRAMS,
	     result("kind name histogram recent_count recent_p99_us", "database a query 5 40", "database b query 9 30",
		    "database c query 0 900", "node n query 5 800", "database a wait 0 0", NULL));
	assert_int_equal(s.query_p99_us, 40);
	assert_true(s.wait_p99_us == TOP_UNKNOWN);
	sample_free(&s);
}

static void test_order(void **state)
{
	struct top_sample s = { 0 };
	struct order o = { 0 };

	(void)state;
	sample_clear(&s);
	take(&s, TOP_ASK_POOLS, result("database user cl_waiting sv_active", "b u 0 1", "a u 0 1", "c u 4 0", "d u 0 9", NULL));
	take(&s, TOP_ASK_NODES, result("node state latency_us", "z up 5", "y down ~", "x probation 9", NULL));
	order_sort(&o, &s);
	assert_string_equal(s.pools[0].db, "c");
	assert_string_equal(s.pools[1].db, "d");
	assert_string_equal(s.pools[2].db, "a");
	assert_string_equal(s.nodes[0].name, "z");
	o = (struct order){ POOLS_NAME, NODES_STATE, true };
	order_sort(&o, &s);
	assert_string_equal(s.pools[0].db, "d");
	assert_string_equal(s.nodes[0].name, "z");
	o = (struct order){ POOLS_USED, NODES_LATENCY, false };
	order_sort(&o, &s);
	assert_string_equal(s.pools[0].db, "d");
	assert_string_equal(s.nodes[0].name, "x");
	assert_string_equal(s.nodes[2].name, "y");
	sample_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_grid_characters),
		cmocka_unit_test(test_grid_bytes),
		cmocka_unit_test(test_pgbouncers_answers),
		cmocka_unit_test(test_answers_with_columns_missing),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests_name("top", tests, NULL, NULL);
}
