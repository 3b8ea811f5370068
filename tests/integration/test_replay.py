"""Transactions that fail with 40001 or 40P01 are replayed: with real conflicts, made
one at a time so that it is known what must come out, and with many clients."""
import pytest

import wire
from conftest import db, ini, run_threads, until
from wire import PgError, bind, close, describe, execute, extended, flush, parse, query, sync

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
    print(got)
