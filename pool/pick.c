/* pool/pick.c - see pick.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/pick.h"

/* One choice under way. */
struct choice {
	const struct pick_node *node;
	size_t n;
	const struct pick_rule *r;
	uint64_t tried, now_us, rnd;
	struct pick_turn *turn;
	int key;                /* of the best class: suit and nearness */
};

enum target_suit pick_best(const struct pick_node *node, size_t n, enum session_attrs attrs)
{
	enum target_suit best = SUIT_NO;
	size_t i;

	for (i = 0; i < n; i++) {
		enum target_suit s = target_suits(node[i].t, attrs);

		if (s > best)
			best = s;
	}
	return best;
}

/* Which class node i is of, 0: not to be dialled now. */
static int key_of(const struct choice *c, size_t i, enum target_suit least, uint64_t *when)
{
	enum target_suit s = target_suits(c->node[i].t, c->r->attrs);
	uint64_t open;

	if (s < least || s == SUIT_NO || (i < PICK_TRIED && (c->tried >> i & 1)))
		return 0;
	if (!dials_open(c->node[i].t, &c->r->limits, c->now_us, &open)) {
		if (open < *when)
			*when = open;
		return 0;
	}
	return 2 * (int)s + c->node[i].near;
}

static uint64_t weight_of(const struct choice *c, size_t i)
{
	return (uint64_t)c->node[i].weight *
	       target_share(c->node[i].t, c->now_us, c->r->slow_us);
}

static size_t distance(const struct choice *c, size_t i)
{
	size_t start = c->r->how == BALANCE_ROUND_ROBIN ? (size_t)(c->turn->start % c->n) :
							  (size_t)(c->rnd % c->n);

	return (i + c->n - start) % c->n;
}

/* Fewer connections for its weight. One that has none is tried at once, even if it has
 * just come back. */
static bool less_loaded(const struct choice *c, size_t a, size_t b)
{
	uint64_t ca = (uint64_t)atomic_load_explicit(&c->node[a].t->conns, memory_order_relaxed);
	uint64_t cb = (uint64_t)atomic_load_explicit(&c->node[b].t->conns, memory_order_relaxed);
	uint64_t wa = weight_of(c, a), wb = weight_of(c, b);

	if (ca * wb != cb * wa)
		return ca * wb < cb * wa;
	return wa != wb ? wa > wb : distance(c, a) < distance(c, b);
}

/* Is node a, of the best class, to be preferred to b? */
static bool better(const struct choice *c, size_t a, size_t b)
{
	const int64_t *credit = c->turn->credit;
	int64_t ca = credit[a % PICK_TRIED], cb = credit[b % PICK_TRIED];

	switch (c->r->how) {
	case BALANCE_LEASTCONN:
		return less_loaded(c, a, b);
	case BALANCE_ROUND_ROBIN:
		return ca != cb ? ca > cb : distance(c, a) < distance(c, b);
	case BALANCE_RANDOM:
	case BALANCE_DISABLE:
	default:
		return a < b;
	}
}

/* Smooth weighted round-robin: each gains its weight, the one chosen pays for all. */
static void pay_turn(const struct choice *c, const bool *in, size_t chosen)
{
	int64_t total = 0;
	size_t i;

	for (i = 0; i < c->n && i < PICK_TRIED; i++)
		if (in[i])
			total += (int64_t)weight_of(c, i);
	c->turn->credit[chosen % PICK_TRIED] -= total;
}

static void gain_turn(const struct choice *c, const bool *in)
{
	size_t i;

	for (i = 0; i < c->n && i < PICK_TRIED; i++)
		if (in[i])
			c->turn->credit[i] += (int64_t)weight_of(c, i);
}

/* The one at a random place on the scale of their weights. */
static int by_lot(const struct choice *c, const bool *in)
{
	uint64_t total = 0, at;
	size_t i, last = 0;

	for (i = 0; i < c->n && i < PICK_TRIED; i++)
		if (in[i])
			total += weight_of(c, i);
	at = total ? c->rnd % total : 0;
	for (i = 0; i < c->n && i < PICK_TRIED; i++) {
		if (!in[i])
			continue;
		last = i;
		if (at < weight_of(c, i))
			break;
		at -= weight_of(c, i);
	}
	return (int)last;
}

/* Of those that are in. */
static int choose(const struct choice *c, const bool *in)
{
	int best = PICK_NONE;
	size_t i;

	if (c->r->how == BALANCE_RANDOM)
		return by_lot(c, in);
	if (c->r->how == BALANCE_ROUND_ROBIN)
		gain_turn(c, in);
	for (i = 0; i < c->n && i < PICK_TRIED; i++)
		if (in[i] && (best == PICK_NONE || better(c, i, (size_t)best)))
			best = (int)i;
	if (c->r->how == BALANCE_ROUND_ROBIN)
		pay_turn(c, in, (size_t)best);
	return best;
}

int pick_node(const struct pick_node *node, size_t n, const struct pick_rule *r, uint64_t tried,
	      uint64_t now_us, uint64_t rnd, struct pick_turn *turn, uint64_t *when)
{
	struct choice c = { node, n, r, tried, now_us, rnd, turn, 0 };
	enum target_suit least = pick_best(node, n, r->attrs) > SUIT_PANIC ? SUIT_DOUBT : SUIT_PANIC;
	bool in[PICK_TRIED] = { false };
	int key[PICK_TRIED];
	size_t i;

	*when = UINT64_MAX;
	for (i = 0; i < n && i < PICK_TRIED; i++) {
		key[i] = key_of(&c, i, least, when);
		if (key[i] > c.key)
			c.key = key[i];
	}
	if (!c.key)
		return PICK_NONE;
	for (i = 0; i < n && i < PICK_TRIED; i++)
		in[i] = key[i] == c.key;
	return choose(&c, in);
}
