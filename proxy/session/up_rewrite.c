/* proxy/session/up_rewrite.c - see up_rewrite.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/up_stmt.h"
#include "wire/wire.h"

/* More names than that in one text stay as they are. */
#define REWRITES_MAX 32u

struct spot {
	size_t at, len;                  /* of the name in the text */
	char name[STMT_NAME_CAP];        /* the server's, or of an empty statement */
};

struct rewrite {
	struct up *u;
	const char *sql;
	struct spot spot[REWRITES_MAX];
	unsigned n, empty;
	enum step r;
};

static struct spot *new_spot(struct rewrite *w, const struct lex_token *t)
{
	/* a quoted name stands in its quotes */
	size_t q = t->kind == LEX_QUOTED ? 1 : 0;
	struct spot *s = &w->spot[w->n];

	if (w->n == REWRITES_MAX)
		return NULL;
	s->at = (size_t)(t->text - w->sql) - q;
	s->len = t->len + 2 * q;
	w->n++;
	return s;
}

/* An empty statement, made anew. */
static enum step put_empty(struct up *u, const char *name)
{
	static const uint8_t nothing[] = { 0, 0, 0 };
	uint8_t b[128];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	if (r == STEP_ON)
		r = up_owe(u, 'C', 0, true, 0, NULL);
	if (r == STEP_ON)
		r = up_owe(u, 'P', 0, true, 0, NULL);
	if (r != STEP_ON)
		return r;
	wire_put_close(&w, name);
	wire_begin(&w, 'P');
	wire_put_str(&w, name);
	wire_put_bytes(&w, nothing, sizeof(nothing));
	wire_end(&w);
	gather_copy(&u->g, b, w.len);
	return STEP_ON;
}

static void on_deallocate(struct rewrite *w, struct lex *l)
{
	struct client *c = w->u->c;
	struct lex_token t = lex_next(l);
	char name[256];
	struct spot *s;

	if (lex_is(&t, "prepare"))
		t = lex_next(l);
	if (lex_is(&t, "all") || !names_identifier(&t, name, sizeof(name)))
		return;
	if (!stmt_names_get(&c->names, name) || names_is_leaving(c, name)) {
		w->r = names_leaving(c, "") ? up_refuse(w->u, "out of memory", "53200", "out of memory") :
					      STEP_ON;
		return;
	}
	s = new_spot(w, &t);
	if (!s)
		return;
	(void)snprintf(s->name, sizeof(s->name), STMT_PREFIX "x%u", w->empty++);
	w->r = names_leaving(c, name) ? up_refuse(w->u, "out of memory", "53200", "out of memory") :
					put_empty(w->u, s->name);
}

static void on_execute(struct rewrite *w, struct lex *l)
{
	struct lex ahead = *l;
	struct lex_token t = lex_next(&ahead);
	struct stmt *st;
	char name[256];
	struct spot *s;

	if (!names_identifier(&t, name, sizeof(name)))
		return;
	st = stmt_names_get(&w->u->c->names, name);
	s = st ? new_spot(w, &t) : NULL;
	if (!s)
		return;
	stmt_name(st->id, s->name);
	w->r = up_need_stmt(w->u, st);
}

static void walk(struct rewrite *w, size_t n)
{
	struct lex_token t;
	bool start = true;
	struct lex l;

	lex_init(&l, w->sql, n);
	for (t = lex_next(&l); w->r == STEP_ON && t.kind != LEX_END && t.kind != LEX_BAD;
	     t = lex_next(&l)) {
		if (start && lex_is(&t, "deallocate"))
			on_deallocate(w, &l);
		else if (lex_is(&t, "execute")) /* of EXPLAIN too; GRANT EXECUTE names none */
			on_execute(w, &l);
		start = t.kind == LEX_PUNCT && t.len == 1 && *t.text == ';';
	}
}

static uint8_t *build(const struct rewrite *w, size_t n, size_t *out_len)
{
	size_t cap = WIRE_HEADER + n + 1 + (size_t)w->n * STMT_NAME_CAP, at = 0;
	uint8_t *b = malloc(cap);
	struct wire_put p = wire_put_to(b, cap);
	unsigned i;

	if (!b)
		return NULL;
	wire_begin(&p, 'Q');
	for (i = 0; i < w->n; i++) {
		wire_put_bytes(&p, w->sql + at, w->spot[i].at - at);
		wire_put_bytes(&p, w->spot[i].name, strlen(w->spot[i].name));
		at = w->spot[i].at + w->spot[i].len;
	}
	wire_put_bytes(&p, w->sql + at, n - at);
	wire_put_u8(&p, 0);
	wire_end(&p);
	*out_len = p.len;
	return b;
}

enum step up_rewrite(struct up *u, const char *sql, size_t n, uint8_t **out, size_t *out_len)
{
	struct rewrite w;

	*out = NULL;
	if (!u->c->names.n || u->s->tx == 'E' || u->s->owed.skipping)
		return STEP_ON;
	w.u = u;
	w.sql = sql;
	w.n = w.empty = 0;
	w.r = STEP_ON;
	walk(&w, n);
	if (w.r != STEP_ON || !w.n)
		return w.r;
	*out = build(&w, n, out_len);
	return *out ? STEP_ON : up_refuse(u, "out of memory", "53200", "out of memory");
}
