/* tests/sim/program_plain.c - work in the simple protocol: statements, blocks, COPY.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <string.h>

#include "program_in.h"
#include "store.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One statement, in the simple or (percent) the extended protocol. */
static void say(struct program *p, unsigned extended)
{
	if (rng_chance(&p->r, extended)) {
		put_all(p, p->t.s);
		put_sync(p);
	} else {
		put_query(p);
	}
}

static void ask_any(struct program *p, unsigned errors)
{
	text_begin(p);
	add_any(p, errors);
	say(p, 20);
	step_ask(p, 0);
	step_think(p);
}

static void ask(struct program *p, const char *sql)
{
	text_begin(p);
	say_text(p, "%s", sql);
	say(p, 10);
	step_ask(p, 0);
}

static void begin(struct program *p)
{
	text_begin(p);
	add_begin(p);
	if (rng_chance(&p->r, 15)) {
		say_text(p, "; ");
		add_any(p, 5);
		put_query(p);
	} else {
		say(p, 10);
	}
	step_ask(p, 0);
}

static void end(struct program *p)
{
	text_begin(p);
	if (rng_chance(&p->r, 15)) {
		add_append(p);
		say_text(p, "; ");
		add_end(p);
		put_query(p);
	} else {
		add_end(p);
		say(p, 10);
	}
	step_ask(p, 0);
}

void make_read(struct program *p)
{
	text_begin(p);
	if (rng_chance(&p->r, 75))
		add_read(p);
	else
		add_any(p, 15);
	put_query(p);
	step_ask(p, 0);
}

void make_append(struct program *p)
{
	text_begin(p);
	add_append(p);
	put_query(p);
	step_ask(p, 0);
}

/* ---- several statements in a Query ---- */

static void add_some(struct program *p, unsigned lo, unsigned hi, unsigned errors)
{
	unsigned i, n = rng_between(&p->r, lo, hi);

	for (i = 0; i < n; i++) {
		add_any(p, errors);
		say_text(p, "%s", rng_chance(&p->r, 10) ? ";; " : "; ");
	}
}

void make_multi(struct program *p)
{
	unsigned how = rng_below(&p->r, 8);

	text_begin(p);
	if (how == 1 || how == 2)
		say_text(p, "BEGIN; ");
	add_some(p, 2, 4, how == 0 ? 25 : 8);
	switch (how) {
	case 1:
		say_text(p, "COMMIT");
		break;
	case 2:
		say_text(p, "%s; ", rng_chance(&p->r, 50) ? "ROLLBACK" : "END");
		add_some(p, 1, 2, 20);
		break;
	case 3:                          /* the block stays open */
		say_text(p, "BEGIN; ");
		add_some(p, 1, 2, 5);
		put_query(p);
		step_ask(p, 0);
		step_think(p);
		text_begin(p);
		add_some(p, 0, 2, 5);
		say_text(p, "COMMIT; ");
		add_some(p, 0, 2, 10);
		break;
	case 4:
		say_text(p, "COMMIT; BEGIN; ");
		add_some(p, 1, 2, 10);
		say_text(p, "COMMIT");
		break;
	case 5:
		say_text(p, "BEGIN; SAVEPOINT s; ");
		add_some(p, 1, 2, 0);
		say_text(p, "ROLLBACK TO s; ");
		add_some(p, 1, 2, 0);
		say_text(p, "COMMIT");
		break;
	default:
		break;
	}
	put_query(p);
	step_ask(p, 0);
}

/* ---- blocks ---- */

void make_txn(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 5);

	begin(p);
	for (i = 0; i < n; i++)
		ask_any(p, 4);
	end(p);
}

/* Reads, thinks, and writes some of what was read: what serializability is about. */
void make_modify(struct program *p)
{
	unsigned a = some_key(p), b = some_key(p), c = some_key(p);
	unsigned how = rng_below(&p->r, 4);

	if (how == 0) {                  /* without a block */
		text_begin(p);
		say_text(p, "SELECT k, v FROM kv WHERE k IN (%u, %u); ", a, (a + 1) % KEYS);
		say_text(p, "UPDATE kv SET v = v || '%s' WHERE k = %u", mark(p), a);
		put_query(p);
		step_ask(p, 0);
		return;
	}
	begin(p);
	text_begin(p);
	say_text(p, "SELECT v FROM kv WHERE k = %u%s", a, how == 1 ? " FOR UPDATE" : "");
	say(p, 30);
	step_ask(p, 0);
	step_think(p);
	text_begin(p);
	say_text(p, "SELECT k, v FROM kv WHERE k IN (%u, %u)", b, (b + 1 + c) % KEYS);
	say(p, 30);
	step_ask(p, 0);
	step_think(p);
	text_begin(p);
	say_text(p, "UPDATE kv SET v = v || '%s' WHERE k = %u", mark(p), rng_chance(&p->r, 50) ? a : c);
	say(p, 30);
	step_ask(p, 0);
	if (rng_chance(&p->r, 40)) {
		text_begin(p);
		say_text(p, "UPDATE kv SET v = v || '%s' WHERE k = %u RETURNING v", mark(p), b);
		say(p, 30);
		step_ask(p, 0);
	}
	ask(p, rng_chance(&p->r, 90) ? "COMMIT" : "ROLLBACK");
}

void make_savepoint(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 3);

	p->careful = false;
	begin(p);
	if (rng_chance(&p->r, 50))
		ask_any(p, 0);
	for (i = 0; i < n; i++) {
		ask(p, i ? "SAVEPOINT b" : "SAVEPOINT a");
		ask_any(p, 40);
		if (rng_chance(&p->r, 30))
			ask_any(p, 10);
		put_simple(p, i ? "ROLLBACK TO SAVEPOINT b" : "ROLLBACK TO a");
		step_ask(p, rng_chance(&p->r, 60) ? IF_FAILED : 0);
		if (rng_chance(&p->r, 60))
			ask_any(p, 0);
		if (rng_chance(&p->r, 50))
			ask(p, i ? "RELEASE b" : "RELEASE SAVEPOINT a");
	}
	end(p);
}

void make_chain(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 3);

	begin(p);
	for (i = 0; i < n; i++) {
		ask_any(p, 5);
		ask(p, rng_chance(&p->r, 70) ? "COMMIT AND CHAIN" : "ROLLBACK AND CHAIN");
		ask_any(p, 5);
	}
	end(p);
}

/* What comes in a block that has failed. */
void make_failed(struct program *p)
{
	static const char *const more[] = {
		"SELECT 1", "", "SAVEPOINT a", "BEGIN", "SHOW work_mem", "SET work_mem = '9MB'",
		"DEALLOCATE ALL", "COPY kv TO STDOUT", "COPY kv FROM STDIN", "DISCARD ALL",
		"ROLLBACK TO nowhere", "RELEASE a", "SELECT 1; SELECT 2", "PREPARE s AS SELECT 1",
	};
	unsigned i, n = rng_between(&p->r, 0, 4);

	p->careful = false;
	begin(p);
	if (rng_chance(&p->r, 60))
		ask_any(p, 0);
	text_begin(p);
	add_error(p);
	say(p, 30);
	step_ask(p, 0);
	for (i = 0; i < n; i++)
		ask(p, more[rng_below(&p->r, COUNT(more))]);
	switch (rng_below(&p->r, 4)) {
	case 0:
		put_simple(p, "ROLLBACK; SELECT 1");
		step_ask(p, 0);
		break;
	case 1:
		ask(p, "ROLLBACK AND CHAIN");
		ask_any(p, 0);
		ask(p, "COMMIT");
		break;
	default:
		end(p);
	}
}

void make_empty(struct program *p)
{
	static const char *const empty[] = { "", ";", "  \n\t ", "-- nothing", "/* a /* b */ c */",
					     ";;", "; -- x" };
	unsigned i, n = rng_between(&p->r, 1, 3);

	for (i = 0; i < n; i++) {
		put_simple(p, empty[rng_below(&p->r, COUNT(empty))]);
		if (rng_chance(&p->r, 60))
			step_ask(p, 0);
	}
}

void make_large(struct program *p)
{
	unsigned how = rng_below(&p->r, 6), n;
	const char *m = mark(p);

	text_begin(p);
	if (how == 0) {
		say_text(p, "SELECT repeat('x', 40000), '%s'", m);
	} else if (how == 1) {
		say_text(p, "SELECT g FROM generate_series(1, %u) g", rng_between(&p->r, 1000, 3000));
	} else if (how == 2) {
		say_text(p, "SELECT repeat('%s ', %u)", m, rng_between(&p->r, 2000, 12000));
	} else {
		say_text(p, "SELECT '");
		for (n = rng_between(&p->r, 500, 9000); n && p->t.n < TEXT_MAX - 1000; n--)
			say_text(p, "%s ", m);
		say_text(p, "'");
		if (how == 3) {
			say_text(p, "; ");
			add_append(p);
		}
	}
	if (rng_chance(&p->r, 30)) {
		put_all(p, "SELECT 1");
		put_sync(p);
	}
	put_query(p);
	step_ask(p, 0);
}

/* ---- COPY ---- */

/* The rows, in CopyData messages cut anywhere; each a step of its own or not. flags of
 * the steps. */
static void rows(struct program *p, unsigned n, bool wrong, unsigned flags)
{
	bool cut = rng_chance(&p->r, 20), steps = rng_chance(&p->r, 40);
	unsigned i, bad = wrong ? rng_below(&p->r, n) : n;
	char row[64];
	size_t m, at;

	for (i = 0; i < n; i++) {
		if (i == bad)
			snprintf(row, sizeof(row), "x\t%s\n", mark(p));
		else
			snprintf(row, sizeof(row), "%u\t%s\n", some_key(p), mark(p));
		m = strlen(row);
		at = cut ? rng_below(&p->r, (unsigned)m) : 0;
		if (cut)
			put_copy_data(p, row, at);
		if (steps)
			step_send(p, flags);
		put_copy_data(p, row + at, m - at);
	}
	if (rng_chance(&p->r, 10))
		put_copy_data(p, "", 0);
}

static void copy_end(struct program *p)
{
	char row[64];

	p->ends_copy = true;
	if (rng_chance(&p->r, 15))
		wire_put_msg_str(&p->w, 'f', "changed my mind");
	else
		wire_put_msg(&p->w, 'c');
	if (rng_chance(&p->r, 8)) {       /* behind the end it is ignored */
		snprintf(row, sizeof(row), "1\t%s\n", mark(p));
		put_copy_data(p, row, strlen(row));
	}
}

static const char *copy_text(struct program *p)
{
	text_begin(p);
	if (rng_chance(&p->r, 20)) {
		add_any(p, 5);
		say_text(p, "; ");
	}
	say_text(p, rng_chance(&p->r, 4) ? "COPY nothing FROM STDIN" : "COPY kv FROM STDIN");
	if (rng_chance(&p->r, 20)) {
		say_text(p, "; ");
		add_any(p, 20);
	}
	return p->t.s;
}

void make_copy_in(struct program *p)
{
	bool block = rng_chance(&p->r, 30), blind = rng_chance(&p->r, 25);
	unsigned flags = blind ? 0 : IF_COPY;

	if (block)
		begin(p);
	put_simple(p, copy_text(p));
	if (!blind)
		step_ask(p, 0);
	if (!blind && rng_chance(&p->r, 10)) {
		wire_put_msg(&p->w, 'H');
		put_sync(p);             /* counts for nothing in a COPY */
	}
	rows(p, rng_between(&p->r, 1, 6), rng_chance(&p->r, 10), flags);
	if (rng_chance(&p->r, 10)) {
		step_send(p, flags);
		step_think(p);
	}
	copy_end(p);
	step_send(p, flags);
	step_wait(p, 0);
	if (block) {
		ask_any(p, 5);
		end(p);
	}
}

void make_copy_out(struct program *p)
{
	text_begin(p);
	if (rng_chance(&p->r, 30)) {
		add_any(p, 5);
		say_text(p, "; ");
	}
	say_text(p, "COPY kv TO STDOUT");
	if (rng_chance(&p->r, 30)) {
		say_text(p, "; ");
		add_any(p, 20);
		put_query(p);
	} else {
		say(p, 50);
	}
	step_ask(p, 0);
}

void make_copy_ext(struct program *p)
{
	unsigned how = rng_below(&p->r, 3);

	p->copy_ext = true;
	put_all(p, rng_chance(&p->r, 4) ? "COPY nothing FROM STDIN" : "COPY kv FROM STDIN");
	if (how == 0) {                  /* libpq: its first Sync is lost in the COPY */
		put_sync(p);
		step_ask(p, 0);
	} else if (how == 1) {
		wire_put_msg(&p->w, 'H');
		step_send(p, 0);
		step_pause(p, rng_between(&p->r, 1000, 30000));
	}
	rows(p, rng_between(&p->r, 1, 6), rng_chance(&p->r, 10), how ? IN_COPY : IF_COPY);
	copy_end(p);
	step_send(p, how ? IN_COPY | TAIL : IF_COPY);
	tail_begin(p, true);
}

/* ---- pipelines ---- */

void make_queries(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 2, 10), errors = rng_chance(&p->r, 40) ? 20 : 0;
	bool block = rng_chance(&p->r, 40);

	for (i = 0; i < n; i++) {
		text_begin(p);
		if (block && i == 0)
			add_begin(p);
		else if (block && i + 1 == n)
			add_end(p);
		else if (rng_chance(&p->r, 5))
			say_text(p, "%s", rng_chance(&p->r, 50) ? "BEGIN" : "COMMIT");
		else
			add_any(p, errors);
		put_query(p);
		if (rng_chance(&p->r, 10))
			step_send(p, 0);
	}
	step_ask(p, 0);
}

void make_copies(struct program *p)
{
	unsigned i, n = rng_between(&p->r, 1, 3);

	for (i = 0; i < n; i++) {
		put_simple(p, copy_text(p));
		rows(p, rng_between(&p->r, 1, 4), rng_chance(&p->r, 15), 0);
		copy_end(p);
	}
	text_begin(p);
	add_read(p);
	put_query(p);
	step_ask(p, 0);
}
