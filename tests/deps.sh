#!/bin/sh
# Installs the Debian packages that are missing, and does nothing (offline, in
# milliseconds) when all are there. No questions; sudo only when not root. With
# names, these instead of those that `make check` needs.
#
# The packages of PostgreSQL, pgbouncer and haproxy may start services of their
# own; nothing here ever uses or touches those.
#
# SPDX-License-Identifier: ISC
set -eu

want="gcc make pkg-config binutils libc6-dev libevent-dev libssl-dev libidn-dev libpq-dev libinih-dev
libcmocka-dev clang libclang-rt-14-dev cppcheck postgresql-15 postgresql-client-15 pgbouncer haproxy strace
python3 python3-pytest python3-pytest-timeout python3-cryptography python3-psycopg2 python3-psycopg python3-asyncpg
python3-sqlalchemy python3-aiohttp python3-flask
python3-psycopg-pool python3-pg8000 python3-greenlet python3-django python3-pglast
chromium chromium-driver python3-selenium prometheus prometheus-pgbouncer-exporter python3-prometheus-client
fonts-dejavu-core util-linux procps spin nftables iproute2 openssl dpkg-dev debhelper
lintian systemd systemd-sysv systemd-container dbus python3-pyte curl mandoc groff-base zsh fish"
[ $# = 0 ] || want="$*"

missing=""
for p in $want; do
	st=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :)
	[ "$st" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q </dev/null
$sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends $missing </dev/null
