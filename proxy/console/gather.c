/* proxy/console/gather.c - see gather.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/gather.h"

#include <stdlib.h>

static void gather_free(struct gather *g)
{
	rows_free(&g->rows);
	free(g);
}

/* A hall whose letter box is closed: the process is ending, in one thread. */
static bool is_over(const struct hall *h)
{
	return !h->w.base;
}

/* A piece is home. */
static void take(struct gather *g)
{
	struct task *t = g->t;

	rows_append(&t->rows, g->rows.p, g->rows.len);
	t->rows.bad |= g->rows.bad;
	rows_free(&g->rows);
	if (!g->end && !t->rows.bad)
		return;
	g->bucket = 0;
	g->place = 0;
	if (++g->at < t->h->sh->hall_n && !t->rows.bad)
		return;
	if (g->last)
		g->last(t, g);
	t->own = NULL;
	gather_free(g);
	task_done(t);
}

static void on_back(struct worker *w, struct letter *l)
{
	struct gather *g = (struct gather *)(void *)l;
	struct task *t = g->t;

	(void)w;
	if (!t) {
		gather_free(g);
		return;
	}
	task_hold(t); /* it may end in here, and be sent to its last byte */
	t->waits = false;
	take(g);
	task_wake(t);
	task_put(t);
}

static void on_visit(struct worker *w, struct letter *l)
{
	struct gather *g = (struct gather *)(void *)l;

	if (is_over(g->home)) {
		gather_free(g);
		return;
	}
	g->end = g->fn(hall_of(w), g);
	l->deliver = on_back;
	worker_post(&g->home->w, l);
}

static void more(struct task *t)
{
	struct gather *g = t->own;
	struct hall *h = &t->h->sh->halls[g->at];

	rows_init(&g->rows, t->cmd->columns, t->rows.binary);
	if (h == g->home || is_over(h)) {
		g->end = is_over(h) || g->fn(h, g);
		take(g);
		return;
	}
	g->l.deliver = on_visit;
	t->waits = true;
	worker_post(&h->w, &g->l);
}

static void stop(struct task *t)
{
	struct gather *g = t->own;

	t->own = NULL;
	g->t = NULL;
	if (!t->waits)
		gather_free(g);
	t->waits = false;
	task_cancelled(t);
}

void gather(struct task *t, gather_fn *fn, int what,
	    void (*last)(struct task *t, struct gather *g))
{
	struct gather *g = calloc(1, sizeof(*g));

	if (!g) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
		return;
	}
	g->t = t;
	g->home = t->h;
	g->fn = fn;
	g->last = last;
	g->what = what;
	t->own = g;
	t->more = more;
	t->stop = stop;
}
