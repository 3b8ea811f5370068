/* proxy/top/order.c - see order.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "top/order.h"

#include <stdlib.h>
#include <string.h>

const char *order_pools_name(enum pool_order o)
{
	static const char *const name[POOL_ORDERS] = { "waiting", "used", "clients", "longest", "name" };

	return name[o];
}

const char *order_nodes_name(enum node_order_by o)
{
	static const char *const name[NODE_ORDERS] = { "given", "state", "latency", "connections" };

	return name[o];
}

int order_badness(const struct top_node *n)
{
	static const char *const bad[] = { "down", "unresolved", "excluded" };
	size_t i;

	if (strcmp(n->state, "up") == 0)
		return 0;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (strcmp(n->state, bad[i]) == 0)
			return 2;
	return 1;
}

/* Larger numbers first; what is not known is least. */
static int more(uint64_t a, uint64_t b)
{
	a = a == TOP_UNKNOWN ? 0 : a + 1;
	b = b == TOP_UNKNOWN ? 0 : b + 1;
	return a < b ? 1 : a > b ? -1 : 0;
}

static int pool_names(const struct top_pool *a, const struct top_pool *b)
{
	int d = strcmp(a->db, b->db);

	return d ? d : strcmp(a->user, b->user);
}

static int by_pool(const void *x, const void *y, void *arg)
{
	const struct order *o = arg;
	const struct top_pool *a = x, *b = y;
	int d = 0;

	switch (o->pools) {
	case POOLS_WAITING:
		d = more(a->waiting, b->waiting);
		d = d ? d : more(a->used, b->used);
		break;
	case POOLS_USED:
		d = more(a->used, b->used);
		break;
	case POOLS_CLIENTS:
		d = more(a->clients, b->clients);
		break;
	case POOLS_LONGEST:
		d = more(a->maxwait_us, b->maxwait_us);
		break;
	case POOLS_NAME:
	case POOL_ORDERS:
		break;
	}
	d = d ? d : pool_names(a, b);
	return o->reverse ? -d : d;
}

static int by_node(const void *x, const void *y, void *arg)
{
	const struct order *o = arg;
	const struct top_node *a = x, *b = y;
	int d = 0;

	switch (o->nodes) {
	case NODES_STATE:
		d = order_badness(b) - order_badness(a);
		break;
	case NODES_LATENCY:
		d = more(a->latency_us, b->latency_us);
		break;
	case NODES_CONNS:
		d = more(a->conns, b->conns);
		break;
	case NODES_TOLD:
	case NODE_ORDERS:
		break;
	}
	d = d ? d : strcmp(a->name, b->name);
	return o->reverse ? -d : d;
}

void order_sort(const struct order *o, struct top_sample *s)
{
	struct order by = *o;

	if (s->pool_n)
		qsort_r(s->pools, s->pool_n, sizeof(*s->pools), by_pool, &by);
	/* those of the console stand as they are written in the configuration */
	if (s->node_n && (o->nodes != NODES_TOLD || o->reverse))
		qsort_r(s->nodes, s->node_n, sizeof(*s->nodes), by_node, &by);
}
