/* proxy/session/round.h - one errand that goes to every worker at once, and comes back
 * when all have done it.
 *
 * Owner:   who starts it, until round_send; from then on itself: it is freed behind over().
 * Threads: as its functions say. The memory for all its letters is had at its birth, so
 *          that an errand is done by all workers or by none.
 *
 * Letters of one sender come in the order of their posts, and so do rounds.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_ROUND_H
#define PGWEIR_SESSION_ROUND_H

#include "session/session.h"

struct round;

struct round_leg {
	struct letter l;
	struct round *r;
};

struct round {
	struct letter back;            /* first: to the one who asked */
	struct worker *home;
	struct shared *sh;
	_Atomic unsigned left;
	_Atomic uint64_t sum;          /* for visit() to add to */
	void (*visit)(struct hall *h, struct round *r);
	void (*over)(struct round *r);
	void *arg;
	uint64_t word;                 /* both for who starts it */
	struct round_leg leg[];
};

/* visit: in each worker's thread. over: when all have been visited, in the thread of home;
 * home NULL: in that of the last of them. arg: theirs, and over's to free. NULL: out of
 * memory. */
struct round *round_new(struct shared *sh, struct worker *home,
			void (*visit)(struct hall *h, struct round *r),
			void (*over)(struct round *r), void *arg);
void round_send(struct round *r);
/* One that was not sent; arg is not touched. NULL is fine. */
void round_free(struct round *r);

#endif
