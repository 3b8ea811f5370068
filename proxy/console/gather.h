/* proxy/console/gather.h - rows about what only a worker may look at, from all of them.
 *
 * One letter goes from worker to worker, brings some rows home, and goes again when these
 * have been sent: no worker is held up for longer than a piece takes, and no more than a
 * piece is in memory, however slowly the client reads. What is there all the time comes
 * once; what comes or goes meanwhile may be among the rows or not.
 *
 * Threads: the worker's that has the client; the function that looks: each worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_GATHER_H
#define PGWEIR_CONSOLE_GATHER_H

#include "console/task.h"

/* Rows of a piece: some 200 us. */
#define GATHER_ROWS 64u

struct gather;

/* In the thread of h: adds about GATHER_ROWS rows to g->rows, and notes in g where it goes
 * on. true: h has no more. */
typedef bool gather_fn(struct hall *h, struct gather *g);

struct gather {
	struct letter l;
	struct task *t;              /* home's to look at; NULL: nobody waits any more */
	struct hall *home;
	gather_fn *fn;
	/* When the last worker has answered, at home: may add rows. May be NULL. */
	void (*last)(struct task *t, struct gather *g);
	int what;                    /* for fn, all of these */
	unsigned bucket;             /* where it goes on; 0 in a new hall, both */
	uint64_t place;
	uint64_t sum[4];             /* 0 at first */
	struct rows rows;
	unsigned at;                 /* the hall it is in */
	bool end;                    /* which has no more */
};

/* For a command's run. The task ends by itself. */
void gather(struct task *t, gather_fn *fn, int what,
	    void (*last)(struct task *t, struct gather *g));

#endif
