/* tests/sim/rng.h - the only randomness of the simulation: streams of numbers
 * that follow from a seed.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_RNG_H
#define PGWEIR_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t s;
};

/* A stream of its own for each part of the world (client 3, faults, net), so that
 * taking one part away leaves the others as they were. */
static inline struct rng rng_make(uint64_t seed, uint64_t part)
{
	struct rng r = { seed * 0x9e3779b97f4a7c15u + part * 0xd1342543de82ef95u + 1 };

	return r;
}

/* splitmix64 */
static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->s += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* [0, n); n 0: 0 */
static inline unsigned rng_below(struct rng *r, unsigned n)
{
	return n ? (unsigned)(rng_next(r) % n) : 0;
}

/* [lo, hi] */
static inline unsigned rng_between(struct rng *r, unsigned lo, unsigned hi)
{
	return lo + rng_below(r, hi - lo + 1);
}

static inline bool rng_chance(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}

#endif
