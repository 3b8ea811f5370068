/* proxy/session/admit.c - see admit.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/admit.h"

#include <stdio.h>
#include <string.h>

#include "session/origin.h"
#include "session/quota.h"
#include "session/shard.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/welcome.h"

bool admit_is_console(const char *db)
{
	return strcmp(db, "pgweir") == 0 || strcmp(db, "pgbouncer") == 0;
}

bool admit_is_owner(const struct client *c)
{
	return c->local && c->peer_uid == c->h->sh->uid && admit_is_console(c->user) && admit_is_console(c->db);
}

/* One too many? Else it has what it counts against. */
static bool over_quota(struct client *c, const struct conf_db *db, struct startup_no *no)
{
	struct quota_no why;

	if (quota_take(c, db, &why))
		return false;
	welcome_auth_ok(c);
	(void)snprintf(no->hint_text, sizeof(no->hint_text), "%s", why.hint);
	(void)refusal(no, why.sqlstate, why.why, *no->hint_text ? no->hint_text : NULL, "%s",
		      why.message);
	return true;
}

/* Of clients that have given none. */
static const char *app_name(const struct snapshot_db *db, const struct conf_global *g)
{
	return db->conf->k.application_name ? db->conf->k.application_name : g->application_name;
}

enum startup admit(struct client *c, struct startup_no *no)
{
	struct hall *h = c->h;
	const struct conf *conf = h->snap->conf;
	const struct snapshot_db *db;
	const struct conf_user *u = conf_find_user(conf, c->user);
	const struct conf_global *g = &conf->g;
	const char *user;
	bool alone;

	if (admit_is_console(c->db)) {
		c->console_admin = conf->loopback_trust || admit_is_owner(c) ||
				   conf_listed(g->admin_users, c->user);
		if (c->console_admin || conf_listed(g->stats_users, c->user)) {
			if (over_quota(c, NULL, no))
				return STARTUP_REFUSED;
			client_step(c, CE_CONSOLE);
			return STARTUP_IN;
		}
		return refusal(no, "28000", "not a console user",
			       "Name the user in admin_users or stats_users.",
			       "user \"%.60s\" may not use the console", c->user);
	}
	db = snapshot_db(h->snap, c->db);
	if (!db) {
		welcome_auth_ok(c);
		return refusal(no, "3D000", "unknown database",
			       "pgweir serves the names in [databases]; * there serves all.",
			       "database \"%.60s\" does not exist", c->db);
	}
	if (gates_disabled(h->gates, c->db)) {
		welcome_auth_ok(c);
		return refusal(no, "57P03", "database disabled",
			       "An operator has said DISABLE on the console; ENABLE ends it.",
			       "database \"%.60s\" is disabled", c->db);
	}
	if (over_quota(c, db->conf, no))
		return STARTUP_REFUSED;
	alone = shard_is_for_one(c, db);
	user = db->conf->k.user && *db->conf->k.user ? db->conf->k.user : c->user;
	if (!g->application_name_add_host || origin_name(c, app_name(db, g)) == 0)
		c->shard = alone ? shard_alone(c, db, user) : shard_get(h, db, c->db, user);
	if (!c->shard)
		return refusal(no, "53200", "out of memory", NULL, "out of memory");
	c->shard->clients++;
	atomic_fetch_add(&c->shard->pool.side->clients, 1);
	c->pool_mode = (uint8_t)CONF_PICK(u ? u->k.pool_mode : CONF_UNSET, db->conf->k.pool_mode,
					  g->pool_mode);
	if (alone)
		c->pool_mode = POOL_SESSION;
	c->statement_only = c->pool_mode == POOL_STATEMENT;
	if (c->statement_only)
		c->pool_mode = POOL_TRANSACTION;
	c->pin = (uint8_t)CONF_PICK(u ? u->k.pin : CONF_UNSET, db->conf->k.pin, g->pin);
	c->retry = (uint8_t)CONF_PICK(u ? u->k.retry : CONF_UNSET, db->conf->k.retry, g->retry);
	c->retry_terminated = CONF_PICK(CONF_UNSET, db->conf->k.retry_terminated,
					g->retry_terminated) != 0;
	c->retry_unknown = (uint8_t)CONF_PICK(u ? u->k.retry_unknown : CONF_UNSET,
					      db->conf->k.retry_unknown, g->retry_unknown);
	switches_start(c);
	c->wait_timeout_us = CONF_PICK(u ? u->k.query_wait_timeout : CONF_UNSET,
				       db->conf->k.query_wait_timeout, g->query_wait_timeout);
	c->idle_timeout_us = CONF_PICK(u ? u->k.client_idle_timeout : CONF_UNSET,
				       db->conf->k.client_idle_timeout, g->client_idle_timeout);
	c->idle_tx_timeout_us = CONF_PICK(u ? u->k.idle_transaction_timeout : CONF_UNSET,
					  db->conf->k.idle_transaction_timeout,
					  g->idle_transaction_timeout);
	if (params_copy(&c->startup, &c->params))
		return refusal(no, "53200", "out of memory", NULL, "out of memory");
	client_step(c, CE_LOGIN);
	return STARTUP_IN;
}

enum startup admit_inner(struct client *c, struct startup_no *no)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	const struct snapshot_db *db = snapshot_db(c->h->snap, c->db);

	c->shard = db ? shard_asks(c->h, db, c->db, c->user) : NULL;
	if (!c->shard)
		return refusal(no, db ? "53200" : "3D000", "no place for auth_query", NULL,
			       db ? "out of memory" : "the database for auth_query does not exist");
	c->shard->clients++;
	atomic_fetch_add(&c->shard->pool.side->clients, 1);
	c->pool_mode = POOL_TRANSACTION;
	c->pin = PIN_ON;
	c->retry = RETRY_IMPLICIT;
	c->retry_unknown = UNKNOWN_OFF;
	switches_start(c);
	c->wait_timeout_us = CONF_PICK(CONF_UNSET, db->conf->k.query_wait_timeout,
				       g->query_wait_timeout);
	client_step(c, CE_LOGIN);
	return STARTUP_IN;
}
