"""The shop with threads: psycopg2, its ThreadedConnectionPool, http.server.

SPDX-License-Identifier: ISC
"""
import contextlib
import io
import re
import select
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg2
from psycopg2 import errors
from psycopg2.extras import RealDictCursor, execute_values
from psycopg2.pool import ThreadedConnectionPool

import common
from common import Problem

ITEM = 'sku, name, price, stock, version, updated_at'


class Database:
    """The pool, and the ways to use a connection of it."""

    def __init__(self, dsn):
        self.slots = threading.Semaphore(common.POOL_SIZE)   # getconn() does not wait
        self.pool = ThreadedConnectionPool(
            1, common.POOL_SIZE, dsn, cursor_factory=RealDictCursor,
            options='-c statement_timeout=' + common.STATEMENT_TIMEOUT)

    @contextlib.contextmanager
    def connection(self):
        with self.slots:
            conn = self.pool.getconn()
            try:
                yield conn
            finally:
                self.pool.putconn(conn)

    @contextlib.contextmanager
    def transaction(self, isolation=None):
        with self.connection() as conn:
            conn.isolation_level = isolation
            with conn, conn.cursor() as cur:
                yield cur

    @contextlib.contextmanager
    def autocommit(self):
        with self.connection() as conn:
            conn.autocommit = True
            try:
                with conn.cursor() as cur:
                    yield cur
            finally:
                if not conn.closed:
                    conn.autocommit = False

    def run(self, fn, *args, isolation=None):
        """fn(cursor, ...) in a transaction, again while it fails to serialize."""
        for attempt in range(common.ATTEMPTS):
            try:
                with self.transaction(isolation) as cur:
                    return fn(cur, *args)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                time.sleep(common.backoff(attempt))
        raise Problem(503, 'too many conflicts')

    def all(self, sql, args=(), isolation=None):
        def body(cur):
            cur.execute(sql, args)
            return cur.fetchall()
        return self.run(body, isolation=isolation)

    def one(self, sql, args=(), isolation=None):
        rows = self.all(sql, args, isolation)
        return rows[0] if rows else None


@contextlib.contextmanager
def savepoint(cur, name='line'):
    cur.execute('SAVEPOINT ' + name)
    try:
        yield
    except BaseException:
        cur.execute('ROLLBACK TO SAVEPOINT ' + name)
        raise
    else:
        cur.execute('RELEASE SAVEPOINT ' + name)


class Shop:
    """One method for each route: takes a request, gives (status, answer)."""

    def __init__(self, dsn):
        self.db = Database(dsn)

    # ---- what operators ask

    def health(self, _):
        start = time.monotonic()
        try:
            with self.db.autocommit() as cur:
                cur.execute('SELECT current_database() AS database')
                more = cur.fetchone()
        except psycopg2.Error as e:
            return 503, common.health('unhealthy', start, time.monotonic(), error=str(e))
        return 200, common.health('healthy', start, time.monotonic(), **more)

    def settings(self, _):
        return 200, self.db.one(common.SETTINGS)

    def audit(self, _):
        return 200, self.db.one(common.AUDIT, isolation='REPEATABLE READ')

    # ---- items

    def item_create(self, request):
        try:
            return 201, self.db.one('INSERT INTO items (sku, name, price, stock) VALUES '
                                    '(%(sku)s, %(name)s, %(price)s, %(stock)s) RETURNING ' + ITEM, request.json())
        except errors.UniqueViolation as e:
            raise Problem(409, 'exists', constraint=e.diag.constraint_name) from e
        except errors.CheckViolation as e:
            raise Problem(422, 'invalid', constraint=e.diag.constraint_name) from e

    def item_list(self, _):
        return 200, self.db.all('SELECT %s FROM items ORDER BY sku' % ITEM)

    def item_get(self, request):
        item = self.db.one('SELECT %s FROM items WHERE sku = %%s' % ITEM, (request.args['sku'],))
        if not item:
            raise Problem(404, 'no such item')
        return 200, item

    def item_update(self, request):
        """Only if nobody else was faster: optimistic locking by version."""
        change = {'name': None, 'price': None, 'stock': None, **request.json(), **request.args}
        item = self.db.one(
            'UPDATE items SET name = coalesce(%(name)s, name), price = coalesce(%(price)s, price), '
            'stock = coalesce(%(stock)s, stock), version = version + 1, updated_at = now() '
            'WHERE sku = %(sku)s AND version = %(version)s RETURNING ' + ITEM, change)
        if not item:
            _, now = self.item_get(request)
            raise Problem(409, 'conflict', version=now['version'])
        return 200, item

    def item_delete(self, request):
        if not self.db.one('DELETE FROM items WHERE sku = %s RETURNING sku', (request.args['sku'],)):
            raise Problem(404, 'no such item')
        return 204, None

    def item_bulk(self, request):
        def body(cur):
            items = request.json()
            execute_values(cur, 'INSERT INTO items (sku, name, price, stock) VALUES %s', items,
                           template='(%(sku)s, %(name)s, %(price)s, %(stock)s)', page_size=50)
            cur.executemany('UPDATE items SET updated_at = now() WHERE sku = %(sku)s', items[:5])
            return len(items)
        return 201, {'inserted': self.db.run(body)}

    def item_upsert(self, request):
        def body(cur):
            return execute_values(
                cur, 'INSERT INTO items (sku, name, price, stock) VALUES %s ON CONFLICT (sku) DO UPDATE '
                'SET name = excluded.name, price = excluded.price, stock = items.stock + excluded.stock, '
                'version = items.version + 1 RETURNING version', request.json(),
                template='(%(sku)s, %(name)s, %(price)s, %(stock)s)', fetch=True)
        rows = self.db.run(body)
        new = sum(r['version'] == 1 for r in rows)
        return 200, {'inserted': new, 'updated': len(rows) - new}

    def item_import(self, request):
        def body(cur):
            cur.copy_expert(common.COPY_IN, io.BytesIO(request.body))
            return cur.rowcount
        try:
            return 201, {'copied': self.db.run(body)}
        except psycopg2.DataError as e:
            raise Problem(400, 'bad data', code=e.pgcode) from e

    def item_export(self, _):
        out = io.BytesIO()
        with self.db.transaction() as cur:
            cur.copy_expert(common.COPY_OUT, out)
        return 200, out.getvalue()

    # ---- orders

    def customer_create(self, request):
        return 201, self.db.one('INSERT INTO customers VALUES (%(name)s, %(credit)s) '
                                'ON CONFLICT (name) DO UPDATE SET credit = excluded.credit '
                                'RETURNING name, credit', request.json())

    def order_create(self, request):
        return 201, self.db.run(self.place, request.json(), isolation='SERIALIZABLE')

    @staticmethod
    def place(cur, order):
        lines = [dict(ln, price=Shop.take(cur, ln)) for ln in order['lines']]
        total = sum(ln['qty'] * ln['price'] for ln in lines)
        cur.execute('SELECT credit, (SELECT coalesce(sum(total), 0) FROM orders WHERE customer = name) AS spent '
                    'FROM customers WHERE name = %s', (order['customer'],))
        who = cur.fetchone() or {'credit': None, 'spent': 0}
        common.check_order(total, who['spent'], who['credit'])
        return Shop.store(cur, order['customer'], total, lines)

    @staticmethod
    def take(cur, line):
        """Takes the goods off the shelf; their price."""
        cur.execute('SELECT price, stock FROM items WHERE sku = %(sku)s', line)
        item = cur.fetchone()
        if not item or item['stock'] < line['qty']:
            raise Problem(409, 'out of stock', sku=line['sku'])
        cur.execute('UPDATE items SET stock = stock - %(qty)s WHERE sku = %(sku)s', line)
        return item['price']

    @staticmethod
    def store(cur, customer, total, lines):
        cur.execute('INSERT INTO orders (customer, total) VALUES (%s, %s) '
                    'RETURNING id, customer, total, status', (customer, total))
        order = cur.fetchone()
        for ln in lines:
            cur.execute('INSERT INTO lines VALUES (%(id)s, %(sku)s, %(qty)s, %(price)s)', {**ln, **order, **ln})
        cur.execute("SELECT pg_notify('orders', %s)", (str(order['id']),))
        return order

    def order_lenient(self, request):
        """What cannot be had is left out: each line in a savepoint."""
        return 201, self.db.run(self.place_what_is_there, request.json())

    @staticmethod
    def place_what_is_there(cur, order):
        lines, skipped = [], []
        for ln in order['lines']:
            try:
                with savepoint(cur):
                    cur.execute('UPDATE items SET stock = stock - %(qty)s WHERE sku = %(sku)s RETURNING price', ln)
                    lines.append(dict(ln, price=cur.fetchone()['price']))
            except errors.CheckViolation:
                skipped.append(ln['sku'])
        total = sum(ln['qty'] * ln['price'] for ln in lines)
        return {**Shop.store(cur, order['customer'], total, lines), 'skipped': skipped}

    def order_list(self, _):
        return 200, self.db.all(common.SUMMARY)

    def order_get(self, request):
        def body(cur):
            cur.execute('SELECT id, customer, total, status FROM orders WHERE id = %(id)s', request.args)
            order = cur.fetchone()
            cur.execute('SELECT l.sku, i.name, l.qty, l.price FROM lines l JOIN items i USING (sku) '
                        'WHERE order_id = %(id)s ORDER BY sku', request.args)
            return order and {**order, 'lines': cur.fetchall()}
        order = self.db.run(body)
        if not order:
            raise Problem(404, 'no such order')
        return 200, order

    # ---- tenants

    @contextlib.contextmanager
    def as_tenant(self, request, setting):
        """A cursor with the tenant set: for one transaction, or for as long as
        this request has the connection."""
        tenant = common.tenant_of(request)
        if not request.per_session():
            with self.db.transaction() as cur:
                cur.execute('SET LOCAL %s = %%s' % setting, (tenant,))
                yield cur
            return
        with self.db.autocommit() as cur:
            cur.execute('SET %s = %%s' % setting, (tenant,))
            try:
                yield cur
            finally:
                cur.execute('RESET ' + setting)

    def note_add(self, request):
        with self.as_tenant(request, 'app.tenant') as cur:
            cur.execute('INSERT INTO notes (body) VALUES (%(body)s) RETURNING tenant, body', request.json())
            return 201, cur.fetchone()

    def note_list(self, request):
        with self.as_tenant(request, 'app.tenant') as cur:
            cur.execute('SELECT count(*) FROM notes')
            count = cur.fetchone()['count']
            cur.execute('SELECT tenant, body FROM notes ORDER BY body')
            return 200, {'count': count, 'notes': cur.fetchall()}

    def pref_set(self, request):
        with self.as_tenant(request, 'search_path') as cur:
            cur.execute('INSERT INTO prefs VALUES (%(key)s, %(value)s) ON CONFLICT (key) '
                        'DO UPDATE SET value = excluded.value RETURNING key, value',
                        {**request.args, **request.json()})
            return 200, cur.fetchone()

    def pref_get(self, request):
        with self.as_tenant(request, 'search_path') as cur:
            cur.execute('SELECT key, value FROM prefs WHERE key = %(key)s', request.args)
            return 200, cur.fetchone() or {}

    # ---- reports

    def report_sales(self, request):
        if not request.per_session():
            with self.db.transaction() as cur:
                cur.execute('CREATE TEMP TABLE sales ON COMMIT DROP AS ' + common.SALES)
                cur.execute(common.TOP_SALES)
                return 200, cur.fetchall()
        with self.db.autocommit() as cur:
            cur.execute('CREATE TEMP TABLE sales AS ' + common.SALES)
            try:
                cur.execute('ANALYZE sales')
                cur.execute(common.TOP_SALES)
                return 200, cur.fetchall()
            finally:
                cur.execute('DROP TABLE sales')

    def report_value(self, request):
        """Over all items, by a server-side cursor; one that outlives its
        transaction if asked for."""
        hold = request.per_session()
        with self.db.connection() as conn:
            with conn.cursor('items_value', withhold=hold) as cur:
                cur.itersize = 50
                cur.execute('SELECT price, stock FROM items ORDER BY sku')
                if hold:
                    conn.commit()
                values = [r['price'] * r['stock'] for r in cur]
            conn.commit()
        return 200, {'rows': len(values), 'value': sum(values)}

    def report_explain(self, _):
        plan = self.db.one('EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM items ORDER BY sku')['QUERY PLAN'][0]
        return 200, {'rows': plan['Plan']['Actual Rows'], 'timed': 'Execution Time' in plan}

    # ---- too slow

    def slow(self, request):
        try:
            with self.impatient(request) as cur:
                cur.execute('SELECT pg_sleep(2)')
        except errors.QueryCanceled as e:
            raise Problem(504, 'too slow', detail=e.diag.message_primary) from e
        return 200, {'slept': True}

    @contextlib.contextmanager
    def impatient(self, request):
        if not request.per_session():
            with self.db.transaction() as cur:
                cur.execute("SET LOCAL statement_timeout = '50ms'")
                yield cur
            return
        with self.db.autocommit() as cur:
            cur.execute("SET statement_timeout = '50ms'")
            try:
                yield cur
            finally:
                cur.execute('RESET statement_timeout')

    def cancel(self, _):
        """A watchdog cancels until the query has ended."""
        with self.db.transaction() as cur:
            ended = threading.Event()
            dog = threading.Thread(target=self.watchdog, args=(cur.connection, ended))
            dog.start()
            try:
                cur.execute('SELECT pg_sleep(10)')
            except errors.QueryCanceled as e:
                raise Problem(504, 'cancelled', detail=e.diag.message_primary) from e
            finally:
                ended.set()
                dog.join()
        return 200, {'slept': True}

    @staticmethod
    def watchdog(conn, ended):
        while not ended.wait(0.05):
            conn.cancel()


# ---- HTTP -----------------------------------------------------------------------------

def handler(shop):
    table = [(method, re.compile(re.sub(r'{(\w+)}', r'(?P<\1>[^/]+)', path) + '$'), getattr(shop, name))
             for method, path, name in common.ROUTES]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        disable_nagle_algorithm = True
        timeout = 60

        def answer(self):
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            for method, pattern, fn in table:
                m = pattern.match(url.path)
                if m and method == self.command:
                    args = {k: unquote(v) for k, v in m.groupdict().items()}
                    return fn(common.Request(args, dict(parse_qsl(url.query)), body,
                                             self.headers.get('X-Tenant')))
            raise Problem(404, 'no such page')

        def handle_any(self):
            try:
                status, answer = self.answer()
            except Problem as e:
                status, answer = e.status, e.answer
            except psycopg2.Error as e:
                status, answer = 500, {'error': e.pgcode, 'detail': str(e)}
            kind, data = common.encode(answer)
            if status == 204:
                data = b''
            self.send_response(status)
            self.send_header('Content-Type', kind)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_):
            pass
    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def serve(dsn, port):
    server = Server(('127.0.0.1', port), handler(Shop(dsn)))
    common.say_port(server.server_port)
    server.serve_forever()


# ---- the worker, the migrations ---------------------------------------------------------

def worker(dsn):
    """Hears of new orders and marks them as seen."""
    db = Database(dsn)
    conn = psycopg2.connect(dsn)
    conn.autocommit = True
    conn.cursor().execute('LISTEN orders')
    print('listening', flush=True)
    while True:
        select.select([conn], [], [])
        conn.poll()
        while conn.notifies:
            db.one("UPDATE orders SET status = 'seen' WHERE id = %s RETURNING id",
                   (int(conn.notifies.pop(0).payload),))


def migrate(dsn):
    """What is missing, under a lock of the session; how many steps."""
    conn = psycopg2.connect(dsn)
    conn.autocommit = True
    cur = conn.cursor()
    cur.execute('SELECT pg_advisory_lock(%s)', (common.MIGRATION_LOCK,))
    try:
        done = 0
        cur.execute(common.VERSION_TABLE)
        cur.execute('SELECT count(*) FROM schema_version')
        have = cur.fetchone()[0]
        for n, step in enumerate(common.MIGRATIONS[have:], have + 1):
            conn.autocommit = False
            with conn:
                cur.execute(step)
                cur.execute('INSERT INTO schema_version VALUES (%s)', (n,))
            conn.autocommit = True
            done += 1
    finally:
        cur.execute('SELECT pg_advisory_unlock(%s)', (common.MIGRATION_LOCK,))
        kept = cur.fetchone()[0]
    if not kept:
        raise RuntimeError('the lock was lost on the way')
    conn.close()
    return done


if __name__ == '__main__':
    common.main(serve, worker, migrate)
