/* conf/err.h - the cold path's error: one sentence a person can act on.
 *
 * Owner:   the caller, on its stack.
 * Threads: the caller's.
 *
 * A function that can fail for a reason worth telling takes a struct err and
 * returns 0 or -1. The text is written where the failure happens ("file:line:
 * what is wrong and what is allowed") and printed by main or the control loop.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONF_ERR_H
#define PGWEIR_CONF_ERR_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

struct err {
	char text[1024];
};

/* Writes the sentence (cut at the size of text). Always returns -1, so that
 * `return err_set(e, ...)` reads as what it is. e may be NULL. */
int err_set(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
