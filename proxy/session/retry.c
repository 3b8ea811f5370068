/* proxy/session/retry.c - see retry.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/retry.h"

enum retry_verdict retry_decide(const struct retry_facts *f, const struct retry_bounds *b)
{
	if (f->commit_seen || f->status != 'I')
		return RV_STATUS;
	if (f->crdb && f->complete_seen)
		return RV_COMPLETE;
	if (f->attempts >= b->attempts_max || f->since_us > b->time_max_us)
		return RV_EXHAUSTED;
	return RV_RETRY;
}

enum retry_verdict retry_decide_block(const struct retry_block_facts *f,
				      const struct retry_bounds *b)
{
	bool ended = f->status == 'I' && f->commits, failed = f->status == 'E' && !f->commits_alone;

	if (f->commit_seen || (!ended && !failed))
		return RV_STATUS;
	/* what was told can be compared only when it is too late */
	if (f->commits && f->told)
		return RV_STARTED;
	if (f->savepoint)
		return RV_SAVEPOINT;
	if (f->attempts >= b->attempts_max || f->since_us > b->time_max_us)
		return RV_EXHAUSTED;
	return RV_RETRY;
}

uint64_t retry_backoff_us(unsigned attempt, uint64_t base_us, uint64_t max_us, uint64_t rnd)
{
	uint64_t top = attempt < 32 ? base_us << attempt : max_us;

	/* base is at most a minute, so the shift cannot wrap */
	if (top > max_us)
		top = max_us;
	return top ? rnd % (top + 1) : 0;
}

const char *retry_verdict_name(enum retry_verdict v)
{
	static const char *const name[RV_N] = {
#define X(id, word, counter) [id] = word,
		RETRY_VERDICTS(X)
#undef X
	};

	return name[v];
}
