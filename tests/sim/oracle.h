/* tests/sim/oracle.h - was what a client got what a lone server could have said?
 *
 * A checker of one session. It is given, in order, the frontend bytes that a client
 * sent and the backend bytes it got, and plays the frontend messages to an engine of
 * its own (engine.h) whose outcomes it takes from what the client got: the value of a
 * row, a serialization failure, a lost connection. Every byte must then be the same.
 * What is not compared and which errors are allowed stands in oracle.c, at the top.
 *
 * It also tells the history (history.h) which transactions the client believes in.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_ORACLE_H
#define PGWEIR_SIM_ORACLE_H

#include "engine.h"
#include "history.h"

struct oracle;

/* What may happen to a client besides what its own statements cause: bits, set from the
 * moment on when it becomes possible. Whatever is not allowed is a failure of the
 * check. */
enum oracle_may {
	MAY_SERIALIZE = 1,    /* 40001, 40P01 of the store */
	MAY_LOSE = 2,         /* its server may be lost: pgweir's errors for that (lost.c),
				 57P01 and the like that a dying server says itself */
	MAY_CANCEL = 4,       /* it has sent a CancelRequest: 57014 */
	MAY_WAIT = 8,         /* no server may be free or up for long: 53300, 57P03 */
	MAY_CLOSE = 16,       /* its connection may end with a FATAL, or with nothing */
	MAY_PIN = 32,         /* 53300 or 0A000 of max_pinned_servers, pin = error */
	MAY_MEMORY = 64,      /* 53200 */
	MAY_READ_ONLY = 128   /* what was the primary may be a standby by now: 25006 */
};

/* Says what is wrong; called once, then the oracle checks no more. */
typedef void oracle_wrong_fn(void *arg, const char *what);

/* h: may be NULL. client: number for h and messages. */
struct oracle *oracle_new(unsigned client, const struct engine_conf *conf, struct history *h,
			  oracle_wrong_fn *wrong, void *arg);
void oracle_free(struct oracle *o);
void oracle_may(struct oracle *o, unsigned bits);      /* added to what is allowed */
/* The startup packet's parameters, before anything else. */
void oracle_startup(struct oracle *o, const uint8_t *params, size_t n);
/* Frontend bytes that the client has sent, cut anywhere; now_us for the history. */
void oracle_sent(struct oracle *o, const uint8_t *p, size_t n, uint64_t now_us);
/* Backend bytes that have come. Checks at each ReadyForQuery (and CopyInResponse, and
 * whenever it can go on) what has come since the last. */
void oracle_got(struct oracle *o, const uint8_t *p, size_t n, uint64_t now_us);
/* The connection is over: closed by the client itself, or by the other side. What was
 * in flight may have happened; what has come must be the beginning of a right answer. */
void oracle_over(struct oracle *o, bool by_client, uint64_t now_us);
/* A notification (and its pid) is checked by the world: told here. */
typedef void oracle_notified_fn(void *arg, const char *channel, const char *payload);
void oracle_on_notification(struct oracle *o, oracle_notified_fn *fn, void *arg);
/* ReadyForQuery (or other ends) that are still owed. 0 at a well behaved end. */
unsigned oracle_owed(const struct oracle *o);
/* The session as it should be now: 'I', 'T', 'E'. */
char oracle_status(const struct oracle *o);

#endif
