"""Failed logins slow down where they come from, and nobody else.

Addresses that are not of this machine are made in a network namespace of the daemon's
own: root only. Pauses that must be over are short and waited for by trying; pauses that
must not be over are a minute.

SPDX-License-Identifier: ISC
"""
import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2
import pytest

import wire
from conftest import db, ini, run_threads, until
from wire import Conn, PgError, Stream

pytestmark = pytest.mark.weir_only

by_root = pytest.mark.skipif(os.geteuid() != 0 or subprocess.call(['unshare', '--net', 'true']) != 0,
                             reason='only root makes namespaces')

LONG = {'login_throttle_base': 60, 'login_throttle_max': 60}
USERS = {'alice': 'al1ce', 'bob': 'b0b', 'carol': 'car0l'}


def conf(pg, tmp_path, **kw):
    f = tmp_path / 'users.txt'
    f.write_text(''.join('"%s" "%s"\n' % u for u in USERS.items()))
    os.chmod(tmp_path, 0o755)
    kw = {'auth_type': 'scram-sha-256', 'auth_file': f, 'stats_users': 'alice,bob,carol', **kw}
    return ini({'app': db(pg, user='app', dbname='app')}, **kw)


def attempt(dial, user='alice', secret=None, database='app'):
    """'ok' or the SQLSTATE of the refusal; and for how many seconds the hint says to wait."""
    with contextlib.closing(dial()) as c:
        try:
            c.login(user, database, secret=USERS[user] if secret is None else secret)
            c.send(wire.terminate())
            return 'ok', 0
        except PgError as e:
            assert e.fields['S'] == 'FATAL'
            if e.code != '53300':
                return e.code, 0
            assert e.fields['M'] == 'connection attempt throttled'
            assert 'login_throttle_max' in e.fields['H']
            return '53300', float(re.search(r'allowed in ([0-9.]+) s;', e.fields['H'])[1])


def tcp(w, host='127.0.0.1'):
    return lambda: Conn(w.port, host, login=False)


def wrong(dial, **kw):
    return attempt(dial, secret='wrong', **kw)


def retried(dial, want, **kw):
    """Until the pause is over; then it must come out like that."""
    got = until(lambda: [x for x in [attempt(dial, **kw)[0]] if x != '53300'], 30, why='the end of the pause')
    assert got == [want]


def stats(w, user='carol'):
    with w.connect(user, 'pgweir', secret=USERS[user]) as c:
        return {r[0]: int(r[1]) for r in c.sql('SHOW COUNTERS')}


# ---- growing, and forgiving -----------------------------------------------------------------

def test_grows_and_is_forgiven(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, login_throttle_base=0.4, login_throttle_max=60))
    for pause in 0.4, 0.8, 1.6, 0.4, 0.8:
        if pause == 0.4:
            begun = time.monotonic()
            retried(tcp(w), '28P01', secret='wrong')
        else:
            def again():
                return time.monotonic(), wrong(tcp(w))
            begun, _ = until(lambda: [x for x in [again()] if x[1][0] == '28P01'], 30)[0]
        # it is the source that waits, whether it knows the password by now or not
        for secret in None, 'wrong':
            code, left = attempt(tcp(w), secret=secret)
            assert code == '53300'
            assert left <= pause + 0.001
            assert left + time.monotonic() - begun >= pause
        if pause == 1.6:
            retried(tcp(w), 'ok')
            assert attempt(tcp(w))[0] == 'ok'
    n = stats(w)
    assert n['client_logins_throttled'] >= 10
    assert n['client_login_failures'] == n['client_logins_throttled'] + 5
    lines = w.wait_log('event=login_throttled')
    assert all(re.search(r' peer=127\.0\.0\.1:\d+ db=app user=alice .* retry_us=\d+', x) for x in lines)
    assert not re.search(r'wrong|al1ce|b0b|car0l', w.log())


def test_success_without_a_session_forgives(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, login_throttle_base=0.4, login_throttle_max=60))
    for _ in range(3):
        retried(tcp(w), '28P01', secret='wrong')
        retried(tcp(w), '3D000', database='nowhere')
    assert attempt(tcp(w)) == ('ok', 0)
    assert wrong(tcp(w))[0] == '28P01'
    code, left = attempt(tcp(w))
    assert code == '53300' and left <= 0.401


def test_default(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, login_throttle_base=None))
    assert wrong(tcp(w))[0] == '28P01'
    retried(tcp(w), 'ok')
    with w.connect('bob', 'pgweir', secret=USERS['bob']) as c:
        have = {r[0]: r[1] for r in c.sql('SHOW CONFIG')}
    assert (have['login_throttle_base'], have['login_throttle_max']) == ('0.05', '10')


def test_what_real_clients_are_told(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, **LONG))
    dsn = w.dsn('alice', 'app')
    with pytest.raises(psycopg2.OperationalError, match='password authentication failed'):
        psycopg2.connect(dsn, password='wrong')
    with pytest.raises(psycopg2.OperationalError) as e:
        psycopg2.connect(dsn, password=USERS['alice'])
    assert re.search(r'FATAL:  connection attempt throttled\nHINT:  Logins from there have failed\. The next '
                     r'attempt is allowed in \d+\.\d{3} s; the pause is 60 s at most \(login_throttle_max\)\.',
                     str(e.value))


# ---- off, and changed -----------------------------------------------------------------------

@pytest.mark.parametrize('off', ['login_throttle_base', 'login_throttle_max'])
def test_off(weir, pg, tmp_path, off):
    w = weir(conf(pg, tmp_path, **{**LONG, off: 0}))
    assert [wrong(tcp(w))[0] for _ in range(30)] == ['28P01'] * 30
    assert attempt(tcp(w)) == ('ok', 0)
    assert stats(w)['client_logins_throttled'] == 0
    assert not w.log_lines('event=login_throttled')


def test_reload(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, **LONG))

    def reload(n, **kw):
        w.rewrite(conf(pg, tmp_path, **kw))
        w.hup()
        w.wait_log('event=reloaded', n=n)
    assert wrong(tcp(w))[0] == '28P01'
    reload(1, **LONG)
    assert attempt(tcp(w))[0] == '53300'        # a reload forgives nothing
    reload(2, login_throttle_base=0.1, login_throttle_max=0.1)
    retried(tcp(w), 'ok')
    assert wrong(tcp(w))[0] == '28P01'
    reload(3, login_throttle_base=0)
    assert attempt(tcp(w)) == ('ok', 0)
    assert [wrong(tcp(w))[0] for _ in range(5)] == ['28P01'] * 5
    reload(4, **LONG)
    assert wrong(tcp(w))[0] == '28P01'
    assert attempt(tcp(w))[0] == '53300'


# ---- sources --------------------------------------------------------------------------------

@pytest.mark.parametrize('auth', ['scram-sha-256', 'md5', 'plain'])
def test_neighbours_on_this_machine(weir, pg, tmp_path, auth):
    w = weir(conf(pg, tmp_path, auth_type=auth, **LONG))
    for _ in range(3):
        wrong(tcp(w))
    assert attempt(tcp(w))[0] == '53300'
    assert attempt(tcp(w), database='other')[0] == '53300'
    # anybody here may have that one
    assert attempt(lambda: Far(socket.create_connection(('127.0.0.1', w.port), 20, ('127.0.0.2', 0))))[0] == '53300'
    assert attempt(tcp(w), user='bob') == ('ok', 0)


def test_unknown_users_wait_like_known_ones(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, **LONG))
    seen = []
    for user in 'alice', 'nobody_here':
        assert wrong(tcp(w), user=user)[0] == '28P01'
        seen.append(wrong(tcp(w), user=user)[0])
    assert seen == ['53300'] * 2


def test_console(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, **LONG))
    assert attempt(tcp(w), database='pgweir') == ('ok', 0)
    assert wrong(tcp(w), database='pgweir')[0] == '28P01'
    assert attempt(tcp(w), database='pgweir')[0] == '53300'
    assert attempt(tcp(w), database='pgbouncer')[0] == '53300'
    assert attempt(tcp(w))[0] == '53300'
    assert attempt(tcp(w), user='bob', database='pgweir') == ('ok', 0)


@pytest.fixture
def here(base):
    d = tempfile.mkdtemp(prefix='t', dir=base)
    os.chmod(d, 0o777)
    yield d
    shutil.rmtree(d, ignore_errors=True)


def test_unix_socket(weir, pg, tmp_path, here):
    w = weir(conf(pg, tmp_path, unix_socket_dir=here, **LONG))
    assert wrong(tcp(w, here))[0] == '28P01'
    assert attempt(tcp(w, here))[0] == '53300'
    assert attempt(tcp(w, here), user='bob') == ('ok', 0)
    assert attempt(tcp(w)) == ('ok', 0)
    if os.geteuid() == 0:
        # another uid
        out = subprocess.run(['setpriv', '--reuid=65533', '--clear-groups', 'psql', '-XAtc', 'SELECT 41 + 1',
                              'host=%s port=%d user=alice dbname=app' % (here, w.port)],
                             env={**os.environ, 'PGPASSWORD': USERS['alice']}, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=60, check=False, text=True)
        assert out.stdout == '42\n'
    # the console of whoever runs pgweir has no password to wait for
    for _ in range(2):
        with Conn(w.port, here, user='pgweir', database='pgweir') as c:
            assert c.sql('SHOW VERSION')


class Far(Conn):
    """From another address, in the network of the daemon."""

    def __init__(self, sock):   # pylint: disable=super-init-not-called
        Stream.__init__(self, sock)
        self.params, self.key, self.login_messages = {}, None, []


class Net:
    """A daemon with a network of its own, and clients from any address in it."""

    ADDRESSES = ('198.51.100.0/24', '2001:db8:0:1::1/128', '2001:db8:0:1::2/128', '2001:db8:0:2::1/128')

    def __init__(self, weir, text):
        script = 'ip link set lo up && ' + ' && '.join(
            'ip addr add %s dev lo%s' % (a, ' nodad' if ':' in a else '') for a in self.ADDRESSES)
        # one port for both families; nobody else has it here
        self.w = weir(text, args=['-p', '6432'], wrap=('unshare', '--net', 'sh', '-c', script + ' && exec "$@"', 'sh'))

    def dial(self, address):
        return lambda: Far(self._socket(address))

    def _socket(self, address):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        to = {'127.0.0.1': '127.0.0.1'}.get(address, '2001:db8:0:2::1' if ':' in address else '198.51.100.200')
        out = []

        def work():
            libc = ctypes.CDLL(None, use_errno=True)
            with open('/proc/%d/ns/net' % self.w.pid, 'rb') as f:
                assert libc.setns(f.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())
            s = socket.socket(family)
            s.settimeout(20)
            s.bind((address, 0))
            s.connect((to, self.w.port))
            out.append(s)
        t = threading.Thread(target=work)       # the namespace is the thread's
        t.start()
        t.join()
        return out[0]


@pytest.fixture
def net(weir, pg, tmp_path):
    return lambda **kw: Net(weir, conf(pg, tmp_path, listen_addr='0.0.0.0,::', **kw))


@by_root
def test_addresses(net):
    n = net(**LONG)
    a, a2, b = (n.dial('198.51.100.%d' % i) for i in (1, 1, 2))
    six, near, far = (n.dial('2001:db8:0:' + x) for x in ('1::1', '1::2', '2::1'))
    on_console = {'database': 'pgweir'}
    assert wrong(a, **on_console)[0] == '28P01'
    assert wrong(six, **on_console)[0] == '28P01'
    for dial in a, a2, six, near:
        assert attempt(dial, **on_console)[0] == '53300'
        assert attempt(dial, user='bob', **on_console)[0] == '53300'
    for dial in b, far, n.dial('127.0.0.1'):
        assert attempt(dial, **on_console) == ('ok', 0)
    # nobody else has learned anything from it
    assert attempt(a, **on_console)[0] == '53300'
    n.w.wait_log('event=login_throttled', 'peer=198.51.100.1:')


@by_root
def test_account_of_ones_own_is_no_way_around(net):
    """Logging in as somebody else does not forgive, but ends that one's attempt."""
    n = net(login_throttle_base=0.4, login_throttle_max=60)
    a = n.dial('198.51.100.1')
    mine = {'user': 'bob', 'database': 'pgweir'}
    pauses = []
    for _ in range(3):
        retried(a, '28P01', secret='wrong', database='pgweir')
        code, left = attempt(a, database='pgweir')
        assert code == '53300'
        pauses.append(left)
        retried(a, 'ok', **mine)
        assert attempt(a, **mine) == ('ok', 0)
    assert pauses[0] <= 0.401 < pauses[1] <= 0.801 < pauses[2], pauses
    retried(a, 'ok', database='pgweir')
    assert wrong(a, database='pgweir')[0] == '28P01'
    assert attempt(a, database='pgweir')[1] <= 0.401


@by_root
def test_gone_before_its_answer_is_read(net):
    """An answer whose sender is gone by the time it is looked at counts where it came from."""
    n = net(auth_type='plain', **LONG)
    a = n.dial('198.51.100.1')
    some = [a() for _ in range(20)]
    for c in some:
        c.send(wire.startup('alice', 'pgweir'))
        assert c.read() == ('R', (3, b''))
    for c in some:
        c.send(wire.password('wrong'))
        c.reset()
    n.w.wait_log('event=client_closed', 'peer=198.51.100.1:', n=20)
    assert attempt(n.dial('127.0.0.1'), database='pgweir') == ('ok', 0)
    assert attempt(a, database='pgweir')[0] == '53300'


# ---- what is no failure ---------------------------------------------------------------------

def asked(dial, user='alice'):
    """Goes away when it is asked for a password. False: it was not asked."""
    with contextlib.closing(dial()) as c:
        c.send(wire.startup(user))
        return c.read()[0] == 'R'


def test_no_answer_is_no_failure(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, **LONG))
    for _ in range(5):
        assert asked(tcp(w))
    psql = ['psql', '-XwAtc', 'SELECT 1', w.dsn('alice', 'app')]
    out = subprocess.run(psql, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, text=True)
    assert 'no password supplied' in out.stdout
    for rubbish, code in ((b'p\0\0\0\1', '08P01'), (b'Q\0\0\0\4', '08P01'), (b'p\x7f\xff\xff\xff', '08P01'),
                          (wire.msg('p', b'SCRAM-SHA-256\0\0\0\0\1x'), '28P01')):
        with Conn(w.port, login=False) as c:
            c.send(wire.startup('alice'))
            assert c.read()[0] == 'R'
            c.send(rubbish)
            m = c.read()
            assert (m[0], m[1]['C']) == ('E', code)
    assert attempt(tcp(w)) == ('ok', 0)
    assert stats(w)['client_logins_throttled'] == 0


def test_empty_password_is_one(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, auth_type='plain', **LONG))
    assert attempt(tcp(w), secret='')[0] == '28P01'
    assert attempt(tcp(w))[0] == '53300'


def test_rules_that_reject_are_none(weir, pg, tmp_path):
    hba = tmp_path / 'hba'
    hba.write_text('host app alice 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n')
    w = weir(conf(pg, tmp_path, auth_type='hba', auth_hba_file=hba, **LONG))
    for _ in range(5):
        assert attempt(tcp(w))[0] == '28000'
    assert attempt(tcp(w), database='pgweir') == ('ok', 0)


def test_only_attempts_take_the_turn(weir, pg, tmp_path):
    """After the pause one may try; cancels, TCP checks and questions without an answer do not."""
    w = weir(conf(pg, tmp_path, login_throttle_base=1, login_throttle_max=60))
    assert wrong(tcp(w))[0] == '28P01'
    assert not asked(tcp(w))
    until(lambda: asked(tcp(w)), 30, why='a question')
    for _ in range(10):
        wire.dial('127.0.0.1', w.port).close()
        wire.cancel(w.port, (1, 1))
        assert asked(tcp(w))
    assert attempt(tcp(w)) == ('ok', 0)


# ---- many -----------------------------------------------------------------------------------

def test_workers_share(weir, pg, tmp_path):
    w = weir(conf(pg, tmp_path, workers=2, **LONG))
    assert wrong(tcp(w))[0] == '28P01'
    with contextlib.ExitStack() as held:
        for _ in range(8):      # each worker has some of them
            c = held.enter_context(Conn(w.port, login=False))
            c.send(wire.startup('alice'))
            m = c.read()
            assert (m[0], m[1]['C']) == ('E', '53300')
    assert {re.search(r'who=c\d+@(\d)', x)[1] for x in w.wait_log('event=login_throttled', n=8)} == {'0', '1'}


def storm(w, n):
    """n clients that are asked for their password before any of them answers: their refusals."""
    with contextlib.ExitStack() as held:
        all_of_them = [held.enter_context(Conn(w.port, login=False, timeout=60)) for _ in range(n)]
        for c in all_of_them:
            c.send(wire.startup('alice'))
        for c in all_of_them:
            code, rest = c.read()[1]
            c.last = wire.password('md5' + '0' * 32 if code == 5 else 'wrong')
            if code == 10:
                s = wire.Scram('wrong')
                first = s.first()
                c.send(wire.msg('p', wire.cstr('SCRAM-SHA-256') + len(first).to_bytes(4, 'big') + first))
                c.last = wire.msg('p', s.final(c.read()[1][1]))
        for c in all_of_them:
            c.send(c.last)
        return [c.read()[1]['C'] for c in all_of_them]


@pytest.mark.parametrize('auth', ['scram-sha-256', 'md5', 'plain'])
def test_storm(weir, pg, tmp_path, auth):
    """500 that were asked before the first failure: one comparison in each worker at most."""
    w = weir(conf(pg, tmp_path, auth_type=auth, workers=2, max_client_conn=1000, **LONG))
    codes = storm(w, 500)
    assert 1 <= codes.count('28P01') <= 2
    assert codes.count('28P01') + codes.count('53300') == 500
    assert stats(w)['client_logins_throttled'] == codes.count('53300')
    # the log is not flooded
    assert len(w.log_lines('event=login_throttled')) < 300


def test_one_at_a_time(weir, pg, tmp_path):
    """A comparison that takes long, and others of that source in the other worker meanwhile."""
    w = weir(conf(pg, tmp_path, auth_type='plain', workers=2, login_throttle_base=2, login_throttle_max=60))
    f = tmp_path / 'users.txt'
    f.write_text('"alice" "%s"\n' % wire.scram_secret(USERS['alice'], rounds=300000))
    w.hup()
    w.wait_log('event=reloaded')
    assert wrong(tcp(w))[0] == '28P01'
    until(lambda: asked(tcp(w)), 30, why='the end of the pause')
    codes = storm(w, 8)
    assert codes.count('28P01') == 1 and codes.count('53300') == 7


def test_guesses_per_second(weir, pg, tmp_path):
    """Who goes on has one guess each login_throttle_max, however many connections he makes."""
    w = weir(conf(pg, tmp_path, workers=2, login_throttle_base=0.05, login_throttle_max=0.5))
    counts = []
    begun = time.monotonic()

    def guess():
        mine = [0, 0]
        while time.monotonic() < begun + 4:
            mine[wrong(tcp(w))[0] == '28P01'] += 1
        counts.append(mine)
    run_threads(8, lambda _i: guess())
    took = time.monotonic() - begun
    refused, guesses = (sum(x) for x in zip(*counts))
    print('%d guesses, %d refused in %.1f s' % (guesses, refused, took))
    # 50, 100, 200, 400 ms, then 500 ms; and one at once in each worker
    assert 4 <= guesses <= 2 + 5 + took / 0.4
    assert refused > guesses
    retried(tcp(w), 'ok')
    assert attempt(tcp(w)) == ('ok', 0)
