/* tests/sim/checks.c - what must hold whenever pgweir has nothing to do at once, and
 * at the end.
 *
 * SPDX-License-Identifier: ISC
 */
#include <string.h>

#include "session/replay.h"
#include "session/shard.h"
#include "world_in.h"

#define WHO(ctx) log_who((ctx), (char[LOG_WHO_MAX]){ 0 })

struct sums {
	int servers, idle, waiting, moving;
	uint64_t waits_us;
};

static void add_hall(const struct world *w, const struct hall *h, const struct hub *hub,
		     struct sums *s)
{
	const struct link *l;
	const struct shard *sh;

	for (l = h->servers.next; l != &h->servers; l = l->next) {
		const struct server *sv = LIST_ITEM(l, struct server, all);

		if (sv->ps.tokens && sv->shard->pool.hub == hub)
			s->servers++;
	}
	for (sh = h->shards; sh; sh = sh->next)
		if (sh->pool.hub == hub) {
			s->idle += (int)sh->pool.n[SEAT_IDLE];
			s->waiting += (int)sh->pool.waiting_n;
		}
	(void)w;
}

/* Those who are bound to their servers, of all workers. */
static void check_pins(struct world *w, struct hub *hub)
{
	int used = atomic_load(&hub->pins.used), max = atomic_load(&hub->pins.max), n = 0;
	const struct link *l;
	unsigned i;

	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];

		for (l = h->clients.next; w->running[i] && l != &h->clients; l = l->next) {
			const struct client *c = LIST_ITEM(l, struct client, all);

			n += c->residue.token && c->shard->pool.hub == hub;
		}
	}
	if (n != used)
		sim_wrong(&w->s, "pool %s/%s: %d clients are bound, and %d tokens of "
				 "max_pinned_servers taken",
			  hub->db, hub->user, n, used);
	if (max && used > max && !w->lowered)
		sim_wrong(&w->s, "pool %s/%s: %d clients are bound, and at most %d may be", hub->db,
			  hub->user, used, max);
}

/* The tokens of its groups are those of their pools. */
static void check_groups(struct world *w, const struct hub *hub)
{
	const struct hub *other;
	int in = 0, of = 0;

	for (other = w->sh.hubs.head; other; other = other->next) {
		int used = atomic_load(&other->limit.used);

		in += other->in == hub->in ? used : 0;
		of += other->of == hub->of ? used : 0;
	}
	if (in != atomic_load(&hub->in->limit.used) || of != atomic_load(&hub->of->limit.used))
		sim_wrong(&w->s, "pools of %s have %d servers and of user %s %d, and %d and %d tokens "
				 "are taken", hub->in->name, in, hub->of->name, of,
			  atomic_load(&hub->in->limit.used), atomic_load(&hub->of->limit.used));
}

static void check_hub(void *arg, struct hub *hub)
{
	struct world *w = arg;
	struct sums s = { 0 };
	int used = atomic_load(&hub->limit.used), max = atomic_load(&hub->limit.max);
	unsigned i;

	for (i = 0; i < w->workers; i++)
		if (w->running[i])
			add_hall(w, &w->sh.halls[i], hub, &s);
	s.moving = atomic_load(&hub->moving);
	if (w->stopped)
		return; /* servers that were on their way to who has ended */
	if (s.servers + s.moving != used)
		sim_wrong(&w->s, "pool %s/%s: %d servers, %d on their way, and %d tokens taken",
			  hub->db, hub->user, s.servers, s.moving, used);
	if (max && used > max && !w->lowered)
		sim_wrong(&w->s, "pool %s/%s: %d servers, and at most %d are allowed", hub->db,
			  hub->user, used, max);
	used = atomic_load(&hub->in->limit.used);
	max = atomic_load(&hub->in->limit.max);
	if (max && used > max && !w->lowered)
		sim_wrong(&w->s, "database %s: %d servers, and at most %d are allowed", hub->db, used,
			  max);
	used = atomic_load(&hub->of->limit.used);
	max = atomic_load(&hub->of->limit.max);
	if (max && used > max && !w->lowered)
		sim_wrong(&w->s, "user %s: %d servers, and at most %d are allowed", hub->of->name, used,
			  max);
	check_groups(w, hub);
	check_pins(w, hub);
	/* a letter that could not be written is made up for by the upkeep */
	if (s.waiting && s.idle && !(w->may & MAY_MEMORY))
		sim_wrong(&w->s, "pool %s/%s: %d wait beside %d idle servers", hub->db, hub->user,
			  s.waiting, s.idle);
}

static bool has_room(struct limit *l)
{
	int max = atomic_load(&l->max);

	return !max || atomic_load(&l->used) < max;
}

/* Nobody waits while there is room for one more server and a node that would do. Where
 * memory or descriptors are wanting the upkeep tries again. */
static void check_dialled(struct world *w, const struct shard *sh)
{
	const struct conf_global *g = &sh->snap->conf->g;
	const struct dial_limits limits = { (int)g->max_node_connections, (int)g->max_node_logins };
	const struct pool *p = &sh->pool;
	uint64_t when;
	size_t i;

	if (!p->waiting_n || sh->gone || p->n[SEAT_DIALLING] || p->n[SEAT_CLEANING] ||
	    w->s.now_us < sh->dial_after_us || !has_room(&p->hub->limit) ||
	    !has_room(&p->hub->in->limit) || !has_room(&p->hub->of->limit) ||
	    (w->may & MAY_MEMORY) ||
	    (w->faults >> FAULT_SCARCE & 1) || deadline_is_set(&sh->dial_dl))
		return;
	for (i = 0; i < sh->db->node_n && i < PICK_TRIED; i++)
		if (!(sh->tried >> i & 1) &&
		    target_suits(sh->db->nodes[i].t, shard_attrs(sh)) > SUIT_PANIC &&
		    (dials_open(sh->db->nodes[i].t, &limits, w->s.now_us, &when) || when != UINT64_MAX))
			sim_wrong(&w->s, "pool %s/%s: %d wait, and there is room to dial %s",
				  p->hub->db, p->hub->user, p->waiting_n,
				  sh->db->nodes[i].t->addr.name);
}

/* An idle server keeps nothing of the client before, and is set as pgweir believes. */
static void check_idle(struct world *w, const struct server *sv)
{
	const struct engine *e = cluster_engine(&w->cluster, sv->s.fd);
	unsigned left, i;

	if (!e || !net_fd_calm(w->net, sv->s.fd) || !engine_at_rest(e))
		return;
	left = engine_left(e);
	if (left)
		sim_wrong(&w->s, "%s is idle and its backend has kept %#x of a client", sv->who,
			  left);
	for (i = 0; i < sv->params.n; i++) {
		const char *name = sv->params.v[i].name, *is, *plain;
		char text[300];

		is = engine_show(e, name, text, sizeof(text));
		plain = engine_setting(e, name); /* pg_settings has no units */
		if (!is || (strcmp(is, sv->params.v[i].value) != 0 &&
			    strcmp(plain, sv->params.v[i].value) != 0))
			sim_wrong(&w->s, "%s is idle: %s is taken to be '%s' and is '%s'", sv->who,
				  name, sv->params.v[i].value, is ? is : "(none)");
	}
}

/* A client in limbo, in backoff and so on is where its state says. */
static void check_client(struct world *w, const struct client *c)
{
	const struct server *sv = server_for(c);

	if (sv && sv->ps.client != &c->pc)
		sim_wrong(&w->s, "%s has a server that has another client", WHO(&c->log));
	if (c->state == CL_LINKED && !sv)
		sim_wrong(&w->s, "%s is linked to nothing", WHO(&c->log));
	if ((c->state == CL_READY || c->state == CL_WAITING) && sv)
		sim_wrong(&w->s, "%s has a server and is %s", WHO(&c->log),
			  client_state_name(c->state));
	/* one whose transaction moves is going to be bound as it was */
	if ((c->state == CL_READY || c->state == CL_WAITING) && c->residue.token && !replay_runs(c))
		sim_wrong(&w->s, "%s has no server and counts as bound to one", WHO(&c->log));
	if (c->state == CL_WAITING && !c->pc.ticket)
		sim_wrong(&w->s, "%s waits in no queue", WHO(&c->log));
}

/* Deadlines are kept to the turn; a busy worker has its turns later than they are due. */
#define LATE_US 50000u

static void check_deadline(struct world *w, const struct log_ctx *who, const struct deadline *d)
{
	if (deadline_is_set(d) && w->s.now_us > d->at_us + LATE_US)
		sim_wrong(&w->s, "%s: a deadline was %llu us ago", WHO(who),
			  (unsigned long long)(w->s.now_us - d->at_us));
}

/* Nobody waits longer than it was said to. */
static void check_time(struct world *w, const struct client *c)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	uint64_t since = w->s.now_us - c->wait_since, fail = c->unit.first_fail_us;

	check_deadline(w, &c->log, &c->dl);
	check_deadline(w, &c->log, &c->idle_dl);
	if (c->state == CL_WAITING && c->wait_timeout_us > 0 &&
	    since > (uint64_t)c->wait_timeout_us + LATE_US)
		sim_wrong(&w->s, "%s has waited %llu us for a server, over query_wait_timeout",
			  WHO(&c->log), (unsigned long long)since);
	if (c->state == CL_WAITING && deadline_is_set(&c->idle_dl))
		sim_wrong(&w->s, "%s waits for a server, and counts as idle", WHO(&c->log));
	if (c->state == CL_READY && c->idle_timeout_us > 0 && !c->begun && !c->limbo &&
	    !deadline_is_set(&c->idle_dl) && c->s.wants && !stream_have(&c->s))
		sim_wrong(&w->s, "%s is idle and client_idle_timeout does not run", WHO(&c->log));
	if (c->unit.state != UNIT_NONE && c->unit.attempts > g->retry_max_attempts && !w->lowered)
		sim_wrong(&w->s, "%s: a unit has been run %u times again, and may be %lld times",
			  WHO(&c->log), c->unit.attempts, (long long)g->retry_max_attempts);
	if (c->replay && (int64_t)c->replay->attempts > g->retry_max_attempts && !w->lowered)
		sim_wrong(&w->s, "%s: a transaction has been replayed %u times, and may be %lld times",
			  WHO(&c->log), c->replay->attempts, (long long)g->retry_max_attempts);
	if (c->replay && replay_runs(c))
		fail = c->replay->first_fail_us;
	if (c->state == CL_BACKOFF && fail && !w->lowered &&
	    w->s.now_us - fail >
		    (uint64_t)g->retry_max_time + (uint64_t)g->retry_backoff_max + LATE_US)
		sim_wrong(&w->s, "%s is to be run again, over retry_max_time", WHO(&c->log));
}

/* Units that had been answered well may be answered otherwise by other data, but not
 * for want of what pgweir had to give again. */
void world_check_mismatch(struct world *w, const struct log_ctx *log)
{
	static const char *const own[] = { "26000", "34000", "42P05", "42P03", "3B001", "25P01",
					   "08P01" };
	const struct link *l;
	unsigned i, k;

	if (w->may & MAY_MEMORY)
		return;
	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];

		for (l = h->clients.next; w->running[i] && l != &h->clients; l = l->next) {
			const struct client *c = LIST_ITEM(l, struct client, all);
			const struct server *sv = server_for(c);
			const struct engine *e = sv ? cluster_engine(&w->cluster, sv->s.fd) : NULL;

			if (&c->log != log || !e)
				continue;
			for (k = 0; k < sizeof(own) / sizeof(*own); k++)
				if (strcmp(engine_abort_code(e), own[k]) == 0)
					sim_wrong(&w->s, "%s: its replay failed with %s", WHO(log), own[k]);
		}
	}
}

/* ---- first come, first served ---- */

static struct queued *queued(struct world *w, uint64_t client)
{
	unsigned i;

	for (i = 0; i < w->queue_n; i++)
		if (w->queue[i].client == client)
			return &w->queue[i];
	return NULL;
}

static void look_at_queue(struct world *w)
{
	const struct link *l;
	unsigned i;

	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];

		for (l = h->clients.next; w->running[i] && l != &h->clients; l = l->next) {
			const struct client *c = LIST_ITEM(l, struct client, all);
			struct queued *q = queued(w, c->id);

			if (!q)
				continue;
			q->waits = c->pc.ticket == q->ticket;
			q->served = !c->pc.ticket && c->pc.server && c->pc.pool == q->pool;
		}
	}
}

static void note_queue(struct world *w)
{
	const struct link *l;
	unsigned i;

	w->queue_n = 0;
	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];

		for (l = h->clients.next; w->running[i] && l != &h->clients; l = l->next) {
			const struct client *c = LIST_ITEM(l, struct client, all);

			if (c->pc.ticket && w->queue_n < QUEUE_MAX)
				w->queue[w->queue_n++] = (struct queued){ c->id, c->pc.ticket,
									  c->pc.pool, false, false };
		}
	}
}

/* Of those who waited in one worker for one pool, nobody was served before who had come
 * before. */
static void check_queue(struct world *w)
{
	unsigned i, k;

	if (w->queue_n)
		look_at_queue(w);
	for (i = 0; i < w->queue_n; i++)
		for (k = 0; k < w->queue_n; k++) {
			const struct queued *a = &w->queue[i], *b = &w->queue[k];

			if (a->waits && b->served && a->pool == b->pool && a->ticket < b->ticket)
				sim_wrong(&w->s, "a client that had waited since %llu was overtaken "
						 "by one since %llu",
					  (unsigned long long)(a->ticket - SIM_EPOCH_US),
					  (unsigned long long)(b->ticket - SIM_EPOCH_US));
		}
	note_queue(w);
}

/* ---- limits of memory ---- */

/* Bytes of larger blocks; those of small ones go into *small. */
static int64_t counted(const struct hold *h, int64_t *small)
{
	if (h->cap > HOLD_SMALL)
		return (int64_t)h->cap;
	*small += (int64_t)h->cap;
	return 0;
}

static int64_t reserved(const struct world *w)
{
	int64_t n = 0;
	unsigned i;

	for (i = 0; i < w->workers; i++)
		n += w->sh.halls[i].holds.reserved;
	return n;
}

static void check_held(struct world *w)
{
	int64_t held = reserved(w), total = atomic_load(&w->sh.held_bytes);
	const struct link *l;
	unsigned i;

	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];
		int64_t small = 0;

		for (l = h->clients.next; w->running[i] && l != &h->clients; l = l->next) {
			const struct client *c = LIST_ITEM(l, struct client, all);

			held += counted(&c->unit.log, &small) + counted(&c->unit.back, &small) +
				counted(&c->unit.raw, &small);
			if (c->replay)
				held += counted(&c->replay->log, &small) +
					counted(&c->replay->sums, &small) +
					counted(&c->replay->first, &small) +
					counted(&c->replay->done, &small);
		}
		if (w->running[i] && (small != h->holds.used || small > h->holds.reserved))
			sim_wrong(&w->s, "%lld bytes are in small blocks, %lld are counted, and "
					 "%lld reserved", (long long)small, (long long)h->holds.used,
				  (long long)h->holds.reserved);
	}
	if (held != total)
		sim_wrong(&w->s, "%lld bytes are held, and %lld are counted", (long long)held,
			  (long long)total);
	if (total > w->snap->conf->g.retry_mem_total && !w->lowered)
		sim_wrong(&w->s, "%lld bytes are held, over retry_mem_total", (long long)total);
}

/* The longest answer that is held back and a few buffers (settings.c, program.c). */
#define OUT_MAX 600000u

/* What is counted at a node is what is there. Servers between workers sit nowhere. */
static void check_nodes(struct world *w)
{
	const struct target *t;
	const struct link *l;
	unsigned i;

	for (t = w->targets.head; t; t = t->next) {
		int conns = 0, dialling = 0;

		for (i = 0; i < w->workers; i++) {
			const struct hall *h = &w->sh.halls[i];

			for (l = h->servers.next; w->running[i] && l != &h->servers; l = l->next) {
				const struct server *sv = LIST_ITEM(l, struct server, all);

				conns += sv->target == t;
				dialling += sv->target == t && sv->dialling;
			}
		}
		if (conns > atomic_load(&t->conns) || dialling != atomic_load(&t->dialling))
			sim_wrong(&w->s, "node %s has %d connections and %d dials, and %d and %d are counted",
				  t->addr.name, conns, dialling, atomic_load(&t->conns),
				  atomic_load(&t->dialling));
	}
}

static void check_memory(struct world *w, const struct client *c)
{
	if (c->s.out_len > OUT_MAX)
		sim_wrong(&w->s, "%s does not read, and %u bytes are kept for it", WHO(&c->log),
			  c->s.out_len);
}

/* Between two rests: more than any of them has to do, but for a loop that is told of
 * the same again and again. */
#define STEPS_BUSY 20000u

void world_check(struct world *w)
{
	const struct link *l;
	unsigned i;

	if (w->s.steps - w->rested > STEPS_BUSY)
		sim_wrong(&w->s, "busy for %llu steps",
			  (unsigned long long)(w->s.steps - w->rested));
	w->rested = w->s.steps;
	hubs_each(&w->sh.hubs, check_hub, w);
	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];
		const struct shard *sh;

		if (!w->running[i])
			continue;
		for (sh = h->shards; sh; sh = sh->next)
			check_dialled(w, sh);
		for (l = h->servers.next; l != &h->servers; l = l->next) {
			const struct server *sv = LIST_ITEM(l, struct server, all);

			if (sv->ps.seat == SEAT_IDLE && sv->s.fd >= 0)
				check_idle(w, sv);
		}
		for (l = h->clients.next; l != &h->clients; l = l->next)
			check_client(w, LIST_ITEM(l, struct client, all));
		for (l = h->clients.next; l != &h->clients; l = l->next)
			check_memory(w, LIST_ITEM(l, struct client, all));
		for (l = h->clients.next; l != &h->clients; l = l->next)
			check_time(w, LIST_ITEM(l, struct client, all));
	}
	check_queue(w);
	check_held(w);
	check_nodes(w);
}

static const char *final(void *arg, unsigned key)
{
	const struct world *w = arg;

	return store_value(w->cluster.store, key);
}

void world_check_end(struct world *w)
{
	const struct target *t;
	char text[800];

	if (store_open(w->cluster.store))
		sim_wrong(&w->s, "%u transactions are open at the end",
			  store_open(w->cluster.store));
	if (w->cluster.all)
		sim_wrong(&w->s, "connections to servers are left");
	for (t = w->targets.head; t; t = t->next)
		if (atomic_load(&t->conns) || atomic_load(&t->dialling))
			sim_wrong(&w->s, "node %s: %d connections and %d dials are counted at the end",
				  t->addr.name, atomic_load(&t->conns), atomic_load(&t->dialling));
	if (atomic_load(&w->sh.held_bytes) != reserved(w))
		sim_wrong(&w->s, "%lld bytes are held for nobody",
			  (long long)(atomic_load(&w->sh.held_bytes) - reserved(w)));
	if (atomic_load(&w->sh.clients.used))
		sim_wrong(&w->s, "%d tokens of max_client_conn are taken by nobody",
			  atomic_load(&w->sh.clients.used));
	if (door_all(&w->sh.door) || w->sh.hubs.clients.n)
		sim_wrong(&w->s, "%u knocks and %zu counts of clients are nobody's",
			  door_all(&w->sh.door), w->sh.hubs.clients.n);
	if (!history_check(w->history, KEYS, final, w, text, sizeof(text)))
		sim_wrong(&w->s, "history: %s", text);
}
