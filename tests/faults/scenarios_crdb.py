"""Faults of CockroachDB: drain, death, restart. Nothing is played yet: this is
the place for them, and kind 'crdb' the lab for them (run.py says that it is not
run). A lab of that kind has .nodes with drain(), kill(), restart(), .port and
.http_port, and .primary, any node that answers SQL directly.

SPDX-License-Identifier: ISC
"""
