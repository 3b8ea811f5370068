/* proxy/session/hall.c - see hall.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/hall.h"

#include <stdlib.h>
#include <string.h>

#include "session/arrive.h"
#include "session/asker.h"
#include "session/cancel.h"
#include "session/client.h"
#include "session/serve.h"
#include "session/ending.h"
#include "session/link.h"
#include "session/shard.h"
#include "session/login.h"
#include "session/overdue.h"
#include "session/obey.h"
#include "session/peers.h"
#include "session/quota.h"
#include "session/server.h"

#define TICK_US 333000u

static const struct server_up server_up = {
	.connected = login_begin,
	.secured = login_secured,
	.live = serve_live,
	.readable = serve_readable,
	.drained = serve_drained,
	.failed = serve_failed,
	.tried = serve_tried,
	.tokens = link_tokens,
	.late = serve_late,
	.dial = link_dial,
	.auth_done = client_auth_done,
	.inner = arrive_inner,
	.cancelled = serve_cancelled,
};

static void on_tick(struct deadline *d)
{
	struct hall *h = LIST_ITEM(d, struct hall, tick);

	overdue_tick(h);
	link_tick(h);
	askers_tick(h);
	peers_tick(h);
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
	h->holds.total = &sh->held_bytes;
	h->ops = ops;
	h->up = &server_up;
	list_init(&h->clients);
	list_init(&h->servers);
	list_init(&h->ready);
	list_init(&h->resume);
	known_init(&h->known, KNOWN_USERS);
	if (queries_init(&h->queries, (unsigned)snap->conf->g.query_stats))
		return err_set(e, "out of memory");
	if (random_secret(key, sizeof(key)))
		return err_set(e, "the system has no randomness");
	stmts_init(&h->stmts, id, key);
	h->serial = (uint64_t)(id + 1) << 48;
	if (worker_init(&h->w, id, log, h, turn_end, e))
		return -1;
	h->lobby = meters_lobby(&sh->meters, id);
	h->console_meter = meters_get(&sh->meters, METER_DB, "pgbouncer");
	h->console = meter_side(h->console_meter, id);
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
	askers_drop(h);
	known_clear(&h->known);
	if (h->w.base) {
		cancels_drop(h);
		close_servers(h);
		deadline_clear(&h->tick);
	}
	shards_sweep(h, true);
	worker_free(&h->w);
	meters_put(&h->sh->meters, h->console_meter);
	queries_free(&h->queries);
	stmts_free(&h->stmts);
	holds_free(&h->holds);
	proofs_free(&h->proofs);
	snapshot_drop(h->snap);
	h->snap = NULL;
	gates_drop(h->gates);
	h->gates = NULL;
}

void hall_run(struct hall *h)
{
	worker_run(&h->w);
	atomic_store(&h->ended, true);
	h->sh->hall_stopped(h->sh, h);
}

/* ---- letters ---- */

static void let_in(struct hall *h, struct knock *k)
{
	if (h->draining || h->stopping) {
		kernel_close(k->fd);
		door_leave(&h->sh->door, k);
	} else {
		arrive(h, k);
	}
}

static void on_client(struct worker *w, struct letter *l)
{
	let_in(hall_of(w), LIST_ITEM(l, struct knock, arrive));
	atomic_fetch_sub_explicit(&w->load, 1, memory_order_relaxed);
}

void hall_tell_client(struct hall *h, int fd, const struct listen_from *from, bool spoken)
{
	struct knock *k = door_enter(&h->sh->door, h, fd, from, spoken);

	if (!k) {
		kernel_close(fd);
		return;
	}
	/* counted at once, so that a burst is spread */
	atomic_fetch_add_explicit(&h->w.load, 1, memory_order_relaxed);
	k->arrive.deliver = on_client;
	worker_post(&h->w, &k->arrive);
}

static struct hall *least_loaded(struct shared *sh)
{
	struct hall *best = &sh->halls[0];
	unsigned i, least = UINT32_MAX;

	for (i = 0; i < sh->hall_n; i++) {
		unsigned load = atomic_load_explicit(&sh->halls[i].w.load, memory_order_relaxed);

		if (load < least) {
			least = load;
			best = &sh->halls[i];
		}
	}
	return best;
}

void hall_welcome(struct hall *h, int fd, const struct listen_from *from, bool spoken)
{
	struct hall *to = least_loaded(h->sh);
	unsigned max = quota_strangers_max(&h->snap->conf->g);
	struct knock *k;

	if (door_all(&h->sh->door) >= max + ARRIVALS_MAX) {
		LOG(&h->w.log_ctx, LOG_LEVEL_WARN, "client_shed", "why=\"workers are busy\"");
		kernel_close(fd);
		return;
	}
	if (to != h)
		hall_tell_client(to, fd, from, spoken);
	else if ((k = door_enter(&h->sh->door, h, fd, from, spoken)))
		let_in(h, k);
	else
		kernel_close(fd);
	halls_make_room(h->sh, max);
}

static void on_go(struct worker *w, struct letter *l)
{
	struct knock *k = LIST_ITEM(l, struct knock, go);

	(void)w;
	if (k->c)
		client_shed(k->c);
	door_told(k);
}

void halls_make_room(struct shared *sh, unsigned max)
{
	struct knock *k;

	while ((k = door_oldest(&sh->door, max))) {
		k->go.deliver = on_go;
		worker_post(&k->h->w, &k->go);
	}
}

/* Without memory nobody is told. */
static void post(struct hall *h, void (*deliver)(struct worker *, struct letter *))
{
	struct letter *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->deliver = deliver;
	worker_post(&h->w, l);
}

void hall_use_conf(struct hall *h, struct snapshot *snap)
{
	struct shard *sh;

	snapshot_drop(h->snap);
	h->snap = snap;
	for (sh = h->shards; sh; sh = sh->next)
		shard_reconf(sh, h->snap);
	askers_reconf(h);
	proofs_clear(&h->proofs); /* a database may be on other servers now */
	clients_gone(h);
	link_look(h);
}

static void on_targets(struct worker *w, struct letter *l)
{
	serve_targets_changed(hall_of(w));
	free(l);
}

void hall_tell_targets(struct hall *h)
{
	post(h, on_targets);
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
	post(h, on_drain);
}

static void on_end(struct worker *w, struct letter *l)
{
	obey_end(hall_of(w));
	free(l);
}

void hall_tell_end(struct hall *h)
{
	post(h, on_end);
}

static void on_finish(struct worker *w, struct letter *l)
{
	hall_of(w)->closing = true;
	free(l);
}

void hall_tell_finish(struct hall *h)
{
	post(h, on_finish);
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
	post(h, on_stop);
}
