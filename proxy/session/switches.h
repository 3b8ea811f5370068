/* proxy/session/switches.h - pgweir.retry and pgweir.retry_unknown: settings of a
 * session that are ours. They are set, shown and reset as PostgreSQL's own are, and no
 * server ever hears of them. What a client sends about them is session/up_switch.h;
 * here is what they mean and what is answered.
 *
 * A value holds from the next unit on, until it is set again or the session ends: a
 * ROLLBACK does not undo it. RESET (also RESET ALL, DISCARD ALL) goes back to what the
 * startup packet said, or else the configuration at the login.
 *
 * An answer behind others is a number in their row (wire/owed.h: owed_sent_local):
 * the value is set, or read, when it is its turn, and not at all when an error in front
 * of it has skipped it.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_SWITCHES_H
#define PGWEIR_SESSION_SWITCHES_H

#include "session/session.h"
#include "wire/switches.h"
#include "wire/wire.h"

/* Why one cannot be done. */
struct switch_no {
	const char *sqlstate;
	char message[200];
	char hint[160];          /* "": none */
};

/* Answers, as part of a ref. */
enum switch_reply {
	SWITCH_BOUND = 1,        /* BindComplete */
	SWITCH_CLOSED,           /* CloseComplete of a portal */
	SWITCH_TOLD,             /* a statement without rows: ParameterDescription, NoData */
	SWITCH_TOLD_ROWS,        /* ... with rows */
	SWITCH_NO_DATA,          /* a portal without rows */
	SWITCH_ROWS,             /* ... with rows: RowDescription */
	SWITCH_DONE_SET,         /* sets the value: SET */
	SWITCH_DONE_RESET,       /* ... RESET */
	SWITCH_DONE_SHOW,        /* the row: SHOW */
	SWITCH_SUSPENDED,        /* the row, and more may be asked for */
	SWITCH_SHOWN             /* SHOW, without a row */
};

/* Is a name of a startup packet one of them, or like one? */
bool switches_ours(const char *name);

/* What a text asks for, as the ref of its answer `what`; 0: it cannot be done, *no says
 * why. For SWITCH_DONE_SET the kind follows from the text. */
uint64_t switches_ref(const struct switch_text *t, enum switch_reply what, bool binary,
		      struct switch_no *no);
/* Does it, or shows it: the answer's bytes. c NULL: nobody is told, and nothing is done. */
size_t switches_reply(struct client *c, uint64_t ref, uint8_t *out, size_t cap);

/* The startup packet wishes a value; again: it has said so itself before, which counts
 * more than its options. false: *no says why not. */
bool switches_ask(struct client *c, const char *name, const char *value, bool option,
		  struct switch_no *no);
/* The login is done, c has the values of its configuration. */
void switches_start(struct client *c);
/* RESET ALL, DISCARD ALL. */
void switches_reset(struct client *c);
/* It goes. */
void switches_free(struct client *c);

/* The next message is made to fail on the server, and this is what the client is told
 * instead: kept until then. */
void switches_refused(struct client *c, const struct switch_no *no);
void switches_error(const struct client *c, struct wire_error *e);

/* ---- the portal of such a statement ---- */

struct switch_portal {
	struct switch_text text;
	bool binary;             /* the format its row was asked for in */
	bool block;              /* bound in a transaction block, whose end is its own */
	bool run;                /* it has been executed */
	bool params;             /* it was prepared with parameters */
	char name[];
};

#endif
