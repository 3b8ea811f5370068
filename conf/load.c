/* conf/load.c - the loaders declared in conf.h: read, check, freeze.
 *
 * All three go the same way; they differ in where the settings come from. A
 * configuration is built whole or not at all.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/conf.h"

#include <ctype.h>
#include <string.h>

#include "conf/advise.h"
#include "conf/check.h"
#include "conf/dialect.h"
#include "conf/draft.h"
#include "conf/hba.h"
#include "conf/ident.h"
#include "conf/secret.h"
#include "conf/text.h"
#include "conf/uri.h"
#include "conf/users.h"

static enum addr_names names_of(const struct conf_over *over)
{
	return over && over->numeric_hosts ? ADDR_NUMERIC : ADDR_RESOLVE;
}

static int load_users(struct draft *d, struct err *e)
{
	const char *path = d->conf->g.auth_file;
	struct text_buf text = {0};
	char where[300];
	struct err why;
	int ret;

	if (!path)
		return 0;
	if (text_slurp(path, &text, &why) < 0)
		return err_set(e, "%s: auth_file: %s",
			       draft_where(d, "auth_file", where, sizeof(where)), why.text);
	ret = users_read(path, text.data, text.len, draft_secret, d, e);
	text_free(&text);
	return ret;
}

/* A file that cannot be read at all is told with the setting that names it; what is
 * wrong inside has a place of its own. */
static int readable(const struct draft *d, const char *key, const char *path, struct err *e)
{
	struct text_buf text = {0};
	char where[300];
	struct err why;
	int ret = text_slurp(path, &text, &why);

	text_free(&text);
	if (ret == 0)
		return 0;
	return err_set(e, "%s: %s: %s", draft_where(d, key, where, sizeof(where)), key, why.text);
}

/* Who wrote hba without a file is told by the checks. */
static int load_rules(struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;

	if (g->auth_type != AUTH_HBA || !g->auth_hba_file)
		return 0;
	if (readable(d, "auth_hba_file", g->auth_hba_file, e) < 0 ||
	    hba_read(g->auth_hba_file, &d->conf->hba, e) < 0)
		return -1;
	if (!g->auth_ident_file)
		return 0;
	if (readable(d, "auth_ident_file", g->auth_ident_file, e) < 0)
		return -1;
	return ident_read(g->auth_ident_file, &d->conf->ident, e);
}

static int load_db_secret(struct draft_db *db, struct err *e)
{
	const struct conf_db_keys *k = &db->d.k;
	const struct secret_source from = {
		.prefix = "",
		/* PgBouncer takes it without user= too, and makes nothing of it. */
		.password = k->user || k->passfile ? k->password : NULL,
		.env = k->password_env,
		.file = k->password_file,
		.passfile = k->passfile,
		.is_implied = db->passfile_is_implied,
	};

	if (!k->user && (k->password_env || k->password_file))
		return err_set(e, "%s is the password of user=, which is not given; a passfile "
			       "can have one for each user",
			       k->password_env ? "password_env" : "password_file");
	return secret_load(&from, &db->d.secret, e);
}

static int load_secrets(struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	const struct secret_source from = {
		.prefix = "health_check_",
		.password = g->health_check_password,
		.env = g->health_check_password_env,
		.file = g->health_check_password_file,
	};
	const char *key = from.file ? "health_check_password_file" :
			  from.env  ? "health_check_password_env" : "health_check_password";
	char where[300];
	struct err why;
	size_t i;

	if (secret_load(&from, &d->conf->health_secret, &why) < 0)
		return err_set(e, "%s: %s", draft_where(d, key, where, sizeof(where)), why.text);
	for (i = 0; i < d->db_n; i++)
		if (load_db_secret(&d->dbs[i], &why) < 0)
			return err_set(e, "%s: database \"%.64s\": %s",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name, why.text);
	return 0;
}

/* The common end. Takes the draft down in any case. read: what reading gave. */
static int finish(struct draft *d, int read, const struct conf_over *over, struct conf **out,
		  struct err *e)
{
	int ret = read;

	if (ret == 0)
		ret = draft_override(d, over, e);
	if (ret == 0)
		ret = load_users(d, e);
	if (ret == 0)
		ret = load_rules(d, e);
	if (ret == 0)
		ret = draft_settle(d, e);
	if (ret == 0)
		ret = check_all(d, e);
	if (ret == 0)
		ret = draft_hosts(d, e);
	if (ret == 0)
		ret = load_secrets(d, e);
	if (ret == 0) {
		d->conf->told_n = d->conf->warning_n;
		advise(d);
		*out = draft_take(d);
		if (!*out)
			ret = err_set(e, "out of memory");
	}
	draft_free(d);
	return ret;
}

int conf_load_file(const char *path, const struct conf_over *over, struct conf **out,
		   struct err *e)
{
	struct dialect_sink sink;
	struct draft d;

	*out = NULL;
	if (draft_init(&d, path, names_of(over), e) < 0)
		return -1;
	sink = draft_sink(&d);
	return finish(&d, dialect_read_file(path, &sink, e), over, out, e);
}

int conf_load_mem(const char *path, const char *text, size_t len, const struct conf_over *over,
		  struct conf **out, struct err *e)
{
	struct dialect_sink sink;
	struct draft d;

	*out = NULL;
	if (draft_init(&d, path, names_of(over), e) < 0)
		return -1;
	sink = draft_sink(&d);
	return finish(&d, dialect_read_mem(path, text, len, &sink, e), over, out, e);
}

int conf_load_uri(const char *uri, const struct conf_over *over, struct conf **out,
		  struct err *e)
{
	struct draft d;

	*out = NULL;
	if (draft_init(&d, "connection string", names_of(over), e) < 0)
		return -1;
	return finish(&d, uri_read(&d, uri, e), over, out, e);
}

bool conf_is_uri(const char *arg)
{
	size_t n = 0;

	if (strncmp(arg, "postgres://", 11) == 0 || strncmp(arg, "postgresql://", 13) == 0)
		return true;
	/* libpq takes anything with a = in it; a path may have one too, but not
	 * behind a bare word. */
	arg += strspn(arg, " \t\n");
	while (isalnum((unsigned char)arg[n]) || arg[n] == '_')
		n++;
	return n > 0 && arg[n + strspn(arg + n, " \t\n")] == '=';
}
