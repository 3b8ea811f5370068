/* tests/sim/engine_main.c - a server of simulated backends on 127.0.0.1, so that real
 * clients can talk to them: engine_main PORT [crdb] [standby]. PORT 0: any, printed.
 *
 * One thread, poll(), one store for all. Ends with its standard input.
 *
 * SPDX-License-Identifier: ISC
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "store.h"

#define CONNS 64

struct world;

struct conn {
	struct world *w;
	int fd;
	struct engine *e;
	struct txn *txn;
	uint32_t pid;
	bool woken, sleeping, logged_in, done;
	uint64_t until;
	uint8_t *in, *out;
	size_t in_len, out_len;
};

struct world {
	struct engine_conf conf;
	struct store *store;
	struct conn *conns[CONNS];
	uint32_t pids;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void add(uint8_t **p, size_t *len, const uint8_t *more, size_t n)
{
	*p = realloc(*p, *len + n + 1);
	if (!*p)
		abort();
	memcpy(*p + *len, more, n);
	*len += n;
}

/* ---- what an engine asks for ---- */

static void env_out(void *arg, const uint8_t *p, size_t n)
{
	struct conn *c = arg;

	add(&c->out, &c->out_len, p, n);
}

static bool env_trouble(void *arg, enum place at, struct engine_error *err)
{
	(void)arg;
	(void)at;
	(void)err;
	return false;
}

static void wake(void *arg)
{
	struct conn *c = arg;

	c->woken = true;
}

static void env_begin(void *arg, bool block)
{
	struct conn *c = arg;

	(void)block;
	if (c->txn)
		abort(); /* each begin has one end */
	c->txn = store_begin(c->w->store, wake, c);
}

static enum data env_commit(void *arg, struct engine_error *err)
{
	struct conn *c = arg;
	enum data d = store_commit(c->txn, err);

	if (d != DATA_WAIT)
		c->txn = NULL;
	return d;
}

/* Whatever it waited for, it does no more. */
static void stop_waiting(struct conn *c)
{
	c->sleeping = false;
	store_lock_forget(c->w->store, c);
}

static void env_rollback(void *arg)
{
	struct conn *c = arg;

	stop_waiting(c);
	store_rollback(c->txn);
	c->txn = NULL;
}

static void env_savepoint(void *arg, unsigned depth)
{
	struct conn *c = arg;

	store_savepoint(c->txn, depth);
}

static void env_rollback_to(void *arg, unsigned depth)
{
	struct conn *c = arg;

	stop_waiting(c);
	store_rollback_to(c->txn, depth);
}

static enum data env_read(void *arg, unsigned key, const char **value, struct engine_error *err)
{
	struct conn *c = arg;

	return store_read(c->txn, key, value, err);
}

static enum data env_append(void *arg, unsigned key, const char *tag, struct engine_error *err)
{
	struct conn *c = arg;

	return store_append(c->txn, key, tag, err);
}

static enum data env_lock(void *arg, unsigned number, struct engine_error *err)
{
	struct conn *c = arg;

	(void)err;
	return store_lock(c->w->store, number, c, wake, c) ? DATA_OK : DATA_WAIT;
}

static bool env_try_lock(void *arg, unsigned number)
{
	struct conn *c = arg;

	return store_lock(c->w->store, number, c, NULL, NULL);
}

static bool env_unlock(void *arg, unsigned number)
{
	struct conn *c = arg;

	return store_unlock(c->w->store, number, c);
}

static enum data env_sleep(void *arg, uint64_t us, struct engine_error *err)
{
	struct conn *c = arg;

	(void)err;
	if (!c->sleeping) {
		c->sleeping = true;
		c->until = now_us() + us;
		return DATA_WAIT;
	}
	if (now_us() < c->until)
		return DATA_WAIT;
	c->sleeping = false;
	return DATA_OK;
}

static void env_notify(void *arg, const char *channel, const char *payload)
{
	struct conn *c = arg;
	size_t i;

	for (i = 0; i < CONNS; i++)
		if (c->w->conns[i] && c->w->conns[i]->logged_in)
			engine_notified(c->w->conns[i]->e, c->pid, channel, payload);
}

static uint32_t env_pid(void *arg, uint32_t *secret)
{
	struct conn *c = arg;

	if (c->w->conf.dialect == DIALECT_CRDB)
		return *secret = 0; /* nobody can be cancelled */
	*secret = c->pid * 7919u;
	return c->pid;
}

/* ---- connections ---- */

static void conn_new(struct world *w, int fd)
{
	const struct engine_env env = {
		NULL,	      env_out,	     env_trouble, env_begin, env_commit, env_rollback,
		env_savepoint, env_rollback_to, env_read,   env_append, env_lock, env_try_lock,
		env_unlock,   env_sleep,     env_notify,  env_pid,
	};
	struct engine_env own = env;
	struct conn *c;
	int on = 1;
	size_t i;

	for (i = 0; i < CONNS && w->conns[i]; i++)
		;
	c = i < CONNS ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->w = w;
	c->fd = fd;
	c->pid = ++w->pids;
	own.arg = c;
	c->e = engine_new(&w->conf, &own);
	if (!c->e)
		abort();
	w->conns[i] = c;
}

static void conn_free(struct world *w, size_t i)
{
	struct conn *c = w->conns[i];

	w->conns[i] = NULL;
	c->logged_in = false;
	engine_free(c->e);
	store_unlock_all(w->store, c);
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void on_cancel(struct world *w, const uint8_t *p)
{
	size_t i;

	for (i = 0; i < CONNS; i++)
		if (w->conns[i] && w->conns[i]->pid == u32(p) && u32(p + 4) == u32(p) * 7919u)
			engine_cancel(w->conns[i]->e);
}

/* The packets before a session. */
static void on_startup(struct conn *c)
{
	while (!c->logged_in && !c->done && c->in_len >= 8) {
		uint32_t n = u32(c->in), code = u32(c->in + 4);

		if (n < 8 || n > 10000) {
			c->done = true;
			return;
		}
		if (c->in_len < n)
			return;
		if (code == 80877103u || code == 80877104u) {
			add(&c->out, &c->out_len, (const uint8_t *)"N", 1);
		} else if (code == 80877102u) {
			if (n == 16)
				on_cancel(c->w, c->in + 8);
			c->done = true;
		} else {
			c->logged_in = true;
			engine_login(c->e, c->in + 8, n - 8);
		}
		memmove(c->in, c->in + n, c->in_len - n);
		c->in_len -= n;
	}
	if (c->logged_in && c->in_len) {
		engine_input(c->e, c->in, c->in_len);
		c->in_len = 0;
	}
}

static void on_readable(struct conn *c)
{
	uint8_t b[65536];
	ssize_t n = read(c->fd, b, sizeof(b));

	if (n <= 0) {
		c->done |= n == 0 || errno != EAGAIN;
		c->out_len = n == 0 ? c->out_len : 0;
		return;
	}
	if (c->logged_in) {
		engine_input(c->e, b, (size_t)n);
		return;
	}
	add(&c->in, &c->in_len, b, (size_t)n);
	on_startup(c);
}

static void on_writable(struct conn *c)
{
	ssize_t n = c->out_len ? write(c->fd, c->out, c->out_len) : 0;

	if (n < 0) {
		c->done |= errno != EAGAIN;
		c->out_len = errno != EAGAIN ? 0 : c->out_len;
		return;
	}
	if (n)
		memmove(c->out, c->out + n, c->out_len - (size_t)n);
	c->out_len -= (size_t)n;
}

/* Those that were woken or have slept. true: perhaps there is more. */
static bool resume(struct world *w)
{
	bool any = false;
	size_t i;

	for (i = 0; i < CONNS; i++) {
		struct conn *c = w->conns[i];

		if (!c || (!c->woken && !(c->sleeping && now_us() >= c->until)))
			continue;
		c->woken = false;
		engine_resume(c->e);
		any = true;
	}
	return any;
}

static bool turn(struct world *w, int listener)
{
	struct pollfd fds[CONNS + 2];
	size_t of[CONNS + 2], n = 2, i;
	bool sleeping = false;

	while (resume(w))
		;
	fds[0] = (struct pollfd){ listener, POLLIN, 0 };
	fds[1] = (struct pollfd){ 0, POLLIN, 0 };
	for (i = 0; i < CONNS; i++) {
		struct conn *c = w->conns[i];

		if (!c)
			continue;
		on_writable(c);
		if ((c->done || engine_over(c->e)) && !c->out_len) {
			conn_free(w, i);
			continue;
		}
		sleeping |= c->sleeping;
		of[n] = i;
		fds[n++] = (struct pollfd){ c->fd, (short)(c->out_len ? POLLIN | POLLOUT : POLLIN), 0 };
	}
	if (poll(fds, n, sleeping ? 5 : 1000) < 0)
		return errno == EINTR;
	if (fds[1].revents) {
		char b[16];

		if (read(0, b, sizeof(b)) <= 0)
			return false;
	}
	for (i = 2; i < n; i++)
		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			on_readable(w->conns[of[i]]);
	if (fds[0].revents)
		conn_new(w, accept(listener, NULL, NULL));
	return true;
}

int main(int argc, char **argv)
{
	struct world w = { .conf = { DIALECT_PG, false, 150020 } };
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1, i;

	for (i = 2; i < argc; i++) {
		if (strcmp(argv[i], "crdb") == 0)
			w.conf.dialect = DIALECT_CRDB;
		w.conf.standby |= strcmp(argv[i], "standby") == 0;
	}
	w.store = store_new(w.conf.dialect);
	a.sin_port = htons((uint16_t)(argc > 1 ? strtol(argv[1], NULL, 10) : 0));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || !w.store || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		perror("engine_main");
		return 1;
	}
	printf("port=%u\n", ntohs(a.sin_port));
	(void)fflush(stdout);
	while (turn(&w, fd))
		;
	for (i = 0; i < CONNS; i++)
		if (w.conns[i])
			conn_free(&w, (size_t)i);
	store_free(w.store);
	close(fd);
	return 0;
}
