/* proxy/session/up_stmt.h - prepared statements on their way to the server: what
 * a text does, and making sure that the server has what a message names.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_STMT_H
#define PGWEIR_SESSION_UP_STMT_H

#include "session/residue.h"
#include "session/up.h"
#include "wire/lexer.h"

/* COMMIT or ROLLBACK and nothing else: leaves nothing, whatever else is in force. */
bool stmt_ends_only(const struct lex_class *k);
bool stmt_may_commit(const struct lex_class *k);
bool stmt_changes_names(const struct lex_class *k);
/* A text is on its way that may begin or end a block, behind so many units. */
void up_opens(struct up *u, const struct replayable *x, uint32_t behind);
/* Notes what a text says, once, with the statement. */
void up_classify(struct client *c, struct stmt *st);
/* A text is about to be sent: may it pass? Notes what it may leave behind. */
enum refusal up_note(struct up *u, unsigned leaves, bool sure, const char *sql, size_t n);

/* Closes the statement used longest ago when the server is full. */
enum step up_evict(struct up *u);
/* A Parse under the name `name` ("": the unnamed one). */
enum step up_send_parse(struct up *u, const struct stmt *st, const char *name, bool swallow,
			uint64_t ref, bool *live);
/* A Parse of a statement that is there, for its answer: under a scratch name. */
enum step up_parse_scratch(struct up *u, const struct stmt *st, bool *live);
/* A Parse or Close of this ref, of an earlier unit, is on its way. If it is skipped the
 * server has not got the statement, or has it still, or its unnamed one is the one
 * before: another client's perhaps. */
bool up_in_doubt(const struct owed *o, uint64_t ref);
/* The server has the statement, or is given it in front. */
enum step up_need_stmt(struct up *u, const struct stmt *st);
/* The statement a client's message names, made ready on the server. *found:
 * NULL when the client has no such name: the server will say so. */
enum step up_use_stmt(struct up *u, const char *name, const struct stmt **found);
/* Before a Bind: are the statement's rows here what the client was told of them? It
 * may have been prepared here after a change of the schema, and a client that does
 * not describe (`next`: `left` bytes behind the Bind) would take rows of one kind
 * for rows of another. STEP_STOP_PAUSE: the server has been asked. */
enum step up_check_rows(struct up *u, const struct stmt *st, const uint8_t *next, size_t left,
			enum refusal *no);
/* A Bind or Describe with the statement's name replaced (shorter than
 * STMT_NAME_CAP): `before` bytes of the body come before the old name; `have` of
 * `len` are here. */
enum step up_send_renamed(struct up *u, uint8_t type, const uint8_t *msg, size_t before,
			  const char *old, const char *name, size_t have, uint32_t len);
/* A Bind that must not run fails: the server's transaction with it. */
enum step up_refused_bind(struct up *u, enum refusal no);
/* DEALLOCATE of a name given by protocol: the text for the server, *len 0 when
 * it is something else. The name is taken away. */
enum step up_deallocate(struct up *u, const char *sql, size_t n, char out[64], size_t *len);

/* Before a statement may be freed whose text is still in the gather. */
enum step up_settle(struct up *u);

#endif
