/* proxy/wire/lexer.c - SQL text to tokens; what they amount to: classify.c.
 *
 * PostgreSQL's scanner (manual 4.1; numbers as in 15 and 16, where junk behind
 * a number is an error): one table says what a byte can start, one function per
 * kind of token finds its end.
 *
 * Where PostgreSQL and CockroachDB read the same bytes in two ways, the text is
 * LEX_BAD: whoever is on the other side, nothing is retried on a guess.
 *
 * SPDX-License-Identifier: ISC
 */
#include "proxy/wire/lexer.h"

#include <string.h>

enum {
	C_BLANK = 1,
	C_ID0 = 2, /* may start an identifier */
	C_ID = 4,  /* may go on in one */
	C_DIGIT = 8,
	C_OP = 16,
	C_TAG = 32,     /* may go on in a dollar quote's tag: C_ID without '$' */
	C_SPECIAL = 64, /* an operator with one of these may end in a sign */
	C_LET = C_ID0 | C_ID | C_TAG,
	C_NUM = C_DIGIT | C_ID | C_TAG,
};

static const uint8_t class_of[256] = {
	['\t'] = C_BLANK,
	['\n'] = C_BLANK,
	['\v'] = C_BLANK,
	['\f'] = C_BLANK,
	['\r'] = C_BLANK,
	[' '] = C_BLANK,
	['~'] = C_OP | C_SPECIAL,
	['!'] = C_OP | C_SPECIAL,
	['@'] = C_OP | C_SPECIAL,
	['#'] = C_OP | C_SPECIAL,
	['^'] = C_OP | C_SPECIAL,
	['&'] = C_OP | C_SPECIAL,
	['|'] = C_OP | C_SPECIAL,
	['`'] = C_OP | C_SPECIAL,
	['?'] = C_OP | C_SPECIAL,
	['+'] = C_OP,
	['-'] = C_OP,
	['*'] = C_OP,
	['/'] = C_OP,
	['%'] = C_OP | C_SPECIAL,
	['<'] = C_OP,
	['>'] = C_OP,
	['='] = C_OP,
	['$'] = C_ID,
	['_'] = C_LET,
	['0' ... '9'] = C_NUM,
	['A' ... 'Z'] = C_LET,
	['a' ... 'z'] = C_LET,
	[0x80 ... 0xff] = C_LET,
};

/* What a token's first byte can begin. S_PREFIX: a letter that may belong to a
 * string's quote. */
enum start {
	S_BAD = 0,
	S_WORD,
	S_PREFIX,
	S_DIGIT,
	S_DOT,
	S_DOLLAR,
	S_STRING,
	S_QUOTED,
	S_OP,
	S_COLON,
	S_PUNCT
};

static const uint8_t start_of[256] = {
	['a'] = S_WORD,
	['c' ... 'd'] = S_WORD,
	['f' ... 'm'] = S_WORD,
	['o' ... 't'] = S_WORD,
	['v' ... 'w'] = S_WORD,
	['y' ... 'z'] = S_WORD,
	['A'] = S_WORD,
	['C' ... 'D'] = S_WORD,
	['F' ... 'M'] = S_WORD,
	['O' ... 'T'] = S_WORD,
	['V' ... 'W'] = S_WORD,
	['Y' ... 'Z'] = S_WORD,
	['_'] = S_WORD,
	[0x80 ... 0xff] = S_WORD,
	['b'] = S_PREFIX,
	['e'] = S_PREFIX,
	['n'] = S_PREFIX,
	['u'] = S_PREFIX,
	['x'] = S_PREFIX,
	['B'] = S_PREFIX,
	['E'] = S_PREFIX,
	['N'] = S_PREFIX,
	['U'] = S_PREFIX,
	['X'] = S_PREFIX,
	['0' ... '9'] = S_DIGIT,
	['.'] = S_DOT,
	['$'] = S_DOLLAR,
	['\''] = S_STRING,
	['"'] = S_QUOTED,
	['~'] = S_OP,
	['!'] = S_OP,
	['@'] = S_OP,
	['#'] = S_OP,
	['^'] = S_OP,
	['&'] = S_OP,
	['|'] = S_OP,
	['`'] = S_OP,
	['?'] = S_OP,
	['+'] = S_OP,
	['-'] = S_OP,
	['*'] = S_OP,
	['/'] = S_OP,
	['%'] = S_OP,
	['<'] = S_OP,
	['>'] = S_OP,
	['='] = S_OP,
	[':'] = S_COLON,
	['('] = S_PUNCT,
	[')'] = S_PUNCT,
	['['] = S_PUNCT,
	[']'] = S_PUNCT,
	['{'] = S_PUNCT, /* CockroachDB's index hints; they open nothing here */
	['}'] = S_PUNCT,
	[','] = S_PUNCT,
	[';'] = S_PUNCT,
};

#define OPERATOR_MAX 63 /* PostgreSQL's NAMEDATALEN - 1; a longer one is an error */

static inline bool is(char c, unsigned class)
{
	return (class_of[(uint8_t)c] & class) != 0;
}

static inline char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static const char *run(const char *p, const char *end, unsigned class)
{
	while (p < end && is(*p, class))
		p++;
	return p;
}

/* p is behind the "--". A lone carriage return ends the comment in PostgreSQL
 * and not in CockroachDB: NULL, nobody can know. */
static const char *line_end(const char *p, const char *end)
{
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	if (p < end && *p == '\r' && (end - p < 2 || p[1] != '\n'))
		return NULL;
	return p;
}

/* p is at the comment's opening. NULL if it never closes. A counter, not
 * recursion: the nesting is the peer's to choose. */
static const char *comment_end(const char *p, const char *end)
{
	size_t depth = 0;

	while (end - p >= 2) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (--depth == 0)
				return p;
		} else {
			p++;
		}
	}
	return NULL;
}

/* Stops at a comment whose end is not known: the operator rule then finds no
 * operator there, and that is LEX_BAD. */
static const char *skip_blank(const char *p, const char *end)
{
	const char *q;

	for (;;) {
		p = run(p, end, C_BLANK);
		if (end - p < 2)
			return p;
		if (p[0] == '-' && p[1] == '-')
			q = line_end(p + 2, end);
		else if (p[0] == '/' && p[1] == '*')
			q = comment_end(p, end);
		else
			return p;
		if (q == NULL)
			return p;
		p = q;
	}
}

/* The closing quote, or NULL; a doubled one is part of the text. */
static const char *quote_end(const char *p, const char *end, char quote)
{
	for (;;) {
		p = memchr(p, quote, (size_t)(end - p));
		if (p == NULL || end - p < 2 || p[1] != quote)
			return p;
		p += 2;
	}
}

static const char *escaped_end(const char *p, const char *end)
{
	while (p < end) {
		if (*p == '\\') {
			if (end - p < 2)
				return NULL;
			p += 2;
		} else if (*p != '\'') {
			p++;
		} else if (end - p >= 2 && p[1] == '\'') {
			p += 2;
		} else {
			return p;
		}
	}
	return NULL;
}

/* p is behind a string. The quote that continues it, or NULL: blanks with a
 * newline among them and line comments may stand between, block comments not. */
static const char *goes_on(const char *p, const char *end)
{
	bool newline = false;

	for (;; p++) {
		if (end - p >= 2 && p[0] == '-' && p[1] == '-')
			p = line_end(p + 2, end);
		if (p == NULL || p >= end || !is(*p, C_BLANK))
			break;
		if (*p == '\n' || *p == '\r')
			newline = true;
	}
	return newline && p != NULL && p < end && *p == '\'' ? p : NULL;
}

/* The functions below fill in a token rather than return it: returned structs
 * go through memory with a canary beside them, at a quarter of the whole cost. */

static void bad(struct lex *l, struct lex_token *t, const char *p)
{
	l->at = p;
	*t = (struct lex_token){.kind = LEX_BAD, .text = p, .len = (size_t)(l->end - p)};
}

static inline void token(struct lex *l, struct lex_token *t, enum lex_kind kind, const char *p,
			 const char *to)
{
	l->at = to;
	t->kind = kind;
	t->text = p;
	t->len = (size_t)(to - p);
	t->quote = 0;
}

/* start: where the token begins, body: behind its opening quote. */
static void string(struct lex *l, struct lex_token *t, const char *start, const char *body,
		   char kind)
{
	const char *close, *next;

	close = kind == 'E' ? escaped_end(body, l->end) : quote_end(body, l->end, '\'');
	if (close == NULL) {
		bad(l, t, start);
		return;
	}
	/* In CockroachDB b'..' has escapes, so that a backslash may hide the quote. */
	if (kind == 'B' && memchr(body, '\\', (size_t)(close - body)) != NULL) {
		bad(l, t, start);
		return;
	}
	token(l, t, LEX_STRING, body, close);
	t->quote = kind;
	next = goes_on(close + 1, l->end);
	l->cont = next != NULL ? kind : 0;
	l->at = next != NULL ? next : close + 1;
}

static void quoted(struct lex *l, struct lex_token *t, const char *start, const char *body,
		   char kind)
{
	const char *close = quote_end(body, l->end, '"');

	if (close == NULL || close == body) {
		bad(l, t, start);
		return;
	}
	token(l, t, LEX_QUOTED, body, close);
	t->quote = kind;
	l->at = close + 1;
}

static inline void word(struct lex *l, struct lex_token *t, const char *p)
{
	token(l, t, LEX_WORD, p, run(p + 1, l->end, C_ID));
}

static void prefixed(struct lex *l, struct lex_token *t, const char *p)
{
	char letter = (char)(lower(*p) - ('a' - 'A'));
	size_t left = (size_t)(l->end - p);

	if (letter == 'U' && left >= 3 && p[1] == '&' && p[2] == '\'')
		string(l, t, p, p + 3, letter);
	else if (letter == 'U' && left >= 3 && p[1] == '&' && p[2] == '"')
		quoted(l, t, p, p + 3, letter);
	else if (letter != 'U' && left >= 2 && p[1] == '\'')
		string(l, t, p, p + 2, letter);
	else
		word(l, t, p);
}

static bool is_base_digit(char c, unsigned base)
{
	if (base == 16 && lower(c) >= 'a' && lower(c) <= 'f')
		return true;
	return c >= '0' && c <= '9' && (unsigned)(c - '0') < base;
}

/* Digits with single underscores between them (PostgreSQL 16). */
static const char *digits(const char *p, const char *end, unsigned base)
{
	for (;;) {
		while (p < end && is_base_digit(*p, base))
			p++;
		if (end - p < 2 || *p != '_' || !is_base_digit(p[1], base))
			return p;
		p++;
	}
}

static const char *number_end(const char *p, const char *end)
{
	const char *q;
	unsigned base;
	char c = end - p >= 3 && *p == '0' ? lower(p[1]) : 0;

	if (c == 'x' || c == 'o' || c == 'b') {
		base = c == 'x' ? 16 : c == 'o' ? 8 : 2;
		q = p[2] == '_' ? p + 3 : p + 2;
		return q < end && is_base_digit(*q, base) ? digits(q, end, base) : NULL;
	}
	p = digits(p, end, 10);
	if (p < end && *p == '.' && !(end - p >= 2 && p[1] == '.')) {
		p++;
		if (p < end && is(*p, C_DIGIT))
			p = digits(p, end, 10);
	}
	if (end - p >= 2 && lower(*p) == 'e') {
		q = p + 1;
		if (end - q >= 2 && (*q == '+' || *q == '-'))
			q++;
		if (is(*q, C_DIGIT))
			p = digits(q, end, 10);
	}
	return p;
}

/* "1a", "0x", "1e+" and "1_" are errors since PostgreSQL 15; before, 1a was
 * "1 AS a". No server makes sense of "1$2", so '$' counts as junk too. */
static void number(struct lex *l, struct lex_token *t, const char *p)
{
	const char *to = number_end(p, l->end);

	if (to == NULL || (to < l->end && is(*to, C_ID)))
		bad(l, t, p);
	else
		token(l, t, LEX_NUMBER, p, to);
}

static void parameter(struct lex *l, struct lex_token *t, const char *p)
{
	const char *to = run(p + 1, l->end, C_DIGIT);

	if (to < l->end && is(*to, C_ID0))
		bad(l, t, p);
	else
		token(l, t, LEX_PARAM, p, to);
}

static void dollar(struct lex *l, struct lex_token *t, const char *p)
{
	const char *body = p + 1, *close = NULL;
	size_t tag_len = 0;

	if (body < l->end && is(*body, C_DIGIT)) {
		parameter(l, t, p);
		return;
	}
	body = run(body, l->end, C_TAG);
	if (body < l->end && *body == '$') {
		body++;
		tag_len = (size_t)(body - p);
		close = memmem(body, (size_t)(l->end - body), p, tag_len);
	}
	if (close == NULL) {
		bad(l, t, p);
		return;
	}
	token(l, t, LEX_STRING, body, close);
	t->quote = '$';
	l->at = close + tag_len;
}

/* CockroachDB has operators // |/ ||/ and #- that swallow the first byte of what
 * PostgreSQL takes for a comment. */
static bool comment_disputed(char before, char opening)
{
	return opening == '/' ? before == '/' || before == '|' : before == '#';
}

/* Up to where a comment begins; and so that "1*-1" is a product, a trailing
 * sign belongs to the operator only if one of ~!@#^&|`?% is in it too. 0: not
 * an operator that all servers agree on. Bounded, or a long row of signs would
 * be walked once per sign. */
static size_t operator_len(const char *p, const char *end)
{
	size_t n = 0;
	bool special = false;

	for (; p + n < end && is(p[n], C_OP); n++) {
		if (end - (p + n) >= 2 &&
		    ((p[n] == '-' && p[n + 1] == '-') || (p[n] == '/' && p[n + 1] == '*'))) {
			if (n > 0 && comment_disputed(p[n - 1], p[n]))
				return 0;
			break;
		}
		if (n == OPERATOR_MAX)
			return 0; /* an error, but for a row of signs: nobody's query */
		special = special || is(p[n], C_SPECIAL);
	}
	while (!special && n > 1 && (p[n - 1] == '+' || p[n - 1] == '-'))
		n--;
	return n;
}

static void operator(struct lex *l, struct lex_token *t, const char *p)
{
	size_t n = operator_len(p, l->end);

	if (n == 0)
		bad(l, t, p);
	else
		token(l, t, LEX_OP, p, p + n);
}

static void punct(struct lex *l, struct lex_token *t, const char *p)
{
	char c = l->end - p >= 2 ? p[1] : 0;

	if (*p == '.' && is(c, C_DIGIT))
		number(l, t, p);
	else if ((*p == '.' && c == '.') || (*p == ':' && (c == ':' || c == '=')))
		token(l, t, LEX_PUNCT, p, p + 2);
	else
		token(l, t, LEX_PUNCT, p, p + 1);
}

void lex_init(struct lex *l, const char *sql, size_t len)
{
	const char *nul = len > 0 ? memchr(sql, 0, len) : NULL;

	l->at = sql;
	l->end = nul != NULL ? nul : sql + len;
	l->cont = 0;
	l->nul = nul != NULL;
}

/* Everything but the usual; not inlined so that the usual needs no stack. */
static __attribute__((noinline)) void read_slow(struct lex *l, struct lex_token *t)
{
	const char *p;

	if (l->cont != 0) {
		string(l, t, l->at, l->at + 1, l->cont);
		return;
	}
	p = skip_blank(l->at, l->end);
	if (p == l->end) {
		if (l->nul)
			bad(l, t, p);
		else
			token(l, t, LEX_END, p, p);
		return;
	}
	switch ((enum start)start_of[(uint8_t)*p]) {
	case S_WORD:
		word(l, t, p);
		break;
	case S_PREFIX:
		prefixed(l, t, p);
		break;
	case S_DIGIT:
		number(l, t, p);
		break;
	case S_DOLLAR:
		dollar(l, t, p);
		break;
	case S_STRING:
		string(l, t, p, p + 1, '\'');
		break;
	case S_QUOTED:
		quoted(l, t, p, p + 1, '"');
		break;
	case S_OP:
		operator(l, t, p);
		break;
	case S_DOT:
	case S_COLON:
	case S_PUNCT:
		punct(l, t, p);
		break;
	case S_BAD:
		bad(l, t, p);
		break;
	}
}

/* Most tokens of most texts are words and single characters behind at most one
 * blank: those are done here, at a third of the price. */
void lex_read(struct lex *l, struct lex_token *t)
{
	const char *p = l->at, *end = l->end;

	if (l->cont == 0) {
		if (p < end && *p == ' ')
			p++;
		/* the byte behind may decide, so there must be one */
		if (end - p >= 2) {
			enum start start = (enum start)start_of[(uint8_t)*p];

			if (start == S_WORD || (start == S_PREFIX && p[1] != '\'' && p[1] != '&')) {
				word(l, t, p);
				return;
			}
			if (start == S_PUNCT || (start == S_DOT && is(p[1], C_ID0))) {
				token(l, t, LEX_PUNCT, p, p + 1);
				return;
			}
			if (start == S_OP && !is(p[1], C_OP)) {
				token(l, t, LEX_OP, p, p + 1);
				return;
			}
			if (start == S_DIGIT) {
				const char *to = run(p + 1, end, C_DIGIT);

				if (to == end || (*to != '.' && !is(*to, C_ID))) {
					token(l, t, LEX_NUMBER, p, to);
					return;
				}
			}
		}
	}
	read_slow(l, t);
}

struct lex_token lex_next(struct lex *l)
{
	struct lex_token t;

	lex_read(l, &t);
	return t;
}

bool lex_is_whole(const struct lex_token *t, const char *word_)
{
	size_t i;

	for (i = 0; i < t->len; i++)
		if (word_[i] == 0 || lower(t->text[i]) != word_[i])
			return false;
	return word_[t->len] == 0;
}
