"""pgweir.retry and pgweir.retry_unknown as settings of a session: answered by pgweir as
PostgreSQL answers for its own, never heard of by a server; and hints in comments.

What is played to PostgreSQL beside it is the same script about bytea_output.

SPDX-License-Identifier: ISC
"""
import asyncio
import difflib
import os
import random
import struct

import asyncpg
import psycopg
import psycopg2
import pytest

import wire
from conftest import db, ini, until
from test_move import CRDB, Nodes
from wire import (PgError, bind, close, complete, data_row, describe, error, execute, extended, flush, parse, query, ready,
                  result, shape, sync)

pytestmark = pytest.mark.weir_only

SEEDS = int(os.environ.get('SWITCH_SEEDS', '40'))


@pytest.fixture(params=['transaction', 'session'])
def w(request, weir, pg):
    made = weir(ini({'app': db(pg)}, pool_mode=request.param, default_pool_size=2))
    made.pool_mode = request.param
    return made


def show(c, name='pgweir.retry'):
    return c.one('SHOW ' + name)


def codes(messages):
    return [m[1]['C'] for m in messages if m[0] == 'E']


# ---- the same as PostgreSQL's own -------------------------------------------------------------------

class Words:
    """The words of a script, here and there."""

    def __init__(self, name, good, default):
        self.name, self.good, self.default = name, good, default

    def plain(self, letter, body):
        """A message without what differs of right."""
        if letter == 'T' and body[2:].startswith(self.name.encode() + b'\0'):
            return ('T', 'NAME', body[:2], body[2 + len(self.name):])
        m = wire.decode(letter, body)
        if letter == 'D' and m[1][0] in (self.good, self.default):
            return ('D', 'GOOD' if m[1][0] == self.good else 'DEFAULT')
        if letter == 'E':
            f = m[1]
            return ('E', f['S'], f['V'], f['C'], f['M'].replace(self.name, 'NAME'), f.get('H', '')[:17])
        return m + (body,)


OURS = Words('pgweir.retry', 'replay', 'implicit')
THEIRS = Words('bytea_output', 'escape', 'hex')


def play(port, words, script):
    """Its answers: script is a list of (bytes, ReadyForQueries to come)."""
    out = []
    with wire.Conn(port, user='app', database='app') as c:
        for data, readies in script(words):
            c.send(data)
            while readies:
                letter, body = c.read_raw()
                readies -= letter == 'Z'
                if letter not in 'SN':
                    out.append(words.plain(letter, body))
    return out


def simple(*texts):
    return lambda k: [(query(t.format(n=k.name, good=k.good)), 1) for t in texts]


def units(*texts, **kw):
    """Each in a unit of the extended protocol."""
    return lambda k: [(extended(t.format(n=k.name, good=k.good), **kw) + sync(), 1) for t in texts]


def one_unit(*texts):
    return lambda k: [(b''.join(extended(t.format(n=k.name, good=k.good)) for t in texts) + sync(), 1),
                      (query('SHOW ' + k.name), 1)]


def pipelined(*texts):
    """All of them at once, a Sync behind each."""
    return lambda k: [(b''.join(extended(t.format(n=k.name, good=k.good)) + sync() for t in texts),
                       len(texts))]


ALL = ['SHOW {n}', 'SET {n} = {good}', 'SHOW {n}', 'RESET {n}', 'SHOW {n}', "SET {n} TO '{good}'", 'SHOW {n}',
       'SET {n} TO DEFAULT', 'SHOW {n}', 'SET SESSION {n} = "{good}";', 'show {n} ;;', 'SET {n} = nonsense',
       'SET {n} = 5', 'SET {n} = -1', "SET {n} = ''", 'SHOW {n}', 'SET {n}', 'SET {n} = a, b', 'SHOW {n} x',
       "set {n}=E'{good}'", '/* a */ SHOW {n} -- b', 'SET {n} TO $${good}$$']
BLOCK = ['BEGIN', 'SHOW {n}', 'SET {n} = {good}', 'SELECT 1', 'SHOW {n}', 'COMMIT', 'SHOW {n}']
BEGUN = ['BEGIN', 'SELECT 1', 'SET {n} = {good}', 'SHOW {n}', 'COMMIT', 'SHOW {n}']
WRONG = ['BEGIN', 'SET {n} = nonsense', 'SHOW {n}', 'SET {n} = {good}', 'SELECT 1', 'ROLLBACK', 'SHOW {n}']
WRONG2 = ['BEGIN', 'SELECT 1', 'SET {n} = nonsense', 'SHOW {n}', 'SET {n} = {good}', 'COMMIT', 'SHOW {n}']
FAILED = ['BEGIN', 'SELECT 1/0', 'SHOW {n}', 'SET {n} = {good}', 'RESET {n}', 'COMMIT', 'SHOW {n}']
RESETS = ['SET {n} = {good}', 'RESET ALL', 'SHOW {n}', 'SET {n} = {good}', 'DISCARD ALL', 'SHOW {n}',
          'SET {n} = {good}', 'RESET work_mem', 'SHOW {n}', 'BEGIN', 'DISCARD ALL', 'SHOW {n}', 'ROLLBACK', 'SHOW {n}']

SCRIPTS = {name: simple(*texts) for name, texts in
           [('all', ALL), ('block', BLOCK), ('begun', BEGUN), ('wrong', WRONG), ('wrong 2', WRONG2),
            ('failed', FAILED), ('resets', RESETS)]}
SCRIPTS.update(('ext ' + name, units(*texts)) for name, texts in
               [('all', ALL), ('block', BLOCK), ('begun', BEGUN), ('wrong', WRONG), ('wrong 2', WRONG2),
                ('failed', FAILED), ('resets', RESETS)])
SCRIPTS.update(('pipe ' + name, pipelined(*texts)) for name, texts in
               [('all', ALL), ('block', BLOCK), ('begun', BEGUN), ('wrong', WRONG), ('wrong 2', WRONG2),
                ('failed', FAILED), ('resets', RESETS)])
SCRIPTS.update({
    'unit: behind': one_unit('SELECT 1', 'SET {n} = {good}', 'SHOW {n}'),
    'unit: in front': one_unit('SET {n} = {good}', 'SHOW {n}', 'SELECT 1', 'SHOW {n}'),
    'unit: alone': one_unit('SET {n} = {good}', 'SHOW {n}'),
    'unit: skipped': one_unit('SELECT 1/0', 'SET {n} = {good}', 'SHOW {n}'),
    'unit: skips': one_unit('SET {n} = nonsense', 'SELECT 1', 'SET {n} = {good}'),
    'unit: skips there': one_unit('SELECT 1', 'SET {n} = nonsense', 'SELECT 1', 'SET {n} = 1'),
    'unit: commit': one_unit('BEGIN', 'SELECT 1', 'SET {n} = {good}', 'COMMIT', 'SHOW {n}'),
    'named': lambda k: [
        (parse('SHOW ' + k.name, 's') + describe('S', 's') + sync(), 1),
        (bind((), 's') + execute() + sync(), 1),
        (bind((), 's', result=[1]) + describe() + execute() + sync(), 1),
        (query('BEGIN') + query('SELECT 1'), 2),
        (bind((), 's', result=[1]) + describe() + execute() + sync(), 1),
        (describe('S', 's') + close('S', 's') + sync(), 1),
        (bind((), 's') + sync() + query('ROLLBACK'), 2)],
    'name taken': lambda k: [
        (parse('SHOW ' + k.name, 's') + parse('RESET ' + k.name, 's') + sync(), 1),
        (parse('SELECT 1', 's') + sync(), 1), (query('BEGIN') + query('SELECT 1'), 2),
        (parse('SHOW ' + k.name, 's') + sync() + query('ROLLBACK'), 2),
        (bind((), 's') + describe() + execute() + sync(), 1)],
    'asyncpg': lambda k: [
        (parse('SHOW ' + k.name, 's') + describe('S', 's') + sync(), 1),
        (bind((), 's', result=[1]) + execute() + sync(), 1),
        (parse('SET %s = %s' % (k.name, k.good), 't') + describe('S', 't') + sync(), 1),
        (bind((), 't', result=[]) + execute() + sync(), 1), (query('SHOW ' + k.name), 1)],
    'limits': lambda k: [
        (parse('SHOW ' + k.name) + bind() + execute('', 1) + execute('', 1) + sync(), 1),
        (parse('SHOW ' + k.name) + bind() + execute('', 2) + execute() + sync(), 1),
        (parse('RESET ' + k.name) + bind() + execute('', 1) + execute('', 1) + sync(), 1)],
    'portals': lambda k: [
        (query('BEGIN'), 1),
        (parse('SHOW ' + k.name) + bind((), '', 'p') + describe('P', 'p') + execute('p', 1) + sync(), 1),
        (execute('p', 1) + close('P', 'p') + sync(), 1),
        (query('SELECT 1'), 1),
        (parse('SHOW ' + k.name) + bind((), '', 'p') + describe('P', 'p') + execute('p', 1) + sync(), 1),
        (execute('p', 1) + close('P', 'p') + sync() + query('COMMIT'), 2)],
    'portal gone': lambda k: [(parse('SHOW ' + k.name) + bind() + sync(), 1), (execute() + sync(), 1)],
    'portal of another': lambda k: [
        (parse('SHOW ' + k.name, 's') + bind((), 's') + parse('SELECT 7') + bind() + execute() + sync(), 1)],
    'unnamed': lambda k: [
        (parse('SHOW ' + k.name) + sync(), 1), (bind() + describe() + execute() + sync(), 1),
        (parse('SELECT 7') + sync(), 1), (bind() + execute() + sync(), 1),
        (parse('SHOW ' + k.name) + sync(), 1), (query('SELECT 1'), 1), (bind() + sync(), 1),
        (parse('SHOW ' + k.name) + close('S', '') + sync(), 1), (bind() + sync(), 1)],
    'parameters': lambda k: [(parse('SHOW ' + k.name) + bind(['1']) + sync(), 1)],
    'in prepared': lambda k: [(parse('SHOW %s; SELECT 1' % k.name) + sync(), 1)],
    'behind queries': lambda k: [(query('SELECT 1') + query('SET %s = %s' % (k.name, k.good)) +
                                  query('SHOW ' + k.name) + query('SELECT 2'), 4)],
    'queries in a block': lambda k: [(query('BEGIN') + query('SELECT 1') + query('SET %s = %s' % (k.name, k.good)) +
                                      query('SHOW ' + k.name) + query('COMMIT'), 5)],
})


@pytest.mark.parametrize('name', SCRIPTS)
def test_as_postgresql(w, pg, name):
    want = play(pg.port, THEIRS, SCRIPTS[name])
    got = play(w.port, OURS, SCRIPTS[name])
    if name == 'parameters':
        want, got = shape(wire_like(want)), shape(wire_like(got))
    same(got, want)


def same(got, want):
    diff = difflib.unified_diff([repr(m) for m in want], [repr(m) for m in got], 'PostgreSQL', 'pgweir', n=8,
                                lineterm='')
    assert got == want, '\n'.join(diff)


def wire_like(messages):
    return [('E', {'C': m[3]}) if m[0] == 'E' else m[:2] for m in messages]


def any_script(seed, full):
    """Units of all kinds, several in one write. Not full: without what a transaction that
    failed before it had a server answers otherwise than one that fails on a server."""
    rng = random.Random(seed)
    texts = ['SHOW {n}'] * 3 + ['SET {n} = {good}'] * 3 + ['RESET {n}', 'SET {n} TO DEFAULT', 'SET {n} = nonsense',
             'SELECT 1', 'SELECT 1', 'SELECT 1/0', 'BEGIN', 'BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s',
             "SET work_mem = '5MB'", 'RESET ALL'] + ['ROLLBACK TO s', ''] * full

    def unit(k):
        text = rng.choice(texts).format(n=k.name, good=k.good)
        how = rng.randrange(4)
        if how == 0:
            return query(text)
        if how == 1:
            return extended(text) + sync()
        if how == 2:
            name = 's%d' % rng.randrange(10 ** 9)
            return (parse(text, name) + describe('S', name) + (flush() if rng.random() < .3 else b'') +
                    bind((), name) + execute() + (close('S', name) if rng.random() < .3 else b'') + sync())
        more = [rng.choice(texts).format(n=k.name, good=k.good) for _ in range(rng.randrange(1, 3))]
        return b''.join(extended(t) for t in [text] + more) + sync()

    def script(k):
        rng.seed(seed)
        out = []
        for _ in range(12):
            some = [unit(k) for _ in range(rng.randrange(1, 5))]
            out.append((b''.join(some), len(some)))
        return out
    return script


@pytest.mark.parametrize('seed', range(SEEDS))
def test_any_order_as_postgresql(w, pg, seed):
    """A ROLLBACK undoes PostgreSQL's own, and not ours: the values are not compared."""
    def blind(messages):
        return [('D',) if m[0] == 'D' else m for m in messages]
    script = any_script(seed, w.pool_mode == 'session')
    same(blind(play(w.port, OURS, script)), blind(play(pg.port, THEIRS, script)))


# ---- values --------------------------------------------------------------------------------------

@pytest.mark.parametrize('name, values, default', [
    ('pgweir.retry', ['off', 'observe', 'implicit', 'replay'], 'implicit'),
    ('pgweir.retry_unknown', ['off', 'readonly', 'hinted'], 'off')])
def test_values(w, name, values, default):
    with w.connect() as c:
        assert show(c, name) == default
        for v in values:
            c.sql("SET %s = '%s'" % (name, v.upper()))
            assert show(c, name) == v
        c.sql('RESET ' + name)
        assert show(c, name) == default
        with pytest.raises(PgError) as e:
            c.sql('SET %s = On' % name)
        assert e.value.code == '22023'
        assert e.value.fields['M'] == 'invalid value for parameter "%s": "on"' % name
        assert e.value.fields['H'] == 'Available values: %s.' % ', '.join(values)


def test_a_value_is_one_sessions_and_stays(w):
    with w.connect() as a, w.connect() as b:
        a.sql('SET pgweir.retry = off')
        a.sql('BEGIN')
        a.sql('SELECT 1')
        a.sql('SET pgweir.retry = replay')
        a.sql('ROLLBACK')
        assert show(a) == 'replay' and show(b) == 'implicit'
        assert show(b) == 'implicit' and show(a) == 'replay'


@pytest.mark.parametrize('text', ['SET LOCAL pgweir.retry = off', 'SELECT 1; SET pgweir.retry = off',
                                  'SET pgweir.retry = off; SELECT 1', 'SHOW pgweir.retry; SHOW pgweir.retry',
                                  'BEGIN; RESET pgweir.retry; COMMIT'])
def test_what_is_refused(w, text):
    with w.connect() as c:
        assert codes(c.ask(query(text))) == ['0A000']
        assert show(c) == 'implicit'
        c.sql('BEGIN')
        c.sql('SELECT 1')
        assert shape(c.ask(query(text))) == 'E:0A000 Z:E'
        assert shape(c.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        c.sql('BEGIN')
        assert shape(c.ask(query(text))).endswith('E:0A000 Z:E')
        assert shape(c.ask(query('COMMIT'))) == 'C:ROLLBACK Z:I'
        if ';' not in text:
            assert codes(c.ask(extended(text), sync())) == ['0A000']
        assert show(c) == 'implicit'


def test_names_that_are_none(w):
    with w.connect() as c:
        for text in ['SET pgweir.x = 1', 'SHOW pgweir.retry_', 'RESET pgweir.retry.x']:
            m = c.ask(query(text))
            assert codes(m) == ['42704'] and 'unrecognized configuration parameter' in m[0][1]['M']
            assert codes(c.ask(extended(text), sync())) == ['42704']
        for text in ['SHOW "pgweir"."retry"', 'SHOW "pgweir.retry"', 'SHOW PgWeir.Retry']:
            assert c.one(text) == 'implicit'
        assert c.ask(query('SHOW PGWEIR.RETRY'))[0] == ('T', ['pgweir.retry'])


def test_a_query_in_an_open_batch(weir, pg):
    w = weir(ini({'app': db(pg)}))
    with w.connect() as c:
        m = c.ask(parse('SELECT 1'), bind(), execute(), query('SET pgweir.retry = off'))
        assert shape(m) == '1 2 D C:SELECT 1 E:0A000 Z:I' and show(c) == 'implicit'


def test_statements_untouched(weir, pg):
    """max_prepared_statements = 0: only the simple protocol."""
    w = weir(ini({'app': db(pg)}, max_prepared_statements=0))
    with w.connect() as c:
        c.sql('SET pgweir.retry = replay')
        assert show(c) == 'replay'
        for _ in range(2):
            m = c.ask(extended('SET pgweir.retry = off'), sync())
            assert shape(m) == 'E:0A000 Z:I' and 'simple query' in m[0][1]['H']
            assert shape(c.ask(extended('SELECT 1'), sync())) == '1 2 T D C:SELECT 1 Z:I'
            c.sql('BEGIN')
            c.sql('SELECT 1')
            assert shape(c.ask(extended('SHOW pgweir.retry'), sync())) == 'E:0A000 Z:E'
            c.sql('ROLLBACK')
        assert show(c) == 'replay'


# ---- no server -----------------------------------------------------------------------------------

def test_no_server_is_held(weir, pg):
    """One server, which another client has: nothing here waits for it."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1, query_wait_timeout='20'))
    with w.connect() as a, w.connect() as b:
        a.hold()
        for text in ['SHOW pgweir.retry', 'SET pgweir.retry = off', '/* x */ RESET pgweir.retry']:
            b.ask(query(text))
            b.ask(extended(text), sync())
            b.ask(parse(text, 's'), describe('S', 's'), flush(), bind((), 's'), execute(), close('S', 's'), sync())
        b.ask(query('BEGIN'), readies=1)
        assert shape(b.ask(extended('SHOW pgweir.retry'), sync())) == '1 2 T D C:SHOW Z:T'
        assert shape(b.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        assert w.pool()['cl_waiting'] == '0' and w.pool()['sv_active'] == '1'
        a.sql('COMMIT')


def test_no_server_hears_of_them(weir):
    """A scripted server: all it is sent is what it is meant to see."""
    seen = []

    def script(conn):
        while True:
            letter, body = conn.read_raw()
            seen.append((letter, body))
            if letter == 'Q':
                conn.send(result('1'))
                conn.send(ready('T' if body.startswith(b'BEGIN') else 'I'))
            elif letter == 'S':
                conn.send(ready('I'))
    with wire.FakeServer(script, params=wire.PARAMS) as f:
        w = weir(ini({'app': db(f)}))
        with w.connect(options='-c pgweir.retry=replay --pgweir.retry-unknown=hinted') as c:
            c.sql('SELECT 1')
            for text in ALL[:12]:
                text = text.format(n='pgweir.retry', good='off')
                c.ask(query(text))
                c.ask(extended(text), sync())
                c.ask(query('SELECT 1'), extended(text), sync(), readies=2)
        until(lambda: [x for x in seen if x[0] == 'Q' and b'SELECT 1' in x[1]][12:])
        assert not [x for x in seen if b'pgweir.' in x[1]], seen
        assert f.conns and not [c for c in f.conns if 'pgweir.' in str(c.startup)]


# ---- the startup packet --------------------------------------------------------------------------

@pytest.mark.parametrize('how, retry, unknown', [
    ({'options': '-c pgweir.retry=replay'}, 'replay', 'off'),
    ({'options': '--pgweir.retry=off -c work_mem=5MB --pgweir.retry-unknown=hinted'}, 'off', 'hinted'),
    ({'options': '-cPGWEIR.Retry=Replay'}, 'replay', 'off'),
    ({'pgweir.retry': 'observe'}, 'observe', 'off'),
    ({'pgweir.retry': 'observe', 'options': '-c pgweir.retry=off'}, 'observe', 'off'),
    ({'pgweir.retry_unknown': 'readonly'}, 'implicit', 'readonly')], ids=str)
def test_startup(w, how, retry, unknown):
    with w.connect(**how) as c:
        for _ in range(2):
            assert (show(c), show(c, 'pgweir.retry_unknown')) == (retry, unknown)
            if 'work_mem' in str(how):
                assert c.one('SHOW work_mem') == '5MB'
            c.sql('SET pgweir.retry = implicit')
            c.sql('SET pgweir.retry_unknown TO off')
            c.sql('RESET ALL')
        c.sql('SET pgweir.retry TO DEFAULT')
        assert show(c) == retry
        assert c.one("SELECT count(*) FROM pg_settings WHERE name LIKE 'pgweir.%'") == '0'


@pytest.mark.parametrize('how, code, message', [
    ({'options': '-c pgweir.retry=on'}, '22023', 'invalid value for parameter "pgweir.retry": "on"'),
    ({'pgweir.retry_unknown': ''}, '22023', 'invalid value for parameter "pgweir.retry_unknown": ""'),
    ({'pgweir.nothing': '1'}, '42704', 'unrecognized configuration parameter "pgweir.nothing"')], ids=str)
def test_startup_refused(w, how, code, message):
    with pytest.raises(PgError) as e:
        w.connect(**how)
    assert (e.value.code, e.value.fields['M'], e.value.fields['S']) == (code, message, 'FATAL')
    if code == '22023':
        assert e.value.fields['H'].startswith('Available values: off, ')


def test_configured_values(weir, pg):
    """Narrowest wins: global, database, user, startup packet, SET."""
    w = weir(ini({'app': db(pg, retry='observe', retry_unknown='hinted'), 'b': db(pg, dbname='app')},
                 users={'other': 'retry=replay'}, retry='off', retry_unknown='readonly'))
    for user, database, want in [('app', 'b', 'off readonly'), ('app', 'app', 'observe hinted'),
                                 ('other', 'app', 'replay hinted')]:
        with w.connect(user, database) as c:
            assert show(c) + ' ' + show(c, 'pgweir.retry_unknown') == want
            c.sql('SET pgweir.retry = implicit')
            c.sql('DISCARD ALL')
            assert show(c) + ' ' + show(c, 'pgweir.retry_unknown') == want
    rows = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert rows['retry_unknown'] == 'readonly' and rows['retry'] == 'off'


# ---- what they do --------------------------------------------------------------------------------

E1 = error('40001', 'could not serialize access')


class Flaky:
    """A server that fails each unit once, and then does it."""

    def __init__(self, weir, **conf):
        self.seen = []

        def script(conn):
            fails = True
            while True:
                letter, body = conn.read_raw()
                if letter == 'Q':
                    self.seen.append(body[:-1].decode())
                    conn.send(E1 if fails else result('ok'))
                    conn.send(ready('I'))
                    fails = not fails
                elif letter == 'S':
                    conn.send(E1 if fails else wire.msg('1') + wire.msg('2') + data_row('ok') + complete('SELECT 1'))
                    conn.send(ready('I'))
                    fails = not fails
                elif letter == 'P':
                    self.seen.append(body.split(b'\0')[1].decode())
        self.f = wire.FakeServer(script, params=wire.PARAMS)
        self.w = weir(ini({'app': db(self.f)}, **conf))

    def __enter__(self):
        return self

    def __exit__(self, kind, *a):
        self.f.close(check=False)


def test_off_and_on_in_a_session(weir):
    with Flaky(weir) as f, f.w.connect() as c:
        assert c.one('SELECT 1') == 'ok' and len(f.seen) == 2
        c.sql('SET pgweir.retry = off')
        assert codes(c.ask(query('SELECT 2'))) == ['40001'] and len(f.seen) == 3
        c.sql('SELECT 2')
        c.sql('SET pgweir.retry TO DEFAULT')
        assert c.one('SELECT 3') == 'ok' and len(f.seen) == 6
    with Flaky(weir, retry='off') as f, f.w.connect(options='-c pgweir.retry=implicit') as c:
        assert c.one('SELECT 1') == 'ok' and len(f.seen) == 2


@pytest.mark.parametrize('text, again', [
    ('/* pgweir:retry=off */ SELECT 1', False), ('-- pgweir:retry=off\nSELECT 1', False),
    ('  /* x */ /*pgweir:idempotent,pgweir:retry=off*/ SELECT 1; SELECT 2', False),
    ('SELECT /* pgweir:retry=off */ 1', True), ('SELECT 1 /* pgweir:retry=off */', True),
    ('/* see pgweir:retry=off */ SELECT 1', True), ('/* pgweir:retry=offf */ SELECT 1', True)])
def test_hint_retry_off(weir, text, again):
    with Flaky(weir) as f, f.w.connect() as c:
        m = c.ask(query(text))
        assert codes(m) == ([] if again else ['40001']) and len(f.seen) == 1 + again
    if ';' not in text:
        with Flaky(weir) as f, f.w.connect() as c:
            m = c.ask(parse(text), bind(), execute(), sync())
            assert codes(m) == ([] if again else ['40001']) and len(f.seen) == 1 + again


# ---- hinted ---------------------------------------------------------------------------------------

HINT = '/* pgweir:idempotent */ '
WRITE = 'UPDATE kv SET v = 1'
HINTED = {
    'simple': ([query(HINT + WRITE)], True),
    'simple, several': ([query(HINT + WRITE + '; ' + WRITE)], True),
    'line comment': ([query('-- pgweir:idempotent\n' + WRITE)], True),
    'reads': ([query('SELECT 1')], True),
    'extended': ([parse(HINT + WRITE), bind(), execute(), sync()], True),
    'extended, two': ([parse(HINT + WRITE), bind(), execute(), parse('SELECT 1', 'r'), bind((), 'r'),
                       execute(), sync()], True),
    'one without': ([parse(HINT + WRITE), bind(), execute(), parse(WRITE, 'r'), bind((), 'r'), execute(),
                     sync()], False),
    'without': ([query(WRITE)], False),
    'behind': ([query(WRITE + HINT)], False),
    'in the second': ([query('SELECT 1; ' + HINT + WRITE)], False),
    'other words': ([query('/* not pgweir:idempotent */ ' + WRITE)], False),
}


@pytest.mark.parametrize('name', HINTED)
@pytest.mark.parametrize('params', [wire.PARAMS, CRDB], ids=['postgresql', 'cockroachdb'])
@pytest.mark.parametrize('how', ['conf', 'session'])
def test_hinted(weir, name, params, how):
    """A unit whose server went without a word."""
    msgs, again = HINTED[name]
    conf = {'retry_unknown': 'hinted'} if how == 'conf' else {}
    with Nodes(weir, b'', params=params, conf=conf) as n, n.w.connect() as c:
        if how == 'session':
            c.sql('SET pgweir.retry_unknown = hinted')
        m = c.ask(*msgs)
        if again:
            assert ('D', ['two']) in m and m[-1] == ('Z', 'I') and n.moved() >= 1
        else:
            assert codes(m) == ['40003'] and n.moved() == 0


@pytest.mark.parametrize('value', ['off', 'readonly'])
def test_hints_need_the_setting(weir, value):
    with Nodes(weir, b'', params=wire.PARAMS, conf={'retry_unknown': 'hinted'}) as n, n.w.connect() as c:
        c.sql('SET pgweir.retry_unknown = ' + value)
        assert codes(c.ask(query(HINT + WRITE))) == ['40003'] and n.moved() == 0


def test_hints_in_a_block(weir):
    """There they have no effect: the transaction is lost."""
    said = []

    def first(conn):
        while True:
            letter, body = conn.read_raw()
            said.append(body)
            if letter != 'Q':
                continue
            if b'UPDATE' in body:
                return
            conn.send(wire.complete('BEGIN') if body.startswith(b'BEGIN') else result('1'))
            conn.send(ready('T'))
    with wire.FakeServer(first, params=wire.PARAMS) as f:
        w = weir(ini({'app': db(f)}, retry_unknown='hinted'))
        with w.connect() as c:
            c.hold()
            assert shape(c.ask(query(HINT + WRITE))) == 'E:40001 Z:E'
            assert len([x for x in said if b'UPDATE' in x]) == 1


# ---- drivers --------------------------------------------------------------------------------------

def test_psycopg2(w):
    c = psycopg2.connect(w.dsn() + " options='-c pgweir.retry=replay'")
    with c.cursor() as k:
        k.execute('SHOW pgweir.retry')
        assert k.fetchall() == [('replay',)] and k.description[0].name == 'pgweir.retry'
        assert k.statusmessage == 'SHOW'
        k.execute('SET pgweir.retry = %s', ('off',))
        assert k.statusmessage == 'SET'
        k.execute('SELECT 1')
        k.execute('SHOW pgweir.retry')
        assert k.fetchone() == ('off',)
        with pytest.raises(psycopg2.errors.InvalidParameterValue):
            k.execute('SET pgweir.retry = %s', ('of',))
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            k.execute('SHOW pgweir.retry')
    c.rollback()
    c.close()
    with pytest.raises(psycopg2.OperationalError, match='invalid value for parameter "pgweir.retry"'):
        psycopg2.connect(w.dsn() + " options='-c pgweir.retry=on'")


def test_psycopg3(w):
    with psycopg.connect(w.dsn(), autocommit=True) as c:
        for binary in (False, True):
            with c.cursor(binary=binary) as k:
                for prepare in (False, True, True):
                    k.execute('SET pgweir.retry = replay', prepare=prepare)
                    assert k.statusmessage == 'SET'
                    k.execute('SHOW pgweir.retry', prepare=prepare)
                    assert k.fetchall() == [('replay',)]
                    k.execute('RESET pgweir.retry', prepare=prepare)
        with c.pipeline(), c.cursor() as k:
            k.execute('SELECT 1')
            k.execute('SET pgweir.retry = off')
            k.execute('SHOW pgweir.retry')
            k.execute('SELECT 2')
        assert c.execute('SHOW pgweir.retry').fetchone() == ('off',)
        with c.transaction(), c.transaction():
            c.execute('SET pgweir.retry = observe')
            c.execute('SELECT 1')
        with pytest.raises(psycopg.errors.InvalidParameterValue), c.transaction():
            c.execute('SELECT 1')
            c.execute('SET pgweir.retry = x')
        assert c.execute('SHOW pgweir.retry').fetchone() == ('observe',)


def test_asyncpg(w):
    async def main():
        c = await asyncpg.connect(host='127.0.0.1', port=w.port, user='app', database='app',
                                  server_settings={'pgweir.retry': 'replay'})
        assert await c.fetchval('SHOW pgweir.retry') == 'replay'
        assert await c.execute('SET pgweir.retry = off') == 'SET'
        for _ in range(3):
            assert await c.fetchval('SHOW pgweir.retry') == 'off'
            assert await c.fetchval('SELECT 1') == 1
        s = await c.prepare('SHOW pgweir.retry')
        assert await s.fetch() == [('off',)]
        async with c.transaction():
            assert await s.fetchval() == 'off'
            await c.fetch('SET pgweir.retry = implicit')
            assert await c.fetchval('SELECT 2') == 2
            assert await s.fetchval() == 'implicit'
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await c.fetch('SET pgweir.retry = x')
        await c.reset()  # RESET ALL among others
        assert await c.fetchval('SHOW pgweir.retry') == 'replay'
        await c.close()
    asyncio.run(main())


# ---- replay ---------------------------------------------------------------------------------------

FLAKY = """DROP FUNCTION IF EXISTS flaky(); DROP SEQUENCE IF EXISTS flaky_calls; CREATE SEQUENCE flaky_calls;
CREATE FUNCTION flaky() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
IF nextval('flaky_calls') % 2 = 1 THEN RAISE EXCEPTION 'once' USING ERRCODE = '40001'; END IF;
RETURN 7; END $$"""

REPLAYED = {
    'set before': (['SET pgweir.retry = replay', 'BEGIN', 'SELECT 1'], True),
    'not set': (['BEGIN', 'SELECT 1'], False),
    'shown inside': (['SET pgweir.retry = replay', 'BEGIN', 'SHOW pgweir.retry', 'SELECT 1',
                      'SHOW pgweir.retry'], True),
    'off inside': (['SET pgweir.retry = replay', 'BEGIN', 'SELECT 1', 'SET pgweir.retry = off'], False),
    'off at once': (['SET pgweir.retry = replay', 'BEGIN', 'SET pgweir.retry = off', 'SELECT 1'], False),
    'reset inside': (['SET pgweir.retry = replay', 'BEGIN', 'SELECT 1', 'RESET pgweir.retry'], False),
    'on inside': (['BEGIN', 'SELECT 1', 'SET pgweir.retry = replay'], False),
    'hint': (['SET pgweir.retry = replay', 'BEGIN', '/* pgweir:retry=off */ SELECT 1'], False),
    'hint at once': (['SET pgweir.retry = replay', '/* pgweir:retry=off */ BEGIN', 'SELECT 1'], False),
    'hint, several': (['SET pgweir.retry = replay', 'BEGIN', '/* pgweir:retry=off */ SELECT 1; SELECT 2'], False),
    'hint behind': (['SET pgweir.retry = replay', 'BEGIN', 'SELECT 1 /* pgweir:retry=off */'], True),
}


@pytest.mark.parametrize('ext', [False, True], ids=['simple', 'extended'])
@pytest.mark.parametrize('name', REPLAYED)
def test_replay(w, pg, name, ext):
    """The first call of flaky() in a transaction fails with 40001, the second does not."""
    texts, replayed = REPLAYED[name]
    pg.sql(FLAKY, user='app')

    def ask(c, text):
        return c.ask(extended(text) + sync() if ext and '; ' not in text else query(text))
    with w.connect() as c:
        for text in texts:
            assert codes(ask(c, text)) == [], text
        m = ask(c, 'SELECT flaky()')
        if replayed:
            assert ('D', ['7']) in m and m[-1] == ('Z', 'T')
            assert shape(ask(c, 'SHOW pgweir.retry')).endswith('T D C:SHOW Z:T')
            assert shape(ask(c, 'COMMIT')).endswith('C:COMMIT Z:I')
        else:
            assert shape(m).endswith('E:40001 Z:E')
            assert codes(ask(c, 'SHOW pgweir.retry')) == ['25P02']
            assert shape(ask(c, 'COMMIT')).endswith('C:ROLLBACK Z:I')
    assert w.retries()['replay_ok'] == replayed


def test_replay_of_what_the_server_has(w, pg):
    """A Parse that is answered here because the server has the statement is of its own
    unit in a replay too."""
    pg.sql(FLAKY, user='app')
    with w.connect() as c:
        c.sql('SET pgweir.retry = replay')
        c.ask(parse('SELECT 5', 'a'), sync())
        for text in ['BEGIN', 'SELECT 1']:
            c.sql(text)
        c.ask(parse('SELECT 5', 'b'), bind((), 'b'), execute(), sync())
        assert ('D', ['7']) in c.ask(query('SELECT flaky()')), w.retries()
        c.sql('COMMIT')
    assert w.retries()['replay_ok'] == 1


def test_a_parse_behind_a_rollback(w):
    """In one write: the Parse of a name, as it was sent, must fail; in its turn it does not."""
    with w.connect() as c:
        c.hold()
        c.ask(query('SELECT 1/0'))
        m = c.ask(extended('ROLLBACK'), sync(), parse('SELECT 7', 's'), bind((), 's'), execute(), sync(), readies=2)
        assert shape(m) == '1 2 n C:ROLLBACK Z:I 1 2 D C:SELECT 1 Z:I'
