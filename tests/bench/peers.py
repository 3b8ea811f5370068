"""The proxies that are compared, each a process (or a tree of them) whose processor
time and memory can be read: pgweir, the floor (a naive relay), and Debian's
pgbouncer, haproxy and pgpool2.

SPDX-License-Identifier: ISC
"""
import glob
import os
import re
import resource
import select
import shutil
import signal
import subprocess

import wire
from cluster import AS_POSTGRES, children_of, free_port, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PGWEIR = os.environ.get('PGWEIR') or os.path.join(ROOT, 'build', 'pgweir')
FLOOR = os.environ.get('PGWEIR_FLOOR') or os.path.join(ROOT, 'build', 'floor')


def files_hard():
    """Every process here may open what the machine allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    want = hard if 0 < hard < 1 << 20 else 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
    return want


class Proxy:
    """argv is started; its port is given, or is what it prints as port=N."""

    def __init__(self, bench, name, argv, port=None, who=()):
        self.name, self.bench = name, bench
        self.log = open(bench.path(name + '.log'), 'wb')
        self.proc = subprocess.Popen([*who, *argv], stdin=subprocess.DEVNULL, cwd='/',
                                     stdout=subprocess.PIPE if port is None else self.log, stderr=self.log)
        self.port = port or self.said()
        until(self.answers, 20, 0.05, name + ' to answer: ' + self.text())

    def said(self):
        if not select.select([self.proc.stdout], [], [], 20)[0]:
            raise RuntimeError(self.name + ' says nothing')
        m = re.search(r'port=(\d+)', self.proc.stdout.readline().decode())
        if not m:
            raise RuntimeError('%s does not start: %s' % (self.name, self.text()))
        return int(m.group(1))

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

    def pids(self):
        out, todo = [], [self.proc.pid]
        while todo:
            out.append(todo.pop())
            todo += children_of(out[-1])
        return out

    def cpu(self):
        """Seconds of processor time so far, of all threads and children."""
        ns = 0
        for pid in self.pids():
            for path in glob.glob('/proc/%d/task/*/schedstat' % pid):
                try:
                    with open(path) as f:
                        ns += int(f.read().split()[0])
                except OSError:
                    pass
        return ns / 1e9

    def threads(self):
        """{thread: seconds}, of the process itself."""
        out = {}
        for path in glob.glob('/proc/%d/task/*/schedstat' % self.proc.pid):
            with open(path) as f:
                out[int(path.split('/')[4])] = int(f.read().split()[0]) / 1e9
        return out

    def memory(self):
        """Bytes that are its own: the sum of Pss over its processes."""
        kb = 0
        for pid in self.pids():
            with open('/proc/%d/smaps_rollup' % pid) as f:
                kb += int(re.search(r'^Pss:\s+(\d+)', f.read(), re.M).group(1))
        return kb * 1024

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGQUIT if self.name.startswith('pgweir') else signal.SIGTERM)
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
        if self.proc.stdout:
            self.proc.stdout.close()
        self.log.close()


class Direct:
    """No proxy at all."""
    name, proc = 'server alone', None

    def __init__(self, port):
        self.port = port

    def cpu(self):
        return 0.0

    def stop(self):
        pass


def pgweir(bench, name='pgweir', databases=('app',), binary=PGWEIR, who=(), **more):
    s = {'auth_type': 'trust', 'listen_port': 0, 'workers': 1, 'default_pool_size': 20, 'max_client_conn': 15000,
         'log_connections': 0, 'log_disconnections': 0, **more}
    if bench.tls:
        s.update(client_tls_sslmode='allow', client_tls_cert_file=bench.tls[0], client_tls_key_file=bench.tls[1])
    conf = bench.write(name + '.ini', ini('pgweir', bench, databases, s))
    return Proxy(bench, name, [binary, conf], who=who)


def ini(section, bench, databases, settings):
    return '[databases]\n%s[%s]\n%s' % (
        ''.join('%s = host=127.0.0.1 port=%d dbname=app\n' % (d, bench.pg.port) for d in databases), section,
        ''.join('%s = %s\n' % kv for kv in settings.items()))


def pgbouncer(bench, name='pgbouncer', databases=('app',), who=(), **more):
    port = free_port()
    bench.write('users.txt', '"app" ""\n')
    s = {'listen_addr': '127.0.0.1', 'listen_port': port, 'unix_socket_dir': '', 'auth_type': 'trust',
         'auth_file': bench.path('users.txt'), 'pool_mode': 'transaction', 'default_pool_size': 20,
         'max_client_conn': 15000, 'ignore_startup_parameters': 'extra_float_digits', 'log_connections': 0,
         'log_disconnections': 0, **more}
    if bench.tls:
        s.update(client_tls_sslmode='allow', client_tls_cert_file=bench.tls[0], client_tls_key_file=bench.tls[1])
    conf = bench.write(name + '.ini', ini('pgbouncer', bench, databases, s))
    return Proxy(bench, name, [shutil.which('pgbouncer') or '/usr/sbin/pgbouncer', '-q', conf], port,
                 [*AS_POSTGRES, *who])


def haproxy(bench, threads=1):
    port = free_port()
    conf = bench.write('haproxy.cfg', '''global
    maxconn 8000
    nbthread %d
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
listen pg
    bind 127.0.0.1:%d
    server s 127.0.0.1:%d
''' % (threads, port, bench.pg.port))
    return Proxy(bench, 'haproxy', ['/usr/sbin/haproxy', '-db', '-f', conf], port)


def pgpool(bench, children=32):
    """One process for each client, connections to the server cached in each."""
    port = free_port()
    run = bench.path('pgpool')
    os.makedirs(run, exist_ok=True)
    os.chmod(run, 0o777)
    bench.write('pool_hba.conf', 'host all all 127.0.0.1/32 trust\n')
    bench.write('pcp.conf', '')
    conf = bench.write('pgpool.conf', '''listen_addresses = '127.0.0.1'
port = %d
pcp_port = %d
unix_socket_directories = '%s'
pcp_socket_dir = '%s'
pid_file_name = '%s/pid'
logdir = '%s'
backend_clustering_mode = 'raw'
backend_hostname0 = '127.0.0.1'
backend_port0 = %d
num_init_children = %d
max_pool = 1
connection_cache = on
load_balance_mode = off
enable_pool_hba = off
health_check_period = 0
log_min_messages = error
''' % (port, free_port(), run, run, run, run, bench.pg.port, children))
    return Proxy(bench, 'pgpool2', ['/usr/sbin/pgpool', '-n', '-f', conf, '-F', bench.path('pcp.conf'),
                                    '-a', bench.path('pool_hba.conf')], port, AS_POSTGRES)


def floor(bench):
    return Proxy(bench, 'floor', [FLOOR, '0', str(bench.pg.port)])
