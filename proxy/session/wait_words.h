/* proxy/session/wait_words.h - why no server came within query_wait_timeout, for
 * the client.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_WAIT_WORDS_H
#define PGWEIR_SESSION_WAIT_WORDS_H

#include "session/session.h"

struct wait_words {
	const char *sqlstate, *message, *detail, *hint;  /* detail may be the shard's */
};

struct wait_words wait_words(const struct shard *sh);

#endif
