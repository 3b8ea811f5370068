"""The shop with an object-relational mapper: SQLAlchemy, its QueuePool, Flask.

SPDX-License-Identifier: ISC
"""
import contextlib
import io
import select
import threading
import time

import flask
import sqlalchemy as sa
from psycopg2 import errors
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, declarative_base, relationship
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.serving import WSGIRequestHandler, make_server

import common
from common import Problem

Base = declarative_base()
CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


class Item(Base):
    __tablename__ = 'items'
    sku = sa.Column(sa.Text, primary_key=True)
    name = sa.Column(sa.Text, nullable=False)
    price = sa.Column(sa.Integer, nullable=False)
    stock = sa.Column(sa.Integer, nullable=False)
    version = sa.Column(sa.Integer, nullable=False)
    updated_at = sa.Column(sa.DateTime(timezone=True), server_default=sa.func.now(), onupdate=sa.func.now())
    __mapper_args__ = {'version_id_col': version, 'eager_defaults': True}

    def public(self):
        return {k: getattr(self, k) for k in ('sku', 'name', 'price', 'stock', 'version', 'updated_at')}


class Customer(Base):
    __tablename__ = 'customers'
    name = sa.Column(sa.Text, primary_key=True)
    credit = sa.Column(sa.Integer, nullable=False)
    orders = relationship('Order', back_populates='who')


class Order(Base):
    __tablename__ = 'orders'
    id = sa.Column(sa.BigInteger, primary_key=True)
    customer = sa.Column(sa.Text, sa.ForeignKey('customers.name'), nullable=False)
    total = sa.Column(sa.Integer, nullable=False)
    status = sa.Column(sa.Text, server_default='new')
    created_at = sa.Column(sa.DateTime(timezone=True), server_default=sa.func.now())
    who = relationship(Customer, back_populates='orders')
    lines = relationship('Line', back_populates='order', order_by='Line.sku', cascade='all, delete-orphan')

    def public(self):
        return {'id': self.id, 'customer': self.customer, 'total': self.total, 'status': self.status}


class Line(Base):
    __tablename__ = 'lines'
    order_id = sa.Column(sa.BigInteger, sa.ForeignKey('orders.id'), primary_key=True)
    sku = sa.Column(sa.Text, sa.ForeignKey('items.sku'), primary_key=True)
    qty = sa.Column(sa.Integer, nullable=False)
    price = sa.Column(sa.Integer, nullable=False)
    order = relationship(Order, back_populates='lines')
    item = relationship(Item)


# ---- the engine ------------------------------------------------------------------------

def set_timeout(raw, _record):
    """Every new connection of the pool."""
    cur = raw.cursor()
    cur.execute("SET statement_timeout = '%s'" % common.STATEMENT_TIMEOUT)
    cur.close()
    raw.commit()


def engine_for(dsn):
    engine = sa.create_engine(dsn, pool_size=common.POOL_SIZE, max_overflow=0, pool_timeout=30,
                              pool_pre_ping=True, future=True)
    sa.event.listen(engine, 'connect', set_timeout)
    return engine


class Shop:
    """One method for each route: takes a request, gives (status, answer)."""

    def __init__(self, dsn):
        self.engine = engine_for(dsn)
        self.at = {level: self.engine.execution_options(isolation_level=level)
                   for level in ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE', 'AUTOCOMMIT')}

    def run(self, fn, *args, isolation='READ COMMITTED'):
        """fn(session, ...) in a transaction, again while it fails to serialize."""
        for attempt in range(common.ATTEMPTS):
            try:
                with Session(self.at[isolation], future=True) as session, session.begin():
                    return fn(session, *args)
            except DBAPIError as e:
                if not isinstance(e.orig, CONFLICTS):
                    raise
            time.sleep(common.backoff(attempt))
        raise Problem(503, 'too many conflicts')

    def one(self, sql, isolation='READ COMMITTED'):
        return self.run(lambda s: dict(s.execute(sa.text(sql)).mappings().one()), isolation=isolation)

    @contextlib.contextmanager
    def driver(self):
        """The driver's own connection, for what the mapper has no words for."""
        raw = self.engine.raw_connection()
        try:
            yield raw.driver_connection
            raw.commit()
        finally:
            raw.close()         # goes back to the pool

    # ---- what operators ask

    def health(self, _):
        start = time.monotonic()
        try:
            with self.at['AUTOCOMMIT'].connect() as conn:
                name = conn.scalar(sa.text('SELECT current_database()'))
        except sa.exc.SQLAlchemyError as e:
            return 503, common.health('unhealthy', start, time.monotonic(), error=str(e))
        return 200, common.health('healthy', start, time.monotonic(), database=name)

    def settings(self, _):
        return 200, self.one(common.SETTINGS)

    def audit(self, _):
        return 200, self.one(common.AUDIT, isolation='REPEATABLE READ')

    # ---- items

    def item_create(self, request):
        def body(session):
            item = Item(**request.json())
            session.add(item)
            session.flush()
            return item.public()
        try:
            return 201, self.run(body)
        except IntegrityError as e:
            taken = isinstance(e.orig, errors.UniqueViolation)
            raise Problem(409 if taken else 422, 'exists' if taken else 'invalid',
                          constraint=e.orig.diag.constraint_name) from e

    def item_list(self, _):
        return 200, self.run(lambda s: [i.public() for i in s.scalars(sa.select(Item).order_by(Item.sku))])

    def item_get(self, request):
        def body(session):
            item = session.get(Item, request.args['sku'])
            if not item:
                raise Problem(404, 'no such item')
            return item.public()
        return 200, self.run(body)

    def item_update(self, request):
        """Only if nobody else was faster: the mapper's version column."""
        def body(session):
            change = request.json()
            item = session.get(Item, request.args['sku'])
            if not item:
                raise Problem(404, 'no such item')
            if item.version != change.pop('version'):
                raise Problem(409, 'conflict', version=item.version)
            for key, value in change.items():
                setattr(item, key, value)
            session.flush()
            return item.public()
        try:
            return 200, self.run(body)
        except StaleDataError as e:
            _, now = self.item_get(request)
            raise Problem(409, 'conflict', version=now['version']) from e

    def item_delete(self, request):
        def body(session):
            item = session.get(Item, request.args['sku'])
            if not item:
                raise Problem(404, 'no such item')
            session.delete(item)
        self.run(body)
        return 204, None

    def item_bulk(self, request):
        items = [dict(i, version=1) for i in request.json()]
        self.run(lambda s: s.bulk_insert_mappings(Item, items))
        return 201, {'inserted': len(items)}

    def item_upsert(self, request):
        new = insert(Item).values([dict(i, version=1) for i in request.json()])
        upsert = new.on_conflict_do_update(index_elements=[Item.sku], set_={
            'name': new.excluded.name, 'price': new.excluded.price,
            'stock': Item.stock + new.excluded.stock, 'version': Item.version + 1}).returning(Item.version)
        got = self.run(lambda s: s.execute(upsert).scalars().all())
        return 200, {'inserted': got.count(1), 'updated': len(got) - got.count(1)}

    def item_import(self, request):
        try:
            with self.driver() as conn, conn.cursor() as cur:
                cur.copy_expert(common.COPY_IN, io.BytesIO(request.body))
                return 201, {'copied': cur.rowcount}
        except errors.DataError as e:
            raise Problem(400, 'bad data', code=e.pgcode) from e

    def item_export(self, _):
        out = io.BytesIO()
        with self.driver() as conn, conn.cursor() as cur:
            cur.copy_expert(common.COPY_OUT, out)
        return 200, out.getvalue()

    # ---- orders

    def customer_create(self, request):
        def body(session):
            who = session.merge(Customer(**request.json()))
            return {'name': who.name, 'credit': who.credit}
        return 201, self.run(body)

    def order_create(self, request):
        return 201, self.run(self.place, request.json(), isolation='SERIALIZABLE')

    def place(self, session, wanted):
        lines = [self.take(session, ln) for ln in wanted['lines']]
        total = sum(ln.qty * ln.price for ln in lines)
        who = session.get(Customer, wanted['customer'])
        spent = sum(o.total for o in who.orders) if who else 0      # loaded now
        common.check_order(total, spent, who and who.credit)
        return self.store(session, wanted['customer'], total, lines)

    @staticmethod
    def take(session, line):
        """Takes the goods off the shelf."""
        item = session.get(Item, line['sku'])
        if not item or item.stock < line['qty']:
            raise Problem(409, 'out of stock', sku=line['sku'])
        item.stock -= line['qty']
        return Line(sku=item.sku, qty=line['qty'], price=item.price)

    @staticmethod
    def store(session, customer, total, lines):
        order = Order(customer=customer, total=total, lines=lines)
        session.add(order)
        session.flush()
        session.execute(sa.select(sa.func.pg_notify('orders', str(order.id))))
        return order.public()

    def order_lenient(self, request):
        """What cannot be had is left out: each line in a savepoint."""
        return 201, self.run(self.place_what_is_there, request.json())

    def place_what_is_there(self, session, wanted):
        lines, skipped = [], []
        for ln in wanted['lines']:
            try:
                with session.begin_nested():
                    item = session.get(Item, ln['sku'], with_for_update=True)
                    item.stock -= ln['qty']
                lines.append(Line(sku=item.sku, qty=ln['qty'], price=item.price))
            except IntegrityError:
                skipped.append(ln['sku'])
        total = sum(ln.qty * ln.price for ln in lines)
        return {**self.store(session, wanted['customer'], total, lines), 'skipped': skipped}

    def order_list(self, _):
        return 200, self.run(lambda s: [dict(r) for r in s.execute(sa.text(common.SUMMARY)).mappings()])

    def order_get(self, request):
        def body(session):
            order = session.get(Order, int(request.args['id']))
            if not order:
                raise Problem(404, 'no such order')
            # the lines, and the item of each, are loaded when they are touched
            return {**order.public(), 'lines': [
                {'sku': ln.sku, 'name': ln.item.name, 'qty': ln.qty, 'price': ln.price} for ln in order.lines]}
        return 200, self.run(body)

    # ---- tenants

    @contextlib.contextmanager
    def as_tenant(self, request, setting):
        """A connection with the tenant set: for one transaction, or for as long
        as this request has the connection."""
        tenant = common.tenant_of(request)
        if not request.per_session():
            with self.at['READ COMMITTED'].begin() as conn:
                conn.execute(sa.select(sa.func.set_config(setting, tenant, True)))
                yield conn
            return
        with self.at['AUTOCOMMIT'].connect() as conn:
            conn.execute(sa.text("SET %s = '%s'" % (setting, tenant)))
            try:
                yield conn
            finally:
                conn.execute(sa.text('RESET ' + setting))

    def note_add(self, request):
        with self.as_tenant(request, 'app.tenant') as conn:
            return 201, dict(conn.execute(sa.text('INSERT INTO notes (body) VALUES (:body) RETURNING tenant, body'),
                                          request.json()).mappings().one())

    def note_list(self, request):
        with self.as_tenant(request, 'app.tenant') as conn:
            count = conn.scalar(sa.text('SELECT count(*) FROM notes'))
            notes = conn.execute(sa.text('SELECT tenant, body FROM notes ORDER BY body')).mappings()
            return 200, {'count': count, 'notes': [dict(n) for n in notes]}

    def pref_set(self, request):
        with self.as_tenant(request, 'search_path') as conn:
            return 200, dict(conn.execute(sa.text(
                'INSERT INTO prefs VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value '
                'RETURNING key, value'), {**request.args, **request.json()}).mappings().one())

    def pref_get(self, request):
        with self.as_tenant(request, 'search_path') as conn:
            return 200, dict(conn.execute(sa.text('SELECT key, value FROM prefs WHERE key = :key'),
                                          request.args).mappings().first() or {})

    # ---- reports

    def report_sales(self, request):
        session = request.per_session()
        level, drop = ('AUTOCOMMIT', '') if session else ('READ COMMITTED', 'ON COMMIT DROP')
        with self.at[level].connect() as conn:
            conn.execute(sa.text('CREATE TEMP TABLE sales %s AS %s' % (drop, common.SALES)))
            try:
                got = [dict(r) for r in conn.execute(sa.text(common.TOP_SALES)).mappings()]
            finally:
                if session:
                    conn.execute(sa.text('DROP TABLE sales'))
            conn.commit()
        return 200, got

    def report_value(self, request):
        """Over all items, by a server-side cursor; one that outlives its
        transaction if asked for."""
        with self.engine.connect() as conn:
            sql = sa.select(Item.price, Item.stock).order_by(Item.sku)
            if request.per_session():
                values = self.held(conn, sql)
            else:
                found = conn.execute(sql.execution_options(stream_results=True, yield_per=50))
                values = [price * stock for price, stock in found]
            conn.commit()
        return 200, {'rows': len(values), 'value': sum(values)}

    @staticmethod
    def held(conn, sql):
        found = []
        conn.execute(sa.text('DECLARE items_value CURSOR WITH HOLD FOR %s' % sql))
        conn.commit()
        try:
            while True:
                more = conn.execute(sa.text('FETCH 50 FROM items_value')).all()
                conn.commit()
                if not more:
                    return found
                found += [price * stock for price, stock in more]
        finally:
            conn.execute(sa.text('CLOSE items_value'))

    def report_explain(self, _):
        sql = 'EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM items ORDER BY sku'
        plan = self.one(sql)['QUERY PLAN'][0]
        return 200, {'rows': plan['Plan']['Actual Rows'], 'timed': 'Execution Time' in plan}

    # ---- too slow

    def slow(self, request):
        session = request.per_session()
        try:
            with self.at['AUTOCOMMIT' if session else 'READ COMMITTED'].connect() as conn:
                conn.execute(sa.text("SET %s statement_timeout = '50ms'" % ('SESSION' if session else 'LOCAL')))
                try:
                    conn.execute(sa.text('SELECT pg_sleep(2)'))
                finally:
                    if session:
                        conn.execute(sa.text("SET statement_timeout = '%s'" % common.STATEMENT_TIMEOUT))
        except DBAPIError as e:
            if not isinstance(e.orig, errors.QueryCanceled):
                raise
            raise Problem(504, 'too slow', detail=e.orig.diag.message_primary) from e
        return 200, {'slept': True}

    def cancel(self, _):
        """A watchdog cancels until the query has ended."""
        ended = threading.Event()
        with self.driver() as conn, conn.cursor() as cur:
            dog = threading.Thread(target=self.watchdog, args=(conn, ended))
            dog.start()
            try:
                cur.execute('SELECT pg_sleep(10)')
            except errors.QueryCanceled as e:
                raise Problem(504, 'cancelled', detail=e.diag.message_primary) from e
            finally:
                ended.set()
                dog.join()
        return 200, {'slept': True}

    @staticmethod
    def watchdog(conn, ended):
        while not ended.wait(0.05):
            conn.cancel()


# ---- HTTP -----------------------------------------------------------------------------

def adapter(fn):
    def answer(**args):
        http = flask.request
        request = common.Request(args, dict(http.args), http.get_data(), http.headers.get('X-Tenant'))
        try:
            status, got = fn(request)
        except Problem as e:
            status, got = e.status, e.answer
        except DBAPIError as e:
            status, got = 500, {'error': e.orig.pgcode, 'detail': str(e.orig)}
        kind, data = common.encode(got)
        return flask.Response(b'' if status == 204 else data, status, content_type=kind)
    return answer


class Handler(WSGIRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_request(self, *_args):
        pass


def serve(dsn, port):
    shop, app = Shop(dsn), flask.Flask('shop')
    for method, path, name in common.ROUTES:
        rule = path.replace('{', '<').replace('}', '>')
        app.add_url_rule(rule, name, adapter(getattr(shop, name)), methods=[method])
    server = make_server('127.0.0.1', port, app, threaded=True, request_handler=Handler)
    common.say_port(server.server_port)
    server.serve_forever()


# ---- the worker, the migrations ---------------------------------------------------------

def worker(dsn):
    """Hears of new orders and marks them as seen."""
    engine = engine_for(dsn)
    ear = engine.raw_connection()       # held for good
    conn = ear.driver_connection
    conn.autocommit = True
    conn.cursor().execute('LISTEN orders')
    print('listening', flush=True)
    while True:
        select.select([conn], [], [])
        conn.poll()
        while conn.notifies:
            with Session(engine, future=True) as session, session.begin():
                session.get(Order, int(conn.notifies.pop(0).payload)).status = 'seen'


def migrate(dsn):
    """What is missing, under a lock of the session; how many steps."""
    engine = sa.create_engine(dsn, poolclass=sa.pool.NullPool, future=True)
    lock = {'lock': common.MIGRATION_LOCK}
    with engine.connect() as conn:
        conn.execute(sa.text('SELECT pg_advisory_lock(:lock)'), lock)
        conn.commit()
        try:
            done = steps(conn)
        finally:
            conn.rollback()
            kept = conn.scalar(sa.text('SELECT pg_advisory_unlock(:lock)'), lock)
            conn.commit()
    if not kept:
        raise RuntimeError('the lock was lost on the way')
    return done


def steps(conn):
    conn.execute(sa.text(common.VERSION_TABLE))
    have = conn.scalar(sa.text('SELECT count(*) FROM schema_version'))
    conn.commit()
    for n, step in enumerate(common.MIGRATIONS[have:], have + 1):
        conn.exec_driver_sql(step)
        conn.execute(sa.text('INSERT INTO schema_version VALUES (:n)'), {'n': n})
        conn.commit()
    return len(common.MIGRATIONS) - have


if __name__ == '__main__':
    common.main(serve, worker, migrate)
