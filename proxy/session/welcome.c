/* proxy/session/welcome.c - see welcome.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/welcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/step.h"
#include "wire/wire.h"

#define KEY_MAX 4096u

/* Whole, however long it is. */
static void put_notice(struct wire_put *w, const char *text)
{
	wire_begin(w, 'N');
	wire_put_str(w, "SNOTICE");
	wire_put_str(w, "VNOTICE");
	wire_put_str(w, "C00000");
	wire_put_u8(w, 'M');
	wire_put_str(w, text);
	wire_put_u8(w, 0);
	wire_end(w);
}

static void put_login_end(struct client *c, struct wire_put *w)
{
	const char *notice = c->h->snap->conf->g.login_notify_message;

	wire_begin(w, 'K');
	wire_put_u32(w, c->key_pid);
	wire_put_u32(w, c->key_secret);
	wire_end(w);
	if (notice && !c->inner)
		put_notice(w, notice);
	wire_put_ready(w, 'I');
}

static void put_auth_ok(struct wire_put *w)
{
	wire_begin(w, 'R');
	wire_put_u32(w, 0);
	wire_end(w);
}

void welcome_auth_ok(struct client *c)
{
	uint8_t b[16];
	struct wire_put w = wire_put_to(b, sizeof(b));

	put_auth_ok(&w);
	say(c, b, w.len);
}

/* application_name comes in as many values as there are programs, and the server
 * takes it as it is when it is short and plain. */
static bool is_plain(const char *name, const char *value)
{
	const char *p;

	if (strcasecmp(name, "application_name") != 0 || strlen(value) > 63)
		return false;
	for (p = value; *p; p++)
		if (*p < ' ' || *p > '~')
			return false;
	return true;
}

/* What the client asked for, as a key. -1: too long to be kept. */
static int make_key(const struct client *c, struct wire_put *key)
{
	uint32_t i;

	for (i = 0; i < c->startup.n; i++) {
		if (is_plain(c->startup.v[i].name, c->startup.v[i].value))
			continue;
		wire_put_str(key, c->startup.v[i].name);
		wire_put_str(key, c->startup.v[i].value);
	}
	return key->bad ? -1 : 0;
}

static void put_param(struct wire_put *w, const char *name, const char *value)
{
	wire_begin(w, 'S');
	wire_put_str(w, name);
	wire_put_str(w, value);
	wire_end(w);
}

struct each {
	const uint8_t *p;
	size_t left;
	const uint8_t *msg;      /* the last one, and behind its name */
	uint32_t len;
	struct wire_get value;
};

/* The next ParameterStatus: its name, or NULL. */
static const char *next_param(struct each *e)
{
	const char *name;
	uint8_t type = 0;

	if (wire_header(e->p, e->left, &type, &e->len) != WIRE_OK || e->len > e->left)
		return NULL;
	e->msg = e->p;
	e->value = wire_body(e->p, e->len);
	name = wire_get_str(&e->value, NULL);
	e->p += e->len;
	e->left -= e->len;
	return e->value.bad ? NULL : name;
}

/* Once for each message. */
static const char *its_value(struct each *e)
{
	const char *value = wire_get_str(&e->value, NULL);

	return e->value.bad ? "" : value;
}

/* The value among these messages, NULL: not there. */
static const char *value_in(const uint8_t *p, size_t n, const char *wanted)
{
	struct each e = { .p = p, .left = n };
	const char *name;

	while ((name = next_param(&e)))
		if (strcasecmp(name, wanted) == 0)
			return its_value(&e);
	return NULL;
}

/* What a client with these settings is told; c's wishes become what the server
 * calls them. usual: what one without any is told. */
static bool tell(struct client *c, const uint8_t *seen, size_t n, const uint8_t *usual, size_t usual_n)
{
	uint8_t b[2 * WELCOME_MAX];
	struct wire_put w = wire_put_to(b, sizeof(b));
	static const char crdb[] = "crdb_version";
	struct each e = { .p = seen, .left = n };
	const char *name, *value;

	c->crdb = memmem(usual, usual_n, crdb, sizeof(crdb)) && value_in(usual, usual_n, crdb);
	put_auth_ok(&w);
	while ((name = next_param(&e))) {
		const char *own = params_get(&c->params, name), *base;
		/* CockroachDB says at a login what it was told, as it was told */
		const char *asked = c->crdb ? params_get(&c->startup, name) : NULL;

		if (!own && !asked) {
			wire_put_bytes(&w, e.msg, e.len);
			continue;
		}
		value = its_value(&e);
		if (own && is_plain(name, own))
			value = own;
		put_param(&w, name, asked ? asked : value);
		base = own ? value_in(usual, usual_n, name) : NULL;
		if (base && strcmp(base, value) == 0) {
			params_unset(&c->params, name);
		} else if (own && params_set(&c->params, name, value)) {
			return false;
		}
	}
	if (params_copy(&c->startup, &c->params))
		return false;
	value = params_get(&c->params, "search_path");
	c->temp_path = value && strcasestr(value, "pg_temp");
	put_login_end(c, &w);
	say(c, b, w.len);
	return true;
}

bool welcome_known(struct client *c)
{
	uint8_t seen[WELCOME_MAX], usual[WELCOME_MAX], k[KEY_MAX];
	struct wire_put key = wire_put_to(k, sizeof(k));
	struct hubs *hs = &c->h->sh->hubs;
	struct hub *hub = c->shard->pool.hub;
	long n, usual_n;

	if (c->replication || make_key(c, &key))
		return false;
	usual_n = hub_welcome_copy(hs, hub, NULL, 0, usual, sizeof(usual));
	n = hub_welcome_copy(hs, hub, k, key.len, seen, sizeof(seen));
	return n > 0 && usual_n > 0 && tell(c, seen, (size_t)n, usual, (size_t)usual_n);
}

bool welcome_without(struct client *c, struct server *s)
{
	static const char begin[] = "unrecognized configuration parameter \"";
	char name[sizeof(s->sync_message)];
	size_t n;

	if (c->state != CL_WELCOME || !s->crdb || strcmp(s->sync_error, "42704") != 0 ||
	    strncmp(s->sync_message, begin, sizeof(begin) - 1) != 0)
		return false;
	(void)snprintf(name, sizeof(name), "%s", s->sync_message + sizeof(begin) - 1);
	n = strcspn(name, "\"");
	name[n] = 0;
	if (!params_get(&c->startup, name))
		return false;
	params_unset(&c->startup, name);
	params_unset(&c->params, name);
	c->dressing = false;
	return true;
}

bool welcome_raw(struct client *c)
{
	uint8_t b[2 * WELCOME_MAX], seen[WELCOME_MAX];
	struct wire_put w = wire_put_to(b, sizeof(b));
	long n = hub_welcome_copy(&c->h->sh->hubs, c->shard->pool.hub, NULL, 0, seen, sizeof(seen));

	if (n <= 0)
		return false;
	put_auth_ok(&w);
	wire_put_bytes(&w, seen, (size_t)n);
	put_login_end(c, &w);
	say(c, b, w.len);
	return true;
}

bool welcome_by(struct client *c, const struct server *s)
{
	uint8_t seen[WELCOME_MAX], usual[WELCOME_MAX], k[KEY_MAX];
	struct wire_put w = wire_put_to(seen, sizeof(seen)), key = wire_put_to(k, sizeof(k));
	struct hubs *hs = &c->h->sh->hubs;
	struct hub *hub = c->shard->pool.hub;
	long usual_n = hub_welcome_copy(hs, hub, NULL, 0, usual, sizeof(usual));
	struct each e = { .p = usual, .left = usual_n > 0 ? (size_t)usual_n : 0 };
	const char *name;

	while ((name = next_param(&e))) {
		const char *now = params_get(&s->params, name), *asked = params_get(&c->startup, name);
		const char *value = its_value(&e);

		if (!now)
			now = params_get(&s->base, name);
		/* not part of the key: each has its own */
		if (asked && is_plain(name, asked))
			now = value;
		put_param(&w, name, now ? now : value);
	}
	if (usual_n <= 0 || w.bad)
		return false;
	/* not kept is no harm: the next one borrows a server again. Without a key it is
	 * what each server login has noted already. */
	if (!make_key(c, &key) && key.len && hub_welcome_set(hs, hub, k, key.len, seen, w.len))
		LOG(&c->log, LOG_LEVEL_WARN, "out_of_memory", NULL);
	return tell(c, seen, w.len, usual, (size_t)usual_n);
}

void welcome_console(struct client *c)
{
	static const char *const param[][2] = {
		{ "server_version", "1.25.2/pgweir" }, { "client_encoding", "UTF8" },
		{ "server_encoding", "UTF8" },	       { "DateStyle", "ISO" },
		{ "TimeZone", "GMT" },		       { "standard_conforming_strings", "on" },
		{ "is_superuser", "on" },	       { "integer_datetimes", "on" },
	};
	uint8_t b[4096];
	struct wire_put w = wire_put_to(b, sizeof(b));
	size_t i;

	put_auth_ok(&w);
	for (i = 0; i < sizeof(param) / sizeof(*param); i++) {
		wire_begin(&w, 'S');
		wire_put_str(&w, param[i][0]);
		wire_put_str(&w, param[i][1]);
		wire_end(&w);
	}
	put_login_end(c, &w);
	say(c, b, w.len);
}
