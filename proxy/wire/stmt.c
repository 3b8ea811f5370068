/* proxy/wire/stmt.c - see stmt.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/stmt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): texts and names are chosen by clients, who
 * must not be able to choose them all into one bucket. */
static uint64_t hash_bytes(const uint64_t key[2], const uint8_t *p, size_t n)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
			  key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL };
	uint64_t last = (uint64_t)n << 56, w;
	int i;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		v[3] ^= w;
		sip_round(v);
		v[0] ^= w;
	}
	w = 0;
	memcpy(&w, p, n);
	last |= w;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void stmts_init(struct stmts *t, unsigned worker, const uint64_t key[2])
{
	*t = (struct stmts){ 0 };
	t->key[0] = key[0];
	t->key[1] = key[1];
	t->next_id = ((uint64_t)(worker + 1) << 48) + 1;
}

static int stmts_grow(struct stmts *t)
{
	uint32_t cap = t->cap ? t->cap * 2 : 64, i;
	struct stmt **b = calloc(cap, sizeof(struct stmt *)), *s, *next;

	if (!b)
		return -1;
	for (i = 0; i < t->cap; i++)
		for (s = t->bucket[i]; s; s = next) {
			next = s->next;
			s->next = b[s->hash & (cap - 1)];
			b[s->hash & (cap - 1)] = s;
		}
	free(t->bucket);
	t->bucket = b;
	t->cap = cap;
	return 0;
}

struct stmt *stmts_get(struct stmts *t, const uint8_t *body, uint32_t len, bool *fresh)
{
	uint64_t h = hash_bytes(t->key, body, len);
	struct stmt *s;

	*fresh = false;
	if (t->cap)
		for (s = t->bucket[h & (t->cap - 1)]; s; s = s->next)
			if (s->hash == h && s->len == len && !s->retired && memcmp(s->body, body, len) == 0) {
				s->refs++;
				return s;
			}
	if (t->n >= t->cap && stmts_grow(t))
		return NULL;
	s = calloc(1, sizeof(*s) + len);
	if (!s)
		return NULL;
	s->refs = 1;
	s->len = len;
	s->hash = h;
	s->id = t->next_id++;
	memcpy(s->body, body, len);
	s->next = t->bucket[h & (t->cap - 1)];
	t->bucket[h & (t->cap - 1)] = s;
	t->n++;
	t->bytes += sizeof(*s) + len;
	*fresh = true;
	return s;
}

void stmts_put(struct stmts *t, struct stmt *s)
{
	struct stmt **p;

	if (!s || --s->refs)
		return;
	for (p = &t->bucket[s->hash & (t->cap - 1)]; *p != s;)
		p = &(*p)->next;
	*p = s->next;
	t->n--;
	t->bytes -= sizeof(*s) + s->len;
	free(s);
}

void stmts_retire(struct stmts *t, uint64_t id)
{
	uint32_t i;
	struct stmt *s;

	for (i = 0; i < t->cap; i++)
		for (s = t->bucket[i]; s; s = s->next)
			if (s->id == id)
				s->retired = true;
}

void stmts_free(struct stmts *t)
{
	uint32_t i;
	struct stmt *s, *next;

	for (i = 0; i < t->cap; i++)
		for (s = t->bucket[i]; s; s = next) {
			next = s->next;
			free(s);
		}
	free(t->bucket);
	*t = (struct stmts){ 0 };
}

struct rows_column {
	uint64_t so_far, name;
	uint8_t type[16];
};

uint64_t stmt_rows(const uint8_t *body, size_t len)
{
	static const uint64_t key[2] = { 0x726f7773, 0x636f6c73 };
	struct wire_get g = { body, body + len, false };
	unsigned n = wire_get_u16(&g), i;
	uint64_t h = n;

	for (i = 0; i < n && !g.bad; i++) {
		struct rows_column one;
		size_t name_len = 0;
		const char *name = wire_get_str(&g, &name_len);

		if (g.bad || wire_left(&g) < 18)
			return ROWS_TOO_MANY;
		memset(&one, 0, sizeof(one));
		one.so_far = h;
		one.name = hash_bytes(key, (const uint8_t *)name, name_len);
		/* behind table and column number: type, size, modifier; then the format */
		memcpy(one.type, g.p + 6, 10);
		g.p += 18;
		h = hash_bytes(key, (const uint8_t *)&one, sizeof(one));
	}
	return g.bad ? ROWS_TOO_MANY : h > ROWS_TOO_MANY ? h : h + ROWS_TOO_MANY + 1;
}

uint64_t stmt_name_id(const char *name, size_t *len)
{
	char *end = NULL;
	uint64_t id;

	*len = 0;
	if (strncmp(name, STMT_PREFIX, sizeof(STMT_PREFIX) - 1) != 0)
		return 0;
	id = strtoull(name + sizeof(STMT_PREFIX) - 1, &end, 16);
	*len = (size_t)(end - name);
	return id;
}

void stmt_name(uint64_t id, char out[STMT_NAME_CAP])
{
	(void)snprintf(out, STMT_NAME_CAP, STMT_PREFIX "%llx", (unsigned long long)id);
}

/* ---- names ---- */

static int names_grow(struct stmt_names *m)
{
	uint32_t cap = m->cap ? m->cap * 2 : 8, i;
	struct stmt_named **b = calloc(cap, sizeof(struct stmt_named *)), *e, *next;

	if (!b)
		return -1;
	for (i = 0; i < m->cap; i++)
		for (e = m->bucket[i]; e; e = next) {
			next = e->next;
			e->next = b[e->hash & (cap - 1)];
			b[e->hash & (cap - 1)] = e;
		}
	free(m->bucket);
	m->bucket = b;
	m->cap = cap;
	return 0;
}

static struct stmt_named **names_find(const struct stmt_names *m, const char *name, uint64_t *hash)
{
	uint64_t h = hash_bytes(m->key, (const uint8_t *)name, strlen(name));
	struct stmt_named **p;

	*hash = h;
	if (!m->cap)
		return NULL;
	for (p = &m->bucket[h & (m->cap - 1)]; *p; p = &(*p)->next)
		if ((*p)->hash == h && strcmp((*p)->name, name) == 0)
			return p;
	return NULL;
}

const struct stmt_named *stmt_names_entry(const struct stmt_names *m, const char *name)
{
	uint64_t h;
	struct stmt_named **p = names_find(m, name, &h);

	return p ? *p : NULL;
}

struct stmt *stmt_names_get(const struct stmt_names *m, const char *name)
{
	const struct stmt_named *e = stmt_names_entry(m, name);

	return e ? e->stmt : NULL;
}

void stmt_names_tell(struct stmt_names *m, uint64_t id, uint64_t rows)
{
	struct stmt_named *e;
	uint32_t i;

	for (i = 0; i < m->cap; i++)
		for (e = m->bucket[i]; e; e = e->next)
			if (e->stmt->id == id)
				e->rows = rows;
}

int stmt_names_add(struct stmt_names *m, const char *name, struct stmt *s)
{
	size_t n = strlen(name) + 1;
	struct stmt_named *e;
	uint64_t h;

	if (names_find(m, name, &h))
		return -1;
	if (m->n >= m->cap && names_grow(m))
		return -1;
	e = malloc(sizeof(*e) + n);
	if (!e)
		return -1;
	e->stmt = s;
	e->rows = ROWS_UNKNOWN;
	e->hash = h;
	memcpy(e->name, name, n);
	e->next = m->bucket[h & (m->cap - 1)];
	m->bucket[h & (m->cap - 1)] = e;
	m->n++;
	m->bytes += sizeof(*e) + n + s->len;
	return 0;
}

struct stmt *stmt_names_del(struct stmt_names *m, const char *name)
{
	uint64_t h;
	struct stmt_named **p = names_find(m, name, &h), *e;
	struct stmt *s;

	if (!p)
		return NULL;
	e = *p;
	*p = e->next;
	s = e->stmt;
	m->bytes -= sizeof(*e) + strlen(e->name) + 1 + s->len;
	free(e);
	m->n--;
	return s;
}

struct stmt *stmt_names_find(const struct stmt_names *m, uint64_t id, const char **name)
{
	struct stmt_named *e;
	uint32_t i;

	for (i = 0; i < m->cap; i++)
		for (e = m->bucket[i]; e; e = e->next)
			if (e->stmt->id == id) {
				*name = e->name;
				return e->stmt;
			}
	return NULL;
}

void stmt_names_forget(struct stmt_names *m, struct stmts *t, uint64_t id)
{
	struct stmt_named **p, *e;
	uint32_t i;

	for (i = 0; i < m->cap; i++)
		for (p = &m->bucket[i]; (e = *p);) {
			if (e->stmt->id != id) {
				p = &e->next;
				continue;
			}
			*p = e->next;
			m->bytes -= sizeof(*e) + strlen(e->name) + 1 + e->stmt->len;
			stmts_put(t, e->stmt);
			free(e);
			m->n--;
		}
}

void stmt_names_clear(struct stmt_names *m, struct stmts *t)
{
	struct stmt_named *e, *next;
	uint32_t i;

	for (i = 0; i < m->cap; i++)
		for (e = m->bucket[i]; e; e = next) {
			next = e->next;
			stmts_put(t, e->stmt);
			free(e);
		}
	free(m->bucket);
	*m = (struct stmt_names){ .key = { m->key[0], m->key[1] } };
}

/* ---- a server's cache ---- */

static uint32_t spot(const struct stmt_cache *c, uint64_t id)
{
	return (uint32_t)((id * 0x9e3779b97f4a7c15ULL) >> 32) & (c->cap - 1);
}

static uint32_t cache_find(const struct stmt_cache *c, uint64_t id)
{
	uint32_t i;

	if (!c->cap)
		return STMT_NIL;
	for (i = spot(c, id); c->slot[i].id; i = (i + 1) & (c->cap - 1))
		if (c->slot[i].id == id)
			return i;
	return STMT_NIL;
}

static void unchain(struct stmt_cache *c, uint32_t i)
{
	struct stmt_slot *s = &c->slot[i];

	if (s->newer == STMT_NIL)
		c->newest = s->older;
	else
		c->slot[s->newer].older = s->older;
	if (s->older == STMT_NIL)
		c->oldest = s->newer;
	else
		c->slot[s->older].newer = s->newer;
}

static void chain_newest(struct stmt_cache *c, uint32_t i)
{
	c->slot[i].newer = STMT_NIL;
	c->slot[i].older = c->newest;
	if (c->newest == STMT_NIL)
		c->oldest = i;
	else
		c->slot[c->newest].newer = i;
	c->newest = i;
}

bool stmt_cache_use(struct stmt_cache *c, uint64_t id)
{
	uint32_t i = cache_find(c, id);

	if (i == STMT_NIL)
		return false;
	if (i != c->newest) {
		unchain(c, i);
		chain_newest(c, i);
	}
	return true;
}

static void cache_insert(struct stmt_cache *c, uint64_t id)
{
	uint32_t i = spot(c, id);

	while (c->slot[i].id)
		i = (i + 1) & (c->cap - 1);
	c->slot[i].id = id;
	c->slot[i].rows = ROWS_UNKNOWN;
	chain_newest(c, i);
	c->n++;
}

uint64_t stmt_cache_rows(const struct stmt_cache *c, uint64_t id)
{
	uint32_t i = cache_find(c, id);

	return i == STMT_NIL ? ROWS_UNKNOWN : c->slot[i].rows;
}

void stmt_cache_tell(struct stmt_cache *c, uint64_t id, uint64_t rows)
{
	uint32_t i = cache_find(c, id);

	if (i != STMT_NIL)
		c->slot[i].rows = rows;
}

/* Builds the table anew, oldest first, so that the order of use stays. */
static int cache_rebuild(struct stmt_cache *c, uint32_t cap)
{
	struct stmt_cache fresh = { calloc(cap, sizeof(*c->slot)), cap, 0, STMT_NIL, STMT_NIL };
	uint32_t i;

	if (!fresh.slot)
		return -1;
	for (i = c->n ? c->oldest : STMT_NIL; i != STMT_NIL; i = c->slot[i].newer) {
		cache_insert(&fresh, c->slot[i].id);
		stmt_cache_tell(&fresh, c->slot[i].id, c->slot[i].rows);
	}
	free(c->slot);
	*c = fresh;
	return 0;
}

int stmt_cache_add(struct stmt_cache *c, uint64_t id)
{
	if (stmt_cache_use(c, id))
		return 0;
	if ((c->n + 1) * 2 > c->cap && cache_rebuild(c, c->cap ? c->cap * 2 : 16))
		return -1;
	cache_insert(c, id);
	return 0;
}

/* Open addressing without tombstones: what follows in the run moves up. */
void stmt_cache_del(struct stmt_cache *c, uint64_t id)
{
	uint32_t i = cache_find(c, id), j;

	if (i == STMT_NIL)
		return;
	unchain(c, i);
	c->n--;
	for (j = (i + 1) & (c->cap - 1); c->slot[j].id; j = (j + 1) & (c->cap - 1)) {
		uint32_t home = spot(c, c->slot[j].id);

		if (((j - home) & (c->cap - 1)) < ((j - i) & (c->cap - 1)))
			continue;
		c->slot[i] = c->slot[j];
		if (c->slot[i].newer == STMT_NIL)
			c->newest = i;
		else
			c->slot[c->slot[i].newer].older = i;
		if (c->slot[i].older == STMT_NIL)
			c->oldest = i;
		else
			c->slot[c->slot[i].older].newer = i;
		i = j;
	}
	c->slot[i].id = 0;
}

uint64_t stmt_cache_oldest(const struct stmt_cache *c)
{
	return c->n ? c->slot[c->oldest].id : 0;
}

void stmt_cache_clear(struct stmt_cache *c)
{
	free(c->slot);
	*c = (struct stmt_cache){ 0 };
}
