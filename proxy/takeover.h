/* proxy/takeover.h - one process after another without a client noticing: the daemon's part
 * in both roles, from the process before (predecessor.h) and to the next (successor.h).
 *
 * Owner: struct daemon. Threads: the control loop's, but for what says otherwise. In the
 * order of their use:
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TAKEOVER_H
#define PGWEIR_TAKEOVER_H

#include "control.h"

void takeover_init(struct daemon *d);
/* --reboot: asks the process that runs for its sockets, if there is one. Waits for it. */
MUST_CHECK int takeover_ask(struct daemon *d, struct err *e);
/* As the user that pgweir becomes: opens the door in takeover_dir, or takes that over. */
MUST_CHECK int takeover_open(struct daemon *d, struct err *e);
/* All is there: from now on we accept, and the process before does not. Waits for it. When
 * all is ours for good d->pidfile_fd is written, and the manager is told. */
MUST_CHECK int takeover_begin(struct daemon *d, struct err *e);
/* Of accepting: it is so now. */
void takeover_accepting(struct daemon *d, enum accept_mode now);
/* For struct shared, any thread. */
bool takeover_cancel(struct shared *sh, int fd, uint32_t pid, uint32_t secret);
/* All workers have ended. Letters are under way no more. */
void takeover_close(struct daemon *d);

#endif
