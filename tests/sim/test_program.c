/* tests/sim/test_program.c - programs are the same for the same seed, say what is well
 * formed, do every kind of work, leave no block, COPY or lock open, and end.
 *
 * The world here is a crude one: it reads BEGIN, COMMIT, COPY and lock calls off the
 * texts and lets errors and losses happen at random.
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

#include "program_in.h"
#include "store.h"

#define KINDS 80u
#define MOVES_MAX 200000u
#define TAGS_MAX 60000u

struct world {
	struct program *p;
	struct rng r;
	enum manners manners;
	unsigned client;
	unsigned errors, losses;       /* percent */
	const char *code;
	bool check;                    /* of well-behaved ones */
	char status;
	bool copy_in, copy_sent;
	bool pulse;                    /* copy_in is said once */
	bool again;                    /* connects again by itself */
	unsigned locks;                /* bits */
	size_t have;                   /* of a message that is not whole */
	uint8_t part[BYTES_MAX];
	uint64_t hash;
	unsigned moves, waits, sessions;
	uint8_t last;                  /* type of the last message */
	bool tags[TAGS_MAX];
	bool seen[KINDS];
};

static void mix(struct world *w, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n--)
		w->hash = (w->hash ^ *b++) * 0x100000001b3u;
}

/* ---- what a message must look like ---- */

static void check_tag(struct world *w, const char *s)
{
	unsigned client = 0, n = 0;

	assert_int_equal(sscanf(s, "c%u.%u", &client, &n), 2);
	assert_int_equal(client, w->client);
	assert_true(n < TAGS_MAX);
	assert_false(w->tags[n]);      /* written once */
	w->tags[n] = true;
}

/* Tags that a text writes, and whatever of other clients it names. */
static void check_texts(struct world *w, const char *s)
{
	const char *c;

	for (c = s; (c = strstr(c, "v || '")); c++)
		check_tag(w, c + 6);
	for (c = s; (c = strstr(c, " INTO kv VALUES (")); c++) {
		const char *end = c + strcspn(c, ";R"), *v = c;

		while ((v = strstr(v, ", '")) && v < end)
			check_tag(w, v += 3);
	}
}

static bool begins(const char *s, const char *word)
{
	size_t i;

	for (i = 0; word[i]; i++)
		if (!s[i] || (s[i] & ~32) != (word[i] & ~32))
			return false;
	return true;
}

static void lock_text(struct world *w, const char *s)
{
	const char *c;

	for (c = s; (c = strstr(c, "pg_advisory_lock(")); c++) {
		unsigned bit = 1u << (unsigned)(c[17] - '0');

		assert_int_equal(w->status, 'I');
		assert_int_equal(w->locks & ~bit, 0);
		w->locks |= bit;
	}
	for (c = s; (c = strstr(c, "pg_try_advisory_lock(")); c++)
		w->locks |= 1u << (unsigned)(c[21] - '0');
	for (c = s; (c = strstr(c, "pg_advisory_unlock(")); c++)
		w->locks &= ~(1u << (unsigned)(c[19] - '0'));
	if (strstr(s, "pg_advisory_unlock_all") || strstr(s, "DISCARD ALL"))
		w->locks = 0;
}

static void sql(struct world *w, const char *text)
{
	const char *s = text;

	for (; *s; s++) {
		if (s != text && s[-1] != ' ' && s[-1] != ';')
			continue;
		if (begins(s, "BEGIN") || begins(s, "START TR"))
			w->status = 'T';
		else if (begins(s, "COMMIT") || begins(s, "END") || begins(s, "ABORT") ||
			 (begins(s, "ROLLBACK") && !begins(s, "ROLLBACK TO")))
			w->status = strstr(s, "AND CHAIN") ? 'T' : 'I';
		else if (begins(s, "COPY kv FROM") && w->status != 'E')
			w->copy_sent = true;
	}
	if (w->check) {
		check_texts(w, text);
		lock_text(w, text);
	}
}

static void check_bind(struct world *w, struct wire_get *g)
{
	unsigned i, n;
	uint32_t len;

	wire_get_str(g, NULL);
	wire_get_str(g, NULL);
	for (n = wire_get_u16(g), i = 0; i < n; i++)
		assert_int_equal(wire_get_u16(g), 0);
	for (n = wire_get_u16(g), i = 0; i < n; i++) {
		char value[32] = "";

		len = wire_get_u32(g);
		assert_true(len < sizeof(value) && len <= wire_left(g));
		memcpy(value, g->p, len);
		g->p += len;
		if (value[0] == 'c')
			check_tag(w, value);
		else
			assert_true(strtoul(value, NULL, 10) < KEYS);
	}
	for (n = wire_get_u16(g), i = 0; i < n; i++)
		assert_int_equal(wire_get_u16(g), 0);
}

static void check_message(struct world *w, uint8_t type, struct wire_get g)
{
	unsigned n;

	switch (type) {
	case 'Q':
	case 'f':
		wire_get_str(&g, NULL);
		break;
	case 'P':
		wire_get_str(&g, NULL);
		wire_get_str(&g, NULL);
		for (n = wire_get_u16(&g); n; n--)
			wire_get_u32(&g);
		break;
	case 'B':
		check_bind(w, &g);
		break;
	case 'D':
	case 'C':
		n = wire_get_u8(&g);
		assert_true(n == 'S' || n == 'P');
		wire_get_str(&g, NULL);
		break;
	case 'E':
		wire_get_str(&g, NULL);
		wire_get_u32(&g);
		break;
	case 'd':
		return;
	default:
		assert_true(type == 'S' || type == 'H' || type == 'c' || type == 'X');
	}
	assert_false(g.bad);
	assert_int_equal(wire_left(&g), 0);
}

static void message(struct world *w, uint8_t type, uint32_t len)
{
	struct wire_get g = wire_body(w->part, len);

	w->last = type;
	if (w->check)
		check_message(w, type, g);
	if (type == 'c' || type == 'f')
		w->copy_in = w->copy_sent = false;
	if (type == 'P')
		wire_get_str(&g, NULL);
	if (type == 'Q' || type == 'P')
		sql(w, wire_get_str(&g, NULL));
}

static void take(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t type = 0;
	uint32_t len = 0;

	assert_true(n > 0 && n <= sizeof(w->part) - w->have);
	memcpy(w->part + w->have, p, n);
	w->have += n;
	while (wire_header(w->part, w->have, &type, &len) == WIRE_OK && len <= w->have) {
		message(w, type, len);
		w->have -= len;
		memmove(w->part, w->part + len, w->have);
	}
}

/* ---- the world ---- */

static void session(struct world *w)
{
	uint8_t start[2000];
	size_t n = program_startup(w->p, start, sizeof(start));

	assert_true(n > 20 && start[n - 1] == 0);
	assert_int_equal(memcmp(start, "user", 5), 0);
	mix(w, start, n);
	w->status = 'I';
	w->copy_in = w->copy_sent = false;
	w->locks = 0;
	w->have = 0;
	w->sessions++;
}

static void answer(struct world *w)
{
	w->waits++;
	if (w->check)
		assert_int_equal(w->have, 0);
	if (w->copy_sent && !w->copy_in)
		w->copy_in = true;
	if (!rng_chance(&w->r, w->errors))
		return;
	w->copy_in = w->copy_sent = false;
	if (w->status == 'T')
		w->status = 'E';
	program_error(w->p, w->code);
}

static void note_kind(struct world *w)
{
	const char *says = program_says(w->p);
	const struct kind *k;
	unsigned i;

	for (i = 0; (k = program_kind(i)); i++)
		if (strncmp(says, k->name, strlen(k->name)) == 0 && says[strlen(k->name)] == ' ')
			w->seen[i] = true;
	assert_true(i < KINDS);
}

static bool one_move(struct world *w, uint8_t *buf, size_t cap)
{
	size_t n = 0;
	uint64_t us = 0;
	enum move m = program_next(w->p, w->status, w->copy_in, buf, cap, &n, &us);
	unsigned char c = (unsigned char)m;

	mix(w, &c, 1);
	mix(w, buf, n);
	mix(w, &us, sizeof(us));
	note_kind(w);
	assert_true(++w->moves < MOVES_MAX);
	assert_true(m == MOVE_SEND ? n > 0 && n <= cap : n == 0);
	assert_true(us < 1000000);
	switch (m) {
	case MOVE_SEND:
		if (w->pulse)
			w->copy_in = false;
		take(w, buf, n);
		break;
	case MOVE_WAIT:
		answer(w);
		break;
	case MOVE_RECONNECT:
		session(w);
		break;
	case MOVE_PAUSE:
	case MOVE_CANCEL:
	case MOVE_CLOSE:
		break;
	case MOVE_DONE:
		return false;
	}
	if (rng_chance(&w->r, w->losses)) {
		w->have = 0;
		program_lost(w->p);
		if (w->again)
			session(w);
	}
	return true;
}

/* Plays a program to its end. */
static void play(struct world *w, enum dialect dialect, unsigned steps, uint64_t seed)
{
	struct program_conf c = { w->manners, dialect, w->client, steps, 6 };
	static const size_t caps[] = { 65536, 100000, 262144 };
	uint8_t *buf = malloc(262144);

	assert_non_null(buf);
	w->p = program_new(&c, rng_make(seed, w->client));
	assert_non_null(w->p);
	w->r = rng_make(seed, 1000);
	w->pulse = seed % 2;
	w->again = seed % 5 < 2;
	w->hash = 0xcbf29ce484222325u;
	w->check = w->manners != MANNERS_HOSTILE && !w->losses;
	w->code = w->code ? w->code : "22012";
	memset(w->tags, 0, sizeof(w->tags));
	session(w);
	while (one_move(w, buf, caps[seed % 3]))
		;
	if (w->check) {
		assert_int_equal(w->last, 'X');
		assert_int_equal(w->status, 'I');
		assert_false(w->copy_in || w->copy_sent);
		assert_int_equal(w->have, 0);
	}
	program_free(w->p);
	free(buf);
}

static struct world *world_new(enum manners m, unsigned client, unsigned errors)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->manners = m;
	w->client = client;
	w->errors = errors;
	return w;
}

/* ---- tests ---- */

static void test_same_seed_same_bytes(void **state)
{
	unsigned m, seed;

	(void)state;
	for (m = 0; m < MANNERS_N; m++) {
		uint64_t before = 0;

		for (seed = 0; seed < 10; seed++) {
			struct world *a = world_new((enum manners)m, 3, 10);
			struct world *b = world_new((enum manners)m, 3, 10);

			play(a, DIALECT_PG, 30, seed);
			play(b, DIALECT_PG, 30, seed);
			assert_int_equal(a->hash, b->hash);
			assert_int_not_equal(a->hash, before);
			before = a->hash;
			free(a);
			free(b);
		}
	}
}

/* Also that they are well formed, that tags are not used twice, that locks are waited
 * for in the right place: see sql(), check_message(). */
static void test_every_kind_occurs(void **state)
{
	struct world *w = NULL;
	bool seen[MANNERS_N][KINDS];
	unsigned i, j, m;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (i = 0; i < 300; i++) {
		m = i % MANNERS_N;
		w = world_new((enum manners)m, i, i % 3 * 6);
		play(w, DIALECT_PG, 25, i);
		for (j = 0; j < KINDS; j++)
			seen[m][j] = seen[m][j] || w->seen[j];
		free(w);
	}
	for (j = 0; program_kind(j); j++)
		for (m = 0; m < MANNERS_N; m++)
			if (program_kind(j)->weight[m] && !seen[m][j])
				fail_msg("%s: not with manners %u", program_kind(j)->name, m);
}

static void test_cockroach(void **state)
{
	struct world *w;
	unsigned i, j;

	(void)state;
	for (i = 0; i < 40; i++) {
		w = world_new((enum manners)(i % MANNERS_N), i, 5);
		play(w, DIALECT_CRDB, 30, i);
		for (j = 0; program_kind(j); j++)
			assert_false(w->seen[j] && program_kind(j)->pg);
		free(w);
	}
}

/* Every wait brings a serialization failure; or the connection is lost again and
 * again: it ends all the same. */
static void test_it_ends(void **state)
{
	struct world *w;
	unsigned i;

	(void)state;
	for (i = 0; i < 80; i++) {
		w = world_new((enum manners)(i % MANNERS_N), i, 100);
		w->code = "40001";
		play(w, DIALECT_PG, 20, i);
		free(w);
		w = world_new((enum manners)(i % MANNERS_N), i, 10);
		w->losses = i % 20 + 5;
		play(w, DIALECT_PG, 20, i);
		assert_true(w->sessions <= 21);
		free(w);
	}
}

static void test_conflicts_are_tried_again(void **state)
{
	struct world *w = world_new(MANNERS_PLAIN, 1, 30), *v = world_new(MANNERS_PLAIN, 1, 30);

	(void)state;
	w->code = "40001";
	play(w, DIALECT_PG, 100, 7);
	play(v, DIALECT_PG, 100, 7);
	assert_true(w->waits > v->waits);
	free(w);
	free(v);
}

static void test_nothing_to_do(void **state)
{
	struct world *w = world_new(MANNERS_PLAIN, 1, 0);

	(void)state;
	play(w, DIALECT_PG, 0, 1);
	assert_int_equal(w->moves, 2);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_seed_same_bytes),
		cmocka_unit_test(test_every_kind_occurs),
		cmocka_unit_test(test_cockroach),
		cmocka_unit_test(test_it_ends),
		cmocka_unit_test(test_conflicts_are_tried_again),
		cmocka_unit_test(test_nothing_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
