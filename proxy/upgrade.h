/* proxy/upgrade.h - --upgrade: somebody asks the process that runs, at its door in
 * takeover_dir, to start the next one, which then takes over (takeover.h). The next one has
 * the same environment, log and place under the service manager.
 *
 * Owner: struct daemon. Threads: the control loop's; upgrade_ask main's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_UPGRADE_H
#define PGWEIR_UPGRADE_H

#include <event2/event_struct.h>
#include <sys/types.h>

#include "conf/err.h"
#include "io/worker.h"

struct upgrade {
	struct worker *w;
	int asker;                     /* who wants to hear what became of it, -1: nobody does */
	int pidfd;                     /* of the next process, -1: none is under way */
	pid_t pid;
	struct event ev;
	struct event asker_ev, timer;
};

/* Asks, and waits for the end of it. *pid: of the process that has taken over. */
MUST_CHECK int upgrade_ask(const char *dir, pid_t *pid, struct err *e);

void upgrade_init(struct upgrade *u, struct worker *w);
/* Starts argv once more, with --reboot; asker is owned from now on, and told when it cannot
 * be done. forks: that process ends when its child has started (--daemon), so that its end
 * says nothing: then it has a time to ask for the sockets in. Who asks and
 * goes ends the upgrade, but not a process that it has started. */
void upgrade_begin(struct upgrade *u, int asker, char *const *argv, bool forks);
/* What became of the take-over; why NULL: pid has taken over. */
void upgrade_end(struct upgrade *u, pid_t pid, const char *why);
void upgrade_close(struct upgrade *u);

#endif
