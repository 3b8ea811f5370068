"""One run: servers, clients, the judgement. run.py and the tests use it.

SPDX-License-Identifier: ISC
"""
import collections
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests', 'integration')]

import checker  # noqa: E402
import wire  # noqa: E402
import workload  # noqa: E402
from cluster import SLOW, tail, until  # noqa: E402

DIRECT, OFF, REPLAY = 'direct', 'off', 'replay'
PROCESSES = 2           # of clients
POOL = 8                # servers for them all
COUNTER = 'replay_ok'   # of SHOW RETRIES

INI = '''[databases]
app = host=127.0.0.1 port=%(port)d dbname=app
[pgweir]
auth_type = trust
admin_users = admin
listen_port = 0
workers = 2
default_pool_size = %(pool)d
health_check_interval = 0.5
health_check_user = postgres
health_check_dbname = postgres
log_disconnections = 1
retry = %(retry)s
'''


class Daemon:
    """pgweir before one server."""

    def __init__(self, binary, base, server_port, retry, settings=()):
        self.path = os.path.join(base, 'history-%d.ini' % time.monotonic_ns())
        self.log = self.path + '.log'
        with open(self.path, 'w') as f:
            f.write(INI % {'port': server_port, 'pool': POOL, 'retry': retry})
            f.writelines('%s = %s\n' % s for s in dict(settings).items())
        with open(self.log, 'wb') as log:
            self.proc = subprocess.Popen([os.path.abspath(binary), self.path, '-p', '0'], stderr=log,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            self.port = self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self):
        if not select.select([self.proc.stdout], [], [], 20 * SLOW)[0]:
            raise RuntimeError('no ready line from pgweir:\n' + tail(self.log))
        m = re.search(rb'port=(\d+)', self.proc.stdout.readline())
        if not m:
            raise RuntimeError('pgweir did not start:\n' + tail(self.log))
        return int(m.group(1))

    def retries(self):
        """SHOW RETRIES: the counters by name."""
        with wire.Conn(self.port, user='admin', database='pgweir') as c:
            names, out = [], {}
            for m in c.ask(wire.query('SHOW RETRIES')):
                if m[0] == 'T':
                    names = m[1]
                elif m[0] == 'D':
                    row = dict(zip(names, m[1]))
                    out[row['name']] = int(row['value'])
            return out

    def ends(self):
        """What the log says of clients that did not end by themselves."""
        with open(self.log, errors='replace') as f:
            return [x.strip() for x in f if 'event=client_closed' in x and 'why=client_' not in x]

    def stop(self):
        """Complaints, if any."""
        ended = self.proc.poll()
        if ended is None:
            self.proc.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.proc.wait(2)
            if self.proc.poll() is None:
                self.proc.send_signal(signal.SIGTERM)
            try:
                ended = self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(10)
                ended = 'killed, as SIGTERM did not end it'
        self.proc.stdout.close()
        return ['pgweir ended with %s:\n%s' % (ended, tail(self.log))] if ended else []


@contextlib.contextmanager
def relay(port, cut):
    """The port of relay.py before this one; without cuts the same."""
    if not cut:
        yield port
        return
    proc = subprocess.Popen([sys.executable, '-B', os.path.join(HERE, 'relay.py'), '--to', str(port),
                             '--cut', str(cut)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield int(proc.stdout.readline())
    finally:
        proc.stdin.close()
        proc.wait(20)
        proc.stdout.close()


class Clients:
    """Processes of workload.py."""

    def __init__(self, base, port, isolation, clients, seed, lossy):
        self.procs, self.files = [], []
        start, first = time.monotonic(), 1
        for i in range(PROCESSES):
            n = clients // PROCESSES + (i < clients % PROCESSES)
            path = os.path.join(base, 'history-%d-%d.jsonl' % (time.monotonic_ns(), i))
            self.files.append(path)
            self.procs.append(subprocess.Popen(
                [sys.executable, '-B', os.path.join(HERE, 'workload.py'), '--port', str(port), '--clients', str(n),
                 '--first', str(first), '--seed', str(seed), '--isolation', isolation,
                 '--start', repr(start), '--out', path, *['--lossy'] * lossy],
                stdin=subprocess.PIPE))
            first += n

    def alive(self):
        return all(p.poll() is None for p in self.procs)

    def end(self):
        """Lets transactions end; lines of JSON."""
        for p in self.procs:
            p.stdin.close()
        for p in self.procs:
            p.wait(60 * SLOW)
        lines = []
        for f in self.files:
            with open(f) as x:
                lines += x.readlines()
        return lines

    def kill(self):
        for p in self.procs:
            if p.poll() is None:
                p.kill()
                p.wait(10)


class Result:
    """What was seen, and what is wrong with it."""

    def __init__(self, way, isolation, lines, final, retries, judge=None):
        txns, wrong = workload.load_history(lines)
        self.way, self.isolation = way, isolation
        self.txns, self.retries = txns, retries
        self.fates = collections.Counter(t.fate for t in txns)
        self.report = checker.check(txns, final, judge or isolation)
        self.bad = ['wrong answer: ' + w for w in wrong]
        self.bad += ['%s: %s' % a for a in self.report.anomalies]
        self.anomalies = len(self.bad)
        self.lines, self.final = lines, final
        self.closed = sum(json.loads(x).get('code') == workload.CLOSED for x in lines)

    replays = property(lambda self: self.retries.get(COUNTER, 0))
    acknowledged = property(lambda self: self.fates[checker.OK])

    def head(self):
        r = self.report
        cycles = ', '.join('%d %s' % (n, k) for k, n in sorted(r.cycle_kinds().items()))
        return ('%s, %s: %d acknowledged, %d failed, %d unknown, %s replays ok, %d anomalies, '
                '%d cycles%s%s' % (
                    self.way, self.isolation, self.acknowledged, self.fates[checker.FAIL],
                    self.fates[checker.UNKNOWN], self.replays if self.way == REPLAY else '-',
                    self.anomalies, len(r.cycles), ' (%s)' % cycles if cycles else '',
                    ' of %d transactions' % sum(c.size for c in r.cycles) if cycles else ''))

    def more(self):
        """Further lines: edges, errors by style, counters."""
        edges = ', '.join('%d %s' % (self.report.edges[k], k) for k in ('ww', 'wr', 'rw'))
        out = ['edges between %d transactions: %s' % (self.report.nodes, edges)]
        codes, styles = collections.Counter(), collections.Counter()
        for line in self.lines:
            x = json.loads(line)
            if 'fate' in x:
                styles[x['style'], x['fate']] += 1
                if x['code']:
                    codes[x['code'][:40]] += 1
        out.append('errors: ' + (', '.join('%s x %d' % c for c in codes.most_common(8)) or 'none'))
        out.append('acknowledged/failed by style: ' + ', '.join(
            '%s %d/%d' % (s, styles[s, checker.OK], styles[s, checker.FAIL])
            for s in sorted({s for s, _ in styles})))
        if self.retries:
            out.append('SHOW RETRIES: ' + ', '.join('%s %d' % c for c in self.retries.items() if c[1]))
        return out

    def save(self, path):
        """For run.py --recheck."""
        with open(path, 'w') as f:
            f.write(json.dumps({'way': self.way, 'isolation': self.isolation, 'retries': self.retries,
                                'final': list(self.final.items())}) + '\n')
            f.writelines(self.lines)


def recheck(path):
    with open(path) as f:
        head, lines = json.loads(f.readline()), f.readlines()
    return Result(head['way'], head['isolation'], lines, dict(head['final']), head['retries'])


def prepare(pg):
    """A database for one run. pg: a cluster.Postgres."""
    for name in workload.TABLES:
        pg.sql('DROP TABLE IF EXISTS ' + name, user='app')
    for line in workload.SCHEMA.strip().split(';\n'):
        pg.sql(line, user='app')


def wait(clients, daemon, seconds, min_replays, terminate, pg):
    """Until it has lasted so long and replayed so much (at most five times as long)."""
    began = time.monotonic()
    while True:
        clients.procs[0].poll()
        now = time.monotonic() - began
        enough = not min_replays or daemon.retries().get(COUNTER, 0) >= min_replays
        if now >= seconds and enough or now > 5 * seconds * SLOW or not clients.alive():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            clients.procs[0].wait(terminate or 0.25)        # ends only when it has crashed
        if terminate:
            pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                   "AND datname = 'app' ORDER BY random() LIMIT 1")


def run(pg, base, binary, way, isolation, seconds, clients=12, seed=1, min_replays=0,
        terminate=0, cut=0, settings=(), judge=None):
    """Plays it and judges it. min_replays: so many successful ones are demanded.
    terminate: every so many seconds a backend is ended. cut: of so many transactions the
    connection to the server is. judge: by another level."""
    prepare(pg)
    with relay(pg.port, cut) as port:
        lines, retries, ends = play(pg, base, binary, way, isolation, seconds, clients, seed, min_replays,
                                   terminate, cut, settings, port)
    until(lambda: pg.backends() == 0, why='the backends of the clients to be gone')
    final = workload.final_lists(lambda text: pg.sql(text, user='app'))
    r = Result(way, isolation, lines, final, retries, judge)
    # who was being asked what it had left behind is closed when its server is lost
    bound = [x for x in ends if 'why=server_of_the_session_lost' in x] if terminate or cut else []
    r.bad += [x for x in ends if x not in bound]
    if way != DIRECT and r.closed > len(bound):
        r.bad.append('%d clients were disconnected' % r.closed)
    if min_replays and r.replays < min_replays:
        r.bad.append('only %d successful replays, %d are demanded: it shows nothing' % (
            r.replays, min_replays))
    if isolation == checker.REPEATABLE_READ and seconds >= 5 and not r.report.cycles:
        r.bad.append('no write skew, which this level allows: the load shows nothing')
    if not r.fates[checker.OK]:
        r.bad.append('nothing was acknowledged')
    return r


def play(pg, base, binary, way, isolation, seconds, clients, seed, min_replays, terminate, cut,
         settings, port):
    """(lines, SHOW RETRIES, complaints of the daemon and how it ended clients)."""
    daemon = load = None
    ends = []
    if way != DIRECT:
        daemon = Daemon(binary, base, port, way, settings)
        port = daemon.port
    try:
        load = Clients(base, port, isolation, clients, seed, bool(terminate or cut))
        wait(load, daemon, seconds, min_replays, terminate, pg)
        if not load.alive():
            raise RuntimeError('the clients ended by themselves')
        lines = load.end()
        retries = daemon.retries() if daemon else {}
    finally:
        if load:
            load.kill()
        if daemon:
            ends = daemon.ends() + daemon.stop()
    return lines, retries, ends
