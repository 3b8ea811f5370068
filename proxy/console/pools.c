/* proxy/console/pools.c - see pools.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/pools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/key.h"
#include "session/peers.h"
#include "session/quota.h"

/* Rows made in one turn of the loop. */
#define TURN 64u

/* ---- POOLS ---- */

struct pool_sum {
	int cl, waiting, busy, idle, dialling, cleaning, cancels, parked;
	uint64_t oldest;
};

static void ints(struct rows *r, const int *v, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		rows_int(r, v[i] > 0 ? v[i] : 0);
}

static void sum_sides(const struct hub *hub, struct pool_sum *s)
{
	unsigned i;

	for (i = 0; i < hub->worker_n; i++) {
		struct hub_side *d = &hub->side[i];
		uint64_t t = atomic_load(&d->oldest);

		s->cl += atomic_load(&d->clients);
		s->waiting += atomic_load(&d->waiting);
		s->busy += atomic_load(&d->busy);
		s->idle += atomic_load(&d->idle);
		s->dialling += atomic_load(&d->dialling);
		s->cleaning += atomic_load(&d->cleaning);
		s->cancels += atomic_load(&d->cancels);
		s->parked += atomic_load(&d->parked);
		if (t && (!s->oldest || t < s->oldest))
			s->oldest = t;
	}
}

static void pool_row(struct rows *r, const struct snapshot *snap, const struct hub *hub)
{
	const struct conf_user *u = conf_find_user(snap->conf, hub->user);
	const struct conf_db *db = conf_find_db(snap->conf, hub->db);
	struct pool_sum s = { 0 };
	uint64_t now = clock_mono_us(), wait;

	sum_sides(hub, &s);
	wait = s.oldest && now > s.oldest ? now - s.oldest : 0;
	rows_row(r);
	rows_text(r, hub->db);
	rows_text(r, hub->user);
	/* cl_*, sv_active to sv_idle, sv_used, sv_tested, sv_login */
	ints(r, (int[]){ s.cl - s.waiting, s.waiting, s.cancels, 0, s.busy, s.cancels, s.parked, s.idle,
			 0, s.cleaning - s.parked, s.dialling },
	     11);
	rows_uint(r, wait / 1000000);
	rows_uint(r, wait % 1000000);
	rows_text(r, key_word(KEY_POOL_MODE, CONF_PICK(u ? u->k.pool_mode : CONF_UNSET,
						       db ? db->k.pool_mode : CONF_UNSET,
						       snap->conf->g.pool_mode)));
	rows_text(r, db && db->host_n > 1 ?
			     key_word(KEY_BALANCE, CONF_PICK(CONF_UNSET, db->k.load_balance_hosts,
							     snap->conf->g.load_balance_hosts)) :
			     NULL);
	ints(r, (int[]){ atomic_load(&hub->limit.used), atomic_load(&hub->limit.max), s.cleaning,
			 atomic_load(&hub->pins.used), atomic_load(&hub->pins.max) },
	     5);
	rows_end_row(r);
}

/* PgBouncer has one for its console too. */
static void console_pool_row(struct rows *r, struct shared *sh)
{
	static const int zero[11];

	rows_row(r);
	rows_text(r, "pgbouncer");
	rows_text(r, "pgbouncer");
	rows_int(r, atomic_load(&sh->consoles.used));
	ints(r, zero, 10);
	ints(r, zero, 2);
	rows_text(r, key_word(KEY_POOL_MODE, POOL_STATEMENT));
	rows_null(r);
	ints(r, zero, 5);
	rows_end_row(r);
}

static void pools_more(struct task *t)
{
	struct hubs *hs = &t->h->sh->hubs;
	unsigned i;

	for (i = 0; i < TURN; i++) {
		t->own = hubs_next(hs, t->own);
		if (!t->own) {
			console_pool_row(&t->rows, t->h->sh);
			task_done(t);
			return;
		}
		pool_row(&t->rows, t->h->snap, t->own);
	}
}

static void pools_stop(struct task *t)
{
	hubs_put(&t->h->sh->hubs, t->own);
	t->own = NULL;
	task_cancelled(t);
}

static void show_pools(struct task *t)
{
	t->more = pools_more;
	t->stop = pools_stop;
}

/* ---- DATABASES, USERS ---- */

struct walk {
	struct snapshot *snap;       /* one reference */
	size_t at;
	struct hub_group *group;     /* a name that * serves; one reference */
};

static void walk_end(struct task *t)
{
	struct walk *w = t->own;

	t->own = NULL;
	if (w->group)
		hubs_put_db(&t->h->sh->hubs, w->group);
	snapshot_drop(w->snap);
	free(w);
}

static void walk_stop(struct task *t)
{
	walk_end(t);
	task_cancelled(t);
}

static void walk(struct task *t, void (*more)(struct task *t))
{
	struct walk *w = calloc(1, sizeof(*w));

	if (!w) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
		return;
	}
	w->snap = snapshot_hold(t->h->snap);
	t->own = w;
	t->more = more;
	t->stop = walk_stop;
}

static int64_t setting(int64_t own, int64_t all)
{
	return CONF_PICK(CONF_UNSET, own, all);
}

static const char *or_null(const char *s)
{
	return s && *s ? s : NULL;
}

static void nodes_of(struct rows *r, const struct snapshot_db *db)
{
	int64_t up = 0;
	size_t i;

	for (i = 0; i < db->node_n; i++)
		up += strcmp(target_shown(db->nodes[i].t), target_state_name(TARGET_UP)) == 0;
	rows_int(r, (int64_t)(db->node_n + db->missing_n));
	rows_int(r, up);
}

/* name: what clients call it, which * has many of. */
static void database_row(struct task *t, const char *name, const struct snapshot_db *db)
{
	const struct conf_global *g = &t->h->snap->conf->g;
	const struct conf_db *c = db->conf;
	struct hubs *hs = &t->h->sh->hubs;
	struct rows *r = &t->rows;

	rows_row(r);
	rows_text(r, name);
	rows_text(r, or_null(c->k.host));
	rows_int(r, c->host_n ? c->hosts[0].port : 5432);
	rows_text(r, or_null(c->k.dbname) ? c->k.dbname : name);
	rows_text(r, or_null(c->k.user));
	rows_int(r, setting(c->k.pool_size, g->default_pool_size));
	rows_int(r, setting(c->k.min_pool_size, g->min_pool_size));
	rows_int(r, 0);
	rows_int(r, setting(c->k.server_lifetime, g->server_lifetime) / 1000000);
	rows_text(r, c->k.pool_mode == CONF_UNSET ? NULL : key_word(KEY_POOL_MODE, c->k.pool_mode));
	rows_text(r, c->host_n > 1 ? key_word(KEY_BALANCE, setting(c->k.load_balance_hosts,
								    g->load_balance_hosts)) :
				     NULL);
	rows_int(r, setting(c->k.max_db_connections, g->max_db_connections));
	rows_int(r, hubs_db_used(hs, name));
	rows_int(r, setting(c->k.max_db_client_connections, g->max_db_client_connections));
	rows_int(r, counts_used(&hs->clients, COUNT_DB, name));
	rows_int(r, gates_paused(t->h->gates, name));
	rows_int(r, gates_disabled(t->h->gates, name));
	nodes_of(r, db);
	rows_text(r, key_word(KEY_SESSION_ATTRS, setting(c->k.target_session_attrs,
							 g->target_session_attrs)));
	rows_int(r, 0);
	rows_end_row(r);
}

static void console_database_row(struct task *t)
{
	struct rows *r = &t->rows;

	rows_row(r);
	rows_text(r, "pgbouncer");
	rows_null(r);
	rows_int(r, t->h->snap->conf->g.listen_port);
	rows_text(r, "pgbouncer");
	rows_text(r, "pgbouncer");
	ints(r, (int[]){ 2, 0, 0, 0 }, 4);
	rows_text(r, key_word(KEY_POOL_MODE, POOL_STATEMENT));
	rows_null(r);
	ints(r, (int[]){ 0, 0, CONSOLES_MAX, atomic_load(&t->h->sh->consoles.used), 0, 0, 0, 0 }, 8);
	rows_null(r);
	rows_int(r, 0);
	rows_end_row(r);
}

/* Those of the configuration, * among them, then the names that * serves just now. */
static void databases_more(struct task *t)
{
	struct walk *w = t->own;
	const struct conf *c = w->snap->conf;
	struct hubs *hs = &t->h->sh->hubs;
	unsigned i;

	for (i = 0; i < TURN; i++) {
		if (w->at < c->db_n) {
			database_row(t, c->dbs[w->at].name, &w->snap->dbs[w->at]);
			w->at++;
			continue;
		}
		if (w->at++ == c->db_n && c->fallback)
			database_row(t, "*", &w->snap->fallback);
		w->group = hubs_next_db(hs, w->group);
		if (!w->group) {
			console_database_row(t);
			walk_end(t);
			task_done(t);
			return;
		}
		if (c->fallback && conf_find_db(c, w->group->name) == c->fallback)
			database_row(t, w->group->name, &w->snap->fallback);
	}
}

static void show_databases(struct task *t)
{
	walk(t, databases_more);
}

static void user_row(struct task *t, const struct conf_user *u)
{
	const struct conf_global *g = &t->h->snap->conf->g;
	struct hubs *hs = &t->h->sh->hubs;
	struct rows *r = &t->rows;

	rows_row(r);
	rows_text(r, u->name);
	if (u->k.pool_size == CONF_UNSET)
		rows_text(r, "");
	else
		rows_int(r, u->k.pool_size);
	rows_text(r, "");
	rows_text(r, u->k.pool_mode == CONF_UNSET ? NULL : key_word(KEY_POOL_MODE, u->k.pool_mode));
	rows_int(r, setting(u->k.max_user_connections, g->max_user_connections));
	rows_int(r, hubs_user_used(hs, u->name));
	rows_int(r, setting(u->k.max_user_client_connections, g->max_user_client_connections));
	rows_int(r, counts_used(&hs->clients, COUNT_USER, u->name));
	rows_end_row(r);
}

static void users_more(struct task *t)
{
	struct walk *w = t->own;
	const struct conf *c = w->snap->conf;
	unsigned i;

	for (i = 0; i < TURN && w->at < c->user_n; i++)
		user_row(t, &c->users[w->at++]);
	if (w->at < c->user_n)
		return;
	walk_end(t);
	task_done(t);
}

static void show_users(struct task *t)
{
	walk(t, users_more);
}

/* ---- PEERS ---- */

static void show_peers(struct task *t)
{
	const struct conf *c = t->h->snap->conf;
	struct rows *r = &t->rows;
	size_t i;

	for (i = 0; i < c->peer_n; i++) {
		const struct conf_peer *p = &c->peers[i];

		rows_row(r);
		rows_int(r, p->id);
		rows_text(r, p->k.host);
		rows_int(r, setting(p->k.port, 6432));
		rows_int(r, setting(p->k.pool_size, c->g.default_pool_size));
		rows_end_row(r);
	}
	task_done(t);
}

static void show_peer_pools(struct task *t)
{
	const struct conf *c = t->h->snap->conf;
	struct peer_counts n;
	size_t i;

	for (i = 0; i < c->peer_n; i++) {
		peers_count(t->h->sh, c->peers[i].id, &n);
		rows_row(&t->rows);
		/* who waits for a connection that is being made waits */
		ints(&t->rows, (int[]){ c->peers[i].id, (int)n.active, (int)(n.waiting + n.connecting),
					(int)n.active, (int)n.connecting },
		     5);
		rows_end_row(&t->rows);
	}
	task_done(t);
}

#define T(name) { name, ROWS_TEXT }
#define I(name) { name, ROWS_INT4 }

static const struct column pool_columns[] = {
	T("database"), T("user"), I("cl_active"), I("cl_waiting"), I("cl_active_cancel_req"),
	I("cl_waiting_cancel_req"), I("sv_active"), I("sv_active_cancel"), I("sv_being_canceled"),
	I("sv_idle"), I("sv_used"), I("sv_tested"), I("sv_login"), I("maxwait"), I("maxwait_us"),
	T("pool_mode"), T("load_balance_hosts"), I("sv_total"), I("pool_size"), I("sv_cleaning"),
	I("sv_pinned"), I("max_pinned"), { NULL, 0 },
};
static const struct column database_columns[] = {
	T("name"), T("host"), I("port"), T("database"), T("force_user"), I("pool_size"),
	I("min_pool_size"), I("reserve_pool_size"), I("server_lifetime"), T("pool_mode"),
	T("load_balance_hosts"), I("max_connections"), I("current_connections"),
	I("max_client_connections"), I("current_client_connections"), I("paused"), I("disabled"),
	I("nodes"), I("nodes_up"), T("target_session_attrs"),
	I("reserve_pool"), /* reserve_pool_size by its older name, which exporters ask for */
	{ NULL, 0 },
};
static const struct column user_columns[] = {
	T("name"), T("pool_size"), T("reserve_pool_size"), T("pool_mode"), I("max_user_connections"),
	I("current_connections"), I("max_user_client_connections"), I("current_client_connections"),
	{ NULL, 0 },
};
static const struct column peer_columns[] = { I("peer_id"), T("host"), I("port"), I("pool_size"),
					      { NULL, 0 } };
static const struct column peer_pool_columns[] = {
	I("peer_id"), I("cl_active_cancel_req"), I("cl_waiting_cancel_req"), I("sv_active_cancel"),
	I("sv_login"), { NULL, 0 },
};

const struct command pool_commands[] = {
	{ "SHOW POOLS", "", "SHOW POOLS", "clients and servers of each database and user", false,
	  pool_columns, "SHOW", show_pools },
	{ "SHOW DATABASES", "", "SHOW DATABASES", "databases, their limits and what is used of them",
	  false, database_columns, "SHOW", show_databases },
	{ "SHOW USERS", "", "SHOW USERS", "users of the configuration, their limits and what is used",
	  false, user_columns, "SHOW", show_users },
	{ "SHOW PEERS", "", "SHOW PEERS", "other processes that cancels are passed to", false,
	  peer_columns, "SHOW", show_peers },
	{ "SHOW PEER_POOLS", "", "SHOW PEER_POOLS", "cancels on their way to peers", false,
	  peer_pool_columns, "SHOW", show_peer_pools },
	{ 0 },
};
