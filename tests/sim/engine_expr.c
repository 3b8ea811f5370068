/* tests/sim/engine_expr.c - what expressions are of, and what they are worth.
 *
 * SPDX-License-Identifier: ISC
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_state.h"

/* ---- types ---- */

struct fn {
	uint32_t result;
	unsigned min, max;
	uint32_t args[3];
};

static const struct fn fns[FN_COUNT] = {
	[FN_REPEAT] = { OID_TEXT, 2, 2, { OID_TEXT, OID_INT4, 0 } },
	[FN_SLEEP] = { OID_VOID, 1, 1, { OID_FLOAT8, 0, 0 } },
	[FN_PID] = { OID_INT4, 0, 0, { 0, 0, 0 } },
	[FN_VERSION] = { OID_TEXT, 0, 0, { 0, 0, 0 } },
	[FN_SET_CONFIG] = { OID_TEXT, 3, 3, { OID_TEXT, OID_TEXT, OID_BOOL } },
	[FN_CURRENT_SETTING] = { OID_TEXT, 1, 2, { OID_TEXT, OID_BOOL, 0 } },
	[FN_LOCK] = { OID_VOID, 1, 1, { OID_INT8, 0, 0 } },
	[FN_TRY_LOCK] = { OID_BOOL, 1, 1, { OID_INT8, 0, 0 } },
	[FN_UNLOCK] = { OID_BOOL, 1, 1, { OID_INT8, 0, 0 } },
	[FN_UNLOCK_ALL] = { OID_VOID, 0, 0, { 0, 0, 0 } },
	[FN_IN_RECOVERY] = { OID_BOOL, 0, 0, { 0, 0, 0 } },
};

static uint32_t number_type(const char *text)
{
	char *rest;
	long long v;

	errno = 0;
	v = strtoll(text, &rest, 10);
	if (*rest || errno)
		return OID_NUMERIC;
	return v >= INT32_MIN && v <= INT32_MAX ? OID_INT4 : OID_INT8;
}

static uint32_t type_of(const struct sql_expr *x, const uint32_t *oids)
{
	uint32_t a, b;

	switch (x->kind) {
	case EX_NUMBER:
		return number_type(x->text);
	case EX_BOOL:
		return OID_BOOL;
	case EX_PARAM:
		return oids && oids[x->param - 1] ? oids[x->param - 1] : OID_TEXT;
	case EX_CALL:
		return fns[x->func].result;
	case EX_BINARY:
		if (x->op == '|')
			return OID_TEXT;
		a = type_of(x->args, oids);
		b = type_of(x->args->next, oids);
		if (a == OID_NUMERIC || b == OID_NUMERIC)
			return OID_NUMERIC;
		return a == OID_INT8 || b == OID_INT8 ? OID_INT8 : OID_INT4;
	case EX_CASE:
		return type_of(x->args, oids);
	case EX_COUNT:
		return OID_INT8;
	case EX_NULL:
	case EX_TEXT:
	case EX_COLUMN:
	case EX_STAR:
	default:
		return OID_TEXT;
	}
}

static const char *column_name(const struct sql_expr *x)
{
	if (x->label)
		return x->label;
	switch (x->kind) {
	case EX_CALL:
	case EX_COLUMN:
		return x->text;
	case EX_CASE:
		return "case";
	case EX_COUNT:
		return "count";
	case EX_BOOL:
	case EX_NULL:
	case EX_TEXT:
	case EX_NUMBER:
	case EX_PARAM:
	case EX_STAR:
	case EX_BINARY:
	default:
		return "?column?";
	}
}

static const char *type_word(const struct sql_expr *x)
{
	switch (type_of(x, NULL)) {
	case OID_BOOL:
		return "boolean";
	case OID_INT4:
		return "integer";
	case OID_INT8:
		return "bigint";
	case OID_NUMERIC:
		return "numeric";
	default:
		return x->kind == EX_CALL || x->kind == EX_BINARY ? "text" : "unknown";
	}
}

/* ---- is it all there? ---- */

static enum got no_function(struct engine *e, const struct sql_expr *x)
{
	const struct sql_expr *a;
	char types[100];
	size_t n = 0;

	types[0] = 0;
	for (a = x->args; a && n < 80; a = a->next)
		n += (size_t)snprintf(types + n, sizeof(types) - n, "%s%s", n ? ", " : "",
				      type_word(a));
	return fail(e, "42883", "function %s(%s) does not exist", x->text, types);
}

static enum got check(struct engine *e, const struct sql_expr *x, uint32_t *oids, uint32_t want)
{
	const struct sql_expr *a;
	unsigned i = 0;

	if (x->kind == EX_PARAM) {
		if (!oids)
			return fail(e, "42P02", "there is no parameter $%u", x->param);
		if (!x->param || x->param > 1000)
			return fail(e, "42P02", "there is no parameter $%u", x->param);
		if (!oids[x->param - 1])
			oids[x->param - 1] = want;
	}
	if (x->kind == EX_COLUMN)
		return fail(e, "42703", "column \"%s\" does not exist", x->text);
	if (x->kind == EX_STAR)
		return fail(e, "42601", "SELECT * with no tables specified is not valid");
	/* what CockroachDB has not */
	if (x->kind == EX_CALL && e->crdb && (!x->func || x->func == FN_LOCK ||
					      x->func == FN_UNLOCK_ALL))
		return fail(e, "42883", "unknown function: %s()", x->text);
	if (x->kind == EX_CALL && (!x->func || x->n_args < fns[x->func].min ||
				   x->n_args > fns[x->func].max))
		return no_function(e, x);
	for (a = x->args; a; a = a->next, i++) {
		uint32_t type = x->kind == EX_CALL  ? fns[x->func].args[i] :
				x->op == '|'	    ? OID_TEXT :
						      OID_INT4;

		if (check(e, a, oids, type) == GOT_FAIL)
			return GOT_FAIL;
	}
	return GOT_DONE;
}

static enum got check_list(struct engine *e, const struct sql_stmt *st, uint32_t *oids,
			   uint32_t even, uint32_t odd)
{
	const struct sql_expr *x;
	unsigned i = 0;

	for (x = st->list; x; x = x->next, i++)
		if (check(e, x, oids, i & 1 ? odd : even) == GOT_FAIL)
			return GOT_FAIL;
	return GOT_DONE;
}

static enum got check_statement(struct engine *e, const struct sql_stmt *st, uint32_t *oids)
{
	switch ((int)st->kind) {
	case SQL_EXPRS:
		return check_list(e, st, oids, OID_TEXT, OID_TEXT);
	case SQL_KV:
	case SQL_SERIES:
		return check_list(e, st, oids, OID_INT4, OID_INT4);
	case SQL_UPDATE:
		return check_list(e, st, oids, OID_TEXT, OID_INT4);
	case SQL_INSERT:
		return check_list(e, st, oids, OID_INT4, OID_TEXT);
	case SQL_EXECUTE:
		return check_list(e, st, oids, OID_TEXT, OID_TEXT);
	case SQL_COUNT:
	case SQL_STAR:
		if (!temp_find(e, st->name) && (st->kind == SQL_STAR || strcmp(st->name, "kv") != 0))
			return fail(e, "42P01", "relation \"%s\" does not exist", st->name);
		return GOT_DONE;
	case SQL_SHOW:
		if (settings_find(e, st->name) < 0)
			return fail(e, "42704", "unrecognized configuration parameter \"%s\"",
				    st->name);
		return GOT_DONE;
	default:
		return GOT_DONE;
	}
}

enum got analyze(struct engine *e, const struct sql_stmt *st, uint32_t **oids, unsigned n,
		 unsigned *n_out)
{
	unsigned i, all;
	uint32_t *v;

	if (!oids)
		return check_statement(e, st, NULL);
	all = st->params > n ? st->params : n;
	if (all > 1000)
		return fail(e, "42P02", "there is no parameter $%u", st->params);
	v = mem_grow(NULL, (all + 1) * sizeof(*v));
	for (i = 0; i < all; i++)
		v[i] = i < n ? (*oids)[i] : 0;
	if (check_statement(e, st, v) == GOT_FAIL) {
		free(v);
		return GOT_FAIL;
	}
	for (i = n; i < all && e->crdb; i++)
		v[i] = v[i] == OID_INT4 ? OID_INT8 : v[i];
	for (i = 0; i < all; i++)
		if (!v[i]) {
			free(v);
			return fail(e, "42P18", "could not determine data type of parameter $%u",
				    i + 1);
		}
	*oids = v;
	*n_out = all;
	return GOT_DONE;
}

/* ---- columns of the result ---- */

static void describe_execute(struct engine *e, const struct sql_stmt *st, struct cols *out)
{
	struct prepared *p = prepared_find(e, st->name);

	if (p && *p->name && p->ast && p->ast->first && p->ast->first->kind != SQL_EXECUTE)
		describe(e, p->ast->first, p->oids, out);
}

static void describe_fetch(struct engine *e, const struct sql_stmt *st, struct cols *out)
{
	struct portal *p = portal_find(e, st->name);
	unsigned i;

	for (i = 0; p && i < p->cols.n; i++)
		cols_add(out, p->cols.v[i].name, p->cols.v[i].oid);
}

static void describe_plain(struct engine *e, const struct sql_stmt *st, const uint32_t *oids,
			   struct cols *out)
{
	const struct sql_expr *x;

	switch ((int)st->kind) {
	case SQL_EXPRS:
		out->any = true;
		for (x = st->list; x; x = x->next)
			cols_add(out, column_name(x), type_of(x, oids));
		break;
	case SQL_KV:
		if (st->with_key)
			cols_add(out, "k", OID_INT4);
		cols_add(out, "v", OID_TEXT);
		break;
	case SQL_SERIES:
		cols_add(out, st->name, OID_INT4);
		break;
	case SQL_COUNT:
		cols_add(out, "count", OID_INT8);
		break;
	case SQL_STAR:
		out->any = true;
		break;
	case SQL_SETTINGS:
		cols_add(out, "name", OID_TEXT);
		cols_add(out, "setting", OID_TEXT);
		break;
	case SQL_UPDATE:
	case SQL_INSERT:
		if (st->returning)
			cols_add(out, "v", OID_TEXT);
		break;
	case SQL_SHOW:
		if (settings_find(e, st->name) >= 0)
			cols_add(out, settings_name(e, settings_find(e, st->name)), OID_TEXT);
		break;
	case SQL_EXECUTE:
		describe_execute(e, st, out);
		break;
	case SQL_FETCH:
		describe_fetch(e, st, out);
		break;
	default:
		break;
	}
}

/* Whole numbers of CockroachDB have eight bytes. */
void describe(struct engine *e, const struct sql_stmt *st, const uint32_t *oids, struct cols *out)
{
	unsigned i;

	describe_plain(e, st, oids, out);
	for (i = 0; i < out->n && e->crdb; i++)
		if (out->v[i].oid == OID_INT4) {
			out->v[i].oid = OID_INT8;
			out->v[i].len = 8;
		}
}

/* ---- values ---- */

enum got parse_number(struct engine *e, const char *text, uint32_t oid, int64_t *out)
{
	const char *type = oid == OID_INT8 ? "bigint" : "integer";
	long long v;
	char *rest;

	errno = 0;
	v = strtoll(text, &rest, 10);
	while (*rest == ' ')
		rest++;
	if (rest == text || *rest)
		return fail(e, "22P02", "invalid input syntax for type %s: \"%.100s\"", type, text);
	if (errno || (oid != OID_INT8 && (v < INT32_MIN || v > INT32_MAX)))
		return fail(e, "22003", "value \"%.100s\" is out of range for type %s", text, type);
	*out = v;
	return GOT_DONE;
}

enum got eval_number(struct engine *e, const struct run *r, const struct sql_expr *x, int64_t *out,
		     bool *null)
{
	struct val v = { 0 };
	enum got got = eval(e, r, x, &v);

	*null = !v.text;
	*out = 0;
	if (got == GOT_DONE && v.text)
		got = parse_number(e, v.text,
				   type_of(x, r->oids) == OID_INT4 ? OID_INT4 : OID_INT8, out);
	val_free(&v);
	return got;
}

static enum got calculate(struct engine *e, const struct sql_expr *x, const uint32_t *oids, int64_t a,
			  int64_t b, struct val *out)
{
	bool small = type_of(x, oids) == OID_INT4, bad = false;
	char text[32];
	int64_t v = 0;

	if (x->op == '/' && b == 0)
		return fail(e, "22012", "division by zero");
	if (x->op == '+')
		bad = __builtin_add_overflow(a, b, &v);
	else if (x->op == '-')
		bad = __builtin_sub_overflow(a, b, &v);
	else if (x->op == '*')
		bad = __builtin_mul_overflow(a, b, &v);
	else if (b == -1)
		bad = __builtin_sub_overflow(0, a, &v);
	else
		v = a / b;
	if (bad || (small && (v < INT32_MIN || v > INT32_MAX)))
		return fail(e, "22003", "%s out of range", small ? "integer" : "bigint");
	(void)snprintf(text, sizeof(text), "%lld", (long long)v);
	val_set(out, text);
	return GOT_DONE;
}

static enum got eval_binary(struct engine *e, const struct run *r, const struct sql_expr *x,
			    struct val *out)
{
	struct val a = { 0 }, b = { 0 };
	bool null_a, null_b;
	int64_t m, n;
	enum got got;

	if (x->op != '|') {
		got = eval_number(e, r, x->args, &m, &null_a);
		if (got == GOT_DONE)
			got = eval_number(e, r, x->args->next, &n, &null_b);
		if (got != GOT_DONE || null_a || null_b)
			return got;
		return calculate(e, x, r->oids, m, n, out);
	}
	got = eval(e, r, x->args, &a);
	if (got == GOT_DONE)
		got = eval(e, r, x->args->next, &b);
	if (got == GOT_DONE && a.text && b.text) {
		out->len = a.len + b.len;
		out->text = mem_grow(NULL, out->len + 1);
		memcpy(out->text, a.text, a.len);
		memcpy(out->text + a.len, b.text, b.len + 1);
	}
	val_free(&a);
	val_free(&b);
	return got;
}

/* ---- functions ---- */

static enum got fn_repeat(struct engine *e, const struct val *a, struct val *out)
{
	int64_t n, i;

	if (parse_number(e, a[1].text, OID_INT4, &n) == GOT_FAIL)
		return GOT_FAIL;
	n = n < 0 ? 0 : n;
	if ((uint64_t)n * a[0].len > 0x3ffffff0u)
		return fail(e, "54000", "requested length too large");
	out->len = (size_t)n * a[0].len;
	out->text = mem_grow(NULL, out->len + 1);
	for (i = 0; i < n; i++)
		memcpy(out->text + (size_t)i * a[0].len, a[0].text, a[0].len);
	out->text[out->len] = 0;
	return GOT_DONE;
}

static enum got fn_sleep(struct engine *e, const struct val *a, struct val *out)
{
	double s = strtod(a[0].text, NULL);
	enum data d = DATA_OK;

	if (s > 0 && s < 1e9)
		d = e->env.sleep(e->env.arg, (uint64_t)llround(s * 1e6), &e->err);
	if (d == DATA_OK)
		val_set(out, "");
	return d == DATA_OK ? GOT_DONE : d == DATA_WAIT ? GOT_WAIT : env_fail(e);
}

static bool is_true(const char *text)
{
	return *text == 't' || *text == '1' || *text == 'y' || strcmp(text, "on") == 0;
}

static enum got fn_set_config(struct engine *e, const struct val *a, struct val *out)
{
	bool local = a[2].text && is_true(a[2].text);
	char text[32];
	int i;

	if (!a[0].text)
		return fail(e, "22004", "SET requires parameter name");
	if (local && e->crdb)
		return fail(e, "0A000", "unimplemented: transaction-scoped settings are not supported");
	if (settings_set(e, a[0].text, a[1].text, local ? SET_LOCAL : SET_SESSION) == GOT_FAIL)
		return GOT_FAIL;
	i = settings_find(e, a[0].text);
	val_set(out, guc_show(i < (int)guc_count() && !e->crdb ? guc_at((unsigned)i) : NULL,
			      settings_value(e, i), text, sizeof(text)));
	return GOT_DONE;
}

static enum got fn_current_setting(struct engine *e, const struct val *a, struct val *out)
{
	int i = settings_find(e, a[0].text);
	char text[32];

	if (i < 0 && a[1].text && is_true(a[1].text))
		return GOT_DONE;
	if (i < 0)
		return fail(e, "42704", "unrecognized configuration parameter \"%s\"", a[0].text);
	val_set(out, guc_show(i < (int)guc_count() && !e->crdb ? guc_at((unsigned)i) : NULL,
			      settings_value(e, i), text, sizeof(text)));
	return GOT_DONE;
}

static void note_lock(struct engine *e, unsigned number)
{
	unsigned i;

	for (i = 0; i < e->n_locks; i++)
		if (e->locks[i].number == number) {
			e->locks[i].count++;
			return;
		}
	e->locks = mem_grow(e->locks, (e->n_locks + 1) * sizeof(*e->locks));
	e->locks[e->n_locks++] = (struct held_lock){ number, 1 };
}

static bool forget_lock(struct engine *e, unsigned number)
{
	unsigned i;

	for (i = 0; i < e->n_locks; i++)
		if (e->locks[i].number == number) {
			(void)e->env.unlock(e->env.arg, number);
			if (!--e->locks[i].count)
				e->locks[i] = e->locks[--e->n_locks];
			return true;
		}
	return false;
}

static enum got fn_lock(struct engine *e, enum sql_func func, const struct val *a, struct val *out)
{
	enum data d = DATA_OK;
	int64_t n = 0;
	bool yes = true;

	if (func == FN_UNLOCK_ALL) {
		while (e->n_locks)
			(void)forget_lock(e, e->locks[0].number);
		val_set(out, "");
		return GOT_DONE;
	}
	if (parse_number(e, a[0].text, OID_INT8, &n) == GOT_FAIL)
		return GOT_FAIL;
	if (e->crdb) {
		val_set(out, "t"); /* its locks do nothing */
		return GOT_DONE;
	}
	if (func == FN_LOCK)
		d = e->env.lock(e->env.arg, (unsigned)n, &e->err);
	else if (func == FN_TRY_LOCK)
		yes = e->env.try_lock(e->env.arg, (unsigned)n);
	else
		yes = forget_lock(e, (unsigned)n);
	if (d != DATA_OK)
		return d == DATA_WAIT ? GOT_WAIT : env_fail(e);
	if (yes && func != FN_UNLOCK)
		note_lock(e, (unsigned)n);
	if (func == FN_UNLOCK && !yes)
		out_warning(e, "WARNING", "01000", "you don't own a lock of type ExclusiveLock");
	val_set(out, func == FN_LOCK ? "" : yes ? "t" : "f");
	return GOT_DONE;
}

static enum got call(struct engine *e, enum sql_func func, const struct val *a, struct val *out)
{
	char text[24];

	switch (func) {
	case FN_REPEAT:
		return fn_repeat(e, a, out);
	case FN_SLEEP:
		return fn_sleep(e, a, out);
	case FN_PID:
		(void)snprintf(text, sizeof(text), "%u", e->pid);
		val_set(out, text);
		return GOT_DONE;
	case FN_VERSION:
		val_set(out, e->version);
		return GOT_DONE;
	case FN_SET_CONFIG:
		return fn_set_config(e, a, out);
	case FN_CURRENT_SETTING:
		return fn_current_setting(e, a, out);
	case FN_IN_RECOVERY:
		val_set(out, e->conf.standby ? "t" : "f");
		return GOT_DONE;
	case FN_LOCK:
	case FN_TRY_LOCK:
	case FN_UNLOCK:
	case FN_UNLOCK_ALL:
		return fn_lock(e, func, a, out);
	case FN_UNKNOWN:
	case FN_COUNT:
	default:
		return GOT_DONE;
	}
}

static enum got eval_call(struct engine *e, const struct run *r, const struct sql_expr *x,
			  struct val *out)
{
	struct val a[3] = { { 0 }, { 0 }, { 0 } };
	const struct sql_expr *arg;
	enum got got = GOT_DONE;
	bool null = false;
	unsigned i = 0;

	for (arg = x->args; arg && got == GOT_DONE; arg = arg->next, i++) {
		got = eval(e, r, arg, &a[i]);
		null |= !a[i].text;
	}
	/* all but set_config are strict */
	if (got == GOT_DONE && (!null || x->func == FN_SET_CONFIG))
		got = call(e, x->func, a, out);
	for (i = 0; i < 3; i++)
		val_free(&a[i]);
	return got;
}

enum got eval(struct engine *e, const struct run *r, const struct sql_expr *x, struct val *out)
{
	const struct val *v;

	val_free(out);
	switch (x->kind) {
	case EX_TEXT:
	case EX_NUMBER:
	case EX_BOOL:
		val_set(out, x->text);
		return GOT_DONE;
	case EX_PARAM:
		v = x->param <= r->n_args ? &r->args[x->param - 1] : NULL;
		if (v && v->text)
			val_set_n(out, v->text, v->len);
		return GOT_DONE;
	case EX_CALL:
		return eval_call(e, r, x, out);
	case EX_BINARY:
		return eval_binary(e, r, x, out);
	case EX_CASE:
		return eval(e, r, engine_left(e) & x->what ? x->args : x->args->next, out);
	case EX_COUNT:
		val_set(out, "1");
		return GOT_DONE;
	case EX_NULL:
	case EX_COLUMN:
	case EX_STAR:
	default:
		return GOT_DONE;
	}
}

/* ---- before it is run ---- */

static bool is_constant(const struct sql_expr *x)
{
	if (x->kind == EX_BINARY || (x->kind == EX_CALL && x->func == FN_REPEAT))
		return is_constant(x->args) && is_constant(x->args->next);
	return x->kind == EX_NUMBER || x->kind == EX_TEXT || x->kind == EX_PARAM;
}

/* PostgreSQL calculates constants when it plans: before any row is described. */
enum got plan(struct engine *e, const struct run *r)
{
	const struct sql_expr *x;
	struct val v = { 0 };
	enum got got = GOT_DONE;

	for (x = r->st->list; r->st->kind == SQL_EXPRS && x && got != GOT_FAIL; x = x->next)
		if (x->n_args && is_constant(x))
			got = eval(e, r, x, &v);
	val_free(&v);
	return got == GOT_FAIL ? GOT_FAIL : GOT_DONE;
}
