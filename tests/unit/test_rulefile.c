/* tests/unit/test_rulefile.c - files that name other files: include, include_if_exists,
 * include_dir, @file; their places in messages; every bound.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/rulefile.h"

static char dir[64];

static const char *path(const char *name)
{
	static char out[2][400];
	static int turn;

	turn = !turn;
	snprintf(out[turn], sizeof(out[turn]), "%s/%s", dir, name);
	return out[turn];
}

static void put_bytes(const char *name, const char *text, size_t len)
{
	FILE *f = fopen(path(name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

/* A directory for each test. */
static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/pgweir-unit-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	return mkdir(path("sub"), 0700) || mkdir(path("d"), 0700) || mkdir(path("d/dir.conf"), 0700);
}

static int teardown(void **state)
{
	char command[120];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command); /* NOLINT: a path of our own */
}

/* The words of all lines: "a:1 x,y z|..." with the file's name behind the directory. */
static void print(const struct rulefile *f, char *out, size_t cap)
{
	size_t i, j, k, n = 0;

	out[0] = '\0';
	for (i = 0; i < f->lines.n; i++) {
		const struct rule_line *l = &f->lines.at[i];

		n += (size_t)snprintf(out + n, cap - n, "%s%s:%d", i ? "|" : "",
				      strstr(l->file, dir) ? l->file + strlen(dir) + 1 : l->file,
				      l->line);
		for (j = 0; j < l->n; j++)
			for (k = 0; k < l->columns[j].n; k++)
				n += (size_t)snprintf(out + n, cap - n, "%s%s%s", k ? "," : " ",
						      l->columns[j].words[k].is_quoted ? "!" : "",
						      l->columns[j].words[k].text);
		assert_true(n < cap);
	}
}

static void expect(const char *name, const char *want)
{
	struct rulefile f;
	struct err e = {.text = ""};
	char got[2000];

	if (rulefile_read(path(name), &f, &e) < 0)
		fail_msg("refused: %s", e.text);
	print(&f, got, sizeof(got));
	assert_string_equal(got, want);
	rulefile_free(&f);
}

/* where: "a:3: ", the place under the directory. */
static void refuse(const char *name, const char *where, const char *say)
{
	struct rulefile f;
	struct err e = {.text = ""};

	assert_int_equal(rulefile_read(path(name), &f, &e), -1);
	assert_int_equal(f.lines.n + f.file_n, 0);
	if (strncmp(e.text, path(where), strlen(path(where))) != 0 || !strstr(e.text, say))
		fail_msg("said: %s; expected: %s ... %s", e.text, path(where), say);
}

static void test_include(void **state)
{
	(void)state;
	put("a", "one\ninclude sub/b\n\"include\" \"sub/c d\"\ntwo\\\n x\ninclude_if_exists no\n"
		 "include_if_exists sub/b\nthree include b\ninclude x y\n");
	put("sub/b", "# nothing\n\nb1 @words\ninclude ../e\nb2\n");
	put("sub/c d", "c\n");
	put("sub/words", "w1 \"w 2\",w3\n#\nw4\n");
	put("e", "e");
	expect("a", "a:1 one|sub/b:3 b1 w1,!w 2,w3,w4|sub/../e:1 e|sub/b:5 b2|sub/c d:1 c|a:4 two x|"
		    "sub/b:3 b1 w1,!w 2,w3,w4|sub/../e:1 e|sub/b:5 b2|a:8 three include b|"
		    "a:9 include x y");
}

static void test_absolute(void **state)
{
	char text[600];

	(void)state;
	put("sub/b", "x @../w @../w,y\n");
	put("w", "1,2");
	snprintf(text, sizeof(text), "include %s/sub/b\nz @%s/w\n", dir, dir);
	put("a", text);
	expect("a", "sub/b:1 x 1,2 1,2,y|a:2 z 1,2");
}

static void test_relative_to_working_directory(void **state)
{
	struct rulefile f;
	struct err e = {.text = ""};
	char got[200], *back = getcwd(NULL, 0);

	(void)state;
	assert_non_null(back);
	put("a", "include b\n");
	put("b", "x\n");
	assert_int_equal(chdir(dir), 0);
	if (rulefile_read("a", &f, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_int_equal(chdir(back), 0);
	free(back);
	print(&f, got, sizeof(got));
	assert_string_equal(got, "b:1 x");
	rulefile_free(&f);
}

static void test_directory(void **state)
{
	(void)state;
	put("a", "first\ninclude_dir d\ninclude_dir sub\nlast\n");
	put("d/b.conf", "b");
	put("d/a.conf", "a @w");
	put("d/Z.conf", "z");
	put("d/a.conf~", "no");
	put("d/.x.conf", "no");
	put("d/.conf", "no");
	put("d/w", "w");
	put("d/aconf", "no");
	expect("a", "a:1 first|d/Z.conf:1 z|d/a.conf:1 a w|d/b.conf:1 b|a:4 last");
	put("a", "x\ninclude_dir nowhere\n");
	refuse("a", "a:2: ", "cannot read the directory");
	put("a", "include_dir \" \"\n");
	refuse("a", "a:1: ", "no name of a directory");
	put("a", "include_dir d\n");
	put("d/b.conf", "b \"\n");
	refuse("a", "d/b.conf:1: ", "a double quote is not closed");
}

static void test_words_of_files(void **state)
{
	(void)state;
	put("a", "x @w,last @\"w\" \"@w\" @ y\n");
	put("w", "a,b c # no\n@deep\ninclude deep\n");
	put("deep", "\"d e\"\n");
	expect("a", "a:1 x a,b,c,!d e,!d e,last a,b,c,!d e,!d e !@w @ y");
	put("w", "# nobody\n");
	refuse("a", "a:1: ", "no word in the files");
	put("a", "x @w,y @w,@w,z\n");
	expect("a", "a:1 x y z");
	put("a", "\nx @none\n");
	refuse("a", "a:2: ", "No such file");
	put("a", "x @w\n");
	put("w", "y\n@none\n");
	refuse("a", "w:2: ", "No such file");
	put("w", "y\n\"z\n");
	refuse("a", "w:2: ", "a double quote is not closed");
	put("w", "y\nz\0z\n");
	put_bytes("w", "y\nz\0z\n", 6);
	refuse("a", "w:2: ", "a NUL byte");
}

static void test_missing(void **state)
{
	struct rulefile f;
	struct err e = {.text = ""};

	(void)state;
	assert_int_equal(rulefile_read(path("none"), &f, &e), -1);
	assert_non_null(strstr(e.text, "cannot read"));
	assert_int_equal(rulefile_read(dir, &f, &e), -1);
	assert_non_null(strstr(e.text, "not a regular file"));
	put("a", "x\ninclude none\n");
	refuse("a", "a:2: ", "cannot read");
	put("a", "x\ninclude_if_exists sub\n");
	refuse("a", "a:2: ", "not a regular file");
	put("a", "include \"\"\n");
	refuse("a", "a:1: ", "no name of a file");
	put("a", "");
	expect("a", "");
	put("a", "\\");
	expect("a", "");
}

/* --- bounds -------------------------------------------------------------------------- */

static void test_depth(void **state)
{
	char name[16], text[32];
	int i;

	(void)state;
	for (i = 0; i < RULEFILE_DEPTH_MAX; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(text, sizeof(text), i % 2 ? "x @f%d\n" : "include f%d\n", i + 1);
		put(name, text);
	}
	put("f10", "deepest\n");
	expect("f0", "f1:1 x x,x,x,x,deepest");
	put("f10", "@f11\n");
	put("f11", "too deep\n");
	refuse("f0", "f10:1: ", "nested deeper than 10");
	put("a", "include a\n");
	refuse("a", "a:1: ", "nested deeper than 10");
	put("a", "x @a\n");
	refuse("a", "a:1: ", "nested deeper than 10");
	put("d/a.conf", "include_dir .\n");
	refuse("d/a.conf", "d/", "nested deeper than 10");
}

static void test_many_files(void **state)
{
	char text[14 * 110] = "";
	size_t n = 0;

	(void)state;
	put("empty", "");
	while (n < 14 * 110 - 14)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "include empty\n");
	/* 109 of them: 110 files each time, 9 times and the first are 991 */
	put("more", text);
	snprintf(text, sizeof(text), "%s", "");
	for (n = 0; n < 9; n++)
		strncat(text, "include more\n", sizeof(text) - strlen(text) - 1);
	put("a", text);
	expect("a", "");
	strncat(text, "include more\n", sizeof(text) - strlen(text) - 1);
	put("a", text);
	/* the tenth one's ninth */
	refuse("a", "more:9: ", "more than 1000 files");
}

static char *repeat(const char *what, size_t times)
{
	size_t n = strlen(what), i;
	char *text = malloc(n * times + 1);

	assert_non_null(text);
	for (i = 0; i < times; i++)
		memcpy(text + i * n, what, n);
	text[n * times] = '\0';
	return text;
}

static void test_many_lines(void **state)
{
	char *text = repeat("x\n", RULEFILE_LINES_MAX + 1);
	struct rulefile f;
	struct err e;

	(void)state;
	put_bytes("a", text, 2 * RULEFILE_LINES_MAX);
	assert_int_equal(rulefile_read(path("a"), &f, &e), 0);
	assert_int_equal(f.lines.n, RULEFILE_LINES_MAX);
	rulefile_free(&f);
	put("a", text);
	refuse("a", "a:10001: ", "more than 10000 rules");
	free(text);
}

static void test_many_words(void **state)
{
	char *text = repeat("x,", RULEFILE_WORDS_MAX + 1);
	struct rulefile f;
	struct err e;

	(void)state;
	put_bytes("a", text, 2 * RULEFILE_WORDS_MAX);
	assert_int_equal(rulefile_read(path("a"), &f, &e), 0);
	assert_int_equal(f.lines.n, 1);
	assert_int_equal(f.lines.at[0].n, 1);
	assert_int_equal(f.lines.at[0].columns[0].n, RULEFILE_WORDS_MAX);
	rulefile_free(&f);
	put("a", text);
	refuse("a", "a:1: ", "more than 200000 words");
	/* a column of a file counts each time */
	put_bytes("w", text, RULEFILE_WORDS_MAX + 2);
	put("a", "@w\n@w\n");
	refuse("a", "w:1: ", "more than 200000 words");
	free(text);
}

static void test_many_bytes(void **state)
{
	char *text = repeat("#2345678", RULEFILE_BYTES_MAX / 8);
	struct rulefile f;
	struct err e = {.text = ""};

	(void)state;
	put_bytes("a", text, RULEFILE_BYTES_MAX);
	expect("a", "");
	assert_int_equal(rulefile_read_mem("m", text, RULEFILE_BYTES_MAX, &f, &e), 0);
	rulefile_free(&f);
	assert_int_equal(rulefile_read_mem("m", text, RULEFILE_BYTES_MAX + 1, &f, &e), -1);
	put("b", "#\ninclude a\n");
	refuse("b", "b:2: ", "more than 16777216 bytes");
	free(text);
}

/* --- both users of it -------------------------------------------------------------------- */

static void test_hba_of_files(void **state)
{
	struct hba_who who = {.is_local = true, .db = "d", .user = "bob"};
	const struct hba_rule *r;
	struct hba *h;
	struct err e = {.text = ""};

	(void)state;
	put("hba", "local x all trust\ninclude sub/more\nlocal all @users md5\nhost all all samehost trust\n");
	put("sub/more", "\nlocal all @names reject\n");
	put("sub/names", "alice\nall\\\nan\n");
	put("users", "bob carol\n");
	if (hba_read(path("hba"), &h, &e) < 0)
		fail_msg("refused: %s", e.text);
	r = hba_find(h, &who);
	assert_non_null(r);
	assert_int_equal(r->line, 3);
	assert_string_equal(r->file, path("hba"));
	who.user = "allan";
	r = hba_find(h, &who);
	assert_non_null(r);
	assert_int_equal(r->method, AUTH_REJECT);
	assert_int_equal(r->line, 2);
	assert_string_equal(r->file, path("sub/more"));
	assert_true(h->own_n > 0);
	hba_free(h);
	put("sub/names", "alice +admins");
	assert_int_equal(hba_read(path("hba"), &h, &e), -1);
	assert_null(h);
	assert_non_null(strstr(e.text, "sub/more:2: +admins is not supported"));
	put("sub/names", "all"); /* a keyword there too */
	assert_int_equal(hba_read(path("hba"), &h, &e), 0);
	assert_int_equal(h->rules[1].users.at[0].word, HBA_WORD_ALL);
	hba_free(h);
}

static void test_ident_of_files(void **state)
{
	struct ident *m;
	struct err e = {.text = ""};

	(void)state;
	put("ident", "a x y\ninclude_dir d\n");
	put("d/x.conf", "\nb /^(.*)@x$ \\1\n");
	if (ident_read(path("ident"), &m, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_true(ident_allows(m, "b", "joe@x", "joe"));
	assert_int_equal(m->lines[1].line, 2);
	assert_string_equal(m->lines[1].file, path("d/x.conf"));
	ident_free(m);
	put("d/x.conf", "\nb /( x\n");
	assert_int_equal(ident_read(path("ident"), &m, &e), -1);
	assert_non_null(strstr(e.text, "d/x.conf:2: "));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_include), T(test_absolute), T(test_relative_to_working_directory),
		T(test_directory), T(test_words_of_files), T(test_missing), T(test_depth),
		T(test_many_files), T(test_many_lines), T(test_many_words), T(test_many_bytes),
		T(test_hba_of_files), T(test_ident_of_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
