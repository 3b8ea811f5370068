/* proxy/io/mbox.c - see mbox.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/mbox.h"

#include <stddef.h>

#include "io/kernel.h"

int mbox_init(struct mbox *m)
{
	atomic_init(&m->head, NULL);
	m->fd = wake_new();
	return m->fd < 0 ? -1 : 0;
}

void mbox_close(struct mbox *m)
{
	if (m->fd >= 0)
		kernel_close(m->fd);
	m->fd = -1;
}

void mbox_post(struct mbox *m, struct letter *l)
{
	struct letter *old = atomic_load_explicit(&m->head, memory_order_relaxed);

	do {
		l->next = old;
	} while (!atomic_compare_exchange_weak_explicit(&m->head, &old, l, memory_order_seq_cst,
							memory_order_relaxed));
	if (!old)
		wake_set(m->fd);
}

struct letter *mbox_take(struct mbox *m)
{
	struct letter *l, *next, *in_order = NULL;

	/* First the descriptor, then the letters: a post in between wakes again. */
	wake_clear(m->fd);
	l = atomic_exchange_explicit(&m->head, NULL, memory_order_seq_cst);
	for (; l; l = next) {
		next = l->next;
		l->next = in_order;
		in_order = l;
	}
	return in_order;
}
