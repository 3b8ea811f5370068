"""Transactions that fail with 40001 or 40P01 are replayed: with real conflicts, made
one at a time so that it is known what must come out, and with many clients."""
import time

import pytest

import wire
from conftest import db, ini, run_threads, until
from wire import bind, cancel, close, execute, extended, parse, query, sync

pytestmark = pytest.mark.weir_only

LEVEL = 'REPEATABLE READ'
FAST = {'retry_backoff_base': 0, 'retry_backoff_max': 0}


@pytest.fixture(params=[0, 1], ids=['eager', 'lazy'])
def w(request, weir, pg):
    return weir(ini({'app': db(pg)}, default_pool_size=4, lazy_begin=request.param, retry='replay',
                    **FAST))


def one(msgs):
    assert not [m for m in msgs if m[0] == 'E'], msgs
    return [m[1][0] for m in msgs if m[0] == 'D']


def codes(msgs):
    return [m[1]['C'] for m in msgs if m[0] == 'E']


def conflict(pg, k=500):
    """Somebody else changes the row, behind pgweir's back."""
    with pg.connect('app') as c:
        c.sql('UPDATE kv SET v = v + 1 WHERE k = %d' % k)


def value(pg, k=500):
    return int(pg.one('SELECT v FROM kv WHERE k = %d' % k))


def ask(c, sql, how='simple'):
    if how == 'simple':
        return c.ask(query(sql))
    return c.ask(extended(sql), sync())


HOW = pytest.mark.parametrize('how', ['simple', 'extended'])


@HOW
def test_conflict_with_nothing_read(w, pg, how):
    """The snapshot is older than another's commit; nothing that was told depends on it."""
    before = value(pg)
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL, how)
        assert one(ask(c, 'SELECT 7', how)) == ['7']
        conflict(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500', how)
        assert not codes(m) and m[-1] == ('Z', 'T'), m
        m = ask(c, 'COMMIT', how)
        assert not codes(m) and m[-1] == ('Z', 'I')
    assert value(pg) == before + 11
    got = w.retries()
    assert got['replay_ok'] == 1 and got['replay_mismatch'] == 0, got


@HOW
def test_conflict_with_something_read(w, pg, how):
    """The row it has read is another now: it gets its error, and its block has failed."""
    before = value(pg)
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL, how)
        assert one(ask(c, 'SELECT v FROM kv WHERE k = 500', how)) == [str(before)]
        conflict(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500', how)
        assert codes(m) == ['40001'] and m[-1] == ('Z', 'E'), m
        m = ask(c, 'SELECT 1', how)
        assert codes(m) == ['25P02'] and m[-1] == ('Z', 'E')
        m = ask(c, 'COMMIT', how)
        assert ('C', 'ROLLBACK') in m and m[-1] == ('Z', 'I')
        assert one(ask(c, 'SELECT 5', how)) == ['5']
    assert value(pg) == before + 1
    got = w.retries()
    assert got['replay_ok'] == 0 and got['replay_mismatch'] == 1, got


@HOW
def test_conflict_at_commit(w, pg, how):
    """Two serializable transactions of which one must fail: at its COMMIT."""
    with w.connect() as c, pg.connect('app') as other:
        ask(c, 'BEGIN ISOLATION LEVEL SERIALIZABLE', how)
        one(ask(c, 'SELECT k FROM kv WHERE k = 10', how))
        other.sql('BEGIN ISOLATION LEVEL SERIALIZABLE')
        other.sql('SELECT v FROM kv WHERE k = 20')
        one(ask(c, 'UPDATE kv SET v = v + 1 WHERE k = 20', how))
        other.sql('UPDATE kv SET v = v + 1 WHERE k = 10')
        other.sql('COMMIT')
        m = ask(c, 'COMMIT', how)
        assert not codes(m) and m[-1] == ('Z', 'I'), m
    got = w.retries()
    assert got['replay_ok'] == 1, got


def test_many_clients(weir, pg):
    """Blind increments by transactions: none fails, and each is there once."""
    w = weir(ini({'app': db(pg)}, default_pool_size=8, workers=2, retry='replay',
                 retry_max_attempts=1000, retry_max_time=60))
    before = value(pg)

    def body(i):
        how = ['simple', 'extended'][i % 2]
        with w.connect() as c:
            for _ in range(40):
                for sql in ('BEGIN ISOLATION LEVEL ' + LEVEL, 'SELECT k FROM kv WHERE k = 3',
                            'UPDATE kv SET v = v + 1 WHERE k = 500', 'COMMIT'):
                    m = ask(c, sql, how)
                    assert not codes(m), m
        return 40
    assert sum(run_threads(8, body)) == 320
    assert value(pg) == before + 320
    got = w.retries()
    assert got['replay_ok'] > 0, got


def fail(w, pg, c, first='SELECT 7'):
    """Brings c's transaction to a conflict; the answer to the statement that meets it."""
    ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
    one(ask(c, first))
    conflict(pg)
    return ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')


def test_mismatches_are_told_by_number(w, pg):
    """Which statement came out otherwise: the same number for the same statement with other
    values, in SHOW MISMATCHES and in the log, and its text nowhere."""
    for first in ('SELECT v, 1234567 FROM kv WHERE k = 500', 'select v, 7654321 from kv where k = 500'):
        with w.connect() as c:
            assert codes(fail(w, pg, c, first)) == ['40001']
    rows = w.console('SHOW MISMATCHES')
    assert len(rows) == 1 and (rows[0]['unit'], rows[0]['mismatches']) == ('1', '2'), rows
    assert w.log().count('fingerprint=' + rows[0]['fingerprint']) == 2
    assert '7654321' not in w.log()


def test_deadlock(weir, pg):
    """The victim of a deadlock is replayed, and both transactions are done."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, retry='replay'))
    with w.connect() as a, w.connect() as b:
        for c, k in ((a, 10), (b, 20)):
            ask(c, 'BEGIN')
            one(ask(c, 'UPDATE kv SET v = v + 1 WHERE k = %d' % k))
        a.send(query('UPDATE kv SET v = v + 1 WHERE k = 20'))
        until(lambda: pg.backends("wait_event_type = 'Lock'") == 1, why='the first to wait')
        b.send(query('UPDATE kv SET v = v + 1 WHERE k = 10'))
        # one of them goes on, and the other when that has committed
        ready = [c for c in (a, b) if not c.quiet(2)]
        assert len(ready) == 1
        for c in ready + [c for c in (a, b) if c not in ready]:
            one(c.until())
            assert not codes(ask(c, 'COMMIT'))
    assert w.retries()['replay_ok'] == 1


@HOW
def test_backend_ended_in_the_transaction(w, pg, how):
    """Its server is lost: it goes on with another one, and what it was told holds."""
    before = value(pg)
    with w.connect() as c:
        ask(c, 'BEGIN', how)
        ask(c, "SET LOCAL work_mem = '333kB'", how)
        one(ask(c, 'UPDATE kv SET v = v + 1 WHERE k = 500', how))
        assert one(ask(c, 'SHOW work_mem', how)) == ['333kB']
        pg.one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'")
        assert one(ask(c, 'SELECT v FROM kv WHERE k = 500', how)) == [str(before + 1)]
        assert one(ask(c, 'SHOW work_mem', how)) == ['333kB']
        m = ask(c, 'COMMIT', how)
        assert not codes(m) and m[-1] == ('Z', 'I')
    assert value(pg) == before + 1
    got = w.retries()
    assert got['replay_lost'] == 1 and got['replay_ok'] == 1, got


def test_backend_ended_and_the_data_moved(w, pg):
    """What it has read is not so any more: it is told that its transaction is lost."""
    before = value(pg)
    with w.connect() as c:
        ask(c, 'BEGIN')
        assert one(ask(c, 'SELECT v FROM kv WHERE k = 500')) == [str(before)]
        conflict(pg)
        pg.one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'")
        m = ask(c, 'UPDATE kv SET v = %d WHERE k = 500' % (before + 5))
        assert codes(m) == ['40001'] and m[-1] == ('Z', 'E')
        assert codes(ask(c, 'SELECT 1')) == ['25P02']
        m = ask(c, 'COMMIT')
        assert ('C', 'ROLLBACK') in m and m[-1] == ('Z', 'I')
    assert value(pg) == before + 1


def test_named_statements(w, pg):
    """Prepared before and in the transaction, closed in it: as they were afterwards."""
    with w.connect() as c:
        one(c.ask(parse('SELECT 1', 'before'), sync()))
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        one(c.ask(parse('SELECT 2', 'inside'), bind([], 'before'), execute(), sync()))
        assert one(c.ask(bind([], 'inside'), execute(), close('S', 'before'), sync())) == ['2']
        conflict(pg)
        m = c.ask(parse('UPDATE kv SET v = v + 10 WHERE k = 500', 'up'), bind([], 'up'), execute(), sync())
        assert not codes(m), m
        assert not codes(ask(c, 'COMMIT'))
        assert one(c.ask(bind([], 'inside'), execute(), sync())) == ['2']
        assert not codes(c.ask(bind([], 'up'), execute(), sync()))
        assert codes(c.ask(bind([], 'before'), execute(), sync())) == ['26000']
    assert w.retries()['replay_ok'] == 1


def test_open_savepoint_is_left_alone(w, pg):
    """Its owner may want to go back to it, and can."""
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, 'SAVEPOINT s')
        one(ask(c, 'SELECT 1'))
        conflict(pg)
        assert codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')) == ['40001']
        m = ask(c, 'ROLLBACK TO s')
        assert not codes(m) and m[-1] == ('Z', 'T')
        assert one(ask(c, 'SELECT 2')) == ['2']
        ask(c, 'ROLLBACK')
    got = w.retries()
    assert got['refused_savepoint'] == 1 and got['replay_begun'] == 0, got


def test_closed_savepoint_is_replayed(w, pg):
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, 'SAVEPOINT s')
        one(ask(c, 'SELECT 1'))
        ask(c, 'RELEASE s')
        conflict(pg)
        assert not codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500'))
        assert not codes(ask(c, 'COMMIT'))
    assert w.retries()['replay_ok'] == 1


def test_cancel_during_a_replay(weir, pg):
    """A cancel in the pause: 57014, and a transaction that has failed."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry='replay', retry_backoff_base=30,
                 retry_backoff_max=30, retry_max_time=100))
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        one(ask(c, 'SELECT 1'))
        conflict(pg)
        c.send(query('UPDATE kv SET v = v + 10 WHERE k = 500'))
        until(lambda: w.retries()['retry_eligible'] == 1, why='the conflict')
        time.sleep(0.05)
        cancel(w.port, c.key)
        m = c.until()
        assert codes(m) == ['57014'] and m[-1] == ('Z', 'E'), m
        assert codes(ask(c, 'SELECT 1')) == ['25P02']
        ask(c, 'ROLLBACK')
        assert one(ask(c, 'SELECT 1')) == ['1']


def test_observe_counts_and_does_nothing(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry='observe'))
    with w.connect() as c:
        m = fail(w, pg, c)
        assert codes(m) == ['40001'] and m[-1] == ('Z', 'E')
        ask(c, 'ROLLBACK')
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        one(ask(c, 'SELECT 7'))
        ask(c, 'LOCK TABLE kv IN ACCESS SHARE MODE')
        ask(c, "SELECT pg_advisory_xact_lock(5)")
        conflict(pg)
        assert codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')) == ['40001']
        ask(c, 'ROLLBACK')
    got = w.retries()
    assert got['retry_seen'] == 2 and got['retry_eligible'] == 1 and got['refused_class'] == 1, got
    assert got['replay_begun'] == 0


@pytest.mark.parametrize('what', ['log', 'units', 'memory'])
def test_caps(weir, pg, what):
    """Over a cap a transaction is not replayed, and nothing fails for it."""
    more = {'log': {'replay_log_max': 1024}, 'units': {'replay_units_max': 5},
            'memory': {'retry_mem_total': 0}}[what]
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry='replay', **more))
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        for i in range(12):
            assert one(ask(c, "SELECT '%s'" % ('x' * 100))) == ['x' * 100]
        conflict(pg)
        assert codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')) == ['40001']
        ask(c, 'ROLLBACK')
    got = w.retries()
    assert got['refused_memory'] == 1 and got['replay_begun'] == 0, got


def test_commit_of_a_replay_is_lost(weir, pg):
    """The COMMIT runs for the second time when the connection breaks: whether it was done is
    not known, and that is what its client is told. (A scripted server: a real one cannot be
    made to fail at COMMIT and then to go.)"""
    def script(s):
        while True:
            text = s.expect_query()
            if text == 'COMMIT' and s.server.fails:
                s.server.fails -= 1
                s.send(wire.error('40001', 'could not serialize access'), wire.ready('I'))
            elif text == 'COMMIT':
                return
            else:
                s.send(wire.complete(text), wire.ready('T'))
    with wire.FakeServer(script) as fake:
        fake.fails = 1
        w = weir(ini({'app': db(fake)}, retry='replay', lazy_begin=0, health_check_interval=60, **FAST))
        with w.connect() as c:
            ask(c, 'BEGIN')
            ask(c, 'UPDATE 1')
            m = ask(c, 'COMMIT')
            assert codes(m) == ['40003'] and m[-1] == ('Z', 'I'), m


def test_a_flushed_batch_is_lost(weir):
    """Its client waits for the answers before it sends a Sync: so they are not held when
    the batch runs on another connection."""
    def script(s):
        s.expect_query('BEGIN')
        s.send(wire.complete('BEGIN'), wire.ready('T'))
        for letter in 'PBEH':
            s.expect(letter)
        if s.server.logins == 1:
            return
        s.send(wire.msg('1', b''), wire.msg('2', b''), wire.data_row('7'), wire.complete('SELECT 1'))
        s.expect('S')
        s.send(wire.ready('T'))
        s.expect_query('COMMIT')
        s.send(wire.complete('COMMIT'), wire.ready('I'))
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, retry='replay', lazy_begin=0, retry_hold_time=0,
                     health_check_interval=60))
        with w.connect() as c:
            ask(c, 'BEGIN')
            c.send(parse('SELECT 7'), bind([]), execute(), wire.flush())
            assert [c.read()[0] for _ in range(4)] == ['1', '2', 'D', 'C']
            assert c.ask(sync())[-1] == ('Z', 'T')
            assert not codes(ask(c, 'COMMIT'))
        assert w.retries()['replay_lost'] == 1
