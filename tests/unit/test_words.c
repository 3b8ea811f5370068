/* tests/unit/test_words.c - console/words: one command as words.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "console/words.h"

/* Words with | between them, a letter of the kind in front of each. */
static const char *all(const char *sql, size_t *at)
{
	static char out[4096];
	struct words w;
	const char *why;
	size_t n = 0;
	unsigned i;

	if (!words_read(&w, sql, strlen(sql), at, &why)) {
		assert_non_null(why);
		(void)snprintf(out, sizeof(out), "! %s", why);
		return out;
	}
	assert_null(why);
	*out = 0;
	for (i = 0; i < w.n; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%c:%s", i ? "|" : "",
				      "psni"[w.w[i].kind], words_at(&w, i));
	return out;
}

static void expect(const char *sql, const char *want)
{
	size_t at = 0;

	assert_string_equal(all(sql, &at), want);
}

static void simple(void **state)
{
	(void)state;
	expect("", "");
	expect(" \t\r\n\f\v ", "");
	expect("SHOW pools", "p:SHOW|p:pools");
	expect("  show\tPools ; ", "p:show|p:Pools");
	expect("set a=1", "p:set|p:a|i:=|p:1");
	expect("set a = '1'", "p:set|p:a|i:=|s:1");
	expect("select f(a,b)", "p:select|p:f|i:(|p:a|i:,|p:b|i:)");
	expect("pause my-db.x:5432/[::1]", "p:pause|p:my-db.x:5432/[::1]");
	expect("unlisten *", "p:unlisten|p:*");
}

static void quotes(void **state)
{
	(void)state;
	expect("a 'b c'", "p:a|s:b c");
	expect("a 'it''s;' \"x \"\"y\"", "p:a|s:it's;|n:x \"y");
	expect("a''", "p:a|s:");
	expect("a'b'c", "p:a|s:b|p:c");
	expect("'--' \"/*\"", "s:--|n:/*");
	expect("a 'b", "! unterminated quoted string");
	expect("a 'b''", "! unterminated quoted string");
	expect("a \"b", "! unterminated quoted name");
	expect("'", "! unterminated quoted string");
}

static void comments(void **state)
{
	(void)state;
	expect("-- all of it", "");
	expect("a -- b\nc", "p:a|p:c");
	expect("a--b", "p:a");
	expect("a/*b*/c", "p:a|p:c");
	expect("/* a /* b */ ; */ c", "p:c");
	expect("/**/a", "p:a");
	expect("/*/ a", "! unterminated comment");
	expect("/* a /* b */", "! unterminated comment");
	expect("a /", "p:a|p:/");
	expect("a -", "p:a|p:-");
}

static void several(void **state)
{
	const char *sql = "a; ;b 'x;y';--c\n d";
	size_t at = 0;

	(void)state;
	assert_string_equal(all(sql, &at), "p:a");
	assert_string_equal(all(sql, &at), "");
	assert_true(at < strlen(sql));
	assert_string_equal(all(sql, &at), "p:b|s:x;y");
	assert_string_equal(all(sql, &at), "p:d");
	assert_int_equal(at, strlen(sql));
	assert_string_equal(all(sql, &at), "");
}

static void bounds(void **state)
{
	char sql[8192], want[sizeof(sql) + 4];
	struct words w;
	const char *why;
	size_t n, at;

	(void)state;
	for (n = 250; n < 260; n++) {
		memset(sql, 'x', n);
		sql[n] = 0;
		(void)snprintf(want, sizeof(want), "p:%s", sql);
		expect(sql, n <= WORD_LEN_MAX ? want : "! a word is longer than 255 bytes");
		sql[0] = '\'';
		sql[n - 1] = '\'';
		at = 0;
		assert_int_equal(words_read(&w, sql, n, &at, &why), n - 2 <= WORD_LEN_MAX);
	}
	for (n = 1; n < 40; n++) {
		memset(sql, '=', n);
		at = 0;
		assert_int_equal(words_read(&w, sql, n, &at, &why), n <= WORDS_MAX);
	}
	/* all the text there is room for, and one more */
	for (n = 1000; n < 1030; n++) {
		size_t i, words = (n + 200) / 201;

		memset(sql, 'y', n);
		for (i = 200; i < n; i += 201)
			sql[i] = ' ';
		at = 0;
		if (sql[n - 1] != ' ')
			assert_int_equal(words_read(&w, sql, n, &at, &why), n + 1 <= WORDS_TEXT);
		if (!why && sql[n - 1] != ' ')
			assert_int_equal(w.n, words);
	}
	at = 0;
	assert_false(words_read(&w, "a\0b", 3, &at, &why) && w.n != 1);
	assert_false(words_read(&w, "a \0b", 4, &at, &why) && w.n != 1);
}

static void begins(void **state)
{
	struct words w;
	const char *why;
	size_t at = 0;

	(void)state;
	assert_true(words_read(&w, "Show Pools 'x' y", 16, &at, &why));
	assert_int_equal(words_begin_with(&w, 0, "SHOW"), 1);
	assert_int_equal(words_begin_with(&w, 0, "SHOW POOLS"), 2);
	assert_int_equal(words_begin_with(&w, 0, "SHOW POOL"), 0);
	assert_int_equal(words_begin_with(&w, 0, "SHOW POOLS X"), 0);
	assert_int_equal(words_begin_with(&w, 1, "POOLS"), 1);
	assert_int_equal(words_begin_with(&w, 3, "Y"), 1);
	assert_int_equal(words_begin_with(&w, 3, "Y Z"), 0);
	assert_int_equal(words_begin_with(&w, 0, ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple),   cmocka_unit_test(quotes), cmocka_unit_test(comments),
		cmocka_unit_test(several), cmocka_unit_test(bounds), cmocka_unit_test(begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
