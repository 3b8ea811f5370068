/* proxy/http/healthy.c - see health.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/healthy.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/version.h"

struct reasons {
	health_reason_fn *fn;
	void *arg;
	unsigned n;
};

PRINTF_LIKE(2, 3) static void reason(struct reasons *r, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (r->n++ >= HEALTH_REASONS || !r->fn)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->fn(r->arg, text);
}

static void look_at_nodes(const struct facts *f, uint64_t slow_us, struct reasons *r)
{
	size_t i;

	for (i = 0; i < f->node_n; i++) {
		const struct fact_node *n = &f->node[i];

		if (n->excluded)
			continue;
		if (n->live && slow_us && n->check_us > slow_us)
			reason(r, "the last check of node %.200s took %llu ms", n->name,
			       (unsigned long long)(n->check_us / 1000));
		else if (!n->live && n->t && !n->checked)
			reason(r, "node %.200s has not been checked yet", n->name);
		else if (!n->live)
			reason(r, "node %.200s is %s", n->name, n->lagging ? "lagging" : n->state);
	}
	if (f->node_left > f->node_left_live)
		reason(r, "%zu more nodes are not live", f->node_left - f->node_left_live);
}

enum health_word health_word_of(const struct facts *f, uint64_t slow_us, health_reason_fn *fn, void *arg)
{
	struct reasons r = { .fn = fn, .arg = arg };
	size_t i, live = f->db_left_live;

	for (i = 0; i < f->db_n; i++) {
		live += f->db[i].live > 0;
		if (!f->db[i].live)
			reason(&r, "database %.200s has no live node%s", f->db[i].name,
			       f->db[i].nodes ? " of the role that it asks for" : "");
	}
	if (f->db_left > f->db_left_live)
		reason(&r, "%zu more databases have no live node", f->db_left - f->db_left_live);
	look_at_nodes(f, slow_us, &r);
	if (slow_us && f->all.wait_us > slow_us)
		reason(&r, "a client has waited %llu ms for a server",
		       (unsigned long long)(f->all.wait_us / 1000));
	if (!live)
		return UNHEALTHY;
	return r.n ? DEGRADED : HEALTHY;
}

const char *health_word_name(enum health_word v)
{
	return v == HEALTHY ? "healthy" : v == DEGRADED ? "degraded" : "unhealthy";
}

const char *running_name(enum running r)
{
	static const char *const name[RUNNING_N] = { "running", "paused", "draining", "stopping" };

	return name[r];
}

const char *health_not_ready(const struct facts *f, enum running r)
{
	size_t i;

	if (r != RUNNING)
		return running_name(r);
	if (f->db_left_live)
		return NULL;
	for (i = 0; i < f->db_n; i++)
		if (f->db[i].live)
			return NULL;
	return "no live node";
}

/* ---- JSON ---- */

struct list {
	struct out *o;
	bool more;
};

static void say_reason(void *arg, const char *text)
{
	struct list *l = arg;

	out_text(l->o, l->more ? ",\"" : "\"");
	out_json(l->o, text);
	out_text(l->o, "\"");
	l->more = true;
}

void health_reasons_json(struct out *o, const struct facts *f, uint64_t slow_us)
{
	struct list l = { .o = o };

	out_text(o, "\"reasons\":[");
	(void)health_word_of(f, slow_us, say_reason, &l);
	out_text(o, "]");
}

void health_nodes_json(struct out *o, const struct facts *f)
{
	size_t i;

	out_text(o, "\"nodes\":[");
	for (i = 0; i < f->node_n; i++) {
		const struct fact_node *n = &f->node[i];

		out_text(o, i ? ",{\"node\":\"" : "{\"node\":\"");
		out_json(o, n->name);
		out_fmt(o, "\",\"state\":\"%s\",\"role\":\"%s\",\"live\":%s", n->state,
			target_role_name(n->role), n->live ? "true" : "false");
		if (n->check_us) {
			out_text(o, ",\"latency_ms\":");
			out_millis(o, n->check_us);
		}
		if (n->role == ROLE_STANDBY) {
			out_text(o, ",\"lag_ms\":");
			out_millis(o, n->lag_us);
		}
		out_fmt(o, ",\"connections\":%d,\"dialling\":%d,\"failures\":%llu}", n->conns,
			n->dialling, (unsigned long long)n->fails);
	}
	out_text(o, "]");
}

void health_json(struct out *o, const struct facts *f, enum running r, uint64_t slow_us)
{
	size_t i, live = f->node_left_live, dbs = f->db_left_live;
	uint64_t longest = 0;

	for (i = 0; i < f->node_n; i++) {
		live += f->node[i].live;
		if (f->node[i].live && f->node[i].check_us > longest)
			longest = f->node[i].check_us;
	}
	for (i = 0; i < f->db_n; i++)
		dbs += f->db[i].live > 0;
	out_fmt(o, "{\"status\":\"%s\",\"state\":\"%s\",\"version\":\"%s\",",
		health_word_name(health_word_of(f, slow_us, NULL, NULL)), running_name(r), PGWEIR_VERSION);
	health_reasons_json(o, f, slow_us);
	out_fmt(o, ",\"live_nodes\":%zu,\"total_nodes\":%zu,\"live_databases\":%zu,"
		   "\"total_databases\":%zu,\"latency_ms\":",
		live, f->node_n + f->node_left, dbs, f->db_n + f->db_left);
	if (live)
		out_millis(o, longest);
	else
		out_text(o, "null");
	out_fmt(o, ",\"clients\":%d,\"waiting_clients\":%d,\"longest_wait_ms\":", f->clients,
		f->all.waiting);
	out_millis(o, f->all.wait_us);
	out_text(o, ",");
	health_nodes_json(o, f);
	out_text(o, "}\n");
}

void health_ready_json(struct out *o, const struct facts *f, enum running r)
{
	const char *why = health_not_ready(f, r);

	if (why)
		out_fmt(o, "{\"ready\":false,\"reason\":\"%s\"}\n", why);
	else
		out_text(o, "{\"ready\":true}\n");
}
