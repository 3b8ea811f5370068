/* proxy/session/refusal.c - see refusal.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/refusal.h"

#include <stdarg.h>
#include <stdio.h>

enum startup refusal(struct startup_no *no, const char *sqlstate, const char *why,
		     const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(no->message, sizeof(no->message), fmt, ap);
	va_end(ap);
	no->sqlstate = sqlstate;
	no->why = why;
	no->hint = hint;
	return STARTUP_REFUSED;
}
