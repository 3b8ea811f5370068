/* tests/sim/test_oracle_play.c - oracle.c: whatever clients do, alone or side by side, in
 * either dialect, what a lone server answers passes; and the history holds.
 *
 * ORACLE_FROM and ORACLE_N: the seeds.
 *
 * SPDX-License-Identifier: ISC
 */
#include "oracle_bench.h"

/* ---- clients that do all kinds of things ---- */

static void move(struct peer *v)
{
	static uint8_t buf[1 << 18];
	uint8_t start[600];
	uint64_t us = 0;
	size_t n = 0;

	switch (program_next(v->p, v->status, v->copy_in, buf, sizeof(buf), &n, &us)) {
	case MOVE_SEND:
		send(v, buf, n);
		break;
	case MOVE_WAIT:
		v->waits = true;
		break;
	case MOVE_PAUSE:
		v->pause_until = v->w->now + us;
		break;
	case MOVE_CANCEL:
		oracle_may(v->o, MAY_CANCEL);
		v->sleeping = v->sleeping && !engine_waits(v->e);
		if (v->txn)
			store_unwait(v->txn);
		store_lock_forget(v->w->s, v);
		engine_cancel(v->e);
		break;
	case MOVE_RECONNECT:
		hang_up(v, true);
		connect_as(v, start, program_startup(v->p, start, sizeof(start)));
		v->logging = true;
		break;
	case MOVE_CLOSE:
	case MOVE_DONE:
	default:
		hang_up(v, true);
		v->done = true;
	}
}

/* The server has ended the session. */
static void lost(struct peer *v)
{
	uint8_t start[600];

	hang_up(v, false);
	program_lost(v->p);
	connect_as(v, start, program_startup(v->p, start, sizeof(start)));
	v->logging = true;
	v->waits = false;
}

static void one_step(struct peer *v)
{
	size_t have = v->out_n - v->out_at;

	if (v->done)
		return;
	engine_resume(v->e);
	if (have && rng_chance(&v->w->r, 70)) {
		hear(v, rng_chance(&v->w->r, 50) ? have : 1 + rng_below(&v->w->r, (unsigned)have));
		return;
	}
	if (engine_over(v->e) && !have && (v->waits || v->logging)) {
		lost(v);
		return;
	}
	if (v->logging && v->status)
		v->logging = false;
	if (v->waits && (v->copy_in || !oracle_owed(v->o)))
		v->waits = false;
	if (!v->logging && !v->waits && v->w->now >= v->pause_until)
		move(v);
}

static bool all_done(const struct world *w)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (!w->v[i].done)
			return false;
	return true;
}

static void play(enum dialect d, enum manners m, uint64_t seed)
{
	static struct world w;
	unsigned i, turns = 0;
	uint8_t start[600];

	world_make(&w, d, 1 + (unsigned)(seed % CLIENTS), seed);
	if (seed % 5 == 4)
		store_disturb(w.s, 10, seed);
	for (i = 0; i < w.n; i++) {
		struct program_conf pc = { m < MANNERS_N ? m : (enum manners)rng_below(&w.r, MANNERS_N), d,
					   i, 12, w.n };

		w.v[i].p = program_new(&pc, rng_make(seed, 10 + i));
		assert_non_null(w.v[i].p);
		connect_as(&w.v[i], start, program_startup(w.v[i].p, start, sizeof(start)));
		w.v[i].logging = true;
	}
	while (!all_done(&w) && !*w.wrong && ++turns < 400000) {
		w.now += rng_below(&w.r, 200);
		one_step(&w.v[rng_below(&w.r, w.n)]);
	}
	for (i = 0; turns >= 400000 && i < w.n && !*w.wrong; i++)
		if (!w.v[i].done)
			(void)snprintf(w.wrong, sizeof(w.wrong),
				       "client %u does not end: %u owed, status %d, %zu unheard, at %s", i,
				       oracle_owed(w.v[i].o), w.v[i].status,
				       w.v[i].out_n - w.v[i].out_at, program_says(w.v[i].p));
	world_end(&w);
	if (*w.wrong)
		fail_msg("dialect %d manners %d seed %u: %s", (int)d, (int)m, (unsigned)seed, w.wrong);
}

static void test_programs(void **state)
{
	const char *from = getenv("ORACLE_FROM"), *n = getenv("ORACLE_N");
	uint64_t seed = from ? strtoull(from, NULL, 10) : 0;
	uint64_t end = seed + (n ? strtoull(n, NULL, 10) : 60);

	(void)state;
	for (; seed < end; seed++) {
		unsigned m;

		for (m = 0; m <= MANNERS_N; m++) {
			play(DIALECT_PG, (enum manners)m, seed);
			play(DIALECT_CRDB, (enum manners)m, seed);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
