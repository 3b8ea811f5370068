/* proxy/session/up_begin.c - see up_begin.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/up_begin.h"

#include <stdlib.h>
#include <string.h>

#include "session/count.h"
#include "session/shard.h"
#include "session/names.h"
#include "session/ours.h"
#include "session/replay.h"
#include "session/settings.h"
#include "session/step.h"
#include "session/unit.h"
#include "wire/hints.h"
#include "wire/wire.h"

/* Longest BEGIN with modes that is kept; it fits into UP_OWN_QUERY. */
#define BEGIN_MAX 80u
#define SETTINGS_SHORT 2048u

static enum step no_memory(struct up *u)
{
	return up_refuse(u, "out of memory", "53200", "out of memory");
}

/* The client's settings. */
static enum step dress(struct up *u)
{
	struct client *c = u->c;
	uint8_t b[SETTINGS_SHORT], *big;
	struct wire_put w = wire_put_to(b, sizeof(b));
	size_t big_len = 0;
	enum step r = up_room(u, 1, sizeof(b));

	c->undressed = false;
	if (r != STEP_ON || params_same(&c->params, &u->s->params))
		return r;
	if (settings_put(c, u->s, &w, &big, &big_len, &c->dress_await)) {
		free(big);
		return no_memory(u);
	}
	c->dressing = true;
	if (!big) {
		gather_copy(&u->g, b, w.len);
		return STEP_ON;
	}
	r = up_flush(u);
	if (r == STEP_ON && stream_send(&u->s->s, big, big_len) == IO_FAIL)
		r = STEP_SERVER;
	free(big);
	return r;
}

static enum step restore_big(struct up *u)
{
	size_t cap = 4 * PARAMS_BYTES_MAX;
	uint8_t *b = malloc(cap);
	struct wire_put w = wire_put_to(b, b ? cap : 0);
	enum step r = up_flush(u);

	if (r == STEP_ON)
		settings_restore(u->c, u->s, &w);
	if (r == STEP_ON && !w.bad)
		r = up_owe(u, 'Q', 0, true, OURS_RESTORE, NULL);
	if (r == STEP_ON && !w.bad && stream_send(&u->s->s, b, w.len) == IO_FAIL)
		r = STEP_SERVER;
	u->s->unnamed_serial = UNNAMED_UNKNOWN;
	free(b);
	return r;
}

/* Settings of its startup packet that a RESET of its own has undone. */
static enum step restore(struct up *u)
{
	uint8_t b[SETTINGS_SHORT];
	struct wire_put w = wire_put_to(b, sizeof(b));
	enum step r = up_room(u, 1, sizeof(b));

	if (r != STEP_ON)
		return r;
	replay_disarm(u->c, RV_CLASS); /* it would not be in the log */
	settings_restore(u->c, u->s, &w);
	if (w.bad)
		return restore_big(u);
	r = up_owe(u, 'Q', 0, true, OURS_RESTORE, NULL);
	if (r == STEP_ON)
		gather_copy(&u->g, b, w.len);
	u->s->unnamed_serial = UNNAMED_UNKNOWN;
	return r;
}

/* The BEGIN. Nothing goes behind it before it has been answered: it would run,
 * and be committed, on its own if the BEGIN failed. */
static enum step begin(struct up *u)
{
	struct client *c = u->c;
	enum step r = up_room(u, 1, UP_OWN_QUERY);

	if (r == STEP_ON)
		r = up_owe(u, 'Q', 0, true, OURS_BEGIN, NULL);
	if (r != STEP_ON)
		return r;
	up_own_query(u, c->begun);
	c->beginning = true;
	return STEP_STOP_PAUSE;
}

enum step up_prepare(struct up *u)
{
	struct client *c = u->c;
	enum step r = STEP_ON;

	if (c->beginning)
		return STEP_STOP_PAUSE;
	if (!c->at_start)
		return STEP_ON;
	if (c->undressed)
		r = dress(u);
	else if (settings_due(c))
		r = restore(u);
	if (r == STEP_ON && c->begun)
		r = begin(u);
	return r;
}

bool up_might_exit(const struct up *u, uint8_t type, const uint8_t *msg, uint32_t len)
{
	const struct client *c = u->c;
	const struct stmt *st;
	size_t have = stream_have(&c->s) - u->at;
	struct lex_class k;
	const char *name;
	struct wire_get g;

	switch (type) {
	case 'Q':
		if (len <= WIRE_HEADER + 1)
			return false;
		lex_classify((const char *)msg + WIRE_HEADER,
			     (have < len ? have : len - 1) - WIRE_HEADER, NULL, &k);
		return lex_may_exit(&k);
	case 'B':
		g = (struct wire_get){ msg + WIRE_HEADER, msg + (have < len ? have : len), false };
		(void)wire_get_str(&g, NULL);
		name = wire_get_str(&g, NULL);
		st = *name ? stmt_names_get(&c->names, name) : c->unnamed;
		return !st || st->may_exit;
	default:
		return false;
	}
}

/* ---- a transaction without statements ---- */

static bool is_mode(struct lex *l, struct lex_token *t, bool writer)
{
	if (lex_is(t, "read")) {
		*t = lex_next(l);
		return lex_is(t, "only") || (writer && lex_is(t, "write"));
	}
	if (lex_is(t, "not"))
		*t = lex_next(l);
	if (lex_is(t, "deferrable"))
		return true;
	if (!lex_is(t, "isolation"))
		return false;
	*t = lex_next(l);
	if (!lex_is(t, "level"))
		return false;
	*t = lex_next(l);
	if (lex_is(t, "serializable"))
		return writer;
	if (lex_is(t, "repeatable")) {
		*t = lex_next(l);
		return lex_is(t, "read");
	}
	if (!lex_is(t, "read"))
		return false;
	*t = lex_next(l);
	return lex_is(t, "committed") || lex_is(t, "uncommitted");
}

static bool is_end(struct lex *l, struct lex_token t)
{
	while (t.kind == LEX_PUNCT && t.len == 1 && *t.text == ';')
		t = lex_next(l);
	return t.kind == LEX_END;
}

/* BEGIN and START by two letters; blanks and comments may stand in front. */
static bool may_begin(const char *sql, size_t n)
{
	char a = n ? (char)(*sql | 0x20) : 0;

	return n > 4 && (a < 'a' || a > 'z' || a == 'b' || (a == 's' && (sql[1] | 0x20) == 't'));
}

/* The tag of a BEGIN that cannot fail; NULL: something else. On a standby some modes
 * do: writer says that the server will not be one. */
static const char *is_begin(const char *sql, size_t n, bool writer)
{
	struct lex_token t;
	const char *tag;
	struct lex l;

	lex_init(&l, sql, n);
	t = lex_next(&l);
	if (lex_is(&t, "start")) {
		tag = "START TRANSACTION";
		t = lex_next(&l);
		if (!lex_is(&t, "transaction"))
			return NULL;
		t = lex_next(&l);
	} else if (lex_is(&t, "begin")) {
		tag = "BEGIN";
		t = lex_next(&l);
		if (lex_is(&t, "work") || lex_is(&t, "transaction"))
			t = lex_next(&l);
	} else {
		return NULL;
	}
	while (t.kind == LEX_WORD) {
		if (!is_mode(&l, &t, writer))
			return NULL;
		t = lex_next(&l);
		if (t.kind == LEX_PUNCT && t.len == 1 && *t.text == ',') {
			t = lex_next(&l);
			if (t.kind != LEX_WORD)
				return NULL;
		}
	}
	return is_end(&l, t) ? tag : NULL;
}

/* COMMIT or ROLLBACK and no more; NULL: something else. */
static const char *is_over(const char *sql, size_t n)
{
	struct lex_token t;
	const char *tag;
	struct lex l;

	lex_init(&l, sql, n);
	t = lex_next(&l);
	if (lex_is(&t, "commit") || lex_is(&t, "end"))
		tag = "COMMIT";
	else if (lex_is(&t, "rollback") || lex_is(&t, "abort"))
		tag = "ROLLBACK";
	else
		return NULL;
	t = lex_next(&l);
	if (lex_is(&t, "work") || lex_is(&t, "transaction"))
		t = lex_next(&l);
	return is_end(&l, t) ? tag : NULL;
}

static void answer(struct client *c, const char *tag, char status)
{
	uint8_t b[32];
	struct wire_put w = wire_put_to(b, sizeof(b));

	wire_put_msg_str(&w, 'C', tag);
	wire_put_ready(&w, status);
	say(c, b, w.len);
	names_query(c);
	c->queries++;
	COUNT_INC(c, queries);
	if (status == 'I')
		COUNT_INC(c, xacts);
}

bool up_lazily(struct client *c, const char *sql, size_t n)
{
	enum session_attrs attrs;
	const char *tag;

	if (n > BEGIN_MAX || c->limbo || c->statement_only || c->pool_mode != POOL_TRANSACTION)
		return false;
	if (c->begun) {
		tag = is_over(sql, n);
		if (!tag)
			return false;
		client_forget_begin(c);
		replay_forget(c);
		answer(c, tag, 'I');
		return true;
	}
	if (!may_begin(sql, n) || !c->h->snap->conf->g.lazy_begin)
		return false;
	attrs = shard_attrs(c->shard);
	tag = is_begin(sql, n, attrs == ATTRS_PRIMARY || attrs == ATTRS_READ_WRITE);
	c->begun = tag ? strndup(sql, n) : NULL;
	if (!c->begun)
		return false;
	c->xact_us = c->h->w.now_us; /* the unit behind it will find a block open */
	if (c->crdb)
		tag = "BEGIN"; /* also of START TRANSACTION */
	COUNT_INC(c, lazy_begins);
	answer(c, tag, 'T');
	if (hints_read(sql, n) & HINT_RETRY_OFF)
		replay_forget(c);
	else
		replay_lazily(c, c->begun);
	return true;
}
