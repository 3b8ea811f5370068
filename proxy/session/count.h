/* proxy/session/count.h - what happens, counted: in the worker (hall.stats), of the
 * database and of the node (health/meter.h).
 *
 * Threads: the worker's. No clock is read: times are those of the events being handled.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_COUNT_H
#define PGWEIR_SESSION_COUNT_H

#include "session/session.h"

/* Where c counts: its database; before it has come to one, and for pgweir's own questions,
 * the lobby. */
static inline struct meter_side *count_of(const struct client *c)
{
	return c->shard ? c->shard->meter : c->quota.console ? c->h->console : c->h->lobby;
}

#define COUNT_ADD(c, name, n)                                                  \
	do {                                                                   \
		STAT_ADD(&(c)->h->stats, name, n);                             \
		STAT_ADD(&count_of(c)->stats, name, n);                        \
	} while (0)
#define COUNT_INC(c, name) COUNT_ADD(c, name, 1)

/* ... and at the node of s. */
#define COUNT_AT_ADD(c, s, name, n)                                            \
	do {                                                                   \
		COUNT_ADD(c, name, n);                                         \
		STAT_ADD(&(s)->meter->stats, name, n);                         \
	} while (0)
#define COUNT_AT(c, s, name) COUNT_AT_ADD(c, s, name, 1)

/* What happens to a server, whoever has it. */
#define COUNT_SERVER(s, name)                                                  \
	do {                                                                   \
		STAT_INC(&(s)->h->stats, name);                                \
		STAT_INC(&(s)->shard->meter->stats, name);                     \
		STAT_INC(&(s)->meter->stats, name);                            \
	} while (0)

/* A unit of c's begins with the message in hand; c->moving: it begins anew elsewhere. */
static inline void count_begin(struct client *c, uint64_t before_us)
{
	c->unit.query_us = c->moving ? before_us : c->h->w.now_us;
	if (!c->unit.explicit_txn && !c->moving)
		c->xact_us = c->h->w.now_us;
}

/* The server's error for the unit under way: what its client will be told, unless the unit is
 * run again. Counts at the node. */
void count_server_error(struct client *c, struct server *s, const char *sqlstate);
/* s has answered the unit, and its client was told: its ReadyForQuery has this status. */
void count_answered(struct client *c, struct server *s, char status);
/* A ReadyForQuery in place of a server's; with the error of the unit, if it has one. */
void count_ready(struct client *c);
/* A command of the console: of nobody's pool. */
void count_console(struct client *c);
/* An error of ours. */
void count_error(struct client *c, const char *sqlstate);
/* c has s after it waited, or is logged in, or s is. */
void count_waited(struct client *c, struct server *s);
void count_welcomed(struct client *c);
void count_connected(struct server *s);
/* What failed first at since_us has been done after all. */
void count_saved(struct client *c, struct server *s, uint64_t since_us);

#endif
