/* proxy/io/listen.c - see listen.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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
	l->file.lock = -1;
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

/* ---- unix sockets ----
 *
 * Two daemons must not fight for one name, and what one has left that was killed must
 * not keep the next from starting. As with PostgreSQL a lock file stands beside the
 * socket and begins with the process id, so that a PostgreSQL that wants the same name
 * sees that somebody has it. Among ourselves flock() decides and not that number: the
 * kernel lets go of it with the process, whatever its end, and it means the same in
 * containers that share the directory, each with processes 1, 2, 3. A lock file that
 * does not say it is ours counts as long as its process lives. And who answers on the
 * socket is never pushed away, whatever became of its lock file. */

#define LOCK_MARK "pgweir"

static int in_use(const struct unix_file *f, const char *by, long pid, struct err *e)
{
	char who[40] = "";

	if (pid > 0)
		(void)snprintf(who, sizeof(who), ", process %ld", pid);
	return err_set(e, "unix_socket_dir: %s is in use by %s%s; stop that, or choose another "
			  "listen_port or unix_socket_dir", f->path, by, who);
}

/* 1: fd is the lock file, and locked; 0: it was taken away meanwhile, look again. */
static int lock(const struct unix_file *f, int fd, struct err *e)
{
	struct stat a, b;
	char text[128];
	ssize_t n;
	long pid;

	if (fstat(fd, &a) || !S_ISREG(a.st_mode) || a.st_nlink > 1) /* a link to something else? */
		return err_set(e, "unix_socket_dir: %s is not a lock file; remove it", f->lock_path);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	pid = strtol(text, NULL, 10);
	if (flock(fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ?
			       in_use(f, "another pgweir", pid, e) :
			       err_set(e, "unix_socket_dir: cannot lock %s: %s", f->lock_path,
				       strerror(errno));
	if (lstat(f->lock_path, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return 0;
	if (pid > 0 && pid != getpid() && !strstr(text, "\n" LOCK_MARK "\n") &&
	    (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		return in_use(f, "another program", pid, e);
	n = snprintf(text, sizeof(text), "%d\n" LOCK_MARK "\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n)
		return err_set(e, "unix_socket_dir: cannot write %s: %s", f->lock_path,
			       strerror(errno));
	return 1;
}

static int take_lock(struct unix_file *f, struct err *e)
{
	int tries, fd, got;

	for (tries = 0; tries < 100; tries++) {
		/* Never one that is a link, and none is cut that was not looked at. */
		fd = open(f->lock_path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			fd = open(f->lock_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return err_set(e, "unix_socket_dir: cannot open the lock file %s: %s",
				       f->lock_path, strerror(errno));
		got = lock(f, fd, e);
		if (got > 0) {
			f->lock = fd;
			return 0;
		}
		close(fd);
		if (got < 0)
			return -1;
	}
	return err_set(e, "unix_socket_dir: the lock file %s does not stay", f->lock_path);
}

/* Makes room for ours: an old socket that nobody listens on goes. */
static int clear_path(const struct unix_file *f, const struct sockaddr_un *un, socklen_t len,
		      struct err *e)
{
	struct stat st;
	int fd, error;

	if (lstat(f->path, &st))
		return errno == ENOENT ? 0 :
					 err_set(e, "unix_socket_dir: %s: %s", f->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, "unix_socket_dir: %s is there and is no socket", f->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, "unix_socket_dir: %s", strerror(errno));
	error = connect(fd, (const struct sockaddr *)un, len) ? errno : 0;
	close(fd);
	if (error == 0 || error == EAGAIN)
		return in_use(f, "another program", 0, e);
	if (error != ECONNREFUSED && error != ENOENT)
		return err_set(e, "unix_socket_dir: who has %s cannot be found out: %s", f->path,
			       strerror(error));
	if (unlink(f->path) && errno != ENOENT)
		return err_set(e, "unix_socket_dir: cannot remove the old %s: %s", f->path,
			       strerror(errno));
	return 0;
}

static int set_group(const char *path, const char *group, struct err *e)
{
	const struct group *gr = getgrnam(group);
	char *end;
	unsigned long gid = strtoul(group, &end, 10);

	if (!gr && (*end || end == group || gid >= UINT32_MAX))
		return err_set(e, "unix_socket_group: there is no group \"%.64s\" on this machine",
			       group);
	if (lchown(path, (uid_t)-1, gr ? gr->gr_gid : (gid_t)gid))
		return err_set(e, "unix_socket_group: cannot give %s to \"%.64s\": %s", path, group,
			       strerror(errno));
	return 0;
}

/* Bound; nobody can connect before it listens, and until then it gets its mode. */
static int dress_file(struct unix_file *f, const struct listen_unix *u, struct err *e)
{
	struct stat st;

	if (lstat(f->path, &st))
		return err_set(e, "unix_socket_dir: %s: %s", f->path, strerror(errno));
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	if (u->group && *u->group && set_group(f->path, u->group, e))
		return -1;
	if (chmod(f->path, (mode_t)u->mode))
		return err_set(e, "unix_socket_mode: %s: %s", f->path, strerror(errno));
	return 0;
}

static void drop_file(struct unix_file *f)
{
	struct stat a, b;

	if (f->ino && lstat(f->path, &a) == 0 && a.st_dev == f->dev && a.st_ino == f->ino)
		(void)unlink(f->path);
	f->ino = 0;
	if (f->lock < 0)
		return;
	if (fstat(f->lock, &a) == 0 && lstat(f->lock_path, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino)
		(void)unlink(f->lock_path);
	close(f->lock); /* behind all else: the next one may begin */
	f->lock = -1;
}

int listen_unix(struct listener *l, const struct listen_unix *u, struct err *e)
{
	struct unix_file *f = &l->file;
	bool abstract = *u->dir == '@';
	struct sockaddr_un un;
	socklen_t len;
	int fd;

	if (addr_unix(u->dir, u->port, &un, &len, e))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s", un.sun_path);
	(void)snprintf(f->lock_path, sizeof(f->lock_path), "%s.lock", un.sun_path);
	if (!abstract && (take_lock(f, e) || clear_path(f, &un, len, e)))
		goto failed;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, len)) {
		err_set(e, "cannot listen on the unix socket %s/.s.PGSQL.%d: %s", u->dir, u->port,
			strerror(errno));
		goto close_it;
	}
	if (!abstract && dress_file(f, u, e))
		goto close_it;
	if (listen(fd, u->backlog)) {
		err_set(e, "cannot listen on the unix socket %s/.s.PGSQL.%d: %s", u->dir, u->port,
			strerror(errno));
		goto close_it;
	}
	if (add(l, fd, e))
		goto close_it;
	(void)snprintf(l->dir, sizeof(l->dir), "%s", u->dir);
	return 0;
close_it:
	if (fd >= 0)
		close(fd);
failed:
	drop_file(f);
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
	drop_file(&l->file);
	if (l->reserve >= 0)
		close(l->reserve);
	l->reserve = -1;
}
