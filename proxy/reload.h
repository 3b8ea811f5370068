/* proxy/reload.h - the configuration: loaded, handed to all workers, loaded again.
 *
 * Owner:   struct daemon. Threads: the control loop's; reload_load: before there are others.
 *
 * A new configuration is in force when every worker has it; nobody is told before that. What
 * is wrong is said, and nothing changes then, in any worker.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_RELOAD_H
#define PGWEIR_RELOAD_H

#include "control.h"

/* Loads args->source, as at start and at each reload, and the files that it names. One
 * reference each. Blocks. */
MUST_CHECK int reload_load(const struct daemon_args *args, struct conf **out,
			   struct tls_set **tls, struct err *e);

/* In the control loop: error NULL when it is in force, else a sentence, and all is as it was.
 * Called once, and never when the daemon ends before. */
typedef void reload_done_fn(void *arg, const char *error);
/* Loads again. done may be NULL: the log and the service manager are told in any case. */
void reload(struct daemon *d, reload_done_fn *done, void *arg);
/* Another configuration (SET): takes over the reference. done as above; nobody else is
 * told. */
void reload_use(struct daemon *d, struct conf *conf, reload_done_fn *done, void *arg);

/* A registry's resolve_changed_fn: some name stands for other addresses now, and the same
 * configuration is handed out once more. arg: the struct daemon. */
int reload_names(void *arg);

/* Logs the configuration's warnings. */
void reload_warnings(struct daemon *d, const struct conf *c);
/* The log's level by the configuration and the command line. */
void reload_log_level(struct daemon *d, const struct conf *c);
/* The listeners' part of it. */
void reload_tcp(struct daemon *d);

#endif
