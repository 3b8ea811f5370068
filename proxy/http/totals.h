/* proxy/http/totals.h - the counters of health/stats.h, all workers added up.
 *
 * Threads: any.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_TOTALS_H
#define PGWEIR_HTTP_TOTALS_H

#include "session/session.h"

struct totals {
#define X(name, help) uint64_t name;
	STATS_LIST(X)
#undef X
};

void totals_read(struct totals *t, const struct shared *sh);
/* What clients were spared: errors and lost servers that they did not hear of. */
uint64_t totals_absorbed(const struct totals *t);

#endif
