/* proxy/checks.c - see checks.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "checks.h"

#include <openssl/x509.h>
#include <string.h>

#include "conf/key.h"
#include "registry.h"

struct target_rule checks_rule(const struct conf_global *g)
{
	return (struct target_rule){ (unsigned)g->health_check_rise, (unsigned)g->health_check_fall };
}

/* What the entry says of the node's host. */
static void set_host(struct probe_conf *pc, const struct snapshot_db *db, const struct target *t)
{
	const struct conf_host *h;
	size_t i;

	for (i = 0; i < db->node_n && db->nodes[i].t != t; i++)
		;
	if (i == db->node_n)
		return;
	h = &db->conf->host_conf[db->nodes[i].host];
	pc->http_port = h->http_port;
	pc->https = h->https;
	pc->http_path = h->http_path;
	pc->ssl.host = h->name;
}

static const char *version(long v)
{
	return v == TLS1_3_VERSION ? "TLSv1.3" : v == TLS1_2_VERSION ? "TLSv1.2" : NULL;
}

/* As the workers have it, but for ciphers. libpq asks for TLS in the protocol, which servers that take it
 * directly do too. */
static struct login_ssl probe_ssl(const struct conf_global *g, const struct snapshot_db *db)
{
	const struct conf_db_keys *k = &db->conf->k;
	const struct tls_db *tls = db->tls;
	const char *ca = !tls || !tls->verify ? NULL :
			 k->sslrootcert	      ? k->sslrootcert :
						g->server_tls_ca_file;

	return (struct login_ssl){
		.mode = key_word(KEY_SSLMODE, tls ? (int64_t)tls->mode : SSLMODE_DISABLE),
		.rootcert = ca && strcmp(ca, "system") == 0 ? X509_get_default_cert_file() : ca,
		.cert = k->sslcert ? k->sslcert : g->server_tls_cert_file,
		.key = k->sslkey ? k->sslkey : g->server_tls_key_file,
		.crl = !ca ? NULL : k->sslcrl ? k->sslcrl : k->sslrootcert ? NULL : g->server_tls_crl_file,
		/* of the file and of server_tls_protocols */
		.min = tls && tls->ctx ? version(SSL_CTX_get_min_proto_version(tls->ctx->ctx)) : NULL,
		.max = tls && tls->ctx ? version(SSL_CTX_get_max_proto_version(tls->ctx->ctx)) : NULL,
		.sni = tls && tls->sni,
		.binding = k->channel_binding == CONF_UNSET ? NULL : key_word(KEY_CHANNEL_BINDING, k->channel_binding),
	};
}

/* As the workers have it: a password does not go to it as it is, but in TLS. */
static bool is_overheard(const struct conf_global *g, const struct sockaddr *sa)
{
	return sa->sa_family != AF_UNIX && g->server_cleartext != CLEARTEXT_ANYWHERE &&
	       !(g->server_cleartext == CLEARTEXT_LOOPBACK && addr_is_loopback(sa));
}

static void start_one(const struct snapshot *snap, struct target *t, struct worker *w,
		      probe_changed_fn *changed, void *arg)
{
	const struct conf_global *g = &snap->conf->g;
	const struct snapshot_db *db = registry_entry(snap, t);
	struct probe_conf pc = {
		.interval_us = g->health_check_interval,
		.timeout_us = g->health_check_timeout,
		.rule = checks_rule(g),
		.user = g->health_check_user,
		.password = snap->conf->health_secret.password,
		.dbname = g->health_check_dbname,
		.max_lag_us = (uint64_t)g->max_standby_lag,
	};

	if (!db) {
		probe_stop(t); /* no entry names it any more */
		return;
	}
	pc.ssl = probe_ssl(g, db);
	set_host(&pc, db, t);
	if (!pc.user)
		pc.user = db->conf->k.user;
	if (!pc.dbname && strcmp(db->conf->name, "*") != 0)
		pc.dbname = db->conf->k.dbname ? db->conf->k.dbname : db->conf->name;
	if (!pc.password)
		pc.password = snapshot_secret_for(db, t, pc.dbname ? pc.dbname : LOGIN_DBNAME,
						  pc.user);
	pc.no_clear = pc.password && is_overheard(g, &t->addr.sock.sa);
	if (probe_start(t, w->base, &pc, &w->log_ctx, changed, arg))
		LOG(&w->log_ctx, LOG_LEVEL_ERROR, "out_of_memory", NULL);
}

void checks_start(const struct snapshot *snap, struct targets *ts, struct worker *w,
		  probe_changed_fn *changed, void *arg)
{
	struct target *t;

	for (t = ts->head; t; t = t->next)
		start_one(snap, t, w, changed, arg);
}
