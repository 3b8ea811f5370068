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
/* lex_is() of a word whose first letter is right. */
bool lex_is_whole(const struct lex_token *t, const char *word);
/* Case-insensitive for ASCII, LEX_WORD only; word in lower case. */
static inline bool lex_is(const struct lex_token *t, const char *word)
{
	return t->kind == LEX_WORD && (*t->text | 0x20) == *word && lex_is_whole(t, word);
}

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
	bool hint_off;            /* a leading comment says pgweir:retry=off */
	bool hint_idempotent;     /* ... pgweir:idempotent: run twice is as good as once */
	bool switches;            /* a statement is SET, SHOW or RESET of a pgweir.* (switches.h) */
	uint16_t leaves;          /* enum lex_leaves bits: what it may leave behind in its session.
				     When !sure, LEAVES_UNKNOWN is among them */
	size_t second_at;         /* offset of the second statement's first token; len if none */
};

/* What a text may leave behind in its session, or take away again. Over-reporting
 * costs one look at the server after the transaction; under-reporting lets one
 * client's state reach another. Functions and procedures that are not named here
 * or in lex_lists.leave are taken to leave nothing. */
enum lex_leaves {
	LEAVES_SETTING = 1 << 0,   /* settings with names in the text: see lex_settings(). Those
				      that end with the transaction whatever sets them
				      (transaction_isolation, ...) do not count, nor seed */
	LEAVES_RESET_ALL = 1 << 1, /* RESET ALL, DISCARD ALL */
	LEAVES_LISTEN = 1 << 2,    /* LISTEN */
	LEAVES_TEMP = 1 << 3,      /* the word TEMP, TEMPORARY, pg_temp (quoted too) or pg_temp_N;
				      beside a SET or set_config(), pg_temp anywhere, or a string
				      with escapes or in pieces that may spell it */
	LEAVES_HOLD = 1 << 4,      /* DECLARE ... WITH HOLD */
	LEAVES_LOCK = 1 << 5,      /* a call that takes a session-level advisory lock */
	LEAVES_PREPARE = 1 << 6,   /* SQL PREPARE (not PREPARE TRANSACTION) */
	LEAVES_LIBRARY = 1 << 7,   /* LOAD: cannot be taken back */
	LEAVES_OBJECT = 1 << 8,    /* a call after which something is there that cannot be asked
				      for: dblink_connect*, pg_backup_start, ..., lex_lists.leave */
	LEAVES_UNKNOWN = 1 << 9,   /* not understood; or a setting whose name is not in the text:
				      UPDATE pg_settings, a query in a string (query_to_xml*,
				      ts_stat, ts_rewrite) */
	LEAVES_END = 1 << 10,      /* may end one of these: UNLISTEN, DEALLOCATE, DISCARD, CLOSE,
				      DROP, a call that gives advisory locks back */
	LEAVES_SEQUENCE = 1 << 11, /* reads what the session did before: currval(), lastval() */
	LEAVES_EXECUTE = 1 << 12,  /* SQL EXECUTE */
	LEAVES_NEXTVAL = 1 << 13   /* a call of nextval() or setval() */
};

/* NULL-terminated lists of lower-case function names, * at the end for a prefix;
 * each may be NULL. The built-in lists always hold. */
struct lex_lists {
	const char *const *deny;   /* never retried */
	const char *const *leave;  /* LEAVES_OBJECT */
};

/* May a unit of this text be run again after a definite abort? */
static inline bool lex_retryable(const struct lex_class *c)
{
	return c->sure && c->listed && !c->denied && !c->txn_control && !c->hint_off &&
	       c->statements > 0;
}

/* Is nothing of it left when its session ends before it is complete? Not of what may
 * commit on its way (CALL, DO, VACUUM, ...), nor of calls on the deny list. */
bool lex_all_or_nothing(const struct lex_class *c);
/* Does it touch its session alone, so that all of it ends with that? */
bool lex_session_only(const struct lex_class *c);

/* May it call nextval(), by a default or a trigger too? Functions in a SELECT are
 * taken not to. */
static inline bool lex_verb_may_nextval(enum lex_verb v)
{
	return (v >= VERB_WITH && v <= VERB_UPSERT && v != VERB_DELETE) || v == VERB_EXECUTE ||
	       v >= VERB_COPY;
}
static inline bool lex_may_nextval(const struct lex_class *c)
{
	return c->statements > 2 || !c->sure || (c->leaves & LEAVES_NEXTVAL) ||
	       lex_verb_may_nextval(c->first) || lex_verb_may_nextval(c->last);
}

/* Could it end a failed transaction block? In one, only the first statement of a
 * text has a chance to run. */
static inline bool lex_may_exit(const struct lex_class *c)
{
	return (!c->sure && c->statements == 0) || c->first == VERB_COMMIT ||
	       c->first == VERB_ROLLBACK || c->first == VERB_ROLLBACK_TO ||
	       c->first == VERB_PREPARE_TRANSACTION;
}

/* Classifies a whole query string. lists may be NULL. An
 * identifier (quoted or not, the last part of a qualified name) directly
 * followed by "(" is a call, and one behind the dot of (x).f, $1.f, x[1].f is
 * taken for one: PostgreSQL reads f(x) when x has no such field. Names ending in *
 * on the lists are prefixes. Parentheses before the first word are skipped: (SELECT ...) is SELECT. */
void lex_classify(const char *sql, size_t len, const struct lex_lists *lists, struct lex_class *out);

/* Calls fn for each setting that the text names, in the order of the text: SET
 * [SESSION] x, SET TIME ZONE ("timezone"), NAMES ("client_encoding"), SCHEMA
 * ("search_path"), ROLE, SESSION AUTHORIZATION ("session_authorization"), XML
 * OPTION ("xmloption"), SESSION CHARACTERISTICS AS TRANSACTION (the three
 * default_transaction_ settings; CockroachDB's priority, if named), USE
 * ("database"), RESET x, set_config('x', ..., ) unless its third argument is the
 * word true; and the same in the body of a DO, where UPDATE t SET x names x too.
 * name: folded as the server would (parts of a qualified name with a dot between,
 * at most 63 bytes each and 200 in all), borrowed for the call. reset: RESET, TO
 * DEFAULT or what means the same, SET TIME ZONE LOCAL and a bare SET NAMES.
 * Not: SET LOCAL, SET TRANSACTION, SET CONSTRAINTS, SET SEED, RESET ALL. */
typedef void lex_setting_fn(void *arg, const char *name, bool reset);
void lex_settings(const char *sql, size_t len, lex_setting_fn *fn, void *arg);

const char *lex_verb_name(enum lex_verb v);

#endif
