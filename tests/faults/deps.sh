#!/bin/sh
# Installs what only `make faults` needs (tests/deps.sh has the rest), and does
# nothing when all is there. The packages of etcd and Patroni may start services
# of their own; nothing here ever uses or touches those.
#
# SPDX-License-Identifier: ISC
set -eu

missing=""
for p in nftables iproute2 patroni etcd-server python3-etcd; do
	st=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || :)
	[ "$st" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "faults: installing$missing"
$sudo apt-get update -q </dev/null
$sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -q -y --no-install-recommends $missing </dev/null
