/* tests/sim/world_in.h - what the files of the world share.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_WORLD_IN_H
#define PGWEIR_SIM_WORLD_IN_H

#include "history.h"
#include "inspector.h"
#include "loops.h"
#include "node.h"
#include "session/session.h"
#include "visitor.h"
#include "world.h"

/* Who waited for a server when pgweir was last at rest (checks.c). */
#define QUEUE_MAX 64u

struct queued {
	uint64_t client, ticket;
	const struct pool *pool;
	bool waits, served;           /* now */
};

struct world {
	struct sim s;
	struct plan plan;
	struct rng rng;               /* of the settings */
	struct rng fate;              /* of the faults */
	struct net *net;
	struct loops *loops;
	struct cluster cluster;
	struct history *history;
	struct visitor_world vw;
	struct visitor *visitors[CLIENTS_MAX];
	unsigned visitor_n;
	struct inspector *inspector; /* NULL: nobody at the console */
	/* the daemon's part */
	struct shared sh;
	struct targets targets;
	struct snapshot *snap;
	struct log log;
	_Atomic int log_level;
	unsigned workers, stopped;
	bool running[LOOPS_MAX];
	bool ending;                  /* told to end: no new clients */
	/* what the seed says */
	enum dialect dialect;
	unsigned nodes, pool_size, moments;
	uint32_t faults;              /* that occur */
	unsigned may;                 /* enum oracle_may, so far */
	bool lowered;                 /* a reload may have lowered a limit */
	char ini[4096];
	struct queued queue[QUEUE_MAX];
	unsigned queue_n;
	uint64_t rested;              /* after how many steps it was at rest */
	struct run_tally t;
	struct cells *cells;
};

/* ---- settings.c ---- */

/* Draws what the run is like, and writes the ini. */
void world_settings(struct world *w);
/* Draws it again for a reload: only what may change then. */
void world_resettle(struct world *w);

/* ---- faults.c ---- */

/* Plans the moments. */
void world_faults(struct world *w);

/* ---- checks.c ---- */

/* A replay is given up, as something was not the same. */
void world_check_mismatch(struct world *w, const struct log_ctx *log);
/* Whenever pgweir has nothing to do at once. */
void world_check(struct world *w);
/* At the end, when all is closed and before all is freed. */
void world_check_end(struct world *w);

/* ---- world.c ---- */

void world_may(struct world *w, unsigned bits);
void world_reload(struct world *w);
void world_tell_end(struct world *w);

/* ---- memory.c ---- */

/* percent of a thousand of allocations that fail, while armed. */
void memory_fail(unsigned permille, uint64_t seed);
/* Only inside the turn of a loop. */
void memory_arm(bool on);

#endif
