"""The drivers that people use, in transaction pooling: the Python programs of
the matrix (docs/drivers.md), and what is asked of psycopg2, psycopg 3 and
asyncpg beyond that.

SPDX-License-Identifier: ISC
"""
import asyncio
import io
import os
import sys
import threading

import asyncpg
import psycopg
import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest

from conftest import ROOT, SLOW, db, ini, run_threads, until

sys.path.insert(0, os.path.join(ROOT, 'tests', 'drivers'))
import matrix  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(params=[1, 2])
def w(request, weir, pg):
    pg.sql('TRUNCATE t')
    return weir(ini({'app': db(pg)}, default_pool_size=2, workers=request.param))


# ---- the matrix --------------------------------------------------------------------------------

@pytest.mark.parametrize('driver', [d for d in matrix.DRIVERS if d.python], ids=lambda d: d.key)
def test_matrix(weir, pg, driver):
    """What a driver sees through pgweir is what PostgreSQL shows it."""
    assert not driver.absent()
    ref = matrix.direct(driver, pg.port, timeout=60 * SLOW)
    assert not ref.trouble()
    w = weir(ini({'app': db(pg)}, default_pool_size=matrix.POOL, workers=2))
    for got in matrix.proxied(driver, w.port, timeout=60 * SLOW):
        assert matrix.compare(ref, got) == {}


# ---- psycopg2 ------------------------------------------------------------------------------

def test_psycopg2_crud(w):
    c = psycopg2.connect(w.dsn())
    with c, c.cursor() as k:
        k.execute('INSERT INTO t (a) VALUES (%s), (%s) RETURNING id', ('x', None))
        ids = [r[0] for r in k.fetchall()]
        k.execute('UPDATE t SET a = %s WHERE id = %s', ('Grüße', ids[1]))
        assert k.rowcount == 1
        k.execute('SELECT a FROM t ORDER BY id')
        assert k.fetchall() == [('x',), ('Grüße',)]
        k.execute('DELETE FROM t')
        assert k.rowcount == 2
    c.close()


def test_psycopg2_transactions_and_savepoints(w):
    c = psycopg2.connect(w.dsn())
    k = c.cursor()
    k.execute("INSERT INTO t (a) VALUES ('kept')")
    k.execute('SAVEPOINT s')
    with pytest.raises(psycopg2.errors.DivisionByZero):
        k.execute('SELECT 1/0')
    k.execute('ROLLBACK TO SAVEPOINT s')
    k.execute('SELECT count(*) FROM t')
    assert k.fetchone() == (1,)
    c.rollback()
    k.execute('SELECT count(*) FROM t')
    assert k.fetchone() == (0,)
    c.commit()
    with pytest.raises(psycopg2.errors.UndefinedTable):
        k.execute('SELECT * FROM nowhere')
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        k.execute('SELECT 1')
    c.rollback()
    c.close()


def test_psycopg2_isolation_levels(w):
    c = psycopg2.connect(w.dsn())
    c.set_session(isolation_level='SERIALIZABLE', readonly=True)
    with c, c.cursor() as k:
        k.execute('SHOW transaction_isolation')
        assert k.fetchone() == ('serializable',)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            k.execute("INSERT INTO t (a) VALUES ('no')")
    c.close()


def test_psycopg2_copy(w):
    c = psycopg2.connect(w.dsn())
    k = c.cursor()
    k.copy_expert('COPY t (a) FROM STDIN', io.StringIO(''.join('row %d\n' % i for i in range(5000))))
    c.commit()
    out = io.StringIO()
    k.copy_expert('COPY t (a) TO STDOUT', out)
    assert out.getvalue().count('\n') == 5000
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
        k.copy_expert('COPY kv FROM STDIN', io.StringIO('a\tb\n' * 100000))
    c.rollback()
    k.execute('SELECT 1')
    assert k.fetchone() == (1,)
    c.close()


def test_psycopg2_server_side_cursor(w):
    c = psycopg2.connect(w.dsn())
    with c, c.cursor('named') as k:
        k.itersize = 100
        k.execute('SELECT i FROM generate_series(1, 1000) i')
        assert sum(r[0] for r in k) == 500500
    c.close()


def test_psycopg2_autocommit_and_execute_values(w):
    c = psycopg2.connect(w.dsn())
    c.autocommit = True
    k = c.cursor()
    psycopg2.extras.execute_values(k, 'INSERT INTO t (a) VALUES %s', [('v%d' % i,) for i in range(2500)])
    k.execute('SELECT count(*) FROM t')
    assert k.fetchone() == (2500,)
    c.close()


def test_psycopg2_cancel(w):
    c = psycopg2.connect(w.dsn())
    k = c.cursor()
    t = threading.Timer(0.3, c.cancel)
    t.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        k.execute('SELECT pg_sleep(20)')
    c.rollback()
    k.execute('SELECT 1')
    c.close()


def test_psycopg2_statement_timeout(w):
    c = psycopg2.connect(w.dsn())
    k = c.cursor()
    k.execute("SET LOCAL statement_timeout = '100ms'")
    with pytest.raises(psycopg2.errors.QueryCanceled):
        k.execute('SELECT pg_sleep(20)')
    c.rollback()
    k.execute('SHOW statement_timeout')
    assert k.fetchone() == ('0',)
    c.close()


def test_psycopg2_many_threads(w):
    def body(i):
        c = psycopg2.connect(w.dsn())
        for j in range(30):
            with c, c.cursor() as k:
                k.execute('SELECT %s, %s', (i, j))
                assert k.fetchone() == (i, j)
        c.close()
    run_threads(10, body)


def test_psycopg2_notices_and_encoding(w):
    c = psycopg2.connect(w.dsn())
    c.set_client_encoding('LATIN1')
    k = c.cursor()
    k.execute('SELECT %s', ('Grüße',))
    assert k.fetchone() == ('Grüße',)
    k.execute("DO $$BEGIN RAISE NOTICE 'psst'; END$$")
    c.commit()
    assert any('psst' in n for n in c.notices)
    # another client is not touched by the encoding
    d = psycopg2.connect(w.dsn())
    l = d.cursor()
    l.execute('SHOW client_encoding')
    assert l.fetchone() == ('UTF8',)
    c.close()
    d.close()


# ---- psycopg 3 --------------------------------------------------------------------------------

def test_psycopg_crud_and_blocks(w):
    with psycopg.connect(w.dsn()) as c:
        with c.transaction():
            c.execute("INSERT INTO t (a) VALUES (%s)", ('outer',))
            with pytest.raises(psycopg.errors.DivisionByZero), c.transaction():
                c.execute("INSERT INTO t (a) VALUES ('inner')")
                c.execute('SELECT 1/0')
        assert c.execute('SELECT a FROM t').fetchall() == [('outer',)]


@pytest.mark.parametrize('threshold', [0, 5])
def test_psycopg_prepared(w, threshold):
    """It prepares by itself, at once or from the fifth time; servers change
    between transactions."""
    cs = [psycopg.connect(w.dsn(), autocommit=True) for _ in range(5)]
    for c in cs:
        c.prepare_threshold = threshold
    for i in range(15):
        for n, c in enumerate(cs):
            assert c.execute('SELECT %s::int + %s::int', (i, n)).fetchone() == (i + n,)
            assert c.execute('SELECT %s::text', ('t%d' % i,)).fetchone() == ('t%d' % i,)
    for c in cs:
        c.close()


def test_psycopg_prepared_then_deallocated(w):
    """More statements than it keeps: it sends DEALLOCATE by SQL."""
    with psycopg.connect(w.dsn(), autocommit=True) as c:
        c.prepare_threshold = 0
        c.prepared_max = 3
        for rnd in range(3):
            for i in range(8):
                assert c.execute('SELECT %%s::int + %d' % i, (rnd,)).fetchone() == (rnd + i,)


def test_psycopg_binary(w):
    with psycopg.connect(w.dsn()) as c:
        k = c.cursor(binary=True)
        assert k.execute("SELECT %s::int8, %s::float8, %s::bytea", (2 ** 40, 1.5, b'\0\xff')).fetchone() == \
            (2 ** 40, 1.5, b'\0\xff')


def test_psycopg_copy(w):
    with psycopg.connect(w.dsn()) as c:
        with c.cursor().copy('COPY t (a) FROM STDIN') as cp:
            for i in range(3000):
                cp.write_row(('r%d' % i,))
        with c.cursor().copy('COPY (SELECT a FROM t) TO STDOUT') as cp:
            assert sum(1 for _ in cp.rows()) == 3000
        c.rollback()
        assert c.execute('SELECT count(*) FROM t').fetchone() == (0,)


def test_psycopg_copy_fails(w):
    with psycopg.connect(w.dsn()) as c:
        with pytest.raises(psycopg.errors.QueryCanceled):
            with c.cursor().copy('COPY t (a) FROM STDIN') as cp:
                cp.write('x\n')
                raise RuntimeError('enough')
        c.rollback()
        assert c.execute('SELECT 1').fetchone() == (1,)


@pytest.mark.skipif(not psycopg.Pipeline.is_supported(), reason='libpq without pipeline')
def test_psycopg_pipeline(w):
    with psycopg.connect(w.dsn(), autocommit=True) as c:
        with c.pipeline() as p:
            ks = [c.execute('SELECT %s::int', (i,)) for i in range(100)]
            p.sync()
            assert [k.fetchone()[0] for k in ks] == list(range(100))
        with pytest.raises(psycopg.errors.DivisionByZero), c.pipeline() as p:
            c.execute('SELECT 1')
            c.execute('SELECT 1/0')
            c.execute('SELECT 2')
        assert c.execute('SELECT 3').fetchone() == (3,)
        with c.transaction(), c.pipeline():
            a = c.execute("INSERT INTO t (a) VALUES ('p') RETURNING a")
            b = c.execute('SELECT count(*) FROM t')
            assert a.fetchone() == ('p',) and b.fetchone() == (1,)


def test_psycopg_executemany(w):
    with psycopg.connect(w.dsn()) as c, c.cursor() as k:
        k.executemany('INSERT INTO t (a) VALUES (%s) RETURNING id', [('m%d' % i,) for i in range(500)],
                      returning=True)
        c.commit()
        assert c.execute('SELECT count(*) FROM t').fetchone() == (500,)


def test_psycopg_stream_and_cursor(w):
    with psycopg.connect(w.dsn()) as c:
        assert sum(r[0] for r in c.cursor().stream('SELECT generate_series(1, 1000)')) == 500500
        with c.cursor('srv') as k:
            k.execute('SELECT generate_series(1, 1000)')
            assert len(k.fetchmany(10)) == 10


def test_psycopg_cancel(w):
    with psycopg.connect(w.dsn()) as c:
        t = threading.Timer(0.3, c.cancel)
        t.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute('SELECT pg_sleep(20)')
        c.rollback()
        assert c.execute('SELECT 1').fetchone() == (1,)


def test_psycopg_errors_have_their_fields(w):
    with psycopg.connect(w.dsn()) as c:
        with pytest.raises(psycopg.errors.UniqueViolation) as e:
            c.execute('INSERT INTO kv VALUES (1, 1)')
        assert e.value.diag.constraint_name == 'kv_pkey'


# ---- asyncpg ---------------------------------------------------------------------------------------

def aio(fn, timeout=60):
    async def body():
        await asyncio.wait_for(fn(), timeout * SLOW)
    asyncio.run(body())


def test_asyncpg_crud(w):
    async def go():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app')
        await c.execute("INSERT INTO t (a) VALUES ($1)", 'x')
        assert await c.fetchval('SELECT a FROM t') == 'x'
        assert await c.fetchval('SELECT $1::int8 + 1', 2 ** 40) == 2 ** 40 + 1
        async with c.transaction():
            await c.execute("INSERT INTO t (a) VALUES ('y')")
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with c.transaction():
                    await c.execute('SELECT 1/0')
            assert await c.fetchval('SELECT count(*) FROM t') == 2
        with pytest.raises(asyncpg.UndefinedTableError):
            await c.fetch('SELECT * FROM nowhere')
        await c.close()
    aio(go)


def test_asyncpg_prepared_statements_on_changing_servers(w):
    """Named statements and its cache, many connections, two servers."""
    async def one(i):
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app')
        st = await c.prepare('SELECT $1::int * 10 + %d' % i)
        for j in range(25):
            assert await st.fetchval(j) == j * 10 + i
            assert await c.fetchval('SELECT $1::text || $2::text', 'a%d' % i, str(j)) == 'a%d%d' % (i, j)
        await c.close()

    async def go():
        await asyncio.gather(*[one(i) for i in range(8)])
    aio(go)


def test_asyncpg_pool(w):
    async def go():
        async with asyncpg.create_pool(host='127.0.0.1', port=w.port, user='app', database='app',
                                       min_size=3, max_size=6) as pool:
            async def one(i):
                async with pool.acquire() as c, c.transaction():
                    return await c.fetchval('SELECT $1::int', i)
            assert await asyncio.gather(*[one(i) for i in range(60)]) == list(range(60))
    aio(go)


def test_asyncpg_cursor_and_copy(w):
    async def go():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app')
        async with c.transaction():
            n = 0
            async for r in c.cursor('SELECT i FROM generate_series(1, 500) i', prefetch=20):
                n += r[0]
            assert n == 125250
        await c.copy_records_to_table('t', records=[('c%d' % i,) for i in range(1000)], columns=['a'])
        out = io.BytesIO()
        await c.copy_from_query('SELECT a FROM t', output=out)
        assert out.getvalue().count(b'\n') == 1000
        await c.executemany('INSERT INTO t (a) VALUES ($1)', [('e%d' % i,) for i in range(200)])
        assert await c.fetchval('SELECT count(*) FROM t') == 1200
        await c.close()
    aio(go)


def test_asyncpg_timeout_cancels(w, pg):
    """A timeout sends a cancel; the connection goes on."""
    async def go():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app')
        with pytest.raises(asyncio.TimeoutError):
            await c.fetch('SELECT pg_sleep(20)', timeout=0.3)
        assert await c.fetchval('SELECT 1') == 1
        await c.close()
    aio(go)
    until(lambda: pg.backends("state = 'active'") == 0, why='the sleeper to be cancelled')


def test_asyncpg_schema_change(w):
    """A cached plan that must not change its result: the driver's own recovery
    works (it prepares again)."""
    async def go():
        kw = dict(host='127.0.0.1', port=w.port, user='app', database='app')
        c, d = await asyncpg.connect(**kw), await asyncpg.connect(**kw)
        await c.execute('DROP TABLE IF EXISTS ch; CREATE TABLE ch (a int); INSERT INTO ch VALUES (1)')
        assert dict((await c.fetch('SELECT * FROM ch'))[0]) == {'a': 1}
        await d.execute('ALTER TABLE ch ADD b int DEFAULT 2')
        got = None
        for _ in range(3):
            try:
                got = await c.fetch('SELECT * FROM ch')
                break
            except asyncpg.InvalidCachedStatementError:
                pass
        assert dict(got[0]) == {'a': 1, 'b': 2}
        await c.execute('DROP TABLE ch')
        await c.close()
        await d.close()
    aio(go)
