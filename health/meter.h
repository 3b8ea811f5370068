/* health/meter.h - what is counted and timed of each database and of each node.
 *
 * Owner:   struct shared has the registry; a shard holds the meter of its database, a
 *          server that of its node. Threads: each worker writes its own side of a meter
 *          and nobody else does; the registry's lock is taken at logins, dials and by
 *          readers, never for a query.
 *
 * Readers (SHOW STATS, /metrics, the status page, any thread): meters_read() copies one
 * meter at a time, all workers added up; walk with i from 0 until it says false. It holds
 * the lock for some 10 us a meter and stops no writer. meters_total() is all databases in
 * one. Nothing is ever set back: counters only grow as long as pgweir runs, through reloads
 * and when pools come and go. From what is read
 *
 *   sum.stats.NAME          a counter of health/stats.h, of that database or node
 *   sum.hist[METER_QUERY]   a histogram (health/histogram.h): .n, .sum_us, hist_quantile(),
 *                           hist_upto() for the buckets of Prometheus
 *   sum.errors[i]           errors by the first two characters of their SQLSTATE,
 *                           meter_class_name(i)
 *   meter_column()          PgBouncer's totals, meter_rate() its averages
 *
 * and with `older` what there was one to two stats_periods ago: hist_sum_since(&now.hist[h],
 * &older.hist[h]) has the times of the last minutes, for a p99 of now.
 *
 * What counts of a node is: assignments, xacts, queries, received_bytes and sent_bytes (from
 * and to clients), server_parses, binds, server_connects, server_connect_failures,
 * server_closed, server_lost; its errors are what its servers said, retried or not. All else
 * counts for databases only, whose errors are what clients were told. docs/metrics.md says
 * of each number when it counts.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_METER_H
#define PGWEIR_HEALTH_METER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"
#include "health/histogram.h"
#include "health/stats.h"

enum meter_kind { METER_DB = 0, METER_NODE, METER_KINDS };

/* X(id, word, of a database, of a node) */
#define METER_HISTS(X)                                                         \
	X(METER_WAIT, "wait", "clients that waited for a server and got one",  \
	  "the same, by the node of the server that they got")                 \
	X(METER_QUERY, "query", "from the first message of a query to its ReadyForQuery", \
	  "the same, by the node that answered last")                          \
	X(METER_XACT, "transaction", "from the first message to the end of the transaction", \
	  "the same, by the node where it ended")                              \
	X(METER_LOGIN, "login", "clients, from their connection to being ready", \
	  "servers, from the dial to being ready")                             \
	X(METER_REPLAY, "replay", "from the first failure to the success, retries and replays", \
	  "the same, by the node where it succeeded")

enum meter_hist {
#define X(id, word, db, node) id,
	METER_HISTS(X)
#undef X
	METER_HIST_N
};

/* The classes of SQLSTATE that PostgreSQL and CockroachDB use; the last one is all others. */
#define METER_CLASSES(X)                                                       \
	X("00") X("01") X("02") X("03") X("08") X("09") X("0A") X("0B") X("0F") X("0L") X("0P") \
	X("0Z") X("20") X("21") X("22") X("23") X("24") X("25") X("26") X("27") X("28") X("2B") \
	X("2D") X("2F") X("34") X("38") X("39") X("3B") X("3D") X("3F") X("40") X("42") X("44") \
	X("53") X("54") X("55") X("57") X("58") X("72") X("F0") X("HV") X("P0") X("XX") X("other")

#define X(name) +1
enum { METER_CLASSES_N = 0 METER_CLASSES(X) };
#undef X

/* One worker's side. */
struct meter_side {
	_Alignas(64) struct stats stats;
	struct hist hist[METER_HIST_N];
	_Atomic uint64_t errors[METER_CLASSES_N];
};

#define METER_NAME_MAX 256u

/* A reading. */
struct meter_sum {
	char name[METER_NAME_MAX]; /* of the database as clients call it; of the node as SHOW
				      NODES does; cut where longer */
	uint64_t at_us;            /* when, monotonic; of `older`: 0 before the first period */
	struct stats_sum stats;
	struct hist_sum hist[METER_HIST_N];
	uint64_t errors[METER_CLASSES_N];
};

struct meter;

/* More names than this of a kind, and those that nobody has used for longest are
 * forgotten, and what they had counted goes to METER_OTHERS; if all are in use, the rest
 * counts there. */
#define METERS_MAX 256u
#define METER_OTHERS "(others)"
/* Clients that have not come to a database: failed logins by the class of their error. */
#define METER_LOBBY "(login)"

struct meters {
	pthread_mutex_t lock;
	unsigned worker_n;
	unsigned n[METER_KINDS];
	struct meter *slot[METER_KINDS][METERS_MAX + 1]; /* [0]: METER_OTHERS */
	struct meter_sum gone[METER_KINDS]; /* of the forgotten: part of METER_OTHERS */
	struct meter *lobby;
	uint64_t puts;             /* for "longest" */
	uint64_t older_us, newer_us;
};

/* now_us: monotonic, the beginning of the first period. -1: out of memory. */
MUST_CHECK int meters_init(struct meters *ms, unsigned worker_n, uint64_t now_us);
void meters_free(struct meters *ms);

/* The meter of this name, made if there is none; one reference more. Out of memory: the
 * one of METER_OTHERS, so it is never NULL. Any thread. */
struct meter *meters_get(struct meters *ms, enum meter_kind kind, const char *name);
/* One reference less; NULL is fine. Any thread; this worker writes to it no more. */
void meters_put(struct meters *ms, struct meter *m);
/* Where worker i counts. */
struct meter_side *meter_side(struct meter *m, unsigned i);
/* ... what happens to a client before it has come to a database. */
struct meter_side *meters_lobby(struct meters *ms, unsigned i);

/* An error with this SQLSTATE (at least two characters, or none): where it counts. */
unsigned meter_class(const char *sqlstate);
const char *meter_class_name(unsigned i);
static inline void meter_error(struct meter_side *m, unsigned class)
{
	HIST_BUMP(&m->errors[class], 1);
}

/* Reads the i-th of a kind. older: what there was at the end of the period before the last
 * one, all zero if nothing; may be NULL. Databases: METER_OTHERS is [0], METER_LOBBY none of
 * them. false: there are no more. Each has some 12 kB. Any thread. */
bool meters_read(struct meters *ms, enum meter_kind kind, unsigned i, uint64_t now_us,
		 struct meter_sum *now, struct meter_sum *older);
/* Clients that were refused before they came to a database. */
void meters_read_lobby(struct meters *ms, struct meter_sum *now);
/* All databases in one (named ""), both as above. */
void meters_total(struct meters *ms, uint64_t now_us, struct meter_sum *now,
		  struct meter_sum *older);
/* to begins zeroed, or as a reading. */
void meter_sum_add(struct meter_sum *to, const struct meter_sum *from);

/* A stats_period has ended. The control loop; one lock per meter. */
void meters_tick(struct meters *ms, uint64_t now_us);
/* The time that `older` of any reading speaks of. */
uint64_t meters_older_us(struct meters *ms);

/* PgBouncer's columns, in its order: X(id, word, what it is measured in) */
enum meter_unit { METER_COUNT = 0, METER_BYTES, METER_PER_XACT, METER_PER_QUERY, METER_US };
#define METER_COLUMNS(X)                                                       \
	X(METER_C_ASSIGNMENT, "server_assignment_count", METER_COUNT)          \
	X(METER_C_XACT, "xact_count", METER_COUNT)                             \
	X(METER_C_QUERY, "query_count", METER_COUNT)                           \
	X(METER_C_RECEIVED, "received", METER_BYTES)                           \
	X(METER_C_SENT, "sent", METER_BYTES)                                   \
	X(METER_C_XACT_TIME, "xact_time", METER_PER_XACT)                      \
	X(METER_C_QUERY_TIME, "query_time", METER_PER_QUERY)                   \
	X(METER_C_WAIT_TIME, "wait_time", METER_US)                            \
	X(METER_C_CLIENT_PARSE, "client_parse_count", METER_COUNT)             \
	X(METER_C_SERVER_PARSE, "server_parse_count", METER_COUNT)             \
	X(METER_C_BIND, "bind_count", METER_COUNT)                             \
	X(METER_C_LOGIN, "client_login_count", METER_COUNT)

enum meter_column {
#define X(id, word, unit) id,
	METER_COLUMNS(X)
#undef X
	METER_COLUMN_N
};

/* The total; times in us. */
uint64_t meter_column(const struct meter_sum *s, enum meter_column c);
/* As PgBouncer's averages: xact_time and query_time for each of them, all else for a second,
 * from older (at older_us) to now (now->at_us). */
uint64_t meter_rate(const struct meter_sum *now, const struct meter_sum *older,
		    uint64_t older_us, enum meter_column c);

const char *meter_hist_name(enum meter_hist h);

#endif
