/* tests/sim/engine_task.c - what a backend is at: a Query with its statements, an
 * Execute, a Sync. It can stop wherever data is asked for, and go on there.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

void task_drop(struct engine *e)
{
	struct task *t = &e->task;

	if (t->kind == TASK_QUERY)
		run_free(t->run);
	sql_free(t->ast);
	cols_free(&t->cols);
	*t = (struct task){ .kind = TASK_NONE };
	buf_free(&e->copy.data);
	e->copy = (struct copy){ .done = false };
}

enum got asked(struct engine *e, enum place at)
{
	e->err = (struct engine_error){ .hint = NULL };
	return e->env.trouble(e->env.arg, at, &e->err) ? env_fail(e) : GOT_DONE;
}

bool is_exit(const struct sql_stmt *st)
{
	return st && (st->kind == SQL_COMMIT || st->kind == SQL_ROLLBACK ||
		      st->kind == SQL_ROLLBACK_TO);
}

static bool is_transaction(const struct sql_stmt *st)
{
	return st->kind >= SQL_BEGIN && st->kind <= SQL_ROLLBACK_TO;
}

enum got refuse_aborted(struct engine *e)
{
	return fail(e, "25P02",
		    "current transaction is aborted, commands ignored until end of transaction block");
}

/* ---- running one, whoever asked ---- */

/* The rows that there are, up to the limit; GOT_DONE: all, GOT_ROW: more may come. */
static enum got rows(struct engine *e, const uint16_t *formats, unsigned n_formats,
		     const struct cols *cols)
{
	struct task *t = &e->task;
	enum got got;

	while (!t->limit || t->sent < t->limit) {
		got = run_next(e, t->run);
		if (got != GOT_ROW)
			return got;
		out_row(e, &t->run->row, cols, formats, n_formats);
		row_free(&t->run->row);
		t->sent++;
	}
	return GOT_ROW;
}

static void row_tag(struct task *t)
{
	char word[64];
	size_t n;

	if (!*t->run->tag) {
		(void)snprintf(t->tag, sizeof(t->tag), "SELECT %llu", (unsigned long long)t->sent);
		return;
	}
	(void)snprintf(word, sizeof(word), "%s", t->run->tag);
	n = strlen(word);
	while (n && word[n - 1] >= '0' && word[n - 1] <= '9')
		n--;
	if (n && n < strlen(word) && word[n - 1] == ' ')
		(void)snprintf(t->tag, sizeof(t->tag), "%.*s%llu", (int)n, word,
			       (unsigned long long)t->sent);
	else
		(void)snprintf(t->tag, sizeof(t->tag), "%s", word);
}

/* ---- Query ---- */

static enum got query_start(struct engine *e)
{
	struct task *t = &e->task;
	struct portal *unnamed;

	if (xact_aborted(e) && !is_exit(t->st))
		return refuse_aborted(e);
	xact_start(e);
	if (e->crdb && crdb_check(e, t->st, t->ast->n == 1) == GOT_FAIL)
		return GOT_FAIL;
	if (t->ast->n > 1 && !e->crdb)
		xact_implicit(e);
	xact_data(e, t->st->kind == SQL_BEGIN);
	if (asked(e, AT_STATEMENT) == GOT_FAIL || analyze(e, t->st, NULL, 0, NULL) == GOT_FAIL)
		return GOT_FAIL;
	t->run = run_new(t->ast, t->st);
	if (plan(e, t->run) == GOT_FAIL)
		return GOT_FAIL;
	unnamed = portal_find(e, "");
	if (unnamed)
		portal_drop(e, unnamed);
	t->phase = PHASE_RUN;
	return GOT_DONE;
}

static enum got query_run(struct engine *e)
{
	struct task *t = &e->task;
	enum strategy how = run_strategy(e, t->st);
	enum got got;

	if (how != ONE_SELECT && !t->run->full) {
		got = run_whole(e, t->run);
		if (got != GOT_DONE)
			return got;
		t->run->full = true;
	}
	if (!t->described) {
		t->described = true;
		describe(e, t->st, NULL, &t->cols);
		if (t->cols.any)
			out_cols(e, &t->cols, NULL, 0);
	}
	got = rows(e, NULL, 0, &t->cols);
	if (got != GOT_DONE)
		return got;
	row_tag(t);
	if (how == NO_ROWS || how == UTIL_SELECT)
		(void)snprintf(t->tag, sizeof(t->tag), "%s", t->run->tag);
	t->phase = PHASE_FINISH;
	return GOT_DONE;
}

/* The transaction's end comes before the CommandComplete that tells of it. */
static enum got query_finish(struct engine *e)
{
	struct task *t = &e->task;
	enum got got = GOT_DONE;

	if (!t->st->next)
		xact_end_implicit(e);
	if (!t->st->next || is_transaction(t->st) || e->crdb)
		got = xact_finish(e);
	if (got != GOT_DONE)
		return got;
	crdb_report(e);
	if (*t->tag)
		out_tag(e, t->tag);
	else
		out_msg(e, 'I');
	run_free(t->run);
	t->run = NULL;
	cols_free(&t->cols);
	t->described = false;
	t->sent = 0;
	t->tag[0] = 0;
	t->st = t->st->next;
	t->phase = PHASE_START;
	return GOT_DONE;
}

static enum got query_step(struct engine *e)
{
	struct task *t = &e->task;
	enum got got = GOT_DONE;

	while (got == GOT_DONE && t->st) {
		if (t->phase == PHASE_START)
			got = query_start(e);
		else if (t->phase == PHASE_RUN)
			got = query_run(e);
		else
			got = query_finish(e);
	}
	if (got == GOT_DONE)
		got = xact_finish(e);
	if (got == GOT_DONE && !t->ast->n)
		out_msg(e, 'I');
	return got;
}

void task_query(struct engine *e, struct sql *ast)
{
	e->task = (struct task){ .kind = TASK_QUERY, .ast = ast, .st = ast->first };
}

/* ---- Execute ---- */

static enum got execute_start(struct engine *e)
{
	struct task *t = &e->task;

	xact_start(e);
	/* one that has failed has forgotten its statement */
	if (xact_aborted(e) && (!is_exit(t->run->st) || t->portal->state == PORTAL_FAILED))
		return refuse_aborted(e);
	if (e->crdb && crdb_check(e, t->run->st, true) == GOT_FAIL)
		return GOT_FAIL;
	xact_data(e, t->run->st->kind == SQL_BEGIN);
	if (asked(e, AT_STATEMENT) == GOT_FAIL)
		return GOT_FAIL;
	if (t->portal->state != PORTAL_READY)
		return fail(e, "55000", "portal \"%s\" cannot be run", t->portal->name);
	t->phase = PHASE_RUN;
	return GOT_DONE;
}

static enum got execute_run(struct engine *e)
{
	struct task *t = &e->task;
	struct portal *p = t->portal;
	enum strategy how = run_strategy(e, t->run->st);
	enum got got = GOT_DONE;

	if (how != ONE_SELECT && !p->filled) {
		got = run_whole(e, t->run);
		if (got != GOT_DONE)
			return got;
		p = t->portal;
		if (!p) /* it has closed itself */
			return fail(e, "XX000", "the portal is gone");
		p->filled = t->run->full = true;
	}
	if (!p->at_end)
		got = rows(e, p->formats, p->n_formats, &p->cols);
	if (got == GOT_ROW) {
		p->suspended = t->suspended = true;
		t->ends = e->crdb;
		t->phase = PHASE_FINISH;
		return GOT_DONE;
	}
	if (got != GOT_DONE)
		return got;
	p->at_end = true;
	p->suspended = false;
	/* its portal goes with it */
	t->ends = e->immediate || is_transaction(t->run->st) || e->crdb;
	if (how == NO_ROWS || !p->cols.any) {
		(void)snprintf(t->tag, sizeof(t->tag), "%s", t->run->tag);
		p->state = PORTAL_DONE;
	} else {
		row_tag(t);
	}
	t->phase = PHASE_FINISH;
	return GOT_DONE;
}

static enum got execute_finish(struct engine *e)
{
	struct task *t = &e->task;
	enum got got = GOT_DONE;

	if (t->ends) {
		got = xact_finish(e);
		if (got == GOT_WAIT)
			return got;
	} else {
		e->pipelined = true;
	}
	crdb_report(e);
	if (got == GOT_DONE && t->suspended)
		out_msg(e, 's');
	else if (got == GOT_DONE && *t->tag)
		out_tag(e, t->tag);
	else if (got == GOT_DONE)
		out_msg(e, 'I');
	t->kind = TASK_NONE;
	return got;
}

static enum got execute_step(struct engine *e)
{
	struct task *t = &e->task;
	enum got got = GOT_DONE;

	while (got == GOT_DONE && t->kind != TASK_NONE) {
		if (t->phase == PHASE_START)
			got = execute_start(e);
		else if (t->phase == PHASE_RUN)
			got = execute_run(e);
		else
			got = execute_finish(e);
	}
	return got;
}

void task_execute(struct engine *e, struct portal *p, uint32_t limit)
{
	e->task = (struct task){ .kind = TASK_EXECUTE, .portal = p, .run = p->run, .limit = limit };
}

void task_sync(struct engine *e)
{
	e->task = (struct task){ .kind = TASK_SYNC };
}

bool task_step(struct engine *e)
{
	struct task *t = &e->task;
	bool ready = t->kind != TASK_EXECUTE;
	enum got got;

	t->waits = false;
	t->copying = false;
	if (t->kind == TASK_QUERY)
		got = query_step(e);
	else if (t->kind == TASK_EXECUTE)
		got = execute_step(e);
	else
		got = xact_finish(e);
	if (got == GOT_WAIT || got == GOT_COPY) {
		t->waits = got == GOT_WAIT;
		t->copying = got == GOT_COPY;
		return false;
	}
	if (got == GOT_FAIL) {
		engine_failed(e);
		return true;
	}
	task_drop(e);
	if (ready)
		out_ready(e);
	return true;
}
