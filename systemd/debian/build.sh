#!/bin/sh
# build.sh TREE DIR - the Debian package of this tree, built and checked in DIR. A version
# that stands in conf/version.h only, and the text of the licence in LICENSE.
#
# SPDX-License-Identifier: ISC
set -eu
tree=$(readlink -f "$1")
rm -rf "$2"
mkdir -p "$2"
top=$(readlink -f "$2")
version=$(sed -n 's/^#define PGWEIR_VERSION "\([^"]*\)"$/\1/p' "$tree/conf/version.h")
[ -n "$version" ] || { echo "deb: no version in conf/version.h" >&2; exit 1; }
src=$top/pgweir-$version

# What is built from, and nothing else that may lie about.
mkdir "$src"
(cd "$tree" && tar -cf - --exclude=__pycache__ Makefile LICENSE README.md conf health pool proxy systemd docs) |
	tar -xf - -C "$src"
cp -r "$src/systemd/debian" "$src/debian"
rm "$src/debian/build.sh"

# The day of the version: that of its file, so that the same tree gives the same package.
day=$(git -C "$tree" log -1 --format=%ct -- conf/version.h 2>/dev/null || :)
[ -n "$day" ] || day=$(stat -c %Y "$tree/conf/version.h")
cat >"$src/debian/changelog" <<EOF
pgweir ($version) unstable; urgency=medium

  * Version $version.

 -- $(sed -n 's/^Maintainer: //p' "$src/debian/control")  $(LC_ALL=C date -u -R -d "@$day")
EOF
{
	sed '/^Files:/,$d' "$tree/systemd/debian/copyright"
	echo 'Files: *'
	sed -n 's/^Copyright (c) /Copyright: /p' "$tree/LICENSE"
	echo 'License: ISC'
	sed '1,/^Copyright/d; /./,$!d' "$tree/LICENSE" | sed 's/^$/./; s/^/ /' | sed '1{/^ \.$/d}'
} >"$src/debian/copyright"

cd "$src"
dpkg-buildpackage -b -us -uc >"$top/log" 2>&1 || {
	tail -n 60 "$top/log" >&2
	exit 1
}
cd "$top"
rm -rf "$src"
for f in *.deb; do
	echo "$top/$f"
done
