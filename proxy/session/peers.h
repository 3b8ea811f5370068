/* proxy/session/peers.h - other processes that serve the same clients: whose a cancel key
 * is, and the way of a CancelRequest to the one that has made it.
 *
 * As in PgBouncer, whose processes may be among them: with peer_id set, the second and
 * third byte of a key are the number of the process (the low byte first), and the two
 * lowest bits of the last one say how often a request may still be passed on. It begins
 * with 3, each process takes one off, and at 0 it goes nowhere: settings that point in a
 * circle cannot keep a request alive.
 *
 * One request that comes in is one that goes out. Of those to one peer at most pool_size
 * are under way; some more wait for them, no longer than cancel_wait_timeout.
 *
 * Threads: struct peer_use any, in struct shared; the rest the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_PEERS_H
#define PGWEIR_SESSION_PEERS_H

#include "session/session.h"

/* A key of this process, from two random numbers. */
void peers_mark(const struct shared *sh, uint32_t *pid, uint32_t *secret);
/* Is it one? Then *secret is made as it was given out. Always, without peer_id. */
bool peers_is_ours(const struct shared *sh, uint32_t pid, uint32_t *secret);
/* To whose it is. fd: the connection that asks, owned, closed when the peer has done; -1:
 * none. */
void peers_forward(struct hall *h, int fd, uint32_t pid, uint32_t secret);
/* Those that wait: may they go now? */
void peers_tick(struct hall *h);
/* Ends all that are under way. */
void peers_drop(struct hall *h);
/* For SHOW PEER_POOLS: requests to this peer. Any thread. */
struct peer_counts {
	unsigned waiting, connecting, active;
};
void peers_count(struct shared *sh, int id, struct peer_counts *out);

#endif
