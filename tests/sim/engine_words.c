/* tests/sim/engine_words.c - statements that leave something in the session: prepared
 * statements, cursors, LISTEN, temporary tables, DISCARD.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

static enum got tag(struct run *r, const char *text)
{
	(void)snprintf(r->tag, sizeof(r->tag), "%s", text);
	return GOT_DONE;
}

/* ---- prepared statements ---- */

struct prepared *prepared_find(struct engine *e, const char *name)
{
	struct prepared *p;

	for (p = e->prepared; p && strcmp(p->name, name) != 0; p = p->next)
		;
	return p;
}

static void prepared_free(struct prepared *p)
{
	sql_free(p->ast);
	free(p->oids);
	free(p->name);
	free(p);
}

void prepared_drop(struct engine *e, const char *name)
{
	struct prepared **at = &e->prepared, *p;

	for (; (p = *at) != NULL; at = &p->next)
		if (strcmp(p->name, name) == 0) {
			*at = p->next;
			prepared_free(p);
			return;
		}
}

/* The unnamed one is another matter. */
void prepared_drop_all(struct engine *e)
{
	struct prepared **at = &e->prepared, *p;

	while ((p = *at) != NULL) {
		if (!*p->name) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		prepared_free(p);
	}
}

static uint32_t type_oid(const char *word)
{
	static const struct {
		const char *word;
		uint32_t oid;
	} types[] = { { "int", OID_INT4 },    { "integer", OID_INT4 }, { "int4", OID_INT4 },
		      { "bigint", OID_INT8 }, { "int8", OID_INT8 },    { "text", OID_TEXT },
		      { "bool", OID_BOOL },   { "boolean", OID_BOOL }, { "float8", OID_FLOAT8 },
		      { "unknown", 0 } };
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(types[i].word, word) == 0)
			return types[i].oid;
	return UINT32_MAX;
}

static struct sql *parse_again(struct engine *e, const char *text)
{
	struct sql_error err;
	struct sql *ast = sql_parse(text, strlen(text), !settings_on(e, "standard_conforming_strings"),
				    e->crdb, &err);

	if (!ast)
		(void)fail(e, err.sqlstate, "%s", err.message);
	return ast;
}

static enum got run_prepare(struct engine *e, struct run *r)
{
	const struct sql_stmt *st = r->st;
	const struct sql_expr *x;
	uint32_t declared[32], *oids = declared;
	unsigned n = 0, n_out = 0;
	struct prepared *p;
	struct sql *ast;

	for (x = st->list; x && n < 32; x = x->next) {
		declared[n] = type_oid(x->text);
		if (declared[n++] == UINT32_MAX)
			return fail(e, "42704", "type \"%s\" does not exist", x->text);
	}
	ast = parse_again(e, st->text);
	if (!ast)
		return GOT_FAIL;
	if (analyze(e, ast->first, &oids, n, &n_out) == GOT_FAIL) {
		sql_free(ast);
		return GOT_FAIL;
	}
	if (prepared_find(e, st->name)) {
		free(oids);
		sql_free(ast);
		return fail(e, "42P05", "prepared statement \"%s\" already exists", st->name);
	}
	p = mem_grow(NULL, sizeof(*p));
	*p = (struct prepared){ e->prepared, mem_copy(st->name), ast, oids, n_out, true };
	e->prepared = p;
	return tag(r, "PREPARE");
}

/* EXECUTE: its statement gets a run of its own. */
static enum got inner_run(struct engine *e, struct run *r)
{
	struct prepared *p = prepared_find(e, r->st->name);
	const struct sql_expr *x;
	uint32_t *oids;
	unsigned n = 0;

	if (!p)
		return fail(e, "26000", "prepared statement \"%s\" does not exist", r->st->name);
	if (r->st->n_list != p->n_params)
		return fail(e, "42601", "wrong number of parameters for prepared statement \"%s\"",
			    r->st->name);
	if (!p->ast || !p->ast->first || p->ast->first->kind > SQL_INSERT)
		return fail(e, "0A000", "EXECUTE of such a statement is not offered");
	r->inner = run_new(p->ast, p->ast->first);
	r->inner->args = mem_grow(NULL, (p->n_params + 1) * sizeof(*r->inner->args));
	for (x = r->st->list; x; x = x->next, n++) {
		r->inner->args[n] = (struct val){ 0 };
		r->inner->n_args = n + 1;
		if (eval(e, r, x, &r->inner->args[n]) == GOT_FAIL)
			return GOT_FAIL;
	}
	oids = p->oids;
	if (analyze(e, p->ast->first, &oids, p->n_params, &n) == GOT_FAIL)
		return GOT_FAIL;
	r->inner->oids = oids;
	return plan(e, r->inner);
}

static enum got run_execute(struct engine *e, struct run *r)
{
	enum got got = GOT_DONE;

	if (!r->inner) {
		got = inner_run(e, r);
		if (got != GOT_DONE)
			return got;
	}
	if (run_strategy(e, r->inner->st) != ONE_SELECT) {
		got = run_whole(e, r->inner);
		if (got != GOT_DONE)
			return got;
		r->inner->full = true;
	}
	while ((got = run_next(e, r->inner)) == GOT_ROW)
		run_keep(r, &r->inner->row);
	if (got != GOT_DONE)
		return got;
	if (*r->inner->tag)
		return tag(r, r->inner->tag);
	(void)snprintf(r->tag, sizeof(r->tag), "SELECT %zu", r->n_rows);
	return GOT_DONE;
}

static enum got run_deallocate(struct engine *e, struct run *r)
{
	if (!r->st->name) {
		prepared_drop_all(e);
		return tag(r, "DEALLOCATE ALL");
	}
	if (!*r->st->name || !prepared_find(e, r->st->name))
		return fail(e, "26000", "prepared statement \"%s\" does not exist", r->st->name);
	prepared_drop(e, r->st->name);
	return tag(r, "DEALLOCATE");
}

/* ---- portals and cursors ---- */

struct portal *portal_find(struct engine *e, const char *name)
{
	struct portal *p;

	for (p = e->portals; p && strcmp(p->name, name) != 0; p = p->next)
		;
	return p;
}

struct portal *portal_new(struct engine *e, const char *name)
{
	struct portal *p = mem_grow(NULL, sizeof(*p));

	*p = (struct portal){ .next = e->portals, .name = mem_copy(name) };
	p->level = e->n_marks ? e->n_marks - 1 : 0;
	p->late = xact_aborted(e);
	e->portals = p;
	return p;
}

void portal_drop(struct engine *e, struct portal *p)
{
	struct portal **at = &e->portals;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (e->task.portal == p) {
		e->task.portal = NULL;
		e->task.run = NULL;
	}
	run_free(p->run);
	cols_free(&p->cols);
	free(p->formats);
	free(p->name);
	free(p);
}

/* All but the one that is at work. */
static void drop_portals(struct engine *e)
{
	struct portal *p = e->portals, *next;

	for (; p; p = next) {
		next = p->next;
		if (p != e->task.portal)
			portal_drop(e, p);
	}
}

static enum got run_declare(struct engine *e, struct run *r)
{
	const struct sql_stmt *st = r->st;
	struct portal *p;
	struct sql *ast;

	if (!st->hold && require_block(e, "DECLARE CURSOR") == GOT_FAIL)
		return GOT_FAIL;
	ast = parse_again(e, st->text);
	if (!ast)
		return GOT_FAIL;
	if (analyze(e, ast->first, NULL, 0, NULL) == GOT_FAIL) {
		sql_free(ast);
		return GOT_FAIL;
	}
	if (portal_find(e, st->name)) {
		sql_free(ast);
		return fail(e, "42P03", "cursor \"%s\" already exists", st->name);
	}
	p = portal_new(e, st->name);
	p->run = run_new(ast, ast->first);
	sql_free(ast);
	p->cursor = true;
	p->hold = st->hold;
	describe(e, p->run->st, NULL, &p->cols);
	return tag(r, "DECLARE CURSOR");
}

static enum got run_fetch(struct engine *e, struct run *r)
{
	struct portal *p = portal_find(e, r->st->name);
	enum got got = GOT_DONE;

	if (!p)
		return fail(e, "34000", "cursor \"%s\" does not exist", r->st->name);
	if (p->state != PORTAL_READY || p == e->task.portal)
		return fail(e, "55000", "portal \"%s\" cannot be run", r->st->name);
	while (p->run && !p->at_end && (int64_t)r->n_rows < r->st->count) {
		got = run_next(e, p->run);
		if (got != GOT_ROW)
			break;
		run_keep(r, &p->run->row);
	}
	if (got == GOT_FAIL || got == GOT_WAIT)
		return got;
	(void)snprintf(r->tag, sizeof(r->tag), "FETCH %zu", r->n_rows);
	return GOT_DONE;
}

static enum got run_close(struct engine *e, struct run *r)
{
	struct portal *p = r->st->name ? portal_find(e, r->st->name) : NULL;

	if (e->crdb)
		return GOT_DONE; /* no tag: EmptyQueryResponse */
	if (!r->st->name) {
		drop_portals(e);
		return tag(r, "CLOSE CURSOR ALL");
	}
	if (!p)
		return fail(e, "34000", "cursor \"%s\" does not exist", r->st->name);
	if (p == e->task.portal)
		return fail(e, "24000", "cannot drop active portal \"%s\"", p->name);
	portal_drop(e, p);
	return tag(r, "CLOSE CURSOR");
}

/* ---- LISTEN, NOTIFY ---- */

static enum got run_listen(struct engine *e, struct run *r)
{
	deed_add(e, r->st->kind, r->st->name, r->st->text);
	return tag(r, r->st->kind == SQL_LISTEN	  ? "LISTEN" :
		      r->st->kind == SQL_UNLISTEN ? "UNLISTEN" :
						    "NOTIFY");
}

/* ---- temporary tables ---- */

struct temp *temp_find(const struct engine *e, const char *name)
{
	unsigned i;

	for (i = 0; i < e->temps->n; i++)
		if (strcmp(e->temps->v[i].name, name) == 0)
			return &e->temps->v[i];
	return NULL;
}

static enum got run_create(struct engine *e, struct run *r)
{
	struct temps *t;

	if (may_write(e, "CREATE TABLE") == GOT_FAIL)
		return GOT_FAIL;
	if (temp_find(e, r->st->name))
		return fail(e, "42P07", "relation \"%s\" already exists", r->st->name);
	t = temps_own(e);
	t->v = mem_grow(t->v, (t->n + 1) * sizeof(*t->v));
	t->v[t->n++] = (struct temp){ mem_copy(r->st->name), r->st->on_commit_drop };
	return tag(r, "CREATE TABLE");
}

static enum got run_drop(struct engine *e, struct run *r)
{
	struct temp *it;
	struct temps *t;
	char text[160];

	if (may_write(e, "DROP TABLE") == GOT_FAIL)
		return GOT_FAIL;
	if (!temp_find(e, r->st->name)) {
		if (!r->st->if_exists)
			return fail(e, "42P01", "table \"%s\" does not exist", r->st->name);
		(void)snprintf(text, sizeof(text), "table \"%.100s\" does not exist, skipping",
			       r->st->name);
		out_warning(e, "NOTICE", "00000", text);
		return tag(r, "DROP TABLE");
	}
	t = temps_own(e);
	it = temp_find(e, r->st->name);
	free(it->name);
	*it = t->v[--t->n];
	return tag(r, "DROP TABLE");
}

static void drop_temps(struct engine *e)
{
	struct temps *t = temps_own(e);

	while (t->n)
		free(t->v[--t->n].name);
}

/* ---- DISCARD ---- */

static enum got run_discard(struct engine *e, struct run *r)
{
	char text[32];

	if (strcmp(r->st->name, "all") == 0) {
		if (prevent_block(e, "DISCARD ALL") == GOT_FAIL)
			return GOT_FAIL;
		drop_portals(e);
		(void)settings_set(e, "session_authorization", NULL, SET_SESSION);
		settings_reset_all(e);
		prepared_drop_all(e);
		if (e->crdb) {
			prepared_drop(e, "");
			e->due_name = e->due_zone = true;
			return tag(r, "DISCARD");
		}
		deed_add(e, SQL_UNLISTEN, NULL, NULL);
		while (e->n_locks) {
			(void)e->env.unlock(e->env.arg, e->locks[0].number);
			if (!--e->locks[0].count)
				e->locks[0] = e->locks[--e->n_locks];
		}
		drop_temps(e);
		return tag(r, "DISCARD ALL");
	}
	if (strcmp(r->st->name, "temp") == 0)
		drop_temps(e);
	(void)snprintf(text, sizeof(text), "DISCARD %s",
		       *r->st->name == 't' ? "TEMP" :
		       *r->st->name == 'p' ? "PLANS" :
					     "SEQUENCES");
	return tag(r, text);
}

static enum got run_set_transaction(struct engine *e, struct run *r)
{
	if (r->st->start) {
		if (r->st->read_only || r->st->read_write)
			(void)settings_set(e, "default_transaction_read_only",
					   r->st->read_only ? "on" : "off", SET_SESSION);
		return tag(r, "SET");
	}
	if (!xact_in_block(e))
		out_warning(e, "WARNING", "25P01",
			    "SET TRANSACTION can only be used in transaction blocks");
	if (r->st->read_write && e->conf.standby)
		return fail(e, "0A000", "cannot set transaction read-write mode during recovery");
	if (r->st->read_only || r->st->read_write) {
		e->read_only = r->st->read_only;
		e->read_only_set = true;
	}
	return tag(r, "SET");
}

enum got run_words(struct engine *e, struct run *r)
{
	if (e->crdb && crdb_words(e, r->st) == GOT_FAIL)
		return GOT_FAIL;
	switch ((int)r->st->kind) {
	case SQL_PREPARE:
		return run_prepare(e, r);
	case SQL_EXECUTE:
		return run_execute(e, r);
	case SQL_DEALLOCATE:
		return run_deallocate(e, r);
	case SQL_LISTEN:
	case SQL_UNLISTEN:
	case SQL_NOTIFY:
		return run_listen(e, r);
	case SQL_CREATE_TEMP:
		return run_create(e, r);
	case SQL_DROP:
		return run_drop(e, r);
	case SQL_DECLARE:
		return run_declare(e, r);
	case SQL_FETCH:
		return run_fetch(e, r);
	case SQL_CLOSE:
		return run_close(e, r);
	case SQL_DISCARD:
		return run_discard(e, r);
	case SQL_SET_TRANSACTION:
		return run_set_transaction(e, r);
	default:
		return fail(e, "0A000", "this is not offered");
	}
}
