/* proxy/reload.c - see reload.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "reload.h"

#include <stdlib.h>
#include <string.h>

#include "birth.h"
#include "checks.h"
#include "doors.h"
#include "gatekeeper.h"
#include "nodes_seen.h"
#include "session/hall.h"
#include "session/quota.h"
#include "session/round.h"

int reload_load(const struct daemon_args *args, struct conf **out, struct tls_set **tls,
		struct err *e)
{
	int rc = conf_is_uri(args->source) ? conf_load_uri(args->source, &args->over, out, e) :
					     conf_load_file(args->source, &args->over, out, e);

	if (rc)
		return rc;
	*tls = tls_set_make(*out, e);
	if (*tls)
		return 0;
	conf_drop(*out);
	*out = NULL;
	return -1;
}

/* ---- to all workers ---- */

/* A snapshot on its way to them. */
struct spread {
	struct daemon *d;
	struct snapshot *snap;
	bool signal;                   /* the service manager waits for it */
	reload_done_fn *done;          /* may be NULL */
	void *arg;
};

static void say_done(struct spread *s)
{
	struct daemon *d = s->d;

	if (s->signal) {
		LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "reloaded", NULL);
		if (!d->leaving)
			notify_send(&d->notify, "READY=1\nSTATUS=accepting connections");
	}
	if (s->done)
		s->done(s->arg, NULL);
}

static void on_spread(struct round *r)
{
	struct spread *s = r->arg;

	if (!s->d->over)
		say_done(s);
	snapshot_drop(s->snap);
	free(s);
}

static void visit(struct hall *h, struct round *r)
{
	struct spread *s = r->arg;

	hall_use_conf(h, snapshot_hold(s->snap));
}

/* What is needed to hand out a snapshot, so that nothing can fail any more. NULL: out of
 * memory. */
static struct round *prepare(struct daemon *d, reload_done_fn *done, void *arg, bool signal)
{
	struct spread *s = calloc(1, sizeof(*s));
	struct round *r = s ? round_new(&d->sh, &d->w, visit, on_spread, s) : NULL;

	if (!r) {
		free(s);
		return NULL;
	}
	*s = (struct spread){ .d = d, .signal = signal, .done = done, .arg = arg };
	return r;
}

static void give_up(struct round *r)
{
	if (r)
		free(r->arg);
	round_free(r);
}

/* Takes over the reference. The nodes of the one before go when nobody holds
 * them any more. */
static void use_snapshot(struct daemon *d, struct snapshot *snap, struct round *r)
{
	struct spread *s = r->arg;

	snapshot_drop(d->snap);
	d->snap = snap;
	period_set(&d->period, &snap->conf->g);
	checks_start(snap, &d->registry.targets, &d->w, nodes_changed, d);
	s->snap = snapshot_hold(snap);
	round_send(r);
	web_use(&d->web, &d->sh, snapshot_hold(snap), &d->w.log_ctx);
	gatekeeper_tell_web(d);
	registry_sweep_soon(&d->registry);
}

int reload_names(void *arg)
{
	struct daemon *d = arg;
	struct round *r = prepare(d, NULL, NULL, false);
	struct snapshot *snap;

	worker_clock(&d->w);
	snap = r ? registry_next(&d->registry, d->snap) : NULL;
	if (!snap) {
		give_up(r);
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "out_of_memory", NULL);
		return -1;
	}
	use_snapshot(d, snap, r);
	return 0;
}

/* ---- reload ---- */

/* Settings that only a restart applies, as they were and as they are wished. */
struct wish {
	struct daemon *d;
	const struct conf *old;
	const char *key, *value;
};

static void compare_row(void *arg, const char *key, const char *value, const char *def,
			bool reloadable)
{
	struct wish *w = arg;

	(void)def;
	(void)reloadable;
	if (strcmp(key, w->key) == 0 && strcmp(value ? value : "", w->value ? w->value : "") != 0)
		LOG(&w->d->w.log_ctx, LOG_LEVEL_WARN, "needs_restart", "setting=%s", key);
}

static void warn_start_only(void *arg, const char *key, const char *value, const char *def,
			    bool reloadable)
{
	struct wish *w = arg;

	(void)def;
	if (reloadable)
		return;
	w->key = key;
	w->value = value;
	conf_each(w->old, compare_row, w);
}

void reload_warnings(struct daemon *d, const struct conf *c)
{
	char q[1100];
	size_t i;

	for (i = 0; i < c->told_n; i++)
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "configuration", "warning=%s",
		    log_quote(q, sizeof(q), c->warnings[i]));
}

void reload_log_level(struct daemon *d, const struct conf *c)
{
	int level = LOG_LEVEL_INFO + (c->g.verbose > 1);

	if (d->args->quiet && level < LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_WARN;
	atomic_store(&d->log_level, level);
}

void reload_tcp(struct daemon *d)
{
	const struct conf_global *g = &d->snap->conf->g;

	listen_tcp(&d->listener, g->tcp_keepalive != 0, (int)g->tcp_defer_accept);
}

/* What the control loop itself takes from it, and then all workers. */
static void apply(struct daemon *d, struct snapshot *snap, struct round *r)
{
	const struct conf_global *g = &snap->conf->g;

	reload_log_level(d, snap->conf);
	atomic_store(&d->sh.clients.max, (int)g->max_client_conn);
	logins_set(&d->sh.logins, (uint64_t)g->login_throttle_base,
		   (uint64_t)g->login_throttle_max, d->w.now_us);
	use_snapshot(d, snap, r);
	reload_tcp(d);
	halls_make_room(&d->sh, quota_strangers_max(g));
	d->reloaded(d);
}

/* The file may have been renamed, to begin another: opened again. -1: *e says why. */
static int open_log_again(struct daemon *d, const struct conf *conf, int *fd, struct err *e)
{
	const char *old = d->snap->conf->g.logfile, *new = conf->g.logfile;
	char q[1100];

	if (birth_open_log(new, fd, e) == 0)
		return 0;
	if (!new || !old || strcmp(new, old) != 0)
		return -1;
	/* what was opened as root may not be ours to open */
	LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "logfile_kept", "reason=%s",
	    log_quote(q, sizeof(q), e->text));
	return 0;
}

/* Takes over both references. false: *e says why, and nothing has changed. */
static bool take(struct daemon *d, struct conf *conf, struct tls_set *tls, struct round *r,
		 struct err *e)
{
	struct wish wish = { .d = d, .old = d->snap->conf };
	struct snapshot *snap;
	int fd = -1;

	if (open_log_again(d, conf, &fd, e) || doors_fit(&d->listener, &conf->g, e)) {
		birth_use_log(fd, -1);
		tls_set_drop(tls);
		conf_drop(conf);
		return false;
	}
	reload_warnings(d, conf);
	conf_each(conf, warn_start_only, &wish);
	snap = registry_first(&d->registry, conf, tls);
	if (!snap) {
		birth_use_log(fd, -1);
		err_set(e, "out of memory");
		return false;
	}
	birth_use_log(fd, d->log_fd);
	apply(d, snap, r);
	return true;
}

static void failed(struct daemon *d, const struct err *e)
{
	char q[400];

	LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "reload_failed", "reason=%s",
	    log_quote(q, sizeof(q), e->text));
	notify_send(&d->notify, "READY=1\nSTATUS=reload failed, running on as before");
}

void reload(struct daemon *d, reload_done_fn *done, void *arg)
{
	struct round *r = prepare(d, done, arg, true);
	struct tls_set *tls = NULL;
	struct conf *conf = NULL;
	struct err e;
	bool ok = r != NULL;

	notify_reloading(&d->notify, clock_mono_us());
	if (!ok)
		err_set(&e, "out of memory");
	ok = ok && reload_load(d->args, &conf, &tls, &e) == 0;
	if (ok && take(d, conf, tls, r, &e))
		return;
	give_up(r);
	failed(d, &e);
	if (done)
		done(arg, e.text);
}

void reload_use(struct daemon *d, struct conf *conf, reload_done_fn *done, void *arg)
{
	struct round *r = prepare(d, done, arg, false);
	struct tls_set *tls;
	struct err e = { "out of memory" };

	tls = r ? tls_set_make(conf, &e) : NULL;
	if (tls && take(d, conf, tls, r, &e))
		return;
	if (!tls)
		conf_drop(conf);
	give_up(r);
	done(arg, e.text);
}
