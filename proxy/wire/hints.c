/* proxy/wire/hints.c - see hints.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "wire/hints.h"

#include <string.h>

#include "wire/leaves.h"

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_apart(char c)
{
	return is_blank(c) || c == ',';
}

/* The words of one comment, without its delimiters. */
static unsigned words(const char *p, const char *end)
{
	static const char prefix[] = "pgweir:";
	unsigned hints = 0;

	for (;;) {
		const char *word;
		size_t n;

		while (p < end && is_apart(*p))
			p++;
		word = p;
		while (p < end && !is_apart(*p))
			p++;
		n = (size_t)(p - word);
		if (n < sizeof(prefix) - 1 || !same_word(word, sizeof(prefix) - 1, prefix))
			return hints;
		word += sizeof(prefix) - 1;
		n -= sizeof(prefix) - 1;
		if (same_word(word, n, "retry=off"))
			hints |= HINT_RETRY_OFF;
		else if (same_word(word, n, "idempotent"))
			hints |= HINT_IDEMPOTENT;
	}
}

/* Behind the comment that p begins, *end its last character but the delimiter; NULL:
 * it has no end. */
static const char *comment(const char *p, const char *stop, const char **end)
{
	size_t depth = 1;

	if (*p == '-') {
		while (p < stop && *p != '\n' && *p != '\r')
			p++;
		*end = p;
		return p;
	}
	for (p += 2; stop - p >= 2; p++) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p++;
		} else if (p[0] == '*' && p[1] == '/') {
			*end = p;
			if (--depth == 0)
				return p + 2;
			p++;
		}
	}
	return NULL;
}

unsigned hints_read(const char *sql, size_t len)
{
	const char *p = sql, *stop = sql + strnlen(sql, len), *end, *next;
	unsigned hints = 0;

	for (;;) {
		while (p < stop && is_blank(*p))
			p++;
		if (stop - p < 2 || !((p[0] == '/' && p[1] == '*') || (p[0] == '-' && p[1] == '-')))
			return hints;
		next = comment(p, stop, &end);
		if (!next)
			return 0;
		hints |= words(p + 2, end);
		p = next;
	}
}
