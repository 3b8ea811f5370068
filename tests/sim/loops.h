/* tests/sim/loops.h - proxy/io/kernel.h over the simulated network: what kernel.c
 * offers to the world besides.
 *
 * Owner: world.c; kernel.h has no room for a context, so one set of loops at a time is
 * the current one (loops_use).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_LOOPS_H
#define PGWEIR_SIM_LOOPS_H

#include "net.h"

#define LOOPS_MAX 8u

struct loops;

/* From now on kernel.h means this network. */
struct loops *loops_new(struct sim *s, struct net *n);
void loops_free(struct loops *l);

/* Loops are numbered in the order of kernel_loop_new. Has it something to do now? */
bool loop_ready(struct loops *l, unsigned i);
/* Calls for some of what is ready, in any order, each only if it still is. */
void loop_turn(struct loops *l, unsigned i);
/* The time of its alarm; UINT64_MAX: none. */
uint64_t loop_alarm(const struct loops *l, unsigned i);
/* Watches that are on. */
unsigned loop_watches(const struct loops *l);

#endif
