# SPDX-License-Identifier: ISC
"""The double of CockroachDB itself (crdbnode.py), reached directly: what it says, to
the byte where the notes of a genuine one have bytes. Nothing here is about pgweir.
"wire X", "facts X": as in crdbnode.py.
"""
import json
import socket
import struct
import time

import pytest

import wire
from conftest import Spawned, run_threads, until
from crdb import V21, V26
from crdbnode import ORDER_NEW, ORDER_OLD
from wire import (Closed, Conn, PgError, bind, cancel, close, complete, copy_data, copy_done,
                  copy_fail, describe, execute, extended, flush, function_call, msg, parse, query,
                  shape, special, startup, sync)

pytestmark = pytest.mark.weir_only

REFUSED = (b'E\0\0\0ZSERROR\0C57P01\0Fserver.go\0L1105\0RnewAdminShutdownErr\0'
           b'Mserver is not accepting clients\0\0')
DOWN = (b'E\0\0\0RSERROR\0C57P01\0Fserver.go\0L1105\0RnewAdminShutdownErr\0'
        b'Mserver is shutting down\0\0')
READY_I = b'Z\0\0\0\5I'


def everything(c):
    """All bytes to the end of file."""
    out, c.buf = c.buf, b''
    while True:
        try:
            got = c.sock.recv(65536)
        except ConnectionError:
            return out
        if not got:
            return out
        out += got


def bare(node, data):
    """What comes in answer to these first bytes, to the end of file."""
    with Conn(node.port, login=False, timeout=10) as c:
        c.send(data)
        return everything(c)


@pytest.fixture
def node(crdb):
    return crdb.nodes[0]


@pytest.fixture
def table(crdb):
    """An empty table r(k primary key, v), the same from every node."""
    crdb.sql('DROP TABLE IF EXISTS r; CREATE TABLE r (k int PRIMARY KEY, v int)')
    return crdb


def keys(crdb):
    return [int(r[0]) for r in crdb.sql('SELECT k FROM r ORDER BY k')]


# ---- login (wire F) ---------------------------------------------------------------------

def test_login_order(node):
    """F1, F3: the order of what is reported, crdb_version, key (0,0)."""
    with node.connect() as c:
        letters = [m[0] for m in c.login_messages]
        assert letters == ['R'] + ['S'] * 12 + ['K', 'Z']
        names = [m[1][0] for m in c.login_messages if m[0] == 'S']
        assert names == ORDER_OLD
        assert c.params['crdb_version'] == V21 and c.params['server_version'] == '13.0.0'
        assert c.key == (0, 0) and c.login_messages[-1] == ('Z', 'I')


def test_login_of_a_new_version(make_crdb):
    n = make_crdb(n=1, version=V26).nodes[0]
    with n.connect() as c:
        assert [m[1][0] for m in c.login_messages if m[0] == 'S'] == ORDER_NEW
        assert c.params['crdb_version'] == V26
    with Conn(n.port, login=False) as c:    # facts 3.1
        c.send(startup(proto=196610))
        assert c.read() == ('v', (196608, []))
        assert c.until('Z', '')[0] == ('R', (0, b''))


def test_login_says_back_what_was_typed(node):
    """F2, F4: case-insensitive names, unknown ones ignored, options in all forms."""
    with node.connect(client_encoding='utf-8', DATESTYLE='ISO', nosuch='1', geqo='off',
                      application_name='me', options='-c statement_timeout=7s --a.b=c '
                      '-csearch_path=x,\\ y --cluster=foo') as c:
        assert c.params['client_encoding'] == 'utf-8' and c.params['DateStyle'] == 'ISO'
        assert c.params['application_name'] == 'me'
        assert c.one('SHOW statement_timeout') == '7s' and c.one('SHOW search_path') == 'x, y'
        assert c.one("SELECT current_setting('geqo')") == 'on'
        assert c.one('SHOW default_transaction_isolation') == 'serializable'


@pytest.mark.parametrize('params,code', [
    ({'server_version': '9'}, '55P02'), ({'datestyle': 'German'}, '22023'),
    ({'statement_timeout': 'abc'}, '22023'), ({'client_encoding': 'LATIN1'}, '0A000'),
    ({'standard_conforming_strings': 'off'}, '22023'), ({'options': 'x'}, '08P01'),
    ({'user': 'nobody_there'}, 'XXUUU')])
def test_login_refused(node, params, code):
    """F5, F6: severity ERROR, then EOF."""
    with Conn(node.port, login=False) as c:
        c.send(startup(**params))
        m = c.read()
        assert m[0] == 'E' and m[1]['C'] == code and m[1]['S'] == 'ERROR' and 'V' not in m[1]
        assert c.closed()


def test_special_requests(node):
    """F3, F7, F8."""
    assert bare(node, special(wire.CODE_SSL) + special(wire.CODE_SSL)) == b'N' + wire.msg(
        'E', b'SERROR\0C08P01\0Munknown protocol version 80877103\0\0')
    assert bare(node, special(wire.CODE_GSS)) == wire.msg(
        'E', b'SERROR\0C08P01\0MGSS encryption is not yet supported\0\0')
    assert bare(node, startup(proto=196610)) == wire.msg(
        'E', b'SERROR\0C08P01\0Munknown protocol version 196610\0\0')
    with Conn(node.port, login=False) as c:     # startup in the same write
        c.send(special(wire.CODE_SSL), startup())
        assert c.take(1) == b'N' and c.read() == ('R', (0, b''))
    assert bare(node, special(wire.CODE_CANCEL, bytes(8))) == b''


def test_rpc_port(make_crdb):
    """F8: SQL and RPC on one port: HTTP/2 answers, and it stays open."""
    n = make_crdb(n=1, rpc_port=True).nodes[0]
    with Conn(n.port, login=False) as c:
        c.send(startup(proto=196610))
        assert c.take(9) == b'\0\0\x12\4\0\0\0\0\0'
        c.take(18)
        assert c.quiet()


def test_cancel(make_crdb, node):
    """F3: without effect; facts 3.3: with real keys from any node, 57014."""
    with node.connect() as c:
        c.send(query('SELECT pg_sleep(0.3)'))
        assert cancel(node.port, c.key)
        assert shape(c.until('Z')) == 'T D C:SELECT 1 Z:I'
    two = make_crdb(n=2, version=V26, real_keys=True).nodes
    with two[0].connect() as c:
        key = struct.unpack('!Q', struct.pack('!ii', *c.key))[0]
        assert key >> 63 == 0 and key >> 52 == two[0].id
        c.send(query('SELECT pg_sleep(20)'))
        until(lambda: two[0].stats()['passed'] == 1)

        def ended():
            cancel(two[1].port, c.key)
            return not c.quiet(0.1)
        until(ended)
        got = c.until('Z')
        assert shape(got) == 'T E:57014 Z:I' and got[1][1]['M'] == 'query execution canceled'


def test_too_many_logins(node):
    """Facts 1.1: 53300 before AuthenticationOk; then it is over."""
    node.refuse_logins(1)
    with pytest.raises(PgError, match='53300 sorry, too many clients already') as e:
        node.connect()
    assert 'server.max_connections_per_gateway' in e.value.fields['H']
    node.connect().close()
    assert node.stats()['busy_logins'] == 1


# ---- statements -------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['simple', 'extended'])
@pytest.mark.parametrize('sql,want', [
    ('RESET application_name', 'S C:SET Z:I'), ('SET application_name = x', 'S C:SET Z:I'),
    ('SET search_path = x', 'C:SET Z:I'), ("SET TIME ZONE 'UTC'", 'S C:SET Z:I'),
    ('DISCARD ALL', 'S S C:DISCARD Z:I'), ('DEALLOCATE ALL', 'C:DEALLOCATE ALL Z:I'),
    ('CLOSE ALL', 'I Z:I'), ('RESET ALL', 'E:42704 Z:I'), ('SET a.b = 1', 'E:42704 Z:I'),
    ('COMMIT', 'E:XXUUU Z:I'), ('ROLLBACK', 'E:XXUUU Z:I'), ('END', 'E:XXUUU Z:I'),
    ('ABORT', 'E:XXUUU Z:I'), ('SAVEPOINT s', 'E:XXUUU Z:I')])
def test_tags(node, how, sql, want):
    """C3..C5, B7; in the extended protocol behind 1 2 n."""
    with node.connect() as c:
        c.send(query(sql) if how == 'simple' else parse(sql) + bind() + execute() + sync())
        start = '' if how == 'simple' else '1 2 '
        assert shape(c.until('Z', '')) == start + want


@pytest.mark.parametrize('sql,code', [
    ('SET LOCAL work_mem = 1', '0A000'), ('SET ROLE app', '42601'), ('LISTEN x', '42601'),
    ('UNLISTEN *', '42601'), ('LOCK TABLE r', '42601'), ('DECLARE c CURSOR FOR SELECT 1', '0A000'),
    ('FETCH c', '42601'), ('COMMIT AND CHAIN', '42601'), ("PREPARE TRANSACTION 'x'", '42601'),
    ("SELECT set_config('work_mem', '64', true)", '0A000'), ('DISCARD PLANS', '0A000'),
    ('SELECT pg_advisory_lock(1)', '42883'), ('COPY kv TO STDOUT', '42601')])
def test_unknown_here(node, sql, code):
    """C2, C4, C5, C7, E2: and a block is aborted by it."""
    with node.connect() as c:
        assert shape(c.ask(query(sql))) == 'E:%s Z:I' % code
        assert shape(c.ask(parse(sql), bind(), execute(), sync())) == 'E:%s Z:I' % code
        c.sql('BEGIN')
        assert shape(c.ask(query(sql))) == 'E:%s Z:E' % code
        assert shape(c.ask(query('SELECT 1'))) == 'E:25P02 Z:E'
        assert shape(c.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'


def test_transactions(node):
    """D6, B2, B7: tags, BEGIN in a block, serializable whatever is asked."""
    with node.connect() as c:
        assert shape(c.ask(query('START TRANSACTION ISOLATION LEVEL READ COMMITTED, '
                                 'PRIORITY HIGH'))) == 'C:BEGIN Z:T'
        assert c.one('SHOW transaction_isolation') == 'serializable'
        assert shape(c.ask(query('BEGIN'))) == 'E:XXUUU Z:E'
        assert shape(c.ask(extended('COMMIT'), sync())) == '1 2 n C:ROLLBACK Z:I'
        c.sql('BEGIN')
        assert shape(c.ask(query('ABORT'))) == 'C:ROLLBACK Z:I'
        c.sql("SET default_transaction_isolation = 'read committed'")
        assert c.one('SHOW default_transaction_isolation') == 'serializable'
        assert shape(c.ask(query('SHOW TRANSACTION STATUS'))) == 'T D C:SELECT 1 Z:I'
        assert c.one('SHOW node_id') == '1'


def test_settings_survive_a_rollback(node):
    """C1, and no ParameterStatus that takes them back."""
    with node.connect() as c:
        c.sql('BEGIN')
        c.sql('SET application_name = inside')
        c.sql("SELECT set_config('search_path', 'nowhere', false)")
        assert c.ask(query('SELECT 1/0'))[-1] == ('Z', 'E')
        c.send(query('ROLLBACK'))
        assert shape(c.until('Z', '')) == 'C:ROLLBACK Z:I'
        assert c.one('SHOW application_name') == 'inside'
        assert c.one('SHOW search_path') == 'nowhere'


def test_every_statement_commits_alone(table):
    """A: each Execute outside a block; B8: each statement of a Query."""
    n = table.nodes[0]
    with n.connect() as c:
        c.send(extended('INSERT INTO r VALUES (1)'), flush())
        assert shape(c.until('C')) == '1 2 n C:INSERT 0 1'
        assert keys(table) == [1]           # others see it, with no Sync yet
        assert shape(c.ask(extended('INSERT INTO r VALUES (1)'), sync())) == '1 2 n E:23505 Z:I'
        twice = extended('INSERT INTO r VALUES (2)') * 2
        assert shape(c.ask(twice, sync())) == '1 2 n C:INSERT 0 1 1 2 n E:23505 Z:I'
        three = 'INSERT INTO r VALUES (3); '
        assert shape(c.ask(query(three * 2 + 'SELECT 1'))) == 'C:INSERT 0 1 E:23505 Z:I'
        assert keys(table) == [1, 2, 3]
        assert shape(c.ask(query('INSERT INTO r VALUES (4); SELEC 1'))) == 'E:42601 Z:I'
        assert shape(c.ask(query('INSERT INTO r VALUES (5); COMMIT'))) == 'C:INSERT 0 1 E:XXUUU Z:I'
        assert shape(c.ask(query('BEGIN; INSERT INTO r VALUES (6); ROLLBACK'))) == \
            'C:BEGIN C:INSERT 0 1 C:ROLLBACK Z:I'
        assert shape(c.ask(query("SELECT ';' ; ; SELECT $$;$$ -- ;"))) == \
            'T D C:SELECT 1 T D C:SELECT 1 Z:I'
        assert shape(c.ask(query(' ; '))) == 'I Z:I'
        assert keys(table) == [1, 2, 3, 5]


def test_batches_of_a_new_version(make_crdb, crdb_pg):
    """From 22.2 on what stands before a Sync, or in a Query, is one transaction."""
    c = make_crdb(n=1, version=V26)
    c.sql('DROP TABLE IF EXISTS r; CREATE TABLE r (k int PRIMARY KEY)')
    with c.nodes[0].connect() as s:
        assert shape(s.ask(extended('INSERT INTO r VALUES (2)') * 2, sync())) == \
            '1 2 n C:INSERT 0 1 1 2 n E:23505 Z:I'
        assert shape(s.ask(extended('INSERT INTO r VALUES (3)'), extended('LISTEN x'),
                           sync())) == '1 2 n C:INSERT 0 1 E:42601 Z:I'
        assert shape(s.ask(query('INSERT INTO r VALUES (4); INSERT INTO r VALUES (4)'))) == \
            'C:INSERT 0 1 E:23505 Z:I'
        assert keys(c) == []
        assert shape(s.ask(extended('INSERT INTO r VALUES (5)'),
                           extended('INSERT INTO r VALUES (6)'), sync())) == \
            '1 2 n C:INSERT 0 1 1 2 n C:INSERT 0 1 Z:I'
        assert keys(c) == [5, 6]


def test_readies_after_an_error(node):
    """B9, B10: a Query in the skipping is not run, answers Z, and ends it."""
    with node.connect() as c:
        bad = parse('SELECT nope')
        assert shape(c.ask(bad, query("SELECT 'no'"), sync(), readies=2)) == 'E:42703 Z:I Z:I'
        assert shape(c.ask(bad, query("SELECT 'no'"))) == 'E:42703 Z:I'
        assert shape(c.ask(bad, sync(), extended('SELECT 1'), sync(), readies=2)) == \
            'E:42703 Z:I 1 2 T D C:SELECT 1 Z:I'
        assert shape(c.ask(function_call(1), parse('SELECT 1'), sync())) == 'E:08P01 Z:I'
        assert shape(c.ask(parse('SELECT 1; SELECT 2'), sync())) == 'E:42P14 Z:I'
        assert shape(c.ask(copy_done(), query('SELECT 1'))) == 'T D C:SELECT 1 Z:I'


def test_flush(node):
    """E7: every reply at once after each with H."""
    with node.connect() as c:
        for data, last in ((parse('SELECT 1'), '1'), (bind(), '2'), (describe(), 'T'),
                           (execute(), 'C')):
            c.send(data, flush())
            c.until(last)
            assert c.quiet(0.02)
        assert shape(c.ask(sync())) == 'Z:I'
        c.send(parse('SELECT 2', 'p'), bind((), 'p', 'po'), execute('po'))
        assert c.quiet(0.05)
        assert shape(c.ask(sync())) == '1 2 D C:SELECT 1 Z:I'


def test_prepared_statements(node):
    """A, E8: they survive a rollback; one namespace; the text of 26000."""
    with node.connect() as c:
        c.sql('BEGIN')
        c.ask(parse('SELECT 7', 'p1'), sync())
        c.sql("PREPARE p2 AS SELECT 8")
        c.sql('ROLLBACK')
        assert shape(c.ask(parse('SELECT 7', 'p1'), sync())) == 'E:42P05 Z:I'
        assert c.sql('EXECUTE p1') == [['7']]
        assert shape(c.ask(bind((), 'p2'), execute(), sync())) == '2 D C:SELECT 1 Z:I'
        assert shape(c.ask(close('S', 'p1'), sync())) == '3 Z:I'
        got = c.ask(bind((), 'p1'), execute(), sync())
        assert shape(got) == 'E:26000 Z:I' and got[0][1]['M'] == 'unknown prepared statement "p1"'
        c.sql('DISCARD ALL')
        assert shape(c.ask(bind((), 'p2'), sync())) == 'E:26000 Z:I'


def test_portals(node):
    """E6: outside a block it is over after the first part; one at a time in a block."""
    g = 'SELECT generate_series(1, 5)'
    with node.connect() as c:
        assert shape(c.ask(parse(g), bind(), execute('', 3), execute('', 3), sync())) == \
            '1 2 D D D s E:34000 Z:I'
        c.sql('BEGIN')
        assert shape(c.ask(parse(g), bind((), '', 'x'), execute('x', 3), sync())) == \
            '1 2 D D D s Z:T'
        assert shape(c.ask(execute('x'), sync())) == 'D D C:SELECT 2 Z:T'
        assert shape(c.ask(bind((), '', 'y'), execute('y', 3), close('P', 'y'), sync())) == \
            '2 D D D s 3 Z:T'
        assert shape(c.ask(query('SELECT 1'))) == 'T D C:SELECT 1 Z:T'
        assert shape(c.ask(parse(g), bind((), '', 'z'), execute('z', 3), sync())) == \
            '1 2 D D D s Z:T'
        assert shape(c.ask(query('SELECT 1'))) == 'E:0A000 Z:E'


def test_copy(table):
    """E3."""
    with table.nodes[0].connect() as c:
        c.send(query('COPY r FROM STDIN'))
        c.until('G')
        assert shape(c.ask(copy_data('1\t1\n2\t2\n'), copy_done())) == 'C:COPY 2 Z:I'
        c.send(query('COPY r FROM STDIN'))
        c.until('G')
        got = c.ask(copy_data('3\t1\n'), copy_fail())
        assert shape(got) == 'E:XXUUU Z:I' and got[0][1]['M'] == 'client canceled COPY'
        assert shape(c.ask(query('SELECT 1; COPY r FROM STDIN'))) == 'T D C:SELECT 1 E:08P01 Z:I'
        assert shape(c.ask(parse('COPY r FROM STDIN'), sync())) == 'E:XXUUU Z:I'
        assert keys(table) == [1, 2]


def test_large_messages(node):
    """E9: a Query over 16 MiB is an error, any other the end."""
    with node.connect() as c:
        got = c.ask(query("SELECT '%s'" % ('x' * (17 << 20))))
        assert shape(got) == 'E:08P01 Z:I' and got[0][1]['M'] == \
            'message size 17 MiB bigger than maximum allowed message size 16 MiB'
        assert c.one("SELECT length('%s')" % ('x' * (3 << 20))) == str(3 << 20)
        assert len(c.sql("SELECT repeat('y', 1000) FROM generate_series(1, 20000)")) == 20000
        with pytest.raises((Closed, ConnectionError)):
            c.ask(parse("SELECT '%s'" % ('x' * (17 << 20))), sync())


# ---- 40001 and 40003 (wire B) -----------------------------------------------------------

def test_conflicts_of_postgres(table):
    """B1: PostgreSQL's serialization failures in CockroachDB's words, Z:E at a statement and
    Z:I at COMMIT; outside a block the server runs it again (B3)."""
    a, b = table.nodes[0].connect(), table.nodes[1].connect()
    table.sql('INSERT INTO r VALUES (1, 0), (2, 0)')
    for c in (a, b):
        c.sql('BEGIN')
        c.sql('SELECT sum(v) FROM r')
    a.sql('UPDATE r SET v = v + 1 WHERE k = 1')
    b.sql('UPDATE r SET v = v + 1 WHERE k = 2')
    assert shape(a.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
    got = b.ask(extended('COMMIT'), sync())
    assert shape(got) == '1 2 n E:40001 Z:I'
    e = got[3][1]
    assert e['S'] == 'ERROR' and e['H'].endswith('#retry_serializable')
    assert 'RETRY_SERIALIZABLE' in e['M']
    assert e['M'].startswith('restart transaction: TransactionRetryWithProtoRefreshError: ')
    b.sql('BEGIN')
    b.sql('SELECT v FROM r')
    a.sql('UPDATE r SET v = v + 1 WHERE k = 1')
    got = b.ask(query('UPDATE r SET v = v + 1 WHERE k = 1'))
    assert shape(got) == 'E:40001 Z:E' and 'WriteTooOldError' in got[0][1]['M']
    b.sql('ROLLBACK')
    a.sql('BEGIN')
    a.sql('UPDATE r SET v = v + 1 WHERE k = 1')
    waits = Spawned(lambda: b.ask(extended('UPDATE r SET v = v + 1 WHERE k = 1'), sync()))
    until(lambda: int(table.one("SELECT count(*) FROM pg_stat_activity "
                                "WHERE wait_event_type = 'Lock'")))
    a.sql('COMMIT')
    assert shape(waits.result()) == '1 2 n C:UPDATE 1 Z:I'
    assert sum(n.stats()['retried'] for n in table.nodes) >= 1


def test_deadlock(table):
    """B1: 40001 ABORT_REASON_PUSHER_ABORTED, never 40P01."""
    table.sql('INSERT INTO r VALUES (1, 0), (2, 0)')
    a, b = table.nodes[0].connect(), table.nodes[1].connect()
    for c, k in ((a, 1), (b, 2)):
        c.sql('BEGIN')
        c.sql('UPDATE r SET v = 1 WHERE k = %d' % k)
    a.send(query('UPDATE r SET v = 1 WHERE k = 2'))
    b.send(query('UPDATE r SET v = 1 WHERE k = 1'))
    bad = [m[1] for c in (a, b) for m in c.until('Z') if m[0] == 'E'][0]
    assert bad['C'] == '40001' and 'ABORT_REASON_PUSHER_ABORTED' in bad['M']


def test_injected_40001(table):
    """Hooks: statements in and outside of blocks, COMMITs, rows that went out before."""
    n = table.nodes[0]
    with n.connect() as c:
        n.inject(n=2)
        assert shape(c.ask(query('INSERT INTO r VALUES (1)'))) == 'E:40001 Z:I'
        assert shape(c.ask(extended('SELECT 1'), sync())) == '1 2 T E:40001 Z:I'
        assert shape(c.ask(query('INSERT INTO r VALUES (1)'))) == 'C:INSERT 0 1 Z:I'
        n.inject(block=True)
        assert shape(c.ask(query('SELECT 1'))) == 'T D C:SELECT 1 Z:I'
        c.sql('BEGIN')
        assert shape(c.ask(extended('SELECT 1'), sync())) == '1 2 T E:40001 Z:E'
        c.sql('ROLLBACK')
        n.inject(on='commit')
        c.sql('BEGIN')
        c.sql('INSERT INTO r VALUES (2)')
        got = c.ask(extended('COMMIT'), sync())
        assert shape(got) == '1 2 n E:40001 Z:I' and 'RETRY_SERIALIZABLE' in got[3][1]['M']
        n.inject(when='rows', match='RETURNING')
        assert shape(c.ask(query('INSERT INTO r VALUES (3) RETURNING k'))) == 'T D E:40001 Z:I'
        n.inject(when='rows', match='RETURNING')
        assert shape(c.ask(extended('INSERT INTO r VALUES (3) RETURNING k'), sync())) == \
            '1 2 T D E:40001 Z:I'
        assert keys(table) == [1] and n.stats()['injected'] == 6
        got = c.ask(query("SELECT crdb_internal.force_error('40001', 'x')"))    # B11
        assert shape(got) == 'E:40001 Z:I' and got[0][1]['M'] == 'restart transaction: x'


def test_injected_40003(table):
    """Hooks: ambiguous, and applied or not."""
    n = table.nodes[0]
    with n.connect() as c:
        n.inject('40003')
        got = c.ask(query('INSERT INTO r VALUES (1)'))
        assert shape(got) == 'E:40003 Z:I'
        assert got[0][1]['M'].startswith('result is ambiguous (error=rpc')
        n.inject('40003', when='after')
        assert shape(c.ask(query('INSERT INTO r VALUES (2) RETURNING k'))) == 'E:40003 Z:I'
        n.inject('40003', when='after')
        assert shape(c.ask(extended('INSERT INTO r VALUES (3) RETURNING k'), sync())) == \
            '1 2 T E:40003 Z:I'
        for when, k in (('before', 4), ('after', 5)):
            n.inject('40003', on='commit', when=when)
            c.sql('BEGIN')
            c.sql('INSERT INTO r VALUES (%d)' % k)
            assert shape(c.ask(query('COMMIT'))) == 'E:40003 Z:I'
        assert keys(table) == [2, 3, 5]


def test_restart_savepoint(table):
    """D1, D2: RELEASE is the commit; the way back after a 40001."""
    n = table.nodes[0]
    with n.connect() as c:
        c.sql('BEGIN')
        c.sql('SAVEPOINT cockroach_restart')
        n.inject()
        assert shape(c.ask(query('INSERT INTO r VALUES (1)'))) == 'E:40001 Z:E'
        assert shape(c.ask(query('ROLLBACK TO SAVEPOINT cockroach_restart'))) == 'C:ROLLBACK Z:T'
        c.sql('INSERT INTO r VALUES (2)')
        assert shape(c.ask(extended('RELEASE SAVEPOINT cockroach_restart'), sync())) == \
            '1 2 n C:COMMIT Z:T'
        assert keys(table) == [2]
        assert shape(c.ask(query('SELECT 1'))) == 'E:25000 Z:T'
        assert shape(c.ask(query('ROLLBACK'))) == 'C:COMMIT Z:I'
        c.sql('BEGIN')
        c.sql('SELECT 1')
        assert shape(c.ask(query('SAVEPOINT cockroach_restart'))) == 'E:42601 Z:E'


def test_latency(node):
    with node.connect() as c:
        node.latency(0.2)
        t = time.monotonic()
        c.sql('SELECT 1')
        assert time.monotonic() - t >= 0.2


# ---- HTTP (facts 1.4) -------------------------------------------------------------------

def test_http(node):
    assert node.http('/health') == (200, '{}')
    assert node.http() == (200, '{}')
    assert node.http('/nothing')[0] == 404 and node.http('/')[0] == 404
    with socket.create_connection(('127.0.0.1', node.http_port), timeout=10) as s:
        s.sendall(b'GET /health?ready=1 HTTP/1.0\r\n\r\n')
        got = b''
        while more := s.recv(4096):
            got += more
        assert got.startswith(b'HTTP/1.1 200 OK\r\n') and got.endswith(b'\r\n\r\n{}')


def test_decommission(node):
    """503 while SQL works."""
    node.decommission()
    status, body = node.http()
    assert status == 503
    assert body == ('{"error":"node is shutting down","code":14,"message":"node is shutting down",'
                    '"details":[]}')
    assert json.loads(body)['details'] == []
    assert node.http('/health') == (200, '{}')
    with node.connect() as c:
        assert c.one('SELECT 1') == '1'
    node.decommission(False)
    assert node.http()[0] == 200


# ---- drain (wire H) ---------------------------------------------------------------------

def test_drain_phases(table):
    """H1, H2: ready=1 first; then refused, also an SSLRequest; `drained` stays up, refusing."""
    n = table.nodes[0]
    with n.connect() as old:
        n.drain(initial_wait=0.5, connections_timeout=0.7, tell=0)
        assert n.phase() == 'unready' and n.http()[0] == 503 and n.http('/health')[0] == 200
        n.connect().close()
        assert old.one('SELECT 1') == '1'
        n.wait_phase('refusing')
        assert bare(n, startup()) == REFUSED
        assert bare(n, special(wire.CODE_SSL)) == REFUSED
        assert bare(n, special(wire.CODE_CANCEL, bytes(8))) == b''
        assert shape(old.ask(query('BEGIN'))) == 'C:BEGIN Z:T'
        assert shape(old.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        assert everything(old) == DOWN
    assert n.wait_phase('drained')
    assert bare(n, startup()) == REFUSED and n.http()[0] == 503
    n.undrain()
    assert n.http() == (200, '{}') and n.connect().one('SELECT 1') == '1'


def test_refused_by_a_new_version(make_crdb):
    n = make_crdb(n=1, version=V26).nodes[0]
    n.drain(leave=True)
    n.wait_phase('refusing', 'draining', 'drained')
    try:
        with pytest.raises(PgError) as e:
            n.connect()
        assert e.value.fields['M'] == 'server is not accepting clients, try another node'
    except ConnectionError:
        pass                            # it has left already
    assert n.proc.wait(10) == 0


def test_drain_idle(table):
    """H3: idle connections are told 0 to 1.5 s later, each at a moment of its own that a
    seed fixes."""
    n = table.nodes[0]
    cs = [n.connect() for _ in range(8)]
    t = time.monotonic()
    n.drain(seed=7)

    def told(i):
        assert everything(cs[i]) == DOWN
        return time.monotonic() - t
    when = run_threads(8, told)
    assert all(w < 2.5 for w in when) and max(when) - min(when) > 0.3
    until(lambda: n.stats()['connections'] == 0)
    assert n.stats()['told'] == 8 and n.stats()['refused'] == 0


@pytest.mark.parametrize('how', ['simple', 'extended', 'begin', 'flushed'])
def test_drain_refuses_statements(table, how):
    """H4: in the window a statement is answered by just that, and never run."""
    n = table.nodes[0]
    text = "INSERT INTO r VALUES (1) -- tok_1"
    with n.connect() as c:
        if how == 'flushed':            # H5: counts as idle
            c.send(parse('SELECT 1'), flush())
            c.until('1')
        n.drain(tell=30)
        n.wait_phase('draining')
        c.send({'simple': query(text), 'begin': query('BEGIN -- tok_1')}.get(how) or
               extended(text) + sync())
        assert everything(c) == DOWN
    until(lambda: n.stats()['connections'] == 0)
    assert keys(table) == []
    assert n.refused_tokens() == {'tok_1': 1} and n.passed_tokens() == {}
    assert n.stats()['refused'] == 1


def test_drain_in_a_transaction(table):
    """H5: it goes on to its end; what is pipelined behind is not run."""
    n = table.nodes[0]
    with n.connect() as c, n.connect() as e:
        c.hold()
        e.hold()
        e.ask(query('SELECT 1/0'))
        n.drain()
        n.wait_phase('draining')
        assert shape(c.ask(query('INSERT INTO r VALUES (1)'))) == 'C:INSERT 0 1 Z:T'
        c.send(query('COMMIT'), query('INSERT INTO r VALUES (2) -- tok_2'))
        assert everything(c) == complete('COMMIT') + READY_I + DOWN
        e.send(query('ROLLBACK'))
        assert everything(e) == complete('ROLLBACK') + READY_I + DOWN
    assert keys(table) == [1] and n.refused_tokens() == {'tok_2': 1}


def test_drain_running_statement(table):
    """One that runs outside a block is answered, and then told."""
    n = table.nodes[0]
    with n.connect() as c:
        c.send(query('INSERT INTO r SELECT 1 FROM pg_sleep(0.5)'))
        until(lambda: n.stats()['passed'] == 1)
        n.drain()
        assert everything(c) == complete('INSERT 0 1') + READY_I + DOWN
    assert keys(table) == [1]


def test_drain_timeout(table):
    """H6: idle in a transaction 57P01, running 57014 57P01, COPY XXUUU 57P01: all undone."""
    n = table.nodes[0]
    with n.connect() as a, n.connect() as b, n.connect() as c:
        a.hold()
        a.sql('INSERT INTO r VALUES (1)')
        b.send(query('INSERT INTO r SELECT 2 FROM pg_sleep(30)'))
        c.send(query('COPY r FROM STDIN'))
        c.until('G')
        c.send(copy_data('3\t3\n'))
        until(lambda: n.stats()['passed'] == 5)
        n.drain(transactions_timeout=0.3)
        assert everything(a) == DOWN
        got = everything(b)
        assert got.startswith(b'E') and b'C57014\0' in got and got.endswith(DOWN)
        assert b'Mquery execution canceled\0\0' + DOWN in got
        assert everything(c) == wire.msg('E', b'SERROR\0CXXUUU\0Mcontext canceled\0\0') + DOWN
    n.wait_phase('drained')
    assert keys(table) == []


def test_drain_suspended_portal(node):
    """H6: an unsolicited 0A000 after 0.5 s; 57P01 at the end."""
    with node.connect() as c:
        c.sql('BEGIN')
        c.ask(parse('SELECT generate_series(1, 5)'), bind(), execute('', 2), sync())
        node.drain(transactions_timeout=1.2)
        m = c.read()
        assert m[0] == 'E' and m[1]['C'] == '0A000' and m[1]['M'].endswith(
            'cannot perform operation sql.DrainRequest while a different portal is open')
        assert shape(c.ask(execute('', 1), sync())) == 'D s Z:T'
        assert everything(c) == DOWN


# ---- death ------------------------------------------------------------------------------

def test_kill_and_restart(table):
    """H9: EOF on all connections, then connection refused; the data is on the others."""
    n = table.nodes[1]
    with n.connect() as c, n.connect() as d:
        c.sql('INSERT INTO r VALUES (1)')
        d.hold()
        d.sql('INSERT INTO r VALUES (2)')
        n.kill()
        assert everything(c) == b'' and everything(d) == b''
    with pytest.raises(ConnectionRefusedError):
        n.connect()
    with pytest.raises(ConnectionRefusedError):
        n.http()
    with table.nodes[2].connect() as c:
        assert c.sql('SELECT k FROM r') == [['1']]
    n.restart()
    assert n.connect().sql('SELECT k FROM r') == [['1']]


def test_hang(node):
    """It accepts and is silent, and goes on when it is let."""
    with node.connect() as c:
        node.hang()
        c.send(query('SELECT 1'))
        with Conn(node.port, login=False) as other:
            other.send(startup())
            assert other.quiet(0.3) and c.quiet(0.1)
        with pytest.raises(TimeoutError):
            node.http(timeout=0.2)
        node.resume()
        assert shape(c.until('Z')) == 'T D C:SELECT 1 Z:I'


def test_cut(node):
    with node.connect() as c:
        node.cut()
        assert everything(c) == b''
    node.connect().close()


# ---- the double under load --------------------------------------------------------------

def test_many(crdb):
    """300 connections at once, each served; tokens counted once each; 2,000 statements a
    second between them is what the drain tests need."""
    cs = [crdb.nodes[i % 3].connect() for i in range(300)]
    for i, c in enumerate(cs):
        c.send(extended("SELECT $1", ['tok_%d' % i]), sync())
    for c in cs:
        assert shape(c.until('Z')) == '1 2 T D C:SELECT 1 Z:I'
    assert sum((list(n.passed_tokens().values()) for n in crdb.nodes), []) == [1] * 300
    t = time.monotonic()

    def body(i):
        for j in range(20):
            cs[i].ask(*[extended('SELECT $1::int', [j]) + sync()] * 10, readies=10)
    run_threads(12, body)
    rate = 12 * 20 * 10 / (time.monotonic() - t)
    print('%d statements a second' % rate)
    for c in cs:
        c.close()
    assert crdb.total('passed') == 300 + 2400
