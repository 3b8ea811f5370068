/* proxy/session/login.c - see login.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/login.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/count.h"
#include "session/encrypt.h"
#include "session/nodes.h"
#include "session/raw.h"
#include "session/server.h"
#include "session/shard.h"
#include "session/step.h"
#include "wire/wire.h"

/* CockroachDB up to version 21 has one code for everything. */
static bool in_words(const char *message)
{
	static const char *const words[] = { "password authentication failed",
					     "does not have login privilege", "requested user is" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strstr(message, words[i]))
			return true;
	return false;
}

bool login_refused(const struct login_end *e)
{
	if (!e->said || e->let_in)
		return false;
	return strcmp(e->sqlstate, "28P01") == 0 || strcmp(e->sqlstate, "28000") == 0 ||
	       (strcmp(e->sqlstate, "XXUUU") == 0 && in_words(e->message));
}

void login_failed(struct server *s, const char *sqlstate, const char *message, bool hard)
{
	struct shard *sh = s->shard;
	struct target *t = s->target;
	struct trial *trial = s->trial;
	const struct server_up *up = s->h->up;
	const struct server_login *l = s->login;
	uint64_t learned = l ? l->learned : 0;
	struct login_end end = { .t = t, .hard = hard, .said = l && l->said, .let_in = l && l->ok };
	char code[6], text[256];

	/* both may point into what is closed here */
	(void)snprintf(code, sizeof(code), "%s", sqlstate);
	(void)snprintf(text, sizeof(text), "%s", message);
	end.sqlstate = code;
	end.message = text;
	if (!trial || !login_refused(&end))
		COUNT_SERVER(s, server_connect_failures);
	server_dialled(s, nodes_is_trouble(code) ? DIAL_FAILED : DIAL_OK);
	server_close(s, "login failed", false);
	if (trial) {
		up->tried(trial, &end);
		return;
	}
	if (learned && learned == sh->learned_serial && login_refused(&end))
		shard_unlearn(sh);
	up->failed(sh, t, code, text, hard);
}

/* Settings of the database's entry. */
static void put_settings(struct wire_put *w, const struct shard *sh)
{
	const struct conf_db_keys *k = &sh->db->conf->k;
	const struct { const char *name, *value; } set[] = {
		{ "application_name", k->application_name ? k->application_name :
							    sh->snap->conf->g.application_name },
		{ "client_encoding", k->client_encoding },
		{ "DateStyle", k->datestyle },
		{ "TimeZone", k->timezone },
	};
	size_t i;

	for (i = 0; i < sizeof(set) / sizeof(*set); i++) {
		if (!set[i].value || !*set[i].value || params_get(&sh->login_params, set[i].name))
			continue;
		wire_put_str(w, set[i].name);
		wire_put_str(w, set[i].value);
	}
}

/* The startup packet. */
static void introduce(struct server *s)
{
	const struct conf_db_keys *k = &s->shard->db->conf->k;
	uint8_t b[4096];
	struct wire_put w = wire_put_to(b, sizeof(b));
	uint32_t i;

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
	put_settings(&w, s->shard);
	if (k->options && *k->options) {
		wire_put_str(&w, "options");
		wire_put_str(&w, k->options);
	}
	wire_put_u8(&w, 0);
	wire_end(&w);
	if (w.bad)
		login_failed(s, "08P01", "user, database and options are too long together", false);
	else if (stream_send(&s->s, b, w.len) == IO_FAIL)
		login_failed(s, "08006", stream_why(&s->s), false);
}

static const struct tls_db *tls_of(const struct server *s)
{
	return encrypt_settings(s);
}

/* The same node the other way, where sslmode leaves the choice. */
static bool other_way(struct server *s)
{
	if (s->second || !encrypt_has_second(tls_of(s)))
		return false;
	if (server_redial(s))
		login_failed(s, "08001", strerror(errno), false);
	return true;
}

static void shake_hands(struct server *s)
{
	server_step(s, SE_TLS);
	if (encrypt_start(&s->s, &s->tls, s->tls_host, s->target))
		login_failed(s, "53200", "out of memory", false);
}

void login_begin(struct server *s, int error)
{
	if (error) {
		/* only these are the node's own word; the others may be our trouble */
		bool hard = error == ECONNREFUSED || error == EHOSTUNREACH ||
			    error == ENETUNREACH || error == ENOENT;

		login_failed(s, "08001", strerror(error), hard);
		return;
	}
	if (!s->second && encrypt_take(s)) {
		login_failed(s, "53200", "out of memory", false);
		return;
	}
	switch (encrypt_how(tls_of(s), s->second)) {
	case ENCRYPT_ASK:
		server_step(s, SE_TLS_ASK);
		if (encrypt_ask(&s->s))
			login_failed(s, "08006", stream_why(&s->s), false);
		break;
	case ENCRYPT_DIRECT:
		shake_hands(s);
		break;
	case ENCRYPT_CLEAR:
	default:
		introduce(s);
	}
}

void login_secured(struct server *s, int error)
{
	char text[256];

	if (!error && (!s->tls.direct || tls_has_alpn(s->s.tls))) {
		introduce(s);
		return;
	}
	(void)snprintf(text, sizeof(text), "TLS with the server failed: %s",
		       error ? stream_why(&s->s) :
			       "it did not answer to the protocol's name (ALPN), which "
			       "sslnegotiation = direct needs");
	if (!other_way(s))
		login_failed(s, "08001", text, false);
}

/* An ErrorResponse before there is TLS: anybody may have written it, so that only its
 * code is of use, which is how a node says that it is leaving. */
static void refused_in_clear(struct server *s)
{
	uint8_t type = 0, *msg = stream_data(&s->s);
	uint32_t len = 0;
	enum wire_status st = wire_header(msg, stream_have(&s->s), &type, &len);
	struct wire_fields f = { .sqlstate = "" };

	if (st == WIRE_MORE || (st == WIRE_OK && len <= BUF_CAP && len > stream_have(&s->s)))
		return;
	if (st == WIRE_OK && len <= stream_have(&s->s))
		wire_get_fields(wire_body(msg, len), &f);
	login_failed(s, strlen(f.sqlstate) == 5 ? f.sqlstate : "08006",
		     "the server refused when it was asked for TLS", false);
}

static void tls_answered(struct server *s)
{
	const char *why;

	switch (encrypt_answered(&s->s, &why)) {
	case ENCRYPT_YES:
		shake_hands(s);
		break;
	case ENCRYPT_NO:
		if (encrypt_must(tls_of(s)))
			login_failed(s, "08001", "the server has no TLS, and sslmode asks for it",
				     false);
		else
			introduce(s);
		break;
	case ENCRYPT_ERROR:
		refused_in_clear(s);
		break;
	case ENCRYPT_MORE:
		break;
	case ENCRYPT_BAD:
	case ENCRYPT_LOST:
	default:
		login_failed(s, "08006", why, false);
	}
}

static void send_password(struct server *s, const void *p, size_t n)
{
	uint8_t b[SECRET_MAX + 64];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 'p');
	wire_put_bytes(&w, p, n);
	wire_end(&w);
	if (!w.bad)
		(void)!stream_send(&s->s, b, w.len);
	explicit_bzero(b, sizeof(b));
}

/* What there is to log in to this node with: the password that is to be proven; or the
 * entry's, which knows the node, before what a client has shown, before that of auth_file,
 * before what auth_query has found. */
static const char *known_secret(const struct server *s, enum secret_kind *kind)
{
	const struct shard *sh = s->shard;
	const char *pw;

	*kind = SECRET_PLAIN;
	if (s->trial)
		return s->trial->password;
	pw = snapshot_secret_for(sh->db, s->target, sh->server_db, sh->server_user);
	if (pw)
		return pw;
	if (sh->learned)
		return sh->learned;
	*kind = sh->password ? sh->secret_kind : sh->found_kind;
	return sh->password ? sh->password : sh->found;
}

/* It has been shown pw, or what pw makes. */
static void showed(struct server *s, const char *pw)
{
	s->login->showed = true;
	if (pw && pw == s->shard->learned)
		s->login->learned = s->shard->learned_serial;
}

static const char *plain_password(const struct server *s)
{
	enum secret_kind kind;
	const char *pw = known_secret(s, &kind);

	return kind == SECRET_PLAIN ? pw : NULL;
}

/* May a password go over this connection as it is? */
static bool may_be_clear(const struct server *s)
{
	const struct sockaddr *sa = &s->target->addr.sock.sa;

	if (stream_is_tls(&s->s) || sa->sa_family == AF_UNIX)
		return true;
	switch ((enum cleartext)s->shard->snap->conf->g.server_cleartext) {
	case CLEARTEXT_ANYWHERE:
		return true;
	case CLEARTEXT_LOOPBACK:
		return addr_is_loopback(sa);
	case CLEARTEXT_NEVER:
	default:
		return false;
	}
}

static enum scram_want wanted_binding(const struct server *s)
{
	switch (s->shard->db->conf->k.channel_binding) {
	case BINDING_REQUIRE:
		return SCRAM_REQUIRE;
	case BINDING_DISABLE:
		return SCRAM_DISABLE;
	default:
		return SCRAM_PREFER;
	}
}

static bool must_bind(const struct server *s)
{
	return wanted_binding(s) == SCRAM_REQUIRE;
}

static const char unbound[] =
	"the server did not ask for SCRAM-SHA-256-PLUS, which channel_binding = require needs";

static const char *ask_clear(struct server *s)
{
	const char *pw = plain_password(s);

	if (must_bind(s))
		return unbound;
	if (!pw)
		return "the server wants a password";
	if (!may_be_clear(s))
		return "the server wants the password as it is, which it does not get without TLS: "
		       "see sslmode and server_cleartext";
	if (strlen(pw) > SECRET_MAX)
		return "the password is too long";
	showed(s, pw);
	send_password(s, pw, strlen(pw) + 1);
	return NULL;
}

static const char *ask_md5(struct server *s, struct wire_get *g)
{
	enum secret_kind kind;
	const char *secret = known_secret(s, &kind);
	char out[36];
	uint8_t salt[4];
	int i;

	for (i = 0; i < 4; i++)
		salt[i] = wire_get_u8(g);
	if (g->bad)
		return "malformed authentication request";
	if (must_bind(s))
		return unbound;
	if (!secret || kind == SECRET_SCRAM)
		return "the server wants an MD5 password";
	if (md5_response(s->shard->server_user, secret, salt, out))
		return "MD5 is not available on this machine";
	showed(s, secret);
	send_password(s, out, sizeof(out));
	explicit_bzero(out, sizeof(out));
	return NULL;
}

/* What channel binding needs of the connection. */
static void see_channel(const struct server *s, struct scram_channel *ch)
{
	X509 *cert = s->s.tls ? tls_peer_cert(s->s.tls) : NULL;

	ch->tls = s->s.tls != NULL;
	if (cert && scram_cert_hash(cert, &ch->binding))
		ch->binding.len = 0;
	X509_free(cert);
}

static const char *ask_sasl(struct server *s, struct wire_get *g)
{
	uint8_t raw[18], b[SCRAM_MSG_MAX + 64];
	char nonce[40], first[SCRAM_MSG_MAX];
	struct wire_put w = wire_put_to(b, sizeof(b));
	struct scram_channel ch = { .want = wanted_binding(s) };
	const char *why = "cannot begin SCRAM";
	size_t len, i;
	int n;

	for (;;) {
		const char *m = wire_get_str(g, &len);

		if (g->bad || !len)
			break;
		scram_channel_offer(&ch, m);
	}
	if (!ch.offered && !ch.plus_offered)
		return "the server offers no SASL mechanism that is known here";
	if (!plain_password(s) && !s->shard->keys)
		return s->shard->secret_kind == SECRET_SCRAM ?
			       "the server wants SCRAM-SHA-256, and of auth_file's SCRAM secret "
			       "alone no login can be made: a login by its keys needs a client "
			       "that has logged in with SCRAM since the start or the last change" :
			       "the server wants SCRAM-SHA-256 and no password is known: it comes "
			       "from the database's password, password_file or passfile, or auth_file";
	see_channel(s, &ch);
	if (worker_secret(&s->h->w, raw, sizeof(raw)))
		return "the system has no randomness";
	for (i = 0; i < sizeof(raw); i++)
		(void)snprintf(nonce + 2 * i, 3, "%02x", raw[i]);
	n = scram_client_first(&s->login->scram, &ch, nonce, first, sizeof(first), &why);
	if (n < 0)
		return why;
	s->login->scram_begun = true;
	wire_put_str(&w, s->login->scram.choice.mech);
	wire_put_u32(&w, (uint32_t)n);
	wire_put_bytes(&w, first, (size_t)n);
	send_password(s, b, w.len);
	return NULL;
}

/* By the password, or by the keys that a client has left. As scram_client_final(). */
static int sasl_answer(struct server *s, const struct wire_get *g, char out[SCRAM_MSG_MAX],
		       const char **why)
{
	struct shard *sh = s->shard;
	struct scram_client *sc = &s->login->scram;
	const char *pw = plain_password(s), *msg = (const char *)g->p;

	*why = "the password went with a reload";
	if (!pw && !sh->keys)
		return -1;
	*why = "SCRAM failed";
	showed(s, pw);
	if (!pw)
		return scram_client_final_keys(sc, msg, wire_left(g), &sh->keys->secret,
					       sh->keys->client_key, out, SCRAM_MSG_MAX, why);
	if (s->trial) /* it may be no password at all */
		return scram_client_final(sc, msg, wire_left(g), pw, NULL, out, SCRAM_MSG_MAX, why);
	/* Nodes may have passwords of their own, and copies of one node have one salt. */
	if (!sh->salted_of || strcmp(sh->salted_of, pw) != 0)
		explicit_bzero(&sh->salted, sizeof(sh->salted));
	sh->salted_of = pw;
	return scram_client_final(sc, msg, wire_left(g), pw, &sh->salted, out, SCRAM_MSG_MAX, why);
}

static const char *sasl_continue(struct server *s, struct wire_get *g)
{
	char out[SCRAM_MSG_MAX];
	const char *why;
	int n;

	if (!s->login->scram_begun || s->login->scram_done)
		return "authentication messages out of order";
	n = sasl_answer(s, g, out, &why);
	if (n < 0)
		return why;
	send_password(s, out, (size_t)n);
	explicit_bzero(out, sizeof(out));
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

	s->login->asked = true;
	if (g.bad || s->login->ok)
		return "malformed or repeated authentication request";
	switch (code) {
	case 0:
		/* A server that skips its own proof is not the one that knows
		 * the password. */
		if (s->login->scram_begun && !s->login->scram_done)
			return "the server did not prove that it knows the password";
		if (must_bind(s) && !(s->login->scram_done && s->login->scram.choice.flag == 'p'))
			return unbound;
		if (s->trial && !s->login->showed)
			return "the server asked for no password, so that this one is not proven";
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
	count_connected(s);
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
		s->login->said = true;
		/* in clear, or not in clear, may be what it minds */
		if (!s->login->asked && (strcmp(f.sqlstate, "28000") == 0 ||
					 strcmp(f.sqlstate, "08P01") == 0) && other_way(s))
			return false;
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

/* The part of SCRAM that takes a millisecond, for whoever it is that wants to log in. */
static bool is_heavy(const struct server *s, uint8_t type, const uint8_t *msg, uint32_t len)
{
	struct wire_get g = wire_body(msg, len);

	return s->trial && type == 'R' && wire_get_u32(&g) == 11;
}

void login_readable(struct server *s)
{
	struct worker *w = &s->h->w;
	bool goes_on;
	enum io io;

	if (s->state == SV_TLS_ASK) {
		tls_answered(s);
		return;
	}
	io = stream_fill(&s->s, 0);
	if (io == IO_EOF || io == IO_FAIL) {
		login_failed(s, "08006",
			     io == IO_EOF ? "the server closed the connection during the login" :
					    stream_why(&s->s),
			     false);
		return;
	}
	while (stream_have(&s->s)) {
		uint8_t type = 0, *msg = stream_data(&s->s);
		uint32_t len = 0;
		enum wire_status st = wire_header(msg, stream_have(&s->s), &type, &len);
		bool heavy = false;

		if (st == WIRE_BAD || (st == WIRE_OK && len > BUF_CAP)) {
			login_failed(s, "08006", "the server speaks no PostgreSQL protocol", false);
			return;
		}
		if (st == WIRE_MORE || len > stream_have(&s->s))
			return;
		heavy = is_heavy(s, type, msg, len);
		if (heavy && !heavy_begin(&s->h->w)) {
			stream_again(&s->s);
			return;
		}
		goes_on = message(s, type, msg, len);
		if (heavy)
			heavy_end(w);
		if (!goes_on)
			return;
		stream_consume(&s->s, len);
		if (type == 'Z') {
			done(s);
			return;
		}
	}
}
