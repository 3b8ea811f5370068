/* conf/advise.c - see advise.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/advise.h"

#include <string.h>

#include "conf/text.h"

#define WHERE_MAX 300

/* Whose file everybody on the machine can read. key: the setting that names it. */
static void advise_mode(struct draft *d, const char *where, const char *key, const char *path)
{
	if (path && strncmp(path, "credential:", 11) != 0 && text_is_public(path))
		draft_warn(d, "%s: %s: everybody on this machine may read %.200s, which holds secrets: "
			   "chmod o= it", where, key, path);
}

/* Does the file itself hold a password? */
static bool has_password(const struct draft *d)
{
	size_t i;

	for (i = 0; i < d->db_n; i++)
		if (d->dbs[i].d.k.password)
			return true;
	return d->conf->g.health_check_password;
}

static void advise_files(struct draft *d)
{
	const struct conf_global *g = &d->conf->g;
	const struct { const char *key, *path; } files[] = {
		{"auth_file", g->auth_file},
		{"health_check_password_file", g->health_check_password_file},
		{"client_tls_key_file", g->client_tls_key_file},
		{"server_tls_key_file", g->server_tls_key_file},
	};
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		advise_mode(d, draft_where(d, files[i].key, where, sizeof(where)), files[i].key,
			    files[i].path);
	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		draft_db_where(&d->dbs[i], where, sizeof(where));
		advise_mode(d, where, "password_file", k->password_file);
		advise_mode(d, where, "sslkey", k->sslkey);
	}
	if (!d->conf->from_uri && has_password(d))
		advise_mode(d, d->path, "password", d->path);
}

/* SCRAM cannot be spoken with an MD5 secret. */
static void advise_secrets(struct draft *d)
{
	const char *first = NULL;
	char where[WHERE_MAX];
	size_t i, n = 0;

	if (d->conf->g.auth_type != AUTH_SCRAM)
		return;
	for (i = 0; i < d->user_n; i++) {
		if (d->users[i].u.secret_kind != SECRET_MD5)
			continue;
		first = first ? first : d->users[i].u.name;
		n++;
	}
	if (n)
		draft_warn(d, "%s: auth_type = scram-sha-256 lets nobody in who has an MD5 secret: "
			   "user \"%.64s\"%s of auth_file; auth_type = md5 takes both kinds",
			   draft_where(d, "auth_type", where, sizeof(where)), first,
			   n > 1 ? " and others" : "");
}

/* Roles of nodes are learned by checks that log in. */
static void advise_checks(struct draft *d)
{
	const struct conf_global *g = &d->conf->g;
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < d->db_n && !g->health_check_user; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		if (k->user || CONF_PICK(CONF_UNSET, k->target_session_attrs,
					 g->target_session_attrs) == ATTRS_ANY)
			continue;
		draft_warn(d, "%s: database \"%.64s\": target_session_attrs needs the roles of its "
			   "nodes, which checks learn by logging in: set health_check_user (and "
			   "its password), or user=",
			   draft_db_where(&d->dbs[i], where, sizeof(where)), d->dbs[i].d.name);
	}
}

void advise(struct draft *d)
{
	if (d->db_n == 0)
		draft_warn(d, "%s: no database: only the console can be reached", d->path);
	advise_files(d);
	advise_secrets(d);
	advise_checks(d);
}
