/* tests/unit/test_session.c - the pure parts of a session: held bytes and their
 * budget, when a unit is run again, both tables of states cell by cell.
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

#include "proxy/session/client_state.h"
#include "proxy/session/hold.h"
#include "proxy/session/retry.h"
#include "proxy/session/server_state.h"
#include "proxy/session/tally.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- hold ---- */

static void test_hold_bounds(void **state)
{
	struct hold h = {.p = NULL};
	_Atomic int64_t total = 0;
	struct holds all = {.total = &total};
	uint8_t b[4000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 31);
	assert_int_equal(hold_add(&h, b, 1001, 1000, &all, 1 << 20), -1);
	assert_int_equal(h.len, 0);
	assert_int_equal(atomic_load(&total), 0);
	assert_int_equal(hold_add(&h, b, 999, 1000, &all, 1 << 20), 0);
	assert_int_equal(hold_add(&h, b + 999, 2, 1000, &all, 1 << 20), -1);
	assert_int_equal(hold_add(&h, b + 999, 1, 1000, &all, 1 << 20), 0);
	assert_int_equal(hold_add(&h, b + 1000, 1, 1000, &all, 1 << 20), -1);
	assert_int_equal(h.len, 1000);
	assert_memory_equal(h.p, b, 1000);
	assert_int_equal(atomic_load(&total), h.cap);
	/* no length is too large to be refused */
	assert_int_equal(hold_add(&h, b, SIZE_MAX, 1000, &all, 1 << 20), -1);
	assert_int_equal(hold_add(&h, b, SIZE_MAX - 999, 1000, &all, 1 << 20), -1);
	/* a bound that shrank under what is held */
	assert_int_equal(hold_add(&h, b, 1, 500, &all, 1 << 20), -1);
	hold_free(&h, &all);
	assert_int_equal(atomic_load(&total), 0);
	assert_null(h.p);
	hold_free(&h, &all);
}

/* In pieces of any size: the same bytes, and the budget is what is allocated. */
static void test_hold_pieces(void **state)
{
	static const size_t piece[] = {1, 7, 255, 256, 257, 1000, 5000};
	static uint8_t b[20000];
	_Atomic int64_t total = 0;
	struct holds all = {.total = &total};
	size_t k, at, i;

	(void)state;
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 7 + i / 256);
	for (k = 0; k < COUNT(piece); k++) {
		struct hold h = {.p = NULL};

		for (at = 0; at < sizeof(b); at += i) {
			i = sizeof(b) - at < piece[k] ? sizeof(b) - at : piece[k];
			assert_int_equal(hold_add(&h, b + at, i, sizeof(b), &all, 1 << 20), 0);
			assert_true(h.len <= h.cap);
			assert_int_equal(atomic_load(&total),
					 all.reserved + (h.cap > HOLD_SMALL ? (int64_t)h.cap : 0));
		}
		assert_int_equal(h.len, sizeof(b));
		assert_memory_equal(h.p, b, sizeof(b));
		hold_free(&h, &all);
	}
	holds_free(&all);
	assert_int_equal(atomic_load(&total), 0);
}

static void test_hold_budget(void **state)
{
	struct hold a = {.p = NULL}, b = {.p = NULL};
	_Atomic int64_t total = 0;
	struct holds all = {.total = &total};
	uint8_t bytes[2048] = {1};
	size_t cap;

	(void)state;
	assert_int_equal(hold_add(&a, bytes, 1000, 4096, &all, 1536), 0);
	cap = a.cap;
	assert_true(cap <= 1536);
	/* the other's bytes count; a refusal changes nothing */
	assert_int_equal(hold_add(&b, bytes, 1000, 4096, &all, 1536), -1);
	assert_null(b.p);
	assert_int_equal(atomic_load(&total), cap);
	assert_int_equal(hold_add(&a, bytes, 1000, 4096, &all, 1536), -1);
	assert_int_equal(a.len, 1000);
	assert_int_equal(a.cap, cap);
	assert_int_equal(atomic_load(&total), cap);
	/* what fits into the block needs no budget */
	assert_int_equal(hold_add(&a, bytes, cap - 1000, 4096, &all, 0), 0);
	hold_free(&a, &all);
	assert_int_equal(a.len, 0);
	assert_int_equal(hold_add(&b, bytes, 1000, 4096, &all, 1536), 0);
	hold_free(&a, &all);
	hold_free(&b, &all);
	assert_int_equal(atomic_load(&total), 0);
}

static void test_hold_room(void **state)
{
	struct hold h = {.p = NULL};
	_Atomic int64_t total = 0;
	struct holds all = {.total = &total};
	uint8_t bytes[600] = {1};
	int i;

	(void)state;
	assert_int_equal(hold_room(&h, 601, 600, &all, 1 << 20), -1);
	assert_int_equal(hold_room(&h, 600, 600, &all, 1 << 20), 0);
	assert_int_equal(h.len, 0);
	assert_true(h.cap >= 600);
	for (i = 0; i < 6; i++) /* cannot fail now: no budget is needed */
		assert_int_equal(hold_add(&h, bytes, 100, 600, &all, 0), 0);
	hold_free(&h, &all);
	assert_null(h.p);
	assert_int_equal(all.spare_n, 0); /* a large block goes back */
	assert_int_equal(atomic_load(&total), 0);
	holds_free(&all);
	assert_int_equal(all.reserved, 0);
}

/* Small ones: kept for whoever is next, within the budget, of which a share is taken for
 * many at a time. */
static void test_hold_small(void **state)
{
	enum { MANY = 300 };
	struct hold h[MANY] = {0}, other = {.p = NULL};
	_Atomic int64_t total = 0;
	struct holds all = {.total = &total}, second = {.total = &total};
	uint8_t bytes[HOLD_SMALL + 1] = {1}, *small;
	unsigned i;

	(void)state;
	assert_int_equal(hold_add(&other, bytes, 100, 600, &all, 0), -1);
	assert_int_equal(hold_add(&other, bytes, 100, 600, &all, HOLD_SMALL - 1), -1);
	assert_int_equal(atomic_load(&total), 0);
	assert_int_equal(hold_add(&other, bytes, 100, 600, &all, HOLD_SMALL), 0);
	assert_int_equal(atomic_load(&total), HOLD_SMALL);
	small = other.p;
	hold_free(&other, &all);
	assert_null(other.p);
	assert_int_equal(all.spare_n, 1);
	assert_int_equal(hold_add(&other, bytes, HOLD_SMALL, 600, &all, 0), 0); /* reserved */
	assert_ptr_equal(other.p, small);
	assert_int_equal(all.spare_n, 0);
	/* another worker's share is not for this one */
	assert_int_equal(hold_add(&h[0], bytes, 1, 600, &second, HOLD_SMALL), -1);
	/* it grows into one that is counted */
	assert_int_equal(hold_add(&other, bytes, 1, 600, &all, 3 * HOLD_SMALL - 1), -1);
	assert_int_equal(hold_add(&other, bytes, 1, 600, &all, 3 * HOLD_SMALL), 0);
	assert_int_equal(other.len, HOLD_SMALL + 1);
	assert_int_equal(other.p[0], 1);
	assert_int_equal(all.used, 0);
	assert_int_equal(atomic_load(&total), 3 * HOLD_SMALL);
	hold_free(&other, &all);
	for (i = 0; i < MANY; i++) {
		assert_int_equal(hold_add(&h[i], bytes, 1, 600, &all, 1 << 20), 0);
		assert_true(all.used <= all.reserved && atomic_load(&total) == all.reserved);
	}
	assert_int_equal(all.used, MANY * HOLD_SMALL);
	for (i = 0; i < MANY; i++)
		hold_free(&h[i], &all);
	assert_int_equal(all.used, 0);
	assert_true(all.reserved < 16 * 1024 && atomic_load(&total) == all.reserved);
	assert_int_equal(all.spare_n, MANY);
	holds_free(&all);
	assert_null(all.spare);
	assert_int_equal(atomic_load(&total), 0);
}

/* ---- retry ---- */

static enum retry_verdict decide(bool commit, bool complete, bool crdb, char status,
				 unsigned attempts, uint64_t since)
{
	static const struct retry_bounds b = {3, 1000};
	struct retry_facts f = {commit, complete, crdb, status, attempts, since};

	return retry_decide(&f, &b);
}

/* A unit that began outside a transaction block, on PostgreSQL: what counts is
 * the status after the error, and that nothing in it was committed. On
 * CockroachDB each completed statement was committed. */
static void test_retry_rows(void **state)
{
	static const struct {
		bool commit, complete, crdb;
		char status;
		enum retry_verdict want;
	} rows[] = {
		/* implicit: I, else never */
		{false, false, false, 'I', RV_RETRY},
		{false, true, false, 'I', RV_RETRY},   /* failed at its commit */
		{false, false, false, 'T', RV_STATUS},
		{false, false, false, 'E', RV_STATUS}, /* ins; BEGIN; error */
		{false, true, false, 'T', RV_STATUS},
		{false, true, false, 'E', RV_STATUS},
		{false, false, false, 0, RV_STATUS},
		{false, false, false, 'i', RV_STATUS},
		/* ins; COMMIT; error: the insert stays */
		{true, true, false, 'I', RV_STATUS},
		{true, true, false, 'T', RV_STATUS},   /* COMMIT AND CHAIN */
		{true, false, false, 'I', RV_STATUS},
		/* CockroachDB: only with nothing completed */
		{false, false, true, 'I', RV_RETRY},
		{false, true, true, 'I', RV_COMPLETE},
		{false, false, true, 'T', RV_STATUS},
		{false, true, true, 'E', RV_STATUS},
		{true, true, true, 'I', RV_STATUS},
	};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rows); i++)
		assert_int_equal(decide(rows[i].commit, rows[i].complete, rows[i].crdb,
					rows[i].status, 0, 0),
				 rows[i].want);
}

/* Every combination: what is replayed is proven to be rolled back, and nothing else. */
static void test_block_rows(void **state)
{
	static const struct retry_bounds b = {10, 1000};
	static const char status[] = {'I', 'T', 'E', 0, 'e'};
	unsigned i, s;

	(void)state;
	for (i = 0; i < 64; i++)
		for (s = 0; s < COUNT(status); s++) {
			struct retry_block_facts f = {
				.opens = i & 1,	   .commits = i & 2,	.commit_seen = i & 4,
				.told = i & 8,	   .savepoint = i & 16, .status = status[s],
				.commits_alone = (i & 34) == 34,
			};
			bool proven = !f.commit_seen && ((f.status == 'E' && !f.commits_alone) ||
							 (f.status == 'I' && f.commits));
			enum retry_verdict v = retry_decide_block(&f, &b);

			assert_int_equal(v == RV_STATUS, !proven);
			if (!proven)
				continue;
			assert_int_equal(v, f.commits && f.told ? RV_STARTED :
					    f.savepoint		? RV_SAVEPOINT :
								  RV_RETRY);
			f.attempts = 9;
			f.since_us = 1000;
			assert_int_equal(retry_decide_block(&f, &b), v);
			f.attempts = 10;
			assert_int_equal(retry_decide_block(&f, &b) == RV_EXHAUSTED, v == RV_RETRY);
			f.attempts = 0;
			f.since_us = 1001;
			assert_int_equal(retry_decide_block(&f, &b) == RV_EXHAUSTED, v == RV_RETRY);
		}
}

static size_t tally_of(struct tally *t, const char *p, size_t n, size_t cut, uint8_t *out)
{
	size_t at;

	for (at = 0; at < n; at += cut)
		tally_add(t, p + at, n - at < cut ? n - at : cut);
	return tally_end(t, out);
}

/* The sum depends on the bytes and not on where they were cut; and on every byte. */
static void test_tally(void **state)
{
	static const size_t len[] = {0, 1, 31, 32, 95, 96, 97, 200, 1000};
	uint8_t a[TALLY_MAX], b[TALLY_MAX];
	struct tally t = {0};
	char text[1000];
	size_t i, n, cut, at;

	(void)state;
	for (i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7);
	tally_begin(&t);
	for (i = 0; i < COUNT(len); i++) {
		n = tally_of(&t, text, len[i], 1, a);
		assert_in_range(n, 1, TALLY_MAX);
		for (cut = 2; cut < 300; cut += 37) {
			assert_int_equal(tally_of(&t, text, len[i], cut, b), n);
			assert_memory_equal(a, b, n);
		}
		for (at = 0; at < len[i]; at++) {
			text[at] ^= 1;
			assert_true(tally_of(&t, text, len[i], 64, b) != n || memcmp(a, b, n) != 0);
			text[at] ^= 1;
		}
		/* in between, and going on */
		tally_add(&t, text, len[i]);
		assert_int_equal(tally_sum(&t, b), n);
		assert_memory_equal(a, b, n);
		tally_add(&t, "x", 1);
		assert_true(tally_end(&t, b) != n || memcmp(a, b, n) != 0);
	}
	tally_free(&t);
}

static void test_retry_bounds(void **state)
{
	static const struct retry_bounds none = {0, 1000};
	struct retry_facts f = {.status = 'I'};

	(void)state;
	assert_int_equal(decide(false, false, false, 'I', 2, 1000), RV_RETRY);
	assert_int_equal(decide(false, false, false, 'I', 3, 0), RV_EXHAUSTED);
	assert_int_equal(decide(false, false, false, 'I', 4, 0), RV_EXHAUSTED);
	assert_int_equal(decide(false, false, false, 'I', 0, 1001), RV_EXHAUSTED);
	assert_int_equal(retry_decide(&f, &none), RV_EXHAUSTED);
	/* what may never be retried is not called exhausted */
	assert_int_equal(decide(true, false, false, 'I', 9, 9999), RV_STATUS);
	assert_int_equal(decide(false, false, false, 'E', 9, 9999), RV_STATUS);
	assert_int_equal(decide(false, true, true, 'I', 9, 9999), RV_COMPLETE);
}

/* Every combination: a retry is never decided with anything against it. */
static void test_retry_never_wrong(void **state)
{
	unsigned bits, status, attempts;

	(void)state;
	for (bits = 0; bits < 8; bits++)
		for (status = 0; status < 256; status++)
			for (attempts = 0; attempts < 5; attempts++) {
				bool commit = bits & 1, complete = bits & 2, crdb = bits & 4;
				bool fine = !commit && !(crdb && complete) && status == 'I' &&
					    attempts < 3;

				assert_int_equal(decide(commit, complete, crdb, (char)status,
							attempts, 10) == RV_RETRY,
						 fine);
			}
}

static void test_backoff(void **state)
{
	static const uint64_t rnd[] = {0, 1, 12345, UINT64_MAX / 3, UINT64_MAX - 1, UINT64_MAX};
	uint64_t low, high;
	unsigned attempt, i;

	(void)state;
	for (attempt = 0; attempt < 100; attempt++)
		for (i = 0; i < COUNT(rnd); i++) {
			uint64_t top = attempt < 20 ? (uint64_t)1000 << attempt : 500000;

			if (top > 500000)
				top = 500000;
			assert_in_range(retry_backoff_us(attempt, 1000, 500000, rnd[i]), 0, top);
			/* a minute, the largest base there is, does not wrap */
			assert_in_range(retry_backoff_us(attempt, 60000000, 60000000, rnd[i]), 0,
					60000000);
			assert_int_equal(retry_backoff_us(attempt, 0, 500000, rnd[i]) > 500000, 0);
			assert_int_equal(retry_backoff_us(attempt, 1000, 0, rnd[i]), 0);
		}
	/* both ends are reached, and all of the range is used */
	assert_int_equal(retry_backoff_us(2, 1000, 500000, 4000), 4000);
	assert_int_equal(retry_backoff_us(2, 1000, 500000, 4001), 0);
	for (low = high = 0, i = 0; i < 10000; i++) {
		uint64_t us = retry_backoff_us(3, 1000, 500000, i * 0x9e3779b97f4a7c15ULL);

		low += us < 2000;
		high += us > 6000;
	}
	assert_in_range(low, 2000, 3000);
	assert_in_range(high, 2000, 3000);
}

static void test_verdict_names(void **state)
{
	enum retry_verdict a, b;

	(void)state;
	for (a = 0; a < RV_N; a++) {
		assert_non_null(retry_verdict_name(a));
		for (b = 0; b < a; b++)
			assert_string_not_equal(retry_verdict_name(a), retry_verdict_name(b));
	}
}

/* ---- the server's states ---- */

static void test_server_states(void **state)
{
	static const enum server_state want[SV_N][SE_N] = {
		[SV_NONE][SE_DIAL] = SV_CONNECT,
		[SV_CONNECT][SE_CONNECTED] = SV_LOGIN,	/* in clear */
		[SV_CONNECT][SE_TLS_ASK] = SV_TLS_ASK,
		[SV_CONNECT][SE_TLS] = SV_TLS,		/* sslnegotiation = direct */
		[SV_TLS_ASK][SE_TLS] = SV_TLS,
		[SV_TLS_ASK][SE_CONNECTED] = SV_LOGIN,	/* it has none, and need not */
		[SV_TLS][SE_CONNECTED] = SV_LOGIN,
		[SV_TLS_ASK][SE_DIAL] = SV_CONNECT,	/* the other way */
		[SV_TLS][SE_DIAL] = SV_CONNECT,
		[SV_LOGIN][SE_DIAL] = SV_CONNECT,
		[SV_LOGIN][SE_READY] = SV_LIVE,
		[SV_LIVE][SE_READY] = SV_LIVE,
		[SV_LIVE][SE_DIRTY] = SV_CLEAN,
		[SV_CLEAN][SE_READY] = SV_LIVE,
		[SV_CLEAN][SE_DIRTY] = SV_CLEAN, /* ROLLBACK, then the reset */
	};
	enum server_state s;
	enum server_event e;

	(void)state;
	for (s = 0; s < SV_N; s++)
		for (e = 0; e < SE_N; e++) /* it may fail everywhere */
			assert_int_equal(server_next(s, e), e == SE_FAIL ? SV_CLOSED : want[s][e]);
}

static void test_server_ways(void **state)
{
	bool reached[SV_N] = {[SV_NONE] = true};
	unsigned round;
	enum server_state s;
	enum server_event e;

	(void)state;
	for (round = 0; round < SV_N; round++)
		for (s = 0; s < SV_N; s++)
			for (e = 0; reached[s] && e < SE_N; e++)
				if (server_next(s, e) != SV_NONE)
					reached[server_next(s, e)] = true;
	for (s = 0; s < SV_N; s++) {
		bool on = false;

		assert_true(reached[s]); /* each can be come to */
		assert_int_equal(server_next(s, SE_FAIL), SV_CLOSED);
		for (e = 0; e < SE_N; e++) /* and be left by something good */
			on |= e != SE_FAIL && server_next(s, e) != SV_NONE && server_next(s, e) != s;
		assert_int_equal(on, s != SV_CLOSED);
		assert_non_null(server_state_name(s));
	}
	for (e = 0; e < SE_N; e++)
		assert_non_null(server_event_name(e));
}

/* ---- the client's states ---- */

static void test_client_states(void **state)
{
	static const enum client_state want[CL_N][CE_N] = {
		[CL_STARTUP][CE_TLS] = CL_TLS,
		[CL_TLS][CE_SECURED] = CL_STARTUP,
		[CL_STARTUP][CE_ASK] = CL_PASSWORD,
		[CL_STARTUP][CE_LOGIN] = CL_WELCOME,	/* trust */
		[CL_STARTUP][CE_CONSOLE] = CL_CONSOLE,
		[CL_STARTUP][CE_LOOK] = CL_AUTH,	/* peer */
		[CL_PASSWORD][CE_LOOK] = CL_AUTH,
		[CL_AUTH][CE_ASK] = CL_PASSWORD,
		[CL_AUTH][CE_LOOK] = CL_AUTH,
		[CL_AUTH][CE_LOGIN] = CL_WELCOME,
		[CL_AUTH][CE_CONSOLE] = CL_CONSOLE,
		[CL_PASSWORD][CE_ASK] = CL_PASSWORD,
		[CL_PASSWORD][CE_LOGIN] = CL_WELCOME,
		[CL_PASSWORD][CE_CONSOLE] = CL_CONSOLE,
		[CL_WELCOME][CE_WELCOMED] = CL_READY,
		[CL_READY][CE_WAIT] = CL_WAITING,
		[CL_READY][CE_LINK] = CL_LINKED,
		[CL_WAITING][CE_LINK] = CL_LINKED,
		[CL_WAITING][CE_UNLINK] = CL_READY,
		[CL_LINKED][CE_UNLINK] = CL_READY,
		[CL_LINKED][CE_FAIL40001] = CL_BACKOFF,
		[CL_LINKED][CE_REPLAY] = CL_REPLAY,	/* on another server; or given up at once */
		[CL_BACKOFF][CE_AGAIN] = CL_LINKED,
		[CL_BACKOFF][CE_REPLAY] = CL_REPLAY,
		[CL_BACKOFF][CE_UNLINK] = CL_READY,
		[CL_REPLAY][CE_AGAIN] = CL_LINKED,
		[CL_REPLAY][CE_FAIL40001] = CL_BACKOFF,	/* the next attempt */
		[CL_REPLAY][CE_UNLINK] = CL_READY,
	};
	enum client_state s;
	enum client_event e;

	(void)state;
	for (s = 0; s < CL_N; s++)
		for (e = 0; e < CE_N; e++) {
			bool alive = s != CL_NONE && s != CL_CLOSED;

			if (e == CE_LAST)
				assert_int_equal(client_next(s, e), alive ? CL_LINGER : CL_NONE);
			else if (e == CE_CLOSE)
				assert_int_equal(client_next(s, e), alive ? CL_CLOSED : CL_NONE);
			else
				assert_int_equal(client_next(s, e), want[s][e]);
		}
}

static void test_client_ways(void **state)
{
	bool reached[CL_N] = {[CL_STARTUP] = true};
	unsigned round;
	enum client_state s;
	enum client_event e;

	(void)state;
	for (round = 0; round < CL_N; round++)
		for (s = 0; s < CL_N; s++)
			for (e = 0; reached[s] && e < CE_N; e++)
				if (client_next(s, e) != CL_NONE)
					reached[client_next(s, e)] = true;
	for (s = 0; s < CL_N; s++) {
		bool on = false;

		assert_int_equal(reached[s], s != CL_NONE);
		for (e = 0; e < CE_N; e++)
			on |= client_next(s, e) != CL_NONE && client_next(s, e) != s;
		assert_int_equal(on, s != CL_NONE && s != CL_CLOSED);
		assert_non_null(client_state_name(s));
	}
	for (e = 0; e < CE_N; e++)
		assert_non_null(client_event_name(e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hold_bounds),  cmocka_unit_test(test_hold_pieces),
		cmocka_unit_test(test_hold_budget),  cmocka_unit_test(test_hold_room),
		cmocka_unit_test(test_hold_small),
		cmocka_unit_test(test_retry_rows),   cmocka_unit_test(test_retry_bounds),
		cmocka_unit_test(test_block_rows),   cmocka_unit_test(test_tally),
		cmocka_unit_test(test_retry_never_wrong), cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_verdict_names), cmocka_unit_test(test_server_states),
		cmocka_unit_test(test_server_ways),  cmocka_unit_test(test_client_states),
		cmocka_unit_test(test_client_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
