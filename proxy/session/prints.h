/* proxy/session/prints.h - which statement a server works for: fingerprints of what was sent
 * and not answered yet, for SHOW QUERIES and log_min_duration.
 *
 * Owner:   struct server, from the first use on; NULL while both settings are off. Threads:
 *          the worker's.
 *
 * A unit counts as its Query's text, or as the statement of its first Bind: prepared ones
 * under the text they were prepared from. What is behind PRINTS_MAX units in flight is not
 * told apart.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_PRINTS_H
#define PGWEIR_SESSION_PRINTS_H

#include "session/session.h"

#define PRINTS_MAX 64u

struct prints {
	unsigned head, n;
	uint64_t next;           /* of the unit that is being sent, 0: not known */
	uint64_t print[PRINTS_MAX];
};

static inline bool prints_on(const struct client *c)
{
	return c->h->queries.slot || c->h->snap->conf->g.log_min_duration;
}

/* A unit begins, and nothing is in flight. */
static inline void prints_begin(const struct server *s)
{
	if (s->prints) {
		s->prints->n = 0;
		s->prints->next = 0;
	}
}

/* The unit being sent has this text (n bytes), unless it has one. print: its fingerprint, if
 * it is known, or 0. Only if prints_on. */
void prints_text(struct client *c, struct server *s, const char *sql, size_t n, uint64_t print);
/* All of the unit has been sent. Only if prints_on. */
void prints_sent(struct server *s);
/* ... and it was answered, us after it was sent. Only if s->prints. */
void prints_answered(struct client *c, struct server *s, uint64_t us, bool error);

#endif
