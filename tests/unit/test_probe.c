/* tests/unit/test_probe.c - health/probe and health/login against servers that
 * are a script on the same event loop: silent, closing, resetting, refusing,
 * answering byte by byte.
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

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "health/login.h"
#include "health/probe.h"
#include "web.h"

#define MS 1000
#define CONNS_MAX 64

/* ---- messages of the server ---- */

struct bytes {
	unsigned char p[1024];
	size_t len;
};

static void put_raw(struct bytes *b, const void *p, size_t len)
{
	assert_true(b->len + len <= sizeof(b->p));
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

static void put_msg(struct bytes *b, char type, const void *body, size_t len)
{
	uint32_t n = htonl((uint32_t)len + 4);

	put_raw(b, &type, 1);
	put_raw(b, &n, 4);
	put_raw(b, body, len);
}

#define PUT_MSG(b, type, lit) put_msg((b), (type), (lit), sizeof(lit) - 1)

static void put_error(struct bytes *b, const char *code)
{
	char body[128];
	int n = snprintf(body, sizeof(body), "SFATAL%cVFATAL%cC%s%cMno, says: the server%cFa.c%c%c",
			 0, 0, code, 0, 0, 0, 0);

	put_msg(b, 'E', body, (size_t)n);
}

static void put_login(struct bytes *b)
{
	PUT_MSG(b, 'R', "\0\0\0\0");
	PUT_MSG(b, 'S',
		"server_version\0"
		"15.1\0");
	PUT_MSG(b, 'N', "SWARNING\0VWARNING\0C01000\0Mnot for stderr\0\0");
	PUT_MSG(b, 'K', "\0\0\0\1\0\0\0\2");
	PUT_MSG(b, 'Z', "I");
}

/* n columns, NULL is NULL. */
static void put_cols(struct bytes *b, const char *const *cols, unsigned char cols_n)
{
	static const char desc[] = "a\0\0\0\0\0\0\0\0\0\0\x19\377\377\377\377\377\377\0";
	unsigned char row[96] = {0, cols_n}, names[96] = {0, cols_n};
	size_t len = 2;

	for (int i = 0; i < cols_n; i++)
		memcpy(names + 2 + (size_t)i * sizeof(desc), desc, sizeof(desc));
	put_msg(b, 'T', names, 2 + cols_n * sizeof(desc));
	for (int i = 0; i < cols_n; i++) {
		uint32_t n = htonl(cols[i] ? (uint32_t)strlen(cols[i]) : UINT32_MAX);

		if (!cols[i]) {
			memcpy(row + len, &n, 4);
			len += 4;
			continue;
		}

		memcpy(row + len, &n, 4);
		memcpy(row + len + 4, cols[i], strlen(cols[i]));
		len += 4 + strlen(cols[i]);
	}
	put_msg(b, 'D', row, len);
	PUT_MSG(b, 'C', "SELECT 1\0");
	PUT_MSG(b, 'Z', "I");
}

static void put_row(struct bytes *b, const char *recovery, const char *read_only)
{
	const char *const cols[] = {recovery, read_only};

	put_cols(b, cols, 2);
}

/* ---- the server ---- */

enum manner {
	SPEAK = 0, /* `login` after the startup packet, `answer` after the query */
	CLOSE,     /* at once */
	RESET,     /* after the startup packet */
	HANG_UP    /* like SPEAK, but closes after `answer` */
};

struct world;

struct conn {
	struct world *w;
	int fd;
	struct event *ev;
	unsigned char in[1024];
	size_t in_len;
	const struct bytes *out;
	size_t out_at;
	bool logged_in;
};

/* A base with one target, one probe and one fake server. */
struct world {
	struct event_base *base;
	struct event *accept_ev, *give_up;
	int listen_fd;
	char dir[64];
	enum manner manner;
	size_t step; /* bytes per write, 0: all */
	struct bytes login, answer;
	struct conn conns[CONNS_MAX];
	unsigned accepted, open, open_max, queries, terminates;
	int64_t accepted_at[CONNS_MAX];
	char startup[1024];
	size_t startup_len;
	char query[1024];
	struct web web;
	bool has_web;
	/* the probe's side */
	struct addr addr;
	struct targets ts;
	struct target *t;
	struct probe_conf pc;
	struct log log;
	struct log_ctx ctx;
	_Atomic int level;
	unsigned changes;
	bool stop_in_callback, too_late;
	int fds_before;
};

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void conn_end(struct conn *c)
{
	if (c->fd < 0)
		return;
	event_free(c->ev);
	close(c->fd);
	c->fd = -1;
	c->w->open--;
}

static void on_conn(evutil_socket_t fd, short what, void *arg);

static void conn_wait(struct conn *c, short what)
{
	if (c->ev)
		event_free(c->ev);
	c->ev = event_new(c->w->base, c->fd, what, on_conn, c);
	event_add(c->ev, NULL);
}

static void conn_reset(struct conn *c)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	conn_end(c);
}

/* A whole message of the client, or 0. */
static size_t whole(const struct conn *c)
{
	size_t at = c->logged_in ? 1 : 0;
	uint32_t n;

	if (c->in_len < at + 4)
		return 0;
	memcpy(&n, c->in + at, 4);
	return c->in_len >= at + ntohl(n) ? at + ntohl(n) : 0;
}

static bool conn_message(struct conn *c, size_t len)
{
	struct world *w = c->w;

	if (!c->logged_in) {
		memcpy(w->startup, c->in, len);
		w->startup_len = len;
		c->logged_in = true;
		c->out = &w->login;
		c->out_at = 0;
		if (w->manner == RESET) {
			conn_reset(c);
			return false;
		}
	} else if (c->in[0] == 'Q') {
		w->queries++;
		snprintf(w->query, sizeof(w->query), "%.*s", (int)len - 5, (char *)c->in + 5);
		c->out = &w->answer;
		c->out_at = 0;
	} else if (c->in[0] == 'X') {
		w->terminates++;
	}
	memmove(c->in, c->in + len, c->in_len - len);
	c->in_len -= len;
	return true;
}

static void conn_read(struct conn *c)
{
	ssize_t n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);

	if (n <= 0) {
		conn_end(c);
		return;
	}
	c->in_len += (size_t)n;
	for (size_t len = whole(c); len > 0; len = whole(c)) {
		if (!conn_message(c, len))
			return;
	}
	conn_wait(c, c->out && c->out_at < c->out->len ? EV_WRITE : EV_READ);
}

static void conn_write(struct conn *c)
{
	struct world *w = c->w;
	size_t len = c->out->len - c->out_at;

	if (w->step && len > w->step)
		len = w->step;
	assert_int_equal(send(c->fd, c->out->p + c->out_at, len, MSG_NOSIGNAL), len);
	c->out_at += len;
	if (c->out_at < c->out->len)
		conn_wait(c, EV_WRITE);
	else if (w->manner == HANG_UP && c->out == &w->answer)
		conn_end(c);
	else
		conn_wait(c, EV_READ);
}

static void on_conn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	if (what & EV_WRITE)
		conn_write(arg);
	else
		conn_read(arg);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;
	struct conn *c = &w->conns[w->accepted];
	int one = 1;

	(void)what;
	assert_true(w->accepted < CONNS_MAX);
	w->accepted_at[w->accepted++] = now_us();
	*c = (struct conn){.w = w};
	c->fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(c->fd >= 0);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	w->open++;
	if (w->open > w->open_max)
		w->open_max = w->open;
	conn_wait(c, EV_READ);
	if (w->manner == CLOSE)
		conn_end(c);
}

/* ---- the world ---- */

static void on_give_up(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	w->too_late = true;
}

static void on_changed(void *arg, struct target *t)
{
	struct world *w = arg;

	assert_ptr_equal(t, w->t);
	w->changes++;
	if (w->stop_in_callback)
		probe_stop(t);
}

static int64_t wall(void *arg)
{
	(void)arg;
	return 0;
}

static void listen_tcp(struct world *w)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&w->addr.sock.any;
	socklen_t len = sizeof(*in);

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	w->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listen_fd, &w->addr.sock.sa, len), 0);
	assert_int_equal(getsockname(w->listen_fd, &w->addr.sock.sa, &len), 0);
	w->addr.sock_len = len;
	w->addr.port = ntohs(in->sin_port);
	w->addr.host = (char *)"127.0.0.1";
}

static void listen_unix(struct world *w)
{
	struct sockaddr_un *un = &w->addr.sock.un;

	snprintf(w->dir, sizeof(w->dir), "/tmp/pgweir_probe_XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof(un->sun_path), "%s/.s.PGSQL.77", w->dir);
	w->addr.sock_len = sizeof(*un);
	w->addr.port = 77;
	w->addr.host = w->dir;
	w->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listen_fd, &w->addr.sock.sa, w->addr.sock_len), 0);
}

static void world_open(struct world *w, bool local)
{
	memset(w, 0, sizeof(*w));
	w->fds_before = count_fds();
	for (size_t i = 0; i < CONNS_MAX; i++)
		w->conns[i].fd = -1;
	w->base = event_base_new();
	w->addr.name = (char *)"fake";
	if (local)
		listen_unix(w);
	else
		listen_tcp(w);
	assert_int_equal(listen(w->listen_fd, 16), 0);
	w->accept_ev = event_new(w->base, w->listen_fd, EV_READ | EV_PERSIST, on_accept, w);
	event_add(w->accept_ev, NULL);
	w->give_up = event_new(w->base, -1, 0, on_give_up, w);
	w->level = LOG_LEVEL_DEBUG;
	w->log.fd = memfd_create("log", MFD_CLOEXEC);
	w->log.level = &w->level;
	w->log.wall_us = wall;
	w->ctx.log = &w->log;
	w->t = targets_get(&w->ts, &w->addr);
	w->pc = (struct probe_conf){.interval_us = 30000 * MS,
				    .timeout_us = 5000 * MS,
				    .rule = {.rise = 2, .fall = 3},
				    .user = "checker",
				    .password = "pass'wo\\rd",
				    .dbname = "db"};
	put_login(&w->login);
	put_row(&w->answer, "f", "off");
}

static void stop_listening(struct world *w)
{
	if (w->listen_fd < 0)
		return;
	event_free(w->accept_ev);
	close(w->listen_fd);
	w->listen_fd = -1;
}

/* Everything that was opened must be closed again. */
static void world_close(struct world *w)
{
	probe_stop(w->t);
	assert_null(w->t->probe);
	targets_put(&w->ts, w->t);
	assert_null(w->ts.head);
	for (size_t i = 0; i < w->accepted; i++)
		conn_end(&w->conns[i]);
	stop_listening(w);
	if (w->has_web)
		web_close(&w->web);
	event_free(w->give_up);
	event_base_loop(w->base, EVLOOP_NONBLOCK); /* libevent frees later */
	event_base_free(w->base);
	close(w->log.fd);
	if (w->dir[0]) {
		unlink(w->addr.sock.un.sun_path);
		rmdir(w->dir);
	}
	assert_int_equal(count_fds(), w->fds_before);
}

static void start(struct world *w)
{
	assert_int_equal(probe_start(w->t, w->base, &w->pc, &w->ctx, on_changed, w), 0);
}

/* Turns the loop until the condition holds, ten seconds at most. */
#define UNTIL(w, cond)                                                                             \
	do {                                                                                       \
		struct timeval tv_ = {.tv_sec = 10};                                               \
		event_add((w)->give_up, &tv_);                                                     \
		while (!(cond) && !(w)->too_late)                                                  \
			event_base_loop((w)->base, EVLOOP_ONCE);                                   \
		assert_true(cond);                                                                 \
	} while (0)

/* Turns the loop for a while. */
static void turn_for(struct world *w, int64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	event_base_loopexit(w->base, &tv);
	event_base_dispatch(w->base);
}

static unsigned log_count(struct world *w, const char *needle)
{
	char buf[16384];
	ssize_t n = pread(w->log.fd, buf, sizeof(buf) - 1, 0);
	unsigned found = 0;

	assert_true(n >= 0);
	buf[n] = '\0';
	for (char *at = strstr(buf, needle); at; at = strstr(at + 1, needle))
		found++;
	return found;
}

/* ---- tests ---- */

static bool startup_has(const struct world *w, const char *key, const char *value)
{
	for (size_t at = 8; at + 1 < w->startup_len && w->startup[at];) {
		const char *k = w->startup + at;
		const char *v = k + strlen(k) + 1;

		if (strcmp(k, key) == 0)
			return !value || strcmp(v, value) == 0;
		at += strlen(k) + strlen(v) + 2;
	}
	return false;
}

static void good_answer(bool local, size_t step)
{
	struct world w;

	world_open(&w, local);
	w.step = step;
	start(&w);
	UNTIL(&w, w.changes == 1);
	assert_int_equal(w.t->state, TARGET_UP);
	assert_int_equal(w.t->role, ROLE_PRIMARY);
	assert_int_equal(w.t->read_only, 0);
	assert_true(w.t->probe_us > 0 && w.t->probe_us < 5000 * MS);
	assert_int_equal(w.queries, 1);
	/* libpq says goodbye, and the connection ends */
	UNTIL(&w, w.open == 0);
	assert_int_equal(w.terminates, 1);
	assert_true(startup_has(&w, "user", "checker"));
	assert_true(startup_has(&w, "database", "db"));
	assert_true(startup_has(&w, "application_name", "pgweir-health"));
	assert_false(startup_has(&w, "client_encoding", NULL));
	assert_false(startup_has(&w, "options", NULL));
	assert_int_equal(log_count(&w, "event=target"), 1);
	assert_int_equal(log_count(&w, "event=probe"), 0);
	world_close(&w);
}

static void good_at_once(void **unused)
{
	(void)unused;
	good_answer(false, 0);
}

static void good_byte_by_byte(void **unused)
{
	(void)unused;
	good_answer(false, 1);
}

static void good_by_unix_socket(void **unused)
{
	(void)unused;
	good_answer(true, 3);
}

static void roles(void **unused)
{
	static const struct {
		const char *recovery, *read_only;
		enum target_role role;
		int stored;
	} rows[] = {
		{"f", "on", ROLE_PRIMARY, 1},
		{"t", "off", ROLE_STANDBY, 1},
		{"t", "on", ROLE_STANDBY, 1},
		{"f", "off", ROLE_PRIMARY, 0},
	};
	struct world w;

	(void)unused;
	world_open(&w, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned changes = w.changes;

		w.answer.len = 0;
		put_row(&w.answer, rows[i].recovery, rows[i].read_only);
		if (i == 0)
			start(&w);
		else
			probe_now(w.t);
		/* t/off to t/on is no news */
		UNTIL(&w, w.queries == i + 1 && w.open == 0);
		assert_int_equal(w.changes, changes + (i != 2));
		assert_int_equal(w.t->role, rows[i].role);
		assert_int_equal(w.t->read_only, rows[i].stored);
	}
	world_close(&w);
}

/* One probe of an unknown target must leave it in `state`. */
static void one_probe(struct world *w, enum target_state state, const char *why)
{
	char result[64];

	snprintf(result, sizeof(result), "result=%s", why);
	start(w);
	UNTIL(w, w->changes == 1);
	assert_int_equal(w->t->state, state);
	assert_int_equal(w->t->role, ROLE_UNKNOWN);
	assert_int_equal(log_count(w, result), 1);
	assert_int_equal(w->t->fails_total, state == TARGET_UP ? 0 : 1);
	world_close(w);
}

static void refused(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	stop_listening(&w);
	one_probe(&w, TARGET_DOWN, "refused");
	world_open(&w, true);
	stop_listening(&w);
	one_probe(&w, TARGET_DOWN, "refused");
	world_open(&w, true);
	unlink(w.addr.sock.un.sun_path);
	one_probe(&w, TARGET_DOWN, "no_socket");
}

static void closed_or_reset(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.manner = CLOSE;
	one_probe(&w, TARGET_PROBATION, "connection_lost");
	world_open(&w, false);
	w.manner = RESET;
	one_probe(&w, TARGET_PROBATION, "connection_lost");
	/* in the middle of the answer */
	world_open(&w, false);
	w.manner = HANG_UP;
	w.answer.len -= 20;
	one_probe(&w, TARGET_PROBATION, "connection_lost");
	/* not our protocol at all */
	world_open(&w, false);
	w.login.len = 0;
	put_raw(&w.login, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	one_probe(&w, TARGET_PROBATION, "connection_lost");
}

/* A server that goes right after its answer has answered. */
static void the_first_answer_counts(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.answer.len -= 6; /* ReadyForQuery */
	put_error(&w.answer, "57P01");
	w.manner = HANG_UP;
	start(&w);
	UNTIL(&w, w.changes == 1);
	assert_int_equal(w.t->state, TARGET_UP);
	assert_int_equal(w.t->role, ROLE_PRIMARY);
	world_close(&w);
}

static void login_errors(void **unused)
{
	static const struct {
		const char *code;
		enum target_state state;
		const char *why;
	} rows[] = {
		{"28P01", TARGET_UP, "error_response"},
		{"3D000", TARGET_UP, "error_response"},
		{"53300", TARGET_UP, "error_response"},
		{"57P01", TARGET_PROBATION, "going_down"}, /* of one session, maybe */
		{"57P02", TARGET_PROBATION, "going_down"},
		{"57P03", TARGET_DOWN, "takes_no_logins"},
	};
	struct world w;

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t step = 0; step < 2; step++) {
			/* instead of the authentication, and after it */
			world_open(&w, false);
			w.step = step;
			w.login.len = 0;
			put_error(&w.login, rows[i].code);
			one_probe(&w, rows[i].state, rows[i].why);
			world_open(&w, false);
			w.step = step;
			w.login.len = 0;
			PUT_MSG(&w.login, 'R', "\0\0\0\0");
			put_error(&w.login, rows[i].code);
			one_probe(&w, rows[i].state, rows[i].why);
			/* in answer to the query: fatal, not fatal, and stuck */
			for (int end = 0; end < 3; end++) {
				world_open(&w, false);
				w.step = step;
				w.answer.len = 0;
				put_error(&w.answer, rows[i].code);
				if (end == 0)
					w.manner = HANG_UP;
				else if (end == 1)
					PUT_MSG(&w.answer, 'Z', "I");
				else
					w.pc.timeout_us = 500 * MS;
				one_probe(&w, rows[i].state, rows[i].why);
			}
		}
	}
}

static void asked_what_we_cannot_answer(void **unused)
{
	struct world w;

	(void)unused;
	/* a password, and we have none */
	world_open(&w, false);
	w.pc.password = NULL;
	w.login.len = 0;
	PUT_MSG(&w.login, 'R', "\0\0\0\3");
	one_probe(&w, TARGET_UP, "cannot_authenticate");
	/* Kerberos V5, which nobody speaks any more */
	world_open(&w, false);
	w.login.len = 0;
	PUT_MSG(&w.login, 'R', "\0\0\0\2");
	one_probe(&w, TARGET_UP, "cannot_authenticate");
	/* an answer that is none */
	world_open(&w, false);
	w.answer.len = 0;
	PUT_MSG(&w.answer, 'C', "SELECT 0\0");
	PUT_MSG(&w.answer, 'Z', "I");
	one_probe(&w, TARGET_UP, "strange_answer");
}

static void role_outlives_a_login_error(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.answer.len = 0;
	put_row(&w.answer, "t", "on");
	start(&w);
	UNTIL(&w, w.changes == 1 && w.open == 0);
	w.login.len = 0;
	put_error(&w.login, "28000");
	/* said once, not once per probe */
	for (unsigned i = 2; i < 6; i++) {
		probe_now(w.t);
		UNTIL(&w, w.accepted == i && w.open == 0);
		turn_for(&w, 2 * MS);
	}
	assert_int_equal(w.t->state, TARGET_UP);
	assert_int_equal(w.t->role, ROLE_STANDBY);
	assert_int_equal(w.t->read_only, 1);
	assert_int_equal(w.changes, 1);
	assert_int_equal(log_count(&w, "event=probe"), 1);
	assert_int_equal(log_count(&w, "sqlstate=28000"), 1);
	assert_int_equal(log_count(&w, "wo\\"), 0);
	world_close(&w);
}

/* Silence, at each stage, ends at the time limit; the third one in a row ends
 * the trust. */
static void silence(void **unused)
{
	struct world w;
	int64_t began;

	(void)unused;
	for (int stage = 0; stage < 3; stage++) {
		world_open(&w, false);
		w.pc.timeout_us = 60 * MS;
		w.pc.interval_us = 50 * MS;
		w.answer.len = stage == 2 ? 30 : 0;
		if (stage == 0)
			w.login.len = 0;
		began = now_us();
		start(&w);
		UNTIL(&w, w.changes == 1);
		/* timers count from the loop's clock, which is as old as its turn: so
		 * much room below, for a machine that is busy */
		assert_true(now_us() - began >= 40 * MS);
		assert_int_equal(w.t->state, TARGET_PROBATION);
		UNTIL(&w, w.changes == 2);
		assert_true(now_us() - began >= 3 * 40 * MS);
		assert_int_equal(w.t->state, TARGET_DOWN);
		assert_int_equal(w.t->fails_total, 3);
		assert_int_equal(w.open_max, 1);
		assert_int_equal(log_count(&w, "result=timeout"), 1);
		world_close(&w);
	}
}

static void comes_back(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.manner = CLOSE;
	w.pc.interval_us = 20 * MS;
	start(&w);
	UNTIL(&w, w.t->state == TARGET_DOWN);
	w.manner = SPEAK;
	UNTIL(&w, w.t->state == TARGET_UP);
	assert_true(w.queries >= 2);
	assert_int_equal(log_count(&w, "result=good"), 1);
	world_close(&w);
}

static void pauses(void **unused)
{
	struct world w;
	int64_t gap;

	(void)unused;
	/* up: the interval, less a tenth at most */
	world_open(&w, false);
	w.pc.interval_us = 100 * MS;
	start(&w);
	UNTIL(&w, w.accepted == 3);
	for (int i = 1; i < 3; i++)
		assert_true(w.accepted_at[i] - w.accepted_at[i - 1] >= 70 * MS);
	world_close(&w);
	/* down: a fifth of it */
	world_open(&w, false);
	w.manner = CLOSE;
	w.pc.rule.fall = 1;
	w.pc.interval_us = 2000 * MS;
	start(&w);
	UNTIL(&w, w.accepted == 2);
	gap = w.accepted_at[1] - w.accepted_at[0];
	assert_true(gap >= 300 * MS);
	assert_true(gap < 1500 * MS);
	world_close(&w);
}

/* Eight pauses of 250 ms, give or take a tenth at random: that they all lie
 * within 8 ms happens once in fifty thousand runs. */
static void jitter(void **unused)
{
	struct world w;
	int64_t least = INT64_MAX, most = 0;

	(void)unused;
	world_open(&w, false);
	w.pc.interval_us = 250 * MS;
	start(&w);
	UNTIL(&w, w.accepted == 9);
	for (int i = 1; i < 9; i++) {
		int64_t gap = w.accepted_at[i] - w.accepted_at[i - 1];

		least = gap < least ? gap : least;
		most = gap > most ? gap : most;
	}
	assert_true(least >= 180 * MS);
	assert_true(most - least > 8 * MS);
	world_close(&w);
}

static void now_and_not_twice(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.pc.interval_us = 3600000 * (int64_t)MS;
	start(&w);
	UNTIL(&w, w.changes == 1 && w.open == 0);
	probe_now(w.t);
	probe_now(w.t);
	UNTIL(&w, w.accepted == 2 && w.queries == 2 && w.open == 0);
	/* while one runs: no second one, and no end of the first */
	w.login.len = 0;
	probe_now(w.t);
	UNTIL(&w, w.accepted == 3);
	probe_now(w.t);
	turn_for(&w, 20 * MS);
	probe_now(w.t);
	turn_for(&w, 20 * MS);
	assert_int_equal(w.accepted, 3);
	assert_int_equal(w.open, 1);
	assert_int_equal(w.open_max, 1);
	world_close(&w);
}

static void new_numbers(void **unused)
{
	char user[16] = "first", password[16] = "one", dbname[16] = "db1";
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.pc.user = user;
	w.pc.password = password;
	w.pc.dbname = dbname;
	start(&w);
	/* the probe must have its own copies */
	memset(user, 'x', 15);
	memset(password, 'x', 15);
	memset(dbname, 'x', 15);
	UNTIL(&w, w.changes == 1 && w.open == 0);
	assert_true(startup_has(&w, "user", "first"));
	assert_true(startup_has(&w, "database", "db1"));
	w.pc.user = "second";
	w.pc.password = NULL;
	w.pc.dbname = NULL;
	w.pc.rule.fall = 1;
	/* in the middle of a probe: the next one uses them */
	probe_now(w.t);
	turn_for(&w, 0);
	probe_reconf(w.t, &w.pc);
	UNTIL(&w, w.queries == 2 && w.open == 0);
	w.manner = CLOSE;
	probe_now(w.t);
	UNTIL(&w, w.changes == 2);
	assert_int_equal(w.t->state, TARGET_DOWN);
	w.manner = SPEAK;
	probe_now(w.t);
	UNTIL(&w, w.queries == 3);
	assert_true(startup_has(&w, "user", "second"));
	assert_true(startup_has(&w, "database", "postgres"));
	/* a second start is a reconf */
	w.pc.user = NULL;
	start(&w);
	UNTIL(&w, w.open == 0);
	probe_now(w.t);
	UNTIL(&w, w.queries == 4);
	assert_true(startup_has(&w, "user", "pgweir"));
	world_close(&w);
}

/* world_close stops the probe and counts descriptors; LeakSanitizer counts the
 * rest. */
static void stopped_in_each_phase(void **unused)
{
	struct world w;

	(void)unused;
	/* before its first turn */
	world_open(&w, false);
	start(&w);
	world_close(&w);
	/* connecting: the loop has not seen it yet */
	world_open(&w, false);
	event_del(w.accept_ev);
	start(&w);
	event_base_loop(w.base, EVLOOP_ONCE);
	world_close(&w);
	/* connected, no answer to the startup packet */
	world_open(&w, false);
	w.login.len = 0;
	start(&w);
	UNTIL(&w, w.startup_len > 0);
	world_close(&w);
	/* after each fifth byte of the login and of the answer */
	for (size_t cut = 0, all = 1; cut < all; cut += 5) {
		size_t login;

		world_open(&w, false);
		w.step = 1;
		login = w.login.len;
		all = login + w.answer.len;
		w.login.len = cut < login ? cut : login;
		w.answer.len = cut < login ? 0 : cut - login;
		start(&w);
		UNTIL(&w, w.startup_len > 0);
		UNTIL(&w, w.conns[0].out_at == w.login.len || w.queries > 0);
		UNTIL(&w, cut < login || (w.queries > 0 && w.conns[0].out_at == w.answer.len));
		turn_for(&w, 1 * MS);
		world_close(&w);
	}
	/* in the pause */
	world_open(&w, false);
	start(&w);
	UNTIL(&w, w.changes == 1);
	world_close(&w);
	/* inside its own callback */
	world_open(&w, false);
	w.stop_in_callback = true;
	start(&w);
	UNTIL(&w, w.changes == 1);
	assert_null(w.t->probe);
	probe_now(w.t);
	probe_reconf(w.t, &w.pc);
	turn_for(&w, 5 * MS);
	assert_int_equal(w.accepted, 1);
	world_close(&w);
}

static void our_own_trouble_is_no_result(void **unused)
{
	struct world w;
	struct rlimit old, none;

	(void)unused;
	world_open(&w, false);
	w.pc.interval_us = 20 * MS;
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)dup(0);
	close((int)none.rlim_cur);
	setrlimit(RLIMIT_NOFILE, &none);
	start(&w);
	turn_for(&w, 60 * MS);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(w.t->state, TARGET_UNKNOWN);
	assert_int_equal(w.changes, 0);
	assert_int_equal(w.t->fails_total, 0);
	assert_int_equal(log_count(&w, "result=no_descriptor"), 1);
	/* and it goes on */
	UNTIL(&w, w.t->state == TARGET_UP);
	world_close(&w);
}

static void environment_has_no_say(void **unused)
{
	static const char *const env[][2] = {
		{"PGHOST", "a,b"},
		{"PGHOSTADDR", "192.0.2.1"},
		{"PGPORT", "1"},
		{"PGUSER", "root"},
		{"PGPASSWORD", "leak"},
		{"PGDATABASE", "leak"},
		{"PGOPTIONS", "-c leak=1"},
		{"PGAPPNAME", "leak"},
		{"PGCLIENTENCODING", "leak"},
		{"PGSSLMODE", "bogus"},
		{"PGGSSENCMODE", "bogus"},
		{"PGREQUIREPEER", "nobody"},
		{"PGCONNECT_TIMEOUT", "x"},
		{"PGTARGETSESSIONATTRS", "standby"},
		{"PGCHANNELBINDING", "require"},
		{"PGSSLMINPROTOCOLVERSION", "bogus"},
		{"PGSERVICE", "leak"},
		{"PGTZ", "leak"},
		{"PGDATESTYLE", "leak"},
		{"PGGEQO", "leak"},
	};
	size_t n = sizeof(env) / sizeof(env[0]);
	struct world w;

	(void)unused;
	for (size_t i = 0; i < n; i++)
		setenv(env[i][0], env[i][1], 1);
	probe_clean_env();
	for (int local = 0; local < 2; local++) {
		world_open(&w, local);
		w.pc.user = w.pc.password = w.pc.dbname = NULL;
		start(&w);
		UNTIL(&w, w.changes == 1);
		assert_int_equal(w.t->state, TARGET_UP);
		assert_int_equal(w.t->role, ROLE_PRIMARY);
		for (size_t at = 8; at < w.startup_len && w.startup[at];
		     at += strlen(w.startup + at) + 1)
			assert_null(strstr(w.startup + at, "leak"));
		assert_true(startup_has(&w, "user", "pgweir"));
		world_close(&w);
	}
	for (size_t i = 0; i < n; i++)
		unsetenv(env[i][0]);
}

/* ---- lag ---- */

static void set_version(struct world *w, const char *version, bool cockroach)
{
	char body[64];
	int n = snprintf(body, sizeof(body), "server_version%c%s%c", 0, version, 0);

	w->login.len = 0;
	PUT_MSG(&w->login, 'R', "\0\0\0\0");
	put_msg(&w->login, 'S', body, (size_t)n);
	if (cockroach)
		PUT_MSG(&w->login, 'S', "crdb_version\0CockroachDB CCL v21.2.17\0");
	PUT_MSG(&w->login, 'Z', "I");
}

static void who_is_asked_for_lag(void **unused)
{
	static const struct {
		const char *version;
		bool cockroach;
		uint64_t max;
		bool asked;
	} rows[] = {
		{"15.1", false, 1, true},  {"10.0", false, 1, true},	  {"9.6.24", false, 1, false},
		{"15.1", false, 0, false}, {"13.0.0", true, 1, false}, {"16devel", false, 1, true},
	};
	struct world w;

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world_open(&w, false);
		set_version(&w, rows[i].version, rows[i].cockroach);
		w.pc.max_lag_us = rows[i].max;
		start(&w);
		UNTIL(&w, w.changes == 1);
		assert_int_equal(strstr(w.query, "replay") != NULL, rows[i].asked);
		assert_int_equal(strncmp(w.query, "SELECT pg_is_in_recovery()", 26), 0);
		assert_int_equal(w.t->state, TARGET_UP);
		world_close(&w);
	}
}

static void probe_lag(struct world *w, const char *recovery, const char *lag)
{
	const char *const cols[] = {recovery, "off", lag};
	unsigned before = w->queries;

	w->answer.len = 0;
	put_cols(&w->answer, cols, 3);
	if (w->t->probe)
		probe_now(w->t);
	else
		start(w);
	UNTIL(w, w->queries == before + 1 && w->open == 0);
	turn_for(w, 0);
}

static void lagging(void **unused)
{
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.pc.interval_us = 3600000 * (int64_t)MS;
	w.pc.max_lag_us = 2000000;
	probe_lag(&w, "t", "2000000");
	assert_int_equal(w.t->state, TARGET_UP);
	assert_int_equal(w.t->lag_us, 2000000);
	assert_int_equal(w.t->lagging, 0);
	probe_lag(&w, "t", "2000001"); /* one proves nothing */
	assert_int_equal(w.t->lag_us, 2000001);
	assert_int_equal(w.t->lagging, 0);
	assert_int_equal(w.changes, 1);
	probe_lag(&w, "t", "0");
	probe_lag(&w, "t", "9000000");
	assert_int_equal(w.t->lagging, 0);
	probe_lag(&w, "t", "9000000");
	assert_int_equal(w.t->lagging, 1);
	assert_int_equal(w.changes, 2);
	assert_int_equal(log_count(&w, "lagging=1"), 1);
	probe_lag(&w, "t", "9000000");
	assert_int_equal(w.changes, 2);
	/* what says nothing of it changes nothing */
	w.answer.len = 0;
	put_error(&w.answer, "53300");
	PUT_MSG(&w.answer, 'Z', "I");
	probe_now(w.t);
	UNTIL(&w, log_count(&w, "sqlstate=53300") == 1);
	assert_int_equal(w.t->lagging, 1);
	assert_int_equal(w.t->lag_us, 9000000);
	/* nothing replayed yet, a clock that is behind, a primary */
	probe_lag(&w, "t", NULL);
	assert_int_equal(w.t->lagging, 0);
	assert_int_equal(w.t->lag_us, 0);
	assert_int_equal(w.changes, 3);
	probe_lag(&w, "t", "-9000000");
	probe_lag(&w, "t", "-9000000");
	assert_int_equal(w.t->lagging, 0);
	assert_int_equal(w.t->lag_us, 0);
	probe_lag(&w, "f", "9000000");
	probe_lag(&w, "f", "9000000");
	assert_int_equal(w.t->lagging, 0);
	assert_int_equal(w.t->lag_us, 0);
	/* and when nobody cares any more */
	probe_lag(&w, "t", "9000000");
	probe_lag(&w, "t", "9000000");
	assert_int_equal(w.t->lagging, 1);
	w.pc.max_lag_us = 0;
	probe_reconf(w.t, &w.pc);
	probe_lag(&w, "t", "9000000");
	assert_int_equal(w.t->lagging, 0);
	world_close(&w);
}

/* The second look comes soon. */
static void lag_is_looked_at_again(void **unused)
{
	static const char *const cols[] = {"t", "on", "5000000"};
	struct world w;

	(void)unused;
	world_open(&w, false);
	w.pc.interval_us = 2000 * MS;
	w.pc.max_lag_us = 1;
	w.answer.len = 0;
	put_cols(&w.answer, cols, 3);
	start(&w);
	UNTIL(&w, w.t->lagging);
	assert_int_equal(w.accepted, 2);
	assert_true(w.accepted_at[1] - w.accepted_at[0] < 1500 * MS);
	world_close(&w);
}

/* ---- HTTP ---- */

#define OK_200 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
#define NO_503                                                                                     \
	"HTTP/1.1 503 No\r\nContent-Length: 32\r\n\r\n{\"error\":\"node is shutting down\"}"

static void web_world(struct world *w, const char *answer)
{
	char path[] = "/health?ready=1";

	world_open(w, false);
	web_open(&w->web, w->base);
	web_say(&w->web, answer);
	w->has_web = true;
	w->pc.interval_us = 3600000 * (int64_t)MS;
	w->pc.http_port = w->web.port;
	w->pc.http_path = path;
	start(w);
	memset(path, 'x', sizeof(path) - 1); /* it must have its own copy */
	w->pc.http_path = "/health?ready=1";
}

static void http_says_well(void **unused)
{
	struct world w;

	(void)unused;
	web_world(&w, OK_200);
	UNTIL(&w, w.changes == 1);
	assert_int_equal(w.t->state, TARGET_UP);
	assert_int_equal(w.t->role, ROLE_PRIMARY);
	assert_int_equal(strncmp(w.web.request, "GET /health?ready=1 HTTP/1.1\r\n", 30), 0);
	/* first the one, then the other */
	assert_int_equal(w.web.asked, 1);
	assert_int_equal(w.queries, 1);
	assert_int_equal(log_count(&w, "event=probe"), 0);
	/* the login is what fails */
	UNTIL(&w, w.open == 0);
	w.manner = CLOSE;
	probe_now(w.t);
	UNTIL(&w, w.changes == 2);
	assert_int_equal(w.t->state, TARGET_PROBATION);
	assert_int_equal(w.web.asked, 2);
	world_close(&w);
}

static void http_says_it_leaves(void **unused)
{
	struct world w;

	(void)unused;
	web_world(&w, NO_503);
	UNTIL(&w, w.changes == 1);
	assert_int_equal(w.t->state, TARGET_DRAINING);
	assert_int_equal(w.accepted, 0); /* nobody logs in there */
	for (unsigned i = 2; i < 6; i++) {
		probe_now(w.t);
		UNTIL(&w, w.web.asked == i && w.web.open == 0);
		turn_for(&w, 2 * MS);
	}
	assert_int_equal(w.changes, 1);
	assert_int_equal(log_count(&w, "result=draining sqlstate=- error=\"node is shutting down\""), 1);
	assert_int_equal(log_count(&w, "event=probe_http"), 0);
	/* back: twice, as rise has it */
	web_say(&w.web, OK_200);
	probe_now(w.t);
	UNTIL(&w, w.queries == 1 && w.open == 0);
	assert_int_equal(w.t->state, TARGET_DRAINING);
	probe_now(w.t);
	UNTIL(&w, w.t->state == TARGET_UP);
	assert_int_equal(w.queries, 2);
	assert_true(w.t->up_since_us > 0);
	assert_int_equal(log_count(&w, "event=probe_http"), 1);
	world_close(&w);
}

/* Whatever else it says is none of our business: the login decides. */
static void http_is_no_use(void **unused)
{
	static const struct {
		const char *answer, *status, *result;
	} rows[] = {
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhm", "status=404", "error=hm"},
		{"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "status=301", "result=answer"},
		{"HTTP/1.1 500 Oh\r\n\r\n", "status=500", "result=answer"},
		{"nonsense\r\n\r\n", "status=0", "result=no_answer"},
		{"", "status=0", "result=no_answer"},
		{NULL, "status=0", "result=timeout"},
		{"refused", "status=0", "result=no_answer"},
	};
	struct world w;

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool refuse = rows[i].answer && strcmp(rows[i].answer, "refused") == 0;

		web_world(&w, rows[i].answer);
		if (!rows[i].answer)
			w.pc.timeout_us = 400 * MS;
		probe_reconf(w.t, &w.pc);
		if (refuse)
			web_deaf(&w.web);
		UNTIL(&w, w.changes == 1 && w.open == 0);
		assert_int_equal(w.t->state, TARGET_UP);
		for (unsigned k = 2; k < 4; k++) {
			probe_now(w.t);
			UNTIL(&w, w.queries == k && w.open == 0);
			turn_for(&w, 2 * MS);
		}
		/* once, and with what it was */
		assert_int_equal(log_count(&w, "event=probe_http"), 1);
		assert_int_equal(log_count(&w, rows[i].status), 1);
		assert_int_equal(log_count(&w, rows[i].result), 1);
		/* and once that it is well again */
		if (!refuse) {
			web_say(&w.web, OK_200);
			probe_now(w.t);
			UNTIL(&w, w.queries == 4 && w.open == 0);
			assert_int_equal(log_count(&w, "event=probe_http"), 2);
			assert_int_equal(log_count(&w, "status=200"), 1);
		}
		/* a word by HTTP does not make a dead server live */
		stop_listening(&w);
		probe_now(w.t);
		UNTIL(&w, w.changes == 2);
		assert_int_equal(w.t->state, TARGET_DOWN);
		world_close(&w);
	}
}

/* Both together, within the time of one. */
static void http_takes_no_more_time(void **unused)
{
	struct world w;
	int64_t began = now_us(), took;

	(void)unused;
	web_world(&w, NULL);
	w.login.len = 0; /* both silent */
	w.pc.timeout_us = 300 * MS;
	probe_reconf(w.t, &w.pc);
	UNTIL(&w, w.changes == 1);
	took = now_us() - began;
	assert_int_equal(w.accepted, 1);
	assert_int_equal(w.t->state, TARGET_PROBATION);
	assert_int_equal(log_count(&w, "event=probe target=fake result=timeout"), 1);
	assert_true(took >= 200 * MS);
	assert_true(w.accepted_at[0] - began < 250 * MS);
	/* what the login takes is not what both take */
	web_say(&w.web, OK_200);
	world_close(&w);
}

static void http_stopped_in_the_middle(void **unused)
{
	struct world w;

	(void)unused;
	web_world(&w, OK_200);
	world_close(&w);
	for (size_t cut = 0; cut < sizeof(NO_503); cut += 7) {
		web_world(&w, NO_503);
		w.web.step = 1;
		w.web.answer_len = cut;
		w.web.stay = true;
		UNTIL(&w, w.web.asked && w.web.conn[0].out_at == cut);
		probe_now(w.t);
		turn_for(&w, 0);
		world_close(&w);
	}
	/* stopped by the callback that its result brings */
	web_world(&w, NO_503);
	w.stop_in_callback = true;
	UNTIL(&w, w.changes == 1);
	assert_null(w.t->probe);
	world_close(&w);
	/* in the login behind it */
	web_world(&w, OK_200);
	w.login.len = 0;
	UNTIL(&w, w.startup_len > 0);
	world_close(&w);
	/* asked no more */
	web_world(&w, NO_503);
	UNTIL(&w, w.changes == 1);
	w.pc.http_port = 0;
	probe_reconf(w.t, &w.pc);
	probe_now(w.t);
	UNTIL(&w, w.queries == 1);
	assert_int_equal(w.web.asked, 1);
	world_close(&w);
}

static void judgement(void **unused)
{
	static const struct {
		const char *text;
		bool at_once, connecting, answered;
		enum verdict verdict;
		const char *sqlstate;
	} rows[] = {
		{"x failed: FATAL:  28P01: no\nLOCATION:  a", false, false, true, V_ALIVE, "28P01"},
		{"x failed: SCHWERWIEGEND:  57P03: nein\n", false, false, false, V_HARD, "57P03"},
		{"x failed: ERROR:  57P01: server is not accepting clients\n", false, false, false,
		 V_DRAIN, "57P01"},
		{"x failed: ERROR:  57P01: server is shutting down\n", false, false, true, V_DRAIN,
		 "57P01"},
		{"x failed: FATAL:  57P01: terminating connection due to administrator command\n",
		 false, false, true, V_BAD, "57P01"},
		{"x failed: FATAL:  57P01\n", false, false, false, V_BAD, ""},
		{"x failed: FATAL:  57p01: no", false, false, false, V_BAD, ""},
		{"a:  b:  53300: no", false, false, false, V_ALIVE, "53300"},
		{"could not fork:  ", false, false, false, V_BAD, ""},
		{"", false, false, false, V_BAD, ""},
		{"", true, true, false, V_LOCAL, ""},
		{"failed: Connection refused\n", false, true, false, V_HARD, ""},
		{"failed: No route to host\n", false, true, false, V_HARD, ""},
		{"failed: Network is unreachable\n", true, true, false, V_HARD, ""},
		{"failed: Connection timed out\n", false, true, false, V_BAD, ""},
		{"failed: Connection reset by peer\n", false, true, false, V_BAD, ""},
		{"failed: Permission denied\n", true, true, false, V_BAD, ""},
		{"failed: Cannot assign requested address\n", true, true, false, V_LOCAL, ""},
		{"could not create socket: Too many open files\n", true, true, false, V_LOCAL, ""},
		/* after the connection stood, words of errnos prove nothing */
		{"failed: Connection refused\n", false, false, false, V_BAD, ""},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct login_fail fail = {rows[i].text, rows[i].at_once, rows[i].connecting,
					  rows[i].answered};
		struct finding f = {0};

		login_judge(&fail, &f);
		assert_int_equal(f.verdict, rows[i].verdict);
		assert_string_equal(f.sqlstate, rows[i].sqlstate);
		assert_non_null(f.why);
		assert_null(strchr(f.text, '\n'));
	}
}

static void connection_strings(void **unused)
{
	struct addr a = {.port = 5};
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.sock.any;
	size_t cap = 0;
	char *s;

	(void)unused;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(15432);
	in6->sin6_addr = in6addr_loopback;
	a.sock_len = sizeof(*in6);
	s = login_info(&a, "a b", "o'ne\\two", "d=x", NULL, &cap);
	assert_non_null(s);
	assert_true(cap > strlen(s));
	assert_non_null(strstr(s, "host='::1' hostaddr='::1' port='15432' "));
	assert_non_null(strstr(s, " user='a b' password='o\\'ne\\\\two' dbname='d=x' "));
	assert_non_null(strstr(s, " sslmode='disable' "));
	assert_null(strstr(s, "service="));
	free(s);

	memset(&a.sock, 0, sizeof(a.sock));
	a.sock.un.sun_family = AF_UNIX;
	a.sock_len = sizeof(a.sock.un);
	memcpy(a.sock.un.sun_path, "\0dir/.s.PGSQL.5", 15);
	s = login_info(&a, NULL, NULL, NULL, NULL, &cap);
	assert_non_null(s);
	assert_non_null(strstr(s, "host='@dir' hostaddr='' port='5' user='pgweir' password='' "));
	free(s);
	memset(&a.sock, 0, sizeof(a.sock));
	a.sock.un.sun_family = AF_UNIX;
	memcpy(a.sock.un.sun_path, "/.s.PGSQL.5", 12);
	s = login_info(&a, "", "", "", NULL, &cap);
	assert_non_null(s);
	assert_non_null(strstr(s, "host='/' hostaddr='' port='5' user='pgweir' password='' "));
	free(s);
	/* no address at all */
	memset(&a.sock, 0, sizeof(a.sock));
	a.sock.sa.sa_family = AF_UNSPEC;
	assert_null(login_info(&a, NULL, NULL, NULL, NULL, &cap));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_at_once),
		cmocka_unit_test(good_byte_by_byte),
		cmocka_unit_test(good_by_unix_socket),
		cmocka_unit_test(roles),
		cmocka_unit_test(refused),
		cmocka_unit_test(closed_or_reset),
		cmocka_unit_test(the_first_answer_counts),
		cmocka_unit_test(login_errors),
		cmocka_unit_test(asked_what_we_cannot_answer),
		cmocka_unit_test(role_outlives_a_login_error),
		cmocka_unit_test(silence),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(pauses),
		cmocka_unit_test(jitter),
		cmocka_unit_test(now_and_not_twice),
		cmocka_unit_test(new_numbers),
		cmocka_unit_test(stopped_in_each_phase),
		cmocka_unit_test(our_own_trouble_is_no_result),
		cmocka_unit_test(environment_has_no_say),
		cmocka_unit_test(who_is_asked_for_lag),
		cmocka_unit_test(lagging),
		cmocka_unit_test(lag_is_looked_at_again),
		cmocka_unit_test(http_says_well),
		cmocka_unit_test(http_says_it_leaves),
		cmocka_unit_test(http_is_no_use),
		cmocka_unit_test(http_takes_no_more_time),
		cmocka_unit_test(http_stopped_in_the_middle),
		cmocka_unit_test(judgement),
		cmocka_unit_test(connection_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
