/* tests/sim/sim.c - see sim.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void sim_init(struct sim *s, uint64_t seed, FILE *trace)
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->now_us = SIM_EPOCH_US;
	s->rng = rng_make(seed, 1);
	s->trace = trace;
	s->digest = 1469598103934665603u;
}

void sim_free(struct sim *s)
{
	size_t i;

	for (i = 0; i < s->due_n; i++)
		if (s->due[i].owned)
			free(s->due[i].arg);
	free(s->due);
	s->due = NULL;
	s->due_n = s->due_cap = 0;
}

static bool before(const struct happening *a, const struct happening *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct happening *a, struct happening *b)
{
	struct happening t = *a;

	*a = *b;
	*b = t;
}

static void sift_up(struct sim *s, size_t i)
{
	for (; i && before(&s->due[i], &s->due[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&s->due[i], &s->due[(i - 1) / 2]);
}

static void sift_down(struct sim *s, size_t i)
{
	for (;;) {
		size_t l = 2 * i + 1, r = l + 1, least = i;

		if (l < s->due_n && before(&s->due[l], &s->due[least]))
			least = l;
		if (r < s->due_n && before(&s->due[r], &s->due[least]))
			least = r;
		if (least == i)
			return;
		swap(&s->due[i], &s->due[least]);
		i = least;
	}
}

static void add(struct sim *s, uint64_t in_us, void (*fn)(void *arg), void *arg, bool owned)
{
	if (s->due_n == s->due_cap) {
		s->due_cap = s->due_cap ? 2 * s->due_cap : 64;
		s->due = sim_grow(s->due, s->due_cap * sizeof(*s->due));
	}
	s->due[s->due_n++] = (struct happening){ s->now_us + in_us, s->order++, fn, arg, owned };
	sift_up(s, s->due_n - 1);
}

void sim_at(struct sim *s, uint64_t in_us, void (*fn)(void *arg), void *arg)
{
	add(s, in_us, fn, arg, false);
}

void sim_at_owned(struct sim *s, uint64_t in_us, void (*fn)(void *arg), void *arg)
{
	add(s, in_us, fn, arg, true);
}

void sim_forget(struct sim *s, const void *arg)
{
	size_t i, n = 0;

	for (i = 0; i < s->due_n; i++)
		if (s->due[i].arg != arg)
			s->due[n++] = s->due[i];
	s->due_n = n;
	for (i = n / 2; i-- > 0;)
		sift_down(s, i);
}

uint64_t sim_next(const struct sim *s)
{
	return s->due_n ? s->due[0].at_us : UINT64_MAX;
}

bool sim_happen(struct sim *s)
{
	struct happening h;

	if (!s->due_n || s->due[0].at_us > s->now_us)
		return false;
	h = s->due[0];
	s->due[0] = s->due[--s->due_n];
	sift_down(s, 0);
	h.fn(h.arg);
	return true;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	char line[1500];
	const char *p;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	s->digest = (s->digest ^ s->now_us) * 1099511628211u;
	for (p = line; *p; p++)
		s->digest = (s->digest ^ (uint8_t)*p) * 1099511628211u;
	if (s->trace)
		fprintf(s->trace, "%10.6f %s\n", (double)(s->now_us - SIM_EPOCH_US) / 1e6, line);
}

void sim_wrong(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (*s->wrong)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(s->wrong, sizeof(s->wrong), fmt, ap);
	va_end(ap);
	sim_trace(s, "WRONG %s", s->wrong);
}

static size_t put_body(char *out, size_t room, const uint8_t *p, size_t n)
{
	size_t i, k = 0;

	for (i = 0; i < n && k + 1 < room; i++)
		out[k++] = p[i] >= 32 && p[i] < 127 ? (char)p[i] : '|';
	return k;
}

const char *sim_messages(const struct sim *s, char *out, size_t cap, const uint8_t *p, size_t n)
{
	size_t k = 0;

	*out = 0;
	while (s->trace && n >= 5 && k + 8 < cap) {
		size_t len = ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4]) + 1;
		size_t have = len < n ? len : n, room = cap - k - 4;

		out[k++] = ' ';
		out[k++] = p[0] >= 32 && p[0] < 127 ? (char)p[0] : '?';
		out[k++] = '(';
		k += have > 5 ? put_body(out + k, room < 70 ? room : 70, p + 5, have - 5) : 0;
		out[k++] = ')';
		p += have;
		n -= have;
	}
	out[k] = 0;
	return out;
}
