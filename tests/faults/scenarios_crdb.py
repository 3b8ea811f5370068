"""Faults of CockroachDB: drain, death, restart; of the double in tests/integration
(crdbnode.py), three nodes before one PostgreSQL server.

SPDX-License-Identifier: ISC
"""
import time

from lab import fault

DRAIN = {'seed': 1, 'transactions_timeout': 3}


@fault('crdb-drain', 'CockroachDB: SIGTERM of a node with its default settings (no warning of '
       'any kind); it ends, and comes back', kind='crdb')
def drain(lab):
    node = lab.nodes[0]
    yield
    node.drain(leave=True, **DRAIN)
    yield lab.seconds
    node.restart()
    yield


@fault('crdb-drain-waits', 'the same with server.shutdown.initial_wait = 3 s and '
       'health_check_http', kind='crdb')
def drain_waits(lab):
    node = lab.nodes[0]
    yield
    node.drain(leave=True, initial_wait=3, **DRAIN)
    yield lab.seconds
    node.restart()
    yield


@fault('crdb-rolling', 'CockroachDB: SIGTERM and restart of each node in turn', kind='crdb', lasts=2)
def rolling(lab):
    yield
    for node in lab.nodes:
        node.drain(**DRAIN)
        node.wait_phase('drained')
        node.restart()
        time.sleep(lab.seconds / 2)
    yield
    yield


@fault('crdb-kill', 'CockroachDB: SIGKILL of a node; it comes back', kind='crdb')
def kill(lab):
    node = lab.nodes[0]
    yield
    node.kill()
    yield lab.seconds
    node.restart()
    yield


@fault('crdb-hang', 'CockroachDB: SIGSTOP of a node, then SIGCONT', kind='crdb')
def hang(lab):
    node = lab.nodes[0]
    yield
    node.hang()
    try:
        yield lab.seconds
    finally:
        node.resume()
    yield
