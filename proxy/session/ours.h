/* proxy/session/ours.h - refs of the messages that pgweir puts in (wire/owed.h).
 *
 * Simple Queries of ours are swallowed; their ref says what for. A message of
 * the client's that is refused goes out in a form that fails, so that the
 * server's transaction fails too; its ref says which error to tell instead.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SESSION_OURS_H
#define PGWEIR_SESSION_OURS_H

enum ours {
	OURS_OTHER = 0,          /* a reset, a rollback */
	OURS_SETTINGS = 1,       /* the client's settings, in front of its messages */
	OURS_SETTINGS_BEGIN,     /* ... the BEGIN of them, which they can do without */
	OURS_SETTINGS_PART,      /* ... another that is not the last */
	OURS_RESTORE,            /* settings that a RESET has undone; the client is told of them */
	OURS_QUESTION,           /* what is left behind? (session/residue.h) */
	OURS_BEGIN,              /* a BEGIN that the client has been answered already */
	OURS_REPLAY,             /* of a replay (session/replay_run.h): may fail */
	OURS_NUMBER,             /* the number of a transaction (session/outcome.h) */
	OURS_OUTCOME             /* ... and what became of it */
};

/* | enum refusal: of a Query or Bind that must fail. */
#define REF_REFUSED (1ULL << 61)

/* | what is said of a pgweir.*: a reply of our own (session/switches.h). */
#define REF_SWITCH (1ULL << 57)

/* Its client has gone: the answer is nobody's. */
#define REF_ABANDONED (1ULL << 60)

#endif
