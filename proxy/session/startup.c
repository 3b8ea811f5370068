/* proxy/session/startup.c - see startup.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/startup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/admit.h"
#include "session/auth.h"
#include "session/cancel.h"
#include "session/raw.h"
#include "session/step.h"
#include "session/switches.h"
#include "wire/wire.h"

#define TLS_HANDSHAKE 0x16   /* first byte of a ClientHello's record */

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

/* Words of the packet itself, which are no settings. A replication connection's settings go
 * into a packet of ours, where a server takes the last of two and CockroachDB does not tell
 * large letters from small ones. */
static bool is_packets(const char *name)
{
	static const char *const words[] = { "user", "database", "replication", "options" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcasecmp(name, words[i]) == 0)
			return true;
	return strncasecmp(name, "_pq_.", 5) == 0;
}

/* Would let a client forge its address, say. */
static bool is_crdbs(const char *name)
{
	return strncasecmp(name, "crdb:", 5) == 0;
}

/* ignore_startup_parameters */
static bool is_ignored(const struct client *c, const char *name)
{
	const char *list = c->h->snap->conf->g.ignore_startup_parameters;

	return list && conf_listed(list, name);
}

/* As PostgreSQL has it of a name that is none. */
static const char *no_setting(struct startup_no *no, const char *name)
{
	(void)snprintf(no->message, sizeof(no->message),
		       "unrecognized configuration parameter \"%.60s\"", name);
	no->hint = NULL;
	no->sqlstate = "42704";
	return "refused";
}

/* One name and value of the packet, not options. NULL: fine; else why not. */
static const char *one_param(struct client *c, const char *name, const char *value,
			     struct startup_no *no)
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
	if (is_crdbs(name) || is_ignored(c, name))
		return NULL;
	if (is_packets(name))
		return no_setting(no, name);
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
			if (is_ignored(c, p.v[i].name))
				continue;
			else if (switches_ours(p.v[i].name))
				bad = our_param(c, p.v[i].name, p.v[i].value, true, no);
			else if (is_packets(p.v[i].name))
				bad = no_setting(no, p.v[i].name);
			else if (!is_crdbs(p.v[i].name) &&
				 !params_get(&c->params, p.v[i].name) &&
				 params_set(&c->params, p.v[i].name, p.v[i].value))
				bad = no_room;
		}
	params_clear(&p);
	return bad;
}

static enum startup refuse_param(struct startup_no *no, const char *name, const char *value,
				 const char *why)
{
	if (no->sqlstate) { /* it has been said */
		no->why = "startup parameter refused";
		return STARTUP_REFUSED;
	}
	if (strcmp(name, "replication") == 0)
		return refusal(no, "22023", "startup parameter refused", NULL,
			       "invalid value for parameter \"replication\": \"%.60s\"", value);
	return refusal(no, "22023", "startup parameter refused", NULL,
		       "startup parameter \"%.60s\": %.100s", name, why);
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
			return refusal(no, "08P01", "malformed startup packet", NULL,
				       "invalid startup packet layout: expected terminator as last byte");
		}
		if (strncmp(name, "_pq_.", 5) == 0) {
			if (n < 16)
				unknown[n++] = name;
			continue;
		}
		if (strcmp(name, "options") == 0) {
			options = is_ignored(c, name) ? "" : value;
			continue;
		}
		why = switches_ours(name) ? our_param(c, name, value, false, no) :
					    one_param(c, name, value, no);
		if (why)
			return refuse_param(no, name, value, why);
	}
	why = options_param(c, options, no);
	if (why)
		return refuse_param(no, "options", options, why);
	if (wire_left(&g)) {
		return refusal(no, "08P01", "malformed startup packet", NULL,
			       "invalid startup packet layout: expected terminator as last byte");
	}
	if (newer || n)
		negotiate(c, unknown, n);
	return STARTUP_MORE;
}

/* client_tls_sslmode. */
static enum startup check_tls(const struct client *c, struct startup_no *no)
{
	int64_t mode = c->h->snap->conf->g.client_tls_sslmode;
	X509 *cert;

	if (mode < SSLMODE_REQUIRE || c->local)
		return STARTUP_MORE;
	if (!stream_is_tls(&c->s)) {
		return refusal(no, "28000", "not encrypted", "client_tls_sslmode lets nobody in without TLS: use sslmode=require.",
			       "SSL required");
	}
	if (mode < SSLMODE_VERIFY_CA)
		return STARTUP_MORE;
	cert = tls_peer_cert(c->s.tls);
	if (cert) {
		X509_free(cert);
		return STARTUP_MORE;
	}
	return refusal(no, "28000", "no client certificate", "client_tls_sslmode asks for one that client_tls_ca_file has signed.",
		       "connection requires a valid client certificate");
}

static enum startup who(struct client *c, struct startup_no *no)
{
	if (!c->user || !*c->user) {
		return refusal(no, "28000", "no user name", NULL,
			       "no PostgreSQL user name specified in startup packet");
	}
	if (!c->db || !*c->db) {
		free(c->db);
		c->db = strdup(c->user);
		if (!c->db) {
			return refusal(no, "53200", "out of memory", NULL,
				       "out of memory");
		}
	}
	/* servers do so: who they will take it for is who the rules, the secrets and the limits
	 * are to see */
	if (strlen(c->user) > WIRE_NAME_MAX)
		c->user[WIRE_NAME_MAX] = 0;
	/* rules for replication say nothing of the console */
	if (c->replication && admit_is_console(c->db))
		return refusal(no, "0A000", "replication of the console", NULL,
			       "the console knows no replication");
	if (check_tls(c, no) == STARTUP_REFUSED)
		return STARTUP_REFUSED;
	return auth_begin(c, no);
}

/* The handshake. -1: refused. */
static int shake_hands(struct client *c, struct startup_no *no)
{
	client_step(c, CE_TLS);
	if (stream_tls(&c->s, c->h->snap->tls->client, NULL) == 0)
		return 0;
	(void)refusal(no, NULL, "out of memory", NULL, "%s", "");
	return -1;
}

static bool may_tls(const struct client *c)
{
	return c->h->snap->tls && c->h->snap->tls->client && !c->local && !stream_is_tls(&c->s);
}

/* An SSLRequest or GSSENCRequest. */
static enum startup negotiate_tls(struct client *c, uint8_t bit, struct startup_no *no)
{
	bool yes = bit == NEGOTIATED_TLS && may_tls(c);

	c->negotiations |= bit;
	stream_consume(&c->s, 8);
	if (yes && stream_have(&c->s)) {
		/* whoever sits between us might have put them there */
		return refusal(no, "08P01", "bytes in clear behind SSLRequest", NULL,
			       "received unencrypted data after SSL request");
	}
	say(c, yes ? "S" : "N", 1);
	return yes && shake_hands(c, no) ? STARTUP_REFUSED : STARTUP_MORE;
}

static enum startup first_packet(struct client *c, struct startup_no *no)
{
	const uint8_t *p = stream_data(&c->s);
	struct wire_get g;
	uint32_t len = 0, code, pid, secret;
	enum startup r;
	uint8_t bit;

	if (*p == TLS_HANDSHAKE && !c->negotiations && may_tls(c))
		return shake_hands(c, no) ? STARTUP_REFUSED : STARTUP_MORE;
	switch (wire_startup_header(p, stream_have(&c->s), &len)) {
	case WIRE_MORE:
		return STARTUP_MORE;
	case WIRE_BAD: /* no word, as PostgreSQL */
		return refusal(no, NULL, "malformed startup packet", NULL, "%s", "");
	case WIRE_OK:
	default:
		break;
	}
	if (stream_have(&c->s) < len)
		return STARTUP_MORE;
	g = (struct wire_get){ p + 4, p + len, false };
	code = wire_get_u32(&g);
	bit = code == WIRE_SSL_CODE ? NEGOTIATED_TLS : code == WIRE_GSS_CODE ? NEGOTIATED_GSS : 0;
	if (bit && len == 8 && !(c->negotiations & bit))
		return negotiate_tls(c, bit, no);
	if (code == WIRE_CANCEL_CODE && len == 16) {
		pid = wire_get_u32(&g);
		secret = wire_get_u32(&g);
		cancel_request(c->h, stream_release_fd(&c->s), pid, secret);
		return STARTUP_CANCEL;
	}
	if (code == WIRE_CANCEL_CODE)
		return refusal(no, NULL, "malformed cancel request", NULL, "%s", "");
	if (code >> 16 != 3) {
		return refusal(no, "0A000", "unknown protocol", NULL,
			       "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", code >> 16, code & 0xffff);
	}
	r = take_params(c, g, code != WIRE_PROTO_3, no);
	stream_consume(&c->s, len);
	return r == STARTUP_MORE ? who(c, no) : r;
}

enum startup startup_message(struct client *c, struct startup_no *no)
{
	enum startup r;

	memset(no, 0, sizeof(*no));
	if (!stream_have(&c->s))
		return STARTUP_MORE;
	stream_secret(&c->s, true);
	r = c->state == CL_STARTUP ? first_packet(c, no) : auth_message(c, no);
	if (r == STARTUP_IN)
		stream_secret(&c->s, false);
	return r;
}
