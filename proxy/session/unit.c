/* proxy/session/unit.c - see unit.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/unit.h"

#include "session/count.h"
#include "session/prints.h"
#include "session/replay.h"
#include "session/step.h"
#include "wire/lexer.h"

void unit_stays(struct client *c)
{
	c->unit.movable = false;
	hold_free(&c->unit.raw, &c->h->holds);
}

void unit_keep(struct client *c, const void *p, size_t n, bool whole)
{
	const struct conf_global *g = &c->h->snap->conf->g;

	if (!c->unit.movable)
		return;
	if (!whole || hold_add(&c->unit.raw, p, n, (size_t)g->retry_hold_max,
			       &c->h->holds, g->retry_mem_total))
		unit_stays(c);
}

void unit_end(struct client *c)
{
	struct holds *held = &c->h->holds;

	c->unit.state = UNIT_NONE;
	hold_free(&c->unit.log, held);
	hold_free(&c->unit.back, held);
	unit_stays(c);
}

void unit_pass(struct client *c, unsigned reason)
{
	struct unit *u = &c->unit;

	if (reason != RV_STARTED && replay_covers(c))
		replay_disarm(c, (enum retry_verdict)reason);
	if ((u->state == UNIT_PASS || u->bound_only) && u->refused == RV_RETRY)
		u->refused = (uint8_t)reason; /* observed only */
	if (u->state != UNIT_ARMED)
		return;
	u->state = UNIT_PASS;
	if (!u->bound_only)
		u->refused = (uint8_t)reason;
	deadline_clear(&c->idle_dl); /* retry_hold_time */
	if (u->back.len)
		unit_stays(c);
	say(c, u->back.p, u->back.len);
	if (!replay_covers(c))
		hold_free(&u->log, &c->h->holds);
	hold_free(&u->back, &c->h->holds);
}

void unit_doubt(struct client *c, unsigned reason)
{
	struct unit *u = &c->unit;

	if (u->state == UNIT_ARMED && !u->bound_only && !u->back.len) {
		u->bound_only = true;
		u->refused = (uint8_t)reason;
	} else if (!u->bound_only) {
		unit_pass(c, reason);
	}
}

void unit_begin(struct client *c, const struct server *s)
{
	struct unit *u = &c->unit;
	struct unit was = *u;
	bool listens;

	*u = (struct unit){ .log = was.log, .back = was.back, .raw = was.raw, .fresh = true };
	if (c->moving) { /* the same unit */
		u->attempts = was.attempts;
		u->first_fail_us = was.first_fail_us;
	}
	u->explicit_txn = s->tx != 'I';
	count_begin(c, was.query_us);
	prints_begin(s);
	c->moving = false;
	u->noted_before = c->residue.leaves != 0;
	u->begun_us = c->h->w.now_us;
	u->movable = !u->explicit_txn && c->pool_mode == POOL_TRANSACTION;
	c->dressed_only = false;
	c->at_start = false;
	deadline_clear(&c->idle_dl);
	/* a notification among what is held would be lost with it, or overtake it */
	listens = (c->residue.pinned & LEAVES_LISTEN) || c->residue.asking;
	if (!u->explicit_txn)
		replay_forget(c);
	else if (listens || s->odd_sql)
		replay_disarm(c, listens ? RV_SESSION : RV_CLASS);
	u->state = listens || (u->explicit_txn && !replay_covers(c)) ? UNIT_PASS : UNIT_ARMED;
	if (listens)
		u->refused = RV_SESSION;
	u->bound_only = true;
	if (u->state == UNIT_PASS && !u->explicit_txn)
		return;
	if (u->explicit_txn && replay_covers(c))
		u->bound_only = false;
	else if (u->explicit_txn)
		u->refused = RV_TXN;
	else if (s->odd_sql)
		u->refused = RV_CLASS;
	else if (c->retry == RETRY_OFF || c->retry_off)
		u->refused = RV_SESSION;
	else if (c->retry == RETRY_OBSERVE)
		u->refused = RV_RETRY; /* would be, so far */
	else
		u->bound_only = false;
}

void unit_log(struct client *c, const void *p, size_t n)
{
	const struct conf_global *g = &c->h->snap->conf->g;

	if (c->unit.state != UNIT_ARMED && !replay_covers(c))
		return;
	if (hold_add(&c->unit.log, p, n, (size_t)(replay_covers(c) ? g->replay_log_max : g->retry_hold_max),
		     &c->h->holds, g->retry_mem_total))
		unit_pass(c, RV_MEMORY);
}

void unit_record(struct client *c, enum unit_record kind)
{
	uint8_t k = (uint8_t)kind;

	if (++c->unit.records > UNIT_RECORDS_MAX)
		unit_pass(c, RV_MEMORY);
	unit_log(c, &k, 1);
}

void unit_hold_timer(struct client *c)
{
	int64_t limit = c->h->snap->conf->g.retry_hold_time;

	if (limit)
		deadline_set(&c->h->w, DL_HOLD, &c->idle_dl, c->h->w.now_us + (uint64_t)limit);
}
