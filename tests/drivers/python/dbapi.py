"""The features that look the same in every DB-API driver.

A program calls setup(connect, code) and takes the functions f_... from here:
connect() gives a connection that is not in autocommit mode, code(e) the
SQLSTATE of an exception.

SPDX-License-Identifier: ISC
"""
from contextlib import closing

from features import CASTS, RUN, VALUES, distinct, row, rows

connect = code = None
MARK = '%s'


def setup(connect_, code_, mark='%s'):
    global connect, code, MARK      # pylint: disable=global-statement
    connect, code, MARK = connect_, code_, mark


def ask(c, text, *args):
    k = c.cursor()
    k.execute(text.replace('%s', MARK), args) if args else k.execute(text)
    got = k.fetchall() if k.description else k.rowcount
    k.close()
    return got


def one(c, text, *args):
    return ask(c, text, *args)[0][0]


def done(c, text, *args):
    got = ask(c, text, *args)
    c.commit()
    return got


def f_connect():
    with closing(connect()) as c:
        return row(ask(c, "SELECT current_user, current_database(), current_setting('application_name'), "
                          "current_setting('client_encoding'), current_setting('server_version_num')::int / 10000")[0])


def f_crud():
    with closing(connect()) as c:
        done(c, 'CREATE TABLE crud_%s (id serial PRIMARY KEY, a text, n int)' % RUN)
        ids = [one(c, 'INSERT INTO crud_' + RUN + ' (a, n) VALUES (%s, %s) RETURNING id', a, n)
               for a, n in (('x', 1), (None, 2), ('Grüße 🐘', None))]
        c.commit()
        seen = [row(ids)]
        seen.append(str(done(c, 'UPDATE crud_' + RUN + ' SET n = %s WHERE id = %s', 7, ids[1])))
        seen.append(str(done(c, 'DELETE FROM crud_' + RUN + ' WHERE a = %s', 'x')))
        seen.append(rows(ask(c, 'SELECT * FROM crud_%s ORDER BY id' % RUN)))
        seen.append(rows(ask(c, 'SELECT * FROM crud_' + RUN + ' WHERE id = %s', 99)) or 'none')
        done(c, 'DROP TABLE crud_%s' % RUN)
        return ', '.join(seen)


def types(values):
    with closing(connect()) as c:
        return row(ask(c, 'SELECT ' + ', '.join('%s::' + t for t in CASTS), *values)[0])


def f_types():
    return types(VALUES)


def f_transactions():
    t = 'tx_' + RUN
    with closing(connect()) as c, closing(connect()) as d:
        done(c, 'CREATE TABLE %s (a text)' % t)
        seen = []
        for end in c.commit, c.rollback:
            ask(c, 'INSERT INTO %s VALUES (\'one\')' % t)
            ask(c, 'SAVEPOINT s')
            ask(c, 'INSERT INTO %s VALUES (\'two\')' % t)
            try:
                ask(c, 'SELECT 1/0')
            except Exception as e:  # pylint: disable=broad-except
                seen.append(code(e))
            ask(c, 'ROLLBACK TO SAVEPOINT s')
            ask(c, 'INSERT INTO %s VALUES (\'three\')' % t)
            seen.append(rows(ask(c, 'SELECT a FROM %s ORDER BY a' % t)))
            seen.append('outside: %d' % one(d, 'SELECT count(*) FROM %s' % t))
            d.commit()
            end()
            seen.append(rows(done(d, 'SELECT a FROM %s ORDER BY a' % t)))
        try:
            ask(c, 'SELECT * FROM nowhere')
        except Exception as e:  # pylint: disable=broad-except
            seen.append(code(e))
        try:
            ask(c, 'SELECT 1')
        except Exception as e:  # pylint: disable=broad-except
            seen.append(code(e))
        c.rollback()
        done(c, 'DROP TABLE %s' % t)
        return ', '.join(seen)


def f_errors():
    with closing(connect()) as c:
        done(c, 'CREATE TABLE err_%s (a int PRIMARY KEY)' % RUN)
        done(c, 'INSERT INTO err_%s VALUES (1)' % RUN)
        seen = []
        for text in ('INSERT INTO err_%s VALUES (1)' % RUN, 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0',
                     "SELECT 'x'::int"):
            try:
                ask(c, text)
                seen.append('no error')
            except Exception as e:  # pylint: disable=broad-except
                seen.append(code(e))
            c.rollback()
            seen.append(str(one(c, 'SELECT 1')))
            c.commit()
        done(c, 'DROP TABLE err_%s' % RUN)
        return ' '.join(seen)


SETTINGS = 'search_path', 'statement_timeout', 'TimeZone', 'DateStyle', 'work_mem', 'drv.who'
SHOW = 'SELECT ' + ', '.join("coalesce(current_setting('%s', true), '')" % s for s in SETTINGS)


def settings(a, b):
    """Statements that give connections a and b settings of their own."""
    yield a, 'SET search_path = schema_%s, public' % RUN
    yield a, "SET statement_timeout = '31s'"
    yield a, "SET TimeZone = 'Europe/Vienna'"
    yield a, "SET drv.who = 'a'"
    yield a, "SELECT set_config('work_mem', '5MB', false)"
    yield b, "SET statement_timeout TO 32000"
    yield b, "SET TIME ZONE 'Asia/Tokyo'"
    yield b, "SET DateStyle = 'German, DMY'"
    yield b, "SET SESSION work_mem = '6MB'"


def f_settings():
    with closing(connect()) as a, closing(connect()) as b, closing(connect()) as c:
        for who, text in settings(a, b):
            done(who, text)
        ask(b, "SET drv.who = 'gone'")
        ask(b, 'SET search_path = nothing')
        b.rollback()
        seen = {'a': set(), 'b': set(), 'c': set()}
        for _ in range(15):
            for n, who in (('a', a), ('b', b), ('c', c)):
                ask(who, "SET LOCAL work_mem = '7MB'") if n == 'c' else None
                seen[n].add(row(ask(who, SHOW)[0]))
                who.commit()
        done(a, 'RESET search_path')
        done(a, 'SET statement_timeout TO DEFAULT')
        seen['a reset'] = {row(done(a, SHOW)[0]) for _ in range(5)}
        return '; '.join('%s: %s' % (n, distinct(s)) for n, s in seen.items())


def f_temp():
    with closing(connect()) as a, closing(connect()) as b:
        done(a, 'CREATE TEMP TABLE temp_%s (i int)' % RUN)
        there = set()
        for i in range(10):
            done(a, 'INSERT INTO temp_' + RUN + ' VALUES (%s)', i)
            there.add(str(one(b, "SELECT to_regclass('temp_%s')::text" % RUN)))
            b.commit()
        n = row(done(a, 'SELECT count(*), sum(i) FROM temp_%s' % RUN)[0])
        done(a, 'DROP TABLE temp_%s' % RUN)
        return '%s, other: %s, after: %s' % (n, distinct(there),
                                             done(a, "SELECT to_regclass('temp_%s')" % RUN)[0][0])


def f_locks():
    key = "hashtext('%s')" % RUN
    with closing(connect()) as a, closing(connect()) as b:
        seen = []
        done(a, 'SELECT pg_advisory_lock(%s)' % key)
        for _ in range(5):
            seen.append(str(done(b, 'SELECT pg_try_advisory_xact_lock(%s)' % key)[0][0]))
        seen.append(str(done(a, 'SELECT pg_advisory_unlock(%s)' % key)[0][0]))
        seen.append(str(done(b, 'SELECT pg_try_advisory_xact_lock(%s)' % key)[0][0]))
        seen.append(str(done(a, 'SELECT pg_advisory_unlock(%s)' % key)[0][0]))
        return ' '.join(seen)
