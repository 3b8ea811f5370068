#!/bin/bash
# make bench: pgweir, Debian's pgbouncer and haproxy (TCP mode) side by side, in
# interleaved rounds of one run. Two to three minutes.
#
#   BENCH_ROUNDS=3  BENCH_SECONDS=4  BENCH_CLIENTS=16  BENCH_WORKERS=1
#
# SPDX-License-Identifier: ISC
set -eu
cd "$(dirname "$0")/../.."
tests/deps.sh
exec /usr/bin/python3 tests/bench/bench.py
