/* proxy/nodes_seen.c - see nodes_seen.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "nodes_seen.h"

#include <stdlib.h>

#include "checks.h"
#include "health/probe.h"
#include "session/hall.h"

void nodes_changed(void *arg, struct target *t)
{
	struct daemon *d = arg;
	unsigned i;

	if (atomic_load(&t->state) != TARGET_UP)
		registry_doubt(&d->registry, d->snap, t); /* its name may give others by now */
	for (i = 0; i < d->sh.hall_n; i++)
		hall_tell_targets(&d->sh.halls[i]);
}

struct seen_letter {
	struct letter l;
	struct daemon *d;
	struct target *t;
	enum target_seen what;
	enum node_order order;     /* of an operator, instead */
};

static void let_go(struct seen_letter *b)
{
	target_drop(b->t);
	free(b);
}

static void on_target_seen(struct worker *w, struct letter *l)
{
	struct seen_letter *b = (struct seen_letter *)(void *)l;
	struct target_rule r = checks_rule(&b->d->snap->conf->g);

	(void)w;
	if (b->d->over) {
		let_go(b);
		return;
	}
	if (target_seen(b->t, &r, b->what)) {
		LOG(&b->d->w.log_ctx, LOG_LEVEL_WARN, "target_in_doubt", "node=%s state=%s role=%s",
		    b->t->addr.name, target_shown(b->t),
		    target_role_name((enum target_role)atomic_load(&b->t->role)));
		nodes_changed(b->d, b->t);
	}
	registry_doubt(&b->d->registry, b->d->snap, b->t);
	probe_now(b->t);
	let_go(b);
}

void nodes_tell_seen(struct shared *sh, struct target *t, enum target_seen what)
{
	struct seen_letter *b = calloc(1, sizeof(*b));

	if (!b)
		return; /* the next probe finds out */
	b->l.deliver = on_target_seen;
	b->d = daemon_of(sh);
	b->t = t;
	target_hold(t);
	b->what = what;
	worker_post(&b->d->w, &b->l);
}

void nodes_exclude(struct daemon *d, struct target *t, bool excluded)
{
	if (!target_exclude(t, excluded, clock_mono_us()))
		return;
	LOG(&d->w.log_ctx, LOG_LEVEL_INFO, excluded ? "node_excluded" : "node_included", "node=%s",
	    t->addr.name);
	nodes_changed(d, t);
}

static void on_node_order(struct worker *w, struct letter *l)
{
	struct seen_letter *b = (struct seen_letter *)(void *)l;

	(void)w;
	if (b->d->over) {
		let_go(b);
		return;
	}
	if (b->order != ORDER_PROBE)
		nodes_exclude(b->d, b->t, b->order == ORDER_EXCLUDE);
	probe_now(b->t);
	let_go(b);
}

bool nodes_order(struct shared *sh, struct target *t, enum node_order what)
{
	struct seen_letter *b = calloc(1, sizeof(*b));

	if (!b)
		return false;
	b->l.deliver = on_node_order;
	b->d = daemon_of(sh);
	b->t = t;
	target_hold(t);
	b->order = what;
	worker_post(&b->d->w, &b->l);
	return true;
}

