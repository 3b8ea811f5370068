/* tests/sim/sql.c - see sql.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "sql_lex.h"
#include "sql_parse.h"
#include "store.h"

/* ---- words ---- */

void *p_alloc(struct parser *p, size_t n)
{
	return sql_alloc(p->blocks, n);
}

bool p_is(const struct parser *p, const char *word)
{
	return p->t->kind == TOKEN_WORD && strcmp(p->t->text, word) == 0;
}

bool p_sign(const struct parser *p, const char *sign)
{
	return p->t->kind == TOKEN_SIGN && strcmp(p->t->text, sign) == 0;
}

/* Nothing is read beyond the end, or beyond what is wrong. */
void p_next(struct parser *p)
{
	if (p->t->kind != TOKEN_END && p->t->kind != TOKEN_BAD)
		p->t++;
}

bool p_take(struct parser *p, const char *word)
{
	if (p->failed || !p_is(p, word))
		return false;
	p_next(p);
	return true;
}

bool p_take_sign(struct parser *p, const char *sign)
{
	if (p->failed || !p_sign(p, sign))
		return false;
	p_next(p);
	return true;
}

bool p_fail(struct parser *p)
{
	p->failed = true;
	return false;
}

bool p_need(struct parser *p, const char *word)
{
	return p_take(p, word) || p_fail(p);
}

bool p_need_sign(struct parser *p, const char *sign)
{
	return p_take_sign(p, sign) || p_fail(p);
}

/* A name; NULL, and it has failed: none. */
const char *p_name(struct parser *p)
{
	const char *text = p->t->text;

	if (p->failed || (p->t->kind != TOKEN_WORD && p->t->kind != TOKEN_NAME)) {
		p_fail(p);
		return NULL;
	}
	p_next(p);
	return text;
}

bool p_end(const struct parser *p)
{
	return p->t->kind == TOKEN_END || p_sign(p, ";");
}

/* ---- the statements that are only words ---- */

static void p_work(struct parser *p)
{
	if (!p_take(p, "work"))
		(void)p_take(p, "transaction");
}

static bool modes(struct parser *p, struct sql_stmt *st)
{
	bool any = false;

	while (!p_end(p)) {
		if (any)
			(void)p_take_sign(p, ",");
		any = true;
		if (p_take(p, "isolation")) {
			if (!p_need(p, "level"))
				return false;
			if (p_take(p, "repeatable")) {
				if (!p_need(p, "read"))
					return false;
			} else if (p_take(p, "read")) {
				if (!p_take(p, "committed") && !p_need(p, "uncommitted"))
					return false;
			} else if (!p_need(p, "serializable")) {
				return false;
			}
		} else if (p_take(p, "read")) {
			st->read_only = p_is(p, "only");
			st->read_write = !st->read_only;
			if (!p_take(p, "only") && !p_need(p, "write"))
				return false;
		} else if (p_take(p, "not")) {
			if (!p_need(p, "deferrable"))
				return false;
		} else if (p_take(p, "priority")) {
			if (!p->crdb || !p_name(p))
				return p_fail(p);
		} else if (!p_need(p, "deferrable")) {
			return false;
		}
	}
	return true;
}

static bool p_begin(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_BEGIN;
	if (st->start && !p_need(p, "transaction"))
		return false;
	if (!st->start)
		p_work(p);
	return modes(p, st);
}

static bool p_start(struct parser *p, struct sql_stmt *st)
{
	st->start = true;
	return p_begin(p, st);
}

static bool chain(struct parser *p, struct sql_stmt *st)
{
	if (p->crdb || !p_take(p, "and"))
		return true;
	st->chain = !p_take(p, "no");
	return p_need(p, "chain");
}

static bool p_commit(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_COMMIT;
	p_work(p);
	return chain(p, st);
}

static bool p_rollback(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_ROLLBACK;
	p_work(p);
	if (p_take(p, "to")) {
		st->kind = SQL_ROLLBACK_TO;
		(void)p_take(p, "savepoint");
		return (st->name = p_name(p)) != NULL;
	}
	return chain(p, st);
}

static bool p_savepoint(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_SAVEPOINT;
	return (st->name = p_name(p)) != NULL;
}

static bool p_release(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_RELEASE;
	(void)p_take(p, "savepoint");
	return (st->name = p_name(p)) != NULL;
}

static bool p_discard(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_DISCARD;
	st->name = p->t->text;
	if (p_take(p, "temporary")) {
		st->name = "temp";
		return true;
	}
	return p_take(p, "all") || p_take(p, "plans") || p_take(p, "temp") || p_need(p, "sequences");
}

static bool p_listen(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_LISTEN;
	return (st->name = p_name(p)) != NULL;
}

static bool p_unlisten(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_UNLISTEN;
	return p_take_sign(p, "*") || (st->name = p_name(p)) != NULL;
}

static bool p_notify(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_NOTIFY;
	st->text = "";
	st->name = p_name(p);
	if (!p_take_sign(p, ","))
		return st->name != NULL;
	if (p->t->kind != TOKEN_STRING)
		return p_fail(p);
	st->text = p->t->text;
	p_next(p);
	return true;
}

/* CREATE TEMP TABLE t (...) [ON COMMIT DROP]: the columns are not looked at. */
static bool p_create(struct parser *p, struct sql_stmt *st)
{
	unsigned depth = 0;

	st->kind = SQL_CREATE_TEMP;
	if (!p_take(p, "temporary") && !p_need(p, "temp"))
		return false;
	if (!p_need(p, "table"))
		return false;
	st->name = p_name(p);
	if (!p_sign(p, "("))
		return p_fail(p);
	do {
		depth += p_sign(p, "(");
		depth -= p_sign(p, ")");
		if (p_sign(p, ";") || p->t->kind == TOKEN_END)
			return p_fail(p);
		p_next(p);
	} while (depth && p->t->kind != TOKEN_BAD);
	if (!p_take(p, "on"))
		return true;
	st->on_commit_drop = true;
	return p_need(p, "commit") && p_need(p, "drop");
}

static bool p_drop(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_DROP;
	if (!p_need(p, "table"))
		return false;
	if (p_take(p, "if")) {
		st->if_exists = true;
		if (!p_need(p, "exists"))
			return false;
	}
	return (st->name = p_name(p)) != NULL;
}

/* ---- settings ---- */

/* a or a.b.c */
static const char *dotted(struct parser *p)
{
	const char *first = p_name(p), *more;
	char *whole;
	size_t n;

	while (first && p_take_sign(p, ".")) {
		more = p_name(p);
		if (!more)
			return NULL;
		n = strlen(first) + strlen(more) + 2;
		whole = p_alloc(p, n);
		(void)snprintf(whole, n, "%s.%s", first, more);
		first = whole;
	}
	return first;
}

static struct sql_expr *value(struct parser *p)
{
	struct sql_expr *e = p_alloc(p, sizeof(*e));
	bool minus;

	e->kind = EX_TEXT;
	e->text = p->t->text;
	e->quoted = p->t->kind == TOKEN_STRING;
	minus = p_take_sign(p, "-");
	if (!minus)
		(void)p_take_sign(p, "+");
	if (p->t->kind == TOKEN_NUMBER) {
		size_t n = strlen(p->t->text) + 2;
		char *text = p_alloc(p, n);

		(void)snprintf(text, n, "%s%s", minus ? "-" : "", p->t->text);
		e->text = text;
		e->kind = EX_NUMBER;
	} else if (minus || (p->t->kind != TOKEN_WORD && p->t->kind != TOKEN_NAME &&
			     p->t->kind != TOKEN_STRING)) {
		p_fail(p);
		return NULL;
	}
	p_next(p);
	return e;
}

static bool values(struct parser *p, struct sql_stmt *st)
{
	struct sql_expr **end = &st->list;

	if (p_take(p, "default"))
		return true;
	do {
		*end = value(p);
		if (!*end)
			return false;
		end = &(*end)->next;
		st->n_list++;
	} while (p_take_sign(p, ","));
	return true;
}

static bool set_zone(struct parser *p, struct sql_stmt *st)
{
	st->name = "timezone";
	if (!p_need(p, "zone"))
		return false;
	return p_take(p, "local") || values(p, st);
}

static bool set_authorization(struct parser *p, struct sql_stmt *st)
{
	st->name = "session_authorization";
	if (!p_need(p, "authorization") || (p->crdb && !p_is(p, "default")))
		return p_fail(p);
	return values(p, st);
}

static bool p_set(struct parser *p, struct sql_stmt *st)
{
	bool session;

	st->kind = SQL_SET;
	session = p_take(p, "session");
	if (session && p_is(p, "authorization"))
		return set_authorization(p, st);
	if (session && p_take(p, "characteristics")) {
		st->kind = SQL_SET_TRANSACTION;
		st->start = true; /* of the session */
		return p_need(p, "as") && p_need(p, "transaction") && modes(p, st);
	}
	st->local = !session && p_take(p, "local");
	if (st->local && p->crdb) {
		p->sqlstate = "0A000";
		p->message = "at or near \"local\": syntax error: unimplemented: this syntax";
		return p_fail(p);
	}
	if (p_take(p, "session"))
		return set_authorization(p, st);
	if (p_take(p, "time"))
		return set_zone(p, st);
	if (p_take(p, "transaction")) {
		st->kind = SQL_SET_TRANSACTION;
		return modes(p, st);
	}
	if (p_take(p, "names")) {
		st->name = "client_encoding";
		return values(p, st);
	}
	st->name = dotted(p);
	if (!st->name)
		return false;
	if (strcmp(st->name, "role") == 0 && !p_sign(p, "=") && !p_is(p, "to"))
		return !p->crdb ? values(p, st) : p_fail(p);
	if (!p_take_sign(p, "=") && !p_need(p, "to"))
		return false;
	return values(p, st);
}

/* The name behind RESET or SHOW. */
static const char *setting_name(struct parser *p)
{
	if (p_take(p, "time"))
		return p_need(p, "zone") ? "timezone" : NULL;
	if (p_take(p, "transaction"))
		return p_need(p, "isolation") && p_need(p, "level") ? "transaction_isolation" : NULL;
	if (!p->crdb && p_take(p, "session"))
		return p_need(p, "authorization") ? "session_authorization" : NULL;
	return dotted(p);
}

static bool p_reset(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_RESET;
	if (p->crdb && (p_is(p, "role") || p_is(p, "session")))
		return p_fail(p);
	if (!p->crdb && p_take(p, "all")) {
		st->kind = SQL_RESET_ALL;
		return true;
	}
	return (st->name = setting_name(p)) != NULL;
}

static bool p_show(struct parser *p, struct sql_stmt *st)
{
	st->kind = SQL_SHOW;
	return (st->name = setting_name(p)) != NULL;
}

/* ---- all of them ---- */

static const struct {
	const char *word;
	bool (*parse)(struct parser *p, struct sql_stmt *st);
	bool pg_only;
} verbs[] = {
	{ "select", p_select, false },	   { "update", p_update, false },
	{ "insert", p_insert, false },	   { "copy", p_copy, false },
	{ "begin", p_begin, false },	   { "start", p_start, false },
	{ "commit", p_commit, false },	   { "end", p_commit, false },
	{ "rollback", p_rollback, false }, { "abort", p_rollback, false },
	{ "savepoint", p_savepoint, false }, { "release", p_release, false },
	{ "set", p_set, false },	   { "reset", p_reset, false },
	{ "show", p_show, false },	   { "discard", p_discard, false },
	{ "prepare", p_prepare, false },   { "execute", p_execute, false },
	{ "deallocate", p_deallocate, false }, { "listen", p_listen, true },
	{ "unlisten", p_unlisten, true },  { "notify", p_notify, true },
	{ "create", p_create, false },	   { "drop", p_drop, false },
	{ "declare", p_declare, false },   { "fetch", p_fetch, true },
	{ "close", p_close, false },
};

static bool statement(struct parser *p, struct sql_stmt *st)
{
	size_t i;

	for (i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		if (p_is(p, verbs[i].word) && !(verbs[i].pg_only && p->crdb)) {
			p_next(p);
			return verbs[i].parse(p, st);
		}
	if (p->crdb && p_take(p, "upsert")) {
		st->upsert = true;
		return p_insert(p, st);
	}
	return p_fail(p);
}

static void say_error(const struct parser *p, struct sql_error *err)
{
	const struct sql_token *t = p->t;
	int n = (int)(t->end - t->at > 150 ? 150 : t->end - t->at);

	(void)snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", p->sqlstate ? p->sqlstate : "42601");
	if (p->message)
		(void)snprintf(err->message, sizeof(err->message), "%s", p->message);
	else if (t->kind == TOKEN_BAD)
		(void)snprintf(err->message, sizeof(err->message), "%s", t->text);
	else if (t->kind == TOKEN_END)
		(void)snprintf(err->message, sizeof(err->message), p->crdb ?
			       "at or near \"EOF\": syntax error" : "syntax error at end of input");
	else if (p->crdb)
		(void)snprintf(err->message, sizeof(err->message), "at or near \"%.*s\": syntax error",
			       n, p->source + t->at);
	else
		(void)snprintf(err->message, sizeof(err->message),
			       "syntax error at or near \"%.*s\"", n, p->source + t->at);
}

struct sql *sql_parse(const char *text, size_t n, bool backslashes, bool crdb,
		      struct sql_error *err)
{
	struct sql_block *blocks = NULL;
	struct sql *s = sql_alloc(&blocks, sizeof(*s));
	struct sql_stmt **end = &s->first, *st;
	struct parser p = { .blocks = &blocks, .source = text, .crdb = crdb };

	err->n_warnings = 0;
	p.t = sql_tokens(&blocks, text, n, backslashes, err);
	for (;;) {
		while (p_take_sign(&p, ";"))
			;
		if (p.t->kind == TOKEN_END)
			break;
		st = p_alloc(&p, sizeof(*st));
		p.params = 0;
		if (!statement(&p, st) || p.failed || !p_end(&p)) {
			say_error(&p, err);
			sql_free_blocks(blocks);
			return NULL;
		}
		st->params = p.params;
		*end = st;
		end = &st->next;
		s->n++;
	}
	s->refs = 1;
	s->blocks = blocks;
	return s;
}

void sql_free(struct sql *s)
{
	if (s && --s->refs == 0)
		sql_free_blocks(s->blocks);
}
