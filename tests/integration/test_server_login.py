"""How pgweir shows servers who it is: by the keys that a client's SCRAM leaves, in clear
only where nobody listens, bound to the certificate where that is asked for.

SPDX-License-Identifier: ISC
"""
import fcntl
import hashlib
import hmac
import os
import select
import signal
import socket
import ssl
import struct
import tempfile
import termios

import pytest

import wire
from cluster import Postgres
from conftest import SLOW, db, ini, until
from test_passthrough import memory
from test_scram_plus import Cert
from test_tls_server import Pki, Server, Tap
from wire import Conn, PgError

pytestmark = pytest.mark.weir_only

SECRET, NEXT = 'the password', 'another password'
SALT = b'a salt of 16 oct'


# ---- by keys ------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def _pg(base, template):
    p = Postgres(base, 'keys').copy_from(template)
    p.hba('local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n')
    p.start()
    yield p
    p.stop(signal.SIGQUIT)


def secret_of(text, salt=SALT):
    return wire.scram_secret(text, salt)


@pytest.fixture
def pg(_pg):
    _pg.sql("ALTER ROLE app PASSWORD '%s'" % secret_of(SECRET))
    _pg.sql("ALTER ROLE other PASSWORD '%s'" % secret_of(SECRET))
    return _pg


@pytest.fixture
def sockets():
    with tempfile.TemporaryDirectory(prefix='login-') as d:
        yield d


@pytest.fixture
def keys(weir, pg, tmp_path, sockets):
    """A daemon with SCRAM secrets: who comes by TCP is asked, who comes by its unix socket is trusted."""

    def make(secret=secret_of(SECRET), users=('app', 'other'), entry=None, **kw):
        (tmp_path / 'hba').write_text('host pgweir admin all trust\nlocal all all trust\n'
                                      'host all all all scram-sha-256\n')
        (tmp_path / 'users').write_text(''.join('"%s" "%s"\n' % (u, secret) for u in users))
        w = weir(ini({'app': db(pg, dbname='app', **(entry or {}))},
                     **{'auth_type': 'hba', 'auth_hba_file': tmp_path / 'hba', 'auth_file': tmp_path / 'users',
                        'unix_socket_dir': sockets, 'server_login_retry': 0.05, 'verbose': 3,
                        'query_wait_timeout': 3 * SLOW, **kw}))
        w.sockets = sockets
        return w
    make.users = tmp_path / 'users'
    return make


def by_scram(w, user='app', secret=SECRET):
    return w.connect(user, secret=secret)


def trusted(w, user='app'):
    """How a client without keys fares."""
    try:
        with Conn(w.port, host=w.sockets, user=user, database='app') as c:
            return c.one('SELECT current_user')
    except PgError as e:
        return '%s %s' % (e.code, e.fields['M'])


def no_servers(w, pg, user='app'):
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'" % user)
    until(lambda: int((w.pool(user=user) or {}).get('sv_total') or 0) == 0)


@pytest.mark.parametrize('workers', [1, 2])
def test_keys(keys, workers):
    w = keys(workers=workers)
    for _ in range(4):
        with by_scram(w) as c:
            assert c.one('SELECT current_user') == 'app'
    with by_scram(w, 'other') as c:
        assert c.one('SELECT current_user') == 'other'
    with pytest.raises(PgError) as e:
        by_scram(w, secret=NEXT)
    assert e.value.code == '28P01'


def test_keys_of_a_client_only(keys, pg):
    """Nobody has shown a password yet: what is missing is told."""
    w = keys()
    got = trusted(w)
    assert got.startswith('28000') and 'needs a client that has logged in with SCRAM' in got
    with by_scram(w) as c:
        assert c.one('SELECT 1') == '1'
        assert trusted(w) == 'app'
        no_servers(w, pg)
        assert trusted(w) == 'app'              # the keys are kept
    assert 'needs a client' in trusted(w, 'other')


def test_keys_of_another_secret(keys, pg):
    """The server has another salt: then nothing is sent that is of use to it."""
    w = keys(secret=secret_of(SECRET, b'another salt ...'))
    with pytest.raises(PgError) as e:
        by_scram(w)
    assert e.value.code == '28000', e.value.fields
    pg.sql("ALTER ROLE app PASSWORD '%s'" % secret_of(SECRET, b'another salt ...'))
    with by_scram(w) as c:
        assert c.one('SELECT 1') == '1'


def test_keys_go_with_their_secret(keys, pg):
    """auth_file has another secret: the keys of the one before are no more."""
    w = keys()
    with by_scram(w) as c:
        assert c.one('SELECT 1') == '1'
        n = len(w.log_lines('event=reload'))
        w.hup()                                 # nothing new: they stay
        until(lambda: len(w.log_lines('event=reload')) > n)
        no_servers(w, pg)
        assert c.one('SELECT 1') == '1'
        keys.users.write_text('"app" "%s"\n' % secret_of(NEXT))
        n = len(w.log_lines('event=reload'))
        w.hup()
        until(lambda: len(w.log_lines('event=reload')) > n)
        no_servers(w, pg)
        with pytest.raises(PgError) as e:
            c.one('SELECT 1')
        assert 'needs a client that has logged in with SCRAM' in e.value.fields['M']
        pg.sql("ALTER ROLE app PASSWORD '%s'" % secret_of(NEXT))
        with by_scram(w, secret=NEXT) as d:
            assert d.one('SELECT 1') == c.one('SELECT 1') == '1'


def test_keys_are_of_their_user(keys, pg):
    """user= of the database: a client's keys are not those of that user."""
    w = keys(entry={'user': 'other'})
    with pytest.raises(PgError) as e:
        by_scram(w)
    assert e.value.code == '28000' and 'no password is known' in e.value.fields['M']


def test_a_password_before_keys(keys, pg):
    w = keys(secret=SECRET)
    assert trusted(w) == 'app'


@pytest.mark.no_san
@pytest.mark.skipif(os.geteuid() != 0, reason='reads the memory of another process')
def test_keys_are_wiped(keys, pg):
    salted = hashlib.pbkdf2_hmac('sha256', SECRET.encode(), SALT, 4096)
    key = hmac.digest(salted, b'Client Key', 'sha256')
    w = keys()
    with by_scram(w) as c:
        c.sql('SELECT 1')
        assert sum(m.count(key) for m in memory(w.pid)) > 0
    no_servers(w, pg)
    until(lambda: not w.pool(user='app'), 30, why='the pool to be forgotten')
    assert sum(m.count(key) for m in memory(w.pid)) == 0
    assert sum(m.count(salted) for m in memory(w.pid)) == 0


# ---- in clear -------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pki')
    os.chmod(folder, 0o755)
    p = Pki(str(folder))
    p.ed25519 = Cert(str(folder), 'ed25519')
    p.ed25519.cert = p.ed25519.crt
    return p


@pytest.fixture(scope='module')
def _tls_pg(base, template, pki):
    s = Server(base, template, pki, 'tls-login')
    s.pg.settings("listen_addresses = '*'")
    s.pg.stop()
    s.pg.start()
    yield s
    s.pg.stop(signal.SIGQUIT)


@pytest.fixture
def tls_pg(_tls_pg, pki):
    def be(method, cert=pki.good, secret=SECRET, encryption='scram-sha-256'):
        _tls_pg.hba = lambda kind='host', method_=None: _tls_pg.pg.hba(
            'local all app password\nlocal all all trust\nhost all postgres 127.0.0.1/32 trust\n'
            'host all all all %s\n' % method)
        _tls_pg.be(cert)
        _tls_pg.pg.sql("SET password_encryption = '%s'; ALTER ROLE app PASSWORD '%s'" % (encryption, secret))
        return _tls_pg
    return be


def attempt(w, name='app'):
    try:
        with w.connect(database=name) as c:
            return c.one('SELECT current_user')
    except PgError as e:
        return '%s %s %s' % (e.code, e.fields['M'], e.fields.get('D', ''))


def entry(server, **kw):
    return db(server, **{'dbname': 'app', 'user': 'app', 'password': "'%s'" % SECRET, 'sslmode': 'disable', **kw})


def my_address():
    """Of this machine, as others see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(('192.0.2.1', 9))
        except OSError:
            return None
        return s.getsockname()[0]


@pytest.mark.parametrize('setting', ['never', 'loopback', 'anywhere'])
def test_password_as_it_is(weir, tls_pg, setting):
    pg = tls_pg('password')
    away = my_address()
    if not away or away.startswith('127.'):
        pytest.skip('this machine has no address but loopback')
    w = weir(ini({'here': entry(pg), 'away': entry(pg, host=away), 'tls': entry(pg, host=away, sslmode='require'),
                  'unix': entry(pg, host=pg.pg.data)}, server_cleartext=setting, query_wait_timeout=2 * SLOW))
    got = {n: attempt(w, n) for n in ('here', 'away', 'tls', 'unix')}
    assert got['tls'] == got['unix'] == 'app'
    assert (got['here'] == 'app') == (setting != 'never')
    assert (got['away'] == 'app') == (setting == 'anywhere')
    for g in got.values():
        assert g == 'app' or ('without TLS' in g and 'sslmode' in g and 'server_cleartext' in g), g


def test_password_is_not_sent(weir):
    """Somebody who asks for it does not get it."""
    heard = []

    def script(c):
        if c.read_startup():
            c.send(wire.msg('R', struct.pack('!i', 3)))
            heard.append(c.wait_close())
    with wire.FakeServer(script, login=False) as s:
        w = weir(ini({'app': entry(s)}, server_cleartext='never', health_check_interval=3600, query_wait_timeout=1 * SLOW,
                     health_check_user='nobody'))
        assert 'without TLS' in attempt(w)
        until(lambda: heard)
        assert all('p' not in h for h in heard), heard


# ---- bound to the certificate -----------------------------------------------------------------

def bound(w):
    return {n: attempt(w, n) for n in ('prefer', 'require', 'disable')}


def three(server, **kw):
    return {n: entry(server, **{'host': 'localhost', 'channel_binding': n, **kw}) for n in ('prefer', 'require', 'disable')}


def test_bound(weir, tls_pg, pki):
    pg = tls_pg('scram-sha-256')
    w = weir(ini({**three(pg, sslmode='require'), 'clear': entry(pg, channel_binding='require')},
                 query_wait_timeout=2 * SLOW))
    assert bound(w) == dict.fromkeys(('prefer', 'require', 'disable'), 'app')
    assert 'channel binding is required, and the connection has no TLS' in attempt(w, 'clear')


@pytest.mark.parametrize('method', ['password', 'md5', 'trust'])
def test_bound_or_nothing(weir, tls_pg, method):
    """Another method, or none: require takes nothing less."""
    pg = tls_pg(method, encryption='md5' if method == 'md5' else 'scram-sha-256')
    got = bound(weir(ini(three(pg, sslmode='require'), query_wait_timeout=2 * SLOW)))
    assert got['prefer'] == got['disable'] == 'app'
    assert 'channel_binding = require' in got['require']


def test_not_through_another(weir, tls_pg, pki):
    """Between the two stands somebody with a certificate of his own, which sslmode=require does
    not look at: the binding does."""
    pg = tls_pg('scram-sha-256')
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(pki.stranger.cert, pki.stranger.key)
    got = bound(weir(ini(three(Tap(pg.port, ctx), sslmode='require'), query_wait_timeout=2 * SLOW,
                         health_check_interval=3600)))
    assert got['prefer'] == got['disable'] == 'app'
    assert 'channel binding is required, and the server does not offer it' in got['require']


def test_nothing_to_bind_to(weir, tls_pg, pki):
    """A certificate whose signature names no hash."""
    pg = tls_pg('scram-sha-256', cert=pki.ed25519)
    got = bound(weir(ini(three(pg, sslmode='require'), query_wait_timeout=2 * SLOW)))
    assert got['disable'] == 'app'
    assert 'no hash to bind to' in got['prefer'] and 'no hash to bind to' in got['require']


def test_bound_by_uri(weir, tls_pg):
    pg = tls_pg('md5', encryption='md5')
    uri = 'postgresql://app:%s@localhost:%d/app?sslmode=require&channel_binding=' % (SECRET.replace(' ', '%20'), pg.port)
    assert attempt(weir(uri + 'prefer')) == 'app'
    assert 'channel_binding = require' in attempt(weir(uri + 'require'))


def test_checks_are_bound(weir, tls_pg):
    """They log in to the node as clients do."""
    pg = tls_pg('md5', encryption='md5')
    w = weir(ini({'app': entry(pg, host='localhost', sslmode='require', channel_binding='require')},
                 health_check_user=None, health_check_dbname=None, health_check_interval=0.1, verbose=3))
    until(lambda: 'channel binding' in w.log())
    assert not w.log_lines('role=primary')


def test_by_keys_and_bound(weir, tls_pg, tmp_path):
    """Both at once: a client's keys, and the server's certificate."""
    pg = tls_pg('scram-sha-256', secret=secret_of(SECRET))
    os.chmod(tmp_path, 0o755)
    (tmp_path / 'users').write_text('"app" "%s"\n' % secret_of(SECRET))
    w = weir(ini({'app': db(pg, dbname='app', host='localhost', sslmode='require', channel_binding='require')},
                 auth_type='scram-sha-256', auth_file=tmp_path / 'users', query_wait_timeout=2 * SLOW))
    with w.connect(secret=SECRET) as c:
        assert c.one('SELECT current_user') == 'app'


# ---- what checks show ------------------------------------------------------------------------

CLEAR = wire.msg('R', struct.pack('!i', 3))
MD5 = wire.msg('R', struct.pack('!i4s', 5, b'salt'))


def checked(server, **kw):
    """Only checks log in here."""
    return ini({'app': entry(server, **kw.pop('entry', {}))},
               **{'health_check_user': None, 'health_check_dbname': None, 'health_check_interval': 0.1, **kw})


@pytest.mark.parametrize('setting', ['never', 'loopback', 'anywhere'])
def test_checks_and_a_password_as_it_is(weir, tls_pg, setting):
    pg = tls_pg('password')
    away = my_address()
    if not away or away.startswith('127.'):
        pytest.skip('this machine has no address but loopback')
    for place, kw, gets in (('127.0.0.1', {}, setting != 'never'), (away, {}, setting == 'anywhere'),
                            (away, {'sslmode': 'require'}, True), (pg.pg.data, {}, True)):
        w = weir(checked(pg, entry={'host': place, **kw}, server_cleartext=setting))
        until(lambda w=w, gets=gets: 'role=primary' in w.log() if gets else 'cannot_authenticate' in w.log(), 10 * SLOW)
        assert gets or 'server_cleartext' in w.log() and 'role=primary' not in w.log()


@pytest.mark.parametrize('method', ['md5', 'scram-sha-256'])
def test_checks_that_show_no_password(weir, tls_pg, method):
    """They are as they were."""
    pg = tls_pg(method, encryption=method)
    w = weir(checked(pg, server_cleartext='never'))
    until(lambda: 'role=primary' in w.log())


class Asks(Tap):
    """Says these bytes in pieces, each when the one before has been taken in, to a startup packet; `first`
    to an SSLRequest. Keeps what it is told, after the startup packet, without lengths that are not there."""

    def __init__(self, pieces, first=b'N'):
        self.pieces, self.first, self.heard, self.done = pieces, first, b'', 0
        super().__init__(0)

    def serve(self, s):
        try:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            size, code = struct.unpack('!ii', self.exactly(s, 8))
            if code == wire.CODE_SSL:
                s.sendall(self.first)
                size, code = struct.unpack('!ii', self.exactly(s, 8))
            self.exactly(s, size - 8)
            gone = select.poll()
            gone.register(s, 0)
            for p in self.pieces:
                s.sendall(p)
                while struct.unpack('i', fcntl.ioctl(s, termios.TIOCOUTQ, b'1234'))[0] and not gone.poll(1):
                    pass
            while True:
                got = s.recv(4096)
                if not got:
                    break
                self.heard += got
        except (OSError, EOFError):
            pass
        s.close()
        self.done += 1


def pieces(b, n):
    return [b[i:i + n] for i in range(0, len(b), n)]


@pytest.mark.parametrize('said,kw', [
    ([CLEAR], {}),
    (pieces(CLEAR, 1), {}),
    ([MD5 + CLEAR], {}),
    ([MD5, CLEAR], {}),
    (pieces(MD5 + CLEAR, 7), {}),
    ([CLEAR[:5]], {}),
    ([MD5, b'N'], {'first': b'N' + CLEAR}),
    ([wire.notice('hello') + CLEAR], {}),
    ([wire.notice('hello'), CLEAR], {}),
    ([wire.msg('R', struct.pack('!i', 12)) * 4000 + CLEAR], {}),
    ([b'R' + struct.pack('!ii', 0, 3)], {}),
], ids=['whole', 'byte by byte', 'behind md5', 'behind md5, alone', 'in sevens', 'cut', 'behind N', 'behind a notice',
        'behind a notice, alone', 'far behind', 'no length'])
def test_checks_do_not_tell_a_stranger(weir, said, kw):
    """However somebody asks for it, the password is not sent as it is; the check ends, and another follows."""
    s = Asks(said, **kw)
    w = weir(checked(s, server_cleartext='never', entry={'sslmode': 'prefer'}, health_check_timeout=1 * SLOW))
    until(lambda: s.done >= 2, 20 * SLOW)
    assert SECRET.encode() not in s.heard
    until(lambda: 'event=probe ' in w.log())
    s.close()


def test_checks_do_not_spin(weir):
    """Before a request that is cut a check waits, without work, for its time to be over."""
    s = Asks([CLEAR[:7]])
    w = weir(checked(s, server_cleartext='never', health_check_timeout='1s'))
    used = lambda: sum(map(int, open('/proc/%d/stat' % w.pid, encoding='ascii').read().rsplit(')', 1)[1].split()[11:13]))
    before = used()
    until(lambda: s.done >= 2, 20 * SLOW)
    assert (used() - before) / os.sysconf('SC_CLK_TCK') < 0.5
    s.close()
