/* proxy/daemon.h - the control loop: listening, signals, start and stop of workers; reload.h,
 * leave.h and nodes_seen.h have the rest of it.
 *
 * Owner:   main's stack. Threads: the main thread's; workers reach it by
 *          letters.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_DAEMON_H
#define PGWEIR_DAEMON_H

#include "conf/conf.h"
#include "control.h"
#include "session/tls_set.h"

/* Runs until told to stop. conf and tls: taken over. The exit status; *e says why when
 * it is not 0 and nothing was started. */
int daemon_run(const struct daemon_args *args, struct conf *conf, struct tls_set *tls,
	       struct err *e);

#endif
