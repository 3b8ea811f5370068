/* tests/unit/test_stmt.c - prepared statements: texts shared and numbers never
 * reused, a client's names, a server's cache against a naive one.
 *
 * SPDX-License-Identifier: ISC
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/wire/stmt.h"
#include "proxy/wire/wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t rng_state = 88172645463325252ULL;

static unsigned rnd(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)((rng_state >> 11) % n);
}

static struct stmt *get(struct stmts *t, const char *text, bool want_fresh)
{
	size_t n = strlen(text) + 3; /* the zero and a number of types */
	uint8_t *body = calloc(1, n);
	bool fresh = !want_fresh;
	struct stmt *s;

	assert_non_null(body);
	memcpy(body, text, strlen(text));
	s = stmts_get(t, body, (uint32_t)n, &fresh);
	assert_non_null(s);
	assert_int_equal(fresh, want_fresh);
	assert_int_equal(s->len, n);
	assert_memory_equal(s->body, body, n);
	free(body);
	return s;
}

/* ---- texts ---- */

static void test_shared(void **state)
{
	struct stmts t;
	struct stmt *a, *b, *c;
	uint64_t id;

	(void)state;
	stmts_init(&t, 0, (const uint64_t[2]){ 42, 0 });
	a = get(&t, "SELECT 1", true);
	b = get(&t, "SELECT 1", false);
	c = get(&t, "SELECT 2", true);
	assert_ptr_equal(a, b);
	assert_int_equal(a->refs, 2);
	assert_int_not_equal(a->id, c->id);
	assert_int_equal(t.n, 2);
	id = a->id;
	stmts_put(&t, b);
	assert_int_equal(t.n, 2);
	stmts_put(&t, a);
	assert_int_equal(t.n, 1);
	a = get(&t, "SELECT 1", true); /* again: another number */
	assert_true(a->id > c->id && a->id > id);
	stmts_put(&t, a);
	stmts_put(&t, c);
	stmts_put(&t, NULL);
	assert_int_equal(t.n, 0);
	assert_int_equal(t.bytes, 0);
	stmts_free(&t);
}

/* The parameter types are part of the text, and so is a zero in the middle. */
static void test_bodies(void **state)
{
	static const uint8_t body[] = {'q', 0, 0, 1, 0, 0, 0, 23, 9, 9, 9, 9, 9, 9, 9, 9, 9};
	struct stmt *s[sizeof(body) + 1];
	struct stmts t;
	bool fresh;
	uint32_t i;

	(void)state;
	stmts_init(&t, 0, (const uint64_t[2]){ 7, 0 });
	for (i = 0; i <= sizeof(body); i++) {
		uint8_t *exact = malloc(i ? i : 1);

		assert_non_null(exact);
		memcpy(exact, body, i);
		s[i] = stmts_get(&t, exact, i, &fresh);
		assert_non_null(s[i]);
		assert_true(fresh);
		free(exact);
	}
	assert_int_equal(t.n, sizeof(body) + 1);
	for (i = 0; i <= sizeof(body); i++)
		stmts_put(&t, s[i]);
	stmts_free(&t);
}

/* Numbers of one worker grow, and no other worker has them. */
static void test_ids(void **state)
{
	static const unsigned worker[] = {0, 1, 2, 255, 32766, 32767};
	char name[STMT_NAME_CAP], other[STMT_NAME_CAP];
	uint64_t last = 0;
	unsigned i, k;

	(void)state;
	for (i = 0; i < COUNT(worker); i++) {
		struct stmts t;

		stmts_init(&t, worker[i], (const uint64_t[2]){ 1, 0 });
		for (k = 0; k < 100; k++) {
			struct stmt *s = get(&t, "SELECT 1", true);

			assert_true(s->id > last);
			assert_int_equal(s->id >> 48, worker[i] + 1);
			last = s->id;
			stmt_name(s->id, name);
			assert_true(strncmp(name, "pgweir_", 7) == 0);
			assert_int_equal(strtoull(name + 7, NULL, 16), s->id);
			stmts_put(&t, s);
		}
		stmts_free(&t);
	}
	stmt_name(UINT64_MAX, name);
	assert_string_equal(name, "pgweir_ffffffffffffffff");
	stmt_name(1, other);
	assert_string_equal(other, "pgweir_1");
}

static void test_retire(void **state)
{
	struct stmts t;
	struct stmt *old, *fresh, *same;

	(void)state;
	stmts_init(&t, 0, (const uint64_t[2]){ 3, 0 });
	stmts_retire(&t, 99); /* nobody's */
	old = get(&t, "SELECT 1", true);
	stmts_retire(&t, old->id);
	fresh = get(&t, "SELECT 1", true);
	assert_true(fresh->id > old->id);
	same = get(&t, "SELECT 1", false);
	assert_ptr_equal(fresh, same);
	assert_int_equal(old->refs, 1); /* who has it keeps it */
	stmts_put(&t, old);
	stmts_put(&t, fresh);
	stmts_put(&t, same);
	assert_int_equal(t.n, 0);
	stmts_free(&t);
}

#define TEXTS 500

static void test_interning_random(void **state)
{
	static struct {
		struct stmt *s;
		unsigned refs;
	} model[TEXTS];
	struct stmts t;
	uint64_t highest = 0;
	unsigned step, i, live = 0;
	char text[32];

	(void)state;
	memset(model, 0, sizeof(model));
	stmts_init(&t, 4, (const uint64_t[2]){ 0xfeed, 0 });
	for (step = 0; step < 30000; step++) {
		i = rnd(TEXTS);
		snprintf(text, sizeof(text), "SELECT %u", i);
		if (rnd(2)) {
			struct stmt *s = get(&t, text, model[i].refs == 0);

			if (model[i].refs++ == 0) {
				assert_true(s->id > highest);
				highest = s->id;
				model[i].s = s;
				live++;
			}
			assert_ptr_equal(s, model[i].s);
		} else if (model[i].refs) {
			stmts_put(&t, model[i].s);
			live -= --model[i].refs == 0;
		}
		assert_int_equal(t.n, live);
	}
	assert_true(t.cap >= live);
	for (i = 0; i < TEXTS; i++)
		while (model[i].refs--)
			stmts_put(&t, model[i].s);
	assert_int_equal(t.n, 0);
	assert_int_equal(t.bytes, 0);
	stmts_free(&t);
	/* with some left: all of it goes */
	stmts_init(&t, 4, (const uint64_t[2]){ 0xfeed, 0 });
	for (i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "SELECT %u", i);
		(void)get(&t, text, true);
	}
	stmts_free(&t);
}

/* ---- a client's names ---- */

#define NAMES 300

static void test_names(void **state)
{
	struct stmt_names m = {.n = 0};
	struct stmt *has[NAMES] = {NULL};
	struct stmts t;
	unsigned step, i, n = 0;
	char name[32];

	(void)state;
	stmts_init(&t, 0, (const uint64_t[2]){ 5, 0 });
	assert_null(stmt_names_get(&m, "x"));
	assert_null(stmt_names_del(&m, "x"));
	for (step = 0; step < 30000; step++) {
		i = rnd(NAMES);
		snprintf(name, sizeof(name), "%s%u", i % 2 ? "S_" : "s_", i / 2);
		if (rnd(5) < 3) {
			struct stmt *s = get(&t, name, !has[i]);

			if (has[i]) {
				assert_int_equal(stmt_names_add(&m, name, s), -1);
				stmts_put(&t, s);
			} else {
				assert_int_equal(stmt_names_add(&m, name, s), 0);
				has[i] = s;
				n++;
			}
		} else {
			struct stmt *s = stmt_names_del(&m, name);

			assert_ptr_equal(s, has[i]);
			n -= s != NULL;
			stmts_put(&t, s);
			has[i] = NULL;
		}
		i = rnd(NAMES);
		snprintf(name, sizeof(name), "%s%u", i % 2 ? "S_" : "s_", i / 2);
		assert_ptr_equal(stmt_names_get(&m, name), has[i]);
		assert_int_equal(m.n, n);
		assert_int_equal(t.n, n);
	}
	assert_true(n > 64 && m.cap >= n);
	stmt_names_clear(&m, &t);
	assert_int_equal(m.n, 0);
	assert_null(m.bucket);
	assert_int_equal(t.n, 0);
	stmts_free(&t);
}

static void test_names_strange(void **state)
{
	static const char *const names[] = {"", "a", "A", "a ", "pgweir_1", "\xc3\xa4", "\"a\""};
	struct stmt_names m = {.n = 0};
	struct stmt *s[COUNT(names)];
	struct stmts t;
	char text[16];
	size_t i;

	(void)state;
	stmts_init(&t, 0, (const uint64_t[2]){ 5, 0 });
	for (i = 0; i < COUNT(names); i++) {
		snprintf(text, sizeof(text), "%zu", i);
		s[i] = get(&t, text, true);
		assert_int_equal(stmt_names_add(&m, names[i], s[i]), 0);
	}
	for (i = 0; i < COUNT(names); i++)
		assert_ptr_equal(stmt_names_get(&m, names[i]), s[i]);
	stmt_names_clear(&m, &t);
	assert_int_equal(t.n, 0);
	stmts_free(&t);
}

/* ---- a server's cache ---- */

#define MODEL 2000

/* Most recently used first. */
struct model {
	uint64_t id[MODEL];
	unsigned n;
};

static int model_find(const struct model *m, uint64_t id)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->id[i] == id)
			return (int)i;
	return -1;
}

static void model_del(struct model *m, int i)
{
	memmove(m->id + i, m->id + i + 1, (m->n - (unsigned)i - 1) * sizeof(*m->id));
	m->n--;
}

static void model_front(struct model *m, uint64_t id)
{
	assert_true(m->n < MODEL);
	memmove(m->id + 1, m->id, m->n * sizeof(*m->id));
	m->id[0] = id;
	m->n++;
}

/* The chain both ways, and every one of it found. */
static void check_cache(const struct stmt_cache *c, const struct model *m)
{
	uint32_t i, at, before = STMT_NIL, used = 0;

	assert_int_equal(c->n, m->n);
	assert_int_equal(stmt_cache_oldest(c), m->n ? m->id[m->n - 1] : 0);
	assert_true(c->cap == 0 || c->n * 2 <= c->cap);
	for (i = 0; i < c->cap; i++)
		used += c->slot[i].id != 0;
	assert_int_equal(used, m->n);
	for (i = 0, at = m->n ? c->newest : STMT_NIL; at != STMT_NIL; at = c->slot[at].older, i++) {
		assert_true(i < m->n && at < c->cap);
		assert_int_equal(c->slot[at].id, m->id[i]);
		assert_int_equal(c->slot[at].newer, before);
		before = at;
	}
	assert_int_equal(i, m->n);
	if (m->n)
		assert_int_equal(c->oldest, before);
}

static void one_step(struct stmt_cache *c, struct model *m, unsigned ids, uint64_t base)
{
	uint64_t id = base + rnd(ids) + 1;
	int at = model_find(m, id);

	switch (rnd(7)) {
	case 0:
	case 1:
		assert_int_equal(stmt_cache_add(c, id), 0);
		if (at >= 0)
			model_del(m, at);
		model_front(m, id);
		break;
	case 2:
	case 3:
		stmt_cache_del(c, id);
		if (at >= 0)
			model_del(m, at);
		break;
	case 4: /* as a full server makes room */
		id = stmt_cache_oldest(c);
		if (id) {
			stmt_cache_del(c, id);
			model_del(m, (int)m->n - 1);
		}
		break;
	default:
		assert_int_equal(stmt_cache_use(c, id), at >= 0);
		if (at >= 0) {
			model_del(m, at);
			model_front(m, id);
		}
	}
}

static void test_cache_random(void **state)
{
	static const unsigned ids[] = {3, 10, 40, 300, 1500};
	static struct model m;
	unsigned k, step;

	(void)state;
	for (k = 0; k < COUNT(ids); k++) {
		struct stmt_cache c = {.n = 0};
		uint64_t base = (uint64_t)k << 48;

		m.n = 0;
		assert_false(stmt_cache_use(&c, 1));
		stmt_cache_del(&c, 1);
		assert_int_equal(stmt_cache_oldest(&c), 0);
		for (step = 0; step < 20000; step++) {
			one_step(&c, &m, ids[k], base);
			if (ids[k] < 100 || step % 64 == 0)
				check_cache(&c, &m);
		}
		check_cache(&c, &m);
		stmt_cache_clear(&c);
		assert_int_equal(c.n, 0);
		assert_false(stmt_cache_use(&c, base + 1));
		assert_int_equal(stmt_cache_add(&c, base + 1), 0); /* usable again */
		assert_int_equal(stmt_cache_oldest(&c), base + 1);
		stmt_cache_clear(&c);
	}
}

/* Ids that all want the same place of a table of 16, around its end. */
static void test_cache_crowded(void **state)
{
	uint64_t crowd[7], id;
	unsigned i, k, n, place;
	static struct model m;

	(void)state;
	for (place = 0; place < 16; place++) {
		for (n = 0, id = 1; n < COUNT(crowd); id++)
			if ((((id * 0x9e3779b97f4a7c15ULL) >> 32) & 15) == ((place + n / 4) & 15))
				crowd[n++] = id;
		for (k = 0; k < 2000; k++) {
			struct stmt_cache c = {.n = 0};

			m.n = 0;
			for (i = 0; i < 24; i++) {
				id = crowd[rnd(COUNT(crowd))];
				if (rnd(3)) {
					assert_int_equal(stmt_cache_add(&c, id), 0);
					if (model_find(&m, id) >= 0)
						model_del(&m, model_find(&m, id));
					model_front(&m, id);
				} else {
					stmt_cache_del(&c, id);
					if (model_find(&m, id) >= 0)
						model_del(&m, model_find(&m, id));
				}
				check_cache(&c, &m);
			}
			stmt_cache_clear(&c);
		}
	}
}

/* ---- rows ---- */

/* A RowDescription's body: names, one letter each; type and table of each. */
static size_t describe(uint8_t *b, const char *names, uint32_t type, uint32_t table)
{
	struct wire_put w = wire_put_to(b, 256);
	size_t n = strlen(names), i;

	wire_put_u16(&w, (uint16_t)n);
	for (i = 0; i < n; i++) {
		char name[2] = { names[i], 0 };

		wire_put_str(&w, name);
		wire_put_u32(&w, table);
		wire_put_u16(&w, (uint16_t)table);
		wire_put_u32(&w, type);
		wire_put_u16(&w, 4);
		wire_put_u32(&w, UINT32_MAX);
		wire_put_u16(&w, (uint16_t)table); /* the format */
	}
	return w.len;
}

static void test_rows(void **state)
{
	uint8_t a[256], b[256];
	size_t n = describe(a, "xy", 23, 0), cut;
	uint64_t rows = stmt_rows(a, n);

	(void)state;
	assert_true(rows > ROWS_TOO_MANY);
	assert_true(stmt_rows(b, describe(b, "xy", 23, 1)) == rows); /* from where is no matter */
	assert_true(stmt_rows(b, describe(b, "xz", 23, 0)) != rows);
	assert_true(stmt_rows(b, describe(b, "yx", 23, 0)) != rows);
	assert_true(stmt_rows(b, describe(b, "x", 23, 0)) != rows);
	assert_true(stmt_rows(b, describe(b, "xy", 25, 0)) != rows);
	assert_true(stmt_rows(b, describe(b, "", 25, 0)) > ROWS_TOO_MANY);
	for (cut = 2; cut < n; cut++)
		assert_true(stmt_rows(a, cut) == ROWS_TOO_MANY);
}

static void test_rows_are_kept(void **state)
{
	static const uint8_t body[] = "SELECT 1\0\0";
	static const uint64_t key[2] = { 1, 2 };
	struct stmt_names m = { .key = { 3, 4 } };
	struct stmt_cache c = { 0 };
	const char *name = NULL;
	struct stmts t = { 0 };
	struct stmt *st;
	uint64_t i;
	bool fresh;

	(void)state;
	stmts_init(&t, 1, key);
	st = stmts_get(&t, body, sizeof(body), &fresh);
	assert_non_null(st);
	assert_int_equal(stmt_names_add(&m, "s", st), 0);
	assert_true(stmt_names_entry(&m, "s")->rows == ROWS_UNKNOWN);
	stmt_names_tell(&m, st->id, 77);
	stmt_names_tell(&m, st->id + 1, 78);
	assert_true(stmt_names_entry(&m, "s")->rows == 77);
	assert_null(stmt_names_entry(&m, "t"));
	assert_ptr_equal(stmt_names_find(&m, st->id, &name), st);
	assert_string_equal(name, "s");
	assert_null(stmt_names_find(&m, st->id + 1, &name));
	/* a server's cache keeps them while it grows and moves */
	for (i = 1; i <= 100; i++) {
		assert_int_equal(stmt_cache_add(&c, i), 0);
		assert_true(stmt_cache_rows(&c, i) == ROWS_UNKNOWN);
		stmt_cache_tell(&c, i, 1000 + i);
	}
	for (i = 1; i <= 100; i += 2)
		stmt_cache_del(&c, i);
	for (i = 1; i <= 100; i++)
		assert_true(stmt_cache_rows(&c, i) == (i % 2 ? ROWS_UNKNOWN : 1000 + i));
	stmt_cache_clear(&c);
	stmt_names_clear(&m, &t);
	stmts_free(&t);
}

static void test_name_ids(void **state)
{
	char name[STMT_NAME_CAP];
	size_t len;

	(void)state;
	stmt_name(0x10000000018c1ULL, name);
	assert_true(stmt_name_id(name, &len) == 0x10000000018c1ULL);
	assert_int_equal(len, strlen(name));
	assert_true(stmt_name_id("pgweir_x0", &len) == 0);
	assert_true(stmt_name_id("other_1", &len) == 0);
	assert_int_equal(len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),	      cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_ids),	      cmocka_unit_test(test_retire),
		cmocka_unit_test(test_interning_random), cmocka_unit_test(test_names),
		cmocka_unit_test(test_names_strange), cmocka_unit_test(test_cache_random),
		cmocka_unit_test(test_cache_crowded),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_rows_are_kept),
		cmocka_unit_test(test_name_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
