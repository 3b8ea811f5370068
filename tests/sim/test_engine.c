/* tests/sim/test_engine.c - a backend alone: what it answers, what it asks of its
 * environment, waiting, cancelling, cut input. That it answers as PostgreSQL does is
 * shown by tests/integration/test_sim_engine.py.
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

#include "engine.h"
#include "store.h"

/* ---- a backend with a store, and what it has said ---- */

struct bench {
	struct store *s;
	struct engine *e;
	struct txn *txn;
	bool woken, asleep, may_sleep;
	char said[4000];           /* the messages, in words */
	char asked[2000];          /* of the environment */
	size_t said_n, asked_n;
	int trouble_at;            /* -1: none */
	unsigned trouble_in;       /* that many times later */
	bool fatal;
	struct bench *hears;       /* gets notifications */
};

static void note(char *text, size_t *n, size_t cap, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void note(char *text, size_t *n, size_t cap, const char *format, ...)
{
	va_list ap;
	int k;

	va_start(ap, format);
	k = vsnprintf(text + *n, cap - *n, format, ap);
	va_end(ap);
	assert_true(k >= 0 && (size_t)k < cap - *n);
	*n += (size_t)k;
}

#define SAY(b, ...) note((b)->said, &(b)->said_n, sizeof((b)->said), __VA_ARGS__)
#define ASKED(b, ...) note((b)->asked, &(b)->asked_n, sizeof((b)->asked), __VA_ARGS__)

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static const char *field(const uint8_t *p, char letter)
{
	const char *s = (const char *)p;

	while (*s && *s != letter)
		s += strlen(s) + 1;
	return *s ? s + 1 : "";
}

static void say_row(struct bench *b, const uint8_t *p)
{
	unsigned i, n = (unsigned)(p[0] << 8 | p[1]);

	p += 2;
	SAY(b, "D(");
	for (i = 0; i < n; i++) {
		uint32_t len = u32(p);

		p += 4;
		if (len == UINT32_MAX) {
			SAY(b, "%sNULL", i ? "|" : "");
			continue;
		}
		SAY(b, "%s%.*s", i ? "|" : "", len > 60 ? 60 : (int)len, (const char *)p);
		p += len;
	}
	SAY(b, ") ");
}

static void env_out(void *arg, const uint8_t *p, size_t n)
{
	struct bench *b = arg;

	while (n) {
		size_t len = u32(p + 1) + 1;
		const uint8_t *body = p + 5;

		assert_true(len <= n);
		if (*p == 'D')
			say_row(b, body);
		else if (*p == 'E' || *p == 'N')
			SAY(b, "%c[%s%s] ", *p, strcmp(field(body, 'S'), "FATAL") == 0 ? "FATAL " : "",
			    field(body, 'C'));
		else if (*p == 'C')
			SAY(b, "C[%s] ", (const char *)body);
		else if (*p == 'Z')
			SAY(b, "Z:%c ", body[0]);
		else if (*p == 'S')
			SAY(b, "S[%s=%s] ", (const char *)body,
			    (const char *)body + strlen((const char *)body) + 1);
		else if (*p == 'A')
			SAY(b, "A[%s] ", (const char *)body + 4);
		else
			SAY(b, "%c ", *p);
		p += len;
		n -= len;
	}
}

static bool env_trouble(void *arg, enum place at, struct engine_error *err)
{
	struct bench *b = arg;

	if ((int)at != b->trouble_at)
		return false;
	if (b->trouble_in) {
		b->trouble_in--;
		return false;
	}
	b->trouble_at = -1;
	(void)snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", b->fatal ? "57P01" : "58000");
	(void)snprintf(err->message, sizeof(err->message), "trouble");
	err->fatal = b->fatal;
	return true;
}

static void wake(void *arg)
{
	struct bench *b = arg;

	b->woken = true;
}

static void env_begin(void *arg, bool block)
{
	struct bench *b = arg;

	assert_null(b->txn);
	ASKED(b, block ? "BEGIN " : "begin ");
	b->txn = store_begin(b->s, wake, b);
}

static enum data env_commit(void *arg, struct engine_error *err)
{
	struct bench *b = arg;
	enum data d;

	assert_non_null(b->txn);
	d = store_commit(b->txn, err);
	ASKED(b, d == DATA_OK ? "commit " : "commit! ");
	b->txn = NULL;
	return d;
}

static void env_rollback(void *arg)
{
	struct bench *b = arg;

	assert_non_null(b->txn);
	ASKED(b, "rollback ");
	store_lock_forget(b->s, b);
	store_rollback(b->txn);
	b->txn = NULL;
	b->asleep = false;
}

static void env_savepoint(void *arg, unsigned depth)
{
	struct bench *b = arg;

	ASKED(b, "save%u ", depth);
	store_savepoint(b->txn, depth);
}

static void env_rollback_to(void *arg, unsigned depth)
{
	struct bench *b = arg;

	ASKED(b, "back%u ", depth);
	store_rollback_to(b->txn, depth);
}

static enum data env_read(void *arg, unsigned key, const char **value, struct engine_error *err)
{
	struct bench *b = arg;

	return store_read(b->txn, key, value, err);
}

static enum data env_append(void *arg, unsigned key, const char *tag, struct engine_error *err)
{
	struct bench *b = arg;

	return store_append(b->txn, key, tag, err);
}

static enum data env_lock(void *arg, unsigned number, struct engine_error *err)
{
	struct bench *b = arg;

	(void)err;
	return store_lock(b->s, number, b, wake, b) ? DATA_OK : DATA_WAIT;
}

static bool env_try_lock(void *arg, unsigned number)
{
	struct bench *b = arg;

	return store_lock(b->s, number, b, NULL, NULL);
}

static bool env_unlock(void *arg, unsigned number)
{
	struct bench *b = arg;

	return store_unlock(b->s, number, b);
}

static enum data env_sleep(void *arg, uint64_t us, struct engine_error *err)
{
	struct bench *b = arg;

	(void)err;
	if (!b->asleep)
		ASKED(b, "sleep%llu ", (unsigned long long)us);
	b->asleep = !b->may_sleep;
	return b->may_sleep ? DATA_OK : DATA_WAIT;
}

static void env_notify(void *arg, const char *channel, const char *payload)
{
	struct bench *b = arg;

	ASKED(b, "notify:%s:%s ", channel, payload);
	if (b->hears)
		engine_notified(b->hears->e, 1, channel, payload);
}

static uint32_t env_pid(void *arg, uint32_t *secret)
{
	(void)arg;
	*secret = 5;
	return 42;
}

static void login(struct bench *b, enum dialect dialect, struct store *s, const char *params, size_t n)
{
	struct engine_conf conf = { dialect, false, 150004 };
	struct engine_env env = { b,	       env_out,		env_trouble, env_begin, env_commit,
				  env_rollback, env_savepoint,	env_rollback_to, env_read, env_append,
				  env_lock,    env_try_lock,	env_unlock,  env_sleep, env_notify,
				  env_pid };

	*b = (struct bench){ .s = s, .trouble_at = -1 };
	b->e = engine_new(&conf, &env);
	assert_non_null(b->e);
	engine_login(b->e, (const uint8_t *)params, n);
}

static void clear(struct bench *b)
{
	b->said_n = b->asked_n = 0;
	b->said[0] = b->asked[0] = 0;
}

static void begin(struct bench *b)
{
	static const char params[] = "user\0app\0database\0app\0";

	login(b, DIALECT_PG, store_new(DIALECT_PG), params, sizeof(params));
	assert_true(engine_at_rest(b->e));
	clear(b);
}

static void end(struct bench *b)
{
	engine_free(b->e);
	assert_null(b->txn);
	store_free(b->s);
}

/* ---- messages ---- */

static void send_bytes(struct bench *b, char type, const void *body, size_t n)
{
	uint8_t m[2000];

	assert_true(n + 5 < sizeof(m));
	m[0] = (uint8_t)type;
	m[1] = m[2] = 0;
	m[3] = (uint8_t)((n + 4) >> 8);
	m[4] = (uint8_t)(n + 4);
	memcpy(m + 5, body, n);
	engine_input(b->e, m, n + 5);
}

static void query(struct bench *b, const char *text)
{
	send_bytes(b, 'Q', text, strlen(text) + 1);
}

static void parse(struct bench *b, const char *name, const char *text)
{
	char m[600];
	size_t n = strlen(name) + 1;

	memcpy(m, name, n);
	memcpy(m + n, text, strlen(text) + 1);
	n += strlen(text) + 1;
	m[n] = m[n + 1] = 0;
	send_bytes(b, 'P', m, n + 2);
}

static void bind_empty(struct bench *b, const char *portal, const char *name)
{
	char m[200] = { 0 };
	size_t n = strlen(portal) + 1;

	memcpy(m, portal, n);
	memcpy(m + n, name, strlen(name) + 1);
	send_bytes(b, 'B', m, n + strlen(name) + 1 + 6);
}

static void execute(struct bench *b, const char *portal, unsigned limit)
{
	char m[200] = { 0 };
	size_t n = strlen(portal) + 1;

	memcpy(m, portal, n);
	m[n + 3] = (char)limit;
	send_bytes(b, 'E', m, n + 4);
}

static void sync(struct bench *b)
{
	send_bytes(b, 'S', "", 0);
}

static void batch(struct bench *b, const char *text)
{
	parse(b, "", text);
	bind_empty(b, "", "");
	execute(b, "", 0);
}

static void expect(struct bench *b, const char *said, const char *asked)
{
	assert_string_equal(b->said, said);
	if (asked)
		assert_string_equal(b->asked, asked);
	clear(b);
}

/* ---- tests ---- */

static void test_login(void **state)
{
	static const char params[] = "user\0app\0options\0-c work_mem=1MB\0application_name\0me\0";
	static const char bad[] = "user\0app\0DateStyle\0nonsense\0";
	struct bench b;

	(void)state;
	login(&b, DIALECT_PG, store_new(DIALECT_PG), params, sizeof(params));
	assert_non_null(strstr(b.said, "R S[application_name=me] S[client_encoding=UTF8] "));
	assert_non_null(strstr(b.said, "K Z:I "));
	assert_string_equal(engine_setting(b.e, "work_mem"), "1024");
	end(&b);
	login(&b, DIALECT_PG, store_new(DIALECT_PG), bad, sizeof(bad));
	assert_string_equal(b.said, "R E[FATAL 22023] ");
	assert_true(engine_over(b.e));
	end(&b);
}

static void test_simple(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	query(&b, "SELECT 1");
	expect(&b, "T D(1) C[SELECT 1] Z:I ", "begin commit ");
	query(&b, "");
	expect(&b, "I Z:I ", "");
	query(&b, "INSERT INTO kv VALUES (1, 'a'), (2, 'b'); SELECT k, v FROM kv WHERE k IN (2, 1)");
	expect(&b, "C[INSERT 0 2] T D(2|b,) D(1|a,) C[SELECT 2] Z:I ", "begin commit ");
	query(&b, "INSERT INTO kv VALUES (3, 'a'); SELECT 1/0; SELECT 1");
	expect(&b, "C[INSERT 0 1] E[22012] Z:I ", "begin rollback ");
	query(&b, "INSERT INTO kv VALUES (3, 'a'); COMMIT; SELECT 1/0");
	expect(&b, "C[INSERT 0 1] N[25P01] C[COMMIT] E[22012] Z:I ", "begin commit begin rollback ");
	assert_string_equal(store_value(b.s, 3), "a,");
	query(&b, "BEGIN; UPDATE kv SET v = v || 'x' WHERE k = 3 RETURNING v");
	expect(&b, "C[BEGIN] T D(a,x,) C[UPDATE 1] Z:T ", "BEGIN ");
	query(&b, "SELEC 1");
	expect(&b, "E[42601] Z:E ", "rollback ");
	query(&b, "SELECT 1");
	expect(&b, "E[25P02] Z:E ", "");
	query(&b, "COMMIT");
	expect(&b, "C[ROLLBACK] Z:I ", "");
	end(&b);
}

static void test_extended(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	batch(&b, "INSERT INTO kv VALUES (1, 'a')");
	assert_false(engine_at_rest(b.e));
	batch(&b, "SELECT 1/0");
	sync(&b);
	expect(&b, "1 2 C[INSERT 0 1] 1 E[22012] Z:I ", "begin rollback ");
	assert_true(engine_at_rest(b.e));
	parse(&b, "s", "SELECT g FROM generate_series(1, 3) g");
	bind_empty(&b, "p", "s");
	execute(&b, "p", 2);
	execute(&b, "p", 2);
	execute(&b, "p", 0);
	sync(&b);
	expect(&b, "1 2 D(1) D(2) s D(3) C[SELECT 1] C[SELECT 0] Z:I ", "begin commit ");
	execute(&b, "p", 0);
	bind_empty(&b, "p", "s");
	query(&b, "SELECT 1");
	sync(&b);
	expect(&b, "E[34000] Z:I ", "");
	end(&b);
}

static void test_settings(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	query(&b, "SET application_name = 'one'");
	expect(&b, "C[SET] S[application_name=one] Z:I ", "begin commit ");
	query(&b, "BEGIN; SET application_name = 'two'; SET LOCAL timezone = 'europe/berlin'");
	expect(&b, "C[BEGIN] C[SET] C[SET] S[application_name=two] S[TimeZone=Europe/Berlin] Z:T ", NULL);
	query(&b, "SAVEPOINT s; SET application_name = 'three'; ROLLBACK TO s");
	expect(&b, "C[SAVEPOINT] C[SET] C[ROLLBACK] Z:T ", "save1 back1 ");
	query(&b, "SELECT 1/0");
	expect(&b, "E[22012] Z:E ", NULL); /* only what came since s is undone */
	query(&b, "ROLLBACK");
	expect(&b, "C[ROLLBACK] S[application_name=one] S[TimeZone=UTC] Z:I ", NULL);
	query(&b, "SET statement_timeout = 1000; SHOW statement_timeout");
	expect(&b, "C[SET] T D(1s) C[SHOW] Z:I ", NULL);
	query(&b, "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM "
		  "pg_catalog.pg_listening_channels()) THEN 1 ELSE 0 END,"
		  "pg_catalog.current_setting('search_path',true);SELECT name,setting FROM "
		  "pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'");
	expect(&b, "T D(0|\"$user\", public) C[SELECT 1] T D(application_name|one) "
		   "D(statement_timeout|1000) C[SELECT 2] Z:I ", NULL);
	query(&b, "DISCARD ALL");
	expect(&b, "C[DISCARD ALL] S[application_name=] Z:I ", NULL);
	end(&b);
}

static void test_wait(void **state)
{
	struct bench b, c;
	static const char params[] = "user\0app\0";

	(void)state;
	begin(&b);
	login(&c, DIALECT_PG, b.s, params, sizeof(params));
	clear(&c);
	query(&b, "BEGIN; INSERT INTO kv VALUES (0, 'b')");
	clear(&b);
	batch(&c, "INSERT INTO kv VALUES (1, 'c'), (0, 'c'), (2, 'c')");
	sync(&c);
	assert_true(engine_waits(c.e));
	expect(&c, "", "begin ");
	engine_resume(c.e);
	assert_true(engine_waits(c.e));
	query(&b, "ROLLBACK");
	assert_true(c.woken);
	engine_resume(c.e);
	assert_false(engine_waits(c.e));
	expect(&c, "1 2 C[INSERT 0 3] Z:I ", "commit ");
	assert_string_equal(store_value(b.s, 1), "c,");
	/* cancelled */
	query(&b, "BEGIN; INSERT INTO kv VALUES (0, 'b')");
	query(&c, "INSERT INTO kv VALUES (0, 'c')");
	query(&c, "SELECT 2");
	engine_cancel(c.e);
	expect(&c, "E[57014] Z:I T D(2) C[SELECT 1] Z:I ", "begin rollback begin commit ");
	engine_cancel(c.e);
	query(&c, "SELECT pg_sleep(0.5)");
	assert_true(engine_waits(c.e));
	c.may_sleep = true;
	engine_resume(c.e);
	expect(&c, "T D() C[SELECT 1] Z:I ", "begin sleep500000 commit ");
	engine_free(c.e);
	end(&b);
}

static void test_copy(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	query(&b, "COPY kv FROM STDIN");
	expect(&b, "G ", "begin ");
	assert_false(engine_at_rest(b.e));
	send_bytes(&b, 'd', "1\ta\n2", 5);
	send_bytes(&b, 'd', "\tb\n", 3);
	send_bytes(&b, 'c', "", 0);
	expect(&b, "C[COPY 2] Z:I ", "commit ");
	assert_string_equal(store_value(b.s, 2), "b,");
	query(&b, "COPY kv FROM STDIN");
	send_bytes(&b, 'd', "x\ta\n", 4);
	send_bytes(&b, 'd', "1\ta\n", 4);
	send_bytes(&b, 'c', "", 0);
	expect(&b, "G E[22P02] Z:I ", "begin rollback ");
	query(&b, "COPY kv FROM STDIN");
	send_bytes(&b, 'f', "no", 3);
	expect(&b, "G E[57014] Z:I ", NULL);
	query(&b, "COPY kv FROM STDIN");
	query(&b, "SELECT 1");
	expect(&b, "G E[08P01] E[FATAL 08P01] ", "begin rollback ");
	assert_true(engine_over(b.e));
	end(&b);
}

static void test_trouble(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	b.trouble_at = AT_STATEMENT;
	b.trouble_in = 1;
	query(&b, "SELECT 1; SELECT 2");
	expect(&b, "T D(1) C[SELECT 1] E[58000] Z:I ", "begin rollback ");
	b.trouble_at = AT_SYNC;
	batch(&b, "SELECT 1");
	sync(&b);
	expect(&b, "1 2 D(1) C[SELECT 1] E[58000] Z:I ", "begin rollback ");
	b.trouble_at = AT_BIND;
	b.fatal = true;
	batch(&b, "SELECT 1");
	expect(&b, "1 E[FATAL 57P01] ", "");
	assert_true(engine_over(b.e));
	end(&b);
}

static void test_notify(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	b.hears = &b;
	query(&b, "LISTEN c");
	assert_int_equal(engine_left(b.e), LEFT_LISTEN);
	clear(&b);
	query(&b, "BEGIN; NOTIFY c, 'x'; NOTIFY c, 'x'");
	engine_notified(b.e, 7, "c", "y");
	engine_notified(b.e, 7, "d", "y");
	expect(&b, "C[BEGIN] C[NOTIFY] C[NOTIFY] Z:T ", "BEGIN ");
	query(&b, "COMMIT");
	expect(&b, "C[COMMIT] A[c] A[c] Z:I ", "commit notify:c:x ");
	engine_notified(b.e, 7, "c", "y");
	expect(&b, "A[c] ", "");
	end(&b);
}

/* Byte by byte, and all at once: the same is said. */
static void test_cut(void **state)
{
	static const char two[] = "Q\0\0\0\x0d" "SELECT 1\0" "Q\0\0\0\x0d" "SELECT 2\0";
	struct bench b;
	size_t i;

	(void)state;
	begin(&b);
	engine_input(b.e, (const uint8_t *)two, sizeof(two) - 1);
	expect(&b, "T D(1) C[SELECT 1] Z:I T D(2) C[SELECT 1] Z:I ", NULL);
	for (i = 0; i < sizeof(two) - 1; i++)
		engine_input(b.e, (const uint8_t *)two + i, 1);
	expect(&b, "T D(1) C[SELECT 1] Z:I T D(2) C[SELECT 1] Z:I ", NULL);
	engine_input(b.e, (const uint8_t *)"!", 1);
	expect(&b, "E[FATAL 08P01] ", "");
	end(&b);
}

static void test_left(void **state)
{
	struct bench b;

	(void)state;
	begin(&b);
	query(&b, "PREPARE p AS SELECT 1");
	assert_int_equal(engine_left(b.e), LEFT_PREPARE);
	query(&b, "DECLARE c CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) g");
	query(&b, "CREATE TEMP TABLE t (a int)");
	query(&b, "SELECT pg_advisory_lock(7)");
	query(&b, "LISTEN x");
	assert_int_equal(engine_left(b.e),
			 LEFT_PREPARE | LEFT_HOLD | LEFT_TEMP | LEFT_LOCK | LEFT_LISTEN);
	clear(&b);
	query(&b, "FETCH 2 FROM c; EXECUTE p");
	expect(&b, "T D(1) D(2) C[FETCH 2] T D(1) C[SELECT 1] Z:I ", NULL);
	query(&b, "DISCARD ALL");
	assert_int_equal(engine_left(b.e), 0);
	assert_false(store_locked(b.s, 7));
	end(&b);
}

/* ---- CockroachDB ---- */

static void begin_crdb(struct bench *b)
{
	static const char params[] = "user\0root\0DateStyle\0ISO\0client_encoding\0utf-8\0nosuch\0x\0"
				     "application_name\0app\0";

	login(b, DIALECT_CRDB, store_new(DIALECT_CRDB), params, sizeof(params));
	expect(b, "R S[server_version=13.0.0] S[server_encoding=UTF8] S[client_encoding=utf-8] "
		  "S[application_name=app] S[DateStyle=ISO] S[IntervalStyle=postgres] "
		  "S[TimeZone=UTC] S[integer_datetimes=on] S[standard_conforming_strings=on] "
		  "S[crdb_version=CockroachDB OSS v21.2.0-alpha (simulated)] "
		  "S[session_authorization=root] S[is_superuser=on] K Z:I ", "");
}

static void test_crdb_alone(void **state)
{
	struct bench b;

	(void)state;
	begin_crdb(&b);
	query(&b, "INSERT INTO kv VALUES (1, 'a'); SELECT 1/0; SELECT 1");
	expect(&b, "C[INSERT 0 1] E[22012] Z:I ", "begin commit begin rollback ");
	assert_string_equal(store_value(b.s, 1), "a,");
	query(&b, "UPSERT INTO kv VALUES (1, 'b'); SELEC");
	expect(&b, "E[42601] Z:I ", "");
	batch(&b, "UPSERT INTO kv VALUES (1, 'b')");
	expect(&b, "", "begin commit ");
	batch(&b, "SELECT 1/0");
	sync(&b);
	expect(&b, "1 2 C[INSERT 0 1] 1 E[22012] Z:I ", NULL);
	assert_string_equal(store_value(b.s, 1), "a,b,");
	query(&b, "COMMIT");
	expect(&b, "E[XXUUU] Z:I ", "begin rollback ");
	query(&b, "ROLLBACK; SELECT 1");
	expect(&b, "E[XXUUU] Z:I ", NULL);
	query(&b, "SAVEPOINT s");
	expect(&b, "E[XXUUU] Z:I ", NULL);
	query(&b, "CLOSE ALL; LISTEN x");
	expect(&b, "E[42601] Z:I ", NULL);
	query(&b, "CLOSE ALL");
	expect(&b, "I Z:I ", NULL);
	query(&b, "SELECT pg_advisory_lock(1)");
	expect(&b, "E[42883] Z:I ", NULL);
	query(&b, "SELECT pg_try_advisory_lock(1)");
	expect(&b, "T D(t) C[SELECT 1] Z:I ", NULL);
	query(&b, "SELECT 1; COPY kv FROM STDIN");
	expect(&b, "T D(1) C[SELECT 1] E[08P01] Z:I ", NULL);
	query(&b, "COPY kv FROM STDIN");
	send_bytes(&b, 'f', "x", 2);
	expect(&b, "G E[XXUUU] Z:I ", NULL);
	parse(&b, "", "COPY kv FROM STDIN");
	parse(&b, "", "SELECT 1");
	sync(&b);
	expect(&b, "E[XXUUU] Z:I ", NULL);
	end(&b);
}

static void test_crdb_block(void **state)
{
	struct bench b;

	(void)state;
	begin_crdb(&b);
	query(&b, "START TRANSACTION; BEGIN");
	expect(&b, "C[BEGIN] E[XXUUU] Z:E ", "BEGIN rollback ");
	query(&b, "SELECT 1");
	expect(&b, "E[25P02] Z:E ", "");
	batch(&b, "SELECT 1");
	sync(&b);
	expect(&b, "1 2 E[25P02] Z:E ", "");
	batch(&b, "COMMIT");
	sync(&b);
	expect(&b, "1 2 C[ROLLBACK] Z:I ", "");
	/* settings are not undone */
	query(&b, "BEGIN; SET application_name = x; SELECT set_config('timezone', 'gmt', false)");
	expect(&b, "C[BEGIN] S[application_name=x] C[SET] T D(GMT) S[TimeZone=GMT] C[SELECT 1] Z:T ", NULL);
	query(&b, "ROLLBACK; SET application_name = x; RESET timezone; SHOW application_name");
	expect(&b, "C[ROLLBACK] S[application_name=x] C[SET] S[TimeZone=UTC] C[SET] T D(x) C[SHOW] Z:I ", NULL);
	query(&b, "BEGIN; SET LOCAL application_name = y");
	expect(&b, "E[0A000] Z:I ", "");
	query(&b, "BEGIN");
	clear(&b);
	query(&b, "DISCARD ALL");
	expect(&b, "E[25001] Z:E ", NULL);
	query(&b, "ROLLBACK; DISCARD ALL");
	expect(&b, "C[ROLLBACK] S[application_name=app] S[TimeZone=UTC] C[DISCARD] Z:I ", NULL);
	query(&b, "RESET ALL");
	expect(&b, "E[42704] Z:I ", NULL);
	query(&b, "SET a.b = 1");
	expect(&b, "E[42704] Z:I ", NULL);
	query(&b, "BEGIN; COMMIT AND CHAIN");
	expect(&b, "E[42601] Z:I ", NULL);
	/* the give-up sequence */
	query(&b, "BEGIN");
	query(&b, "ROLLBACK TO SAVEPOINT \"pgweir_giveup\"");
	query(&b, "RELEASE s");
	query(&b, "END");
	expect(&b, "C[BEGIN] Z:T E[3B001] Z:E E[25P02] Z:E C[ROLLBACK] Z:I ", NULL);
	end(&b);
}

static void test_crdb_restart(void **state)
{
	static const char params[] = "user\0root\0";
	struct bench b, c;

	(void)state;
	begin_crdb(&b);
	login(&c, DIALECT_CRDB, b.s, params, sizeof(params));
	query(&b, "BEGIN; SAVEPOINT cockroach_restart; SELECT v FROM kv WHERE k = 1");
	query(&c, "UPSERT INTO kv VALUES (1, 'c')");
	clear(&b);
	query(&b, "UPSERT INTO kv VALUES (1, 'b')");
	expect(&b, "E[40001] Z:E ", "back1 ");
	query(&b, "ROLLBACK TO SAVEPOINT cockroach_restart");
	expect(&b, "C[ROLLBACK] Z:T ", "rollback BEGIN save1 ");
	query(&b, "UPSERT INTO kv VALUES (1, 'b') RETURNING v");
	query(&b, "RELEASE SAVEPOINT cockroach_restart");
	expect(&b, "T D(c,b,) C[INSERT 0 1] Z:T C[COMMIT] Z:T ", "commit ");
	query(&b, "SELECT 1");
	query(&b, "ROLLBACK");
	expect(&b, "E[25000] Z:T C[COMMIT] Z:I ", "");
	assert_string_equal(store_value(b.s, 1), "c,b,");
	/* a RELEASE that fails can be gone back from */
	query(&b, "BEGIN; SAVEPOINT cockroach_restart; SELECT v FROM kv WHERE k = 1");
	query(&c, "UPSERT INTO kv VALUES (1, 'd')");
	query(&b, "UPSERT INTO kv VALUES (2, 'b')");
	clear(&b);
	query(&b, "RELEASE SAVEPOINT cockroach_restart");
	query(&b, "ROLLBACK TO SAVEPOINT cockroach_restart; COMMIT");
	expect(&b, "E[40001] Z:E C[ROLLBACK] C[COMMIT] Z:I ", "commit! BEGIN save1 commit ");
	/* other savepoints: only from before any data */
	query(&b, "BEGIN; SAVEPOINT a; SELECT v FROM kv WHERE k = 1; SAVEPOINT s");
	query(&c, "UPSERT INTO kv VALUES (1, 'e')");
	clear(&b);
	query(&b, "UPSERT INTO kv VALUES (1, 'b')");
	query(&b, "ROLLBACK TO s");
	query(&b, "ROLLBACK TO a");
	query(&b, "SELECT v FROM kv WHERE k = 1; SAVEPOINT s; SELECT 1/0");
	query(&b, "ROLLBACK TO s; RELEASE a; COMMIT");
	expect(&b, "E[40001] Z:E E[40001] Z:E C[ROLLBACK] Z:T T D(c,b,d,e,) C[SELECT 1] C[SAVEPOINT] "
		   "E[22012] Z:E C[ROLLBACK] C[RELEASE] C[COMMIT] Z:I ", NULL);
	query(&b, "BEGIN; SELECT 1; SAVEPOINT cockroach_restart");
	query(&b, "ABORT");
	expect(&b, "C[BEGIN] T D(1) C[SELECT 1] E[42601] Z:E C[ROLLBACK] Z:I ", NULL);
	/* at COMMIT */
	query(&b, "BEGIN; SELECT v FROM kv WHERE k = 1; UPSERT INTO kv VALUES (3, 'x')");
	query(&c, "UPSERT INTO kv VALUES (1, 'f')");
	clear(&b);
	query(&b, "COMMIT");
	expect(&b, "E[40001] Z:I ", "commit! ");
	engine_free(c.e);
	end(&b);
}

static void test_crdb_messages(void **state)
{
	struct bench b;

	(void)state;
	begin_crdb(&b);
	/* a Query is not run while skipping, but answered */
	parse(&b, "", "SELEC");
	query(&b, "SELECT 1");
	sync(&b);
	expect(&b, "E[42601] Z:I Z:I ", "");
	engine_input(b.e, (const uint8_t *)"!\0\0\0\4", 5);
	query(&b, "SELECT 1");
	query(&b, "SELECT 2");
	expect(&b, "E[08P01] Z:I T D(2) C[SELECT 1] Z:I ", NULL);
	/* portals outside of a block are over with their first Execute */
	parse(&b, "s", "SELECT g FROM generate_series(1, 4) g");
	bind_empty(&b, "p", "s");
	execute(&b, "p", 3);
	execute(&b, "p", 3);
	sync(&b);
	expect(&b, "1 2 D(1) D(2) D(3) s E[34000] Z:I ", "begin commit ");
	query(&b, "BEGIN");
	bind_empty(&b, "p", "s");
	execute(&b, "p", 3);
	execute(&b, "p", 3);
	bind_empty(&b, "q", "s");
	execute(&b, "q", 3);
	sync(&b);
	query(&b, "SELECT 1");
	query(&b, "ROLLBACK");
	expect(&b, "C[BEGIN] Z:T 2 D(1) D(2) D(3) s D(4) C[SELECT 1] 2 D(1) D(2) D(3) s Z:T "
		   "E[0A000] Z:E C[ROLLBACK] Z:I ", NULL);
	parse(&b, "s", "SELECT 1");
	sync(&b);
	bind_empty(&b, "", "t");
	sync(&b);
	parse(&b, "", "SELECT 1; SELECT 2");
	sync(&b);
	expect(&b, "E[42P05] Z:I E[26000] Z:I E[42P14] Z:I ", "");
	query(&b, "BEGIN; PREPARE x AS SELECT 7; ROLLBACK; EXECUTE x");
	expect(&b, "C[BEGIN] C[PREPARE] C[ROLLBACK] T D(7) C[SELECT 1] Z:I ", NULL);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login),	  cmocka_unit_test(test_simple),
		cmocka_unit_test(test_extended), cmocka_unit_test(test_settings),
		cmocka_unit_test(test_wait),	  cmocka_unit_test(test_copy),
		cmocka_unit_test(test_trouble),  cmocka_unit_test(test_notify),
		cmocka_unit_test(test_cut),	  cmocka_unit_test(test_left),
		cmocka_unit_test(test_crdb_alone), cmocka_unit_test(test_crdb_block),
		cmocka_unit_test(test_crdb_restart), cmocka_unit_test(test_crdb_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
