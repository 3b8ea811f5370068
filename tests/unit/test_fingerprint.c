/* tests/unit/test_fingerprint.c - wire/fingerprint: what is the same statement.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/fingerprint.h"

static uint64_t of(const char *sql)
{
	return lex_fingerprint(sql, strlen(sql));
}

static void same(void **state)
{
	static const char *const pair[][2] = {
		{ "SELECT 1", "select 2" },
		{ "SELECT a FROM t WHERE b = 'x'", "SELECT  a /* c */ FROM T\nWHERE b = $1 -- d" },
		{ "SELECT a FROM t WHERE b IN (1, 2, 3)", "SELECT a FROM t WHERE b IN ($1)" },
		{ "INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES ($1, $2);" },
		{ "UPDATE t SET a = 1.5e3", "UPDATE t SET a = E'it\\'s'" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pair) / sizeof(*pair); i++)
		if (of(pair[i][0]) != of(pair[i][1]))
			fail_msg("%s | %s", pair[i][0], pair[i][1]);
}

static void other(void **state)
{
	static const char *const pair[][2] = {
		{ "SELECT a", "SELECT b" },
		{ "SELECT a", "SELECT \"a\"" },
		{ "SELECT ab", "SELECT a b" },
		{ "SELECT \"A\"", "SELECT \"a\"" },
		{ "SELECT 1, a", "SELECT 1" },
		{ "SELECT f(1, a)", "SELECT f(1)" },
		{ "UPDATE t SET a = a + 1", "UPDATE t SET a = a - 1" },
		{ "", "SELECT 1" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pair) / sizeof(*pair); i++)
		if (of(pair[i][0]) == of(pair[i][1]))
			fail_msg("%s | %s", pair[i][0], pair[i][1]);
	assert_true(of("") != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same),
		cmocka_unit_test(other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
