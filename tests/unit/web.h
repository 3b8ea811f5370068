/* tests/unit/web.h - a web server on an event loop that says what it is told to.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TESTS_WEB_H
#define PGWEIR_TESTS_WEB_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define WEB_CONNS 64

struct web;

struct web_conn {
	struct web *w;
	struct event *ev;
	int fd;
	char in[1024];
	size_t in_len, out_at;
};

struct web {
	struct event_base *base;
	struct event *accept_ev;
	int fd, port;
	const char *answer;      /* NULL: silence */
	size_t answer_len, step; /* bytes per write, 0: all */
	bool stay;               /* does not close behind its answer */
	unsigned accepted, open, asked;
	char request[1024];      /* the last one */
	struct web_conn conn[WEB_CONNS];
};

static inline void web_end(struct web_conn *c)
{
	if (c->fd < 0)
		return;
	event_free(c->ev);
	close(c->fd);
	c->fd = -1;
	c->w->open--;
}

static inline void web_wait(struct web_conn *c, short what, event_callback_fn fn)
{
	if (c->ev)
		event_free(c->ev);
	c->ev = event_new(c->w->base, c->fd, what, fn, c);
	event_add(c->ev, NULL);
}

static inline void web_write(evutil_socket_t fd, short what, void *arg)
{
	struct web_conn *c = arg;
	struct web *w = c->w;
	size_t left = w->answer_len - c->out_at;

	(void)what;
	if (w->step && left > w->step)
		left = w->step;
	if (left && send(fd, w->answer + c->out_at, left, MSG_NOSIGNAL) < 0) {
		web_end(c);
		return;
	}
	c->out_at += left;
	if (c->out_at < w->answer_len)
		web_wait(c, EV_WRITE, web_write);
	else if (!w->stay)
		web_end(c);
}

static inline void web_read(evutil_socket_t fd, short what, void *arg)
{
	struct web_conn *c = arg;
	struct web *w = c->w;
	ssize_t n = read(fd, c->in + c->in_len, sizeof(c->in) - 1 - c->in_len);

	(void)what;
	if (n <= 0) {
		web_end(c);
		return;
	}
	c->in_len += (size_t)n;
	c->in[c->in_len] = '\0';
	if (!strstr(c->in, "\r\n\r\n")) {
		web_wait(c, EV_READ, web_read);
		return;
	}
	w->asked++;
	(void)snprintf(w->request, sizeof(w->request), "%s", c->in);
	c->in_len = 0;
	web_wait(c, w->answer ? EV_WRITE : EV_READ, w->answer ? web_write : web_read);
}

static inline void web_accept(evutil_socket_t fd, short what, void *arg)
{
	struct web *w = arg;
	struct web_conn *c = &w->conn[w->accepted++ % WEB_CONNS];
	int one = 1;

	(void)what;
	web_end(c);
	*c = (struct web_conn){.w = w};
	c->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	w->open++;
	web_wait(c, EV_READ, web_read);
}

static inline void web_say(struct web *w, const char *answer)
{
	w->answer = answer;
	w->answer_len = answer ? strlen(answer) : 0;
}

static inline void web_open(struct web *w, struct event_base *base)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < WEB_CONNS; i++)
		w->conn[i].fd = -1;
	w->base = base;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)bind(w->fd, (struct sockaddr *)&in, len);
	(void)getsockname(w->fd, (struct sockaddr *)&in, &len);
	(void)listen(w->fd, 16);
	w->port = ntohs(in.sin_port);
	w->accept_ev = event_new(base, w->fd, EV_READ | EV_PERSIST, web_accept, w);
	event_add(w->accept_ev, NULL);
}

/* Connections are refused from here on. */
static inline void web_deaf(struct web *w)
{
	if (w->fd < 0)
		return;
	event_free(w->accept_ev);
	close(w->fd);
	w->fd = -1;
}

static inline void web_close(struct web *w)
{
	for (size_t i = 0; i < WEB_CONNS; i++)
		web_end(&w->conn[i]);
	web_deaf(w);
}

#endif
