/* tests/sim/kernel.c - proxy/io/kernel.h without a kernel: see loops.h
 *
 * What libevent would forgive and a kernel would not is an error here: a descriptor
 * closed while it is watched, a watch switched on or off twice.
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "loops.h"

#define WATCHES_MAX 2048u

struct armed {
	struct watch *w;
	int fd;
	short what;
	bool poked;
};

struct event_base {
	struct loops *l;
	unsigned id;
	struct watch *alarm;
	uint64_t alarm_us;
	struct armed on[WATCHES_MAX];
	unsigned n;
};

struct loops {
	struct sim *s;
	struct net *net;
	struct event_base *base[LOOPS_MAX];
	unsigned n;
	struct rng rng, secrets;
};

/* kernel.h's functions are given no context. */
static struct loops *current;

struct loops *loops_new(struct sim *s, struct net *n)
{
	struct loops *l = calloc(1, sizeof(*l));

	if (!l)
		abort();
	l->s = s;
	l->net = n;
	l->rng = rng_make(s->seed, 3);
	l->secrets = rng_make(s->seed, 4);
	current = l;
	return l;
}

void loops_free(struct loops *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		free(l->base[i]);
	if (current == l)
		current = NULL;
	free(l);
}

/* ---- time and chance ---- */

uint64_t clock_mono_us(void)
{
	return current->s->now_us;
}

int64_t clock_wall_us(void *unused)
{
	(void)unused;
	return (int64_t)current->s->now_us + 1700000000000000;
}

int random_secret(void *p, size_t n)
{
	uint8_t *b = p;
	size_t i;

	for (i = 0; i < n; i++)
		b[i] = (uint8_t)rng_next(&current->secrets);
	return 0;
}

/* ---- loops ---- */

struct event_base *kernel_loop_new(void)
{
	struct event_base *b = sim_alloc(sizeof(*b));

	if (current->n == LOOPS_MAX)
		abort();
	b->l = current;
	b->id = current->n;
	current->base[current->n++] = b;
	return b;
}

void kernel_loop_free(struct event_base *base)
{
	if (base->n || base->alarm)
		sim_wrong(base->l->s, "a loop is freed that watches %u descriptors", base->n);
	base->n = 0; /* freed with the rest: its number stays taken */
}

void kernel_loop_once(struct event_base *base)
{
	sim_wrong(base->l->s, "a loop is run by itself");
}

static bool is_ready(const struct event_base *b, const struct armed *a)
{
	if (a->poked)
		return true;
	return a->what & EV_READ ? net_fd_readable(b->l->net, a->fd) :
				   net_fd_writable(b->l->net, a->fd);
}

static bool alarm_due(const struct event_base *b)
{
	return b->alarm && b->alarm_us <= b->l->s->now_us;
}

bool loop_ready(struct loops *l, unsigned i)
{
	const struct event_base *b = l->base[i];
	unsigned k;

	if (alarm_due(b))
		return true;
	for (k = 0; k < b->n; k++)
		if (is_ready(b, &b->on[k]))
			return true;
	return false;
}

uint64_t loop_alarm(const struct loops *l, unsigned i)
{
	return l->base[i]->alarm ? l->base[i]->alarm_us : UINT64_MAX;
}

unsigned loop_watches(const struct loops *l)
{
	unsigned i, n = 0;

	for (i = 0; i < l->n; i++)
		n += l->base[i]->n;
	return n;
}

static struct armed *find(struct event_base *b, const struct watch *w)
{
	unsigned k;

	for (k = 0; k < b->n; k++)
		if (b->on[k].w == w)
			return &b->on[k];
	return NULL;
}

static void call(struct watch *w, short what)
{
	event_get_callback(&w->ev)(event_get_fd(&w->ev), what, event_get_callback_arg(&w->ev));
}

void loop_turn(struct loops *l, unsigned i)
{
	struct event_base *b = l->base[i];
	struct armed todo[WATCHES_MAX];
	unsigned n = 0, k;
	bool some = rng_chance(&l->rng, 30);

	for (k = 0; k < b->n; k++)
		if (is_ready(b, &b->on[k]) && !(some && n && rng_chance(&l->rng, 40)))
			todo[n++] = b->on[k];
	for (k = n; k > 1; k--) { /* in any order */
		unsigned j = rng_below(&l->rng, k);
		struct armed t = todo[k - 1];

		todo[k - 1] = todo[j];
		todo[j] = t;
	}
	for (k = 0; k < n; k++) {
		struct armed *a = find(b, todo[k].w);

		if (!a || a->fd != todo[k].fd || a->what != todo[k].what || !is_ready(b, a))
			continue;
		a->poked = false;
		call(todo[k].w, todo[k].what);
	}
	if (alarm_due(b)) {
		struct watch *w = b->alarm;

		b->alarm = NULL;
		call(w, EV_TIMEOUT);
	}
}

void watch_init(struct watch *w, struct event_base *base, int fd, enum watch_what what,
		event_callback_fn fn, void *arg)
{
	event_assign(&w->ev, NULL, fd, (short)((short)what | EV_PERSIST), fn, arg);
	w->ev.ev_base = base;
}

void watch_on(struct watch *w)
{
	struct event_base *b = w->ev.ev_base;

	if (find(b, w) || b->n == WATCHES_MAX) {
		sim_wrong(b->l->s, "descriptor %d is watched twice", event_get_fd(&w->ev));
		return;
	}
	b->on[b->n++] = (struct armed){ w, event_get_fd(&w->ev), event_get_events(&w->ev), false };
}

static bool take_off(struct watch *w)
{
	struct event_base *b = w->ev.ev_base;
	const struct armed *a = find(b, w);

	if (!a)
		return false;
	b->n--;
	memmove(&b->on[a - b->on], a + 1, (size_t)(&b->on[b->n] - a) * sizeof(*a));
	return true;
}

void watch_off(struct watch *w)
{
	if (!take_off(w))
		sim_wrong(w->ev.ev_base->l->s, "descriptor %d was not watched",
			  event_get_fd(&w->ev));
}

void watch_poke(struct watch *w)
{
	struct armed *a = find(w->ev.ev_base, w);

	if (a)
		a->poked = true;
	else
		sim_wrong(w->ev.ev_base->l->s, "descriptor %d is not watched", event_get_fd(&w->ev));
}

void alarm_init(struct watch *w, struct event_base *base, event_callback_fn fn, void *arg)
{
	event_assign(&w->ev, NULL, -1, 0, fn, arg);
	w->ev.ev_base = base;
}

void alarm_on(struct watch *w, uint64_t in_us)
{
	struct event_base *b = w->ev.ev_base;

	b->alarm = w;
	b->alarm_us = b->l->s->now_us + in_us;
}

void watch_drop(struct watch *w)
{
	if (!event_initialized(&w->ev))
		return;
	(void)take_off(w);
	if (w->ev.ev_base->alarm == w)
		w->ev.ev_base->alarm = NULL;
}

int wake_new(void)
{
	return net_fd_wake(current->net);
}

void wake_set(int fd)
{
	net_fd_set(current->net, fd, true);
}

void wake_clear(int fd)
{
	net_fd_set(current->net, fd, false);
}

/* ---- sockets ---- */

int kernel_connect(const struct sockaddr *sa, socklen_t len, int *error)
{
	return net_fd_connect(current->net, sa, len, error);
}

/* There is no auth_query in this world. */
int kernel_pair(int fd[2])
{
	fd[0] = fd[1] = -1;
	errno = ENOSYS;
	return -1;
}

int kernel_error(int fd)
{
	return net_fd_error(current->net, fd);
}

void kernel_tcp(int fd, const struct kernel_tcp *t)
{
	(void)fd;
	(void)t;
}

void kernel_tcp_accepted(int fd, const struct kernel_tcp *t)
{
	(void)fd;
	(void)t;
}

ssize_t kernel_recv(int fd, void *p, size_t n)
{
	return net_fd_recv(current->net, fd, p, n, false);
}

ssize_t kernel_peek(int fd)
{
	char c;

	return net_fd_recv(current->net, fd, &c, 1, true);
}

ssize_t kernel_send(int fd, const struct iovec *iov, int n)
{
	ssize_t gone = 0;
	int i;

	for (i = 0; i < n; i++) {
		ssize_t got = iov[i].iov_len ? net_fd_send(current->net, fd, iov[i].iov_base,
							   iov[i].iov_len) :
					       0;

		if (got < 0)
			return gone ? gone : -1;
		gone += got;
		if ((size_t)got < iov[i].iov_len)
			break;
	}
	return gone;
}

int kernel_peer_uid(int fd, uint32_t *uid, uint32_t *pid)
{
	(void)fd; /* all connections are TCP here */
	*uid = KERNEL_NO_UID;
	*pid = 0;
	return -1;
}

int kernel_local(int fd, struct sockaddr_storage *sa, socklen_t *len)
{
	(void)fd;
	(void)sa;
	(void)len;
	return -1;
}

void kernel_shut(int fd)
{
	net_fd_shut(current->net, fd);
}

void kernel_close(int fd)
{
	unsigned i, k;

	for (i = 0; i < current->n; i++)
		for (k = 0; k < current->base[i]->n; k++)
			if (current->base[i]->on[k].fd == fd)
				sim_wrong(current->s, "descriptor %d is closed and watched", fd);
	net_fd_close(current->net, fd);
}
