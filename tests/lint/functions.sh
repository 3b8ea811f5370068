#!/bin/bash
# functions.sh ROOT - no function over 80 lines (braces included), no file over
# 800. Counts on the brace style: a function's braces stand in column one, and
# nothing else opens there.
#
# SPDX-License-Identifier: ISC
set -u
cd "${1:-.}" || exit 2
here=$(dirname "$(readlink -f "$0")")
max_fn=80 max_file=800
bad=0
while IFS= read -r f; do
	n=$(wc -l <"$f")
	[ "$n" -le $max_file ] || { echo "$f: $n lines, at most $max_file"; bad=1; }
	perl -0777 -p "$here/strip.pl" "$f" | awk -v f="$f" -v max=$max_fn '
		/^[a-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/^[^{]*\).*\{$/ && /^[a-z_]/ && !/=/ { print f ":" NR ": " name "(): the brace of a function stands on a line of its own"; bad = 1 }
		/^\{/ { start = NR }
		/^\}/ { if (start && NR - start + 1 > max) {
				print f ":" start ": " name "() has " NR - start + 1 " lines, at most " max
				bad = 1
			}
			start = 0 }
		END { exit bad }' || bad=1
done < <(find conf health pool proxy -name '*.[ch]' 2>/dev/null | sort)
exit $bad
