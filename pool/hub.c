/* pool/hub.c - see hub.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "pool/hub.h"

#include <stdlib.h>
#include <string.h>

int hubs_init(struct hubs *h, unsigned worker_n)
{
	memset(h, 0, sizeof(*h));
	h->worker_n = worker_n;
	if (counts_init(&h->clients) || pthread_mutex_init(&h->tokens, NULL))
		return -1;
	return pthread_mutex_init(&h->lock, NULL) ? -1 : 0;
}

static void group_put(struct hub_group **list, struct hub_group *g)
{
	if (!g || --g->refs)
		return;
	while (*list != g)
		list = &(*list)->next;
	*list = g->next;
	free(g->name);
	free(g);
}

static void welcome_clear(struct hub_welcome *w)
{
	free(w->key);
	free(w->p);
	*w = (struct hub_welcome){ 0 };
}

static void hub_free(struct hub *hub)
{
	unsigned i;

	free(hub->db);
	free(hub->user);
	free(hub->side);
	for (i = 0; i < HUB_WELCOMES; i++)
		welcome_clear(&hub->welcome[i]);
	free(hub);
}

static void leave_groups(struct hubs *h, struct hub *hub)
{
	group_put(&h->dbs, hub->in);
	group_put(&h->users, hub->of);
}

void hubs_free(struct hubs *h)
{
	struct hub *hub, *next;

	for (hub = h->head; hub; hub = next) {
		next = hub->next;
		leave_groups(h, hub);
		hub_free(hub);
	}
	h->head = NULL;
	counts_free(&h->clients);
	pthread_mutex_destroy(&h->tokens);
	pthread_mutex_destroy(&h->lock);
}

static struct hub_group *group_get(struct hub_group **list, const char *name)
{
	struct hub_group *g;

	for (g = *list; g; g = g->next)
		if (strcmp(g->name, name) == 0) {
			g->refs++;
			return g;
		}
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->name = strdup(name);
	if (!g->name) {
		free(g);
		return NULL;
	}
	limit_init(&g->limit, 0);
	g->refs = 1;
	g->next = *list;
	*list = g;
	return g;
}

static struct hub *make(struct hubs *h, const char *db, const char *user, bool apart,
			const char *role)
{
	struct hub *hub = calloc(1, sizeof(*hub));
	size_t side = h->worker_n * sizeof(struct hub_side);

	if (!hub)
		return NULL;
	hub->db = strdup(db);
	hub->user = strdup(user);
	hub->side = aligned_alloc(64, side);
	hub->in = group_get(&h->dbs, db);
	hub->of = group_get(&h->users, role);
	if (!hub->db || !hub->user || !hub->side || !hub->in || !hub->of) {
		leave_groups(h, hub);
		hub_free(hub);
		return NULL;
	}
	memset(hub->side, 0, side);
	hub->tokens = &h->tokens;
	hub->worker_n = h->worker_n;
	hub->apart = apart;
	limit_init(&hub->limit, 0);
	limit_init(&hub->pins, 0);
	hub->next = h->head;
	h->head = hub;
	return hub;
}

void hub_bound(struct hub *hub, const struct hub_max *max)
{
	int used = atomic_load(&hub->limit.used);
	bool reserve = max->pool && used > max->pool && used <= max->pool + max->reserve;

	atomic_store(&hub->limit.max, reserve ? used : max->pool);
	atomic_store(&hub->in->limit.max, max->db);
	atomic_store(&hub->of->limit.max, max->user);
}

struct hub *hubs_get(struct hubs *h, const char *db, const char *user, bool apart,
		     const char *role, const struct hub_max *max)
{
	struct hub *hub;

	pthread_mutex_lock(&h->lock);
	for (hub = h->head; hub; hub = hub->next)
		if (hub->apart == apart && strcmp(hub->db, db) == 0 && strcmp(hub->user, user) == 0)
			break;
	if (!hub)
		hub = make(h, db, user, apart, role);
	if (hub) {
		hub_bound(hub, max);
		hub->refs++;
	}
	pthread_mutex_unlock(&h->lock);
	return hub;
}

/* Under the lock. */
static void put(struct hubs *h, struct hub *hub)
{
	struct hub **p;

	if (--hub->refs)
		return;
	for (p = &h->head; *p != hub;)
		p = &(*p)->next;
	*p = hub->next;
	leave_groups(h, hub);
	hub_free(hub);
}

void hubs_put(struct hubs *h, struct hub *hub)
{
	if (!hub)
		return;
	pthread_mutex_lock(&h->lock);
	put(h, hub);
	pthread_mutex_unlock(&h->lock);
}

/* ---- walks ---- */

struct hub *hubs_next(struct hubs *h, struct hub *prev)
{
	struct hub *next;

	pthread_mutex_lock(&h->lock);
	next = prev ? prev->next : h->head;
	if (next)
		next->refs++;
	if (prev)
		put(h, prev);
	pthread_mutex_unlock(&h->lock);
	return next;
}

struct hub_group *hubs_next_db(struct hubs *h, struct hub_group *prev)
{
	struct hub_group *next;

	pthread_mutex_lock(&h->lock);
	next = prev ? prev->next : h->dbs;
	if (next)
		next->refs++;
	group_put(&h->dbs, prev);
	pthread_mutex_unlock(&h->lock);
	return next;
}

void hubs_put_db(struct hubs *h, struct hub_group *g)
{
	pthread_mutex_lock(&h->lock);
	group_put(&h->dbs, g);
	pthread_mutex_unlock(&h->lock);
}

static int used(struct hubs *h, struct hub_group *const *list, const char *name)
{
	const struct hub_group *g;
	int n = 0;

	pthread_mutex_lock(&h->lock);
	for (g = *list; g; g = g->next)
		if (strcmp(g->name, name) == 0)
			n = atomic_load(&g->limit.used);
	pthread_mutex_unlock(&h->lock);
	return n;
}

int hubs_db_used(struct hubs *h, const char *db)
{
	return used(h, &h->dbs, db);
}

int hubs_user_used(struct hubs *h, const char *role)
{
	return used(h, &h->users, role);
}

static struct hub_welcome *welcome_find(struct hub *hub, const uint8_t *key, size_t n)
{
	unsigned i;

	if (!n)
		return &hub->welcome[0];
	for (i = 1; i < HUB_WELCOMES; i++) {
		struct hub_welcome *w = &hub->welcome[i];

		if (w->key_len == n && memcmp(w->key, key, n) == 0)
			return w;
	}
	return NULL;
}

static uint8_t *copy_of(const void *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	if (q && n)
		memcpy(q, p, n);
	return q;
}

int hub_welcome_set(struct hubs *h, struct hub *hub, const uint8_t *key, size_t key_len,
		    const uint8_t *p, size_t n)
{
	struct hub_welcome fresh = { copy_of(key, key_len), copy_of(p, n), key_len, n }, *w;
	unsigned i;

	if (!fresh.key || !fresh.p) {
		welcome_clear(&fresh);
		return -1;
	}
	pthread_mutex_lock(&h->lock);
	w = welcome_find(hub, key, key_len);
	if (!w)
		w = &hub->welcome[1 + hub->welcome_next++ % (HUB_WELCOMES - 1)];
	for (i = 1; !key_len && (w->len != n || memcmp(w->p, p, n) != 0) && i < HUB_WELCOMES; i++)
		welcome_clear(&hub->welcome[i]);
	welcome_clear(w);
	*w = fresh;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

long hub_welcome_copy(struct hubs *h, struct hub *hub, const uint8_t *key, size_t key_len,
		      uint8_t *out, size_t cap)
{
	const struct hub_welcome *w;
	long n = 0;

	pthread_mutex_lock(&h->lock);
	w = welcome_find(hub, key, key_len);
	if (w)
		n = w->len > cap ? -1 : (long)w->len;
	if (n > 0)
		memcpy(out, w->p, (size_t)n);
	pthread_mutex_unlock(&h->lock);
	return n;
}

void hubs_each(struct hubs *h, void (*fn)(void *arg, struct hub *hub), void *arg)
{
	struct hub *hub;

	pthread_mutex_lock(&h->lock);
	for (hub = h->head; hub; hub = hub->next)
		fn(arg, hub);
	pthread_mutex_unlock(&h->lock);
}

int hubs_used(struct hubs *h, const char *db, int *moving)
{
	struct hub *hub;
	int n = 0, m = 0;

	pthread_mutex_lock(&h->lock);
	for (hub = h->head; hub; hub = hub->next)
		if (!db || strcmp(hub->db, db) == 0) {
			n += atomic_load(&hub->limit.used);
			m += atomic_load(&hub->moving);
		}
	pthread_mutex_unlock(&h->lock);
	if (moving)
		*moving = m;
	return n;
}
