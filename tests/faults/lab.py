"""A cluster, pgweir in front of it, and how one fault is played.

A fault is a generator of a lab. Where it yields, the load runs:

    @fault('name', 'what happens', lasts=1)
    def name(lab):
        ...                     set up
        yield                   the load begins and runs for a while
        ...                     the fault
        yield lab.seconds       how long it lasts
        ...                     its end
        yield                   the load runs on and ends
        ...                     restoration (only if there is something to restore)

SPDX-License-Identifier: ISC
"""
import collections
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import time

import load as load_
import wire
from cluster import BIN, SETUP, SLOW, Postgres, tail, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PGWEIR = os.environ.get('PGWEIR') or os.path.join(ROOT, 'build', 'pgweir')

# Everything else is as pgweir has it by itself.
SETTINGS = {'workers': 2, 'default_pool_size': 10, 'health_check_interval': 1,
            'health_check_timeout': 1, 'health_check_fall': 2, 'health_check_rise': 2}

# Whoever acknowledges a write has it on a second node, also after a promotion:
# what is lost then was lost by pgweir, not by PostgreSQL.
CONF = '''
synchronous_standby_names = 'ANY 1 (*)'
wal_keep_size = 256MB
wal_receiver_timeout = 5s
wal_sender_timeout = 5s
'''

HBA = '''
local all all trust
host all all samenet trust
host replication all samenet trust
'''

Fault = collections.namedtuple('Fault', 'name text fn kind lasts')
FAULTS = []


def fault(name, text, kind='plain', lasts=1.0):
    """kind: which lab it wants (run.py). lasts: so many times lab.seconds, about
    (pgbench must know beforehand)."""
    def put(fn):
        FAULTS.append(Fault(name, text, fn, kind, lasts))
        return fn
    return put


class Node(Postgres):
    """A server that can change sides."""

    def start(self, wait=True, options=()):
        return super().start(wait, ('-c', 'listen_addresses=%s' % self.host, *options))

    def follow(self, primary):
        with open(self.data + '/postgresql.auto.conf', 'a') as f:
            f.write("primary_conninfo = 'host=%s port=%d user=postgres'\n" %
                    (primary.host, primary.port))
        if self.proc.poll() is None:
            self.reload()

    def rebuild(self, primary):
        """A standby from nothing, with the directory of old removed."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.data)
        return self.backup_of(primary).start()

    def running(self):
        return self.proc.poll() is None and not self.stopped


def make_template(base, pgbench=True):
    """Set up once, copied for each cluster."""
    pg = Node(base, 'template').init()
    pg.hba(HBA)
    pg.start()
    prepare(pg, pgbench)
    pg.stop()
    pg.settings(CONF)
    return pg


def prepare(pg, pgbench=True):
    with pg.connect(database='postgres') as c:
        for line in SETUP.strip().splitlines():
            c.sql(line)
    pg.sql(load_.SCHEMA, user='app')
    if not pgbench:
        return
    subprocess.run([BIN + '/pgbench', '-i', '-q', '-s', '1', '-h', pg.host, '-p', str(pg.port),
                    '-U', 'app', 'app'], check=True, timeout=120,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def config(nodes, more=''):
    """pgweir's file: writers on app, readers on ro."""
    where = 'host=%s port=%s dbname=app user=app %s' % (
        ','.join(n.host for n in nodes), ','.join(str(n.port) for n in nodes), more)
    out = ['[databases]', 'app = %s target_session_attrs=read-write' % where,
           'ro = %s target_session_attrs=prefer-standby' % where, '[pgweir]',
           'auth_type = trust', 'admin_users = admin', 'listen_port = 0',
           'retry_unknown = readonly', 'retry_terminated = 1']
    return '\n'.join(out + ['%s = %s' % s for s in SETTINGS.items()]) + '\n'


class Daemon:
    """pgweir, as a child."""

    def __init__(self, base, conf):
        path = os.path.join(base, 'pgweir.ini')
        self.logfile = os.path.join(base, 'pgweir.log')
        with open(path, 'w') as f:
            f.write(conf)
        with open(self.logfile, 'wb') as log:
            self.proc = subprocess.Popen([PGWEIR, path], stdin=subprocess.DEVNULL, cwd='/',
                                         stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        ready = select.select([self.proc.stdout], [], [], 20 * SLOW)[0]
        line = self.proc.stdout.readline().decode() if ready else ''
        m = re.search(r'port=(\d+)', line)
        if not m:
            self.stop()
            raise RuntimeError('pgweir does not start:\n' + tail(self.logfile))
        self.port = int(m.group(1))

    def stop(self):
        """'' or what was wrong with its end."""
        how = self.proc.poll()
        if how is None:
            self.proc.send_signal(signal.SIGQUIT)
            try:
                how = self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(10)
                how = 'had to be killed'
        self.proc.stdout.close()
        return '' if how == 0 else 'pgweir ended with %s' % how


class Lab:
    """A primary and two synchronous standbys."""

    def __init__(self, base, template, name, seconds=6.0, standbys=2, seed=1):
        self.base, self.seconds, self.seed = os.path.join(base, name), seconds, seed
        os.mkdir(self.base)
        shutil.chown(self.base, os.stat(template.data).st_uid, os.stat(template.data).st_gid)
        self.nodes, self.primary, self.says = [], None, lambda text: None
        self.more = ''      # settings of the databases
        self.n = standbys + 1
        self.template = template

    def make_node(self, i):
        return Node(self.base, 'node%d' % i)

    def open(self):
        self.nodes += [self.make_node(i) for i in range(self.n)]
        self.primary = self.nodes[0]
        self.primary.copy_from(self.template).start()
        for n in self.nodes[1:]:
            n.backup_of(self.primary).start(wait=False)
        for n in self.nodes[1:]:
            n.wait_ready()
        self.whole()
        return self

    def close(self):
        for n in reversed(self.nodes):
            if n.stopped:
                n.cont()
            n.stop(signal.SIGQUIT)
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def standbys(self):
        return [n for n in self.nodes if n is not self.primary]

    def whole(self):
        """Waits until all standbys stream."""
        until(lambda: int(self.primary.one(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")) == self.n - 1,
            60, 0.05, why='all standbys to stream')

    def reset(self):
        """As if nobody had been here, for the next fault."""
        self.whole()
        with self.primary.connect() as c:
            c.sql('TRUNCATE tokens, transfers')
            c.sql('UPDATE bank SET balance = %d' % load_.BALANCE)
        return self

    def promote(self):
        """The standby that has most becomes the primary; the others follow it."""
        living = [n for n in self.standbys if n.running()]
        new = max(living, key=lambda n: int(n.one(
            "SELECT pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), "
            "pg_last_wal_replay_lsn()), '0/0')::bigint")))
        for n in living:
            if n is not new:
                n.follow(new)
        new.promote()
        self.primary = new
        return new


# ---- playing ----------------------------------------------------------------------------

class Timing:
    """Seconds of load before the fault and after its end."""

    def __init__(self, before=2.0, after=5.0, pgbench=True, seconds=6.0):
        self.before, self.after, self.seconds = before, after, seconds
        self.pgbench = pgbench

    def pgbench_time(self, f):
        return (self.before + self.after + f.lasts * self.seconds) if self.pgbench else 0


def play(f, lab, daemon, timing, serializable=False):
    """One fault under load, and the verdict."""
    steps = f.fn(lab)
    next(steps)
    wait_served(daemon.port)
    load = None
    try:
        load = load_.Load(lab.base, daemon.port, pgbench=timing.pgbench_time(f),
                          serializable=serializable)
        time.sleep(timing.before)
        lab.says('fault')
        time.sleep(next(steps) or 0)
        lab.says('end of the fault')
        next(steps, None)
        time.sleep(timing.after)
        lab.says('load ends')
        load.stop()
        for _ in steps:
            pass
    finally:
        steps.close()
        if load:
            load.stop()
    v = load_.Verdict(load, lab.primary)
    if daemon.proc.poll() is not None:
        v.daemon = 'pgweir ended with %s' % daemon.proc.returncode
    v.cpu = cpu_of(daemon.proc.pid)
    return v


def cpu_of(pid):
    """Seconds of processor that a process has used."""
    try:
        with open('/proc/%d/stat' % pid) as f:
            v = f.read().rsplit(')', 1)[1].split()
    except OSError:
        return 0.0
    return (int(v[11]) + int(v[12])) / os.sysconf('SC_CLK_TCK')


def machine():
    """Where and when something is measured, in a sentence."""
    model = memory = ''
    with open('/proc/cpuinfo') as f:
        m = re.search(r'model name\s*: (.*)', f.read())
        model = m.group(1) if m else platform.machine()
    with open('/proc/meminfo') as f:
        memory = '%.0f GiB' % (int(f.readline().split()[1]) / 1048576)
    text = subprocess.run([BIN + '/postgres', '--version'], stdout=subprocess.PIPE, timeout=20,
                          check=True).stdout.decode()
    return '%d processors (%s), %s, load average %.1f; PostgreSQL %s; %s.' % (
        os.cpu_count(), model, memory, os.getloadavg()[2],
        re.search(r'\d[\d.]*', text).group(), time.strftime('%Y-%m-%d'))


def wait_served(port):
    """Until both databases are served, so that the start is not measured."""
    for name in ('app', 'ro'):
        with wire.Conn(port, timeout=30 * SLOW, database=name) as c:
            c.sql('SELECT 1')
