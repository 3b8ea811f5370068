/* tests/unit/test_conf_set.c - SET, warnings, [peers], and what [pgbouncer] means.
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

#include "conf/bouncer.h"
#include "conf/conf.h"
#include "conf/foreign.h"
#include "conf/key.h"

static const struct conf_over over = {.listen_port = -1, .numeric_hosts = true};

#define BASE "[pgweir]\nauth_type = trust\n[databases]\n* = host=127.0.0.1\n"
#define BOUNCER "[databases]\n* = host=127.0.0.1\n[pgbouncer]\nauth_type = trust\n"

static struct conf *load(const char *text)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_non_null(c);
	return c;
}

static void refuse(const char *text, const char *a, const char *b)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e) == 0) {
		conf_drop(c);
		fail_msg("accepted; expected: %s ... %s", a, b);
	}
	if (!strstr(e.text, a) || !strstr(e.text, b))
		fail_msg("said: %s; expected: %s ... %s", e.text, a, b);
}

/* --- SET ---------------------------------------------------------------------- */

static struct conf *set(struct conf *old, const char *name, const char *value)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_set(old, name, value, &c, &e) < 0)
		fail_msg("%s = %s refused: %s", name, value, e.text);
	return c;
}

static void refuse_set(struct conf *old, const char *name, const char *value, const char *a,
		       const char *b)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_set(old, name, value, &c, &e) == 0)
		fail_msg("%s = %s accepted; expected: %s ... %s", name, value, a, b);
	assert_null(c);
	if (!strstr(e.text, a) || !strstr(e.text, b))
		fail_msg("said: %s; expected: %s ... %s", e.text, a, b);
	assert_memory_equal(e.text, "SET: ", 5);
}

static void test_set(void **state)
{
	struct conf *c = load(BASE "app = host=::1 zones=here password=x user=u\n[users]\nu = "
				   "pool_size=3\n[pgweir]\napplication_name = a\n");
	struct conf *one = set(c, "default_pool_size", "7"), *two;

	(void)state;
	assert_int_equal(one->g.default_pool_size, 7);
	assert_int_equal(c->g.default_pool_size, 20);
	assert_int_equal(conf_find_user(one, "u")->k.pool_size, 3);
	assert_string_equal(conf_find_db(one, "app")->hosts[0].name, "[::1]:5432");
	assert_string_equal(conf_find_db(one, "else")->name, "*");
	assert_string_equal(conf_find_db(one, "app")->secret.password, "x");
	/* the first goes, and so does the one between: the file's parts stay */
	two = set(one, "application_name", "b");
	conf_drop(one);
	assert_ptr_equal(two->base, c);
	conf_drop(c);
	assert_string_equal(two->g.application_name, "b");
	assert_int_equal(two->g.default_pool_size, 7);
	assert_string_equal(conf_find_db(two, "app")->k.user, "u");
	/* what hosts have of a global setting */
	assert_true(two->dbs[0].host_conf[0].near);
	one = set(two, "zone", "there");
	assert_false(one->dbs[0].host_conf[0].near);
	assert_true(two->dbs[0].host_conf[0].near);
	conf_drop(two);
	two = set(one, "zone", "");
	assert_null(two->g.zone);
	conf_drop(one);
	one = set(two, "health_check_http", "8080");
	assert_int_equal(one->fallback->host_conf[0].http_port, 8080);
	assert_int_equal(two->fallback->host_conf[0].http_port, 0);
	conf_drop(two);
	conf_drop(one);
}

/* The same words, limits and checks as in a file. */
static void test_set_refused(void **state)
{
	struct conf *c = load(BASE);

	(void)state;
	refuse_set(c, "defualt_pool_size", "1", "unknown setting", "did you mean \"default_pool_size\"");
	refuse_set(c, "default_pool_size", "x", "is not a number", "allowed: 0 to 100000");
	refuse_set(c, "default_pool_size", "100001", "out of range", "allowed: 0 to 100000");
	refuse_set(c, "pool_mode", "x", "unknown", "session, transaction, statement");
	refuse_set(c, "listen_port", "1", "listen_port cannot be changed", "restart");
	refuse_set(c, "pkt_buf", "1", "pkt_buf has no effect", "16 kB");
	refuse_set(c, "auth_file", "x", "RELOAD", "auth_file");
	refuse_set(c, "health_check_password", "x", "RELOAD", "health_check_password");
	refuse_set(c, "auth_type", "hba", "auth_hba_file", "RELOAD");
	refuse_set(c, "min_pool_size", "21", "min_pool_size = 21 is more than", "default_pool_size = 20");
	refuse_set(c, "auth_type", "scram-sha-256", "needs auth_file", "");
	refuse_set(c, "health_check_http", "x", "database \"*\"", "health_check_http");
	refuse_set(c, "retry_codes", "40003", "may have committed", "");
	conf_drop(c);
}

/* Every setting: what SHOW CONFIG prints is taken back, and START ones are refused. */
static void test_set_each(void **state)
{
	struct conf *c = load(BASE), *out;
	const struct key *k;
	struct err e;
	char text[KEY_TEXT_MAX];
	size_t i;
	int taken = 0, refused = 0;

	(void)state;
	for (i = 0; (k = key_row(i)); i++) {
		if (k->scope != KEY_GLOBAL)
			continue;
		out = NULL;
		if (conf_set(c, k->name, key_print(k, &c->g, text, sizeof(text)), &out, &e) == 0) {
			assert_true(k->is_reloadable);
			taken++;
		} else {
			assert_true(!k->is_reloadable || strstr(e.text, "RELOAD"));
			refused++;
		}
		conf_drop(out);
	}
	assert_true(taken > 60 && refused > 10);
	conf_drop(c);
}

/* --- warnings ------------------------------------------------------------------- */

static void warned(const char *text, size_t n, const char *what)
{
	struct conf *c = load(text);
	size_t i;

	if (c->warning_n != n)
		fail_msg("%zu warnings, the first: %s", c->warning_n,
			 c->warning_n ? c->warnings[0] : "-");
	for (i = 0; i < n && !strstr(c->warnings[i], what);)
		i++;
	if (n && i == n)
		fail_msg("no warning says %s; the first: %s", what, c->warnings[0]);
	conf_drop(c);
}

static void test_foreign(void **state)
{
	const struct foreign *f;
	char text[300], what[300];
	size_t i;

	(void)state;
	warned(BASE, 0, "");
	for (i = 0; (f = foreign_row(i)); i++) {
		snprintf(text, sizeof(text), BOUNCER "%s = anything at all\n%s = x\n", f->name, f->name);
		snprintf(what, sizeof(what), "t.ini:5: %s has no effect: %s", f->name, f->why);
		warned(text, 1, what);
		assert_int_equal(foreign_find(f->name), i);
		for (int s = 0; s < KEY_SCOPE_N; s++)
			assert_null(key_find((enum key_scope)s, f->name));
	}
	warned(BASE "pkt_buf = host=127.0.0.1 syslog=1\na=host=::1 syslog=2\n", 1,
	       "t.ini:5: syslog has no effect");
	assert_int_equal(foreign_find("pkt_bug"), -1);
	refuse(BASE "[users]\nu = pkt_bug=1\n", "t.ini:6:", "unknown setting");
}

/* --- what is probably wrong ------------------------------------------------------- */

static char *make_file(char *path, const char *text, mode_t mode)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

/* As warned(), with @ in text for the name of the file. */
static void warned_of(const char *text, const char *path, size_t n, const char *what)
{
	char all[1000] = "";
	size_t at = 0;

	for (; *text && at + strlen(path) + 2 < sizeof(all); text++) {
		if (*text == '@')
			at += (size_t)snprintf(all + at, sizeof(all) - at, "%s", path);
		else
			all[at++] = *text;
		all[at] = '\0';
	}
	warned(all, n, what);
}

static void test_advice(void **state)
{
	char users[] = "/tmp/test_conf_set.XXXXXX";
	const char *path = make_file(users, "\"a\" \"md5c83e1f2a4b5d6c7d8e9fa0b1c2d3e4f5\"\n\"b\" \"x\"\n"
					    "\"a\" \"md5c83e1f2a4b5d6c7d8e9fa0b1c2d3e4f5\"\n", 0600);

	(void)state;
	warned_of("[databases]\n*=host=::1\n[pgweir]\nauth_file=@\n", path, 2,
		  "lets nobody in who has an MD5 secret: user \"a\" of auth_file");
	warned_of("[databases]\n*=host=::1\n[pgweir]\nauth_file=@\nauth_type=md5\n", path, 1,
		  "user \"a\" stands there more than once");
	assert_int_equal(chmod(path, 0604), 0);
	warned_of("[databases]\n*=host=::1\n[pgweir]\nauth_file=@\nauth_type=md5\n", path, 2,
		  "t.ini:4: auth_file: everybody on this machine may read");
	warned_of("[databases]\na=host=::1 user=u password_file=@\n[pgweir]\nauth_type=trust\n"
		  "health_check_password_file=@\n", path, 2, "t.ini:2: password_file: everybody");
	warned_of("[databases]\na=host=::1 sslkey=@\n[pgweir]\nauth_type=trust\n", path, 1,
		  "t.ini:2: sslkey: everybody");
	assert_int_equal(unlink(path), 0);
	warned("[databases]\na=host=::1\na=host=::1\nb=host=::1\n[pgweir]\nauth_type=trust\n", 1,
	       "t.ini:2: database \"a\" stands here and in line 3 again");
	warned("[databases]\na=host=::1\n[pgweir]\nauth_type=trust\ntarget_session_attrs=primary\n", 1,
	       "t.ini:2: database \"a\": target_session_attrs needs");
	warned("[databases]\na=host=::1 user=u\nb=host=::1 target_session_attrs=any\n[pgweir]\n"
	       "auth_type=trust\ntarget_session_attrs=primary\n", 0, "");
	warned("[databases]\na=host=::1\n[pgweir]\nauth_type=trust\ntarget_session_attrs=primary\n"
	       "health_check_user=u\n", 0, "");
	warned("[databases]\n[pgbouncer]\nauth_type=trust\n", 1, "t.ini: no database: only the console");
}

/* --- [pgbouncer] ---------------------------------------------------------------- */

struct seen {
	const char *key;
	char value[64], def[64];
};

static void note(void *arg, const char *key, const char *value, const char *def, bool reloadable)
{
	struct seen *s = arg;

	(void)reloadable;
	if (strcmp(key, s->key) != 0)
		return;
	snprintf(s->value, sizeof(s->value), "%s", value);
	snprintf(s->def, sizeof(s->def), "%s", def);
}

static void test_defaults(void **state)
{
	struct conf *c = load("[databases]\n* = host=127.0.0.1\n[pgbouncer]\nauth_user = u\n");
	struct conf *weir = load(BASE);
	const struct bouncer *b;
	struct seen s;
	size_t i;

	(void)state;
	for (i = 0; (b = bouncer_row(i)); i++) {
		s.key = b->name;
		conf_each(c, note, &s);
		assert_string_equal(s.value, b->def);
		assert_string_equal(s.def, b->def);
		conf_each(weir, note, &s);
		assert_string_not_equal(s.def, b->def);
	}
	assert_int_equal(c->g.auth_type, AUTH_MD5);
	assert_int_equal(c->g.max_client_conn, 100);
	assert_null(c->g.listen_addr);
	conf_drop(c);
	conf_drop(weir);
	/* written down, they hold under either name */
	c = load(BOUNCER "pool_mode = transaction\nmax_client_conn = 1000\n");
	assert_int_equal(c->g.pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->g.max_client_conn, 1000);
	assert_int_equal(c->g.auth_type, AUTH_TRUST);
	conf_drop(c);
}

/* A database without a host is where PgBouncer looks for it, and none at all is fine. */
static void test_places(void **state)
{
	struct conf *c = load("[databases]\na = port=5433\nb =\n[pgbouncer]\nauth_type = trust\n"
			      "unix_socket_dir = /run/postgresql\n");

	(void)state;
	assert_string_equal(conf_find_db(c, "a")->hosts[0].host, "/run/postgresql");
	assert_int_equal(conf_find_db(c, "a")->hosts[0].port, 5433);
	assert_string_equal(conf_find_db(c, "b")->k.host, "/run/postgresql");
	conf_drop(c);
	c = load("[databases]\n[pgbouncer]\nauth_type = trust\n");
	assert_int_equal(c->db_n, 0);
	assert_null(c->fallback);
	assert_null(conf_find_db(c, "a"));
	conf_drop(c);
	refuse("[databases]\na =\n[pgbouncer]\nauth_type = trust\nunix_socket_dir =\n",
	       "t.ini:2: database \"a\"", "no host=");
	refuse("[databases]\na =\n[pgweir]\nauth_type = trust\nunix_socket_dir = /tmp\n",
	       "t.ini:2: database \"a\"", "no host=");
	refuse("[databases]\n[pgweir]\nauth_type = trust\n", "no database", "host=10.0.0.1");
}

static void test_peers(void **state)
{
	struct conf *c = load(BASE "[peers]\n2 = host=/run/two\n1 = host=10.0.0.1 port=7 pool_size=9\n"
				   "16383 = host=x\n2 = host=::1\n[pgweir]\npeer_id = 1\n");

	(void)state;
	assert_int_equal(c->g.peer_id, 1);
	assert_int_equal(c->peer_n, 3);
	assert_int_equal(c->peers[0].id, 1);
	assert_int_equal(c->peers[0].k.port, 7);
	assert_int_equal(c->peers[0].k.pool_size, 9);
	assert_string_equal(conf_find_peer(c, 2)->k.host, "::1");
	assert_int_equal(conf_find_peer(c, 2)->k.port, 6432);
	assert_true(conf_find_peer(c, 2)->k.pool_size == CONF_UNSET);
	assert_int_equal(conf_find_peer(c, 2)->line, 9);
	assert_non_null(conf_find_peer(c, 16383));
	assert_null(conf_find_peer(c, 3));
	conf_drop(c);
	refuse(BASE "[peers]\n0 = host=x\n", "t.ini:6: \"0\"", "allowed: 1 to 16383");
	refuse(BASE "[peers]\n16384 = host=x\n", "t.ini:6:", "allowed: 1 to 16383");
	refuse(BASE "[peers]\na = host=x\n", "t.ini:6: \"a\"", "peer_id");
	refuse(BASE "[peers]\n01 = host=x\n", "t.ini:6:", "allowed: 1 to 16383");
	refuse(BASE "[peers]\n1 = port=1\n", "t.ini:6: peer 1", "no host=");
	refuse(BASE "[peers]\n1 = host=x port=0\n", "t.ini:6: peer 1", "allowed: 1 to 65535");
	refuse(BASE "[peers]\n1 = hots=x\n", "unknown setting \"hots\" in [peers]",
	       "did you mean \"host\"?");
}

/* --- precedence -------------------------------------------------------------------- */

/* Every setting of a user or a database that has a wider scope is of the same type there. */
static void test_scopes(void **state)
{
	const struct key *k, *wide;
	int pairs = 0;
	size_t i;

	(void)state;
	for (i = 0; (k = key_row(i)); i++) {
		if (k->scope != KEY_DB && k->scope != KEY_USER)
			continue;
		wide = key_find(KEY_GLOBAL, k->name);
		if (!wide)
			continue;
		pairs++;
		assert_int_equal(k->type, wide->type);
		assert_true(k->max <= wide->max && k->min >= wide->min);
	}
	assert_true(pairs > 20);
	assert_int_equal(CONF_PICK(CONF_UNSET, CONF_UNSET, 3), 3);
	assert_int_equal(CONF_PICK(CONF_UNSET, 2, 3), 2);
	assert_int_equal(CONF_PICK(1, 2, 3), 1);
	assert_int_equal(CONF_PICK(0, 2, 3), 0);
	assert_int_equal(CONF_PICK(CONF_UNSET, 0, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),	 cmocka_unit_test(test_set_refused),
		cmocka_unit_test(test_set_each), cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_places),
		cmocka_unit_test(test_peers),	 cmocka_unit_test(test_scopes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
