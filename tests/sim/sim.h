/* tests/sim/sim.h - one simulated run: its clock, what is to happen when, its trace
 * and its verdict.
 *
 * Owner: world.c. One run at a time in a process.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_SIM_H
#define PGWEIR_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf/err.h"
#include "rng.h"

struct happening {
	uint64_t at_us, order;
	void (*fn)(void *arg);
	void *arg;
	bool owned;                     /* arg is freed if it never happens */
};

struct sim {
	uint64_t seed, now_us, steps, order;
	struct happening *due;          /* a heap, earliest first */
	size_t due_n, due_cap;
	struct rng rng;                 /* of the schedule */
	FILE *trace;                    /* NULL: none */
	uint64_t digest;                /* of all trace lines: the same for the same seed */
	bool unclear;                   /* it ends here, and is neither right nor wrong */
	char wrong[1200];               /* the first thing that was wrong; empty: nothing */
};

/* Simulated time begins here, so that 0 is never a time. */
#define SIM_EPOCH_US 1000000000u

/* Memory of the simulation itself: never fails, zeroed. */
void *sim_alloc(size_t n);
void *sim_grow(void *p, size_t n);
void sim_release(void *p);

void sim_init(struct sim *s, uint64_t seed, FILE *trace);
void sim_free(struct sim *s);
/* fn(arg) in_us from now; what is due at the same time happens in the order asked. */
void sim_at(struct sim *s, uint64_t in_us, void (*fn)(void *arg), void *arg);
/* The same; arg is from malloc, and fn's to free. */
void sim_at_owned(struct sim *s, uint64_t in_us, void (*fn)(void *arg), void *arg);
/* Nothing that was asked for with arg will happen. */
void sim_forget(struct sim *s, const void *arg);
/* The time of the first happening; UINT64_MAX: there is none. */
uint64_t sim_next(const struct sim *s);
/* Does the first one, if its time has come. */
bool sim_happen(struct sim *s);
/* A line of the trace: "who what". */
void sim_trace(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Protocol messages for a trace: each one's type and the beginning of its body. Only
 * while there is a trace to write to; else out is empty. Returns out. */
const char *sim_messages(const struct sim *s, char *out, size_t cap, const uint8_t *p, size_t n);
void sim_wrong(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
