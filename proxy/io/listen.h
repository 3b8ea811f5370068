/* proxy/io/listen.h - listening sockets, our own or inherited, and accepting.
 *
 * Owner: the daemon. Threads: the control loop's, before listen_start and after
 * listen_stop; in between those of the worker whose loop accepts, but for listen_tcp.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_LISTEN_H
#define PGWEIR_IO_LISTEN_H

#include <netinet/in.h>

#include "conf/addr.h"
#include "io/sockfile.h"
#include "io/worker.h"

#define LISTEN_MAX 32

/* Who has connected; of a unix socket no more than the family. */
struct listen_from {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;
	socklen_t len;
};

/* fd: a new connection, non-blocking, owned from now on. spoken: bytes have come already. */
typedef void accepted_fn(void *arg, int fd, const struct listen_from *from, bool spoken);

struct listener {
	const struct log_ctx *log;
	struct event resume;
	int fd[LISTEN_MAX];
	struct event evs[LISTEN_MAX];
	unsigned n;
	int reserve;                   /* an fd kept for the moment there is no other */
	bool reuse_port;               /* to be set before listen_on: others may listen there too */
	bool inherited;                /* from the service manager */
	bool beyond;                   /* others than this machine can connect to one */
	unsigned tcp_n;                /* of the n, those that are no unix sockets */
	struct sockfile file;
	int file_at;                   /* which has it, -1: none */
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];   /* of a unix socket, for libpq */
	_Atomic bool deferred;         /* TCP connections are there once they have said something */
	struct worker *w;              /* accepts; NULL: nobody does */
	accepted_fn *accepted;
	void *arg;
};

/* log: for warnings, until the end. */
void listen_init(struct listener *l, const struct log_ctx *log);
/* Opens a socket on a. *port (may be NULL): the port it got. */
MUST_CHECK int listen_on(struct listener *l, const struct addr *a, int backlog, int *port,
			 struct err *e);
/* Opens a unix socket, one at most. What a pgweir that has ended left there is taken
 * over; who lives is left alone, and that is an error. */
struct listen_unix {
	const char *dir;               /* or @NAME, an abstract one */
	const char *group;             /* a name or a number; NULL: as it comes */
	unsigned mode;
	int port, backlog;
};
MUST_CHECK int listen_unix(struct listener *l, const struct listen_unix *u, struct err *e);
/* Takes over a socket that listens already. *port: that of TCP before that of a unix
 * socket, by its name. */
MUST_CHECK int listen_inherit(struct listener *l, int fd, int *port, struct err *e);
/* Takes over one from another pgweir, which may go on listening on it (fd is owned). */
MUST_CHECK int listen_adopt(struct listener *l, int fd, struct err *e);
/* The same for the unix socket in dir, with its lock file (-1: it has none). */
MUST_CHECK int listen_adopt_unix(struct listener *l, int fd, int lock, const char *dir,
				 struct err *e);
/* The TCP port of the i-th; 0: it has none. */
int listen_port(const struct listener *l, unsigned i);
/* Does fd listen there? Port 0 is any. */
bool listen_is_at(int fd, const struct addr *want);
/* Any thread: what connections get that are accepted from now on, of the settings those
 * that cost nothing there: TCP_NODELAY and keepalive; defer_s: TCP_DEFER_ACCEPT. */
void listen_tcp(struct listener *l, bool keepalive, int defer_s);
/* In the loop of w, whose thread does not run yet or calls this: accepted() is given
 * each new connection. */
void listen_start(struct listener *l, struct worker *w, accepted_fn *accepted, void *arg);
/* Nothing is accepted any more. The thread of that worker, or it has ended. */
void listen_stop(struct listener *l);
/* Stopped, closes them all, and takes the unix socket out of the file system if it is still
 * ours. */
void listen_close(struct listener *l);

#endif
