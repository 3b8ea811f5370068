/* proxy/console/orders.h - the commands by which operators change something: each goes to the
 * control loop as a letter (session/order.h), and is answered when that has come back.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_ORDERS_H
#define PGWEIR_CONSOLE_ORDERS_H

#include "console/task.h"

extern const struct command order_commands[];

#endif
