/* tests/unit/test_ident.c - pg_ident.conf: who may be whom; and the regular expressions
 * of both files: which are taken, what they match, which are refused.
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

#include "conf/ident.h"
#include "conf/regexp.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- regular expressions ---------------------------------------------------------- */

/* group: what \1 is, NULL when it has no part; "-": no match */
static const struct {
	const char *re, *name, *group;
} matches[] = {
	{"", "", NULL}, {"", "x", NULL}, {"a", "xay", NULL}, {"a", "xy", "-"}, {"a", "A", "-"},
	{"^a$", "a", NULL}, {"^a$", "ab", "-"}, {"^a$", "a\nb", "-"}, {"^a", "b\na", "-"},
	{"^(.*)@x\\.org$", "joe@x.org", "joe"}, {"^(.*)@x\\.org$", "joe@xyorg", "-"},
	{"^(.*)@x\\.org$", "@x.org", ""}, {"(a)|b", "b", NULL}, {"(a)|b", "a", "a"},
	{"((a)b)c", "abc", "ab"}, {"a|bc|", "zz", NULL}, {"^(a|ab)(c|bcd)$", "abcd", "a"},
	{"^(a+)(a*)$", "aaa", "aaa"}, {"^(a?)a$", "a", ""}, {"()", "x", ""},
	{"^a{2}$", "aa", NULL}, {"^a{2}$", "aaa", "-"}, {"^a{2,}$", "aaa", NULL},
	{"^a{2,}$", "a", "-"}, {"^a{0,2}$", "", NULL}, {"^a{0,2}$", "aaa", "-"},
	{"^(ab){2}$", "abab", "ab"}, {"^[ab]{1,3}$", "bab", NULL}, {"^a{255}$", "a", "-"},
	{"^\\d+$", "0123", NULL}, {"^\\d+$", "ddd", "-"}, {"^\\D+$", "abc", NULL},
	{"^\\D$", "1", "-"}, {"^\\w+$", "aZ_9", NULL}, {"^\\w$", "-", "-"}, {"^\\W$", "-", NULL},
	{"^\\W$", "_", "-"}, {"^\\s$", "\t", NULL}, {"^\\s$", "s", "-"}, {"^\\S$", "s", NULL},
	{"^[\\d]$", "5", NULL}, {"^[\\d]$", "\\", "-"}, {"^[\\d]$", "d", "-"},
	{"^[^\\d]$", "5", "-"}, {"^[\\w-]+$", "a-b", NULL}, {"^[\\w.]+$", "a.b", NULL},
	{"^[-\\w]$", "-", NULL}, {"^[-\\w]$", "x", NULL}, {"^[\\s]$", " ", NULL},
	{"^[\\]]$", "]", NULL}, {"^[a\\-c]$", "b", "-"}, {"^[\\^a]$", "^", NULL},
	{"^[\\[:]$", ":", NULL}, {"^[%--]$", "+", NULL}, {"^[+--]$", "*", "-"}, {"^[[:alpha:]-]$", "-", NULL},
	{"^[^-a]$", "-", "-"}, {"^[^\\w]$", "\xff", NULL}, {"^\\W$", "\xff", NULL},
	{"^(a|b){2,3}$", "abab", "-"}, {"^(a|b){2,3}$", "aba", "a"}, {"^((a|b)|c)+$", "abc", "c"},
	{"^a{3,5}$", "aaaaaa", "-"}, {"^a{3,5}$", "aa", "-"}, {"^a{3,5}$", "aaaaa", NULL}, {"^a{3,}$", "aa", "-"},
	{"^(a{2}){2}$", "aaaa", "aa"}, {"^(a{2}){2}$", "aaa", "-"}, {"b*(a+)", "xaabaaa", "aa"},
	{"(a|ab)(c|bcd)", "abcd", "a"}, {"(ab|a)", "xab", "ab"}, {"(a|ab)", "xab", "ab"},
	{"^[\\.]$", "\\", "-"}, {"^[\\.]$", ".", NULL}, {"^[\\\\]$", "\\", NULL},
	{"^[]a]$", "]", NULL}, {"^[^]a]$", "]", "-"}, {"^[a-c]$", "b", NULL}, {"^[a-c]$", "d", "-"},
	{"^[a^]$", "^", NULL}, {"^[.*+?(){}|$]+$", ".*+?(){}|$", NULL}, {"^[[]$", "[", NULL},
	{"^[[:alpha:]_]+$", "a_B", NULL}, {"^[[:alpha:]]$", "1", "-"}, {"^[[:upper:]]$", "a", "-"},
	{"\\<", "<", NULL}, {"\\<", "word", "-"}, {"\\>", "word", "-"}, {"\\`", "x", "-"},
	{"\\'", "'", NULL}, {"^\\-\\@\\/\\=\\,$", "-@/=,", NULL}, {"^\\^\\$\\.\\*$", "^$.*", NULL},
	{"^\\{\\}\\(\\)\\[\\]\\|\\?\\+\\\\$", "{}()[]|?+\\", NULL}, {"^}]$", "}]", NULL},
	{"^caf\xc3\xa9$", "caf\xc3\xa9", NULL}, {"^.....$", "caf\xc3\xa9", NULL},
	{"^.$", "\xff", NULL}, {"^.*$", "a\nb", NULL}, {"a^b", "a^b", "-"}, {"a$b", "a$b", "-"},
	{"(^a|b)c", "xac", "-"}, {"(^a|b)c", "xbc", "b"}, {"^(a*)*$", "aaa", "aaa"},
	{"^(x*)(y)?$", "xx", "xx"}, {"^(?)", "", "!"},
};

static void test_matches(void **state)
{
	struct regexp_span g;
	struct regexp *re;
	struct err e;
	bool want;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(matches); i++) {
		const char *name = matches[i].name, *group = matches[i].group;

		if (group && *group == '!') {
			assert_int_equal(regexp_make(matches[i].re, &re, &e), -1);
			continue;
		}
		if (regexp_make(matches[i].re, &re, &e) < 0)
			fail_msg("%s: %s", matches[i].re, e.text);
		want = !group || *group != '-';
		if (regexp_try(re, name, NULL) != want || regexp_try(re, name, &g) != want)
			fail_msg("/%s/ on \"%s\": not %d", matches[i].re, name, want);
		if (want && !group)
			assert_int_equal(g.from, -1);
		else if (want &&
			 (g.from < 0 || (size_t)(g.to - g.from) != strlen(group) ||
			  strncmp(name + g.from, group, strlen(group)) != 0))
			fail_msg("/%s/ on \"%s\": \\1 is %d to %d", matches[i].re, name, g.from,
				 g.to);
		regexp_free(re);
	}
	regexp_free(NULL);
}

static const char *const bad[][2] = {
	{"(", "( is not closed"}, {"a(b", "( is not closed"}, {"(a|b", "( is not closed"},
	{")", ") has no ("}, {"a)b", ") has no ("}, {"a|)", ") has no ("},
	{"[", "[ is not closed"}, {"[a", "[ is not closed"}, {"[a-", "[ is not closed"},
	{"[]", "[ is not closed"}, {"[^]", "[ is not closed"}, {"[[:alpha:]", "[ is not closed"},
	{"[[:foo:]]", "[: must be followed"}, {"[[:<:]]", "[: must be followed"},
	{"[[:alpha]]", "[: must be followed"}, {"[[.a.]]", "[. and [= are not known"},
	{"[[=a=]]", "[. and [= are not known"}, {"[a-[:digit:]]", "[: is no end of a range"},
	{"[\\D]", "\\ in [...]"}, {"[\\n]", "\\ in [...]"}, {"[\\", "\\ in [...]"},
	{"[\\\xc3\xa9]", "\\ in [...]"}, {"[a-\\d]", "\\ in [...]"}, {"[\xc3\xa9]", "beyond ASCII"},
	{"[a-\xc3\xa9]", "beyond ASCII"}, {"[z-a]", "from a lower character to a higher"},
	{"[a-c-e]", "from a lower character to a higher"}, {"[\\w-z]", "a range has characters"},
	{"[[:alpha:]-z]", "a range has characters"},
	{"*", "must stand behind"}, {"+a", "must stand behind"}, {"a|*", "must stand behind"},
	{"(*a)", "must stand behind"}, {"{1}", "must stand behind"}, {"***=a", "must stand behind"},
	{"^*", "cannot stand behind ^ or $"}, {"a$?", "cannot stand behind ^ or $"},
	{"a**", "cannot follow each other"}, {"a*?", "cannot follow each other"},
	{"a+?", "cannot follow each other"}, {"a??", "cannot follow each other"},
	{"a{1}{2}", "cannot follow each other"}, {"a{2}?", "cannot follow each other"},
	{"(a)*+", "cannot follow each other"}, {"\xc3\xa9*", "a letter beyond ASCII"},
	{"a{", "{ must be followed by a number"}, {"a{x}", "{ must be followed by a number"},
	{"a{,2}", "{ must be followed by a number"}, {"a{256}", "{ must be followed by a number"},
	{"a{99999999999}", "{ must be followed by a number"},
	{"a{1", "{ is not closed"}, {"a{1,", "{n,m} must have numbers"}, {"a{1,2", "{ is not closed"},
	{"a{1 }", "{ is not closed"}, {"a{1,999}", "{n,m} must have numbers"},
	{"a{2,1}", "at least once"}, {"a{0}", "at least once"}, {"a{0,0}", "at least once"},
	{"(?:a)", "(? is not known"}, {"(?=a)", "(? is not known"}, {"(?i)a", "(? is not known"},
	{"a\\", "ends with a backslash"}, {"(a)\\1", "\\ may stand before"}, {"\\y", "\\ may stand before"},
	{"\\m", "\\ may stand before"}, {"\\A", "\\ may stand before"}, {"\\n", "\\ may stand before"},
	{"\\x41", "\\ may stand before"}, {"\\b", "\\ may stand before"}, {"\\\xc3\xa9", "\\ may stand before"},
	{"((a{200}){200}){200}", "repetitions are too many"}, {"(a{50}){50}", "repetitions are too many"},
	{"(a{50}){20}", "repetitions are too many"}, {"(a|b{200}){5}|c", "repetitions are too many"},
	{"(a{250}){3}(b{245})(c*){3}", "repetitions are too many"},
	{"(((((((((((((((((((((((((((((((a)))))))))))))))))))))))))))))))", "too deep"},
};

static void test_bad(void **state)
{
	struct regexp *re = (struct regexp *)(void *)&re;
	char text[REGEXP_TEXT_MAX + 2];
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(bad); i++) {
		e.text[0] = '\0';
		if (regexp_make(bad[i][0], &re, &e) == 0)
			fail_msg("/%s/ is taken; expected: %s", bad[i][0], bad[i][1]);
		assert_null(re);
		if (!strstr(e.text, bad[i][0]) || !strstr(e.text, bad[i][1]))
			fail_msg("/%s/ said: %s; expected: %s", bad[i][0], e.text, bad[i][1]);
	}
	memset(text, 'a', sizeof(text));
	text[REGEXP_TEXT_MAX + 1] = '\0';
	assert_int_equal(regexp_make(text, &re, &e), -1);
	assert_non_null(strstr(e.text, "longer than 255 bytes"));
	text[REGEXP_TEXT_MAX] = '\0';
	assert_int_equal(regexp_make(text, &re, &e), 0);
	regexp_free(re);
	/* the longest that can come out of one text */
	for (i = 0; i + 1 < REGEXP_TEXT_MAX; i += 2)
		memcpy(text + i, "\\W", 2);
	text[i] = '\0';
	assert_int_equal(regexp_make(text, &re, &e), 0);
	regexp_free(re);
}

/* Expressions that make other engines try for ever, on the longest name: no limit of
 * time here but that of the test itself. */
static void test_evil(void **state)
{
	static const char *const evil[] = {
		"^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^((a*)*)*$", "^(.*)*x$", "(x+x+)+y", "^(a?){100}a$",
		"^(.*).*.*.*.*.*b$", "(a*)(a*)(a*)(a*)(a*)(a*)b", "^(((((a+)?)*)+)?)*$",
		/* these match */
		"([ab]*a[ab]{100})", "^(a|b|[ab])*!$", "((a*|[a-z][ab]*)+|(@+)*)+[^a]",
	};
	char name[IDENT_NAME_MAX + 2];
	struct regexp_span g;
	struct regexp *re;
	struct err e;
	size_t i;

	(void)state;
	memset(name, 'a', sizeof(name));
	name[IDENT_NAME_MAX] = '\0';
	name[IDENT_NAME_MAX - 1] = '!';
	for (i = 0; i < COUNT(evil); i++) {
		if (regexp_make(evil[i], &re, &e) < 0)
			fail_msg("%s: %s", evil[i], e.text);
		assert_int_equal(regexp_try(re, name, &g), i >= 10);
		regexp_free(re);
	}
	assert_int_equal(regexp_make(".*", &re, &e), 0);
	assert_true(regexp_try(re, name, &g));
	name[IDENT_NAME_MAX] = 'a';
	name[IDENT_NAME_MAX + 1] = '\0';
	assert_false(regexp_try(re, name, &g));
	assert_int_equal(g.from, -1);
	regexp_free(re);
}

/* --- maps --------------------------------------------------------------------------- */

static struct ident *load(const char *text)
{
	struct ident *m = NULL;
	struct err e = {.text = ""};

	if (ident_read_mem("f", text, strlen(text), &m, &e) < 0)
		fail_msg("%s\nrefused: %s", text, e.text);
	assert_non_null(m);
	return m;
}

static const char map_text[] =
	"# MAPNAME SYSTEM-USERNAME PG-USERNAME\n"
	"m  ann      alice\n"
	"m  ann      adam\n"
	"m  bob      all\n"
	"m  \"b b\"    \"all\"\n"
	"m  any      /^dev_\n"
	"m  quoted   \"/^q,r$\"\n"
	"m  plus     \"+role\"\n"
	"m  all      special\n"
	"m  bs       x\\1\n"
	"\"n n\" ann  eve\n"
	"r  /^(.*)@x\\.org$  \\1\n"
	"r  /^(.*)@y\\.org$  pre_\\1_post\n"
	"r  /^(.*)@z\\.org$  guest\n"
	"r  /^(.*)@a\\.org$  all\n"
	"r  /^(.*)@r\\.org$  /^r\n"
	"r  \"/^(a, b)$\"    \"\\1\"\n"
	"r  /^two:(.*)$     \\1\\1\n"
	"s  /^(a)|b$        \\1\n"
	"s  b               b\n"
	"s  c               c\n"
	"t  /^(.*)$         all\n"
	"t  /^((a)+)?$      \\1\n"
	"e  \"\"              nobody\n";

static const struct {
	const char *map, *sys, *db;
	bool yes;
} who_is_who[] = {
	{NULL, "ann", "ann", true}, {NULL, "ann", "bob", false}, {"", "ann", "ann", true},
	{"", "ann", "Ann", false}, {NULL, "", "", true},
	{"m", "ann", "alice", true}, {"m", "ann", "adam", true}, {"m", "ann", "ann", false},
	{"m", "Ann", "alice", false}, {"m", "ann", "Alice", false}, {"m", "an", "alice", false},
	{"m", "annx", "alice", false}, {"M", "ann", "alice", false}, {"x", "ann", "ann", false},
	{"m", "bob", "bob", true}, {"m", "bob", "postgres", true}, {"m", "b b", "all", true},
	{"m", "b b", "b b", false}, {"m", "any", "dev_1", true}, {"m", "any", "xdev_1", false},
	{"m", "any", "/^dev_", false}, {"m", "quoted", "q,r", true}, {"m", "quoted", "q", false},
	{"m", "plus", "+role", true}, {"m", "plus", "role", false}, {"m", "all", "special", true},
	{"m", "zed", "special", false}, {"m", "bs", "x\\1", true}, {"m", "bs", "x", false},
	{"n n", "ann", "eve", true}, {"n", "ann", "eve", false},
	{"r", "joe@x.org", "joe", true}, {"r", "joe@x.org", "jo", false},
	{"r", "joe@x.org", "joe@x.org", false}, {"r", "joe@x.org", "joe ", false},
	{"r", "@x.org", "", true}, {"r", "all@x.org", "all", true}, {"r", "all@x.org", "root", false},
	{"r", "+a@x.org", "+a", true}, {"r", "joe@xxorg", "joe", false},
	{"r", "joe@y.org", "pre_joe_post", true}, {"r", "joe@y.org", "pre_joe_pos", false},
	{"r", "joe@y.org", "pre_joe_postx", false}, {"r", "joe@y.org", "joe", false},
	{"r", "@y.org", "pre__post", true}, {"r", "joe@z.org", "guest", true},
	{"r", "joe@z.org", "joe", false}, {"r", "joe@a.org", "anybody", true},
	{"r", "joe@r.org", "root", true}, {"r", "joe@r.org", "toor", false},
	{"r", "a, b", "a, b", true}, {"r", "two:x", "x\\1", true}, {"r", "two:x", "xx", false},
	/* a group without a part in the match ends the search, as in PostgreSQL */
	{"s", "a", "a", true}, {"s", "b", "b", false}, {"s", "b", "", false}, {"s", "c", "c", true},
	{"t", "x", "y", true}, {"e", "", "nobody", true}, {"e", "x", "nobody", false},
};

static void test_maps(void **state)
{
	struct ident *m = load(map_text);
	size_t i;

	(void)state;
	assert_int_equal(m->n, 23);
	for (i = 0; i < COUNT(who_is_who); i++)
		if (ident_allows(m, who_is_who[i].map, who_is_who[i].sys, who_is_who[i].db) !=
		    who_is_who[i].yes)
			fail_msg("map %s: %s as %s: not %d",
				 who_is_who[i].map ? who_is_who[i].map : "-", who_is_who[i].sys,
				 who_is_who[i].db, who_is_who[i].yes);
	ident_free(m);
}

static void test_no_file(void **state)
{
	struct ident *m = load("");

	(void)state;
	assert_false(ident_allows(NULL, "m", "ann", "ann"));
	assert_true(ident_allows(NULL, NULL, "ann", "ann"));
	assert_false(ident_allows(m, "m", "ann", "ann"));
	assert_true(ident_allows(m, NULL, "ann", "ann"));
	ident_free(m);
	ident_free(NULL);
}

static void test_long_names(void **state)
{
	struct ident *m = load("m /^a*$ all\nm x /^a*$\n");
	char name[IDENT_NAME_MAX + 2];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[IDENT_NAME_MAX + 1] = '\0';
	assert_true(ident_allows(m, "m", name + 1, "u"));
	assert_false(ident_allows(m, "m", name, "u"));
	assert_true(ident_allows(m, "m", "x", name + 1));
	assert_false(ident_allows(m, "m", "x", name));
	ident_free(m);
}

static void test_refused(void **state)
{
	static const char *const cases[][2] = {
		{"m", "f:2: the line ends where the system user should be"},
		{"m ann", "f:2: the line ends where the database user should be"},
		{"m ann alice bob", "f:2: there is more behind the database user"},
		{"m,n ann alice", "f:2: exactly one word is expected for the name of the map"},
		{"m ann,bob alice", "f:2: exactly one word is expected for the system user"},
		{"m ann alice,bob", "f:2: exactly one word is expected for the database user"},
		{"m ann +role", "f:2: +role is not supported"},
		{"m /( alice", "f:2: the regular expression \"(\""},
		{"m ann /(", "f:2: the regular expression \"(\""},
		{"m /^a$ \\1", "f:2: \"\\1\" asks for the first group"},
		{"m /^a$ x\\1y", "f:2: \"x\\1y\" asks for the first group"},
		{"m /^(a)*$ \\1", "f:2: \"\\1\" asks for the first group of the regular expression "
				 "\"^(a)*$\", which is repeated"},
		{"m /^((a)b){2}$ \\1", "f:2: \"\\1\" asks for the first group"},
		{"m /^(a)+(b)$ x\\1", "f:2: \"x\\1\" asks for the first group"},
		{"m /(a)\\1 x", "f:2: the regular expression"},
		{"m @users x", "f:2: other files are not allowed here"},
		{"include x", "f:2: other files are not allowed here"},
		{"m \"ann alice", "f:2: a double quote is not closed"},
	};
	struct ident *m;
	struct err e;
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof(text), "# one\n%s\nm ann alice\n", cases[i][0]);
		m = (struct ident *)(void *)&m;
		if (ident_read_mem("f", text, strlen(text), &m, &e) == 0)
			fail_msg("%s is accepted; expected: %s", cases[i][0], cases[i][1]);
		assert_null(m);
		if (strncmp(e.text, cases[i][1], strlen(cases[i][1])) != 0)
			fail_msg("%s said: %s; expected: %s", cases[i][0], e.text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_evil), cmocka_unit_test(test_maps),
		cmocka_unit_test(test_no_file), cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
