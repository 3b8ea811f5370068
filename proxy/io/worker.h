/* proxy/io/worker.h - one event loop: its clock, its deadlines, its letter box,
 * its free buffers and its grave.
 *
 * Owner:   struct daemon's array. Threads: its own thread only, except where a
 *          function says otherwise.
 *
 * What it asks of the kernel goes through kernel.h.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_IO_WORKER_H
#define PGWEIR_IO_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/list.h"
#include "conf/log.h"
#include "io/kernel.h"
#include "io/mbox.h"
#include "io/tls_sessions.h"

#define BUF_SIZE 16384u              /* of a buffer with its header */
#define BUF_SPARE_MAX 256u           /* kept per worker */
#define DEADLINE_KINDS 16u

/* Bytes on their way. data[start..end) is what is there. */
struct buf {
	struct buf *next;
	uint32_t start, end, cap;
	uint8_t data[];
};
#define BUF_CAP (BUF_SIZE - sizeof(struct buf))

/* One thing that must happen by a time. Deadlines of a kind have nearly the
 * same length, so they are kept in order at hardly any cost, and only the
 * heads are looked at. */
struct deadline {
	struct link link;
	uint64_t at_us;
	void (*fire)(struct deadline *d);
};

/* What is freed at the end of the turn: nobody up the stack may be left
 * holding air. */
struct corpse {
	struct corpse *next;
	void (*bury)(struct corpse *c);
};

struct worker {
	unsigned id;
	struct event_base *base;
	uint64_t now_us;             /* monotonic; of the event being handled */
	uint64_t turn;               /* loop turns so far */
	struct mbox mbox;
	struct watch mbox_watch, alarm;
	uint64_t alarm_at;           /* what the alarm is set to, 0 = not set */
	struct link deadlines[DEADLINE_KINDS];
	struct corpse *grave;
	struct buf *spare;
	unsigned spare_n;
	size_t buf_bytes;            /* handed out */
	uint64_t rng[2];
	uint8_t chance[512];         /* of random_secret(), used from the end */
	uint32_t chance_n;
	struct log log;
	struct log_ctx log_ctx;
	bool done;                   /* the loop ends after this turn */
	struct link again;           /* streams to be told in the next turn */
	uint64_t heavy_us;           /* spent on heavy work in this turn */
	struct tls_sessions tls_sessions;
	_Atomic unsigned load;       /* clients; read by the accepting thread */
	_Atomic uint64_t alive_us;   /* last turn; read by the watchdog */
	void (*turn_end)(struct worker *w);  /* the owner's, at the end of each turn */
	void *owner;
};

/* log: where to write (fd, level); the rate table is the worker's own. */
MUST_CHECK int worker_init(struct worker *w, unsigned id, const struct log *log, void *owner,
			   void (*turn_end)(struct worker *w), struct err *e);
void worker_free(struct worker *w);
/* Runs until done. */
void worker_run(struct worker *w);
/* What is done once all that was ready has been dealt with: deadlines, the owner's
 * turn_end, the grave. For worker_run, and for who turns the loop himself. */
void worker_turn(struct worker *w);
/* Any thread. */
void worker_post(struct worker *w, struct letter *l);

/* Reads the clock anew; every event handler begins with it. */
uint64_t worker_clock(struct worker *w);

/* Sets or moves a deadline; at_us is absolute. fire must be set. */
void deadline_set(struct worker *w, unsigned kind, struct deadline *d, uint64_t at_us);
static inline void deadline_init(struct deadline *d, void (*fire)(struct deadline *d))
{
	list_init(&d->link);
	d->at_us = 0;
	d->fire = fire;
}
static inline void deadline_clear(struct deadline *d)
{
	list_del(&d->link);
}
static inline bool deadline_is_set(const struct deadline *d)
{
	return list_on(&d->link);
}

void worker_bury(struct worker *w, struct corpse *c, void (*bury)(struct corpse *c));

/* Told in the next turn that there is something to be read, and not in this one, where
 * others wait for theirs. */
struct again {
	struct link link;
	struct watch *watch;         /* is on then, or nothing happens */
};
void worker_again(struct worker *w, struct again *a);

/* Work that takes long and is nobody's query: handshakes, passwords. It has a share of
 * each turn, so that queries need not wait for all of it. false: not in this turn. */
bool heavy_begin(struct worker *w);
void heavy_end(struct worker *w);

/* A buffer with room for at least `want` bytes (0: the usual size); NULL when
 * out of memory. */
struct buf *buf_take(struct worker *w, size_t want);
void buf_give(struct worker *w, struct buf *b);        /* NULL is fine */

/* Not for secrets. */
uint64_t worker_random(struct worker *w);
/* random_secret(), many short ones for the price of one; n at most 512. What was given is
 * kept nowhere. */
MUST_CHECK int worker_secret(struct worker *w, void *p, size_t n);

#endif
