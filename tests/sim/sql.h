/* tests/sim/sql.h - the SQL that the simulated servers understand: statements as
 * PostgreSQL spells them, few of them.
 *
 * Words are case-insensitive; comments (--, nested C comments) and white space stand
 * anywhere; '' doubles a quote; "x" is a quoted name; $1 is a parameter wherever a
 * literal value (number or text) stands, in the extended protocol and in PREPARE.
 *
 * Data (N is a key or number, 'x' text):
 *   SELECT v FROM kv WHERE k = N [FOR UPDATE]            one row, column v (text, oid 25)
 *   SELECT k, v FROM kv WHERE k IN (N, N, ...)           a row for each, in that order
 *   UPDATE kv SET v = v || 'TAG' WHERE k = N [RETURNING v]      tag UPDATE 1
 *   INSERT INTO kv VALUES (N, 'TAG')[, ...] [RETURNING v]       appends; INSERT 0 n
 *   UPSERT INTO kv VALUES (N, 'TAG')                     CockroachDB only
 *   COPY kv FROM STDIN     lines "N<tab>TAG"; COPY n     COPY kv TO STDOUT  all keys
 * FOR UPDATE reads like a read that is validated (no lock needed).
 *
 * Without data:
 *   SELECT 'x' | N | $n [AS name] [, ...]                one row of text (numbers: int4, oid
 *                                                        23); columns are called ?column?
 *   SELECT repeat('x', N)                                column repeat
 *   SELECT g FROM generate_series(1, N) g                N rows, column g, int4
 *   SELECT 1/0                                           22012 division by zero
 *   SELECT * FROM nothing                                42P01, at Parse too
 *   SELECT pg_sleep(N)                                   seconds, decimals allowed; column
 *                                                        pg_sleep (void, oid 2278), empty
 *   SELECT pg_backend_pid() ; SELECT version()
 *   SELECT now()                                         not offered
 *   an empty text                                        EmptyQueryResponse
 *   anything else                                        42601 syntax error
 *
 * Transactions:
 *   BEGIN [WORK|TRANSACTION] [modes], START TRANSACTION [modes]   modes are accepted and
 *       ignored but READ ONLY (then writes fail with 25006)
 *   COMMIT|END [WORK|TRANSACTION] [AND [NO] CHAIN], ROLLBACK|ABORT the same
 *   SAVEPOINT s, RELEASE [SAVEPOINT] s, ROLLBACK [..] TO [SAVEPOINT] s
 *
 * Settings (transactional in PostgreSQL, savepoints too; not in CockroachDB):
 *   SET [SESSION|LOCAL] name {=|TO} {value[, value...] | DEFAULT}, SET TIME ZONE 'x',
 *   RESET name, RESET ALL, SHOW name, SHOW ALL not offered
 *   SELECT [pg_catalog.]set_config('name', 'x', true|false)[, ...]   columns set_config
 *   SELECT [pg_catalog.]current_setting('name'[, true])
 *   SET ROLE x|NONE, RESET ROLE, SET SESSION AUTHORIZATION x|DEFAULT, RESET SESSION
 *       AUTHORIZATION: the names of any user are accepted
 *   DISCARD ALL (25001 in a block), DISCARD PLANS|TEMP|SEQUENCES
 *   reported to the client on change: application_name, client_encoding, DateStyle,
 *       IntervalStyle, TimeZone, standard_conforming_strings, session_authorization,
 *       is_superuser (and at login server_version, server_encoding, integer_datetimes,
 *       default_transaction_read_only, in_hot_standby, and CockroachDB's crdb_version)
 *   others: search_path, statement_timeout, lock_timeout, work_mem,
 *       extra_float_digits, default_transaction_isolation, transaction_isolation, and
 *       any name with a dot. Unknown: 42704. Values are normalised where PostgreSQL does
 *       (timezone utc -> UTC, statement_timeout 1000 -> 1s, datestyle iso -> "ISO, MDY",
 *       client_encoding utf8 -> UTF8); wrong ones: 22023.
 *
 * What stays in a session:
 *   PREPARE s [(types)] AS <statement>, EXECUTE s [(literals)], DEALLOCATE [PREPARE] s|ALL
 *   LISTEN c, UNLISTEN c|*, NOTIFY c [, 'x']
 *   SELECT pg_advisory_lock(N), pg_try_advisory_lock(N), pg_advisory_unlock(N),
 *       pg_advisory_unlock_all()
 *   CREATE TEMP TABLE t (...) [ON COMMIT DROP], DROP TABLE [IF EXISTS] t,
 *       SELECT count(*) FROM t (0, or 42P01)
 *   DECLARE c CURSOR [WITH HOLD] FOR SELECT g FROM generate_series(1, N) g,
 *       FETCH N FROM c, CLOSE c|ALL
 *   CLOSE, UNLISTEN, DISCARD ALL end them as PostgreSQL does
 *
 * What pgweir asks of servers (proxy/session/residue.c, proxy/wire/params.c), exactly:
 *   SELECT 0 [OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM <what>) THEN n ELSE 0
 *       END]... [,pg_catalog.current_setting('name',true)]...
 *       [;SELECT name,setting FROM pg_catalog.pg_settings WHERE source
 *       OPERATOR(pg_catalog.=) 'session']
 *   SELECT pg_is_in_recovery(), and names that are there for nothing (42601, 42703).
 *
 * The parser knows nothing of sessions: whether a relation or a setting is there is
 * looked at later (engine_expr.c). It needs to know only whether backslashes escape
 * (standard_conforming_strings = off) and whose dialect it is.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_SQL_H
#define PGWEIR_SIM_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sql_kind {
	SQL_EXPRS = 0,     /* SELECT list */
	SQL_KV,            /* SELECT v | k, v FROM kv WHERE list: keys; with_key */
	SQL_SERIES,        /* list: one, the last number; name: the column */
	SQL_COUNT,         /* SELECT count(*) FROM name */
	SQL_STAR,          /* SELECT * FROM name */
	SQL_SETTINGS,      /* pg_settings whose source is the session */
	SQL_UPDATE,        /* list: tag, key; returning */
	SQL_INSERT,        /* list: key, tag, key, tag...; returning */
	SQL_COPY_IN, SQL_COPY_OUT,
	SQL_BEGIN,         /* start: START TRANSACTION; read_only */
	SQL_COMMIT, SQL_ROLLBACK,                          /* chain */
	SQL_SAVEPOINT, SQL_RELEASE, SQL_ROLLBACK_TO,       /* name */
	SQL_SET,           /* name; local; list: values, none: DEFAULT */
	SQL_SET_TRANSACTION,
	SQL_RESET, SQL_RESET_ALL, SQL_SHOW,
	SQL_DISCARD,       /* name: all, plans, temp, sequences */
	SQL_PREPARE,       /* name; text: the statement; list: types as texts */
	SQL_EXECUTE,       /* name; list: values */
	SQL_DEALLOCATE,    /* name, or NULL: all */
	SQL_LISTEN, SQL_UNLISTEN,                          /* name, NULL: all */
	SQL_NOTIFY,        /* name; text */
	SQL_CREATE_TEMP,   /* name; on_commit_drop */
	SQL_DROP,          /* name; if_exists */
	SQL_DECLARE,       /* name; text: the SELECT; hold */
	SQL_FETCH,         /* name; count */
	SQL_CLOSE,         /* name, NULL: all */
	SQL_KINDS
};

enum sql_expr_kind {
	EX_NULL = 0,
	EX_TEXT,           /* text; quoted says how it was written */
	EX_NUMBER,         /* text, digits and perhaps a sign and a dot */
	EX_BOOL,           /* text: t or f */
	EX_PARAM,          /* param */
	EX_COLUMN,         /* text: a name */
	EX_STAR, EX_COUNT, /* *, count(*) */
	EX_CALL,           /* func, text: its name; args */
	EX_BINARY,         /* op; two args */
	EX_CASE            /* WHEN EXISTS(what); args: then, else */
};

enum sql_func {
	FN_UNKNOWN = 0, FN_REPEAT, FN_SLEEP, FN_PID, FN_VERSION, FN_SET_CONFIG,
	FN_CURRENT_SETTING, FN_LOCK, FN_TRY_LOCK, FN_UNLOCK, FN_UNLOCK_ALL, FN_IN_RECOVERY,
	FN_COUNT
};

struct sql_expr {
	enum sql_expr_kind kind;
	bool quoted;
	char op;                   /* + - * / or | (for ||) */
	unsigned param;
	enum sql_func func;
	unsigned what;             /* enum engine_left */
	const char *text;
	const char *label;         /* AS */
	struct sql_expr *args, *next;
	unsigned n_args;
};

struct sql_stmt {
	enum sql_kind kind;
	struct sql_stmt *next;
	const char *name, *text;
	struct sql_expr *list;
	unsigned n_list;
	int64_t count;             /* FETCH */
	unsigned params;           /* the highest $n */
	bool with_key, returning, local, chain, start, read_only, read_write, hold, if_exists;
	bool on_commit_drop, upsert;
};

struct sql {
	struct sql_stmt *first;
	unsigned n;
	unsigned refs;             /* for whoever shares it */
	struct sql_block *blocks;  /* its memory */
};

struct sql_error {
	char sqlstate[6];
	char message[200];
	const char *warnings[8];   /* 22P06, also when all is well */
	unsigned n_warnings;
};

/* The statements of a text; empty ones are left out. NULL: *err. */
struct sql *sql_parse(const char *text, size_t n, bool backslashes, bool crdb,
		      struct sql_error *err);
/* Gives one reference back; sql_parse gave the first. NULL is fine. */
void sql_free(struct sql *s);

#endif
