/* tests/fuzz/fuzz_startup.c - any bytes as a client's way in: startup packets
 * and SASL messages, in pieces, to a real hall over a socket pair. Nothing may
 * be left behind when the client is gone, and no state may be impossible.
 *
 * The first byte: its lowest bit chooses the hall (0: passwords, 1: trust); the
 * next one (2) lets an honest client log in first, with the rest of the input,
 * up to two zeros, as further startup parameters; the others seed the cuts.
 *
 * SPDX-License-Identifier: ISC
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "proxy/session/ending.h"
#include "proxy/session/hall.h"
#include "proxy/session/snapshot.h"
#include "proxy/session/step.h"
#include "proxy/wire/scram.h"
#include "proxy/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "broken: %s\n", what);
		abort();
	}
}
#define MUST(x) must_(x, #x)

/* ---- two halls that live as long as the process ---- */

struct house {
	struct hall hall;
	struct shared sh;
	struct targets targets;
	struct log log;
	_Atomic int level;
	int log_fd;
};

/* No server is ever reached: its socket does not exist. */
static const char conf_text[] =
	"[databases]\n"
	"db = host=/nonexistent user=forced password=x\n"
	"[pgbouncer]\n"
	"listen_addr = 127.0.0.1\n"
	"listen_port = 6432\n"
	"max_client_conn = 5\n"
	"query_wait_timeout = 60\n"
	"admin_users = admin\n";

static void on_console(struct client *c)
{
	stream_consume(&c->s, stream_have(&c->s));
	say_ready(c, 'I');
}

static void on_console_end(struct client *c)
{
	(void)c;
}

static void on_seen(struct shared *sh, struct target *t, enum target_seen what)
{
	(void)sh;
	(void)t;
	(void)what;
}

static void on_stopped(struct shared *sh, struct hall *h)
{
	(void)sh;
	(void)h;
}

static const struct hall_ops hall_ops = {on_console, on_console_end, on_console_end};

/* auth: the file's word, and a line of users where it needs them */
static struct house *build(const char *auth)
{
	struct house *b = calloc(1, sizeof(*b));
	struct conf_over over = {.listen_port = -1, .numeric_hosts = true};
	struct snapshot *snap;
	struct conf *conf;
	struct err e;
	char text[1024], users[] = "/tmp/pgweir-fuzz-users-XXXXXX";
	int fd = mkstemp(users);
	size_t i;

	MUST(b != NULL && fd >= 0);
	MUST(write(fd, "\"u\" \"pencil\"\n\"admin\" \"pencil\"\n", 30) == 30);
	close(fd);
	snprintf(text, sizeof(text), "%sauth_type = %s\nauth_file = %s\n", conf_text, auth, users);
	if (conf_load_mem("fuzz.ini", text, strlen(text), &over, &conf, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	unlink(users);
	/* few rounds: the password's secret is made when it is first needed */
	for (i = 0; i < conf->user_n; i++)
		if (conf->users[i].secret_kind == SECRET_PLAIN) {
			struct scram_secret k;
			char *s = malloc(512);

			MUST(s && scram_secret_make("pencil", (const uint8_t *)"0123456789abcdef",
						    16, 2, &k) == 0);
			MUST(scram_secret_print(&k, s, 512) != NULL);
			free(conf->users[i].secret);
			conf->users[i].secret = s;
			conf->users[i].secret_kind = SECRET_SCRAM;
		}
	snap = snapshot_make(conf, NULL, &b->targets, NULL, NULL);
	MUST(snap != NULL);
	atomic_init(&b->level, LOG_LEVEL_ERROR);
	b->log_fd = memfd_create("log", MFD_CLOEXEC);
	b->log = (struct log){.fd = b->log_fd, .level = &b->level, .wall_us = clock_wall_us};
	MUST(hubs_init(&b->sh.hubs, 1) == 0);
	MUST(meters_init(&b->sh.meters, 1, 1) == 0);
	MUST(door_init(&b->sh.door) == 0);
	limit_init(&b->sh.clients, (int)conf->g.max_client_conn);
	b->sh.halls = &b->hall;
	b->sh.hall_n = 1;
	b->sh.target_seen = on_seen;
	b->sh.hall_stopped = on_stopped;
	MUST(hall_init(&b->hall, 0, &b->sh, &b->log, snap, &hall_ops, &e) == 0);
	return b;
}

static void on_enough(struct worker *w, struct letter *l)
{
	(void)l;
	w->done = true;
}

/* Turns of the loop until nothing is left to do but wait. */
static void pump(struct house *b)
{
	struct letter enough = {.deliver = on_enough};
	int i;

	for (i = 0; i < 3; i++) {
		b->hall.w.done = false;
		worker_post(&b->hall.w, &enough);
		worker_run(&b->hall.w);
	}
}

/* ---- one client ---- */

struct peer {
	struct house *b;
	int fd;
	uint8_t in[65536];
	size_t in_n;
	uint64_t rnd;
};

static struct client *only_client(const struct house *b)
{
	const struct link *l = b->hall.clients.next;

	return l == &b->hall.clients ? NULL : LIST_ITEM(l, struct client, all);
}

static void listen_to(struct peer *p)
{
	const struct client *c;
	ssize_t n;

	pump(p->b);
	n = recv(p->fd, p->in + p->in_n, sizeof(p->in) - p->in_n, MSG_DONTWAIT);
	p->in_n += n > 0 ? (size_t)n : 0;
	c = only_client(p->b);
	/* until it has logged in it costs one buffer and no more */
	if (c && (c->state == CL_STARTUP || c->state == CL_PASSWORD))
		MUST(p->b->hall.w.buf_bytes <= BUF_CAP && !c->s.out_cap);
	MUST(atomic_load(&p->b->sh.clients.used) <= 1);
}

static bool tell(struct peer *p, const uint8_t *data, size_t n)
{
	while (n) {
		size_t piece = n;
		ssize_t sent;

		p->rnd = p->rnd * 6364136223846793005ULL + 1442695040888963407ULL;
		if (p->rnd >> 60 < 12) /* mostly pieces, now and then the rest at once */
			piece = 1 + (p->rnd >> 33) % (n < 40 ? n : 40);
		sent = send(p->fd, data, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
		listen_to(p);
		if (sent <= 0)
			return sent < 0 && errno == EAGAIN;
		data += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* The body of the authentication message that came last, if it is of this kind. */
static size_t challenge(const struct peer *p, uint32_t kind, const char **text)
{
	size_t at = 0, n = 0;

	if (p->in_n == sizeof(p->in))
		return 0; /* not all of it was kept */
	while (at < p->in_n && at < 2 && p->in[at] == 'N')
		at++; /* no encryption: the answer is this one byte */
	while (at < p->in_n) {
		uint8_t type = 0;
		uint32_t len = 0;
		struct wire_get g;

		/* all that a client is told is whole messages */
		MUST(wire_header(p->in + at, p->in_n - at, &type, &len) == WIRE_OK);
		MUST(len <= p->in_n - at);
		g = wire_body(p->in + at, len);
		if (type == 'R' && wire_get_u32(&g) == kind) {
			*text = (const char *)g.p;
			n = wire_left(&g);
		}
		at += len;
	}
	return n;
}

static void put_params(struct wire_put *w, const uint8_t *data, size_t n)
{
	wire_begin(w, 0);
	wire_put_u32(w, WIRE_PROTO_3);
	wire_put_str(w, "user");
	wire_put_str(w, "u");
	wire_put_str(w, "database");
	wire_put_str(w, "db");
	wire_put_bytes(w, data, n);
	wire_put_u8(w, 0);
	wire_end(w);
}

static void honest(struct peer *p, const uint8_t *params, size_t n)
{
	uint8_t out[9000];
	struct wire_put w = wire_put_to(out, sizeof(out));
	const struct scram_channel ch = {.offered = true};
	struct scram_client s;
	const char *text = NULL, *why;
	char msg[SCRAM_MSG_MAX];
	size_t len;
	int k;

	put_params(&w, params, n < 4000 ? n : 4000);
	MUST(!w.bad);
	if (!tell(p, out, w.len) || !challenge(p, 10, &text))
		return;
	k = scram_client_first(&s, &ch, "fuzzersnonce", msg, sizeof(msg), &why);
	MUST(k > 0);
	w = wire_put_to(out, sizeof(out));
	wire_begin(&w, 'p');
	wire_put_str(&w, "SCRAM-SHA-256");
	wire_put_u32(&w, (uint32_t)k);
	wire_put_bytes(&w, msg, (size_t)k);
	wire_end(&w);
	MUST(tell(p, out, w.len));
	len = challenge(p, 11, &text);
	MUST(len > 0);
	k = scram_client_final(&s, text, len, "pencil", NULL, msg, sizeof(msg), &why);
	MUST(k > 0);
	w = wire_put_to(out, sizeof(out));
	wire_begin(&w, 'p');
	wire_put_bytes(&w, msg, (size_t)k);
	wire_end(&w);
	(void)tell(p, out, w.len);
	len = challenge(p, 12, &text);
	/* the parameters may have made it somebody else */
	MUST(len > 0 || n > 0);
	MUST(len == 0 || scram_client_check(&s, text, len, &why) == 0);
}

static void check_log(struct house *b)
{
	char text[4096];
	ssize_t n = pread(b->log_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	if (strstr(text, "cannot_happen")) {
		fprintf(stderr, "%s", text);
		abort();
	}
	MUST(ftruncate(b->log_fd, 0) == 0 && lseek(b->log_fd, 0, SEEK_SET) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct house *houses[2];
	static struct peer p;
	const struct listen_from from = { .a.sa.sa_family = AF_UNIX, .len = sizeof(sa_family_t) };
	struct client *c;
	struct house *b;
	int fd[2], i;

	if (size < 1)
		return 0;
	if (!houses[0]) {
		houses[0] = build("scram-sha-256");
		houses[1] = build("trust");
	}
	b = houses[data[0] & 1];
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	p.b = b;
	p.fd = fd[1];
	p.in_n = 0;
	p.rnd = data[0];
	hall_tell_client(&b->hall, fd[0], &from, false);
	if (data[0] & 2) {
		size_t n = 1;

		while (n + 1 < size && (data[n] || data[n + 1]))
			n++;
		honest(&p, data + 1, n - 1);
		size -= n < size ? n : size - 1;
		data += n - 1;
	}
	(void)tell(&p, data + 1, size - 1);
	listen_to(&p);
	(void)challenge(&p, 0, &(const char *){NULL});
	close(p.fd);
	for (i = 0; i < 3; i++)
		pump(b);
	/* who waits for a server and has bytes unread is not seen to be gone */
	c = only_client(b);
	if (c && c->state == CL_WELCOME) {
		client_close(c, "gone");
		pump(b);
	}
	/* gone, with all that was its */
	MUST(list_empty(&b->hall.clients));
	MUST(b->hall.w.buf_bytes == 0);
	MUST(atomic_load(&b->sh.clients.used) == 0);
	MUST(door_all(&b->sh.door) == 0 && b->sh.hubs.clients.n == 0);
	MUST(atomic_load(&b->sh.held_bytes) == b->hall.holds.reserved && b->hall.holds.used == 0);
	MUST(atomic_load(&b->hall.w.load) == 0);
	MUST(b->hall.stmts.n == 0);
	check_log(b);
	return 0;
}
