/* proxy/session/arrive.h - how clients come: from the sockets that are listened on, and
 * from pgweir itself.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ARRIVE_H
#define PGWEIR_SESSION_ARRIVE_H

#include "session/session.h"

/* Takes over a knock and its accepted, non-blocking fd. */
void arrive(struct hall *h, struct knock *k);
/* A client of pgweir's own (session/asker.h), whose other end of fd is in this process:
 * nobody asks who it is, and it counts against no bound of clients. Takes over fd; it is
 * closed when nothing comes of it. */
void arrive_inner(struct hall *h, int fd, const char *db, const char *user);

#endif
