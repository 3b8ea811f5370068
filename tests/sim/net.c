/* tests/sim/net.c - see net.h
 *
 * A connection is two lanes. A lane carries bytes to one of its two sides: first on
 * their way (`flight`), then arrived (`here`). A peer is given what arrives at once; a
 * descriptor keeps it until it is read.
 *
 * SPDX-License-Identifier: ISC
 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 16u
#define FDS_MAX 4096u
/* Deliveries in small pieces, of one connection. */
#define PIECES_MAX 1500u

struct bytes {
	uint8_t *p;
	size_t at, n, cap;
};

struct conn;

struct lane {
	struct conn *conn;
	struct bytes flight, here;
	bool moving;              /* a delivery is due */
	bool fin;                 /* no more will be put in */
	bool ended;               /* and that has arrived */
	bool reset;               /* it was cut: has arrived */
};

struct end {
	struct conn *conn;
	const struct end_ops *ops;
	void *arg;
	bool closed, paused;
};

struct conn {
	struct net *net;
	struct conn *next, *prev;
	const struct host *host;  /* NULL: a client's */
	struct manner m;
	struct lane up, down;     /* to the descriptor; to the peer */
	struct end end;
	bool connecting;
	bool opened;              /* the peer knows of it */
	int error;                /* of connecting, or of the descriptor's next call */
	int fd;                   /* -1: closed */
	unsigned moves;
};

struct fd {
	struct conn *conn;
	bool used, wake, on;
};

struct net {
	struct sim *s;
	struct rng rng;
	struct host *hosts[HOSTS_MAX];
	unsigned host_n;
	struct conn *conns;
	struct fd fds[FDS_MAX];
	int top;
	unsigned fd_n, latency_us, jitter_us, scarce;
	bool small_windows, small_pieces;
};

/* ---- bytes ---- */

static void bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->at && b->at == b->n)
		b->at = b->n = 0;
	if (b->n + n > b->cap) {
		b->cap = 2 * (b->n + n);
		b->p = sim_grow(b->p, b->cap);
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

static size_t bytes_len(const struct bytes *b)
{
	return b->n - b->at;
}

static void bytes_drop(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){ 0 };
}

/* ---- connections ---- */

struct net *net_new(struct sim *s)
{
	struct net *n = sim_alloc(sizeof(*n));

	n->s = s;
	n->rng = rng_make(s->seed, 2);
	n->top = FD_FIRST;
	net_weather(n, 50, 100, false, false);
	return n;
}

static void conn_free(struct conn *c)
{
	sim_forget(c->net->s, &c->up);
	sim_forget(c->net->s, &c->down);
	sim_forget(c->net->s, c);
	bytes_drop(&c->up.flight);
	bytes_drop(&c->up.here);
	bytes_drop(&c->down.flight);
	bytes_drop(&c->down.here);
	if (c->prev)
		c->prev->next = c->next;
	else
		c->net->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
}

void net_free(struct net *n)
{
	while (n->conns)
		conn_free(n->conns);
	free(n);
}

void net_host(struct net *n, struct host *h)
{
	if (n->host_n == HOSTS_MAX)
		abort();
	n->hosts[n->host_n++] = h;
}

void net_weather(struct net *n, unsigned latency_us, unsigned jitter_us, bool small_windows,
		 bool small_pieces)
{
	n->latency_us = latency_us;
	n->jitter_us = jitter_us;
	n->small_windows = small_windows;
	n->small_pieces = small_pieces;
}

void net_scarce(struct net *n, unsigned percent)
{
	n->scarce = percent;
}

static struct conn *conn_new(struct net *n, const struct host *host)
{
	static const unsigned windows[] = { 200, 1000, 5000, 16000, 65536 };
	static const unsigned pieces[] = { 1, 2, 7, 50, 600 };
	struct conn *c = sim_alloc(sizeof(*c));

	c->net = n;
	c->host = host;
	c->fd = -1;
	c->up.conn = c->down.conn = c->end.conn = c;
	c->m.latency_us = n->latency_us / 2 + rng_below(&n->rng, n->latency_us + 1);
	c->m.jitter_us = n->jitter_us;
	c->m.window = n->small_windows ? windows[rng_below(&n->rng, 5)] : 262144;
	c->m.piece = n->small_pieces && rng_chance(&n->rng, 60) ? pieces[rng_below(&n->rng, 5)] : 0;
	c->next = n->conns;
	if (c->next)
		c->next->prev = c;
	n->conns = c;
	return c;
}

static int fd_take(struct net *n)
{
	int fd;

	for (fd = FD_FIRST; fd < (int)FDS_MAX && n->fds[fd].used; fd++)
		;
	if (fd == (int)FDS_MAX)
		abort();
	n->fds[fd] = (struct fd){ .used = true };
	n->fd_n++;
	if (fd >= n->top)
		n->top = fd + 1;
	return fd;
}

/* Both have let go of it. */
static void conn_look(struct conn *c)
{
	if (c->fd < 0 && c->end.closed)
		conn_free(c);
}

/* ---- moving ---- */

static void lane_move(void *arg);

static bool is_frozen(const struct conn *c)
{
	return c->host && c->host->silent;
}

static void lane_kick(struct lane *l)
{
	struct conn *c = l->conn;
	struct rng *r = &c->net->rng;
	bool work = bytes_len(&l->flight) || (l->fin && !l->ended);

	if (l->moving || !work || is_frozen(c) || c->connecting)
		return;
	if (l == &c->down && c->end.paused)
		return;
	l->moving = true;
	sim_at(c->net->s,
	       c->m.latency_us + rng_below(r, c->m.jitter_us + 1) + (c->host ? c->host->slow_us : 0),
	       lane_move, l);
}

static void lane_ended(struct lane *l)
{
	struct conn *c = l->conn;

	l->ended = true;
	if (l != &c->down || c->end.closed)
		return;
	c->end.closed = true;
	if (c->end.ops)
		c->end.ops->over(c->end.arg, l->reset);
	conn_look(c);
}

static void lane_move(void *arg)
{
	struct lane *l = arg;
	struct conn *c = l->conn;
	struct rng *r = &c->net->rng;
	size_t n = bytes_len(&l->flight);

	l->moving = false;
	if (is_frozen(c) || (l == &c->down && c->end.paused))
		return;
	if (!n) {
		if (l->fin && !l->ended)
			lane_ended(l);
		return;
	}
	/* a long answer, or a long life, in small pieces would take for ever */
	if (++c->moves > PIECES_MAX)
		c->m.piece = 0;
	if (c->m.piece && n > c->m.piece && n < 40 * c->m.piece + 400)
		n = rng_between(r, 1, c->m.piece);
	else if (n > 1 && rng_chance(r, 10))
		n = rng_between(r, 1, (unsigned)n);
	if (l == &c->up) {
		if (c->fd >= 0)
			bytes_add(&l->here, l->flight.p + l->flight.at, n);
		l->flight.at += n;
		if (c->fd < 0) {
			/* nobody is there to read it: answered with a reset */
			c->down.reset = c->down.fin = true;
			if (rng_chance(r, 50))
				c->down.flight.at = c->down.flight.n;
			lane_kick(&c->down);
		}
	} else {
		/* the peer may close, and even be freed with, the connection */
		uint8_t *copy = sim_alloc(n);

		memcpy(copy, l->flight.p + l->flight.at, n);
		l->flight.at += n;
		lane_kick(l);
		if (!c->end.closed && c->end.ops)
			c->end.ops->got(c->end.arg, copy, n);
		free(copy);
		return;
	}
	lane_kick(l);
}

void net_wake(struct net *n)
{
	struct conn *c;

	for (c = n->conns; c; c = c->next) {
		lane_kick(&c->up);
		lane_kick(&c->down);
	}
}

/* ---- peers ---- */

struct end *net_dial(struct net *n, int *fd)
{
	struct conn *c = conn_new(n, NULL);

	c->fd = *fd = fd_take(n);
	n->fds[c->fd].conn = c;
	c->opened = true;
	return &c->end;
}

void end_set(struct end *e, const struct end_ops *ops, void *arg)
{
	e->ops = ops;
	e->arg = arg;
}

void *end_arg(const struct end *e)
{
	return e->arg;
}

void end_send(struct end *e, const void *p, size_t n)
{
	struct conn *c = e->conn;

	if (!n || e->closed || c->up.fin)
		return;
	bytes_add(&c->up.flight, p, n);
	lane_kick(&c->up);
}

void end_pause(struct end *e, bool on)
{
	e->paused = on;
	lane_kick(&e->conn->down);
}

/* The peer's end has gone: what is sent to it comes back as a reset. */
static void end_gone(struct end *e)
{
	struct conn *c = e->conn;

	e->closed = true;
	e->ops = NULL;
	c->up.fin = true;
	c->down.flight.at = c->down.flight.n;
	lane_kick(&c->up);
	conn_look(c);
}

void end_close(struct end *e)
{
	if (!e->closed)
		end_gone(e);
}

void end_reset(struct end *e)
{
	struct conn *c = e->conn;

	if (e->closed)
		return;
	c->up.reset = true;
	if (rng_chance(&c->net->rng, 50))
		c->up.flight.at = c->up.flight.n;
	end_gone(e);
}

static void cut(struct conn *c, bool reset)
{
	struct end *e = &c->end;
	const struct end_ops *ops = e->ops;
	void *arg = e->arg;

	if (e->closed || !c->opened)
		return;
	if (reset)
		end_reset(e);
	else
		end_close(e);
	if (ops)
		ops->over(arg, true);
}

void net_cut(struct net *n, const struct host *h, bool reset)
{
	struct conn *c, *next;

	for (c = n->conns; c; c = next) {
		next = c->next;
		if (c->host == h)
			cut(c, reset);
	}
}

void net_cut_one(struct net *n, const struct host *h, struct rng *r)
{
	struct conn *c;
	unsigned k = 0;

	for (c = n->conns; c; c = c->next)
		k += c->host == h && c->opened && !c->end.closed;
	if (!k)
		return;
	k = rng_below(r, k);
	for (c = n->conns; c; c = c->next)
		if (c->host == h && c->opened && !c->end.closed && k-- == 0) {
			cut(c, true);
			return;
		}
}

/* ---- descriptors ---- */

static const struct fd *fd_of(struct net *n, int fd)
{
	if (fd < FD_FIRST || fd >= n->top || !n->fds[fd].used) {
		sim_wrong(n->s, "descriptor %d is used and not open", fd);
		return NULL;
	}
	return &n->fds[fd];
}

static struct conn *conn_of(struct net *n, int fd)
{
	const struct fd *f = fd_of(n, fd);

	return f ? f->conn : NULL;
}

static void connected(void *arg)
{
	struct conn *c = arg;
	const struct host *h = c->host;

	if (h->silent) {
		sim_at(c->net->s, 200000, connected, c);
		return;
	}
	c->connecting = false;
	if (!h->up) {
		c->error = ECONNREFUSED;
		c->end.closed = true;
		conn_look(c);
		return;
	}
	if (c->fd < 0) { /* given up meanwhile */
		c->end.closed = true;
		conn_look(c);
		return;
	}
	c->opened = true;
	h->accept(h->arg, &c->end);
	lane_kick(&c->up);
	lane_kick(&c->down);
}

static bool same_address(const struct host *h, const struct sockaddr *sa, socklen_t len)
{
	return h->len == len && memcmp(&h->sa, sa, len) == 0;
}

int net_fd_connect(struct net *n, const struct sockaddr *sa, socklen_t len, int *error)
{
	struct conn *c;
	unsigned i;

	*error = 0;
	if (rng_chance(&n->rng, n->scarce)) {
		errno = EMFILE;
		return -1;
	}
	for (i = 0; i < n->host_n && !same_address(n->hosts[i], sa, len); i++)
		;
	if (i == n->host_n) {
		sim_wrong(n->s, "a connection to no host of this world");
		errno = ENETUNREACH;
		return -1;
	}
	c = conn_new(n, n->hosts[i]);
	c->fd = fd_take(n);
	n->fds[c->fd].conn = c;
	if (!n->hosts[i]->up && !n->hosts[i]->silent && rng_chance(&n->rng, 20)) {
		*error = ECONNREFUSED; /* at once, as unix sockets do */
		c->end.closed = true;
		return c->fd;
	}
	c->connecting = true;
	sim_at(n->s, c->m.latency_us + rng_below(&n->rng, c->m.jitter_us + 1), connected, c);
	return c->fd;
}

int net_fd_wake(struct net *n)
{
	int fd = fd_take(n);

	n->fds[fd].wake = true;
	return fd;
}

void net_fd_set(struct net *n, int fd, bool on)
{
	if (fd_of(n, fd))
		n->fds[fd].on = on;
}

int net_fd_error(struct net *n, int fd)
{
	struct conn *c = conn_of(n, fd);
	int error = c ? c->error : EBADF;

	if (c)
		c->error = 0;
	return error;
}

static bool is_dead(const struct conn *c)
{
	return c->up.reset && c->up.ended;
}

ssize_t net_fd_recv(struct net *n, int fd, void *p, size_t cap, bool peek)
{
	struct conn *c = conn_of(n, fd);
	size_t len;

	if (!c) {
		errno = EBADF;
		return -1;
	}
	len = bytes_len(&c->up.here);
	if (len) {
		len = len < cap ? len : cap;
		memcpy(p, c->up.here.p + c->up.here.at, len);
		if (!peek)
			c->up.here.at += len;
		return (ssize_t)len;
	}
	if (c->up.ended) {
		errno = ECONNRESET;
		return c->up.reset ? -1 : 0;
	}
	errno = c->connecting ? ENOTCONN : EAGAIN;
	return -1;
}

ssize_t net_fd_send(struct net *n, int fd, const void *p, size_t len)
{
	struct conn *c = conn_of(n, fd);
	size_t used, room;

	if (!c || c->connecting) {
		errno = c ? ENOTCONN : EBADF;
		return -1;
	}
	if (is_dead(c) || c->down.fin) {
		errno = c->down.fin || rng_chance(&n->rng, 50) ? EPIPE : ECONNRESET;
		return -1;
	}
	if (c->end.closed) {
		/* taken by the kernel; the answer is a reset */
		c->up.reset = c->up.fin = true;
		lane_kick(&c->up);
		return (ssize_t)len;
	}
	used = bytes_len(&c->down.flight);
	room = used < c->m.window ? c->m.window - used : 0;
	if (!room) {
		errno = EAGAIN;
		return -1;
	}
	len = len < room ? len : room;
	bytes_add(&c->down.flight, p, len);
	lane_kick(&c->down);
	return (ssize_t)len;
}

void net_fd_shut(struct net *n, int fd)
{
	struct conn *c = conn_of(n, fd);

	if (!c)
		return;
	c->down.fin = true;
	lane_kick(&c->down);
}

void net_fd_close(struct net *n, int fd)
{
	struct conn *c;

	if (!fd_of(n, fd))
		return;
	c = n->fds[fd].conn;
	n->fds[fd] = (struct fd){ 0 };
	n->fd_n--;
	if (!c)
		return;
	c->fd = -1;
	c->down.fin = true;
	if (bytes_len(&c->up.here)) {
		/* unread bytes: the peer gets a reset, perhaps before the rest */
		c->down.reset = true;
		if (rng_chance(&n->rng, 50))
			c->down.flight.at = c->down.flight.n;
	}
	lane_kick(&c->down);
	if (!c->connecting)
		conn_look(c);
}

bool net_fd_readable(struct net *n, int fd)
{
	const struct fd *f = &n->fds[fd];

	if (!f->conn)
		return f->on;
	return bytes_len(&f->conn->up.here) || f->conn->up.ended || f->conn->error;
}

bool net_fd_writable(struct net *n, int fd)
{
	const struct conn *c = n->fds[fd].conn;

	if (!c || c->connecting)
		return false;
	return is_dead(c) || c->end.closed || c->error || c->down.fin ||
	       bytes_len(&c->down.flight) < c->m.window;
}

unsigned net_fds(const struct net *n)
{
	return n->fd_n;
}

int net_fd_top(const struct net *n)
{
	return n->top;
}

struct end *net_fd_peer(struct net *n, int fd)
{
	struct conn *c = fd >= FD_FIRST && fd < n->top ? n->fds[fd].conn : NULL;

	return c && c->opened && !c->end.closed ? &c->end : NULL;
}

bool net_fd_calm(struct net *n, int fd)
{
	const struct conn *c = n->fds[fd].conn;

	return c && !c->connecting && !bytes_len(&c->up.flight) && !bytes_len(&c->up.here) &&
	       !bytes_len(&c->down.flight);
}
