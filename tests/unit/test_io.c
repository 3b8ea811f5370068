/* tests/unit/test_io.c - one connection and one loop: letters across threads,
 * deadlines, the grave, buffers; streams against a peer that gives one byte at
 * a time, does not read, ends or breaks off anywhere.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/io/mbox.h"
#include "proxy/io/stream.h"
#include "proxy/io/worker.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct log quiet = {.fd = -1};

static void open_worker(struct worker *w)
{
	struct err e;

	if (worker_init(w, 0, &quiet, NULL, NULL, &e))
		fail_msg("%s", e.text);
}

static void close_worker(struct worker *w)
{
	assert_int_equal(w->buf_bytes, 0); /* every buffer came back */
	worker_free(w);
}

/* One look at the sockets, without waiting. */
static void spin(struct worker *w)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static void on_stop(struct deadline *d);

struct stopper {
	struct deadline d;
	struct worker *w;
};

static void on_stop(struct deadline *d)
{
	((struct stopper *)(void *)d)->w->done = true;
}

/* Runs the loop for so long. */
static void run_for(struct worker *w, uint64_t us)
{
	struct stopper s = {.w = w};

	deadline_init(&s.d, on_stop);
	deadline_set(w, DEADLINE_KINDS - 1, &s.d, worker_clock(w) + us);
	w->done = false;
	worker_run(w);
}

/* ---- letters ---- */

struct numbered {
	struct letter l;
	unsigned from, number;
};

static bool readable(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, 0) == 1;
}

static void test_mbox_order(void **state)
{
	struct mbox m;
	struct numbered n[5];
	struct letter *l;
	unsigned i, k;

	(void)state;
	assert_int_equal(mbox_init(&m), 0);
	assert_null(mbox_take(&m));
	for (k = 0; k < 6; k++) {
		assert_false(readable(m.fd));
		for (i = 0; i < k && i < COUNT(n); i++) {
			n[i].number = i;
			mbox_post(&m, &n[i].l);
			assert_true(readable(m.fd));
		}
		for (i = 0, l = mbox_take(&m); l; l = l->next)
			assert_int_equal(((struct numbered *)(void *)l)->number, i++);
		assert_int_equal(i, k < COUNT(n) ? k : COUNT(n));
		assert_false(readable(m.fd));
	}
	mbox_close(&m);
	mbox_close(&m);
}

#define POSTERS 3
#define POSTS 3000

static unsigned seen_from[POSTERS], seen_n;

static void on_numbered(struct worker *w, struct letter *l)
{
	struct numbered *n = (struct numbered *)(void *)l;

	assert_int_equal(n->number, seen_from[n->from]++);
	free(n);
	if (++seen_n == POSTERS * POSTS)
		w->done = true;
}

struct poster {
	struct worker *w;
	unsigned number;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;
	unsigned i;

	for (i = 0; i < POSTS; i++) {
		struct numbered *n = calloc(1, sizeof(*n));

		if (!n)
			abort();
		n->l.deliver = on_numbered;
		n->from = p->number;
		n->number = i;
		worker_post(p->w, &n->l);
		if (i % 100 == 0) /* let it fall asleep */
			usleep(200);
	}
	return NULL;
}

/* A loop that sleeps without a timer is woken by every letter: else this does
 * not end. */
static void test_letters_wake(void **state)
{
	struct worker w;
	struct poster p[POSTERS];
	pthread_t t[POSTERS];
	unsigned i;

	(void)state;
	open_worker(&w);
	memset(seen_from, 0, sizeof(seen_from));
	seen_n = 0;
	for (i = 0; i < POSTERS; i++) {
		p[i] = (struct poster){&w, i};
		assert_int_equal(pthread_create(&t[i], NULL, post_many, &p[i]), 0);
	}
	worker_run(&w);
	for (i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(seen_n, POSTERS * POSTS);
	close_worker(&w);
}

/* ---- deadlines ---- */

struct timed {
	struct deadline d;
	char name;
	struct worker *w;
	struct timed *clear;   /* what its firing takes away */
	unsigned again;        /* how often it sets itself anew */
};

static char fired[64];
static unsigned fired_n;

static void on_fire(struct deadline *d)
{
	struct timed *t = (struct timed *)(void *)d;

	assert_false(deadline_is_set(d));
	assert_true(t->w->now_us >= d->at_us);
	assert_true(fired_n + 1 < sizeof(fired));
	fired[fired_n++] = t->name;
	fired[fired_n] = 0;
	if (t->clear)
		deadline_clear(&t->clear->d);
	if (t->again) {
		t->again--;
		deadline_set(t->w, 0, d, t->w->now_us + 1000);
	}
}

static void arm(struct worker *w, struct timed *t, char name, unsigned kind, uint64_t in)
{
	memset(t, 0, sizeof(*t));
	t->name = name;
	t->w = w;
	deadline_init(&t->d, on_fire);
	deadline_set(w, kind, &t->d, worker_clock(w) + in);
}

static void test_deadline_order(void **state)
{
	struct worker w;
	struct timed t[8];
	uint64_t at;
	unsigned i;

	(void)state;
	open_worker(&w);
	fired_n = 0;
	arm(&w, &t[0], 'c', 0, 9000);
	arm(&w, &t[1], 'a', 0, 3000);
	arm(&w, &t[2], 'b', 0, 6000);
	arm(&w, &t[3], 'x', 0, 1000);
	deadline_set(&w, 0, &t[3].d, t[0].d.at_us + 3000); /* moved */
	run_for(&w, 30000);
	assert_string_equal(fired, "abcx");
	/* the same time: as they were set; a past one at once */
	fired_n = 0;
	at = worker_clock(&w) + 2000;
	for (i = 0; i < 5; i++) {
		arm(&w, &t[i], (char)('1' + i), 1, 0);
		deadline_set(&w, 1, &t[i].d, at);
	}
	arm(&w, &t[5], 'p', 1, 0);
	deadline_set(&w, 1, &t[5].d, 1);
	deadline_clear(&t[2].d);
	assert_false(deadline_is_set(&t[2].d));
	deadline_clear(&t[2].d);
	run_for(&w, 20000);
	assert_string_equal(fired, "p1245");
	/* kinds do not mix: each has its head looked at, late or not */
	fired_n = 0;
	arm(&w, &t[0], 'L', 2, 3600000000u);
	arm(&w, &t[1], 'y', 3, 4000);
	arm(&w, &t[2], 'z', 4, 1000);
	run_for(&w, 20000);
	/* in whichever order, if the machine is slow and finds both due */
	assert_true(strcmp(fired, "zy") == 0 || strcmp(fired, "yz") == 0);
	assert_true(deadline_is_set(&t[0].d));
	deadline_clear(&t[0].d);
	close_worker(&w);
}

static void test_deadline_inside(void **state)
{
	struct worker w;
	struct timed t[5];

	(void)state;
	open_worker(&w);
	fired_n = 0;
	arm(&w, &t[0], 'a', 0, 1000);
	arm(&w, &t[1], 'b', 0, 1000);
	arm(&w, &t[2], 'c', 0, 1000);
	arm(&w, &t[3], 'd', 1, 1000);
	deadline_set(&w, 0, &t[1].d, t[0].d.at_us); /* one turn finds them all due */
	deadline_set(&w, 0, &t[2].d, t[0].d.at_us);
	deadline_set(&w, 1, &t[3].d, t[0].d.at_us);
	t[0].clear = &t[1]; /* the next in the same list */
	t[2].clear = &t[3]; /* one of another kind, due as well */
	run_for(&w, 20000);
	assert_string_equal(fired, "ac");
	/* itself anew, three times, each in a later turn */
	fired_n = 0;
	arm(&w, &t[4], 'r', 0, 500);
	t[4].again = 3;
	t[4].clear = &t[0];
	run_for(&w, 50000);
	assert_string_equal(fired, "rrrr");
	assert_false(deadline_is_set(&t[4].d));
	close_worker(&w);
}

/* An earlier deadline that is set later still wakes the loop in time. */
static void test_deadline_earlier(void **state)
{
	struct worker w;
	struct timed t[2];
	uint64_t start, took;

	(void)state;
	open_worker(&w);
	fired_n = 0;
	arm(&w, &t[0], 'l', 0, 60000000);
	run_for(&w, 1000); /* the timer is set to a minute from now, or the stop */
	arm(&w, &t[1], 'e', 1, 5000);
	start = clock_mono_us();
	run_for(&w, 30000);
	took = clock_mono_us() - start;
	assert_string_equal(fired, "e");
	assert_in_range(took, 25000, 5000000);
	deadline_clear(&t[0].d);
	close_worker(&w);
}

/* ---- the grave ---- */

struct body {
	struct corpse c;
	struct worker *w;
	struct body *next;     /* buried by its burial */
};

static unsigned buried;

static void on_bury(struct corpse *c)
{
	struct body *b = (struct body *)(void *)c;

	buried++;
	if (b->next)
		worker_bury(b->w, &b->next->c, on_bury);
	free(b);
}

static struct body *body(struct worker *w, struct body *next)
{
	struct body *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->w = w;
	b->next = next;
	return b;
}

static void test_grave(void **state)
{
	struct worker w;

	(void)state;
	open_worker(&w);
	buried = 0;
	worker_bury(&w, &body(&w, NULL)->c, on_bury);
	worker_bury(&w, &body(&w, body(&w, body(&w, NULL)))->c, on_bury);
	assert_int_equal(buried, 0); /* not before the end of the turn */
	run_for(&w, 0);
	assert_int_equal(buried, 4);
	worker_bury(&w, &body(&w, body(&w, NULL))->c, on_bury);
	close_worker(&w); /* and at the end, too */
	assert_int_equal(buried, 6);
}

/* ---- buffers ---- */

static void test_buffers(void **state)
{
	static struct buf *b[BUF_SPARE_MAX + 10];
	struct worker w;
	struct buf *big, *one;
	unsigned i;

	(void)state;
	open_worker(&w);
	one = buf_take(&w, 0);
	assert_int_equal(one->cap, BUF_CAP);
	buf_give(&w, one);
	assert_ptr_equal(buf_take(&w, BUF_CAP), one); /* the same again */
	buf_give(&w, one);
	big = buf_take(&w, BUF_CAP + 1);
	assert_int_equal(big->cap, BUF_CAP + 1);
	assert_int_equal(w.buf_bytes, BUF_CAP + 1);
	buf_give(&w, big);
	buf_give(&w, NULL);
	assert_int_equal(w.spare_n, 1);
	for (i = 0; i < COUNT(b); i++)
		assert_non_null(b[i] = buf_take(&w, 0));
	for (i = 0; i < COUNT(b); i++)
		buf_give(&w, b[i]);
	assert_int_equal(w.spare_n, BUF_SPARE_MAX);
	assert_null(buf_take(&w, SIZE_MAX / 2));
	close_worker(&w);
}

/* ---- streams ---- */

struct end {
	struct stream s;
	uint8_t *got;
	size_t got_n, got_cap;
	size_t want;           /* for stream_fill() */
	unsigned readables, drained, connected;
	int error;             /* of connected() */
	enum io last;
	bool close_at_end;
};

static void take_bytes(struct end *e)
{
	size_t n = stream_have(&e->s);

	if (e->got_n + n > e->got_cap) {
		e->got_cap = (e->got_n + n) * 2;
		e->got = realloc(e->got, e->got_cap);
		assert_non_null(e->got);
	}
	if (n)
		memcpy(e->got + e->got_n, stream_data(&e->s), n);
	e->got_n += n;
	stream_consume(&e->s, n);
}

static void on_readable(struct stream *s)
{
	struct end *e = (struct end *)(void *)s;

	e->readables++;
	e->last = stream_fill(s, e->want);
	if (e->last == IO_OK)
		take_bytes(e);
	else if (e->last != IO_AGAIN)
		stream_close(s);
}

static void on_drained(struct stream *s)
{
	((struct end *)(void *)s)->drained++;
}

static void on_connected(struct stream *s, int error)
{
	struct end *e = (struct end *)(void *)s;

	e->connected++;
	e->error = error;
	if (error)
		stream_close(s);
}

static const struct stream_ops ops = {on_readable, on_drained, on_connected, NULL};

/* A stream and the fd of its peer. */
static int open_pair(struct worker *w, struct end *e)
{
	int fd[2];

	memset(e, 0, sizeof(*e));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	stream_open(&e->s, w, fd[0], &ops);
	return fd[1];
}

static void close_end(struct end *e, int peer)
{
	stream_close(&e->s);
	stream_close(&e->s);
	assert_int_equal(e->s.fd, -1);
	free(e->got);
	e->got = NULL;
	if (peer >= 0)
		close(peer);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 131 + i / 251);
}

static void test_byte_by_byte(void **state)
{
	struct worker w;
	struct end e;
	size_t i;
	int peer;

	(void)state;
	open_worker(&w);
	peer = open_pair(&w, &e);
	for (i = 0; i < 300; i++) {
		uint8_t b = pattern(i);

		assert_int_equal(write(peer, &b, 1), 1);
		spin(&w);
		assert_int_equal(e.got_n, i + 1);
		assert_int_equal(e.got[i], b);
		assert_null(e.s.in); /* an empty buffer is not kept */
	}
	assert_int_equal(e.readables, 300); /* and nothing for nothing */
	assert_int_equal(stream_fill(&e.s, 0), IO_AGAIN);
	assert_null(e.s.in);
	close_end(&e, peer);
	close_worker(&w);
}

/* The peer does not read: what the kernel does not take waits, and goes in
 * order when it can. */
static void test_short_writes(void **state)
{
	struct worker w;
	struct end e;
	size_t total = 0, seen = 0, i;
	uint8_t b[10000];
	int peer, k;
	bool backed_up = false;

	(void)state;
	open_worker(&w);
	peer = open_pair(&w, &e);
	for (k = 0; k < 100; k++) {
		struct iovec v[3] = {{b, 1}, {b + 1, 0}, {b + 1, 4999}};
		enum io r;

		for (i = 0; i < sizeof(b); i++)
			b[i] = pattern(total + i);
		/* in one piece, and in several */
		r = k & 1 ? stream_sendv(&e.s, v, 3) : stream_send(&e.s, b, sizeof(b));
		total += k & 1 ? 5000 : sizeof(b);
		assert_int_equal(r, stream_backed_up(&e.s) ? IO_AGAIN : IO_OK);
		backed_up |= r == IO_AGAIN;
	}
	assert_true(backed_up);
	assert_int_equal(e.drained, 0);
	for (k = 0; seen < total && k < 100000; k++) {
		ssize_t n = read(peer, b, (size_t)(k % 7 == 0 ? 1 : 3001));

		for (i = 0; (ssize_t)i < n; i++)
			assert_int_equal(b[i], pattern(seen + i));
		seen += n > 0 ? (size_t)n : 0;
		if (k % 3 == 0 || n <= 0)
			spin(&w);
	}
	assert_int_equal(seen, total);
	assert_int_equal(e.drained, 1);
	assert_false(stream_backed_up(&e.s));
	assert_null(e.s.out);
	assert_int_equal(stream_send(&e.s, "x", 1), IO_OK);
	assert_int_equal(stream_send(&e.s, "", 0), IO_OK);
	close_end(&e, peer);
	close_worker(&w);
}

/* More than the kernel takes in one call, cut inside any of the pieces. */
static void test_short_vector(void **state)
{
	static uint8_t b[900000], back[sizeof(b)];
	static const size_t first[] = {1, 100, 200000, 400000, 899999};
	struct worker w;
	struct end e;
	size_t k, i, seen;
	int peer, turns;

	(void)state;
	open_worker(&w);
	for (i = 0; i < sizeof(b); i++)
		b[i] = pattern(i);
	for (k = 0; k < COUNT(first); k++) {
		struct iovec v[3] = {{b, first[k]},
				     {b + first[k], (sizeof(b) - first[k]) / 2},
				     {NULL, 0}};

		v[2].iov_base = b + v[0].iov_len + v[1].iov_len;
		v[2].iov_len = sizeof(b) - v[0].iov_len - v[1].iov_len;
		peer = open_pair(&w, &e);
		assert_int_equal(stream_sendv(&e.s, v, 3), IO_AGAIN);
		for (seen = 0, turns = 0; seen < sizeof(b) && turns < 100000; turns++) {
			ssize_t n = read(peer, back + seen, sizeof(b) - seen);

			seen += n > 0 ? (size_t)n : 0;
			spin(&w);
		}
		assert_int_equal(seen, sizeof(b));
		assert_memory_equal(b, back, sizeof(b));
		close_end(&e, peer);
	}
	close_worker(&w);
}

/* EOF after any number of bytes: first they, then it. */
static void test_eof(void **state)
{
	struct worker w;
	struct end e;
	size_t n;
	int peer;

	(void)state;
	open_worker(&w);
	for (n = 0; n < 20; n++) {
		peer = open_pair(&w, &e);
		assert_int_equal(write(peer, "01234567890123456789", n), n);
		if (n % 2)
			spin(&w);
		close(peer);
		spin(&w);
		assert_int_equal(e.last, IO_EOF);
		assert_int_equal(e.got_n, n);
		assert_int_equal(e.s.fd, -1);
		assert_int_equal(stream_fill(&e.s, 0), IO_EOF);
		assert_int_equal(stream_send(&e.s, "x", 1), IO_FAIL);
		assert_false(stream_quiet(&e.s));
		close_end(&e, -1);
	}
	/* half closed: the other direction still works */
	peer = open_pair(&w, &e);
	stream_shut(&e.s);
	assert_int_equal(read(peer, &n, 1), 0);
	assert_int_equal(write(peer, "y", 1), 1);
	spin(&w);
	assert_int_equal(e.got_n, 1);
	close_end(&e, peer);
	close_worker(&w);
}

/* The peer is gone while bytes wait for it: told by readable(), once it is
 * looked at, not in the middle of sending. */
static void test_reset(void **state)
{
	static uint8_t much[1 << 20];
	struct worker w;
	struct end e;
	int peer;

	(void)state;
	open_worker(&w);
	peer = open_pair(&w, &e);
	assert_int_equal(stream_send(&e.s, much, sizeof(much)), IO_AGAIN);
	close(peer);
	spin(&w);
	assert_true(e.last == IO_EOF || e.last == IO_FAIL);
	assert_int_equal(e.drained, 0);
	close_end(&e, -1);
	/* a write that fails at once: nothing has been told when it returns */
	peer = open_pair(&w, &e);
	stream_want(&e.s, false);
	close(peer);
	assert_int_equal(stream_send(&e.s, "x", 1), IO_FAIL);
	assert_int_equal(e.s.error, EPIPE);
	assert_int_equal(stream_send(&e.s, "x", 1), IO_FAIL);
	assert_int_equal(e.readables, 0);
	assert_false(stream_quiet(&e.s));
	spin(&w);
	assert_true(e.readables > 0);
	assert_int_equal(e.last, IO_FAIL);
	close_end(&e, -1);
	close_worker(&w);
}

/* TCP: a reset, and bytes before it. */
static int tcp_listener(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(a, 0, sizeof(*a));
	a->sin_family = AF_INET;
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)a, sizeof(*a)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)a, &len), 0);
	return fd;
}

static void test_tcp(void **state)
{
	struct linger hard = {1, 0};
	struct kernel_tcp tcp = {true, 10, 5, 3, 1000};
	struct sockaddr_in a;
	struct worker w;
	struct end e = {.last = IO_OK};
	int fd = tcp_listener(&a), peer, i;

	(void)state;
	open_worker(&w);
	assert_int_equal(stream_connect(&e.s, &w, (struct sockaddr *)&a, sizeof(a), &ops), 0);
	assert_int_equal(e.connected, 0); /* never from within the call */
	for (i = 0; i < 1000 && !e.connected; i++)
		run_for(&w, 1000);
	assert_int_equal(e.connected, 1);
	assert_int_equal(e.error, 0);
	kernel_tcp(e.s.fd, &tcp);
	peer = accept(fd, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(write(peer, "bytes", 5), 5);
	run_for(&w, 2000);
	assert_int_equal(e.got_n, 5);
	assert_int_equal(stream_send(&e.s, "back", 4), IO_OK);
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(peer);
	run_for(&w, 2000);
	assert_int_equal(e.last, IO_FAIL);
	assert_int_equal(e.s.error, ECONNRESET);
	close_end(&e, -1);
	close(fd);
	close_worker(&w);
}

static void test_connect_refused(void **state)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	struct sockaddr_in a;
	struct worker w;
	struct end e = {.last = IO_OK};
	int fd, i;

	(void)state;
	open_worker(&w);
	/* at once: there is no such socket */
	snprintf(u.sun_path, sizeof(u.sun_path), "/nonexistent/pgweir-test");
	assert_int_equal(stream_connect(&e.s, &w, (struct sockaddr *)&u, sizeof(u), &ops), 0);
	assert_int_equal(e.connected, 0);
	spin(&w);
	assert_int_equal(e.connected, 1);
	assert_int_equal(e.error, ENOENT);
	close_end(&e, -1);
	/* later: nobody listens on that port any more */
	fd = tcp_listener(&a);
	close(fd);
	memset(&e, 0, sizeof(e));
	assert_int_equal(stream_connect(&e.s, &w, (struct sockaddr *)&a, sizeof(a), &ops), 0);
	assert_int_equal(e.connected, 0);
	for (i = 0; i < 1000 && !e.connected; i++)
		run_for(&w, 1000);
	assert_int_equal(e.connected, 1);
	assert_int_equal(e.error, ECONNREFUSED);
	close_end(&e, -1);
	/* closed while it connects: connected() is never told */
	fd = tcp_listener(&a);
	memset(&e, 0, sizeof(e));
	assert_int_equal(stream_connect(&e.s, &w, (struct sockaddr *)&a, sizeof(a), &ops), 0);
	close_end(&e, fd);
	spin(&w);
	assert_int_equal(e.connected, 0);
	close_worker(&w);
}

/* Bytes sent before the connection stands go when it does. */
static void test_send_while_connecting(void **state)
{
	struct sockaddr_in a;
	struct worker w;
	struct end e = {.last = IO_OK};
	int fd = tcp_listener(&a), peer, i;
	char b[16];

	(void)state;
	open_worker(&w);
	assert_int_equal(stream_connect(&e.s, &w, (struct sockaddr *)&a, sizeof(a), &ops), 0);
	assert_int_equal(stream_send(&e.s, "early", 5), IO_AGAIN);
	for (i = 0; i < 1000 && !e.connected; i++)
		run_for(&w, 1000);
	assert_int_equal(e.error, 0);
	(void)stream_send(&e.s, " late", 5);
	spin(&w);
	peer = accept(fd, NULL, NULL);
	assert_int_equal(recv(peer, b, 10, MSG_WAITALL), 10);
	assert_memory_equal(b, "early late", 10);
	close_end(&e, peer);
	close(fd);
	close_worker(&w);
}

/* Not wanted: bytes are left where they are, and told of when they are wanted;
 * an end is told all the same. */
static void test_want(void **state)
{
	struct worker w;
	struct end e;
	int peer;
	unsigned round;

	(void)state;
	open_worker(&w);
	peer = open_pair(&w, &e);
	for (round = 1; round < 4; round++) {
		stream_want(&e.s, false);
		assert_int_equal(write(peer, "ab", 2), 2);
		spin(&w);
		spin(&w);
		assert_int_equal(e.got_n, 2 * (round - 1));
		assert_false(e.s.rd_armed); /* it does not spin on them either */
		assert_false(stream_quiet(&e.s));
		stream_want(&e.s, true);
		spin(&w);
		assert_int_equal(e.got_n, 2 * round);
		assert_true(stream_quiet(&e.s));
	}
	/* off and on again without a byte: no call, and still armed */
	stream_want(&e.s, false);
	spin(&w);
	assert_true(e.s.rd_armed);
	stream_want(&e.s, true);
	assert_int_equal(e.readables, 3);
	stream_want(&e.s, false);
	close(peer);
	spin(&w);
	assert_int_equal(e.last, IO_EOF);
	close_end(&e, -1);
	close_worker(&w);
}

/* Who fills a buffer gets a larger one next time, as long as that pays; not before it has
 * logged in. */
static void test_bulk(void **state)
{
	static uint8_t b[60000];
	struct worker w;
	struct end e;
	int secret;

	(void)state;
	open_worker(&w);
	for (secret = 0; secret < 2; secret++) {
		int peer = open_pair(&w, &e);

		stream_secret(&e.s, secret);
		assert_int_equal(write(peer, b, sizeof(b)), sizeof(b));
		assert_int_equal(stream_fill(&e.s, 0), IO_OK);
		assert_int_equal(stream_have(&e.s), BUF_CAP);
		stream_consume(&e.s, BUF_CAP - 100); /* the rest goes along */
		assert_int_equal(stream_fill(&e.s, 0), IO_OK);
		assert_int_equal(stream_have(&e.s), secret ? BUF_CAP : sizeof(b) - BUF_CAP + 100);
		stream_consume(&e.s, stream_have(&e.s));
		while (stream_fill(&e.s, 0) == IO_OK)
			stream_consume(&e.s, stream_have(&e.s));
		assert_int_equal(write(peer, b, 10), 10);
		assert_int_equal(stream_fill(&e.s, 0), IO_OK);
		assert_false(e.s.bulk);
		close_end(&e, peer);
	}
	assert_int_equal(w.buf_bytes, 0);
	close_worker(&w);
}

/* Bytes stay when they are not consumed; `want` makes room for them. */
static void test_growth(void **state)
{
	static const size_t wants[] = {0, 1, BUF_CAP, BUF_CAP + 1, 40000, 200000};
	struct worker w;
	struct end e;
	size_t k, n, sent, i;
	int peer;

	(void)state;
	open_worker(&w);
	for (k = 0; k < COUNT(wants); k++) {
		size_t room = wants[k] > BUF_CAP ? wants[k] : BUF_CAP;
		uint8_t b[1000];
		enum io r;

		peer = open_pair(&w, &e);
		for (n = sent = 0; n < room;) {
			for (i = 0; i < sizeof(b); i++)
				b[i] = pattern(sent + i);
			r = (enum io)write(peer, b, sizeof(b));
			assert_int_equal(r, sizeof(b));
			sent += sizeof(b);
			/* grown from the usual size in the middle */
			r = stream_fill(&e.s, n > 5000 ? wants[k] : 0);
			assert_int_equal(r, IO_OK);
			n = stream_have(&e.s);
		}
		assert_int_equal(n, room);
		assert_int_equal(stream_fill(&e.s, wants[k]), IO_AGAIN); /* full */
		for (i = 0; i < n; i++)
			if (stream_data(&e.s)[i] != pattern(i))
				fail_msg("byte %zu", i);
		/* some gone at the front: the rest moves up, and there is room */
		stream_consume(&e.s, 700);
		for (i = 0; i < sizeof(b); i++)
			b[i] = pattern(sent + i);
		assert_int_equal(write(peer, b, sizeof(b)), sizeof(b));
		assert_int_equal(stream_fill(&e.s, wants[k]), IO_OK);
		assert_int_equal(stream_data(&e.s)[0], pattern(700));
		n = stream_have(&e.s);
		for (i = 0; i < n; i++)
			if (stream_data(&e.s)[i] != pattern(700 + i))
				fail_msg("byte %zu after the move", i);
		stream_consume(&e.s, n);
		assert_null(e.s.in);
		stream_consume(&e.s, 0);
		close_end(&e, peer);
	}
	/* grown when some at the front are gone */
	peer = open_pair(&w, &e);
	assert_int_equal(write(peer, "0123456789", 10), 10);
	assert_int_equal(stream_fill(&e.s, 0), IO_OK);
	stream_consume(&e.s, 4);
	assert_int_equal(write(peer, "ab", 2), 2);
	assert_int_equal(stream_fill(&e.s, 50000), IO_OK);
	assert_int_equal(stream_have(&e.s), 8);
	assert_memory_equal(stream_data(&e.s), "456789ab", 8);
	close_end(&e, peer);
	/* closed with bytes in both directions */
	peer = open_pair(&w, &e);
	assert_int_equal(write(peer, "left", 4), 4);
	assert_int_equal(stream_fill(&e.s, 100000), IO_OK);
	close_end(&e, peer);
	close_worker(&w);
}

static void test_move(void **state)
{
	struct worker a, b;
	struct end e;
	int peer, round;
	char c;

	(void)state;
	open_worker(&a);
	open_worker(&b);
	peer = open_pair(&a, &e);
	for (round = 0; round < 6; round++) {
		struct worker *from = round & 1 ? &b : &a, *to = round & 1 ? &a : &b;

		stream_want(&e.s, round < 3);
		stream_detach(&e.s);
		assert_int_equal(write(peer, "m", 1), 1); /* comes while it is nowhere */
		spin(&a);
		spin(&b);
		assert_int_equal(e.got_n, round);
		stream_attach(&e.s, to);
		spin(from);
		assert_int_equal(e.got_n, round);
		stream_want(&e.s, true);
		spin(to);
		assert_int_equal(e.got_n, round + 1);
		assert_ptr_equal(e.s.w, to);
		assert_int_equal(stream_send(&e.s, "r", 1), IO_OK);
		assert_int_equal(read(peer, &c, 1), 1);
	}
	/* ends on its way */
	stream_detach(&e.s);
	close(peer);
	stream_attach(&e.s, &b);
	spin(&b);
	assert_int_equal(e.last, IO_EOF);
	close_end(&e, -1);
	close_worker(&a);
	close_worker(&b);
}

static void test_release(void **state)
{
	struct worker w;
	struct end e;
	int peer, fd;
	char c;

	(void)state;
	open_worker(&w);
	peer = open_pair(&w, &e);
	assert_int_equal(write(peer, "in", 2), 2);
	assert_int_equal(stream_fill(&e.s, 0), IO_OK);
	fd = stream_release_fd(&e.s);
	assert_true(fd >= 0);
	assert_int_equal(stream_release_fd(&e.s), -1);
	assert_int_equal(write(fd, "z", 1), 1); /* it lives on */
	assert_int_equal(read(peer, &c, 1), 1);
	close(fd);
	close_end(&e, peer);
	close_worker(&w);
}

/* A child of this user connects: what is said of it; its pid is returned. */
static pid_t peer_of(uint32_t user, uint32_t *uid, uint32_t *pid)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(un);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	pid_t child;

	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&un, &len), 0);
	child = fork();
	if (child == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setuid((uid_t)user) || connect(fd, (struct sockaddr *)&un, len))
			_exit(1);
		_exit(0);
	}
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(kernel_peer_uid(fd, uid, pid), 0); /* also of one that has ended */
	close(fd);
	close(listener);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return child;
}

static void test_peer_uid(void **state)
{
	struct sockaddr_in a;
	uint32_t uid = 1, pid = 1;
	int listener = tcp_listener(&a), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t child;

	(void)state;
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(kernel_peer_uid(fd, &uid, &pid), -1);
	assert_int_equal(uid, 1);
	close(fd);
	close(listener);
	assert_int_equal(kernel_peer_uid(-1, &uid, &pid), -1);
	child = peer_of(geteuid(), &uid, &pid);
	assert_int_equal(uid, geteuid());
	assert_int_equal(pid, child);
	if (geteuid() != 0)
		return; /* may not become others */
	child = peer_of(4321, &uid, &pid);
	assert_int_equal(uid, 4321);
	assert_int_equal(pid, child);
	/* may be anybody, if this runs in a user namespace */
	(void)peer_of(65534, &uid, &pid);
	assert_int_equal(uid, KERNEL_NO_UID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mbox_order),	cmocka_unit_test(test_letters_wake),
		cmocka_unit_test(test_deadline_order),	cmocka_unit_test(test_deadline_inside),
		cmocka_unit_test(test_deadline_earlier), cmocka_unit_test(test_grave),
		cmocka_unit_test(test_buffers),		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_short_writes),
		cmocka_unit_test(test_short_vector),	cmocka_unit_test(test_eof),
		cmocka_unit_test(test_reset),		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_connect_refused),
		cmocka_unit_test(test_send_while_connecting),
		cmocka_unit_test(test_want),		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_move),		cmocka_unit_test(test_release),
		cmocka_unit_test(test_peer_uid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
