/* tests/unit/test_params.c - settings as a set, the SQL from one set to
 * another to the letter, and the options of a startup packet taken apart as
 * PostgreSQL does.
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
#include <strings.h>
#include <cmocka.h>

#include "proxy/wire/params.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t rng_state = 88172645463325252ULL;

static unsigned rnd(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)((rng_state >> 11) % n);
}

static void set(struct params *p, const char *name, const char *value)
{
	assert_int_equal(params_set(p, name, value), 0);
	assert_string_equal(params_get(p, name), value);
}

/* "a=1 b=2" */
static void fill(struct params *p, const char *text)
{
	char copy[256], *w, *eq, *next = copy;

	*p = (struct params){.n = 0};
	snprintf(copy, sizeof(copy), "%s", text);
	while ((w = strsep(&next, " ")) != NULL) {
		eq = strchr(w, '=');
		if (!eq)
			continue;
		*eq = 0;
		set(p, w, eq + 1);
	}
}

/* ---- a set ---- */

static void test_set_get(void **state)
{
	struct params p = {.n = 0};
	uint64_t empty = p.hash, one;

	(void)state;
	assert_null(params_get(&p, "TimeZone"));
	set(&p, "TimeZone", "UTC");
	one = p.hash;
	assert_int_not_equal(one, empty);
	assert_string_equal(params_get(&p, "timezone"), "UTC");
	set(&p, "TIMEZONE", "UTC"); /* the same one */
	assert_int_equal(p.n, 1);
	assert_int_equal(p.hash, one);
	set(&p, "timezone", "utc"); /* values keep their case */
	assert_int_equal(p.n, 1);
	assert_int_not_equal(p.hash, one);
	set(&p, "a", "");
	set(&p, "b", "2");
	assert_int_equal(p.n, 3);
	assert_int_equal(p.bytes, 8 + 3 + 2 + 1 + 0 + 2 + 1 + 1 + 2);
	params_unset(&p, "TimeZone");
	params_unset(&p, "never there");
	assert_null(params_get(&p, "timezone"));
	assert_string_equal(params_get(&p, "a"), "");
	assert_string_equal(params_get(&p, "b"), "2");
	params_unset(&p, "A");
	params_unset(&p, "B");
	assert_int_equal(p.n, 0);
	assert_int_equal(p.bytes, 0);
	assert_int_equal(p.hash, empty);
	params_clear(&p);
	assert_null(p.v);
}

static void test_same(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"", "", true},		  {"a=1", "a=1", true},
		{"a=1 b=2", "b=2 a=1", true}, {"A=1 b=2", "B=2 a=1", true},
		{"a=1", "", false},	  {"a=1", "a=2", false},
		{"a=1", "b=1", false},	  {"a=x", "a=X", false},
		{"a=12 b=3", "a=1 b=23", false}, {"ab=c", "a=bc", false},
		{"a=1 b=2", "a=2 b=1", false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct params a, b;

		fill(&a, cases[i].a);
		fill(&b, cases[i].b);
		assert_int_equal(params_same(&a, &b), cases[i].same);
		assert_int_equal(params_same(&b, &a), cases[i].same);
		assert_int_equal(a.hash == b.hash, cases[i].same);
		/* two sets that collide are still told apart */
		b.hash = a.hash;
		assert_int_equal(params_same(&a, &b), cases[i].same);
		params_clear(&a);
		params_clear(&b);
	}
}

/* Random changes to two sets: equal as often as they are, hash and all. */
static void test_random(void **state)
{
	static const char *const names[] = {"a", "B", "cc", "app.x", "TimeZone"};
	static const char *const values[] = {"", "1", "x'y"};
	const char *model[2][COUNT(names)] = {{NULL}};
	struct params p[2] = {{.n = 0}, {.n = 0}};
	unsigned step, i, k, v, equal = 0;

	(void)state;
	for (step = 0; step < 20000; step++) {
		bool same = true;

		k = rnd(2);
		i = rnd(COUNT(names));
		v = rnd(COUNT(values) + 1);
		if (v == COUNT(values)) {
			params_unset(&p[k], names[i]);
			model[k][i] = NULL;
		} else {
			set(&p[k], names[i], values[v]);
			model[k][i] = values[v];
		}
		if (rnd(50) == 0) {
			assert_int_equal(params_copy(&p[!k], &p[k]), 0);
			memcpy(model[!k], model[k], sizeof(model[k]));
		}
		for (i = 0; i < COUNT(names); i++) {
			const char *got = params_get(&p[k], names[i]);

			assert_int_equal(!got, !model[k][i]);
			if (got)
				assert_string_equal(got, model[k][i]);
			same = same && model[0][i] == model[1][i];
		}
		assert_int_equal(params_same(&p[0], &p[1]), same);
		assert_int_equal(p[0].hash == p[1].hash, same);
		equal += same;
	}
	assert_true(equal > 300);
	params_clear(&p[0]);
	params_clear(&p[1]);
	assert_int_equal(p[0].hash, 0);
}

static void test_limits(void **state)
{
	struct params p = {.n = 0};
	char name[16], *huge = malloc(PARAMS_BYTES_MAX);
	uint64_t hash;
	unsigned i;

	(void)state;
	assert_non_null(huge);
	for (i = 0; i < PARAMS_MAX; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		set(&p, name, "v");
	}
	hash = p.hash;
	assert_int_equal(params_set(&p, "one_more", "v"), -1);
	assert_int_equal(p.n, PARAMS_MAX);
	assert_int_equal(p.hash, hash);
	set(&p, "N0", "w"); /* changing is not adding */
	set(&p, "n0", "v");
	assert_int_equal(p.hash, hash);
	params_clear(&p);

	memset(huge, 'x', PARAMS_BYTES_MAX - 1);
	huge[PARAMS_BYTES_MAX - 3] = 0; /* with "a" and two zeros: a byte too much */
	huge[PARAMS_BYTES_MAX - 2] = 0;
	assert_int_equal(params_set(&p, "ab", huge), -1);
	assert_int_equal(p.n, 0);
	set(&p, "a", huge);
	assert_int_equal(p.bytes, PARAMS_BYTES_MAX);
	hash = p.hash;
	assert_int_equal(params_set(&p, "b", ""), -1);
	assert_null(params_get(&p, "b"));
	assert_int_equal(p.hash, hash);
	params_unset(&p, "a");
	set(&p, "b", "");
	params_clear(&p);
	free(huge);
}

/* ---- the difference as SQL ---- */

/* want, have: as fill(). sql: the Query texts, one a line. */
/* What changes settings is all or nothing: BEGIN, then the rest with COMMIT. Only
 * what is between is compared. */
static const char *in_one_piece(const char *sql, char *out, size_t cap)
{
	size_t n = strlen(sql);

	if (n < 7 || strcmp(sql + n - 7, ";COMMIT") != 0)
		return sql;
	n -= 6;
	assert_true(n < cap);
	memcpy(out, sql, n);
	if (strstr(sql, "SELECT"))
		n--;
	out[n] = 0;
	return out;
}

static void check_diff_scs(const char *want, const char *have, bool off, int n, const char *sql)
{
	struct params w, h;
	uint8_t b[2048];
	struct wire_put out = wire_put_to(b, sizeof(b));
	char got[2048] = "", body[1024];
	const char *text;
	int begun = 0;
	size_t at = 0, full, cap;

	fill(&w, want);
	fill(&h, have);
	n += n > 0; /* the BEGIN */
	assert_int_equal(params_diff(&w, &h, off, &out), n);
	full = out.len;
	while (at < full) {
		uint8_t type = 0;
		uint32_t len = 0;
		size_t used = strlen(got);
		struct wire_get g;

		assert_int_equal(wire_header(b + at, full - at, &type, &len), WIRE_OK);
		assert_int_equal(type, 'Q');
		g = wire_body(b + at, len);
		text = wire_get_str(&g, NULL);
		begun += strcmp(text, "BEGIN") == 0;
		if (strcmp(text, "BEGIN") != 0)
			snprintf(got + used, sizeof(got) - used, "%s%s", used ? "\n" : "",
				 in_one_piece(text, body, sizeof(body)));
		assert_false(g.bad);
		assert_int_equal(wire_left(&g), 0);
		at += len;
	}
	assert_string_equal(got, sql);
	assert_int_equal(begun, n > 0);
	for (cap = 0; cap < full; cap++) {
		out = wire_put_to(b, cap);
		assert_int_equal(params_diff(&w, &h, off, &out), -1);
	}
	params_clear(&w);
	params_clear(&h);
}

static void check_diff(const char *want, const char *have, int n, const char *sql)
{
	check_diff_scs(want, have, false, n, sql);
}

#define CONFIG "pg_catalog.set_config"

static void test_diff(void **state)
{
	(void)state;
	check_diff("", "", 0, "");
	check_diff("a=1 b=2", "B=2 A=1", 0, "");
	check_diff("a=1", "", 1, "SELECT " CONFIG "('a','1',false)");
	check_diff("a=1 b=2", "a=1", 1, "SELECT " CONFIG "('b','2',false)");
	check_diff("a=1 b=2", "", 1,
		   "SELECT " CONFIG "('a','1',false)," CONFIG "('b','2',false)");
	check_diff("", "a=1", 1, "RESET \"a\";");
	/* the encoding before what is read by it */
	check_diff("client_encoding=LATIN1 a=1", "", 2,
		   "SELECT " CONFIG "('client_encoding','LATIN1',false)\nSELECT " CONFIG "('a','1',false)");
	check_diff("a=1", "client_encoding=LATIN1", 2,
		   "RESET client_encoding\nSELECT " CONFIG "('a','1',false)");
	/* who one is: oneself first, somebody else last */
	check_diff("role=r a=1", "", 1, "SELECT " CONFIG "('a','1',false)," CONFIG "('role','r',false)");
	check_diff("a=1", "role=r", 1, "RESET ROLE;SELECT " CONFIG "('a','1',false)");
	check_diff("role=r a=1 session_authorization=s", "role=r", 1,
		   "RESET ROLE;SELECT " CONFIG "('a','1',false)," CONFIG
		   "('session_authorization','s',false)," CONFIG "('role','r',false)");
	check_diff("", "role=r session_authorization=s", 1, "RESET SESSION AUTHORIZATION;RESET ROLE;");
	check_diff("", "a=1 b=2", 1, "RESET \"a\";RESET \"b\";");
	check_diff("b=3 c=4", "a=1 b=2", 1,
		   "RESET \"a\";SELECT " CONFIG "('b','3',false)," CONFIG "('c','4',false)");
	/* quotes, backslashes, other things that end a string elsewhere */
	check_diff("a=it's", "", 1, "SELECT " CONFIG "('a','it''s',false)");
	check_diff("a=''", "", 1, "SELECT " CONFIG "('a','''''',false)");
	check_diff("a=\\", "", 1, "SELECT " CONFIG "('a','\\',false)");
	check_diff("a=\\'", "", 1, "SELECT " CONFIG "('a','\\''',false)");
	check_diff("a=\"$$--/*", "", 1, "SELECT " CONFIG "('a','\"$$--/*',false)");
	check_diff("a=", "", 1, "SELECT " CONFIG "('a','',false)");
	check_diff("o'k=1", "", 1, "SELECT " CONFIG "('o''k','1',false)");
	/* names: parts, folded as the server would, quotes doubled */
	check_diff("", "My.Setting=1", 1, "RESET \"my\".\"setting\";");
	check_diff("", "a.b.c=1", 1, "RESET \"a\".\"b\".\"c\";");
	check_diff("", "we\"ird=1", 1, "RESET \"we\"\"ird\";");
	check_diff("", "TimeZone=UTC", 1, "RESET \"timezone\";");
	check_diff("", "\xc3\x84x=1", 1, "RESET \"\xc3\x84x\";");
}

/* The quoting holds only with standard_conforming_strings on: it goes first, and
 * goes back where the client does not ask for it. */
static void test_diff_backslashes(void **state)
{
	static const char on[] = "SET standard_conforming_strings = on\n";
	static const char back[] = "\nRESET standard_conforming_strings";
	char sql[512];

	(void)state;
	snprintf(sql, sizeof(sql), "%sRESET \"standard_conforming_strings\";SELECT " CONFIG
				   "('a','\\''',false)%s", on, back);
	check_diff_scs("a=\\'", "standard_conforming_strings=off", true, 3, sql);
	/* off by the server's own default: nothing of it is in the settings */
	snprintf(sql, sizeof(sql), "%sSELECT " CONFIG "('a','1',false)%s", on, back);
	check_diff_scs("a=1", "", true, 3, sql);
	snprintf(sql, sizeof(sql), "%sSELECT " CONFIG "('standard_conforming_strings','on',false)",
		 on);
	check_diff_scs("standard_conforming_strings=on", "", true, 2, sql);
	check_diff("standard_conforming_strings=off", "", 1,
		   "SELECT " CONFIG "('standard_conforming_strings','off',false)");
	check_diff_scs("standard_conforming_strings=off", "standard_conforming_strings=off", true, 0,
		       "");
	/* the client wants it off: it is off again behind the settings */
	snprintf(sql, sizeof(sql), "%sSELECT " CONFIG "('a','1',false)\nSET standard_conforming_strings = off",
		 on);
	check_diff_scs("standard_conforming_strings=off a=1", "standard_conforming_strings=off", true, 3, sql);
	check_diff("a=1", "standard_conforming_strings=on", 1,
		   "RESET \"standard_conforming_strings\";SELECT " CONFIG "('a','1',false)");
}

/* ---- options ---- */

static void test_options(void **state)
{
	static const struct {
		const char *options, *want;  /* NULL: refused */
	} cases[] = {
		{"", ""},
		{"   ", ""},
		{"-c a=1", "a=1"},
		{"-ca=1", "a=1"},
		{"--a=1", "a=1"},
		{" \t-c\na=1\r -c b=2 ", "a=1 b=2"},
		{"\v-c\fa=1\v-c b=2\f", "a=1 b=2"},
		{"-c a=1 -ca=2 --A=3", "a=3"},
		{"-c a=", "a="},
		{"-c a==1=", "a==1="},
		{"-c search-path=x-y", "search_path=x-y"}, /* in the name only */
		{"--my.own-thing=1", "my.own_thing=1"},
		{"-c", NULL},
		{"-c a", NULL},
		{"-c =1", NULL},
		{"--a", NULL},
		{"--=1", NULL},
		{"-a=1", NULL},
		{"a=1", NULL},
		{"-d 5", NULL},
		{"-c a=1 b=2", NULL},
		{"-", NULL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct params got = {.n = 0}, want;
		const char *bad = NULL;
		int r = params_options(&got, cases[i].options, &bad);

		assert_int_equal(r, cases[i].want ? 0 : -1);
		assert_int_equal(bad != NULL, r != 0);
		if (cases[i].want) {
			fill(&want, cases[i].want);
			assert_true(params_same(&got, &want));
			params_clear(&want);
		}
		params_clear(&got);
	}
}

static void test_options_escapes(void **state)
{
	static const struct {
		const char *options, *value;
	} cases[] = {
		{"-c a=x\\ y", "x y"},	      {"-c a=\\\\", "\\"},
		{"-c a=\\\\ -c b=1", "\\"},   {"-c a=\\x", "x"},
		{"-c a=\\\\\\ z", "\\ z"},    {"-c a=\\\tz", "\tz"},
		{"-c a=\\'", "'"},	      {"-c \\a=1", "1"},
		{"-c a=b\\", "b"}, /* nothing behind it: it goes */
		{"\\-c a=1", "1"},	      {"-c a\\=1", "1"},
		{"-c\\ a=1", NULL}, /* a name with a blank in front: another one */
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		struct params p = {.n = 0};
		const char *bad = NULL;

		assert_int_equal(params_options(&p, cases[i].options, &bad), 0);
		if (cases[i].value)
			assert_string_equal(params_get(&p, "a"), cases[i].value);
		else
			assert_null(params_get(&p, "a"));
		params_clear(&p);
	}
}

static void test_options_limits(void **state)
{
	struct params p = {.n = 0};
	char *text = malloc(PARAMS_BYTES_MAX + 64);
	const char *bad = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', PARAMS_BYTES_MAX + 63);
	memcpy(text, "-c a=", 5);
	text[PARAMS_BYTES_MAX + 63] = 0;
	assert_int_equal(params_options(&p, text, &bad), -1);
	assert_non_null(bad);
	params_clear(&p);
	free(text);
}

/* pg_split_opts() of PostgreSQL's postinit.c, told again. */
static unsigned split(const char *s, char out[16][64])
{
	unsigned n = 0, len;
	bool escaped;

	while (n < 16) {
		while (*s && strchr(" \t\n\r", *s))
			s++;
		if (!*s)
			break;
		for (len = 0, escaped = false; *s; s++) {
			if (!escaped && strchr(" \t\n\r", *s))
				break;
			escaped = !escaped && *s == '\\';
			if (!escaped)
				out[n][len++] = *s;
		}
		out[n++][len] = 0;
	}
	return n;
}

/* Any words as the value of --a=: the last one that is such a word wins. */
static void test_options_random(void **state)
{
	static const char bytes[] = "\\\\  \t'\"xyz-=";
	unsigned round;

	(void)state;
	for (round = 0; round < 50000; round++) {
		char text[64] = "", words[16][64];
		struct params p = {.n = 0};
		const char *bad = NULL, *want = NULL;
		unsigned i, n = 0, len = 0, k = 1 + rnd(4);
		bool fine = true;

		while (k--) {
			len += (unsigned)snprintf(text + len, sizeof(text) - len, " --a=");
			for (i = rnd(8); i; i--)
				text[len++] = bytes[rnd(sizeof(bytes) - 1)];
			text[len] = 0;
		}
		if (text[len - 1] == '\\') /* a backslash at the very end is another matter */
			text[len - 1] = 'e';
		n = split(text, words);
		for (i = 0; i < n && fine; i++) {
			fine = strncmp(words[i], "--a=", 4) == 0;
			want = words[i] + 4;
		}
		if (!fine) { /* some other word: all that matters is that it is one */
			(void)!params_options(&p, text, &bad);
		} else {
			assert_int_equal(params_options(&p, text, &bad), 0);
			assert_string_equal(params_get(&p, "a"), want);
		}
		params_clear(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_get),	       cmocka_unit_test(test_same),
		cmocka_unit_test(test_random),	       cmocka_unit_test(test_limits),
		cmocka_unit_test(test_diff),	       cmocka_unit_test(test_diff_backslashes),
		cmocka_unit_test(test_options),	       cmocka_unit_test(test_options_escapes),
		cmocka_unit_test(test_options_limits), cmocka_unit_test(test_options_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
