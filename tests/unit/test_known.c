/* tests/unit/test_known.c - what auth_query has said: what is kept of it and for how long,
 * and what is taken for an answer.
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

#include "session/known.h"
#include "session/reply.h"

#define S 1000000u

/* ---- what is kept ---- */

static const char *secret_of(struct known *k, uint64_t of, const char *name, uint64_t now)
{
	const struct known_user *u = known_get(k, of, name, now);

	return !u ? "-" : u->secret ? u->secret : "none";
}

static void test_kept_until(void **state)
{
	struct known k;

	(void)state;
	known_init(&k, 10);
	assert_string_equal(secret_of(&k, 1, "ann", 0), "-");
	known_put(&k, 1, "ann", SECRET_PLAIN, "x", 5 * S);
	assert_string_equal(secret_of(&k, 1, "ann", 5 * S - 1), "x");
	assert_int_equal(known_get(&k, 1, "ann", 0)->kind, SECRET_PLAIN);
	assert_string_equal(secret_of(&k, 1, "ann", 5 * S), "-");
	assert_int_equal(k.n, 0);
	/* nobody is kept as well */
	known_put(&k, 1, "nobody", SECRET_PLAIN, NULL, 5 * S);
	assert_string_equal(secret_of(&k, 1, "nobody", 1), "none");
	assert_int_equal(known_get(&k, 1, "nobody", 1)->kind, SECRET_NONE);
	known_clear(&k);
	assert_int_equal(k.n, 0);
	assert_string_equal(secret_of(&k, 1, "nobody", 1), "-");
}

static void test_whose(void **state)
{
	struct known k;

	(void)state;
	known_init(&k, 10);
	known_put(&k, 1, "ann", SECRET_PLAIN, "one", 9);
	known_put(&k, 2, "ann", SECRET_MD5, "two", 9);
	known_put(&k, 1, "Ann", SECRET_PLAIN, "three", 9);
	assert_string_equal(secret_of(&k, 1, "ann", 1), "one");
	assert_string_equal(secret_of(&k, 2, "ann", 1), "two");
	assert_string_equal(secret_of(&k, 1, "Ann", 1), "three");
	known_put(&k, 1, "ann", SECRET_PLAIN, "four", 9);
	assert_string_equal(secret_of(&k, 1, "ann", 1), "four");
	assert_int_equal(k.n, 3);
	known_forget(&k, 1, "ann");
	known_forget(&k, 3, "ann");
	assert_string_equal(secret_of(&k, 1, "ann", 1), "-");
	assert_string_equal(secret_of(&k, 2, "ann", 1), "two");
	known_clear(&k);
}

static void test_bounded(void **state)
{
	struct known k;
	char name[20];
	unsigned i;

	(void)state;
	known_init(&k, 100);
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		known_put(&k, 7, name, SECRET_PLAIN, name, 9);
		assert_in_range(k.n, 1, 100);
	}
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		assert_string_equal(secret_of(&k, 7, name, 1), i < 900 ? "-" : name);
	}
	known_clear(&k);
}

/* ---- what is an answer ---- */

struct msg {
	uint8_t b[600];
	struct wire_put w;
};

static void feed(struct reply *r, struct msg *m, uint8_t type)
{
	assert_false(m->w.bad);
	reply_message(r, "ann", type, wire_body(m->b, (uint32_t)m->w.len));
}

static void columns(struct reply *r, unsigned n, uint32_t oid)
{
	struct msg m;
	unsigned i;

	m.w = wire_put_to(m.b, sizeof(m.b));
	wire_begin(&m.w, 'T');
	wire_put_u16(&m.w, (uint16_t)n);
	for (i = 0; i < n; i++) {
		wire_put_str(&m.w, "col");
		wire_put_u32(&m.w, 0);
		wire_put_u16(&m.w, 0);
		wire_put_u32(&m.w, oid);
		wire_put_u16(&m.w, 0xffff);
		wire_put_u32(&m.w, 0xffffffff);
		wire_put_u16(&m.w, 0);
	}
	wire_end(&m.w);
	feed(r, &m, 'T');
}

static void put_value(struct wire_put *w, const char *v)
{
	wire_put_u32(w, v ? (uint32_t)strlen(v) : UINT32_MAX);
	wire_put_bytes(w, v, v ? strlen(v) : 0);
}

static void row(struct reply *r, const char *name, const char *secret)
{
	struct msg m;

	m.w = wire_put_to(m.b, sizeof(m.b));
	wire_begin(&m.w, 'D');
	wire_put_u16(&m.w, 2);
	put_value(&m.w, name);
	put_value(&m.w, secret);
	wire_end(&m.w);
	feed(r, &m, 'D');
}

static void error(struct reply *r, const char *code, const char *text)
{
	struct wire_error e = { "ERROR", code, text, NULL, NULL, NULL };
	struct msg m;

	m.w = wire_put_to(m.b, sizeof(m.b));
	wire_put_error(&m.w, 'E', &e);
	feed(r, &m, 'E');
}

/* "wrong", "none", or the secret. */
static void expect(struct reply *r, const char *want)
{
	reply_end(r);
	assert_string_equal(r->wrong ? "wrong" : r->secret ? r->secret : "none", want);
	assert_true((r->kind == SECRET_NONE) == !r->secret);
	reply_clear(r);
}

static void one(const char *secret, const char *want, enum secret_kind kind)
{
	struct reply r = { 0 };

	columns(&r, 2, 25);
	row(&r, "ann", secret);
	if (r.secret)
		assert_int_equal(r.kind, kind);
	expect(&r, want);
}

static void test_answers(void **state)
{
	static const char md5[] = "md5d0123456789abcdef0123456789abcde";
	static const char scram[] = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"
				    "6XTxCHZlpJyDpUPm1SLkGCfp/3vwXQOHnOqfQeBUKqk=:"
				    "6XTxCHZlpJyDpUPm1SLkGCfp/3vwXQOHnOqfQeBUKqk=";
	struct reply r = { 0 };

	(void)state;
	one("word", "word", SECRET_PLAIN);
	one(md5, md5, SECRET_MD5);
	one(scram, scram, SECRET_SCRAM);
	one("", "none", SECRET_NONE);
	one(NULL, "none", SECRET_NONE);
	one("md5D0123456789abcdef0123456789abcde", "none", SECRET_NONE);
	one("md5", "none", SECRET_NONE);
	one("SCRAM-SHA-256$4096", "none", SECRET_NONE);
	columns(&r, 2, 19);
	expect(&r, "none");
	columns(&r, 2, 25);
	row(&r, NULL, NULL);
	expect(&r, "none");
	columns(&r, 2, 25);
	row(&r, NULL, "word");
	expect(&r, "none");
}

static void test_no_answers(void **state)
{
	struct reply r = { 0 };
	unsigned n;

	(void)state;
	expect(&r, "wrong"); /* nothing has come */
	for (n = 0; n < 5; n++) {
		columns(&r, n, 25);
		if (n == 2)
			expect(&r, "none");
		else
			expect(&r, "wrong");
	}
	columns(&r, 2, 23);
	row(&r, "ann", "42");
	expect(&r, "wrong");
	columns(&r, 2, 25);
	row(&r, "bob", "word");
	expect(&r, "wrong");
	columns(&r, 2, 25);
	row(&r, "an", "word");
	expect(&r, "wrong");
	columns(&r, 2, 25);
	row(&r, "ann", "word");
	row(&r, "ann", "word");
	expect(&r, "wrong");
	row(&r, "ann", "word"); /* of columns that nobody knows */
	expect(&r, "wrong");
	columns(&r, 2, 25);
	row(&r, "ann", "word");
	error(&r, "57014", "x"); /* behind the row */
	expect(&r, "wrong");
}

/* A message cut anywhere, with its length. */
static void test_cut(void **state)
{
	struct msg m;
	size_t cut;

	(void)state;
	m.w = wire_put_to(m.b, sizeof(m.b));
	wire_begin(&m.w, 'D');
	wire_put_u16(&m.w, 2);
	put_value(&m.w, "ann");
	put_value(&m.w, "word");
	wire_end(&m.w);
	for (cut = 5; cut < m.w.len; cut++) {
		struct reply r = { 0 };
		uint8_t *p = malloc(cut);

		assert_non_null(p);
		memcpy(p, m.b, cut);
		columns(&r, 2, 25);
		reply_message(&r, "ann", 'D', wire_body(p, (uint32_t)cut));
		expect(&r, "wrong");
		free(p);
	}
}

static void test_errors(void **state)
{
	struct reply r = { 0 };

	(void)state;
	error(&r, "42P01", "no such table");
	assert_string_equal(r.message, "no such table");
	assert_false(reply_lost(&r));
	assert_false(reply_passes(&r));
	expect(&r, "wrong");
	error(&r, "22P02", "invalid input syntax: \"the secret\"");
	assert_string_equal(r.message, "");
	expect(&r, "wrong");
	error(&r, "P0001", "the secret");
	assert_string_equal(r.message, "");
	expect(&r, "wrong");
	error(&r, "22021", "invalid byte sequence"); /* a name that nobody can have */
	expect(&r, "none");
	error(&r, "08006", "x");
	assert_true(reply_lost(&r) && reply_passes(&r));
	expect(&r, "wrong");
	error(&r, "53300", "x");
	assert_true(!reply_lost(&r) && reply_passes(&r));
	expect(&r, "wrong");
}

/* The name is bound, and is not in the query's text. */
static void test_question(void **state)
{
	uint8_t b[200];
	struct wire_put w = wire_put_to(b, sizeof(b));
	static const uint8_t want[] = "P\0\0\0\x10\0Q $1\0\0\1\0\0\0\x19"
				      "B\0\0\0\x13\0\0\0\0\0\1\0\0\0\3a'b\0\0"
				      "D\0\0\0\6P\0E\0\0\0\x9\0\0\0\0\0S\0\0\0\4";

	(void)state;
	reply_ask(&w, "Q $1", "a'b");
	assert_false(w.bad);
	assert_int_equal(w.len, sizeof(want) - 1);
	assert_memory_equal(b, want, w.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_until), cmocka_unit_test(test_whose),
		cmocka_unit_test(test_bounded),	   cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_answers), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_errors),	   cmocka_unit_test(test_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
