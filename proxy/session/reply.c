/* proxy/session/reply.c - see reply.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/users.h"
#include "wire/scram.h"

#define OID_TEXT 25u

void reply_ask(struct wire_put *w, const char *query, const char *name)
{
	wire_begin(w, 'P');
	wire_put_str(w, "");
	wire_put_str(w, query);
	wire_put_u16(w, 1);
	wire_put_u32(w, OID_TEXT);
	wire_end(w);
	wire_begin(w, 'B');
	wire_put_str(w, "");
	wire_put_str(w, "");
	wire_put_u16(w, 0);
	wire_put_u16(w, 1);
	wire_put_u32(w, (uint32_t)strlen(name));
	wire_put_bytes(w, name, strlen(name));
	wire_put_u16(w, 0);
	wire_end(w);
	wire_begin(w, 'D');
	wire_put_u8(w, 'P');
	wire_put_str(w, "");
	wire_end(w);
	wire_begin(w, 'E');
	wire_put_str(w, "");
	wire_put_u32(w, 0);
	wire_end(w);
	wire_put_msg(w, 'S');
}

static void wrong(struct reply *a, const char *why)
{
	if (!a->wrong)
		a->wrong = why;
}

/* name, text, bpchar, varchar, and a constant that was not given a type. */
static bool is_text(uint32_t oid)
{
	return oid == 19 || oid == OID_TEXT || oid == 1042 || oid == 1043 || oid == 705;
}

static void describe(struct reply *a, struct wire_get g)
{
	unsigned n = wire_get_u16(&g), i;

	if (n != 2) {
		wrong(a, "the result has not two columns");
		return;
	}
	for (i = 0; i < n; i++) {
		(void)wire_get_str(&g, NULL);
		(void)wire_get_u32(&g);
		(void)wire_get_u16(&g);
		if (!is_text(wire_get_u32(&g)))
			wrong(a, "a column of the result is not of type text");
		(void)wire_get_u16(&g);
		(void)wire_get_u32(&g);
		(void)wire_get_u16(&g);
	}
	if (g.bad)
		wrong(a, "malformed message");
	a->described = true;
}

/* A value of a row. NULL: it is null, or there is none (g->bad). */
static const char *take_value(struct wire_get *g, size_t *len)
{
	uint32_t n = wire_get_u32(g);
	const char *p = (const char *)g->p;

	if (g->bad || n == UINT32_MAX)
		return NULL;
	if (n > wire_left(g)) {
		g->bad = true;
		return NULL;
	}
	g->p += n;
	*len = n;
	return p;
}

/* The secret as it is to be compared with, if it is of use. */
static void take_secret(struct reply *a, const char *p, size_t len)
{
	struct scram_secret k;
	bool good;

	if (!len || len > SECRET_MAX || memchr(p, 0, len))
		return;
	a->secret = strndup(p, len);
	if (!a->secret) {
		wrong(a, "out of memory");
		return;
	}
	good = users_kind(a->secret, &a->kind) == 0;
	if (good && a->kind == SECRET_SCRAM) {
		good = scram_secret_parse(a->secret, &k) == 0 && k.iterations <= SCRAM_ITERATIONS_MAX;
		a->iterations = k.iterations;
		scram_secret_wipe(&k);
	}
	/* PostgreSQL writes it in lower case, and takes the rest for a password */
	if (a->kind == SECRET_MD5)
		good = strspn(a->secret + 3, "0123456789abcdef") == 32;
	if (!good || (a->kind == SECRET_PLAIN && strncmp(a->secret, "md5", 3) == 0)) {
		explicit_bzero(a->secret, len);
		free(a->secret);
		a->secret = NULL;
		a->kind = SECRET_NONE;
	}
}

static void row(struct reply *a, const char *name, struct wire_get g)
{
	unsigned n = wire_get_u16(&g);
	const char *user, *secret;
	size_t user_len = 0, len = 0;

	if (++a->rows > 1) {
		wrong(a, "the result has more than one row");
		return;
	}
	user = take_value(&g, &user_len);
	secret = take_value(&g, &len);
	if (n != 2 || !a->described || g.bad)
		wrong(a, "malformed row");
	else if (!user)
		return; /* as a function with OUT parameters says that there is none */
	else if (user_len != strlen(name) || memcmp(user, name, user_len) != 0)
		wrong(a, "the result is of another user");
	else if (secret)
		take_secret(a, secret, len);
}

void reply_error(struct reply *a, struct wire_get g)
{
	/* of names, rights, logins, connections, limits, settings and shutdowns */
	static const char *const harmless[] = { "42", "28", "3D", "08", "53", "25", "57" };
	struct wire_fields f;
	size_t i;

	wire_get_fields(g, &f);
	wrong(a, "the server refused");
	if (*a->sqlstate)
		return;
	(void)snprintf(a->sqlstate, sizeof(a->sqlstate), "%s", f.sqlstate);
	for (i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		if (strncmp(f.sqlstate, harmless[i], 2) == 0)
			(void)snprintf(a->message, sizeof(a->message), "%s", f.message);
}

void reply_message(struct reply *a, const char *name, uint8_t type, struct wire_get g)
{
	switch (type) {
	case 'T':
		describe(a, g);
		break;
	case 'n':
		wrong(a, "the query gives no rows");
		break;
	case 'D':
		row(a, name, g);
		break;
	case 'E':
		reply_error(a, g);
		break;
	default: /* '1', '2', 'C', and what may come at any time */
		break;
	}
}

void reply_end(struct reply *a)
{
	/* a name that is no text in the database's encoding is that of nobody */
	if (strcmp(a->sqlstate, "22021") == 0 || strcmp(a->sqlstate, "22P05") == 0)
		a->wrong = NULL;
	else if (!a->described)
		wrong(a, "no answer");
	if (!a->wrong)
		return;
	if (a->secret)
		explicit_bzero(a->secret, strlen(a->secret));
	free(a->secret);
	a->secret = NULL;
	a->kind = SECRET_NONE;
}

bool reply_lost(const struct reply *a)
{
	return strncmp(a->sqlstate, "08", 2) == 0 || strncmp(a->sqlstate, "40", 2) == 0 ||
	       strcmp(a->sqlstate, "57P01") == 0 || strcmp(a->sqlstate, "57P02") == 0 ||
	       strcmp(a->sqlstate, "57P03") == 0;
}

bool reply_passes(const struct reply *a)
{
	return reply_lost(a) || strncmp(a->sqlstate, "53", 2) == 0 ||
	       strncmp(a->sqlstate, "57", 2) == 0;
}

void reply_clear(struct reply *a)
{
	if (a->secret)
		explicit_bzero(a->secret, strlen(a->secret));
	free(a->secret);
	memset(a, 0, sizeof(*a));
}
