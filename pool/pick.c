/* pool/pick.c - see pick.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/pick.h"

#include <stdbool.h>

/* Is a (at distance da from the start) better than b (at db)? */
static bool better(enum balance how, const struct target *a, size_t da, const struct target *b,
		   size_t db)
{
	int ca = atomic_load_explicit(&a->conns, memory_order_relaxed);
	int cb = atomic_load_explicit(&b->conns, memory_order_relaxed);

	switch (how) {
	case BALANCE_LEASTCONN:
		return ca != cb ? ca < cb : da < db;
	case BALANCE_ROUND_ROBIN:
	case BALANCE_RANDOM:
	case BALANCE_DISABLE:
	default:
		return da < db;
	}
}

int pick_target(struct target *const *t, size_t n, enum session_attrs attrs, enum balance how,
		uint64_t tried, uint64_t rnd, uint64_t *rr)
{
	int best = PICK_NONE, best_suit = 0;
	size_t start, best_d = 0, i;

	if (!n)
		return PICK_NONE;
	start = how == BALANCE_DISABLE	   ? 0 :
		how == BALANCE_ROUND_ROBIN ? (size_t)(*rr % n) :
					     (size_t)(rnd % n);
	for (i = 0; i < n; i++) {
		size_t d = (i + n - start) % n;
		int suit = i < 64 && (tried >> i & 1) ? 0 : target_suits(t[i], attrs);

		if (!suit || suit < best_suit)
			continue;
		if (suit > best_suit || better(how, t[i], d, t[best], best_d)) {
			best = (int)i;
			best_suit = suit;
			best_d = d;
		}
	}
	if (best != PICK_NONE && how == BALANCE_ROUND_ROBIN)
		*rr = (uint64_t)best + 1;
	return best;
}
