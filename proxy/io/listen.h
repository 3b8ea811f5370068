/* proxy/io/listen.h - listening sockets, our own or inherited, and accepting.
 *
 * Owner: the daemon. Threads: the control loop's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_LISTEN_H
#define PGWEIR_IO_LISTEN_H

#include "conf/addr.h"
#include "io/worker.h"

#define LISTEN_MAX 32

struct listener {
	struct event resume;
	int fd[LISTEN_MAX];
	struct event evs[LISTEN_MAX];
	unsigned n;
	int reserve;                   /* an fd kept for the moment there is no other */
	struct worker *w;
	void (*accepted)(void *arg, int fd);
	void *arg;
};

/* accepted() is given each new connection, non-blocking, and owns it. */
void listen_init(struct listener *l, struct worker *w, void (*accepted)(void *arg, int fd),
		 void *arg);
/* Opens a socket on a. *port (may be NULL): the port it got. */
MUST_CHECK int listen_on(struct listener *l, const struct addr *a, int backlog, int *port,
			 struct err *e);
/* Takes over a socket that listens already. */
MUST_CHECK int listen_inherit(struct listener *l, int fd, int *port, struct err *e);
void listen_start(struct listener *l);
/* Closes them all. */
void listen_close(struct listener *l);

#endif
