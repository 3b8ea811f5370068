/* proxy/orders.h - what operators order on the console or by a signal, done by the control
 * loop: PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, WAIT_CLOSE, KILL, KILL_CLIENT, RELOAD,
 * SHUTDOWN.
 *
 * Owner:   struct daemon. Threads: the control loop's, but for orders_take.
 *
 * What is closed stands in one table (session/gates.h). A change is a new table, handed to
 * all workers by a round; an order is answered when all have it, and those that wait for
 * connections to end when these have ended.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_ORDERS_H
#define PGWEIR_ORDERS_H

#include "control.h"

void orders_init(struct daemon *d);
/* For struct shared; any thread. */
void orders_take(struct shared *sh, struct order *o);
/* SIGUSR1 and SIGUSR2. */
void orders_pause(struct daemon *d);
void orders_resume(struct daemon *d);
/* Another configuration: what was closed of databases that are not served any more is
 * forgotten. */
void orders_reloaded(struct daemon *d);
/* The daemon ends: those that wait are answered. */
void orders_close(struct daemon *d);

#endif
