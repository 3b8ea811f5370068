/* proxy/session/up_message.h - each kind of frontend message for a server.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_MESSAGE_H
#define PGWEIR_SESSION_UP_MESSAGE_H

#include "session/up.h"

/* One message, of whose len bytes `have` are here (fewer only for what may
 * stream through). */
enum step up_message(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have);

#endif
