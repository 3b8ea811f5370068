/* proxy/wire/params.c - see params.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/params.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* FNV-1a, then mixed; the entries' hashes are summed, so order does not count.
 * A hash can be made to collide by who chooses the values; so it only says
 * quickly that two sets differ, and equality is looked at entry by entry. */
static uint64_t fnv(uint64_t h, const char *s, bool fold)
{
	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;

		if (fold && c >= 'A' && c <= 'Z')
			c = (uint8_t)(c + 32);
		h = (h ^ c) * 1099511628211ULL;
	}
	return h;
}

static uint64_t hash_one(const char *name, const char *value)
{
	uint64_t h = fnv(14695981039346656037ULL, name, true);

	h = fnv((h ^ 0xff) * 1099511628211ULL, value, false);
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	return h;
}

static struct param *find(const struct params *p, const char *name)
{
	uint32_t i;

	for (i = 0; i < p->n; i++)
		if (strcasecmp(p->v[i].name, name) == 0)
			return &p->v[i];
	return NULL;
}

static int make(struct param *out, const char *name, const char *value)
{
	size_t a = strlen(name) + 1, b = strlen(value) + 1;
	char *block = malloc(a + b);

	if (!block)
		return -1;
	memcpy(block, name, a);
	memcpy(block + a, value, b);
	out->name = block;
	out->value = block + a;
	return 0;
}

static void account(struct params *p, const struct param *e, bool add)
{
	size_t n = strlen(e->name) + strlen(e->value) + 2;
	uint64_t h = hash_one(e->name, e->value);

	p->bytes = add ? p->bytes + n : p->bytes - n;
	p->hash = add ? p->hash + h : p->hash - h;
}

int params_set(struct params *p, const char *name, const char *value)
{
	struct param *e = find(p, name), fresh;

	if (e && strcmp(e->value, value) == 0)
		return 0;
	if (p->bytes + strlen(name) + strlen(value) + 2 > PARAMS_BYTES_MAX)
		return -1;
	if (!e && p->n == p->cap) {
		uint32_t cap = p->cap ? p->cap * 2 : 4;
		struct param *v;

		if (p->n >= PARAMS_MAX)
			return -1;
		v = realloc(p->v, cap * sizeof(*v));
		if (!v)
			return -1;
		p->v = v;
		p->cap = cap;
	}
	if (make(&fresh, name, value))
		return -1;
	if (e) {
		account(p, e, false);
		free(e->name);
	} else {
		e = &p->v[p->n++];
	}
	*e = fresh;
	account(p, e, true);
	return 0;
}

void params_unset(struct params *p, const char *name)
{
	struct param *e = find(p, name);

	if (!e)
		return;
	account(p, e, false);
	free(e->name);
	*e = p->v[--p->n];
}

bool params_same(const struct params *a, const struct params *b)
{
	uint32_t i;

	if (a->hash != b->hash || a->n != b->n)
		return false;
	for (i = 0; i < a->n; i++) {
		const struct param *e = find(b, a->v[i].name);

		if (!e || strcmp(e->value, a->v[i].value) != 0)
			return false;
	}
	return true;
}

const char *params_get(const struct params *p, const char *name)
{
	struct param *e = find(p, name);

	return e ? e->value : NULL;
}

int params_copy(struct params *to, const struct params *from)
{
	uint32_t i;

	params_clear(to);
	for (i = 0; i < from->n; i++)
		if (params_set(to, from->v[i].name, from->v[i].value))
			return -1;
	return 0;
}

void params_clear(struct params *p)
{
	uint32_t i;

	for (i = 0; i < p->n; i++)
		free(p->v[i].name);
	free(p->v);
	*p = (struct params){ 0 };
}

/* 'it''s': right whatever the encoding, because 0x27 is nobody's trail byte,
 * and right for backslashes, because standard_conforming_strings is on. */
void params_put_literal(struct wire_put *w, const char *text)
{
	wire_put_u8(w, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			wire_put_u8(w, '\'');
		wire_put_u8(w, (uint8_t)*text);
	}
	wire_put_u8(w, '\'');
}

static void put_text(struct wire_put *w, const char *s)
{
	wire_put_bytes(w, s, strlen(s));
}

/* name or "a"."b": custom settings have a dot. */
static void put_name(struct wire_put *w, const char *name)
{
	const char *p;

	wire_put_u8(w, '"');
	for (p = name; *p; p++) {
		if (*p == '.') {
			put_text(w, "\".\"");
			continue;
		}
		if (*p == '"')
			wire_put_u8(w, '"');
		/* unquoted names are folded by the server; so are these */
		wire_put_u8(w, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
	}
	wire_put_u8(w, '"');
}

/* Goes first, in a message of its own: the others are read by it. */
static bool is_encoding(const char *name)
{
	return strcasecmp(name, "client_encoding") == 0;
}

/* Who one is decides what one may set: back to oneself first, and somebody else
 * again at the very end. */
bool params_is_identity(const char *name)
{
	return strcasecmp(name, "role") == 0 || strcasecmp(name, "session_authorization") == 0;
}

static bool differs(const struct params *have, const struct param *e)
{
	const struct param *h = find(have, e->name);

	return !h || strcmp(h->value, e->value) != 0;
}

static bool put_resets(struct wire_put *w, const struct params *want, const struct params *have)
{
	bool any = false;
	uint32_t i;

	if (find(have, "session_authorization"))
		put_text(w, "RESET SESSION AUTHORIZATION;");
	if (find(have, "role"))
		put_text(w, "RESET ROLE;");
	for (i = 0; i < have->n; i++) {
		const struct param *e = find(want, have->v[i].name);

		/* "DMY" says nothing of the other half: it is the server's own */
		if (e && (strcasecmp(e->name, "DateStyle") != 0 || !differs(have, e)))
			continue;
		any = true;
		if (params_is_identity(have->v[i].name) || is_encoding(have->v[i].name))
			continue;
		put_text(w, "RESET ");
		put_name(w, have->v[i].name);
		put_text(w, ";");
	}
	return any;
}

static void put_set(struct wire_put *w, const struct param *e, bool first)
{
	put_text(w, first ? "SELECT pg_catalog.set_config(" : ",pg_catalog.set_config(");
	params_put_literal(w, e->name);
	put_text(w, ",");
	params_put_literal(w, e->value);
	put_text(w, ",false)");
}

static bool put_sets(struct wire_put *w, const struct params *want, const struct params *have,
		     bool skip_encoding)
{
	static const char *const identity[] = { "session_authorization", "role" };
	bool any = false, first = true;
	uint32_t i;

	for (i = 0; i < want->n; i++) {
		if (!differs(have, &want->v[i]))
			continue;
		any = true;
		if (params_is_identity(want->v[i].name) || (skip_encoding && is_encoding(want->v[i].name)))
			continue;
		put_set(w, &want->v[i], first);
		first = false;
	}
	for (i = 0; i < 2; i++) {
		const struct param *e = find(want, identity[i]);

		if (!e)
			continue;
		put_set(w, e, first);
		first = false;
	}
	if (!first)
		put_text(w, ";");
	return any;
}

static int put_encoding(struct wire_put *w, const struct params *want, const struct params *have)
{
	const struct param *e = find(want, "client_encoding");

	if (e ? !differs(have, e) : !find(have, "client_encoding"))
		return 0;
	wire_begin(w, 'Q');
	if (e)
		put_set(w, e, true);
	else
		put_text(w, "RESET client_encoding");
	wire_put_u8(w, 0);
	wire_end(w);
	return 1;
}

int params_diff(const struct params *want, const struct params *have, bool scs_off,
		struct wire_put *w)
{
	const char *scs = params_get(want, "standard_conforming_strings");
	bool any;
	int n = 1;

	if (params_same(want, have))
		return 0;
	if (scs_off) {
		wire_put_msg_str(w, 'Q', "SET standard_conforming_strings = on");
		n++;
	}
	wire_put_msg_str(w, 'Q', "BEGIN");
	n += 1 + put_encoding(w, want, have);
	wire_begin(w, 'Q');
	any = put_resets(w, want, have);
	any |= put_sets(w, want, have, true);
	put_text(w, "COMMIT");
	wire_put_u8(w, 0);
	wire_end(w);
	if (scs_off && (!scs || strcasecmp(scs, "off") == 0)) {
		wire_put_msg_str(w, 'Q', scs ? "SET standard_conforming_strings = off" :
					       "RESET standard_conforming_strings");
		n++;
	}
	return w->bad || !any ? -1 : n;
}

void params_put_sets(const struct params *which, struct wire_put *w)
{
	static const struct params nothing;

	(void)put_sets(w, which, &nothing, false);
}

static int put_option(struct params *p, char *word, const char **bad)
{
	char *eq = strchr(word, '='), *c;

	if (!eq || eq == word) {
		*bad = "expected name=value";
		return -1;
	}
	*eq = 0;
	for (c = word; *c; c++)
		if (*c == '-')
			*c = '_';
	if (params_set(p, word, eq + 1)) {
		*bad = "too many or too long settings";
		return -1;
	}
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next blank-separated word, backslash escapes undone (pg_split_opts). */
static bool next_word(const char **at, char *out, size_t cap)
{
	const char *s = *at;
	size_t n = 0;

	while (is_blank(*s))
		s++;
	if (!*s)
		return false;
	for (; *s && !is_blank(*s); s++) {
		if (*s == '\\' && !*++s)
			break;
		if (n + 1 < cap)
			out[n++] = *s;
	}
	out[n] = 0;
	*at = s;
	return true;
}

int params_options(struct params *p, const char *options, const char **bad)
{
	size_t cap = strlen(options) + 1;
	char *word = malloc(cap);
	int rc = 0;

	if (!word) {
		*bad = "out of memory";
		return -1;
	}
	while (!rc && next_word(&options, word, cap)) {
		if (strcmp(word, "-c") == 0) {
			if (!next_word(&options, word, cap)) {
				*bad = "-c needs name=value";
				rc = -1;
			} else {
				rc = put_option(p, word, bad);
			}
		} else if (strncmp(word, "-c", 2) == 0 || strncmp(word, "--", 2) == 0) {
			memmove(word, word + 2, strlen(word + 2) + 1);
			rc = put_option(p, word, bad);
		} else {
			*bad = "only -c name=value and --name=value are understood";
			rc = -1;
		}
	}
	free(word);
	return rc;
}
