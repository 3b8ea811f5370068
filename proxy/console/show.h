/* proxy/console/show.h - SHOW commands whose numbers are atomics that workers keep anyway,
 * or of the configuration: they disturb nobody.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_SHOW_H
#define PGWEIR_CONSOLE_SHOW_H

#include "console/task.h"

extern const struct command show_commands[];

#endif
