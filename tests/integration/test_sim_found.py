"""What the deterministic simulation found, once more with real servers: one small
test for each cause. (tests/sim has the simulation; the commits that mended these
say what had happened.)

SPDX-License-Identifier: ISC
"""
import re
import resource
import socket
import time

import pytest

from conftest import SLOW, db, ini, until
from wire import (PARAMS, Closed, Conn, FakeServer, bind, close, complete, copy_data, copy_done, describe, error,
                  execute, extended, flush, function_call, msg, parse, query, ready, result, row_description,
                  shape, sync)

pytestmark = pytest.mark.weir_only


@pytest.fixture
def tiny(weir, pg):
    """A pool of one server."""
    def make(**kw):
        return weir(ini({'app': db(pg)}, **{'default_pool_size': 1, 'query_wait_timeout': 5,
                                            'health_check_interval': 3600, **kw}))
    return make


def end_servers(pg, w):
    """Ends the pooled servers from outside, and waits until the daemon knows."""
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
           "AND backend_type = 'client backend'")
    until(lambda: w.pool()['sv_total'] == '0', why='the servers to be gone')


def active(pg, n=1):
    until(lambda: pg.backends("usename = 'app' AND state = 'active'") == n, why='it to run')


def until_closed(c):
    out = []
    try:
        while True:
            out.append(c.read())
    except Closed:
        return out


def rows(messages):
    return [m[1] for m in messages if m[0] == 'D']


def told(messages):
    """What a client saw, to be compared with what another saw."""
    return shape(messages), rows(messages)


def as_told_directly(w, pg, play, **kw):
    """play(client) gives what was told: the same with and without the daemon."""
    seen = []
    for port in (pg.port, w.port):
        with Conn(port, user='app', database='app', timeout=6, **kw) as c:
            seen.append(play(c))
    assert seen[1] == seen[0]
    return seen[0]


@pytest.fixture
def fails(pg):
    """fails(1, 3): from now on the first and the third call of may_fail() end in 40001."""
    def at(*calls):
        pg.sql('DROP SEQUENCE IF EXISTS sim_calls; CREATE SEQUENCE sim_calls', user='app')
        pg.sql("CREATE OR REPLACE FUNCTION may_fail() RETURNS int LANGUAGE plpgsql AS $$BEGIN "
               "IF nextval('sim_calls') IN (%s) THEN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF; "
               "RETURN 42; END$$" % ', '.join(map(str, calls)), user='app')
    return at


@pytest.fixture
def table(pg):
    """An empty table; answers how many rows are in it."""
    pg.sql('DROP TABLE IF EXISTS sim_t; CREATE TABLE sim_t (a text)', user='app')
    return lambda: int(pg.one('SELECT count(*) FROM sim_t'))


# ---- servers that change hands ------------------------------------------------------------

def test_cancel_that_cannot_be_sent(tiny, pg):
    """No descriptor for the cancel of a client that left: its server was put back while
    it was busy, and once more when it was not, and then had two clients at a time."""
    w = tiny(log_disconnections=1)
    with w.connect(timeout=8) as b, w.connect(timeout=8) as c, pg.connect() as lock:
        lock.sql('BEGIN; UPDATE kv SET v = v WHERE k = 41')
        with w.connect() as a:
            a.send(query("SELECT 'of a' FROM kv WHERE k = 41 FOR UPDATE"))
            until(lambda: pg.backends("usename = 'app' AND wait_event_type = 'Lock'") == 1, why='a to wait')
            b.send(query("SELECT 'of b'"))
            until(lambda: w.pool_waiting() == 1, why='b to wait')
            seen = len(w.log_lines('client_closed'))
            soft, hard = resource.prlimit(w.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(w.pid, resource.RLIMIT_NOFILE, (3, hard))
        try:
            w.wait_log('client_closed', n=seen + 1)
        finally:
            resource.prlimit(w.pid, resource.RLIMIT_NOFILE, (soft, hard))
        lock.sql('ROLLBACK')
        assert told(b.until()) == ('T D C:SELECT 1 Z:I', [['of b']])
        b.hold()
        c.send(query("SELECT 'of c'"))
        until(lambda: w.pool_waiting() == 1, timeout=4, why='c to wait for the end of the transaction of b')
        b.sql('COMMIT')
        assert told(c.until()) == ('T D C:SELECT 1 Z:I', [['of c']])


def ask_until_stuck(c, w):
    """Asks for one answer after the other without reading any, until one does not go out
    to its end. It has been read to its end: the transaction is over. Returns how many."""
    def ended():
        return int({r['name']: r['value'] for r in w.console('SHOW COUNTERS')}['xacts'])
    before, n = ended(), 0
    while n == 0 or w.pool()['sv_active'] == '0':
        c.send(query("SELECT repeat('x', 60000)"))
        n += 1
        until(lambda: ended() == before + n, why='the transaction to end')
    return n


def test_server_of_a_slow_reader(tiny):
    """An answer is more than its slow client takes: the server is not read. It was the
    end of its transaction, and the server goes to the next client, which must get its
    answers."""
    w = tiny(retry_hold_time=60)    # answers are kept to their end, and go out at once

    with w.connect(rcvbuf=4096) as a, w.connect(timeout=5) as b:
        n = ask_until_stuck(a, w)
        a.send(sync()[:1])
        assert b.one('SELECT 1') == '1'
        a.send(sync()[1:])
        assert shape([m for _ in range(n) for m in a.until()]) == ' '.join(['T D C:SELECT 1 Z:I'] * n)
        assert shape(a.until()) == 'Z:I'
        assert a.one('SELECT 2') == b.one('SELECT 2') == '2'


def fill(c, w, part):
    """Sends until neither c nor the daemon takes more."""
    c.sock.settimeout(0)
    rest, stuck = part, 0
    while stuck < 3:
        try:
            rest = rest[c.sock.send(rest):] or part
            stuck = 0
        except BlockingIOError:
            w.pool()    # a turn of the daemon
            stuck += 1


def test_client_reset_with_a_full_pipeline(tiny, pg):
    """Nothing more is read from it, and its connection is reset: at the latest when it
    cannot be answered it is closed. It stayed with its server for ever."""
    w = tiny()
    with w.connect() as a, w.connect(timeout=8) as b, pg.connect() as lock:
        lock.sql('BEGIN; UPDATE kv SET v = v WHERE k = 42')
        a.send(query('SELECT v FROM kv WHERE k = 42 FOR UPDATE'))
        active(pg)
        fill(a, w, query('SELECT 1') * 1000)
        a.reset()
        lock.sql('ROLLBACK')
        assert b.one('SELECT 2') == '2'


def test_server_that_ends_while_nobody_reads_it(weir):
    """With a scripted server: a slow client's server is not read, and ends. That is told
    once, not in every turn of the loop."""
    served = []

    def script(c):
        served.append(c)
        try:
            while True:
                c.expect_query()
                c.send(result('x' * 60000), ready())
        except Closed:
            pass

    def used():
        with open('/proc/%d/stat' % w.pid) as f:
            return sum(map(int, f.read().rsplit(')', 1)[1].split()[11:13]))
    with FakeServer(script) as f:
        w = weir(ini({'app': db(f)}, default_pool_size=1, health_check_interval=3600, retry_hold_time=60))
        with w.connect(rcvbuf=4096) as a:
            ask_until_stuck(a, w)
            served[0].sock.shutdown(socket.SHUT_RDWR)
            until(lambda: served[0].ended, why='the end of the server')
            w.pool()
            before = used()
            time.sleep(0.2)     # to be slept through by the daemon too
            assert used() - before < 10


@pytest.mark.parametrize('workers', [1, 2])
def test_idle_server_of_another_pool_in_a_full_database(weir, pg, workers):
    """Found by a model of the pool, not by the simulation: whoever waits for its place
    has it at once, and not when the upkeep comes by, after a third of a second."""
    w = weir(ini({'app': db(pg)}, max_db_connections=1, workers=workers, health_check_interval=3600))
    with w.connect() as a, w.connect(user='other') as b:
        spent = 0
        for _ in range(6):
            a.hold()
            b.send(query('SELECT 1'))
            until(lambda: w.pool_waiting() == 1, why='b to wait')
            a.sql('COMMIT')
            began = time.monotonic()
            b.until()
            spent += time.monotonic() - began
        assert spent < 1 * SLOW


# ---- statements -----------------------------------------------------------------------------

OLD, NEW, BAD = (parse("SELECT '%s'" % x) for x in ('old', 'new', 'bad'))
WRONG = parse('SELEC')

UNNAMED = {
    'failed in front of a newer one': [WRONG + sync() + NEW + sync()],
    'failed behind one': [OLD + sync() + WRONG + sync()],
    'failed between two': [OLD + sync() + WRONG + sync() + NEW + sync()],
    'skipped keeps the older one': [OLD + sync(), bind((), 'nope') + NEW + sync()],
    'skipped, then a newer one': [OLD + sync(), bind((), 'nope') + BAD + sync() + NEW + sync()],
    'skipped behind one that failed': [OLD + sync(), WRONG + NEW + sync()],
    'skipped in one pipeline': [OLD + sync() + bind((), 'nope') + NEW + sync()],
    'skipped Close keeps it': [OLD + sync() + bind((), 'nope') + close('S', '') + sync()],
    'skipped Query keeps it': [OLD + sync() + bind((), 'nope') + query('SELECT 1') + sync()],
    'Query takes it': [OLD + sync() + query('SELECT 1')],
    'Query, then a newer one': [OLD + sync() + query('SELECT 1') + NEW + sync()],
    'Query, then one that failed': [OLD + sync() + query('SELECT 1') + WRONG + sync()],
}


@pytest.mark.parametrize('name', list(UNNAMED))
def test_unnamed_statement_in_a_pipeline(tiny, pg, name):
    """A Parse that fails or is skipped takes away what it takes away at the server:
    not what the client sent behind it, nor what is still there from before."""
    def play(c):
        out = []
        for part in UNNAMED[name]:
            n = part.count(sync()) + part.count(query('SELECT 1')) - part.count(query('SELECT 1') + sync())
            out.append(told(c.ask(part, readies=n)))
        out.append(told(c.ask(bind(), describe(), execute(), sync())))
        return out
    as_told_directly(tiny(), pg, play)


AGAIN = {
    'given by the unit': (parse('SELECT may_fail()') + bind() + execute() + sync(), '42'),
    'given in front': (OLD + parse('SELECT may_fail()', 's') + bind((), 's') + execute() + sync(), 'old'),
    'given behind': (parse('SELECT may_fail()', 's') + bind((), 's') + execute() + OLD + sync(), 'old'),
    'given twice': (OLD + parse('SELECT may_fail()') + bind() + execute() + NEW + sync(), 'new'),
}


@pytest.mark.parametrize('name', list(AGAIN))
def test_unnamed_statement_across_a_retry(tiny, fails, name):
    """A unit that gives an unnamed statement is run again: the client has what the last
    of its Parses gave."""
    unit, want = AGAIN[name]
    with tiny(retry_backoff_base='0.001').connect(timeout=6) as c:
        fails(1)
        c.ask(parse("SELECT 'older'"), sync())
        m = c.ask(unit)
        assert rows(m) == [['42']] and 'E' not in [x[0] for x in m], m
        assert rows(c.ask(bind(), execute(), sync())) == [[want]]
        m = c.ask(WRONG, sync(), NEW, sync(), bind(), execute(), sync(), readies=3)
        assert rows(m) == [['new']]


@pytest.mark.parametrize('piped', [False, True], ids=['alone', 'piped'])
def test_parse_of_a_known_statement_in_a_failed_transaction(tiny, pg, piped):
    """The server has the statement already: in a failed transaction it would still
    answer 25P02, not ParseComplete."""
    def play(c):
        c.ask(parse('SELECT 7', 's'), sync())
        parts = [query('BEGIN'), query('SELECT 1/0'), parse('SELECT 7', 'z') + sync(), query('ROLLBACK')]
        got = c.ask(*parts, readies=4) if piped else [m for p in parts for m in c.ask(p)]
        return told(got + c.ask(bind((), 'z'), execute(), sync()) + c.ask(bind((), 's'), execute(), sync()))
    assert as_told_directly(tiny(), pg, play) == (
        'C:BEGIN Z:T E:22012 Z:E E:25P02 Z:E C:ROLLBACK Z:I E:26000 Z:I 2 D C:SELECT 1 Z:I', [['7']])


def test_parse_of_a_known_statement_is_run_again(tiny, fails):
    """Behind settings that are still on their way, a statement that the server has was
    parsed under another name for its answer's sake, and that again in a retry: 42P05."""
    w = tiny(retry_backoff_base='0.001')
    with w.connect(timeout=6, work_mem='5MB') as c, w.connect() as other:
        c.ask(parse('SELECT may_fail()', 's'), sync())
        other.sql('SELECT 1')
        fails(1)
        m = c.ask(parse('SELECT may_fail()', 'z'), bind((), 'z'), execute(), sync())
        assert told(m) == ('1 2 D C:SELECT 1 Z:I', [['42']])


def test_unit_that_is_run_for_the_third_time(tiny, fails):
    """Its second attempt failed in front of its Parse, which was skipped with the Close
    put in front of it: the server has the statement of the first attempt still."""
    w = tiny(retry_backoff_base='0.001')
    with w.connect(timeout=6) as c:
        fails(2, 3)
        m = c.ask(parse('SELECT may_fail()', 's'), sync())
        m = c.ask(bind((), 's'), execute(), parse('SELECT may_fail(), 2', 'z'), bind((), 'z'), execute(), sync())
        assert told(m) == ('2 D C:SELECT 1 1 2 D C:SELECT 1 Z:I', [['42'], ['42', '2']])


def test_unit_whose_error_came_before_its_end(tiny, fails):
    """What a client sends behind the error of a first attempt, of which it knows nothing,
    is skipped, and is of the unit in the second."""
    w = tiny(retry_backoff_base='0.001')
    with w.connect(timeout=6) as c:
        fails(1)
        before = w.retries()['retry_seen']
        c.send(parse('SELECT may_fail()'), bind(), execute())
        until(lambda: w.retries()['retry_seen'] == before + 1, why='the error')
        assert told(c.ask(NEW, bind(), execute(), sync())) == \
            ('1 2 D C:SELECT 1 1 2 D C:SELECT 1 Z:I', [['42'], ['new']])


def test_malformed_parse_keeps_the_unnamed_statement(tiny, pg):
    """It is refused before anything is done."""
    def play(c):
        m = c.ask(OLD, sync(), msg('P', NEW[5:] + b'x'), sync(), readies=2)
        return told(m + c.ask(bind(), execute(), sync()))
    assert as_told_directly(tiny(), pg, play) == ('1 Z:I E:08P01 Z:I 2 D C:SELECT 1 Z:I', [['old']])


def test_statement_whose_preparation_was_skipped(tiny, pg):
    """On another server the first of two pipelined units would prepare it, but has failed
    already: the second does."""
    w = tiny()

    def play(c):
        c.ask(parse('SELECT 7', 's'), sync())
        if c.sock.getpeername()[1] == w.port:
            end_servers(pg, w)
        unit = bind((), 's') + execute() + sync()
        return told(c.ask(bind((), 'nope') + unit + unit, readies=2))
    assert as_told_directly(w, pg, play) == ('E:26000 Z:I 2 D C:SELECT 1 Z:I', [['7']])


def test_statement_that_was_to_be_prepared_anew(tiny, pg, table):
    """It is out of date on its server; what would prepare it anew is skipped, and with it
    the Close of the old one, which is there still."""
    def play(c):
        c.ask(parse('SELECT * FROM sim_t', 's'), sync())
        c.ask(bind((), 's'), execute(), sync())
        c.sql('ALTER TABLE sim_t ADD b%d int' % c.sock.getpeername()[1])
        c.hold()
        m = c.ask(bind((), 's'), execute(), sync()) + c.ask(query('ROLLBACK'))
        m += c.ask(bind((), 'nope'), bind((), 's'), execute(), sync())
        return told(m + c.ask(bind((), 's'), execute(), sync()))
    assert as_told_directly(tiny(), pg, play)[0] == 'E:0A000 Z:E C:ROLLBACK Z:I E:26000 Z:I E:0A000 Z:I'
    assert table() == 0


def test_statement_whose_eviction_was_skipped(tiny, pg):
    """The Close of the one that goes is skipped behind an error, and the next unit, on its
    way already, uses it."""
    def play(c):
        c.ask(parse('SELECT 1', 's1'), sync())
        return told(c.ask(bind((), 'nope'), parse('SELECT 2', 's2'), sync(),
                          bind((), 's1'), execute(), sync(), readies=2))
    got = as_told_directly(tiny(max_prepared_statements=1), pg, play)
    assert got == ('E:26000 Z:I 2 D C:SELECT 1 Z:I', [['1']])


@pytest.mark.parametrize('then', ['', 'Parse', 'ROLLBACK', 'COMMIT'])
def test_begin_takes_the_unnamed_statement(tiny, pg, then):
    """As every Query does, also one that is answered without a server."""
    def play(c):
        m = c.ask(OLD, sync()) + c.ask(query('BEGIN'))
        if then == 'Parse':
            m += c.ask(parse('SELECT 1', 's'), sync())
        elif then:
            m += c.ask(query(then))
        return told(m + c.ask(bind(), execute(), sync()) + c.ask(query('ROLLBACK')))
    assert 'E:26000' in as_told_directly(tiny(), pg, play)[0]


def test_unnamed_statement_of_another_behind_a_skipped_parse(tiny, pg):
    """A Parse is skipped, and a Bind of the unit behind it is on its way already: the
    server still has the unnamed statement of another client."""
    w = tiny()
    with w.connect() as other, w.connect() as c:
        other.ask(parse("SELECT 'of another'"), sync())
        m = c.ask(bind((), 'nope') + NEW + sync() + bind() + describe() + execute() + sync(), readies=2)
        assert told(m) == ('E:26000 Z:I E:26000 Z:I', [])


@pytest.mark.parametrize('text', ['ROLLBACK', 'SELECT 1'])
def test_query_after_a_loss_takes_the_unnamed_statement(tiny, pg, text):
    """The same of those that are answered after the loss of a transaction."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.hold()
        assert shape(c.ask(OLD, sync())) == '1 Z:T'
        end_servers(pg, w)
        c.ask(query(text))
        if text != 'ROLLBACK':
            c.ask(extended('ROLLBACK', name='r'), sync())
        assert shape(c.ask(bind(), execute(), sync())) == 'E:26000 Z:I'


def test_malformed_close_in_a_lost_transaction(tiny, pg):
    """It is no Close: the name is there still."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.hold()
        c.ask(parse('SELECT 7', 's'), sync())
        end_servers(pg, w)
        assert shape(c.ask(query('SELECT 1'))) == 'E:40001 Z:E'
        assert shape(c.ask(msg('C', b'Ss'), sync())).startswith('E:')
        assert shape(c.ask(query('ROLLBACK'))) == 'C:ROLLBACK Z:I'
        assert rows(c.ask(bind((), 's'), execute(), sync())) == [['7']]


def test_parse_of_an_empty_text_in_a_failed_transaction(tiny, pg):
    """The one thing that it takes besides its end: the name is there after it."""
    def play(c):
        c.ask(parse('', 's'), sync())
        m = c.ask(query('BEGIN')) + c.ask(query('SELECT 1/0')) + c.ask(parse('', 'z'), sync())
        m += c.ask(bind((), 'z'), execute(), sync()) + c.ask(query('ROLLBACK'))
        return told(m + c.ask(bind((), 'z'), execute(), sync()))
    assert as_told_directly(tiny(), pg, play)[0] == \
        'C:BEGIN Z:T E:22012 Z:E 1 Z:E E:25P02 Z:E C:ROLLBACK Z:I 2 I Z:I'


# ---- settings --------------------------------------------------------------------------------

@pytest.mark.parametrize('first', [True, False], ids=['options first', 'options last'])
def test_options_come_before_named_settings(tiny, pg, first):
    """The settings a startup packet names itself win over those in its options,
    wherever they stand."""
    named = {'work_mem': '5MB', 'application_name': 'named'}
    opts = {'options': '-c work_mem=7MB -c application_name=options -c my.x=1'}

    def play(c):
        return [c.one('SHOW ' + x) for x in ('work_mem', 'application_name', 'my.x')], c.params['application_name']
    got = as_told_directly(tiny(), pg, play, **(dict(opts, **named) if first else dict(named, **opts)))
    assert got == (['5MB', 'named', '1'], 'named')


def test_welcome_is_not_that_of_another(tiny):
    """The first login has to borrow a server for its welcome; its only wish is a name.
    The next one has no wishes, and is not told of that name."""
    w = tiny()
    with w.connect(application_name='mine') as a, w.connect() as b:
        assert a.params['application_name'] == 'mine'
        assert b.params['application_name'] == ''
        assert b.one('SHOW application_name') == ''


@pytest.mark.parametrize('how', ['RESET my.x', 'RESET ALL'])
def test_custom_setting_that_was_reset(tiny, pg, how):
    """Once set in a session it is there to its end, and empty when reset: on another
    server too."""
    w = tiny()
    with pg.connect('app') as d, w.connect() as c:
        for x in (c, d):
            x.sql("SET my.x = '1'")
            x.sql(how)
        want = told(d.ask(query('SHOW my.x')))
        assert told(c.ask(query('SHOW my.x'))) == want
        end_servers(pg, w)
        assert told(c.ask(query('SHOW my.x'))) == want == ('T D C:SHOW Z:I', [['']])


@pytest.mark.parametrize('end', ['COMMIT', 'ROLLBACK'])
def test_end_of_a_transaction_with_pg_temp_in_the_path(tiny, end):
    """With pg_temp in search_path any text may make a temporary table, but for the end
    of a transaction: pin = error does not refuse that."""
    with tiny(pin='error').connect(search_path='pg_temp, public') as c:
        c.ask(query('BEGIN'))
        assert shape(c.ask(query('SELECT 1'))) == 'E:0A000 Z:E'
        assert shape(c.ask(query(end))) == 'C:ROLLBACK Z:I'


@pytest.mark.parametrize('how', ['idle', 'running', 'COMMIT under way'])
def test_settings_of_a_lost_transaction(tiny, pg, how):
    """A SET in a block goes with it when its server is lost: its client is told so with
    the first ReadyForQuery, and does not have it on the next server. Also when it is not
    known whether it was committed."""
    w = tiny()
    with w.connect(timeout=6, application_name='before') as c:
        c.ask(query('BEGIN'))
        c.ask(query("SET application_name = 'within'"))
        assert c.params['application_name'] == 'within'
        if how != 'idle':
            c.send(query('SELECT pg_sleep(30)' + ('; COMMIT' if 'COMMIT' in how else '')))
            active(pg)
        end_servers(pg, w)
        m = c.ask(query('SELECT 1')) if how == 'idle' else c.until()
        assert m[-1] == ('Z', 'I' if 'COMMIT' in how else 'E')
        assert c.params['application_name'] == 'before'
        if m[-1][1] == 'E':
            assert shape(c.ask(query('ROLLBACK'))) == 'C:ROLLBACK Z:I'
        assert c.one('SHOW application_name') == 'before'


# ---- COPY ----------------------------------------------------------------------------------

@pytest.mark.parametrize('when', ['at once', 'later'])
@pytest.mark.parametrize('front', [flush(), sync()], ids=['Flush', 'Sync'])
def test_flush_and_sync_inside_a_copy(tiny, pg, table, front, when):
    """The server passes over them; in front of CopyData they must not wait for the end
    of a COPY whose Query holds more statements."""
    def play(c):
        out = []
        c.send(query('SELECT 1; COPY sim_t FROM STDIN; SELECT 2'))
        if when == 'later':
            out += c.until('G')
        c.send(front, copy_data('a\n'), front, copy_data('b\n'), copy_done())
        return told(out + c.until())
    assert as_told_directly(tiny(), pg, play) == (
        'T D C:SELECT 1 G C:COPY 2 T D C:SELECT 1 Z:I', [['1'], ['2']])
    assert table() == 4


def test_parse_inside_a_copy(tiny, pg, table):
    """Of a statement that the server has: it ends the COPY nevertheless."""
    def play(c):
        c.ask(parse('SELECT 7', 's'), sync())
        c.send(parse('COPY sim_t FROM STDIN'), bind(), execute(), flush())
        c.until('G')
        c.send(copy_data('a\n'), parse('SELECT 7', 'z'), sync())
        return [(m[0], m[1]['C']) for m in until_closed(c)]
    assert as_told_directly(tiny(), pg, play)[0] == ('E', '08P01')
    assert table() == 0


def test_parse_behind_a_copy(tiny, pg, table):
    """The end of the COPY has been sent: what comes behind it is not in it."""
    def play(c):
        c.ask(parse('SELECT 7', 's'), sync())
        c.send(query('COPY sim_t FROM STDIN'))
        c.until('G')
        return told(c.ask(copy_data('a\n'), copy_done(), parse('SELECT 7', 'z'), bind((), 'z'), execute(), sync(),
                          readies=2))
    assert as_told_directly(tiny(), pg, play) == ('C:COPY 1 Z:I 1 2 D C:SELECT 1 Z:I', [['7']])
    assert table() == 2


# ---- servers that are lost -------------------------------------------------------------------

@pytest.mark.parametrize('then', ['COMMIT', 'bound COMMIT', 'INSERT', 'Sync'])
def test_batch_without_its_sync_is_lost(tiny, pg, table, then):
    """BEGIN and INSERT with Flush, all of it answered, and the server dies: whatever
    comes next is told, and nothing is committed."""
    insert = "INSERT INTO sim_t VALUES ('x')"
    w = tiny()
    with w.connect(timeout=6) as c:
        c.send(extended('BEGIN'), extended(insert), flush())
        assert shape(c.until('C') + c.until('C')) == '1 2 n C:BEGIN 1 2 n C:INSERT 0 1'
        end_servers(pg, w)
        m = c.ask({'COMMIT': query('COMMIT'), 'bound COMMIT': extended('COMMIT') + sync(),
                   'INSERT': extended(insert) + sync(), 'Sync': sync()}[then])
        assert shape(m) == 'E:40001 Z:E'
        assert table() == 0
        assert shape(c.ask(query(insert))) == 'E:25P02 Z:E'
        assert shape(c.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        assert table() == 0
        c.sql(insert)
        assert table() == 1


@pytest.mark.parametrize('then', ['bound SELECT', 'Sync'])
def test_implicit_batch_without_its_sync_is_lost(tiny, pg, table, then):
    """The same without BEGIN: it is not committed before its Sync."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.send(extended("INSERT INTO sim_t VALUES ('x')"), flush())
        c.until('C')
        end_servers(pg, w)
        m = c.ask((extended('SELECT 1') if then == 'bound SELECT' else b'') + sync())
        assert shape(m) == 'E:40003 Z:I'
        assert table() == 0
        assert c.one('SELECT 2') == '2'


LIMBO = {
    'several statements': [query("BEGIN; INSERT INTO sim_t VALUES ('x')")],
    'bound COMMIT': [query('BEGIN'), query("INSERT INTO sim_t VALUES ('x')"),
                     parse('COMMIT', 'c') + bind((), 'c', 'p') + sync()],
}


@pytest.mark.parametrize('name', list(LIMBO))
@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
def test_transaction_that_is_lost_while_idle(tiny, pg, table, name, ext):
    """It might have been committed by the look of its texts, but none of them was on its
    way when the server died. What comes next must not run outside of it."""
    insert = "INSERT INTO sim_t VALUES ('y')"
    insert = extended(insert) + sync() if ext else query(insert)
    w = tiny()
    with w.connect(timeout=6) as c:
        for part in LIMBO[name]:
            assert c.ask(part)[-1] == ('Z', 'T')
        end_servers(pg, w)
        assert shape(c.ask(insert)) == 'E:40001 Z:E'
        assert shape(c.ask(insert)) == 'E:25P02 Z:E'
        assert shape(c.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        assert table() == 0


def test_server_lost_while_it_skips_a_commit(tiny, pg, table):
    """The COMMIT of a batch is skipped behind an error in front of it: none is on its way
    when the server is lost."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.ask(query('BEGIN'))
        c.ask(query("INSERT INTO sim_t VALUES ('x')"))
        c.send(bind((), 'nope'), extended('COMMIT'), flush())
        assert shape(c.until('E')) == 'E:26000'
        w.pool()
        end_servers(pg, w)
        assert shape(c.ask(sync())) == 'Z:E'
        assert shape(c.ask(query('COMMIT'))) == 'E:40001 Z:I'
        assert table() == 0


def test_fatal_word_in_an_open_batch(tiny, pg):
    """A statement with Flush runs, its server is ended: its client is told before it has
    sent its Sync."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.send(extended('SELECT pg_sleep(30)'), flush())
        active(pg)
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'")
        m = c.until('E')
        assert m[-1][1]['C'] in ('57P01', '40003'), m
        assert shape(c.ask(sync())) == 'Z:I'
        assert c.one('SELECT 1') == '1'


@pytest.mark.parametrize('text', ['PREPARE x AS SELECT 1', 'SELECT pg_advisory_lock(4712)'])
def test_what_outlives_a_rollback_is_lost(tiny, pg, text):
    """A rollback undoes neither SQL PREPARE nor session locks: when the server is lost
    with them, in the transaction that made them too, no other can take its place."""
    w = tiny(max_pinned_servers=1)
    with w.connect(timeout=6) as c:
        c.ask(query('BEGIN'))
        assert c.ask(query(text))[-1] == ('Z', 'T')
        end_servers(pg, w)
        assert c.read()[1]['C'] == '57P01'
        assert c.closed()


def test_query_behind_a_batch_that_is_lost(tiny, pg):
    """The batch has no Sync yet: what ends it skips a Query behind it too, to the Sync."""
    w = tiny()
    with w.connect(timeout=6) as c:
        c.send(extended('SELECT pg_sleep(30)'), query('SELECT 1'), sync())
        active(pg)
        end_servers(pg, w)
        m = [x for x in c.until() if x[0] not in '12T']
        assert shape(m) in ('E:57P01 Z:I', 'E:40003 Z:I')
        assert told(c.ask(query('SELECT 2'))) == ('T D C:SELECT 1 Z:I', [['2']])


def test_server_lost_while_settings_are_on_their_way(weir):
    """With a scripted server: the transaction that was open is that of the settings, not
    the client's, which is in none."""
    logins = []

    def script(c):
        try:
            logins.append(c)
            if len(logins) == 2:
                c.expect_query('BEGIN')
                c.send(complete('BEGIN'), ready('T'))
                return
            c.expect_query('BEGIN')
            c.send(complete('BEGIN'), ready('T'))
            c.expect_query("SELECT pg_catalog.set_config('my.x','1',false);COMMIT")
            c.send(result('1'), complete('COMMIT'), ready('I'))
            if len(logins) == 1:
                return      # the one of the login ends while nobody has it
            while True:
                c.expect_query('SELECT 1')
                c.send(result('1'), ready('I'))
        except Closed:
            pass
    with FakeServer(script) as f:
        w = weir(ini({'app': db(f)}, default_pool_size=1, health_check_interval=3600, query_wait_timeout=5))
        with w.connect(timeout=6, **{'my.x': '1'}) as c:
            until(lambda: w.pool()['sv_total'] == '0', why='the first server to be gone')
            m = c.ask(query('UPDATE kv SET v = 1'))
            assert shape(m) == 'E:40003 Z:I', f.seen
            assert c.one('SELECT 1') == '1'
        assert len(logins) == 3


# ---- CockroachDB, by a scripted server ---------------------------------------------------------

class Cockroach:
    """As much of it as is needed here: settings, tags, transactions, named statements."""

    def __init__(self):
        self.seen = []      # settings at each SELECT of a client

    def __call__(self, c):
        self.conf, self.tx, self.names, self.last, skip = {}, 'I', set(), '', False
        try:
            while True:
                letter, body = c.read_raw()
                text = body.decode(errors='replace')
                if letter == 'Q':
                    c.send(b'' if skip else self.run(text[:-1]), ready(self.tx))
                    skip = False
                elif letter == 'S':
                    c.send(ready(self.tx))
                    skip = False
                elif letter == 'F':
                    skip = skip or not c.send(error('08P01', 'unrecognized client message type'))
                elif letter == 'E' and not skip:
                    if self.last == "SELECT 'die'":
                        return
                    c.send(result('7')[len(row_description('?column?')):])
                elif letter == 'H' and self.last == "SELECT 'leave'":
                    return
                elif letter in 'PBCD' and not skip:
                    skip = not self.extended(c, letter, text)
        except Closed:
            pass

    def extended(self, c, letter, text):
        name, second = text.split('\0')[:2]
        bad = (('42P05', 'prepared statement already exists') if letter == 'P' and name and name in self.names else
               ('26000', 'no such prepared statement') if letter == 'B' and second not in self.names else None)
        if bad:
            c.send(error(*bad))
            return False
        if letter == 'P':
            self.names.add(name)
            self.last = second
        if letter == 'C':
            self.names.discard(name[1:])
        c.send({'P': msg('1'), 'B': msg('2'), 'C': msg('3'), 'D': msg('n')}[letter])
        return True

    def run(self, text):
        out = b''
        for one in text.split(';'):
            words = one.split() or ['']
            word = words[0].upper()
            if word in ('COMMIT', 'ROLLBACK'):
                self.tx = 'I'
            elif self.tx == 'E' or 'fail' in one or 'nope' in one or 'refuses' in one:
                self.tx = 'E' if self.tx != 'I' else 'I'
                return out + error(*(('42704', 'unrecognized configuration parameter "nope"') if 'nope' in one
                                     else ('25P02', 'scripted')))
            if word == 'BEGIN':
                self.tx = 'T'
            if word == 'RESET':
                self.conf.pop(words[1].strip('"').lower(), None)
            if word == 'DISCARD':
                self.conf, self.names = {}, set()
            for name, value in re.findall(r"set_config\('([^']*)','([^']*)'", one):
                self.conf[name.lower()] = value
            if one == 'SELECT 1':
                self.seen.append(dict(self.conf))
            tag = {'RESET': 'SET', 'DISCARD': 'DISCARD', 'SELECT': 'SELECT 1'}.get(word, word)
            out += result('7') if word == 'SELECT' else complete(tag)
        return out


@pytest.fixture
def roach(weir):
    """A daemon before a scripted CockroachDB, and that."""
    script = Cockroach()
    with FakeServer(script, params={**PARAMS, 'crdb_version': 'CockroachDB CCL v21.2.17'}) as f:
        yield weir(ini({'app': db(f)}, default_pool_size=1, max_pinned_servers=1, health_check_interval=3600,
                       query_wait_timeout=5)), script


def test_crdb_start_transaction(roach):
    """Answered without a server: with the tag that it would have there."""
    with roach[0].connect(timeout=6) as c:
        assert shape(c.ask(query('START TRANSACTION'))) == 'C:BEGIN Z:T'


def test_crdb_login(roach):
    """It takes no notice of unknown names, and says back what it was told as it was told."""
    with roach[0].connect(timeout=6, nope='1', DateStyle='iso', TimeZone='utc') as c:
        assert (c.params['DateStyle'], c.params['TimeZone']) == ('iso', 'utc')
        assert c.one('SELECT 1') == '7'


def test_crdb_interval_style(roach):
    """It is told of at a login and not when it changes: it does not stay for the next."""
    w, script = roach
    with w.connect(timeout=6, IntervalStyle='iso_8601') as c, w.connect(timeout=6) as other:
        for x in (c, other, c):
            x.sql('SELECT 1')
        assert [x.get('intervalstyle', 'postgres') for x in script.seen] == ['iso_8601', 'postgres', 'iso_8601']


def test_crdb_reset_of_a_wish(roach):
    """Its RESET has the tag SET; a wish of the startup packet is what it goes back to."""
    w, script = roach
    with w.connect(timeout=6, statement_timeout='5s') as c:
        for text in ('SELECT 1', 'RESET statement_timeout', 'SELECT 1', 'DISCARD ALL', 'SELECT 1'):
            c.sql(text)
        assert [x.get('statement_timeout') for x in script.seen] == ['5s'] * 3


def test_crdb_function_call(roach):
    """A message that it does not know: an error, and skipping to the Sync."""
    with roach[0].connect(timeout=6) as c:
        assert shape(c.ask(function_call(2880, '1'), sync())) == 'E:08P01 Z:I'
        assert c.one('SELECT 1') == '7'


def test_crdb_query_that_is_skipped_without_a_server(roach):
    """A Query ends the skipping behind an error there, and is answered by a ReadyForQuery."""
    with roach[0].connect(timeout=6) as c:
        c.send(parse("SELECT 'die'"), bind(), execute(), flush())
        c.until('E')
        assert shape(c.ask(query('SELECT 1'))) == 'Z:I'
        assert c.one('SELECT 1') == '7'


def test_crdb_parse_in_a_failed_transaction(roach):
    """It prepares there as in any."""
    with roach[0].connect(timeout=6) as c:
        c.ask(parse('SELECT 7', 's'), sync())
        c.ask(query('BEGIN'))
        assert shape(c.ask(query('SELECT fail'))) == 'E:25P02 Z:E'
        assert shape(c.ask(parse('SELECT 7', 'z'), sync())) == '1 Z:E'
        assert shape(c.ask(query('ROLLBACK'))) == 'C:ROLLBACK Z:I'
        assert shape(c.ask(bind((), 'z'), execute(), sync())) == '2 D C:SELECT 1 Z:I'


def test_crdb_function_call_behind_a_batch_that_is_lost(roach):
    """It has no ReadyForQuery of its own when it is answered without a server either."""
    w = roach[0]
    with w.connect(timeout=6) as c:
        c.send(parse("SELECT 'leave'"), bind(), execute(), flush())
        c.until('C')
        until(lambda: w.pool()['sv_total'] == '0', why='the server to be gone')
        assert shape(c.ask(function_call(2880, '1'), sync())) == 'E:40003 Z:I'
        assert c.one('SELECT 1') == '7'


def test_crdb_unnamed_statement_of_another(roach):
    """A Query may leave it there: whoever has none of his own does not meet it."""
    with roach[0].connect(timeout=6) as other, roach[0].connect(timeout=6) as c:
        other.ask(parse('SELECT 7'), sync())
        other.sql('SELECT 1')
        assert shape(c.ask(bind(), execute(), sync())) == 'E:26000 Z:I'


def test_crdb_reset_behind_a_set_that_failed(roach):
    """Of a client that is bound: the wish of its startup packet is set again all the same."""
    w, script = roach
    with w.connect(timeout=6, statement_timeout='5s') as c:
        c.sql('PREPARE p AS SELECT 1')
        assert shape(c.ask(query('SET work_mem = fail'))) == 'E:25P02 Z:I'
        for text in ('RESET statement_timeout', 'SELECT 1'):
            c.sql(text)
        assert [x.get('statement_timeout') for x in script.seen] == ['5s']


def test_crdb_execute_without_a_place(weir):
    """What it may leave behind cannot be asked for: it is refused in front, when no place
    among those that are bound is left."""
    with FakeServer(Cockroach(), params={**PARAMS, 'crdb_version': 'CockroachDB CCL v21.2.17'}) as f:
        w = weir(ini({'app': db(f)}, default_pool_size=3, max_pinned_servers=1, health_check_interval=3600))
        with w.connect(timeout=6) as a, w.connect(timeout=6) as c:
            a.sql('PREPARE p AS SELECT 1')
            assert shape(c.ask(query('EXECUTE p'))) == 'E:53300 Z:I'
            assert c.one('SELECT 1') == '7'
