"""A program as our users write them, tests/app: a shop over HTTP, in three
forms (threads with psycopg2, an event loop with asyncpg, an object-relational
mapper). It knows nothing of pgweir. Each form runs twice, on PostgreSQL itself
and through the daemon with fewer server connections than it has of its own, is
asked the same, and has to answer the same.

SPDX-License-Identifier: ISC
"""
import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import DIRECT, LIVE, ROOT, SLOW, Direct, Spawned, Weir, db, ini, run_threads, until

FORMS = ['sync', 'async', 'orm']
SCOPES = ['transaction', 'session']
TENANTS = ['acme', 'globex', 'initech']
CLIENTS = 8
SERVERS = 3


# ---- the program's processes --------------------------------------------------------------

class Process:
    """A form of the shop, started as `serve`, `worker` or `migrate`."""

    def __init__(self, form, what, dsn, logfile):
        self.logfile = logfile
        argv = [sys.executable, os.path.join(ROOT, 'tests', 'app', 'shop_%s.py' % form), what]
        env = {**os.environ, 'DATABASE_URL': dsn, 'PYTHONDONTWRITEBYTECODE': '1'}
        with open(logfile, 'ab') as err:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=err, env=env, cwd='/')
        self.show()

    def show(self):
        """In what is told of this test, should it fail."""
        LIVE.append((' '.join(self.proc.args[1:]), self.logfile, 0))

    def line(self, timeout=20):
        """The next line that it says."""
        got = b''
        end = time.monotonic() + timeout * SLOW
        while not got.endswith(b'\n'):
            left = max(0, end - time.monotonic())
            assert select.select([self.proc.stdout], [], [], left)[0], 'nothing said in %d s' % timeout
            more = os.read(self.proc.stdout.fileno(), 4096)
            assert more, 'ended without a word'
            got += more
        return got.decode().strip()

    def result(self, timeout=20):
        """(exit status, output)"""
        out, _ = self.proc.communicate(timeout=timeout * SLOW)
        return self.proc.returncode, out.decode().strip()

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
        self.proc.stdout.close()


class Api(Process):
    """The service and its clients: one connection for each thread."""

    def __init__(self, form, dsn, logfile):
        super().__init__(form, 'serve', dsn, logfile)
        self.form, self.dsn = form, dsn
        self.here = threading.local()
        self.port = None

    def wait_ready(self):
        self.port = int(self.line().split()[-1])

    def ask(self, method, path, body=None, tenant=None):
        """(status, answer)"""
        if not hasattr(self.here, 'conn'):
            self.here.conn = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30 * SLOW)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {'X-Tenant': tenant} if tenant else {}
        try:
            self.here.conn.request(method, path, data, headers)
            answer = self.here.conn.getresponse()
            got = answer.read()
        except BaseException:
            self.here.conn.close()
            raise
        if answer.getheader('Content-Type', '').startswith('application/json'):
            got = json.loads(got or b'null')
        return answer.status, got

    def want(self, status, method, path, body=None, **kw):
        """The answer, which must have this status."""
        got = self.ask(method, path, body, **kw)
        assert got[0] == status, '%s %s: %r' % (method, path, got)
        return got[1]


class Pair:
    """One form on PostgreSQL itself, and through the daemon."""

    def __init__(self, base, pg, form):
        self.pg, self.form, self.dir = pg, form, base
        self.weir, self.apis, self.databases = None, [], []

    def new_database(self, name):
        """An empty one; the forms have it one after the other."""
        name = 'shop_' + name
        if self.pg.sql("SELECT 1 FROM pg_database WHERE datname = '%s'" % name):
            self.pg.sql('DROP OWNED BY app CASCADE', database=name)
        else:
            self.pg.sql('CREATE DATABASE %s OWNER app' % name)
        return name

    def dsn(self, server, database):
        return 'postgresql://app@127.0.0.1:%d/%s' % (server.port, database)

    def spawn(self, what, dsn):
        return Process(self.form, what, dsn, '%s/%s-%s.log' % (self.dir, self.form, what))

    def start(self):
        # whoever needs a server for itself waits for one, if need be for the last
        conf = ini({'*': db(self.pg)}, default_pool_size=SERVERS, max_pinned_servers=SERVERS, workers=2)
        self.weir = Direct(conf) if DIRECT else Weir(self.dir, conf)
        for name, server in ('direct', self.pg), ('weir', self.weir):
            self.databases.append(self.new_database(name))
            # the schema is made directly: test_migrations is about that
            migration = self.spawn('migrate', self.dsn(self.pg, self.databases[-1]))
            assert migration.result() == (0, 'migrated 3 steps')
            log = '%s/%s-%s.log' % (self.dir, self.form, name)
            self.apis.append(Api(self.form, self.dsn(server, self.databases[-1]), log))
        for api in self.apis:
            api.wait_ready()

    def stop(self):
        for api in self.apis:
            api.stop()
        return self.weir.stop() if self.weir else []

    direct = property(lambda self: self.apis[0])
    pooled = property(lambda self: self.apis[1])

    def clean(self):
        for name in self.databases:
            self.pg.sql('TRUNCATE items, customers, orders, lines, notes, %s RESTART IDENTITY' %
                        ', '.join(t + '.prefs' for t in TENANTS), database=name)

    def both(self, scenario):
        """Asks both the same; what they answer must be the same, but for
        times and numbers."""
        a, b = [normal(scenario(api)) for api in self.apis]
        assert a == b


def normal(x):
    if isinstance(x, dict):
        return {k: '*' if k in ('id', 'updated_at', 'latency_ms', 'database') else normal(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [normal(v) for v in x]
    return x


@pytest.fixture(scope='module', params=FORMS)
def _pair(request, base, _pg):
    if _pg.proc.poll() is not None:
        _pg.start()
    pair = Pair(base, _pg, request.param)
    try:
        pair.start()
        yield pair
    finally:
        bad = pair.stop()
    if bad:
        pytest.fail('\n'.join('pgweir ' + b for b in bad) + '\n' + pair.weir.log()[-6000:], pytrace=False)


@pytest.fixture
def shop(_pair):
    if not DIRECT:
        LIVE.append(('pgweir', _pair.weir.logfile, os.path.getsize(_pair.weir.logfile)))
    for api in _pair.apis:
        api.show()
    _pair.clean()
    return _pair


# ---- one at a time ----------------------------------------------------------------------------

def item(n, price=10, stock=100):
    return {'sku': 'sku-%03d' % n, 'name': 'Ding Nr. %d, größer' % n, 'price': price, 'stock': stock}


def test_health(shop):
    def scenario(api):
        got = api.want(200, 'GET', '/health')
        assert got['status'] == 'healthy' and got['database'].startswith('shop_')
        assert 0 < got['latency_ms'] < 5000 * SLOW
        return got, api.want(200, 'GET', '/settings')
    shop.both(scenario)
    assert shop.pooled.want(200, 'GET', '/settings')['statement_timeout'] == '30s'


def test_items(shop):
    def scenario(api):
        seen = [api.want(201, 'POST', '/items', item(1)), api.want(200, 'GET', '/items/sku-001')]
        assert seen[0] == seen[1] == {**item(1), 'version': 1, 'updated_at': seen[0]['updated_at']}
        seen.append(api.want(409, 'POST', '/items', item(1)))
        seen.append(api.want(422, 'POST', '/items', item(2, price=-1)))
        seen.append(api.want(200, 'PATCH', '/items/sku-001', {'version': 1, 'price': 12}))
        assert (seen[-1]['price'], seen[-1]['version']) == (12, 2)
        seen.append(api.want(409, 'PATCH', '/items/sku-001', {'version': 1, 'price': 13}))
        assert seen[-1] == {'error': 'conflict', 'version': 2}
        seen.append(api.want(404, 'PATCH', '/items/sku-009', {'version': 1}))
        api.want(204, 'DELETE', '/items/sku-001')
        seen.append(api.want(404, 'DELETE', '/items/sku-001'))
        seen.append(api.want(404, 'GET', '/items/sku-001'))
        seen.append(api.want(200, 'GET', '/items'))
        assert seen[-1] == []
        return seen
    shop.both(scenario)


def test_bulk_and_upsert(shop):
    def scenario(api):
        assert api.want(201, 'POST', '/items/bulk', [item(n) for n in range(300)]) == {'inserted': 300}
        got = api.want(200, 'PUT', '/items/batch', [item(n, price=20, stock=1) for n in range(200, 400)])
        assert got == {'inserted': 100, 'updated': 100}
        items = api.want(200, 'GET', '/items')
        assert len(items) == 400
        assert sum(i['stock'] for i in items) == 300 * 100 + 200
        return items
    shop.both(scenario)


def csv(n):
    return b'sku,name,price,stock\n' + b''.join(b'c-%05d,thing,%d,7\n' % (i, i % 10) for i in range(n))


def test_import_and_export(shop):
    def scenario(api):
        assert api.want(201, 'POST', '/items/import', csv(5000)) == {'copied': 5000}
        bad = api.want(400, 'POST', '/items/import', csv(3).replace(b',1,', b',one,').replace(b'c-', b'd-'))
        assert bad == {'error': 'bad data', 'code': '22P02'}
        assert api.want(200, 'GET', '/items/export') == csv(5000)
        return api.want(200, 'GET', '/reports/explain')
    shop.both(scenario)
    assert shop.pooled.want(200, 'GET', '/reports/explain') == {'rows': 5000, 'timed': True}


def order(customer, *lines):
    return {'customer': customer, 'lines': [{'sku': 'sku-%03d' % n, 'qty': qty} for n, qty in lines]}


def test_orders(shop):
    def scenario(api):
        api.want(201, 'POST', '/items/bulk', [item(n, price=n, stock=10) for n in range(1, 6)])
        seen = [api.want(201, 'POST', '/customers', {'name': 'Ännchen', 'credit': 100})]
        first = api.want(201, 'POST', '/orders', order('Ännchen', (1, 2), (5, 10)))
        seen.append(api.want(409, 'POST', '/orders', order('Ännchen', (1, 1), (5, 1))))
        assert seen[-1] == {'error': 'out of stock', 'sku': 'sku-005'}
        seen.append(api.want(402, 'POST', '/orders', order('Ännchen', (3, 10), (4, 10))))
        seen.append(api.want(404, 'POST', '/orders', order('nobody', (3, 10))))
        # the savepoint of the second line fails, the order goes on
        seen.append(api.want(201, 'POST', '/orders/lenient', order('Ännchen', (4, 1), (5, 1), (2, 1))))
        assert (seen[-1]['skipped'], seen[-1]['total']) == (['sku-005'], 6)
        seen.append(api.want(200, 'GET', '/orders/%d' % first['id']))
        assert [ln['name'] for ln in seen[-1]['lines']] == [item(1)['name'], item(5)['name']]
        seen.append(api.want(404, 'GET', '/orders/0'))
        seen.append(api.want(200, 'GET', '/orders'))
        assert [len(o['lines']) for o in seen[-1]] == [2, 2]
        seen.append(api.want(200, 'GET', '/audit'))
        assert seen[-1] == {'stock': 36, 'least': 0, 'sold': 14, 'orders': 2, 'totals': 58, 'worth': 58,
                            'overdrawn': 0}
        return seen
    shop.both(scenario)


@pytest.mark.parametrize('scope', SCOPES)
def test_tenants(shop, scope):
    """SET LOCAL in a transaction; SET on a connection of the program's pool."""
    def scenario(api):
        for t in TENANTS:
            api.want(201, 'POST', '/notes?scope=' + scope, {'body': 'of ' + t}, tenant=t)
            api.want(200, 'PUT', '/prefs/color?scope=' + scope, {'value': 'as %s likes' % t}, tenant=t)
        seen = []
        for t in TENANTS:
            seen.append(api.want(200, 'GET', '/notes?scope=' + scope, tenant=t))
            assert seen[-1] == {'count': 1, 'notes': [{'tenant': t, 'body': 'of ' + t}]}
            seen.append(api.want(200, 'GET', '/prefs/color?scope=' + scope, tenant=t))
            assert seen[-1]['value'] == 'as %s likes' % t
        seen.append(api.want(200, 'GET', '/settings'))
        assert (seen[-1]['search_path'], seen[-1]['tenant']) == ('"$user", public', '')
        return seen
    shop.both(scenario)


@pytest.mark.parametrize('scope', SCOPES)
def test_reports(shop, scope):
    """A temporary table and a cursor, of the transaction and of the session."""
    def scenario(api):
        api.want(201, 'POST', '/items/bulk', [item(n, price=n, stock=10) for n in range(1, 301)])
        api.want(201, 'POST', '/customers', {'name': 'Bo', 'credit': 1000000})
        for n in range(1, 13):
            api.want(201, 'POST', '/orders', order('Bo', (n, 1), (100 - n, 2)))
        seen = [api.want(200, 'GET', '/reports/sales?scope=' + scope) for _ in range(2)]
        assert seen[0] == seen[1]
        assert seen[0][0] == {'sku': 'sku-099', 'sold': 2, 'worth': 198}
        seen.append(api.want(200, 'GET', '/reports/value?scope=' + scope))
        assert seen[-1] == {'rows': 300, 'value': 10 * sum(range(1, 301)) - sum(range(1, 13)) -
                            2 * sum(range(88, 100))}
        return seen
    shop.both(scenario)


@pytest.mark.parametrize('scope', SCOPES)
def test_statement_timeout(shop, scope):
    def scenario(api):
        seen = [api.ask('GET', '/slow?scope=' + scope) for _ in range(2)]
        assert seen[0] == seen[1] == (504, {'error': 'too slow',
                                            'detail': 'canceling statement due to statement timeout'})
        seen.append(api.want(200, 'GET', '/settings'))
        assert seen[-1]['statement_timeout'] == '30s'
        return seen
    shop.both(scenario)


def test_cancel(shop):
    def scenario(api):
        seen = [api.want(504, 'GET', '/cancel') for _ in range(2)]
        assert seen[0] == {'error': 'cancelled', 'detail': 'canceling statement due to user request'}
        return seen, api.want(200, 'GET', '/settings')
    shop.both(scenario)


# ---- many at once ------------------------------------------------------------------------------

def each(shop, fn):
    """fn(api) for the form that goes through the daemon and the one that does not."""
    for api in shop.apis:
        fn(api)


def test_one_of_many_updates_wins(shop):
    def body(api):
        api.want(201, 'POST', '/items', item(1))
        for version in range(1, 6):
            got = run_threads(CLIENTS, lambda i, v=version: api.ask(
                'PATCH', '/items/sku-001', {'version': v, 'price': 100 * v + i}))
            assert sorted(status for status, _ in got) == [200] + [409] * (CLIENTS - 1)
        assert api.want(200, 'GET', '/items/sku-001')['version'] == 6
    each(shop, body)


def buy(api, i, rounds):
    """Orders for what is scarce, and reads in between; the statuses of the orders."""
    got = []
    for j in range(rounds):
        lines = ((i + j) % 5, 1 + j % 2), ((i + 2 * j + 1) % 5 + 5, 1)
        path = '/orders/lenient' if j % 5 == 4 else '/orders'
        status, answer = api.ask('POST', path, order('c%d' % (j % 3), *sorted(lines)))
        assert status in (201, 402, 409), (status, answer)
        got.append(status)
        if j % 4 == 0:
            check(api.want(200, 'GET', '/audit'))
        api.want(200, 'GET', '/items/sku-%03d' % lines[0][0])
    return got


def check(audit):
    assert audit['least'] >= 0
    assert audit['stock'] + audit['sold'] == 10 * 30
    assert audit['totals'] == audit['worth']


def test_orders_at_once(shop):
    """Serializable transactions on a few rows: nothing is sold twice, no credit
    is overdrawn, every order that was confirmed is there."""
    def body(api):
        api.want(201, 'POST', '/items/bulk', [item(n, stock=30) for n in range(10)])
        for n, credit in enumerate((300, 900, 9000)):
            api.want(201, 'POST', '/customers', {'name': 'c%d' % n, 'credit': credit})
        got = [s for part in run_threads(CLIENTS, lambda i: buy(api, i, 10)) for s in part]
        audit = api.want(200, 'GET', '/audit')
        check(audit)
        assert audit['orders'] == got.count(201) == len(api.want(200, 'GET', '/orders'))
        assert 402 in got and 201 in got
        return audit
    each(shop, body)


def test_serializable_keeps_the_credit(shop):
    """Orders of one customer for different things: no row is written by two,
    only the sum that all have read tells them apart."""
    def body(api):
        api.want(201, 'POST', '/items/bulk', [item(n) for n in range(CLIENTS)])
        api.want(201, 'POST', '/customers', {'name': 'Cy', 'credit': 35})
        got = run_threads(CLIENTS, lambda i: api.ask('POST', '/orders', order('Cy', (i, 1)))[0])
        assert sorted(got) == [201] * 3 + [402] * (CLIENTS - 3)
        audit = api.want(200, 'GET', '/audit')
        assert (audit['orders'], audit['totals'], audit['overdrawn']) == (3, 30, 0)
    each(shop, body)


@pytest.mark.parametrize('scope', SCOPES)
def test_tenants_at_once(shop, scope):
    """No tenant ever sees what is another's."""
    def client(api, i):
        tenant = TENANTS[i % 3]
        for j in range(5):
            got = api.want(201, 'POST', '/notes?scope=' + scope, {'body': '%d.%d' % (i, j)}, tenant=tenant)
            assert got['tenant'] == tenant
            got = api.want(200, 'GET', '/notes?scope=' + scope, tenant=tenant)
            assert {n['tenant'] for n in got['notes']} == {tenant}
            assert sum(n['body'].startswith('%d.' % i) for n in got['notes']) == j + 1
            got = api.want(200, 'PUT', '/prefs/k%d?scope=%s' % (i, scope), {'value': str(j)}, tenant=tenant)
            got = api.want(200, 'GET', '/prefs/k%d?scope=%s' % (i, scope), tenant=tenant)
            assert got == {'key': 'k%d' % i, 'value': str(j)}
            # and who names no tenant has none
            assert api.want(200, 'GET', '/settings')['tenant'] == ''
    each(shop, lambda api: run_threads(CLIENTS, lambda i: client(api, i)))


def test_sessions_at_once(shop):
    """What belongs to a session (settings, temporary tables, held cursors),
    beside what belongs to none; all have the same few servers."""
    def client(api, i):
        for _ in range(5):
            if i % 4 == 0:
                assert api.ask('GET', '/slow?scope=session')[0] == 504
            elif i % 4 == 1:
                api.want(200, 'GET', '/reports/sales?scope=session')
            elif i % 4 == 2:
                assert api.want(200, 'GET', '/reports/value?scope=session')['rows'] == 120
            else:
                assert api.want(200, 'GET', '/settings')['statement_timeout'] == '30s'
                api.want(200, 'GET', '/reports/sales')
            api.want(200, 'GET', '/health')

    def body(api):
        api.want(201, 'POST', '/items/bulk', [item(n) for n in range(120)])
        run_threads(CLIENTS, lambda i: client(api, i))
    each(shop, body)


# ---- beside the service ------------------------------------------------------------------------

def test_worker_hears_of_orders(shop):
    """LISTEN in a process of its own; orders are announced when they commit."""
    def all_seen(api, n):
        orders = api.want(200, 'GET', '/orders')
        return len(orders) == n and {o['status'] for o in orders} == {'seen'}

    def client(api, i):
        for _ in range(3):
            api.want(201, 'POST', '/orders', order('Di', (i, 1)))
        api.want(409, 'POST', '/orders', order('Di', (i, 1000)))

    def body(api):
        api.want(201, 'POST', '/items/bulk', [item(n) for n in range(CLIENTS)])
        api.want(201, 'POST', '/customers', {'name': 'Di', 'credit': 10000})
        with contextlib.ExitStack() as stack:
            worker = shop.spawn('worker', api.dsn)
            stack.callback(worker.stop)
            assert worker.line() == 'listening'
            run_threads(CLIENTS, lambda i: client(api, i))
            until(lambda: all_seen(api, 3 * CLIENTS), 10, 0.05, 'the worker to have seen every order')
    each(shop, body)


def test_migrations_wait_for_each_other(shop):
    """One more than there are servers; a lock of the session lets one do the
    work. They are kept waiting in line until all are there: the last one is the
    next for the server on which the first one has taken the lock."""
    def body(name, server, count, ready):
        database = shop.new_database('migrated_' + name)
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(server.connect('app', database=database)) for _ in range(SERVERS)]
            for c in held:
                c.sql('BEGIN')
                c.sql('SELECT 1')
            them = [shop.spawn('migrate', shop.dsn(server, database)) for _ in range(count)]
            for p in them:
                stack.callback(p.stop)
            until(ready, why='all to wait')
            for c in held:
                c.sql('COMMIT')
            got = sorted(p.result() for p in them)
        assert got == [(0, 'migrated 0 steps')] * (count - 1) + [(0, 'migrated 3 steps')]
    body('direct', shop.pg, 2, lambda: True)
    if not DIRECT:
        body('weir', shop.weir, SERVERS + 1, lambda: shop.weir.pool_waiting() == SERVERS + 1)


# ---- servers that go away ------------------------------------------------------------------------

def backends(shop, where='true'):
    return "FROM pg_stat_activity WHERE datname = '%s' AND %s" % (shop.databases[1], where)


def stock_up(shop):
    shop.pooled.want(201, 'POST', '/items/bulk', [item(n) for n in range(50)])
    return shop.pooled


def read(api, rounds):
    for j in range(rounds):
        assert api.want(200, 'GET', '/health')['status'] == 'healthy'
        assert len(api.want(200, 'GET', '/items')) == 50
        assert api.want(200, 'GET', '/items/sku-%03d' % j)['stock'] == 100


@pytest.mark.weir_only
def test_killed_between_transactions(shop):
    """All servers are ended whenever no transaction runs: nobody notices."""
    api = stock_up(shop)
    for _ in range(6):
        run_threads(CLIENTS, lambda i: read(api, 4))
        ended = shop.pg.sql('SELECT pg_terminate_backend(pid), pid ' + backends(shop))
        assert ended
        left = backends(shop, 'pid IN (%s)' % ', '.join(pid for _, pid in ended))
        until(lambda w=left: shop.pg.one('SELECT count(*) ' + w) == '0', why='the servers to end')
    read(api, 4)


class Reader:
    """Reads until told to stop. After an error it asks again; each server can
    have been ended but once."""

    def __init__(self, api, sku, ended):
        self.paths = '/health', '/items', '/items/' + sku
        self.rounds = self.bad = 0
        self.thread = Spawned(self.run, api, ended)

    def run(self, api, ended):
        while not ended.is_set():
            for path in self.paths:
                self.read(api, path)
            self.rounds += 1

    def read(self, api, path):
        for _ in range(SERVERS):
            if api.ask('GET', path)[0] == 200:
                return
            self.bad += 1
        api.want(200, 'GET', path)


def kill_under(shop, readers):
    """Ends what is idle, then lets every reader go twice around."""
    before = [r.rounds for r in readers]
    killed = shop.pg.sql('SELECT pg_terminate_backend(pid) ' + backends(shop, "state = 'idle'"))
    until(lambda: all(r.rounds > n + 1 or not r.thread.is_alive() for r, n in zip(readers, before)),
          why='every reader to go on')
    return len(killed)


@pytest.mark.weir_only
def test_killed_under_load(shop):
    """Idle servers are ended at any moment: one that was given a query in that
    moment costs this query an error, and that is all."""
    api = stock_up(shop)
    ended = threading.Event()
    readers = [Reader(api, 'sku-%03d' % i, ended) for i in range(CLIENTS)]
    try:
        killed = sum(kill_under(shop, readers) for _ in range(10))
    finally:
        ended.set()
        for r in readers:
            r.thread.result()
    assert 0 < killed
    assert sum(r.bad for r in readers) <= killed
    read(api, 3)
