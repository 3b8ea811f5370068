"""Every row of the tables by which transactions are replayed (retry = replay), against
servers that are played message by message: what the client gets and what the server gets
is compared byte for byte. docs/retry.md has the rules; the names of the sections are
those of the design: 2.2 what proves that nothing was left behind, 2.3 shapes of the
protocol, 4.2 what is not replayed, 4.4 what is compared, 4.5 giving up, 4.6 what else
may happen meanwhile.

Each test is run with a BEGIN that goes to the server at once, and with one that is
answered by the daemon and goes in front of the first statement (lazy_begin).

SPDX-License-Identifier: ISC
"""
import re
import signal
import time

import pytest

import wire
from conftest import until
from stage import (ABORTED, AGAIN, BEGIN, BEGIN_OK, CANCELED, COMMIT, COMMIT_OK, CRDB, E1, FAILS, FAILS_IDLE, GIVE_UP,
                   NO_SAVEPOINT, QUESTION, READ, READ2, READ2_OK, READ_OK, ROLLBACK, ROLLBACK_OK, WRITE, WRITE2,
                   WRITE2_OK, WRITE_OK, Stage, row, tag, x, x_told)
from wire import (bind, complete, copy_data, copy_done, data_row, describe, error, execute, flush, function_call,
                  msg, notice, parameter, parse, query, ready, result, row_description, shape, sync)

pytestmark = pytest.mark.weir_only


def rows(table):
    """[(name, ...)] as parameters with names."""
    return [pytest.param(*r[1:], id=r[0]) for r in table]


@pytest.fixture(params=[0, 1], ids=['begun', 'lazy'])
def stage(weir, request):
    made = []

    def make(**kw):
        made.append(Stage(weir, **{'lazy_begin': request.param, **kw}))
        made[-1].is_lazy = bool(request.param)
        return made[-1]
    yield make
    for s in made:
        s.close()


ONCE = {'replay_begun': 1, 'replay_ok': 1}
MISMATCH = {'replay_begun': 1, 'replay_mismatch': 1}
OK_IDLE = tag('UPDATE 1', 'I')


# ---- 2.2, first row: an implicit unit ------------------------------------------------------

@pytest.mark.parametrize('unit, failed, good', rows([
    ('simple', WRITE, FAILS_IDLE, OK_IDLE),
    ('after its CommandComplete', WRITE, complete('UPDATE 1') + FAILS_IDLE, OK_IDLE),
    ('extended', x('UPDATE t'), msg('1') + msg('2') + msg('n') + FAILS_IDLE, x_told('UPDATE 1', 'I')),
    ('extended, complete', x('UPDATE t'), msg('1') + msg('2') + msg('n') + complete('UPDATE 1') + FAILS_IDLE,
     x_told('UPDATE 1', 'I')),
    ('deadlock', WRITE, error('40P01') + ready('I'), OK_IDLE),
    ('two statements', query('SELECT 1; UPDATE t SET a = 1'), result() + FAILS_IDLE, result() + OK_IDLE),
]))
def test_implicit_is_run_again(stage, unit, failed, good):
    st = stage()
    st.ask(unit)
    st.get(unit)
    st.say(failed)
    st.get(unit)
    st.say(good)
    st.told(good)
    st.end()


@pytest.mark.parametrize('unit, failed', rows([
    ('status E', WRITE, FAILS),
    ('status T', WRITE, E1 + ready('T')),
    ('ins; BEGIN; raise', query('INSERT INTO t VALUES (1); BEGIN; SELECT raise()'),
     complete('INSERT 0 1') + complete('BEGIN') + FAILS),
    ('ins; BEGIN; raise, idle', query('INSERT INTO t VALUES (1); BEGIN; SELECT raise()'),
     complete('INSERT 0 1') + complete('BEGIN') + FAILS_IDLE),
    ('ins; COMMIT; raise', query('INSERT INTO t VALUES (1); COMMIT; SELECT raise()'),
     complete('INSERT 0 1') + notice('there is no transaction in progress', '25P01') + complete('COMMIT') +
     FAILS_IDLE),
    ('tag COMMIT without the word', query('SELECT f()'), complete('COMMIT') + FAILS_IDLE),
    ('ins, BEGIN, raise, extended', parse('INSERT') + bind() + execute() + parse('BEGIN') + bind() + execute() +
     x('SELECT raise()'), (msg('1') + msg('2') + complete('INSERT 0 1') + msg('1') + msg('2') + complete('BEGIN') +
                           msg('1') + msg('2') + FAILS)),
    ('CALL', query('CALL p()'), FAILS_IDLE),
    ('DO', query('DO $$BEGIN END$$'), FAILS_IDLE),
    ('VACUUM', query('VACUUM t'), FAILS_IDLE),
    ('ANALYZE', query('ANALYZE t'), FAILS_IDLE),
    ('CLUSTER', query('CLUSTER t'), FAILS_IDLE),
    ('REINDEX', query('REINDEX TABLE t'), FAILS_IDLE),
    ('CREATE TABLE', query('CREATE TABLE u (a int)'), FAILS_IDLE),
    ('CREATE INDEX CONCURRENTLY', query('CREATE INDEX CONCURRENTLY ON t (a)'), FAILS_IDLE),
    ('CREATE DATABASE', query('CREATE DATABASE d'), FAILS_IDLE),
    ('DROP DATABASE', query('DROP DATABASE d'), FAILS_IDLE),
    ('ALTER SYSTEM', query('ALTER SYSTEM SET work_mem = 1'), FAILS_IDLE),
    ('FunctionCall', function_call(1), FAILS_IDLE),
    ('COPY TO', query('COPY t TO STDOUT'), FAILS_IDLE),
    ('COPY FROM', query('COPY t FROM STDIN'), FAILS_IDLE),
    ('LISTEN', query('LISTEN c'), FAILS_IDLE),
    ('VACUUM, ins, extended', parse('VACUUM') + bind() + execute() + x('INSERT'),
     msg('1') + msg('2') + complete('VACUUM') + msg('1') + msg('2') + FAILS_IDLE),
]))
def test_implicit_is_never_run_again(stage, unit, failed):
    st = stage()
    st.through(unit, failed)
    if failed.endswith(ready('E')):
        st.still_failed()
    elif failed.endswith(ready('T')):
        st.rollback()
    st.end()


def test_implicit_on_cockroachdb_before_anything_was_complete(stage):
    st = stage(params=CRDB)
    unit = query('SELECT 1; UPDATE t SET a = 1')
    st.ask(unit)
    st.get(unit)
    st.say(FAILS_IDLE)
    st.get(unit)
    st.say(result() + OK_IDLE)
    st.told(result() + OK_IDLE)
    st.through(unit, result() + FAILS_IDLE)     # each commits for itself
    st.end()


# ---- 2.2, second row: a statement inside a transaction -----------------------------------------

IN_BLOCK = [
    ('simple', WRITE, FAILS, WRITE_OK),
    ('deadlock', WRITE, error('40P01', 'deadlock detected') + ready('E'), WRITE_OK),
    ('localised severity', WRITE, error('40001', severity='FEHLER', v='ERROR') + ready('E'), WRITE_OK),
    ('after its CommandComplete', WRITE, complete('UPDATE 1') + FAILS, WRITE_OK),
    ('after some rows', READ2, row_description('v') + data_row('1') + data_row('2') + FAILS, READ2_OK),
    ('after a notice', WRITE, notice('hm') + FAILS, WRITE_OK),
    ('with another notice', WRITE, notice('hm') + FAILS, notice('ah') + WRITE_OK),
    ('settings told in between', WRITE, E1 + parameter('TimeZone', 'UTC') + ready('E'), WRITE_OK),
    ('several statements', query('SELECT 1; UPDATE t SET a = 1'), result() + FAILS, result() + WRITE_OK),
    ('extended', x('UPDATE t'), msg('1') + msg('2') + msg('n') + FAILS, x_told('UPDATE 1')),
    ('extended, complete', x('UPDATE t'), msg('1') + msg('2') + msg('n') + complete('UPDATE 1') + FAILS,
     x_told('UPDATE 1')),
    ('extended, at its Parse', x('UPDATE t'), FAILS, x_told('UPDATE 1')),
    ('extended, two of one unit', x('UPDATE t')[:-5] + x('SELECT 1'),
     x_told('UPDATE 1')[:-6] + msg('1') + msg('2') + FAILS,
     x_told('UPDATE 1')[:-6] + x_told('SELECT 1', value='1')),
    ('CALL', query('CALL p()'), FAILS, tag('CALL')),
    ('DO', query('DO $$BEGIN END$$'), FAILS, tag('DO')),
    ('CREATE TABLE', query('CREATE TABLE u (a int)'), FAILS, tag('CREATE TABLE')),
    ('LOCK', query('LOCK TABLE t'), FAILS, tag('LOCK TABLE')),
]


@pytest.mark.parametrize('unit, failed, good', rows(IN_BLOCK))
@pytest.mark.parametrize('log', rows([
    ('only BEGIN', []), ('one', [(READ, READ_OK)]),
    ('three', [(READ, READ_OK), (x('SELECT 1'), x_told('SELECT 1', value='1')), (WRITE2, WRITE2_OK)])]))
def test_statement(stage, log, unit, failed, good):
    st = stage()
    st.begin()
    for u, a in log:
        st.one(u, a)
    st.replayed(unit, failed, good)
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('status', 'IT')
@pytest.mark.parametrize('unit, failed, good', rows(IN_BLOCK))
def test_statement_with_another_status(stage, unit, failed, good, status):
    """I: the block has ended some other way; T: it has not been aborted."""
    st = stage()
    st.start()
    st.passed_on(unit, failed[:-6] + ready(status))
    st.end()


@pytest.mark.parametrize('code', ['40000', '40002', '40003', '08007', '57014', '55P03', '23505', '23P01', '25P02',
                                  'XXA00', 'P0001', '0A000', '57P01'])
def test_statement_with_another_error(stage, code):
    st = stage()
    st.start()
    st.passed_on(WRITE, error(code) + ready('E'))
    st.end()


@pytest.mark.parametrize('conf', [{'retry_codes': '40001'}])
def test_code_that_is_not_listed(stage, conf):
    st = stage(**conf)
    st.start()
    st.passed_on(WRITE, error('40P01') + ready('E'))
    st.end()


@pytest.mark.parametrize('conf', rows([
    ('off', {'retry': 'off'}), ('observe', {'retry': 'observe'}), ('implicit', {'retry': 'implicit'}),
    ('off for the database', {'dbkw': {'retry': 'off'}}),
    ('implicit for the user', {'users': {'app': 'retry=implicit'}}),
]))
def test_where_it_is_not_wanted(stage, conf):
    st = stage(**conf)
    st.start()
    st.passed_on()
    st.start()
    st.passed_on(COMMIT, FAILS_IDLE)
    st.end()


@pytest.mark.parametrize('conf', rows([
    ('for the database', {'retry': 'off', 'dbkw': {'retry': 'replay'}}),
    ('for the user', {'retry': 'off', 'users': {'app': 'retry=replay'}}),
]))
def test_where_it_is_wanted(stage, conf):
    st = stage(**conf)
    st.start()
    st.replayed()
    st.commit()
    st.end(**ONCE)


# ---- 2.2, third row: a unit that begins with BEGIN ------------------------------------------------

def jdbc(*sqls, begin='BEGIN'):
    """BEGIN and these in one unit."""
    return parse(begin) + bind() + execute() + b''.join(x(s)[:-5] for s in sqls) + sync()


def jdbc_told(*tags, status='T'):
    return msg('1') + msg('2') + complete('BEGIN') + b''.join(x_told(t)[:-6] for t in tags) + ready(status)


UP = 'UPDATE t SET a = 1'
BEGUN = complete('BEGIN')
ALL_OK = BEGUN + complete('UPDATE 1') + COMMIT_OK
WITH_BEGIN = [
    ('BEGIN; UPDATE', query('BEGIN; ' + UP), BEGUN + FAILS, BEGUN + WRITE_OK),
    ('BEGIN; SELECT; UPDATE', query('BEGIN; SELECT 1; ' + UP), BEGUN + result() + FAILS,
     BEGUN + result() + WRITE_OK),
    ('START TRANSACTION', query('START TRANSACTION; ' + UP), complete('START TRANSACTION') + FAILS,
     complete('START TRANSACTION') + WRITE_OK),
    ('with a level', query('BEGIN ISOLATION LEVEL SERIALIZABLE; ' + UP), BEGUN + FAILS, BEGUN + WRITE_OK),
    ('all in one, statement', query('BEGIN; %s; COMMIT' % UP), BEGUN + FAILS, ALL_OK),
    ('all in one, COMMIT', query('BEGIN; %s; COMMIT' % UP), BEGUN + complete('UPDATE 1') + FAILS_IDLE, ALL_OK),
    ('all in one, END', query('BEGIN; %s; END' % UP), BEGUN + complete('UPDATE 1') + FAILS_IDLE, ALL_OK),
    ('extended', jdbc(UP), msg('1') + msg('2') + BEGUN + msg('1') + msg('2') + msg('n') + FAILS,
     jdbc_told('UPDATE 1')),
    ('extended, all in one, statement', jdbc(UP, 'COMMIT'), msg('1') + msg('2') + BEGUN + msg('1') + FAILS,
     jdbc_told('UPDATE 1', 'COMMIT', status='I')),
    ('extended, all in one, COMMIT', jdbc(UP, 'COMMIT'),
     jdbc_told('UPDATE 1')[:-6] + msg('1') + msg('2') + msg('n') + FAILS_IDLE,
     jdbc_told('UPDATE 1', 'COMMIT', status='I')),
]


@pytest.mark.parametrize('unit, failed, good', rows(WITH_BEGIN))
def test_unit_with_its_begin(stage, unit, failed, good):
    """The log is empty: ROLLBACK if there is something to roll back, and the unit again."""
    st = stage()
    st.fails(unit, failed)
    st.get(unit)
    st.say(good)
    st.told(good)
    if good.endswith(ready('T')):
        st.log.append((unit, good))
        st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
    st.over()


@pytest.mark.parametrize('times', [1, 2, 3])
@pytest.mark.parametrize('unit, failed, good', rows(WITH_BEGIN))
def test_unit_with_its_begin_gives_up(stage, times, unit, failed, good):
    """It has what it got, and the server the state of it."""
    st = stage(retry_max_attempts=times)
    st.fails(unit, failed)
    for i in range(times):
        st.get(unit)
        st.say(failed)
        if failed.endswith(ready('E')) and i < times - 1:
            st.undo()
    st.told(failed)
    if failed.endswith(ready('E')):
        st.still_failed()
    st.over()


@pytest.mark.parametrize('unit, failed', rows([
    ('status T', query('BEGIN; ' + UP), BEGUN + E1 + ready('T')),
    ('all in one, status T', query('BEGIN; %s; COMMIT' % UP), BEGUN + E1 + ready('T')),
    ('tag COMMIT before the error', query('BEGIN; SELECT f()'), BEGUN + complete('COMMIT') + FAILS_IDLE),
    ('tag COMMIT, and begun anew', query('BEGIN; SELECT f()'), BEGUN + complete('COMMIT') + FAILS),
    ('COMMIT before the end', query('BEGIN; %s; COMMIT; SELECT 1' % UP), BEGUN + FAILS),
    ('COMMIT before the end, done', query('BEGIN; %s; COMMIT; SELECT 1' % UP),
     BEGUN + complete('UPDATE 1') + complete('COMMIT') + FAILS_IDLE),
    ('COMMIT; BEGIN', query('BEGIN; %s; COMMIT; BEGIN; %s' % (UP, UP)), BEGUN + FAILS),
    ('COMMIT; BEGIN, done', query('BEGIN; %s; COMMIT; BEGIN; %s' % (UP, UP)),
     BEGUN + complete('UPDATE 1') + complete('COMMIT') + BEGUN + FAILS),
    ('ROLLBACK at the end', query('BEGIN; %s; ROLLBACK' % UP), BEGUN + FAILS),
    ('COMMIT AND CHAIN', query('BEGIN; %s; COMMIT AND CHAIN' % UP), BEGUN + FAILS),
    ('BEGIN twice', query('BEGIN; BEGIN; ' + UP), BEGUN + BEGUN + FAILS),
    ('SAVEPOINT', query('BEGIN; SAVEPOINT a; ' + UP), BEGUN + complete('SAVEPOINT') + FAILS),
    ('PREPARE TRANSACTION', query("BEGIN; %s; PREPARE TRANSACTION 'p'" % UP),
     BEGUN + complete('UPDATE 1') + FAILS_IDLE),
    ('before BEGIN', query('SELECT 1; BEGIN; ' + UP), result() + BEGUN + FAILS),
    ('COMMIT before BEGIN', query('COMMIT; BEGIN; ' + UP), complete('COMMIT') + BEGUN + FAILS),
    ('LISTEN', query('BEGIN; LISTEN c; ' + UP), BEGUN + complete('LISTEN') + FAILS),
    ('advisory lock', query('BEGIN; SELECT pg_advisory_xact_lock(1); ' + UP), BEGUN + result() + FAILS),
    ('COPY', query('BEGIN; COPY t TO STDOUT; ' + UP),
     BEGUN + msg('H', b'\0\0\0') + copy_done() + complete('COPY 0') + FAILS),
    ('extended, COMMIT before the end', jdbc(UP, 'COMMIT', UP), msg('1') + msg('2') + BEGUN + msg('1') + FAILS),
    ('extended, COMMIT before the end, done', jdbc(UP, 'COMMIT', UP),
     jdbc_told('UPDATE 1', 'COMMIT')[:-6] + FAILS_IDLE),
    ('extended, before BEGIN', x('SELECT 1')[:-5] + jdbc(UP),
     x_told('SELECT 1', value='1')[:-6] + msg('1') + msg('2') + BEGUN + FAILS),
]))
def test_unit_with_its_begin_never(stage, unit, failed):
    st = stage()
    st.passed_on(unit, failed)
    st.end()


@pytest.mark.parametrize('unit, good', rows([
    ('SELECT; BEGIN', query('SELECT 1; BEGIN'), result() + BEGIN_OK),
    ('COMMIT; BEGIN', query('COMMIT; BEGIN'), complete('COMMIT') + BEGIN_OK),
    ('BEGIN; COMMIT; BEGIN', query('BEGIN; COMMIT; BEGIN'), BEGUN + complete('COMMIT') + BEGIN_OK),
    ('BEGIN; SAVEPOINT', query('BEGIN; SAVEPOINT a'), BEGUN + tag('SAVEPOINT')),
    ('extended: SELECT, BEGIN', x('SELECT 1')[:-5] + x('BEGIN'), x_told('SELECT 1', value='1')[:-6] + x_told('BEGIN')),
    ('a function that begins one', query('SELECT f()'), row('1')),
]))
def test_log_begins_with_begin_only(stage, unit, good):
    """What was begun otherwise is not replayed later either."""
    st = stage()
    st.through(unit, good)
    st.passed_on()
    st.end()


@pytest.mark.parametrize('unit, good', rows([(n, u, g) for n, u, _, g in WITH_BEGIN if g.endswith(ready('T'))]))
def test_log_begins_with_more_than_begin(stage, unit, good):
    """It is one entry of the log, sent first and waited for."""
    st = stage()
    st.one(unit, good)
    st.one(READ, READ_OK)
    st.replayed()
    st.commit()
    st.end(**ONCE)


# ---- 2.2, fourth row: COMMIT ---------------------------------------------------------------------

COMMITS = [
    ('COMMIT', COMMIT, FAILS_IDLE, COMMIT_OK), ('END', query('END'), FAILS_IDLE, COMMIT_OK),
    ('commit work;', query('commit work;'), FAILS_IDLE, COMMIT_OK),
    ('END TRANSACTION', query('/* over */ END TRANSACTION'), FAILS_IDLE, COMMIT_OK),
    ('deadlock', COMMIT, error('40P01') + ready('I'), COMMIT_OK),
    ('settings told in between', COMMIT, E1 + parameter('TimeZone', 'UTC') + ready('I'), COMMIT_OK),
    ('extended', x('COMMIT'), msg('1') + msg('2') + msg('n') + FAILS_IDLE, x_told('COMMIT', 'I')),
    ('extended, not described', parse('COMMIT') + bind() + execute() + sync(), msg('1') + msg('2') + FAILS_IDLE,
     msg('1') + msg('2') + COMMIT_OK),
]


@pytest.mark.parametrize('unit, failed, good', rows(COMMITS))
@pytest.mark.parametrize('log', [[(WRITE, WRITE_OK)], [(READ, READ_OK), (WRITE, WRITE_OK), (READ2, READ2_OK)]],
                         ids=['one', 'three'])
def test_commit(stage, log, unit, failed, good):
    """It is sent when all the others are known to be as they were, and not before."""
    st = stage()
    st.start(*log)
    st.fails(unit, failed)
    st.redo()
    st.get(unit)
    st.say(good)
    st.told(good)
    st.end(**ONCE)


@pytest.mark.parametrize('unit, failed, status', rows(
    [(n + '-T', u, f, 'T') for n, u, f, _ in COMMITS] + [(n + '-E', u, f, 'E') for n, u, f, _ in COMMITS[-2:]]))
def test_commit_with_another_status(stage, unit, failed, status):
    st = stage()
    st.start()
    st.passed_on(unit, failed[:-6] + ready(status))
    st.end()


@pytest.mark.parametrize('code', ['23505', '40003', '08007', '40002', '57014'])
def test_commit_with_another_error(stage, code):
    """Deferred constraints: the true answer."""
    st = stage()
    st.start()
    st.passed_on(COMMIT, error(code) + ready('I'))
    st.end()


def test_commit_that_was_one(stage):
    """Tag COMMIT, and then the error."""
    st = stage()
    st.start()
    st.passed_on(COMMIT, complete('COMMIT') + FAILS_IDLE)
    st.end()


@pytest.mark.parametrize('unit, failed', rows([
    ('PREPARE TRANSACTION', query("PREPARE TRANSACTION 'p'"), FAILS_IDLE),
    ('PREPARE TRANSACTION, E', query("PREPARE TRANSACTION 'p'"), FAILS),
    ('PREPARE TRANSACTION, extended', x("PREPARE TRANSACTION 'p'"), msg('1') + msg('2') + msg('n') + FAILS_IDLE),
    ('COMMIT; SELECT', query('COMMIT; SELECT 1'), complete('COMMIT') + FAILS_IDLE),
    ('ins; COMMIT; raise', query('INSERT INTO t VALUES (1); COMMIT; SELECT raise()'),
     complete('INSERT 0 1') + complete('COMMIT') + FAILS_IDLE),
    ('ins, COMMIT, raise, extended', x('INSERT')[:-5] + x('COMMIT')[:-5] + x('SELECT raise()'),
     x_told('INSERT 0 1')[:-6] + x_told('COMMIT')[:-6] + msg('1') + msg('2') + FAILS_IDLE),
    ('ins, COMMIT, raise, extended, at the first', x('INSERT')[:-5] + x('COMMIT')[:-5] + x('SELECT raise()'),
     msg('1') + msg('2') + FAILS),
    ('COMMIT AND CHAIN', query('COMMIT AND CHAIN'), FAILS_IDLE),
    ('COMMIT AND CHAIN, E', query('COMMIT AND CHAIN'), FAILS),
    ('ROLLBACK', ROLLBACK, FAILS_IDLE),
    ('ROLLBACK AND CHAIN', query('ROLLBACK AND CHAIN'), FAILS),
    ('COMMIT; BEGIN', query('COMMIT; BEGIN'), complete('COMMIT') + FAILS),
]))
def test_other_ends_are_never_repeated(stage, unit, failed):
    st = stage()
    st.start((READ, READ_OK))
    st.passed_on(unit, failed)
    st.end()


@pytest.mark.parametrize('chain, told', rows([
    ('COMMIT AND CHAIN', query('COMMIT AND CHAIN'), tag('COMMIT')),
    ('ROLLBACK AND CHAIN', query('ROLLBACK AND CHAIN'), tag('ROLLBACK')),
    ('COMMIT AND CHAIN, extended', x('COMMIT AND CHAIN'), x_told('COMMIT')),
    ('a COMMIT nobody asked for', query('SELECT f()'), tag('COMMIT')),
    ('COMMIT; BEGIN', query('COMMIT; BEGIN'), complete('COMMIT') + BEGIN_OK),
]))
def test_behind_the_end_of_a_block(stage, chain, told):
    """Status T, and another transaction: not replayed until it is over, and the next is."""
    st = stage()
    st.start()
    st.through(chain, told)
    st.passed_on()
    st.start()
    st.through(chain, told)
    st.passed_on(COMMIT, FAILS_IDLE)
    st.start()
    st.replayed()
    st.commit()
    st.end(**ONCE)


# ---- 2.2, last: FATAL ---------------------------------------------------------------------------

@pytest.mark.parametrize('severity', ['FATAL', 'PANIC'])
def test_fatal_is_a_loss(stage, severity):
    """A hot standby that cannot keep its session: told once, and honoured to the ROLLBACK."""
    st = stage()
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.lose(error('40001', 'due to conflict with recovery', severity=severity), for_good=False)
    assert shape(st.c.until()) == 'E:40001 Z:E'
    assert shape(st.c.ask(READ)) == 'E:25P02 Z:E'
    assert shape(st.c.ask(ROLLBACK)) == 'C:ROLLBACK Z:I'
    st.log = []
    st.end()


def test_fatal_at_commit(stage):
    st = stage()
    st.start()
    st.ask(COMMIT)
    st.get(COMMIT)
    st.lose(error('40001', 'due to conflict with recovery', severity='FATAL'), for_good=False)
    assert shape(st.c.until()) in ('E:40001 Z:I', 'E:40003 Z:I')
    st.log = []
    st.end()


# ---- 2.3: shapes of the protocol --------------------------------------------------------------------

def test_flush_lets_out_and_the_prefix_is_compared(stage):
    st = stage()
    st.start()
    st.ask(parse('SELECT 1'), bind(), execute(), flush())
    st.get(parse('SELECT 1'), bind(), execute(), flush())
    seen = msg('1') + msg('2') + data_row('1') + complete('SELECT 1')
    st.say(seen)
    st.told(seen)
    st.ask(sync())
    st.get(sync())
    st.say(FAILS)
    st.undo()
    st.redo()
    unit = parse('SELECT 1') + bind() + execute() + flush() + sync()
    st.get(unit)
    st.say(seen)
    st.nothing_comes()
    st.say(ready('T'))
    st.told(ready('T'))
    st.log.append((unit, seen + ready('T')))
    st.replayed()
    st.commit()
    st.end(replay_begun=2, replay_ok=2)


PREFIX = [msg('1'), msg('2'), data_row('1'), complete('SELECT 1')]


@pytest.mark.parametrize('n', range(1, 5))
def test_flush_prefix_of_any_length(stage, n):
    """Only the messages that came before the Sync are seen; those behind it may differ."""
    st = stage()
    st.start()
    parts = [parse('SELECT 1'), bind(), execute()]
    before, behind = parts[:min(n, 3)] + [flush()], parts[min(n, 3):]
    st.ask(*before)
    st.get(*before)
    seen = b''.join(PREFIX[:n])
    st.say(seen)
    st.told(seen)
    st.ask(*behind, sync())
    st.get(*behind, sync())
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(*before, *behind, sync())
    other = [msg('1'), msg('2'), data_row('9'), complete('SELECT 9')]
    good = b''.join(other[n:] if n < 3 else PREFIX[n:]) + ready('T')
    st.say(seen + good)
    st.told(good)
    st.log.append((b''.join(before + behind) + sync(), seen + good))
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('again', rows([
    ('another row', msg('1') + msg('2') + data_row('2') + complete('SELECT 1') + ready('T')),
    ('a row less', msg('1') + msg('2') + complete('SELECT 0') + ready('T')),
    ('a row more', msg('1') + msg('2') + data_row('1') + data_row('2') + complete('SELECT 2') + ready('T')),
    ('a notice', msg('1') + notice('hm') + msg('2') + data_row('1') + complete('SELECT 1') + ready('T')),
    ('another error, early', msg('1') + error('23505') + ready('E')),
]))
def test_flush_prefix_that_differs(stage, again):
    """Nothing of it is passed on; the client gets the error that it would have got."""
    st = stage()
    st.start()
    unit = parse('SELECT 1') + bind() + execute() + flush()
    st.ask(unit)
    st.get(unit)
    seen = b''.join(PREFIX)
    st.say(seen)
    st.told(seen)
    st.ask(sync())
    st.get(sync())
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(unit, sync())
    st.say(again)
    st.gives_up(FAILS)
    st.end(**MISMATCH)


def test_flush_other_error_behind_the_prefix(stage):
    """The true answer."""
    st = stage()
    st.start()
    unit = parse('SELECT 1') + bind() + execute() + flush()
    st.ask(unit)
    st.get(unit)
    seen = b''.join(PREFIX)
    st.say(seen)
    st.told(seen)
    st.ask(sync())
    st.get(sync())
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(unit, sync())
    late = error('23505') + ready('E')
    st.say(seen + late)
    st.told(late)
    st.still_failed()


@pytest.mark.parametrize('before', [b'', msg('1'), msg('1') + msg('2'), msg('1') + msg('2') + data_row('1')],
                         ids=['first', 'Parse', 'Bind', 'row'])
def test_error_before_the_sync_is_passed_on(stage, before):
    """The client waits for it. Nothing can be replayed behind it."""
    st = stage()
    st.start()
    unit = parse('SELECT 1') + bind() + execute() + flush()
    st.ask(unit)
    st.get(unit)
    st.say(before + E1)
    st.told(before + E1)
    st.ask(sync())
    st.get(sync())
    st.say(ready('E'))
    st.told(ready('E'))
    st.still_failed()
    st.start()
    st.replayed()
    st.commit()
    st.end(**ONCE)


def test_flush_in_a_unit_of_the_log(stage):
    """Let out early, or at once: it is the same unit."""
    st = stage()
    st.start()
    unit = parse('SELECT 1') + bind() + execute() + flush()
    st.ask(unit)
    st.get(unit)
    seen = b''.join(PREFIX)
    st.say(seen)
    st.told(seen)
    st.ask(sync())
    st.get(sync())
    st.say(ready('T'))
    st.told(ready('T'))
    st.log.append((unit + sync(), seen + ready('T')))
    st.replayed()
    st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
    st.end(replay_begun=2, replay_ok=2)


def test_flush_of_begin(stage):
    """BEGIN and a Flush, as asyncpg and others do: the Sync comes when all is known."""
    st = stage()
    first = parse('BEGIN') + bind() + execute() + flush()
    st.ask(first)
    st.get(first)
    seen = msg('1') + msg('2') + BEGUN
    st.say(seen)
    st.told(seen)
    st.ask(x(UP))
    st.get(x(UP))
    st.say(msg('1') + msg('2') + msg('n') + FAILS)
    st.undo()
    st.get(first, x(UP))
    st.say(seen + x_told('UPDATE 1'))
    st.told(x_told('UPDATE 1'))
    st.log.append((first + x(UP), seen + x_told('UPDATE 1')))
    st.commit()


def test_several_syncs_at_once(stage):
    """One unit is in flight; the others wait until it has been answered."""
    st = stage()
    st.start()
    st.ask(x(UP) + x('SELECT 1') + x('COMMIT'))
    st.get(x(UP))
    st.say(msg('1') + msg('2') + FAILS)
    st.undo()
    st.redo()
    st.get(x(UP))
    st.say(x_told('UPDATE 1'))
    st.told(x_told('UPDATE 1'))
    st.get(x('SELECT 1'))
    st.say(x_told('SELECT 1', value='1'))
    st.told(x_told('SELECT 1', value='1'))
    st.get(x('COMMIT'))
    st.say(x_told('COMMIT', 'I'))
    st.told(x_told('COMMIT', 'I'))
    st.end(**ONCE)


def test_copy_from(stage):
    st = stage()
    st.start()
    st.ask(query('COPY t FROM STDIN'))
    st.get(query('COPY t FROM STDIN'))
    st.say(msg('G', b'\0\0\0'))
    st.told(msg('G', b'\0\0\0'))
    st.ask(copy_data('1\n'), copy_done())
    st.get(copy_data('1\n'), copy_done())
    st.say(tag('COPY 1'))
    st.told(tag('COPY 1'))
    st.passed_on()
    st.start()
    st.ask(query('COPY t FROM STDIN'))
    st.get(query('COPY t FROM STDIN'))
    st.say(msg('G', b'\0\0\0'))
    st.told(msg('G', b'\0\0\0'))
    st.ask(copy_data('1\n'), copy_done())
    st.get(copy_data('1\n'), copy_done())
    st.say(FAILS)
    st.told(FAILS)
    st.still_failed()
    st.end()


def test_copy_to(stage):
    st = stage()
    out = msg('H', b'\0\0\0') + copy_data('1\n')
    st.start()
    st.ask(query('COPY t TO STDOUT'))
    st.get(query('COPY t TO STDOUT'))
    st.say(out)
    st.told(out)        # not held
    st.say(FAILS)
    st.told(FAILS)
    st.still_failed()
    st.start()
    st.through(query('COPY t TO STDOUT'), out + copy_done() + tag('COPY 1'))
    st.passed_on()
    st.end()


def test_function_call(stage):
    st = stage()
    st.start()
    st.through(function_call(1, 2), msg('V', b'\0\0\0\1x') + ready('T'))
    st.passed_on()
    st.end()


def test_function_call_that_fails(stage):
    st = stage()
    st.start()
    st.passed_on(function_call(1, 2), FAILS)
    st.end()


@pytest.mark.parametrize('sql', ['CREATE CHANGEFEED FOR t', 'EXPERIMENTAL CHANGEFEED FOR t'])
def test_changefeed_is_not_held(stage, sql):
    st = stage(params=CRDB, retry_hold_time=60)
    st.ask(query(sql))
    st.get(query(sql))
    st.say(row_description('v') + data_row('1'))
    st.told(row_description('v') + data_row('1'))
    st.say(FAILS_IDLE)
    st.told(FAILS_IDLE)
    st.end()


# ---- 4.2: what disarms ---------------------------------------------------------------------------------

# statement, its tag, and whether it can be one of several in a text
DISARMS = [(sql, tagged) for sql, tagged in [
    ('PREPARE p AS SELECT 1', 'PREPARE'), ('EXECUTE p', 'SELECT 0'), ('DEALLOCATE p', 'DEALLOCATE'),
    ('DEALLOCATE ALL', 'DEALLOCATE ALL'), ('DISCARD PLANS', 'DISCARD PLANS'), ('LISTEN c', 'LISTEN'),
    ('UNLISTEN c', 'UNLISTEN'), ('UNLISTEN *', 'UNLISTEN'), ("LOAD 'x'", 'LOAD'), ('CHECKPOINT', 'CHECKPOINT'),
    ("SET TRANSACTION SNAPSHOT '1-1'", 'SET'),
    ('FETCH 1 FROM earlier', 'FETCH 1'), ('MOVE 10 IN earlier', 'MOVE 10'), ('CLOSE earlier', 'CLOSE CURSOR'),
    ('DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'DECLARE CURSOR'),
    ('SELECT pg_advisory_lock(1)', 'SELECT 0'), ('SELECT pg_try_advisory_lock(1)', 'SELECT 0'),
    ('SELECT pg_advisory_unlock(1)', 'SELECT 0'), ('SELECT pg_advisory_unlock_all()', 'SELECT 0'),
    ('SELECT pg_advisory_xact_lock(1)', 'SELECT 0'), ('SELECT pg_try_advisory_xact_lock(1)', 'SELECT 0'),
    ('SELECT pg_advisory_xact_lock_shared(1)', 'SELECT 0'),
    ('SELECT "pg_advisory_xact_lock"(1)', 'SELECT 0'),
    ('SELECT pg_catalog . pg_advisory_xact_lock /* */ (1)', 'SELECT 0'),
    ("SELECT setval('s', 1)", 'SELECT 0'), ("SELECT dblink_exec('x')", 'SELECT 0'),
    ("SELECT lo_export(1, 'x')", 'SELECT 0'), ("SELECT pg_logical_emit_message(false, 'a', 'b')", 'SELECT 0'),
    ('SELECT pg_terminate_backend(1)', 'SELECT 0'), ('SELECT pg_export_snapshot()', 'SELECT 0'),
    ('SELECT careful()', 'SELECT 0'),
    ('SAVEPOINT cockroach_restart', 'SAVEPOINT'), ('SAVEPOINT "cockroach_restart"', 'SAVEPOINT'),
    ('VACUUM t', 'VACUUM'),
    ("COPY t TO PROGRAM 'x'", 'COPY 0'), ("COPY t FROM '/x'", 'COPY 0'),
]]


@pytest.mark.parametrize('how', ['simple', 'extended', 'with another', 'behind another'])
@pytest.mark.parametrize('sql, tagged', DISARMS, ids=[d[0] for d in DISARMS])
def test_disarms(stage, sql, tagged, how):
    """In a unit that went well: what fails behind it is passed on."""
    st = stage(retry_deny_functions='other, careful')
    st.start()
    if how == 'simple':
        st.through(query(sql), tag(tagged))
    elif how == 'extended':
        st.through(x(sql), x_told(tagged))
    elif how == 'with another':
        st.through(query(sql + '; SELECT 1'), complete(tagged) + row('1'))
    else:
        st.through(query('SELECT 1; ' + sql), result() + tag(tagged))
    st.passed_on()
    st.counts()


@pytest.mark.parametrize('how', ['simple', 'extended', 'behind another'])
@pytest.mark.parametrize('sql, tagged', DISARMS, ids=[d[0] for d in DISARMS])
def test_disarms_in_the_unit_that_fails(stage, sql, tagged, how):
    st = stage(retry_deny_functions='other, careful')
    st.start()
    if how == 'simple':
        st.passed_on(query(sql), FAILS)
    elif how == 'extended':
        st.passed_on(x(sql), msg('1') + msg('2') + FAILS)
    else:
        st.passed_on(query('SELECT 1; ' + sql), result() + FAILS)
    st.counts()


@pytest.mark.parametrize('sql', [
    'CREATE INDEX CONCURRENTLY ON t (a)', 'DROP INDEX CONCURRENTLY i', 'REINDEX INDEX CONCURRENTLY i',
    'CREATE DATABASE d', 'DROP DATABASE d', 'ALTER SYSTEM SET work_mem = 1', 'CREATE TABLESPACE s LOCATION $$x$$'])
def test_definition_that_is_more_than_a_transaction(stage, sql):
    """A server refuses it inside of one, and that ends it for us."""
    st = stage()
    st.start((query('SAVEPOINT a'), tag('SAVEPOINT')))
    st.through(query(sql), error('25001') + ready('E'))
    st.through(query('ROLLBACK TO a'), tag('ROLLBACK'))
    st.through(query('RELEASE a'), tag('RELEASE'))
    st.passed_on()
    st.end()


CRDB_ONLY = [('SET work_mem = 1', 'SET'), ('RESET work_mem', 'RESET'), ('RESET ALL', 'RESET'),
             ('SET SESSION work_mem = 1', 'SET'), ("SELECT set_config('a.b', 'c', false)", 'SELECT 0'),
             ('SET force_savepoint_restart = on', 'SET'), ('CREATE TABLE u (a int)', 'CREATE TABLE'),
             ('ALTER TABLE t ADD b int', 'ALTER TABLE'), ('DROP TABLE t', 'DROP TABLE'),
             ('TRUNCATE t', 'TRUNCATE'), ('CALL p()', 'CALL')]


@pytest.mark.parametrize('sql, tagged', CRDB_ONLY, ids=[d[0] for d in CRDB_ONLY])
def test_disarms_on_cockroachdb(stage, sql, tagged):
    """There a setting outlives a rollback, DDL commits, and CALL may."""
    st = stage(params=CRDB)
    st.start()
    st.through(query(sql), tag(tagged))
    st.passed_on()
    st.counts()


STAYS = [('SET LOCAL work_mem = 1', 'SET'), ('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'SET'),
         ('SET CONSTRAINTS ALL DEFERRED', 'SET CONSTRAINTS'),
         ("SELECT pg_notify('c', 'x')", 'SELECT 0'), ('SELECT nextval($$s$$)', 'SELECT 0'),
         ('EXPLAIN ANALYZE UPDATE t SET a = 1', 'EXPLAIN'),
         ('SHOW work_mem', 'SHOW'), ('VALUES (1)', 'SELECT 0'), ('WITH a AS (SELECT 1) SELECT * FROM a', 'SELECT 0'),
         ('MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE', 'MERGE 1'),
         ("SELECT 'LISTEN c', 'setval(1)'", 'SELECT 0'),
         ('SELECT 1 /* setval(1) */', 'SELECT 0'), ('SELECT 1 AS setval', 'SELECT 0'),
         ('SELECT pg_sleep(0)', 'SELECT 0'), ('DO $$BEGIN END$$', 'DO'), ('', None)]
STAYS_PG = STAYS + [('NOTIFY c', 'NOTIFY'), ('LOCK TABLE t', 'LOCK TABLE'),
                    ('CREATE TABLE u (a int)', 'CREATE TABLE'), ('TRUNCATE t', 'TRUNCATE TABLE'),
                    ('CALL p()', 'CALL'), ('ALTER TABLE t ADD b int', 'ALTER TABLE'),
                    ('CREATE INDEX ON t (a)', 'CREATE INDEX'), ('SELECT 1 INTO u', 'SELECT 1'),
                    ('SET search_path = x', 'SET'),
                    ('CREATE TEMP TABLE v (a int)', 'CREATE TABLE'),
                    ('CREATE TEMP TABLE w (a int) ON COMMIT DROP', 'CREATE TABLE')]


@pytest.mark.parametrize('crdb, sql, tagged', [
    pytest.param(c, s, t, id='%s: %s' % ('cockroachdb' if c else 'postgresql', s))
    for c, many in ((False, STAYS_PG), (True, STAYS)) for s, t in many if not (c and s.startswith('DO'))])
@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
def test_does_not_disarm(stage, crdb, sql, tagged, ext):
    """Rolled back like everything else, or the same again."""
    st = stage(params=CRDB if crdb else None)
    st.start()
    if sql:
        st.one(x(sql) if ext else query(sql), x_told(tagged) if ext else tag(tagged))
    else:
        st.one(x(sql) if ext else query(sql),
               (msg('1') + msg('2') + msg('n') if ext else b'') + msg('I') + ready('T'))
    st.replayed()
    st.counts(**ONCE)


def test_own_cursor(stage):
    """Declared in the transaction: it is where it was when the replay is through."""
    st = stage()
    st.start((query('DECLARE c CURSOR FOR SELECT 1'), tag('DECLARE CURSOR')),
             (query('FETCH 1 FROM c'), row('1', name='FETCH 1')),
             (query('MOVE 2 IN "c"'), tag('MOVE 2')))
    st.replayed(query('FETCH 1 FROM c'), FAILS, row('4', name='FETCH 1'))
    st.one(query('CLOSE C'), tag('CLOSE CURSOR'))
    st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
    st.end(replay_begun=2, replay_ok=2)


def test_more_was_done_than_was_asked_for(stage):
    """Two CommandCompletes for a text of one statement: it was not understood."""
    st = stage()
    st.start()
    st.through(query('SELECT 1'), result() + row('2'))
    st.passed_on()
    st.end()


def test_text_that_is_not_understood(stage):
    st = stage()
    st.start()
    st.through(query('SELECT 1 \\ 2'), row('1'))
    st.passed_on()
    st.end()


@pytest.mark.parametrize('params', rows([
    ('strings with backslashes', {'standard_conforming_strings': 'off'}),
    ('an encoding that hides quotes', {'client_encoding': 'SJIS'}),
]))
def test_text_that_is_read_otherwise(stage, params):
    """What the server takes for a string is not what the lexer does."""
    st = stage(params={**wire.PARAMS, **params})
    st.start()
    st.through(query("SELECT '\\' , ' '"), row('1'))
    st.passed_on()
    st.end()


# ---- 4.4: what is compared ---------------------------------------------------------------------------------

def result_of(*values, tagged=None, cols=('v',)):
    return (row_description(*cols) + b''.join(data_row(v) for v in values) +
            complete(tagged or 'SELECT %d' % len(values)) + ready('T'))


THREE = result_of('1', '2', '3')
OID = row_description('v').replace(b'\0\0\0\x19', b'\0\0\0\x17')
SAID = notice('one') + result_of('1')
TZ = complete('SET') + parameter('TimeZone', 'Asia/Tokyo') + ready('T')
DIFFERS = [
    ('T: a name', THREE, result_of('1', '2', '3', cols=('w',))),
    ('T: a type', THREE, OID + THREE[len(row_description('v')):]),
    ('T: a column more', result_of(), result_of(cols=('v', 'w'))),
    ('D: a value', THREE, result_of('1', '2', '4')),
    ('D: NULL', THREE, result_of('1', None, '3')),
    ('D: empty for NULL', result_of(None), result_of('')),
    ('D: longer', THREE, result_of('1', '2', '33')),
    ('D: shorter', THREE, result_of('1', '2', '')),
    ('D: cut otherwise', result_of('12', '3'), result_of('1', '23')),
    ('rows: their order', THREE, result_of('1', '3', '2')),
    ('rows: one more', result_of('1', '2', tagged='SELECT'), result_of('1', '2', '2', tagged='SELECT')),
    ('rows: one less', result_of('1', '2', tagged='SELECT'), result_of('1', tagged='SELECT')),
    ('rows: none', result_of('1', tagged='SELECT'), result_of(tagged='SELECT')),
    ('C: a count', tag('UPDATE 1'), tag('UPDATE 0')),
    ('C: a word', tag('SELECT 1'), tag('INSERT 1')),
    ('C: none', tag('SELECT 1'), msg('I') + ready('T')),
    ('C: one more', result() + row('2'), result() + result() + row('2')),
    ('N: its text', SAID, notice('two') + result_of('1')),
    ('N: its code', SAID, notice('one', '01000') + result_of('1')),
    ('N: one more', SAID, notice('one') + SAID),
    ('N: none', SAID, result_of('1')),
    ('N: at another place', SAID, result_of('1')[:-6] + notice('one') + ready('T')),
    ('S: its value', TZ, TZ.replace(b'Tokyo', b'Seoul')),
    ('S: none', TZ, tag('SET')),
    ('S: one more', tag('SET'), TZ),
    ('Z: I', THREE, THREE[:-6] + ready('I')),
    ('Z: E', THREE, THREE[:-6] + ready('E')),
    ('an error', THREE, error('23505') + ready('E')),
    ('an error behind the rows', THREE, THREE[:-6] + error('22012') + ready('E')),
    ('a copy', tag('COPY 0'), msg('H', b'\0\0\0') + copy_done() + tag('COPY 0')),
    ('a function', THREE, msg('V', b'\0\0\0\1x') + ready('T')),
]


@pytest.mark.parametrize('at', [0, 1, 2], ids=['first', 'second', 'last'])
@pytest.mark.parametrize('before, after', rows(DIFFERS))
def test_what_differs(stage, before, after, at):
    """One unit of the log does not come out as it was: the client gets its error, and
    the server is brought into the state that the client believes in."""
    st = stage()
    log = [(READ2, READ2_OK), (READ, READ_OK)]
    log.insert(at, (query('SELECT 3; SELECT 4'), before))
    st.start(*log)
    st.fails()
    st.redo(instead={at + 1: after})
    st.gives_up(FAILS)
    st.end(**MISMATCH)


@pytest.mark.parametrize('before, after', rows(DIFFERS))
def test_what_differs_before_a_commit(stage, before, after):
    """Its COMMIT is not sent, and the transaction is over."""
    st = stage()
    st.start((query('SELECT 3; SELECT 4'), before))
    st.fails(COMMIT, FAILS_IDLE)
    st.redo(instead={1: after})
    st.gives_up(FAILS_IDLE, in_block=False)
    st.end(**MISMATCH)


X1, X1_OK = x('SELECT v FROM t'), x_told('SELECT 2', value='1')
PARTS = [msg('1'), msg('2'), row_description('v'), data_row('1'), data_row('2'), complete('SELECT 2'), ready('T')]


@pytest.mark.parametrize('again', rows([
    ('a row less', PARTS[:4] + PARTS[5:]), ('a row twice', PARTS[:4] + PARTS[3:]),
    ('no rows', PARTS[:3] + PARTS[5:]), ('NoData', PARTS[:2] + [msg('n')] + PARTS[5:]),
    ('suspended', PARTS[:5] + [msg('s')] + PARTS[6:]),
    ('an error at its Parse', [error('42P01'), ready('E')]),
    ('an error at its Bind', PARTS[:1] + [error('22P02'), ready('E')]),
    ('an error at its Execute', PARTS[:4] + [error('22012'), ready('E')]),
]))
def test_what_differs_extended(stage, again):
    st = stage()
    st.start((X1, b''.join(PARTS)))
    st.fails()
    st.redo(instead={1: b''.join(again)})
    st.gives_up(FAILS)
    st.end(**MISMATCH)


@pytest.mark.parametrize('again', rows([
    ('no ParseComplete', PARTS[1:]), ('no BindComplete', PARTS[:1] + PARTS[2:]),
    ('no RowDescription', PARTS[:2] + PARTS[3:]), ('no CommandComplete', PARTS[:5] + PARTS[6:]),
    ('ParseComplete twice', PARTS[:1] + PARTS), ('BindComplete twice', PARTS[:2] + PARTS[1:]),
    ('CommandComplete twice', PARTS[:6] + PARTS[5:]), ('nothing', PARTS[6:]),
]))
def test_what_cannot_be(stage, again):
    """A server that breaks the protocol is left, and nothing of it is passed on."""
    st = stage(nodes=2)
    st.start((X1, b''.join(PARTS)))
    st.fails()
    st.redo(instead={1: b''.join(again)})
    st.another()
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(replay_begun=2, replay_ok=1, replay_lost=1)


def test_parameters_described_otherwise(stage):
    st = stage()
    unit = parse('SELECT $1') + describe('S', '') + sync()
    told = msg('1') + msg('t', b'\0\1\0\0\0\x17') + row_description('v') + ready('T')
    st.start((unit, told))
    st.fails()
    st.redo(instead={1: told.replace(b'\0\1\0\0\0\x17', b'\0\1\0\0\0\x19')})
    st.gives_up(FAILS)
    st.end(**MISMATCH)


def test_suspended_portal(stage):
    """Execute with a limit: PortalSuspended is a message like any."""
    st = stage()
    first = parse('SELECT v FROM t') + bind((), '', 'c') + execute('c', 1) + sync()
    some = msg('1') + msg('2') + data_row('1') + msg('s') + ready('T')
    more = execute('c', 1) + sync()
    for again, same in ((some, True), (msg('1') + msg('2') + data_row('1') + complete('SELECT 1') + ready('T'), False)):
        st.start((first, some), (more, data_row('2') + msg('s') + ready('T')))
        st.fails(more, FAILS)
        st.redo(instead={1: again})
        if same:
            st.get(more)
            st.say(data_row('3') + complete('SELECT 1') + ready('T'))
            st.told(data_row('3') + complete('SELECT 1') + ready('T'))
            st.commit()
        else:
            st.gives_up(FAILS)
    st.end(replay_begun=2, replay_ok=1, replay_mismatch=1)


@pytest.mark.parametrize('before, after', rows([d for d in DIFFERS if d[0].startswith('N: ')]))
def test_notices_need_not_be_compared(stage, before, after):
    st = stage(replay_compare_notices=0)
    st.start((query('SELECT 3; SELECT 4'), before))
    st.fails()
    st.redo(instead={1: after})
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('before, after', rows([d for d in DIFFERS if not d[0].startswith('N: ')]))
def test_everything_else_is_then_still_compared(stage, before, after):
    st = stage(replay_compare_notices=0)
    st.start((query('SELECT 3; SELECT 4'), before))
    st.fails()
    st.redo(instead={1: after})
    st.gives_up(FAILS)
    st.end(**MISMATCH)


A = msg('A', b'\0\0\0\1ch\0pay\0')


@pytest.mark.parametrize('before, after', rows([
    ('in the replay', THREE, A + THREE), ('in the middle of the replay', THREE, THREE[:-6] + A + ready('T')),
]))
def test_notifications_are_not_compared(stage, before, after):
    """They belong to no unit, and are neither lost nor doubled."""
    st = stage()
    st.start((READ, before))
    st.fails()
    st.redo(instead={1: after})
    st.get(WRITE)
    st.say(WRITE_OK)
    st.ask(COMMIT)
    st.get(COMMIT)
    st.say(COMMIT_OK)
    st.told_with_notifications(WRITE_OK + COMMIT_OK, A)
    st.end(**ONCE)


def test_notification_behind_the_rollback(stage):
    """The daemon's own ROLLBACK ends a transaction, and that is when a server tells."""
    st = stage()
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.say(FAILS)
    st.get(ROLLBACK)
    st.say(ROLLBACK_OK + A)
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.ask(COMMIT)
    st.get(COMMIT)
    st.say(COMMIT_OK)
    st.told_with_notifications(WRITE_OK + COMMIT_OK, A)
    st.end(**ONCE)


def test_settings_are_told_once(stage):
    """SET in the log: the abort tells the old value again, the replay the new one."""
    st = stage()
    st.start((query("SET TimeZone = 'Asia/Tokyo'"), TZ))
    st.fails(WRITE, E1 + parameter('TimeZone', 'UTC') + ready('E'))
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.counts(**ONCE)


def test_settings_told_by_the_rollback(stage):
    """Told in the answer to the ROLLBACK instead."""
    st = stage()
    st.start((query("SET TimeZone = 'Asia/Tokyo'"), TZ))
    st.ask(WRITE)
    st.get(WRITE)
    st.say(FAILS)
    st.get(ROLLBACK)
    st.say(complete('ROLLBACK') + parameter('TimeZone', 'UTC') + ready('I'))
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.counts(**ONCE)


def test_settings_told_when_it_gives_up(stage):
    """As they came with the error; not a second time."""
    st = stage()
    st.start((query("SET TimeZone = 'Asia/Tokyo'"), TZ), (READ, READ_OK))
    failed = E1 + parameter('TimeZone', 'UTC') + ready('E')
    st.fails(WRITE, failed)
    st.redo(instead={2: row('11')})
    st.get(ROLLBACK)
    st.say(complete('ROLLBACK') + parameter('TimeZone', 'UTC') + ready('I'))
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.get(GIVE_UP)
    st.say(NO_SAVEPOINT)
    st.told(failed)
    st.still_failed()
    st.counts(**MISMATCH)


def test_answer_to_begin_is_compared(stage):
    """Where the client got it from the server."""
    st = stage(lazy_begin=0)
    st.start()
    st.fails()
    st.redo(instead={0: notice('hm') + BEGIN_OK})
    st.gives_up(FAILS)
    st.end(**MISMATCH)


def test_pieces_do_not_matter(stage):
    """The same bytes in other packets."""
    st = stage()
    st.start((READ, THREE))
    st.fails()
    st.get(st.log[0][0])
    st.s.send_bytewise(BEGIN_OK)
    st.get(READ)
    st.s.send_bytewise(THREE)
    st.get(WRITE)
    st.s.send_bytewise(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('size', [1, 31, 32, 33, 1000, 65536, 300000])
def test_any_size(stage, size):
    """The last byte of a long row counts too."""
    st = stage()
    big, other = result_of('x' * size), result_of('x' * (size - 1) + 'y')
    st.start((READ, big))
    st.replayed()
    st.commit()
    st.start((READ, big))
    st.fails()
    st.redo(instead={1: other})
    st.gives_up(FAILS)
    st.end(replay_begun=2, replay_ok=1, replay_mismatch=1)


# ---- 4.5: attempts, and giving up ---------------------------------------------------------------------------

FOUR = [(READ, READ_OK), (x('SELECT 1'), x_told('SELECT 1', value='1')), (WRITE2, WRITE2_OK), (READ2, READ2_OK)]


def fails_in_replay(st, at, last, for_good=False):
    """An attempt that fails at that unit of the log, or at the interrupted one behind it."""
    log = st.log
    st.get(log[0][0])
    if at == 0:
        st.say(AGAIN + ready('I'))
        return
    st.say(log[0][1])
    if len(log) > 1:
        st.get(*[u for u, _ in log[1:]])
    if at < len(log):
        st.say(*[a for _, a in log[1:at]], AGAIN + ready('E'), ABORTED * (len(log) - at - 1))
    else:
        st.say(*[a for _, a in log[1:]])
        st.get(last)
        st.say(AGAIN + ready('I' if last == COMMIT else 'E'))
    if st.tx == 'E' and not for_good:
        st.undo()


@pytest.mark.parametrize('last, failed, good', [(WRITE, FAILS, WRITE_OK), (COMMIT, FAILS_IDLE, COMMIT_OK)],
                         ids=['WRITE', 'COMMIT'])
@pytest.mark.parametrize('n, at', [(n, at) for n in range(5) for at in [(i,) for i in range(n + 2)] +
                                   [(i, j) for i in range(n + 2) for j in range(n + 2)]])
def test_fails_again(stage, n, at, last, failed, good):
    """40001 at each unit of each attempt; the last one goes through."""
    st = stage()
    if st.is_lazy and (0 in at or n == 0 and last == COMMIT):
        pytest.skip('nothing is sent, or see below')
    st.begin()
    for u, a in FOUR[:n]:
        st.one(u, a)
    st.fails(last, failed)
    for i in at:
        fails_in_replay(st, i, last)
    st.redo()
    st.get(last)
    st.say(good)
    st.told(good)
    if last != COMMIT:
        st.log.append((last, good))
        st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
        st.end(replay_begun=len(at) + 2, replay_ok=2)
    else:
        st.end(replay_begun=len(at) + 1, replay_ok=1)


def test_own_begin_that_fails(stage):
    """The BEGIN of the daemon fails in the replay."""
    st = stage()
    st.start()
    st.fails()
    fails_in_replay(st, 0, WRITE)
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(replay_begun=2, replay_ok=1)


@pytest.mark.parametrize('at', range(1, 4))
@pytest.mark.parametrize('times', [1, 2, 5])
def test_gives_up_after_so_many(stage, times, at):
    """The client gets the error it would have got at first; or the last one, if that is
    of the same unit and the server is in the state of it."""
    st = stage(retry_max_attempts=times)
    st.start((READ, READ_OK), (WRITE2, WRITE2_OK))
    st.fails()
    for i in range(times):
        fails_in_replay(st, at, WRITE, for_good=i == times - 1)
    if at == 3:
        st.told(AGAIN + ready('E'))
        st.still_failed()
        st.over()
    else:
        st.gives_up(FAILS)
        st.end(replay_begun=times, replay_exhausted=1)


@pytest.mark.parametrize('at', range(1, 4))
def test_gives_up_a_commit(stage, at):
    st = stage(retry_max_attempts=2)
    st.start((READ, READ_OK), (WRITE2, WRITE2_OK))
    st.fails(COMMIT, FAILS_IDLE)
    fails_in_replay(st, at, COMMIT)
    fails_in_replay(st, at, COMMIT, for_good=True)
    if at == 3:
        st.told(AGAIN + ready('I'))
        st.over()
    else:
        st.gives_up(FAILS_IDLE, in_block=False)
        st.end(replay_begun=2, replay_exhausted=1)


def test_gives_up_after_some_time(stage):
    st = stage(retry_max_time='0.2', retry_max_attempts=100)
    st.start()
    st.fails()
    st.redo()
    st.get(WRITE)
    time.sleep(0.3)
    st.say(AGAIN + ready('E'))
    st.told(AGAIN + ready('E'))
    st.still_failed()
    st.over()


def test_budget_is_of_one_failure(stage):
    """Attempts are counted anew when it has gone on."""
    st = stage(retry_max_attempts=2)
    st.start()
    for _ in range(3):
        st.fails()
        fails_in_replay(st, len(st.log), WRITE)
        st.redo()
        st.get(WRITE)
        st.say(WRITE_OK)
        st.told(WRITE_OK)
        st.log.append((WRITE, WRITE_OK))
    st.commit()
    st.end(replay_begun=6, replay_ok=3)


def test_all_of_the_failed_answer_is_given(stage):
    """Rows that were held, the notice, the error, the setting, the status: as they came."""
    st = stage()
    st.start()
    failed = (row_description('v') + data_row('1') + notice('hm') + complete('SELECT 1') + E1 +
              parameter('TimeZone', 'UTC') + ready('E'))
    st.fails(query('SELECT 1; SELECT 2'), failed)
    st.redo(instead={1: row('11')})
    st.gives_up(failed)
    st.end(**MISMATCH)


@pytest.mark.parametrize('unit, failed', rows([
    ('extended', x(UP), msg('1') + msg('2') + msg('n') + FAILS),
    ('extended, complete', x(UP), x_told('UPDATE 1')[:-6] + FAILS)]))
def test_all_of_the_failed_answer_is_given_extended(stage, unit, failed):
    st = stage()
    st.start()
    st.fails(unit, failed)
    st.redo(instead={1: row('11')})
    st.gives_up(failed)
    st.end(**MISMATCH)


@pytest.mark.parametrize('code', ['23505', '40003', '57014', '25P02', 'P0001'])
def test_other_error_when_it_is_sent_again(stage, code):
    """The true answer: delivered as it is, and the server is in the state of it."""
    st = stage()
    st.start()
    st.fails()
    st.redo()
    st.get(WRITE)
    st.say(error(code) + ready('E'))
    st.told(error(code) + ready('E'))
    st.still_failed()


def test_other_error_of_the_commit(stage):
    st = stage()
    st.start()
    st.fails(COMMIT, FAILS_IDLE)
    st.redo()
    st.get(COMMIT)
    st.say(error('23505') + ready('I'))
    st.told(error('23505') + ready('I'))
    st.over()


def test_another_answer_of_the_interrupted_unit(stage):
    """Nobody has seen the first."""
    st = stage()
    st.start()
    st.fails(READ2, row_description('v') + data_row('1') + FAILS)
    st.redo()
    st.get(READ2)
    st.say(row('2'))
    st.told(row('2'))
    st.commit()
    st.end(**ONCE)


def test_wrong_status_when_it_is_sent_again(stage):
    """40001 with I: the block has ended some other way. Not another time."""
    st = stage()
    st.start()
    st.fails()
    st.redo()
    st.get(WRITE)
    st.say(E1 + ready('I'))
    st.told(E1 + ready('I'))
    st.over()


def test_the_interrupted_unit_waits(stage):
    """It is never sent behind the log before all of that is known to be the same."""
    st = stage()
    st.start(*FOUR)
    st.fails()
    st.get(st.log[0][0])
    st.server_hears_nothing()
    st.say(BEGIN_OK)
    st.get(*[u for u, _ in FOUR])
    answers = b''.join(a for _, a in FOUR)
    st.say(answers[:-1])
    st.server_hears_nothing()
    st.say(answers[-1:])
    st.get(WRITE)
    st.say(WRITE_OK[:-1])
    st.nothing_comes()
    st.say(WRITE_OK[-1:])
    st.told(WRITE_OK)
    st.commit()
    st.end(**ONCE)


def test_nothing_is_told_meanwhile(stage):
    st = stage()
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.say(FAILS)
    st.get(ROLLBACK)
    st.nothing_comes()
    st.say(ROLLBACK_OK)
    st.redo()
    st.get(WRITE)
    st.nothing_comes()
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(**ONCE)


# ---- 4.6: what else may happen -------------------------------------------------------------------------------

def test_what_is_pipelined_waits(stage):
    """In the order in which it was asked, each when the one before it has been answered."""
    st = stage()
    st.start()
    st.ask(WRITE, READ2, WRITE2, COMMIT, READ)
    st.get(WRITE)
    st.server_hears_nothing()
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(WRITE)
    for (unit, answer), nxt in zip([(WRITE, WRITE_OK), (READ2, READ2_OK), (WRITE2, WRITE2_OK), (COMMIT, COMMIT_OK)],
                                   [READ2, WRITE2, COMMIT, READ]):
        st.say(answer)
        st.told(answer)
        st.get(nxt)
    st.say(row('10', 'I'))
    st.told(row('10', 'I'))
    st.end(**ONCE)


def test_what_is_pipelined_behind_one_that_is_given_up(stage):
    """It meets the failed transaction."""
    st = stage()
    st.start()
    st.ask(WRITE, READ2, ROLLBACK)
    st.get(WRITE)
    st.say(FAILS)
    st.undo()
    st.redo(instead={1: row('11')})
    st.undo()
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.get(GIVE_UP)
    st.say(NO_SAVEPOINT)
    st.told(FAILS)
    st.get(READ2)
    st.say(ABORTED)
    st.told(ABORTED)
    st.get(ROLLBACK)
    st.say(ROLLBACK_OK)
    st.told(ROLLBACK_OK)
    st.log = []
    st.end(**MISMATCH)


def test_whole_transaction_in_one_write(stage):
    """psycopg's pipeline mode and the like."""
    st = stage()
    st.ask(BEGIN, READ, WRITE, COMMIT)
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.log.append((BEGIN, BEGIN_OK))
    st.told(BEGIN_OK)
    for unit, answer in ((READ, READ_OK), (WRITE, WRITE_OK)):
        st.get(unit)
        st.say(answer)
        st.told(answer)
        st.log.append((unit, answer))
    st.get(COMMIT)
    st.say(FAILS_IDLE)
    st.redo()
    st.get(COMMIT)
    st.say(COMMIT_OK)
    st.told(COMMIT_OK)
    st.end(**ONCE)


OPEN = [
    ('one', [('SAVEPOINT a', 'SAVEPOINT')]),
    ('two, one released', [('SAVEPOINT a', 'SAVEPOINT'), ('SAVEPOINT b', 'SAVEPOINT'), ('RELEASE b', 'RELEASE')]),
    ('rolled back to', [('SAVEPOINT a', 'SAVEPOINT'), ('ROLLBACK TO a', 'ROLLBACK')]),
    ('rolled back to the first', [('SAVEPOINT a', 'SAVEPOINT'), ('SAVEPOINT b', 'SAVEPOINT'),
                                  ('ROLLBACK TO SAVEPOINT a', 'ROLLBACK')]),
    ('the same name twice', [('SAVEPOINT a', 'SAVEPOINT'), ('SAVEPOINT a', 'SAVEPOINT'), ('RELEASE a', 'RELEASE')]),
    ('quoted', [('SAVEPOINT "A"', 'SAVEPOINT'), ('SAVEPOINT a', 'SAVEPOINT'), ('RELEASE A', 'RELEASE')]),
    ('in a text of several', [('SELECT 1; SAVEPOINT a', 'SAVEPOINT')]),
]
CLOSED = [
    ('one', [('SAVEPOINT a', 'SAVEPOINT'), ('RELEASE a', 'RELEASE')]),
    ('two', [('SAVEPOINT a', 'SAVEPOINT'), ('SAVEPOINT b', 'SAVEPOINT'), ('RELEASE SAVEPOINT b', 'RELEASE'),
             ('RELEASE SAVEPOINT A', 'RELEASE')]),
    ('two with one', [('SAVEPOINT a', 'SAVEPOINT'), ('SAVEPOINT b', 'SAVEPOINT'), ('RELEASE a', 'RELEASE')]),
    ('rolled back to and released', [('SAVEPOINT a', 'SAVEPOINT'), ('ROLLBACK TO a', 'ROLLBACK'),
                                     ('RELEASE a', 'RELEASE')]),
    ('one after the other', [('SAVEPOINT a', 'SAVEPOINT'), ('RELEASE a', 'RELEASE'), ('SAVEPOINT a', 'SAVEPOINT'),
                             ('RELEASE a', 'RELEASE')]),
]


def several(sql, last):
    return complete('SELECT 1') + tag(last) if ';' in sql else tag(last)


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
@pytest.mark.parametrize('steps', rows(OPEN))
@pytest.mark.parametrize('code', ['40001', '40P01'])
def test_open_savepoint(stage, steps, ext, code):
    """The client may go on from there: that is its choice."""
    st = stage()
    st.start()
    for sql, tagged in steps:
        if ext and ';' not in sql:
            st.one(x(sql), x_told(tagged))
        else:
            st.one(query(sql), several(sql, tagged))
    st.through(WRITE, error(code) + ready('E'))
    st.through(query('ROLLBACK TO a'), tag('ROLLBACK'))
    st.through(WRITE, WRITE_OK)
    st.through(COMMIT, COMMIT_OK)
    st.end()


def test_open_savepoint_at_the_commit(stage):
    st = stage()
    st.start((query('SAVEPOINT a'), tag('SAVEPOINT')))
    st.passed_on(COMMIT, FAILS_IDLE)
    st.end()


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
@pytest.mark.parametrize('steps', rows(CLOSED))
def test_closed_savepoint(stage, steps, ext):
    st = stage()
    st.start((READ, READ_OK), *[(x(sql), x_told(tagged)) if ext else (query(sql), tag(tagged))
                                for sql, tagged in steps])
    st.replayed()
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('sql', ['RELEASE a', 'ROLLBACK TO a', 'RELEASE a; SELECT 1'])
def test_savepoint_that_is_still_open(stage, sql):
    """What would have closed it has failed."""
    st = stage()
    st.start((query('SAVEPOINT a'), tag('SAVEPOINT')))
    st.passed_on(query(sql), FAILS)
    st.end()


@pytest.mark.parametrize('setup', [
    'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', 'SET LOCAL work_mem = 1', 'SET TRANSACTION READ WRITE'])
def test_only_begin_and_settings(stage, setup):
    """No data were seen."""
    st = stage()
    st.start((query(setup), tag('SET')))
    st.replayed(query('SELECT v FROM kv WHERE k = 1 FOR UPDATE'), FAILS, row('1'))
    st.counts(**ONCE)


@pytest.mark.parametrize('level', ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE', 'SERIALIZABLE READ WRITE'])
def test_begin_as_it_was(stage, level):
    st = stage(**({'lazy_begin': 0} if 'SERIALIZABLE' in level else {}))    # a standby refuses that
    st.begin('BEGIN ISOLATION LEVEL ' + level)
    st.one(READ, READ_OK)
    st.replayed()
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('begin', ['begin', 'BEGIN WORK;', '/* a */ BEGIN', 'START TRANSACTION'])
def test_begin_of_any_form(stage, begin):
    """Its answer is what the client was told, by the daemon or by the server."""
    st = stage()
    told = tag('START TRANSACTION') if 'START' in begin else BEGIN_OK
    st.ask(query(begin))
    if st.is_lazy:
        st.told(told)
        st.ask(READ)
    st.get(query(begin))
    st.say(told)
    if not st.is_lazy:
        st.told(told)
        st.ask(READ)
    st.get(READ)
    st.say(READ_OK)
    st.told(READ_OK)
    st.log = [(query(begin), told), (READ, READ_OK)]
    st.replayed()
    st.commit()
    st.end(**ONCE)


def test_extended_begin(stage):
    st = stage()
    st.one(x('BEGIN'), x_told('BEGIN'))
    st.one(x('SELECT 1'), x_told('SELECT 1', value='1'))
    st.replayed(x(UP), msg('1') + msg('2') + msg('n') + FAILS, x_told('UPDATE 1'))
    st.replayed(x('COMMIT'), msg('1') + msg('2') + msg('n') + FAILS_IDLE, x_told('COMMIT', 'I'))
    st.log = []
    st.end(replay_begun=2, replay_ok=2)


@pytest.mark.parametrize('code', ['23505', '42601', '22012', '57014'])
def test_other_error_disarms(stage, code):
    """One way, until the transaction is over, savepoints or not."""
    st = stage()
    st.start((query('SAVEPOINT a'), tag('SAVEPOINT')))
    st.through(WRITE2, error(code) + ready('E'))
    st.through(query('ROLLBACK TO a'), tag('ROLLBACK'))
    st.through(query('RELEASE a'), tag('RELEASE'))
    st.through(READ, READ_OK)
    st.passed_on()
    st.start()
    st.replayed()
    st.commit()
    st.end(**ONCE)


def test_the_next_transaction_begins_anew(stage):
    """Nothing of one log is in the next."""
    st = stage()
    for _ in range(3):
        st.start((READ, READ_OK), (WRITE2, WRITE2_OK))
        st.replayed()
        st.commit()
        st.start((READ2, READ2_OK))
        st.rollback()
        st.start()
        st.fails()
        st.redo(instead={1: row('11')})
        st.gives_up(FAILS)
        st.through(READ, row('10', 'I'))
    st.end(replay_begun=6, replay_ok=3, replay_mismatch=3)


def test_other_clients_do_not_get_the_server(stage):
    """A pool of one: who waits gets it when the transaction is over."""
    st = stage()
    st.start()
    with st.w.connect(timeout=20) as other:
        other.send(READ2)
        until(lambda: st.w.pool_waiting() == 1)
        st.fails()
        fails_in_replay(st, 2, WRITE)
        st.redo()
        st.get(WRITE)
        st.say(WRITE_OK)
        st.told(WRITE_OK)
        st.ask(COMMIT)
        st.get(COMMIT)
        st.say(COMMIT_OK)
        st.told(COMMIT_OK)
        st.get(READ2)
        st.say(row('20', 'I'))
        other.exact(row('20', 'I'))
    st.log = []
    st.end(replay_begun=2, replay_ok=1)


# ---- 4.6: cancels ----------------------------------------------------------------------------------------

SLOWLY = {'retry_backoff_base': 60, 'retry_backoff_max': 60, 'retry_max_time': 3600}
INTERRUPTED = [('WRITE', WRITE, FAILS), ('COMMIT', COMMIT, FAILS_IDLE)]


def canceled(st, unit):
    """57014, and the state of a transaction that was canceled."""
    status = 'I' if unit == COMMIT else 'E'
    assert shape(st.c.until(skip='')) == 'E:57014 Z:' + status
    st.log = []
    if status == 'E':
        st.still_failed()


@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
def test_cancel_in_the_backoff(stage, unit, failed):
    st = stage(**SLOWLY)
    st.start()
    st.fails(unit, failed)
    st.cancel()
    st.giving_up(unit != COMMIT)
    canceled(st, unit)
    st.end()


def test_cancel_while_it_is_rolled_back(stage):
    st = stage()
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.say(FAILS)
    st.get(ROLLBACK)
    st.cancel()
    st.barrier()
    st.say(ROLLBACK_OK)
    st.giving_up(True)
    canceled(st, WRITE)
    st.end()


@pytest.mark.parametrize('late', [False, True], ids=['in time', 'late'])
@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
def test_cancel_in_the_replay(stage, unit, failed, late):
    """It goes to the server; whatever comes out there, the client is not made to wait
    on: what was interrupted is not sent again."""
    st = stage()
    st.start((READ, READ_OK), (READ2, READ2_OK))
    st.fails(unit, failed)
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.get(READ, READ2)
    st.cancel()
    until(lambda: st.cancels() == 1, why='the cancel at the server')
    st.say(READ_OK + READ2_OK if late else CANCELED + ABORTED)
    st.giving_up(unit != COMMIT)
    canceled(st, unit)
    st.end(replay_begun=1)


@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
def test_cancel_at_the_begin_of_the_replay(stage, unit, failed):
    st = stage()
    st.start((READ, READ_OK))
    st.fails(unit, failed)
    st.get(BEGIN)
    st.cancel()
    until(lambda: st.cancels() == 1, why='the cancel at the server')
    st.say(BEGIN_OK)
    st.giving_up(unit != COMMIT)
    canceled(st, unit)
    st.end(replay_begun=1)


@pytest.mark.parametrize('late', [False, True], ids=['in time', 'late'])
@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
def test_cancel_of_what_is_sent_again(stage, unit, failed, late):
    """The server's answer is the true one."""
    st = stage()
    st.start((READ, READ_OK))
    st.fails(unit, failed)
    st.redo()
    st.get(unit)
    st.cancel()
    until(lambda: st.cancels() == 1, why='the cancel at the server')
    good = WRITE_OK if unit == WRITE else COMMIT_OK
    answer = good if late else CANCELED[:-1] + (b'E' if unit == WRITE else b'I')
    st.say(answer)
    st.told(answer)
    if unit == WRITE:
        st.rollback()
    st.over()


def test_cancel_ends_attempts(stage):
    """A conflict instead of 57014 is no reason for another."""
    st = stage()
    st.start((READ, READ_OK))
    st.fails()
    st.redo()
    st.get(WRITE)
    st.cancel()
    until(lambda: st.cancels() == 1, why='the cancel at the server')
    st.say(AGAIN + ready('E'))
    if st.server_is_first():
        st.giving_up()
    assert shape(st.c.until()) in ('E:57014 Z:E', 'E:40001 Z:E')
    st.still_failed()


def test_cancel_of_a_statement_is_the_clients(stage):
    """57014 in an armed transaction is an error like any."""
    st = stage()
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.cancel()
    until(lambda: st.cancels() == 1, why='the cancel at the server')
    st.say(CANCELED)
    st.told(CANCELED)
    st.still_failed()
    st.end()


# ---- 4.6: the client has gone ---------------------------------------------------------------------------------

LEAVES = {'FIN': lambda c: c.close(), 'RST': lambda c: c.reset()}


@pytest.mark.parametrize('how', LEAVES)
@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
@pytest.mark.parametrize('when', ['in flight', 'rollback', 'backoff', 'begin', 'log', 'again', 'giving up'])
def test_client_gone(stage, how, when, unit, failed):
    """Rolled back, and the server is the next one's; no COMMIT is sent for who is not there."""
    if unit == COMMIT and when in ('rollback', 'again', 'in flight'):
        pytest.skip('its COMMIT is on its way, or there is nothing to roll back')
    st = stage(**(SLOWLY if when == 'backoff' else {}))
    st.start((READ, READ_OK), (READ2, READ2_OK))
    st.ask(unit)
    st.get(unit)
    if when != 'in flight':
        st.say(failed)
    if unit != COMMIT and when != 'in flight':
        st.get(ROLLBACK)
        if when != 'rollback':
            st.say(ROLLBACK_OK)
    if when in ('begin', 'log', 'again', 'giving up'):
        st.get(BEGIN)
    if when in ('log', 'again', 'giving up'):
        st.say(BEGIN_OK)
        st.get(READ, READ2)
    if when == 'again':
        st.say(READ_OK + READ2_OK)
        st.get(unit)
    if when == 'giving up':
        st.say(READ_OK + row('21'))
        st.get(ROLLBACK)
    st.barrier()
    LEAVES[how](st.c)
    st.barrier()
    st.barrier()
    answer = {'in flight': FAILS, 'rollback': ROLLBACK_OK, 'backoff': b'', 'begin': BEGIN_OK,
              'log': READ_OK + READ2_OK, 'again': WRITE_OK, 'giving up': ROLLBACK_OK}[when]
    st.nobody_left(answer, when == 'giving up')


@pytest.mark.parametrize('unit, failed', rows(INTERRUPTED))
def test_client_gone_with_terminate(stage, unit, failed):
    st = stage()
    st.start((READ, READ_OK))
    st.fails(unit, failed)
    st.get(BEGIN)
    st.ask(wire.terminate())
    st.c.close()
    st.barrier()
    st.nobody_left(BEGIN_OK)


def test_client_gone_while_its_commit_is_sent_again(stage):
    """It is on its way, and what comes is not told to anybody."""
    st = stage()
    st.start()
    st.fails(COMMIT, FAILS_IDLE)
    st.redo()
    st.get(COMMIT)
    st.c.reset()
    st.barrier()
    st.nobody_left(COMMIT_OK)


def test_client_gone_while_its_commit_fails_again(stage):
    st = stage()
    st.start()
    st.fails(COMMIT, FAILS_IDLE)
    st.redo()
    st.get(COMMIT)
    st.c.reset()
    st.barrier()
    st.nobody_left(FAILS_IDLE)


# ---- servers that are lost ----------------------------------------------------------------------------------------

GOODBYE = error('57P01', 'terminating connection due to administrator command', severity='FATAL')
DRAIN = error('57P01', 'server is shutting down')
WORDS = rows([('nothing said', b''), ('57P01', GOODBYE), ('some of its answer', complete('UPDATE 1')),
              ('its error', E1), ('half a message', WRITE_OK[:-3])])


@pytest.mark.parametrize('words', WORDS)
@pytest.mark.parametrize('log', [[], [(READ, READ_OK)], FOUR], ids=['only BEGIN', 'one', 'four'])
def test_lost_with_a_statement_in_flight(stage, words, log):
    """The transaction goes on at another server."""
    st = stage(nodes=2)
    st.begin()
    for u, a in log:
        st.one(u, a)
    st.ask(WRITE)
    st.get(WRITE)
    st.lose(words)
    st.another()
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.log.append((WRITE, WRITE_OK))
    st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
    st.log = []
    st.end(replay_begun=2, replay_ok=2, replay_lost=1)


@pytest.mark.parametrize('params, words', rows([('postgresql', None, GOODBYE), ('cockroachdb', CRDB, DRAIN),
                                                ('cockroachdb, silent', CRDB, b'')]))
def test_lost_between_statements(stage, params, words):
    """Nobody is told: it is replayed at once, and what comes next goes on elsewhere."""
    st = stage(nodes=2, params=params)
    st.start()
    st.lose(words)
    st.another()
    st.redo()
    st.ask(WRITE)
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.log.append((WRITE, WRITE_OK))
    st.commit()
    st.end(replay_begun=1, replay_ok=1, replay_lost=1)


def test_lost_before_the_commit_was_sent(stage):
    st = stage(nodes=2)
    st.start((WRITE, WRITE_OK))
    st.lose()
    st.another()
    st.redo()
    st.ask(COMMIT)
    st.get(COMMIT)
    st.say(COMMIT_OK)
    st.told(COMMIT_OK)
    st.log = []
    st.end(replay_begun=1, replay_ok=1, replay_lost=1)


def test_asked_while_it_is_replayed(stage):
    """What comes meanwhile waits; nobody has been told of anything."""
    st = stage(nodes=2)
    st.start((WRITE, WRITE_OK))
    st.lose()
    st.another()
    st.get(BEGIN)
    st.ask(READ, COMMIT)
    st.barrier()
    st.say(BEGIN_OK)
    st.get(WRITE)
    st.server_hears_nothing()
    st.say(WRITE_OK)
    st.get(READ)
    st.say(READ_OK)
    st.told(READ_OK)
    st.get(COMMIT)
    st.say(COMMIT_OK)
    st.told(COMMIT_OK)
    st.log = []
    st.end(replay_begun=1, replay_ok=1, replay_lost=1)


@pytest.mark.parametrize('words', rows([('nothing said', b''), ('57P01', GOODBYE), ('half a message', COMMIT_OK[:-3]),
                                        ('its error', E1), ('COMMIT', complete('COMMIT'))]))
@pytest.mark.parametrize('unit', [COMMIT, x('COMMIT')], ids=['simple', 'extended'])
def test_lost_with_its_commit(stage, unit, words):
    """Nobody knows. It is told, and never repeated."""
    st = stage(nodes=2)
    st.start((WRITE, WRITE_OK))
    st.ask(unit)
    st.get(unit)
    st.lose(words)
    got = shape(st.c.until())
    assert got.endswith('E:40003 Z:I') and got.count('E:') == 1 or \
        'C:COMMIT Z:I' in got and words == complete('COMMIT'), got
    st.log = []
    st.through(READ2, row('20', 'I'))
    st.end()


@pytest.mark.parametrize('words', [b'', GOODBYE], ids=['nothing said', '57P01'])
def test_lost_with_its_commit_sent_again(stage, words):
    st = stage(nodes=2)
    st.start((WRITE, WRITE_OK))
    st.fails(COMMIT, FAILS_IDLE)
    st.redo()
    st.get(COMMIT)
    st.lose(words)
    assert shape(st.c.until()) == 'E:40003 Z:I'
    st.log = []
    st.through(READ2, row('20', 'I'))


@pytest.mark.parametrize('words', [b'', GOODBYE], ids=['nothing said', '57P01'])
@pytest.mark.parametrize('unit, failed, good', [pytest.param(WRITE, FAILS, WRITE_OK, id='WRITE'),
                                                pytest.param(COMMIT, FAILS_IDLE, COMMIT_OK, id='COMMIT')])
@pytest.mark.parametrize('when', ['rollback', 'begin', 'log', 'some of the log', 'again'])
def test_lost_in_the_replay(stage, when, unit, failed, good, words):
    """Again, elsewhere, as long as no COMMIT is on its way."""
    if unit == COMMIT and when in ('rollback', 'again'):
        pytest.skip('no ROLLBACK is sent; or it is not known what became of it')
    st = stage(nodes=2)
    st.start(*FOUR)
    st.ask(unit)
    st.get(unit)
    st.say(failed)
    if unit != COMMIT:
        st.get(ROLLBACK)
        if when != 'rollback':
            st.say(ROLLBACK_OK)
    if when != 'rollback':
        st.get(BEGIN)
    if when not in ('rollback', 'begin'):
        st.say(BEGIN_OK)
        st.get(*[u for u, _ in FOUR])
        st.say(b''.join(a for _, a in FOUR[:{'log': 0, 'again': 4}.get(when, 2)]))
    if when == 'again':
        st.get(unit)
    st.lose(words)
    st.another()
    st.redo()
    st.get(unit)
    st.say(good)
    st.told(good)
    if unit != COMMIT:
        st.commit()
    st.log = []
    st.over()


@pytest.mark.parametrize('first', [False, True], ids=['lost', '40001, then lost'])
def test_lost_twice(stage, first):
    st = stage(nodes=3)
    st.start(*FOUR)
    if first:
        st.fails()
        st.get(BEGIN)
    else:
        st.ask(WRITE)
        st.get(WRITE)
    st.lose()
    st.another()
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.get(*[u for u, _ in FOUR])
    st.say(FOUR[0][1])
    st.lose()
    st.another()
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.over()


def limbo(st):
    """No server has it: the daemon answers until the client's ROLLBACK."""
    assert shape(st.c.until()) == 'E:40001 Z:E'
    assert shape(st.c.ask(READ)) == 'E:25P02 Z:E'
    assert shape(st.c.ask(ROLLBACK)) == 'C:ROLLBACK Z:I'
    st.log = []


@pytest.mark.parametrize('at', range(4))
def test_lost_and_then_different(stage, at):
    st = stage(nodes=2)
    st.start(*FOUR)
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    st.another()
    st.redo(instead={at + 1: FOUR[at][1].replace(data_row('1'), data_row('2')).replace(
        data_row('10'), data_row('11')).replace(data_row('20'), data_row('21')).replace(data_row('7'), data_row('8'))})
    st.undo()
    limbo(st)
    st.end(replay_begun=1, replay_mismatch=1, replay_lost=1)


@pytest.mark.parametrize('unit', [READ, COMMIT, ROLLBACK], ids=['statement', 'COMMIT', 'ROLLBACK'])
def test_lost_between_statements_and_then_different(stage, unit):
    """The client is told when it asks. A COMMIT ends the transaction all the same."""
    st = stage(nodes=2)
    st.start((WRITE, WRITE_OK))
    st.lose()
    st.another()
    st.redo(instead={1: tag('UPDATE 0')})
    st.undo()
    st.barrier()
    st.ask(unit)
    if unit == READ:
        limbo(st)
    else:
        assert shape(st.c.until()) == ('E:40001 Z:I' if unit == COMMIT else 'C:ROLLBACK Z:I')
    st.log = []
    st.end(replay_begun=1, replay_mismatch=1, replay_lost=1)


def test_lost_and_then_40001(stage):
    """On the other server: one attempt more."""
    st = stage(nodes=2)
    st.start(*FOUR)
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    st.another()
    fails_in_replay(st, 3, WRITE)
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(replay_begun=2, replay_ok=1, replay_lost=1)


def test_lost_and_nobody_else_is_there(stage):
    st = stage(query_wait_timeout=1, retry_max_time=1)
    st.start()
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    limbo(st)


def test_lost_when_it_is_not_replayed(stage):
    """Disarmed: as it is without."""
    st = stage(nodes=2)
    st.start()
    st.through(query('SELECT pg_advisory_xact_lock(1)'), row('1'))
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    limbo(st)
    st.through(READ2, row('20', 'I'))
    st.end()


def test_lost_with_an_open_savepoint(stage):
    """It is there again, and with it open no conflict is replayed."""
    st = stage(nodes=2)
    st.start((query('SAVEPOINT a'), tag('SAVEPOINT')))
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    st.another()
    st.redo()
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.through(WRITE, FAILS)
    st.through(query('ROLLBACK TO a'), tag('ROLLBACK'))
    st.commit()
    st.end(replay_begun=1, replay_ok=1, replay_lost=1)


def test_lost_by_a_bound_session(stage):
    """Session pooling: the session ends with its server, and is replayed nowhere."""
    st = stage(nodes=2, pool_mode='session')
    st.one(BEGIN, BEGIN_OK)
    st.one(READ, READ_OK)
    st.ask(WRITE)
    st.get(WRITE)
    st.lose()
    assert shape(st.c.until()) == 'E:40001 Z:E'
    assert shape(st.c.until('E')) == 'E:57P01'
    assert st.c.closed()


def bound(stage, sql, tagged, left):
    """A session that has left something on its server, in a transaction."""
    st = stage(nodes=2)
    st.through(query(sql), tag(tagged, 'I'))
    assert st.s.read_raw()[1].startswith(QUESTION)
    st.say(row(left, 'I'))
    st.barrier()
    st.ask(BEGIN)
    st.get(BEGIN)
    st.say(BEGIN_OK)
    st.told(BEGIN_OK)
    st.log = [(BEGIN, BEGIN_OK)]
    st.one(READ, READ_OK)
    return st


def test_session_that_listens(stage):
    """It is not replayed: a notification would be lost, or come at another place."""
    st = bound(stage, 'LISTEN c', 'LISTEN', '4')
    st.passed_on()
    st.counts()


def test_session_with_a_temporary_table(stage):
    """Replayed where its table is, and nowhere else."""
    st = bound(stage, 'CREATE TEMP TABLE v (a int)', 'CREATE TABLE', '8')
    st.replayed()
    st.ask(READ2)
    st.get(READ2)
    st.lose()
    assert shape(st.c.until()) == 'E:40001 Z:E'
    assert shape(st.c.until('E')) == 'E:57P01'
    assert st.c.closed()
    st.counts(**ONCE)


def test_lost_behind_a_flush(stage):
    """What was let out must be the same there."""
    for again, same in ((PREFIX, True), ([*PREFIX[:2], data_row('2'), PREFIX[3]], False)):
        st = stage(nodes=2)
        st.start()
        unit = parse('SELECT 1') + bind() + execute() + flush()
        st.ask(unit)
        st.get(unit)
        st.say(b''.join(PREFIX))
        st.told(b''.join(PREFIX))
        st.ask(sync())
        st.get(sync())
        st.lose()
        st.another()
        st.redo()
        st.get(unit, sync())
        st.say(*again, ready('T'))
        if same:
            st.told(ready('T'))
            st.log.append((unit + sync(), b''.join(PREFIX) + ready('T')))
            st.commit()
        else:
            st.undo()
            limbo(st)
        st.over()


# the whole of a transaction, cut behind each message of the server
DIALOGUE = [(READ, [row_description('?column?'), data_row('10'), complete('SELECT 1'), ready('T')]),
            (x(UP), [msg('1'), msg('2'), msg('n'), complete('UPDATE 1'), ready('T')]),
            (COMMIT, [complete('COMMIT'), ready('I')])]
CUTS = [(u, m) for u, (_, told) in enumerate(DIALOGUE) for m in range(len(told))]


def cut_at(st, unit, data):
    """The server ends when it has sent that much of the answer to that unit."""
    st.begin()
    for i, (asked, told) in enumerate(DIALOGUE):
        told = b''.join(told)
        st.ask(asked)
        st.get(asked)
        if i == unit:
            st.lose(data, for_good=False)
            if asked == COMMIT:
                got = shape(st.c.until())
                assert got == 'E:40003 Z:I' or got == 'C:COMMIT E:40003 Z:I', got
                st.log = []
                return
            st.another()
            st.redo()
            st.get(asked)
        st.say(told)
        st.told(told)
        st.log.append((asked, told))
    st.log = []


@pytest.mark.parametrize('unit, n', CUTS)
def test_cut_behind_each_message(stage, unit, n):
    """No answer is lost or told twice, and a COMMIT is never repeated."""
    st = stage(nodes=2)
    cut_at(st, unit, b''.join(DIALOGUE[unit][1][:n]))
    st.through(READ2, row('20', 'I'))


@pytest.mark.parametrize('unit', [0, 1])
def test_cut_behind_each_byte(stage, unit):
    st = stage(nodes=2, server_login_retry='0.05')
    told = b''.join(DIALOGUE[unit][1])
    for n in range(len(told)):
        cut_at(st, unit, told[:n])


# ---- bounds -------------------------------------------------------------------------------------------------

LOG_MAX = 2048


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
def test_log_of_so_many_bytes(stage, ext):
    """replay_log_max is a bound to the byte, with a byte or so for each message and without
    a BEGIN that was answered by the daemon."""
    make = x if ext else query
    full = LOG_MAX - len(READ) - len(make(''))
    st = stage(replay_log_max=LOG_MAX)
    was = []
    for fill in range(full - 40, full + 2):
        st.start()
        unit = make('SELECT ' + '1' * (fill - 7))
        st.one(unit, x_told('SELECT 1', value='1') if ext else row('1'))
        st.ask(COMMIT)
        st.get(COMMIT)
        st.say(FAILS_IDLE)
        was.append(st.server_is_first())
        if was[-1]:
            st.redo()
            st.get(COMMIT)
            st.say(COMMIT_OK)
            st.told(COMMIT_OK)
        else:
            st.told(FAILS_IDLE)
        st.log = []
    n = was.index(False)
    assert was == [True] * n + [False] * (len(was) - n) and 0 < n <= 41, was
    st.end(replay_begun=n, replay_ok=n)


@pytest.mark.parametrize('over', [0, 1])
def test_log_of_so_many_units(stage, over):
    """A BEGIN that was answered by the daemon is none."""
    st = stage(replay_units_max=4)
    st.begin()
    for _ in range(3 + over + st.is_lazy):
        st.one(READ, READ_OK)
    if over:
        st.passed_on(COMMIT, FAILS_IDLE)
        st.end()
    else:
        st.replayed(COMMIT, FAILS_IDLE, COMMIT_OK)
        st.end(**ONCE)


def test_one_unit_that_is_too_long(stage):
    """Longer than the log may be, at once."""
    st = stage(replay_log_max=LOG_MAX)
    st.start()
    st.passed_on(query('SELECT ' + '1' * 300000), FAILS)
    st.start()
    st.replayed()
    st.commit()
    st.end(**ONCE)


def test_over_the_cap_it_stays(stage):
    """One way, until the transaction is over."""
    st = stage(replay_units_max=2)
    st.start()
    for _ in range(2 + st.is_lazy):
        st.one(READ, READ_OK)
    st.passed_on()
    st.start()
    st.replayed()
    st.counts(**ONCE)


def test_no_memory_for_it(stage):
    """retry_mem_total: nothing fails, and nothing is replayed."""
    st = stage(retry_mem_total=0)
    st.start()
    st.passed_on()
    st.end()


HOLD_MAX = 1024


def filled(size):
    """T and one D, of so many bytes."""
    head = row_description('v')
    return head + data_row('x' * (size - len(head) - len(data_row(''))))


@pytest.mark.parametrize('over', [0, 1])
def test_hold_of_so_many_bytes(stage, over):
    """retry_hold_max bytes are held; one more, and all of it is let out."""
    st = stage(retry_hold_max=HOLD_MAX, retry_hold_time=60)
    st.start()
    held = filled(HOLD_MAX + over)
    st.ask(READ2)
    st.get(READ2)
    st.say(held)
    if over:
        st.told(held)
    else:
        st.nothing_comes()
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(READ2)
    st.say(held + complete('SELECT 1') + ready('T'))
    st.told(b'' if over else held, complete('SELECT 1') + ready('T'))
    st.log.append((READ2, held + complete('SELECT 1') + ready('T')))
    st.commit()
    st.end(**ONCE)


@pytest.mark.parametrize('again', rows([
    ('another byte', filled(HOLD_MAX + 9)[:-1] + b'y' + complete('SELECT 1') + ready('T')),
    ('a row more', filled(HOLD_MAX + 9) + data_row('1') + complete('SELECT 2') + ready('T')),
    ('a byte less', filled(HOLD_MAX + 8) + complete('SELECT 1') + ready('T')),
    ('nothing', ready('T')), ('another error', error('22012') + ready('E')),
    ('less than was told', row_description('v') + complete('SELECT 0') + ready('T')),
]))
def test_hold_that_was_let_out_and_differs(stage, again):
    """A row more behind what was told is no difference; everything before it is."""
    st = stage(retry_hold_max=HOLD_MAX, retry_hold_time=60)
    st.start()
    held = filled(HOLD_MAX + 9)
    st.ask(READ2)
    st.get(READ2)
    st.say(held)
    st.told(held)
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(READ2)
    st.say(again)
    if again.startswith(held):
        st.told(again[len(held):])
        st.rollback()
        st.end(**ONCE)
    else:
        st.gives_up(FAILS)
        st.end(**MISMATCH)


def test_hold_time(stage):
    """Let out while the server still works; and replayed all the same."""
    st = stage(retry_hold_time='0.1')
    st.start()
    st.ask(READ2)
    st.get(READ2)
    part = row_description('?column?') + data_row('20')
    st.say(part)
    st.told(part)
    st.say(FAILS)
    st.undo()
    st.redo()
    st.get(READ2)
    st.say(READ2_OK)
    st.told(READ2_OK[len(part):])
    st.log.append((READ2, READ2_OK))
    st.replayed()
    st.commit()
    st.end(replay_begun=2, replay_ok=2)


def test_a_long_answer_of_the_log(stage):
    """Let out, and gone well: it is compared to its last byte all the same."""
    st = stage(retry_hold_max=HOLD_MAX, retry_hold_time=60)
    long = filled(50000) + complete('SELECT 1') + ready('T')
    st.start((READ2, long))
    st.replayed()
    st.commit()
    st.start((READ2, long))
    st.fails()
    st.redo(instead={1: long.replace(b'xC\0', b'yC\0')})
    st.gives_up(FAILS)
    st.end(replay_begun=2, replay_ok=1, replay_mismatch=1)


# ---- reload, shutdown -----------------------------------------------------------------------------------------

def test_reload_in_the_replay(stage):
    st = stage()
    st.start()
    st.fails()
    st.get(BEGIN)
    st.w.hup()
    st.w.wait_log('reload')
    st.say(BEGIN_OK)
    st.get(READ)
    st.say(READ_OK)
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.commit()
    st.end(**ONCE)


def test_shutdown_in_the_replay(stage):
    """It is finished; the next failure is told."""
    st = stage()
    st.start()
    st.fails()
    st.get(BEGIN)
    st.w.proc.send_signal(signal.SIGINT)
    st.w.wait_log('drain')
    st.say(BEGIN_OK)
    st.get(READ)
    st.say(READ_OK)
    st.get(WRITE)
    st.say(WRITE_OK)
    st.told(WRITE_OK)
    st.passed_on()
    st.w.wait()
