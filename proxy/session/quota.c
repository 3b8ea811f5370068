/* proxy/session/quota.c - see quota.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/quota.h"

#include <stdio.h>

/* max_client_logins = 0 is as many as max_client_conn, but not fewer than these. */
#define STRANGERS_MIN 128

/* ---- before the login ---- */

unsigned quota_strangers_max(const struct conf_global *g)
{
	if (g->max_client_logins)
		return (unsigned)g->max_client_logins;
	return g->max_client_conn < STRANGERS_MIN ? STRANGERS_MIN : (unsigned)g->max_client_conn;
}

/* ---- after it ---- */

static bool refuse(struct quota_no *no, const char *setting)
{
	no->sqlstate = "53300";
	no->why = setting;
	return false;
}

static bool take_console(struct client *c, struct quota_no *no)
{
	if (limit_take(&c->h->sh->consoles)) {
		c->quota.console = true;
		return true;
	}
	(void)snprintf(no->message, sizeof(no->message), "too many clients of the console");
	(void)snprintf(no->hint, sizeof(no->hint),
		       "At most %d are let in at one time; max_client_conn is not for them.",
		       CONSOLES_MAX);
	return refuse(no, "consoles");
}

static bool take_any(struct client *c, struct quota_no *no)
{
	if (limit_take(&c->h->sh->clients)) {
		c->quota.client = true;
		return true;
	}
	(void)snprintf(no->message, sizeof(no->message), "sorry, too many clients already");
	(void)snprintf(no->hint, sizeof(no->hint), "The limit is the setting max_client_conn.");
	return refuse(no, "max_client_conn");
}

/* One of these two settings. own: it is not the global one that holds. */
static bool take_named(struct client *c, enum count_kind kind, int64_t max, bool own,
		       struct quota_no *no)
{
	static const struct {
		const char *setting, *what, *section;
	} word[COUNT_KINDS] = {
		[COUNT_DB] = { "max_db_client_connections", "database", "[databases]" },
		[COUNT_USER] = { "max_user_client_connections", "user", "[users]" },
	};
	const char *name = kind == COUNT_DB ? c->db : c->user;

	switch (counts_take(&c->h->sh->hubs.clients, kind, name, (int)max, &c->quota.of[kind])) {
	case COUNT_OK:
		return true;
	case COUNT_FULL:
		(void)snprintf(no->message, sizeof(no->message),
			       "too many connections for %s \"%.60s\" (%s)", word[kind].what, name,
			       word[kind].setting);
		(void)snprintf(no->hint, sizeof(no->hint),
			       "At most %lld clients of this %s are let in: see %s in %s.",
			       (long long)max, word[kind].what, word[kind].setting,
			       own ? word[kind].section : "[pgweir]");
		return refuse(no, word[kind].setting);
	case COUNT_NO_MEMORY:
	default:
		(void)snprintf(no->message, sizeof(no->message), "out of memory");
		*no->hint = 0;
		no->sqlstate = "53200";
		no->why = "out of memory";
		return false;
	}
}

static void give_all(struct client *c)
{
	struct shared *sh = c->h->sh;
	int kind;

	for (kind = 0; kind < COUNT_KINDS; kind++) {
		counts_give(&sh->hubs.clients, c->quota.of[kind]);
		c->quota.of[kind] = NULL;
	}
	if (c->quota.client)
		limit_give(&sh->clients);
	if (c->quota.console)
		limit_give(&sh->consoles);
	c->quota.client = c->quota.console = false;
}

/* It has logged in, or gone. */
static void leave_door(struct client *c)
{
	if (c->knock)
		door_leave(&c->h->sh->door, c->knock);
	c->knock = NULL;
}

bool quota_take(struct client *c, const struct conf_db *db, struct quota_no *no)
{
	const struct conf *conf = c->h->snap->conf;
	const struct conf_user *u = conf_find_user(conf, c->user);
	int64_t of_user = u ? u->k.max_user_client_connections : CONF_UNSET;
	int64_t of_db = db ? db->k.max_db_client_connections : CONF_UNSET;
	bool ok;

	if (!db)
		ok = take_console(c, no);
	else
		ok = take_any(c, no) &&
		     take_named(c, COUNT_DB,
				CONF_PICK(CONF_UNSET, of_db, conf->g.max_db_client_connections),
				of_db != CONF_UNSET, no) &&
		     take_named(c, COUNT_USER,
				CONF_PICK(of_user, CONF_UNSET, conf->g.max_user_client_connections),
				of_user != CONF_UNSET, no);
	if (ok)
		leave_door(c);
	else
		give_all(c);
	return ok;
}

void quota_give(struct client *c)
{
	leave_door(c);
	give_all(c);
}
