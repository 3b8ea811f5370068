/* proxy/console/queries.h - SHOW QUERIES (health/queries.h).
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_QUERIES_H
#define PGWEIR_CONSOLE_QUERIES_H

#include "console/task.h"

extern const struct command query_commands[];

#endif
