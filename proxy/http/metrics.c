/* proxy/http/metrics.c - see metrics.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "conf/version.h"

enum kind { GAUGE = 0, COUNTER };

/* name is without _total. */
static void family(struct out *o, const struct metrics *m, const char *name, enum kind kind,
		   const char *unit, const char *help)
{
	const char *total = kind == COUNTER && !m->openmetrics ? "_total" : "";

	out_fmt(o, "# HELP pgweir_%s%s %s\n", name, total, help);
	out_fmt(o, "# TYPE pgweir_%s%s %s\n", name, total, kind == COUNTER ? "counter" : "gauge");
	if (unit && m->openmetrics)
		out_fmt(o, "# UNIT pgweir_%s %s\n", name, unit);
}

/* ---- counters ---- */

/* Rows of one family stand together. help: of the first; NULL: as in health/stats.h. */
static const struct counter {
	const char *stat, *family, *labels, *help;
} counters[] = {
	{ "client_logins", "client_logins", NULL, "Clients that logged in." },
	{ "client_login_failures", "client_login_failures", NULL, "Clients that were refused." },
	{ "client_logins_throttled", "client_logins_throttled", NULL,
	  "Clients refused because logins from their address had failed before." },
	{ "client_logins_shed", "client_logins_shed", NULL,
	  "Clients closed because of max_client_logins." },
	{ "client_closed", "client_disconnects", NULL, "Clients that went." },
	{ "server_connects", "server_connects", NULL, "Server connections that logged in." },
	{ "server_connect_failures", "server_connect_failures", NULL,
	  "Attempts to connect or log in to a server that failed." },
	{ "server_closed", "server_disconnects", NULL, "Server connections closed." },
	{ "server_lost", "server_losses", NULL, "Server connections lost while in use." },
	{ "server_handovers", "server_handovers", NULL,
	  "Server connections handed to another worker." },
	{ "assignments", "server_assignments", NULL, "Servers given to clients." },
	{ "xacts", "transactions", NULL, "Transactions." },
	{ "queries", "queries", NULL, "ReadyForQuery messages passed to clients." },
	{ "received_bytes", "received_bytes", NULL, "Bytes from clients." },
	{ "sent_bytes", "sent_bytes", NULL, "Bytes to clients." },
	{ "waits", "client_waits", NULL, "Times that a client waited for a server." },
	{ "wait_us", "client_wait_seconds", NULL, "Time that clients waited for a server." },
	{ "wait_timeouts", "client_wait_timeouts", NULL, "Waits that ended in query_wait_timeout." },
	{ "cancels", "cancel_requests", "result=\"delivered\"", "Cancel requests of clients." },
	{ "cancels_ignored", "cancel_requests", "result=\"ignored\"", NULL },
	{ "parses", "client_parses", NULL, "Parse messages of clients." },
	{ "server_parses", "server_parses", NULL, "Parse messages sent to servers." },
	{ "binds", "binds", NULL, "Bind messages." },
	{ "lazy_begins", "lazy_begins", NULL, "BEGINs answered without a server." },
	{ "questions", "state_questions", NULL,
	  "Times that a server was asked what a transaction had left behind." },
	{ "pins", "pins", NULL, "Times that a client was bound to its server." },
	{ "pin_refusals", "pin_refusals", NULL,
	  "Statements refused because of pin or max_pinned_servers." },
	{ "moved", "moves", NULL,
	  "Statements that began anew on another node because theirs was leaving." },
	{ "recovered", "server_recoveries", NULL,
	  "Servers kept although their client left in the middle." },
	{ "reprepared", "reprepares", NULL, "Statements sent again after they were prepared anew." },
	{ "retry_seen", "retryable_errors", NULL, "Errors that retry is for." },
	{ "retry_eligible", "retryable_errors_eligible", NULL, "... of these that could be retried." },
	{ "retried", "retry_attempts", NULL, "Statements sent again after a retryable error." },
	{ "retry_ok", "retries", "result=\"ok\"", "Statements that were retried, by how it ended." },
	{ "retry_exhausted", "retries", "result=\"exhausted\"", NULL },
	{ "retry_cancelled", "retries", "result=\"cancelled\"", NULL },
	{ "retry_time_us", "retry_seconds", NULL, "Time added by retries that succeeded." },
	{ "refused_status", "not_retried", "reason=\"status\"",
	  "Retryable errors that were passed on, by the reason (SHOW RETRIES explains them)." },
	{ "refused_class", "not_retried", "reason=\"class\"", NULL },
	{ "refused_txn", "not_retried", "reason=\"txn\"", NULL },
	{ "refused_started", "not_retried", "reason=\"started\"", NULL },
	{ "refused_pipelined", "not_retried", "reason=\"pipelined\"", NULL },
	{ "refused_complete", "not_retried", "reason=\"complete\"", NULL },
	{ "refused_severity", "not_retried", "reason=\"severity\"", NULL },
	{ "refused_memory", "not_retried", "reason=\"memory\"", NULL },
	{ "refused_savepoint", "not_retried", "reason=\"savepoint\"", NULL },
	{ "refused_session", "not_retried", "reason=\"session\"", NULL },
	{ "replay_begun", "replay_attempts", NULL, "Replays of a transaction begun." },
	{ "replay_lost", "replay_attempts_after_loss", NULL,
	  "... of these because the server was lost." },
	{ "replay_ok", "replays", "result=\"ok\"",
	  "Transactions that were replayed, by how it ended." },
	{ "replay_gave_up", "replays", "result=\"gave_up\"", NULL },
	{ "replay_mismatch", "replay_failures", "reason=\"mismatch\"",
	  "Replays that failed, by the reason." },
	{ "replay_exhausted", "replay_failures", "reason=\"exhausted\"", NULL },
	{ "replay_cancelled", "replay_failures", "reason=\"cancelled\"", NULL },
	{ "replay_ok_1", "replays_ok", "attempts=\"1\"",
	  "Transactions that went on after a replay, by how many attempts it took." },
	{ "replay_ok_2", "replays_ok", "attempts=\"2\"", NULL },
	{ "replay_ok_3_5", "replays_ok", "attempts=\"3-5\"", NULL },
	{ "replay_ok_6_10", "replays_ok", "attempts=\"6-10\"", NULL },
	{ "replay_ok_more", "replays_ok", "attempts=\"more\"", NULL },
	{ "replay_time_us", "replay_seconds", NULL, "Time added by replays that succeeded." },
	{ "retry_commits_found", "commits_found", NULL,
	  "COMMITs whose server was lost and that had been done." },
};
#define COUNTERS (sizeof(counters) / sizeof(*counters))

/* health/stats.h */
static const struct {
	const char *name, *help;
	size_t at;
} stats[] = {
#define X(name, help) { #name, help, offsetof(struct totals, name) },
	STATS_LIST(X)
#undef X
};
#define STATS (sizeof(stats) / sizeof(*stats))

static size_t stat_of(const char *name)
{
	size_t i;

	for (i = 0; i < STATS && strcmp(stats[i].name, name) != 0; i++)
		;
	return i;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s), k = strlen(with);

	return n > k && strcmp(s + n - k, with) == 0;
}

static const char *unit_of(const char *name)
{
	return ends(name, "_seconds") ? "seconds" : ends(name, "_bytes") ? "bytes" : NULL;
}

static void counter(struct out *o, const struct metrics *m, const char *name, const char *labels,
		    size_t stat)
{
	uint64_t v = *(const uint64_t *)(const void *)((const char *)m->t + stats[stat].at);

	out_fmt(o, "pgweir_%s_total", name);
	if (labels)
		out_fmt(o, "{%s}", labels);
	out_text(o, " ");
	if (ends(stats[stat].name, "_us"))
		out_seconds(o, v);
	else
		out_fmt(o, "%llu", (unsigned long long)v);
	out_text(o, "\n");
}

/* Those that have no row above, under their own names. */
static void write_others(struct out *o, const struct metrics *m)
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
		if (ends(name, "_us"))
			memcpy(name + n - 2, "seconds", sizeof("seconds"));
		family(o, m, name, COUNTER, unit_of(name), stats[i].help);
		counter(o, m, name, NULL, i);
	}
}

static void write_counters(struct out *o, const struct metrics *m)
{
	size_t i, stat;

	for (i = 0; i < COUNTERS; i++) {
		const struct counter *c = &counters[i];

		stat = stat_of(c->stat);
		if (stat == STATS)
			continue;
		if (i == 0 || strcmp(counters[i - 1].family, c->family) != 0)
			family(o, m, c->family, COUNTER, unit_of(c->family),
			       c->help ? c->help : stats[stat].help);
		counter(o, m, c->family, c->labels, stat);
	}
	write_others(o, m);
}

/* ---- gauges ---- */

static void gauge(struct out *o, const struct metrics *m, const char *name, const char *help,
		  uint64_t v)
{
	family(o, m, name, GAUGE, unit_of(name), help);
	out_fmt(o, "pgweir_%s %llu\n", name, (unsigned long long)v);
}

static uint64_t plus(int64_t v)
{
	return v > 0 ? (uint64_t)v : 0;
}

static void write_process(struct out *o, const struct metrics *m)
{
	size_t i;

	family(o, m, "build_info", GAUGE, NULL, "Which pgweir this is; always 1.");
	out_text(o, "pgweir_build_info{version=\"" PGWEIR_VERSION "\"} 1\n");
	gauge(o, m, "start_time_seconds", "When it began, since 1970.", plus(m->started_s));
	gauge(o, m, "workers", "Worker threads.", m->workers);
	family(o, m, "state", GAUGE, NULL, "What it does: 1 for that, 0 for the others.");
	for (i = 0; i < RUNNING_N; i++)
		out_fmt(o, "pgweir_state{state=\"%s\"} %d\n", running_name((enum running)i),
			m->running == (enum running)i);
	family(o, m, "health", GAUGE, NULL, "The word of /health: 1 for that, 0 for the others.");
	for (i = 0; i < HEALTH_WORDS; i++)
		out_fmt(o, "pgweir_health{status=\"%s\"} %d\n", health_word_name((enum health_word)i),
			m->health == (enum health_word)i);
	gauge(o, m, "clients", "Clients that are logged in.", plus(m->f->clients));
	gauge(o, m, "clients_max", "max_client_conn.", plus(m->f->clients_max));
	gauge(o, m, "clients_logging_in", "Clients that have not logged in yet.", m->f->logging_in);
	gauge(o, m, "pools", "Pools: a database and a user.", m->f->pools);
	gauge(o, m, "held_bytes", "Bytes kept for retries and replays.", plus(m->f->held_bytes));
}

/* ---- pools ---- */

static void pool_row(struct out *o, const struct fact_pool *p, const char *name,
		     const char *more)
{
	out_fmt(o, "pgweir_%s{database=\"", name);
	out_label(o, p->db);
	out_text(o, "\",user=\"");
	out_label(o, p->user);
	out_fmt(o, "\"%s%s%s} ", p->apart ? ",inner=\"1\"" : "", more ? "," : "", more ? more : "");
}

static const struct pool_value {
	const char *family, *labels, *help;
	size_t at;
} pool_values[] = {
	{ "pool_clients", "state=\"active\"", "Clients of a pool.", 0 },
	{ "pool_clients", "state=\"waiting\"", NULL, offsetof(struct fact_pool, waiting) },
	{ "pool_servers", "state=\"used\"", "Server connections of a pool.",
	  offsetof(struct fact_pool, busy) },
	{ "pool_servers", "state=\"idle\"", NULL, offsetof(struct fact_pool, idle) },
	{ "pool_servers", "state=\"login\"", NULL, offsetof(struct fact_pool, dialling) },
	{ "pool_servers", "state=\"cleaning\"", NULL, offsetof(struct fact_pool, cleaning) },
	{ "pool_size", NULL, "Most server connections that a pool may have, 0: no limit.",
	  offsetof(struct fact_pool, servers_max) },
	{ "pool_pinned_servers", NULL, "Servers that are bound to a client.",
	  offsetof(struct fact_pool, pins) },
};

static void write_pools(struct out *o, const struct metrics *m)
{
	size_t i, k;
	int v;

	for (i = 0; i < sizeof(pool_values) / sizeof(*pool_values); i++) {
		const struct pool_value *row = &pool_values[i];
		bool first = i == 0 || strcmp(pool_values[i - 1].family, row->family) != 0;

		/* all rows of a family stand together, each pool's in a block */
		if (first)
			family(o, m, row->family, GAUGE, NULL, row->help);
		for (k = 0; k < m->f->pool_n; k++) {
			const struct fact_pool *p = &m->f->pool[k];

			v = row->at ? *(const int *)(const void *)((const char *)p + row->at) :
				      p->clients - p->waiting;
			pool_row(o, p, row->family, row->labels);
			out_fmt(o, "%llu\n", (unsigned long long)plus(v));
		}
	}
	family(o, m, "pool_oldest_wait_seconds", GAUGE, "seconds",
	       "How long the client at the head of the line has waited for a server.");
	for (k = 0; k < m->f->pool_n; k++) {
		pool_row(o, &m->f->pool[k], "pool_oldest_wait_seconds", NULL);
		out_seconds(o, m->f->pool[k].wait_us);
		out_text(o, "\n");
	}
}

/* ---- nodes ---- */

static void node_row(struct out *o, const struct fact_node *n, const char *name, const char *key,
		     const char *value)
{
	out_fmt(o, "pgweir_%s{node=\"", name);
	out_label(o, n->name);
	if (key)
		out_fmt(o, "\",%s=\"%s", key, value);
	out_text(o, "\"} ");
}

enum node_value { NODE_LIVE = 0, NODE_CONNS, NODE_DIALS, NODE_CHECK, NODE_LAG, NODE_FAILS };

static void write_node_value(struct out *o, const struct fact_node *n, enum node_value v)
{
	switch (v) {
	case NODE_LIVE:
		out_fmt(o, "%d\n", n->live);
		return;
	case NODE_CONNS:
		out_fmt(o, "%llu\n", (unsigned long long)plus(n->conns));
		return;
	case NODE_DIALS:
		out_fmt(o, "%llu\n", (unsigned long long)plus(n->dialling));
		return;
	case NODE_CHECK:
		out_seconds(o, n->check_us);
		break;
	case NODE_LAG:
		out_seconds(o, n->lag_us);
		break;
	case NODE_FAILS:
		out_fmt(o, "%llu", (unsigned long long)n->fails);
		break;
	}
	out_text(o, "\n");
}

static const struct {
	const char *family, *help;
	enum node_value what;
	enum kind kind;
} node_values[] = {
	{ "node_live", "1: it is given work.", NODE_LIVE, GAUGE },
	{ "node_connections", "Server connections to it, those that log in too.", NODE_CONNS, GAUGE },
	{ "node_dials", "... of these that log in.", NODE_DIALS, GAUGE },
	{ "node_check_seconds", "How long its last good check took.", NODE_CHECK, GAUGE },
	{ "node_lag_seconds", "How far a standby is behind, by the last check that asked.", NODE_LAG,
	  GAUGE },
	{ "node_failures", "Checks and dials that failed.", NODE_FAILS, COUNTER },
};

static const char *const states[] = {
#define X(id, name) name,
	TARGET_STATES(X)
#undef X
	"excluded", "unresolved"
};

static void write_nodes(struct out *o, const struct metrics *m)
{
	const struct facts *f = m->f;
	size_t i, k;
	char name[80];

	for (i = 0; i < sizeof(node_values) / sizeof(*node_values); i++) {
		family(o, m, node_values[i].family, node_values[i].kind,
		       unit_of(node_values[i].family), node_values[i].help);
		for (k = 0; k < f->node_n; k++) {
			(void)snprintf(name, sizeof(name), "%s%s", node_values[i].family,
				       node_values[i].kind == COUNTER ? "_total" : "");
			node_row(o, &f->node[k], name, NULL, NULL);
			write_node_value(o, &f->node[k], node_values[i].what);
		}
	}
	family(o, m, "node_state", GAUGE, NULL, "Its state: 1 for that, 0 for the others.");
	for (k = 0; k < f->node_n; k++)
		for (i = 0; i < sizeof(states) / sizeof(*states); i++) {
			node_row(o, &f->node[k], "node_state", "state", states[i]);
			out_fmt(o, "%d\n", strcmp(states[i], f->node[k].state) == 0);
		}
	family(o, m, "node_role", GAUGE, NULL, "Its role: 1 for that, 0 for the others.");
	for (k = 0; k < f->node_n; k++)
		for (i = 0; i < ROLE_N; i++) {
			node_row(o, &f->node[k], "node_role", "role",
				 target_role_name((enum target_role)i));
			out_fmt(o, "%d\n", f->node[k].role == (enum target_role)i);
		}
}

static void write_dbs(struct out *o, const struct metrics *m)
{
	size_t i;

	family(o, m, "database_nodes", GAUGE, NULL, "Nodes that are configured for a database.");
	for (i = 0; i < m->f->db_n; i++) {
		out_text(o, "pgweir_database_nodes{database=\"");
		out_label(o, m->f->db[i].name);
		out_fmt(o, "\"} %u\n", m->f->db[i].nodes);
	}
	family(o, m, "database_live_nodes", GAUGE, NULL,
	       "... of these that are live and have the role that it asks for.");
	for (i = 0; i < m->f->db_n; i++) {
		out_text(o, "pgweir_database_live_nodes{database=\"");
		out_label(o, m->f->db[i].name);
		out_fmt(o, "\"} %u\n", m->f->db[i].live);
	}
}

void metrics_write(struct out *o, const struct metrics *m)
{
	write_process(o, m);
	write_counters(o, m);
	write_pools(o, m);
	write_nodes(o, m);
	write_dbs(o, m);
	if (m->openmetrics)
		out_text(o, "# EOF\n");
}
