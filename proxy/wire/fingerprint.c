/* proxy/wire/fingerprint.c - see fingerprint.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/fingerprint.h"

#include <stdbool.h>

#include "wire/lexer.h"

#define TOKENS_MAX 4096u

static uint64_t add(uint64_t h, char c)
{
	return (h ^ (uint8_t)c) * 0x100000001b3u; /* FNV-1a */
}

static bool is_value(const struct lex_token *t)
{
	return t->kind == LEX_STRING || t->kind == LEX_NUMBER || t->kind == LEX_PARAM;
}

static uint64_t add_token(uint64_t h, const struct lex_token *t)
{
	size_t i;

	h = add(h, ' ');
	if (t->kind == LEX_QUOTED)
		h = add(h, '"');
	for (i = 0; i < t->len; i++) {
		char c = t->text[i];

		h = add(h, t->kind == LEX_WORD && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
	}
	return h;
}

uint64_t lex_fingerprint(const char *sql, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u, before_comma = h;
	bool value = false, comma = false;
	struct lex_token t;
	struct lex l;
	unsigned n;

	lex_init(&l, sql, len);
	for (n = 0; n < TOKENS_MAX; n++) {
		t = lex_next(&l);
		if (t.kind == LEX_END || t.kind == LEX_BAD)
			break;
		if (is_value(&t)) {
			/* "1, 2, 3" is as good as "1" */
			h = comma ? before_comma : add(add(h, ' '), '?');
			value = true;
			comma = false;
			continue;
		}
		comma = value && t.kind == LEX_PUNCT && t.len == 1 && *t.text == ',';
		if (comma)
			before_comma = h;
		if (t.kind != LEX_PUNCT || t.len != 1 || *t.text != ';')
			h = add_token(h, &t);
		value = false;
	}
	return h ? h : 1;
}

/* One more token. false: there is no room for it. */
static bool put_token(char *out, size_t *at, size_t cap, const char *text, size_t n, char quote,
		      bool fold)
{
	size_t i;

	if (*at + n + 4 > cap)
		return false;
	if (*at)
		out[(*at)++] = ' ';
	if (quote)
		out[(*at)++] = quote;
	for (i = 0; i < n; i++) {
		char c = text[i];

		out[(*at)++] = fold && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	if (quote)
		out[(*at)++] = quote;
	return true;
}

const char *lex_normalized(const char *sql, size_t len, char *out, size_t cap)
{
	size_t at = 0, before_comma = 0;
	bool value = false, comma = false;
	struct lex_token t;
	struct lex l;
	unsigned n;

	lex_init(&l, sql, len);
	for (n = 0; n < TOKENS_MAX; n++) {
		t = lex_next(&l);
		if (t.kind == LEX_END || t.kind == LEX_BAD)
			break;
		if (is_value(&t)) {
			if (comma)
				at = before_comma;
			else if (!put_token(out, &at, cap, "?", 1, 0, false))
				break;
			value = true;
			comma = false;
			continue;
		}
		comma = value && t.kind == LEX_PUNCT && t.len == 1 && *t.text == ',';
		if (comma)
			before_comma = at;
		value = false;
		if (t.kind == LEX_PUNCT && t.len == 1 && *t.text == ';')
			continue;
		if (!put_token(out, &at, cap, t.text, t.len, t.kind == LEX_QUOTED ? '"' : 0,
			       t.kind == LEX_WORD))
			break;
	}
	out[at] = 0;
	return out;
}
