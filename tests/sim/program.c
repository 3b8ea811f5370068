/* tests/sim/program.c - see program.h
 *
 * The world keeps to this: MOVE_WAIT is over when no ReadyForQuery is owed or a
 * CopyInResponse has come; copy_in is true at the program_next() behind it and may stay
 * so. program_error() and program_lost() come before the program_next() behind them.
 * Who has lost its connection is asked for its next startup packet, or to make a move:
 * that is MOVE_RECONNECT then. MOVE_CLOSE is the last move but MOVE_DONE.
 *
 * No well-behaved program waits for ever by itself: it waits for an advisory lock only
 * outside of a block and while it has none, so that who has the lock can go on; blocks,
 * COPYs and locks end in the tail of their unit, or at the latest with the program; a
 * sleep that nobody cancels ends.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program_in.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define GUARDS_MAX 8u

/* Weights by manners: plain, pipeline, stateful, hostile. */
static const struct kind kinds[] = {
	{ "read", make_read, { 10, 3, 5, 3 }, false, false },
	{ "append", make_append, { 10, 3, 5, 3 }, true, false },
	{ "statements in one query", make_multi, { 10, 4, 4, 2 }, true, false },
	{ "transaction", make_txn, { 12, 4, 5, 3 }, true, false },
	{ "read and modify", make_modify, { 16, 6, 8, 4 }, true, false },
	{ "savepoints", make_savepoint, { 6, 1, 1, 1 }, true, false },
	{ "chain", make_chain, { 4, 1, 1, 1 }, true, false },
	{ "failed block", make_failed, { 4, 1, 1, 1 }, false, false },
	{ "empty", make_empty, { 2, 2, 1, 1 }, false, false },
	{ "large", make_large, { 2, 2, 1, 1 }, false, false },
	{ "copy in", make_copy_in, { 4, 1, 1, 1 }, true, false },
	{ "copy out", make_copy_out, { 2, 1, 1, 1 }, false, false },
	{ "copy in, extended", make_copy_ext, { 2, 2, 1, 1 }, true, false },
	{ "queries in one write", make_queries, { 0, 8, 1, 1 }, true, false },
	{ "copies in one write", make_copies, { 0, 3, 0, 1 }, true, false },
	{ "libpq", make_libpq, { 6, 4, 2, 1 }, true, false },
	{ "pgjdbc", make_pgjdbc, { 6, 6, 2, 1 }, true, false },
	{ "asyncpg", make_asyncpg, { 6, 6, 2, 1 }, true, false },
	{ "pgx", make_pgx, { 6, 6, 2, 1 }, true, false },
	{ "npgsql", make_npgsql, { 6, 6, 2, 1 }, true, false },
	{ "named statements", make_named, { 8, 8, 4, 4 }, true, false },
	{ "portals", make_portal, { 4, 4, 1, 1 }, true, false },
	{ "batch", make_batch, { 4, 10, 1, 1 }, true, false },
	{ "flushes", make_flush, { 0, 6, 0, 1 }, true, false },
	{ "units in one write", make_units, { 0, 12, 1, 2 }, true, false },
	{ "long transaction", make_long, { 12, 10, 5, 3 }, true, false },
	{ "settings", make_set, { 1, 1, 10, 2 }, false, false },
	{ "settings in a block", make_set_block, { 0, 1, 8, 1 }, false, false },
	{ "set_config", make_set_config, { 0, 0, 5, 1 }, false, false },
	{ "roles", make_role, { 0, 0, 3, 0 }, false, false },
	{ "listen", make_listen, { 0, 0, 6, 1 }, false, true },
	{ "notify", make_notify, { 1, 1, 5, 1 }, false, true },
	{ "temporary tables", make_temp, { 0, 0, 5, 1 }, false, false },
	{ "held cursors", make_hold, { 0, 0, 4, 1 }, false, false },
	{ "lock", make_lock, { 0, 0, 5, 1 }, false, true },
	{ "lock tried", make_try_lock, { 0, 0, 4, 1 }, false, true },
	{ "SQL prepare", make_prepare, { 0, 1, 7, 1 }, true, false },
	{ "sleep", make_sleep, { 1, 1, 2, 1 }, false, false },
	{ "cancel", make_cancel, { 0, 0, 3, 1 }, false, false },
	{ "clean", make_clean, { 0, 0, 5, 1 }, false, false },
	{ "wrong order", make_order, { 0, 0, 0, 5 }, false, false },
	{ "syncs", make_syncs, { 0, 0, 0, 3 }, false, false },
	{ "copy messages outside", make_copy_outside, { 0, 0, 0, 3 }, false, false },
	{ "function call", make_function, { 0, 0, 0, 2 }, false, false },
	{ "malformed", make_malformed, { 0, 0, 0, 5 }, false, false },
	{ "unknown type", make_type, { 0, 0, 0, 2 }, false, false },
	{ "absurd length", make_length, { 0, 0, 0, 2 }, false, false },
	{ "half a message", make_half, { 0, 0, 0, 4 }, false, false },
	{ "leaves a block", make_leave_block, { 0, 0, 0, 4 }, false, false },
	{ "leaves a copy", make_leave_copy, { 0, 0, 0, 3 }, false, false },
	{ "leaves a batch", make_leave_batch, { 0, 0, 0, 3 }, false, false },
	{ "terminates too early", make_terminate, { 0, 0, 0, 3 }, false, false },
	{ "cancels at random", make_odd_cancel, { 0, 0, 0, 5 }, false, false },
	{ "reconnects", make_reconnect, { 0, 0, 1, 3 }, false, false },
	{ "no data in a copy", make_copy_wrong, { 0, 0, 0, 2 }, false, true },
};

const struct kind *program_kind(unsigned i)
{
	return i < COUNT(kinds) ? &kinds[i] : NULL;
}

struct program *program_new(const struct program_conf *conf, struct rng r)
{
	struct program *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->c = *conf;
	p->r = r;
	p->left = conf->steps;
	p->status = 'I';
	p->w = wire_put_to(p->bytes, sizeof(p->bytes));
	snprintf(p->says, sizeof(p->says), "begins");
	return p;
}

void program_free(struct program *p)
{
	free(p);
}

/* ---- beginnings ---- */

static void unit_clear(struct program *p)
{
	p->nsteps = p->at = 0;
	p->sent = p->cut = 0;
	p->w.len = 0;
	p->tail = p->copy_ext = p->ends_copy = p->erred = p->conflict = false;
	p->careful = p->c.manners != MANNERS_HOSTILE;
	p->guards = 0;
}

static void session_new(struct program *p)
{
	unsigned i;

	for (i = 0; i < STMTS; i++)
		p->stmts[i].known = GONE;
	p->residue = p->holds = p->gone = p->wait_next = p->in_copy = p->waited = false;
	p->status = 'I';
	unit_clear(p);
}

static void connect_again(struct program *p)
{
	if (p->left)
		p->left--;
	session_new(p);
	p->kind = 0;
	snprintf(p->says, sizeof(p->says), "connects again");
}

/* ---- the startup packet ---- */

static void pair(struct wire_put *w, const char *name, const char *value)
{
	wire_put_str(w, name);
	wire_put_str(w, value);
}

static void startup_setting(struct program *p, struct wire_put *w)
{
	const char *value, *name = some_setting(p, &value);
	char text[160];

	if (strcmp(name, "client_encoding") == 0)
		return;
	if (rng_chance(&p->r, 50)) {
		pair(w, name, value);
	} else if (!strchr(value, ' ')) {
		snprintf(text, sizeof(text), "-c %s=%s --work_mem=5MB", name, value);
		pair(w, "options", text);
	}
}

size_t program_startup(struct program *p, uint8_t *buf, size_t cap)
{
	struct wire_put w = wire_put_to(buf, cap);
	char name[32];
	size_t bare;

	if (p->gone)                     /* the world connects again by itself */
		connect_again(p);
	pair(&w, "user", "app");
	pair(&w, "database", "app");
	bare = w.len;
	if (rng_chance(&p->r, 60)) {
		snprintf(name, sizeof(name), "c%u", p->c.client);
		pair(&w, "application_name", name);
	}
	if (rng_chance(&p->r, 40))
		pair(&w, "client_encoding", rng_chance(&p->r, 80) ? "UTF8" : "LATIN1");
	if (rng_chance(&p->r, 15)) {      /* as pgjdbc does it */
		pair(&w, "DateStyle", "ISO");
		pair(&w, "TimeZone", "Europe/Berlin");
		pair(&w, "extra_float_digits", "2");
	} else if (rng_chance(&p->r, p->c.manners == MANNERS_STATEFUL ? 60 : 15)) {
		startup_setting(p, &w);
	}
	if (p->c.manners == MANNERS_HOSTILE && rng_chance(&p->r, 8)) {
		static const char *const wrong[][2] = {
			{ "work_mem", "lots" }, { "no_such_setting", "1" }, { "", "" },
			{ "options", "-c" }, { "TimeZone", "Nowhere/None" },
			{ "options", "-c work_mem=lots" },
		};
		unsigned i = rng_below(&p->r, COUNT(wrong));

		pair(&w, wrong[i][0], wrong[i][1]);
	}
	p->wishes = w.len > bare;
	wire_put_u8(&w, 0);
	return w.bad ? 0 : w.len;
}

/* ---- steps ---- */

static struct step *step(struct program *p, enum move m, unsigned flags)
{
	static const struct step nothing;
	struct step *s;

	if (p->nsteps == STEPS_MAX)     /* no unit is so long: see test_program.c */
		abort();
	s = &p->steps[p->nsteps++];
	*s = nothing;
	s->move = (uint8_t)m;
	s->flags = (uint8_t)(flags | (p->tail ? TAIL : 0));
	return s;
}

void step_send(struct program *p, unsigned flags)
{
	struct step *s;

	if (p->w.bad)
		abort();
	if (p->w.len == p->cut)
		return;
	s = step(p, MOVE_SEND, flags | (p->ends_copy ? ENDS_COPY : 0));
	p->ends_copy = false;
	s->at = (uint32_t)p->cut;
	s->len = (uint32_t)(p->w.len - p->cut);
	p->cut = p->w.len;
}

void step_wait(struct program *p, unsigned flags)
{
	step(p, MOVE_WAIT, flags);
}

void step_ask(struct program *p, unsigned flags)
{
	step_send(p, flags);
	step_wait(p, flags);
}

void step_pause(struct program *p, unsigned us)
{
	step(p, MOVE_PAUSE, IN_COPY)->us = us;
}

void step_move(struct program *p, enum move m)
{
	step(p, m, IN_COPY);
}

void step_think(struct program *p)
{
	if (rng_chance(&p->r, 12))
		step_pause(p, rng_between(&p->r, 100, 60000));
}

void tail_begin(struct program *p, bool sync)
{
	step_send(p, 0);
	p->tail = true;
	if (sync) {
		put_sync(p);
		step_send(p, 0);
	}
	step_wait(p, 0);
	put_simple(p, "ROLLBACK");
	step_ask(p, IF_BLOCK);
}

/* ---- units ---- */

static unsigned weight(const struct program *p, const struct kind *k)
{
	return k->pg && p->c.dialect == DIALECT_CRDB ? 0 : k->weight[p->c.manners];
}

static unsigned some_kind(struct program *p)
{
	unsigned i, n, sum = 0;

	for (i = 0; i < COUNT(kinds); i++)
		sum += weight(p, &kinds[i]);
	n = rng_below(&p->r, sum);
	for (i = 0; n >= weight(p, &kinds[i]); i++)
		n -= weight(p, &kinds[i]);
	return i;
}

/* wait: microseconds, before anything else. */
static void unit_make(struct program *p, unsigned wait)
{
	const struct kind *k = &kinds[p->kind];

	unit_clear(p);
	snprintf(p->says, sizeof(p->says), "%s #%u.%u", k->name, p->unit, p->tries);
	/* psql goes on after an error, applications do not */
	p->careful = p->careful && rng_chance(&p->r, 80);
	if (wait)
		step_pause(p, wait);
	k->make(p);
	if (!p->tail)
		tail_begin(p, false);
	step_send(p, 0);
	step_think(p);
}

/* The end: whatever is left is given back, or the server does it. */
static void unit_last(struct program *p)
{
	unit_clear(p);
	p->ending = true;
	p->tail = true;
	snprintf(p->says, sizeof(p->says), "ends");
	if (p->holds && rng_chance(&p->r, 50)) {
		put_simple(p, "SELECT pg_advisory_unlock_all()");
		step_ask(p, 0);
	}
	if (p->c.manners == MANNERS_HOSTILE && rng_chance(&p->r, 30))
		step_move(p, MOVE_CLOSE);
	wire_put_msg(&p->w, 'X');
	if (!p->nsteps || p->steps[p->nsteps - 1].move != MOVE_CLOSE)
		step_send(p, 0);
	step_move(p, MOVE_DONE);
}

static void unit_next(struct program *p)
{
	if (p->conflict && kinds[p->kind].retry && p->tries < TRIES_MAX) {
		unsigned wait = rng_between(&p->r, 100, 2000u << p->tries);

		p->tries++;
		p->r = p->shape;
		unit_make(p, wait);
		return;
	}
	if (!p->left) {
		unit_last(p);
		return;
	}
	p->left--;
	p->unit++;
	p->tries = 0;
	p->kind = some_kind(p);
	/* what is kept for long keeps a server, or others, waiting */
	if (rng_chance(&p->r, p->holds ? 40 : p->residue ? 15 : 0))
		for (p->kind = 0; kinds[p->kind].make != make_clean; p->kind++)
			;
	p->shape = p->r;
	unit_make(p, 0);
}

/* ---- moves ---- */

static enum move after_loss(struct program *p, uint64_t *us)
{
	if (p->ending || !p->left) {
		snprintf(p->says, sizeof(p->says), "is over");
		return MOVE_DONE;
	}
	if (!p->wait_next) {
		p->wait_next = true;
		snprintf(p->says, sizeof(p->says), "is lost, waits");
		*us = rng_between(&p->r, 1000, 250000);
		return MOVE_PAUSE;
	}
	connect_again(p);
	return MOVE_RECONNECT;
}

static bool skipped(const struct program *p, const struct step *s)
{
	if (p->erred && p->careful && !(s->flags & (TAIL | IF_ERROR)))
		return true;
	if (s->flags & IF_COPY && !p->in_copy)
		return true;
	if (s->flags & IF_BLOCK && p->status == 'I')
		return true;
	if (s->flags & IF_FAILED && p->status != 'E')
		return true;
	return s->flags & IF_ERROR && !p->erred;
}

/* Bytes that end a COPY, or a block, that nobody thought of. */
static enum move guard(struct program *p, uint8_t *buf, size_t cap, size_t *n)
{
	struct wire_put w = wire_put_to(buf, cap);

	if (++p->guards > GUARDS_MAX) {
		connect_again(p);
		return MOVE_RECONNECT;
	}
	if (p->in_copy) {
		wire_put_msg_str(&w, 'f', "never mind");
		if (p->copy_ext)
			wire_put_msg(&w, 'S');
	} else {
		wire_put_msg_str(&w, 'Q', "ROLLBACK");
	}
	p->in_copy = false;
	p->wait_next = true;
	*n = w.len;
	return MOVE_SEND;
}

static enum move deliver(struct program *p, struct step *s, uint8_t *buf, size_t cap, size_t *n)
{
	size_t m = s->len - p->sent;

	if (m > cap)
		m = cap;
	memcpy(buf, p->bytes + s->at + p->sent, m);
	p->sent += m;
	if (p->sent == s->len) {
		p->sent = 0;
		p->at++;
		if (s->flags & ENDS_COPY)
			p->in_copy = false;
	}
	*n = m;
	return MOVE_SEND;
}

static enum move take(struct program *p, struct step *s, uint64_t *us)
{
	enum move m = (enum move)s->move;

	*us = s->us;
	p->at++;
	p->waited = m == MOVE_WAIT;
	if (m == MOVE_CLOSE)
		p->gone = true;
	if (m == MOVE_RECONNECT) {
		session_new(p);
		p->kind = 0;
	}
	return m;
}

enum move program_next(struct program *p, char status, bool copy_in, uint8_t *buf, size_t cap,
		       size_t *n, uint64_t *us)
{
	struct step *s;

	*n = 0;
	*us = 0;
	p->status = status ? status : 'I';
	if (copy_in || p->waited)
		p->in_copy = copy_in;
	p->waited = false;
	for (;;) {
		if (p->gone)
			return after_loss(p, us);
		if (p->wait_next) {
			p->wait_next = false;
			p->waited = true;
			return MOVE_WAIT;
		}
		if (p->at == p->nsteps) {
			if (p->in_copy || p->status != 'I')
				return guard(p, buf, cap, n);
			unit_next(p);
			continue;
		}
		s = &p->steps[p->at];
		/* a message once begun is sent to its end */
		if (!p->sent && skipped(p, s)) {
			p->at++;
			continue;
		}
		if (!p->sent && p->in_copy && !(s->flags & (IF_COPY | IN_COPY)))
			return guard(p, buf, cap, n);
		return s->move == MOVE_SEND ? deliver(p, s, buf, cap, n) : take(p, s, us);
	}
}

void program_lost(struct program *p)
{
	p->gone = true;
	p->wait_next = false;
}

void program_error(struct program *p, const char *sqlstate)
{
	bool lost = strcmp(sqlstate, "26000") == 0 || strcmp(sqlstate, "42P05") == 0;
	unsigned i;

	p->erred = true;
	p->in_copy = false;
	if (strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0)
		p->conflict = true;
	/* what this unit prepared may be there, or not */
	for (i = 0; i < STMTS; i++)
		if (p->stmts[i].known == THERE && (lost || p->stmts[i].unit == p->unit))
			p->stmts[i].known = UNSURE;
}

const char *program_says(const struct program *p)
{
	return p->says;
}
