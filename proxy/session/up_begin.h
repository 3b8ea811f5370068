/* proxy/session/up_begin.h - what goes to a server in front of a client's first
 * message: its settings, and the BEGIN that it has been answered already.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_BEGIN_H
#define PGWEIR_SESSION_UP_BEGIN_H

#include "session/up.h"

/* The server is made to look as the client expects it. STEP_STOP_PAUSE: an
 * answer must come first. */
enum step up_prepare(struct up *u);

/* Could this message end a failed transaction? Such a one may not follow
 * settings whose answer is not here (wire/params.h). */
bool up_might_exit(const struct up *u, uint8_t type, const uint8_t *msg, uint32_t len);

/* A BEGIN that nobody needs a server for yet: answered, and kept in c->begun.
 * COMMIT and ROLLBACK of such a transaction are answered too. true: done. sql
 * is the text of a whole Query. */
bool up_lazily(struct client *c, const char *sql, size_t n);

#endif
