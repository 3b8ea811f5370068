"""Attacks on session state in transaction pooling: what is noted, asked, followed
and bound, and on what goes in front of a client's messages. One test for each
suspicion that a hostile reading suggested.

SPDX-License-Identifier: ISC
"""
import threading
import time

import pytest

from conftest import SLOW, db, ini, until
from wire import (Closed, Conn, PgError, bind, cancel, complete, copy_data, data_row, describe, error,
                  execute, extended, flush, function_call, parse, query, ready, result, row_description, shape,
                  sync)

pytestmark = pytest.mark.weir_only

SET_CONFIG, ADVISORY_LOCK, NEXTVAL = 2078, 2880, 1574


def super_sql(pg, text, database='app'):
    with Conn(pg.port, user='postgres', database=database) as c:
        return c.sql(text)


def end_servers(pg):
    super_sql(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' "
                  "AND backend_type = 'client backend'")
    until(lambda: pg.backends("usename = 'app'") == 0, why='the servers to be gone')


@pytest.fixture
def tiny(weir, pg):
    """A pool of one server."""
    def make(**kw):
        return weir(ini({'app': db(pg)}, **{'default_pool_size': 1, 'max_pinned_servers': 1,
                                            'query_wait_timeout': 5, **kw}))
    return make


def show(c, name='work_mem'):
    return c.one("SELECT coalesce(current_setting('%s', true), '')" % name)


def codes(messages):
    return [m[1]['C'] for m in messages if m[0] == 'E']


def rows(messages):
    return [m[1] for m in messages if m[0] == 'D']


def rest(c):
    """Everything until the end of the connection."""
    out = []
    try:
        while True:
            out.append(c.read())
    except Closed:
        return out


# ---- state that reaches the next client ------------------------------------------------

def leak_reset_bound(a):
    a.ask(parse('RESET ALL'), bind(), sync())


def leak_reset_one_bound(a):
    a.ask(parse('RESET work_mem'), bind(), describe(), sync())


def leak_do_branch(a):
    a.sql('DO $$BEGIN IF false THEN RESET work_mem; END IF; END$$')


def leak_do_words(a):
    a.sql("DO $$BEGIN RAISE NOTICE 'reset all'; END$$")


def leak_do_exception(a):
    a.sql('DO $$BEGIN BEGIN RESET work_mem; PERFORM 1/0; EXCEPTION WHEN others THEN NULL; END; END$$')


def leak_do_rollback(a):
    a.sql('DO $$BEGIN RESET work_mem; ROLLBACK; END$$')


def leak_skipped_query(a):
    a.send(bind((), 'nope'), flush())
    a.until('E')
    a.ask(query('RESET ALL'), sync())


def leak_skipped_bind(a):
    a.ask(parse('RESET ALL', 's'), sync())
    a.send(bind((), 'nope'), flush())
    a.until('E')
    a.ask(bind((), 's'), execute(), sync())


LEAK_RESET = [leak_reset_bound, leak_reset_one_bound, leak_do_branch, leak_do_words, leak_do_exception,
              leak_do_rollback, leak_skipped_query, leak_skipped_bind]


@pytest.mark.parametrize('how', LEAK_RESET, ids=[f.__name__[5:] for f in LEAK_RESET])
def test_a_reset_that_was_not_run_is_believed(tiny, how):
    """RESET is in the text and is taken to have been run. It was not: the server
    keeps the setting, is held to be clean, and the next client gets it."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        a.sql("SET work_mem = '7MB'")
        how(a)
        assert show(b) == base
        assert show(a) == '7MB'


def test_suspended_portal_counts_as_complete(tiny):
    """An Execute with a row limit ends with PortalSuspended, not CommandComplete.
    An error in a later unit of the pipeline makes it look as if all had been
    undone: the server is not asked, the setting reaches the next client."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        a.ask(extended("SELECT set_config('work_mem', '7MB', false)", rows=1), sync(), query('SELECT 1/0'), readies=2)
        assert show(b) == base
        assert show(a) == '7MB'


def test_listen_behind_an_error_of_a_committing_do(tiny):
    """DO commits in the middle and fails afterwards: no CommandComplete, an error,
    and yet something has stayed. Notifications for a reach b."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        a.ask(query("DO $$BEGIN EXECUTE 'LISTEN leak'; COMMIT; PERFORM 1/0; END$$"))
        m = b.ask(query("NOTIFY leak, 'secret'"))
        assert 'A' not in [x[0] for x in m], 'a notification for another client'


def test_setting_behind_an_error_of_a_committing_do(tiny):
    """The same with a setting."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        a.ask(query("DO $$BEGIN PERFORM set_config('work_mem', '7MB', false); COMMIT; PERFORM 1/0; END$$"))
        assert show(b) == base


def test_65536_completes(tiny):
    """The number of CommandCompletes in a unit wraps around to none."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        n = 65535
        t = threading.Thread(target=a.send, args=(query("SET work_mem = '7MB'") + query('SELECT') * n +
                                                  query('SELECT 1/0'),))
        t.start()
        for _ in range(n + 2):
            a.until('Z')
        t.join()
        assert show(b) == base


def test_function_call_of_set_config(tiny):
    """FunctionCall messages are not looked at."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        assert codes(a.ask(function_call(SET_CONFIG, 'work_mem', '7MB', 'f'))) == []
        assert show(b) == base


def test_function_call_of_advisory_lock(weir, pg):
    """The same with a lock: the client is not bound to the server that has it."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2))
    with w.connect() as a:
        assert codes(a.ask(function_call(ADVISORY_LOCK, '42'))) == []
        a.sql('SELECT 1')
        until(lambda: w.pool()['sv_pinned'] == '1', timeout=2, why='it to be bound')


def test_raw_statements_are_not_looked_at(tiny):
    """max_prepared_statements = 0 switches the following of settings off for the
    extended protocol, without a word."""
    w = tiny(max_prepared_statements=0)
    with w.connect() as a, w.connect() as b:
        base = show(b)
        a.ask(extended("SET work_mem = '7MB'"), sync())
        assert show(b) == base


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'bind'])
def test_execute_of_a_prepared_set_config(tiny, ext):
    """SQL PREPARE is noted, EXECUTE of it is not: what it did is not asked for when
    the client is freed by DEALLOCATE."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        a.sql("PREPARE p AS SELECT set_config('work_mem', '7MB', false)")
        if ext:
            assert codes(a.ask(bind((), 'p'), execute(), sync())) == []
        else:
            a.sql('EXECUTE p')
        a.sql('DEALLOCATE p')
        assert show(b) == base
        assert show(a) == '7MB'


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'bind'])
def test_execute_of_a_prepared_lock(tiny, ext):
    """The same with an advisory lock, which nobody has then."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        a.sql('PREPARE p AS SELECT pg_advisory_lock(4711)')
        if ext:
            assert codes(a.ask(bind((), 'p'), execute(), sync())) == []
        else:
            a.sql('EXECUTE p')
        a.sql('DEALLOCATE p')
        a.sql('SELECT 1')
        b.send(query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
        try:
            assert rows(b.until()) in ([['0']], [])
        except TimeoutError:
            pass


def test_temp_table_by_search_path(tiny, pg):
    """With pg_temp in front of the search path a plain CREATE TABLE makes a
    temporary one. It stays on the server, and shadows the real table of the same
    name for whoever comes next."""
    pg.sql("DROP TABLE IF EXISTS atk_real; CREATE TABLE atk_real (x text); INSERT INTO atk_real VALUES ('real'); "
           'GRANT ALL ON atk_real TO PUBLIC')
    w = tiny()
    with w.connect() as a, w.connect() as b:
        a.sql('SET search_path = pg_temp, public')
        a.sql('CREATE TABLE atk_real (x text)')
        a.sql("INSERT INTO atk_real VALUES ('of a')")
        b.send(query('SELECT x FROM atk_real'))
        m = b.until()
        assert ['of a'] not in rows(m), 'a temporary table of another client'


def test_backslashes_hide_a_set_from_the_lexer(tiny):
    """With standard_conforming_strings = off the lexer reads strings where the
    server reads statements: the SET is not noted, the next client has it."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b, 'search_path')
        a.sql('SET standard_conforming_strings = off')
        a.sql("SELECT '\\'' ; SET search_path=information_schema -- '")
        assert show(b, 'search_path') == base


def test_client_that_leaves_while_its_settings_are_refused(fake):
    """The settings are taken to be there when they are sent. Their client goes, the
    server refuses them (or they are cancelled with the client's statement), and
    the server is given to the next client as if it had them."""
    texts = []
    go, late = threading.Event(), threading.Event()

    def script(c):
        tx, held = 'I', False
        try:
            while True:
                letter, body = c.read_raw()
                if letter != 'Q':
                    continue
                text = body[:-1].decode()
                texts.append(text)
                if text == 'BEGIN':
                    if late.is_set() and not held:
                        held = True
                        go.wait(10)
                    tx = 'T'
                    c.send(complete('BEGIN'), ready(tx))
                elif 'set_config' in text and late.is_set() and len([t for t in texts if 'set_config' in t]) == 1:
                    tx = 'E'
                    c.send(error('57014', 'canceling statement due to user request'), ready(tx))
                elif text == 'ROLLBACK':
                    tx = 'I'
                    c.send(complete('ROLLBACK'), ready(tx))
                elif tx == 'E':
                    c.send(error('25P02'), ready(tx))
                else:
                    tx = 'I'
                    c.send(result(), ready(tx))
        except (Closed, OSError):
            pass
    w, _ = fake(script)
    a = w.connect(options='-c my.tenant=1')
    with w.connect() as b:
        b.ask(query('SELECT other'))
        texts.clear()
        late.set()
    a.send(query('SELECT 1'))
    until(lambda: 'BEGIN' in texts, why='the settings to arrive')
    a.close()
    time.sleep(0.2)
    go.set()
    with w.connect(options='-c my.tenant=1') as b:
        b.ask(query('SELECT mine'))
    assert len([t for t in texts[:texts.index('SELECT mine')] if 'my.tenant' in t]) == 2, texts


def test_reset_by_a_client_that_left(tiny):
    """The tag RESET of a statement whose client has gone is taken for the daemon's
    own RESET ALL: all settings on the server are forgotten, and are there."""
    w = tiny(cancel_on_disconnect=0)
    with w.connect() as b:
        base = show(b)
        a = w.connect()
        a.sql("SET work_mem = '7MB'")
        assert show(b) == base
        a.send(query('SELECT pg_sleep(0.3)'), query('RESET transaction_isolation'))
        until(lambda: w.pool()['sv_active'] == '1', why='it to run')
        time.sleep(0.1)
        a.close()
        assert show(b) == base


@pytest.fixture
def less(pg):
    pg.sql("DO $$BEGIN CREATE ROLE atk_less; EXCEPTION WHEN duplicate_object THEN NULL; END$$; GRANT atk_less TO app")


WHO = ['DISCARD ALL', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
       'SET SESSION AUTHORIZATION app']


@pytest.mark.parametrize('how', WHO)
def test_session_authorization_ends_the_role(tiny, pg, less, how):
    """SET SESSION AUTHORIZATION, and DISCARD ALL with it, ends a SET ROLE. The server is believed to be in the
    role still, and the next client that asked for it runs without it: with the
    rights of the pool's user."""
    w = tiny()
    with w.connect() as a, w.connect(options='-c role=atk_less') as b:
        a.sql('SET ROLE atk_less')
        a.sql(how)
        assert b.one('SELECT current_user') == 'atk_less'


@pytest.mark.parametrize('how', WHO)
def test_session_authorization_ends_the_role_for_good(tiny, pg, less, how):
    """The same client is put into the role again, elsewhere."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        a.sql('SET ROLE atk_less')
        a.sql(how)
        b.sql('SELECT 1')
        assert a.one('SELECT current_user') == 'app'


@pytest.mark.parametrize('text', [['RESET ALL', "SET TimeZone = 'Asia/Tokyo'"],
                                  ['BEGIN', 'RESET ALL', "SET TimeZone = 'Asia/Tokyo'", 'COMMIT'],
                                  ["RESET ALL; SET TimeZone = 'Asia/Tokyo'"]])
def test_reported_setting_behind_a_reset_all(tiny, pg, text):
    """A setting that the server reports is not asked for, and forgotten with the rest
    when the RESET ALL in front of it is dealt with: the next client has it."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b, 'TimeZone')
        a.ask(*[query(x) for x in text], readies=len(text))
        assert show(b, 'TimeZone') == base
        assert show(a, 'TimeZone') == 'Asia/Tokyo'


@pytest.mark.parametrize('text', [['SET ROLE atk_less; RESET ALL'], ['SET ROLE atk_less', 'RESET ALL'],
                                  ['BEGIN', 'SET ROLE atk_less', 'RESET ALL', 'COMMIT']])
def test_reset_all_leaves_the_role(tiny, pg, less, text):
    """RESET ALL does not end a role, but is taken to end one that was set in the same
    transaction: the next client runs in it."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        a.ask(*[query(x) for x in text], readies=len(text))
        assert b.one('SELECT current_user') == 'app'
        assert a.one('SELECT current_user') == 'atk_less'


@pytest.mark.parametrize('how', ['DISCARD ALL', 'RESET SESSION AUTHORIZATION', 'RESET ALL', 'RESET ROLE'])
def test_what_ends_a_role_of_the_start(tiny, pg, less, how):
    """Who one is after these, direct and through the daemon."""
    w = tiny()

    def look(a):
        with w.connect() as b:
            b.sql('SELECT 1')
        return a.one('SELECT current_user')
    seen = both(pg, w, lambda a: a.sql(how), look, options='-c role=atk_less')
    assert seen[0] == seen[1]


@pytest.mark.parametrize('how', ['SELECT pg_sleep(30)', 'BEGIN'])
def test_server_lost_while_it_is_asked(fake, how):
    """A pipelined statement is behind the question when the server goes: an answer or
    an end, not silence, and not on another server without the setting."""
    ran = []

    def script(c):
        try:
            while True:
                letter, body = c.read_raw()
                text = body[:-1].decode()
                if letter == 'X':
                    return
                if 'current_setting' in text:
                    time.sleep(0.3)
                    c.close()
                    return
                ran.append(text)
                c.send(complete('SET'), ready())
        except (Closed, OSError):
            pass
    w, _ = fake(script)
    with w.connect(timeout=5) as a:
        a.send(query("SET work_mem = '7MB'"))
        a.until()
        a.send(query(how))
        m = rest(a)
        assert m[-1][0] == 'E' and m[-1][1]['S'] == 'FATAL', m
    assert ran == ["SET work_mem = '7MB'"]


# ---- committed although nobody said so ---------------------------------------------------

def test_client_that_leaves_before_its_sync_commits_nothing(tiny, pg):
    """A batch without its Sync is not committed when the client goes. The Sync that
    is put in to get the server back commits it."""
    pg.sql('DROP TABLE IF EXISTS atk_sync; CREATE TABLE atk_sync (x int); GRANT ALL ON atk_sync TO PUBLIC')
    w = tiny()
    seen = []
    for port in (pg.port, w.port):
        with Conn(port, user='app', database='app') as a:
            a.send(extended('INSERT INTO atk_sync VALUES (1)'), flush())
            a.until('C')
        until(lambda: pg.backends("usename = 'app' AND state <> 'idle'") == 0, why='it to end')
        with w.connect() as b:
            b.sql('SELECT 1')
        seen.append(pg.one('SELECT count(*) FROM atk_sync'))
    assert seen == ['0', '0']


def test_settings_whose_begin_is_cancelled(fake):
    """The BEGIN in front of the settings fails (a timeout of the client before, a
    cancel from outside), the rest is applied and the client's statement is run and
    committed. The client is told that its setting was refused."""
    ran = []

    def script(c):
        try:
            while True:
                text = c.expect('Q')[:-1].decode()
                if text == 'BEGIN':
                    c.send(error('57014', 'canceling statement due to statement timeout'), ready())
                elif 'INSERT' in text:
                    ran.append(text)
                    c.send(complete('INSERT 0 1'), ready())
                else:
                    c.send(result(), complete('COMMIT'), ready())
        except (Closed, OSError):
            pass
    w, _ = fake(script)
    with w.connect(options='-c my.tenant=1') as a:
        a.send(query('INSERT INTO t VALUES (1)'))
        m = []
        try:
            while not m or m[-1][0] != 'Z':
                m.append(a.read())
        except Closed:
            pass
        until(lambda: ran or codes(m) == ['57014'], why='it to run')
        time.sleep(0.2)
        assert not ran or shape(m) == 'C:INSERT 0 1 Z:I' or codes(m)[0] in ('40003', '08006'), m


def test_timeout_of_one_client_ends_another(fake):
    """statement_timeout of the client before holds while the next one's settings are
    made. When it strikes it is not a setting that is refused: another server will
    do."""
    served = []

    def script(c):
        first = not served
        served.append(c)
        tx = 'I'
        try:
            while True:
                text = c.expect('Q')[:-1].decode()
                if first and 'RESET' in text:
                    tx = 'E'
                    c.send(error('57014', 'canceling statement due to statement timeout'), ready(tx))
                elif tx == 'E':
                    c.send(error('25P02'), ready(tx))
                elif text == 'BEGIN':
                    c.send(complete('BEGIN'), ready('T'))
                elif 'current_setting' in text:
                    c.send(row_description('a', 'b'), data_row('0', '1ms'), complete('SELECT 1'), ready())
                else:
                    c.send(result(), ready())
        except (Closed, OSError):
            pass
    w, _ = fake(script)
    with w.connect() as a, w.connect() as b:
        a.sql("SET statement_timeout = 1")
        assert b.one('SELECT 1') == '1'


def test_server_lost_behind_a_setting_that_was_confirmed(tiny, pg):
    """SET ROLE was answered, the next statement of the pipeline was in flight when
    the server was lost. The client goes on without its role, with the rights of
    the pool's user."""
    pg.sql("DO $$BEGIN CREATE ROLE atk_less; EXCEPTION WHEN duplicate_object THEN NULL; END$$; GRANT atk_less TO app")
    w = tiny()
    with w.connect() as a:
        a.send(query('SET ROLE atk_less'), query('SELECT pg_sleep(30)'))
        assert shape(a.until()) == 'C:SET Z:I'
        end_servers(pg)
        m = []
        try:
            m = a.until()
            who = a.one('SELECT current_user')
        except (Closed, PgError):
            return
        assert who == 'atk_less', m


def test_lock_lost_behind_its_confirmation(tiny, pg):
    """The same with an advisory lock that the client believes it has."""
    w = tiny()
    with w.connect() as a:
        a.send(query('SELECT pg_advisory_lock(99)'), query('SELECT pg_sleep(30)'))
        assert shape(a.until()) == 'T D C:SELECT 1 Z:I'
        end_servers(pg)
        try:
            a.until()
            n = a.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        except (Closed, PgError):
            return
        assert n == '1'


# ---- lazy BEGIN ----------------------------------------------------------------------------

@pytest.mark.parametrize('n', [73, 74, 75, 76, 78, 80, 81])
def test_long_begin(tiny, n):
    """A BEGIN of 75 to 80 bytes is kept, and does not fit into the buffer it is sent
    from: half a message goes to the server, and all hangs."""
    w = tiny()
    text = 'BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY'.ljust(n)
    with w.connect(timeout=4 * SLOW) as a:
        a.ask(query(text))
        assert rows(a.ask(query('SHOW transaction_isolation'))) == [['repeatable read']]
        a.sql('COMMIT')


def test_server_lost_at_the_begin(fake):
    """The first server ends at the BEGIN that was put in: the transaction begins on
    the next one, and its statements run once."""
    seen = []

    def script(c):
        try:
            while True:
                text = c.expect('Q')[:-1].decode()
                seen.append(text)
                if seen.count('BEGIN') == 1:
                    c.close()
                    return
                c.send(*([result()] if text[0] == 'S' else [complete(text)]), ready('T' if text != 'COMMIT' else 'I'))
        except (Closed, OSError):
            pass
    w, _ = fake(script)
    with w.connect() as a:
        m = a.ask(query('BEGIN'), query('SELECT 1'), query('COMMIT'), readies=3)
        assert shape(m) == 'C:BEGIN Z:T T D C:SELECT 1 Z:T C:COMMIT Z:I'
    assert seen == ['BEGIN', 'BEGIN', 'SELECT 1', 'COMMIT']


def test_start_transaction_has_a_tag_of_its_own(tiny, pg):
    """START TRANSACTION is answered as START TRANSACTION."""
    w = tiny()
    seen = []
    for port in (pg.port, w.port):
        with Conn(port, user='app', database='app') as a:
            seen.append(shape(a.ask(query('START TRANSACTION'))))
    assert seen[0] == seen[1]


def test_begin_with_a_wrong_mode(tiny, pg):
    """A BEGIN that is a syntax error is answered as if it were none."""
    w = tiny()
    for text in ('BEGIN NOT ISOLATION LEVEL SERIALIZABLE', 'BEGIN READ ONLY,', 'BEGIN NOT READ ONLY', 'BEGIN NOT NOT'):
        seen = []
        for port in (pg.port, w.port):
            with Conn(port, user='app', database='app') as a:
                seen.append(shape(a.ask(query(text))))
        assert seen[0] == seen[1], text


# ---- RESET and the values of the start -------------------------------------------------------

def both(pg, w, work, look, **params):
    """What a client sees directly, and through the daemon."""
    seen = []
    for port in (pg.port, w.port):
        with Conn(port, **{'user': 'app', 'database': 'app', **params}) as a:
            work(a)
            seen.append(look(a))
    return seen


@pytest.mark.parametrize('mode', ['transaction', 'session'])
@pytest.mark.parametrize('how', ['RESET ALL', 'DISCARD ALL'])
def test_reset_of_a_bound_client(tiny, pg, mode, how):
    """A client that stays bound gets the server's values back instead of its own
    startup packet's: its settings are made when it is given a server, and it keeps
    the one it has."""
    def work(a):
        a.sql('LISTEN x')
        a.sql('SELECT 1')
        a.sql("SET work_mem = '3MB'")
        a.sql(how)
        a.sql('LISTEN x')
    seen = both(pg, tiny(pool_mode=mode), work, show, options='-c work_mem=9MB')
    assert seen[0] == seen[1] == '9MB'


def test_reset_pipelined_with_unlisten(tiny, pg):
    """What is sent while the server is asked runs on it without the values of the
    startup packet."""
    def look(a):
        return [r[0] for r in rows(a.ask(query('RESET ALL'), query('SHOW work_mem'), readies=2))]
    seen = both(pg, tiny(), lambda a: a.sql('LISTEN x'), look, options='-c work_mem=9MB')
    assert seen[0] == seen[1] == ['9MB']


def test_reset_by_who_is_bound_for_ever(tiny, pg):
    """The same with a bond that cannot be asked for."""
    def work(a):
        a.sql("LOAD 'plpgsql'")
        a.sql('DISCARD ALL')
    seen = both(pg, tiny(), work, show, options='-c work_mem=9MB', user='postgres')
    assert seen[0] == seen[1] == '9MB'


@pytest.mark.parametrize('mode', ['transaction', 'session'])
@pytest.mark.parametrize('how', ['RESET work_mem', 'RESET ALL'])
def test_reset_after_an_error(tiny, pg, mode, how):
    """An error anywhere before, undone long ago, makes a RESET go to the server's
    value instead of the startup packet's, for good."""
    def work(a):
        a.sql('LISTEN x')
        a.sql("SET work_mem = '3MB'")
        a.ask(query('SELECT 1/0'))
        a.sql(how)
        a.sql('UNLISTEN *')
    seen = both(pg, tiny(pool_mode=mode), work, show, options='-c work_mem=9MB')
    assert seen[0] == seen[1] == '9MB'


def test_reset_after_a_savepoint(tiny, pg):
    """The same inside one transaction."""
    def work(a):
        for text in ('BEGIN', "SET work_mem = '3MB'", 'SAVEPOINT s', 'SELECT 1/0', 'ROLLBACK TO s', 'RESET work_mem',
                     'COMMIT'):
            a.ask(query(text))
    seen = both(pg, tiny(), work, show, options='-c work_mem=9MB')
    assert seen[0] == seen[1] == '9MB'


def test_long_startup_values_come_back_in_a_transaction(tiny, pg):
    """More than 2 kB of settings do not fit where they are put: the statement runs
    with the server's."""
    def look(a):
        return [len(r[0]) for r in rows(a.ask(query('BEGIN'), query('RESET my.long'), query('SHOW my.long'),
                                              query('ROLLBACK'), readies=4))]
    seen = both(pg, tiny(), lambda a: a.sql('SELECT 1'), look, **{'my.long': 'x' * 5000})
    assert seen[0] == seen[1] == [5000]


@pytest.mark.parametrize('how', ['RESET ALL', 'RESET client_encoding', 'DISCARD ALL'])
def test_driver_is_told_of_the_encoding_after_a_reset(tiny, pg, how):
    """The server reports its own client_encoding at the RESET, the daemon sets the
    client's again and keeps that report to itself: the driver decodes LATIN1 as
    UTF-8 from now on."""
    w = tiny()
    for port in (pg.port, w.port):
        with Conn(port, user='app', database='app', client_encoding='LATIN1', TimeZone='Asia/Tokyo') as a:
            a.sql('SELECT 1')
            a.sql(how)
            a.sql('SELECT 1')
            for name in ('client_encoding', 'TimeZone'):
                assert a.params[name] == a.one('SHOW %s' % name), name


def test_values_survive_a_change_of_encoding(tiny, pg):
    """A value is kept in the encoding in which it was told, and set again in the
    encoding of later: another value."""
    w = tiny()
    seen = []
    for port in (pg.port, w.port):
        with Conn(port, user='app', database='app') as a:
            a.sql("SET my.name = 'h\u00e9'")
            a.sql("SET client_encoding = 'LATIN1'")
            with w.connect() as b:
                b.sql('SELECT 1')
            seen.append(a.one("SELECT length(current_setting('my.name'))"))
    assert seen[0] == seen[1] == '2'


# ---- limits ----------------------------------------------------------------------------------

def failed_block(a, text):
    a.sql('BEGIN')
    a.ask(query('SELECT 1/0'))
    return a.ask(query('ROLLBACK'), query(text), readies=2)


def failed_block_one_text(a, text):
    a.sql('BEGIN')
    a.ask(query('SELECT 1/0'))
    return a.ask(query('ROLLBACK; ' + text))


@pytest.mark.parametrize('way', [failed_block, failed_block_one_text], ids=['pipeline', 'text'])
def test_pin_error_behind_the_end_of_a_failed_block(tiny, way):
    """In a failed block nothing is refused, and what follows its ROLLBACK in the
    pipeline passes with it."""
    with tiny(pin='error').connect() as a:
        assert codes(way(a, 'LISTEN x')) == ['0A000']


@pytest.mark.parametrize('way', [failed_block, failed_block_one_text], ids=['pipeline', 'text'])
def test_max_pinned_behind_the_end_of_a_failed_block(weir, pg, way):
    """The same with the limit: all servers of the pool can be bound."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, max_pinned_servers=1, query_wait_timeout=2))
    with w.connect() as a, w.connect() as b, w.connect() as c:
        a.sql('LISTEN x')
        assert codes(way(b, 'LISTEN x')) == ['53300']
        assert c.one('SELECT 1') == '1'


@pytest.fixture
def sequences(pg):
    pg.sql('DROP SEQUENCE IF EXISTS atk_s1, atk_s2; CREATE SEQUENCE atk_s1 START 1000; CREATE SEQUENCE atk_s2; '
           'DROP TABLE IF EXISTS atk_plain; CREATE TABLE atk_plain (x int); '
           'GRANT ALL ON SEQUENCE atk_s1, atk_s2 TO PUBLIC; GRANT ALL ON atk_plain TO PUBLIC')


@pytest.mark.parametrize('way', [failed_block, failed_block_one_text], ids=['pipeline', 'text'])
def test_lastval_behind_the_end_of_a_failed_block(tiny, sequences, way):
    """The same with lastval(): it tells of another session."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        v = a.one("SELECT nextval('atk_s1')")
        m = way(b, 'SELECT lastval()')
        assert [v] not in rows(m)


def test_lastval_after_a_client_that_left(tiny, sequences):
    """Who left in a transaction is not noted as the last to have called nextval()."""
    w = tiny()
    with w.connect() as a:
        mine = a.one("SELECT nextval('atk_s1')")
        b = w.connect()
        b.hold()
        other = b.one("SELECT nextval('atk_s2')")
        b.close()
        a.sql('SELECT 1')
        m = a.ask(query('SELECT lastval()'))
        assert rows(m) in ([], [[mine]]), other


def test_lastval_after_a_lost_server(weir, pg, sequences):
    """A nextval() on a server that is gone speaks for the next one."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect() as a, w.connect() as b:
        a.hold()
        a.one("SELECT nextval('atk_s1')")
        end_servers(pg)
        a.ask(query('SELECT 1'))
        a.ask(query('ROLLBACK'))
        other = b.one("SELECT nextval('atk_s2')")
        assert [other] not in rows(a.ask(query('SELECT lastval()')))


@pytest.mark.parametrize('text', ['INSERT INTO nosuch VALUES (1)', 'DELETE FROM atk_plain WHERE false'])
def test_lastval_of_who_never_called_nextval(tiny, sequences, text):
    """A statement that might have called nextval() is taken to have done so: then
    lastval() is of the client before. PostgreSQL says 55000."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        v = a.one("SELECT nextval('atk_s1')")
        b.ask(query(text))
        assert [v] not in rows(b.ask(query('SELECT lastval()')))


def test_nextval_by_function_call(tiny, sequences, pg):
    """FunctionCall of nextval() by b, then a's lastval()."""
    w = tiny()
    oid = pg.one("SELECT 'atk_s2'::regclass::oid")
    with w.connect() as a, w.connect() as b:
        mine = a.one("SELECT nextval('atk_s1')")
        assert codes(b.ask(function_call(NEXTVAL, oid))) == []
        assert rows(a.ask(query('SELECT lastval()'))) in ([], [[mine]])


@pytest.mark.parametrize('n', [120, 126, 127, 128, 150])
def test_many_settings_in_one_transaction(tiny, n):
    """More settings than can be followed bind the client; they do not end it with
    "out of memory", and none is lost."""
    w = tiny()
    with w.connect() as a:
        a.sql(';'.join('SET my.v%d = %d' % (i, i) for i in range(n)))
        assert [show(a, 'my.v%d' % i) for i in (0, n - 1)] == ['0', str(n - 1)]


def test_many_settings_one_by_one(tiny):
    """The same over many transactions; and RESET ALL frees it."""
    w = tiny()
    with w.connect() as a:
        for i in range(140):
            a.sql('SET my.v%d = %d' % (i, i))
        assert [show(a, 'my.v%d' % i) for i in (0, 100, 139)] == ['0', '100', '139']
        a.sql('RESET ALL')
        with w.connect() as b:
            assert show(b, 'my.v139') == ''


@pytest.mark.parametrize('n', [3000, 16000, 30000, 33000])
def test_long_values_with_quotes(weir, pg, n):
    """They follow, or bind the client."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, query_wait_timeout=5))
    with w.connect() as a, w.connect() as b:
        a.sql("SET my.long = '%s'" % ("''" * n))
        for _ in range(2):
            assert len(show(a, 'my.long')) == n
            assert show(b, 'my.long') == ''


def test_failed_questions_are_limited_too(fake):
    """A question that fails binds its client, beyond max_pinned_servers: clients with
    a short statement_timeout take the whole pool."""
    def script(c):
        try:
            while True:
                letter, body = c.read_raw()
                text = body[:-1].decode()
                if letter == 'X':
                    return
                if 'current_setting' in text:
                    c.send(error('57014', 'canceling statement due to statement timeout'), ready())
                elif text.startswith('SET'):
                    c.send(complete('SET'), ready())
                else:
                    c.send(result(), ready())
        except (Closed, OSError):
            pass
    w, _ = fake(script, default_pool_size=3, max_pinned_servers=1, query_wait_timeout=2)
    cs = [w.connect() for _ in range(4)]
    for c in cs[:3]:
        c.ask(query('SET statement_timeout = 1'))
    time.sleep(0.2)
    assert codes(cs[3].ask(query('SELECT 1'))) == []
    for c in cs:
        c.close()


def test_pin_off_does_not_share_what_cannot_be_taken_back(tiny):
    """pin = off: a server with a library loaded (or a dblink connection, or one of
    pin_functions) goes to the next client."""
    w = tiny(pin='off')
    with w.connect(user='postgres') as a, w.connect(user='postgres') as b:
        pid = a.one('SELECT pg_backend_pid()')
        a.sql("LOAD 'plpgsql'")
        assert b.one('SELECT pg_backend_pid()') != pid


def test_tokens_come_back(tiny, pg):
    """After every way for LISTEN not to stay there is room for one that does."""
    w = tiny()

    def no_execute(a):
        a.ask(parse('LISTEN x'), bind(), sync())

    def skipped(a):
        a.send(bind((), 'nope'), flush())
        a.until('E')
        a.ask(query('LISTEN x'), sync())

    def lost(a):
        a.sql('BEGIN')
        a.sql('LISTEN x')
        end_servers(pg)
        a.ask(query('SELECT 1'))

    def gone(a):
        a.send(query('LISTEN x'), query('SELECT pg_sleep(1)'))
        a.until()

    ways = [lambda a: a.ask(query('LISTEN x; SELECT 1/0')), lambda a: a.sql('BEGIN; LISTEN x; ROLLBACK'),
            lambda a: a.ask(extended('LISTEN x'), extended('SELECT 1/0'), sync()), no_execute, skipped, lost, gone,
            lambda a: a.sql('LISTEN x')]
    for i, way in enumerate(ways):
        with w.connect() as a:
            try:
                way(a)
            except (Closed, PgError):
                pass
        with w.connect() as b:
            until(lambda: codes(b.ask(query('LISTEN y'))) == [], why='room after way %d' % i)


# ---- cancel ------------------------------------------------------------------------------------

def test_cancel_while_the_question_is_in_flight(fake):
    """A statement waits behind the question; its cancel hits the question: the
    statement runs on, and the client is bound for good."""
    asked, go = threading.Event(), threading.Event()

    def script(c):
        try:
            while True:
                letter, body = c.read_raw()
                text = body[:-1].decode()
                if letter == 'X':
                    return
                if 'current_setting' in text:
                    asked.set()
                    go.wait(10)
                    c.send(row_description('a', 'b'), data_row('0', '7MB'), complete('SELECT 1'), ready())
                elif text.startswith('SET'):
                    c.send(complete('SET'), ready())
                else:
                    c.send(result(), ready())
        except (Closed, OSError):
            pass
    w, f = fake(script)
    with w.connect() as a:
        a.ask(query("SET work_mem = '7MB'"))
        assert asked.wait(10)
        a.send(query('SELECT 1'))
        until(lambda: a.quiet(0.2), why='it to be sent')
        t = threading.Thread(target=cancel, args=(w.port, a.key))
        t.start()
        time.sleep(0.3)
        early = list(f.cancels)
        go.set()
        t.join()
        a.until()
    assert not early, 'the question was cancelled'


def test_cancel_while_a_startup_value_is_restored(fake):
    """What a RESET goes back to is being set again in a bound client's session; the
    cancel is meant for the statement behind it."""
    restoring, go = threading.Event(), threading.Event()

    def script(c):
        tx = 'I'
        try:
            while True:
                text = c.expect('Q')[:-1].decode()
                if text == 'BEGIN':
                    tx = 'T'
                    c.send(complete('BEGIN'), ready(tx))
                elif text == 'RESET work_mem':
                    c.send(complete('RESET'), ready(tx))
                elif 'set_config' in text and 'COMMIT' not in text:
                    restoring.set()
                    go.wait(10)
                    c.send(result(), ready(tx))
                else:
                    if 'COMMIT' in text:
                        tx = 'I'
                    c.send(result(), ready(tx))
        except (Closed, OSError):
            pass
    w, f = fake(script, lazy_begin=0)
    with w.connect(options='-c work_mem=9MB') as a:
        a.ask(query('BEGIN'))
        a.ask(query('RESET work_mem'))
        a.send(query('SELECT 1'))
        assert restoring.wait(10)
        t = threading.Thread(target=cancel, args=(w.port, a.key))
        t.start()
        time.sleep(0.3)
        early = list(f.cancels)
        go.set()
        t.join()
        a.until()
    assert not early, 'what is put in was cancelled'


# ---- prepared statements --------------------------------------------------------------------------

def test_stale_statement_closed_while_the_server_skips(tiny, pg):
    """The Close of a stale statement is skipped by the server and forgotten: each
    later use of the statement fails with 42P05, for everybody."""
    pg.sql('DROP TABLE IF EXISTS atk_heal; CREATE TABLE atk_heal (x int); GRANT ALL ON atk_heal TO PUBLIC')
    w = tiny()
    with w.connect() as a, w.connect() as b:
        for c in (a, b):
            c.ask(parse('SELECT * FROM atk_heal', 's'), sync())
            c.ask(bind((), 's'), execute(), sync())
        pg.sql('ALTER TABLE atk_heal ADD y int')
        a.send(bind((), 's'), execute(), flush())
        assert shape(a.until('E')) == 'E:0A000'
        a.ask(bind((), 's'), execute(), sync())
        for c in (a, b):
            assert codes(c.ask(bind((), 's'), describe(), execute(), sync())) == []


def test_deallocate_that_the_server_skips(tiny, pg):
    """DEALLOCATE behind an error is skipped by the server; the name must stay."""
    seen = []
    for port in (pg.port, tiny().port):
        with Conn(port, user='app', database='app') as a:
            a.ask(parse('SELECT 1', 's'), sync())
            a.send(bind((), 'nope'), flush())
            a.until('E')
            a.ask(query('DEALLOCATE s'), sync())
            seen.append(shape(a.ask(bind((), 's'), execute(), sync())))
    assert seen[0] == seen[1]


# ---- servers whose client left ----------------------------------------------------------------------

def test_copy_in_whose_sync_came_early(tiny, pg):
    """The Sync is eaten by the COPY; what follows the CopyFail is skipped: the server
    answers nothing more, and is kept from the others for ten seconds."""
    pg.sql('CREATE TABLE IF NOT EXISTS atk_ct (x text); GRANT ALL ON atk_ct TO PUBLIC')
    w = tiny(query_wait_timeout=6)
    with w.connect() as b:
        a = w.connect()
        a.send(extended('COPY atk_ct FROM STDIN'), sync())
        a.until('G')
        a.send(copy_data('x\n'))
        a.close()
        start = time.monotonic()
        assert b.one('SELECT 1') == '1'
        assert time.monotonic() - start < 3 * SLOW


def test_many_units_of_state(tiny):
    """A pipeline of units that set, reset, bind and free: as many answers as
    questions, in order, and nothing left."""
    w = tiny()
    with w.connect() as a, w.connect() as b:
        base = show(b)
        unit = [query("SET work_mem = '7MB'"), query('LISTEN x'), extended('RESET work_mem') + sync(),
                query('UNLISTEN x'), extended("SELECT set_config('my.a', '1', false)") + sync(), query('RESET ALL'),
                query('SELECT 1/0'), query('BEGIN; SET work_mem = 99; ROLLBACK'), query('DISCARD ALL')]
        m = a.ask(*unit * 50, readies=9 * 50)
        assert len([x for x in m if x[0] == 'E']) == 50
        assert all(x == ('Z', 'I') for x in m if x[0] == 'Z')
        assert show(b) == base and show(b, 'my.a') == ''
        assert w.pool()['sv_pinned'] == '0'


@pytest.mark.parametrize('retry', ['off', 'implicit'])
def test_reload_and_shutdown_in_the_middle(weir, pg, retry):
    """Clients that set, bind and go, a reload and a shutdown: nothing but clean
    ends."""
    w = weir(ini({'app': db(pg)}, default_pool_size=3, workers=2, retry=retry))
    stop = threading.Event()

    def work(i):
        while not stop.is_set():
            try:
                with w.connect(options='-c my.a=%d' % i) as a:
                    for _ in range(20):
                        a.sql('BEGIN')
                        assert show(a, 'my.a') == str(i)
                        a.sql('SET LOCAL my.a = 77')
                        a.sql('COMMIT')
                        a.ask(query('SET my.b = %d' % i), query('RESET ALL'), query('SELECT 1'), readies=3)
                    a.send(query('SELECT pg_sleep(0.001)'), query('SET my.b = 1'))
            except (Closed, PgError, OSError):
                time.sleep(0.01)
    ts = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for t in ts:
        t.start()
    for _ in range(5):
        time.sleep(0.4)
        w.hup()
        super_sql(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' LIMIT 1")
    stop.set()
    for t in ts:
        t.join()
    until(lambda: w.pool()['sv_pinned'] == '0', why='nothing to be bound')
