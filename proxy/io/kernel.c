/* proxy/io/kernel.c - see kernel.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

int64_t clock_wall_us(void *unused)
{
	struct timespec ts;

	(void)unused;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int random_secret(void *p, size_t n)
{
	return RAND_bytes(p, (int)n) == 1 ? 0 : -1;
}

struct event_base *kernel_loop_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base;

	if (!cfg)
		return NULL;
	/* No second thread ever touches this base: letters come by eventfd. */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

void kernel_loop_free(struct event_base *base)
{
	event_base_free(base);
}

void kernel_loop_once(struct event_base *base)
{
	event_base_loop(base, EVLOOP_ONCE);
}

void watch_init(struct watch *w, struct event_base *base, int fd, enum watch_what what,
		event_callback_fn fn, void *arg)
{
	event_assign(&w->ev, base, fd, (short)((short)what | EV_PERSIST), fn, arg);
}

void watch_on(struct watch *w)
{
	event_add(&w->ev, NULL);
}

void watch_off(struct watch *w)
{
	event_del(&w->ev);
}

void watch_poke(struct watch *w)
{
	event_active(&w->ev, EV_READ, 0);
}

void alarm_init(struct watch *w, struct event_base *base, event_callback_fn fn, void *arg)
{
	evtimer_assign(&w->ev, base, fn, arg);
}

void alarm_on(struct watch *w, uint64_t in_us)
{
	struct timeval tv = { (time_t)(in_us / 1000000u), (suseconds_t)(in_us % 1000000u) };

	event_add(&w->ev, &tv);
}

void watch_drop(struct watch *w)
{
	if (event_initialized(&w->ev))
		event_del(&w->ev);
}

int wake_new(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void wake_set(int fd)
{
	uint64_t one = 1;

	/* The counter cannot overflow and the write cannot block: it is only set
	 * when a box was empty. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void wake_clear(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return;
}

int kernel_connect(const struct sockaddr *sa, socklen_t len, int *error)
{
	int one = 1, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*error = 0;
	if (fd < 0)
		return -1;
	if (sa->sa_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, sa, len) < 0 && errno != EINPROGRESS)
		*error = errno;
	return fd;
}

int kernel_pair(int fd[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd);
}

int kernel_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

void kernel_tcp(int fd, const struct kernel_tcp *t)
{
	int one = 1;

	/* refused on a unix socket: then there is nothing to set */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return;
	if (t->keepalive)
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	kernel_tcp_accepted(fd, t);
}

void kernel_tcp_accepted(int fd, const struct kernel_tcp *t)
{
	if (t->user_timeout_ms)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &t->user_timeout_ms, sizeof(int));
	if (!t->keepalive)
		return;
	if (t->keepidle)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &t->keepidle, sizeof(int));
	if (t->keepintvl)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &t->keepintvl, sizeof(int));
	if (t->keepcnt)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &t->keepcnt, sizeof(int));
}

ssize_t kernel_recv(int fd, void *p, size_t n)
{
	ssize_t got;

	do {
		got = recv(fd, p, n, 0);
	} while (got < 0 && errno == EINTR);
	return got;
}

ssize_t kernel_peek(int fd)
{
	ssize_t got;
	char c;

	do {
		got = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	return got;
}

ssize_t kernel_send(int fd, const struct iovec *iov, int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t got;

	do {
		got = n == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) :
			       sendmsg(fd, &m, MSG_NOSIGNAL);
	} while (got < 0 && errno == EINTR);
	return got;
}

/* The kernel's word for users without a number here (/proc/sys/kernel/overflowuid). */
#define OVERFLOW_UID 65534u

int kernel_peer_uid(int fd, uint32_t *uid, uint32_t *pid)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred), family_len = sizeof(int);
	int family = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &family_len) || family != AF_UNIX ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -1;
	*uid = cred.uid == OVERFLOW_UID ? KERNEL_NO_UID : (uint32_t)cred.uid;
	*pid = (uint32_t)cred.pid;
	return 0;
}

int kernel_local(int fd, struct sockaddr_storage *sa, socklen_t *len)
{
	*len = sizeof(*sa);
	return getsockname(fd, (struct sockaddr *)(void *)sa, len);
}

void kernel_shut(int fd)
{
	shutdown(fd, SHUT_WR);
}

void kernel_close(int fd)
{
	close(fd);
}
