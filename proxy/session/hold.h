/* proxy/session/hold.h - bytes kept until an outcome is known; bounded, and
 * counted against the budget of all clients together.
 *
 * Blocks of the smallest size go from client to client of a worker, which takes its
 * share of the budget for many of them at a time.
 *
 * Owner: a client's unit; of struct holds the hall. Threads: the worker's; the
 * budget is an atomic.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_HOLD_H
#define PGWEIR_SESSION_HOLD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

#define HOLD_SMALL 256u

struct hold {
	uint8_t *p;
	size_t len, cap;
};

struct holds {
	_Atomic int64_t *total;      /* bytes of all larger blocks, and what is reserved */
	int64_t reserved, used;      /* bytes, for small blocks */
	void *spare;
	unsigned spare_n;
};

/* Makes room for n more bytes, so that the next hold_add()s of that many cannot
 * fail. -1: as of hold_add(). */
MUST_CHECK int hold_room(struct hold *h, size_t n, size_t max, struct holds *of,
			 int64_t budget_max);
/* Appends n bytes. -1: over max, over the budget (total, bytes of all holds
 * together) or out of memory; nothing has changed. */
MUST_CHECK int hold_add(struct hold *h, const void *p, size_t n, size_t max, struct holds *of,
			int64_t budget_max);
/* Forgets the bytes. */
void hold_free(struct hold *h, struct holds *of);
/* The spare blocks, and what is reserved: nothing may be held. */
void holds_free(struct holds *of);

#endif
