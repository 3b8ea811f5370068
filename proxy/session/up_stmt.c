/* proxy/session/up_stmt.c - see up_stmt.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_stmt.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "session/count.h"
#include "session/ours.h"
#include "session/prints.h"
#include "session/replay.h"
#include "session/settings.h"
#include "session/unit.h"
#include "wire/fingerprint.h"
#include "wire/switches.h"
#include "wire/wire.h"

/* Could a transaction be committed by it? One statement is what it says; of
 * several the middle ones are not known. */
bool stmt_may_commit(const struct lex_class *k)
{
	if (!k->sure)
		return true;
	if (k->statements > 1)
		return k->txn_control;
	return k->first == VERB_COMMIT || k->first == VERB_PREPARE_TRANSACTION || k->chain;
}

void up_opens(struct up *u, const struct replayable *x, uint32_t behind)
{
	struct client *c = u->c;
	unsigned ends = REPLAYABLE_COMMITS | REPLAYABLE_ENDS;

	if ((x->flags & (REPLAYABLE_OPENS | ends)) == REPLAYABLE_OPENS && !c->opens_sent) {
		c->opens_sent = true;
		c->opens_behind = behind;
	} else if (x->flags & ends) {
		c->opens_sent = false;
	}
}

bool stmt_ends_only(const struct lex_class *k)
{
	return k->sure && k->statements == 1 && !k->leaves &&
	       (k->first == VERB_COMMIT || k->first == VERB_ROLLBACK);
}

/* DEALLOCATE ALL and DISCARD ALL take effect when their answer comes: what is
 * behind them must wait to know which statements there are. */
bool stmt_changes_names(const struct lex_class *k)
{
	return !k->listed && (k->first == VERB_DEALLOCATE || k->first == VERB_DISCARD ||
			      k->statements > 1 || !k->sure);
}

/* Does the server read this text as the lexer does? */
static bool reads_otherwise(const struct up *u, const char *sql, size_t n)
{
	const char *scs = params_get(&u->c->params, "standard_conforming_strings");
	size_t i;

	if (!u->s->odd_sql && !(scs && strcasecmp(scs, "off") == 0))
		return false;
	for (i = 0; i < n; i++)
		if (sql[i] == '\\' || (uint8_t)sql[i] >= 0x80)
			return true;
	return false;
}

enum refusal up_note(struct up *u, unsigned leaves, bool sure, const char *sql, size_t n)
{
	enum refusal no;

	if (u->s->owed.skipping)
		return REFUSED_NOT;
	u->c->unit.resets_all |= (leaves & LEAVES_RESET_ALL) != 0;
	if (u->c->temp_path && !(leaves & LEAVES_UNKNOWN))
		leaves |= LEAVES_TEMP;
	if (reads_otherwise(u, sql, n)) {
		leaves |= LEAVES_UNKNOWN;
		sure = false;
	}
	no = leaves ? residue_note(u->c, u->s, leaves, sure, sql, n) : REFUSED_NOT;

	if (no != REFUSED_NOT)
		COUNT_INC(u->c, pin_refusals);
	else if (leaves && settings_due(u->c))
		u->c->barrier = true; /* what a RESET goes back to is set right behind it */
	return no;
}

void up_classify(struct client *c, struct stmt *st)
{
	struct switch_text t;
	struct lex_class k;
	size_t n = strnlen((const char *)st->body, st->len);

	lex_classify((const char *)st->body, n, &c->h->snap->lists, &k);
	if (prints_on(c))
		st->print = lex_fingerprint((const char *)st->body, n);
	st->retryable = lex_retryable(&k) && k.statements == 1;
	st->all_or_nothing = lex_all_or_nothing(&k);
	st->session_only = lex_session_only(&k);
	st->may_commit = stmt_may_commit(&k);
	/* what a failed transaction takes: an end, or an empty text */
	st->may_exit = lex_may_exit(&k) || k.statements == 0;
	st->ends_only = stmt_ends_only(&k);
	st->leaves = k.leaves;
	st->sure = k.sure;
	st->nextval = lex_may_nextval(&k);
	st->barrier = stmt_changes_names(&k);
	st->replayable = lex_replayable((const char *)st->body, n, &c->h->snap->lists, &k);
	st->hint_off = k.hint_off;
	st->hint_idempotent = k.hint_idempotent;
	st->switches = k.sure && k.switches && k.statements == 1 &&
		       switches_read((const char *)st->body, n, &t) != SWITCH_NOT;
}

/* A Close of one of our statements; ref as wire/owed.h. *live: it will be read. */
static enum step put_close(struct up *u, uint64_t id, uint64_t ref, bool *live)
{
	char name[STMT_NAME_CAP];
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	*live = false;
	if (r == STEP_ON)
		r = up_owe(u, 'C', 0, true, ref, live);
	if (r != STEP_ON || !*live)
		return r;
	stmt_name(id, name);
	wire_put_close(&w, name);
	unit_record(u->c, UNIT_SWALLOW);
	unit_log(u->c, b, w.len);
	gather_copy(&u->g, b, w.len);
	return STEP_ON;
}

/* Closes the statement that has to go, so that one more fits. */
enum step up_evict(struct up *u)
{
	uint32_t max = (uint32_t)u->c->h->snap->conf->g.max_prepared_statements;

	while (u->s->cache.n >= max && u->s->cache.n) {
		uint64_t id = stmt_cache_oldest(&u->s->cache);
		bool live;
		enum step r = put_close(u, id, id, &live);

		if (r != STEP_ON || !live)
			return r;
		stmt_cache_del(&u->s->cache, id);
	}
	return STEP_ON;
}

/* Sends a Parse under the name `name` ("" for the unnamed one). */
enum step up_send_parse(struct up *u, const struct stmt *st, const char *name, bool swallow,
			    uint64_t ref, bool *live)
{
	uint8_t head[WIRE_HEADER + STMT_NAME_CAP];
	struct wire_put w = wire_put_to(head, sizeof(head));
	enum step r = up_room(u, 3, sizeof(head));

	if (r == STEP_ON)
		r = up_owe(u, 'P', 0, swallow, ref, live);
	if (r != STEP_ON)
		return r;
	wire_put_u8(&w, 'P');
	wire_put_u32(&w, (uint32_t)(4 + strlen(name) + 1 + st->len));
	wire_put_str(&w, name);
	/* What the server skips now it must not when the unit is run again: the unnamed
	 * one is kept for that, of names too much would have to be. */
	if (!*live && (swallow || *name))
		unit_pass(u->c, RV_CLASS);
	unit_record(u->c, swallow ? UNIT_SWALLOW : UNIT_FORWARD);
	unit_log(u->c, head, w.len);
	unit_log(u->c, st->body, st->len);
	if (!*live)
		return STEP_ON;
	gather_copy(&u->g, head, w.len);
	gather_range(&u->g, st->body, st->len);
	COUNT_AT(u->c, u->s, server_parses);
	return STEP_ON;
}

enum step up_parse_scratch(struct up *u, const struct stmt *st, bool *live)
{
	static const char scratch[] = STMT_PREFIX "scratch";
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	if (r == STEP_ON)
		r = up_owe(u, 'C', 0, true, 0, live);
	if (r != STEP_ON || !*live)
		return r;
	wire_put_close(&w, scratch);
	unit_record(u->c, UNIT_SWALLOW);
	unit_log(u->c, b, w.len);
	gather_copy(&u->g, b, w.len);
	return up_send_parse(u, st, scratch, false, st->id | REF_SCRATCH, live);
}

/* One of our names is free again. */
static enum step close_stale(struct up *u)
{
	bool live;
	enum step r = put_close(u, u->s->stale, 0, &live);

	if (r == STEP_ON && live)
		u->s->stale = 0;
	return r;
}

bool up_in_doubt(const struct owed *o, uint64_t ref)
{
	bool found = false;
	uint32_t i;

	for (i = 0; o->ready_n && i < o->n; i++) {
		const struct owed_entry *e = &o->q[(o->head + i) & (o->cap - 1)];

		/* what we answer ourselves is skipped like the rest */
		if ((e->kind == OWED_LOCAL && ref != REF_UNNAMED) ||
		    ((e->kind == OWED_PARSE || e->kind == OWED_CLOSE) &&
		     (e->ref == ref || (e->ref & ~(REF_AGAIN | REF_SCRATCH)) == ref)))
			found = true;
		else if (found && (e->kind == OWED_SYNC || e->kind == OWED_QUERY))
			return true;
	}
	return false;
}

/* Makes sure the server has the statement before it is used. */
enum step up_need_stmt(struct up *u, const struct stmt *st)
{
	char name[STMT_NAME_CAP];
	enum step r;
	bool live = false, again;

	if (up_in_doubt(&u->s->owed, st->id))
		return STEP_STOP_PAUSE;
	if (stmt_cache_use(&u->s->cache, st->id))
		return STEP_ON;
	again = u->s->stale == st->id; /* skipped with its Close, it is there still */
	r = again ? close_stale(u) : STEP_ON;
	if (r == STEP_ON)
		r = up_evict(u);
	if (r != STEP_ON)
		return r;
	stmt_name(st->id, name);
	r = up_send_parse(u, st, name, true, st->id | (again ? REF_AGAIN : 0), &live);
	if (r == STEP_ON && live && stmt_cache_add(&u->s->cache, st->id))
		return up_refuse(u, "out of memory", "53200", "out of memory");
	u->s->parsed = st->id;
	return r;
}

/* The unnamed statement of this client, wherever it was parsed. */
static enum step up_need_unnamed(struct up *u)
{
	static const uint8_t close_unnamed[] = { 'C', 0, 0, 0, 6, 'S', 0 };
	struct client *c = u->c;
	struct server *s = u->s;
	enum step r;
	bool live = false;

	if (c->pending && up_in_doubt(&s->owed, REF_UNNAMED))
		return STEP_STOP_PAUSE;
	if (s->unnamed_serial == c->unnamed_serial)
		return STEP_ON;
	if (c->unnamed) {
		r = up_send_parse(u, c->unnamed, "", true, REF_UNNAMED, &live);
		if (r == STEP_ON && live)
			s->unnamed_serial = c->unnamed_serial;
		return r;
	}
	/* It has none: the one that is there is somebody else's. */
	r = up_room(u, 1, sizeof(close_unnamed));
	if (r == STEP_ON)
		r = up_owe(u, 'C', 0, true, REF_UNNAMED, &live);
	if (r != STEP_ON || !live)
		return r;
	unit_record(c, UNIT_SWALLOW);
	unit_log(c, close_unnamed, sizeof(close_unnamed));
	gather_copy(&u->g, close_unnamed, sizeof(close_unnamed));
	s->unnamed_serial = 0;
	return STEP_ON;
}

/* A change of the client's statements may free one whose text is still in the
 * gather. */
enum step up_settle(struct up *u)
{
	return u->g.n ? up_flush(u) : STEP_ON;
}

/* A statement of that name, so that DEALLOCATE finds one: which does not
 * matter, and an empty text can always be parsed. */
static enum step need_name(struct up *u, const struct stmt *st)
{
	static const uint8_t rest[] = { 0, 0, 0 };
	char name[STMT_NAME_CAP];
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r;

	if (stmt_cache_use(&u->s->cache, st->id))
		return STEP_ON;
	r = up_room(u, 1, sizeof(b));
	if (r == STEP_ON)
		r = up_owe(u, 'P', 0, true, 0, NULL);
	if (r != STEP_ON)
		return r;
	stmt_name(st->id, name);
	wire_begin(&w, 'P');
	wire_put_str(&w, name);
	wire_put_bytes(&w, rest, sizeof(rest));
	wire_end(&w);
	gather_copy(&u->g, b, w.len);
	return STEP_ON;
}

/* DEALLOCATE of a statement that was prepared by protocol: the server knows it
 * under our name. Writes the text with that name to out and takes the client's
 * name away; *len is 0 when the text is something else. */
enum step up_deallocate(struct up *u, const char *sql, size_t n, char out[64], size_t *len)
{
	struct client *c = u->c;
	char name[256], sname[STMT_NAME_CAP];
	struct stmt *st = NULL;
	enum step r;

	*len = 0;
	if (c->names.n && u->s->tx != 'E' && names_deallocated(sql, n, name, sizeof(name)))
		st = stmt_names_get(&c->names, name);
	if (!st)
		return STEP_ON;
	r = need_name(u, st);
	if (r == STEP_ON)
		r = up_settle(u);
	if (r != STEP_ON)
		return r;
	unit_pass(c, RV_CLASS);
	unit_stays(c);
	stmt_name(st->id, sname);
	*len = (size_t)snprintf(out, 64, "DEALLOCATE %s", sname);
	stmt_cache_del(&u->s->cache, st->id);
	stmts_put(&c->h->stmts, stmt_names_del(&c->names, name));
	return STEP_ON;
}

/* The statement a message names, made ready on the server. *found: NULL when
 * the client has no such name: the server will say so. */
enum step up_use_stmt(struct up *u, const char *name, const struct stmt **found)
{
	const struct stmt_named *e;
	struct client *c = u->c;
	enum step r;

	e = *name ? stmt_names_entry(&c->names, name) : NULL;
	*found = e ? e->stmt : *name ? NULL : c->unnamed;
	u->told = e ? e->rows : ROWS_UNKNOWN;
	if (!*name)
		r = up_need_unnamed(u);
	else
		r = *found ? up_need_stmt(u, *found) : STEP_ON;
	if (!*found || (!(*found)->retryable && !replay_might_take(c, &(*found)->replayable)))
		unit_doubt(c, RV_CLASS);
	if (!*found || !(*found)->all_or_nothing)
		c->unit.uncertain = true;
	if (!*found || (*found)->may_commit)
		c->commit_sent = true;
	return r;
}

/* Does a Describe of the portal follow the Bind? Then the client is told anew. */
static bool described_next(const uint8_t *next, size_t left)
{
	return left > WIRE_HEADER && next[0] == 'D' && next[WIRE_HEADER] == 'P';
}

/* Asks the server for the statement's rows; the answer comes without a Sync. */
static enum step ask_rows(struct up *u, const struct stmt *st)
{
	static const uint8_t flush[] = { 'H', 0, 0, 0, 4 };
	char name[STMT_NAME_CAP];
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	if (r == STEP_ON)
		r = up_owe(u, 'D', 'S', true, st->id, NULL);
	if (r != STEP_ON)
		return r;
	stmt_name(st->id, name);
	wire_begin(&w, 'D');
	wire_put_u8(&w, 'S');
	wire_put_str(&w, name);
	wire_end(&w);
	unit_record(u->c, UNIT_SWALLOW);
	unit_log(u->c, b, w.len);
	wire_put_bytes(&w, flush, sizeof(flush));
	gather_copy(&u->g, b, w.len);
	u->s->describing = st->id;
	return STEP_STOP_PAUSE;
}

enum step up_check_rows(struct up *u, const struct stmt *st, const uint8_t *next, size_t left,
			enum refusal *no)
{
	uint64_t here = stmt_cache_rows(&u->s->cache, st->id);
	enum step r;

	u->c->unit.rows_known = u->told && here == u->told;
	if (!u->told || u->s->tx == 'E' || u->s->owed.skipping || described_next(next, left))
		return STEP_ON;
	if (u->s->describing)
		return STEP_STOP_PAUSE;
	if (here == ROWS_UNKNOWN && u->s->parsed == st->id)
		return ask_rows(u, st);
	if (here == u->told || here == ROWS_TOO_MANY || u->told == ROWS_TOO_MANY)
		return STEP_ON;
	/* which of the two is out of date? One of which nothing is known may be, too,
	 * and would be refused for it */
	if (u->s->refreshed != st->id && (!u->s->stale || u->s->stale == st->id)) {
		u->s->refreshed = u->s->stale = st->id;
		stmt_cache_del(&u->s->cache, st->id);
		r = up_need_stmt(u, st);
		return r == STEP_ON ? ask_rows(u, st) : r;
	}
	u->s->refreshed = 0;
	*no = REFUSED_ROWS;
	return STEP_ON;
}

/* Sends a message with the statement's name in it replaced: before, name,
 * after. `before` begins behind the length. */
enum step up_send_renamed(struct up *u, uint8_t type, const uint8_t *msg, size_t before,
			  const char *old, const char *name, size_t have, uint32_t len)
{
	uint8_t head[WIRE_HEADER];
	size_t tail = WIRE_HEADER + before + strlen(old) + 1;
	enum step r = up_room(u, 5, sizeof(head) + STMT_NAME_CAP);

	if (r != STEP_ON)
		return r;
	head[0] = type;
	wire_set_u32(head + 1, (uint32_t)(len - 1 - strlen(old) + strlen(name)));
	unit_record(u->c, UNIT_FORWARD);
	unit_log(u->c, head, sizeof(head));
	unit_log(u->c, msg + WIRE_HEADER, before);
	unit_log(u->c, name, strlen(name) + 1);
	unit_log(u->c, msg + tail, have - tail);
	gather_copy(&u->g, head, sizeof(head));
	gather_range(&u->g, msg + WIRE_HEADER, before);
	gather_copy(&u->g, name, strlen(name) + 1);
	gather_range(&u->g, msg + tail, have - tail);
	return STEP_ON;
}

enum step up_refused_bind(struct up *u, enum refusal no)
{
	static const char name[] = "pgweir refuses this";
	uint8_t b[64];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	if (r == STEP_ON)
		r = up_owe(u, 'B', 0, false, REF_REFUSED | no, NULL);
	if (r != STEP_ON)
		return r;
	unit_pass(u->c, RV_CLASS);
	wire_begin(&w, 'B');
	wire_put_str(&w, "");
	wire_put_str(&w, name);
	wire_put_u16(&w, 0);
	wire_put_u16(&w, 0);
	wire_put_u16(&w, 0);
	wire_end(&w);
	gather_copy(&u->g, b, w.len);
	return STEP_ON;
}
