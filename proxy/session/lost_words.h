/* proxy/session/lost_words.h - what a client is told of a lost server.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_LOST_WORDS_H
#define PGWEIR_SESSION_LOST_WORDS_H

#include "session/session.h"

extern const char lost_in_block[], lost_in_block_hint[];
extern const char lost_undone[];
extern const char lost_unknown[], lost_commit[], lost_unknown_hint[];

/* Tells c that its batch was lost, in answer to the message at hand. */
void lost_batch(struct client *c);

#endif
