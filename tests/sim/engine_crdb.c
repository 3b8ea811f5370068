/* tests/sim/engine_crdb.c - where CockroachDB (v21.2) differs from PostgreSQL.
 *
 * Every statement outside of a block is a transaction of its own, also in the extended
 * protocol; settings are not undone; BEGIN, COMMIT and so on at the wrong time are
 * errors; SAVEPOINT cockroach_restart restarts, and its RELEASE commits.
 *
 * SPDX-License-Identifier: ISC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine_state.h"

#define RESTART "cockroach_restart"

/* ---- before a statement ---- */

static bool another_suspended(const struct engine *e)
{
	const struct portal *p;

	for (p = e->portals; p; p = p->next)
		if (p->suspended && p != e->task.portal)
			return true;
	return false;
}

enum got crdb_check(struct engine *e, const struct sql_stmt *st, bool alone)
{
	if (e->block == BLOCK_DONE && st->kind != SQL_COMMIT && st->kind != SQL_ROLLBACK)
		return fail(e, "25000",
			    "current transaction is committed, commands ignored until end of "
			    "transaction block");
	if (!xact_aborted(e) && another_suspended(e))
		return fail(e, "0A000", "unimplemented: multiple active portals not supported");
	if (st->kind == SQL_COPY_IN && !alone)
		return fail(e, "08P01",
			    "COPY together with other statements in a query string is not supported");
	e->statements += st->kind != SQL_BEGIN;
	return GOT_DONE;
}

/* Statements that are read, and not there. */
enum got crdb_words(struct engine *e, const struct sql_stmt *st)
{
	bool missing = st->kind == SQL_DECLARE || (st->kind == SQL_CLOSE && st->name) ||
		       st->kind == SQL_CREATE_TEMP ||
		       (st->kind == SQL_DISCARD && strcmp(st->name, "all") != 0);

	if (st->kind == SQL_CREATE_TEMP)
		return fail(e, "0A000", "temporary tables are only supported experimentally");
	if (missing)
		return fail(e, "0A000", "unimplemented: this syntax");
	if (st->kind == SQL_DISCARD && xact_in_block(e))
		return fail(e, "25001", "DISCARD ALL cannot run inside a transaction block");
	return GOT_DONE;
}

/* ---- ends and savepoints ---- */

/* COMMIT or ROLLBACK where there is nothing to end, or where all is done already. */
enum got crdb_end(struct engine *e, struct run *r)
{
	if (e->block != BLOCK_DONE)
		return fail(e, "XXUUU", "there is no transaction in progress");
	(void)snprintf(r->tag, sizeof(r->tag), "COMMIT");
	e->block = BLOCK_END;
	return GOT_DONE;
}

enum got crdb_savepoint(struct engine *e, const struct sql_stmt *st)
{
	if (strcmp(st->name, RESTART) == 0 && (e->statements > 1 || e->did_work))
		return fail(e, "42601",
			    "SAVEPOINT \"" RESTART "\" needs to be the first statement in a "
			    "transaction");
	return GOT_DONE;
}

enum got crdb_rollback_to(struct engine *e, unsigned at)
{
	if (!e->retry || e->marks[at].fresh)
		return GOT_DONE;
	return fail(e, "40001",
		    "restart transaction: TransactionRetryWithProtoRefreshError: cannot rollback to "
		    "savepoint after a transaction restart");
}

/* To a savepoint from before any data: that is another transaction. */
void crdb_restart(struct engine *e, unsigned at)
{
	unsigned i;

	if (!e->retry && e->open && strcmp(e->marks[at].name, RESTART) != 0) {
		e->env.rollback_to(e->env.arg, at);
		return;
	}
	if (e->open)
		e->env.rollback(e->env.arg);
	e->env.begin(e->env.arg, true);
	for (i = 1; i <= at; i++)
		e->env.savepoint(e->env.arg, i);
	e->open = true;
	e->retry = e->did_work = false;
	e->statements = 1;
}

/* RELEASE SAVEPOINT cockroach_restart. */
enum got crdb_release(struct engine *e)
{
	enum data d = e->open ? e->env.commit(e->env.arg, &e->err) : DATA_OK;

	if (d == DATA_WAIT)
		return GOT_WAIT;
	e->open = false;
	if (d == DATA_OK) {
		e->block = BLOCK_DONE;
		return GOT_DONE;
	}
	e->block = BLOCK_ABORT;
	return env_fail(e);
}

/* ---- what it tells of itself ---- */

static void say(struct engine *e, const char *name, const char *value)
{
	out_begin(e, 'S');
	out_str(e, name);
	out_str(e, value);
	out_end(e);
}

/* Before CommandComplete, also when it is what it was. */
void crdb_report(struct engine *e)
{
	if (e->crdb && e->due_name)
		say(e, "application_name", settings_get(e, "application_name"));
	if (e->crdb && e->due_zone)
		say(e, "TimeZone", settings_get(e, "TimeZone"));
	e->due_name = e->due_zone = false;
}

void crdb_login(struct engine *e)
{
	static const char *const names[] = {
		"server_version",    "server_encoding", "client_encoding",
		"application_name",  "DateStyle",	"IntervalStyle",
		"TimeZone",	     "integer_datetimes", "standard_conforming_strings",
		"crdb_version",	     "session_authorization", "is_superuser",
	};
	const char *told;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		told = e->reported[settings_find(e, names[i])];
		say(e, names[i], told ? told : settings_get(e, names[i]));
	}
}

/* Settings that have one value. */
bool crdb_refuses(struct engine *e, const struct guc *g, const char *value)
{
	if (g->kind == GUC_ENCODING && strcmp(value, "UTF8") != 0)
		(void)fail(e, "0A000", "unimplemented client encoding: \"%s\"", value);
	else if (g->kind == GUC_DATESTYLE && strcmp(value, "ISO, MDY") != 0)
		(void)fail(e, "22023", "invalid value for parameter \"DateStyle\": \"%s\"", value);
	else if (strcmp(g->name, "standard_conforming_strings") == 0 && strcmp(value, "on") != 0)
		(void)fail(e, "22023", "invalid value for parameter \"%s\": \"%s\"", g->name, value);
	else
		return false;
	return true;
}

/* What is not known is not looked at. */
enum got crdb_startup(struct engine *e, const char *name, const char *value)
{
	static const char *const fixed[] = { "server_version", "crdb_version", "transaction_isolation",
					     "session_authorization" };
	size_t i;

	for (i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		if (strcasecmp(fixed[i], name) == 0)
			return fail(e, "55P02", "parameter \"%s\" cannot be changed", name);
	if (settings_find(e, name) < 0 || guc_at((unsigned)settings_find(e, name))->kind == GUC_FACT)
		return GOT_DONE;
	if (settings_set(e, name, value, SET_STARTUP) == GOT_FAIL)
		return GOT_FAIL;
	/* it says what it was told */
	free(e->reported[settings_find(e, name)]);
	e->reported[settings_find(e, name)] = mem_copy(value);
	return GOT_DONE;
}
