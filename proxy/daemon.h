/* proxy/daemon.h - the control loop: listening, signals, reload, drain, probes,
 * start and stop of workers.
 *
 * Owner:   main's stack. Threads: the main thread's; workers reach it by
 *          letters.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_DAEMON_H
#define PGWEIR_DAEMON_H

#include <stdbool.h>

#include "conf/conf.h"
#include "session/tls_set.h"

struct daemon_args {
	const char *source;            /* path or URI */
	struct conf_over over;
	bool quiet;                    /* no line on stdout */
	bool background;               /* -d */
};

/* Loads args->source, as at start and at each reload, and the files that it names. One
 * reference each. */
MUST_CHECK int daemon_load(const struct daemon_args *args, struct conf **out,
			   struct tls_set **tls, struct err *e);

/* Runs until told to stop. conf and tls: taken over. The exit status; *e says why when
 * it is not 0 and nothing was started. */
int daemon_run(const struct daemon_args *args, struct conf *conf, struct tls_set *tls,
	       struct err *e);

#endif
