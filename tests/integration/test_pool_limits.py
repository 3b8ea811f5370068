"""The bounded pool: never more than allowed, first come first served, limits
answered with the right SQLSTATE."""
import threading
import time

import pytest

import wire
from conftest import SLOW, Spawned, db, ini, run_threads, until
from wire import Conn, PgError, query

pytestmark = pytest.mark.weir_only


class Sampler(threading.Thread):
    """Asks the server all the time how many connections the user has: the
    most that it saw, and for how long at a stretch it saw more than `bound`."""

    def __init__(self, pg, where="usename = 'app'", bound=1 << 30):
        super().__init__(daemon=True)
        self.c = pg.connect('postgres', 'postgres')
        self.sql = ("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND %s" % where)
        self.most, self.n, self.end = 0, 0, False
        self.bound, self.over = bound, 0.0
        self.start()

    def run(self):
        since = None
        while not self.end:
            got = int(self.c.one(self.sql))
            now = time.monotonic()
            if got <= self.bound:
                since = None
            elif since is None:
                since = now
            else:
                self.over = max(self.over, now - since)
            self.most = max(self.most, got)
            self.n += 1

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.end = True
        self.join(10)
        self.c.close()


def load(w, n, seconds, database='app', user='app', sleep=0.0):
    """n clients in a loop; how many statements they did."""
    end = time.monotonic() + seconds

    def body(i):
        done = 0
        while time.monotonic() < end:
            with w.connect(user, database) as c:
                for _ in range(5):
                    if sleep:
                        c.hold()
                        c.sql('SELECT pg_sleep(%g)' % sleep)
                        c.sql('COMMIT')
                    else:
                        c.sql('SELECT 1')
                    done += 1
        return done
    return sum(run_threads(n, body))


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('size', [1, 5])
def test_pool_size_is_never_exceeded(weir, pg, workers, size):
    """Global over the workers; clients come and go, all are served."""
    w = weir(ini({'app': db(pg)}, default_pool_size=size, workers=workers))
    with Sampler(pg) as s:
        assert load(w, 30, 1.5, sleep=0.002) > 100
    assert s.n > 20
    assert s.most == size


@pytest.mark.parametrize('workers', [1, 2])
def test_pool_size_while_servers_die(weir, pg, workers):
    """Tokens neither leak nor multiply when connections are killed."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, workers=workers))
    stop = []

    def body(i):
        ok = 0
        while not stop:
            try:
                with w.connect() as c:
                    for _ in range(20):
                        c.sql('SELECT pg_sleep(0.001)')
                        ok += 1
            except (PgError, wire.Closed, OSError):
                pass
        return ok
    t = Spawned(run_threads, 12, body)
    with Sampler(pg) as s:
        for _ in range(40):
            pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' LIMIT 2",
                   database='postgres')
            time.sleep(0.02)
    stop.append(1)
    assert all(n > 0 for n in t.result())
    assert s.most <= 4 + 2, 'a killed backend may still be listed beside its successor'
    # all four tokens are still there, and no fifth
    cs = [w.connect() for _ in range(4)]
    for c in cs:
        c.hold()
    with w.connect() as fifth:
        fifth.send(query('SELECT 1'))
        assert fifth.quiet(0.3)
        cs[0].sql('COMMIT')
        fifth.until()
    for c in cs:
        c.close()


def test_pool_size_of_the_database_and_of_the_user(weir, pg):
    w = weir(ini({'app': db(pg, pool_size=2), 'b': db(pg, dbname='app')},
                 users={'other': 'pool_size=1'}, default_pool_size=3))

    def most(database, user):
        cs = [w.connect(user, database) for _ in range(5)]
        got = 0
        for c in cs:
            c.send(query('BEGIN; SELECT 1'))
        for c in cs:
            if not c.quiet(0.2):
                got += 1
        for c in cs:
            c.close()
        return got
    assert most('app', 'app') == 2
    assert most('b', 'app') == 3
    assert most('b', 'other') == 1


def test_pools_are_apart(weir, pg):
    """A full pool of one user does not hold up another's."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect('app') as a, w.connect('other') as b:
        a.hold()
        assert b.one('SELECT current_user') == 'other'


@pytest.mark.parametrize('workers', [1])
def test_first_come_first_served(weir, pg, workers):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=workers))
    pg.sql('ALTER SEQUENCE calls RESTART')
    holder = w.connect()
    holder.hold()
    cs = [w.connect() for _ in range(20)]
    for c in cs:
        c.send(query("SELECT nextval('calls')"))
        # it stands in the queue only when the daemon has read it
        assert c.quiet(0.03)
    holder.sql('COMMIT')
    order = [int(c.until()[1][1][0]) for c in cs]
    assert order == sorted(order)
    for c in cs + [holder]:
        c.close()


def test_first_come_first_served_two_workers(weir, pg):
    """Over workers the order holds at least for those of one worker, and
    nobody starves: all of 20 are served when all hold for 5 ms."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=2))
    waits = []

    def body(i):
        with w.connect() as c:
            longest = 0
            for _ in range(10):
                t = time.monotonic()
                c.sql('SELECT pg_sleep(0.002)')
                longest = max(longest, time.monotonic() - t)
            waits.append(longest)
    run_threads(20, body)
    assert len(waits) == 20 and max(waits) < 3 * SLOW


def test_query_wait_timeout(weir, pg):
    """53300, the client stays connected and is served later."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout='0.3'))
    with w.connect() as a, w.connect() as b:
        a.hold()
        t = time.monotonic()
        msgs = b.ask(query('SELECT 1'))
        waited = time.monotonic() - t
        assert wire.shape(msgs) == 'E:53300 Z:I'
        assert 0.25 < waited < 2 * SLOW
        # in the extended protocol: one error, one ReadyForQuery, at the Sync
        msgs = b.ask(wire.extended('SELECT 1'), wire.sync())
        assert wire.shape(msgs) == 'E:53300 Z:I'
        # what follows in the pipeline gets its own answer
        msgs = b.ask(query('SELECT 1'), query('SELECT 2'), readies=2)
        assert wire.shape(msgs) == 'E:53300 Z:I E:53300 Z:I'
        a.sql('COMMIT')
        assert b.one('SELECT 3') == '3'


def test_query_wait_timeout_with_a_big_message(weir, pg):
    """The statement that timed out is longer than any buffer: it is read to
    its end and dropped."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout='0.3'))
    with w.connect() as a, w.connect() as b:
        a.hold()
        t = Spawned(b.send, query("SELECT length('%s')" % ('x' * 500000)), query('SELECT 5'))
        assert wire.shape(b.until()) == 'E:53300 Z:I'
        a.sql('COMMIT')
        t.result()
        assert b.until()[1] == ('D', ['5'])


def test_query_wait_timeout_copy(weir, pg):
    """COPY data sent blindly behind a statement that timed out are no query."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout='0.3'))
    with w.connect() as a, w.connect() as b:
        a.hold()
        b.send(query('COPY t (a) FROM STDIN'), wire.copy_data('1\n'), wire.copy_done(), query('SELECT 5'))
        assert wire.shape(b.until()) == 'E:53300 Z:I'
        a.sql('COMMIT')
        last = b.until()
        assert ('D', ['5']) in last or wire.shape(last) == 'E:53300 Z:I'
        assert b.one('SELECT 6') == '6'


def test_query_wait_timeout_of_a_user(weir, pg):
    w = weir(ini({'app': db(pg)}, users={'app': 'query_wait_timeout=0.2'}, default_pool_size=1,
                 query_wait_timeout=60))
    with w.connect() as a, w.connect() as b:
        a.hold()
        assert wire.shape(b.ask(query('SELECT 1'))) == 'E:53300 Z:I'


def test_max_client_conn(weir, pg):
    w = weir(ini({'app': db(pg)}, max_client_conn=3))
    cs = [w.connect() for _ in range(3)]
    with pytest.raises(PgError) as e:
        w.connect()
    assert e.value.code == '53300' and e.value.fields['S'] == 'FATAL'
    cs.pop().close()
    until(lambda: try_connect(w), why='a place to be free again')
    for c in cs:
        assert c.one('SELECT 1') == '1'
        c.close()


def try_connect(w):
    try:
        w.connect().close()
        return True
    except PgError:
        return False


def test_max_client_conn_does_not_leak(weir, pg):
    """Strangers who never log in, and those who are refused, give their place
    back."""
    w = weir(ini({'app': db(pg)}, max_client_conn=5))
    for _ in range(50):
        with Conn(w.port, login=False) as c:
            c.send(b'\0\0')
    for _ in range(20):
        with pytest.raises(PgError):
            w.connect(database='nosuch')
    until(lambda: try_connect(w), why='a place to be free')
    cs = [until(lambda: connect_or_none(w)) for _ in range(5)]
    for c in cs:
        assert c.one('SELECT 1') == '1'


def connect_or_none(w):
    try:
        return w.connect()
    except PgError:
        return None


@pytest.mark.parametrize('workers', [1, 2])
def test_max_db_connections(weir, pg, workers):
    """Over all pools of the database; an idle server of one user's pool makes
    way for another user."""
    w = weir(ini({'app': db(pg)}, max_db_connections=3, default_pool_size=20, workers=workers))
    with Sampler(pg, "usename IN ('app', 'other')", bound=3) as s:
        a = Spawned(load, w, 10, 1.0, 'app', 'app', 0.002)
        b = Spawned(load, w, 10, 1.0, 'app', 'other', 0.002)
        assert a.result() > 20 and b.result() > 20
    # one that makes way is closed before the next is dialled, but PostgreSQL
    # may list it until its process is gone
    assert 3 <= s.most <= 5 and s.over < 0.05 * SLOW, (s.most, s.over)


def test_several_dials_at_once(weir, pg):
    """Ten clients, each connection takes a second to log in: all are served
    in about one second, not ten."""
    w = weir(ini({'app': db(pg, options="'-c post_auth_delay=1'", user='postgres')}, default_pool_size=10,
                 server_connect_timeout=15, client_login_timeout=60))
    t = time.monotonic()

    def body(i):
        with w.connect() as c:
            c.hold()
            c.sql('SELECT pg_sleep(0.5)')
            c.sql('COMMIT')
    run_threads(10, body)
    took = time.monotonic() - t
    # one delay to learn the parameters at login, one for the rest, the sleep
    assert took < 5 * SLOW, took


def test_no_storm_of_dials(weir, pg):
    """Fifty clients, a pool of fifty, but fast queries: not fifty dials."""
    w = weir(ini({'app': db(pg)}, default_pool_size=50))
    w.sql('SELECT 1')
    cs = [w.connect() for _ in range(50)]
    for _ in range(5):
        for c in cs:
            c.sql('SELECT 1')
    assert pg.backends() == 1
    for c in cs:
        c.close()


def test_server_idle_timeout(weir, pg):
    w = weir(ini({'app': db(pg)}, server_idle_timeout='0.3'))
    w.sql('SELECT 1')
    assert pg.backends() == 1
    until(lambda: pg.backends() == 0, why='the idle server to be closed')
    assert w.one('SELECT 1') == '1'


def test_server_lifetime(weir, pg):
    w = weir(ini({'app': db(pg)}, server_lifetime='0.4'))
    with w.connect() as c:
        first = c.one('SELECT pg_backend_pid()')
        # still within a transaction it is not touched
        c.hold()
        held = c.one('SELECT pg_backend_pid()')
        time.sleep(0.6)
        assert c.one('SELECT pg_backend_pid()') == held
        c.sql('COMMIT')
        until(lambda: c.one('SELECT pg_backend_pid()') != held, why='a new server')
        assert first


def test_server_lifetime_zero_uses_each_once(weir, pg):
    w = weir(ini({'app': db(pg)}, server_lifetime=0))
    with w.connect() as c:
        pids = [c.one('SELECT pg_backend_pid()') for _ in range(5)]
    assert len(set(pids)) == 5


@pytest.mark.no_san
def test_server_lifetime_is_spread(weir, pg):
    """Connections made together do not end together: the random tenth is two
    seconds here, wider than the upkeep's own pace."""
    w = weir(ini({'app': db(pg)}, default_pool_size=10, server_lifetime=20, min_pool_size=10))
    ages, seen = [], {}
    with w.connect() as c:
        c.sql('SELECT 1')
        until(lambda: pg.backends() == 10, why='ten servers')
        end = time.monotonic() + 30
        while len(ages) < 10 and time.monotonic() < end:
            now = {r[0]: float(r[1]) for r in pg.sql(
                "SELECT pid, extract(epoch FROM clock_timestamp() - backend_start) FROM pg_stat_activity "
                "WHERE usename = 'app' AND backend_type = 'client backend'")}
            ages += [a for p, a in seen.items() if p not in now]
            seen = now
            time.sleep(0.02)
    ages = ages[:10]
    assert len(ages) == 10
    # a tenth less at most; the upkeep may come a second late
    assert 17.5 < min(ages) and max(ages) < 22, ages
    assert max(ages) - min(ages) > 0.5, ages


def test_min_pool_size(weir, pg):
    """Kept open for a pool that has clients, filled up again after a loss."""
    w = weir(ini({'app': db(pg)}, min_pool_size=4, default_pool_size=6))
    with w.connect() as c:
        c.sql('SELECT 1')
        until(lambda: pg.backends() == 4, why='four servers')
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'", database='postgres')
        until(lambda: pg.backends() == 4, why='four again')
        assert c.one('SELECT 1') == '1'


def test_server_round_robin(weir, pg):
    for rr, most in ((0, 1), (1, 3)):
        w = weir(ini({'app': db(pg)}, server_round_robin=rr, default_pool_size=3))
        cs = [w.connect() for _ in range(3)]
        for c in cs:
            c.hold()
        for c in cs:
            c.sql('COMMIT')
        assert len({cs[0].one('SELECT pg_backend_pid()') for _ in range(9)}) == most
        for c in cs:
            c.close()


def test_server_connect_timeout(weir):
    """A server that accepts and says nothing is given up in time, and the
    client is told, not left waiting."""
    with wire.FakeServer(lambda c: c.wait_close(), login=False) as fake:
        w = weir(ini({'app': db(fake)}, server_connect_timeout='0.3', query_wait_timeout=1,
                     health_check_interval=60))
        t = time.monotonic()
        with pytest.raises((PgError, wire.Closed)) as e:
            w.one('SELECT 1')
        assert time.monotonic() - t < 6 * SLOW
        assert getattr(e.value, 'code', '57P03') in ('57P03', '08001', '08006', '53300')
        assert len(fake.conns) >= 2


def test_server_login_retry_is_no_storm(weir, pg):
    """A server that refuses every login is asked at the pace that was set."""
    refused = []

    def script(c):
        if c.read_startup():
            refused.append(time.monotonic())
            c.send(wire.error('53300', 'sorry, too many clients already', 'FATAL'))
    with wire.FakeServer(script, login=False) as fake:
        w = weir(ini({'app': db(fake)}, server_login_retry='0.5', query_wait_timeout=2,
                     health_check_interval=60))

        def body(i):
            with pytest.raises((PgError, wire.Closed)):
                w.one('SELECT 1')
        run_threads(10, body)
        assert 2 <= len(refused) <= 40, len(refused)


def test_client_idle_timeout(weir, pg):
    w = weir(ini({'app': db(pg)}, client_idle_timeout='0.3'))
    with w.connect() as c:
        c.sql('SELECT 1')
        msgs = []
        with pytest.raises(wire.Closed):
            while True:
                msgs.append(c.read())
        assert [m[0] for m in msgs] in (['E'], [])
        if msgs:
            assert msgs[0][1]['C'] in ('57P05', '57P01')
    w.wait_log('why=')


def test_idle_transaction_timeout(weir, pg):
    w = weir(ini({'app': db(pg)}, idle_transaction_timeout='0.3', default_pool_size=1))
    with w.connect() as c, w.connect() as d:
        c.hold()
        c.sql("UPDATE kv SET v = v + 1000 WHERE k = 1")
        d.send(query('SELECT v FROM kv WHERE k = 1'))
        msgs = []
        with pytest.raises(wire.Closed):
            while True:
                msgs.append(c.read())
        assert msgs and msgs[0][1]['C'] == '25P03'
        # rolled back and free for the next
        assert int(d.until()[1][1][0]) < 1000
        # outside a transaction nothing happens
        time.sleep(0.5)
        assert d.one('SELECT 1') == '1'
