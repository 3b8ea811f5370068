/* proxy/session/shard.c - see shard.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

		if (s->shard != sh || (!all && shard_lists(db, s->target)))
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
	memset(sh->turn.credit, 0, sizeof(sh->turn.credit)); /* of other hosts, maybe */
	if (!sh->replication)
		atomic_store(&hub->limit.max, pool_size(snap, db, sh->user_conf));
	atomic_store(&hub->pins.max, pins_max(snap, pool_size(snap, db, sh->user_conf)));
	atomic_store(&hub->in->limit.max, db_max(snap, db));
	sh->tried = sh->avoid = sh->dial_after_us = 0;
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
