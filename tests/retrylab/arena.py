"""One PostgreSQL server, one pgweir with a database for each way, and one run.

SPDX-License-Identifier: ISC
"""
import os
import signal
import statistics
import subprocess
import time

import lab
import pgbench
import wire
import workloads
from cluster import BIN, SETUP, Postgres, until

WAYS = ('direct', 'off', 'implicit', 'replay')
ATTEMPTS = ('1', '2', '3_5', '6_10', 'more')
SETTINGS = {'workers': 2, 'default_pool_size': 20}      # the rest as pgweir has it by itself


def config(pg, **settings):
    """One server, a database of each way, all of them the same on it."""
    out = ['[databases]']
    out += ['%s = host=127.0.0.1 port=%d dbname=app user=app retry=%s' % (w, pg.port, w)
            for w in WAYS[1:]]
    out += ['[pgweir]', 'auth_type = trust', 'admin_users = admin', 'listen_port = 0',
            'log_connections = 0', 'log_disconnections = 0']
    return '\n'.join(out + ['%s = %s' % s for s in {**SETTINGS, **settings}.items()]) + '\n'


def retries(daemon):
    with wire.Conn(daemon.port, user='admin', database='pgweir') as c:
        return {r[0]: int(r[1]) for r in c.sql('SHOW RETRIES')}


class Run:
    """One workload, one way, one level: what clients were told and what is there."""

    def __init__(self, workload, way, level):
        self.workload, self.way, self.level = workload, way, level
        self.told = None
        self.numbers = workloads.Numbers()
        self.counters = {}      # SHOW RETRIES, what was added
        self.bad = []

    @property
    def name(self):
        return '%s, %s, %s' % (self.workload.name, self.level, self.way)

    def counter(self, *names):
        """Their sum; None where pgweir has none of them."""
        got = [self.counters[n] for n in names if n in self.counters]
        return sum(got) if got else None

    def again(self):
        """What was run again: (ok, mismatch, exhausted)"""
        return (self.counter('replay_ok', 'retry_ok'), self.counter('replay_mismatch'),
                self.counter('replay_exhausted', 'retry_exhausted'))

    def attempts(self):
        """How many replays went on after one attempt, two ... (ATTEMPTS)"""
        return [self.counter('replay_ok_' + x) or 0 for x in ATTEMPTS]


class Arena:
    def __init__(self, base):
        self.base, self.pg, self.daemon = base, Postgres(base, 'lab'), None

    def open(self):
        self.pg.init().start()
        with self.pg.connect(database='postgres') as c:
            for line in SETUP.strip().splitlines():
                c.sql(line)
        subprocess.run([os.path.join(BIN, 'pgbench'), '-i', '-q', '-s', '1', '-h', '127.0.0.1',
                        '-p', str(self.pg.port), '-U', 'app', 'app'], check=True, timeout=120,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pg.sql(workloads.SCHEMA, user='app')
        self.reset()
        bad = workloads.plans(self.pg)
        if bad:
            raise RuntimeError('\n'.join(bad))
        self.daemon = lab.Daemon(self.base, config(self.pg))
        return self

    def close(self):
        """What was wrong with the daemon's end, or ''."""
        bad = self.daemon.stop() if self.daemon else ''
        self.pg.stop(signal.SIGQUIT)
        return bad

    def reset(self):
        with self.pg.connect() as c:
            for sql in workloads.RESET.strip().split(';\n'):
                c.sql(sql)

    def where(self, way):
        return (self.pg.port, 'app') if way == 'direct' else (self.daemon.port, way)

    def level_is(self, way, level):
        """What a client that asks for the level as pgbench does really has."""
        port, database = self.where(way)
        with wire.Conn(port, database=database, options=pgbench.options(level)) as c:
            c.sql('BEGIN')
            got = c.one('SHOW transaction_isolation')
            c.sql('ROLLBACK')
        return got

    def run(self, workload, way, level, seconds):
        r = Run(workload, way, level)
        self.reset()
        got = self.level_is(way, level)
        if got != level:
            r.bad.append('clients run at %s' % got)
        port, database = self.where(way)
        before = retries(self.daemon)
        r.told = pgbench.run(self.base, port, database, workload.script, workload.clients,
                             seconds, workload.tries, level)
        r.counters = {k: v - before[k] for k, v in retries(self.daemon).items()}
        self.settle()
        r.numbers = workload.read(self.pg)
        r.bad += r.told.bad + workload.violations(r.numbers, r.told.done, level)
        if not r.told.done:
            r.bad.append('nothing was done')
        if self.daemon.proc.poll() is not None:
            raise RuntimeError('pgweir ended with %s' % self.daemon.proc.returncode)
        return r

    def settle(self):
        """Nothing runs any more."""
        until(lambda: self.pg.one(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND "
            "backend_type = 'client backend' AND state <> 'idle'") == '0', 30, 0.01,
            'what clients left behind to end')


# ---- what it costs when nothing conflicts -----------------------------------------------

def cpu_of(pid):
    """Seconds of processor, user and system, of all threads of a process; to the
    nanosecond, where /proc has hundredths."""
    return time.clock_gettime(~pid << 3 | 2)


class Cost:
    """Processor time of pgweir for each transaction, without conflicts."""

    def __init__(self, mode, rounds):
        self.mode, self.rounds = mode, rounds       # way: [(microseconds, tps)]

    def cpu(self, way):
        return statistics.median(x[0] for x in self.rounds[way])

    def tps(self, way):
        return statistics.median(x[1] for x in self.rounds[way])

    def ratio(self, way):
        """Against off in the same round: the three quartiles over the rounds."""
        pairs = zip(self.rounds[way], self.rounds['off'])
        return statistics.quantiles([a[0] / b[0] for a, b in pairs], method='inclusive')


def cost(arena, mode, seconds, rounds=15, ways=WAYS[1:]):
    """(Cost, what was wrong). Each way once in a round, in turning order. With one
    worker: with more it matters which worker has the servers of which pool."""
    where = os.path.join(arena.base, 'cost-' + mode)
    os.mkdir(where)
    daemon = lab.Daemon(where, config(arena.pg, workers=1))
    try:
        got, bad = _cost(arena, daemon, mode, seconds, rounds, ways)
    finally:
        ended = daemon.stop()
    return Cost(mode, got), bad + ([ended] if ended else [])


def _cost(arena, daemon, mode, seconds, rounds, ways):
    got, bad, acked = {w: [] for w in ways}, [], 0
    arena.reset()
    for r in range(rounds + 1):
        for i in range(len(ways)):
            way = ways[(i + r) % len(ways)]
            before = cpu_of(daemon.proc.pid)
            told = pgbench.run(arena.base, daemon.port, way, workloads.CALM, 8, seconds,
                               modes=[mode])
            used = cpu_of(daemon.proc.pid) - before
            bad += told.bad
            acked += told.done
            if told.failed or not told.done:
                bad.append('%d done and %d failed' % (told.done, told.failed))
            elif r:         # the first only warms up
                got[way].append((used / told.done * 1e6, told.tps))
    if retries(daemon)['retry_seen']:
        bad.append('there were conflicts where there should be none')
    if int(arena.pg.one('SELECT count(*) FROM log')) != acked:
        bad.append('rows of the log are not the COMMITs acknowledged')
    return got, bad
