/* tests/sim/history.h - what the clients of a run believe to have done, and whether
 * one serial order explains it.
 *
 * Each key holds the list of tags appended to it (store.h); every tag is used once in
 * a run. So the final lists give the order of writers, and a read tells exactly which
 * writers it saw.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_HISTORY_H
#define PGWEIR_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct history;

enum fate {
	FATE_COMMITTED = 0,   /* acknowledged */
	FATE_ABORTED,         /* told that it was not done */
	FATE_UNKNOWN          /* 40003, or nothing was heard */
};

struct history *history_new(void);
void history_free(struct history *h);

/* A transaction of a client; ids are handed out. from_us: when its first message was
 * sent. */
unsigned history_begin(struct history *h, unsigned client, uint64_t from_us);
/* value: as read, the tags with a comma behind each. */
void history_read(struct history *h, unsigned txn, unsigned key, const char *value);
void history_append(struct history *h, unsigned txn, unsigned key, const char *tag);
/* Savepoints: what came since the mark was undone. */
unsigned history_mark(struct history *h, unsigned txn);
void history_undo(struct history *h, unsigned txn, unsigned mark);
void history_end(struct history *h, unsigned txn, enum fate fate, uint64_t to_us);

/* Are all of these true? value(key): the final list.
 * - tags of committed transactions are there exactly once, all of them, at the key;
 *   tags of aborted ones are not there; of unknown ones all or none, once;
 * - every tag that is there was appended by a transaction of the history;
 * - each read of a committed transaction (or an unknown one that is there) is a
 *   beginning of the final list followed by its own appends so far, and repeated reads
 *   in it agree; reads of aborted ones are beginnings of the final list and own appends;
 * - ww, wr, rw and real time (one ended before the other began) make no circle.
 * Writes the first thing that is wrong into text; true: all is well. */
bool history_check(const struct history *h, unsigned keys,
		   const char *(*value)(void *arg, unsigned key), void *arg, char *text,
		   size_t cap);
/* For the end of a run. */
void history_counts(const struct history *h, unsigned *committed, unsigned *aborted,
		    unsigned *unknown);

#endif
