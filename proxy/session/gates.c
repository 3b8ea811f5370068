/* proxy/session/gates.c - see gates.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "session/gates.h"

#include <stdlib.h>
#include <string.h>

struct gates *gates_hold(struct gates *g)
{
	if (g)
		atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	return g;
}

void gates_drop(struct gates *g)
{
	size_t i;

	if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (i = 0; i < g->n; i++)
		free(g->gate[i].name);
	free(g->gate);
	free(g);
}

static const struct gate *find(const struct gates *g, const char *name)
{
	size_t i;

	for (i = 0; g && i < g->n; i++)
		if (strcmp(g->gate[i].name, name) == 0)
			return &g->gate[i];
	return NULL;
}

struct gate *gates_entry(struct gates *g, const char *name)
{
	const struct gate *e = find(g, name);

	return e ? &g->gate[e - g->gate] : NULL;
}

static int add(struct gates *g, const struct gate *e)
{
	char *name = strdup(e->name);

	if (!name)
		return -1;
	g->gate[g->n] = *e;
	g->gate[g->n++].name = name;
	return 0;
}

struct gates *gates_copy(const struct gates *g, const char *name)
{
	struct gates *to = calloc(1, sizeof(*to));
	struct gate fresh = { 0 };
	size_t i, n = g ? g->n : 0;

	if (!to)
		return NULL;
	atomic_init(&to->refs, 1);
	to->gate = calloc(n + 1, sizeof(*to->gate));
	if (!to->gate)
		goto failed;
	for (i = 0; i < n; i++)
		if (add(to, &g->gate[i]))
			goto failed;
	if (g) {
		to->paused = g->paused;
		to->shutting = g->shutting;
		to->renew_us = g->renew_us;
	}
	if (!name || find(to, name))
		return to;
	fresh.name = (char *)(uintptr_t)name;
	if (add(to, &fresh) == 0)
		return to;
failed:
	gates_drop(to);
	return NULL;
}

bool gates_paused(const struct gates *g, const char *name)
{
	const struct gate *e = find(g, name);

	return g && (g->paused || g->shutting || (e && e->paused));
}

bool gates_disabled(const struct gates *g, const char *name)
{
	const struct gate *e = find(g, name);

	return e && e->disabled;
}

uint64_t gates_renew(const struct gates *g, const char *name)
{
	const struct gate *e = find(g, name);
	uint64_t all = g ? g->renew_us : 0;

	return e && e->renew_us > all ? e->renew_us : all;
}
