/* proxy/io/stream.h - one connection: a non-blocking socket, what has come in
 * and what could not yet go out. Knows no client and no server.
 *
 * Owner:   embedded in a client, a server or a cancel request.
 * Threads: its worker's.
 *
 * It writes first and asks epoll only after EAGAIN; reading is switched off
 * lazily, when bytes come that nobody wants. In steady state a query costs one
 * recv and one send on each side and no epoll_ctl.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_STREAM_H
#define PGWEIR_IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/tls.h"
#include "io/worker.h"

enum io { IO_OK = 0, IO_AGAIN, IO_EOF, IO_FAIL };

struct stream;

/* What the owner is told. It may close the stream in any of them. */
struct stream_ops {
	/* bytes, EOF or an error wait: stream_fill(). An owner who does not want it is
	 * told of an end, once. */
	void (*readable)(struct stream *s);
	void (*drained)(struct stream *s);   /* all of `out` has gone */
	void (*connected)(struct stream *s, int error);  /* after stream_connect(); errno or 0 */
	/* after stream_tls(): error 0, or errno and stream_why() */
	void (*secured)(struct stream *s, int error);
};

struct stream {
	struct worker *w;
	const struct stream_ops *ops;
	struct watch rd;
	struct watch *wr;            /* while it waits to be writable */
	struct again again;          /* rd, in the next turn */
	struct buf *in;              /* NULL while it would be empty */
	struct tls *tls;             /* NULL: in clear. Then `in` is clear and `out` is not */
	uint8_t *out;                /* what the kernel did not take */
	uint32_t out_at, out_len, out_cap;
	uint32_t unread;             /* TLS: of `out`, what it says by itself */
	int fd;                      /* -1: closed */
	int error;                   /* errno of the last IO_FAIL */
	bool wants;                  /* the owner wants readable() */
	bool rd_armed;
	bool connecting;
	bool secret;                 /* buffers of `in` are wiped when they are given back */
	bool failed;                 /* a write has failed: told by the next fill */
	bool more;                   /* TLS: bytes are there that no loop tells of */
	bool bulk;                   /* it fills its buffers: larger ones pay */
};

/* Takes over an open non-blocking fd and starts reading. */
void stream_open(struct stream *s, struct worker *w, int fd, const struct stream_ops *ops);
/* Starts to connect; connected() tells the end, never from within this call.
 * -1: no socket (errno). */
MUST_CHECK int stream_connect(struct stream *s, struct worker *w, const struct sockaddr *sa,
			      socklen_t len, const struct stream_ops *ops);

/* TLS from now on; the handshake begins and secured() tells the end, never from within
 * this call. peer NULL: the other end begins it; what is in `in` is the beginning of it.
 * Nothing may be sent before it is done. -1: out of memory. */
MUST_CHECK int stream_tls(struct stream *s, struct tls_ctx *ctx, const struct tls_peer *peer);
static inline bool stream_is_tls(const struct stream *s)
{
	return s->tls != NULL;
}
/* What went wrong, after an IO_FAIL or an error of secured(). */
const char *stream_why(const struct stream *s);

/* After a write has failed: what had come before is still read, then IO_FAIL.
 * Reads once into `in`, making the buffer large enough for `want` bytes from
 * its start (0: the usual). IO_AGAIN also when the buffer is full. */
enum io stream_fill(struct stream *s, size_t want);
/* Bytes waiting in `in`. */
static inline size_t stream_have(const struct stream *s)
{
	return s->in ? s->in->end - s->in->start : 0;
}
static inline uint8_t *stream_data(const struct stream *s)
{
	return s->in->data + s->in->start;
}
/* After a fill that had `had` bytes before it: a read that did not fill the
 * buffer was the last there is for now, and another would only say EAGAIN. */
static inline bool stream_had_it_all(const struct stream *s, size_t had)
{
	return stream_have(s) - had < BUF_CAP / 2 && s->in->end < s->in->cap;
}
/* n bytes of `in` are done with; an empty buffer goes back. */
void stream_consume(struct stream *s, size_t n);

/* Puts n bytes in front of what is in `in`. -1: out of memory. */
MUST_CHECK int stream_unread(struct stream *s, const void *p, size_t n);

/* Sends all of it: what the kernel does not take is copied and goes when it
 * can. IO_OK: gone. IO_AGAIN: some of it waits in `out`, the caller should stop
 * making more until drained(). IO_FAIL: the connection is lost (or out of
 * memory); readable() will tell too. */
enum io stream_sendv(struct stream *s, const struct iovec *iov, int n);
enum io stream_send(struct stream *s, const void *p, size_t n);
static inline bool stream_backed_up(const struct stream *s)
{
	return s->out_len > 0;
}

/* Whether readable() is wanted. */
void stream_want(struct stream *s, bool on);
/* As if the loop had found bytes there. */
void stream_look(struct stream *s);
/* Its owner, who wants to read, is called again in the next turn, as if more had come. */
void stream_again(struct stream *s);
/* on: what comes may be a password, and no copy of it is to stay where it has been read.
 * off: no more of that; what has been consumed is wiped. */
void stream_secret(struct stream *s, bool on);
/* MSG_PEEK: the other end has said that nothing more comes, or is not there. */
bool stream_gone(struct stream *s);
/* MSG_PEEK: true when there is neither EOF nor an error nor a byte waiting. */
bool stream_quiet(struct stream *s);

/* It was reset, and all that came before has been read: the other end is gone, not only
 * silent. */
bool stream_broken(struct stream *s);

/* Takes the stream off its loop (no events, both buffers must be empty), and
 * puts it on another worker's. */
void stream_detach(struct stream *s);
void stream_attach(struct stream *s, struct worker *w);

/* No more will be sent: the peer reads EOF behind what was. */
void stream_shut(struct stream *s);
/* Closes; idempotent. */
void stream_close(struct stream *s);
/* Gives the fd away: the stream is closed, the fd is not, and nothing more is said on it. */
int stream_release_fd(struct stream *s);

#endif
