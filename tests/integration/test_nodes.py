"""Several hosts: spreading, death, return, roles."""
import signal
import time

import pytest

import wire
from conftest import SLOW, Spawned, db, free_port, ini, run_threads, until
from wire import PgError, query

pytestmark = pytest.mark.weir_only

QUICK = {'health_check_interval': '0.2', 'health_check_timeout': '0.5', 'server_login_retry': '0.2'}


def ports_of(w, n, **kw):
    """Which server answered: n clients at once, so that each has its own."""
    cs = [w.connect(**kw) for _ in range(n)]
    for c in cs:
        c.sql('BEGIN')
    out = [int(c.one("SELECT setting FROM pg_settings WHERE name = 'port'")) for c in cs]
    for c in cs:
        c.sql('COMMIT')
        c.close()
    return out


def is_loss(code):
    """What a lost server may be called: connection trouble, shutdown, or (a
    statement was on its way) outcome unknown."""
    return code[:2] in ('08', '57') or code == '40003'


def port_of(w, **kw):
    return ports_of(w, 1, **kw)[0]


def node(w, port):
    """The row of SHOW NODES for this port."""
    for r in w.console('SHOW NODES'):
        if r['node'].endswith(':%d' % port):
            return r
    return {}


def node_is(w, port, word):
    r = node(w, port)
    return word in (r.get('state'), r.get('role'))


def wait_node(w, port, word, timeout=15):
    return until(lambda: node_is(w, port, word), timeout, why='node %d to be %s' % (port, word))


# ---- spreading -------------------------------------------------------------------------

def test_spread_least_connections(weir, cluster):
    w = weir(ini({'app': db(*cluster.nodes)}, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    got = ports_of(w, 12)
    assert sorted(got.count(n.port) for n in cluster.nodes) == [4, 4, 4]


@pytest.mark.parametrize('how', ['round-robin', 'random', 'disable'])
def test_load_balance_hosts(weir, cluster, how):
    w = weir(ini({'app': db(*cluster.nodes, load_balance_hosts=how)}, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    got = ports_of(w, 12)
    counts = [got.count(n.port) for n in cluster.nodes]
    if how == 'round-robin':
        assert max(counts) - min(counts) <= 1
    elif how == 'disable':
        assert counts == [12, 0, 0]
    else:
        assert sum(counts) == 12 and max(counts) < 12


@pytest.mark.parametrize('workers', [1, 2])
def test_nodes_are_shown(weir, cluster, workers):
    w = weir(ini({'app': db(*cluster.nodes)}, workers=workers, **QUICK))
    for i, n in enumerate(cluster.nodes):
        wait_node(w, n.port, 'up')
        wait_node(w, n.port, 'primary' if i == 0 else 'standby')


# ---- target_session_attrs ------------------------------------------------------------------

@pytest.mark.parametrize('attrs, want', [
    ('any', {0, 1, 2}), ('primary', {0}), ('read-write', {0}), ('standby', {1, 2}),
    ('read-only', {1, 2}), ('prefer-standby', {1, 2}),
])
def test_target_session_attrs(weir, cluster, attrs, want):
    w = weir(ini({'app': db(*cluster.nodes, target_session_attrs=attrs)}, **QUICK))
    for i, n in enumerate(cluster.nodes):
        wait_node(w, n.port, 'primary' if i == 0 else 'standby')
    ports = [n.port for n in cluster.nodes]
    assert {ports.index(p) for p in ports_of(w, 9)} == want


def test_attrs_right_after_the_start(weir, cluster):
    """Before the first probe has answered no role is guessed: the client
    waits and gets the right node."""
    for _ in range(3):
        w = weir(cluster.uri(target_session_attrs='read-write'))
        assert w.one('SELECT pg_is_in_recovery()') == 'f'
        w = weir(cluster.uri(target_session_attrs='standby'))
        assert w.one('SELECT pg_is_in_recovery()') == 't'


def test_read_only_primary(weir, pg):
    """default_transaction_read_only makes a primary unfit for read-write, and
    fit for read-only and primary."""
    pg.sql('ALTER SYSTEM SET default_transaction_read_only = on', database='postgres')
    pg.reload()
    try:
        until(lambda: pg.one('SHOW default_transaction_read_only') == 'on')
        for attrs, fits in (('read-only', True), ('primary', True), ('read-write', False)):
            w = weir(ini({'app': db(pg, target_session_attrs=attrs)}, query_wait_timeout=1, **QUICK))
            if fits:
                assert w.one('SELECT 1') == '1'
            else:
                with pytest.raises((PgError, wire.Closed)) as e:
                    w.one('SELECT 1')
                assert getattr(e.value, 'code', '57P03') == '57P03'
    finally:
        with pg.connect() as c:
            c.sql('SET default_transaction_read_only = off')
            c.sql('ALTER SYSTEM RESET default_transaction_read_only')
        pg.reload()
        until(lambda: pg.one('SHOW default_transaction_read_only') == 'off')


def test_prefer_standby_takes_the_primary_when_it_must(weir, cluster):
    w = weir(ini({'app': db(*cluster.nodes, target_session_attrs='prefer-standby')}, **QUICK))
    for n in cluster.nodes[1:]:
        wait_node(w, n.port, 'standby')
    assert port_of(w) != cluster.primary.port
    for n in cluster.nodes[1:]:
        n.kill()
    for n in cluster.nodes[1:]:
        wait_node(w, n.port, 'down')
    assert port_of(w) == cluster.primary.port


# ---- death ---------------------------------------------------------------------------------------

def test_death_between_transactions_is_invisible(weir, cluster):
    """Idle servers of a node that dies are never handed to anyone."""
    w = weir(ini({'app': db(*cluster.nodes)}, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    cs = [w.connect() for _ in range(9)]
    for c in cs:
        c.sql('BEGIN')
    for c in cs:
        c.sql('COMMIT')
    cluster.nodes[1].kill()
    for _ in range(3):
        for c in cs:
            assert c.one('SELECT 1') == '1'
    for c in cs:
        c.close()


def test_death_under_load_between_transactions(weir, cluster):
    """Clients that hold nothing at that moment notice nothing: whoever was in
    the middle gets one error with a class 08 or 57 code, at most one each, and
    goes on with the same connection."""
    w = weir(ini({'app': db(*cluster.nodes)}, workers=2, default_pool_size=6, **QUICK))
    for n in cluster.nodes:
        wait_node(w, n.port, 'up')
    stop = []

    def body(i):
        errs, done = [], 0
        with w.connect() as c:
            while not stop:
                try:
                    c.sql('SELECT 1')
                    done += 1
                except PgError as e:
                    errs.append(e.code)
        return errs, done
    t = Spawned(run_threads, 12, body)
    time.sleep(0.4)
    cluster.nodes[2].kill()
    time.sleep(1.0)
    stop.append(1)
    res = t.result()
    assert all(done > 10 for _, done in res)
    assert all(len(e) <= 1 for e, _ in res), res
    assert all(is_loss(c) for e, _ in res for c in e), res


@pytest.mark.parametrize('how', ['kill', 'stop'])
def test_death_inside_a_transaction(weir, cluster, how):
    """One clear error; the connection stays and the next transaction works."""
    w = weir(ini({'app': db(*cluster.nodes, target_session_attrs='primary')}, **QUICK))
    with w.connect() as c:
        c.sql('BEGIN')
        c.sql('UPDATE kv SET v = v + 1 WHERE k = 1')
        cluster.primary.kill() if how == 'kill' else cluster.primary.stop(signal.SIGINT)
        msgs = c.ask(query('SELECT 1'))
        errs = [m[1] for m in msgs if m[0] == 'E']
        assert len(errs) == 1, msgs
        # 40001 is true as well: nothing was committed, run it again
        assert is_loss(errs[0]['C']) or errs[0]['C'] == '40001', errs
        assert errs[0]['S'] == 'ERROR'
        # idle, or failed until the client ends the transaction it believes in
        assert msgs[-1][1] in 'IE'
        cluster.primary.start()
        if msgs[-1][1] == 'E':
            assert c.ask(query('ROLLBACK'))[-1] == ('Z', 'I')
        assert c.one('SELECT pg_is_in_recovery()') == 'f'


@pytest.mark.parametrize('ext', [False, True])
def test_death_before_commit_is_an_error(weir, pg, ext):
    """The server dies while the client is idle in its transaction, and COMMIT
    is the next it says. CommandComplete ROLLBACK would be taken for success by
    every driver: it must be an error."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        c.sql('BEGIN')
        c.sql('UPDATE kv SET v = v + 1 WHERE k = 77')
        pid = c.one('SELECT pg_backend_pid()')
        pg.sql('SELECT pg_terminate_backend(%s)' % pid)
        until(lambda: pg.backends('pid = %s' % pid) == 0)
        m = c.ask(*([wire.extended('COMMIT'), wire.sync()] if ext else [query('COMMIT')]))
        errs = [x[1]['C'] for x in m if x[0] == 'E']
        assert len(errs) == 1, m
        # definitely rolled back: 40001 is true
        assert is_loss(errs[0]) or errs[0] == '40001'
        assert m[-1] == ('Z', 'I'), m
        assert c.one('SELECT v FROM kv WHERE k = 77') == '0'


def test_death_then_rollback_is_none(weir, pg):
    """ROLLBACK gets what it asks for."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        c.sql('BEGIN')
        pid = c.one('SELECT pg_backend_pid()')
        pg.sql('SELECT pg_terminate_backend(%s)' % pid)
        until(lambda: pg.backends('pid = %s' % pid) == 0)
        assert wire.shape(c.ask(query('ROLLBACK'))) == 'C:ROLLBACK Z:I'
        assert c.one('SELECT 1') == '1'


def test_death_while_a_query_runs(weir, cluster):
    w = weir(ini({'app': db(cluster.nodes[0], cluster.nodes[1])}, **QUICK))
    for n in cluster.nodes[:2]:
        wait_node(w, n.port, 'up')
    with w.connect() as c:
        c.send(query("SELECT setting FROM pg_settings WHERE name = 'port'; SELECT pg_sleep(30)"))
        until(lambda: sum(n.backends("query LIKE '%%pg_sleep(30)%%' AND state = 'active'")
                          for n in cluster.nodes[:2]) == 1)
        victim = next(n for n in cluster.nodes[:2]
                      if n.backends("query LIKE '%%pg_sleep(30)%%' AND state = 'active'"))
        victim.kill()
        msgs = c.until()
        assert len([m for m in msgs if m[0] == 'E']) == 1 and msgs[-1] == ('Z', 'I')
        assert c.one('SELECT 1') == '1'


def test_backend_terminated_in_a_transaction(weir, pg):
    """The server's own FATAL 57P01 is told once, not twice."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        c.sql('BEGIN')
        pid = c.one('SELECT pg_backend_pid()')
        c.send(query('SELECT pg_sleep(30)'))
        until(lambda: pg.backends("state = 'active' AND pid = %s" % pid) == 1)
        pg.sql('SELECT pg_terminate_backend(%s)' % pid)
        msgs = c.until()
        assert len([m for m in msgs if m[0] == 'E']) == 1, msgs
        if msgs[-1] == ('Z', 'E'):
            c.sql('ROLLBACK')
        assert c.one('SELECT 1') == '1'


def test_idle_backend_terminated_is_invisible(weir, pg):
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        for _ in range(20):
            pid = c.one('SELECT pg_backend_pid()')
            pg.sql('SELECT pg_terminate_backend(%s)' % pid)
            # a query that is on its way before the end has been heard of is
            # another story
            until(lambda pid=pid: pg.backends('pid = %s' % pid) == 0)
            until(lambda: w.pool()['sv_total'] == '0')
            assert c.one('SELECT 1') == '1'


def test_death_with_a_pipeline_of_units(weir, pg):
    """Several units in flight, the server dies in the first: as many
    ReadyForQuery as Syncs, no result invented."""
    w = weir(ini({'app': db(pg)}, **QUICK))
    with w.connect() as c:
        c.send(*[wire.extended('SELECT pg_sleep(30)') + wire.sync()] * 4)
        until(lambda: pg.backends("state = 'active'") == 1)
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        readies = [c.until()[-1]]
        # the other three ran on another server, or failed, but each has its end
        def rest():
            for _ in range(3):
                readies.append(c.until()[-1])
        t = Spawned(rest)
        end = time.monotonic() + 20 * SLOW
        while t.is_alive() and time.monotonic() < end:
            pg.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'")
            time.sleep(0.05)
        t.result(1)
        assert readies == [('Z', 'I')] * 4
        assert c.one('SELECT 9') == '9'


def test_hung_node(weir, cluster):
    """A node that hangs with its connections open is found by the probe, new
    transactions go elsewhere, and it is used again when it is back."""
    w = weir(ini({'app': db(*cluster.nodes[:2])}, default_pool_size=2, server_connect_timeout=1, **QUICK))
    for n in cluster.nodes[:2]:
        wait_node(w, n.port, 'up')
    assert len(set(ports_of(w, 2))) == 2
    cluster.nodes[1].freeze()
    try:
        wait_node(w, cluster.nodes[1].port, 'down')
        for _ in range(5):
            assert port_of(w) == cluster.primary.port
    finally:
        cluster.nodes[1].cont()
    wait_node(w, cluster.nodes[1].port, 'up')
    until(lambda: cluster.nodes[1].port in ports_of(w, 2), why='the node to be used again')


# ---- all down, and back -----------------------------------------------------------------------------

def test_all_down_clients_wait_and_continue(weir, cluster):
    w = weir(ini({'app': db(*cluster.nodes)}, query_wait_timeout=60, **QUICK))
    cs = [w.connect() for _ in range(5)]
    for c in cs:
        c.sql('SELECT 1')
    for n in cluster.nodes:
        n.kill()
    for c in cs:
        c.send(query('SELECT 2'))
    assert cs[0].quiet(0.5)
    # one who was not yet logged in waits as well
    late = Spawned(lambda: w.one('SELECT 3'))
    time.sleep(0.5)
    t = time.monotonic()
    cluster.nodes[0].start()
    for c in cs:
        msgs = c.until()
        assert ('D', ['2']) in msgs, msgs
    assert late.result() == '3'
    assert time.monotonic() - t < 10 * SLOW
    for c in cs:
        c.close()


def test_all_down_times_out_with_57p03(weir):
    w = weir(ini({'app': 'host=127.0.0.1 port=%d' % free_port()}, query_wait_timeout=1, **QUICK))
    with pytest.raises(PgError) as e:
        w.one('SELECT 1')
    assert e.value.code == '57P03'


def test_down_after_login_times_out_and_stays_connected(weir, cluster):
    w = weir(ini({'app': db(cluster.nodes[1])}, query_wait_timeout=1, **QUICK))
    with w.connect() as c:
        c.sql('SELECT 1')
        cluster.nodes[1].kill()
        msgs = c.ask(query('SELECT 1'))
        assert wire.shape(msgs) == 'E:57P03 Z:I'
        cluster.nodes[1].start()
        until(lambda: [m for m in c.ask(query('SELECT 1')) if m[0] == 'D'], why='the node to be used')


def test_starts_with_all_down(weir):
    """The daemon comes up and serves as soon as there is something to serve."""
    port = free_port()
    w = weir(ini({'app': 'host=127.0.0.1 port=%d' % port}, **QUICK))
    t = Spawned(lambda: w.one('SELECT 1', user='app'))
    time.sleep(0.3)

    def script(c):
        while True:
            try:
                if c.read_raw()[0] == 'X':
                    return          # a second connection, which nobody needed in the end
            except wire.Closed:
                return
            c.send(wire.result('1'), wire.ready())
    with wire.FakeServer(script, port=port):
        assert t.result() == '1'


def test_one_down_from_the_start_is_skipped(weir, pg):
    """No client waits for the connect timeout of a dead host."""
    dead = free_port()
    w = weir(ini({'app': 'host=127.0.0.1,127.0.0.1 port=%d,%d' % (dead, pg.port)}, **QUICK))
    t = time.monotonic()
    for _ in range(10):
        assert w.one('SELECT 1') == '1'
    assert time.monotonic() - t < 3 * SLOW
    wait_node(w, dead, 'down')


def test_down_node_is_not_dialled_for_clients(weir, cluster):
    """While it is down only the probe knocks."""
    w = weir(ini({'app': db(*cluster.nodes)}, default_pool_size=9, **QUICK))
    cluster.nodes[2].kill()
    wait_node(w, cluster.nodes[2].port, 'down')
    t = time.monotonic()
    assert cluster.nodes[2].port not in ports_of(w, 9)
    assert time.monotonic() - t < 3 * SLOW
    cluster.nodes[2].start()
    wait_node(w, cluster.nodes[2].port, 'up')


# ---- promotion ------------------------------------------------------------------------------------------

def test_promotion(weir, new_cluster):
    """Primary killed, standby promoted: writers wait and go on, on the same
    connections."""
    c = new_cluster
    w = weir(ini({'app': db(*c.nodes, target_session_attrs='read-write')}, query_wait_timeout=60, workers=2, **QUICK))
    cs = [w.connect() for _ in range(6)]
    for x in cs:
        x.sql('UPDATE kv SET v = v + 1 WHERE k = 1')
    c.caught_up()
    c.primary.kill()
    for x in cs:
        x.send(query('UPDATE kv SET v = v + 1 WHERE k = 1'))
    assert cs[0].quiet(0.5)
    t = time.monotonic()
    c.nodes[1].promote()
    for x in cs:
        assert wire.shape(x.until()) == 'C:UPDATE 1 Z:I'
    assert time.monotonic() - t < 10 * SLOW
    assert c.nodes[1].one('SELECT v FROM kv WHERE k = 1') == '12'
    wait_node(w, c.nodes[1].port, 'primary')
    for x in cs:
        x.close()


def test_promotion_moves_the_servers(weir, new_cluster):
    """Pooled connections to what was a standby are not used for standby
    clients once it is the primary, nor the other way round."""
    c = new_cluster
    w = weir(ini({'ro': db(*c.nodes, dbname='app', target_session_attrs='standby'),
                  'rw': db(*c.nodes, dbname='app', target_session_attrs='primary')}, query_wait_timeout=30, **QUICK))
    for n in c.nodes:
        wait_node(w, n.port, 'up')
    assert set(ports_of(w, 4, database='ro')) == {n.port for n in c.nodes[1:]}
    assert set(ports_of(w, 4, database='rw')) == {c.primary.port}
    c.primary.kill()
    c.nodes[1].promote()
    wait_node(w, c.nodes[1].port, 'primary')
    until(lambda: set(ports_of(w, 4, database='ro')) == {c.nodes[2].port}, why='ro on the last standby')
    assert set(ports_of(w, 4, database='rw')) == {c.nodes[1].port}


def test_writer_never_lands_on_a_standby(weir, new_cluster):
    """25006 is never seen by a read-write client, whatever happens."""
    c = new_cluster
    w = weir(ini({'app': db(*c.nodes, target_session_attrs='read-write')}, query_wait_timeout=60,
                 default_pool_size=4, **QUICK))
    stop = []

    def body(i):
        codes, done = [], 0
        with w.connect() as x:
            while not stop:
                try:
                    x.sql('UPDATE kv SET v = v + 1 WHERE k = %d' % (i + 10))
                    done += 1
                except PgError as e:
                    codes.append(e.code)
        return done, codes
    t = Spawned(run_threads, 6, body)
    time.sleep(0.5)
    c.caught_up()
    c.primary.kill()
    c.nodes[1].promote()
    until(lambda: int(c.nodes[1].one('SELECT sum(v) FROM kv WHERE k BETWEEN 10 AND 15')) > 0)
    time.sleep(1)
    stop.append(1)
    res = t.result()
    assert all(done > 5 for done, _ in res), res
    assert not [x for _, codes in res for x in codes if x == '25006'], res
    assert all(len(codes) <= 1 for _, codes in res), res


def test_role_that_cannot_be_learnt_is_named(weir, scram_pg):
    """The node is up, the health checks are not let in: whoever waits for a
    primary is told which setting is missing."""
    w = weir(ini({'app': db(scram_pg, target_session_attrs='primary')}, query_wait_timeout='0.5',
                 health_check_user='nobody_there'))
    with pytest.raises(PgError) as e:
        w.one('SELECT 1')
    assert e.value.code == '57P03' and 'health_check_user' in e.value.fields['H']
