/* proxy/console/task.h - one command of the console under way, and the row of the table
 * that it is made by.
 *
 * Owner:   the console of its client (admin.c), and whoever holds a reference: a task
 *          that has to wait for others hands a reference to its letter, and looks at
 *          t->c when it comes back: NULL says that its client has gone.
 * Threads: the worker's that has the client, all of it but the reference in a letter's
 *          hands.
 *
 * A command's function is called once. It either writes its rows and calls task_done()
 * or task_fail() before it returns; or it returns without, and one of the two is called
 * later, in the same thread. Until then no other message of this client is looked at.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_CONSOLE_TASK_H
#define PGWEIR_CONSOLE_TASK_H

#include "console/rows.h"
#include "console/words.h"
#include "session/session.h"

struct task;

/* A row of the table (table.c). */
struct command {
	const char *words;           /* "SHOW POOLS": upper case, one blank between two */
	/* What may stand behind: "" nothing, "q" 'a string', "n" a name, quoted or not (in
	 * lower case if not), "n?" the same or nothing, "*" anything: run looks at it. */
	const char *args;
	const char *usage;           /* as SHOW HELP says it */
	const char *help;            /* one sentence; NULL: not for people */
	bool admin;                  /* users of admin_users only; else stats_users too */
	const struct column *columns;    /* NULL: it gives no rows */
	const char *tag;             /* of its CommandComplete */
	void (*run)(struct task *t);
};

enum task_state { TASK_RUNS = 0, TASK_DONE, TASK_FAILED };

struct task {
	struct client *c;            /* NULL: gone, nobody is to be told anything */
	struct hall *h;              /* its worker's */
	const struct command *cmd;
	struct words words;
	unsigned args_at;            /* the first word that is an argument */
	struct rows rows;            /* what the client has not been sent yet */
	/* For those that make their rows in pieces, so that nobody is held up: called when
	 * all rows so far have been sent, and more are wanted, not more than once in a turn
	 * of the loop. It adds some (or none yet), ends the task, or sets `waits`. May be
	 * NULL. */
	void (*more)(struct task *t);
	bool waits;                  /* set by the command: task_wake() will be called */
	/* Its client has gone (t->c is NULL) or has asked for an end by a CancelRequest:
	 * called once, and what goes on for it should end. After a cancel it calls
	 * task_fail(); without `stop` a cancel changes nothing. May be NULL. */
	void (*stop)(struct task *t);
	void *own;                   /* the command's; it frees it */
	/* ---- of task.c and admin.c ---- */
	enum task_state state;
	unsigned refs;
	char tag[64];
	uint8_t error[1800];         /* an ErrorResponse */
	size_t error_len;
	void (*woken)(struct task *t);
};

/* NULL: out of memory. One reference. */
struct task *task_new(struct client *c, const struct command *cmd, const struct words *w,
		      unsigned args_at, uint64_t binary);
void task_hold(struct task *t);
void task_put(struct task *t);

/* Arguments. NULL: there is no such one. */
const char *task_arg(const struct task *t, unsigned i);
static inline unsigned task_args(const struct task *t)
{
	return t->words.n - t->args_at;
}

/* It is over. Not more than once. */
void task_done(struct task *t);
void task_done_as(struct task *t, const char *tag);     /* with a tag of its own */
void task_fail(struct task *t, const char *sqlstate, const char *message, const char *detail,
	       const char *hint);
/* 42601 with the command's usage as HINT. */
void task_misused(struct task *t, const char *message);
/* For `stop` after a cancel: 57014. Nothing when the client has gone. */
void task_cancelled(struct task *t);
/* Something by the way; the task goes on. */
void task_notice(struct task *t, const char *message, const char *detail, const char *hint);
/* t->rows has rows that another letter has brought: they can be sent. */
void task_wake(struct task *t);

#endif
