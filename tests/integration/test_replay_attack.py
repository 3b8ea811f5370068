# SPDX-License-Identifier: ISC
"""What a hostile reader of the replay of transactions tried. Real conflicts and real losses
where a real server can be made to have them."""
import threading
import time

import pytest

import wire
from conftest import db, ini, run_threads
from test_replay import FAST, LEVEL, ask, codes, conflict, one, value
from wire import bind, close, execute, flush, parse, query, sync

pytestmark = pytest.mark.weir_only


@pytest.fixture(params=[0, 1], ids=['eager', 'lazy'])
def w(request, weir, pg):
    return weir(ini({'app': db(pg)}, default_pool_size=1, lazy_begin=request.param, retry='replay',
                    **FAST))


def kill(pg):
    pg.one("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'")


LOSE = pytest.mark.parametrize('how', ['conflict', 'loss', 'two losses'])


def disturb(pg, c, how):
    """Makes c's transaction run again, at its next statement."""
    if how == 'conflict':
        conflict(pg)
    else:
        kill(pg)
        if how == 'two losses':
            one(ask(c, 'SELECT 1'))
            kill(pg)


@LOSE
def test_setting_of_a_transaction_that_ran_again(w, pg, how):
    """SET is the client's afterwards, and nobody else's."""
    with w.connect() as c, w.connect() as other:
        was = one(ask(other, 'SHOW work_mem'))
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, "SET work_mem = '333kB'")
        one(ask(c, 'SELECT 7'))
        disturb(pg, c, how)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        assert not codes(m), m
        assert not codes(ask(c, 'COMMIT'))
        assert one(ask(other, 'SHOW work_mem')) == was
        assert one(ask(c, 'SHOW work_mem')) == ['333kB']
        assert one(ask(other, 'SHOW work_mem')) == was
    assert w.retries()['replay_ok'] >= 1


@LOSE
def test_temporary_table_of_a_transaction_that_ran_again(weir, pg, how):
    """It binds its client to the server that has it."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, max_pinned_servers=3, retry='replay', verbose=1,
                 **FAST))
    with w.connect() as c, w.connect() as other:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, 'CREATE TEMP TABLE mine (a int)')
        one(ask(c, 'SELECT 7'))
        disturb(pg, c, how)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        assert not codes(m), m
        assert not codes(ask(c, 'COMMIT'))
        m = ask(other, 'CREATE TEMP TABLE mine (b int)')
        assert not codes(m), m
        assert one(ask(c, 'SELECT count(a) FROM mine')) == ['0']


def test_nextval_of_a_transaction_that_ran_again(w, pg):
    """currval() is its own afterwards."""
    pg.sql('DROP TABLE IF EXISTS att_t; DROP SEQUENCE IF EXISTS att_n; CREATE SEQUENCE att_n; GRANT ALL ON SEQUENCE att_n TO PUBLIC; '
           'CREATE TABLE att_t (a int DEFAULT nextval(\'att_n\')); '
           'GRANT ALL ON att_t TO PUBLIC', database='app')
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        assert not codes(ask(c, 'INSERT INTO att_t DEFAULT VALUES'))
        conflict(pg)
        assert not codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500'))
        assert one(ask(c, "SELECT currval('att_n')")) == ['2']
        assert not codes(ask(c, 'COMMIT'))


@pytest.mark.parametrize('how', ['conflict', 'loss', 'two losses'])
@pytest.mark.parametrize('name', ['application_name', 'work_mem'])
def test_setting_of_a_transaction_given_up(w, pg, how, name):
    """What was rolled back is not the client's, and it is told so."""
    was, new = {'application_name': ('x', 'y'), 'work_mem': ('444kB', '333kB')}[name]
    with w.connect() as c:
        ask(c, "SET %s = '%s'" % (name, was))
        one(ask(c, 'SELECT 1'))  # by now the server has been asked what was left there
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, "SET %s = '%s'" % (name, new))
        one(ask(c, 'SELECT v FROM kv WHERE k = 500'))
        if how == 'two losses':
            kill(pg)
            one(ask(c, 'SELECT 1'))
        conflict(pg)
        if how != 'conflict':
            kill(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        assert codes(m) == ['40001'] and m[-1] == ('Z', 'E'), m
        ask(c, 'ROLLBACK')
        assert one(ask(c, 'SHOW ' + name)) == [was]
        kill(pg)
        assert one(ask(c, 'SHOW ' + name)) == [was]
    with w.connect() as other:
        assert one(ask(other, 'SHOW ' + name)) not in (['y'], ['333kB'])


def test_currval_of_before(w, pg):
    """The rollback does not give back what a sequence gave the session."""
    pg.sql('DROP TABLE IF EXISTS att_child, att_parent; DROP SEQUENCE IF EXISTS att_s; CREATE SEQUENCE att_s; '
           'CREATE TABLE att_parent (id int DEFAULT nextval(\'att_s\')); CREATE TABLE att_child (p int);'
           'GRANT ALL ON att_parent, att_child TO PUBLIC; GRANT ALL ON SEQUENCE att_s TO PUBLIC', database='app')
    with w.connect() as c:
        ask(c, 'SELECT set_config(\'a.b\', \'c\', false)')
        first = int(one(ask(c, "INSERT INTO att_parent DEFAULT VALUES RETURNING id"))[0])
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        m = ask(c, "INSERT INTO att_child VALUES (currval('att_s'))")
        assert not codes(m), m
        ask(c, 'INSERT INTO att_parent DEFAULT VALUES')
        conflict(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        end = ask(c, 'COMMIT')
        got = ask(c, 'SELECT p FROM att_child')
        assert codes(m) == ['40001'] or one(got) == [str(first)], (m, end, got)


@pytest.mark.parametrize('text', [
    "DO $$ BEGIN PERFORM setval('att_d', currval_of() + 1); END $$",
    "DO $$ BEGIN EXECUTE 'SELECT setval(''att_d'', currval_of() + 1)'; END $$",
    "DO 'BEGIN PERFORM setval(''att_d'', currval_of() + 1); END'"])
def test_do_with_a_denied_function(w, pg, text):
    """Its text shows that it calls what no rollback undoes."""
    pg.sql('DROP SEQUENCE IF EXISTS att_d; CREATE SEQUENCE att_d; GRANT ALL ON SEQUENCE att_d TO PUBLIC',
           database='app')
    text = text.replace('currval_of()', '(SELECT last_value FROM att_d)')
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        m = ask(c, text)
        assert not codes(m), m
        conflict(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        ask(c, 'ROLLBACK')
        assert codes(m) == ['40001'], m
        assert one(ask(c, 'SELECT last_value FROM att_d')) == ['2']


def test_released_behind_the_failure(w, pg):
    """The RELEASE in the same batch was never run: the savepoint is open."""
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        assert one(ask(c, 'SELECT v FROM kv WHERE k = 500'))
        conflict(pg)
        m = c.ask(parse('SAVEPOINT s'), bind(), execute(),
                  parse('UPDATE kv SET v = v + 10 WHERE k = 500'), bind(), execute(),
                  parse('RELEASE s'), bind(), execute(), sync())
        assert codes(m) == ['40001'] and m[-1] == ('Z', 'E'), m
        m = ask(c, 'ROLLBACK TO s')
        assert not codes(m) and m[-1] == ('Z', 'T'), m
        ask(c, 'ROLLBACK')


def test_rollback_and_more_in_one_batch(weir, pg):
    """What comes behind the ROLLBACK is a transaction of its own, which the Sync commits: its
    server goes without an answer, and nobody knows. (A scripted server: a real one cannot be
    made to go between its commit and the word of it.)"""
    ran = []

    def script(s):
        while True:
            t, body = s.read_raw()
            if t == 'Q':
                text = body[:-1].decode()
                s.send(wire.complete(text), wire.ready('I' if text == 'ROLLBACK' else 'T'))
            elif t == 'P' and b'INSERT' in body:
                ran.append(body)
            elif t == 'S':
                return
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, retry='replay', lazy_begin=0, health_check_interval=60,
                     retry_max_attempts=3, **FAST))
        with w.connect() as c:
            ask(c, 'BEGIN')
            ask(c, 'UPDATE 1')
            m = c.ask(parse('ROLLBACK'), bind(), execute(), parse('INSERT INTO kv VALUES (1)'), bind(),
                      execute(), sync())
            assert len(ran) == 1, (len(ran), m)
            assert codes(m) == ['40003'], m


def test_flushed_rows_come_once(w, pg):
    """The client has the first rows by Flush; what failed behind them is replayed."""
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        one(ask(c, 'SELECT 7'))
        c.send(parse('SELECT generate_series(1, 3)'), bind(), execute(), flush())
        got = []
        while not got or got[-1][0] != 'C':
            got.append(c.read())
        assert [m[1][0] for m in got if m[0] == 'D'] == ['1', '2', '3']
        conflict(pg)
        m = c.ask(parse('UPDATE kv SET v = v + 10 WHERE k = 500 RETURNING 5'), bind(), execute(), sync())
        assert not codes(m) and one(m) == ['5'], m
        assert [x[0] for x in m] == ['1', '2', 'D', 'C', 'Z'], m
        assert not codes(ask(c, 'COMMIT'))


def test_suspended_portal_goes_on(w, pg):
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        m = c.ask(parse('SELECT generate_series(1, 5)'), bind([], '', 'p'), execute('p', 2), sync())
        assert one(m) == ['1', '2'], m
        assert one(c.ask(execute('p', 1), sync())) == ['3']
        conflict(pg)
        assert not codes(ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500', 'extended'))
        assert one(c.ask(execute('p', 1), sync())) == ['4']
        kill(pg)
        assert one(c.ask(execute('p', 1), sync())) == ['5']
        assert not codes(ask(c, 'COMMIT'))


@pytest.mark.parametrize('how', ['simple', 'extended'])
def test_lost_between_two_statements(weir, pg, how):
    """What comes while another server is on its way is not run before the replay: each time
    at another moment."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, lazy_begin=0, retry='replay', retry_max_attempts=100,
                 **FAST))
    before, first, done = value(pg), value(pg, 501), 0
    with w.connect() as c:
        for i in range(40):
            ask(c, 'BEGIN', how)
            assert not codes(ask(c, 'UPDATE kv SET v = v + 1 WHERE k = 501', how))
            kill(pg)
            time.sleep(i * 0.0005)
            m = ask(c, 'UPDATE kv SET v = v + 1 WHERE k = 500', how)
            assert m[-1] == ('Z', 'T'), (i, m)
            assert not codes(m), m
            assert ask(c, 'COMMIT', how)[-1] == ('Z', 'I')
            done += 1
            assert value(pg) == before + done
            assert value(pg, 501) == first + done


# ---- the same transcript, whether it failed on its way or not ----------------------------

FAIL = """
DROP TABLE IF EXISTS att_w, att_l CASCADE; DROP SEQUENCE IF EXISTS att_f; CREATE SEQUENCE att_f;
CREATE TABLE att_w (t text);
CREATE TABLE att_l (t text);
CREATE OR REPLACE FUNCTION att_fail(n int, code text DEFAULT '40001') RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('att_f') <= n THEN
    IF code = 'kill' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); END IF;
    RAISE EXCEPTION 'made to fail' USING ERRCODE = code;
  END IF;
  RETURN 1;
END $$;
CREATE OR REPLACE FUNCTION att_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM att_fail(NEW.t::int); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON att_l DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION att_late();
GRANT ALL ON att_w, att_l TO PUBLIC; GRANT ALL ON SEQUENCE att_f TO PUBLIC
"""

SCRIPTS = {
    'rows': ['BEGIN', "INSERT INTO att_w VALUES ('a')",
             'SELECT g, CASE WHEN g = 1500 THEN att_fail(%d) ELSE 1 END, repeat($$x$$, 20) '
             'FROM generate_series(1, 2000) g', 'COMMIT'],
    'long': ['BEGIN', "SELECT repeat('y', 100000)", "SELECT repeat('y', 300000), att_fail(%d)", 'COMMIT'],
    'settings': ['BEGIN', "SET application_name = 'b'", "SET LOCAL TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'SQL'",
                 "SELECT now() = now(), set_config('IntervalStyle', 'iso_8601', false)", 'SELECT att_fail(%d)',
                 'SHOW TimeZone', 'COMMIT', 'SHOW application_name', 'SHOW TimeZone', 'SHOW DateStyle',
                 'SHOW IntervalStyle'],
    'notices': ['BEGIN', "DO $$ BEGIN RAISE NOTICE 'one'; END $$", 'CREATE TABLE IF NOT EXISTS att_w (t text)',
                'SELECT att_fail(%d)', "DO $$ BEGIN RAISE NOTICE 'two'; END $$", 'COMMIT'],
    'cursor': ['BEGIN', 'DECLARE cc CURSOR FOR SELECT generate_series(1, 9)', 'FETCH 2 FROM cc', 'MOVE 1 IN cc',
               'SELECT att_fail(%d)', 'FETCH 3 FROM cc', 'CLOSE cc', 'COMMIT'],
    'savepoints': ['BEGIN', 'SAVEPOINT a', "INSERT INTO att_w VALUES ('a')", 'ROLLBACK TO a', 'RELEASE a',
                   "INSERT INTO att_w VALUES ('b')", 'SELECT att_fail(%d)', 'SELECT * FROM att_w', 'COMMIT'],
    'late': ['BEGIN', "INSERT INTO att_w VALUES ('a')", 'INSERT INTO att_l VALUES (%d)', 'COMMIT',
             'SELECT count(*) FROM att_w'],
    'late, in one': ["BEGIN; INSERT INTO att_w VALUES ('a'); SET application_name = 'c'; "
                     'INSERT INTO att_l VALUES (%d); COMMIT', 'SELECT count(*) FROM att_w', 'SHOW application_name'],
    'began and failed': ["BEGIN; INSERT INTO att_w VALUES ('a'); SELECT att_fail(%d)", 'COMMIT',
                         'SELECT count(*) FROM att_w'],
    'temporary': ['BEGIN', 'CREATE TEMP TABLE tt ON COMMIT DROP AS SELECT 1 AS a', 'SELECT a + att_fail(%d) FROM tt',
                  'COMMIT', 'SELECT 1'],
    'encoding': ['BEGIN', "SET client_encoding = 'LATIN1'", "SELECT chr(228)", 'SELECT att_fail(%d)',
                 "SELECT chr(228), 'x'", 'COMMIT', 'SELECT chr(228)'],
    'rolled back': ['BEGIN', "SET application_name = 'z'", "INSERT INTO att_w VALUES ('a')", 'SELECT att_fail(%d)',
                    'ROLLBACK', 'SELECT count(*) FROM att_w', 'SHOW application_name'],
}


def transcript(c, script, how, n):
    out = []
    for i, text in enumerate(script):
        text = text % n if '%d' in text else text
        if how == 'simple' or ';' in text.replace('; END', ''):
            c.send(query(text))
        elif how == 'named':
            c.send(parse(text, 'n%d' % i), sync(), wire.describe('S', 'n%d' % i), bind([], 'n%d' % i),
                   wire.describe('P'), execute(), sync(), close('S', 'n%d' % i), sync())
            out += c.until(skip='') + c.until(skip='')
        elif how == 'flush':
            c.send(parse(text), bind(), wire.describe('P'), flush())
            c.send(execute(), flush(), sync())
        else:
            c.send(wire.extended(text), sync())
        out += c.until(skip='')
    return out


@pytest.mark.parametrize('how', ['simple', 'extended', 'named', 'flush'])
@pytest.mark.parametrize('setup', ['usual', 'session', 'tight', 'lost'])
def test_same_transcript(weir, pg, how, setup):
    more = {'usual': {}, 'session': {'pool_mode': 'session'}, 'lost': {'retry_max_attempts': 30},
            'tight': {'max_prepared_statements': 1, 'retry_hold_max': 1024, 'lazy_begin': 1}}[setup]
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry='replay', **dict(FAST, **more)))
    pg.sql(FAIL, database='app')
    for name, script in SCRIPTS.items():
        if how == 'flush' and name == 'late':
            continue  # what was told of a COMMIT can be compared only when it is too late
        if setup == 'lost':
            if ';' in script[0] or name == 'late':
                continue  # a COMMIT may have been in flight
            script = [t.replace('att_fail(%d)', "att_fail(%d, 'kill')") for t in script]
        pg.sql('TRUNCATE att_w, att_l; ALTER SEQUENCE att_f RESTART', database='app')
        with pg.connect('app') as c:
            want = transcript(c, script, how, 0)
        pg.sql('TRUNCATE att_w, att_l; ALTER SEQUENCE att_f RESTART', database='app')
        with w.connect() as c:
            got = transcript(c, script, how, 2)
        strip = [m for m in got if m[0] != 'E']
        assert got == want, (name, len(got), len(want), [m for m in got if m[0] == 'E'],
                             next(((a, b) for a, b in zip(strip, want) if a != b), None))
    assert w.retries()['replay_ok'] > 5


@pytest.mark.parametrize('mode', ['one pool', 'workers', 'session'])
def test_tokens_under_losses(weir, pg, mode):
    """What was acknowledged is there once, what failed for certain is not there, and of what
    is not known there is one at most; with conflicts, and backends ended all the time."""
    more = {'one pool': {'default_pool_size': 3}, 'workers': {'default_pool_size': 4, 'workers': 2},
            'session': {'default_pool_size': 9, 'pool_mode': 'session'}}[mode]
    w = weir(ini({'app': db(pg)}, retry='replay', retry_max_attempts=1000, retry_max_time=60, **more))
    pg.sql('DROP TABLE IF EXISTS att_tok; CREATE TABLE att_tok (t text); GRANT ALL ON att_tok TO PUBLIC', database='app')
    before, stop = value(pg), threading.Event()
    done, not_known, failed = [], [], []

    def killer():
        while not stop.wait(0.004):
            pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                   'ORDER BY random() LIMIT 1')

    def body(i):
        c = None
        for n in range(150):
            tok = '%d-%d' % (i, n)
            try:
                c = c or w.connect()
                c.__enter__()
                bad = None
                for sql in ('BEGIN ISOLATION LEVEL ' + LEVEL, 'SELECT k FROM kv WHERE k = 3',
                            "INSERT INTO att_tok VALUES ('%s')" % tok,
                            'UPDATE kv SET v = v + 1 WHERE k = 500', 'COMMIT'):
                    m = ask(c, sql, ['simple', 'extended'][i % 2])
                    if codes(m):
                        bad = codes(m)[0]
                        if m[-1] != ('Z', 'I'):
                            ask(c, 'ROLLBACK')
                        break
                    assert m[-1] == ('Z', 'I' if sql == 'COMMIT' else 'T'), (sql, m)
                (not_known if bad == '40003' else failed if bad else done).append(tok)
            except (wire.Closed, OSError):
                c = None
                not_known.append(tok)
        return 1
    t = threading.Thread(target=killer)
    t.start()
    try:
        run_threads(8, body)
    finally:
        stop.set()
        t.join()
    there = [r[0] for r in pg.sql('SELECT t FROM att_tok', database='app')]
    assert len(set(there)) == len(there), 'twice'
    assert not set(done) - set(there), 'acknowledged and not there'
    assert not set(failed) & set(there), 'failed and there'
    assert value(pg) == before + len(there)
    print(mode, len(done), len(not_known), len(failed), {k: v for k, v in w.retries().items() if 'replay' in k})
    assert w.retries()['replay_ok'] > 10


def test_cancel_while_dressed(weir, pg):
    """The server that is to run the replay is given the client's settings when the cancel
    comes: the client gets its 57014, and goes on. (A scripted server: a real one is too fast.)"""
    asked, go = threading.Event(), threading.Event()

    def script(s):
        first = s.server.logins == 1
        while True:
            text = s.expect_query()
            if first and text == 'UPDATE 1':
                return
            if 'BEGIN' not in text and 'application_name' not in text and not first:
                s.send(wire.complete(text), wire.ready('I'))
                continue
            if 'application_name' in text and not first:
                asked.set()
                assert go.wait(10)
                s.send(wire.parameter('application_name', 'mine'))
                for part in [p for p in text.split(';') if p.strip()]:
                    s.send(wire.complete(part.split()[0]))
                s.send(wire.ready('I'))
                continue
            if 'application_name' in text:
                s.send(wire.parameter('application_name', 'mine'))
            s.send(wire.complete(text.split()[0]), wire.ready('T' if text == 'BEGIN' else 'I'))
    with wire.FakeServer(script, params={'application_name': ''}) as fake:
        w = weir(ini({'app': db(fake)}, retry='replay', lazy_begin=0, health_check_interval=60, **FAST))
        with w.connect() as c:
            ask(c, "SET application_name = 'mine'")
            ask(c, 'BEGIN')
            c.send(query('UPDATE 1'))
            assert asked.wait(10)
            wire.cancel(w.port, c.key)
            time.sleep(0.1)
            assert not fake.cancels, 'sent to the server while the settings were on their way'
            go.set()
            m = c.until()
            assert codes(m) == ['57014'] and m[-1] == ('Z', 'E'), m
            assert ('C', 'ROLLBACK') in ask(c, 'ROLLBACK')


def test_many_messages(weir, pg):
    """More than can be owed at a time: such a transaction is not replayed."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, retry='replay', replay_log_max=4 << 20, **FAST))
    with w.connect() as c:
        ask(c, 'BEGIN ISOLATION LEVEL ' + LEVEL)
        ask(c, 'SELECT 7')
        t = threading.Thread(target=lambda: c.send(close('P', '') * 100000, sync()))
        t.start()
        m = c.until()
        t.join()
        assert len(m) == 100001
        conflict(pg)
        m = ask(c, 'UPDATE kv SET v = v + 10 WHERE k = 500')
        assert codes(m) == ['40001'], m
    assert w.retries()['refused_memory'] == 1
    stats = {r['name']: int(r['value']) for r in w.console('SHOW COUNTERS')}
    assert stats['server_closed'] == 0 and stats['server_connects'] == 1


@pytest.mark.parametrize('cmp', [0, 1])
def test_notice_comes_once(weir, pg, cmp):
    """The client has it by Flush when the rest fails. (A scripted server: nothing else tells a
    notice in the middle of rows so exactly.)"""
    def script(s):
        n = 0
        while True:
            t, body = s.read_raw()
            if t == 'Q':
                begin = b'BEGIN' in body
                s.send(wire.complete('BEGIN' if begin else 'ROLLBACK'), wire.ready('T' if begin else 'I'))
            elif t == 'H':
                s.send(wire.msg('1'), wire.msg('2'), wire.data_row('1'), wire.notice('hello'))
            elif t == 'S':
                n += 1
                if n == 1:
                    s.send(wire.error('40001', 'x'), wire.ready('E'))
                else:
                    s.send(wire.complete('SELECT 1'), wire.ready('T'))
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, retry='replay', lazy_begin=0, health_check_interval=60,
                     replay_compare_notices=cmp, **FAST))
        with w.connect() as c:
            ask(c, 'BEGIN')
            c.send(parse('SELECT 1'), bind(), execute(), flush())
            m = [c.read() for _ in range(4)]
            c.send(sync())
            m += c.until(skip='')
            assert w.retries()['replay_ok'] == 1
            assert len([x for x in m if x[0] == 'N']) == 1, m


@pytest.mark.parametrize('how', ['simple', 'extended', 'named', 'flush'])
@pytest.mark.parametrize('loss', [0, 1])
def test_same_transcript_with_startup_settings(weir, pg, how, loss):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, retry='replay', **FAST))
    pg.sql(FAIL, database='app')
    st = dict(application_name='start', TimeZone='America/New_York', options='-c work_mem=555kB -c datestyle=German')
    for name in ('settings', 'rolled back', 'encoding'):
        script = SCRIPTS[name] + ['SHOW work_mem']
        if loss:
            script = [t.replace('att_fail(%d)', "att_fail(%d, 'kill')") for t in script]
        pg.sql('TRUNCATE att_w, att_l; ALTER SEQUENCE att_f RESTART', database='app')
        with pg.connect('app', **st) as c:
            want = transcript(c, script, how, 0)
        pg.sql('TRUNCATE att_w, att_l; ALTER SEQUENCE att_f RESTART', database='app')
        with w.connect(**st) as c, w.connect() as o:
            got = transcript(c, script, how, 2)
            assert one(ask(o, 'SHOW work_mem')) == ['4MB']
            assert one(ask(o, 'SHOW TimeZone')) != ['America/New_York']
        strip = [m for m in got if m[0] != 'E']
        assert got == want, (name, len(got), len(want), [m for m in got if m[0] == 'E'],
                             next(((a, b) for a, b in zip(strip, want) if a != b), None))
    assert w.retries()['replay_ok'] >= 3
