/* proxy/session/hold.c - see hold.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/hold.h"

#include <stdlib.h>
#include <string.h>

/* Of a worker; enough for all units that are under way at the same time. */
#define SPARE_MAX 1024u
/* Of the budget, at a time. */
#define RESERVE (16 * (int64_t)HOLD_SMALL)

static int take(struct holds *of, int64_t n, int64_t budget_max)
{
	if (atomic_fetch_add_explicit(of->total, n, memory_order_relaxed) + n <= budget_max)
		return 0;
	atomic_fetch_sub_explicit(of->total, n, memory_order_relaxed);
	return -1;
}

static void give(struct holds *of, int64_t n)
{
	atomic_fetch_sub_explicit(of->total, n, memory_order_relaxed);
}

static void small_free(struct holds *of, uint8_t *p)
{
	if (of->spare_n < SPARE_MAX) {
		memcpy(p, &of->spare, sizeof(of->spare));
		of->spare = p;
		of->spare_n++;
	} else {
		free(p);
	}
	of->used -= HOLD_SMALL;
	if (of->reserved - of->used >= 3 * RESERVE) {
		of->reserved -= RESERVE;
		give(of, RESERVE);
	}
}

/* One of those that are there. */
static uint8_t *spare(struct holds *of)
{
	uint8_t *p = of->spare;

	memcpy(&of->spare, p, sizeof(of->spare));
	of->spare_n--;
	return p;
}

static uint8_t *small(struct holds *of, int64_t budget_max)
{
	uint8_t *p;

	if (of->used + HOLD_SMALL > of->reserved) {
		int64_t n = RESERVE;

		if (take(of, n, budget_max) && take(of, n = HOLD_SMALL, budget_max))
			return NULL;
		of->reserved += n;
	}
	p = of->spare ? spare(of) : malloc(HOLD_SMALL);
	if (p)
		of->used += HOLD_SMALL;
	return p;
}

static int grow(struct hold *h, size_t n, struct holds *of, int64_t budget_max)
{
	size_t cap = h->cap ? h->cap : HOLD_SMALL, old = h->cap == HOLD_SMALL ? 0 : h->cap;
	uint8_t *q;

	while (cap < h->len + n)
		cap *= 2;
	if (cap == HOLD_SMALL) {
		q = small(of, budget_max);
	} else {
		if (take(of, (int64_t)(cap - old), budget_max))
			return -1;
		q = realloc(old ? h->p : NULL, cap);
		if (!q)
			give(of, (int64_t)(cap - old));
	}
	if (!q)
		return -1;
	if (h->cap == HOLD_SMALL) {
		memcpy(q, h->p, h->len);
		small_free(of, h->p);
	}
	h->p = q;
	h->cap = cap;
	return 0;
}

int hold_room(struct hold *h, size_t n, size_t max, struct holds *of, int64_t budget_max)
{
	if (n > max || h->len > max - n)
		return -1;
	return h->len + n > h->cap ? grow(h, n, of, budget_max) : 0;
}

int hold_add(struct hold *h, const void *p, size_t n, size_t max, struct holds *of,
	     int64_t budget_max)
{
	if (hold_room(h, n, max, of, budget_max))
		return -1;
	if (n)
		memcpy(h->p + h->len, p, n);
	h->len += n;
	return 0;
}

void hold_free(struct hold *h, struct holds *of)
{
	if (h->cap == HOLD_SMALL) {
		small_free(of, h->p);
	} else if (h->cap) {
		give(of, (int64_t)h->cap);
		free(h->p);
	}
	*h = (struct hold){ 0 };
}

void holds_free(struct holds *of)
{
	while (of->spare)
		free(spare(of));
	give(of, of->reserved);
	of->reserved = 0;
}
