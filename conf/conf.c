/* conf/conf.c - the life of a struct conf, and looking things up in it.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/text.h"

/* Strings are wiped, whichever they are: a list of the secret ones would be
 * forgotten when the next is added. */
#define WIPE_STR(field) text_wipe(&(field));
#define WIPE_BOOL(field)
#define WIPE_INT(field)
#define WIPE_TIME(field)
#define WIPE_SIZE(field)
#define WIPE_WORKERS(field)
#define WIPE_MODE(field)
#define WIPE_POOL_MODE(field)
#define WIPE_BALANCE(field)
#define WIPE_SESSION_ATTRS(field)
#define WIPE_AUTH_TYPE(field)
#define WIPE_SSLMODE(field)
#define WIPE_SSLNEGOTIATION(field)
#define WIPE_CHANNEL_BINDING(field)
#define WIPE_CLEARTEXT(field)
#define WIPE_RETRY(field)
#define WIPE_PIN(field)
#define WIPE_RETRY_UNKNOWN(field)
#define WIPE_ON_MARKED_DOWN(field)

#define KEY(scope, type, name, def, min, max, when, help) WIPE_IN_##scope(type, name)

#define WIPE_IN_GLOBAL(type, name) WIPE_##type(k->name)
#define WIPE_IN_DB(type, name)
#define WIPE_IN_USER(type, name)
#define WIPE_IN_PEER(type, name)
static void wipe_global(struct conf_global *k)
{
#include "conf/keys.def"
}
#undef WIPE_IN_GLOBAL
#undef WIPE_IN_DB

#define KEY(scope, type, name, def, min, max, when, help) WIPE_IN_##scope(type, name)
#define WIPE_IN_GLOBAL(type, name)
#define WIPE_IN_DB(type, name) WIPE_##type(d->k.name)
void conf_db_clear(struct conf_db *d)
{
#include "conf/keys.def"
	text_wipe(&d->name);
	secret_clear(&d->secret);
	hosts_free(d->host_conf, d->host_n);
	d->host_conf = NULL;
	addr_list_free(d->hosts, d->host_n);
	d->hosts = NULL;
	d->host_n = 0;
}
#undef WIPE_IN_DB
#undef WIPE_IN_USER

/* No setting of a user is a string yet; then the loop below is empty. */
#define KEY(scope, type, name, def, min, max, when, help) WIPE_IN_##scope(type, name)
#define WIPE_IN_DB(type, name)
#define WIPE_IN_USER(type, name) WIPE_##type(u->k.name)
void conf_user_clear(struct conf_user *u)
{
#include "conf/keys.def"
	text_wipe(&u->name);
	text_wipe(&u->secret);
}
#undef WIPE_IN_USER
#undef WIPE_IN_PEER

#define KEY(scope, type, name, def, min, max, when, help) WIPE_IN_##scope(type, name)
#define WIPE_IN_USER(type, name)
#define WIPE_IN_PEER(type, name) WIPE_##type(p->k.name)
void conf_peer_clear(struct conf_peer *p)
{
#include "conf/keys.def"
}

struct conf *conf_hold(struct conf *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

/* One of conf_set's: what it has of its own. */
static void drop_set(struct conf *c)
{
	size_t i;

	for (i = 0; c->dbs && i < c->db_n; i++)
		hosts_free(c->dbs[i].host_conf, c->dbs[i].host_n);
	free(c->dbs);
	if (c->fallback)
		hosts_free(c->fallback->host_conf, c->fallback->host_n);
	free(c->fallback);
	conf_drop(c->base);
	free(c);
}

void conf_drop(struct conf *c)
{
	size_t i;

	/* acq_rel: whoever frees must see what the others did before letting go. */
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	wipe_global(&c->g);
	if (c->base) {
		drop_set(c);
		return;
	}
	secret_clear(&c->health_secret);
	for (i = 0; i < c->db_n; i++)
		conf_db_clear(&c->dbs[i]);
	free(c->dbs);
	if (c->fallback)
		conf_db_clear(c->fallback);
	free(c->fallback);
	for (i = 0; i < c->user_n; i++)
		conf_user_clear(&c->users[i]);
	free(c->users);
	for (i = 0; i < c->peer_n; i++)
		conf_peer_clear(&c->peers[i]);
	free(c->peers);
	for (i = 0; i < c->warning_n; i++)
		free(c->warnings[i]);
	free(c->warnings);
	hba_free(c->hba);
	ident_free(c->ident);
	free(c->path);
	free(c);
}

static int db_cmp(const void *name, const void *db)
{
	return strcmp(name, ((const struct conf_db *)db)->name);
}

const struct conf_db *conf_find_db(const struct conf *c, const char *name)
{
	const struct conf_db *d = NULL;

	if (c->db_n > 0)
		d = bsearch(name, c->dbs, c->db_n, sizeof(*c->dbs), db_cmp);
	return d ? d : c->fallback;
}

static int user_cmp(const void *name, const void *user)
{
	return strcmp(name, ((const struct conf_user *)user)->name);
}

const struct conf_user *conf_find_user(const struct conf *c, const char *name)
{
	if (c->user_n == 0)
		return NULL;
	return bsearch(name, c->users, c->user_n, sizeof(*c->users), user_cmp);
}

const struct conf_peer *conf_find_peer(const struct conf *c, int id)
{
	size_t i;

	for (i = 0; i < c->peer_n; i++)
		if (c->peers[i].id == id)
			return &c->peers[i];
	return NULL;
}

const char *conf_secret_for(const struct conf_db *d, const char *host, int port,
			    const char *dbname, const char *user)
{
	if (!d->secret.password)
		return secret_match(&d->secret, host, port, dbname, user);
	return d->k.user && user && strcmp(d->k.user, user) == 0 ? d->secret.password : NULL;
}

bool conf_listed(const char *list, const char *name)
{
	size_t n = strlen(name), len;
	const char *end;

	while (list && n > 0) {
		while (isblank((unsigned char)*list))
			list++;
		end = strchrnul(list, ',');
		for (len = (size_t)(end - list); len > 0 && isblank((unsigned char)list[len - 1]);)
			len--;
		if (len == n && memcmp(list, name, n) == 0)
			return true;
		list = *end ? end + 1 : NULL;
	}
	return false;
}
