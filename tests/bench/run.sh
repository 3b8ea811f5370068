#!/bin/bash
# make bench: pgweir beside a naive relay, Debian's pgbouncer, haproxy (TCP mode) and
# pgpool2, in interleaved rounds of one run (bench.py says what is measured).
#
#   make bench BENCH="core connect --rounds 5"       some of it, shown
#   make bench                                       all of it, and docs/performance.md
#
# SPDX-License-Identifier: ISC
set -eu
cd "$(dirname "$0")/../.."
tests/deps.sh pgpool2 haproxy pgbouncer postgresql-15 python3
${CC:-cc} -O2 -Wall -Wextra -Werror -D_GNU_SOURCE tests/bench/floor.c -o "${BUILD:-build}/floor"
exec /usr/bin/python3 tests/bench/bench.py "$@"
