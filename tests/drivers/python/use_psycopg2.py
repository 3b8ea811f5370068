"""psycopg2.

SPDX-License-Identifier: ISC
"""
import io
import select
import threading
from contextlib import closing

import psycopg2
import psycopg2.errors
import psycopg2.extras
import psycopg2.pool

import dbapi
import features
from dbapi import done, f_connect, f_crud, f_errors, f_locks, f_settings, f_temp, f_transactions, one
from features import ASLEEP, RUN, SLEEP, VALUES, distinct, rows, wait_for

psycopg2.extensions.register_adapter(dict, psycopg2.extras.Json)


def connect(**kw):
    return psycopg2.connect(application_name='drv', **kw)


dbapi.setup(connect, lambda e: e.pgcode)


def f_types():
    return dbapi.types(VALUES)


def f_options():
    """Settings given to the server in the startup packet."""
    with closing(connect(options='-c statement_timeout=33s -c work_mem=9MB')) as a, \
            closing(connect(options='-c statement_timeout=34s')) as b:
        show = "SELECT current_setting('statement_timeout') || ' ' || current_setting('work_mem')"
        return distinct('%s, %s' % (done(a, show)[0][0], done(b, show)[0][0]) for _ in range(10))


def f_batch():
    with closing(connect()) as c, c.cursor() as k:
        k.execute('CREATE TABLE batch_%s (i int, a text)' % RUN)
        c.commit()
        psycopg2.extras.execute_values(k, 'INSERT INTO batch_%s VALUES %%s' % RUN, [(i, 'v%d' % i) for i in range(500)])
        psycopg2.extras.execute_batch(k, 'INSERT INTO batch_%s VALUES (%%s, %%s)' % RUN, [(i, None) for i in range(300)])
        c.commit()
        got = rows(done(c, 'SELECT count(*), count(a), sum(i) FROM batch_%s' % RUN))
        k.execute('DROP TABLE batch_%s' % RUN)
        c.commit()
        return got


def f_prepared():
    """SQL PREPARE: psycopg2 has no other."""
    with closing(connect()) as a, closing(connect()) as b:
        done(a, 'PREPARE p (int) AS SELECT $1 * 2')
        got = [0, 0]
        for i in range(50):
            got[0] += done(a, 'EXECUTE p (%s)', i)[0][0]
            got[1] += done(b, 'SELECT %s * 3', i)[0][0]
        done(a, 'DEALLOCATE p')
        try:
            done(a, 'EXECUTE p (1)')
        except psycopg2.errors.InvalidSqlStatementName as e:
            got.append(e.pgcode)
        a.rollback()
        return rows([got])


def f_cursor():
    with closing(connect()) as c, closing(connect()) as d:
        total = 0
        with c.cursor('named') as k:
            k.itersize = 100
            k.execute('SELECT i FROM generate_series(1, 1000) i')
            for r in k:
                total += r[0]
                if r[0] % 100 == 1:
                    done(d, 'SELECT 1')
        c.commit()
        with c.cursor('held', withhold=True) as k:
            k.execute('SELECT i FROM generate_series(1, 10) i')
            c.commit()
            done(d, 'SELECT 1')
            k.fetchmany(5)
            c.commit()
            last = rows(k.fetchall())
        return '%d, %s' % (total, last)


def f_copy():
    with closing(connect()) as c, c.cursor() as k:
        k.execute('CREATE TABLE copy_%s (i int, a text)' % RUN)
        k.copy_expert('COPY copy_%s FROM STDIN' % RUN, io.StringIO(''.join('%d\tline %d\n' % (i, i) for i in range(20000))))
        c.commit()
        out = io.StringIO()
        k.copy_expert('COPY copy_%s TO STDOUT' % RUN, out)
        c.commit()
        seen = [len(out.getvalue()), len(out.getvalue().splitlines())]
        try:
            k.copy_expert('COPY copy_%s FROM STDIN' % RUN, io.StringIO('a\tb\n' * 100000))
        except psycopg2.errors.InvalidTextRepresentation as e:
            seen.append(e.pgcode)
        c.rollback()
        seen.append(one(c, 'SELECT count(*) FROM copy_%s' % RUN))
        done(c, 'DROP TABLE copy_%s' % RUN)
        return rows([seen])


def f_cancel():
    seen = []
    with closing(connect()) as c, closing(connect()) as d:
        d.autocommit = True

        def canceller():
            wait_for(lambda: one(d, ASLEEP))
            c.cancel()
        t = threading.Thread(target=canceller)
        t.start()
        try:
            done(c, SLEEP)
        except psycopg2.errors.QueryCanceled as e:
            seen.append(str(e).split('\n', maxsplit=1)[0])
        t.join()
        c.rollback()
        try:
            dbapi.ask(c, "SET LOCAL statement_timeout = '100ms'")
            done(c, SLEEP)
        except psycopg2.errors.QueryCanceled as e:
            seen.append(str(e).split('\n', maxsplit=1)[0])
        c.rollback()
        seen.append(str(one(c, 'SELECT 1')))
    return ', '.join(seen)


def f_notify():
    with closing(connect()) as a, closing(connect()) as b:
        a.autocommit = b.autocommit = True
        done(a, 'LISTEN ch_%s' % RUN)
        seen = []
        for i in range(3):
            done(b, 'NOTIFY ch_%s, \'n%d\'' % (RUN, i))
            while not a.notifies and select.select([a], [], [], 5)[0]:
                a.poll()
            seen += [n.payload for n in a.notifies]
            del a.notifies[:]
        done(a, 'UNLISTEN ch_%s' % RUN)
        done(b, 'NOTIFY ch_%s' % RUN)
        done(a, 'SELECT 1')
        return '%s, after: %d' % (' '.join(seen), len(a.notifies))


def f_pool():
    p = psycopg2.pool.ThreadedConnectionPool(1, 3, application_name='drv')
    seen = []
    for i in range(20):
        c = p.getconn()
        seen.append(one(c, 'SELECT %s', i))
        p.putconn(c)
    p.closeall()
    return sum(seen)


if __name__ == '__main__':
    features.main('psycopg2 ' + psycopg2.__version__.split()[0], globals())
