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
 *   and whatever else the code there sends.
 *
 * SPDX-License-Identifier: ISC
 */
#ifndef PGWEIR_SIM_SQL_H
#define PGWEIR_SIM_SQL_H

#endif
