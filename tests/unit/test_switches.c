/* tests/unit/test_switches.c - wire/switches and wire/hints: SET, SHOW and RESET of
 * pgweir.*, what leading comments say, and the same as facts of a text's class.
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

#include "wire/hints.h"
#include "wire/lexer.h"
#include "wire/switches.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct text {
	const char *sql;
	enum switch_op op;
	const char *name, *value;
};

static const struct text texts[] = {
	{ "SET pgweir.retry = replay", SWITCH_SET, "pgweir.retry", "replay" },
	{ "set  PgWeir . Retry to REPLAY ; ;", SWITCH_SET, "pgweir.retry", "replay" },
	{ "SET SESSION pgweir.retry TO 'Re''play'", SWITCH_SET, "pgweir.retry", "Re'play" },
	{ "SET pgweir.retry = \"Replay\"", SWITCH_SET, "pgweir.retry", "Replay" },
	{ "SET pgweir.retry=E'off'", SWITCH_SET, "pgweir.retry", "off" },
	{ "SET pgweir.retry=$x$off$x$", SWITCH_SET, "pgweir.retry", "off" },
	{ "SET \"pgweir\".\"retry\" = ''", SWITCH_SET, "pgweir.retry", "" },
	{ "SET \"pgweir.retry\" = off", SWITCH_SET, "pgweir.retry", "off" },
	{ "SET pgweir.retry = -1.5", SWITCH_SET, "pgweir.retry", "-1.5" },
	{ "SET pgweir.retry = 7", SWITCH_SET, "pgweir.retry", "7" },
	{ "SET pgweir.x.y = 7", SWITCH_SET, "pgweir.x.y", "7" },
	{ "/* a */ SET -- b\n pgweir.retry = off -- c", SWITCH_SET, "pgweir.retry", "off" },
	{ "SET pgweir.retry TO DEFAULT", SWITCH_SET_DEFAULT, "pgweir.retry", "" },
	{ "SET pgweir.retry = 'default'", SWITCH_SET, "pgweir.retry", "default" },
	{ "SET LOCAL pgweir.retry = off", SWITCH_SET_LOCAL, "pgweir.retry", "off" },
	{ "SET LOCAL pgweir.retry TO DEFAULT;", SWITCH_SET_LOCAL, "pgweir.retry", "" },
	{ "RESET pgweir.retry_unknown;", SWITCH_RESET, "pgweir.retry_unknown", "" },
	{ "SHOW pgweir.retry_unknown", SWITCH_SHOW, "pgweir.retry_unknown", "" },
	{ "SHOW pgweir.retry; SELECT 1", SWITCH_AMONG, "pgweir.retry", NULL },
	{ "SET LOCAL pgweir.retry = off; COMMIT", SWITCH_AMONG, "pgweir.retry", NULL },
	/* nothing that is understood to its end, or nothing of ours */
	{ "", SWITCH_NOT, NULL, NULL },
	{ "SET", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir = 1", SWITCH_NOT, NULL, NULL },
	{ "SET pgweirs.retry = off", SWITCH_NOT, NULL, NULL },
	{ "SET x.pgweir.retry = off", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry =", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry == off", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = a, b", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = a b", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = $1", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = E'a\\x'", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = 'a", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = 'a'\n'b'", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = - off", SWITCH_NOT, NULL, NULL },
	{ "SET U&\"pgweir\".retry = off", SWITCH_NOT, NULL, NULL },
	{ "SET pgweir.retry = off; 'x", SWITCH_NOT, NULL, NULL },
	{ "SHOW pgweir.retry x", SWITCH_NOT, NULL, NULL },
	{ "RESET pgweir.retry = off", SWITCH_NOT, NULL, NULL },
	{ "SHOW LOCAL pgweir.retry", SWITCH_NOT, NULL, NULL },
	{ "SELECT 1; SET pgweir.retry = off", SWITCH_NOT, NULL, NULL },
	{ "(SHOW pgweir.retry)", SWITCH_NOT, NULL, NULL },
	{ "EXPLAIN SHOW pgweir.retry", SWITCH_NOT, NULL, NULL },
};

static void reads_texts(void **state)
{
	struct switch_text t;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++) {
		const struct text *x = &texts[i];

		if (switches_read(x->sql, strlen(x->sql), &t) != x->op || t.op != x->op)
			fail_msg("%s: %d", x->sql, t.op);
		if (x->name)
			assert_string_equal(t.name, x->name);
		if (x->value)
			assert_string_equal(t.value, x->value);
	}
}

static void cuts_what_is_long(void **state)
{
	char sql[400];
	struct switch_text t;

	(void)state;
	(void)snprintf(sql, sizeof(sql), "SET pgweir.%0100d = %0100d", 1, 2);
	assert_int_equal(switches_read(sql, strlen(sql), &t), SWITCH_NOT); /* no name */
	(void)snprintf(sql, sizeof(sql), "SET pgweir.a%0100d = %0100d", 1, 2);
	assert_int_equal(switches_read(sql, strlen(sql), &t), SWITCH_SET);
	assert_int_equal(strlen(t.name), SWITCH_TEXT_MAX - 1);
	assert_int_equal(strlen(t.value), SWITCH_TEXT_MAX - 1);
}

/* The class says that there is one, wherever it stands; and of nothing else. */
static void facts(void **state)
{
	static const char *const more[] = {
		"SELECT 1; SET pgweir.retry = off", "BEGIN; RESET pgweir.x; COMMIT",
		"SET a = 1; SET LOCAL pgweir.retry = -1", "SET pgweir.retry",
	};
	static const char *const none[] = {
		"SELECT 'SET pgweir.retry = off'", "SET a = 'pgweir.retry'", "SHOW ALL", "RESET ALL",
		"SELECT pgweir.retry FROM pgweir", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
		"UPDATE pgweir.retry SET pgweir = 1",
	};
	struct lex_class k;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(texts); i++) {
		lex_classify(texts[i].sql, strlen(texts[i].sql), NULL, &k);
		if (texts[i].op != SWITCH_NOT && !(k.sure && k.switches))
			fail_msg("%s", texts[i].sql);
	}
	for (i = 0; i < COUNT(more); i++) {
		lex_classify(more[i], strlen(more[i]), NULL, &k);
		assert_true(k.switches);
	}
	for (i = 0; i < COUNT(none); i++) {
		lex_classify(none[i], strlen(none[i]), NULL, &k);
		if (k.switches)
			fail_msg("%s", none[i]);
	}
}

static void hints(void **state)
{
	enum { OFF = HINT_RETRY_OFF, IDEM = HINT_IDEMPOTENT };
	static const struct {
		const char *sql;
		unsigned hints;
	} row[] = {
		{ "/* pgweir:retry=off */ SELECT 1", OFF },
		{ "/*pgweir:retry=off*/SELECT 1", OFF },
		{ "/*PGWEIR:Retry=OFF*/ SELECT 1", OFF },
		{ " \n\t/* pgweir:idempotent */ UPDATE t SET a = 1", IDEM },
		{ "-- pgweir:idempotent\nUPDATE t SET a = 1", IDEM },
		{ "--pgweir:idempotent\r\nUPDATE t SET a = 1", IDEM },
		{ "/* pgweir:idempotent pgweir:retry=off */ DELETE FROM t", OFF | IDEM },
		{ "/* pgweir:idempotent,pgweir:retry=off */ DELETE FROM t", OFF | IDEM },
		{ "/* pgweir:new pgweir:retry=off */ DELETE FROM t", OFF },
		{ "/* app */ -- x\n/* pgweir:retry=off */ (SELECT 1)", OFF },
		{ "/* pgweir:retry=off */", OFF },
		{ "/* pgweir:retry=off /* x */ */ SELECT 1", OFF },
		{ "", 0 },
		{ "/", 0 },
		{ "--", 0 },
		{ "/* pgweir:retry=off", 0 },
		{ "/* /* pgweir:retry=off */ SELECT 1", 0 },
		{ "/* /* pgweir:retry=off */ */ SELECT 1", 0 },
		{ "/* not pgweir:retry=off */ SELECT 1", 0 },
		{ "/* pgweir:retry=off: no, pgweir:idempotent */ SELECT 1", 0 },
		{ "/* pgweir:retry=off, because pgweir:idempotent */ SELECT 1", OFF },
		{ "/* pgweir:retry=offf */ SELECT 1", 0 },
		{ "/* pgweir:retry=implicit */ SELECT 1", 0 },
		{ "/* pgweir:retry = off */ SELECT 1", 0 },
		{ "/* xpgweir:retry=off */ SELECT 1", 0 },
		{ "SELECT 1 /* pgweir:retry=off */", 0 },
		{ "SELECT /* pgweir:retry=off */ 1", 0 },
		{ "; /* pgweir:retry=off */ SELECT 1", 0 },
		{ "(/* pgweir:retry=off */ SELECT 1)", 0 },
		{ "SELECT 1; /* pgweir:retry=off */ SELECT 1", 0 },
		{ "'/* pgweir:retry=off */'", 0 },
	};
	struct lex_class k;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(row); i++) {
		size_t n = strlen(row[i].sql);
		unsigned got = hints_read(row[i].sql, n);

		if (got != row[i].hints)
			fail_msg("%s: %u", row[i].sql, got);
		lex_classify(row[i].sql, n, NULL, &k);
		assert_int_equal(k.hint_off, (got & OFF) != 0);
		assert_int_equal(k.hint_idempotent, (got & IDEM) != 0);
	}
	/* a text ends at a zero */
	assert_int_equal(hints_read("/* \0 */ /* pgweir:retry=off */", 30), 0);
	assert_int_equal(hints_read("/*pgweir:retry=off\0*/", 21), 0);
}

static void off_is_not_retried(void **state)
{
	static const char *const text[] = { "SELECT 1", "SELECT 1; UPDATE t SET a = 1", "INSERT INTO t VALUES (1)" };
	char sql[100];
	struct lex_class k;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(text); i++) {
		lex_classify(text[i], strlen(text[i]), NULL, &k);
		assert_true(lex_retryable(&k));
		(void)snprintf(sql, sizeof(sql), "/* pgweir:retry=off */ %s", text[i]);
		lex_classify(sql, strlen(sql), NULL, &k);
		assert_false(lex_retryable(&k));
		(void)snprintf(sql, sizeof(sql), "/* pgweir:idempotent */ %s", text[i]);
		lex_classify(sql, strlen(sql), NULL, &k);
		assert_true(lex_retryable(&k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_texts),	cmocka_unit_test(cuts_what_is_long),
		cmocka_unit_test(facts),	cmocka_unit_test(hints),
		cmocka_unit_test(off_is_not_retried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
