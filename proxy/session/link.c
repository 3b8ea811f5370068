/* proxy/session/link.c - see link.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pool/pick.h"
#include "session/login.h"
#include "session/server.h"
#include "session/step.h"

/* Idle for longer than this and it is looked at before it is used: whoever
 * was there a moment ago is told of an end by epoll soon enough. */
#define PEEK_AFTER_US 2000u
#define SHARD_KEEP_US 10000000u

/* ---- letters ---- */

enum ask { ASK_SPARE, ASK_NO_SPARE, ASK_TOKENS, ASK_EVICT };

struct ask_letter {
	struct letter l;
	enum ask what;
	unsigned from;
	const void *key;       /* struct hub or hub_db: compared, never followed */
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

/* Whoever asks has waiters, and so no idle server: it need not be left out. */
static bool evict_one(struct hall *h, const void *db)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next) {
		struct pool_server *ps = pool_oldest_idle(&sh->pool);

		if (sh->pool.hub->in != db || !ps)
			continue;
		server_close(server_of(ps), "makes room for another pool of its database", true);
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
	}
	free(a);
}

static void ask(struct hall *h, unsigned to, enum ask what, const void *key)
{
	struct ask_letter *a = calloc(1, sizeof(*a));

	if (!a)
		return; /* the upkeep looks again */
	a->l.deliver = on_ask;
	a->what = what;
	a->from = h->w.id;
	a->key = key;
	worker_post(&h->sh->halls[to].w, &a->l);
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
	STAT_INC(&h->stats, server_handovers);
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

/* ---- shards ---- */

enum session_attrs shard_attrs(const struct shard *sh)
{
	return (enum session_attrs)CONF_PICK(CONF_UNSET, sh->db->conf->k.target_session_attrs,
					     sh->snap->conf->g.target_session_attrs);
}

static int pool_size(const struct snapshot *snap, const struct snapshot_db *db,
		     const struct conf_user *u)
{
	return (int)CONF_PICK(u ? u->k.pool_size : CONF_UNSET, db->conf->k.pool_size,
			      snap->conf->g.default_pool_size);
}

/* One server of each pool is left to the others, if it has more than one. */
static int pins_max(const struct snapshot *snap, int size)
{
	int max = (int)snap->conf->g.max_pinned_servers;

	return max ? max : size > 1 ? size - 1 : size;
}

static int db_max(const struct snapshot *snap, const struct snapshot_db *db)
{
	return (int)CONF_PICK(CONF_UNSET, db->conf->k.max_db_connections,
			      snap->conf->g.max_db_connections);
}

static void on_dial_again(struct deadline *d)
{
	link_dial(LIST_ITEM(d, struct shard, dial_dl));
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* What a shard takes from its entries: names and the way to log in. user: NULL when
 * it is known. -1: out of memory, nothing has changed. */
static int shard_login(struct shard *sh, const struct snapshot_db *from,
		       const struct conf_user *user_conf, const char *db_name, const char *user)
{
	const struct conf_db_keys *k = &from->conf->k;
	const char *pw = k->user && *k->user ? k->password : NULL;
	enum secret_kind kind = pw ? SECRET_PLAIN : SECRET_NONE;
	char *db, *who, *secret;

	if (!pw && user_conf && !(k->user && *k->user)) {
		pw = user_conf->secret;
		kind = user_conf->secret_kind;
	}
	db = strdup(k->dbname && *k->dbname ? k->dbname : db_name);
	who = strdup(user ? user : sh->server_user);
	secret = pw ? strdup(pw) : NULL;
	if (!db || !who || (pw && !secret)) {
		free(db);
		free(who);
		wipe(secret);
		return -1;
	}
	free(sh->server_db);
	free(sh->server_user);
	wipe(sh->password);
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	sh->server_db = db;
	sh->server_user = who;
	sh->password = secret;
	sh->secret_kind = kind;
	return 0;
}

static void shard_free(struct shard *sh)
{
	deadline_clear(&sh->dial_dl);
	hubs_put(&sh->h->sh->hubs, sh->pool.hub);
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	wipe(sh->password);
	free(sh->server_db);
	free(sh->server_user);
	params_clear(&sh->login_params);
	snapshot_drop(sh->snap);
	free(sh);
}

/* pool: the user, as the pool is called. */
static struct shard *shard_make(struct hall *h, const struct snapshot_db *db, const char *db_name,
				const char *user, const char *pool, int size)
{
	struct shard *sh = calloc(1, sizeof(*sh));
	struct hub *hub;

	if (!sh)
		return NULL;
	sh->h = h;
	sh->snap = snapshot_hold(h->snap);
	sh->db = db;
	sh->user_conf = conf_find_user(h->snap->conf, user);
	deadline_init(&sh->dial_dl, on_dial_again);
	sh->log.log = &h->w.log;
	hub = hubs_get(&h->sh->hubs, db_name, pool, size, db_max(h->snap, db));
	if (hub)
		atomic_store(&hub->pins.max, pins_max(h->snap, size));
	if (!hub || shard_login(sh, db, sh->user_conf, db_name, user)) {
		sh->pool.hub = hub;
		shard_free(sh);
		return NULL;
	}
	pool_init(&sh->pool, hub, h->w.id, h->snap->conf->g.server_round_robin != 0);
	sh->rr = worker_random(&h->w);
	sh->next = h->shards;
	h->shards = sh;
	return sh;
}

struct shard *shard_get(struct hall *h, const struct snapshot_db *db, const char *db_name,
			const char *user)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (strcmp(sh->pool.hub->db, db_name) == 0 && strcmp(sh->pool.hub->user, user) == 0)
			return sh;
	return shard_make(h, db, db_name, user, user,
			  pool_size(h->snap, db, conf_find_user(h->snap->conf, user)));
}

struct shard *shard_replication(struct client *c, const struct snapshot_db *db, const char *user)
{
	struct shard *sh;
	char pool[160];

	(void)snprintf(pool, sizeof(pool), "%.100s (replication %llx)", user,
		       (unsigned long long)c->id);
	sh = shard_make(c->h, db, c->db, user, pool, 1);
	if (sh && params_copy(&sh->login_params, &c->params)) {
		sh->gone = true;
		return NULL;
	}
	if (sh)
		sh->replication = c->replication;
	return sh;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Would a server logged in by the old entry be wrong by the new one, whatever
 * its host? */
static bool retargeted(const struct snapshot_db *old, const struct snapshot_db *new)
{
	const struct conf_db_keys *a = &old->conf->k, *b = &new->conf->k;

	return !same_text(a->dbname, b->dbname) || !same_text(a->options, b->options) ||
	       !same_text(a->application_name, b->application_name);
}

static bool listed(const struct snapshot_db *db, const struct target *t)
{
	size_t i;

	for (i = 0; i < db->target_n; i++)
		if (db->targets[i] == t)
			return true;
	return false;
}

/* Servers that the new configuration would not have: idle ones go now, the
 * others at the end of their transaction. Those of unchanged hosts stay. */
static void retire_servers(struct shard *sh, const struct snapshot_db *db, bool all)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &sh->h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (s->shard != sh || (!all && listed(db, s->target)))
			continue;
		s->close_needed = true;
		if (s->ps.seat == SEAT_IDLE)
			server_close(s, "configuration changed", true);
	}
}

void shard_reconf(struct shard *sh, struct snapshot *snap)
{
	const struct snapshot_db *db = snapshot_db(snap, sh->pool.hub->db);
	struct hub *hub = sh->pool.hub;
	const char *forced = db ? db->conf->k.user : NULL;

	sh->gone = !db || (forced && *forced && strcmp(forced, sh->server_user) != 0);
	if (sh->gone) {
		retire_servers(sh, sh->db, true);
		return;
	}
	if (shard_login(sh, db, conf_find_user(snap->conf, sh->server_user), hub->db, NULL)) {
		LOG(&sh->log, LOG_LEVEL_ERROR, "out_of_memory", "kept=\"the settings before the reload\"");
		return;
	}
	retire_servers(sh, db, retargeted(sh->db, db));
	snapshot_drop(sh->snap);
	sh->snap = snapshot_hold(snap);
	sh->db = db;
	sh->user_conf = conf_find_user(snap->conf, sh->server_user);
	sh->pool.round_robin = snap->conf->g.server_round_robin != 0;
	if (!sh->replication)
		atomic_store(&hub->limit.max, pool_size(snap, db, sh->user_conf));
	atomic_store(&hub->pins.max, pins_max(snap, pool_size(snap, db, sh->user_conf)));
	atomic_store(&hub->in->limit.max, db_max(snap, db));
	sh->tried = sh->dial_after_us = 0;
}

void shards_sweep(struct hall *h, bool all)
{
	struct shard **p = &h->shards, *sh;
	uint64_t now = h->w.now_us;

	while ((sh = *p)) {
		bool empty = !sh->clients && !sh->servers && !atomic_load(&sh->pool.hub->moving);

		if (!empty)
			sh->idle_us = 0;
		else if (!sh->idle_us)
			sh->idle_us = now;
		if (empty && (all || sh->gone || now - sh->idle_us > SHARD_KEEP_US)) {
			*p = sh->next;
			shard_free(sh);
		} else {
			p = &sh->next;
		}
	}
}

/* ---- linking ---- */

static void linked(struct client *c)
{
	c->at_start = c->undressed = true;
	c->dressed_only = false;
	if (c->state != CL_WELCOME) {
		client_step(c, CE_LINK);
		server_for(c)->used = true;
	}
	STAT_INC(&c->h->stats, assignments);
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
	STAT_INC(&h->stats, waits);
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

static void ask_evict(struct shard *sh)
{
	struct hall *h = sh->h;
	unsigned i;

	if (evict_one(h, sh->pool.hub->in) || sh->asked_evict)
		return;
	sh->asked_evict = true;
	for (i = 0; i < h->sh->hall_n; i++)
		if (i != h->w.id)
			ask(h, i, ASK_EVICT, sh->pool.hub->in);
}

static void dial_later(struct shard *sh)
{
	deadline_set(&sh->h->w, DL_DIAL, &sh->dial_dl, sh->dial_after_us);
}

/* Every suitable host has failed: a pause, so that a cluster that comes back
 * is not met by a stampede. */
static void back_off(struct shard *sh)
{
	uint64_t pause = (uint64_t)sh->snap->conf->g.server_login_retry;

	sh->tried = 0;
	pause = pause / 2 + worker_random(&sh->h->w) % (pause / 2 + 1);
	sh->dial_after_us = sh->h->w.now_us + pause;
	if (sh->pool.waiting_n)
		dial_later(sh);
}

/* One more server for this shard. false: not now. */
static bool dial_one(struct shard *sh)
{
	enum balance how = (enum balance)CONF_PICK(CONF_UNSET, sh->db->conf->k.load_balance_hosts,
						   sh->snap->conf->g.load_balance_hosts);
	int i;

	if (sh->h->w.now_us < sh->dial_after_us) {
		dial_later(sh);
		return false;
	}
	i = pick_target(sh->db->targets, sh->db->target_n, shard_attrs(sh), how, sh->tried,
			worker_random(&sh->h->w), &sh->rr);
	if (i == PICK_NONE) {
		if (sh->tried && !sh->pool.n[SEAT_DIALLING])
			back_off(sh);
		return false;
	}
	switch (server_dial(sh, sh->db->targets[i])) {
	case POOL_OK:
		return true;
	case POOL_FULL:
		return false;
	case POOL_DB_FULL:
	default:
		ask_evict(sh);
		return false;
	}
}

void link_dial(struct shard *sh)
{
	/* Nobody waits for a server to be dialled while another worker has one idle. */
	if (sh->pool.waiting_n && !sh->gone && ask_others(sh))
		return;
	/* After a failure one at a time, until one gets through. */
	while (!sh->gone && pool_wants_dial(&sh->pool) &&
	       !(sh->fails && sh->pool.n[SEAT_DIALLING]))
		if (!dial_one(sh))
			return;
}

void link_look(struct hall *h)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (sh->pool.waiting_n) {
			sh->asked_spare = sh->asked_evict = false;
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

static bool outlived(const struct server *s)
{
	const struct shard *sh = s->shard;

	return s->close_needed || s->owed.unsure || sh->gone || (s->once && s->used) ||
	       too_old(s) || limit_over(&sh->pool.hub->limit) ||
	       limit_over(&sh->pool.hub->in->limit) ||
	       !target_role_suits(s->target, shard_attrs(sh));
}

void link_put(struct server *s)
{
	struct shard *sh = s->shard;
	struct hall *h = s->h;
	unsigned worker;

	stream_want(&s->s, true);
	s->parked = s->cancels > 0;
	if (s->parked) {
		pool_clean(&s->ps); /* a cancel on its way would hit the next client */
		return;
	}
	if (outlived(s)) {
		server_close(s, "lifetime, limit or configuration", true);
		link_dial(sh);
		return;
	}
	switch (pool_put(&sh->pool, &s->ps, &worker)) {
	case POOL_MARRIED: {
		struct client *c = client_for(s);

		deadline_clear(&c->dl);
		STAT_ADD(&h->stats, wait_us, h->w.now_us - c->wait_since);
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
		/* another pool of the database may wait for its place */
		if (atomic_load(&sh->pool.hub->in->hungry) > 0 && limit_full(&sh->pool.hub->in->limit))
			link_tokens(h);
	}
}

/* ---- trouble ---- */

static void mark_tried(struct shard *sh, const struct target *t)
{
	size_t i;

	for (i = 0; i < sh->db->target_n && i < 64; i++)
		if (sh->db->targets[i] == t)
			sh->tried |= (uint64_t)1 << i;
}

/* Trouble of the node, not of the login. */
static bool is_node_trouble(const char *sqlstate)
{
	return (strncmp(sqlstate, "08", 2) == 0 && strcmp(sqlstate, "08P01") != 0) ||
	       strncmp(sqlstate, "57P", 3) == 0;
}

bool link_failed(struct shard *sh, struct target *t, const char *sqlstate, const char *message,
		 bool hard)
{
	sh->fails++;
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	(void)snprintf(sh->last_sqlstate, sizeof(sh->last_sqlstate), "%s", sqlstate);
	(void)snprintf(sh->last_error, sizeof(sh->last_error), "%s: %s", t->addr.name, message);
	if (is_node_trouble(sqlstate)) {
		sh->h->sh->target_bad(sh->h->sh, t, hard || strcmp(sqlstate, "57P03") == 0);
		mark_tried(sh, t);
		link_dial(sh);
		return false;
	}
	if (strcmp(sqlstate, "53300") == 0 || atomic_load(&sh->pool.hub->limit.used) > 0) {
		/* full, or refused though others of the pool were let in */
		mark_tried(sh, t);
		link_dial(sh);
		return false;
	}
	back_off(sh);
	return true;
}

/* The first server that must be closed now, because its node is not what it
 * was; busy ones are marked on the way. Closing one may close others, so each
 * search begins anew. */
static bool unsuitable_server(struct hall *h, struct server **out)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);
		enum session_attrs attrs = shard_attrs(s->shard);
		bool dialling = s->state == SV_CONNECT || s->state == SV_LOGIN;

		/* one that hangs there may be idle for ever without an end */
		bool down = atomic_load(&s->target->state) == TARGET_DOWN;

		if (dialling ? target_suits(s->target, attrs) > 0 :
			       !down && target_role_suits(s->target, attrs))
			continue;
		*out = s;
		if (dialling || (s->state == SV_LIVE && s->ps.seat == SEAT_IDLE))
			return true;
		s->close_needed = true;
	}
	return false;
}

void link_targets_changed(struct hall *h)
{
	struct server *s;
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		sh->tried = sh->dial_after_us = 0;
	while (unsuitable_server(h, &s)) {
		if (s->state != SV_LIVE)
			login_failed(s, "08001", "its node is down", false);
		else
			server_close(s, "its node is down or has another role now", false);
	}
	link_look(h);
}

/* ---- upkeep ---- */

static void trim_idle(struct shard *sh, uint64_t now)
{
	uint64_t idle_max = (uint64_t)sh->snap->conf->g.server_idle_timeout;
	int64_t keep = CONF_PICK(CONF_UNSET, sh->db->conf->k.min_pool_size,
				 sh->snap->conf->g.min_pool_size);
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &sh->pool.seats[SEAT_IDLE]) {
		struct server *s = server_of(LIST_ITEM(l, struct pool_server, link));
		bool extra = atomic_load(&sh->pool.hub->limit.used) > keep || !sh->clients;

		if (outlived(s))
			server_close(s, "lifetime, limit or configuration", true);
		else if (idle_max && extra && now - s->idle_us > idle_max)
			server_close(s, "server_idle_timeout", true);
	}
	while (sh->clients && !sh->gone && keep > atomic_load(&sh->pool.hub->limit.used) &&
	       now >= sh->dial_after_us)
		if (!dial_one(sh))
			break;
}

void link_tick(struct hall *h)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		trim_idle(sh, h->w.now_us);
	link_look(h);
	shards_sweep(h, false);
}
