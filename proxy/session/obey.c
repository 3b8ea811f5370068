/* proxy/session/obey.c - see obey.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/obey.h"

#include <string.h>

#include "session/client.h"
#include "session/ending.h"
#include "session/link.h"
#include "session/server.h"

static bool is_of(const struct shard *sh, const char *db)
{
	return !db || strcmp(sh->pool.hub->db, db) == 0;
}

static bool to_renew(const struct server *s)
{
	return s->born_us < s->shard->renew_us;
}

static void close_free(struct hall *h)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);
		bool renew = to_renew(s), idle = s->ps.seat == SEAT_IDLE;

		s->close_needed |= renew;
		/* a login that proves a password goes on, and is closed when it is through */
		if (s->shard->paused && (idle || (s->ps.seat == SEAT_DIALLING && !s->trial)))
			server_close(s, "paused", idle);
		else if (renew && idle)
			server_close(s, "reconnect", true);
	}
}

void obey_gates(struct hall *h, struct gates *g)
{
	struct link *l, *tmp;
	struct shard *sh;

	gates_drop(h->gates);
	h->gates = g;
	h->shutting = g && g->shutting;
	for (sh = h->shards; sh; sh = sh->next) {
		sh->paused = gates_paused(g, sh->pool.hub->db);
		sh->renew_us = gates_renew(g, sh->pool.hub->db);
	}
	close_free(h);
	if (h->shutting)
		LIST_EACH(l, tmp, &h->clients)
			client_turn_away(LIST_ITEM(l, struct client, all));
	link_look(h);
}

static void kill_client(struct client *c, const char *order)
{
	/* what is relayed for a replication client may be in the middle of a message */
	if (c->inner || (c->replication && c->state == CL_LINKED))
		client_close(c, order);
	else
		client_end(c, "57P01", "terminating connection due to administrator command",
			   order, NULL, order);
}

void obey_kill(struct hall *h, const char *db)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->clients) {
		struct client *c = LIST_ITEM(l, struct client, all);

		if (c->shard && is_of(c->shard, db))
			kill_client(c, "KILL on the console of pgweir");
	}
	LIST_EACH(l, tmp, &h->servers) {
		struct server *s = LIST_ITEM(l, struct server, all);

		if (is_of(s->shard, db))
			server_close(s, "killed", true);
	}
}

bool obey_kill_client(struct hall *h, uint64_t id)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->clients) {
		struct client *c = LIST_ITEM(l, struct client, all);

		if (c->id != id || c->inner || c->state == CL_LINGER)
			continue;
		kill_client(c, "KILL_CLIENT on the console of pgweir");
		return true;
	}
	return false;
}

unsigned obey_count_closing(struct hall *h, const char *db)
{
	struct link *l, *tmp;
	unsigned n = 0;

	LIST_EACH(l, tmp, &h->servers) {
		const struct server *s = LIST_ITEM(l, struct server, all);

		n += is_of(s->shard, db) && s->close_needed;
	}
	return n;
}

void obey_end(struct hall *h)
{
	struct link *l, *tmp;

	h->draining = true;
	LIST_EACH(l, tmp, &h->clients)
		client_last_word(LIST_ITEM(l, struct client, all));
}
