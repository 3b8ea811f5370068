/* proxy/top/view.c - see view.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "top/tables.h"
#include "top/words.h"

void view_free(struct view *v)
{
	sample_free(&v->before);
	sample_free(&v->now);
}

void view_lose(struct view *v)
{
	view_free(v);
	v->has_before = v->has_now = false;
	v->connected = false;
	v->history_n = 0;
}

static void note(struct view *v, double qps)
{
	if (v->history_n == VIEW_HISTORY) {
		memmove(v->history, v->history + 1, sizeof(v->history) - sizeof(*v->history));
		v->history_n--;
	}
	v->history[v->history_n++] = qps;
}

int view_take(struct view *v, const struct top_sample *s)
{
	struct top_sample gone = v->before;
	double qps;

	v->before = v->now;
	v->has_before = v->has_now;
	v->now = (struct top_sample){ 0 };
	v->has_now = false;
	sample_free(&gone);
	if (sample_copy(&v->now, s))
		return -1;
	v->has_now = true;
	qps = v->has_before ? sample_rate(&v->before, &v->now, TOP_QUERIES) : -1;
	if (qps >= 0)
		note(v, qps);
	return 0;
}

/* ---- lines of words ---- */

struct line {
	struct grid *g;
	int x, y;
	bool first;
};

/* Words with two blanks in front of them, if there is room for all of them. */
__attribute__((format(printf, 3, 4))) static void item(struct line *l, enum look look, const char *fmt,
							...)
{
	char text[160];
	va_list ap;
	int n;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = grid_width(l->g, text);
	if (!l->first)
		n += 2;
	if (l->x + n > l->g->w)
		return;
	(void)grid_put(l->g, l->x + (l->first ? 0 : 2), l->y, l->g->w, look, text);
	l->x += n;
	l->first = false;
}

static void begin(struct line *l, const char *label)
{
	l->x = 0;
	l->first = true;
	/* not on the narrow ones */
	if (l->g->w >= 72) {
		(void)grid_put(l->g, 0, l->y, 11, LOOK_BOLD, label);
		l->x = 12;
	}
}

/* From one sample to the next. */
static double rate(const struct view *v, enum top_counter c)
{
	return v->has_before ? sample_rate(&v->before, &v->now, c) : -1;
}

static uint64_t count(const struct view *v, enum top_counter c)
{
	return v->now.counter[c] == TOP_UNKNOWN ? 0 : v->now.counter[c];
}

static double or_unknown(uint64_t us)
{
	return us == TOP_UNKNOWN ? -1 : (double)us;
}

static void traffic_line(const struct view *v, struct line *l)
{
	char b[WORDS_MAX];

	begin(l, "Traffic");
	item(l, LOOK_PLAIN, "%s queries/s", words_rate(b, rate(v, TOP_QUERIES)));
	item(l, LOOK_PLAIN, "%s transactions/s", words_rate(b, rate(v, TOP_XACTS)));
	if (v->now.query_p99_us != TOP_UNKNOWN)
		item(l, LOOK_PLAIN, "query p99 %s", words_us(b, or_unknown(v->now.query_p99_us)));
	item(l, LOOK_PLAIN, "in %s/s", words_bytes(b, rate(v, TOP_IN)));
	item(l, LOOK_PLAIN, "out %s/s", words_bytes(b, rate(v, TOP_OUT)));
	if (v->now.clients != TOP_UNKNOWN)
		item(l, LOOK_PLAIN, "%s clients", words_count(b, v->now.clients));
	if (v->now.servers != TOP_UNKNOWN)
		item(l, LOOK_PLAIN, "%s servers", words_count(b, v->now.servers));
}

static void wait_line(const struct view *v, struct line *l)
{
	uint64_t n = 0, longest = 0;
	char b[WORDS_MAX];
	double mean = v->has_before ? sample_mean_wait_us(&v->before, &v->now) : -1;
	size_t i;

	for (i = 0; i < v->now.pool_n; i++) {
		n += v->now.pools[i].waiting;
		if (v->now.pools[i].maxwait_us > longest)
			longest = v->now.pools[i].maxwait_us;
	}
	begin(l, "Waiting");
	item(l, n ? LOOK_BAD : LOOK_PLAIN, "%s waiting", words_count(b, n));
	item(l, LOOK_PLAIN, "longest %s", words_us(b, (double)longest));
	item(l, LOOK_PLAIN, "mean %s", words_us(b, mean));
	if (v->now.wait_p99_us != TOP_UNKNOWN)
		item(l, LOOK_PLAIN, "p99 %s", words_us(b, or_unknown(v->now.wait_p99_us)));
	if (rate(v, TOP_WAITS) >= 0)
		item(l, LOOK_PLAIN, "%s waits/s", words_rate(b, rate(v, TOP_WAITS)));
}

static uint64_t absorbed(const struct view *v)
{
	return count(v, TOP_RETRY_OK) + count(v, TOP_REPLAY_OK) + count(v, TOP_MOVED);
}

static void retry_line(const struct view *v, struct line *l)
{
	double a = rate(v, TOP_RETRY_OK), b = rate(v, TOP_REPLAY_OK), c = rate(v, TOP_MOVED);
	char w[WORDS_MAX];

	begin(l, "Absorbed");
	item(l, LOOK_PLAIN, "%s retried", words_count(w, v->now.counter[TOP_RETRY_OK]));
	item(l, LOOK_PLAIN, "%s replayed", words_count(w, v->now.counter[TOP_REPLAY_OK]));
	item(l, LOOK_PLAIN, "%s moved", words_count(w, v->now.counter[TOP_MOVED]));
	if (a >= 0 && b >= 0 && c >= 0)
		item(l, LOOK_PLAIN, "%s/s now", words_rate(w, a + b + c));
}

static uint64_t errors(const struct view *v)
{
	if (v->now.counter[TOP_ERRORS] != TOP_UNKNOWN)
		return v->now.counter[TOP_ERRORS];
	return count(v, TOP_EXHAUSTED) + count(v, TOP_GAVE_UP) + count(v, TOP_WAIT_TIMEOUTS) + count(v, TOP_LOST) +
	       count(v, TOP_CONNECT_FAILURES) + count(v, TOP_LOGIN_FAILURES);
}

static void error_item(const struct view *v, struct line *l, enum top_counter c, const char *what)
{
	char b[WORDS_MAX];

	item(l, rate(v, c) > 0 ? LOOK_BAD : LOOK_PLAIN, "%s %s", words_count(b, v->now.counter[c]), what);
}

static void error_line(const struct view *v, struct line *l)
{
	begin(l, "Errors");
	if (v->now.counter[TOP_ERRORS] != TOP_UNKNOWN)
		error_item(v, l, TOP_ERRORS, "errors told");
	error_item(v, l, TOP_LOST, "servers lost");
	error_item(v, l, TOP_WAIT_TIMEOUTS, "wait timeouts");
	error_item(v, l, TOP_CONNECT_FAILURES, "connects failed");
	error_item(v, l, TOP_LOGIN_FAILURES, "logins failed");
	error_item(v, l, TOP_EXHAUSTED, "retries given up");
	error_item(v, l, TOP_GAVE_UP, "replays given up");
}

/* Of the last samples, as many as fit. */
static void history_line(const struct view *v, struct line *l)
{
	double max = 0;
	char b[WORDS_MAX];
	int i, n, from;

	begin(l, "");
	n = l->g->w - l->x - 24;
	if (n > VIEW_HISTORY)
		n = VIEW_HISTORY;
	from = v->history_n > n ? v->history_n - n : 0;
	for (i = from; i < v->history_n; i++)
		max = v->history[i] > max ? v->history[i] : max;
	for (i = from; i < v->history_n; i++) {
		int h = max > 0 ? (int)(v->history[i] * 8 / max + 0.5) : 0;

		grid_fill(l->g, l->x + i - from, l->y, 1, LOOK_GOOD,
			  l->g->utf8 ? (h ? 0x2580u + (uint32_t)h : ' ') : (uint32_t) " .:-=+*#@"[h]);
	}
	if (v->history_n > from) {
		l->x += v->history_n - from;
		item(l, LOOK_DIM, "up to %s queries/s", words_rate(b, max));
	}
}

/* On one line, where there is not room for more. */
static void short_lines(const struct view *v, struct line *l)
{
	uint64_t n = 0;
	char b[WORDS_MAX];
	size_t i;

	for (i = 0; i < v->now.pool_n; i++)
		n += v->now.pools[i].waiting;
	l->x = 0;
	l->first = true;
	item(l, LOOK_PLAIN, "%s queries/s", words_rate(b, rate(v, TOP_QUERIES)));
	item(l, n ? LOOK_BAD : LOOK_PLAIN, "%s waiting", words_count(b, n));
	if (v->now.query_p99_us != TOP_UNKNOWN)
		item(l, LOOK_PLAIN, "p99 %s", words_us(b, or_unknown(v->now.query_p99_us)));
	item(l, LOOK_PLAIN, "%s tx/s", words_rate(b, rate(v, TOP_XACTS)));
	l->y++;
	l->x = 0;
	l->first = true;
	item(l, LOOK_PLAIN, "%s absorbed", words_count(b, absorbed(v)));
	item(l, LOOK_PLAIN, "%s errors", words_count(b, errors(v)));
	item(l, LOOK_PLAIN, "in %s/s", words_bytes(b, rate(v, TOP_IN)));
	item(l, LOOK_PLAIN, "out %s/s", words_bytes(b, rate(v, TOP_OUT)));
	l->y++;
}

/* ---- the page ---- */

static void top_line(const struct view *v, struct grid *g)
{
	char left[320], right[80];
	int n, at;

	grid_fill(g, 0, 0, g->w, LOOK_HEAD, ' ');
	(void)snprintf(left, sizeof(left), "%s  %s", *v->version ? v->version : "pgweir top", v->where);
	(void)snprintf(right, sizeof(right), "%s%g s  %s", v->paused ? "PAUSED  " : "", v->interval_ms / 1000.0,
		       v->clock);
	n = grid_width(g, right);
	at = grid_put(g, 0, 0, g->w, LOOK_HEAD, left);
	if (at + 2 + n > g->w && (v->paused || at + 10 > g->w))
		at = g->w - 10 > 0 ? g->w - 10 : 0;
	if (at + 2 + n <= g->w) {
		grid_right(g, g->w - n, 0, n, LOOK_HEAD, right);
	} else if (v->paused) {
		grid_fill(g, at, 0, g->w - at, LOOK_HEAD, ' ');
		grid_right(g, at, 0, g->w - at, LOOK_HEAD, "  PAUSED");
	}
}

static void bottom_line(const struct view *v, struct grid *g)
{
	struct line l = { g, 0, g->h - 1, true };

	item(&l, LOOK_DIM, "q quit");
	item(&l, LOOK_DIM, "? help");
	item(&l, LOOK_DIM, "space %s", v->paused ? "go on" : "pause");
	item(&l, LOOK_DIM, "s pools by %s", order_pools_name(v->order.pools));
	item(&l, LOOK_DIM, "n nodes by %s", order_nodes_name(v->order.nodes));
	if (v->order.reverse)
		item(&l, LOOK_DIM, "reversed");
}

static void help_page(struct grid *g, int y)
{
	static const char *const text[] = {
		"q, Ctrl-C     quit",
		"space, p      pause and go on",
		"+ -           a longer or shorter time between looks",
		"s             order of the pools",
		"n             order of the nodes",
		"r             the other way round",
		"up, down      scroll the pools (also k, j)",
		"page up/down  ... by ten; home: to the top",
		"?, h          this, and back",
		"",
		"USED servers work for a client, log in or are cleaned;",
		"IDLE ones are free; MAX is pool_size. WAIT clients have",
		"none, LONGEST is for how long. ACTIVE clients do not",
		"wait. LATENCY is that of the last check of a node.",
		"Absorbed: what clients would have seen as errors.",
	};
	size_t i;

	for (i = 0; i < sizeof(text) / sizeof(*text); i++)
		(void)grid_put(g, 0, y + (int)i, g->w, LOOK_PLAIN, text[i]);
}

/* Lines of each table, `room` in all, both heads in it. */
static void share(const struct view *v, int room, int *nodes, int *pools)
{
	int n = v->now.node_all > 10000 ? 10000 : (int)v->now.node_all,
	    p = v->now.pool_all > 10000 ? 10000 : (int)v->now.pool_all;

	room -= 2;
	*nodes = n;
	if (n + p > room) {
		*nodes = room - p > room / 2 ? room - p : room / 2;
		if (*nodes > n)
			*nodes = n;
	}
	*pools = room - *nodes;
	if (*nodes < 1 && n)
		*nodes = room > 0 ? 1 : 0;
}

static void tables(struct view *v, struct grid *g, int y, int end, bool gap)
{
	int nodes, pools, most;

	share(v, end - y - (gap ? 1 : 0), &nodes, &pools);
	y += tables_nodes(g, y, nodes, &v->now);
	if (gap)
		y++;
	most = (int)v->now.pool_n - pools;
	if (v->scroll > most + 1)
		v->scroll = most + 1;
	if (v->scroll < 0 || most <= 0)
		v->scroll = 0;
	(void)tables_pools(g, y, pools, v->scroll, &v->now);
}

int view_height(const struct view *v)
{
	int nodes = (int)v->now.node_n + 2, pools = (int)v->now.pool_n + 2;

	return 1 + (*v->message ? 1 : 0) + 6 + nodes + 1 + pools;
}

void view_draw(struct view *v, struct grid *g)
{
	bool large = v->batch || (g->h >= 18 && g->w >= 60), airy = v->batch || g->h >= 22;
	struct line l = { g, 0, 1, true };
	int end = !v->batch && g->h >= 10 ? g->h - 1 : g->h;

	top_line(v, g);
	if (end < g->h)
		bottom_line(v, g);
	if (*v->message) {
		(void)grid_put(g, 0, l.y, g->w, LOOK_BAD, v->message);
		l.y++;
	}
	if (v->help) {
		help_page(g, l.y);
		if (end < g->h) {
			grid_fill(g, 0, g->h - 1, g->w, LOOK_PLAIN, ' ');
			bottom_line(v, g);
		}
		return;
	}
	if (!v->has_now)
		return;
	order_sort(&v->order, &v->now);
	if (large) {
		traffic_line(v, &l);
		l.y++;
		history_line(v, &l);
		l.y++;
		wait_line(v, &l);
		l.y++;
		retry_line(v, &l);
		l.y++;
		error_line(v, &l);
		l.y += airy ? 2 : 1;
	} else {
		short_lines(v, &l);
	}
	tables(v, g, l.y, end, airy);
}
