/* proxy/session/overdue.c - see overdue.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/overdue.h"

#include "session/ending.h"
#include "session/shard.h"
#include "session/step.h"
#include "wire/wire.h"

/* How long c may take, 0: as long as it likes. */
struct limits {
	uint64_t query, transaction;
};

static struct limits limits_of(const struct client *c)
{
	const struct conf *conf = c->h->snap->conf;
	const struct conf_user *u = conf->has_limits ? conf_find_user(conf, c->user) : NULL;
	const struct conf_db_keys *d = &c->shard->db->conf->k;

	return (struct limits){
		.query = (uint64_t)CONF_PICK(u ? u->k.query_timeout : CONF_UNSET, d->query_timeout,
					     conf->g.query_timeout),
		.transaction = (uint64_t)CONF_PICK(u ? u->k.transaction_timeout : CONF_UNSET,
						   d->transaction_timeout,
						   conf->g.transaction_timeout),
	};
}

static bool is_over(uint64_t limit, uint64_t since, uint64_t now)
{
	return limit && now > since && now - since > limit;
}

static void end_query(struct client *c)
{
	client_end(c, "57014", "terminating connection due to query_timeout", NULL, NULL,
		   "query_timeout");
}

/* true: c has been ended. */
static bool end_linked(struct client *c, const struct server *s)
{
	uint64_t now = c->h->w.now_us;
	bool runs = c->state == CL_REPLAY || (c->state == CL_LINKED && !c->at_start);
	struct limits l;

	if (c->inner || c->replication || (c->state != CL_LINKED && c->state != CL_REPLAY))
		return false;
	l = limits_of(c);
	if (runs && is_over(l.query, c->unit.query_us, now)) {
		end_query(c);
		return true;
	}
	if ((runs || s->tx != 'I') && is_over(l.transaction, c->xact_us, now)) {
		client_end(c, "25P04", "terminating connection due to transaction_timeout", NULL,
			   NULL, "transaction_timeout");
		return true;
	}
	return false;
}

/* From the beginning after each: an end may close other servers. */
static bool end_one(struct hall *h)
{
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &h->servers) {
		const struct server *s = LIST_ITEM(l, struct server, all);
		struct client *c = client_for(s);

		if (c && end_linked(c, s))
			return true;
	}
	return false;
}

static void tell_waits(struct client *c)
{
	const struct wire_error notice = {
		.severity = "NOTICE",
		.sqlstate = "00000",
		.message = "No server connection available in postgres backend, client being queued",
	};
	uint8_t b[256];
	struct wire_put w = wire_put_to(b, sizeof(b));

	c->wait_told = true;
	wire_put_error(&w, 'N', &notice);
	say(c, b, w.len);
}

/* Those who wait for a server, the first of them first. */
static void look_at_waiting(struct hall *h, struct shard *sh)
{
	uint64_t now = h->w.now_us, notify = (uint64_t)h->snap->conf->g.query_wait_notify;
	struct link *l, *tmp;

	LIST_EACH(l, tmp, &sh->pool.waiting) {
		struct client *c = client_of(LIST_ITEM(l, struct pool_client, link));

		if (c->inner || c->state != CL_WAITING)
			continue;
		if (is_over(limits_of(c).query, c->wait_since, now))
			end_query(c);
		else if (!c->wait_told && is_over(notify, c->wait_since, now))
			tell_waits(c);
	}
}

void overdue_tick(struct hall *h)
{
	const struct conf *conf = h->snap->conf;
	struct shard *sh;

	for (sh = h->shards; sh; sh = sh->next) {
		if (sh->pool.waiting_n)
			look_at_waiting(h, sh);
		shard_reserve(sh);
	}
	if (conf->has_limits || conf->g.query_timeout || conf->g.transaction_timeout)
		while (end_one(h))
			;
}
