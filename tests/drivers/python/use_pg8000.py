"""pg8000, a driver without libpq: named statements for everything.

SPDX-License-Identifier: ISC
"""
import io
import json
import os
from contextlib import closing

import pg8000

import dbapi
import features
from dbapi import ask, done, f_crud, f_errors, f_locks, f_settings, f_temp, f_transactions, one
from features import RUN, VALUES, rows


def connect():
    return pg8000.connect(user=os.environ['PGUSER'], host=os.environ['PGHOST'], port=int(os.environ['PGPORT']),
                          database=os.environ['PGDATABASE'])


def code(e):
    return next(a for a in e.args if len(a) == 5 and a != 'ERROR')


dbapi.setup(connect, code)


def f_connect():
    with closing(connect()) as c:
        return features.row(ask(c, 'SELECT current_user, current_database()')[0])


def f_types():
    return dbapi.types([json.dumps(v) if isinstance(v, dict) else v for v in VALUES])


def f_prepared():
    with closing(connect()) as a, closing(connect()) as b:
        total = 0
        for i in range(120):
            total += done(a, 'SELECT %s::int * 2', i)[0][0]
            total += done(b, 'SELECT %s::int * 2 + ' + str(i % 9), i)[0][0]
        return total


def f_batch():
    with closing(connect()) as c:
        done(c, 'CREATE TABLE batch_%s (i int, a text)' % RUN)
        k = c.cursor()
        k.executemany('INSERT INTO batch_' + RUN + ' VALUES (%s, %s)', [(i, 'v%d' % i) for i in range(300)])
        c.commit()
        got = rows(done(c, 'SELECT count(*), count(a), sum(i) FROM batch_%s' % RUN))
        done(c, 'DROP TABLE batch_%s' % RUN)
        return got


def f_cursor():
    """Rows come by the hundred, with Execute and Flush."""
    with closing(connect()) as c, closing(connect()) as d:
        total = 0
        k = c.cursor()
        k.execute('SELECT i FROM generate_series(1, 1000) i')
        for r in k:
            total += r[0]
            if r[0] % 100 == 1:
                done(d, 'SELECT 1')
        c.commit()
        return total


def f_copy():
    with closing(connect()) as c:
        done(c, 'CREATE TABLE copy_%s (i int, a text)' % RUN)
        k = c.cursor()
        k.execute('COPY copy_%s FROM STDIN' % RUN,
                  stream=io.BytesIO(b''.join(b'%d\tline %d\n' % (i, i) for i in range(5000))))
        c.commit()
        out = io.BytesIO()
        k.execute('COPY copy_%s TO STDOUT' % RUN, stream=out)
        c.commit()
        seen = [len(out.getvalue())]
        try:
            k.execute('COPY copy_%s FROM STDIN' % RUN, stream=io.BytesIO(b'a\tb\n' * 50000))
        except pg8000.ProgrammingError as e:
            seen.append(code(e))
        c.rollback()
        seen.append(one(c, 'SELECT count(*) FROM copy_%s' % RUN))
        c.rollback()
        done(c, 'DROP TABLE copy_%s' % RUN)
        return rows([seen])


def f_cancel():
    """It has no cancel; the server's timeout then."""
    with closing(connect()) as c:
        try:
            ask(c, "SET LOCAL statement_timeout = '100ms'")
            ask(c, features.SLEEP)
        except pg8000.ProgrammingError as e:
            seen = code(e)
        c.rollback()
        return '%s, %s' % (seen, one(c, 'SELECT 1'))


def f_notify():
    """It sees them when it asks something."""
    with closing(connect()) as a, closing(connect()) as b:
        a.autocommit = b.autocommit = True
        ask(a, 'LISTEN ch_%s' % RUN)
        seen = []
        for _ in range(3):
            ask(b, 'NOTIFY ch_%s' % RUN)
            features.wait_for(lambda: ask(a, 'SELECT 1') and a.notifies)
            seen += [name for pid, name in a.notifies]
            a.notifies.clear()
        return ' '.join(seen)


if __name__ == '__main__':
    features.main('pg8000 ' + pg8000.__version__, globals())
