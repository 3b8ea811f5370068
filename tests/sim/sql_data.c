/* tests/sim/sql_data.c - the half of the parser that reads queries and expressions;
 * see sql.h
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "sql_parse.h"
#include "store.h"

static struct sql_expr *expr(struct parser *p);

static struct sql_expr *node(struct parser *p, enum sql_expr_kind kind, const char *text)
{
	struct sql_expr *e = p_alloc(p, sizeof(*e));

	e->kind = kind;
	e->text = text;
	return e;
}

/* OPERATOR(pg_catalog.x) or the sign itself. */
static bool take_operator(struct parser *p, const char *sign)
{
	const struct sql_token *was = p->t;

	if (p_take_sign(p, sign))
		return true;
	if (!p_take(p, "operator"))
		return false;
	if (p_take_sign(p, "(") && p_take(p, "pg_catalog") && p_take_sign(p, ".") &&
	    p_take_sign(p, sign) && p_take_sign(p, ")"))
		return true;
	p->t = was;
	return false;
}

static bool need_operator(struct parser *p, const char *sign)
{
	return take_operator(p, sign) || p_fail(p);
}

/* ---- calls ---- */

static const struct {
	const char *name;
	enum sql_func func;
} functions[] = {
	{ "repeat", FN_REPEAT },
	{ "pg_sleep", FN_SLEEP },
	{ "pg_backend_pid", FN_PID },
	{ "version", FN_VERSION },
	{ "set_config", FN_SET_CONFIG },
	{ "current_setting", FN_CURRENT_SETTING },
	{ "pg_advisory_lock", FN_LOCK },
	{ "pg_try_advisory_lock", FN_TRY_LOCK },
	{ "pg_advisory_unlock", FN_UNLOCK },
	{ "pg_advisory_unlock_all", FN_UNLOCK_ALL },
	{ "pg_is_in_recovery", FN_IN_RECOVERY },
};

static enum sql_func function_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		if (strcmp(functions[i].name, name) == 0)
			return functions[i].func;
	return FN_UNKNOWN;
}

static struct sql_expr *call(struct parser *p, const char *name)
{
	struct sql_expr *e = node(p, EX_CALL, name), **end = &e->args;

	e->func = function_of(name);
	if (strcmp(name, "count") == 0 && p_take_sign(p, "*")) {
		e->kind = EX_COUNT;
		return p_need_sign(p, ")") ? e : NULL;
	}
	if (p_take_sign(p, ")"))
		return e;
	do {
		*end = expr(p);
		if (!*end)
			return NULL;
		end = &(*end)->next;
		e->n_args++;
	} while (p_take_sign(p, ","));
	return p_need_sign(p, ")") ? e : NULL;
}

/* What is asked for by EXISTS(SELECT FROM ...), as pgweir asks. */
static unsigned exists(struct parser *p)
{
	static const struct {
		const char *name;
		unsigned what;
	} from[] = {
		{ "pg_listening_channels", LEFT_LISTEN }, { "pg_depend", LEFT_TEMP },
		{ "pg_cursors", LEFT_HOLD },		  { "pg_locks", LEFT_LOCK },
		{ "pg_prepared_statements", LEFT_PREPARE },
	};
	unsigned what = 0, depth = 1;
	size_t i;

	if (p_take(p, "pg_catalog") && !p_need_sign(p, "."))
		return 0;
	for (i = 0; i < sizeof(from) / sizeof(*from); i++)
		if (p_is(p, from[i].name))
			what = from[i].what;
	if (!what)
		return 0;
	while (depth && p->t->kind != TOKEN_END && p->t->kind != TOKEN_BAD && !p_sign(p, ";")) {
		depth += p_sign(p, "(");
		depth -= p_sign(p, ")");
		p_next(p);
	}
	return depth ? 0 : what;
}

static struct sql_expr *one_case(struct parser *p)
{
	struct sql_expr *e = node(p, EX_CASE, "case");

	if (!p_need(p, "when") || !p_need(p, "exists") || !p_need_sign(p, "(") ||
	    !p_need(p, "select") || !p_need(p, "from"))
		return NULL;
	e->what = exists(p);
	if (!e->what) {
		p_fail(p);
		return NULL;
	}
	e->args = p_need(p, "then") ? expr(p) : NULL;
	if (!e->args || !p_need(p, "else"))
		return NULL;
	e->args->next = expr(p);
	e->n_args = 2;
	return e->args->next && p_need(p, "end") ? e : NULL;
}

/* ---- expressions ---- */

/* Words that begin or go on with something, and are no columns. */
static bool reserved(const struct parser *p)
{
	static const char *const words[] = { "from", "where", "select", "as",   "for",	"and",
					     "or",   "in",    "then",	"else", "end",	"when",
					     "order", "limit", "union", "to",	"into", "returning" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (p_is(p, words[i]))
			return true;
	return false;
}

static struct sql_expr *signed_number(struct parser *p)
{
	struct sql_expr *e;
	size_t n;
	char *text;

	if (p->t->kind != TOKEN_NUMBER) {
		p_fail(p);
		return NULL;
	}
	n = strlen(p->t->text) + 2;
	text = p_alloc(p, n);
	(void)snprintf(text, n, "-%s", p->t->text);
	e = node(p, EX_NUMBER, text);
	p_next(p);
	return e;
}

static struct sql_expr *from_word(struct parser *p)
{
	const char *name;

	if (p_take(p, "null"))
		return node(p, EX_NULL, "");
	if (p_take(p, "true"))
		return node(p, EX_BOOL, "t");
	if (p_take(p, "false"))
		return node(p, EX_BOOL, "f");
	if (p_take(p, "case"))
		return one_case(p);
	if (p_take(p, "pg_catalog") && !p_need_sign(p, "."))
		return NULL;
	if (reserved(p)) {
		p_fail(p);
		return NULL;
	}
	name = p_name(p);
	if (!name)
		return NULL;
	return p_take_sign(p, "(") ? call(p, name) : node(p, EX_COLUMN, name);
}

static struct sql_expr *primary(struct parser *p)
{
	struct sql_expr *e = NULL;

	if (p->failed)
		return NULL;
	if (p_take_sign(p, "-"))
		return signed_number(p);
	if (p_take_sign(p, "(")) {
		e = expr(p);
		return e && p_need_sign(p, ")") ? e : NULL;
	}
	if (p_take_sign(p, "*"))
		return node(p, EX_STAR, "*");
	if (p->t->kind == TOKEN_WORD || p->t->kind == TOKEN_NAME)
		return from_word(p);
	if (p->t->kind == TOKEN_STRING || p->t->kind == TOKEN_NUMBER) {
		e = node(p, p->t->kind == TOKEN_STRING ? EX_TEXT : EX_NUMBER, p->t->text);
		e->quoted = p->t->kind == TOKEN_STRING;
	} else if (p->t->kind == TOKEN_PARAM) {
		e = node(p, EX_PARAM, "");
		e->param = p->t->param;
		if (e->param > p->params)
			p->params = e->param;
	} else {
		p_fail(p);
		return NULL;
	}
	p_next(p);
	return e;
}

/* From left to right: nobody here relies on * before +. */
static struct sql_expr *expr(struct parser *p)
{
	static const char *const ops[] = { "+", "-", "*", "/", "||" };
	struct sql_expr *left = primary(p), *e;
	size_t i;

	while (left) {
		for (i = 0; i < 5 && !take_operator(p, ops[i]); i++)
			;
		if (i == 5)
			break;
		e = node(p, EX_BINARY, "?column?");
		e->op = ops[i][0];
		e->args = left;
		e->n_args = 2;
		left->next = primary(p);
		left = left->next ? e : NULL;
	}
	return left;
}

static bool add(struct sql_stmt *st, struct sql_expr ***end, struct sql_expr *e)
{
	if (!e)
		return false;
	**end = e;
	*end = &e->next;
	st->n_list++;
	return true;
}

/* ---- SELECT ---- */

static bool select_list(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list, *e;

	do {
		e = expr(p);
		if (!add(st, &end, e))
			return false;
		if (p_take(p, "as"))
			e->label = p_name(p);
		else if ((p->t->kind == TOKEN_WORD && !reserved(p)) || p->t->kind == TOKEN_NAME)
			e->label = p_name(p);
		if (p->failed)
			return false;
	} while (p_take_sign(p, ","));
	return true;
}

/* Numbers of all keys. */
static bool all_keys(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;
	unsigned i;

	for (i = 0; i < KEYS; i++) {
		char *text = p_alloc(p, 12);

		(void)snprintf(text, 12, "%u", i);
		(void)add(st, &end, node(p, EX_NUMBER, text));
	}
	return true;
}

static bool where_key(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	if (!p_take(p, "where"))
		return all_keys(p, st);
	if (!p_need(p, "k"))
		return false;
	if (!p_take(p, "in"))
		return need_operator(p, "=") && add(st, &end, expr(p));
	if (!p_need_sign(p, "("))
		return false;
	do {
		if (!add(st, &end, expr(p)))
			return false;
	} while (p_take_sign(p, ","));
	return p_need_sign(p, ")");
}

static bool is_column(const struct sql_expr *e, const char *name)
{
	return e && e->kind == EX_COLUMN && strcmp(e->text, name) == 0 && !e->label;
}

static bool from_kv(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr *e = st->list;
	bool star = e->kind == EX_STAR && !e->next;

	st->kind = SQL_KV;
	st->with_key = star || (is_column(e, "k") && is_column(e->next, "v") && !e->next->next);
	if (!st->with_key && !(is_column(e, "v") && !e->next)) {
		p->message = "this is not offered of kv";
		return p_fail(p);
	}
	st->list = NULL;
	st->n_list = 0;
	if (!where_key(p, st))
		return false;
	if (p_take(p, "order"))
		return p_need(p, "by") && p_need(p, "k");
	return !p_take(p, "for") || p_need(p, "update");
}

static bool from_series(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	if (st->list->kind != EX_COLUMN || st->list->next)
		return p_fail(p);
	st->kind = SQL_SERIES;
	st->name = st->list->text;
	st->list = NULL;
	st->n_list = 0;
	if (!p_need_sign(p, "(") || p->t->kind != TOKEN_NUMBER || strcmp(p->t->text, "1") != 0)
		return p_fail(p);
	p_next(p);
	if (!p_need_sign(p, ",") || !add(st, &end, expr(p)) || !p_need_sign(p, ")"))
		return false;
	(void)p_take(p, "as");
	return p_need(p, st->name);
}

static bool from_settings(struct parser *p, struct sql_stmt *st)
{
	if (!is_column(st->list, "name") || !is_column(st->list->next, "setting") ||
	    st->list->next->next)
		return p_fail(p);
	st->kind = SQL_SETTINGS;
	if (!p_need(p, "where") || !p_need(p, "source") || !need_operator(p, "="))
		return false;
	if (p->t->kind != TOKEN_STRING || strcmp(p->t->text, "session") != 0)
		return p_fail(p);
	p_next(p);
	return true;
}

bool p_select(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_EXPRS;
	if (p_end(p))
		return true; /* a row of nothing */
	if (!select_list(p, st))
		return false;
	if (!p_take(p, "from"))
		return true;
	if (p_take(p, "pg_catalog") && !p_need_sign(p, "."))
		return false;
	if (p_take(p, "kv"))
		return st->list->kind == EX_COUNT ? (st->kind = SQL_COUNT, st->name = "kv", true) :
						    from_kv(p, st);
	if (p_take(p, "generate_series"))
		return from_series(p, st);
	if (p_take(p, "pg_settings"))
		return from_settings(p, st);
	st->kind = st->list->kind == EX_COUNT ? SQL_COUNT : SQL_STAR;
	return (st->name = p_name(p)) != NULL;
}

/* ---- writes ---- */

static bool returning(struct parser *p, struct sql_stmt *st)
{
	if (!p_take(p, "returning"))
		return true;
	st->returning = true;
	return p_need(p, "v");
}

bool p_update(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	st->kind = SQL_UPDATE;
	return p_need(p, "kv") && p_need(p, "set") && p_need(p, "v") && p_need_sign(p, "=") &&
	       p_need(p, "v") && need_operator(p, "||") && add(st, &end, primary(p)) &&
	       p_need(p, "where") && p_need(p, "k") && need_operator(p, "=") &&
	       add(st, &end, expr(p)) && returning(p, st);
}

bool p_insert(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	st->kind = SQL_INSERT;
	if (!p_need(p, "into") || !p_need(p, "kv"))
		return false;
	if (p_take_sign(p, "(") && !(p_need(p, "k") && p_need_sign(p, ",") && p_need(p, "v") &&
				     p_need_sign(p, ")")))
		return false;
	if (!p_need(p, "values"))
		return false;
	do {
		if (!p_need_sign(p, "(") || !add(st, &end, expr(p)) || !p_need_sign(p, ",") ||
		    !add(st, &end, expr(p)) || !p_need_sign(p, ")"))
			return false;
	} while (p_take_sign(p, ","));
	return returning(p, st);
}

bool p_copy(struct parser *p, struct sql_stmt *st)
{
	if (!p_need(p, "kv"))
		return false;
	if (p_take_sign(p, "(") && !(p_need(p, "k") && p_need_sign(p, ",") && p_need(p, "v") &&
				     p_need_sign(p, ")")))
		return false;
	if (!p->crdb && p_take(p, "to")) {
		st->kind = SQL_COPY_OUT;
		return p_need(p, "stdout");
	}
	st->kind = SQL_COPY_IN;
	return p_need(p, "from") && p_need(p, "stdin");
}

/* ---- statements and cursors with names ---- */

/* What follows, to the end of the statement, as text. */
static bool inner(struct parser *p, struct sql_stmt *st, bool select_only)
{
	struct sql_stmt *it = p_alloc(p, sizeof(*it));
	const struct sql_token *from = p->t;
	unsigned params = p->params;
	size_t end;
	bool ok;

	if (p_take(p, "select"))
		ok = p_select(p, it);
	else if (!select_only && p_take(p, "update"))
		ok = p_update(p, it);
	else if (!select_only && p_take(p, "insert"))
		ok = p_insert(p, it);
	else
		return p_fail(p);
	if (!ok || p->failed || !p_end(p))
		return p_fail(p);
	end = p->t->at;
	st->text = sql_copy(p->blocks, p->source + from->at, end - from->at);
	p->params = params; /* they are its own */
	return true;
}

bool p_prepare(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	st->kind = SQL_PREPARE;
	st->name = p_name(p);
	if (!st->name)
		return false;
	if (p_take_sign(p, "(")) {
		do {
			const char *type = p_name(p);

			if (!type || !add(st, &end, node(p, EX_COLUMN, type)))
				return false;
		} while (p_take_sign(p, ","));
		if (!p_need_sign(p, ")"))
			return false;
	}
	return p_need(p, "as") && inner(p, st, false);
}

bool p_execute(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	st->kind = SQL_EXECUTE;
	st->name = p_name(p);
	if (!st->name)
		return false;
	if (!p_take_sign(p, "("))
		return true;
	do {
		if (!add(st, &end, expr(p)))
			return false;
	} while (p_take_sign(p, ","));
	return p_need_sign(p, ")");
}

bool p_deallocate(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_DEALLOCATE;
	(void)p_take(p, "prepare");
	return p_take(p, "all") || (st->name = p_name(p)) != NULL;
}

bool p_declare(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_DECLARE;
	st->name = p_name(p);
	if (!st->name || !p_need(p, "cursor"))
		return false;
	if (p_take(p, "with")) {
		st->hold = true;
		if (!p_need(p, "hold"))
			return false;
	}
	return p_need(p, "for") && inner(p, st, true);
}

bool p_fetch(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_FETCH;
	st->count = 1;
	if (p_take(p, "all")) {
		st->count = INT64_MAX;
	} else if (p->t->kind == TOKEN_NUMBER) {
		st->count = strtoll(p->t->text, NULL, 10);
		p_next(p);
	} else {
		(void)p_take(p, "next");
	}
	if (!p_take(p, "from"))
		(void)p_take(p, "in");
	return (st->name = p_name(p)) != NULL;
}

bool p_close(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_CLOSE;
	return p_take(p, "all") || (st->name = p_name(p)) != NULL;
}
