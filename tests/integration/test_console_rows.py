"""What the console shows: columns and types beside PgBouncer's, numbers beside what clients
did, and thousands of clients.

SPDX-License-Identifier: ISC
"""
import os
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import pytest

import certs
import wire
from conftest import ROOT, db, free_port, ini, until
from wire import bind, describe, execute, parse, query, sync

# ---- columns and types ---------------------------------------------------------------------

TEXT, INT4, INT8, NUMERIC, BYTEA = 25, 23, 20, 1700, 17

SOCKET = [('type', TEXT), ('user', TEXT), ('database', TEXT), ('replication', TEXT), ('state', TEXT),
          ('addr', TEXT), ('port', INT4), ('local_addr', TEXT), ('local_port', INT4), ('connect_time', TEXT),
          ('request_time', TEXT), ('wait', INT4), ('wait_us', INT4), ('close_needed', INT4), ('ptr', TEXT),
          ('link', TEXT), ('remote_pid', INT4), ('tls', TEXT), ('application_name', TEXT),
          ('prepared_statements', INT4), ('id', INT4)]
BUFFER = [(n, INT4) for n in ('recv_pos', 'pkt_pos', 'pkt_remain', 'send_pos', 'send_remain', 'pkt_avail',
                              'send_avail')]


def ints(*names):
    return [(n, INT4) for n in names]


def texts(*names):
    return [(n, TEXT) for n in names]


# PgBouncer 1.25's; ours come behind them.
COLUMNS = {
    'POOLS': texts('database', 'user') + ints(
        'cl_active', 'cl_waiting', 'cl_active_cancel_req', 'cl_waiting_cancel_req', 'sv_active',
        'sv_active_cancel', 'sv_being_canceled', 'sv_idle', 'sv_used', 'sv_tested', 'sv_login', 'maxwait',
        'maxwait_us') + texts('pool_mode', 'load_balance_hosts'),
    'DATABASES': texts('name', 'host') + ints('port') + texts('database', 'force_user') + ints(
        'pool_size', 'min_pool_size', 'reserve_pool_size', 'server_lifetime') + texts(
        'pool_mode', 'load_balance_hosts') + ints('max_connections', 'current_connections',
                                                  'max_client_connections', 'current_client_connections',
                                                  'paused', 'disabled'),
    'CLIENTS': SOCKET, 'SERVERS': SOCKET, 'SOCKETS': SOCKET + BUFFER, 'ACTIVE_SOCKETS': SOCKET + BUFFER,
    'LISTS': [('list', TEXT), ('items', INT4)],
    'CONFIG': texts('key', 'value', 'default', 'changeable'),
    'USERS': texts('name', 'pool_size', 'reserve_pool_size', 'pool_mode') + ints(
        'max_user_connections', 'current_connections', 'max_user_client_connections',
        'current_client_connections'),
    'PEERS': [('peer_id', INT4), ('host', TEXT), ('port', INT4), ('pool_size', INT4)],
    'PEER_POOLS': ints('peer_id', 'cl_active_cancel_req', 'cl_waiting_cancel_req', 'sv_active_cancel',
                       'sv_login'),
    'FDS': [('fd', INT4), ('task', TEXT), ('user', TEXT), ('database', TEXT), ('addr', TEXT), ('port', INT4),
            ('cancel', INT8), ('link', INT4), ('client_encoding', TEXT), ('std_strings', TEXT),
            ('datestyle', TEXT), ('timezone', TEXT), ('password', TEXT), ('scram_client_key', BYTEA),
            ('scram_server_key', BYTEA)],
    'MEM': texts('name') + ints('size', 'used', 'free', 'memtotal'),
    'STATE': texts('key', 'value'),
    'DNS_HOSTS': [('hostname', TEXT), ('ttl', INT8), ('addrs', TEXT)],
    'DNS_ZONES': [('zonename', TEXT), ('serial', INT8), ('count', INT4)],
    'VERSION': texts('version'),
}
# Columns that came after Debian's PgBouncer 1.18, and what it calls otherwise.
LATER = {'replication', 'cl_active_cancel_req', 'cl_waiting_cancel_req', 'sv_active_cancel',
         'sv_being_canceled', 'load_balance_hosts', 'server_lifetime', 'max_client_connections',
         'current_client_connections', 'prepared_statements', 'id', 'pool_size', 'reserve_pool_size',
         'max_user_connections', 'current_connections', 'max_user_client_connections', 'application_name'}
EARLIER = {'cl_cancel_req', 'cl_waiting_cancel_req', 'reserve_pool'}
LISTS = ['databases', 'users', 'peers', 'pools', 'peer_pools', 'free_clients', 'used_clients',
         'login_clients', 'free_servers', 'used_servers', 'dns_names', 'dns_zones', 'dns_queries',
         'dns_pending']


def described(c, sql, extended=False):
    """[(name, type)] by the RowDescription."""
    c.send(parse(sql) + bind() + describe() + sync() if extended else query(sql))
    out = None
    while True:
        letter, body = c.read_raw()
        if letter == 'T':
            out, at = [], 2
            for _ in range(struct.unpack('!h', body[:2])[0]):
                end = body.index(b'\0', at)
                out.append((body[at:end].decode(), struct.unpack('!i', body[end + 7:end + 11])[0]))
                at = end + 19
        if letter == 'Z':
            return out


@pytest.fixture
def bouncer(base, pg):
    """Debian's PgBouncer before the same server: its port."""
    port = free_port()
    conf = '%s/bouncer-%d.ini' % (base, port)
    with open(conf, 'w') as f:
        f.write('[databases]\napp = host=127.0.0.1 port=%d user=app\n[pgbouncer]\n'
                'listen_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n'
                'admin_users = admin\n' % (pg.port, port))
    p = subprocess.Popen(['/usr/sbin/pgbouncer', conf], stderr=subprocess.DEVNULL, cwd='/',
                         user=None if os.geteuid() else 'nobody')

    def there():
        try:
            wire.Conn(port, user='admin', database='pgbouncer').close()
        except OSError:
            return False
        return True
    until(there, why='pgbouncer')
    yield port
    p.terminate()
    p.wait(20)


def test_columns(weir, pg):
    w = weir(ini({'app': db(pg, dbname='app')}))
    for extended in (False, True):
        with w.connect('admin', 'pgbouncer') as c:
            for what, want in COLUMNS.items():
                got = described(c, 'SHOW ' + what, extended)
                assert got[:len(want)] == want, what
                assert len({n for n, _ in got}) == len(got)


def test_columns_beside_pgbouncer(weir, pg, bouncer):
    """What Debian's PgBouncer shows has the same names, types and order here, but for what
    was added or renamed up to 1.25."""
    w = weir(ini({'app': db(pg, dbname='app')}))
    with wire.Conn(bouncer, user='admin', database='pgbouncer') as theirs, \
            w.connect('admin', 'pgbouncer') as ours:
        for what, mine in COLUMNS.items():
            if what in ('PEERS', 'PEER_POOLS', 'USERS', 'LISTS'):
                continue
            have = described(theirs, 'SHOW ' + what)
            if what == 'STATE':
                assert not have         # it came later
                continue
            got = described(ours, 'SHOW ' + what)
            common = [x for x in have if x[0] not in LATER | EARLIER and x[0] in dict(mine)]
            assert common == [x for x in got if x in common], what
            # all that it has is there, but for what 1.25 does not have either
            gone = {n for n, _ in have} - {n for n, _ in mine} - EARLIER
            assert gone <= {'password'} or what == 'FDS', (what, gone)


# ---- numbers -------------------------------------------------------------------------------

def rows(w, what, **match):
    return [r for r in w.console('SHOW ' + what) if all(r[k] == str(v) for k, v in match.items())]


@pytest.fixture(params=[1, 2])
def w(request, weir, pg):
    return weir(ini({'app': db(pg, dbname='app'), '*': db(pg)}, users={'other': 'pool_size=7'},
                    workers=request.param, default_pool_size=5, stats_users='viewer'))


def test_clients_and_servers(w, pg):
    """Idle, active and waiting clients, their servers, and who is linked to whom."""
    idle = w.connect('app', 'app', application_name='idle one')
    idle.sql('SELECT 1')
    busy = [w.connect('app', 'app', application_name='busy %d' % i) for i in range(5)]
    for c in busy:
        c.sql('BEGIN')
        c.sql('SELECT 1')
    late = w.connect('app', 'app')
    late.send(query('SELECT 1'))
    until(lambda: w.pool_waiting() == 1)
    cl = rows(w, 'CLIENTS', database='app')
    assert sorted(r['state'] for r in cl) == ['active'] * 5 + ['idle', 'waiting']
    assert all(r['type'] == 'C' and r['user'] == 'app' and r['addr'] == '127.0.0.1' for r in cl)
    assert all(r['local_addr'] == '127.0.0.1' and r['local_port'] == str(w.port) for r in cl)
    assert {r['port'] for r in cl} == {str(c.sock.getsockname()[1]) for c in [idle, late, *busy]}
    assert {r['application_name'] for r in cl} == {'idle one', '', *('busy %d' % i for i in range(5))}
    assert all(re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+', r['connect_time']) for r in cl)
    assert all(r['request_time'] >= r['connect_time'] for r in cl)
    assert all((r['link'] != '') == (r['state'] == 'active') for r in cl)
    assert all(r['auth_method'] == 'trust' and r['tls'] == '' for r in cl)
    assert all((r['node'] == '127.0.0.1:%d' % pg.port) == (r['link'] != '') for r in cl)
    waiting = [r for r in cl if r['state'] == 'waiting'][0]
    assert int(waiting['wait']) * 1000000 + int(waiting['wait_us']) > 0
    sv = rows(w, 'SERVERS', database='app')
    assert sorted(r['state'] for r in sv) == ['active'] * 5
    assert {(r['ptr'], r['link']) for r in sv} == {(r['link'], r['ptr']) for r in cl if r['link']}
    pids = {r[0] for r in pg.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app' "
                                 "AND backend_type = 'client backend'")}
    assert {r['remote_pid'] for r in sv} == {str(p) for p in pids}
    assert all(r['port'] == str(pg.port) and r['type'] == 'S' for r in sv)
    p = w.pool('app')
    assert (p['cl_active'], p['cl_waiting'], p['sv_active'], p['sv_idle']) == ('6', '1', '5', '0')
    for c in busy:
        c.sql('COMMIT')
    late.until('Z')
    until(lambda: w.pool('app')['sv_idle'] == '5')
    assert {r['state'] for r in rows(w, 'SERVERS', database='app')} == {'idle'}
    assert len({r['id'] for r in w.console('SHOW CLIENTS')}) == 8
    states = sorted(r['state'] for r in rows(w, 'SOCKETS', database='app'))
    assert states == ['idle'] * 7 + ['sv_idle'] * 5
    for c in [idle, late, *busy]:
        c.close()
    until(lambda: not rows(w, 'CLIENTS', database='app'))


def test_how_clients_came(weir, pg, base, tmp_path):
    """TLS, the method of the login, unix sockets and who is behind them."""
    os.chmod(tmp_path, 0o755)
    cert = certs.Authority(str(tmp_path), 'ca').server()
    users = tmp_path / 'users'
    users.write_text('"app" "app!"\n"admin" "admin!"\n')
    os.chmod(users, 0o644)
    here = tempfile.mkdtemp(prefix='u', dir=base)
    os.chmod(here, 0o777)
    w = weir(ini({'app': db(pg, dbname='app', user='app')}, auth_type='scram-sha-256', auth_file=users,
                 unix_socket_dir=here, client_tls_sslmode='allow', client_tls_key_file=cert.key,
                 client_tls_cert_file=cert.cert))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    with wire.Conn(w.port, user='app', secret='app!', tls=trusting), \
            wire.Conn(w.port, here, user='app', secret='app!'), \
            wire.Conn(w.port, user='admin', database='pgweir', secret='admin!') as c:
        names = [n for n, _ in described(c, 'SHOW CLIENTS')]
        got = [dict(zip(names, r)) for r in c.sql('SHOW CLIENTS')]
        assert [r['auth_method'] for r in got] == ['scram-sha-256'] * 3
        by_tls = [r for r in got if r['tls']]
        assert len(by_tls) == 1 and by_tls[0]['tls'].startswith('TLSv1.3/TLS_')
        local = [r for r in got if r['addr'] == 'unix']
        assert [(r['user'], r['remote_pid'], r['local_addr']) for r in local] == [('app', str(os.getpid()), 'unix')]
        assert local[0]['port'] == local[0]['local_port'] == [r for r in c.sql('SHOW CONFIG')
                                                              if r[0] == 'listen_port'][0][1]


def test_admins_are_clients(w):
    cl = w.console('SHOW CLIENTS')
    assert [(r['user'], r['database'], r['state']) for r in cl] == [('admin', 'pgweir', 'idle')]
    assert rows(w, 'POOLS', database='pgbouncer')[0]['cl_active'] == '1'
    assert rows(w, 'DATABASES', name='pgbouncer')[0]['current_client_connections'] == '1'


def test_prepared_statements(w):
    with w.connect('app', 'app') as c:
        for i in range(3):
            c.ask(parse('SELECT %d' % i, 'p%d' % i), bind(name='p%d' % i), execute(), sync())
        assert rows(w, 'CLIENTS', database='app')[0]['prepared_statements'] == '3'
        assert sum(int(r['prepared_statements']) for r in rows(w, 'SERVERS', database='app')) == 3


def test_databases_and_users(w):
    a = [w.connect('app', 'app') for _ in range(3)]
    b = w.connect('other', 'template1')
    a[0].sql('SELECT 1')
    b.sql('SELECT 1')
    d = {r['name']: r for r in w.console('SHOW DATABASES')}
    assert list(d) == ['app', '*', 'template1', 'pgbouncer']
    assert (d['app']['current_client_connections'], d['app']['current_connections']) == ('3', '1')
    assert (d['template1']['current_client_connections'], d['template1']['current_connections']) == ('1', '1')
    assert (d['app']['database'], d['app']['host'], d['app']['pool_size']) == ('app', '127.0.0.1', '5')
    assert (d['template1']['database'], d['*']['current_connections']) == ('template1', '0')
    until(lambda: rows(w, 'DATABASES', name='app')[0]['nodes_up'] == '1')
    u = rows(w, 'USERS', name='other')[0]
    assert (u['pool_size'], u['current_client_connections'], u['current_connections']) == ('7', '1', '1')
    n = {r['list']: int(r['items']) for r in w.console('SHOW LISTS')}
    assert list(n)[:len(LISTS)] == LISTS
    assert (n['used_clients'], n['used_servers'], n['login_clients'], n['pools']) == (5, 2, 0, 2)
    for c in [*a, b]:
        c.close()


def test_pins(w):
    """Why clients are bound, as SHOW PINS says it, and for no longer."""
    assert w.console('SHOW PINS') == []
    c = w.connect('app', 'app', application_name='listener')
    c.sql('LISTEN ears')
    until(lambda: rows(w, 'PINS'))
    r = rows(w, 'PINS')[0]
    assert (r['user'], r['database'], r['application_name']) == ('app', 'app', 'listener')
    assert 'LISTEN' in r['why']
    mine = rows(w, 'CLIENTS', id=r['id'])[0]
    assert mine['pinned'] == '1' and mine['link'] == r['link'] and mine['ptr'] == r['ptr']
    assert int(r['remote_pid']) == int(c.one('SELECT pg_backend_pid()'))
    c.sql('UNLISTEN *')
    until(lambda: w.console('SHOW PINS') == [])
    c.close()


@pytest.mark.parametrize('workers,ends', [(1, False), (2, False), (1, True)])
def test_cancels_are_counted(weir, workers, ends):
    """On their way, and where a server that has come free waits for one."""
    answer, hold = threading.Event(), threading.Event()

    def script(conn):
        try:
            if not conn.read_startup():
                hold.wait(20)       # a cancel that takes its time
                return
            conn.welcome()
            if server.is_probe(conn):
                return
        except wire.Closed:
            return                  # was ended by this test
        conn.expect_query('SELECT 1')
        answer.wait(20)
        conn.send(wire.result(), wire.ready())
        conn.wait_close()

    with wire.FakeServer(script, login=False) as server:
        w = weir(ini({'app': db(server)}, workers=workers, default_pool_size=1))

        def pool(**want):
            got = w.pool('app')
            return got and all(got[k] == str(v) for k, v in want.items())
        with w.connect('app', 'app') as c, wire.dial('127.0.0.1', w.port) as asker:
            until(lambda: pool(sv_idle=1))
            c.send(query('SELECT 1'))
            until(lambda: pool(sv_active=1, cl_active=1, cl_active_cancel_req=0, sv_active_cancel=0))
            until(lambda: server.seen)
            asker.sendall(wire.special(wire.CODE_CANCEL, struct.pack('!ii', *c.key)))
            until(lambda: pool(cl_active_cancel_req=1, sv_active_cancel=1, sv_active=1, sv_being_canceled=0))
            answer.set()
            c.until('Z')
            until(lambda: pool(sv_active=0, sv_idle=0, sv_being_canceled=1, sv_tested=0, sv_cleaning=1))
            assert [r['state'] for r in w.console('SHOW SERVERS')] == ['being_canceled']
            if ends:                # a server that goes is not one that waits
                for x in [x for x in server.conns if not x.is_cancel and not x.ended]:
                    x.sock.shutdown(socket.SHUT_RDWR)
                until(lambda: pool(sv_being_canceled=0, sv_cleaning=0, sv_total=0))
            hold.set()
            until(lambda: pool(sv_being_canceled=0, cl_active_cancel_req=0, sv_active_cancel=0,
                               sv_idle=0 if ends else 1))


def test_fds_have_no_secrets(w):
    with w.connect('app', 'app') as c:
        c.sql('BEGIN; SELECT 1')
        got = w.console('SHOW FDS')
        client = [r for r in got if r['task'] == 'client' and r['database'] == 'app'][0]
        server = [r for r in got if r['task'] == 'server'][0]
        assert client['link'] == server['fd'] and server['link'] == client['fd'] != '0'
        for r in got:
            assert r['cancel'] == '0'
            assert r['password'] is r['scram_client_key'] is r['scram_server_key'] is None


def test_peers(weir, pg):
    w = weir(ini({'app': db(pg, dbname='app')}, peer_id=1) +
             '[peers]\n2 = host=127.0.0.1 port=7001\n3 = host=/run/other pool_size=4\n')
    assert [list(r.values()) for r in w.console('SHOW PEERS')] == [
        ['2', '127.0.0.1', '7001', '20'], ['3', '/run/other', '6432', '4']]
    assert [list(r.values()) for r in w.console('SHOW PEER_POOLS')] == [['2'] + ['0'] * 4, ['3'] + ['0'] * 4]


def test_mem_and_state(w):
    m = {r['name']: r for r in w.console('SHOW MEM')}
    assert int(m['client_cache']['used']) == 1
    for r in m.values():
        assert int(r['memtotal']) == int(r['size']) * (int(r['used']) + int(r['free']))
    assert w.console('SHOW STATE') == [{'key': 'active', 'value': 'yes'}, {'key': 'paused', 'value': 'no'},
                                       {'key': 'suspended', 'value': 'no'}]


def test_nodes(weir, pg):
    """What was wrong with a node last, and when; zones and weights."""
    port = free_port()
    w = weir(ini({'app': 'host=127.0.0.1,127.0.0.1 port=%d,%d dbname=app zones=here,there weight=3,1' %
                  (pg.port, port)}, zone='here', health_check_interval='0.2'))
    until(lambda: [r['state'] for r in w.console('SHOW NODES')] == ['up', 'down'])
    good, bad = w.console('SHOW NODES')
    assert (good['zone'], good['near'], good['weight']) == ('here', 'yes', '3')
    assert (bad['zone'], bad['near'], bad['weight']) == ('there', 'no', '1')
    assert good['last_error'] is good['last_error_time'] is None
    assert 'port %d failed: Connection refused' % port in bad['last_error']
    assert re.match(r'\d{4}-\d\d-\d\d ', bad['last_error_time'])
    with w.connect('app', 'app') as c:
        c.sql('SELECT 1')
        assert int(w.console('SHOW NODES')[0]['login_us']) > 0


# ---- many ----------------------------------------------------------------------------------

MANY = 1500


def test_many_clients(weir, pg):
    """Each of thousands once, in pieces, whatever the client of the console does meanwhile; and
    queries run on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * MANY + 500), hard))
    w = weir(ini({'app': db(pg, dbname='app')}, workers=2, max_client_conn=3 * MANY,
                 max_client_logins=3 * MANY, log_connections=0, log_disconnections=0))
    clients = [w.connect('app', 'app', application_name='c%d' % i) for i in range(MANY)]
    want = {'c%d' % i for i in range(MANY)}
    try:
        got = rows(w, 'CLIENTS', database='app')
        assert len(got) == MANY and {r['application_name'] for r in got} == want
        assert {r['worker'] for r in got} == {'0', '1'}
        assert len({r['id'] for r in got}) == MANY
        # a few at a time, in a transaction of the extended protocol
        with w.connect('admin', 'pgweir') as c:
            c.ask(query('BEGIN'))
            c.ask(parse('SHOW CLIENTS'), bind(portal='p'), sync())
            seen = []
            while True:
                m = c.ask(execute('p', rows=100), sync())
                seen += [x[1][18] for x in m if x[0] == 'D']
                if m[-2][0] == 'C':
                    break
                if len(seen) == 500:        # some go meanwhile, and others come
                    for x in clients[:50]:
                        x.close()
                    clients[:50] = [w.connect('app', 'app', application_name='new') for _ in range(50)]
            left = [s for s in seen if s not in ('new', '')]
            assert len(left) == len(set(left)) and set(left) >= {'c%d' % i for i in range(50, MANY)}
        # one who asks and does not read, one who leaves in the middle, one who cancels
        slow = wire.Conn(w.port, user='admin', database='pgweir', rcvbuf=2048)
        slow.send(query('SHOW CLIENTS') * 20)
        for _ in range(20):
            x = w.connect('admin', 'pgweir')
            x.send(query('SHOW SOCKETS') * 3)
            x.close()
        for _ in range(10):
            with w.connect('admin', 'pgweir') as x:
                x.send(query('SHOW SOCKETS'))
                wire.cancel(w.port, x.key)
                end = x.until('Z', skip='NSTD')
                assert end[0][0] == 'C' or end[0][1]['C'] == '57014'
        assert clients[-1].sql('SELECT 1') == [['1']]
        n = sum(1 for _ in range(20) for m in slow.until('Z') if m[0] == 'D')
        assert n >= 20 * MANY
        slow.close()
    finally:
        for c in clients:
            c.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: not rows(w, 'CLIENTS', database='app'))


def test_many_servers(weir, pg):
    """More than come in one piece: each once."""
    w = weir(ini({'app': db(pg, dbname='app')}, workers=2, default_pool_size=75))
    clients = [w.connect('app', 'app') for _ in range(75)]
    for c in clients:
        c.hold()
    sv = w.console('SHOW SERVERS')
    assert len(sv) == 75 and len({r['remote_pid'] for r in sv}) == 75 and len({r['id'] for r in sv}) == 75
    assert {r['link'] for r in sv} == {r['ptr'] for r in rows(w, 'CLIENTS', database='app')}
    for c in clients:
        c.close()


def test_shutdown_while_it_shows(weir, pg):
    """A daemon that ends while rows are gathered leaves nothing behind (for ASan)."""
    for _ in range(3):
        w = weir(ini({'app': db(pg, dbname='app')}, workers=3))
        clients = [w.connect('app', 'app') for _ in range(100)]
        admins = [w.connect('admin', 'pgweir') for _ in range(5)]
        for a in admins:
            a.send(query('SHOW CLIENTS') * 50)
        w.proc.send_signal(signal.SIGQUIT)
        assert w.wait() == 0
        for c in clients + admins:
            c.close()


# ---- docs/console.md -----------------------------------------------------------------------

def test_the_page_names_every_column(weir, pg):
    """In order, and every SHOW of the list is on one of the pages."""
    w = weir(ini({'app': db(pg, dbname='app')}))
    with open(os.path.join(ROOT, 'docs', 'console.md')) as f:
        page = f.read()
    sections = dict(re.findall(r'^### (SHOW \w+)\n(.*?)(?=^### |\Z)', page, re.M | re.S))
    assert len(sections) >= 18
    with w.connect('admin', 'pgweir') as c:
        for sql, text in sections.items():
            names = re.findall(r'^\| (\w+) \|', text, re.M)
            assert names.pop(0) == 'column'
            got = [n for n, _ in described(c, sql)]
            assert names == (got[len(SOCKET):] if sql == 'SHOW SOCKETS' else got), sql
    pages = ''
    for name in os.listdir(os.path.join(ROOT, 'docs')):
        if name.endswith('.md'):
            with open(os.path.join(ROOT, 'docs', name)) as f:
                pages += f.read()
    for r in w.console('SHOW HELP'):
        if r['command'].startswith('SHOW '):
            assert re.search(r'\b%s\b' % r['command'], pages), r['command']
