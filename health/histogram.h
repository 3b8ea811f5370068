/* health/histogram.h - how long things took, in fixed memory: log-linear buckets of
 * microseconds, eight to each power of two.
 *
 * Owner:   whoever has it inside (health/meter.h). Threads: one writes, any reads
 *          (relaxed atomics: each number is right, their sum nearly).
 *
 * A bucket has the times above one edge up to the next, that one included: up to 8 us
 * each number has its own, further up a bucket is an eighth of its power of two wide, so
 * that a quantile is off by 12.5 % at most and never too low. Each power of two from 8 on
 * is an edge: how many took at most so long is told exactly. What takes longer than
 * 2^36 us, 19 hours, is in the last one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_HISTOGRAM_H
#define PGWEIR_HEALTH_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_SUB 8u              /* buckets to a power of two, and 2^HIST_SUB_BITS */
#define HIST_SUB_BITS 3u
#define HIST_MAX_BITS 36u
#define HIST_N (HIST_SUB * (HIST_MAX_BITS - HIST_SUB_BITS + 1))

struct hist {
	_Atomic uint64_t sum_us, max_us;
	_Atomic uint64_t bucket[HIST_N];
};

/* What a reader has: of one histogram, of several, or of what came between two readings. */
struct hist_sum {
	uint64_t n;              /* of all buckets */
	uint64_t sum_us, max_us; /* max_us: the longest ever, or since the last reading at most
				    that */
	uint64_t bucket[HIST_N];
};

/* The bucket of a time. */
static inline unsigned hist_at(uint64_t us)
{
	uint64_t v = us - (us != 0);
	unsigned high;

	if (v < 2 * HIST_SUB)
		return (unsigned)v;
	high = 63u - (unsigned)__builtin_clzll(v);
	if (high >= HIST_MAX_BITS)
		return HIST_N - 1;
	return (high - HIST_SUB_BITS) * HIST_SUB + (unsigned)(v >> (high - HIST_SUB_BITS));
}

/* The longest time that is in bucket i. */
uint64_t hist_edge(unsigned i);

#define HIST_BUMP(p, d)                                                        \
	atomic_store_explicit(p, atomic_load_explicit(p, memory_order_relaxed) + (d),  \
			      memory_order_relaxed)

/* One more. at: hist_at(us), which several may share. The writer's thread. */
static inline void hist_add_at(struct hist *h, unsigned at, uint64_t us)
{
	HIST_BUMP(&h->bucket[at], 1);
	HIST_BUMP(&h->sum_us, us);
	if (us > atomic_load_explicit(&h->max_us, memory_order_relaxed))
		atomic_store_explicit(&h->max_us, us, memory_order_relaxed);
}
static inline void hist_add(struct hist *h, uint64_t us)
{
	hist_add_at(h, hist_at(us), us);
}
/* Empty again. Nobody may be writing. */
void hist_clear(struct hist *h);

/* Adds what is there. Any thread; to begins zeroed. */
void hist_sum_read(struct hist_sum *to, const struct hist *from);
void hist_sum_add(struct hist_sum *to, const struct hist_sum *from);
/* What came since `before`, an older reading of the same; never less than nothing. */
void hist_sum_since(struct hist_sum *now, const struct hist_sum *before);

/* The time that per_100k of a hundred thousand did not exceed (99 %: 99000), as the edge
 * of its bucket, or max_us where that is less. 0: there is none. */
uint64_t hist_quantile(const struct hist_sum *s, unsigned per_100k);
/* How many took at most us: exact for the powers of two from 8 on; else for the edge
 * below. */
uint64_t hist_upto(const struct hist_sum *s, uint64_t us);
static inline uint64_t hist_mean(const struct hist_sum *s)
{
	return s->n ? s->sum_us / s->n : 0;
}

#endif
