/* proxy/console/admin.h - the console: SHOW commands on the database pgweir (or
 * pgbouncer), by the simple protocol.
 *
 * All numbers are atomics that workers keep anyway, so a SHOW disturbs nobody.
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_ADMIN_H
#define PGWEIR_CONSOLE_ADMIN_H

#include "session/session.h"

/* One command (without the zero), answered with rows or an error and
 * ReadyForQuery. A struct hall_ops member. */
void admin_query(struct client *c, const char *sql, size_t len);

#endif
