/* proxy/accepting.h - whether new clients are taken: on, off for a while (who comes waits in
 * the backlog), or closed for good.
 *
 * Owner:   struct daemon. Threads: the control loop's. The listeners are the first
 *          worker's while it accepts: a letter goes there and comes back.
 *
 * When changed() says OFF or CLOSED nobody new is on the way to any worker any more, but in
 * front of letters that the control loop posts from then on.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_ACCEPTING_H
#define PGWEIR_ACCEPTING_H

#include <stdbool.h>

#include "io/listen.h"

enum accept_mode { ACCEPT_ON = 0, ACCEPT_OFF, ACCEPT_CLOSED };

struct accepting {
	struct letter l;
	struct listener *listener;
	struct worker *control, *first;
	accepted_fn *accepted;         /* for listen_start; arg: its worker's */
	void *accepted_arg;
	void (*changed)(void *arg, enum accept_mode now);
	void *arg;
	enum accept_mode now, want, sent;
	bool out;                      /* the letter is under way */
};

/* l: opened, accepting in the loop of first, or not yet: then it has accepted and arg. changed: in the control loop, at each change. */
void accepting_init(struct accepting *a, struct listener *l, struct worker *control,
		    struct worker *first, void (*changed)(void *arg, enum accept_mode now),
		    void *arg);
/* Never waits; changed() tells when it is so. What has been wished last holds. CLOSED: the
 * sockets are closed and the unix socket is taken out of the file system, and nothing
 * changes that. */
void accepting_set(struct accepting *a, enum accept_mode want);

#endif
