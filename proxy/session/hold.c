/* proxy/session/hold.c - see hold.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/hold.h"

#include <stdlib.h>
#include <string.h>

/* What a client keeps between units, so that short units cost no malloc. */
#define HOLD_KEEP 512u

int hold_room(struct hold *h, size_t n, size_t max, _Atomic int64_t *total, int64_t budget_max)
{
	if (n > max || h->len > max - n)
		return -1;
	if (h->len + n > h->cap) {
		size_t cap = h->cap ? h->cap : 256;
		uint8_t *q;
		int64_t more;

		while (cap < h->len + n)
			cap *= 2;
		more = (int64_t)(cap - h->cap);
		if (atomic_fetch_add_explicit(total, more, memory_order_relaxed) + more >
		    budget_max) {
			atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
			return -1;
		}
		q = realloc(h->p, cap);
		if (!q) {
			atomic_fetch_sub_explicit(total, more, memory_order_relaxed);
			return -1;
		}
		h->p = q;
		h->cap = cap;
	}
	return 0;
}

int hold_add(struct hold *h, const void *p, size_t n, size_t max, _Atomic int64_t *total,
	     int64_t budget_max)
{
	if (hold_room(h, n, max, total, budget_max))
		return -1;
	if (n)
		memcpy(h->p + h->len, p, n);
	h->len += n;
	return 0;
}

void hold_free(struct hold *h, _Atomic int64_t *total)
{
	if (h->cap)
		atomic_fetch_sub_explicit(total, (int64_t)h->cap, memory_order_relaxed);
	free(h->p);
	*h = (struct hold){ 0 };
}

void hold_clear(struct hold *h, _Atomic int64_t *total)
{
	if (h->cap > HOLD_KEEP)
		hold_free(h, total);
	h->len = 0;
}
