/* conf/check.c - see check.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/check.h"

#include <stdio.h>
#include <string.h>

#include "conf/key.h"

#define WHERE_MAX 300

static int check_databases(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	size_t i;

	if (d->db_n == 0)
		return err_set(e, "%s: no database: add a line like app = host=10.0.0.1 to "
			       "[databases] (* = ... stands for every other name)", d->path);
	for (i = 0; i < d->db_n; i++) {
		const struct conf_db *db = &d->dbs[i].d;

		/* The console answers to both names, so that scripts written for
		 * PgBouncer find it. */
		if (strcmp(db->name, "pgbouncer") == 0 || strcmp(db->name, "pgweir") == 0)
			return err_set(e, "%s: the database name \"%s\" is reserved for the admin "
				       "console",
				       draft_db_where(&d->dbs[i], where, sizeof(where)), db->name);
		if (!db->k.host && !d->conf->from_uri)
			return err_set(e, "%s: database \"%.64s\" has no host=; give addresses, "
				       "names, or the absolute path of a socket directory",
				       draft_db_where(&d->dbs[i], where, sizeof(where)), db->name);
	}
	return 0;
}

/* A minimum above the size would keep a pool dialling for ever. */
static int check_pool_sizes(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	char where[WHERE_MAX];
	long long min, size;
	size_t i;

	if (g->default_pool_size != 0 && g->min_pool_size > g->default_pool_size)
		return err_set(e, "%s: min_pool_size = %lld is more than default_pool_size = %lld",
			       draft_where(d, "min_pool_size", where, sizeof(where)),
			       (long long)g->min_pool_size, (long long)g->default_pool_size);
	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		min = CONF_PICK(CONF_UNSET, k->min_pool_size, g->min_pool_size);
		size = CONF_PICK(CONF_UNSET, k->pool_size, g->default_pool_size);
		if (size != 0 && min > size)
			return err_set(e, "%s: database \"%.64s\": %smin_pool_size = %lld is more "
				       "than %s = %lld",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name,
				       k->min_pool_size == CONF_UNSET ? "the global " : "", min,
				       k->pool_size == CONF_UNSET ? "default_pool_size"
								  : "pool_size", size);
	}
	return 0;
}

/* NULL when every code may be retried, else what is wrong with the one at *at. */
static const char *bad_code(const char *list, const char **at, size_t *len)
{
	while (list) {
		const char *end = strchrnul(list, ',');
		size_t n;

		list += strspn(list, " \t");
		n = strcspn(list, " \t,");
		*at = list;
		*len = n;
		if (n != 5 || strspn(list, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") < 5 ||
		    list + n + strspn(list + n, " \t") != end)
			return "is not a SQLSTATE: five digits or capital letters, like 40001";
		/* Not a failure, but "nobody knows": the transaction may have
		 * committed, and then a retry would do it twice. */
		if (memcmp(list, "40003", 5) == 0 || memcmp(list, "08007", 5) == 0)
			return "cannot be retried: its transaction may have committed";
		list = *end ? end + 1 : NULL;
	}
	return NULL;
}

static int check_retry(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	char where[WHERE_MAX], base[KEY_TEXT_MAX], max[KEY_TEXT_MAX];
	const struct key *kb = key_find(KEY_GLOBAL, "retry_backoff_base");
	const struct key *km = key_find(KEY_GLOBAL, "retry_backoff_max");
	const char *wrong, *at = "";
	size_t len = 0;

	wrong = bad_code(g->retry_codes, &at, &len);
	if (wrong)
		return err_set(e, "%s: retry_codes: \"%.*s\" %s",
			       draft_where(d, "retry_codes", where, sizeof(where)),
			       len > 40 ? 40 : (int)len, at, wrong);
	if (g->retry_backoff_base > g->retry_backoff_max && kb && km)
		return err_set(e, "%s: retry_backoff_base = %s is more than retry_backoff_max = %s",
			       draft_where(d, "retry_backoff_base", where, sizeof(where)),
			       key_print(kb, g, base, sizeof(base)),
			       key_print(km, g, max, sizeof(max)));
	return 0;
}

static int check_auth(const struct draft *d, struct err *e)
{
	const struct key *k = key_find(KEY_GLOBAL, "auth_type");
	char where[WHERE_MAX];

	if (d->conf->g.auth_type != AUTH_SCRAM || d->conf->g.auth_file)
		return 0;
	return err_set(e, "%s: auth_type = scram-sha-256%s needs auth_file, the list of users and "
		       "their secrets; set it, or auth_type = trust",
		       draft_where(d, "auth_type", where, sizeof(where)),
		       k && d->set[key_index(k)].file ? "" : " (the default)");
}

static int check_listen(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	struct addr *list;
	struct err why;
	char where[WHERE_MAX];
	size_t n, i;

	draft_where(d, "listen_addr", where, sizeof(where));
	if (addr_listen_list_as(d->names, g->listen_addr, (int)g->listen_port, &list, &n, &why) < 0)
		return err_set(e, "%s: listen_addr: %s", where, why.text);
	for (i = 0; i < n && addr_is_loopback(&list[i].sock.sa);)
		i++;
	addr_list_free(list, n);
	if (i == n || g->auth_type != AUTH_TRUST)
		return 0;
	if (d->conf->from_uri)
		return err_set(e, "%s: listen_addr = %.64s reaches beyond this machine, and a "
			       "connection string has no way to ask clients who they are; use a "
			       "configuration file with auth_type and auth_file, or listen on "
			       "127.0.0.1", where, g->listen_addr);
	return err_set(e, "%s: listen_addr = %.64s reaches beyond this machine, where auth_type = "
		       "trust lets everybody in as any user; set auth_type = scram-sha-256 and "
		       "auth_file, or listen on 127.0.0.1", where, g->listen_addr);
}

int check_all(const struct draft *d, struct err *e)
{
	if (check_databases(d, e) < 0 || check_pool_sizes(d, e) < 0 || check_retry(d, e) < 0 ||
	    check_auth(d, e) < 0)
		return -1;
	return check_listen(d, e);
}
