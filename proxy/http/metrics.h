/* proxy/http/metrics.h - what /metrics says: OpenMetrics 1.0.0 or Prometheus' text.
 *
 * Threads: the HTTP thread's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_METRICS_H
#define PGWEIR_HTTP_METRICS_H

#include <stdbool.h>

#include "http/facts.h"
#include "http/measured.h"
#include "http/out.h"
#include "http/totals.h"
#include "http/healthy.h"

/* What is there besides facts. */
struct metrics {
	bool openmetrics;
	const struct facts *f;
	const struct totals *t;
	const struct measured *of[METER_KINDS]; /* databases, nodes */
	enum running running;
	enum health_word health;
	int64_t started_s;             /* since 1970 */
	unsigned workers;
};

void metrics_write(struct out *o, const struct metrics *m);

#endif
