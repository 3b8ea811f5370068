/* pool/counts.h - how many clients each database and each user has, over all workers.
 *
 * Owner:   struct hubs. Threads: any; its mutex is taken at logins and at the ends of
 *          sessions only, never for a query.
 *
 * The bound is the taker's: it comes with each take, so that a reload needs no walk. A
 * count is there exactly as long as it is not zero.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_POOL_COUNTS_H
#define PGWEIR_POOL_COUNTS_H

#include <pthread.h>
#include <stddef.h>

#include "conf/err.h"

enum count_kind { COUNT_DB = 0, COUNT_USER, COUNT_KINDS };

struct count;

#define COUNT_BUCKETS 256u

struct counts {
	pthread_mutex_t lock;
	struct count *bucket[COUNT_BUCKETS];
	size_t n;                    /* names that are counted */
};

MUST_CHECK int counts_init(struct counts *cs);
void counts_free(struct counts *cs);

enum count_take { COUNT_OK = 0, COUNT_FULL, COUNT_NO_MEMORY };

/* One more of this name, if fewer than max (0: no limit) are there. */
enum count_take counts_take(struct counts *cs, enum count_kind kind, const char *name, int max,
			    struct count **out);
/* One less; NULL is fine. */
void counts_give(struct counts *cs, struct count *c);
int counts_used(struct counts *cs, enum count_kind kind, const char *name);

#endif
