/* proxy/session/replay.c - see replay.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/replay.h"

#include <stdlib.h>
#include <string.h>

#include "session/count.h"
#include "wire/wire.h"

/* ---- beginning and end ---- */

static void drop(struct client *c)
{
	struct replay *r = c->replay;
	struct holds *held = &c->h->holds;
	unsigned i;

	free(r->begin);
	r->begin = NULL;
	hold_free(&r->log, held);
	hold_free(&r->sums, held);
	hold_free(&r->first, held);
	hold_free(&r->done, held);
	tally_free(&r->tally);
	stmts_put(&c->h->stmts, r->unnamed);
	stmts_put(&c->h->stmts, r->unnamed_now);
	r->unnamed = r->unnamed_now = NULL;
	while (r->pending) {
		struct pending_name *p = r->pending;

		r->pending = p->next;
		stmts_put(&c->h->stmts, p->taken);
		free(p);
	}
	for (i = 0; i < r->closed_n; i++)
		stmts_put(&c->h->stmts, r->closed[i]);
	free(r->closed);
	r->closed = NULL;
	r->closed_n = r->units = 0;
}

void replay_forget(struct client *c)
{
	if (!c->replay)
		return;
	drop(c);
	free(c->replay);
	c->replay = NULL;
}

void replay_disarm(struct client *c, enum retry_verdict why)
{
	struct replay *r = c->replay;

	if (!r || r->phase != REPLAY_ARMED)
		return;
	if (r->observe && c->unit.refused == RV_RETRY)
		c->unit.refused = (uint8_t)why;
	drop(c);
	r->phase = REPLAY_OFF;
	c->replay_why = (uint8_t)why;
}

static struct replay *arm(struct client *c)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->observe = c->retry == RETRY_OBSERVE;
	r->unnamed = c->unnamed;
	if (r->unnamed)
		r->unnamed->refs++;
	tally_begin(&r->tally);
	c->replay = r;
	return r;
}

static bool wanted(const struct client *c)
{
	return (c->retry == RETRY_REPLAY || c->retry == RETRY_OBSERVE) && !c->retry_off;
}

void replay_lazily(struct client *c, const char *sql)
{
	struct replay *r;

	replay_forget(c);
	r = wanted(c) ? arm(c) : NULL;
	if (!r)
		return;
	r->begin = strdup(sql);
	if (!r->begin)
		replay_forget(c);
}

/* ---- what may be in it ---- */

static bool add_name(struct replay_names *l, uint64_t name)
{
	if (l->n == REPLAY_NAMES)
		return false;
	l->v[l->n++] = name;
	return true;
}

/* The latest of that name; l->n: none. */
static unsigned find_name(const struct replay_names *l, uint64_t name)
{
	unsigned i;

	for (i = l->n; i-- > 0;)
		if (l->v[i] == name)
			return i;
	return l->n;
}

/* false: it cannot be followed. */
static bool act(struct replay *r, const struct replayable *x)
{
	unsigned i;

	switch (x->act) {
	case ACT_SAVEPOINT:
		return add_name(&r->savepoints, x->name);
	case ACT_RELEASE:
		i = find_name(&r->savepoints, x->name);
		r->released |= i < r->savepoints.n;
		if (i < r->savepoints.n)
			r->savepoints.n = i; /* and those that came after it */
		return true;
	case ACT_ROLLBACK_TO:
		i = find_name(&r->savepoints, x->name);
		if (i < r->savepoints.n)
			r->savepoints.n = i + 1;
		return true;
	case ACT_DECLARE:
		return add_name(&r->cursors, x->name);
	case ACT_CURSOR:
		return find_name(&r->cursors, x->name) < r->cursors.n;
	case ACT_NONE:
	default:
		return true;
	}
}

static bool forbidden(const struct server *s, const struct replayable *x)
{
	return (x->flags & REPLAYABLE_NOT) || (s->crdb && (x->flags & REPLAYABLE_NOT_CRDB));
}

bool replay_takes(struct client *c, const struct server *s, const struct replayable *x)
{
	struct unit *u = &c->unit;
	bool opens = x && (x->flags & REPLAYABLE_OPENS);
	struct replay *r = c->replay;

	if (!r) {
		if (!opens || u->explicit_txn || u->binds || !wanted(c) || u->state != UNIT_ARMED ||
		    (u->bound_only && c->retry == RETRY_REPLAY) || forbidden(s, x))
			return false;
		r = arm(c);
		if (!r)
			return false;
		u->opens = true;
		u->commits = (x->flags & REPLAYABLE_COMMITS) != 0;
		return !r->observe;
	}
	if (r->phase != REPLAY_ARMED)
		return false;
	/* what comes behind a COMMIT is not of this transaction */
	if (!x || opens || u->commits || r->ends || forbidden(s, x) || !act(r, x)) {
		replay_disarm(c, RV_CLASS);
		return false;
	}
	u->commits = (x->flags & REPLAYABLE_COMMITS) != 0;
	u->commits_alone = (x->flags & REPLAYABLE_ALONE) && !u->binds;
	r->ends = (x->flags & REPLAYABLE_ENDS) != 0;
	return !r->observe;
}

bool replay_might_take(const struct client *c, const struct replayable *x)
{
	return replay_covers(c) || (c->retry == RETRY_REPLAY && wanted(c) && !c->unit.explicit_txn &&
				    (x->flags & REPLAYABLE_OPENS));
}

void replay_binds(struct client *c, const char *portal)
{
	if (*portal && replay_covers(c) &&
	    !add_name(&c->replay->cursors, replayable_name(portal, strlen(portal))))
		replay_disarm(c, RV_CLASS);
}

void replay_uses(struct client *c, const char *portal)
{
	const struct replay *r = c->replay;

	if (*portal && replay_covers(c) &&
	    find_name(&r->cursors, replayable_name(portal, strlen(portal))) == r->cursors.n)
		replay_disarm(c, RV_CLASS);
}

bool replay_keeps(struct client *c, struct stmt *st)
{
	struct replay *r = c->replay;
	struct stmt **more;

	if (!st || !r || r->phase == REPLAY_OFF || r->observe)
		return false;
	more = realloc(r->closed, (r->closed_n + 1) * sizeof(*more));
	if (!more)
		return false; /* a server that has it not will say so */
	r->closed = more;
	more[r->closed_n++] = st;
	return true;
}

const struct stmt *replay_closed(const struct client *c, uint64_t id)
{
	const struct replay *r = c->replay;
	unsigned i;

	for (i = 0; r && i < r->closed_n; i++)
		if (r->closed[i]->id == id)
			return r->closed[i];
	return NULL;
}

/* ---- what the client was told ---- */

size_t replay_told(struct client *c, const void *p, size_t n, bool notice)
{
	struct replay *r = c->replay;
	const uint8_t *b = p;
	size_t left = 0;
	uint8_t sum[TALLY_MAX];

	if (!r || r->observe || r->phase == REPLAY_OFF)
		return n;
	if (notice && !c->h->snap->conf->g.replay_compare_notices) {
		if (r->phase != REPLAY_ARMED)
			return 0;
		r->notices++;
		return r->tally.bytes >= r->told && r->notices > r->notices_told ? n : 0;
	}
	if (r->phase != REPLAY_ARMED || r->tally.bytes >= r->told) {
		tally_add(&r->tally, p, n);
		return r->phase == REPLAY_ARMED && !r->differs ? n : 0;
	}
	/* it has the first bytes of this answer: these must be the same */
	left = (size_t)(r->told - r->tally.bytes);
	if (left > n)
		left = n;
	tally_add(&r->tally, b, left);
	if (r->tally.bytes == r->told)
		r->differs = tally_sum(&r->tally, sum) != r->told_len ||
			     memcmp(sum, r->told_sum, r->told_len) != 0;
	tally_add(&r->tally, b + left, n - left);
	return r->differs ? 0 : n - left;
}

size_t replay_translated(const struct client *c, const uint8_t *msg, size_t n, uint8_t *out,
			 size_t cap)
{
	static const struct wire_error e = { "ERROR", "25P02",
					     "current transaction is aborted, commands ignored until end "
					     "of transaction block", NULL, NULL, NULL };
	struct wire_put w = wire_put_to(out, cap);
	struct wire_fields f;

	if (!c->replay || c->replay->phase != REPLAY_OFF || c->replay_why != RV_EXHAUSTED)
		return 0;
	wire_get_fields((struct wire_get){ msg + WIRE_HEADER, msg + n, false }, &f);
	if (strcmp(f.sqlstate, "34000") != 0)
		return 0;
	wire_put_error(&w, 'E', &e);
	return w.bad ? 0 : w.len;
}

static bool keep(struct client *c, struct hold *h, const void *p, size_t n)
{
	const struct conf_global *g = &c->h->snap->conf->g;

	return !hold_add(h, p, n, (size_t)g->replay_log_max, &c->h->holds,
			 g->retry_mem_total);
}

static void count_attempts(struct client *c, unsigned n)
{
	if (n <= 1)
		COUNT_INC(c, replay_ok_1);
	else if (n == 2)
		COUNT_INC(c, replay_ok_2);
	else if (n <= 5)
		COUNT_INC(c, replay_ok_3_5);
	else if (n <= 10)
		COUNT_INC(c, replay_ok_6_10);
	else
		COUNT_INC(c, replay_ok_more);
}

void replay_success(struct client *c)
{
	struct replay *r = c->replay;

	COUNT_INC(c, replay_ok);
	count_attempts(c, r->attempts);
	COUNT_ADD(c, replay_time_us, c->h->w.now_us - r->first_fail_us);
	count_saved(c, server_for(c), r->first_fail_us);
	r->attempts = 0;
	r->first_fail_us = 0;
	r->lost = r->asked = false;
}

void replay_hold(struct client *c)
{
	struct replay *r = c->replay;

	if (!replay_covers(c) || c->unit.state != UNIT_PASS || !c->unit.closed)
		return;
	r->told = r->tally.bytes;
	r->told_len = tally_sum(&r->tally, r->told_sum);
	r->notices_told = r->notices;
	c->unit.state = UNIT_ARMED;
}

void replay_answered(struct client *c, char status)
{
	struct replay *r = c->replay;
	const struct conf_global *g = &c->h->snap->conf->g;
	uint8_t sum[TALLY_MAX];
	uint32_t end;
	size_t n;

	if (!r)
		return;
	if (r->phase == REPLAY_ARMED && r->attempts && !c->unit.failed)
		replay_success(c);
	if (status == 'I') {
		replay_forget(c);
		return;
	}
	if (r->phase != REPLAY_ARMED)
		return;
	if (status != 'T' || c->unit.other_error || c->unit.commit_seen || c->unit.failed) {
		replay_disarm(c, RV_CLASS);
		return;
	}
	r->told = 0;
	r->told_len = 0;
	r->open_before = r->savepoints.n;
	r->notices = r->notices_told = 0;
	r->released = false;
	if (r->observe)
		return;
	n = tally_end(&r->tally, sum);
	r->records += c->unit.records;
	if (!n || r->units >= (unsigned)g->replay_units_max || r->records > UNIT_RECORDS_MAX ||
	    !keep(c, &r->log, c->unit.log.p, c->unit.log.len)) {
		replay_disarm(c, RV_MEMORY);
		return;
	}
	end = (uint32_t)r->log.len;
	r->units++;
	if (!keep(c, &r->sums, &end, sizeof(end)) || !keep(c, &r->sums, sum, n))
		replay_disarm(c, RV_MEMORY);
}

void replay_compare(struct client *c)
{
	struct replay *r = c->replay;
	uint8_t sum[TALLY_MAX];
	const uint8_t *was = r->sums.p + r->sum_at + sizeof(uint32_t);
	size_t n = tally_end(&r->tally, sum), len;

	if (r->unit_at == r->units) {
		r->differs = true; /* more answers than there were units */
		return;
	}
	len = *was == 255 ? 33u : 1u + *was;
	if (n != len || memcmp(sum, was, len) != 0)
		r->differs = true;
	else
		r->unit_at++;
	r->sum_at += sizeof(uint32_t) + len;
}

enum retry_verdict replay_decide(const struct client *c, char status)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	const struct replay *r = c->replay;
	const struct unit *u = &c->unit;
	uint64_t now = c->h->w.now_us;
	struct retry_bounds b = { (unsigned)g->retry_max_attempts, (uint64_t)g->retry_max_time };
	struct retry_block_facts f = { u->opens,
				       u->commits,
				       u->commits_alone,
				       u->commit_seen,
				       r->told > 0,
				       r->savepoints.n > 0 || r->open_before > 0 || r->released,
				       status,
				       r->attempts,
				       r->first_fail_us ? now - r->first_fail_us : 0 };

	if (r->phase == REPLAY_OFF)
		return (enum retry_verdict)c->replay_why;
	if (hall_leaves(c->h) && !r->attempts)
		return RV_SESSION; /* shutting down: no new ones */
	if (u->other_error || u->names_lost || c->retry_off)
		return RV_CLASS;
	return retry_decide_block(&f, &b);
}
