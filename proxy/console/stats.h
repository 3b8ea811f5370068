/* proxy/console/stats.h - SHOW STATS and its kin, SHOW HISTOGRAMS, SHOW ERRORS: the meters
 * of databases and nodes (health/meter.h), made in pieces of a few rows.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_STATS_H
#define PGWEIR_CONSOLE_STATS_H

#include "console/task.h"

extern const struct command stats_commands[];

#endif
