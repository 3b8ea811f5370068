"""Differential scripts: COPY in and out, in both protocols, failing anywhere.

SPDX-License-Identifier: ISC
"""
import struct

from diff import Script, elsewhere, q, say, x
from wire import (bind, copy_data, copy_done, copy_fail, describe, execute, extended, flush, msg, parse,
                  query, sync)

TABLE = 'CREATE TABLE app.c (i int PRIMARY KEY, s text); '
IN = query('COPY c FROM STDIN')
AFTER = q('SELECT count(*), sum(i) FROM c')
XIN = parse('COPY c FROM STDIN') + bind() + execute()

# What is sent after CopyInResponse, the same in both protocols. A Sync inside
# the COPY counts for nothing.
INS = {
    'two rows': [copy_data('1\tone\n2\ttwo\n'), copy_done()],
    'nothing': [copy_done()],
    'an empty piece': [copy_data(''), copy_done()],
    'row by row': [copy_data('%d\tr\n' % i) for i in range(200)] + [copy_done()],
    'rows cut in pieces': [copy_data(c) for c in '1\tone\n2\ttwo\n3\t\\N\n'] + [copy_done()],
    'no newline at the end': [copy_data('1\tone\n2\ttwo'), copy_done()],
    'end of data marker': [copy_data('1\tone\n\\.\n'), copy_done()],
    'data behind the marker': [copy_data('1\tone\n\\.\n2\ttwo\n'), copy_data('3\tx\n'), copy_done()],
    'crlf': [copy_data('1\tone\r\n2\ttwo\r\n'), copy_done()],
    'mixed newlines': [copy_data('1\tone\r\n2\ttwo\n'), copy_done()],
    'fail at once': [copy_fail('never mind')],
    'fail after rows': [copy_data('1\tone\n'), copy_fail('changed my mind')],
    'fail with nothing to say': [copy_data('1\tone\n'), copy_fail('')],
    'fail with umlauts': [copy_fail('Grüße')],
    'bad first row': [copy_data('x\tone\n'), copy_done()],
    'bad third row': [copy_data('1\ta\n2\tb\nx\tc\n4\td\n'), copy_done()],
    'bad row and much more': [copy_data('x\tone\n')] + [copy_data('%d\tr\n' % i * 50) for i in range(100)] + [copy_done()],
    'bad row, then fail': [copy_data('x\tone\n'), copy_data('1\ta\n'), copy_fail('why')],
    'too many columns': [copy_data('1\tone\tmore\n'), copy_done()],
    'too few columns': [copy_data('1\n'), copy_done()],
    'twice the key': [copy_data('1\ta\n1\tb\n'), copy_done()],
    'invalid UTF-8': [copy_data(b'1\t\xff\n'), copy_done()],
    'a zero': [copy_data(b'1\ta\0b\n'), copy_done()],
    'a row of 1 MiB': [copy_data('1\t' + 'r' * (1 << 20) + '\n'), copy_done()],
    'a row of 1 MiB in pieces': [copy_data('1\t')] + [copy_data('r' * 4096)] * 256 + [copy_data('\n'), copy_done()],
    'flush in between': [copy_data('1\tone\n'), flush(), copy_data('2\ttwo\n'), flush(), copy_done()],
    'sync in between': [copy_data('1\tone\n'), sync(), copy_data('2\ttwo\n'), copy_done()],
    'flush and sync first': [flush(), sync(), sync(), copy_data('1\tone\n'), copy_done()],
}
WRONG = {
    'query': query('SELECT 1'), 'parse': parse('SELECT 1'), 'bind': bind(), 'execute': execute(),
    'describe': describe(),
    'function call': msg('F', struct.pack('!ihhh', 177, 0, 0, 0)),
}

SCRIPTS = []
for name, parts in INS.items():
    SCRIPTS += [
        Script('copy in: %s' % name, say(IN, wait='G'), say(*parts, wait=1), AFTER, setup=TABLE),
        Script('copy in, blindly: %s' % name, say(IN, *parts, wait=1), AFTER, setup=TABLE),
        Script('copy in, a block: %s' % name, q('BEGIN'), say(IN, wait='G'), say(*parts, wait=1),
               q('SELECT 1', 'COMMIT'), AFTER, setup=TABLE),
        Script('copy in, extended: %s' % name, say(XIN, flush(), wait='G'), say(*parts, sync(), wait=1), AFTER,
               setup=TABLE),
    ]
    if 'sync' not in name and 'and much more' not in name:
        SCRIPTS.append(Script('copy in, extended, blindly: %s' % name, say(XIN, *parts, sync(), wait=1), AFTER,
                              setup=TABLE))
for name, wrong in WRONG.items():
    SCRIPTS += [
        Script('copy in: %s instead of data' % name, say(IN, wait='G'), say(wrong, wait=1), AFTER, setup=TABLE),
        Script('copy in: %s after a row' % name, say(IN, wait='G'), say(copy_data('1\ta\n'), wrong, wait=1), AFTER,
               setup=TABLE),
        Script('copy in, extended: %s instead of data' % name, say(XIN, flush(), wait='G'), say(wrong, wait='E'), x(),
               AFTER, setup=TABLE),
    ]

OPTIONS = {
    'csv': ("COPY c FROM STDIN (FORMAT csv)", '1,"a ""b"" c"\n2,\n'),
    'csv with a header': ("COPY c FROM STDIN WITH CSV HEADER", 'i,s\n1,"line\nbreak"\n'),
    'header must match': ("COPY c FROM STDIN (HEADER match)", 'i\twrong\n1\tx\n'),
    'columns': ('COPY c (s, i) FROM STDIN', 'x\t1\n'),
    'where': ('COPY c FROM STDIN WHERE i > 1', '1\ta\n2\tb\n'),
    'latin1': ("COPY c FROM STDIN (ENCODING 'latin1')", b'1\tGr\xfc\xdfe\n'),
    'delimiter and null': ("COPY c FROM STDIN (DELIMITER '|', NULL '-')", '1|-\n'),
    'binary': ('COPY c FROM STDIN (FORMAT binary)', b'PGCOPY\n\xff\r\n\0' + struct.pack('!ii', 0, 0)
               + struct.pack('!hiii', 2, 4, 7, 1) + b'b' + struct.pack('!h', -1)),
    'binary without a header': ('COPY c FROM STDIN (FORMAT binary)', 'nonsense of some length'),
    'binary, ends too early': ('COPY c FROM STDIN (FORMAT binary)',
                               b'PGCOPY\n\xff\r\n\0' + struct.pack('!ii', 0, 0) + b'\0\2\0'),
    'freeze': ('COPY c FROM STDIN (FREEZE)', '1\ta\n'),
}
REFUSED = {
    'unknown table': 'COPY nosuch FROM STDIN', 'unknown column': 'COPY c (nosuch) FROM STDIN',
    'unknown option': 'COPY c FROM STDIN (NOSUCH)',
    'a view': 'COPY pg_views FROM STDIN', 'not allowed': 'COPY pg_class FROM STDIN', 'a file': "COPY c FROM '/nosuch'",
    'a program': "COPY c FROM PROGRAM 'true'", 'syntax': 'COPY c FRM STDIN',
}
for name, (sql, data) in OPTIONS.items():
    SCRIPTS.append(Script('copy in: %s' % name, say(query(sql), wait='G' if name != 'freeze' else 'Z'),
                          say(copy_data(data), copy_done(), wait=1 if name != 'freeze' else 0), q('SELECT * FROM c'),
                          setup=TABLE))
for name, sql in REFUSED.items():
    SCRIPTS += [
        Script('copy in refused: %s' % name, q(sql), AFTER, setup=TABLE),
        Script('copy in refused, data sent already: %s' % name,
               say(query(sql), copy_data('1\ta\n'), copy_done(), wait=1), AFTER, setup=TABLE),
        Script('copy in refused, extended, data sent already: %s' % name,
               say(parse(sql), bind(), execute(), copy_data('1\ta\n'), copy_done(), sync()),
               AFTER, setup=TABLE),
    ]

SCRIPTS += [
    Script('copy in: 3 MB', say(IN, wait='G'), say(*[copy_data(''.join('%d\t%s\n' % (i,
            'd' * 80) for i in range(k * 1000, k * 1000 + 1000)))
                                                      for k in range(35)], copy_done(), wait=1), AFTER, setup=TABLE),
    Script('copy in: two of them in one query', say(query('COPY c FROM STDIN; COPY c FROM STDIN'), wait='G'),
           say(copy_data('1\ta\n'), copy_done(), wait='G'), say(copy_data('2\ta\n'), copy_done(), wait=1), AFTER,
           setup=TABLE),
    Script('copy in: between statements', say(query('SELECT 1; COPY c FROM STDIN; SELECT 2'), wait='G'),
           say(copy_data('1\ta\n'), copy_done(), wait=1),
           AFTER, setup=TABLE),
    Script('copy in: an error behind it in the query', say(query('COPY c FROM STDIN; SELECT 1/0'), wait='G'),
           say(copy_data('1\ta\n'), copy_done(), wait=1), AFTER, setup=TABLE),
    Script('copy in: fails, statements behind it in the query', say(query('COPY c FROM STDIN; SELECT 2'), wait='G'),
           say(copy_data('x\ta\n'), copy_done(), wait=1), AFTER, setup=TABLE),
    Script('copy in: a transaction in one query', say(query('BEGIN; COPY c FROM STDIN; COMMIT'), wait='G'),
           say(copy_data('1\ta\n'), copy_done(), wait=1),
           AFTER, setup=TABLE),
    Script('copy in: in an aborted block', q('BEGIN', 'SELECT 1/0', 'COPY c FROM STDIN', 'ROLLBACK'), AFTER,
           setup=TABLE),
    Script('copy in: in an aborted block, data sent already', q('BEGIN', 'SELECT 1/0'),
           say(IN, copy_data('1\ta\n'), copy_done(), wait=1), q('ROLLBACK'), AFTER,
           setup=TABLE),
    Script('copy in: savepoint', q('BEGIN', 'SAVEPOINT s'), say(IN, wait='G'),
           say(copy_data('x\n'), copy_done(), wait=1), q('ROLLBACK TO s'),
           say(IN, wait='G'), say(copy_data('1\ta\n'), copy_done(), wait=1), q('COMMIT'), AFTER, setup=TABLE),
    Script('copy in: queries behind it in one write', say(IN, copy_data('1\ta\n'), copy_done(), query('SELECT 1'),
                                                          query('TABLE c')), AFTER, setup=TABLE),
    Script('copy in: three in one write', say(*[IN + copy_data('%d\ta\n' % i) + copy_done() for i in range(3)]), AFTER,
           setup=TABLE),
    Script('copy in: three in one write, the second fails',
           say(*[IN + copy_data('%s\ta\n' % i) + copy_done() for i in '1x3']), AFTER, setup=TABLE),
    Script('copy in: a batch behind it in one write', say(IN, copy_data('1\ta\n'), copy_done(), extended('TABLE c'),
                                                          sync()), setup=TABLE),
    Script('copy in: notices of a trigger',
           q("CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'row %', NEW.i; RETURN NEW; END$$",
                                              'CREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION t()'),
           say(IN, wait='G'), say(copy_data('1\ta\n2\tb\n'), copy_done(), wait=1), setup=TABLE),
    Script('copy in: a trigger that fails',
           q("CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no %', NEW.i; END$$",
                                              'CREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION t()'),
           say(IN, wait='G'), say(copy_data('1\ta\n2\tb\n'), copy_done(), wait=1), AFTER, setup=TABLE),
    Script('copy in: a prepared one, twice', x(parse('COPY c FROM STDIN', 's1'), describe('S', 's1')),
           *[say(bind([], 's1'), execute(), copy_data('%d\ta\n' % i), copy_done(), sync(), wait=1) for i in (1, 2)],
           AFTER, setup=TABLE),
    Script('copy in: more behind it in a batch', say(extended("INSERT INTO c VALUES (9)"), XIN, copy_data('1\ta\n'),
                                                     copy_done(), extended('TABLE c'), sync()),
           AFTER, setup=TABLE),
    Script('copy in: fails, more behind it in a batch', say(extended("INSERT INTO c VALUES (9)"), XIN,
                                                            copy_data('x\ta\n'), copy_done(), extended('TABLE c'),
                                                            sync()), AFTER, setup=TABLE),
    Script('copy in: two in a batch', say(XIN, copy_data('1\ta\n'), copy_done(), XIN, copy_data('2\ta\n'), copy_done(),
                                          sync()), AFTER, setup=TABLE),
    Script('copy in: an error in the batch before it', say(extended('SELECT 1/0'), XIN, copy_data('1\ta\n'),
                                                           copy_done(), sync()), AFTER, setup=TABLE),
    Script('copy in: an extended block', x(extended('BEGIN')), say(XIN, copy_data('1\ta\n'), copy_done(), sync()),
           x(extended('ROLLBACK')), AFTER, setup=TABLE),
    Script('copy in: a Sync sent ahead', say(XIN, sync(), wait='G'),
           say(copy_data('1\ta\n'), copy_done(), sync(), wait=1), AFTER, setup=TABLE),
    Script('copy in: with a row limit', say(parse('COPY c FROM STDIN'), bind(), execute('', 1),
                                            copy_data('1\ta\n2\tb\n'), copy_done(), sync()), AFTER,
           setup=TABLE),
    Script('copy in: binary results asked for', say(parse('COPY c FROM STDIN'), bind(result=[1]), execute(),
                                                    copy_data('1\ta\n'), copy_done(), sync()), AFTER,
           setup=TABLE),
    Script('copy messages outside a copy', say(copy_data('x'), copy_done(), copy_fail('no')), q('SELECT 1')),
    Script('copy messages outside a copy, in a block', q('BEGIN'), say(copy_data('x'), copy_done(), copy_fail('no')),
           q('SELECT 1', 'COMMIT')),
    Script('copy messages outside a copy, before a query', say(copy_data('x'), copy_done(), query('SELECT 1'),
                                                               copy_fail('no'), query('SELECT 2'))),
    Script('copy messages in a batch', say(parse('SELECT 1'), copy_data('x'), bind(), copy_done(), execute(),
                                           copy_fail('n'), sync())),
    Script('copy messages in a batch that failed', say(parse('nonsense'), copy_data('x'), copy_done(), copy_fail('n'),
                                                       sync()), q('SELECT 1')),
    Script('copy messages alone', say(*[copy_data('y' * 1000)] * 100, copy_done()), q('SELECT 1')),
    Script('a table that changes under COPY', say(IN, wait='G'), say(copy_data('1\ta\n'), copy_done(), wait=1),
           elsewhere('ALTER TABLE app.c ADD z int'),
           say(IN, wait='G'), say(copy_data('2\tb\t3\n'), copy_done(), wait=1), q('COPY c TO STDOUT'), setup=TABLE),
]

# ---- out --------------------------------------------------------------------------------------

OUTS = {
    'a table': 'COPY ten TO STDOUT', 'a query': 'COPY (SELECT i * 2, s FROM ten WHERE i < 4) TO STDOUT',
    'no rows': 'COPY (SELECT 1 WHERE false) TO STDOUT',
    'no columns': 'COPY (SELECT FROM ten) TO STDOUT', 'csv': "COPY ten TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)",
    'binary': 'COPY ten TO STDOUT (FORMAT binary)',
    'an error at the third row': 'COPY (SELECT 1 / (3 - i) FROM ten) TO STDOUT',
    'an error after many rows': 'COPY (SELECT 1 / (20000 - i) FROM generate_series(1, 30000) i) TO STDOUT',
    'returning': "COPY (INSERT INTO app.c VALUES (1, 'x') RETURNING *) TO STDOUT",
    'escapes': "COPY (SELECT E'a\\tb\\nc\\\\d', NULL) TO STDOUT",
    '1 MiB in a row': "COPY (SELECT repeat('o', 1048576)) TO STDOUT",
    '20000 rows': 'COPY (SELECT i, i FROM generate_series(1, 20000) i) TO STDOUT',
    'latin1': "COPY (SELECT 'Grüße') TO STDOUT (ENCODING 'latin1')",
    'a partitioned table': 'COPY pg_stat_activity TO STDOUT',
    'another encoding that cannot': "COPY (SELECT '世') TO STDOUT (ENCODING 'latin1')",
    'a syntax error': 'COPY (SELECT) TO',
}
for name, sql in OUTS.items():
    SCRIPTS += [
        Script('copy out: %s' % name, q(sql), q('BEGIN', sql, 'SELECT 1', 'COMMIT'), setup=TABLE),
        Script('copy out, extended: %s' % name, x(extended(sql)),
               x(parse(sql, 's1'), describe('S', 's1'), bind([], 's1'), execute(), execute('', 1)),
               q('SELECT 1'), setup=TABLE),
    ]
SCRIPTS += [
    Script('copy out: between statements', q('SELECT 1; COPY ten TO STDOUT; SELECT 2; COPY ten TO STDOUT'),
           setup=TABLE),
    Script('copy out: then in, in one query', say(query('COPY ten TO STDOUT; COPY c FROM STDIN; COPY c TO STDOUT'),
                                                  wait='G'),
           say(copy_data('1\ta\n'), copy_done(), wait=1), setup=TABLE),
    Script('copy out: an error behind', q('COPY ten TO STDOUT; SELECT 1/0', 'SELECT 1')),
    Script('copy out: with a row limit', x(parse('COPY ten TO STDOUT'), bind(), execute('', 2), execute('', 2))),
    Script('copy out: flushed', say(extended('COPY ten TO STDOUT'), flush(), wait='c'), x(extended('SELECT 1'))),
    Script('copy out: 30 in one write', q(*['COPY ten TO STDOUT'] * 30)),
    Script('copy out: binary results asked for', x(parse('COPY ten TO STDOUT'), bind(result=[1]), describe(),
                                                   execute())),
    Script('copy out: copy messages meanwhile', say(query('COPY ten TO STDOUT'), copy_data('x'), copy_done(),
                                                    query('SELECT 1'))),
]
