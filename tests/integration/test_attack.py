"""Attacks on the session code: what a hostile reading of it suggested, one test
for each suspicion that proved right.

SPDX-License-Identifier: ISC
"""
import threading
import time

import pytest

import wire
from conftest import SECRETS, SLOW, db, ini, until
from wire import (Closed, Conn, PgError, bind, close, complete, data_row, error, execute, msg, parse,
                  query, ready, result, row_description, shape, sync)

pytestmark = pytest.mark.weir_only

E1 = error('40001', 'could not serialize access')


def super_sql(pg, text, database='app'):
    with Conn(pg.port, user='postgres', database=database) as c:
        return c.sql(text)


def end_servers(pg):
    """Ends the pooled servers, from outside, and waits for it."""
    super_sql(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                  "AND backend_type = 'client backend'")
    until(lambda: pg.backends("usename = 'app'") == 0, why='the servers to be gone')


@pytest.fixture
def tiny(weir, pg):
    """A pool of one server."""
    return weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout=3))


def unit_of(c):
    """The messages of a client up to Sync or Query: [(letter, body)]."""
    out = []
    while not out or out[-1][0] not in 'SQ':
        out.append(c.read_raw())
    return out


def letters(unit):
    return ''.join(m[0] for m in unit)


# ---- prepared statements ---------------------------------------------------------------

def test_error_of_a_parse_put_in_reaches_the_client(tiny, pg):
    """A statement is parsed anew on another server; that Parse fails. The
    error is swallowed with it: the client sees a bare ReadyForQuery and takes
    its statement for run."""
    with tiny.connect() as a:
        a.ask(query('CREATE TABLE atk_gone (a int)'))
        assert shape(a.ask(parse('INSERT INTO atk_gone VALUES (1)', 's'), sync())) == '1 Z:I'
        end_servers(pg)
        super_sql(pg, 'DROP TABLE atk_gone')
        assert shape(a.ask(bind((), 's'), execute(), sync())) == 'E:42P01 Z:I'


def test_error_of_a_parse_put_in_inside_an_aborted_block(tiny, pg):
    """The same in an aborted block, where every Parse fails with 25P02."""
    with tiny.connect() as a:
        a.ask(parse('SELECT 1', 's'), sync())
        end_servers(pg)
        a.ask(query('BEGIN'))
        a.ask(query('SELECT 1/0'))
        assert shape(a.ask(bind((), 's'), execute(), sync())) == 'E:25P02 Z:E'


def test_deallocate_of_a_statement_that_cannot_be_parsed(tiny, pg):
    """DEALLOCATE on a server without the statement puts a Parse in front of
    the Query; when it fails the server skips the Query too and waits for a
    Sync that never comes: the client hangs, the server with it."""
    with tiny.connect(timeout=4) as a:
        a.ask(query('CREATE TABLE atk_gone2 (a int)'))
        a.ask(parse('INSERT INTO atk_gone2 VALUES (1)', 's'), sync())
        end_servers(pg)
        super_sql(pg, 'DROP TABLE atk_gone2')
        assert shape(a.ask(query('DEALLOCATE s'))) == 'C:DEALLOCATE Z:I'


def test_eviction_that_the_server_skipped(weir, pg):
    """The Close of an evicted statement is skipped after an error, but the
    cache has forgotten it: its next Parse is 42P05, and swallowed."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, max_prepared_statements=1))
    with w.connect() as a:
        a.ask(parse('SELECT 1', 's1'), sync())
        m = a.ask(bind((), 'nope'), parse('SELECT 2', 's2'), sync())
        assert shape(m) == 'E:26000 Z:I'
        assert shape(a.ask(bind((), 's1'), execute(), sync())) == '2 D C:SELECT 1 Z:I'


def test_close_that_the_server_skipped(tiny, pg):
    """A Close behind an error is skipped by the server; the name must stay."""
    seen = []
    for port in (pg.port, tiny.port):
        with Conn(port, user='app', database='app') as a:
            a.ask(parse('SELECT 1', 's'), sync())
            a.ask(bind((), 'nope'), close('S', 's'), sync())
            seen.append(shape(a.ask(bind((), 's'), execute(), sync())))
    assert seen[0] == seen[1] == '2 D C:SELECT 1 Z:I'


def test_unnamed_statement_of_another_client(tiny):
    """B has no unnamed statement; after a Close of it that the server skipped
    it runs A's."""
    with tiny.connect() as a, tiny.connect() as b:
        a.ask(parse("SELECT 'of A'"), sync())
        b.ask(bind((), 'nope'), close('S', ''), sync())
        m = b.ask(bind(), execute(), sync())
        assert ('D', ['of A']) not in m
        assert shape(m) == 'E:26000 Z:I'


def test_unnamed_statement_of_another_client_after_a_skipped_query(tiny):
    """The same by a simple Query that the server skipped."""
    with tiny.connect() as a, tiny.connect() as b:
        a.ask(parse("SELECT 'of A'"), sync())
        b.ask(bind((), 'nope'), query('SELECT 1'), sync())
        m = b.ask(bind(), execute(), sync())
        assert ('D', ['of A']) not in m
        assert shape(m) == 'E:26000 Z:I'


def test_parse_pipelined_behind_deallocate_all(tiny, pg):
    """DEALLOCATE ALL takes effect when its answer comes; a Parse sent behind
    it is answered from the cache and then forgotten."""
    seen = []
    for port in (pg.port, tiny.port):
        with Conn(port, user='app', database='app') as a:
            a.ask(parse('SELECT 1', 's'), sync())
            a.ask(query('DEALLOCATE ALL'), parse('SELECT 1', 's'), sync(), readies=2)
            seen.append(shape(a.ask(bind((), 's'), execute(), sync())))
    assert seen[0] == seen[1] == '2 D C:SELECT 1 Z:I'


def test_parse_that_fails_in_the_second_attempt(fake):
    """The unit's own Parse works, is sent again for the retry, and fails: the
    cache goes on believing that the server has the statement."""
    asked, binds = [], []

    def script(c):
        try:
            for answer in (msg('1') + msg('2') + E1 + ready(), msg('3') + error('57014') + ready(), None):
                unit = unit_of(c)
                asked.append(letters(unit))
                binds.append([body for letter, body in unit if letter == 'B'])
                if answer is None:
                    n = unit_answers = b''
                    for letter, _ in unit:
                        n = {'P': msg('1'), 'B': msg('2'), 'C': msg('3'), 'E': result()[len(row_description('?column?')):],
                             'S': ready()}[letter]
                        unit_answers += n
                    answer = unit_answers
                c.send(answer)
            c.wait_close()
        except Closed:
            pass
    w, _ = fake(script)
    with w.connect() as a:
        assert shape(a.ask(parse('SELECT 1', 's'), bind((), 's'), execute(), sync())).endswith('E:57014 Z:I')
        a.ask(bind((), 's'), execute(), sync())
    assert asked[1] == 'CPBES'
    # parsed anew, or asked for by the client's own name, which the server does
    # not know either: as after any Parse that failed
    assert 'P' in asked[2] or binds[2][0].startswith(b'\0s\0'), 'Bind of a statement that the server does not have: %s' % asked


# ---- settings ----------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['RESET ALL', 'RESET search_path', 'DISCARD ALL'])
def test_reset_goes_back_to_what_the_client_asked_for_at_startup(tiny, pg, how):
    """After RESET ALL (asyncpg sends it for each connection it takes back) the
    session has the values of its own startup packet, not the server's."""
    seen = []
    for port in (pg.port, tiny.port):
        with Conn(port, user='app', database='app', search_path='pg_catalog', application_name='me') as a:
            a.sql('SELECT 1')
            a.sql(how)
            seen.append((a.one('SHOW search_path'), a.one('SHOW application_name')))
    assert seen[0] == seen[1] == ('pg_catalog', 'me')


def test_reset_all_of_one_client_does_not_undress_the_next(tiny):
    """A's RESET ALL undoes settings on the server that the next client with
    the same wishes is believed to have."""
    with tiny.connect(search_path='pg_catalog') as a, tiny.connect(search_path='pg_catalog') as b:
        assert b.one('SHOW search_path') == 'pg_catalog'
        a.sql('RESET ALL')
        assert b.one('SHOW search_path') == 'pg_catalog'


def test_read_only_default_does_not_reach_the_next_client(tiny):
    """default_transaction_read_only is reported by the server, so it can be
    followed like any other setting (JDBC's setReadOnly() sets it)."""
    with tiny.connect() as a, tiny.connect() as b:
        a.sql('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY')
        assert b.one('SHOW default_transaction_read_only') == 'off'


def test_values_are_quoted_for_a_server_with_backslash_escapes(weir, pg):
    """standard_conforming_strings is off on the server by default (here: of
    the database), which the difference of settings does not see: a backslash
    in a startup value ends the literal, and the rest is SQL."""
    super_sql(pg, 'ALTER DATABASE app2 SET standard_conforming_strings = off', 'postgres')
    try:
        w = weir(ini({'app2': db(pg)}, default_pool_size=1))
        value = "\\',false),pg_catalog.set_config($$application_name$$,$$injected$$,false) --"
        with w.connect(database='app2', **{'my.x': value}) as a:
            assert a.one('SHOW application_name') != 'injected'
            assert a.one('SHOW my.x') == value
    finally:
        super_sql(pg, 'ALTER DATABASE app2 RESET standard_conforming_strings', 'postgres')


def test_nothing_runs_under_settings_that_were_refused(weir, pg):
    """Settings that were accepted once are sent in front of the next unit
    without waiting; when the new server refuses them the unit has run without
    them, here with the rights of the pool's user instead of those of the role,
    and the client is told of a refused setting only."""
    super_sql(pg, 'DROP TABLE IF EXISTS atk_role_t; CREATE TABLE atk_role_t (who text); '
                  'GRANT ALL ON atk_role_t TO PUBLIC; CREATE ROLE atk_role; GRANT atk_role TO app; '
                  'GRANT ALL ON atk_role_t TO atk_role')
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect(role='atk_role') as a:
        assert a.one('SELECT current_user') == 'atk_role'
        end_servers(pg)
        super_sql(pg, 'DROP OWNED BY atk_role; DROP ROLE atk_role')
        with pytest.raises((PgError, Closed)):
            a.sql('INSERT INTO atk_role_t VALUES (current_user)')
    until(lambda: pg.backends("state = 'active' AND usename = 'app'") == 0, why='quiet')
    assert super_sql(pg, 'SELECT who FROM atk_role_t') == []


def test_server_that_ends_at_the_settings(fake):
    """Each server closes when it is given the client's settings: the client
    goes from one to the next for ever, its waiting time begins anew each time,
    and so does the login at the server."""
    def script(c):
        try:
            c.expect('Q')
        except Closed:
            pass
    w, f = fake(script, query_wait_timeout=2)
    try:
        w.connect(timeout=8 * SLOW, search_path='x').close()
        pytest.fail('logged in')
    except PgError as e:
        assert e.fields['C'] == '08006'
    except TimeoutError:
        pytest.fail('no answer, and %d logins at the server' % f.logins)


# ---- the server goes back ------------------------------------------------------------------

def test_server_comes_back_when_the_end_of_the_answer_waited_for_the_client(weir, pg):
    """The last bytes of an answer, ReadyForQuery among them, did not fit into
    the client's socket. When they have gone the server is free; nobody looks,
    and it stays with the idle client until that one speaks again."""
    # held for a retry, the answer leaves in one piece that no socket takes
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout=2, retry_hold_max=33554432,
                 retry_hold_time=60))
    with w.connect() as b, w.connect(rcvbuf=4096) as a:
        a.send(query("SELECT repeat('x', 12000000)"))
        until(lambda: pg.backends("state = 'idle' AND query LIKE '%12000000%'") == 1, why='the end of the query')
        assert a.count_bytes()[0] > 12000000
        assert b.one('SELECT 1') == '1'


# ---- loss, retry, limbo ---------------------------------------------------------------------

def test_server_gone_during_backoff(fake):
    """The unit has failed for certain and waits to be run again; its server
    goes. The client gets the error or another attempt, not silence."""
    def script(c):
        try:
            c.expect('Q')
            c.send(E1 + ready())
            c.close()
        except Closed:
            pass
    w, _ = fake(script, retry_backoff_base=40, retry_backoff_max=60, retry_max_time=600)
    with w.connect(timeout=5) as a:
        assert shape(a.ask(query('SELECT 1'))) == 'E:40001 Z:I'


def test_notification_in_an_attempt_that_is_repeated(fake):
    """What is said without being asked belongs to no attempt and is not
    repeated by the next: it must not be thrown away with it."""
    def script(c):
        try:
            c.expect('Q')
            c.send(E1, msg('A', b'\0\0\0\1chan\0hello\0'), ready())
            c.expect('Q')
            c.send(result('fine'), ready())
            c.wait_close()
        except Closed:
            pass
    w, _ = fake(script, pool_mode='session', server_reset_query='')
    with w.connect() as a:
        m = a.ask(query('SELECT 1'))
    assert ('D', ['fine']) in m
    assert 'A' in [x[0] for x in m], 'the notification is lost'


def test_commit_by_a_portal_of_an_earlier_unit_is_unknown(fake):
    """COMMIT is bound in one unit and executed in the next, where the server
    is lost. Nobody knows whether it was committed: 40001 with "nothing of it
    was committed" would make the client run it twice."""
    def script(c):
        try:
            c.expect('Q')
            c.send(complete('BEGIN'), ready('T'))
            assert letters(unit_of(c)) == 'PBS'
            c.send(msg('1'), msg('2'), ready('T'))
            assert letters(unit_of(c)) == 'ES'
            c.close()
        except Closed:
            pass
    w, _ = fake(script)
    with w.connect() as a:
        a.ask(query('BEGIN'))
        a.ask(parse('COMMIT', 'c'), bind((), 'c', 'p'), sync())
        m = a.ask(execute('p'), sync())
    assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003']


def test_fatal_answer_to_commit_is_unknown(fake):
    """The server ends the session in answer to COMMIT, with a reason. Whether
    it was committed is unknown; status E would say for certain that it was
    not."""
    def script(c):
        try:
            c.expect('Q')
            c.send(complete('BEGIN'), ready('T'))
            c.expect('Q')
            c.send(error('XX000', 'broken', severity='FATAL'))
        except Closed:
            pass
    w, _ = fake(script)
    with w.connect() as a:
        a.ask(query('BEGIN'))
        assert shape(a.ask(query('COMMIT'))).endswith('Z:I')


def test_close_complete_survives_a_word_from_the_server(fake):
    """The answer of pgweir's own to a Close is held for the unit's sake; a
    ParameterStatus comes, the server is found free and given back, and the
    answer comes in the next unit instead of this one."""
    go = threading.Event()

    def script(c):
        try:
            assert letters(unit_of(c)) == 'PS'
            c.send(msg('1'), ready())
            go.wait(10)
            c.send(wire.parameter('TimeZone', 'Europe/Berlin'))
            while True:
                letter, _ = c.read_raw()
                if letter == 'S':
                    c.send(ready())
                elif letter == 'Q':
                    c.send(result(), ready())
        except Closed:
            pass
    w, _ = fake(script)
    with w.connect() as a:
        a.ask(parse('SELECT 1', 'x'), sync())
        a.send(close('S', 'x'))
        until(lambda: int(w.pool()['sv_active']) == 1, why='the Close to be dealt with')
        go.set()
        until(lambda: w.pool()['sv_active'] == '0' or not a.quiet(0.01), why='the word to be heard')
        assert shape(a.ask(sync())) == '3 Z:I'
        assert shape(a.ask(query('SELECT 1'))) == 'T D C:SELECT 1 Z:I'


def test_close_of_a_name_while_the_transaction_is_lost(tiny, pg):
    """CloseComplete is given, the name is kept: the next Parse of it fails."""
    with tiny.connect() as a:
        a.ask(parse('SELECT 1', 's'), sync())
        a.hold()
        end_servers(pg)
        assert shape(a.ask(query('SELECT 1'))).endswith('Z:E')
        assert shape(a.ask(close('S', 's'), sync())) == '3 Z:E'
        a.ask(query('ROLLBACK'))
        assert shape(a.ask(parse('SELECT 2', 's'), sync())) == '1 Z:I'


def test_pipelined_queries_do_not_switch_retry_off(tiny):
    """Units in a pipeline are counted together and compared with the number of
    statements of the last one: retry is switched off for the session, with a
    warning that the lexer was wrong."""
    with tiny.connect() as a:
        a.ask(query('SELECT 1'), query('SELECT 2'), readies=2)
    assert not tiny.log_lines('lexer_disagrees')


# ---- deadlines ------------------------------------------------------------------------------

def test_half_a_message_does_not_stop_idle_transaction_timeout(weir, pg):
    """One byte, and the client may keep its server in the transaction for
    ever."""
    w = weir(ini({'app': db(pg)}, idle_transaction_timeout='0.3'))
    with w.connect(timeout=4 * SLOW) as a:
        a.hold()
        a.send(query('SELECT 1')[:3])
        assert shape(a.until('E')) == 'E:25P03'


def test_client_idle_timeout_holds_from_the_login(weir, pg):
    """A client that has never asked anything is idle too."""
    w = weir(ini({'app': db(pg)}, client_idle_timeout='0.3'))
    with w.connect(timeout=4 * SLOW) as a:
        assert shape(a.until('E')) == 'E:57P05'


def test_idle_client_in_session_mode_is_told_so(weir, pg):
    """Idle outside a transaction, with a server: 57P05, not 25P03."""
    w = weir(ini({'app': db(pg)}, client_idle_timeout='0.3', pool_mode='session'))
    with w.connect(timeout=4 * SLOW) as a:
        a.sql('SELECT 1')
        assert shape(a.until('E')) == 'E:57P05'


# ---- session mode ----------------------------------------------------------------------------

def test_session_does_not_survive_its_server(weir, pg):
    """LISTEN, temporary tables and settings went with the server. Session
    mode promises one server for a session: the client must be told."""
    w = weir(ini({'app': db(pg)}, pool_mode='session'))
    with w.connect() as a:
        a.sql('CREATE TEMP TABLE atk_temp (a int); LISTEN atk')
        end_servers(pg)
        with pytest.raises((PgError, Closed)) as e:
            a.sql("SELECT 'as if nothing had happened'")
        assert e.type is Closed or e.value.fields['S'] == 'FATAL' or e.value.code.startswith(('57P', '08'))


def test_reload_does_not_change_the_server_of_a_session(weir, pg):
    """A server that the new configuration would not have is retired at the end
    of the transaction, in session mode too: the session's temporary tables
    are gone without a word."""
    w = weir(ini({'app': db(pg)}, pool_mode='session'))
    with w.connect() as a:
        a.sql('CREATE TEMP TABLE atk_temp (a int)')
        w.rewrite(ini({'app': db(pg, application_name='other')}, pool_mode='session'))
        w.hup()
        w.wait_log('reloaded')
        a.sql('SELECT 1')
        assert a.sql('SELECT count(*) FROM atk_temp') == [['0']]


# ---- reload ----------------------------------------------------------------------------------

def test_database_removed_by_a_reload(weir, pg):
    """Its clients are told at once, not after query_wait_timeout."""
    w = weir(ini({'app': db(pg), 'app2': db(pg)}, query_wait_timeout=60))
    with w.connect(timeout=5) as a:
        a.sql('SELECT 1')
        w.rewrite(ini({'app2': db(pg)}, query_wait_timeout=60))
        w.hup()
        w.wait_log('reloaded')
        until(lambda: pg.backends() == 0, why='the servers to be retired')
        with pytest.raises((PgError, Closed)):
            a.sql('SELECT 1')


def test_database_removed_and_brought_back(weir, pg):
    """Whoever stayed can work again once the entry is back."""
    w = weir(ini({'app': db(pg), 'app2': db(pg)}, query_wait_timeout=60))
    with w.connect(timeout=5) as a:
        a.sql('SELECT 1')
        for n, dbs in enumerate(({'app2': db(pg)}, {'app': db(pg), 'app2': db(pg)})):
            w.rewrite(ini(dbs, query_wait_timeout=60))
            w.hup()
            w.wait_log('reloaded', n=n + 1)
            if n == 0:
                until(lambda: pg.backends() == 0, why='the servers to be retired')
        assert a.one('SELECT 1') == '1'


def test_password_mended_by_a_reload(weir, scram_pg):
    """The salted password is kept by salt and rounds alone: the wrong one is
    used on after the configuration has the right one."""
    def conf(secret):
        return ini({'app': db(scram_pg, dbname='postgres', user='u_scram', password=secret)})
    w = weir(conf('wrong'))
    with pytest.raises(PgError):
        w.connect(timeout=5)
    w.rewrite(conf(SECRETS['u_scram']))
    w.hup()
    w.wait_log('reloaded')
    assert w.one('SELECT 1', timeout=5) == '1'


# ---- memory ----------------------------------------------------------------------------------

@pytest.mark.parametrize('what', ['sync', 'close'])
def test_answers_of_its_own_do_not_pile_up(weir, pg, what):
    """A client that sends what pgweir answers by itself and never reads: the
    answers grow without bound."""
    w = weir(ini({'app': db(pg)}))
    part = (sync() if what == 'sync' else close('S', 'x')) * 20000
    with w.connect(rcvbuf=4096) as a:
        a.sock.settimeout(2 * SLOW)
        sent = 0
        with pytest.raises((TimeoutError, OSError)):
            while sent < 48 << 20:
                sent += a.sock.send(part)
        assert sent < 48 << 20


def colliding(n):
    """Names of one hash: the top bit of a word, and bits 63 and 31 of the next
    one, cancel out whatever the seed is."""
    def one(i):
        out = b''
        for bit in range(16):
            x = 0x80 if i >> bit & 1 else 0
            out += b'aaaaaaa' + bytes([0x61 | x]) + b'aaa' + bytes([0x61 | x]) + b'aaa' + bytes([0x61 | x])
        return out
    return [one(i) for i in range(n)]


def test_names_of_one_hash_do_not_stop_the_worker(weir, pg):
    """Statement names (and texts, whose seed does not help) can be chosen so
    that all have one hash; a client who prepares many keeps the whole worker
    busy walking one chain."""
    w = weir(ini({'app': db(pg)}, workers=1))
    n, took = 12000, []
    for names in ([b'%0256d' % i for i in range(n)], colliding(n)):
        with w.connect(timeout=60 * SLOW) as a:
            t = time.monotonic()
            a.ask(b''.join(msg('P', name + b'\0SELECT 1\0\0\0') for name in names), sync())
            took.append(time.monotonic() - t)
    assert took[1] < 4 * took[0], 'seconds: %.2f, and %.2f with equal hashes' % tuple(took)


def test_zero_prepared_statements_means_hands_off(weir, pg):
    """max_prepared_statements = 0 "passes them through untouched"."""
    w = weir(ini({'app': db(pg)}, pool_mode='session', max_prepared_statements=0))
    with w.connect() as a:
        a.ask(parse('SELECT 1', 'mine'), sync())
        assert a.sql('SELECT name FROM pg_prepared_statements') == [['mine']]


@pytest.mark.no_san
def test_statements_of_one_client_are_bounded(weir, pg):
    """The texts of a client's statements stay in the daemon's memory for as
    long as the client likes: without a bound one client can take all of it."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, max_prepared_statements=2))
    text = 'SELECT 1 -- ' + 'x' * 1000000
    with w.connect(timeout=60) as a:
        a.sql('SELECT 1')
        before = int(w.status('VmRSS'))
        for i in range(150):
            try:
                a.ask(parse('%s%d' % (text, i), 's%d' % i), sync())
            except Closed:
                break
        assert int(w.status('VmRSS')) - before < 100 * 1024


def test_barrier_that_the_server_skips(tiny, pg):
    """DISCARD ALL holds back what is behind it until it is answered; here an
    error before it makes the server skip it, and only the Sync behind it can
    bring an answer."""
    for port in (tiny.port, pg.port):
        with Conn(port, timeout=10) as a:
            a.send(parse('nonsense'), query('DISCARD ALL'), sync())
            assert shape(a.until()) == 'E:42601 Z:I'
            assert a.one('SELECT 1') == '1'


def test_word_from_the_server_during_backoff(fake):
    """Nothing is owed while a unit waits to be run again, and the server says
    something by itself: it is not free for all that."""
    go = threading.Event()

    def script(c):
        try:
            c.expect('Q')
            c.send(E1 + ready())
            go.wait(10)
            c.send(wire.parameter('TimeZone', 'Europe/Berlin'))
            c.expect('Q')
            c.send(result(), ready())
            c.wait_close()
        except Closed:
            pass
    w, _ = fake(script, retry_backoff_base='0.4', retry_backoff_max='0.4')
    with w.connect(timeout=10) as a:
        a.send(query('SELECT 1'))
        until(lambda: w.retries()['retry_eligible'] >= 1, why='the pause')
        go.set()
        assert shape(a.until()).endswith('C:SELECT 1 Z:I')
