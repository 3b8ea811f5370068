/* proxy/session/link.c - see link.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/count.h"
#include "session/login.h"
#include "session/nodes.h"
#include "session/pass.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"

/* Idle for longer than this and it is looked at before it is used: whoever
 * was there a moment ago is told of an end by epoll soon enough. */
#define PEEK_AFTER_US 2000u

/* ---- letters ---- */

enum ask { ASK_SPARE, ASK_NO_SPARE, ASK_TOKENS, ASK_EVICT, ASK_EVICT_NODE, ASK_PLACE };

struct ask_letter {
	struct letter l;
	enum ask what;
	unsigned from;
	const void *key;       /* struct hub, hub_group or target: compared, never followed */
	uint64_t since;        /* ASK_PLACE: who asks waits since then */
};

static struct shard *shard_of(struct hall *h, const void *hub)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (sh->pool.hub == hub)
			return sh;
	return NULL;
}

static void post_server(struct server *s, unsigned to);
static void ask(struct hall *h, unsigned to, enum ask what, const void *key);
static bool give_place(struct shard *sh, uint64_t since);

/* Whoever asks has waiters, and so no idle server: it need not be left out. */
static bool evict_one(struct hall *h, const void *group)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next) {
		struct pool_server *ps = pool_oldest_idle(&sh->pool);

		if ((sh->pool.hub->in != group && sh->pool.hub->of != group) || !ps)
			continue;
		server_close(server_of(ps), "makes room for another pool of its database or user",
			     true);
		return true;
	}
	return false;
}

/* An idle server at the node, of a pool in which nobody waits. */
static bool evict_at(struct hall *h, const void *node)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (s->target != node || s->ps.seat != SEAT_IDLE || s->shard->pool.waiting_n)
			continue;
		server_close(s, "makes room for another pool at its node", true);
		return true;
	}
	return false;
}

static void on_ask(struct worker *w, struct letter *l)
{
	struct ask_letter *a = (struct ask_letter *)(void *)l;
	struct hall *h = hall_of(w);
	struct pool_server *ps;
	struct shard *sh;

	switch (a->what) {
	case ASK_SPARE:
		sh = shard_of(h, a->key);
		ps = sh ? pool_spare(&sh->pool, a->from) : NULL;
		if (ps)
			post_server(server_of(ps), a->from);
		else
			ask(h, a->from, ASK_NO_SPARE, a->key);
		break;
	case ASK_NO_SPARE:
		sh = shard_of(h, a->key);
		if (sh)
			link_dial(sh);
		break;
	case ASK_TOKENS:
		link_look(h);
		break;
	case ASK_EVICT:
		(void)evict_one(h, a->key);
		break;
	case ASK_EVICT_NODE:
		(void)evict_at(h, a->key);
		break;
	case ASK_PLACE:
		sh = shard_of(h, a->key);
		if (sh)
			(void)give_place(sh, a->since);
		break;
	}
	free(a);
}

static void ask_since(struct hall *h, unsigned to, enum ask what, const void *key, uint64_t since)
{
	struct ask_letter *a = calloc(1, sizeof(*a));

	if (!a)
		return; /* the upkeep looks again */
	a->l.deliver = on_ask;
	a->what = what;
	a->from = h->w.id;
	a->key = key;
	a->since = since;
	worker_post(&h->sh->halls[to].w, &a->l);
}

static void ask(struct hall *h, unsigned to, enum ask what, const void *key)
{
	ask_since(h, to, what, key, 0);
}

static void on_server(struct worker *w, struct letter *l)
{
	struct server *s = LIST_ITEM(l, struct server, letter);
	struct hall *h = hall_of(w);
	struct hub *hub = s->shard->pool.hub;
	struct shard *sh = shard_of(h, hub);

	/* The shard stays while hub->moving counts this server. */
	server_join(s, h, sh);
	pool_adopt(&sh->pool, &s->ps);
	COUNT_SERVER(s, server_handovers);
	link_put(s);
	if (sh->pool.waiting_n) {
		sh->asked_spare = false; /* there may be more of them */
		link_dial(sh);
	}
}

static void post_server(struct server *s, unsigned to)
{
	struct hall *h = s->h;

	server_leave(s);
	s->letter.deliver = on_server;
	worker_post(&h->sh->halls[to].w, &s->letter);
}

void link_tokens(struct hall *h)
{
	unsigned i;

	if (h->stopping)
		return; /* so do all, and nobody may be there to read it */
	for (i = 0; i < h->sh->hall_n; i++)
		ask(h, i, ASK_TOKENS, NULL);
}

/* ---- linking ---- */

static void linked(struct client *c)
{
	c->at_start = c->undressed = true;
	c->dressed_only = false;
	if (c->state != CL_WELCOME) {
		client_step(c, CE_LINK);
		server_for(c)->used = true;
		COUNT_AT(c, server_for(c), assignments);
	}
}

/* Is the server that was taken still there? */
static bool fresh(struct server *s)
{
	return s->h->w.now_us - s->idle_us < PEEK_AFTER_US || stream_quiet(&s->s);
}

bool link_need(struct client *c)
{
	struct hall *h = c->h;
	struct shard *sh = c->shard;
	uint64_t limit = c->wait_timeout_us ? (uint64_t)c->wait_timeout_us : 0;
	struct pool_server *ps;

	while ((ps = pool_take(&sh->pool, &c->pc))) {
		if (fresh(server_of(ps))) {
			linked(c);
			return true;
		}
		pool_part(ps);
		server_close(server_of(ps), "closed while idle", false);
	}
	c->wait_since = h->w.now_us;
	c->wait_told = false;
	COUNT_INC(c, waits);
	pool_wait(&sh->pool, &c->pc, h->w.now_us);
	if (c->state != CL_WELCOME)
		client_step(c, CE_WAIT);
	deadline_clear(&c->idle_dl); /* it is we who let it wait */
	if (limit && (c->state != CL_WELCOME || !deadline_is_set(&c->dl) ||
		      c->dl.at_us > h->w.now_us + limit))
		deadline_set(&h->w, DL_WAIT, &c->dl, h->w.now_us + limit);
	sh->asked_spare = sh->asked_evict = false;
	link_dial(sh);
	return false;
}

void link_unwait(struct client *c)
{
	if (c->pc.ticket)
		pool_unwait(&c->pc);
}

/* true: another worker has been asked for an idle server. It answers with one, or
 * that it has none any more. */
static bool ask_others(struct shard *sh)
{
	bool any = false;
	unsigned i;

	if (sh->asked_spare)
		return false;
	sh->asked_spare = true;
	for (i = 0; i < sh->pool.hub->worker_n; i++)
		if (pool_asks(&sh->pool, i)) {
			ask(sh->h, i, ASK_SPARE, sh->pool.hub);
			any = true;
		}
	return any;
}

/* Once until somebody has looked again. */
static void ask_evict(struct shard *sh, enum ask what, const void *key)
{
	struct hall *h = sh->h;
	unsigned i;

	if (sh->asked_evict)
		return;
	sh->asked_evict = true;
	for (i = 0; i < h->sh->hall_n; i++)
		if (i != h->w.id)
			ask(h, i, what, key);
}

/* Another pool of its database or of its user gives up a place, or any at a node that is
 * full. */
static void make_room(struct shard *sh, enum dialled full)
{
	const void *node = full == DIALLED_NODE_FULL ? nodes_full(sh) : NULL;
	const void *group = full == DIALLED_DB_FULL   ? sh->pool.hub->in :
			    full == DIALLED_USER_FULL ? sh->pool.hub->of :
							NULL;

	if (group && !evict_one(sh->h, group))
		ask_evict(sh, ASK_EVICT, group);
	if (node && !evict_at(sh->h, node))
		ask_evict(sh, ASK_EVICT_NODE, node);
}

/* One more server for this shard. false: not now. */
static bool dial_one(struct shard *sh)
{
	enum dialled r = nodes_dial(sh);

	if (r != DIALLED && r != DIALLED_NOT_NOW)
		make_room(sh, r);
	return r == DIALLED;
}

/* ---- places for passwords that are to be proven ---- */

/* Whoever waits for the place asks again before that. */
#define PLACE_US 1000000u

/* An idle server of the pool is closed (true), or the next that comes free. */
static bool give_place(struct shard *sh, uint64_t since)
{
	struct pool_server *ps = pool_oldest_idle(&sh->pool);

	if (ps) {
		server_close(server_of(ps), "makes room for a login with another password", true);
		return true;
	}
	sh->place_since = since;
	sh->place_until = sh->h->w.now_us + PLACE_US;
	return false;
}

/* A server has come free: is its place wanted more than itself? */
static bool place_wanted(struct shard *sh)
{
	const struct link *first = sh->pool.waiting.next;
	uint64_t since = sh->place_since;

	if (!since || sh->h->w.now_us > sh->place_until)
		return false;
	if (sh->pool.waiting_n && LIST_ITEM(first, struct pool_client, link)->ticket <= since)
		return false;
	sh->place_since = 0;
	return true;
}

static void ask_places(struct shard *sh, uint64_t since)
{
	struct hall *h = sh->h;
	unsigned i;

	if (sh->asked_place)
		return;
	sh->asked_place = true;
	for (i = 0; i < h->sh->hall_n; i++)
		if (i != h->w.id)
			ask_since(h, i, ASK_PLACE, sh->pool.hub, since);
}

/* Does a client wait for a dial that came before t? */
static bool waits_longer(const struct shard *sh, const struct trial *t)
{
	const struct link *first = sh->pool.waiting.next;

	return pool_wants_dial(&sh->pool) &&
	       LIST_ITEM(first, struct pool_client, link)->ticket <= t->since_us;
}

/* all: and not only those who came before the clients that wait. */
static void try_passwords(struct shard *sh, bool all)
{
	enum dialled full;
	struct trial *t;

	while ((t = pass_next(sh)) && (all || !waits_longer(sh, t))) {
		if (pass_held_up(t))
			continue;
		full = nodes_try(t);
		switch (full) {
		case DIALLED:
			break;
		case DIALLED_POOL_FULL:
			if (give_place(sh, t->since_us))
				break;
			ask_places(sh, t->since_us);
			return;
		case DIALLED_DB_FULL:
		case DIALLED_USER_FULL:
		case DIALLED_NODE_FULL:
			make_room(sh, full);
			return;
		case DIALLED_NOT_NOW:
		default:
			return;
		}
	}
}

static void dial_waiters(struct shard *sh)
{
	/* Nobody waits for a server to be dialled while another worker has one idle. */
	if (sh->pool.waiting_n && !sh->gone && ask_others(sh))
		return;
	/* After a failure one at a time, until one gets through. */
	while (!sh->gone && pool_wants_dial(&sh->pool) &&
	       !(sh->fails && pool_dialling(&sh->pool)))
		if (!dial_one(sh))
			return;
}

/* In the order of their coming. */
void link_dial(struct shard *sh)
{
	bool any = !sh->gone && !list_empty(&sh->trials);

	if (sh->paused)
		return;
	if (any)
		try_passwords(sh, false);
	dial_waiters(sh);
	if (any)
		try_passwords(sh, true);
}

void link_look(struct hall *h)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (sh->pool.waiting_n || !list_empty(&sh->trials)) {
			sh->asked_spare = sh->asked_evict = sh->asked_place = false;
			link_dial(sh);
		}
}

/* One that has just been dialled is used once, however short lives are. */
static bool too_old(const struct server *s)
{
	const struct shard *sh = s->shard;
	bool wanted = sh->pool.waiting_n || atomic_load(&sh->pool.hub->hungry) > 0;

	return s->h->w.now_us >= s->expires_us && (s->used || !wanted);
}

/* Does a pool beside this one wait for the place of one of its servers? */
static bool wanted_beside(struct hub_group *g)
{
	return atomic_load(&g->hungry) > 0 && limit_full(&g->limit);
}

static bool outlived(const struct server *s)
{
	const struct shard *sh = s->shard;

	return s->close_needed || s->owed.unsure || sh->gone || sh->paused ||
	       s->born_us < sh->renew_us || (s->once && s->used) ||
	       too_old(s) || limit_over(&sh->pool.hub->limit) ||
	       limit_over(&sh->pool.hub->in->limit) || limit_over(&sh->pool.hub->of->limit) ||
	       !target_role_suits(s->target, shard_attrs(sh));
}

void link_put(struct server *s)
{
	struct shard *sh = s->shard;
	struct hall *h = s->h;
	unsigned worker;

	stream_want(&s->s, true);
	server_park(s, s->cancels > 0);
	if (s->parked) {
		pool_clean(&s->ps); /* a cancel on its way would hit the next client */
		return;
	}
	if (outlived(s)) {
		server_close(s, "lifetime, limit or configuration", true);
		link_dial(sh);
		return;
	}
	if (place_wanted(sh)) {
		server_close(s, "makes room for a login with another password", true);
		link_dial(sh);
		return;
	}
	switch (pool_put(&sh->pool, &s->ps, &worker)) {
	case POOL_MARRIED: {
		struct client *c = client_for(s);

		deadline_clear(&c->dl);
		count_waited(c, s);
		linked(c);
		if (!list_on(&c->ready))
			list_push_back(&h->ready, &c->ready);
		/* its ticket hid those of the others (docs/models.md) */
		sh->asked_spare &= !sh->pool.waiting_n;
		if (sh->pool.waiting_n)
			(void)ask_others(sh);
		break;
	}
	case POOL_ELSEWHERE:
		post_server(s, worker);
		/* it may have come for a waiter here */
		if (sh->pool.waiting_n) {
			sh->asked_spare = sh->asked_evict = false;
			link_dial(sh);
		}
		break;
	case POOL_IDLE:
	default:
		s->idle_us = h->w.now_us;
		if (wanted_beside(sh->pool.hub->in) || wanted_beside(sh->pool.hub->of))
			link_tokens(h);
	}
}

/* ---- trouble ---- */

bool link_failed(struct shard *sh, struct target *t, const char *sqlstate, const char *message,
		 bool hard)
{
	bool full = strcmp(sqlstate, "53300") == 0;

	sh->fails++;
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	(void)snprintf(sh->last_sqlstate, sizeof(sh->last_sqlstate), "%s", sqlstate);
	(void)snprintf(sh->last_error, sizeof(sh->last_error), "%s: %s", t->addr.name, message);
	if (nodes_is_trouble(sqlstate)) {
		nodes_seen(sh->h, t, nodes_what(sqlstate, message, hard));
		link_dial(sh);
		return false;
	}
	if (full)
		atomic_store_explicit(&t->full_us, sh->h->w.now_us, memory_order_relaxed);
	if (full || strcmp(sqlstate, "25006") == 0 || atomic_load(&sh->pool.hub->limit.used) > 0) {
		/* full, in another role, or refused though others of the pool were let in */
		nodes_tried(sh, t);
		link_dial(sh);
		return false;
	}
	nodes_back_off(sh);
	return true;
}

void link_targets_changed(struct hall *h)
{
	struct server *s;
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		sh->tried = sh->dial_after_us = 0;
	while ((s = nodes_unsuitable(h)))
		if (s->state != SV_LIVE)
			login_failed(s, "08001", "its node is down", false);
		else
			server_close(s, "its node is not to be used any more", true);
	link_look(h);
}

/* ---- upkeep ---- */

#define CLOSING_IDLE_US 1000000u

/* autodb_idle_timeout: nobody has asked for this name for long. */
static bool forgotten(struct shard *sh, uint64_t now)
{
	const struct conf *conf = sh->snap->conf;
	uint64_t max = (uint64_t)conf->g.autodb_idle_timeout;

	if (sh->clients)
		sh->unused_us = 0;
	else if (!sh->unused_us)
		sh->unused_us = now;
	return max && sh->db->conf == conf->fallback && sh->unused_us && now - sh->unused_us > max;
}

static void trim_idle(struct shard *sh, uint64_t now)
{
	bool all = forgotten(sh, now);
	uint64_t idle_max = (uint64_t)sh->snap->conf->g.server_idle_timeout;
	int64_t keep = sh->asks ? 0 : CONF_PICK(CONF_UNSET, sh->db->conf->k.min_pool_size,
						sh->snap->conf->g.min_pool_size);
	struct link *l, *tmp;

	if (sh->h->closing) { /* the process that has taken over wants the places */
		idle_max = CLOSING_IDLE_US;
		keep = 0;
	}
	LIST_EACH(l, tmp, &sh->pool.seats[SEAT_IDLE]) {
		struct server *s = server_of(LIST_ITEM(l, struct pool_server, link));
		bool extra = atomic_load(&sh->pool.hub->limit.used) > keep || !sh->clients;

		if (outlived(s))
			server_close(s, "lifetime, limit or configuration", true);
		else if (all)
			server_close(s, "autodb_idle_timeout", true);
		else if (idle_max && extra && now - s->idle_us > idle_max)
			server_close(s, "server_idle_timeout", true);
	}
	while (sh->clients && !sh->gone && !sh->paused && keep > atomic_load(&sh->pool.hub->limit.used) &&
	       now >= sh->dial_after_us)
		if (!dial_one(sh))
			break;
}

void link_tick(struct hall *h)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		trim_idle(sh, h->w.now_us);
	nodes_rebalance(h);
	link_look(h);
	nodes_ask(h);
	shards_sweep(h, false);
}
