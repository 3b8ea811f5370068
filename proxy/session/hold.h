/* proxy/session/hold.h - bytes kept until an outcome is known; bounded, and
 * counted against the budget of all clients together.
 *
 * Owner: a client's unit. Threads: its worker's; the budget is an atomic.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_HOLD_H
#define PGWEIR_SESSION_HOLD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

struct hold {
	uint8_t *p;
	size_t len, cap;
};

/* Makes room for n more bytes, so that the next hold_add()s of that many cannot
 * fail. Result as hold_add(). */
MUST_CHECK int hold_room(struct hold *h, size_t n, size_t max, _Atomic int64_t *total,
			 int64_t budget_max);
/* Appends n bytes. -1: over max, over the budget (total, bytes of all holds
 * together against budget_max), or out of memory; nothing has changed. */
MUST_CHECK int hold_add(struct hold *h, const void *p, size_t n, size_t max,
			_Atomic int64_t *total, int64_t budget_max);
/* Forgets the bytes; a small block is kept for the next time. */
void hold_clear(struct hold *h, _Atomic int64_t *total);
void hold_free(struct hold *h, _Atomic int64_t *total);

#endif
