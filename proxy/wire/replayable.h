/* proxy/wire/replayable.h - what a text means for the replay of its transaction.
 *
 * Pure. Fails closed: what is not on the list here, or not understood, must not be
 * in a transaction that is replayed. A text is on it when all that it does is undone
 * by a ROLLBACK and comes of nothing but committed data, the state of the session
 * that the ROLLBACK restores, and the text itself.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_REPLAYABLE_H
#define PGWEIR_WIRE_REPLAYABLE_H

#include "wire/lexer.h"

/* Bits of struct replayable.flags. */
enum {
	REPLAYABLE_NOT = 1,       /* never */
	REPLAYABLE_NOT_CRDB = 2,  /* not on CockroachDB, where it does not follow the rollback */
	REPLAYABLE_OPENS = 4,     /* its first statement begins a transaction, and only its last
				     may be a COMMIT */
	REPLAYABLE_COMMITS = 8,   /* its last statement is COMMIT, and no other ends anything */
	REPLAYABLE_ENDS = 16,     /* it is one ROLLBACK */
	REPLAYABLE_ALONE = 32     /* that COMMIT is all of it */
};

/* What it does to a name that lives no longer than the transaction. One statement at
 * most does so in a text. */
enum replayable_act {
	ACT_NONE = 0,
	ACT_SAVEPOINT,
	ACT_RELEASE,
	ACT_ROLLBACK_TO,
	ACT_DECLARE,              /* a cursor */
	ACT_CURSOR                /* FETCH, MOVE, CLOSE */
};

struct replayable {
	uint8_t flags;
	uint8_t act;              /* enum replayable_act */
	uint64_t name;            /* of the savepoint or cursor, folded, as a number */
};

/* k: what lex_classify() says of the text. lists: as there. */
struct replayable lex_replayable(const char *sql, size_t len, const struct lex_lists *lists,
				 const struct lex_class *k);

/* The same number for the name of a portal. */
uint64_t replayable_name(const char *name, size_t len);

#endif
