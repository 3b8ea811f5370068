/* tests/unit/test_lexer.c - tokens and statement classes, and that no text, cut
 * anywhere, is read beyond its end (run it with AddressSanitizer).
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

#include "proxy/wire/lexer.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A copy that ends where its allocation ends. */
static char *exact(const char *text, size_t len)
{
	char *p = malloc(len > 0 ? len : 1);

	assert_non_null(p);
	if (len > 0)
		memcpy(p, text, len);
	return p;
}

/* ---- tokens ---- */

/* One letter per kind, the text in <>, for strings the quote in front of it. */
static void print_tokens(const char *sql, size_t len, char *out, size_t cap)
{
	static const char letter[] = "?WQSNP%.!";
	struct lex l;
	struct lex_token t;
	size_t at = 0;
	int n;

	lex_init(&l, sql, len);
	out[0] = 0;
	for (t = lex_next(&l); t.kind != LEX_END; t = lex_next(&l)) {
		if (t.kind == LEX_BAD)
			n = snprintf(out + at, cap - at, "!");
		else if (t.quote != 0)
			n = snprintf(out + at, cap - at, "%c%c<%.*s>", letter[t.kind], t.quote,
				     (int)t.len, t.text);
		else
			n = snprintf(out + at, cap - at, "%c<%.*s>", letter[t.kind], (int)t.len,
				     t.text);
		at += (size_t)n;
		assert_true(at < cap);
		if (t.kind == LEX_BAD)
			break;
	}
	t = lex_next(&l); /* it stays there */
	assert_true(t.kind == LEX_END || t.kind == LEX_BAD);
	assert_int_equal(t.kind == LEX_BAD, at > 0 && out[at - 1] == '!');
}

static const struct {
	const char *sql, *tokens;
} token_cases[] = {
	{"", ""},
	{" \t\r\n\f\v", ""},
	{"select", "W<select>"},
	{"a b", "W<a>W<b>"},
	{"e n u x b E", "W<e>W<n>W<u>W<x>W<b>W<E>"},
	{"u&a", "W<u>%<&>W<a>"},
	{"_a1$ \xc3\xa9t\xc3\xa9", "W<_a1$>W<\xc3\xa9t\xc3\xa9>"},
	/* dollars inside identifiers open nothing */
	{"a$1$b", "W<a$1$b>"},
	{"a$$b", "W<a$$b>"},
	{"a $$b$$", "W<a>S$<b>"},
	/* comments */
	{"a--b\nc", "W<a>W<c>"},
	{"a--b\r\nc", "W<a>W<c>"},
	{"a--b\rc", "W<a>!"},
	{"a--", "W<a>"},
	{"a/*b*/c", "W<a>W<c>"},
	{"a/*/*b*/*/c", "W<a>W<c>"},
	{"a/*/*b*/c", "W<a>!"},
	{"/*/", "!"},
	{"/**/a", "W<a>"},
	{"/***/a", "W<a>"},
	{"/*/**/*/a", "W<a>"},
	{"/*'*/a", "W<a>"},
	{"--'\na", "W<a>"},
	{"--/*\na", "W<a>"},
	{"/*--*/a", "W<a>"},
	/* strings */
	{"''", "S'<>"},
	{"'a''b'", "S'<a''b>"},
	{"'a\\'b", "S'<a\\>W<b>"},
	{"'a", "!"},
	{"'a''", "!"},
	{"'a'b", "S'<a>W<b>"},
	{"'--'a", "S'<-->W<a>"},
	{"e'a\\'b'", "SE<a\\'b>"},
	{"E'a\\\\'b", "SE<a\\\\>W<b>"},
	{"E'a''b'", "SE<a''b>"},
	{"E'\\", "!"},
	{"E'a\\'", "!"},
	{"fe'a\\'b", "W<fe>S'<a\\>W<b>"},
	{"b'01' B'1'", "SB<01>SB<1>"},
	{"b'\\'", "!"}, /* closes here in PostgreSQL, not in CockroachDB */
	{"x'aF'", "SX<aF>"},
	{"x'\\'", "SX<\\>"},
	{"n'a\\' N''", "SN<a\\>SN<>"},
	{"u&'d\\0061t' U&'a''b'", "SU<d\\0061t>SU<a''b>"},
	{"u& 'a'", "W<u>%<&>S'<a>"},
	{"e 'a\\'", "W<e>S'<a\\>"},
	/* continuation after a newline: the first part's rules hold on */
	{"'a'\n'b'", "S'<a>S'<b>"},
	{"e'a'\n'b\\'c'", "SE<a>SE<b\\'c>"},
	{"e'a' -- x\n \t'b\\'c'", "SE<a>SE<b\\'c>"},
	{"e'a'--x\n--y\n'b\\'c'", "SE<a>SE<b\\'c>"},
	{"e'a'\n'b'\n'\\''", "SE<a>SE<b>SE<\\'>"},
	{"e'a' 'b\\'c", "SE<a>S'<b\\>W<c>"},
	{"e'a'/**/\n'b\\'c", "SE<a>S'<b\\>W<c>"},
	{"e'a'\n/**/'b\\'c", "SE<a>S'<b\\>W<c>"},
	{"e'a'\nb'0'", "SE<a>SB<0>"},
	{"'a'\ne'b'", "S'<a>SE<b>"},
	{"e'a'\n'b\\'", "SE<a>!"},
	{"b'0'\n'\\'", "SB<0>!"},
	{"x'0'\n'1'", "SX<0>SX<1>"},
	{"e'a'--\r'b'", "SE<a>!"},
	/* quoted identifiers */
	{"\"a\"", "Q\"<a>"},
	{"\"a\"\"b\"", "Q\"<a\"\"b>"},
	{"\"a'b\" '", "Q\"<a'b>!"},
	{"\"\"", "!"},
	{"\"a", "!"},
	{"u&\"\\0061\"", "QU<\\0061>"},
	{"e\"a\\\"b", "W<e>Q\"<a\\>W<b>"},
	/* dollar quotes */
	{"$$a'b$$", "S$<a'b>"},
	{"$$$$", "S$<>"},
	{"$a$b$c$a$d", "S$<b$c>W<d>"},
	{"$a$ $A$ $a$", "S$< $A$ >"},
	{"$a$ $b$a$c", "S$< $b>W<c>"},
	{"$$ $a$$", "S$< $a>"},
	{"$\xc3\xa9_1$x$\xc3\xa9_1$", "S$<x>"},
	{"$a$b$a", "!"},
	{"$a b$", "!"},
	{"$a", "!"},
	{"$", "!"},
	{"$1a$ x $1a$", "!"},
	{"a$$", "W<a$$>"},
	/* parameters and numbers */
	{"$1", "P<$1>"},
	{"$12,$3", "P<$12>.<,>P<$3>"},
	{"$1$2", "P<$1>P<$2>"},
	{"$1a", "!"},
	{"1 1.5 .5 1. 1e5 1.e5 1.5E-3 .5e+7", "N<1>N<1.5>N<.5>N<1.>N<1e5>N<1.e5>N<1.5E-3>N<.5e+7>"},
	{"1..2", "N<1>.<..>N<2>"},
	{"1.5.3", "N<1.5>N<.3>"},
	{"0x1F 0o17 0b101 0X_f 1_000 1_0.0_1e1_0",
	 "N<0x1F>N<0o17>N<0b101>N<0X_f>N<1_000>N<1_0.0_1e1_0>"},
	{"0x", "!"},
	{"0b", "!"},
	{"0b2", "!"},
	{"0o8", "!"},
	{"0o18", "!"},
	{"0xg", "!"},
	{"0x_", "!"},
	{"0b_", "!"},
	{"0x1g", "!"},
	{"1a", "!"},
	{"1e", "!"},
	{"1e+", "!"},
	{"1e+x", "!"},
	{"1_", "!"},
	{"1__0", "!"},
	{"1.a", "!"},
	{"1._5", "!"},
	{"1$1", "!"},
	{"1-2", "N<1>%<->N<2>"},
	{"t.1", "W<t>N<.1>"},
	/* operators */
	{"a<>b", "W<a>%<<>>W<b>"},
	{"1*-1", "N<1>%<*>%<->N<1>"},
	{"a=-1", "W<a>%<=>%<->N<1>"},
	{"a@-1", "W<a>%<@->N<1>"},
	{"a<=+-+1", "W<a>%<<=>%<+>%<->%<+>N<1>"},
	{"a!=-1", "W<a>%<!=->N<1>"},
	{"- -1", "%<->%<->N<1>"},
	{"+-", "%<+>%<->"},
	{"a->>'b'", "W<a>%<->>>S'<b>"},
	{"a<--b\n1", "W<a>%<<>N<1>"},
	{"a</*b*/1", "W<a>%<<>N<1>"},
	{"a*/*b*/1", "W<a>%<*>N<1>"},
	{"a@--\n1", "W<a>%<@>N<1>"},
	{"a?-1", "W<a>%<?->N<1>"},
	/* comments in PostgreSQL, operators in CockroachDB */
	{"a//*b*/1", "W<a>!"},
	{"a||/*b*/c", "W<a>!"},
	{"a#--b", "W<a>!"},
	{"a||b", "W<a>%<||>W<b>"},
	{"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
	 "%<~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~>"},
	{"~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~", "!"},
	/* the rest */
	{"a.b", "W<a>.<.>W<b>"},
	{"a.*", "W<a>.<.>%<*>"},
	{"a::int", "W<a>.<::>W<int>"},
	{"a:=b:c", "W<a>.<:=>W<b>.<:>W<c>"},
	{"f(a[1],b);", "W<f>.<(>W<a>.<[>N<1>.<]>.<,>W<b>.<)>.<;>"},
	{"t@{x}", "W<t>%<@>.<{>W<x>.<}>"},
	{"a \\ b", "W<a>!"},
	{"a \x01", "W<a>!"},
};

static void test_tokens(void **state)
{
	char got[1024];
	size_t i, len;
	char *sql;

	(void)state;
	for (i = 0; i < COUNT(token_cases); i++) {
		len = strlen(token_cases[i].sql);
		sql = exact(token_cases[i].sql, len);
		print_tokens(sql, len, got, sizeof(got));
		if (strcmp(got, token_cases[i].tokens) != 0)
			print_error("text: %s\n", token_cases[i].sql);
		assert_string_equal(got, token_cases[i].tokens);
		free(sql);
	}
}

/* A text that goes on behind a zero byte is not what a server reads. */
static void test_zero_byte(void **state)
{
	static const char text[] = "select 'a\0b' /*\0*/, \"c\0d\"";
	struct lex_class c;
	char got[64];

	(void)state;
	print_tokens("a\0b", 3, got, sizeof(got));
	assert_string_equal(got, "W<a>!");
	print_tokens("", 1, got, sizeof(got));
	assert_string_equal(got, "!");
	print_tokens(text, sizeof(text) - 1, got, sizeof(got));
	assert_string_equal(got, "W<select>!");
	lex_classify("select 1\0", 9, NULL, &c);
	assert_false(c.sure);
	assert_false(lex_retryable(&c));
}

static void test_is(void **state)
{
	struct lex_token t = {.kind = LEX_WORD, .text = "SeLecT", .len = 6};

	(void)state;
	assert_true(lex_is(&t, "select"));
	assert_false(lex_is(&t, "selec"));
	assert_false(lex_is(&t, "selects"));
	t.kind = LEX_QUOTED;
	assert_false(lex_is(&t, "select"));
}

/* ---- classes ---- */

/* s sure, x transaction control, l listed, d denied, c chain */
static const struct {
	const char *sql;
	unsigned statements;
	enum lex_verb first, last;
	const char *flags;
} class_cases[] = {
	{"", 0, VERB_EMPTY, VERB_EMPTY, "sl"},
	{" ; ;; -- x", 0, VERB_EMPTY, VERB_EMPTY, "sl"},
	{"select 1", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"SELECT 1;", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"/* a */ -- b\n select 1;;", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"((select 1) union (select 2))", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"table t", 1, VERB_TABLE, VERB_TABLE, "sl"},
	{"values (1)", 1, VERB_VALUES, VERB_VALUES, "sl"},
	{"with x as (insert into t values (1) returning *) select * from x", 1, VERB_WITH,
	 VERB_WITH, "sl"},
	{"insert into t values (';')", 1, VERB_INSERT, VERB_INSERT, "sl"},
	{"update t set a=1; delete from t; merge into t using u on true when matched then do "
	 "nothing;"
	 " upsert into t values (1)",
	 4, VERB_UPDATE, VERB_UPSERT, "sl"},
	{"show x", 1, VERB_SHOW, VERB_SHOW, "sl"},
	{"select 1 into t", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"selec 1", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"\"select\" 1", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"()", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"();select 1", 2, VERB_OTHER, VERB_SELECT, "s"},
	{"1", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"create table t (a int); select 1", 2, VERB_OTHER, VERB_SELECT, "s"},
	{"select 1; vacuum", 2, VERB_SELECT, VERB_OTHER, "s"},
	/* explain: as good as what it explains */
	{"explain select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain analyze verbose select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain (analyze) delete from t", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain (analyze, format json, x (1)) with a as (select 1) table a", 1, VERB_EXPLAIN,
	 VERB_EXPLAIN, "sl"},
	{"explain (select 1)", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain (values (1))", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	/* for PostgreSQL's grammar names of options */
	{"explain (values 1) execute p", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain (merge on) create table a as table b", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain (show) delete from t", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain (verbose) ((select 1))", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain analyze (debug) select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "sl"},
	{"explain execute p", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain analyze execute p", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain (analyze) execute p(1)", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain analyze create table t as select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain declare c cursor for select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	{"explain explain select 1", 1, VERB_EXPLAIN, VERB_EXPLAIN, "s"},
	/* transaction control */
	{"begin", 1, VERB_BEGIN, VERB_BEGIN, "sx"},
	{"start transaction read only", 1, VERB_BEGIN, VERB_BEGIN, "sx"},
	{"start", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"BEGIN; select 1; COMMIT", 3, VERB_BEGIN, VERB_COMMIT, "sx"},
	{"end", 1, VERB_COMMIT, VERB_COMMIT, "sx"},
	{"abort work", 1, VERB_ROLLBACK, VERB_ROLLBACK, "sx"},
	{"commit and chain", 1, VERB_COMMIT, VERB_COMMIT, "sxc"},
	{"commit work and/**/chain", 1, VERB_COMMIT, VERB_COMMIT, "sxc"},
	{"rollback transaction and chain", 1, VERB_ROLLBACK, VERB_ROLLBACK, "sxc"},
	{"end and no chain", 1, VERB_COMMIT, VERB_COMMIT, "sx"},
	{"commit; select a and chain from t", 2, VERB_COMMIT, VERB_SELECT, "sx"},
	{"commit prepared 'x'", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"rollback prepared 'x'", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"rollback to a", 1, VERB_ROLLBACK_TO, VERB_ROLLBACK_TO, "sx"},
	{"rollback work to savepoint a", 1, VERB_ROLLBACK_TO, VERB_ROLLBACK_TO, "sx"},
	{"savepoint a; release a", 2, VERB_SAVEPOINT, VERB_RELEASE, "sx"},
	{"prepare transaction 'x'", 1, VERB_PREPARE_TRANSACTION, VERB_PREPARE_TRANSACTION, "sx"},
	{"prepare transaction as select 1", 1, VERB_PREPARE, VERB_PREPARE, "s"},
	{"prepare p (int) as select 1", 1, VERB_PREPARE, VERB_PREPARE, "s"},
	/* settings */
	{"set x = 1", 1, VERB_SET, VERB_SET, "s"},
	{"set session x = 1", 1, VERB_SET, VERB_SET, "s"},
	{"set local x = 1", 1, VERB_SET_LOCAL, VERB_SET_LOCAL, "s"},
	{"set local.x = 1", 1, VERB_SET, VERB_SET, "s"},
	{"set local local.x = 1", 1, VERB_SET_LOCAL, VERB_SET_LOCAL, "s"},
	{"set session.x to 1", 1, VERB_SET, VERB_SET, "s"},
	{"set transaction.x to 1", 1, VERB_SET, VERB_SET, "s"},
	{"set transaction read only", 1, VERB_SET_TRANSACTION, VERB_SET_TRANSACTION, "s"},
	{"set local transaction read only", 1, VERB_SET_TRANSACTION, VERB_SET_TRANSACTION, "s"},
	{"set session transaction read only", 1, VERB_SET_TRANSACTION, VERB_SET_TRANSACTION, "s"},
	{"set transaction_isolation = 'x'", 1, VERB_SET, VERB_SET, "s"},
	{"set constraints all deferred", 1, VERB_SET_TRANSACTION, VERB_SET_TRANSACTION, "s"},
	{"set session characteristics as transaction read only", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"set local session characteristics as transaction read only", 1, VERB_OTHER, VERB_OTHER,
	 "s"},
	{"set session authorization a", 1, VERB_SET, VERB_SET, "s"},
	{"set time zone 'UTC'", 1, VERB_SET, VERB_SET, "s"},
	{"set cluster setting a = 1", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"reset all", 1, VERB_RESET, VERB_RESET, "s"},
	{"reset cluster setting a", 1, VERB_OTHER, VERB_OTHER, "s"},
	{"execute p; deallocate p; discard all", 3, VERB_EXECUTE, VERB_DISCARD, "s"},
	{"declare c cursor for select 1; fetch c; move c; close c", 4, VERB_DECLARE, VERB_CLOSE,
	 "s"},
	{"listen a; unlisten a; notify a", 3, VERB_LISTEN, VERB_NOTIFY, "s"},
	{"copy t from stdin", 1, VERB_COPY, VERB_COPY, "s"},
	{"call p(); do $$begin null; end$$; lock t; load 'x'", 4, VERB_CALL, VERB_LOAD, "s"},
	/* forbidden calls */
	{"select setval('a', 1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select SetVal /* x */ ('a', 1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select \"setval\"('a', 1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_catalog.setval('a', 1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_catalog . \"setval\" ('a', 1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select U&\"\\0073etval\"('a', 1)", 1, VERB_SELECT, VERB_SELECT, ""},
	/* (x).f is f(x) when x has no such field */
	{"select (1).pg_advisory_lock", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select $1.pg_advisory_lock", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select a[1] . \"pg_advisory_lock\"", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select (t).a.pg_advisory_lock from t", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select (t).\"a\".pg_advisory_lock from t", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select t.pg_advisory_lock, (t).a, (t) pg_advisory_lock", 1, VERB_SELECT, VERB_SELECT,
	 "sl"},
	{"select treat(1::bigint as pg_advisory_lock)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"set transaction from current", 1, VERB_SET, VERB_SET, "s"},
	{"set local from current; set local x from current", 2, VERB_SET, VERB_SET_LOCAL, "s"},
	{"select setval, 'setval(' from t", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select setvalue(1), set_val(1), xsetval(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select pg_advisory_lock(1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_advisory_lock_shared(1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_advisory_xact_lock(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select pg_advisory_xact_lock_shared(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select pg_try_advisory_lock(1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_try_advisory_xact_lock(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select pg_advisory_unlock_all()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select * from dblink_exec('x', 'y')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select lo_import('x')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select lo_export(1, 'x')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select lower('x'), lo_create(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select pg_logical_emit_message(false, 'a', 'b')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_terminate_backend(1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_cancel_backend(1)", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_reload_conf()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_rotate_logfile()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_switch_wal()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_create_restore_point('a')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_promote()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_create_physical_replication_slot('a')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_drop_replication_slot('a')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_replication_slot_advance('a', '0/0')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_replication_origin_create('a')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_export_snapshot()", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select pg_stat_reset(), pg_stat_reset_shared('x')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select http_get('x')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"insert into http_log (a) values (1)", 1, VERB_INSERT, VERB_INSERT, "sl"},
	{"insert into a.http_log (a) values (1)", 1, VERB_INSERT, VERB_INSERT, "sl"},
	{"insert into http_log (a) values (http_get('x'))", 1, VERB_INSERT, VERB_INSERT, "sld"},
	{"insert into t select setval('a', 1)", 1, VERB_INSERT, VERB_INSERT, "sld"},
	{"select crdb_internal.force_retry('1h')", 1, VERB_SELECT, VERB_SELECT, "sld"},
	{"select * from crdb_internal.tables where f(1)", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select nextval('a'), count(*), sum(b), coalesce(c, 1) from t", 1, VERB_SELECT,
	 VERB_SELECT, "sl"},
	{"select 1; select setval('a', 1)", 2, VERB_SELECT, VERB_SELECT, "sld"},
	/* CockroachDB's statements as a source of rows */
	{"with x as (create table t (a int)) select 1", 1, VERB_WITH, VERB_WITH, "s"},
	{"select * from [cancel job 1]", 1, VERB_SELECT, VERB_SELECT, "s"},
	{"select * from [show jobs]", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select * from [explain analyze execute p]", 1, VERB_SELECT, VERB_SELECT, "s"},
	{"insert into t (import, set) values (1, 2)", 1, VERB_INSERT, VERB_INSERT, "sl"},
	{"select a[1], array[set] from t", 1, VERB_SELECT, VERB_SELECT, "sl"},
	/* where a semicolon ends no statement, or nothing can be said */
	{"create function f() returns int begin atomic select 1; select 2; end", 3, VERB_OTHER,
	 VERB_COMMIT, "x"},
	{"create rule r as on insert to t do also (delete from a; delete from b)", 2, VERB_OTHER,
	 VERB_DELETE, ""},
	{"select (1; select 2", 2, VERB_SELECT, VERB_SELECT, ""},
	{"select 1)", 1, VERB_SELECT, VERB_SELECT, ""},
	{"select (1", 1, VERB_SELECT, VERB_SELECT, ""},
	{"select 'a", 1, VERB_SELECT, VERB_SELECT, ""},
	{"select 1 /* a", 1, VERB_SELECT, VERB_SELECT, ""},
	{"select 1; $a$", 1, VERB_SELECT, VERB_SELECT, ""},
	/* traps: what looks like a second statement, and what hides one */
	{"select ';' || $$;$$ || e'\\';' || \";\" /* ; */ -- ;", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select ';', $$;$$, e'\\';', \";\" /* ; */ -- ;", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select '\\'; commit; --'", 2, VERB_SELECT, VERB_COMMIT, "sx"},
	{"select e'\\'; commit; --'", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select e'a'\n'\\'; commit; --'", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select a$$; commit; select a$$", 3, VERB_SELECT, VERB_SELECT, "sx"},
	{"select $$; commit; select $$", 1, VERB_SELECT, VERB_SELECT, "sl"},
	{"select 1 --\n; commit", 2, VERB_SELECT, VERB_COMMIT, "sx"},
	{"select /* /* */ ; */ 1", 1, VERB_SELECT, VERB_SELECT, "sl"},
};

static void check_class(const char *sql, const struct lex_class *c, unsigned statements,
			enum lex_verb first, enum lex_verb last, const char *flags)
{
	char got[256], want[256];

	snprintf(got, sizeof(got), "%u %s %s %s%s%s%s%s", c->statements, lex_verb_name(c->first),
		 lex_verb_name(c->last), c->sure ? "s" : "", c->txn_control ? "x" : "",
		 c->listed ? "l" : "", c->denied ? "d" : "", c->chain ? "c" : "");
	snprintf(want, sizeof(want), "%u %s %s %s", statements, lex_verb_name(first),
		 lex_verb_name(last), flags);
	if (strcmp(got, want) != 0)
		print_error("text: %s\n", sql);
	assert_string_equal(got, want);
}

static void test_classes(void **state)
{
	struct lex_class c;
	size_t i, len;
	char *sql;

	(void)state;
	for (i = 0; i < COUNT(class_cases); i++) {
		len = strlen(class_cases[i].sql);
		sql = exact(class_cases[i].sql, len);
		lex_classify(sql, len, NULL, &c);
		check_class(class_cases[i].sql, &c, class_cases[i].statements, class_cases[i].first,
			    class_cases[i].last, class_cases[i].flags);
		assert_int_equal(lex_retryable(&c),
				 strcmp(class_cases[i].flags, "sl") == 0 && c.statements > 0);
		free(sql);
	}
}

static void test_second_at(void **state)
{
	static const char two[] = " begin ; /* x */ (select 1); commit";
	struct lex_class c;

	(void)state;
	lex_classify(two, strlen(two), NULL, &c);
	assert_int_equal(c.second_at, strstr(two, "(sel") - two);
	lex_classify("select 1;", 9, NULL, &c);
	assert_int_equal(c.second_at, 9);
	lex_classify("", 0, NULL, &c);
	assert_int_equal(c.second_at, 0);
}

static void test_more_denied(void **state)
{
	static const char *const more[] = {"my_lock", "ext_*", NULL};
	static const struct {
		const char *sql;
		bool denied;
	} cases[] = {
		{"select my_lock(1)", true},   {"select MY_LOCK(1)", true},
		{"select my_locks(1)", false}, {"select ext_(1)", true},
		{"select a.ext_x(1)", true},   {"select ext(1)", false},
		{"select setval(1)", true},    {"select my_lock", false},
	};
	struct lex_class c;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(cases); i++) {
		lex_classify(cases[i].sql, strlen(cases[i].sql),
			     &(struct lex_lists){ .deny = more }, &c);
		if (c.denied != cases[i].denied)
			print_error("text: %s\n", cases[i].sql);
		assert_int_equal(c.denied, cases[i].denied);
	}
}

static void test_verb_names(void **state)
{
	(void)state;
	assert_string_equal(lex_verb_name(VERB_EMPTY), "EMPTY");
	assert_string_equal(lex_verb_name(VERB_PREPARE_TRANSACTION), "PREPARE_TRANSACTION");
	assert_string_equal(lex_verb_name(VERB_OTHER), "OTHER");
	assert_string_equal(lex_verb_name(VERB_N), "?");
}

/* ---- every text, cut everywhere ---- */

static bool same_class(const struct lex_class *a, const struct lex_class *b)
{
	return a->statements == b->statements && a->first == b->first && a->last == b->last &&
	       a->sure == b->sure && a->txn_control == b->txn_control && a->listed == b->listed &&
	       a->denied == b->denied && a->chain == b->chain && a->leaves == b->leaves &&
	       a->second_at == b->second_at;
}

static void check_prefixes(const char *text)
{
	size_t n, len = strlen(text);
	struct lex_class c, whole;
	struct lex_token t;
	const char *last;
	struct lex l;
	char *sql;

	for (n = 0; n <= len; n++) {
		sql = exact(text, n);
		lex_init(&l, sql, n);
		last = sql;
		for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
			assert_true(t.text >= last && t.len <= (size_t)(sql + n - t.text));
			last = t.text + t.len;
		}
		lex_classify(sql, n, NULL, &c);
		assert_int_equal(c.sure && t.kind == LEX_BAD, 0);
		assert_true(c.second_at <= n);
		assert_true(c.sure || !c.listed);
		lex_classify(text, n, NULL, &whole);
		assert_true(same_class(&c, &whole));
		free(sql);
	}
}

static void test_prefixes(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(token_cases); i++)
		check_prefixes(token_cases[i].sql);
	for (i = 0; i < COUNT(class_cases); i++)
		check_prefixes(class_cases[i].sql);
}

/* Megabytes of nesting: no recursion, no square time. */
static void test_depth(void **state)
{
	static const char *const units[] = {"/*", "(",          "[",    "explain (", "$a",
					    "''", "e''\n",      "--\n", "\"a\"",     "a.",
					    "+",  "set local ", "((;",  "$a$",       "1."};
	const size_t len = 1 << 20;
	char *sql = malloc(len);
	struct lex_class c;
	size_t i, n, at;

	(void)state;
	assert_non_null(sql);
	for (i = 0; i < COUNT(units); i++) {
		n = strlen(units[i]);
		for (at = 0; at < len; at++)
			sql[at] = units[i][at % n];
		lex_classify(sql, len, NULL, &c);
	}
	memset(sql, '(', len);
	memcpy(sql + len / 2, "select 1", 8);
	memset(sql + len / 2 + 8, ')', len / 2 - 8);
	lex_classify(sql + 8, len - 8, NULL, &c);
	assert_true(lex_retryable(&c));
	assert_int_equal(c.first, VERB_SELECT);
	lex_classify(sql + 8, len - 9, NULL, &c);
	assert_false(c.sure);
	free(sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens),     cmocka_unit_test(test_zero_byte),
		cmocka_unit_test(test_is),         cmocka_unit_test(test_classes),
		cmocka_unit_test(test_second_at),  cmocka_unit_test(test_more_denied),
		cmocka_unit_test(test_verb_names), cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
