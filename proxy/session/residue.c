/* proxy/session/residue.c - see residue.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/residue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/count.h"
#include "session/names.h"
#include "session/ours.h"
#include "session/settings.h"
#include "session/step.h"

/* What can be asked for; the rest of what binds stays until the end. */
#define ASKABLE (LEAVES_LISTEN | LEAVES_TEMP | LEAVES_HOLD | LEAVES_LOCK | LEAVES_PREPARE)
#define BINDING (ASKABLE | LEAVES_LIBRARY | LEAVES_OBJECT)
/* What an abort of the whole transaction undoes. */
#define UNDONE_BY_ABORT                                                        \
	(LEAVES_SETTING | LEAVES_RESET_ALL | LEAVES_LISTEN | LEAVES_TEMP | LEAVES_HOLD | LEAVES_END)

void refusal_error(enum refusal r, struct wire_error *e)
{
	static const struct wire_error error[REFUSED_N] = {
#define X(id, sqlstate, message, detail, hint) [id] = { "ERROR", sqlstate, message, detail, hint, NULL },
		REFUSALS(X)
#undef X
	};

	*e = error[r];
	if (r == REFUSED_ROWS)
		e->routine = "RevalidateCachedQuery"; /* some go by it, whatever the language */
}

const char *residue_words(unsigned pinned, char *out, size_t cap)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
		{ LEAVES_LISTEN, "LISTEN" },	    { LEAVES_TEMP, "temporary tables" },
		{ LEAVES_HOLD, "held cursors" },    { LEAVES_LOCK, "advisory locks" },
		{ LEAVES_PREPARE, "PREPARE" },	    { LEAVES_LIBRARY, "LOAD" },
		{ LEAVES_OBJECT, "functions" },	    { LEAVES_UNKNOWN, "settings" },
		{ LEAVES_SEQUENCE, "sequences" },
	};
	size_t i, n = 0;

	*out = 0;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if ((pinned & words[i].bit) && n + strlen(words[i].word) + 3 < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "",
					      words[i].word);
	return out;
}

/* ---- pins ---- */

static void give_token(struct client *c)
{
	if (c->residue.token)
		limit_give(&c->shard->pool.hub->pins);
	c->residue.token = false;
}

static bool take_token(struct client *c)
{
	if (!c->residue.token)
		c->residue.token = limit_take(&c->shard->pool.hub->pins);
	return c->residue.token;
}

static void set_pinned(struct client *c, unsigned bits)
{
	struct residue *r = &c->residue;
	char words[160];

	if (!r->pinned != !bits) {
		LOG(&c->log, c->h->snap->conf->g.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		    bits ? "client_pinned" : "client_unpinned", "what=\"%s\"",
		    residue_words(bits ? bits : r->pinned, words, sizeof(words)));
		if (bits)
			COUNT_INC(c, pins);
	}
	r->pinned = (uint16_t)bits;
	if (!bits)
		give_token(c);
}

/* ---- noting ---- */

/* NULL: out of memory. */
static struct noted *noted(struct client *c)
{
	if (!c->residue.noted)
		c->residue.noted = calloc(1, sizeof(*c->residue.noted));
	return c->residue.noted;
}

struct noting {
	struct client *c;
	bool as_set;             /* a RESET in it may not be run */
};

/* Whoever it is now, the role is what it was at the start, or none. */
static void note_identity(struct client *c)
{
	static const char *const who[] = { "role", "session_authorization" };
	struct noted *n = noted(c);
	int i;

	for (i = 0; i < 2; i++)
		if (!n || params_set(&n->names, who[i], "anew"))
			c->residue.unsure = true;
}

static void on_setting(void *arg, const char *name, bool reset)
{
	const struct noting *t = arg;
	struct client *c = t->c;
	struct noted *n = noted(c);

	if (!n || params_set(&n->names, name, reset && !t->as_set ? "reset" : "set"))
		c->residue.unsure = true; /* more than can be noted: ask for all */
	if (strcasecmp(name, "session_authorization") == 0)
		note_identity(c);
	if (strcasecmp(name, "search_path") == 0)
		c->temp_path = true;
}

/* All that was noted is reset with the rest, but for who one is. */
static void note_reset_all(struct client *c)
{
	struct noted *n = c->residue.noted;
	uint32_t i;

	for (i = 0; n && i < n->names.n; i++)
		if (!params_is_identity(n->names.v[i].name) &&
		    params_set(&n->names, n->names.v[i].name, "reset"))
			c->residue.unsure = true;
}

/* The statements of a text that are RESET or DISCARD ALL; *procedural: others decide
 * what is run. *sets: those that are SET. */
static unsigned count_resets(const char *sql, size_t len, bool *procedural, bool *discard,
			     unsigned *sets)
{
	struct lex_token t, next;
	bool start = true;
	unsigned n = 0;
	struct lex l;

	*procedural = *discard = false;
	*sets = 0;
	lex_init(&l, sql, len);
	for (t = lex_next(&l); t.kind != LEX_END && t.kind != LEX_BAD; t = lex_next(&l)) {
		struct lex ahead = l;
		bool all;

		next = lex_next(&ahead);
		all = start && lex_is(&t, "discard") && lex_is(&next, "all");
		*discard |= all;
		n += all || (start && lex_is(&t, "reset"));
		*sets += start && lex_is(&t, "set") && !lex_is(&next, "transaction");
		*procedural |= start && (lex_is(&t, "do") || lex_is(&t, "call"));
		start = t.kind == LEX_PUNCT && t.len == 1 && *t.text == ';';
	}
	return n;
}

void residue_encoding(struct client *c)
{
	struct noting t = { c, true };
	struct residue *r = &c->residue;
	const char *p;
	uint32_t i;

	for (i = 0; i < c->params.n; i++) {
		for (p = c->params.v[i].value; *p > 0; p++)
			;
		if (!*p)
			continue;
		r->leaves |= LEAVES_SETTING;
		on_setting(&t, c->params.v[i].name, false);
	}
}

/* lastval() may be asked of the server on which this client, and no other since,
 * has called nextval(). */
static enum refusal sequence(struct client *c, const struct server *s)
{
	bool mine = s->sequence_client == c->id || c->residue.nextval;

	if (c->pin == PIN_OFF)
		return REFUSED_NOT;
	if (!take_token(c))
		return REFUSED_PIN_LIMIT;
	set_pinned(c, c->residue.pinned | LEAVES_SEQUENCE);
	return mine ? REFUSED_NOT : REFUSED_SEQUENCE;
}

static enum refusal admit(struct client *c, const struct server *s, unsigned leaves, bool sure)
{
	unsigned binding = leaves & BINDING;

	/* CockroachDB cannot be asked for all there may be */
	if (s->crdb ? leaves & (LEAVES_UNKNOWN | LEAVES_EXECUTE) : sure && (leaves & LEAVES_UNKNOWN))
		binding |= LEAVES_UNKNOWN;
	if (c->pool_mode != POOL_TRANSACTION)
		return REFUSED_NOT;
	if (binding && !c->residue.pinned && c->pin == PIN_ERROR)
		return REFUSED_PIN;
	if (binding && c->pin == PIN_ON && !take_token(c))
		return REFUSED_PIN_LIMIT;
	return leaves & LEAVES_SEQUENCE ? sequence(c, s) : REFUSED_NOT;
}

/* On CockroachDB, where the tag of a RESET is that of a SET: one of those before has
 * failed, and nobody knows which. What they were about is asked for. */
static void doubt_resets(struct client *c, const struct server *s)
{
	struct residue *r = &c->residue;
	struct noted *n = noted(c);
	uint32_t i;
	int rc = n ? 0 : -1;

	for (i = 0; n && i < n->names.n; i++)
		if (*n->names.v[i].value == 'r')
			rc |= params_set(&n->names, n->names.v[i].name, "set");
	for (i = 0; n && (r->leaves & LEAVES_RESET_ALL) && i < c->params.n; i++)
		if (!params_get(&s->base, c->params.v[i].name))
			rc |= params_set(&n->names, c->params.v[i].name, "set");
	r->leaves &= (uint16_t)~LEAVES_RESET_ALL;
	r->resets_seen = r->resets_noted;
	r->unsure |= rc != 0;
}

enum refusal residue_note(struct client *c, struct server *s, unsigned leaves, bool sure,
			  const char *sql, size_t n)
{
	struct residue *r = &c->residue;
	enum refusal no = admit(c, s, leaves, sure);
	struct noting t = { c, false };
	bool procedural, discard;
	unsigned resets, sets;

	if (no != REFUSED_NOT)
		return no;
	if (leaves & LEAVES_EXECUTE) {
		leaves |= LEAVES_UNKNOWN; /* of a text that was looked at long ago */
		sure = false;
	}
	leaves &= ~(unsigned)(LEAVES_SEQUENCE | LEAVES_EXECUTE | LEAVES_NEXTVAL);
	if (!leaves)
		return REFUSED_NOT;
	if (!r->leaves)
		r->undone = r->unsure = r->procedural = false;
	if (s->crdb && r->resets_seen != r->resets_noted &&
	    !(owed_forwards(&s->owed) && owed_runs(&s->owed)))
		doubt_resets(c, s);
	r->unsure |= !sure;
	r->leaves |= (uint16_t)leaves;
	resets = count_resets(sql, n, &procedural, &discard, &sets);
	r->procedural |= procedural;
	r->resets_noted += resets + (s->crdb ? sets : 0); /* its RESET has the tag SET */
	/* what was undone was undone before it */
	r->reset_anew = resets && !procedural && s->tx != 'E' && !owed_forwards(&s->owed);
	t.as_set = procedural || !resets;
	if ((leaves & LEAVES_RESET_ALL) && !t.as_set)
		note_reset_all(c);
	if (discard)
		note_identity(c);
	if (!(leaves & (LEAVES_SETTING | LEAVES_UNKNOWN)))
		return REFUSED_NOT;
	lex_settings(sql, n, on_setting, &t);
	return REFUSED_NOT;
}

/* ---- asking ---- */

static void put(struct wire_put *w, const char *s)
{
	wire_put_bytes(w, s, strlen(s));
}

static void put_exists(struct wire_put *w, unsigned kinds)
{
	static const struct {
		unsigned bit;
		const char *from;
	} what[] = {
		{ LEAVES_LISTEN, "pg_catalog.pg_listening_channels()" },
		{ LEAVES_TEMP, "pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615 AND "
			       "refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()" },
		{ LEAVES_HOLD, "pg_catalog.pg_cursors WHERE is_holdable" },
		{ LEAVES_LOCK, "pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' "
			       "AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()" },
		{ LEAVES_PREPARE, "pg_catalog.pg_prepared_statements WHERE from_sql" },
	};
	char number[64];
	size_t i;

	put(w, "SELECT 0");
	for (i = 0; i < sizeof(what) / sizeof(*what); i++) {
		if (!(kinds & what[i].bit))
			continue;
		put(w, " OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM ");
		put(w, what[i].from);
		(void)snprintf(number, sizeof(number), ") THEN %u ELSE 0 END", what[i].bit);
		put(w, number);
	}
}

static void put_value(struct wire_put *w, const char *name)
{
	put(w, ",pg_catalog.current_setting(");
	params_put_literal(w, name);
	put(w, ",true)");
}

static void put_question(struct wire_put *w, unsigned kinds, const struct params *names, bool all)
{
	uint32_t i;

	wire_begin(w, 'Q');
	put_exists(w, kinds);
	for (i = 0; i < names->n; i++)
		put_value(w, names->v[i].name);
	if (all)
		put(w, ";SELECT name,setting FROM pg_catalog.pg_settings WHERE source "
		       "OPERATOR(pg_catalog.=) 'session'");
	wire_put_u8(w, 0);
	wire_end(w);
}

static int send_question(struct client *c, struct server *s, unsigned kinds, bool all)
{
	const struct params *names = &c->residue.noted->asked;
	size_t cap = 2048 + 2 * names->bytes + 64 * (size_t)names->n;
	uint8_t *b = malloc(cap);
	struct wire_put w = wire_put_to(b, cap);
	int rc = -1;

	if (!b)
		return -1;
	put_question(&w, kinds, names, all);
	if (!w.bad && !owed_sent(&s->owed, 'Q', 0, true, OURS_QUESTION, NULL) &&
	    stream_send(&s->s, b, w.len) != IO_FAIL)
		rc = 0;
	free(b);
	/* A simple Query ends the unnamed statement. */
	s->unnamed_serial = UNNAMED_UNKNOWN;
	COUNT_INC(c, questions);
	return rc;
}

/* Of an extension or a program's own: once set it is there, and empty when reset. */
static bool is_custom(const char *name)
{
	return strchr(name, '.') != NULL;
}

/* Settings that pg_settings does not list. */
static bool is_unlisted(const char *name)
{
	return is_custom(name) || params_is_identity(name);
}

/* ---- settings whose new value is known without asking ---- */

/* A RESET took effect: the server is as it was at its login, the client wants
 * what it began with. */
static int known_reset(struct client *c, struct server *s, const char *name)
{
	const char *start = params_get(&c->startup, name);
	bool custom = is_custom(name) && !s->crdb; /* which forgets it, or had none */

	if (params_get(&s->base, name))
		return 0; /* and has been told of */
	if (custom && params_set(&s->params, name, ""))
		return -1;
	if (!custom)
		params_unset(&s->params, name);
	if (start || custom)
		return params_set(&c->params, name, start ? start : "");
	params_unset(&c->params, name);
	return 0;
}

/* Custom settings that a RESET ALL leaves empty; of more there would soon be no room
 * for those that are set. */
#define EMPTY_KEPT 32u

/* RESET ALL, of what p has and the server does not report. */
static int forget_all(struct params *p, const struct server *s)
{
	bool keep = p->n <= EMPTY_KEPT && !s->crdb;
	uint32_t i;
	int rc = 0;

	for (i = p->n; i-- > 0;) {
		const char *name = p->v[i].name;

		if (params_get(&s->base, name) || params_is_identity(name))
			continue;
		if (is_custom(name) && keep)
			rc |= params_set(p, name, "");
		else
			params_unset(p, name);
	}
	return rc;
}

/* What the server reports has been heard of already, and who one is is not part of
 * it. */
static int known_reset_all(struct client *c, struct server *s)
{
	int rc = forget_all(&s->params, s) | forget_all(&c->params, s);
	uint32_t i;

	for (i = 0; i < c->startup.n; i++)
		if (!params_get(&s->base, c->startup.v[i].name) && !params_is_identity(c->startup.v[i].name))
			rc |= params_set(&c->params, c->startup.v[i].name, c->startup.v[i].value);
	return rc ? -1 : 0;
}

/* Every RESET that was noted was run, and nothing was undone, as nothing ever is on
 * CockroachDB. */
static bool trusted(const struct client *c)
{
	const struct residue *r = &c->residue;

	return (!r->undone || r->reset_anew || c->crdb) && !r->procedural &&
	       r->resets_seen == r->resets_noted;
}

/* Notes what must be asked for in noted->asked; what is known is done at once. */
static int sort_names(struct client *c, struct server *s, bool all, bool reset)
{
	struct residue *r = &c->residue;
	struct noted *n = r->noted;
	uint32_t i;
	int rc = 0;

	params_clear(&n->asked);
	params_clear(&n->seen);
	for (i = 0; i < n->names.n; i++) {
		const char *name = n->names.v[i].name, *how = n->names.v[i].value;
		bool was_reset = *how == 'r' || (*how == 'a' && r->resets_noted);

		if (was_reset && trusted(c)) {
			rc |= known_reset(c, s, name);
			if (all && is_custom(name)) /* something may have set it again */
				rc |= params_set(&n->asked, name, "known");
		} else if (!params_get(&s->base, name) || (s->crdb && r->undone)) {
			/* else the server has reported it, CockroachDB only if nothing failed */
			rc |= params_set(&n->asked, name, how);
		}
	}
	/* A RESET ALL that may have been undone: what was there is looked at anew. */
	for (i = 0; (all || (r->leaves & LEAVES_RESET_ALL)) && !reset && i < c->params.n; i++)
		if (!params_get(&n->asked, c->params.v[i].name) &&
		    (all ? is_unlisted(c->params.v[i].name) :
			   !params_get(&s->base, c->params.v[i].name)))
			rc |= params_set(&n->asked, c->params.v[i].name, "");
	if (all)
		rc |= params_set(&n->asked, "role", "") |
		      params_set(&n->asked, "session_authorization", "");
	return rc ? -1 : 0;
}

/* Nothing of the transaction has stayed, and the transaction was all of it. */
static bool all_undone(const struct client *c)
{
	const struct unit *u = &c->unit;

	if (c->crdb && (c->residue.leaves & (LEAVES_SETTING | LEAVES_UNKNOWN | LEAVES_RESET_ALL)))
		return false; /* settings stay there */
	return c->residue.undone && !c->residue.procedural && !u->explicit_txn && !u->completes &&
	       !u->complete_seen && !u->noted_before &&
	       !(c->residue.leaves & ~(unsigned)UNDONE_BY_ABORT);
}

/* What binds the client without being asked for. CockroachDB can be asked for
 * settings only. */
static unsigned bind_unasked(const struct client *c, const struct server *s, bool reset)
{
	const struct residue *r = &c->residue;
	unsigned bits = r->pinned | (r->leaves & (LEAVES_LIBRARY | LEAVES_OBJECT));

	if (reset)
		bits &= ~(unsigned)LEAVES_UNKNOWN;
	if (s->crdb && reset && (r->leaves & LEAVES_END))
		bits &= ~(unsigned)ASKABLE; /* DISCARD ALL */
	else if (s->crdb)
		bits |= r->leaves & (ASKABLE & ~(unsigned)LEAVES_LOCK); /* its locks do nothing */
	if (!reset && ((r->leaves & LEAVES_UNKNOWN) ? !r->unsure || s->crdb : r->unsure && s->crdb))
		bits |= LEAVES_UNKNOWN;
	return c->pin == PIN_OFF ? 0 : bits;
}

static enum residue_next bound(const struct client *c)
{
	return c->residue.pinned ? RESIDUE_KEPT : RESIDUE_FREE;
}

static void begin_again(struct residue *r)
{
	if (r->noted)
		params_clear(&r->noted->names);
	r->leaves = 0;
	r->unsure = r->undone = r->procedural = r->confirmed = r->reset_anew = false;
	r->resets_seen = r->resets_noted = 0;
}

/* It cannot be said what there is: the client stays where it is. */
static enum residue_next give_in(struct client *c)
{
	begin_again(&c->residue);
	if (c->pool_mode != POOL_TRANSACTION || !take_token(c))
		return RESIDUE_BROKEN;
	set_pinned(c, c->residue.pinned | LEAVES_UNKNOWN);
	return RESIDUE_KEPT;
}

static enum residue_next ask(struct client *c, struct server *s)
{
	struct residue *r = &c->residue;
	bool reset = (r->leaves & LEAVES_RESET_ALL) && trusted(c);
	bool all = r->unsure && !s->crdb;
	unsigned kinds = all ? ASKABLE : (r->leaves | r->pinned) & ASKABLE;

	if (c->pin == PIN_OFF) {
		r->scrub |= (r->leaves & BINDING) != 0;
		r->never |= (r->leaves & (LEAVES_LIBRARY | LEAVES_OBJECT)) != 0;
	}
	if (s->crdb || c->pin == PIN_OFF)
		kinds = 0;
	if (!noted(c) || (reset && known_reset_all(c, s)) || sort_names(c, s, all, reset))
		return give_in(c);
	c->undressed |= !params_same(&c->params, &s->params);
	r->found = (uint16_t)(bind_unasked(c, s, reset) & ~kinds);
	r->scrub |= all;
	r->asked_unsure = all;
	if (all && params_copy(&r->noted->before, &s->params))
		return give_in(c);
	begin_again(r);
	if (!kinds && !all && !r->noted->asked.n) {
		set_pinned(c, r->found);
		return bound(c);
	}
	if (send_question(c, s, kinds, all))
		return RESIDUE_BROKEN;
	r->asking = true;
	r->answered = r->failed = false;
	return RESIDUE_ASKED;
}

enum residue_next residue_settle(struct client *c, struct server *s)
{
	struct residue *r = &c->residue;

	if (r->asking)
		return RESIDUE_ASKED;
	if (r->evict)
		return RESIDUE_BROKEN;
	if (!r->leaves || all_undone(c)) {
		begin_again(r);
		if (!r->pinned)
			give_token(c);
		return bound(c);
	}
	if (r->pinned && !(r->leaves & (LEAVES_END | LEAVES_RESET_ALL)) &&
	    !(r->noted && settings_due(c))) {
		/* bound as it is: asked when something may have gone */
		set_pinned(c, r->pinned | (r->leaves & BINDING));
		r->unsure |= r->undone;
		r->undone = false;
		return RESIDUE_KEPT;
	}
	return ask(c, s);
}

void residue_session(struct client *c)
{
	if (!c->residue.leaves || settings_due(c))
		return; /* startup values are set again before the next message */
	begin_again(&c->residue);
}

/* ---- the answer ---- */

/* A field of a DataRow, copied with a zero behind it. NULL: NULL, or it is bad. */
static char *field(struct wire_get *g)
{
	uint32_t len = wire_get_u32(g);
	char *v;

	if (g->bad || len == UINT32_MAX)
		return NULL;
	if (len > wire_left(g)) {
		g->bad = true;
		return NULL;
	}
	v = strndup((const char *)g->p, len);
	g->p += len;
	g->bad = !v; /* is not NULL */
	return v;
}

static int is_now(struct client *c, struct server *s, const char *name, const char *value)
{
	const char *base = params_get(&s->base, name);

	if (value && !(base && strcmp(base, value) == 0))
		return params_set(&s->params, name, value) | params_set(&c->params, name, value);
	params_unset(&s->params, name);
	params_unset(&c->params, name);
	return 0;
}

static void first_row(struct client *c, struct server *s, struct wire_get *g, unsigned columns)
{
	struct residue *r = &c->residue;
	const struct params *asked = &r->noted->asked;
	char *v = field(g);
	const char *start;
	bool empty;
	uint32_t i;

	r->failed |= !v || columns != asked->n + 1;
	r->found |= v ? (uint16_t)strtoul(v, NULL, 10) : 0;
	free(v);
	for (i = 0; !r->failed && i < asked->n; i++) {
		const char *name = asked->v[i].name;

		v = field(g);
		if (g->bad)
			break;
		/* "none" is how a session without a role looks */
		if (v && strcasecmp(name, "role") == 0 && strcmp(v, "none") == 0 &&
		    !params_get(&s->params, name)) {
			free(v);
			v = NULL;
		}
		r->failed |= is_now(c, s, name, v) != 0;
		empty = !v || !*v;
		free(v);
		start = params_get(&c->startup, name);
		if (*asked->v[i].value == 'k' && start && empty)
			r->failed |= params_set(&c->params, name, start) != 0;
		if (*asked->v[i].value == 'a' && start && strcasecmp(name, "role") == 0)
			r->failed |= params_set(&c->params, name, start) != 0;
	}
}

/* Of the transaction, or of the moment. */
static bool is_fleeting(const char *name)
{
	return strncasecmp(name, "transaction_", 12) == 0 || strcasecmp(name, "seed") == 0;
}

void residue_row(struct client *c, struct server *s, const uint8_t *body, size_t n)
{
	struct wire_get g = { body, body + n, false };
	struct residue *r = &c->residue;
	unsigned columns = wire_get_u16(&g);

	if (!r->asking)
		return;
	if (!r->answered) {
		first_row(c, s, &g, columns);
	} else {
		char *name = field(&g), *value = field(&g);

		if (name && value && !params_get(&s->base, name) && !is_fleeting(name))
			r->failed |= params_set(&r->noted->seen, name, value) ||
				     is_now(c, s, name, value);
		free(name);
		free(value);
	}
	r->answered = true;
	r->failed |= g.bad;
}

/* All settings were asked for: what it was thought to have then and did not name it
 * has not. What has been set since is another matter. */
static void forget_unseen(struct client *c, struct server *s)
{
	const struct noted *n = c->residue.noted;
	uint32_t i;

	for (i = 0; i < n->before.n; i++) {
		const char *name = n->before.v[i].name, *own = params_get(&c->params, name);

		if (is_unlisted(name) || params_get(&n->seen, name) || params_get(&s->base, name))
			continue;
		params_unset(&s->params, name);
		if (own && strcmp(own, n->before.v[i].value) == 0)
			params_unset(&c->params, name);
	}
}

/* Tables made without a word about it are temporary then. */
static bool names_temp(const struct client *c)
{
	const char *path = params_get(&c->params, "search_path");

	return path && strcasestr(path, "pg_temp");
}

void residue_failed(struct client *c, const char *sqlstate)
{
	struct residue *r = &c->residue;

	r->failed = true;
	LOG(&c->log, LOG_LEVEL_WARN, "session_state_unknown", "sqlstate=%s", sqlstate);
}

void residue_answered(struct client *c, struct server *s)
{
	struct residue *r = &c->residue;
	bool ok = r->answered && !r->failed;

	r->asking = false;
	if (ok && r->asked_unsure)
		forget_unseen(c, s);
	params_clear(&r->noted->asked);
	params_clear(&r->noted->seen);
	params_clear(&r->noted->before);
	c->temp_path = names_temp(c);
	/* Not known what there is: it stays with its client, if there is room. */
	r->evict = (!ok || r->found) && !take_token(c);
	set_pinned(c, r->found | (ok ? 0 : LEAVES_UNKNOWN));
}

/* ---- ends ---- */

void residue_released(struct client *c, struct server *s)
{
	c->residue.scrub = c->residue.never = false;
	if (c->residue.nextval)
		s->sequence_client = c->id;
	c->residue.nextval = false;
}

const char *residue_reset(const struct client *c, bool *never)
{
	const struct residue *r = &c->residue;
	unsigned left = r->pinned | r->leaves | (r->asking ? r->found | LEAVES_UNKNOWN : 0);
	const char *all = c->h->snap->conf->g.server_reset_query;

	*never = r->never || (left & (LEAVES_LIBRARY | LEAVES_OBJECT)) != 0;
	if (c->pool_mode == POOL_SESSION)
		return all;
	if (!all || !*all)
		all = "DISCARD ALL";
	if (c->h->snap->conf->g.server_reset_query_always || (left & (BINDING | LEAVES_UNKNOWN)) ||
	    (r->scrub && c->pin == PIN_OFF))
		return all;
	if (left || r->scrub)
		return "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL";
	return NULL;
}

void residue_lost(struct client *c)
{
	struct residue *r = &c->residue;

	begin_again(r);
	r->nextval = false;
	give_token(c);
}

void residue_moved(struct client *c)
{
	residue_undone(c);
}

void residue_drop(struct client *c)
{
	struct residue *r = &c->residue;

	if (r->noted) {
		params_clear(&r->noted->names);
		params_clear(&r->noted->asked);
		params_clear(&r->noted->seen);
		params_clear(&r->noted->before);
		free(r->noted);
	}
	give_token(c);
	*r = (struct residue){ 0 };
}
