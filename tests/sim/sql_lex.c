/* tests/sim/sql_lex.c - see sql_lex.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "sql_lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4000u

struct sql_block {
	struct sql_block *next;
	size_t used, cap;
	_Alignas(16) unsigned char bytes[];
};

void *sql_alloc(struct sql_block **blocks, size_t n)
{
	struct sql_block *b = *blocks;
	size_t need = (n + 15) & ~(size_t)15;
	void *p;

	if (!b || b->cap - b->used < need) {
		size_t cap = need > BLOCK ? need : BLOCK;

		b = calloc(1, sizeof(*b) + cap);
		if (!b)
			abort();
		b->cap = cap;
		b->next = *blocks;
		*blocks = b;
	}
	p = b->bytes + b->used;
	b->used += need;
	return p;
}

char *sql_copy(struct sql_block **blocks, const char *s, size_t n)
{
	char *p = sql_alloc(blocks, n + 1);

	if (n)
		memcpy(p, s, n);
	return p;
}

void sql_free_blocks(struct sql_block *blocks)
{
	struct sql_block *next;

	for (; blocks; blocks = next) {
		next = blocks->next;
		free(blocks);
	}
}

/* ---- reading ---- */

struct lexer {
	struct sql_block **blocks;
	const char *s;
	size_t n, at;
	bool backslashes;
	struct sql_token *v;
	size_t used, cap;
	struct sql_error *err;
};

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char peek(const struct lexer *l, size_t ahead)
{
	return l->at + ahead < l->n ? l->s[l->at + ahead] : 0;
}

static struct sql_token *push(struct lexer *l, enum sql_token_kind kind, size_t from)
{
	struct sql_token *t;

	if (l->used == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct sql_token *v = sql_alloc(l->blocks, cap * sizeof(*v));

		if (l->used)
			memcpy(v, l->v, l->used * sizeof(*v));
		l->v = v;
		l->cap = cap;
	}
	t = &l->v[l->used++];
	*t = (struct sql_token){ kind, "", 0, from, l->at };
	return t;
}

static void bad(struct lexer *l, const char *what, size_t from)
{
	int n = (int)(l->n - from > 150 ? 150 : l->n - from);
	char *text = sql_alloc(l->blocks, 200);

	(void)snprintf(text, 200, "%s at or near \"%.*s\"", what, n, l->s + from);
	push(l, TOKEN_BAD, from)->text = text;
}

/* false: a comment that does not end. */
static bool skip_blanks(struct lexer *l)
{
	while (l->at < l->n) {
		size_t from = l->at;
		unsigned depth;

		if (is_space(peek(l, 0))) {
			l->at++;
		} else if (peek(l, 0) == '-' && peek(l, 1) == '-') {
			while (l->at < l->n && peek(l, 0) != '\n' && peek(l, 0) != '\r')
				l->at++;
		} else if (peek(l, 0) == '/' && peek(l, 1) == '*') {
			for (depth = 1, l->at += 2; depth && l->at < l->n;) {
				bool open = peek(l, 0) == '/' && peek(l, 1) == '*';
				bool shut = peek(l, 0) == '*' && peek(l, 1) == '/';

				depth += open;
				depth -= shut;
				l->at += open || shut ? 2 : 1;
			}
			if (depth) {
				bad(l, "unterminated /* comment", from);
				return false;
			}
		} else {
			break;
		}
	}
	return true;
}

static char escaped(char c)
{
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return c;
	}
}

/* A backslash that should not be in such a literal; said once for each. */
static void warn(struct lexer *l, char next)
{
	struct sql_error *e = l->err;

	if (e->n_warnings < 8)
		e->warnings[e->n_warnings++] =
			next == '\'' ? "nonstandard use of \\' in a string literal" :
			next == '\\' ? "nonstandard use of \\\\ in a string literal" :
				       "nonstandard use of escape in a string literal";
}

/* '...' or "..."; l->at stands on the quote. */
static bool quoted(struct lexer *l, enum sql_token_kind kind, size_t from, bool backslashes)
{
	char q = peek(l, 0), *text = sql_alloc(l->blocks, l->n - l->at + 1);
	bool warned = l->s[from] != q;
	size_t n = 0;

	for (l->at++; l->at < l->n; l->at++) {
		char c = peek(l, 0);

		if (c == q && peek(l, 1) != q) {
			l->at++;
			if (kind == TOKEN_NAME && !n) {
				l->at = from;
				bad(l, "zero-length delimited identifier", from);
				return false;
			}
			push(l, kind, from)->text = text;
			return true;
		}
		if (c == q || (backslashes && c == '\\' && l->at + 1 < l->n))
			l->at++;
		if (backslashes && c == '\\' && !warned) {
			warned = true;
			warn(l, peek(l, 0));
		}
		text[n++] = c == '\\' && backslashes ? escaped(peek(l, 0)) : c;
	}
	bad(l, kind == TOKEN_NAME ? "unterminated quoted identifier" : "unterminated quoted string",
	    from);
	return false;
}

/* $tag$...$tag$; 0: it is none. 1: read. -1: it does not end. */
static int dollar(struct lexer *l)
{
	size_t from = l->at, n = 1, body, i;

	while (is_letter(peek(l, n)) || (n > 1 && is_digit(peek(l, n))))
		n++;
	if (peek(l, n) != '$')
		return 0;
	n++;
	body = from + n;
	for (i = body; i + n <= l->n; i++)
		if (memcmp(l->s + i, l->s + from, n) == 0) {
			char *text = sql_copy(l->blocks, l->s + body, i - body);

			l->at = i + n;
			push(l, TOKEN_STRING, from)->text = text;
			return 1;
		}
	bad(l, "unterminated dollar-quoted string", from);
	return -1;
}

static void word(struct lexer *l)
{
	size_t from = l->at, i;
	char *text;

	while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)) || peek(l, 0) == '$')
		l->at++;
	text = sql_copy(l->blocks, l->s + from, l->at - from);
	for (i = 0; text[i]; i++)
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (char)(text[i] + 32);
	push(l, TOKEN_WORD, from)->text = text;
}

static void number(struct lexer *l)
{
	size_t from = l->at;

	while (is_digit(peek(l, 0)))
		l->at++;
	if (peek(l, 0) == '.' && is_digit(peek(l, 1)))
		for (l->at++; is_digit(peek(l, 0));)
			l->at++;
	push(l, TOKEN_NUMBER, from)->text = sql_copy(l->blocks, l->s + from, l->at - from);
}

static void param(struct lexer *l)
{
	size_t from = l->at++;
	uint64_t v = 0;

	for (; is_digit(peek(l, 0)); l->at++)
		if (v < 100000)
			v = v * 10 + (uint64_t)(peek(l, 0) - '0');
	push(l, TOKEN_PARAM, from)->param = (unsigned)v;
}

/* false: no more. */
static bool one(struct lexer *l)
{
	size_t from;
	char c;

	if (!skip_blanks(l))
		return false;
	from = l->at;
	c = peek(l, 0);
	if (l->at >= l->n) {
		push(l, TOKEN_END, from);
		return false;
	}
	if (c == '\'')
		return quoted(l, TOKEN_STRING, from, l->backslashes);
	if (c == '"')
		return quoted(l, TOKEN_NAME, from, false);
	if ((c == 'e' || c == 'E') && peek(l, 1) == '\'') {
		l->at++;
		return quoted(l, TOKEN_STRING, from, true);
	}
	if (c == '$' && !is_digit(peek(l, 1))) {
		int d = dollar(l);

		if (d)
			return d > 0;
	}
	if (is_letter(c)) {
		word(l);
	} else if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
		number(l);
	} else if (c == '$' && is_digit(peek(l, 1))) {
		param(l);
	} else {
		bool two = (c == '|' && peek(l, 1) == '|') || (c == ':' && peek(l, 1) == ':');

		l->at += two ? 2 : 1;
		push(l, TOKEN_SIGN, from)->text = sql_copy(l->blocks, l->s + from, l->at - from);
	}
	return true;
}

struct sql_token *sql_tokens(struct sql_block **blocks, const char *text, size_t n, bool backslashes,
			     struct sql_error *err)
{
	struct lexer l = { blocks, text, n, 0, backslashes, NULL, 0, 0, err };

	while (one(&l))
		;
	return l.v;
}
