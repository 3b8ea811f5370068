/* health/mismatches.h - which statements come out otherwise when they are replayed, one
 * table per worker.
 *
 * A worker writes its own table; whoever shows them reads all. Relaxed atomics: a row
 * that is being written may be read with its neighbour's count once.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_MISMATCHES_H
#define PGWEIR_HEALTH_MISMATCHES_H

#include <stdatomic.h>
#include <stdint.h>

#define MISMATCHES_MAX 64u

struct mismatch {
	_Atomic uint64_t fingerprint;    /* 0: free */
	_Atomic uint64_t count;
	_Atomic uint32_t unit;           /* of its transaction, from 0; the latest */
};

/* The last row is of all that found no room. */
struct mismatches {
	struct mismatch row[MISMATCHES_MAX + 1];
};

/* Once more, in this unit. The owner's thread. fingerprint: not 0. */
void mismatches_add(struct mismatches *m, uint64_t fingerprint, uint32_t unit);

#endif
