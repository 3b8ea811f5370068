/* tests/unit/test_reads.c - wire/reads: what only reads, and what does not or may not.
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

#include "wire/reads.h"

static void reads(void **state)
{
	static const char *const text[] = {
		"SELECT 1",
		"select abalance from pgbench_accounts where aid = $1;",
		"SELECT count(*), sum(a), pg_catalog.max(b) FROM t WHERE x IN (1, 2) AND NOT (y)",
		"(SELECT a FROM t) UNION (SELECT 'insert into' FROM u)",
		"WITH q AS (SELECT 1) SELECT * FROM q",
		"VALUES (1, 2), (3, 4)",
		"TABLE t",
		"SHOW server_version",
		"SELECT coalesce(a, b)::numeric(10, 2) -- update\n FROM t /* delete */",
		"SELECT \"update\" FROM \"into\"",
		"SELECT 1; SELECT 2",
		"SELECT CASE WHEN (a) THEN (b) ELSE (c) END",
		"SELECT LENGTH('x'), Lower($$ DROP TABLE t $$)",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) / sizeof(*text); i++)
		if (!lex_reads_only(text[i], strlen(text[i])))
			fail_msg("should read only: %s", text[i]);
}

static void not_or_not_known(void **state)
{
	static const char *const text[] = {
		"",
		";",
		"-- nothing",
		"INSERT INTO t VALUES (1)",
		"UPDATE t SET a = 1",
		"DELETE FROM t",
		"SELECT a INTO b FROM t",
		"SELECT * FROM t FOR UPDATE",
		"SELECT * FROM t FOR SHARE",
		"SELECT * FROM t FOR KEY SHARE OF t NOWAIT",
		"WITH q AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM q",
		"SELECT nextval('s')",
		"SELECT f(1)",
		"SELECT mine.lower('x')",
		"SELECT \"lower\"('x')",
		"SELECT pg_advisory_lock(1)",
		"SELECT set_config('a', 'b', false)",
		"SELECT pg_terminate_backend(1)",
		"SELECT lo_unlink(1), dblink('x', 'y')",
		"SELECT 1; DROP TABLE t",
		"SELECT 1; COMMIT",
		"EXPLAIN ANALYZE SELECT 1",
		"EXECUTE q",
		"CALL p()",
		"DO $$ $$",
		"COPY t TO stdout",
		"BEGIN",
		"SELECT 'unterminated",
		"SELECT (t).f FROM t",
		"SELECT a[1].f FROM t",
		"SELECT $1.f",
		"SELECT $1 . f",
		"SELECT U&\"lo_unlink\"(1)",
		"SELECT U&\"lo_unlink\" UESCAPE '!' (1)",
		"SELECT counts(*)",
		"SELECT coun(*)",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) / sizeof(*text); i++)
		if (lex_reads_only(text[i], strlen(text[i])))
			fail_msg("should not be known to read only: %s", text[i]);
}

/* Both lists are searched by halves. */
static void every_name_is_found(void **state)
{
	static const char *const some[] = { "abs", "with", "within", "version", "sum", "lag", "lateral" };
	char sql[80];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(some) / sizeof(*some); i++) {
		(void)snprintf(sql, sizeof(sql), "SELECT 1 %s (2)", some[i]);
		assert_true(lex_reads_only(sql, strlen(sql)));
		(void)snprintf(sql, sizeof(sql), "SELECT 1 %sx (2)", some[i]);
		assert_false(lex_reads_only(sql, strlen(sql)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(not_or_not_known),
		cmocka_unit_test(every_name_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
