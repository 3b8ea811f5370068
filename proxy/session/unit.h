/* proxy/session/unit.h - what one ReadyForQuery answers, kept for a second
 * attempt: its messages as they were sent, and the answer held back.
 *
 * The log of an armed unit is a row of records: one byte of enum unit_record,
 * then a frontend message as it was sent to the server, or for UNIT_LOCAL eight
 * bytes of a reply's number (session/names.h).
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UNIT_H
#define PGWEIR_SESSION_UNIT_H

#include "session/session.h"

enum unit_record { UNIT_FORWARD = 0, UNIT_SWALLOW, UNIT_LOCAL };

/* c's next message begins a unit on s. */
void unit_begin(struct client *c, const struct server *s);
/* The unit cannot be retried any more, because of `reason` (enum
 * retry_verdict): what is held back goes to the client. */
void unit_pass(struct client *c, unsigned reason);
/* The same, but it may still be run again if the server's statement is not what
 * it was: until its first BindComplete. */
void unit_doubt(struct client *c, unsigned reason);
/* It is over: nothing is kept. */
void unit_end(struct client *c);

/* A record of the log begins; its bytes follow. Nothing unless it is armed. */
void unit_record(struct client *c, enum unit_record kind);
void unit_log(struct client *c, const void *p, size_t n);

/* One of the client's own messages, for the case that it begins anew on another
 * server; whole: all of it is here. */
void unit_keep(struct client *c, const void *p, size_t n, bool whole);
/* It cannot begin anew: something of it is done. */
void unit_stays(struct client *c);

/* The first bytes of an answer are held: not longer than retry_hold_time. */
void unit_hold_timer(struct client *c);

#endif
