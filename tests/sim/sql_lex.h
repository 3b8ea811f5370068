/* tests/sim/sql_lex.h - the words of the small SQL, and the memory of what is parsed.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_SQL_LEX_H
#define PGWEIR_SIM_SQL_LEX_H

#include "sql.h"

enum sql_token_kind {
	TOKEN_END = 0,
	TOKEN_WORD,      /* text: folded to lower case */
	TOKEN_NAME,      /* "x" */
	TOKEN_STRING, TOKEN_NUMBER, TOKEN_PARAM,
	TOKEN_SIGN,      /* text: one character, or "||" or "::" */
	TOKEN_BAD        /* text: the message */
};

struct sql_token {
	enum sql_token_kind kind;
	const char *text;
	unsigned param;
	size_t at, end;          /* in the source */
};

/* Zeroed; freed with *blocks. */
void *sql_alloc(struct sql_block **blocks, size_t n);
char *sql_copy(struct sql_block **blocks, const char *s, size_t n);
void sql_free_blocks(struct sql_block *blocks);

/* All tokens of a text; the last is TOKEN_END or TOKEN_BAD. */
struct sql_token *sql_tokens(struct sql_block **blocks, const char *text, size_t n,
			     bool backslashes, struct sql_error *err);

#endif
