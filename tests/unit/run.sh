#!/bin/sh
# Runs each unit test binary, shows each one's own summary, and everything of
# those that fail.
#
# SPDX-License-Identifier: ISC
set -u
bad=0 n=0
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
for t in "$@"; do
	n=$((n + 1))
	if timeout -k 5 "${UNIT_TIMEOUT:-120}" "$t" >"$out" 2>&1; then
		printf '%-24s %s\n' "${t##*/}" "$(grep -a 'PASSED' "$out" | tail -n 1)"
	else
		echo "---- ${t##*/}: exit status $?"
		cat "$out"
		bad=$((bad + 1))
	fi
done
[ "$n" -gt 0 ] || { echo "unit: no tests"; exit 1; }
echo "unit: $n runners, $bad failed"
[ "$bad" = 0 ]
