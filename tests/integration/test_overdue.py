"""Time limits, reserve_pool_size, and what is said to who waits.

A user's setting holds over its database's, and that over the global one.

SPDX-License-Identifier: ISC
"""
import pytest

from conftest import db, ini, until
import wire

LONG = 60


def scopes(name, where):
    """Settings with which `name` is short by the scope `where`, and long in those that it
    overrides; and 'not': long by the user, short by the others."""
    g = {'global': 0.2, 'db': LONG, 'user': LONG, 'not user': 0.2, 'not db': 0.2}[where]
    d = {'db': 0.2, 'user': LONG, 'not user': 0.2, 'not db': LONG}.get(where)
    u = {'user': 0.2, 'not user': LONG}.get(where)
    return ({name: g}, {name: d} if d else {}, {'app': '%s=%s' % (name, u)} if u else {})


def start(weir, pg, name, where, **more):
    g, d, u = scopes(name, where)
    return weir(ini({'app': db(pg, **d)}, users=u, **g, **more))


def ended(c):
    """The FATAL that c is ended with: (SQLSTATE, message)."""
    while True:
        m = c.read()
        if m[0] == 'E':
            assert m[1]['S'] == 'FATAL'
            c.closed()
            return m[1]['C'], m[1]['M']


SCOPES = ['global', 'db', 'user']


@pytest.mark.parametrize('where', SCOPES)
def test_query_timeout(weir, pg, where):
    """The statement is cancelled, its client ended, its server used again."""
    w = start(weir, pg, 'query_timeout', where, default_pool_size=1)
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
        c.send(wire.query('SELECT pg_sleep(30)'))
        assert ended(c) == ('57014', 'terminating connection due to query_timeout')
    assert w.one('SELECT 2') == '2'
    assert pg.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%sleep(30)%%' AND state = 'active' "
                  "AND pid <> pg_backend_pid()") == '0'
    assert w.log_lines('event=client_closed', 'why=query_timeout', 'sqlstate=57014')


@pytest.mark.parametrize('where', ['not db', 'not user'])
def test_query_timeout_that_is_overridden(weir, pg, where):
    w = start(weir, pg, 'query_timeout', where)
    assert w.one('SELECT 1 FROM pg_sleep(1)') == '1'


def test_query_timeout_counts_each_statement(weir, pg):
    """Many short ones in a row, in a pipeline too, and a transaction that is idle."""
    w = weir(ini({'app': db(pg)}, query_timeout=0.7))
    with w.connect() as c:
        c.send(*[wire.query('SELECT pg_sleep(0.2)')] * 8)
        for _ in range(8):
            c.until('Z')
        c.hold()
        assert c.one('SELECT 1 FROM pg_sleep(0.3)') == '1'
        with w.connect() as d:
            assert d.one('SELECT 1 FROM pg_sleep(0.6)') == '1'
            assert d.one('SELECT 1 FROM pg_sleep(0.6)') == '1'
        c.sql('COMMIT')


def test_query_timeout_of_one_who_waits(weir, pg):
    w = weir(ini({'app': db(pg)}, query_timeout=0.5, default_pool_size=1))
    with w.connect() as a, w.connect() as b:
        a.hold()
        b.send(wire.query('SELECT 1'))
        assert ended(b) == ('57014', 'terminating connection due to query_timeout')
        a.sql('COMMIT')


@pytest.mark.parametrize('where', SCOPES)
def test_transaction_timeout(weir, pg, where):
    pg.sql('DROP TABLE IF EXISTS tt; CREATE TABLE tt (i int); GRANT ALL ON tt TO app')
    w = start(weir, pg, 'transaction_timeout', where, default_pool_size=1)
    with w.connect() as c:
        c.sql('BEGIN')
        c.sql('INSERT INTO tt VALUES (1)')
        assert ended(c) == ('25P04', 'terminating connection due to transaction_timeout')
    assert w.one('SELECT count(*) FROM tt') == '0'


def test_transaction_timeout_begins_anew(weir, pg):
    """Each transaction has the whole time, and a busy one has no more."""
    w = weir(ini({'app': db(pg)}, transaction_timeout=1))
    with w.connect() as c:
        for _ in range(4):
            c.sql('BEGIN')
            c.sql('SELECT pg_sleep(0.3)')
            c.sql('COMMIT')
        c.sql('BEGIN')
        with pytest.raises((wire.PgError, wire.Closed, OSError)) as e:
            while True:
                c.sql('SELECT pg_sleep(0.1)')
        assert not isinstance(e.value, wire.PgError) or e.value.code == '25P04'


@pytest.mark.parametrize('where', SCOPES)
def test_idle_transaction_timeout(weir, pg, where):
    w = start(weir, pg, 'idle_transaction_timeout', where)
    with w.connect() as c:
        c.hold()
        assert ended(c) == ('25P03', 'terminating connection due to idle_transaction_timeout')


@pytest.mark.parametrize('where', SCOPES)
def test_client_idle_timeout(weir, pg, where):
    w = start(weir, pg, 'client_idle_timeout', where)
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
        assert ended(c) == ('57P05', 'terminating connection due to client_idle_timeout')


@pytest.mark.parametrize('where', SCOPES)
def test_query_wait_timeout(weir, pg, where):
    w = start(weir, pg, 'query_wait_timeout', where, default_pool_size=1)
    with w.connect() as a, w.connect() as b:
        a.hold()
        with pytest.raises(wire.PgError) as e:
            b.sql('SELECT 1')
        assert e.value.code == '53300'
        a.sql('COMMIT')
        assert b.one('SELECT 1') == '1'


@pytest.mark.parametrize('g, d, u, want', [(5, None, None, 5), (5, 3, None, 3), (5, None, 2, 2), (5, 3, 2, 2)])
def test_pool_size(weir, pg, g, d, u, want):
    w = weir(ini({'app': db(pg, **({'pool_size': d} if d else {}))}, default_pool_size=g, query_wait_timeout=0.2,
                 users={'app': 'pool_size=%d' % u} if u else {}))
    cs = [w.connect() for _ in range(want + 1)]
    for c in cs[:-1]:
        c.hold()
    with pytest.raises(wire.PgError):
        cs[-1].sql('SELECT 1')
    for c in cs:
        c.close()


@pytest.mark.parametrize('g, d, u, want', [
    ('session', None, None, 1), ('session', 'transaction', None, 0), ('session', None, 'transaction', 0),
    ('transaction', 'transaction', 'session', 1), ('session', 'session', 'transaction', 0)])
def test_pool_mode(weir, pg, g, d, u, want):
    """In session pooling the server stays with its client."""
    w = weir(ini({'app': db(pg, **({'pool_mode': d} if d else {}))}, pool_mode=g, default_pool_size=1,
                 users={'app': 'pool_mode=%s' % u} if u else {}, query_wait_timeout=0.2))
    with w.connect() as a, w.connect() as b:
        a.sql('SELECT 1')
        if want:
            with pytest.raises(wire.PgError):
                b.sql('SELECT 1')
        else:
            b.sql('SELECT 1')


# ---- who waits ----------------------------------------------------------------------

@pytest.mark.parametrize('notify', [0.2, 0])
def test_query_wait_notify(weir, pg, notify):
    """One notice for one wait, with nothing else between; the answer comes behind it."""
    w = weir(ini({'app': db(pg)}, query_wait_notify=notify, default_pool_size=1))
    with w.connect() as a, w.connect() as b:
        for _ in range(2):
            a.hold()
            b.send(wire.query('SELECT 7'))
            if notify:
                kind, fields = b.read()[:2]
                assert (kind, fields['S'], fields['C']) == ('N', 'NOTICE', '00000')
                assert fields['M'] == \
                    'No server connection available in postgres backend, client being queued'
            a.sql('SELECT pg_sleep(1)')
            a.sql('COMMIT')
            assert wire.shape(b.until('Z', skip='')) == 'T D C:SELECT 1 Z:I'


@pytest.mark.parametrize('where', SCOPES)
def test_reserve_pool(weir, pg, where):
    """After reserve_pool_timeout there is one more server, and no two."""
    g = 1 if where == 'global' else 0
    w = weir(ini({'app': db(pg, **({'reserve_pool': 1} if where == 'db' else {}))},
                 users={'app': 'reserve_pool_size=1'} if where == 'user' else {}, reserve_pool_size=g,
                 default_pool_size=1, reserve_pool_timeout=0.2, server_idle_timeout=0.5,
                 query_wait_timeout=1.5))
    with w.connect() as a, w.connect() as b, w.connect() as c:
        a.hold()
        b.hold()
        with pytest.raises(wire.PgError) as e:
            c.sql('SELECT 1')
        assert e.value.code == '53300'
        assert pg.backends() == 2
        for x in (a, b):
            x.sql('COMMIT')
    until(lambda: pg.backends() == 0, why='idle ones to go')


def test_autodb_idle_timeout(weir, pg):
    """The pool of a database by * that nobody uses is closed; that of a named one is not."""
    w = weir(ini({'*': db(pg), 'app2': db(pg)}, autodb_idle_timeout=0.2, server_idle_timeout=LONG, verbose=1))
    assert w.one('SELECT 1', database='app2') == '1'
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
        w.one('SELECT pg_sleep(1)', database='app2')
        assert not w.log_lines('why=autodb_idle_timeout')
    w.wait_log('event=server_closed', 'why=autodb_idle_timeout')
    assert len(w.log_lines('event=server_closed')) == 1


def test_transaction_timeout_and_lazy_begin(weir, pg):
    """A transaction begins with its BEGIN, also where the server is told later; what was before
    does not count."""
    w = weir(ini({'app': db(pg)}, transaction_timeout=1.5))
    with w.connect() as c, w.connect() as idle:
        idle.sql('SELECT 1')
        c.sql('BEGIN')                        # its first transaction
        c.sql('SELECT pg_sleep(0.8)')
        c.sql('COMMIT')
        c.sql('SELECT pg_sleep(0.8)')
        idle.sql('BEGIN')
        idle.sql('SELECT pg_sleep(0.8)')
        idle.sql('COMMIT')
        c.sql('BEGIN')
        c.send(wire.query('SELECT pg_sleep(30)'))
        assert ended(c)[0] == '25P04'
    longest = [int(r['max_us']) for r in w.console('SHOW HISTOGRAMS') if r['histogram'] == 'transaction']
    assert longest and max(longest) < 60000000


def test_reserve_stays_through_a_reload(weir, pg):
    """Its servers are in use: they are not one too many."""
    w = weir(ini({'app': db(pg)}, reserve_pool_size=2, default_pool_size=1, reserve_pool_timeout=0.2))
    cs = [w.connect() for _ in range(3)]
    for c in cs:
        c.hold()
    pids = {c.one('SELECT pg_backend_pid()') for c in cs}
    w.console('RELOAD')
    for c in cs:
        c.sql('COMMIT')
    assert {r[0] for r in pg.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND usename = 'app'")} >= pids
    for c in cs:
        c.close()
