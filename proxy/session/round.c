/* proxy/session/round.c - see round.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/round.h"

#include <stdlib.h>

struct round *round_new(struct shared *sh, struct worker *home,
			void (*visit)(struct hall *h, struct round *r),
			void (*over)(struct round *r), void *arg)
{
	struct round *r = calloc(1, sizeof(*r) + sh->hall_n * sizeof(r->leg[0]));

	if (!r)
		return NULL;
	r->sh = sh;
	r->home = home;
	r->visit = visit;
	r->over = over;
	r->arg = arg;
	atomic_init(&r->left, sh->hall_n);
	atomic_init(&r->sum, 0);
	return r;
}

void round_free(struct round *r)
{
	free(r);
}

static void on_back(struct worker *w, struct letter *l)
{
	struct round *r = (struct round *)(void *)l;

	(void)w;
	r->over(r);
	free(r);
}

static void on_visit(struct worker *w, struct letter *l)
{
	struct round *r = ((struct round_leg *)(void *)l)->r;

	r->visit(hall_of(w), r);
	if (atomic_fetch_sub_explicit(&r->left, 1, memory_order_acq_rel) != 1)
		return;
	r->back.deliver = on_back;
	if (r->home)
		worker_post(r->home, &r->back);
	else
		on_back(w, &r->back);
}

void round_send(struct round *r)
{
	struct shared *sh = r->sh;
	unsigned i;

	for (i = 0; i < sh->hall_n; i++) {
		r->leg[i].r = r;
		r->leg[i].l.deliver = on_visit;
	}
	/* the last one to be posted may end it */
	for (i = 0; i < sh->hall_n; i++) {
		struct letter *l = &r->leg[i].l;

		worker_post(&sh->halls[i].w, l);
	}
}
