/* proxy/nodes_seen.h - what workers see of nodes and what operators wish for them, as it
 * comes to the control loop, and the word of a change to all workers.
 *
 * Owner:   the control loop. Threads: nodes_changed its own; the others any, by letter.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_NODES_SEEN_H
#define PGWEIR_NODES_SEEN_H

#include "control.h"

/* A node is in another state or role: arg is the struct daemon. */
void nodes_changed(void *arg, struct target *t);
/* An operator's word. */
void nodes_exclude(struct daemon *d, struct target *t, bool excluded);
/* For struct shared. */
void nodes_tell_seen(struct shared *sh, struct target *t, enum target_seen what);
bool nodes_order(struct shared *sh, struct target *t, enum node_order what);

#endif
