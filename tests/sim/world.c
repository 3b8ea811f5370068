/* tests/sim/world.c - see world.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "console/admin.h"
#include "session/hall.h"
#include "session/round.h"
#include "session/step.h"
#include "world_in.h"

/* Longest run, in simulated time and in steps. */
#define SIM_US_MAX 900000000u
#define STEPS_MAX 3000000u
/* Nobody waits longer for answers than this: over query_wait_timeout, hung nodes and
 * all pauses together. */
#define WAIT_US_MAX 300000000u
#define PROBE_US 100000u

/* The linker sends pgweir's own calls of these here (-Wl,--wrap). */
void __wrap_log_line(const struct log_ctx *ctx, enum log_level level, const char *event,
		     const char *fmt, ...) PRINTF_LIKE(4, 5);
enum client_state __real_client_next(enum client_state s, enum client_event e);
enum client_state __wrap_client_next(enum client_state s, enum client_event e);
enum server_state __real_server_next(enum server_state s, enum server_event e);
enum server_state __wrap_server_next(enum server_state s, enum server_event e);

static struct world *here; /* these have no context */

void __wrap_log_line(const struct log_ctx *ctx, enum log_level level, const char *event,
		     const char *fmt, ...)
{
	char text[600] = "", who[LOG_WHO_MAX];
	va_list ap;

	if (!here)
		return;
	va_start(ap, fmt);
	if (fmt)
		(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_trace(&here->s, "pgweir %s %s %s %s", log_level_name(level), event, log_who(ctx, who), text);
	if (strcmp(event, "cannot_happen") == 0)
		sim_wrong(&here->s, "cannot happen: %s %s", who, text);
	if (strcmp(event, "replay_gave_up") == 0 && strncmp(text, "reason=mismatch ", 16) == 0)
		world_check_mismatch(here, ctx);
}

enum client_state __wrap_client_next(enum client_state s, enum client_event e)
{
	if (here && here->cells)
		here->cells->client[s][e]++;
	return __real_client_next(s, e);
}

enum server_state __wrap_server_next(enum server_state s, enum server_event e)
{
	if (here && here->cells)
		here->cells->server[s][e]++;
	return __real_server_next(s, e);
}

/* ---- the daemon's part ---- */

static struct world *world_of(struct shared *sh)
{
	return LIST_ITEM(sh, struct world, sh);
}

static struct target_rule rule_of(const struct world *w)
{
	const struct conf_global *g = &w->snap->conf->g;

	return (struct target_rule){ (unsigned)g->health_check_rise, (unsigned)g->health_check_fall };
}

static void targets_changed(struct world *w)
{
	unsigned i;

	for (i = 0; i < w->workers; i++)
		if (w->running[i])
			hall_tell_targets(&w->sh.halls[i]);
}

static void probe(struct world *w, struct target *t)
{
	struct target_rule r = rule_of(w);
	unsigned i;

	for (i = 0; i < w->nodes; i++) {
		const struct node *n = &w->cluster.nodes[i];
		struct target_facts good = { .role = n->standby ? ROLE_STANDBY : ROLE_PRIMARY,
					     .read_only = n->standby,
					     .took_us = 100,
					     .now_us = w->s.now_us };
		bool news;

		if (strncmp(t->addr.name, n->name, strlen(n->name)) != 0)
			continue;
		if (n->host.silent)
			news = target_probe_bad(t, &r, BAD_SILENT);
		else if (!n->host.up || n->draining)
			news = target_probe_bad(t, &r, n->host.up && w->cluster.dialect == DIALECT_CRDB ?
							       BAD_DRAIN :
							       BAD_HARD);
		else
			news = target_probe_good(t, &r, &good);
		if (news)
			sim_trace(&w->s, "probe node%u is %s", i,
				  target_state_name((enum target_state)atomic_load(&t->state)));
		if (news)
			targets_changed(w);
	}
}

static void probe_all(struct world *w)
{
	struct target *t;

	for (t = w->targets.head; t; t = t->next)
		probe(w, t);
}

static void on_probe(void *arg)
{
	struct world *w = arg;

	if (w->stopped == w->workers)
		return;
	probe_all(w);
	sim_at(&w->s, PROBE_US / 2 + rng_below(&w->fate, PROBE_US), on_probe, w);
}

struct seen {
	struct world *w;
	struct target *t;
	enum target_seen what;
};

static void on_seen(void *arg)
{
	struct seen *b = arg;
	struct target_rule r = rule_of(b->w);

	if (target_seen(b->t, &r, b->what))
		targets_changed(b->w);
	probe(b->w, b->t);
	free(b);
}

static void tell_seen(struct shared *sh, struct target *t, enum target_seen what)
{
	struct world *w = world_of(sh);
	struct seen *b = calloc(1, sizeof(*b));

	if (!b)
		return; /* the next probe finds out */
	*b = (struct seen){ w, t, what };
	sim_at_owned(&w->s, 1 + rng_below(&w->fate, 50), on_seen, b);
}

static void hall_stopped(struct shared *sh, struct hall *h)
{
	struct world *w = world_of(sh);

	w->stopped++;
	w->running[h->w.id] = false;
	sim_trace(&w->s, "worker %u has ended", h->w.id);
}

static struct snapshot *load(struct world *w)
{
	struct conf_over over = { .listen_port = -1, .numeric_hosts = true };
	struct conf *conf = NULL;
	struct snapshot *snap;
	struct err e;

	if (conf_load_mem("sim.ini", w->ini, strlen(w->ini), &over, &conf, &e)) {
		sim_wrong(&w->s, "the simulation's own settings: %s", e.text);
		return NULL;
	}
	snap = snapshot_make(conf, NULL, &w->targets, NULL, NULL);
	if (!snap)
		abort();
	return snap;
}

static void use_conf(struct hall *h, struct round *r)
{
	hall_use_conf(h, snapshot_hold(r->arg));
}

static void conf_used(struct round *r)
{
	snapshot_drop(r->arg);
}

void world_reload(struct world *w)
{
	struct snapshot *snap = load(w);
	struct round *r = snap ? round_new(&w->sh, NULL, use_conf, conf_used, snap) : NULL;

	if (!r) {
		snapshot_drop(snap);
		return;
	}
	snapshot_drop(w->snap);
	w->snap = snap;
	snapshot_hold(snap);
	probe_all(w);
	round_send(r);
}

void world_tell_end(struct world *w)
{
	unsigned i;

	if (w->ending)
		return;
	w->ending = true;
	sim_trace(&w->s, "pgweir is told to end");
	for (i = 0; i < w->workers; i++)
		if (w->running[i])
			hall_tell_drain(&w->sh.halls[i]);
}

void world_may(struct world *w, unsigned bits)
{
	unsigned i;

	w->may |= bits;
	for (i = 0; i < w->visitor_n; i++)
		visitor_may(w->visitors[i], bits);
}

static unsigned may_now(void *arg)
{
	const struct world *w = arg;

	return w->may;
}

static struct end *dial(void *arg)
{
	struct world *w = arg;
	const struct listen_from from = {
		.a.in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
		.len = sizeof(struct sockaddr_in),
	};
	struct end *e;
	int fd;

	if (w->ending)
		return NULL;
	e = net_dial(w->net, &fd);
	hall_tell_client(&w->sh.halls[rng_below(&w->rng, w->workers)], fd, &from, false);
	return e;
}

/* ---- birth ---- */

static void start_halls(struct world *w)
{
	struct err e;
	unsigned i;

	w->sh.halls = calloc(w->workers, sizeof(*w->sh.halls));
	if (!w->sh.halls || door_init(&w->sh.door) || hubs_init(&w->sh.hubs, w->workers) ||
	    meters_init(&w->sh.meters, w->workers, w->s.now_us))
		abort();
	for (i = 0; i < w->workers; i++) {
		if (hall_init(&w->sh.halls[i], i, &w->sh, &w->log, snapshot_hold(w->snap), &admin_ops, &e))
			abort();
		w->sh.hall_n++;
		w->running[i] = true;
		worker_turn(&w->sh.halls[i].w);
	}
}

static void invite(struct world *w)
{
	unsigned n = rng_between(&w->rng, 1, rng_chance(&w->rng, 30) ? 12 : 5), i;
	unsigned steps = rng_between(&w->rng, 2, rng_chance(&w->rng, 30) ? 60 : 20);

	if (w->plan.steps && steps > w->plan.steps)
		steps = w->plan.steps;
	for (i = 0; i < n; i++) {
		struct visitor_conf vc = {
			.program = { (enum manners)rng_below(&w->rng, MANNERS_N), w->dialect, i,
				     steps, n },
			.engine = { w->dialect, false, 150004 },
			.ask_ssl = rng_chance(&w->rng, 20),
		};

		if (!(w->plan.clients >> i & 1))
			continue;
		w->visitors[w->visitor_n] = visitor_new(&w->vw, &vc);
		visitor_start(w->visitors[w->visitor_n++]);
	}
	w->t.clients = w->visitor_n;
	if (rng_chance(&w->rng, 40))
		w->inspector = inspector_new(&w->vw, 0, rng_between(&w->rng, 0, 12));
}

static bool birth(struct world *w, const struct plan *p, FILE *trace)
{
	sim_init(&w->s, p->seed, trace);
	w->plan = *p;
	w->rng = rng_make(p->seed, 10);
	w->fate = rng_make(p->seed, 11);
	w->net = net_new(&w->s);
	w->loops = loops_new(&w->s, w->net);
	w->history = history_new();
	w->vw = (struct visitor_world){ &w->s, w->net, w->history, dial, may_now, w, 0 };
	world_settings(w);
	sim_trace(&w->s, "%s", w->ini);
	atomic_store(&w->log_level, LOG_LEVEL_DEBUG);
	w->log = (struct log){ .fd = -1, .level = &w->log_level, .wall_us = clock_wall_us };
	w->snap = load(w);
	if (!w->snap)
		return false;
	limit_init(&w->sh.clients, (int)w->snap->conf->g.max_client_conn);
	w->sh.target_seen = tell_seen;
	w->sh.hall_stopped = hall_stopped;
	start_halls(w);
	probe_all(w);
	on_probe(w);
	invite(w);
	world_faults(w);
	w->t.workers = w->workers;
	w->t.nodes = w->nodes;
	w->t.faults = w->faults;
	return true;
}

/* ---- life ---- */

static bool all_done(const struct world *w)
{
	unsigned i;

	for (i = 0; i < w->visitor_n; i++)
		if (!visitor_done(w->visitors[i]))
			return false;
	return true;
}

static void turn(struct world *w, unsigned i)
{
	struct hall *h = &w->sh.halls[i];

	memory_arm(true);
	loop_turn(w->loops, i);
	worker_turn(&h->w);
	memory_arm(false);
	if (h->w.done)
		w->sh.hall_stopped(&w->sh, h);
}

/* One step: a worker's turn or a happening, whichever chance takes; or time goes on.
 * false: nothing will ever happen again. */
static bool step(struct world *w)
{
	unsigned ready[LOOPS_MAX], n = 0, i;
	uint64_t next = sim_next(&w->s);
	bool due = next <= w->s.now_us;

	for (i = 0; i < w->workers; i++) {
		uint64_t at = w->running[i] ? loop_alarm(w->loops, i) : UINT64_MAX;

		if (w->running[i] && loop_ready(w->loops, i))
			ready[n++] = i;
		else if (at < next)
			next = at;
	}
	w->s.steps++;
	if (n && (!due || rng_chance(&w->s.rng, 60))) {
		turn(w, ready[rng_below(&w->s.rng, n)]);
		w->s.now_us += rng_below(&w->s.rng, 20);
		return true;
	}
	if (due)
		return sim_happen(&w->s);
	world_check(w);
	if (next == UINT64_MAX)
		return false;
	w->s.now_us = next;
	return true;
}

static void check_patience(struct world *w)
{
	unsigned i;

	/* query_wait_timeout's default is not far */
	if (w->s.now_us - SIM_EPOCH_US > 100000000u && !(w->may & MAY_WAIT))
		world_may(w, MAY_WAIT | MAY_CLOSE);
	for (i = 0; i < w->visitor_n; i++)
		if (visitor_waits_us(w->visitors[i]) > WAIT_US_MAX)
			sim_wrong(&w->s, "for ever: %s", visitor_says(w->visitors[i]));
	if (w->s.now_us - SIM_EPOCH_US > SIM_US_MAX || w->s.steps > STEPS_MAX)
		for (i = 0; i < w->visitor_n; i++)
			if (!visitor_done(w->visitors[i]))
				sim_wrong(&w->s, "the run does not end: %s",
					  visitor_says(w->visitors[i]));
	if (w->s.now_us - SIM_EPOCH_US > SIM_US_MAX || w->s.steps > STEPS_MAX)
		sim_wrong(&w->s, "the run does not end");
}

static void live(struct world *w)
{
	while (!*w->s.wrong && !w->s.unclear && !all_done(w)) {
		if (!step(w))
			sim_wrong(&w->s, "nothing happens any more");
		check_patience(w);
	}
	if (w->s.unclear)
		return;
	world_tell_end(w);
	while (!*w->s.wrong && !w->s.unclear && w->stopped < w->workers) {
		if (!step(w))
			sim_wrong(&w->s, "workers do not end");
		check_patience(w);
	}
	/* what is on its way arrives */
	while (!*w->s.wrong && !w->s.unclear && w->s.due_n) {
		if (sim_next(&w->s) > w->s.now_us)
			w->s.now_us = sim_next(&w->s);
		(void)sim_happen(&w->s);
	}
	if (!*w->s.wrong && !w->s.unclear)
		world_check_end(w);
}

/* ---- death ---- */

static void count(struct world *w)
{
	unsigned i;

	w->t.steps = w->s.steps;
	w->t.unclear = w->s.unclear;
	w->t.sim_us = w->s.now_us - SIM_EPOCH_US;
	w->t.digest = w->s.digest;
	w->t.cancels = w->cluster.cancels;
	history_counts(w->history, &w->t.committed, &w->t.aborted, &w->t.unknown);
	for (i = 0; i < w->sh.hall_n; i++) {
		const struct stats *st = &w->sh.halls[i].stats;

		w->t.retried += STAT_GET(st, retried);
		w->t.replays += STAT_GET(st, replay_ok);
		w->t.mismatches += STAT_GET(st, replay_mismatch);
		w->t.lost += STAT_GET(st, replay_lost);
		w->t.handovers += STAT_GET(st, server_handovers);
		w->t.pins += STAT_GET(st, pins);
		w->t.questions += STAT_GET(st, questions);
	}
}

static void death(struct world *w)
{
	struct target *t;
	unsigned i;

	for (i = 0; i < w->visitor_n; i++)
		visitor_free(w->visitors[i]);
	inspector_free(w->inspector);
	for (i = 0; i < w->sh.hall_n; i++)
		hall_free(&w->sh.halls[i]);
	if (w->sh.halls) {
		hubs_free(&w->sh.hubs);
		meters_free(&w->sh.meters);
		door_free(&w->sh.door);
	}
	free(w->sh.halls);
	snapshot_drop(w->snap);
	for (t = w->targets.head; t; t = t->next) {
		if (atomic_load(&t->refs) && !*w->s.wrong)
			sim_wrong(&w->s, "node %s is held by nobody %u times", t->addr.name,
				  atomic_load(&t->refs));
		atomic_store(&t->refs, 0);
	}
	targets_sweep(&w->targets, NULL, NULL);
	if (net_fds(w->net))
		sim_wrong(&w->s, "%u descriptors are left open", net_fds(w->net));
	cluster_free(&w->cluster);
	net_free(w->net);
	loops_free(w->loops);
	history_free(w->history);
	sim_free(&w->s);
}

struct plan plan_whole(uint64_t seed)
{
	return (struct plan){ seed, UINT32_MAX, UINT32_MAX, 0, 0, 0, 0 };
}

bool world_run(const struct plan *p, FILE *trace, struct run_tally *t, struct cells *cells, char *text,
	       size_t cap)
{
	struct world *w = calloc(1, sizeof(*w));
	bool ok;

	if (!w)
		abort();
	here = w;
	w->cells = cells;
	memory_fail(0, 0);
	if (birth(w, p, trace))
		live(w);
	count(w);
	death(w);
	*t = w->t;
	ok = !*w->s.wrong;
	(void)snprintf(text, cap, "%s", w->s.wrong);
	here = NULL;
	free(w);
	return ok;
}
