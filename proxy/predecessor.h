/* proxy/predecessor.h - taking all over from the process that runs: the new one's side of a
 * take-over (handoff.h).
 *
 * Owner: struct daemon. Threads: the control loop's. predecessor_ask and predecessor_ready
 * wait for the other process, at start, when nobody else waits for this one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_PREDECESSOR_H
#define PGWEIR_PREDECESSOR_H

#include <event2/event_struct.h>
#include <stdatomic.h>

#include "conf/conf.h"
#include "handoff.h"
#include "io/listen.h"

struct predecessor_ops {
	/* Do all workers' loops go round? */
	bool (*well)(void *arg);
	/* All is ours for good: the process that was there before lets its clients finish, or
	 * has gone. */
	void (*settled)(void *arg);
	/* It goes on by itself: we must go. */
	void (*withdrawn)(void *arg, const char *why);
	/* It has ended. */
	void (*gone)(void *arg);
};

struct predecessor {
	int link;                      /* -1: there is none */
	_Atomic bool there;            /* there is one; any thread */
	pid_t pid;
	struct handoff offer;
	uint64_t taken;
	struct worker *w;              /* predecessor_watch */
	const struct predecessor_ops *ops;
	void *arg;
	bool settled, steady;          /* told that */
	struct event link_ev, timer;
};

void predecessor_init(struct predecessor *p);
/* Asks the process behind dir for its sockets. user: who it may be, beside ourselves and
 * root. 0: p->link is >= 0, or there is nobody, and this is a start like any other. */
MUST_CHECK int predecessor_ask(struct predecessor *p, const char *dir, uid_t user, struct err *e);
bool predecessor_is_there(const struct predecessor *p);
/* Takes over the socket that listens at want. 1: taken, 0: it has none like it. */
MUST_CHECK int predecessor_adopt(struct predecessor *p, struct listener *l, const struct addr *want,
				 struct err *e);
/* The same for the unix socket of dir and port, with its file. */
MUST_CHECK int predecessor_adopt_unix(struct predecessor *p, struct listener *l, const char *dir,
				      int port, struct err *e);
/* All of them, when the service manager has opened them (offer.inherited). */
MUST_CHECK int predecessor_inherit(struct predecessor *p, struct listener *l, int *port,
				   struct err *e);
/* The door, if dir is the one of ask: its descriptor, -1: it is not. */
int predecessor_door(struct predecessor *p, const char *dir, struct sockfile *f);
/* All is there but accepting. 0: it does not accept any more, or has ended: do. */
MUST_CHECK int predecessor_ready(struct predecessor *p, struct err *e);
/* Accepting. From now on ops are called. */
void predecessor_watch(struct predecessor *p, struct worker *w, const struct predecessor_ops *ops,
		       void *arg);
/* A cancel for a client that is not ours. fd goes along, and is closed here in any case
 * when true. false: there is nobody to ask. */
bool predecessor_cancel(struct predecessor *p, int fd, uint32_t pid, uint32_t secret);
/* This process leaves. If it has not said yet that it is steady, the one before goes on, and
 * gets all back. */
void predecessor_withdraw(struct predecessor *p);
void predecessor_close(struct predecessor *p);

#endif
