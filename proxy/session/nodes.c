/* proxy/session/nodes.c - see nodes.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/nodes.h"

#include <string.h>

#include "session/server.h"
#include "session/shard.h"

/* Workers ask for a check of one node at most so often, all together. */
#define ASK_US 100000u
/* Dead zone around a node's share: a seventh, and always one connection. */
#define DEAD_ZONE 7
/* A node that had no room is not counted on for so long. */
#define FULL_US 60000000u

static struct pick_rule rule_of(const struct shard *sh)
{
	const struct conf_global *g = &sh->snap->conf->g;

	return (struct pick_rule){
		.attrs = shard_attrs(sh),
		.how = (enum balance)CONF_PICK(CONF_UNSET, sh->db->conf->k.load_balance_hosts,
					       g->load_balance_hosts),
		.limits = { (int)g->max_node_connections, (int)g->max_node_logins },
		.slow_us = (uint64_t)g->slowstart,
	};
}

/* All nodes that would suit are out: they are used as they are. */
static bool in_panic(const struct shard *sh)
{
	return pick_best(sh->db->nodes, sh->db->node_n, shard_attrs(sh)) <= SUIT_PANIC;
}

/* ---- dialling ---- */

static void dial_later(struct shard *sh, uint64_t at_us)
{
	deadline_set(&sh->h->w, DL_DIAL, &sh->dial_dl, at_us);
}

void nodes_back_off(struct shard *sh)
{
	uint64_t pause = (uint64_t)sh->snap->conf->g.server_login_retry;

	sh->tried = 0;
	pause = pause / 2 + worker_random(&sh->h->w) % (pause / 2 + 1);
	sh->dial_after_us = sh->h->w.now_us + pause;
	dial_later(sh, sh->dial_after_us);
}

static uint64_t bit_of(const struct shard *sh, const struct target *t)
{
	uint64_t bits = 0;
	size_t i;

	for (i = 0; i < sh->db->node_n && i < PICK_TRIED; i++)
		if (sh->db->nodes[i].t == t)
			bits |= (uint64_t)1 << i;
	return bits;
}

void nodes_tried(struct shard *sh, const struct target *t)
{
	sh->tried |= bit_of(sh, t);
}

void nodes_avoid(struct shard *sh, const struct target *t)
{
	sh->avoid |= bit_of(sh, t);
}

void nodes_slow(struct server *s)
{
	pool_slow(&s->ps);
	nodes_avoid(s->shard, s->target);
	nodes_seen(s->h, s->target, SEEN_SLOW);
}

/* A dial of this shard that takes long, and not to t. */
static struct server *slow_elsewhere(const struct shard *sh, const struct target *t)
{
	struct link *l, *tmp;

	if (!sh->pool.slow_n)
		return NULL;
	LIST_EACH(l, tmp, &sh->h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (s->shard == sh && s->ps.slow && s->target != t && !s->trial)
			return s;
	}
	return NULL;
}

/* What became of a dial to t. */
static enum dialled granted(struct shard *sh, struct target *t, const struct dial_limits *limits,
			    enum pool_grant grant)
{
	uint64_t when;

	/* a pause that began since the node was chosen has an end that nobody tells */
	if (grant == POOL_FULL && !dials_open(t, limits, sh->h->w.now_us, &when) &&
	    when != UINT64_MAX)
		dial_later(sh, when);
	return grant == POOL_OK	       ? DIALLED :
	       grant == POOL_DB_FULL   ? DIALLED_DB_FULL :
	       grant == POOL_USER_FULL ? DIALLED_USER_FULL :
					 DIALLED_NOT_NOW;
}

enum dialled nodes_dial(struct shard *sh)
{
	struct pick_rule rule = rule_of(sh);
	struct hall *h = sh->h;
	enum pool_grant grant;
	struct server *slow;
	struct target *t;
	uint64_t when;
	bool quick = true;
	int i;

	if (h->w.now_us < sh->dial_after_us) {
		dial_later(sh, sh->dial_after_us);
		return DIALLED_NOT_NOW;
	}
	i = pick_node(sh->db->nodes, sh->db->node_n, &rule, sh->tried | sh->avoid, h->w.now_us,
		      worker_random(&h->w), &sh->turn, &when);
	if (i == PICK_NONE && sh->avoid) {
		quick = false;
		i = pick_node(sh->db->nodes, sh->db->node_n, &rule, sh->tried, h->w.now_us,
			      worker_random(&h->w), &sh->turn, &when);
	}
	if (i == PICK_NONE) {
		if (sh->tried && !sh->pool.n[SEAT_DIALLING])
			nodes_back_off(sh);
		else if (when != UINT64_MAX)
			dial_later(sh, when);
		else if (rule.limits.conns)
			return DIALLED_NODE_FULL;
		return DIALLED_NOT_NOW;
	}
	t = sh->db->nodes[i].t;
	grant = server_dial(sh, t, &rule.limits, NULL);
	/* not for one that was slow itself: they would end each other for ever */
	slow = grant == POOL_OK || !quick ? NULL : slow_elsewhere(sh, t);
	if (slow) {
		server_close(slow, "takes long, another node is dialled", false);
		grant = server_dial(sh, t, &rule.limits, NULL);
	}
	return granted(sh, t, &rule.limits, grant);
}

/* ---- dialling for a password ---- */

void nodes_untold(struct trial *t, const struct target *node)
{
	t->tried |= bit_of(t->sh, node);
}

bool nodes_other(const struct trial *t, const struct target *node)
{
	const struct shard *sh = t->sh;
	struct pick_rule rule = rule_of(sh);
	struct pick_turn turn = sh->turn;
	uint64_t when;

	return pick_node(sh->db->nodes, sh->db->node_n, &rule, t->tried | bit_of(sh, node),
			 sh->h->w.now_us, 0, &turn, &when) != PICK_NONE;
}

/* All have been asked: again in a moment. */
static enum dialled try_later(struct trial *t)
{
	struct shard *sh = t->sh;
	uint64_t pause = (uint64_t)sh->snap->conf->g.server_login_retry;

	t->tried = 0;
	t->after_us = sh->h->w.now_us + pause / 2 + worker_random(&sh->h->w) % (pause / 2 + 1);
	return DIALLED_NOT_NOW;
}

enum dialled nodes_try(struct trial *t)
{
	struct shard *sh = t->sh;
	struct pick_rule rule = rule_of(sh);
	uint64_t when, now = sh->h->w.now_us;
	struct target *node;
	int i;

	if (now < t->after_us)
		return DIALLED_NOT_NOW; /* the upkeep looks again */
	i = pick_node(sh->db->nodes, sh->db->node_n, &rule, t->tried, now,
		      worker_random(&sh->h->w), &sh->turn, &when);
	if (i == PICK_NONE && t->tried)
		return try_later(t);
	if (i == PICK_NONE)
		return when == UINT64_MAX && rule.limits.conns ? DIALLED_NODE_FULL : DIALLED_NOT_NOW;
	if (limit_full(&sh->pool.hub->limit))
		return DIALLED_POOL_FULL;
	node = sh->db->nodes[i].t;
	return granted(sh, node, &rule.limits, server_dial(sh, node, &rule.limits, t));
}

const struct target *nodes_full(const struct shard *sh)
{
	int max = (int)sh->snap->conf->g.max_node_connections;
	size_t i;

	for (i = 0; i < sh->db->node_n; i++) {
		const struct target *t = sh->db->nodes[i].t;

		if (target_suits(t, shard_attrs(sh)) > SUIT_PANIC && max &&
		    atomic_load(&t->conns) >= max)
			return t;
	}
	return NULL;
}

/* ---- what was seen of a node ---- */

bool nodes_is_trouble(const char *sqlstate)
{
	return (strncmp(sqlstate, "08", 2) == 0 && strcmp(sqlstate, "08P01") != 0) ||
	       strncmp(sqlstate, "57P", 3) == 0;
}

bool nodes_is_drain(const char *sqlstate, const char *message)
{
	return strcmp(sqlstate, "57P01") == 0 &&
	       (strncmp(message, "server is shutting down", 23) == 0 ||
		strncmp(message, "server is not accepting clients", 31) == 0);
}

enum target_seen nodes_what(const char *sqlstate, const char *message, bool hard)
{
	if (nodes_is_drain(sqlstate, message))
		return SEEN_DRAIN;
	return hard || strcmp(sqlstate, "57P03") == 0 ? SEEN_HARD : SEEN_BAD;
}

void nodes_seen(struct hall *h, struct target *t, enum target_seen what)
{
	uint64_t now = h->w.now_us, last = atomic_load(&t->asked_us);

	/* that one is wanted is no news so soon */
	if (what == SEEN_WANTED && (now - last < ASK_US ||
				    !atomic_compare_exchange_strong(&t->asked_us, &last, now)))
		return;
	h->sh->target_seen(h->sh, t, what);
}

void nodes_ask(struct hall *h)
{
	struct shard *sh;
	size_t i;

	for (sh = h->shards; sh; sh = sh->next) {
		if (!sh->pool.waiting_n || pool_dialling(&sh->pool) || !in_panic(sh))
			continue;
		for (i = 0; i < sh->db->node_n; i++)
			nodes_seen(h, sh->db->nodes[i].t, SEEN_WANTED);
	}
}

/* ---- nodes that are not what they were ---- */

static bool still_suits(const struct server *s)
{
	switch (target_suits(s->target, shard_attrs(s->shard))) {
	case SUIT_FULL:
	case SUIT_DOUBT:
		return true;
	case SUIT_PANIC:
		/* an idle one of a node that is down may be so for ever without an end */
		return in_panic(s->shard) &&
		       (server_state_dials(s->state) || atomic_load(&s->target->state) != TARGET_DOWN);
	case SUIT_NO:
	default:
		return false;
	}
}

static bool can_go_now(const struct server *s)
{
	return server_state_dials(s->state) || (s->state == SV_LIVE && s->ps.seat == SEAT_IDLE);
}

struct server *nodes_unsuitable(struct hall *h)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (still_suits(s))
			continue;
		if (can_go_now(s))
			return s;
		s->close_needed = true;
	}
	return NULL;
}

void nodes_leaving(struct hall *h, const struct target *t)
{
	struct link *l, *tmp;
	bool again;

	do {
		again = false;
		LIST_EACH(l, tmp, &h->servers) {
			struct server *s = LIST_ITEM(l, struct server, all);

			if (s->target != t || server_state_dials(s->state))
				continue;
			s->close_needed = true;
			if (!can_go_now(s))
				continue;
			server_close(s, "its node is leaving", true);
			again = true;
			break;
		}
	} while (again);
}

struct server *nodes_hung(struct hall *h)
{
	struct link *l, *tmp;

	if (h->snap->conf->g.on_marked_down == DOWN_NONE)
		return NULL;
	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (atomic_load(&s->target->hung) && !can_go_now(s) && !in_panic(s->shard))
			return s;
	}
	return NULL;
}

/* ---- shares ---- */

/* How many of a thousand connections on node i should go. */
struct shares {
	unsigned move[PICK_TRIED];
	int key[PICK_TRIED];
	int best;
};

/* It has refused somebody for want of room: nobody is sent there, nobody taken away. */
static bool is_full(const struct shard *sh, const struct target *t)
{
	uint64_t at = atomic_load_explicit(&t->full_us, memory_order_relaxed);

	return at && sh->h->w.now_us - at < FULL_US;
}

static void sort_out(const struct shard *sh, const struct pick_rule *r, struct shares *out)
{
	size_t i, n = sh->db->node_n < PICK_TRIED ? sh->db->node_n : PICK_TRIED;

	out->best = 0;
	for (i = 0; i < n; i++) {
		const struct pick_node *p = &sh->db->nodes[i];
		enum target_suit suit = target_suits(p->t, r->attrs);

		out->move[i] = 0;
		out->key[i] = suit > SUIT_PANIC && !is_full(sh, p->t) ? 2 * (int)suit + p->near : 0;
		/* in the order written, the first is worth more than all others */
		if (r->how == BALANCE_DISABLE && out->key[i] && out->key[i] == out->best)
			out->key[i] = 1;
		if (out->key[i] > out->best)
			out->best = out->key[i];
	}
}

static void work_out(const struct shard *sh, const struct pick_rule *r, struct shares *out)
{
	size_t i, n = sh->db->node_n < PICK_TRIED ? sh->db->node_n : PICK_TRIED;
	uint64_t now = sh->h->w.now_us, conns = 0, weight = 0;
	bool room = false;

	for (i = 0; i < n; i++) {
		const struct pick_node *p = &sh->db->nodes[i];
		int used = atomic_load(&p->t->conns);

		if (out->key[i])
			conns += (uint64_t)used;
		if (out->key[i] != out->best)
			continue;
		weight += p->weight * (uint64_t)target_share(p->t, now, r->slow_us);
		room |= !r->limits.conns || used < r->limits.conns;
	}
	for (i = 0; i < n && out->best; i++) {
		const struct pick_node *p = &sh->db->nodes[i];
		uint64_t used = (uint64_t)atomic_load(&p->t->conns), share;

		if (out->key[i] != out->best) {
			out->move[i] = out->key[i] && room ? 500 : 0;
			continue;
		}
		/* in thousandths: three of five are nobody's fault */
		share = 1000 * conns * p->weight * target_share(p->t, now, r->slow_us) / weight;
		if (1000 * used >= share + 1000 && 1000 * used > share + share / DEAD_ZONE)
			out->move[i] = (unsigned)((1000 * used - share) / (2 * used));
	}
}

static unsigned moves(const struct shares *m, const struct shard *sh, const struct target *t)
{
	size_t i;

	for (i = 0; i < sh->db->node_n && i < PICK_TRIED; i++)
		if (sh->db->nodes[i].t == t)
			return m->move[i];
	return 0;
}

static void rebalance(struct shard *sh)
{
	struct pick_rule rule = rule_of(sh);
	struct link *l, *tmp;
	struct shares m;

	if (sh->db->node_n < 2 || !sh->servers)
		return;
	sort_out(sh, &rule, &m);
	work_out(sh, &rule, &m);
	LIST_EACH(l, tmp, &sh->h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		/* whoever is bound to it would lose what is there */
		if (s->shard == sh && s->state == SV_LIVE &&
		    worker_random(&sh->h->w) % 1000 < moves(&m, sh, s->target))
			s->close_needed = true;
	}
}

void nodes_rebalance(struct hall *h)
{
	uint64_t every = (uint64_t)h->snap->conf->g.rebalance_interval;
	struct shard *sh;

	if (!every || h->w.now_us < h->rebalance_us)
		return;
	h->rebalance_us = h->w.now_us + every / 2 + worker_random(&h->w) % (every + 1);
	for (sh = h->shards; sh; sh = sh->next)
		if (!sh->gone && !sh->alone)
			rebalance(sh);
}
