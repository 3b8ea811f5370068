/* pool/logins.h - which logins must wait, for all workers: struct throttle under a lock.
 *
 * Owner:   struct daemon, which makes it and changes its settings. Threads: any. While
 *          nobody has failed, asking is one atomic load; the lock is taken at logins with
 *          a password only, and held for a microsecond.
 *
 * An attempt is one comparison of a secret, so what is asked for here just before it is
 * allowed or not by all that has failed until then: until a source's first failure there
 * may be one comparison under way in each worker (where servers compare, passthrough, one
 * in each place of a pool), and then one in all for as long as the source has failures
 * (with base = max that is no longer than its pause).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_LOGINS_H
#define PGWEIR_POOL_LOGINS_H

#include <pthread.h>
#include <stdatomic.h>

#include "pool/throttle.h"

struct logins {
	_Atomic uint64_t until_us;   /* of no source anything is remembered from then on */
	_Atomic bool on;             /* false: all zero will do for the rest */
	pthread_mutex_t lock;        /* of the rest */
	struct throttle t;
	uint64_t now_us;             /* the latest time that was told */
};

/* all: what waits; part: what a success forgives. */
struct login_source {
	uint64_t all, part;
};

MUST_CHECK int logins_init(struct logins *l, uint64_t seed, uint64_t base_us, uint64_t max_us);
void logins_free(struct logins *l);
void logins_set(struct logins *l, uint64_t base_us, uint64_t max_us, uint64_t now_us);

/* Nobody has to wait, and there is nothing to forgive. */
static inline bool logins_quiet(struct logins *l, uint64_t now_us)
{
	return now_us >= atomic_load(&l->until_us);
}
/* How long this source has to wait, 0: not at all. attempt: if so, a secret of it will be
 * compared now, and the end of that must be told. */
uint64_t logins_wait(struct logins *l, struct login_source s, bool attempt, uint64_t now_us);
void logins_failed(struct logins *l, struct login_source s, uint64_t now_us);
void logins_ok(struct logins *l, struct login_source s, uint64_t now_us);

#endif
