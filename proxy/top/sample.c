/* proxy/top/sample.c - see sample.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/sample.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const asks[TOP_ASK_N] = {
	[TOP_ASK_NODES] = "SHOW NODES",		[TOP_ASK_POOLS] = "SHOW POOLS",
	[TOP_ASK_COUNTERS] = "SHOW COUNTERS",	[TOP_ASK_STATS] = "SHOW STATS",
	[TOP_ASK_RETRIES] = "SHOW RETRIES",	[TOP_ASK_HISTOGRAMS] = "SHOW HISTOGRAMS",
	[TOP_ASK_LISTS] = "SHOW LISTS",
};

static const struct {
	const char *ours, *theirs;
} names[TOP_COUNTER_N] = {
#define X(id, o, t) [id] = { o, t },
	TOP_COUNTERS(X)
#undef X
};

const char *top_ask_sql(enum top_ask a)
{
	return asks[a];
}

void sample_free(struct top_sample *s)
{
	free(s->nodes);
	free(s->pools);
	*s = (struct top_sample){ 0 };
}

void sample_clear(struct top_sample *s)
{
	size_t i;

	sample_free(s);
	for (i = 0; i < TOP_COUNTER_N; i++)
		s->counter[i] = TOP_UNKNOWN;
	s->wait_p99_us = s->query_p99_us = s->xact_p99_us = TOP_UNKNOWN;
	s->clients = s->servers = TOP_UNKNOWN;
}

int sample_copy(struct top_sample *to, const struct top_sample *from)
{
	struct top_node *nodes = calloc(from->node_n + 1, sizeof(*nodes));
	struct top_pool *pools = calloc(from->pool_n + 1, sizeof(*pools));

	sample_clear(to);
	if (!nodes || !pools) {
		free(nodes);
		free(pools);
		return -1;
	}
	*to = *from;
	to->nodes = nodes;
	to->pools = pools;
	if (from->node_n)
		memcpy(nodes, from->nodes, from->node_n * sizeof(*nodes));
	if (from->pool_n)
		memcpy(pools, from->pools, from->pool_n * sizeof(*pools));
	return 0;
}

/* ---- columns ---- */

static void text(const PGresult *r, int row, int col, char *out, size_t cap)
{
	const char *v = col < 0 || PQgetisnull(r, row, col) ? "" : PQgetvalue(r, row, col);

	(void)snprintf(out, cap, "%s", v);
}

static uint64_t number(const PGresult *r, int row, int col)
{
	const char *v;
	char *end;
	unsigned long long n;

	if (col < 0 || PQgetisnull(r, row, col))
		return TOP_UNKNOWN;
	v = PQgetvalue(r, row, col);
	errno = 0;
	n = strtoull(v, &end, 10);
	return end == v || errno || *v == '-' ? TOP_UNKNOWN : (uint64_t)n;
}

/* The first of these columns that is there; the list ends with NULL. */
static int column(const PGresult *r, const char *const *list)
{
	int c;

	for (; *list; list++) {
		c = PQfnumber(r, *list);
		if (c >= 0)
			return c;
	}
	return -1;
}
#define COLUMN(r, ...) column(r, (const char *const[]){ __VA_ARGS__, NULL })

static uint64_t known(uint64_t v)
{
	return v == TOP_UNKNOWN ? 0 : v;
}

/* How many rows of size are kept of those of r. -1: out of memory. */
static int room(const PGresult *r, size_t size, void **out, size_t *n, size_t *all)
{
	void *p;

	*all = (size_t)PQntuples(r);
	*n = *all < TOP_ROWS_MAX ? *all : TOP_ROWS_MAX;
	p = calloc(*n + 1, size);
	if (!p) {
		*n = *all = 0;
		return -1;
	}
	free(*out);
	*out = p;
	return 0;
}

/* ---- answers ---- */

static int take_nodes(struct top_sample *s, const PGresult *r)
{
	int name = PQfnumber(r, "node"), state = PQfnumber(r, "state"), role = PQfnumber(r, "role"),
	    zone = PQfnumber(r, "zone"), conns = COLUMN(r, "conns", "connections"),
	    latency = COLUMN(r, "latency_us", "probe_us"), lag = PQfnumber(r, "lag_us"),
	    fails = PQfnumber(r, "fails");
	void *p = s->nodes;
	size_t i;

	if (room(r, sizeof(*s->nodes), &p, &s->node_n, &s->node_all))
		return -1;
	s->nodes = p;
	for (i = 0; i < s->node_n; i++) {
		struct top_node *n = &s->nodes[i];

		text(r, (int)i, name, n->name, sizeof(n->name));
		text(r, (int)i, state, n->state, sizeof(n->state));
		text(r, (int)i, role, n->role, sizeof(n->role));
		text(r, (int)i, zone, n->zone, sizeof(n->zone));
		n->conns = number(r, (int)i, conns);
		n->latency_us = number(r, (int)i, latency);
		n->lag_us = number(r, (int)i, lag);
		n->fails = number(r, (int)i, fails);
		text(r, (int)i, PQfnumber(r, "last_error"), n->error, sizeof(n->error));
	}
	return 0;
}

/* Servers of a pool, in whichever states a daemon tells. */
static uint64_t servers(const PGresult *r, int row, const char *const *states)
{
	uint64_t n = 0;

	for (; *states; states++)
		n += known(number(r, row, PQfnumber(r, *states)));
	return n;
}

static int take_pools(struct top_sample *s, const PGresult *r)
{
	static const char *const busy[] = { "sv_active", "sv_login", "sv_tested", "sv_cleaning",
					    "sv_active_cancel", "sv_being_canceled", NULL };
	static const char *const idle[] = { "sv_idle", "sv_used", NULL };
	int max = COLUMN(r, "pool_size", "max_server_connections");
	void *p = s->pools;
	size_t i, n = 0;

	if (room(r, sizeof(*s->pools), &p, &s->pool_n, &s->pool_all))
		return -1;
	s->pools = p;
	for (i = 0; i < s->pool_n; i++) {
		struct top_pool *o = &s->pools[n];
		uint64_t us;

		text(r, (int)i, PQfnumber(r, "database"), o->db, sizeof(o->db));
		text(r, (int)i, PQfnumber(r, "user"), o->user, sizeof(o->user));
		o->clients = number(r, (int)i, PQfnumber(r, "cl_active"));
		o->waiting = known(number(r, (int)i, PQfnumber(r, "cl_waiting")));
		o->used = servers(r, (int)i, busy);
		o->idle = servers(r, (int)i, idle);
		o->max = number(r, (int)i, max);
		us = known(number(r, (int)i, PQfnumber(r, "maxwait_us")));
		o->maxwait_us = known(number(r, (int)i, PQfnumber(r, "maxwait"))) * 1000000 + us;
		/* the console is no pool */
		if (strcmp(o->db, "pgbouncer") != 0 && strcmp(o->db, "pgweir") != 0)
			n++;
	}
	s->pool_all -= s->pool_n - n;
	s->pool_n = n;
	return 0;
}

/* Rows of a name and a number; what is known already stays. */
static void take_named(struct top_sample *s, const PGresult *r)
{
	int i, rows = PQntuples(r), name = PQfnumber(r, "name"), value = PQfnumber(r, "value");
	size_t c;

	if (name < 0 || value < 0)
		return;
	for (i = 0; i < rows; i++)
		for (c = 0; c < TOP_COUNTER_N; c++)
			if (s->counter[c] == TOP_UNKNOWN &&
			    strcmp(PQgetvalue(r, i, name), names[c].ours) == 0)
				s->counter[c] = number(r, i, value);
}

/* A row for each database, the console's apart; or, of an older daemon, as above. */
static void take_stats(struct top_sample *s, const PGresult *r)
{
	int i, rows = PQntuples(r), db = PQfnumber(r, "database"), col;
	size_t c;

	take_named(s, r);
	for (c = 0; db >= 0 && c < TOP_COUNTER_N; c++) {
		uint64_t sum = 0;

		col = *names[c].theirs ? PQfnumber(r, names[c].theirs) : -1;
		if (col < 0)
			continue;
		for (i = 0; i < rows; i++)
			if (strcmp(PQgetvalue(r, i, db), "pgbouncer") != 0 &&
			    strcmp(PQgetvalue(r, i, db), "pgweir") != 0)
				sum += known(number(r, i, col));
		s->counter[c] = sum;
	}
}

/* The longest p99 of all databases, of the last minutes. */
static void take_histograms(struct top_sample *s, const PGresult *r)
{
	int kind = PQfnumber(r, "kind"), what = PQfnumber(r, "histogram"),
	    p99 = PQfnumber(r, "recent_p99_us"), n = PQfnumber(r, "recent_count"), i;

	for (i = 0; what >= 0 && p99 >= 0 && i < PQntuples(r); i++) {
		const char *w = PQgetvalue(r, i, what);
		uint64_t v = number(r, i, p99), *to = strcmp(w, "wait") == 0  ? &s->wait_p99_us :
						      strcmp(w, "query") == 0 ? &s->query_p99_us :
						      strcmp(w, "transaction") == 0 ? &s->xact_p99_us :
										      NULL;

		if (!to || v == TOP_UNKNOWN || (n >= 0 && number(r, i, n) == 0) ||
		    (kind >= 0 && strcmp(PQgetvalue(r, i, kind), "node") == 0))
			continue;
		if (*to == TOP_UNKNOWN || v > *to)
			*to = v;
	}
}

static void take_lists(struct top_sample *s, const PGresult *r)
{
	int list = PQfnumber(r, "list"), items = PQfnumber(r, "items"), i;

	for (i = 0; list >= 0 && items >= 0 && i < PQntuples(r); i++) {
		const char *w = PQgetvalue(r, i, list);
		uint64_t v = number(r, i, items);

		if (strcmp(w, "clients") == 0 || strcmp(w, "used_clients") == 0)
			s->clients = v;
		else if (strcmp(w, "servers") == 0)
			s->servers = v;
		else if (strcmp(w, "used_servers") == 0 || strcmp(w, "free_servers") == 0)
			s->servers = known(s->servers) + known(v);
	}
}

int sample_take(struct top_sample *s, enum top_ask a, const PGresult *r)
{
	switch (a) {
	case TOP_ASK_NODES:
		return take_nodes(s, r);
	case TOP_ASK_POOLS:
		return take_pools(s, r);
	case TOP_ASK_COUNTERS:
	case TOP_ASK_RETRIES:
		take_named(s, r);
		return 0;
	case TOP_ASK_STATS:
		take_stats(s, r);
		return 0;
	case TOP_ASK_HISTOGRAMS:
		take_histograms(s, r);
		return 0;
	case TOP_ASK_LISTS:
		take_lists(s, r);
		return 0;
	case TOP_ASK_N:
		break;
	}
	return 0;
}

/* ---- from one to the next ---- */

double sample_rate(const struct top_sample *a, const struct top_sample *b, enum top_counter c)
{
	if (a->counter[c] == TOP_UNKNOWN || b->counter[c] == TOP_UNKNOWN || b->at_us <= a->at_us ||
	    b->counter[c] < a->counter[c])
		return -1;
	return (double)(b->counter[c] - a->counter[c]) * 1e6 / (double)(b->at_us - a->at_us);
}

double sample_mean_wait_us(const struct top_sample *a, const struct top_sample *b)
{
	double n = sample_rate(a, b, TOP_WAITS), us = sample_rate(a, b, TOP_WAIT_US);

	if (n < 0 || us < 0)
		return -1;
	return n > 0 ? us / n : 0;
}
