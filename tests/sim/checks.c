/* tests/sim/checks.c - what must hold whenever pgweir has nothing to do at once, and
 * at the end.
 *
 * SPDX-License-Identifier: ISC
 */
#include <string.h>

#include "world_in.h"

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
	/* a letter that could not be written is made up for by the upkeep */
	if (s.waiting && s.idle && !(w->may & MAY_MEMORY))
		sim_wrong(&w->s, "pool %s/%s: %d wait beside %d idle servers", hub->db, hub->user,
			  s.waiting, s.idle);
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
		sim_wrong(&w->s, "%s is idle and its backend has kept %#x of a client", sv->log.who,
			  left);
	for (i = 0; i < sv->params.n; i++) {
		const char *name = sv->params.v[i].name, *is, *plain;
		char text[300];

		is = engine_show(e, name, text, sizeof(text));
		plain = engine_setting(e, name); /* pg_settings has no units */
		if (!is || (strcmp(is, sv->params.v[i].value) != 0 &&
			    strcmp(plain, sv->params.v[i].value) != 0))
			sim_wrong(&w->s, "%s is idle: %s is taken to be '%s' and is '%s'", sv->log.who,
				  name, sv->params.v[i].value, is ? is : "(none)");
	}
}

/* A client in limbo, in backoff and so on is where its state says. */
static void check_client(struct world *w, const struct client *c)
{
	const struct server *sv = server_for(c);

	if (sv && sv->ps.client != &c->pc)
		sim_wrong(&w->s, "%s has a server that has another client", c->log.who);
	if (c->state == CL_LINKED && !sv)
		sim_wrong(&w->s, "%s is linked to nothing", c->log.who);
	if ((c->state == CL_READY || c->state == CL_WAITING) && sv)
		sim_wrong(&w->s, "%s has a server and is %s", c->log.who,
			  client_state_name(c->state));
	if (c->state == CL_WAITING && !c->pc.ticket)
		sim_wrong(&w->s, "%s waits in no queue", c->log.who);
}

/* The longest answer that is held back and a few buffers (settings.c, program.c). */
#define OUT_MAX 600000u

static void check_memory(struct world *w, const struct client *c)
{
	if (c->s.out_len > OUT_MAX)
		sim_wrong(&w->s, "%s does not read, and %u bytes are kept for it", c->log.who,
			  c->s.out_len);
}

void world_check(struct world *w)
{
	const struct link *l;
	unsigned i;

	hubs_each(&w->sh.hubs, check_hub, w);
	for (i = 0; i < w->workers; i++) {
		const struct hall *h = &w->sh.halls[i];

		if (!w->running[i])
			continue;
		for (l = h->servers.next; l != &h->servers; l = l->next) {
			const struct server *sv = LIST_ITEM(l, struct server, all);

			if (sv->ps.seat == SEAT_IDLE && sv->s.fd >= 0)
				check_idle(w, sv);
		}
		for (l = h->clients.next; l != &h->clients; l = l->next)
			check_client(w, LIST_ITEM(l, struct client, all));
		for (l = h->clients.next; l != &h->clients; l = l->next)
			check_memory(w, LIST_ITEM(l, struct client, all));
	}
	if (atomic_load(&w->sh.held_bytes) < 0)
		sim_wrong(&w->s, "fewer than no bytes are held");
}

static const char *final(void *arg, unsigned key)
{
	const struct world *w = arg;

	return store_value(w->cluster.store, key);
}

void world_check_end(struct world *w)
{
	char text[800];

	if (store_open(w->cluster.store))
		sim_wrong(&w->s, "%u transactions are open at the end",
			  store_open(w->cluster.store));
	if (w->cluster.all)
		sim_wrong(&w->s, "connections to servers are left");
	if (atomic_load(&w->sh.held_bytes))
		sim_wrong(&w->s, "%lld bytes are held for nobody",
			  (long long)atomic_load(&w->sh.held_bytes));
	if (atomic_load(&w->sh.clients.used))
		sim_wrong(&w->s, "%d tokens of max_client_conn are taken by nobody",
			  atomic_load(&w->sh.clients.used));
	if (!history_check(w->history, KEYS, final, w, text, sizeof(text)))
		sim_wrong(&w->s, "history: %s", text);
}
