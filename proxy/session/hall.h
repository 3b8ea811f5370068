/* proxy/session/hall.h - one worker's sessions: birth, letters from the control
 * loop, draining, end.
 *
 * Threads: hall_init and hall_free the control thread's, before and after the
 * worker's own; hall_tell_* any thread; the rest the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_HALL_H
#define PGWEIR_SESSION_HALL_H

#include "session/session.h"

/* Connections beyond max_client_logins that are taken although their workers have not
 * made room yet. */
#define ARRIVALS_MAX 256u

/* snap: one reference, taken over. */
MUST_CHECK int hall_init(struct hall *h, unsigned id, struct shared *sh, const struct log *log,
			 struct snapshot *snap, const struct hall_ops *ops, struct err *e);
void hall_free(struct hall *h);
/* The worker's thread: runs until it is told to stop and its clients are gone. */
void hall_run(struct hall *h);

/* The worker's thread: a fresh client, for it or for the worker that has the fewest. */
void hall_welcome(struct hall *h, int fd, const struct listen_from *from, bool spoken);

/* The worker's thread: a new configuration; takes over one reference. */
void hall_use_conf(struct hall *h, struct snapshot *snap);

/* ---- any thread ---- */

/* A fresh client (fd owned from now on, closed if there is no memory); from, spoken: as
 * accepted_fn is told. */
void hall_tell_client(struct hall *h, int fd, const struct listen_from *from, bool spoken);
/* While more than max have not logged in the oldest go. */
void halls_make_room(struct shared *sh, unsigned max);
void hall_tell_targets(struct hall *h);
/* No more work: clients go when their transaction ends, idle ones at once. */
void hall_tell_drain(struct hall *h);
/* ... they go now, and are told so. */
void hall_tell_end(struct hall *h);
/* Nobody new comes. Clients are served as ever, and servers that nobody uses go. */
void hall_tell_finish(struct hall *h);
/* Everything ends now. */
void hall_tell_stop(struct hall *h);

#endif
