/* tests/sim/sql_parse.h - what the two halves of the parser share: sql.c (words) and
 * sql_data.c (queries and expressions).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_SQL_PARSE_H
#define PGWEIR_SIM_SQL_PARSE_H

#include "sql_lex.h"

struct parser {
	struct sql_block **blocks;
	const struct sql_token *t;
	const char *source;
	const char *message;       /* instead of "syntax error at ..." */
	const char *sqlstate;      /* instead of 42601 */
	bool crdb, failed;
	unsigned params;           /* the highest so far */
};

void *p_alloc(struct parser *p, size_t n);
bool p_is(const struct parser *p, const char *word);
bool p_sign(const struct parser *p, const char *sign);
void p_next(struct parser *p);
bool p_take(struct parser *p, const char *word);
bool p_take_sign(struct parser *p, const char *sign);
/* false, and the statement is wrong at this token. */
bool p_fail(struct parser *p);
bool p_need(struct parser *p, const char *word);
bool p_need_sign(struct parser *p, const char *sign);
const char *p_name(struct parser *p);
bool p_end(const struct parser *p);

/* sql_data.c: each stands behind its verb. */
bool p_select(struct parser *p, struct sql_stmt *st);
bool p_update(struct parser *p, struct sql_stmt *st);
bool p_insert(struct parser *p, struct sql_stmt *st);
bool p_copy(struct parser *p, struct sql_stmt *st);
bool p_prepare(struct parser *p, struct sql_stmt *st);
bool p_execute(struct parser *p, struct sql_stmt *st);
bool p_deallocate(struct parser *p, struct sql_stmt *st);
bool p_declare(struct parser *p, struct sql_stmt *st);
bool p_fetch(struct parser *p, struct sql_stmt *st);
bool p_close(struct parser *p, struct sql_stmt *st);

#endif
