"""asyncpg, with its cache of statements and its pool.

SPDX-License-Identifier: ISC
"""
import asyncio
import io
import json

import asyncpg

import features
from dbapi import SHOW, settings
from features import ASLEEP, CASTS, RUN, SLEEP, VALUES, distinct, row, rows


async def connect(**kw):
    c = await asyncpg.connect(server_settings={'application_name': 'drv', **kw})
    await c.set_type_codec('jsonb', schema='pg_catalog', encoder=json.dumps, decoder=json.loads)
    return c


async def connect2():
    return await connect(), await connect()


async def close(*conns):
    for c in conns:
        await c.close()


async def f_connect():
    c = await connect()
    got = row(await c.fetchrow("SELECT current_user, current_database(), current_setting('application_name')"))
    got += ' %s %s' % (c.get_settings().client_encoding, c.get_server_version().major)
    await c.close()
    return got


async def f_options():
    a, b = await connect(search_path='pg_catalog', jit='off'), await connect(search_path='public', jit='on')
    got = [row(await x.fetchrow("SELECT current_setting('search_path'), current_setting('jit')"))
           for x in (a, b) * 10]
    await close(a, b)
    return '%s, %s' % (distinct(got[::2]), distinct(got[1::2]))


async def f_crud():
    c = await connect()
    await c.execute('CREATE TABLE crud_%s (id serial PRIMARY KEY, a text)' % RUN)
    seen = [await c.fetchval('INSERT INTO crud_%s (a) VALUES ($1) RETURNING id' % RUN, a) for a in ('x', None, 'ü🐘')]
    seen.append(await c.execute('UPDATE crud_%s SET a = upper(a) WHERE id <> $1' % RUN, 2))
    seen.append(rows(await c.fetch('SELECT * FROM crud_%s ORDER BY 1' % RUN)))
    await c.execute('DROP TABLE crud_%s' % RUN)
    await c.close()
    return row(seen)


async def f_types():
    c = await connect()
    got = row(await c.fetchrow('SELECT ' + ', '.join('$%d::%s' % (i + 1, t) for i, t in enumerate(CASTS)), *VALUES))
    await c.close()
    return got


async def f_transactions():
    c = await connect()
    await c.execute('CREATE TABLE tx_%s (a text)' % RUN)
    seen = []
    async with c.transaction(isolation='serializable'):
        await c.execute("INSERT INTO tx_%s VALUES ('1')" % RUN)
        try:
            async with c.transaction():
                await c.execute("INSERT INTO tx_%s VALUES ('2')" % RUN)
                await c.fetchval('SELECT 1/0')
        except asyncpg.DivisionByZeroError as e:
            seen.append(e.sqlstate)
        await c.execute("INSERT INTO tx_%s VALUES ('3')" % RUN)
        seen.append(await c.fetchval('SHOW transaction_isolation'))
    try:
        async with c.transaction():
            await c.execute("INSERT INTO tx_%s VALUES ('4')" % RUN)
            raise ValueError
    except ValueError:
        pass
    seen.append(rows(await c.fetch('SELECT a FROM tx_%s ORDER BY a' % RUN)))
    await c.execute('DROP TABLE tx_%s' % RUN)
    await c.close()
    return row(seen)


async def f_prepared():
    """Named statements and the cache; more of them than the cache holds."""
    a, b = await connect2()
    st = await a.prepare('SELECT $1::int * 10')
    total = 0
    for i in range(150):
        total += await st.fetchval(i) + await b.fetchval('SELECT $1::int * 3', i)
        total += await b.fetchval('SELECT $1::int + %d' % i, i)
    total = '%d %s' % (total, row(p.name for p in st.get_parameters()))
    await close(a, b)
    return total


async def f_reload():
    """A type created after connecting: the driver asks the catalogue, in a
    statement of its own between Parse and Bind."""
    c, d = await connect2()
    await c.execute("DROP TYPE IF EXISTS mood_%s; CREATE TYPE mood_%s AS ENUM ('glad', 'sad')" % (RUN, RUN))
    await c.execute('CREATE TYPE pair_%s AS (a int, b text)' % RUN)
    got = [await x.fetchval("SELECT ARRAY[ROW($1::mood_%s::text::int4, 'x')::pair_%s]" % (RUN, RUN), None)
           for x in (d,)]
    got.append(await d.fetchval('SELECT $1::mood_%s[]' % RUN, ['sad', 'glad']))
    await c.execute('DROP TYPE mood_%s; DROP TYPE pair_%s' % (RUN, RUN))
    await close(c, d)
    return rows([[got[0][0]['b'], got[1]]])


async def f_schema():
    """A table that changes under cached statements."""
    c, d = await connect2()
    await c.execute('CREATE TABLE ch_%s (a int)' % RUN)
    await c.execute('INSERT INTO ch_%s VALUES (1)' % RUN)
    seen = [row(await c.fetchrow('SELECT * FROM ch_%s' % RUN))]
    await d.execute('ALTER TABLE ch_%s ADD b int DEFAULT 2' % RUN)
    for _ in range(3):
        try:
            seen.append(row(await c.fetchrow('SELECT * FROM ch_%s' % RUN)))
            break
        except asyncpg.InvalidCachedStatementError as e:
            seen.append(e.sqlstate)
    await c.execute('DROP TABLE ch_%s' % RUN)
    await close(c, d)
    return seen[0] + ' ' + seen[-1]


async def f_batch():
    c = await connect()
    await c.execute('CREATE TABLE batch_%s (i int PRIMARY KEY, a text)' % RUN)
    await c.executemany('INSERT INTO batch_%s VALUES ($1, $2)' % RUN, [(i, 'v%d' % i) for i in range(2000)])
    try:
        await c.executemany('INSERT INTO batch_%s VALUES ($1, $2)' % RUN, [(i, '') for i in (3000, 3001, 7)])
    except asyncpg.UniqueViolationError as e:
        seen = [e.sqlstate]
    seen.append(await c.fetchval('SELECT count(*) FROM batch_%s' % RUN))
    await c.execute('DROP TABLE batch_%s' % RUN)
    await c.close()
    return row(seen)


async def f_cursor():
    c, d = await connect2()
    n = 0
    async with c.transaction():
        async for r in c.cursor('SELECT i FROM generate_series(1, 500) i', prefetch=20):
            n += r[0]
            if r[0] % 50 == 0:
                await d.fetchval('SELECT 1')
        k = await c.cursor('SELECT i FROM generate_series(1, $1::int) i', 100)
        await k.forward(10)
        n += sum(r[0] for r in await k.fetch(5))
    await close(c, d)
    return n


async def f_copy():
    c = await connect()
    await c.execute('CREATE TABLE copy_%s (i int, a text)' % RUN)
    await c.copy_records_to_table('copy_' + RUN, records=[(i, 'c%d' % i) for i in range(5000)])
    out = io.BytesIO()
    seen = [await c.copy_from_query('SELECT * FROM copy_%s WHERE i < $1' % RUN, 4000, output=out)]
    seen.append(len(out.getvalue()))
    try:
        await c.copy_to_table('copy_' + RUN, source=io.BytesIO(b'a\tb\n' * 100000))
    except asyncpg.InvalidTextRepresentationError as e:
        seen.append(e.sqlstate)
    seen.append(await c.fetchval('SELECT count(*) FROM copy_%s' % RUN))
    await c.execute('DROP TABLE copy_%s' % RUN)
    await c.close()
    return row(seen)


async def f_cancel():
    """A timeout sends a cancel; so does the end of a task."""
    c, d = await connect2()
    seen = []
    try:
        await c.fetch('SELECT pg_sleep(20)', timeout=0.2)
    except asyncio.TimeoutError:
        seen.append('timeout')
    seen.append(await c.fetchval('SELECT 1'))
    t = asyncio.create_task(c.fetch(SLEEP))
    while not await d.fetchval(ASLEEP):
        await asyncio.sleep(0.01)
    t.cancel()
    try:
        await t
    except asyncio.CancelledError:
        seen.append('cancelled')
    seen.append(await c.fetchval('SELECT 2'))
    await close(c, d)
    return row(seen)


async def f_notify():
    a, b = await connect2()
    seen = asyncio.Queue()
    await a.add_listener('ch_' + RUN, lambda c, pid, ch, payload: seen.put_nowait(payload))
    got = []
    for i in range(3):
        await b.execute("SELECT pg_notify('ch_%s', $1)" % RUN, 'n%d' % i)
        got.append(await asyncio.wait_for(seen.get(), 10))
    await a.reset()
    await b.execute('NOTIFY ch_%s' % RUN)
    got.append(await a.fetchval('SELECT 1'))
    await close(a, b)
    return '%s, after: %d' % (row(got), seen.qsize())


async def f_errors():
    c = await connect()
    seen = []
    for text in 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)':
        for call in c.fetch, c.execute:
            try:
                await call(text)
            except asyncpg.PostgresError as e:
                seen.append(e.sqlstate)
        seen.append(await c.fetchval('SELECT 1'))
    await c.close()
    return row(seen)


async def f_settings():
    a, b = await connect2()
    for who, text in settings(a, b):
        await who.execute(text)
    got = [(await a.fetchrow(SHOW), await b.fetchrow(SHOW)) for _ in range(15)]
    await a.reset()
    after = [await a.fetchrow(SHOW) for _ in range(5)]
    await close(a, b)
    return 'a: %s; b: %s; after reset: %s' % (distinct(row(g[0]) for g in got), distinct(row(g[1]) for g in got),
                                              distinct(row(g) for g in after))


async def f_temp():
    a, b = await connect2()
    await a.execute('CREATE TEMP TABLE temp_%s (i int)' % RUN)
    seen = set()
    for i in range(10):
        await a.execute('INSERT INTO temp_%s VALUES ($1)' % RUN, i)
        seen.add(await b.fetchval("SELECT to_regclass('temp_%s')::text" % RUN))
    got = await a.fetchval('SELECT sum(i) FROM temp_%s' % RUN)
    await close(a, b)
    return '%s, other: %s' % (got, seen)


async def f_locks():
    a, b = await connect2()
    await a.execute("SELECT pg_advisory_lock(hashtext($1))", RUN)
    seen = [await b.fetchval('SELECT pg_try_advisory_xact_lock(hashtext($1))', RUN) for _ in range(5)]
    await a.reset()
    seen.append(await b.fetchval('SELECT pg_try_advisory_xact_lock(hashtext($1))', RUN))
    await close(a, b)
    return row(seen)


async def f_pool():
    """Its pool, which sends a reset query at each release."""
    async def work(pool, i):
        async with pool.acquire() as c, c.transaction():
            return await c.fetchval('SELECT $1::int', i)
    async with asyncpg.create_pool(min_size=2, max_size=4, server_settings={'application_name': 'drv'}) as pool:
        return sum(await asyncio.gather(*[work(pool, i) for i in range(60)]))


if __name__ == '__main__':
    features.main('asyncpg ' + asyncpg.__version__, globals())
