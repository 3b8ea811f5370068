/* tests/sim/settings.c - what a run is like, drawn from its seed.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdarg.h>
#include <string.h>

#include "world_in.h"

static void put(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put(struct world *w, const char *fmt, ...)
{
	size_t n = strlen(w->ini);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->ini + n, sizeof(w->ini) - n, fmt, ap);
	va_end(ap);
}

static const char *one(struct rng *r, const char *const *of, unsigned n)
{
	return of[rng_below(r, n)];
}

#define ONE(r, ...)                                                            \
	one(r, (const char *const[]){ __VA_ARGS__ },                           \
	    sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

/* Timeouts that may end a client in the middle. */
static void put_hurry(struct world *w, struct rng *r)
{
	if (rng_chance(r, 15)) {
		put(w, "client_idle_timeout = %s\n", ONE(r, "0.002", "0.01", "0.1"));
		w->may |= MAY_CLOSE;
	}
	if (rng_chance(r, 15)) {
		put(w, "idle_transaction_timeout = %s\n", ONE(r, "0.002", "0.01", "0.1"));
		w->may |= MAY_CLOSE;
	}
	if (rng_chance(r, 20)) {
		put(w, "query_wait_timeout = %s\n", ONE(r, "0.005", "0.05", "1"));
		w->may |= MAY_WAIT | MAY_CLOSE;
	}
}

static void put_pool(struct world *w, struct rng *r, bool again)
{
	w->pool_size = rng_chance(r, 40) ? 1 : rng_between(r, 1, 4);
	put(w, "default_pool_size = %u\n", w->pool_size);
	if (rng_chance(r, 20))
		put(w, "max_db_connections = %u\n", rng_between(r, 1, 4));
	if (rng_chance(r, 15))
		put(w, "min_pool_size = %u\n", rng_between(r, 1, w->pool_size));
	if (rng_chance(r, 25))
		put(w, "server_round_robin = 1\n");
	if (rng_chance(r, 20))
		put(w, "server_lifetime = %s\n", ONE(r, "0", "0.001", "0.02", "0.3"));
	if (rng_chance(r, 20))
		put(w, "server_idle_timeout = %s\n", ONE(r, "0.001", "0.02", "0.4"));
	if (rng_chance(r, 30))
		put(w, "max_prepared_statements = %s\n", ONE(r, "1", "2", "5"));
	if (rng_chance(r, 20)) {
		put(w, "max_pinned_servers = %u\n", rng_between(r, 1, 3));
	}
	if (!again && rng_chance(r, 20))
		put(w, "pin = %s\n", ONE(r, "error", "on"));
	if (rng_chance(r, 15))
		put(w, "server_reset_query_always = 1\n");
	if (rng_chance(r, 25))
		put(w, "lazy_begin = 0\n");
	if (rng_chance(r, 25))
		put(w, "cancel_on_disconnect = 0\n");
	put(w, "load_balance_hosts = %s\n",
	    ONE(r, "least-connections", "round-robin", "random", "disable"));
	put(w, "server_login_retry = %s\n", ONE(r, "0", "0.01", "0.2", "1"));
	put(w, "server_connect_timeout = %s\n", ONE(r, "0.5", "2", "15"));
}

static void put_retry(struct world *w, struct rng *r)
{
	put(w, "retry = %s\n", ONE(r, "replay", "replay", "replay", "implicit", "off", "observe"));
	if (rng_chance(r, 30))
		put(w, "retry_max_attempts = %u\n", rng_between(r, 1, 3));
	if (rng_chance(r, 15))
		put(w, "replay_log_max = %s\n", ONE(r, "1024", "4k"));
	if (rng_chance(r, 10))
		put(w, "replay_units_max = %u\n", rng_between(r, 1, 5));
	if (rng_chance(r, 30))
		put(w, "retry_hold_max = %s\n", ONE(r, "1024", "4k", "64k"));
	if (rng_chance(r, 20))
		put(w, "retry_mem_total = %s\n", ONE(r, "0", "4k", "64k"));
	if (rng_chance(r, 20))
		put(w, "retry_hold_time = %s\n", ONE(r, "0", "0.001", "0.05"));
	if (rng_chance(r, 20))
		put(w, "retry_max_time = %s\n", ONE(r, "0.001", "0.05"));
}

/* By a chance of its own, so that seeds stay what they are. */
static void put_own(struct world *w, bool again)
{
	struct rng own = rng_make(w->plan.seed, again ? 13 : 12);

	if (rng_chance(&own, 20))
		put(w, "max_user_connections = %u\n", rng_between(&own, 1, 4));
	if (rng_chance(&own, 20))
		put(w, "max_client_logins = %u\n", rng_between(&own, 40, 60));
}

static void write_ini(struct world *w, struct rng *r, bool again)
{
	unsigned i;

	*w->ini = 0;
	put(w, "[pgweir]\nlisten_addr = 127.0.0.1\nauth_type = trust\nworkers = %u\n"
	       "max_client_conn = 200\nadmin_users = admin\n",
	    w->workers);
	put(w, "pool_mode = transaction\n");
	put(w, "query_wait_notify = 0.5\n");
	put_hurry(w, r);
	put_pool(w, r, again);
	put_retry(w, r);
	put_own(w, again);
	if (w->dialect == DIALECT_PG && w->nodes > 1)
		put(w, "target_session_attrs = read-write\n");
	put(w, "health_check_rise = %u\nhealth_check_fall = %u\n", rng_between(r, 1, 2),
	    rng_between(r, 1, 3));
	put(w, "[databases]\n* = host=");
	for (i = 0; i < w->nodes; i++)
		put(w, "%s%s", i ? "," : "", w->cluster.nodes[i].name);
	put(w, " port=5432\n");
}

static unsigned pick_faults(struct world *w, struct rng *r)
{
	unsigned i, bits = 0;

	if (rng_chance(r, 40))
		return 0; /* nothing goes wrong: nothing is forgiven */
	for (i = 0; i < FAULT_N; i++)
		if (rng_chance(r, 25))
			bits |= 1u << i;
	if (w->nodes < 2)
		bits &= ~(1u << FAULT_PROMOTE);
	return bits & w->plan.faults;
}

void world_settings(struct world *w)
{
	struct rng *r = &w->rng;
	static const unsigned latency[] = { 5, 50, 300, 3000 };
	unsigned l = latency[rng_below(r, 4)];

	w->dialect = rng_chance(r, 30) ? DIALECT_CRDB : DIALECT_PG;
	if (w->plan.dialect)
		w->dialect = w->plan.dialect == 1 ? DIALECT_PG : DIALECT_CRDB;
	w->nodes = rng_between(r, 1, 3);
	w->workers = rng_between(r, 1, 3);
	if (w->plan.workers)
		w->workers = w->plan.workers;
	w->faults = pick_faults(w, r);
	w->moments = rng_between(r, 1, 8);
	if (w->plan.moments && w->moments > w->plan.moments)
		w->moments = w->plan.moments;
	net_weather(w->net, l, rng_chance(r, 50) ? l : l * 3, rng_chance(r, 30), rng_chance(r, 40));
	w->vw.slow_readers = rng_chance(r, 30) ? 5 : 0;
	cluster_init(&w->cluster, &w->s, w->net, w->dialect, w->nodes);
	w->may = MAY_SERIALIZE;
	write_ini(w, r, false);
	if (strstr(w->ini, "pin = error") || strstr(w->ini, "max_pinned") || w->pool_size < 5)
		w->may |= MAY_PIN;
}

void world_resettle(struct world *w)
{
	w->lowered = true;
	write_ini(w, &w->fate, true);
}
