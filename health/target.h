/* health/target.h - one backend address: is it up, what role has it, and how
 * many connections go there.
 *
 * Owner:   struct targets, the daemon's registry; counted, so that a reload
 *          keeps what is known of an address that stays.
 * Threads: the rule (target_probe_*, target_seen_*) runs on the control loop
 *          only. state, role and conns are atomics that every worker reads.
 *
 * The rule is pure: results go in, the next state comes out; no clock, no
 * sockets. Saturation of a pool is no result, and neither is a slow query.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_TARGET_H
#define PGWEIR_HEALTH_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/addr.h"
#include "conf/conf.h"

/* X-list so that names and tests follow. */
#define TARGET_STATES(X)                                                       \
	X(TARGET_UNKNOWN, "unknown")     /* not probed yet: tried like up */    \
	X(TARGET_UP, "up")                                                     \
	X(TARGET_PROBATION, "probation") /* in doubt: used if nothing is up */  \
	X(TARGET_DOWN, "down")           /* not used */

enum target_state {
#define X(id, name) id,
	TARGET_STATES(X)
#undef X
	TARGET_STATE_N
};

enum target_role { ROLE_UNKNOWN = 0, ROLE_PRIMARY, ROLE_STANDBY, ROLE_N };

struct target {
	struct addr addr;               /* its own copy */
	_Atomic int state;              /* enum target_state */
	_Atomic int role;               /* enum target_role */
	_Atomic int read_only;          /* default_transaction_read_only, or a standby */
	_Atomic int conns;              /* server connections of all workers, dialling ones too */
	_Atomic uint64_t probe_us;      /* duration of the last good probe */
	_Atomic uint64_t fails_total;   /* probes and dials that failed */
	/* control loop only */
	unsigned refs;
	unsigned good, bad;             /* results in a row */
	struct probe *probe;            /* health/probe.c's, NULL when none */
	struct target *next;
};

/* The rule's numbers, from conf. */
struct target_rule {
	unsigned rise, fall;
};

/* Applies one probe result. Returns true when state, role or read_only changed
 * (workers must be told).
 * UNKNOWN: good -> UP, `fall` bad in a row -> DOWN (first bad -> PROBATION).
 * UP: bad -> PROBATION; PROBATION: `fall` bad in a row -> DOWN, one good -> UP;
 * DOWN: `rise` good in a row -> UP. The first bad one counts, so with fall = 1
 * there is no probation. A refused connection is proof and not doubt: hard =
 * true goes to DOWN at once. A standby is stored as read_only whatever its
 * default_transaction_read_only. */
bool target_probe_good(struct target *t, const struct target_rule *r, enum target_role role,
		       bool read_only, uint64_t took_us);
bool target_probe_bad(struct target *t, const struct target_rule *r, bool hard);

/* What a worker saw on its own connections (posted to the control loop): a
 * dial that failed (hard: refused, reset or no route; else timeout), or a
 * server that says it is going (57P01...). Counts like a bad probe except that
 * it alone never goes beyond PROBATION unless hard: however many there are, one
 * bad probe must follow. Returns true on change; the caller also starts a probe
 * at once. */
bool target_seen_bad(struct target *t, const struct target_rule *r, bool hard);

/* May a server be dialled there for these attrs now? 2: yes; 1: only when no
 * other answers 2 (probation; or a primary under prefer-standby); 0: no.
 * A role that is not known yet suits only ATTRS_ANY. */
int target_suits(const struct target *t, enum session_attrs attrs);

/* Does a connection that exists there still suit (role changed)? State is not
 * looked at. */
bool target_role_suits(const struct target *t, enum session_attrs attrs);

const char *target_state_name(enum target_state s);
const char *target_role_name(enum target_role r);

/* The registry: one target per distinct socket address. Control thread only. */
struct targets {
	struct target *head;
};

/* Finds or makes the target for a (one reference more), or NULL when out of
 * memory. */
struct target *targets_get(struct targets *ts, const struct addr *a);
/* Lets go of one reference; the last one frees (its probe must be stopped). */
void targets_put(struct targets *ts, struct target *t);

#endif
