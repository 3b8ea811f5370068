/* proxy/http/counters.h - counters and histograms for Prometheus: of all, of each database,
 * of each node.
 *
 * Threads: any. Pure.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_COUNTERS_H
#define PGWEIR_HTTP_COUNTERS_H

#include "http/measured.h"
#include "http/out.h"
#include "http/totals.h"

/* of: databases and nodes. */
void counters_write(struct out *o, bool openmetrics, const struct totals *t,
		    const struct measured *const of[METER_KINDS]);

#endif
