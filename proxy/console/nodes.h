/* proxy/console/nodes.h - SHOW NODES, and an operator's word about a node.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_NODES_H
#define PGWEIR_CONSOLE_NODES_H

#include "console/task.h"

extern const struct command node_commands[];

#endif
