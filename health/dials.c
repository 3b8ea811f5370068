/* health/dials.c - see dials.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/dials.h"

/* One that has failed is tried by one dial at a time. */
static int logins_max(const struct target *t, const struct dial_limits *l)
{
	return atomic_load(&t->dial_fails) ? 1 : l->logins;
}

static bool has_room(const struct target *t, const struct dial_limits *l)
{
	int logins = logins_max(t, l);

	return (!l->conns || atomic_load(&t->conns) < l->conns) &&
	       (!logins || atomic_load(&t->dialling) < logins);
}

bool dials_open(struct target *t, const struct dial_limits *l, uint64_t now_us, uint64_t *when)
{
	*when = atomic_load(&t->dial_after_us);
	if (now_us < *when)
		return false;
	if (has_room(t, l))
		return true;
	/* told of before looking again: room that is made in between is seen, and so is
	 * a pause, whose end nobody tells of */
	atomic_store(&t->dial_wanted, true);
	*when = atomic_load(&t->dial_after_us);
	if (now_us < *when)
		return false;
	*when = UINT64_MAX;
	return has_room(t, l);
}

/* One more, unless that makes more than max. */
static bool take(_Atomic int *n, int max)
{
	int used = atomic_load(n);

	do {
		if (max && used >= max)
			return false;
	} while (!atomic_compare_exchange_weak(n, &used, used + 1));
	return true;
}

bool dials_take(struct target *t, const struct dial_limits *l, uint64_t now_us)
{
	uint64_t when;

	/* another worker may take what there is in between */
	while (dials_open(t, l, now_us, &when)) {
		if (!take(&t->conns, l->conns))
			continue;
		if (take(&t->dialling, logins_max(t, l)))
			return true;
		atomic_fetch_sub(&t->conns, 1);
	}
	return false;
}

static bool was_wanted(struct target *t)
{
	return atomic_exchange(&t->dial_wanted, false);
}

static void pause_after(struct target *t, uint64_t now_us, uint64_t max_us, uint64_t rnd)
{
	int fails = atomic_load(&t->dial_fails);
	uint64_t after = atomic_load(&t->dial_after_us);
	uint64_t pause = fails < 3 ? max_us >> (3 - fails) : max_us;

	pause = pause / 2 + rnd % (pause / 2 + 1);
	/* several that were under way together have failed once */
	if (now_us >= after &&
	    atomic_compare_exchange_strong(&t->dial_after_us, &after, now_us + pause))
		atomic_fetch_add(&t->dial_fails, 1);
}

bool dials_end(struct target *t, enum dial_end how, uint64_t now_us, uint64_t max_us, uint64_t rnd)
{
	switch (how) {
	case DIAL_OK:
		atomic_store(&t->dial_fails, 0);
		atomic_store(&t->dial_after_us, 0);
		break;
	case DIAL_FAILED:
		pause_after(t, now_us, max_us, rnd);
		break;
	case DIAL_DROPPED:
	default:
		break;
	}
	atomic_fetch_sub(&t->dialling, 1);
	return was_wanted(t);
}

bool dials_gone(struct target *t)
{
	atomic_fetch_sub(&t->conns, 1);
	return was_wanted(t);
}
