/* proxy/session/link.h - who gets which server: waiting, dialling, and the letters
 * by which workers share servers.
 *
 * Threads: the worker's; letters cross.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_LINK_H
#define PGWEIR_SESSION_LINK_H

#include "session/session.h"

/* A server for c: true: linked. false: it waits, deadline set, dialling begun
 * as far as the limits allow. */
bool link_need(struct client *c);
/* c waits no longer. */
void link_unwait(struct client *c);
/* Dials for those who wait, within all limits. */
void link_dial(struct shard *sh);
/* link_dial for every shard of the hall with waiters. */
void link_look(struct hall *h);
/* A server that belongs to no client and is clean: to the next waiter (who is
 * put on h->ready), to another worker, to the idle ones, or closed. */
void link_put(struct server *s);

/* A dial failed. true: those who wait cannot be helped and should be told
 * (sh->last_sqlstate, sh->last_error). */
bool link_failed(struct shard *sh, struct target *t, const char *sqlstate, const char *message,
		 bool hard);
/* Some target's state or role has changed. */
void link_targets_changed(struct hall *h);
/* Upkeep: lifetimes, idle servers, min_pool_size, over-full pools, nodes that have
 * more than their share. */
void link_tick(struct hall *h);
/* Tells every worker that a token has come free. */
void link_tokens(struct hall *h);

#endif
