# SPDX-License-Identifier: ISC
"""Nodes of a CockroachDB cluster for tests: processes of crdbnode.py, which says
what is imitated, before one PostgreSQL server that has the data.

    def test_x(crdb):               a cluster of three nodes of v21.2
        crdb.nodes[0].drain()
    def test_y(make_crdb):          a cluster of one's own
        c = make_crdb(version=V26, real_keys=True, n=1)

Each test of `crdb` finds all nodes up, with no hooks set and the counts at 0;
they keep their ports for the whole run.

A Node can be used wherever conftest.db() and wire.Conn() want a server (.port):

    drain(initial_wait=0, connections_timeout=0, transactions_timeout=10,
          tell=1.5, seed=None, leave=False)     begins; wait_phase('drained') waits
        phases: running, unready, refusing, draining, drained. Idle connections are told
        at a random moment 0 to `tell` s into `draining`; leave: the process ends at last
    undrain()   as after a restart, in the same process; reset(): the same
    kill()      SIGKILL; restart(): a new process on the same ports
    hang(), resume()    the kernel accepts, nobody answers: SIGSTOP, SIGCONT
    decommission(True)  503 for ready=1, while SQL works
    inject(code='40001', n=1, on='statement', when='before', match=None, block=None, text=None)
        on: statement, commit, begin, set, rollback... (kinds of crdbnode.py)
        when: before (it is not run), after (it is run, its answer is lost),
              rows (it is run, its rows go out, and it is rolled back)
        match: a regular expression for the text; block: only inside (True) or
        outside (False) of a transaction block
    latency(seconds, logins=0), refuse_logins(n) with 53300, cut(): all connections
    stats()     {'passed', 'refused', 'refused_logins', 'logins', 'told', 'retried',
                 'injected', 'busy_logins', 'cancels', 'health'}: statements given to
                PostgreSQL, refused by the drain, ...
    passed_tokens(), refused_tokens()   words tok_... in statements and parameters
    http('/health?ready=1')             (status, body)
"""
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

import wire
from cluster import SLOW, Postgres, free_port, tail, until
from conftest import LIVE
from crdbnode import V21, V26

__all__ = ['V21', 'V26', 'Node', 'Crdb']

HERE = os.path.dirname(os.path.abspath(__file__))


class Node:
    """A process of crdbnode.py."""

    inside = ()         # what it is started with: a namespace

    def __init__(self, directory, name, conf):
        self.name = name
        self.conf = {'port': free_port(), 'http_port': free_port(), **conf}
        self.log = os.path.join(directory, name + '.log')
        self.proc, self.buf = None, b''
        self.lock = threading.Lock()
        self.stopped = False

    port = property(lambda self: self.conf['port'])
    http_port = property(lambda self: self.conf['http_port'])
    id = property(lambda self: self.conf['id'])
    up = property(lambda self: self.proc is not None and self.proc.poll() is None)

    # -- the process

    def start(self, wait=True):
        assert not self.up
        self.buf, self.stopped = b'', False
        with open(self.log, 'ab') as log:
            self.proc = subprocess.Popen(
                [*self.inside, sys.executable, '-B', os.path.join(HERE, 'crdbnode.py'), json.dumps(self.conf)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd='/')
        return self.wait_ready() if wait else self

    def wait_ready(self):
        got = self.line(20)
        assert got == b'ready', 'a node did not start: %r\n%s' % (got, tail(self.log, 20))
        return self

    def line(self, timeout):
        out = self.proc.stdout.fileno()
        while b'\n' not in self.buf:
            if not select.select([out], [], [], timeout * SLOW)[0]:
                raise TimeoutError('%s says nothing' % self.name)
            more = os.read(out, 1 << 16)
            if not more:
                return b''
            self.buf += more
        got, self.buf = self.buf.split(b'\n', 1)
        return got

    def ask(self, do='stats', **kw):
        with self.lock:
            self.proc.stdin.write(json.dumps({'do': do, **kw}).encode() + b'\n')
            self.proc.stdin.flush()
            got = json.loads(self.line(20))
        assert 'wrong' not in got, got
        return got

    def end(self, how):
        if not self.up:
            return
        self.proc.send_signal(how)
        if self.stopped:
            self.resume()
        self.proc.wait(20)
        for f in (self.proc.stdin, self.proc.stdout):
            with contextlib.suppress(OSError):
                f.close()

    def kill(self):
        """A machine that dies: EOF on all connections, then refused."""
        self.end(signal.SIGKILL)

    stop = kill

    def restart(self):
        self.kill()
        return self.start()

    def hang(self):
        self.proc.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self):
        self.proc.send_signal(signal.SIGCONT)
        self.stopped = False

    # -- what it is told

    def drain(self, initial_wait=0, connections_timeout=0, transactions_timeout=10, tell=1.5,
              seed=None, leave=False):
        self.ask('drain', initial_wait=initial_wait, connections_timeout=connections_timeout,
                 transactions_timeout=transactions_timeout, tell=tell, seed=seed, leave=leave)

    def reset(self):
        self.ask('reset')
        until(lambda: self.ask()['connections'] == 0, why='connections of %s to end' % self.name)

    undrain = reset

    def decommission(self, on=True):
        self.ask('set', not_ready='node is shutting down' if on else None)

    def inject(self, code='40001', n=1, on='statement', **kw):
        self.ask('inject', code=code, n=n, on=on, **kw)

    def clear(self):
        """No injections any more."""
        self.ask('clear')

    def latency(self, seconds, logins=0):
        self.ask('set', latency=seconds, login_latency=logins)

    def refuse_logins(self, n=1000000):
        self.ask('set', busy_logins=n)

    def server_retries(self, n):
        """How often it runs a statement outside a block again by itself."""
        self.ask('set', retries=n)

    def cut(self):
        self.ask('break')

    # -- what it says

    def phase(self):
        return self.ask()['phase']

    def wait_phase(self, *phases, timeout=20):
        return until(lambda: self.phase() in phases and self.phase(), timeout,
                     why='%s to be %s' % (self.name, phases))

    def stats(self):
        got = self.ask()
        names = ('passed refused refused_logins logins told retried injected busy_logins cancels '
                 'health').split()
        return {**{n: 0 for n in names}, **got['counts'], 'connections': got['connections'],
                'injections': got['injections']}

    def passed_tokens(self):
        return self.ask()['passed_tokens']

    def refused_tokens(self):
        return self.ask()['refused_tokens']

    def http(self, path='/health?ready=1', timeout=10):
        c = http.client.HTTPConnection('127.0.0.1', self.http_port, timeout=timeout)
        try:
            c.request('GET', path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def connect(self, user='app', database='app', **kw):
        return wire.Conn(self.port, user=user, database=database, **kw)


class Crdb:
    """Nodes before one PostgreSQL server."""

    def __init__(self, base, pg, n=3, version=V21, **conf):
        self.pg = pg
        self.dir = tempfile.mkdtemp(prefix='crdb-', dir=base)
        os.mkdir(self.dir + '/keys')
        self.nodes = [Node(self.dir, 'node%d' % (i + 1), {
            'id': i + 1, 'pg_port': pg.port, 'version': version, 'defaultdb': 'postgres',
            'keys': self.dir + '/keys', 'seed': i + 1, **conf}) for i in range(n)]
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()

    http_ports = property(lambda self: ','.join(str(n.http_port) for n in self.nodes))

    def reset(self):
        """All nodes up and as new."""
        new = []
        for n in self.nodes:
            if n.up and n.stopped:
                n.kill()
            if not n.up:
                new.append(n.start(wait=False))
        for n in new:
            n.wait_ready()
        for n in self.nodes:
            if n not in new:
                n.reset()
        # what a dead node has left running
        self.pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN "
                    "('app', 'other') AND backend_type = 'client backend'")

    def show(self):
        """Their logs, when a test fails."""
        for n in self.nodes:
            LIVE.append((n.name, n.log, os.path.getsize(n.log)))

    def complaints(self):
        """What the nodes themselves have done wrong."""
        return [tail(n.log) for n in self.nodes if os.path.getsize(n.log)]

    def total(self, name):
        return sum(n.stats()[name] for n in self.nodes if n.up)

    def sql(self, text, **kw):
        return self.pg.sql(text, user='app', **kw)

    def one(self, text):
        return self.sql(text)[0][0]

    def stop(self):
        for n in self.nodes:
            n.kill()
        bad = self.complaints()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert not bad, 'a node of the relay failed:\n' + '\n'.join(bad)


# ---- fixtures ------------------------------------------------------------------------

@pytest.fixture(scope='session')
def crdb_pg(base, template):
    """The server behind the nodes."""
    p = Postgres(base, 'crdb').copy_from(template)
    p.settings('max_connections = 700\nmax_pred_locks_per_transaction = 512')
    p.start()
    yield p
    p.stop(signal.SIGQUIT)


@pytest.fixture(scope='session')
def crdb_shared(base, crdb_pg):
    c = Crdb(base, crdb_pg)
    yield c
    c.stop()


@pytest.fixture
def crdb(crdb_shared):
    """Three nodes, all up and as new."""
    crdb_shared.reset()
    crdb_shared.show()
    LIVE.append(('postgres', crdb_shared.pg.log, os.path.getsize(crdb_shared.pg.log)))
    yield crdb_shared


@pytest.fixture
def make_crdb(base, crdb_pg):
    """make_crdb(n=3, version=V21, real_keys=False, rpc_port=False, ...): clusters of the
    test's own."""
    made = []

    def make(**kw):
        c = Crdb(base, crdb_pg, **kw)
        made.append(c)
        c.show()
        return c
    yield make
    for c in made:
        c.stop()
