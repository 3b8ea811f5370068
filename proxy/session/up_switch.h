/* proxy/session/up_switch.h - messages about pgweir.retry and pgweir.retry_unknown
 * (session/switches.h): answered here, in the order of everything else, whether the
 * client has a server or not; none is taken for them.
 *
 * What must fail inside a server's transaction is made to fail there, as any refused
 * statement is: the transaction fails with it. In a failed transaction they go to the
 * server, whose 25P02 it is.
 *
 * Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_UP_SWITCH_H
#define PGWEIR_SESSION_UP_SWITCH_H

#include "session/residue.h"
#include "session/up.h"
#include "wire/lexer.h"

/* ---- without a server: true, it is dealt with ---- */

/* The text of a whole Query. */
bool up_switch_text(struct client *c, const char *sql, size_t n);
/* A message of the extended protocol. */
bool up_switch_alone(struct client *c, uint8_t type, const uint8_t *msg, uint32_t len, size_t have);

/* ---- with one ---- */

/* Looks at a Query before all else: answered now if nothing is under way. false: it is
 * none of these, or fails. */
bool up_switch_query(struct up *u, const uint8_t *msg, uint32_t len, size_t have, enum step *r);
/* One that comes to the server all the same: must it fail there? */
enum refusal up_switch_fails(struct up *u, const char *sql, size_t n, const struct lex_class *k);
/* Bind, Describe, Execute, Close. false: it is none of these. */
bool up_switch_message(struct up *u, uint8_t type, const uint8_t *msg, uint32_t len, size_t have,
		       enum step *r);
/* A Parse of such a text: is it not sent to the server? STEP_STOP_PAUSE: what is in
 * front must be answered first. */
bool up_switch_parses(struct up *u, const struct stmt *st, enum step *r);

#endif
