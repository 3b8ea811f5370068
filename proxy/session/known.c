/* proxy/session/known.c - see known.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/known.h"

#include <stdlib.h>
#include <string.h>

void known_init(struct known *k, unsigned max)
{
	unsigned i;

	for (i = 0; i < KNOWN_BUCKETS; i++)
		list_init(&k->buckets[i]);
	list_init(&k->age);
	k->n = 0;
	k->max = max;
}

/* FNV-1a. Names that meet in a bucket on purpose make it as long as the whole is, and that
 * is bounded. */
static struct link *bucket_of(struct known *k, uint64_t of, const char *name)
{
	uint64_t h = 14695981039346656037u ^ of;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211u;
	return &k->buckets[(h ^ h >> 32) % KNOWN_BUCKETS];
}

static void drop(struct known *k, struct known_user *u)
{
	list_del(&u->hash);
	list_del(&u->age);
	k->n--;
	if (u->secret)
		explicit_bzero(u->secret, strlen(u->secret));
	free(u->secret);
	scram_secret_wipe(&u->scram);
	free(u);
}

static struct known_user *find(struct known *k, uint64_t of, const char *name)
{
	struct link *b = bucket_of(k, of, name), *l, *tmp;

	LIST_EACH(l, tmp, b) {
		struct known_user *u = LIST_ITEM(l, struct known_user, hash);

		if (u->of == of && strcmp(u->name, name) == 0)
			return u;
	}
	return NULL;
}

struct known_user *known_get(struct known *k, uint64_t of, const char *name, uint64_t now_us)
{
	struct known_user *u = find(k, of, name);

	if (u && now_us >= u->until_us) {
		drop(k, u);
		u = NULL;
	}
	return u;
}

void known_put(struct known *k, uint64_t of, const char *name, enum secret_kind kind,
	       const char *secret, uint64_t until_us)
{
	size_t n = strlen(name) + 1;
	struct known_user *u;

	known_forget(k, of, name);
	while (k->n && k->n >= k->max)
		drop(k, LIST_ITEM(k->age.next, struct known_user, age));
	u = calloc(1, sizeof(*u) + n);
	if (!u)
		return;
	memcpy(u->name, name, n);
	u->of = of;
	u->until_us = until_us;
	u->kind = secret ? kind : SECRET_NONE;
	u->secret = secret ? strdup(secret) : NULL;
	list_push_back(bucket_of(k, of, name), &u->hash);
	list_push_back(&k->age, &u->age);
	k->n++;
	if (secret && !u->secret)
		drop(k, u);
}

void known_forget(struct known *k, uint64_t of, const char *name)
{
	struct known_user *u = find(k, of, name);

	if (u)
		drop(k, u);
}

void known_clear(struct known *k)
{
	while (k->n)
		drop(k, LIST_ITEM(k->age.next, struct known_user, age));
}
