/* proxy/console/task.c - see task.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/step.h"
#include "wire/wire.h"

struct task *task_new(struct client *c, const struct command *cmd, const struct words *w,
		      unsigned args_at, uint64_t binary)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->c = c;
	t->h = c->h;
	t->cmd = cmd;
	t->words = *w;
	t->args_at = args_at;
	t->refs = 1;
	rows_init(&t->rows, cmd->columns, binary);
	return t;
}

void task_hold(struct task *t)
{
	t->refs++;
}

void task_put(struct task *t)
{
	if (!t || --t->refs)
		return;
	rows_free(&t->rows);
	free(t);
}

const char *task_arg(const struct task *t, unsigned i)
{
	return i < task_args(t) ? words_at(&t->words, t->args_at + i) : NULL;
}

void task_wake(struct task *t)
{
	t->waits = false;
	if (t->woken)
		t->woken(t);
}

void task_done_as(struct task *t, const char *tag)
{
	if (t->rows.bad) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
		return;
	}
	(void)snprintf(t->tag, sizeof(t->tag), "%s", tag);
	t->state = TASK_DONE;
	task_wake(t);
}

void task_done(struct task *t)
{
	task_done_as(t, t->cmd->tag);
}

void task_fail(struct task *t, const char *sqlstate, const char *message, const char *detail,
	       const char *hint)
{
	struct wire_error e = { "ERROR", sqlstate, message, detail, hint, NULL };
	struct wire_put w = wire_put_to(t->error, sizeof(t->error));

	wire_put_error(&w, 'E', &e);
	t->error_len = w.len;
	t->state = TASK_FAILED;
	task_wake(t);
}

void task_misused(struct task *t, const char *message)
{
	char hint[200];

	(void)snprintf(hint, sizeof(hint), "Usage: %s", t->cmd->usage);
	task_fail(t, "42601", message, NULL, hint);
}

void task_cancelled(struct task *t)
{
	if (t->c)
		task_fail(t, "57014", "canceling statement due to user request", NULL, NULL);
}

void task_notice(struct task *t, const char *message, const char *detail, const char *hint)
{
	struct wire_error e = { "NOTICE", "00000", message, detail, hint, NULL };
	uint8_t b[2048];
	struct wire_put w = wire_put_to(b, sizeof(b));

	if (!t->c)
		return;
	wire_put_error(&w, 'N', &e);
	say(t->c, b, w.len);
}
