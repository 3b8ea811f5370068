/* proxy/session/startup.c - see startup.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/startup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/cancel.h"
#include "session/shard.h"
#include "session/raw.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/welcome.h"
#include "wire/wire.h"

static enum startup refuse(struct startup_no *no, const char *sqlstate, const char *why,
			   const char *hint)
{
	no->sqlstate = sqlstate;
	no->why = why;
	no->hint = hint;
	return STARTUP_REFUSED;
}

void startup_end(struct client *c)
{
	if (!c->login)
		return;
	scram_server_wipe(&c->login->scram);
	free(c->login);
	c->login = NULL;
}

/* ---- the startup packet ---- */

static void negotiate(struct client *c, const char *const *options, unsigned n)
{
	uint8_t b[1024];
	struct wire_put w = wire_put_to(b, sizeof(b));
	unsigned i;

	wire_begin(&w, 'v');
	wire_put_u32(&w, WIRE_PROTO_3);
	wire_put_u32(&w, n);
	for (i = 0; i < n; i++)
		wire_put_str(&w, options[i]);
	wire_end(&w);
	if (!w.bad)
		say(c, b, w.len);
}

static const char no_room[] = "out of memory, or too many or too long settings";

/* One name and value of the packet, not options. NULL: fine; else why not. */
static const char *one_param(struct client *c, const char *name, const char *value)
{
	int kind;
	char **where = strcmp(name, "user") == 0 ? &c->user :
		       strcmp(name, "database") == 0 ? &c->db : NULL;

	if (where) {
		free(*where);
		*where = strdup(value);
		return *where ? NULL : "out of memory";
	}
	if (strcmp(name, "replication") == 0) {
		kind = raw_replication(value);
		c->replication = (uint8_t)(kind > 0 ? kind : 0);
		return kind < 0 ? "invalid value" : NULL;
	}
	if (strncasecmp(name, "crdb:", 5) == 0)
		return NULL; /* would let a client forge its address */
	return params_set(&c->params, name, value) ? no_room : NULL;
}

/* One of ours, which no server hears of. */
static const char *our_param(struct client *c, const char *name, const char *value, bool option,
			     struct startup_no *no)
{
	struct switch_no why;

	if (switches_ask(c, name, value, option, &why))
		return NULL;
	(void)snprintf(no->message, sizeof(no->message), "%s", why.message);
	(void)snprintf(no->hint_text, sizeof(no->hint_text), "%s", why.hint);
	no->hint = *why.hint ? no->hint_text : NULL;
	no->sqlstate = why.sqlstate;
	return "refused";
}

/* The settings in options come before those that the packet names itself, wherever
 * it stands. NULL: fine; else why not. */
static const char *options_param(struct client *c, const char *options, struct startup_no *no)
{
	struct params p = { 0 };
	const char *bad = NULL;
	uint32_t i;

	if (params_options(&p, options, &bad) == 0)
		for (i = 0; i < p.n && !bad; i++) {
			if (switches_ours(p.v[i].name))
				bad = our_param(c, p.v[i].name, p.v[i].value, true, no);
			else if (!params_get(&c->params, p.v[i].name) &&
				 params_set(&c->params, p.v[i].name, p.v[i].value))
				bad = no_room;
		}
	params_clear(&p);
	return bad;
}

static enum startup refuse_param(struct startup_no *no, const char *name, const char *value,
				 const char *why)
{
	if (no->sqlstate) /* it has been said */
		return refuse(no, no->sqlstate, "startup parameter refused", no->hint);
	if (strcmp(name, "replication") == 0)
		(void)snprintf(no->message, sizeof(no->message),
			       "invalid value for parameter \"replication\": \"%.60s\"", value);
	else
		(void)snprintf(no->message, sizeof(no->message),
			       "startup parameter \"%.60s\": %.100s", name, why);
	return refuse(no, "22023", "startup parameter refused", NULL);
}

static enum startup take_params(struct client *c, struct wire_get g, bool newer,
				struct startup_no *no)
{
	const char *unknown[16], *why, *options = "";
	unsigned n = 0;

	for (;;) {
		const char *name = wire_get_str(&g, NULL), *value;

		if (!g.bad && !*name)
			break;
		value = wire_get_str(&g, NULL);
		if (g.bad) {
			(void)snprintf(no->message, sizeof(no->message),
				       "invalid startup packet layout: expected terminator as "
				       "last byte");
			return refuse(no, "08P01", "malformed startup packet", NULL);
		}
		if (strncmp(name, "_pq_.", 5) == 0) {
			if (n < 16)
				unknown[n++] = name;
			continue;
		}
		if (strcmp(name, "options") == 0) {
			options = value;
			continue;
		}
		why = switches_ours(name) ? our_param(c, name, value, false, no) :
					    one_param(c, name, value);
		if (why)
			return refuse_param(no, name, value, why);
	}
	why = options_param(c, options, no);
	if (why)
		return refuse_param(no, "options", options, why);
	if (wire_left(&g)) {
		(void)snprintf(no->message, sizeof(no->message),
			       "invalid startup packet layout: expected terminator as last byte");
		return refuse(no, "08P01", "malformed startup packet", NULL);
	}
	if (newer || n)
		negotiate(c, unknown, n);
	return STARTUP_MORE;
}

static bool is_console(const char *db)
{
	return strcmp(db, "pgweir") == 0 || strcmp(db, "pgbouncer") == 0;
}

/* Who and where: known only after the password was right. */
static enum startup admit(struct client *c, struct startup_no *no)
{
	struct hall *h = c->h;
	const struct conf *conf = h->snap->conf;
	const struct snapshot_db *db;
	const struct conf_user *u = conf_find_user(conf, c->user);
	const struct conf_global *g = &conf->g;
	const char *user;

	if (is_console(c->db)) {
		c->console_admin = conf->loopback_trust || conf_listed(g->admin_users, c->user);
		if (c->console_admin || conf_listed(g->stats_users, c->user)) {
			client_step(c, CE_CONSOLE);
			return STARTUP_IN;
		}
		(void)snprintf(no->message, sizeof(no->message),
			       "user \"%.60s\" may not use the console", c->user);
		return refuse(no, "28000", "not a console user",
			      "Name the user in admin_users or stats_users.");
	}
	db = snapshot_db(h->snap, c->db);
	if (!db) {
		welcome_auth_ok(c);
		(void)snprintf(no->message, sizeof(no->message),
			       "database \"%.60s\" does not exist", c->db);
		return refuse(no, "3D000", "unknown database",
			      "pgweir serves the names in [databases]; * there serves all.");
	}
	user = db->conf->k.user && *db->conf->k.user ? db->conf->k.user : c->user;
	c->shard = c->replication ? shard_replication(c, db, user) : shard_get(h, db, c->db, user);
	if (!c->shard) {
		(void)snprintf(no->message, sizeof(no->message), "out of memory");
		return refuse(no, "53200", "out of memory", NULL);
	}
	c->shard->clients++;
	atomic_fetch_add(&c->shard->pool.side->clients, 1);
	c->pool_mode = (uint8_t)CONF_PICK(u ? u->k.pool_mode : CONF_UNSET, db->conf->k.pool_mode,
					  g->pool_mode);
	if (c->replication)
		c->pool_mode = POOL_SESSION;
	c->pin = (uint8_t)CONF_PICK(u ? u->k.pin : CONF_UNSET, db->conf->k.pin, g->pin);
	c->retry = (uint8_t)CONF_PICK(u ? u->k.retry : CONF_UNSET, db->conf->k.retry, g->retry);
	c->retry_terminated = CONF_PICK(CONF_UNSET, db->conf->k.retry_terminated,
					g->retry_terminated) != 0;
	c->retry_unknown = (uint8_t)CONF_PICK(u ? u->k.retry_unknown : CONF_UNSET,
					      db->conf->k.retry_unknown, g->retry_unknown);
	switches_start(c);
	c->wait_timeout_us = CONF_PICK(u ? u->k.query_wait_timeout : CONF_UNSET,
				       db->conf->k.query_wait_timeout, g->query_wait_timeout);
	c->idle_timeout_us = CONF_PICK(u ? u->k.client_idle_timeout : CONF_UNSET, CONF_UNSET,
				       g->client_idle_timeout);
	c->idle_tx_timeout_us = CONF_PICK(u ? u->k.idle_transaction_timeout : CONF_UNSET,
					  CONF_UNSET, g->idle_transaction_timeout);
	if (params_copy(&c->startup, &c->params)) {
		(void)snprintf(no->message, sizeof(no->message), "out of memory");
		return refuse(no, "53200", "out of memory", NULL);
	}
	client_step(c, CE_LOGIN);
	return STARTUP_IN;
}

static void ask_scram(struct client *c)
{
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 'R');
	wire_put_u32(&w, 10);
	wire_put_str(&w, "SCRAM-SHA-256");
	wire_put_u8(&w, 0);
	wire_end(&w);
	say(c, b, w.len);
	client_step(c, CE_ASK);
}

static void name_it(struct client *c)
{
	char db[28], user[28];
	size_t n = strlen(c->log.who);

	(void)snprintf(c->log.who + n, sizeof(c->log.who) - n, " db=%s user=%s",
		       log_quote(db, sizeof(db), c->db), log_quote(user, sizeof(user), c->user));
}

static enum startup who(struct client *c, struct startup_no *no)
{
	const struct conf *conf = c->h->snap->conf;

	if (!c->user || !*c->user) {
		(void)snprintf(no->message, sizeof(no->message),
			       "no PostgreSQL user name specified in startup packet");
		return refuse(no, "28000", "no user name", NULL);
	}
	if (!c->db || !*c->db) {
		free(c->db);
		c->db = strdup(c->user);
		if (!c->db) {
			(void)snprintf(no->message, sizeof(no->message), "out of memory");
			return refuse(no, "53200", "out of memory", NULL);
		}
	}
	name_it(c);
	if (!limit_take(&c->h->sh->clients)) {
		(void)snprintf(no->message, sizeof(no->message), "sorry, too many clients already");
		return refuse(no, "53300", "max_client_conn",
			      "The limit is the setting max_client_conn.");
	}
	c->counted = true;
	if (conf->g.auth_type == AUTH_TRUST || conf->loopback_trust)
		return admit(c, no);
	ask_scram(c);
	return STARTUP_MORE;
}

static enum startup first_packet(struct client *c, struct startup_no *no)
{
	const uint8_t *p = stream_data(&c->s);
	struct wire_get g;
	uint32_t len = 0, code, pid, secret;
	enum startup r;
	uint8_t bit;

	switch (wire_startup_header(p, stream_have(&c->s), &len)) {
	case WIRE_MORE:
		return STARTUP_MORE;
	case WIRE_BAD: /* no word, as PostgreSQL */
		return refuse(no, NULL, "malformed startup packet", NULL);
	case WIRE_OK:
	default:
		break;
	}
	if (stream_have(&c->s) < len)
		return STARTUP_MORE;
	g = (struct wire_get){ p + 4, p + len, false };
	code = wire_get_u32(&g);
	bit = code == WIRE_SSL_CODE ? 1 : code == WIRE_GSS_CODE ? 2 : 0;
	if (bit && len == 8 && !(c->negotiations & bit)) {
		c->negotiations |= bit;
		stream_consume(&c->s, len);
		say(c, "N", 1);
		return STARTUP_MORE;
	}
	if (code == WIRE_CANCEL_CODE && len == 16) {
		pid = wire_get_u32(&g);
		secret = wire_get_u32(&g);
		cancel_request(c->h, stream_release_fd(&c->s), pid, secret);
		return STARTUP_CANCEL;
	}
	if (code == WIRE_CANCEL_CODE)
		return refuse(no, NULL, "malformed cancel request", NULL);
	if (code >> 16 != 3) {
		(void)snprintf(no->message, sizeof(no->message),
			       "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
			       code >> 16, code & 0xffff);
		return refuse(no, "0A000", "unknown protocol", NULL);
	}
	r = take_params(c, g, code != WIRE_PROTO_3, no);
	stream_consume(&c->s, len);
	return r == STARTUP_MORE ? who(c, no) : r;
}

/* ---- the password ---- */

static enum startup wrong(struct client *c, struct startup_no *no, const char *why)
{
	(void)snprintf(no->message, sizeof(no->message),
		       "password authentication failed for user \"%.60s\"", c->user);
	return refuse(no, "28P01", why, NULL);
}

static void say_sasl(struct client *c, uint32_t code, const char *text, size_t n)
{
	uint8_t b[SCRAM_MSG_MAX + 32];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_begin(&w, 'R');
	wire_put_u32(&w, code);
	wire_put_bytes(&w, text, n);
	wire_end(&w);
	if (!w.bad)
		say(c, b, w.len);
}

static enum startup scram_first(struct client *c, struct wire_get g, struct startup_no *no)
{
	const struct conf_user *u = conf_find_user(c->h->snap->conf, c->user);
	const struct scram_secret *k = u ? snapshot_secret(c->h->snap, u) : NULL;
	const char *mech = wire_get_str(&g, NULL), *why = "malformed SCRAM message";
	uint32_t len = wire_get_u32(&g);
	char nonce[40], out[SCRAM_MSG_MAX];
	uint8_t raw[18];
	unsigned i;
	int n;

	if (g.bad || strcmp(mech, "SCRAM-SHA-256") != 0 || len != wire_left(&g) ||
	    random_secret(raw, sizeof(raw)))
		return wrong(c, no, "malformed SASLInitialResponse");
	c->login = calloc(1, sizeof(*c->login));
	if (!c->login)
		return wrong(c, no, "out of memory");
	c->login->scram_begun = true;
	if (k)
		c->login->scram.secret = *k;
	else
		scram_secret_mock(c->user, c->h->sh->mock_key, &c->login->scram.secret);
	c->login->scram.doomed = !k;
	for (i = 0; i < sizeof(raw); i++)
		(void)snprintf(nonce + 2 * i, 3, "%02x", raw[i]);
	n = scram_server_first(&c->login->scram, (const char *)g.p, len, nonce, out, sizeof(out),
			       &why);
	if (n < 0)
		return wrong(c, no, why);
	say_sasl(c, 11, out, (size_t)n);
	return STARTUP_MORE;
}

static enum startup scram_final(struct client *c, struct wire_get g, struct startup_no *no)
{
	char out[SCRAM_MSG_MAX];
	const char *why = "password mismatch";
	int n = scram_server_final(&c->login->scram, (const char *)g.p, wire_left(&g), out,
				   sizeof(out), &why);

	if (n < 0)
		return wrong(c, no, c->login->scram.doomed ? "no such user or no usable secret" : why);
	say_sasl(c, 12, out, (size_t)n);
	startup_end(c);
	return admit(c, no);
}

static enum startup password(struct client *c, struct startup_no *no)
{
	uint8_t type = 0, *p = stream_data(&c->s);
	struct wire_get g;
	uint32_t len = 0;
	enum startup r;

	switch (wire_header(p, stream_have(&c->s), &type, &len)) {
	case WIRE_MORE:
		return STARTUP_MORE;
	case WIRE_BAD:
		return wrong(c, no, "malformed message");
	case WIRE_OK:
	default:
		break;
	}
	if (type != 'p' || len > SCRAM_MSG_MAX + 64)
		return wrong(c, no, "expected a password message");
	if (stream_have(&c->s) < len)
		return STARTUP_MORE;
	g = wire_body(p, len);
	r = c->login && c->login->scram_begun ? scram_final(c, g, no) : scram_first(c, g, no);
	stream_consume(&c->s, len);
	return r;
}

enum startup startup_message(struct client *c, struct startup_no *no)
{
	memset(no, 0, sizeof(*no));
	if (!stream_have(&c->s))
		return STARTUP_MORE;
	return c->state == CL_STARTUP ? first_packet(c, no) : password(c, no);
}
