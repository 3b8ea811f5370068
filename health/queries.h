/* health/queries.h - which statements run, how often and how long: a bounded table of
 * fingerprints (wire/fingerprint.h), one for each worker.
 *
 * Owner:   struct hall. Threads: its worker writes; any reads. Counters are relaxed
 *          atomics; the mutex guards which statement a slot is of and its text. The worker
 *          never waits for it: while a reader copies a slot, a statement that is new counts
 *          with the others.
 *
 * The table is of sets of eight slots; a fingerprint belongs to one set. When its set is
 * full, a new one takes the place of a slot that has nothing left: each use earns one, up to
 * QUERIES_EARN, and who finds no place takes one from the slot that has least, and counts
 * with the others this time. So what runs often stays, what was frequent yesterday goes, and
 * a flood of texts that come once takes places from each other. What a slot had counted when
 * it goes is added to `others`.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_QUERIES_H
#define PGWEIR_HEALTH_QUERIES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "health/histogram.h"

#define QUERIES_WAYS 8u          /* slots of a set */
#define QUERIES_EARN 1000u
#define QUERIES_TEXT 256u        /* of a normalized text, with its zero */

struct query_slot {
	_Atomic uint64_t print;        /* 0: free */
	_Atomic uint64_t errors;
	_Atomic uint32_t earned;
	struct hist took;
	char text[QUERIES_TEXT];       /* "": not known */
};

struct queries {
	struct query_slot *slot;       /* NULL: off */
	unsigned n;                    /* a multiple of QUERIES_WAYS */
	uint32_t chance;
	struct query_slot others;
	pthread_mutex_t lock;
};

/* A reading; to be zeroed first, or of one statement from several tables. */
struct query_sum {
	uint64_t print;
	uint64_t errors;
	struct hist_sum took;          /* .n: how often */
	char text[QUERIES_TEXT];
};

/* slots: rounded up to whole sets; 0: off, and nothing is allocated. -1: out of memory. */
MUST_CHECK int queries_init(struct queries *q, unsigned slots);
void queries_free(struct queries *q);

/* One more of this fingerprint (not 0). The worker. */
void queries_add(struct queries *q, uint64_t print, uint64_t us, bool error);
/* Has it a slot (it is given one) and no text yet? The worker. */
bool queries_wants_text(struct queries *q, uint64_t print);
void queries_text(struct queries *q, uint64_t print, const char *text);
/* The text of a slot, or NULL. The worker. */
const char *queries_text_of(const struct queries *q, uint64_t print);

/* Adds slot i to what is there and says whose it is; i == n: the others, print 0. false: the
 * slot is free, or of another statement than to->print where that is not 0, or there is no
 * such one. Any thread. */
bool queries_read(struct queries *q, unsigned i, struct query_sum *to);
/* The slot of a fingerprint, -1: it has none (now). Any thread. */
int queries_find(const struct queries *q, uint64_t print);

#endif
