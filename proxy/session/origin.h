/* proxy/session/origin.h - where a client comes from, for its servers.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ORIGIN_H
#define PGWEIR_SESSION_ORIGIN_H

#include "session/session.h"

#define ORIGIN_TEXT 64u

/* "host:port". false: it has none, or it is not known. */
bool origin_addr(const struct client *c, char *out, size_t cap);

/* application_name_add_host: "name - host:port" instead of its application_name; fallback:
 * of who has none, may be NULL. -1: out of memory, or too many settings. */
MUST_CHECK int origin_name(struct client *c, const char *fallback);

#endif
