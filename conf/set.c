/* conf/set.c - conf_set of conf.h: SET on the console.
 *
 * The new configuration has global settings of its own, and borrows all that was read
 * from files from the one that it began with.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/check.h"
#include "conf/draft.h"
#include "conf/foreign.h"
#include "conf/key.h"

#define WHERE "SET"

/* What comes out of files: these are read by RELOAD and by nothing else. */
static bool is_of_files(const char *name)
{
	static const char *const names[] = {
		"auth_file", "auth_hba_file", "auth_ident_file", "health_check_password",
		"health_check_password_env", "health_check_password_file",
	};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* The row, or NULL and *e. */
static const struct key *changeable(const char *name, struct err *e)
{
	const struct key *k = key_find(KEY_GLOBAL, name);
	int foreign = foreign_find(name);
	char hint[128];

	if (!k && foreign >= 0)
		err_set(e, WHERE ": %s has no effect: %s", name, foreign_row((size_t)foreign)->why);
	else if (!k)
		err_set(e, WHERE ": unknown setting \"%.64s\"%s", name,
			key_hint(KEY_GLOBAL, name, hint, sizeof(hint)));
	else if (!k->is_reloadable)
		err_set(e, WHERE ": %s cannot be changed while pgweir runs: change the file and "
			"restart it", k->name);
	else if (is_of_files(k->name))
		err_set(e, WHERE ": %s is read from the file: change it there and RELOAD", k->name);
	else
		return k;
	return NULL;
}

static int copy_global(struct conf_global *to, const struct conf_global *from, struct err *e)
{
	const struct key *k;
	size_t i;
	int ret = 0;

	*to = *from;
	for (i = 0; (k = key_row(i)); i++) {
		char **field = (char **)(void *)((char *)to + k->offset);

		if (k->scope != KEY_GLOBAL || k->type != KEY_STR || !*field)
			continue;
		*field = strdup(*field); /* all of them: none may stay shared */
		if (!*field)
			ret = err_set(e, "out of memory");
	}
	return ret;
}

/* *to borrows all of from but host_conf. */
static int copy_db(struct conf_db *to, const struct conf_db *from, const struct conf_global *g,
		   struct err *e)
{
	struct err why;

	*to = *from;
	to->host_conf = NULL;
	if (draft_host_conf(to, g, &to->host_conf, &why) == 0)
		return 0;
	return err_set(e, WHERE ": database \"%.64s\": %s", to->name, why.text);
}

static int copy_dbs(struct conf *c, const struct conf *old, struct err *e)
{
	size_t i;

	c->dbs = calloc(old->db_n + 1, sizeof(*c->dbs));
	c->fallback = old->fallback ? calloc(1, sizeof(*c->fallback)) : NULL;
	if (!c->dbs || (old->fallback && !c->fallback))
		return err_set(e, "out of memory");
	for (i = 0; i < old->db_n; i++, c->db_n++)
		if (copy_db(&c->dbs[i], &old->dbs[i], &c->g, e) < 0)
			return -1;
	return old->fallback ? copy_db(c->fallback, old->fallback, &c->g, e) : 0;
}

/* The checks between settings, over a draft that owns nothing of it. */
static int check(struct conf *c, struct err *e)
{
	struct draft d = {.path = WHERE, .names = ADDR_RESOLVE, .conf = c};
	size_t i;
	int ret;

	d.set = calloc(key_count(), sizeof(*d.set));
	d.dbs = calloc(c->db_n + 1, sizeof(*d.dbs));
	if (d.set && d.dbs) {
		for (i = 0; i < c->db_n; i++)
			d.dbs[d.db_n++] = (struct draft_db){.d = c->dbs[i], .file = WHERE};
		if (c->fallback)
			d.dbs[d.db_n++] = (struct draft_db){.d = *c->fallback, .file = WHERE};
		for (i = 0; i < d.db_n; i++)
			d.dbs[i].d.line = 0;
		ret = check_all(&d, e);
	} else {
		ret = err_set(e, "out of memory");
	}
	free(d.set);
	free(d.dbs);
	return ret;
}

/* What c has and old has not changed since they were read. */
static void borrow(struct conf *c, struct conf *old)
{
	c->base = conf_hold(old->base ? old->base : old);
	c->path = old->path;
	c->from_uri = old->from_uri;
	c->has_limits = old->has_limits;
	c->from_pgbouncer = old->from_pgbouncer;
	c->loopback_trust = old->loopback_trust;
	c->health_secret = old->health_secret;
	c->users = old->users;
	c->user_n = old->user_n;
	c->peers = old->peers;
	c->peer_n = old->peer_n;
	c->hba = old->hba;
	c->ident = old->ident;
}

int conf_set(struct conf *old, const char *name, const char *value, struct conf **out,
	     struct err *e)
{
	const struct key *k = changeable(name, e);
	struct conf *c;
	struct err why;
	int ret;

	*out = NULL;
	if (!k)
		return -1;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, "out of memory");
	atomic_init(&c->refs, 1);
	borrow(c, old);
	ret = copy_global(&c->g, &old->g, e);
	if (ret == 0 && key_set(k, &c->g, value, &why) < 0)
		ret = err_set(e, WHERE ": %s", why.text);
	if (ret == 0 && c->g.auth_type == AUTH_HBA && !c->hba)
		ret = err_set(e, WHERE ": auth_type = hba needs the rules of auth_hba_file, which "
			      "are read with the file: change it there and RELOAD");
	if (ret == 0)
		ret = copy_dbs(c, old, e);
	if (ret == 0)
		ret = check(c, e);
	if (ret == 0)
		*out = c;
	else
		conf_drop(c);
	return ret;
}
