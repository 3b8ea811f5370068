/* pool/pick.h - which node to dial. Pure but for what it reads of the nodes.
 *
 * First who suits best (health/target.h), among those who are near, among those by
 * the balance rule. Weights hold for every rule but disable; a node that came back
 * begins with a tenth of its own.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_PICK_H
#define PGWEIR_POOL_PICK_H

#include <stddef.h>
#include <stdint.h>

#include "health/dials.h"
#include "health/target.h"

#define PICK_NONE (-1)          /* nothing to dial now */
#define PICK_TRIED 64u          /* nodes that a bit mask can name */

/* A node as one database sees it. */
struct pick_node {
	struct target *t;
	unsigned weight;        /* 1 and more */
	bool near;              /* in the zone of this process, or no zone was told */
	size_t host;            /* which of its hosts gave it */
};

struct pick_rule {
	enum session_attrs attrs;
	enum balance how;
	struct dial_limits limits;
	uint64_t slow_us;       /* slowstart */
};

/* What round-robin remembers. start: any random number, so that not all begin
 * with the same node. */
struct pick_turn {
	uint64_t start;
	int64_t credit[PICK_TRIED];
};

/* Chooses among n nodes. tried: a bit for each of the first 64 that is left out.
 * PICK_NONE: *when is the earliest end of a pause (monotonic us) that makes one
 * possible, UINT64_MAX when time alone does not. */
int pick_node(const struct pick_node *node, size_t n, const struct pick_rule *r, uint64_t tried,
	      uint64_t now_us, uint64_t rnd, struct pick_turn *turn, uint64_t *when);

/* The best that any of them could be: SUIT_PANIC when all that would suit are out. */
enum target_suit pick_best(const struct pick_node *node, size_t n, enum session_attrs attrs);

#endif
