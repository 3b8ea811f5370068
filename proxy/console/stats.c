/* proxy/console/stats.c - see stats.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/stats.h"

#include <string.h>

/* Meters read in one go: each takes some 10 us. */
#define AT_ONCE 16u

/* One meter. older_us: the time that `older` is of. */
typedef void row_fn(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
		    const struct meter_sum *older, uint64_t older_us);

static struct meters *meters_of(const struct task *t)
{
	return &t->c->h->sh->meters;
}

/* The next few meters of these kinds; task.own counts those that were. */
static void some(struct task *t, unsigned kinds, row_fn *row)
{
	uintptr_t at = (uintptr_t)t->own, i;
	uint64_t older_us = meters_older_us(meters_of(t));
	struct meter_sum now, older;

	for (i = 0; i < AT_ONCE; i++, at++) {
		enum meter_kind kind = (enum meter_kind)(at / (METERS_MAX + 1));
		unsigned n = (unsigned)(at % (METERS_MAX + 1));

		if (kind >= kinds) {
			task_done(t);
			return;
		}
		if (!meters_read(meters_of(t), kind, n, t->c->h->w.now_us, &now, &older)) {
			at = (kind + 1u) * (METERS_MAX + 1) - 1; /* the first of the next kind */
			continue;
		}
		/* nothing has been left over: no row for that */
		if (n || now.stats.client_logins || now.stats.server_connects)
			row(&t->rows, kind, &now, &older, older_us);
	}
	t->own = (void *)at;
}

/* ---- PgBouncer's ---- */

static void totals(struct rows *r, const struct meter_sum *now)
{
	unsigned i;

	for (i = 0; i < METER_C_LOGIN; i++)
		rows_uint(r, meter_column(now, (enum meter_column)i));
}

static void averages(struct rows *r, const struct meter_sum *now, const struct meter_sum *older,
		     uint64_t older_us)
{
	unsigned i;

	for (i = 0; i < METER_C_LOGIN; i++)
		rows_uint(r, meter_rate(now, older, older_us, (enum meter_column)i));
}

static uint64_t errors_of(const struct meter_sum *s)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < METER_CLASSES_N; i++)
		n += s->errors[i];
	return n;
}

/* The quantile of what came since. */
static uint64_t recent(const struct meter_sum *now, const struct meter_sum *older,
		       enum meter_hist h, unsigned per_100k)
{
	struct hist_sum s = now->hist[h];

	hist_sum_since(&s, &older->hist[h]);
	return hist_quantile(&s, per_100k);
}

static void stats_row(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
		      const struct meter_sum *older, uint64_t older_us)
{
	(void)kind;
	rows_row(r);
	rows_text(r, now->name);
	totals(r, now);
	averages(r, now, older, older_us);
	rows_uint(r, meter_column(now, METER_C_LOGIN));
	rows_uint(r, meter_rate(now, older, older_us, METER_C_LOGIN));
	rows_uint(r, errors_of(now));
	rows_uint(r, now->stats.waits);
	rows_uint(r, now->stats.wait_timeouts);
	rows_uint(r, now->stats.server_lost);
	rows_uint(r, now->stats.retried);
	rows_uint(r, now->stats.retry_ok);
	rows_uint(r, now->stats.retry_exhausted);
	rows_uint(r, now->stats.replay_begun);
	rows_uint(r, now->stats.replay_ok);
	rows_uint(r, now->stats.replay_gave_up);
	rows_uint(r, recent(now, older, METER_XACT, 99000));
	rows_uint(r, recent(now, older, METER_QUERY, 99000));
	rows_uint(r, recent(now, older, METER_WAIT, 99000));
	rows_uint(r, meter_column(now, METER_C_QUERY));
	rows_end_row(r);
}

static void more_stats(struct task *t)
{
	some(t, METER_DB + 1, stats_row);
}

static void show_stats(struct task *t)
{
	t->more = more_stats;
	more_stats(t);
}

static void totals_row(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
		       const struct meter_sum *older, uint64_t older_us)
{
	(void)kind;
	(void)older;
	(void)older_us;
	rows_row(r);
	rows_text(r, now->name);
	totals(r, now);
	rows_uint(r, meter_column(now, METER_C_LOGIN));
	rows_end_row(r);
}

static void more_totals(struct task *t)
{
	some(t, METER_DB + 1, totals_row);
}

static void show_stats_totals(struct task *t)
{
	t->more = more_totals;
	more_totals(t);
}

static void averages_row(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
			 const struct meter_sum *older, uint64_t older_us)
{
	(void)kind;
	rows_row(r);
	rows_text(r, now->name);
	averages(r, now, older, older_us);
	rows_uint(r, meter_rate(now, older, older_us, METER_C_LOGIN));
	rows_end_row(r);
}

static void more_averages(struct task *t)
{
	some(t, METER_DB + 1, averages_row);
}

static void show_stats_averages(struct task *t)
{
	t->more = more_averages;
	more_averages(t);
}

static void show_totals(struct task *t)
{
	/* in the order of METER_COLUMNS */
	static const char *const total[METER_COLUMN_N] = {
		"total_server_assignment_count", "total_xact_count",
		"total_query_count",		 "total_client_bytes",
		"total_server_bytes",		 "total_xact_time",
		"total_query_time",		 "total_wait_time",
		"total_ps_client_parse_count",	 "total_ps_server_parse_count",
		"total_ps_bind_count",		 "total_client_login_count",
	};
	static const char *const avg[METER_COLUMN_N] = {
		"avg_server_assignment_count", "avg_xact_count",
		"avg_query_count",	       "avg_client_bytes",
		"avg_server_bytes",	       "avg_xact_time",
		"avg_query_time",	       "avg_wait_time",
		"avg_ps_client_parse_count",   "avg_ps_server_parse_count",
		"avg_ps_bind_count",	       "avg_client_login_count",
	};
	uint64_t older_us = meters_older_us(meters_of(t));
	struct meter_sum now, older;
	unsigned i;

	meters_total(meters_of(t), t->c->h->w.now_us, &now, &older);
	for (i = 0; i < 2 * METER_COLUMN_N; i++) {
		enum meter_column c = (enum meter_column)(i % METER_COLUMN_N);

		rows_row(&t->rows);
		rows_text(&t->rows, i < METER_COLUMN_N ? total[c] : avg[c]);
		rows_uint(&t->rows, i < METER_COLUMN_N ? meter_column(&now, c) :
							 meter_rate(&now, &older, older_us, c));
		rows_end_row(&t->rows);
	}
	task_done(t);
}

/* ---- ours ---- */

static const char *kind_name(enum meter_kind k)
{
	return k == METER_DB ? "database" : "node";
}

static void hist_rows(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
		      const struct meter_sum *older, uint64_t older_us)
{
	static const unsigned at[] = { 50000, 90000, 95000, 99000, 99900 };
	unsigned h, i;

	(void)older_us;
	for (h = 0; h < METER_HIST_N; h++) {
		struct hist_sum s = now->hist[h];

		if (!s.n)
			continue;
		rows_row(r);
		rows_text(r, kind_name(kind));
		rows_text(r, now->name);
		rows_text(r, meter_hist_name((enum meter_hist)h));
		rows_uint(r, s.n);
		rows_uint(r, s.sum_us);
		rows_uint(r, hist_mean(&s));
		for (i = 0; i < sizeof(at) / sizeof(*at); i++)
			rows_uint(r, hist_quantile(&s, at[i]));
		rows_uint(r, s.max_us);
		hist_sum_since(&s, &older->hist[h]);
		rows_uint(r, s.n);
		rows_uint(r, hist_mean(&s));
		rows_uint(r, hist_quantile(&s, 50000));
		rows_uint(r, hist_quantile(&s, 99000));
		rows_end_row(r);
	}
}

static void more_histograms(struct task *t)
{
	some(t, METER_KINDS, hist_rows);
}

static void show_histograms(struct task *t)
{
	t->more = more_histograms;
	more_histograms(t);
}

static void error_rows(struct rows *r, enum meter_kind kind, const struct meter_sum *now,
		       const struct meter_sum *older, uint64_t older_us)
{
	unsigned i;

	(void)older_us;
	for (i = 0; i < METER_CLASSES_N; i++) {
		if (!now->errors[i])
			continue;
		rows_row(r);
		rows_text(r, kind_name(kind));
		rows_text(r, now->name);
		rows_text(r, meter_class_name(i));
		rows_uint(r, now->errors[i]);
		rows_uint(r, now->errors[i] - older->errors[i]);
		rows_end_row(r);
	}
}

static void more_errors(struct task *t)
{
	some(t, METER_KINDS, error_rows);
}

static void show_errors(struct task *t)
{
	struct meter_sum now;

	meters_read_lobby(meters_of(t), &now);
	error_rows(&t->rows, METER_DB, &now, &now, 0);
	t->more = more_errors;
	more_errors(t);
}

/* ---- the table ---- */

#define N(name) { name, ROWS_NUMERIC }
#define TOTALS(p, in, out)                                                     \
	N(p "server_assignment_count"), N(p "xact_count"), N(p "query_count"), N(p in), N(p out), \
		N(p "xact_time"), N(p "query_time"), N(p "wait_time")
static const struct column stats_columns[] = {
	{ "database", ROWS_TEXT },
	TOTALS("total_", "received", "sent"),
	N("total_client_parse_count"),
	N("total_server_parse_count"),
	N("total_bind_count"),
	TOTALS("avg_", "recv", "sent"),
	N("avg_client_parse_count"),
	N("avg_server_parse_count"),
	N("avg_bind_count"),
	N("total_client_login_count"),
	N("avg_client_login_count"),
	N("total_errors"),
	N("total_waits"),
	N("total_wait_timeouts"),
	N("total_server_lost"),
	N("total_retried"),
	N("total_retry_ok"),
	N("total_retry_exhausted"),
	N("total_replays"),
	N("total_replay_ok"),
	N("total_replay_gave_up"),
	N("xact_p99_us"),
	N("query_p99_us"),
	N("wait_p99_us"),
	N("total_requests"),     /* its name before PgBouncer 1.8, which exporters still ask for */
	{ NULL, 0 },
};
static const struct column totals_columns[] = {
	{ "database", ROWS_TEXT }, TOTALS("", "bytes_received", "bytes_sent"),
	N("client_parse_count"),   N("server_parse_count"),
	N("bind_count"),	   N("client_login_count"),
	{ NULL, 0 },
};
static const struct column averages_columns[] = {
	{ "database", ROWS_TEXT },   TOTALS("", "bytes_received", "bytes_sent"),
	N("avg_client_parse_count"), N("avg_server_parse_count"),
	N("avg_bind_count"),	     N("avg_client_login_count"),
	{ NULL, 0 },
};
static const struct column total_columns[] = { { "name", ROWS_TEXT }, N("value"), { NULL, 0 } };
static const struct column hist_columns[] = {
	{ "kind", ROWS_TEXT },
	{ "name", ROWS_TEXT },
	{ "histogram", ROWS_TEXT },
	N("count"),
	N("sum_us"),
	N("mean_us"),
	N("p50_us"),
	N("p90_us"),
	N("p95_us"),
	N("p99_us"),
	N("p999_us"),
	N("max_us"),
	N("recent_count"),
	N("recent_mean_us"),
	N("recent_p50_us"),
	N("recent_p99_us"),
	{ NULL, 0 },
};
static const struct column error_columns[] = {
	{ "kind", ROWS_TEXT }, { "name", ROWS_TEXT }, { "sqlstate_class", ROWS_TEXT },
	N("count"),	       N("recent_count"),     { NULL, 0 },
};

const struct command stats_commands[] = {
	{ "SHOW STATS", "", "SHOW STATS", "totals and averages of each database", false,
	  stats_columns, "SHOW", show_stats },
	{ "SHOW STATS_TOTALS", "", "SHOW STATS_TOTALS", "totals of each database", false,
	  totals_columns, "SHOW", show_stats_totals },
	{ "SHOW STATS_AVERAGES", "", "SHOW STATS_AVERAGES", "averages of each database", false,
	  averages_columns, "SHOW", show_stats_averages },
	{ "SHOW TOTALS", "", "SHOW TOTALS", "totals and averages of all databases together", false,
	  total_columns, "SHOW", show_totals },
	{ "SHOW HISTOGRAMS", "", "SHOW HISTOGRAMS",
	  "how long waits, queries, transactions, logins and replays take", false, hist_columns,
	  "SHOW", show_histograms },
	{ "SHOW ERRORS", "", "SHOW ERRORS", "errors by the class of their SQLSTATE", false,
	  error_columns, "SHOW", show_errors },
	{ 0 },
};
