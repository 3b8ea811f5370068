/* proxy/leave.h - the end: no more clients, transactions end, everything ends.
 *
 * Owner:   struct daemon. Threads: the control loop's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_LEAVE_H
#define PGWEIR_LEAVE_H

#include "control.h"

void leave_init(struct daemon *d);
/* Everything ends now. */
void leave_now(struct daemon *d);
/* No more clients; those that are there go when their transactions have ended, and at
 * shutdown_timeout in any case. After another process has taken over (d->quiet): they are
 * told to go now. */
void leave_begin(struct daemon *d);
/* Nobody is accepted any more. */
void leave_closed(struct daemon *d);
/* For struct shared: the loop of h has ended. Any thread. */
void leave_hall_stopped(struct shared *sh, struct hall *h);

#endif
