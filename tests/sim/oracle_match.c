/* tests/sim/oracle_match.c - what the oracle's engine says, against what came.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle_in.h"
#include "wire/wire.h"

/* ---- what is wrong ---- */

/* A custom setting that the engine does not know: elsewhere it may be empty. */
static void doubt_unset(struct oracle *o, const uint8_t *p, size_t n)
{
	struct fields f = *p == 'E' ? msg_fields(p, n) : (struct fields){ "", "", "", "" };
	const char *name = strchr(f.m, '"');
	char copy[64];

	if (strcmp(f.c, "42704") != 0 || !name || !strchr(name, '.') || strlen(name) > sizeof(copy))
		return;
	(void)snprintf(copy, sizeof(copy), "%.*s", (int)strlen(name) - 2, name + 1);
	oracle_doubt(o, copy, "");
}

static void mismatch(struct oracle *o, const uint8_t *p, size_t n, const struct msg *r)
{
	const struct msg *m = o->sent_at ? &o->sent.v[o->sent_at - 1] : NULL;
	char text[sizeof(o->first_wrong)];

	(void)snprintf(text, sizeof(text),
		       "message %u of the answers: should be \"%s\", and is \"%s\"; in answer to message %u of "
		       "the client: \"%s\"",
		       r ? r->number : o->got.count + 1, msg_show(p, n).s,
		       r ? msg_show(r->p, r->len).s : "nothing", m ? m->number : 0,
		       m ? msg_show(m->p, m->len).s : "the startup packet");
	doubt_unset(o, p, n);
	if (!o->mask)
		(void)snprintf(o->first_wrong, sizeof(o->first_wrong), "%s", text);
	if (o->doubts && !o->effects && !o->lost && o->status != 'E' && o->logged_in) {
		o->how = HOW_BLIND;
		o->due = DUE_DOUBT;
		return;
	}
	oracle_fail(o, "%s", o->first_wrong);
}

/* ---- the same? ---- */

/* Where two names of a client stand for one text, or the Parse of one has failed in
 * the same pipeline, an error may name the other, or the server's. */
static bool same_but_name(const char *a, const char *b)
{
	const char *a1 = strchr(a, '"'), *a2 = strrchr(a, '"');
	const char *b1 = strchr(b, '"'), *b2 = strrchr(b, '"');

	if (!a1 || !b1)
		return strcmp(a, b) == 0;
	return a1 - a == b1 - b && strncmp(a, b, (size_t)(a1 - a)) == 0 && strcmp(a2, b2) == 0;
}

static bool is_wish(const char *sqlstate)
{
	return strcmp(sqlstate, "22023") == 0 || strcmp(sqlstate, "0A000") == 0;
}

static bool same_error(const struct oracle *o, const uint8_t *p, size_t n, const struct msg *r)
{
	struct fields a = msg_fields(p, n), b = msg_fields(r->p, r->len);
	size_t cap = sizeof(((struct engine_error *)0)->message) - 1;

	/* CockroachDB refuses the first wish that it does not like, pgweir asks for them in
	 * another order */
	if (!o->logged_in && o->conf.dialect == DIALECT_CRDB && is_wish(a.c) && is_wish(b.c))
		return true;
	/* CockroachDB calls ERROR what ends a login */
	if (o->logged_in && (strcmp(a.s, b.s) != 0 || (*a.v && *b.v && strcmp(a.v, b.v) != 0)))
		return false;
	if (is_no_unnamed(&b) && o->unnamed_doubt)
		return true;
	/* a malformed Bind is passed on as it is, where CockroachDB may have another's unnamed
	 * statement still: it fails in either case */
	if (o->conf.dialect == DIALECT_CRDB && is_no_unnamed(&a) && strcmp(b.c, "08P01") == 0)
		return true;
	/* in a failed transaction what pgweir would have to prepare in front fails so */
	if (o->status == 'E' && strcmp(a.c, b.c) != 0 && strcmp(b.c, "25P02") == 0)
		return true;
	if (strcmp(a.c, b.c) != 0)
		return false;
	if (strncmp(a.m, "prepared statement \"", 20) == 0 ||
	    strstr(a.m, ", but prepared statement \""))
		return same_but_name(a.m, b.m);
	return strlen(a.m) == cap ? strncmp(a.m, b.m, cap) == 0 : strcmp(a.m, b.m) == 0;
}

/* Columns that the engine could not know are taken as they came. */
static bool same_row(const struct oracle *o, const uint8_t *p, size_t n, const struct msg *r)
{
	struct msg m = { .p = (uint8_t *)(uintptr_t)p, .len = (uint32_t)n };
	unsigned i, cols = n < 7 ? 0 : (unsigned)p[5] << 8 | p[6];
	const char *a, *b;
	uint32_t na, nb;
	bool ha, hb;

	if (n < 7 || r->len < 7 || memcmp(p + 5, r->p + 5, 2) != 0)
		return false;
	for (i = 0; i < cols; i++) {
		ha = row_column(&m, i, false, &a, &na);
		hb = row_column(r, i, false, &b, &nb);
		if ((ha && hb && na == 1 && *a == 1) || (o->names_n && !na && !nb))
			continue; /* a custom setting: empty, or never heard of */
		if (ha && hb && oracle_was_reset(o, a, na, b, nb))
			continue;
		if (ha != hb || (ha && (na != nb || memcmp(a, b, na) != 0)))
			return false;
	}
	return true;
}

static bool same_line(const uint8_t *p, size_t n, const struct msg *r)
{
	const uint8_t *tab = memchr(p, '\t', n);
	size_t head = tab ? (size_t)(tab - p) - 4 : 0;

	return tab && tab[1] == 1 && r->len > head + 5 && r->p[r->len - 1] == '\n' &&
	       memcmp(p + 5, r->p + 5, head) == 0;
}

static bool same(const struct oracle *o, const uint8_t *p, size_t n, const struct msg *r)
{
	if (*p != r->p[0])
		return false;
	if (n == r->len && memcmp(p, r->p, n) == 0)
		return true;
	switch (*p) {
	case 'E':
	case 'N':
		return same_error(o, p, n, r);
	case 'D':
		return same_row(o, p, n, r);
	case 'd':
		return same_line(p, n, r);
	case 'K':
		return true; /* CockroachDB has none, pgweir has */
	default:
		return false;
	}
}

/* Which node one is on is not a setting of the session. */
static bool same_setting(const struct oracle *o, const struct msg *a, const struct msg *b)
{
	struct wire_get g = wire_body(a->p, a->len), h = wire_body(b->p, b->len);
	const char *name = wire_get_str(&g, NULL), *other = wire_get_str(&h, NULL);

	if (b->p[0] != 'S')
		return false;
	if (!o->logged_in && strcmp(name, other) == 0 && strcmp(name, "in_hot_standby") == 0)
		return true;
	return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

/* ---- taking ---- */

static void commits_heard(struct oracle *o, uint64_t at_us)
{
	unsigned i;

	for (i = 0; i < o->acks; i++)
		history_end(o->h, o->ack[i], FATE_COMMITTED, at_us);
	o->acks = 0;
}

static void error_taken(struct oracle *o, const struct msg *r)
{
	const struct msg *m = o->sent_at ? &o->sent.v[o->sent_at - 1] : NULL;
	bool fatal = strcmp(msg_fields(r->p, r->len).s, "FATAL") == 0;
	enum excuse x = excuse_of(o, r);

	o->unnamed_doubt |= x != NO_EXCUSE && x != EX_SERIALIZE && x != EX_UNKNOWN;
	switch (x) {
	case EX_LOST_BLOCK:
		o->lost_settings = true;
		o->lost = o->was_lost = true;
		o->exits = m && (m->p[0] == 'Q' ? sql_commits(msg_sql(m)) :
						  m->p[0] == 'E' && o->saw_commit);
		break;
	case EX_LOST_UNKNOWN:
		o->lost_settings = true;
		o->lost = o->was_lost = o->lost_unknown = true;
		break;
	case EX_REFUSED:
		/* a BEGIN that no server has seen: as if its server had been lost */
		o->limbo |= o->status == 'T';
		break;
	case NO_EXCUSE:
	case EX_SERIALIZE:
	case EX_UNKNOWN:
	case EX_LIMBO:
	case EX_FATAL:
	default:
		break;
	}
	o->fatal |= fatal;
}

static void take(struct oracle *o, const struct msg *r)
{
	bool lost_again = r->p[0] == 'E' && excuse_of(o, r) != NO_EXCUSE;

	if (o->doomed && r->p[0] != 'Z' && !lost_again)
		oracle_fail(o, "the server of this session is lost with what it relied on, and it goes on: "
			       "message %u of the answers, \"%s\"",
			    r->number, msg_show(r->p, r->len).s);
	switch (r->p[0]) {
	case 'Z':
		o->ready = true;
		o->lost_settings &= r->len > 5 && r->p[5] != 'I';
		commits_heard(o, r->at_us);
		break;
	case '1':
		o->unnamed_doubt &= o->sent_at && o->sent.v[o->sent_at - 1].p[5] != 0;
		break;
	case 'C':
		o->rows_ahead = 0;
		commits_heard(o, r->at_us);
		break;
	case 'D':
	case 'd':
		o->rows_ahead -= o->rows_ahead > 0;
		break;
	case 'E':
		error_taken(o, r);
		break;
	default:
		break;
	}
	o->got_at++;
}

/* ---- ends ---- */

void match_cut(struct oracle *o, const struct msg *m, enum excuse x)
{
	o->ghost_block |= o->begun_here;
	o->target_err = error_of(m);
	o->how = x == EX_LOST_BLOCK || x == EX_UNKNOWN ? HOW_BLIND : HOW_GHOST;
	o->due = x == EX_FATAL ? DUE_END : DUE_CUT;
}

/* The stream has ended where the engine says p: what there is of the next message must
 * be its beginning. */
static void run_dry(struct oracle *o, const uint8_t *p, size_t n)
{
	size_t k = o->got.part_n < n ? o->got.part_n : n;
	bool open = *p == 'D' || *p == 'd';

	if (!o->over) {
		mismatch(o, p, n, NULL);
		return;
	}
	/* the length of a row that did not come is not known; an error may come anywhere */
	if (k && *o->got.part != 'E' && (*o->got.part != *p || (!open && memcmp(o->got.part, p, k) != 0)))
		oracle_fail(o, "the last answer, cut off: should begin \"%s\", and is \"%s\"",
			    msg_show(p, n).s, msg_show(o->got.part, o->got.part_n).s);
	o->ghost_block |= o->begun_here;
	o->how = HOW_GHOST;
	o->due = DUE_END;
}

/* ---- ParameterStatus: several in a row, in any order ---- */

static bool settle_one(struct oracle *o, const struct msg *t)
{
	unsigned i;

	for (i = o->got_at; i < o->got.n && o->got.v[i].p[0] == 'S'; i++) {
		struct msg r = o->got.v[i];

		if (!same_setting(o, t, &r))
			continue;
		o->got.v[i] = o->got.v[o->got_at];
		o->got.v[o->got_at] = r;
		take(o, &r);
		return true;
	}
	return false;
}

static void settle(struct oracle *o)
{
	/* of a transaction that is lost pgweir knows no savepoints, and tells of all that
	 * it has taken back at once */
	if (o->lost_settings) {
		msgs_drop(&o->told, o->told.n);
		while (o->got_at < o->got.n && o->got.v[o->got_at].p[0] == 'S')
			take(o, &o->got.v[o->got_at]);
	}
	while (o->told.n && o->how == HOW_LIVE) {
		const struct msg *r = o->got_at < o->got.n ? &o->got.v[o->got_at] : NULL;
		const struct msg *t = &o->told.v[0];
		enum excuse x = r ? excuse_of(o, r) : NO_EXCUSE;

		if (settle_one(o, t))
			msgs_drop(&o->told, 1);
		else if (!r)
			run_dry(o, t->p, t->len);
		else if (x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN || x == EX_FATAL)
			match_cut(o, r, x);
		else
			mismatch(o, t->p, t->len, r);
	}
}

const struct msg *match_next(struct oracle *o)
{
	if (o->how == HOW_LIVE)
		settle(o);
	return o->got_at < o->got.n ? &o->got.v[o->got_at] : NULL;
}

char match_status_behind(const struct oracle *o, const struct msg *m)
{
	unsigned i;

	for (i = (unsigned)(m - o->got.v) + 1; i < o->got.n; i++)
		if (o->got.v[i].p[0] == 'Z')
			return (char)o->got.v[i].p[5];
	return 0;
}

/* ---- one message of the engine's ---- */

/* Nothing of this unit can tell of a lost server but its status. */
static bool only_closes(const struct oracle *o)
{
	unsigned i;

	for (i = o->start_sent; i < o->sent_at; i++)
		if (!strchr("CHS", o->sent.v[i].p[0]))
			return false;
	return true;
}

/* What pgweir says of the status when a server was lost: it goes by what it knew
 * before. */
static bool other_status(struct oracle *o, const uint8_t *p, const struct msg *r)
{
	char is = (char)r->p[5], should = (char)p[5];

	if (*p != 'Z' || r->p[0] != 'Z' || r->len != 6)
		return false;
	if (is == 'E' && should == 'T' && (o->may & MAY_LOSE) && !o->lost && only_closes(o)) {
		o->lost = o->was_lost = true;
		o->repair = 'E';
		return true;
	}
	if (!o->lost)
		return false;
	if (is == 'I' && (o->lost_unknown || o->exits))
		o->repair = 'I';
	else if (is == 'E' && should == 'I' &&
		 (o->lost_unknown ? o->begun_here || o->limbo : o->status != 'I'))
		o->repair = 'E';
	else
		return false;
	return true;
}

static void one(struct oracle *o, const uint8_t *p, size_t n)
{
	const struct msg *r;
	enum excuse x;

	if (o->how != HOW_LIVE || o->dead)
		return;
	if (*p == 'S') {
		msgs_add(&o->told, p, n, 0);
		return;
	}
	r = match_next(o);
	if (o->how != HOW_LIVE || o->dead)
		return;
	if (!r) {
		run_dry(o, p, n);
		return;
	}
	if (same(o, p, n, r) || other_status(o, p, r)) {
		take(o, r);
		return;
	}
	x = excuse_of(o, r);
	if (*p == 'E' && !o->asked && x != NO_EXCUSE && x != EX_FATAL && x != EX_SERIALIZE &&
	    x != EX_UNKNOWN)
		take(o, r); /* it fails anyway, and was not asked whether it is to */
	else if (x == EX_LOST_BLOCK || x == EX_LOST_UNKNOWN || x == EX_FATAL ||
		 (x == EX_UNKNOWN && *p != 'E' && o->asked))
		match_cut(o, r, x);
	else
		mismatch(o, p, n, r);
}

static void all_of(struct oracle *o, const uint8_t *p, size_t n)
{
	uint8_t type;
	uint32_t len;

	while (n > o->said && wire_header(p + o->said, n - o->said, &type, &len) == WIRE_OK &&
	       len <= n - o->said) {
		one(o, p + o->said, len);
		o->said += len;
	}
}

void match_out(void *arg, const uint8_t *p, size_t n)
{
	struct oracle *o = arg;

	all_of(o, p, n);
	o->said = 0;
}

void match_said(struct oracle *o)
{
	if (o->e && o->how != HOW_OFF)
		all_of(o, o->e->out.p, o->e->out.len);
}
