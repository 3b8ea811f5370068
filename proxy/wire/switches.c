/* proxy/wire/switches.c - see switches.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/switches.h"

#include <string.h>

#include "wire/leaves.h"

static const char prefix[] = "pgweir.";

/* Appends a token's text, doubled quotes undone; what does not fit is cut. */
static void add(char *out, size_t *n, const struct lex_token *t)
{
	char twice = t->kind == LEX_QUOTED ? '"' : t->kind == LEX_STRING && t->quote != '$' ? '\'' : 0;
	size_t i;

	for (i = 0; i < t->len; i++) {
		if (*n + 1 < SWITCH_TEXT_MAX)
			out[(*n)++] = t->kind == LEX_WORD ? ascii_lower(t->text[i]) : t->text[i];
		if (twice && t->text[i] == twice)
			i++;
	}
	out[*n] = 0;
}

static bool is_identifier(const struct lex_token *t)
{
	return t->kind == LEX_WORD || (t->kind == LEX_QUOTED && t->quote == '"');
}

/* A name with its dots, the first part of which is in t. */
static bool read_name(struct lex *l, struct lex_token t, char out[SWITCH_TEXT_MAX])
{
	size_t n = 0, i;

	for (;;) {
		struct lex ahead = *l;
		struct lex_token dot;

		if (!is_identifier(&t))
			return false;
		add(out, &n, &t);
		dot = lex_next(&ahead);
		if (!is_punct(&dot, '.'))
			break;
		add(out, &n, &dot);
		t = lex_next(&ahead);
		*l = ahead;
	}
	for (i = 0; i < sizeof(prefix) - 1; i++)
		if (ascii_lower(out[i]) != prefix[i])
			return false;
	return true;
}

/* SESSION or LOCAL behind SET, unless a setting is called so; *t: the token behind it. */
static bool skip_scope(struct lex *l, struct lex_token *t)
{
	bool local = lex_is(t, "local");

	if ((local || lex_is(t, "session")) && !leaves_is_name(*l)) {
		*t = lex_next(l);
		return local;
	}
	return false;
}

bool switches_named(struct lex rest, bool set)
{
	struct lex_token t = lex_next(&rest);
	char name[SWITCH_TEXT_MAX];

	if (set)
		(void)skip_scope(&rest, &t);
	return read_name(&rest, t, name);
}

/* The one value; *l is behind it. */
static bool read_value(struct lex *l, struct switch_text *out)
{
	struct lex_token t = lex_next(l);
	size_t n = 0;

	if (lex_is(&t, "default")) {
		out->op = SWITCH_SET_DEFAULT;
		return true;
	}
	if (t.kind == LEX_OP && t.len == 1 && (*t.text == '-' || *t.text == '+')) {
		add(out->value, &n, &t);
		t = lex_next(l);
		if (t.kind != LEX_NUMBER)
			return false;
	}
	if (!is_identifier(&t) && t.kind != LEX_NUMBER && !leaves_is_plain(&t, l))
		return false;
	add(out->value, &n, &t);
	return true;
}

/* = value, TO value */
static bool read_set(struct lex *l, struct switch_text *out)
{
	struct lex_token t = lex_next(l);

	if (!lex_is(&t, "to") && !(t.kind == LEX_OP && t.len == 1 && *t.text == '='))
		return false;
	return read_value(l, out);
}

/* Nothing more, or another statement, or something that belongs to neither. */
static enum switch_op at_end(struct lex *l, enum switch_op op)
{
	struct lex_token t = lex_next(l);

	if (t.kind == LEX_END)
		return op;
	if (!is_punct(&t, ';'))
		return SWITCH_NOT;
	while (is_punct(&t, ';'))
		t = lex_next(l);
	return t.kind == LEX_END ? op : t.kind == LEX_BAD ? SWITCH_NOT : SWITCH_AMONG;
}

/* By three letters; what begins with none is read. Most texts are neither of the three. */
static bool may_be(const char *sql, size_t n)
{
	char a = ascii_lower(*sql), b, c;

	if (a < 'a' || a > 'z')
		return true;
	if (n < 4 || (a != 's' && a != 'r'))
		return false;
	b = ascii_lower(sql[1]);
	c = ascii_lower(sql[2]);
	return a == 's' ? (b == 'e' && c == 't') || (b == 'h' && c == 'o') : b == 'e' && c == 's';
}

enum switch_op switches_read(const char *sql, size_t n, struct switch_text *out)
{
	struct lex_token t;
	bool local = false;
	struct lex l;

	if (n == 0 || !may_be(sql, n))
		return out->op = SWITCH_NOT;
	lex_init(&l, sql, n);
	lex_read(&l, &t);
	out->op = SWITCH_NOT;
	if (t.kind != LEX_WORD)
		return SWITCH_NOT;
	if (lex_is(&t, "set"))
		out->op = SWITCH_SET;
	else if (lex_is(&t, "show"))
		out->op = SWITCH_SHOW;
	else if (lex_is(&t, "reset"))
		out->op = SWITCH_RESET;
	else
		return SWITCH_NOT;
	t = lex_next(&l);
	if (out->op == SWITCH_SET)
		local = skip_scope(&l, &t);
	*out->value = 0;
	if (!read_name(&l, t, out->name) || (out->op == SWITCH_SET && !read_set(&l, out)))
		return out->op = SWITCH_NOT;
	if (local)
		out->op = SWITCH_SET_LOCAL;
	return out->op = at_end(&l, out->op);
}
