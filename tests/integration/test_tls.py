"""TLS with clients: who gets in by which sslmode and certificate, what a client may not do
before it has TLS, new certificates under running connections, and everything else that a
client does, in TLS.

SPDX-License-Identifier: ISC
"""
import os
import shutil
import signal
import socket
import ssl

import psycopg2
import pytest

import certs
import wire
from conftest import SLOW, db, ini, run_threads, until
from wire import Conn, query, special, startup

pytestmark = pytest.mark.weir_only

MODES = ('disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full')


@pytest.fixture(scope='module')
def pki(tmp_path_factory):
    """One authority, and a stranger."""
    folder = tmp_path_factory.mktemp('pki')
    os.chmod(folder, 0o755)

    class Pki:
        ca, other = certs.Authority(str(folder), 'ca'), certs.Authority(str(folder), 'other')
    p = Pki()
    p.server = p.ca.server()
    p.wrong_host = p.ca.server('wrong-host', names=['elsewhere.example'], cn='elsewhere.example')
    p.expired = p.ca.server('expired', days=(-20, -10))
    p.stranger = p.other.server('stranger')
    p.app = p.ca.client('app')
    p.gone = p.ca.client('gone')
    p.ca.revoke(p.gone)
    p.late = p.ca.client('late', days=(-20, -10))
    p.unknown = p.other.client('app')
    p.folder = folder
    return p


def tls_ini(pki, pg, cert=None, **kw):
    cert = cert or pki.server
    return ini({'app': db(pg)}, client_tls_cert_file=cert.cert, client_tls_key_file=cert.key, **kw)


def dsn(port, host='localhost', **kw):
    return ' '.join('%s=%s' % p for p in
                    {'host': host, 'port': port, 'user': 'app', 'dbname': 'app', 'connect_timeout': 10 * SLOW,
                     'gssencmode': 'disable', 'sslcert': '/nonexistent/none', 'sslkey': '/nonexistent/none',
                     **kw}.items())


def attempt(port, **kw):
    """in clear, in TLS, or the words of the refusal."""
    try:
        c = psycopg2.connect(dsn(port, **kw))
    except psycopg2.OperationalError as e:
        return str(e)
    try:
        with c.cursor() as cur:
            cur.execute('SELECT 1')
            assert cur.fetchone() == (1,)
        return 'TLS' if c.info.ssl_in_use else 'clear'
    finally:
        c.close()


def context(ca=None, alpn=True, cert=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        c.load_verify_locations(ca)
    if alpn:
        c.set_alpn_protocols(['postgresql'])
    if cert:
        c.load_cert_chain(cert.cert, cert.key)
    return c


# ---- who gets in --------------------------------------------------------------------------

CERTS = ('none', 'good', 'stranger', 'expired', 'revoked')


def shown(pki, name):
    c = {'good': pki.app, 'stranger': pki.unknown, 'expired': pki.late, 'revoked': pki.gone}.get(name)
    return {'sslcert': c.cert, 'sslkey': c.key} if c else {}


def expected(theirs, ours, cert):
    """What libpq's sslmode `theirs` comes to with client_tls_sslmode `ours`, when there is a CA."""
    if ours == 'disable':
        return 'clear' if theirs in ('disable', 'allow', 'prefer') else 'does not support SSL'
    if theirs == 'disable':
        return 'clear' if ours in ('allow', 'prefer') else 'SSL required'
    if theirs == 'allow' and ours in ('allow', 'prefer'):
        return 'clear'
    bad = cert in ('stranger', 'expired', 'revoked')
    if bad:
        # with TLS 1.3 libpq hears of it too late for prefer's second try
        return {'stranger': 'unknown ca', 'expired': 'certificate expired', 'revoked': 'certificate revoked'}[cert]
    if ours in ('verify-ca', 'verify-full') and cert == 'none':
        return 'requires a valid client certificate'
    return 'TLS'


@pytest.mark.parametrize('ours', MODES)
def test_every_combination(weir, pg, pki, ours):
    w = weir(tls_ini(pki, pg, client_tls_sslmode=ours, client_tls_ca_file=pki.ca.ca, client_tls_crl_file=pki.ca.crl))
    wrong = []
    for theirs in MODES:
        for cert in CERTS:
            want = expected(theirs, ours, cert)
            got = attempt(w.port, sslmode=theirs, sslrootcert=pki.ca.ca, **shown(pki, cert))
            if want != got and want not in got:
                wrong.append((theirs, cert, want, got))
    assert not wrong, '\n'.join(map(str, wrong))


@pytest.mark.parametrize('ours', ('prefer', 'require'))
def test_no_certificate_is_asked_for(weir, pg, pki, ours):
    """Without client_tls_ca_file a client's certificate is nobody's business."""
    w = weir(tls_ini(pki, pg, client_tls_sslmode=ours))
    for cert in CERTS:
        assert attempt(w.port, sslmode='require', **shown(pki, cert)) == 'TLS'


def test_the_certificate_that_clients_see(weir, pg, pki):
    for cert, mode, want in ((pki.server, 'verify-full', 'TLS'), (pki.wrong_host, 'verify-ca', 'TLS'),
                             (pki.wrong_host, 'verify-full', 'does not match host name'),
                             (pki.expired, 'verify-ca', 'certificate verify failed'),
                             (pki.stranger, 'verify-ca', 'certificate verify failed'),
                             (pki.stranger, 'require', 'certificate verify failed')):
        w = weir(tls_ini(pki, pg, cert, client_tls_sslmode='require'))
        got = attempt(w.port, sslmode=mode, sslrootcert=pki.ca.ca)
        assert want in got, (cert.cert, mode, got)


def test_chain_and_other_keys(weir, pg, pki):
    """RSA and Ed25519 keys, and a certificate that an authority below the root has signed."""
    below = certs.Authority(str(pki.folder), 'below', parent=pki.ca)
    for cert in (pki.ca.server('rsa', kind='rsa'), pki.ca.server('ed25519', kind='ed25519'), below.server('chained')):
        w = weir(tls_ini(pki, pg, cert, client_tls_sslmode='require'))
        assert attempt(w.port, sslmode='verify-full', sslrootcert=pki.ca.ca) == 'TLS'


@pytest.mark.parametrize('setting,lowest,highest,want', [
    ('secure', 'TLSv1.2', 'TLSv1.2', 'TLSv1.2'), ('secure', 'TLSv1.2', 'TLSv1.3', 'TLSv1.3'),
    ('tlsv1.2', 'TLSv1.2', 'TLSv1.3', 'TLSv1.2'), ('tlsv1.3', 'TLSv1.2', 'TLSv1.3', 'TLSv1.3'),
    ('tlsv1.3', 'TLSv1.2', 'TLSv1.2', 'protocol version'), ('all', 'TLSv1', 'TLSv1.1', 'protocol version'),
])
def test_versions(weir, pg, pki, setting, lowest, highest, want):
    w = weir(tls_ini(pki, pg, client_tls_sslmode='require', client_tls_protocols=setting))
    try:
        c = psycopg2.connect(dsn(w.port, sslmode='require', ssl_min_protocol_version=lowest,
                                 ssl_max_protocol_version=highest))
    except psycopg2.OperationalError as e:
        assert want in str(e)
        return
    assert c.info.ssl_attribute('protocol') == want
    c.close()


# ---- before there is TLS ------------------------------------------------------------------

@pytest.fixture
def w(weir, pg, pki):
    return weir(tls_ini(pki, pg, client_tls_sslmode='prefer', client_tls_ca_file=pki.ca.ca))


def test_bytes_behind_the_question(w):
    """CVE-2021-3935's way in: what comes in clear behind SSLRequest must not be taken for the client's."""
    with Conn(w.port, login=False) as c:
        c.send(special(wire.CODE_SSL) + startup())
        m = c.read()
        assert m[0] == 'E' and m[1]['C'] == '08P01' and 'unencrypted data' in m[1]['M']
        assert c.closed()


def test_question_in_pieces(w):
    with Conn(w.port, login=False) as c:
        c.send_bytewise(special(wire.CODE_SSL))
        assert c.take(1) == b'S'


def test_gss_then_tls(w):
    """libpq asks for GSS first, and then for TLS; the other way round too."""
    with Conn(w.port, login=False) as c:
        c.send(special(wire.CODE_GSS))
        assert c.take(1) == b'N'
        c.send(special(wire.CODE_SSL))
        assert c.take(1) == b'S'


def test_asked_for_within_tls(w):
    with Conn(w.port, login=False, tls=context()) as c:
        for code in (wire.CODE_SSL, wire.CODE_GSS):
            c.send(special(code))
            m = c.read()
            assert m[0] == 'E' and m[1]['C'] == '0A000', m
            break
        assert c.closed()


def test_direct(w):
    """PostgreSQL 17's clients may begin with TLS; then the protocol's name must be in it."""
    with Conn(w.port, tls=context(), direct=True) as c:
        assert c.one('SELECT 1') == '1'
    c = Conn(w.port, login=False, tls=context(alpn=False), direct=True)
    assert c.closed()
    until(lambda: 'direct_TLS_without_ALPN' in w.log())
    other = context(alpn=False)
    other.set_alpn_protocols(['h2'])
    with pytest.raises(ssl.SSLError, match='no application protocol'):
        Conn(w.port, login=False, tls=other, direct=True)


def test_no_tls_where_none_is(weir, pg):
    plain = weir(ini({'app': db(pg)}))
    with pytest.raises(wire.Closed, match='refused'):
        Conn(plain.port, tls=context())
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        Conn(plain.port, tls=context(), direct=True)
    with Conn(plain.port) as c:
        assert c.one('SELECT 1') == '1'


@pytest.mark.parametrize('first', [b'\x16\x03\x01\x00\x05junk!', b'\x16' * 2000, b'\x16\x03\x01\xff\xff' + b'x' * 70000,
                                   b'\x80\x2e\x01\x00\x02'], ids=['short', 'many', 'long', 'sslv2'])
def test_garbage_for_a_handshake(w, first):
    with Conn(w.port, login=False) as c:
        c.send(special(wire.CODE_SSL))
        assert c.take(1) == b'S'
        try:
            c.send(first)
            c.sock.shutdown(socket.SHUT_WR)
            while c.sock.recv(4096):
                pass
        except OSError:     # it may be reset before all is said
            pass
    with Conn(w.port) as c:
        assert c.one('SELECT 1') == '1'
    assert 'tls_failed' in w.log()


def test_nobody_waits_for_ever(weir, pg, pki):
    """A handshake that does not end is ended by client_login_timeout; others go on."""
    w = weir(tls_ini(pki, pg, client_tls_sslmode='prefer', client_login_timeout=1))
    stuck = []
    for some in (b'', b'\x16\x03\x01\x02'):
        c = Conn(w.port, login=False, timeout=20 * SLOW)
        c.send(special(wire.CODE_SSL))
        assert c.take(1) == b'S'
        if some:
            c.send(some)
        stuck.append(c)
    assert attempt(w.port, sslmode='require') == 'TLS'
    for c in stuck:
        assert c.closed()
        c.close()


# ---- everything else, in TLS --------------------------------------------------------------

def test_large_both_ways(w):
    def one(n):
        c = psycopg2.connect(dsn(w.port, sslmode='require'))
        with c.cursor() as cur:
            text = 'x%d' % n * 700000
            cur.execute('SELECT md5(%s), %s', (text, text))
            import hashlib
            assert cur.fetchone() == (hashlib.md5(text.encode()).hexdigest(), text)
            cur.execute("SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) i")
            rows = cur.fetchall()
            assert len(rows) == 20000 and rows[-1][0] == 20000
        c.close()
    run_threads(4, one)


def test_records_of_one_byte(w):
    """Each byte a record of its own."""
    with Conn(w.port, tls=context()) as c:
        c.send_bytewise(query('SELECT 1') + query("SELECT 'two'"))
        assert [m for m in c.until() if m[0] == 'D'] == [('D', ['1'])]
        assert [m for m in c.until() if m[0] == 'D'] == [('D', ['two'])]


def test_pipeline(w):
    """More at once than a buffer holds: what is left inside the TLS library is not forgotten."""
    n, per = 3000, 300
    with Conn(w.port, tls=context()) as c:
        for at in range(0, n, per):
            c.send(b''.join(query("SELECT %d, '%s'" % (i, 'z' * 100)) for i in range(at, at + per)))
            for i in range(at, at + per):
                assert [m for m in c.until() if m[0] == 'D'] == [('D', [str(i), 'z' * 100])]


def test_one_large_message(w):
    text = 'y' * 300000
    with Conn(w.port, tls=context()) as c:
        for _ in range(5):
            assert c.one("SELECT length('%s')" % text) == '300000'


def test_cancel(w):
    with Conn(w.port, tls=context()) as c:
        c.send(query('SELECT pg_sleep(20)'))
        until(lambda: w.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '1')
        wire.cancel(w.port, c.key)
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
        # in TLS too
        c.send(query('SELECT pg_sleep(20)'))
        until(lambda: w.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '1')
        with Conn(w.port, login=False, tls=context()) as k:
            import struct
            k.send(special(wire.CODE_CANCEL, struct.pack('!ii', *c.key)))
            assert k.closed()
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']


def test_reset_in_the_middle(w):
    for _ in range(5):
        c = Conn(w.port, tls=context())
        c.send(query('SELECT pg_sleep(5)'))
        c.reset()
    until(lambda: w.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '0')


# ---- reload -------------------------------------------------------------------------------

def copy_cert(cert, to):
    shutil.copy(cert.cert, to + '.crt')
    shutil.copy(cert.key, to + '.key')


def serial_of(port):
    with Conn(port, login=False, tls=context()) as c:
        return ssl.DER_cert_to_PEM_cert(c.sock.getpeercert(True))


def test_reload(weir, pg, pki, tmp_path):
    """New connections see the new certificate, running ones go on; a broken file changes nothing."""
    here = str(tmp_path / 'now')
    copy_cert(pki.server, here)
    w = weir(ini({'app': db(pg)}, client_tls_sslmode='require', client_tls_cert_file=here + '.crt',
                 client_tls_key_file=here + '.key'))
    c = Conn(w.port, tls=context())
    first = serial_of(w.port)
    copy_cert(pki.ca.server('next'), here)
    assert serial_of(w.port) == first
    w.proc.send_signal(signal.SIGHUP)
    until(lambda: 'event=reloaded' in w.log())
    second = serial_of(w.port)
    assert second != first and c.one('SELECT 1') == '1'
    for damage, why in ((lambda: shutil.copy(pki.stranger.key, here + '.key'), 'does not belong to'),
                        (lambda: open(here + '.crt', 'w').write('nothing'), 'client_tls_cert_file'),
                        (lambda: os.unlink(here + '.key'), 'client_tls_cert_file')):
        damage()
        mark = len(w.log())
        w.proc.send_signal(signal.SIGHUP)
        until(lambda: 'reload_failed' in w.log()[mark:])
        assert why in w.log()[mark:]
        assert serial_of(w.port) == second and c.one('SELECT 2') == '2'
    copy_cert(pki.server, here)
    w.proc.send_signal(signal.SIGHUP)
    until(lambda: w.log().count('event=reloaded') == 2)
    assert serial_of(w.port) == first
    c.close()
