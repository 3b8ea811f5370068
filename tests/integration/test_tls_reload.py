"""TLS settings that change while something is under way: dials, handshakes, cancels,
sessions and idle servers.

SPDX-License-Identifier: ISC
"""
import datetime
import socket
import struct
import threading

import pytest

import wire
from conftest import db, ini, until
from test_tls_server import Pki, Tap, entry, server_context
from wire import CODE_SSL, query

pytestmark = pytest.mark.weir_only


@pytest.fixture(scope='module')
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pki')
    folder.chmod(0o755)
    return Pki(str(folder))


def reload(w, text):
    n = len(w.log_lines('event=reloaded'))
    w.rewrite(text)
    w.hup()
    w.wait_log('event=reloaded', n=n + 1)


class Slow(Tap):
    """Asked for TLS, it waits until `go` before it answers, and then once more before it shakes hands."""

    def __init__(self, port, ctx):
        self.go, self.said, self.shake = (threading.Event() for _ in range(3))
        super().__init__(port, ctx)

    def serve(self, s):
        try:
            head = self.exactly(s, 8)
            row = {'first': struct.unpack('!ii', head)}
            self.seen.append(row)
            if row['first'][1] == CODE_SSL:
                self.go.wait(20)
                s.sendall(b'S')
                self.said.set()
                self.shake.wait(20)
                s = self.ctx.wrap_socket(s, server_side=True)
                head = self.exactly(s, 8)
            head += self.exactly(s, struct.unpack('!i', head[:4])[0] - 8)
            row['app'] = b'\0app\0' in head       # and not a health check
            up = socket.create_connection(('127.0.0.1', self.to))
            up.sendall(head)
            t = threading.Thread(target=self.pump, args=(up, s), daemon=True)
            t.start()
            self.pump(s, up, row)
            t.join()
        except (OSError, EOFError) as e:
            self.errors.append(repr(e))
        finally:
            s.close()


@pytest.mark.parametrize('when', ['before the answer', 'before the handshake'])
@pytest.mark.parametrize('mode', ['disable', 'prefer', 'verify-full', 'gone'])
def test_reload_while_a_server_is_dialled(weir, pg, pki, when, mode):
    """The dial goes on by the settings it began with; what it came to is not used where it is not enough."""
    tap = Slow(pg.port, server_context(pki.good))
    text = lambda m: ini({'other' if m == 'gone' else 'app': entry(tap, sslmode='require' if m == 'gone' else m)},
                         server_tls_ca_file=pki.ca.ca, health_check_interval=3600, query_wait_timeout=15)
    w = weir(text('require'))
    c = wire.Conn(w.port, login=False)
    c.send(wire.startup('app', 'app'))
    # the check of the node and the dial for the client, which goes by the settings of the moment it asks in
    until(lambda: len(tap.seen) == 2)
    if when == 'before the handshake':
        tap.go.set()
        assert tap.said.wait(20)
    reload(w, text(mode))
    tap.go.set()
    tap.shake.set()
    last = c.until('E' if mode == 'gone' else 'Z')[-1]
    assert last[0] == 'Z' or last[1]['C'] == '3D000', last
    if mode != 'gone':
        assert c.one('SELECT 1') == '1'
    c.close()
    if mode == 'verify-full':
        first = until(lambda: [r['next'] for r in tap.seen if r.get('app') and 'next' in r])[0]
        assert first[:1] == b'X', 'an unverified server was used'
    tap.close()


@pytest.mark.parametrize('mode,stays', [('prefer', True), ('disable', True), ('require', False), ('verify-ca', False),
                                        ('verify-full', False)])
def test_clear_servers_after_a_reload(weir, pg, pki, mode, stays):
    """A connection in clear is not used where TLS is asked for now."""
    tap = Tap(pg.port, server_context(pki.good))
    text = lambda m: ini({'app': entry(tap, sslmode=m)}, server_tls_ca_file=pki.ca.ca, health_check_interval=3600)
    w = weir(text('disable'))
    with w.connect() as idle, w.connect() as busy:
        busy.hold()
        assert idle.one('SELECT 1') == '1'
        reload(w, text(mode))
        n = len(tap.seen)
        assert idle.one('SELECT 1') == '1'
        assert (len(tap.seen) == n) == stays
        busy.sql('COMMIT')
        assert busy.one('SELECT 1') == '1'
        until(lambda: int(w.pool()['sv_idle']) == (2 if stays else 1))
        assert all('inside' in r for r in tap.seen[n:])
    tap.close()


@pytest.mark.parametrize('first,now,stays', [('require', 'prefer', True), ('require', 'require', True),
                                             ('verify-full', 'verify-ca', True), ('require', 'verify-ca', False),
                                             ('verify-ca', 'verify-full', False)])
def test_unverified_servers_after_a_reload(weir, pg, pki, first, now, stays):
    tap = Tap(pg.port, server_context(pki.good))
    text = lambda m: ini({'app': entry(tap, sslmode=m)}, server_tls_ca_file=pki.ca.ca, health_check_interval=3600)
    w = weir(text(first))
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
        reload(w, text(now))
        n = len(tap.seen)
        assert c.one('SELECT 1') == '1'
        assert (len(tap.seen) == n) == stays
    tap.close()


def test_server_of_another_name_after_a_reload(weir, pg, pki):
    """verify-full: a server that was verified for one name is not used under another."""
    tap = Tap(pg.port, server_context(pki.good))
    text = lambda host: ini({'app': entry(tap, sslmode='verify-full', host=host, hostaddr='127.0.0.1')},
                            server_tls_ca_file=pki.ca.ca, health_check_interval=3600, query_wait_timeout=2)
    w = weir(text('localhost'))
    with w.connect() as c:
        pid = c.one('SELECT pg_backend_pid()')
        reload(w, text('localhost'))
        assert c.one('SELECT pg_backend_pid()') == pid
        reload(w, text('other.example'))
        with pytest.raises((wire.PgError, wire.Closed)) as e:
            c.one('SELECT 1')
        assert 'hostname mismatch' in str(e.value) + w.log()
    tap.close()


def test_session_goes_with_its_certificate(weir, pg, pki):
    """What would be refused as expired is not resumed."""
    cert = pki.ca.server('short', days=(-1, 5 / 86400))
    tap = Tap(pg.port, server_context(cert))
    w = weir(ini({'app': entry(tap, sslmode='verify-full')}, server_tls_ca_file=pki.ca.ca, health_check_interval=3600,
                 server_lifetime=0, query_wait_timeout=2))
    for _ in range(3):
        with w.connect() as c:
            assert c.one('SELECT 1') == '1'
    assert [r['resumed'] for r in tap.seen if 'inside' in r][-1]
    until(lambda: datetime.datetime.utcnow() > cert.x509.not_valid_after + datetime.timedelta(seconds=1))
    with pytest.raises(wire.PgError) as e, w.connect() as c:
        c.one('SELECT 1')
    assert 'certificate has expired' in str(e.value.fields)
    tap.close()


def test_less_verified_session_is_not_taken(weir, pg, pki):
    """What was resumed shows no certificate again: a session from verify-ca says nothing of the host's name."""
    tap = Tap(pg.port, server_context(pki.wrong_host))
    w = weir(ini({'ca': entry(tap, sslmode='verify-ca'), 'full': entry(tap, sslmode='verify-full')},
                 server_tls_ca_file=pki.ca.ca, query_wait_timeout=3, server_lifetime=0, health_check_interval=3600))
    for _ in range(3):
        with w.connect(database='ca') as c:
            assert c.one('SELECT 1') == '1'
    assert [r['resumed'] for r in tap.seen if 'inside' in r][-1]
    with pytest.raises(wire.PgError) as e, w.connect(database='full') as c:
        c.one('SELECT 1')
    assert 'hostname mismatch' in str(e.value.fields)
    tap.close()


@pytest.mark.parametrize('change', ['node', 'database', 'mode'])
def test_cancel_after_a_reload(weir, pg, pki, change):
    """A cancel goes the way its server was reached, whatever is said of it now."""
    cert = server_context(pki.ca.server('by-name', names=['localhost']))
    tap, other = Tap(pg.port, cert), Tap(pg.port, cert)
    text = lambda name, to, mode: ini(
        {name: entry(to, sslmode=mode, host='localhost', hostaddr='127.0.0.1')}, server_tls_ca_file=pki.ca.ca,
        health_check_interval=3600)
    w = weir(text('app', tap, 'verify-full'))
    with w.connect() as c:
        c.send(query('SELECT pg_sleep(30)'))
        until(lambda: pg.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == '1')
        reload(w, text('b' if change == 'database' else 'app', other if change == 'node' else tap,
                       'disable' if change == 'mode' else 'verify-full'))
        wire.cancel(w.port, c.key)
        assert [m[1]['C'] for m in c.until('E') if m[0] == 'E'] == ['57014'], w.log()
    assert 'cancel_failed' not in w.log()
    tap.close()
    other.close()
