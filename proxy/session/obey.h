/* proxy/session/obey.h - what a worker does at an operator's order (session/order.h).
 *
 * Threads: the worker's; each is called in every worker, by a round (session/round.h).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_OBEY_H
#define PGWEIR_SESSION_OBEY_H

#include "session/session.h"

/* Another table; takes over one reference. Servers of what is paused are closed, those in
 * use when they come free; those to be renewed too. Who waited for a server that may be had
 * again gets one. */
void obey_gates(struct hall *h, struct gates *g);
/* Ends clients and servers of this database (NULL: of all), at once. */
void obey_kill(struct hall *h, const char *db);
/* Ends one client. false: it is not here. */
bool obey_kill_client(struct hall *h, uint64_t id);
/* How many servers of this database (NULL: of all) are to be closed as soon as they are
 * free. */
unsigned obey_count_closing(struct hall *h, const char *db);
/* Tells every client that it is over, whatever it does. */
void obey_end(struct hall *h);

#endif
