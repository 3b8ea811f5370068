"""Health checks beyond the login: lag, HTTP, what an operator says of a node, and
what becomes of clients when no node is well.

SPDX-License-Identifier: ISC
"""
import contextlib
import json
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import wire
from conftest import Spawned, db, free_port, ini, until
from test_nodes import QUICK, node, ports_of, wait_node
from wire import PgError, query

pytestmark = pytest.mark.weir_only

# a node that comes back has its share soon
AT_ONCE = {**QUICK, 'slowstart': 0, 'rebalance_interval': '0.5'}
ROLES = {'health_check_user': 'plain', 'max_standby_lag': '0.3'}


# ---- lag ---------------------------------------------------------------------------------

@pytest.fixture
def plain(cluster):
    """A role that may log in and nothing else."""
    if not cluster.primary.sql("SELECT 1 FROM pg_roles WHERE rolname = 'plain'"):
        cluster.primary.sql('CREATE ROLE plain LOGIN')
    cluster.caught_up()
    yield cluster
    for n in cluster.nodes[1:]:
        n.sql('SELECT pg_wal_replay_resume()')
    cluster.caught_up()


def fall_behind(cluster, *nodes):
    for n in nodes:
        n.sql('SELECT pg_wal_replay_pause()')
        until(lambda n=n: n.one('SELECT pg_get_wal_replay_pause_state()') == 'paused')
    cluster.primary.sql('UPDATE kv SET v = v + 1 WHERE k = 1')


def lag(w, n):
    return int(node(w, n.port)['lag_us'])


def test_lag(weir, plain):
    """A standby that is behind is left out, until it has caught up."""
    w = weir(ini({'app': db(*plain.nodes, target_session_attrs='standby')}, **{**QUICK, **ROLES}))
    _, one, two = plain.nodes
    for n in (one, two):
        wait_node(w, n.port, 'standby')
    assert set(ports_of(w, 4)) == {one.port, two.port}
    assert lag(w, one) == 0
    fall_behind(plain, one)
    w.wait_log('event=target', ':%d' % one.port, 'lagging=1')
    assert lag(w, one) > 300000
    assert set(ports_of(w, 4)) == {two.port}
    assert lag(w, two) == 0 and lag(w, plain.primary) == 0
    # idle connections there are closed, not only left
    until(lambda: one.backends() == 0, why='connections to the standby that is behind to go')
    one.sql('SELECT pg_wal_replay_resume()')
    w.wait_log('event=target', ':%d' % one.port, 'lagging=0', n=2)
    until(lambda: one.port in ports_of(w, 6), why='the standby to be used again')
    assert lag(w, one) == 0


def test_all_lag(weir, plain):
    """All that suit are behind: better than nothing."""
    w = weir(ini({'app': db(*plain.nodes, target_session_attrs='standby')}, **{**QUICK, **ROLES}))
    standbys = plain.nodes[1:]
    for n in standbys:
        wait_node(w, n.port, 'standby')
    fall_behind(plain, *standbys)
    for n in standbys:
        w.wait_log('event=target', ':%d' % n.port, 'lagging=1')
    assert set(ports_of(w, 4)) == {n.port for n in standbys}
    # and who prefers a standby takes the primary
    w = weir(ini({'app': db(*plain.nodes, target_session_attrs='prefer-standby')},
                 **{**QUICK, **ROLES}))
    wait_node(w, plain.primary.port, 'primary')
    for n in standbys:
        w.wait_log('event=target', ':%d' % n.port, 'lagging=1')
    assert set(ports_of(w, 4)) == {plain.primary.port}


def test_lag_is_not_asked(weir, plain):
    w = weir(ini({'app': db(*plain.nodes, target_session_attrs='standby')},
                 **{**QUICK, 'health_check_user': 'plain'}))
    one = plain.nodes[1]
    wait_node(w, one.port, 'standby')
    fall_behind(plain, one)
    seen = int(one.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%wal_receiver%' "
                       'AND pid <> pg_backend_pid() AND usename IS NOT NULL'))
    assert seen == 0
    assert one.port in ports_of(w, 6)
    assert lag(w, one) == 0


# ---- HTTP --------------------------------------------------------------------------------

class Web:
    """A node's HTTP interface: answers with `status`, or hangs (None)."""

    def __init__(self, status=200, cert=None, port=0):
        self.status, self.asked, self.paths, self.over = status, 0, set(), threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                web.asked += 1
                web.paths.add(self.path)
                if web.status is None:
                    web.over.wait()
                    return
                body = b'{}' if web.status == 200 else json.dumps(
                    {'error': 'node is shutting down', 'code': 14, 'details': []}).encode()
                self.send_response(web.status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *a):  # pylint: disable=arguments-differ
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *a):  # pylint: disable=arguments-differ
                pass

        self.server = Server(('127.0.0.1', port), Handler)
        if cert:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(*cert)
            self.server.socket = ctx.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def more(self, n=2):
        """Waits for n more checks."""
        seen = self.asked
        until(lambda: self.asked >= seen + n, why='more checks')


@pytest.fixture
def webs():
    made = []

    def make(**kw):
        made.append(Web(**kw))
        return made[-1]
    yield make
    for w in made:
        with contextlib.suppress(OSError):
            w.close()


def http(webs, fmt='%d'):
    return ','.join(fmt % w.port for w in webs)


def test_http_503(weir, cluster, webs):
    """A node that is about to leave gets no new work, and loses what is idle."""
    ws = [webs() for _ in cluster.nodes]
    w = weir(ini({'app': db(*cluster.nodes, health_check_http=http(ws))}, **AT_ONCE))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    gone = cluster.nodes[1]
    busy = w.connect()
    busy.sql('BEGIN')
    held = int(busy.one("SELECT setting FROM pg_settings WHERE name = 'port'"))
    ports_of(w, 6)
    ws[1].status = 503
    wait_node(w, gone.port, 'draining')
    assert gone.port not in ports_of(w, 8)
    until(lambda: gone.backends() == (1 if held == gone.port else 0), why='idle ones to go')
    # a transaction is not disturbed
    assert busy.one('SELECT 1') == '1'
    busy.sql('COMMIT')
    busy.close()
    until(lambda: gone.backends() == 0, why='the last one to go')
    assert w.log_lines('event=probe ', 'result=draining', 'node is shutting down')
    assert ws[1].paths == {'/health?ready=1'}
    ws[1].status = 200
    wait_node(w, gone.port, 'up')
    until(lambda: gone.port in ports_of(w, 8), why='the node to be used again')


def test_http_503_everywhere(weir, cluster, webs):
    """As when a cluster has lost its quorum for a moment: clients are served as well
    as can be, and nothing is closed under them."""
    ws = [webs(status=503) for _ in cluster.nodes]
    w = weir(ini({'app': db(*cluster.nodes, health_check_http=http(ws))}, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'draining')
    with w.connect() as c:
        for _ in range(3):
            assert c.one('SELECT 1') == '1'
            ws[0].more()
    # one is well again: all work goes there
    ws[2].status = 200
    wait_node(w, cluster.nodes[2].port, 'up')
    until(lambda: set(ports_of(w, 4)) == {cluster.nodes[2].port}, why='the one that is well')


@pytest.mark.parametrize('how', ['404', 'refused', 'slow', 'not http'])
def test_http_of_no_use(weir, pg, webs, how):
    """Whatever is wrong there is told once, and the login decides."""
    web = webs(status={'404': 404, 'slow': None}.get(how, 200))
    port = web.port
    if how == 'refused':
        port = free_port()
    elif how == 'not http':
        port = pg.port
    w = weir(ini({'app': db(pg)}, health_check_http=port, **QUICK))
    wait_node(w, pg.port, 'up')
    w.wait_log('event=probe_http', 'status=%d' % (404 if how == '404' else 0))
    if how in ('404', 'slow'):
        web.more(3)
    assert w.one('SELECT 1') == '1'
    assert len(w.log_lines('event=probe_http')) == 1
    assert node(w, pg.port)['state'] == 'up'


def test_http_comes_later(weir, pg, webs):
    """Refused, 503, refused: each is told, and only 503 is obeyed."""
    port = free_port()
    w = weir(ini({'app': db(pg)}, health_check_http=port, health_check_rise=1, **QUICK))
    wait_node(w, pg.port, 'up')
    w.wait_log('event=probe_http', 'status=0')
    web = webs(status=503, port=port)
    wait_node(w, pg.port, 'draining')
    web.close()
    wait_node(w, pg.port, 'up')
    w.wait_log('event=probe_http', 'status=0', n=2)


@pytest.fixture
def cert(base):
    key, crt = base + '/http.key', base + '/http.crt'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key,
                    '-out', crt, '-days', '2', '-subj', '/CN=elsewhere.example'],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return crt, key


def test_https(weir, pg, webs, cert):
    """In TLS, whoever made the certificate; with a path of its own."""
    web = webs(cert=cert)
    w = weir(ini({'app': db(pg)}, health_check_http='https://%d/up?x=1' % web.port,
                 health_check_rise=1, **QUICK))
    wait_node(w, pg.port, 'up')
    web.more()
    assert web.paths == {'/up?x=1'}
    assert not w.log_lines('event=probe_http')
    web.status = 503
    wait_node(w, pg.port, 'draining')
    # it hangs in the middle of an answer, and the daemon ends meanwhile
    web.status = None
    web.more(1)


def test_tls_that_is_none(weir, pg, webs):
    """Asked in TLS, and it is plain; asked plainly, and nobody reads."""
    web = webs()
    w = weir(ini({'app': db(pg)}, health_check_http='https://%d' % web.port, **QUICK))
    wait_node(w, pg.port, 'up')
    w.wait_log('event=probe_http', 'status=0')
    with socket.create_server(('127.0.0.1', 0)) as deaf:
        w = weir(ini({'app': db(pg)}, health_check_http='https://%d' % deaf.getsockname()[1],
                     **QUICK))
        wait_node(w, pg.port, 'up')
        w.wait_log('event=probe_http', 'result=timeout')


# ---- the operator's word -------------------------------------------------------------------

def name_of(n):
    return '127.0.0.1:%d' % n.port


def test_exclude_and_include(weir, cluster):
    w = weir(ini({'app': db(*cluster.nodes)}, slowstart=0, rebalance_interval=0, verbose=1, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    out = cluster.nodes[2]
    cs = [w.connect() for _ in range(6)]
    for c in cs:
        c.sql('BEGIN')
    held = [c for c in cs if c.one("SELECT setting FROM pg_settings WHERE name = 'port'") == str(out.port)]
    assert len(held) == 2
    held.pop()    # one is idle, one is not
    for c in cs:
        if c not in held:
            c.sql('COMMIT')
    assert w.console("EXCLUDE NODE '%s'" % name_of(out)) == []
    wait_node(w, out.port, 'excluded')
    # idle ones at once, busy ones at the end of their transaction
    until(lambda: out.backends() == len(held), why='idle ones to go')
    # and not only by the upkeep, a moment later
    w.wait_log('event=server_closed', name_of(out), 'why=its_node_is_not_to_be_used_any_more')
    for c in held:
        assert c.one('SELECT 1') == '1'
        c.sql('COMMIT')
    until(lambda: out.backends() == 0, why='the others to go')
    assert out.port not in ports_of(w, 9)
    # checks go on
    out.kill()
    w.wait_log('event=target', name_of(out), 'state=down')
    assert node(w, out.port)['state'] == 'excluded'
    out.start()
    w.wait_log('event=target', name_of(out), 'state=up', n=2)
    assert out.backends() == 0
    # again changes nothing
    w.console("exclude  node '%s' ;" % name_of(out))
    w.console("INCLUDE NODE '%s'" % name_of(out))
    wait_node(w, out.port, 'up')
    assert out.port in ports_of(w, 16)
    assert len(w.log_lines('event=node_excluded')) == len(w.log_lines('event=node_included')) == 1
    for c in cs:
        c.close()


def test_exclude_outlives_a_reload(weir, cluster):
    w = weir(ini({'app': db(*cluster.nodes)}, **QUICK))
    wait_node(w, cluster.nodes[0].port, 'up')
    w.console("EXCLUDE NODE '%s'" % name_of(cluster.nodes[0]))
    wait_node(w, cluster.nodes[0].port, 'excluded')
    w.hup()
    w.wait_log('event=reloaded')
    assert node(w, cluster.nodes[0].port)['state'] == 'excluded'
    assert cluster.nodes[0].port not in ports_of(w, 4)


def test_all_excluded(weir, pg):
    """Also as the last one: the operator's word is no opinion."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    wait_node(w, pg.port, 'up')
    w.console("EXCLUDE NODE '%s'" % name_of(pg))
    wait_node(w, pg.port, 'excluded')
    t = Spawned(lambda: w.one('SELECT 7'))
    until(lambda: w.pool_waiting() == 1, why='the client to wait')
    w.console("INCLUDE NODE '%s'" % name_of(pg))
    assert t.result() == '7'


def test_probe_now(fake):
    """Checks every hour, and whenever asked."""
    w, f = fake(lambda c: c.wait_close())
    until(lambda: f.probes == 1)
    w.console('PROBE')
    until(lambda: f.probes == 2)
    w.console("PROBE NODE '127.0.0.1:%d'" % f.port)
    until(lambda: f.probes == 3)
    w.console("INCLUDE NODE '127.0.0.1:%d'" % f.port)
    until(lambda: f.probes == 4)


def tags_of(w, text, user='admin'):
    with w.connect(user, 'pgweir') as c:
        return c.ask(query(text))


def test_orders_on_the_wire(weir, pg, cluster):
    w = weir(ini({'app': db(pg), 'rep': db(*cluster.nodes)}, stats_users='viewer'))
    for verb in ('EXCLUDE', 'INCLUDE', 'PROBE'):
        got = tags_of(w, "%s NODE '%s'" % (verb.lower(), name_of(pg)))
        assert got == [('C', verb), ('Z', 'I')], got
    assert tags_of(w, 'PROBE;') == [('C', 'PROBE'), ('Z', 'I')]
    # a name that is none: what there is
    for verb in ('EXCLUDE', 'INCLUDE', 'PROBE'):
        e = tags_of(w, "%s NODE 'nowhere:1'" % verb)[0][1]
        assert e['C'] == '42704' and 'nowhere:1' in e['M']
        assert e['D'] == ', '.join(name_of(n) for n in [pg, *cluster.nodes])
    e = tags_of(w, "EXCLUDE NODE 'it''s %s'" % ('x' * 100))[0][1]
    assert e['C'] == '42704' and "it's xxx" in e['M']
    for bad in ('EXCLUDE', 'INCLUDE', 'EXCLUDE NODE', 'EXCLUDE NODE x', "EXCLUDE NODE 'x",
                "EXCLUDE NODE ''", "EXCLUDE NODE 'x' y", "EXCLUDE 'x'", 'PROBE NODE', 'PROBE x',
                "EXCLUDE NODES 'x'", "EXCLUDE NODE '%s'" % ('x' * 300)):
        with pytest.raises(PgError) as x:
            w.console(bad)
        assert x.value.code == '42601', bad
    # who may look may not touch
    assert node(w, pg.port)['state'] != 'excluded'
    for verb in ('EXCLUDE', 'INCLUDE', 'PROBE'):
        e = tags_of(w, "%s NODE '%s'" % (verb, name_of(pg)), user='viewer')[0][1]
        assert e['C'] == '42501'
    assert tags_of(w, 'SHOW NODES', user='viewer')[0][0] == 'T'
    helped = [r['command'] for r in w.console('SHOW HELP')]
    assert "EXCLUDE NODE 'NAME'" in helped and "PROBE [NODE 'NAME']" in helped


def test_names_are_cut(weir):
    """Sixty nodes: the list of names is bounded."""
    ports = ','.join(str(20000 + i) for i in range(60))
    w = weir(ini({'app': 'host=%s port=%s' % (','.join(['127.0.0.1'] * 60), ports)},
                 health_check_interval=3600))
    e = tags_of(w, "EXCLUDE NODE 'x'")[0][1]
    assert e['C'] == '42704' and 300 < len(e['D']) < 400
    assert e['D'].startswith('127.0.0.1:20000, ') and e['D'].endswith(', ...')
    assert len(w.console('SHOW NODES')) == 60


# ---- what CockroachDB says when it leaves ------------------------------------------------------

def test_drain_at_login(weir, pg):
    """'server is not accepting clients', in answer to the startup packet: no new work,
    without any client seeing it."""
    state = {'drains': False}

    def script(c):
        with contextlib.suppress(wire.Closed):
            play(c)

    def play(c):
        if not c.read_startup():
            return
        if state['drains']:
            c.send(wire.error('57P01', 'server is not accepting clients'))
            return
        c.welcome()
        if f.is_probe(c):
            return
        while c.read_raw()[0] == 'Q':
            c.send(wire.result('fake'), wire.ready())

    with wire.FakeServer(script, login=False) as f:
        w = weir(ini({'app': db(f, pg)}, server_lifetime=0, **AT_ONCE))
        wait_node(w, f.port, 'up')
        wait_node(w, pg.port, 'up')
        state['drains'] = True
        for _ in range(20):
            assert w.one('SELECT 1') in ('1', 'fake')
        wait_node(w, f.port, 'draining')
        for _ in range(5):
            assert w.one('SELECT 1') == '1'
        state['drains'] = False
        wait_node(w, f.port, 'up')
        until(lambda: w.one('SELECT 1') == 'fake', why='the node to be used again')
