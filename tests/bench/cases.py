"""What is measured. Each case returns a Table; figures are medians of interleaved
rounds, ratios are taken inside one run.

SPDX-License-Identifier: ISC
"""
import contextlib
import signal
import time

import peers
import wire
from load import Bench, crowd, median, pgbench, rounds


class Table:
    """Rows of (name, cells); verdicts: (what, measured, bound)."""

    def __init__(self, title, head, said=''):
        self.title, self.head, self.said = title, head, said
        self.rows, self.verdicts = [], []

    def row(self, name, *cells):
        self.rows.append((name, cells))

    def bound(self, what, measured, at_most):
        self.verdicts.append((what, measured, at_most))


@contextlib.contextmanager
def started(*makers):
    """Proxies, and their end."""
    up = []
    try:
        for m in makers:
            up.append(m())
        yield up
    finally:
        for p in up:
            p.stop()


def us(x):
    return '%.1f' % x


def against(t, got, kind, bounds):
    """Rows of CPU and throughput, and verdicts: {other: at most this ratio}."""
    mine = median(got['pgweir'])
    for name, runs in got.items():
        cpu = median(runs)
        t.row('%s, %s' % (kind, name), us(cpu) if cpu else '', '%.2f' % (cpu / mine) if cpu else '',
              '%.0f' % median(runs, lambda r: r.tps))
    for other, most in bounds.items():
        if other in got:
            t.bound('%s: pgweir / %s' % (kind, other), mine / median(got[other]), most)


def case(number):
    """Marks what make bench runs, in this order."""
    def mark(f):
        f.case = number
        return f
    return mark


HEAD = ('proxy CPU, us per transaction', 'against pgweir', 'transactions/s')


@case(1)
def core(b):
    t = Table('16 clients, one event loop', HEAD)
    with started(lambda: peers.pgweir(b), lambda: peers.floor(b), lambda: peers.pgbouncer(b),
                 lambda: peers.haproxy(b), lambda: peers.pgpool(b), lambda: peers.Direct(b.pg.port)) as ps:
        for kind, bounds in (('simple', {'floor': 1.03, 'pgbouncer': 1.0}), ('extended', {'pgbouncer': 1.0}),
                             ('prepared', {'floor': 1.10, 'pgbouncer': 0.85})):
            # before 1.21 pgbouncer knows no prepared statements in transaction pooling
            qs = [p for p in ps if kind != 'prepared' or p.name != 'pgbouncer' or b.bouncer_prepares]
            against(t, rounds(qs, b.rounds, lambda p: pgbench(b, p, kind, seconds=b.seconds)), kind, bounds)
    return t


@case(2)
def many(b):
    t = Table('many clients over a pool of 20, simple', HEAD)
    with started(lambda: peers.pgweir(b), lambda: peers.pgbouncer(b)) as ps:
        for n in (200, 2000):
            got = rounds(ps, b.rounds, lambda p: pgbench(b, p, 'simple', clients=n, seconds=b.seconds))
            against(t, got, '%d clients' % n, {'pgbouncer': 0.95})
    return t


@case(3)
def connect(b):
    t = Table('a connection for each query, 16 clients', HEAD)
    with started(lambda: peers.pgweir(b), lambda: peers.pgbouncer(b), lambda: peers.haproxy(b),
                 lambda: peers.floor(b)) as ps:
        against(t, rounds(ps, b.rounds, lambda p: pgbench(b, p, 'connect', seconds=b.seconds)), 'connect',
                {'pgbouncer': 0.8})
    return t


@case(4)
def tls(b):
    t = Table('TLS of clients, 16 of them', HEAD)
    with b.with_tls(), started(lambda: peers.pgweir(b), lambda: peers.pgbouncer(b)) as ps:
        for kind in ('simple', 'extended'):
            got = rounds(ps, b.rounds, lambda p: pgbench(b, p, kind, seconds=b.seconds, tls=True))
            against(t, got, kind, {'pgbouncer': 0.85})
    return t


@case(5)
def pipeline(b):
    t = Table('pipelines of 100 queries, prepared, against single ones', ('proxy CPU, us per query',))
    with started(lambda: peers.pgweir(b), lambda: peers.floor(b)) as ps:
        one = rounds(ps, b.rounds, lambda p: pgbench(b, p, 'prepared', seconds=b.seconds))
        hundred = rounds(ps, b.rounds, lambda p: pgbench(b, p, 'pipeline', seconds=b.seconds))
    for p in ps:
        t.row(p.name + ', single', us(median(one[p.name])))
        t.row(p.name + ', in pipelines', us(median(hundred[p.name]) / 100))
    t.bound('a query in a pipeline / a single one', median(hundred['pgweir']) / 100 / median(one['pgweir']), 0.2)
    return t


@case(6)
def idle_clients(b):
    t = Table('16 clients at work among many that idle', ('proxy CPU, us per transaction', 'against none'))
    crowds = [n for n in (0, 1000, 10000) if n + 500 < b.files]
    for make in (peers.pgweir, peers.pgbouncer):
        with started(lambda: make(b)) as (p,):
            base = 0
            for n in crowds:
                with crowd(p, n):
                    x = median([pgbench(b, p, 'simple', seconds=b.seconds) for _ in range(b.rounds)])
                base = base or x
                t.row('%s, %d idle' % (p.name, n), us(x), '%.2f' % (x / base))
            if make is peers.pgweir:
                t.bound('%d idle clients / none' % crowds[-1], x / base, 1.10)
    return t


@case(7)
def pools(b):
    t = Table('16 clients in one of many pools, each with a server', ('proxy CPU, us per transaction', 'against one'))
    base = 0
    for n in (1, 100, 1000):
        names = ['app'] + ['db%d' % i for i in range(1, n)]
        with started(lambda: peers.pgweir(b, databases=names)) as (p,), crowd(p, n, names):
            x = median([pgbench(b, p, 'simple', seconds=b.seconds) for _ in range(b.rounds)])
        base = base or x
        t.row('%d pools' % n, us(x), '%.2f' % (x / base))
    t.bound('1,000 pools / one', x / base, 1.10)
    return t


def spread(p, before):
    """Of the two busiest threads, the busier one's share."""
    spent = sorted((v - before.get(k, 0) for k, v in p.threads().items()), reverse=True)[:2]
    return spent[0] / sum(spent) if sum(spent) else 0


@case(8)
def workers(b):
    t = Table('one worker, and two', HEAD + ('p99, ms', 'busier worker'))
    with started(lambda: peers.pgweir(b, 'pgweir-1'), lambda: peers.pgweir(b, 'pgweir-2', workers=2)) as ps:
        for n in (16, 17, 200):
            shares = {}

            def one(p):
                before = p.threads()
                r = pgbench(b, p, 'simple', clients=n, seconds=b.seconds, log=True)
                shares[p.name] = spread(p, before)
                return r
            got = rounds(ps, b.rounds, one)
            base = median(got['pgweir-1'])
            for p in ps:
                x = median(got[p.name])
                t.row('%d clients, %d' % (n, 1 + (p is ps[1])), us(x), '%.2f' % (x / base),
                      '%.0f' % median(got[p.name], lambda r: r.tps),
                      '%.2f' % median(got[p.name], lambda r: r.quantile(0.99)), '%.0f %%' % (100 * shares[p.name]))
            t.bound('%d clients: two workers / one' % n, median(got['pgweir-2']) / base, 1.05)
    return t


@case(9)
def memory(b):
    t = Table('memory of idle clients that have asked once', ('bytes each',))
    n = min(10000, b.files - 500)
    for make in (peers.pgweir, peers.pgbouncer):
        with started(lambda: make(b)) as (p,):
            t.row('%s, plain, %d' % (p.name, n), '%d' % each(p, n, False))
        if make is peers.pgweir:
            t.bound('plain client, bytes', float(t.rows[-1][1][0]), 1000)
        with b.with_tls(), started(lambda: make(b)) as (p,):
            t.row('%s, TLS, %d' % (p.name, n), '%d' % each(p, n, True))
        if make is peers.pgweir:
            t.bound('TLS client, KiB', float(t.rows[-1][1][0]) / 1024, 12)
    return t


def each(p, n, secure):
    with crowd(p, 50, tls=secure):
        pass
    before = p.memory()
    with crowd(p, n, tls=secure):
        time.sleep(1)
        return (p.memory() - before) / n


@case(10)
def latency(b):
    """Half of what pgbouncer alone can do, for each."""
    t = Table('latency at half load, simple, 16 clients', ('p50, ms', 'p99, ms', 'p99.9, ms'))
    with started(lambda: peers.pgweir(b), lambda: peers.pgbouncer(b), lambda: peers.floor(b),
                 lambda: peers.Direct(b.pg.port)) as ps:
        rate = int(pgbench(b, ps[1], 'simple', seconds=b.seconds).tps / 2)
        t.said = '%d transactions/s' % rate
        got = rounds(ps, b.rounds, lambda p: pgbench(b, p, 'simple', seconds=b.seconds, rate=rate, log=True))
    q = {p.name: [median(got[p.name], lambda r: r.quantile(x)) for x in (0.5, 0.99, 0.999)] for p in ps}
    for p in ps:
        t.row(p.name, *('%.3f' % x for x in q[p.name]))
    for i, name in enumerate(('p50', 'p99')):
        t.bound('%s: pgweir / pgbouncer' % name, q['pgweir'][i] / q['pgbouncer'][i], 1.0)
    return t


@case(11)
def retry(b):
    t = Table('retry=implicit against off, no contention', HEAD)
    with started(lambda: peers.pgweir(b, 'pgweir-off', retry='off'), lambda: peers.pgweir(b, 'pgweir')) as ps:
        for kind in ('simple', 'prepared'):
            against(t, rounds(ps, b.rounds, lambda p: pgbench(b, p, kind, seconds=b.seconds)), kind,
                    {'pgweir-off': 1.03})
    return t


BULK = {
    'rows of 100 bytes': "SELECT repeat('x', 92) FROM generate_series(1, %d)",
    'rows of 1 MiB': "SELECT repeat('x', 1048576) FROM generate_series(1, %d / 10000)",
    'COPY out': "COPY (SELECT repeat('x', 92) FROM generate_series(1, %d)) TO STDOUT",
}


def megabytes(p, sql):
    """MB a second, and microseconds of processor time of the proxy for each MB."""
    with wire.Conn(p.port, timeout=120) as c:
        cpu, start, n = p.cpu(), time.monotonic(), 0
        c.send(wire.query(sql))
        tail = b''
        while not tail.endswith(b'Z\0\0\0\5I'):
            got = c.sock.recv(1 << 20)
            if not got:
                raise RuntimeError('%s ends in the middle' % p.name)
            n += len(got)
            tail = (tail + got)[-6:]
        return n / 1e6 / (time.monotonic() - start), (p.cpu() - cpu) * 1e6 / (n / 1e6)


@case(12)
def bulk(b):
    t = Table('large results', ('MB/s', 'proxy CPU, us per MB'))
    with started(lambda: peers.pgweir(b), lambda: peers.floor(b), lambda: peers.pgbouncer(b),
                 lambda: peers.haproxy(b), lambda: peers.Direct(b.pg.port)) as ps:
        for name, sql in BULK.items():
            got = rounds(ps, b.rounds, lambda p: megabytes(p, sql % (b.seconds * 400000)))
            speed = {p.name: median(got[p.name], lambda r: r[0]) for p in ps}
            for p in ps:
                t.row('%s, %s' % (name, p.name), '%.0f' % speed[p.name],
                      '%.0f' % median(got[p.name], lambda r: r[1]))
            t.bound('%s: floor / pgweir, MB/s' % name, speed['floor'] / speed['pgweir'], 1 / 0.95)
    return t


# ---- what must not be felt by others --------------------------------------------------------

def storm(b, p):
    """Others log in as fast as one can."""
    until = time.monotonic() + b.seconds
    while time.monotonic() < until:
        with crowd(p, 20, ask=False):
            pass


def reload(b, p):
    until = time.monotonic() + b.seconds
    while time.monotonic() < until:
        p.proc.send_signal(signal.SIGHUP)
        time.sleep(0.1)


def show(b, p):
    until = time.monotonic() + b.seconds
    with wire.Conn(p.port, database='pgweir') as c:
        while time.monotonic() < until:
            for what in ('POOLS', 'STATS', 'LISTS', 'CONFIG', 'NODES'):
                c.sql('SHOW ' + what)
            time.sleep(0.01)


def giant(b, p):
    until = time.monotonic() + b.seconds
    while time.monotonic() < until:
        megabytes(p, BULK['rows of 100 bytes'] % 200000)


@case(13)
def calm(b):
    """The same disturbances hit the server and this machine's processors too: beside the
    difference through pgweir stands that of a client that goes past it."""
    t = Table('p99 of 8 clients at a third of the load, ms',
              ('alone', 'storm of logins', 'reloads', 'SHOW', 'giant results'))
    cells = {}
    with started(lambda: peers.pgweir(b, admin_users='app'), lambda: peers.Direct(b.pg.port)) as ps:
        rate = int(pgbench(b, ps[0], 'simple', clients=8, seconds=2).tps / 3)
        t.said = '%d transactions/s' % rate
        for what in (None, storm, reload, show, giant):
            def one(p):
                run = Bench(b, p, 'simple', clients=8, seconds=b.seconds, rate=rate, log=True)
                if what:
                    time.sleep(0.2)
                    what(b, ps[0])
                return run.result()
            for name, runs in rounds(ps, b.rounds, one).items():
                cells.setdefault(name, []).append(median(runs, lambda r: r.quantile(0.99)))
    for name, xs in cells.items():
        t.row(name, *('%.3f' % x for x in xs))
    for i, h in enumerate(t.head[1:], 1):
        t.bound('%s: p99 moves by, ms' % h, cells['pgweir'][i] - cells['pgweir'][0], 1.0)
    return t
