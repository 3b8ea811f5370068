"""The ORM of SQLAlchemy on psycopg2.

SPDX-License-Identifier: ISC
"""
import os

import sqlalchemy as sa
from sqlalchemy import exc, func, select, text
from sqlalchemy.orm import Session

import features
from features import RUN, VALUES, distinct, row, rows
from orm import Author, Base, Book, Things

URL = 'postgresql+psycopg2://%(PGUSER)s@%(PGHOST)s:%(PGPORT)s/%(PGDATABASE)s' % os.environ
engine = sa.create_engine(URL, pool_size=2, max_overflow=2, pool_pre_ping=True,
                          connect_args={'application_name': 'drv'}, future=True)


def f_connect():
    with engine.connect() as c:
        return row(c.execute(text("SELECT current_user, current_setting('application_name')")).one())


def f_crud():
    Base.metadata.create_all(engine)
    seen = []
    with Session(engine) as s:
        s.add(Author(name='Ada', books=[Book(title='One', pages=10), Book(title='Zwö 🐘')]))
        s.add_all([Author(name='Bob'), Author(name=None)])
        s.commit()
        ada = s.execute(select(Author).filter_by(name='Ada')).scalar_one()
        seen.append([b.title for b in ada.books])
        ada.books[0].pages += 1
        ada.books.append(Book(title='Three', pages=3))
        s.commit()
        del ada.books[1]
        s.commit()
        seen.append(rows(s.execute(select(Book.title, Book.pages, Author.name).join(Author).order_by(Book.id))))
        s.delete(ada)
        s.commit()
        seen.append(s.scalar(select(func.count()).select_from(Book)))
    return row(seen)


def f_types():
    with Session(engine) as s:
        t = Things(price=VALUES[2], raw=VALUES[4], at=VALUES[5], doc=VALUES[6], ints=VALUES[7], yes=True)
        s.add(t)
        s.commit()
        s.refresh(t)
        return row((t.price, t.raw, t.at, t.doc, t.ints, t.yes))


def f_transactions():
    seen = []
    with Session(engine) as s:
        s.add(Author(name='kept'))
        try:
            with s.begin_nested():
                s.add(Author(name='Bob'))
        except exc.IntegrityError as e:
            seen.append(e.orig.pgcode)
        with s.begin_nested():
            s.add(Author(name='kept too'))
        s.commit()
        s.add(Author(name='lost'))
        s.flush()
        s.rollback()
        seen.append(rows(s.execute(select(Author.name).order_by(Author.name))))
    return row(seen)


def f_batch():
    with Session(engine) as s:
        a = Author(name='many', books=[Book(title='t%d' % i, pages=i) for i in range(500)])
        s.add(a)
        s.commit()
        got = s.execute(select(func.count(), func.sum(Book.pages)).where(Book.author_id == a.id)).one()
        s.execute(sa.update(Book).where(Book.pages < 100).values(pages=Book.pages + 1))
        s.commit()
        s.delete(a)
        s.commit()
    return row(got)


def f_cursor():
    with engine.connect().execution_options(stream_results=True, yield_per=50) as c:
        return sum(r[0] for r in c.execute(text('SELECT generate_series(1, 1000)')))


def f_errors():
    seen = []
    with engine.connect().execution_options(isolation_level='AUTOCOMMIT') as c:
        for t in 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)':
            try:
                c.execute(text(t))
            except exc.DBAPIError as e:
                seen.append('%s %s' % (type(e).__name__, e.orig.pgcode))
            seen.append(c.scalar(text('SELECT 1')))
    return row(seen)


def f_settings():
    """An isolation level per connection, and a search_path by an event."""
    e = sa.create_engine(URL, pool_size=2, max_overflow=0, isolation_level='REPEATABLE READ', future=True)

    @sa.event.listens_for(e, 'connect')
    def set_up(dbapi_connection, _):
        with dbapi_connection.cursor() as k:
            k.execute('SET search_path = schema_%s, public' % RUN)
            k.execute("SET statement_timeout = '31s'")
        dbapi_connection.commit()

    show = text("SELECT current_setting('search_path'), current_setting('statement_timeout'), "
                "current_setting('transaction_isolation')")
    seen, other = [], []
    for _ in range(10):
        # one transaction inside another, never three: the servers are few
        with e.connect() as a, e.connect() as b:
            seen += [row(x.execute(show).one()) for x in (a, b)]
        with engine.connect() as c:
            other.append(row(c.execute(show).one()))
    e.dispose()
    return '%s; others: %s' % (distinct(seen), distinct(other))


def f_temp():
    t = sa.Table('temp_' + RUN, sa.MetaData(), sa.Column('i', sa.Integer), prefixes=['TEMPORARY'])
    with engine.connect() as c, engine.connect() as d:
        t.create(c)
        c.commit()
        for i in range(10):
            c.execute(t.insert(), {'i': i})
            c.commit()
            d.execute(text('SELECT 1'))
            d.commit()
        got = c.scalar(select(func.sum(t.c.i)))
        t.drop(c)
        c.commit()
    return got


def f_pool():
    total = 0
    for i in range(40):
        with Session(engine) as s, s.begin():
            total += s.scalar(select(sa.literal(i)))
    engine.dispose()
    Base.metadata.drop_all(engine)
    return total


if __name__ == '__main__':
    features.main('SQLAlchemy %s, psycopg2' % sa.__version__, globals())
