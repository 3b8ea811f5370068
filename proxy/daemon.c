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

#include "conf/version.h"
#include "console/admin.h"
#include "health/probe.h"
#include "io/listen.h"
#include "registry.h"
#include "notify.h"
#include "session/hall.h"

/* Connections beyond max_client_conn that may be in their startup (and be told
 * that there are too many). */
#define STARTUP_SLACK 128

struct daemon {
	const struct daemon_args *args;
	struct worker w;               /* the control loop */
	struct shared sh;
	struct snapshot *snap;
	struct registry registry;
	struct listener listener;
	struct notify notify;
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

int daemon_load(const struct daemon_args *args, struct conf **out, struct err *e)
{
	return conf_is_uri(args->source) ? conf_load_uri(args->source, &args->over, out, e) :
					   conf_load_file(args->source, &args->over, out, e);
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

static struct target_rule rule_of(const struct conf_global *g)
{
	return (struct target_rule){ (unsigned)g->health_check_rise, (unsigned)g->health_check_fall };
}

static void on_target_seen(struct worker *w, struct letter *l)
{
	struct seen_letter *b = (struct seen_letter *)(void *)l;
	struct target_rule r = rule_of(&b->d->snap->conf->g);

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

static void set_http(struct probe_conf *pc, const struct snapshot_db *db, const struct target *t)
{
	const struct conf_host *h;
	size_t i;

	for (i = 0; i < db->node_n && db->nodes[i].t != t; i++)
		;
	if (i == db->node_n)
		return;
	h = &db->conf->host_conf[db->nodes[i].host];
	pc->http_port = h->http_port;
	pc->https = h->https;
	pc->http_path = h->http_path;
}

static void probe_one(struct daemon *d, struct target *t)
{
	const struct conf_global *g = &d->snap->conf->g;
	const struct snapshot_db *db = registry_entry(d->snap, t);
	struct probe_conf pc = {
		.interval_us = g->health_check_interval,
		.timeout_us = g->health_check_timeout,
		.rule = rule_of(g),
		.user = g->health_check_user,
		.password = g->health_check_password,
		.dbname = g->health_check_dbname,
		.max_lag_us = (uint64_t)g->max_standby_lag,
	};

	if (!db) {
		probe_stop(t); /* no entry names it any more */
		return;
	}
	set_http(&pc, db, t);
	if (!pc.user) {
		pc.user = db->conf->k.user;
		if (!pc.password)
			pc.password = db->conf->k.password;
	}
	if (!pc.dbname && strcmp(db->conf->name, "*") != 0)
		pc.dbname = db->conf->k.dbname ? db->conf->k.dbname : db->conf->name;
	if (probe_start(t, d->w.base, &pc, &d->w.log_ctx, on_changed, d))
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "out_of_memory", NULL);
}

static void probe_all(struct daemon *d)
{
	struct target *t;

	for (t = d->registry.targets.head; t; t = t->next)
		probe_one(d, t);
}

/* Takes over the reference. The nodes of the one before go when nobody holds
 * them any more. */
static void use_snapshot(struct daemon *d, struct snapshot *snap)
{
	unsigned i;

	snapshot_drop(d->snap);
	d->snap = snap;
	probe_all(d);
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

static void on_accepted(void *arg, int fd)
{
	struct daemon *d = arg;
	struct hall *best = &d->sh.halls[0];
	unsigned total = 0, i, least = UINT32_MAX;

	for (i = 0; i < d->sh.hall_n; i++) {
		unsigned load = atomic_load_explicit(&d->sh.halls[i].w.load, memory_order_relaxed);

		total += load;
		if (load < least) {
			least = load;
			best = &d->sh.halls[i];
		}
	}
	if (total >= (unsigned)d->snap->conf->g.max_client_conn + STARTUP_SLACK) {
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "client_shed", "connections=%u", total);
		close(fd);
		return;
	}
	hall_tell_client(best, fd);
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

static void drain(struct daemon *d)
{
	int64_t us = d->snap->conf->g.shutdown_timeout;
	struct timeval tv = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) };
	char text[120];
	unsigned i;

	d->draining = true;
	/* The manager is asked for the time the configuration allows, whatever
	 * its unit says. */
	(void)snprintf(text, sizeof(text),
		       "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=waiting for transactions to end",
		       (long long)us + 5000000);
	notify_send(&d->notify, text);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "draining", NULL);
	listen_close(&d->listener);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_drain(&d->sh.halls[i]);
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
	struct snapshot *snap;
	struct wish wish = { 0 };
	struct err e;

	notify_reloading(&d->notify, clock_mono_us());
	if (daemon_load(d->args, &conf, &e)) {
		char q[400];

		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "reload_failed", "reason=%s",
		    log_quote(q, sizeof(q), e.text));
		notify_send(&d->notify, "READY=1\nSTATUS=reload failed, running on as before");
		return;
	}
	wish.d = d;
	wish.old = d->snap->conf;
	conf_each(conf, warn_start_only, &wish);
	snap = registry_first(&d->registry, conf);
	if (!snap) {
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "reload_failed", "reason=\"out of memory\"");
		notify_send(&d->notify, "READY=1\nSTATUS=reload failed, running on as before");
		return;
	}
	set_level(d, snap->conf);
	atomic_store(&d->sh.clients.max, (int)snap->conf->g.max_client_conn);
	use_snapshot(d, snap);
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

static int open_listeners(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;
	struct addr *a;
	size_t n, i;
	int first = 0, given = 0, ok = 0;

	listen_init(&d->listener, &d->w, on_accepted, d);
	if (listen_fds(&first, &given, e))
		return -1;
	for (i = 0; i < (size_t)given; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);

		if (getsockname(first + (int)i, (struct sockaddr *)&sa, &len) == 0 &&
		    g->auth_type == AUTH_TRUST && !addr_is_loopback((struct sockaddr *)&sa))
			return err_set(e, "a socket from the service manager listens beyond "
					  "loopback, and auth_type is trust: set auth_type");
		if (listen_inherit(&d->listener, first + (int)i, &d->port, e))
			return -1;
	}
	if (given)
		return 0;
	if (addr_listen_list(g->listen_addr, (int)g->listen_port, &a, &n, e))
		return -1;
	for (i = 0; i < n; i++) {
		if (listen_on(&d->listener, &a[i], (int)g->listen_backlog, ok ? NULL : &d->port, e) ==
		    0)
			ok++;
		else if (n > 1)
			LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "listen_failed", "reason=\"%s\"",
			    e->text);
	}
	addr_list_free(a, n);
	if (!ok && !n)
		err_set(e, "listen_addr is empty: there is nothing to listen on");
	return ok ? 0 : -1;
}

static void raise_limits(struct daemon *d)
{
	const struct conf_global *g = &d->snap->conf->g;
	struct rlimit rl;
	rlim_t need = (rlim_t)g->max_client_conn + STARTUP_SLACK + 64;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	(void)getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < need)
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "few_descriptors",
		    "limit=%llu needed=%llu hint=\"raise LimitNOFILE or lower max_client_conn\"",
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
	static const struct hall_ops ops = { .console = admin_query };
	unsigned n = worker_count(&d->snap->conf->g), i;

	d->threads = calloc(n, sizeof(*d->threads));
	d->sh.halls = calloc(n, sizeof(*d->sh.halls));
	if (!d->threads || !d->sh.halls || hubs_init(&d->sh.hubs, n))
		return err_set(e, "out of memory");
	for (i = 0; i < n; i++) {
		if (hall_init(&d->sh.halls[i], i, &d->sh, &d->w.log, snapshot_hold(d->snap), &ops, e))
			return -1;
		d->sh.hall_n++;
	}
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

static int write_pidfile(const char *path, struct err *e)
{
	FILE *f;

	if (!path || !*path)
		return 0;
	f = fopen(path, "we");
	if (!f)
		return err_set(e, "pidfile %s: %s", path, strerror(errno));
	fprintf(f, "%d\n", (int)getpid());
	return fclose(f) ? err_set(e, "pidfile %s: %s", path, strerror(errno)) : 0;
}

static void say_ready_line(const struct daemon *d)
{
	const struct conf *c = d->snap->conf;
	const char *user = c->fallback && c->fallback->k.user ? c->fallback->k.user : "USER";
	const char *db = c->db_n ? c->dbs[0].name : "DATABASE";
	const char *host = c->g.listen_addr ? c->g.listen_addr : "";
	size_t n = strcspn(host, ",");

	if (d->args->quiet)
		return;
	if (n == 0 || *host == '*')
		host = "127.0.0.1", n = 9;
	if (!c->from_uri && c->db_n && c->dbs[0].k.user)
		user = c->dbs[0].k.user;
	printf("pgweir: ready, connect with: psql 'host=%.*s port=%d user=%s dbname=%s'\n", (int)n,
	       host, d->port, user, db);
	fflush(stdout);
}

static int start(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;
	uint64_t wd = notify_watchdog_us() / 3;
	struct timeval tv = { (time_t)(wd / 1000000), (suseconds_t)(wd % 1000000) };

	if (catch_signals(d, e) || open_listeners(d, e) || write_pidfile(g->pidfile, e) ||
	    become(g->user, e))
		return -1;
	raise_limits(d);
	if (random_secret(d->sh.mock_key, sizeof(d->sh.mock_key)))
		return err_set(e, "the system has no randomness");
	limit_init(&d->sh.clients, (int)g->max_client_conn);
	d->sh.target_seen = tell_seen;
	d->sh.node_order = order_node;
	d->sh.hall_stopped = hall_stopped;
	if (start_halls(d, e))
		return -1;
	probe_all(d);
	listen_start(&d->listener);
	event_assign(&d->watchdog_ev, d->w.base, -1, EV_PERSIST, on_watchdog, d);
	if (wd)
		event_add(&d->watchdog_ev, &tv);
	evtimer_assign(&d->drain_ev, d->w.base, on_drain_over, d);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "started", "version=%s workers=%u port=%d",
	    PGWEIR_VERSION, d->sh.hall_n, d->port);
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
	if (d->listener.w)
		listen_close(&d->listener);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_free(&d->sh.halls[i]);
	for (l = d->w.base ? mbox_take(&d->w.mbox) : NULL; l; l = after) {
		after = l->next;
		if (l->deliver == on_target_seen || l->deliver == on_node_order)
			target_drop(((struct seen_letter *)(void *)l)->t);
		free(l); /* what a worker saw of a target no longer matters */
	}
	if (d->sh.halls)
		hubs_free(&d->sh.hubs);
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

int daemon_run(const struct daemon_args *args, struct conf *conf, struct err *e)
{
	struct daemon d = { .args = args, .signal_fd = -1 };
	struct log log = { .level = &d.log_level, .wall_us = clock_wall_us };
	int rc = 1, started_fd = -1;

	d.notify.fd = -1;
	d.listener.reserve = -1;
	set_level(&d, conf);
	if (open_log(&d, conf->g.logfile, e) || (args->background && background(&conf->g, &started_fd, e))) {
		conf_drop(conf);
		return 1;
	}
	log.fd = d.log_fd;
	probe_clean_env();
	if (worker_init(&d.w, 0, &log, &d, NULL, e)) {
		conf_drop(conf);
		return 1;
	}
	d.snap = registry_open(&d.registry, &d.w, on_names, &d, e) ? NULL : registry_first(&d.registry, conf);
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
