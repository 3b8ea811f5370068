/* tests/unit/test_secret.c - where passwords for servers come from. What a passfile
 * gives is held against libpq itself.
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
#include <libpq-fe.h>

#include "conf/conf.h"
#include "conf/secret.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct conf_over over = {.listen_port = -1, .numeric_hosts = true};

/* A directory of its own for each test. */
struct place {
	char dir[64];
};

static const char *in(const struct place *p, const char *name, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s/%s", p->dir, name);
	return out;
}

static void put_len(const struct place *p, const char *name, const void *text, size_t len,
		    mode_t mode)
{
	char path[128];
	FILE *f;

	(void)unlink(in(p, name, path, sizeof(path)));
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void put(const struct place *p, const char *name, const char *text)
{
	put_len(p, name, text, strlen(text), 0600);
}

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/pgweir-secret-XXXXXX");
	unsetenv("PGPASSWORD");
	unsetenv("PGPASSFILE");
	unsetenv("CREDENTIALS_DIRECTORY");
	*state = p;
	return mkdtemp(p->dir) ? setenv("HOME", p->dir, 1) : -1;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	char command[128];
	int ret;

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", p->dir);
	ret = system(command);
	free(p);
	return ret;
}

/* --- a passfile ------------------------------------------------------------------ */

struct row {
	const char *line, *host;
	int port;
	const char *dbname, *user, *want;
};

static const struct row rows[] = {
	{"h:5:d:u:pw", "h", 5, "d", "u", "pw"},
	{"h:5:d:u:pw", "H", 5, "d", "u", NULL},
	{"h:5:d:u:pw", "h", 6, "d", "u", NULL},
	{"h:5:d:u:pw", "h", 5, "dd", "u", NULL},
	{"h:5:d:u:pw", "h", 5, "d", "", NULL},
	{"h:5:d:u:pw", "h", 5, "d", "uu", NULL},
	{"*:*:*:*:pw", "any", 1, "x", "y", "pw"},
	{"*:*:*:*:pw\n", "any", 1, "x", "y", "pw"},
	{"*:*:*:*:pw\r\n", "any", 1, "x", "y", "pw"},
	{"*:*:*:*:pw\r\r\n", "any", 1, "x", "y", "pw"},
	{"*:*:*:*: p w ", "any", 1, "x", "y", " p w "},
	{"**:*:*:*:pw", "any", 1, "x", "y", NULL},
	{"a*:*:*:*:pw", "ab", 1, "x", "y", NULL},
	{"\\*:*:*:*:pw", "any", 1, "x", "y", NULL},
	{"\\*:*:*:*:pw", "*", 1, "x", "y", "pw"},
	{"*:*:d\\:b:*:pw", "h", 1, "d:b", "y", "pw"},
	{"*:*:d\\\\b:*:pw", "h", 1, "d\\b", "y", "pw"},
	{"*:*:\\d:*:pw", "h", 1, "d", "y", "pw"},
	{"*:*:*:*:p\\:w\\\\x\\", "h", 1, "d", "y", "p:w\\x\\"},
	{"*:*:*:*:pw:and:more", "h", 1, "d", "y", "pw"},
	{"*:*:*:*:", "h", 1, "d", "y", NULL},
	{"*:*:*:*", "h", 1, "d", "y", NULL},
	{"*:*:*", "h", 1, "d", "y", NULL},
	{"", "h", 1, "d", "y", NULL},
	{"\n\n*:*:*:*:pw", "h", 1, "d", "y", "pw"},
	{"#*:*:*:*:no\n*:*:*:*:pw", "h", 1, "d", "y", "pw"},
	{"#h:*:*:*:no", "#h", 1, "d", "y", NULL},
	{" #*:*:*:*:no", "h", 1, "d", "y", NULL},
	{"nonsense\n*:*:*:*:pw", "h", 1, "d", "y", "pw"},
	{"h:*:*:*:first\nh:*:*:*:second", "h", 1, "d", "y", "first"},
	{"h:2:*:*:first\nh:*:*:*:second", "h", 1, "d", "y", "second"},
	{"h:*:*:*:\nh:*:*:*:second", "h", 1, "d", "y", NULL},
	{"localhost:*:*:*:pw", "/var/run/postgresql", 1, "d", "y", "pw"},
	{"/var/run/postgresql:*:*:*:pw", "/var/run/postgresql", 1, "d", "y", NULL},
	{"localhost:*:*:*:pw", "/nonexistent/sockets", 1, "d", "y", NULL},
	{"/nonexistent/sockets:*:*:*:pw", "/nonexistent/sockets", 1, "d", "y", "pw"},
	{"::1:*:*:*:pw", "::1", 5, "d", "y", "pw"},
	{"\\:\\:1:*:*:*:pw", "::1", 5, "d", "y", "pw"},
	{"::1:*:*:*:pw", "::2", 5, "d", "y", NULL},
	{"*:*:d:u:pw:x", "h", 5, "d", "u:pw", "x"},
	{"*:05:*:*:pw", "h", 5, "d", "y", NULL},
	{":*:*:*:pw", "h", 5, "d", "y", NULL},
};

/* What libpq takes out of the file, to be freed. It dials a port where nobody is. */
static char *libpq_has(const char *file, const struct row *r)
{
	char port[16], *got;
	const char *const key[] = {"host", "hostaddr", "port", "dbname", "user", "passfile", NULL};
	const char *const value[] = {r->host, *r->host == '/' ? NULL : "127.0.0.1", port,
				     r->dbname, r->user, file, NULL};
	PGconn *c;

	(void)snprintf(port, sizeof(port), "%d", r->port);
	c = PQconnectStartParams(key, value, 0);
	assert_non_null(c);
	got = strdup(PQpass(c));
	PQfinish(c);
	if (got && !*got) {
		free(got);
		got = NULL;
	}
	return got;
}

static void same(const char *got, const char *want, const char *who, const struct row *r)
{
	if (!got != !want || (got && strcmp(got, want) != 0))
		fail_msg("%s has %s for %s:%d:%s:%s from \"%s\"", who, got ? got : "nothing",
			 r->host, r->port, r->dbname, r->user, r->line);
}

static void check_row(const struct place *p, const struct row *r, const char *want, bool is_known)
{
	struct secret s;
	char path[128], *theirs;
	struct err e = {.text = ""};
	/* a copy without a terminator, so that reading on is seen */
	size_t len = strlen(r->line);
	char *text = malloc(len ? len : 1);

	assert_non_null(text);
	memcpy(text, r->line, len);
	put(p, "passfile", r->line);
	theirs = libpq_has(in(p, "passfile", path, sizeof(path)), r);
	if (is_known && *r->user)
		same(theirs, want, "libpq", r);
	if (secret_parse(path, text, len, &s, &e) < 0)
		fail_msg("refused: %s", e.text);
	same(secret_match(&s, r->host, r->port, r->dbname, r->user), is_known ? want : theirs,
	     "pgweir", r);
	secret_clear(&s);
	assert_null(s.lines);
	free(theirs);
	free(text);
}

static void test_passfile_rows(void **state)
{
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		check_row(*state, &rows[i], rows[i].want, true);
}

static unsigned next(uint64_t *seed, unsigned n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*seed >> 33) % n;
}

/* Few signs, so that much fits. */
static void random_text(uint64_t *seed, const char *signs, unsigned most, char *out)
{
	unsigned n = next(seed, most + 1);

	while (n--)
		*out++ = signs[next(seed, (unsigned)strlen(signs))];
	*out = '\0';
}

static void test_passfile_as_libpq(void **state)
{
	uint64_t seed = 6;
	unsigned known = 0;
	int i;

	for (i = 0; i < 4000; i++) {
		char text[512] = "", host[8], dbname[8], user[8], field[8];
		struct row r = {text, host, 1 + (int)next(&seed, 3), dbname, user, NULL};
		unsigned lines = next(&seed, 4), k, fields;
		size_t len = 0;

		random_text(&seed, "ab*\\:", 2, host);
		random_text(&seed, "ab*\\:", 2, dbname);
		random_text(&seed, "ab*\\:", 2, user);
		if (!*host || !*dbname || !*user)
			continue; /* libpq has defaults of its own */
		for (; lines; lines--) {
			fields = next(&seed, 8) ? 5 : next(&seed, 7);
			for (k = 0; k < fields; k++) {
				random_text(&seed, k == 1 ? "123*" : "ab*\\:#\r", 3, field);
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
							next(&seed, 3) ? "*" : field,
							k + 1 < fields ? ":" : "");
			}
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
						next(&seed, 4) ? "\n" : "\r\n");
		}
		check_row(*state, &r, NULL, false);
		known++;
	}
	assert_true(known > 1000);
}

static void test_passfile_refused(void **state)
{
	char *text = malloc(SECRET_MAX + 20);
	struct secret s;
	struct err e;

	(void)state;
	assert_non_null(text);
	assert_int_equal(secret_parse("F", "a:b:c:d:SECRET\n*:*:*:*:SEC\0RET", 31, &s, &e), -1);
	assert_string_equal(e.text, "\"F\", line 2: a NUL byte is not allowed");
	assert_null(s.lines);
	assert_int_equal(s.line_n, 0);
	memcpy(text, "*:*:*:*:", 8);
	memset(text + 8, 'x', SECRET_MAX + 1);
	assert_int_equal(secret_parse("F", text, SECRET_MAX + 9, &s, &e), -1);
	assert_string_equal(e.text, "\"F\", line 1: the password is too long");
	assert_int_equal(secret_parse("F", text, SECRET_MAX + 8, &s, &e), 0);
	assert_int_equal(strlen(secret_match(&s, "h", 1, "d", "u")), SECRET_MAX);
	assert_null(secret_match(&s, "h", 1, NULL, "u"));
	assert_null(secret_match(&s, "h", 1, "d", NULL));
	secret_clear(&s);
	free(text);
}

/* --- each source, through the loader ----------------------------------------------- */

/* In %s stands the directory. */
static struct conf *try_load(const struct place *p, const char *format, struct err *e)
{
	struct conf *c = NULL;
	char text[1024];

	/* the format is a constant of these tests */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(text, sizeof(text), format, p->dir, p->dir);
#pragma GCC diagnostic pop
	e->text[0] = '\0';
	if (conf_load_mem("t.ini", text, strlen(text), &over, &c, e) < 0)
		assert_null(c);
	return c;
}

#define BASE "[pgweir]\nauth_type = trust\n[databases]\n"

static void gives(const struct place *p, const char *entry, const char *user, const char *want)
{
	char text[600];
	struct err e;
	struct conf *c;
	const char *got;

	(void)snprintf(text, sizeof(text), BASE "app = host=h1,h2 %s\n", entry);
	c = try_load(p, text, &e);
	if (!c)
		fail_msg("refused: %s", e.text);
	got = conf_secret_for(conf_find_db(c, "app"), "h1", 5432, "app", user);
	if (!got != !want || (got && strcmp(got, want) != 0))
		fail_msg("%s: %s has %s", entry, user, got ? got : "nothing");
	conf_drop(c);
}

/* Refused at the line of the entry, and no SECRET is told. */
static void refuses(const struct place *p, const char *entry, const char *a, const char *b)
{
	char text[600];
	struct err e;
	struct conf *c;

	(void)snprintf(text, sizeof(text), BASE "app = host=h1,h2 %s\n", entry);
	c = try_load(p, text, &e);
	if (c) {
		conf_drop(c);
		fail_msg("accepted: %s", entry);
	}
	if (strncmp(e.text, "t.ini:4: database \"app\": ", 25) != 0 || !strstr(e.text, a) ||
	    !strstr(e.text, b))
		fail_msg("said: %s; expected: %s ... %s", e.text, a, b);
	if (strstr(e.text, "SECRET"))
		fail_msg("told: %s", e.text);
}

static void test_sources(void **state)
{
	const struct place *p = *state;

	gives(p, "user=u password=pw", "u", "pw");
	gives(p, "user=u password=pw", "other", NULL);
	gives(p, "password=pw", "u", NULL); /* as in PgBouncer */
	gives(p, "user=u", "u", NULL);
	setenv("PGWEIR_TEST_PW", "from env", 1);
	gives(p, "user=u password_env=PGWEIR_TEST_PW", "u", "from env");
	gives(p, "user=u password_env=PGWEIR_TEST_PW", "other", NULL);
	put(p, "pw", "from file\n");
	gives(p, "user=u password_file=%s/pw", "u", "from file");
	gives(p, "user=u password_file=%s/pw", "other", NULL);
	put(p, "pass", "h1:*:*:u:of u\nh1:*:*:v:of v\nh2:*:*:*:of h2\n");
	gives(p, "user=u passfile=%s/pass", "u", "of u");
	gives(p, "user=u passfile=%s/pass", "v", "of v");
	gives(p, "passfile=%s/pass", "v", "of v");
	gives(p, "passfile=%s/pass", "w", NULL);
	unsetenv("PGWEIR_TEST_PW");
}

static void test_newlines(void **state)
{
	static const struct {
		const char *file, *want;
	} cases[] = {
		{"pw", "pw"}, {"pw\n", "pw"}, {"pw\r\n", "pw"}, {"pw\n\n", "pw\n"},
		{"p\nw\n", "p\nw"}, {" pw ", " pw "}, {"pw\r", "pw\r"}, {"p:\\w", "p:\\w"},
	};
	size_t i;

	for (i = 0; i < COUNT(cases); i++) {
		put(*state, "pw", cases[i].file);
		gives(*state, "user=u password_file=%s/pw", "u", cases[i].want);
	}
}

static void test_credentials(void **state)
{
	const struct place *p = *state;

	refuses(p, "user=u password_file=credential:pw",
		"password_file: credential:pw: CREDENTIALS_DIRECTORY is not set",
		"LoadCredential=pw:PATH");
	setenv("CREDENTIALS_DIRECTORY", p->dir, 1);
	put(p, "pw", "from the manager");
	gives(p, "user=u password_file=credential:pw", "u", "from the manager");
	/* the mask of systemd's ACL */
	put_len(p, "pass", "*:*:*:v:of v", 12, 0440);
	gives(p, "passfile=credential:pass", "v", "of v");
	refuses(p, "user=u password_file=credential:none", "password_file: cannot read",
		"/none\": No such file");
	refuses(p, "user=u password_file=credential:", "is not credential:NAME", "");
	refuses(p, "user=u password_file=credential:..", "is not credential:NAME", "");
	refuses(p, "user=u password_file=credential:../pw", "is not credential:NAME", "");
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void test_refused(void **state)
{
	const struct place *p = *state;
	char *big = malloc(SECRET_PASSFILE_MAX + 1);

	assert_non_null(big);
	memset(big, 'x', SECRET_PASSFILE_MAX + 1);
	put(p, "pw", "SECRET");
	put(p, "empty", "");
	put(p, "newline", "\n");
	put_len(p, "nul", "SEC\0RET", 7, 0600);
	put_len(p, "nul2", "*:*:*:*:SECRET\n*:*:*:*:SEC\0RET", 30, 0600);
	put_len(p, "long", big, SECRET_MAX + 1, 0600);
	put_len(p, "longer", big, SECRET_MAX + 3, 0600);
	put_len(p, "huge", big, SECRET_PASSFILE_MAX + 1, 0600);
	put_len(p, "group", "*:*:*:*:SECRET", 14, 0640);
	put_len(p, "world", "*:*:*:*:SECRET", 14, 0604);
	refuses(p, "user=u password_file=%s/none", "password_file: cannot read", "No such file");
	refuses(p, "user=u password_file=%s", "password_file: cannot read", "not a regular file");
	refuses(p, "user=u password_file=/dev/null", "password_file: ", "not a regular file");
	refuses(p, "user=u password_file=%s/empty", "password_file: ", "/empty\" is empty");
	refuses(p, "user=u password_file=%s/newline", "password_file: ", "/newline\" is empty");
	refuses(p, "user=u password_file=%s/nul", "password_file: ", "/nul\" holds a NUL byte");
	refuses(p, "user=u password_file=%s/long", "password_file: ", "is longer than 8000 bytes");
	refuses(p, "user=u password_file=%s/longer", "password_file: ", "larger than 8002 bytes");
	refuses(p, "passfile=%s/none", "passfile: cannot read", "No such file");
	refuses(p, "passfile=/dev/null", "passfile: cannot read", "not a regular file");
	refuses(p, "passfile=%s/huge", "passfile: cannot read", "larger than 1 MB");
	refuses(p, "passfile=%s/nul2", "passfile: ", "/nul2\", line 2: a NUL byte");
	refuses(p, "passfile=%s/group", "passfile: ", "/group\" is open to its group");
	refuses(p, "passfile=%s/world", "passfile: ", "/world\" is open to its group");
	refuses(p, "user=u password_env=PGWEIR_TEST_NONE", "password_env: ",
		"variable PGWEIR_TEST_NONE is not set");
	setenv("PGWEIR_TEST_EMPTY", "", 1);
	refuses(p, "user=u password_env=PGWEIR_TEST_EMPTY", "password_env: ",
		"variable PGWEIR_TEST_EMPTY is empty");
	unsetenv("PGWEIR_TEST_EMPTY");
	/* the password where its source should stand */
	refuses(p, "user=u password_env=SECRET!", "password_env is not the name", "");
	refuses(p, "user=u password_env='5 SECRET'", "password_env is not the name", "");
	refuses(p, "password=SECRET passfile=%s/pw", "password and passfile are both given", "");
	refuses(p, "password_env=X", "password_env is the password of user=", "passfile");
	refuses(p, "password_file=%s/pw", "password_file is the password of user=", "passfile");
	free(big);
}

static void test_two_are_refused(void **state)
{
	static const char *const source[] = {"password=SECRET", "password_env=HOME",
					     "password_file=/nonexistent", "passfile=/nonexistent"};
	char entry[200], want[100];
	size_t i, k;

	for (i = 0; i < COUNT(source); i++) {
		for (k = i + 1; k < COUNT(source); k++) {
			(void)snprintf(entry, sizeof(entry), "user=u %s %s", source[k], source[i]);
			(void)snprintf(want, sizeof(want), "%.*s and %.*s are both given",
				       (int)strcspn(source[i], "="), source[i],
				       (int)strcspn(source[k], "="), source[k]);
			refuses(*state, entry, want, "");
		}
	}
}

/* --- the checks' own ---------------------------------------------------------------- */

static void test_health(void **state)
{
	const struct place *p = *state;
	struct err e;
	struct conf *c;

	put(p, "pw", "of the checks\n");
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password_file = %s/pw\n", &e);
	assert_non_null(c);
	assert_string_equal(c->health_secret.password, "of the checks");
	conf_drop(c);
	setenv("PGWEIR_TEST_PW", "from env", 1);
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password_env = PGWEIR_TEST_PW\n",
		     &e);
	assert_non_null(c);
	assert_string_equal(c->health_secret.password, "from env");
	conf_drop(c);
	unsetenv("PGWEIR_TEST_PW");
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password = plain\n", &e);
	assert_non_null(c);
	assert_string_equal(c->health_secret.password, "plain");
	conf_drop(c);
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password_file = %s/none\n", &e);
	assert_null(c);
	assert_ptr_equal(strstr(e.text, "t.ini:6: health_check_password_file: cannot read"), e.text);
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password_env = N_O\n", &e);
	assert_null(c);
	assert_ptr_equal(strstr(e.text, "t.ini:6: health_check_password_env: the environment"),
			 e.text);
	c = try_load(p, BASE "* = host=h\n[pgweir]\nhealth_check_password = SECRET\n"
		     "health_check_password_file = %s/pw\n", &e);
	assert_null(c);
	assert_ptr_equal(strstr(e.text, "t.ini:7: health_check_password and "
					"health_check_password_file are both given"), e.text);
}

/* --- a connection string -------------------------------------------------------------- */

static void uri_gives(const char *uri, const char *host, int port, const char *want)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};
	const char *got;

	if (conf_load_uri(uri, &over, &c, &e) < 0)
		fail_msg("refused: %s", e.text);
	got = conf_secret_for(c->fallback, host, port, "app", "bob");
	if (!got != !want || (got && strcmp(got, want) != 0))
		fail_msg("%s: %s", uri, got ? got : "nothing");
	conf_drop(c);
}

static void uri_refuses(const char *uri, const char *a)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	assert_int_equal(conf_load_uri(uri, &over, &c, &e), -1);
	if (!strstr(e.text, a) || strstr(e.text, "SECRET"))
		fail_msg("said: %s; expected: %s", e.text, a);
}

#define URI "postgresql://bob@127.0.0.1:5/app"

static void test_uri_order(void **state)
{
	const struct place *p = *state;
	char path[128], uri[256];

	in(p, "named", path, sizeof(path));
	(void)snprintf(uri, sizeof(uri), URI "?passfile=%s", path);
	uri_gives(URI, "127.0.0.1", 5, NULL);
	put(p, ".pgpass", "127.0.0.1:5:app:bob:of home\n");
	uri_gives(URI, "127.0.0.1", 5, "of home");
	uri_gives(URI, "127.0.0.1", 6, NULL);
	setenv("PGPASSFILE", in(p, "other", path, sizeof(path)), 1);
	uri_gives(URI, "127.0.0.1", 5, NULL); /* it is not there */
	put(p, "other", "*:*:*:bob:of the environment's file\n");
	uri_gives(URI, "127.0.0.1", 5, "of the environment's file");
	uri_refuses(uri, "passfile: cannot read");
	put(p, "named", "*:*:*:bob:of the named file\n");
	uri_gives(uri, "127.0.0.1", 5, "of the named file");
	setenv("PGPASSWORD", "of the environment", 1);
	uri_gives(URI, "127.0.0.1", 5, "of the environment");
	uri_gives(uri, "127.0.0.1", 5, "of the environment");
	uri_gives("postgresql://bob:own@127.0.0.1:5/app", "127.0.0.1", 5, "own");
	setenv("PGPASSWORD", "", 1);
	uri_gives(URI, "127.0.0.1", 5, "of the environment's file");
	unsetenv("PGPASSWORD");
	unsetenv("PGPASSFILE");
}

static void test_uri_files(void **state)
{
	const struct place *p = *state;

	put_len(p, ".pgpass", "*:*:*:*:SECRET", 14, 0644);
	uri_refuses(URI, "/.pgpass\" is open to its group or to everybody: chmod 0600");
	setenv("PGPASSFILE", "/dev/null", 1);
	uri_gives(URI, "127.0.0.1", 5, NULL);
	setenv("PGPASSFILE", p->dir, 1);
	uri_gives(URI, "127.0.0.1", 5, NULL);
	unsetenv("PGPASSFILE");
	uri_gives("postgresql://bob:own@127.0.0.1:5/app", "127.0.0.1", 5, "own");
}

/* libpq looks a host up by its name, wherever it is told to connect to. */
static void test_uri_names(void **state)
{
	struct conf *c = NULL;
	struct err e = {.text = ""};

	(void)state;
	if (conf_load_uri("user=bob host=a,,c hostaddr=127.0.0.1,127.0.0.2,127.0.0.3", &over, &c,
			  &e) < 0)
		fail_msg("refused: %s", e.text);
	assert_string_equal(c->fallback->host_conf[0].name, "a");
	assert_null(c->fallback->host_conf[1].name);
	assert_string_equal(c->fallback->host_conf[2].name, "c");
	assert_string_equal(c->fallback->hosts[2].host, "127.0.0.3");
	conf_drop(c);
	assert_int_equal(conf_load_uri("user=bob host=a", &over, &c, &e), 0);
	assert_null(c->fallback->host_conf[0].name);
	conf_drop(c);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_passfile_rows), T(test_passfile_as_libpq), T(test_passfile_refused),
		T(test_sources), T(test_newlines), T(test_credentials), T(test_refused),
		T(test_two_are_refused), T(test_health), T(test_uri_order), T(test_uri_files),
		T(test_uri_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
