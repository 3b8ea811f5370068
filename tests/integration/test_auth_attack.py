"""Attacks on the login: password messages of every wrong shape, out of order, again and too
early; SASL messages of other sessions; and whether users can be told from strangers.

SPDX-License-Identifier: ISC
"""
import base64
import os
import pwd
import statistics
import struct
import subprocess
import time

import pytest

import wire
from conftest import SLOW, db, free_port, ini
from test_auth import ROOT, Scram, md5_answer
from test_secrets import users_file
from wire import Closed, Conn, PgError, cstr, msg, startup

pytestmark = pytest.mark.weir_only

SECRET_MAX = 8000           # conf/secret.h
USERS = [('app', 'right'), ('hashed', 'md5' + '0' * 32), ('keys', wire.scram_secret('right', rounds=9000)),
         ('empty', ''), ('longest', 'z' * SECRET_MAX)]


def methods_ini(pg, tmp_path, method, **kw):
    return ini({'app': db(pg, user='app')}, auth_type=method, auth_file=users_file(tmp_path, USERS), **kw)


@pytest.fixture
def by(weir, pg, tmp_path):
    return lambda method, **kw: weir(methods_ini(pg, tmp_path, method, **kw))


def begin(w, user='app', **kw):
    c = Conn(w.port, login=False, timeout=10 * SLOW, **kw)
    c.send(startup(user))
    m = c.read()
    assert m[0] == 'R'
    return c, m[1]


def end_of(c):
    """The SQLSTATE with which it was refused, and that nothing but that came; None: closed."""
    try:
        m = c.read()
    except Closed:
        return None
    assert m[0] == 'E' and m[1]['S'] == 'FATAL', m
    assert c.closed()
    return m[1]['C']


def alive(w):
    assert w.one('SELECT 1', user='app', secret='right') == '1'


def sasl_initial(text, mech='SCRAM-SHA-256', length=None):
    return msg('p', cstr(mech) + struct.pack('!i', len(text) if length is None else length) + text)


# ---- messages of every shape -----------------------------------------------------------------

NO_PASSWORDS = {
    'empty': (wire.password(''), '28P01'),
    'no terminator': (msg('p', b'right'), '28P01'),
    'no body': (msg('p'), '28P01'),
    'behind the terminator': (msg('p', b'right\0x'), '28P01'),
    'two terminators': (msg('p', b'right\0\0'), '28P01'),
    'a zero in it': (msg('p', b'ri\0ght\0'), '28P01'),
    'one more': (wire.password('rightx'), '28P01'),
    'one less': (wire.password('righ'), '28P01'),
    'at the bound': (wire.password('z' * SECRET_MAX), '28P01'),
    'over the bound': (wire.password('z' * (SECRET_MAX + 1)), '28P01'),
    'far too long': (wire.password('z' * 70000), '08P01'),
    'length of 3': (b'p' + struct.pack('!i', 3) + b'right\0', '08P01'),
    'negative length': (b'p' + struct.pack('!i', -1) + b'right\0', '08P01'),
    'a gigabyte': (b'p' + struct.pack('!i', 1 << 30) + b'right\0', '08P01'),
    'query': (wire.query('SELECT 1'), '08P01'),
    'terminate': (wire.terminate(), '08P01'),
    'startup again': (startup('app'), '08P01'),
    'SSLRequest': (wire.special(wire.CODE_SSL), '08P01'),
    'cancel': (wire.special(wire.CODE_CANCEL, struct.pack('!ii', 1, 2)), '08P01'),
    'a SASL message': (sasl_initial(b'n,,n=,r=abcdefgh'), '28P01'),
    'GSS token': (msg('p', bytes(range(256))), '28P01'),
    'copy data': (wire.copy_data(b'right\0'), '08P01'),
}


@pytest.mark.parametrize('method', ['plain', 'md5'])
def test_no_passwords(by, method):
    w = by(method)
    wrong = []
    for name, (data, want) in NO_PASSWORDS.items():
        c, _ = begin(w)
        with c:
            c.send(data)
            got = end_of(c)
            if got != want:
                wrong.append('%s: %s, not %s' % (name, got, want))
    assert not wrong, wrong
    alive(w)


def test_longest_password(by):
    """8000 bytes are a password, of which all count."""
    w = by('plain')
    assert w.one('SELECT 1', user='longest', secret='z' * SECRET_MAX) == '1'
    for secret in ('z' * (SECRET_MAX - 1), 'z' * (SECRET_MAX - 1) + 'y', 'z' * (SECRET_MAX + 1)):
        with pytest.raises(PgError) as e:
            w.one('SELECT 1', user='longest', secret=secret)
        assert e.value.code == '28P01'


@pytest.mark.parametrize('method', ['plain', 'md5'])
def test_bytewise_and_cut(by, method):
    """One byte at a time is a login; the message cut at any byte, and the end, is none."""
    w = by(method)
    answer = lambda rest: wire.password(md5_answer(b'right', b'app', rest) if method == 'md5' else 'right')
    c, (_, rest) = begin(w)
    with c:
        c.send_bytewise(answer(rest))
        c.until('Z')
    for n in range(len(answer(b'abcd'))):
        c, (_, rest) = begin(w)
        with c:
            c.send(answer(rest)[:n])
            c.sock.shutdown(1)
            assert c.closed()
    alive(w)


@pytest.mark.parametrize('method', ['plain', 'md5', 'scram-sha-256'])
def test_password_twice_and_in_front(by, method):
    """A second password behind the first is no message of a session; the right one in front of
    the question is taken where it can be known, a second try is not."""
    w = by(method)
    if method == 'plain':
        with Conn(w.port, login=False) as c:
            c.send(startup('app'), wire.password('right'), wire.query('SELECT 7'))
            c.until('Z')
            assert ('D', ['7']) in c.until('Z')
        with Conn(w.port, login=False) as c:
            c.send(startup('app'), wire.password('right'), wire.password('right'))
            c.until('Z')
            assert c.read()[0] == 'E' and c.closed()
    with Conn(w.port, login=False) as c:
        c.send(startup('app'), wire.password('wrong'), wire.password('right'), wire.query('SELECT 1'))
        assert c.read()[0] == 'R'
        assert end_of(c) == '28P01'
    alive(w)


# ---- SASL ---------------------------------------------------------------------------------------

def scram_to(c, secret=b'right'):
    """Up to the challenge: (scram, challenge)."""
    s = Scram(secret)
    c.send(sasl_initial(s.first()))
    m = c.read()
    assert m[0] == 'R' and m[1][0] == 11, m
    return s, m[1][1]


def test_sasl_reordered(by):
    w = by('scram-sha-256')
    # the final message first; the first one twice; the final twice
    c, _ = begin(w)
    c.send(msg('p', b'c=biws,r=abc,p=' + base64.b64encode(bytes(32))))
    assert end_of(c) in ('28P01', '08P01')
    c, _ = begin(w)
    s, _ = scram_to(c)
    c.send(sasl_initial(s.first()))
    assert end_of(c) == '28P01'
    c, _ = begin(w)
    s, challenge = scram_to(c)
    final = msg('p', s.final(challenge))
    c.send(final, final)
    assert c.read()[1][0] == 12 and c.read() == ('R', (0, b''))
    while c.read()[0] != 'Z':
        pass
    assert c.read()[0] == 'E' and c.closed()
    alive(w)


def test_sasl_replayed(by):
    """What one session said is worth nothing in another, nor is half of it."""
    w = by('scram-sha-256')
    c, _ = begin(w)
    s, challenge = scram_to(c)
    final = s.final(challenge)
    c.send(msg('p', final))
    assert c.read()[1][0] == 12
    for user in ('app', 'keys'):
        d, _ = begin(w, user)
        d.send(sasl_initial(s.first()))
        other = d.read()[1][1]
        assert other != challenge
        d.send(msg('p', final))
        assert end_of(d) == '28P01'
        # with the other's nonce, and the old proof
        d, _ = begin(w, user)
        d.send(sasl_initial(s.first()))
        nonce = dict(p.split('=', 1) for p in d.read()[1][1].decode().split(','))['r']
        d.send(msg('p', b'c=biws,r=%s,p=%s' % (nonce.encode(), final.split(b',p=')[1])))
        assert end_of(d) == '28P01'
    alive(w)


@pytest.mark.parametrize('text,length', [
    (b'', None), (b'n,,n=,r=abcdefgh', -1), (b'n,,n=,r=abcdefgh', 15), (b'n,,n=,r=abcdefgh', 17),
    (b'n,,n=,r=' + b'a' * 3000, None), (b'n,a=app,n=,r=abcdefgh', None), (b'n,,m=x,n=,r=abcdefgh', None),
    (b'n,,n=,r=', None), (b'n,,n=,r=abcdefgh,x=y', None), (b'y', None), (b'\0' * 40, None)])
def test_sasl_first_damaged(by, text, length):
    w = by('scram-sha-256')
    c, _ = begin(w)
    c.send(sasl_initial(text, length=length))
    assert end_of(c) in ('28P01', '08P01')
    alive(w)


# ---- while the daemon asks who is there -----------------------------------------------------------

def test_peer_with_more_behind(weir, pg, tmp_path, base):
    """Password messages and queries behind the startup packet wait until the Unix user is known;
    the former are no message of a session."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    here = str(tmp_path)
    os.chmod(tmp_path, 0o755)
    w = weir(ini({'app': db(pg, user='app')}, auth_type='peer', unix_socket_dir=here), args=('-p', str(free_port())))
    for _ in range(20):
        with Conn(w.port, here, login=False) as c:
            c.send(startup(me, 'app'), wire.query('SELECT 7'))
            c.until('Z')
            assert ('D', ['7']) in c.until('Z')
        with Conn(w.port, here, login=False) as c:
            c.send(startup(me, 'app'), wire.password('x'))
            c.until('Z')
            assert c.read()[0] == 'E' and c.closed()
        with Conn(w.port, here, login=False) as c:
            c.send(startup('somebody_else', 'app'), wire.password('x'), wire.query('SELECT 1'))
            assert end_of(c) == '28000'
        Conn(w.port, here, login=False).send(startup(me, 'app'))     # and is gone
    with Conn(w.port, login=False) as c:
        c.send(startup(me, 'app'))
        assert end_of(c) == '28000'


# ---- strangers ------------------------------------------------------------------------------------

def transcript(w, user, secret=b'wrong'):
    """All that is said to who does not know the password, without what is random or the name."""
    out = []
    with Conn(w.port, login=False) as c:
        c.send(startup(user))
        while True:
            letter, body = c.read_raw()
            if letter == 'E':
                out.append((letter, body.replace(user.encode(), b'U')))
                assert c.closed()
                return out
            code, rest = struct.unpack('!i', body[:4])[0], body[4:]
            if code == 11:
                f = dict(p.split('=', 1) for p in rest.decode().split(','))
                out.append((code, f['s'], f['i'], len(f['r'])))
                c.send(msg('p', s.final(rest)))
                continue
            out.append((code, len(rest) if code == 5 else rest))
            if code == 10:
                s = Scram(secret)
                c.send(sasl_initial(s.first()))
            else:
                c.send(wire.password(secret))


@pytest.mark.parametrize('method', ['plain', 'md5', 'scram-sha-256'])
def test_strangers_look_like_users(by, method):
    """Each stranger is told, byte for byte but for the salt, what some user is told; the same
    each time, and also after a reload."""
    w = by(method)
    salted = lambda t: [x[2:] if x[0] == 11 else x for x in t]
    known = [transcript(w, u) for u, s in USERS if s]
    strangers = {u: transcript(w, u) for u in ['stranger%d' % i for i in range(40)] + ['empty']}
    for u, t in strangers.items():
        assert salted(t) in [salted(k) for k in known], u
    kinds = {tuple(map(str, salted(t))) for t in strangers.values()}
    # of each sort that there is among the users, there are strangers
    assert len(kinds) == len({tuple(map(str, salted(k))) for k in known})
    salts = [x[1] for t in [*known, *strangers.values()] for x in t if x[0] == 11]
    assert len({len(s) for s in salts}) <= 1
    w.hup()
    w.wait_log('event=reloaded')
    assert {u: transcript(w, u) for u in strangers} == strangers
    assert [transcript(w, u) for u, s in USERS if s] == known


@pytest.mark.parametrize('method', ['plain', 'md5', 'scram-sha-256'])
def test_how_long_an_answer_takes(by, method, capsys):
    """Says the medians, and asserts nothing of time."""
    w = by(method)
    for u in ('app', 'hashed', 'keys', 'a stranger', 'another'):
        transcript(w, u)
    took = {}
    for _ in range(40):
        for u in ('app', 'hashed', 'keys', 'a stranger', 'another'):
            t = time.perf_counter()
            with Conn(w.port, login=False) as c:
                c.send(startup(u))
                code, rest = c.read()[1]
                if code == 10:
                    s = Scram(b'wrong')
                    s.final(b'r=%sx,s=QUJD,i=1' % s.nonce.encode())     # warm
                    t = time.perf_counter()
                    c.send(sasl_initial(s.first()))
                else:
                    t = time.perf_counter()
                    c.send(wire.password(b'wrong' * 7))
                c.read()
            took.setdefault(u, []).append((time.perf_counter() - t) * 1e6)
    with capsys.disabled():
        print('\n%s: median us to the next answer: %s' % (
            method, ', '.join('%s %.0f' % (u, statistics.median(v)) for u, v in took.items())))


# ---- auth_type = any --------------------------------------------------------------------------------

def test_any(weir, pg):
    w = weir(ini({'app': db(pg, user='app')}, auth_type='any'))
    assert {w.one('SELECT current_user', user=u) for u in ('app', 'x', 'postgres', 'admin')} == {'app'}
    assert len({r['user'] for r in w.console('SHOW POOLS') if r['database'] == 'app'}) == 1
    # the console is for the names in admin_users, as with trust
    with pytest.raises(PgError) as e:
        w.connect('x', 'pgweir')
    assert e.value.code == '28000'


def test_names_that_servers_cut(weir, pg, tmp_path):
    """A server looks at 63 bytes of a name. One that is longer is no way around a rule, a
    limit or a map for those."""
    user, name = 'u' * 63, 'd' * 63
    pg.sql('CREATE ROLE "%s" LOGIN; CREATE ROLE "%s" LOGIN' % (user, 'v' * 63))
    pg.sql('CREATE DATABASE "%s"' % name)
    os.chmod(tmp_path, 0o755)
    ours = 'o' * 70
    (tmp_path / 'hba').write_text('host all %s all reject\nhost %s all all reject\nhost %s app all reject\nhost all all all trust\n'
                                  % (user, name, ours))
    w = weir(ini({'*': db(pg), ours: db(pg, dbname='app')}, auth_type='hba', auth_hba_file=tmp_path / 'hba',
                 max_user_client_connections=1))
    try:
        for more in ('', 'x', 'x' * 100):
            for u, d in ((user + more, 'app'), ('app', name + more)):
                with pytest.raises(PgError) as e:
                    w.connect(u, d)
                assert e.value.code == '28000', (u, d)
        with pytest.raises(PgError) as e:
            w.connect('app', ours)
        assert e.value.code == '28000'
        with w.connect('v' * 70, ours) as c:
            assert c.sql('SELECT session_user, current_database()') == [['v' * 63, 'app']]
            with pytest.raises(PgError) as e:
                w.connect('v' * 65, 'app')
            assert e.value.code == '53300'
    finally:
        w.term()
        w.wait()
        pg.sql('DROP DATABASE "%s" WITH (FORCE)' % name)
        pg.sql('DROP ROLE "%s", "%s"' % (user, 'v' * 63))
