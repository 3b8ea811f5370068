/* proxy/console/orders.c - see orders.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/orders.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "console/driver.h"
#include "console/sockets.h"

/* Back from the control loop. */
static void on_answer(struct worker *w, struct letter *l)
{
	struct order *o = LIST_ITEM(l, struct order, l);
	struct task *t = o->own;
	char tag[64];

	(void)w;
	(void)snprintf(tag, sizeof(tag), "SET %.20s=%.36s", o->arg, o->value);
	t->stop = NULL;
	t->own = NULL;
	if (t->c && *o->sqlstate)
		task_fail(t, o->sqlstate, o->message, NULL, *o->hint ? o->hint : NULL);
	else if (t->c)
		task_done_as(t, o->what == OP_SET ? tag : t->cmd->tag);
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

/* arg, value: NULL, none. */
static void post(struct task *t, enum order_what what, const char *arg, const char *value,
		 uint64_t number)
{
	struct shared *sh = t->c->h->sh;
	struct order *o = calloc(1, sizeof(*o));

	if (!o) {
		task_fail(t, "53200", "out of memory", NULL, NULL);
		return;
	}
	o->what = what;
	(void)snprintf(o->value, sizeof(o->value), "%s", value ? value : "");
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

static void order(struct task *t, enum order_what what, const char *arg, uint64_t number)
{
	post(t, what, arg, NULL, number);
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

/* What drivers set at their start is taken; the rest are settings of pgweir: name = value or
 * name TO value, where commas join words. */
static void run_set(struct task *t)
{
	char value[ORDER_ARG_MAX] = "", name[ORDER_ARG_MAX];
	size_t n = 0;
	unsigned i;

	if (driver_takes_set(t)) {
		task_done_as(t, "SET");
		return;
	}
	if (task_args(t) < 3 || (strcmp(task_arg(t, 1), "=") != 0 && strcasecmp(task_arg(t, 1), "TO") != 0)) {
		task_misused(t, "this is not how SET is used");
		return;
	}
	if (!t->c->console_admin) {
		task_fail(t, "42501", "only users of admin_users may do this", NULL, NULL);
		return;
	}
	for (i = 2; i < task_args(t) && n < sizeof(value); i++)
		n += (size_t)snprintf(value + n, sizeof(value) - n, "%s", task_arg(t, i));
	if (n >= sizeof(value)) {
		task_fail(t, "22001", "the value is too long", NULL, NULL);
		return;
	}
	for (i = 0; i + 1 < sizeof(name) && task_arg(t, 0)[i]; i++)
		name[i] = (char)tolower((unsigned char)task_arg(t, 0)[i]);
	name[i] = 0;
	post(t, OP_SET, name, value, 0);
}

static void run_drain(struct task *t)
{
	order(t, OP_DRAIN, task_arg(t, 0), 0);
}

static void run_suspend(struct task *t)
{
	task_fail(t, "0A000", "there is no SUSPEND: pgweir hands its sockets over by itself",
		  "PgBouncer's -R needs it to take over sockets that nobody reads from.",
		  "pgweir --reboot takes over from this process; PAUSE holds queries back.");
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
	{ "SET", "*", "SET NAME = VALUE",
	  "changes a setting until the next reload, for admin_users; what drivers set is taken from all",
	  false, NULL, "SET", run_set },
	{ "DRAIN NODE", "q", "DRAIN NODE 'NAME'",
	  "as EXCLUDE NODE, and answers when no server connection there is left", true, NULL, "DRAIN",
	  run_drain },
	{ "SUSPEND", "", "SUSPEND", NULL, true, NULL, "SUSPEND", run_suspend },
	{ "SHUTDOWN", "n?", "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
	  "ends pgweir: at once, when no server is in use, or when all clients have left", true, NULL,
	  "SHUTDOWN", run_shutdown },
	{ 0 },
};
