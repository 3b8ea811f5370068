/* proxy/registry.h - the nodes behind the configuration: the registry, the names that
 * stand for some of them, and letting go of those that no name gives any more.
 *
 * Owner:   struct daemon. Threads: the control loop's.
 *
 * A snapshot has the nodes of one moment. When a name changes, daemon.c makes the
 * next one of the same configuration and hands it out like that of a reload.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_REGISTRY_H
#define PGWEIR_REGISTRY_H

#include <event2/event_struct.h>

#include "health/resolve.h"
#include "health/target.h"
#include "io/worker.h"
#include "session/snapshot.h"

struct registry {
	struct targets targets;
	struct resolve *resolve;
	struct event sweep_ev;
	struct worker *w;
};

/* changed: as resolve_new. Borrows w and arg until registry_close. */
MUST_CHECK int registry_open(struct registry *n, struct worker *w, resolve_changed_fn *changed,
			  void *arg, struct err *e);
/* The snapshot of a configuration that was loaded: its names are looked up from now
 * on, those of the one before no more. Takes over both references. NULL: out of
 * memory. */
struct snapshot *registry_first(struct registry *n, struct conf *conf, struct tls_set *tls);
/* The next snapshot of the same configuration, with what its names stand for now. */
struct snapshot *registry_next(struct registry *n, const struct snapshot *s);

/* The first entry that has t and says who to log in as; else the first that has it;
 * NULL: none has. */
const struct snapshot_db *registry_entry(const struct snapshot *s, const struct target *t);
/* t is in trouble: asks what the names say now that may have given it. */
void registry_doubt(struct registry *n, const struct snapshot *s, const struct target *t);
/* A snapshot has been replaced: frees nodes that nobody holds any more, in a moment
 * and until there is none without a probe. */
void registry_sweep_soon(struct registry *n);
/* All that hold nodes are gone. */
void registry_close(struct registry *n);

#endif
