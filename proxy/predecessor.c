/* proxy/predecessor.c - see predecessor.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "predecessor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 15000
/* So long all must go well before the other process lets go. */
#define TRIAL_US 1000000
/* ... and so often it is looked at when it does not. */
#define AGAIN_US 200000

void predecessor_init(struct predecessor *p)
{
	memset(p, 0, sizeof(*p));
	p->link = -1;
	handoff_begin(&p->offer, 0);
}

bool predecessor_is_there(const struct predecessor *p)
{
	return p->link >= 0;
}

static void hang_up(struct predecessor *p)
{
	close(p->link);
	p->link = -1;
	atomic_store(&p->there, false);
}

static int refused(const struct handoff *m, struct err *e)
{
	if (m->version != HANDOFF_VERSION)
		return err_set(e, "the running pgweir speaks version %u of the take-over, and this one "
				  "version %d: it goes on, and only a restart replaces it", m->version,
			       HANDOFF_VERSION);
	return err_set(e, "the running pgweir does not hand over: %s",
		       m->kind == HANDOFF_NO && *m->text ? m->text : "its answer makes no sense");
}

static int unanswered(int rc, struct err *e)
{
	return err_set(e, "the running pgweir does not hand over: %s",
		       rc == 0 ? "it has ended the connection" : strerror(errno));
}

static int hear_offer(struct predecessor *p, struct err *e)
{
	struct handoff m;
	int rc;

	handoff_begin(&m, HANDOFF_HELLO);
	if (handoff_send(p->link, &m) && errno != EPIPE) /* it may have said no and gone */
		return unanswered(-1, e);
	rc = handoff_wait(p->link, &p->offer, ANSWER_MS);
	if (rc <= 0)
		return unanswered(rc, e);
	return p->offer.version == HANDOFF_VERSION && p->offer.kind == HANDOFF_OFFER ?
		       0 : refused(&p->offer, e);
}

int predecessor_ask(struct predecessor *p, const char *dir, uid_t user, struct err *e)
{
	bool nobody;

	p->link = handoff_knock(dir, user, &nobody, e);
	if (p->link < 0)
		return nobody ? 0 : -1;
	if (hear_offer(p, e) == 0) {
		p->pid = (pid_t)p->offer.pid;
		atomic_store(&p->there, true);
		return 0;
	}
	predecessor_close(p);
	return -1;
}

/* Ours from now on. */
static int take(struct predecessor *p, unsigned i)
{
	int fd = p->offer.fd[i];

	p->offer.fd[i] = -1;
	p->taken |= UINT64_C(1) << i;
	return fd;
}

static bool is_for_clients(const struct predecessor *p, unsigned i)
{
	return p->offer.fd[i] >= 0 && (p->offer.role[i] == ROLE_LISTEN || p->offer.role[i] == ROLE_UNIX);
}

int predecessor_inherit(struct predecessor *p, struct listener *l, int *port, struct err *e)
{
	unsigned i;

	for (i = 0; i < p->offer.n; i++)
		if (is_for_clients(p, i) && listen_inherit(l, take(p, i), port, e))
			return -1;
	return 0;
}

int predecessor_adopt(struct predecessor *p, struct listener *l, const struct addr *want,
		      struct err *e)
{
	unsigned i;

	for (i = 0; i < p->offer.n; i++)
		if (is_for_clients(p, i) && p->offer.role[i] == ROLE_LISTEN &&
		    listen_is_at(p->offer.fd[i], want))
			return listen_adopt(l, take(p, i), e) ? -1 : 1;
	return 0;
}

int predecessor_adopt_unix(struct predecessor *p, struct listener *l, const char *dir, int port,
			   struct err *e)
{
	struct addr want = { .port = port };
	struct err why;
	unsigned i;
	int lock = -1, fd;

	if (addr_unix(dir, port, &want.sock.un, &want.sock_len, &why))
		return 0; /* listen_unix says so */
	for (i = 0; i < p->offer.n; i++) {
		if (!is_for_clients(p, i) || !listen_is_at(p->offer.fd[i], &want))
			continue;
		fd = take(p, i);
		if (p->offer.role[i] == ROLE_UNIX && i + 1 < p->offer.n &&
		    p->offer.role[i + 1] == ROLE_UNIX_LOCK)
			lock = take(p, i + 1);
		return listen_adopt_unix(l, fd, lock, dir, e) ? -1 : 1;
	}
	return 0;
}

int predecessor_door(struct predecessor *p, const char *dir, struct sockfile *f)
{
	unsigned i;
	int lock = -1, fd = -1;

	for (i = 0; i < p->offer.n; i++) {
		if (p->offer.fd[i] < 0)
			continue;
		if (p->offer.role[i] == ROLE_DOOR)
			fd = take(p, i);
		else if (p->offer.role[i] == ROLE_DOOR_LOCK)
			lock = take(p, i);
	}
	handoff_adopt(f, dir, lock);
	return fd;
}

int predecessor_ready(struct predecessor *p, struct err *e)
{
	struct handoff m;
	int rc;

	handoff_drop(&p->offer); /* those that we have no use for */
	handoff_begin(&m, HANDOFF_READY);
	m.taken = p->taken;
	/* it may have said no and gone: that is in the queue, in front of the end */
	if (handoff_send(p->link, &m) && errno != EPIPE && errno != ECONNRESET)
		return unanswered(-1, e);
	rc = handoff_wait(p->link, &m, ANSWER_MS);
	if (rc == 0 || (rc < 0 && errno == ECONNRESET)) {
		hang_up(p); /* it has died: what it had is ours */
		return 0;
	}
	if (rc < 0)
		return unanswered(rc, e);
	handoff_drop(&m);
	return m.version == HANDOFF_VERSION && m.kind == HANDOFF_GO ? 0 : refused(&m, e);
}

static void settle(struct predecessor *p)
{
	if (p->settled)
		return;
	p->settled = true;
	event_del(&p->timer);
	p->ops->settled(p->arg);
}

static void ended(struct predecessor *p)
{
	event_del(&p->link_ev);
	hang_up(p);
	settle(p);
	p->ops->gone(p->arg);
}

static void on_link(evutil_socket_t fd, short what, void *arg)
{
	struct predecessor *p = arg;
	struct handoff m;
	int rc = handoff_recv(fd, &m);

	(void)what;
	worker_clock(p->w);
	if (rc < 0 && errno == EAGAIN)
		return;
	if (rc <= 0) {
		ended(p);
		return;
	}
	handoff_drop(&m);
	if (m.kind == HANDOFF_OVER) {
		settle(p);
	} else if (m.kind == HANDOFF_NO && !p->settled) {
		event_del(&p->link_ev);
		event_del(&p->timer);
		hang_up(p);
		p->ops->withdrawn(p->arg, m.text);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = { 0, AGAIN_US };
	struct predecessor *p = arg;
	struct handoff m;

	(void)fd;
	(void)what;
	worker_clock(p->w);
	handoff_begin(&m, HANDOFF_STEADY);
	if (p->steady || p->settled)
		return;
	p->steady = p->ops->well(p->arg) && handoff_send(p->link, &m) == 0;
	if (!p->steady)
		event_add(&p->timer, &tv);
}

void predecessor_watch(struct predecessor *p, struct worker *w, const struct predecessor_ops *ops,
		       void *arg)
{
	struct timeval tv = { TRIAL_US / 1000000, TRIAL_US % 1000000 };

	p->w = w;
	p->ops = ops;
	p->arg = arg;
	evtimer_assign(&p->timer, w->base, on_timer, p);
	if (p->link < 0) {
		settle(p);
		return;
	}
	evutil_make_socket_nonblocking(p->link);
	event_assign(&p->link_ev, w->base, p->link, EV_READ | EV_PERSIST, on_link, p);
	event_add(&p->link_ev, NULL);
	event_add(&p->timer, &tv);
}

bool predecessor_cancel(struct predecessor *p, int fd, uint32_t pid, uint32_t secret)
{
	struct handoff m;

	if (p->link < 0)
		return false;
	handoff_begin(&m, HANDOFF_CANCEL);
	m.key_pid = pid;
	m.key_secret = secret;
	handoff_add(&m, ROLE_ASKER, fd);
	if (handoff_send(p->link, &m))
		LOG(&p->w->log_ctx, LOG_LEVEL_WARN, "cancel_failed", "reason=\"%s\"", strerror(errno));
	if (fd >= 0)
		close(fd);
	return true;
}

void predecessor_withdraw(struct predecessor *p)
{
	struct handoff m;

	if (p->link < 0 || !p->ops || p->settled || p->steady)
		return;
	handoff_begin(&m, HANDOFF_NO);
	/* should it not hear that, it sees the end of the connection */
	if (handoff_send(p->link, &m))
		LOG(&p->w->log_ctx, LOG_LEVEL_WARN, "takeover_unheard", "reason=\"%s\"",
		    strerror(errno));
	event_del(&p->link_ev);
	event_del(&p->timer);
	hang_up(p);
}

void predecessor_close(struct predecessor *p)
{
	handoff_drop(&p->offer);
	if (p->link < 0)
		return;
	if (p->w) {
		event_del(&p->link_ev);
		event_del(&p->timer);
	}
	hang_up(p);
}
