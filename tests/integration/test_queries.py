"""SHOW QUERIES and log_min_duration: fingerprints of what clients run, and no text unless
query_text says so.

SPDX-License-Identifier: ISC
"""
import pytest

import wire
from conftest import db, ini, run_threads
from wire import bind, execute, extended, parse, query, sync

pytestmark = pytest.mark.weir_only


def shown(w):
    return {r['query']: {k: int(v) for k, v in r.items() if k not in ('fingerprint', 'query')}
            for r in w.console('SHOW QUERIES')}


def test_off(weir, pg):
    w = weir(ini({'app': db(pg)}))
    with w.connect('admin', 'pgweir') as c:
        c.send(query('SHOW QUERIES'))
        m = c.until('Z', skip='')
        assert sorted(x[0] for x in m) == ['C', 'N', 'T', 'Z']
        assert 'query_stats' in next(x[1] for x in m if x[0] == 'N')['M']
    w.one('SELECT pg_sleep(0.01)')
    assert not w.log_lines('slow_query')


@pytest.mark.parametrize('workers', [1, 2])
def test_counts(weir, pg, workers):
    """By simple and extended queries, prepared ones under the text they were prepared from,
    pipelines in their order, errors, several workers as one."""
    w = weir(ini({'app': db(pg)}, workers=workers, query_stats=64, query_text=1))

    def client(i):
        with w.connect() as c:
            for n in range(3):
                c.sql('SELECT %d' % n)
            c.sql("select 'x', 2")
            c.ask(extended('SELECT $1::text', ['x']), sync())
            c.ask(parse('SELECT relname FROM pg_class WHERE oid = $1', 'a'), sync())
            c.ask(bind([1], 'a'), execute(), sync(), query('SELECT 1/0'), bind([2], 'a'), execute(), sync(),
                  readies=3)
            with pytest.raises(wire.PgError):
                c.sql('SELECT nonsense FROM pg_class')
            c.sql('BEGIN; SELECT 1')
            c.sql('COMMIT')
    run_threads(4, client)
    got = shown(w)
    assert {k: (v['count'], v['errors']) for k, v in got.items()} == {
        'select ?': (16, 0), 'select ? :: text': (4, 0), 'select relname from pg_class where oid = ?': (8, 0),
        'select ? / ?': (4, 4), 'select nonsense from pg_class': (4, 4), 'begin select ?': (4, 0),
        'commit': (4, 0)}
    for v in got.values():
        assert v['mean_us'] <= v['max_us'] and v['p50_us'] <= v['p99_us'] <= v['max_us']
        assert v['sum_us'] // v['count'] == v['mean_us']


def test_bounded(weir, pg):
    """More statements than slots: the rest is counted with the others, in bounded memory."""
    w = weir(ini({'app': db(pg)}, query_stats=8))
    with w.connect() as c:
        for i in range(50):
            c.sql('SELECT 1 AS a%d' % i)
            c.sql('SELECT 2 AS always')
    rows = w.console('SHOW QUERIES')
    assert len(rows) <= 9 and all(r['query'] is None for r in rows)
    assert rows[-1]['fingerprint'] == 'others'
    assert sum(int(r['count']) for r in rows) == 100
    assert max(int(r['count']) for r in rows if r['fingerprint'] != 'others') >= 40


def test_slow_ones_are_logged(weir, pg):
    text = ini({'app': db(pg)}, log_min_duration=50)
    w = weir(text)
    with w.connect() as c:
        c.sql("SELECT 'secret', pg_sleep(0.06)")
        c.sql("SELECT 'secret'")
        c.ask(extended("SELECT 'secret', pg_sleep($1::float)", [0.06]), sync())
        lines = w.wait_log('event=slow_query', n=2)
        assert len(lines) == 2 and 'secret' not in w.log() and 'pg_sleep' not in w.log()
        prints = [x.split('fingerprint=')[1].split()[0] for x in lines]
        assert all(len(p) == 16 for p in prints)
        assert 'db=app user=app' in lines[0] and 'node=127.0.0.1:%d' % pg.port in lines[0] and 'error=0' in lines[0]
        assert int(lines[0].split('duration_us=')[1].split()[0]) >= 60000
        # a reload switches it off
        w.rewrite(text.replace('log_min_duration = 50', 'log_min_duration = 0'))
        w.hup()
        w.wait_log('event=reloaded')
        c.sql('SELECT pg_sleep(0.06)')
        assert len(w.log_lines('event=slow_query')) == 2


def test_text_in_the_log(weir, pg):
    w = weir(ini({'app': db(pg)}, log_min_duration=50, query_stats=8, query_text=1))
    w.sql("SELECT 'secret' AS \"A b\", pg_sleep(0.06)")
    line, = w.wait_log('event=slow_query')
    assert r'query="select ? as \"A b\" , pg_sleep ( ? )"' in line and 'secret' not in w.log()


def test_retried_is_one(weir, pg):
    """A unit that was run three times is one query, with the time of all."""
    pg.sql('''DROP SEQUENCE IF EXISTS print_calls CASCADE; CREATE SEQUENCE print_calls;
GRANT ALL ON print_calls TO app;
CREATE OR REPLACE FUNCTION print_fails() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF nextval('print_calls') % 3 <> 0 THEN RAISE 'again' USING ERRCODE = '40001'; END IF;
  RETURN 1;
END $$''')
    w = weir(ini({'app': db(pg)}, query_stats=8, query_text=1))
    assert w.one('SELECT print_fails()') == '1'
    got = shown(w)
    assert got['select print_fails ( )']['count'] == 1 and got['select print_fails ( )']['errors'] == 0


def test_many_slots(weir, pg):
    """The most there can be, nearly all of them empty: looked at in pieces."""
    w = weir(ini({'app': db(pg)}, workers=4, query_stats=65536, query_text=1))
    assert w.console('SHOW QUERIES') == []
    with w.connect() as c:
        c.sql('SELECT 1')
    assert [r['count'] for r in shown(w).values()] == [1]
