/* pool/throttle.c - see throttle.h
 *
 * A source's failures are a debt that is paid off at one per max_us, kept as the time
 * when nothing is left of it. All are paid off at the same speed, so of two sources the
 * one with the greater debt has it as long as either has one: which one is to go, and
 * what a set remembers of it, need not be looked at again as time passes.
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/throttle.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void configure(struct throttle *t, uint64_t base_us, uint64_t max_us)
{
	uint64_t pause = base_us;

	t->base_us = base_us;
	t->max_us = max_us;
	t->steps = base_us && max_us;
	for (; t->steps && pause < max_us; pause *= 2)
		t->steps++;
}

int throttle_init(struct throttle *t, unsigned sources, uint64_t seed, uint64_t base_us,
		  uint64_t max_us)
{
	uint64_t sets = 1;

	while (sets * THROTTLE_WAYS < sources)
		sets *= 2;
	*t = (struct throttle){ .mask = sets - 1, .seed = seed };
	configure(t, base_us, max_us);
	t->sets = calloc(sets, sizeof(*t->sets));
	return t->sets ? 0 : -1;
}

void throttle_free(struct throttle *t)
{
	free(t->sets);
	t->sets = NULL;
}

void throttle_set(struct throttle *t, uint64_t base_us, uint64_t max_us, uint64_t now_us)
{
	uint64_t end, i;
	unsigned k;

	configure(t, base_us, max_us);
	end = now_us + t->steps * t->max_us;
	for (i = 0; i <= t->mask; i++) {
		struct throttle_set *s = &t->sets[i];

		s->floor_us = least(s->floor_us, end);
		for (k = 0; k < THROTTLE_WAYS; k++) {
			s->way[k].empty_us = least(s->way[k].empty_us, end);
			s->way[k].until_us = least(s->way[k].until_us, now_us + max_us);
		}
	}
}

bool throttle_key(const struct sockaddr *sa, uint64_t *key)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
	const uint8_t *b;
	int i, n = 8;

	/* Copies: the caller's storage need not be aligned for these. */
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in4, sa, sizeof(in4));
		b = (const uint8_t *)&in4.sin_addr;
		n = 4;
		break;
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		b = in6.sin6_addr.s6_addr;
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			b += 12;
			n = 4;
		}
		break;
	default:
		return false;
	}
	if (n == 4 ? *b == 127 : IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr))
		return false;
	/* 0:ffff::/32 belongs to nobody: no IPv6 network has the key of an IPv4 address. */
	*key = n == 4 ? 0xffff : 0;
	for (i = 0; i < n; i++)
		*key = *key << 8 | b[i];
	return true;
}

/* ---- sources ---- */

/* Every bit of key and seed has a say in each bit (the end of splitmix64). */
static struct throttle_set *set_of(const struct throttle *t, uint64_t key)
{
	uint64_t h = key ^ t->seed;

	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
	h = (h ^ h >> 27) * 0x94d049bb133111ebu;
	return &t->sets[(h ^ h >> 31) & t->mask];
}

static struct throttle_source *find(const struct throttle *t, uint64_t key, uint64_t now_us)
{
	struct throttle_set *s = set_of(t, key);
	unsigned i;

	for (i = 0; i < THROTTLE_WAYS; i++)
		if (s->way[i].key == key && s->way[i].empty_us > now_us)
			return &s->way[i];
	return NULL;
}

/* In a free slot, or in that of the one which would be forgotten first, with what is
 * remembered of those who had to go. */
static struct throttle_source *admit(const struct throttle *t, uint64_t key, uint64_t now_us)
{
	struct throttle_set *s = set_of(t, key);
	struct throttle_source *e = &s->way[0];
	unsigned i;

	for (i = 1; i < THROTTLE_WAYS; i++)
		if (s->way[i].empty_us < e->empty_us)
			e = &s->way[i];
	if (e->empty_us > now_us)
		s->floor_us = most(s->floor_us, e->empty_us);
	*e = (struct throttle_source){ .key = key, .empty_us = most(s->floor_us, now_us) };
	return e;
}

/* The pause for what it owes now, which is something. */
static uint64_t pause_of(const struct throttle *t, const struct throttle_source *e,
			 uint64_t now_us)
{
	uint64_t failures = (e->empty_us - now_us + t->max_us - 1) / t->max_us;

	return failures < t->steps ? t->base_us << (failures - 1) : t->max_us;
}

uint64_t throttle_wait(const struct throttle *t, uint64_t key, uint64_t now_us)
{
	const struct throttle_source *e = t->steps ? find(t, key, now_us) : NULL;

	return e && now_us < e->until_us ? e->until_us - now_us : 0;
}

bool throttle_allowed(struct throttle *t, uint64_t key, uint64_t now_us, uint64_t *retry_us)
{
	struct throttle_source *e = t->steps ? find(t, key, now_us) : NULL;

	*retry_us = throttle_wait(t, key, now_us);
	if (!e || *retry_us)
		return !*retry_us;
	e->until_us = now_us + pause_of(t, e, now_us);
	e->out = true;
	return true;
}

static void failed(const struct throttle *t, uint64_t key, uint64_t now_us)
{
	struct throttle_source *e = find(t, key, now_us);

	if (!e)
		e = admit(t, key, now_us);
	e->empty_us = least(e->empty_us + t->max_us, now_us + t->steps * t->max_us);
	if (!e->out && now_us < e->until_us)
		return; /* it had begun before the pause did */
	e->out = false;
	e->until_us = now_us + pause_of(t, e, now_us);
}

void throttle_failed(struct throttle *t, uint64_t key, uint64_t part, uint64_t now_us)
{
	if (!t->steps)
		return;
	failed(t, key, now_us);
	if (part != key)
		failed(t, part, now_us);
}

void throttle_ok(struct throttle *t, uint64_t key, uint64_t part, uint64_t now_us)
{
	struct throttle_source *e = t->steps ? find(t, key, now_us) : NULL;
	struct throttle_source *p = t->steps ? find(t, part, now_us) : NULL;
	uint64_t owed = p ? p->empty_us - now_us : 0;

	if (e && e->out) {
		e->out = false;
		e->until_us = now_us; /* the next one may try */
	}
	if (e && e->empty_us - now_us <= owed)
		*e = (struct throttle_source){ 0 };
	else if (e)
		e->empty_us -= owed;
	if (p)
		*p = (struct throttle_source){ 0 };
}
