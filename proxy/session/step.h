/* proxy/session/step.h - the one place that writes a state, and what a client
 * is told in messages of our own.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_STEP_H
#define PGWEIR_SESSION_STEP_H

#include "session/session.h"
#include "wire/wire.h"

/* Moves by the table. An event that cannot happen in this state is logged as
 * an error; the state stays. */
void client_step(struct client *c, enum client_event e);
void server_step(struct server *s, enum server_event e);

/* A BEGIN that was answered and not sent is not to be sent any more. */
void client_forget_begin(struct client *c);

/* Bytes of our own for the client, behind what it has been sent. */
void say(struct client *c, const void *p, size_t n);
void say_error(struct client *c, const char *severity, const char *sqlstate, const char *message,
	       const char *detail, const char *hint);
void say_ready(struct client *c, char status);

#endif
