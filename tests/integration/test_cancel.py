"""A cancel reaches the query of the client it belongs to, and never another."""
import time

import pytest

import wire
from conftest import SLOW, Spawned, db, ini, run_threads, until
from wire import cancel, query


@pytest.fixture(params=[1, 2])
def w(request, weir, pg):
    return weir(ini({'app': db(pg)}, default_pool_size=10, workers=request.param))


def running(pg):
    until(lambda: pg.backends("usename = 'app' AND state = 'active'") == 1, why='the query to run')


def test_cancel_running_query(w, pg):
    with w.connect() as c:
        c.send(query('SELECT pg_sleep(20)'))
        running(pg)
        t = time.monotonic()
        cancel(w.port, c.key)
        msgs = c.until()
        assert [m[1]['C'] for m in msgs if m[0] == 'E'] == ['57014'] and msgs[-1] == ('Z', 'I')
        assert time.monotonic() - t < 5 * SLOW
        assert c.one('SELECT 1') == '1'


def test_cancel_in_a_transaction(w, pg):
    with w.connect() as c:
        c.hold()
        c.send(query('SELECT pg_sleep(20)'))
        running(pg)
        cancel(w.port, c.key)
        msgs = c.until()
        assert [m[1]['C'] for m in msgs if m[0] == 'E'] == ['57014'] and msgs[-1] == ('Z', 'E')
        c.sql('ROLLBACK')


def test_cancel_extended(w, pg):
    with w.connect() as c:
        c.send(wire.extended('SELECT pg_sleep(20)'), wire.sync())
        running(pg)
        cancel(w.port, c.key)
        msgs = c.until()
        assert [m[1]['C'] for m in msgs if m[0] == 'E'] == ['57014'] and msgs[-1] == ('Z', 'I')


def test_wrong_key_cancels_nobody(w):
    with w.connect() as c:
        c.send(query('SELECT pg_sleep(0.7)'))
        pid, key = c.key
        wrong = [(pid, key ^ 1), (pid ^ 1, key), (pid + 1, key), (0, 0), (-1, -1), (pid, 0)]
        wrong += [(pid ^ (1 << b), key) for b in range(31)]
        for k in wrong:
            assert cancel(w.port, (k[0] & 0x7fffffff, k[1] if -2**31 <= k[1] < 2**31 else 5))
        assert not [m for m in c.until() if m[0] == 'E']


@pytest.mark.weir_only
def test_server_keys_are_not_handed_out(w, pg):
    """The client's key is the daemon's own: with it nobody reaches the server
    past the daemon."""
    with w.connect() as c:
        pid = c.one('SELECT pg_backend_pid()')
        c.send(query('SELECT pg_sleep(0.5)'))
        assert not (str(c.key[0]) == pid and cancel(pg.port, c.key) and [m for m in c.until() if m[0] == 'E'])
        if str(c.key[0]) != pid:
            cancel(pg.port, c.key)
            assert not [m for m in c.until() if m[0] == 'E']


def test_keys_differ(w):
    cs = [w.connect() for _ in range(50)]
    assert len({c.key for c in cs}) == 50
    if not w.direct:
        assert len({c.key[1] for c in cs}) == 50
    for c in cs:
        c.close()


def test_cancel_of_an_idle_client_is_harmless(w, pg):
    """Also to whoever has the server now."""
    with w.connect() as a, w.connect() as b:
        a.sql('SELECT 1')
        b.send(query('SELECT pg_sleep(0.5)'))
        running(pg)
        for _ in range(5):
            cancel(w.port, a.key)
        assert not [m for m in b.until() if m[0] == 'E']
        assert a.one('SELECT 1') == '1'


@pytest.mark.weir_only
@pytest.mark.parametrize('workers', [1, 2])
def test_cancel_of_a_waiting_client(weir, pg, workers):
    """No server yet: its statement ends with 57014 and it stays connected."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=workers))
    with w.connect() as a, w.connect() as b:
        a.hold()
        b.send(query('SELECT 1'))
        until(lambda: w.pool_waiting() >= 1, why='it to wait')
        cancel(w.port, b.key)
        msgs = b.until()
        assert wire.shape(msgs) == 'E:57014 Z:I'
        assert a.one('SELECT 5') == '5'
        a.sql('COMMIT')
        assert b.one('SELECT 2') == '2'


@pytest.mark.weir_only
@pytest.mark.parametrize('workers', [1, 2])
def test_late_cancels_never_hit_another(weir, pg, workers):
    """One server, two clients in turns. The first is cancelled at every moment
    around its end; the second must never see 57014. (PgBouncer's old bug.)"""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=workers))
    stop, hit, done = [], [], []

    def victim(i):
        with w.connect() as v:
            while not stop:
                msgs = v.ask(query('SELECT pg_sleep(0.002)'))
                done.append(1)
                if any(m[0] == 'E' for m in msgs):
                    hit.append(msgs)

    vs = Spawned(run_threads, 3, victim)
    cancelled = 0
    with w.connect() as a:
        end = time.monotonic() + 4
        n = 0
        while time.monotonic() < end:
            n += 1
            a.send(query('SELECT pg_sleep(0.004)'))
            time.sleep(n % 12 * 0.001)
            t = Spawned(cancel, w.port, a.key)
            msgs = a.until()
            cancelled += any(m[0] == 'E' and m[1]['C'] == '57014' for m in msgs)
            t.result()
    stop.append(1)
    vs.result()
    assert not hit
    assert len(done) > 50 and n > 50
    assert cancelled > 0, 'no cancel ever arrived in time: the test shows nothing'


@pytest.mark.weir_only
def test_cancel_while_clients_pass_servers_on(weir, pg):
    """Many clients, few servers, cancels from everywhere: a client that did
    not ask for one never gets one."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, workers=2))
    end = time.monotonic() + 4
    counts = []

    def body(i):
        asks = i % 2 == 0
        wrong = got = 0
        with w.connect() as c:
            while time.monotonic() < end:
                c.send(query('SELECT pg_sleep(0.02)'))
                if asks:
                    cancel(w.port, c.key)
                err = [m for m in c.until() if m[0] == 'E']
                if err:
                    got += 1
                    wrong += not asks
        counts.append((asks, got, wrong))
    run_threads(12, body)
    assert sum(c[2] for c in counts) == 0
    assert sum(c[1] for c in counts) > 10


@pytest.mark.weir_only
def test_cancel_does_not_end_the_transaction_after(weir, pg):
    """The cancel is on its way when the next statement of the same client
    starts: that one may be hit (it is the same client), nothing worse."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    with w.connect() as c:
        for _ in range(100):
            c.send(query('SELECT 1'))
            cancel(w.port, c.key)
            c.until()
            c.ask(query('SELECT 2'))
        assert c.ask(query('SELECT 3'))[-1] == ('Z', 'I')


@pytest.mark.weir_only
def test_cancel_when_the_server_does_not_answer(weir):
    """The dial of the cancel hangs: dropped after cancel_wait_timeout; the
    daemon goes on."""
    def script(c):
        c.expect_query()
        c.wait_close()
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, cancel_wait_timeout='0.3', health_check_interval=60))
        with w.connect() as c:
            c.send(query('SELECT forever'))
            until(lambda: fake.seen, why='the query to arrive')
            cancel(w.port, c.key)
            until(lambda: fake.cancels, why='the cancel to arrive')
            assert len(fake.cancels) == 1
        assert w.console('SHOW VERSION')


@pytest.mark.weir_only
def test_what_a_gone_client_left_is_cancelled_until_it_ends(weir):
    """A server that is told to cancel before it has begun with a query takes no
    notice. The scripted one notices the third time only."""
    def script(c):
        if c.expect_query() == 'SELECT 1':
            c.send(wire.result('1'), wire.ready())
            c.wait_close()
            return
        c.expect('f')
        c.expect_query('ROLLBACK')
        until(lambda: len(c.server.cancels) == 3, why='the third cancel')
        c.send(wire.error('57014', 'canceling statement due to user request'), wire.ready(),
               wire.complete('ROLLBACK'), wire.ready())
        c.expect_query('SELECT 1')
        c.send(wire.result('1'), wire.ready())
        c.wait_close()
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, default_pool_size=1, health_check_interval=60))
        a = w.connect()
        a.send(query('SELECT forever'), wire.terminate())
        until(lambda: fake.seen, why='the query to arrive')
        a.close()
        with w.connect() as b:
            assert b.one('SELECT 1') == '1'
        assert fake.logins == 1 and len(fake.cancels) == 3


@pytest.mark.weir_only
def test_cancel_carries_the_key_of_the_right_server(weir):
    """Two servers in use: the cancel names the one of this client."""
    def script(c):
        while True:
            text = c.expect_query()
            if text == 'hang':
                c.server.hang.append((c.startup, c.pid))
                c.wait_close()
                return
            c.send(wire.result(str(c.pid)), wire.ready())
    fake = wire.FakeServer(script, login=False)

    def full(c):
        if not c.read_startup():
            return
        c.pid = c.welcome()
        if not c.server.is_probe(c):
            try:
                script(c)
            except wire.Closed:
                pass
    fake.hang = []
    fake.script = full
    with fake:
        w = weir(ini({'app': db(fake)}, health_check_interval=60))
        cs = [w.connect() for _ in range(4)]
        for i, c in enumerate(cs):
            c.send(query('hang'))
            until(lambda i=i: len(fake.hang) == i + 1)
        for i in (2, 0, 3):
            cancel(w.port, cs[i].key)
            pid = fake.hang[i][1]
            until(lambda pid=pid: (pid, 1000 + pid) in fake.cancels, why='the cancel with the right key')
        assert len(fake.cancels) == 3
        for c in cs:
            c.close()


@pytest.mark.weir_only
def test_cancel_flood(weir, pg):
    """Hundreds of bad cancels do no harm and leave no descriptor open."""
    w = weir(ini({'app': db(pg)}))
    w.sql('SELECT 1')
    fds = w.fds()
    for i in range(300):
        cancel(w.port, (i, i * 7))
    assert w.one('SELECT 1') == '1'
    until(lambda: w.fds() <= fds + 2, why='no descriptor left')
