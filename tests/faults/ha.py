"""A cluster that Patroni manages, with etcd of one node, as Debian packages them.

SPDX-License-Identifier: ISC
"""
import contextlib
import json
import os
import signal
import subprocess
import urllib.request

from cluster import AS_POSTGRES, BIN, Postgres, alive, children_of, free_port, tail, until
from lab import Lab, prepare

PATRONI, PATRONICTL, ETCD = '/usr/bin/patroni', '/usr/bin/patronictl', '/usr/bin/etcd'
TTL = 5         # seconds until a silent leader has lost its lock

CONFIG = '''
scope: weir
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{etcd}"}}
log: {{level: INFO}}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: 1
    retry_timeout: 2
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        wal_log_hints: "on"
        max_connections: 300
        shared_buffers: 64MB
        autovacuum: "off"
        jit: "off"
        wal_keep_size: 256MB
        max_wal_senders: 10
  initdb: [{{encoding: UTF8}}, {{locale: C}}, data-checksums, no-sync]
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: {data}
  bin_dir: {bin}
  pgpass: {data}.pgpass
  parameters: {{unix_socket_directories: "{base}"}}
  basebackup: [{{checkpoint: fast}}, no-sync]
  authentication:
    superuser: {{username: postgres, password: none}}
    replication: {{username: postgres, password: none}}
    rewind: {{username: postgres, password: none}}
  pg_hba: ["local all all trust", "host all all 127.0.0.1/32 trust",
           "host replication all 127.0.0.1/32 trust"]
'''


def missing():
    """What is not installed, or ''."""
    gone = [p for p in (PATRONI, PATRONICTL, ETCD) if not os.path.exists(p)]
    return 'needs ' + ', '.join(gone) if gone else ''


def spawn(argv, log):
    with open(log, 'ab') as f:
        return subprocess.Popen([*AS_POSTGRES, *argv], stdin=subprocess.DEVNULL, stdout=f,
                                stderr=f, start_new_session=True, cwd='/',
                                env={'PATH': '/usr/bin:/bin', 'LC_ALL': 'C.UTF-8'})


def end(proc, how=signal.SIGTERM, timeout=30):
    if proc and proc.poll() is None:
        proc.send_signal(how)
        try:
            proc.wait(timeout)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait(10)


class Member(Postgres):
    """Patroni and the server that it started."""

    def __init__(self, base, name, etcd):
        super().__init__(base, name)
        self.rest = free_port()
        self.config = os.path.join(base, name + '.yml')
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(name=name, rest=self.rest, etcd=etcd, ttl=TTL, port=self.port,
                                  data=self.data, bin=BIN, base=base))

    def start(self, wait=True, options=()):
        self.proc = spawn([PATRONI, self.config], self.log)
        if wait:
            self.wait_ready()
        return self

    def status(self):
        """Patroni's own word, or {}."""
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/patroni' % self.rest, timeout=2) as r:
                return json.load(r)
        except (OSError, ValueError) as e:
            body = getattr(e, 'read', lambda: b'{}')()
            with contextlib.suppress(ValueError):
                return json.loads(body)
            return {}

    def streams(self):
        s = self.status()
        return s.get('state') in ('running', 'streaming') and s.get('role') == 'replica' and \
            self.answers() and self.one('SELECT count(*) FROM pg_stat_wal_receiver '
                                        "WHERE status = 'streaming'") == '1'

    def postmaster(self):
        """Its pid, when it is that of this data directory."""
        try:
            with open(self.data + '/postmaster.pid') as f:
                pid = int(f.readline())
            return pid if os.readlink('/proc/%d/cwd' % pid) == self.data else 0
        except (OSError, ValueError):
            return 0

    def kill(self):
        """As a machine dies: Patroni and the server at once."""
        pids = [p for p in [self.postmaster()] if p]
        for pid in list(pids):
            os.kill(pid, signal.SIGSTOP)
            pids += children_of(pid)
        end(self.proc, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(alive(p) for p in pids), 10, why='the killed processes to be gone')

    def stop(self, how=signal.SIGTERM):
        end(self.proc)
        if self.postmaster():
            self.kill()


class PatroniLab(Lab):
    """Three members. `primary` is who Patroni says leads."""

    def open(self):
        port, peer = free_port(), free_port()
        self.etcd = spawn([ETCD, '--data-dir', self.base + '/etcd', '--name', 'e',
                           '--listen-client-urls', 'http://127.0.0.1:%d' % port,
                           '--advertise-client-urls', 'http://127.0.0.1:%d' % port,
                           '--listen-peer-urls', 'http://127.0.0.1:%d' % peer,
                           '--initial-advertise-peer-urls', 'http://127.0.0.1:%d' % peer,
                           '--initial-cluster', 'e=http://127.0.0.1:%d' % peer,
                           '--unsafe-no-fsync'], self.base + '/etcd.log')
        until(lambda: self.etcd_answers(port), 30, 0.05, 'etcd to answer')
        self.nodes += [Member(self.base, 'node%d' % i, port) for i in range(self.n)]
        self.nodes[0].start(wait=False)
        until(lambda: self.nodes[0].status().get('role') in ('master', 'primary') and
              self.nodes[0].status().get('state') == 'running', 60, 0.1, 'the first member to lead')
        self.primary = self.nodes[0]
        prepare(self.primary)
        for n in self.nodes[1:]:
            n.start(wait=False)
        self.whole()
        return self

    def etcd_answers(self, port):
        assert self.etcd.poll() is None, tail(self.base + '/etcd.log')
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/health' % port, timeout=2) as r:
                return b'true' in r.read()
        except OSError:
            return False

    def leader(self):
        return next((n for n in self.nodes
                     if n.status().get('role') in ('master', 'primary') and
                     n.status().get('state') == 'running'), None)

    def led_by_other(self, old):
        """Waits for a new leader."""
        self.primary = until(lambda: (lambda n: n if n is not old else None)(self.leader()),
                             60, 0.1, 'a new leader')
        return self.primary

    def whole(self):
        """All stream, and one of them is synchronous: so that a failover is allowed."""
        until(lambda: sum(n.streams() for n in self.nodes) == self.n - 1, 90, 0.2,
              'all members to stream')
        until(lambda: int(self.primary.one("SELECT count(*) FROM pg_stat_replication "
                                           "WHERE sync_state = 'sync'")) > 0, 60, 0.2,
              'a synchronous standby')

    def ctl(self, *args):
        r = subprocess.run([*AS_POSTGRES, PATRONICTL, '-c', self.primary.config, *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd='/',
                           stderr=subprocess.STDOUT, timeout=90, check=False,
                           env={'PATH': '/usr/bin:/bin', 'LC_ALL': 'C.UTF-8', 'HOME': self.base})
        if r.returncode:
            raise RuntimeError('patronictl %s: %s' % (args, r.stdout.decode(errors='replace')))

    def close(self):
        try:
            super().close()
        finally:
            end(getattr(self, 'etcd', None))
