/* tests/sim/test_history.c - history.c: what is right passes, and for each rule
 * something that breaks it does not.
 *
 * A history is written as words: "b1" begin of transaction 1 (each word is one
 * microsecond later than the one before), "r1.0=a,b," it read key 0, "w1.0=c" it
 * appended c to key 0, "m1" mark, "u1" undo to it, "c1" committed, "a1" aborted, "?1"
 * unknown. Then the final lists.
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

#include "tests/sim/history.h"
#include "tests/sim/rng.h"

#define KEYS 3u
#define TXNS 10u

struct play {
	struct history *h;
	unsigned id[TXNS], mark[TXNS];
	uint64_t now;
};

static void one_word(struct play *p, const char *w)
{
	unsigned t = (unsigned)(w[1] - '0'), key = w[2] == '.' ? (unsigned)(w[3] - '0') : 0;
	const char *text = strchr(w, '=') ? strchr(w, '=') + 1 : "";

	p->now++;
	switch (*w) {
	case 'b':
		p->id[t] = history_begin(p->h, t, p->now);
		break;
	case 'r':
		history_read(p->h, p->id[t], key, text);
		break;
	case 'w':
		history_append(p->h, p->id[t], key, text);
		break;
	case 'm':
		p->mark[t] = history_mark(p->h, p->id[t]);
		break;
	case 'u':
		history_undo(p->h, p->id[t], p->mark[t]);
		break;
	default:
		history_end(p->h, p->id[t],
			    *w == 'c' ? FATE_COMMITTED : *w == 'a' ? FATE_ABORTED : FATE_UNKNOWN,
			    p->now);
	}
}

static const char *final_value(void *arg, unsigned key)
{
	return ((const char *const *)arg)[key];
}

/* want: NULL: all is well, else a part of what must be said. */
static void check_words(const char *words, const char *k0, const char *k1, const char *want)
{
	const char *lists[KEYS] = { k0, k1, "" };
	struct play p = { .h = history_new() };
	char *copy = strdup(words), *save = NULL, *w, text[1000];
	bool ok;

	assert_non_null(p.h);
	assert_non_null(copy);
	for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		one_word(&p, w);
	ok = history_check(p.h, KEYS, final_value, lists, text, sizeof(text));
	history_free(p.h);
	free(copy);
	if (want ? !ok && strstr(text, want) : ok)
		return;
	fail_msg("%s | %s | %s\n  wanted \"%s\", got \"%s\"", words, k0, k1, want ? want : "all is well",
		 text);
}

static void test_right(void **state)
{
	(void)state;
	check_words("", "", "", NULL);
	check_words("b1 w1.0=a c1", "a,", "", NULL);
	check_words("b1 r1.0= w1.0=a r1.0=a, w1.0=b r1.0=a,b, c1", "a,b,", "", NULL);
	check_words("b1 w1.0=a c1 b2 r2.0=a, w2.0=b r2.0=a,b, c2 b3 r3.0=a,b, c3", "a,b,", "", NULL);
	check_words("b1 w1.0=a a1", "", "", NULL);
	check_words("b1 w1.0=a r1.0=a, a1 b2 r2.0= c2", "", "", NULL);
	check_words("b1 w1.0=a w1.1=b ?1", "", "", NULL);
	check_words("b1 w1.0=a w1.1=b ?1", "a,", "b,", NULL);
	check_words("b1 w1.0=a w1.1=b", "a,", "b,", NULL);
	check_words("b1 w1.0=a m1 w1.0=b u1 w1.0=c r1.0=a,c, c1", "a,c,", "", NULL);
	check_words("b1 w1.0=a m1 w1.0=b r1.0=a,b, u1 r1.0=a, c1", "a,", "", NULL);
	/* side by side, in the other order */
	check_words("b1 b2 w2.0=b c2 w1.0=a c1", "a,b,", "", NULL);
	check_words("b1 b2 r1.0= r2.0= w2.0=b c2 c1", "b,", "", NULL);
	/* an unknown one may take effect late */
	check_words("b1 w1.0=a ?1 b2 r2.0= c2 b3 r3.0=a, c3", "a,", "", NULL);
	/* a tag whose end is another tag */
	check_words("b1 w1.0=aa c1 b2 w2.0=a r2.0=aa,a, c2", "aa,a,", "", NULL);
}

static void test_tags(void **state)
{
	(void)state;
	check_words("b1 w1.0=a c1", "", "", "the tag a of t0 of client 1 (committed) is missing");
	check_words("b1 w1.0=a w1.1=b c1", "a,", "", "the tag b of");
	check_words("b1 w1.0=a c1", "a,a,", "", "twice");
	check_words("b1 w1.0=a ?1", "a,a,", "", "twice");
	check_words("b1 w1.0=a c1", "a,", "a,", "which t0 of client 1 (committed) appended to key 0");
	check_words("b1 w1.0=a c1", "", "a,", "appended to key 0");
	check_words("b1 w1.0=a a1", "a,", "", "key 0 has the tag a of t0 of client 1 (aborted)");
	check_words("b1 w1.0=a m1 w1.0=b u1 c1", "a,b,", "", "undid before its end");
	check_words("b1 w1.0=a c1", "a,x,", "", "nobody");
	check_words("b1 w1.0=a c1", "a", "", "comma");
	check_words("b1 w1.0=a w1.1=b ?1", "a,", "", "half of t0");
	check_words("b1 w1.0=a w1.1=b", "", "b,", "half of t0");
	check_words("b1 w1.0=a w1.0=b c1", "b,a,", "", "wrong order");
	check_words("b1 w1.0=a c1 b2 w2.0=a c2", "a,", "", "used twice");
}

static void test_reads(void **state)
{
	(void)state;
	check_words("b1 w1.0=a c1 b2 w2.0=b c2 b3 r3.0=b, c3", "a,b,", "", "no beginning");
	check_words("b1 w1.0=a c1 b2 w2.0=b c2 b3 r3.0=b, a3", "a,b,", "", "no beginning");
	check_words("b1 w1.0=a c1 b2 w2.0=b c2 b3 r3.0=b,", "a,b,", "", "no beginning");
	check_words("b1 w1.0=ab c1 b3 r3.0=a", "ab,", "", "no beginning");
	/* dirty, and from nowhere */
	check_words("b1 w1.0=a b2 r2.0=a, c2 a1", "", "", "no beginning");
	check_words("b2 r2.0=a, c2", "", "", "no beginning");
	/* its own */
	check_words("b1 w1.0=a r1.0= c1", "a,", "", "not at the end");
	check_words("b1 w1.0=a r1.0= a1", "", "", "not at the end");
	check_words("b1 w1.0=a r1.0=ba, c1", "a,", "", "not at the end");
	check_words("b1 w1.0=a w1.0=b r1.0=b, a1", "", "", "not at the end");
	check_words("b1 w1.0=a r1.0=a,a, c1", "a,", "", "among the others'");
	check_words("b1 w1.0=a r1.0=a,a, a1", "", "", "no beginning");
	check_words("b1 w1.0=a m1 w1.0=b u1 r1.0=a,b, c1", "a,", "", "not at the end");
	check_words("b1 r1.0=a, w1.0=a c1", "a,", "", "among the others'");
	/* half of another's */
	check_words("b1 b2 w1.0=a r2.0=a, w1.0=b c1 a2", "a,b,", "", "a part of what t0");
	/* twice, and not the same */
	check_words("b1 w1.0=a c1 b2 b3 r2.0=a, w3.0=b c3 r2.0=a,b, c2", "a,b,", "", "differently");
	check_words("b1 w1.0=a c1 b2 b3 r2.0=a, w3.0=b c3 r2.0=a,b, a2", "a,b,", "", "differently");
	check_words("b1 w1.0=a c1 b2 b3 r2.0= w2.0=c w3.0=b c3 r2.0=a,c, c2", "a,b,c,", "",
		    "differently");
}

static void test_circles(void **state)
{
	(void)state;
	/* write skew */
	check_words("b1 b2 r1.0= r2.1= w1.1=a w2.0=b c1 c2", "b,", "a,", "no serial order");
	/* lost update: both read nothing, both appended */
	check_words("b1 b2 r1.0= r2.0= w1.0=a w2.0=b c1 c2", "a,b,", "", "-rw(key 0)->");
	/* ww and ww */
	check_words("b1 b2 w1.0=a w2.0=b w2.1=c w1.1=d c1 c2", "a,b,", "c,d,", "-ww(key");
	/* in the middle of another's */
	check_words("b1 b2 w1.0=a w2.0=b w1.0=c c1 c2", "a,b,c,", "", "-ww(key 0)->");
	/* sees one thing of another and not the other */
	check_words("b1 b2 w1.0=a w1.1=b r2.0=a, r2.1= c1 c2", "a,", "b,", "-wr(key 0)->");
	/* with an unknown one that is there */
	check_words("b1 b2 r1.0= r2.1= w1.1=a w2.0=b c1 ?2", "b,", "a,", "no serial order");
	/* and one that is not: nothing */
	check_words("b1 b2 r1.0= r2.1= w1.1=a w2.0=b c1 ?2", "", "a,", NULL);
	check_words("b1 b2 r1.0= r2.1= w1.1=a w2.0=b c1 a2", "", "a,", NULL);
	/* three of them */
	check_words("b1 b2 b3 r1.0= w1.1=a r2.1= w2.0=b r3.0=b, w3.1=c c1 c2 c3", "b,", "a,c,",
		    "no serial order");
}

static void test_real_time(void **state)
{
	(void)state;
	check_words("b1 w1.0=a c1 b2 r2.0= c2", "a,", "", "ended before");
	check_words("b1 w1.0=a c1 b2 w2.0=b c2", "b,a,", "", "ended before");
	/* the same, while both are open */
	check_words("b1 w1.0=a b2 c1 r2.0= c2", "a,", "", NULL);
	/* over a third one's end */
	check_words("b1 w1.0=a c1 b3 c3 b4 c4 b2 r2.0= c2", "a,", "", "ended before");
	/* an unknown one that is there began after another had ended */
	check_words("b1 w1.0=a c1 b2 w2.0=b ?2", "b,a,", "", "ended before");
	/* seen before it began */
	check_words("b1 r1.0=a, c1 b2 w2.0=a c2", "a,", "", "ended before");
}

static void test_counts(void **state)
{
	struct history *h = history_new();
	unsigned a = 0, b = 0, c = 0, t;

	(void)state;
	assert_non_null(h);
	t = history_begin(h, 1, 1);
	history_end(h, t, FATE_COMMITTED, 2);
	history_end(h, t, FATE_ABORTED, 3); /* said once */
	history_end(h, history_begin(h, 1, 1), FATE_ABORTED, 2);
	(void)history_begin(h, 1, 1);
	history_counts(h, &a, &b, &c);
	assert_int_equal(a, 1);
	assert_int_equal(b, 1);
	assert_int_equal(c, 1);
	history_read(h, 77, 0, "x,"); /* nobody's */
	history_append(h, 77, 0, "x");
	history_free(h);
	history_free(NULL);
}

/* ---- many at random ---- */

struct world {
	char list[KEYS][8192];
	unsigned tags;
};

static const char *world_value(void *arg, unsigned key)
{
	return ((struct world *)arg)->list[key];
}

static void add(char list[8192], const char *tag)
{
	size_t n = strlen(list);

	(void)snprintf(list + n, 8192 - n, "%s,", tag);
}

/* One transaction, run at an instant of its own; its times lie around that. */
static void one_txn(struct history *h, struct world *w, struct rng *r, uint64_t at, unsigned client)
{
	unsigned t = history_begin(h, client, at - rng_below(r, 40)), n = rng_between(r, 1, 4);
	enum fate fate = (enum fate)rng_below(r, 3);
	struct world before = *w;
	char tag[16];

	while (n--) {
		unsigned key = rng_below(r, KEYS);

		if (rng_chance(r, 50)) {
			history_read(h, t, key, w->list[key]);
			continue;
		}
		(void)snprintf(tag, sizeof(tag), "c%u", ++w->tags);
		before.tags = w->tags;
		history_append(h, t, key, tag);
		add(w->list[key], tag);
	}
	history_end(h, t, fate, at + 1 + rng_below(r, 40));
	if (fate == FATE_ABORTED || (fate == FATE_UNKNOWN && rng_chance(r, 50)))
		*w = before;
}

/* Takes a tag away. */
static bool spoil(struct world *w, struct rng *r)
{
	char *l = w->list[rng_below(r, KEYS)], *a;

	if (strlen(l) < 8)
		return false;
	a = l + rng_below(r, (unsigned)strlen(l) - 4);
	while (a > l && a[-1] != ',')
		a--;
	memmove(a, strchr(a, ',') + 1, strlen(strchr(a, ',')));
	return true;
}

static void test_random(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	unsigned round, i, caught = 0, spoilt = 0;
	char text[1000];

	(void)state;
	assert_non_null(w);
	for (round = 0; round < 200; round++) {
		struct rng r = rng_make(round, 1);
		struct history *h = history_new();

		assert_non_null(h);
		*w = (struct world){ .tags = 0 };
		for (i = 0; i < 80; i++)
			one_txn(h, w, &r, 100 + 10 * i, i % 7);
		if (!history_check(h, KEYS, world_value, w, text, sizeof(text)))
			fail_msg("round %u: %s", round, text);
		if (spoil(w, &r)) {
			spoilt++;
			caught += !history_check(h, KEYS, world_value, w, text, sizeof(text));
		}
		history_free(h);
	}
	free(w);
	/* what is missed: the only tag of one of which nothing is known, at the end */
	assert_true(spoilt > 50 && caught * 10 >= spoilt * 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),	  cmocka_unit_test(test_tags),
		cmocka_unit_test(test_reads),	  cmocka_unit_test(test_circles),
		cmocka_unit_test(test_real_time), cmocka_unit_test(test_counts),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
