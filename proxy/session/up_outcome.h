/* proxy/session/up_outcome.h - the question in front of a COMMIT (session/outcome.h).
 *
 * On the stack of relay_up(). Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_OUTCOME_H
#define PGWEIR_SESSION_UP_OUTCOME_H

#include "session/up.h"

/* Is this message the COMMIT of a transaction that is to be asked for? */
bool up_outcome_due(const struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have);
/* Asks, in front of it. */
enum step up_outcome_ask(struct up *u);

#endif
