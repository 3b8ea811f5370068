/* tests/sim/faults.c - what goes wrong, and when.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdlib.h>

#include "world_in.h"

struct moment {
	struct world *w;
	enum fault kind;
	unsigned node;
	uint64_t length_us;
};

const char *fault_name(enum fault f)
{
	static const char *const name[FAULT_N] = {
#define X(id, text) [id] = text,
		FAULTS(X)
#undef X
	};

	return name[f];
}

static void over(void *arg)
{
	struct moment *m = arg;
	struct node *n = &m->w->cluster.nodes[m->node];

	switch (m->kind) {
	case FAULT_KILL:
	case FAULT_DRAIN:
	case FAULT_PROMOTE:
		if ((!n->host.up || n->draining) && m->w->s.now_us >= n->down_until_us)
			node_start(n);
		break;
	case FAULT_SILENCE:
		node_silence(n, false);
		break;
	case FAULT_SLOW:
		n->host.slow_us = 0;
		break;
	case FAULT_SCARCE:
		net_scarce(m->w->net, 0);
		break;
	case FAULT_DISTURB:
		store_disturb(m->w->cluster.store, 0, 0);
		break;
	case FAULT_MEMORY:
		memory_fail(0, 0);
		break;
	case FAULT_CUT:
	case FAULT_RELOAD:
	case FAULT_SHUTDOWN:
	case FAULT_N:
	default:
		break;
	}
	free(m);
}

static void promote(struct world *w, struct moment *m)
{
	unsigned i, old = 0;

	for (i = 0; i < w->nodes; i++)
		if (!w->cluster.nodes[i].standby)
			old = i;
	m->node = old;
	node_kill(&w->cluster.nodes[old]);
	cluster_promote(&w->cluster, (old + 1) % w->nodes);
}

/* What it may do to clients, from now on. */
static unsigned allows(enum fault kind)
{
	switch (kind) {
	case FAULT_KILL:
	case FAULT_CUT:
	case FAULT_SILENCE:
	case FAULT_DRAIN:
	case FAULT_PROMOTE:
		return MAY_LOSE | MAY_CLOSE | MAY_WAIT;
	case FAULT_SCARCE:
		return MAY_WAIT | MAY_CLOSE;
	case FAULT_SHUTDOWN:
		return MAY_CLOSE;
	case FAULT_MEMORY:
		return MAY_MEMORY | MAY_LOSE | MAY_CLOSE | MAY_WAIT;
	case FAULT_RELOAD:
		return MAY_WAIT | MAY_CLOSE | MAY_PIN;
	case FAULT_SLOW:
	case FAULT_DISTURB:
	case FAULT_N:
	default:
		return 0;
	}
}

static void strike(void *arg)
{
	struct moment *m = arg;
	struct world *w = m->w;
	struct node *n = &w->cluster.nodes[m->node];

	/* what was a primary does not come back before it is known to be none (25006 after
	 * a switchover is another matter) */
	if (m->kind == FAULT_PROMOTE)
		m->length_us += 1000000;
	sim_trace(&w->s, "fault %s node%u for %.3f s", fault_name(m->kind), m->node,
		  (double)m->length_us / 1e6);
	world_may(w, allows(m->kind));
	switch (m->kind) {
	case FAULT_KILL:
		node_kill(n);
		break;
	case FAULT_CUT:
		if (rng_chance(&w->fate, 50))
			node_cut_commit(n);
		else
			node_cut_one(n);
		break;
	case FAULT_SILENCE:
		node_silence(n, true);
		break;
	case FAULT_DRAIN:
		node_drain(n);
		break;
	case FAULT_SLOW:
		n->host.slow_us = rng_between(&w->fate, 100, 200000);
		break;
	case FAULT_SCARCE:
		net_scarce(w->net, rng_between(&w->fate, 20, 100));
		break;
	case FAULT_DISTURB:
		store_disturb(w->cluster.store, rng_between(&w->fate, 5, 60), w->s.seed);
		break;
	case FAULT_RELOAD:
		world_resettle(w);
		world_reload(w);
		break;
	case FAULT_PROMOTE:
		promote(w, m);
		break;
	case FAULT_SHUTDOWN:
		world_tell_end(w);
		break;
	case FAULT_MEMORY:
		memory_fail(rng_between(&w->fate, 1, 30), w->s.seed);
		break;
	case FAULT_N:
	default:
		break;
	}
	n = &w->cluster.nodes[m->node]; /* a promotion is of whom it finds */
	if (m->kind == FAULT_KILL || m->kind == FAULT_DRAIN || m->kind == FAULT_PROMOTE)
		if (w->s.now_us + m->length_us > n->down_until_us)
			n->down_until_us = w->s.now_us + m->length_us;
	sim_at_owned(&w->s, m->length_us, over, m);
}

void world_faults(struct world *w)
{
	static const unsigned lengths[] = { 1000, 20000, 300000, 4000000 };
	unsigned kinds[FAULT_N], n = 0, i;

	for (i = 0; i < FAULT_N; i++)
		if (w->faults >> i & 1)
			kinds[n++] = i;
	for (i = 0; n && i < w->moments; i++) {
		struct moment *m = calloc(1, sizeof(*m));

		if (!m)
			abort();
		m->w = w;
		m->kind = (enum fault)kinds[rng_below(&w->fate, n)];
		m->node = rng_below(&w->fate, w->nodes);
		m->length_us = 1 + rng_below(&w->fate, lengths[rng_below(&w->fate, 4)]);
		w->t.moments++;
		sim_at_owned(&w->s, 1000 + rng_below(&w->fate, rng_chance(&w->fate, 70) ? 60000 : 600000),
		       strike, m);
	}
}
