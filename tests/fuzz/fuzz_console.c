/* tests/fuzz/fuzz_console.c - any bytes as what a client of the console says, in pieces, with
 * two workers whose rows are gathered. It may only look: orders are refused.
 *
 * The first byte: its lowest bit says that the rest is messages as they are; else each line
 * of it is one, its first character the type, and what follows the text: Q and P a command,
 * B and E and D and C names, numbers behind a blank. The other bits seed the cuts.
 *
 * What comes back must be whole messages, with no more ReadyForQuery than were asked for;
 * and nothing may be left when the client is gone.
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
#include "proxy/console/admin.h"
#include "proxy/session/hall.h"
#include "proxy/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "broken: %s\n", #x);                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define HALLS 2u

struct house {
	struct hall halls[HALLS];
	struct shared sh;
	struct targets targets;
	struct log log;
	_Atomic int level;
	int log_fd;
	uint8_t in[1 << 20];
	size_t in_n;
	unsigned asked;              /* ReadyForQuery at most */
	uint64_t rnd;
	int fd;
};

static const char conf_text[] = "[databases]\n"
				"db = host=/nonexistent,/neither user=forced password=x\n"
				"* = host=name.invalid user=forced\n"
				"[users]\n"
				"u = pool_size=3\n"
				"[peers]\n"
				"2 = host=/nonexistent\n"
				"[pgweir]\n"
				"auth_type = trust\n"
				"listen_addr = 127.0.0.1\n"
				"stats_users = viewer\n";

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

static struct house *build(void)
{
	struct house *b = calloc(1, sizeof(*b));
	struct conf_over over = {.listen_port = -1, .numeric_hosts = true};
	struct snapshot *snap;
	struct conf *conf;
	struct err e;
	unsigned i;

	MUST(b);
	if (conf_load_mem("fuzz.ini", conf_text, strlen(conf_text), &over, &conf, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	snap = snapshot_make(conf, NULL, &b->targets, NULL, NULL);
	MUST(snap);
	atomic_init(&b->level, LOG_LEVEL_ERROR);
	b->log_fd = memfd_create("log", MFD_CLOEXEC);
	b->log = (struct log){.fd = b->log_fd, .level = &b->level, .wall_us = clock_wall_us};
	MUST(hubs_init(&b->sh.hubs, HALLS) == 0);
	MUST(meters_init(&b->sh.meters, HALLS, 1) == 0);
	MUST(door_init(&b->sh.door) == 0);
	limit_init(&b->sh.clients, 10);
	limit_init(&b->sh.consoles, 10);
	b->sh.halls = b->halls;
	b->sh.target_seen = on_seen;
	b->sh.hall_stopped = on_stopped;
	for (i = 0; i < HALLS; i++) {
		MUST(hall_init(&b->halls[i], i, &b->sh, &b->log, snapshot_hold(snap), &admin_ops, &e) == 0);
		b->sh.hall_n++;
	}
	snapshot_drop(snap);
	return b;
}

static void on_enough(struct worker *w, struct letter *l)
{
	(void)l;
	w->done = true;
}

static void pump(struct house *b)
{
	struct letter enough = {.deliver = on_enough};
	unsigned i;

	for (i = 0; i < 2 * HALLS; i++) {
		struct worker *w = &b->halls[i % HALLS].w;

		w->done = false;
		worker_post(w, &enough);
		worker_run(w);
	}
}

static void hear(struct house *b)
{
	ssize_t n;

	do {
		pump(b);
		n = recv(b->fd, b->in + b->in_n, sizeof(b->in) - b->in_n, MSG_DONTWAIT);
		b->in_n += n > 0 ? (size_t)n : 0;
	} while (n > 0 && b->in_n < sizeof(b->in));
}

static bool tell(struct house *b, const uint8_t *data, size_t n)
{
	while (n) {
		size_t piece = n;
		ssize_t sent;

		b->rnd = b->rnd * 6364136223846793005ULL + 1442695040888963407ULL;
		if (b->rnd >> 60 < 10)
			piece = 1 + (b->rnd >> 33) % (n < 60 ? n : 60);
		sent = send(b->fd, data, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
		hear(b);
		if (sent <= 0)
			return false;
		data += sent;
		n -= (size_t)sent;
	}
	return true;
}

static void log_in(struct house *b)
{
	uint8_t out[128];
	struct wire_put w = wire_put_to(out, sizeof(out));

	wire_begin(&w, 0);
	wire_put_u32(&w, WIRE_PROTO_3);
	wire_put_str(&w, "user");
	wire_put_str(&w, "viewer");
	wire_put_str(&w, "database");
	wire_put_str(&w, "pgweir");
	wire_put_u8(&w, 0);
	wire_end(&w);
	b->asked = 1;
	MUST(tell(b, out, w.len));
}

/* A line as a message. */
static bool say_line(struct house *b, const uint8_t *line, size_t n)
{
	uint8_t out[4096];
	struct wire_put w = wire_put_to(out, sizeof(out));
	char text[3000], *blank;
	unsigned number = 0;

	if (!n || n >= sizeof(text))
		return true;
	memcpy(text, line + 1, n - 1);
	text[n - 1] = 0;
	if (strlen(text) != n - 1)
		return true;
	blank = strchr(text, ' ');
	if (blank && !strchr("QP", line[0])) {
		*blank = 0;
		number = (unsigned)strtoul(blank + 1, NULL, 10);
	}
	wire_begin(&w, (char)line[0]);
	if (line[0] == 'P')
		wire_put_str(&w, number % 2 ? "a" : "");
	if (strchr("DC", line[0]))
		wire_put_u8(&w, number % 2 ? 'P' : 'S');
	if (!strchr("SHX", line[0]))
		wire_put_str(&w, text);
	switch (line[0]) {
	case 'P':
		wire_put_u16(&w, 0);
		break;
	case 'B':
		wire_put_str(&w, number & 1 ? "a" : "");
		wire_put_u16(&w, 0);
		wire_put_u16(&w, number >> 1 & 1);
		wire_put_u16(&w, number >> 2 & 1);
		if (number >> 2 & 1)
			wire_put_u16(&w, number >> 3 & 1);
		break;
	case 'E':
		wire_put_u32(&w, number);
		break;
	default:
		break;
	}
	wire_end(&w);
	MUST(!w.bad);
	return tell(b, out, w.len);
}

/* How many ReadyForQuery messages like these may bring. */
static unsigned count_asks(const uint8_t *p, size_t n)
{
	unsigned k = 0;
	size_t i;

	for (i = 0; i < n; i++)
		k += p[i] == 'Q' || p[i] == 'S' || p[i] == 'F';
	return k;
}

static void check_answers(const struct house *b)
{
	unsigned readies = 0;
	size_t at = 0;

	while (at < b->in_n) {
		uint8_t type = 0;
		uint32_t len = 0;

		MUST(wire_header(b->in + at, b->in_n - at, &type, &len) == WIRE_OK);
		MUST(len <= b->in_n - at);
		MUST(strchr("RSKZTDCEN123nstI", type));
		readies += type == 'Z';
		at += len;
	}
	MUST(readies <= b->asked);
}

static void check_gone(struct house *b)
{
	char text[4096];
	ssize_t n;
	unsigned i;

	for (i = 0; i < HALLS; i++) {
		MUST(list_empty(&b->halls[i].clients));
		MUST(b->halls[i].w.buf_bytes == 0);
		MUST(atomic_load(&b->halls[i].w.load) == 0);
	}
	MUST(atomic_load(&b->sh.consoles.used) == 0);
	MUST(!b->sh.hubs.head);
	n = pread(b->log_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	MUST(!strstr(text, "cannot_happen"));
	MUST(ftruncate(b->log_fd, 0) == 0 && lseek(b->log_fd, 0, SEEK_SET) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct house *b;
	const struct listen_from from = { .a.sa.sa_family = AF_UNIX, .len = sizeof(sa_family_t) };
	int fd[2], i;

	if (size < 1)
		return 0;
	if (!b)
		b = build();
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	b->fd = fd[1];
	b->in_n = 0;
	b->rnd = data[0] >> 1;
	hall_tell_client(&b->halls[data[0] >> 1 & 1], fd[0], &from, false);
	log_in(b);
	b->asked += count_asks(data + 1, size - 1);
	if (data[0] & 1) {
		(void)tell(b, data + 1, size - 1);
	} else {
		const uint8_t *p = data + 1, *end = data + size, *nl;

		for (; p < end; p = nl + 1) {
			nl = memchr(p, '\n', (size_t)(end - p));
			if (!nl)
				nl = end;
			if (!say_line(b, p, (size_t)(nl - p)))
				break;
		}
	}
	hear(b);
	if (b->in_n < sizeof(b->in))
		check_answers(b);
	close(b->fd);
	for (i = 0; i < 4; i++)
		pump(b);
	check_gone(b);
	return 0;
}
