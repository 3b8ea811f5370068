/* tests/sim/program_state.c - work that leaves something in a session: settings,
 * LISTEN, temporary tables, held cursors, locks, SQL PREPARE; and cancels.
 *
 * Names are the same in all sessions, so that what one finds of another's is seen.
 *
 * SPDX-License-Identifier: ISC
 */
#include "program_in.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The text as it stands, in either protocol; waits. */
static void ask(struct program *p)
{
	if (rng_chance(&p->r, 25)) {
		put_all(p, p->t.s);
		put_sync(p);
	} else {
		put_query(p);
	}
	step_ask(p, 0);
	step_think(p);
}

static void say(struct program *p, const char *sql)
{
	text_begin(p);
	say_text(p, "%s", sql);
	ask(p);
}

static void say_any(struct program *p, unsigned errors)
{
	text_begin(p);
	add_any(p, errors);
	ask(p);
}

/* Leaves the block that it is in. */
static void leave(struct program *p, unsigned commits)
{
	say(p, rng_chance(&p->r, commits) ? "COMMIT" : "ROLLBACK");
}

void add_clean(struct program *p)
{
	unsigned i, how = rng_below(&p->r, 3);

	if (how == 0 && p->c.dialect == DIALECT_PG) {          /* asyncpg's */
		put_simple(p, "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;");
	} else {
		put_simple(p, "DISCARD ALL");
		for (i = 0; i < STMTS; i++)
			p->stmts[i].known = UNSURE;
	}
	step_ask(p, 0);
	p->residue = false;
	if (p->tail)                     /* it will be sent for certain */
		p->holds = false;
}

void make_clean(struct program *p)
{
	if (p->c.dialect == DIALECT_PG && rng_chance(&p->r, 30)) {
		static const char *const little[] = {
			"DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES", "CLOSE ALL", "UNLISTEN *",
			"DEALLOCATE ALL", "RESET ALL",
		};
		unsigned i, n = rng_below(&p->r, COUNT(little));

		say(p, little[n]);
		for (i = 0; n == 5 && i < STMTS; i++)
			p->stmts[i].known = UNSURE;
		return;
	}
	tail_begin(p, false);
	add_clean(p);
}

/* ---- settings ---- */

static void add_set(struct program *p, const char *scope, const char *name, const char *value)
{
	/* what it asked for at its start comes back by RESET, not by DEFAULT
	 * (docs/session-state.md) */
	switch (rng_below(&p->r, 10)) {
	case 0:
		if (p->wishes)
			say_text(p, "SET %s%s TO '%s'", scope, name, value);
		else
			say_text(p, "SET %s%s TO DEFAULT", scope, name);
		return;
	case 1:
		say_text(p, "SET %sTIME ZONE 'Asia/Tokyo'", scope);
		return;
	case 2:
		say_text(p, "SET %s%s TO '%s'", scope, name, value);
		return;
	default:
		say_text(p, "SET %s%s = '%s'", scope, name, value);
	}
}

static void add_reset(struct program *p, const char *name)
{
	if (rng_chance(&p->r, 30))
		say_text(p, "RESET ALL");
	else
		say_text(p, "RESET %s", name);
}

static void add_show(struct program *p, const char *name)
{
	if (rng_chance(&p->r, 50))
		say_text(p, "SHOW %s", name);
	else
		say_text(p, "SELECT %scurrent_setting('%s'%s)",
			 rng_chance(&p->r, 50) ? "pg_catalog." : "", name,
			 rng_chance(&p->r, 50) ? ", true" : "");
}

static void set_or_reset(struct program *p, const char *name, const char *value)
{
	bool reset = false;

	text_begin(p);
	if (rng_chance(&p->r, 6))
		say_text(p, "%s", rng_chance(&p->r, 50) ? "SET work_mem = 'lots'"
							: "SET no_such_setting = 1");
	else if ((reset = rng_chance(&p->r, 20)))
		add_reset(p, name);
	else
		add_set(p, rng_chance(&p->r, 15) ? "SESSION " : "", name, value);
	/* in one Query; behind a RESET of a wish it would be the server's own value */
	if (rng_chance(&p->r, 20) && !(reset && p->wishes)) {
		say_text(p, "; ");
		add_show(p, name);
		put_query(p);
		step_ask(p, 0);
		return;
	}
	ask(p);
}

static void show(struct program *p, const char *name)
{
	text_begin(p);
	add_show(p, name);
	ask(p);
}

void make_set(struct program *p)
{
	const char *value, *name = some_setting(p, &value);
	unsigned i, n = rng_between(&p->r, 1, 3);

	p->residue = true;
	for (i = 0; i < n; i++) {
		set_or_reset(p, name, value);
		if (rng_chance(&p->r, 30))
			say_any(p, 5);
		if (rng_chance(&p->r, 60))
			show(p, name);
		if (rng_chance(&p->r, 40))
			name = some_setting(p, &value);
	}
	show(p, name);
}

void make_set_block(struct program *p)
{
	const char *value, *name = some_setting(p, &value);
	bool savepoint = rng_chance(&p->r, 40);

	p->residue = true;
	say(p, "BEGIN");
	if (rng_chance(&p->r, 30))
		say_any(p, 0);
	text_begin(p);
	add_set(p, rng_chance(&p->r, 50) ? "LOCAL " : "", name, value);
	ask(p);
	if (savepoint) {
		say(p, "SAVEPOINT a");
		set_or_reset(p, name, mark(p));
		if (rng_chance(&p->r, 70)) {
			put_simple(p, "ROLLBACK TO a");
			step_ask(p, TAIL);
		}
		show(p, name);
	}
	show(p, name);
	if (rng_chance(&p->r, 10))
		say_any(p, 80);
	leave(p, 70);
	show(p, name);
}

void make_set_config(struct program *p)
{
	const char *value, *name = some_setting(p, &value);
	bool block = rng_chance(&p->r, 40), local = rng_chance(&p->r, 40);

	p->residue = true;
	if (block)
		say(p, "BEGIN");
	text_begin(p);
	say_text(p, "SELECT %sset_config('%s', '%s', %s)",
		 rng_chance(&p->r, 50) ? "pg_catalog." : "", name, value, local ? "true" : "false");
	if (rng_chance(&p->r, 25))
		say_text(p, ", set_config('app.more', '%s', false)", mark(p));
	ask(p);
	show(p, name);
	if (block)
		leave(p, 60);
	show(p, name);
}

void make_role(struct program *p)
{
	bool whole = rng_chance(&p->r, 30);

	p->residue = true;
	text_begin(p);
	if (whole)
		say_text(p, "SET SESSION AUTHORIZATION app");
	else
		say_text(p, "SET ROLE %s", rng_chance(&p->r, 70) ? "app" : "NONE");
	ask(p);
	say_any(p, 0);
	if (rng_chance(&p->r, 80))
		say(p, whole ? "RESET SESSION AUTHORIZATION" : "RESET ROLE");
	else if (whole)
		say(p, "SET SESSION AUTHORIZATION DEFAULT");
}

/* ---- LISTEN, NOTIFY ---- */

static unsigned channel(struct program *p)
{
	return rng_below(&p->r, p->c.clients / 2 + 1);
}

void make_listen(struct program *p)
{
	unsigned c = channel(p);
	bool block = rng_chance(&p->r, 30);

	p->residue = true;
	if (block)
		say(p, "BEGIN");
	text_begin(p);
	say_text(p, "LISTEN ch%u", c);
	if (rng_chance(&p->r, 20))
		say_text(p, "; NOTIFY ch%u, '%s'", c, mark(p));
	ask(p);
	if (block)
		leave(p, 70);
	if (rng_chance(&p->r, 50)) {
		text_begin(p);
		say_text(p, "NOTIFY ch%u, '%s'", c, mark(p));
		ask(p);
	}
	step_pause(p, rng_between(&p->r, 1000, 100000));
	say_any(p, 5);
	if (rng_chance(&p->r, 60)) {
		text_begin(p);
		if (rng_chance(&p->r, 50))
			say_text(p, "UNLISTEN *");
		else
			say_text(p, "UNLISTEN ch%u", c);
		ask(p);
	}
}

void make_notify(struct program *p)
{
	bool block = rng_chance(&p->r, 40);
	unsigned i, n = rng_between(&p->r, 1, 3);

	if (block)
		say(p, "BEGIN");
	for (i = 0; i < n; i++) {
		text_begin(p);
		if (rng_chance(&p->r, 10))
			say_text(p, "NOTIFY ch%u", channel(p));
		else
			say_text(p, "NOTIFY ch%u, '%s'", channel(p), mark(p));
		ask(p);
		if (rng_chance(&p->r, 30))
			say_any(p, 10);
	}
	if (block)
		leave(p, 70);
}

/* ---- temporary tables, cursors ---- */

void make_temp(struct program *p)
{
	bool block = rng_chance(&p->r, 40), drop = block && rng_chance(&p->r, 50);

	p->residue = true;
	if (rng_chance(&p->r, 25)) {     /* is it another's? */
		say(p, "SELECT count(*) FROM tt");
		if (rng_chance(&p->r, 50))
			return;
		p->careful = false;
	}
	if (block)
		say(p, "BEGIN");
	text_begin(p);
	say_text(p, "CREATE TEMP TABLE tt (a int, b text)%s", drop ? " ON COMMIT DROP" : "");
	ask(p);
	say(p, "SELECT count(*) FROM tt");
	if (block)
		leave(p, 70);
	say_any(p, 5);
	say(p, "SELECT count(*) FROM tt");
	if (rng_chance(&p->r, 70))
		say(p, rng_chance(&p->r, 70) ? "DROP TABLE IF EXISTS tt" : "DROP TABLE tt");
}

void make_hold(struct program *p)
{
	bool block = rng_chance(&p->r, 60), hold = !block || rng_chance(&p->r, 60);
	unsigned i, n = rng_between(&p->r, 1, 3);

	p->residue = true;
	if (block)
		say(p, "BEGIN");
	text_begin(p);
	say_text(p, "DECLARE c CURSOR%s FOR SELECT g FROM generate_series(1, %u) g",
		 hold ? " WITH HOLD" : "", rng_between(&p->r, 1, 9));
	ask(p);
	for (i = 0; i < n; i++) {
		text_begin(p);
		say_text(p, "FETCH %u FROM c", rng_between(&p->r, 1, 4));
		ask(p);
		if (block && i == 0) {
			leave(p, 80);
			block = false;
		}
	}
	if (rng_chance(&p->r, 75))
		say(p, rng_chance(&p->r, 70) ? "CLOSE c" : "CLOSE ALL");
}

/* ---- locks ---- */

/* Waits for a lock: not in a block, not with another lock, and what it does while it
 * has the lock is done by and by. */
void make_lock(struct program *p)
{
	unsigned number = rng_between(&p->r, 1, LOCKS), n;

	p->careful = true;
	if (p->holds) {
		put_simple(p, "SELECT pg_advisory_unlock_all()");
		step_ask(p, 0);
		p->holds = false;
	}
	text_begin(p);
	say_text(p, "SELECT pg_advisory_lock(%u)", number);
	ask(p);
	if (rng_chance(&p->r, 15)) {     /* once more, it has it */
		text_begin(p);
		say_text(p, "SELECT pg_advisory_lock(%u)", number);
		ask(p);
	}
	for (n = rng_below(&p->r, 3); n; n--)
		say_any(p, 5);
	if (rng_chance(&p->r, 20))
		step_pause(p, rng_between(&p->r, 1000, 100000));
	if (rng_chance(&p->r, 50)) {
		text_begin(p);
		say_text(p, "SELECT pg_advisory_unlock(%u)", number);
		ask(p);
	}
	tail_begin(p, false);
	put_simple(p, "SELECT pg_advisory_unlock_all()");
	step_ask(p, 0);
}

void make_try_lock(struct program *p)
{
	unsigned number = rng_between(&p->r, 1, LOCKS);

	p->holds = p->residue = true;
	text_begin(p);
	say_text(p, "SELECT pg_try_advisory_lock(%u)", number);
	ask(p);
	say_any(p, 5);
	if (rng_chance(&p->r, 40)) {
		text_begin(p);
		say_text(p, "SELECT pg_advisory_unlock(%u)", number);
		ask(p);
	}
	if (rng_chance(&p->r, 60)) {
		tail_begin(p, false);
		put_simple(p, "SELECT pg_advisory_unlock_all()");
		step_ask(p, 0);
		p->holds = false;
	}
}

/* ---- SQL PREPARE ---- */

static void execute(struct program *p, const char *name, unsigned how)
{
	text_begin(p);
	if (how == 0)
		say_text(p, "EXECUTE %s (%u)", name, some_key(p));
	else if (how == 1)
		say_text(p, "EXECUTE %s ('%s', %u)", name, mark(p), some_key(p));
	else
		say_text(p, "EXECUTE %s", name);
	ask(p);
}

void make_prepare(struct program *p)
{
	static const char *const texts[] = {
		" AS SELECT v FROM kv WHERE k = $1",
		" (text, int) AS UPDATE kv SET v = v || $1 WHERE k = $2",
		" AS SELECT 1",
	};
	const char *name = rng_chance(&p->r, 70) ? "q1" : "q2";
	unsigned how = rng_below(&p->r, COUNT(texts)), i, n = rng_between(&p->r, 1, 4);
	bool block = rng_chance(&p->r, 30);

	p->residue = true;
	if (rng_chance(&p->r, 10)) {     /* is it another's? */
		p->careful = false;
		execute(p, name, 2);
	}
	if (block)
		say(p, "BEGIN");
	if (!block && rng_chance(&p->r, 60)) {     /* its own of before, or nothing */
		text_begin(p);
		say_text(p, "DEALLOCATE %s", name);
		p->careful = false;
		ask(p);
	}
	text_begin(p);
	if (how == 2)
		say_text(p, "PREPARE %s AS SELECT '%s'", name, mark(p));
	else
		say_text(p, "PREPARE %s%s", name, texts[how]);
	ask(p);
	for (i = 0; i < n; i++) {
		execute(p, name, how);
		if (rng_chance(&p->r, 20))
			say_any(p, 5);
	}
	if (block)
		leave(p, 80);
	if (rng_chance(&p->r, 70)) {
		text_begin(p);
		say_text(p, "DEALLOCATE %s%s", rng_chance(&p->r, 30) ? "PREPARE " : "", name);
		ask(p);
	} else if (rng_chance(&p->r, 40)) {
		execute(p, name, how);
	}
}

/* ---- sleeps and cancels ---- */

void make_sleep(struct program *p)
{
	text_begin(p);
	say_text(p, "SELECT pg_sleep(0.%02u)", rng_between(&p->r, 1, 40));
	ask(p);
}

void make_cancel(struct program *p)
{
	bool block = rng_chance(&p->r, 40), savepoint = block && rng_chance(&p->r, 40);
	unsigned i, n = rng_between(&p->r, 1, 2);

	p->careful = false;
	if (block)
		say(p, "BEGIN");
	if (savepoint)
		say(p, "SAVEPOINT s");
	for (i = 0; i < n; i++) {
		text_begin(p);
		if (rng_chance(&p->r, 20))
			say_text(p, "SELECT 1; ");
		say_text(p, "SELECT pg_sleep(%u)", rng_between(&p->r, 1, 2));
		if (rng_chance(&p->r, 30)) {
			text_begin(p);
			say_text(p, "SELECT pg_sleep(1)");
			put_all(p, p->t.s);
			put_all(p, "SELECT 2");
			put_sync(p);
		} else {
			put_query(p);
		}
		if (rng_chance(&p->r, 20))
			put_simple(p, "SELECT 3");
		step_send(p, 0);
		step_pause(p, rng_between(&p->r, 1000, 300000));
		step_move(p, MOVE_CANCEL);
		step_wait(p, 0);
	}
	if (savepoint) {
		say(p, "ROLLBACK TO s");
		say_any(p, 0);
	}
	if (block)
		leave(p, 70);
}
