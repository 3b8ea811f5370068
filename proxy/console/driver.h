/* proxy/console/driver.h - what drivers and pools of applications send by themselves: to
 * see that a connection lives, to learn or to set settings of a session, to begin and end
 * transactions. None of it changes pgweir.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_DRIVER_H
#define PGWEIR_CONSOLE_DRIVER_H

#include "console/task.h"

extern const struct command driver_commands[];

/* What a command does to the transaction block: 'B' begins one, 'C' ends it, 'R' undoes
 * it, 0: nothing. */
char driver_block(const struct command *c);

/* Is this SET of something that drivers set, and that is taken without effect? */
bool driver_takes_set(const struct task *t);

#endif
