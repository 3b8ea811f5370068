/* proxy/session/residue.h - what a client leaves behind on its server, and how
 * it keeps it in transaction pooling.
 *
 * SQL changes a session in more ways than a parser can follow: SET in a
 * transaction that is rolled back, set_config() with an expression, temporary
 * tables that go with the transaction, locks that were not got. So nothing is
 * worked out here: the classifier says what a text *may* leave behind
 * (wire/lexer.h: lex_leaves), and after such a transaction, before the server
 * goes to anybody else, the server itself is asked what there is.
 *
 *  - Settings follow the client: their values are noted, and set on the next
 *    server in front of its first statement (session/settings.h).
 *  - What cannot follow binds the client to the server (it is pinned) until the
 *    server says that it is gone.
 *  - When the answer does not come or is not understood, the client is pinned.
 *
 * pin = error refuses the statement instead, pin = off lets it pass and the
 * server is reset. So does a server whose client goes.
 *
 * Threads: the worker's. The count of pins is the hub's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RESIDUE_H
#define PGWEIR_SESSION_RESIDUE_H

#include "session/session.h"
#include "session/switches.h"
#include "wire/lexer.h"

/* Why a statement does not go to the server. */
#define REFUSALS(X)                                                            \
	/* PostgreSQL's own words: drivers know them, and prepare again */     \
	X(REFUSED_ROWS, "0A000", "cached plan must not change result type", NULL, NULL) \
	X(REFUSED_PIN, "0A000", "pin = error refuses what a session leaves behind on its server", \
	  "LISTEN, temporary tables, WITH HOLD cursors, session-level advisory locks, SQL PREPARE " \
	  "and LOAD bind a client to one server.",                             \
	  "Set pin = on for this database or user, or pool_mode = session.")   \
	X(REFUSED_PIN_LIMIT, "53300",                                          \
	  "too many clients of this pool are bound to their server",           \
	  "LISTEN, temporary tables, WITH HOLD cursors, session-level advisory locks, SQL PREPARE " \
	  "and LOAD bind a client to one server; max_pinned_servers is the limit.", \
	  "See sv_pinned in SHOW POOLS; raise max_pinned_servers, and default_pool_size with it.") \
	X(REFUSED_SEQUENCE, "55000",                                           \
	  "lastval() and currval() would tell of another session",             \
	  "In transaction pooling another client has used this server since.", \
	  "Use INSERT ... RETURNING, or call it in the transaction of the nextval(). From now on " \
	  "this client keeps its server.")                                     \
	/* the words are session/switches.h's */                               \
	X(REFUSED_SWITCH, "0A000", "refused", NULL, NULL)

enum refusal {
	REFUSED_NOT = 0,
#define X(id, sqlstate, message, detail, hint) id,
	REFUSALS(X)
#undef X
	REFUSED_N
};

/* The error for the client; sets all of *e. */
void refusal_error(enum refusal r, struct wire_error *e);

/* A text that is about to be sent in c's name: may it pass? Notes what it may
 * leave behind when it may. sure: the classifier understood it. */
enum refusal residue_note(struct client *c, struct server *s, unsigned leaves, bool sure,
			  const char *sql, size_t n);

/* c's encoding is another now: values that depend on it are asked for anew. */
void residue_encoding(struct client *c);

/* c sends a statement that may call nextval(). */
static inline void residue_nextval(struct client *c)
{
	c->residue.nextval = true;
}

/* c was told of an error, or of ROLLBACK: what was noted may not be so. */
static inline void residue_undone(struct client *c)
{
	c->residue.undone = true;
	c->residue.reset_anew = false;
	c->residue.nextval = false;
}

/* The client was told that a transaction is over: what was noted is what it relies
 * on. */
static inline void residue_confirmed(struct client *c)
{
	c->residue.confirmed = c->residue.leaves != 0;
}

/* RESET or DISCARD ALL is complete. */
static inline void residue_was_reset(struct client *c)
{
	c->residue.resets_seen++;
	if (c->unit.resets_all)
		switches_reset(c);
}

/* The server is out of its transaction and owes nothing. */
enum residue_next {
	RESIDUE_FREE = 0,        /* it may go to somebody else */
	RESIDUE_ASKED,           /* it has been asked: not yet */
	RESIDUE_KEPT,            /* the client is bound to it */
	RESIDUE_BROKEN           /* cannot be followed: close it, and tell the client */
};
enum residue_next residue_settle(struct client *c, struct server *s);

/* The same in session pooling, where nothing need be asked. */
void residue_session(struct client *c);

/* The answer: each DataRow (body only), then its end. */
void residue_row(struct client *c, struct server *s, const uint8_t *body, size_t n);
void residue_answered(struct client *c, struct server *s);
/* The question failed with that code. */
void residue_failed(struct client *c, const char *sqlstate);

/* What the server needs before anybody else may use it: SQL, or NULL: nothing.
 * *never: it may not be used again at all. */
const char *residue_reset(const struct client *c, bool *never);

/* The server goes back to the pool, c stays. */
void residue_released(struct client *c, struct server *s);

/* What stays when the transaction that made it is rolled back. */
#define RESIDUE_OUTLIVES (LEAVES_LOCK | LEAVES_PREPARE | LEAVES_LIBRARY | LEAVES_OBJECT)
/* The session cannot go on without this server. */
static inline bool residue_holds(const struct client *c)
{
	return c->residue.pinned || c->residue.asking || (c->residue.leaves & RESIDUE_OUTLIVES) ||
	       (c->residue.leaves && c->residue.confirmed);
}
/* The server is lost, and with it what the transaction may have left. */
void residue_lost(struct client *c);
/* ... and what it did there is done again on another. */
void residue_moved(struct client *c);

/* c goes. */
void residue_drop(struct client *c);

/* What binds it, for people: "LISTEN, temporary tables". */
const char *residue_words(unsigned pinned, char *out, size_t cap);

#endif
