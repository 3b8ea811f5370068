/* tests/sim/engine_run.c - statements with data: queries row by row, writes, COPY.
 *
 * Whatever waits is asked again with the same arguments: a run remembers how far it is
 * (struct run) and does nothing twice.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

struct run *run_new(struct sql *ast, const struct sql_stmt *st)
{
	struct run *r = mem_grow(NULL, sizeof(*r));

	*r = (struct run){ .ast = ast, .st = st };
	ast->refs++;
	return r;
}

void run_free(struct run *r)
{
	size_t i;

	if (!r)
		return;
	run_free(r->inner);
	for (i = 0; i < r->n_args; i++)
		val_free(&r->args[i]);
	for (i = 0; i < r->n_rows; i++)
		row_free(&r->rows[i]);
	row_free(&r->row);
	free(r->args);
	free(r->oids);
	free(r->rows);
	sql_free(r->ast);
	free(r);
}

/* The row is the run's then. */
void run_keep(struct run *r, struct row *row)
{
	if (r->n_rows == r->cap_rows) {
		r->cap_rows = r->cap_rows * 2 + 4;
		r->rows = mem_grow(r->rows, r->cap_rows * sizeof(*r->rows));
	}
	r->rows[r->n_rows++] = *row;
	*row = (struct row){ 0 };
}

enum strategy run_strategy(const struct engine *e, const struct sql_stmt *st)
{
	(void)e;
	if (st->kind <= SQL_SETTINGS)
		return ONE_SELECT;
	if ((st->kind == SQL_INSERT || st->kind == SQL_UPDATE) && st->returning)
		return ONE_RETURNING;
	if (st->kind == SQL_SHOW || st->kind == SQL_EXECUTE || st->kind == SQL_FETCH)
		return UTIL_SELECT;
	return NO_ROWS;
}

static struct val *row_add(struct row *row)
{
	row->v = mem_grow(row->v, (row->n + 1) * sizeof(*row->v));
	row->v[row->n] = (struct val){ 0 };
	return &row->v[row->n];
}

static enum got from_data(struct engine *e, enum data d)
{
	return d == DATA_OK ? GOT_DONE : d == DATA_WAIT ? GOT_WAIT : env_fail(e);
}

/* Data is asked for. */
static void *touch(struct engine *e)
{
	e->did_work = true;
	return e->env.arg;
}

static const struct sql_expr *nth(const struct sql_stmt *st, size_t i)
{
	const struct sql_expr *x = st->list;

	while (x && i--)
		x = x->next;
	return x;
}

/* ---- queries ---- */

static enum got next_exprs(struct engine *e, struct run *r)
{
	const struct sql_expr *x;

	if (r->pos)
		return GOT_DONE;
	for (x = nth(r->st, r->row.n); x; x = x->next) {
		struct val v = { 0 };
		enum got got = eval(e, r, x, &v);

		if (got != GOT_DONE) {
			val_free(&v);
			return got;
		}
		*row_add(&r->row) = v;
		r->row.n++;
	}
	r->pos = 1;
	return GOT_ROW;
}

static enum got next_kv(struct engine *e, struct run *r)
{
	const struct sql_expr *x;
	const char *value;
	char text[16];
	enum got got;
	int64_t k;
	bool null;

	for (; (x = nth(r->st, r->pos)) != NULL; r->pos++) {
		got = eval_number(e, r, x, &k, &null);
		if (got != GOT_DONE)
			return got;
		if (null || k < 0 || k >= (int64_t)KEYS)
			continue;
		got = from_data(e, e->env.read(touch(e), (unsigned)k, &value, &e->err));
		if (got != GOT_DONE)
			return got;
		if (r->st->with_key) {
			(void)snprintf(text, sizeof(text), "%d", (int)k);
			val_set(row_add(&r->row), text);
			r->row.n++;
		}
		val_set(row_add(&r->row), value);
		r->row.n++;
		r->pos++;
		return GOT_ROW;
	}
	return GOT_DONE;
}

static enum got next_series(struct engine *e, struct run *r)
{
	char text[24];
	enum got got;
	int64_t n;
	bool null;

	got = eval_number(e, r, r->st->list, &n, &null);
	if (got != GOT_DONE || null || (int64_t)r->pos >= n)
		return got;
	(void)snprintf(text, sizeof(text), "%zu", ++r->pos);
	val_set(row_add(&r->row), text);
	r->row.n++;
	return GOT_ROW;
}

static enum got next_count(struct engine *e, struct run *r)
{
	char text[16];

	(void)e;
	if (r->pos++)
		return GOT_DONE;
	(void)snprintf(text, sizeof(text), "%u", strcmp(r->st->name, "kv") == 0 ? KEYS : 0);
	val_set(row_add(&r->row), text);
	r->row.n++;
	return GOT_ROW;
}

static enum got next_setting(struct engine *e, struct run *r)
{
	unsigned at = (unsigned)r->pos;
	bool any = settings_session(e, &at, &r->row);

	r->pos = at;
	return any ? GOT_ROW : GOT_DONE;
}

enum got run_next(struct engine *e, struct run *r)
{
	if (r->full) {
		row_free(&r->row);
		if (r->at_row == r->n_rows)
			return GOT_DONE;
		r->row = r->rows[r->at_row];
		r->rows[r->at_row++] = (struct row){ 0 };
		return GOT_ROW;
	}
	switch ((int)r->st->kind) {
	case SQL_EXPRS:
		return next_exprs(e, r);
	case SQL_KV:
		return next_kv(e, r);
	case SQL_SERIES:
		return next_series(e, r);
	case SQL_COUNT:
		return next_count(e, r);
	case SQL_SETTINGS:
		return next_setting(e, r);
	default:
		return GOT_DONE;
	}
}

/* ---- writes ---- */

enum got may_write(struct engine *e, const char *what)
{
	if (!e->read_only)
		return GOT_DONE;
	return fail(e, "25006", "cannot execute %s in a read-only transaction", what);
}

static enum got not_null(struct engine *e, const char *column)
{
	return fail(e, "23502",
		    "null value in column \"%s\" of relation \"kv\" violates not-null constraint",
		    column);
}

/* Appends and, for RETURNING, reads. */
static enum got write_one(struct engine *e, struct run *r, unsigned key, const char *tag)
{
	struct row row = { 0 };
	const char *value;
	enum got got;

	if (!r->step) {
		got = from_data(e, e->env.append(touch(e), key, tag, &e->err));
		if (got != GOT_DONE)
			return got;
		r->step = 1;
	}
	if (r->st->returning) {
		got = from_data(e, e->env.read(touch(e), key, &value, &e->err));
		if (got != GOT_DONE)
			return got;
		val_set(row_add(&row), value);
		row.n++;
		run_keep(r, &row);
	}
	r->step = 0;
	r->count++;
	return GOT_DONE;
}

/* A key and a tag of it; key out of its range is *key >= KEYS. */
static enum got pair(struct engine *e, struct run *r, const struct sql_expr *kx,
		     const struct sql_expr *tx, unsigned *key, bool *null, struct val *tag)
{
	int64_t k;
	enum got got = eval_number(e, r, kx, &k, null);

	if (got == GOT_DONE)
		got = eval(e, r, tx, tag);
	*key = k < 0 || k >= (int64_t)KEYS ? KEYS : (unsigned)k;
	return got;
}

static enum got run_update(struct engine *e, struct run *r)
{
	struct val tag = { 0 };
	enum got got;
	unsigned key;
	bool null;

	if (may_write(e, "UPDATE") == GOT_FAIL)
		return GOT_FAIL;
	got = pair(e, r, r->st->list->next, r->st->list, &key, &null, &tag);
	if (got == GOT_DONE && !null && key < KEYS)
		got = tag.text ? write_one(e, r, key, tag.text) : not_null(e, "v");
	val_free(&tag);
	if (got == GOT_DONE)
		(void)snprintf(r->tag, sizeof(r->tag), "UPDATE %llu", (unsigned long long)r->count);
	return got;
}

static enum got run_insert(struct engine *e, struct run *r)
{
	const struct sql_expr *x = nth(r->st, r->pos);

	if (may_write(e, "INSERT") == GOT_FAIL)
		return GOT_FAIL;
	for (; x; x = x->next->next, r->pos += 2) {
		struct val tag = { 0 };
		unsigned key;
		bool null;
		enum got got = pair(e, r, x, x->next, &key, &null, &tag);

		if (got == GOT_DONE && (null || !tag.text))
			got = not_null(e, null ? "k" : "v");
		if (got == GOT_DONE && key >= KEYS)
			got = fail(e, "23514",
				   "new row for relation \"kv\" violates check constraint "
				   "\"kv_k_check\"");
		if (got == GOT_DONE)
			got = write_one(e, r, key, tag.text);
		val_free(&tag);
		if (got != GOT_DONE)
			return got;
	}
	(void)snprintf(r->tag, sizeof(r->tag), "INSERT 0 %llu", (unsigned long long)r->count);
	return GOT_DONE;
}

enum got run_whole(struct engine *e, struct run *r)
{
	switch ((int)r->st->kind) {
	case SQL_UPDATE:
		return run_update(e, r);
	case SQL_INSERT:
		return run_insert(e, r);
	case SQL_COPY_IN:
		return run_copy_in(e, r);
	case SQL_COPY_OUT:
		return run_copy_out(e, r);
	case SQL_BEGIN:
		return run_begin(e, r);
	case SQL_COMMIT:
		return run_commit(e, r);
	case SQL_ROLLBACK:
		return run_rollback(e, r);
	case SQL_SAVEPOINT:
		return run_savepoint(e, r);
	case SQL_RELEASE:
		return run_release(e, r);
	case SQL_ROLLBACK_TO:
		return run_rollback_to(e, r);
	case SQL_SET:
	case SQL_RESET:
	case SQL_RESET_ALL:
		return run_set(e, r);
	case SQL_SHOW:
		return run_show(e, r);
	default:
		return run_words(e, r);
	}
}
