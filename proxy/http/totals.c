/* proxy/http/totals.c - see totals.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "http/totals.h"

#include <string.h>

void totals_read(struct totals *t, const struct shared *sh)
{
	unsigned i;

	memset(t, 0, sizeof(*t));
	for (i = 0; i < sh->hall_n; i++) {
#define X(name, help) t->name += STAT_GET(&sh->halls[i].stats, name);
		STATS_LIST(X)
#undef X
	}
}

uint64_t totals_absorbed(const struct totals *t)
{
	return t->retry_ok + t->replay_ok + t->moved + t->retry_commits_found;
}
