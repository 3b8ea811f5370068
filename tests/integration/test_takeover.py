"""One process after another: --reboot takes over all sockets from the pgweir that runs.

SPDX-License-Identifier: ISC
"""
import contextlib
import datetime
import fcntl
import os
import re
import resource
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import time
import urllib.request

import pytest

import handoff
import wire
from conftest import PGWEIR, Spawned, alive, db, free_port, ini, until
from wire import cancel, query

pytestmark = pytest.mark.weir_only


@pytest.fixture
def home(base):
    """A directory that is pgweir's alone."""
    return tempfile.mkdtemp(prefix='take-', dir=base)


def conf(pg, home, **kw):
    s = dict(takeover_dir=home, default_pool_size=5, unix_socket_dir=home, pidfile=home + '/pid')
    return ini({'app': db(pg)}, **{**s, **kw})


@pytest.fixture
def start(weir, pg, home):
    """start(): the first; start(before): takes over from it."""
    port = free_port()

    def make(before=None, wait=True, **kw):
        args = kw.pop('args', ('-p', str(port))) + (('-R',) if before else ())
        env = kw.pop('env', None)
        return weir(conf(pg, home, **kw), args=args, wait=wait, env=env)
    yield make
    # one that --upgrade has started is no child of ours
    if os.path.exists(home + '/pid') and os.path.getsize(home + '/pid') and alive(pid_of(home)):
        with open('/proc/%d/status' % pid_of(home)) as f:
            if 'PPid:\t%d\n' % os.getpid() not in f.read():
                end(pid_of(home))


def pid_of(home):
    with open(home + '/pid') as f:
        return int(f.read())


def test_takes_over(start, home):
    old = start()
    c = old.connect()
    c.hold()
    new = start(old)
    assert new.port == old.port
    old.wait_log('event=taken_over', 'by=%d' % new.pid)
    new.wait_log('event=took_over', 'from=%d' % old.pid)
    assert pid_of(home) == new.pid
    # who comes now comes to the new one, by either socket
    new.sql('SELECT 1')
    new.wait_log('event=client_login')
    with wire.Conn(new.port, host=home) as u:
        assert u.one('SELECT 1') == '1'
    # the transaction ends as it began
    assert c.one('SELECT 1') == '1'
    assert wire.shape(c.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
    c.close()
    assert old.wait() == 0
    new.wait_log('event=predecessor_ended')
    assert os.path.exists('%s/.s.PGSQL.%d' % (home, new.port)) and pid_of(home) == new.pid
    assert new.one('SELECT 1') == '1'
    new.term()
    assert new.wait() == 0
    assert sorted(os.listdir(home)) == []


def test_again_and_again(start, home):
    w = start()
    for _ in range(5):
        old, w = w, start(w)
        assert old.wait() == 0
        assert w.one('SELECT 1') == '1'


def test_nobody_to_take_over_from(start, home):
    w = start(before=True)
    assert w.log_lines('event=nobody_to_take_over_from')
    assert w.one('SELECT 1') == '1'
    assert pid_of(home) == w.pid


# ---- the old process, and a new one that fails -------------------------------------------------

def still_whole(w, home):
    """It goes on as if nothing had been asked: by either socket, and the next may take over."""
    assert alive(w.pid)
    w.wait_log('event=takeover_failed')
    assert w.one('SELECT 1') == '1'
    with wire.Conn(w.port, host=home) as u:
        assert u.one('SELECT 1') == '1'
    assert pid_of(home) == w.pid


def offered(home):
    e = handoff.knock(home)
    e.send(handoff.HELLO)
    return e, e.expect(handoff.OFFER)


def to_trial(home):
    e, m = offered(home)
    e.send(handoff.READY, taken=(1 << len(m.fds)) - 1)
    e.expect(handoff.GO)
    return e, m


@pytest.mark.parametrize('step', ['knocked', 'offered', 'ready', 'trial'])
def test_new_process_dies(start, home, step):
    old = start()
    c = old.connect()
    if step == 'knocked':
        e = handoff.knock(home)
    elif step == 'trial':
        e, m = to_trial(home)
        m.close()
    else:
        e, m = offered(home)
        m.close()
        if step == 'ready':
            e.send(handoff.READY, taken=7)
    old.wait_log('event=takeover_asked')
    e.close()
    still_whole(old, home)
    assert c.one('SELECT 1') == '1'
    new = start(old)
    c.close()
    assert old.wait() == 0
    assert new.one('SELECT 1') == '1'


def test_nobody_is_refused_while_a_trial_fails(start, home):
    """Who knocks while neither accepts waits in the backlog."""
    old = start()
    e, m = to_trial(home)
    waits = Spawned(lambda: old.one('SELECT 42'))
    time.sleep(0.2)
    assert waits.is_alive()
    m.close()
    e.close()
    assert waits.result() == '42'


@pytest.mark.parametrize('what', ['version', 'magic', 'short', 'early', 'unknown'])
def test_new_process_talks_nonsense(start, home, what):
    old = start()
    e = handoff.knock(home)
    if what == 'version':
        e.send(handoff.HELLO, version=77)
        assert 'version 77' in e.expect(handoff.NO).text
    elif what == 'magic':
        e.send(handoff.HELLO, magic=1)
        assert 'makes no sense' in e.expect(handoff.NO).text
    elif what == 'short':
        e.sock.send(b'hello')
        assert 'makes no sense' in e.expect(handoff.NO).text
    elif what == 'early':
        e.send(handoff.STEADY)
        assert 'out of place' in e.expect(handoff.NO).text
    else:
        e.send(99)
        e.expect(handoff.NO)
    assert e.recv() is None
    still_whole(old, home)


def test_one_at_a_time(start, home):
    old = start()
    a, m = offered(home)
    b = handoff.knock(home)
    assert 'another process' in b.expect(handoff.NO).text
    m.close()
    a.close()
    still_whole(old, home)
    c, m = offered(home)
    m.close()


def test_a_stopped_process_is_not_waited_for(start, home):
    """It accepts nothing and says nothing: the old one takes back what it had."""
    old = start()
    e, m = to_trial(home)
    assert 'in time' in Spawned(e.expect, handoff.NO).result(20).text
    still_whole(old, home)
    m.close()


@pytest.mark.parametrize('bad', [dict(listen_backlog='many'), dict(auth_type='scram-sha-256'),
                                 dict(logfile='/nonexistent/dir/log'), dict(listen_addr='192.0.2.1')])
def test_broken_configuration_of_the_new_one(start, home, bad):
    old = start()
    new = start(old, wait=False, **bad)
    assert new.wait() != 0
    new.stop = lambda: []       # its exit status is no complaint
    assert alive(old.pid)
    assert old.one('SELECT 1') == '1'
    assert pid_of(home) == old.pid
    with wire.Conn(old.port, host=home) as u:
        assert u.one('SELECT 1') == '1'


def test_killed_in_its_trial(start, home):
    """A binary that crashes as soon as it serves."""
    old = start()
    new = start(old)
    new.proc.kill()
    new.wait()
    new.stop = lambda: []
    still_whole(old, home)


def test_nonsense_in_the_trial(start, home):
    """Who lives is told: the end of the connection alone would make it the only one."""
    old = start()
    e, m = to_trial(home)
    e.sock.send(b'hello')
    assert 'makes no sense' in e.expect(handoff.NO).text
    still_whole(old, home)
    e.close()
    m.close()


@contextlib.contextmanager
def no_descriptor_left(w):
    was = resource.prlimit(w.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(w.pid, resource.RLIMIT_NOFILE, (3, was[1]))
    try:
        yield
    finally:
        resource.prlimit(w.pid, resource.RLIMIT_NOFILE, was)


def unread(s):
    return int.from_bytes(fcntl.ioctl(s, termios.TIOCOUTQ, b'\0' * 4), 'little')


def test_cancel_without_a_descriptor(start, home):
    """It comes without its asker then, and is no reason to end the connection."""
    old = start()
    e, m = to_trial(home)
    asks, asked = socket.socketpair()
    with no_descriptor_left(old):
        e.send(handoff.CANCEL, key=(1, 2), roles=(handoff.ASKER,), fds=(asked.fileno(),))
        until(lambda: not unread(e.sock))
    asked.close()
    asks.settimeout(20)
    assert asks.recv(1) == b''
    e.send(handoff.STEADY)
    e.expect(handoff.OVER)
    assert old.wait() == 0
    e.close()
    m.close()


def when(line):
    return datetime.datetime.strptime(line.split()[0], '%Y-%m-%dT%H:%M:%S.%fZ')


def test_knock_without_a_descriptor(start, home):
    """Who knocks waits until there is one; the control loop does not spin meanwhile."""
    old = start()
    with no_descriptor_left(old):
        e = handoff.knock(home)
        e.send(handoff.HELLO)
        first, second = old.wait_log('event=takeover_door_failed', n=2)[:2]
        # a timer is never early
        assert when(second) - when(first) > datetime.timedelta(seconds=0.9)
    e.expect(handoff.OFFER).close()
    e.close()
    still_whole(old, home)


@pytest.mark.parametrize('sig', [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_told_to_end_in_its_trial(start, home, sig):
    """The signal comes before it accepts, and is read when it does: the old one gets all back,
    and its unix socket is as it was."""
    old = start(unix_socket_mode='0755')
    path = '%s/.s.PGSQL.%d' % (home, old.port)
    c = old.connect()
    new = start(old, wait=False, unix_socket_mode='0700')
    old.wait_log('event=takeover_asked')    # signals are held back by now
    new.proc.send_signal(sig)
    assert new.wait() == 0
    assert not new.log_lines('event=took_over')
    still_whole(old, home)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    assert c.one('SELECT 1') == '1'
    last = start(old, unix_socket_mode='0700')
    last.wait_log('event=took_over')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    with wire.Conn(last.port, host=home) as u:
        assert u.one('SELECT 1') == '1'
    c.close()
    assert old.wait() == 0


# ---- the new process, and an old one that fails ---------------------------------------------------

class Old:
    """The test in the place of the process that runs."""

    def __init__(self, home):
        self.door = handoff.door(home)
        self.tcp = socket.create_server(('127.0.0.1', 0))
        self.port = self.tcp.getsockname()[1]

    def let_in(self):
        s, _ = self.door.accept()
        self.end = handoff.End(s)
        self.end.expect(handoff.HELLO)
        return self.end

    def offer(self):
        self.end.send(handoff.OFFER, roles=(handoff.LISTEN, handoff.DOOR),
                      fds=(self.tcp.fileno(), self.door.fileno()))

    def close(self):
        self.door.close()
        self.tcp.close()
        self.end.close()


@pytest.fixture
def fake_old(home):
    o = Old(home)
    yield o
    o.close()


@pytest.mark.parametrize('step', ['offered', 'ready', 'go', 'over'])
def test_old_process_dies(start, home, fake_old, step):
    """Behind its offer the new one has all that it needs."""
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False)
    e = fake_old.let_in()
    fake_old.offer()
    if step != 'offered':
        assert e.expect(handoff.READY).taken == 3
    if step in ('go', 'over'):
        e.send(handoff.GO)
        new.wait_ready()
    if step == 'over':
        e.expect(handoff.STEADY)
        e.send(handoff.OVER)
    fake_old.close()
    if step in ('offered', 'ready'):
        new.wait_ready()
    new.wait_log('event=predecessor_ended' if step in ('go', 'over') else 'event=started')
    assert new.port == fake_old.port
    assert new.one('SELECT 1') == '1'
    until(lambda: pid_of(home) == new.pid)


@pytest.mark.parametrize('step', ['hello', 'ready', 'trial'])
def test_old_process_refuses(start, home, fake_old, step):
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False)
    e = fake_old.let_in()
    if step != 'hello':
        fake_old.offer()
        e.expect(handoff.READY)
    if step == 'trial':
        e.send(handoff.GO)
        new.wait_ready()
    e.send(handoff.NO, text='not today')
    assert new.wait() == 1
    assert 'not today' in new.log()
    assert not os.path.exists(home + '/pid') or not os.path.getsize(home + '/pid')
    new.stop = lambda: []       # its exit status is no complaint


def test_old_process_refuses_before_it_is_asked_further(start, home, fake_old):
    """It has said no and gone when READY comes: it lives, and there must not be two."""
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False)
    e = fake_old.let_in()
    fake_old.offer()
    e.send(handoff.NO, text='not today')
    e.close()
    assert new.wait() == 1
    assert 'not today' in new.log() and not new.log_lines('event=started')
    new.stop = lambda: []       # its exit status is no complaint


def test_told_to_end_gives_back(start, home, fake_old):
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False)
    e = fake_old.let_in()
    fake_old.offer()
    e.expect(handoff.READY)
    new.term()
    e.send(handoff.GO)
    e.expect(handoff.NO)
    assert e.recv() is None
    assert new.wait() == 0
    assert not os.path.getsize(home + '/pid') and os.path.exists(home + '/takeover')


def threads(w):
    return len(os.listdir('/proc/%d/task' % w.pid))


def test_refused_when_its_workers_have_ended(start, home, fake_old):
    """It is steady, and told to end; it only waits for the old one, who says no then."""
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False, workers=2)
    e = fake_old.let_in()
    fake_old.offer()
    e.expect(handoff.READY)
    e.send(handoff.GO)
    new.wait_ready()
    n = threads(new)
    e.expect(handoff.STEADY)
    new.term()
    until(lambda: threads(new) <= n - 2)
    e.send(handoff.NO, text='not today')
    assert new.wait() == 1
    new.stop = lambda: []       # its exit status is no complaint


@pytest.mark.parametrize('how', ['SIGQUIT', 'SHUTDOWN', 'twice'])
def test_end_does_not_wait_for_the_old_one(start, home, how):
    old = start()
    c = old.connect()
    c.hold()
    new = start(old)
    new.wait_log('event=took_over')
    if how == 'SIGQUIT':
        new.proc.send_signal(signal.SIGQUIT)
    elif how == 'SHUTDOWN':
        with new.connect('admin', 'pgweir') as a:
            a.send(query('SHUTDOWN'))
            assert new.wait() == 0
    else:
        new.term()
        new.wait_log('event=draining')
        new.term()
    assert new.wait() == 0
    assert c.one('SELECT 1') == '1'
    c.sql('COMMIT')
    c.close()
    assert old.wait() == 0


@pytest.mark.parametrize('what', ['version', 'ends', 'nonsense'])
def test_old_process_is_another_version(start, home, fake_old, what):
    new = start(before=True, args=('-p', str(fake_old.port)), wait=False)
    e = fake_old.let_in()
    if what == 'version':
        e.send(handoff.NO, version=9)
    elif what == 'nonsense':
        e.send(handoff.GO)
    e.close()
    assert new.wait() == 1
    assert {'version': 'version 9', 'ends': 'ended the connection', 'nonsense': 'no sense'}[what] in new.log()
    new.stop = lambda: []


# ---- who may, and where ---------------------------------------------------------------------------

@pytest.mark.parametrize('mode', [0o770, 0o707, 0o777])
def test_directory_must_be_private(weir, pg, base, home, mode):
    os.chmod(home, mode)
    w = weir(conf(pg, home), wait=False)
    assert w.wait() == 1
    assert 'chmod 700' in w.log()
    w.stop = lambda: []


@pytest.mark.skipif(os.geteuid() != 0, reason='needs to be root')
def test_another_user_is_turned_away(start, home):
    old = start()
    os.chmod(home, 0o711)
    os.chmod(home + '/takeover', 0o666)
    pid = os.fork()
    if not pid:
        os.setgid(65534)
        os.setuid(65534)
        try:
            os._exit(0 if handoff.knock(home).recv() is None else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert old.wait_log('event=takeover_refused')
    assert old.one('SELECT 1') == '1'


def test_without_takeover_dir(weir, pg):
    w = weir(ini({'app': db(pg)}), args=('-R',), wait=False)
    assert w.wait() == 1
    assert 'takeover_dir' in w.log()
    w.stop = lambda: []


def test_two_that_want_one_directory(weir, start, home, pg):
    w = start()
    other = weir(conf(pg, home, unix_socket_dir=None, pidfile=None), wait=False)
    assert other.wait() == 1
    assert 'takeover_dir' in other.log() and 'in use' in other.log()
    other.stop = lambda: []
    assert w.one('SELECT 1') == '1'


def test_shutting_down_lets_nobody_take_over(start, home):
    old = start()
    c = old.connect()
    c.hold()
    old.term()
    old.wait_log('event=draining')
    until(lambda: not os.path.exists(home + '/takeover'))
    new = start(before=True)
    assert new.log_lines('event=nobody_to_take_over_from')
    assert new.one('SELECT 1') == '1'
    c.sql('COMMIT')
    c.close()
    assert old.wait() == 0
    assert new.one('SELECT 1') == '1' and pid_of(home) == new.pid


def test_other_addresses(start, home, pg):
    """What only a restart applies is applied: other addresses, another unix socket."""
    old = start(listen_addr='127.0.0.1,127.0.0.2')
    os.mkdir(home + '/s', 0o700)
    new = start(old, listen_addr='127.0.0.1,127.0.0.3', unix_socket_dir=home + '/s')
    assert old.wait() == 0
    for host in ('127.0.0.1', '127.0.0.3', home + '/s'):
        assert wire.Conn(new.port, host=host).one('SELECT 1') == '1'
    with pytest.raises(OSError):
        wire.Conn(new.port, host='127.0.0.2')
    assert not [f for f in os.listdir(home) if f.startswith('.s.')]


# ---- cancels ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('workers', [1, 2])
def test_cancel_of_a_client_of_the_old_one(start, home, pg, workers):
    old = start(workers=workers)
    cs = [old.connect() for _ in range(3)]
    for c in cs:
        c.send(query('SELECT pg_sleep(30)'))
    until(lambda: pg.backends("state = 'active' AND usename = 'app'") == 3)
    new = start(old, workers=3 - workers)
    old.wait_log('event=taken_over')
    last = start(new)
    new.wait_log('event=taken_over')
    # nobody's key is nobody's
    assert cancel(last.port, (cs[0].key[0], cs[0].key[1] ^ 1))
    for c in cs:
        # answered when it has been delivered, as always
        assert cancel(last.port, c.key)
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
        c.close()
    assert old.wait() == 0
    assert new.wait() == 0
    with last.connect() as c:
        c.send(query('SELECT pg_sleep(30)'))
        until(lambda: pg.backends("state = 'active' AND usename = 'app'") == 1)
        assert cancel(last.port, c.key)
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']


@pytest.mark.parametrize('ids', [(0, 5), (5, 0), (258, 5)])
def test_cancel_when_peer_id_is_another(start, home, pg, ids):
    """Keys of the old process say another number, or what chance put there."""
    old = start(peer_id=ids[0])
    cs = [old.connect() for _ in range(3)]
    for c in cs:
        c.send(query('SELECT pg_sleep(30)'))
    until(lambda: pg.backends("state = 'active' AND usename = 'app'") == 3)
    new = start(old, peer_id=ids[1])
    old.wait_log('event=taken_over')
    for c in cs:
        b = struct.pack('!ii', *c.key)
        if ids[0]:      # as a peer would pass it on
            b = b[:7] + bytes([b[7] & 0xfc | 2])
        assert cancel(new.port, struct.unpack('!ii', b))
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
        c.close()
    assert old.wait() == 0


# ---- the end of the old one -----------------------------------------------------------------------

def test_idle_clients_are_told_nothing(start, home):
    """They are served until they go, or until shutdown_timeout."""
    old = start(shutdown_timeout=2)
    goes, stays = old.connect(), old.connect()
    new = start(old)
    old.wait_log('event=taken_over')
    for c in (goes, stays):
        for _ in range(3):
            assert c.one('SELECT 1') == '1'
    goes.close()
    assert [m[1]['C'] for m in read_to_end(stays) if m[0] == 'E'] == ['57P01']
    assert old.wait() == 0
    assert new.one('SELECT 1') == '1'


def read_to_end(c):
    out = []
    try:
        while True:
            out.append(c.read())
    except wire.Closed:
        return out


def test_a_signal_hurries_the_old_one(start, home):
    """After the first transactions end, and then idle clients are told to go; the second ends all,
    as ever."""
    old = start()
    idle, busy = old.connect(), old.connect()
    busy.hold()
    start(old)
    old.wait_log('event=taken_over')
    old.term()
    old.wait_log('event=draining', 'until=no_server_is_in_use')
    assert wire.shape(busy.ask(query('COMMIT'))).startswith('C:COMMIT')
    assert [m[1]['C'] for m in read_to_end(idle) if m[0] == 'E'] == ['57P01']
    assert old.wait() == 0


def test_old_servers_go_with_their_clients(start, home, pg):
    """The new process wants their places."""
    old = start()
    cs = [old.connect() for _ in range(4)]
    for c in cs:
        c.hold()
    start(old, default_pool_size=1)
    old.wait_log('event=taken_over')
    assert pg.backends("usename = 'app'") == 4
    for c in cs[1:]:
        c.sql('COMMIT')
    until(lambda: pg.backends("usename = 'app'") == 1)
    assert cs[0].one('SELECT 1') == '1'
    for c in cs:
        c.close()
    assert old.wait() == 0


# ---- the service manager -----------------------------------------------------------------------------

@pytest.fixture
def manager(tmp_path):
    """The other end of NOTIFY_SOCKET: who says what."""
    os.chmod(tmp_path, 0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / 'notify'))
        os.chmod(tmp_path / 'notify', 0o777)
        s.settimeout(20)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

        def hear():
            data, anc, _, _ = s.recvmsg(4096, 100)
            pid = int.from_bytes(anc[0][2][:4], 'little')
            return pid, data.decode().split('\n')
        hear.env = {'NOTIFY_SOCKET': str(tmp_path / 'notify')}
        yield hear


def test_main_process_by_notify(start, home, manager):
    """The old one says who is the main process now, before that says that it is ready; and
    no more of stopping, since the service does not stop."""
    old = start(env=manager.env)
    assert manager() == (old.pid, ['READY=1', 'STATUS=accepting connections'])
    new = start(old, env=manager.env)
    assert manager() == (old.pid, ['MAINPID=%d' % new.pid])
    assert manager() == (new.pid, ['READY=1', 'STATUS=accepting connections'])
    assert old.wait() == 0
    new.term()
    assert manager()[1][0] == 'STOPPING=1'
    assert new.wait() == 0


def test_who_has_not_taken_over_does_not_stop_the_service(start, home, manager):
    old = start(env=manager.env)
    assert manager() == (old.pid, ['READY=1', 'STATUS=accepting connections'])
    new = start(old, wait=False, env=manager.env)
    old.wait_log('event=takeover_asked')
    new.term()
    assert new.wait() == 0
    still_whole(old, home)
    old.term()
    pid, said = manager()
    assert (pid, said[0]) == (old.pid, 'STOPPING=1')
    assert old.wait() == 0


def test_http_changes_hands(start, home):
    port = free_port()
    kw = dict(http_addr='127.0.0.1:%d' % port)

    def ready():
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/ready' % port, timeout=20) as r:
                return r.status
        except OSError:
            return 0
    old = start(**kw)
    c = old.connect()
    until(lambda: ready() == 200)
    new = start(old, **kw)
    new.wait_log('event=http_listening')
    until(lambda: ready() == 200)
    assert c.one('SELECT 1') == '1'
    c.close()
    assert old.wait() == 0
    assert ready() == 200


# ---- --upgrade: the running process starts the next -------------------------------------------------

def upgrade(w, *more, **kw):
    return subprocess.run([PGWEIR, '--upgrade', *more, w.path], capture_output=True, text=True, timeout=60, **kw)


def new_pid(r):
    return int(re.search(r'process (\d+) has taken over', r.stdout).group(1))


def end(pid):
    """It is nobody's child here."""
    os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid), why='the upgraded one to end')


def test_upgrade(start, home):
    """Three times, each by the one before; the last is a grandchild with the same log."""
    w = start(workers=2)
    pids = [w.pid]
    c = w.connect()
    for _ in range(3):
        r = upgrade(w)
        assert r.returncode == 0, r.stderr
        pids.append(new_pid(r))
        until(lambda: pid_of(home) == pids[-1])
        assert w.one('SELECT 1') == '1' and c.one('SELECT 1') == '1'
    assert len(set(pids)) == 4
    c.close()
    assert w.wait() == 0
    until(lambda: not alive(pids[1]) and not alive(pids[2]))
    with open('/proc/%d/cmdline' % pids[-1], 'rb') as f:
        assert f.read().split(b'\0').count(b'-R') == 1
    end(pids[-1])
    assert sorted(os.listdir(home)) == []


def test_upgrade_with_a_broken_configuration(start, home):
    """Whoever asks is told; and so when only the new process finds out."""
    w = start()
    with open(w.path) as f:
        good = f.read()
    w.rewrite(good + 'listen_backlog = many\n')
    r = upgrade(w)
    assert r.returncode == 1 and 'listen_backlog' in r.stderr
    w.rewrite(good + 'logfile = /nonexistent/dir/log\n')
    r = upgrade(w)
    assert r.returncode == 1 and 'goes on' in r.stderr and 'has ended before it took over' in r.stderr
    assert alive(w.pid) and w.one('SELECT 1') == '1' and pid_of(home) == w.pid
    w.rewrite(good)
    r = upgrade(w)
    assert r.returncode == 0, r.stderr
    assert w.wait() == 0
    end(new_pid(r))


def test_upgrade_of_nobody(start, home):
    w = start()
    w.term()
    assert w.wait() == 0
    r = upgrade(w)
    assert r.returncode == 1 and 'cannot reach the running pgweir' in r.stderr


def test_upgrades_one_at_a_time(start, home):
    w = start()
    rs = [Spawned(upgrade, w) for _ in range(4)]
    rs = [r.result(60) for r in rs]
    good = [r for r in rs if r.returncode == 0]
    assert good and all(r.returncode == 0 or 'under way' in r.stderr or 'another process' in r.stderr for r in rs)
    until(lambda: not alive(w.pid) or w.proc.poll() is not None)
    assert w.wait() == 0
    for pid in [p for p in map(new_pid, good) if alive(p)]:
        end(pid)


def test_upgrade_in_the_background(base, pg, home):
    port = free_port()
    path = home + '/x.ini'
    with open(path, 'w') as f:
        f.write(conf(pg, home, listen_port=port, logfile=home + '/log'))
    env = {**os.environ, 'ASAN_OPTIONS': 'detect_leaks=1'}
    try:
        assert subprocess.run([PGWEIR, '-dq', path], timeout=60, env=env).returncode == 0
        first = pid_of(home)
        r = subprocess.run([PGWEIR, '--upgrade', path], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        until(lambda: pid_of(home) == new_pid(r) != first)
        until(lambda: not alive(first))
        assert wire.Conn(port).one('SELECT 1') == '1'
    finally:
        end(pid_of(home))


def test_upgrade_in_the_background_fails_and_may_be_asked_again(base, pg, home):
    """Nobody sees the end of a next process that leaves its parent; who asked goes away."""
    port = free_port()
    path = home + '/x.ini'

    def write(log):
        with open(path, 'w') as f:
            f.write(conf(pg, home, listen_port=port, logfile=log))
    write(home + '/log')
    try:
        assert subprocess.run([PGWEIR, '-d', path], stdout=subprocess.DEVNULL, timeout=60).returncode == 0
        first = pid_of(home)
        write('/nonexistent/dir/log')
        with subprocess.Popen([PGWEIR, '--upgrade', path], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as p:
            def started():
                with open(home + '/log') as f:
                    return re.search(r'event=upgrade .*pid=(\d+)', f.read())
            try:
                failed = int(until(started).group(1))
                until(lambda: not alive(failed))
            finally:
                p.kill()
        write(home + '/log')
        r = subprocess.run([PGWEIR, '--upgrade', path], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        until(lambda: pid_of(home) == new_pid(r) != first)
        until(lambda: not alive(first))
        assert wire.Conn(port).one('SELECT 1') == '1'
    finally:
        end(pid_of(home))
