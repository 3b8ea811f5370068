/* proxy/session/up.h - one pass over a client's buffer: what is gathered for the
 * server, what is owed for it, what is noted for a second attempt.
 *
 * On the stack of relay_up(). Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_H
#define PGWEIR_SESSION_UP_H

#include "session/gather.h"
#include "session/names.h"
#include "session/relay.h"
#include "session/session.h"

/* One pass over the client's buffer. */
struct up {
	struct client *c;
	struct server *s;
	struct gather g;
	size_t at;               /* bytes of the buffer dealt with */
	size_t want;             /* the next message needs that many */
	struct up_why *why;
	uint64_t told;           /* up_use_stmt: what the client knows of its rows */
	bool backed_up;
};

/* What one message came to. */
enum step { STEP_ON, STEP_STOP_MORE, STEP_STOP_NEED, STEP_STOP_PAUSE, STEP_CLIENT, STEP_SERVER };

/* The client's session ends: always STEP_CLIENT. */
enum step up_refuse(struct up *u, const char *why, const char *sqlstate, const char *message);
/* The same, after the answers to what it has sent before; nothing more of it is
 * looked at. */
enum step up_end(struct up *u, const char *why, const char *sqlstate, const char *message,
		 int number);
/* A message that is not as it should be: the server says so, and what it does then
 * is what it always does. have bytes of len are here. */
enum step up_malformed(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have);
/* Sends what is gathered and lets go of the bytes dealt with; the message in
 * hand stays where it is. */
enum step up_flush(struct up *u);
/* Room in the gather for so many pieces and bytes of our own. */
enum step up_room(struct up *u, int pieces, size_t own);
/* The server is going to owe an answer for this (wire/owed.h). */
enum step up_owe(struct up *u, char type, char what, bool swallow, uint64_t ref, bool *live);
/* A reply of our own: enum names_local, or session/switches.h. */
enum step up_owe_local(struct up *u, uint64_t ref, bool *live);
/* A message as it is; room was made. */
void up_pass(struct up *u, const uint8_t *msg, uint32_t len);
/* A Query of our own in place of the client's; room for UP_OWN_QUERY bytes was made. */
#define UP_OWN_QUERY 160u
void up_own_query(struct up *u, const char *text);

#endif
