"""The shop on an event loop: asyncpg, its pool, aiohttp.

SPDX-License-Identifier: ISC
"""
import asyncio
import contextlib
import io
import json
import time

import asyncpg
from aiohttp import web

import common
from common import Problem

ITEM = 'sku, name, price, stock, version, updated_at'
CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class Database:
    """The pool, and the ways to use a connection of it."""

    def __init__(self, dsn):
        self.dsn, self.pool = dsn, None

    async def open(self):
        self.pool = await asyncpg.create_pool(
            self.dsn, min_size=1, max_size=common.POOL_SIZE, init=self.init,
            server_settings={'statement_timeout': common.STATEMENT_TIMEOUT})

    @staticmethod
    async def init(conn):
        await conn.set_type_codec('json', schema='pg_catalog', encoder=json.dumps, decoder=json.loads)

    def connection(self):
        return self.pool.acquire()

    @contextlib.asynccontextmanager
    async def transaction(self, isolation=None):
        async with self.pool.acquire() as conn, conn.transaction(isolation=isolation):
            yield conn

    async def run(self, fn, *args, isolation=None):
        """fn(connection, ...) in a transaction, again while it fails to serialize."""
        for attempt in range(common.ATTEMPTS):
            try:
                async with self.transaction(isolation) as conn:
                    return await fn(conn, *args)
            except CONFLICTS:
                await asyncio.sleep(common.backoff(attempt))
        raise Problem(503, 'too many conflicts')

    async def all(self, sql, *args, isolation=None):
        async def body(conn):
            return rows(await conn.fetch(sql, *args))
        return await self.run(body, isolation=isolation)

    async def one(self, sql, *args, isolation=None):
        found = await self.all(sql, *args, isolation=isolation)
        return found[0] if found else None


def rows(records):
    return [dict(r) for r in records]


def values(item, *keys):
    return [item.get(k) for k in keys]


class Shop:
    """One method for each route: takes a request, gives (status, answer)."""

    def __init__(self, db):
        self.db = db

    # ---- what operators ask

    async def health(self, _):
        start = time.monotonic()
        try:
            async with self.db.connection() as conn:
                name = await conn.fetchval('SELECT current_database()', timeout=10)
        except (asyncpg.PostgresError, OSError, asyncio.TimeoutError) as e:
            return 503, common.health('unhealthy', start, time.monotonic(), error=str(e))
        return 200, common.health('healthy', start, time.monotonic(), database=name)

    async def settings(self, _):
        return 200, await self.db.one(common.SETTINGS)

    async def audit(self, _):
        return 200, await self.db.one(common.AUDIT, isolation='repeatable_read')

    # ---- items

    async def item_create(self, request):
        try:
            return 201, await self.db.one(
                'INSERT INTO items (sku, name, price, stock) VALUES ($1, $2, $3, $4) RETURNING ' + ITEM,
                *values(request.json(), 'sku', 'name', 'price', 'stock'))
        except asyncpg.UniqueViolationError as e:
            raise Problem(409, 'exists', constraint=e.constraint_name) from e
        except asyncpg.CheckViolationError as e:
            raise Problem(422, 'invalid', constraint=e.constraint_name) from e

    async def item_list(self, _):
        return 200, await self.db.all('SELECT %s FROM items ORDER BY sku' % ITEM)

    async def item_get(self, request):
        item = await self.db.one('SELECT %s FROM items WHERE sku = $1' % ITEM, request.args['sku'])
        if not item:
            raise Problem(404, 'no such item')
        return 200, item

    async def item_update(self, request):
        """Only if nobody else was faster: optimistic locking by version."""
        item = await self.db.one(
            'UPDATE items SET name = coalesce($3, name), price = coalesce($4, price), '
            'stock = coalesce($5, stock), version = version + 1, updated_at = now() '
            'WHERE sku = $1 AND version = $2 RETURNING ' + ITEM,
            request.args['sku'], *values(request.json(), 'version', 'name', 'price', 'stock'))
        if not item:
            _, now = await self.item_get(request)
            raise Problem(409, 'conflict', version=now['version'])
        return 200, item

    async def item_delete(self, request):
        if not await self.db.one('DELETE FROM items WHERE sku = $1 RETURNING sku', request.args['sku']):
            raise Problem(404, 'no such item')
        return 204, None

    async def item_bulk(self, request):
        items = [values(i, 'sku', 'name', 'price', 'stock') for i in request.json()]
        async with self.db.connection() as conn:        # is a transaction by itself
            await conn.executemany('INSERT INTO items (sku, name, price, stock) VALUES ($1, $2, $3, $4)', items)
        return 201, {'inserted': len(items)}

    async def item_upsert(self, request):
        columns = zip(*[values(i, 'sku', 'name', 'price', 'stock') for i in request.json()])
        got = await self.db.all(
            'INSERT INTO items (sku, name, price, stock) '
            'SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::int[]) ON CONFLICT (sku) DO UPDATE '
            'SET name = excluded.name, price = excluded.price, stock = items.stock + excluded.stock, '
            'version = items.version + 1 RETURNING version', *map(list, columns))
        new = sum(r['version'] == 1 for r in got)
        return 200, {'inserted': new, 'updated': len(got) - new}

    async def item_import(self, request):
        try:
            async with self.db.connection() as conn:
                done = await conn.copy_to_table('items', source=io.BytesIO(request.body), format='csv', header=True,
                                                columns=['sku', 'name', 'price', 'stock'])
        except asyncpg.DataError as e:
            raise Problem(400, 'bad data', code=e.sqlstate) from e
        return 201, {'copied': int(done.split()[1])}

    async def item_export(self, _):
        out = io.BytesIO()
        async with self.db.connection() as conn:
            await conn.copy_from_query(common.EXPORT, output=out, format='csv', header=True)
        return 200, out.getvalue()

    # ---- orders

    async def customer_create(self, request):
        return 201, await self.db.one('INSERT INTO customers VALUES ($1, $2) '
                                      'ON CONFLICT (name) DO UPDATE SET credit = excluded.credit '
                                      'RETURNING name, credit', *values(request.json(), 'name', 'credit'))

    async def order_create(self, request):
        return 201, await self.db.run(self.place, request.json(), isolation='serializable')

    async def place(self, conn, order):
        lines = [dict(ln, price=await self.take(conn, ln)) for ln in order['lines']]
        total = sum(ln['qty'] * ln['price'] for ln in lines)
        who = await conn.fetchrow(
            'SELECT credit, (SELECT coalesce(sum(total), 0) FROM orders WHERE customer = name) AS spent '
            'FROM customers WHERE name = $1', order['customer']) or {'credit': None, 'spent': 0}
        common.check_order(total, who['spent'], who['credit'])
        return await self.store(conn, order['customer'], total, lines)

    @staticmethod
    async def take(conn, line):
        """Takes the goods off the shelf; their price."""
        item = await conn.fetchrow('SELECT price, stock FROM items WHERE sku = $1', line['sku'])
        if not item or item['stock'] < line['qty']:
            raise Problem(409, 'out of stock', sku=line['sku'])
        await conn.execute('UPDATE items SET stock = stock - $2 WHERE sku = $1', line['sku'], line['qty'])
        return item['price']

    @staticmethod
    async def store(conn, customer, total, lines):
        order = dict(await conn.fetchrow('INSERT INTO orders (customer, total) VALUES ($1, $2) '
                                         'RETURNING id, customer, total, status', customer, total))
        await conn.executemany('INSERT INTO lines VALUES ($1, $2, $3, $4)',
                               [(order['id'], ln['sku'], ln['qty'], ln['price']) for ln in lines])
        await conn.execute("SELECT pg_notify('orders', $1)", str(order['id']))
        return order

    async def order_lenient(self, request):
        """What cannot be had is left out: each line in a savepoint."""
        return 201, await self.db.run(self.place_what_is_there, request.json())

    async def place_what_is_there(self, conn, order):
        lines, skipped = [], []
        for ln in order['lines']:
            try:
                async with conn.transaction():
                    price = await conn.fetchval('UPDATE items SET stock = stock - $2 WHERE sku = $1 '
                                                'RETURNING price', ln['sku'], ln['qty'])
                    lines.append(dict(ln, price=price))
            except asyncpg.CheckViolationError:
                skipped.append(ln['sku'])
        total = sum(ln['qty'] * ln['price'] for ln in lines)
        return {**await self.store(conn, order['customer'], total, lines), 'skipped': skipped}

    async def order_list(self, _):
        return 200, await self.db.all(common.SUMMARY)

    async def order_get(self, request):
        number = int(request.args['id'])

        async def body(conn):
            order = await conn.fetchrow('SELECT id, customer, total, status FROM orders WHERE id = $1', number)
            lines = await conn.fetch('SELECT l.sku, i.name, l.qty, l.price FROM lines l JOIN items i USING (sku) '
                                     'WHERE order_id = $1 ORDER BY sku', number)
            return order and {**order, 'lines': rows(lines)}
        order = await self.db.run(body)
        if not order:
            raise Problem(404, 'no such order')
        return 200, order

    # ---- tenants

    @contextlib.asynccontextmanager
    async def as_tenant(self, request, setting):
        """A connection with the tenant set: for one transaction, or until it
        goes back to the pool, which resets it."""
        tenant = common.tenant_of(request)
        if request.per_session():
            async with self.db.connection() as conn:
                await conn.execute("SET %s = '%s'" % (setting, tenant))
                yield conn
            return
        async with self.db.transaction() as conn:
            await conn.execute('SELECT set_config($1, $2, true)', setting, tenant)
            yield conn

    async def note_add(self, request):
        async with self.as_tenant(request, 'app.tenant') as conn:
            return 201, dict(await conn.fetchrow('INSERT INTO notes (body) VALUES ($1) RETURNING tenant, body',
                                                 request.json()['body']))

    async def note_list(self, request):
        async with self.as_tenant(request, 'app.tenant') as conn:
            count = await conn.fetchval('SELECT count(*) FROM notes')
            return 200, {'count': count,
                         'notes': rows(await conn.fetch('SELECT tenant, body FROM notes ORDER BY body'))}

    async def pref_set(self, request):
        async with self.as_tenant(request, 'search_path') as conn:
            return 200, dict(await conn.fetchrow(
                'INSERT INTO prefs VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value '
                'RETURNING key, value', request.args['key'], request.json()['value']))

    async def pref_get(self, request):
        async with self.as_tenant(request, 'search_path') as conn:
            return 200, dict(await conn.fetchrow('SELECT key, value FROM prefs WHERE key = $1',
                                                 request.args['key']) or {})

    # ---- reports

    async def report_sales(self, request):
        if not request.per_session():
            async with self.db.transaction() as conn:
                await conn.execute('CREATE TEMP TABLE sales ON COMMIT DROP AS ' + common.SALES)
                return 200, rows(await conn.fetch(common.TOP_SALES))
        async with self.db.connection() as conn:
            await conn.execute('CREATE TEMP TABLE sales AS ' + common.SALES)
            try:
                await conn.execute('ANALYZE sales')
                return 200, rows(await conn.fetch(common.TOP_SALES))
            finally:
                await conn.execute('DROP TABLE sales')

    async def report_value(self, request):
        """Over all items, by a server-side cursor; one that outlives its
        transaction if asked for."""
        sql = 'SELECT price, stock FROM items ORDER BY sku'
        if request.per_session():
            async with self.db.connection() as conn:
                found = await self.held(conn, sql)
        else:
            async with self.db.transaction() as conn:
                found = [r['price'] * r['stock'] async for r in conn.cursor(sql, prefetch=50)]
        return 200, {'rows': len(found), 'value': sum(found)}

    @staticmethod
    async def held(conn, sql):
        found = []
        await conn.execute('DECLARE items_value CURSOR WITH HOLD FOR ' + sql)
        try:
            while True:
                more = await conn.fetch('FETCH 50 FROM items_value')
                if not more:
                    return found
                found += [r['price'] * r['stock'] for r in more]
        finally:
            await conn.execute('CLOSE items_value')

    async def report_explain(self, _):
        row = await self.db.one('EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM items ORDER BY sku')
        plan = row['QUERY PLAN'][0]
        return 200, {'rows': plan['Plan']['Actual Rows'], 'timed': 'Execution Time' in plan}

    # ---- too slow

    async def slow(self, request):
        try:
            async with self.impatient(request) as conn:
                await conn.execute('SELECT pg_sleep(2)')
        except asyncpg.QueryCanceledError as e:
            raise Problem(504, 'too slow', detail=e.message) from e
        return 200, {'slept': True}

    @contextlib.asynccontextmanager
    async def impatient(self, request):
        if request.per_session():
            async with self.db.connection() as conn:
                await conn.execute("SET statement_timeout = '50ms'")
                yield conn
            return
        async with self.db.transaction() as conn:
            await conn.execute("SET LOCAL statement_timeout = '50ms'")
            yield conn

    async def cancel(self, _):
        """asyncpg cancels by itself what takes too long."""
        try:
            async with self.db.transaction() as conn:
                await conn.execute('SELECT pg_sleep(10)', timeout=0.1)
        except asyncio.TimeoutError as e:
            raise Problem(504, 'cancelled', detail='canceling statement due to user request') from e
        return 200, {'slept': True}


# ---- HTTP -----------------------------------------------------------------------------

def adapter(fn):
    async def answer(http):
        request = common.Request(dict(http.match_info), dict(http.query), await http.read(),
                                 http.headers.get('X-Tenant'))
        try:
            status, got = await fn(request)
        except Problem as e:
            status, got = e.status, e.answer
        except asyncpg.PostgresError as e:
            status, got = 500, {'error': e.sqlstate, 'detail': str(e)}
        if status == 204:
            return web.Response(status=204)
        kind, data = common.encode(got)
        return web.Response(status=status, content_type=kind, body=data)
    return answer


async def serving(dsn, port):
    db = Database(dsn)
    await db.open()
    app = web.Application()
    for method, path, name in common.ROUTES:
        app.router.add_route(method, path, adapter(getattr(Shop(db), name)))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, '127.0.0.1', port).start()
    common.say_port(runner.addresses[0][1])
    await asyncio.Event().wait()


def serve(dsn, port):
    asyncio.run(serving(dsn, port))


# ---- the worker, the migrations ---------------------------------------------------------

async def working(dsn):
    """Hears of new orders and marks them as seen."""
    db = Database(dsn)
    await db.open()
    conn = await asyncpg.connect(dsn)
    heard = asyncio.Queue()
    await conn.add_listener('orders', lambda _conn, _pid, _channel, payload: heard.put_nowait(int(payload)))
    print('listening', flush=True)
    while True:
        await db.one("UPDATE orders SET status = 'seen' WHERE id = $1 RETURNING id", await heard.get())


def worker(dsn):
    asyncio.run(working(dsn))


async def migrating(dsn):
    """What is missing, under a lock of the session; how many steps."""
    conn = await asyncpg.connect(dsn)
    await conn.execute('SELECT pg_advisory_lock($1)', common.MIGRATION_LOCK)
    try:
        await conn.execute(common.VERSION_TABLE)
        have = await conn.fetchval('SELECT count(*) FROM schema_version')
        steps = common.MIGRATIONS[have:]
        for n, step in enumerate(steps, have + 1):
            async with conn.transaction():
                await conn.execute(step)
                await conn.execute('INSERT INTO schema_version VALUES ($1)', n)
    finally:
        kept = await conn.fetchval('SELECT pg_advisory_unlock($1)', common.MIGRATION_LOCK)
    if not kept:
        raise RuntimeError('the lock was lost on the way')
    await conn.close()
    return len(steps)


def migrate(dsn):
    return asyncio.run(migrating(dsn))


if __name__ == '__main__':
    common.main(serve, worker, migrate)
