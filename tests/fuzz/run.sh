#!/bin/sh
# run.sh replay BIN...   the corpus in the tree through each target, once
# run.sh fuzz BIN...     libFuzzer, FUZZ_TIME seconds each; what it finds new
#                        goes to build-fuzz/new/NAME, crashes to build-fuzz/
#
# The corpus of tests/fuzz/fuzz_NAME.c is tests/fuzz/corpus/NAME/.
#
# SPDX-License-Identifier: ISC
set -u
mode=$1
shift
bad=0 n=0
for b in "$@"; do
	n=$((n + 1))
	name=${b##*/}
	name=${name#replay_}
	name=${name#fuzz_}
	corpus=tests/fuzz/corpus/$name
	[ -d "$corpus" ] || { echo "fuzz: $corpus is missing"; bad=$((bad + 1)); continue; }
	if [ "$mode" = replay ]; then
		timeout -k 5 120 "$b" "$corpus" && continue
		bad=$((bad + 1))
		for f in "$corpus"/*; do
			timeout -k 5 20 "$b" "$f" >/dev/null 2>&1 || echo "fuzz: $name fails on $f"
		done
	else
		mkdir -p "build-fuzz/new/$name"
		"$b" -max_total_time="${FUZZ_TIME:-60}" -timeout=10 -rss_limit_mb=2048 \
			-artifact_prefix="build-fuzz/crash-$name-" -print_final_stats=1 \
			"build-fuzz/new/$name" "$corpus" || bad=$((bad + 1))
	fi
done
[ "$n" -gt 0 ] || { echo "fuzz: no targets"; exit 1; }
echo "fuzz $mode: $n targets, $bad failed"
[ "$bad" = 0 ]
