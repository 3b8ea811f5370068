# SPDX-License-Identifier: ISC
"""pgweir before nodes of CockroachDB (the double of crdbnode.py), without a drain."""
import asyncio

import pytest

import wire
from conftest import db, ini, run_threads, until
from crdb import V21, V26
from wire import bind, close, execute, extended, parse, query, shape, sync

pytestmark = pytest.mark.weir_only


@pytest.fixture
def table(crdb):
    crdb.sql('DROP TABLE IF EXISTS r; CREATE TABLE r (k int PRIMARY KEY, v int NOT NULL DEFAULT 0)')
    return crdb


@pytest.fixture
def start(weir):
    """start(nodes): a daemon before them."""
    def make(nodes, **kw):
        return weir(ini({'app': db(*nodes, dbname='app')}, **{'default_pool_size': 3, **kw}))
    return make


@pytest.fixture
def alone(start, table):
    """One worker and one server connection, to the first node."""
    return start(table.nodes[:1], default_pool_size=1), table.nodes[0]


def test_login_tells_the_version(start, crdb):
    w = start(crdb.nodes)
    with w.connect(application_name='me') as c:
        assert c.params['crdb_version'] == V21 and c.params['server_version'] == '13.0.0'
        assert c.params['application_name'] == 'me'
        assert c.key != (0, 0)              # pgweir's own
        assert c.one('SELECT 1') == '1'


def test_new_version(start, make_crdb):
    w = start(make_crdb(n=2, version=V26, real_keys=True).nodes)
    with w.connect() as c:
        assert c.params['crdb_version'] == V26
        assert shape(c.ask(extended('SELECT $1::int', [7]), sync())) == '1 2 T D C:SELECT 1 Z:I'


def test_all_nodes_are_used(start, crdb):
    w = start(crdb.nodes, default_pool_size=6)

    cs = [w.connect() for _ in range(6)]
    for c in cs:
        c.hold()
    assert {c.one('SHOW node_id') for c in cs} == {'1', '2', '3'}


@pytest.mark.parametrize('how', ['simple', 'extended'])
def test_transactions(start, table, how):
    w = start(table.nodes)

    def do(c, sql):
        return shape(c.ask(query(sql) if how == 'simple' else extended(sql) + sync()))
    start_of = {'simple': '', 'extended': '1 2 n '}[how]
    with w.connect() as c:
        for k, end in ((1, 'COMMIT'), (2, 'ROLLBACK')):
            assert do(c, 'START TRANSACTION') == start_of + 'C:BEGIN Z:T'
            assert do(c, 'INSERT INTO r VALUES (%d)' % k) == start_of + 'C:INSERT 0 1 Z:T'
            assert do(c, end) == start_of + 'C:%s Z:I' % end
        assert do(c, 'COMMIT') == start_of + 'E:XXUUU Z:I'
        do(c, 'BEGIN')
        do(c, 'SELECT 1/0')
        assert do(c, 'COMMIT') == start_of + 'C:ROLLBACK Z:I'
    assert table.sql('SELECT k FROM r') == [['1']]


def test_prepared_statements(start, crdb):
    """On whichever node: more clients than server connections."""
    w = start(crdb.nodes, default_pool_size=3)

    def body(i):
        with w.connect() as c:
            assert shape(c.ask(parse('SELECT $1::int + %d' % i, 's'), sync())) == '1 Z:I'
            for j in range(30):
                got = c.ask(bind([j], 's'), execute(), sync())
                assert got[1] == ('D', [str(i + j)]), got
            assert shape(c.ask(close('S', 's'), sync())) == '3 Z:I'
            assert shape(c.ask(bind([1], 's'), execute(), sync())) == 'E:26000 Z:I'
    run_threads(8, body)


def test_settings_follow_their_client(start, crdb):
    w = start(crdb.nodes, default_pool_size=2)
    a, b = w.connect(application_name='a'), w.connect(application_name='b')
    a.sql("SET statement_timeout = '7s'")
    for _ in range(4):
        assert a.one('SHOW application_name') == 'a' and b.one('SHOW application_name') == 'b'
        assert a.one('SHOW statement_timeout') == '7s' and b.one('SHOW statement_timeout') == '0'
    a.sql('RESET statement_timeout')
    assert a.one('SHOW statement_timeout') == '0'
    a.sql('BEGIN')
    a.sql('SET application_name = c')
    a.sql('ROLLBACK')                       # undoes no setting there
    with w.connect() as other:
        other.hold()
        assert a.one('SHOW application_name') == 'c'


def test_40001_in_a_block_passes_through(alone):
    w, node = alone
    with w.connect() as c:
        node.inject(block=True)
        c.sql('BEGIN')
        got = c.ask(query('INSERT INTO r VALUES (1)'))
        assert shape(got) == 'E:40001 Z:E'
        assert got[0][1]['M'].startswith('restart transaction: ')
        assert shape(c.ask(query('ROLLBACK'))) == 'C:ROLLBACK Z:I'
        node.inject(on='commit')
        c.sql('BEGIN')
        c.sql('INSERT INTO r VALUES (1)')
        assert shape(c.ask(query('COMMIT'))) == 'E:40001 Z:I'
        assert c.sql('SELECT k FROM r') == []


@pytest.mark.parametrize('how', ['simple', 'extended'])
def test_implicit_40001_is_retried(alone, how):
    w, node = alone
    with w.connect() as c:
        node.inject(n=2, match='INSERT')
        sql = 'INSERT INTO r VALUES (1) RETURNING k'
        got = c.ask(query(sql)) if how == 'simple' else c.ask(extended(sql), sync())
        assert shape(got).endswith('T D C:INSERT 0 1 Z:I')
        assert node.stats()['injected'] == 2 and c.sql('SELECT k FROM r') == [['1']]
        node.inject(when='rows', match='UPDATE')    # rows came, nothing is committed
        got = c.ask(query('UPDATE r SET v = v + 1 RETURNING v'))
        assert shape(got) == 'T D C:UPDATE 1 Z:I' and got[1] == ('D', ['1'])
        # what was completed in front of it is there: not again
        node.inject(match='VALUES .3.')
        got = c.ask(extended('INSERT INTO r VALUES (2)'), extended('INSERT INTO r VALUES (3)'),
                    sync())
        assert shape(got) == '1 2 n C:INSERT 0 1 1 2 n E:40001 Z:I'
        assert c.sql('SELECT k FROM r ORDER BY k') == [['1'], ['2']]
        for when in ('before', 'after'):            # nobody knows: never again
            node.inject('40003', when=when, match='UPDATE')
            assert shape(c.ask(query('UPDATE r SET v = v + 1 WHERE k = 1'))) == 'E:40003 Z:I'
        assert c.one('SELECT v FROM r WHERE k = 1') == '2'


def test_counter(start, table):
    """Conflicts that PostgreSQL has: each acknowledged addition is there, once."""
    for n in table.nodes:
        n.server_retries(0)
    table.sql('INSERT INTO r VALUES (1)')
    w = start(table.nodes, workers=2)

    def body(i):
        ok = 0
        with w.connect() as c:
            for _ in range(30):
                sql = 'UPDATE r SET v = v + 1 WHERE k = 1'
                m = c.ask(query(sql) if i % 2 else extended(sql) + sync())
                ok += all(x[0] != 'E' for x in m)
        return ok
    done = sum(run_threads(8, body))
    assert table.one('SELECT v FROM r') == str(done)


def test_a_node_that_dies(start, table):
    """Between transactions nobody notices."""
    w = start(table.nodes, health_check_interval=1)
    with w.connect() as c, w.connect() as d:
        for n in (0, 1):
            c.sql('INSERT INTO r VALUES (%d)' % n)
            d.sql('SELECT 1')
            table.nodes[n].kill()
            assert c.sql('SELECT count(*) FROM r') == [[str(n + 1)]]
            assert d.one('SHOW node_id') != str(n + 1)


# ---- drivers ------------------------------------------------------------------------------

def test_psycopg2(alone):
    psycopg2 = pytest.importorskip('psycopg2')
    w, node = alone
    conn = psycopg2.connect(w.dsn())
    try:
        with conn, conn.cursor() as cur:
            cur.execute('INSERT INTO r VALUES (%s), (%s)', (1, 2))
        with conn, conn.cursor() as cur:
            cur.execute('SELECT k FROM r ORDER BY k')
            assert cur.fetchall() == [(1,), (2,)]
        node.inject(block=True, match='DELETE')
        with pytest.raises(psycopg2.extensions.TransactionRollbackError):
            with conn, conn.cursor() as cur:
                cur.execute('DELETE FROM r')
        conn.autocommit = True
        node.inject(match='DELETE')
        with conn.cursor() as cur:
            cur.execute('DELETE FROM r WHERE k = 1')
            assert cur.rowcount == 1
            cur.execute('SHOW crdb_version')
            assert cur.fetchone() == (V21,)
    finally:
        conn.close()


def test_asyncpg(start, table):
    asyncpg = pytest.importorskip('asyncpg')
    w = start(table.nodes)

    async def one():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app')
        try:
            async with c.transaction():
                await c.execute('INSERT INTO r VALUES ($1)', 1)
            with pytest.raises(ZeroDivisionError):
                async with c.transaction():
                    await c.execute('INSERT INTO r VALUES ($1)', 2)
                    raise ZeroDivisionError
            for _ in range(20):
                assert await c.fetchval('SELECT count(*) FROM r WHERE k = $1', 1) == 1
            for n in table.nodes:
                n.inject(block=True, match='INSERT')
            with pytest.raises(asyncpg.SerializationError):
                async with c.transaction():
                    await c.execute('INSERT INTO r VALUES ($1)', 3)
            assert await c.fetch('SELECT k FROM r') == [(1,)]
        finally:
            await c.close(timeout=10)
    asyncio.run(asyncio.wait_for(one(), 60))


def test_cancel(start, make_crdb):
    """A version with real keys: pgweir's cancel reaches the node that runs it."""
    c = make_crdb(n=3, version=V26, real_keys=True)
    w = start(c.nodes)
    with w.connect() as s:
        s.hold()
        s.send(query('SELECT pg_sleep(20)'))
        until(lambda: c.pg.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), 10)

        def ended():
            wire.cancel(w.port, s.key)
            return not s.quiet(0.1)
        until(ended, 10)
        assert shape(s.until('Z')) == 'T E:57014 Z:E'
