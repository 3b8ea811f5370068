/* health/target.h - one backend address: is it up, what role has it, and who may
 * use it.
 *
 * Owner:   struct targets, the daemon's registry; counted, so that a reload
 *          keeps what is known of an address that stays. Snapshots, servers and
 *          letters hold a reference; any thread may let go of one, only the
 *          control loop frees.
 * Threads: the rule (target_probe_*, target_seen) runs on the control loop only.
 *          What it decides is kept in atomics that every worker reads; what
 *          workers count there is in health/dials.h.
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
	X(TARGET_DRAINING, "draining")   /* it said that it is leaving: no new work */ \
	X(TARGET_DOWN, "down")           /* not used */

enum target_state {
#define X(id, name) id,
	TARGET_STATES(X)
#undef X
	TARGET_STATE_N
};

enum target_role { ROLE_UNKNOWN = 0, ROLE_PRIMARY, ROLE_STANDBY, ROLE_N };

/* Of what was wrong with it last, with its zero. */
#define TARGET_NOTE 160u

struct target {
	struct addr addr;               /* its own copy */
	_Atomic int state;              /* enum target_state */
	_Atomic int role;               /* enum target_role */
	_Atomic int read_only;          /* default_transaction_read_only, or a standby */
	_Atomic int excluded;           /* by the operator: no work, whatever its state */
	_Atomic int hung;               /* down because it does not answer: what runs there is lost */
	_Atomic int lagging;            /* a standby too far behind */
	_Atomic uint64_t lag_us;        /* how far, by the last check that asked */
	_Atomic uint64_t up_since_us;   /* when it came back, 0: it was never away */
	_Atomic uint64_t probe_us;      /* duration of the last good probe */
	_Atomic uint64_t fails_total;   /* probes and dials that failed */
	/* the workers' (health/dials.h) */
	_Atomic int conns;              /* server connections of all workers, dialling ones too */
	_Atomic int dialling;           /* ... those that have not logged in */
	_Atomic int dial_fails;         /* dials that failed since one succeeded */
	_Atomic uint64_t dial_after_us; /* ... and none before that */
	_Atomic int dial_wanted;        /* somebody found no room to dial */
	_Atomic uint64_t login_us;      /* how long the last login of a server took */
	_Atomic uint64_t full_us;       /* when a login was refused with 53300, 0: never */
	_Atomic uint64_t asked_us;      /* a worker last asked for a check */
	_Atomic unsigned refs;          /* 0: free for targets_sweep */
	_Atomic unsigned note_turn;     /* odd while the next two are written */
	_Atomic uint64_t note_us;       /* monotonic, 0: never */
	_Atomic uint64_t note[TARGET_NOTE / 8];
	/* control loop only */
	unsigned good, bad, silent;     /* results in a row; silent: checks without any answer */
	struct probe *probe;            /* health/probe.c's, NULL when none */
	struct target *next;
};

/* The rule's numbers, from conf. */
struct target_rule {
	unsigned rise, fall;
};

/* What a good check found. */
struct target_facts {
	enum target_role role;
	bool read_only;
	bool lagging;
	uint64_t lag_us;
	uint64_t took_us;
	uint64_t now_us;                /* monotonic */
};

/* How a check failed. */
enum target_bad {
	BAD_LOST = 0,   /* it broke off: doubt */
	BAD_SILENT,     /* no answer in time: doubt, and after `fall` of them it hangs */
	BAD_HARD,       /* proof that it takes no logins (refused, no such socket, 57P03) */
	BAD_DRAIN       /* it says that it is leaving (57P01, 503) */
};

/* Applies one probe result. Returns true when something that workers look at has
 * changed (they must be told).
 * UNKNOWN: good -> UP, `fall` bad in a row -> DOWN (first bad -> PROBATION).
 * UP: bad -> PROBATION; PROBATION: `fall` bad in a row -> DOWN, one good -> UP;
 * DRAINING: `fall` bad in a row -> DOWN; DOWN and DRAINING: `rise` good in a row ->
 * UP. The first bad one counts, so with fall = 1 there is no probation. BAD_HARD
 * goes to DOWN at once, BAD_DRAIN from anywhere to DRAINING, and is none of a row of
 * bad ones: it answers. A standby is stored as read_only whatever its
 * default_transaction_read_only. hung: `fall` BAD_SILENT in a row and DOWN; any other
 * result of a check ends it. */
bool target_probe_good(struct target *t, const struct target_rule *r,
		       const struct target_facts *f);
bool target_probe_bad(struct target *t, const struct target_rule *r, enum target_bad how);

/* What a worker saw on its own connections (posted to the control loop). */
enum target_seen {
	SEEN_WANTED = 0, /* clients wait and nothing suits them: only a probe is due */
	SEEN_SLOW,       /* a dial takes long */
	SEEN_BAD,        /* a dial that failed, a connection that broke */
	SEEN_HARD,       /* ... refused, or no route */
	SEEN_DRAIN,      /* it says that it is leaving */
	SEEN_PRIMARY,    /* a login told so */
	SEEN_STANDBY
};

/* Counts like a bad probe except that it alone never goes beyond PROBATION
 * unless hard: however many there are, one bad probe must follow. SLOW only
 * raises doubt. DRAIN says nothing new of a node that is DOWN: it may be old.
 * Returns true on change; the caller also starts a probe at once. */
bool target_seen(struct target *t, const struct target_rule *r, enum target_seen what);

/* The operator's word. Returns true on change. now_us as in struct target_facts. */
bool target_exclude(struct target *t, bool excluded, uint64_t now_us);

/* May a server be dialled there for these attrs? A role that is not known yet suits
 * only ATTRS_ANY. */
enum target_suit {
	SUIT_NO = 0,    /* excluded, or another role */
	SUIT_PANIC,     /* down, draining or lagging: only when all that would suit are */
	SUIT_DOUBT,     /* probation; or a primary under prefer-standby */
	SUIT_FULL
};
enum target_suit target_suits(const struct target *t, enum session_attrs attrs);

/* Does a connection that exists there still suit (role changed, excluded)? State is
 * not looked at. */
bool target_role_suits(const struct target *t, enum session_attrs attrs);

/* A node that came back gets its share little by little: 100..1000 of a thousand,
 * slow_us after its return all of it. slow_us 0: at once. */
unsigned target_share(const struct target *t, uint64_t now_us, uint64_t slow_us);

/* What a check found wrong, in words for people, cut where it is too long. Control loop. */
void target_note(struct target *t, const char *text, uint64_t now_us);
/* The last of them, whole, and when (monotonic). 0: there was none. Any thread. */
uint64_t target_noted(const struct target *t, char out[TARGET_NOTE]);

/* Of the state, or "excluded". */
const char *target_shown(const struct target *t);
const char *target_state_name(enum target_state s);
const char *target_role_name(enum target_role r);

/* One reference more, or less, for who was lent one that lasts. Any thread. The
 * last to let go frees nothing: that is targets_sweep's. */
static inline void target_hold(struct target *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}
static inline void target_drop(struct target *t)
{
	atomic_fetch_sub_explicit(&t->refs, 1, memory_order_release);
}

/* The registry: one target per distinct socket address. Control thread only. */
struct targets {
	struct target *head;
};

/* Finds or makes the target for a (one reference more), or NULL when out of
 * memory. */
struct target *targets_get(struct targets *ts, const struct addr *a);
/* Lets go of one reference; the last one frees (its probe must be stopped). */
void targets_put(struct targets *ts, struct target *t);
/* Frees those that nobody holds; last is told of each before and must stop its
 * probe. May be NULL. */
void targets_sweep(struct targets *ts, void (*last)(void *arg, struct target *t), void *arg);

#endif
