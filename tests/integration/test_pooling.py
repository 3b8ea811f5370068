"""What passes through: simple and extended protocol in every shape, and when a
server goes back to the pool."""
import struct
import time

import pytest

from conftest import SLOW, Spawned, db, ini, run_threads, until
from wire import (Conn, PgError, bind, close, copy_data, copy_done, copy_fail, describe,
                  execute, extended, flush, function_call, parse, query, shape, sync, terminate)


@pytest.fixture
def tiny(weir, pg):
    """A pool of one server: whatever is not given back blocks the next."""
    return weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout=10))


def both(w, pg, *parts, readies=1, database='app'):
    """The same bytes to the daemon and to the server: the same answer?"""
    seen = []
    for port in (w.port, pg.port):
        with Conn(port, database=database) as c:
            seen.append(c.ask(*parts, readies=readies))
    assert seen[0] == seen[1]
    return seen[0]


# ---- simple protocol ---------------------------------------------------------------------

@pytest.mark.parametrize('sql', [
    'SELECT 1', '', ';', '  ', '-- nothing', 'SELECT', 'VALUES (1),(2)', 'SELECT 1; SELECT 2',
    'SELECT 1;; SELECT 2;', 'SELECT 1/0', 'SELECT 1; SELECT 1/0; SELECT 2', 'nonsense',
    'BEGIN; SELECT 1; COMMIT', 'BEGIN; SELECT 1; ROLLBACK', 'SHOW server_version',
    "SELECT NULL, '', 'a''b'", 'SELECT * FROM generate_series(1, 100)',
    "DO $$BEGIN RAISE NOTICE 'hello'; END$$", 'SET work_mem = DEFAULT', 'EXPLAIN (COSTS off) SELECT 1',
    'COMMIT', 'ROLLBACK', "SELECT 'Grüße, 世界'",
])
def test_simple(one, pg, sql):
    both(one, pg, query(sql))


def test_error_in_transaction_and_rollback(one, pg):
    both(one, pg, query('BEGIN'), query('SELECT 1/0'), query('SELECT 1'), query('ROLLBACK'), readies=4)


def test_many_queries_in_one_segment(one, pg):
    both(one, pg, *[query('SELECT %d' % i) for i in range(50)], readies=50)


def test_query_text_of_a_megabyte(one):
    text = 'x' * (1 << 20)
    assert one.one("SELECT md5('%s')" % text) == one.one("SELECT md5(repeat('x', %d))" % len(text))


# ---- extended protocol --------------------------------------------------------------------

EXTENDED = {
    'plain': [extended('SELECT $1::int + 1', [41]), sync()],
    'null parameter': [extended('SELECT $1::text IS NULL', [None]), sync()],
    'only sync': [sync()],
    'parse only': [parse('SELECT 1'), sync()],
    'parse error': [parse('SELEC'), sync()],
    'error, rest skipped': [extended('SELECT 1/0'), extended('SELECT 2'), sync()],
    'two units': [extended('SELECT 1'), sync(), extended('SELECT 2'), sync()],
    'first of two fails': [extended('SELECT 1/0'), sync(), extended('SELECT 2'), sync()],
    'several executes': [extended('SELECT 1'), extended('SELECT 2'), extended('SELECT 3'), sync()],
    'binary result': [parse('SELECT 1::int4'), bind(result=[1]), describe(), execute(), sync()],
    'no data': [extended('SET work_mem = DEFAULT'), sync()],
    'empty': [extended(''), sync()],
    'named': [parse('SELECT $1::int', 'n1'), describe('S', 'n1'), bind([7], 'n1'), execute(), close('S', 'n1'), sync()],
    'close unknown': [close('S', 'nope'), close('P', 'nope'), sync()],
    'unknown statement': [bind([], 'nosuchstmt'), execute(), sync()],
    'unknown portal': [execute('nosuchportal'), sync()],
    'describe unknown': [describe('S', 'nosuchstmt'), sync()],
    'row limit': [parse('SELECT * FROM generate_series(1, 10)'), bind(), execute('', 4), execute('', 4),
                  execute('', 4), sync()],
    'named portal': [parse('SELECT * FROM generate_series(1, 5)'), bind(portal='p1'), describe('P', 'p1'),
                     execute('p1', 2), execute('p1', 2), close('P', 'p1'), sync()],
    'simple after extended': [extended('SELECT 1'), sync(), query('SELECT 2')],
    'begin in a batch': [extended('BEGIN'), extended('SELECT 1'), extended('COMMIT'), sync()],
    'begin and error': [extended('BEGIN'), extended('SELECT 1/0'), sync(), query('ROLLBACK')],
    'wrong parameter count': [parse('SELECT $1::int'), bind([1, 2]), execute(), sync()],
}


@pytest.mark.parametrize('name', list(EXTENDED))
def test_extended(one, pg, name):
    parts = EXTENDED[name]
    n = sum(p.count(b'S\0\0\0\x04') for p in parts) + sum(1 for p in parts if p[:1] == b'Q')
    both(one, pg, *parts, readies=n)


def test_extended_one_byte_at_a_time(one, pg):
    seen = []
    for port in (one.port, pg.port):
        with Conn(port) as c:
            c.send_bytewise(extended('SELECT $1::int', [5], name='b') + sync() + query('SELECT 2'))
            seen.append(c.until() + c.until())
    assert seen[0] == seen[1]


def test_pipeline(one):
    """Thousands of messages before the first answer is read."""
    n = 2000
    with one.connect() as c:
        t = Spawned(c.send, *[extended('SELECT %d' % i) + (sync() if i % 10 == 9 else b'') for i in range(n)])
        rows = []
        for _ in range(n // 10):
            rows += [m[1][0] for m in c.until() if m[0] == 'D']
        t.result()
        assert rows == [str(i) for i in range(n)]


def test_flush(one):
    """The client waits for the answer of a Flush before it goes on."""
    with one.connect() as c:
        for i in range(3):
            c.send(parse('SELECT $1::int', ''), describe('S', ''), flush())
            assert shape(c.until('T')) == '1 t T'
            c.send(bind([i]), execute(), flush())
            got = c.until('C')
            assert ('D', [str(i)]) in got
        c.send(sync())
        assert c.until() == [('Z', 'I')]
        assert c.one('SELECT 1') == '1'


def test_flush_after_error(one):
    with one.connect() as c:
        c.send(parse('SELEC'), flush())
        assert c.read()[0] == 'E'
        c.send(bind(), execute(), flush())
        assert c.quiet(0.2)
        c.send(sync())
        assert c.until() == [('Z', 'I')]


def test_flush_holds_the_server(tiny):
    """Between Flush and Sync the server belongs to the client."""
    with tiny.connect() as a, tiny.connect() as b:
        a.send(extended('SELECT 1'), flush())
        a.until('C')
        b.send(query('SELECT 2'))
        if not tiny.direct:
            assert b.quiet(0.3)
        a.send(sync())
        a.until()
        assert b.until()[1] == ('D', ['2'])


def test_query_inside_a_batch_without_sync(one, pg):
    """Simple Query after Parse..Execute: legal, and after an error it is
    skipped until Sync as PostgreSQL does it."""
    both(one, pg, extended('SELECT 1'), query('SELECT 2'))
    both(one, pg, extended('SELECT 1/0'), query('SELECT 2'), sync())


def test_async_messages_pass(one):
    with one.connect() as c:
        c.send(query('LISTEN here'))
        c.until()
        # LISTEN sticks to a server connection: only within a transaction can
        # a transaction pool promise anything
        c.hold()
        c.sql('LISTEN here2')
        c.sql('COMMIT')
        msgs = c.ask(query("DO $$BEGIN RAISE WARNING 'w'; END$$"))
        assert shape(msgs) == 'C:DO Z:I'


def test_notice_passes(one):
    with one.connect() as c:
        c.send(query("DO $$BEGIN RAISE NOTICE 'hello %', 1; END$$"))
        got = c.until('Z', skip='')
        assert [m[1]['M'] for m in got if m[0] == 'N'] == ['hello 1']


# ---- prepared statements across servers ------------------------------------------------------

@pytest.mark.weir_only
def test_named_statements_follow_the_client(weir, pg):
    """Two clients use one name for two texts, on changing servers."""
    w = weir(ini({'app': db(pg)}, default_pool_size=3))
    with w.connect() as a, w.connect() as b:
        a.ask(parse("SELECT 'a' || $1::text", 's'), sync())
        b.ask(parse("SELECT 'b' || $1::text", 's'), sync())
        for i in range(20):
            for c, who in ((a, 'a'), (b, 'b')):
                got = c.ask(bind([i], 's'), execute(), sync())
                assert ('D', ['%s%d' % (who, i)]) in got
            if i % 3 == 0:
                with w.connect() as d:
                    d.hold()     # takes the server that was last
                    a.ask(bind(['x'], 's'), execute(), sync())
        # a name can be taken again only after Close, as the server has it
        got = a.ask(parse('SELECT 1', 's'), sync())
        assert shape(got) == 'E:42P05 Z:I'
        a.ask(close('S', 's'), sync())
        assert shape(a.ask(parse("SELECT 'new' || $1::text", 's'), bind(['1'], 's'), execute(), sync())) == \
            '1 2 D C:SELECT 1 Z:I'
        got = b.ask(bind(['z'], 's'), execute(), sync())
        assert ('D', ['bz']) in got


@pytest.mark.weir_only
def test_failed_parse_is_not_remembered(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect() as a:
        assert shape(a.ask(parse('SELECT * FROM no_such_table_x', 's'), sync())) == 'E:42P01 Z:I'
        assert shape(a.ask(parse('SELECT 1', 's'), sync())) == '1 Z:I'
        assert ('D', ['1']) in a.ask(bind([], 's'), execute(), sync())


@pytest.mark.weir_only
def test_statement_cache_evicts(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, max_prepared_statements=5))
    with w.connect() as a, w.connect() as b:
        for i in range(12):
            a.ask(parse("SELECT %d" % i, 's%d' % i), sync())
        for rnd in range(3):
            for i in range(12):
                assert ('D', [str(i)]) in a.ask(bind([], 's%d' % i), execute(), sync())
        # within one batch more statements than the cache holds
        parts = b''.join(bind([], 's%d' % i) + execute() for i in range(12))
        rows = [m[1][0] for m in a.ask(parts, sync()) if m[0] == 'D']
        assert rows == [str(i) for i in range(12)]
        n = int(b.one('SELECT count(*) FROM pg_prepared_statements'))
        assert n <= 12 and n >= 1


@pytest.mark.weir_only
def test_client_gone_between_parse_and_sync(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    for _ in range(5):
        c = w.connect()
        c.send(parse('SELECT 1', 's'))
        c.reset()
    with w.connect() as d:
        assert ('D', ['2']) in d.ask(parse('SELECT 2', 's'), bind([], 's'), execute(), sync())


# ---- COPY ----------------------------------------------------------------------------------------

def test_copy_in(one):
    with one.connect() as c:
        c.hold()
        c.sql('CREATE TEMP TABLE ci (a int, b text) ON COMMIT DROP')
        c.send(query('COPY ci FROM STDIN'))
        assert c.read()[0] == 'G'
        for i in range(1000):
            c.send(copy_data('%d\trow %d\n' % (i, i)))
        c.send(copy_done())
        assert shape(c.until()) == 'C:COPY 1000 Z:T'
        assert c.one('SELECT sum(a) FROM ci') == str(sum(range(1000)))
        c.sql('ROLLBACK')


def test_copy_in_outside_a_transaction(tiny):
    with tiny.connect() as c:
        c.sql('TRUNCATE t')
        c.send(query('COPY t (a) FROM STDIN'))
        c.read()
        c.send(copy_data('x\ny\n'), copy_done())
        assert shape(c.until()) == 'C:COPY 2 Z:I'
    assert tiny.one('SELECT count(*) FROM t') == '2'


def test_copy_out(one):
    with one.connect() as c:
        got = c.ask(query("COPY (SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i) TO STDOUT"))
        assert sum(1 for m in got if m[0] == 'd') == 5000
        assert shape(got[-3:]) == 'c C:COPY 5000 Z:I'


def test_copy_fail(tiny):
    with tiny.connect() as c:
        c.send(query('COPY t (a) FROM STDIN'))
        c.read()
        c.send(copy_data('x\n'), copy_fail('changed my mind'))
        got = c.until()
        assert shape(got) == 'E:57014 Z:I'
    assert tiny.one('SELECT 1') == '1'


@pytest.mark.parametrize('ext', [False, True])
def test_copy_in_fails_early(tiny, pg, ext):
    """The server gives up at the first row while the client goes on sending
    for megabytes; afterwards the server is clean and free."""
    with tiny.connect() as c:
        if ext:
            c.send(extended('COPY kv FROM STDIN'), sync())
        else:
            c.send(query('COPY kv FROM STDIN'))
        c.until('G')
        blob = copy_data('not\ta number\n' * 1000)

        def pump():
            for _ in range(300):
                c.send(blob)
            c.send(copy_done())
            if ext:
                c.send(sync())
        t = Spawned(pump)
        got = c.until()
        assert shape(got) == 'E:22P02 Z:I'
        t.result()
        # a PostgreSQL server drops what comes after the error until CopyDone or
        # Sync; the next answer must be this query's
        assert c.sql('SELECT 77') == [['77']]
    with tiny.connect() as d:
        assert d.one('SELECT 78') == '78'
    if not tiny.direct:
        assert pg.backends("usename = 'app' AND state = 'active'") == 0


def test_copy_in_extended_with_sync_sent_ahead(one, pg):
    """Sync in the COPY is ignored by the server, the one after CopyDone counts."""
    for port in (one.port, pg.port):
        with Conn(port) as c:
            c.hold()
            c.sql('CREATE TEMP TABLE ce (a int) ON COMMIT DROP')
            c.send(parse('COPY ce FROM STDIN'), bind(), execute(), flush())
            assert shape(c.until('G')) == '1 2 G'
            c.send(copy_data('1\n'), flush(), copy_data('2\n'), copy_done(), sync())
            assert shape(c.until()) == 'C:COPY 2 Z:T'
            c.sql('ROLLBACK')


def test_copy_in_pipelined_blindly(one, pg):
    """Query, data and the next query in one segment, without waiting for G."""
    for port in (one.port, pg.port):
        with Conn(port) as c:
            c.hold()
            c.sql('CREATE TEMP TABLE cb (a int) ON COMMIT DROP')
            c.send(query('COPY cb FROM STDIN') + copy_data('1\n2\n') + copy_done() +
                   query('SELECT count(*) FROM cb'))
            assert shape(c.until()) == 'G C:COPY 2 Z:T'
            assert ('D', ['2']) in c.until()
            c.sql('ROLLBACK')


def test_copy_both_ways_big(one):
    """20 MB in, 20 MB out."""
    with one.connect() as c:
        c.hold()
        c.sql('CREATE TEMP TABLE cbig (a text) ON COMMIT DROP')
        c.send(query('COPY cbig FROM STDIN'))
        c.read()
        blob = copy_data(('y' * 999 + '\n') * 1000)
        for _ in range(20):
            c.send(blob)
        c.send(copy_done())
        assert shape(c.until()) == 'C:COPY 20000 Z:T'
        c.send(query('COPY cbig TO STDOUT'))
        total, letters = c.count_bytes()
        assert total > 20000 * 1000 and letters[-1] == 'ZT'
        c.sql('ROLLBACK')


def test_client_gone_in_copy_in(tiny, pg):
    c = tiny.connect()
    c.send(query('COPY t (a) FROM STDIN'))
    c.read()
    c.send(copy_data('never\n'))
    c.reset()
    assert tiny.one('SELECT 1') == '1'
    assert tiny.one("SELECT count(*) FROM t WHERE a = 'never'") == '0'


# ---- function call, portals --------------------------------------------------------------------------

def test_function_call(tiny, pg):
    oid = int(pg.one("SELECT 'int4pl'::regproc::oid"))
    with tiny.connect() as c:
        got = c.ask(function_call(oid, 20, 22))
        assert got[0] == ('V', struct.pack('!i', 2) + b'42')
        assert got[-1] == ('Z', 'I')
        assert shape(c.ask(function_call(1, 1))).startswith('E:')
    assert tiny.one('SELECT 1') == '1'


def test_portal_suspended_over_syncs_in_a_transaction(one):
    with one.connect() as c:
        c.hold()
        got = c.ask(parse('SELECT * FROM generate_series(1, 5)'), bind(portal='cur'), execute('cur', 2), sync())
        assert shape(got) == '1 2 D D s Z:T'
        assert shape(c.ask(execute('cur', 2), sync())) == 'D D s Z:T'
        assert shape(c.ask(execute('cur', 2), sync())) == 'D C:SELECT 1 Z:T'
        c.sql('COMMIT')


# ---- who has the server, and for how long -----------------------------------------------------------------

def test_transaction_has_one_server(one):
    with one.connect() as a:
        a.hold()
        pids = set()
        for _ in range(20):
            pids.add(a.one('SELECT pg_backend_pid()'))
            with one.connect() as b:
                assert b.one('SELECT pg_backend_pid()') not in pids
        a.sql('COMMIT')
        assert len(pids) == 1


@pytest.mark.weir_only
def test_servers_are_shared(weir, pg):
    """Many clients, one server."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    cs = [w.connect() for _ in range(30)]
    assert len({c.one('SELECT pg_backend_pid()') for c in cs}) == 1
    for c in cs:
        c.close()


@pytest.mark.weir_only
@pytest.mark.parametrize('hold', [
    query('BEGIN; SELECT 1'), query('BEGIN; SELECT 1/0'), query('START TRANSACTION READ WRITE'),
    extended('BEGIN') + sync(),
], ids=['begin', 'failed', 'start', 'extended'])
def test_only_idle_ready_gives_back(tiny, hold):
    """Status T and E hold the server, I gives it back."""
    with tiny.connect() as a, tiny.connect() as b:
        assert a.ask(hold)[-1][1] in 'TE'
        b.send(query('SELECT 2'))
        assert b.quiet(0.3)
        a.sql('ROLLBACK')
        assert b.until()[1] == ('D', ['2'])


@pytest.mark.weir_only
def test_not_given_back_between_pipelined_units(tiny):
    """One segment with BEGIN, work and more work: nobody else in between. (Where
    the status is I and nothing has been sent ahead, somebody else may be.)"""
    with tiny.connect() as a, tiny.connect() as b:
        a.send(query('BEGIN') + query('SELECT pg_sleep(0.2)') + extended('SELECT 1') + sync())
        a.until()
        b.send(query('SELECT 2'))
        assert b.quiet(0.1)
        for _ in range(2):
            assert a.until()[-1] == ('Z', 'T')
        assert b.quiet(0.1)
        a.sql('COMMIT')
        assert b.until()[1] == ('D', ['2'])


@pytest.mark.weir_only
def test_session_mode(weir, pg):
    w = weir(ini({'app': db(pg)}, pool_mode='session', default_pool_size=2))
    a, b = w.connect(), w.connect()
    pa = a.one('SELECT pg_backend_pid()')
    a.sql("SET work_mem = '321kB'")
    a.sql('CREATE TEMP TABLE mine (x int)')
    pb = b.one('SELECT pg_backend_pid()')
    assert pa != pb
    assert [a.one('SELECT pg_backend_pid()') for _ in range(5)] == [pa] * 5
    assert a.one('SHOW work_mem') == '321kB'
    # DISCARD ALL before the next one
    a.send(terminate())
    a.close()
    with w.connect() as c:
        assert c.one('SELECT pg_backend_pid()') == pa
        assert c.one('SHOW work_mem') != '321kB'
        with pytest.raises(PgError):
            c.sql('SELECT * FROM mine')
    b.close()


@pytest.mark.weir_only
def test_session_mode_per_user_and_database(weir, pg):
    w = weir(ini({'app': db(pg), 's': db(pg, dbname='app', pool_mode='session')},
                 users={'other': 'pool_mode=session'}, default_pool_size=1))
    for kw in ({'database': 's'}, {'user': 'other'}):
        with w.connect(**kw) as a:
            a.sql('SELECT 1')
            with w.connect(**kw) as b:
                b.send(query('SELECT 2'))
                assert b.quiet(0.3), kw
                a.send(terminate())
                a.close()
                assert b.until()[1] == ('D', ['2'])
    with w.connect() as a, w.connect() as b:
        a.sql('SELECT 1')
        assert b.one('SELECT 2') == '2'


# ---- ends --------------------------------------------------------------------------------------------------

ENDS = {
    'idle': [],
    'half a header': [b'Q\0\0'],
    'half a message': [query('SELECT 1')[:-3]],
    'in a transaction': [query('BEGIN'), query('SELECT 1')],
    'in a failed transaction': [query('BEGIN'), query('SELECT 1/0')],
    'query running': [query('SELECT pg_sleep(5)')],
    'batch without sync': [extended('SELECT 1')],
    'batch with flush': [extended('SELECT 1'), flush()],
    'half a batch, half a bind': [parse('SELECT $1::int'), bind([1])[:9]],
    'half a big parse': [parse('SELECT ' + '1,' * 50000 + '1')[:40000]],
    'half a big query': [query('SELECT ' + '1,' * 50000 + '1')[:40000]],
    'in copy in': [query('COPY t (a) FROM STDIN'), copy_data('z\n')],
    'result not read': [query('SELECT repeat(\'x\', 1000) FROM generate_series(1, 100000)')],
}


@pytest.mark.weir_only
@pytest.mark.parametrize('how', ['terminate', 'fin', 'rst'])
@pytest.mark.parametrize('name', list(ENDS))
def test_client_ends_anywhere(weir, pg, name, how):
    """Whatever it was in the middle of, the one server of the pool serves the
    next client soon, with no transaction open and nothing running."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout=30))
    a = w.connect()
    a.send(*ENDS[name]) if ENDS[name] else None
    whole = not name.startswith('half')
    if how == 'terminate':
        if whole:
            a.send(terminate())
        a.close()
    elif how == 'fin':
        a.close()
    else:
        # only when it has arrived does an RST say anything
        time.sleep(0.02)
        a.reset()
    t0 = time.monotonic()
    with w.connect() as b:
        assert b.one('SELECT 1') == '1'
        assert b.ask(query('SELECT 2'))[-1] == ('Z', 'I')
    assert time.monotonic() - t0 < 4 * SLOW, 'the next one waited for the sleeper'
    until(lambda: pg.backends("usename = 'app' AND (state <> 'idle' OR xact_start IS NOT NULL)") == 0,
          why='no server left busy')
    w.wait_log('why=')


@pytest.mark.weir_only
def test_half_a_message_and_silence_takes_no_server(tiny):
    """The header of a query is no query: others are served meanwhile."""
    with tiny.connect() as a, tiny.connect() as b:
        a.send(query('SELECT 1')[:4])
        for i in range(5):
            assert b.one('SELECT %d' % i) == str(i)
        a.send(query('SELECT 1')[4:])
        assert a.until()[1] == ('D', ['1'])


def test_message_cut_everywhere(one):
    text = extended('SELECT $1::text', ['abc'], name='') + sync()
    with one.connect() as c:
        for n in range(1, len(text)):
            c.send(text[:n])
            c.send(text[n:])
            assert ('D', ['abc']) in c.until()


# ---- big things ----------------------------------------------------------------------------------------------

@pytest.mark.weir_only
@pytest.mark.no_san
@pytest.mark.timeout(120)
def test_result_of_one_gib_in_bounded_memory(weir, pg):
    w = weir('postgresql://app@127.0.0.1:%d/app' % pg.port)
    with w.connect() as c:
        c.sql('SELECT 1')
        before = w.rss_peak_kb()
        c.send(query("SELECT repeat('x', 8000) FROM generate_series(1, 134218)"))
        total, letters = c.count_bytes()
        assert total > 1 << 30
        assert letters == ['T', 'C', 'ZI']
        assert w.rss_peak_kb() - before < 8 * 1024
        assert c.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_row_of_100_mib_in_bounded_memory(weir, pg):
    w = weir('postgresql://app@127.0.0.1:%d/app' % pg.port)
    with w.connect() as c:
        c.sql('SELECT 1')
        before = w.rss_peak_kb()
        n = 100 << 20
        c.send(query("SELECT repeat('x', %d)" % n))
        total, letters = c.count_bytes()
        assert total > n and letters == ['T', 'C', 'ZI']
        if not SLOW > 1:
            assert w.rss_peak_kb() - before < 8 * 1024
        assert c.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_parameter_of_50_mib_in_bounded_memory(weir, pg):
    w = weir('postgresql://app@127.0.0.1:%d/app' % pg.port)
    with w.connect() as c:
        n = 50 << 20
        c.send(extended('SELECT length($1::text)', [b'y' * n]), sync())
        assert ('D', [str(n)]) in c.until()


@pytest.mark.weir_only
def test_client_that_never_reads(weir, pg):
    """Its server waits with it; nobody else does, and nothing piles up."""
    w = weir(ini({'app': db(pg)}, default_pool_size=3))
    with w.connect(rcvbuf=4096) as a, w.connect() as b:
        b.sql('SELECT 1')
        before = w.rss_peak_kb()
        a.send(query("SELECT repeat('x', 100000) FROM generate_series(1, 5000)"))
        until(lambda: pg.backends("wait_event = 'ClientWrite'") == 1, why='the server to be held up')
        for i in range(200):
            assert b.one('SELECT %d' % i) == str(i)
        if SLOW == 1:
            assert w.rss_peak_kb() - before < 4 * 1024
    until(lambda: pg.backends("state = 'active'") == 0, why='the server to be let go')


@pytest.mark.weir_only
def test_client_that_never_reads_but_sends(weir, pg):
    """Pipelines for ever without reading: the daemon stops reading too."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    a = w.connect(rcvbuf=4096)
    a.sock.settimeout(2)
    part = query("SELECT repeat('x', 10000)") * 100
    sent = 0
    with pytest.raises((TimeoutError, OSError)):
        while sent < 200 << 20:
            sent += a.sock.send(part)
    assert sent < 100 << 20
    if SLOW == 1:
        assert w.rss_peak_kb() < 64 * 1024
    assert w.one('SELECT 1') == '1'
    a.close()


@pytest.mark.weir_only
def test_many_clients_at_once(weir, pg):
    """Every answer goes to the one who asked."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, workers=2))

    def body(i):
        with w.connect() as c:
            for j in range(60):
                want = '%d.%d' % (i, j)
                if j % 3 == 0:
                    got = c.one("SELECT '%s'" % want)
                elif j % 3 == 1:
                    got = [m[1][0] for m in c.ask(extended('SELECT $1::text', [want]), sync()) if m[0] == 'D'][0]
                else:
                    c.hold()
                    got = c.one("SELECT '%s'" % want)
                    c.sql('COMMIT')
                assert got == want
    run_threads(40, body)
