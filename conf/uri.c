/* conf/uri.c - see uri.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/uri.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "conf/key.h"

/* What libpq's options become. */
enum use {
	USE_SET = 0,                   /* the database's setting of that name */
	USE_HERE,                      /* read by name below */
	USE_AUTO,                      /* only "auto" */
	USE_CLEAR                      /* only words that allow a connection in clear */
};

static const struct option {
	const char *name;
	enum use use;
} options[] = {
	{"host", USE_SET},
	{"hostaddr", USE_SET},
	{"port", USE_SET},
	{"dbname", USE_HERE},
	{"user", USE_SET},
	{"password", USE_HERE},
	{"target_session_attrs", USE_SET},
	{"application_name", USE_SET},
	{"connect_timeout", USE_HERE},
	{"options", USE_SET},
	{"client_encoding", USE_AUTO},
	{"sslmode", USE_SET},
	{"channel_binding", USE_SET},
	{"sslrootcert", USE_SET},
	{"sslcert", USE_SET},
	{"sslkey", USE_SET},
	{"sslcrl", USE_SET},
	{"sslsni", USE_SET},
	{"ssl_min_protocol_version", USE_SET},
	{"ssl_max_protocol_version", USE_SET},
	{"gssencmode", USE_CLEAR},
	{"passfile", USE_HERE},
};

#define OPTION_N (sizeof(options) / sizeof(options[0]))

/* libpq gives NULL for what the string does not name, and means the same by an
 * empty value. */
static const char *value_of(const PQconninfoOption *list, const char *name)
{
	for (; list->keyword; list++)
		if (strcmp(list->keyword, name) == 0)
			return list->val && *list->val ? list->val : NULL;
	return NULL;
}

static int option_check(const char *name, const char *value, struct err *e)
{
	size_t i;

	for (i = 0; i < OPTION_N && strcmp(options[i].name, name) != 0;)
		i++;
	if (i == OPTION_N)
		return err_set(e, "the option %s is not supported", name);
	switch (options[i].use) {
	case USE_SET:
	case USE_HERE:
		return 0;
	case USE_AUTO:
		if (strcmp(value, "auto") == 0)
			return 0;
		return err_set(e, "%s = \"%.40s\" is not supported: clients choose their own; "
			       "leave it out", name, value);
	case USE_CLEAR:
		if (strcmp(value, "disable") == 0 || strcmp(value, "allow") == 0 ||
		    strcmp(value, "prefer") == 0)
			return 0;
		return err_set(e, "%s = \"%.40s\" is refused: GSSAPI encryption is not built; "
			       "allowed: disable, allow, prefer", name, value);
	}
	return 0;
}

/* libpq's connect_timeout: whole seconds, and no limit when 0 or less; there
 * server_connect_timeout holds. */
static int set_timeout(struct conf_db_keys *k, const char *value, struct err *e)
{
	const struct key *row = key_find(KEY_DB, "connect_timeout");
	size_t sign = value[0] == '-' || value[0] == '+';

	if (!value[sign] || strspn(value + sign, "0123456789") != strlen(value + sign))
		return err_set(e, "connect_timeout = \"%.40s\" is not a whole number of seconds",
			       value);
	if (value[0] == '-' || strspn(value + sign, "0") == strlen(value + sign))
		return 0;
	return row ? key_set(row, k, value + sign, e) : 0;
}

static int set_str(struct conf_db_keys *k, const char *name, const char *value, struct err *e)
{
	const struct key *row = key_find(KEY_DB, name);

	return row ? key_set(row, k, value, e) : 0;
}

/* ~/.pgpass, to be freed. NULL: there is no home. */
static char *home_passfile(void)
{
	const char *home = getenv("HOME");
	struct passwd pw, *found = NULL;
	char buf[4096], *path = NULL;

	if ((!home || !*home) && getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) == 0 && found)
		home = found->pw_dir;
	if (!home || !*home || asprintf(&path, "%s/.pgpass", home) < 0)
		return NULL;
	return path;
}

/* As libpq has it: what the string says, PGPASSWORD, the passfile that the string
 * names, PGPASSFILE, ~/.pgpass. */
static int set_secret(struct draft_db *db, const PQconninfoOption *list, struct err *e)
{
	const char *value = value_of(list, "password");
	char *home;
	int ret = 0;

	if (!value)
		value = getenv("PGPASSWORD");
	if (value && *value)
		return set_str(&db->d.k, "password", value, e);
	value = value_of(list, "passfile");
	if (value)
		return set_str(&db->d.k, "passfile", value, e);
	db->passfile_is_implied = true;
	value = getenv("PGPASSFILE");
	if (value && *value)
		return set_str(&db->d.k, "passfile", value, e);
	home = home_passfile();
	if (home)
		ret = set_str(&db->d.k, "passfile", home, e);
	free(home);
	return ret;
}

static int fill_db(struct draft_db *db, const PQconninfoOption *list, struct err *e)
{
	struct conf_db_keys *k = &db->d.k;
	const char *value;
	size_t i;

	if (set_secret(db, list, e) < 0)
		return -1;
	value = value_of(list, "connect_timeout");
	if (value && set_timeout(k, value, e) < 0)
		return -1;
	for (i = 0; i < OPTION_N; i++) {
		const struct key *row = key_find(KEY_DB, options[i].name);

		value = value_of(list, options[i].name);
		if (options[i].use == USE_SET && value && row && key_set(row, k, value, e) < 0)
			return -1;
	}
	return 0;
}

static int add_db(struct draft *d, const char *name, const PQconninfoOption *list, struct err *e)
{
	struct dialect_pos pos = {.file = d->path};
	struct draft_db *db = draft_db(d, name, &pos);
	struct err why;

	if (!db)
		return err_set(e, "out of memory");
	if (fill_db(db, list, &why) < 0)
		return err_set(e, "%s: %s", d->path, why.text);
	return 0;
}

static int fill(struct draft *d, const PQconninfoOption *list, struct err *e)
{
	const char *user = value_of(list, "user"), *dbname = value_of(list, "dbname");
	const PQconninfoOption *o;
	struct err why;

	for (o = list; o->keyword; o++)
		if (o->val && *o->val && option_check(o->keyword, o->val, &why) < 0)
			return err_set(e, "%s: %s", d->path, why.text);
	if (!user)
		return err_set(e, "%s: no user: the connection string must name the user to log "
			       "in as (postgresql://USER@host/database)", d->path);
	if (!dbname)
		dbname = user;
	d->conf->from_uri = true;
	d->conf->loopback_trust = true;
	d->conf->g.auth_type = AUTH_TRUST;
	if (add_db(d, "*", list, e) < 0)
		return -1;
	return strcmp(dbname, "*") == 0 ? 0 : add_db(d, dbname, list, e);
}

/* libpq's own sentence. It likes to quote what it could not parse, which may be
 * the password or the whole URI: only names of options and single signs stay in
 * the quotes. */
static int libpq_error(const char *path, const char *text, struct err *e)
{
	size_t n = strcspn(text, "\n"), from = n, to = n, i;

	if (strncmp(text, "invalid connection option \"", 27) == 0 ||
	    strncmp(text, "invalid URI query parameter: \"", 30) == 0)
		return err_set(e, "%s: %.*s", path, (int)n, text);
	for (i = 0; i < n && from == n; i++) {
		if (text[i] != '"')
			continue;
		if (i + 2 < n && ispunct((unsigned char)text[i + 1]) && text[i + 2] == '"')
			i += 2;
		else
			from = i;
	}
	for (i = from; i < n; i++)
		if (text[i] == '"')
			to = i + 1;
	return err_set(e, "%s: %.*s%s%.*s", path, (int)from, text, from < n ? "\"...\"" : "",
		       (int)(n - to), text + to);
}

int uri_read(struct draft *d, const char *uri, struct err *e)
{
	char *error = NULL;
	PQconninfoOption *list = PQconninfoParse(uri, &error), *o;
	int ret;

	if (!list) {
		ret = libpq_error(d->path, error ? error : "out of memory", e);
		if (error)
			explicit_bzero(error, strlen(error));
		PQfreemem(error);
		return ret;
	}
	ret = fill(d, list, e);
	for (o = list; o->keyword; o++)
		if (o->val)
			explicit_bzero(o->val, strlen(o->val));
	PQconninfoFree(list);
	return ret;
}
