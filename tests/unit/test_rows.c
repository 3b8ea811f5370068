/* tests/unit/test_rows.c - console/rows: result sets, in text and binary.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "console/rows.h"

static const struct column four[] = { { "t", ROWS_TEXT },
				      { "i", ROWS_INT4 },
				      { "q", ROWS_INT8 },
				      { "n", ROWS_NUMERIC },
				      { NULL, 0 } };

static void expect(struct rows *r, const char *want, size_t n)
{
	assert_false(r->bad);
	assert_int_equal(r->len, n);
	assert_memory_equal(r->p, want, n);
	rows_free(r);
}
#define EXPECT(r, lit) expect(r, lit, sizeof(lit) - 1)

static void columns(void **state)
{
	static const struct column two[] = { { "a", ROWS_TEXT }, { "bc", ROWS_INT4 }, { NULL, 0 } };
	struct rows r = { 0 };

	(void)state;
	rows_describe(&r, two, 2);
	EXPECT(&r, "T\0\0\0\x2f\0\2"
		   "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
		   "bc\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\1");
	assert_int_equal(rows_count(four), 4);
	assert_int_equal(rows_count(NULL), 0);
}

static void row(struct rows *r, const char *t, int64_t i, uint64_t q, uint64_t n)
{
	rows_row(r);
	rows_text(r, t);
	rows_int(r, i);
	rows_uint(r, q);
	rows_uint(r, n);
	rows_end_row(r);
}

static void text(void **state)
{
	struct rows r;

	(void)state;
	rows_init(&r, four, 0);
	row(&r, "x", -5, 18446744073709551615u, 18446744073709551615u);
	EXPECT(&r, "D\0\0\0\x40\0\4\0\0\0\1x\0\0\0\2-5"
		   "\0\0\0\x13" "9223372036854775807"
		   "\0\0\0\x14" "18446744073709551615");
	rows_init(&r, four, 0);
	row(&r, NULL, 3000000000, 0, 0);
	EXPECT(&r, "D\0\0\0\x22\0\4\xff\xff\xff\xff\0\0\0\x0a" "2147483647\0\0\0\1" "0\0\0\0\1" "0");
}

static void binary(void **state)
{
	struct rows r;

	(void)state;
	rows_init(&r, four, UINT64_MAX);
	row(&r, "x", -2, 258, 0);
	EXPECT(&r, "D\0\0\0\x2b\0\4\0\0\0\1x\0\0\0\4\xff\xff\xff\xfe\0\0\0\x08\0\0\0\0\0\0\1\2"
		   "\0\0\0\x08\0\0\0\0\0\0\0\0");
	/* 123450000: 1, 2345, 0 to the base of 10,000 */
	rows_init(&r, four, 8);
	row(&r, "", 1, 1, 123450000);
	EXPECT(&r, "D\0\0\0\x24\0\4\0\0\0\0\0\0\0\1" "1\0\0\0\1" "1\0\0\0\x0c\0\2\0\2\0\0\0\0\0\1\x09\x29");
}

/* A column of text takes a number in digits, whatever its format. */
static void number_as_text(void **state)
{
	static const struct column one[] = { { "t", ROWS_TEXT }, { NULL, 0 } };
	struct rows r;

	(void)state;
	rows_init(&r, one, 1);
	rows_row(&r);
	rows_uint(&r, 12);
	rows_end_row(&r);
	EXPECT(&r, "D\0\0\0\x0c\0\1\0\0\0\2" "12");
}

static void pieces(void **state)
{
	struct rows r;

	(void)state;
	rows_init(&r, four, 0);
	rows_append(&r, "abcdef", 6);
	rows_consume(&r, 4);
	rows_append(&r, "gh", 2);
	EXPECT(&r, "efgh");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns), cmocka_unit_test(text),   cmocka_unit_test(binary),
		cmocka_unit_test(number_as_text), cmocka_unit_test(pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
