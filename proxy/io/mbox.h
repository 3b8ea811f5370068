/* proxy/io/mbox.h - a worker's letter box: any thread posts, the owner drains.
 *
 * Lock-free: posting is one exchange in a loop; only a post into an empty box
 * wakes the owner (one write to an eventfd).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_MBOX_H
#define PGWEIR_IO_MBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "conf/err.h"

struct worker;

/* Embedded at the start of what is sent. The sender owns it until the post,
 * the receiver afterwards; deliver() runs on the receiver's thread and ends or
 * keeps it. */
struct letter {
	struct letter *next;
	void (*deliver)(struct worker *w, struct letter *l);
};

struct mbox {
	_Atomic(struct letter *) head;
	int fd;                        /* wake_new(): readable when not empty */
};

MUST_CHECK int mbox_init(struct mbox *m);
void mbox_close(struct mbox *m);
/* Any thread. */
void mbox_post(struct mbox *m, struct letter *l);
/* Owner: all letters in the order of their posts, linked by next. Resets the
 * descriptor. */
struct letter *mbox_take(struct mbox *m);

#endif
