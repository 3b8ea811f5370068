/* proxy/session/names.h - bookkeeping of statement names while their Parse
 * messages are under way, and replies of our own in their place.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_NAMES_H
#define PGWEIR_SESSION_NAMES_H

#include "session/session.h"
#include "wire/lexer.h"

/* Replies of our own, as refs of owed_sent_local(). */
enum names_local { LOCAL_PARSE_COMPLETE = 1, LOCAL_CLOSE_COMPLETE };
/* ref of an owed Parse: the statement's id, or */
#define REF_UNNAMED UINT64_MAX

/* c has sent a Parse that gives this name to st (whose reference is taken over),
 * or a Close that takes it away; the answer is awaited. Answers come in order.
 * The name is there, or gone, at once: what follows in the pipeline relies on
 * it. -1: out of memory; the reference stays with the caller. */
MUST_CHECK int names_give(struct client *c, const char *name, struct stmt *st);
MUST_CHECK int names_take(struct client *c, const char *name);
/* The same for the unnamed statement; st NULL: a Close or a Query takes it away. */
MUST_CHECK int names_unnamed(struct client *c, struct stmt *st);
/* A change of this name is awaited. */
bool names_awaits(const struct client *c, const char *name);
/* A Query that we answer ourselves takes it away; nothing is awaited. */
void names_query(struct client *c);
/* Their answers will not come: all is as it was. */
void names_clear(struct client *c);
/* ... or, since what was sent is sent again: all is as it will be. */
void names_settle_all(struct client *c);

/* Replies of our own that are due and that no answer of the server is going to
 * carry along: to the client, or to what is held for it. */
void names_emit_due(struct client *c, struct server *s);

/* A message of the server's in which our name for a statement stands: written to
 * out with the client's name instead. 0: there is none, or it does not fit. */
size_t names_translated(const struct client *c, const uint8_t *msg, size_t n, uint8_t *out,
			size_t cap);

/* A RowDescription ('T', of which have bytes are here) or NoData of s for statement id:
 * what its rows look like there; mine: and its client knows it now. */
void names_rows(struct server *s, bool mine, uint8_t type, uint64_t id, const uint8_t *msg,
		size_t have);

/* An identifier as the server reads it: folded, or with its quotes undone. false: it
 * is none, or longer. */
bool names_identifier(const struct lex_token *t, char *out, size_t cap);

/* A DEALLOCATE of name is on its way in a Query ("": of one that is not known here);
 * when it is complete the name is gone, when the Query is over it is not. -1: out of
 * memory. */
MUST_CHECK int names_leaving(struct client *c, const char *name);
bool names_is_leaving(const struct client *c, const char *name);
void names_left(struct client *c);
void names_stay(struct client *c);

/* Is this text DEALLOCATE [PREPARE] name, and nothing else? out: the name, as
 * the server would fold it. */
bool names_deallocated(const char *sql, size_t n, char *out, size_t cap);

/* | ref of a Query that takes the unnamed statement away. */
#define REF_TAKES (1ULL << 59)
/* | ref of a Parse under a scratch name, of a statement that is there. */
#define REF_SCRATCH (1ULL << 58)
/* ref of a Parse that is sent again for a retry: its name is settled already. */
#define REF_AGAIN (1ULL << 62)

/* A server has dropped or refused entries: what they had registered is undone.
 * An owed_drop_fn; arg is the server. names_undo() completes it. */
void names_undo(struct client *c);
void names_dropped(void *server, const struct owed_entry *e, bool failed);
/* The entry was answered well. */
void names_settled(struct server *s, const struct owed_entry *e);
/* A reply of our own is due: writes it, returns its length. */
#define NAMES_REPLY_MAX 128u
size_t names_reply(struct server *s, uint64_t ref, uint8_t out[NAMES_REPLY_MAX]);

#endif
