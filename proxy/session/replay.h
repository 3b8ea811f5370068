/* proxy/session/replay.h - the transaction of a client that may have to be replayed:
 * what was sent of it, and what the client was told.
 *
 * With retry = replay a transaction is armed by its BEGIN. Until it ends, each unit
 * of it that is answered leaves its messages in a log and the sum of its answer
 * (session/tally.h). The first thing that a replay could not repeat, or whose repetition
 * would do harm, disarms it until its end. session/replay_run.h is what happens when
 * a unit fails.
 *
 * Source of the rules: docs/retry.md.
 * Owner: the client. Threads: the worker's.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_REPLAY_H
#define PGWEIR_SESSION_REPLAY_H

#include "session/retry.h"
#include "session/session.h"
#include "session/tally.h"
#include "wire/replayable.h"

/* Names of one transaction that are followed; with more it is not replayed. */
#define REPLAY_NAMES 16u

enum replay_phase {
	REPLAY_ARMED = 0,        /* the client's units are logged and summed */
	REPLAY_OFF,              /* not any more, until the transaction ends */
	REPLAY_BACK,             /* the failed attempt is rolled back; the pause before the next */
	REPLAY_ELSEWHERE,        /* another server is needed */
	REPLAY_ASK,              /* ... and is asked what became of a COMMIT */
	REPLAY_DRESS,            /* ... and is given the client's settings */
	REPLAY_FIRST,            /* the unit with the BEGIN runs again, alone */
	REPLAY_REST,             /* the other units that were answered run again */
	REPLAY_GIVE_UP           /* the server is brought to where the client believes it to be */
};

struct replay_names {
	uint64_t v[REPLAY_NAMES];
	unsigned n;
};

struct replay {
	uint8_t phase;
	bool observe;            /* nothing is kept: only counted */
	bool ends;               /* a ROLLBACK was sent: what follows is not of this transaction */
	bool released;           /* a savepoint is given back in the unit under way, perhaps */
	bool nextval;            /* residue.nextval, which an error takes back */
	char *begin;             /* BEGIN that was answered here and not logged, or NULL */
	struct hold log;         /* records of the units that were answered (session/unit.h) */
	struct hold sums;        /* for each: where its records end (4 bytes), its sum */
	unsigned units;
	uint32_t records;        /* of all of them */
	struct tally tally;      /* of the unit under way */
	uint32_t notices;        /* of it, where they are not compared */
	struct replay_names savepoints, cursors; /* cursors and portals */
	unsigned open_before;    /* savepoints, when the unit began: a RELEASE may be what fails */
	struct stmt *unnamed;    /* what the log takes to be there; one reference */
	struct stmt **closed;    /* names that were closed since: what they stood for */
	unsigned closed_n;
	/* the attempt under way */
	size_t log_at, sum_at;   /* what has been sent again, and compared */
	unsigned unit_at;
	bool failed;             /* with a retryable error */
	bool differs;
	bool cancelled;
	bool due;                /* the pause is over */
	bool in_flight;          /* a unit was interrupted, and is to run when all is equal */
	bool lost;               /* because the server was lost: the error is ours */
	bool flushed;            /* the interrupted unit: its Sync has not come, its Flush has */
	/* a COMMIT whose server was lost (session/outcome.h) */
	char number[24];         /* of the transaction, "": not known */
	char began[40];          /* when its postmaster did */
	bool asks;               /* what became of it is asked for first */
	bool asked;              /* ... and was rolled back */
	bool over;               /* for its client the transaction is over, whatever comes */
	uint8_t outcome;         /* enum outcome */
	struct hold done;        /* the answer if it was committed */
	/* the interrupted unit */
	struct hold first;       /* what the client gets if nothing helps */
	uint64_t first_told;     /* behind so many bytes of the answer */
	struct pending_name *pending; /* what a lost unit was to do to names */
	char status;             /* of its ReadyForQuery */
	uint64_t told;           /* bytes of its answer that the client has */
	uint32_t notices_told;   /* where notices are not compared */
	uint8_t told_sum[TALLY_MAX];
	size_t told_len;
	bool unnamed_kept;
	struct stmt *unnamed_now; /* what the client has, while units run again */
	uint64_t unnamed_now_serial;
	unsigned attempts;
	uint64_t first_fail_us;
};

/* Is what c sends and is told now kept? */
static inline bool replay_covers(const struct client *c)
{
	return c->replay && c->replay->phase == REPLAY_ARMED && !c->replay->observe;
}
/* Is an attempt under way? Then the client's messages wait. */
static inline bool replay_runs(const struct client *c)
{
	return c->replay && c->replay->phase >= REPLAY_BACK;
}

/* c sends a text of this class (NULL: not known) to s, outside a transaction or in one.
 * true: it is part of a transaction that may be replayed. */
bool replay_takes(struct client *c, const struct server *s, const struct replayable *r);
/* Its Parse or Describe alone says nothing yet: true, when replay_takes() might. */
bool replay_might_take(const struct client *c, const struct replayable *r);
/* A BEGIN was answered here. Out of memory: it is not armed. */
void replay_lazily(struct client *c, const char *sql);
/* A portal is bound, or used: one that comes from outside the transaction disarms it. */
void replay_binds(struct client *c, const char *portal);
void replay_uses(struct client *c, const char *portal);
/* A statement's name is gone; st with its reference is taken over. false: not needed. */
bool replay_keeps(struct client *c, struct stmt *st);
/* The text of a statement that the client has closed since, NULL: none. */
const struct stmt *replay_closed(const struct client *c, uint64_t id);

/* Until the transaction ends it is not to be replayed. */
void replay_disarm(struct client *c, enum retry_verdict why);
/* The transaction is over. */
void replay_forget(struct client *c);

/* Bytes are on their way to the client: how many of them are to go (from the end), and
 * the rest is only compared. notice: a NoticeResponse. */
size_t replay_told(struct client *c, const void *p, size_t n, bool notice);
/* In the failed transaction that a replay has left, portals of the client's are not
 * there: an error that says so is written to out as the one it stands for. 0: it is
 * another. */
size_t replay_translated(const struct client *c, const uint8_t *msg, size_t n, uint8_t *out,
			 size_t cap);
/* A unit was answered well: it joins the log. status: of its ReadyForQuery. */
void replay_answered(struct client *c, char status);
/* What was interrupted has been done after all. */
void replay_success(struct client *c);
/* The next logged unit was answered again: was it the same? */
void replay_compare(struct client *c);

/* An error that may be retried has come, in a unit that is passed on as it comes: from
 * here on it is held. What has come before must have been sent. */
void replay_hold(struct client *c);
/* Less of the interrupted unit's answer has come than its client has, or other bytes. */
static inline bool replay_short(const struct client *c)
{
	return replay_covers(c) && (c->replay->differs || c->replay->tally.bytes < c->replay->told);
}

/* The interrupted unit may be run again: by its facts. */
enum retry_verdict replay_decide(const struct client *c, char status);

#endif
