/* conf/spell.c - see spell.h.
 *
 * SPDX-License-Identifier: ISC
 */
#include "conf/spell.h"

#include <stdio.h>
#include <string.h>

/* Longer than any word of ours; a longer typed word is near to none of them. */
#define SPELL_MAX 48

static size_t least(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Letters to insert, delete, change or swap with a neighbour: three rows of
 * the usual table, the oldest for the swap. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][SPELL_MAX + 1];
	size_t *prev2 = rows[0], *prev = rows[1], *cur = rows[2], *spare;
	size_t la = strlen(a), lb = strlen(b), i, j;

	if (la > SPELL_MAX || lb > SPELL_MAX)
		return SPELL_MAX;
	memset(rows, 0, sizeof(rows));
	for (j = 0; j <= lb; j++)
		prev[j] = j;
	for (i = 1; i <= la; i++) {
		cur[0] = i;
		for (j = 1; j <= lb; j++) {
			cur[j] = least(prev[j] + 1, cur[j - 1] + 1,
				       prev[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				cur[j] = least(cur[j], cur[j], prev2[j - 2] + 1);
		}
		spare = prev2;
		prev2 = prev;
		prev = cur;
		cur = spare;
	}
	return prev[lb];
}

void spell_start(struct spell *s, const char *typed)
{
	s->typed = typed;
	s->best = NULL;
	/* One letter in four may be wrong, and three in all: more makes
	 * suggestions that mislead (reserve_pool_size is six from
	 * default_pool_size). One more here, because a word must beat it. */
	s->distance = strlen(typed) / 4 + 2;
	if (s->distance > 4)
		s->distance = 4;
}

void spell_try(struct spell *s, const char *known)
{
	size_t d = distance(s->typed, known);

	if (d < s->distance) {
		s->distance = d;
		s->best = known;
	}
}

const char *spell_hint(const struct spell *s, char *out, size_t cap)
{
	if (s->best)
		snprintf(out, cap, "; did you mean \"%s\"?", s->best);
	else
		snprintf(out, cap, "%s", "");
	return out;
}
