"""HTTP: what /health, /ready, /metrics and /status say, against what is so; and that nobody who
comes by HTTP can hold up anything.

SPDX-License-Identifier: ISC
"""
import json
import os
import re
import shutil
import socket
import subprocess
from urllib.parse import quote

import pytest

from conftest import PGWEIR, ROOT, Spawned, db, free_port, ini, until
from test_nodes import QUICK
from webs import OPENMETRICS, get, metrics, raw, rest, samples, wait_health, web_port
from wire import PgError

pytestmark = pytest.mark.weir_only

WEB = {**QUICK, 'http_addr': 0}


def weir_of(weir, *servers, name='app', database=None, **settings):
    w = weir(ini({name: db(*servers, **(database or {}))}, **{**WEB, **settings}))
    return w, web_port(w)


# ---- health, ready ---------------------------------------------------------------------

def test_health(weir, cluster):
    w, port = weir_of(weir, *cluster.nodes, health_slow=0)
    h = wait_health(port, 'healthy')
    assert h['reasons'] == [] and h['live_nodes'] == h['total_nodes'] == 3
    assert h['live_databases'] == h['total_databases'] == 1 and h['state'] == 'running'
    assert sorted(n['role'] for n in h['nodes']) == ['primary', 'standby', 'standby']
    assert {n['node'] for n in h['nodes']} == {'127.0.0.1:%d' % n.port for n in cluster.nodes}
    assert all(n['state'] == 'up' and n['live'] and n['latency_ms'] > 0 for n in h['nodes'])
    assert h['latency_ms'] == max(n['latency_ms'] for n in h['nodes'])
    shown = {r['node']: r for r in w.console('SHOW NODES')}
    assert all(shown[n['node']]['role'] == n['role'] for n in h['nodes'])
    assert get(port, '/health').status == 200
    # one gone: it works, and says what is missing
    cluster.nodes[2].kill()
    h = wait_health(port, 'degraded')
    assert get(port, '/health').status == 200 and get(port, '/ready').status == 200
    h = until(lambda: (a := get(port, '/health').json)['live_nodes'] == 2 and a)
    assert h['reasons'] == ['node 127.0.0.1:%d is down' % cluster.nodes[2].port]
    # left out on purpose is not missing
    w.console("EXCLUDE NODE '127.0.0.1:%d'" % cluster.nodes[2].port)
    h = wait_health(port, 'healthy')
    assert [n['state'] for n in h['nodes']].count('excluded') == 1
    cluster.nodes[2].start()


def test_unhealthy(weir, new_cluster):
    """No node for any database: 503. One database of two: degraded."""
    a, b = new_cluster.nodes[:2]
    w = weir(ini({'app': db(a, dbname='app'), 'rw': db(b, target_session_attrs='primary')},
                 **{**WEB, 'health_slow': 0}))
    port = web_port(w)
    until(lambda: get(port, '/health').json['live_nodes'] == 2)
    h = wait_health(port, 'degraded')
    assert h['reasons'] == ['database rw has no live node of the role that it asks for']
    assert (h['live_databases'], h['total_databases']) == (1, 2)
    assert get(port, '/ready').json == {'ready': True}
    a.kill()
    h = wait_health(port, 'unhealthy')
    assert get(port, '/health').status == 503
    r = get(port, '/ready')
    assert r.status == 503 and r.json == {'ready': False, 'reason': 'no live node'}


def test_slow(weir, pg):
    """A check that took long, and a client that waits long."""
    w, port = weir_of(weir, pg, health_slow='0.000001')
    h = wait_health(port, 'degraded')
    assert re.fullmatch(r'the last check of node 127.0.0.1:%d took \d+ ms' % pg.port, h['reasons'][0])
    w.rewrite(ini({'app': db(pg)}, **{**WEB, 'health_slow': '0.3', 'default_pool_size': 1}))
    w.hup()
    w.wait_log('event=reloaded')
    wait_health(port, 'healthy')
    with w.connect() as one:
        one.sql('BEGIN')
        one.sql('SELECT 1')
        waiting = Spawned(w.sql, 'SELECT 2')
        h = wait_health(port, 'degraded')
        assert h['waiting_clients'] == 1 and h['longest_wait_ms'] >= 300
        assert re.fullmatch(r'a client has waited \d+ ms for a server', h['reasons'][0])
        one.sql('COMMIT')
        waiting.result()
    wait_health(port, 'healthy')


def test_ready_before_and_behind(weir, pg):
    """Not ready before the first check has come back, nor while it drains."""
    dead = socket.socket()
    dead.bind(('127.0.0.1', 0))
    dead.listen(8)                     # takes connections and says nothing
    w = weir(ini({'app': 'host=127.0.0.1 port=%d' % dead.getsockname()[1]},
                 **{**WEB, 'health_check_timeout': 60}))
    port = web_port(w)
    r = get(port, '/ready')
    assert r.status == 503 and r.json == {'ready': False, 'reason': 'no live node'}
    h = get(port, '/health')
    assert h.status == 503 and h.json['status'] == 'unhealthy' and h.json['latency_ms'] is None
    assert h.json['reasons'][1].endswith('has not been checked yet')
    dead.close()
    w, port = weir_of(weir, pg)
    until(lambda: get(port, '/ready').status == 200)
    with w.connect() as c:
        c.sql('BEGIN')
        c.sql('SELECT 1')
        w.term()
        until(lambda: get(port, '/ready').json == {'ready': False, 'reason': 'draining'})
        assert get(port, '/ready').status == 503
        h = get(port, '/health')
        assert h.status == 200 and h.json['state'] == 'draining'
        assert metrics(port)('state', state='draining') == 1
        c.sql('COMMIT')
    assert w.wait() == 0


def test_ready_and_the_console(weir, pg):
    """PAUSE, also behind a reload that opens another address."""
    w, port = weir_of(weir, pg)
    until(lambda: get(port, '/ready').status == 200)
    w.console('PAUSE app')                         # others may come
    assert get(port, '/ready').status == 200
    w.console('RESUME app')
    w.console('PAUSE')
    until(lambda: get(port, '/ready').json == {'ready': False, 'reason': 'paused'})
    port = free_port()
    w.rewrite(ini({'app': db(pg)}, **{**WEB, 'http_addr': port}))
    w.hup()
    w.wait_log('event=reloaded')
    until(lambda: answers(port) and get(port, '/ready').json['reason'] == 'paused')
    assert get(port, '/health').json['state'] == 'paused'
    w.console('RESUME')
    until(lambda: get(port, '/ready').status == 200)


# ---- metrics ---------------------------------------------------------------------------

def test_metrics_are_right(weir, pg):
    """Against what a client did."""
    w, port = weir_of(weir, pg, default_pool_size=3)
    until(lambda: get(port, '/ready').status == 200)
    before = metrics(port)
    with w.connect() as c, w.connect() as idle:
        for _ in range(7):
            c.sql('SELECT 1')
        c.sql('BEGIN')
        c.sql('SELECT 2')
        m = metrics(port)
        assert m('clients') - before('clients') == 2
        assert m('client_logins_total') - before('client_logins_total') == 2
        pool = {'database': 'app', 'user': 'app'}
        assert m('pool_clients', state='active', **pool) == 2
        assert m('pool_clients', state='waiting', **pool) == 0
        assert m('pool_servers', state='used', **pool) == 1
        assert m('pool_size', **pool) == 3
        node = '127.0.0.1:%d' % pg.port
        assert m('node_live', node=node) == 1 and m('node_state', node=node, state='up') == 1
        assert m('node_role', node=node, role='primary') == 1
        assert m.sum('node_state', node=node) == m.sum('node_role', node=node) == 1
        assert m('node_connections', node=node) >= 1 and m('node_check_seconds', node=node) > 0
        assert m('database_live_nodes', database='app') == m('database_nodes', database='app') == 1
        c.sql('COMMIT')
        idle.sql('SELECT 3')
    until(lambda: metrics(port)('client_disconnects_total') >= 2)
    m = metrics(port)
    assert m.sum('queries_total') - before.sum('queries_total') == 7 + 3 + 1
    assert m('build_info', version=get(port, '/health').json['version']) == 1
    # each number of SHOW is there, under some name
    text = get(port, '/metrics').text
    with open(os.path.join(os.path.dirname(__file__), '../../health/stats.h')) as f:
        stats = re.findall(r'^\tX\((\w+),', f.read(), re.M)
    assert len(stats) > 50
    assert text.count('_total') >= len(stats)


HISTS = ('wait', 'query', 'transaction', 'login', 'replay')


def test_histograms_and_parts(weir, cluster):
    """Of each database and each node, and with the total of all."""
    w = weir(ini({'a': db(cluster.primary, dbname='app'), 'b': db(cluster.nodes[1], dbname='app')}, **{**WEB, 'workers': 2}))
    port = web_port(w)
    until(lambda: get(port, '/ready').status == 200)
    with w.connect(database='a') as a, w.connect(database='b') as b:
        for _ in range(5):
            a.sql('SELECT 1')
        a.sql('SELECT pg_sleep(0.3)')
        b.sql('SELECT 2')
        for _ in range(2):
            with pytest.raises(PgError):
                b.sql('SELECT 1/0')
    until(lambda: metrics(port).sum('database_client_disconnects_total') >= 2)
    m = metrics(port)
    na, nb = ('127.0.0.1:%d' % n.port for n in cluster.nodes[:2])
    assert m('database_queries_total', database='a') == 6 == m('node_queries_total', node=na)
    assert m('database_queries_total', database='b') == 3 == m('node_queries_total', node=nb)
    assert m('database_transactions_total', database='a') == 6
    assert m('database_errors_total', database='b', **{'class': '22'}) == 2
    assert m('node_errors_total', node=nb, **{'class': '22'}) == 2
    assert m('database_errors_total', database='a', **{'class': '40'}) == 0
    # of the whole, and nothing counted twice
    assert m.sum('database_queries_total') == m('queries_total')
    assert m.sum('database_received_bytes_total') == m('received_bytes_total') > 0
    # buckets: each has those of the one before, the last has all
    for kind, label, name, n in (('database', 'database', 'a', 6), ('node', 'node', nb, 3)):
        for h in HISTS:
            family = 'pgweir_%s_%s_duration_seconds' % (kind, h)
            le = sorted((float(dict(k)['le']), v) for (f, k), v in m.items()
                        if f == family + '_bucket' and dict(k)[label] == name)
            assert len(le) == 22 and le[-1][0] == float('inf') and le[0][0] == 0.000064
            assert [v for _, v in le] == sorted(v for _, v in le)
            assert le[-1][1] == m['%s_count' % family, frozenset([(label, name)])]
        assert m('%s_query_duration_seconds_count' % kind, **{label: name}) == n
    a = {'database': 'a'}
    assert m('database_query_duration_seconds_sum', **a) >= 0.3
    slow = [v for le in ('0.262144', '0.524288', '67.108864')
            for v in [m('database_query_duration_seconds_bucket', le=le, **a)]]
    assert slow[0] <= 5 and slow[2] == 6
    assert m('database_login_duration_seconds_count', **a) == 1
    assert m('node_login_duration_seconds_count', node=na) >= 1
    # and the page has a p99 of it
    until(lambda: any(h[2] and h[2] >= 300 for h in get(port, '/status').json['history']))


def test_both_formats(weir, pg):
    """Strict readers of each take it, and they say the same."""
    parser = pytest.importorskip('prometheus_client.openmetrics.parser')
    from prometheus_client.parser import text_string_to_metric_families
    w, port = weir_of(weir, pg)
    w.sql('SELECT 1')
    until(lambda: get(port, '/ready').status == 200)
    plain, om = get(port, '/metrics'), get(port, '/metrics', Accept=OPENMETRICS)
    assert plain.headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8'
    assert om.headers['Content-Type'] == 'application/openmetrics-text; version=1.0.0; charset=utf-8'
    families = list(parser.text_string_to_metric_families(om.text))
    assert om.text.endswith('\n# EOF\n') and '# EOF' not in plain.text
    for f in families:
        assert f.documentation.strip() and f.name.startswith('pgweir_')
        assert f.documentation.endswith(('.', ')', '}')) or f.name.count('_') > 1, f.name
        assert f.unit == ('seconds' if f.name.endswith('_seconds') else
                          'bytes' if f.name.endswith('_bytes') else ''), f.name
    names = {s.name for f in families for s in f.samples}
    assert names == {s.name for f in text_string_to_metric_families(plain.text) for s in f.samples}
    assert samples(om.text).keys() == samples(plain.text).keys()
    # a browser, and what Prometheus 2 and 3 send
    assert 'openmetrics' not in get(port, '/metrics', Accept='text/html,*/*;q=0.8').headers['Content-Type']
    assert 'openmetrics' in get(port, '/metrics', Accept=(
        'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,'
        'text/plain;version=0.0.4;q=0.5,*/*;q=0.1')).headers['Content-Type']


def test_promtool(weir, pg):
    if not shutil.which('promtool'):
        pytest.skip('promtool (Debian package prometheus) is not installed')
    w, port = weir_of(weir, pg)
    w.sql('SELECT 1')
    until(lambda: get(port, '/ready').status == 200)
    r = subprocess.run(['promtool', 'check', 'metrics'], input=get(port, '/metrics').body,
                       capture_output=True, timeout=60)
    assert (r.returncode, r.stdout, r.stderr) == (0, b'', b'')


NASTY = ['a "b" \\ c', 'new\nline', "d'e", '\u00fcml\u00e4ut', '<script>alert(1)</script>', 'x' * 63]


def test_names(weir, pg):
    """Whatever a name holds, it stays one label and one string."""
    w = weir(ini({'*': db(pg, dbname='app', user='app')}, **WEB))
    port = web_port(w)
    for name in NASTY:
        assert w.one('SELECT 1', database=name) == '1'
    m = metrics(port)
    assert all(m('pool_size', database=n, user='app') > 0 for n in NASTY)
    shown = {p['database'] for p in get(port, '/status').json['pools']}
    assert shown == set(NASTY) and m('pools') == len(NASTY)


def test_no_secrets(weir, pg):
    w, port = weir_of(weir, pg, database={'password': 'hush-hush', 'user': 'app'})
    with w.connect() as c:
        c.sql("SELECT 'query text'")
        for path in ('/', '/metrics', '/health', '/ready', '/status'):
            body = get(port, path).text
            assert 'hush-hush' not in body and 'query text' not in body


# ---- status ----------------------------------------------------------------------------

def test_status(weir, pg):
    w, port = weir_of(weir, pg, retry='implicit')
    until(lambda: get(port, '/ready').status == 200)
    with w.connect() as c:
        first = get(port, '/status').json['seq']
        for _ in range(20):
            c.sql('SELECT 1')
        s = until(lambda: (a := get(port, '/status?after=%d' % first).json)['history'] and
                  sum(h[0] for h in a['history']) >= 15 and a)
        assert s['status'] == 'healthy' and len(s['history']) == s['seq'] - first
        assert [(p['database'], p['clients']) for p in s['pools']] == [('app', 1)]
        assert s['absorbed']['total'] == 0 and s['clients'] == 1
        assert get(port, '/status?after=%d' % s['seq']).json['history'] in ([], get(
            port, '/status?after=%d' % s['seq']).json['history'])
        # of another process, or nonsense: all there is
        for after in ('99999999', '-1', 'x', ''):
            assert len(get(port, '/status?after=' + after).json['history']) >= len(s['history'])


# ---- who may ask, and how much ------------------------------------------------------------

def test_requests(weir, pg):
    w, port = weir_of(weir, pg, http_hosts='stats.example, other')
    until(lambda: get(port, '/ready').status == 200)
    ok = get(port, '/health')
    for name, value in (('X-Content-Type-Options', 'nosniff'), ('Cache-Control', 'no-store'),
                        ('X-Frame-Options', 'DENY'),
                        ('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")):
        assert ok.headers[name] == value
    policy = get(port, '/').headers['Content-Security-Policy']
    assert 'unsafe' not in policy and "default-src 'none'; script-src 'sha256-" in policy
    assert get(port, '/nothing').status == 404 and get(port, '/health/').status == 404
    assert get(port, '/health?x=1').status == 200
    for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH'):
        r = get(port, '/health', method=method)
        assert r.status == 405 and r.headers['Allow'] == 'GET, HEAD', method
    head = get(port, '/metrics', method='HEAD')
    assert head.status == 200 and head.body == b'' and int(head.headers['Content-Length']) > 1000
    # one connection, several requests
    with raw(port, b'GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ready HTTP/1.1\r\n'
                   b'Host: localhost\r\nConnection: close\r\n\r\n') as s:
        assert rest(s).count(b'{"ready":') == 2
    with raw(port, b'GET /ready HTTP/1.0\r\n\r\n') as s:
        assert b'{"ready":' in rest(s)
    # names
    for host, status in (('127.0.0.1', 200), ('localhost:99', 200), ('[::1]:1', 200),
                         ('stats.example', 200), ('STATS.example:8', 200), ('other', 200),
                         (socket.gethostname(), 200), ('evil.example', 421), ('stats.example.x', 421),
                         ('x' * 300, 421)):
        assert get(port, '/health', Host=host).status == status, host
    assert 'http_hosts' in get(port, '/', Host='evil.example').text
    # too much
    assert get(port, '/health', data=b'x', method='GET').status == 413
    with raw(port, b'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' + b'x' * 9000) as s:
        assert rest(s).startswith((b'HTTP/1.1 400', b'HTTP/1.1 413'))
    for junk in (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(200), b'\r\n\r\n', b'GET\r\n\r\n',
                 b'GET / HTTP/9.9\r\n\r\n', b'CONNECT x:1 HTTP/1.1\r\n\r\n', b'\0' * 1000 + b'\n',
                 b'GET http://[ HTTP/1.1\r\n\r\n', b'OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n',
                 b'GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n'):
        with raw(port, junk) as s:
            s.shutdown(socket.SHUT_WR)
            rest(s)
    assert get(port, '/health').status == 200


def test_connections_are_bounded(weir, pg):
    """Who says nothing goes for who comes next."""
    w, port = weir_of(weir, pg)
    fds = w.fds()
    held = [raw(port) for _ in range(300)]
    assert get(port, '/health').status == 200
    until(lambda: w.fds() - fds <= 64)
    assert rest(held[0]) == b''        # the oldest were closed
    held[-1].sendall(b'GET /ready HTTP/1.0\r\n\r\n')
    assert b'{"ready":' in rest(held[-1])
    for s in held:
        s.close()
    until(lambda: w.fds() <= fds)


def answers(port):
    try:
        return get(port, '/health').status == 200
    except OSError:
        return False


def test_time_is_bounded(weir, pg):
    """A request that comes in drops, one that never comes, an answer that nobody reads."""
    def conf(seconds):
        return ini({'*': db(pg, dbname='app', user='app')}, **{**WEB, 'http_addr': port, 'http_timeout': seconds})
    port = free_port()
    w = weir(conf(30))
    for i in range(60):
        w.one('SELECT 1', database='d%d' % i)
    big = len(get(port, '/metrics').body)
    w.rewrite(conf(0.5))
    w.hup()
    w.wait_log('event=reloaded')
    fds = w.fds()
    silent, drops = raw(port), raw(port, b'GET / HTTP/1.1\r\n')
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.connect(('127.0.0.1', port))
    n = 8000000 // big
    deaf.settimeout(0.1)
    try:
        for _ in range(n):
            deaf.sendall(b'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n')
    except OSError:
        pass

    def drip():
        try:
            drops.sendall(b'X: y\r\n')
        except OSError:
            pass
        return w.fds() < fds + 1
    until(drip, every=0.05)
    assert rest(silent) == b'' and rest(drops) == b''
    for s in (silent, drops, deaf):
        s.close()
    w.rewrite(conf(30))
    w.hup()
    w.wait_log('event=reloaded', n=2)
    until(lambda: answers(port))


def test_nobody_waits_for_http(weir, pg):
    """While its every connection is taken by who asks without end."""
    w, port = weir_of(weir, pg)
    stop = []

    def storm(_):
        n = 0
        while not stop:
            n += get(port, '/metrics').status == 200
        return n
    storms = [Spawned(storm, i) for i in range(4)]
    with w.connect() as c:
        for i in range(300):
            assert c.one('SELECT %d' % i) == str(i)
    stop.append(1)
    assert all(s.result(60) > 0 for s in storms)
    m = metrics(port)
    assert m('clients') == 0


# ---- addresses ---------------------------------------------------------------------------

def refuses(port, **how):
    try:
        raw(port, **how).close()
    except OSError:
        return True
    return False


def test_addresses(weir, pg):
    """Several, IPv6, and a reload that changes them."""
    w, port = weir_of(weir, pg, http_addr='localhost:0, [::1]:0')
    lines = w.wait_log('event=http_listening', n=2)
    ports = [int(re.search(r'port=(\d+)', x).group(1)) for x in lines]
    v6 = next(p for p, x in zip(ports, lines) if '[::1]' in x)
    with raw(v6, b'GET /ready HTTP/1.0\r\n\r\n', socket.AF_INET6, '::1') as s:
        assert b'{"ready":' in rest(s)
    other = free_port()
    w.rewrite(ini({'app': db(pg)}, **{**WEB, 'http_addr': '*:%d' % other}))
    w.hup()
    w.wait_log('event=http_listening', 'port=%d' % other)     # by a thread of its own
    assert get(other, '/health').json['total_nodes'] == 1
    until(lambda: refuses(v6, family=socket.AF_INET6, host='::1'))
    w.rewrite(ini({'app': db(pg)}, **QUICK))
    w.hup()
    w.wait_log('event=reloaded', n=2)
    until(lambda: refuses(other))
    assert w.one('SELECT 1') == '1'


def test_address_in_use(weir, pg):
    """No reason not to start; it is taken as soon as it is free."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen(1)
        taken = s.getsockname()[1]
        w = weir(ini({'app': db(pg)}, **{**WEB, 'http_addr': taken}))
        assert w.one('SELECT 1') == '1'
        assert 'reason="Address already in use"' in w.wait_log('event=http_listen_failed')[0]
    assert web_port(w) == taken
    until(lambda: get(taken, '/ready').status == 200)
    assert len(w.log_lines('event=http_listen_failed')) == 1


@pytest.mark.parametrize('value, say', [
    ('localhost', 'is no port'), ('127.0.0.1:', 'has no port'), (':99', 'has no host'),
    ('::1:99', 'IPv6 address as [ADDRESS]:PORT'), ('99999', 'is no port'), ('1.2.3.4:x', 'is no port'),
    ('1, ,2', 'has no port')])
def test_wrong_addresses(weir, value, say, tmp_path):
    (tmp_path / 'a.ini').write_text(ini({'app': 'host=127.0.0.1'}, http_addr=value))
    r = subprocess.run([PGWEIR, '--check', str(tmp_path / 'a.ini')], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and 'http_addr: ' in r.stderr and say in r.stderr
    assert re.search(r'a\.ini:\d+: http_addr', r.stderr)


def test_off_by_default(weir, pg):
    threads = []
    for more in ({}, {'http_addr': 0}):
        w = weir(ini({'app': db(pg)}, **{**QUICK, **more}))
        assert w.one('SELECT 1') == '1'
        assert bool(w.log_lines('event=http_listening')) == bool(more)
        with open('/proc/%d/status' % w.pid) as f:
            threads.append(int(re.search(r'Threads:\s+(\d+)', f.read()).group(1)))
    assert threads[1] == threads[0] + 1


def test_the_page_is_right(weir, pg, tmp_path):
    """docs/http.md: its configuration is taken, its commands answer."""
    with open(os.path.join(ROOT, 'docs', 'http.md')) as f:
        text = f.read()
    conf, = re.findall(r'```ini\n(.*?)```', text, re.S)
    (tmp_path / 'users.txt').write_text('"app" "secret"\n')
    (tmp_path / 'x.ini').write_text(conf.replace('/etc/pgweir', str(tmp_path)))
    assert subprocess.run([PGWEIR, '--check', str(tmp_path / 'x.ini')], timeout=60).returncode == 0
    sh, = re.findall(r'```sh run\n(.*?)```', text, re.S)
    _, port = weir_of(weir, pg)
    until(lambda: get(port, '/ready').status == 200)
    assert sh.count('localhost:9630') == len(sh.splitlines())
    for line in sh.replace('9630', str(port)).splitlines():
        if 'promtool' in line and not shutil.which('promtool') or not shutil.which('curl'):
            continue
        r = subprocess.run(['bash', '-o', 'pipefail', '-c', line], capture_output=True, timeout=60)
        assert r.returncode == 0, (line, r.stderr)
    for path in re.findall(r'^\| `(/\w*)` \|', text, re.M):
        assert get(port, path).status == 200


def dashboard():
    with open(os.path.join(ROOT, 'docs', 'grafana.json')) as f:
        return json.load(f)


def test_dashboard(weir, pg):
    """docs/grafana.json asks for nothing that is not there."""
    d = dashboard()
    assert len({p['id'] for p in d['panels']}) == len(d['panels']) > 25
    place = set()
    for p in d['panels']:
        g = p['gridPos']
        mine = {(x, y) for x in range(g['x'], g['x'] + g['w']) for y in range(g['y'], g['y'] + g['h'])}
        assert g['x'] + g['w'] <= 24 and not mine & place, p['title']
        place |= mine
    w, port = weir_of(weir, pg)
    w.sql('SELECT 1')
    until(lambda: get(port, '/ready').status == 200)
    m = metrics(port)
    names = {n for n, _ in m}
    labels = {}
    for n, have in m:
        labels.setdefault(n, set()).update(k for k, _ in have)
    asked = [t['expr'] for p in d['panels'] for t in p.get('targets', ())]
    asked += [v['query']['query'] for v in d['templating']['list'] if v['type'] == 'query']
    assert len(asked) > 40
    for expr in asked:
        found = re.findall(r'(pgweir_\w+)(?:\{([^}]*)\})?', expr)
        assert found, expr
        for name, where in found:
            assert name in names, expr
            for label in re.findall(r'(\w+)=', where):
                assert label == 'instance' or label in labels[name], (label, expr)


# ---- Prometheus ----------------------------------------------------------------------------

@pytest.mark.no_san
def test_prometheus(weir, pg, tmp_path):
    """Debian's scrapes it: every sample of ours is there, under `up` 1."""
    if not shutil.which('prometheus'):
        pytest.skip('prometheus (Debian package) is not installed')
    w, port = weir_of(weir, pg)
    w.sql('SELECT 1')
    until(lambda: get(port, '/ready').status == 200)
    (tmp_path / 'p.yml').write_text(
        'global: {scrape_interval: 1s, scrape_timeout: 1s}\n'
        'scrape_configs: [{job_name: pgweir, static_configs: [{targets: ["127.0.0.1:%d"]}]}]\n' % port)
    mine = free_port()
    with open(tmp_path / 'log', 'wb') as log:
        p = subprocess.Popen(['prometheus', '--config.file=%s/p.yml' % tmp_path,
                              '--storage.tsdb.path=%s/data' % tmp_path,
                              '--web.listen-address=127.0.0.1:%d' % mine], stdout=log, stderr=log)
    try:
        def ask(what):
            try:
                return get(mine, '/api/v1/query?query=' + what).json['data']['result']
            except OSError:
                return None
        until(lambda: [x['value'][1] for x in ask('up') or []] == ['1'], 60, every=0.2)
        names = {x['metric']['__name__'] for x in ask('%7Bjob=%22pgweir%22%7D')}
        assert {n for n, _ in metrics(port)} <= names
        assert ask('pgweir_queries_total')[0]['value'][1] == '1'
        # it understands every question of the dashboard
        for panel in dashboard()['panels']:
            for t in panel.get('targets', ()):
                q = re.sub(r'\$__(rate_interval|range)', '1m', t['expr'])
                r = get(mine, '/api/v1/query?query=' + quote(re.sub(r'\$\w+', '.*', q)))
                assert r.status == 200 and r.json['status'] == 'success', (t['expr'], r.text)
    finally:
        p.terminate()
        p.wait(30)


@pytest.mark.no_san
def test_exporter(weir, pg, tmp_path):
    """Debian's exporter for PgBouncer, unchanged, at the console: what it says of a database."""
    program = shutil.which('prometheus-pgbouncer-exporter')
    if not program:
        pytest.skip('prometheus-pgbouncer-exporter (Debian package) is not installed')
    w = weir(ini({'app': db(pg)}, section='pgbouncer', pool_mode='transaction', listen_addr='127.0.0.1', unix_socket_dir='',
                 stats_users='stats', default_pool_size=7, **QUICK))
    for i in range(3):
        w.sql('SELECT %d' % i)
    mine = free_port()
    with open(tmp_path / 'log', 'wb') as log:
        p = subprocess.Popen([program, '--host', '127.0.0.1', '--port', str(mine), '--pgbouncer-host', '127.0.0.1',
                              '--pgbouncer-port', str(w.port), '--pgbouncer-user', 'stats'], stdout=log, stderr=log)

    def there():
        assert p.poll() is None, (tmp_path / 'log').read_text()[-2000:]
        try:
            return get(mine, '/metrics').text
        except OSError:
            return None
    try:
        m = samples(until(there, 60, every=0.1))
    finally:
        p.terminate()
        p.wait(30)
    app = frozenset({('database', 'app')})
    assert m['pgbouncer_requests_total', app] == 3
    assert m['pgbouncer_received_bytes_total', app] > 0 and m['pgbouncer_sent_bytes_total', app] > 0
    assert m['pgbouncer_query_microseconds_total', app] > 0
    assert m['pgbouncer_databases', frozenset()] >= 1 and m['pgbouncer_used_servers', frozenset()] == 1
    assert [v for (n, have), v in m.items() if n == 'pgbouncer_pool_size' and have >= app] == [7]
