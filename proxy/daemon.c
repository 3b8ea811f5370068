/* proxy/daemon.c - see daemon.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "birth.h"
#include "checks.h"
#include "conf/version.h"
#include "console/admin.h"
#include "doors.h"
#include "health/probe.h"
#include "leave.h"
#include "nodes_seen.h"
#include "orders.h"
#include "reload.h"
#include "session/hall.h"
#include "session/quota.h"
#include "takeover.h"

static void on_accepted(void *arg, int fd, const struct listen_from *from, bool spoken)
{
	hall_welcome(arg, fd, from, spoken);
}

static void on_accepting(void *arg, enum accept_mode now)
{
	struct daemon *d = arg;

	takeover_accepting(d, now);
	if (now == ACCEPT_CLOSED)
		leave_closed(d);
}

/* ---- signals, watchdog ---- */

/* The first that is asked for, the next one at once; after a take-over, which asks for the
 * gentlest by itself, there is one more. */
static void on_end(struct daemon *d, enum leave_how how)
{
	if (d->leaving && !d->quiet)
		leave_now(d);
	else
		leave_begin(d, d->quiet ? LEAVE_SERVERS : how);
	d->quiet = false;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct signalfd_siginfo si;

	(void)what;
	worker_clock(&d->w);
	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGHUP:
			if (!d->leaving)
				reload(d, NULL, NULL);
			break;
		case SIGTERM:
		case SIGINT:
			on_end(d, si.ssi_signo == SIGTERM ? LEAVE_CLIENTS : LEAVE_SERVERS);
			break;
		case SIGUSR1:
			orders_pause(d);
			break;
		case SIGUSR2:
			orders_resume(d);
			break;
		case SIGQUIT:
			leave_now(d);
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
	if (!d->before.settled)
		return; /* the process before is the main one */
	for (i = 0; i < d->sh.hall_n; i++)
		if (now - atomic_load(&d->sh.halls[i].w.alive_us) > limit)
			return;
	notify_send(&d->notify, "WATCHDOG=1");
}

/* ---- start ---- */

static void *thread_main(void *arg)
{
	hall_run(arg);
	return NULL;
}

static int start_halls(struct daemon *d, struct err *e)
{
	unsigned n = birth_workers(&d->snap->conf->g), i;

	d->threads = calloc(n, sizeof(*d->threads));
	d->ended = calloc(n, sizeof(*d->ended));
	d->sh.halls = calloc(n, sizeof(*d->sh.halls));
	if (!d->threads || !d->ended || !d->sh.halls || door_init(&d->sh.door) ||
	    hubs_init(&d->sh.hubs, n) || meters_init(&d->sh.meters, n, clock_mono_us()))
		return err_set(e, "out of memory");
	for (i = 0; i < n; i++) {
		if (hall_init(&d->sh.halls[i], i, &d->sh, &d->w.log, snapshot_hold(d->snap), &admin_ops, e))
			return -1;
		d->sh.hall_n++;
	}
	/* accepting begins when nothing can fail any more */
	d->listener.accepted = on_accepted;
	d->listener.arg = &d->sh.halls[0];
	accepting_init(&d->accepting, &d->listener, &d->w, &d->sh.halls[0].w, on_accepting, d);
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
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
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

/* The unix socket is made by the user that pgweir becomes, who must be able to take it
 * away; a port and the pidfile may need more than he has. */
static int open_all(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;

	listen_init(&d->listener, &d->w.log_ctx);
	return takeover_ask(d, e) || doors_open(&d->listener, g, &d->before, &d->port, e) ||
			       birth_open_pidfile(g->pidfile, &d->pidfile_fd, e) ||
			       birth_become(g->user, e) ||
			       doors_open_unix(&d->listener, g, &d->before, d->port, e) ||
			       takeover_open(d, e) ?
		       -1 : 0;
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
	d->sh.peer_id = (int)g->peer_id;
	birth_limits(g, &d->w.log_ctx);
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
	d->sh.target_seen = nodes_tell_seen;
	d->sh.uid_name = ask_uid;
	d->sh.node_order = nodes_order;
	d->sh.order = orders_take;
	d->reloaded = orders_reloaded;
	d->sh.hall_stopped = leave_hall_stopped;
	d->sh.cancel_elsewhere = takeover_cancel;
	reload_tcp(d);
	if (start_halls(d, e))
		return -1;
	web_prepare(&d->web, &d->sh, snapshot_hold(d->snap), &d->w.log_ctx);
	if (takeover_begin(d, e))
		return -1;
	period_start(&d->period, &d->w, CTL_PERIOD, &d->sh.meters, g);
	web_start(&d->web, &d->w.log_ctx);
	checks_start(d->snap, &d->registry.targets, &d->w, nodes_changed, d);
	event_assign(&d->watchdog_ev, d->w.base, -1, EV_PERSIST, on_watchdog, d);
	if (wd)
		event_add(&d->watchdog_ev, &tv);
	reload_warnings(d, d->snap->conf);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "started", "version=%s workers=%u port=%d unix=%s",
	    PGWEIR_VERSION, d->sh.hall_n, d->port,
	    log_quote(dir, sizeof(dir), d->listener.dir[0] ? d->listener.dir : "-"));
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

	web_stop(d->web);
	stop_threads(d);
	uids_free(d->uids);
	orders_close(d);
	takeover_close(d);
	listen_stop(&d->listener);
	if (d->listener.log)
		listen_close(&d->listener);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_free(&d->sh.halls[i]);
	d->over = true;
	for (l = d->w.base ? mbox_take(&d->w.mbox) : NULL; l; l = after) {
		after = l->next;
		if (l != &d->accepting.l)
			l->deliver(&d->w, l);
	}
	if (d->sh.halls) {
		hubs_free(&d->sh.hubs);
		meters_free(&d->sh.meters);
		door_free(&d->sh.door);
	}
	logins_free(&d->sh.logins);
	free(d->sh.halls);
	free(d->threads);
	free(d->ended);
	snapshot_drop(d->snap);
	if (d->w.base) {
		if (event_initialized(&d->signal_ev))
			event_del(&d->signal_ev);
		if (event_initialized(&d->watchdog_ev))
			event_del(&d->watchdog_ev);
	}
	registry_close(&d->registry);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	notify_close(&d->notify);
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
	struct daemon d = { .args = args, .signal_fd = -1, .log_fd = -1 };
	struct log log = { .level = &d.log_level, .wall_us = clock_wall_us };
	int rc = 1, started_fd = -1;

	d.notify.fd = -1;
	d.listener.reserve = -1;
	leave_init(&d);
	orders_init(&d);
	takeover_init(&d);
	reload_log_level(&d, conf);
	if (birth_open_log(conf->g.logfile, &d.log_fd, e) || (args->background && birth_background(&conf->g, &started_fd, e)))
		return give_up(conf, tls);
	log.fd = d.log_fd;
	probe_clean_env();
	if (worker_init(&d.w, 0, &log, &d, NULL, e))
		return give_up(conf, tls);
	d.snap = registry_open(&d.registry, &d.w, reload_names, &d, e) ?
			 NULL : registry_first(&d.registry, conf, tls);
	if (!d.snap)
		err_set(e, "out of memory");
	else if (notify_open(&d.notify, getenv("NOTIFY_SOCKET")))
		err_set(e, "NOTIFY_SOCKET cannot be used: %s", strerror(errno));
	else if (start(&d, e) == 0) {
		if (started_fd >= 0)
			birth_background_done(started_fd);
		worker_run(&d.w);
		LOG(&d.w.log_ctx, LOG_LEVEL_INFO, "stopped", NULL);
		rc = d.status;
	} else {
		leave_now(&d);
	}
	if (d.settled)
		birth_drop_pidfile(d.snap->conf->g.pidfile);
	clean_up(&d);
	worker_free(&d.w);
	close(d.log_fd);
	return rc;
}
