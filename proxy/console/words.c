/* proxy/console/words.c - see words.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/words.h"

#include <string.h>
#include <strings.h>

struct at {
	const char *p, *end;
	const char *why;
};

static bool two(const struct at *a, char x, char y)
{
	return a->end - a->p >= 2 && a->p[0] == x && a->p[1] == y;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_sign(char c)
{
	return c == '=' || c == ',' || c == '(' || c == ')';
}

static void skip_comment(struct at *a)
{
	unsigned depth = 0;

	if (*a->p == '-') {
		while (a->p < a->end && *a->p != '\n' && *a->p != '\r')
			a->p++;
		return;
	}
	do {
		if (two(a, '/', '*')) {
			depth++;
			a->p += 2;
		} else if (two(a, '*', '/')) {
			depth--;
			a->p += 2;
		} else {
			a->p++;
		}
	} while (depth && a->p < a->end);
	if (depth)
		a->why = "unterminated comment";
}

static bool at_comment(const struct at *a)
{
	return two(a, '-', '-') || two(a, '/', '*');
}

static void skip_blanks(struct at *a)
{
	while (a->p < a->end && !a->why) {
		if (is_blank(*a->p))
			a->p++;
		else if (at_comment(a))
			skip_comment(a);
		else
			return;
	}
}

static void put(struct words *w, struct at *a, char c)
{
	unsigned begun = w->w[w->n].at;

	if (w->len - begun >= WORD_LEN_MAX)
		a->why = "a word is longer than 255 bytes";
	else if (w->len + 1u >= WORDS_TEXT)
		a->why = "the command is too long";
	else
		w->text[w->len++] = c;
}

static void read_quoted(struct words *w, struct at *a, char quote)
{
	a->p++;
	while (a->p < a->end && !a->why) {
		if (*a->p == quote && !two(a, quote, quote)) {
			a->p++;
			return;
		}
		a->p += *a->p == quote;
		put(w, a, *a->p++);
	}
	if (!a->why)
		a->why = quote == '"' ? "unterminated quoted name" : "unterminated quoted string";
}

static void read_plain(struct words *w, struct at *a)
{
	do {
		put(w, a, *a->p++);
	} while (a->p < a->end && !a->why && !is_blank(*a->p) && !is_sign(*a->p) &&
		 !strchr(";'\"", *a->p) && !at_comment(a));
}

static void read_word(struct words *w, struct at *a)
{
	w->w[w->n].at = w->len;
	if (*a->p == '\'' || *a->p == '"') {
		w->w[w->n].kind = *a->p == '"' ? WORD_NAME : WORD_STRING;
		read_quoted(w, a, *a->p);
	} else if (is_sign(*a->p)) {
		w->w[w->n].kind = WORD_SIGN;
		put(w, a, *a->p++);
	} else {
		w->w[w->n].kind = WORD_PLAIN;
		read_plain(w, a);
	}
	w->text[w->len < WORDS_TEXT ? w->len++ : WORDS_TEXT - 1] = 0;
	w->n++;
}

bool words_read(struct words *w, const char *sql, size_t len, size_t *at, const char **why)
{
	struct at a = { sql + *at, sql + len, NULL };

	w->n = 0;
	w->len = 0;
	for (;;) {
		skip_blanks(&a);
		if (a.why || a.p == a.end)
			break;
		if (*a.p == ';') {
			a.p++;
			break;
		}
		if (w->n == WORDS_MAX) {
			a.why = "the command has too many words";
			break;
		}
		if (*a.p)
			read_word(w, &a);
		else
			a.why = "a zero byte in a command";
		if (a.why)
			break;
	}
	*at = (size_t)(a.p - sql);
	*why = a.why;
	return !a.why;
}

unsigned words_begin_with(const struct words *w, unsigned from, const char *these)
{
	unsigned n = 0;

	while (*these) {
		size_t k = strcspn(these, " ");
		unsigned i = from + n++;

		if (i >= w->n || (w->w[i].kind != WORD_PLAIN && w->w[i].kind != WORD_SIGN) ||
		    strlen(words_at(w, i)) != k ||
		    strncasecmp(words_at(w, i), these, k) != 0)
			return 0;
		these += k;
		these += *these == ' ';
	}
	return n;
}
