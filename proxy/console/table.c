/* proxy/console/table.c - see table.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "console/driver.h"
#include "console/nodes.h"
#include "console/orders.h"
#include "console/pools.h"
#include "console/queries.h"
#include "console/show.h"
#include "console/sockets.h"
#include "console/stats.h"

static void show_help(struct task *t);

static const struct column help_columns[] = { { "command", ROWS_TEXT }, { "who", ROWS_TEXT },
					      { "meaning", ROWS_TEXT }, { NULL, 0 } };

static const struct command help_commands[] = {
	{ "SHOW HELP", "", "SHOW HELP", "this list", false, help_columns, "SHOW", show_help },
	{ 0 },
};

static const struct command *const tables[] = {
	show_commands, stats_commands, query_commands, pool_commands, socket_commands,
	node_commands, order_commands, help_commands, driver_commands,
};
#define TABLES (sizeof(tables) / sizeof(*tables))

static void show_help(struct task *t)
{
	const struct command *c;
	size_t i;

	for (i = 0; i < TABLES; i++)
		for (c = tables[i]; c->words; c++) {
			if (!c->help)
				continue;
			rows_row(&t->rows);
			rows_text(&t->rows, c->usage);
			rows_text(&t->rows, c->admin ? "admin_users" : "stats_users");
			rows_text(&t->rows, c->help);
			rows_end_row(&t->rows);
		}
	task_done(t);
}

static const struct command *longest(const struct words *w, unsigned *n)
{
	const struct command *c, *best = NULL;
	unsigned k;
	size_t i;

	*n = 0;
	for (i = 0; i < TABLES; i++)
		for (c = tables[i]; c->words; c++) {
			k = words_begin_with(w, 0, c->words);
			if (k > *n) {
				*n = k;
				best = c;
			}
		}
	return best;
}

static const struct command *refuse(struct table_no *no, const char *sqlstate, const char *hint)
{
	no->sqlstate = sqlstate;
	(void)snprintf(no->hint, sizeof(no->hint), "%s", hint);
	return NULL;
}

static const struct command *misused(struct table_no *no, const struct command *c)
{
	(void)snprintf(no->message, sizeof(no->message), "this is not how %s is used", c->words);
	(void)refuse(no, "42601", "");
	(void)snprintf(no->hint, sizeof(no->hint), "Usage: %s", c->usage);
	return NULL;
}

/* Names in double quotes are as they are, others in lower case. */
static bool take_name(struct words *w, unsigned i)
{
	char *p;

	if (w->w[i].kind == WORD_SIGN || !*words_at(w, i))
		return false;
	for (p = w->text + w->w[i].at; w->w[i].kind == WORD_PLAIN && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return true;
}

static bool args_fit(const struct command *c, struct words *w, unsigned from)
{
	unsigned n = w->n - from;

	switch (*c->args) {
	case '*':
		return true;
	case 'q':
		return n == 1 && w->w[from].kind == WORD_STRING && *words_at(w, from);
	case 'n':
		return (n == 0 && c->args[1]) || (n == 1 && take_name(w, from));
	default:
		return n == 0;
	}
}

static bool is_param(const struct words *w, unsigned i)
{
	const char *p = words_at(w, i);

	return w->w[i].kind == WORD_PLAIN && p[0] == '$' && p[1] >= '0' && p[1] <= '9';
}

const struct command *table_find(struct words *w, unsigned *args_at, struct table_no *no)
{
	const struct command *c = longest(w, args_at);
	unsigned i;

	if (!c && words_begin_with(w, 0, "SELECT") && w->n == 2) {
		memcpy(w->text + w->w[0].at, "SHOW", sizeof("SHOW"));
		c = longest(w, args_at);
		if (!c)
			memcpy(w->text + w->w[0].at, "SELECT", sizeof("SELECT"));
	}
	if (!c) {
		(void)snprintf(no->message, sizeof(no->message),
			       "unknown console command \"%.60s%s%.60s\"", words_at(w, 0),
			       w->n > 1 ? " " : "", w->n > 1 ? words_at(w, 1) : "");
		return refuse(no, "42601", "SHOW HELP lists the commands.");
	}
	for (i = *args_at; i < w->n; i++)
		if (is_param(w, i)) {
			(void)snprintf(no->message, sizeof(no->message), "there is no parameter %s",
				       words_at(w, i));
			return refuse(no, "42P02", "Commands of the console take no parameters.");
		}
	return args_fit(c, w, *args_at) ? c : misused(no, c);
}
