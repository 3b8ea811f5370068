/* proxy/session/names.h - bookkeeping of statement names while their Parse
 * messages are under way, and the replay of messages that carry them.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_NAMES_H
#define PGWEIR_SESSION_NAMES_H

#include "session/session.h"

/* c has sent a Parse for this name; its answer is awaited. Answers come in
 * order. -1: out of memory. */
MUST_CHECK int names_pending(struct client *c, const char *name);
/* Their answers will not come: the names are not given. */
void names_clear(struct client *c);

/* Sends one logged message again. A named Parse that the first attempt left on
 * the server is closed first. false: the server is lost. */
bool names_resend(struct client *c, struct server *s, const uint8_t *msg, uint32_t len,
		  bool swallow);

/* Replies of our own that are due and that no answer of the server is going to
 * carry along: to the client, or to what is held for it. */
void names_emit_due(struct client *c, struct server *s);

/* Is this text DEALLOCATE [PREPARE] name, and nothing else? out: the name, as
 * the server would fold it. */
bool names_deallocated(const char *sql, size_t n, char *out, size_t cap);

#endif
