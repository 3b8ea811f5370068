/* proxy/birth.h - what becomes of the process before it serves: limits, user, pidfile, log
 * file, background.
 *
 * Threads: the main thread's, before there are others.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_BIRTH_H
#define PGWEIR_BIRTH_H

#include <sys/types.h>

#include "conf/conf.h"
#include "conf/log.h"

/* As many descriptors as it may have; warns when they are fewer than the settings need. */
void birth_limits(const struct conf_global *g, const struct log_ctx *log);
/* The number of the user that it would become. */
uid_t birth_uid(const char *user);
/* Becomes that user, NULL or empty: stays. */
MUST_CHECK int birth_become(const char *user, struct err *e);
/* The number of worker threads. */
unsigned birth_workers(const struct conf_global *g);
/* path NULL or empty: none, and *fd stays. What another process has written there stays
 * until birth_write_pidfile, when nothing can fail any more. */
MUST_CHECK int birth_open_pidfile(const char *path, int *fd, struct err *e);
MUST_CHECK int birth_write_pidfile(const char *path, int fd, struct err *e);
/* Takes it away if it still has our number. */
void birth_drop_pidfile(const char *path);
/* *fd: the file, or standard error when path is NULL or empty; the caller's to close. */
MUST_CHECK int birth_open_log(const char *path, int *fd, struct err *e);
/* From now on `as` (-1: nobody) is what fd is, which is closed; -1 is fine. */
void birth_use_log(int fd, int as);
/* Goes on in a child. The parent stays until the child has called birth_background_done, and
 * ends with its success. */
MUST_CHECK int birth_background(const struct conf_global *g, int *started_fd, struct err *e);
/* Started: lets the parent go, and the terminal. */
void birth_background_done(int started_fd);

#endif
