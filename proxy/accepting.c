/* proxy/accepting.c - see accepting.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "accepting.h"

void accepting_init(struct accepting *a, struct listener *l, struct worker *control,
		    struct worker *first, void (*changed)(void *arg, enum accept_mode now),
		    void *arg)
{
	*a = (struct accepting){
		.listener = l,
		.control = control,
		.first = first,
		.accepted = l->accepted,
		.accepted_arg = l->arg,
		.changed = changed,
		.arg = arg,
		.now = l->w ? ACCEPT_ON : ACCEPT_OFF,
		.want = l->w ? ACCEPT_ON : ACCEPT_OFF,
	};
}

static void post(struct accepting *a);

static void on_back(struct worker *w, struct letter *l)
{
	struct accepting *a = LIST_ITEM(l, struct accepting, l);

	(void)w;
	a->out = false;
	a->now = a->sent;
	if (a->now == ACCEPT_CLOSED)
		listen_close(a->listener);
	a->changed(a->arg, a->now);
	if (a->want != a->now)
		post(a);
}

/* The first worker's thread. */
static void on_order(struct worker *w, struct letter *l)
{
	struct accepting *a = LIST_ITEM(l, struct accepting, l);

	if (a->sent != ACCEPT_ON)
		listen_stop(a->listener);
	else if (!a->listener->w)
		listen_start(a->listener, w, a->accepted, a->accepted_arg);
	l->deliver = on_back;
	worker_post(a->control, l);
}

static void post(struct accepting *a)
{
	if (a->out)
		return; /* what is wished is looked at when it is back */
	a->out = true;
	a->sent = a->want;
	a->l.deliver = on_order;
	worker_post(a->first, &a->l);
}

void accepting_set(struct accepting *a, enum accept_mode want)
{
	if (a->want == ACCEPT_CLOSED || a->want == want)
		return;
	a->want = want;
	post(a);
}
