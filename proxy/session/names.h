/* proxy/session/names.h - bookkeeping of statement names while their Parse
 * messages are under way, and replies of our own in their place.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_NAMES_H
#define PGWEIR_SESSION_NAMES_H

#include "session/session.h"

/* Replies of our own, as refs of owed_sent_local(). */
enum names_local { LOCAL_PARSE_COMPLETE = 1, LOCAL_CLOSE_COMPLETE };
/* ref of an owed Parse: the statement's id, or */
#define REF_UNNAMED UINT64_MAX

/* c has sent a Parse for this name; its answer is awaited. Answers come in
 * order. -1: out of memory. */
MUST_CHECK int names_pending(struct client *c, const char *name);
/* Their answers will not come: the names are not given. */
void names_clear(struct client *c);

/* Replies of our own that are due and that no answer of the server is going to
 * carry along: to the client, or to what is held for it. */
void names_emit_due(struct client *c, struct server *s);

/* Is this text DEALLOCATE [PREPARE] name, and nothing else? out: the name, as
 * the server would fold it. */
bool names_deallocated(const char *sql, size_t n, char *out, size_t cap);

/* A server has dropped or refused entries: what they had registered is undone.
 * An owed_drop_fn; arg is the server. */
void names_dropped(void *server, const struct owed_entry *e, bool failed);
/* The entry was answered well. */
void names_settled(struct server *s, const struct owed_entry *e);
/* A reply of our own is due: writes it, returns its length (5). */
size_t names_reply(struct server *s, uint64_t ref, uint8_t out[5]);

#endif
