"""The ORM of SQLAlchemy on asyncpg: every statement is a named one.

SPDX-License-Identifier: ISC
"""
import asyncio
import os

import sqlalchemy as sa
from sqlalchemy import exc, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import features
from features import VALUES, row, rows
from orm import Author, Base, Book, Things

URL = 'postgresql+asyncpg://%(PGUSER)s@%(PGHOST)s:%(PGPORT)s/%(PGDATABASE)s' % os.environ


class Engine:
    """One for each event loop."""

    async def __aenter__(self):
        self.engine = create_async_engine(URL, pool_size=2, pool_pre_ping=True,
                                          connect_args={'server_settings': {'application_name': 'drv'}})
        return self.engine

    async def __aexit__(self, *_):
        await self.engine.dispose()


async def f_connect():
    async with Engine() as e, e.connect() as c:
        return row((await c.execute(text("SELECT current_user, current_setting('application_name')"))).one())


async def f_crud():
    async with Engine() as e:
        async with e.begin() as c:
            await c.run_sync(Base.metadata.create_all)
        async with AsyncSession(e, expire_on_commit=False) as s:
            s.add(Author(name='Ada', books=[Book(title='One', pages=10), Book(title='Zwö 🐘')]))
            s.add(Author(name=None))
            await s.commit()
            book = (await s.execute(select(Book).filter_by(title='One'))).scalar_one()
            book.pages += 1
            await s.commit()
            seen = rows(await s.execute(select(Book.title, Book.pages, Author.name).join(Author).order_by(Book.id)))
            await s.delete(book)
            await s.commit()
            return '%s, %d' % (seen, await s.scalar(select(func.count()).select_from(Book)))


async def f_types():
    async with Engine() as e, AsyncSession(e) as s:
        t = Things(price=VALUES[2], raw=VALUES[4], at=VALUES[5], doc=VALUES[6], ints=VALUES[7], yes=True)
        s.add(t)
        await s.commit()
        await s.refresh(t)
        return row((t.price, t.raw, t.at, t.doc, t.ints, t.yes))


async def f_transactions():
    seen = []
    async with Engine() as e, AsyncSession(e) as s:
        s.add(Author(name='kept'))
        try:
            async with s.begin_nested():
                s.add(Author(name='Ada'))
        except exc.IntegrityError as x:
            seen.append(x.orig.sqlstate)
        await s.commit()
        s.add(Author(name='lost'))
        await s.flush()
        await s.rollback()
        seen.append(rows(await s.execute(select(Author.name).order_by(Author.name))))
    return row(seen)


async def f_prepared():
    """More statements than its cache of a hundred."""
    async with Engine() as e, e.connect() as c:
        total = 0
        for i in range(300):
            total += await c.scalar(text('SELECT CAST(:a AS int) + %d' % (i % 150)), {'a': i})
            await c.commit()
        return total


async def f_batch():
    async with Engine() as e, e.begin() as c:
        await c.execute(Things.__table__.insert(), [{'ints': [i], 'yes': i % 2 == 0} for i in range(300)])
        return row((await c.execute(select(func.count(), func.sum(Things.ints[1])))).one())


async def f_cursor():
    async with Engine() as e, e.connect() as c:
        return sum([r[0] async for r in await c.stream(text('SELECT generate_series(1, 1000)'))])


async def f_cancel():
    async with Engine() as e, e.connect() as c:
        try:
            await asyncio.wait_for(c.execute(text('SELECT pg_sleep(20)')), 0.3)
        except asyncio.TimeoutError:
            pass
        async with e.connect() as d:
            return 'timeout, %s' % await d.scalar(text('SELECT 1'))


async def f_errors():
    seen = []
    async with Engine() as e, e.connect() as c:
        for t in 'SELEC 1', 'SELECT * FROM nowhere', 'SELECT 1/0', 'INSERT INTO kv VALUES (1, 1)':
            try:
                await c.execute(text(t))
            except exc.DBAPIError as x:
                seen.append('%s %s' % (type(x).__name__, x.orig.sqlstate))
            await c.rollback()
            seen.append(await c.scalar(text('SELECT 1')))
    return row(seen)


async def f_pool():
    async with Engine() as e:
        async def work(i):
            async with AsyncSession(e) as s:
                return await s.scalar(select(sa.literal(i)))
        total = sum(await asyncio.gather(*[work(i) for i in range(60)]))
        async with e.begin() as c:
            await c.run_sync(Base.metadata.drop_all)
        return total


if __name__ == '__main__':
    features.main('SQLAlchemy %s, asyncpg' % sa.__version__, globals())
