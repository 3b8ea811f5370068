#!/bin/bash
# pgbench in its three modes of the protocol, and with pipelines. Its tables are
# in a schema of their own, by search_path in the startup packet.
#
# SPDX-License-Identifier: ISC
set -u
run=${RUN_ID:?}
bin=/usr/lib/postgresql/15/bin
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
printf 'driver\t%s\n' "$($bin/pgbench --version | sed 's/ (PostgreSQL) / /; s/ (.*//')"

psql -XqAtc "CREATE SCHEMA bench_$run"
export PGOPTIONS="-c search_path=bench_$run"
what='number of transactions actually|number of failed|error|aborted|FATAL'

# feature NAME ARGUMENTS...: what pgbench counts
feature() {
	printf '%s\t' "$1"
	shift
	timeout 60 $bin/pgbench "$@" > out 2>&1 || echo "raised status $?: $(tail -3 out)" >> out
	grep -E "$what|raised" out | tr -s '\n' ' ' | sed "s/$run/RUN/g; s/ *\$//"
	echo
}

if timeout 60 $bin/pgbench -i -q -s 1 > out 2>&1; then
	printf 'copy\t%s\n' "$(psql -XqAtc 'SELECT count(*), sum(aid) FROM pgbench_accounts')"
else
	printf 'copy\traised %s\n' "$(tail -3 out | tr -s '\n' ' ')"
fi
feature transactions -n -c 4 -t 50
feature crud -n -S -M extended -c 4 -t 200
# a thread for each client: pgbench prepares synchronously, and one that waits for a
# server would keep its thread's others from ending the transactions that hold them
feature prepared -n -M prepared -c 4 -j 4 -t 50

cat > pipeline.sql <<'E'
\set id random(1, 1000)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :id;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
END;
\endpipeline
E
feature batch -n -M extended -f pipeline.sql -c 4 -t 30
feature pipeline_prepared -n -M prepared -f pipeline.sql -c 4 -j 4 -t 30
feature pool -n -S -C -c 2 -t 20

# every sum in TPC-B is the same sum
printf 'sums\t%s\n' "$(psql -XqAtc 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
 (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches), (SELECT count(*) FROM pgbench_history)')"
psql -XqAtc "SET client_min_messages = error; DROP SCHEMA bench_$run CASCADE"
