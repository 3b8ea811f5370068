/* tests/unit/test_gates.c - the table of what is closed.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "session/gates.h"

static void test_open(void **state)
{
	(void)state;
	assert_false(gates_paused(NULL, "a"));
	assert_false(gates_disabled(NULL, "a"));
	assert_int_equal(gates_renew(NULL, "a"), 0);
	assert_null(gates_hold(NULL));
	gates_drop(NULL);
}

static void test_entries(void **state)
{
	struct gates *g = gates_copy(NULL, "a"), *h, *k;

	(void)state;
	gates_entry(g, "a")->paused = true;
	assert_null(gates_entry(g, "b"));
	h = gates_copy(g, "b");
	gates_drop(g);
	gates_entry(h, "b")->disabled = true;
	gates_entry(h, "b")->renew_us = 5;
	k = gates_copy(h, "b"); /* is there */
	assert_int_equal(k->n, 2);
	gates_entry(k, "a")->paused = false;
	assert_true(gates_paused(h, "a") && !gates_paused(h, "b") && !gates_paused(h, "c"));
	assert_true(gates_disabled(h, "b") && !gates_disabled(h, "a"));
	assert_false(gates_paused(k, "a")); /* and h is as it was */
	assert_int_equal(gates_renew(k, "b"), 5);
	assert_int_equal(gates_renew(k, "a"), 0);
	gates_drop(k);
	gates_drop(h);
}

static void test_all(void **state)
{
	struct gates *g = gates_copy(NULL, "a"), *h;

	(void)state;
	gates_entry(g, "a")->renew_us = 7;
	g->paused = true;
	g->renew_us = 6;
	h = gates_copy(g, NULL);
	assert_true(gates_paused(h, "a") && gates_paused(h, "other"));
	assert_int_equal(gates_renew(h, "a"), 7); /* the later of both */
	assert_int_equal(gates_renew(h, "other"), 6);
	h->renew_us = 8;
	assert_int_equal(gates_renew(h, "a"), 8);
	h->paused = false;
	assert_false(gates_paused(h, "a"));
	h->shutting = true;
	assert_true(gates_paused(h, "a") && gates_paused(h, "other"));
	gates_drop(gates_hold(g));
	assert_true(gates_paused(g, "a"));
	gates_drop(g);
	gates_drop(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
