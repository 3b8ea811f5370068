/* proxy/session/settings.c - see settings.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/names.h"
#include "session/ours.h"
#include "wire/lexer.h"

/* Every byte of a value may be doubled, and so may names. */
#define SETTINGS_BIG (4 * PARAMS_BYTES_MAX + 16 * PARAMS_MAX * 8)

static bool scs_off(const struct server *s)
{
	const char *v = params_get(&s->params, "standard_conforming_strings");

	if (!v)
		v = params_get(&s->base, "standard_conforming_strings");
	return v && strcasecmp(v, "off") == 0;
}

/* What the server does not report is taken to be as it is told to be. */
static int note(struct server *s, const struct params *want)
{
	uint32_t i;

	for (i = s->params.n; i-- > 0;)
		if (!params_get(&s->base, s->params.v[i].name))
			params_unset(&s->params, s->params.v[i].name);
	for (i = 0; i < want->n; i++)
		if (!params_get(&s->base, want->v[i].name) &&
		    params_set(&s->params, want->v[i].name, want->v[i].value))
			return -1;
	return 0;
}

int settings_done(struct client *c, const struct server *s)
{
	uint32_t i;

	for (i = c->params.n; i-- > 0;) {
		const char *name = c->params.v[i].name, *base = params_get(&s->base, name);
		const char *now = params_get(&s->params, name);

		if (base && !now)
			params_unset(&c->params, name);
		else if (base && params_set(&c->params, name, now))
			return -1;
	}
	return 0;
}

/* A timeout of the client before may end what sets it back. */
static bool hurried(const struct server *s)
{
	return params_get(&s->params, "statement_timeout") || params_get(&s->params, "lock_timeout");
}

int settings_put(struct client *c, struct server *s, struct wire_put *w, uint8_t **big,
		 size_t *big_len, bool *await)
{
	size_t at = w->len;
	int n, i;

	*big = NULL;
	*await = scs_off(s) || hurried(s);
	n = params_diff(&c->params, &s->params, scs_off(s), w);
	if (n < 0) {
		struct wire_put all;

		w->len = at;
		w->bad = false;
		*big = malloc(SETTINGS_BIG);
		if (!*big)
			return -1;
		all = wire_put_to(*big, SETTINGS_BIG);
		n = params_diff(&c->params, &s->params, scs_off(s), &all);
		*big_len = all.len;
	}
	for (i = 0; i < n; i++)
		if (owed_sent(&s->owed, 'Q', 0, true,
			      i == n - 1	   ? OURS_SETTINGS :
			      i == 0 && !*await ? OURS_SETTINGS_BEGIN :
						  OURS_SETTINGS_PART,
			      NULL))
			return -1;
	s->unnamed_serial = UNNAMED_UNKNOWN; /* a simple Query ends it */
	return n < 0 ? -1 : note(s, &c->params);
}

/* What c takes a reported setting to be. NULL: it is not reported. */
static const char *believed(const struct client *c, const struct server *s, const char *name)
{
	const char *base = params_get(&s->base, name), *own = params_get(&c->params, name);

	return base && own ? own : base;
}

static bool is_reset(const struct client *c, const char *name)
{
	const struct residue *r = &c->residue;
	const char *how = r->noted ? params_get(&r->noted->names, name) : NULL;

	if (r->undone && !r->reset_anew && !c->crdb)
		return false; /* CockroachDB undoes no setting */
	return how ? *how != 's' : (r->leaves & LEAVES_RESET_ALL) != 0;
}

const char *settings_reported(struct client *c, struct server *s, const char *name,
			      const char *value, bool ours)
{
	const char *start = c->startup.n ? params_get(&c->startup, name) : NULL;
	const char *was = believed(c, s, name);
	bool instead = start && !ours && is_reset(c, name);

	if (ours && was && strcmp(was, value) == 0)
		value = NULL;
	else if (instead)
		value = was && strcmp(was, start) == 0 && !s->crdb ? NULL : start;
	if (instead && params_set(&c->params, name, start))
		s->close_needed = true;
	return value;
}

void settings_unreported(struct client *c, const struct server *s, struct wire_put *w)
{
	uint32_t i;

	for (i = 0; i < c->startup.n; i++) {
		const struct param *e = &c->startup.v[i];
		const char *was = believed(c, s, e->name);

		if (!was || strcmp(was, e->value) == 0 || !is_reset(c, e->name) ||
		    params_set(&c->params, e->name, e->value))
			continue;
		wire_begin(w, 'S');
		wire_put_str(w, e->name);
		wire_put_str(w, e->value);
		wire_end(w);
	}
}

/* Has a RESET undone settings of the startup packet? out (may be NULL) gets them. */
static bool due(const struct client *c, struct params *out)
{
	bool any = false;
	uint32_t i;

	for (i = 0; i < c->startup.n; i++) {
		const struct param *e = &c->startup.v[i];

		if (!is_reset(c, e->name))
			continue;
		any = true;
		if (!out || params_set(out, e->name, e->value))
			break;
	}
	return any;
}

bool settings_due(const struct client *c)
{
	const struct residue *r = &c->residue;

	/* CockroachDB undoes none, but one that has failed was none */
	return r->leaves && (!c->crdb || r->resets_seen == r->resets_noted) && due(c, NULL);
}

void settings_restore(struct client *c, struct server *s, struct wire_put *w)
{
	struct params which = { 0 };
	uint32_t i;

	(void)due(c, &which);
	wire_begin(w, 'Q');
	params_put_sets(&which, w);
	wire_put_u8(w, 0);
	wire_end(w);
	w->bad |= scs_off(s);
	/* They are set now: asked for at the end of the transaction. */
	for (i = 0; !w->bad && i < which.n; i++) {
		if (!c->residue.noted)
			c->residue.noted = calloc(1, sizeof(*c->residue.noted));
		if (!c->residue.noted ||
		    params_set(&c->residue.noted->names, which.v[i].name, "set"))
			c->residue.unsure = true;
		c->residue.leaves |= LEAVES_SETTING;
	}
	params_clear(&which);
}
