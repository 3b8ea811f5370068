"""Differential scripts: what lives in a session (LISTEN, temporary tables,
held cursors, advisory locks, SQL PREPARE), two clients at once, cancels.

SPDX-License-Identifier: ISC
"""
from diff import Script, cancel, elsewhere, q, say, until_waiting, wait, x
from wire import bind, close, copy_data, copy_done, describe, execute, extended, flush, parse, query, sync

SCRIPTS = []


def add(name, *steps, **kw):
    SCRIPTS.append(Script(name, *steps, **kw))


# ---- LISTEN, NOTIFY --------------------------------------------------------------------

add('listen: to itself', q('LISTEN l1', "NOTIFY l1, 'hello'", 'NOTIFY l1', 'UNLISTEN l1', 'NOTIFY l1'))
add('listen: to itself, one by one', q('LISTEN l1'), q("NOTIFY l1, 'hello'"), q('SELECT 1'), q('UNLISTEN *'),
    q('NOTIFY l1'))
add('listen: in one query', q("LISTEN l1; NOTIFY l1, 'x'; SELECT 1"), q('UNLISTEN *'))
add('listen: twice the same is once', q('LISTEN l1', "BEGIN", "NOTIFY l1, 'x'", "NOTIFY l1, 'x'", "NOTIFY l1, 'y'",
                                        'COMMIT', 'UNLISTEN *'))
add('listen: rolled back', q('BEGIN', 'LISTEN l1', 'ROLLBACK', 'NOTIFY l1'))
add('listen: notify rolled back', q('LISTEN l1', 'BEGIN', 'NOTIFY l1', 'ROLLBACK', 'SELECT 1'))
add('listen: in a block', q('BEGIN', 'LISTEN l1', "NOTIFY l1, 'in'", 'SELECT 1', 'COMMIT', "NOTIFY l1, 'out'",
                            'UNLISTEN *'))
add('listen: pg_notify', q('LISTEN l1', "SELECT pg_notify('l1', 'by function')", 'SELECT pg_listening_channels()'))
add('listen: extended', x(extended('LISTEN l1')), x(extended("SELECT pg_notify('l1', $1)", ['p'])),
    x(extended('NOTIFY l1'), extended('SELECT 1')),
    x(extended('UNLISTEN l1')))
add('listen: many channels', q(*['LISTEN c%d' % i for i in range(20)]),
    q(*["NOTIFY c%d, '%d'" % (i, i) for i in range(20)]), q('UNLISTEN *', 'NOTIFY c1'))
add('listen: a quoted channel', q('LISTEN "Odd ""name"', "NOTIFY \"Odd \"\"name\", 'x'", 'LISTEN FOLDED',
                                  'NOTIFY folded', 'UNLISTEN "Odd ""name"'))
add('listen: a long payload', q('LISTEN l1', "NOTIFY l1, '%s'" % ('p' * 7999), "NOTIFY l1, '%s'" % ('p' * 8000)))
add('listen: a thousand notifications', q('LISTEN l1',
                                          "SELECT count(pg_notify('l1', i::text)) FROM generate_series(1, 1000) i"))
add('listen: while idle', q('LISTEN l1'), elsewhere("NOTIFY l1, 'one'"), wait('A'),
    elsewhere("NOTIFY l1, 'two'", "NOTIFY l1, 'three'"), wait('A'),
    wait('A'), q('SELECT 1'))
add('listen: after other transactions', q('LISTEN l1'), q('SELECT 1'), q('BEGIN', 'SELECT 2', 'COMMIT'),
    x(extended('SELECT 3')),
    elsewhere("NOTIFY l1, 'late'"), wait('A'))
add('listen: in a block they wait', q('LISTEN l1', 'BEGIN'), elsewhere("NOTIFY l1, 'later'"), q('SELECT 1'),
    q('COMMIT'))
add('listen: in an aborted block they wait', q('LISTEN l1', 'BEGIN', 'SELECT 1/0'), elsewhere("NOTIFY l1, 'later'"),
    q('SELECT 1'), q('ROLLBACK'))
add('listen: unlisten in a block', q('LISTEN l1', 'BEGIN', 'UNLISTEN l1'), elsewhere('NOTIFY l1'), q('ROLLBACK'),
    q("NOTIFY l1, 'still'"))
add('listen: discard all ends it', q('LISTEN l1', 'DISCARD ALL', 'NOTIFY l1'), elsewhere('NOTIFY l1'), q('SELECT 1'))
add('listen: not the others', q('LISTEN l1'), elsewhere('NOTIFY l2'), q('SELECT 1'))
add('listen: two clients', q('LISTEN l1'), q("NOTIFY l1, 'from b'", conn='b'), wait('A'), q('LISTEN l2', conn='b'),
    q("NOTIFY l2, 'from a'"), wait('A', conn='b'),
    q('SELECT 1'), q('SELECT 2', conn='b'), needs=2)
add('listen: two clients of one channel', q('LISTEN l1'), q('LISTEN l1', conn='b'), elsewhere("NOTIFY l1, 'both'"),
    wait('A'), wait('A', conn='b'), needs=2)
add('listen: one hears, one does not', q('LISTEN l1'), q('SELECT 1', conn='b'), q("NOTIFY l1, 'x'"),
    q('SELECT 2', conn='b'), needs=2)
add('listen: one ends, one stays', q('LISTEN l1'), q('LISTEN l1', conn='b'), q('UNLISTEN l1'),
    elsewhere("NOTIFY l1, 'b only'"), wait('A', conn='b'), q('SELECT 1'),
    needs=2)
add('listen: behind a pipeline', say(query('LISTEN l1'), query("NOTIFY l1, 'a'"), extended('SELECT 1'), sync(),
                                     query("NOTIFY l1, 'b'"), query('SELECT 2')))
add('listen: a payload in another encoding', q("SET client_encoding = 'LATIN1'", 'LISTEN l1'),
    elsewhere("NOTIFY l1, 'Gr\u00fc\u00dfe'"), wait('A'))
add('listen: refused', q('LISTEN', "LISTEN 'l1'", 'NOTIFY l1, 5', "LISTEN %s" % ('n' * 70),
                         'SELECT pg_listening_channels()', 'UNLISTEN *'))

# ---- temporary tables --------------------------------------------------------------------

NO_TEMP = [(rb'pg_temp_\d+', b'pg_temp_N'), (rb'pg_toast_temp_\d+', b'pg_toast_temp_N')]
TEMPS = {
    'over transactions': [q('CREATE TEMP TABLE tt (i int)'), q('INSERT INTO tt VALUES (1), (2)'),
                          q('BEGIN', 'TABLE tt', 'COMMIT'), x(extended('TABLE tt')),
                          q('DROP TABLE tt'), q('TABLE tt')],
    'temporary, spelled out': [q('CREATE LOCAL TEMPORARY TABLE tt (i int)', 'TABLE tt')],
    'as': [q('CREATE TEMP TABLE tt AS SELECT * FROM ten'), q('SELECT count(*) FROM tt')],
    'select into': [q('SELECT * INTO TEMP tt FROM ten WHERE i < 3'), q('TABLE tt')],
    'by schema': [q('CREATE TABLE pg_temp.tt (i int)'), q('TABLE tt', 'TABLE pg_temp.tt')],
    'hides another': [q("CREATE TEMP TABLE ten (mine text)"), q('TABLE ten'), q('TABLE public.ten LIMIT 1'),
                      q('DROP TABLE ten'), q('TABLE ten LIMIT 1')],
    'on commit drop': [q('BEGIN', 'CREATE TEMP TABLE tt (i int) ON COMMIT DROP', 'TABLE tt', 'COMMIT', 'TABLE tt')],
    'on commit delete rows': [q('CREATE TEMP TABLE tt (i int) ON COMMIT DELETE ROWS'),
                              q('INSERT INTO tt VALUES (1)', 'TABLE tt'), q('BEGIN', 'INSERT INTO tt VALUES (1)',
                                  'TABLE tt', 'COMMIT',
                                  'TABLE tt')],
    'rolled back': [q('BEGIN', 'CREATE TEMP TABLE tt (i int)', 'ROLLBACK', 'TABLE tt')],
    'twice': [q('CREATE TEMP TABLE tt (i int)'), q('CREATE TEMP TABLE tt (i int)'),
              q('CREATE TEMP TABLE IF NOT EXISTS tt (i int)')],
    'discard temp': [q('CREATE TEMP TABLE tt (i int)'), q('DISCARD TEMP', 'TABLE tt')],
    'discard all': [q('CREATE TEMP TABLE tt (i int)'), q('DISCARD ALL', 'TABLE tt')],
    'view, sequence': [q('CREATE TEMP VIEW tv AS SELECT 1 AS one', 'CREATE TEMP SEQUENCE ts'), q('TABLE tv'),
                       q("SELECT nextval('ts')"), q("SELECT nextval('ts')")],
    'function': [q('CREATE FUNCTION pg_temp.tf() RETURNS int LANGUAGE sql AS $$SELECT 7$$'), q('SELECT pg_temp.tf()')],
    'by a batch': [x(extended('CREATE TEMP TABLE tt (i int)'), extended('INSERT INTO tt VALUES (5)')),
                   x(parse('TABLE tt', 's1'), bind([], 's1'), execute()),
                   x(bind([], 's1'), execute())],
    'in one query': [q('CREATE TEMP TABLE tt (i int); INSERT INTO tt VALUES (1); TABLE tt'), q('TABLE tt')],
    'in one write': [q('CREATE TEMP TABLE tt (i int)', 'INSERT INTO tt VALUES (1)', 'TABLE tt', 'DROP TABLE tt',
                       'TABLE tt')],
    'inside DO': [q("DO $$BEGIN CREATE TEMP TABLE tt (i int); END$$"), q('TABLE tt')],
    'copied into': [q('CREATE TEMP TABLE tt (i int)'), say(query('COPY tt FROM STDIN'), copy_data('1\n'), copy_done(),
                                                           wait=1), q('TABLE tt')],
    'schema by name': [q('CREATE TEMP TABLE tt (i int)'),
                       q("SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tt'::regclass")],
    'serial': [q('CREATE TEMP TABLE tt (i serial, s text)'), q("INSERT INTO tt (s) VALUES ('a') RETURNING i"),
               q("INSERT INTO tt (s) VALUES ('b') RETURNING i"),
               q("SELECT currval('tt_i_seq')")],
    'error in its transaction': [q('CREATE TEMP TABLE tt (i int); SELECT 1/0'), q('TABLE tt')],
    'prepared transaction': [q('BEGIN', 'CREATE TEMP TABLE tt (i int)', "PREPARE TRANSACTION 'tt'", 'ROLLBACK')],
}
for name, steps in TEMPS.items():
    add('temp: ' + name, *steps, norm=NO_TEMP)
add('temp: of two clients', q('CREATE TEMP TABLE tt (a int)'), q('CREATE TEMP TABLE tt (b text)', conn='b'),
    q('TABLE tt'), q('TABLE tt', conn='b'),
    q('INSERT INTO tt VALUES (1)'), q("INSERT INTO tt VALUES ('x')", conn='b'), q('TABLE tt'), q('TABLE tt', conn='b'),
    needs=2)
add('temp: not seen by another', q('CREATE TEMP TABLE tt (a int)'), q('TABLE tt', conn='b'), q('TABLE tt'), needs=2)
add('temp: gone with its client', q('CREATE TEMP TABLE tt (a int)'), say(b'X\0\0\0\4', wait='eof'),
    q('TABLE tt', conn='b'))

# ---- held cursors -------------------------------------------------------------------------

HOLD = 'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM ten'
HOLDS = {
    'outside a block': [q(HOLD), q('FETCH 2 FROM c'), q('FETCH 3 FROM c'), q('CLOSE c'), q('FETCH c')],
    'in a block': [q('BEGIN', HOLD, 'FETCH 1 FROM c', 'COMMIT'), q('FETCH 1 FROM c'), q('CLOSE c')],
    'rolled back': [q('BEGIN', HOLD, 'ROLLBACK'), q('FETCH c')],
    'scroll': [q(HOLD.replace('CURSOR', 'SCROLL CURSOR')), q('FETCH LAST FROM c'), q('FETCH FIRST FROM c'),
               q('MOVE 4 FROM c'), q('FETCH ABSOLUTE 2 FROM c')],
    'close all': [q(HOLD), q('CLOSE ALL'), q('FETCH c')],
    'discard all': [q(HOLD), q('DISCARD ALL'), q('FETCH c')],
    'as a portal': [q(HOLD), x(describe('P', 'c'), execute('c', 2)), x(execute('c', 2)), q('FETCH c')],
    'pg_cursors': [q(HOLD), q('SELECT name, is_holdable, is_scrollable FROM pg_cursors WHERE name <> \'\'')],
    'error in a block': [q(HOLD), q('BEGIN', 'FETCH c', 'SELECT 1/0', 'ROLLBACK'), q('FETCH c')],
    'closed and declared again': [q(HOLD), q('FETCH 9 FROM c'), q('CLOSE c'), q(HOLD), q('FETCH 1 FROM c')],
}
for name, steps in HOLDS.items():
    add('hold: ' + name, *steps)
add('hold: two clients', q(HOLD), q(HOLD, conn='b'), q('FETCH 2 FROM c'), q('FETCH 1 FROM c', conn='b'),
    q('FETCH 1 FROM c'), q('CLOSE c', conn='b'), q('FETCH 1 FROM c'),
    needs=2)

# ---- advisory locks --------------------------------------------------------------------------

add('advisory: taken, given back', q('SELECT pg_advisory_lock(77)'), q('SELECT pg_advisory_unlock(77)'),
    q('SELECT pg_advisory_unlock(77)'), settle=True)
add('advisory: twice', q('SELECT pg_advisory_lock(77)'), q('SELECT pg_advisory_lock(77)'),
    q('SELECT pg_advisory_unlock(77)'), q('SELECT pg_advisory_unlock(77)'),
    q('SELECT pg_advisory_unlock(77)'), settle=True)
add('advisory: all', q('SELECT pg_advisory_lock(1), pg_advisory_lock(2, 3), pg_advisory_lock_shared(4)'),
    q('SELECT 1'), q('SELECT pg_advisory_unlock_all()'),
    q('SELECT pg_advisory_unlock(1)'), settle=True)
add('advisory: kept from another', q('SELECT pg_advisory_lock(77)'), q('SELECT pg_try_advisory_lock(77)', conn='b'),
    q('SELECT pg_advisory_unlock(77)'),
    q('SELECT pg_try_advisory_lock(77)', conn='b'), q('SELECT pg_try_advisory_lock(77)'),
    q('SELECT pg_advisory_unlock(77)', conn='b'), needs=2, settle=True)
add('advisory: waited for', q('SELECT pg_advisory_lock(77)'), q('SELECT pg_advisory_lock(77)', wait=0, conn='b'),
    until_waiting('advisory'),
    q('SELECT pg_advisory_unlock(77)'), wait(1, conn='b'), q('SELECT pg_advisory_unlock(77)', conn='b'), needs=2,
    settle=True)
add('advisory: of a transaction', q('BEGIN', 'SELECT pg_advisory_xact_lock(77)'),
    q('SELECT pg_try_advisory_lock(77)', conn='b'), q('COMMIT'),
    q('SELECT pg_try_advisory_xact_lock(77)', conn='b'), needs=2, settle=True)
add('advisory: kept over a rollback', q('BEGIN', 'SELECT pg_advisory_lock(77)', 'ROLLBACK'),
    q('SELECT pg_try_advisory_lock(77)', conn='b'),
    q('SELECT pg_advisory_unlock(77)'), needs=2, settle=True)
add('advisory: discard all gives back', q('SELECT pg_advisory_lock(77)', 'DISCARD ALL'),
    q('SELECT pg_try_advisory_lock(77), pg_advisory_unlock(77)', conn='b'),
    settle=True)
add('advisory: gone with its client', q('SELECT pg_advisory_lock(77)'), say(b'X\0\0\0\4', wait='eof'),
    q('SELECT pg_advisory_lock(77)', conn='b'), settle=True)
add('advisory: extended', x(extended('SELECT pg_advisory_lock($1)', [77])),
    x(extended('SELECT pg_try_advisory_lock(77)'), wait=1, conn='b'),
    x(extended('SELECT pg_advisory_unlock($1)', [77])), needs=2, settle=True)
add('advisory: from a table', q('SELECT pg_advisory_lock(i) FROM ten WHERE i < 3'),
    q('SELECT pg_advisory_unlock(i) FROM ten WHERE i < 4'), settle=True)

# ---- SQL PREPARE ------------------------------------------------------------------------------

PREPARES = {
    'execute': [q('PREPARE p1 AS SELECT 1'), q('EXECUTE p1'), q('SELECT 2'), q('EXECUTE p1'), q('DEALLOCATE p1'),
                q('EXECUTE p1')],
    'parameters': [q('PREPARE p1 (int, text) AS SELECT $1 + 1, $2'), q("EXECUTE p1 (1, 'a')"), q('EXECUTE p1 (1)'),
                   q("EXECUTE p1 ('x', 'a')"), q("EXECUTE p1 (2, NULL)")],
    'twice': [q('PREPARE p1 AS SELECT 1'), q('PREPARE p1 AS SELECT 2'), q('EXECUTE p1')],
    'fails': [q('PREPARE p1 AS SELECT nope'), q('EXECUTE p1')],
    'rolled back, it stays': [q('BEGIN', 'PREPARE p1 AS SELECT 1', 'ROLLBACK'), q('EXECUTE p1')],
    'deallocate rolled back': [q('PREPARE p1 AS SELECT 1'), q('BEGIN', 'DEALLOCATE p1', 'ROLLBACK'), q('EXECUTE p1')],
    'deallocate all': [q('PREPARE p1 AS SELECT 1', 'PREPARE p2 AS SELECT 2'), q('DEALLOCATE ALL'), q('EXECUTE p1'),
                       q('EXECUTE p2')],
    'discard all': [q('PREPARE p1 AS SELECT 1'), q('DISCARD ALL'), q('EXECUTE p1')],
    'discard plans': [q('PREPARE p1 AS SELECT 1'), q('DISCARD PLANS'), q('EXECUTE p1')],
    'in one query': [q('PREPARE p1 AS SELECT 1; EXECUTE p1; DEALLOCATE p1; EXECUTE p1')],
    'create table as': [q('PREPARE p1 AS SELECT 5 AS five'), q('CREATE TEMP TABLE pt AS EXECUTE p1'), q('TABLE pt')],
    'explain': [q('PREPARE p1 (int) AS SELECT * FROM ten WHERE i = $1'), q('EXPLAIN (COSTS off) EXECUTE p1 (1)')],
    'extended prepare': [x(extended('PREPARE p1 AS SELECT 1')), x(extended('EXECUTE p1')),
                         x(extended('DEALLOCATE p1')), x(extended('EXECUTE p1'))],
    'a name of its own in each': [x(parse('SELECT 1', 'p2')), q('PREPARE p1 AS SELECT 2'),
                                  x(bind([], 'p2'), execute()), q('EXECUTE p1'), x(bind([], 'p1'), execute())],
    'protocol close of it': [q('PREPARE p1 AS SELECT 1'), x(close('S', 'p1')), q('EXECUTE p1')],
    'quoted names': [q('PREPARE "P 1" AS SELECT 1'), q('EXECUTE "P 1"'), q('PREPARE P2 AS SELECT 2'), q('EXECUTE p2'),
                     q('DEALLOCATE "P2"'), q('DEALLOCATE "P 1"')],
    'an insert': [q('PREPARE p1 (int) AS INSERT INTO app.pi VALUES ($1) RETURNING i'), q('EXECUTE p1 (1)'),
                  q('BEGIN', 'EXECUTE p1 (2)', 'ROLLBACK'), q('TABLE app.pi')],
    'seen in the catalog': [q('PREPARE p1 (int) AS SELECT $1'),
                            q('SELECT name, statement, from_sql FROM pg_prepared_statements WHERE from_sql')],
}
for name, steps in PREPARES.items():
    add('prepare: ' + name, *steps, setup='CREATE TABLE app.pi (i int)' if name == 'an insert' else None)
add('prepare: two clients of one name', q('PREPARE p1 AS SELECT 1'), q("PREPARE p1 AS SELECT 'b'", conn='b'),
    q('EXECUTE p1'), q('EXECUTE p1', conn='b'),
    q('DEALLOCATE p1'), q('EXECUTE p1', conn='b'), q('EXECUTE p1'), needs=2)
add('prepare: not seen by another', q('PREPARE p1 AS SELECT 1'), q('EXECUTE p1', conn='b'), needs=2)

# ---- cancels --------------------------------------------------------------------------------------

SLEEP = 'SELECT pg_sleep(20)'
# PostgreSQL signals a backend twice for one cancel, first itself and then its process group. Between the two
# it may have begun with the next statement of a pipeline, which is then cancelled as well, wherever in it that
# happens. This one ends with the error of a cancelled statement in either case; who raised it is left out.
SECOND_SIGNAL = ("DO $$ BEGIN PERFORM pg_sleep(0.05); RAISE query_canceled USING MESSAGE = "
                 "'canceling statement due to user request'; END $$")
RAISED = [(rb'(?s)(\0Mcanceling statement due to user request\0).*', rb'\1')]
add('cancel: a query', q(SLEEP, wait=0), until_waiting('PgSleep'), cancel(), wait(1), q('SELECT 1'))
add('cancel: in a block', q('BEGIN'), q(SLEEP, wait=0), until_waiting('PgSleep'), cancel(), wait(1),
    q('SELECT 1', 'ROLLBACK', 'SELECT 2'))
add('cancel: a savepoint saves', q('BEGIN', 'SAVEPOINT s'), q(SLEEP, wait=0), until_waiting('PgSleep'), cancel(),
    wait(1), q('ROLLBACK TO s', 'SELECT 1', 'COMMIT'))
add('cancel: extended', say(extended(SLEEP), extended('SELECT 2'), sync(), wait=0), until_waiting('PgSleep'), cancel(),
    wait(1), x(extended('SELECT 3')))
add('cancel: a prepared one', x(parse('SELECT pg_sleep($1)', 's1')), x(bind([20], 's1'), execute(), wait=0),
    until_waiting('PgSleep'), cancel(), wait(1),
    x(bind([0], 's1'), execute()))
add('cancel: the second in one query', q('SELECT 1; %s; SELECT 2' % SLEEP, wait=0), until_waiting('PgSleep'), cancel(),
    wait(1), q('SELECT 3'))
add('cancel: the first of a pipeline', q(SLEEP, SECOND_SIGNAL, 'SELECT 1', 'SELECT 2', wait=0),
    until_waiting('PgSleep'), cancel(), wait(4), norm=RAISED)
add('cancel: of an idle session', q('SELECT 1'), cancel(), q('SELECT 2'), cancel(), q('SELECT 3'))
add('cancel: of an idle block', q('BEGIN'), cancel(), q('SELECT 2'), q('COMMIT'))
add('cancel: with a wrong key', q('SELECT pg_sleep(0.05)', wait=0), until_waiting('PgSleep'), cancel(spoil=1), wait(1),
    q('SELECT 1'))
add('cancel: of another', q('SELECT 1'), q('SELECT pg_sleep(0.05)', wait=0, conn='b'), until_waiting('PgSleep'),
    cancel(), wait(1, conn='b'), q('SELECT 2', conn='b'),
    needs=2)
add('cancel: one of two', q(SLEEP, wait=0), q('SELECT pg_sleep(0.1)', wait=0, conn='b'), until_waiting('PgSleep', n=2),
    cancel(), wait(1), wait(1, conn='b'), q('SELECT 1'),
    q('SELECT 2', conn='b'), needs=2)
add('cancel: twice', q(SLEEP, wait=0), until_waiting('PgSleep'), cancel(), wait(1), q(SLEEP, wait=0),
    until_waiting('PgSleep'), cancel(), wait(1), q('SELECT 1'))
add('cancel: a flushed batch', say(extended(SLEEP), flush(), wait=0), until_waiting('PgSleep'), cancel(), wait('E'),
    x(extended('SELECT 1')), q('SELECT 2'))
add('cancel: COPY out', q('COPY (SELECT pg_sleep(20)) TO STDOUT', wait=0), until_waiting('PgSleep'), cancel(), wait(1),
    q('SELECT 1'))
add('cancel: a lock', q('BEGIN', 'LOCK TABLE app.lk'), q('SELECT * FROM lk', wait=0, conn='b'),
    until_waiting('relation'), cancel(conn='b'), wait(1, conn='b'),
    q('SELECT 1', conn='b'), q('ROLLBACK'), needs=2, setup='CREATE TABLE app.lk (i int)')

# ---- two clients -----------------------------------------------------------------------------------

ROW = "CREATE TABLE app.r (i int PRIMARY KEY, n int); INSERT INTO app.r VALUES (1, 0), (2, 0)"
PIDS = [(rb'process \d+', b'process N'), (rb'Process \d+', b'Process N'), (rb'transaction \d+', b'transaction N'),
        (rb'relation \d+ of database \d+', b'relation N')]
add('two: a row waited for', q('BEGIN', 'UPDATE r SET n = 1 WHERE i = 1'),
    q('UPDATE r SET n = n + 10 WHERE i = 1 RETURNING n', wait=0, conn='b'),
    until_waiting('transactionid'), q('COMMIT'), wait(1, conn='b'), q('TABLE r'), needs=2, setup=ROW)
add('two: nowait, skip locked', q('BEGIN', 'SELECT * FROM r WHERE i = 1 FOR UPDATE'),
    q('SELECT * FROM r FOR UPDATE NOWAIT', 'SELECT * FROM r FOR UPDATE SKIP LOCKED',
        conn='b'), q('COMMIT'), needs=2,
        setup=ROW)
add('two: lock timeout', q('BEGIN', 'LOCK TABLE r'), q("SET lock_timeout = '20ms'", 'SELECT * FROM r',
                                                       'RESET lock_timeout', conn='b'), q('COMMIT'), needs=2, setup=ROW)
add('two: not seen before the commit', q('BEGIN', 'DELETE FROM r'), q('TABLE r', conn='b'), q('COMMIT'),
    q('TABLE r', conn='b'), needs=2, setup=ROW)
add('two: repeatable read', q('BEGIN ISOLATION LEVEL REPEATABLE READ', 'TABLE r'), q('UPDATE r SET n = 5', conn='b'),
    q('TABLE r', 'UPDATE r SET n = 6', 'SELECT 1', 'COMMIT',
        'TABLE r'), needs=2, setup=ROW)
add('two: write skew', q('BEGIN ISOLATION LEVEL SERIALIZABLE', 'SELECT sum(n) FROM r'),
    q('BEGIN ISOLATION LEVEL SERIALIZABLE', 'SELECT sum(n) FROM r',
        'UPDATE r SET n = 1 WHERE i = 1', 'COMMIT', conn='b'),
    q('UPDATE r SET n = 1 WHERE i = 2', 'COMMIT', 'TABLE r'), needs=2, setup=ROW, norm=PIDS)
add('two: a row waited for in a block', q('BEGIN', 'UPDATE r SET n = 1 WHERE i = 1'),
    q('BEGIN', 'UPDATE r SET n = 2 WHERE i = 2', conn='b'),
    q('UPDATE r SET n = 3 WHERE i = 1', wait=0, conn='b'), until_waiting('transactionid'), q('ROLLBACK'),
    wait(1, conn='b'), q('COMMIT', conn='b'), q('TABLE r'),
    needs=2, setup=ROW)
add('two: unique waited for', q('BEGIN', 'INSERT INTO r VALUES (9)'), q('INSERT INTO r VALUES (9)', wait=0, conn='b'),
    until_waiting('transactionid'), q('COMMIT'),
    wait(1, conn='b'), q('SELECT 1', conn='b'), needs=2, setup=ROW)
add('two: the same statement names', x(parse("SELECT 'a' || $1::text", 's1')),
    x(parse("SELECT 'b' || $1::text", 's1'), conn='b'),
    *[s for i in range(5) for s in (x(bind([i], 's1'), execute()), x(bind([i], 's1'), execute(), conn='b'))],
    x(close('S', 's1')),
    x(bind([9], 's1'), execute(), conn='b'), x(bind([9], 's1'), execute()))
add('two: the same text under two names', x(parse('SELECT $1::int', 's1')),
    x(parse('SELECT $1::int', 'other'), conn='b'), x(bind([1], 's1'), execute()),
    x(bind([2], 'other'), execute(), conn='b'), x(close('S', 's1')), x(bind([3], 'other'), execute(), conn='b'),
    x(bind([3], 's1')))
add('two: unnamed statements', x(parse("SELECT 'a'")), x(parse("SELECT 'b'"), conn='b'), x(bind(), execute()),
    x(bind(), execute(), conn='b'), x(bind(), execute()))
add('two: no unnamed statement of its own', x(parse("SELECT 'a'")), x(bind(), execute(), conn='b'),
    x(describe('S'), conn='b'))
add('two: portals', q('BEGIN'), q('BEGIN', conn='b'), x(parse('TABLE ten'), bind(portal='p'), execute('p', 1)),
    x(parse("SELECT 'x'"), bind(portal='p'), conn='b'),
    x(execute('p', 1)), x(execute('p'), conn='b'), q('COMMIT'), q('COMMIT', conn='b'), needs=2)
add('two: DEALLOCATE ALL is for one', x(parse('SELECT 1', 's1')), x(parse('SELECT 2', 's1'), conn='b'),
    q('DEALLOCATE ALL'), x(bind([], 's1'), execute(), conn='b'),
    x(bind([], 's1')))
add('two: DISCARD ALL is for one', q("SET application_name = 'a'"), q("SET application_name = 'b'", conn='b'),
    q('DISCARD ALL'), q('SHOW application_name', conn='b'),
    q('SHOW application_name'))
add('two: sequence values in a block', q('BEGIN', "SELECT nextval('app.sq')", "SELECT currval('app.sq'), lastval()"),
    q("SELECT nextval('app.sq')", conn='b'),
    q("SELECT currval('app.sq')", 'COMMIT'), setup='CREATE SEQUENCE app.sq', needs=2)
add('two: a snapshot handed over', q('BEGIN ISOLATION LEVEL REPEATABLE READ',
                                     'SELECT pg_export_snapshot() IS NOT NULL'),
                                     q('BEGIN ISOLATION LEVEL REPEATABLE READ',
                                         "SET TRANSACTION SNAPSHOT 'nonsense'", 'ROLLBACK',
                                         conn='b'), q('COMMIT'), needs=2)
add('large object in a block', q('BEGIN', "SELECT lo_from_bytea(4711, 'abcdef')", 'SELECT lo_open(4711, 262144)',
                                 'SELECT loread(0, 3)', 'SELECT lo_lseek(0, 1, 0)',
                                 'SELECT loread(0, 9)', 'SELECT lo_unlink(4711)', 'SELECT lo_close(0)', 'COMMIT'))
