/* tests/unit/test_saslprep.c - passwords as PostgreSQL prepares them. The same rows,
 * and random ones, are held against a real server in test_saslprep.py.
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

#include "proxy/wire/saslprep.h"
#include "proxy/wire/scram.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SAME NULL /* taken as it is */

struct row {
	const char *in, *out;
};

static void check(const struct row *rows, size_t n)
{
	size_t i;
	char *out;

	for (i = 0; i < n; i++) {
		out = (char *)1;
		assert_int_equal(saslprep(rows[i].in, &out), 0);
		if (rows[i].out == SAME)
			assert_null(out);
		else
			assert_string_equal(out, rows[i].out);
		saslprep_free(out);
	}
}

static void test_rfc(void **state)
{
	static const struct row rows[] = {
		/* RFC 4013 section 3 */
		{"I\u00adX", "IX"}, {"user", SAME}, {"USER", SAME}, {"\u00aa", "a"},
		{"\u2168", "IX"},   {"\a", SAME}, /* prohibited, but ASCII is not looked at */
		{"\u06271", SAME},
	};

	(void)state;
	check(rows, COUNT(rows));
}

static void test_ascii(void **state)
{
	static const struct row rows[] = {
		{"", SAME}, {"pencil", SAME}, {" ~\x01\x1f\x7f\t\n", SAME}};
	char *out, *longest = malloc(1000001);

	(void)state;
	check(rows, COUNT(rows));
	assert_non_null(longest);
	memset(longest, 'x', 1000000);
	longest[1000000] = 0;
	assert_int_equal(saslprep(longest, &out), 0); /* of any length */
	assert_null(out);
	free(longest);
}

static void test_mapped(void **state)
{
	static const struct row rows[] = {
		{"\u00e9", "\u00e9"},
		{"e\u0301", "\u00e9"},
		{"a\u0323\u0307", "\u1ea1\u0307"}, /* marks in their order */
		{"a\u0307\u0323", "\u1ea1\u0307"},
		{"\u212b", "\u00c5"},
		{"\uff30\uff57", "Pw"},
		{"\ufb01", "fi"},
		{"a\u00a0b\u3000c", "a b c"},
		{"x\u200by", "x y"}, /* a space before it is nothing */
		{"x\u2060\ufeff\ufe0fy", "xy"},
		{"\u00ad", SAME}, /* nothing would be left */
		{"\ufdfa", "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064a\u0647 "
			   "\u0648\u0633\u0644\u0645"},
		{"\u1112\u1161\u11ab", "\ud55c"},
		{"\U0002f868", "\u36fc"}, /* these five were corrected after Unicode 3.2 */
		{"\U0002f874", "\u5f53"},
		{"\U0002f91f", "\U000243ab"},
		{"\U0002f95f", "\u7aee"},
		{"\U0002f9bf", "\u45d7"},
	};

	(void)state;
	check(rows, COUNT(rows));
}

static void test_refused(void **state)
{
	static const struct row rows[] = {
		{"x\xc2\x85", SAME},  /* C.2.2 */
		{"\u00e9\x01", SAME}, /* C.2.1 */
		{"x\u200e", SAME},    /* C.8 */
		{"x\u0340", SAME},    /* C.8, and would be U+0300 */
		{"\ue000", SAME},     /* C.3 */
		{"\ufffd", SAME},     /* C.6 */
		{"\U000e0041", SAME}, /* C.9 */
		{"\u20b9", SAME},     /* not in Unicode 3.2 */
		{"\U0001f600", SAME},
		{"\u05d0", "\u05d0"},
		{"\u05d0a", SAME}, /* both directions */
		{"\u05d01", SAME}, /* the last is not right to left */
		{"1\u05d0", SAME},
		{"\u05d01\u05d0", "\u05d01\u05d0"},
		{"\ufb1d", "\u05d9\u05b4"}, /* looked at before it ends with a mark */
		{"\u05d9\u05b4", SAME},
		{"\u05d0\u2122\u05d0", "\u05d0TM\u05d0"}, /* ... and before it has letters */
	};

	(void)state;
	check(rows, COUNT(rows));
}

static void test_not_utf8(void **state)
{
	static const struct row rows[] = {
		{"\xff", SAME},         {"caf\xe9", SAME},          {"\xc3", SAME},
		{"\xe2\x82", SAME},     {"\xc0\xaf", SAME},         {"\xe0\x80\xaf", SAME},
		{"\xed\xa0\x80", SAME}, {"\xf4\x90\x80\x80", SAME}, {"\xf8\x88\x80\x80\x80", SAME},
		{"\x80", SAME},         {"\u00ad\xff", SAME},       {"\u00e9\xc3", SAME},
	};

	(void)state;
	check(rows, COUNT(rows));
}

/* Of what unit, how many to SASLPREP_MAX. */
static void test_length(void **state)
{
	static const char *const units[] = {"\u00e9", "\u00a0", "\u0301\u0327",
					    "\ufdfa", "\u00ad", "\U0001d15e"};
	char *in = malloc(SASLPREP_MAX + 2), *out;
	size_t i, n, len;

	(void)state;
	assert_non_null(in);
	for (i = 0; i < COUNT(units); i++) {
		n = strlen(units[i]);
		for (len = 0; len + n <= SASLPREP_MAX; len += n)
			memcpy(in + len, units[i], n);
		for (; len < SASLPREP_MAX; len++)
			in[len] = '1';
		in[len] = 0;
		assert_int_equal(saslprep(in, &out), 0);
		assert_true(out != NULL || strcmp(units[i], "\u00ad") == 0 ||
			    strcmp(units[i], "\ufdfa") == 0);
		saslprep_free(out);
		in[len++] = 'x';
		in[len] = 0;
		assert_int_equal(saslprep(in, &out), -1);
		assert_null(out);
	}
	free(in);
}

/* Whoever hashes a password prepares it. */
static void test_scram(void **state)
{
	static const uint8_t salt[4] = "abc";
	static const struct scram_channel clear = {.offered = true};
	struct scram_secret composed, decomposed;
	struct scram_client c;
	char one[SCRAM_MSG_MAX], other[SCRAM_MSG_MAX], *longest = malloc(SASLPREP_MAX + 3);
	const char *why = NULL;

	(void)state;
	assert_int_equal(scram_secret_make("p\u00e9", salt, 4, 2, &composed), 0);
	assert_int_equal(scram_secret_make("pe\u0301", salt, 4, 2, &decomposed), 0);
	assert_memory_equal(&composed, &decomposed, sizeof(composed));
	assert_int_equal(scram_secret_make("pe\u0340", salt, 4, 2, &decomposed), 0);
	assert_memory_not_equal(&composed, &decomposed, sizeof(composed));
	assert_true(scram_client_first(&c, &clear, "abc", one, sizeof(one), &why) > 0);
	assert_true(scram_client_final(&c, "r=abcd,s=AAAA,i=2", 17, "\u00e9", NULL, one,
				       sizeof(one), &why) > 0);
	assert_true(scram_client_final(&c, "r=abcd,s=AAAA,i=2", 17, "e\u0301", NULL, other,
				       sizeof(other), &why) > 0);
	assert_string_equal(one, other);
	assert_non_null(longest);
	memset(longest, 'x', SASLPREP_MAX);
	memcpy(longest + SASLPREP_MAX, "\u00e9", 3);
	assert_int_equal(scram_client_final(&c, "r=abcd,s=AAAA,i=2", 17, longest, NULL, one,
					    sizeof(one), &why),
			 -1);
	assert_non_null(strstr(why, "too long"));
	assert_int_equal(scram_secret_make(longest, salt, 4, 2, &composed), -1);
	free(longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc),      cmocka_unit_test(test_ascii),
		cmocka_unit_test(test_mapped),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_not_utf8), cmocka_unit_test(test_length),
		cmocka_unit_test(test_scram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
