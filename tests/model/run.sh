#!/bin/bash
# run.sh [WORD] - checks the models with spin: every proper one must be searched to its
# end without an error, every safeguard taken away must be missed. WORD: only the checks
# with it in their names. JOBS=n checks at a time; KEEP=1 leaves the files.
#
# SPDX-License-Identifier: ISC
set -u
here=$(dirname "$(readlink -f "$0")")
jobs=${JOBS:-$(nproc)}

mend="-DMEND_MARRIED -DMEND_GIVE -DMEND_IDLE -DMEND_HUNGRY"
two="-DP=2 -DDB_N=1"

# verdict | model | name | definitions for spin | for pan
# pass: no error, all of it searched. ends: no run goes on for ever (no cycle at all).
# bug: an error is found.
checks() {
	cat <<-END
	pass|pool|the code, one upkeep: a server, a death|-DUPKEEP=1 -DDEATHS=1
	pass|pool|the code, one upkeep: two servers|-DUPKEEP=1 -DSERVER_N=2
	pass|pool|the code, one upkeep: two pools, one connection|-DUPKEEP=1 $two
	pass|pool|the code, one upkeep: three workers|-DUPKEEP=1 -DW=3
	ends|pool|the code, one upkeep: it ends|-DUPKEEP=1 $two
	pass|pool|mended, no upkeep: a server, a death|$mend -DDEATHS=1
	pass|pool|mended, no upkeep: a server, a failed login|$mend -DFAILURES=1
	pass|pool|mended, no upkeep: two servers|$mend -DSERVER_N=2
	pass|pool|mended, no upkeep: two pools, one connection|$mend $two
	pass|pool|mended, no upkeep: three workers|$mend -DW=3 -DIMPATIENCE=0
	ends|pool|mended, no upkeep: it ends|$mend
	bug|pool|without MEND_MARRIED|${mend/-DMEND_MARRIED/} -DSERVER_N=2
	bug|pool|without MEND_GIVE|${mend/-DMEND_GIVE/} $two
	bug|pool|without MEND_IDLE|${mend/-DMEND_IDLE/} $two
	bug|pool|without MEND_HUNGRY|${mend/-DMEND_HUNGRY/} -DW=3 -DSERVER_N=2 -DDB_N=3 -DIMPATIENCE=0
	bug|pool|BUG_NO_SECOND_LOOK|$mend -DBUG_NO_SECOND_LOOK
	bug|pool|BUG_FORGET_TOKEN|-DUPKEEP=1 -DDEATHS=1 -DBUG_FORGET_TOKEN
	bug|pool|BUG_TELL_NOBODY|$mend -DDEATHS=1 -DBUG_TELL_NOBODY
	bug|pool|BUG_LOOK_FIRST|$mend -DBUG_LOOK_FIRST
	bug|pool|BUG_CLAIM_IN_TWO|-DUPKEEP=1 -DW=3 -DSERVER_N=2 -DDB_N=3 -DBUG_CLAIM_IN_TWO
	bug|pool|BUG_TAKE_IN_TWO|-DUPKEEP=1 -DBUG_TAKE_IN_TWO
	bug|pool|BUG_ADOPT_SILENTLY|$mend -DDEATHS=1 -DBUG_ADOPT_SILENTLY
	bug|pool|BUG_NO_EVICT|$mend $two -DBUG_NO_EVICT
	pass|replay|two statements, one loss|-DLOSSES=1
	pass|replay|one statement, two losses|-DSTMTS=1 -DTRIES=1
	pass|replay|commits by itself, a loss closes|-DBY_ITSELF=1 -DON_LOSS=0
	ends|replay|it ends|-DBY_ITSELF=1 -DON_LOSS=0
	bug|replay|commits by itself, a loss replays|-DLOSSES=1 -DBY_ITSELF=1
	bug|replay|BUG_IGNORE_STATUS|-DBY_ITSELF=1 -DON_LOSS=0 -DBUG_IGNORE_STATUS
	bug|replay|BUG_SKIP_DIGEST|-DLOSSES=1 -DBUG_SKIP_DIGEST
	bug|replay|BUG_SKIP_PREFIX|-DLOSSES=1 -DBUG_SKIP_PREFIX
	bug|replay|BUG_REPLAY_COMMIT|-DLOSSES=1 -DBUG_REPLAY_COMMIT
	bug|replay|BUG_PIPELINE_COMMIT|-DLOSSES=1 -DBUG_PIPELINE_COMMIT
	bug|replay|BUG_LEAVE_HALF|-DLOSSES=1 -DBUG_LEAVE_HALF
	bug|replay|BUG_NO_LIMIT|-DLOSSES=1 -DBUG_NO_LIMIT
	bug|replay|BUG_COMMIT_FOR_NOBODY|-DLOSSES=1 -DBUG_COMMIT_FOR_NOBODY
	END
}

# What pan must have said, or not, for this verdict.
judge() {
	local errors
	errors=$(sed -n 's/.*, errors: \([0-9]*\)$/\1/p' "$2")
	if grep -q -e 'max search depth too small' -e 'out of memory' -e 'MEMLIM bound' \
		-e 'hash array too small' "$2"; then
		echo TRUNCATED
	elif [ "$1" != bug ]; then
		[ "$errors" = 0 ] && ! grep -q 'Search not completed' "$2" && echo ok || echo WRONG
	else
		[ "${errors:-0}" -gt 0 ] && grep -q 'assertion violated' "$2" && echo caught || echo MISSED
	fi
}

# One check, in a directory of its own; its line goes to the file "line" there.
one() {
	local verdict model name defs opt flags run states depth mb secs
	IFS='|' read -r verdict model name defs <"$1/check"
	cd "$1" || exit 1
	opt=-O2 flags="-DVECTORSZ=512 -DNOFAIR -DCOLLAPSE -DMEMLIM=1900" run=
	case $verdict in
	bug) opt=-O0 flags="$flags -DSAFETY" ;;
	pass) flags="$flags -DSAFETY" ;;
	ends) flags="$flags -DNP" run=-l ;;
	esac
	# shellcheck disable=SC2086
	{
		spin -a $defs "$here/$model.pml" &&
			gcc $opt -w $flags -o pan pan.c && ./pan -m20000 $run
	} >out 2>&1
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
	depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out)
	mb=$(sed -n 's/^ *\([0-9.]*\)\ttotal actual memory usage.*/\1/p' out)
	secs=$(sed -n 's/^pan: elapsed time \([0-9.]*\) seconds.*/\1/p' out)
	printf '%-7s %-48s %9s states, depth %5s, %5s MB, %5s s: %s\n' "$model" "$name" \
		"${states:--}" "${depth:--}" "${mb%.*}" "${secs:-0}" "$(judge "$verdict" out)" >line
	rm -f pan pan.*
}

if [ "${1-}" = --one ]; then
	one "$2"
	exit 0
fi

for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "$tool is not installed"; exit 2; }
done
dir=$(mktemp -d) || exit 2
if [ -n "${KEEP-}" ]; then
	echo "files: $dir"
else
	trap 'rm -rf "$dir"' EXIT
fi
i=100
while IFS= read -r check; do
	[[ $check == *"${1-}"* ]] || continue
	i=$((i + 1))
	mkdir "$dir/$i" && echo "$check" >"$dir/$i/check"
done < <(checks)
[ $i -gt 100 ] || { echo "no check is called so: $1"; exit 2; }
began=$SECONDS
printf '%s\0' "$dir"/*/ | xargs -0 -r -n 1 -P "$jobs" "$0" --one
cat "$dir"/*/line
bad=$(cat "$dir"/*/line | grep -cv -e ': ok$' -e ': caught$')
missing=$((i - 100 - $(cat "$dir"/*/line | wc -l)))
echo "models: $((i - 100)) checks, $((bad + missing)) failed, $((SECONDS - began)) s"
for f in "$dir"/*/line; do
	grep -q -e ': ok$' -e ': caught$' "$f" || { echo "--- $(cat "${f%line}check")"; tail -20 "${f%line}out"; }
done
[ $((bad + missing)) = 0 ]
