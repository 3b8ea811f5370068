"""SCRAM-SHA-256-PLUS and logins by keys: proxy/wire's maths (tests/scram/tool.c) as a
client of a real server, and as a server of the real libpq, over real TLS.

The I/O is that of the test; at the end pgweir itself stands between the two.
"""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess

import psycopg2
import pytest

import wire
from cluster import Postgres
from conftest import Spawned, db, ini, until
from scramtool import PLAIN, PLUS, Client, Refused, Tool
from wire import Closed, Conn, PgError

pytestmark = pytest.mark.weir_only
NONCE = 'fyko+d2lbbFgONRv9qkxdawL'

# What the signature is made with, and the hash that it names.
CERTS = {
    'rsa-sha256': (('rsa:2048', '-sha256'), 'sha256'),
    'rsa-sha1': (('rsa:2048', '-sha1'), 'sha256'),
    'rsa-md5': (('rsa:2048', '-md5'), 'sha256'),
    'rsa-sha384': (('rsa:2048', '-sha384'), 'sha384'),
    'rsa-sha512': (('rsa:2048', '-sha512'), 'sha512'),
    'ecdsa-sha256': (('ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-sha256'), 'sha256'),
    'ecdsa-sha384': (('ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-sha384'), 'sha384'),
    'rsa-pss-sha512': (('rsa:2048', '-sha512', '-sigopt', 'rsa_padding_mode:pss'), 'sha512'),
    'ed25519': (('ed25519',), None),
}


class Cert:
    def __init__(self, d, name):
        self.hash = CERTS[name][1]
        self.key, self.crt = '%s/%s.key' % (d, name), '%s/%s.crt' % (d, name)
        subprocess.run(['openssl', 'req', '-x509', '-newkey', *CERTS[name][0], '-nodes', '-keyout',
                        self.key, '-out', self.crt, '-days', '2', '-subj', '/CN=db.example'],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(self.crt, encoding='ascii') as f:
            self.der = ssl.PEM_cert_to_DER_cert(f.read())


@pytest.fixture(scope='module')
def certs(base):
    d = base + '/certs'
    os.mkdir(d)
    return {n: Cert(d, n) for n in CERTS}


@pytest.fixture
def tool():
    with Tool() as t:
        yield t


@pytest.fixture(scope='module')
def _tls_pg(base, template, certs):
    p = Postgres(base, 'scram-plus').copy_from(template)
    p.hba('local all all trust\nhost all postgres 127.0.0.1/32 trust\n'
          'host all all 127.0.0.1/32 scram-sha-256\n')
    p.settings("ssl = on")
    use_cert(p, certs['rsa-sha256'])
    p.start()
    p.sql("CREATE ROLE u LOGIN PASSWORD 'pencil'")
    yield p
    p.stop(signal.SIGQUIT)


@pytest.fixture
def tls_pg(_tls_pg, certs):
    """Each test finds the first certificate."""
    yield _tls_pg
    if dial(_tls_pg.port)[1] != certs['rsa-sha256'].der:
        use_cert(_tls_pg, certs['rsa-sha256'])


def use_cert(p, cert):
    st = os.stat(p.data)
    for name, at in (('server.key', cert.key), ('server.crt', cert.crt)):
        to = os.path.join(p.data, name)
        shutil.copy(at, to + '.new')
        os.chmod(to + '.new', 0o600)
        os.chown(to + '.new', st.st_uid, st.st_gid)
        os.rename(to + '.new', to)
    if p.proc:
        p.reload()
        until(lambda: dial(p.port)[1] == cert.der, why='the new certificate to be shown')


def any_certificate():
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    return ctx


def dial(port):
    """A connection in TLS, and the certificate of its server."""
    c = Conn(port, login=False)
    c.send(wire.special(wire.CODE_SSL))
    assert c.take(1) == b'S'
    c.sock = any_certificate().wrap_socket(c.sock)
    return c, c.sock.getpeercert(binary_form=True)


def offered(c):
    """What the server offers."""
    c.send(wire.startup('u'))
    code, rest = c.read()[1]
    assert code == 10
    return [m.decode() for m in rest.split(b'\0') if m]


def sasl_first(mech, text):
    return wire.msg('p', wire.cstr(mech) + struct.pack('!i', len(text)) + text)


def answer(c, code):
    m = c.read()
    if m[0] == 'E':
        raise PgError(m[1])
    assert m[0] == 'R' and m[1][0] == code, m
    return m[1][1]


def log_in(c, tool, names, hash_, want='prefer', tls=True, how=('password', b'pencil')):
    """Our client against the server of c, up to its AuthenticationOk. The flag that it
    began with."""
    mech, text = tool.ask('client', want, int(tls), hash_, ','.join(names), NONCE)
    c.send(sasl_first(mech, text.encode()))
    final = tool.one(*how, answer(c, 11).decode())
    c.send(wire.msg('p', final.encode()))
    tool.ask('check', answer(c, 12).decode())
    answer(c, 0)
    return mech, text[0]


# ---- the hash ------------------------------------------------------------------------

@pytest.mark.parametrize('name', CERTS)
def test_hash(tool, certs, name):
    """As openssl computes it."""
    cert = certs[name]
    if not cert.hash:
        with pytest.raises(Refused):
            tool.ask('hash', cert.der)
        return
    out = subprocess.run(['openssl', 'x509', '-in', cert.crt, '-noout', '-fingerprint', '-' + cert.hash],
                         check=True, stdout=subprocess.PIPE).stdout.decode()
    assert tool.one('hash', cert.der) == out.split('=')[1].strip().replace(':', '').lower()


# ---- a client of ours, a real server --------------------------------------------------

@pytest.mark.parametrize('name', [n for n in CERTS if CERTS[n][1]])
def test_real_server(tls_pg, tool, certs, name):
    use_cert(tls_pg, certs[name])
    c, der = dial(tls_pg.port)
    with c:
        names = offered(c)
        assert names == [PLUS, PLAIN]
        assert log_in(c, tool, names, tool.one('hash', der)) == (PLUS, 'p')


def test_real_server_without_a_hash(tls_pg, tool, certs):
    """Ed25519: the server offers PLUS, and neither libpq nor we can do it; without
    binding both get in."""
    use_cert(tls_pg, certs['ed25519'])
    where = {'host': '127.0.0.1', 'port': tls_pg.port, 'user': 'u', 'password': 'pencil', 'dbname': 'app',
             'sslmode': 'require'}
    with pytest.raises(psycopg2.OperationalError, match='could not find digest'):
        psycopg2.connect(**where)
    psycopg2.connect(**where, channel_binding='disable').close()
    for want in ('prefer', 'require', 'disable'):
        c, der = dial(tls_pg.port)
        with c:
            names = offered(c)
            with pytest.raises(Refused):
                tool.ask('hash', der)
            if want == 'disable':
                assert log_in(c, tool, names, '.', want) == (PLAIN, 'n')
            else:
                with pytest.raises(Refused, match='no hash to bind to'):
                    log_in(c, tool, names, '.', want)


@pytest.mark.parametrize('want', ['prefer', 'require', 'disable'])
def test_real_server_want(tls_pg, tool, certs, want):
    c, der = dial(tls_pg.port)
    with c:
        got = log_in(c, tool, offered(c), tool.one('hash', der), want)
    assert got == ((PLAIN, 'n') if want == 'disable' else (PLUS, 'p'))
    with Conn(tls_pg.port, login=False) as c:
        names = offered(c)
        assert names == [PLAIN]
        if want == 'require':
            with pytest.raises(Refused, match='has no TLS'):
                log_in(c, tool, names, '.', want, tls=False)
        else:
            assert log_in(c, tool, names, '.', want, tls=False) == (PLAIN, 'n')


def test_real_server_finds_what_was_changed(tls_pg, tool, certs):
    """Someone between who takes PLUS from the list, or shows a certificate of his own."""
    c, der = dial(tls_pg.port)
    hash_ = tool.one('hash', der)
    with c:
        with pytest.raises(PgError, match='negotiation error') as e:
            log_in(c, tool, offered(c)[1:], hash_)
        assert e.value.code == '28000'
    other = tool.one('hash', certs['rsa-sha512'].der)
    c, _ = dial(tls_pg.port)
    with c:
        with pytest.raises(PgError, match='channel binding check failed') as e:
            log_in(c, tool, offered(c), other)
        assert e.value.code == '28000'
    c, _ = dial(tls_pg.port)
    with c, pytest.raises(PgError) as e:
        log_in(c, tool, offered(c), hash_, how=('password', b'pencils'))
    assert e.value.code == '28P01'


# ---- a server of ours, the real libpq -------------------------------------------------

class Server:
    """Takes one connection, with our SCRAM. tells: what the list says, which someone
    between may have changed."""

    def __init__(self, tool, secret, cert=None, hash_='.', offers=True, tells=None):
        self.tool, self.secret, self.cert, self.hash = tool, secret, cert, hash_
        self.offers = offers
        self.tells = tells if tells is not None else [PLUS, PLAIN] if offers else [PLAIN]
        self.sock = socket.socket()
        self.sock.bind(('127.0.0.1', 0))
        self.sock.listen(1)
        self.port = self.sock.getsockname()[1]
        self.seen = []
        self.run = Spawned(self.serve)

    def serve(self):
        """The ClientKey; Refused."""
        self.sock.settimeout(20)
        peer = wire.Stream(self.sock.accept()[0])
        self.sock.close()
        with contextlib.closing(peer):
            try:
                self.begin(peer)
                return self.authenticate(peer)
            except Refused:
                peer.send(wire.error('28P01', 'refused', 'FATAL'))
                raise

    def begin(self, peer):
        while True:
            size, code = struct.unpack('!ii', peer.take(8))
            peer.take(size - 8)
            if code == wire.PROTO_3_0:
                break
            peer.send(b'S' if self.cert and code == wire.CODE_SSL else b'N')
            if self.cert and code == wire.CODE_SSL:
                ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                ctx.load_cert_chain(self.cert.crt, self.cert.key)
                peer.sock = ctx.wrap_socket(peer.sock, server_side=True)
        peer.send(wire.msg('R', struct.pack('!i', 10) + b''.join(map(wire.cstr, self.tells)) + b'\0'))

    def authenticate(self, peer):
        self.tool.ask('server', self.secret, int(self.offers), self.hash, NONCE)
        letter, body = peer.read_raw()
        assert letter == 'p'
        mech, rest = body.split(b'\0', 1)
        self.seen += [mech.decode(), rest[4:].decode()]
        first = self.tool.one('first', *self.seen)
        peer.send(wire.msg('R', struct.pack('!i', 11) + first.encode()))
        self.seen += [first, peer.read_raw()[1].decode()]
        final, key = self.tool.ask('final', self.seen[-1])
        self.seen.append(final)
        peer.send(wire.msg('R', struct.pack('!i', 12) + final.encode()), wire.auth_ok(),
                  *[wire.parameter(*p) for p in wire.PARAMS.items()], wire.key_data(1, 2), wire.ready())
        return bytes.fromhex(key)

    def libpq(self, **kw):
        """Connects to it; the ClientKey."""
        try:
            psycopg2.connect(host='127.0.0.1', port=self.port, user='u', password='pencil', dbname='app',
                             **kw).close()
        finally:
            key = self.run.result()
        return key


SECRET = wire.scram_secret('pencil')


@pytest.mark.parametrize('name', [n for n in CERTS if CERTS[n][1]])
def test_real_client(tool, certs, name):
    s = Server(tool, SECRET, certs[name], tool.one('hash', certs[name].der))
    assert len(s.libpq(sslmode='require', channel_binding='require')) == 32
    assert s.seen[0] == PLUS and s.seen[1].startswith('p=tls-server-end-point,,n=,r=')


@pytest.mark.parametrize('want, offers, tls, began', [
    ('prefer', True, True, PLUS + ' p='),
    ('disable', True, True, PLAIN + ' n,'),
    ('prefer', False, True, PLAIN + ' y,'),
    ('disable', False, True, PLAIN + ' n,'),
    ('prefer', False, False, PLAIN + ' n,'),
    ('disable', False, False, PLAIN + ' n,'),
])
def test_real_client_want(tool, certs, want, offers, tls, began):
    cert = certs['rsa-sha256']
    s = Server(tool, SECRET, cert if tls else None, tool.one('hash', cert.der), offers)
    s.libpq(sslmode='require' if tls else 'disable', channel_binding=want)
    assert ' '.join(s.seen[:2]).startswith(began)


def test_what_was_changed_is_found(tool, certs):
    cert = certs['rsa-sha256']
    s = Server(tool, SECRET, cert, tool.one('hash', cert.der), tells=[PLAIN])
    with pytest.raises(Refused, match='believes that SCRAM-SHA-256-PLUS was not offered'):
        s.libpq(sslmode='require')
    s = Server(tool, SECRET, cert, tool.one('hash', certs['ecdsa-sha256'].der))
    with pytest.raises(Refused, match='channel binding does not match'):
        s.libpq(sslmode='require')
    s = Server(tool, wire.scram_secret('pencils'), cert, tool.one('hash', cert.der))
    with pytest.raises(Refused, match='password mismatch'):
        s.libpq(sslmode='require')


# ---- pgweir -------------------------------------------------------------------------------

@pytest.fixture
def front(weir, tls_pg, certs, tmp_path):
    """pgweir with TLS on both sides, before tls_pg."""
    f = tmp_path / 'users.txt'
    f.write_text('"u" "pencil"\n')
    os.chmod(tmp_path, 0o755)

    def make(name, **kw):
        return weir(ini({'app': db(tls_pg)}, auth_type='scram-sha-256', auth_file=f,
                        client_tls_sslmode='allow', client_tls_key_file=certs[name].key,
                        client_tls_cert_file=certs[name].crt, server_tls_sslmode='require', **kw))
    return make


def through(w, **kw):
    c = psycopg2.connect(host='127.0.0.1', port=w.port, user='u', password='pencil', dbname='app',
                         **{'sslmode': 'require', **kw})
    with contextlib.closing(c), c.cursor() as cur:
        cur.execute('SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
        assert cur.fetchone() == (True, 'u')


@pytest.mark.parametrize('name', CERTS)
def test_pgweir(front, name):
    """libpq is bound to pgweir's certificate, if that has a hash."""
    w = front(name)
    c, _ = dial(w.port)
    with c:
        assert offered(c) == ([PLUS, PLAIN] if CERTS[name][1] else [PLAIN])
    with Conn(w.port, login=False) as c:
        assert offered(c) == [PLAIN]
    through(w)
    through(w, channel_binding='disable')
    if CERTS[name][1]:
        through(w, channel_binding='require')
    else:
        with pytest.raises(psycopg2.OperationalError, match='channel binding is required'):
            through(w, channel_binding='require')


def test_pgweir_and_the_server(tls_pg, front, certs):
    """pgweir binds its login to the server's certificate, and so fails where libpq does."""
    use_cert(tls_pg, certs['ecdsa-sha384'])
    through(front('rsa-sha256'))
    use_cert(tls_pg, certs['ed25519'])
    w = front('rsa-sha256')
    with pytest.raises(psycopg2.OperationalError):
        through(w)
    w.wait_log("signature of the server's certificate has no hash to bind to")


# ---- every combination, judged by both -------------------------------------------------

GS2 = [b'p=tls-server-end-point,,', b'p=tls-unique,,', b'p=,,', b'p,,', b'P=tls-server-end-point,,',
       b'p=tls-server-end-point,', b'p=tls-server-end-point,a=x,', b'p=tls-server-end-pointx,,',
       b'n,,', b'n,', b'n,a=x,', b'n=,,', b'y,,', b'y,a=x,', b'x,,', b',,', b'']


def server_says(port, tls, mech, client):
    c = dial(port)[0] if tls else Conn(port, login=False)
    with c:
        offered(c)
        try:
            c.send(sasl_first(mech, client.first()))
            c.send(wire.msg('p', client.final(answer(c, 11))))
            answer(c, 12)
            answer(c, 0)
            return True
        except (PgError, Closed):
            return False


def tool_says(tool, tls, hash_, mech, client):
    tool.ask('server', SECRET, int(tls), hash_ if tls else '.', NONCE)
    try:
        first = tool.one('first', mech, client.first().decode())
        tool.ask('final', client.final(first.encode()).decode())
        return True
    except Refused:
        return False


@pytest.mark.parametrize('tls', [True, False])
@pytest.mark.parametrize('mech', [PLUS, PLAIN, 'SCRAM-SHA-1', ''])
def test_combinations(tls_pg, front, tool, certs, tls, mech):
    """The gs2 header, what is behind c=, the mechanism: we let in whom the server does."""
    w = front('rsa-sha256')
    hash_ = tool.one('hash', certs['rsa-sha256'].der)
    bound = b'p=tls-server-end-point,,' + bytes.fromhex(hash_)
    seen = set()
    for gs2 in GS2:
        for cbind in (gs2, bound, bound[:-1], bound + b'x', bound[:-1] + bytes([bound[-1] ^ 1]),
                      b'n,,', b'y,,', b'p=tls-server-end-point,,', b'p=tls-unique,,' + bound[24:], b''):
            client = Client('pencil', gs2, cbind)
            want = server_says(tls_pg.port, tls, mech, client)
            assert tool_says(tool, tls, hash_, mech, client) == want, (gs2, cbind, want)
            assert server_says(w.port, tls, mech, client) == want, (gs2, cbind, want)
            if want:
                seen.add((gs2, cbind))
    assert seen == {PLUS: {(GS2[0], bound)} if tls else set(),
                    PLAIN: {(b'n,,', b'n,,')} if tls else {(b'n,,', b'n,,'), (b'y,,', b'y,,')}}.get(mech, set())


# ---- by keys -----------------------------------------------------------------------------

def test_keys(tls_pg, tool, certs):
    """What libpq proved to us logs in to the server that has the same secret, with and
    without binding, and to none that has another."""
    secret = tls_pg.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'u'")
    cert = certs['rsa-sha256']
    for kw in ({'sslmode': 'require'}, {'sslmode': 'disable'}):
        tls = kw['sslmode'] == 'require'
        key = Server(tool, secret, cert if tls else None, tool.one('hash', cert.der), tls).libpq(**kw)
        c, der = dial(tls_pg.port)
        with c:
            assert log_in(c, tool, offered(c), tool.one('hash', der), how=('keys', secret, key)) == (PLUS, 'p')
        with Conn(tls_pg.port, login=False) as c:
            log_in(c, tool, offered(c), '.', tls=False, how=('keys', secret, key))
    with Conn(tls_pg.port, login=False) as c:
        with pytest.raises(Refused, match='the SCRAM key is not that of the secret'):
            log_in(c, tool, offered(c), '.', tls=False, how=('keys', secret, bytes(32)))
    tls_pg.sql("ALTER ROLE u PASSWORD 'pencil'")      # another salt
    try:
        with Conn(tls_pg.port, login=False) as c:
            with pytest.raises(Refused, match='another salt or iteration count'):
                log_in(c, tool, offered(c), '.', tls=False, how=('keys', secret, key))
    finally:
        tls_pg.sql("ALTER ROLE u PASSWORD '%s'" % secret)
