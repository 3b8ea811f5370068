/* health/mismatches.c - see mismatches.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/mismatches.h"

void mismatches_add(struct mismatches *m, uint64_t fingerprint, uint32_t unit)
{
	struct mismatch *r = &m->row[MISMATCHES_MAX];
	unsigned i;

	for (i = 0; i < MISMATCHES_MAX; i++) {
		uint64_t f = atomic_load_explicit(&m->row[i].fingerprint, memory_order_relaxed);

		if (f && f != fingerprint)
			continue;
		r = &m->row[i];
		atomic_store_explicit(&r->fingerprint, fingerprint, memory_order_relaxed);
		break;
	}
	atomic_store_explicit(&r->unit, unit, memory_order_relaxed);
	atomic_store_explicit(&r->count,
			      atomic_load_explicit(&r->count, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}
