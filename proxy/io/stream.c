/* proxy/io/stream.c - see stream.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of what TLS has said by itself. */
#define UNREAD_MAX 16384u

static void shake(struct stream *s);

static void rd_off(struct stream *s)
{
	if (!s->rd_armed)
		return;
	watch_off(&s->rd);
	list_del(&s->again.link);
	s->rd_armed = false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	(void)what;
	if (s->tls && !tls_ready(s->tls)) {
		if (s->failed)
			s->ops->secured(s, s->error);
		else
			shake(s);
		return;
	}
	if (s->failed)
		s->wants = true;
	if (!s->wants) {
		ssize_t n;

		/* What nobody wants now: only now is it worth a call. */
		rd_off(s);
		n = kernel_peek(s->fd);
		if (n > 0 || s->more || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)))
			return;
	}
	/* An end is told even to an owner who does not read, once: nobody should be
	 * given a server who is gone already. */
	worker_clock(s->w);
	s->ops->readable(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Its owner finds out through readable() or secured(), not in the middle of something
 * else. */
static void lost(struct stream *s, int error)
{
	s->error = error;
	s->failed = true;
	stream_want(s, true);
	worker_again(s->w, &s->again);
}

static void wr_arm(struct stream *s, bool on)
{
	if (on == (s->wr != NULL))
		return;
	if (!on) {
		watch_off(s->wr);
		free(s->wr);
		s->wr = NULL;
		return;
	}
	s->wr = malloc(sizeof(*s->wr));
	if (!s->wr) {
		lost(s, ENOMEM);
		return;
	}
	watch_init(s->wr, s->w->base, s->fd, WATCH_WRITE, on_writable, s);
	watch_on(s->wr);
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
		on_readable(fd, what, arg);
		return;
	case IO_OK:
	case IO_EOF:
	default:
		wr_arm(s, false);
		if (!s->tls || tls_ready(s->tls))
			s->ops->drained(s);
	}
}

static void assign(struct stream *s, struct worker *w)
{
	s->w = w;
	list_init(&s->again.link);
	s->again.watch = &s->rd;
	watch_init(&s->rd, w->base, s->fd, WATCH_READ, on_readable, s);
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
	if (s->wr)
		return 0;
	stream_close(s);
	errno = ENOMEM;
	return -1;
}

/* What is read at once where a usual buffer was filled: a large result, a COPY. */
#define BULK_READ (4 * BUF_SIZE)

/* Gives back a buffer of `in`. While there are secrets nothing of them is behind `end`. */
static void give_in(struct stream *s, struct buf *b)
{
	if (b && s->secret)
		explicit_bzero(b->data, b->end);
	buf_give(s->w, b);
}

void stream_secret(struct stream *s, bool on)
{
	struct buf *b = s->in;

	if (b && s->secret && !on)
		explicit_bzero(b->data, b->start);
	s->secret = on;
	if (s->tls)
		tls_wipe(s->tls, on);
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
		give_in(s, b);
		s->in = big;
	} else if (b->start && (b->end == b->cap || b->start + want > b->cap)) {
		memmove(b->data, b->data + b->start, have);
		if (s->secret)
			explicit_bzero(b->data + have, b->start);
		b->start = 0;
		b->end = (uint32_t)have;
	}
	return 0;
}

static void drop_empty(struct stream *s, struct buf *b)
{
	if (b->start != b->end)
		return;
	give_in(s, b);
	s->in = NULL;
}

/* What the other end makes TLS say (an answer to each KeyUpdate, say), and does not read. */
static bool talks_to_itself(struct stream *s, size_t had)
{
	if (!had)
		s->unread = 0;
	if (s->out_len > had)
		s->unread += (uint32_t)(s->out_len - had);
	if (s->out_len)
		wr_arm(s, true);
	return s->unread > UNREAD_MAX;
}

static enum io fill_tls(struct stream *s, struct buf *b)
{
	size_t got, had = s->out_len;
	enum tls_result r = tls_read(s->tls, b->data + b->end, b->cap - b->end, &got);

	b->end += (uint32_t)got;
	s->more = r == TLS_OK &&
		  ((b->end == b->cap && tls_buffered(s->tls)) || tls_over(s->tls));
	if (talks_to_itself(s, had) && !s->failed) {
		s->failed = true;
		s->error = ENOBUFS;
	} else if (r == TLS_OK) {
		if (s->more && s->rd_armed)
			worker_again(s->w, &s->again);
		return IO_OK;
	}
	drop_empty(s, b);
	if (s->failed)
		return IO_FAIL;
	if (r == TLS_FAIL)
		s->error = tls_error(s->tls);
	return r == TLS_AGAIN ? IO_AGAIN : r == TLS_EOF ? IO_EOF : IO_FAIL;
}

enum io stream_fill(struct stream *s, size_t want)
{
	struct buf *b;
	ssize_t n;

	if (s->fd < 0)
		return IO_EOF;
	if (s->bulk && want < BULK_READ && stream_have(s) <= BUF_CAP / 2)
		want = BULK_READ;
	if (make_room(s, want)) {
		s->error = ENOMEM;
		return IO_FAIL;
	}
	b = s->in;
	if (b->end == b->cap)
		return IO_AGAIN;
	if (s->tls)
		return fill_tls(s, b);
	n = kernel_recv(s->fd, b->data + b->end, b->cap - b->end);
	if (n > 0) {
		b->end += (uint32_t)n;
		s->bulk = !s->secret && (b->end == b->cap || (s->bulk && (size_t)n > BUF_CAP));
		return IO_OK;
	}
	if (n < 0 && !s->failed)
		s->error = errno;
	drop_empty(s, b);
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
	give_in(s, s->in);
	s->in = b;
	return 0;
}

void stream_consume(struct stream *s, size_t n)
{
	struct buf *b = s->in;

	if (!b)
		return;
	b->start += (uint32_t)n;
	drop_empty(s, b);
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
	lost(s, error);
	return IO_FAIL;
}

/* ---- TLS ---- */

static ssize_t tls_recv(void *arg, void *p, size_t n)
{
	struct stream *s = arg;
	size_t have = stream_have(s);

	/* what was read before it was known to be TLS */
	if (have && !tls_ready(s->tls)) {
		if (n > have)
			n = have;
		memcpy(p, stream_data(s), n);
		stream_consume(s, n);
		return (ssize_t)n;
	}
	return kernel_recv(s->fd, p, n);
}

/* Takes all: what the kernel does not take waits in `out`. */
static ssize_t tls_send(void *arg, const void *p, size_t n)
{
	struct stream *s = arg;
	struct iovec v = { (void *)(uintptr_t)p, n };
	ssize_t gone = 0;

	if (!s->out_len) {
		gone = kernel_send(s->fd, &v, 1);
		if (gone < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
			return -1;
		if (gone < 0)
			gone = 0;
	}
	if ((size_t)gone < n && out_add(s, (const uint8_t *)p + gone, n - (size_t)gone)) {
		errno = ENOMEM;
		return -1;
	}
	return (ssize_t)n;
}

static const struct tls_io tls_stream = { tls_recv, tls_send };

int stream_tls(struct stream *s, struct tls_ctx *ctx, const struct tls_peer *peer)
{
	s->tls = tls_new(ctx, peer, &tls_stream, s);
	if (!s->tls)
		return -1;
	tls_wipe(s->tls, s->secret);
	stream_want(s, true);
	worker_again(s->w, &s->again); /* it may be for us to begin, and what has come is not told again */
	return 0;
}

static void shake(struct stream *s)
{
	enum tls_result r;

	if (!heavy_begin(s->w)) {
		worker_again(s->w, &s->again);
		return;
	}
	r = tls_handshake(s->tls);
	heavy_end(s->w);
	if (r == TLS_AGAIN && stream_have(s)) {
		worker_again(s->w, &s->again); /* of what was there before, a part has been taken */
		return;
	}
	wr_arm(s, s->out_len > 0);
	if (r == TLS_AGAIN)
		return;
	if (r == TLS_OK) {
		s->more = tls_buffered(s->tls);
		if (s->more)
			worker_again(s->w, &s->again);
		s->ops->secured(s, 0);
		return;
	}
	s->error = tls_error(s->tls);
	s->ops->secured(s, s->error ? s->error : EPROTO);
}

/* One record, if it fits one: then it is one send too. */
static enum io send_tls(struct stream *s, const struct iovec *iov, int n)
{
	struct buf *b = NULL;
	enum tls_result r = TLS_OK;
	size_t total = 0;
	int i;

	if (!tls_ready(s->tls))
		return send_failed(s, EPROTO);
	for (i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (n > 1 && total <= BUF_CAP)
		b = buf_take(s->w, 0);
	for (i = 0; b && i < n; i++) {
		memcpy(b->data + b->end, iov[i].iov_base, iov[i].iov_len);
		b->end += (uint32_t)iov[i].iov_len;
	}
	if (b)
		r = tls_write(s->tls, b->data, b->end);
	for (i = 0; !b && i < n && r == TLS_OK; i++)
		if (iov[i].iov_len)
			r = tls_write(s->tls, iov[i].iov_base, iov[i].iov_len);
	buf_give(s->w, b);
	if (r != TLS_OK)
		return send_failed(s, tls_error(s->tls));
	if (!s->out_len)
		return IO_OK;
	wr_arm(s, true);
	return IO_AGAIN;
}

const char *stream_why(const struct stream *s)
{
	return s->tls && s->error == tls_error(s->tls) && *tls_why(s->tls) ? tls_why(s->tls) :
									   strerror(s->error);
}

enum io stream_sendv(struct stream *s, const struct iovec *iov, int n)
{
	ssize_t gone = 0;
	int i;

	if (s->fd < 0 || s->failed)
		return IO_FAIL;
	if (s->tls)
		return send_tls(s, iov, n);
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
	/* also when it was on all the time: the turn that it was told in may have passed */
	if (on && s->more && s->rd_armed)
		worker_again(s->w, &s->again);
}

void stream_look(struct stream *s)
{
	on_readable(s->fd, EV_READ, s);
}

void stream_again(struct stream *s)
{
	if (s->rd_armed)
		worker_again(s->w, &s->again);
}

bool stream_quiet(struct stream *s)
{
	if (s->fd < 0 || s->failed || s->more)
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
	rd_off(s);
	wr_arm(s, false);
}

void stream_attach(struct stream *s, struct worker *w)
{
	assign(s, w);
	if (s->tls)
		tls_moved(s->tls, &w->tls_sessions);
	stream_want(s, s->wants);
}

int stream_release_fd(struct stream *s)
{
	int fd = s->fd;

	if (fd < 0)
		return -1;
	stream_detach(s);
	give_in(s, s->in);
	s->in = NULL;
	free(s->out);
	s->out = NULL;
	s->out_len = s->out_at = s->out_cap = 0;
	tls_free(s->tls);
	s->tls = NULL;
	s->more = false;
	s->fd = -1;
	return fd;
}

void stream_shut(struct stream *s)
{
	if (s->fd < 0)
		return;
	if (s->tls)
		tls_goodbye(s->tls);
	kernel_shut(s->fd);
}

void stream_close(struct stream *s)
{
	int fd;

	if (s->tls && !s->out_len && !s->failed)
		tls_goodbye(s->tls);
	fd = stream_release_fd(s);
	if (fd >= 0)
		kernel_close(fd);
}
