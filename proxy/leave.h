/* proxy/leave.h - the end, in stages: no more clients, and then
 *
 *   LEAVE_CLIENTS  SIGTERM, SHUTDOWN WAIT_FOR_CLIENTS: everybody is served as before, and is
 *                  told nothing. It ends when the last client has gone; those of the console
 *                  do not count.
 *   LEAVE_SERVERS  SIGINT, SHUTDOWN WAIT_FOR_SERVERS, and the last quarter (10 s at most) of
 *                  shutdown_timeout: transactions end; who needs a server gets 57P01. It ends
 *                  when no server is in use.
 *   LEAVE_GOODBYE  all that are left get 57P01, at shutdown_timeout whatever they do.
 *   LEAVE_NOW      SIGQUIT, SHUTDOWN, a second signal: everything is closed.
 *
 * Owner:   struct daemon. Threads: the control loop's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_LEAVE_H
#define PGWEIR_LEAVE_H

#include "control.h"

void leave_init(struct daemon *d);
/* LEAVE_CLIENTS or LEAVE_SERVERS. Nothing happens when it is further already. */
void leave_begin(struct daemon *d, enum leave_how how);
void leave_now(struct daemon *d);
/* To the service manager: the service stops. Only from who has it. */
void leave_tell(struct daemon *d);
/* Nobody is accepted any more. */
void leave_closed(struct daemon *d);
/* For struct shared: the loop of h has ended. Any thread. */
void leave_hall_stopped(struct shared *sh, struct hall *h);

#endif
