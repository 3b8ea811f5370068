/* tests/sim/program_ext.c - work in the extended protocol, in the shapes that drivers
 * give it: libpq (P B D E S), pgjdbc (BEGIN in the same batch, statements named later,
 * fetch sizes), asyncpg (prepares and describes all, portals as cursors), pgx (a cache
 * of statements, batches), npgsql (BEGIN as a Query in the same write).
 *
 * SPDX-License-Identifier: ISC
 */
#include "program_in.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The same in all sessions; what is prepared under them is not. */
static const char *const names[STMTS] = {
	"s1", "S_1", "__asyncpg_stmt_1__", "stmtcache_1", "_p1", "Odd \"name\"",
};

static enum tmpl data_tmpl(struct program *p)
{
	static const enum tmpl t[] = {
		T_READ, T_READ, T_READ_UPDATE, T_READ_3, T_READ_3, T_APPEND, T_APPEND,
		T_APPEND_RETURNING, T_INSERT, T_INSERT_RETURNING, T_LITERAL,
	};

	return t[rng_below(&p->r, COUNT(t))];
}

static enum tmpl some_tmpl(struct program *p, unsigned errors)
{
	static const enum tmpl wrong[] = { T_DIVIDE, T_DIVIDE, T_NOTHING, T_SYNTAX };
	static const enum tmpl other[] = { T_LITERAL, T_SERIES, T_REPEAT, T_SHOW, T_EMPTY };

	if (rng_chance(&p->r, errors))
		return wrong[rng_below(&p->r, COUNT(wrong))];
	if (rng_chance(&p->r, 20))
		return other[rng_below(&p->r, COUNT(other))];
	return data_tmpl(p);
}

/* Parse under a name, behind a Close if something may be there. */
static void prepare(struct program *p, unsigned slot, enum tmpl t)
{
	struct stmt *s = &p->stmts[slot];

	if (s->known != GONE)
		put_close(p, 'S', names[slot]);
	put_parse_tmpl(p, names[slot], t);
	*s = (struct stmt){ THERE, t, p->unit };
}

static void close_stmt(struct program *p, unsigned slot)
{
	put_close(p, 'S', names[slot]);
	p->stmts[slot].known = GONE;
}

/* Bind, perhaps Describe, Execute. */
static void run(struct program *p, const char *name, enum tmpl t, bool describe)
{
	put_bind_tmpl(p, "", name, t);
	if (describe)
		put_describe(p, 'P', "");
	put_execute(p, "", rng_chance(&p->r, 5) ? 1 : 0);
}

static void unnamed(struct program *p, enum tmpl t, bool describe)
{
	put_parse_tmpl(p, "", t);
	run(p, "", t, describe);
}

static void sync_ask(struct program *p)
{
	put_sync(p);
	step_ask(p, 0);
	step_think(p);
}

static bool block(struct program *p, const char *begin)
{
	if (rng_chance(&p->r, 50))
		return false;
	put_simple(p, begin);
	return true;
}

static void commit(struct program *p, bool in_block, const char *text)
{
	if (!in_block)
		return;
	put_simple(p, rng_chance(&p->r, 85) ? text : "ROLLBACK");
	step_ask(p, 0);
}

void make_libpq(struct program *p)
{
	bool in_block = block(p, "BEGIN");
	unsigned i, n = rng_between(&p->r, 1, 4);
	enum tmpl t;

	if (in_block)
		step_ask(p, 0);
	for (i = 0; i < n; i++) {
		t = some_tmpl(p, 6);
		if (rng_chance(&p->r, 60)) {
			unnamed(p, t, true);
			sync_ask(p);
			continue;
		}
		/* PQprepare, PQdescribePrepared, PQexecPrepared */
		prepare(p, 0, t);
		sync_ask(p);
		if (rng_chance(&p->r, 30)) {
			put_describe(p, 'S', names[0]);
			sync_ask(p);
		}
		run(p, names[0], t, true);
		sync_ask(p);
	}
	commit(p, in_block, "COMMIT");
}

/* ---- pgjdbc ---- */

static void jdbc_control(struct program *p, enum tmpl t)
{
	put_parse(p, "", t == T_BEGIN ? "BEGIN" : t == T_COMMIT ? "COMMIT" : "ROLLBACK");
	put_bind_tmpl(p, "", "", t);
	put_execute(p, "", 1);
}

/* A fetch size: the portal is asked for some rows at a time. */
static void jdbc_fetch(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 4);
	enum tmpl t = rng_chance(&p->r, 60) ? T_SERIES : T_READ_3;

	put_parse_tmpl(p, "", t);
	put_bind_tmpl(p, "C_1", "", t);
	put_describe(p, 'P', "C_1");
	put_execute(p, "C_1", 2);
	sync_ask(p);
	for (i = 0; i < n; i++) {
		put_execute(p, "C_1", 2);
		sync_ask(p);
	}
	if (rng_chance(&p->r, 70)) {
		put_close(p, 'P', "C_1");
		if (rng_chance(&p->r, 50))
			sync_ask(p);
	}
}

void make_pgjdbc(struct program *p)
{
	bool in_block = rng_chance(&p->r, 60), fetch = in_block && rng_chance(&p->r, 20);
	unsigned i, n = rng_between(&p->r, 1, 5);
	enum tmpl t;

	if (in_block)
		jdbc_control(p, T_BEGIN);
	if (fetch)
		jdbc_fetch(p);
	for (i = 0; i < n; i++) {
		if (rng_chance(&p->r, 40)) {
			if (p->stmts[1].known != THERE)
				prepare(p, 1, some_tmpl(p, 3));
			run(p, names[1], p->stmts[1].tmpl, rng_chance(&p->r, 70));
		} else {
			t = some_tmpl(p, 6);
			unnamed(p, t, true);
		}
		/* a batch of several now and then */
		if (i + 1 == n || rng_chance(&p->r, 70))
			sync_ask(p);
	}
	if (in_block) {
		jdbc_control(p, rng_chance(&p->r, 85) ? T_COMMIT : T_ROLLBACK);
		sync_ask(p);
	}
	if (rng_chance(&p->r, 15) && p->stmts[1].known == THERE)
		close_stmt(p, 1);        /* with whatever comes next */
	put_sync(p);
	step_ask(p, 0);
}

/* ---- asyncpg ---- */

static void asyncpg_cursor(struct program *p)
{
	put_bind_tmpl(p, "__asyncpg_portal_1__", names[2], p->stmts[2].tmpl);
	put_execute(p, "__asyncpg_portal_1__", 2);
	sync_ask(p);
	put_execute(p, "__asyncpg_portal_1__", 3);
	sync_ask(p);
	put_close(p, 'P', "__asyncpg_portal_1__");
	sync_ask(p);
}

void make_asyncpg(struct program *p)
{
	bool in_block = block(p, "BEGIN;");
	unsigned i, j, n = rng_between(&p->r, 1, 4), m;

	if (in_block)
		step_ask(p, 0);
	for (i = 0; i < n; i++) {
		if (p->stmts[2].known != THERE || rng_chance(&p->r, 40)) {
			prepare(p, 2, some_tmpl(p, 5));
			put_describe(p, 'S', names[2]);
			sync_ask(p);
		}
		if (in_block && rng_chance(&p->r, 20)) {
			asyncpg_cursor(p);
			continue;
		}
		m = rng_chance(&p->r, 20) ? 4 : 1;      /* executemany */
		for (j = 0; j < m; j++)
			run(p, names[2], p->stmts[2].tmpl, false);
		sync_ask(p);
	}
	commit(p, in_block, "COMMIT;");
	if (rng_chance(&p->r, 15))
		add_clean(p);
}

/* ---- pgx ---- */

void make_pgx(struct program *p)
{
	bool in_block = block(p, "begin");
	unsigned i, n = rng_between(&p->r, 1, 5);
	bool batch = rng_chance(&p->r, 40);
	enum tmpl t;

	if (in_block)
		step_ask(p, 0);
	if (p->stmts[3].known != THERE || rng_chance(&p->r, 25)) {
		prepare(p, 3, data_tmpl(p));
		put_describe(p, 'S', names[3]);
		sync_ask(p);
	}
	for (i = 0; i < n; i++) {
		if (rng_chance(&p->r, 70)) {
			run(p, names[3], p->stmts[3].tmpl, true);
		} else {                 /* the cache of descriptions only */
			t = some_tmpl(p, 5);
			put_parse_tmpl(p, "", t);
			put_describe(p, 'S', "");
			if (!batch)
				sync_ask(p);
			run(p, "", t, true);
		}
		if (!batch)
			sync_ask(p);
	}
	if (batch)
		sync_ask(p);
	commit(p, in_block, "commit");
	if (rng_chance(&p->r, 10)) {
		close_stmt(p, 3);
		sync_ask(p);
	}
}

/* ---- npgsql ---- */

void make_npgsql(struct program *p)
{
	bool clean = rng_chance(&p->r, 10), in_block;
	unsigned i, n = rng_between(&p->r, 1, 4);

	if (clean) {                     /* what the last owner left, in the same write */
		put_simple(p, "DISCARD ALL");
		for (i = 0; i < STMTS; i++)
			p->stmts[i].known = UNSURE;
	}
	in_block = block(p, "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED");
	for (i = 0; i < n; i++) {
		if (rng_chance(&p->r, 30)) {
			if (p->stmts[4].known != THERE) {
				prepare(p, 4, some_tmpl(p, 4));
				put_describe(p, 'S', names[4]);
				sync_ask(p);
			}
			run(p, names[4], p->stmts[4].tmpl, false);
		} else {
			unnamed(p, some_tmpl(p, 6), true);
		}
		if (rng_chance(&p->r, 60)) {
			put_sync(p);     /* an error barrier, not waited for */
			if (rng_chance(&p->r, 60))
				step_ask(p, 0);
		}
	}
	sync_ask(p);
	commit(p, in_block, "COMMIT");
}

/* ---- named statements and portals ---- */

void make_named(struct program *p)
{
	unsigned slot = rng_below(&p->r, STMTS), i, n = rng_between(&p->r, 1, 6);
	struct stmt *s = &p->stmts[slot];
	bool in_block = block(p, "BEGIN");

	if (in_block)
		step_ask(p, 0);
	if (s->known != THERE || rng_chance(&p->r, 20)) {
		if (s->known == THERE && rng_chance(&p->r, 25))
			put_parse_tmpl(p, names[slot], data_tmpl(p));     /* 42P05 */
		else
			prepare(p, slot, some_tmpl(p, 5));
		if (rng_chance(&p->r, 60))
			put_describe(p, 'S', names[slot]);
		if (rng_chance(&p->r, 60))
			sync_ask(p);
	}
	for (i = 0; i < n; i++) {
		if (rng_chance(&p->r, 3))
			run(p, "nobody", T_READ, false);
		run(p, names[slot], s->tmpl, rng_chance(&p->r, 50));
		if (rng_chance(&p->r, 80))
			sync_ask(p);
	}
	put_sync(p);
	step_ask(p, 0);
	switch (rng_below(&p->r, 8)) {
	case 0:
		close_stmt(p, slot);
		if (rng_chance(&p->r, 70))
			prepare(p, slot, data_tmpl(p));
		sync_ask(p);
		break;
	case 1:
		if (slot == 0)
			put_simple(p, "DEALLOCATE s1");
		else
			put_simple(p, slot == 4 ? "DEALLOCATE PREPARE _p1" : "DEALLOCATE ALL");
		for (i = 0; i < STMTS; i++)
			p->stmts[i].known = i == slot ? GONE : UNSURE;
		if (rng_chance(&p->r, 40))     /* at once, behind it */
			prepare(p, slot, data_tmpl(p));
		sync_ask(p);
		break;
	default:
		break;
	}
	commit(p, in_block, "COMMIT");
}

void make_portal(struct program *p)
{
	bool in_block = rng_chance(&p->r, 60);
	const char *name = rng_chance(&p->r, 60) ? "p1" : "";
	unsigned i, n = rng_between(&p->r, 1, 4);
	enum tmpl t = rng_chance(&p->r, 60) ? T_SERIES : data_tmpl(p);

	if (in_block) {
		put_all(p, "BEGIN");
		if (rng_chance(&p->r, 50))
			sync_ask(p);
	}
	put_parse_tmpl(p, "", t);
	put_bind_tmpl(p, name, "", t);
	if (rng_chance(&p->r, 50))
		put_describe(p, 'P', name);
	for (i = 0; i < n; i++) {
		put_execute(p, name, rng_between(&p->r, 1, 3));
		/* without a block the portal ends at the Sync: sometimes so */
		if (rng_chance(&p->r, in_block && name[0] ? 50 : 3))
			sync_ask(p);
	}
	if (rng_chance(&p->r, 40))
		put_execute(p, name, 0);
	if (rng_chance(&p->r, 30))
		put_close(p, 'P', name);
	sync_ask(p);
	if (in_block) {
		put_all(p, "COMMIT");
		sync_ask(p);
	}
}

/* ---- batches and pipelines ---- */

/* Something between two Syncs. */
static void piece(struct program *p, unsigned errors)
{
	unsigned slot = rng_below(&p->r, STMTS);
	struct stmt *s = &p->stmts[slot];

	switch (rng_below(&p->r, 8)) {
	case 0:
		if (s->known != THERE)
			prepare(p, slot, some_tmpl(p, errors));
		run(p, names[slot], s->tmpl, rng_chance(&p->r, 50));
		return;
	case 1:
		put_parse_tmpl(p, "", T_SERIES);
		put_bind_tmpl(p, "", "", T_SERIES);
		put_execute(p, "", 3);
		put_execute(p, "", 3);
		return;
	case 2:
		if (rng_chance(&p->r, 70))
			break;
		close_stmt(p, slot);
		return;
	default:
		break;
	}
	unnamed(p, some_tmpl(p, errors), rng_chance(&p->r, 60));
}

void make_batch(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 2, 6), errors = rng_chance(&p->r, 30) ? 25 : 0;
	bool in_block = rng_chance(&p->r, 30);

	if (in_block)
		put_all(p, "BEGIN");
	for (i = 0; i < n; i++)
		piece(p, errors);
	if (in_block)
		put_all(p, rng_chance(&p->r, 80) ? "COMMIT" : "ROLLBACK");
	if (rng_chance(&p->r, 10))
		piece(p, 0);
	put_sync(p);
	step_ask(p, 0);
}

static void flushed(struct program *p)
{
	wire_put_msg(&p->w, 'H');
	step_send(p, 0);
	if (rng_chance(&p->r, 70))
		step_pause(p, rng_between(&p->r, 200, 20000));
}

void make_flush(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 3);
	bool in_block = rng_chance(&p->r, 40);
	enum tmpl t;

	if (in_block) {
		put_all(p, "BEGIN");
		flushed(p);
	}
	for (i = 0; i < n; i++) {
		t = some_tmpl(p, 8);
		put_parse_tmpl(p, "", t);
		if (rng_chance(&p->r, 50))
			put_describe(p, 'S', "");
		if (rng_chance(&p->r, 50))
			flushed(p);
		put_bind_tmpl(p, "", "", t);
		if (rng_chance(&p->r, 30))
			flushed(p);
		put_execute(p, "", 0);
		if (rng_chance(&p->r, 60))
			flushed(p);
	}
	if (in_block)
		put_all(p, "COMMIT");
	tail_begin(p, true);
}

void make_units(struct program *p)
{
	unsigned i, j, n = rng_between(&p->r, 2, 9), errors = rng_chance(&p->r, 40) ? 15 : 0;
	bool in_block = rng_chance(&p->r, 40), open = false;

	for (i = 0; i < n; i++) {
		if (in_block && i == 0) {
			put_all(p, "BEGIN");
			open = !rng_chance(&p->r, 50);
			if (!open)
				put_sync(p);
		}
		if (rng_chance(&p->r, 12)) {
			text_begin(p);
			add_any(p, errors);
			put_query(p);
			continue;
		}
		for (j = rng_between(&p->r, 1, 2); j; j--)
			piece(p, errors);
		if (in_block && i + 1 == n)
			put_all(p, rng_chance(&p->r, 80) ? "COMMIT" : "ROLLBACK");
		put_sync(p);
		open = false;
		if (rng_chance(&p->r, 8))
			put_sync(p);
		if (rng_chance(&p->r, 10))
			step_send(p, 0);
	}
	if (open)
		put_sync(p); /* should BEGIN fail, all is skipped up to here */
	step_ask(p, 0);
}

/* ---- transactions that have to be replayed ---- */

/* Much to tell, and something to fail behind it. */
static void much(struct program *p)
{
	enum tmpl t = rng_chance(&p->r, 60) ? T_READ_3 : T_REPEAT;

	unnamed(p, t, rng_chance(&p->r, 50));
	if (rng_chance(&p->r, 60))
		flushed(p);
	if (rng_chance(&p->r, 40)) {
		text_begin(p);
		say_text(p, "SELECT repeat('%s ', %u)", mark(p), rng_between(&p->r, 100, 1500));
		put_all(p, p->t.s);
	}
	unnamed(p, data_tmpl(p), false);
}

static void savepoint(struct program *p)
{
	put_all(p, "SAVEPOINT a");
	sync_ask(p);
	unnamed(p, data_tmpl(p), false);
	sync_ask(p);
	if (rng_chance(&p->r, 30)) {
		put_all(p, "ROLLBACK TO a");
		sync_ask(p);
	}
	if (rng_chance(&p->r, 70)) {
		put_all(p, "RELEASE a");
		sync_ask(p);
	}
}

/* Under a name that was given before, or now, and is perhaps gone behind it. */
static void named(struct program *p, unsigned slot)
{
	if (p->stmts[slot].known != THERE)
		prepare(p, slot, data_tmpl(p));
	run(p, names[slot], p->stmts[slot].tmpl, rng_chance(&p->r, 50));
	sync_ask(p);
	if (rng_chance(&p->r, 40)) {
		close_stmt(p, slot);
		sync_ask(p);
	}
}

static void long_begin(struct program *p, bool *before, enum tmpl t)
{
	if (*before) {                   /* a statement from before stays the unnamed one */
		prepare(p, 5, T_BEGIN);
		prepare(p, 2, T_COMMIT);
		if (p->stmts[3].known != THERE)
			prepare(p, 3, data_tmpl(p));
		put_parse_tmpl(p, "", t);
		sync_ask(p);
		run(p, names[5], T_BEGIN, false);
	} else {
		put_all(p, "BEGIN");
	}
	if (rng_chance(&p->r, 15)) {
		much(p);
		*before = false;
	}
	sync_ask(p);
}

void make_long(struct program *p)
{
	bool before = rng_chance(&p->r, 40), end = rng_chance(&p->r, 60);
	unsigned i, n = rng_between(&p->r, 2, 6);
	enum tmpl t = data_tmpl(p);

	long_begin(p, &before, t);
	for (i = 0; i < n; i++) {
		switch (rng_below(&p->r, before ? 6 : 8)) {
		case 0:
		case 1:
		case 2:
			if (!before)
				put_parse_tmpl(p, "", t);
			run(p, "", t, rng_chance(&p->r, 50));
			sync_ask(p);
			break;
		case 3:
		case 4:
		case 5:
			named(p, rng_between(&p->r, 3, 4));
			break;
		case 6:
			savepoint(p);
			break;
		default:
			much(p);
			sync_ask(p);
		}
		if (rng_chance(&p->r, 30))
			step_pause(p, rng_between(&p->r, 100, 20000));
	}
	if (end && rng_chance(&p->r, 50))
		much(p);
	else if (end)
		unnamed(p, T_APPEND, false);
	if (before && !end) {            /* and is there behind it */
		run(p, names[2], T_COMMIT, false);
		put_sync(p);
		step_ask(p, TAIL);
		run(p, "", t, false);
		put_sync(p);
		step_ask(p, TAIL);
	} else {
		put_all(p, rng_chance(&p->r, 90) ? "COMMIT" : "ROLLBACK");
	}
	tail_begin(p, true);
}
