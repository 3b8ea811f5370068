"""A thousand clients log in at once, with TLS and SCRAM, while another one asks.

The ClientHellos of all are made before and sent in one go, so that the handshakes wait for
the worker together; the one who asks is a process of its own. That all get in is
asserted, how long the other waited is printed (pytest -s).

SPDX-License-Identifier: ISC
"""
import functools
import json
import resource
import selectors
import ssl
import struct
import subprocess
import sys
import time

import pytest

import certs
import wire
from conftest import SAN, db, ini

pytestmark = pytest.mark.weir_only

CLIENTS = 200 if SAN else 1000
PASSWORD = 'storm-pw'

# Asks until its stdin is closed; then prints when each question was asked, and how long it took.
ASKS = '''
import json, select, sys, time
sys.path.insert(0, sys.argv[1])
import wire
c = wire.Conn(int(sys.argv[2]), secret=sys.argv[3], timeout=60)
out = []
while not select.select([0], [], [], 0)[0]:
    t = time.monotonic()
    assert c.one('SELECT 1') == '1'
    out.append((t, time.monotonic() - t))
    if len(out) == 3000:
        print('ready', flush=True)
print(json.dumps(out), flush=True)
'''


class Known(wire.Scram):
    """One salt and one password for all: the costly part is done once."""

    salted = staticmethod(functools.lru_cache(wire.Scram(PASSWORD).salted))


class Client:
    """Bytes in, bytes out; `done` when the server is ready for queries."""

    def __init__(self, ctx):
        self.inb, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.inb, self.out)
        self.shaken = self.done = False
        self.buf, self.scram = b'', Known(PASSWORD)
        self.step()

    def step(self):
        """What has come is dealt with; what is to be sent is in self.out."""
        try:
            if not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
                self.tls.write(wire.startup())
            while True:
                self.buf += self.tls.read(65536)
        except ssl.SSLWantReadError:
            pass
        while len(self.buf) >= 5:
            n = struct.unpack('!i', self.buf[1:5])[0] + 1
            if len(self.buf) < n:
                return
            self.message(*wire.decode(chr(self.buf[0]), self.buf[5:n])[:2])
            self.buf = self.buf[n:]

    def message(self, letter, what=None):
        assert letter != 'E', what
        self.done |= letter == 'Z'
        if letter != 'R':
            return
        code, rest = what
        if code == 10:
            first = self.scram.first()
            self.tls.write(wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
        elif code == 11:
            self.tls.write(wire.msg('p', self.scram.final(rest)))
        elif code == 12:
            self.scram.check(rest)


def storm(port, ctx):
    """All at once; when it began and when the last one was in."""
    socks = []
    for _ in range(CLIENTS):
        s = wire.dial('127.0.0.1', port, 60)
        s.sendall(wire.special(wire.CODE_SSL))
        socks.append(s)
    assert all(s.recv(1) == b'S' for s in socks)
    clients = [Client(ctx) for _ in socks]
    hellos = [c.out.read() for c in clients]
    sel = selectors.DefaultSelector()
    for s, c in zip(socks, clients):
        sel.register(s, selectors.EVENT_READ, c)
    began = time.monotonic()
    for s, h in zip(socks, hellos):
        s.sendall(h)
    left = CLIENTS
    while left:
        events = sel.select(60)
        assert events, '%d clients wait for ever' % left
        for key, _ in events:
            got, c = key.fileobj.recv(65536), key.data
            assert got, 'closed'
            c.inb.write(got)
            c.step()
            more = c.out.read()
            if more:
                key.fileobj.sendall(more)
            if c.done:
                sel.unregister(key.fileobj)
                left -= 1
    return socks, clients, began, time.monotonic()


def p(values, of):
    return sorted(values)[min(len(values) - 1, int(len(values) * of))] * 1000 if values else 0


def test_login_storm(weir, pg, tmp_path):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = min(hard, 8192)
    if soft < 3 * CLIENTS:
        pytest.skip('too few file descriptors')
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    tmp_path.chmod(0o755)
    cert = certs.Authority(str(tmp_path), 'ca').server()
    users = tmp_path / 'users.txt'
    users.write_text('"app" "%s"\n' % wire.scram_secret(PASSWORD))
    w = weir(ini({'app': db(pg)}, auth_type='scram-sha-256', auth_file=users, workers=1, max_client_conn=3 * CLIENTS,
                 log_connections=0, client_tls_sslmode='prefer', client_tls_cert_file=cert.cert,
                 client_tls_key_file=cert.key, client_login_timeout=120))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    asks = subprocess.Popen([sys.executable, '-c', ASKS, wire.__file__.rsplit('/', 1)[0], str(w.port), PASSWORD],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert asks.stdout.readline() == 'ready\n'
        socks, clients, began, ended = storm(w.port, ctx)
        out, _ = asks.communicate('', 60)
    finally:
        if asks.poll() is None:
            asks.kill()
            asks.wait(10)
    assert all(c.done for c in clients)
    took = json.loads(out)
    calm = [d for t, d in took if t + d < began]
    rough = [d for t, d in took if t + d >= began and t <= ended]
    assert rough, 'nothing was asked in the storm'
    print('\n%d logins in %.2f s; SELECT 1 before: %d, p50 %.2f ms, p99 %.2f ms, max %.2f ms; in the storm: %d, '
          'p50 %.2f ms, p99 %.2f ms, max %.2f ms' % (
              CLIENTS, ended - began, len(calm), p(calm, .5), p(calm, .99), p(calm, 1), len(rough), p(rough, .5),
              p(rough, .99), p(rough, 1)))
    # they are in: some of them ask
    for s, c in list(zip(socks, clients))[::100]:
        c.done = False
        c.tls.write(wire.query('SELECT 1'))
        s.sendall(c.out.read())
        while not c.done:
            c.inb.write(s.recv(65536))
            c.step()
    for s in socks:
        s.close()
