/* proxy/session/hall.c - see hall.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/hall.h"

#include <stdlib.h>
#include <string.h>

#include "session/cancel.h"
#include "session/client.h"
#include "session/serve.h"
#include "session/ending.h"
#include "session/link.h"
#include "session/shard.h"
#include "session/login.h"
#include "session/server.h"

#define TICK_US 333000u

static const struct server_up server_up = {
	.connected = login_begin,
	.live = serve_live,
	.readable = serve_readable,
	.drained = serve_drained,
	.failed = serve_failed,
	.tokens = link_tokens,
	.late = serve_late,
	.dial = link_dial,
	.cancelled = serve_cancelled,
};

static void on_tick(struct deadline *d)
{
	struct hall *h = LIST_ITEM(d, struct hall, tick);

	link_tick(h);
	deadline_set(&h->w, DL_TICK, d, h->w.now_us + TICK_US);
}

static void close_servers(struct hall *h)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers)
		server_close(LIST_ITEM(l, struct server, all), "shutting down", true);
}

static void turn_end(struct worker *w)
{
	struct hall *h = hall_of(w);

	clients_run_ready(h);
	if ((!h->draining && !h->stopping) || !list_empty(&h->clients))
		return;
	cancels_drop(h);
	close_servers(h);
	w->done = true;
}

int hall_init(struct hall *h, unsigned id, struct shared *sh, const struct log *log,
	      struct snapshot *snap, const struct hall_ops *ops, struct err *e)
{
	uint64_t key[2];

	memset(h, 0, sizeof(*h));
	h->snap = snap;
	h->sh = sh;
	h->ops = ops;
	h->up = &server_up;
	list_init(&h->clients);
	list_init(&h->servers);
	list_init(&h->ready);
	list_init(&h->resume);
	if (random_secret(key, sizeof(key)))
		return err_set(e, "the system has no randomness");
	stmts_init(&h->stmts, id, key);
	h->serial = (uint64_t)(id + 1) << 48;
	if (worker_init(&h->w, id, log, h, turn_end, e))
		return -1;
	deadline_init(&h->tick, on_tick);
	deadline_set(&h->w, DL_TICK, &h->tick, h->w.now_us + TICK_US);
	return 0;
}

void hall_free(struct hall *h)
{
	struct link *l, *tmp;
	struct letter *m, *next;

	h->stopping = true;
	/* letters that came after the end still carry what they carry */
	for (m = h->w.base ? mbox_take(&h->w.mbox) : NULL; m; m = next) {
		next = m->next;
		m->deliver(&h->w, m);
	}
	LIST_EACH(l, tmp, &h->clients)
		client_close(LIST_ITEM(l, struct client, all), "shutting down");
	if (h->w.base) {
		cancels_drop(h);
		close_servers(h);
		deadline_clear(&h->tick);
	}
	shards_sweep(h, true);
	worker_free(&h->w);
	stmts_free(&h->stmts);
	snapshot_drop(h->snap);
	h->snap = NULL;
}

void hall_run(struct hall *h)
{
	worker_run(&h->w);
	h->sh->hall_stopped(h->sh, h);
}

/* ---- letters ---- */

struct note {
	struct letter l;
	struct snapshot *snap;
	int fd;
};

static void post(struct hall *h, void (*deliver)(struct worker *, struct letter *), int fd,
		 struct snapshot *snap)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n) {
		if (fd >= 0)
			kernel_close(fd);
		snapshot_drop(snap);
		return;
	}
	n->l.deliver = deliver;
	n->fd = fd;
	n->snap = snap;
	worker_post(&h->w, &n->l);
}

static void on_client(struct worker *w, struct letter *l)
{
	struct note *n = (struct note *)(void *)l;
	struct hall *h = hall_of(w);

	if (h->draining || h->stopping)
		kernel_close(n->fd);
	else
		client_accept(h, n->fd);
	atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
	free(n);
}

void hall_tell_client(struct hall *h, int fd)
{
	/* counted at once, so that a burst is spread */
	atomic_fetch_add_explicit(&h->w.load, 1, memory_order_relaxed);
	post(h, on_client, fd, NULL);
}

static void on_conf(struct worker *w, struct letter *l)
{
	struct note *n = (struct note *)(void *)l;
	struct hall *h = hall_of(w);
	struct shard *sh;

	snapshot_drop(h->snap);
	h->snap = n->snap;
	for (sh = h->shards; sh; sh = sh->next)
		shard_reconf(sh, h->snap);
	clients_gone(h);
	link_look(h);
	free(n);
}

void hall_tell_conf(struct hall *h, struct snapshot *snap)
{
	post(h, on_conf, -1, snap);
}

static void on_targets(struct worker *w, struct letter *l)
{
	serve_targets_changed(hall_of(w));
	free(l);
}

void hall_tell_targets(struct hall *h)
{
	post(h, on_targets, -1, NULL);
}

static void on_drain(struct worker *w, struct letter *l)
{
	struct hall *h = hall_of(w);
	struct link *k, *tmp;

	h->draining = true;
	LIST_EACH(k, tmp, &h->clients)
		client_drain(LIST_ITEM(k, struct client, all));
	free(l);
}

void hall_tell_drain(struct hall *h)
{
	post(h, on_drain, -1, NULL);
}

static void on_stop(struct worker *w, struct letter *l)
{
	struct hall *h = hall_of(w);
	struct link *k, *tmp;

	h->stopping = h->draining = true;
	LIST_EACH(k, tmp, &h->clients)
		client_close(LIST_ITEM(k, struct client, all), "shutting down");
	free(l);
}

void hall_tell_stop(struct hall *h)
{
	post(h, on_stop, -1, NULL);
}
