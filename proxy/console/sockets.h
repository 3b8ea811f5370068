/* proxy/console/sockets.h - SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS, FDS, PINS and MEM:
 * what workers have, asked of each of them (gather.h).
 *
 * ptr and link are no addresses of memory but numbers, which stand for one connection as
 * long as pgweir runs. Secrets and the keys of cancels are never shown.
 *
 * Threads: the worker's that has the client, and each worker's for its own.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_SOCKETS_H
#define PGWEIR_CONSOLE_SOCKETS_H

#include "console/task.h"

extern const struct command socket_commands[];

/* What SHOW CLIENTS calls a client (its column id), and KILL_CLIENT. */
uint64_t socket_client_id(const struct client *c);
/* The other way: client.id, whose highest 16 bits are its worker. */
uint64_t socket_client_of(const struct shared *sh, uint64_t shown);

#endif
