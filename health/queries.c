/* health/queries.c - see queries.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/queries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int queries_init(struct queries *q, unsigned slots)
{
	memset(q, 0, sizeof(*q));
	if (!slots)
		return 0;
	q->n = (slots + QUERIES_WAYS - 1) / QUERIES_WAYS * QUERIES_WAYS;
	q->slot = calloc(q->n, sizeof(*q->slot));
	if (q->slot && pthread_mutex_init(&q->lock, NULL) == 0)
		return 0;
	free(q->slot);
	q->slot = NULL;
	return -1;
}

void queries_free(struct queries *q)
{
	if (!q->slot)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q->slot);
	q->slot = NULL;
}

static struct query_slot *set_of(const struct queries *q, uint64_t print)
{
	return q->slot + (print ^ print >> 32) % (q->n / QUERIES_WAYS) * QUERIES_WAYS;
}

static uint64_t print_of(const struct query_slot *s)
{
	return atomic_load_explicit(&s->print, memory_order_relaxed);
}

static struct query_slot *find(const struct queries *q, uint64_t print)
{
	struct query_slot *set = set_of(q, print);
	unsigned i;

	for (i = 0; i < QUERIES_WAYS; i++)
		if (print_of(&set[i]) == print)
			return &set[i];
	return NULL;
}

/* Of a slot that is given to another one. */
static void move_to_others(struct queries *q, struct query_slot *s)
{
	uint64_t max = atomic_load_explicit(&s->took.max_us, memory_order_relaxed);
	unsigned i;

	for (i = 0; i < HIST_N; i++)
		HIST_BUMP(&q->others.took.bucket[i],
			  atomic_load_explicit(&s->took.bucket[i], memory_order_relaxed));
	HIST_BUMP(&q->others.took.sum_us,
		  atomic_load_explicit(&s->took.sum_us, memory_order_relaxed));
	if (max > atomic_load_explicit(&q->others.took.max_us, memory_order_relaxed))
		atomic_store_explicit(&q->others.took.max_us, max, memory_order_relaxed);
	HIST_BUMP(&q->others.errors, atomic_load_explicit(&s->errors, memory_order_relaxed));
}

/* The free one of the set, or the one that has nothing left. NULL: the one that had least
 * has paid one for this. from: of those that have the same, any. */
static struct query_slot *choose(struct query_slot *set, unsigned from)
{
	struct query_slot *least = &set[0];
	uint32_t left = UINT32_MAX;
	unsigned i;

	for (i = 0; i < QUERIES_WAYS; i++) {
		struct query_slot *s = &set[(from + i) % QUERIES_WAYS];
		uint32_t earned = atomic_load_explicit(&s->earned, memory_order_relaxed);

		if (!print_of(s))
			return s;
		if (earned < left) {
			left = earned;
			least = s;
		}
	}
	if (!left)
		return least;
	atomic_store_explicit(&least->earned, left - 1, memory_order_relaxed);
	return NULL;
}

static struct query_slot *take(struct queries *q, uint64_t print)
{
	struct query_slot *s;

	if (pthread_mutex_trylock(&q->lock))
		return NULL;
	q->chance = q->chance * 1664525u + 1013904223u;
	s = choose(set_of(q, print), q->chance >> 24);
	if (s) {
		if (print_of(s))
			move_to_others(q, s);
		hist_clear(&s->took);
		atomic_store_explicit(&s->errors, 0, memory_order_relaxed);
		atomic_store_explicit(&s->earned, 0, memory_order_relaxed);
		s->text[0] = 0;
		atomic_store_explicit(&s->print, print, memory_order_relaxed);
	}
	pthread_mutex_unlock(&q->lock);
	return s;
}

void queries_add(struct queries *q, uint64_t print, uint64_t us, bool error)
{
	struct query_slot *s;
	uint32_t earned;

	if (!q->slot)
		return;
	s = find(q, print);
	if (!s)
		s = take(q, print);
	if (!s)
		s = &q->others;
	hist_add(&s->took, us);
	if (error)
		HIST_BUMP(&s->errors, 1);
	earned = atomic_load_explicit(&s->earned, memory_order_relaxed);
	if (earned < QUERIES_EARN)
		atomic_store_explicit(&s->earned, earned + 1, memory_order_relaxed);
}

bool queries_wants_text(struct queries *q, uint64_t print)
{
	const struct query_slot *s = q->slot ? find(q, print) : NULL;

	if (!s && q->slot)
		s = take(q, print);
	return s && !s->text[0];
}

void queries_text(struct queries *q, uint64_t print, const char *text)
{
	struct query_slot *s = q->slot ? find(q, print) : NULL;

	if (!s || pthread_mutex_trylock(&q->lock))
		return; /* the next one brings it again */
	(void)snprintf(s->text, sizeof(s->text), "%s", text);
	pthread_mutex_unlock(&q->lock);
}

const char *queries_text_of(const struct queries *q, uint64_t print)
{
	const struct query_slot *s = q->slot ? find(q, print) : NULL;

	return s && s->text[0] ? s->text : NULL;
}

bool queries_read(struct queries *q, unsigned i, struct query_sum *to)
{
	const struct query_slot *s = i < q->n ? &q->slot[i] : &q->others;
	bool there;

	if (!q->slot || i > q->n)
		return false;
	pthread_mutex_lock(&q->lock);
	there = i == q->n || (print_of(s) && (!to->print || print_of(s) == to->print));
	if (there) {
		to->print = i == q->n ? 0 : print_of(s);
		to->errors += atomic_load_explicit(&s->errors, memory_order_relaxed);
		hist_sum_read(&to->took, &s->took);
		if (s->text[0])
			memcpy(to->text, s->text, sizeof(to->text));
	}
	pthread_mutex_unlock(&q->lock);
	return there;
}

int queries_find(const struct queries *q, uint64_t print)
{
	const struct query_slot *s = q->slot ? find(q, print) : NULL;

	return s ? (int)(s - q->slot) : -1;
}
