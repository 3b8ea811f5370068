#!/bin/bash
# layers.sh ROOT - the arrow of the house:
#   main,daemon,notify -> http/ -> console/ -> session/ -> io/ -> wire/ -> pool/ -> health/ -> conf/
# and beside it top/, which sees conf/ only and is seen by main,
# where wire/ and io/ stand inside proxy/ and so may see pool/, never the other
# way round. A file includes headers of its own folder and of those to the
# right; inside a folder no two modules (x.h + x.c) need each other, directly or
# in a circle.
#
# SPDX-License-Identifier: ISC
set -u
cd "${1:-.}" || exit 2
bad=0
edges=$(mktemp) || exit 2
trap 'rm -f "$edges" "$edges.err"' EXIT

rank() { # the folder's place on the arrow
	case $1 in
	conf) echo 1 ;;
	health) echo 2 ;;
	pool) echo 3 ;;
	proxy/wire) echo 4 ;;
	proxy/io) echo 5 ;;
	proxy/session) echo 6 ;;
	proxy/console) echo 7 ;;
	proxy/http) echo 8 ;;
	proxy/top) echo 9 ;;
	proxy) echo 10 ;;
	*) echo 0 ;;
	esac
}

while IFS= read -r f; do
	dir=${f%/*}
	mine=$(rank "$dir")
	[ "$mine" != 0 ] || { echo "$f: a folder that is not in the house"; bad=1; continue; }
	while IFS=: read -r line text; do
		inc=${text#*\"}
		inc=${inc%%\"*}
		to=""
		for c in "$dir/$inc" "$inc" "proxy/$inc"; do
			[ -f "$c" ] && { to=$c; break; }
		done
		if [ -z "$to" ]; then
			echo "$f:$line: \"$inc\" is not found from the root, proxy/ or $dir/"
			bad=1
			continue
		fi
		case $to in *..*) echo "$f:$line: \"$inc\": no .. in includes"; bad=1; continue ;; esac
		theirs=$(rank "${to%/*}")
		if [ "$theirs" = 0 ] || [ "$theirs" -gt "$mine" ]; then
			echo "$f:$line: $dir/ may not see ${to%/*}/ (\"$inc\")"
			bad=1
		fi
		case $dir:${to%/*} in
		proxy/top:conf | proxy/top:proxy/top) ;;
		proxy/top:*) echo "$f:$line: $dir/ is a client and may see conf/ only (\"$inc\")"; bad=1 ;;
		esac
		a=${f%.*} b=${to%.*}
		[ "$a" = "$b" ] || [ "$dir" != "${to%/*}" ] || echo "$a $b" >>"$edges"
	done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$f")
done < <(find conf health pool proxy -name '*.[ch]' 2>/dev/null | sort)

if ! tsort "$edges" >/dev/null 2>"$edges.err"; then
	echo "layers: these modules of one folder need each other in a circle:"
	sed 's/^tsort: //; /input contains a loop/d' "$edges.err"
	bad=1
fi
exit $bad
