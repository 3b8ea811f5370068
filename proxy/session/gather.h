/* proxy/session/gather.h - pieces that leave in one writev: ranges of a buffer
 * untouched, and short pieces of our own.
 *
 * On the stack of the relay. The pieces must live until the gather is sent.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_GATHER_H
#define PGWEIR_SESSION_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define GATHER_IOV 48
#define GATHER_OWN 4096

struct gather {
	int n;
	size_t bytes, used;
	struct iovec v[GATHER_IOV];
	uint8_t own[GATHER_OWN];
};

static inline void gather_init(struct gather *g)
{
	g->n = 0;
	g->bytes = g->used = 0;
}

/* Is there room for `pieces` more and n bytes of our own? If not: send first. */
static inline bool gather_room(const struct gather *g, int pieces, size_t own)
{
	return g->n + pieces <= GATHER_IOV && g->used + own <= GATHER_OWN;
}

/* A range that stays where it is; joined to the one before where they touch. */
static inline void gather_range(struct gather *g, const void *p, size_t n)
{
	struct iovec *last = g->n ? &g->v[g->n - 1] : NULL;

	if (!n)
		return;
	g->bytes += n;
	if (last && (const uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += n;
		return;
	}
	g->v[g->n++] = (struct iovec){ (void *)(uintptr_t)p, n };
}

/* A copy of a short piece. */
static inline void gather_copy(struct gather *g, const void *p, size_t n)
{
	memcpy(g->own + g->used, p, n);
	gather_range(g, g->own + g->used, n);
	g->used += n;
}

#endif
