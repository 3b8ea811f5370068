/* proxy/session/prints.c - see asked.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/prints.h"

#include <stdlib.h>

#include "wire/fingerprint.h"

/* Longer texts are not looked at whole. */
#define TEXT_MAX 65536u

void prints_text(struct client *c, struct server *s, const char *sql, size_t n, uint64_t print)
{
	struct queries *q = &c->h->queries;
	char text[QUERIES_TEXT];

	if (!s->prints)
		s->prints = calloc(1, sizeof(*s->prints));
	if (!s->prints || s->prints->next)
		return; /* without memory it is not told apart */
	if (n > TEXT_MAX)
		n = TEXT_MAX;
	if (!print)
		print = lex_fingerprint(sql, n);
	s->prints->next = print;
	/* where quotes may be hidden, what is a constant is not certain */
	if (!c->h->snap->conf->g.query_text || s->odd_sql || !queries_wants_text(q, print))
		return;
	queries_text(q, print, lex_normalized(sql, n, text, sizeof(text)));
}

void prints_sent(struct server *s)
{
	struct prints *a = s->prints;

	if (!a)
		return;
	if (a->n < PRINTS_MAX)
		a->print[(a->head + a->n) % PRINTS_MAX] = a->next;
	a->n++;
	a->next = 0;
}

static void say_slow(struct client *c, const struct server *s, uint64_t print, uint64_t us,
		     bool error)
{
	const char *text = c->h->snap->conf->g.query_text ?
				   queries_text_of(&c->h->queries, print) : NULL;
	char q[2 * QUERIES_TEXT];

	LOG(&c->log, LOG_LEVEL_INFO, "slow_query",
	    "fingerprint=%016llx duration_us=%llu node=%s error=%d%s%s", (unsigned long long)print,
	    (unsigned long long)us, s->target->addr.name, error, text ? " query=" : "",
	    text ? log_quote(q, sizeof(q), text) : "");
}

void prints_answered(struct client *c, struct server *s, uint64_t us, bool error)
{
	uint64_t min = (uint64_t)c->h->snap->conf->g.log_min_duration * 1000u, print;
	struct prints *a = s->prints;

	if (!a->n)
		return;
	print = a->print[a->head];
	a->head = (a->head + 1) % PRINTS_MAX;
	if (a->n > PRINTS_MAX) /* what stood behind was not kept */
		a->print[(a->head + PRINTS_MAX - 1) % PRINTS_MAX] = 0;
	a->n--;
	if (!print)
		return;
	queries_add(&c->h->queries, print, us, error);
	if (min && us >= min)
		say_slow(c, s, print, us, error);
}
