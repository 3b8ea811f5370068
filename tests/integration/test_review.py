"""Found in a review of what moves units between servers, of rebalancing and of slow
logins: what each comment says was so once.

SPDX-License-Identifier: ISC
"""
import threading
import time

import pytest

import wire
from conftest import Spawned, db, ini, until
from test_move import CRDB, DRAIN, KILLED, QUICK, Nodes, answer, units
from wire import query

pytestmark = pytest.mark.weir_only

RW = dict(target_session_attrs='read-write')


class Scripted:
    """Nodes for which a function says what each unit is answered: bytes, or None to
    close without a word. It is given the node's number and the unit."""

    def __init__(self, weir, say, params=wire.PARAMS, conf=None, **dbkw):
        self.ran = []

        def script(n):
            def run(conn):
                for u in units(conn):
                    text = ' '.join('%s:%s' % (x[0], x[1].replace(b'\0', b' ').decode('latin1').strip())
                                    for x in u)
                    self.ran.append((n, text))
                    words = say(n, u, text)
                    if words is None:
                        return
                    conn.send(words)
            return run
        self.a = wire.FakeServer(script(0), params=params)
        self.b = wire.FakeServer(script(1), params=params)
        self.w = weir(ini({'app': db(self.a, self.b, load_balance_hosts='disable', **dbkw)},
                          **{**QUICK, 'health_check_interval': 30, **(conf or {})}))
        until(lambda: [r for r in self.w.console('SHOW NODES') if r['state'] == 'up'][1:])

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.a.close(check=False)
        self.b.close(check=False)

    def moved(self):
        return int(next(r['value'] for r in self.w.console('SHOW COUNTERS') if r['name'] == 'moved'))


# ---- run twice -----------------------------------------------------------------------------

def lost_at_update(n, u, text):
    """Node 0 runs what it is asked to run, and is gone without a word."""
    return None if n == 0 and any(x[0] == 'E' for x in u) else answer(u, 'x')


@pytest.mark.parametrize('name', ['', 's1'], ids=['unnamed', 'named'])
def test_update_behind_which_its_name_is_given_anew(weir, name):
    """move.c reads_only() looks a Bind's name up in what the client has at the time of
    the loss, not in what it had when it was bound: a Parse further back in the unit has
    given the name to a SELECT by then, and the UPDATE that ran is taken for it."""
    with Scripted(weir, lost_at_update, conf={'retry_unknown': 'readonly'}) as n, \
            n.w.connect() as c:
        assert wire.shape(c.ask(wire.parse('UPDATE kv SET v = v + 1', name), wire.sync())) == '1 Z:I'
        again = [wire.close('S', name)] if name else []
        m = c.ask(wire.bind((), name), wire.execute(), *again, wire.parse('SELECT 1', name), wire.sync())
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003']
        assert len([t for _, t in n.ran if 'E:' in t]) == 1, n.ran


def test_crdb_statement_completed_before_25006(weir):
    """CockroachDB commits each statement of a simple Query outside a block for itself
    (docs/retry.md, condition 4). relay_down.c unit_answered() begins the unit anew for
    a 25006 without looking whether anything of it was completed."""
    text = "INSERT INTO kv VALUES (9, 9); SELECT nextval('s') AS OF SYSTEM TIME '-1s'"

    def say(_, u, t):
        if 'INSERT' not in t:
            return answer(u, 'x')
        return wire.complete('INSERT 0 1') + \
            wire.error('25006', 'cannot execute nextval() in a read-only transaction') + wire.ready('I')
    with Scripted(weir, say, params=CRDB, **RW) as n, n.w.connect() as c:
        assert wire.shape(c.ask(query(text))) == 'C:INSERT 0 1 E:25006 Z:I'
        assert len([t for _, t in n.ran if 'INSERT' in t]) == 1, n.ran


@pytest.mark.parametrize('sql', ["SELECT ('calls'::regclass).nextval", "SELECT log('paid')"])
def test_calls_that_do_not_look_like_one(weir, sql):
    """retry_unknown = readonly: a function of one argument may be called like a column,
    and a short common name (log, format, replace, position, ...) with arguments for
    which there is no built-in function is the user's own. lex_reads_only() takes both
    for reading, and they run twice. (key's manual speaks of operators, views and policies.)"""
    with Nodes(weir, b'', params=wire.PARAMS, conf={'retry_unknown': 'readonly'}) as n, \
            n.w.connect() as c:
        m = c.ask(query(sql))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and n.moved() == 0


def test_those_calls_are_calls(pg):
    """... which this shows on PostgreSQL itself."""
    with pg.connect() as c:
        c.sql('CREATE TEMP TABLE called (t text); CREATE TEMP TABLE one AS SELECT 1 AS k')
        c.sql("CREATE FUNCTION pg_temp.charge(one) RETURNS int LANGUAGE sql AS "
              "$$ INSERT INTO called VALUES ('charge') RETURNING 1 $$")
        c.sql('CREATE SCHEMA own_functions; CREATE FUNCTION own_functions.log(text) RETURNS int '
              "LANGUAGE sql AS $$ INSERT INTO called VALUES ('log') RETURNING 1 $$")
        try:
            c.sql('SET search_path = own_functions, public, pg_temp')
            c.sql("SELECT log('paid')")
            c.sql('CREATE FUNCTION own_functions.charge(one) RETURNS int LANGUAGE sql AS '
                  "$$ INSERT INTO called VALUES ('charge') RETURNING 1 $$")
            c.sql('SELECT one.charge FROM one')
            c.sql('CREATE TEMP SEQUENCE own_calls')
            assert c.one("SELECT ('own_calls'::regclass).nextval") == '1'
            assert c.one("SELECT ('own_calls'::regclass).nextval") == '2'
            assert sorted(r[0] for r in c.sql('SELECT t FROM called')) == ['charge', 'log']
        finally:
            c.sql('DROP SCHEMA own_functions CASCADE')


def test_foreign_table_whose_server_has_committed(weir, pg):
    """was_aborted() takes FATAL 57P01 before CommandComplete for an abort of all there
    is. postgres_fdw commits on the foreign server first, and looks for interrupts while
    it waits for that: it is ended there with its own transaction aborted and the foreign
    one committed. Then the INSERT is run again."""
    pg.sql('CREATE EXTENSION IF NOT EXISTS postgres_fdw', database='app')
    pg.sql('CREATE TABLE far (t text); GRANT ALL ON far TO app', database='app')
    pg.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
           "$$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$", database='app')
    pg.sql('CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON far DEFERRABLE INITIALLY DEFERRED '
           'FOR EACH ROW EXECUTE FUNCTION slow()', database='app')
    pg.sql("CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS "
           "(host '127.0.0.1', port '%d', dbname 'app')" % pg.port, database='app')
    pg.sql("CREATE USER MAPPING FOR app SERVER loop OPTIONS (user 'app', password_required 'false')",
           database='app')
    pg.sql("CREATE FOREIGN TABLE near (t text) SERVER loop OPTIONS (table_name 'far'); "
           'GRANT ALL ON near TO app', database='app')
    try:
        w = weir(ini({'app': db(pg)}, **QUICK))
        with w.connect() as c:
            c.one('SELECT 1')

            def killer():
                with pg.connect() as k:
                    until(lambda: k.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND "
                                        "application_name = 'postgres_fdw' AND state = 'active'"))
                    k.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE query LIKE 'INSERT INTO near%' AND state = 'active'")
            k = Spawned(killer)
            m = c.ask(query("INSERT INTO near VALUES ('once')"))
            k.result()
            time.sleep(1)
            assert pg.sql("SELECT count(*) FROM far", database='app') == [['1']], m
    finally:
        pg.sql('DROP SERVER loop CASCADE; DROP TABLE far CASCADE; DROP FUNCTION slow', database='app')


# ---- told twice, or what is not so -----------------------------------------------------------

def test_answer_of_ours_told_by_a_flush(weir):
    """A Parse of a text that the server has is answered by us. Behind a Flush the unit
    passes through, and names_emit_due() tells the client without unit_stays(): when the
    server goes then, the unit begins anew and its ParseComplete is told twice."""
    def say(n, u, text):
        return DRAIN if n == 0 and 'B' in [x[0] for x in u] else answer(u, 'two')
    with Scripted(weir, say, params=CRDB) as n, n.w.connect() as c:
        with n.w.connect() as other:
            assert wire.shape(other.ask(wire.parse('SELECT 1', 'o1'), wire.sync())) == '1 Z:I'
            c.send(wire.parse('SELECT 1', 's1'), wire.flush())
            assert c.read() == ('1',)
            m = c.ask(wire.bind((), 's1'), wire.execute(), wire.sync())
            assert wire.shape(m) in ('2 D C:SELECT 1 Z:I', 'E:40003 Z:I', 'E:40001 Z:I'), (m, n.ran)


def test_setting_of_the_attempt_that_nobody_saw(weir):
    """A ParameterStatus of the attempt that was broken off was held back and is dropped
    with it, but move_unit() notes by undo_lost() that the client must be told the value
    of before: it is told so later, when it is not so. (PostgreSQL before 14 reports at
    once, later ones in front of ReadyForQuery.)"""
    def say(n, u, text):
        if 'set_config' not in text:
            return answer(u, 'x')
        tz = wire.parameter('TimeZone', 'Asia/Tokyo')
        return tz + (KILLED if n == 0 else answer(u, 'Asia/Tokyo'))
    with Scripted(weir, say, params={**wire.PARAMS, 'server_version': '13.0'},
                  conf={'retry_terminated': 1}) as n, n.w.connect() as c:
        c.ask(query("SELECT set_config('TimeZone', 'Asia/Tokyo', false)"))
        assert n.moved() >= 1 and c.params['TimeZone'] == 'Asia/Tokyo'
        c.send(wire.sync())
        told = c.until('Z', skip='')
        assert ('S', ('TimeZone', 'UTC')) not in told, told


# ---- cancel ------------------------------------------------------------------------------------

def test_cancelled_statement_does_not_begin_anew(weir):
    """The client has asked for an end of its statement, the request is with the server,
    and the server goes: the statement is run anew on another one, as if nobody had asked."""
    asked = threading.Event()

    def say(n, u, text):
        if n == 0 and 'kv' in text:
            until(lambda: s.a.cancels)
            asked.set()
            return None
        return answer(u, 'two')
    with Scripted(weir, say, conf={'retry_unknown': 'readonly'}) as s, s.w.connect() as c:
        c.send(query('SELECT count(*) FROM kv'))
        until(lambda: any('kv' in t for _, t in s.ran))
        wire.cancel(s.w.port, c.key)
        m = c.until('Z')
        assert asked.is_set()
        assert len([t for _, t in s.ran if 'kv' in t]) == 1, s.ran
        assert [x[1]['C'] for x in m if x[0] == 'E'] in (['57014'], ['40003'])


# ---- nodes -------------------------------------------------------------------------------------

def test_rebalancing_towards_a_node_that_is_full(weir):
    """A node answers its checks and has no room for more logins (53300): work_out() takes
    it for one that has less than its share, so connections of the other are closed in every
    interval and dialled there again, for ever, with a warning for each."""
    def full(conn):
        try:
            if not conn.read_startup():
                return
        except (wire.Closed, OSError):
            return
        conn.send(wire.error('53300', 'sorry, too many clients already', severity='FATAL'))

    def run(conn):
        for u in units(conn):
            conn.send(answer(u, 'x'))
    a = wire.FakeServer(full, login=False)
    b = wire.FakeServer(run)
    w = weir(ini({'app': db(a, b, min_pool_size=8)}, default_pool_size=8,
                 **{**QUICK, 'rebalance_interval': '0.3', 'server_login_retry': '0.1'}))
    try:
        with w.connect() as c:
            c.one('SELECT 1')
            until(lambda: int(w.pool()['sv_idle']) >= 8)
            time.sleep(1)
            before = b.logins
            time.sleep(4)
            assert b.logins - before <= 4, (before, b.logins)
    finally:
        a.close(check=False)
        b.close(check=False)


def test_one_client_that_ends_its_own_backends(weir, pg):
    """Any client can end its own backend. Each time the node is put in doubt for all
    pools (serve.c server_gone(): SEEN_BAD), checked at once and taken back: lines in the
    log, a login, and all back-offs of all pools reset, at the pace of one client."""
    w = weir(ini({'app': db(pg)}, **{**QUICK, 'health_check_interval': 30}))
    with w.connect() as c:
        for _ in range(100):
            c.ask(query('SELECT pg_terminate_backend(pg_backend_pid())'))
    n = len(w.log_lines('target_in_doubt'))
    assert n <= 10, n


def test_logins_that_take_long_everywhere(weir):
    """Logins take longer than 250 ms on both nodes (LDAP, a busy host), checks do not (a
    user of their own). With no room for a second dial the slow one is closed for one to
    the other node, and that for one to the first again: what was tried is forgotten with
    each change of a node's state, which the slow dials bring about themselves
    (link_targets_changed() clears `tried`). No login ever comes through."""
    def script(conn):
        try:
            if not conn.read_startup():
                return
            if conn.startup['user'] != 'checker':
                time.sleep(0.6)
            conn.welcome()
        except (wire.Closed, OSError):
            return
        try:
            for u in units(conn):
                row = wire.row_description('a', 'b') + wire.data_row('f', 'off') + wire.complete('SELECT 1')
                conn.send(row + wire.ready('I') if conn.startup['user'] == 'checker' else answer(u, 'x'))
        except OSError:
            return
    a, b = wire.FakeServer(script, login=False), wire.FakeServer(script, login=False)
    w = weir(ini({'app': db(a, b)}, default_pool_size=1, health_check_user='checker',
                 query_wait_timeout=8, **QUICK))
    try:
        until(lambda: all(r['state'] == 'up' for r in w.console('SHOW NODES')))
        began = time.monotonic()
        with w.connect() as c:
            assert c.one('SELECT 1') == 'x'
        assert time.monotonic() - began < 4
    finally:
        a.close(check=False)
        b.close(check=False)


def test_fence_is_taken_back_when_it_is_left(weir):
    """A server becomes read-only under its client, who is told so (relay_down.c
    got_setting() passes the fence on) and goes to another server: nobody tells it that
    default_transaction_read_only is off again."""
    def say(n, u, text):
        if n == 0 and 'kv' in text:
            return wire.parameter('default_transaction_read_only', 'on') + answer(u, 'x')
        return answer(u, 'x')
    with Scripted(weir, say) as n, n.w.connect() as c:
        c.ask(query('SELECT v FROM kv'))
        for _ in range(3):
            c.ask(query('SELECT 2'))
        assert c.params['default_transaction_read_only'] == 'off'


def test_retry_off_is_off(weir):
    """retry = off: `off` is off, says docs/retry.md. A unit that writes is
    run again all the same after FATAL 57P01, and no setting turns that off."""
    with Nodes(weir, KILLED, params=wire.PARAMS, conf={'retry': 'off'}) as n, n.w.connect() as c:
        m = c.ask(query("INSERT INTO near VALUES ('once')"))
        assert [x[1]['C'] for x in m if x[0] == 'E'] == ['40003'] and n.moved() == 0
