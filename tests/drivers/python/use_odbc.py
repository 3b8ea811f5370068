"""psqlODBC, through unixODBC and pyodbc.

SPDX-License-Identifier: ISC
"""
import json
import os
import threading
from contextlib import closing

import pyodbc

import dbapi
import features
from dbapi import ask, done, f_crud, f_errors, f_locks, f_settings, f_temp, f_transactions, one
from features import ASLEEP, RUN, SLEEP, VALUES, row, rows


def connect(**kw):
    return pyodbc.connect('Driver={PostgreSQL Unicode};Server=%(PGHOST)s;Port=%(PGPORT)s;Uid=%(PGUSER)s;'
                          'Database=%(PGDATABASE)s' % os.environ + ''.join(';%s=%s' % p for p in kw.items()))


dbapi.setup(connect, lambda e: e.args[0], '?')


def f_connect():
    with closing(connect()) as c:
        return row((one(c, 'SELECT current_user'), one(c, 'SELECT current_database()'), one(c, 'SHOW client_encoding'),
                    c.getinfo(pyodbc.SQL_DRIVER_NAME), c.getinfo(pyodbc.SQL_DBMS_VER)[:2]))


def f_types():
    v = [json.dumps(x) if isinstance(x, dict) else x for x in VALUES]
    v[1], v[2], v[5], v[7] = str(v[1]), str(v[2]), '2024-02-29 12:34:56.789Z', '{1,NULL,3}'
    return dbapi.types(v)


def f_prepared():
    """One statement, prepared on the server by UseServerSidePrepare."""
    with closing(connect(UseServerSidePrepare=1)) as a, closing(connect(UseServerSidePrepare=0)) as b:
        total = 0
        k, m = a.cursor(), b.cursor()
        for i in range(100):
            total += k.execute('SELECT ?::int * 2', i).fetchone()[0] + m.execute('SELECT ?::int * 3', i).fetchone()[0]
            a.commit()
            b.commit()
        return total


def f_batch():
    with closing(connect()) as c:
        done(c, 'CREATE TABLE batch_%s (i int, a text)' % RUN)
        k = c.cursor()
        k.executemany('INSERT INTO batch_%s VALUES (?, ?)' % RUN, [(i, 'v%d' % i) for i in range(200)])
        k.fast_executemany = True
        k.executemany('INSERT INTO batch_%s VALUES (?, ?)' % RUN, [(i, 'v%d' % i) for i in range(200)])
        c.commit()
        got = rows(done(c, 'SELECT count(*), count(a), sum(i) FROM batch_%s' % RUN))
        done(c, 'DROP TABLE batch_%s' % RUN)
        return got


def f_cursor():
    with closing(connect(UseDeclareFetch=1, Fetch=50)) as c:
        k = c.cursor()
        k.execute('SELECT i FROM generate_series(1, 1000) i')
        total = sum(r[0] for r in k)
        c.commit()
        return total


def f_cancel():
    with closing(connect()) as c, closing(connect()) as d:
        d.autocommit = True
        k = c.cursor()

        def canceller():
            features.wait_for(lambda: one(d, ASLEEP.replace("query = '", "query LIKE '%")))
            k.cancel()
        t = threading.Thread(target=canceller)
        t.start()
        seen = 'no error'
        try:
            k.execute(SLEEP)
        except pyodbc.Error as e:
            seen = e.args[0]
        t.join()
        c.rollback()
        return '%s, %s' % (seen, one(c, 'SELECT 1'))


def f_catalog():
    """What tools ask through ODBC."""
    with closing(connect()) as c:
        k = c.cursor()
        seen = [rows((r.table_schem, r.table_name, r.table_type) for r in k.tables(table='kv'))]
        seen.append(rows((r.column_name, r.type_name, r.nullable) for r in k.columns(table='kv')))
        seen.append(rows((r.column_name,) for r in k.primaryKeys('kv')))
        return ', '.join(seen)


if __name__ == '__main__':
    with closing(connect()) as c0:
        version = c0.getinfo(pyodbc.SQL_DRIVER_VER)
    features.main('psqlODBC %s, pyodbc %s' % (version, pyodbc.version), globals())
