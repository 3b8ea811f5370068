/* proxy/console/admin.h - the console: commands on the database pgweir (or pgbouncer), by
 * the simple and the extended protocol.
 *
 * A Query may hold several commands with `;` between them: one after the other, until one
 * fails. BEGIN, COMMIT and ROLLBACK are believed, so that drivers that want a transaction
 * have one; no command is undone by it.
 *
 * Memory of a client: nothing until its first command; then some 500 bytes, 1.3 KB for each
 * prepared statement (STATEMENTS_MAX), and what the command under way needs.
 *
 * Threads: the worker's that has the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_ADMIN_H
#define PGWEIR_CONSOLE_ADMIN_H

#include "session/session.h"

extern const struct hall_ops admin_ops;

#endif
