/* proxy/top/tables.c - see tables.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/tables.h"

#include <stdio.h>
#include <string.h>

#include "top/order.h"
#include "top/words.h"

enum { COLUMNS_MAX = 9 };

/* The first one takes what is left over. */
struct col {
	const char *title;
	int width;
	bool right;
	int rank;                /* the highest is left out first */
	bool on;
	int x;
};

/* Which columns there is room for, and where they begin. */
static void fit(struct col *c, size_t n, int w, int least)
{
	size_t i, out;
	int sum;

	for (;;) {
		sum = least;
		out = 0;
		for (i = 1; i < n; i++) {
			if (!c[i].on)
				continue;
			sum += 1 + c[i].width;
			if (!out || c[i].rank > c[out].rank)
				out = i;
		}
		if (sum <= w || !out)
			break;
		c[out].on = false;
	}
	c[0].width = least + (w > sum ? w - sum : 0);
	/* beyond that the first column only pulls the rest apart */
	if (c[0].width > 48)
		c[0].width = 48;
	sum = 0;
	for (i = 0; i < n; i++) {
		c[i].x = sum;
		if (c[i].on)
			sum += c[i].width + 1;
	}
}

static void head(struct grid *g, int y, const struct col *c, size_t n)
{
	size_t i;

	grid_fill(g, 0, y, g->w, LOOK_HEAD, ' ');
	for (i = 0; i < n; i++) {
		if (!c[i].on)
			continue;
		if (c[i].right)
			grid_right(g, c[i].x, y, c[i].width, LOOK_HEAD, c[i].title);
		else
			(void)grid_put(g, c[i].x, y, c[i].width, LOOK_HEAD, c[i].title);
	}
}

static void cell(struct grid *g, int y, const struct col *c, enum look look, const char *text)
{
	if (!c->on)
		return;
	if (c->right)
		grid_right(g, c->x, y, c->width, look, text);
	else
		(void)grid_put(g, c->x, y, c->width, look, text);
}

static void more_line(struct grid *g, int y, size_t n, const char *what)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "... %zu more%s", n, what);
	(void)grid_put(g, 0, y, g->w, LOOK_DIM, text);
}

/* ---- nodes ---- */

enum { N_NAME, N_STATE, N_ROLE, N_ZONE, N_LATENCY, N_CONNS, N_LAG, N_FAILS, N_ERROR, N_COLS };

static void node_row(struct grid *g, int y, const struct col *c, const struct top_node *n)
{
	static const enum look look[] = { LOOK_GOOD, LOOK_WARN, LOOK_BAD };
	char b[WORDS_MAX];

	cell(g, y, &c[N_NAME], LOOK_PLAIN, n->name);
	cell(g, y, &c[N_STATE], look[order_badness(n)], n->state);
	cell(g, y, &c[N_ROLE], strcmp(n->role, "primary") == 0 ? LOOK_BOLD : LOOK_PLAIN, n->role);
	cell(g, y, &c[N_ZONE], LOOK_PLAIN, n->zone);
	cell(g, y, &c[N_LATENCY], LOOK_PLAIN,
	     words_us(b, n->latency_us == TOP_UNKNOWN || !n->latency_us ? -1 : (double)n->latency_us));
	cell(g, y, &c[N_CONNS], LOOK_PLAIN, words_count(b, n->conns));
	cell(g, y, &c[N_LAG], LOOK_PLAIN, words_us(b, n->lag_us == TOP_UNKNOWN ? -1 : (double)n->lag_us));
	cell(g, y, &c[N_FAILS], n->fails && n->fails != TOP_UNKNOWN ? LOOK_WARN : LOOK_PLAIN,
	     words_count(b, n->fails));
	cell(g, y, &c[N_ERROR], order_badness(n) ? LOOK_WARN : LOOK_DIM, n->error);
}

int tables_nodes(struct grid *g, int y, int rows, const struct top_sample *s)
{
	struct col c[N_COLS] = {
		[N_NAME] = { "NODE", 0, false, 0, true, 0 },
		[N_STATE] = { "STATE", 10, false, 1, true, 0 },
		[N_ROLE] = { "ROLE", 8, false, 2, true, 0 },
		[N_ZONE] = { "ZONE", 10, false, 5, false, 0 },
		[N_LATENCY] = { "LATENCY", 8, true, 3, true, 0 },
		[N_CONNS] = { "CONNS", 6, true, 4, true, 0 },
		[N_LAG] = { "LAG", 8, true, 6, false, 0 },
		[N_FAILS] = { "FAILED", 7, true, 7, true, 0 },
		[N_ERROR] = { "LAST ERROR", 40, false, 8, false, 0 },
	};
	size_t i, show, hidden_bad = 0;
	char what[48] = "";

	for (i = 0; i < s->node_n; i++) {
		c[N_ZONE].on |= s->nodes[i].zone[0] != 0;
		c[N_ERROR].on |= s->nodes[i].error[0] != 0;
		c[N_LAG].on |= s->nodes[i].lag_us && s->nodes[i].lag_us != TOP_UNKNOWN;
	}
	fit(c, N_COLS, g->w, 14);
	if (rows < 1)
		return 0;
	head(g, y, c, N_COLS);
	show = s->node_all <= (size_t)rows ? s->node_n : (size_t)rows - 1;
	for (i = 0; i < show; i++)
		node_row(g, y + 1 + (int)i, c, &s->nodes[i]);
	if (show == s->node_all)
		return 1 + (int)show;
	for (; i < s->node_n; i++)
		hidden_bad += order_badness(&s->nodes[i]) > 0;
	if (hidden_bad)
		(void)snprintf(what, sizeof(what), ", %zu not up", hidden_bad);
	more_line(g, y + 1 + (int)show, s->node_all - show, what);
	return 2 + (int)show;
}

/* ---- pools ---- */

enum { P_DB, P_USER, P_USED, P_IDLE, P_WAIT, P_MAX, P_LONGEST, P_CLIENTS, P_BAR, P_COLS };

/* used, then idle, of the most there may be */
static void bar(struct grid *g, int y, const struct col *c, const struct top_pool *p)
{
	uint64_t max = p->max && p->max != TOP_UNKNOWN ? p->max : p->used + p->idle, n;
	int busy, idle;

	if (!c->on)
		return;
	n = p->used > max ? max : p->used;
	busy = max ? (int)((n * (uint64_t)c->width + max - 1) / max) : 0;
	n = p->used + p->idle > max ? max : p->used + p->idle;
	idle = max ? (int)((n * (uint64_t)c->width + max - 1) / max) - busy : 0;
	grid_fill(g, c->x, y, c->width, LOOK_DIM, g->utf8 ? 0xb7 : '.');
	grid_fill(g, c->x, y, busy, p->waiting ? LOOK_BAD : LOOK_GOOD, g->utf8 ? 0x2588 : '#');
	grid_fill(g, c->x + busy, y, idle, LOOK_GOOD, g->utf8 ? 0x2592 : '-');
}

static void pool_row(struct grid *g, int y, const struct col *c, const struct top_pool *p)
{
	bool full = p->max && p->max != TOP_UNKNOWN && p->used >= p->max;
	char b[WORDS_MAX];

	cell(g, y, &c[P_DB], LOOK_PLAIN, p->db);
	cell(g, y, &c[P_USER], LOOK_PLAIN, p->user);
	cell(g, y, &c[P_USED], full ? LOOK_WARN : LOOK_PLAIN, words_count(b, p->used));
	cell(g, y, &c[P_IDLE], LOOK_PLAIN, words_count(b, p->idle));
	cell(g, y, &c[P_WAIT], p->waiting ? LOOK_BAD : LOOK_PLAIN, words_count(b, p->waiting));
	cell(g, y, &c[P_MAX], LOOK_PLAIN, p->max ? words_count(b, p->max) : "none");
	cell(g, y, &c[P_LONGEST], p->maxwait_us >= 1000000 ? LOOK_WARN : LOOK_PLAIN,
	     words_us(b, (double)p->maxwait_us));
	cell(g, y, &c[P_CLIENTS], LOOK_PLAIN, words_count(b, p->clients));
	bar(g, y, &c[P_BAR], p);
}

int tables_pools(struct grid *g, int y, int rows, int skip, const struct top_sample *s)
{
	struct col c[P_COLS] = {
		[P_DB] = { "DATABASE", 0, false, 0, true, 0 },
		[P_USER] = { "USER", 12, false, 6, true, 0 },
		[P_USED] = { "USED", 5, true, 2, true, 0 },
		[P_IDLE] = { "IDLE", 5, true, 3, true, 0 },
		[P_WAIT] = { "WAIT", 5, true, 1, true, 0 },
		[P_MAX] = { "MAX", 5, true, 4, true, 0 },
		[P_LONGEST] = { "LONGEST", 8, true, 5, true, 0 },
		[P_CLIENTS] = { "ACTIVE", 7, true, 7, true, 0 },
		[P_BAR] = { "", 20, false, 8, true, 0 },
	};
	size_t i, show, first = skip > 0 ? (size_t)skip : 0;

	fit(c, P_COLS, g->w, 10);
	if (rows < 1)
		return 0;
	head(g, y, c, P_COLS);
	if (first > s->pool_n)
		first = s->pool_n;
	show = s->pool_all - first <= (size_t)rows ? s->pool_n - first : (size_t)rows - 1;
	for (i = 0; i < show; i++)
		pool_row(g, y + 1 + (int)i, c, &s->pools[first + i]);
	if (first + show == s->pool_all)
		return 1 + (int)show;
	more_line(g, y + 1 + (int)show, s->pool_all - first - show, "");
	return 2 + (int)show;
}
