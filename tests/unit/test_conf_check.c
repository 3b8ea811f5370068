/* tests/unit/test_conf_check.c - checks between settings, auth_file, connection
 * strings, the command line.
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
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/key.h"

static const struct conf_over over = {.listen_port = -1, .numeric_hosts = true};

#define BASE "[pgweir]\nauth_type = trust\n[databases]\n* = host=127.0.0.1\n"
#define KEY_44 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define SCRAM "SCRAM-SHA-256$4096:c2FsdA==$" KEY_44 ":" KEY_44

static struct conf *load(const char *text)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	return c;
}

static void expect_error(int ret, struct conf *c, const struct err *e, const char *a,
			 const char *b)
{
	if (ret == 0) {
		conf_drop(c);
		fail_msg("accepted; expected: %s ... %s", a, b);
	}
	assert_null(c);
	if (!strstr(e->text, a) || !strstr(e->text, b))
		fail_msg("said: %s; expected: %s ... %s", e->text, a, b);
}

static void refuse(const char *text, const char *a, const char *b)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};
	int ret = conf_load_mem("t.ini", text, strlen(text), &over, &c, &e);

	expect_error(ret, c, &e, a, b);
}

static struct conf *load_uri(const char *uri)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	if (conf_load_uri(uri, &over, &c, &e) < 0)
		fail_msg("%s refused: %s", uri, e.text);
	return c;
}

static void refuse_uri(const char *uri, const char *a)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};
	int ret = conf_load_uri(uri, &over, &c, &e);

	expect_error(ret, c, &e, "connection string: ", a);
}

/* --- checks between settings --------------------------------------------------- */

static void test_databases(void **state)
{
	(void)state;
	refuse("[pgweir]\nauth_type = trust\n", "t.ini: no database", "[databases]");
	refuse("", "t.ini: no database", "[databases]");
	refuse(BASE "a = dbname=x\n", "t.ini:5: database \"a\"", "host=");
	refuse(BASE "a =\n", "t.ini:5: database \"a\"", "host=");
	refuse(BASE "pgbouncer = host=127.0.0.1\n", "t.ini:5:", "reserved");
	refuse(BASE "pgweir = host=127.0.0.1\n", "t.ini:5:", "reserved");
	conf_drop(load(BASE "a = host=/run/postgresql\n"));
}

static void test_remote_addr(void **state)
{
	(void)state;
	refuse(BASE "a = host=127.0.0.1 crdb_remote_addr=1\n", "t.ini:5: database \"a\"",
	       "crdb_remote_addr needs pool_mode = session");
	refuse(BASE "a = host=127.0.0.1 crdb_remote_addr=1 pool_mode=transaction\n"
		    "[pgweir]\npool_mode = session\n",
	       "t.ini:5: database \"a\"", "crdb_remote_addr needs pool_mode = session");
	conf_drop(load(BASE "a = host=127.0.0.1 crdb_remote_addr=1 pool_mode=session\n"));
	conf_drop(load(BASE "a = host=127.0.0.1 crdb_remote_addr=1\n[pgweir]\npool_mode = session\n"));
	conf_drop(load(BASE "a = host=127.0.0.1 crdb_remote_addr=0\n"));
}

static void test_listen(void **state)
{
	static const char *const beyond[] = {"*", "0.0.0.0", "::", "10.0.0.1", "127.0.0.1,10.0.0.1",
					     "::ffff:10.0.0.1"};
	static const char *const within[] = {"127.0.0.1", "127.9.9.9 , ::1", "::ffff:127.0.0.1",
					     ""};
	char text[300];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		snprintf(text, sizeof(text), BASE "[pgweir]\nlisten_addr = %s\n", beyond[i]);
		refuse(text, "t.ini:6: listen_addr", "auth_type = scram-sha-256");
	}
	for (i = 0; i < sizeof(within) / sizeof(within[0]); i++) {
		snprintf(text, sizeof(text), BASE "[pgweir]\nlisten_addr = %s\n", within[i]);
		conf_drop(load(text));
	}
	refuse(BASE "[pgweir]\nlisten_addr = no.such.name\n", "t.ini:6: listen_addr",
	       "cannot resolve");
	refuse(BASE "[pgweir]\nlisten_addr = /run\n", "t.ini:6: listen_addr", "unix_socket_dir");
	refuse(BASE "[pgweir]\nlisten_addr = 127.0.0.1,\n", "t.ini:6: listen_addr", "empty");
}

static void test_unix(void **state)
{
	static const char *const bad[] = {"run", "./run", "@", "~/x", "unix:/run"};
	char text[300], dir[120];
	struct conf *c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), BASE "[pgweir]\nunix_socket_dir = %s\n", bad[i]);
		refuse(text, "t.ini:6: unix_socket_dir", "absolute path");
	}
	memset(dir, 'd', sizeof(dir));
	for (i = 0; i < 2; i++) {
		dir[0] = "/@"[i];
		dir[94] = '\0';        /* + "/.s.PGSQL.1" or 65535, and NUL = 106, 110 */
		snprintf(text, sizeof(text), BASE "[pgweir]\nunix_socket_dir = %s\nlisten_port=1\n",
			 dir);
		c = load(text);
		assert_string_equal(c->g.unix_socket_dir, dir);
		assert_int_equal(c->g.unix_socket_mode, 0777);
		assert_null(c->g.unix_socket_group);
		conf_drop(c);
		snprintf(text, sizeof(text), BASE "[pgweir]\nunix_socket_dir = %s\nlisten_port=0\n",
			 dir);
		refuse(text, "t.ini:6: unix_socket_dir", "too long");
		dir[94] = 'd';
	}
	c = load(BASE);
	assert_null(c->g.unix_socket_dir);
	conf_drop(c);
	c = load("[databases]\n*=host=::1\n[pgbouncer]\nauth_type=trust\nunix_socket_dir = /run\n");
	assert_string_equal(c->g.unix_socket_dir, "/run");
	conf_drop(c);
	c = load("[databases]\n*=host=::1\n[pgbouncer]\nauth_type=trust\nunix_socket_dir =\n");
	assert_null(c->g.unix_socket_dir);
	conf_drop(c);
	c = load("[databases]\n*=host=::1\n[pgbouncer]\nauth_type=trust\n");
	assert_string_equal(c->g.unix_socket_dir, "/tmp");
	conf_drop(c);
}

static void test_sizes(void **state)
{
	(void)state;
	refuse(BASE "[pgweir]\nmin_pool_size = 21\n", "t.ini:6: min_pool_size = 21",
	       "default_pool_size = 20");
	conf_drop(load(BASE "[pgweir]\nmin_pool_size = 20\n"));
	conf_drop(load(BASE "[pgweir]\nmin_pool_size = 21\ndefault_pool_size = 0\n"));
	refuse(BASE "a = host=127.0.0.1 min_pool_size=3 pool_size=2\n", "t.ini:5: database \"a\"",
	       "min_pool_size = 3 is more than pool_size = 2");
	refuse(BASE "a = host=127.0.0.1 min_pool_size=21\n", "t.ini:5:", "default_pool_size = 20");
	refuse(BASE "a = host=127.0.0.1 pool_size=2\n[pgweir]\nmin_pool_size=3\n", "t.ini:5:",
	       "the global min_pool_size = 3");
	conf_drop(load(BASE "a = host=127.0.0.1 min_pool_size=30 pool_size=0\n"));
	conf_drop(load(BASE "a = host=127.0.0.1 min_pool_size=3 pool_size=3\n"));
}

/* Lists beside the list of hosts. */
static void test_hosts(void **state)
{
	struct conf *c = load(BASE "a = host=127.0.0.1,127.0.0.2 weight=3,4 zones='x, y' "
				   "health_check_http=,https://8443/up\n"
				   "b = host=127.0.0.1,127.0.0.3 port=5432,5433 zones=y weight=9\n"
				   "[pgweir]\nzone = y\nhealth_check_http = 8080\n");
	const struct conf_db *a = conf_find_db(c, "a"), *b = conf_find_db(c, "b");

	(void)state;
	assert_int_equal(a->host_n, 2);
	assert_int_equal(a->host_conf[0].weight, 3);
	assert_int_equal(a->host_conf[1].weight, 4);
	assert_false(a->host_conf[0].near);
	assert_true(a->host_conf[1].near);
	assert_int_equal(a->host_conf[0].http_port, 0);
	assert_int_equal(a->host_conf[1].http_port, 8443);
	assert_true(a->host_conf[1].https);
	assert_string_equal(a->host_conf[1].http_path, "/up");
	assert_int_equal(b->host_n, 2);
	assert_int_equal(b->host_conf[1].weight, 9);
	assert_true(b->host_conf[0].near && b->host_conf[1].near);
	assert_int_equal(b->host_conf[1].http_port, 8080);
	assert_string_equal(b->host_conf[1].http_path, "/health?ready=1");
	/* one that says nothing of zones is near everywhere */
	assert_true(c->fallback->host_conf[0].near);
	assert_int_equal(c->fallback->host_conf[0].weight, 1);
	conf_drop(c);
	refuse(BASE "a = host=127.0.0.1,127.0.0.2 weight=1,2,3\n", "t.ini:5: database \"a\"",
	       "3 entries in weight for 2 hosts");
	refuse(BASE "a = host=127.0.0.1 weight=101\n", "t.ini:5: database \"a\"", "1 to 100");
	refuse(BASE "a = host=127.0.0.1,127.0.0.2,127.0.0.3 zones=a,b\n", "t.ini:5:",
	       "2 entries in zones for 3 hosts");
	refuse(BASE "a = host=127.0.0.1 health_check_http=x\n", "t.ini:5:", "[https://]PORT");
	refuse(BASE "[pgweir]\nhealth_check_http = 8080,8081\n", "database \"*\"",
	       "2 entries in health_check_http for 1 host");
}

static void test_retry(void **state)
{
	static const char *const bad[] = {"4000", "400011", "40p01", "40001,", ",40001", "40001 4P001",
					  "40001;40P01", "-0001"};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), BASE "[pgweir]\nretry_codes = %s\n", bad[i]);
		refuse(text, "t.ini:6: retry_codes", "SQLSTATE");
	}
	refuse(BASE "[pgweir]\nretry_codes = 40001,40003\n", "\"40003\"", "may have committed");
	refuse(BASE "[pgweir]\nretry_codes = 08007\n", "\"08007\"", "may have committed");
	conf_drop(load(BASE "[pgweir]\nretry_codes = 40001 , CR000\n"));
	conf_drop(load(BASE "[pgweir]\nretry_codes =\n"));
	refuse(BASE "[pgweir]\nretry_backoff_base = 1\n",
	       "t.ini:6: retry_backoff_base = 1 is more than", "retry_backoff_max = 0.25");
	conf_drop(load(BASE "[pgweir]\nretry_backoff_base = 0.25\n"));
}

static void test_throttle(void **state)
{
	(void)state;
	refuse(BASE "[pgweir]\nlogin_throttle_base = 11\n",
	       "t.ini:6: login_throttle_base = 11 is more than", "login_throttle_max = 10");
	refuse(BASE "[pgweir]\nlogin_throttle_max = 40ms\n",
	       "t.ini: login_throttle_base = 0.05 is more than", "login_throttle_max = 0.04");
	conf_drop(load(BASE "[pgweir]\nlogin_throttle_base = 10\n"));
	conf_drop(load(BASE "[pgweir]\nlogin_throttle_base = 0\n"));
	conf_drop(load(BASE "[pgweir]\nlogin_throttle_max = 0\n"));
}

static void test_auth(void **state)
{
	(void)state;
	refuse("[databases]\n* = host=127.0.0.1\n", "t.ini: auth_type", "(the default)");
	refuse("[databases]\n* = host=127.0.0.1\n[pgweir]\nauth_type = scram-sha-256\n",
	       "t.ini:4: auth_type = scram-sha-256 needs auth_file", "trust");
	refuse(BASE "[pgweir]\nauth_type = md5\n", "t.ini:6: auth_type = md5 needs auth_file", "");
	refuse(BASE "[pgweir]\nauth_type = plain\n", "t.ini:6: auth_type = plain needs", "auth_file");
	refuse(BASE "[pgweir]\nauth_type = hba\n", "t.ini:6: auth_type = hba needs auth_hba_file",
	       "pg_hba.conf");
	refuse("[databases]\na = host=127.0.0.1 user=u\n[pgweir]\nauth_type = any\nlisten_addr = *\n", "t.ini:5: listen_addr = *",
	       "auth_type = any lets everybody in");
	conf_drop(load(BASE "[pgweir]\nauth_type = cert\nlisten_addr = *\nclient_tls_sslmode = verify-full\n"
			    "client_tls_ca_file = /x\n"));
	refuse(BASE "[pgweir]\nauth_type = cert\n", "t.ini:6: auth_type = cert asks",
	       "client_tls_sslmode and its files");
	refuse(BASE "[pgweir]\nauth_type = cert\nclient_tls_sslmode = require\n",
	       "t.ini:6: auth_type = cert asks", "needs client_tls_ca_file");
	conf_drop(load(BASE "[pgweir]\nauth_type = peer\n"));
	refuse("[databases]\na = host=127.0.0.1 user=u\nb = host=127.0.0.1\n[pgweir]\nauth_type = any\n",
	       "t.ini:3: database \"b\" has no user=", "t.ini:5");
	conf_drop(load("[databases]\na = host=127.0.0.1 user=u\n[pgweir]\nauth_type = any\n"));
	/* whom auth_file does not have, servers may have */
	conf_drop(load(BASE "[pgweir]\nauth_type = md5\nauth_user = ann\n"));
	conf_drop(load("[databases]\na = host=::1 auth_user=ann auth_query='SELECT ''x'', $1'\n"));
	conf_drop(load(BASE "[pgweir]\nauth_user = ann\nauth_dbname = any\n"));
	refuse(BASE "[pgweir]\nauth_user = ann\nauth_query =\n", "t.ini:7: auth_query is empty", "");
	refuse(BASE "[pgweir]\nauth_dbname = pgbouncer\n", "t.ini:6: auth_dbname = pgbouncer", "console");
	refuse("[databases]\na = host=::1\n[pgweir]\nauth_type = trust\nauth_dbname = b\n",
	       "t.ini:5: auth_dbname = b is not in [databases]", "");
	refuse("[databases]\na = host=::1 auth_dbname=b\n[pgweir]\nauth_type = trust\n",
	       "t.ini:2: database \"a\": auth_dbname = b", "is not in [databases]");
	conf_drop(load(BASE "[pgweir]\nauth_type = passthrough\nlisten_addr = *\nunix_socket_dir = /tmp\n"));
	conf_drop(load(BASE "[pgweir]\nauth_type = passthrough\nclient_tls_sslmode = require\n"));
	refuse(BASE "[pgweir]\nauth_type = passthrough\nlisten_addr = *\n",
	       "t.ini:6: auth_type = passthrough asks", "client_tls_sslmode");
	refuse(BASE "a = host=127.0.0.1 user=x\n[pgweir]\nauth_type = passthrough\n"
	       "unix_socket_dir = /tmp\n", "t.ini:5: database \"a\": user=", "auth_type = hba");
	refuse(BASE "[pgweir]\nauth_file = ./no/such/file\n", "t.ini:6: auth_file: cannot read",
	       "No such file");
	refuse(BASE "[pgweir]\nauth_file = .\n", "t.ini:6: auth_file", "not a regular file");
}

/* --- auth_file ------------------------------------------------------------------ */

static char file[200];

static int make_file(void **state)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	(void)state;
	snprintf(file, sizeof(file), "%s/pgweir-users-XXXXXX", tmp ? tmp : P_tmpdir);
	fd = mkstemp(file);
	return fd < 0 ? -1 : close(fd);
}

static int drop_file(void **state)
{
	(void)state;
	return unlink(file);
}

static int load_users(const char *users, size_t len, const char *more, struct conf **c,
		      struct err *e)
{
	char text[1000];
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fwrite(users, 1, len, f);
	fclose(f);
	snprintf(text, sizeof(text), "[databases]\n* = host=127.0.0.1\n[pgweir]\nauth_file = %s\n"
				     "listen_addr = *\n[users]\n%s", file, more);
	*c = NULL;
	return conf_load_mem("t.ini", text, strlen(text), &over, c, e);
}

static void refuse_users(const char *users, size_t len, const char *what)
{
	char place[300];
	struct conf *c;
	struct err e = {.text = ""};
	int ret = load_users(users, len, "", &c, &e);

	snprintf(place, sizeof(place), "%s:2: ", file);
	expect_error(ret, c, &e, place, what);
	assert_null(strstr(e.text, "SECRET"));
}

static void test_users(void **state)
{
	static const char users[] = "\xef\xbb\xbf; comment\n # too\n\n"
				    "\"plain\" \"pa ss\"\"w;ord\"\r\n"
				    "\t\"md5\"\t\"md500112233445566778899aabbccddeeff\"  \n"
				    "\"almost\" \"md500112233445566778899aabbccddeefg\"\n"
				    "\"scram\"\"\"\"" SCRAM "\"\n"
				    "\"scram\" \"" SCRAM "\"\n"
				    "\"none\" \"\"\n\"both\" \"one\"\n\"both\" \"two\"\n"
				    "\"a \"\"b\"\"\" \"x\"";
	const struct conf_user *u;
	struct conf *c;
	struct err e = {.text = ""};

	(void)state;
	/* The fourth user's line lacks its blank: "scram""""..." is one name. */
	assert_int_equal(load_users(users, sizeof(users) - 1, "", &c, &e), -1);
	assert_non_null(strstr(e.text, ":7: expected"));
	/* as in PostgreSQL the digits of a hash are lower case */
	assert_int_equal(load_users("\"a\" \"md500112233445566778899AABBCCDDEEFF\"", 41, "", &c, &e), 0);
	u = conf_find_user(c, "a");
	assert_non_null(u);
	assert_int_equal(u->secret_kind, SECRET_PLAIN);
	conf_drop(c);
	refuse_users("\n\"a\" \"SECRET", 11, "not closed");
	refuse_users("\n\"a\" SECRET", 10, "double quotes");
	refuse_users("\na \"SECRET\"", 11, "double quotes");
	refuse_users("\n\"a\"\n", 5, "double quotes");
	refuse_users("\n\"a", 3, "not closed");
	refuse_users("\n\"\" \"SECRET\"", 12, "name is empty");
	refuse_users("\n\"a\" \"SECRET\" x", 15, "nothing behind");
	refuse_users("\n\"a\0\" \"SECRET\"", 14, "NUL");
	refuse_users("\n\"a\" \"SCRAM-SHA-256$SECRET\"", 27, "SCRAM-SHA-256$iterations");
	refuse_users("\n\"a\" \"SCRAM-SHA-256$0:c2FsdA==$" KEY_44 ":" KEY_44 "\"", 121,
		     "SCRAM-SHA-256$iterations");
	refuse_users("\n\"a\" \"SCRAM-SHA-256$1:c2FsdA==$" KEY_44 ":AAAA\"", 81,
		     "SCRAM-SHA-256$iterations");

	assert_int_equal(load_users("\"both\" \"one\"\n\"both\" \"two\"\n\"m\" "
				    "\"md500112233445566778899aabbccddeeff\"\n\"n\" \"\"\n"
				    "\"q \"\"q\" \"pa ss\"\"w;\"\r\n\"s\" \"" SCRAM "\"\n"
				    "\"z\" \"md5\"",
				    sizeof("\"both\" \"one\"\n\"both\" \"two\"\n\"m\" "
				    "\"md500112233445566778899aabbccddeeff\"\n\"n\" \"\"\n"
				    "\"q \"\"q\" \"pa ss\"\"w;\"\r\n\"s\" \"" SCRAM "\"\n"
				    "\"z\" \"md5\"") - 1,
				    "both = pool_size=3\nonly = pool_mode=session\n", &c, &e), 0);
	assert_int_equal(c->user_n, 7);
	u = conf_find_user(c, "both");
	assert_string_equal(u->secret, "two");
	assert_int_equal(u->secret_kind, SECRET_PLAIN);
	assert_int_equal(u->k.pool_size, 3);
	assert_int_equal(conf_find_user(c, "m")->secret_kind, SECRET_MD5);
	assert_int_equal(conf_find_user(c, "n")->secret_kind, SECRET_NONE);
	assert_null(conf_find_user(c, "n")->secret);
	assert_string_equal(conf_find_user(c, "q \"q")->secret, "pa ss\"w;");
	assert_int_equal(conf_find_user(c, "s")->secret_kind, SECRET_SCRAM);
	assert_string_equal(conf_find_user(c, "s")->secret, SCRAM);
	assert_int_equal(conf_find_user(c, "z")->secret_kind, SECRET_PLAIN);
	assert_int_equal(conf_find_user(c, "only")->secret_kind, SECRET_NONE);
	assert_int_equal(conf_find_user(c, "only")->k.pool_mode, POOL_SESSION);
	assert_true(conf_find_user(c, "only")->k.pool_size == CONF_UNSET);
	assert_null(conf_find_user(c, "nobody"));
	conf_drop(c);
}

/* --- connection strings --------------------------------------------------------- */

/* --- auth_hba_file, auth_ident_file ---------------------------------------------- */

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Both are written, and named when they are not NULL. */
static int load_rules(const char *hba, const char *ident, const char *more, struct conf **c,
		      struct err *e)
{
	char text[1000], second[300];
	int n, ret;

	snprintf(second, sizeof(second), "%s.ident", file);
	put_file(file, hba);
	n = snprintf(text, sizeof(text), "[databases]\n* = host=127.0.0.1\n[pgweir]\n"
					 "auth_type = hba\nauth_hba_file = %s\n%s\n", file, more);
	if (ident) {
		put_file(second, ident);
		snprintf(text + n, sizeof(text) - (size_t)n, "auth_ident_file = %s\n", second);
	}
	*c = NULL;
	ret = conf_load_mem("t.ini", text, strlen(text), &over, c, e);
	if (ident)
		unlink(second);
	return ret;
}

static void refuse_rules(const char *hba, const char *ident, const char *at, const char *what)
{
	char place[320];
	struct conf *c;
	struct err e = {.text = ""};
	int ret = load_rules(hba, ident, "listen_addr = *", &c, &e);

	snprintf(place, sizeof(place), "%s%s", file, at);
	expect_error(ret, c, &e, place, what);
	assert_int_equal(strncmp(e.text, place, strlen(place)), 0);
}

static void test_rules(void **state)
{
	static const char hba[] = "local all all peer map=m\nhostssl all all all cert\n";
	struct conf *c;
	struct err e = {.text = ""};

	(void)state;
	if (load_rules(hba, "m ann alice\n", "listen_addr = *", &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_int_equal(c->g.auth_type, AUTH_HBA);
	assert_non_null(c->hba);
	assert_int_equal(c->hba->n, 2);
	assert_string_equal(c->hba->rules[1].file, file);
	assert_true(ident_allows(c->ident, c->hba->rules[0].map, "ann", "alice"));
	conf_drop(c);
	refuse_rules(hba, NULL, ":1: ", "map=m needs auth_ident_file");
	refuse_rules("# no\nlocal all all\n", "", ":2: ", "the line ends");
	refuse_rules("", "", ": ", "no rule");
	refuse_rules(hba, "m ann\n", ".ident:1: ", "the line ends");
	refuse_rules("local all all peer\nhost all all all md5", "", ":2: ", "md5 needs auth_file");
	refuse_rules("local all all scram-sha-256\n", "", ":1: ", "scram-sha-256 needs auth_file");
	refuse_rules("local all all password\n", "", ":1: ", "password needs auth_file");
	assert_int_equal(load_rules("host all all all trust\n", NULL, "", &c, &e), 0);
	assert_null(c->ident);
	conf_drop(c);
	/* not read for another auth_type, as PgBouncer */
	c = load(BASE "[pgweir]\nauth_hba_file = ./no/such/file\nauth_ident_file = ./no/such/file\n");
	assert_null(c->hba);
	assert_null(c->ident);
	conf_drop(c);
	refuse(BASE "[pgweir]\nauth_type = hba\nauth_hba_file = ./no/such/file\n",
	       "t.ini:7: auth_hba_file: cannot read", "No such file");
	assert_int_equal(load_rules("local all all peer\n", NULL, "auth_ident_file = .", &c, &e), -1);
	assert_non_null(strstr(e.text, "t.ini:6: auth_ident_file: cannot read"));
}

static void test_uri(void **state)
{
	struct conf *c = load_uri("postgresql://bob:p%3Aw@127.0.0.1:1,127.0.0.2/app"
				  "?target_session_attrs=read-write&application_name=x"
				  "&connect_timeout=3&options=-c%20a%3Db&sslmode=prefer"
				  "&client_encoding=auto&gssencmode=prefer");
	const struct conf_db *d = conf_find_db(c, "app");

	(void)state;
	assert_true(c->from_uri);
	assert_true(c->loopback_trust);
	assert_null(c->path);
	assert_int_equal(c->g.auth_type, AUTH_TRUST);
	assert_int_equal(c->g.pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->db_n, 1);
	assert_ptr_not_equal(d, c->fallback);
	assert_ptr_equal(conf_find_db(c, "else"), c->fallback);
	for (;; d = c->fallback) {
		assert_int_equal(d->line, 0);
		assert_int_equal(d->host_n, 2);
		assert_string_equal(d->hosts[0].name, "127.0.0.1:1");
		assert_string_equal(d->hosts[1].name, "127.0.0.2:5432");
		assert_string_equal(d->k.user, "bob");
		assert_string_equal(d->k.password, "p:w");
		assert_null(d->k.dbname);
		assert_string_equal(d->k.application_name, "x");
		assert_string_equal(d->k.options, "-c a=b");
		assert_int_equal(d->k.target_session_attrs, ATTRS_READ_WRITE);
		assert_int_equal(d->k.connect_timeout, 3000000);
		assert_true(d->k.pool_size == CONF_UNSET);
		if (d == c->fallback)
			break;
	}
	conf_drop(c);
}

static void test_uri_forms(void **state)
{
	struct conf *c = load_uri("user=bob hostaddr=127.0.0.3 host=no.such.name port=7 "
				  "connect_timeout=0");

	(void)state;
	assert_string_equal(conf_find_db(c, "bob")->name, "bob");
	assert_string_equal(c->fallback->hosts[0].name, "127.0.0.3:7");
	assert_true(c->fallback->k.connect_timeout == CONF_UNSET);
	assert_null(c->fallback->k.password);
	conf_drop(c);
	c = load_uri("postgres://bob@[::1]:9/a%20b");
	assert_string_equal(conf_find_db(c, "a b")->hosts[0].name, "[::1]:9");
	conf_drop(c);
	c = load_uri("user=bob host=/run/postgresql dbname=*");
	assert_int_equal(c->db_n, 0);
	assert_int_equal(c->fallback->hosts[0].sock.sa.sa_family, AF_UNIX);
	conf_drop(c);
	c = load_uri("user=bob host=127.0.0.1 password='' sslmode=''");
	assert_null(c->fallback->k.password);
	assert_true(c->fallback->k.sslmode == CONF_UNSET);
	conf_drop(c);
	c = load_uri("user=bob host=db.example,other.example hostaddr=127.0.0.1,::1 "
		     "sslmode=verify-full sslrootcert=x sslcert=y sslkey=z sslcrl=c sslsni=0 "
		     "ssl_min_protocol_version=TLSv1.3");
	assert_true(c->fallback->k.sslmode == SSLMODE_VERIFY_FULL);
	assert_true(c->fallback->k.sslsni == 0);
	assert_string_equal(c->fallback->k.sslrootcert, "x");
	assert_string_equal(c->fallback->k.sslcrl, "c");
	assert_string_equal(c->fallback->host_conf[1].name, "other.example");
	assert_string_equal(c->fallback->hosts[1].name, "[::1]:5432");
	conf_drop(c);
}

static void test_uri_refused(void **state)
{
	(void)state;
	refuse_uri("postgresql://127.0.0.1/app", "no user");
	refuse_uri("host=127.0.0.1", "no user");
	refuse_uri("user=u host=127.0.0.1 foo=1", "invalid connection option \"foo\"");
	refuse_uri("postgresql://u@127.0.0.1/a?foo=1", "invalid URI query parameter: \"foo\"");
	refuse_uri("user", "missing \"=\"");
	refuse_uri("user=u host=127.0.0.1 sslmode=often", "allowed: disable, allow, prefer");
	refuse_uri("user=u host=127.0.0.1 sslrootcert=system sslmode=verify-ca",
		   "needs sslmode = verify-full");
	refuse_uri("user=u host=127.0.0.1 ssl_min_protocol_version=SSLv3", "TLSv1.2, TLSv1.3");
	refuse_uri("user=u host=127.0.0.1 gssencmode=require", "GSSAPI encryption is not built");
	refuse_uri("user=u host=127.0.0.1 client_encoding=latin1", "client_encoding");
	refuse_uri("user=u host=127.0.0.1 keepalives=1", "option keepalives is not supported");
	refuse_uri("user=u service=x", "option service is not supported");
	refuse_uri("user=u host=127.0.0.1 port=1,2", "2 ports for 1 hosts");
	refuse_uri("user=u host=127.0.0.1 port=x", "port \"x\"");
	refuse_uri("user=u host=a,b hostaddr=127.0.0.1", "2 names in host, but 1 in hostaddr");
	refuse_uri("user=u host=no..name", "neither an address nor a name");
	refuse_uri("user=u host=127.0.0.1 connect_timeout=1.5", "whole number");
	refuse_uri("user=u host=127.0.0.1 connect_timeout=99999", "out of range");
	refuse_uri("user=u host=127.0.0.1 target_session_attrs=master", "read-write");
	refuse_uri("user=u host=127.0.0.1 dbname=pgbouncer", "reserved");
}

/* libpq repeats what it could not parse. */
static void test_uri_hides(void **state)
{
	static const char *const bad[] = {
		"postgresql://u:SEC%zzRET@127.0.0.1/", "postgresql://u:SECRET%00@127.0.0.1/",
		"user=u password=a SECRET", "user=u password=SECRET'", "user=u password='SECRET",
		"postgresql://u:SECRET@[::1", "postgresql://u:SECRET@[::1]x/a",
		"postgresql://u:SECRET@h/a?b=\"SECRET=c", "postgresql://u:SECRET@h/a?SECRET",
		"postgresql://u:SECRET@[]/a", "postgresql://u:\"SECRET\"%@127.0.0.1/",
		"user=u password=SECRET sslmode=require", "user=u password=SECRET port=1,2",
	};
	struct conf *c;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c = NULL;
		if (conf_load_uri(bad[i], &over, &c, &e) == 0) {
			conf_drop(c);
			continue;
		}
		if (strstr(e.text, "SEC") || strstr(e.text, "RET"))
			fail_msg("said: %s", e.text);
	}
	refuse_uri("user=u SECRET", "missing \"=\" after \"...\" in connection info string");
	refuse_uri("postgresql://u:SECRET@[::1", "matching \"]\"");
}

static void test_is_uri(void **state)
{
	(void)state;
	assert_true(conf_is_uri("postgres://"));
	assert_true(conf_is_uri("postgresql://u@h/d"));
	assert_true(conf_is_uri("host=x user=y"));
	assert_true(conf_is_uri(" host = x"));
	assert_false(conf_is_uri("pgweir.ini"));
	assert_false(conf_is_uri("/etc/a=b.ini"));
	assert_false(conf_is_uri("./a=b.ini"));
	assert_false(conf_is_uri(""));
	assert_false(conf_is_uri("="));
}

/* --- the command line ------------------------------------------------------------- */

static void test_override(void **state)
{
	struct conf_over o = {.listen_addr = "::1", .listen_port = 0, .user = "nobody",
			      .verbose = 2, .numeric_hosts = true};
	struct conf *c = NULL;
	struct err e = {.text = ""};
	int ret;

	(void)state;
	assert_int_equal(conf_load_mem("t.ini", BASE, strlen(BASE), &o, &c, &e), 0);
	assert_string_equal(c->g.listen_addr, "::1");
	assert_int_equal(c->g.listen_port, 0);
	assert_string_equal(c->g.user, "nobody");
	assert_int_equal(c->g.verbose, 2);
	conf_drop(c);
	o.verbose = 100;
	assert_int_equal(conf_load_uri("user=u host=127.0.0.1", &o, &c, &e), 0);
	assert_int_equal(c->g.verbose, 3);
	assert_string_equal(c->g.listen_addr, "::1");
	conf_drop(c);
	c = NULL;
	o.listen_port = 65536;
	ret = conf_load_mem("t.ini", BASE, strlen(BASE), &o, &c, &e);
	expect_error(ret, c, &e, "command line: listen_port", "0 to 65535");
	o.listen_port = -1;
	o.listen_addr = "*";
	ret = conf_load_mem("t.ini", BASE, strlen(BASE), &o, &c, &e);
	expect_error(ret, c, &e, "command line: listen_addr = *", "auth_type");
	ret = conf_load_uri("user=u host=127.0.0.1", &o, &c, &e);
	expect_error(ret, c, &e, "command line: listen_addr = *", "configuration file");
	/* No overrides at all. */
	assert_int_equal(conf_load_mem("t.ini", BASE, strlen(BASE), NULL, &c, &e), 0);
	conf_drop(c);
}

static void test_listed(void **state)
{
	(void)state;
	assert_true(conf_listed("a", "a"));
	assert_true(conf_listed(" b ,\ta b , c", "a b"));
	assert_true(conf_listed("b,a", "a"));
	assert_false(conf_listed("ab,a b", "a"));
	assert_false(conf_listed("a,,b", ""));
	assert_false(conf_listed("", "a"));
	assert_false(conf_listed(NULL, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_databases),
		cmocka_unit_test(test_remote_addr),
		cmocka_unit_test(test_listen), cmocka_unit_test(test_unix),
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_throttle),
		cmocka_unit_test(test_auth),
		cmocka_unit_test_setup_teardown(test_users, make_file, drop_file),
		cmocka_unit_test_setup_teardown(test_rules, make_file, drop_file),
		cmocka_unit_test(test_uri),
		cmocka_unit_test(test_uri_forms),
		cmocka_unit_test(test_uri_refused),
		cmocka_unit_test(test_uri_hides),
		cmocka_unit_test(test_is_uri),
		cmocka_unit_test(test_override),
		cmocka_unit_test(test_listed),
	};

	/* not those of whoever runs this */
	unsetenv("PGPASSWORD");
	setenv("PGPASSFILE", "/dev/null", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
