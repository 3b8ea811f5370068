/* proxy/io/stream.c - see stream.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (!s->wants) {
		/* What nobody wants now: only now is it worth a call. */
		watch_off(&s->rd);
		s->rd_armed = false;
		if (kernel_peek(s->fd) > 0)
			return;
	}
	/* An end is told even to an owner who does not read, once: nobody should be
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
		watch_on(&s->wr);
	else
		watch_off(&s->wr);
}

static void finish_connect(struct stream *s)
{
	int error = s->error;

	s->connecting = false;
	wr_arm(s, s->out_len > 0);
	if (!error)
		error = kernel_error(s->fd);
	if (!error)
		stream_want(s, true);
	s->ops->connected(s, error);
}

/* Sends what waits in `out`. */
static enum io flush_out(struct stream *s)
{
	while (s->out_len) {
		struct iovec v = { s->out + s->out_at, s->out_len };
		ssize_t n = kernel_send(s->fd, &v, 1);

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
	watch_init(&s->rd, w->base, s->fd, WATCH_READ, on_readable, s);
	watch_init(&s->wr, w->base, s->fd, WATCH_WRITE, on_writable, s);
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
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->w = w;
	/* A refusal that comes at once (unix sockets) is told like the others,
	 * from the loop: an unconnected socket is writable. */
	s->fd = kernel_connect(sa, len, &s->error);
	if (s->fd < 0)
		return -1;
	assign(s, w);
	s->connecting = true;
	wr_arm(s, true);
	return 0;
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
	if (make_room(s, want)) {
		s->error = ENOMEM;
		return IO_FAIL;
	}
	b = s->in;
	if (b->end == b->cap)
		return IO_AGAIN;
	n = kernel_recv(s->fd, b->data + b->end, b->cap - b->end);
	if (n > 0) {
		b->end += (uint32_t)n;
		return IO_OK;
	}
	if (n < 0 && !s->failed)
		s->error = errno;
	if (b->start == b->end) {
		buf_give(s->w, b);
		s->in = NULL;
	}
	if (s->failed) /* what the other end had said before is read */
		return IO_FAIL;
	if (n == 0)
		return IO_EOF;
	return s->error == EAGAIN || s->error == EWOULDBLOCK ? IO_AGAIN : IO_FAIL;
}

int stream_unread(struct stream *s, const void *p, size_t n)
{
	size_t have = stream_have(s);
	struct buf *b;

	if (!n)
		return 0;
	b = buf_take(s->w, have + n);
	if (!b)
		return -1;
	memcpy(b->data, p, n);
	if (have)
		memcpy(b->data + n, stream_data(s), have);
	b->start = 0;
	b->end = (uint32_t)(have + n);
	if (s->in)
		buf_give(s->w, s->in);
	s->in = b;
	return 0;
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
		gone = kernel_send(s->fd, iov, n);
		if (gone < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
			return send_failed(s, errno);
		if (gone < 0)
			gone = 0;
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
		watch_on(&s->rd);
		s->rd_armed = true;
	}
}

bool stream_quiet(struct stream *s)
{
	if (s->fd < 0 || s->failed)
		return false;
	return kernel_peek(s->fd) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool stream_broken(struct stream *s)
{
	return s->failed || (s->fd >= 0 && kernel_peek(s->fd) < 0 && errno != EAGAIN &&
			     errno != EWOULDBLOCK);
}

bool stream_gone(struct stream *s)
{
	ssize_t n;

	if (s->failed || s->fd < 0)
		return true;
	n = kernel_peek(s->fd);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

void stream_detach(struct stream *s)
{
	if (s->rd_armed)
		watch_off(&s->rd);
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
		kernel_shut(s->fd);
}

void stream_close(struct stream *s)
{
	int fd = stream_release_fd(s);

	if (fd >= 0)
		kernel_close(fd);
}
