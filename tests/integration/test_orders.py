"""What operators order on the console, with clients running all the time: nothing is lost,
nothing doubled, nobody sees an error unless the order means one (docs/orders.md).

SPDX-License-Identifier: ISC
"""
import signal
import threading

import pytest

import wire
from conftest import Spawned, alive, db, ini, until
from wire import PgError, query

pytestmark = pytest.mark.weir_only

BOTH = pytest.mark.parametrize('workers', [1, 2])


def conf(pg, workers=1, **kw):
    return ini({'app': db(pg, dbname='app'), 'app2': db(pg, dbname='app2'), '*': db(pg)}, workers=workers,
               stats_users='watcher', **{'shutdown_timeout': 30, **kw})


@pytest.fixture
def admin(weir, pg):
    """admin(**settings): the daemon and a connection to its console."""
    cs = []

    def make(workers=1, **kw):
        w = weir(conf(pg, workers, **kw))
        cs.append(w.connect('admin', 'pgbouncer'))
        return w, cs[-1]
    yield make
    for c in cs:
        c.close()


def refused(c, text):
    with pytest.raises(PgError) as e:
        c.sql(text)
    return e.value.code, e.value.fields['M']


def tag(c, text):
    return wire.shape(c.ask(query(text)))


def last_words(c):
    """The SQLSTATE that ends a session, '' without one."""
    code = ''
    try:
        while True:
            m = c.read()
            if m[0] == 'E':
                assert m[1]['S'] == 'FATAL'
                code = m[1]['C']
    except (wire.Closed, ConnectionError):
        c.close()
        return code


class Load:
    """Clients that add 1 to a row of their own, some in transactions, and count."""

    def __init__(self, w, pg, n=6, database='app'):
        self.pg, self.n, self.done, self.total = pg, n, threading.Event(), [0] * n
        pg.sql('DELETE FROM kv WHERE k >= 100000')
        pg.sql('INSERT INTO kv SELECT 100000 + i, 0 FROM generate_series(0, %d) i' % (n - 1))
        self.threads = [Spawned(self.body, w, database, i) for i in range(n)]
        until(lambda: all(self.total))

    def body(self, w, database, i):
        with w.connect(database=database) as c:
            while not self.done.is_set():
                if i % 2:
                    c.sql('BEGIN')
                assert c.one('UPDATE kv SET v = v + 1 WHERE k = %d RETURNING 7' % (100000 + i)) == '7'
                if i % 2:
                    assert wire.shape(c.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
                self.total[i] += 1

    def goes_on(self):
        before = list(self.total)
        until(lambda: all(a > b for a, b in zip(self.total, before)))

    def result(self):
        self.done.set()
        for t in self.threads:
            t.result()
        got = [int(r[0]) for r in self.pg.sql('SELECT v FROM kv WHERE k >= 100000 ORDER BY k')]
        assert got == self.total, 'lost or doubled'


# ---- PAUSE and RESUME --------------------------------------------------------------------

@BOTH
def test_pause_under_load(admin, pg, workers):
    w, c = admin(workers, default_pool_size=3)
    load = Load(w, pg)
    for _ in range(5):
        assert tag(c, 'PAUSE') == 'C:PAUSE Z:I'
        until(lambda: pg.backends() == 0)     # none is left, and none comes
        seen = list(load.total)
        until(lambda: w.pool_waiting() == load.n)
        assert load.total == seen and pg.backends() == 0
        assert tag(c, 'RESUME') == 'C:RESUME Z:I'
        load.goes_on()
    load.result()


@BOTH
def test_pause_waits_for_transactions(admin, pg, workers):
    w, c = admin(workers)
    with w.connect() as busy, w.connect() as other, w.connect() as late:
        busy.hold()
        other.one('SELECT 1')
        p = Spawned(tag, c, 'PAUSE')
        until(lambda: pg.backends() == 1)
        late.send(query('SELECT 5'))
        until(lambda: w.pool_waiting() == 1)
        assert p.is_alive()
        assert busy.one('SELECT 2') == '2'
        busy.sql('COMMIT')
        assert p.result() == 'C:PAUSE Z:I'
        until(lambda: pg.backends() == 0)
        assert late.quiet()
        c.sql('RESUME')
        assert wire.shape(late.until()) == 'T D C:SELECT 1 Z:I'


def test_pause_of_one_database(admin, pg):
    w, c = admin()
    with w.connect() as a, w.connect(database='app2') as b:
        a.one('SELECT 1')
        assert tag(c, 'PAUSE app') == 'C:PAUSE Z:I'
        assert tag(c, 'PAUSE app') == 'C:PAUSE Z:I'      # once more is no error
        a.send(query('SELECT 1'))
        assert b.one('SELECT 1') == '1'
        assert refused(c, 'RESUME') == ('55000', 'pooler is not paused/suspended')
        assert refused(c, 'RESUME app2') == ('55000', 'database app2 is not paused')
        assert a.quiet()
        assert tag(c, 'RESUME app') == 'C:RESUME Z:I'
        assert wire.shape(a.until()) == 'T D C:SELECT 1 Z:I'


def test_pause_refused(admin):
    _, c = admin()
    assert refused(c, 'PAUSE pgbouncer') == ('42809', 'cannot pause admin db: pgbouncer')
    assert refused(c, 'PAUSE 1 2')[0] == '42601'
    assert refused(c, 'RESUME app') == ('55000', 'database app is not paused')
    assert tag(c, 'PAUSE anything') == 'C:PAUSE Z:I'      # * serves it
    c.sql('PAUSE')
    for text in 'PAUSE', 'PAUSE app', 'KILL app':
        assert refused(c, text) == ('55000', 'already suspended/paused')
    c.sql('RESUME')
    c.sql('RESUME anything')


def test_unknown_database(weir, pg):
    w = weir(ini({'app': db(pg)}))
    with w.connect('admin', 'pgweir') as c:
        for text in 'PAUSE', 'DISABLE', 'ENABLE', 'RECONNECT', 'WAIT_CLOSE', 'KILL', 'RESUME':
            assert refused(c, text + ' other') == ('3D000', 'no such database: other')


def test_only_admins(admin):
    w, _ = admin()
    with w.connect('watcher', 'pgbouncer') as c:
        for text in ('PAUSE', 'RESUME', 'DISABLE app', 'ENABLE app', 'RECONNECT', 'WAIT_CLOSE', 'KILL app',
                     'KILL_CLIENT 1', 'RELOAD', 'SHUTDOWN', 'SHUTDOWN WAIT_FOR_CLIENTS'):
            assert refused(c, text)[0] == '42501', text
    assert w.one('SELECT 1') == '1'


def test_resume_from_elsewhere_ends_pause(admin, pg):
    w, c = admin()
    with w.connect() as busy, w.connect('admin', 'pgbouncer') as second:
        busy.hold()
        p = Spawned(refused, c, 'PAUSE')
        until(lambda: w.log_lines('event=pause'))
        assert tag(second, 'RESUME') == 'C:RESUME Z:I'
        assert p.result() == ('57014', 'canceling PAUSE due to RESUME')
        assert w.one('SELECT 1') == '1'


@BOTH
@pytest.mark.parametrize('what', ['PAUSE', 'PAUSE app'])
def test_cancelled_pause_resumes(admin, workers, what):
    w, c = admin(workers)
    with w.connect() as busy:
        busy.hold()
        p = Spawned(refused, c, what)
        w.wait_log('event=pause')
        wire.cancel(w.port, c.key)
        assert p.result() == ('57014', 'canceling statement due to user request')
        assert w.one('SELECT 1') == '1'
    assert refused(c, 'RESUME app' if 'app' in what else 'RESUME')[0] == '55000'


def test_cancelled_pause_ends_that_of_another(admin):
    w, c = admin()
    with w.connect() as busy, w.connect('admin', 'pgbouncer') as second:
        busy.hold()
        ps = [Spawned(refused, x, 'PAUSE app') for x in (c, second)]
        w.wait_log('event=pause', n=2)
        wire.cancel(w.port, c.key)
        assert [p.result() for p in ps] == [('57014', 'canceling statement due to user request'),
                                            ('57014', 'canceling PAUSE due to RESUME')]
        assert w.one('SELECT 1') == '1'


def test_pause_outlives_its_client(admin, pg):
    w, c = admin()
    with w.connect() as busy, w.connect('admin', 'pgbouncer') as second:
        busy.hold()
        c.send(query('PAUSE'))
        w.wait_log('event=pause')
        c.close()
        w.wait_log('event=client_closed', 'db=pgbouncer')
        busy.sql('COMMIT')
        until(lambda: pg.backends() == 0)
        busy.send(query('SELECT 1'))
        assert busy.quiet()
        second.sql('RESUME')
        assert wire.shape(busy.until()) == 'T D C:SELECT 1 Z:I'


def test_query_wait_timeout_goes_on(admin):
    w, c = admin(query_wait_timeout=0.2)
    with w.connect() as a:
        c.sql('PAUSE')
        code, text = refused(a, 'SELECT 1')
        assert code == '57P03' and 'paused' in text
        c.sql('RESUME')
        assert a.one('SELECT 1') == '1'


def test_login_while_paused(admin):
    """Nothing is known of the servers yet: the login waits."""
    w, c = admin()
    c.sql('PAUSE app')
    new = Spawned(w.one, 'SELECT 3')
    until(lambda: w.pool_waiting() == 1)
    assert new.is_alive()
    c.sql('RESUME app')
    assert new.result() == '3'


def test_pause_and_min_pool_size(admin, pg):
    w, c = admin(min_pool_size=2)
    with w.connect() as a:
        a.one('SELECT 1')
        until(lambda: pg.backends() == 2)
        c.sql('PAUSE')
        until(lambda: pg.backends() == 0)
        w.hup()                       # looks at all pools anew
        w.wait_log('event=reloaded')
        until(lambda: pg.backends() == 0)
        c.sql('RESUME')
        until(lambda: pg.backends() == 2)


@pytest.mark.parametrize('how', ['console', 'signal'])
def test_pause_ends_while_clients_leave(admin, how):
    """SIGTERM serves everybody: whom a PAUSE keeps waiting too."""
    w, c = admin()
    with w.connect() as a:
        a.one('SELECT 1')
        c.sql('PAUSE')
        a.send(query('SELECT 5'))
        until(lambda: w.pool_waiting() == 1)
        w.term()
        w.wait_log('event=draining')
        if how == 'console':
            assert tag(c, 'RESUME') == 'C:RESUME Z:I'
        else:
            w.proc.send_signal(signal.SIGUSR2)
        assert wire.shape(a.until()) == 'T D C:SELECT 1 Z:I'
    assert w.wait() == 0


def test_polite_client_that_leaves_its_pause(admin):
    """It says Terminate and closes: its order ends, and its place is free."""
    w, c = admin()
    mine = lambda: [r for r in w.console('SHOW CLIENTS') if r['user'] == 'admin' and r['application_name'] == 'polite']
    with w.connect() as busy:
        busy.hold()
        p = w.connect('admin', 'pgbouncer', application_name='polite')
        p.send(query('PAUSE app'))
        until(lambda: w.console('SHOW DATABASES')[0]['paused'] == '1')
        assert mine()
        p.send(wire.terminate())
        p.close()
        until(lambda: not mine())
        busy.sql('COMMIT')


@BOTH
def test_signals_pause_and_resume(admin, pg, workers):
    w, c = admin(workers)
    load = Load(w, pg, n=3)
    w.proc.send_signal(signal.SIGUSR1)
    until(lambda: pg.backends() == 0)
    assert refused(c, 'PAUSE') == ('55000', 'already suspended/paused')
    w.proc.send_signal(signal.SIGUSR1)
    w.wait_log('event=pause_ignored')
    w.proc.send_signal(signal.SIGUSR2)
    load.goes_on()
    w.proc.send_signal(signal.SIGUSR2)
    w.wait_log('event=resume_ignored')
    load.result()


# ---- DISABLE and ENABLE --------------------------------------------------------------------

@BOTH
def test_disable(admin, workers):
    w, c = admin(workers)
    with w.connect() as a:
        assert tag(c, 'DISABLE app') == 'C:DISABLE Z:I'
        for _ in range(2 * workers):
            with pytest.raises(PgError) as e:
                w.connect()
            assert (e.value.code, e.value.fields['M']) == ('57P03', 'database "app" is disabled')
        assert a.one('SELECT 1') == '1'
        assert w.one('SELECT 1', database='app2') == '1'
        c.sql('RELOAD')
        with pytest.raises(PgError):
            w.connect()
        assert tag(c, 'ENABLE app') == 'C:ENABLE Z:I'
        assert w.one('SELECT 1') == '1'


# ---- RECONNECT, WAIT_CLOSE -------------------------------------------------------------------

@BOTH
def test_reconnect_under_load(admin, pg, workers):
    w, c = admin(workers, default_pool_size=3)
    load = Load(w, pg)
    for what in ('RECONNECT', 'RECONNECT app') * 3:
        old = {r[0] for r in pg.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")}
        assert tag(c, what) == 'C:RECONNECT Z:I'
        assert tag(c, what.replace('RECONNECT', 'WAIT_CLOSE')) == 'C:WAIT_CLOSE Z:I'
        load.goes_on()
        until(lambda: not old & {r[0] for r in pg.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")})
    load.result()


@BOTH
def test_reconnect_waits_for_transactions(admin, workers):
    w, c = admin(workers)
    with w.connect() as a, w.connect(database='app2') as b:
        a.hold()
        pids = a.one('SELECT pg_backend_pid()'), b.one('SELECT pg_backend_pid()')
        c.sql('RECONNECT app')
        p = Spawned(tag, c, 'WAIT_CLOSE')
        assert a.one('SELECT pg_backend_pid()') == pids[0]
        assert b.one('SELECT pg_backend_pid()') == pids[1]
        assert p.is_alive()
        a.sql('COMMIT')
        assert p.result() == 'C:WAIT_CLOSE Z:I'
        assert a.one('SELECT pg_backend_pid()') != pids[0]
        assert b.one('SELECT pg_backend_pid()') == pids[1]
        assert tag(c, 'WAIT_CLOSE') == 'C:WAIT_CLOSE Z:I'


def test_wait_close_is_cancelled(admin):
    w, c = admin()
    with w.connect() as a:
        a.hold()
        c.sql('RECONNECT')
        p = Spawned(refused, c, 'WAIT_CLOSE')
        a.one('SELECT 1')
        until(lambda: (wire.cancel(w.port, c.key), not p.is_alive())[1])
        assert p.result()[0] == '57014'
        assert a.one('SELECT 1') == '1'


# ---- KILL, KILL_CLIENT -----------------------------------------------------------------------

@BOTH
def test_kill(admin, pg, workers):
    w, c = admin(workers)
    idle, busy, runs, other = w.connect(), w.connect(), w.connect(), w.connect(database='app2')
    busy.hold()
    other.one('SELECT 1')
    runs.send(query('SELECT pg_sleep(60)'))
    until(lambda: pg.backends("state = 'active' AND datname = 'app'") == 1)
    assert tag(c, 'KILL app') == 'C:KILL Z:I'
    assert [last_words(x) for x in (idle, busy, runs)] == ['57P01'] * 3
    until(lambda: pg.backends("datname = 'app'") == 0)   # what ran there has been cancelled
    assert other.one('SELECT 1') == '1'
    new = Spawned(w.one, 'SELECT 4')
    until(lambda: w.pool_waiting() == 1)
    c.sql('RESUME app')
    assert new.result() == '4'
    other.close()


def test_kill_all(admin, pg):
    w, c = admin()
    a, b = w.connect(), w.connect(database='app2')
    a.one('SELECT 1')
    assert tag(c, 'KILL') == 'C:KILL Z:I'
    assert last_words(a) == last_words(b) == '57P01'
    until(lambda: pg.backends() == 0)
    c.sql('RESUME')
    assert w.one('SELECT 1') == '1'


def in_clients(w, c, column):
    """What SHOW CLIENTS says of a client."""
    port = str(c.sock.getsockname()[1])
    return [r for r in w.console('SHOW CLIENTS') if r['port'] == port][0][column]


def test_kill_in_the_middle_of_wal(weir, pg):
    """Nothing of ours is put into the message that a replication client is being sent."""
    w = weir(ini({'app': db(pg)}))
    c = w.connect('postgres', 'app', replication='true')
    where = c.sql('IDENTIFY_SYSTEM')[0][2]
    c.send(query('START_REPLICATION PHYSICAL %s' % where))
    assert c.read()[0] == 'W'
    pg.sql('CREATE TABLE wal AS SELECT repeat(i::text, 300) FROM generate_series(1, 60000) i')
    try:
        admin = w.connect('admin', 'pgbouncer')
        rows = lambda: [r for r in w.console('SHOW CLIENTS') if r['user'] == 'postgres']
        sent = until(lambda: int(pg.one('SELECT pg_wal_lsn_diff(sent_lsn, \'%s\') FROM pg_stat_replication' % where)) > 0)
        assert sent
        admin.sql('KILL_CLIENT ' + rows()[0]['id'])
        left = b''
        while True:
            try:
                more = c.sock.recv(1 << 20)
            except ConnectionError:
                break
            if not more:
                break
            left += more
        assert len(left) > 100000 and b'57P01' not in left
        admin.close()
    finally:
        c.close()
        pg.sql('DROP TABLE wal')


@BOTH
def test_kill_client(admin, pg, workers):
    w, c = admin(workers)
    cs = [w.connect() for _ in range(4)]
    cs[2].send(query('SELECT pg_sleep(60)'))
    until(lambda: pg.backends("state = 'active'") == 1)
    for i, column in ((2, 'id'), (1, 'ptr')):
        who = in_clients(w, cs[i], column)
        assert tag(c, 'KILL_CLIENT ' + who) == 'C:KILL_CLIENT Z:I'
        assert last_words(cs[i]) == '57P01'
        assert refused(c, 'KILL_CLIENT ' + who) == ('42704', 'client not found')
    until(lambda: pg.backends("state = 'active'") == 0)
    assert cs[0].one('SELECT 1') == cs[3].one('SELECT 1') == '1'
    for text in 'KILL_CLIENT', 'KILL_CLIENT x', 'KILL_CLIENT 1 2', 'KILL_CLIENT -1', 'KILL_CLIENT 1x':
        assert refused(c, text)[0] == '42601', text
    for x in cs:
        x.close()


# ---- RELOAD ----------------------------------------------------------------------------------

@BOTH
def test_reload_is_in_force_when_answered(admin, pg, workers):
    w, c = admin(workers)
    for n in range(6):
        w.rewrite(conf(pg, workers) .replace('[pgweir]', 'db%d = %s\n[pgweir]' % (n, db(pg, dbname='app')))
                  .replace('* =', ';* ='))
        assert tag(c, 'RELOAD') == 'C:RELOAD Z:I'
        for _ in range(workers):
            assert w.one('SELECT 1', database='db%d' % n) == '1'
            with pytest.raises(PgError) as e:
                w.connect(database='db%d' % (n - 1 if n else 99))
            assert e.value.code == '3D000'


def test_reload_says_what_is_wrong(admin, pg):
    w, c = admin()
    w.rewrite(conf(pg) + 'nonsense = 1\n')
    code, text = refused(c, 'RELOAD')
    assert code == 'F0000' and text.startswith('RELOAD failed: ') and 'nonsense' in text
    assert w.one('SELECT 1') == '1'
    w.rewrite(conf(pg))
    assert tag(c, 'RELOAD') == 'C:RELOAD Z:I'


def test_reload_of_a_paused_database(admin, pg):
    """PAUSE outlives a reload, but not its database."""
    w, c = admin()
    c.sql('PAUSE app2')
    c.sql('RELOAD')
    assert refused(c, 'RESUME app') == ('55000', 'database app is not paused')
    c.sql('RESUME app2')
    c.sql('PAUSE app2')
    w.rewrite(ini({'app': db(pg, dbname='app')}))
    c.sql('RELOAD')
    w.rewrite(conf(pg))
    c.sql('RELOAD')
    assert refused(c, 'RESUME app2') == ('55000', 'database app2 is not paused')


# ---- the end ---------------------------------------------------------------------------------

CLIENTS = ['SHUTDOWN WAIT_FOR_CLIENTS', signal.SIGTERM]
SERVERS = ['SHUTDOWN WAIT_FOR_SERVERS', signal.SIGINT]
NOW = ['SHUTDOWN', signal.SIGQUIT]


def say(w, c, how):
    """By a command or by a signal; when it returns clients are not let in any more."""
    if how == 'SHUTDOWN':
        c.send(query(how))
    elif isinstance(how, str):
        assert tag(c, how) == 'C:SHUTDOWN Z:I'
    else:
        w.proc.send_signal(how)
    if how not in NOW:
        w.wait_log('event=draining')
        until(lambda: not lets_in(w))


def lets_in(w):
    try:
        w.connect().close()
    except (OSError, wire.Closed):
        return False
    return True


@BOTH
@pytest.mark.parametrize('how', CLIENTS)
def test_wait_for_clients(admin, pg, workers, how):
    """Everybody is served as before, idle ones are told nothing, until the last has left."""
    w, c = admin(workers, default_pool_size=3)
    load = Load(w, pg)
    idle, busy = w.connect(), w.connect()
    busy.hold()
    say(w, c, how)
    load.goes_on()
    load.result()
    assert busy.one('SELECT 1') == '1'
    busy.sql('COMMIT')
    assert refused(c, 'PAUSE') == ('55000', 'pooler is shutting down')
    assert refused(c, 'RESUME') == ('55000', 'pooler is not paused/suspended')
    assert refused(c, 'RELOAD')[0] == '55000'
    assert idle.one('SELECT 2') == '2'
    busy.close()
    assert idle.quiet() and alive(w.pid)
    idle.close()
    assert last_words(c) == '57P01'  # a client of the console holds nobody up
    assert w.wait() == 0
    until(lambda: pg.backends() == 0)


@BOTH
@pytest.mark.parametrize('how', SERVERS)
def test_wait_for_servers(admin, pg, workers, how):
    """Transactions end; who wants a server is told; idle ones are told at the end."""
    w, c = admin(workers, default_pool_size=2)
    idle, asks, a, b, waits = (w.connect() for _ in range(5))
    a.hold()
    b.hold()
    a.sql('UPDATE kv SET v = 9 WHERE k = 44')
    waits.send(query('SELECT 1'))
    until(lambda: w.pool_waiting() == 1)
    say(w, c, how)
    assert last_words(waits) == '57P01'
    asks.send(query('SELECT 1'))
    assert last_words(asks) == '57P01'
    assert idle.quiet()
    assert a.one('SELECT 1') == b.one('SELECT 1') == '1'
    assert tag(a, 'COMMIT') == 'C:COMMIT Z:I'
    assert idle.quiet() and alive(w.pid)
    assert tag(b, 'ROLLBACK') == 'C:ROLLBACK Z:I'
    assert [last_words(x) for x in (idle, a, b, c)] == ['57P01'] * 4
    assert w.wait() == 0
    assert pg.one('SELECT v FROM kv WHERE k = 44') == '9'
    until(lambda: pg.backends() == 0)


@BOTH
@pytest.mark.parametrize('how', NOW)
def test_now(admin, pg, workers, how):
    w, c = admin(workers)
    with w.connect() as a:
        a.hold()
        say(w, c, how)
        assert w.wait() == 0
    until(lambda: pg.backends() == 0)


@pytest.mark.parametrize('first', CLIENTS + SERVERS)
@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGINT])
def test_second_signal(admin, first, second):
    w, c = admin()
    with w.connect() as a:
        a.hold()
        say(w, c, first)
        assert alive(w.pid)
        w.proc.send_signal(second)
        assert w.wait() == 0


def test_further_but_not_back(admin):
    w, c = admin()
    with w.connect() as a, w.connect() as b:
        a.hold()
        say(w, c, 'SHUTDOWN WAIT_FOR_CLIENTS')
        assert b.one('SELECT 1') == '1'
        assert tag(c, 'SHUTDOWN WAIT_FOR_SERVERS') == 'C:SHUTDOWN Z:I'
        assert tag(c, 'SHUTDOWN WAIT_FOR_CLIENTS') == 'C:SHUTDOWN Z:I'
        b.send(query('SELECT 1'))
        assert last_words(b) == '57P01'
        a.sql('COMMIT')
        assert last_words(a) == last_words(c) == '57P01'
        assert w.wait() == 0


@BOTH
def test_deadline(admin, pg, workers):
    """The last quarter of shutdown_timeout is for transactions to end in; then all are told,
    whatever they do."""
    w, _ = admin(workers, shutdown_timeout=2)
    idle, ends, open_, runs = (w.connect() for _ in range(4))
    ends.hold()
    open_.hold()
    runs.send(query('SELECT pg_sleep(60)'))
    until(lambda: pg.backends("state = 'active'") == 1)
    w.term()
    ends.sql('COMMIT')
    assert [last_words(x) for x in (idle, ends, open_, runs)] == ['57P01'] * 4
    assert w.log_lines('event=shutdown_timeout')
    for x in (idle, ends, open_, runs):
        x.close()
    assert w.wait() == 0
    until(lambda: pg.backends() == 0)


def test_logins_under_way_are_served(admin, pg):
    """One that was let in before SIGTERM logs in after it."""
    w, _ = admin(tcp_defer_accept=0)
    c = wire.Conn(w.port, login=False)
    until(lambda: any(r['list'] == 'login_clients' and r['items'] == '1' for r in w.console('SHOW LISTS')))
    w.term()
    until(lambda: not lets_in(w))
    c.login()
    assert c.one('SELECT 1') == '1'
    c.close()
    assert w.wait() == 0


def test_pause_is_waited_for_at_the_end(admin):
    """Whoever waits is told, and nothing is left behind."""
    w, c = admin()
    with w.connect() as a:
        a.hold()
        c.send(query('PAUSE'))
        w.wait_log('event=pause')
        w.proc.send_signal(signal.SIGQUIT)
        assert w.wait() == 0


# ---- SET -------------------------------------------------------------------------------------

def shown(c, key):
    return next(r[1] for r in c.sql('SHOW CONFIG') if r[0] == key)


@BOTH
def test_set(admin, pg, workers):
    w, c = admin(workers, default_pool_size=1, query_wait_timeout=30)
    assert tag(c, 'SET default_pool_size = 3') == 'C:SET default_pool_size=3 Z:I'
    assert shown(c, 'default_pool_size') == '3'
    cs = [w.connect() for _ in range(4)]
    for x in cs[:3]:
        x.hold()                     # three servers at once, whichever worker has them
    assert tag(c, "SET Query_Wait_Timeout TO '0.2'") == 'C:SET query_wait_timeout=0.2 Z:I'
    with w.connect() as late:
        assert refused(late, 'SELECT 1')[0] == '53300'
    for x in cs:
        x.close()
    c.sql('SET retry_codes = 40001, 40P01')
    assert shown(c, 'retry_codes').replace(' ', '') == '40001,40P01'
    c.sql('RELOAD')                  # as the file says
    assert shown(c, 'default_pool_size') == '1' and shown(c, 'query_wait_timeout') == '30'


def test_set_refused(admin):
    w, c = admin()
    for text, code in (('SET nonsense = 1', '42704'), ('SET listen_port = 1', '55P02'),
                       ('SET default_pool_size = -1', '22023'), ('SET default_pool_size = many', '22023'),
                       ('SET pool_mode = ', '42601'), ('SET pool_mode session', '42601'), ('SET', '42601')):
        assert refused(c, text)[0] == code, text
    with w.connect('watcher', 'pgbouncer') as s:
        assert refused(s, 'SET verbose = 1')[0] == '42501'
        assert tag(s, 'SET client_encoding = utf8') == 'C:SET Z:I'
    assert w.one('SELECT 1') == '1'


# ---- nodes -----------------------------------------------------------------------------------

@BOTH
def test_drain_node(admin, pg, workers):
    w, c = admin(workers)
    node = '127.0.0.1:%d' % pg.port
    a, b = w.connect(), w.connect()
    a.hold()
    b.one('SELECT 1')
    p = Spawned(tag, c, "DRAIN NODE '%s'" % node)
    until(lambda: pg.backends() == 1)        # the idle ones went at once
    assert p.is_alive()
    b.send(query('SELECT 1'))
    a.sql('COMMIT')
    assert p.result() == 'C:DRAIN Z:I'
    until(lambda: pg.backends() == 0)
    assert b.quiet()
    assert tag(c, "UNDRAIN NODE '%s'" % node) == 'C:UNDRAIN Z:I'
    assert wire.shape(b.until()) == 'T D C:SELECT 1 Z:I'
    assert refused(c, "DRAIN NODE 'nobody:1'") == ('42704', 'there is no node "nobody:1"')
    a.close()
    b.close()


@pytest.mark.parametrize('how', ['INCLUDE', 'UNDRAIN', 'cancel', 'leave'])
def test_drain_node_ends(admin, pg, how):
    w, c = admin()
    node = "'127.0.0.1:%d'" % pg.port
    with w.connect() as a, w.connect('admin', 'pgweir') as second:
        a.hold()
        c.send(query('DRAIN NODE ' + node))
        w.wait_log('event=node_excluded')
        if how == 'cancel':
            wire.cancel(w.port, c.key)
        elif how == 'leave':
            c.close()
        else:
            second.sql('%s NODE %s' % (how, node))
        if how != 'leave':
            assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
        second.sql('INCLUDE NODE ' + node)
        assert a.one('SELECT 1') == '1'
        a.sql('COMMIT')
        assert w.one('SELECT 1') == '1'


# ---- everything at once ------------------------------------------------------------------------

@BOTH
def test_all_orders_under_load(admin, pg, workers):
    """In any order, and nobody notices but by waiting."""
    w, c = admin(workers, default_pool_size=3)
    load = Load(w, pg, n=8)
    node = "'127.0.0.1:%d'" % pg.port
    for n in range(4):
        for text in ('PAUSE', 'RECONNECT', 'RESUME', 'SET default_pool_size = %d' % (2 + n), 'RECONNECT app',
                     'DISABLE app', 'RELOAD', 'DRAIN NODE ' + node, 'WAIT_CLOSE', 'UNDRAIN NODE ' + node, 'ENABLE app',
                     'PAUSE app', 'RELOAD', 'SET max_db_connections = 2', 'RESUME app', 'WAIT_CLOSE app',
                     'PROBE'):
            c.sql(text)
        load.goes_on()
    load.result()
    assert w.pool_waiting() == 0


# ---- what SHOW says ----------------------------------------------------------------------------

@BOTH
def test_shown(admin, workers):
    w, c = admin(workers)

    def state():
        return dict(c.sql('SHOW STATE'))

    def database(name):
        return next((r['paused'], r['disabled']) for r in w.console('SHOW DATABASES') if r['name'] == name)
    assert state()['paused'] == 'no' and state()['active'] == 'yes'
    assert database('app') == ('0', '0')
    c.sql('PAUSE app')
    c.sql('DISABLE app2')
    assert (database('app'), database('app2'), state()['paused']) == (('1', '0'), ('0', '1'), 'no')
    c.sql('PAUSE')
    assert state()['paused'] == 'yes' and state()['active'] == 'no'
    assert database('app2') == ('1', '1')
    c.sql('RESUME')
    assert (database('app'), database('app2'), state()['paused']) == (('1', '0'), ('0', '1'), 'no')


def test_no_suspend(admin):
    _, c = admin()
    assert refused(c, 'SUSPEND')[0] == '0A000'
