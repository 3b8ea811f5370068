"""Differential scripts: the extended protocol, pipelines.

SPDX-License-Identifier: ISC
"""
import struct

from diff import Script, anew, elsewhere, q, say, x
from wire import (bind, close, cstr, describe, execute, extended, flush, function_call, msg, parse,
                  query, sync)

SERIES = 'SELECT * FROM generate_series(1, 10)'
P = parse


def raw_bind(portal='', name='', formats=(), params=(), results=()):
    """Bind with formats, parameters as bytes."""
    body = cstr(portal) + cstr(name) + struct.pack('!h', len(formats)) + b''.join(struct.pack('!h', f) for f in formats)
    body += struct.pack('!h', len(params))
    for p in params:
        body += struct.pack('!i', -1) if p is None else struct.pack('!i', len(p)) + p
    return msg('B', body + struct.pack('!h', len(results)) + b''.join(struct.pack('!h', r) for r in results))


# ---- batches with one Sync behind ---------------------------------------------------------

BATCHES = {
    'plain': [extended('SELECT $1::int + 1', [41])],
    'null': [extended('SELECT $1::text IS NULL, $1::text', [None])],
    'nothing': [],
    'parse only': [P('SELECT 1')],
    'parse named only': [P('SELECT 1', 'a1')],
    'parse with types': [P('SELECT $1, $2', 'a1', (23, 25)), describe('S', 'a1'), bind([1, 'x'], 'a1'), execute()],
    'parse with wrong types': [P('SELECT $1 + 1', 'a1', (25,)), describe('S', 'a1')],
    'parse with an unknown type': [P('SELECT $1', 'a1', (999999,))],
    'types found out': [P('SELECT $1 + 1, $2 || \'x\', $3::date'), describe('S')],
    'type not found out': [P('SELECT $1 IS NULL'), describe('S'), bind(['x']), execute()],
    'no $1 but $2': [P('SELECT $2::int'), describe('S')],
    'empty': [extended('')],
    'empty, described as a statement': [P(''), describe('S'), bind(), execute()],
    'a comment': [extended('-- nothing')],
    'two statements in one': [extended('SELECT 1; SELECT 2')],
    'semicolon behind': [extended('SELECT 1;')],
    'several executes': [extended('SELECT 1'), extended('SELECT 2'), extended('SELECT 3')],
    'bound once, run twice': [P(SERIES), bind(), execute(), execute()],
    'parsed once, bound three times': [P('SELECT $1::int', 'a1')] + [bind([i], 'a1') + execute() for i in range(3)],
    'parsed anew, unnamed': [P('SELECT 1'), P('SELECT 2'), bind(), execute()],
    'parsed anew, named': [P('SELECT 1', 'a1'), P('SELECT 2', 'a1'), bind([], 'a1'), execute()],
    'closed and parsed anew': [P('SELECT 1', 'a1'), close('S', 'a1'), P('SELECT 2', 'a1'), bind([], 'a1'), execute()],
    'closed, then bound': [P('SELECT 1', 'a1'), close('S', 'a1'), bind([], 'a1'), execute()],
    'unnamed closed, then bound': [P('SELECT 1'), close('S', ''), bind(), execute()],
    'close unknown': [close('S', 'nope'), close('P', 'nope'), close('S', ''), close('P', '')],
    'close twice': [P('SELECT 1', 'a1'), close('S', 'a1'), close('S', 'a1')],
    'close what is neither': [close('X', 'a1')],
    'describe what is neither': [describe('X', 'a1')],
    'unknown statement': [bind([], 'nosuchstmt'), execute()],
    'unknown unnamed statement': [bind(), execute()],
    'unknown portal': [execute('nosuchportal')],
    'unknown unnamed portal': [execute()],
    'describe an unknown statement': [describe('S', 'nosuchstmt')],
    'describe an unknown unnamed statement': [describe('S', '')],
    'describe an unknown portal': [describe('P', 'nosuchportal')],
    'describe an unknown unnamed portal': [describe('P', '')],
    'describe all': [P('SELECT $1::int, s FROM ten', 'a1'), describe('S', 'a1'), bind([1], 'a1', 'p1'),
                     describe('P', 'p1')],
    'describe without rows': [P('CREATE TABLE never (i int)', 'a1'), describe('S', 'a1')],
    'describe twice': [P('SELECT 1'), describe('S'), describe('S'), bind(), describe(), describe(), execute()],
    'describe after execute': [P('SELECT 1'), bind(), execute(), describe()],
    'row limit': [P(SERIES), bind(), execute('', 4), execute('', 4), execute('', 4)],
    'row limit of exactly all': [P(SERIES), bind(), execute('', 10), execute('', 10)],
    'row limit, negative': [P(SERIES), bind(), execute('', -1)],
    'row limit of an insert': [P("INSERT INTO ten VALUES (11, 'x') RETURNING i"), bind(), execute('', 1),
                               execute('', 1),
                               extended('SELECT 1/0')],
    'suspended, another unnamed': [P(SERIES), bind(), execute('', 2), P('SELECT 1'), bind(), execute()],
    'portals in turn': [P(SERIES, 'a1'), bind([], 'a1', 'p1'), bind([], 'a1', 'p2'), execute('p1', 2), execute('p2', 3),
                        execute('p1', 2), execute('p2', 3), close('P', 'p1'), execute('p2')],
    'portal of one name twice': [P(SERIES, 'a1'), bind([], 'a1', 'p1'), bind([], 'a1', 'p1'), execute('p1')],
    'portal closed': [P(SERIES), bind(portal='p1'), close('P', 'p1'), execute('p1')],
    'portal whose statement is closed': [P(SERIES, 'a1'), bind([], 'a1', 'p1'), close('S', 'a1'), execute('p1', 3)],
    'portal with a simple name for a cursor': [P(SERIES), bind(portal='c'), execute('c', 1),
                                               extended('FETCH 2 FROM c')],
    'too many parameters': [P('SELECT $1::int'), bind([1, 2]), execute()],
    'too few parameters': [P('SELECT $1::int, $2::int', 'a1'), bind([1], 'a1'), execute()],
    'parameters for none': [P('SELECT 1'), bind(['x']), execute()],
    'wrong number of formats': [P('SELECT $1::int, $2::int'), raw_bind(formats=(0, 0, 0), params=[b'1', b'2'])],
    'wrong number of result formats': [P('SELECT 1, 2'), bind(result=[1, 1, 1]), execute()],
    'unknown format': [P('SELECT $1::int'), raw_bind(formats=(7,), params=[b'1'])],
    'unknown result format': [P('SELECT 1'), bind(result=[7]), describe(), execute()],
    'binary result': [P("SELECT 1::int4, 2::int8, 'x'::text, 1.5::float8, NULL, true"), bind(result=[1]), describe(),
                      execute()],
    'binary and text results': [P("SELECT 1::int4, 2::int4"), bind(result=[1, 0]), describe(), execute()],
    'binary parameter': [P('SELECT $1::int4 + 1'), raw_bind(formats=(1,), params=[struct.pack('!i', 41)]), execute()],
    'binary parameter of the wrong size': [P('SELECT $1::int4 + 1'), raw_bind(formats=(1,), params=[b'abc']),
                                           execute()],
    'binary and text parameters': [P('SELECT $1::int4, $2::int4, $3::text'),
                                   raw_bind(formats=(1, 0, 1), params=[struct.pack('!i', 7), b'8', b'n\xc3\xa9']),
                                   execute()],
    'bytea': [P('SELECT $1::bytea, length($1)'), raw_bind(formats=(1,), params=[bytes(range(256))], results=[1, 0]),
              execute()],
    'zero in text': [P('SELECT $1::text'), raw_bind(params=[b'a\0b']), execute()],
    'invalid UTF-8 parameter': [P('SELECT $1::text'), raw_bind(params=[b'a\xffb']), execute()],
    'invalid UTF-8 statement': [P(b"SELECT '\xff'"), bind(), execute()],
    'bad input': [P('SELECT $1::int'), bind(['x']), execute()],
    'bad input of a named one': [P('SELECT $1::date', 'a1'), bind(['2000-99-01'], 'a1', 'p1'), execute('p1')],
    '200 parameters': [P('SELECT ' + ', '.join('$%d::int' % (i + 1) for i in range(200))), bind(range(200)),
                       describe(), execute()],
    '65535 parameters': [P('SELECT $65535::int', 'a1', ()), describe('S', 'a1')],
    'parameter of 1 MiB': [P('SELECT length($1::text), $1::text'), bind(['v' * (1 << 20)]), execute()],
    'names of 200 bytes': [P('SELECT 1', 'n' * 200), bind([], 'n' * 200, 'p' * 200), execute('p' * 200),
                           close('S', 'n' * 200)],
    'names with odd letters': [P('SELECT 1', 'ä"\' $;'), bind([], 'ä"\' $;', '"; DROP'), execute('"; DROP'),
                               bind([], 'nope "\' ä'),
                               execute()],
    'names that differ in case': [P("SELECT 'a'", 'Aa'), P("SELECT 'b'", 'aA'), bind([], 'Aa'), execute(),
                                  bind([], 'aA'), execute()],
    'begin': [extended('BEGIN'), extended('SELECT 1'), extended('COMMIT')],
    'begin and error': [extended('BEGIN'), extended('SELECT 1/0'), extended('COMMIT')],
    'commit without begin': [extended('COMMIT')],
    'savepoints': [extended('BEGIN'), extended('SAVEPOINT a'), extended('SELECT 1'), extended('ROLLBACK TO a'),
                   extended('COMMIT')],
    'a block and more': [extended('SELECT 1'), extended('BEGIN'), extended('SELECT 2'), extended('COMMIT'),
                         extended('SELECT 3')],
    'commit and error': [extended('BEGIN'), extended('SELECT 1'), extended('COMMIT'), extended('SELECT 1/0')],
    'set': [extended("SET DateStyle = 'German'"), extended("SELECT '2020-02-01'::date"), extended('RESET DateStyle')],
    'set, then error': [extended("SET DateStyle = 'German'"), extended('SELECT 1/0')],
    'show': [extended('SHOW DateStyle')],
    'explain': [extended('EXPLAIN (COSTS off) SELECT * FROM ten WHERE i = $1', [1])],
    'notice': [extended("DO $$BEGIN RAISE NOTICE 'n'; END$$"), extended('SELECT 1')],
    'vacuum': [extended('VACUUM ten')],
    'vacuum after something': [extended('SELECT 1'), extended('VACUUM ten')],
    'vacuum, then error': [extended('VACUUM ten'), extended('SELECT 1/0')],
    'copy out': [extended('COPY ten TO STDOUT'), extended('SELECT 1')],
    'declare': [extended('BEGIN'), extended('DECLARE c CURSOR FOR TABLE ten'), extended('FETCH 2 FROM c'),
                P('FETCH 2 FROM c', 'a1'),
                bind([], 'a1'), describe(), execute(), extended('COMMIT')],
    'flush everywhere': [flush(), P('SELECT 1'), flush(), bind(), flush(), describe(), flush(), execute(), flush()],
    'flush after error': [P('nonsense'), flush(), bind(), flush()],
    'simple query first': [query('SELECT 1'), extended('SELECT 2')],
    'simple query in the middle': [extended('SELECT 1'), query('SELECT 2'), extended('SELECT 3')],
    'simple query behind the parse': [P('SELECT 1'), query('SELECT 2'), bind(), execute()],
    'simple query behind a named parse': [P('SELECT 1', 'a1'), query('SELECT 2'), bind([], 'a1'), execute()],
    'simple query behind the bind': [P('SELECT 1'), bind(), query('SELECT 2'), execute()],
    'simple query behind a named bind': [P('SELECT 1', 'a1'), bind([], 'a1', 'p1'), query('SELECT 2'), execute('p1')],
    'simple error in the middle': [extended('SELECT 1'), query('SELECT 1/0'), extended('SELECT 3')],
    'simple begin in the middle': [extended('SELECT 1'), query('BEGIN'), extended('SELECT 2'), query('COMMIT'),
                                   extended('SELECT 3')],
    'empty simple query in the middle': [extended('SELECT 1'), query(''), extended('SELECT 2')],
    'function call in the middle': [extended('SELECT 1'), function_call(177, 20, 22), extended('SELECT 2')],
    '1000 executes': [extended('SELECT %d' % i) for i in range(1000)],
    '300 named statements': [P('SELECT %d' % i, 'm%d' % i) for i in range(300)] + [bind([],
            'm%d' % i) + execute() for i in range(300)],
    '1000 binds of one': [P('SELECT $1::int', 'a1')] + [bind([i], 'a1') + execute() for i in range(1000)],
    '1000 closes': [close('S', 'z%d' % i) for i in range(1000)],
    'ten answers of 200 kB': [extended("SELECT repeat('x', 200000)") for _ in range(10)],
}

SCRIPTS = []
for name, parts in BATCHES.items():
    SCRIPTS.append(Script('batch: ' + name, x(*parts), q("SELECT 'after'")))

# ---- an error at each step, in each surrounding ---------------------------------------------

ERRORS = {
    'parse': P('SELECT nonsense'),
    'named parse': P('SELECT nonsense', 'e1'),
    'parse of a name taken': P('SELECT 1', 'good'),
    'bind of a bad value': P('SELECT $1::int') + bind(['x']),
    'bind of an unknown statement': bind([], 'nosuch'),
    'bind of too few': P('SELECT $1::int') + bind(),
    'describe of an unknown statement': describe('S', 'nosuch'),
    'describe of an unknown portal': describe('P', 'nosuch'),
    'execute': extended('SELECT 1/0'),
    'execute of an unknown portal': execute('nosuch'),
    'execute in the middle of rows': extended('SELECT 1/(3 - i) FROM ten'),
}
GOOD = P('SELECT 100 + $1::int', 'good')
USE = bind([5], 'good') + execute()
SURROUNDINGS = {
    'alone': lambda e: [x(e), x(USE)],
    'more behind': lambda e: [x(e, extended('SELECT 2'), P('SELECT 3', 'later'), close('S', 'good')), x(USE),
                              x(bind([], 'later'), execute())],
    'between': lambda e: [x(USE, e, USE), x(USE)],
    'first of three units': lambda e: [say(e, sync(), USE, sync(), USE, sync())],
    'query behind': lambda e: [say(e, query('SELECT 2'), USE, sync(), wait=1), x(USE)],
    'flush, then more': lambda e: [say(e, flush(), wait='E'), x(USE, extended('SELECT 2')), x(USE)],
    'in a block': lambda e: [q('BEGIN'), x(e), x(USE), q('ROLLBACK'), x(USE)],
    'in an aborted block': lambda e: [q('BEGIN', 'SELECT 1/0'), x(e), x(USE), q('ROLLBACK'), x(USE)],
    'in a block with a savepoint': lambda e: [q('BEGIN', 'SAVEPOINT s'), x(e), q('ROLLBACK TO s'), x(USE), q('COMMIT')],
    'block in the batch': lambda e: [x(extended('BEGIN'), e, extended('COMMIT')), q('COMMIT'), x(USE)],
}
for where, around in SURROUNDINGS.items():
    for name, e in ERRORS.items():
        SCRIPTS.append(Script('error at %s, %s' % (name, where), x(GOOD), *around(e), x(close('S', 'good'))))

# ---- everything in an aborted block ----------------------------------------------------------

ABORTED = {
    'parse': P('SELECT 1'), 'named parse': P('SELECT 1', 'n1'), 'parse of nothing': P(''),
    'parse rollback': P('ROLLBACK', 'n1'),
    'bind': bind([5], 'good'), 'bind rollback': extended('ROLLBACK'),
    'bind rollback to': extended('ROLLBACK TO nosuch'),
    'describe a statement': describe('S', 'good'), 'describe an open portal': describe('P', 'open'),
    'execute an open portal': execute('open'), 'close a statement': close('S', 'good'),
    'close a portal': close('P', 'open'),
    'empty': extended(''), 'commit': extended('COMMIT'), 'begin': extended('BEGIN'),
    'function call': function_call(177, 20, 22),
    'flush': flush(), 'copy': extended('COPY ten FROM STDIN'), 'deallocate': extended('DEALLOCATE good'),
}
for name, e in ABORTED.items():
    SCRIPTS.append(Script('aborted: %s' % name, x(GOOD), q('BEGIN'), x(bind([1], 'good', 'open')), q('SELECT 1/0'),
                          say(e) if name == 'function call' else x(e), q('ROLLBACK'), x(USE)))

# ---- over several Syncs ------------------------------------------------------------------------

SCRIPTS += [
    Script('portal over Syncs in a block', q('BEGIN'), x(P(SERIES), bind(portal='p1'), execute('p1', 2)),
           x(execute('p1', 2)),
           x(describe('P', 'p1')), q('SELECT 1'), x(execute('p1', 100)), x(execute('p1', 1)), q('COMMIT'),
           x(execute('p1', 1))),
    Script('portal gone after the Sync', x(P(SERIES), bind(portal='p1'), execute('p1', 2)), x(execute('p1', 2))),
    Script('unnamed portal gone after the Sync', x(P(SERIES), bind(), execute('', 2)), x(execute('', 2))),
    Script('unnamed portal over Syncs in a block', q('BEGIN'), x(P(SERIES), bind(), execute('', 2)), x(execute('', 2)),
           q('SELECT 1'), x(execute('', 2)), q('ROLLBACK')),
    Script('portal and savepoint', q('BEGIN', 'SAVEPOINT s'), x(P(SERIES), bind(portal='p1'), execute('p1', 2)),
           q('ROLLBACK TO s'),
           x(execute('p1', 2)), q('ROLLBACK')),
    Script('portal closed by a cursor command', q('BEGIN'), x(P(SERIES), bind(portal='p1')),
           q('FETCH 3 FROM p1', 'CLOSE p1'),
           x(execute('p1')), q('ROLLBACK')),
    Script('cursor run as a portal', q('BEGIN', 'DECLARE c CURSOR FOR ' + SERIES),
           x(describe('P', 'c'), execute('c', 3)), x(close('P', 'c')),
           q('FETCH c', 'ROLLBACK')),
    Script('named over units', x(P('SELECT $1::int', 's1'), describe('S', 's1')), x(bind([1], 's1'), execute()),
           q('SELECT 2'),
           x(bind([3], 's1'), execute()), x(describe('S', 's1')), x(close('S', 's1')), x(bind([4], 's1'), execute()),
           x(describe('S', 's1'))),
    Script('unnamed over units', x(P('SELECT $1::int')), x(bind([1]), execute()), x(bind([2]), execute()),
           x(describe('S'))),
    Script('unnamed ended by a simple query', x(P('SELECT $1::int')), q('SELECT 2'), x(bind([1]), execute())),
    Script('unnamed ended by an empty query', x(P('SELECT $1::int')), q(''), x(bind([1]), execute())),
    Script('unnamed after a query that fails', x(P('SELECT $1::int')), q('nonsense'), x(bind([1]), execute())),
    Script('unnamed after a parse that fails', x(P('SELECT 1')), x(P('nonsense')), x(bind(), execute())),
    Script('unnamed after a function call', x(P('SELECT 1')), say(function_call(177, 20, 22)), x(bind(), execute())),
    Script('unnamed after rollback', q('BEGIN'), x(P('SELECT 1')), x(bind(), execute()), x(P('SELECT 2')),
           x(bind(), execute())),
    Script('named parsed in a block that is rolled back', q('BEGIN'), x(P('SELECT 1', 's1')), q('ROLLBACK'),
           x(bind([], 's1'), execute())),
    Script('named twice', x(P('SELECT 1', 's1')), x(P('SELECT 1', 's1')), x(P('SELECT 2', 's1')),
           x(bind([], 's1'), execute())),
    Script('named again after a failure', x(P('SELECT * FROM nosuch', 's1')), x(P('SELECT 1', 's1')),
           x(bind([], 's1'), execute())),
    Script('named, closed behind an error', x(P('SELECT 1', 's1')), x(bind([], 'nope'), close('S', 's1')),
           x(bind([], 's1'), execute())),
    Script('deallocate', x(P('SELECT 1', 's1')), q('DEALLOCATE s1'), x(bind([], 's1'), execute()), q('DEALLOCATE s1')),
    Script('deallocate prepare', x(P('SELECT 1', 's1')), q('DEALLOCATE PREPARE s1'),
           x(P('SELECT 2', 's1'), bind([], 's1'), execute())),
    Script('deallocate of a quoted name', x(P('SELECT 1', 'S 1"x')), q('DEALLOCATE "S 1""x"'), x(bind([], 'S 1"x'))),
    Script('deallocate folds the case', x(P('SELECT 1', 'S1')), q('DEALLOCATE S1', 'DEALLOCATE "S1"'),
           x(bind([], 'S1'))),
    Script('deallocate all', x(P('SELECT 1', 's1'), P('SELECT 2', 's2')), q('DEALLOCATE ALL'), x(bind([], 's1')),
           x(bind([], 's2')),
           x(P('SELECT 3', 's1'), bind([], 's1'), execute())),
    Script('deallocate all and the unnamed', x(P('SELECT 1')), x(extended('DEALLOCATE ALL')), x(bind(), execute())),
    Script('deallocate in a block that is rolled back', x(P('SELECT 1', 's1')), q('BEGIN', 'DEALLOCATE s1', 'ROLLBACK'),
           x(bind([], 's1'), execute())),
    Script('deallocate, extended', x(P('SELECT 1', 's1')), x(extended('DEALLOCATE s1')), x(bind([], 's1'), execute())),
    Script('deallocate twice in one query', x(P('SELECT 1', 's1')), q('DEALLOCATE s1; DEALLOCATE s1'),
           x(bind([], 's1'), execute())),
    Script('deallocate and an error in one query', x(P('SELECT 1', 's1')), q('DEALLOCATE s1; SELECT 1/0'),
           x(bind([], 's1'), execute())),
    Script('discard all', x(P('SELECT 1', 's1'), P('SELECT 2')), q('DISCARD ALL'), x(bind([], 's1')),
           x(bind(), execute())),
    Script('parse behind deallocate all', x(P('SELECT 1', 's1')),
           say(query('DEALLOCATE ALL'), P('SELECT 2', 's1'), sync()),
           x(bind([], 's1'), execute())),
    Script('execute of a protocol statement', x(P('SELECT $1::int + 1', 's1')),
           q('EXECUTE s1(4)', 'EXECUTE s1', 'EXECUTE s1(1, 2)')),
    Script('execute of a protocol statement, explained', x(P('SELECT i FROM ten WHERE i = $1', 's1')),
           q('EXPLAIN (COSTS off) EXECUTE s1(4)')),
    Script('prepared with SQL, bound', q('PREPARE s1 (int) AS SELECT $1 + 1'),
           x(describe('S', 's1'), bind([4], 's1'), execute()),
           x(close('S', 's1')), q('EXECUTE s1(1)')),
    Script('generic plans', x(P('SELECT s FROM ten WHERE i = $1', 's1')),
           *[x(bind([i], 's1'), execute()) for i in range(1, 9)]),
    Script('many names over units', *[x(P("SELECT '%s'" % n, n)) for n in 'abcdefghij'],
           *[x(bind([], n), execute()) for n in 'jihgfedcba']),
    Script('more statements than are kept', *[x(*[P("SELECT %d" % (100 * k + i),
                                                    'k%d' % (100 * k + i)) for i in range(100)])
                                              for k in range(3)],
                                              *[x(*[bind([], 'k%d' % i) + execute() for i in range(k, 300, 7)])
                                                                    for k in range(7)]),
    Script('flush by flush', say(P('SELECT $1::int'), describe('S'), flush(), wait='T'),
           say(bind([3]), flush(), wait='2'),
           say(execute(), flush(), wait='C'), x()),
    Script('flush and a simple query', say(P('SELECT 1'), bind(), execute(), flush(), wait='C'), q('SELECT 2'),
           x(bind(), execute())),
    Script('flush, then error, then flush', say(extended('SELECT 1'), flush(), wait='C'),
           say(extended('SELECT 1/0'), flush(), wait='E'),
           x(extended('SELECT 2')), q('SELECT 3')),
    Script('three flushed batches, one Sync', *[say(extended('SELECT %d' % i), flush(), wait='C') for i in range(3)],
           x()),
    Script('suspended, flushed', say(P(SERIES), bind(), execute('', 3), flush(), wait='s'),
           say(execute('', 3), flush(), wait='s'),
           x(execute())),
    Script('1000 Syncs', say(*[sync()] * 1000)),
    Script('1000 Syncs in a block', q('BEGIN'), say(*[sync()] * 1000), q('COMMIT')),
    Script('Sync before all', x(), x(extended('SELECT 1')), x(), q('SELECT 2'), x()),
    Script('100 units', say(*[extended('SELECT %d' % i) + sync() for i in range(100)])),
    Script('100 units, every fifth fails', say(*[extended('SELECT 1/%d' % (i % 5)) + sync() for i in range(100)])),
    Script('100 units of a named statement', x(P('SELECT $1::int', 's1')),
           say(*[bind([i], 's1') + execute() + sync() for i in range(100)])),
    Script('100 units that parse and close', say(*[P('SELECT %d' % i, 's1') + bind([], 's1') + execute() + close('S',
            's1') + sync()
                                                   for i in range(100)])),
    Script('units of all kinds', say(*[(extended('SELECT 1') + sync(), query('SELECT 2'),
                                        extended('SELECT 1/0') + sync(), sync(),
                                        query('nonsense'), function_call(1), query(''))[i % 7] for i in range(140)])),
    Script('blocks of all kinds', say(*[(extended('BEGIN') + sync(), query('SELECT 2'),
                                         extended('SELECT 1/0') + sync(), query('COMMIT'),
                                         query('BEGIN'), extended('COMMIT') + sync())[i % 6] for i in range(120)])),
    Script('a batch with several blocks', x(*[extended('BEGIN'), extended('SELECT 1'), extended('COMMIT')] * 20)),
    Script('a block over batches', x(extended('BEGIN')), x(extended('SELECT 1')), q('SELECT 2'), x(extended('COMMIT')),
           x(extended('SELECT 3'))),
    Script('a prepared begin', x(P('BEGIN', 'b'), P('COMMIT', 'c'), P('SELECT $1::int', 's')),
           *[x(bind([], 'b'), execute()), x(bind([1], 's'), execute()), x(bind([], 'c'), execute())] * 3),
    Script('a prepared begin in one write', x(P('BEGIN', 'b'), P('COMMIT', 'c'), P('SELECT $1::int', 's')),
           say(*[bind([], 'b') + execute() + sync() + bind([1], 's') + execute() + sync() + bind([],
                   'c') + execute() + sync()] * 10)),
    Script('begin with describe', x(P('BEGIN'), bind(), describe(), execute()), x(P('SELECT 1'), describe('S')),
           x(bind(), execute()),
           x(P('COMMIT'), bind(), describe(), execute())),
    Script('begin parsed, bound, executed in units', q('BEGIN'), x(P('SELECT 1')), x(bind()), x(execute()),
           q('COMMIT')),
    Script('begin flushed', say(extended('BEGIN'), flush(), wait='C'), say(extended('SELECT 1'), flush(), wait='C'),
           x(), q('COMMIT')),
]

# ---- a table that changes -----------------------------------------------------------------------

CH = 'CREATE TABLE app.ch (i int, s text); INSERT INTO app.ch VALUES (1, \'x\')'
RUN = x(bind([], 's1'), execute())
CHANGES = {
    'a column more': 'ALTER TABLE app.ch ADD COLUMN n int',
    'a type': 'ALTER TABLE app.ch ALTER i TYPE bigint',
    'a column less': 'ALTER TABLE app.ch DROP COLUMN s',
    'a table anew': "DROP TABLE app.ch; CREATE TABLE app.ch (i int, s text, z text); INSERT INTO app.ch VALUES (7, 'new', 'z')",
    'a table gone': 'DROP TABLE app.ch',
    'a name': 'ALTER TABLE app.ch RENAME COLUMN s TO r',
    'an index': 'CREATE INDEX ON app.ch (i)',
    'nothing': 'ANALYZE app.ch',
}
SEL = 'SELECT * FROM ch'
for name, ddl in CHANGES.items():
    SCRIPTS += [
        Script('changed by others, %s' % name, x(P(SEL, 's1'), describe('S', 's1')), RUN, elsewhere(ddl),
               anew(SEL, RUN), anew(SEL, RUN),
               anew(SEL, x(describe('S', 's1'))), x(close('S', 's1')), x(P(SEL, 's1')), RUN, setup=CH),
        Script('changed by others in a block, %s' % name, x(P(SEL, 's1')), RUN, elsewhere(ddl), q('BEGIN'),
               anew(SEL, RUN, RUN, q('ROLLBACK')),
               anew(SEL, RUN), setup=CH),
        Script('changed by itself, %s' % name, x(P(SEL, 's1')), RUN, q(ddl), anew(SEL, RUN),
               anew(SEL, x(RUN.data[:-5], RUN.data[:-5])),
               q('SELECT 1'), setup=CH),
        Script('changed by itself in a block, %s' % name, x(P(SEL, 's1')), q('BEGIN'), RUN, q(ddl), RUN, RUN,
               q('ROLLBACK'), RUN, setup=CH),
    ]
INS = 'INSERT INTO ch VALUES ($1, $2) RETURNING *'
SCRIPTS += [
    Script('changed, unnamed', x(P(SEL)), x(bind(), execute()), elsewhere(CHANGES['a column more']),
           anew(SEL, x(bind(), execute()), name=''), anew(SEL, x(bind(), describe(), execute()), name=''), setup=CH),
    Script('changed, prepared with SQL', q('PREPARE s1 AS SELECT * FROM ch', 'EXECUTE s1'),
           elsewhere(CHANGES['a column more']), q('EXECUTE s1'),
           q('DEALLOCATE s1'), setup=CH),
    Script('changed, an insert', x(P(INS, 's1')), x(bind([1, 'a'], 's1'), execute()),
           elsewhere(CHANGES['a column more']),
           anew(INS, x(bind([2, 'b'], 's1'), execute()), q('TABLE ch')), setup=CH),
    Script('changed by a search path', x(P('SELECT * FROM ten', 's1')), RUN,
           q('CREATE TABLE ten (other text)', "INSERT INTO ten VALUES ('mine')"),
           anew('SELECT * FROM ten', x(bind([], 's1'), describe(), execute())), setup=''),
]

# ---- function calls --------------------------------------------------------------------------------

INT4PL, LENGTH, VERSION = 177, 1317, 89


def call(oid, *args, formats=(), result=0):
    body = struct.pack('!ih', oid, len(formats)) + b''.join(struct.pack('!h', f) for f in formats) + struct.pack('!h',
            len(args))
    for a in args:
        body += struct.pack('!i', -1) if a is None else struct.pack('!i', len(a)) + a
    return msg('F', body + struct.pack('!h', result))


CALLS = {
    'text': call(INT4PL, b'20', b'22'), 'binary': call(INT4PL, struct.pack('!i', 1), struct.pack('!i', 2),
                                                       formats=(1,), result=1),
    'mixed': call(INT4PL, struct.pack('!i', 1), b'2', formats=(1, 0)), 'null': call(INT4PL, b'1', None),
    'unknown': call(1, b'1'),
    'wrong count': call(INT4PL, b'1'), 'bad input': call(INT4PL, b'x', b'1'),
    'bad format': call(INT4PL, b'1', b'1', formats=(5,)),
    'overflow': call(INT4PL, b'2147483647', b'1'), 'large': call(LENGTH, b'l' * 300000), 'no arguments': call(VERSION),
    'bad result format': call(INT4PL, b'1', b'1', result=9),
}
for name, c in CALLS.items():
    SCRIPTS.append(Script('function call: ' + name, say(c), q('BEGIN'), say(c), q('ROLLBACK'),
                          say(c, query('SELECT 1'), c)))
SCRIPTS.append(Script('function call: behind an error it is skipped',
                      say(P('nonsense'), CALLS['text'], sync(), wait=1), q('SELECT 1')))
SCRIPTS.append(Script('function call: then Flush', say(extended('SELECT 1'), flush(), wait='C'), say(CALLS['text']),
                      x(extended('SELECT 2'))))

