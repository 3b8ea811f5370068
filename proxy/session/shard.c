/* proxy/session/shard.c - see shard.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/encrypt.h"
#include "session/origin.h"
#include "session/server.h"

#define SHARD_KEEP_US 10000000u

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

static int reserve(const struct snapshot *snap, const struct snapshot_db *db,
		   const struct conf_user *u)
{
	const struct conf_global *g = &snap->conf->g;

	return g->reserve_pool_timeout ?
		       (int)CONF_PICK(u ? u->k.reserve_pool_size : CONF_UNSET,
				      db->conf->k.reserve_pool_size, g->reserve_pool_size) :
		       0;
}

static struct hub_max bounds(const struct snapshot *snap, const struct snapshot_db *db,
			     const struct conf_user *u, int size)
{
	return (struct hub_max){ size, db_max(snap, db),
				 (int)CONF_PICK(u ? u->k.max_user_connections : CONF_UNSET,
						CONF_UNSET, snap->conf->g.max_user_connections),
				 reserve(snap, db, u) };
}

static void on_dial_again(struct deadline *d)
{
	struct shard *sh = LIST_ITEM(d, struct shard, dial_dl);

	sh->h->up->dial(sh);
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void drop_keys(struct shard *sh)
{
	if (sh->keys)
		explicit_bzero(sh->keys, sizeof(*sh->keys));
	free(sh->keys);
	sh->keys = NULL;
}

void shard_keep_keys(struct shard *sh, const struct scram_keys *k)
{
	if (!sh->keys)
		sh->keys = malloc(sizeof(*k));
	if (!sh->keys)
		return; /* the next client leaves them */
	*sh->keys = *k;
	sh->dial_after_us = 0;
}

/* Those that remember it in this worker go too. */
static void forget_learned(struct shard *sh)
{
	struct proofs *p = &sh->h->proofs;
	uint64_t who;

	if (sh->salted_of == sh->learned)
		sh->salted_of = NULL;
	wipe(sh->learned);
	sh->learned = NULL;
	if (proofs_ready(p) && proofs_who(p, sh->pool.hub->db, sh->pool.hub->user, &who) == 0)
		proofs_forget(p, who);
}

bool shard_learn(struct shard *sh, const char *password)
{
	char *copy;

	if (sh->learned && strcmp(sh->learned, password) == 0)
		return false;
	copy = strdup(password);
	if (!copy)
		return false;
	forget_learned(sh);
	sh->learned = copy;
	sh->learned_serial++;
	sh->tried = sh->dial_after_us = 0; /* it may be what was wanting */
	return true;
}

void shard_unlearn(struct shard *sh)
{
	LOG(&sh->log, LOG_LEVEL_WARN, "password_forgotten",
	    "reason=\"a server refuses the one that a client had shown\"");
	forget_learned(sh);
}

/* What a shard takes from its entries: names and the way to log in. user: NULL when
 * it is known. -1: out of memory, nothing has changed. */
static int shard_login(struct shard *sh, const struct snapshot_db *from,
		       const struct conf_user *user_conf, const char *db_name, const char *user)
{
	const struct conf_db_keys *k = &from->conf->k;
	enum secret_kind kind = SECRET_NONE;
	char *db, *who, *secret;
	const char *pw = NULL;

	if (user_conf && (sh->asks || !(k->user && *k->user))) {
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
	if (!sh->password || !secret || strcmp(sh->password, secret) != 0)
		drop_keys(sh);
	free(sh->server_db);
	free(sh->server_user);
	wipe(sh->password);
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	sh->salted_of = NULL;
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
	meters_put(&sh->h->sh->meters, sh->db_meter);
	explicit_bzero(&sh->salted, sizeof(sh->salted));
	wipe(sh->password);
	wipe(sh->found);
	wipe(sh->learned);
	drop_keys(sh);
	free(sh->server_db);
	free(sh->server_user);
	params_clear(&sh->login_params);
	snapshot_drop(sh->snap);
	free(sh);
}

/* pool: what the pool is called, if it is not for all clients of the user. */
static struct shard *shard_make(struct hall *h, const struct snapshot_db *db, const char *db_name,
				const char *user, const char *pool, bool asks, int size)
{
	struct shard *sh = calloc(1, sizeof(*sh));
	struct hub_max max;
	struct hub *hub;

	if (!sh)
		return NULL;
	sh->h = h;
	sh->snap = snapshot_hold(h->snap);
	sh->db = db;
	sh->user_conf = conf_find_user(h->snap->conf, user);
	sh->asks = asks;
	deadline_init(&sh->dial_dl, on_dial_again);
	sh->paused = gates_paused(h->gates, db_name);
	list_init(&sh->trials);
	sh->log.log = &h->w.log;
	sh->meter = h->lobby; /* questions of our own are nobody's queries */
	if (!asks) {
		sh->db_meter = meters_get(&h->sh->meters, METER_DB, db_name);
		sh->meter = meter_side(sh->db_meter, h->w.id);
	}
	max = bounds(h->snap, db, sh->user_conf, size);
	hub = hubs_get(&h->sh->hubs, db_name, pool ? pool : user, pool != NULL, user, &max);
	if (hub)
		atomic_store(&hub->pins.max, pins_max(h->snap, size));
	if (!hub || shard_login(sh, db, sh->user_conf, db_name, user)) {
		sh->pool.hub = hub;
		shard_free(sh);
		return NULL;
	}
	pool_init(&sh->pool, hub, h->w.id, h->snap->conf->g.server_round_robin != 0);
	sh->turn.start = worker_random(&h->w);
	sh->next = h->shards;
	h->shards = sh;
	return sh;
}

struct shard *shard_get(struct hall *h, const struct snapshot_db *db, const char *db_name,
			const char *user)
{
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next)
		if (!sh->pool.hub->apart && strcmp(sh->pool.hub->db, db_name) == 0 &&
		    strcmp(sh->pool.hub->user, user) == 0)
			return sh;
	return shard_make(h, db, db_name, user, NULL, false,
			  pool_size(h->snap, db, conf_find_user(h->snap->conf, user)));
}

struct shard *shard_asks(struct hall *h, const struct snapshot_db *db, const char *db_name,
			 const char *user)
{
	struct shard *sh;
	char pool[160];

	for (sh = h->shards; sh; sh = sh->next)
		if (sh->asks && strcmp(sh->pool.hub->db, db_name) == 0 &&
		    strcmp(sh->server_user, user) == 0)
			return sh;
	(void)snprintf(pool, sizeof(pool), "%.130s (auth_query)", user);
	return shard_make(h, db, db_name, user, pool, true,
			  pool_size(h->snap, db, conf_find_user(h->snap->conf, user)));
}

void shard_found(struct shard *sh, enum secret_kind kind, const char *secret)
{
	char *copy;

	if (sh->found && sh->found_kind == kind && strcmp(sh->found, secret) == 0)
		return;
	copy = strdup(secret);
	if (!copy)
		return; /* the next login of the user brings it again */
	if (sh->salted_of == sh->found)
		sh->salted_of = NULL;
	wipe(sh->found);
	sh->found = copy;
	sh->found_kind = kind;
}

bool shard_is_for_one(const struct client *c, const struct snapshot_db *db)
{
	return c->replication || db->conf->k.crdb_remote_addr == 1;
}

/* What the server is told of the client. */
static int introduce(struct shard *sh, const struct client *c)
{
	char from[ORIGIN_TEXT];

	if (c->replication && params_copy(&sh->login_params, &c->params))
		return -1;
	if (sh->db->conf->k.crdb_remote_addr != 1 || !origin_addr(c, from, sizeof(from)))
		return 0;
	return params_set(&sh->login_params, "crdb:remote_addr", from);
}

struct shard *shard_alone(struct client *c, const struct snapshot_db *db, const char *user)
{
	struct shard *sh, *usual;
	char pool[160];

	(void)snprintf(pool, sizeof(pool), "%.100s (%s %llx)", user,
		       c->replication ? "replication" : "client", (unsigned long long)c->id);
	sh = shard_make(c->h, db, c->db, user, pool, false, 1);
	if (!sh)
		return NULL;
	sh->alone = true;
	if (introduce(sh, c)) {
		sh->gone = true;
		return NULL;
	}
	sh->replication = c->replication;
	for (usual = c->h->shards; usual; usual = usual->next)
		if (usual->learned && !usual->pool.hub->apart &&
		    strcmp(usual->pool.hub->db, c->db) == 0 &&
		    strcmp(usual->pool.hub->user, user) == 0)
			(void)shard_learn(sh, usual->learned);
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
	       !same_text(a->application_name, b->application_name) ||
	       !same_text(a->client_encoding, b->client_encoding) ||
	       !same_text(a->datestyle, b->datestyle) || !same_text(a->timezone, b->timezone) ||
	       !same_text(a->connect_query, b->connect_query);
}

bool shard_lists(const struct snapshot_db *db, const struct target *t)
{
	size_t i;

	for (i = 0; i < db->node_n; i++)
		if (db->nodes[i].t == t)
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

		if (s->shard != sh ||
		    (!all && shard_lists(db, s->target) && encrypt_suits(s, db)))
			continue;
		s->close_needed = true;
		if (s->ps.seat == SEAT_IDLE)
			server_close(s, "configuration changed", true);
	}
}

static bool still_asks(const struct conf *conf, const char *user)
{
	const char *who = conf->fallback ? conf->fallback->k.auth_user : NULL;
	bool yes = (who && strcmp(who, user) == 0) ||
		   (conf->g.auth_user && strcmp(conf->g.auth_user, user) == 0);
	size_t i;

	for (i = 0; i < conf->db_n && !yes; i++)
		yes = conf->dbs[i].k.auth_user && strcmp(conf->dbs[i].k.auth_user, user) == 0;
	return yes;
}

void shard_reconf(struct shard *sh, struct snapshot *snap)
{
	const struct snapshot_db *db = snapshot_db(snap, sh->pool.hub->db);
	struct hub *hub = sh->pool.hub;
	const char *forced = db ? db->conf->k.user : NULL;
	struct hub_max max;
	int size;

	if (sh->asks)
		sh->gone = !db || !still_asks(snap->conf, sh->server_user);
	else
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
	memset(sh->turn.credit, 0, sizeof(sh->turn.credit)); /* of other hosts, maybe */
	size = pool_size(snap, db, sh->user_conf);
	max = bounds(snap, db, sh->user_conf, sh->alone ? 1 : size);
	hub_bound(hub, &max);
	atomic_store(&hub->pins.max, pins_max(snap, size));
	sh->tried = sh->avoid = sh->dial_after_us = 0;
}

/* One who has waited too long is noted for this long, for all workers. */
#define RESERVE_US 1000000u

static uint64_t longest_wait(const struct shard *sh)
{
	const struct link *first = sh->pool.waiting.next;
	uint64_t now = sh->h->w.now_us, since;

	if (!sh->pool.waiting_n)
		return 0;
	since = LIST_ITEM(first, struct pool_client, link)->ticket;
	return now > since ? now - since : 0;
}

void shard_reserve(struct shard *sh)
{
	const struct conf_global *g = &sh->snap->conf->g;
	const struct conf_user *u = sh->user_conf;
	struct hub *hub = sh->pool.hub;
	int size = pool_size(sh->snap, sh->db, u), used, max;
	int extra = reserve(sh->snap, sh->db, u);
	uint64_t patience = (uint64_t)g->reserve_pool_timeout, now = sh->h->w.now_us;

	if (!extra || !size || sh->alone || sh->gone)
		return;
	if (longest_wait(sh) >= patience)
		atomic_store(&hub->reserve_until, now + RESERVE_US);
	used = atomic_load(&hub->limit.used);
	max = size + extra;
	if (now >= atomic_load(&hub->reserve_until) && used < max)
		max = used > size ? used : size;
	if (atomic_load(&hub->limit.max) != max)
		atomic_store(&hub->limit.max, max);
}

void shards_sweep(struct hall *h, bool all)
{
	struct shard **p = &h->shards, *sh;
	uint64_t now = h->w.now_us;

	while ((sh = *p)) {
		bool empty = !sh->clients && !sh->servers && !sh->cancels && list_empty(&sh->trials) &&
			     !atomic_load(&sh->pool.hub->moving);

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
