/* tests/sim/test_store.c - the store: snapshots, waits, circles, 40001, savepoints,
 * advisory locks.
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

#include "store.h"

static void count(void *arg)
{
	(*(unsigned *)arg)++;
}

static void append(struct txn *t, unsigned key, const char *tag)
{
	struct engine_error err;

	assert_int_equal(store_append(t, key, tag, &err), DATA_OK);
}

static void reads(struct txn *t, unsigned key, const char *want)
{
	struct engine_error err;
	const char *v;

	assert_int_equal(store_read(t, key, &v, &err), DATA_OK);
	assert_string_equal(v, want);
}

static void commit(struct txn *t)
{
	struct engine_error err;

	assert_int_equal(store_commit(t, &err), DATA_OK);
}

static void fails(enum data got, const struct engine_error *err, const char *sqlstate)
{
	assert_int_equal(got, DATA_ERROR);
	assert_string_equal(err->sqlstate, sqlstate);
}

static void test_commit_and_rollback(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct txn *a = store_begin(s, count, NULL), *b;

	(void)state;
	append(a, 1, "x");
	append(a, 1, "y");
	reads(a, 1, "x,y,");
	assert_string_equal(store_value(s, 1), "");
	assert_int_equal(store_open(s), 1);
	commit(a);
	assert_string_equal(store_value(s, 1), "x,y,");
	b = store_begin(s, count, NULL);
	append(b, 1, "z");
	store_rollback(b);
	assert_string_equal(store_value(s, 1), "x,y,");
	assert_int_equal(store_open(s), 0);
	store_free(s);
}

static void test_snapshot(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct txn *a = store_begin(s, count, NULL), *b = store_begin(s, count, NULL);
	struct engine_error err;

	(void)state;
	reads(a, 0, "");
	append(b, 1, "b");
	commit(b);
	reads(a, 1, "");
	fails(store_append(a, 1, "a", &err), &err, "40001");
	fails(store_append(a, 2, "a", &err), &err, "40001");
	store_rollback(a);
	store_free(s);
}

static void test_write_skew(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct txn *a = store_begin(s, count, NULL), *b = store_begin(s, count, NULL);
	struct engine_error err;

	(void)state;
	reads(a, 0, "");
	reads(b, 1, "");
	append(a, 1, "a");
	append(b, 0, "b");
	commit(a);
	fails(store_commit(b, &err), &err, "40001");
	assert_string_equal(store_value(s, 0), "");
	store_free(s);
}

static void test_wait_and_wake(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct engine_error err;
	unsigned woken = 0;
	struct txn *a = store_begin(s, count, NULL), *b = store_begin(s, count, &woken);

	(void)state;
	append(a, 3, "a");
	assert_int_equal(store_append(b, 3, "b", &err), DATA_WAIT);
	assert_int_equal(store_append(b, 3, "b", &err), DATA_WAIT);
	store_rollback(a);
	assert_int_equal(woken, 1);
	append(b, 3, "b");
	commit(b);
	assert_string_equal(store_value(s, 3), "b,");
	/* who committed first makes the other fail */
	a = store_begin(s, count, NULL);
	b = store_begin(s, count, &woken);
	append(a, 3, "c");
	assert_int_equal(store_append(b, 3, "d", &err), DATA_WAIT);
	commit(a);
	assert_int_equal(woken, 2);
	fails(store_append(b, 3, "d", &err), &err, "40001");
	store_rollback(b);
	store_free(s);
}

static void deadlock(enum dialect dialect, const char *sqlstate)
{
	struct store *s = store_new(dialect);
	struct engine_error err;
	unsigned woken = 0;
	struct txn *a = store_begin(s, count, &woken), *b = store_begin(s, count, &woken);

	append(a, 0, "a");
	append(b, 1, "b");
	assert_int_equal(store_append(a, 1, "a", &err), DATA_WAIT);
	fails(store_append(b, 0, "b", &err), &err, sqlstate);
	store_rollback(b);
	assert_int_equal(woken, 1);
	append(a, 1, "a");
	commit(a);
	assert_string_equal(store_value(s, 1), "a,");
	store_free(s);
}

static void test_deadlock(void **state)
{
	(void)state;
	deadlock(DIALECT_PG, "40P01");
	deadlock(DIALECT_CRDB, "40001");
}

static void test_savepoints(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct engine_error err;
	unsigned woken = 0;
	struct txn *a = store_begin(s, count, NULL), *b = store_begin(s, count, &woken);

	(void)state;
	append(a, 0, "a");
	store_savepoint(a, 1);
	append(a, 1, "b");
	store_savepoint(a, 2);
	append(a, 0, "c");
	store_rollback_to(a, 2);
	reads(a, 0, "a,");
	assert_int_equal(store_append(b, 1, "x", &err), DATA_WAIT);
	store_rollback_to(a, 1);
	assert_int_equal(woken, 1);
	append(b, 1, "x");
	commit(b);
	append(a, 0, "d");
	store_rollback_to(a, 1);
	commit(a);
	assert_string_equal(store_value(s, 0), "a,");
	assert_string_equal(store_value(s, 1), "x,");
	store_free(s);
}

static void test_unwait(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	struct engine_error err;
	unsigned woken = 0;
	struct txn *a = store_begin(s, count, NULL), *b = store_begin(s, count, &woken);

	(void)state;
	append(a, 0, "a");
	assert_int_equal(store_append(b, 0, "b", &err), DATA_WAIT);
	store_unwait(b);
	commit(a);
	assert_int_equal(woken, 0);
	store_free(s); /* b is freed with it */
}

static void test_disturb(void **state)
{
	struct store *s = store_new(DIALECT_CRDB);
	struct engine_error err;
	unsigned i, bad = 0;

	(void)state;
	store_disturb(s, 30, 7);
	for (i = 0; i < 1000; i++) {
		struct txn *t = store_begin(s, count, NULL);
		enum data d = store_append(t, 0, "x", &err);

		if (d == DATA_OK) {
			store_rollback(t);
			continue;
		}
		fails(d, &err, "40001");
		assert_non_null(err.hint);
		assert_non_null(strstr(err.message, "restart transaction: "));
		store_rollback(t);
		bad++;
	}
	assert_in_range(bad, 200, 400);
	store_free(s);
}

static void test_advisory(void **state)
{
	struct store *s = store_new(DIALECT_PG);
	unsigned a = 0, b = 0, c = 0;

	(void)state;
	assert_true(store_lock(s, 5, &a, count, &a));
	assert_true(store_lock(s, 5, &a, count, &a));
	assert_false(store_lock(s, 5, &b, count, &b));
	assert_false(store_lock(s, 5, &c, count, &c));
	assert_false(store_lock(s, 5, &c, NULL, NULL));
	assert_false(store_unlock(s, 5, &b));
	assert_true(store_unlock(s, 5, &a));
	assert_int_equal(b, 0);
	store_lock_forget(s, &c);
	assert_true(store_unlock(s, 5, &a));
	assert_int_equal(b, 1);
	assert_int_equal(c, 0);
	assert_true(store_lock(s, 5, &b, count, &b));
	assert_true(store_lock(s, 6, &b, count, &b));
	store_unlock_all(s, &b);
	assert_false(store_locked(s, 5));
	assert_false(store_locked(s, 6));
	assert_true(store_lock(s, 6, &c, count, &c));
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commit_and_rollback), cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_write_skew),	    cmocka_unit_test(test_wait_and_wake),
		cmocka_unit_test(test_deadlock),	    cmocka_unit_test(test_savepoints),
		cmocka_unit_test(test_unwait),		    cmocka_unit_test(test_disturb),
		cmocka_unit_test(test_advisory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
