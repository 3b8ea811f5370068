"""Several processes on one port: a cancel finds the one whose client it is for.

SPDX-License-Identifier: ISC
"""
import socket
import struct
import tempfile
import threading

import pytest

import wire
from conftest import Spawned, db, free_port, ini, until
from wire import cancel, query

pytestmark = pytest.mark.weir_only


class Peer:
    """The test in the place of another process: what it is sent, and when it has done."""

    def __init__(self, path=None):
        self.sock = socket.socket(socket.AF_UNIX) if path else socket.socket()
        self.sock.bind(path or ('127.0.0.1', 0))
        self.sock.listen(50)
        self.sock.settimeout(20)
        self.port = None if path else self.sock.getsockname()[1]

    def accept(self):
        c, _ = self.sock.accept()
        c.settimeout(20)
        return c

    def quiet(self, seconds=0.3):
        self.sock.settimeout(seconds)
        try:
            self.sock.accept()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(20)


@pytest.fixture
def peer():
    p = Peer()
    yield p
    p.sock.close()


def conf(pg, peers=(), **kw):
    text = ini({'app': db(pg)}, **kw)
    return text + '[peers]\n' + ''.join('%s = %s\n' % p for p in dict(peers).items())


def key_for(peer, ttl=3, rest=0x11):
    """As PgBouncer lays it out."""
    return struct.unpack('!ii', bytes([rest, peer & 0xff, peer >> 8, rest, rest, rest, rest, 0x10 | ttl]))


def asker(port, key):
    s = socket.create_connection(('127.0.0.1', port), timeout=20)
    s.sendall(wire.special(wire.CODE_CANCEL, struct.pack('!ii', *key)))
    return s


def ended(s):
    try:
        return s.recv(1) == b''
    except ConnectionError:
        return True


@pytest.mark.parametrize('peer_id', [1, 7, 258, 16383])
def test_keys_say_whose_they_are(weir, pg, peer_id):
    w = weir(conf(pg, peer_id=peer_id, workers=2))
    keys = [w.connect().key for _ in range(20)]
    for k in keys:
        b = struct.pack('!ii', *k)
        assert b[1] + (b[2] << 8) == peer_id and b[7] & 3 == 3 and b[0] < 128
    assert len({k[1] for k in keys}) == 20
    with w.connect() as c:
        c.send(query('SELECT pg_sleep(30)'))
        until(lambda: pg.backends("state = 'active' AND usename = 'app'") == 1)
        # whatever hops are left
        b = struct.pack('!ii', *c.key)
        cancel(w.port, struct.unpack('!ii', b[:7] + bytes([b[7] & 0xfc])))
        assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']


@pytest.mark.parametrize('workers', [1, 2])
def test_cancels_on_one_port(weir, pg, base, workers):
    port = free_port()
    dirs = [tempfile.mkdtemp(prefix='peer-', dir=base) for _ in range(3)]
    ws = []
    for i, d in enumerate(dirs):
        peers = {j + 1: "host=%s port=%d" % (e, port) for j, e in enumerate(dirs)}
        ws.append(weir(conf(pg, peers, so_reuseport=1, peer_id=i + 1, unix_socket_dir=d, workers=workers),
                       args=('-p', str(port))))

    def body(d):
        with wire.Conn(port, host=d) as c:
            for _ in range(6):
                c.send(query("SELECT pg_sleep(30), '%s'" % d))
                until(lambda: pg.backends("state = 'active' AND query LIKE '%%sleep%%%s''%%'" % d) == 1)
                cancel(port, c.key)       # to whichever the kernel chooses
                assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
    threads = [Spawned(body, d) for d in dirs]
    for t in threads:
        t.result(60)
    # each process has clients that came to the port
    for _ in range(60):
        wire.Conn(port).close()
    assert all(w.log_lines('event=client_login', 'peer=127.0.0.1') for w in ws)


@pytest.mark.parametrize('how', ['address', 'unix', 'name'])
def test_passed_on_and_answered(weir, pg, base, peer, how):
    other = peer
    at = 'host=127.0.0.1 port=%d' % peer.port
    if how == 'unix':
        d = tempfile.mkdtemp(prefix='fake-', dir=base)
        other = Peer(d + '/.s.PGSQL.6432')
        at = 'host=' + d
    elif how == 'name':
        at = 'host=localhost port=%d' % peer.port
    w = weir(conf(pg, {2: at}, peer_id=1, workers=2))
    s = asker(w.port, key_for(2))
    c = other.accept()
    assert c.recv(100) == wire.special(wire.CODE_CANCEL, struct.pack('!ii', *key_for(2, ttl=2)))
    # who asks waits as long as it takes
    s.settimeout(0.3)
    with pytest.raises(TimeoutError):
        s.recv(1)
    c.close()
    s.settimeout(20)
    assert ended(s)
    if other is not peer:
        other.sock.close()


def test_not_passed_on(weir, pg, peer):
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d' % peer.port}, peer_id=1))
    for key in (key_for(2, ttl=0), key_for(3), key_for(1), key_for(0)):
        assert ended(asker(w.port, key))
    assert peer.quiet()


def test_without_peer_id_nothing_is_passed_on(weir, pg, peer):
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d' % peer.port}))
    assert ended(asker(w.port, key_for(2)))
    assert peer.quiet()


def test_a_circle_ends(weir, pg):
    """Each thinks that the other is number 3."""
    a, b = free_port(), free_port()
    wa = weir(conf(pg, {3: 'host=127.0.0.1 port=%d' % b}, peer_id=1), args=('-p', str(a)))
    wb = weir(conf(pg, {3: 'host=127.0.0.1 port=%d' % a}, peer_id=2), args=('-p', str(b)))
    assert ended(asker(a, key_for(3)))
    n = [len(w.log_lines('why=cancel_request')) for w in (wa, wb)]
    assert n == [2, 2]


def test_not_too_many_at_once(weir, pg, peer):
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d pool_size=2' % peer.port}, peer_id=1))
    askers = [asker(w.port, key_for(2)) for _ in range(5)]
    at = [peer.accept(), peer.accept()]
    assert peer.quiet()
    for _ in range(3):
        at.pop(0).close()
        at.append(peer.accept())
    assert peer.quiet()
    for c in at:
        c.close()
    assert all(ended(s) for s in askers)


def test_peer_that_is_not_there(weir, pg, peer):
    dead = free_port()
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d' % dead, 3: 'host=127.0.0.1 port=%d' % peer.port},
                  peer_id=1, cancel_wait_timeout=1))
    assert ended(asker(w.port, key_for(2)))
    w.wait_log('event=cancel_failed', 'peer=2')
    # and one that never answers
    s = asker(w.port, key_for(3))
    c = peer.accept()
    assert ended(s)
    w.wait_log('event=cancel_failed', 'peer=3', 'cancel_wait_timeout')
    c.close()


def test_clients_go_while_peers_are_asked(weir, pg, peer):
    """Shutdown does not wait for them."""
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d' % peer.port}, peer_id=1))
    s = asker(w.port, key_for(2))
    peer.accept()
    w.term()
    assert w.wait() == 0
    assert ended(s)


def test_storm(weir, pg, peer):
    """What is asked for is bounded, and nobody else waits for it."""
    stop = threading.Event()

    def answer():
        while not stop.is_set():
            try:
                peer.accept().close()
            except OSError:
                return
    w = weir(conf(pg, {2: 'host=127.0.0.1 port=%d' % peer.port}, peer_id=1))
    t = Spawned(answer)
    askers = [asker(w.port, key_for(2)) for _ in range(200)]
    assert w.one('SELECT 1') == '1'
    assert all(ended(s) for s in askers)
    stop.set()
    peer.sock.shutdown(socket.SHUT_RDWR)
    t.result()
