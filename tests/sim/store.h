/* tests/sim/store.h - the data of the simulated cluster: lists of tags under a few
 * keys, with serializable transactions.
 *
 * Snapshot at the first read or write of a transaction, writes kept in the
 * transaction until it commits. A key that another open transaction has written is
 * waited for (DATA_WAIT); a circle of waits gives 40P01 to the one that closes it.
 * A key that was committed by another since the snapshot: 40001 at the write. At
 * COMMIT: 40001 if anything that was read has been committed anew since (so every
 * history is serializable in the order of commits). CockroachDB's dialect: the same
 * rules, its words ("restart transaction: ..."), never 40P01.
 *
 * Committed transactions are in the history for ever, also when the answer to the
 * COMMIT never arrived.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_STORE_H
#define PGWEIR_SIM_STORE_H

#include "engine.h"

#define KEYS 12u

struct store;
struct txn;

struct store *store_new(enum dialect dialect);
void store_free(struct store *s);

/* Called when a transaction that waited (in append or commit) may try again. */
typedef void store_wake_fn(void *arg);

/* t stays its own until store_commit gives DATA_OK or DATA_ERROR, or
 * store_rollback: then it is freed. */
struct txn *store_begin(struct store *s, store_wake_fn *wake, void *arg);
enum data store_read(struct txn *t, unsigned key, const char **value, struct engine_error *err);
/* After DATA_ERROR only store_rollback (or rollback_to a savepoint of before it,
 * for another error than 40001 and 40P01) helps. */
enum data store_append(struct txn *t, unsigned key, const char *tag, struct engine_error *err);
enum data store_commit(struct txn *t, struct engine_error *err);
void store_rollback(struct txn *t);
void store_savepoint(struct txn *t, unsigned depth);
void store_rollback_to(struct txn *t, unsigned depth);
/* It waits no more (its statement was cancelled). */
void store_unwait(struct txn *t);

/* The committed value of a key. Borrowed until the next commit. */
const char *store_value(const struct store *s, unsigned key);
/* Number of transactions that are open. */
unsigned store_open(const struct store *s);
/* Makes the next n statements or commits fail with 40001 (percent of them). */
void store_disturb(struct store *s, unsigned percent, uint64_t seed);

/* Session-level advisory locks: owner is any pointer, re-entrant, counted.
 * false: another one has it; then wake is called when it is free. */
bool store_lock(struct store *s, unsigned number, const void *owner, store_wake_fn *wake, void *arg);
/* Takes back a wish to be woken. */
void store_lock_forget(struct store *s, const void *owner);
bool store_unlock(struct store *s, unsigned number, const void *owner);
void store_unlock_all(struct store *s, const void *owner);
bool store_locked(const struct store *s, unsigned number);

#endif
