/* health/meter.c - see meter.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "health/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct meter {
	char *name;
	uint64_t hash;
	unsigned refs;
	uint64_t left;             /* meters.puts when the last reference went */
	struct meter_sum *older, *newer; /* NULL before the first period has ended */
	struct meter_side *side;
};

static uint64_t hash_of(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3u;
	return h;
}

static void meter_free(struct meter *m)
{
	if (!m)
		return;
	free(m->name);
	free(m->older);
	free(m->newer);
	free(m->side);
	free(m);
}

static struct meter *make(const char *name, unsigned worker_n)
{
	size_t size = worker_n * sizeof(struct meter_side);
	struct meter *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->name = strdup(name);
	m->side = aligned_alloc(64, size);
	if (!m->name || !m->side) {
		meter_free(m);
		return NULL;
	}
	memset(m->side, 0, size);
	m->hash = hash_of(name);
	return m;
}

int meters_init(struct meters *ms, unsigned worker_n, uint64_t now_us)
{
	unsigned k;

	memset(ms, 0, sizeof(*ms));
	ms->worker_n = worker_n;
	ms->older_us = ms->newer_us = now_us;
	ms->lobby = make(METER_LOBBY, worker_n);
	for (k = 0; k < METER_KINDS; k++) {
		ms->slot[k][0] = make(METER_OTHERS, worker_n);
		ms->n[k] = 1;
	}
	if (ms->lobby && ms->slot[METER_DB][0] && ms->slot[METER_NODE][0] &&
	    pthread_mutex_init(&ms->lock, NULL) == 0)
		return 0;
	meter_free(ms->lobby);
	for (k = 0; k < METER_KINDS; k++)
		meter_free(ms->slot[k][0]);
	memset(ms, 0, sizeof(*ms));
	return -1;
}

void meters_free(struct meters *ms)
{
	unsigned k, i;

	if (!ms->lobby)
		return;
	meter_free(ms->lobby);
	for (k = 0; k < METER_KINDS; k++)
		for (i = 0; i < ms->n[k]; i++)
			meter_free(ms->slot[k][i]);
	pthread_mutex_destroy(&ms->lock);
	memset(ms, 0, sizeof(*ms));
}

/* The slot to be given to another name: that of the one that has been out of use for
 * longest. NULL: all are in use. */
static struct meter **oldest(struct meters *ms, enum meter_kind kind)
{
	struct meter **found = NULL;
	unsigned i;

	for (i = 1; i < ms->n[kind]; i++) {
		struct meter **p = &ms->slot[kind][i];

		if (!(*p)->refs && (!found || (*p)->left < (*found)->left))
			found = p;
	}
	return found;
}

static void read_meter(const struct meters *ms, const struct meter *m, struct meter_sum *to);

/* What it has counted, now and before, becomes the others'. */
static void forget(struct meters *ms, enum meter_kind kind, struct meter *m)
{
	struct meter *others = ms->slot[kind][0];
	struct meter_sum sum;

	read_meter(ms, m, &sum);
	meter_sum_add(&ms->gone[kind], &sum);
	if (m->older && others->older)
		meter_sum_add(others->older, m->older);
	if (m->newer && others->newer)
		meter_sum_add(others->newer, m->newer);
	meter_free(m);
}

static struct meter *add(struct meters *ms, enum meter_kind kind, const char *name)
{
	struct meter *m, **at = NULL;

	if (ms->n[kind] > METERS_MAX && !(at = oldest(ms, kind)))
		return ms->slot[kind][0];
	m = make(name, ms->worker_n);
	if (!m)
		return ms->slot[kind][0];
	if (at) {
		forget(ms, kind, *at);
		*at = m;
	} else {
		ms->slot[kind][ms->n[kind]++] = m;
	}
	return m;
}

struct meter *meters_get(struct meters *ms, enum meter_kind kind, const char *name)
{
	uint64_t h = hash_of(name);
	struct meter *m = NULL;
	unsigned i;

	pthread_mutex_lock(&ms->lock);
	for (i = 1; i < ms->n[kind] && !m; i++)
		if (ms->slot[kind][i]->hash == h && strcmp(ms->slot[kind][i]->name, name) == 0)
			m = ms->slot[kind][i];
	if (!m)
		m = add(ms, kind, name);
	m->refs++;
	pthread_mutex_unlock(&ms->lock);
	return m;
}

void meters_put(struct meters *ms, struct meter *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&ms->lock);
	if (--m->refs == 0)
		m->left = ++ms->puts;
	pthread_mutex_unlock(&ms->lock);
}

struct meter_side *meter_side(struct meter *m, unsigned i)
{
	return &m->side[i];
}

struct meter_side *meters_lobby(struct meters *ms, unsigned i)
{
	return &ms->lobby->side[i];
}

/* ---- reading ---- */

static void read_side(struct meter_sum *to, const struct meter_side *s)
{
	unsigned i;

#define X(name, help) to->stats.name += STAT_GET(&s->stats, name);
	STATS_LIST(X)
#undef X
	for (i = 0; i < METER_HIST_N; i++)
		hist_sum_read(&to->hist[i], &s->hist[i]);
	for (i = 0; i < METER_CLASSES_N; i++)
		to->errors[i] += atomic_load_explicit(&s->errors[i], memory_order_relaxed);
}

/* With the lock. */
static void read_meter(const struct meters *ms, const struct meter *m, struct meter_sum *to)
{
	unsigned i;

	memset(to, 0, sizeof(*to));
	(void)snprintf(to->name, sizeof(to->name), "%s", m->name);
	for (i = 0; i < ms->worker_n; i++)
		read_side(to, &m->side[i]);
}

static void read_slot(const struct meters *ms, unsigned kind, unsigned i, struct meter_sum *to)
{
	read_meter(ms, ms->slot[kind][i], to);
	if (!i)
		meter_sum_add(to, &ms->gone[kind]);
}

bool meters_read(struct meters *ms, enum meter_kind kind, unsigned i, uint64_t now_us,
		 struct meter_sum *now, struct meter_sum *older)
{
	const struct meter *m;
	bool there;

	pthread_mutex_lock(&ms->lock);
	there = i < ms->n[kind];
	if (there) {
		m = ms->slot[kind][i];
		read_slot(ms, kind, i, now);
		now->at_us = now_us;
		if (older && m->older)
			*older = *m->older;
		else if (older)
			memset(older, 0, sizeof(*older));
	}
	pthread_mutex_unlock(&ms->lock);
	return there;
}

void meters_read_lobby(struct meters *ms, struct meter_sum *now)
{
	pthread_mutex_lock(&ms->lock);
	read_meter(ms, ms->lobby, now);
	pthread_mutex_unlock(&ms->lock);
}

void meter_sum_add(struct meter_sum *to, const struct meter_sum *from)
{
	unsigned i;

#define X(name, help) to->stats.name += from->stats.name;
	STATS_LIST(X)
#undef X
	for (i = 0; i < METER_HIST_N; i++)
		hist_sum_add(&to->hist[i], &from->hist[i]);
	for (i = 0; i < METER_CLASSES_N; i++)
		to->errors[i] += from->errors[i];
}

void meters_total(struct meters *ms, uint64_t now_us, struct meter_sum *now,
		  struct meter_sum *older)
{
	struct meter_sum one, before;
	unsigned i;

	memset(now, 0, sizeof(*now));
	if (older)
		memset(older, 0, sizeof(*older));
	for (i = 0; meters_read(ms, METER_DB, i, now_us, &one, &before); i++) {
		meter_sum_add(now, &one);
		if (older)
			meter_sum_add(older, &before);
	}
	now->at_us = now_us;
}

/* ---- periods ---- */

/* Readings for both ends of a period; without memory it has none, and begins later. */
static bool room(struct meter *m)
{
	if (!m->older)
		m->older = calloc(1, sizeof(*m->older));
	if (!m->newer)
		m->newer = calloc(1, sizeof(*m->newer));
	return m->older && m->newer;
}

void meters_tick(struct meters *ms, uint64_t now_us)
{
	unsigned k, i;

	for (k = 0; k < METER_KINDS; k++)
		for (i = 0; i < METERS_MAX + 1; i++) {
			struct meter *m;

			pthread_mutex_lock(&ms->lock);
			m = i < ms->n[k] ? ms->slot[k][i] : NULL;
			if (m && room(m)) {
				struct meter_sum *was = m->older;

				m->older = m->newer;
				m->newer = was;
				read_slot(ms, k, i, was);
				was->at_us = now_us;
			}
			pthread_mutex_unlock(&ms->lock);
			if (!m)
				break;
		}
	pthread_mutex_lock(&ms->lock);
	ms->older_us = ms->newer_us;
	ms->newer_us = now_us;
	pthread_mutex_unlock(&ms->lock);
}

uint64_t meters_older_us(struct meters *ms)
{
	uint64_t t;

	pthread_mutex_lock(&ms->lock);
	t = ms->older_us;
	pthread_mutex_unlock(&ms->lock);
	return t;
}

/* ---- PgBouncer's columns ---- */

uint64_t meter_column(const struct meter_sum *s, enum meter_column c)
{
	switch (c) {
	case METER_C_ASSIGNMENT:
		return s->stats.assignments;
	case METER_C_XACT:
		return s->stats.xacts;
	case METER_C_QUERY:
		return s->stats.queries;
	case METER_C_RECEIVED:
		return s->stats.received_bytes;
	case METER_C_SENT:
		return s->stats.sent_bytes;
	case METER_C_XACT_TIME:
		return s->hist[METER_XACT].sum_us;
	case METER_C_QUERY_TIME:
		return s->hist[METER_QUERY].sum_us;
	case METER_C_WAIT_TIME:
		return s->stats.wait_us;
	case METER_C_CLIENT_PARSE:
		return s->stats.parses;
	case METER_C_SERVER_PARSE:
		return s->stats.server_parses;
	case METER_C_BIND:
		return s->stats.binds;
	case METER_C_LOGIN:
		return s->stats.client_logins;
	case METER_COLUMN_N:
	default:
		return 0;
	}
}

uint64_t meter_rate(const struct meter_sum *now, const struct meter_sum *older,
		    uint64_t older_us, enum meter_column c)
{
	static const enum meter_unit unit[] = {
#define X(id, word, unit_) unit_,
		METER_COLUMNS(X)
#undef X
	};
	uint64_t d = meter_column(now, c) - meter_column(older, c), of;

	if (unit[c] == METER_PER_XACT || unit[c] == METER_PER_QUERY) {
		of = unit[c] == METER_PER_XACT ? now->stats.xacts - older->stats.xacts :
						 now->stats.queries - older->stats.queries;
		return of ? d / of : 0;
	}
	of = now->at_us > older_us ? now->at_us - older_us : 0;
	return of ? (uint64_t)((double)d * 1e6 / (double)of) : 0;
}

/* ---- names ---- */

unsigned meter_class(const char *sqlstate)
{
	static const char *const name[] = {
#define X(name_) name_,
		METER_CLASSES(X)
#undef X
	};
	unsigned i;

	for (i = 0; i + 1 < METER_CLASSES_N; i++)
		if (name[i][0] == sqlstate[0] && name[i][1] == sqlstate[1])
			return i;
	return METER_CLASSES_N - 1;
}

const char *meter_class_name(unsigned i)
{
	static const char *const name[] = {
#define X(name_) name_,
		METER_CLASSES(X)
#undef X
	};

	return i < METER_CLASSES_N ? name[i] : "other";
}

const char *meter_hist_name(enum meter_hist h)
{
	static const char *const name[] = {
#define X(id, word, db, node) word,
		METER_HISTS(X)
#undef X
	};

	return h < METER_HIST_N ? name[h] : "?";
}
