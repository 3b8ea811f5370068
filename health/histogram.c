/* health/histogram.c - see histogram.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/histogram.h"

uint64_t hist_edge(unsigned i)
{
	unsigned high = i / HIST_SUB + HIST_SUB_BITS - 1;

	if (i < 2 * HIST_SUB)
		return i + 1u;
	return ((uint64_t)(i % HIST_SUB + HIST_SUB) << (high - HIST_SUB_BITS)) +
	       (1ull << (high - HIST_SUB_BITS));
}

void hist_clear(struct hist *h)
{
	unsigned i;

	atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
	atomic_store_explicit(&h->max_us, 0, memory_order_relaxed);
	for (i = 0; i < HIST_N; i++)
		atomic_store_explicit(&h->bucket[i], 0, memory_order_relaxed);
}

void hist_sum_read(struct hist_sum *to, const struct hist *from)
{
	uint64_t max = atomic_load_explicit(&from->max_us, memory_order_relaxed);
	unsigned i;

	for (i = 0; i < HIST_N; i++) {
		uint64_t n = atomic_load_explicit(&from->bucket[i], memory_order_relaxed);

		to->bucket[i] += n;
		to->n += n;
	}
	to->sum_us += atomic_load_explicit(&from->sum_us, memory_order_relaxed);
	if (max > to->max_us)
		to->max_us = max;
}

void hist_sum_add(struct hist_sum *to, const struct hist_sum *from)
{
	unsigned i;

	for (i = 0; i < HIST_N; i++)
		to->bucket[i] += from->bucket[i];
	to->n += from->n;
	to->sum_us += from->sum_us;
	if (from->max_us > to->max_us)
		to->max_us = from->max_us;
}

void hist_sum_since(struct hist_sum *now, const struct hist_sum *before)
{
	unsigned i, last = 0;

	now->n = 0;
	for (i = 0; i < HIST_N; i++) {
		now->bucket[i] -= before->bucket[i] < now->bucket[i] ? before->bucket[i] :
								       now->bucket[i];
		now->n += now->bucket[i];
		if (now->bucket[i])
			last = i;
	}
	now->sum_us -= before->sum_us < now->sum_us ? before->sum_us : now->sum_us;
	if (!now->n)
		now->max_us = 0;
	else if (hist_edge(last) < now->max_us)
		now->max_us = hist_edge(last);
}

uint64_t hist_quantile(const struct hist_sum *s, unsigned per_100k)
{
	uint64_t want, seen = 0;
	unsigned i;

	if (!s->n)
		return 0;
	/* in two parts: n * 100,000 may be too much */
	want = s->n / 100000u * per_100k + (s->n % 100000u * per_100k + 99999u) / 100000u;
	if (!want)
		want = 1;
	for (i = 0; i < HIST_N - 1; i++) {
		seen += s->bucket[i];
		if (seen >= want)
			break;
	}
	return i == HIST_N - 1 || hist_edge(i) > s->max_us ? s->max_us : hist_edge(i);
}

uint64_t hist_upto(const struct hist_sum *s, uint64_t us)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < HIST_N - 1 && hist_edge(i) <= us; i++)
		n += s->bucket[i];
	return n;
}
