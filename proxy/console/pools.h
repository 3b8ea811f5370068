/* proxy/console/pools.h - SHOW POOLS, DATABASES, USERS, PEERS and PEER_POOLS: what is configured, and how
 * much of it is used. By atomics and short looks under the hubs' lock, some rows in a turn.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_POOLS_H
#define PGWEIR_CONSOLE_POOLS_H

#include "console/task.h"

extern const struct command pool_commands[];

#endif
