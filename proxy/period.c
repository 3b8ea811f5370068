/* proxy/period.c - see period.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "period.h"

#include <stdlib.h>

/* What came in the period that has just ended; it began at `from`. */
static void say(struct period *p, const struct meter_sum *now, const struct meter_sum *older,
		uint64_t from)
{
	struct hist_sum query = now->hist[METER_QUERY], wait = now->hist[METER_WAIT];
	uint64_t rate[METER_COLUMN_N], errors = 0;
	unsigned i;

	for (i = 0; i < METER_COLUMN_N; i++)
		rate[i] = meter_rate(now, older, from, (enum meter_column)i);
	for (i = 0; i < METER_CLASSES_N; i++)
		errors += now->errors[i] - older->errors[i];
	hist_sum_since(&query, &older->hist[METER_QUERY]);
	hist_sum_since(&wait, &older->hist[METER_WAIT]);
#define V(x) (unsigned long long)(x)
	LOG(&p->w->log_ctx, LOG_LEVEL_INFO, "stats",
	    "xacts_s=%llu queries_s=%llu parses_s=%llu server_parses_s=%llu binds_s=%llu "
	    "logins_s=%llu in_s=%llu out_s=%llu xact_us=%llu query_us=%llu wait_us=%llu "
	    "query_p99_us=%llu wait_p99_us=%llu errors=%llu retried=%llu",
	    V(rate[METER_C_XACT]), V(rate[METER_C_QUERY]), V(rate[METER_C_CLIENT_PARSE]),
	    V(rate[METER_C_SERVER_PARSE]), V(rate[METER_C_BIND]), V(rate[METER_C_LOGIN]),
	    V(rate[METER_C_RECEIVED]), V(rate[METER_C_SENT]), V(rate[METER_C_XACT_TIME]),
	    V(rate[METER_C_QUERY_TIME]), V(rate[METER_C_WAIT_TIME]),
	    V(hist_quantile(&query, 99000)), V(hist_quantile(&wait, 99000)), V(errors),
	    V(now->stats.retried + now->stats.replay_begun - older->stats.retried -
	      older->stats.replay_begun));
#undef V
}

static void on_end(struct deadline *d)
{
	struct period *p = LIST_ITEM(d, struct period, dl);
	struct meter_sum *sum = calloc(2, sizeof(*sum));

	meters_tick(p->meters, p->w->now_us);
	if (sum && p->says) {
		meters_total(p->meters, p->w->now_us, &sum[0], &sum[1]);
		say(p, &sum[0], &sum[1], meters_older_us(p->meters));
	}
	free(sum);
	deadline_set(p->w, p->kind, &p->dl, p->w->now_us + p->length_us);
}

void period_start(struct period *p, struct worker *w, unsigned kind, struct meters *meters,
		  const struct conf_global *g)
{
	p->w = w;
	p->kind = kind;
	p->meters = meters;
	deadline_init(&p->dl, on_end);
	period_set(p, g);
}

void period_set(struct period *p, const struct conf_global *g)
{
	bool other = p->length_us != (uint64_t)g->stats_period;

	p->says = g->log_stats != 0;
	p->length_us = (uint64_t)g->stats_period;
	if (other)
		deadline_set(p->w, p->kind, &p->dl, worker_clock(p->w) + p->length_us);
}
