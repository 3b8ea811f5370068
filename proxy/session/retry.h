/* proxy/session/retry.h - may this unit be run again? Policy only: pure.
 *
 * A unit is what one ReadyForQuery answers: a Query, or all messages up to a
 * Sync. It may be run again when it is certain that the first attempt left
 * nothing behind and that nothing of its answer has been passed on:
 *
 *  - the ErrorResponse says severity ERROR (field V) and a code of retry_codes;
 *  - it began outside a transaction block (status I) and the ReadyForQuery
 *    after the error says I again;
 *  - no COMMIT was completed in it;
 *  - CockroachDB: no statement of it was completed at all, because there each
 *    commits for itself;
 *  - every byte of the answer is still held;
 *  - nothing of a later unit was sent to the server.
 *
 * The lexer only keeps texts out; it lets nothing in that the wire contradicts.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_RETRY_H
#define PGWEIR_SESSION_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/* X(id, word, counter in health/stats.h) */
#define RETRY_VERDICTS(X)                                                      \
	X(RV_RETRY, "retry", retry_eligible)                                   \
	X(RV_STATUS, "status", refused_status)                                 \
	X(RV_CLASS, "class", refused_class)                                    \
	X(RV_TXN, "transaction", refused_txn)                                  \
	X(RV_STARTED, "started", refused_started)                              \
	X(RV_PIPELINED, "pipelined", refused_pipelined)                        \
	X(RV_COMPLETE, "complete", refused_complete)                           \
	X(RV_SEVERITY, "severity", refused_severity)                           \
	X(RV_MEMORY, "memory", refused_memory)                                 \
	X(RV_SESSION, "session", refused_session)                              \
	X(RV_SAVEPOINT, "savepoint", refused_savepoint)                        \
	X(RV_EXHAUSTED, "exhausted", retry_exhausted)

enum retry_verdict {
#define X(id, word, counter) id,
	RETRY_VERDICTS(X)
#undef X
	RV_N
};

struct retry_facts {
	bool commit_seen;        /* CommandComplete COMMIT in the unit */
	bool complete_seen;      /* any CommandComplete or PortalSuspended in it */
	bool crdb;
	char status;             /* of the ReadyForQuery after the error */
	unsigned attempts;       /* made so far */
	uint64_t since_us;       /* since the unit's first failure */
};

/* The same of a unit in a transaction block, or of one that begins a block. */
struct retry_block_facts {
	bool opens;              /* its first statement is BEGIN */
	bool commits;            /* its last statement is COMMIT */
	bool commits_alone;      /* and its only one */
	bool commit_seen;        /* CommandComplete COMMIT in the unit */
	bool told;               /* part of its answer was passed on */
	bool savepoint;          /* one is open: its owner may want to go back to it */
	char status;             /* of the ReadyForQuery after the error */
	unsigned attempts;       /* replays made so far */
	uint64_t since_us;       /* since the first failure */
};

struct retry_bounds {
	unsigned attempts_max;
	uint64_t time_max_us;
};

enum retry_verdict retry_decide(const struct retry_facts *f, const struct retry_bounds *b);
/* May its transaction be replayed? It has certainly been rolled back when the block has
 * failed (status E), or when it is over (I) and the unit was to end it. */
enum retry_verdict retry_decide_block(const struct retry_block_facts *f,
				      const struct retry_bounds *b);

/* Full jitter: uniform in [0, min(max, base * 2^attempt)]. */
uint64_t retry_backoff_us(unsigned attempt, uint64_t base_us, uint64_t max_us, uint64_t rnd);

const char *retry_verdict_name(enum retry_verdict v);

#endif
