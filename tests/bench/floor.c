/*
 * The floor: a relay that does nothing but recv and send. One thread, one epoll,
 * one connection to the server for each client, a buffer on the stack. What a
 * proxy spends beyond this is the price of what it does.
 *
 *   floor LISTEN_PORT SERVER_PORT     (127.0.0.1 both; says "port=N" when it listens)
 *
 * SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUF = 65536, EVENTS = 256 };

struct side {
	int fd;
	struct side *other;
	struct side *next; /* what is freed when the turn is over */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int sock(int port, struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*a = (struct sockaddr_in){.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return fd;
}

static void watch(int ep, int fd, void *who)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = who};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
}

static void pair_up(int ep, int listener, int server_port)
{
	struct sockaddr_in a;
	struct side *c = calloc(1, sizeof(*c)), *s = calloc(1, sizeof(*s));
	int one = 1;

	if (!c || !s)
		die("calloc");
	c->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (c->fd < 0)
		die("accept");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->fd = sock(server_port, &a);
	if (connect(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("connect");
	c->other = s;
	s->other = c;
	watch(ep, c->fd, c);
	watch(ep, s->fd, s);
}

/* Blocking sends: a side that does not read holds up all. Good enough for a floor. */
static int pass(struct side *from)
{
	char buf[BUF];
	ssize_t n = recv(from->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	for (ssize_t at = 0, k; at < n; at += k) {
		k = send(from->other->fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL);
		if (k < 0)
			return -1;
	}
	return 0;
}

static struct side *part(struct side *s, struct side *gone)
{
	struct side *o = s->other;

	close(s->fd);
	close(o->fd);
	s->fd = o->fd = -1;
	s->next = gone;
	o->next = s;
	return o;
}

static void run(int ep, int listener, int server_port)
{
	struct epoll_event ev[EVENTS];

	for (;;) {
		int n = epoll_wait(ep, ev, EVENTS, -1);
		struct side *gone = NULL;

		for (int i = 0; i < n; i++) {
			struct side *s = ev[i].data.ptr;

			if (!s)
				pair_up(ep, listener, server_port);
			else if (s->fd >= 0 && pass(s) < 0)
				gone = part(s, gone);
		}
		for (struct side *s; (s = gone);) {
			gone = s->next;
			free(s);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int listener, ep = epoll_create1(EPOLL_CLOEXEC), one = 1;

	if (argc != 3)
		return 2;
	listener = sock((int)strtol(argv[1], NULL, 10), &a);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 4096) < 0)
		die("listen");
	getsockname(listener, (struct sockaddr *)&a, &len);
	printf("port=%d\n", ntohs(a.sin_port));
	fflush(stdout);
	watch(ep, listener, NULL);
	run(ep, listener, (int)strtol(argv[2], NULL, 10));
}
