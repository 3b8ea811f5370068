/* proxy/checks.h - the health checks of a snapshot: whom to log in as, and how.
 *
 * Threads: the control thread's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CHECKS_H
#define PGWEIR_CHECKS_H

#include "health/probe.h"
#include "io/worker.h"
#include "session/snapshot.h"

/* health_check_rise and health_check_fall. */
struct target_rule checks_rule(const struct conf_global *g);
/* Every target of ts is checked from now on as snap has it, or no more when it has it not.
 * changed and arg: probe_start's. */
void checks_start(const struct snapshot *snap, struct targets *ts, struct worker *w,
		  probe_changed_fn *changed, void *arg);

#endif
