/* proxy/session/up_rewrite.h - SQL that names statements prepared by protocol.
 *
 * EXECUTE and DEALLOCATE in a text use the client's names; the server knows the
 * statements under others. EXECUTE is given the server's name. DEALLOCATE must not
 * take the statement from the other clients: it is given an empty one to take,
 * and the client's name goes when the server says that it has.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_REWRITE_H
#define PGWEIR_SESSION_UP_REWRITE_H

#include "session/up.h"

/* The text of a Query, n bytes without its zero. *out: the message to send in its
 * place, which the caller frees, or NULL: it is right as it is. What it needs goes
 * to the server in front. */
enum step up_rewrite(struct up *u, const char *sql, size_t n, uint8_t **out, size_t *out_len);

#endif
