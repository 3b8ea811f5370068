"""What SHOW STATS and its kin say, beside what clients did: counted by the test itself.

SPDX-License-Identifier: ISC
"""
import re

import pytest

import wire
from conftest import db, ini, run_threads, until
from wire import bind, copy_data, copy_done, describe, execute, extended, flush, parse, query, sync

pytestmark = pytest.mark.weir_only

# PgBouncer 1.25.2
TOTALS = ['server_assignment_count', 'xact_count', 'query_count', '', '', 'xact_time', 'query_time',
          'wait_time', 'client_parse_count', 'server_parse_count', 'bind_count']


def named(prefix, received, sent):
    return [prefix + {3: received, 4: sent}.get(i, n) for i, n in enumerate(TOTALS)]


class Tally(wire.Conn):
    """A client that counts after its login."""

    def __init__(self, *a, **kw):
        self.sent = self.got = self.readies = self.idle = 0
        self.errors, self.parses, self.binds = [], 0, 0
        super().__init__(*a, **kw)
        self.sent = self.got = self.readies = self.idle = 0

    def send(self, *parts):
        data = b''.join(parts)
        self.sent += len(data)
        at = 0
        while at + 5 <= len(data) and data[at:at + 1].isalpha():
            self.parses += data[at:at + 1] == b'P'
            self.binds += data[at:at + 1] == b'B'
            at += 1 + int.from_bytes(data[at + 1:at + 5], 'big')
        super().send(*parts)

    def read_raw(self):
        letter, body = super().read_raw()
        self.got += 5 + len(body)
        if letter == 'Z':
            self.readies += 1
            self.idle += body == b'I'
        elif letter == 'E':
            self.errors.append(wire.decode(letter, body)[1]['C'])
        return letter, body


def row(w, database='app', command='SHOW STATS'):
    for r in w.console(command):
        if r['database'] == database:
            return {k: int(v) if k != 'database' else v for k, v in r.items()}
    return None


def errors(w, name='app', kind='database'):
    return {r['sqlstate_class']: int(r['count']) for r in w.console('SHOW ERRORS')
            if r['name'] == name and r['kind'] == kind}


def hists(w, kind='database', name='app'):
    return {r['histogram']: {k: int(v) for k, v in r.items() if k not in ('kind', 'name', 'histogram')}
            for r in w.console('SHOW HISTOGRAMS') if r['kind'] == kind and r['name'] == name}


def less(a, b):
    return {k: a[k] - b[k] for k in a if k != 'database'}


def classes(codes):
    out = {}
    for c in codes:
        out[c[:2]] = out.get(c[:2], 0) + 1
    return out


def do_all(c):
    """Every way to run something."""
    c.sql('SELECT 1')
    c.sql('SELECT 1; SELECT 2')
    with pytest.raises(wire.PgError):
        c.sql('SELECT 1/0')
    c.ask(extended('SELECT $1::text', ['x']), sync())
    c.ask(parse('SELECT $1::int', 'a'), describe('S', 'a'), sync())
    for i in range(3):
        c.ask(bind([i], 'a'), execute(), sync())
    # a pipeline: three units at once, the second fails
    c.ask(bind([1], 'a'), execute(), sync(), extended('SELECT 1/0'), sync(), bind([2], 'a'), execute(),
          sync(), readies=3)
    c.send(bind([1], 'a'), execute(), flush())
    c.until('C')
    c.ask(sync())
    for sql in ('BEGIN', 'SELECT 1', 'INSERT INTO meter VALUES (1)', 'COMMIT'):
        c.sql(sql)
    c.sql('BEGIN')
    for bad in ('SELECT nonsense', 'SELECT 1'):
        with pytest.raises(wire.PgError):
            c.sql(bad)
    c.sql('ROLLBACK')
    c.sql('BEGIN; COMMIT')
    c.send(query('COPY meter FROM STDIN'))
    c.until('G')
    c.send(copy_data(b'1\n' * 1000), copy_done())
    c.until('Z')
    c.ask(query('COPY meter TO STDOUT'))
    c.ask(query("SELECT repeat('x', 300000)"))
    c.ask(query("SELECT '%s'" % ('y' * 100000)))


@pytest.fixture
def table(pg):
    pg.sql('DROP TABLE IF EXISTS meter; CREATE TABLE meter (i int); GRANT ALL ON meter TO app')


@pytest.mark.parametrize('workers, lazy', [(1, 0), (1, 1), (2, 1)])
def test_every_number(weir, pg, table, workers, lazy):
    w = weir(ini({'app': db(pg), 'other': db(pg, dbname='app')}, workers=workers, lazy_begin=lazy,
                 default_pool_size=3))
    w.one('SELECT 1')
    w.one('SELECT 1', database='other')
    before, was, other = row(w), hists(w), row(w, 'other')
    counters = {r['name']: int(r['value']) for r in w.console('SHOW COUNTERS')}

    def client(i):
        with Tally(w.port) as c:
            logged_in = c.got
            do_all(c)
            c.send(wire.terminate())
            return c, logged_in
    done = [c for c, _ in run_threads(4, client)]
    until(lambda: sum(int(r['cl_active']) for r in w.console('SHOW POOLS') if r['database'] == 'app') == 0,
          why='the clients to be gone')
    d = less(row(w), before)
    assert d['total_query_count'] == sum(c.readies for c in done)
    assert d['total_xact_count'] == sum(c.idle for c in done)
    assert d['total_received'] == sum(c.sent for c in done) - 5 * len(done)   # but for their Terminate
    assert d['total_client_parse_count'] == sum(c.parses for c in done)
    assert d['total_bind_count'] == sum(c.binds for c in done)
    assert d['total_server_parse_count'] > 0
    assert d['total_client_login_count'] == len(done)
    # the end of the login is sent to them too: who they are, their key, ready
    login = d['total_sent'] - sum(c.got for c in done)
    assert login % len(done) == 0 and 200 < login / len(done) < 2000
    got, want = errors(w), classes(e for c in done for e in c.errors)
    assert got == want and d['total_errors'] == sum(want.values())
    # each transaction that had a server had it once
    lazily = 4 * 2 * lazy   # BEGINs; answered without
    h = hists(w)
    assert h['query']['count'] - was['query']['count'] == d['total_query_count'] - lazily
    assert h['transaction']['count'] - was['transaction']['count'] == d['total_xact_count']
    assert h['login']['count'] - was['login']['count'] == len(done)
    assert h['query']['sum_us'] - was['query']['sum_us'] == d['total_query_time'] > 0
    assert h['transaction']['sum_us'] - was['transaction']['sum_us'] == d['total_xact_time']
    assert d['total_xact_time'] >= d['total_query_time']
    if h.get('wait'):
        assert h['wait']['sum_us'] == row(w)['total_wait_time']
    # of its one node the same
    node = '127.0.0.1:%d' % pg.port
    at = hists(w, 'node', node)
    assert at['query']['count'] == h['query']['count'] + hists(w, name='other')['query']['count']
    assert errors(w, node, 'node') == want
    # of nobody else's
    assert {k: v for k, v in less(row(w, 'other'), other).items() if k.startswith('total') and v} == {}
    now = {r['name']: int(r['value']) for r in w.console('SHOW COUNTERS')}
    for name, column in (('queries', 'total_query_count'), ('xacts', 'total_xact_count'),
                         ('received_bytes', 'total_received'), ('parses', 'total_client_parse_count'),
                         ('assignments', 'total_server_assignment_count')):
        assert now[name] - counters[name] == d[column]


def test_columns(weir, pg):
    """PgBouncer's first, numeric, in its order."""
    w = weir(ini({'app': db(pg)}))
    w.one('SELECT 1')

    def columns(sql):
        with w.connect('admin', 'pgbouncer') as c:
            c.send(query(sql))
            names, types = [], []
            letter, body = c.read_raw()
            assert letter == 'T'
            at = 2
            while at < len(body):
                end = body.index(b'\0', at)
                names.append(body[at:end].decode())
                types.append(int.from_bytes(body[end + 7:end + 11], 'big'))
                at = end + 19
            c.until('Z')
        return names, types
    names, types = columns('SHOW STATS')
    want = ['database'] + named('total_', 'received', 'sent') + named('avg_', 'recv', 'sent')
    assert names[:len(want)] == want
    assert names[len(want):len(want) + 2] == ['total_client_login_count', 'avg_client_login_count']
    assert types == [25] + [1700] * (len(names) - 1)
    names, types = columns('SHOW STATS_TOTALS')
    assert names == ['database'] + named('', 'bytes_received', 'bytes_sent') + ['client_login_count']
    assert types == [25] + [1700] * (len(names) - 1)
    names, types = columns('SHOW STATS_AVERAGES')
    want = ['database'] + named('', 'bytes_received', 'bytes_sent') + ['client_login_count']
    assert names == want[:-4] + ['avg_' + n for n in want[-4:]]
    assert types == [25] + [1700] * (len(names) - 1)
    assert columns('SHOW TOTALS') == (['name', 'value'], [25, 1700])
    rows = {r['name']: int(r['value']) for r in w.console('SHOW TOTALS')}
    ours = named('', 'client_bytes', 'server_bytes')[:8] + [
        'ps_client_parse_count', 'ps_server_parse_count', 'ps_bind_count', 'client_login_count']
    assert list(rows) == ['total_' + n for n in ours] + ['avg_' + n for n in ours]
    stats = w.console('SHOW STATS')
    assert {r['database'] for r in stats} == {'pgbouncer', 'app'}
    assert rows['total_server_assignment_count'] == row(w)['total_server_assignment_count'] == 1
    console = row(w, 'pgbouncer')
    assert console['total_query_count'] == console['total_xact_count'] >= 6
    assert console['total_server_assignment_count'] == 0 and console['total_received'] > 100
    # the console is no query of clients
    assert {r['name']: int(r['value']) for r in w.console('SHOW COUNTERS')}['queries'] == 1


def failing(pg, of):
    """now_and_then(): the first `of` - 1 of `of` calls fail with 40001."""
    pg.sql('''DROP SEQUENCE IF EXISTS meter_calls CASCADE; CREATE SEQUENCE meter_calls;
GRANT ALL ON meter_calls TO app;
CREATE OR REPLACE FUNCTION now_and_then() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF nextval('meter_calls') %% %d <> 0 THEN RAISE 'again' USING ERRCODE = '40001'; END IF;
  RETURN 1;
END $$''' % of)


def test_retried_once_counted(weir, pg, table):
    """A query is one, however often it was run; its time is that of all attempts."""
    failing(pg, 3)
    w = weir(ini({'app': db(pg)}, retry_backoff_base=0.02, retry_max_attempts=3))
    with Tally(w.port) as c:
        before = row(w)
        assert c.one('SELECT now_and_then()') == '1'
        d = less(row(w), before)
        assert (d['total_query_count'], d['total_xact_count'], d['total_errors']) == (1, 1, 0)
        assert (d['total_retried'], d['total_retry_ok']) == (2, 1)
        assert d['total_sent'] == c.got and d['total_received'] == c.sent
        h = hists(w)
        assert h['replay']['count'] == 1 and h['replay']['sum_us'] <= d['total_query_time']
        assert errors(w, '127.0.0.1:%d' % pg.port, 'node') == {'40': 2}
        assert errors(w) == {}
        # given up: the client has the error once
        failing(pg, 1000)
        with pytest.raises(wire.PgError):
            c.sql('SELECT now_and_then() /* more */')
        d = less(row(w), before)
        assert (d['total_query_count'], d['total_xact_count'], d['total_errors']) == (2, 2, 1)
        assert errors(w) == {'40': 1}
        assert hists(w)['replay']['count'] == 1


@pytest.mark.parametrize('of, ok', [(2, True), (1000, False)])
def test_replayed_once_counted(weir, pg, table, of, ok):
    failing(pg, of)
    w = weir(ini({'app': db(pg, retry='replay')}, retry_max_attempts=3, lazy_begin=0))
    with Tally(w.port) as c:
        c.sql('SELECT 1')
        before = row(w)
        c.sql('BEGIN')
        c.sql('SELECT count(*) FROM meter')
        m = c.ask(query('SELECT now_and_then()'))
        assert ('E' not in [x[0] for x in m]) == ok
        c.sql('COMMIT')
        d = less(row(w), before)
        assert d['total_query_count'] == 4 and d['total_xact_count'] == 1
        assert d['total_errors'] == (0 if ok else 1) and errors(w) == ({} if ok else {'40': 1})
        assert d['total_replay_ok'] == (1 if ok else 0) and d['total_retry_exhausted'] == (0 if ok else 1)
        h = hists(w)
        assert h['transaction']['count'] == 2 and h['query']['count'] == 5
        assert h.get('replay', {'count': 0})['count'] == (1 if ok else 0)


def test_client_that_leaves(weir, pg):
    """What was not answered is no query; the server is given on, and counts go on."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    w.one('SELECT 1')
    before = row(w)
    c = w.connect()
    c.send(query('SELECT pg_sleep(60)'))
    until(lambda: pg.backends("usename = 'app' AND query LIKE '%pg_sleep(60)%'") == 1, why='it to run')
    c.close()
    with Tally(w.port) as c:
        c.sql('SELECT 2')
        assert c.readies == 1
    d = less(row(w), before)
    assert d['total_query_count'] == 1 and d['total_xact_count'] == 1 and d['total_errors'] == 0
    assert d['total_server_assignment_count'] == 2


def test_waits_and_time(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout=0.2))
    with w.connect() as a, w.connect() as b:
        a.sql("BEGIN; SELECT 1")
        before, was = row(w), hists(w)
        with pytest.raises(wire.PgError):
            b.sql('SELECT 1')
        d = less(row(w), before)
        assert d['total_waits'] == d['total_wait_timeouts'] == 1 and d['total_wait_time'] == 0
        assert d['total_query_count'] == 1 and d['total_xact_count'] == 0
        assert errors(w) == {'53': 1}
        a.sql('SELECT pg_sleep(0.1); COMMIT')
        b.sql('SELECT 1')
    h = hists(w)
    assert h['query']['max_us'] >= 100000 and h['transaction']['max_us'] >= 300000
    assert h['query']['p999_us'] == h['query']['max_us'] and h['query']['p50_us'] <= h['query']['max_us']
    assert h.get('wait', {}).get('count', 0) == was.get('wait', {}).get('count', 0)


def test_wait_is_timed(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect() as a, w.connect() as b:
        a.sql('BEGIN; SELECT 1')
        before = row(w)
        b.send(query('SELECT 1'))
        until(lambda: w.pool_waiting() == 1, why='b to wait')
        a.sql('SELECT pg_sleep(0.1)')
        a.sql('COMMIT')
        b.until()
        d = less(row(w), before)
    assert d['total_wait_time'] >= 100000 and d['total_waits'] == 1
    assert hists(w)['wait']['max_us'] >= 100000
    node = hists(w, 'node', '127.0.0.1:%d' % pg.port)
    assert node['wait'] == hists(w)['wait']


def test_failed_logins(weir, pg):
    w = weir(ini({'app': db(pg)}, max_client_conn=1, users=[]))
    for _ in range(3):
        with pytest.raises(wire.PgError):
            w.connect(database='none')
    with w.connect():
        with pytest.raises(wire.PgError):
            w.connect()
    assert errors(w, '(login)') == {'3D': 3, '53': 1}
    assert errors(w, 'app') == {}


def test_reload_forgets_nothing(weir, pg):
    text = ini({'app': db(pg), 'gone': db(pg, dbname='app')})
    w = weir(text)
    for _ in range(3):
        w.one('SELECT 1', database='gone')
        w.one('SELECT 1')
    w.rewrite(ini({'app': db(pg, application_name='other')}))
    w.hup()
    w.wait_log('event=reloaded')
    for _ in range(2):
        w.one('SELECT 1')
    assert row(w)['total_query_count'] == 5 and row(w, 'gone')['total_query_count'] == 3


def test_periods(weir, pg):
    """Averages are those of the last one to two periods, and each has its line."""
    text = ini({'app': db(pg)}, stats_period=1)
    w = weir(text)
    with w.connect() as c:
        lines = []
        while not any('queries_s=0' not in x for x in lines):
            c.sql('SELECT 1')
            lines = w.log_lines('event=stats')
        assert row(w)['avg_query_count'] > 0 and row(w)['avg_query_time'] > 0
        assert hists(w)['query']['recent_count'] > 0 and hists(w)['query']['recent_p99_us'] > 0
        assert re.search(r'event=stats xacts_s=\d+ queries_s=\d+ parses_s=0 server_parses_s=0 binds_s=0 '
                         r'logins_s=\d+ in_s=\d+ out_s=\d+ xact_us=\d+ query_us=\d+ wait_us=\d+ '
                         r'query_p99_us=\d+ wait_p99_us=\d+ errors=0 retried=0$', lines[-1])
    until(lambda: hists(w)['query']['recent_count'] == 0, why='two periods without a query')
    assert row(w)['avg_query_count'] == 0 and row(w)['total_query_count'] > 0
    w.rewrite(text + 'log_stats = 0\n')
    w.hup()
    w.wait_log('event=reloaded')
    n = len(w.log_lines('event=stats'))
    w.one('SELECT 1')
    until(lambda: hists(w)['query']['recent_count'] == 0, why='two periods without a query')
    assert len(w.log_lines('event=stats')) == n
