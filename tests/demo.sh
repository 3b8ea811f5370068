#!/bin/bash
# make demo: the product doing its job on a real three-node cluster while a node
# is killed. Installs what is missing, builds, and leaves nothing behind.
# DEMO_KEEP=1 keeps it all running to play with.
#
# SPDX-License-Identifier: ISC
set -eu
cd "$(dirname "$0")/.."
tests/deps.sh
make -s all
exec /usr/bin/python3 tests/demo.py
