/* proxy/top/sample.h - what `pgweir top` knows of a daemon at one moment: the answers of
 * its console as numbers. Columns and commands that a daemon does not have are left out,
 * so that an older one, and PgBouncer, can be looked at too.
 *
 * Owner:   who made it (zeroed), until sample_free(). Threads: one.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_TOP_SAMPLE_H
#define PGWEIR_TOP_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "conf/err.h"

/* More rows than this are counted, not shown. */
#define TOP_ROWS_MAX 2000u
#define TOP_NAME_MAX 128u

/* Numbers that a daemon did not tell. */
#define TOP_UNKNOWN UINT64_MAX

struct top_node {
	char name[TOP_NAME_MAX];
	char state[24], role[24], zone[32];
	char error[TOP_NAME_MAX];    /* the last one, "": none */
	uint64_t conns, latency_us, lag_us, fails;
};

struct top_pool {
	char db[TOP_NAME_MAX], user[TOP_NAME_MAX];
	uint64_t clients, waiting, used, idle, max, maxwait_us;
};

/* Counters since the daemon's start: X(id, its name in SHOW COUNTERS and SHOW RETRIES, its
 * column in SHOW STATS, which leaves the console out and goes first). */
#define TOP_COUNTERS(X)                                                        \
	X(TOP_QUERIES, "queries", "total_query_count")                         \
	X(TOP_XACTS, "xacts", "total_xact_count")                              \
	X(TOP_IN, "received_bytes", "total_received")                          \
	X(TOP_OUT, "sent_bytes", "total_sent")                                 \
	X(TOP_ERRORS, "", "total_errors")                                      \
	X(TOP_WAITS, "waits", "total_waits")                                   \
	X(TOP_WAIT_US, "wait_us", "total_wait_time")                           \
	X(TOP_WAIT_TIMEOUTS, "wait_timeouts", "total_wait_timeouts")           \
	X(TOP_RETRY_OK, "retry_ok", "total_retry_ok")                          \
	X(TOP_REPLAY_OK, "replay_ok", "total_replay_ok")                      \
	X(TOP_MOVED, "moved", "")                                              \
	X(TOP_RETRY_SEEN, "retry_seen", "")                                    \
	X(TOP_EXHAUSTED, "retry_exhausted", "")                                \
	X(TOP_GAVE_UP, "replay_gave_up", "")                                   \
	X(TOP_LOGIN_FAILURES, "client_login_failures", "")                     \
	X(TOP_CONNECT_FAILURES, "server_connect_failures", "")                 \
	X(TOP_LOST, "server_lost", "")

enum top_counter {
#define X(id, ours, theirs) id,
	TOP_COUNTERS(X)
#undef X
	TOP_COUNTER_N
};

struct top_sample {
	uint64_t at_us;              /* when its last answer came, monotonic */
	struct top_node *nodes;
	size_t node_n, node_all;     /* shown; there are */
	struct top_pool *pools;
	size_t pool_n, pool_all;
	uint64_t counter[TOP_COUNTER_N]; /* or TOP_UNKNOWN */
	uint64_t wait_p99_us, query_p99_us, xact_p99_us; /* or TOP_UNKNOWN */
	uint64_t clients, servers;   /* SHOW LISTS, or TOP_UNKNOWN */
};

/* The questions, in order; what some daemons do not know may fail. */
enum top_ask {
	TOP_ASK_NODES = 0,
	TOP_ASK_POOLS,
	TOP_ASK_STATS,
	TOP_ASK_COUNTERS,
	TOP_ASK_RETRIES,
	TOP_ASK_HISTOGRAMS,
	TOP_ASK_LISTS,
	TOP_ASK_N
};
const char *top_ask_sql(enum top_ask a);

/* Everything unknown, nothing there; what was is freed. */
void sample_clear(struct top_sample *s);
void sample_free(struct top_sample *s);
/* Takes the rows of an answer; the columns may be any. -1: out of memory. */
MUST_CHECK int sample_take(struct top_sample *s, enum top_ask a, const PGresult *r);
/* A copy. -1: out of memory, to is clear then. */
MUST_CHECK int sample_copy(struct top_sample *to, const struct top_sample *from);

/* What went on from a to b: of a counter, -1: unknown, or the daemon is another one. */
double sample_rate(const struct top_sample *a, const struct top_sample *b, enum top_counter c);
/* Mean of what clients waited, in us; -1: unknown. */
double sample_mean_wait_us(const struct top_sample *a, const struct top_sample *b);

#endif
