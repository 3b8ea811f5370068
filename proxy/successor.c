/* proxy/successor.c - see successor.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "successor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* For its start, between OFFER and READY; else for an answer. */
#define START_S 60
#define ANSWER_S 10
/* No descriptor for who knocks. */
#define REST_S 1

static void set_timer(struct successor *s, int seconds)
{
	struct timeval tv = { seconds, 0 };

	if (seconds)
		event_add(&s->timer, &tv);
	else
		event_del(&s->timer);
}

static void drop_link(struct successor *s)
{
	if (s->link < 0)
		return;
	event_del(&s->link_ev);
	set_timer(s, 0);
	close(s->link);
	s->link = -1;
}

static void say(struct successor *s, enum handoff_kind kind, const char *why)
{
	struct handoff m;

	handoff_begin(&m, kind);
	if (why)
		(void)snprintf(m.text, sizeof(m.text), "%s", why);
	/* who cannot be told sees the end of the connection */
	if (handoff_send(s->link, &m) && kind != HANDOFF_NO)
		LOG(&s->w->log_ctx, LOG_LEVEL_WARN, "takeover_unheard", "reason=\"%s\"",
		    strerror(errno));
}

/* Until it has said what it wants nobody else is let in, who might be the next process. */
static void in_or_out(struct successor *s, enum successor_state state)
{
	if (s->state == SUCCESSOR_HELLO && s->door >= 0)
		event_add(&s->door_ev, NULL);
	s->state = state;
	if (state == SUCCESSOR_HELLO)
		event_del(&s->door_ev);
}

/* We go on as before. why NULL: it went, or was told. */
static void call_off(struct successor *s, const char *why)
{
	bool silent = s->state == SUCCESSOR_QUIET || s->state == SUCCESSOR_TRIAL;
	char q[250];

	if (why)
		say(s, HANDOFF_NO, why);
	LOG(&s->w->log_ctx, LOG_LEVEL_WARN, "takeover_failed", "pid=%d reason=%s", (int)s->pid,
	    log_quote(q, sizeof(q), why ? why : "the new process has ended"));
	drop_link(s);
	in_or_out(s, SUCCESSOR_NONE);
	s->ops->failed(s->arg, why ? why : "the new process has ended; its log says why");
	if (silent)
		s->ops->accept(s->arg, true);
}

static void offer(struct successor *s)
{
	const struct listener *l = s->listener;
	struct handoff m;
	unsigned i;

	handoff_begin(&m, HANDOFF_OFFER);
	m.inherited = l->inherited;
	s->unix_at = HANDOFF_FDS;
	for (i = 0; i < l->n; i++)
		if (l->file.ino && (int)i == l->file_at) {
			s->unix_at = (uint8_t)m.n;
			handoff_add(&m, ROLE_UNIX, l->fd[i]);
			handoff_add(&m, ROLE_UNIX_LOCK, l->file.lock);
		} else {
			handoff_add(&m, ROLE_LISTEN, l->fd[i]);
		}
	handoff_add(&m, ROLE_DOOR, s->door);
	handoff_add(&m, ROLE_DOOR_LOCK, s->file.lock);
	if (handoff_send(s->link, &m)) {
		call_off(s, "the sockets cannot be handed over");
		return;
	}
	in_or_out(s, SUCCESSOR_OFFERED);
	set_timer(s, START_S);
}

static void on_ready(struct successor *s, const struct handoff *m)
{
	s->taken = m->taken;
	s->state = SUCCESSOR_QUIET;
	set_timer(s, ANSWER_S);
	s->ops->accept(s->arg, false);
}

void successor_quiet(struct successor *s)
{
	if (s->state != SUCCESSOR_QUIET)
		return;
	s->state = SUCCESSOR_TRIAL;
	set_timer(s, ANSWER_S);
	say(s, HANDOFF_GO, NULL);
}

static void shut_door(struct successor *s)
{
	if (s->door < 0)
		return;
	if (s->ops) {
		event_del(&s->door_ev);
		event_del(&s->rest);
	}
	close(s->door);
	s->door = -1;
	sockfile_drop(&s->file);
}

static void on_steady(struct successor *s)
{
	set_timer(s, 0);
	s->state = SUCCESSOR_GIVEN;
	LOG(&s->w->log_ctx, LOG_LEVEL_INFO, "taken_over", "by=%d", (int)s->pid);
	if (s->unix_at < HANDOFF_FDS && s->taken >> s->unix_at & 1)
		sockfile_lend(&s->listener->file);
	sockfile_lend(&s->file);
	shut_door(s);
	s->ops->given(s->arg, s->pid);
	say(s, HANDOFF_OVER, NULL);
}

static void on_cancel(struct successor *s, struct handoff *m)
{
	int fd = m->n ? m->fd[0] : -1;

	if (m->n)
		m->fd[0] = -1;
	s->ops->cancel(s->arg, fd, m->key_pid, m->key_secret);
}

static void on_upgrade(struct successor *s)
{
	int fd = s->link;

	event_del(&s->link_ev);
	set_timer(s, 0);
	s->link = -1;
	in_or_out(s, SUCCESSOR_NONE);
	s->ops->upgrade(s->arg, fd);
}

static bool fits(enum successor_state state, unsigned kind)
{
	switch (kind) {
	case HANDOFF_HELLO:
	case HANDOFF_UPGRADE:
		return state == SUCCESSOR_HELLO;
	case HANDOFF_READY:
		return state == SUCCESSOR_OFFERED;
	case HANDOFF_STEADY:
		return state == SUCCESSOR_TRIAL;
	case HANDOFF_CANCEL:
		return state == SUCCESSOR_TRIAL || state == SUCCESSOR_GIVEN;
	case HANDOFF_NO:
		return state < SUCCESSOR_GIVEN;
	default:
		return false;
	}
}

static void on_message(struct successor *s, struct handoff *m)
{
	char why[100];

	if (m->version != HANDOFF_VERSION) {
		(void)snprintf(why, sizeof(why), "it speaks version %u of the take-over, and the running "
			       "pgweir version %d", m->version, HANDOFF_VERSION);
		call_off(s, why);
	} else if (!fits(s->state, m->kind)) {
		if (s->state < SUCCESSOR_GIVEN)
			call_off(s, "a message out of place");
	} else if (m->kind == HANDOFF_HELLO) {
		offer(s);
	} else if (m->kind == HANDOFF_UPGRADE) {
		on_upgrade(s);
	} else if (m->kind == HANDOFF_READY) {
		on_ready(s, m);
	} else if (m->kind == HANDOFF_STEADY) {
		on_steady(s);
	} else if (m->kind == HANDOFF_CANCEL) {
		on_cancel(s, m);
	} else {
		call_off(s, NULL);
	}
}

static void on_link(evutil_socket_t fd, short what, void *arg)
{
	struct successor *s = arg;
	struct handoff m;
	int rc = 0;

	(void)what;
	worker_clock(s->w);
	while (s->link == fd && (rc = handoff_recv(fd, &m)) != 0) {
		if (rc < 0 && errno == EAGAIN)
			return;
		if (rc < 0)
			break;
		on_message(s, &m);
		handoff_drop(&m);
	}
	if (s->link != fd)
		return;
	if (s->state < SUCCESSOR_GIVEN)
		/* one that lives must be told: it would take the end of the connection for ours */
		call_off(s, rc < 0 && errno == EPROTO ? "a message that makes no sense" :
			    rc < 0 && errno != ECONNRESET ? "the connection to it failed" : NULL);
	else
		drop_link(s); /* it has gone; whoever comes finds another */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct successor *s = arg;

	(void)fd;
	(void)what;
	worker_clock(s->w);
	call_off(s, "it has not answered in time");
}

static void turn_away(int fd, const char *why)
{
	struct handoff m;

	handoff_begin(&m, HANDOFF_NO);
	(void)snprintf(m.text, sizeof(m.text), "%s", why);
	if (handoff_send(fd, &m) == 0)
		m.n = 0;
	close(fd);
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	struct successor *s = arg;

	(void)fd;
	(void)what;
	if (s->door >= 0 && s->state != SUCCESSOR_HELLO)
		event_add(&s->door_ev, NULL);
}

/* Who knocks waits, and the loop does not turn for him all the time. */
static void rest(struct successor *s, int error)
{
	struct timeval tv = { REST_S, 0 };

	LOG(&s->w->log_ctx, LOG_LEVEL_WARN, "takeover_door_failed", "reason=\"%s\"", strerror(error));
	event_del(&s->door_ev);
	event_add(&s->rest, &tv);
}

static void on_door(evutil_socket_t door, short what, void *arg)
{
	struct successor *s = arg;
	pid_t pid;
	int fd = handoff_let_in(door, &pid);

	(void)what;
	worker_clock(s->w);
	if (fd < 0) {
		if (errno == EPERM)
			LOG(&s->w->log_ctx, LOG_LEVEL_WARN, "takeover_refused", "reason=\"another user\"");
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			rest(s, errno);
		return;
	}
	if (s->state != SUCCESSOR_NONE) {
		turn_away(fd, "another process is taking over just now");
		return;
	}
	LOG(&s->w->log_ctx, LOG_LEVEL_INFO, "takeover_asked", "pid=%d", (int)pid);
	in_or_out(s, SUCCESSOR_HELLO);
	s->link = fd;
	s->pid = pid;
	event_assign(&s->link_ev, s->w->base, fd, EV_READ | EV_PERSIST, on_link, s);
	event_add(&s->link_ev, NULL);
	set_timer(s, ANSWER_S);
}

int successor_open(struct successor *s, const char *dir, struct worker *w, struct listener *l,
		   struct err *e)
{
	s->listener = l;
	if (!dir || !*dir)
		return 0;
	if (s->door < 0)
		s->door = handoff_door(&s->file, dir, e);
	if (s->door < 0)
		return -1;
	s->w = w;
	return 0;
}

void successor_start(struct successor *s, const struct successor_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
	if (!s->w)
		return;
	event_assign(&s->door_ev, s->w->base, s->door, EV_READ | EV_PERSIST, on_door, s);
	evtimer_assign(&s->timer, s->w->base, on_timer, s);
	evtimer_assign(&s->rest, s->w->base, on_rested, s);
	event_add(&s->door_ev, NULL);
}

void successor_shut(struct successor *s)
{
	if (!s->w || s->state == SUCCESSOR_GIVEN)
		return;
	if (s->state == SUCCESSOR_TRIAL) {
		/* it has the sockets and accepts: two cannot end it now */
		on_steady(s);
		return;
	}
	if (s->state != SUCCESSOR_NONE) {
		say(s, HANDOFF_NO, "the running pgweir is shutting down");
		drop_link(s);
		s->state = SUCCESSOR_NONE;
	}
	shut_door(s);
}

void successor_close(struct successor *s)
{
	if (s->w)
		drop_link(s);
	shut_door(s);
}
