/* proxy/takeover.c - see takeover.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "takeover.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "birth.h"
#include "leave.h"
#include "session/cancel.h"

void takeover_init(struct daemon *d)
{
	predecessor_init(&d->before);
	upgrade_init(&d->upgrade, &d->w);
	d->after.door = d->after.link = d->pidfile_fd = -1;
}

int takeover_ask(struct daemon *d, struct err *e)
{
	const struct conf_global *g = &d->snap->conf->g;

	if (!d->args->reboot)
		return 0;
	if (!g->takeover_dir)
		return err_set(e, "--reboot takes over from the pgweir that runs, and takeover_dir, where "
				  "they meet, is not set");
	if (predecessor_ask(&d->before, g->takeover_dir, birth_uid(g->user), e))
		return -1;
	if (!predecessor_is_there(&d->before))
		LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "nobody_to_take_over_from", "takeover_dir=%s",
		    g->takeover_dir);
	return 0;
}

int takeover_open(struct daemon *d, struct err *e)
{
	const char *dir = d->snap->conf->g.takeover_dir;

	if (predecessor_is_there(&d->before))
		d->after.door = predecessor_door(&d->before, dir, &d->after.file);
	return successor_open(&d->after, dir, &d->w, &d->listener, e);
}

/* ---- the next process ---- */

static void on_accept(void *arg, bool on)
{
	struct daemon *d = arg;

	if (!d->leaving)
		accepting_set(&d->accepting, on ? ACCEPT_ON : ACCEPT_OFF);
}

void takeover_accepting(struct daemon *d, enum accept_mode now)
{
	if (now == ACCEPT_OFF)
		successor_quiet(&d->after);
}

static void on_given(void *arg, pid_t pid)
{
	struct daemon *d = arg;
	char text[64];

	(void)snprintf(text, sizeof(text), "MAINPID=%d", (int)pid);
	notify_send(&d->notify, text);
	notify_close(&d->notify); /* what we say from now on is not about the service */
	d->settled = false;
	d->given = true;
	upgrade_end(&d->upgrade, pid, NULL);
	/* http_addr is wanted by the other, who tries again each second */
	web_stop(d->web);
	d->web = NULL;
	if (d->leaving)
		return;
	leave_begin(d, LEAVE_CLIENTS);
	d->quiet = true;
}

static void on_failed(void *arg, const char *why)
{
	upgrade_end(&((struct daemon *)arg)->upgrade, 0, why);
}

static void on_upgrade(void *arg, int fd)
{
	struct daemon *d = arg;

	upgrade_begin(&d->upgrade, fd, d->args->argv, d->args->background);
}

static void on_cancel(void *arg, int fd, uint32_t pid, uint32_t secret)
{
	struct daemon *d = arg;

	/* who has no clients any more may have one before it that has */
	if (!cancel_post(&d->sh, fd, pid, secret) &&
	    !predecessor_cancel(&d->before, fd, pid, secret) && fd >= 0)
		close(fd);
}

static void listen_for_next(struct daemon *d)
{
	static const struct successor_ops ops = { on_accept, on_given, on_failed, on_upgrade,
						  on_cancel };

	successor_start(&d->after, &ops, d);
}

/* ---- the process before ---- */

static bool on_well(void *arg)
{
	struct daemon *d = arg;
	uint64_t now = clock_mono_us();
	unsigned i;

	if (d->leaving)
		return false;
	/* each worker's loop turns a few times a second */
	for (i = 0; i < d->sh.hall_n; i++)
		if (now - atomic_load(&d->sh.halls[i].w.alive_us) > 1000000)
			return false;
	return true;
}

static int write_pidfile(struct daemon *d, struct err *e)
{
	int rc = birth_write_pidfile(d->snap->conf->g.pidfile, d->pidfile_fd, e);

	if (d->pidfile_fd >= 0)
		close(d->pidfile_fd);
	d->pidfile_fd = -1;
	d->settled = rc == 0;
	return rc;
}

static void on_settled(void *arg)
{
	struct daemon *d = arg;
	struct err e;
	char q[300];

	if (sockfile_put_on(&d->listener.file, &e))
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "unix_socket_failed", "reason=%s",
		    log_quote(q, sizeof(q), e.text));
	(void)sockfile_own(&d->listener.file);
	(void)sockfile_own(&d->after.file);
	if (!d->settled && write_pidfile(d, &e))
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "pidfile_failed", "reason=%s",
		    log_quote(q, sizeof(q), e.text));
	if (d->before.pid)
		LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "took_over", "from=%d", (int)d->before.pid);
	if (d->leaving) {
		leave_tell(d); /* while it was on its way to be ours */
		return;
	}
	listen_for_next(d);
	/* behind MAINPID= of the process before */
	notify_send(&d->notify, "READY=1\nSTATUS=accepting connections");
}

static void on_withdrawn(void *arg, const char *why)
{
	struct daemon *d = arg;
	char q[300];

	LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "takeover_withdrawn", "reason=%s",
	    log_quote(q, sizeof(q), why));
	d->status = 1;
	leave_begin(d, LEAVE_CLIENTS);
	if (d->started && d->stopped == d->started)
		d->w.done = true; /* it was leaving, and only waited for the other */
}

static void on_gone(void *arg)
{
	struct daemon *d = arg;

	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "predecessor_ended", "pid=%d", (int)d->before.pid);
	if (d->started && d->stopped == d->started)
		d->w.done = true;
}

int takeover_begin(struct daemon *d, struct err *e)
{
	static const struct predecessor_ops before_ops = { on_well, on_settled, on_withdrawn, on_gone };

	if (predecessor_is_there(&d->before) ? predecessor_ready(&d->before, e) : write_pidfile(d, e))
		return -1;
	accepting_set(&d->accepting, ACCEPT_ON);
	predecessor_watch(&d->before, &d->w, &before_ops, d);
	return 0;
}

/* ---- cancels for clients of the process before ---- */

struct stray {
	struct letter l;
	int fd;
	uint32_t pid, secret;
};

static void on_stray(struct worker *w, struct letter *l)
{
	struct stray *s = (struct stray *)(void *)l;
	struct daemon *d = w->owner;

	if (!predecessor_cancel(&d->before, s->fd, s->pid, s->secret) && s->fd >= 0)
		close(s->fd);
	free(s);
}

bool takeover_cancel(struct shared *sh, int fd, uint32_t pid, uint32_t secret)
{
	struct daemon *d = daemon_of(sh);
	struct stray *s;

	if (!atomic_load(&d->before.there))
		return false;
	s = calloc(1, sizeof(*s));
	if (!s)
		return false;
	s->l.deliver = on_stray;
	s->fd = fd;
	s->pid = pid;
	s->secret = secret;
	worker_post(&d->w, &s->l);
	return true;
}

void takeover_close(struct daemon *d)
{
	predecessor_close(&d->before);
	upgrade_close(&d->upgrade);
	successor_close(&d->after);
	if (d->pidfile_fd >= 0)
		close(d->pidfile_fd);
	d->pidfile_fd = -1;
}
