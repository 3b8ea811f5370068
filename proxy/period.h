/* proxy/period.h - the ends of stats_periods: averages begin anew, and log_stats has its
 * line.
 *
 * Owner:   struct daemon. Threads: the control loop's.
 *
 * The line is PgBouncer's in our form: event=stats with xacts_s, queries_s, parses_s,
 * server_parses_s, binds_s, logins_s, in_s, out_s (for a second), xact_us, query_us (the
 * mean of the period), wait_us (for a second), and ours: query_p99_us, wait_p99_us, errors
 * and retried (in the period). All databases together.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_PERIOD_H
#define PGWEIR_PERIOD_H

#include "conf/conf.h"
#include "health/meter.h"
#include "io/worker.h"

struct period {
	struct deadline dl;
	struct worker *w;
	unsigned kind;           /* of deadlines of w */
	struct meters *meters;
	uint64_t length_us;
	bool says;               /* log_stats */
};

/* The first one begins now. Borrows w and meters. */
void period_start(struct period *p, struct worker *w, unsigned kind, struct meters *meters,
		  const struct conf_global *g);
/* The settings of now; a new length is that of the period under way too. */
void period_set(struct period *p, const struct conf_global *g);

#endif
