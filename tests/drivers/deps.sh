#!/bin/sh
# Installs the drivers and the toolchains of their languages, as far as this
# distribution has them, and does nothing when all are there. Only `make drivers`
# calls this; what `make check` needs is in tests/deps.sh.
#
# SPDX-License-Identifier: ISC
set -eu
here=$(dirname "$0")

missing=""
for p in $(/usr/bin/python3 "$here/matrix.py" --packages); do
	st=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :)
	[ "$st" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -q </dev/null
want=""
for p in $missing; do
	# the matrix says of the others that they are not packaged
	if apt-cache policy "$p" | grep -q '^  Candidate: [^(]'; then
		want="$want $p"
	fi
done
[ -n "$want" ] || exit 0
echo "drivers: installing$want"
$sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends $want </dev/null
