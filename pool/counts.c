/* pool/counts.c - see counts.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/counts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct count {
	struct count *next;
	int used;
	enum count_kind kind;
	char name[];
};

int counts_init(struct counts *cs)
{
	memset(cs, 0, sizeof(*cs));
	return pthread_mutex_init(&cs->lock, NULL) ? -1 : 0;
}

void counts_free(struct counts *cs)
{
	struct count *c, *next;
	unsigned i;

	for (i = 0; i < COUNT_BUCKETS; i++)
		for (c = cs->bucket[i]; c; c = next) {
			next = c->next;
			free(c);
		}
	pthread_mutex_destroy(&cs->lock);
	memset(cs, 0, sizeof(*cs));
}

static struct count **bucket_of(struct counts *cs, enum count_kind kind, const char *name)
{
	uint32_t h = 2166136261u ^ (uint32_t)kind;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return &cs->bucket[(h ^ h >> 16) % COUNT_BUCKETS];
}

/* Where the one of this name is linked, or would be. */
static struct count **find(struct counts *cs, enum count_kind kind, const char *name)
{
	struct count **p = bucket_of(cs, kind, name);

	while (*p && ((*p)->kind != kind || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

static struct count *make(enum count_kind kind, const char *name)
{
	size_t n = strlen(name) + 1;
	struct count *c = malloc(sizeof(*c) + n);

	if (!c)
		return NULL;
	*c = (struct count){ .kind = kind };
	memcpy(c->name, name, n);
	return c;
}

enum count_take counts_take(struct counts *cs, enum count_kind kind, const char *name, int max,
			    struct count **out)
{
	enum count_take r = COUNT_OK;
	struct count **at;

	*out = NULL;
	pthread_mutex_lock(&cs->lock);
	at = find(cs, kind, name);
	if (!*at) {
		*at = make(kind, name);
		cs->n += *at != NULL;
	}
	if (!*at) {
		r = COUNT_NO_MEMORY;
	} else if (max && (*at)->used >= max) {
		r = COUNT_FULL;
	} else {
		(*at)->used++;
		*out = *at;
	}
	pthread_mutex_unlock(&cs->lock);
	return r;
}

void counts_give(struct counts *cs, struct count *c)
{
	struct count **at;

	if (!c)
		return;
	pthread_mutex_lock(&cs->lock);
	if (--c->used == 0) {
		for (at = bucket_of(cs, c->kind, c->name); *at != c;)
			at = &(*at)->next;
		*at = c->next;
		cs->n--;
		free(c);
	}
	pthread_mutex_unlock(&cs->lock);
}

int counts_used(struct counts *cs, enum count_kind kind, const char *name)
{
	const struct count *c;
	int used;

	pthread_mutex_lock(&cs->lock);
	c = *find(cs, kind, name);
	used = c ? c->used : 0;
	pthread_mutex_unlock(&cs->lock);
	return used;
}
