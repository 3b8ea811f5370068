"""A real systemd, booted in a container of its own: the unit files as they are installed, the
service restarted, reloaded and upgraded under load, through the socket too.

Needs root, overlayfs and systemd-nspawn (packages systemd-container and dbus); the container is
the machine's own root, read-only below an overlay in memory, and shares its network.

SPDX-License-Identifier: ISC
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

import wire
from conftest import PGWEIR, ROOT, SAN, Spawned, db, free_port, ini, tail, until

pytestmark = [pytest.mark.weir_only,
              pytest.mark.skipif(bool(SAN), reason='too slow with a sanitizer, and nothing new'),
              pytest.mark.skipif(os.geteuid() != 0, reason='needs to be root'),
              pytest.mark.skipif(not shutil.which('systemd-nspawn'), reason='systemd-container is not installed')]


def sh(*argv, check=True, **kw):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=60, **kw)
    if check:
        assert r.returncode == 0, '%s: %s%s' % (argv, r.stdout, r.stderr)
    return r


class Machine:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='weir-systemd-', dir='/run')
        self.proc = None
        self.mounted = []
        self.mount('tmpfs', 'tmpfs', self.dir)
        for d in ('upper', 'work', 'root'):
            os.mkdir(self.dir + '/' + d)
        self.root = self.dir + '/root'
        self.mount('overlay', 'overlay', self.root, '-o', 'lowerdir=/,upperdir=%s/upper,workdir=%s/work' % (
            self.dir, self.dir))
        # nothing of what this machine would start
        for d in glob.glob(self.root + '/etc/systemd/system/*.wants'):
            shutil.rmtree(d)
        self.write('/etc/machine-id', '')
        self.write('/etc/systemd/system/default.target',
                   '[Unit]\nDescription=for the tests\nRequires=basic.target dbus.service\nAfter=basic.target dbus.service\n')
        sh('make', '-C', ROOT, 'install', 'DESTDIR=' + self.root)
        shutil.copy(PGWEIR, self.root + '/usr/bin/pgweir')
        os.makedirs(self.root + '/etc/pgweir', exist_ok=True)

    def mount(self, kind, what, where, *more):
        r = sh('mount', '-t', kind, *more, what, where, check=False)
        if r.returncode:
            self.stop()
            pytest.skip('cannot mount %s: %s' % (kind, r.stderr.strip()))
        self.mounted.append(where)

    def write(self, path, text, mode=0o644):
        full = self.root + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.lexists(full):
            os.unlink(full)
        with open(full, 'w') as f:
            f.write(text)
        os.chmod(full, mode)

    def boot(self):
        self.log = self.dir + '/console'
        with open(self.log, 'wb') as out:
            self.proc = subprocess.Popen(
                ['systemd-nspawn', '--quiet', '--register=no', '--keep-unit', '-D', self.root, '-b',
                 '--machine=weir-test', '--console=pipe'], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env={**os.environ, 'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY': '1'})

        def leader():
            if self.proc.poll() is not None:
                pytest.skip('systemd-nspawn does not boot here: ' + tail(self.log, 5))
            r = subprocess.run(['pgrep', '-P', str(self.proc.pid), '-x', 'systemd'], capture_output=True, text=True)
            return int(r.stdout.split()[0]) if r.stdout.strip() else None
        self.leader = until(leader, 30, why='systemd to be started')
        until(lambda: self.run('systemctl', 'is-active', 'dbus.service', check=False).stdout.strip() == 'active', 40,
              every=0.2, why='systemd to be up')

    def run(self, *argv, check=True):
        return sh('nsenter', '-t', str(self.leader), '-m', '-u', '-i', '-p', '-C', '--', *argv, check=check)

    def show(self, prop, unit='pgweir.service'):
        return self.run('systemctl', 'show', '-P', prop, unit).stdout.strip()

    def journal(self):
        return self.run('journalctl', '-o', 'cat', '-u', 'pgweir', check=False).stdout

    def stop(self):
        if self.proc and self.proc.poll() is None:
            subprocess.run(['nsenter', '-t', str(self.leader), '-m', '-p', '--', 'systemctl', 'poweroff', '--force'],
                           capture_output=True)
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        for m in reversed(self.mounted):
            sh('umount', '-l', m, check=False)
        os.rmdir(self.dir)


@pytest.fixture(scope='module')
def machine():
    m = Machine()
    try:
        m.boot()
        yield m
    finally:
        m.stop()


class Load:
    """New connections all the time, and transactions; no error is one."""

    def __init__(self, port):
        self.port, self.n, self.errors, self.stopping = port, 0, [], threading.Event()
        self.threads = [Spawned(self.run, i) for i in range(4)]

    def run(self, i):
        while not self.stopping.is_set():
            try:
                with wire.Conn(self.port, timeout=60) as c:
                    for _ in range(1 + 2 * i):
                        c.sql('BEGIN')
                        assert c.one('SELECT %d' % i) == str(i)
                        c.sql('COMMIT')
            except BaseException as e:  # pylint: disable=broad-except
                self.errors.append(repr(e))
                return
            self.n += 1

    def more(self, n=20):
        want = self.n + n
        until(lambda: self.errors or self.n >= want, 60)
        assert not self.errors, self.errors

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.result(90)
        assert not self.errors, self.errors


@pytest.fixture
def text(pg):
    port = free_port()
    return port, ini({'app': db(pg)}, listen_port=port, takeover_dir='/run/pgweir',
                     unix_socket_dir='/run/pgweir', shutdown_timeout=20)


def test_service(machine, text):
    """Started, reloaded, upgraded, stopped; hardened as the unit says."""
    m, (port, conf) = machine, text
    m.write('/etc/pgweir/pgweir.ini', conf)
    m.write('/etc/systemd/system/pgweir.service.d/watchdog.conf', '[Service]\nWatchdogSec=1s\n')
    m.run('systemctl', 'daemon-reload')
    m.run('systemctl', 'start', 'pgweir.service')
    assert m.show('ActiveState') == 'active' and m.show('StatusText') == 'accepting connections'
    first = int(m.show('MainPID'))
    load = Load(port)
    try:
        load.more()
        m.run('systemctl', 'reload', 'pgweir.service')
        assert int(m.show('MainPID')) == first
        load.more()
        for _ in range(2):
            before = int(m.show('MainPID'))
            r = m.run('/usr/bin/pgweir', '--upgrade', '/etc/pgweir/pgweir.ini')
            now = int(re.search(r'process (\d+) has taken over', r.stdout).group(1))
            assert now != before
            until(lambda: int(m.show('MainPID')) == now, why='the main process to be the new one')
            load.more()
            until(lambda: m.run('test', '-d', '/proc/%d' % before, check=False).returncode, why='the old one to end')
            assert m.show('ActiveState') == 'active'
        assert m.show('NRestarts') == '0'
    finally:
        load.stop()
    # its watchdog is fed by the process that has taken over
    assert m.show('WatchdogUSec') == '1s'
    for _ in range(3):
        fed = m.show('WatchdogTimestampMonotonic')
        until(lambda: m.show('WatchdogTimestampMonotonic') != fed)
    assert m.show('ActiveState') == 'active' and m.show('NRestarts') == '0'
    m.run('systemctl', 'stop', 'pgweir.service')
    assert m.show('ActiveState') == 'inactive', m.run('systemctl', 'status', 'pgweir.service', check=False).stdout
    assert m.show('Result') == 'success'
    with pytest.raises(OSError):
        wire.Conn(port)
    assert 'event=stopped' in m.journal()


def test_broken_configuration_is_not_tried_again(machine, text):
    m = machine
    m.write('/etc/pgweir/pgweir.ini', 'nonsense\n')
    assert m.run('systemctl', 'start', 'pgweir.service', check=False).returncode != 0
    assert m.show('ExecMainStatus') == '78'
    time.sleep(1.5)             # RestartSec is 1 s
    assert m.show('ActiveState') == 'failed' and m.show('NRestarts') == '0'
    m.run('systemctl', 'reset-failed', 'pgweir.service')


def test_crash_is(machine, text):
    m, (port, conf) = machine, text
    m.write('/etc/pgweir/pgweir.ini', conf)
    m.run('systemctl', 'start', 'pgweir.service')
    first = m.show('MainPID')
    m.run('systemctl', 'kill', '-s', 'KILL', 'pgweir.service')
    until(lambda: m.show('ActiveState') == 'active' and m.show('MainPID') not in ('0', first), 30, every=0.2)
    assert wire.Conn(port).one('SELECT 1') == '1'
    m.run('systemctl', 'stop', 'pgweir.service')


def test_socket(machine, text):
    """The socket stays while the service restarts: who connects waits. Clients whose
    connections are closed are told to go, which is why these make new ones."""
    m, (port, conf) = machine, text
    m.write('/etc/pgweir/pgweir.ini', conf)
    m.write('/etc/systemd/system/pgweir.socket.d/port.conf', '[Socket]\nListenStream=\nListenStream=127.0.0.1:%d\n' % port)
    m.run('systemctl', 'daemon-reload')
    m.run('systemctl', 'start', 'pgweir.socket')
    stop, done, errors = threading.Event(), [], []

    def body():
        while not stop.is_set():
            try:
                with wire.Conn(port, timeout=60, login=False) as c:
                    c.login()
                    done.append(c)
            except (wire.PgError, wire.Closed) as e:
                # connected, and the old process was told to end before it had logged in
                if getattr(e, 'code', '57P01') != '57P01':
                    errors.append(repr(e))
                    return
            except BaseException as e:  # pylint: disable=broad-except
                errors.append(repr(e))
                return
    t = Spawned(body)
    try:
        until(lambda: done or errors, 30)
        for _ in range(3):
            n = len(done)
            m.run('systemctl', 'restart', 'pgweir.service')
            until(lambda: len(done) > n + 5 or errors, 30)
        # and the take-over with sockets of systemd's
        r = m.run('/usr/bin/pgweir', '--upgrade', '/etc/pgweir/pgweir.ini')
        assert 'has taken over' in r.stdout
        n = len(done)
        until(lambda: len(done) > n + 5 or errors, 30)
    finally:
        stop.set()
        t.result(90)
    assert not errors, errors
    m.run('systemctl', 'stop', 'pgweir.socket', 'pgweir.service')


def test_exposure(machine):
    r = sh('systemd-analyze', 'security', '--offline=true', '--no-pager', ROOT + '/systemd/pgweir.service', check=False)
    score = float(re.search(r'exposure level for pgweir.service: ([\d.]+)', r.stdout).group(1))
    assert score <= 1.2, r.stdout
