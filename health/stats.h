/* health/stats.h - counters: one writer per worker, summed by readers.
 *
 * Owner:   each worker has one. Threads: the worker adds, any thread reads
 *          (relaxed atomics: each number is right, their sum nearly).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_HEALTH_STATS_H
#define PGWEIR_HEALTH_STATS_H

#include <stdatomic.h>
#include <stdint.h>

/* X(name, what it counts) */
#define STATS_LIST(X)                                                          \
	X(client_logins, "clients that logged in")                             \
	X(client_login_failures, "clients that were refused")                  \
	X(client_logins_throttled, "... of these because logins from there had failed before") \
	X(client_logins_shed, "clients closed because of max_client_logins")   \
	X(client_closed, "clients that went")                                  \
	X(server_connects, "server connections that logged in")                \
	X(server_connect_failures, "attempts to connect or log in that failed") \
	X(server_closed, "server connections closed")                          \
	X(server_lost, "server connections lost while in use")                 \
	X(server_handovers, "server connections handed to another worker")     \
	X(assignments, "servers given to clients")                             \
	X(xacts, "transactions")                                               \
	X(queries, "ReadyForQuery messages passed to clients")                 \
	X(received_bytes, "bytes from clients")                                \
	X(sent_bytes, "bytes to clients")                                      \
	X(waits, "times a client waited for a server")                         \
	X(wait_us, "time clients waited for a server")                         \
	X(wait_timeouts, "waits that ended in query_wait_timeout")             \
	X(cancels, "cancel requests delivered")                                \
	X(cancels_ignored, "cancel requests for nothing that runs")            \
	X(parses, "Parse messages of clients")                                 \
	X(server_parses, "Parse messages sent to servers")                     \
	X(binds, "Bind messages")                                              \
	X(lazy_begins, "BEGINs answered without a server")                     \
	X(questions, "times a server was asked what a transaction left behind") \
	X(pins, "times a client was bound to its server")                      \
	X(pin_refusals, "statements refused because of pin or max_pinned_servers") \
	X(moved, "units that began anew elsewhere because their server was leaving") \
	X(recovered, "servers kept although their client left in the middle")  \
	X(reprepared, "units sent again with statements prepared anew")        \
	X(retry_seen, "retryable errors seen")                                 \
	X(retry_eligible, "of those: could have been retried")                 \
	X(retried, "units sent again")                                  \
	X(retry_ok, "units that succeeded after a retry")                      \
	X(retry_exhausted, "units given up after the last attempt or time")    \
	X(retry_cancelled, "units given up because the client cancelled")      \
	X(retry_time_us, "time added by retries that succeeded")               \
	X(refused_status, "not retried: transaction status not as required")   \
	X(refused_class, "not retried: statement not of a retryable class")    \
	X(refused_txn, "not retried: inside an explicit transaction")          \
	X(refused_started, "not retried: part of the answer was passed on")    \
	X(refused_pipelined, "not retried: a later unit was already sent")     \
	X(refused_complete, "not retried: a statement of the unit was complete") \
	X(refused_severity, "not retried: the session ended with the error")   \
	X(refused_memory, "not retried: no memory left for holding")           \
	X(refused_savepoint, "not replayed: a savepoint was open")             \
	X(replay_begun, "replays of a transaction begun, each attempt")        \
	X(replay_ok, "transactions that went on after a replay")               \
	X(replay_ok_1, "... of these after one attempt")                       \
	X(replay_ok_2, "... after two")                                        \
	X(replay_ok_3_5, "... after three to five")                            \
	X(replay_ok_6_10, "... after six to ten")                              \
	X(replay_ok_more, "... after more")                                    \
	X(replay_mismatch, "replays in which something came out otherwise")    \
	X(replay_exhausted, "transactions given up after the last attempt or time") \
	X(replay_cancelled, "transactions given up because the client cancelled") \
	X(replay_lost, "replays begun because the server was lost")            \
	X(retry_commits_found, "COMMITs whose server was lost and that had been done") \
	X(replay_gave_up, "transactions whose replay was given up, for any reason") \
	X(replay_time_us, "time added by replays that succeeded")              \
	X(refused_session, "not retried: switched off for the session")

struct stats {
#define X(name, help) _Atomic uint64_t name;
	STATS_LIST(X)
#undef X
};

/* Of several, added up (health/meter.h). */
struct stats_sum {
#define X(name, help) uint64_t name;
	STATS_LIST(X)
#undef X
};

/* Only the owner adds, so no locked instruction is needed. */
#define STAT_ADD(st, name, n)                                                  \
	atomic_store_explicit(&(st)->name,                                     \
			      atomic_load_explicit(&(st)->name, memory_order_relaxed) +  \
				      (uint64_t)(n),                           \
			      memory_order_relaxed)
#define STAT_INC(st, name) STAT_ADD(st, name, 1)
#define STAT_GET(st, name) atomic_load_explicit(&(st)->name, memory_order_relaxed)

#endif
