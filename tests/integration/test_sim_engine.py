"""The simulated backend (tests/sim/engine.h) against PostgreSQL: the same messages to
both, and the answers must be the same, field by field.

What is not compared: addresses and positions of errors, object ids of columns,
BackendKeyData, server_version.

SPDX-License-Identifier: ISC
"""
import glob
import os
import random
import re
import struct
import subprocess
import time

import pytest

import wire
from conftest import ROOT
from wire import (bind, close, copy_data, copy_done, copy_fail, cstr, describe, execute, flush, msg,
                  parse, query, startup, sync, terminate)

pytestmark = [pytest.mark.weir_only]

SCHEMA = '''
CREATE TABLE kv (k int PRIMARY KEY CHECK (k BETWEEN 0 AND 11), v text NOT NULL);
CREATE FUNCTION tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
NEW.v := NEW.v || ','; RETURN NEW; END $$;
CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE was text; BEGIN
DELETE FROM kv WHERE k = NEW.k RETURNING v INTO was;
NEW.v := coalesce(was, '') || NEW.v || ','; RETURN NEW; END $$;
CREATE TRIGGER tag BEFORE UPDATE ON kv FOR EACH ROW EXECUTE FUNCTION tag();
CREATE TRIGGER put BEFORE INSERT ON kv FOR EACH ROW EXECUTE FUNCTION put();
'''

EMPTY = '''SET session_replication_role = replica; TRUNCATE kv;
INSERT INTO kv SELECT i, '' FROM generate_series(0, 11) i'''


# ---- the two servers ----------------------------------------------------------------

def build(where):
    """engine_main, with sanitizers; says its path."""
    out = os.path.join(where, 'engine_main')
    sim = os.path.join(ROOT, 'tests', 'sim')
    src = [f for n in ('sql*.c', 'store.c', 'engine*.c') for f in sorted(glob.glob(os.path.join(sim, n)))]
    subprocess.run([os.environ.get('CC', 'cc'), '-std=c11', '-D_GNU_SOURCE', '-g', '-O1',
                    '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined',
                    '-o', out, *src, '-lm'], check=True, timeout=300)
    return out


@pytest.fixture(scope='module')
def program(base):
    return build(base)


class Sim:
    """engine_main with a store of its own."""

    def __init__(self, program, *args):
        self.proc = subprocess.Popen([program, '0', *args], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.port = int(re.search(rb'port=(\d+)', self.proc.stdout.readline()).group(1))

    def stop(self):
        self.proc.stdin.close()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise
        err = self.proc.stderr.read().decode(errors='replace')
        self.proc.stdout.close()
        self.proc.stderr.close()
        assert self.proc.returncode == 0, err


@pytest.fixture(scope='module')
def real(_pg):
    _pg.sql('CREATE DATABASE sim', user='postgres', database='postgres')
    with _pg.connect(database='sim') as c:
        c.sql(SCHEMA)
    return _pg


# ---- playing a script ---------------------------------------------------------------

def plain(letter, body):
    """A message as it is compared."""
    if letter in 'EN':
        f = wire._fields(body)
        keep = {k: f[k] for k in 'SVCM' if k in f}
        if f.get('W', '').startswith('COPY'):
            keep['W'] = f['W']
        return (letter, keep)
    if letter == 'T':
        n, at, cols = struct.unpack('!h', body[:2])[0], 2, []
        for _ in range(n):
            end = body.index(b'\0', at)
            cols.append((body[at:end].decode(), *struct.unpack('!ihih', body[end + 7:end + 19])))
            at = end + 19
        return ('T', cols)
    if letter == 'A':
        return ('A', body[4:])
    if letter in 'CSZD':
        return wire.decode(letter, body)
    return (letter, body)


def compared(m):
    return not (m[0] == 'K' or (m[0] == 'S' and m[1][0] == 'server_version'))


class Player:
    """Connections of one script to one server."""

    def __init__(self, port, user):
        self.port, self.user, self.conns, self.log = port, user, {}, []

    def conn(self, name, login=None):
        if name not in self.conns:
            self.conns[name] = wire.Conn(self.port, timeout=10, login=False)
            if login is not False:
                self.step(name, startup(self.user, 'sim', **(login or {})), 1)
        return self.conns[name]

    def step(self, name, data, until):
        """until: ReadyForQuerys to wait for; or letters that come one right after the
        other (S, A and N apart); or 'closed'."""
        c = self.conn(name)
        if (name, ('closed',)) in self.log:
            return
        if data:
            c.send(data)
        seen = ''
        while not (seen.count('Z') == until if isinstance(until, int) else seen.endswith(until)):
            try:
                m = c.read_raw()
            except wire.Closed:
                self.log.append((name, ('closed',)))
                return
            m = plain(*m)
            if compared(m):
                self.log.append((name, m))
            if until == 'A' or m[0] not in 'SAN':
                seen += m[0]

    def close(self):
        for c in self.conns.values():
            c.close()


def play(port, script, user, login):
    p = Player(port, user)
    try:
        for name, params in (login or {}).items():
            p.conn(name, params)
        for name, data, until in script:
            p.step(name, data, until)
    finally:
        p.close()
    return p.log


def ordered(log):
    """Rows of COPY TO come in the order of the table."""
    out, at = list(log), 0
    while at < len(out):
        end = at
        while end < len(out) and out[end][-1][0] == 'd':
            end += 1
        out[at:end] = sorted(out[at:end], key=repr)
        at = end + 1
    return out


def difference(real, sim):
    real, sim = ordered(real), ordered(sim)
    for i, (a, b) in enumerate(zip(real, sim)):
        if a != b:
            before = '\n  '.join(map(repr, real[max(0, i - 12):i]))
            return 'message %d, after\n  %s\nPostgreSQL: %r\nsimulated:  %r' % (i, before, a, b)
    if len(real) != len(sim):
        return 'PostgreSQL: ... %r\nsimulated:  ... %r' % (real[len(sim):][:3], sim[len(real):][:3])
    return None


def compare(program, real, script, user='postgres', login=None):
    real.sql(EMPTY, database='sim')
    sim = Sim(program)
    try:
        mine = play(sim.port, script, user, login)
    finally:
        sim.stop()
    theirs = play(real.port, script, user, login)
    why = difference(theirs, mine)
    assert not why, why


# ---- scripts --------------------------------------------------------------------------

def Q(*texts, c='a'):
    """Each text a Query of its own, one after the other."""
    return [(c, query(t), 1) for t in texts]


def X(sql, params=(), name='', rows=0, portal=''):
    return parse(sql, name) + bind(params, name, portal) + describe('P', portal) + execute(portal, rows)


def S(*parts, c='a', n=1):
    """A pipelined batch with n Syncs in it."""
    return [(c, b''.join(parts), n)]


def B(*texts):
    """One batch of statements, and a Sync."""
    return S(*[X(t) for t in texts], sync())


INS = "INSERT INTO kv VALUES (%d, '%s')"
SCRIPTS = {
    'select': Q('SELECT 1', "SELECT 'a'", "SELECT 'it''s' AS x, 2", 'SELECT 1 AS "A b", NULL, true',
                'SELECT 5000000000, 1.5, -3', "SELECT repeat('ab', 3)", 'SELECT 1 + 2 * 1, 7 / 2, 3 - 5',
                "SELECT 'a' || 'b' AS c", 'SELECT g FROM generate_series(1, 3) g',
                'SELECT 1 /* c /* d */ */ -- e\n', "SELECT e'a\\nb', $$x'y$$, $q$z$q$",
                'SELECT pg_is_in_recovery()',
                'SELECT 1;', ';;', '', '  -- nothing', '/* */;', 'SELECT 1;;SELECT 2;', "SELECT ''",
                'SELECT count(*) FROM kv', 'select CURRENT_SETTING(\'WORK_MEM\')'),
    'select errors': Q('SELECT 1/0', 'SELECT * FROM nothing', 'SELECT nothing', 'SELECT nothing()',
                       "SELECT nothing(1, 'a', true)", 'SELEC 1', 'SELECT 1 1', 'SELECT', 'SELECT 1 FROM',
                       "SELECT 'abc", 'SELECT "abc', '/* abc', 'SELECT 1; SELEC 2', 'SELECT $1', 'nothing',
                       'SELECT *', 'SELECT 2147483647 + 1', 'BEGIN; SELECT 1/0', 'nothing',
                       'ROLLBACK', 'SELECT 1 + 1/0, 2', "SELECT repeat('abcdefghij', 2000000000)",
                       'SELECT 99999999999 - 1', 'SELECT ""', 'SELECT 2147483648 + 2147483647',
                       'SELECT 9223372036854775807 + 1'),
    'data': Q('SELECT v FROM kv WHERE k = 1', INS % (1, 'a'), "UPDATE kv SET v = v || 'b' WHERE k = 1",
              'SELECT v FROM kv WHERE k = 1', "INSERT INTO kv VALUES (1, 'c'), (2, 'd') RETURNING v",
              "UPDATE kv SET v = v || 'e' WHERE k = 2 RETURNING v", 'SELECT k, v FROM kv WHERE k IN (1, 2)',
              'SELECT v FROM kv WHERE k = 99', "UPDATE kv SET v = v || 'e' WHERE k = 99",
              "UPDATE kv SET v = v || 'e' WHERE k = 99 RETURNING v", INS % (99, 'x'),
              'INSERT INTO kv VALUES (1, NULL)', "INSERT INTO kv VALUES (NULL, 'x')",
              "UPDATE kv SET v = v || NULL WHERE k = 1", 'SELECT v FROM kv WHERE k = 1 FOR UPDATE',
              "INSERT INTO kv VALUES (1, 'p'), (99, 'q')", 'SELECT k, v FROM kv ORDER BY k',
              "INSERT INTO kv (k, v) VALUES (3, 'x')", 'COPY kv TO STDOUT'),
    'blocks': Q('BEGIN', 'BEGIN', INS % (1, 'a'), 'COMMIT', 'COMMIT', 'ROLLBACK', 'BEGIN WORK', INS % (1, 'b'),
                'ROLLBACK', 'SELECT v FROM kv WHERE k = 1', 'START TRANSACTION READ ONLY', INS % (1, 'x'),
                'SELECT 1', '', 'SAVEPOINT a', 'BEGIN', 'COMMIT', 'BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE',
                'END', 'ABORT', 'BEGIN', 'nothing', 'END', 'BEGIN TRANSACTION', 'SELECT 1/0', 'ROLLBACK',
                'BEGIN READ ONLY', 'CREATE TEMP TABLE x (a int)', 'ROLLBACK', 'BEGIN READ ONLY',
                'SHOW transaction_read_only', 'COMMIT AND CHAIN', 'SHOW transaction_read_only', 'ROLLBACK'),
    'chain': Q('BEGIN', INS % (1, 'a'), 'COMMIT AND CHAIN', INS % (1, 'b'), 'ROLLBACK AND CHAIN',
               INS % (1, 'c'), 'SELECT 1/0', 'COMMIT AND CHAIN', INS % (1, 'd'), 'SELECT 1/0',
               'ROLLBACK AND CHAIN', 'COMMIT AND NO CHAIN', 'COMMIT AND CHAIN', 'ROLLBACK AND CHAIN',
               'SELECT v FROM kv WHERE k = 1', 'SELECT 1; COMMIT AND CHAIN'),
    'savepoints': Q('SAVEPOINT a', 'RELEASE a', 'ROLLBACK TO a', 'BEGIN', 'SAVEPOINT a', INS % (1, 'a'),
                    'SAVEPOINT b', INS % (1, 'b'), 'SELECT 1/0', 'SELECT 1', 'RELEASE b', 'SAVEPOINT c',
                    'ROLLBACK TO b', INS % (1, 'c'), 'RELEASE SAVEPOINT b', 'ROLLBACK TO b', 'ROLLBACK TO a',
                    'SELECT v FROM kv WHERE k = 1', 'ROLLBACK TO SAVEPOINT nothing', 'ROLLBACK TO nothing',
                    'ROLLBACK TRANSACTION TO SAVEPOINT a', INS % (1, 'd'), 'SAVEPOINT a', INS % (1, 'e'),
                    'ROLLBACK TO a', 'RELEASE a', 'RELEASE a', 'RELEASE a', 'COMMIT',
                    'SELECT v FROM kv WHERE k = 1',
                    'BEGIN; SAVEPOINT x; SAVEPOINT x; RELEASE x; ROLLBACK TO x; COMMIT', 'SAVEPOINT x; SELECT 1',
                    'SELECT 1; RELEASE x', 'SELECT 1; ROLLBACK TO x', 'BEGIN', 'SAVEPOINT s', 'SELECT 1/0',
                    'COMMIT',
                    'BEGIN', 'SAVEPOINT s', INS % (2, 'a'), 'COMMIT AND CHAIN', 'ROLLBACK TO s', 'ROLLBACK',
                    'SELECT v FROM kv WHERE k = 2'),
    'many in one': Q('SELECT 1; SELECT 2', INS % (1, 'a') + '; SELECT 1/0; SELECT 3',
                 'SELECT v FROM kv WHERE k = 1',
                     INS % (1, 'b') + '; COMMIT; SELECT 1/0', 'SELECT v FROM kv WHERE k = 1',
                     INS % (1, 'c') + '; BEGIN; ' + INS % (1, 'd') + '; SELECT 1/0', 'ROLLBACK',
                     'SELECT v FROM kv WHERE k = 1', INS % (1, 'e') + '; ROLLBACK; ' + INS % (1, 'f'),
                     'SELECT v FROM kv WHERE k = 1', 'BEGIN; ' + INS % (1, 'g'), 'COMMIT; BEGIN; SELECT 1',
                     'COMMIT',
                     'SELECT v FROM kv WHERE k = 1', 'BEGIN; COMMIT; SELECT 1', 'SELECT 1; BEGIN; COMMIT; SELECT 2',
                     'BEGIN; nothing', 'BEGIN; SELECT 1/0; ROLLBACK', 'ROLLBACK; SELECT 1',
                     'SET application_name = x; SELECT 1/0', 'SHOW application_name',
                     'SET LOCAL application_name = y; SHOW application_name', 'SHOW application_name',
                     'SELECT 1; DISCARD ALL', 'COMMIT; COMMIT', 'BEGIN; BEGIN', 'ROLLBACK; ROLLBACK'),
    'extended': S(X('SELECT 1'), sync()) + S(X(INS % (1, 'a')), X('SELECT v FROM kv WHERE k = 1'), sync()) +
                S(X(INS % (1, 'b')), X('SELECT 1/0'), X('SELECT 2'), sync()) +
                Q('SELECT v FROM kv WHERE k = 1') +
                S(X('SELECT $1 || $2, $3', ['a', None, 'c']), sync()) +
                S(X("UPDATE kv SET v = v || $1 WHERE k = $2 RETURNING v", ['x', 3]), sync()) +
                S(X("INSERT INTO kv VALUES ($1, $2)", ['x', 3]), sync()) +
                S(X("INSERT INTO kv VALUES ($1, $2)", [99999999999, 3]), sync()) +
                S(X('SELECT g FROM generate_series(1, $1) g', [4], rows=2), execute('', 1), execute('', 9),
                  execute('', 9), sync()) +
                S(parse(''), bind(), describe('P'), describe('S'), execute(), sync()) +
                S(parse('SELECT 1; SELECT 2'), sync()) + S(parse('SELEC'), bind(), execute(), sync()) +
                S(execute('no'), sync()) + S(describe('S', 'no'), sync()) + S(describe('P', 'no'), sync()) +
                S(describe('S'), sync()) + S(bind(name='no'), sync()) + S(sync()) + S(flush(), sync()) +
                S(close('S', 'no'), close('P', 'no'), close('S', ''), close('P', ''), sync()) +
                S(bind(), sync()) + S(parse('SELECT $1', oids=[23]), describe('S'), sync()) +
                S(parse('SELECT $2'), sync()) + S(parse('SELECT $1 + 1, $2 AS x'), describe('S'), sync()) +
                S(parse('SELECT 1', oids=[23, 25]), describe('S'), sync()) + S(parse('', oids=[23]), describe('S'),
                sync()),
    'extended blocks': B('BEGIN') + B(INS % (1, 'a')) + B('COMMIT') + B('BEGIN', INS % (1, 'b'), 'COMMIT',
                 'SELECT 1') +
                B(INS % (1, 'c'), 'BEGIN', 'SELECT 1/0') + B('SELECT 1') + B('COMMIT') +
                B('COMMIT') + B('ROLLBACK') + B(INS % (1, 'd'), 'ROLLBACK', INS % (1, 'e')) +
                B(INS % (1, 'f'), 'COMMIT', 'SELECT 1/0') + Q('SELECT v FROM kv WHERE k = 1') +
                B('BEGIN', 'SAVEPOINT a', INS % (1, 'g')) + B('SELECT 1/0') + B('ROLLBACK TO a', 'SELECT 1') +
                B('RELEASE a', 'COMMIT AND CHAIN') + B('ROLLBACK') + B('SAVEPOINT a') + B('SELECT 1',
                'SAVEPOINT a') +
                B('SELECT 1', 'DISCARD ALL') + B('DISCARD ALL', 'SELECT 1') + B('SELECT 1', 'DISCARD ALL') +
                B('DISCARD ALL') + S(X('SELECT 1'), query('SELECT 2'), sync(), n=2) +
                S(X(INS % (2, 'a')), query('SELECT 1/0'), X('SELECT 1'), sync(), n=2) +
                S(X(INS % (2, 'b')), query(''), sync(), n=2) + Q('SELECT v FROM kv WHERE k = 2') +
                S(X('SELECT 1/0'), query('SELECT 2'), sync(), X('SELECT 3'), sync(), n=2) +
                S(X('BEGIN'), query('SELECT 1; SELECT 2'), X('COMMIT'), sync(), n=2),
    'failed block': Q('BEGIN') + S(parse('ROLLBACK', 'rb') + parse('SELECT 1', 's') + bind((), 's', 'p') +
                bind((), 'rb', 'prb'), sync()) + Q('SELECT 1/0') +
                S(parse('SELECT 1'), sync()) + S(parse('SELECT 1', 'n'), sync()) + S(bind((), 's'), sync()) +
                S(describe('S', 's'), sync()) + S(describe('S', 'rb'), sync()) + S(describe('P', 'p'), sync()) +
                S(describe('P', 'prb'), sync()) + S(execute('p'), sync()) + S(execute('prb'), sync()) +
                S(execute('no'), sync()) +
                S(parse(''), bind(), execute(), sync()) + S(close('P', 'p'), close('S', 's'), sync()) +
                S(parse('COMMIT'), bind(), describe('P'), sync()) + S(parse('COMMIT'), bind(['x']), sync()) +
                S(bind((), 'rb'), execute(), sync()) + S(execute('prb'), sync()) + S(bind((), 's'), sync()) +
                Q('BEGIN', 'SELECT 1/0', 'DISCARD ALL', 'SET application_name = x', 'SHOW application_name') +
                B('END'),
    'portals': Q('BEGIN') + S(parse('SELECT g FROM generate_series(1, 5) g', 's'), bind((), 's', 'p'), bind((), 's',
                 'q'),
                execute('p', 2), execute('q', 5), execute('q', 1), execute('p', 1), sync()) +
                S(execute('p', 0), execute('p', 0), sync()) + S(bind((), 's', 'p'), sync()) +
                Q('SELECT 1') + S(execute('q', 0), sync()) + Q('ROLLBACK', 'BEGIN') +
                S(bind((), 's', 'p'), execute('p', 1), close('P', 'p'), execute('p'), sync()) + Q('ROLLBACK') +
                S(bind((), 's', 'p'), execute('p', 1), sync()) + S(execute('p', 1), sync()) +
                S(bind((), 's', 'p'), execute('p', 1), execute('p', 1), sync()) +
                S(X("INSERT INTO kv VALUES (1, 'a'), (2, 'b'), (3, 'c') RETURNING v", rows=2), execute('', 1),
                  execute('', 1), execute('', 1), sync()) +
                S(X(INS % (1, 'a')), execute(), sync()) + S(X('SHOW application_name', rows=1), execute(),
                execute(), sync()) +
                S(X('SET application_name = x'), execute(), sync()) + S(X('BEGIN'), execute(), sync()) +
                Q('ROLLBACK') +
                S(bind((), 's', 'p'), query('SELECT 1'), execute('p'), sync(), n=2) +
                S(bind((), 's'), query('SELECT 1'), execute(), sync(), n=2) + Q('BEGIN') +
                S(bind((), 's'), sync()) + Q('') + S(execute('', 1), sync()) + Q('nothing') + S(execute('', 1),
                sync()) +
                Q('ROLLBACK', 'BEGIN') + S(bind((), 's', 'o'), sync()) + Q('SAVEPOINT a') + S(bind((), 's', 'i'),
                execute('o', 1), sync()) +
                Q('ROLLBACK TO a') + S(execute('o', 1), sync()) + S(execute('i', 1), sync()) + Q('ROLLBACK TO a',
                'RELEASE a') +
                S(execute('o', 1), sync()) + Q('COMMIT') + S(execute('o', 1), sync()) +
                S(bind((), 's', 'p'), describe('P', 'p'), bind((), 's', 'r', [1]), describe('P', 'r'), execute('r'),
                sync()) +
                S(bind((), 's', '', [1, 0]), sync()),
    'statements': S(parse('SELECT 1', 's'), sync()) + S(parse('SELECT 2', 's'), sync()) + Q('EXECUTE s') +
                S(close('S', 's'), parse('SELECT $1', 's'), describe('S', 's'), sync()) + Q("EXECUTE s('x')",
                'EXECUTE s', 'DEALLOCATE s',
                'DEALLOCATE s', 'PREPARE s AS SELECT 1', 'PREPARE s AS SELECT 1', 'EXECUTE s', 'EXECUTE nothing') +
                S(bind((), 's'), describe('P'), execute(), sync()) + S(describe('S', 's'), sync()) +
                Q('PREPARE t (int, text) AS INSERT INTO kv VALUES ($1, $2)', "EXECUTE t(1, 'a')",
                "EXECUTE t('x', 'a')",
                  "PREPARE u AS UPDATE kv SET v = v || $1 WHERE k = $2 RETURNING v", "EXECUTE u('x', 1)",
                  'PREPARE v AS SELECT 1/0',
                  'EXECUTE v', 'PREPARE w AS SELECT * FROM nothing', 'PREPARE w AS SELEC', 'PREPARE w AS BEGIN',
                  'PREPARE w AS SELECT $2') +
                S(X("EXECUTE u('y', 1)"), X("EXECUTE t(2, 'z')"), X('EXECUTE nothing'), sync()) +
                S(parse('EXECUTE s'), describe('S'), sync()) +
                Q('BEGIN', 'PREPARE x AS SELECT 1', 'ROLLBACK', 'EXECUTE x', 'DEALLOCATE PREPARE x',
                'DEALLOCATE ALL', 'EXECUTE s') +
                S(parse('SELECT 1'), sync()) + S(bind(), execute(), sync()) + Q('SELECT 2') + S(bind(), execute(),
                sync()) +
                S(parse('SELECT 1'), sync()) + S(parse('SELEC'), sync()) + S(bind(), sync()) +
                S(parse('SELECT 1'), sync()) + S(close('S', ''), bind(), sync()),
    'settings': Q("SET application_name = 'a'", 'SHOW application_name', 'BEGIN', "SET application_name TO 'b'",
                 'ROLLBACK',
                'BEGIN', "SET application_name TO 'b'", 'SELECT 1/0', 'ROLLBACK', 'BEGIN',
                'SET application_name = c',
                'SAVEPOINT s', 'SET application_name = d', 'SAVEPOINT t', 'SET LOCAL application_name = e',
                'ROLLBACK TO t',
                'RELEASE s', 'SET LOCAL application_name = f', 'COMMIT', 'SHOW application_name',
                'RESET application_name',
                'SET LOCAL timezone = utc', "SET TIME ZONE 'europe/berlin'", 'SHOW TIME ZONE', 'SHOW timezone',
                'RESET TimeZone',
                'SET TIME ZONE 3', 'SET TIME ZONE -5', 'SET TIME ZONE DEFAULT', 'SET timezone = nonsense',
                'SET DateStyle = german', 'SET datestyle = iso, dmy',
                "SET datestyle TO 'SQL'", 'RESET datestyle', 'SET datestyle = nonsense',
                'SET intervalstyle = ISO_8601',
                'SET IntervalStyle = x', 'SET client_encoding = latin1', "SET NAMES 'utf-8'",
                "SET client_encoding TO 'nonsense'",
                'SET statement_timeout = 1000', 'SHOW statement_timeout', "SET statement_timeout = '90s'",
                'SHOW statement_timeout',
                "SET statement_timeout = '1.5min'", 'SHOW statement_timeout', 'SET statement_timeout = -1',
                'SET statement_timeout = abc',
                "SET lock_timeout = '2 h'", 'SHOW lock_timeout', 'SET work_mem = 2048', 'SHOW work_mem',
                'SET work_mem = 1',
                "SET work_mem = '100kB'", 'SHOW work_mem', 'SET extra_float_digits = 3',
                'SET extra_float_digits = 4',
                'SHOW extra_float_digits', 'SET search_path = a, "B c", public', 'SHOW search_path',
                "SET search_path = 'x y'", 'SHOW search_path',
                'SET search_path = "$user", public', 'SET search_path TO DEFAULT', 'SHOW search_path',
                'SET nothing = 1', 'SHOW nothing', 'RESET nothing',
                'SET a.b = 1', 'SHOW a.b', 'SHOW a.c', 'RESET a.b', 'SHOW a.b', 'RESET a.c',
                "SELECT current_setting('a.c', true)",
                "SELECT current_setting('a.c')", "SELECT current_setting('a.b', true)", 'BEGIN', 'SET x.y = 2',
                'ROLLBACK', 'SHOW x.y',
                "SELECT set_config('application_name', 'z', false), set_config('work_mem', '4096', true)",
                'SHOW work_mem',
                "SELECT set_config('nothing', 'z', false)", 'SET default_transaction_read_only = on', INS % (1,
                'a'),
                'SET default_transaction_read_only = off', 'SET default_transaction_isolation = serializable',
                'SHOW default_transaction_isolation', 'SHOW transaction_isolation',
                'SET standard_conforming_strings = off', "SELECT 'a\\'b'",
                'SET standard_conforming_strings = maybe', 'SET standard_conforming_strings TO 1', 'RESET ALL',
                'SHOW application_name',
                'SET server_version = 1', 'SET is_superuser = on', 'SET application_name = a, b',
                'SHOW server_encoding', 'SHOW integer_datetimes',
                'SET SESSION application_name = q', 'SET application_name TO DEFAULT', "SET application_name = 'ä'",
                'SHOW in_hot_standby',
                'SET synchronous_commit = 0', 'SHOW synchronous_commit', 'SET bytea_output = escape', 'RESET ALL',
                "SET application_name = ''",
                'SET "application_name" = y', 'SET a."b-c" = 1', 'SET TRANSACTION READ ONLY', 'BEGIN',
                'SET TRANSACTION READ ONLY', INS % (1, 'x'), 'ROLLBACK',
                'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY', INS % (1, 'x'), 'RESET ALL',
                'DISCARD PLANS', 'DISCARD TEMP', 'DISCARD SEQUENCES', 'BEGIN', 'DISCARD ALL', 'ROLLBACK',
                'DISCARD ALL'),
    'settings in batches': S(X('SET application_name = a'), X('SELECT 1'), sync()) +
                 S(X('SET application_name = b'), X('SELECT 1/0'), sync()) +
                S(X('SHOW application_name'), sync()) + S(X('BEGIN'), X('SET application_name = c'), sync()) +
                S(X('ROLLBACK'), sync()) +
                S(X('SET LOCAL application_name = d'), X('SHOW application_name'), sync()) +
                S(X('SET application_name = a'), sync(), X('SET application_name = e'), sync(), n=2) +
                S(X("SELECT set_config($1, $2, $3)", ['timezone', 'utc', 'f']), sync()) + S(parse('SHOW nothing'),
                sync()) + S(X('DISCARD ALL'), sync()),
    'who': Q('SET ROLE app', 'SHOW role', 'SHOW is_superuser', 'RESET ROLE', 'SET ROLE NONE', 'SHOW role', 'BEGIN',
                 'SET LOCAL ROLE other', 'SHOW role', 'COMMIT',
             'SHOW role', 'SET SESSION AUTHORIZATION app', 'SHOW session_authorization', 'SHOW is_superuser',
             'RESET SESSION AUTHORIZATION', 'SHOW is_superuser',
             'SET ROLE app', 'SET SESSION AUTHORIZATION other', 'SHOW role', 'SET SESSION AUTHORIZATION DEFAULT',
             'SHOW role', 'RESET ALL',
             "SELECT set_config('session_authorization', 'app', false)", 'DISCARD ALL',
             'SHOW session_authorization', "SET ROLE 'other'", 'DISCARD ALL', 'SHOW role',
             "SET ROLE app", "SELECT pg_catalog.set_config('role','none',false)", 'SHOW role',
             'RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL'),
    'pgweir': Q('LISTEN c', 'PREPARE p AS SELECT 1', 'CREATE TEMP TABLE t (a int)',
                 'DECLARE c CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 3) g',
                'SELECT pg_advisory_lock(1)', "SET application_name = 'x'", "SET work_mem = '1MB'", 'SET a.b = 3',
                "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_listening_channels()) THEN 1 ELSE 0 END "
                "OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615 AND "
                "refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) THEN 2 ELSE 0 END OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM "
                "pg_catalog.pg_cursors WHERE is_holdable) THEN 4 ELSE 0 END OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM "
                "pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) THEN 8 ELSE 0 END "
                "OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) THEN 16 ELSE 0 END"
                ",pg_catalog.current_setting('a.b',true),pg_catalog.current_setting('no.such',true),pg_catalog.current_setting('role',true);"
                "SELECT name,setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'",
                'BEGIN',
                'RESET "application_name";SELECT pg_catalog.set_config(\'work_mem\',\'2MB\',false),pg_catalog.set_config(\'a.b\',\'7\',false);COMMIT',
                "SELECT name,setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'",
                'RESET "a"."b"',
                'SHOW a.b', 'ROLLBACK;SELECT pgweir_refuses_this', 'pgweir_refuses_this', 'DISCARD ALL',
                "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_listening_channels()) THEN 1 ELSE 0 END;"
                "SELECT name,setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'",
                "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')"),
    'temp tables': Q('CREATE TEMP TABLE t (a int, b text)', 'SELECT count(*) FROM t', 'CREATE TEMP TABLE t (a int)',
                 'BEGIN', 'DROP TABLE t', 'SELECT count(*) FROM t',
                'ROLLBACK', 'SELECT count(*) FROM t', 'DROP TABLE t', 'DROP TABLE t', 'DROP TABLE IF EXISTS t',
                'BEGIN', 'CREATE TEMP TABLE t (a int) ON COMMIT DROP',
                'SELECT count(*) FROM t', 'COMMIT', 'SELECT count(*) FROM t', 'BEGIN',
                'CREATE TEMPORARY TABLE t (a int)', 'SAVEPOINT s', 'CREATE TEMP TABLE u (a int)',
                'ROLLBACK TO s', 'SELECT count(*) FROM t', 'COMMIT') + S(parse('SELECT count(*) FROM t', 's'),
                describe('S', 's'), sync()) + Q('DISCARD TEMP') +
                S(parse('SELECT count(*) FROM t'), sync()) + S(bind((), 's'), sync()) +
                S(X('CREATE TEMP TABLE t (a int)'), bind((), 's'), execute(), sync()),
    'cursors': Q('DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g', 'BEGIN',
                 'DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g', 'FETCH c',
                 'FETCH 2 FROM c', 'DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g', 'ROLLBACK',
                 'FETCH c', 'BEGIN',
                 'DECLARE c CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) g', 'FETCH 2 FROM c', 'COMMIT',
                 'FETCH 2 FROM c', 'FETCH 2 FROM c', 'FETCH 2 FROM c',
                 'CLOSE c', 'CLOSE c', 'CLOSE ALL',
                 'DECLARE d CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) g', 'BEGIN', 'FETCH 2 FROM d',
                 'ROLLBACK', 'FETCH 1 FROM d',
                 'BEGIN', 'DECLARE e CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) g', 'ROLLBACK',
                 'FETCH e', 'BEGIN', 'SAVEPOINT s',
                 'DECLARE f CURSOR FOR SELECT g FROM generate_series(1, 5) g', 'ROLLBACK TO s', 'FETCH f',
                 'ROLLBACK', 'BEGIN', 'SAVEPOINT s',
                 'DECLARE f CURSOR FOR SELECT g FROM generate_series(1, 5) g', 'RELEASE s', 'FETCH 3 FROM f',
                 'FETCH ALL FROM f', 'COMMIT',
                 'FETCH 9 FROM d', 'CLOSE ALL',
                 'SELECT 1; DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g; FETCH 2 FROM c', 'FETCH c',
                 'FETCH 0 FROM c') +
               S(X('BEGIN'), X('DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 9) g'), X('FETCH 4 FROM c',
               rows=2), execute('', 1), execute('', 1), execute('', 1), sync()) +
               S(execute('c', 2), describe('P', 'c'), X('CLOSE c'), sync()) + S(execute('c'), sync()) +
               Q('ROLLBACK'),
    'locks': Q('SELECT pg_advisory_lock(1)', 'SELECT pg_try_advisory_lock(1)', 'SELECT pg_advisory_unlock(1)',
                 'SELECT pg_advisory_unlock(1)', 'SELECT pg_advisory_unlock(1)',
               'BEGIN', 'SELECT pg_advisory_lock(2)', 'ROLLBACK') + Q('SELECT pg_try_advisory_lock(2)', c='b') +
               Q('SELECT pg_advisory_unlock_all()') +
             Q('SELECT pg_try_advisory_lock(2)', c='b') + [('a', query('SELECT pg_advisory_lock(2)'), 0)] +
             Q('SELECT pg_advisory_unlock(2)', c='b') + [('a', b'', 1)] +
             S(X('SELECT pg_advisory_unlock($1)', [2]), sync()),
    'notify': Q('LISTEN c') + Q('NOTIFY c', "NOTIFY c, 'x'", "NOTIFY d, 'x'", 'BEGIN', "NOTIFY c, 'y'",
                 "NOTIFY c, 'y'", "NOTIFY c, 'z'", 'SAVEPOINT s', "NOTIFY c, 'w'", 'ROLLBACK TO s',
              'UNLISTEN c', 'COMMIT', 'NOTIFY c', 'BEGIN', 'LISTEN c', 'ROLLBACK', 'NOTIFY c', 'LISTEN c; NOTIFY c',
              'UNLISTEN *', 'NOTIFY c', 'LISTEN "A b"', 'NOTIFY "A b"', 'DISCARD ALL', 'NOTIFY "A b"') +
              Q('LISTEN c') + Q('NOTIFY c', c='b') + [('a', b'', 'A')] + Q('BEGIN') + Q('NOTIFY c', c='b') +
              Q('SELECT 1', 'COMMIT') +
              S(X('LISTEN q'), X('NOTIFY q'), sync()),
    'copy': Q('BEGIN') + [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta\n2\tb\n') + copy_done(),
                 1)] + Q('COMMIT', 'SELECT k, v FROM kv WHERE k IN (1, 2)') +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta') + copy_data('\n2') +
            copy_data('\tb') + copy_done(), 1)] +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta\n') + copy_fail('why'), 1)] +
            Q('SELECT v FROM kv WHERE k = 1') +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta\nx\tb\n'), 1), ('a',
            copy_data('1\tc\n') + copy_done() + query('SELECT 1'), 1)] +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\n'), 1)] + [('a',
            query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta\tb\n'), 1)] +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('99\ta\n') + copy_done(), 1)] +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\t\\N\n') + copy_done(), 1)] + [('a',
            query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('\n') + copy_done(), 1)] +
            [('a', query('COPY kv FROM STDIN'), 'G'), ('a', copy_data('1\ta\\tb\\\\\n\\.\nrubbish') + copy_done(),
            1)] + Q('SELECT v FROM kv WHERE k = 1') +
            [('a', query('SELECT 1; COPY kv FROM STDIN; SELECT 2'), 'G'), ('a', copy_done(), 1)] +
            [('a', query('BEGIN; COPY kv FROM STDIN'), 'G'), ('a', copy_fail(), 1)] + Q('COPY kv FROM STDIN',
            'ROLLBACK') +
            [('a', X('COPY kv FROM STDIN') + sync(), 'G'), ('a', copy_data('3\ta\n') + flush() + sync() +
            copy_done() + sync(), 1)] +
            [('a', X('COPY kv FROM STDIN'), 'G'), ('a', copy_data('x\n') + copy_done() + X('SELECT 1') + sync(),
            1)] +
            [('a', X('COPY kv FROM STDIN'), 'G'), ('a', copy_fail('a') + copy_done() + sync(), 1)] +
            S(copy_data('x'), copy_done(), copy_fail('x'), sync()) + S(X('COPY kv TO STDOUT'), sync()) +
            Q('COPY kv TO STDOUT', 'BEGIN READ ONLY', 'COPY kv FROM STDIN', 'ROLLBACK'),
    'copy, Terminate': [('a', query('COPY kv FROM STDIN'), 'G'), ('a', terminate(), 'closed')],
    'copy, Query': [('a', query('COPY kv FROM STDIN'), 'G'), ('a', query('SELECT 1'), 'closed')],
    'copy, Parse': [('a', X('COPY kv FROM STDIN'), 'G'), ('a', parse('SELECT 1'), 'closed')],
    'malformed': S(msg('Q', b'SELECT 1')) + S(msg('Q', b'SELECT 1\0x')) + S(msg('P', b'a'), sync()) + S(msg('P',
                 b'a\0b'), sync()) +
                 S(msg('P', b'a\0SELECT 1\0\0'), sync()) + S(msg('P', b'a\0SELECT 1\0\0\2\0\0'), sync()) +
                 S(msg('P', b'\0SELECT 1\0\0\0x'), sync()) +
                 S(msg('B', b''), sync()) + S(parse('SELECT $1'), msg('B', b'\0\0'), sync()) + S(parse('SELECT $1'),
                 msg('B', b'\0\0\0\0\0\1'), sync()) +
                 S(parse('SELECT $1'), msg('B', b'\0\0\0\0\0\1\0\0\0\5ab'), sync()) + S(parse('SELECT $1'), msg('B',
                 b'\0\0\0\0\0\1\0\0\0\1a'), sync()) +
                 S(parse('SELECT $1'), msg('B', b'\0\0\0\0\0\1\0\0\0\1a\0\0x'), sync()) + S(parse('SELECT $1'),
                 msg('B', b'\0\0\0\2\0\0\0\0\0\1\0\0\0\1a\0\0'), sync()) +
                 S(parse('SELECT $1'), msg('B', b'\0\0\0\1\0\7\0\1\0\0\0\1a\0\0'), sync()) + S(parse('SELECT $1'),
                 bind(), sync()) + S(parse('SELECT 1', 'x'), bind(['a'], 'x'), sync()) +
                 S(msg('D', b''), sync()) + S(msg('D', b'S'), sync()) + S(msg('D', b'X\0'), sync()) + S(msg('D',
                 b'S\0x'), sync()) + S(msg('C', b'X\0'), sync()) +
                 S(msg('C', b''), sync()) + S(msg('E', b'\0'), sync()) + S(msg('E', b'\0\0\0\0\0x'), sync()) +
                 S(msg('S', b'x')) + S(msg('H', b'x'), sync()) +
                 S(msg('F', b'\0\0'), n=1) + S(parse('SELECT g FROM generate_series(1, $1) g'), msg('B',
                 b'\0\0\0\1\0\1\0\1\0\0\0\3abc\0\0'), sync()) +
                 S(parse('SELECT g FROM generate_series(1, $1) g'), msg('B', b'\0\0\0\1\0\1\0\1\0\0\0\5abcde\0\0'),
                 sync()) +
                 S(parse('SELECT g FROM generate_series(1, $1) g'), msg('B',
                 b'\0\0\0\1\0\1\0\1\0\0\0\4\0\0\0\2\0\1\0\1'), describe('P'), execute(), sync()) +
                 S(parse("SELECT $1", oids=[20]), msg('B', b'\0\0\0\1\0\1\0\1\0\0\0\x08\0\0\0\0\0\0\0\2\0\1\0\1'),
                 describe('P'), execute(), sync()) +
                 S(parse("SELECT $1, $2"), msg('B', b'\0\0\0\2\0\1\0\0\0\2\0\0\0\1a\0\0\0\1b\0\2\0\0\0\1'),
                 describe('P'), execute(), sync()) +
                 S(X('SELECT 1', rows=-1), sync()),
    'not UTF-8': S(msg('Q', b"SELECT '\xff'\0")) + S(msg('Q', b"SELECT '\xc3\xa4\xe2\x82\xac'\0")) + S(msg('Q',
                 b"SELECT '\xe2\x82'\0")) + S(msg('Q', b"\xed\xa0\x80\0")) + S(msg('P', b"\xc3\0SELECT 1\0\0\0"),
                 sync()) +
                 S(parse('SELECT $1'), bind([b'a\xf0\x9f\x98']), sync()) + S(parse('SELECT $1'), bind([b'\0']),
                 sync()) + S(describe('S', b'\x80'), sync()) + S(parse('SELECT $1'), msg('B',
                 b'\0\0\0\1\0\1\0\1\0\0\0\1\xff\0\0'), sync()),
    'type 0': [('a', b'\0', 'closed')], 'type !': [('a', b'!\0\0', 'closed')], 'type p': [('a', msg('p', b'x\0'),
                 'closed')],
    'type in skip': [('a', parse('SELEC') + b'y', 'closed')], 'type in batch': [('a', X(INS % (1, 'a')) + b'y',
                 'closed')],
    'length': [('a', b'Q\0\0\0\3', 'closed')], 'length big': [('a', b'S\0\0\x30\0', 'closed')],
                 'length huge': [('a', b'Q\x7f\0\0\0', 'closed')],
    'terminate': Q('BEGIN') + [('a', terminate() + query('SELECT 1'), 'closed')],
    'terminate in skip': [('a', parse('SELEC') + terminate(), 'closed')],
    'terminate in a batch': [('a', X('SELECT 1') + terminate(), 'closed')],
    'flush': [('a', parse('SELECT 1') + flush(), '1'), ('a', bind() + flush(), '2'), ('a', describe() + flush(),
                 'T'), ('a', execute() + flush(), 'C'), ('a', sync(), 1),
              ('a', parse('SELEC') + flush(), 'E'), ('a', flush() + sync(), 1)],
    'big rows': Q("SELECT repeat('x', 9000)", "SELECT repeat('x', 100000)") + S(X("SELECT repeat('x', $1)",
                 [20000]), sync()),
}

LOGINS = {
    'plain': {}, 'names': {'application_name': 'me', 'DateStyle': 'german', 'TimeZone': 'europe/berlin',
                 'client_encoding': 'latin1'},
    'options': {'options': '-c work_mem=2MB -capplication_name=x --search-path=a,\\ b -c datestyle=dmy'},
    'both': {'options': '-c application_name=x', 'application_name': 'y'}, 'custom': {'my.var': '5'},
    'path': {'search_path': 'a b'}, 'unknown': {'nothing': '1'}, 'wrong': {'DateStyle': 'nonsense'},
                 'wrong option': {'options': '-c nothing=1'},
    'fact': {'server_version': '1'}, 'bad option': {'options': 'x'}, 'bad option 2': {'options': '-c'},
                 'bad option 3': {'options': '-c work_mem'},
    'long': {'application_name': 'x' * 80}, 'bool': {'standard_conforming_strings': '0'},
                 'iso': {'IntervalStyle': 'iso_8601', 'default_transaction_read_only': '1'},
}

AFTER_LOGIN = Q("SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('my.var', true)", 'SET application_name = z; SET datestyle = ymd; SET my.var = 3',
                'RESET ALL', 'SHOW my.var', 'DISCARD ALL',
                "SELECT name,setting FROM pg_catalog.pg_settings WHERE source = 'session'")


@pytest.mark.parametrize('name', SCRIPTS)
def test_as_postgresql(program, real, name):
    compare(program, real, SCRIPTS[name])


@pytest.mark.parametrize('name', LOGINS)
def test_login(program, real, name):
    wrong = name.startswith(('unknown', 'wrong', 'path', 'fact', 'bad'))
    compare(program, real, [] if wrong else AFTER_LOGIN, login={'a': LOGINS[name]})


def test_startup_malformed(program, real):
    """A startup packet without a name, and one that does not end."""
    for body in (b'user\0postgres\0', b'database\0sim\0\0', b'user\0\0\0', b'\0'):
        packet = struct.pack('!ii', 8 + len(body), wire.PROTO_3_0) + body
        compare(program, real, [('a', packet, 'closed')], login={'a': False})


POOL = [
    'SELECT 1', "SELECT 'a' AS x", 'SELECT 1/0', 'SELECT * FROM nothing', 'SELEC', '', 'SELECT $1',
                 'SELECT $1 || $2',
    'SELECT g FROM generate_series(1, 4) g', 'SELECT g FROM generate_series(1, $1) g',
    "INSERT INTO kv VALUES (1, 'a')", "INSERT INTO kv VALUES (1, 'b'), (2, 'c') RETURNING v",
                 'INSERT INTO kv VALUES ($1, $2)',
    "UPDATE kv SET v = v || 'd' WHERE k = 1", 'SELECT v FROM kv WHERE k = 1',
                 'SELECT k, v FROM kv WHERE k IN (1, 2) ORDER BY k',
    "INSERT INTO kv VALUES (50, 'x')", 'COPY kv TO STDOUT',
    'BEGIN', 'BEGIN', 'COMMIT', 'COMMIT', 'ROLLBACK', 'ROLLBACK', 'BEGIN READ ONLY', 'COMMIT AND CHAIN',
                 'ROLLBACK AND CHAIN',
    'SAVEPOINT s', 'SAVEPOINT t', 'RELEASE s', 'ROLLBACK TO s', 'ROLLBACK TO t', 'RELEASE t',
    "SET application_name = 'a'", 'SET application_name = b', 'SET LOCAL application_name = c',
                 'RESET application_name',
    'SET timezone = gmt', "SET LOCAL TimeZone = 'Asia/Tokyo'", 'SET datestyle = dmy', 'RESET ALL',
                 'SHOW application_name',
    'SET statement_timeout = 90000', 'SHOW statement_timeout', 'SET my.x = 1', 'SET LOCAL my.x = 2', 'RESET my.x',
                 'SHOW my.x', 'SET nothing = 1',
    "SELECT set_config('application_name', 'e', true)",
                 "SELECT set_config('my.y', 'f', false), current_setting('my.y', true)",
    "SELECT current_setting('my.x', true)", 'DISCARD ALL', 'DISCARD PLANS', 'DISCARD TEMP',
    "SELECT name,setting FROM pg_catalog.pg_settings WHERE source = 'session'",
    'PREPARE p1 AS SELECT 3', 'PREPARE s1 AS SELECT g FROM generate_series(1, 3) g', 'EXECUTE p1', 'DEALLOCATE s1',
                 'DEALLOCATE ALL',
    'CREATE TEMP TABLE tt (a int)', 'CREATE TEMP TABLE tt (a int) ON COMMIT DROP', 'DROP TABLE tt',
                 'DROP TABLE IF EXISTS tt', 'SELECT count(*) FROM tt',
    'DECLARE c1 CURSOR FOR SELECT g FROM generate_series(1, 6) g',
                 'DECLARE p2 CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 6) g',
    'FETCH 2 FROM c1', 'FETCH p2', 'CLOSE c1', 'CLOSE p2', 'CLOSE ALL',
    'LISTEN ch', 'UNLISTEN *', "NOTIFY ch, 'x'", 'NOTIFY ch', 'SELECT pg_advisory_lock(4)',
                 'SELECT pg_advisory_unlock(4)', 'SELECT pg_advisory_unlock_all()',
    "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_cursors WHERE is_holdable) THEN 1 ELSE 0 END",
    "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) THEN 1 ELSE 0 END",
    "SELECT 0 OPERATOR(pg_catalog.+) CASE WHEN EXISTS(SELECT FROM pg_catalog.pg_listening_channels()) THEN 1 ELSE 0 END",
]

# Two Closes in a row mean that a unit is over: nothing else says two.
END = close('S', 'never') + close('S', 'never') + sync()


def extended_part(r):
    name, portal = r.choice(['', '', 's1', 's2']), r.choice(['', '', 'p1', 'p2'])
    args = [str(i + 1) for i in range(r.choice([0, 0, 0, 0, 1, 2]))]
    kind = r.randrange(13)
    if kind < 4:
        return (parse(r.choice(POOL), name) + bind(args, name, portal) + describe('P', portal) +
                execute(portal, r.choice([0, 0, 1, 2])))
    if kind < 5:
        return parse(r.choice(POOL), name)
    if kind < 6:
        return bind(args, name, portal)
    # what is left in the unnamed portal by a Query that failed, PostgreSQL does not know itself
    portal = portal or 'p1'
    if kind < 8:
        return execute(portal, r.choice([0, 1, 2]))
    if kind < 9:
        return describe(*r.choice([('S', name), ('P', portal)]))
    if kind < 10:
        return close(*r.choice([('S', name), ('P', portal)])) + flush()
    if kind < 11:
        return query(r.choice(POOL))
    if kind < 12:
        return sync()
    return X('COPY kv FROM STDIN') + copy_data(r.choice(['1\tx\n', 'y', ''])) + r.choice([copy_done(), copy_fail()])


def random_script(seed, units):
    r = random.Random(seed)
    script = []
    for _ in range(units):
        if r.random() < 0.5:
            data = query('; '.join(r.choice(POOL) for _ in range(r.choice([1, 1, 1, 2, 3, 4]))))
        elif r.random() < 0.1:
            data = query('COPY kv FROM STDIN')
            data += copy_data(r.choice(['1\tx\n', '1\tx\n2\ty\n', 'y', '1']))
            data += r.choice([copy_done(), copy_fail()])
        else:
            data = b''.join(extended_part(r) for _ in range(r.randrange(1, 6))) + sync()
        script.append(('a', data + END, '33Z'))
    return script


@pytest.mark.parametrize('seed', range(int(os.environ.get('PGWEIR_SIM_SEEDS', '20'))))
def test_random(program, real, seed):
    """Whatever a client says, in whatever order."""
    compare(program, real, random_script(seed, 60))


def test_cancel(program, real):
    """A statement that sleeps, in and out of a block."""
    def run(port):
        out = []
        with wire.Conn(port, timeout=10, user='postgres', database='sim') as c:
            def send(data, n):
                c.send(data)
                time.sleep(0.1)
                wire.cancel(port, c.key)
                for _ in range(n):
                    while True:
                        m = plain(*c.read_raw())
                        out.append(('a', m))
                        if m[0] == 'Z':
                            break
            send(query('SELECT pg_sleep(30)'), 1)
            send(X('SELECT pg_sleep(30)') + X('SELECT 1') + sync(), 1)
            c.sql('BEGIN')
            send(query('SELECT 1; SELECT pg_sleep(30); SELECT 2'), 1)
            send(query('ROLLBACK; SELECT pg_sleep(0.3)'), 1)
        return out
    sim = Sim(program)
    try:
        mine = run(sim.port)
    finally:
        sim.stop()
    why = difference(run(real.port), mine)
    assert not why, why
