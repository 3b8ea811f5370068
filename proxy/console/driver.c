/* proxy/console/driver.c - see driver.h
 *
 * SPDX-License-Identifier: ISC
 */
#include "console/driver.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conf/version.h"

static void one_text(struct task *t, const char *value)
{
	rows_row(&t->rows);
	rows_text(&t->rows, value);
	rows_end_row(&t->rows);
	task_done(t);
}

static void select_one(struct task *t)
{
	rows_row(&t->rows);
	rows_uint(&t->rows, 1);
	rows_end_row(&t->rows);
	task_done(t);
}

static void select_version(struct task *t)
{
	one_text(t, "pgweir " PGWEIR_VERSION);
}

static void unlock_all(struct task *t)
{
	rows_row(&t->rows);
	rows_text(&t->rows, "");
	rows_end_row(&t->rows);
	task_done(t);
}

/* What is the same for every session of the console: it is told so at its login. */
#define SETTINGS(X)                                                            \
	X(client_encoding, "UTF8")                                             \
	X(server_encoding, "UTF8")                                             \
	X(server_version, "1.25.2/pgweir")                                     \
	X(server_version_num, "12502")                                         \
	X(datestyle, "ISO")                                                    \
	X(timezone, "GMT")                                                     \
	X(standard_conforming_strings, "on")                                   \
	X(default_transaction_isolation, "read committed")                     \
	X(transaction_isolation, "read committed")                             \
	X(default_transaction_read_only, "off")                                \
	X(transaction_read_only, "off")                                        \
	X(in_hot_standby, "off")                                               \
	X(is_superuser, "on")                                                  \
	X(search_path, "\"$user\", public")                                    \
	X(integer_datetimes, "on")

#define X(name, value)                                                                          \
	static const struct column name##_column[] = { { #name, ROWS_TEXT }, { NULL, 0 } };    \
	static void show_##name(struct task *t)                                                \
	{                                                                                      \
		one_text(t, value);                                                            \
	}
SETTINGS(X)
#undef X

/* Settings of a session that are taken, and do nothing here. */
static const char *const taken[] = {
	"client_encoding", "datestyle", "timezone", "standard_conforming_strings",
	"default_transaction_isolation", "default_transaction_read_only",
	"default_transaction_deferrable", "extra_float_digits", "application_name",
	"client_min_messages", "statement_timeout", "lock_timeout",
	"idle_in_transaction_session_timeout", "intervalstyle", "bytea_output", "search_path",
	"row_security", "names", "jit", "synchronize_seqscans",
};

static bool is_taken(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (strcasecmp(name, taken[i]) == 0)
			return true;
	return false;
}

/* SET [SESSION | LOCAL] name ... of those, SET TIME ZONE, SET [SESSION CHARACTERISTICS AS]
 * TRANSACTION */
bool driver_takes_set(const struct task *t)
{
	static const char *const also[] = { "TRANSACTION", "SESSION CHARACTERISTICS AS TRANSACTION",
					    "TIME ZONE", "SESSION TIME ZONE", "LOCAL TIME ZONE" };
	unsigned at = t->args_at;
	size_t i;

	for (i = 0; i < sizeof(also) / sizeof(*also); i++)
		if (words_begin_with(&t->words, at, also[i]))
			return true;
	at += words_begin_with(&t->words, at, "SESSION") + words_begin_with(&t->words, at, "LOCAL");
	return at + 1 < t->words.n && is_taken(words_at(&t->words, at));
}

static void nothing(struct task *t)
{
	task_done(t);
}

static const struct column one_column[] = { { "?column?", ROWS_INT4 }, { NULL, 0 } };
static const struct column unlock_column[] = { { "pg_advisory_unlock_all", ROWS_TEXT },
					       { NULL, 0 } };
static const struct column version_column[] = { { "version", ROWS_TEXT }, { NULL, 0 } };

const struct command driver_commands[] = {
	{ "SELECT 1", "", "SELECT 1", NULL, false, one_column, "SELECT", select_one },
	{ "SELECT version ( )", "", "SELECT version()", NULL, false, version_column, "SELECT",
	  select_version },
	{ "SELECT pg_advisory_unlock_all ( )", "", "SELECT pg_advisory_unlock_all()", NULL, false,
	  unlock_column, "SELECT", unlock_all },
#define X(name, value)                                                                          \
	{ "SHOW " #name, "", "SHOW " #name, NULL, false, name##_column, "SHOW", show_##name },
	SETTINGS(X)
#undef X
	{ "SHOW TRANSACTION ISOLATION LEVEL", "", "SHOW TRANSACTION ISOLATION LEVEL", NULL, false,
	  transaction_isolation_column, "SHOW", show_transaction_isolation },
	{ "SHOW TIME ZONE", "", "SHOW TIME ZONE", NULL, false, timezone_column, "SHOW",
	  show_timezone },
	{ "RESET", "*", "RESET NAME", NULL, false, NULL, "RESET", nothing },
	{ "DISCARD ALL", "", "DISCARD ALL", NULL, false, NULL, "DISCARD ALL", nothing },
	{ "CLOSE ALL", "", "CLOSE ALL", NULL, false, NULL, "CLOSE CURSOR ALL", nothing },
	{ "UNLISTEN *", "", "UNLISTEN *", NULL, false, NULL, "UNLISTEN", nothing },
	{ "BEGIN", "*", "BEGIN", NULL, false, NULL, "BEGIN", nothing },
	{ "START TRANSACTION", "*", "START TRANSACTION", NULL, false, NULL, "START TRANSACTION",
	  nothing },
	{ "COMMIT", "*", "COMMIT", NULL, false, NULL, "COMMIT", nothing },
	{ "END", "*", "END", NULL, false, NULL, "COMMIT", nothing },
	{ "ROLLBACK", "*", "ROLLBACK", NULL, false, NULL, "ROLLBACK", nothing },
	{ "ABORT", "*", "ABORT", NULL, false, NULL, "ROLLBACK", nothing },
	{ 0 },
};

char driver_block(const struct command *c)
{
	static const char blocks[][20] = { "BBEGIN", "BSTART TRANSACTION", "CCOMMIT", "CEND",
					   "RROLLBACK", "RABORT" };
	size_t i;

	for (i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
		if (strcmp(c->words, blocks[i] + 1) == 0)
			return *blocks[i];
	return 0;
}
