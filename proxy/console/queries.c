/* proxy/console/queries.c - see queries.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/queries.h"

#include <stdio.h>
#include <string.h>

#define AT_ONCE 256u     /* slots looked at in one turn */

/* Has an earlier worker shown it? */
static bool shown(const struct shared *sh, unsigned hall, uint64_t print)
{
	unsigned i;

	for (i = 0; i < hall; i++)
		if (queries_find(&sh->halls[i].queries, print) >= 0)
			return true;
	return false;
}

/* What the workers behind this one have of it. */
static void add_others(struct shared *sh, unsigned hall, struct query_sum *sum)
{
	unsigned i;

	for (i = hall + 1; i < sh->hall_n; i++) {
		struct queries *q = &sh->halls[i].queries;
		int at = sum->print ? queries_find(q, sum->print) : (int)q->n;

		if (at >= 0)
			(void)queries_read(q, (unsigned)at, sum);
	}
}

static void query_row(struct task *t, const struct query_sum *sum)
{
	struct rows *r = &t->rows;
	char print[24];

	(void)snprintf(print, sizeof(print), "%016llx", (unsigned long long)sum->print);
	rows_row(r);
	rows_text(r, sum->print ? print : "others");
	rows_uint(r, sum->took.n);
	rows_uint(r, sum->errors);
	rows_uint(r, sum->took.sum_us);
	rows_uint(r, hist_mean(&sum->took));
	rows_uint(r, hist_quantile(&sum->took, 50000));
	rows_uint(r, hist_quantile(&sum->took, 99000));
	rows_uint(r, sum->took.max_us);
	rows_text(r, sum->text[0] && t->c->h->snap->conf->g.query_text ? sum->text : NULL);
	rows_end_row(r);
}

/* task.own counts the slots that were looked at, those of one worker after another. */
static void more_queries(struct task *t)
{
	struct shared *sh = t->c->h->sh;
	unsigned of = t->c->h->queries.n + 1; /* each worker has as many */
	uintptr_t at = (uintptr_t)t->own, end = at + AT_ONCE;
	struct query_sum sum;

	for (; at < end; at++) {
		unsigned hall = (unsigned)(at / of), i = (unsigned)(at % of);

		if (hall >= sh->hall_n) {
			task_done(t);
			return;
		}
		memset(&sum, 0, sizeof(sum));
		if ((i + 1 == of && hall) || !queries_read(&sh->halls[hall].queries, i, &sum) ||
		    (sum.print && shown(sh, hall, sum.print)))
			continue;
		add_others(sh, hall, &sum);
		if (sum.took.n)
			query_row(t, &sum);
	}
	t->own = (void *)at; /* without a row from here: the next turn goes on */
}

static void show_queries(struct task *t)
{
	if (!t->c->h->queries.slot) {
		task_notice(t, "queries are not counted: query_stats is 0", NULL,
			    "Set query_stats to the number of fingerprints to keep, and restart.");
		task_done(t);
		return;
	}
	t->more = more_queries;
	more_queries(t);
}

#define N(name) { name, ROWS_NUMERIC }
static const struct column columns[] = {
	{ "fingerprint", ROWS_TEXT }, N("count"),  N("errors"), N("sum_us"), N("mean_us"),
	N("p50_us"),		      N("p99_us"), N("max_us"), { "query", ROWS_TEXT },
	{ NULL, 0 },
};

const struct command query_commands[] = {
	{ "SHOW QUERIES", "", "SHOW QUERIES", "how often queries run and how long, by fingerprint",
	  false, columns, "SHOW", show_queries },
	{ 0 },
};
