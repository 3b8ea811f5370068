/* conf/check.c - see check.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf/hba.h"
#include "conf/key.h"

#define WHERE_MAX 300

static int check_databases(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	size_t i;

	if (d->db_n == 0 && !d->conf->from_pgbouncer)
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
		if (!db->k.host && !db->k.hostaddr && !d->conf->from_uri)
			return err_set(e, "%s: database \"%.64s\" has no host=; give addresses, "
				       "names, or the absolute path of a socket directory",
				       draft_db_where(&d->dbs[i], where, sizeof(where)), db->name);
	}
	return 0;
}

/* Texts that must fit into one message of ours. */
static int check_texts(const struct draft *d, struct err *e)
{
	const char *notice = d->conf->g.login_notify_message;
	char where[WHERE_MAX];
	size_t i;

	if (notice && strlen(notice) > 2000)
		return err_set(e, "%s: login_notify_message is longer than 2,000 bytes",
			       draft_where(d, "login_notify_message", where, sizeof(where)));
	for (i = 0; i < d->db_n; i++)
		if (d->dbs[i].d.k.connect_query && strlen(d->dbs[i].d.k.connect_query) > 4000)
			return err_set(e, "%s: database \"%.64s\": connect_query is longer than "
				       "4,000 bytes",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name);
	return 0;
}

static int check_peers(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < d->peer_n; i++)
		if (!d->peers[i].p.k.host)
			return err_set(e, "%s: peer %d has no host=", draft_peer_where(&d->peers[i],
				       where, sizeof(where)), d->peers[i].p.id);
	return 0;
}

/* As libpq has it. */
static const char *wrong_tls(const struct conf_db_keys *k, int64_t mode)
{
	if (k->sslnegotiation == SSLNEG_DIRECT && mode < SSLMODE_REQUIRE)
		return "sslnegotiation = direct needs sslmode = require, verify-ca or verify-full: "
		       "there is no question to which the server could say no";
	if (k->sslrootcert && strcmp(k->sslrootcert, "system") == 0 && mode != SSLMODE_VERIFY_FULL)
		return "sslrootcert = system needs sslmode = verify-full: anybody can have a "
		       "certificate that a public authority has signed";
	return NULL;
}

static bool is_tls_version(const char *v)
{
	static const char *const known[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
	size_t i;

	for (i = 0; v && i < sizeof(known) / sizeof(*known); i++)
		if (strcasecmp(v, known[i]) == 0)
			return true;
	return !v;
}

static int check_tls(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	const char *wrong;
	size_t i;

	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;
		int64_t mode = CONF_PICK(CONF_UNSET, k->sslmode, d->conf->g.server_tls_sslmode);

		wrong = wrong_tls(k, mode);
		if (!is_tls_version(k->ssl_min_protocol_version))
			wrong = "ssl_min_protocol_version is none; allowed: TLSv1.2, TLSv1.3";
		if (!is_tls_version(k->ssl_max_protocol_version))
			wrong = "ssl_max_protocol_version is none; allowed: TLSv1.2, TLSv1.3";
		if (wrong)
			return err_set(e, "%s: database \"%.64s\": %s",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name, wrong);
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

/* A server is told of an address when it logs in, and has that one for ever. */
static int check_remote_addr(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		if (k->crdb_remote_addr == 1 &&
		    CONF_PICK(CONF_UNSET, k->pool_mode, d->conf->g.pool_mode) != POOL_SESSION)
			return err_set(e, "%s: database \"%.64s\": crdb_remote_addr needs pool_mode = "
				       "session: in transaction pooling a server has many clients",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name);
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

/* Does a login need a secret that auth_file has? */
static bool needs_secrets(int64_t method)
{
	return method == AUTH_SCRAM || method == AUTH_MD5 || method == AUTH_PLAIN;
}

/* Does it let everybody in? */
static bool is_open(int64_t method)
{
	return method == AUTH_TRUST || method == AUTH_ANY;
}

/* Are servers asked for the secrets of those who are not in auth_file? */
static bool has_auth_user(const struct draft *d)
{
	size_t i;

	for (i = 0; i < d->db_n; i++)
		if (d->dbs[i].d.k.auth_user)
			return true;
	return d->conf->g.auth_user;
}

/* NULL when there is such a database, else what is wrong. */
static const char *bad_auth_dbname(const struct draft *d, const char *name)
{
	size_t i;

	if (!name)
		return NULL;
	if (strcmp(name, "pgbouncer") == 0 || strcmp(name, "pgweir") == 0)
		return "is the admin console, which has no servers";
	for (i = 0; i < d->db_n; i++)
		if (strcmp(d->dbs[i].d.name, name) == 0 || strcmp(d->dbs[i].d.name, "*") == 0)
			return NULL;
	return "is not in [databases]";
}

static int check_auth_query(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	const char *wrong = bad_auth_dbname(d, g->auth_dbname);
	char where[WHERE_MAX];
	size_t i;

	if (wrong)
		return err_set(e, "%s: auth_dbname = %.64s %s",
			       draft_where(d, "auth_dbname", where, sizeof(where)), g->auth_dbname, wrong);
	for (i = 0; i < d->db_n; i++) {
		const struct conf_db_keys *k = &d->dbs[i].d.k;

		wrong = bad_auth_dbname(d, k->auth_dbname);
		if (wrong)
			return err_set(e, "%s: database \"%.64s\": auth_dbname = %.64s %s",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name, k->auth_dbname, wrong);
	}
	if (has_auth_user(d) && !g->auth_query)
		return err_set(e, "%s: auth_query is empty; leave it away for the default",
			       draft_where(d, "auth_query", where, sizeof(where)));
	return 0;
}

/* Can nobody be asked for a password as it is? local: a rule for unix sockets. */
static bool nobody_passes(const struct conf_global *g, bool local)
{
	return local ? !g->unix_socket_dir : g->client_tls_sslmode == SSLMODE_DISABLE;
}

static int check_passthrough(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	char where[WHERE_MAX];
	size_t i;

	if (nobody_passes(g, true) && nobody_passes(g, false))
		return err_set(e, "%s: auth_type = passthrough asks for passwords over TLS and unix "
			       "sockets only, and there are neither; set client_tls_sslmode and "
			       "its files, or unix_socket_dir",
			       draft_where(d, "auth_type", where, sizeof(where)));
	for (i = 0; i < d->db_n; i++)
		if (d->dbs[i].d.k.user)
			return err_set(e, "%s: database \"%.64s\": user= would open one user's "
				       "connections to everybody's password, and so auth_type = "
				       "passthrough lets nobody in here; leave user= out, or use "
				       "auth_type = hba",
				       draft_db_where(&d->dbs[i], where, sizeof(where)),
				       d->dbs[i].d.name);
	return 0;
}

/* Certificates of clients: what is missing to look at one. */
static const char *no_certificates(const struct conf_global *g)
{
	return g->client_tls_sslmode == SSLMODE_DISABLE ? "client_tls_sslmode and its files" :
	       !g->client_tls_ca_file			? "client_tls_ca_file" :
							  NULL;
}

static int check_cert(const struct draft *d, struct err *e)
{
	const char *missing = no_certificates(&d->conf->g);
	char where[WHERE_MAX];

	return missing ? err_set(e, "%s: auth_type = cert asks clients for a certificate, which needs %s",
				 draft_where(d, "auth_type", where, sizeof(where)), missing) :
			 0;
}

static int check_rules(const struct draft *d, struct err *e)
{
	const struct conf *c = d->conf;
	size_t i;

	for (i = 0; i < c->hba->n; i++) {
		const struct hba_rule *r = &c->hba->rules[i];

		if (needs_secrets(r->method) && !c->g.auth_file && !has_auth_user(d))
			return err_set(e, "%s:%d: the method %s needs auth_file, the list of users and "
				       "their secrets, in %s", r->file, r->line,
				       hba_method_word(r->method), d->path);
		if (r->method == AUTH_PASSTHROUGH && nobody_passes(&c->g, r->conn == HBA_LOCAL))
			return err_set(e, "%s:%d: the method passthrough asks for passwords over TLS "
				       "and unix sockets only: it needs %s in %s", r->file, r->line,
				       r->conn == HBA_LOCAL ? "unix_socket_dir" :
							      "client_tls_sslmode and its files",
				       d->path);
		/* without TLS a line for it fits nobody, as in PostgreSQL */
		if ((r->method == AUTH_CERT || r->clientcert) && r->conn != HBA_LOCAL &&
		    c->g.client_tls_sslmode != SSLMODE_DISABLE && !c->g.client_tls_ca_file)
			return err_set(e, "%s:%d: a certificate is asked for, which needs "
				       "client_tls_ca_file in %s", r->file, r->line, d->path);
		if (r->map && !c->ident)
			return err_set(e, "%s:%d: map=%.80s needs auth_ident_file, the file of maps, "
				       "in %s", r->file, r->line, r->map, d->path);
	}
	return 0;
}

static int check_throttle(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	const struct key *kb = key_find(KEY_GLOBAL, "login_throttle_base");
	const struct key *km = key_find(KEY_GLOBAL, "login_throttle_max");
	char where[WHERE_MAX], base[KEY_TEXT_MAX], max[KEY_TEXT_MAX];

	if (!g->login_throttle_max || g->login_throttle_base <= g->login_throttle_max || !kb || !km)
		return 0;
	return err_set(e, "%s: login_throttle_base = %s is more than login_throttle_max = %s",
		       draft_where(d, "login_throttle_base", where, sizeof(where)),
		       key_print(kb, g, base, sizeof(base)), key_print(km, g, max, sizeof(max)));
}

/* auth_type = any: the client's name must not reach a server. */
static int check_any(const struct draft *d, const char *at, struct err *e)
{
	char where[WHERE_MAX];
	size_t i;

	for (i = 0; i < d->db_n; i++) {
		const struct conf_db *db = &d->dbs[i].d;

		if (!db->k.user || !*db->k.user)
			return err_set(e, "%s: database \"%.64s\" has no user=, which auth_type = any "
				       "(%s) needs: what clients call themselves means nothing",
				       draft_db_where(&d->dbs[i], where, sizeof(where)), db->name, at);
	}
	return 0;
}

static int check_auth(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	const struct key *k = key_find(KEY_GLOBAL, "auth_type");
	char where[WHERE_MAX];

	draft_where(d, "auth_type", where, sizeof(where));
	if (g->auth_type == AUTH_HBA && !d->conf->hba)
		return err_set(e, "%s: auth_type = hba needs auth_hba_file, rules as in "
			       "PostgreSQL's pg_hba.conf", where);
	if (g->auth_type == AUTH_HBA)
		return check_rules(d, e);
	if (g->auth_type == AUTH_ANY)
		return check_any(d, where, e);
	if (g->auth_type == AUTH_PASSTHROUGH)
		return check_passthrough(d, e);
	if (g->auth_type == AUTH_CERT)
		return check_cert(d, e);
	if (!needs_secrets(g->auth_type) || g->auth_file || has_auth_user(d))
		return 0;
	return err_set(e, "%s: auth_type = %s%s needs auth_file, the list of users and "
		       "their secrets; set it, or auth_type = trust", where,
		       key_word(KEY_AUTH_TYPE, g->auth_type),
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
	if (i == n || !is_open(g->auth_type))
		return 0;
	if (d->conf->from_uri)
		return err_set(e, "%s: listen_addr = %.64s reaches beyond this machine, and a "
			       "connection string has no way to ask clients who they are; use a "
			       "configuration file with auth_type and auth_file, or listen on "
			       "127.0.0.1", where, g->listen_addr);
	return err_set(e, "%s: listen_addr = %.64s reaches beyond this machine, where auth_type = "
		       "%s lets everybody in as any user; set auth_type = scram-sha-256 and "
		       "auth_file, or listen on 127.0.0.1", where, g->listen_addr,
		       key_word(KEY_AUTH_TYPE, g->auth_type));
}

static int check_http(const struct draft *d, struct err *e)
{
	char where[WHERE_MAX];
	struct addr *list;
	struct err why;
	size_t n;

	if (addr_http_list(d->names, d->conf->g.http_addr, &list, &n, &why) < 0)
		return err_set(e, "%s: http_addr: %s",
			       draft_where(d, "http_addr", where, sizeof(where)), why.text);
	addr_list_free(list, n);
	return 0;
}

static int check_unix(const struct draft *d, struct err *e)
{
	const struct conf_global *g = &d->conf->g;
	const char *dir = g->unix_socket_dir;
	struct sockaddr_un un;
	struct err why;
	char where[WHERE_MAX];
	socklen_t len;

	if (!dir)
		return 0;
	draft_where(d, "unix_socket_dir", where, sizeof(where));
	if (dir[0] != '/' && (dir[0] != '@' || !dir[1]))
		return err_set(e, "%s: unix_socket_dir = \"%.64s\" is no absolute path; give one, or "
			       "@NAME for an abstract socket, or nothing", where, dir);
	/* a port that is not known yet may have five digits */
	if (addr_unix(dir, g->listen_port ? (int)g->listen_port : 65535, &un, &len, &why) < 0)
		return err_set(e, "%s: unix_socket_dir: %s", where, why.text);
	return 0;
}

int check_all(const struct draft *d, struct err *e)
{
	if (check_databases(d, e) < 0 || check_peers(d, e) < 0 ||
	    check_texts(d, e) < 0 || check_pool_sizes(d, e) < 0 || check_retry(d, e) < 0 ||
	    check_tls(d, e) < 0 || check_throttle(d, e) < 0 || check_remote_addr(d, e) < 0 ||
	    check_auth(d, e) < 0 || check_auth_query(d, e) < 0 ||
	    check_unix(d, e) < 0 || check_http(d, e) < 0)
		return -1;
	return check_listen(d, e);
}
