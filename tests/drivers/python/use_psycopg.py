"""psycopg 3, with the usual connection.

SPDX-License-Identifier: ISC
"""
import threading
from contextlib import closing

import psycopg
import psycopg_pool
from psycopg.types.json import Jsonb

import dbapi
import features
from dbapi import done, f_connect, f_crud, f_errors, f_locks, f_settings, f_temp, f_transactions, one
from features import ASLEEP, RUN, SLEEP, VALUES, rows, wait_for


def connect(**kw):
    return psycopg.connect(application_name='drv', **kw)


dbapi.setup(connect, lambda e: e.sqlstate)


def f_types():
    return dbapi.types([Jsonb(v) if isinstance(v, dict) else v for v in VALUES])


def f_binary():
    with connect() as c:
        values = [Jsonb(v) if isinstance(v, dict) else v for v in VALUES]
        k = c.execute('SELECT ' + ', '.join('%b::' + t for t in features.CASTS), values, binary=True)
        return features.row(k.fetchone())


def f_prepared():
    with connect(prepare_threshold=2) as a, connect(prepare_threshold=0) as b:
        total = 0
        for i in range(150):
            total += a.execute('SELECT %s::int * 2', (i,)).fetchone()[0]
            total += b.execute('SELECT %s::int * 2 + %d' % ('%s', i % 7), (i,)).fetchone()[0]
            a.commit()
            b.commit()
        b.prepared_max = 3
        for i in range(40):
            total += b.execute('SELECT %s::int * 2 + %d' % ('%s', i % 8), (i,)).fetchone()[0]
            b.commit()
        a.execute('DEALLOCATE ALL')
        for i in range(10):
            total += a.execute('SELECT %s::int * 5', (i,)).fetchone()[0]
            a.commit()
        return total


def f_batch():
    with connect() as c:
        c.execute('CREATE TABLE batch_%s (i int, a text)' % RUN)
        c.commit()
        with c.cursor() as k:
            k.executemany('INSERT INTO batch_%s VALUES (%%s, %%s) RETURNING i' % RUN,
                          [(i, 'v%d' % i) for i in range(300)], returning=True)
            n = 1
            while k.nextset():
                n += 1
        c.commit()
        got = [n] + list(c.execute('SELECT count(*), sum(i) FROM batch_%s' % RUN).fetchone())
        c.execute('DROP TABLE batch_%s' % RUN)
        return rows([got])


def f_pipeline():
    with connect(autocommit=True) as c:
        seen = []
        with c.pipeline():
            ks = [c.execute('SELECT %s::int', (i,)) for i in range(100)]
            seen.append(sum(k.fetchone()[0] for k in ks))
        try:
            with c.pipeline():
                c.execute('SELECT 1')
                c.execute('SELECT 1/0')
                c.execute('SELECT 2')
        except psycopg.errors.DivisionByZero as e:
            seen.append(e.sqlstate)
        with c.transaction(), c.pipeline() as p:
            c.execute('CREATE TABLE pipe_%s (i int)' % RUN)
            k = c.execute('INSERT INTO pipe_%s VALUES (1), (2) RETURNING i' % RUN)
            p.sync()
            seen.append(rows(k.fetchall()))
            k = c.execute('SELECT count(*) FROM pipe_%s' % RUN)
            seen.append(k.fetchone()[0])
        c.execute('DROP TABLE pipe_%s' % RUN)
        return rows([seen])


def f_cursor():
    with connect() as c, connect() as d:
        total = 0
        with c.cursor('named') as k:
            k.itersize = 100
            k.execute('SELECT i FROM generate_series(1, 1000) i')
            for r in k:
                total += r[0]
                if r[0] % 100 == 1:
                    done(d, 'SELECT 1')
        total += sum(r[0] for r in c.cursor().stream('SELECT generate_series(1, 1000)'))
        c.commit()
        with c.cursor('held', withhold=True, scrollable=True) as k:
            k.execute('SELECT i FROM generate_series(1, 10) i')
            c.commit()
            done(d, 'SELECT 1')
            k.fetchmany(5)
            c.commit()
            k.scroll(2, mode='absolute')
            last = rows(k.fetchmany(3))
        return '%d, %s' % (total, last)


def f_copy():
    with connect() as c, c.cursor() as k:
        k.execute('CREATE TABLE copy_%s (i int, a text)' % RUN)
        with k.copy('COPY copy_%s FROM STDIN' % RUN) as copy:
            for i in range(5000):
                copy.write_row((i, 'line %d' % i))
        c.commit()
        with k.copy('COPY copy_%s TO STDOUT (FORMAT BINARY)' % RUN) as copy:
            copy.set_types(['int4', 'text'])
            out = list(copy.rows())
        seen = [len(out), rows(out[-1:])]
        c.commit()
        try:
            with k.copy('COPY copy_%s FROM STDIN' % RUN) as copy:
                for i in range(5000):
                    copy.write(b'a\tb\n' * 100)
        except psycopg.errors.InvalidTextRepresentation as e:
            seen.append(e.sqlstate)
        c.rollback()
        try:
            with k.copy('COPY copy_%s FROM STDIN' % RUN) as copy:
                copy.write(b'1\tb\n')
                raise ValueError('the program gives up')
        except psycopg.errors.QueryCanceled as e:
            seen.append(e.sqlstate)
        c.rollback()
        seen.append(one(c, 'SELECT count(*) FROM copy_%s' % RUN))
        done(c, 'DROP TABLE copy_%s' % RUN)
        return rows([seen])


def f_cancel():
    seen = []
    with closing(connect()) as c, closing(connect(autocommit=True)) as d:
        def canceller():
            wait_for(lambda: one(d, ASLEEP))
            c.cancel()
        t = threading.Thread(target=canceller)
        t.start()
        try:
            done(c, SLEEP)
        except psycopg.errors.QueryCanceled as e:
            seen.append(str(e))
        t.join()
        c.rollback()
        try:
            dbapi.ask(c, "SET LOCAL statement_timeout = '100ms'")
            done(c, SLEEP)
        except psycopg.errors.QueryCanceled as e:
            seen.append(str(e))
        c.rollback()
        seen.append(str(one(c, 'SELECT 1')))
    return ', '.join(seen)


def f_notify():
    with connect(autocommit=True) as a, connect(autocommit=True) as b:
        a.execute('LISTEN ch_%s' % RUN)
        seen = []
        for i in range(3):
            b.execute("SELECT pg_notify('ch_%s', 'n%d')" % (RUN, i))
            for n in (g := a.notifies()):
                seen.append(n.payload)
                g.close()
        a.execute('UNLISTEN *')
        b.execute('NOTIFY ch_%s' % RUN)
        a.add_notify_handler(lambda n: seen.append('late'))
        a.execute('SELECT 1')
        return ' '.join(seen)


def f_pool():
    with psycopg_pool.ConnectionPool(kwargs={'application_name': 'drv'}, min_size=2, max_size=3) as p:
        total = 0
        for i in range(30):
            with p.connection() as c, c.transaction():
                total += c.execute('SELECT %s::int', (i,)).fetchone()[0]
        return total


if __name__ == '__main__':
    features.main('psycopg ' + psycopg.__version__, globals())
