/* proxy/http/measured.h - a reading of all meters of one kind (health/meter.h), with the
 * buckets that Prometheus is given.
 *
 * Owner:   the caller's. Threads: any; the meters' lock is held for one at a time.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_MEASURED_H
#define PGWEIR_HTTP_MEASURED_H

#include "health/meter.h"

/* 64 us to 67 s, each twice the one before: their numbers are exact. */
#define MEASURED_FROM_BITS 6u
#define MEASURED_BUCKETS 21u

struct measured_hist {
	uint64_t n, sum_us;
	uint64_t upto[MEASURED_BUCKETS]; /* of at most 2^(MEASURED_FROM_BITS + i) us */
};

struct measured_one {
	char name[METER_NAME_MAX];
	struct stats_sum stats;
	uint64_t errors[METER_CLASSES_N];
	struct measured_hist hist[METER_HIST_N];
};

struct measured {
	struct measured_one *one;      /* no name twice */
	size_t n;
};

/* Databases with METER_LOBBY. -1: out of memory, nothing to free. */
MUST_CHECK int measured_read(struct measured *m, struct meters *ms, enum meter_kind kind,
			     uint64_t now_us);
void measured_free(struct measured *m);

#endif
