/* proxy/wire/leaves.h - what classify.c, leaves.c and leaves_set.c share.
 *
 * classify.c walks every text once and only notices that there may be something
 * to find; then, and only then, leaves_scan() walks it again and reads it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_LEAVES_H
#define PGWEIR_WIRE_LEAVES_H

#include "proxy/wire/lexer.h"

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline bool same_word(const char *text, size_t len, const char *lower_case)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (ascii_lower(text[i]) != lower_case[i])
			return false; /* also where lower_case ends: no text has a zero in it */
	return lower_case[len] == 0;
}

static inline bool is_punct(const struct lex_token *t, char c)
{
	return t->kind == LEX_PUNCT && t->len == 1 && *t->text == c;
}

/* A set of first letters, both cases. Other bytes may be taken for one of them:
 * it is a sieve, not an answer. */
#define LETTER(c) (1u << ((c) & 31))

static inline bool may_begin(char c, uint32_t letters)
{
	return (letters >> ((uint8_t)c & 31) & 1) != 0;
}

/* What is found in the whole text. */
struct leaves_out {
	lex_setting_fn *fn; /* NULL: only the bits are wanted */
	void *arg;
	const char *const *more; /* lex_lists.leave */
	uint16_t leaves;
	bool sets;  /* any SET or set_config, LOCAL ones too */
	bool spelt; /* a string has escapes or goes on: it says more than its bytes */
};

/* One string of SQL: the text, or a string in it. */
struct leaves_text {
	struct leaves_out *s;
	unsigned depth; /* 0: the text, 1: the body of a DO, more: a string in that */
	bool whole;     /* not a piece that something may be appended to */
};

static inline void leaves_unknown(struct leaves_out *s)
{
	s->leaves |= LEAVES_UNKNOWN;
}

/* The statements, l behind the word they are called by; set_config(): behind its (. */
void leaves_set(const struct leaves_text *x, struct lex l);
void leaves_reset(const struct leaves_text *x, struct lex l);
void leaves_use(const struct leaves_text *x);
void leaves_set_config(const struct leaves_text *x, struct lex l);

/* The end of a statement. */
bool leaves_is_end(const struct lex_token *t);

/* Nothing more behind l, though something may be appended to the text. */
bool leaves_may_be_cut(const struct leaves_text *x, struct lex l);

/* A string whose text needs no more than its doubled quotes undone. l: behind it. */
bool leaves_is_plain(const struct lex_token *t, const struct lex *l);

/* SET local.x, SET session = ...: rest is behind a word that is the setting's name. */
bool leaves_is_name(struct lex rest);

/* pattern: lower case, * at the end for a prefix. */
bool leaves_match(const char *name, size_t len, const char *pattern);
bool leaves_on_list(const char *name, size_t len, const char *const *list);

/* Bits for a call of this name. LEAVES_SETTING: it is set_config; what it leaves
 * only leaves_scan() can tell. more: lex_lists.leave. */
uint16_t leaves_call(const char *name, size_t len, const char *const *more);

/* pg_settings: when it is updated, leaves_scan() can tell. */
bool leaves_is_settings(const char *text, size_t len);

/* TEMP, TEMPORARY, pg_temp, pg_temp_3; of a quoted identifier the latter two. */
bool leaves_temp(const char *text, size_t len, bool quoted);

/* All bits but those that need the whole text to be sure. */
uint16_t leaves_scan(const char *sql, size_t len, const char *const *more);

#endif
