/* proxy/http/metrics.c - see metrics.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "conf/version.h"
#include "http/counters.h"
#include "http/family.h"

/* ---- gauges ---- */

static void gauge(struct out *o, const struct metrics *m, const char *name, const char *help,
		  uint64_t v)
{
	family_begin(o, m->openmetrics, name, FAMILY_GAUGE, family_unit(name), help);
	out_fmt(o, "pgweir_%s %llu\n", name, (unsigned long long)v);
}

static uint64_t plus(int64_t v)
{
	return v > 0 ? (uint64_t)v : 0;
}

static void write_process(struct out *o, const struct metrics *m)
{
	size_t i;

	family_begin(o, m->openmetrics, "build_info", FAMILY_GAUGE, NULL, "Which pgweir this is; always 1.");
	out_text(o, "pgweir_build_info{version=\"" PGWEIR_VERSION "\"} 1\n");
	gauge(o, m, "start_time_seconds", "When it began, since 1970.", plus(m->started_s));
	gauge(o, m, "workers", "Worker threads.", m->workers);
	family_begin(o, m->openmetrics, "state", FAMILY_GAUGE, NULL, "What it does: 1 for that, 0 for the others.");
	for (i = 0; i < RUNNING_N; i++)
		out_fmt(o, "pgweir_state{state=\"%s\"} %d\n", running_name((enum running)i),
			m->running == (enum running)i);
	family_begin(o, m->openmetrics, "health", FAMILY_GAUGE, NULL, "The word of /health: 1 for that, 0 for the others.");
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
			family_begin(o, m->openmetrics, row->family, FAMILY_GAUGE, NULL, row->help);
		for (k = 0; k < m->f->pool_n; k++) {
			const struct fact_pool *p = &m->f->pool[k];

			v = row->at ? *(const int *)(const void *)((const char *)p + row->at) :
				      p->clients - p->waiting;
			pool_row(o, p, row->family, row->labels);
			out_fmt(o, "%llu\n", (unsigned long long)plus(v));
		}
	}
	family_begin(o, m->openmetrics, "pool_oldest_wait_seconds", FAMILY_GAUGE, "seconds",
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
	enum family_kind kind;
} node_values[] = {
	{ "node_live", "1: it is given work.", NODE_LIVE, FAMILY_GAUGE },
	{ "node_connections", "Server connections to it, those that log in too.", NODE_CONNS, FAMILY_GAUGE },
	{ "node_dials", "... of these that log in.", NODE_DIALS, FAMILY_GAUGE },
	{ "node_check_seconds", "How long its last good check took.", NODE_CHECK, FAMILY_GAUGE },
	{ "node_lag_seconds", "How far a standby is behind, by the last check that asked.", NODE_LAG,
	  FAMILY_GAUGE },
	{ "node_failures", "Checks and dials that failed.", NODE_FAILS, FAMILY_COUNTER },
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
		family_begin(o, m->openmetrics, node_values[i].family, node_values[i].kind,
		       family_unit(node_values[i].family), node_values[i].help);
		for (k = 0; k < f->node_n; k++) {
			(void)snprintf(name, sizeof(name), "%s%s", node_values[i].family,
				       node_values[i].kind == FAMILY_COUNTER ? "_total" : "");
			node_row(o, &f->node[k], name, NULL, NULL);
			write_node_value(o, &f->node[k], node_values[i].what);
		}
	}
	family_begin(o, m->openmetrics, "node_state", FAMILY_GAUGE, NULL, "Its state: 1 for that, 0 for the others.");
	for (k = 0; k < f->node_n; k++)
		for (i = 0; i < sizeof(states) / sizeof(*states); i++) {
			node_row(o, &f->node[k], "node_state", "state", states[i]);
			out_fmt(o, "%d\n", strcmp(states[i], f->node[k].state) == 0);
		}
	family_begin(o, m->openmetrics, "node_role", FAMILY_GAUGE, NULL, "Its role: 1 for that, 0 for the others.");
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

	family_begin(o, m->openmetrics, "database_nodes", FAMILY_GAUGE, NULL, "Nodes that are configured for a database.");
	for (i = 0; i < m->f->db_n; i++) {
		out_text(o, "pgweir_database_nodes{database=\"");
		out_label(o, m->f->db[i].name);
		out_fmt(o, "\"} %u\n", m->f->db[i].nodes);
	}
	family_begin(o, m->openmetrics, "database_live_nodes", FAMILY_GAUGE, NULL,
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
	counters_write(o, m->openmetrics, m->t, m->of);
	write_pools(o, m);
	write_nodes(o, m);
	write_dbs(o, m);
	if (m->openmetrics)
		out_text(o, "# EOF\n");
}
