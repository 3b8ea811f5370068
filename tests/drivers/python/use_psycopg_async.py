"""psycopg 3, asynchronous connection.

SPDX-License-Identifier: ISC
"""
import asyncio

import psycopg
import psycopg_pool
from psycopg.types.json import Jsonb

import features
from dbapi import SHOW, settings
from features import ASLEEP, CASTS, RUN, SLEEP, VALUES, distinct, row, rows


def connect(**kw):
    return psycopg.AsyncConnection.connect(application_name='drv', **{'autocommit': True, **kw})


async def ask(c, text, *args):
    k = await c.execute(text, args or None)
    return await k.fetchall() if k.description else k.rowcount


async def one(c, text, *args):
    return (await ask(c, text, *args))[0][0]


async def f_connect():
    async with await connect() as c:
        return '%s %s %s' % (await one(c, 'SELECT current_user'), await one(c, 'SHOW application_name'),
                             c.info.encoding)


async def f_crud():
    async with await connect() as c:
        await c.execute('CREATE TABLE crud_%s (id serial PRIMARY KEY, a text)' % RUN)
        seen = [await one(c, 'INSERT INTO crud_' + RUN + ' (a) VALUES (%s) RETURNING id', a) for a in ('x', None, 'ü🐘')]
        seen.append(await ask(c, 'UPDATE crud_%s SET a = upper(a)' % RUN))
        seen.append(rows(await ask(c, 'SELECT * FROM crud_%s ORDER BY 1' % RUN)))
        await c.execute('DROP TABLE crud_%s' % RUN)
        return row(seen)


async def f_types():
    async with await connect() as c:
        values = [Jsonb(v) if isinstance(v, dict) else v for v in VALUES]
        return row((await ask(c, 'SELECT ' + ', '.join('%s::' + t for t in CASTS), *values))[0])


async def f_transactions():
    async with await connect() as c:
        await c.execute('CREATE TABLE tx_%s (a text)' % RUN)
        seen = []
        async with c.transaction():
            await c.execute('INSERT INTO tx_%s VALUES (1)' % RUN)
            try:
                async with c.transaction():
                    await c.execute('INSERT INTO tx_%s VALUES (2)' % RUN)
                    await c.execute('SELECT 1/0')
            except psycopg.errors.DivisionByZero as e:
                seen.append(e.sqlstate)
            async with c.transaction(force_rollback=True):
                await c.execute('INSERT INTO tx_%s VALUES (3)' % RUN)
            async with c.transaction():
                await c.execute('INSERT INTO tx_%s VALUES (4)' % RUN)
        seen.append(rows(await ask(c, 'SELECT a FROM tx_%s ORDER BY a' % RUN)))
        await c.execute('DROP TABLE tx_%s' % RUN)
        return row(seen)


async def f_prepared():
    async with await connect(prepare_threshold=0) as a, await connect(prepare_threshold=3) as b:
        total = 0
        for i in range(100):
            x, y = await asyncio.gather(one(a, 'SELECT %s::int * 2', i), one(b, 'SELECT %s::int * 3', i))
            total += x + y
        return total


async def f_pipeline():
    async with await connect() as c:
        async with c.pipeline():
            ks = [await c.execute('SELECT %s::int', (i,)) for i in range(200)]
            seen = [sum([(await k.fetchone())[0] for k in ks])]
        try:
            async with c.pipeline():
                await c.execute('SELECT * FROM nowhere')
                await c.execute('SELECT 2')
        except psycopg.errors.UndefinedTable as e:
            seen.append(e.sqlstate)
        seen.append(await one(c, 'SELECT 3'))
        return row(seen)


async def f_copy():
    async with await connect() as c, c.cursor() as k:
        await c.execute('CREATE TABLE copy_%s (i int, a text)' % RUN)
        async with k.copy('COPY copy_%s FROM STDIN (FORMAT BINARY)' % RUN) as copy:
            copy.set_types(['int4', 'text'])
            for i in range(3000):
                await copy.write_row((i, 'line %d' % i))
        size = 0
        async with k.copy('COPY copy_%s TO STDOUT' % RUN) as copy:
            async for data in copy:
                size += len(data)
        await c.execute('DROP TABLE copy_%s' % RUN)
        return size


async def f_cancel():
    async with await connect() as c, await connect() as d:
        async def sleep():
            try:
                await c.execute(SLEEP)
            except psycopg.errors.QueryCanceled as e:
                return str(e)
        t = asyncio.create_task(sleep())
        while not await one(d, ASLEEP):
            await asyncio.sleep(0.01)
        c.cancel()
        return '%s, %s' % (await t, await one(c, 'SELECT 1'))


async def f_notify():
    async with await connect() as a, await connect() as b:
        await a.execute('LISTEN ch_%s' % RUN)
        got = asyncio.get_running_loop().create_future()

        async def listen():
            async for n in a.notifies():
                got.set_result(n.payload)
                return
        t = asyncio.create_task(listen())
        await b.execute("NOTIFY ch_%s, 'hello'" % RUN)
        await asyncio.wait_for(t, 10)
        return got.result()


async def f_errors():
    async with await connect() as c:
        seen = []
        for text in 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)':
            try:
                await c.execute(text)
            except psycopg.Error as e:
                seen.append(e.sqlstate)
            seen.append(await one(c, 'SELECT 1'))
        return row(seen)


async def f_settings():
    async with await connect() as a, await connect() as b:
        for who, text in settings(a, b):
            await who.execute(text)
        got = [await asyncio.gather(ask(a, SHOW), ask(b, SHOW)) for _ in range(15)]
        return 'a: %s; b: %s' % (distinct(row(g[0][0]) for g in got), distinct(row(g[1][0]) for g in got))


async def f_temp():
    async with await connect() as a, await connect() as b:
        async with a.transaction():
            await a.execute('CREATE TEMP TABLE temp_%s (i int)' % RUN)
        seen = set()
        for i in range(10):
            await a.execute('INSERT INTO temp_' + RUN + ' VALUES (%s)', (i,))
            seen.add(await one(b, "SELECT to_regclass('temp_%s')" % RUN))
        return '%s, other: %s' % (await one(a, 'SELECT sum(i) FROM temp_%s' % RUN), seen)


async def f_locks():
    async with await connect() as a, await connect() as b:
        await a.execute("SELECT pg_advisory_lock(hashtext('%s'))" % RUN)
        seen = [await one(b, "SELECT pg_try_advisory_xact_lock(hashtext('%s'))" % RUN) for _ in range(5)]
        seen.append(await one(a, "SELECT pg_advisory_unlock(hashtext('%s'))" % RUN))
        seen.append(await one(b, "SELECT pg_try_advisory_xact_lock(hashtext('%s'))" % RUN))
        return row(seen)


async def f_pool():
    async with psycopg_pool.AsyncConnectionPool(kwargs={'application_name': 'drv'}, min_size=2, max_size=4) as p:
        async def work(i):
            async with p.connection() as c:
                return await one(c, 'SELECT %s::int', i)
        return sum(await asyncio.gather(*[work(i) for i in range(40)]))


if __name__ == '__main__':
    features.main('psycopg %s, async' % psycopg.__version__, globals())
