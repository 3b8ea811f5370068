/* proxy/session/tls_set.c - see tls_set.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/tls_set.h"

#include <stdlib.h>
#include <string.h>

static struct tls_settings client_settings(const struct conf_global *g)
{
	return (struct tls_settings){
		.server = true,
		.key = g->client_tls_key_file,
		.cert = g->client_tls_cert_file,
		.ca = g->client_tls_ca_file,
		.crl = g->client_tls_crl_file,
		.protocols = g->client_tls_protocols,
		.ciphers = g->client_tls_ciphers,
		.ciphers13 = g->client_tls13_ciphers,
		.curve = g->client_tls_ecdhcurve,
		.dh = g->client_tls_dheparams,
		.verify = g->client_tls_sslmode >= SSLMODE_VERIFY_CA,
	};
}

static struct tls_settings server_settings(const struct conf_global *g,
					   const struct conf_db_keys *k, enum sslmode mode)
{
	return (struct tls_settings){
		.key = k->sslkey ? k->sslkey : k->sslcert ? NULL : g->server_tls_key_file,
		.cert = k->sslcert ? k->sslcert : k->sslkey ? NULL : g->server_tls_cert_file,
		.ca = k->sslrootcert ? k->sslrootcert : g->server_tls_ca_file,
		.crl = k->sslcrl ? k->sslcrl : k->sslrootcert ? NULL : g->server_tls_crl_file,
		.protocols = g->server_tls_protocols,
		.min = k->ssl_min_protocol_version,
		.max = k->ssl_max_protocol_version,
		.ciphers = g->server_tls_ciphers,
		.ciphers13 = g->server_tls13_ciphers,
		/* as libpq has it */
		.verify = mode >= SSLMODE_VERIFY_CA || (mode == SSLMODE_REQUIRE && k->sslrootcert),
	};
}

static bool has_own(const struct conf_db_keys *k)
{
	return k->sslrootcert || k->sslcert || k->sslkey || k->sslcrl ||
	       k->ssl_min_protocol_version || k->ssl_max_protocol_version;
}

/* Contexts from the global settings alone, which many databases share. */
struct shared_ctx {
	struct tls_ctx *plain, *verifying;
};

static int make_db(struct tls_db *out, const struct conf *c, const struct conf_db *db,
		   struct shared_ctx *shared, struct err *e)
{
	const struct conf_db_keys *k = &db->k;
	struct tls_settings s;
	struct tls_ctx **at;
	struct err why;

	out->mode = (enum sslmode)CONF_PICK(CONF_UNSET, k->sslmode, c->g.server_tls_sslmode);
	out->direct = k->sslnegotiation == SSLNEG_DIRECT;
	out->sni = k->sslsni != 0; /* unset: yes */
	if (out->mode == SSLMODE_DISABLE)
		return 0;
	s = server_settings(&c->g, k, out->mode);
	out->verify = s.verify;
	if (has_own(k)) {
		s.libpq = true;
		out->ctx = tls_ctx_new(&s, &why);
		return out->ctx ? 0 : err_set(e, "%s:%d: database \"%.64s\": %s",
					      c->path ? c->path : "connection string", db->line,
					      db->name, why.text);
	}
	at = s.verify ? &shared->verifying : &shared->plain;
	if (!*at)
		*at = tls_ctx_new(&s, &why);
	if (!*at)
		return err_set(e, "%s: %s", c->path ? c->path : "connection string", why.text);
	out->ctx = tls_ctx_hold(*at);
	return 0;
}

static int make_all(struct tls_set *s, struct conf *c, struct err *e)
{
	struct shared_ctx shared = { NULL, NULL };
	struct tls_settings client = client_settings(&c->g);
	struct err why;
	int rc = 0;
	size_t i;

	if (c->g.client_tls_sslmode != SSLMODE_DISABLE) {
		s->client = tls_ctx_new(&client, &why);
		if (!s->client)
			rc = err_set(e, "%s: %s", c->path ? c->path : "connection string", why.text);
	}
	for (i = 0; rc == 0 && i < c->db_n; i++)
		rc = make_db(&s->dbs[i], c, &c->dbs[i], &shared, e);
	if (rc == 0 && c->fallback)
		rc = make_db(&s->fallback, c, c->fallback, &shared, e);
	tls_ctx_drop(shared.plain);
	tls_ctx_drop(shared.verifying);
	return rc;
}

struct tls_set *tls_set_make(struct conf *conf, struct err *e)
{
	struct tls_set *s = calloc(1, sizeof(*s));

	if (s)
		s->dbs = calloc(conf->db_n ? conf->db_n : 1, sizeof(*s->dbs));
	if (!s || !s->dbs) {
		free(s);
		(void)err_set(e, "out of memory");
		return NULL;
	}
	atomic_init(&s->refs, 1);
	s->conf = conf_hold(conf);
	if (make_all(s, conf, e)) {
		tls_set_drop(s);
		return NULL;
	}
	return s;
}

struct tls_set *tls_set_hold(struct tls_set *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void tls_set_drop(struct tls_set *s)
{
	size_t i;

	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	tls_ctx_drop(s->client);
	for (i = 0; i < s->conf->db_n; i++)
		tls_ctx_drop(s->dbs[i].ctx);
	tls_ctx_drop(s->fallback.ctx);
	free(s->dbs);
	conf_drop(s->conf);
	free(s);
}

const struct tls_db *tls_set_db(const struct tls_set *s, const struct conf_db *db)
{
	return db == s->conf->fallback ? &s->fallback : &s->dbs[db - s->conf->dbs];
}
