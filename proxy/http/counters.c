/* proxy/http/counters.c - see counters.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/counters.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "http/family.h"

/* Of what there is more than the total: databases; those and nodes. */
enum parts { ALL = 0, DB, BOTH };

/* Rows of one family stand together. help: of the first; NULL: as in health/stats.h. */
static const struct counter {
	const char *stat, *family;
	enum parts parts;
	const char *labels, *help;
} counters[] = {
	{ "client_logins", "client_logins", DB, NULL, "Clients that logged in." },
	{ "client_login_failures", "client_login_failures", DB, NULL,
	  "Clients that were refused." },
	{ "client_logins_throttled", "client_logins_throttled", ALL, NULL,
	  "Clients refused because logins from their address had failed before." },
	{ "client_logins_shed", "client_logins_shed", ALL, NULL,
	  "Clients closed because of max_client_logins." },
	{ "client_closed", "client_disconnects", DB, NULL, "Clients that went." },
	{ "server_connects", "server_connects", BOTH, NULL, "Server connections that logged in." },
	{ "server_connect_failures", "server_connect_failures", BOTH, NULL,
	  "Attempts to connect or log in to a server that failed." },
	{ "server_closed", "server_disconnects", BOTH, NULL, "Server connections closed." },
	{ "server_lost", "server_losses", BOTH, NULL, "Server connections lost while in use." },
	{ "server_handovers", "server_handovers", ALL, NULL,
	  "Server connections handed to another worker." },
	{ "assignments", "server_assignments", BOTH, NULL, "Servers given to clients." },
	{ "xacts", "transactions", BOTH, NULL, "Transactions." },
	{ "queries", "queries", BOTH, NULL, "ReadyForQuery messages passed to clients." },
	{ "received_bytes", "received_bytes", BOTH, NULL, "Bytes from clients." },
	{ "sent_bytes", "sent_bytes", BOTH, NULL, "Bytes to clients." },
	{ "waits", "client_waits", DB, NULL, "Times that a client waited for a server." },
	{ "wait_us", "client_wait_seconds", DB, NULL, "Time that clients waited for a server." },
	{ "wait_timeouts", "client_wait_timeouts", DB, NULL,
	  "Waits that ended in query_wait_timeout." },
	{ "cancels", "cancel_requests", ALL, "result=\"delivered\"",
	  "Cancel requests of clients." },
	{ "cancels_ignored", "cancel_requests", ALL, "result=\"ignored\"", NULL },
	{ "parses", "client_parses", DB, NULL, "Parse messages of clients." },
	{ "server_parses", "server_parses", BOTH, NULL, "Parse messages sent to servers." },
	{ "binds", "binds", BOTH, NULL, "Bind messages." },
	{ "lazy_begins", "lazy_begins", DB, NULL, "BEGINs answered without a server." },
	{ "questions", "state_questions", ALL, NULL,
	  "Times that a server was asked what a transaction had left behind." },
	{ "pins", "pins", DB, NULL, "Times that a client was bound to its server." },
	{ "pin_refusals", "pin_refusals", DB, NULL,
	  "Statements refused because of pin or max_pinned_servers." },
	{ "moved", "moves", DB, NULL,
	  "Statements that began anew on another node because theirs was leaving." },
	{ "recovered", "server_recoveries", ALL, NULL,
	  "Servers kept although their client left in the middle." },
	{ "reprepared", "reprepares", ALL, NULL,
	  "Statements sent again after they were prepared anew." },
	{ "retry_seen", "retryable_errors", DB, NULL, "Errors that retry is for." },
	{ "retry_eligible", "retryable_errors_eligible", ALL, NULL,
	  "... of these that could be retried." },
	{ "retried", "retry_attempts", DB, NULL, "Statements sent again after a retryable error." },
	{ "retry_ok", "retries", DB, "result=\"ok\"",
	  "Statements that were retried, by how it ended." },
	{ "retry_exhausted", "retries", DB, "result=\"exhausted\"", NULL },
	{ "retry_cancelled", "retries", DB, "result=\"cancelled\"", NULL },
	{ "retry_time_us", "retry_seconds", DB, NULL, "Time added by retries that succeeded." },
	{ "refused_status", "not_retried", ALL, "reason=\"status\"",
	  "Retryable errors that were passed on, by the reason (SHOW RETRIES explains them)." },
	{ "refused_class", "not_retried", ALL, "reason=\"class\"", NULL },
	{ "refused_txn", "not_retried", ALL, "reason=\"txn\"", NULL },
	{ "refused_started", "not_retried", ALL, "reason=\"started\"", NULL },
	{ "refused_pipelined", "not_retried", ALL, "reason=\"pipelined\"", NULL },
	{ "refused_complete", "not_retried", ALL, "reason=\"complete\"", NULL },
	{ "refused_severity", "not_retried", ALL, "reason=\"severity\"", NULL },
	{ "refused_memory", "not_retried", ALL, "reason=\"memory\"", NULL },
	{ "refused_savepoint", "not_retried", ALL, "reason=\"savepoint\"", NULL },
	{ "refused_session", "not_retried", ALL, "reason=\"session\"", NULL },
	{ "replay_begun", "replay_attempts", DB, NULL, "Replays of a transaction begun." },
	{ "replay_lost", "replay_attempts_after_loss", DB, NULL,
	  "... of these because the server was lost." },
	{ "replay_ok", "replays", DB, "result=\"ok\"",
	  "Transactions that were replayed, by how it ended." },
	{ "replay_gave_up", "replays", DB, "result=\"gave_up\"", NULL },
	{ "replay_mismatch", "replay_failures", ALL, "reason=\"mismatch\"",
	  "Replays that failed, by the reason." },
	{ "replay_exhausted", "replay_failures", ALL, "reason=\"exhausted\"", NULL },
	{ "replay_cancelled", "replay_failures", ALL, "reason=\"cancelled\"", NULL },
	{ "replay_ok_1", "replays_ok", ALL, "attempts=\"1\"",
	  "Transactions that went on after a replay, by how many attempts it took." },
	{ "replay_ok_2", "replays_ok", ALL, "attempts=\"2\"", NULL },
	{ "replay_ok_3_5", "replays_ok", ALL, "attempts=\"3-5\"", NULL },
	{ "replay_ok_6_10", "replays_ok", ALL, "attempts=\"6-10\"", NULL },
	{ "replay_ok_more", "replays_ok", ALL, "attempts=\"more\"", NULL },
	{ "replay_time_us", "replay_seconds", DB, NULL, "Time added by replays that succeeded." },
	{ "retry_commits_found", "commits_found", DB, NULL,
	  "COMMITs whose server was lost and that had been done." },
};
#define COUNTERS (sizeof(counters) / sizeof(*counters))

/* health/stats.h */
static const struct {
	const char *name, *help;
	size_t total_at, sum_at;
	bool is_time;
} stats[] = {
#define X(name, help) { #name, help, offsetof(struct totals, name), offsetof(struct stats_sum, name), \
			sizeof(#name) > 3 && #name[sizeof(#name) - 4] == '_' && \
				#name[sizeof(#name) - 3] == 'u' && #name[sizeof(#name) - 2] == 's' },
	STATS_LIST(X)
#undef X
};
#define STATS (sizeof(stats) / sizeof(*stats))

/* Who has what: the words of a kind of meter. */
static const struct {
	const char *prefix, *label;
} kinds[METER_KINDS] = { { "database_", "database" }, { "node_", "node" } };

static size_t stat_of(const char *name)
{
	size_t i;

	for (i = 0; i < STATS && strcmp(stats[i].name, name) != 0; i++)
		;
	return i;
}

static uint64_t at(const void *base, size_t offset)
{
	return *(const uint64_t *)(const void *)((const char *)base + offset);
}

static void value(struct out *o, uint64_t v, bool is_time)
{
	if (is_time)
		out_seconds(o, v);
	else
		out_fmt(o, "%llu", (unsigned long long)v);
	out_text(o, "\n");
}

static void total_row(struct out *o, const char *name, const char *labels, size_t stat,
		      const struct totals *t)
{
	out_fmt(o, "pgweir_%s_total", name);
	if (labels)
		out_fmt(o, "{%s}", labels);
	out_text(o, " ");
	value(o, at(t, stats[stat].total_at), stats[stat].is_time);
}

/* NAME{database="...", without the brace that closes it. */
static void open_row(struct out *o, enum meter_kind kind, const char *name, const char *suffix,
		     const struct measured_one *one)
{
	out_fmt(o, "pgweir_%s%s%s{%s=\"", kinds[kind].prefix, name, suffix, kinds[kind].label);
	out_label(o, one->name);
	out_text(o, "\"");
}

/* ---- counters ---- */

static bool first_of_family(size_t i)
{
	return i == 0 || strcmp(counters[i - 1].family, counters[i].family) != 0;
}

static void write_totals(struct out *o, bool openmetrics, const struct totals *t)
{
	size_t i, stat;

	for (i = 0; i < COUNTERS; i++) {
		const struct counter *c = &counters[i];

		stat = stat_of(c->stat);
		if (stat == STATS)
			continue;
		if (first_of_family(i))
			family_begin(o, openmetrics, c->family, FAMILY_COUNTER, family_unit(c->family),
				     c->help ? c->help : stats[stat].help);
		total_row(o, c->family, c->labels, stat, t);
	}
}

/* Those that have no row above, under their own names. */
static void write_others(struct out *o, bool openmetrics, const struct totals *t)
{
	char name[80];
	size_t i, k, n;

	for (i = 0; i < STATS; i++) {
		for (k = 0; k < COUNTERS && strcmp(counters[k].stat, stats[i].name) != 0; k++)
			;
		n = strlen(stats[i].name);
		if (k < COUNTERS || n + sizeof("econds") > sizeof(name))
			continue;
		memcpy(name, stats[i].name, n + 1);
		if (stats[i].is_time)
			memcpy(name + n - 2, "seconds", sizeof("seconds"));
		family_begin(o, openmetrics, name, FAMILY_COUNTER, family_unit(name), stats[i].help);
		total_row(o, name, NULL, i, t);
	}
}

static void write_parts(struct out *o, bool openmetrics, enum meter_kind kind,
			const struct measured *m)
{
	size_t i, k, stat;
	char name[100];

	for (i = 0; i < COUNTERS; i++) {
		const struct counter *c = &counters[i];

		stat = stat_of(c->stat);
		if (stat == STATS || c->parts < (kind == METER_NODE ? BOTH : DB))
			continue;
		(void)snprintf(name, sizeof(name), "%s%s", kinds[kind].prefix, c->family);
		if (first_of_family(i))
			family_begin(o, openmetrics, name, FAMILY_COUNTER, family_unit(name),
				     c->help ? c->help : stats[stat].help);
		for (k = 0; k < m->n; k++) {
			open_row(o, kind, c->family, "_total", &m->one[k]);
			out_fmt(o, "%s%s} ", c->labels ? "," : "", c->labels ? c->labels : "");
			value(o, at(&m->one[k].stats, stats[stat].sum_at), stats[stat].is_time);
		}
	}
}

/* ---- errors ---- */

/* These are there although they are zero, so that their first one is seen as a change. */
static bool is_usual(const char *class)
{
	static const char usual[] = "08 40 53 57";

	return strstr(usual, class) != NULL;
}

static void write_errors(struct out *o, bool openmetrics, enum meter_kind kind,
			 const struct measured *m)
{
	unsigned i;
	size_t k;

	family_begin(o, openmetrics, kind == METER_DB ? "database_errors" : "node_errors",
		     FAMILY_COUNTER, NULL,
		     kind == METER_DB ?
			     "Errors that clients were told, by the class of their SQLSTATE." :
			     "Errors that servers told, retried or not, by the class of their SQLSTATE.");
	for (k = 0; k < m->n; k++)
		for (i = 0; i < METER_CLASSES_N; i++) {
			if (!m->one[k].errors[i] && !is_usual(meter_class_name(i)))
				continue;
			open_row(o, kind, "errors", "_total", &m->one[k]);
			out_fmt(o, ",class=\"%s\"} ", meter_class_name(i));
			value(o, m->one[k].errors[i], false);
		}
}

/* ---- histograms ---- */

static void write_hist(struct out *o, enum meter_kind kind, const char *name,
		       const struct measured_one *one, const struct measured_hist *h)
{
	unsigned i;

	for (i = 0; i < MEASURED_BUCKETS; i++) {
		open_row(o, kind, name, "_bucket", one);
		out_text(o, ",le=\"");
		out_seconds(o, UINT64_C(1) << (MEASURED_FROM_BITS + i));
		out_text(o, "\"} ");
		value(o, h->upto[i], false);
	}
	open_row(o, kind, name, "_bucket", one);
	out_text(o, ",le=\"+Inf\"} ");
	value(o, h->n, false);
	open_row(o, kind, name, "_sum", one);
	out_text(o, "} ");
	value(o, h->sum_us, true);
	open_row(o, kind, name, "_count", one);
	out_text(o, "} ");
	value(o, h->n, false);
}

static void write_hists(struct out *o, bool openmetrics, enum meter_kind kind,
			const struct measured *m)
{
	static const struct {
		const char *word, *help[METER_KINDS];
	} row[METER_HIST_N] = {
#define X(id, word, db, node) [id] = { word, { db, node } },
		METER_HISTS(X)
#undef X
	};
	char name[80], family[100], help[300];
	size_t i, k;

	for (i = 0; i < METER_HIST_N; i++) {
		(void)snprintf(name, sizeof(name), "%s_duration_seconds", row[i].word);
		(void)snprintf(family, sizeof(family), "%s%s", kinds[kind].prefix, name);
		(void)snprintf(help, sizeof(help), "Time: %s.",
			       strncmp(row[i].help[kind], "the same, ", 10) == 0 ?
				       row[i].help[METER_DB] : row[i].help[kind]);
		family_begin(o, openmetrics, family, FAMILY_HISTOGRAM, "seconds", help);
		for (k = 0; k < m->n; k++)
			write_hist(o, kind, name, &m->one[k], &m->one[k].hist[i]);
	}
}

void counters_write(struct out *o, bool openmetrics, const struct totals *t,
		    const struct measured *const of[METER_KINDS])
{
	unsigned k;

	write_totals(o, openmetrics, t);
	write_others(o, openmetrics, t);
	for (k = 0; k < METER_KINDS; k++) {
		write_parts(o, openmetrics, (enum meter_kind)k, of[k]);
		write_errors(o, openmetrics, (enum meter_kind)k, of[k]);
		write_hists(o, openmetrics, (enum meter_kind)k, of[k]);
	}
}
