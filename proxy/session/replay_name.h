/* proxy/session/replay_name.h - which statement of a transaction it was, for people: by
 * number, never by text.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_REPLAY_NAME_H
#define PGWEIR_SESSION_REPLAY_NAME_H

#include "session/replay.h"

/* The first statement of the unit of that number in c's log, of the interrupted one if
 * there is none. 0: not known. */
uint64_t replay_fingerprint(const struct client *c, unsigned unit);

#endif
