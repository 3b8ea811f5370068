/* proxy/http/status.c - see status.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/status.h"

#include <stdlib.h>
#include <string.h>

#include "conf/version.h"

static uint32_t diff(uint64_t now, uint64_t before)
{
	uint64_t d = now > before ? now - before : 0;

	return d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

struct seats {
	int busy, waiting;
};

static void on_hub(void *arg, struct hub *hub)
{
	struct seats *n = arg;
	unsigned i;

	for (i = 0; i < hub->worker_n; i++) {
		n->busy += atomic_load_explicit(&hub->side[i].busy, memory_order_relaxed);
		n->waiting += atomic_load_explicit(&hub->side[i].waiting, memory_order_relaxed);
	}
}

/* Of all databases. */
static int read_times(struct hist_sum *to, struct shared *sh, uint64_t now_us)
{
	struct meter_sum *s = malloc(sizeof(*s));

	if (!s)
		return -1;
	meters_total(&sh->meters, now_us, s, NULL);
	*to = s->hist[METER_QUERY];
	free(s);
	return 0;
}

static uint64_t p99(struct status *s, struct shared *sh, uint64_t now_us)
{
	struct hist_sum now, *before = &s->times[s->seq % STATUS_TIMES], was = *before;

	if (read_times(&now, sh, now_us))
		return 0;
	*before = now;
	hist_sum_since(&now, &was);
	return hist_quantile(&now, 99000);
}

void status_init(struct status *s, struct shared *sh, uint64_t now_us)
{
	unsigned i;

	memset(s, 0, sizeof(*s));
	s->at_us = now_us;
	totals_read(&s->last, sh);
	for (i = 0; i < STATUS_TIMES; i++)
		(void)read_times(&s->times[i], sh, now_us);
}

void status_tick(struct status *s, struct shared *sh, uint64_t now_us)
{
	struct moment *m = &s->ring[s->seq % STATUS_SECONDS];
	struct seats n = { 0 };
	struct totals t;

	totals_read(&t, sh);
	hubs_each(&sh->hubs, on_hub, &n);
	m->queries = diff(t.queries, s->last.queries);
	m->xacts = diff(t.xacts, s->last.xacts);
	m->absorbed = diff(totals_absorbed(&t), totals_absorbed(&s->last));
	m->busy = n.busy > 0 ? (uint32_t)n.busy : 0;
	m->waiting = n.waiting > 0 ? (uint32_t)n.waiting : 0;
	m->p99_us = p99(s, sh, now_us);
	m->span_ms = diff(now_us, s->at_us) / 1000;
	s->last = t;
	s->at_us = now_us;
	s->seq++;
}

/* ---- JSON ---- */

static uint32_t per_second(uint32_t n, uint32_t span_ms)
{
	return span_ms ? (uint32_t)((uint64_t)n * 1000 / span_ms) : n;
}

static void say_history(struct out *o, const struct status *s, uint64_t after)
{
	uint64_t from = s->seq > STATUS_SECONDS ? s->seq - STATUS_SECONDS : 0, i;

	if (after <= s->seq && after > from)
		from = after;
	out_fmt(o, "\"seq\":%llu,\"history\":[", (unsigned long long)s->seq);
	for (i = from; i < s->seq; i++) {
		const struct moment *m = &s->ring[i % STATUS_SECONDS];

		out_fmt(o, "%s[%u,%u,", i > from ? "," : "", per_second(m->queries, m->span_ms),
			per_second(m->xacts, m->span_ms));
		if (m->p99_us)
			out_millis(o, m->p99_us);
		else
			out_text(o, "null");
		out_fmt(o, ",%u,%u,%u]", m->absorbed, m->busy, m->waiting);
	}
	out_text(o, "]");
}

static int by_load(const void *a, const void *b)
{
	const struct fact_pool *x = a, *y = b;
	int c = y->waiting - x->waiting;

	if (!c)
		c = y->servers + y->clients - x->servers - x->clients;
	if (!c)
		c = strcmp(x->db, y->db);
	return c ? c : strcmp(x->user, y->user);
}

static void say_pool(struct out *o, const struct fact_pool *p)
{
	out_text(o, "{\"database\":\"");
	out_json(o, p->db);
	out_text(o, "\",\"user\":\"");
	out_json(o, p->user);
	out_fmt(o, "\",\"clients\":%d,\"waiting\":%d,\"used\":%d,\"idle\":%d,\"login\":%d,"
		   "\"size\":%d,\"longest_wait_ms\":",
		p->clients, p->waiting, p->busy + p->cleaning, p->idle, p->dialling,
		p->servers_max);
	out_millis(o, p->wait_us);
	out_text(o, "}");
}

static void say_pools(struct out *o, const struct facts *f)
{
	struct fact_pool *sorted = calloc(f->pool_n + 1, sizeof(*sorted));
	size_t i;

	if (!sorted) {
		o->bad = true;
		return;
	}
	memcpy(sorted, f->pool, f->pool_n * sizeof(*sorted));
	qsort(sorted, f->pool_n, sizeof(*sorted), by_load);
	out_fmt(o, "\"pool_count\":%zu,\"pools\":[", f->pools);
	for (i = 0; i < f->pool_n && i < STATUS_POOLS; i++) {
		if (i)
			out_text(o, ",");
		say_pool(o, &sorted[i]);
	}
	out_text(o, "]");
	free(sorted);
}

void status_json(struct out *o, const struct status *s, const struct facts *f,
		 const struct totals *t, enum running r, uint64_t slow_us, uint64_t after)
{
	out_fmt(o, "{\"status\":\"%s\",\"state\":\"%s\",\"version\":\"%s\",",
		health_word_name(health_word_of(f, slow_us, NULL, NULL)), running_name(r), PGWEIR_VERSION);
	health_reasons_json(o, f, slow_us);
	out_text(o, ",");
	health_nodes_json(o, f);
	out_fmt(o, ",\"more_nodes\":%zu,\"clients\":%d,\"clients_max\":%d,"
		   "\"waiting\":%d,\"used\":%d,\"servers\":%d,",
		f->node_left, f->clients, f->clients_max, f->all.waiting,
		f->all.busy + f->all.cleaning, f->all.servers);
	say_pools(o, f);
	out_fmt(o, ",\"absorbed\":{\"total\":%llu,\"retried\":%llu,\"replayed\":%llu,\"moved\":%llu,"
		   "\"commits_found\":%llu},",
		(unsigned long long)totals_absorbed(t), (unsigned long long)t->retry_ok,
		(unsigned long long)t->replay_ok, (unsigned long long)t->moved,
		(unsigned long long)t->retry_commits_found);
	say_history(o, s, after);
	out_text(o, "}\n");
}
