/* proxy/session/refusal.h - what a step of a client's login comes to, and what a
 * client that is refused is told.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_REFUSAL_H
#define PGWEIR_SESSION_REFUSAL_H

#include "conf/err.h"

enum startup {
	STARTUP_MORE = 0,        /* wait for bytes, or an answer */
	STARTUP_LATER,           /* the same again in the next turn: the work is heavy */
	STARTUP_IN,              /* logged in: c->shard is set, or console */
	STARTUP_CANCEL,          /* was a CancelRequest: c's fd has been given away */
	STARTUP_REFUSED          /* *no says what it is to be told */
};

struct startup_no {
	const char *sqlstate;    /* NULL: it is told nothing */
	char message[200];
	const char *hint;        /* a constant, or hint_text */
	char hint_text[160];
	const char *why;         /* a constant, for the log */
};

/* Always STARTUP_REFUSED. hint may be NULL; fmt is the message. */
enum startup refusal(struct startup_no *no, const char *sqlstate, const char *why,
		     const char *hint, const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif
