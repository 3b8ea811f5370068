/* proxy/session/door.h - connections that have not logged in yet, of all workers, in the
 * order in which they came.
 *
 * Owner:   struct shared. Threads: the worker that accepts lets in and shows out (so does
 *          the control loop, at a reload), each worker takes away its own; under the
 *          mutex, at accepts and at logins only.
 *
 * A knock lives until its client has logged in or gone, and until the order to go, if
 * there is one, has come to its worker. Both happen in that worker.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_DOOR_H
#define PGWEIR_SESSION_DOOR_H

#include <pthread.h>
#include <stdbool.h>

#include "conf/err.h"
#include "conf/list.h"
#include "io/listen.h"
#include "io/mbox.h"

struct client;
struct hall;

struct knock {
	struct link link;
	struct letter arrive, go;    /* to the worker; each is sent once at most */
	struct hall *h;
	struct client *c;            /* the worker's; NULL: not there yet, or not any more */
	int fd;                      /* until there is a client */
	bool spoken;                 /* bytes have come already */
	struct listen_from from;
	bool told;                   /* the order is on its way, and it is not on the list */
};

struct door {
	pthread_mutex_t lock;
	struct link list;            /* the oldest first */
	unsigned n;                  /* on the list */
	unsigned all;                /* ... and those that were told to go */
};

MUST_CHECK int door_init(struct door *d);
void door_free(struct door *d);

/* One more, for this worker. NULL: out of memory. */
struct knock *door_enter(struct door *d, struct hall *h, int fd, const struct listen_from *from,
			 bool spoken);
/* It has logged in or gone. k may be freed. */
void door_leave(struct door *d, struct knock *k);
/* The oldest, if there are more than max, which is counted no more: k->go is to be sent
 * to its worker. NULL: they are not too many. */
struct knock *door_oldest(struct door *d, unsigned max);
/* The order has come, and k->c, if there was one, has been closed. */
void door_told(struct knock *k);

unsigned door_n(struct door *d);
unsigned door_all(struct door *d);

#endif
