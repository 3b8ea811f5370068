/* proxy/session/overdue.h - who has waited, or run, for too long: query_wait_notify,
 * query_timeout, transaction_timeout, reserve_pool_timeout.
 *
 * Owner: nobody. Threads: the hall's.
 *
 * Looked at by the upkeep, as PgBouncer does: a query costs nothing for it, and a time
 * is kept to a third of a second.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_OVERDUE_H
#define PGWEIR_SESSION_OVERDUE_H

#include "session/session.h"

/* May close clients and servers. */
void overdue_tick(struct hall *h);

#endif
