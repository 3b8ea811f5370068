/* proxy/session/nodes.h - which node a shard dials, what its workers tell of nodes,
 * and when connections move from one to another.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_NODES_H
#define PGWEIR_SESSION_NODES_H

#include "session/session.h"

/* One more server for this shard: the node is chosen, and it is dialled. */
enum dialled {
	DIALLED = 0,
	DIALLED_NOT_NOW,    /* no node now (dial_dl tells when), or no room */
	DIALLED_DB_FULL,    /* another pool of the database may give up a place */
	DIALLED_USER_FULL,  /* ... of the user on the servers */
	DIALLED_NODE_FULL,  /* any pool may, at a node that suits */
	DIALLED_POOL_FULL   /* nodes_try() alone: the pool itself may */
};
enum dialled nodes_dial(struct shard *sh);
/* A server that logs in with this password; another node than those that could not tell. */
enum dialled nodes_try(struct trial *t);
/* This one could not. */
void nodes_untold(struct trial *t, const struct target *node);
/* Is there another one to ask? */
bool nodes_other(const struct trial *t, const struct target *node);

/* Left out by this shard until one dial succeeds. */
void nodes_tried(struct shard *sh, const struct target *t);
/* Dialled by this shard only if no other will do, until one dial succeeds. */
void nodes_avoid(struct shard *sh, const struct target *t);
/* Not before server_login_retry has passed: the login itself was refused. */
void nodes_back_off(struct shard *sh);
/* s, dialling, takes long: another node is dialled beside it. */
void nodes_slow(struct server *s);

/* Trouble of the node, not of the login. */
bool nodes_is_trouble(const char *sqlstate);
/* CockroachDB says that it is leaving, and not that somebody ended one session. */
bool nodes_is_drain(const char *sqlstate, const char *message);
enum target_seen nodes_what(const char *sqlstate, const char *message, bool hard);
/* Tells the control loop. */
void nodes_seen(struct hall *h, struct target *t, enum target_seen what);

/* A node that would suit the shard, but for its state of fullness; NULL: none. */
const struct target *nodes_full(const struct shard *sh);
/* t is leaving: its idle servers are closed, the others when they are free. */
void nodes_leaving(struct hall *h, const struct target *t);
/* The next server to be closed because its node is not what it was, NULL: none is
 * left; busy ones are marked on the way. Closing one may close others, so each
 * search begins anew. */
struct server *nodes_unsuitable(struct hall *h);
/* The next server whose node hangs and whose client is to be told, NULL: none. */
struct server *nodes_hung(struct hall *h);

/* Now and then: servers of nodes that have more than their share are closed, at
 * most half of what is too much, when they are free. */
void nodes_rebalance(struct hall *h);
/* Shards whose clients wait with no node to dial: a check is asked for. */
void nodes_ask(struct hall *h);

#endif
