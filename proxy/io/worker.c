/* proxy/io/worker.c - see worker.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/worker.h"

#include <stdlib.h>
#include <string.h>

#define HEAVY_US 500u

uint64_t worker_clock(struct worker *w)
{
	w->now_us = clock_mono_us();
	return w->now_us;
}

int worker_secret(struct worker *w, void *p, size_t n)
{
	if (n > w->chance_n) {
		if (random_secret(w->chance, sizeof(w->chance)))
			return -1;
		w->chance_n = sizeof(w->chance);
	}
	w->chance_n -= (uint32_t)n;
	memcpy(p, w->chance + w->chance_n, n);
	explicit_bzero(w->chance + w->chance_n, n);
	return 0;
}

/* xorshift128+ */
uint64_t worker_random(struct worker *w)
{
	uint64_t a = w->rng[0], b = w->rng[1];

	w->rng[0] = b;
	a ^= a << 23;
	w->rng[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return w->rng[1] + b;
}

static void on_mbox(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct letter *l, *next;

	(void)fd;
	(void)what;
	worker_clock(w);
	for (l = mbox_take(&w->mbox); l; l = next) {
		next = l->next;
		l->deliver(w, l);
	}
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->alarm_at = 0; /* worker_turn looks at the deadlines */
}

int worker_init(struct worker *w, unsigned id, const struct log *log, void *owner,
		void (*turn_end)(struct worker *w), struct err *e)
{
	unsigned i;

	memset(w, 0, sizeof(*w));
	w->id = id;
	w->mbox.fd = -1;
	w->owner = owner;
	w->turn_end = turn_end;
	w->log = *log;
	w->log_ctx.log = &w->log;
	for (i = 0; i < DEADLINE_KINDS; i++)
		list_init(&w->deadlines[i]);
	list_init(&w->again);
	w->base = kernel_loop_new();
	if (!w->base || mbox_init(&w->mbox)) {
		worker_free(w);
		return err_set(e, "cannot make an event loop: out of memory or file descriptors");
	}
	if (random_secret(w->rng, sizeof(w->rng)) || (!w->rng[0] && !w->rng[1])) {
		worker_free(w);
		return err_set(e, "the system has no randomness");
	}
	watch_init(&w->mbox_watch, w->base, w->mbox.fd, WATCH_READ, on_mbox, w);
	watch_on(&w->mbox_watch);
	alarm_init(&w->alarm, w->base, on_alarm, w);
	worker_clock(w);
	atomic_store(&w->alive_us, w->now_us);
	return 0;
}

static void bury_all(struct worker *w)
{
	struct corpse *c, *next;

	while (w->grave) {
		c = w->grave;
		w->grave = NULL;
		for (; c; c = next) {
			next = c->next;
			c->bury(c);
		}
	}
}

void worker_free(struct worker *w)
{
	struct buf *b, *next;

	bury_all(w);
	if (w->base) {
		watch_drop(&w->mbox_watch);
		watch_drop(&w->alarm);
		kernel_loop_free(w->base);
		w->base = NULL;
	}
	mbox_close(&w->mbox);
	tls_sessions_clear(&w->tls_sessions);
	for (b = w->spare; b; b = next) {
		next = b->next;
		free(b);
	}
	w->spare = NULL;
	w->spare_n = 0;
}

void worker_post(struct worker *w, struct letter *l)
{
	mbox_post(&w->mbox, l);
}

void worker_bury(struct worker *w, struct corpse *c, void (*bury)(struct corpse *c))
{
	c->bury = bury;
	c->next = w->grave;
	w->grave = c;
}

void deadline_set(struct worker *w, unsigned kind, struct deadline *d, uint64_t at_us)
{
	struct link *head = &w->deadlines[kind], *after;

	list_del(&d->link);
	d->at_us = at_us;
	for (after = head->prev; after != head; after = after->prev)
		if (LIST_ITEM(after, struct deadline, link)->at_us <= at_us)
			break;
	list_insert(&d->link, after, after->next);
}

static void fire_due(struct worker *w)
{
	unsigned i;

	for (i = 0; i < DEADLINE_KINDS; i++)
		while (!list_empty(&w->deadlines[i])) {
			struct deadline *d =
				LIST_ITEM(w->deadlines[i].next, struct deadline, link);

			if (d->at_us > w->now_us)
				break;
			list_del(&d->link);
			d->fire(d);
		}
}

static void set_alarm(struct worker *w)
{
	uint64_t first = 0;
	unsigned i;

	for (i = 0; i < DEADLINE_KINDS; i++)
		if (!list_empty(&w->deadlines[i])) {
			uint64_t at =
				LIST_ITEM(w->deadlines[i].next, struct deadline, link)->at_us;

			if (!first || at < first)
				first = at;
		}
	/* An earlier alarm than needed is harmless and cheaper than moving it. */
	if (!first || (w->alarm_at && w->alarm_at <= first))
		return;
	w->alarm_at = first;
	alarm_on(&w->alarm, first > w->now_us ? first - w->now_us : 0);
}

void worker_again(struct worker *w, struct again *a)
{
	if (!list_on(&a->link))
		list_push_back(&w->again, &a->link);
}

bool heavy_begin(struct worker *w)
{
	if (w->heavy_us >= HEAVY_US)
		return false;
	worker_clock(w);
	return true;
}

void heavy_end(struct worker *w)
{
	uint64_t began = w->now_us;

	/* at least something, whatever the clock says */
	w->heavy_us += worker_clock(w) - began + 1;
}

void worker_turn(struct worker *w)
{
	struct link *l;

	w->heavy_us = 0;
	worker_clock(w);
	fire_due(w);
	if (w->turn_end)
		w->turn_end(w);
	bury_all(w);
	while ((l = list_pop(&w->again)))
		watch_poke(LIST_ITEM(l, struct again, link)->watch);
	set_alarm(w);
	w->turn++;
	atomic_store_explicit(&w->alive_us, w->now_us, memory_order_relaxed);
}

void worker_run(struct worker *w)
{
	worker_turn(w);
	while (!w->done) {
		kernel_loop_once(w->base);
		worker_turn(w);
	}
}

struct buf *buf_take(struct worker *w, size_t want)
{
	struct buf *b = w->spare;
	size_t cap = want > BUF_CAP ? want : BUF_CAP;

	if (cap == BUF_CAP && b) {
		w->spare = b->next;
		w->spare_n--;
	} else {
		if (cap > UINT32_MAX - sizeof(*b))
			return NULL;
		b = malloc(sizeof(*b) + cap);
		if (!b)
			return NULL;
		b->cap = (uint32_t)cap;
	}
	b->next = NULL;
	b->start = b->end = 0;
	w->buf_bytes += b->cap;
	return b;
}

void buf_give(struct worker *w, struct buf *b)
{
	if (!b)
		return;
	w->buf_bytes -= b->cap;
	if (b->cap != BUF_CAP || w->spare_n >= BUF_SPARE_MAX) {
		free(b);
		return;
	}
	b->next = w->spare;
	w->spare = b;
	w->spare_n++;
}
