/* proxy/session/order.h - types only: what an operator orders of the whole daemon, on its way
 * from a worker to the control loop and back (proxy/orders.c, console/orders.c).
 *
 * Owner:   the console that makes it, but for its way: the control loop's. Threads: one at a
 *          time.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ORDER_H
#define PGWEIR_SESSION_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/list.h"
#include "io/worker.h"

struct shared;

enum order_what {
	OP_PAUSE = 0,    /* answered when no server connection is left */
	OP_RESUME,
	OP_DISABLE,
	OP_ENABLE,
	OP_RECONNECT,
	OP_WAIT_CLOSE,   /* answered when none is left that is to be closed */
	OP_KILL,
	OP_KILL_CLIENT,
	OP_RELOAD,
	OP_SET,
	OP_DRAIN,        /* a node; answered when no server connection there is left */
	OP_SHUTDOWN,
	OP_SHUTDOWN_SERVERS,
	OP_SHUTDOWN_CLIENTS,
	OP_END,          /* of another order, `id`: its client has gone or does not want it any more */
	OP_N
};

enum order_fate { FATE_NONE = 0, FATE_CANCELLED, FATE_GONE, FATE_RESUMED };

#define ORDER_ARG_MAX 256u

struct order {
	struct letter l;
	struct link link;              /* of those that wait, in the control loop */
	enum order_what what;
	uint64_t id;                   /* of this order; OP_END: of the other one */
	uint64_t number;               /* KILL_CLIENT: the client's id */
	bool gone;                     /* OP_END: its client is not there any more */
	char arg[ORDER_ARG_MAX];       /* a database, empty: all; a node; a setting, and */
	char value[ORDER_ARG_MAX];     /* its value */
	struct worker *from;           /* where it goes back to: */
	void (*answer)(struct worker *w, struct letter *l);
	void *own;                     /* the sender's */
	void *control;                 /* the control loop's, */
	bool spreading;                /* workers are being told */
	enum order_fate fate;          /* ... and that is to become of it then */
	struct shared *sh;
	/* the answer: sqlstate "" is a success */
	char sqlstate[6];
	char message[400], hint[200];
};

#endif
