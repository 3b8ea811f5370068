/* tests/sim/node.h - the simulated cluster: nodes that listen, one backend (engine.h)
 * for each connection, one store for all.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_NODE_H
#define PGWEIR_SIM_NODE_H

#include "engine.h"
#include "net.h"
#include "store.h"

#define NODES_MAX 4u

struct backend;
struct cluster;

struct node {
	struct host host;
	struct cluster *cluster;
	unsigned id;
	bool standby, draining;
	bool cut_commit;         /* one of the next to commit loses its connection */
	uint64_t down_until_us;  /* nothing starts it before */
	unsigned backends;       /* connections that are logged in */
	char name[32];           /* address:port */
};

struct cluster {
	struct sim *s;
	struct net *net;
	struct store *store;
	enum dialect dialect;
	struct node nodes[NODES_MAX];
	unsigned n;
	struct backend *all;
	uint32_t pids;
	struct rng rng;
	unsigned cancels;        /* that have hit a running statement */
};

void cluster_init(struct cluster *c, struct sim *s, struct net *net, enum dialect dialect,
		  unsigned nodes);
void cluster_free(struct cluster *c);
/* As SIGKILL: every connection breaks, whatever was committed is. */
void node_kill(struct node *n);
void node_start(struct node *n);
/* As a shutdown: PostgreSQL ends its sessions, CockroachDB each when it is at rest;
 * neither takes new ones. */
void node_drain(struct node *n);
/* Packets to and from it vanish, or flow again. */
void node_silence(struct node *n, bool on);
/* One of its connections breaks. */
void node_cut_one(struct node *n);
/* That of one of the next to commit does, behind it. */
void node_cut_commit(struct node *n);
/* It becomes the primary, all others standbys. */
void cluster_promote(struct cluster *c, unsigned node);
/* The engine at the other end of a descriptor of pgweir's; NULL: none yet. */
const struct engine *cluster_engine(struct cluster *c, int fd);

#endif
