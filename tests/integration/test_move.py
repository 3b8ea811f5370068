"""Statements whose server said that it is leaving begin anew on another one, when
it is certain that they were not done; and not when it is not.

The nodes that say 57P01 at a given byte are scripted; those that are terminated
under load are real.

SPDX-License-Identifier: ISC
"""
import contextlib
import threading

import pytest

import wire
from conftest import Spawned, db, ini, run_threads, until
from wire import PgError, query

pytestmark = pytest.mark.weir_only

QUICK = {'health_check_interval': '0.2', 'health_check_timeout': '0.5', 'server_login_retry': '0.2'}
CRDB = {**wire.PARAMS, 'crdb_version': 'CockroachDB OSS v21.2.0 (test)'}
del CRDB['in_hot_standby'], CRDB['default_transaction_read_only']
OLD = {k: v for k, v in wire.PARAMS.items()
       if k not in ('in_hot_standby', 'default_transaction_read_only')}

DRAIN = wire.error('57P01', 'server is shutting down', severity='ERROR')
KILLED = wire.error('57P01', 'terminating connection due to administrator command', severity='FATAL')


def units(conn):
    """The letters of each unit that comes, to the end."""
    while True:
        out = []
        while not out or out[-1][0] not in 'QS':
            try:
                out.append(conn.read_raw())
            except wire.Closed:
                return
        yield out


def answer(unit, value):
    """What a server says that runs `SELECT value` for the unit."""
    out = []
    for letter, _ in unit:
        out.append({'P': wire.msg('1', b''), 'B': wire.msg('2', b''), 'C': wire.msg('3', b''),
                    'D': wire.row_description('v'), 'E': wire.data_row(value) + wire.complete('SELECT 1'),
                    'Q': wire.result(value), 'S': b''}.get(letter, b''))
    return b''.join(out) + wire.ready('I')


class Nodes:
    """Two scripted nodes: the first answers each unit with what it is told and goes,
    the second runs it."""

    def __init__(self, weir, last_words, params=CRDB, conf=None, **dbkw):
        self.units = {0: [], 1: []}

        def first(conn):
            for u in units(conn):
                self.units[0].append(''.join(x[0] for x in u))
                words = last_words(u) if callable(last_words) else last_words
                conn.send(words)
                return

        def second(conn):
            for u in units(conn):
                self.units[1].append(''.join(x[0] for x in u))
                conn.send(answer(u, 'two'))
        self.a = wire.FakeServer(first, params=params)
        self.b = wire.FakeServer(second, params=params)
        self.w = weir(ini({'app': db(self.a, self.b, load_balance_hosts='disable', **dbkw)},
                          **{**QUICK, 'health_check_interval': 30, **(conf or {})}))
        until(lambda: [r for r in self.w.console('SHOW NODES') if r['state'] == 'up'][1:])

    def __enter__(self):
        return self

    def __exit__(self, kind, *a):
        self.a.close(check=False)
        self.b.close(check=kind is None)

    def moved(self):
        return int(next(r['value'] for r in self.w.console('SHOW COUNTERS') if r['name'] == 'moved'))


SHAPES = {
    'simple': ([query('SELECT v FROM kv')], 'T D C:SELECT 1 Z:I'),
    'of any kind': ([query('CALL p()')], 'T D C:SELECT 1 Z:I'),
    'extended': ([wire.parse('SELECT 1'), wire.bind(), wire.execute(), wire.sync()],
                 '1 2 D C:SELECT 1 Z:I'),
    'extended, of any kind': ([wire.parse('CALL p()'), wire.bind(), wire.execute(), wire.sync()],
                              '1 2 D C:SELECT 1 Z:I'),
    'named': ([wire.parse('SELECT 1', 's1'), wire.describe('S', 's1'), wire.sync()], None),
    'named, at once': ([wire.parse('SELECT 1', 's1'), wire.bind((), 's1'), wire.execute(), wire.sync()],
                       '1 2 D C:SELECT 1 Z:I'),
}


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('retry', ['implicit', 'off'])
def test_crdb_drain_as_the_only_answer(weir, shape, retry):
    """CockroachDB runs nothing behind its DrainRequest: any unit is sent to
    another node, whatever it is and whatever retry says."""
    msgs, want = SHAPES[shape]
    with Nodes(weir, DRAIN, conf={'retry': retry}) as n, n.w.connect() as c:
        c.send(*msgs)
        got = wire.shape(c.until())
        if want:
            assert got == want
        else:
            assert got.endswith('Z:I') and 'E' not in got
        # what was prepared is there, and the next unit goes on where this one was
        if 'named' in shape:
            assert wire.shape(c.ask(wire.bind((), 's1'), wire.execute(), wire.sync())) == \
                '2 D C:SELECT 1 Z:I'
        assert c.one('SELECT 2') == 'two'
        assert len([u for u in n.units[0] if u != 'Q' or 'simple' in shape or 'any' in shape]) >= 1
        assert n.moved() >= 1
        row = [r for r in n.w.console('SHOW NODES') if r['node'].endswith(':%d' % n.a.port)][0]
        assert row['state'] in ('draining', 'down', 'up')


def test_crdb_drain_with_settings_in_front(weir):
    """The settings of the session are sent anew with it."""
    seen = []

    def words(u):
        seen.append(u)
        return DRAIN
    with Nodes(weir, words) as n, n.w.connect(application_name='mine') as c:
        assert c.one('SELECT 1') == 'two'
        assert n.units[1]


def test_crdb_not_when_an_answer_has_come(weir):
    """57P01 behind another answer may be of a statement that was broken off."""
    def words(u):
        return wire.msg('1', b'') + DRAIN if u[0][0] == 'P' else DRAIN
    with Nodes(weir, words) as n, n.w.connect() as c:
        m = c.ask(wire.parse('SELECT 1'), wire.bind(), wire.execute(), wire.sync())
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and m[-1] == ('Z', 'I')
        assert n.moved() == 0
        assert c.one('SELECT 2') == 'two'


@pytest.mark.parametrize('words', [
    wire.error('57014', 'query execution canceled', severity='ERROR') + DRAIN,
    wire.error('57P01', 'terminating connection', severity='ERROR')])
def test_crdb_not_with_other_words(weir, words):
    with Nodes(weir, words) as n, n.w.connect() as c:
        m = c.ask(query('UPDATE kv SET v = 1'))
        assert 'E' in wire.shape(m) and n.moved() == 0
        assert all('U' not in u for u in n.units[1])


def test_it_ends_when_every_node_says_so(weir):
    """Bounded, and the client stays connected."""
    def script(conn):
        for _ in units(conn):
            conn.send(DRAIN)
            return
    with wire.FakeServer(script, params=CRDB) as a:
        w = weir(ini({'app': db(a)}, query_wait_timeout=3, **QUICK))
        with w.connect() as c:
            codes = [x[1]['C'] for x in c.ask(query('SELECT 1')) if x[0] == 'E']
            assert codes in (['40003'], ['57P03'], ['53300'])
            assert a.logins < 40
            c.send(wire.sync())
            assert c.until()[-1] == ('Z', 'I')


# ---- PostgreSQL ---------------------------------------------------------------------------

def test_pg_terminated_before_any_answer(weir):
    with Nodes(weir, KILLED, params=wire.PARAMS) as n, n.w.connect() as c:
        assert c.one('SELECT v FROM kv') == 'two'
        assert n.moved() >= 1


@pytest.mark.parametrize('sql', ['CALL p()', 'DO $$ BEGIN END $$', 'VACUUM kv', 'CREATE TABLE x (a int)',
                                 'SELECT 1; COMMIT'])
def test_pg_not_what_may_last(weir, sql):
    with Nodes(weir, KILLED, params=wire.PARAMS) as n, n.w.connect() as c:
        m = c.ask(query(sql))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and m[-1] == ('Z', 'I')
        assert n.moved() == 0 and c.one('SELECT 1') == 'two'


def test_pg_not_after_a_statement_was_complete(weir):
    def words(_):
        return wire.complete('UPDATE 1') + KILLED
    with Nodes(weir, words, params=wire.PARAMS) as n, n.w.connect() as c:
        m = c.ask(query('UPDATE kv SET v = 1'))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003']
        assert n.moved() == 0


def test_pg_not_without_words(weir):
    """An end of the stream says nothing of what was done."""
    with Nodes(weir, b'', params=wire.PARAMS) as n, n.w.connect() as c:
        m = c.ask(query('UPDATE kv SET v = 1'))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and n.moved() == 0


def test_pg_raised_by_a_function_is_an_error_like_any(weir, pg):
    """57P01 with severity ERROR is somebody's own."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        pid = c.one('SELECT pg_backend_pid()')
        m = c.ask(query("DO $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = '57P01'; END $$"))
        assert [x[1]['M'] for x in m if x[0] == 'E'] == ['mine']
        assert c.one('SELECT pg_backend_pid()') == pid


def test_pg_a_long_statement_stays_ended(weir, pg):
    """pg_terminate_backend() of a runaway statement does not bring it back."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        c.send(query('SELECT pg_sleep(60)'))
        until(lambda: pg.backends("query LIKE 'SELECT pg_sleep(60)' AND state = 'active' "
                                  "AND query_start < now() - interval '1.1 s'") == 1)
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
        m = c.until()
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and m[-1] == ('Z', 'I')
        assert pg.backends("query LIKE 'SELECT pg_sleep(60)' AND state = 'active'") == 0


@pytest.mark.parametrize('kind', ['simple', 'extended', 'named'])
def test_pg_backends_terminated_under_load(weir, pg, kind):
    """Tokens are stored one by one while backends are terminated without end: next to
    no client sees an error, no token is lost or stored twice."""
    w = weir(ini({'app': db(pg, retry_terminated=1)}, workers=2, default_pool_size=4, **QUICK))
    pg.sql('CREATE TABLE IF NOT EXISTS stored (t text); TRUNCATE stored', user='app')
    stop = threading.Event()
    killed = [0]

    def killer():
        with pg.connect() as c:
            while not stop.is_set():
                killed[0] += sum(r[0] == 't' for r in c.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE usename = 'app' ORDER BY random() LIMIT 1"))
                c.sql('SELECT pg_sleep(0.005)')

    def store(c, token):
        text = "INSERT INTO stored VALUES ('%s')" % token
        if kind == 'simple':
            return c.ask(query(text))
        if kind == 'extended':
            return c.ask(wire.parse(text), wire.bind(), wire.execute(), wire.sync())
        return c.ask(wire.parse(text, 's' + token), wire.bind((), 's' + token), wire.execute(),
                     wire.sync())

    def body(i):
        errs, k = [], 0
        with w.connect() as c:
            while k < 100 or killed[0] < 40:
                errs += [x[1]['C'] for x in store(c, '%d_%d' % (i, k)) if x[0] == 'E']
                k += 1
        return errs, k
    k = Spawned(killer)
    done = run_threads(6, body)
    stop.set()
    k.result()
    n, d = map(int, pg.sql('SELECT count(*), count(DISTINCT t) FROM stored', user='app')[0])
    want, errs = sum(n for _, n in done), sum((e for e, _ in done), [])
    # extended: CommandComplete may have come, and the commit at the Sync not
    assert set(errs) <= ({'40003'} if kind != 'simple' else set()) and len(errs) < 5, done
    assert n == d and want - len(errs) <= n <= want, (n, d, done)


# ---- without a word ---------------------------------------------------------------------------

READS = {
    'simple': [query('SELECT count(*) FROM kv')],
    'extended': [wire.parse('SELECT v FROM kv WHERE k = $1'), wire.bind(['1']), wire.describe('P'),
                 wire.execute(), wire.sync()],
    'named': [wire.parse('SELECT 1', 's1'), wire.bind((), 's1'), wire.execute(), wire.sync()],
}


@pytest.mark.parametrize('shape', READS)
@pytest.mark.parametrize('params', [wire.PARAMS, CRDB], ids=['postgresql', 'cockroachdb'])
def test_reads_with_unknown_outcome(weir, shape, params):
    """retry_unknown = readonly: an end without a word is made good for what only reads."""
    with Nodes(weir, b'', params=params, conf={'retry_unknown': 'readonly'}) as n, \
            n.w.connect() as c:
        m = c.ask(*READS[shape])
        assert ('D', ['two']) in m and m[-1] == ('Z', 'I') and n.moved() >= 1


@pytest.mark.parametrize('sql', ['UPDATE kv SET v = 1', "SELECT nextval('calls')", 'SELECT f()',
                                 'SELECT 1; UPDATE kv SET v = 2'])
def test_writes_with_unknown_outcome(weir, sql):
    with Nodes(weir, b'', params=wire.PARAMS, conf={'retry_unknown': 'readonly'}) as n, \
            n.w.connect() as c:
        m = c.ask(query(sql))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and n.moved() == 0


@pytest.mark.parametrize('msgs', [
    [query('BEGIN')], [query("SET application_name = 'x'")], [query('SHOW application_name')],
    [wire.parse('BEGIN'), wire.bind(), wire.execute(), wire.sync()],
    [wire.parse('UPDATE kv SET v = 1', 's1'), wire.describe('S', 's1'), wire.sync()]])
def test_what_is_of_the_session_alone(weir, msgs):
    """Whatever was done of it ended with the server: no setting is needed."""
    with Nodes(weir, b'', params=wire.PARAMS, conf={'lazy_begin': 0}) as n, n.w.connect() as c:
        m = c.ask(*msgs)
        assert 'E' not in [x[0] for x in m] and m[-1][0] == 'Z' and n.moved() >= 1


@pytest.mark.parametrize('msgs, want', [
    ([query('ROLLBACK')], 'C:ROLLBACK Z:I'),
    ([wire.parse('ROLLBACK'), wire.bind(), wire.execute(), wire.sync()], '1 2 C:ROLLBACK Z:I'),
    ([wire.parse('ROLLBACK'), wire.bind(), wire.describe('P'), wire.execute(), wire.sync()],
     '1 2 n C:ROLLBACK Z:I'),
    ([query('ROLLBACK TO SAVEPOINT a')], 'E:40001 Z:E'),
    ([query('COMMIT')], 'E:40003 Z:I'),
])
def test_what_ends_a_transaction(weir, msgs, want):
    """Lost with its answer outstanding: ROLLBACK has what it asked for."""
    def words(conn):
        us = units(conn)
        for u in us:
            text = u[0][1]
            if b'ROLLBACK' in text or text.startswith(b'COMMIT'):
                return
            conn.send(wire.complete('BEGIN') + wire.ready('T'))
    with wire.FakeServer(words) as s:
        w = weir(ini({'app': db(s)}, lazy_begin=0, **QUICK))
        with w.connect() as c:
            c.sql('BEGIN')
            assert wire.shape(c.ask(*msgs)) == want


# ---- 25006 -----------------------------------------------------------------------------------

def test_read_only_primary_that_was_is_left(weir):
    """A server that does not tell of its role (before PostgreSQL 14) and has become a
    standby: the statement goes to the primary."""
    words = wire.error('25006', 'cannot execute UPDATE in a read-only transaction') + wire.ready('I')
    with Nodes(weir, words, params=OLD, target_session_attrs='read-write') as n, \
            n.w.connect() as c:
        with contextlib.suppress(PgError):
            assert c.one('UPDATE kv SET v = 1') == 'two'
        # the node was asked what it is; being scripted it says primary, so the
        # statement is tried again there before its error is passed on
        assert n.moved() >= 1


def test_primary_that_is_fenced_off(weir, new_cluster):
    """It is set read-only while it runs, and a standby is promoted: writers outside a
    transaction see nothing, and the fence does not follow them to the new primary."""
    c = new_cluster
    w = weir(ini({'app': db(*c.nodes, target_session_attrs='read-write')}, workers=2,
                 default_pool_size=4, query_wait_timeout=30, **QUICK))
    stop = threading.Event()
    n = [0] * 6

    def body(i):
        errs = []
        with w.connect() as x:
            while not stop.is_set():
                errs += [m[1]['C'] for m in x.ask(query('UPDATE kv SET v = v + 1 WHERE k = %d' % (i + 1)))
                         if m[0] == 'E']
                n[i] += not errs
        return errs
    t = Spawned(run_threads, 6, body)
    until(lambda: min(n) > 20)
    c.primary.sql('ALTER SYSTEM SET default_transaction_read_only = on', database='postgres')
    c.primary.reload()
    until(lambda: c.primary.one('SHOW default_transaction_read_only') == 'on')
    c.primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                  "AND state <> 'idle' AND query_start < now() - interval '10 s'")
    lsn = c.primary.one('SELECT pg_current_wal_lsn()')
    until(lambda: c.nodes[1].one("SELECT pg_last_wal_replay_lsn() >= '%s'" % lsn) == 't')
    c.nodes[1].promote()
    before = list(n)
    until(lambda: all(a > b + 20 for a, b in zip(n, before)), 30, why='writers on the new primary')
    stop.set()
    assert not sum(t.result(), [])
    assert int(w.one('SELECT pg_is_in_recovery()::int')) == 0
    assert w.one('SHOW default_transaction_read_only') == 'off'


def test_new_connection_to_a_fenced_primary(weir, new_cluster):
    """It is set read-only, nothing has noticed, and the next statement gets a connection
    that was made after that: it waits for the new primary all the same."""
    c = new_cluster
    w = weir(ini({'app': db(*c.nodes, target_session_attrs='read-write')}, query_wait_timeout=60,
                 server_lifetime=0, **{**QUICK, 'health_check_interval': 60}))
    with w.connect() as x:
        x.sql('UPDATE kv SET v = v + 1 WHERE k = 1')
        c.primary.sql('ALTER SYSTEM SET default_transaction_read_only = on', database='postgres')
        c.primary.reload()
        until(lambda: c.primary.one('SHOW default_transaction_read_only') == 'on')
        x.send(query('UPDATE kv SET v = v + 1 WHERE k = 1'))
        assert x.quiet(0.5), x.until()
        lsn = c.primary.one('SELECT pg_current_wal_lsn()')
        until(lambda: c.nodes[1].one("SELECT pg_last_wal_replay_lsn() >= '%s'" % lsn) == 't')
        c.nodes[1].promote()
        m = x.until()
        assert not [e for e in m if e[0] == 'E'], m


def test_read_only_session_gets_its_error(weir, pg):
    """25006 because the client asked for it is an answer like any."""
    w = weir(ini({'app': db(pg, target_session_attrs='read-write')}, **QUICK))
    with w.connect() as c:
        c.sql('SET default_transaction_read_only = on')
        with pytest.raises(PgError) as e:
            c.sql('UPDATE kv SET v = 1 WHERE k = 1')
        assert e.value.code == '25006'
        assert w.retries().get('moved', 0) == 0
