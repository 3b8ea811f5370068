/* proxy/wire/lexer.h - SQL text to tokens to a statement class. Fails closed.
 *
 * Pure: no allocation, no I/O, no state. Source: PostgreSQL manual 4.1
 * (Lexical Structure).
 *
 * What is said here can only reduce what is eligible for a retry: a text that
 * the lexer does not fully understand is `!sure`, and nothing that is not sure
 * is ever retried.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_LEXER_H
#define PGWEIR_WIRE_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lex_kind {
	LEX_END = 0,    /* end of text */
	LEX_WORD,       /* unquoted identifier or key word */
	LEX_QUOTED,     /* "identifier" or U&"..." : text without the quotes, escapes not undone */
	LEX_STRING,     /* '...', E'...', B'..', X'..', N'..', U&'...', $tag$...$tag$: the text between the delimiters, escapes not undone */
	LEX_NUMBER,
	LEX_PARAM,      /* $1 */
	LEX_OP,         /* operator characters, greedy by PostgreSQL's rules */
	LEX_PUNCT,      /* one of ( ) [ ] { } , ; : . and := :: .. */
	LEX_BAD         /* unterminated or a byte that cannot start a token: stop */
};

struct lex_token {
	enum lex_kind kind;
	const char *text;       /* in the source */
	size_t len;
	char quote;             /* LEX_STRING: ' plain, E, B, X, N, U or $; LEX_QUOTED: U or "; else 0 */
};

struct lex {
	const char *at, *end;
	char cont;              /* at is the quote that continues a string of this kind, or 0 */
	bool nul;               /* end is not the end of the text but a zero byte */
};

void lex_init(struct lex *l, const char *sql, size_t len);
/* The next token; comments (nested) and blanks are skipped. After LEX_END or
 * LEX_BAD it stays there. standard_conforming_strings=on is assumed. A string
 * that goes on after a newline ('a' <newline> 'b') is two LEX_STRING of the
 * same kind: the backslash rules of the first hold for the second. */
struct lex_token lex_next(struct lex *l);
/* The same, faster: into *t. */
void lex_read(struct lex *l, struct lex_token *t);
/* Case-insensitive for ASCII, LEX_WORD only. */
bool lex_is(const struct lex_token *t, const char *word);

#define LEX_VERBS(X)                                                           \
	X(EMPTY) X(SELECT) X(TABLE) X(VALUES) X(WITH) X(INSERT) X(UPDATE)      \
	X(DELETE) X(MERGE) X(UPSERT) X(SHOW) X(EXPLAIN)                        \
	X(BEGIN) X(COMMIT) X(ROLLBACK) X(ROLLBACK_TO) X(SAVEPOINT) X(RELEASE)  \
	X(PREPARE_TRANSACTION) X(SET) X(SET_LOCAL) X(SET_TRANSACTION) X(RESET) \
	X(PREPARE) X(EXECUTE) X(DEALLOCATE) X(DISCARD) X(DECLARE) X(FETCH)     \
	X(MOVE) X(CLOSE) X(LISTEN) X(UNLISTEN) X(NOTIFY) X(COPY) X(CALL) X(DO) \
	X(LOCK) X(LOAD) X(OTHER)

/* START TRANSACTION is BEGIN; END is COMMIT; ABORT is ROLLBACK;
 * COMMIT/ROLLBACK PREPARED are OTHER; SET SESSION x is SET, SET SESSION
 * CHARACTERISTICS is OTHER, SET CONSTRAINTS is SET_TRANSACTION. */
enum lex_verb {
#define X(v) VERB_##v,
	LEX_VERBS(X)
#undef X
	VERB_N
};

struct lex_class {
	unsigned statements;      /* non-empty statements */
	enum lex_verb first;      /* of the first statement */
	enum lex_verb last;       /* of the last statement */
	bool sure;                /* every token was understood; when false, all else here
				     speaks of what came before the doubt, and listed is false */
	bool txn_control;         /* any BEGIN..RELEASE, PREPARE TRANSACTION, or AND CHAIN */
	bool listed;              /* every statement begins with an eligible word (retry.md 3.2:
				     SELECT TABLE VALUES WITH INSERT UPDATE DELETE MERGE UPSERT SHOW
				     EXPLAIN), SELECT ... INTO included */
	bool denied;              /* a function on the deny list is called somewhere */
	bool chain;               /* COMMIT/ROLLBACK AND CHAIN somewhere */
	size_t second_at;         /* offset of the second statement's first token; len if none */
};

/* May a unit of this text be run again after a definite abort? */
static inline bool lex_retryable(const struct lex_class *c)
{
	return c->sure && c->listed && !c->denied && !c->txn_control && c->statements > 0;
}

/* Classifies a whole query string. deny: NULL-terminated list of further
 * function names (lower case), or NULL; the built-in list always holds. An
 * identifier (quoted or not, the last part of a qualified name) directly
 * followed by "(" is a call. Names ending in * on the lists are prefixes.
 * Parentheses before the first word are skipped: (SELECT ...) is SELECT. */
void lex_classify(const char *sql, size_t len, const char *const *deny, struct lex_class *out);

const char *lex_verb_name(enum lex_verb v);

#endif
