"""Which node gets a connection: weights, zones, caps, slow ones, those that hang and
those that come back.

SPDX-License-Identifier: ISC
"""
import socket
import subprocess
import threading
import time

import pytest

import wire
from conftest import PGWEIR, SLOW, Spawned, db, ini, run_threads, until
from test_nodes import QUICK, node, port_of, ports_of, wait_node
from wire import query

pytestmark = pytest.mark.weir_only


def up(weir, servers, dbkw=None, **kw):
    """A daemon before these servers, all known to be up."""
    w = weir(ini({'app': db(*servers, **(dbkw or {}))}, **{**QUICK, **kw}))
    for s in servers:
        wait_node(w, s.port, 'up')
    return w


def conns(w, server):
    return int(node(w, server.port)['conns'])


def hold(w, n):
    """n clients, each in a transaction on a server of its own."""
    cs = [w.connect() for _ in range(n)]
    for c in cs:
        c.sql('BEGIN')
        c.sql('SELECT 1')
    return cs


def let_go(cs):
    for c in cs:
        c.sql('COMMIT')
        c.close()


# ---- weights and zones -------------------------------------------------------------------

@pytest.mark.parametrize('how', ['least-connections', 'round-robin'])
def test_weights(weir, cluster, how):
    w = up(weir, cluster.nodes, {'weight': '2,3,1', 'load_balance_hosts': how})
    got = ports_of(w, 12)
    counts = [got.count(n.port) for n in cluster.nodes]
    if how == 'round-robin':
        assert counts == [4, 6, 2]
    else:
        assert all(abs(a - b) <= 1 for a, b in zip(counts, [4, 6, 2])), counts


def test_zone_first_and_spill_over(weir, cluster):
    w = up(weir, cluster.nodes, {'zones': 'eu-1,eu-2,eu-1'}, zone='eu-1')
    here = {cluster.nodes[0].port, cluster.nodes[2].port}
    assert set(ports_of(w, 9)) == here
    cluster.nodes[0].kill()
    cluster.nodes[2].kill()
    for i in (0, 2):
        wait_node(w, cluster.nodes[i].port, 'down')
    assert set(ports_of(w, 3)) == {cluster.nodes[1].port}
    # and back, without waiting for lifetimes
    cluster.nodes[0].start()
    wait_node(w, cluster.nodes[0].port, 'up')
    assert set(ports_of(w, 6)) <= {cluster.nodes[0].port, cluster.nodes[1].port}


def test_spill_over_when_the_zone_is_full(weir, cluster):
    w = up(weir, cluster.nodes, {'zones': 'a,b,b'}, zone='a', max_node_connections=3)
    got = ports_of(w, 6)
    assert got.count(cluster.nodes[0].port) == 3


def test_zone_comes_back_by_rebalancing(weir, cluster):
    """Connections that went to another zone return when the own one has."""
    cluster.nodes[0].kill()
    w = weir(ini({'app': db(*cluster.nodes, zones='a,b,b')}, zone='a', rebalance_interval='0.2',
                 slowstart=0, **QUICK))
    wait_node(w, cluster.nodes[0].port, 'down')
    for n in cluster.nodes[1:]:
        wait_node(w, n.port, 'up')
    assert cluster.nodes[0].port not in ports_of(w, 6)
    cluster.nodes[0].start()
    wait_node(w, cluster.nodes[0].port, 'up')
    until(lambda: set(ports_of(w, 2)) == {cluster.nodes[0].port} and
          not any(conns(w, n) for n in cluster.nodes[1:]), why='all in the zone again')


@pytest.mark.parametrize('key, value, word', [
    ('weight', '1,2', 'weight'), ('weight', '0', 'weight'), ('weight', '1,x,1', 'weight'),
    ('zones', 'a,b', 'zones'), ('health_check_http', '1,2', 'health_check_http')])
def test_lists_that_do_not_fit(tmp_path, cluster, key, value, word):
    path = tmp_path / 'pgweir.ini'
    path.write_text(ini({'app': db(*cluster.nodes, **{key: value})}))
    r = subprocess.run([PGWEIR, '--check', str(path)], capture_output=True, text=True, timeout=20,
                       check=False)
    assert r.returncode == 1 and word in r.stderr and 'pgweir.ini:2' in r.stderr, r


# ---- caps ----------------------------------------------------------------------------------

@pytest.mark.parametrize('workers', [1, 2])
def test_max_node_connections(weir, cluster, workers):
    """Over all pools and workers; who waits goes on when there is room."""
    nodes = cluster.nodes[:2]
    w = weir(ini({'app': db(*nodes), 'app2': db(*nodes)}, workers=workers, max_node_connections=2,
                 default_pool_size=10, **QUICK))
    for n in nodes:
        wait_node(w, n.port, 'up')
    seen = []

    def body(i):
        with w.connect(database='app' if i % 2 else 'app2') as c:
            for _ in range(15):
                c.sql('BEGIN')
                seen.append(c.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"))
                c.sql('COMMIT')
    run_threads(10, body)
    # PostgreSQL shows one that leaves for a few milliseconds
    assert max(int(s) for s in seen) <= 2 + 2, max(seen)
    assert all(conns(w, n) <= 2 for n in nodes)


@pytest.mark.parametrize('workers', [1, 2])
def test_idle_ones_make_room_at_their_node(weir, pg, workers):
    """A pool that has taken all places of a node, and uses none, gives one up."""
    w = weir(ini({'app': db(pg), 'app2': db(pg)}, workers=workers, max_node_connections=2,
                 query_wait_timeout=10, **QUICK))
    wait_node(w, pg.port, 'up')
    let_go(hold(w, 2))
    assert conns(w, pg) == 2
    assert [w.one('SELECT 1', database='app2') for _ in range(3)] == ['1'] * 3


def test_max_node_logins(weir):
    """No more logins at once than allowed, however many wait."""
    now, most = [0], [0]
    lock, go = threading.Lock(), threading.Event()

    def script(c):
        try:
            if not c.read_startup():
                return
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            # a login is under way until somebody else has asked for one, or a moment
            go.wait(0.02)
            with lock:
                now[0] -= 1
            c.welcome()
            if c.server.is_probe(c):
                return
            while c.read_raw()[0] == 'Q':
                c.send(wire.result('1'), wire.ready())
        except (wire.Closed, OSError):
            pass
    with wire.FakeServer(script, login=False) as s:
        w = weir(ini({'app': db(s)}, workers=2, max_node_logins=3, default_pool_size=40,
                     health_check_interval=60))
        wait_node(w, s.port, 'up')
        assert run_threads(20, lambda i: w.one('SELECT 1')) == ['1'] * 20
        # the check of the node is one beside them
        assert 1 < most[0] <= 3 + 1, most


# ---- slow and dead ---------------------------------------------------------------------------

@pytest.fixture
def mute():
    """A host that takes connections and never says a word."""
    with socket.create_server(('127.0.0.1', 0), backlog=50) as s:

        class Host:
            port = s.getsockname()[1]
        yield Host


def test_a_mute_host_costs_nobody_its_timeout(weir, pg, mute):
    """Before any check has found it out: another is dialled beside it."""
    w = weir(ini({'app': db(mute, pg, load_balance_hosts='disable')}, server_connect_timeout=30,
                 health_check_timeout=10, health_check_interval=30, default_pool_size=2))
    t = time.monotonic()
    assert port_of(w) == pg.port
    assert time.monotonic() - t < 3 * SLOW
    # and the next one does not even try it
    t = time.monotonic()
    assert ports_of(w, 2) == [pg.port] * 2
    assert time.monotonic() - t < 2 * SLOW
    assert node(w, mute.port)['state'] in ('probation', 'down')


def test_a_pool_of_one_gives_up_the_slow_dial(weir, pg, mute):
    w = weir(ini({'app': db(mute, pg, load_balance_hosts='disable')}, server_connect_timeout=30,
                 health_check_timeout=10, health_check_interval=30, default_pool_size=1))
    t = time.monotonic()
    assert port_of(w) == pg.port
    assert time.monotonic() - t < 3 * SLOW


def test_a_slow_node_is_not_down(weir, pg):
    """Its login takes half a second: known to be slow, it has longer."""
    def script(c):
        try:
            if not c.read_startup():
                return
            time.sleep(0.5)
            c.welcome()
            if not c.server.is_probe(c):
                while c.read_raw()[0] == 'Q':
                    c.send(wire.result('slow'), wire.ready())
        except (wire.Closed, OSError):
            pass
    with wire.FakeServer(script, login=False) as s:
        w = up(weir, [s], health_check_timeout=5)
        assert w.one('SELECT 1') == 'slow'
        assert node(w, s.port)['state'] == 'up'


# ---- those that hang ---------------------------------------------------------------------------

HUNG = {'health_check_interval': '0.2', 'health_check_timeout': '0.3', 'health_check_fall': 2,
        'server_login_retry': '0.2', 'load_balance_hosts': 'disable'}


def test_a_statement_on_a_hung_node_is_given_up(weir, cluster):
    """Outside a transaction its outcome is unknown, inside it is not committed; the
    clients stay and go on elsewhere."""
    w = up(weir, cluster.nodes[:2], **HUNG)
    let_go(hold(w, 3))
    with w.connect() as a, w.connect() as b, w.connect() as idle:
        for c in (a, b, idle):
            assert c.one("SELECT setting FROM pg_settings WHERE name = 'port'") == \
                str(cluster.primary.port)
        b.sql('BEGIN')
        b.sql('UPDATE kv SET v = 5 WHERE k = 999')
        cluster.primary.freeze()
        try:
            a.send(query('UPDATE kv SET v = 1 WHERE k = 998'))
            b.send(query('SELECT 1'))
            m = a.until()
            assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and m[-1] == ('Z', 'I')
            m = b.until()
            assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40001'] and m[-1] == ('Z', 'E')
            b.sql('ROLLBACK')
            for c in (a, b, idle):
                assert c.one('SELECT pg_is_in_recovery()') == 't'
        finally:
            cluster.primary.cont()
        # what was frozen in its transaction was not committed
        until(lambda: cluster.primary.backends() == 0)
        assert cluster.primary.one('SELECT v FROM kv WHERE k = 999') == '0'


@pytest.mark.parametrize('nodes, kw', [(2, {'on_marked_down': 'none'}), (1, {})],
                         ids=['on_marked_down = none', 'there is no other'])
def test_a_hung_node_is_waited_for(weir, cluster, nodes, kw):
    w = up(weir, cluster.nodes[:nodes], **kw, **HUNG)
    with w.connect() as c:
        c.sql('SELECT 1')
        cluster.primary.freeze()
        c.send(query('SELECT 7'))
        wait_node(w, cluster.primary.port, 'down')
        assert c.quiet(0.5)
        cluster.primary.cont()
        assert ('D', ['7']) in c.until()


# ---- those that come back ------------------------------------------------------------------------

def test_connections_move_back(weir, cluster):
    """Skewed after a restart, even again after a few rounds, without an error."""
    w = up(weir, cluster.nodes, rebalance_interval='0.2', slowstart='0.5', default_pool_size=12)
    cluster.nodes[2].kill()
    wait_node(w, cluster.nodes[2].port, 'down')
    let_go(hold(w, 12))
    assert conns(w, cluster.nodes[0]) + conns(w, cluster.nodes[1]) == 12
    cluster.nodes[2].start()
    wait_node(w, cluster.nodes[2].port, 'up')
    stop = threading.Event()

    def body(_):
        errs = []
        with w.connect() as c:
            while not stop.is_set():
                errs += [x[1]['C'] for x in c.ask(query('SELECT pg_sleep(0.01)')) if x[0] == 'E']
        return errs
    t = Spawned(run_threads, 12, body)
    try:
        until(lambda: conns(w, cluster.nodes[2]) >= 3, why='the node to have its share again')
    finally:
        stop.set()
    assert not sum(t.result(), [])


def test_rebalancing_leaves_alone_what_is_even(weir, cluster):
    """Nothing moves inside the dead zone: the same backends after many rounds."""
    w = up(weir, cluster.nodes, rebalance_interval='0.1', default_pool_size=9)
    let_go(hold(w, 9))
    before = sorted(sum(([r[0] for r in n.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'",
                                               user='postgres')] for n in cluster.nodes), []))
    time.sleep(1.5)  # ten rounds: nothing is to happen
    after = sorted(sum(([r[0] for r in n.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'",
                                              user='postgres')] for n in cluster.nodes), []))
    assert before == after and len(before) == 9


def test_slowstart(weir, cluster):
    """At first it gets a tenth of its share of what is dialled."""
    w = up(weir, cluster.nodes[:2], slowstart=600, rebalance_interval=0, default_pool_size=30)
    cluster.nodes[1].kill()
    wait_node(w, cluster.nodes[1].port, 'down')
    cluster.nodes[1].start()
    wait_node(w, cluster.nodes[1].port, 'up')
    got = ports_of(w, 20)
    assert 1 <= got.count(cluster.nodes[1].port) <= 4, got


# ---- all out ---------------------------------------------------------------------------------------

def test_panic_all_that_are_down_are_tried(weir, pg):
    """The checks cannot get through (they go to a user whose logins hang), the
    clients can: all nodes down means that they are used all the same."""
    def script(c):
        try:
            if not c.read_startup():
                return
            if c.startup['user'] == 'prober':
                c.wait_close()
                return
            c.welcome()
            while c.read_raw()[0] == 'Q':
                c.send(wire.result('served'), wire.ready())
        except (wire.Closed, OSError):
            pass
    with wire.FakeServer(script, login=False) as s:
        w = weir(ini({'app': db(s)}, health_check_user='prober', **{
            **QUICK, 'health_check_timeout': '0.1', 'health_check_fall': 1}))
        wait_node(w, s.port, 'down')
        assert w.one('SELECT 1') == 'served'
