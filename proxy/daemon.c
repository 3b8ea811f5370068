/* proxy/daemon.c - see daemon.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "checks.h"
#include "conf/version.h"
#include "console/admin.h"
#include "doors.h"
#include "health/probe.h"
#include "io/listen.h"
#include "io/uids.h"
#include "period.h"
#include "registry.h"
#include "notify.h"
#include "session/hall.h"
#include "session/quota.h"

struct daemon {
	const struct daemon_args *args;
	struct worker w;               /* the control loop */
	struct shared sh;
	struct snapshot *snap;
	struct registry registry;
	struct listener listener;      /* in the loop of the first worker */
	struct letter doors;           /* to it, and back: no more clients */
	struct notify notify;
	struct uids *uids;
	struct period period;
	struct event signal_ev, watchdog_ev, drain_ev;
	pthread_t *threads;
	unsigned started, stopped;
	int signal_fd, port, log_fd;
	_Atomic int log_level;
	bool draining;
};

static struct daemon *daemon_of(struct shared *sh)
{
	return LIST_ITEM(sh, struct daemon, sh);
}

int daemon_load(const struct daemon_args *args, struct conf **out, struct tls_set **tls,
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

/* ---- targets ---- */

static void on_changed(void *arg, struct target *t)
{
	struct daemon *d = arg;
	unsigned i;

	if (atomic_load(&t->state) != TARGET_UP)
		registry_doubt(&d->registry, d->snap, t); /* its name may give others by now */
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_targets(&d->sh.halls[i]);
}

struct seen_letter {
	struct letter l;
	struct daemon *d;
	struct target *t;
	enum target_seen what;
	enum node_order order;     /* of an operator, instead */
};

static void on_target_seen(struct worker *w, struct letter *l)
{
	struct seen_letter *b = (struct seen_letter *)(void *)l;
	struct target_rule r = checks_rule(&b->d->snap->conf->g);

	(void)w;
	if (target_seen(b->t, &r, b->what)) {
		LOG(&b->d->w.log_ctx, LOG_LEVEL_WARN, "target_in_doubt", "node=%s state=%s role=%s",
		    b->t->addr.name, target_shown(b->t),
		    target_role_name((enum target_role)atomic_load(&b->t->role)));
		on_changed(b->d, b->t);
	}
	registry_doubt(&b->d->registry, b->d->snap, b->t);
	probe_now(b->t);
	target_drop(b->t);
	free(b);
}

static void tell_seen(struct shared *sh, struct target *t, enum target_seen what)
{
	struct seen_letter *b = calloc(1, sizeof(*b));

	if (!b)
		return; /* the next probe finds out */
	b->l.deliver = on_target_seen;
	b->d = daemon_of(sh);
	b->t = t;
	target_hold(t);
	b->what = what;
	worker_post(&b->d->w, &b->l);
}

static void on_node_order(struct worker *w, struct letter *l)
{
	struct seen_letter *b = (struct seen_letter *)(void *)l;
	bool excluded = b->order == ORDER_EXCLUDE;

	if (b->order != ORDER_PROBE && target_exclude(b->t, excluded, clock_mono_us())) {
		LOG(&w->log_ctx, LOG_LEVEL_INFO, excluded ? "node_excluded" : "node_included",
		    "node=%s", b->t->addr.name);
		on_changed(b->d, b->t);
	}
	probe_now(b->t);
	target_drop(b->t);
	free(b);
}

static bool order_node(struct shared *sh, struct target *t, enum node_order what)
{
	struct seen_letter *b = calloc(1, sizeof(*b));

	if (!b)
		return false;
	b->l.deliver = on_node_order;
	b->d = daemon_of(sh);
	b->t = t;
	target_hold(t);
	b->order = what;
	worker_post(&b->d->w, &b->l);
	return true;
}

/* Takes over the reference. The nodes of the one before go when nobody holds
 * them any more. */
static void use_snapshot(struct daemon *d, struct snapshot *snap)
{
	unsigned i;

	snapshot_drop(d->snap);
	d->snap = snap;
	period_set(&d->period, &snap->conf->g);
	checks_start(snap, &d->registry.targets, &d->w, on_changed, d);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_conf(&d->sh.halls[i], snapshot_hold(snap));
	registry_sweep_soon(&d->registry);
}

/* Some name stands for other addresses now: the same configuration once more. */
static int on_names(void *arg)
{
	struct daemon *d = arg;
	struct snapshot *snap;

	worker_clock(&d->w);
	snap = registry_next(&d->registry, d->snap);
	if (!snap) {
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "out_of_memory", NULL);
		return -1;
	}
	use_snapshot(d, snap);
	return 0;
}

/* ---- clients ---- */

static void on_accepted(void *arg, int fd, const struct listen_from *from, bool spoken)
{
	hall_welcome(arg, fd, from, spoken);
}

static void set_tcp(struct daemon *d)
{
	const struct conf_global *g = &d->snap->conf->g;

	listen_tcp(&d->listener, g->tcp_keepalive != 0, (int)g->tcp_defer_accept);
}

/* ---- the end ---- */

static void stop_now(struct daemon *d)
{
	unsigned i;

	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_stop(&d->sh.halls[i]);
}

static void on_drain_over(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "shutdown_timeout", NULL);
	stop_now(d);
}

/* No letter with a client is on its way any more but in front of these. */
static void on_doors_closed(struct worker *w, struct letter *l)
{
	struct daemon *d = w->owner;
	unsigned i;

	(void)l;
	listen_close(&d->listener);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_drain(&d->sh.halls[i]);
}

static void on_close_doors(struct worker *w, struct letter *l)
{
	struct daemon *d = LIST_ITEM(l, struct daemon, doors);

	(void)w;
	listen_stop(&d->listener);
	l->deliver = on_doors_closed;
	worker_post(&d->w, l);
}

static void drain(struct daemon *d)
{
	int64_t us = d->snap->conf->g.shutdown_timeout;
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };
	char text[120];

	d->draining = true;
	/* The manager is asked for the time the configuration allows, whatever
	 * its unit says. */
	(void)snprintf(text, sizeof(text),
		       "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=waiting for transactions to end",
		       (long long)us + 5000000);
	notify_send(&d->notify, text);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "draining", NULL);
	d->doors.deliver = on_close_doors;
	worker_post(&d->sh.halls[0].w, &d->doors);
	event_add(&d->drain_ev, &tv);
}

static void on_stopped(struct worker *w, struct letter *l)
{
	struct daemon *d = w->owner;

	free(l);
	if (++d->stopped == d->started)
		w->done = true;
}

static void hall_stopped(struct shared *sh, struct hall *h)
{
	struct letter *l = calloc(1, sizeof(*l));

	(void)h;
	/* Without it the process would never end: try until it is there. */
	while (!l) {
		(void)usleep(1000);
		l = calloc(1, sizeof(*l));
	}
	l->deliver = on_stopped;
	worker_post(&daemon_of(sh)->w, l);
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

static void tell_warnings(struct daemon *d, const struct conf *c)
{
	char q[1100];
	size_t i;

	for (i = 0; i < c->warning_n; i++)
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "configuration", "warning=%s",
		    log_quote(q, sizeof(q), c->warnings[i]));
}

static void set_level(struct daemon *d, const struct conf *c)
{
	int level = LOG_LEVEL_INFO + (c->g.verbose > 1);

	if (d->args->quiet && level < LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_WARN;
	atomic_store(&d->log_level, level);
}

static void reload(struct daemon *d)
{
	struct conf *conf = NULL;
	struct tls_set *tls = NULL;
	struct snapshot *snap;
	struct wish wish = { 0 };
	struct err e;
	bool ok;

	notify_reloading(&d->notify, clock_mono_us());
	ok = daemon_load(d->args, &conf, &tls, &e) == 0;
	if (ok && doors_fit(&d->listener, &conf->g, &e)) {
		tls_set_drop(tls);
		conf_drop(conf);
		ok = false;
	}
	if (!ok) {
		char q[400];

		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "reload_failed", "reason=%s",
		    log_quote(q, sizeof(q), e.text));
		notify_send(&d->notify, "READY=1\nSTATUS=reload failed, running on as before");
		return;
	}
	wish.d = d;
	wish.old = d->snap->conf;
	tell_warnings(d, conf);
	conf_each(conf, warn_start_only, &wish);
	snap = registry_first(&d->registry, conf, tls);
	if (!snap) {
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "reload_failed", "reason=\"out of memory\"");
		notify_send(&d->notify, "READY=1\nSTATUS=reload failed, running on as before");
		return;
	}
	set_level(d, snap->conf);
	atomic_store(&d->sh.clients.max, (int)snap->conf->g.max_client_conn);
	logins_set(&d->sh.logins, (uint64_t)snap->conf->g.login_throttle_base,
		   (uint64_t)snap->conf->g.login_throttle_max, d->w.now_us);
	use_snapshot(d, snap);
	set_tcp(d);
	halls_make_room(&d->sh, quota_strangers_max(&snap->conf->g));
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "reloaded", NULL);
	notify_send(&d->notify, "READY=1\nSTATUS=accepting connections");
}

/* ---- signals, watchdog ---- */

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct signalfd_siginfo si;

	(void)what;
	worker_clock(&d->w);
	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGHUP:
			if (!d->draining)
				reload(d);
			break;
		case SIGTERM:
		case SIGINT:
			if (d->draining)
				stop_now(d);
			else
				drain(d);
			break;
		case SIGQUIT:
			d->draining = true;
			stop_now(d);
			break;
		default:
			break;
		}
	}
}

/* Fed only while every worker's loop goes round. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	uint64_t limit = notify_watchdog_us(), now = clock_mono_us();
	unsigned i;

	(void)fd;
	(void)what;
	for (i = 0; i < d->sh.hall_n; i++)
		if (now - atomic_load(&d->sh.halls[i].w.alive_us) > limit)
			return;
	notify_send(&d->notify, "WATCHDOG=1");
}

/* ---- start ---- */

static void raise_limits(struct daemon *d)
{
	const struct conf_global *g = &d->snap->conf->g;
	struct rlimit rl;
	rlim_t need = (rlim_t)g->max_client_conn + quota_strangers_max(g) + ARRIVALS_MAX +
		      CONSOLES_MAX + 64;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < need)
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "few_descriptors",
		    "limit=%llu needed=%llu hint=\"raise LimitNOFILE or lower max_client_conn and max_client_logins\"",
		    (unsigned long long)rl.rlim_cur, (unsigned long long)need);
}

static int become(const char *user, struct err *e)
{
	struct passwd *pw;

	if (!user || !*user)
		return 0;
	pw = getpwnam(user);
	if (!pw)
		return err_set(e, "user: there is no user \"%s\" on this machine", user);
	if (initgroups(user, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return err_set(e, "user: cannot become \"%s\": %s", user, strerror(errno));
	return 0;
}

static unsigned worker_count(const struct conf_global *g)
{
	cpu_set_t set;

	if (g->workers)
		return (unsigned)g->workers;
	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static void *thread_main(void *arg)
{
	hall_run(arg);
	return NULL;
}

static int start_halls(struct daemon *d, struct err *e)
{
	unsigned n = worker_count(&d->snap->conf->g), i;

	d->threads = calloc(n, sizeof(*d->threads));
	d->sh.halls = calloc(n, sizeof(*d->sh.halls));
	if (!d->threads || !d->sh.halls || door_init(&d->sh.door) ||
	    hubs_init(&d->sh.hubs, n) || meters_init(&d->sh.meters, n, clock_mono_us()))
		return err_set(e, "out of memory");
	for (i = 0; i < n; i++) {
		if (hall_init(&d->sh.halls[i], i, &d->sh, &d->w.log, snapshot_hold(d->snap), &admin_ops, e))
			return -1;
		d->sh.hall_n++;
	}
	listen_start(&d->listener, &d->sh.halls[0].w, on_accepted, &d->sh.halls[0]);
	for (i = 0; i < n; i++) {
		if (pthread_create(&d->threads[i], NULL, thread_main, &d->sh.halls[i]))
			return err_set(e, "cannot start worker %u: %s", i, strerror(errno));
		d->started++;
	}
	return 0;
}

static int catch_signals(struct daemon *d, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return err_set(e, "cannot block signals");
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (d->signal_fd < 0)
		return err_set(e, "signalfd: %s", strerror(errno));
	event_assign(&d->signal_ev, d->w.base, d->signal_fd, EV_READ | EV_PERSIST, on_signal, d);
	event_add(&d->signal_ev, NULL);
	return 0;
}

/* What another process has written there stays until nothing can fail any more. */
static int open_pidfile(const char *path, int *fd, struct err *e)
{
	if (!path || !*path)
		return 0;
	*fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	return *fd < 0 ? err_set(e, "pidfile %s: %s", path, strerror(errno)) : 0;
}

static int write_pidfile(const char *path, int fd, struct err *e)
{
	if (fd < 0)
		return 0;
	return ftruncate(fd, 0) || dprintf(fd, "%d\n", (int)getpid()) < 0 ?
		       err_set(e, "pidfile %s: %s", path, strerror(errno)) :
		       0;
}

/* The unix socket is made by the user that pgweir becomes, who must be able to take it
 * away; a port and the pidfile may need more than he has. */
static int open_all(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;
	int fd = -1, rc;

	listen_init(&d->listener, &d->w.log_ctx);
	rc = doors_open(&d->listener, g, &d->port, e) || open_pidfile(g->pidfile, &fd, e) ||
	     become(g->user, e) || doors_open_unix(&d->listener, g, d->port, e) ||
	     write_pidfile(g->pidfile, fd, e);
	if (fd >= 0)
		close(fd);
	return rc ? -1 : 0;
}

static void say_ready_line(const struct daemon *d)
{
	const struct conf *c = d->snap->conf;
	const char *user = c->fallback && c->fallback->k.user ? c->fallback->k.user : "USER";
	const char *db = c->db_n ? c->dbs[0].name : "DATABASE";
	char host[128];

	if (d->args->quiet)
		return;
	doors_host(&d->listener, &c->g, host, sizeof(host));
	if (!c->from_uri && c->db_n && c->dbs[0].k.user)
		user = c->dbs[0].k.user;
	printf("pgweir: ready, connect with: psql 'host=%s port=%d user=%s dbname=%s'\n", host, d->port,
	       user, db);
	fflush(stdout);
}

static bool ask_uid(struct shared *sh, struct uid_letter *l)
{
	return uids_ask(daemon_of(sh)->uids, l);
}

static int start(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;
	uint64_t wd = notify_watchdog_us() / 3;
	struct timeval tv = { (time_t)(wd / 1000000), (suseconds_t)(wd % 1000000) };
	uint64_t seed;
	char dir[160];

	if (catch_signals(d, e) || open_all(d, e))
		return -1;
	d->sh.uid = (uint32_t)geteuid();
	raise_limits(d);
	if (random_secret(d->sh.mock_key, sizeof(d->sh.mock_key)) || random_secret(&seed, sizeof(seed)))
		return err_set(e, "the system has no randomness");
	if (logins_init(&d->sh.logins, seed, (uint64_t)g->login_throttle_base,
			(uint64_t)g->login_throttle_max))
		return err_set(e, "out of memory");
	limit_init(&d->sh.clients, (int)g->max_client_conn);
	limit_init(&d->sh.consoles, CONSOLES_MAX);
	d->uids = uids_new(NULL, UIDS_LIFE_US);
	if (!d->uids)
		return err_set(e, "out of memory");
	d->sh.target_seen = tell_seen;
	d->sh.uid_name = ask_uid;
	d->sh.node_order = order_node;
	d->sh.hall_stopped = hall_stopped;
	set_tcp(d);
	if (start_halls(d, e))
		return -1;
	period_start(&d->period, &d->w, &d->sh.meters, g);
	checks_start(d->snap, &d->registry.targets, &d->w, on_changed, d);
	event_assign(&d->watchdog_ev, d->w.base, -1, EV_PERSIST, on_watchdog, d);
	if (wd)
		event_add(&d->watchdog_ev, &tv);
	evtimer_assign(&d->drain_ev, d->w.base, on_drain_over, d);
	tell_warnings(d, d->snap->conf);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "started", "version=%s workers=%u port=%d unix=%s",
	    PGWEIR_VERSION, d->sh.hall_n, d->port,
	    log_quote(dir, sizeof(dir), d->listener.dir[0] ? d->listener.dir : "-"));
	notify_send(&d->notify, "READY=1\nSTATUS=accepting connections");
	say_ready_line(d);
	return 0;
}

static void stop_threads(struct daemon *d)
{
	unsigned i;

	for (i = 0; i < d->started; i++)
		pthread_join(d->threads[i], NULL);
	d->started = 0;
}

static void clean_up(struct daemon *d)
{
	struct letter *l, *after;
	unsigned i;

	stop_threads(d);
	uids_free(d->uids);
	listen_stop(&d->listener);
	if (d->listener.log)
		listen_close(&d->listener);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_free(&d->sh.halls[i]);
	for (l = d->w.base ? mbox_take(&d->w.mbox) : NULL; l; l = after) {
		after = l->next;
		if (l->deliver == on_target_seen || l->deliver == on_node_order)
			target_drop(((struct seen_letter *)(void *)l)->t);
		if (l != &d->doors)
			free(l); /* what a worker saw of a target no longer matters */
	}
	if (d->sh.halls) {
		hubs_free(&d->sh.hubs);
		meters_free(&d->sh.meters);
		door_free(&d->sh.door);
	}
	logins_free(&d->sh.logins);
	free(d->sh.halls);
	free(d->threads);
	snapshot_drop(d->snap);
	if (d->w.base) {
		if (event_initialized(&d->signal_ev))
			event_del(&d->signal_ev);
		if (event_initialized(&d->watchdog_ev))
			event_del(&d->watchdog_ev);
		if (event_initialized(&d->drain_ev))
			event_del(&d->drain_ev);
	}
	registry_close(&d->registry);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	notify_close(&d->notify);
}

static int open_log(struct daemon *d, const char *path, struct err *e)
{
	d->log_fd = STDERR_FILENO;
	if (!path || !*path)
		return 0;
	d->log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	return d->log_fd < 0 ? err_set(e, "logfile %s: %s", path, strerror(errno)) : 0;
}

/* Goes on in a child. The parent stays until the child has started, and ends
 * with its success. */
static int background(const struct conf_global *g, int *started_fd, struct err *e)
{
	int p[2];
	char c;
	pid_t pid;

	if (!g->pidfile || !g->logfile)
		return err_set(e, "--daemon needs the settings pidfile and logfile");
	if (pipe2(p, O_CLOEXEC) || (pid = fork()) < 0)
		return err_set(e, "cannot go into the background: %s", strerror(errno));
	if (pid > 0) {
		close(p[1]);
		_exit(read(p[0], &c, 1) == 1 ? 0 : 1);
	}
	close(p[0]);
	(void)setsid();
	*started_fd = p[1];
	return 0;
}

/* Started: lets the parent go, and the terminal. */
static void background_done(int started_fd)
{
	int null = open("/dev/null", O_RDWR);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	if (write(started_fd, "", 1) < 0)
		return;
	close(started_fd);
}

static int give_up(struct conf *conf, struct tls_set *tls)
{
	tls_set_drop(tls);
	conf_drop(conf);
	return 1;
}

int daemon_run(const struct daemon_args *args, struct conf *conf, struct tls_set *tls,
	       struct err *e)
{
	struct daemon d = { .args = args, .signal_fd = -1 };
	struct log log = { .level = &d.log_level, .wall_us = clock_wall_us };
	int rc = 1, started_fd = -1;

	d.notify.fd = -1;
	d.listener.reserve = -1;
	set_level(&d, conf);
	if (open_log(&d, conf->g.logfile, e) || (args->background && background(&conf->g, &started_fd, e)))
		return give_up(conf, tls);
	log.fd = d.log_fd;
	probe_clean_env();
	if (worker_init(&d.w, 0, &log, &d, NULL, e))
		return give_up(conf, tls);
	d.snap = registry_open(&d.registry, &d.w, on_names, &d, e) ?
			 NULL : registry_first(&d.registry, conf, tls);
	if (!d.snap)
		err_set(e, "out of memory");
	else if (notify_open(&d.notify, getenv("NOTIFY_SOCKET")))
		err_set(e, "NOTIFY_SOCKET cannot be used: %s", strerror(errno));
	else if (start(&d, e) == 0) {
		if (started_fd >= 0)
			background_done(started_fd);
		worker_run(&d.w);
		LOG(&d.w.log_ctx, LOG_LEVEL_INFO, "stopped", NULL);
		rc = 0;
	} else {
		stop_now(&d);
	}
	if (rc == 0 && d.snap->conf->g.pidfile)
		(void)unlink(d.snap->conf->g.pidfile);
	clean_up(&d);
	worker_free(&d.w);
	if (d.log_fd > STDERR_FILENO)
		close(d.log_fd);
	return rc;
}
