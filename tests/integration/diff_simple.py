"""Differential scripts: the simple protocol, transactions, notices.

SPDX-License-Identifier: ISC
"""
from diff import Script, q, say
from wire import query

ONE = [
    'SELECT 1', '', ';', '  \n\t ', '-- nothing', '/* nothing /* nested */ */', ';;;', 'SELECT', 'VALUES (1), (2)',
    'SELECT 1; SELECT 2', 'SELECT 1;; SELECT 2;', 'nonsense', 'SELECT nonsense', 'SELECT 1/0',
    'SELECT 1; SELECT 1/0; SELECT 2', 'SELECT 1; nonsense; SELECT 2', 'SELECT 1; ; SELECT 1/0',
    "SELECT NULL, '', 'a''b', E'\\t\\n', $$dollar$$, $tag$x$y$tag$", 'SELECT * FROM generate_series(1, 100)',
    'TABLE ten', "SELECT 'Grüße, 世界 😀'", "SELECT U&'\\0041\\+01F600'", 'SHOW server_version', 'SHOW ALL_nothing',
    'EXPLAIN (COSTS off) SELECT * FROM ten WHERE i = 1', 'EXPLAIN (COSTS off, FORMAT json) SELECT 1',
    "SELECT i, s, i::float8 / 3, i::numeric / 3, now() - now(), '2020-01-02'::date FROM ten LIMIT 3",
    'SELECT * FROM ten WHERE false', 'SELECT * FROM no_such_table', 'SELECT no_such_column FROM ten',
    "SELECT 'ten'::regclass::oid = 'ten'::regclass", 'SELECT no_such_function(1)', "SELECT 'x'::int",
    'SELECT 99999999999::int',
    "SELECT * FROM ten ORDER BY nope", "SELECT *\nFROM ten\nWHERE zz = 1", "SELECT 'unterminated",
    'SELECT "unterminated',
    'SELECT /* unterminated', 'SELECT $1', 'SELECT 1 AS "Ünïcode", 2 AS "select"', 'SELECT (1,2,3)',
    'SELECT ARRAY[1,2,NULL]',
    "SELECT row_to_json(ten) FROM ten LIMIT 1", 'VACUUM ten', 'ANALYZE ten', 'CHECKPOINT', 'REINDEX TABLE ten',
    'CREATE DATABASE app', 'SELECT pg_sleep(0.01)', 'LOCK TABLE ten', 'SET CONSTRAINTS ALL DEFERRED',
    'DECLARE c CURSOR FOR SELECT 1', 'FETCH 1 FROM nosuch', 'CLOSE nosuch', 'SAVEPOINT s', 'RELEASE s', 'ROLLBACK TO s',
    'BEGIN; SELECT 1; COMMIT', 'BEGIN; SELECT 1; ROLLBACK', 'BEGIN; SELECT 1/0; COMMIT', 'COMMIT', 'ROLLBACK', 'END',
    'ABORT',
    'COMMIT AND CHAIN', 'ROLLBACK AND CHAIN', 'SELECT 1; COMMIT', 'SELECT 1; ROLLBACK; SELECT 2',
    'SELECT 1; VACUUM ten', 'BEGIN; BEGIN; COMMIT', 'BEGIN; COMMIT; COMMIT',
    'SELECT 1; BEGIN; SELECT 2; COMMIT; SELECT 3',
    'BEGIN; COMMIT AND CHAIN; COMMIT', 'BEGIN; COMMIT; BEGIN; ROLLBACK', 'SAVEPOINT a; SELECT 1',
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'nosuch'", 'BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation; COMMIT',
    'START TRANSACTION READ ONLY; CREATE TABLE nope (i int); COMMIT', 'BEGIN READ WRITE, READ ONLY; COMMIT',
    'BEGIN READ ONLY DEFERRABLE; SELECT 1; COMMIT', "DO $$BEGIN NULL; END$$", "DO $$BEGIN COMMIT; END$$",
    "DO $$BEGIN PERFORM 1/0; END$$", "DO 'syntax error'", "DO LANGUAGE nosuch 'x'", 'EXECUTE nosuch',
    'DEALLOCATE nosuch',
    'DISCARD PLANS', 'DISCARD SEQUENCES', 'DISCARD nonsense', 'RESET nosuch', 'SET nosuch = 1', 'SET work_mem = 1, 2',
    'SET work_mem = DEFAULT', "SET DateStyle = 'nonsense'", 'SHOW nosuch', 'SHOW "my.nothing"',
    "SELECT current_setting('my.nothing')",
    "SELECT current_setting('my.nothing', true)", 'UNLISTEN nobody', 'UNLISTEN *', "NOTIFY nobody, 'hears'", 'LISTEN',
    "NOTIFY",
    "COPY ten TO STDOUT", "COPY ten TO '/nope'", 'COPY nosuch TO STDOUT', 'COPY nosuch FROM STDIN',
    "COPY (SELECT 1) TO STDOUT; SELECT 2",
    "SELECT length(repeat('x', 1048576))", "SELECT repeat('x', 1048576)",
    "SELECT repeat('y', 70000) FROM generate_series(1, 20)",
    'SELECT ' + ', '.join('%d AS c%d' % (i, i) for i in range(1664)), 'SELECT ' + ', '.join('1' for i in range(1665)),
    'SELECT ' + '(' * 40 + '1' + ')' * 40, "SELECT '%s'" % ('z' * 200000), '-- ' + 'c' * 20000 + '\nSELECT 1',
]


def short(sql):
    return repr(sql if len(sql) < 50 else '%s...%d' % (sql[:40], len(sql)))[1:-1]


# Each list is sent query by query, and all in one write.
BLOCKS = {
    'commit': ['BEGIN', 'SELECT 1', 'COMMIT', 'SELECT 2'],
    'rollback': ['BEGIN', 'SELECT 1', 'ROLLBACK'],
    'error and rollback': ['BEGIN', 'SELECT 1/0', 'SELECT 1', 'ROLLBACK', 'SELECT 2'],
    'error and commit': ['BEGIN', 'SELECT 1/0', 'COMMIT', 'SELECT 2'],
    'syntax error and end': ['BEGIN', 'nonsense', 'END'],
    'empty queries': ['BEGIN', '', ';', 'COMMIT', ''],
    'nothing in it': ['BEGIN', 'COMMIT', 'BEGIN', 'ROLLBACK'],
    'begin twice': ['BEGIN', 'BEGIN', 'SELECT 1', 'COMMIT', 'COMMIT'],
    'begin work': ['begin work', 'select 1', 'commit work'],
    'begin transaction': ['BEGIN TRANSACTION', 'SHOW transaction_isolation', 'END TRANSACTION'],
    'begin with a comment': ['/* a */ BEGIN -- b', 'SELECT 1', '/* c */ COMMIT; -- d'],
    'begin with modes': ['BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY', 'SHOW transaction_isolation',
                         'SHOW transaction_read_only', 'COMMIT', 'SHOW transaction_isolation'],
    'begin with wrong modes': ['BEGIN ISOLATION LEVEL NONSENSE', 'SELECT 1', 'COMMIT'],
    'begin and more': ['BEGIN; SELECT 1', 'SELECT 2; COMMIT', 'SELECT 3'],
    'begin after something': ['SELECT 1; BEGIN', 'SELECT 2', 'COMMIT; SELECT 3'],
    'set transaction': ['BEGIN', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'SHOW transaction_isolation',
                        'COMMIT'],
    'set transaction too late': ['BEGIN', 'SELECT 1', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'ROLLBACK'],
    'set transaction outside': ['SET TRANSACTION READ ONLY', 'SHOW transaction_read_only'],
    'set local outside': ["SET LOCAL work_mem = '99kB'", 'SHOW work_mem'],
    'chain': ['BEGIN ISOLATION LEVEL SERIALIZABLE', 'SELECT 1', 'COMMIT AND CHAIN', 'SHOW transaction_isolation',
              'ROLLBACK AND CHAIN', 'SHOW transaction_isolation', 'COMMIT AND NO CHAIN', 'SHOW transaction_isolation'],
    'chain after an error': ['BEGIN', 'SELECT 1/0', 'COMMIT AND CHAIN', 'SELECT 1', 'ROLLBACK'],
    'rollback and chain after an error': ['BEGIN', 'SELECT 1/0', 'ROLLBACK AND CHAIN', 'SELECT 1', 'COMMIT'],
    'savepoint': ['BEGIN', 'SAVEPOINT a', 'SELECT 1/0', 'ROLLBACK TO a', 'SELECT 1', 'RELEASE a', 'COMMIT'],
    'savepoints nested': ['BEGIN', 'SAVEPOINT a', 'SAVEPOINT b', 'SELECT 1/0', 'ROLLBACK TO SAVEPOINT a',
                          'ROLLBACK TO b',
                          'ROLLBACK TO a', 'COMMIT'],
    'savepoint of one name': ['BEGIN', 'SAVEPOINT a', 'SAVEPOINT a', 'RELEASE a', 'ROLLBACK TO a', 'RELEASE a',
                              'RELEASE a', 'COMMIT'],
    'savepoint that is not': ['BEGIN', 'ROLLBACK TO nosuch', 'SELECT 1', 'ROLLBACK'],
    'aborted, everything': ['BEGIN', 'SELECT 1/0', '', 'SELECT 1', 'SAVEPOINT a', 'BEGIN', 'SET work_mem = 1000',
                            'SHOW work_mem',
                            'PREPARE p AS SELECT 1', 'EXECUTE p', 'DEALLOCATE ALL', 'LISTEN l', 'NOTIFY l',
                            'COPY ten TO STDOUT',
                            'COPY ten FROM STDIN', 'DISCARD ALL', 'nonsense', 'RELEASE a', 'ROLLBACK TO a', 'DO $$$$',
                            'VACUUM',
                            "SELECT 1; ROLLBACK", 'ROLLBACK; SELECT 1'],
    'commit in the middle of a query': ['BEGIN', 'SELECT 1; COMMIT; SELECT 2', 'SELECT 3'],
    'error after a commit': ['BEGIN', 'COMMIT; SELECT 1/0; SELECT 2', 'SELECT 3'],
    'error after a begin': ['BEGIN; SELECT 1/0; SELECT 1', 'SELECT 2', 'ROLLBACK; SELECT 3'],
    'vacuum inside': ['BEGIN', 'VACUUM ten', 'ROLLBACK'],
    'cursor': ['BEGIN', 'DECLARE c SCROLL CURSOR FOR SELECT * FROM ten', 'FETCH 2 FROM c', 'FETCH BACKWARD 1 FROM c',
               'MOVE 3 IN c',
               'FETCH ALL FROM c', 'FETCH c', 'CLOSE c', 'FETCH c', 'ROLLBACK'],
    'cursor is gone': ['BEGIN', 'DECLARE c CURSOR FOR SELECT * FROM ten', 'COMMIT', 'FETCH c'],
    'cursor of one name': ['BEGIN', 'DECLARE c CURSOR FOR SELECT 1', 'DECLARE c CURSOR FOR SELECT 2', 'ROLLBACK'],
    'cursor, no scroll': ['BEGIN', 'DECLARE c NO SCROLL CURSOR FOR SELECT * FROM ten', 'FETCH 2 FROM c',
                          'FETCH PRIOR FROM c', 'ROLLBACK'],
    'cursor, binary': ['BEGIN', 'DECLARE c BINARY CURSOR FOR SELECT i, s FROM ten', 'FETCH 2 FROM c', 'COMMIT'],
    'current of': ['BEGIN', 'DECLARE c CURSOR FOR SELECT * FROM ten FOR UPDATE', 'FETCH c',
                   'UPDATE ten SET s = s WHERE CURRENT OF c',
                   'ROLLBACK'],
    'now stands still': ['BEGIN', "SELECT set_config('my.now', now()::text, true) IS NULL", 'SELECT pg_sleep(0.002)',
                         "SELECT now()::text = current_setting('my.now')", 'COMMIT'],
    'lock and time out': ["SET lock_timeout = '1s'", 'BEGIN', 'LOCK TABLE ten IN SHARE MODE',
                          'SELECT count(*) FROM ten', 'COMMIT',
                          'RESET lock_timeout'],
    'read only': ['BEGIN READ ONLY', "INSERT INTO ten VALUES (11, 'x')", 'ROLLBACK'],
    'ends and errors': ['COMMIT', 'SELECT 1/0', 'ROLLBACK', 'SELECT 1', 'ABORT AND CHAIN', 'SELECT 2'],
    'two units, one fails': ['SELECT 1', 'SELECT 1/0', 'SELECT 2', 'nonsense', 'SELECT 3'],
}

TABLE = 'CREATE TABLE app.b (i int PRIMARY KEY, s text, CHECK (i < 100)); '
# The same, in a fresh schema with a table b.
WRITES = {
    'insert': ['INSERT INTO b VALUES (1, NULL), (2, \'x\')', 'TABLE b', 'UPDATE b SET s = i',
               'DELETE FROM b WHERE i = 1', 'TABLE b'],
    'returning': ["INSERT INTO b VALUES (1, 'x') RETURNING *, i + 1", 'DELETE FROM b RETURNING s'],
    'unique': ['INSERT INTO b VALUES (1)', 'INSERT INTO b VALUES (1)',
               'INSERT INTO b VALUES (1) ON CONFLICT DO NOTHING'],
    'check': ['INSERT INTO b VALUES (100)'],
    'not null': ['INSERT INTO b VALUES (NULL)'],
    'implicit transaction': ['INSERT INTO b VALUES (1); SELECT 1/0; INSERT INTO b VALUES (2)', 'TABLE b'],
    'implicit transaction with a commit': ['INSERT INTO b VALUES (1); COMMIT; INSERT INTO b VALUES (2); SELECT 1/0',
                                           'TABLE b'],
    'rolled back': ['BEGIN', 'INSERT INTO b VALUES (1)', 'ROLLBACK', 'TABLE b'],
    'savepoint': ['BEGIN', 'INSERT INTO b VALUES (1)', 'SAVEPOINT s', 'INSERT INTO b VALUES (1)', 'ROLLBACK TO s',
                  'INSERT INTO b VALUES (2)', 'COMMIT', 'TABLE b'],
    'ddl': ['CREATE TABLE c (LIKE b INCLUDING ALL)', 'CREATE TABLE c (i int)', 'CREATE TABLE IF NOT EXISTS c (i int)',
            'DROP TABLE c',
            'DROP TABLE c', 'DROP TABLE IF EXISTS c'],
    'ddl rolled back': ['BEGIN', 'CREATE TABLE c (i int)', 'INSERT INTO c VALUES (1)', 'ROLLBACK', 'TABLE c'],
    'serial and sequences': ['CREATE TABLE c (i serial)', 'BEGIN', 'INSERT INTO c DEFAULT VALUES RETURNING i',
                             "SELECT nextval('c_i_seq')", "SELECT currval('c_i_seq'), lastval()", 'COMMIT'],
    'deferred': ['CREATE TABLE c (i int REFERENCES b DEFERRABLE INITIALLY DEFERRED)', 'BEGIN',
                 'INSERT INTO c VALUES (1)', 'COMMIT',
                 'INSERT INTO c VALUES (1)', 'TABLE c'],
    'select into': ['SELECT 1 AS i INTO c', 'CREATE TABLE d AS SELECT * FROM c', 'TABLE d'],
    'merge': ["MERGE INTO b USING (VALUES (1), (2)) v (i) ON b.i = v.i WHEN NOT MATCHED THEN INSERT VALUES (v.i, 'm')",
              'TABLE b'],
    'truncate': ['INSERT INTO b VALUES (1)', 'TRUNCATE b', 'TABLE b'],
    'changed under it': ['SELECT * FROM b', 'ALTER TABLE b ADD COLUMN n int', 'SELECT * FROM b',
                         'ALTER TABLE b DROP COLUMN s', 'TABLE b'],
    'types': ["CREATE TYPE mood AS ENUM ('sad', 'ok')", "SELECT 'ok'::mood", "SELECT 'no'::mood",
              'CREATE DOMAIN pos AS int CHECK (VALUE > 0)',
              'SELECT 1::pos', 'SELECT (-1)::pos', 'CREATE TYPE pair AS (a int, b mood)', "SELECT (1, 'sad')::pair"],
    'function': ["CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN a / 0; END$$", 'SELECT f(1)',
                 'SELECT f(1) FROM ten WHERE f(i) = 1'],
    'function that notes': ["CREATE FUNCTION f(a int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'got %', a; RETURN a; END$$",
                            'SELECT f(i) FROM ten'],
    'procedure': ['CREATE PROCEDURE p(INOUT a int) LANGUAGE plpgsql AS $$BEGIN INSERT INTO b VALUES (a); COMMIT; a := a + 1; END$$',
                  'CALL p(1)', 'BEGIN', 'CALL p(2)', 'ROLLBACK', 'TABLE b'],
    'trigger': ["CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'row %', NEW.i; RETURN NEW; END$$",
                'CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION t()',
                'INSERT INTO b VALUES (1), (2)'],
    'view': ['CREATE VIEW v AS SELECT i FROM b', 'SELECT * FROM v', 'DROP TABLE b', 'DROP TABLE b CASCADE',
             'SELECT * FROM v'],
    'concurrently': ['CREATE INDEX CONCURRENTLY bi ON b (s)', 'BEGIN', 'DROP INDEX CONCURRENTLY bi', 'ROLLBACK',
                     'DROP INDEX bi'],
}

RAISES = [(level, extra) for level in ('DEBUG', 'LOG', 'INFO', 'NOTICE', 'WARNING', 'EXCEPTION')
          for extra in ('', " USING DETAIL = 'the detail', HINT = 'the hint', ERRCODE = '12345'")]


def blocks(title, lists, **kw):
    for name, sqls in lists.items():
        yield Script('%s: %s' % (title, name), *[q(s) for s in sqls], **kw)
        if 'COPY ten FROM STDIN' not in sqls:
            yield Script('%s, one write: %s' % (title, name), q(*sqls), **kw)


SCRIPTS = [Script('simple: %s' % short(s), q(s), q("SELECT 'after'")) for s in ONE]
SCRIPTS += blocks('block', BLOCKS)
SCRIPTS += blocks('write', WRITES, setup=TABLE)
SCRIPTS += [
    Script('raise: %s%s' % (level.lower(), ' with fields' if extra else ''),
           q("DO $$BEGIN RAISE %s 'said %%', 7%s; END$$" % (level, extra)),
           q('BEGIN', "DO $$BEGIN RAISE %s 'inside'; END$$; SELECT 1" % level, 'ROLLBACK'),
           startup={'client_min_messages': 'debug1'} if level == 'DEBUG' else {'client_min_messages': 'log'})
    for level, extra in RAISES]
SCRIPTS += [
    Script('raise: all fields', q(
        "DO $$BEGIN RAISE EXCEPTION USING MESSAGE = 'm', DETAIL = 'd', HINT = 'h', ERRCODE = 'P0123', COLUMN = 'c', CONSTRAINT = 'k', "
        "DATATYPE = 't', TABLE = 'tt', SCHEMA = 's'; END$$"), q('SELECT 1')),
    Script('raise: a thousand notices', q("DO $$BEGIN FOR i IN 1..1000 LOOP RAISE NOTICE 'n %', i; END LOOP; END$$")),
    Script('raise: a notice of 100 kB', q("DO $$BEGIN RAISE NOTICE '%', repeat('n', 100000); END$$")),
    Script('raise: an error of 100 kB', q("DO $$BEGIN RAISE EXCEPTION '%', repeat('e', 100000); END$$"), q('SELECT 1')),
    Script('raise: notice, rows, error', q("SELECT 1; DO $$BEGIN RAISE NOTICE 'n'; END$$; SELECT 2; SELECT 1/0"),
           q('SELECT 1')),
    Script('raise: serialization failure that is no such thing',
           q("DO $$BEGIN RAISE NOTICE 'once'; RAISE division_by_zero; END$$")),
    Script('raise: client_min_messages', q("SET client_min_messages = error", "DO $$BEGIN RAISE WARNING 'w'; END$$",
                                           'RESET client_min_messages', "DO $$BEGIN RAISE WARNING 'w'; END$$")),
    Script('pipeline: 1000 queries', q(*['SELECT %d' % i for i in range(1000)])),
    Script('pipeline: 300 transactions', q(*['BEGIN', "SELECT 'x'", 'COMMIT'] * 300)),
    Script('pipeline: every third fails', q(*[('SELECT %d' % i, 'SELECT 1/0', '')[i % 3] for i in range(90)])),
    Script('pipeline: 200 kB of answer to each of 20',
           q(*["SELECT repeat('%d', 200000)" % (i % 10) for i in range(20)])),
    Script('pipeline: 20 queries of 100 kB',
           q(*["SELECT length('%s')" % ('%d' % (i % 10) * 100000) for i in range(20)])),
    Script('pipeline: blocks that fail', q(*['BEGIN', 'SELECT 1/0', 'SELECT 1', 'ROLLBACK'] * 50)),
    Script('pipeline: multi-statements', q(*['SELECT 1; SELECT 2; SELECT 1/0', 'SELECT 3; SELECT 4'] * 50)),
    Script('rows: 20000', q('SELECT i, i * i FROM generate_series(1, 20000) i')),
    Script('rows: 3 of 1 MiB', q("SELECT repeat(i::text, 1048576) FROM generate_series(1, 3) i")),
    Script('rows: then an error', q('SELECT 1 / (5000 - i) FROM generate_series(1, 6000) i'), q('SELECT 1')),
    Script('rows: no columns', q('SELECT FROM generate_series(1, 5)')),
    Script('terminate inside a block', q('BEGIN', 'SELECT 1')),
    Script('terminate behind an insert', say(query("INSERT INTO b VALUES (1)"), b'X\0\0\0\4', wait='eof'),
           q('TABLE b', conn='b'), setup=TABLE),
    Script('terminate behind a query', say(query('SELECT 1'), query('SELECT 2'), b'X\0\0\0\4', wait='eof')),
]
