/* tests/unit/test_counts.c - counts of clients by name: against a model in a random walk,
 * and under real threads.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "pool/counts.h"

#define NAMES 7u
#define HELD 64u

static unsigned rnd(uint64_t *state, unsigned n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (unsigned)((*state >> 11) % n);
}

static void test_bound(void **state)
{
	struct count *a, *b, *c;
	struct counts cs;

	(void)state;
	assert_int_equal(counts_init(&cs), 0);
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 2, &a), COUNT_OK);
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 2, &b), COUNT_OK);
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 2, &c), COUNT_FULL);
	assert_null(c);
	/* a user of that name is something else, and so is a name that begins so */
	assert_int_equal(counts_take(&cs, COUNT_USER, "x", 1, &c), COUNT_OK);
	counts_give(&cs, c);
	assert_int_equal(counts_take(&cs, COUNT_DB, "xy", 1, &c), COUNT_OK);
	counts_give(&cs, c);
	/* no bound, a lower one, a higher one */
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 0, &c), COUNT_OK);
	assert_int_equal(counts_used(&cs, COUNT_DB, "x"), 3);
	counts_give(&cs, c);
	counts_give(&cs, b);
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 1, &b), COUNT_FULL);
	assert_int_equal(counts_take(&cs, COUNT_DB, "x", 2, &b), COUNT_OK);
	counts_give(&cs, a);
	counts_give(&cs, b);
	counts_give(&cs, NULL);
	assert_int_equal(counts_used(&cs, COUNT_DB, "x"), 0);
	assert_int_equal(cs.n, 0);
	counts_free(&cs);
}

static void name_of(unsigned i, char *out, size_t cap)
{
	/* the last is long; some share a bucket in the walk with many */
	if (i)
		(void)snprintf(out, cap, i == NAMES - 1 ? "%0200u" : "n%u", i);
	else
		*out = 0;
}

/* Bounds that move, names that come and go. */
static void test_walk(void **state)
{
	int used[COUNT_KINDS][NAMES] = { { 0 } };
	struct count *held[HELD] = { NULL };
	unsigned kind_of[HELD], which[HELD], step, i, k;
	uint64_t rng = 88172645463325252ULL;
	struct counts cs;
	char name[256];

	(void)state;
	assert_int_equal(counts_init(&cs), 0);
	for (step = 0; step < 200000; step++) {
		size_t names = 0;

		i = rnd(&rng, HELD);
		if (held[i]) {
			counts_give(&cs, held[i]);
			held[i] = NULL;
			used[kind_of[i]][which[i]]--;
		} else {
			int max = (int)rnd(&rng, 12);
			enum count_take r;

			kind_of[i] = rnd(&rng, COUNT_KINDS);
			which[i] = rnd(&rng, NAMES);
			name_of(which[i], name, sizeof(name));
			r = counts_take(&cs, (enum count_kind)kind_of[i], name, max, &held[i]);
			if (max && used[kind_of[i]][which[i]] >= max) {
				assert_int_equal(r, COUNT_FULL);
				assert_null(held[i]);
			} else {
				assert_int_equal(r, COUNT_OK);
				assert_non_null(held[i]);
				used[kind_of[i]][which[i]]++;
			}
		}
		for (k = 0; k < COUNT_KINDS; k++)
			for (i = 0; i < NAMES; i++)
				names += used[k][i] != 0;
		assert_int_equal(cs.n, names);
		k = rnd(&rng, COUNT_KINDS);
		i = rnd(&rng, NAMES);
		name_of(i, name, sizeof(name));
		assert_int_equal(counts_used(&cs, (enum count_kind)k, name), used[k][i]);
	}
	for (i = 0; i < HELD; i++)
		counts_give(&cs, held[i]);
	assert_int_equal(cs.n, 0);
	counts_free(&cs);
}

/* ---- threads ---- */

#define THREADS 4
#define MAX 5
#define OWN 16                    /* so that one thread alone reaches the bound */

struct crowd {
	struct counts cs;
	_Atomic int inside[2];
	_Atomic int most, over;
};

static void *hammer(void *arg)
{
	struct crowd *w = arg;
	uint64_t rng = (uint64_t)(uintptr_t)&rng | 1;
	struct count *held[OWN] = { NULL };
	unsigned at[OWN], step, i;

	for (step = 0; step < 20000; step++) {
		i = rnd(&rng, OWN);
		if (held[i]) {
			atomic_fetch_sub(&w->inside[at[i]], 1);
			counts_give(&w->cs, held[i]);
			held[i] = NULL;
			continue;
		}
		at[i] = rnd(&rng, 2);
		if (counts_take(&w->cs, COUNT_USER, at[i] ? "b" : "a", MAX, &held[i]) == COUNT_OK) {
			int now = atomic_fetch_add(&w->inside[at[i]], 1) + 1;

			if (now > MAX)
				atomic_fetch_add(&w->over, 1);
			if (now == MAX)
				atomic_store(&w->most, MAX);
		}
	}
	for (i = 0; i < OWN; i++) {
		if (held[i])
			atomic_fetch_sub(&w->inside[at[i]], 1);
		counts_give(&w->cs, held[i]);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct crowd w = { .over = 0 };
	pthread_t t[THREADS];
	unsigned i;

	(void)state;
	assert_int_equal(counts_init(&w.cs), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &w), 0);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(atomic_load(&w.over), 0);
	assert_int_equal(atomic_load(&w.most), MAX); /* else nothing was tried */
	assert_int_equal(w.cs.n, 0);
	counts_free(&w.cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
