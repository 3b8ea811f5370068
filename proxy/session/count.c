/* proxy/session/count.c - see count.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/count.h"

#include "session/prints.h"

/* Of c's database, and of the node of s unless that is NULL. */
static void took(struct client *c, struct server *s, enum meter_hist h, uint64_t us)
{
	unsigned at = hist_at(us);

	hist_add_at(&count_of(c)->hist[h], at, us);
	if (s)
		hist_add_at(&s->meter->hist[h], at, us);
}

/* The error that its client has been told now. */
static void settle_error(struct client *c)
{
	if (!c->unit.error)
		return;
	meter_error(count_of(c), c->unit.error - 1u);
	c->unit.error = 0;
}

void count_server_error(struct client *c, struct server *s, const char *sqlstate)
{
	unsigned class = meter_class(sqlstate);

	meter_error(s->meter, class);
	c->unit.error = (uint8_t)(class + 1);
}

void count_answered(struct client *c, struct server *s, char status)
{
	uint64_t now = c->h->w.now_us;

	c->queries++;
	COUNT_AT(c, s, queries);
	took(c, s, METER_QUERY, now - c->unit.query_us);
	if (s->prints)
		prints_answered(c, s, now - c->unit.query_us, c->unit.error != 0);
	c->unit.query_us = now; /* of one that was sent behind it, which runs from now on */
	settle_error(c);
	if (status != 'I')
		return;
	COUNT_AT(c, s, xacts);
	took(c, s, METER_XACT, now - c->xact_us);
	c->xact_us = now;
}

void count_ready(struct client *c)
{
	c->queries++;
	COUNT_INC(c, queries);
	settle_error(c);
}

void count_console(struct client *c)
{
	c->queries++;
	STAT_INC(&c->h->console->stats, queries);
	STAT_INC(&c->h->console->stats, xacts);
}

void count_error(struct client *c, const char *sqlstate)
{
	meter_error(count_of(c), meter_class(sqlstate));
	c->unit.error = 0; /* told in its place */
}

void count_waited(struct client *c, struct server *s)
{
	uint64_t us = c->h->w.now_us - c->wait_since;

	COUNT_AT_ADD(c, s, wait_us, us);
	took(c, s, METER_WAIT, us);
}

void count_welcomed(struct client *c)
{
	took(c, NULL, METER_LOGIN, c->h->w.now_us - c->born_us);
}

void count_connected(struct server *s)
{
	COUNT_SERVER(s, server_connects);
	hist_add(&s->meter->hist[METER_LOGIN], s->h->w.now_us - s->born_us);
}

void count_saved(struct client *c, struct server *s, uint64_t since_us)
{
	took(c, s, METER_REPLAY, c->h->w.now_us - since_us);
}
