/* proxy/leave.c - see leave.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "leave.h"

#include <stdio.h>

#include "session/hall.h"

/* Behind shutdown_timeout, for those who have been told only then. */
#define LAST_US 1000000u

void leave_now(struct daemon *d)
{
	unsigned i;

	d->leaving = true;
	if (d->started && d->stopped == d->started)
		d->w.done = true; /* it waited for the process before */
	successor_shut(&d->after);
	web_tell_running(d->web, RUNNING_STOPPING);
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_stop(&d->sh.halls[i]);
}

/* The process after has taken all over, and they have been told nothing so far. */
static void tell_idle(struct daemon *d)
{
	unsigned i;

	d->quiet = false;
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_drain(&d->sh.halls[i]);
}

static void on_late(struct deadline *dl)
{
	struct daemon *d = LIST_ITEM(dl, struct daemon, leave_dl);

	if (d->quiet) {
		tell_idle(d);
		deadline_set(&d->w, CTL_LEAVE, dl, d->w.now_us + LAST_US);
		return;
	}
	LOG(&d->w.log_ctx, LOG_LEVEL_WARN, "shutdown_timeout", NULL);
	leave_now(d);
}

void leave_init(struct daemon *d)
{
	deadline_init(&d->leave_dl, on_late);
}

void leave_closed(struct daemon *d)
{
	unsigned i;

	for (i = 0; d->leaving && i < d->sh.hall_n; i++)
		if (d->given)
			hall_tell_finish(&d->sh.halls[i]);
		else
			hall_tell_drain(&d->sh.halls[i]);
}

void leave_begin(struct daemon *d)
{
	int64_t us = d->snap->conf->g.shutdown_timeout;
	char text[120];

	if (d->quiet) {
		tell_idle(d);
		return;
	}
	d->leaving = true;
	successor_shut(&d->after);
	web_tell_running(d->web, RUNNING_DRAINING);
	/* The manager is asked for the time the configuration allows, whatever
	 * its unit says. */
	(void)snprintf(text, sizeof(text),
		       "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld\nSTATUS=waiting for transactions to end",
		       (long long)us + 5000000);
	notify_send(&d->notify, text);
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, "draining", NULL);
	accepting_set(&d->accepting, ACCEPT_CLOSED);
	deadline_set(&d->w, CTL_LEAVE, &d->leave_dl, d->w.now_us + (uint64_t)us);
}

static void on_stopped(struct worker *w, struct letter *l)
{
	struct daemon *d = w->owner;

	(void)l;
	/* who was there before still has clients, whose cancels come here */
	if (++d->stopped == d->started && !predecessor_is_there(&d->before))
		w->done = true;
}

void leave_hall_stopped(struct shared *sh, struct hall *h)
{
	struct daemon *d = daemon_of(sh);
	struct letter *l = &d->ended[h->w.id];

	l->deliver = on_stopped;
	worker_post(&d->w, l);
}
