"""TLS cut, stopped and stuck together anywhere: handshakes that end at each byte, on either
side, records in pieces, alerts and goodbyes out of place, clients that do not read.

Each ends with others being served, nothing left behind, and the daemon alive.

SPDX-License-Identifier: ISC
"""
import os
import socket
import ssl
import struct
import threading

import pytest

import certs
import wire
from conftest import SAN, SLOW, Spawned, db, ini, run_threads, until
from test_tls import context
from test_tls_server import Tap, entry, server_context
from wire import Conn, query, special, startup

pytestmark = pytest.mark.weir_only

VERSIONS = ['TLSv1_2', 'TLSv1_3']
STEP = 7 if SAN else 1          # of the places where something is cut


@pytest.fixture(scope='module')
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pki')
    os.chmod(folder, 0o755)

    class Pki:
        ca = certs.Authority(str(folder), 'ca')
    Pki.server, Pki.good = Pki.ca.server(), Pki.ca.server('good')
    return Pki


def conf(pki, server, **kw):
    return ini({'app': db(server)}, **{
        'client_tls_sslmode': 'prefer', 'client_tls_cert_file': pki.server.cert, 'client_tls_key_file': pki.server.key,
        'health_check_interval': 3600, 'log_connections': 0, **kw})


@pytest.fixture
def w(weir, pg, pki):
    return weir(conf(pki, pg))


class Hands:
    """A TLS client whose bytes are the test's: .out is what it would send, feed() what it gets."""

    def __init__(self, ctx):
        self.inb, self.outb = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.inb, self.outb)
        self.plain, self.over = b'', False

    def shake(self):
        """True when done."""
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def out(self):
        return self.outb.read()

    def feed(self, data):
        self.inb.write(data)

    def read(self):
        try:
            while True:
                got = self.tls.read(65536)
                if not got:
                    self.over = True
                    break
                self.plain += got
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
        return self.plain


def ctx_of(version):
    c = context()
    c.minimum_version = c.maximum_version = getattr(ssl.TLSVersion, version)
    return c


def asked(port):
    s = wire.dial('127.0.0.1', port)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(special(wire.CODE_SSL))
    assert s.recv(1) == b'S'
    return s


def served(w):
    with Conn(w.port, tls=context()) as c:
        assert c.one('SELECT 1') == '1'


def gone(w, n):
    """Only n clients are left, and the one who looks."""
    until(lambda: w.fds() <= n)


def end(s, how):
    if how == 'reset':
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


@pytest.mark.parametrize('how', ['eof', 'reset'])
@pytest.mark.parametrize('version', VERSIONS)
def test_client_ends_at_each_byte(w, version, how):
    """Of its first flight, of its second one, and of its first records."""
    served(w)
    fds = w.fds()
    ctx = ctx_of(version)

    def script(cut):
        """How many bytes there are; ends after `cut` of them."""
        s, h, sent = asked(w.port), Hands(ctx), 0
        h.shake()
        said = False
        while True:
            data = h.out()
            if cut is not None and sent + len(data) >= cut:
                s.sendall(data[:cut - sent])
                end(s, how)
                return cut
            s.sendall(data)
            sent += len(data)
            if said:
                break
            got = s.recv(65536)
            assert got
            h.feed(got)
            if h.shake():
                said = True
                h.tls.write(startup())
        s.settimeout(20)
        while b'Z\0\0\0\5I' not in h.read():
            h.feed(s.recv(65536))
        s.close()
        return sent
    total = script(None)
    for cut in range(0, total, 3 * STEP):
        script(cut)
    served(w)
    gone(w, fds)


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('size', [1, 5, 100])
def test_handshake_in_pieces(w, version, size):
    s, h = asked(w.port), Hands(ctx_of(version))
    done = said = False
    while b'Z\0\0\0\5I' not in h.plain:
        if not done:
            done = h.shake()
        if done and not said:
            said = True
            h.tls.write(startup())
        data = h.out()
        for i in range(0, len(data), size):
            s.sendall(data[i:i + size])
        if not said or not data:
            h.feed(s.recv(65536))
        if done:
            h.read()
    s.close()


@pytest.mark.parametrize('version', VERSIONS)
def test_all_behind_the_handshake_in_one_write(w, version):
    """The end of the handshake, the startup packet, queries and Terminate come together."""
    s, h = asked(w.port), Hands(ctx_of(version))
    while not h.shake():
        s.sendall(h.out())
        h.feed(s.recv(65536))
    h.tls.write(startup())
    for i in range(50):
        h.tls.write(query('SELECT %d' % i))
    h.tls.write(wire.terminate())
    s.sendall(h.out())
    while True:
        data = s.recv(65536)
        if not data:
            break
        h.feed(data)
    got = h.read()
    assert got.count(b'SELECT 1\0') == 50 and h.over
    s.close()


@pytest.mark.parametrize('version', VERSIONS)
def test_goodbye_without_an_end(w, version):
    """A close_notify behind a query in one write: it has left, though its socket stays open."""
    s, h = asked(w.port), Hands(ctx_of(version))
    while not h.shake():
        s.sendall(h.out())
        h.feed(s.recv(65536))
    h.tls.write(startup())
    s.sendall(h.out())
    while b'Z\0\0\0\5I' not in h.read():
        h.feed(s.recv(65536))
    h.tls.write(query('SELECT 1'))
    with pytest.raises(ssl.SSLError):       # it waits for the other's
        h.tls.unwrap()
    s.sendall(h.out())
    s.settimeout(20 * SLOW)
    while s.recv(65536):
        pass
    s.close()
    served(w)


def record(kind, body, version=0x0303):
    return struct.pack('!BHH', kind, version, len(body)) + body


@pytest.mark.parametrize('junk', [
    record(21, b'\x01\x00'), record(21, b'\x02\x28'), record(21, b'\x01\x5a') * 10, record(20, b'\x01') * 40,
    record(22, b''), record(23, b'') * 50, record(24, b'\x01\x40\x00'), record(99, b'x'), record(23, b'x' * 16385 * 1),
    record(23, os.urandom(200)), b'\0' * 70000, b'GET / HTTP/1.0\r\n\r\n'],
    ids=['goodbye', 'failure', 'warnings', 'change cipher', 'empty handshake', 'empty data', 'heartbeat', 'no kind',
         'too long', 'no ciphertext', 'zeros', 'http'])
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('when', ['first', 'behind hello', 'behind the handshake', 'in a session'])
def test_records_out_of_place(w, version, when, junk):
    s, h = asked(w.port), Hands(ctx_of(version))
    s.settimeout(20 * SLOW)
    try:
        if when == 'first':
            s.sendall(junk)
        h.shake()
        hello = h.out()
        s.sendall(hello + (junk if when == 'behind hello' else b''))
        if when in ('behind the handshake', 'in a session'):
            while not h.shake():
                s.sendall(h.out())
                h.feed(s.recv(65536))
            h.tls.write(startup())
            s.sendall(h.out() + (junk if when == 'behind the handshake' else b''))
            if when == 'in a session':
                while b'Z\0\0\0\5I' not in h.read():
                    h.feed(s.recv(65536))
                h.tls.write(query('SELECT 1'))
                s.sendall(h.out() + junk)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
    except OSError:         # it may have been told off before it had said all
        pass
    s.close()
    served(w)


# ---- servers ------------------------------------------------------------------------------

class Cutter(Tap):
    """A server with TLS in which each connection's answer ends after .cut bytes, 'S' included. In clear it
    is the server at that port, if there is one. .flight: how many bytes its side of the handshake has.
    Nothing is resumed, so that it has as many each time."""

    def __init__(self, port, cert, how, version='TLSv1_3'):
        self.cut, self.how, self.total, self.flight = None, how, 0, 0
        self.cert, self.version = cert, getattr(ssl.TLSVersion, version)
        super().__init__(port)

    def serve(self, s):
        cut = self.cut
        try:
            head = self.exactly(s, 8)
            if struct.unpack('!ii', head)[1] != wire.CODE_SSL:
                if self.to:
                    up = socket.create_connection(('127.0.0.1', self.to))
                    up.sendall(head)
                    threading.Thread(target=self.pump, args=(up, s), daemon=True).start()
                    self.pump(s, up)
                end(s, self.how)
                return
            inb, outb = ssl.MemoryBIO(), ssl.MemoryBIO()
            ctx = server_context(self.cert, self.version)
            ctx.num_tickets = 0
            tls = ctx.wrap_bio(inb, outb, server_side=True)
            sent, data, shaken = 0, b'S', False
            while True:
                if cut is not None and sent + len(data) >= cut:
                    s.sendall(data[:cut - sent])
                    end(s, self.how)
                    return
                s.sendall(data)
                sent += len(data)
                self.total = sent
                if shaken:
                    break
                got = s.recv(65536)
                if not got:
                    return
                inb.write(got)
                try:
                    tls.do_handshake()
                    shaken = True
                    self.flight = sent + outb.pending
                    tls.write(wire.error('28000', 'go away', severity='FATAL'))
                except ssl.SSLWantReadError:
                    pass
                data = outb.read()
            s.recv(65536)
        except (OSError, EOFError, ssl.SSLError) as e:
            self.errors.append(repr(e))
        s.close()


@pytest.mark.parametrize('how', ['eof', 'reset'])
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('mode', ['prefer', 'require'])
def test_server_ends_at_each_byte(weir, pki, version, how, mode):
    """Its dials fail, one by one, with a reason; nothing is left of them."""
    tap = Cutter(0, pki.good, how, version)
    w = weir(ini({'app': entry(tap, sslmode=mode)}, health_check_interval=3600, server_login_retry=0.001,
                 query_wait_timeout=0.05, workers=1))
    ask = lambda: pytest.raises((wire.PgError, wire.Closed), w.connect)
    ask()
    until(lambda: tap.total)
    fds = w.fds()
    for cut in range(0, tap.total, 23 * STEP):
        tap.cut = cut
        ask()
    until(lambda: w.fds() <= fds)
    assert 'server_login_failed' in w.log()
    tap.close()


@pytest.mark.parametrize('how', ['eof', 'reset'])
@pytest.mark.parametrize('version', VERSIONS)
def test_prefer_goes_on_in_clear(weir, pg, pki, version, how):
    """sslmode = prefer: a handshake that breaks anywhere is followed by a login in clear, as is a refusal
    behind it."""
    tap = Cutter(pg.port, pki.good, how, version)
    w = weir(ini({'app': entry(tap, sslmode='prefer')}, health_check_interval=3600, server_login_retry=0.001,
                 query_wait_timeout=20, server_lifetime=0))
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
    fds = w.fds()
    assert tap.flight
    for cut in range(1, tap.flight - 1, 41 * STEP):
        tap.cut = cut
        with w.connect() as c:
            assert c.one('SELECT 1') == '1'
    assert 'server_login_failed' not in w.log()
    until(lambda: w.fds() <= fds)
    tap.close()


# ---- who does not read --------------------------------------------------------------------

@pytest.mark.parametrize('workers', [1, 2])
def test_client_that_does_not_read(weir, pg, pki, workers):
    """Megabytes wait for it; another is served; in the end all is there."""
    w = weir(conf(pki, pg, workers=workers, default_pool_size=2))
    with Conn(w.port, tls=context(), rcvbuf=4096) as c:
        c.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
        for _ in range(20):
            served(w)
        total, letters = c.count_bytes()
        assert total > 20000000 and letters[-1] == 'ZI'
        assert c.one('SELECT 1') == '1'


def test_sender_before_a_server_that_does_not_read(weir, pg, pki, fake):
    """What a client has sent is not forgotten inside when its server takes nothing for a while."""
    sizes = [16384, 16360, 16361, 16383, 40000, 5000]
    go = threading.Event()

    def script(c):
        go.wait(30)
        while True:
            letter, body = c.read_raw()
            if letter == 'X':
                return
            c.send(wire.result(str(len(body))), wire.ready())
    w, _ = fake(script, client_tls_sslmode='prefer', client_tls_cert_file=pki.server.cert,
                client_tls_key_file=pki.server.key)
    s, h = asked(w.port), Hands(context())
    while not h.shake():
        s.sendall(h.out())
        h.feed(s.recv(65536))
    h.tls.write(startup())
    s.sendall(h.out())
    while b'Z\0\0\0\5I' not in h.read():
        h.feed(s.recv(65536))
    # all of it is encrypted before any of it is sent: an SSL is not for two threads
    want = b''
    for i in range(600):
        n = sizes[i % len(sizes)]
        h.tls.write(query('x' * (n - 6)))
        want += wire.result(str(n - 5)) + wire.ready()
    s.settimeout(30 * SLOW)
    push = Spawned(s.sendall, h.out())
    until(lambda: not push.is_alive() or w.pool()['cl_active'] == '1')
    go.set()
    h.plain = b''
    while len(h.read()) < len(want):
        got = s.recv(65536)
        assert got, 'closed'
        h.feed(got)
    assert h.plain == want
    push.result()
    s.close()


# ---- one server for all -------------------------------------------------------------------

def test_tls_server_goes_between_workers(weir, pg, pki):
    """One connection in TLS, two workers, clients in TLS on both: it is handed over all the time."""
    tap = Tap(pg.port, server_context(pki.good))
    w = weir(ini({'app': entry(tap, sslmode='require')}, workers=2, default_pool_size=1, health_check_interval=3600,
                 client_tls_sslmode='prefer', client_tls_cert_file=pki.server.cert,
                 client_tls_key_file=pki.server.key))

    def one(i):
        with Conn(w.port, tls=context() if i % 2 else None, timeout=60 * SLOW) as c:
            for k in range(100):
                assert c.one("SELECT '%d-%d' || repeat('y', %d)" % (i, k, k * 200)) == '%d-%d' % (i, k) + 'y' * k * 200
    run_threads(6, one)
    moved = {r['name']: r['value'] for r in w.console('SHOW COUNTERS')}
    assert len([r for r in tap.seen if b'app' in r.get('next', b'app')]) <= 3, tap.seen
    assert moved
    tap.close()


@pytest.mark.parametrize('signals', [1, 2])
def test_end_during_handshakes(weir, pg, pki, signals):
    """SIGTERM with handshakes that go on, and servers that are being dialled."""
    tap = Cutter(0, pki.good, 'eof')
    w = weir(conf(pki, tap))
    stuck = [asked(w.port) for _ in range(5)]
    h = Hands(context())
    h.shake()
    data = h.out()
    for i, s in enumerate(stuck):
        s.sendall(data[:i * 50])
    for _ in range(signals):
        w.term()
    assert w.wait() == 0
    for s in stuck:
        s.close()
    tap.close()
