"""PostgreSQL servers and clusters in a temporary directory, as children of this
process; for the tests, the demo and the benchmark.

Nothing here ends a process that it did not start, and nothing waits without a
deadline.

SPDX-License-Identifier: ISC
"""
import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import wire

SAN = os.environ.get('PGWEIR_SAN', '')
SLOW = 4 if SAN else 1


def pg_bindir():
    found = os.environ.get('PG_BINDIR')
    if found:
        return found
    dirs = [d for d in glob.glob('/usr/lib/postgresql/*/bin') if os.path.exists(d + '/initdb')]
    dirs.sort(key=lambda d: (d.split('/')[4] != '15', -float(d.split('/')[4])))
    if not dirs:
        raise SystemExit('PostgreSQL is not installed: make deps')
    return dirs[0]


BIN = pg_bindir()
AS_POSTGRES = []
if os.geteuid() == 0:
    AS_POSTGRES = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--']


# ---- helpers that tests import ------------------------------------------------

def until(what, timeout=15, every=0.01, why=''):
    """Calls until the answer is true, and returns it; fails at the deadline."""
    end = time.monotonic() + timeout * SLOW
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError('not within %g s: %s (last answer: %r)' %
                               (timeout * SLOW, why or what, got))
        time.sleep(every)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def tail(path, n=60):
    try:
        with open(path, errors='replace') as f:
            return ''.join(f.readlines()[-n:])
    except OSError as e:
        return str(e)


def children_of(pid):
    """Processes whose parent is pid, by /proc."""
    out = []
    for p in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(p) as f:
                rest = f.read().rsplit(')', 1)[1].split()
        except OSError:
            continue
        if int(rest[1]) == pid:
            out.append(int(p.split('/')[2]))
    return out


def run_threads(n, fn, timeout=90):
    """fn(i) in n threads; their answers in order, or the first exception."""
    out, errs = [None] * n, []

    def body(i):
        try:
            out[i] = fn(i)
        except BaseException as e:  # pylint: disable=broad-except
            errs.append(e)
    ts = [threading.Thread(target=body, args=(i,), daemon=True) for i in range(n)]
    for t in ts:
        t.start()
    end = time.monotonic() + timeout * SLOW
    for t in ts:
        t.join(max(0.1, end - time.monotonic()))
    if errs:
        raise errs[0]
    assert not any(t.is_alive() for t in ts), 'threads still run after %d s' % timeout
    return out


class Spawned(threading.Thread):
    """fn() in a thread; result() waits and raises what it raised."""

    def __init__(self, fn, *args):
        super().__init__(daemon=True)
        self.fn, self.args, self.value, self.error = fn, args, None, None
        self.start()

    def run(self):
        try:
            self.value = self.fn(*self.args)
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e

    def result(self, timeout=30):
        self.join(timeout * SLOW)
        assert not self.is_alive(), 'still running after %g s' % (timeout * SLOW)
        if self.error:
            raise self.error
        return self.value


# ---- servers -------------------------------------------------------------------

CONF = '''
listen_addresses = '127.0.0.1'
fsync = off
full_page_writes = off
synchronous_commit = on
max_connections = 300
shared_buffers = 64MB
deadlock_timeout = 20ms
autovacuum = off
jit = off
wal_level = replica
max_wal_senders = 10
wal_retrieve_retry_interval = 100ms
log_line_prefix = '%m [%p] %u '
log_checkpoints = off
restart_after_crash = on
timezone = UTC
log_timezone = UTC
'''

HBA = '''
local all all trust
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
host replication all 127.0.0.1/32 trust
'''


class Postgres:
    """One server in a directory of its own, as a child of this process."""

    host = '127.0.0.1'
    inside = ()         # what its processes are started with: a namespace

    def __init__(self, base, name, port=None):
        self.name, self.port = name, port or free_port()
        self.data = os.path.join(base, name)
        self.log = os.path.join(base, name + '.log')
        self.proc = None
        self.stopped = False

    def run(self, *argv):
        r = subprocess.run([*self.inside, *AS_POSTGRES, os.path.join(BIN, argv[0]), *argv[1:]],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, cwd='/',
                           check=False)
        if r.returncode:
            raise RuntimeError('%s: %s' % (argv[0], r.stdout.decode(errors='replace')))

    def init(self):
        self.run('initdb', '-D', self.data, '-U', 'postgres', '-A', 'trust', '--no-sync',
                 '-E', 'UTF8', '--locale=C')
        self.settings(CONF)
        self.hba(HBA)
        return self

    def copy_from(self, other):
        """The data directory of a server that is shut down."""
        shutil.copytree(other.data, self.data, symlinks=True)
        st = os.stat(other.data)
        for d, _, files in os.walk(self.data):
            os.chown(d, st.st_uid, st.st_gid)
            for f in files:
                os.chown(os.path.join(d, f), st.st_uid, st.st_gid)
        os.chmod(self.data, 0o700)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.data + '/postmaster.pid')
        return self

    def backup_of(self, other):
        self.run('pg_basebackup', '-h', other.host, '-p', str(other.port), '-U', 'postgres',
                 '-D', self.data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync')
        return self

    def settings(self, text):
        with open(self.data + '/postgresql.conf', 'a') as f:
            f.write(text + '\n')

    def hba(self, text):
        with open(self.data + '/pg_hba.conf', 'w') as f:
            f.write(text)

    def start(self, wait=True, options=()):
        assert not self.proc or self.proc.poll() is not None
        log = open(self.log, 'ab')
        self.proc = subprocess.Popen(
            [*self.inside, *AS_POSTGRES, os.path.join(BIN, 'postgres'), '-D', self.data,
             '-p', str(self.port), '-k', self.data, *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd='/')
        log.close()
        self.stopped = False
        if wait:
            self.wait_ready()
        return self

    def answers(self):
        if self.proc.poll() is not None:
            raise RuntimeError('%s ended:\n%s' % (self.name, tail(self.log, 20)))
        try:
            with wire.Conn(self.port, self.host, 5, user='postgres', database='postgres') as c:
                return c.one('SELECT 1') == '1'
        except (OSError, wire.PgError, wire.Closed):
            return False

    def wait_ready(self):
        until(self.answers, 60, 0.02, self.name + ' to accept connections')

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast, SIGTERM: smart, SIGQUIT: immediate."""
        if not self.proc or self.proc.poll() is not None:
            return
        if self.stopped:
            self.cont()
        self.proc.send_signal(how)
        try:
            self.proc.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        """As a machine dies: the postmaster and all its children at once."""
        if not self.proc or self.proc.poll() is not None:
            return
        os.kill(self.proc.pid, signal.SIGSTOP)
        kids = children_of(self.proc.pid)
        for pid in [self.proc.pid, *kids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.proc.wait(30)
        until(lambda: not any(alive(k) for k in kids), 10, why='the killed children to be gone')

    def freeze(self):
        """A host that hangs: connections stay, nothing answers."""
        os.kill(self.proc.pid, signal.SIGSTOP)
        for pid in children_of(self.proc.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.stopped = True

    def cont(self):
        for pid in [*children_of(self.proc.pid), self.proc.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped = False

    def promote(self):
        self.run('pg_ctl', 'promote', '-D', self.data, '-w', '-t', '60')

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)

    def connect(self, user='postgres', database='app', **kw):
        return wire.Conn(self.port, self.host, user=user, database=database, **kw)

    def sql(self, text, user='postgres', database='app'):
        with self.connect(user, database) as c:
            return c.sql(text)

    def one(self, text, **kw):
        return self.sql(text, **kw)[0][0]

    def backends(self, where="usename = 'app'"):
        """How many client backends; health checks and this question apart."""
        return int(self.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                            "AND pid <> pg_backend_pid() AND query NOT LIKE '%%pg_is_in_recovery%%' "
                            "AND %s" % where))


def alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


SETUP = '''
CREATE ROLE app LOGIN;
GRANT pg_monitor TO app;
CREATE ROLE other LOGIN;
GRANT pg_monitor TO other;
CREATE DATABASE app OWNER app;
CREATE DATABASE app2 OWNER app;
'''

SCHEMA = '''
CREATE TABLE kv (k int PRIMARY KEY, v int NOT NULL);
INSERT INTO kv SELECT i, 0 FROM generate_series(1, 1000) i;
CREATE TABLE t (id serial PRIMARY KEY, a text);
CREATE SEQUENCE calls;
'''


def make_template(base):
    """A data directory that was set up once, to be copied."""
    pg = Postgres(base, 'template').init()
    pg.start()
    with pg.connect(database='postgres') as c:
        for line in SETUP.strip().splitlines():
            c.sql(line)
    for name in ('app', 'app2'):
        pg.sql(SCHEMA, user='app', database=name)
    pg.stop()
    return pg


def make_base():
    """A temporary directory that the user of the servers may use."""
    d = tempfile.mkdtemp(prefix='pgweir-test-')
    os.chmod(d, 0o755)
    if os.geteuid() == 0:
        pw = pwd.getpwnam('postgres')
        os.chown(d, pw.pw_uid, pw.pw_gid)
    return d


class Cluster:
    """A primary and two streaming standbys."""

    def __init__(self, base, name, template, standbys=2):
        self.base = base
        self.nodes = [Postgres(base, '%s-%d' % (name, i)) for i in range(standbys + 1)]
        self.nodes[0].copy_from(template).start()
        for n in self.nodes[1:]:
            n.backup_of(self.nodes[0]).start(wait=False)
        for n in self.nodes[1:]:
            n.wait_ready()
        until(lambda: int(self.nodes[0].one(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")) == standbys,
            60, why='the standbys to stream')

    primary = property(lambda self: self.nodes[0])

    @property
    def hosts(self):
        return ','.join('127.0.0.1:%d' % n.port for n in self.nodes)

    @property
    def ports(self):
        return ','.join(str(n.port) for n in self.nodes)

    def uri(self, user='app', database='app', **params):
        q = '&'.join('%s=%s' % p for p in params.items())
        return 'postgresql://%s@%s/%s%s' % (user, self.hosts, database, '?' + q if q else '')

    def caught_up(self):
        lsn = self.primary.one('SELECT pg_current_wal_lsn()')
        for n in self.nodes[1:]:
            if n.proc.poll() is None:
                until(lambda n=n: n.one("SELECT pg_last_wal_replay_lsn() >= '%s'" % lsn) == 't',
                      why='a standby to catch up')

    def stop(self):
        for n in reversed(self.nodes):
            if n.stopped:
                n.cont()
            n.stop(signal.SIGQUIT)
            shutil.rmtree(n.data, ignore_errors=True)
