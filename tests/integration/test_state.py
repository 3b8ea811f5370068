"""Session state in transaction pooling: what follows a client from server to
server, what binds it to one, and what nobody else may ever see.

SPDX-License-Identifier: ISC
"""
import threading

import pytest

from conftest import db, ini, until
from wire import (Closed, Conn, PgError, bind, cancel, close, describe, execute, extended, parse, query,
                  shape, startup, sync)

pytestmark = pytest.mark.weir_only


@pytest.fixture
def one_server(weir, pg):
    def make(**kw):
        return weir(ini({'app': db(pg)}, **{'default_pool_size': 1, 'max_pinned_servers': 1, **kw}))
    return make


def fatal(c, *parts):
    """The fields of the FATAL error that ends the connection."""
    c.send(*parts)
    try:
        while True:
            letter, body = c.read()
            if letter == 'E' and body['S'] == 'FATAL':
                return body
    except Closed:
        return None


def show(c, name):
    return c.one('SHOW %s' % name)


def pool(w):
    return w.pool()


# ---- settings ---------------------------------------------------------------------

SETTINGS = [('search_path', 'pg_catalog'), ('statement_timeout', '12345ms'), ('work_mem', '5MB'),
            ('my.tenant', 'acme'), ('role', 'app'), ('default_transaction_isolation', 'serializable'),
            ('TimeZone', 'Asia/Tokyo'), ('DateStyle', 'German, DMY'), ('bytea_output', 'escape'),
            ('extra_float_digits', '0'), ('enable_seqscan', 'off'), ('application_name', "it's")]


@pytest.mark.parametrize('name,value', SETTINGS, ids=[n for n, _ in SETTINGS])
def test_a_setting_follows_and_does_not_leak(one_server, name, value):
    w = one_server()
    with w.connect() as a, w.connect() as b:
        before = b.one("SELECT coalesce(current_setting('%s', true), '')" % name)
        assert before != value
        a.sql("SET %s = '%s'" % (name, value.replace("'", "''")))
        for _ in range(3):
            assert show(a, name) == value
            assert b.one("SELECT coalesce(current_setting('%s', true), '')" % name) == before
        a.sql('RESET %s' % name)
        assert b.one('SELECT 1') == '1'
        assert a.one("SELECT coalesce(current_setting('%s', true), '')" % name) == before


WAYS = {
    'set to': "SET work_mem TO '7MB'",
    'set session': 'SET SESSION work_mem = 7168',
    'set_config': "SELECT set_config('work_mem', '7MB', false)",
    'in a block': "BEGIN; SET work_mem = '7MB'; COMMIT",
    'two statements': "SELECT 1; SET work_mem = '7MB'",
    'do': "DO $$BEGIN PERFORM set_config('work_mem', '7MB', false); END$$",
    'do execute': "DO $$BEGIN EXECUTE 'SET work_mem = ''7MB'''; END$$",
    'expression': "SELECT set_config('work' || '_mem', '7MB', false)",
    'unicode escapes': "SELECT set_config(U&'work\\005fmem', '7MB', false)",
    'savepoint released': "BEGIN; SAVEPOINT s; SET work_mem = '7MB'; RELEASE s; COMMIT",
}
NOT = {
    'rolled back': "BEGIN; SET work_mem = '7MB'; ROLLBACK",
    'local': "BEGIN; SET LOCAL work_mem = '7MB'; COMMIT",
    'savepoint rolled back': "BEGIN; SAVEPOINT s; SET work_mem = '7MB'; ROLLBACK TO s; COMMIT",
    'failed': "SET work_mem = '7MB'; SELECT 1/0",
    'failed block': "BEGIN; SET work_mem = '7MB'; SELECT 1/0; COMMIT",
    'local by function': "SELECT set_config('work_mem', '7MB', true)",
    'reset again': "SET work_mem = '7MB'; RESET work_mem",
    'reset all': "SET work_mem = '7MB'; RESET ALL",
    'default': "SET work_mem = '7MB'; SET work_mem TO DEFAULT",
}


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
@pytest.mark.parametrize('how', list(WAYS) + list(NOT))
def test_every_way_to_set(one_server, how, ext):
    w = one_server()
    text = {**WAYS, **NOT}[how]
    with w.connect() as a, w.connect() as b:
        base = show(b, 'work_mem')
        if ext:
            for part in text.split('; ') if '$$' not in text else [text]:
                a.ask(extended(part) + sync())
            if text.startswith('BEGIN') and not text.endswith(('COMMIT', 'ROLLBACK')):
                a.ask(query('COMMIT'))
        else:
            a.ask(query(text))
            if 'failed block' in how:
                a.ask(query('ROLLBACK'))
        mine = '7MB' if how in WAYS or (ext and how == 'failed') else base
        if mine != '7MB' or 'expression' not in how and 'unicode' not in how:
            assert show(b, 'work_mem') == base
        assert show(a, 'work_mem') == mine


def test_startup_options_follow_and_reset_goes_back_to_them(one_server):
    w = one_server()
    with w.connect(options='-c work_mem=9MB -c my.x=1', TimeZone='Asia/Tokyo') as a, w.connect() as b:
        base = show(b, 'work_mem')
        assert (show(a, 'work_mem'), show(a, 'my.x'), show(a, 'TimeZone')) == ('9MB', '1', 'Asia/Tokyo')
        a.sql("SET work_mem = '3MB'")
        assert show(b, 'work_mem') == base
        assert show(a, 'work_mem') == '3MB'
        a.sql('RESET work_mem')
        assert show(b, 'work_mem') == base
        assert show(a, 'work_mem') == '9MB'
        # inside one block: the statement behind the RESET sees it already
        m = a.ask(query('BEGIN'), query('SET work_mem = 77'), query('RESET work_mem'), query('SHOW work_mem'),
                  query('RESET ALL'), query('SHOW my.x'), query('SHOW TimeZone'), query('COMMIT'), readies=8)
        assert [x[1] for x in m if x[0] == 'D'] == [['9MB'], ['1'], ['Asia/Tokyo']]
        assert show(b, 'work_mem') == base
        assert show(a, 'work_mem') == '9MB'


def test_session_mode_resets_to_startup_values_too(one_server):
    w = one_server(pool_mode='session')
    with w.connect(options='-c work_mem=9MB') as a:
        a.sql("SET work_mem = '3MB'")
        a.sql('RESET work_mem')
        assert show(a, 'work_mem') == '9MB'
        a.sql('DISCARD ALL')
        assert show(a, 'work_mem') == '9MB'


def test_a_setting_refused_elsewhere_stops_the_statement(one_server, pg):
    """a's setting is good where it was made and is refused later: its statement
    must not run under b's."""
    pg.sql('CREATE TABLE IF NOT EXISTS ran (x int); TRUNCATE ran; DROP ROLE IF EXISTS gone; CREATE ROLE gone; '
           'GRANT gone TO app; GRANT ALL ON ran TO PUBLIC')
    w = one_server()
    with w.connect() as a, w.connect() as b:
        a.sql('SET ROLE gone')
        b.sql('SELECT 1')
        pg.sql('DROP ROLE gone')
        assert 'gone' in fatal(a, query('INSERT INTO ran VALUES (1)'))['M']
        assert b.one('SELECT count(*) FROM ran') == '0'
        assert b.one('SELECT current_user') == 'app'


def test_a_refused_setting_and_a_rollback_in_the_pipeline(one_server, pg):
    """ROLLBACK would end the failed transaction that keeps the statement from
    running under the wrong settings."""
    pg.sql('CREATE TABLE IF NOT EXISTS ran (x int); TRUNCATE ran; DROP ROLE IF EXISTS gone; CREATE ROLE gone; '
           'GRANT gone TO app; GRANT ALL ON ran TO PUBLIC')
    for first in (query('ROLLBACK'), query('SELECT 1') + query('ROLLBACK'),
                  extended('SELECT 1') + sync() + extended('ROLLBACK') + sync(),
                  query('/* c */ END')):
        w = one_server()
        with w.connect() as a, w.connect() as b:
            a.sql('SET ROLE gone')
            b.sql('SELECT 1')
            pg.sql('DROP ROLE gone')
            try:
                a.ask(first + query('INSERT INTO ran VALUES (1)'), readies=9)
            except (Closed, PgError):
                pass
            assert b.one('SELECT count(*) FROM ran') == '0'
            pg.sql('CREATE ROLE gone; GRANT gone TO app')


def test_settings_go_in_front_without_a_round_trip(fake):
    """The scripted server gets the settings and the statement before it has
    answered either."""
    from wire import complete, ready, result
    seen, late = [], threading.Event()

    def answer(c, text):
        c.send(result() if text == 'hello' else complete('SET'), ready('T' if text == 'BEGIN' else 'I'))

    def script(c):
        try:
            while True:
                letter, body = c.read_raw()
                if letter == 'Q':
                    text = body.rstrip(b'\0').decode()
                    if not late.is_set():
                        answer(c, text)
                        continue
                    seen.append(text)
                    if text == 'hello':
                        texts = seen[:]
                        seen.append('answered')
                        for s in texts:
                            answer(c, s)
        except Closed:
            pass
    w, _ = fake(script)
    with w.connect(options='-c work_mem=9MB') as a, w.connect() as b:
        b.ask(query('hello'))
        late.set()
        a.ask(query('hello'))
    assert [s.split('(')[0].split(' ')[0] for s in seen] == ['BEGIN', 'SELECT', 'hello', 'answered']


def test_two_hostile_clients_over_one_server(one_server, pg):
    """Each leaves behind all that SQL has for it; the other looks for it."""
    w = one_server(max_pinned_servers=1, query_wait_timeout=20)
    dirt = ["SET search_path = evil", "SET my.secret = 's3cret'", "SELECT set_config('my.other', 'x', false)",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET ROLE app", "PREPARE spy AS SELECT 'spy'",
            "SET statement_timeout = 1", "CREATE TEMP TABLE pg_class_spy (x int)", "LISTEN spy",
            "BEGIN; DECLARE spy CURSOR WITH HOLD FOR SELECT 1; COMMIT", "SELECT pg_advisory_lock(42)",
            "SET client_min_messages = 'error'", "SET TimeZone = 'Asia/Tokyo'", "SET standard_conforming_strings = off",
            "SET client_encoding = 'LATIN1'", "SET default_transaction_isolation = 'serializable'",
            "SELECT nextval('spyseq')"]
    pg.sql('DROP SEQUENCE IF EXISTS spyseq; CREATE SEQUENCE spyseq; GRANT ALL ON SEQUENCE spyseq TO PUBLIC')
    look = ("SELECT current_setting('search_path'), coalesce(current_setting('my.secret', true), ''), "
            "coalesce(current_setting('my.other', true), ''), current_setting('default_transaction_read_only'), "
            "current_setting('role'), current_setting('statement_timeout'), current_setting('client_min_messages'), "
            "current_setting('TimeZone'), current_setting('standard_conforming_strings'), "
            "current_setting('client_encoding'), current_setting('default_transaction_isolation'), "
            "(SELECT count(*) FROM pg_prepared_statements WHERE from_sql), (SELECT count(*) FROM pg_cursors), "
            "(SELECT count(*) FROM pg_listening_channels()), to_regclass('pg_temp.pg_class_spy'), "
            "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')")
    with w.connect() as b:
        clean = b.sql(look)[0]
    for text in dirt:
        a = w.connect()
        a.ask(query(text))
        if text.startswith(('PREPARE', 'CREATE TEMP', 'LISTEN', 'BEGIN', 'SELECT pg_adv')):
            a.close()      # it is bound to its server: gone with it
        with w.connect() as b:
            assert b.sql(look)[0] == clean, text
            m = b.ask(query("SELECT lastval()"))
            assert [x[1]['C'] for x in m if x[0] == 'E'] == ['55000']
        a.close()


# ---- pins -------------------------------------------------------------------------

BINDS = {
    'listen': ('LISTEN ch', 'UNLISTEN *'),
    'listen, unlisten': ('LISTEN ch', 'UNLISTEN ch'),
    'temp table': ('CREATE TEMP TABLE tt (x int)', 'DROP TABLE tt'),
    'temp table, discard temp': ('CREATE TEMPORARY TABLE tt (x int)', 'DISCARD TEMP'),
    'select into temp': ('SELECT 1 AS x INTO TEMP tt', 'DROP TABLE pg_temp.tt'),
    'temp view': ('CREATE TEMP VIEW tv AS SELECT 1', 'DROP VIEW tv'),
    'held cursor': ('BEGIN; DECLARE hc CURSOR WITH HOLD FOR SELECT 1; COMMIT', 'CLOSE hc'),
    'held cursor, close all': ('BEGIN; DECLARE hc CURSOR WITH HOLD FOR SELECT 1; COMMIT', 'CLOSE ALL'),
    'advisory lock': ('SELECT pg_advisory_lock(1)', 'SELECT pg_advisory_unlock(1)'),
    'advisory lock, unlock all': ('SELECT pg_try_advisory_lock_shared(1, 2)', 'SELECT pg_advisory_unlock_all()'),
    'advisory lock, as a field': ('SELECT (1::bigint).pg_advisory_lock', 'SELECT pg_advisory_unlock(1)'),
    'advisory lock, by TREAT': ('SELECT treat(1::bigint AS pg_advisory_lock)', 'DISCARD ALL'),
    'temp table by a spelt path': ("BEGIN; SET LOCAL search_path = E'pg\\x5ftemp'; CREATE TABLE tt (x int); COMMIT",
                                   'DROP TABLE pg_temp.tt'),
    'prepare': ('PREPARE sp AS SELECT 1', 'DEALLOCATE sp'),
    'prepare, deallocate all': ('PREPARE sp (int) AS SELECT $1', 'DEALLOCATE ALL'),
    'discard all': ('LISTEN ch', 'DISCARD ALL'),
}


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
@pytest.mark.parametrize('what', list(BINDS))
def test_bound_until_it_is_gone(weir, pg, what, ext):
    w = weir(ini({'app': db(pg)}, default_pool_size=2, max_pinned_servers=1))
    make, end = BINDS[what]
    with w.connect() as a, w.connect() as b:
        pid = a.one('SELECT pg_backend_pid()')
        for part in make.split('; '):
            m = a.ask(extended(part) + sync() if ext else query(part))
            assert 'E' not in [x[0] for x in m], m
        until(lambda: pool(w)['sv_pinned'] == '1', why='it to be bound')
        pid = a.one('SELECT pg_backend_pid()')
        for _ in range(3):
            assert a.one('SELECT pg_backend_pid()') == pid
            assert b.one('SELECT pg_backend_pid()') != pid
        m = a.ask(extended(end) + sync() if ext else query(end))
        assert 'E' not in [x[0] for x in m], m
        until(lambda: pool(w)['sv_pinned'] == '0', why='it to be free')
        b.hold()
        assert a.one('SELECT 1') == '1'


NOTHING_LEFT = {
    'listen rolled back': 'BEGIN; LISTEN ch; ROLLBACK',
    'temp on commit drop': 'BEGIN; CREATE TEMP TABLE tt (x int) ON COMMIT DROP; COMMIT',
    'temp rolled back': 'BEGIN; CREATE TEMP TABLE tt (x int); ROLLBACK',
    'lock and unlock': 'SELECT pg_advisory_lock(1), pg_advisory_unlock(1)',
    'xact lock': 'SELECT pg_advisory_xact_lock(1)',
    'cursor without hold': 'BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT',
    'failed': 'LISTEN ch; SELECT 1/0',
    'a word': 'SELECT 1 AS temp',
}


@pytest.mark.parametrize('what', list(NOTHING_LEFT))
def test_not_bound_by_what_did_not_stay(one_server, what):
    w = one_server()
    with w.connect() as a, w.connect() as b:
        a.ask(query(NOTHING_LEFT[what]))
        assert b.one('SELECT 1') == '1'
        assert pool(w)['sv_pinned'] == '0'


def test_a_lock_taken_by_a_failing_statement_stays(one_server):
    """Session-level locks survive an error: so does the bond."""
    w = one_server()
    with w.connect() as a:
        a.ask(query('SELECT pg_advisory_lock(7), 1/(SELECT 0)'))
        until(lambda: pool(w)['sv_pinned'] == '1', why='it to be bound')
        assert a.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == '1'
    with w.connect() as b:
        assert b.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == '0'


def test_notifications_arrive_while_idle(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=2, workers=2))
    with w.connect() as a, w.connect() as b:
        a.sql('LISTEN news')
        for i in range(3):
            b.sql("NOTIFY news, 'n%d'" % i)
            letter, body = a.read()
            assert letter == 'A' and body[1:] == ['news', 'n%d' % i] or 'n%d' % i in str(body)


def test_bound_servers_are_limited(weir, pg):
    """One server of the pool stays for the others; the statement fails, not the
    client, and not its transaction's neighbours."""
    w = weir(ini({'app': db(pg)}, default_pool_size=3))
    cs = [w.connect() for _ in range(4)]
    for c in cs[:2]:
        c.sql('LISTEN x')
    until(lambda: pool(w)['sv_pinned'] == '2', why='two to be bound')
    for text in (query('LISTEN x'), extended('LISTEN x') + sync()):
        m = cs[2].ask(text)
        e = [x[1] for x in m if x[0] == 'E']
        assert [x['C'] for x in e] == ['53300'] and 'max_pinned_servers' in e[0]['D'], m
        assert m[-1] == ('Z', 'I')
    # inside a transaction it fails as any statement does
    cs[2].sql('BEGIN')
    assert cs[2].ask(query('LISTEN x'))[-1] == ('Z', 'E')
    cs[2].sql('ROLLBACK')
    assert cs[3].one('SELECT 1') == '1'
    cs[0].close()
    until(lambda: pool(w)['sv_pinned'] == '1', why='one to be gone')
    cs[2].sql('LISTEN x')
    for c in cs[1:]:
        c.close()
    until(lambda: pool(w)['sv_pinned'] == '0', why='all to be gone')


def test_pin_error(weir, pg):
    w = weir(ini({'app': db(pg)}, users={'other': 'pin=on'}, pin='error', default_pool_size=2))
    with w.connect() as a:
        for text in ('LISTEN x', 'CREATE TEMP TABLE t (x int)', 'SELECT pg_advisory_lock(1)', 'PREPARE p AS SELECT 1'):
            for m in (a.ask(query(text)), a.ask(extended(text) + sync())):
                e = [x[1] for x in m if x[0] == 'E']
                assert [x['C'] for x in e] == ['0A000'] and 'pin' in e[0]['M'] and 'pin = on' in e[0]['H'], m
        a.sql("SET work_mem = '7MB'")     # settings follow all the same
        assert show(a, 'work_mem') == '7MB'
    with w.connect(user='other') as b:
        b.sql('LISTEN x')


def test_pin_off_resets(one_server):
    w = one_server(pin='off')
    with w.connect() as a, w.connect() as b:
        a.sql("SET work_mem = '7MB'")
        a.sql('CREATE TEMP TABLE tt (x int)')
        assert b.one("SELECT to_regclass('pg_temp.tt')") is None
        assert pool(w)['sv_pinned'] == '0'
        assert (show(a, 'work_mem'), show(b, 'work_mem')) == ('7MB', '4MB')


def test_bound_client_whose_server_dies_is_told(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    with w.connect() as a:
        a.sql('CREATE TEMP TABLE tt (x int)')
        until(lambda: pool(w)['sv_pinned'] == '1', why='it to be bound')
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert fatal(a, query('SELECT 1'))['C'] == '57P01'
    assert pool(w)['sv_pinned'] == '0'


def test_load_makes_the_server_unusable_for_others(one_server):
    w = one_server()
    with w.connect(user='postgres') as a:
        a.sql("LOAD 'plpgsql'")
        pid = a.one('SELECT pg_backend_pid()')
        a.sql('DISCARD ALL')
        assert a.one('SELECT pg_backend_pid()') == pid
    with w.connect(user='postgres') as b:
        assert b.one('SELECT pg_backend_pid()') != pid


def test_pin_functions(one_server, pg):
    pg.sql("CREATE OR REPLACE FUNCTION set_tenant(t text) RETURNS void LANGUAGE sql AS "
           "$$SELECT set_config('hidden.tenant', t, false)$$")
    w = one_server(pin_functions='set_ten*')
    with w.connect() as a:
        a.sql("SELECT set_tenant('x')")
        until(lambda: pool(w)['sv_pinned'] == '1', why='it to be bound')
        assert show(a, 'hidden.tenant') == 'x'
    with w.connect() as b:
        assert b.one("SELECT coalesce(current_setting('hidden.tenant', true), '')") == ''


def test_server_reset_query_always(one_server, pg):
    pg.sql("CREATE OR REPLACE FUNCTION set_tenant2(t text) RETURNS void LANGUAGE sql AS "
           "$$SELECT set_config('hidden.tenant', t, false)$$")
    w = one_server(server_reset_query_always=1)
    with w.connect() as a, w.connect() as b:
        a.sql("SET work_mem = '7MB'")
        a.sql("SELECT set_tenant2('x')")
        assert b.one("SELECT coalesce(current_setting('hidden.tenant', true), '')") == ''
        assert show(a, 'work_mem') == '7MB'


def test_lastval_is_the_clients_own_or_an_error(weir, pg):
    pg.sql('DROP SEQUENCE IF EXISTS sq; CREATE SEQUENCE sq; GRANT ALL ON SEQUENCE sq TO PUBLIC')
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    with w.connect() as a, w.connect() as b:
        mine = a.one("SELECT nextval('sq')")
        assert a.one('SELECT lastval()') == mine
        for _ in range(3):
            b.sql("SELECT nextval('sq')")
            assert a.one('SELECT lastval()') == mine
            mine = a.one("SELECT nextval('sq')")
    with w.connect() as a, w.connect() as b:
        a.sql("SELECT nextval('sq')")
        b.sql("SELECT nextval('sq')")
        m = a.ask(query('SELECT lastval()'))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['55000']
        a.sql('BEGIN')
        v = a.one("SELECT nextval('sq')")
        assert a.one('SELECT lastval()') == v
        a.sql('COMMIT')
        assert a.one("SELECT currval('sq')") == v


# ---- lazy BEGIN ---------------------------------------------------------------------

def test_a_begin_alone_holds_no_server(one_server):
    w = one_server()
    with w.connect() as a, w.connect() as b:
        assert shape(a.ask(query('BEGIN'))) == 'C:BEGIN Z:T'
        assert b.one('SELECT 1') == '1'
        assert a.one('SELECT 2') == '2'
        b.send(query('SELECT 1'))
        assert b.quiet(0.2)
        assert shape(a.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        b.until()
        assert shape(a.ask(query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;'))) == 'C:BEGIN Z:T'
        assert a.one('SHOW transaction_isolation') == 'repeatable read'
        assert a.one('SHOW transaction_read_only') == 'on'
        a.sql('ROLLBACK')


@pytest.mark.parametrize('end', ['COMMIT', 'ROLLBACK', 'END', 'ABORT', 'COMMIT WORK;', 'ROLLBACK TRANSACTION'])
def test_an_empty_transaction_needs_no_server(one_server, pg, end):
    w = one_server()
    with w.connect() as a, w.connect() as b:
        b.hold()
        tag = 'COMMIT' if end[0] in 'CE' else 'ROLLBACK'
        assert shape(a.ask(query('BEGIN'), query(end), readies=2)) == 'C:BEGIN Z:T C:%s Z:I' % tag


def test_lazy_begin_off(one_server):
    w = one_server(lazy_begin=0)
    with w.connect() as a, w.connect() as b:
        a.sql('BEGIN')
        b.send(query('SELECT 1'))
        assert b.quiet(0.2)
        a.sql('COMMIT')
        b.until()


def test_second_begin_warns_as_ever(one_server):
    w = one_server()
    with w.connect() as a:
        a.sql('BEGIN')
        a.send(query('BEGIN'))
        m = a.until(skip='')
        assert [x[1]['C'] for x in m if x[0] == 'N'] == ['25001'] and m[-1] == ('Z', 'T')
        a.sql('ROLLBACK')


def test_extended_in_a_lazy_transaction(one_server):
    w = one_server()
    with w.connect() as a:
        a.sql('BEGIN')
        assert shape(a.ask(extended('SELECT 1'), sync())).endswith('Z:T')
        a.ask(query('SELECT 1/0'))
        assert shape(a.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        a.sql('BEGIN')
        assert shape(a.ask(sync())) == 'Z:T'
        a.sql('ROLLBACK')


def test_waiting_in_vain_fails_the_transaction(weir, pg):
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout='0.3'))
    with w.connect() as a, w.connect() as b:
        b.hold()
        a.sql('BEGIN')
        m = a.ask(query('SELECT 1'))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['53300'] and m[-1] == ('Z', 'E')
        assert [x[1]['C'] for x in a.ask(query('SELECT 1')) if x[0] == 'E'] == ['25P02']
        assert shape(a.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        b.sql('COMMIT')
        assert a.one('SELECT 1') == '1'


# ---- clients that go ----------------------------------------------------------------

LEAVES = {
    'in a query': query('SELECT pg_sleep(30)'),
    'in a transaction': query('BEGIN') + query('SELECT pg_sleep(30)'),
    'in a batch': extended('SELECT pg_sleep(30)') + sync(),
    'in a batch without sync': extended('SELECT pg_sleep(30)'),
    'in copy in': query('COPY ct FROM STDIN'),
    'in extended copy in': extended('COPY ct FROM STDIN'),
    'with a pipeline': query('SELECT pg_sleep(30)') + query('SELECT 2') * 20 + extended('SELECT 3') * 5,
    'in copy out': query('COPY (SELECT generate_series(1, 10000000)) TO STDOUT'),
    'after a parse': parse('SELECT 1', 'x'),
    'in a failed batch': extended('SELECT 1/0') + extended('SELECT 2'),
}


@pytest.mark.parametrize('how', list(LEAVES))
def test_the_server_is_recovered(one_server, pg, how):
    """The statement is cancelled, its transaction rolled back, the same server
    serves the next client."""
    pg.sql('CREATE TABLE IF NOT EXISTS ct (x text); GRANT ALL ON ct TO PUBLIC')
    w = one_server()
    with w.connect() as b:
        pid = b.one('SELECT pg_backend_pid()')
        a = w.connect()
        a.send(LEAVES[how])
        until(lambda: 't' == pg.one("SELECT state <> 'idle' OR query LIKE '%%COPY%%' OR query <> 'SELECT pg_backend_pid()' "
                             "FROM pg_stat_activity WHERE pid = %s" % pid), why='it to arrive')
        a.close()
        assert b.one('SELECT pg_backend_pid()') == pid
        assert b.one('SELECT 7') == '7'
        m = b.ask(query('BEGIN'), query('SELECT 8'), query('COMMIT'), readies=3)
        assert shape(m) == 'C:BEGIN Z:T T D C:SELECT 1 Z:T C:COMMIT Z:I'


def test_half_a_long_message_closes_the_server(one_server):
    w = one_server()
    with w.connect() as b:
        pid = b.one('SELECT pg_backend_pid()')
        a = w.connect()
        big = query('SELECT length($$%s$$)' % ('x' * 3000000))
        a.send(big[:2000000])
        until(lambda: pool(w)['sv_active'] == '1', why='it to have a server')
        a.close()
        assert b.one('SELECT pg_backend_pid()') != pid


def test_without_cancel_the_statement_runs_on(one_server, pg):
    pg.sql('CREATE TABLE IF NOT EXISTS ran2 (x int); TRUNCATE ran2; GRANT ALL ON ran2 TO PUBLIC')
    w = one_server(cancel_on_disconnect=0)
    a = w.connect()
    a.send(query('SELECT pg_sleep(0.5); INSERT INTO ran2 VALUES (1)'))
    until(lambda: pool(w)['sv_active'] == '1', why='it to run')
    a.close()
    until(lambda: pg.one('SELECT count(*) FROM ran2') == '1', why='it to end')


def test_cancel_while_settings_are_under_way(weir, pg):
    """A cancel in that moment neither spoils the settings nor is it lost."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect(options='-c my.a=1') as a, w.connect(options='-c my.a=2') as b:
        for i in range(100):
            b.sql('SELECT 1')
            t = threading.Thread(target=cancel, args=(w.port, a.key))
            t.start()
            m = a.ask(query('SELECT pg_sleep(0.002)'))
            t.join()
            assert all(x[1]['C'] == '57014' for x in m if x[0] == 'E')
            assert (show(a, 'my.a'), show(b, 'my.a')) == ('1', '2')


def test_names_like_ours_reach_nobody_elses(one_server):
    """Statements of another client under the server's names for them."""
    w = one_server()
    with w.connect() as a, w.connect() as b:
        a.ask(parse("SELECT 'secret of a'", 's'), sync())
        name = a.one("SELECT name FROM pg_prepared_statements WHERE NOT from_sql LIMIT 1")
        assert name.startswith('pgweir_')
        for m in (b.ask(bind((), name), execute(), sync()), b.ask(describe('S', name), sync())):
            assert [x[1]['C'] for x in m if x[0] == 'E'] == ['26000']
        b.ask(close('S', name), sync())
        assert a.ask(bind((), 's'), execute(), sync())[1] == ('D', ['secret of a'])
        b.ask(query('DEALLOCATE %s' % name))
        assert a.ask(bind((), 's'), execute(), sync())[1] == ('D', ['secret of a'])


# ---- statements that are not what they were -----------------------------------------

DDL = ['ALTER TABLE heal ADD COLUMN y int DEFAULT 2', 'DROP TABLE heal; CREATE TABLE heal (x int, z text); '
       "INSERT INTO heal VALUES (1, 'z'); GRANT ALL ON heal TO PUBLIC", 'ALTER TABLE heal ALTER x TYPE text']


@pytest.mark.parametrize('retry', ['off', 'observe', 'implicit'])
@pytest.mark.parametrize('ddl', DDL)
@pytest.mark.parametrize('text', ['SELECT * FROM heal', 'UPDATE heal SET x = x RETURNING *',
                                  "SELECT *, lo_import_no(1) FROM heal"])
def test_ddl_is_not_seen_by_who_describes(one_server, pg, ddl, retry, text):
    """0A000 "cached plan must not change result type" never comes: the statement
    is prepared anew, and the new columns are told."""
    pg.sql('DROP TABLE IF EXISTS heal; CREATE TABLE heal (x int); INSERT INTO heal VALUES (1); '
           'GRANT ALL ON heal TO PUBLIC; CREATE OR REPLACE FUNCTION lo_import_no(int) RETURNS int LANGUAGE sql AS '
           "'SELECT 5'")
    w = one_server(retry=retry, retry_deny_functions='lo_import_no')
    with w.connect() as a, w.connect() as b:
        for c in (a, b):
            c.ask(parse(text, 's'), sync())
            assert 'E' not in [x[0] for x in c.ask(bind((), 's'), describe('P'), execute(), sync())]
        pg.sql(ddl)
        for c in (a, b, a):
            m = c.ask(bind((), 's'), describe('P'), execute(), sync())
            assert shape(m) == '2 T D C:%s 1 Z:I' % text.split()[0], m
        m = a.ask(describe('S', 's'), sync())
        assert shape(m) == 't T Z:I'


def test_who_does_not_describe_is_told(one_server, pg):
    """A driver that knows the columns already must not get others."""
    pg.sql('DROP TABLE IF EXISTS heal; CREATE TABLE heal (x int); INSERT INTO heal VALUES (1); '
           'GRANT ALL ON heal TO PUBLIC')
    w = one_server()
    with w.connect() as a, w.connect() as b:
        a.ask(parse('SELECT * FROM heal', 's'), sync())
        a.ask(bind((), 's'), execute(), sync())
        pg.sql('ALTER TABLE heal ADD y int')
        m = a.ask(bind((), 's'), execute(), sync())
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['0A000']
        # and prepares it again, as drivers do: good for everybody
        for c in (a, b):
            c.ask(close('S', 's'), parse('SELECT * FROM heal', 's'), sync())
            assert shape(c.ask(bind((), 's'), execute(), sync())) == '2 D C:SELECT 1 Z:I'


def test_in_a_transaction_the_error_is_told_once(one_server, pg):
    pg.sql('DROP TABLE IF EXISTS heal; CREATE TABLE heal (x int); INSERT INTO heal VALUES (1); '
           'GRANT ALL ON heal TO PUBLIC')
    w = one_server()
    with w.connect() as a:
        a.ask(parse('SELECT * FROM heal', 's'), sync())
        a.ask(bind((), 's'), describe('P'), execute(), sync())
        pg.sql('ALTER TABLE heal ADD y int')
        a.hold()
        m = a.ask(bind((), 's'), describe('P'), execute(), sync())
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['0A000'] and m[-1] == ('Z', 'E')
        a.sql('ROLLBACK')
        assert shape(a.ask(bind((), 's'), describe('P'), execute(), sync())) == '2 T D C:SELECT 1 Z:I'


# ---- what a login tells ---------------------------------------------------------------

def told(port, **kw):
    with Conn(port, login=False) as c:
        c.send(startup(**kw))
        out = c.until(skip='')
    return sorted(tuple(b) for t, b in [m for m in out if m[0] == 'S'])


@pytest.mark.parametrize('wish', [
    {'DateStyle': 'ISO'}, {'DateStyle': 'german'}, {'TimeZone': 'utc'}, {'client_encoding': 'latin1'},
    {'options': '-c DateStyle=sql,dmy -c work_mem=7MB'}, {'application_name': 'na\u00efve \x7f'},
    {'application_name': 'x' * 100}, {'IntervalStyle': 'iso_8601', 'application_name': 'a'}, {}], ids=str)
def test_a_login_tells_what_the_server_calls_it(one_server, pg, wish):
    """Three times: by a server, from what is kept, and with another client's
    settings on the server."""
    w = one_server()
    want = told(pg.port, **wish)
    assert told(w.port, **wish) == want
    with w.connect(TimeZone='Asia/Tokyo') as b:
        b.sql('SELECT 1')
        assert told(w.port, **wish) == want
    with w.connect(**wish) as a:
        assert a.one("SELECT current_setting('DateStyle') || current_setting('TimeZone')") == \
            dict(want)['DateStyle'] + dict(want)['TimeZone']


def test_a_login_with_a_wrong_setting_is_refused(one_server):
    w = one_server()
    for wish, code in (({'DateStyle': 'no'}, '22023'), ({'options': '-c nosuch=1'}, '42704'),
                       ({'client_encoding': 'klingon'}, '22023')):
        with pytest.raises(PgError) as e:
            w.connect(**wish)
        assert e.value.fields['C'] == code and e.value.fields['S'] == 'FATAL'
    with w.connect() as a:
        assert a.one('SELECT 1') == '1'


@pytest.mark.parametrize('verb', ['SELECT * FROM heal', 'INSERT INTO heal VALUES (7) RETURNING *'])
@pytest.mark.parametrize('how', ['elsewhere', 'here by another'])
def test_rows_of_another_kind_never_come_undescribed(weir, pg, verb, how):
    """Prepared before the change of the schema on one server and after it on
    another: a client that knows its columns and does not ask must be told, and
    nothing may have been done."""
    pg.sql('DROP TABLE IF EXISTS heal; CREATE TABLE heal (x int); INSERT INTO heal VALUES (1); '
           'GRANT ALL ON heal TO PUBLIC')
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    with w.connect() as a, w.connect() as b:
        assert shape(a.ask(parse(verb, 's'), describe('S', 's'), sync())) == '1 t T Z:I'
        for _ in range(3):
            assert shape(a.ask(bind((), 's'), execute(), sync())).startswith('2 D C')
        pg.sql('ALTER TABLE heal ADD y int DEFAULT 2')
        n = pg.one('SELECT count(*) FROM heal')
        b.hold()                    # takes the server that has it
        if how == 'here by another':
            with w.connect() as c:
                c.ask(parse(verb, 't'), sync())
                if verb.startswith('SELECT'):
                    c.ask(bind((), 't'), execute(), sync())
        m = a.ask(bind((), 's'), execute(), sync())
        e = [x[1] for x in m if x[0] == 'E']
        assert [x['C'] for x in e] == ['0A000'] and e[0]['R'] == 'RevalidateCachedQuery', m
        assert pg.one('SELECT count(*) FROM heal') == n
        # who describes is served
        m = a.ask(bind((), 's'), describe('P'), execute(), sync())
        assert shape(m).startswith('2 T D C'), m
        # and is up to date then
        assert shape(a.ask(bind((), 's'), execute(), sync())).startswith('2 D C')


def test_the_same_rows_elsewhere_are_just_rows(weir, pg):
    pg.sql('DROP TABLE IF EXISTS heal; CREATE TABLE heal (x int); INSERT INTO heal VALUES (1); '
           'GRANT ALL ON heal TO PUBLIC')
    w = weir(ini({'app': db(pg)}, default_pool_size=3))
    with w.connect() as a, w.connect() as b, w.connect() as c:
        a.ask(parse('SELECT * FROM heal', 's'), describe('S', 's'), parse('DELETE FROM heal WHERE x = 0', 'd'),
              describe('S', 'd'), sync())
        b.hold()
        assert shape(a.ask(bind((), 's'), execute(), bind((), 'd'), execute(), sync())) == \
            '2 D C:SELECT 1 2 C:DELETE 0 Z:I'
        c.hold()
        # a pipeline, with the answer of the server asked for in the middle
        m = a.ask(*[bind((), 'd') + execute() + sync() for _ in range(50)],
                  *[bind((), 's') + execute() + sync() for _ in range(50)], readies=100)
        assert shape(m) == ' '.join(['2 C:DELETE 0 Z:I'] * 50 + ['2 D C:SELECT 1 Z:I'] * 50)
