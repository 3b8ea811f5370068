/* proxy/http/healthy.h - how it goes, in one word: for /health and /ready.
 *
 * Threads: any. Pure.
 *
 * unhealthy: no database has a live node of the role that its target_session_attrs asks
 *            for; before the first checks too.
 * degraded:  it works, but a node is not live that nobody has excluded, a database has
 *            none of its role, a node's last check or a client's wait for a server took
 *            longer than health_slow.
 * healthy:   none of that.
 * Ready is who serves clients (not paused, not draining) and has a live node for some database.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HTTP_HEALTHY_H
#define PGWEIR_HTTP_HEALTHY_H

#include "http/facts.h"
#include "http/out.h"

enum health_word { HEALTHY = 0, DEGRADED, UNHEALTHY, HEALTH_WORDS };

/* What the process does. */
enum running {
	RUNNING = 0,
	RUNNING_PAUSED,      /* PAUSE, of all databases */
	RUNNING_DRAINING,
	RUNNING_STOPPING,
	RUNNING_N
};

#define HEALTH_REASONS 20u

/* Adds a reason to arg; text ends with a zero. */
typedef void health_reason_fn(void *arg, const char *text);

/* slow_us: 0 is never. Tells fn (may be NULL) why it is not healthy, at most
 * HEALTH_REASONS times. */
enum health_word health_word_of(const struct facts *f, uint64_t slow_us, health_reason_fn *fn, void *arg);
const char *health_word_name(enum health_word v);
const char *running_name(enum running r);
/* NULL: ready; else why not. */
const char *health_not_ready(const struct facts *f, enum running r);

/* The bodies of /health and /ready. */
void health_json(struct out *o, const struct facts *f, enum running r, uint64_t slow_us);
void health_ready_json(struct out *o, const struct facts *f, enum running r);
/* The parts "reasons":[...] and "nodes":[...] of it. */
void health_reasons_json(struct out *o, const struct facts *f, uint64_t slow_us);
void health_nodes_json(struct out *o, const struct facts *f);

#endif
