/* tests/sim/net.h - the simulated network: connections between peers (simulated
 * clients and servers) and descriptors (what pgweir has, through kernel.c).
 *
 * Bytes take time, arrive in pieces of any size, in order; each connection has a
 * window; ends close, reset, fall silent. As with TCP, closing with unread bytes
 * resets, and a reset may overtake what was sent before it.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_NET_H
#define PGWEIR_SIM_NET_H

#include <sys/socket.h>

#include "sim.h"

struct net;
struct end;               /* a peer's end of a connection */

struct end_ops {
	void (*got)(void *arg, const uint8_t *p, size_t n);
	/* Nothing more will come; error: it was reset. The end is dead after it. */
	void (*over)(void *arg, bool reset);
};

/* How a connection behaves, drawn for each. */
struct manner {
	unsigned latency_us;     /* at least */
	unsigned jitter_us;      /* and up to this more */
	unsigned window;         /* bytes that fit between two ends */
	unsigned piece;          /* 0: whole; else at most so many bytes at a time */
};

/* Where a server listens. accept: a connection has come; the peer's end. */
struct host {
	struct sockaddr_storage sa;
	socklen_t len;
	bool up;                 /* else connection refused */
	bool silent;             /* packets vanish: nothing moves to or from it */
	unsigned slow_us;        /* added latency */
	void (*accept)(void *arg, struct end *e);
	void *arg;
};

struct net *net_new(struct sim *s);
void net_free(struct net *n);
/* The host stays the caller's; at most 16. */
void net_host(struct net *n, struct host *h);
/* How connections made from now on behave; drawn between these. */
void net_weather(struct net *n, unsigned latency_us, unsigned jitter_us, bool small_windows,
		 bool small_pieces);
/* percent of descriptors that cannot be had (EMFILE). */
void net_scarce(struct net *n, unsigned percent);

/* A client connects to pgweir: *fd is pgweir's end. */
struct end *net_dial(struct net *n, int *fd);
/* ops may be set again. */
void end_set(struct end *e, const struct end_ops *ops, void *arg);
void end_send(struct end *e, const void *p, size_t n);
/* Reads nothing while on: the other side's window fills. */
void end_pause(struct end *e, bool on);
/* Says nothing more; what comes is dropped; got and over are not called. */
void end_close(struct end *e);
void end_reset(struct end *e);
/* Resets (or closes) all connections of a host, as its death does. */
void net_cut(struct net *n, const struct host *h, bool reset);
/* One connection of a host at random, at any byte. */
void net_cut_one(struct net *n, const struct host *h, struct rng *r);
/* After host.silent is switched off: what waited moves on. */
void net_wake(struct net *n);

/* ---- for kernel.c and checks ---- */

int net_fd_connect(struct net *n, const struct sockaddr *sa, socklen_t len, int *error);
int net_fd_wake(struct net *n);
void net_fd_set(struct net *n, int fd, bool on);
int net_fd_error(struct net *n, int fd);
ssize_t net_fd_recv(struct net *n, int fd, void *p, size_t cap, bool peek);
ssize_t net_fd_send(struct net *n, int fd, const void *p, size_t len);
void net_fd_shut(struct net *n, int fd);
void net_fd_close(struct net *n, int fd);
bool net_fd_readable(struct net *n, int fd);
bool net_fd_writable(struct net *n, int fd);
/* Descriptors that are open, and the highest that ever was plus one. */
unsigned net_fds(const struct net *n);
int net_fd_top(const struct net *n);
/* The peer's end of a descriptor; NULL: none. */
struct end *net_fd_peer(struct net *n, int fd);
void *end_arg(const struct end *e);
/* Nothing is on its way in either direction. */
bool net_fd_calm(struct net *n, int fd);

#define FD_FIRST 100

#endif
