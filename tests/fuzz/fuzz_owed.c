/* tests/fuzz/fuzz_owed.c - two streams of messages, a client's and a server's,
 * cut at every offset: the same messages whatever the cut; then what is owed
 * for them, in the order that the input says.
 *
 * Input: a byte of flags (1: CockroachDB), the length of the client's stream in
 * two bytes, that stream, the server's. From the flags' upper bits on, a bit
 * for each step says who is next.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire/owed.h"
#include "proxy/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES 512

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct seen {
	uint8_t type[MESSAGES], first[MESSAGES];
	size_t end[MESSAGES];
	unsigned n;
	bool bad;
};

/* What is whole of p[0..n), from where the last look ended. */
static void look(const uint8_t *p, size_t n, struct seen *s)
{
	size_t at = s->n ? s->end[s->n - 1] : 0;

	while (!s->bad && s->n < MESSAGES) {
		uint8_t type = 0;
		uint32_t len = 0;
		enum wire_status r = wire_header(p + at, n - at, &type, &len);

		s->bad = r == WIRE_BAD;
		if (r != WIRE_OK || len > n - at)
			return;
		s->type[s->n] = type;
		s->first[s->n] = len > WIRE_HEADER ? p[at + WIRE_HEADER] : 0;
		at += len;
		s->end[s->n++] = at;
	}
}

static void frame(const uint8_t *p, size_t n, struct seen *whole)
{
	static struct seen parts;
	size_t cut;

	whole->n = 0;
	whole->bad = false;
	look(p, n, whole);
	for (cut = 0; cut <= n && n <= 512; cut++) {
		parts.n = 0;
		parts.bad = false;
		look(p, cut, &parts);
		look(p, n, &parts);
		must(parts.n == whole->n && parts.bad == whole->bad);
		must(memcmp(parts.type, whole->type, parts.n) == 0);
		must(memcmp(parts.end, whole->end, parts.n * sizeof(*parts.end)) == 0);
	}
	parts.n = 0;
	parts.bad = false;
	for (cut = 0; cut <= n; cut++) /* a byte at a time */
		look(p, cut, &parts);
	must(parts.n == whole->n && parts.bad == whole->bad);
}

static void check(const struct owed *o)
{
	uint32_t i, ready = 0;

	for (i = 0; i < o->n; i++) {
		uint8_t k = o->q[(o->head + i) & (o->cap - 1)].kind;

		must(k < OWED_KIND_N);
		ready += k == OWED_SYNC || k == OWED_QUERY || k == OWED_FCALL;
	}
	must(o->ready_n == ready && o->n <= o->cap && o->cap <= OWED_MAX);
	must(!owed_nothing(o) || (o->n == 0 && !o->open && !o->skipping));
	must(!o->skipping || o->n == 0);
}

struct counts {
	uint64_t sent, settled, dropped;
};

static void on_drop(void *arg, const struct owed_entry *e, bool failed)
{
	struct counts *c = arg;

	(void)failed;
	must(e->kind < OWED_KIND_N && e->kind != OWED_COPY_END);
	c->dropped++;
}

static void send_one(struct owed *o, const struct seen *s, unsigned i, struct counts *c)
{
	uint32_t before = o->n;
	bool live = true, skipping = o->skipping;

	if (s->type[i] == 'L')
		must(owed_sent_local(o, i, &live) == 0);
	else
		must(owed_sent(o, (char)s->type[i], (char)s->first[i], s->first[i] & 1, i, &live) == 0);
	must(o->n == before || o->n == before + 1);
	must(live || (skipping && o->n == before));
	c->sent += o->n - before;
}

static void get_one(struct owed *o, uint8_t type, struct counts *c)
{
	uint32_t before = o->n;
	struct owed_entry e = {.kind = 0};
	enum owed_verdict v;

	v = owed_got(o, (char)type, &e, on_drop, c);
	must(o->n <= before);
	must(v <= OWED_BROKEN);
	must(v != OWED_BROKEN || o->unsure || o->n == before);
	must(v != OWED_ASYNC || before == 0);
	must(e.kind <= OWED_KIND_N);
	if (e.kind != OWED_KIND_N && type != 'E') {
		must(v == (e.swallow ? OWED_SWALLOW : OWED_FORWARD));
		c->settled++;
	}
	while (owed_local_due(o)) {
		(void)owed_local_take(o);
		c->settled++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen up, down;
	struct owed o = {.q = NULL};
	struct counts c = {0, 0, 0};
	unsigned i = 0, k = 0, step = 0;
	size_t n;

	if (size < 3)
		return 0;
	n = (size_t)data[1] << 8 | data[2];
	n = n > size - 3 ? size - 3 : n;
	frame(data + 3, n, &up);
	frame(data + 3 + n, size - 3 - n, &down);
	o.query_ends_skip = data[0] & 1;
	while (i < up.n || k < down.n) {
		bool first = (data[(step / 8) % size] >> (7 - step % 8) & 1) != 0;

		step++;
		if (k == down.n || (i < up.n && first))
			send_one(&o, &up, i++, &c);
		else
			get_one(&o, down.type[k++], &c);
		check(&o);
		must(c.settled + c.dropped + o.n <= c.sent);
	}
	owed_reset(&o);
	must(owed_nothing(&o));
	owed_free(&o);
	return 0;
}
