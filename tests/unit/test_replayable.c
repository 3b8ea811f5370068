/* tests/unit/test_replayable.c - wire/replayable: what may be in a transaction that is
 * replayed.
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

#include "wire/replayable.h"

static struct replayable of(const char *sql)
{
	struct lex_class k;

	lex_classify(sql, strlen(sql), NULL, &k);
	return lex_replayable(sql, strlen(sql), NULL, &k);
}

struct row {
	const char *sql;
	unsigned flags;
};

static void flags(void **state)
{
	static const struct row row[] = {
		{ "SELECT 1", 0 },
		{ "", 0 },
		{ " ; -- nothing", 0 },
		{ "UPDATE t SET a = a + 1 WHERE b = 'x; COMMIT'", 0 },
		{ "SELECT a FROM t FOR UPDATE", 0 },
		{ "INSERT INTO t VALUES (1) RETURNING id", 0 },
		{ "SELECT nextval('s')", 0 },
		{ "SELECT 1; UPDATE t SET a = 1", 0 },
		{ "SHOW transaction_isolation", 0 },
		{ "EXPLAIN ANALYZE UPDATE t SET a = 1", 0 },
		{ "BEGIN", REPLAYABLE_OPENS },
		{ "begin isolation level serializable;", REPLAYABLE_OPENS },
		{ "START TRANSACTION READ WRITE", REPLAYABLE_OPENS },
		{ "BEGIN; SELECT 1", REPLAYABLE_OPENS },
		{ "BEGIN; UPDATE t SET a = 1; COMMIT", REPLAYABLE_OPENS | REPLAYABLE_COMMITS },
		{ "UPDATE t SET a = 1; COMMIT;", REPLAYABLE_COMMITS },
		{ "COMMIT", REPLAYABLE_COMMITS | REPLAYABLE_ALONE },
		{ "END WORK", REPLAYABLE_COMMITS | REPLAYABLE_ALONE },
		{ "ROLLBACK", REPLAYABLE_ENDS },
		{ "ABORT TRANSACTION", REPLAYABLE_ENDS },
		{ "SET LOCAL work_mem = '1MB'", 0 },
		{ "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 0 },
		{ "SET CONSTRAINTS ALL DEFERRED", 0 },
		{ "SAVEPOINT a", 0 },
		{ "ROLLBACK TO SAVEPOINT a", 0 },
		{ "RELEASE a", REPLAYABLE_NOT_CRDB },
		{ "DECLARE c CURSOR FOR SELECT 1", 0 },
		{ "FETCH 5 FROM c", 0 },
		{ "MOVE c", 0 },
		{ "CLOSE \"C\"", 0 },
		{ "SET work_mem = '1MB'", REPLAYABLE_NOT_CRDB },
		{ "SELECT set_config('work_mem', '1MB', false)", REPLAYABLE_NOT_CRDB },
		{ "NOTIFY a", REPLAYABLE_NOT_CRDB },
		{ "LOCK TABLE t", REPLAYABLE_NOT_CRDB },
		{ "CALL f(1)", REPLAYABLE_NOT_CRDB },
		{ "DO 'BEGIN PERFORM 1; END'", REPLAYABLE_NOT_CRDB },
		{ "CREATE TABLE t (a int)", REPLAYABLE_NOT_CRDB },
		{ "CREATE TEMP TABLE t (a int)", REPLAYABLE_NOT_CRDB },
		{ "TRUNCATE t", REPLAYABLE_NOT_CRDB },
		{ "DROP TABLE t", REPLAYABLE_NOT_CRDB },
		{ "BEGIN; SET search_path = x; SELECT 1", REPLAYABLE_OPENS | REPLAYABLE_NOT_CRDB },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(*row); i++)
		if (of(row[i].sql).flags != row[i].flags)
			fail_msg("%s: %u", row[i].sql, of(row[i].sql).flags);
}

static void never(void **state)
{
	static const char *const text[] = {
		"COPY t FROM STDIN",
		"COPY t TO STDOUT",
		"PREPARE p AS SELECT 1",
		"RESET ALL",
		"RESET work_mem",
		"SET work_mem TO DEFAULT",
		"EXECUTE p",
		"EXPLAIN EXECUTE p",
		"DEALLOCATE p",
		"DEALLOCATE ALL",
		"DISCARD ALL",
		"LISTEN a",
		"UNLISTEN *",
		"LOAD 'x'",
		"CHECKPOINT",
		"PREPARE TRANSACTION 'x'",
		"COMMIT PREPARED 'x'",
		"SET TRANSACTION SNAPSHOT '00000003-1'",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
		"COMMIT AND CHAIN",
		"ROLLBACK AND CHAIN",
		"DECLARE c CURSOR WITH HOLD FOR SELECT 1",
		"SAVEPOINT cockroach_restart",
		"SELECT pg_advisory_lock(1)",
		"SELECT pg_advisory_xact_lock(1)",
		"SELECT PG_TRY_ADVISORY_XACT_LOCK(1)",
		"SELECT U&\"pg_\\0061dvisory_xact_lock\"(1)",
		"SELECT setval('s', 1)",
		"SELECT dblink_exec('x')",
		"SELECT lo_import('x')",
		"BEGIN; BEGIN",
		"SELECT 1; BEGIN",
		"COMMIT; BEGIN",
		"ROLLBACK; BEGIN",
		"BEGIN; COMMIT; SELECT 1",
		"BEGIN; ROLLBACK",
		"BEGIN; COPY t FROM STDIN",
		"SELECT 1; SAVEPOINT a",
		"DECLARE c CURSOR FOR SELECT 1; FETCH c",
		"CLOSE",
		"SELECT 'unterminated",
		"VACUUM",
		"FROBNICATE",
		"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) / sizeof(*text); i++)
		if (!(of(text[i]).flags & REPLAYABLE_NOT))
			fail_msg("may be replayed: %s", text[i]);
}

static void names(void **state)
{
	(void)state;
	assert_int_equal(of("SAVEPOINT a").act, ACT_SAVEPOINT);
	assert_int_equal(of("RELEASE SAVEPOINT A").act, ACT_RELEASE);
	assert_int_equal(of("ROLLBACK WORK TO SAVEPOINT a").act, ACT_ROLLBACK_TO);
	assert_int_equal(of("DECLARE c CURSOR FOR SELECT 1").act, ACT_DECLARE);
	assert_int_equal(of("FETCH FORWARD 10 IN c;").act, ACT_CURSOR);
	assert_int_equal(of("SELECT 1").act, ACT_NONE);
	assert_true(of("SAVEPOINT a").name == of("RELEASE SAVEPOINT A").name);
	assert_true(of("SAVEPOINT a").name == of("ROLLBACK TO \"a\" ;").name);
	assert_true(of("SAVEPOINT a").name != of("SAVEPOINT \"A\"").name);
	assert_true(of("DECLARE Cur CURSOR FOR SELECT x").name == of("FETCH 5 cur").name);
	assert_true(of("CLOSE cur").name == replayable_name("cur", 3));
	assert_true(of("CLOSE cur").name != of("CLOSE ALL").name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags),
		cmocka_unit_test(never),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
