/* proxy/io/stream.c - see stream.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_bytes(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (!s->wants && has_bytes(s->fd)) {
		/* Bytes that nobody wants now: only now is it worth a call. */
		event_del(&s->rd);
		s->rd_armed = false;
		return;
	}
	/* An end is told even to an owner who does not read: nobody should be
	 * given a server who is gone already. */
	worker_clock(s->w);
	s->ops->readable(s);
}

static void wr_arm(struct stream *s, bool on)
{
	if (on == s->wr_armed)
		return;
	s->wr_armed = on;
	if (on)
		event_add(&s->wr, NULL);
	else
		event_del(&s->wr);
}

static void finish_connect(struct stream *s)
{
	int error = s->error;
	socklen_t len = sizeof(error);

	s->connecting = false;
	wr_arm(s, s->out_len > 0);
	if (!error && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (!error)
		stream_want(s, true);
	s->ops->connected(s, error);
}

/* Sends what waits in `out`. */
static enum io flush_out(struct stream *s)
{
	while (s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return IO_AGAIN;
		if (n < 0) {
			s->error = errno;
			s->failed = true;
			return IO_FAIL;
		}
		s->out_at += (uint32_t)n;
		s->out_len -= (uint32_t)n;
	}
	free(s->out);
	s->out = NULL;
	s->out_at = s->out_cap = 0;
	return IO_OK;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	worker_clock(s->w);
	if (s->connecting) {
		finish_connect(s);
		return;
	}
	switch (s->failed ? IO_FAIL : flush_out(s)) {
	case IO_AGAIN:
		return;
	case IO_FAIL:
		wr_arm(s, false);
		s->wants = true;
		s->ops->readable(s);
		return;
	case IO_OK:
	case IO_EOF:
	default:
		wr_arm(s, false);
		s->ops->drained(s);
	}
}

static void assign(struct stream *s, struct worker *w)
{
	s->w = w;
	event_assign(&s->rd, w->base, s->fd, EV_READ | EV_PERSIST, on_readable, s);
	event_assign(&s->wr, w->base, s->fd, EV_WRITE | EV_PERSIST, on_writable, s);
}

void stream_open(struct stream *s, struct worker *w, int fd, const struct stream_ops *ops)
{
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->ops = ops;
	assign(s, w);
	stream_want(s, true);
}

int stream_connect(struct stream *s, struct worker *w, const struct sockaddr *sa, socklen_t len,
		   const struct stream_ops *ops)
{
	int one = 1;

	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->w = w;
	s->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -1;
	if (sa->sa_family != AF_UNIX)
		setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	assign(s, w);
	/* A refusal that comes at once (unix sockets) is told like the others,
	 * from the loop: an unconnected socket is writable. */
	if (connect(s->fd, sa, len) < 0 && errno != EINPROGRESS)
		s->error = errno;
	s->connecting = true;
	wr_arm(s, true);
	return 0;
}

void stream_tcp_options(int fd, const struct stream_tcp *t)
{
	int one = 1;

	/* refused on a unix socket: then there is nothing to set */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		return;
	if (t->user_timeout_ms)
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &t->user_timeout_ms, sizeof(int));
	if (!t->keepalive)
		return;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	if (t->keepidle)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &t->keepidle, sizeof(int));
	if (t->keepintvl)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &t->keepintvl, sizeof(int));
	if (t->keepcnt)
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &t->keepcnt, sizeof(int));
}

/* Makes room behind what is there: moves it to the front, or into a larger
 * buffer. */
static int make_room(struct stream *s, size_t want)
{
	struct buf *b = s->in, *big;
	size_t have;

	if (!b) {
		s->in = buf_take(s->w, want);
		return s->in ? 0 : -1;
	}
	have = b->end - b->start;
	if (want > b->cap) {
		big = buf_take(s->w, want);
		if (!big)
			return -1;
		memcpy(big->data, b->data + b->start, have);
		big->end = (uint32_t)have;
		buf_give(s->w, b);
		s->in = big;
	} else if (b->start && (b->end == b->cap || b->start + want > b->cap)) {
		memmove(b->data, b->data + b->start, have);
		b->start = 0;
		b->end = (uint32_t)have;
	}
	return 0;
}

enum io stream_fill(struct stream *s, size_t want)
{
	struct buf *b;
	ssize_t n;

	if (s->fd < 0)
		return IO_EOF;
	if (s->failed)
		return IO_FAIL;
	if (make_room(s, want)) {
		s->error = ENOMEM;
		return IO_FAIL;
	}
	b = s->in;
	if (b->end == b->cap)
		return IO_AGAIN;
	do {
		n = recv(s->fd, b->data + b->end, b->cap - b->end, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		b->end += (uint32_t)n;
		return IO_OK;
	}
	if (n < 0)
		s->error = errno;
	if (b->start == b->end) {
		buf_give(s->w, b);
		s->in = NULL;
	}
	if (n == 0)
		return IO_EOF;
	return s->error == EAGAIN || s->error == EWOULDBLOCK ? IO_AGAIN : IO_FAIL;
}

void stream_consume(struct stream *s, size_t n)
{
	struct buf *b = s->in;

	if (!b)
		return;
	b->start += (uint32_t)n;
	if (b->start == b->end) {
		buf_give(s->w, b);
		s->in = NULL;
	}
}

static int out_add(struct stream *s, const uint8_t *p, size_t n)
{
	if (s->out_at + s->out_len + n > s->out_cap) {
		size_t cap = s->out_len + n;
		uint8_t *q;

		if (cap > UINT32_MAX / 2)
			return -1;
		cap += cap / 2;
		q = malloc(cap);
		if (!q)
			return -1;
		if (s->out_len)
			memcpy(q, s->out + s->out_at, s->out_len);
		free(s->out);
		s->out = q;
		s->out_at = 0;
		s->out_cap = (uint32_t)cap;
	}
	memcpy(s->out + s->out_at + s->out_len, p, n);
	s->out_len += (uint32_t)n;
	return 0;
}

static ssize_t send_some(struct stream *s, const struct iovec *iov, int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };
	ssize_t got;

	do {
		got = n == 1 ? send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) :
			       sendmsg(s->fd, &m, MSG_NOSIGNAL);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return got;
}

static enum io send_failed(struct stream *s, int error)
{
	s->error = error;
	s->failed = true;
	/* Whoever owns it finds out through readable(), not here in the middle
	 * of something else. */
	wr_arm(s, true);
	return IO_FAIL;
}

enum io stream_sendv(struct stream *s, const struct iovec *iov, int n)
{
	ssize_t gone = 0;
	int i;

	if (s->fd < 0 || s->failed)
		return IO_FAIL;
	if (!s->out_len && !s->connecting) {
		gone = send_some(s, iov, n);
		if (gone < 0)
			return send_failed(s, errno);
	}
	for (i = 0; i < n; i++) {
		size_t len = iov[i].iov_len;

		if ((size_t)gone >= len) {
			gone -= (ssize_t)len;
			continue;
		}
		if (out_add(s, (const uint8_t *)iov[i].iov_base + gone, len - (size_t)gone))
			return send_failed(s, ENOMEM);
		gone = 0;
	}
	if (!s->out_len)
		return IO_OK;
	wr_arm(s, true);
	return IO_AGAIN;
}

enum io stream_send(struct stream *s, const void *p, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };

	return n ? stream_sendv(s, &v, 1) : IO_OK;
}

void stream_want(struct stream *s, bool on)
{
	s->wants = on;
	if (on && !s->rd_armed && s->fd >= 0) {
		event_add(&s->rd, NULL);
		s->rd_armed = true;
	}
}

bool stream_quiet(struct stream *s)
{
	char c;
	ssize_t n;

	if (s->fd < 0 || s->failed)
		return false;
	n = recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

void stream_detach(struct stream *s)
{
	if (s->rd_armed)
		event_del(&s->rd);
	s->rd_armed = false;
	wr_arm(s, false);
}

void stream_attach(struct stream *s, struct worker *w)
{
	assign(s, w);
	stream_want(s, s->wants);
}

int stream_release_fd(struct stream *s)
{
	int fd = s->fd;

	if (fd < 0)
		return -1;
	stream_detach(s);
	buf_give(s->w, s->in);
	s->in = NULL;
	free(s->out);
	s->out = NULL;
	s->out_len = s->out_at = s->out_cap = 0;
	s->fd = -1;
	return fd;
}

void stream_shut(struct stream *s)
{
	if (s->fd >= 0)
		shutdown(s->fd, SHUT_WR);
}

void stream_close(struct stream *s)
{
	int fd = stream_release_fd(s);

	if (fd >= 0)
		close(fd);
}
