/* tests/sim/memory.c - allocations that fail. The linker sends malloc and its kin here
 * (-Wl,--wrap), from pgweir's objects and the simulation's, not from libraries.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdlib.h>
#include <string.h>

#include "world_in.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static struct {
	struct rng rng;
	unsigned permille;
	bool armed;
} memory;

void memory_fail(unsigned permille, uint64_t seed)
{
	memory.rng = rng_make(seed, 6);
	memory.permille = permille;
}

void memory_arm(bool on)
{
	memory.armed = on && memory.permille;
}

void *sim_alloc(size_t n)
{
	void *p = __real_calloc(1, n);

	if (!p)
		abort();
	return p;
}

void *sim_grow(void *p, size_t n)
{
	p = __real_realloc(p, n);
	if (!p)
		abort();
	return p;
}

void sim_release(void *p)
{
	free(p);
}

static bool fails(void)
{
	return memory.armed && rng_below(&memory.rng, 1000) < memory.permille;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}
