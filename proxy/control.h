/* proxy/control.h - types only: the state of the control loop, for the files that share
 * its work: daemon.c (start, signals), reload.c, leave.c (the end), nodes_seen.c.
 *
 * Owner:   daemon_run's stack. Threads: the control loop's, but for what its parts say.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONTROL_H
#define PGWEIR_CONTROL_H

#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "accepting.h"
#include "conf/conf.h"
#include "http/web.h"
#include "io/listen.h"
#include "io/uids.h"
#include "notify.h"
#include "period.h"
#include "predecessor.h"
#include "registry.h"
#include "session/gates.h"
#include "session/session.h"
#include "successor.h"
#include "upgrade.h"

/* Kinds of deadlines of this loop. */
enum {
	CTL_LEAVE,       /* the stages of the end */
	CTL_LEFT,        /* has everybody gone? */
	CTL_LOOK,        /* has what orders wait for happened? */
	CTL_PERIOD,      /* stats_period */
	CTL_KINDS
};
_Static_assert(CTL_KINDS <= DEADLINE_KINDS, "more kinds than lists");

struct daemon_args {
	const char *source;            /* path or URI */
	struct conf_over over;
	bool quiet;                    /* no line on stdout */
	bool background;               /* -d */
	bool reboot;                   /* -R */
	char *const *argv;             /* main's */
};

/* How pgweir ends, the gentlest first; it goes on to a later one, never back. */
enum leave_how {
	LEAVE_NOT = 0,
	LEAVE_CLIENTS,                 /* when the last client has gone */
	LEAVE_SERVERS,                 /* when no server is in use */
	LEAVE_GOODBYE,                 /* every client is told */
	LEAVE_NOW
};

struct daemon {
	const struct daemon_args *args;
	struct worker w;               /* the control loop */
	struct shared sh;
	struct snapshot *snap;
	struct registry registry;
	struct listener listener;      /* in the loop of the first worker: */
	struct accepting accepting;
	struct notify notify;
	struct uids *uids;
	struct web *web;               /* NULL: no http_addr */
	struct event signal_ev, watchdog_ev;
	struct period period;
	struct deadline leave_dl, left_dl;
	uint64_t leave_at_us;          /* the end, whoever is there */
	uint64_t leave_since_us;
	enum leave_how leave;
	bool shut;                     /* all workers know that no server is to be given */
	struct link waiting;           /* orders that wait for connections to end */
	struct deadline look_dl;
	struct gates *gates;           /* the latest table, one reference; NULL: all is open */
	pthread_t *threads;
	struct letter *ended;          /* of each worker: its loop has ended */
	unsigned started, stopped;
	int signal_fd, port, log_fd;
	_Atomic int log_level;
	void (*reloaded)(struct daemon *d);  /* orders_reloaded */
	struct predecessor before;     /* proxy/takeover.h */
	struct successor after;
	struct upgrade upgrade;
	int pidfile_fd;                /* to be written, -1: none */
	bool given;                    /* another process has taken over */
	bool quiet;                    /* ... and there has been no signal since */
	bool settled;                  /* the pidfile is ours */
	int status;                    /* of the exit */
	bool leaving;                  /* no more clients, no more reloads */
	bool over;                     /* all threads have ended: letters are only thrown away */
};

static inline struct daemon *daemon_of(struct shared *sh)
{
	return LIST_ITEM(sh, struct daemon, sh);
}

#endif
