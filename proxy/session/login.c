/* proxy/session/login.c - see login.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/login.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/nodes.h"
#include "session/raw.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"
#include "wire/wire.h"

void login_failed(struct server *s, const char *sqlstate, const char *message, bool hard)
{
	struct shard *sh = s->shard;
	struct target *t = s->target;
	const struct server_up *up = s->h->up;
	char code[6], text[256];

	/* both may point into what is closed here */
	(void)snprintf(code, sizeof(code), "%s", sqlstate);
	(void)snprintf(text, sizeof(text), "%s", message);
	STAT_INC(&s->h->stats, server_connect_failures);
	server_dialled(s, nodes_is_trouble(code) ? DIAL_FAILED : DIAL_OK);
	server_close(s, "login failed", false);
	up->failed(sh, t, code, text, hard);
}

void login_begin(struct server *s, int error)
{
	const struct conf_db_keys *k = &s->shard->db->conf->k;
	const char *app = k->application_name ? k->application_name :
						s->shard->snap->conf->g.application_name;
	uint8_t b[4096];
	struct wire_put w = wire_put_to(b, sizeof(b));
	uint32_t i;

	if (error) {
		/* only these are the node's own word; the others may be our trouble */
		bool hard = error == ECONNREFUSED || error == EHOSTUNREACH ||
			    error == ENETUNREACH || error == ENOENT;

		login_failed(s, "08001", strerror(error), hard);
		return;
	}
	server_step(s, SE_CONNECTED);
	s->login = calloc(1, sizeof(*s->login));
	if (!s->login) {
		login_failed(s, "53200", "out of memory", false);
		return;
	}
	wire_begin(&w, 0);
	wire_put_u32(&w, WIRE_PROTO_3);
	wire_put_str(&w, "user");
	wire_put_str(&w, s->shard->server_user);
	wire_put_str(&w, "database");
	wire_put_str(&w, s->shard->server_db);
	if (s->shard->replication) {
		wire_put_str(&w, "replication");
		wire_put_str(&w, s->shard->replication == REPLICATION_LOGICAL ? "database" : "true");
	}
	for (i = 0; i < s->shard->login_params.n; i++) {
		wire_put_str(&w, s->shard->login_params.v[i].name);
		wire_put_str(&w, s->shard->login_params.v[i].value);
	}
	if (app && *app && !params_get(&s->shard->login_params, "application_name")) {
		wire_put_str(&w, "application_name");
		wire_put_str(&w, app);
	}
	if (k->options && *k->options) {
		wire_put_str(&w, "options");
		wire_put_str(&w, k->options);
	}
	wire_put_u8(&w, 0);
	wire_end(&w);
	if (w.bad)
		login_failed(s, "08P01", "user, database and options are too long together", false);
	else if (stream_send(&s->s, b, w.len) == IO_FAIL)
		login_failed(s, "08006", strerror(s->s.error), false);
}

static void send_password(struct server *s, const void *p, size_t n)
{
	uint8_t b[4096];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 'p');
	wire_put_bytes(&w, p, n);
	wire_end(&w);
	if (!w.bad)
		(void)!stream_send(&s->s, b, w.len);
	OPENSSL_cleanse(b, sizeof(b));
}

static const char *plain_password(const struct shard *sh)
{
	return sh->secret_kind == SECRET_PLAIN ? sh->password : NULL;
}

static const char *ask_clear(struct server *s)
{
	const char *pw = plain_password(s->shard);

	if (!pw)
		return "the server wants a password";
	send_password(s, pw, strlen(pw) + 1);
	return NULL;
}

static const char *ask_md5(struct server *s, struct wire_get *g)
{
	char out[36];
	uint8_t salt[4];
	int i;

	for (i = 0; i < 4; i++)
		salt[i] = wire_get_u8(g);
	if (g->bad)
		return "malformed authentication request";
	if (!s->shard->password || s->shard->secret_kind == SECRET_SCRAM)
		return "the server wants an MD5 password";
	if (md5_response(s->shard->server_user, s->shard->password, salt, out))
		return "MD5 is not available on this machine";
	send_password(s, out, sizeof(out));
	OPENSSL_cleanse(out, sizeof(out));
	return NULL;
}

static const char *ask_sasl(struct server *s, struct wire_get *g)
{
	static const char mech[] = "SCRAM-SHA-256";
	uint8_t raw[18], b[SCRAM_MSG_MAX + 64];
	char nonce[40], first[SCRAM_MSG_MAX];
	struct wire_put w = wire_put_to(b, sizeof(b));
	bool offered = false;
	size_t len, i;
	int n;

	for (;;) {
		const char *m = wire_get_str(g, &len);

		if (g->bad || !len)
			break;
		offered |= strcmp(m, mech) == 0;
	}
	if (!offered)
		return "the server offers no SASL mechanism that is known here";
	if (!plain_password(s->shard))
		return "the server wants SCRAM-SHA-256 and no password is known";
	if (random_secret(raw, sizeof(raw)))
		return "the system has no randomness";
	for (i = 0; i < sizeof(raw); i++)
		(void)snprintf(nonce + 2 * i, 3, "%02x", raw[i]);
	n = scram_client_first(&s->login->scram, nonce, first, sizeof(first));
	if (n < 0)
		return "cannot begin SCRAM";
	s->login->scram_begun = true;
	wire_put_str(&w, mech);
	wire_put_u32(&w, (uint32_t)n);
	wire_put_bytes(&w, first, (size_t)n);
	send_password(s, b, w.len);
	return NULL;
}

static const char *sasl_continue(struct server *s, struct wire_get *g)
{
	char out[SCRAM_MSG_MAX];
	const char *why = "SCRAM failed";
	int n;

	if (!s->login->scram_begun || s->login->scram_done)
		return "authentication messages out of order";
	n = scram_client_final(&s->login->scram, (const char *)g->p, wire_left(g),
			       plain_password(s->shard), &s->shard->salted, out, sizeof(out), &why);
	if (n < 0)
		return why;
	send_password(s, out, (size_t)n);
	OPENSSL_cleanse(out, sizeof(out));
	return NULL;
}

static const char *sasl_final(struct server *s, struct wire_get *g)
{
	const char *why = "SCRAM failed";

	if (!s->login->scram_begun || s->login->scram_done)
		return "authentication messages out of order";
	if (scram_client_check(&s->login->scram, (const char *)g->p, wire_left(g), &why))
		return why;
	s->login->scram_done = true;
	return NULL;
}

/* NULL: go on; else why not. */
static const char *authentication(struct server *s, struct wire_get g)
{
	uint32_t code = wire_get_u32(&g);

	if (g.bad || s->login->ok)
		return "malformed or repeated authentication request";
	switch (code) {
	case 0:
		/* A server that skips its own proof is not the one that knows
		 * the password. */
		if (s->login->scram_begun && !s->login->scram_done)
			return "the server did not prove that it knows the password";
		s->login->ok = true;
		return NULL;
	case 3:
		return ask_clear(s);
	case 5:
		return ask_md5(s, &g);
	case 10:
		return ask_sasl(s, &g);
	case 11:
		return sasl_continue(s, &g);
	case 12:
		return sasl_final(s, &g);
	default:
		return "the server wants an authentication method that is not supported";
	}
}

static void keep_param(struct server *s, const uint8_t *msg, uint32_t len)
{
	struct server_login *l = s->login;
	struct wire_get g = wire_body(msg, len);
	const char *name = wire_get_str(&g, NULL), *value = wire_get_str(&g, NULL);

	if (g.bad)
		return;
	server_param(s, NULL, name, value);
	if (strcmp(name, "crdb_version") == 0) {
		s->crdb = true;
		s->owed.query_ends_skip = true;
	}
	if (l->welcome_len + len <= WELCOME_MAX) {
		memcpy(l->welcome + l->welcome_len, msg, len);
		l->welcome_len += len;
	}
}

/* What it says of its role (PostgreSQL 14 and later) is newer than what a check has
 * found. Does it suit? */
static bool tells_role(struct server *s)
{
	const char *standby = params_get(&s->base, "in_hot_standby");
	enum target_role role;

	if (!standby)
		return true;
	role = strcmp(standby, "on") == 0 ? ROLE_STANDBY : ROLE_PRIMARY;
	if (atomic_load(&s->target->role) != (int)role)
		nodes_seen(s->h, s->target, role == ROLE_STANDBY ? SEEN_STANDBY : SEEN_PRIMARY);
	switch (shard_attrs(s->shard)) {
	case ATTRS_READ_WRITE:
	case ATTRS_PRIMARY:
		return role == ROLE_PRIMARY;
	case ATTRS_STANDBY:
		return role == ROLE_STANDBY;
	case ATTRS_READ_ONLY:
	case ATTRS_PREFER_STANDBY:
	case ATTRS_ANY:
	default:
		return true;
	}
}

static void done(struct server *s)
{
	struct hall *h = s->h;
	const struct snapshot *snap = s->shard->snap;
	int64_t life = s->shard->db->conf->k.server_lifetime;

	server_dialled(s, DIAL_OK);
	atomic_store_explicit(&s->target->login_us, h->w.now_us - s->born_us, memory_order_relaxed);
	if (!tells_role(s)) {
		login_failed(s, "25006", "it has another role than target_session_attrs asks for",
			     false);
		return;
	}
	if (life == CONF_UNSET)
		life = snap->conf->g.server_lifetime;
	/* A random tenth less, so that a pool does not die all at once. */
	s->once = life == 0;
	s->expires_us = life ? h->w.now_us + (uint64_t)life : UINT64_MAX;
	if (life >= 10)
		s->expires_us -= worker_random(&h->w) % ((uint64_t)life / 10);
	if (hub_welcome_set(&h->sh->hubs, s->shard->pool.hub, NULL, 0, s->login->welcome,
			    s->login->welcome_len))
		LOG(&s->log, LOG_LEVEL_WARN, "out_of_memory", NULL);
	/* v21.2 tells of this one at a login and not when it changes, and what else it tells
	 * only then cannot change; newer ones do tell, which is believed */
	if (s->crdb)
		params_unset(&s->base, "IntervalStyle");
	server_login_end(s);
	deadline_clear(&s->dl);
	server_step(s, SE_READY);
	server_look_at_sql(s);
	s->idle_us = h->w.now_us;
	STAT_INC(&h->stats, server_connects);
	LOG(&s->log, snap->conf->g.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "server_login",
	    "took_us=%llu crdb=%d", (unsigned long long)(h->w.now_us - s->born_us), s->crdb);
	h->up->live(s);
}

/* Returns false when s is gone or done. */
static bool message(struct server *s, uint8_t type, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);
	struct wire_fields f;
	const char *why;

	switch (type) {
	case 'R':
		why = authentication(s, g);
		if (!why)
			return true;
		login_failed(s, "28000", why, false);
		return false;
	case 'S':
		keep_param(s, msg, len);
		return true;
	case 'K':
		s->pid = wire_get_u32(&g);
		s->secret = wire_get_u32(&g);
		return true;
	case 'N':
	case 'v':
		return true;
	case 'E':
		wire_get_fields(g, &f);
		login_failed(s, *f.sqlstate ? f.sqlstate : "08006", f.message, false);
		return false;
	case 'Z':
		if (!s->login->ok) {
			login_failed(s, "08006", "ReadyForQuery before AuthenticationOk", false);
			return false;
		}
		return true;
	default:
		login_failed(s, "08006", "the server speaks no PostgreSQL protocol", false);
		return false;
	}
}

void login_readable(struct server *s)
{
	enum io io = stream_fill(&s->s, 0);

	if (io == IO_EOF || io == IO_FAIL) {
		login_failed(s, "08006",
			     io == IO_EOF ? "the server closed the connection during the login" :
					    strerror(s->s.error),
			     false);
		return;
	}
	while (stream_have(&s->s)) {
		uint8_t type = 0, *msg = stream_data(&s->s);
		uint32_t len = 0;
		enum wire_status st = wire_header(msg, stream_have(&s->s), &type, &len);

		if (st == WIRE_BAD || (st == WIRE_OK && len > BUF_CAP)) {
			login_failed(s, "08006", "the server speaks no PostgreSQL protocol", false);
			return;
		}
		if (st == WIRE_MORE || len > stream_have(&s->s))
			return;
		if (!message(s, type, msg, len))
			return;
		stream_consume(&s->s, len);
		if (type == 'Z') {
			done(s);
			return;
		}
	}
}
