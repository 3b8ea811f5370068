/* proxy/session/again.c - see again.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/again.h"

#include "session/count.h"
#include "session/replay.h"

void again_count(struct client *c, enum retry_verdict v)
{
	switch (v) {
#define X(id, word, counter)                                                   \
	case id:                                                               \
		COUNT_INC(c, counter);                                         \
		break;
		RETRY_VERDICTS(X)
#undef X
	case RV_N:
	default:
		break;
	}
}

enum retry_verdict again_decide(const struct client *c, const struct server *s, char status)
{
	const struct conf_global *g = &c->h->snap->conf->g;
	const struct unit *u = &c->unit;
	uint64_t now = c->h->w.now_us;
	struct retry_facts f = { u->commit_seen, u->complete_seen, s->crdb,
				 status,	 u->attempts,
				 u->first_fail_us ? now - u->first_fail_us : 0 };
	struct retry_bounds b = { (unsigned)g->retry_max_attempts, (uint64_t)g->retry_max_time };

	if (c->replay && (u->explicit_txn || u->opens))
		return replay_decide(c, status);
	if ((u->state == UNIT_PASS || u->bound_only) && u->refused != RV_RETRY)
		return (enum retry_verdict)u->refused;
	if (c->retry_off)
		return RV_SESSION;
	if (u->names_lost || u->other_error || s->owed.unsure)
		return RV_CLASS;
	return retry_decide(&f, &b);
}

bool again_reprepare(const struct client *c, const struct server *s, char status)
{
	const struct unit *u = &c->unit;

	return u->state == UNIT_ARMED && status == 'I' && !u->complete_seen && !u->completes &&
	       !u->names_lost && !u->failed && !s->owed.unsure;
}
