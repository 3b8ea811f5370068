"""The console: its protocol beside PostgreSQL's own, message by message, and who may what.

SPDX-License-Identifier: ISC
"""
import asyncio
import decimal

import asyncpg
import pg8000
import psycopg
import psycopg2
import pytest

import wire
from conftest import db, ini
from wire import PgError, bind, close, describe, execute, extended, flush, msg, parse, query, shape, sync


@pytest.fixture
def w(weir, pg):
    return weir(ini({'app': db(pg, dbname='app')}, stats_users='viewer'))


def console(w, user='admin', database='pgweir', **kw):
    return w.connect(user, database, **kw)


# ---- the protocol, beside PostgreSQL ------------------------------------------------------

FETCH = parse('SHOW DateStyle') + bind() + describe() + execute()

# Messages that both understand; each ends with as many ReadyForQuery as there are Q and S.
SCRIPTS = {
    'simple': [query('SELECT 1'), query(''), query(' ; '), query('-- x'), query('SHOW DateStyle;')],
    'several': [query('SELECT 1; SHOW DateStyle; ;SELECT 1')],
    'error ends a query': [query('SELECT 1; nonsense here; SELECT 1')],
    'block': [query('BEGIN'), query('SELECT 1'), query('COMMIT'), query('START TRANSACTION'),
              query('ROLLBACK'), query('BEGIN READ ONLY'), query('END'), query('BEGIN'), query('ABORT')],
    'block in one': [query('BEGIN; SELECT 1'), query('SELECT 1; COMMIT')],
    'failed block': [query('BEGIN'), query('nonsense'), query('SELECT 1'), query('COMMIT'),
                     query('SELECT 1')],
    'failed block, rolled back': [query('BEGIN'), query('nonsense'), query('ROLLBACK')],
    'settings': [query('SET extra_float_digits = 3'), query("SET application_name = 'x'"),
                 query('SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'),
                 query("SET TIME ZONE 'GMT'"), query('RESET application_name'), query('DISCARD ALL'),
                 query('CLOSE ALL'), query('UNLISTEN *'), query('SET nonsense_of_none = 1')],
    'extended': [FETCH, sync()],
    'extended, described first': [parse('SELECT 1', 'a'), describe('S', 'a'), flush(), sync(),
                                  bind(name='a', portal='p'), describe('P', 'p'), execute('p'), sync()],
    'empty': [parse(''), describe('S'), bind(), describe(), execute(), sync()],
    'no rows': [parse('BEGIN'), describe('S'), bind(), describe(), execute(), sync(), query('COMMIT')],
    'pipeline': [FETCH, FETCH, sync(), FETCH, sync()],
    'error skips to Sync': [FETCH, parse('nonsense'), bind(), execute(), FETCH, sync(), FETCH, sync()],
    'a Query is skipped': [parse('nonsense'), query('SELECT 1'), sync(), query('SELECT 1')],
    'error in a block': [query('BEGIN'), parse('nonsense'), sync(), parse('SELECT 1'), sync(),
                         parse('ROLLBACK'), bind(), execute(), sync()],
    'names': [parse('SELECT 1', 'a'), sync(), parse('SELECT 1', 'a'), sync(), close('S', 'a'),
              parse('SELECT 1', 'a'), bind(name='a'), execute(), sync(), bind(name='none'), sync(),
              execute('none'), sync(), describe('S', 'none'), sync(), describe('P', 'none'), sync(),
              close('S', 'none'), close('P', 'none'), sync()],
    'unnamed is replaced': [parse('SELECT 1'), parse('SHOW DateStyle'), bind(), bind(), execute(), sync(),
                            bind(), execute(), sync()],
    'a portal ends with its Sync': [parse('SELECT 1', 'a'), bind(name='a', portal='p'), sync(),
                                    execute('p'), sync()],
    'a portal lives in a block': [query('BEGIN'), parse('SELECT 1', 'a'), bind(name='a', portal='p'), sync(),
                                  execute('p'), sync(), bind(name='a', portal='p'), sync(),
                                  query('COMMIT'), query('BEGIN'), execute('p'), sync(), query('ROLLBACK')],
    'twice': [parse('SELECT 1'), bind(), execute(), execute(), sync(), parse('BEGIN'), bind(), execute(),
              execute(), sync(), query('ROLLBACK')],
    'row limits': [parse('SELECT 1'), bind(), execute(rows=1), execute(rows=1), sync(), bind(),
                   execute(rows=5), sync()],
    'two commands': [parse('SELECT 1; SELECT 1'), sync(), parse('SELECT 1;'), bind(), execute(), sync()],
    'formats': [parse('SHOW DateStyle'), bind(result=(1,)), describe(), execute(), sync(),
                bind(result=(0, 1)), sync()],
    'parameters': [parse('SELECT 1'), bind(('x',)), sync()],
    'copy that is none': [msg('d', b'x'), msg('c'), query('SELECT 1')],
    'nothing but Sync': [sync(), sync(), flush(), sync()],
}


def play(c, script):
    """What came, as letters with tags, statuses and codes. Where SELECT 1 has its 1 too."""
    readies = sum(part[0:1] in b'QS' for m in script for part in split(m))
    got = c.ask(*script, readies=readies - (1 if skipped(script) else 0))
    return shape([m for m in got if m[0] not in 'N'])


def split(data):
    out = []
    while data:
        n = int.from_bytes(data[1:5], 'big') + 1
        out.append(data[:n])
        data = data[n:]
    return out


def skipped(script):
    """Of 'a Query is skipped', one has no answer."""
    return script is SCRIPTS['a Query is skipped']


@pytest.mark.parametrize('name', SCRIPTS)
def test_like_postgresql(w, pg, name):
    with wire.Conn(pg.port, user='postgres', database='app') as c:
        want = play(c, SCRIPTS[name])
    for database in ('pgweir', 'pgbouncer'):
        with console(w, database=database) as c:
            # SHOW of one name has that name as its tag's only word in both
            assert play(c, SCRIPTS[name]) == want
            assert c.sql('SELECT 1') == [['1']]


def test_byte_by_byte(w):
    """Messages that come in pieces."""
    script = b''.join(SCRIPTS['pipeline'])
    with console(w) as c:
        want = c.ask(script, readies=2)
    with console(w) as c:
        for i in range(len(script)):
            c.send(script[i:i + 1])
        assert c.until('Z') + c.until('Z') == want


def test_fastpath_and_nonsense(w):
    with console(w) as c:
        assert shape(c.ask(wire.function_call(1, 2))) == 'E:0A000 Z:I'
    for bad in (msg('y'), b'Q\0\0\0\2', b'Q\0\1\0\0', msg('Q', b'no zero'), msg('P', b'x'),
                msg('B', b'a\0b\0\0'), msg('D', b'S'), msg('E', b'\0'), msg('C'), msg('p', b'x\0')):
        with console(w) as c:
            c.send(bad)
            e = c.until('E')[-1][1]
            assert e['S'] == 'FATAL' and e['C'] == '08P01', bad
            with pytest.raises(wire.Closed):
                c.read()


def test_row_limits(w):
    """A portal that gives its rows a few at a time gives all of them, in order, once."""
    want = w.console('SHOW CONFIG')
    with console(w) as c:
        c.ask(query('BEGIN'))
        got = []
        c.ask(parse('SHOW CONFIG'), bind(portal='p'), sync())
        for n in range(1, 1000):
            m = c.ask(execute('p', rows=n % 7 + 1), query('SELECT 1') if n % 3 == 0 else sync())
            rows = [x[1] for x in m if x[0] == 'D']
            got += rows[:-1] if n % 3 == 0 else rows
            if n % 3 == 0:
                break
            assert m[-2][0] == 's' and len(rows) == n % 7 + 1
        # a Query closes what is not named only in PostgreSQL; here it closes all
        assert shape(c.ask(execute('p'), sync())) == 'E:34000 Z:E'
        c.ask(query('ROLLBACK'))
        c.ask(query('BEGIN'))
        got = []
        c.ask(parse('SHOW CONFIG'), bind(portal='p'), sync())
        while True:
            m = c.ask(execute('p', rows=7), sync())
            got += [x[1] for x in m if x[0] == 'D']
            if m[-2][0] == 'C':
                assert m[-2] == ('C', 'SHOW')
                break
            assert m[-2] == ('s',) and len(m) == 9
        assert got == [list(r.values()) for r in want]


def test_too_many_names(w):
    with console(w) as c:
        for i in range(128):
            assert shape(c.ask(parse('SHOW POOLS', 's%d' % i), sync())) == '1 Z:I'
        e = c.ask(parse('SHOW POOLS', 'x'), sync())[0][1]
        assert e['C'] == '54000' and '128' in e['H']
        assert shape(c.ask(close('S', 's5'), parse('SHOW POOLS', 'x'), sync())) == '3 1 Z:I'
        c.ask(query('BEGIN'))
        for i in range(32):
            assert shape(c.ask(bind(name='x', portal='p%d' % i), sync())) == '2 Z:T'
        assert shape(c.ask(bind(name='x', portal='p'), sync())) == 'E:54000 Z:E'


def test_errors_say_what_to_do(w):
    for sql, code, words in (
            ('SHOW NONSENSE', '42601', 'SHOW HELP lists the commands.'),
            ('EXPLAIN SELECT 1', '42601', 'SHOW HELP lists the commands.'),
            ("SHOW 'POOLS'", '42601', 'SHOW HELP lists the commands.'),
            ('SHOW POOLS please', '42601', 'Usage: SHOW POOLS'),
            ('SHOW POOLS /* never ends', '42601', 'SHOW HELP lists the commands.'),
            ('EXCLUDE NODE $1', '42P02', 'Commands of the console take no parameters.'),
            ('EXCLUDE NODE', '42601', "Usage: EXCLUDE NODE 'NAME'"),
            ("SET none = 'x'", '42704', 'SHOW CONFIG lists the settings.'),
            ('SET', '42601', 'Usage: SET NAME = VALUE')):
        for send in (query(sql), extended(sql) + sync()):
            with console(w) as c:
                e = [m for m in c.ask(send) if m[0] == 'E'][0][1]
                assert (e['C'], e['H']) == (code, words), sql
                assert c.sql('SELECT 1') == [['1']]


def test_words(w):
    """Any case, blanks, comments, and SELECT as PgBouncer has it."""
    want = w.console('SHOW VERSION')
    for sql in ('show version', ' Show\n\tVERSION ; ', '/* a */ show /* b /* c */ */ version -- d',
                'SELECT version', 'show version;;'):
        assert w.console(sql) == want


# ---- who may what --------------------------------------------------------------------------

def test_admin_and_stats_users(w, pg):
    usages = w.console('SHOW HELP')
    assert usages == w.console('SHOW HELP', user='viewer')
    who = {r['command']: r['who'] for r in usages}
    assert set(who.values()) == {'admin_users', 'stats_users'}
    for text, needs in who.items():
        if text.startswith('SHOW '):
            assert (needs == 'stats_users') == (text != 'SHOW FDS')
    with console(w, 'viewer') as c:
        for send in (query("EXCLUDE NODE 'x'"), extended("EXCLUDE NODE 'x'") + sync()):
            assert [m[1]['C'] for m in c.ask(send) if m[0] == 'E'] == ['42501']
        assert c.sql('SHOW NODES')
    with pytest.raises(PgError) as e:
        console(w, 'app')
    assert e.value.code == '28000' and 'stats_users' in e.value.fields['H']


# ---- drivers -------------------------------------------------------------------------------

def shows(w):
    """Every SHOW of the list."""
    return [r['command'] for r in w.console('SHOW HELP') if r['command'].startswith('SHOW ')]


def value(v):
    """As text, whatever the driver makes of it."""
    return None if v is None else str(v.normalize() if isinstance(v, decimal.Decimal) and v else v)


def test_psycopg2(w):
    for autocommit in (True, False):
        c = psycopg2.connect(w.dsn('admin', 'pgweir'))
        c.autocommit = autocommit
        with c.cursor() as k:
            for sql in shows(w):
                k.execute(sql)
                assert len(k.fetchall()) == k.rowcount or k.rowcount == -1
            with pytest.raises(psycopg2.errors.SyntaxError):
                k.execute('SHOW NONSENSE')
        c.rollback()
        c.close()


@pytest.mark.parametrize('binary', [False, True])
def test_psycopg3(w, binary):
    for autocommit in (True, False):
        with psycopg.connect(w.dsn('admin', 'pgweir'), autocommit=autocommit, prepare_threshold=2) as c:
            for sql in shows(w):
                texts = w.console(sql)
                for _ in range(4):
                    k = c.cursor(binary=binary)
                    rows = k.execute(sql).fetchall()
                    names = [d.name for d in k.description]
                    assert names == list(dict.fromkeys(names))
                    if sql in ('SHOW CONFIG', 'SHOW VERSION', 'SHOW HELP', 'SHOW USERS'):
                        assert [[value(v) for v in r] for r in rows] == [list(r.values()) for r in texts]


def test_asyncpg(w):
    async def run():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='admin', database='pgweir')
        for sql in shows(w):
            st = await c.prepare(sql)
            rows = await st.fetch()
            assert all(list(r.keys()) == [a.name for a in st.get_attributes()] for r in rows)
        async with c.transaction():
            rows = [r async for r in c.cursor('SHOW CONFIG', prefetch=10)]
        assert [list(r.values()) for r in rows] == [list(r.values()) for r in w.console('SHOW CONFIG')]
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await c.fetch('SHOW NONSENSE')
        await c.reset()
        await c.close()
        pool = await asyncpg.create_pool(host='127.0.0.1', port=w.port, user='admin', database='pgweir',
                                         min_size=1, max_size=2)
        for _ in range(5):
            assert await pool.fetchval('SELECT 1') == 1
        await pool.close()
    asyncio.run(run())


def test_pg8000(w):
    c = pg8000.connect(host='127.0.0.1', port=w.port, user='admin', database='pgweir')
    k = c.cursor()
    for sql in shows(w):
        k.execute(sql)
        k.fetchall()
    c.commit()
    c.close()
