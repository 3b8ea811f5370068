"""What the proxies are put under: pgbench, and crowds of clients that mostly idle.

SPDX-License-Identifier: ISC
"""
import contextlib
import os
import re
import ssl
import statistics
import subprocess

import wire
from cluster import BIN

PIPELINE = '\\set aid random(1, 100000)\n\\startpipeline\n%s\\endpipeline\n' % (
    'SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n' * 100)
KINDS = {
    'simple': ['-S', '-M', 'simple'],
    'extended': ['-S', '-M', 'extended'],
    'prepared': ['-S', '-M', 'prepared'],
    'connect': ['-S', '-M', 'simple', '-C'],
    'pipeline': ['-M', 'prepared', '-f', 'pipeline.sql'],
}


class Run:
    """What one pgbench saw, and what it cost the proxy."""

    def __init__(self, tps, count, cpu, latencies):
        self.tps, self.count, self.seconds = tps, count, cpu
        self.cpu = cpu / count * 1e6            # us for each transaction
        self.latencies = sorted(latencies)

    def quantile(self, q):
        """Milliseconds."""
        ls = self.latencies
        return ls[min(int(len(ls) * q), len(ls) - 1)] / 1e3 if ls else 0.0


def pgbench(bench, proxy, kind, clients=16, seconds=4, rate=0, log=False, tls=False, dbname='app', jobs=1):
    return Bench(bench, proxy, kind, clients, seconds, rate, log, tls, dbname, jobs).result()


class Bench:
    """One pgbench that runs; result() waits for it."""

    def __init__(self, bench, proxy, kind, clients=16, seconds=4, rate=0, log=False, tls=False, dbname='app', jobs=1):
        self.bench, self.proxy = bench, proxy
        self.prefix = bench.path('lat-%s-%d' % (proxy.name.replace(' ', '-'), bench.number()))
        args = [BIN + '/pgbench', '-h', '127.0.0.1', '-p', str(proxy.port), '-U', 'app', '-n', '-c', str(clients),
                '-j', str(jobs), '-T', str(seconds), *KINDS[kind]]
        if rate:
            args += ['-R', str(rate)]
        if log:
            args += ['-l', '--log-prefix=' + self.prefix]
        self.before = proxy.cpu()
        self.proc = subprocess.Popen([*args, dbname], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, cwd=bench.dir,
                                     env={**os.environ, 'PGSSLMODE': 'require' if tls else 'disable'})
        self.timeout = seconds + 60

    def result(self):
        out = self.proc.communicate(timeout=self.timeout)[0].decode(errors='replace')
        cpu = self.proxy.cpu() - self.before
        n = re.search(r'actually processed: (\d+)', out)
        tps = re.search(r'^tps = ([\d.]+)', out, re.M)
        if not n or not tps or 'aborted' in out or int(n.group(1)) == 0:
            raise RuntimeError('%s: pgbench says:\n%s' % (self.proxy.name, out[-2000:]))
        return Run(float(tps.group(1)), int(n.group(1)), cpu, self.latencies())

    def latencies(self):
        """Microseconds of each transaction, the wait for its turn included."""
        out = []
        for name in os.listdir(self.bench.dir):
            path = self.bench.path(name)
            if path.startswith(self.prefix + '.'):
                with open(path) as f:
                    out += [int(line.split()[2]) for line in f]
                os.unlink(path)
        return out


def anyone():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


@contextlib.contextmanager
def crowd(proxy, count, databases=('app',), tls=False, ask=True):
    """Clients that have asked once, and idle now."""
    kw = {'tls': anyone()} if tls else {}
    cs = []
    try:
        for i in range(count):
            cs.append(wire.Conn(proxy.port, timeout=60, database=databases[i % len(databases)], **kw))
            if ask:
                cs[-1].sql('SELECT 1')
        yield cs
    finally:
        for c in cs:
            with contextlib.suppress(OSError):
                c.send(wire.terminate())
            c.close()


def median(runs, what=lambda r: r.cpu):
    return statistics.median(what(r) for r in runs)


def rounds(proxies, count, one):
    """{proxy's name: [results]}: each proxy once per round, in turning order, so that
    a busy moment of the machine hits all of them."""
    got = {p.name: [] for p in proxies}
    for r in range(count):
        for i in range(len(proxies)):
            p = proxies[(i + r) % len(proxies)]
            got[p.name].append(one(p))
    return got
