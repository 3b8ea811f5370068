/* proxy/leave.c - see leave.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "leave.h"

#include <stdio.h>

#include "gatekeeper.h"
#include "session/hall.h"

/* How often it is looked whether everybody has gone. */
#define LOOK_US 10000u
/* Of shutdown_timeout, for transactions to end in. */
#define WIND_DOWN_MAX_US 10000000u
/* For who was let in and has not logged in yet. */
#define STRANGER_US 5000000u
/* For the last word to be read. */
#define LAST_WORD_US 3000000u

void leave_now(struct daemon *d)
{
	unsigned i;

	d->leaving = true;
	d->leave = LEAVE_NOW;
	if (d->started && d->stopped == d->started)
		d->w.done = true; /* it waited for the process before */
	predecessor_withdraw(&d->before);
	successor_shut(&d->after);
	web_tell_running(d->web, RUNNING_STOPPING);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_stop(&d->sh.halls[i]);
}

/* Those who are left are told, each when its transaction has ended (late: now). Then the
 * workers end. */
static void goodbye(struct daemon *d, bool late)
{
	unsigned i;

	d->leave = LEAVE_GOODBYE;
	for (i = 0; i < d->sh.hall_n; i++)
		if (late)
			hall_tell_end(&d->sh.halls[i]);
		else
			hall_tell_drain(&d->sh.halls[i]);
}

static bool all_gone(struct daemon *d)
{
	if (d->leave == LEAVE_SERVERS)
		return d->shut && !hubs_used(&d->sh.hubs, NULL, NULL);
	return !atomic_load(&d->sh.clients.used) &&
	       (!door_all(&d->sh.door) || d->w.now_us - d->leave_since_us > STRANGER_US);
}

static void on_look(struct deadline *dl)
{
	struct daemon *d = LIST_ITEM(dl, struct daemon, left_dl);

	if (d->leave >= LEAVE_GOODBYE)
		return;
	if (all_gone(d))
		goodbye(d, false);
	else
		deadline_set(&d->w, CTL_LEFT, dl, d->w.now_us + LOOK_US);
}

static void on_shut(struct daemon *d, void *arg)
{
	(void)arg;
	if (d->over)
		return;
	d->shut = true;
	on_look(&d->left_dl);
}

/* Without memory those who wait for a server go at the end. */
static void wait_for_servers(struct daemon *d)
{
	d->leave = LEAVE_SERVERS;
	if (!gatekeeper_shut(d, on_shut, NULL))
		on_shut(d, NULL);
}

static uint64_t wind_down_us(const struct daemon *d)
{
	uint64_t us = (uint64_t)d->snap->conf->g.shutdown_timeout / 4;

	return us < WIND_DOWN_MAX_US ? us : WIND_DOWN_MAX_US;
}

static void on_late(struct deadline *dl)
{
	struct daemon *d = LIST_ITEM(dl, struct daemon, leave_dl);

	if (d->leave == LEAVE_GOODBYE && d->w.now_us >= d->leave_at_us + LAST_WORD_US) {
		leave_now(d);
		return;
	}
	if (d->leave == LEAVE_CLIENTS && d->w.now_us < d->leave_at_us) {
		wait_for_servers(d);
		deadline_set(&d->w, CTL_LEAVE, dl, d->leave_at_us);
		return;
	}
	LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "shutdown_timeout", NULL);
	goodbye(d, true);
	deadline_set(&d->w, CTL_LEAVE, dl, d->leave_at_us + LAST_WORD_US);
}

void leave_init(struct daemon *d)
{
	deadline_init(&d->leave_dl, on_late);
	deadline_init(&d->left_dl, on_look);
}

void leave_closed(struct daemon *d)
{
	unsigned i;

	for (i = 0; d->given && i < d->sh.hall_n; i++)
		hall_tell_finish(&d->sh.halls[i]);
	if (d->leave == LEAVE_CLIENTS)
		on_look(&d->left_dl);
	else if (d->leave == LEAVE_SERVERS)
		wait_for_servers(d);
}

/* The manager is asked for the time the configuration allows, whatever its unit says. */
void leave_tell(struct daemon *d)
{
	char text[120];

	(void)snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=waiting for %s",
		       (long long)d->snap->conf->g.shutdown_timeout + 5000000,
		       d->leave >= LEAVE_SERVERS ? "transactions to end" : "clients to leave");
	notify_send(&d->notify, text);
}

void leave_begin(struct daemon *d, enum leave_how how)
{
	int64_t us = d->snap->conf->g.shutdown_timeout;
	bool servers = how == LEAVE_SERVERS;

	if (d->leave >= how)
		return;
	if (d->leave == LEAVE_NOT) {
		d->leave_since_us = d->w.now_us;
		d->leave_at_us = d->w.now_us + (uint64_t)us;
	}
	d->leaving = true;
	predecessor_withdraw(&d->before);
	successor_shut(&d->after);
	web_tell_running(d->web, RUNNING_DRAINING);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "draining", "until=%s",
	    servers ? "no_server_is_in_use" : "no_client_is_left");
	deadline_set(&d->w, CTL_LEAVE, &d->leave_dl,
		     servers ? d->leave_at_us : d->leave_at_us - wind_down_us(d));
	if (d->leave == LEAVE_NOT) {
		d->leave = how;
		accepting_set(&d->accepting, ACCEPT_CLOSED);
	} else if (d->accepting.now == ACCEPT_CLOSED) {
		wait_for_servers(d);
	} else {
		d->leave = how; /* leave_closed() goes on */
	}
	if (d->before.settled)
		leave_tell(d); /* else the service does not stop: it is another's */
}

static void on_stopped(struct worker *w, struct letter *l)
{
	struct daemon *d = w->owner;

	(void)l;
	/* who was there before still has clients, whose cancels come here; but who is told to
	 * end at once does not wait for them */
	if (++d->stopped == d->started &&
	    (d->leave == LEAVE_NOW || !predecessor_is_there(&d->before)))
		w->done = true;
}

void leave_hall_stopped(struct shared *sh, struct hall *h)
{
	struct daemon *d = daemon_of(sh);
	struct letter *l = &d->ended[h->w.id];

	l->deliver = on_stopped;
	worker_post(&d->w, l);
}
