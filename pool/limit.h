/* pool/limit.h - caps shared by all workers, as atomic tokens.
 *
 * Owner:   whoever embeds it; workers hold pointers. Threads: any.
 * Nothing here blocks. Sequentially consistent on purpose: giving a token back
 * and then looking for who waits, against waiting and then trying for a token,
 * is safe only so.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_LIMIT_H
#define PGWEIR_POOL_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>

struct limit {
	_Atomic int used;
	_Atomic int max;               /* 0: no limit */
};

static inline void limit_init(struct limit *l, int max)
{
	atomic_init(&l->used, 0);
	atomic_init(&l->max, max);
}

/* One token, or false when all are out. Never more than max are out, except
 * after max was lowered. */
static inline bool limit_take(struct limit *l)
{
	int max = atomic_load(&l->max), used = atomic_load(&l->used);

	do {
		if (max && used >= max)
			return false;
	} while (!atomic_compare_exchange_weak(&l->used, &used, used + 1));
	return true;
}

static inline void limit_give(struct limit *l)
{
	atomic_fetch_sub(&l->used, 1);
}

static inline bool limit_full(struct limit *l)
{
	int max = atomic_load(&l->max);

	return max && atomic_load(&l->used) >= max;
}

static inline bool limit_over(struct limit *l)
{
	int max = atomic_load(&l->max);

	return max && atomic_load(&l->used) > max;
}

#endif
