/* proxy/session/settings.c - see settings.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/names.h"
#include "wire/lexer.h"
#include "wire/wire.h"

#define SETTINGS_SHORT 4096u

static bool scs_off(const struct server *s)
{
	const char *v = params_get(&s->params, "standard_conforming_strings");

	if (!v)
		v = params_get(&s->base, "standard_conforming_strings");
	return v && strcasecmp(v, "off") == 0;
}

int settings_sync(struct client *c, struct server *s, bool *sent)
{
	static const uint8_t reset_all[] = { 'Q', 0,   0,   0,	 14,  'R', 'E', 'S',
					     'E', 'T', ' ', 'A', 'L', 'L', 0 };
	uint8_t b[SETTINGS_SHORT];
	uint8_t *big = NULL;
	struct wire_put w = wire_put_to(b, sizeof(b));
	int n, rc = -1;

	*sent = false;
	if (s->reset_seen) {
		if (owed_sent(&s->owed, 'Q', 0, true, 0, NULL) ||
		    stream_send(&s->s, reset_all, sizeof(reset_all)) == IO_FAIL)
			return -1;
		s->reset_seen = false;
		*sent = true;
		params_clear(&s->params);
	}
	n = params_diff(&c->params, &s->params, scs_off(s), &w);
	if (n < 0) {
		big = malloc(4 * PARAMS_BYTES_MAX + 16 * PARAMS_MAX * 8);
		if (!big)
			return -1;
		w = wire_put_to(big, 4 * PARAMS_BYTES_MAX + 16 * PARAMS_MAX * 8);
		n = params_diff(&c->params, &s->params, scs_off(s), &w);
	}
	if (n == 0)
		rc = 0;
	*sent |= n > 0;
	while (n-- > 0)
		if (owed_sent(&s->owed, 'Q', 0, true, 0, NULL))
			goto out;
	if (w.len && stream_send(&s->s, w.p, w.len) != IO_FAIL) {
		s->unnamed_serial = UNNAMED_UNKNOWN;
		rc = params_copy(&s->params, &c->params);
	}
out:
	free(big);
	return rc;
}

int settings_reset(struct client *c, const char *name)
{
	const char *v;

	if (!name)
		return params_copy(&c->params, &c->startup);
	v = params_get(&c->startup, name);
	if (v)
		return params_set(&c->params, name, v);
	params_unset(&c->params, name);
	return 0;
}

/* What RESET is followed by, as a setting's name. */
static const char *reset_name(struct lex *l, char *out, size_t cap)
{
	struct lex_token t = lex_next(l);
	size_t n = 0;

	if (lex_is(&t, "time"))
		return "TimeZone";
	if (lex_is(&t, "session"))
		return "session_authorization";
	while ((t.kind == LEX_WORD || t.kind == LEX_QUOTED) && n + t.len + 2 < cap) {
		memcpy(out + n, t.text, t.len);
		n += t.len;
		t = lex_next(l);
		if (t.kind != LEX_PUNCT || t.len != 1 || *t.text != '.')
			break;
		out[n++] = '.';
		t = lex_next(l);
	}
	out[n] = 0;
	return out;
}

static bool is_semicolon(const struct lex_token *t)
{
	return t->kind == LEX_PUNCT && t->len == 1 && *t->text == ';';
}

int settings_scan(struct client *c, const char *sql, size_t n)
{
	bool start = true;
	struct lex_token t;
	char name[256];
	int found = 0;
	struct lex l;

	lex_init(&l, sql, n);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		struct lex after = l;
		bool discard = lex_is(&t, "discard");
		const char *what;

		if (start && (discard || lex_is(&t, "reset"))) {
			what = reset_name(&after, name, sizeof(name));
			if (!discard || strcasecmp(what, "all") == 0) {
				found = 1;
				if (settings_reset(c, strcasecmp(what, "all") == 0 ? NULL : what))
					return -1;
			}
		}
		start = is_semicolon(&t);
	}
	return found;
}
