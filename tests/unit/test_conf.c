/* tests/unit/test_conf.c - the ini dialect.
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
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"

static const struct conf_over over = {.listen_port = -1, .numeric_hosts = true};

#define BASE "[pgweir]\nauth_type = trust\n[databases]\n* = host=127.0.0.1\n"

static struct conf *load_len(const char *text, size_t len)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, len, &over, &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_non_null(c);
	return c;
}

static struct conf *load(const char *text)
{
	return load_len(text, strlen(text));
}

/* Refused, and the sentence contains both words. */
static void refuse_len(const char *text, size_t len, const char *a, const char *b)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, len, &over, &c, &e) == 0) {
		conf_drop(c);
		fail_msg("accepted; expected: %s ... %s", a, b);
	}
	assert_null(c);
	if (!strstr(e.text, a) || !strstr(e.text, b))
		fail_msg("said: %s; expected: %s ... %s", e.text, a, b);
}

static void refuse(const char *text, const char *a, const char *b)
{
	refuse_len(text, strlen(text), a, b);
}

/* --- the dialect ------------------------------------------------------------ */

static void test_plain(void **state)
{
	struct conf *c = load(BASE "app = host=127.0.0.1,127.0.0.2 port=1,2 dbname=x user=u "
				   "password='a''b c;=#'\n");
	const struct conf_db *d = conf_find_db(c, "app");

	(void)state;
	assert_string_equal(c->path, "t.ini");
	assert_false(c->from_uri);
	assert_false(c->from_pgbouncer);
	assert_int_equal(c->g.pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->db_n, 1);
	assert_non_null(c->fallback);
	assert_string_equal(d->name, "app");
	assert_int_equal(d->line, 5);
	assert_int_equal(d->host_n, 2);
	assert_string_equal(d->hosts[1].name, "127.0.0.2:2");
	assert_string_equal(d->k.password, "a'b c;=#");
	assert_string_equal(d->k.dbname, "x");
	assert_true(d->k.pool_size == CONF_UNSET);
	assert_ptr_equal(conf_find_db(c, "other"), c->fallback);
	assert_ptr_equal(conf_hold(c), c);
	conf_drop(c);
	conf_drop(c);
	conf_drop(NULL);
}

static void test_long_lines(void **state)
{
	static char text[70000];
	size_t lens[] = {150, 180, 185, 190, 195, 196, 197, 198, 199, 200, 201, 250, 380, 400,
			 20480, 65000};
	size_t i, j, at;
	struct conf *c;

	(void)state;
	/* Every kind of byte that libinih would interpret, at every distance from
	 * the edges of its pieces. */
	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		at = (size_t)snprintf(text, sizeof(text), BASE "[pgweir]\nserver_reset_query = a");
		for (j = 0; j < lens[i]; j++)
			text[at + j] = "x ;:#=[]\tlisten_port = 7 ; y"[j % 28];
		text[at + j] = 'z';
		snprintf(text + at + j + 1, 40, "\nlisten_port = 99\n");
		c = load(text);
		assert_int_equal(strlen(c->g.server_reset_query), lens[i] + 2);
		assert_memory_equal(c->g.server_reset_query, text + at - 1, lens[i] + 2);
		assert_int_equal(c->g.listen_port, 99);
		conf_drop(c);
	}
}

static void test_indented(void **state)
{
	struct conf *c = load("\t[pgweir]\n\tauth_type = trust\n\t  listen_port = 1234\n"
			      "    ; listen_port = 2\n\t# listen_port = 3\n\n"
			      "  [databases]  \n\t* = host=127.0.0.1\n  a = host=127.0.0.2\n");

	(void)state;
	assert_int_equal(c->g.listen_port, 1234);
	assert_int_equal(c->db_n, 1);
	assert_string_equal(c->fallback->hosts[0].host, "127.0.0.1");
	conf_drop(c);
}

static void test_special_values(void **state)
{
	static const char *const values[] = {
		"a;b", "a ; b", "a # b", "; a", "# a", "a:b", "a : b", ": a", "= a", "a = b = c",
		"[x]", "a ;", "'a'", "\"a\"", "%include x", "\xc3\xa4 \xa0", "a\tb", "a\\", "a\\n",
	};
	char text[400];
	struct conf *c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(text, sizeof(text), BASE "[pgweir]\nserver_reset_query =%s\n", values[i]);
		c = load(text);
		assert_string_equal(c->g.server_reset_query, values[i]);
		conf_drop(c);
	}
}

static void test_last_wins(void **state)
{
	struct conf *c = load(BASE "a = host=127.0.0.1 dbname=one pool_size=3\n"
				   "[pgweir]\nlisten_port = 1\nserver_reset_query = one\n"
				   "server_reset_query = two\nserver_reset_query = two\n"
				   "[databases]\na = host=127.0.0.2\n"
				   "[users]\nu = pool_size=1\nu = pool_size=2\n"
				   "[pgweir]\nlisten_port = 2\n");

	(void)state;
	assert_string_equal(c->g.server_reset_query, "two");
	assert_int_equal(c->g.listen_port, 2);
	assert_int_equal(c->db_n, 1);
	assert_string_equal(c->dbs[0].hosts[0].host, "127.0.0.2");
	/* The whole line is replaced, not only what the new one names. */
	assert_null(c->dbs[0].k.dbname);
	assert_true(c->dbs[0].k.pool_size == CONF_UNSET);
	assert_int_equal(c->user_n, 1);
	assert_int_equal(c->users[0].k.pool_size, 2);
	conf_drop(c);
}

static void test_names(void **state)
{
	char text[1000], name[400];
	struct conf *c;
	size_t n;

	(void)state;
	for (n = 30; n < 350; n += 7) {
		memset(name, 'a', n);
		name[n] = '\0';
		snprintf(text, sizeof(text), BASE "%s = host=127.0.0.2\n%s2 = host=127.0.0.3\n",
			 name, name);
		c = load(text);
		assert_int_equal(c->db_n, 2);
		assert_string_equal(conf_find_db(c, name)->name, name);
		conf_drop(c);
	}
	c = load(BASE "'a b' = host=127.0.0.2\n'it''s' = host=127.0.0.3\n"
		      "';x:=' = host=127.0.0.4\na.b-c_*1=host=127.0.0.5\n'[d]' = host=127.0.0.6\n");
	assert_string_equal(conf_find_db(c, "a b")->hosts[0].host, "127.0.0.2");
	assert_string_equal(conf_find_db(c, "it's")->hosts[0].host, "127.0.0.3");
	assert_string_equal(conf_find_db(c, ";x:=")->hosts[0].host, "127.0.0.4");
	assert_string_equal(conf_find_db(c, "a.b-c_*1")->hosts[0].host, "127.0.0.5");
	assert_string_equal(conf_find_db(c, "[d]")->hosts[0].host, "127.0.0.6");
	conf_drop(c);
	refuse(BASE "\"a\" = host=127.0.0.1\n", "t.ini:5:", "expected name = value");
	refuse(BASE "'a = host=127.0.0.1\n", "t.ini:5:", "not closed");
	refuse(BASE "'' = host=127.0.0.1\n", "t.ini:5:", "empty name");
	refuse(BASE "a : host=127.0.0.1\n", "t.ini:5:", "does not separate");
	refuse(BASE "a\n", "t.ini:5:", "expected =");
	refuse(BASE "= b\n", "t.ini:5:", "expected name");
	refuse(BASE "a b = host=127.0.0.1\n", "t.ini:5:", "expected =");
}

static void test_sections(void **state)
{
	(void)state;
	refuse(BASE "[pgweir] junk\n", "t.ini:5:", "nothing behind");
	refuse(BASE "[pgweir] ; junk\n", "t.ini:5:", "nothing behind");
	refuse(BASE "[pgweir\n", "t.ini:5:", "section header");
	refuse(BASE "[]\n", "t.ini:5:", "section header");
	refuse(BASE "[pg]weir]\n", "t.ini:5:", "section header");
	refuse(BASE "[pgwier]\n", "t.ini:5: unknown section [pgwier]", "[databases]");
	refuse(BASE "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", "t.ini:5:",
	       "unknown section");
	refuse(BASE "[peer]\n", "t.ini:5: unknown section [peer]", "[peers]");
	refuse("x = 1\n", "t.ini:1:", "before any section");
	refuse(BASE "[pgbouncer]\n", "t.ini:5:", "t.ini:1");
	refuse("[pgbouncer]\n[databases]\n[pgweir]\n", "t.ini:3:", "one of the two");
}

static void test_pgbouncer_name(void **state)
{
	struct conf *c = load("[pgbouncer]\nauth_type=trust\n[databases]\na=host=127.0.0.1\n");

	(void)state;
	assert_true(c->from_pgbouncer);
	assert_int_equal(c->g.pool_mode, POOL_SESSION);
	assert_null(c->fallback);
	assert_null(conf_find_db(c, "b"));
	conf_drop(c);
	c = load("[databases]\na=host=127.0.0.1\n[pgbouncer]\nauth_type=trust\n"
		 "pool_mode = transaction\n");
	assert_int_equal(c->g.pool_mode, POOL_TRANSACTION);
	conf_drop(c);
	refuse("[pgbouncer]\nauth_typ = trust\n", "unknown setting \"auth_typ\" in [pgbouncer]",
	       "did you mean \"auth_type\"?");
}

static void test_bytes(void **state)
{
	static const char nul[] = BASE "[pgweir]\nuser = a\0b\n";
	char text[200];
	struct conf *c;
	int b;

	(void)state;
	refuse_len(nul, sizeof(nul) - 1, "t.ini:6:", "byte 0x00 (column 9)");
	refuse_len("\0", 1, "t.ini:1:", "0x00");
	for (b = 1; b < 256; b++) {
		if (b == '\t' || b == '\n' || (b >= 0x20 && b != 0x7f))
			continue;
		snprintf(text, sizeof(text), BASE "[pgweir]\nuser = a%cb\n", b);
		refuse(text, "t.ini:6:", "is not allowed");
		snprintf(text, sizeof(text), BASE "; a comment %c too\n", b);
		refuse(text, "t.ini:5:", "is not allowed");
	}
	c = load("[pgweir]\r\nauth_type = trust\r\nuser = bob\r\n[databases]\r\n"
		 "* = host=127.0.0.1\r\n\r\n; c\r\n");
	assert_string_equal(c->g.user, "bob");
	conf_drop(c);
	c = load(BASE "[pgweir]\nuser = bob");
	assert_string_equal(c->g.user, "bob");
	conf_drop(c);
	c = load("\xef\xbb\xbf" BASE);
	conf_drop(c);
	c = load(BASE "[pgweir]\nuser = bob\nuser =\nserver_reset_query = \t \n");
	assert_null(c->g.user);
	assert_null(c->g.server_reset_query);
	conf_drop(c);
}

static void test_unknown(void **state)
{
	(void)state;
	refuse(BASE "[pgweir]\nlisten_prot = 1\n",
	       "t.ini:6: unknown setting \"listen_prot\" in [pgweir]",
	       "did you mean \"listen_port\"?");
	refuse(BASE "[pgweir]\n\n\nxyzzy = 1\n", "t.ini:8:", "\"xyzzy\" in [pgweir]");
	refuse(BASE "a = host=127.0.0.1 prot=1\n", "t.ini:5: database \"a\":",
	       "unknown setting \"prot\" in [databases]; did you mean \"port\"?");
	refuse(BASE "[users]\nu = pool_mod=session\n", "t.ini:6: user \"u\":",
	       "did you mean \"pool_mode\"?");
	refuse(BASE "[users]\nu = password=x\n", "t.ini:6:", "unknown setting \"password\"");
	refuse(BASE "[pgweir]\npool_mode = sesion\n", "allowed: session, transaction",
	       "did you mean \"session\"?");
}

static void test_pairs(void **state)
{
	struct conf *c = load(BASE "a =   host = 127.0.0.1\tport= '7'  options='-c a=b' \n"
				   "b = host='127.0.0.1' password==x=\n");

	(void)state;
	assert_string_equal(conf_find_db(c, "a")->hosts[0].name, "127.0.0.1:7");
	assert_string_equal(conf_find_db(c, "a")->k.options, "-c a=b");
	assert_string_equal(conf_find_db(c, "b")->k.password, "=x=");
	conf_drop(c);
	refuse(BASE "a = host= port=1\n", "t.ini:5:", "host= has no value");
	refuse(BASE "a = host=127.0.0.1 user=\n", "t.ini:5:", "user= has no value");
	refuse(BASE "a = host=127.0.0.1 user=''\n", "t.ini:5:", "user= has no value");
	refuse(BASE "a = host='127.0.0.1\n", "t.ini:5:", "not closed");
	refuse(BASE "a = host='127.0.0.1'port=1\n", "t.ini:5:", "no blank after");
	refuse(BASE "a = junk\n", "t.ini:5:", "expected key=value");
	refuse(BASE "a = 1.2.3.4 port=1\n", "t.ini:5:", "expected key=value");
	refuse(BASE "a = host=127.0.0.1 port=1,2\n", "t.ini:5:", "2 ports for 1 hosts");
	refuse(BASE "a = host=127.0.0.1 port=65536\n", "t.ini:5:", "1 to 65535");
	refuse(BASE "a = host=127.0.0.1 port=0\n", "t.ini:5:", "1 to 65535");
	refuse(BASE "a = host=127.0.0.1,,127.0.0.2\n", "t.ini:5:", "empty name");
	refuse(BASE "a = host=no..name\n", "t.ini:5: database \"a\":", "neither an address");
	conf_drop(load(BASE "a = host=no.such.name\n"));
}

/* What cannot be read may be half a password: never repeat it. */
static void test_no_secrets_in_errors(void **state)
{
	static const char *const texts[] = {
		BASE "a = host=127.0.0.1 password=top SECRET\n",
		BASE "a = host=127.0.0.1 password='top''SECRET\n",
		BASE "a = host=127.0.0.1 password='top'SECRET\n",
		BASE "a = password= SECRET=x\n",
		BASE "a = host=127.0.0.1 password=SECRET bad=1\n",
		BASE "\"SECRET\n",
	};
	struct conf *c;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(conf_load_mem("t.ini", texts[i], strlen(texts[i]), &over, &c, &e),
				 -1);
		assert_null(strstr(e.text, "SECRET"));
	}
}

/* --- %include --------------------------------------------------------------- */

static char dir[200];

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/pgweir-conf-XXXXXX", tmp ? tmp : P_tmpdir);
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void write_file(char *path, size_t cap, const char *name, const char *text)
{
	FILE *f;

	snprintf(path, cap, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_include(void **state)
{
	char inner[300], outer[300], text[900];
	struct conf *c;
	struct err e;

	(void)state;
	/* The section goes into the included file and comes out of it. */
	write_file(inner, sizeof(inner), "in.ini", "listen_port = 77\n[databases]\n"
						   "a = host=127.0.0.2");
	snprintf(text, sizeof(text), "[pgweir]\nauth_type = trust\n  %%include %s  \n"
				     "b = host=127.0.0.3\n", inner);
	write_file(outer, sizeof(outer), "out.ini", text);
	assert_int_equal(conf_load_file(outer, &over, &c, &e), 0);
	assert_int_equal(c->g.listen_port, 77);
	assert_int_equal(c->db_n, 2);
	assert_string_equal(c->path, outer);
	assert_int_equal(c->dbs[1].line, 4);
	conf_drop(c);

	/* The place of an error is that of the included file. */
	write_file(inner, sizeof(inner), "in.ini", "\nlisten_port = x\n");
	assert_int_equal(conf_load_file(outer, &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "in.ini:2: listen_port"));
	unlink(inner);
	assert_int_equal(conf_load_file(outer, &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "out.ini:3: %include: cannot read"));
	unlink(outer);
	assert_int_equal(conf_load_file(outer, &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "No such file"));
	assert_int_equal(conf_load_file(dir, &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "not a regular file"));
	refuse(BASE "%include x\n", "t.ini:5:", "%include is not allowed here");
	refuse(BASE "%includex\n", "t.ini:5:", "%include FILE");
	refuse(BASE "%include\n", "t.ini:5:", "%include FILE");
}

static void test_include_depth(void **state)
{
	char path[12][300], name[20], text[400];
	struct conf *c;
	struct err e;
	int i;

	(void)state;
	write_file(path[11], sizeof(path[11]), "11.ini", "listen_port = 11\n");
	for (i = 10; i >= 0; i--) {
		snprintf(name, sizeof(name), "%d.ini", i);
		snprintf(text, sizeof(text), "%s%%include %s\n", i < 2 ? BASE "[pgweir]\n" : "",
			 path[i + 1]);
		write_file(path[i], sizeof(path[i]), name, text);
	}
	assert_int_equal(conf_load_file(path[1], &over, &c, &e), 0);
	assert_int_equal(c->g.listen_port, 11);
	conf_drop(c);
	assert_int_equal(conf_load_file(path[0], &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "10.ini:1:"));
	assert_non_null(strstr(e.text, "deeper than 10"));
	/* A file that includes itself ends too. */
	snprintf(text, sizeof(text), "%%include %s\n", path[0]);
	write_file(path[0], sizeof(path[0]), "0.ini", text);
	assert_int_equal(conf_load_file(path[0], &over, &c, &e), -1);
	assert_non_null(strstr(e.text, "deeper than 10"));
	for (i = 0; i < 12; i++)
		unlink(path[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_indented),
		cmocka_unit_test(test_special_values),
		cmocka_unit_test(test_last_wins),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_pgbouncer_name),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_no_secrets_in_errors),
		cmocka_unit_test_setup_teardown(test_include, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_include_depth, make_dir, drop_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
