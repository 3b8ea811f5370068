/* tests/unit/test_proofs.c - remembered passwords: whose they are, how long, how many.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session/proofs.h"

static struct proofs make(void)
{
	static const uint8_t key[PROOF_LEN] = "one of these keys";
	struct proofs p = { 0 };

	assert_false(proofs_ready(&p));
	assert_int_equal(proofs_init(&p, key), 0);
	assert_true(proofs_ready(&p));
	return p;
}

static struct proof_key key_of(const struct proofs *p, const char *db, const char *user,
			       const char *password)
{
	struct proof_key k;

	assert_int_equal(proofs_key(p, db, user, password, &k), 0);
	return k;
}

static void test_whose(void **state)
{
	static const char *const other[][3] = {
		{ "db", "user", "Secret" },  { "db", "user", "secre" },	 { "db", "user", "secrets" },
		{ "db", "user", "" },	     { "db", "users", "ecret" }, { "db", "use", "rsecret" },
		{ "d", "buser", "secret" },  { "dbu", "ser", "secret" }, { "db", "", "usersecret" },
		{ "user", "db", "secret" },  { "db2", "user", "secret" }, { "db", "User", "secret" },
	};
	struct proofs p = make();
	struct proof_key k = key_of(&p, "db", "user", "secret"), again;
	uint64_t who;
	size_t i;

	(void)state;
	assert_false(proofs_has(&p, &k, 10));
	proofs_add(&p, &k, 10, 20);
	again = key_of(&p, "db", "user", "secret");
	assert_true(proofs_has(&p, &again, 10));
	assert_int_equal(proofs_who(&p, "db", "user", &who), 0);
	assert_true(who == k.who);
	for (i = 0; i < sizeof(other) / sizeof(*other); i++) {
		struct proof_key o = key_of(&p, other[i][0], other[i][1], other[i][2]);

		assert_false(proofs_same(&k, &o));
		assert_false(proofs_has(&p, &o, 10));
	}
	proofs_free(&p);
	proofs_free(&p);
}

/* The same password is another hash in the next process. */
static void test_key(void **state)
{
	static const uint8_t other[PROOF_LEN] = "one of those keys";
	struct proofs p = make(), q = { 0 };
	struct proof_key a = key_of(&p, "db", "user", "secret"), b;

	(void)state;
	assert_int_equal(proofs_init(&q, other), 0);
	b = key_of(&q, "db", "user", "secret");
	assert_memory_not_equal(a.mac, b.mac, PROOF_LEN);
	assert_true(a.who != b.who);
	proofs_free(&p);
	proofs_free(&q);
}

static void test_how_long(void **state)
{
	struct proofs p = make();
	struct proof_key k = key_of(&p, "db", "user", "secret"), l = key_of(&p, "db", "user", "other");

	(void)state;
	proofs_add(&p, &k, 10, 20);
	proofs_add(&p, &l, 10, 10); /* for no time at all */
	assert_false(proofs_has(&p, &l, 10));
	assert_true(proofs_has(&p, &k, 19));
	assert_false(proofs_has(&p, &k, 20));
	proofs_add(&p, &k, 20, 30);
	proofs_add(&p, &k, 25, 40); /* the same place */
	assert_true(proofs_has(&p, &k, 39));
	assert_false(proofs_has(&p, &k, 40));
	proofs_free(&p);
}

static void test_forget(void **state)
{
	struct proofs p = make();
	struct proof_key a = key_of(&p, "db", "user", "a"), b = key_of(&p, "db", "user", "b");
	struct proof_key c = key_of(&p, "db", "other", "a");

	(void)state;
	proofs_add(&p, &a, 1, 100);
	proofs_add(&p, &b, 1, 100);
	proofs_add(&p, &c, 1, 100);
	proofs_forget(&p, a.who);
	assert_false(proofs_has(&p, &a, 1));
	assert_false(proofs_has(&p, &b, 1));
	assert_true(proofs_has(&p, &c, 1));
	proofs_free(&p);
	proofs_forget(&p, a.who);
}

/* Of one user no more than PROOF_WAYS; the one that ends first makes room. */
static void test_how_many(void **state)
{
	struct proofs p = make();
	struct proof_key k[2 * PROOF_WAYS];
	char password[16];
	unsigned i, n = 0;

	(void)state;
	for (i = 0; i < 2 * PROOF_WAYS; i++) {
		(void)snprintf(password, sizeof(password), "%u", i);
		k[i] = key_of(&p, "db", "user", password);
		/* the even ones last longer */
		proofs_add(&p, &k[i], 1, i % 2 ? 50 : 100 + i);
		assert_true(proofs_has(&p, &k[i], 1));
	}
	for (i = 0; i < 2 * PROOF_WAYS; i++)
		n += proofs_has(&p, &k[i], 1);
	assert_int_equal(n, PROOF_WAYS);
	for (i = 2; i < 2 * PROOF_WAYS; i += 2)
		assert_true(proofs_has(&p, &k[i], 1));
	proofs_free(&p);
}

/* Many users: what is there is right, whoever made room. */
static void test_many(void **state)
{
	struct proofs p = make();
	char user[16];
	unsigned i, n = 0, all = 4 * PROOF_SETS * PROOF_WAYS;

	(void)state;
	for (i = 0; i < all; i++) {
		struct proof_key k, wrong;

		(void)snprintf(user, sizeof(user), "u%u", i);
		k = key_of(&p, "db", user, "secret");
		wrong = key_of(&p, "db", user, "guess");
		proofs_add(&p, &k, 1, 100);
		assert_true(proofs_has(&p, &k, 1));
		assert_false(proofs_has(&p, &wrong, 1));
	}
	for (i = 0; i < all; i++) {
		struct proof_key k;

		(void)snprintf(user, sizeof(user), "u%u", i);
		k = key_of(&p, "db", user, "secret");
		n += proofs_has(&p, &k, 1);
	}
	assert_true(n > PROOF_SETS * PROOF_WAYS * 9 / 10);
	assert_true(n <= PROOF_SETS * PROOF_WAYS);
	proofs_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whose),	 cmocka_unit_test(test_key),
		cmocka_unit_test(test_how_long), cmocka_unit_test(test_forget),
		cmocka_unit_test(test_how_many), cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
