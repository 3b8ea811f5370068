/* proxy/wire/owed.h - the replies a server still owes.
 *
 * Pure. One struct owed per server connection; its worker's thread.
 * Source: PostgreSQL manual 55.2.3 (Extended Query), 55.2.4 (Pipelining),
 * 55.2.6 (COPY); the skipping rules were read off a running server.
 *
 * Each frontend message that is owed an answer makes one entry; each backend
 * message settles the front. So it is known for every backend message whether
 * it answers the client (forward) or something pgweir put in (swallow), and the
 * server is free exactly when nothing is owed after a ReadyForQuery.
 *
 * What makes it more than a counter:
 *  - a ReadyForQuery is owed by each Query, FunctionCall and Sync, and by no
 *    other message;
 *  - after an error in the extended protocol the server skips everything up to
 *    the next Sync, simple Queries included (CockroachDB: a Query ends the
 *    skipping and is answered by a ReadyForQuery of its own; and a FunctionCall
 *    is such an error);
 *  - so the error of an extended message that pgweir put in answers the client:
 *    what the client sent behind it is skipped;
 *  - Syncs that the server reads while it is in COPY IN are swallowed by it and
 *    never answered: a driver that sends Execute and Sync together, sees the
 *    CopyInResponse and ends with CopyDone and Sync is owed one
 *    ReadyForQuery. If such a COPY fails it cannot always be known how many of
 *    those Syncs the server has eaten: `unsure` says so, and such a server is
 *    not used by anybody else again.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_WIRE_OWED_H
#define PGWEIR_WIRE_OWED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/err.h"

/* More than this in flight and the sender must wait (owed_room). */
#define OWED_MAX 65536u

enum owed_kind {
	OWED_PARSE = 0,
	OWED_BIND,
	OWED_CLOSE,
	OWED_DESCRIBE_S,      /* statement: 't', then 'T' or 'n' */
	OWED_DESCRIBE_P,      /* portal: 'T' or 'n' */
	OWED_EXECUTE,
	OWED_SYNC,
	OWED_QUERY,
	OWED_FCALL,
	OWED_COPY_END,        /* CopyDone or CopyFail passed here; owed nothing */
	OWED_LOCAL,           /* a reply of our own making, due when it reaches the front */
	OWED_KIND_N
};

struct owed_entry {
	uint8_t kind;         /* enum owed_kind */
	bool swallow;
	bool before_data;     /* a Sync in front of a message of a COPY */
	uint64_t ref;         /* the caller's: which statement */
};

struct owed {
	struct owed_entry *q; /* ring, NULL until first used */
	uint32_t head, n, cap;/* cap is a power of two */
	uint32_t ready_n;     /* entries that owe a ReadyForQuery */
	bool open;            /* extended messages were sent and no Sync after them */
	bool skipping;        /* after an extended error, before the next Sync */
	bool copy_in;         /* between CopyInResponse and its end */
	bool marked;          /* before_data is up to date */
	bool unsure;          /* see above; never cleared */
	bool query_ends_skip; /* CockroachDB */
};

/* What to do with a backend message. */
enum owed_verdict {
	OWED_FORWARD = 0,
	OWED_SWALLOW,         /* answers something of ours */
	OWED_ASYNC,           /* nothing is owed: unsolicited */
	OWED_BROKEN           /* the server is out of step: close it */
};

/* Called with each entry that an error has dropped unanswered, or that was
 * answered by the error itself (failed = true), oldest first. */
typedef void owed_drop_fn(void *arg, const struct owed_entry *e, bool failed);

static inline bool owed_nothing(const struct owed *o)
{
	return o->n == 0 && !o->skipping && !o->open;
}

/* The oldest entry, NULL when nothing is owed. */
static inline const struct owed_entry *owed_front(const struct owed *o)
{
	return o->n ? &o->q[o->head] : NULL;
}

static inline bool owed_room(const struct owed *o, uint32_t n)
{
	return o->n + n <= OWED_MAX;
}

/* A frontend message goes to the server. type is its type byte; what is the
 * first body byte of a Describe ('S' or 'P'). Messages that are owed nothing
 * make no entry. Returns 0, or -1: out of memory or over OWED_MAX (nothing has
 * changed). *live (may be NULL) is false when the server is going to skip it. */
MUST_CHECK int owed_sent(struct owed *o, char type, char what, bool swallow, uint64_t ref,
			 bool *live);

/* A reply that pgweir makes itself (a ParseComplete for a statement the server
 * has already, say) takes its place in the order. Result as owed_sent(). */
MUST_CHECK int owed_sent_local(struct owed *o, uint64_t ref, bool *live);
/* Is such a reply due? Ask after every owed_sent_local() and owed_got() until it is not. */
static inline bool owed_local_due(const struct owed *o)
{
	return o->n && o->q[o->head].kind == OWED_LOCAL;
}
/* Takes it off the front; its ref. Wants owed_local_due(). */
uint64_t owed_local_take(struct owed *o);

/* A backend message came. settled (may be NULL) receives the entry it settles,
 * kind OWED_KIND_N if none. drop may be NULL. */
enum owed_verdict owed_got(struct owed *o, char type, struct owed_entry *settled,
			   owed_drop_fn *drop, void *arg);

/* The error that is about to be settled shows that data of a COPY, or its end, has
 * been read: so have the Syncs in front of it. */
void owed_copy_line(struct owed *o);

/* In a COPY that may have eaten Syncs already. */
bool owed_copy_unsure(const struct owed *o);

/* May the server be executing something (and not only preparing)? */
bool owed_runs(const struct owed *o);

/* Is anything owed that goes on to the client? */
bool owed_forwards(const struct owed *o);

/* ReadyForQuerys that are passed on. */
uint32_t owed_readies(const struct owed *o);

/* The server reads COPY data, and the end of it has not been sent. */
bool owed_in_copy(const struct owed *o);
/* A unit of the client's (not of ours) is not answered yet. */
bool owed_unit(const struct owed *o);
/* Whoever waited for the answers has gone: all of them are swallowed. ref is
 * given to the entries that no Parse or Close made. */
void owed_abandon(struct owed *o, uint64_t ref);

/* Forgets everything (a new connection); keeps the ring. */
void owed_reset(struct owed *o);
void owed_free(struct owed *o);

#endif
