/* proxy/io/listen.c - see listen.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Connections taken from one socket before others have their turn. */
#define ACCEPT_BATCH 16

static void pause_accepting(struct listener *l, int error)
{
	struct timeval tv = { 0, 100000 };
	unsigned i;

	LOG(l->log, LOG_LEVEL_ERROR, "accept_paused", "reason=\"%s\"", strerror(error));
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
	struct listen_from from;
	int i, fd;

	(void)what;
	worker_clock(l->w);
	for (i = 0; i < ACCEPT_BATCH; i++) {
		from.len = sizeof(from.a);
		from.a.sa.sa_family = AF_UNSPEC;
		fd = accept4(listen_fd, &from.a.sa, &from.len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			l->accepted(l->arg, fd, &from,
				    l->deferred && from.a.sa.sa_family != AF_UNIX);
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
	unsigned i;

	(void)fd;
	(void)what;
	for (i = 0; i < l->n; i++)
		event_add(&l->evs[i], NULL);
}

void listen_init(struct listener *l, const struct log_ctx *log)
{
	memset(l, 0, sizeof(*l));
	l->log = log;
	l->file = (struct sockfile)SOCKFILE_NONE;
	l->file.setting = "unix_socket_dir";
	l->file.with_port = true;
	l->file_at = -1;
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
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

static bool is_local(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	return getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
	       addr_is_loopback((struct sockaddr *)&a);
}

static bool is_unix(int fd)
{
	int family = 0;
	socklen_t len = sizeof(family);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

static int add(struct listener *l, int fd, struct err *e)
{
	if (l->n == LISTEN_MAX)
		return err_set(e, "more than %d listening sockets", LISTEN_MAX);
	l->tcp_n += !is_unix(fd);
	l->beyond |= !is_local(fd);
	l->fd[l->n++] = fd;
	return 0;
}

int listen_on(struct listener *l, const struct addr *a, int backlog, int *port, struct err *e)
{
	int one = 1, fd = socket(a->sock.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(e, "listen_addr %s: %s", a->name, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (l->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) {
		close(fd);
		return err_set(e, "so_reuseport: %s", strerror(errno));
	}
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

/* What libpq calls a unix socket: *port and l->dir, if it has such a name. */
static void name_unix(struct listener *l, int fd, int *port)
{
	size_t head = offsetof(struct sockaddr_un, sun_path), n;
	struct sockaddr_un un = { 0 };
	socklen_t len = sizeof(un);
	char name[sizeof(un.sun_path) + 1] = "";
	const char *base;
	int number;

	if (getsockname(fd, (struct sockaddr *)&un, &len) || len <= head)
		return;
	n = (len < sizeof(un) ? len : sizeof(un)) - head;
	memcpy(name, un.sun_path, n);
	if (!name[0])
		name[0] = '@';
	base = strrchr(name, '/');
	if (!base || sscanf(base, "/.s.PGSQL.%5d", &number) != 1)
		return;
	(void)snprintf(l->dir, sizeof(l->dir), "%.*s", (int)(base - name), name);
	if (!*port)
		*port = number;
}

int listen_inherit(struct listener *l, int fd, int *port, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, "inherited socket %d: %s", fd, strerror(errno));
	l->inherited = true;
	if (is_unix(fd))
		name_unix(l, fd, port);
	else if (bound_port(fd))
		*port = bound_port(fd);
	return add(l, fd, e);
}

int listen_adopt(struct listener *l, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && add(l, fd, e) == 0)
		return 0;
	close(fd);
	return flags < 0 ? err_set(e, "a socket that was handed over: %s", strerror(errno)) : -1;
}

int listen_port(const struct listener *l, unsigned i)
{
	return bound_port(l->fd[i]);
}

bool listen_is_at(int fd, const struct addr *want)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);
	struct addr have = { 0 };

	if (getsockname(fd, (struct sockaddr *)&a, &len))
		return false;
	memcpy(&have.sock.any, &a, sizeof(a));
	if (a.ss_family != want->sock.sa.sa_family)
		return false;
	if (a.ss_family == AF_UNIX)
		return want->sock.un.sun_path[0] ?
			       strcmp(have.sock.un.sun_path, want->sock.un.sun_path) == 0 :
			       len == want->sock_len && memcmp(&have.sock.un, &want->sock.un, len) == 0;
	if (want->port && bound_port(fd) != want->port)
		return false;
	if (a.ss_family == AF_INET)
		return ((struct sockaddr_in *)&have.sock.any)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)&want->sock.any)->sin_addr.s_addr;
	return a.ss_family == AF_INET6 &&
	       memcmp(&((struct sockaddr_in6 *)&have.sock.any)->sin6_addr,
		      &((const struct sockaddr_in6 *)&want->sock.any)->sin6_addr,
		      sizeof(struct in6_addr)) == 0;
}

/* ---- unix sockets ---- */

int listen_adopt_unix(struct listener *l, int fd, int lock, const char *dir, struct err *e)
{
	struct sockaddr_un un = { 0 };
	socklen_t len = sizeof(un);

	if (lock >= 0 && getsockname(fd, (struct sockaddr *)&un, &len) == 0)
		sockfile_adopt(&l->file, un.sun_path, lock);
	if (listen_adopt(l, fd, e))
		return -1;
	l->file_at = (int)l->n - 1;
	(void)snprintf(l->dir, sizeof(l->dir), "%s", dir);
	return 0;
}

int listen_unix(struct listener *l, const struct listen_unix *u, struct err *e)
{
	struct sockfile *f = &l->file;
	bool abstract = *u->dir == '@';
	struct sockaddr_un un;
	socklen_t len;
	int fd;

	if (addr_unix(u->dir, u->port, &un, &len, e))
		return -1;
	if (!abstract && sockfile_take(f, &un, len, e))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, len)) {
		err_set(e, "cannot listen on the unix socket %s/.s.PGSQL.%d: %s", u->dir, u->port,
			strerror(errno));
		goto close_it;
	}
	if (!abstract && sockfile_dress(f, u->mode, u->group, e))
		goto close_it;
	if (listen(fd, u->backlog)) {
		err_set(e, "cannot listen on the unix socket %s/.s.PGSQL.%d: %s", u->dir, u->port,
			strerror(errno));
		goto close_it;
	}
	if (add(l, fd, e))
		goto close_it;
	l->file_at = (int)l->n - 1;
	(void)snprintf(l->dir, sizeof(l->dir), "%s", u->dir);
	return 0;
close_it:
	if (fd >= 0)
		close(fd);
	sockfile_drop(f);
	return -1;
}

void listen_tcp(struct listener *l, bool keepalive, int defer_s)
{
	int one = 1, on = keepalive;
	unsigned i;

	/* refused on a unix socket: then there is nothing to set */
	for (i = 0; i < l->n; i++)
		if (setsockopt(l->fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0) {
			setsockopt(l->fd[i], SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
			setsockopt(l->fd[i], IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s,
				   sizeof(defer_s));
		}
	l->deferred = defer_s > 0;
}

void listen_start(struct listener *l, struct worker *w, accepted_fn *accepted, void *arg)
{
	unsigned i;

	l->w = w;
	l->accepted = accepted;
	l->arg = arg;
	evtimer_assign(&l->resume, w->base, on_resume, l);
	for (i = 0; i < l->n; i++) {
		event_assign(&l->evs[i], w->base, l->fd[i], EV_READ | EV_PERSIST, on_accept, l);
		event_add(&l->evs[i], NULL);
	}
}

void listen_stop(struct listener *l)
{
	unsigned i;

	for (i = 0; l->w && i < l->n; i++)
		event_del(&l->evs[i]);
	if (l->w)
		event_del(&l->resume);
	l->w = NULL;
}

void listen_close(struct listener *l)
{
	unsigned i;

	for (i = 0; i < l->n; i++)
		close(l->fd[i]);
	l->n = l->tcp_n = 0;
	sockfile_drop(&l->file);
	if (l->reserve >= 0)
		close(l->reserve);
	l->reserve = -1;
}
