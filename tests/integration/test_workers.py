"""Worker threads: four I/O calls per query, one code path for one and many,
servers handed over between them."""
import os
import re
import time

import pytest

import wire
from conftest import SAN, SLOW, Spawned, db, ini, run_threads, until
from wire import bind, execute, extended, parse, query, sync

pytestmark = pytest.mark.weir_only

IO_CALLS = ('read', 'readv', 'recv', 'recvfrom', 'recvmsg', 'recvmmsg', 'write', 'writev', 'send', 'sendto',
            'sendmsg', 'sendmmsg', 'splice', 'pread64', 'pwrite64', 'io_uring_enter')
WAITS = ('epoll_wait', 'epoll_pwait', 'epoll_pwait2')


def traced(weir, pg, tmp_path, workers, ask, n=300, tls=None, **kw):
    """System calls by name while n queries of one client run, between two
    queries that mark the place in the trace."""
    out = tmp_path / 'trace'
    w = weir(ini({'app': db(pg)}, workers=workers, health_check_interval=3600, server_idle_timeout=0,
                 log_connections=0, default_pool_size=2, **kw),
             wrap=['strace', '-D', '-f', '-s', '100', '-o', str(out)])
    cs = [w.connect() for _ in range(2 * workers - 1)] + [w.connect(tls=tls)]
    c = cs[-1]
    mark = cs[-1 - workers] if tls else c       # in clear, and of the same worker
    for _ in range(20):
        ask(c)
    mark.sql("SELECT 'mark-a'")
    for _ in range(n):
        ask(c)
    mark.sql("SELECT 'mark-b'")
    text = until(lambda: (lambda t: t if 'mark-b' in t else None)(out.read_text(errors='replace')))
    part = text[text.index('mark-a'):text.index('mark-b')].split('\n')[1:-1]
    counts = {}
    for line in part:
        m = re.match(r'\d+\s+(?:<\.\.\. )?(\w+)[( ]', line)
        if m and 'unfinished' not in line:
            name = 'peek' if 'MSG_PEEK' in line else m.group(1)
            counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.no_san
@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('how', ['simple', 'extended', 'named', 'transaction'])
def test_four_io_calls_per_query(weir, pg, tmp_path, workers, how):
    n, per = 300, 1
    if how == 'simple':
        ask = lambda c: c.sql('SELECT 1')
    elif how == 'extended':
        ask = lambda c: c.ask(extended('SELECT $1::int', [1]), sync())
    elif how == 'named':
        def ask(c):
            if not getattr(c, 'prepared', False):
                c.ask(parse('SELECT $1::int', 'one'), sync())
                c.prepared = True
            c.ask(bind([1], 'one'), execute(), sync())
    else:
        per = 3

        def ask(c):
            c.sql('BEGIN')
            c.sql('SELECT 1')
            c.sql('COMMIT')
    counts = traced(weir, pg, tmp_path, workers, ask, n)
    io = sum(v for k, v in counts.items() if k in IO_CALLS) / (n * per)
    rest = {k: v for k, v in counts.items() if k not in IO_CALLS + WAITS}
    assert 3.9 <= io <= 4.1, counts
    # no locks, no timers, no epoll_ctl, no clocks that are system calls
    assert sum(rest.values()) < 0.1 * n * per, counts
    waits = sum(v for k, v in counts.items() if k in WAITS) / (n * per)
    assert waits < 4.1, counts


def threads(w):
    return len(os.listdir('/proc/%d/task' % w.pid))


def test_number_of_threads(weir, pg):
    """workers=N adds N threads, or N-1 beside a main thread that works too;
    auto is one per processor that the process may use."""
    got = {n: threads(weir(ini({'app': db(pg)}, workers=n))) for n in (1, 2, 4)}
    assert got[2] - got[1] == 1 and got[4] - got[2] == 2
    cpus = sorted(os.sched_getaffinity(0))
    w = weir(ini({'app': db(pg)}, workers='auto'))
    assert threads(w) - got[1] == len(cpus) - 1
    w = weir(ini({'app': db(pg)}, workers='auto'), popen={
        'preexec_fn': lambda: os.sched_setaffinity(0, cpus[:1])})
    assert threads(w) == got[1]


@pytest.mark.parametrize('workers', [2, 4])
def test_one_server_serves_all_workers(weir, pg, workers):
    """Pool of one: the server is handed over to whoever waits, however many
    workers there are, and nobody waits beside an idle server."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=workers))
    cs = [w.connect() for _ in range(4 * workers)]
    t = time.monotonic()
    for i in range(20):
        for c in cs:
            assert c.one('SELECT %d' % i) == str(i)
    took = time.monotonic() - t
    assert took < 20 * len(cs) * 0.02 * SLOW, took
    assert pg.backends() == 1
    for c in cs:
        c.close()


@pytest.mark.parametrize('size', [1, 2])
def test_hand_over_under_load(weir, pg, size):
    w = weir(ini({'app': db(pg)}, default_pool_size=size, workers=2, query_wait_timeout=20))

    def body(i):
        with w.connect() as c:
            for j in range(150):
                want = str(i * 1000 + j)
                if j % 5 == 0:
                    c.sql('BEGIN')
                    assert c.one('SELECT %s' % want) == want
                    c.sql('COMMIT')
                else:
                    assert c.one('SELECT %s' % want) == want
        return True
    assert all(run_threads(16, body))
    assert pg.backends() <= size


def test_hand_over_of_prepared_statements(weir, pg):
    """A server that arrives from another worker knows other statements; each
    client still gets its own."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=2))
    cs = [w.connect() for _ in range(6)]
    for i, c in enumerate(cs):
        c.ask(parse("SELECT 'c%d' || $1::text" % i, 's'), sync())
    for rnd in range(10):
        for i, c in enumerate(cs):
            assert ('D', ['c%d-%d' % (i, rnd)]) in c.ask(bind(['-%d' % rnd], 's'), execute(), sync())
    for c in cs:
        c.close()


def test_hand_over_of_settings(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, workers=2))
    cs = [w.connect(application_name='app%d' % i) for i in range(6)]
    for _ in range(5):
        for i, c in enumerate(cs):
            assert c.one('SHOW application_name') == 'app%d' % i
    for c in cs:
        c.close()


def test_server_dies_while_handed_over(weir, pg):
    """Killed at random while it goes from hand to hand: errors for those who
    had it, service for all others, and no seat is lost."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, workers=2))
    stop = []

    def body(i):
        ok = 0
        with w.connect() as c:
            while not stop:
                m = c.ask(query('SELECT pg_sleep(0.001)'))
                assert m[-1] == ('Z', 'I')
                ok += m[-2][0] == 'C'
        return ok
    t = Spawned(run_threads, 8, body)
    for _ in range(60):
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' LIMIT 1",
               database='postgres')
        time.sleep(0.02)
    stop.append(1)
    assert all(ok > 5 for ok in t.result())
    cs = [w.connect() for _ in range(2)]
    for c in cs:
        c.sql('BEGIN')
    for c in cs:
        c.close()


def test_connections_are_spread_over_workers(weir, pg):
    """Both workers work: under load each burns processor time."""
    w = weir(ini({'app': db(pg)}, workers=2, default_pool_size=8))

    def body(i):
        with w.connect() as c:
            for _ in range(300):
                c.sql('SELECT 1')
    run_threads(8, body)
    ticks = []
    for t in os.listdir('/proc/%d/task' % w.pid):
        with open('/proc/%d/task/%s/schedstat' % (w.pid, t)) as f:
            ticks.append(int(f.read().split()[0]))
    ticks.sort(reverse=True)
    assert ticks[1] > ticks[0] * 0.2, ticks


def test_clients_come_and_go(weir, pg):
    """No descriptor and hardly any memory stays behind."""
    w = weir(ini({'app': db(pg)}, workers=2, default_pool_size=4, log_connections=0, log_disconnections=0))

    def wave():
        def body(i):
            for j in range(25):
                with w.connect() as c:
                    c.sql('SELECT 1')
                    if j % 2:
                        c.send(wire.terminate())
        run_threads(8, body)
    wave()
    until(lambda: w.fds() < 30, why='descriptors to be closed')
    fds, rss = w.fds(), int(w.status('VmRSS'))
    for _ in range(3):
        wave()
    until(lambda: w.fds() <= fds + 4, why='descriptors to be closed')
    if not SAN:
        assert int(w.status('VmRSS')) - rss < 3000


def test_no_delayed_acknowledgement_is_waited_for(weir, pg):
    """Nagle's algorithm against delayed acknowledgements costs 40 ms an answer:
    small answers in several pieces, to clients, servers and the console."""
    w = weir(ini({'app': db(pg)}, workers=1))
    with w.connect() as c, w.connect('admin', 'pgweir') as k:
        t = time.monotonic()
        for _ in range(25):
            # two units in two segments, and a word in between
            c.send(parse('SELECT 1'), bind())
            c.send(execute())
            c.send(sync(), query('SELECT 2'))
            c.until()
            c.until()
            k.ask(query('SHOW VERSION'))
            assert [m for m in k.ask(query('no such thing')) if m[0] == 'E']
        took = time.monotonic() - t
    assert took < 0.5 * SLOW, took
