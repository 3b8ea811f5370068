#!/bin/sh
# Installs what only `make faults` needs. The packages of etcd and Patroni may
# start services of their own; nothing here ever uses or touches those.
#
# SPDX-License-Identifier: ISC
exec "$(dirname "$0")/../deps.sh" patroni etcd-server python3-etcd
