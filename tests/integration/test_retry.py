"""Transparent retry of implicit units that fail with 40001 or 40P01: with real
conflicts, where the counter must equal what was acknowledged, and with a
scripted server for the exact shapes on the wire."""
import threading
import time

import pytest

import wire
from conftest import SLOW, Spawned, db, ini, run_threads, until
from wire import (PgError, bind, close, complete, data_row, describe, error, execute, extended, flush,
                  msg, notice, parse, query, ready, result, row_description, shape, sync)

pytestmark = pytest.mark.weir_only

E1 = error('40001', 'could not serialize access')


# ---- real conflicts ------------------------------------------------------------------------

def hot(w, clients, rounds, how='simple'):
    """Everybody increments one row; (acknowledged, errors by code)."""
    lock = threading.Lock()
    errs = {}

    def body(i):
        ok = 0
        with w.connect() as c:
            for j in range(rounds):
                sql = 'UPDATE kv SET v = v + 1 WHERE k = 500'
                if how == 'simple':
                    m = c.ask(query(sql))
                elif how == 'extended':
                    m = c.ask(extended('UPDATE kv SET v = v + $1::int WHERE k = $2::int', [1, 500]), sync())
                elif how == 'named':
                    if j == 0:
                        c.ask(parse('UPDATE kv SET v = v + $1::int WHERE k = $2::int', 'up'), sync())
                    m = c.ask(bind([1, 500], 'up'), execute(), sync())
                else:
                    m = c.ask(query('WITH u AS (UPDATE kv SET v = v + 1 WHERE k = 500 RETURNING v) SELECT v FROM u'))
                bad = [x[1]['C'] for x in m if x[0] == 'E']
                assert m[-1] == ('Z', 'I')
                if bad:
                    with lock:
                        errs[bad[0]] = errs.get(bad[0], 0) + 1
                else:
                    ok += 1
        return ok
    return sum(run_threads(clients, body)), errs


def counter(pg):
    return int(pg.one('SELECT v FROM kv WHERE k = 500'))


def serializable(pg, **kw):
    """A database whose server connections are serializable by default."""
    return db(pg, options="'-c default_transaction_isolation=serializable'", **kw)


@pytest.mark.parametrize('how', ['simple', 'extended', 'named', 'returning'])
def test_hot_counter(weir, pg, how):
    w = weir(ini({'app': serializable(pg)}, default_pool_size=8, workers=2, retry_max_attempts=100,
                 retry_max_time=30))
    before, ok = counter(pg), 0
    for _ in range(20):  # until there was a conflict: without one nothing is shown
        n, errs = hot(w, 8, 60, how)
        assert errs == {}
        assert n == 480
        ok += n
        assert counter(pg) - before == ok
        got = w.retries()
        if retried(got) > 0:
            break
    assert retried(got) > 0, 'no conflict happened: the test shows nothing: %r' % got


def retried(counters):
    """Retries that were made, from SHOW RETRIES."""
    return counters['retried']


def seen(counters):
    return counters['retry_seen']


class Control:
    """The server itself, serializable by default."""

    def __init__(self, pg):
        self.pg = pg

    def connect(self, **kw):
        c = self.pg.connect('app')
        c.sql("SET default_transaction_isolation = 'serializable'")
        return c


@pytest.mark.direct_too
def test_direct_shows_the_conflicts(pg):
    """The control: the same load without the daemon fails now and then."""
    for _ in range(5):
        before = counter(pg)
        ok, errs = hot(Control(pg), 8, 60)
        assert counter(pg) - before == ok
        if errs:
            assert set(errs) == {'40001'}
            return
    pytest.fail('no conflict in 2400 updates')


def test_off_shows_errors(weir, pg):
    w = weir(ini({'app': serializable(pg, retry='off')}, default_pool_size=8))
    for _ in range(5):
        before = counter(pg)
        ok, errs = hot(w, 8, 60)
        assert counter(pg) - before == ok
        if errs:
            break
    assert set(errs) == {'40001'}
    assert retried(w.retries()) == 0


def test_observe_counts_and_does_nothing(weir, pg):
    w = weir(ini({'app': serializable(pg)}, default_pool_size=8, retry='observe'))
    errs = {}
    for _ in range(5):
        before = counter(pg)
        ok, errs = hot(w, 8, 60)
        assert counter(pg) - before == ok
        if errs:
            break
    assert set(errs) == {'40001'}
    got = w.retries()
    assert retried(got) == 0 and seen(got) >= errs['40001'], got


@pytest.mark.parametrize('level', ['user', 'database'])
def test_retry_of_user_and_database(weir, pg, calls, level):
    """The narrower setting wins."""
    kw = {'users': {'app': 'retry=off'}} if level == 'user' else {}
    w = weir(ini({'app': db(pg, **({'retry': 'off'} if level == 'database' else {})),
                  'x': db(pg, dbname='app', **({'retry': 'off'} if level == 'user' else {}))}, **kw))
    with pytest.raises(PgError):
        w.sql("SELECT fail('40001', 1)")
    assert calls() == 1
    # and the wider one holds where nothing narrower is set
    if level == 'user':
        w2 = weir(ini({'x': db(pg, dbname='app', retry='off')}, users={'app': 'retry=implicit'}))
        assert w2.one("SELECT fail('40001', 2)", database='x') == '42'
    else:
        assert w.one("SELECT fail('40001', 2)", database='x') == '42'


def test_deadlock(weir, pg):
    """40P01 of a multi-statement unit that locks two rows in turn."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, retry_max_attempts=50, retry_max_time=30))
    pg.sql('UPDATE kv SET v = 0 WHERE k IN (1, 2)')

    def body(i):
        a, b = (1, 2) if i % 2 else (2, 1)
        with w.connect() as c:
            for _ in range(15):
                m = c.ask(query('UPDATE kv SET v = v + 1 WHERE k = %d; SELECT pg_sleep(0.003); '
                                'UPDATE kv SET v = v + 1 WHERE k = %d' % (a, b)))
                assert not [x for x in m if x[0] == 'E'], m
                # each statement's tag exactly once
                assert [x[1] for x in m if x[0] == 'C'] == ['UPDATE 1', 'SELECT 1', 'UPDATE 1']
    run_threads(4, body)
    assert pg.sql('SELECT v FROM kv WHERE k IN (1, 2)') == [['60'], ['60']]
    assert retried(w.retries()) > 0


def test_explicit_transactions_are_never_retried(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=4))
    pg.sql('UPDATE kv SET v = 0 WHERE k = 7')
    with w.connect() as a, w.connect() as b:
        a.sql('BEGIN ISOLATION LEVEL REPEATABLE READ')
        a.sql('SELECT v FROM kv WHERE k = 7')
        b.sql('UPDATE kv SET v = v + 1 WHERE k = 7')
        m = a.ask(query('UPDATE kv SET v = v + 1 WHERE k = 7'))
        assert shape(m) == 'E:40001 Z:E'
        assert shape(a.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
    assert retried(w.retries()) == 0
    assert pg.one('SELECT v FROM kv WHERE k = 7') == '1'


# Non-transactional effects on a real server: each fails with 40001 after an
# effect that a rollback does not undo, and must be passed on at the first time.
# nextval('calls') counts how often it ran: sequences are not rolled back.

FAIL = "DO $$BEGIN PERFORM nextval('calls'); RAISE EXCEPTION 'x' USING ERRCODE = '%s'; END$$"
FN = ("CREATE OR REPLACE FUNCTION fail(code text, times int) RETURNS int LANGUAGE plpgsql AS "
      "$$BEGIN IF nextval('calls') <= times THEN RAISE EXCEPTION 'x' USING ERRCODE = code; END IF; RETURN 42; END$$")


@pytest.fixture
def calls(pg):
    pg.sql(FN, user='app')
    with pg.connect('app') as c:
        c.sql('ALTER SEQUENCE calls RESTART')

    def ran():
        r = pg.sql('SELECT last_value, is_called FROM calls')[0]
        return int(r[0]) if r[1] == 't' else 0
    return ran


@pytest.mark.parametrize('code', ['40001', '40P01'])
@pytest.mark.parametrize('ext', [False, True])
def test_fails_twice_then_works(weir, pg, calls, code, ext):
    w = weir(ini({'app': db(pg)}))
    with w.connect() as c:
        sql = "SELECT fail('%s', 2)" % code
        m = c.ask(extended(sql), sync()) if ext else c.ask(query(sql))
        assert ('D', ['42']) in m and m[-1] == ('Z', 'I')
        assert not [x for x in m if x[0] == 'E']
    assert calls() == 3
    assert retried(w.retries()) >= 2


@pytest.mark.direct_too
@pytest.mark.parametrize('code', ['40000', '40002', '40003', '57014', '55P03', '23505', '25P02', 'XXA00', 'P0001'])
def test_other_codes_are_passed_on(weir, pg, calls, code):
    w = weir(ini({'app': db(pg)}))
    with pytest.raises(PgError) as e:
        w.sql("SELECT fail('%s', 1)" % code)
    assert e.value.code == code
    assert calls() == 1


def test_retry_codes(weir, pg, calls):
    w = weir(ini({'app': db(pg)}, retry_codes='40001'))
    with pytest.raises(PgError):
        w.sql("SELECT fail('40P01', 1)")
    assert calls() == 1


def test_gives_up_after_max_attempts(weir, pg, calls):
    w = weir(ini({'app': db(pg)}, retry_max_attempts=3, retry_backoff_base='0.001'))
    with w.connect() as c:
        with pytest.raises(PgError) as e:
            c.sql("SELECT fail('40001', 1000)")
        assert e.value.code == '40001'
        assert calls() == 4
        assert c.one('SELECT 1') == '1'
    got = w.retries()
    assert got['retry_exhausted'] == 1 and got['retried'] == 3 and got['retry_seen'] >= 4, got


def test_gives_up_after_max_time(weir, pg, calls):
    w = weir(ini({'app': db(pg)}, retry_max_time='0.3', retry_max_attempts=1000, retry_backoff_base='0.05',
                 retry_backoff_max='0.1'))
    t = time.monotonic()
    with pytest.raises(PgError) as e:
        w.sql("SELECT fail('40001', 100000)")
    assert e.value.code == '40001'
    assert time.monotonic() - t < 3 * SLOW
    assert 2 < calls() < 1000


NEVER = {
    'DO': FAIL % '40001',
    'BEGIN': "BEGIN; SELECT fail('40001', 1)",
    'commit in between': "INSERT INTO t (a) VALUES ('c'); COMMIT; SELECT fail('40001', 1)",
    'begin in between': "INSERT INTO t (a) VALUES ('b'); BEGIN; SELECT fail('40001', 1)",
    'advisory lock': "SELECT pg_advisory_lock(4711); SELECT fail('40001', 1)",
    'advisory lock, quoted': "SELECT \"pg_advisory_lock\"(4711); SELECT fail('40001', 1)",
    'advisory lock, qualified': "SELECT pg_catalog.pg_advisory_lock (4711); SELECT fail('40001', 1)",
    'advisory lock, comment': "SELECT pg_advisory_lock/* */(4711); SELECT fail('40001', 1)",
    'setval': "SELECT setval('t_id_seq', 999), fail('40001', 1)",
    'set': "SET work_mem = '1MB'; SELECT fail('40001', 1)",
    'ddl': "CREATE TEMP TABLE zz (a int); SELECT fail('40001', 1)",
    'prepare': "PREPARE zz AS SELECT 1; SELECT fail('40001', 1)",
    'copy to': "COPY (SELECT fail('40001', 1)) TO STDOUT",
    'lock': "LOCK TABLE t; SELECT fail('40001', 1)",
    'declare': "DECLARE c CURSOR FOR SELECT 1; SELECT fail('40001', 1)",
    'call': "CALL p()",
    'own denied function': "SELECT careful(), fail('40001', 1)",
}


@pytest.mark.direct_too
@pytest.mark.parametrize('name', list(NEVER))
def test_never_retried(weir, pg, calls, name):
    with pg.connect('app') as c:
        c.sql("CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN INSERT INTO t (a) VALUES ('p'); "
              "COMMIT; PERFORM fail('40001', 1); END$$")
        c.sql('CREATE OR REPLACE FUNCTION careful() RETURNS int LANGUAGE sql AS $$SELECT 1$$')
        c.sql('DELETE FROM t')
    w = weir(ini({'app': db(pg)}, retry_deny_functions='other, careful', pool_mode='session'))
    with w.connect() as c:
        m = c.ask(query(NEVER[name]))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40001'], m
        assert calls() == 1
        if not w.direct:
            assert retried(w.retries()) == 0
        if m[-1] == ('Z', 'E'):
            c.sql('ROLLBACK')
        n = int(pg.one('SELECT count(*) FROM t'))
        assert n == (1 if name in ('commit in between', 'call') else 0)
        if 'advisory' in name:
            assert c.one('SELECT pg_advisory_unlock(4711)') == 't'
            assert c.one('SELECT pg_advisory_unlock(4711)') == 'f'


ALWAYS = {
    'comment': "/* hello */ -- there\n SELECT fail('40001', 1)",
    'parenthesis': "(SELECT fail('40001', 1))",
    'with': "WITH a AS (SELECT fail('40001', 1) AS f) SELECT f FROM a",
    'values': "VALUES (fail('40001', 1))",
    'insert': "INSERT INTO t (a) VALUES (fail('40001', 1)::text)",
    'two inserts': "INSERT INTO t (a) VALUES ('first'); INSERT INTO t (a) VALUES (fail('40001', 1)::text)",
    'explain analyze': "EXPLAIN ANALYZE SELECT fail('40001', 1)",
    'denied word in a string': "SELECT 'pg_advisory_lock(1)', fail('40001', 1)",
    'denied word in a comment': "SELECT /* setval( */ fail('40001', 1)",
    'denied word, no call': "SELECT fail('40001', 1) AS setval",
    'dollar quote': "SELECT $a$ setval(';') $a$, fail('40001', 1)",
    'xact lock': "SELECT pg_advisory_xact_lock(5), fail('40001', 1)",
}


@pytest.mark.parametrize('name', list(ALWAYS))
def test_retried(weir, pg, calls, name):
    pg.sql('DELETE FROM t')
    w = weir(ini({'app': db(pg)}))
    with w.connect() as c:
        m = c.ask(query(ALWAYS[name]))
        assert not [x for x in m if x[0] == 'E'], m
        assert calls() == 2
        assert m[-1] == ('Z', 'I')
    n = int(pg.one('SELECT count(*) FROM t'))
    assert n == {'insert': 1, 'two inserts': 2}.get(name, 0)


def test_answers_equal_those_of_a_server_without_failure(weir, pg, calls):
    """Byte for byte, ParameterStatus and notices included."""
    pg.sql("CREATE OR REPLACE FUNCTION noisy(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'n %', n; "
           "RETURN n; END$$", user='app')
    w = weir(ini({'app': db(pg)}))
    sql = "SELECT noisy(1), noisy(2); SELECT fail('40001', %d)"
    with w.connect() as c:
        c.send(query(sql % 2))
        got = c.until('Z', skip='')
    with pg.connect('app') as d:
        d.send(query(sql % 0))
        want = d.until('Z', skip='')
    assert got == want


def test_named_parse_in_the_unit(weir, pg, calls):
    """A named Parse survives the rollback: the retry must not meet 42P05, and
    the client sees each of its answers once."""
    w = weir(ini({'app': db(pg)}))
    with w.connect() as c:
        m = c.ask(parse("SELECT fail('40001', 2)", 'mine'), describe('S', 'mine'), bind([], 'mine'), execute(), sync())
        assert shape(m) == '1 t T 2 D C:SELECT 1 Z:I', shape(m)
        m = c.ask(bind([], 'mine'), execute(), sync())
        assert shape(m) == '2 D C:SELECT 1 Z:I'
        m = c.ask(close('S', 'mine'), sync())
        assert shape(m) == '3 Z:I'


def test_pipelined_units_keep_their_order(weir, pg, calls):
    """The second of three units fails: never run behind the third."""
    pg.sql('DELETE FROM t')
    w = weir(ini({'app': db(pg)}))
    with w.connect() as c:
        m = c.ask(extended("INSERT INTO t (a) VALUES ('one') RETURNING a") + sync() +
                  extended("INSERT INTO t (a) VALUES ('two' || fail('40001', 1)) RETURNING a") + sync() +
                  extended("INSERT INTO t (a) VALUES ('three') RETURNING a") + sync(), readies=3)
        assert [x[1] for x in m if x[0] == 'Z'] == ['I'] * 3
        rows = [x[1][0] for x in m if x[0] == 'D']
        errs = [x[1]['C'] for x in m if x[0] == 'E']
        if errs:    # allowed: passed on, because something later was on its way
            assert errs == ['40001'] and rows == ['one', 'three']
        else:
            assert rows == ['one', 'two42', 'three']
    order = [r[0] for r in pg.sql('SELECT a FROM t ORDER BY id')]
    assert order == rows


def test_client_gone_during_backoff(weir, pg, calls):
    """The retry of a client that has gone is not run for ever; the server is
    free."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, retry_backoff_base='0.2', retry_backoff_max='0.5',
                 retry_max_attempts=1000, retry_max_time=60))
    c = w.connect()
    c.send(query("SELECT fail('40001', 1000000)"))
    until(lambda: calls() >= 2)
    c.reset()
    t = time.monotonic()
    assert w.one('SELECT 1') == '1'
    assert time.monotonic() - t < 5 * SLOW
    n = calls()
    time.sleep(1)
    assert calls() <= n + 1


def test_cancel_during_backoff(weir, pg, calls):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, retry_backoff_base='0.3', retry_backoff_max='1',
                 retry_max_attempts=1000, retry_max_time=60))
    with w.connect() as c:
        c.send(query("SELECT fail('40001', 1000000)"))
        until(lambda: calls() >= 2)
        t = Spawned(c.until)
        end = time.monotonic() + 20 * SLOW
        while t.is_alive() and time.monotonic() < end:
            wire.cancel(w.port, c.key)
            time.sleep(0.1)
        codes = [m[1]['C'] for m in t.result() if m[0] == 'E']
        assert codes in (['57014'], ['40001'])
        assert c.one('SELECT 1') == '1'


def test_backoff_does_not_hold_up_others(weir, pg, calls):
    """While one backs off, another client of the same worker is served."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry_backoff_base='0.5', retry_backoff_max='0.5'))
    with w.connect() as a, w.connect() as b:
        a.send(query("SELECT fail('40001', 3)"))
        until(lambda: calls() >= 1)
        t = time.monotonic()
        for _ in range(20):
            assert b.one('SELECT 1') == '1'
        assert time.monotonic() - t < 0.4 * SLOW
        assert ('D', ['42']) in a.until()


def by_name(rows):
    return [pytest.param(*r, id=r[0]) for r in rows]


# ---- exact shapes, by a scripted server -----------------------------------------------------

class Script:
    """A server that answers each simple query (or unit up to Sync) from a
    list, and keeps what it was asked."""

    def __init__(self, *answers, ext=False):
        self.answers, self.asked, self.ext = list(answers), [], ext

    def __call__(self, c):
        while True:
            try:
                if self.ext:
                    unit = b''
                    while True:
                        letter, body = c.read_raw()
                        unit += msg(letter, body)
                        if letter in 'SQ':
                            break
                else:
                    letter, body = c.read_raw()
                    assert letter == 'Q', letter
                    unit = msg(letter, body)
            except wire.Closed:
                return
            text = body[:-1].decode() if letter == 'Q' else ''
            if text.startswith(('SET ', 'DISCARD', 'ROLLBACK', 'RESET', 'select set_config', 'SELECT pg_catalog.set_config')):
                self.asked.append(text)
                c.send(complete(text.split()[0]), ready())
                continue
            self.asked.append(unit if self.ext else text)
            assert self.answers, 'asked once too often: %r' % unit
            a = self.answers.pop(0)
            if a is None:
                return
            if callable(a):
                a(c)
            else:
                c.send(a)

    @property
    def count(self):
        return len([a for a in self.asked if isinstance(a, bytes) or a.startswith(('SELECT', 'UPDATE'))])


@pytest.fixture
def scripted(weir):
    fakes = []

    def make(*answers, ext=False, **kw):
        s = Script(*answers, ext=ext)
        f = wire.FakeServer(s)
        fakes.append(f)
        w = weir(ini({'app': db(f)}, **{'health_check_interval': 3600, 'default_pool_size': 1,
                                        'retry_backoff_base': '0.001', **kw}))
        return s, w
    yield make
    for f in fakes:
        f.close()


OK = result('fine') + ready()


@pytest.mark.parametrize('name, failed, again, want', by_name([
    ('error, idle', E1 + ready('I'), True, None),
    ('error after CommandComplete', complete('UPDATE 1') + E1 + ready('I'), True, None),
    ('error after rows that are held', row_description('a') + data_row('1') + E1 + ready('I'), True, None),
    ('notice before', notice('hm') + E1 + ready('I'), True, None),
    ('40P01', error('40P01') + ready('I'), True, None),
    ('localised severity', error('40001', severity='FEHLER', v='ERROR') + ready('I'), True, None),
    ('status T', E1 + ready('T'), False, 'E:40001 Z:T'),
    ('status E', E1 + ready('E'), False, 'E:40001 Z:E'),
    ('complete, then status E', complete('INSERT 0 1') + E1 + ready('E'), False, 'C:INSERT 0 1 E:40001 Z:E'),
    ('tag COMMIT', complete('INSERT 0 1') + complete('COMMIT') + E1 + ready('I'), False, 'C:INSERT 0 1 C:COMMIT E:40001 Z:I'),
    ('other code', error('40003') + ready('I'), False, 'E:40003 Z:I'),
]))
def test_simple_shapes(scripted, name, failed, again, want):
    s, w = scripted(*([failed, OK] if again else [failed]))
    with w.connect() as c:
        m = c.ask(query('SELECT 1'))
        if again:
            assert shape(m) == 'T D C:SELECT 1 Z:I', shape(m)
            assert s.count == 2
        else:
            assert shape(m) == want
            assert s.count == 1


def test_fatal_40001_is_passed_on_once(scripted):
    """Hot standby conflict: the session is gone; one error, connection stays."""
    s, w = scripted(lambda c: (c.send(error('40001', severity='FATAL')), c.sock.shutdown(2)))
    with w.connect() as c:
        m = c.ask(query('SELECT 1'))
        assert shape(m) == 'E:40001 Z:I'
        assert s.count == 1


def test_server_gone_is_unknown_and_never_retried(scripted):
    for cut in (b'', complete('UPDATE 1'), E1, E1 + ready('I')[:4], complete('UPDATE 1') + E1):
        s, w = scripted(lambda c, cut=cut: (c.send(cut) if cut else None, c.sock.shutdown(2)))
        with w.connect() as c:
            m = c.ask(query('UPDATE kv SET v = v + 1'))
            assert len([x for x in m if x[0] == 'E']) == 1 and m[-1] == ('Z', 'I'), (cut, m)
            assert s.count == 1, cut


def test_gone_during_the_retry(scripted):
    s, w = scripted(E1 + ready('I'), lambda c: c.sock.shutdown(2))
    with w.connect() as c:
        m = c.ask(query('UPDATE kv SET v = v + 1'))
        assert len([x for x in m if x[0] == 'E']) == 1 and m[-1] == ('Z', 'I')
        assert s.count == 2


GOODBYE = error('57P01', 'terminating connection due to administrator command', severity='FATAL')


@pytest.mark.parametrize('name, last', by_name([
    ('instead of an answer', GOODBYE),
    ('after CommandComplete', complete('UPDATE 1') + GOODBYE),
    ('after the error', E1 + GOODBYE),
    ('after the whole failure', E1 + ready('I') + GOODBYE),
    ('after the whole failure, in two pieces', None),
]))
def test_server_says_goodbye(scripted, name, last):
    """FATAL and the end at any moment around a retryable failure: the client is
    answered, once, and goes on. (It may be a retry that answers.)"""
    def script(c):
        if last is None:
            c.send(E1 + ready('I'))
            c.send(GOODBYE)
        else:
            c.send(last)
        c.sock.shutdown(2)
    s, w = scripted(script, OK, OK, retry_backoff_base='0.05')
    with w.connect(timeout=10) as c:
        m = c.ask(query('UPDATE kv SET v = v + 1'))
        assert m[-1] == ('Z', 'I')
        assert len([x for x in m if x[0] in 'EC']) == 1, m
        if name == 'after CommandComplete':
            assert s.count == 1
        assert shape(c.ask(query('SELECT 2'))) == 'T D C:SELECT 1 Z:I'


def test_killed_under_retries(weir, pg):
    """Many conflicts, and the servers killed again and again: every client is
    answered every time, and the counter is right."""
    w = weir(ini({'app': serializable(pg)}, workers=2, health_check_interval='0.2', server_login_retry='0.1',
                 retry_max_attempts=100))
    stop, last = [], {}
    before = counter(pg)

    def body(i):
        ok = unknown = 0
        with w.connect(timeout=60) as c:
            while not stop:
                last[i] = time.monotonic()
                m = c.ask(query('UPDATE kv SET v = v + 1 WHERE k = 500'))
                bad = [x[1]['C'] for x in m if x[0] == 'E']
                # 40001: its server was killed while it waited for the next
                # attempt; that one had certainly failed
                assert bad in ([], ['40003'], ['40001']) or bad[0][:2] in ('57', '08'), bad
                ok += not bad
                unknown += bad not in ([], ['40001'])
        return ok, unknown
    t = Spawned(run_threads, 10, body)
    for _ in range(25):
        time.sleep(0.1)
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'", database='postgres')
        until(lambda: all(time.monotonic() - x < 2 * SLOW for x in last.values()) or not t.is_alive(), 20,
              why='every client to be answered')
    stop.append(1)
    res = t.result()
    ok, unknown = sum(r[0] for r in res), sum(r[1] for r in res)
    assert ok > 100
    assert ok <= counter(pg) - before <= ok + unknown


def test_multi_statement_is_sent_whole(scripted):
    sql = "SELECT 1; UPDATE kv SET v = 1"
    s, w = scripted(result() + E1 + ready('I'), result() + complete('UPDATE 1') + ready('I'))
    with w.connect() as c:
        assert shape(c.ask(query(sql))) == 'T D C:SELECT 1 C:UPDATE 1 Z:I'
    assert [a for a in s.asked if a == sql] == [sql, sql]


def test_more_completes_than_statements(scripted):
    """The lexer believed one, the server did three: never retried."""
    s, w = scripted(complete('SELECT 1') * 3 + E1 + ready('I'))
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) == 'C:SELECT 1 C:SELECT 1 C:SELECT 1 E:40001 Z:I'
    assert s.count == 1


def test_hold_overflow(scripted):
    """More than retry_hold_max is passed on, and then not retried."""
    rows = data_row('x' * 1000) * 10
    s, w = scripted(row_description('a') + rows + E1 + ready('I'), retry_hold_max='4k')
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) == 'T ' + 'D ' * 10 + 'E:40001 Z:I'
    assert s.count == 1


def test_hold_just_fits(scripted):
    rows = data_row('x' * 1000) * 3
    s, w = scripted(row_description('a') + rows + E1 + ready('I'), OK, retry_hold_max='4k')
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) == 'T D C:SELECT 1 Z:I'
    assert s.count == 2


def test_one_row_bigger_than_the_hold(scripted):
    s, w = scripted(row_description('a') + data_row('x' * 3000000) + E1 + ready('I'), retry_hold_max='256k')
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) == 'T D E:40001 Z:I'
    assert s.count == 1


def test_hold_time(scripted):
    """What was held is let out after retry_hold_time, while the server still
    works; then no retry."""
    go = threading.Event()

    def slow(c):
        c.send(row_description('a') + data_row('early'))
        assert go.wait(20)
        c.send(E1 + ready('I'))
    s, w = scripted(slow, retry_hold_time='0.2')
    with w.connect() as c:
        c.send(query('SELECT 1'))
        got = c.until('D')
        assert got[-1] == ('D', ['early'])
        go.set()
        assert shape(c.until()) == 'E:40001 Z:I'
    assert s.count == 1


def test_hold_time_runs_only_while_bytes_are_held(scripted):
    """Waiting on a lock with nothing held loses nothing."""
    def slow(c):
        time.sleep(0.6)
        c.send(E1 + ready('I'))
    s, w = scripted(slow, OK, retry_hold_time='0.2')
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) == 'T D C:SELECT 1 Z:I'
    assert s.count == 2


def test_nothing_reaches_the_client_before_the_outcome(scripted):
    go = threading.Event()

    def slow(c):
        c.send(row_description('a') + data_row('1') + complete('SELECT 1'))
        assert go.wait(20)
        c.send(E1 + ready('I'))
    s, w = scripted(slow, OK, retry_hold_time=30)
    with w.connect() as c:
        c.send(query('SELECT 1'))
        assert c.quiet(0.3)
        go.set()
        assert shape(c.until()) == 'T D C:SELECT 1 Z:I'


def test_not_eligible_is_not_held(scripted):
    go = threading.Event()

    def slow(c):
        c.send(row_description('a') + data_row('1'))
        assert go.wait(20)
        c.send(complete('SELECT 1') + ready('I'))
    s, w = scripted(slow, retry_hold_time=30)
    with w.connect() as c:
        c.send(query('DO $$BEGIN END$$'))
        c.until('D')
        go.set()
        c.until()


def test_parameter_status_and_notification_in_order(scripted):
    """An asynchronous message of the failed attempt: its setting was rolled
    back by the server itself (S again); nothing is lost, nothing invented."""
    s, w = scripted(E1 + ready('I'), msg('A', b'\0\0\0\1ch\0pay\0') + result('v') + ready('I'))
    with w.connect() as c:
        m = c.ask(query('SELECT 1'))
        assert shape(m) == 'A T D C:SELECT 1 Z:I'


def test_budget_of_all_is_no_reason_to_fail(scripted):
    """retry_mem_total used up: passed on, never an error of our own."""
    s, w = scripted(E1 + ready('I'), OK, retry_mem_total=0)
    with w.connect() as c:
        assert shape(c.ask(query('SELECT 1'))) in ('E:40001 Z:I', 'T D C:SELECT 1 Z:I')
    s.answers[:] = []


def test_flush_releases_and_ends_eligibility(weir):
    """Bytes that a Flush let out were seen: no retry after rows."""
    def answer(c):
        for want in 'PBE':
            c.expect(want)
        assert c.read_raw()[0] == 'H'
        c.send(msg('1') + msg('2') + data_row('1') + complete('SELECT 1'))
        assert c.read_raw()[0] == 'S'
        c.send(E1 + ready('I'))
        c.wait_close()
    with wire.FakeServer(answer) as fake:
        w = weir(ini({'app': db(fake)}, health_check_interval=3600, default_pool_size=1,
                     max_prepared_statements=0))
        with w.connect() as c:
            c.send(parse('SELECT 1'), bind(), execute(), flush())
            assert shape(c.until('C')) == '1 2 D C:SELECT 1'
            c.send(sync())
            assert shape(c.until()) == 'E:40001 Z:I'


def test_show_retries_counts(scripted):
    s, w = scripted(E1 + ready('I'), E1 + ready('I'), OK, E1 + ready('E'), complete('ROLLBACK') + ready())
    with w.connect() as c:
        c.ask(query('SELECT 1'))
        c.ask(query('SELECT 2'))
    got = w.retries()
    assert retried(got) == 2, got
    assert seen(got) >= 3, got
