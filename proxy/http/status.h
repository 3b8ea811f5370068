/* proxy/http/status.h - the last five minutes, second by second, and the JSON that the
 * status page asks for.
 *
 * Owner:   struct web. Threads: the HTTP thread's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_STATUS_H
#define PGWEIR_HTTP_STATUS_H

#include "http/facts.h"
#include "http/out.h"
#include "http/totals.h"
#include "http/healthy.h"

#define STATUS_SECONDS 300u
#define STATUS_TIMES 10u         /* seconds that a p99 is of */
#define STATUS_POOLS 50u         /* that the page shows, the busiest */

/* One second. */
struct moment {
	uint32_t queries, xacts, absorbed;
	uint64_t p99_us;               /* of queries, of the last ten seconds; 0: none */
	uint32_t busy, waiting;        /* servers, clients at its end */
	uint32_t span_ms;              /* how long it really was */
};

struct status {
	struct moment ring[STATUS_SECONDS];
	uint64_t seq;                  /* moments so far; the last is ring[(seq - 1) % N] */
	uint64_t at_us;
	struct totals last;
	struct hist_sum times[STATUS_TIMES]; /* of queries, at the ends of the last seconds */
};

/* A second has passed. */
void status_tick(struct status *s, struct shared *sh, uint64_t now_us);
void status_init(struct status *s, struct shared *sh, uint64_t now_us);

/* after: the newest moment that the asker has, 0: none. */
void status_json(struct out *o, const struct status *s, const struct facts *f,
		 const struct totals *t, enum running r, uint64_t slow_us, uint64_t after);

#endif
