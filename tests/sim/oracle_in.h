/* tests/sim/oracle_in.h - what the parts of the oracle share: oracle.c (the session),
 * oracle_env.c (what its engine asks), oracle_match.c (what its engine says),
 * oracle_stream.c (messages, and which errors are allowed).
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_ORACLE_IN_H
#define PGWEIR_SIM_ORACLE_IN_H

#include "engine_state.h"
#include "oracle.h"
#include "store.h"

#define NO_TXN UINT32_MAX
#define NO_ASK UINT32_MAX
#define MARKS 64u
#define ACKS 16u
#define DOUBTS 6u

/* ---- oracle_stream.c: messages ---- */

/* One message, ours or theirs, header included. */
struct msg {
	uint8_t *p;
	uint32_t len;
	unsigned number;           /* in its direction, from 1 */
	uint64_t at_us;
};

struct msgs {
	struct msg *v;
	unsigned n, cap, count;    /* count: ever */
	uint8_t *part;             /* the beginning of the next one */
	size_t part_n;
	bool broken;               /* no length can be read: what follows is one message */
};

/* Adds bytes; whole messages are then in v. */
void msgs_add(struct msgs *m, const uint8_t *p, size_t n, uint64_t at_us);
/* Forgets the first n. */
void msgs_drop(struct msgs *m, unsigned n);
void msgs_free(struct msgs *m);
/* In words, for people. */
struct shown {
	char s[360];
};
struct shown msg_show(const uint8_t *p, size_t n);
/* The text of a Query or Parse, "" if it is neither. */
const char *msg_sql(const struct msg *m);
/* Column i of a DataRow; from_end: counted from the last. */
bool row_column(const struct msg *m, unsigned i, bool from_end, const char **p, uint32_t *n);

/* What an ErrorResponse that the engine did not say by itself is. */
enum excuse {
	NO_EXCUSE = 0,
	EX_SERIALIZE,              /* of the store: at read, append, commit */
	EX_REFUSED,                /* the message was not done: cancel, no server, pins, memory */
	EX_LOST_BLOCK,             /* the server is lost in a block: nothing of it stays */
	EX_LOST_UNKNOWN,           /* ... and what was in flight may have been done */
	EX_UNKNOWN,                /* a custom setting, or the unnamed statement, that is not
				      there: known only when the engine has found it */
	EX_LIMBO,                  /* 25P02, by pgweir itself after EX_LOST_BLOCK */
	EX_FATAL                   /* the session ends here */
};

struct fields {
	const char *s, *v, *c, *m;
};
struct fields msg_fields(const uint8_t *p, size_t n);
enum excuse excuse_of(const struct oracle *o, const struct msg *m);
struct engine_error error_of(const struct msg *m);
/* There is no unnamed statement. */
bool is_no_unnamed(const struct fields *f);
/* Its first statement is COMMIT or END. */
bool sql_commits(const char *sql);

/* ---- what was asked: the journal ---- */

enum ask_kind { ASK_TROUBLE, ASK_COMMIT, ASK_READ, ASK_APPEND, ASK_LOCK, ASK_TRY, ASK_UNLOCK,
		ASK_SLEEP, ASK_PID };

struct ask {
	enum ask_kind kind;
	enum data result;
	bool yes;                  /* trouble, try_lock, unlock */
	uint32_t pid, secret;
	char *value;               /* read */
	struct engine_error err;
};

/* What was given to the engine. */
struct input {
	unsigned sent;             /* index of the client's message, or NO_ASK: own */
	uint8_t *own;
	size_t own_n;
};

enum how {
	HOW_LIVE = 0,              /* compared; answers come from the stream */
	HOW_REPLAY,                /* as before: answers come from the journal */
	HOW_GHOST,                 /* not compared; everything works: what may have happened */
	HOW_BLIND,                 /* not compared, not recorded: the rest of a message */
	HOW_MUTE,                  /* own messages */
	HOW_OFF                    /* the engine is being freed */
};

/* What is due once the engine returns. */
enum due { DUE_NOTHING = 0, DUE_CUT, DUE_DOUBT, DUE_END };

/* A setting that may be this or that. */
struct doubt {
	char name[64], was[200], may[200];
};

struct oracle {
	unsigned client;
	struct engine_conf conf;
	struct engine_env env;
	struct engine *e;
	struct history *h;
	oracle_wrong_fn *wrong;
	void *wrong_arg;
	oracle_notified_fn *notified;
	void *notified_arg;
	unsigned may;
	enum how how;
	enum due due;
	bool dead;                 /* something was wrong, or the session is over */
	bool over;                 /* no more comes */
	bool fatal;                /* its last word has been matched */
	bool logged_in;
	uint8_t *startup;
	size_t startup_n;
	uint64_t startup_us;
	struct msgs sent, got;
	unsigned sent_at, got_at;  /* first not yet played, first not yet matched */
	uint64_t now_us;           /* when the message that is played was sent */
	size_t said;               /* of the engine's buffer, looked at */
	/* journal */
	struct input *in;
	unsigned in_n, in_cap;
	struct ask *ask;
	unsigned ask_n, ask_cap, ask_at;
	unsigned target;           /* HOW_REPLAY: this one is to fail */
	struct engine_error target_err;
	unsigned last_trouble;
	bool asked;                /* trouble, in this message */
	char *value;               /* the last read's, for the engine */
	unsigned rows_ahead;       /* values given whose rows have not been matched */
	unsigned held[64];         /* session locks, by number % 64 */
	/* ParameterStatus that the engine has said and that are not yet compared */
	struct msgs told;
	/* the unit */
	char status;               /* at its beginning */
	char sent_type;            /* of the message that is played */
	bool lost_settings;            /* ... and ParameterStatus messages are not compared */
	bool lost, lost_unknown;   /* an error for a lost server came in it */
	bool exits;                /* ... for a COMMIT */
	bool limbo;                /* a block was lost and has not been left */
	bool doomed;               /* lost, and with it what the session relied on */
	char repair;               /* status that the engine must be brought to, 0: none */
	bool at_start;
	unsigned start_in, start_got, start_sent;
	bool effects;              /* the history knows something of this unit */
	/* doubts */
	struct doubt doubt[DOUBTS];
	unsigned doubts, mask;
	char first_wrong[1200];
	char names[16][64];        /* settings with a dot, seen in texts */
	unsigned names_n;
	/* history */
	unsigned txn, marks[MARKS];
	unsigned ack[ACKS], acks;
	bool loose;                /* ghost: in a block whose BEGIN may have failed */
	bool ghost_block;          /* ... which began in this unit */
	bool begun_here;           /* a block began in this unit */
	bool ready;                /* a ReadyForQuery has been matched by this message */
	bool saw_commit;           /* a Parse of COMMIT was sent */
	bool was_lost;             /* since the last status I */
	bool unnamed_doubt;        /* what was lost may have ended the unnamed statement */
	struct engine *plain;      /* never logged in: the settings of a server */
	struct engine_env deaf;
	bool refused;              /* its startup packet was not as it must be */
	struct doubt maybe[32];    /* what settings were in a transaction of unknown fate */
	unsigned maybes;
	struct doubt calm[32];     /* CockroachDB: what they were outside of a block */
	unsigned calms;
};

/* Says what is wrong, once. */
void oracle_fail(struct oracle *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- oracle_env.c ---- */

void oracle_env(struct oracle *o);
/* The engine as it was after the first n inputs; target: or at that ask, which fails
 * with target_err, and is then live. */
void oracle_rebuild(struct oracle *o, unsigned n_in, unsigned target);
void oracle_feed_own(struct oracle *o, const uint8_t *p, size_t n, enum how how);
void oracle_history_over(struct oracle *o, enum fate open, enum fate unanswered);
void asks_free(struct oracle *o);

/* ---- oracle.c ---- */

/* A setting may be this by now. */
void oracle_doubt(struct oracle *o, const char *name, const char *may);
/* A setting of the startup packet behind its RESET, in the same unit: a and b are its
 * values there and on a server that knows of no startup packet. */
bool oracle_was_reset(const struct oracle *o, const char *a, size_t na, const char *b, size_t nb);

/* ---- oracle_match.c ---- */

void match_out(void *arg, const uint8_t *p, size_t n);
/* What the engine has said and not yet sent. */
void match_said(struct oracle *o);
/* The next message that has come, NULL: none. */
const struct msg *match_next(struct oracle *o);
/* Status of the ReadyForQuery behind m, 0: it has not come. */
char match_status_behind(const struct oracle *o, const struct msg *m);
/* The stream says that the server is lost here, or the session over. */
void match_cut(struct oracle *o, const struct msg *m, enum excuse x);

#endif
