/* proxy/io/listen.c - see listen.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

/* Connections taken from one socket before the others have their turn. */
#define ACCEPT_BATCH 64

static void pause_accepting(struct listener *l, int error)
{
	struct timeval tv = { 0, 100000 };
	unsigned i;

	LOG(&l->w->log_ctx, LOG_LEVEL_ERROR, "accept_paused", "reason=\"%s\"", strerror(error));
	for (i = 0; i < l->n; i++)
		event_del(&l->evs[i]);
	event_add(&l->resume, &tv);
}

/* No file descriptor left: the waiting connection is closed rather than left
 * hanging, with the one that was kept for this. */
static void shed(struct listener *l, int listen_fd)
{
	int fd;

	if (l->reserve < 0)
		return;
	close(l->reserve);
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *l = arg;
	int i, fd;

	(void)what;
	worker_clock(l->w);
	for (i = 0; i < ACCEPT_BATCH; i++) {
		fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			l->accepted(l->arg, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE) {
			shed(l, listen_fd);
			pause_accepting(l, EMFILE);
		} else if (errno == ENOBUFS || errno == ENOMEM) {
			pause_accepting(l, errno);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	listen_start(l);
}

void listen_init(struct listener *l, struct worker *w, void (*accepted)(void *arg, int fd),
		 void *arg)
{
	memset(l, 0, sizeof(*l));
	l->w = w;
	l->accepted = accepted;
	l->arg = arg;
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	evtimer_assign(&l->resume, w->base, on_resume, l);
}

static int bound_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len))
		return 0;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	if (a.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	return 0;
}

static int add(struct listener *l, int fd, struct err *e)
{
	if (l->n == LISTEN_MAX)
		return err_set(e, "more than %d listening sockets", LISTEN_MAX);
	l->fd[l->n] = fd;
	event_assign(&l->evs[l->n], l->w->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	l->n++;
	return 0;
}

int listen_on(struct listener *l, const struct addr *a, int backlog, int *port, struct err *e)
{
	int one = 1, fd = socket(a->sock.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(e, "listen_addr %s: %s", a->name, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->sock.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &a->sock.sa, a->sock_len) || listen(fd, backlog)) {
		err_set(e, "cannot listen on %s: %s", a->name, strerror(errno));
		close(fd);
		return -1;
	}
	if (port)
		*port = bound_port(fd);
	if (add(l, fd, e)) {
		close(fd);
		return -1;
	}
	return 0;
}

int listen_inherit(struct listener *l, int fd, int *port, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, "inherited socket %d: %s", fd, strerror(errno));
	if (bound_port(fd))
		*port = bound_port(fd);
	return add(l, fd, e);
}

void listen_start(struct listener *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		event_add(&l->evs[i], NULL);
}

void listen_close(struct listener *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++) {
		event_del(&l->evs[i]);
		close(l->fd[i]);
	}
	l->n = 0;
	if (l->w && l->w->base)
		event_del(&l->resume);
	if (l->reserve >= 0)
		close(l->reserve);
	l->reserve = -1;
}
