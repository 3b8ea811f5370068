/* proxy/console/orders.c - see orders.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "console/sockets.h"

/* Back from the control loop. */
static void on_answer(struct worker *w, struct letter *l)
{
	struct order *o = LIST_ITEM(l, struct order, l);
	struct task *t = o->own;

	(void)w;
	t->stop = NULL;
	t->own = NULL;
	if (t->c && *o->sqlstate)
		task_fail(t, o->sqlstate, o->message, NULL, *o->hint ? o->hint : NULL);
	else if (t->c)
		task_done(t);
	task_put(t);
	free(o);
}

static void on_end_answered(struct worker *w, struct letter *l)
{
	(void)w;
	free(LIST_ITEM(l, struct order, l));
}

/* Its client has gone or asks for an end of it. Without memory it goes on. */
static void stop(struct task *t)
{
	struct order *o = t->own, *end = calloc(1, sizeof(*end));

	if (!end)
		return;
	end->what = OP_END;
	end->id = o->id;
	end->gone = t->c == NULL;
	end->from = o->from;
	end->answer = on_end_answered;
	o->sh->order(o->sh, end);
}

/* arg: NULL, none. */
static void order(struct task *t, enum order_what what, const char *arg, uint64_t number)
{
	struct shared *sh = t->c->h->sh;
	struct order *o = calloc(1, sizeof(*o));

	if (!o) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
		return;
	}
	o->what = what;
	o->id = atomic_fetch_add(&sh->order_ids, 1) + 1;
	o->number = number;
	(void)snprintf(o->arg, sizeof(o->arg), "%s", arg ? arg : "");
	o->from = &t->c->h->w;
	o->sh = sh;
	o->answer = on_answer;
	o->own = t;
	t->own = o;
	t->stop = stop;
	task_hold(t);
	sh->order(sh, o);
}

static void run_pause(struct task *t)
{
	order(t, OP_PAUSE, task_arg(t, 0), 0);
}

static void run_resume(struct task *t)
{
	order(t, OP_RESUME, task_arg(t, 0), 0);
}

static void run_disable(struct task *t)
{
	order(t, OP_DISABLE, task_arg(t, 0), 0);
}

static void run_enable(struct task *t)
{
	order(t, OP_ENABLE, task_arg(t, 0), 0);
}

static void run_reconnect(struct task *t)
{
	order(t, OP_RECONNECT, task_arg(t, 0), 0);
}

static void run_wait_close(struct task *t)
{
	order(t, OP_WAIT_CLOSE, task_arg(t, 0), 0);
}

static void run_kill(struct task *t)
{
	order(t, OP_KILL, task_arg(t, 0), 0);
}

static void run_reload(struct task *t)
{
	order(t, OP_RELOAD, NULL, 0);
}

/* The column id of SHOW CLIENTS, or 0x... as its column ptr has it. */
static void run_kill_client(struct task *t)
{
	const char *text = task_arg(t, 0);
	unsigned long long id = 0;
	char *end = NULL;

	errno = 0;
	if (text && task_args(t) == 1)
		id = strtoull(text, &end, 0);
	if (!end || errno || *end || end == text || *text == '-')
		task_misused(t, "a client's id is a number: see SHOW CLIENTS");
	else
		order(t, OP_KILL_CLIENT, NULL,
		      strncasecmp(text, "0x", 2) == 0 ? id : socket_client_of(t->h->sh, id));
}

static void run_shutdown(struct task *t)
{
	const char *how = task_arg(t, 0);

	if (!how)
		order(t, OP_SHUTDOWN, NULL, 0);
	else if (strcmp(how, "wait_for_servers") == 0)
		order(t, OP_SHUTDOWN_SERVERS, NULL, 0);
	else if (strcmp(how, "wait_for_clients") == 0)
		order(t, OP_SHUTDOWN_CLIENTS, NULL, 0);
	else
		task_misused(t, "SHUTDOWN waits for WAIT_FOR_SERVERS, for WAIT_FOR_CLIENTS, or for nothing");
}

const struct command order_commands[] = {
	{ "PAUSE", "n?", "PAUSE [db]",
	  "servers are closed when they come free, nobody gets another; answers when none is left",
	  true, NULL, "PAUSE", run_pause },
	{ "RESUME", "n?", "RESUME [db]", "the end of PAUSE or KILL", true, NULL, "RESUME",
	  run_resume },
	{ "DISABLE", "n", "DISABLE db", "no new client of this database is let in", true, NULL,
	  "DISABLE", run_disable },
	{ "ENABLE", "n", "ENABLE db", "the end of DISABLE", true, NULL, "ENABLE", run_enable },
	{ "RECONNECT", "n?", "RECONNECT [db]",
	  "each server connection of now is closed as soon as it is free", true, NULL, "RECONNECT",
	  run_reconnect },
	{ "WAIT_CLOSE", "n?", "WAIT_CLOSE [db]",
	  "answers when no server connection is left that is to be closed", true, NULL, "WAIT_CLOSE",
	  run_wait_close },
	{ "KILL", "n?", "KILL [db]", "ends clients and servers at once; then as PAUSE", true, NULL,
	  "KILL", run_kill },
	{ "KILL_CLIENT", "*", "KILL_CLIENT id", "ends one client", true, NULL, "KILL_CLIENT",
	  run_kill_client },
	{ "RELOAD", "", "RELOAD", "reads the configuration again; answers when it is in force", true,
	  NULL, "RELOAD", run_reload },
	{ "SHUTDOWN", "n?", "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
	  "ends pgweir: at once, when no server is in use, or when all clients have left", true, NULL,
	  "SHUTDOWN", run_shutdown },
	{ 0 },
};
