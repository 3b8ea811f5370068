/* tests/sim/engine_txn.c - transactions and savepoints, after PostgreSQL's xact.c.
 *
 * The data's transaction (env) begins with the first statement and ends once. What
 * fails in a block without savepoints undoes it at once, as PostgreSQL gives its locks
 * back at once; with savepoints the innermost is gone back to.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* ---- what is undone besides data ---- */

struct temps *temps_share(struct temps *t)
{
	t->refs++;
	return t;
}

void temps_drop(struct temps *t)
{
	unsigned i;

	if (!t || --t->refs)
		return;
	for (i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->v);
	free(t);
}

/* The tables that may be changed: nobody else's. */
struct temps *temps_own(struct engine *e)
{
	struct temps *old = e->temps, *t;
	unsigned i;

	if (old->refs == 1)
		return old;
	t = mem_grow(NULL, sizeof(*t));
	*t = (struct temps){ 1, old->n, mem_grow(NULL, (old->n + 1) * sizeof(*t->v)) };
	for (i = 0; i < old->n; i++) {
		t->v[i] = old->v[i];
		t->v[i].name = mem_copy(old->v[i].name);
	}
	temps_drop(old);
	e->temps = t;
	return t;
}

void deed_add(struct engine *e, enum sql_kind kind, const char *name, const char *text)
{
	struct deed *d;
	size_t i;

	/* the same notification is said once */
	for (i = 0; kind == SQL_NOTIFY && i < e->n_deeds; i++)
		if (e->deeds[i].kind == kind && strcmp(e->deeds[i].name, name) == 0 &&
		    strcmp(e->deeds[i].text, text) == 0)
			return;
	if (e->n_deeds == e->cap_deeds) {
		e->cap_deeds = e->cap_deeds * 2 + 4;
		e->deeds = mem_grow(e->deeds, e->cap_deeds * sizeof(*e->deeds));
	}
	d = &e->deeds[e->n_deeds++];
	*d = (struct deed){ kind, mem_copy(name), mem_copy(text) };
}

static void cut_deeds(struct engine *e, size_t n)
{
	while (e->n_deeds > n) {
		struct deed *d = &e->deeds[--e->n_deeds];

		free(d->name);
		free(d->text);
	}
}

void listens_drop(struct engine *e)
{
	while (e->n_listens)
		free(e->listens[--e->n_listens]);
}

static void listen_one(struct engine *e, const char *name)
{
	size_t i;

	for (i = 0; i < e->n_listens; i++)
		if (strcmp(e->listens[i], name) == 0)
			return;
	e->listens = mem_grow(e->listens, (e->n_listens + 1) * sizeof(*e->listens));
	e->listens[e->n_listens++] = mem_copy(name);
}

static void unlisten_one(struct engine *e, const char *name)
{
	size_t i;

	for (i = 0; i < e->n_listens; i++)
		if (strcmp(e->listens[i], name) == 0) {
			free(e->listens[i]);
			e->listens[i] = e->listens[--e->n_listens];
			return;
		}
}

/* The transaction has committed: LISTENs first, so that it hears itself. */
static void do_deeds(struct engine *e)
{
	size_t i;

	for (i = 0; i < e->n_deeds; i++) {
		const struct deed *d = &e->deeds[i];

		if (d->kind == SQL_LISTEN)
			listen_one(e, d->name);
		else if (d->kind == SQL_UNLISTEN && d->name)
			unlisten_one(e, d->name);
		else if (d->kind == SQL_UNLISTEN)
			listens_drop(e);
	}
	for (i = 0; i < e->n_deeds; i++)
		if (e->deeds[i].kind == SQL_NOTIFY)
			e->env.notify(e->env.arg, e->deeds[i].name, e->deeds[i].text);
	cut_deeds(e, 0);
}

/* ---- marks ---- */

static void push_mark(struct engine *e, const char *name)
{
	if (e->n_marks == e->cap_marks) {
		e->cap_marks = e->cap_marks * 2 + 4;
		e->marks = mem_grow(e->marks, e->cap_marks * sizeof(*e->marks));
	}
	e->marks[e->n_marks++] = (struct mark){ mem_copy(name), settings_share(e->settings),
						temps_share(e->temps), e->n_deeds, e->read_only,
						!e->did_work };
}

static void pop_marks(struct engine *e, unsigned n)
{
	while (e->n_marks > n) {
		struct mark *m = &e->marks[--e->n_marks];

		free(m->name);
		settings_unref(m->settings);
		temps_drop(m->temps);
	}
}

/* All is as it was at the mark, which stays. */
static void restore(struct engine *e, unsigned at)
{
	struct mark *m = &e->marks[at];

	pop_marks(e, at + 1);
	cut_deeds(e, m->n_deeds);
	temps_drop(e->temps);
	e->temps = temps_share(m->temps);
	e->read_only = m->read_only;
	e->read_only_set &= at > 0;
	if (e->crdb)
		return; /* its settings are not undone */
	settings_unref(e->settings);
	e->settings = settings_share(m->settings);
}

static unsigned depth(const struct engine *e)
{
	return e->n_marks ? e->n_marks - 1 : 0;
}

static int find_mark(const struct engine *e, const char *name)
{
	unsigned i;

	for (i = e->n_marks; i-- > 1;)
		if (strcmp(e->marks[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* ---- portals ---- */

/* Those of the savepoints from level on. One that was bound after the failure, and not
 * executed, makes PostgreSQL wonder. */
static void drop_portals(struct engine *e, unsigned level)
{
	struct portal *p = e->portals, *next;
	char text[200];

	for (; p; p = next) {
		next = p->next;
		if (p->held || p->level < level)
			continue;
		if (p->late && p->state == PORTAL_READY && !e->crdb && !e->ended) {
			(void)snprintf(text, sizeof(text), "skipping cleanup for portal \"%.100s\"",
				       p->name);
			out_warning(e, "WARNING", "01000", text);
		}
		portal_drop(e, p);
	}
}

static void fail_portals(struct engine *e, unsigned level)
{
	struct portal *p;

	for (p = e->portals; p; p = p->next)
		if (!p->held && p->level >= level && p->state == PORTAL_READY)
			p->state = PORTAL_FAILED;
}

static void commit_portals(struct engine *e)
{
	struct portal *p = e->portals, *next;

	for (; p; p = next) {
		next = p->next;
		if (p->hold)
			p->held = true;
		else
			portal_drop(e, p);
	}
}

/* ---- begin and end ---- */

bool xact_aborted(const struct engine *e)
{
	return e->block == BLOCK_ABORT;
}

/* As the warnings and refusals of xact.c see it. */
bool xact_in_block(const struct engine *e)
{
	return e->block != BLOCK_DEFAULT && e->block != BLOCK_STARTED;
}

void xact_start(struct engine *e)
{
	if (e->block != BLOCK_DEFAULT)
		return;
	e->block = BLOCK_STARTED;
	e->immediate = e->pipelined = e->read_only_set = e->did_work = e->retry = false;
	e->statements = 0;
	e->read_only = e->conf.standby || settings_on(e, "default_transaction_read_only");
	push_mark(e, NULL);
}

void xact_implicit(struct engine *e)
{
	if (e->block == BLOCK_STARTED)
		e->block = BLOCK_IMPLICIT;
}

void xact_end_implicit(struct engine *e)
{
	if (e->block == BLOCK_IMPLICIT)
		e->block = BLOCK_STARTED;
}

void xact_data(struct engine *e, bool block)
{
	if (e->open || e->block == BLOCK_ABORT || e->block == BLOCK_DONE)
		return;
	e->open = true;
	e->env.begin(e->env.arg, block);
}

/* Nothing of it stays. */
static void undo_all(struct engine *e)
{
	if (e->open) {
		e->open = false;
		e->env.rollback(e->env.arg);
	}
	if (e->n_marks)
		restore(e, 0);
	cut_deeds(e, 0);
	fail_portals(e, 0);
}

/* The states behind an end: nothing, or the next transaction of AND CHAIN. */
static void end(struct engine *e)
{
	bool again = e->chain, read_only = e->read_only;

	pop_marks(e, 0);
	e->block = BLOCK_DEFAULT;
	e->chain = e->immediate = e->pipelined = e->read_only = false;
	if (!again)
		return;
	xact_start(e);
	e->read_only = e->marks[0].read_only = read_only;
	e->block = BLOCK_INPROGRESS;
	xact_data(e, true);
}

static void drop_on_commit(struct engine *e)
{
	unsigned i;

	for (i = e->temps->n; i-- > 0;)
		if (e->temps->v[i].on_commit_drop) {
			struct temps *t = temps_own(e);

			free(t->v[i].name);
			t->v[i] = t->v[--t->n];
		}
}

static enum got commit(struct engine *e)
{
	enum data d = e->open ? e->env.commit(e->env.arg, &e->err) : DATA_OK;

	if (d == DATA_WAIT)
		return GOT_WAIT;
	e->open = false;
	if (d == DATA_ERROR) {
		e->context[0] = 0;
		e->routine = NULL;
		e->chain = false;
		undo_all(e);
		drop_portals(e, 0);
		end(e);
		return GOT_FAIL;
	}
	commit_portals(e);
	settings_commit(e);
	drop_on_commit(e);
	do_deeds(e);
	end(e);
	return GOT_DONE;
}

enum got xact_finish(struct engine *e)
{
	switch (e->block) {
	case BLOCK_STARTED:
	case BLOCK_END:
		return commit(e);
	case BLOCK_BEGIN:
		e->block = BLOCK_INPROGRESS;
		return GOT_DONE;
	case BLOCK_ABORT_PENDING:
	case BLOCK_ABORT_END: {
		bool read_only = e->read_only;

		drop_portals(e, 0);
		undo_all(e);
		e->read_only = e->chain ? read_only : e->read_only;
		end(e);
		return GOT_DONE;
	}
	case BLOCK_RESTART:
		restore(e, e->restart);
		drop_portals(e, e->restart);
		if (e->crdb)
			crdb_restart(e, e->restart);
		else
			e->env.rollback_to(e->env.arg, e->restart);
		e->block = BLOCK_INPROGRESS;
		return GOT_DONE;
	case BLOCK_RELEASE:
		return crdb_release(e);
	case BLOCK_DEFAULT:
		if (e->crdb)
			commit_portals(e);
		return GOT_DONE;
	case BLOCK_INPROGRESS:
	case BLOCK_IMPLICIT:
	case BLOCK_ABORT:
	case BLOCK_DONE:
	default:
		return GOT_DONE;
	}
}

/* Something has failed. */
void xact_abort(struct engine *e)
{
	e->chain = false;
	switch (e->block) {
	case BLOCK_INPROGRESS:
		if (depth(e)) {
			e->env.rollback_to(e->env.arg, depth(e));
			restore(e, depth(e));
			fail_portals(e, depth(e));
		} else {
			undo_all(e);
		}
		e->block = BLOCK_ABORT;
		(void)snprintf(e->abort_code, sizeof(e->abort_code), "%s", e->err.sqlstate);
		return;
	case BLOCK_DEFAULT:
	case BLOCK_ABORT:
	case BLOCK_DONE:
		return;
	case BLOCK_STARTED:
	case BLOCK_IMPLICIT:
	case BLOCK_BEGIN:
	case BLOCK_END:
	case BLOCK_RESTART:
	case BLOCK_RELEASE:
	case BLOCK_ABORT_END:
	case BLOCK_ABORT_PENDING:
	default:
		undo_all(e);
		drop_portals(e, 0);
		end(e);
		return;
	}
}

enum got require_block(struct engine *e, const char *what)
{
	if (xact_in_block(e))
		return GOT_DONE;
	return fail(e, "25P01", "%s can only be used in transaction blocks", what);
}

enum got prevent_block(struct engine *e, const char *what)
{
	if (xact_in_block(e))
		return fail(e, "25001", "%s cannot run inside a transaction block", what);
	if (e->pipelined)
		return fail(e, "25001", "%s cannot be executed within a pipeline", what);
	e->immediate = true;
	return GOT_DONE;
}

/* ---- statements ---- */

static void tag(struct run *r, const char *text)
{
	(void)snprintf(r->tag, sizeof(r->tag), "%s", text);
}

/* The modes of BEGIN and SET TRANSACTION. */
static enum got modes(struct engine *e, const struct sql_stmt *st)
{
	if (st->read_write && e->conf.standby)
		return fail(e, "0A000",
			    "cannot set transaction read-write mode during recovery");
	e->read_only_set |= st->read_only || st->read_write;
	if (st->read_only)
		e->read_only = true;
	else if (st->read_write)
		e->read_only = false;
	return GOT_DONE;
}

enum got run_begin(struct engine *e, struct run *r)
{
	if (e->block == BLOCK_STARTED || e->block == BLOCK_IMPLICIT)
		e->block = BLOCK_BEGIN;
	else if (e->crdb)
		return fail(e, "XXUUU", "there is already a transaction in progress");
	else
		out_warning(e, "WARNING", "25001", "there is already a transaction in progress");
	tag(r, r->st->start && !e->crdb ? "START TRANSACTION" : "BEGIN");
	return modes(e, r->st);
}

enum got run_commit(struct engine *e, struct run *r)
{
	tag(r, "COMMIT");
	if (e->crdb && e->block != BLOCK_INPROGRESS && e->block != BLOCK_ABORT)
		return crdb_end(e, r);
	switch (e->block) {
	case BLOCK_INPROGRESS:
		e->block = BLOCK_END;
		break;
	case BLOCK_ABORT:
		e->block = BLOCK_ABORT_END;
		tag(r, "ROLLBACK");
		break;
	case BLOCK_IMPLICIT:
	case BLOCK_STARTED:
		if (r->st->chain)
			return fail(e, "25P01",
				    "COMMIT AND CHAIN can only be used in transaction blocks");
		out_warning(e, "WARNING", "25P01", "there is no transaction in progress");
		if (e->block == BLOCK_IMPLICIT)
			e->block = BLOCK_END;
		break;
	case BLOCK_DEFAULT:
	case BLOCK_BEGIN:
	case BLOCK_END:
	case BLOCK_RESTART:
	case BLOCK_RELEASE:
	case BLOCK_ABORT_END:
	case BLOCK_ABORT_PENDING:
	case BLOCK_DONE:
	default:
		break;
	}
	e->chain = r->st->chain;
	return GOT_DONE;
}

enum got run_rollback(struct engine *e, struct run *r)
{
	tag(r, "ROLLBACK");
	if (e->crdb && e->block != BLOCK_INPROGRESS && e->block != BLOCK_ABORT)
		return crdb_end(e, r);
	if (e->block == BLOCK_INPROGRESS) {
		e->block = BLOCK_ABORT_PENDING;
	} else if (e->block == BLOCK_ABORT) {
		e->block = BLOCK_ABORT_END;
	} else {
		if (r->st->chain)
			return fail(e, "25P01",
				    "ROLLBACK AND CHAIN can only be used in transaction blocks");
		out_warning(e, "WARNING", "25P01", "there is no transaction in progress");
		e->block = BLOCK_ABORT_PENDING;
	}
	e->chain = r->st->chain;
	return GOT_DONE;
}

/* Is it in a real block? */
static enum got real_block(struct engine *e, const char *what)
{
	if (e->block == BLOCK_INPROGRESS || e->block == BLOCK_ABORT)
		return GOT_DONE;
	if (e->crdb)
		return fail(e, "XXUUU", "there is no transaction in progress");
	return fail(e, "25P01", "%s can only be used in transaction blocks", what);
}

enum got run_savepoint(struct engine *e, struct run *r)
{
	tag(r, "SAVEPOINT");
	if (real_block(e, "SAVEPOINT") == GOT_FAIL)
		return GOT_FAIL;
	if (e->crdb && crdb_savepoint(e, r->st) == GOT_FAIL)
		return GOT_FAIL;
	push_mark(e, r->st->name);
	e->env.savepoint(e->env.arg, depth(e));
	return GOT_DONE;
}

static enum got no_savepoint(struct engine *e, const char *name)
{
	return fail(e, "3B001", "savepoint \"%s\" does not exist", name);
}

enum got run_release(struct engine *e, struct run *r)
{
	struct portal *p;
	int at;

	tag(r, "RELEASE");
	if (real_block(e, "RELEASE SAVEPOINT") == GOT_FAIL)
		return GOT_FAIL;
	at = find_mark(e, r->st->name);
	if (at < 0)
		return no_savepoint(e, r->st->name);
	if (e->crdb && at == 1 && strcmp(r->st->name, "cockroach_restart") == 0) {
		e->block = BLOCK_RELEASE;
		tag(r, "COMMIT");
		return GOT_DONE;
	}
	for (p = e->portals; p; p = p->next)
		if (p->level >= (unsigned)at)
			p->level = (unsigned)at - 1;
	pop_marks(e, (unsigned)at);
	return GOT_DONE;
}

enum got run_rollback_to(struct engine *e, struct run *r)
{
	int at;

	tag(r, "ROLLBACK");
	if (real_block(e, "ROLLBACK TO SAVEPOINT") == GOT_FAIL)
		return GOT_FAIL;
	at = find_mark(e, r->st->name);
	if (at < 0)
		return no_savepoint(e, r->st->name);
	if (e->crdb && crdb_rollback_to(e, (unsigned)at) == GOT_FAIL)
		return GOT_FAIL;
	e->block = BLOCK_RESTART;
	e->restart = (unsigned)at;
	return GOT_DONE;
}
