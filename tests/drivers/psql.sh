#!/bin/bash
# psql: scripts, its own commands, and SQL that keeps something in the session.
# A second psql, started from the first, is the other connection.
#
# SPDX-License-Identifier: ISC
set -u
export PGAPPNAME=drv PSQL_PAGER= PSQLRC=/dev/null
run=${RUN_ID:?}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
printf 'driver\t%s\n' "$(psql --version | sed 's/ (PostgreSQL) / /; s/ (.*//')"

# feature NAME: a script from standard input, its output on one line
feature() {
	printf '%s\t' "$1"
	{ timeout 30 psql -XqAt -v VERBOSITY=sqlstate 2>&1 || echo "raised status $?"; } |
		sed 's/process with PID [0-9]*/process/' | tr -s '\n\t' ' ' | sed "s/$run/RUN/g; s/ *\$//"
	echo
}
other="psql -XqAtc"

feature connect <<E
SELECT current_user, current_database(), current_setting('application_name'), :'ENCODING', :SERVER_VERSION_NUM / 10000;
\c
SELECT 'again', current_setting('application_name');
E

feature crud <<E
CREATE TABLE crud_$run (id serial PRIMARY KEY, a text);
INSERT INTO crud_$run (a) VALUES ('x'), (NULL), ('Grüße 🐘') RETURNING id;
UPDATE crud_$run SET a = upper(a) WHERE id <> 2;
SELECT * FROM crud_$run ORDER BY 1;
\d crud_$run
SELECT count(*) AS n FROM crud_$run \gset
\echo :n rows
SELECT 'SELECT ' || i FROM generate_series(1, 3) i \gexec
DROP TABLE crud_$run;
E

feature types <<E
SELECT 42, 9007199254740993, 12345678901234567890.123456789, 'Grüße 🐘', '\x00ff10'::bytea,
 '2024-02-29 12:34:56.789Z'::timestamptz, '{"a": [1, null]}'::jsonb, '{1,NULL,3}'::int[], NULL, true;
E

feature transactions <<E
CREATE TABLE tx_$run (a text);
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO tx_$run VALUES (1);
SELECT 1/0;
SAVEPOINT s;
INSERT INTO tx_$run VALUES (2);
ROLLBACK TO s;
INSERT INTO tx_$run VALUES (3);
\! $other "SELECT count(*) FROM tx_$run"
COMMIT AND CHAIN;
INSERT INTO tx_$run VALUES (4);
ROLLBACK;
SELECT * FROM tx_$run ORDER BY a;
DROP TABLE tx_$run;
E

{
	echo 'PREPARE p (int) AS SELECT $1 * 2;'
	for i in $(seq 20); do
		echo "EXECUTE p($i);"
		[ $((i % 5)) != 0 ] || echo "\\! $other 'SELECT 0'"
	done
	echo 'SELECT name, parameter_types FROM pg_prepared_statements WHERE from_sql;'
	echo 'DEALLOCATE p;'
	echo 'EXECUTE p(1);'
} | feature prepared

feature batch <<E
SELECT 1\\; SELECT 2\\; SELECT 3;
CREATE TABLE batch_$run (i int)\\; INSERT INTO batch_$run SELECT generate_series(1, 1000)\\; SELECT sum(i) FROM batch_$run;
INSERT INTO batch_$run VALUES (1)\\; SELECT 1/0\\; INSERT INTO batch_$run VALUES (2);
SELECT count(*) FROM batch_$run;
DROP TABLE batch_$run;
E

feature cursor <<E
\set FETCH_COUNT 100
SELECT i FROM generate_series(1, 1000) i WHERE i % 250 = 0;
BEGIN;
DECLARE k SCROLL CURSOR FOR SELECT generate_series(1, 10);
FETCH 3 FROM k;
\! $other 'SELECT 0'
FETCH BACKWARD 2 FROM k;
COMMIT;
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10);
COMMIT;
\! $other 'SELECT 0'
FETCH 2 FROM held;
CLOSE held;
E

seq 1 20000 > rows
feature copy <<E
CREATE TABLE copy_$run (i int);
\copy copy_$run FROM 'rows'
\copy copy_$run TO 'out'
\! cksum < out
COPY copy_$run FROM STDIN;
1
x
\.
\copy copy_$run TO PROGRAM 'tail -1'
COPY (SELECT count(*) FROM copy_$run) TO STDOUT;
DROP TABLE copy_$run;
E

feature timeout <<E
SET statement_timeout = '100ms';
SELECT pg_sleep(20);
RESET statement_timeout;
SELECT 1;
E

# Ctrl-C while it sleeps. The background jobs of a script ignore SIGINT: env
# gives it back.
cat > sleep.sql <<E
SELECT pg_sleep(20), '$run';
SELECT 'alive';
E
env --default-signal=INT psql -XqAt -v VERBOSITY=sqlstate -f sleep.sql > cancel 2>&1 &
job=$!
asleep="SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(20), ''$run'';'"
for _ in $(seq 200); do
	[ "$($other "$asleep")" != 1 ] || break
done
kill -INT $job
wait $job
printf 'cancel\t%s\n' "$(sed 's/.*ERROR/ERROR/' cancel | tr -s '\n' ' ' | sed 's/ *$//')"

feature notify <<E
LISTEN ch_$run;
\! $other "NOTIFY ch_$run, 'n1'"
SELECT 1;
\! $other "NOTIFY ch_$run, 'n2'"
SELECT 2;
UNLISTEN ch_$run;
\! $other "NOTIFY ch_$run, 'n3'"
SELECT 3;
E

feature errors <<E
SELEC 1;
SELECT * FROM nowhere;
SELECT 1/0;
INSERT INTO kv VALUES (1, 1);
SELECT 1;
E

show="SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('TimeZone'), current_setting('work_mem')"
{
	echo "SET search_path = schema_$run; SET statement_timeout = '31s'; SET TIME ZONE 'Asia/Tokyo'; SET work_mem = '5MB';"
	for _ in 1 2 3 4 5; do
		printf '\\! %s "%s"\n' "$other" "$show"
		echo "$show;"
	done
	echo 'RESET statement_timeout;'
	echo "$show;"
	printf '\\! PGOPTIONS="-c work_mem=9MB -c statement_timeout=33s" %s "%s"\n' "$other" "$show"
	echo 'RESET ALL;'
	echo "$show;"
	echo "BEGIN; SET LOCAL work_mem = '6MB'; SET search_path = gone; ROLLBACK;"
	echo "$show;"
	echo 'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE;'
	printf '\\! %s "SHOW transaction_isolation"\n' "$other"
	echo 'SHOW transaction_isolation;'
	echo 'DISCARD ALL;'
	echo 'SHOW transaction_isolation;'
} | feature settings

{
	echo "CREATE TEMP TABLE temp_$run (i int);"
	for i in 1 2 3 4 5; do
		echo "INSERT INTO temp_$run VALUES ($i);"
		printf '\\! %s "SELECT to_regclass(%s) IS NULL"\n' "$other" "'temp_$run'"
	done
	echo "SELECT count(*), sum(i) FROM temp_$run;"
	echo "CREATE TEMP TABLE temp2_$run ON COMMIT DROP AS SELECT 1;"
	echo 'DISCARD TEMP;'
	echo "SELECT to_regclass('temp_$run') IS NULL;"
} | feature temp

feature locks <<E
SELECT pg_advisory_lock(hashtext('$run'));
\! $other "SELECT pg_try_advisory_xact_lock(hashtext('$run'))"
SELECT 1;
\! $other "SELECT pg_try_advisory_xact_lock(hashtext('$run'))"
SELECT pg_advisory_unlock(hashtext('$run'));
\! $other "SELECT pg_try_advisory_xact_lock(hashtext('$run'))"
SELECT pg_advisory_unlock(hashtext('$run'));
E
