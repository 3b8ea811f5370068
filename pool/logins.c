/* pool/logins.c - see logins.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/logins.h"

/* Each worker has a clock of its own, which may be a little late. */
static uint64_t take(struct logins *l, uint64_t now_us)
{
	pthread_mutex_lock(&l->lock);
	if (l->now_us < now_us)
		l->now_us = now_us;
	return l->now_us;
}

static void give(struct logins *l)
{
	pthread_mutex_unlock(&l->lock);
}

int logins_init(struct logins *l, uint64_t seed, uint64_t base_us, uint64_t max_us)
{
	if (pthread_mutex_init(&l->lock, NULL))
		return -1;
	/* a source and the part of it that failed have a place each */
	if (throttle_init(&l->t, 2 * THROTTLE_SOURCES, seed, base_us, max_us)) {
		pthread_mutex_destroy(&l->lock);
		return -1;
	}
	atomic_store(&l->on, true);
	return 0;
}

void logins_free(struct logins *l)
{
	if (!atomic_load(&l->on))
		return;
	atomic_store(&l->on, false);
	throttle_free(&l->t);
	pthread_mutex_destroy(&l->lock);
}

void logins_set(struct logins *l, uint64_t base_us, uint64_t max_us, uint64_t now_us)
{
	now_us = take(l, now_us);
	if (base_us != l->t.base_us || max_us != l->t.max_us)
		throttle_set(&l->t, base_us, max_us, now_us);
	if (!l->t.steps)
		atomic_store(&l->until_us, 0);
	give(l);
}

uint64_t logins_wait(struct logins *l, struct login_source s, bool attempt, uint64_t now_us)
{
	uint64_t wait;

	if (logins_quiet(l, now_us))
		return 0;
	now_us = take(l, now_us);
	if (attempt)
		(void)throttle_allowed(&l->t, s.all, now_us, &wait);
	else
		wait = throttle_wait(&l->t, s.all, now_us);
	give(l);
	return wait;
}

void logins_failed(struct logins *l, struct login_source s, uint64_t now_us)
{
	if (!atomic_load(&l->on))
		return;
	now_us = take(l, now_us);
	throttle_failed(&l->t, s.all, s.part, now_us);
	if (l->t.steps && atomic_load(&l->until_us) < now_us + l->t.steps * l->t.max_us)
		atomic_store(&l->until_us, now_us + l->t.steps * l->t.max_us);
	give(l);
}

void logins_ok(struct logins *l, struct login_source s, uint64_t now_us)
{
	if (logins_quiet(l, now_us))
		return;
	now_us = take(l, now_us);
	throttle_ok(&l->t, s.all, s.part, now_us);
	give(l);
}
