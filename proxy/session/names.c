/* proxy/session/names.c - see names.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/names.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "session/ours.h"
#include "session/replay.h"
#include "session/retry.h"
#include "session/server.h"
#include "session/step.h"
#include "session/switches.h"
#include "session/unit.h"
#include "wire/lexer.h"
#include "wire/wire.h"

static struct pending_name *await(const char *name)
{
	size_t n = strlen(name) + 1;
	struct pending_name *p = calloc(1, sizeof(*p) + n);

	if (!p)
		return NULL;
	memcpy(p->name, name, n);
	return p;
}

static void append(struct client *c, struct pending_name *p)
{
	if (!c->pending)
		c->pending_end = &c->pending;
	*c->pending_end = p;
	c->pending_end = &p->next;
}

int names_give(struct client *c, const char *name, struct stmt *st)
{
	struct pending_name *p = await(name);

	if (!p || stmt_names_add(&c->names, name, st)) {
		free(p);
		return -1;
	}
	append(c, p);
	return 0;
}

int names_take(struct client *c, const char *name)
{
	struct pending_name *p = await(name);

	if (!p)
		return -1;
	p->is_close = true;
	p->taken = stmt_names_del(&c->names, name);
	append(c, p);
	return 0;
}

int names_unnamed(struct client *c, struct stmt *st)
{
	struct pending_name *p = await("");

	if (!p)
		return -1;
	p->taken = c->unnamed;
	p->serial = c->unnamed_serial;
	c->unnamed = st;
	c->unnamed_serial = st ? ++c->h->serial : 0;
	append(c, p);
	return 0;
}

bool names_awaits(const struct client *c, const char *name)
{
	const struct pending_name *p = c->pending;

	while (p && strcmp(p->name, name) != 0)
		p = p->next;
	return p != NULL;
}

void names_query(struct client *c)
{
	stmts_put(&c->h->stmts, c->unnamed);
	c->unnamed = NULL;
	c->unnamed_serial = 0;
}

/* The oldest awaited change is final. */
static void settle_name(struct client *c)
{
	struct pending_name *p = c->pending;

	if (!p)
		return;
	c->pending = p->next;
	if (*p->name && p->is_close)
		unit_stays(c); /* what it stood for is not kept */
	else if (*p->name)
		c->unit.named++;
	if (!*p->name || !replay_keeps(c, p->taken))
		stmts_put(&c->h->stmts, p->taken);
	free(p);
}

void names_settle_all(struct client *c)
{
	while (c->pending)
		settle_name(c);
}

/* What came later has taken it from this one, and takes it now from the one before.
 * A Parse that fails leaves none, one that was skipped the one before. */
static void undo_unnamed(struct client *c, struct pending_name *p)
{
	struct stmt *old = p->failed ? NULL : p->taken;
	uint64_t serial = old ? p->serial : 0;
	struct pending_name *later = c->pending;

	if (p->failed)
		stmts_put(&c->h->stmts, p->taken);
	while (later && *later->name)
		later = later->next;
	stmts_put(&c->h->stmts, later ? later->taken : c->unnamed);
	if (later) {
		later->taken = old;
		later->serial = serial;
	} else {
		c->unnamed = old;
		c->unnamed_serial = serial;
	}
}

/* A later change of the same name has taken what this one gave, or takes what it took.
 * false: there is none. */
static bool hand_over(struct client *c, struct pending_name *p)
{
	struct pending_name *later = c->pending;

	while (later && strcmp(later->name, p->name) != 0)
		later = later->next;
	if (!later)
		return false;
	if (p->is_close && later->is_close && !later->taken) {
		later->taken = p->taken;
	} else if (p->is_close) {
		stmts_put(&c->h->stmts, p->taken); /* a later Parse has the name */
	} else {
		stmts_put(&c->h->stmts, later->taken);
		later->taken = NULL;
	}
	return true;
}

static void undo_name(struct client *c, struct pending_name *p)
{
	if (!*p->name)
		undo_unnamed(c, p);
	else if (hand_over(c, p))
		;
	else if (!p->is_close)
		stmts_put(&c->h->stmts, stmt_names_del(&c->names, p->name));
	else if (p->taken && stmt_names_add(&c->names, p->name, p->taken))
		stmts_put(&c->h->stmts, p->taken);
	free(p);
}

/* The first undo_n changes are taken back, the latest first. */
void names_undo(struct client *c)
{
	struct pending_name *back = NULL, *p;

	for (; c->undo_n && c->pending; c->undo_n--) {
		p = c->pending;
		c->pending = p->next;
		p->next = back;
		back = p;
	}
	c->undo_n = 0;
	while ((p = back)) {
		back = p->next;
		undo_name(c, p);
	}
}

void names_clear(struct client *c)
{
	c->undo_n = UINT_MAX;
	names_undo(c);
	names_stay(c);
}

/* Does this entry's answer settle a change of the client's names? */
static bool changes_names(const struct owed_entry *e)
{
	if (e->kind == OWED_LOCAL)
		return !(e->ref & REF_SWITCH);
	if (e->swallow)
		return false;
	if (e->ref == REF_UNNAMED)
		return e->kind == OWED_PARSE || e->kind == OWED_CLOSE;
	return e->kind == OWED_PARSE ? e->ref && !(e->ref & REF_AGAIN) :
				       e->kind == OWED_QUERY && (e->ref & REF_TAKES);
}

void names_settled(struct server *s, const struct owed_entry *e)
{
	struct client *c = client_for(s);

	if (c && changes_names(e))
		settle_name(c);
}

/* Does something that was sent later say which unnamed statement the server has? */
static bool unnamed_follows(const struct owed *o)
{
	uint32_t i;

	for (i = 0; i < o->n; i++) {
		const struct owed_entry *e = &o->q[(o->head + i) & (o->cap - 1)];

		if (e->kind == OWED_QUERY ||
		    ((e->kind == OWED_PARSE || e->kind == OWED_CLOSE) && e->ref == REF_UNNAMED))
			return true;
	}
	return false;
}

static void dropped_parse(struct server *s, struct client *c, const struct owed_entry *e,
			  bool failed)
{
	uint64_t id = e->ref & ~REF_AGAIN;

	if (e->ref != REF_UNNAMED && (e->ref & REF_SCRATCH))
		return; /* the statement itself is where it was */
	if (e->ref == REF_UNNAMED) {
		if (!unnamed_follows(&s->owed))
			s->unnamed_serial = UNNAMED_UNKNOWN;
	} else if ((e->ref & REF_AGAIN) && !failed) {
		return; /* skipped, and with it the Close in front: it is there still */
	} else if (e->ref) {
		stmt_cache_del(&s->cache, id);
		/* a second attempt whose Parse failed: the name of the first
		 * stands for nothing */
		if (c && (e->ref & REF_AGAIN) && !e->swallow && !replay_runs(c))
			stmt_names_forget(&c->names, &c->h->stmts, id);
	}
}

/* A statement is not what this server's cache says of it. */
static void lost_statement(struct server *s, const struct owed_entry *e)
{
	struct client *c = client_for(s);
	uint64_t id = e->ref;

	if (s->stmt_trouble == STMT_STALE) {
		/* whoever prepares the same text again is to get a new plan */
		stmts_retire(&s->h->stmts, id);
		if (s->stale && s->stale != id)
			s->close_needed = true; /* one can be kept in mind */
		s->stale = id;
	}
	stmt_cache_del(&s->cache, id);
	if (c && !c->unit.reprepared)
		/* rows of another type than the client knows are told of in the unit,
		 * or must not come */
		c->unit.reprepare = s->stmt_trouble == STMT_GONE || c->unit.described ||
				    e->kind == OWED_DESCRIBE_S;
	s->stmt_trouble = STMT_FINE;
}

void names_dropped(void *server, const struct owed_entry *e, bool failed)
{
	struct server *s = server;
	struct client *c = client_for(s);

	if (failed && s->stmt_trouble && !e->swallow && !(e->ref & REF_REFUSED) && e->ref &&
	    (e->kind == OWED_BIND || e->kind == OWED_DESCRIBE_S))
		lost_statement(s, e);
	if (c && changes_names(e)) {
		if (failed && e->kind == OWED_PARSE && c->pending)
			c->pending->failed = true; /* the oldest is the one that failed */
		c->undo_n++;
		/* the unnamed one is given again with a unit that is run again */
		c->unit.names_lost |= e->ref != REF_UNNAMED && !replay_runs(c);
	}
	if (e->kind == OWED_PARSE)
		dropped_parse(s, c, e, failed);
	else if (e->kind == OWED_CLOSE && e->ref == REF_UNNAMED && !unnamed_follows(&s->owed))
		s->unnamed_serial = UNNAMED_UNKNOWN;
	else if (e->kind == OWED_CLOSE && e->swallow && e->ref && stmt_cache_add(&s->cache, e->ref))
		s->close_needed = true; /* it is there still, and cannot be noted down */
	else if (e->kind == OWED_QUERY && !unnamed_follows(&s->owed))
		s->unnamed_serial = UNNAMED_UNKNOWN;
}

size_t names_reply(struct server *s, uint64_t ref, uint8_t out[NAMES_REPLY_MAX])
{
	struct owed_entry e = { .kind = OWED_LOCAL, .ref = ref };

	if (ref & REF_SWITCH)
		return switches_reply(client_for(s), ref, out, NAMES_REPLY_MAX);
	names_settled(s, &e);
	out[0] = ref == LOCAL_PARSE_COMPLETE ? '1' : '3';
	wire_set_u32(out + 1, 4);
	return 5;
}

static bool all_local(const struct owed *o)
{
	uint32_t i;

	for (i = 0; i < o->n; i++)
		if (o->q[(o->head + i) & (o->cap - 1)].kind != OWED_LOCAL)
			return false;
	return true;
}

void names_emit_due(struct client *c, struct server *s)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	uint8_t b[NAMES_REPLY_MAX];

	if (!s->owed.n || !all_local(&s->owed))
		return;
	while (owed_local_due(&s->owed)) {
		size_t n = names_reply(s, owed_local_take(&s->owed), b);

		if (!replay_told(c, b, n, false))
			continue;
		if (c->unit.state == UNIT_ARMED && c->unit.back.len == 0)
			unit_hold_timer(c);
		if (c->unit.state == UNIT_ARMED &&
		    !hold_add(&c->unit.back, b, n, (size_t)g->retry_hold_max, &c->h->holds,
			      g->retry_mem_total))
			continue;
		unit_pass(c, replay_covers(c) ? RV_STARTED : RV_MEMORY);
		unit_stays(c);
		say(c, b, n);
	}
}

size_t names_translated(const struct client *c, const uint8_t *msg, size_t n, uint8_t *out,
			size_t cap)
{
	const uint8_t *at = memmem(msg, n, STMT_PREFIX, sizeof(STMT_PREFIX) - 1), *end = msg + n;
	const char *name;
	size_t len, put;

	/* a field ends with a zero, so the number does too */
	if (!c->names.n || !at || n < WIRE_HEADER + 2 || end[-1] || end[-2] ||
	    !stmt_names_find(&c->names, stmt_name_id((const char *)at, &len), &name))
		return 0;
	put = n - len + strlen(name);
	if (put > cap)
		return 0;
	memcpy(out, msg, (size_t)(at - msg));
	memcpy(out + (at - msg), name, strlen(name));
	memcpy(out + (at - msg) + strlen(name), at + len, (size_t)(end - at) - len);
	wire_set_u32(out + 1, (uint32_t)(put - 1));
	return put;
}

void names_rows(struct server *s, bool mine, uint8_t type, uint64_t id, const uint8_t *msg, size_t have)
{
	struct client *c = client_for(s);
	uint64_t rows = ROWS_NONE;
	uint32_t len = 0;
	uint8_t t;

	if (type == 'T' && (wire_header(msg, have, &t, &len) != WIRE_OK || len > have))
		rows = ROWS_TOO_MANY;
	else if (type == 'T')
		rows = stmt_rows(msg + WIRE_HEADER, have - WIRE_HEADER);
	stmt_cache_tell(&s->cache, id, rows);
	if (c && mine)
		stmt_names_tell(&c->names, id, rows);
	if (!mine)
		s->describing = 0;
}

bool names_identifier(const struct lex_token *t, char *out, size_t cap)
{
	size_t i, n = 0;

	if ((t->kind != LEX_WORD && (t->kind != LEX_QUOTED || t->quote != '"')) || t->len >= cap)
		return false;
	for (i = 0; i < t->len; i++) {
		char ch = t->text[i];

		if (t->kind == LEX_WORD && ch >= 'A' && ch <= 'Z')
			ch = (char)(ch + 32);
		if (t->kind == LEX_QUOTED && ch == '"')
			i++;
		out[n++] = ch;
	}
	out[n] = 0;
	return true;
}

int names_leaving(struct client *c, const char *name)
{
	struct pending_name *p = await(name), **end = &c->leaving;

	if (!p)
		return -1;
	while (*end)
		end = &(*end)->next;
	*end = p;
	return 0;
}

bool names_is_leaving(const struct client *c, const char *name)
{
	const struct pending_name *p;

	for (p = c->leaving; p; p = p->next)
		if (strcmp(p->name, name) == 0)
			return true;
	return false;
}

void names_left(struct client *c)
{
	struct pending_name *p = c->leaving;

	if (!p)
		return;
	c->leaving = p->next;
	if (*p->name)
		stmts_put(&c->h->stmts, stmt_names_del(&c->names, p->name));
	free(p);
}

void names_stay(struct client *c)
{
	struct pending_name *p;

	while ((p = c->leaving)) {
		c->leaving = p->next;
		free(p);
	}
}

bool names_deallocated(const char *sql, size_t n, char *out, size_t cap)
{
	struct lex_token t;
	struct lex l;

	lex_init(&l, sql, n);
	t = lex_next(&l);
	if (!lex_is(&t, "deallocate"))
		return false;
	t = lex_next(&l);
	if (lex_is(&t, "prepare"))
		t = lex_next(&l);
	if (lex_is(&t, "all") || !names_identifier(&t, out, cap))
		return false;
	do {
		t = lex_next(&l);
	} while (t.kind == LEX_PUNCT && t.len == 1 && *t.text == ';');
	return t.kind == LEX_END;
}
