/* health/dials.h - how many connections one node is given, and when the next is
 * tried: for the node, whoever dials, and not for each pool.
 *
 * Bounded: connections and logins under way, each with its own limit. After a
 * failure the node is left alone for a pause that grows from an eighth of
 * server_login_retry to all of it, less a random half; then one dial tries it for
 * all, and the others follow when that has come through.
 *
 * Owner:   struct target (health/target.h). Threads: any; atomics, nothing blocks.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_DIALS_H
#define PGWEIR_HEALTH_DIALS_H

#include "health/target.h"

/* 0: no limit. */
struct dial_limits {
	int conns, logins;
};

/* Would dials_take() give a place now? If not: *when is the end of the pause
 * (monotonic us), or UINT64_MAX when there is no room, and whoever makes some
 * tells. */
bool dials_open(struct target *t, const struct dial_limits *l, uint64_t now_us, uint64_t *when);

/* A place for one connection that is about to be dialled: true, and dials_end()
 * and dials_gone() follow, once each; false: there is none now. */
bool dials_take(struct target *t, const struct dial_limits *l, uint64_t now_us);

/* How a dial ended. */
enum dial_end {
	DIAL_OK = 0,    /* logged in, or refused by a server that is well */
	DIAL_FAILED,    /* the node's fault */
	DIAL_DROPPED    /* ours: says nothing of the node */
};
/* max_us: server_login_retry; rnd: any random number. Returns true when somebody
 * waits for a place. */
bool dials_end(struct target *t, enum dial_end how, uint64_t now_us, uint64_t max_us, uint64_t rnd);
/* The connection is closed. Returns as dials_end(). */
bool dials_gone(struct target *t);

#endif
