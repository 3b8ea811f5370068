/* proxy/registry.c - see registry.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "registry.h"

#include "health/probe.h"

#define SWEEP_FIRST_S 1                   /* workers have taken the new snapshot by then */
#define SWEEP_NEXT_S 5                     /* connections have not ended by then */

/* ---- entries ---- */

static const struct snapshot_db *nth_db(const struct snapshot *s, size_t i)
{
	return i < s->conf->db_n ? &s->dbs[i] : &s->fallback;
}

static bool has_target(const struct snapshot_db *db, const struct target *t)
{
	size_t i;

	for (i = 0; i < db->node_n; i++)
		if (db->nodes[i].t == t)
			return true;
	return false;
}

const struct snapshot_db *registry_entry(const struct snapshot *s, const struct target *t)
{
	const struct snapshot_db *any = NULL;
	size_t i;

	for (i = 0; i <= s->conf->db_n; i++) {
		const struct snapshot_db *db = nth_db(s, i);

		if (!db->conf || !has_target(db, t))
			continue;
		if (db->conf->k.user && *db->conf->k.user)
			return db;
		if (!any)
			any = db;
	}
	return any;
}

/* ---- names ---- */

static const struct ip_set *look_up(void *arg, const char *host, const char **why)
{
	struct registry *n = arg;
	const struct name_known *known = resolve_known(n->resolve, host);

	*why = known ? known->why : NULL;
	return known ? &known->set : NULL;
}

struct snapshot *registry_first(struct registry *n, struct conf *conf, struct tls_set *tls)
{
	if (resolve_conf(n->resolve, conf) < 0) {
		conf_drop(conf);
		tls_set_drop(tls);
		return NULL;
	}
	return snapshot_make(conf, tls, &n->targets, look_up, n);
}

struct snapshot *registry_next(struct registry *n, const struct snapshot *s)
{
	return snapshot_make(conf_hold(s->conf), tls_set_hold(s->tls), &n->targets, look_up, n);
}

void registry_doubt(struct registry *n, const struct snapshot *s, const struct target *t)
{
	size_t i, k;

	for (i = 0; i <= s->conf->db_n; i++) {
		const struct snapshot_db *db = nth_db(s, i);

		for (k = 0; db->conf && has_target(db, t) && k < db->conf->host_n; k++)
			if (!db->conf->hosts[k].sock_len)
				resolve_now(n->resolve, db->conf->hosts[k].host);
	}
}

/* ---- letting go ---- */

static void sweep_in(struct registry *n, int s)
{
	struct timeval tv = { s, 0 };

	event_add(&n->sweep_ev, &tv);
}

static void on_last(void *arg, struct target *t)
{
	struct registry *n = arg;

	LOG(&n->w->log_ctx, LOG_LEVEL_DEBUG, "node_forgotten", "node=%s", t->addr.name);
	probe_stop(t);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct registry *n = arg;
	const struct target *t;

	(void)fd;
	(void)what;
	targets_sweep(&n->targets, on_last, n);
	for (t = n->targets.head; t && t->probe; t = t->next)
		;
	if (t)
		sweep_in(n, SWEEP_NEXT_S);
}

void registry_sweep_soon(struct registry *n)
{
	sweep_in(n, SWEEP_FIRST_S);
}

/* ---- birth and end ---- */

int registry_open(struct registry *n, struct worker *w, resolve_changed_fn *changed, void *arg,
	       struct err *e)
{
	n->w = w;
	n->resolve = resolve_new(w->base, &w->log_ctx, changed, arg);
	if (!n->resolve || evtimer_assign(&n->sweep_ev, w->base, on_sweep, n) != 0)
		return err_set(e, "out of memory");
	return 0;
}

void registry_close(struct registry *n)
{
	struct target *t;

	for (t = n->targets.head; t; t = t->next) {
		if (atomic_load(&t->refs))
			LOG(&n->w->log_ctx, LOG_LEVEL_ERROR, "node_still_held", "node=%s refs=%u",
			    t->addr.name, atomic_load(&t->refs));
		atomic_store(&t->refs, 0);
	}
	targets_sweep(&n->targets, on_last, n);
	if (event_initialized(&n->sweep_ev))
		event_del(&n->sweep_ev);
	resolve_free(n->resolve);
	n->resolve = NULL;
}
