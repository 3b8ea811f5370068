/* pool/throttle.h - failed logins slow down where they come from.
 *
 * Owner:   struct logins (pool/logins.h). Threads: one at a time; no lock, no clock, no
 *          sockets: the time comes with each call and never goes back.
 *
 * A source is an IPv4 address or an IPv6 /64 (what one customer has), or what the
 * caller takes for one. Each failed login of a source makes the pause before its next one longer:
 * base, 2 base, 4 base, ... max. After the pause one attempt is let through, and the
 * next only when the pause has passed once more, or when that one has ended: many
 * connections at once are no way around it. Attempts that were under way at the first
 * failure all count when they fail, but do not make the pause of that moment longer, so
 * that a farm of clients with an old password may try the new one soon.
 *
 * One failure is forgotten for each max without one, so all of them after some
 * log2(max / base) + 1 of those. Who attacks for a long time has one attempt each max.
 *
 * A login that succeeds forgives at once: what the same part (a user) of the source has
 * failed. To forgive all of it would give free guesses to whoever has an account of his
 * own there. A part's failures are kept as those of a source are, beside them, and so
 * are forgotten at the same time as those of other parts: where several have failed, a
 * success may forgive less than its part once failed, never more.
 *
 * The table does not grow. A source has its place in one of eight slots, which ones is
 * secret (the seed); when these are taken by others, the one goes that would be
 * forgotten first. What it had is not lost: the slots remember the most that one which
 * had to go would still have had, and a source that fails and is not there begins with
 * that. So to push somebody out takes eight others who have failed as often, in those
 * slots, which are found by filling nearly all; and it gains one free attempt, after
 * which the pause is at least what it was. The price is paid, during such an attack and
 * in these slots, by new sources with a wrong password: their first pause is as long as
 * that of the one they push out. Who has never failed does not wait.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_THROTTLE_H
#define PGWEIR_POOL_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "conf/err.h"

#define THROTTLE_WAYS 8u
#define THROTTLE_SOURCES 8192u  /* a usual size: 256 KB */

struct throttle_source {
	uint64_t key;
	uint64_t empty_us;              /* when the last failure is forgotten; passed: a free slot */
	uint64_t until_us;              /* no attempt before that */
	bool out;                       /* one has been let through since the last failure */
};

struct throttle_set {
	uint64_t floor_us;              /* the latest empty_us of those that had to go */
	struct throttle_source way[THROTTLE_WAYS];
};

struct throttle {
	struct throttle_set *sets;
	uint64_t mask;                  /* sets, a power of two, less one */
	uint64_t seed;
	uint64_t base_us, max_us;
	unsigned steps;                 /* failures until the pause is max; 0: off */
};

/* sources: rounded up to THROTTLE_WAYS times a power of two. seed: random. base or max
 * 0: off, every login is allowed. -1: out of memory. */
MUST_CHECK int throttle_init(struct throttle *t, unsigned sources, uint64_t seed,
			     uint64_t base_us, uint64_t max_us);
void throttle_free(struct throttle *t);
/* Other settings; no pause is longer than they allow from now on. */
void throttle_set(struct throttle *t, uint64_t base_us, uint64_t max_us, uint64_t now_us);

/* False: no address of a network (a unix socket, loopback, an unknown family). An IPv4
 * address mapped into IPv6 is the IPv4 address. */
bool throttle_key(const struct sockaddr *sa, uint64_t *key);

/* May a login of this source begin? If so and the source has failed before, this was its
 * one attempt. If not, *retry_us is how long it has to wait, never 0. */
bool throttle_allowed(struct throttle *t, uint64_t key, uint64_t now_us, uint64_t *retry_us);
/* How long that is, without an attempt; 0: it may begin. */
uint64_t throttle_wait(const struct throttle *t, uint64_t key, uint64_t now_us);
/* A login of this part of the source has ended. part may be key: it is the whole source. */
void throttle_failed(struct throttle *t, uint64_t key, uint64_t part, uint64_t now_us);
void throttle_ok(struct throttle *t, uint64_t key, uint64_t part, uint64_t now_us);

#endif
