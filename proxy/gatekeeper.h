/* proxy/gatekeeper.h - the table of what is closed (session/gates.h), handed to all workers.
 *
 * Owner:   struct daemon. Threads: the control loop's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_GATEKEEPER_H
#define PGWEIR_GATEKEEPER_H

#include "control.h"

/* When all workers have it; not when false was given. d->over: the daemon has ended. */
typedef void gatekeeper_fn(struct daemon *d, void *arg);

/* g, a copy that nobody else has, is the table from now on; taken over; NULL: there was no
 * memory for it. kill: clients and servers of this database are ended too, "": of all;
 * borrowed until over; NULL: nobody. over: may be NULL. false: out of memory, and nothing
 * has changed. */
bool gatekeeper_use(struct daemon *d, struct gates *g, const char *kill, gatekeeper_fn *over,
		    void *arg);
/* No server for anybody from now on. */
bool gatekeeper_shut(struct daemon *d, gatekeeper_fn *over, void *arg);
/* HTTP is told what is closed: after a change, and when it may have begun anew. */
void gatekeeper_tell_web(struct daemon *d);

#endif
