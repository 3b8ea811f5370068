/* tests/sim/world.h - one run: the daemon's part played by us, pgweir's workers in one
 * thread, a simulated cluster behind them and simulated clients in front, faults, and
 * what must hold meanwhile and afterwards.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_WORLD_H
#define PGWEIR_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "session/client_state.h"
#include "session/server_state.h"

/* Kinds of faults and events, one bit each. */
#define FAULTS(X)                                                              \
	X(FAULT_KILL, "kill")          /* a node dies and comes back */        \
	X(FAULT_CUT, "cut")            /* a server connection breaks at any byte */ \
	X(FAULT_SILENCE, "silence")    /* packets to a node vanish for a while */ \
	X(FAULT_DRAIN, "drain")        /* a node shuts down in order, and comes back */ \
	X(FAULT_SLOW, "slow")          /* a node is slow for a while */        \
	X(FAULT_SCARCE, "scarce")      /* no descriptors for a while */        \
	X(FAULT_DISTURB, "disturb")    /* 40001 out of nothing */              \
	X(FAULT_RELOAD, "reload")      /* other settings */                    \
	X(FAULT_PROMOTE, "promote")    /* another primary */                   \
	X(FAULT_SHUTDOWN, "shutdown")  /* pgweir is told to end in the middle */ \
	X(FAULT_MEMORY, "memory")      /* allocations fail now and then */

enum fault {
#define X(id, name) id,
	FAULTS(X)
#undef X
	FAULT_N
};

#define CLIENTS_MAX 24u

/* What a run is made of: from its seed, less what was taken away. */
struct plan {
	uint64_t seed;
	uint32_t faults;         /* bits that may occur */
	uint32_t clients;        /* bits of those who come */
	unsigned steps;          /* at most, for each program; 0: as the seed says */
	unsigned workers;        /* 0: as the seed says */
	unsigned moments;        /* faults at most; 0: as the seed says */
	unsigned dialect;        /* 0: as the seed says; 1: PostgreSQL, 2: CockroachDB */
};

struct plan plan_whole(uint64_t seed);

/* What a run was like. */
struct run_tally {
	uint64_t steps, sim_us, digest;
	unsigned clients, workers, nodes, faults, moments;
	unsigned committed, aborted, unknown, cancels;
	bool unclear;
	uint64_t replays, mismatches, lost;
	uint64_t retried, handovers, pins, questions;
};

/* Cells of the state tables that have fired, over all runs. */
struct cells {
	uint64_t client[CL_N][CE_N], server[SV_N][SE_N];
};

/* false: something was wrong, text says what. cells may be NULL. */
bool world_run(const struct plan *p, FILE *trace, struct run_tally *t, struct cells *cells, char *text,
	       size_t cap);

const char *fault_name(enum fault f);

#endif
