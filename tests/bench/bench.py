#!/usr/bin/python3
"""Throughput, processor time per transaction, p99 and memory of idle clients of
pgweir, pgbouncer and haproxy, and of the server alone, on this machine, now.

Rounds are interleaved (each proxy once per round, in turning order), and the
median of the rounds is shown, so that a busy moment of the machine hits all of
them. One event loop each unless BENCH_WORKERS says otherwise. The load
generator, the server and the proxy share the processors: what is comparable is
a proxy's own processor time, and the ratios.

SPDX-License-Identifier: ISC
"""
import os
import re
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'integration'))
sys.dont_write_bytecode = True

import wire  # noqa: E402
from cluster import AS_POSTGRES, BIN, Postgres, free_port, make_base, make_template, until  # noqa: E402

PGWEIR = os.environ.get('PGWEIR') or os.path.join(ROOT, 'build', 'pgweir')
ROUNDS = int(os.environ.get('BENCH_ROUNDS', 3))
SECONDS = int(os.environ.get('BENCH_SECONDS', 4))
CLIENTS = int(os.environ.get('BENCH_CLIENTS', 16))
WORKERS = int(os.environ.get('BENCH_WORKERS', 1))
IDLE = 1000
TICK = os.sysconf('SC_CLK_TCK')
LOADS = {
    'select-only, simple protocol': ['-S', '-M', 'simple'],
    'select-only, extended protocol': ['-S', '-M', 'extended'],
    'new connection per transaction': ['-S', '-M', 'simple', '-C'],
}


class Proxy:
    def __init__(self, name, argv, port=None, who=()):
        self.name = name
        self.log = open(os.path.join(BASE, name + '.log'), 'wb')
        self.proc = subprocess.Popen([*who, *argv], stdin=subprocess.DEVNULL, cwd='/',
                                     stdout=subprocess.PIPE if port is None else self.log, stderr=self.log)
        self.port = port
        if port is None:
            if not select.select([self.proc.stdout], [], [], 20)[0]:
                raise RuntimeError(name + ' says nothing')
            line = self.proc.stdout.readline().decode()
            m = re.search(r'port=(\d+)', line)
            if not m:
                raise RuntimeError('%s does not start: %s' % (name, self.text()))
            self.port = int(m.group(1))
        until(self.answers, 20, 0.05, name + ' to answer: ' + self.text())

    def text(self):
        with open(self.log.name, errors='replace') as f:
            return f.read()[-2000:]

    def answers(self):
        if self.proc.poll() is not None:
            raise RuntimeError('%s ended: %s' % (self.name, self.text()))
        try:
            with wire.Conn(self.port, timeout=5) as c:
                return c.one('SELECT 1') == '1'
        except (OSError, wire.Closed, wire.PgError):
            return False

    def cpu(self):
        """Seconds of processor time so far, all threads."""
        with open('/proc/%d/stat' % self.proc.pid) as f:
            v = f.read().rsplit(')', 1)[1].split()
        return (int(v[11]) + int(v[12])) / TICK

    def rss_kb(self):
        with open('/proc/%d/status' % self.proc.pid) as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1))

    def stop(self):
        self.proc.send_signal(signal.SIGQUIT if self.name == 'pgweir' else signal.SIGTERM)
        try:
            self.proc.wait(3)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
        if self.proc.stdout:
            self.proc.stdout.close()
        self.log.close()


class Direct:
    name, proc = 'server alone', None

    def __init__(self, port):
        self.port = port

    def cpu(self):
        return 0.0

    def stop(self):
        pass


def write(name, text):
    path = os.path.join(BASE, name)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, 0o644)
    return path


def start_pgweir(pg):
    conf = write('pgweir.ini', '''[databases]
app = host=127.0.0.1 port=%d dbname=app
[pgweir]
auth_type = trust
listen_port = 0
workers = %d
default_pool_size = 20
max_client_conn = 2000
log_connections = 0
log_disconnections = 0
''' % (pg.port, WORKERS))
    return Proxy('pgweir', [PGWEIR, conf])


def start_pgbouncer(pg):
    port = free_port()
    write('users.txt', '"app" ""\n')
    conf = write('pgbouncer.ini', '''[databases]
app = host=127.0.0.1 port=%d dbname=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s/users.txt
pool_mode = transaction
default_pool_size = 20
max_client_conn = 2000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
''' % (pg.port, port, BASE))
    return Proxy('pgbouncer', ['pgbouncer' if shutil.which('pgbouncer') else '/usr/sbin/pgbouncer', '-q', conf],
                 port, AS_POSTGRES)


def start_haproxy(pg):
    port = free_port()
    conf = write('haproxy.cfg', '''global
    maxconn 3000
    nbthread %d
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
listen pg
    bind 127.0.0.1:%d
    server s 127.0.0.1:%d
''' % (WORKERS, port, pg.port))
    return Proxy('haproxy', ['/usr/sbin/haproxy', '-db', '-f', conf], port)


def pgbench(proxy, args):
    """(tps, processor seconds of the proxy per transaction, p99 in seconds)"""
    prefix = os.path.join(BASE, 'lat')
    cpu = proxy.cpu()
    seconds = SECONDS if '-C' not in args else max(2, SECONDS - 2)
    out = subprocess.run(
        [BIN + '/pgbench', '-h', '127.0.0.1', '-p', str(proxy.port), '-U', 'app', '-n', '-c', str(CLIENTS), '-j', '1',
         '-T', str(seconds), '-l', '--log-prefix=' + prefix, '--sampling-rate=0.2', *args, 'app'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        cwd=BASE).stdout.decode(errors='replace')
    cpu = proxy.cpu() - cpu
    n = re.search(r'actually processed: (\d+)', out)
    tps = re.search(r'^tps = ([\d.]+)', out, re.M)
    if not n or not tps or 'aborted' in out or int(n.group(1)) == 0:
        raise RuntimeError('%s: pgbench says:\n%s' % (proxy.name, out))
    lat = []
    for p in os.listdir(BASE):
        if p.startswith('lat.'):
            with open(os.path.join(BASE, p)) as f:
                lat += [int(line.split()[2]) for line in f]
            os.unlink(os.path.join(BASE, p))
    lat.sort()
    return float(tps.group(1)), cpu / int(n.group(1)), lat[int(len(lat) * 0.99)] / 1e6 if lat else 0.0


def idle_memory(proxy):
    """kB before, and with IDLE clients that have each asked once."""
    before = proxy.rss_kb()
    cs = [wire.Conn(proxy.port, timeout=30) for _ in range(IDLE)]
    for c in cs:
        c.sql('SELECT 1')
    time.sleep(0.5)
    after = proxy.rss_kb()
    for c in cs:
        c.send(wire.terminate())
        c.close()
    return before, after


def ratio(a, b):
    return '%6.2f' % (a / b) if b else '     -'


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 1 << 20 else min(hard, 65536), hard))
    template = make_template(BASE)
    template.settings('max_connections = %d' % (IDLE + 200))
    pg = Postgres(BASE, 'bench').copy_from(template)
    started = []
    try:
        pg.start()
        subprocess.run([BIN + '/pgbench', '-i', '-q', '-s', '10', '-h', '127.0.0.1', '-p', str(pg.port), '-U', 'app',
                        'app'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for start in (start_pgweir, start_pgbouncer, start_haproxy):
            started.append(start(pg))
        proxies = [*started, Direct(pg.port)]
        got = {(p.name, load): [] for p in proxies for load in LOADS}
        for load, args in LOADS.items():
            print('%s ...' % load, file=sys.stderr, flush=True)
            for r in range(ROUNDS):
                for i in range(len(proxies)):
                    p = proxies[(i + r) % len(proxies)]
                    got[p.name, load].append(pgbench(p, args))
        mem = {p.name: idle_memory(p) for p in started}

        print('\n%d clients, %d rounds of %d s, median; %d processors; one event loop each%s\n' %
              (CLIENTS, ROUNDS, SECONDS, len(os.sched_getaffinity(0)),
               '' if WORKERS == 1 else ', but pgweir and haproxy %d' % WORKERS))
        for load in LOADS:
            print(load)
            print('  %-14s %10s %16s %10s   %s' % ('', 'tps', 'CPU us per txn', 'p99 ms', 'tps, CPU, p99 against pgbouncer'))
            med = {p.name: [statistics.median(x[i] for x in got[p.name, load]) for i in range(3)] for p in proxies}
            base = med['pgbouncer']
            for p in proxies:
                tps, cpu, p99 = med[p.name]
                print('  %-14s %10.0f %16.1f %10.2f   %s %s %s' %
                      (p.name, tps, cpu * 1e6, p99 * 1e3, ratio(tps, base[0]), ratio(cpu, base[1]), ratio(p99, base[2])))
        print('memory of %d idle clients' % IDLE)
        print('  %-14s %10s %16s %16s' % ('', 'kB before', 'kB with them', 'kB per client'))
        for p in started:
            before, after = mem[p.name]
            print('  %-14s %10d %16d %16.1f' % (p.name, before, after, (after - before) / IDLE))
    finally:
        for p in started:
            p.stop()
        pg.stop(signal.SIGQUIT)
        shutil.rmtree(BASE, ignore_errors=True)


if __name__ == '__main__':
    for s in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda n, f: sys.exit(128 + n))
    BASE = make_base()
    main()
