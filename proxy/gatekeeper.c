/* proxy/gatekeeper.c - see gatekeeper.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "gatekeeper.h"

#include <stdlib.h>

#include "session/obey.h"
#include "session/round.h"

struct change {
	struct daemon *d;
	struct gates *g;
	const char *kill;
	gatekeeper_fn *over;
	void *arg;
};

static void visit(struct hall *h, struct round *r)
{
	const struct change *c = r->arg;

	obey_gates(h, gates_hold(c->g));
	if (c->kill)
		obey_kill(h, *c->kill ? c->kill : NULL);
}

static void on_visited(struct round *r)
{
	struct change *c = r->arg;

	if (c->over)
		c->over(c->d, c->arg);
	gates_drop(c->g);
	free(c);
}

void gatekeeper_tell_web(struct daemon *d)
{
	const struct gates *g = d->gates;

	if (!d->leaving)
		web_tell_running(d->web, g && g->shutting ? RUNNING_DRAINING :
					 g && g->paused	  ? RUNNING_PAUSED :
							    RUNNING);
}

bool gatekeeper_use(struct daemon *d, struct gates *g, const char *kill, gatekeeper_fn *over,
		    void *arg)
{
	struct change *c = g ? calloc(1, sizeof(*c)) : NULL;
	struct round *r = c ? round_new(&d->sh, &d->w, visit, on_visited, c) : NULL;

	if (!r) {
		gates_drop(g);
		free(c);
		LOG(&d->w.log_ctx, LOG_LEVEL_ERROR, "out_of_memory", NULL);
		return false;
	}
	*c = (struct change){ .d = d, .g = g, .kill = kill, .over = over, .arg = arg };
	gates_drop(d->gates);
	d->gates = gates_hold(g);
	gatekeeper_tell_web(d);
	round_send(r);
	return true;
}

bool gatekeeper_shut(struct daemon *d, gatekeeper_fn *over, void *arg)
{
	struct gates *g = gates_copy(d->gates, NULL);

	if (g)
		g->shutting = true;
	return gatekeeper_use(d, g, NULL, over, arg);
}
