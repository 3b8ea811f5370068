/* proxy/io/mbox.c - see mbox.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "io/mbox.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mbox_init(struct mbox *m)
{
	atomic_init(&m->head, NULL);
	m->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return m->fd < 0 ? -1 : 0;
}

void mbox_close(struct mbox *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

void mbox_post(struct mbox *m, struct letter *l)
{
	struct letter *old = atomic_load_explicit(&m->head, memory_order_relaxed);
	uint64_t one = 1;

	do {
		l->next = old;
	} while (!atomic_compare_exchange_weak_explicit(&m->head, &old, l, memory_order_seq_cst,
							memory_order_relaxed));
	/* The counter cannot overflow and the write cannot block: it is only
	 * made when the box was empty. */
	if (!old && write(m->fd, &one, sizeof(one)) < 0)
		return;
}

struct letter *mbox_take(struct mbox *m)
{
	struct letter *l, *next, *in_order = NULL;
	uint64_t n;

	/* First the eventfd, then the letters: a post in between wakes again. */
	if (read(m->fd, &n, sizeof(n)) < 0)
		n = 0;
	l = atomic_exchange_explicit(&m->head, NULL, memory_order_seq_cst);
	for (; l; l = next) {
		next = l->next;
		l->next = in_order;
		in_order = l;
	}
	return in_order;
}
