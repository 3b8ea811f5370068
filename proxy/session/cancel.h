/* proxy/session/cancel.h - cancel keys and the way of a CancelRequest.
 *
 * A client is given a key of pgweir's own: the worker's number, in as few bits as
 * it takes, and random bits in the process id, 32 random bits in the secret. A
 * request goes to that worker, and when it knows no such key to the process that
 * this one took over from, if that lives (proxy/predecessor.h); if the client's query runs on a server just then, a connection to
 * that server's node carries the server's own key, and the server is given to
 * nobody else before that connection has ended.
 *
 * Source: PostgreSQL manual 55.2.8 (Canceling Requests in Progress).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_CANCEL_H
#define PGWEIR_SESSION_CANCEL_H

#include "session/session.h"

/* Gives c its key. -1: no randomness. */
MUST_CHECK int key_make(struct client *c);
void key_forget(struct client *c);
/* The client of h with this key, NULL: it is gone. */
struct client *cancel_client(struct hall *h, uint32_t pid, uint32_t secret);

/* A CancelRequest has come in on fd (owned now; closed when the cancel has been
 * delivered, so that the asker can wait for it). Any worker. */
void cancel_request(struct hall *h, int fd, uint32_t pid, uint32_t secret);

/* The same from any thread, for one that another process has got. false: the worker of the
 * key has ended, and fd stays the caller's. */
MUST_CHECK bool cancel_post(struct shared *sh, int fd, uint32_t pid, uint32_t secret);

/* Sends a cancel for what s runs; fd -1. s may be closed afterwards. */
void cancel_server(struct server *s, int fd);

/* Ends all that are under way. */
void cancels_drop(struct hall *h);

/* What runs is a message of pgweir's own: a cancel must wait. */
bool cancel_too_early(const struct server *s);

#endif
