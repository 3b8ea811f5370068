"""What the three forms of the shop have in common: the schema and its
migrations, the routes, the shape of requests and answers, the command line.

    DATABASE_URL=postgresql://... shop_sync.py serve|worker|migrate

The port is that of PORT, or a free one; `serve` says which in its first line.

SPDX-License-Identifier: ISC
"""
import dataclasses
import json
import os
import random
import sys

POOL_SIZE = int(os.environ.get('POOL_SIZE', '8'))
ATTEMPTS = 60               # of a transaction that fails to serialize
MIGRATION_LOCK = 7346021
TENANTS = ('acme', 'globex', 'initech')
STATEMENT_TIMEOUT = '30s'   # of every connection; each form sets it in its own way

MIGRATIONS = ['''
CREATE TABLE items (
    sku text PRIMARY KEY,
    name text NOT NULL,
    price int NOT NULL CHECK (price >= 0),
    stock int NOT NULL CHECK (stock >= 0),
    version int NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE customers (
    name text PRIMARY KEY,
    credit int NOT NULL);
CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer text NOT NULL REFERENCES customers,
    total int NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'new',
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (customer);
CREATE TABLE lines (
    order_id bigint REFERENCES orders ON DELETE CASCADE,
    sku text REFERENCES items,
    qty int NOT NULL CHECK (qty > 0),
    price int NOT NULL,
    PRIMARY KEY (order_id, sku));
''', '''
CREATE TABLE notes (
    id bigserial PRIMARY KEY,
    tenant text NOT NULL DEFAULT current_setting('app.tenant'),
    body text NOT NULL);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (tenant = current_setting('app.tenant', true));
''', '\n'.join('''
CREATE SCHEMA %s;
CREATE TABLE %s.prefs (key text PRIMARY KEY, value text NOT NULL);
''' % (t, t) for t in TENANTS)]

VERSION_TABLE = 'CREATE TABLE IF NOT EXISTS schema_version (version int PRIMARY KEY)'

SUMMARY = '''
SELECT o.customer, o.total, o.status,
       json_agg(json_build_object('sku', l.sku, 'qty', l.qty, 'price', l.price) ORDER BY l.sku) AS lines
FROM orders o JOIN lines l ON l.order_id = o.id
GROUP BY o.id ORDER BY o.id'''

AUDIT = '''
SELECT (SELECT coalesce(sum(stock), 0) FROM items) AS stock,
       (SELECT coalesce(min(stock), 0) FROM items) AS least,
       (SELECT coalesce(sum(qty), 0) FROM lines) AS sold,
       (SELECT count(*) FROM orders) AS orders,
       (SELECT coalesce(sum(total), 0) FROM orders) AS totals,
       (SELECT coalesce(sum(qty * price), 0) FROM lines) AS worth,
       (SELECT count(*) FROM customers c
         WHERE c.credit < (SELECT coalesce(sum(total), 0) FROM orders o WHERE o.customer = c.name)) AS overdrawn'''

SETTINGS = '''
SELECT current_setting('statement_timeout') AS statement_timeout,
       current_setting('search_path') AS search_path,
       coalesce(current_setting('app.tenant', true), '') AS tenant'''

SALES = 'SELECT sku, sum(qty)::int AS sold, sum(qty * price)::int AS worth FROM lines GROUP BY sku'
TOP_SALES = 'SELECT sku, sold, worth FROM sales ORDER BY worth DESC, sku LIMIT 10'

COPY_IN = 'COPY items (sku, name, price, stock) FROM STDIN (FORMAT csv, HEADER)'
EXPORT = 'SELECT sku, name, price, stock FROM items ORDER BY sku'
COPY_OUT = 'COPY (%s) TO STDOUT (FORMAT csv, HEADER)' % EXPORT

ROUTES = [
    ('GET', '/health', 'health'),
    ('GET', '/settings', 'settings'),
    ('POST', '/items', 'item_create'),
    ('GET', '/items', 'item_list'),
    ('POST', '/items/bulk', 'item_bulk'),
    ('PUT', '/items/batch', 'item_upsert'),
    ('POST', '/items/import', 'item_import'),
    ('GET', '/items/export', 'item_export'),
    ('GET', '/items/{sku}', 'item_get'),
    ('PATCH', '/items/{sku}', 'item_update'),
    ('DELETE', '/items/{sku}', 'item_delete'),
    ('POST', '/customers', 'customer_create'),
    ('POST', '/orders', 'order_create'),
    ('POST', '/orders/lenient', 'order_lenient'),
    ('GET', '/orders', 'order_list'),
    ('GET', '/orders/{id}', 'order_get'),
    ('GET', '/audit', 'audit'),
    ('POST', '/notes', 'note_add'),
    ('GET', '/notes', 'note_list'),
    ('PUT', '/prefs/{key}', 'pref_set'),
    ('GET', '/prefs/{key}', 'pref_get'),
    ('GET', '/reports/sales', 'report_sales'),
    ('GET', '/reports/value', 'report_value'),
    ('GET', '/reports/explain', 'report_explain'),
    ('GET', '/slow', 'slow'),
    ('GET', '/cancel', 'cancel'),
]


@dataclasses.dataclass
class Request:
    args: dict          # from the path
    query: dict
    body: bytes
    tenant: str

    def json(self):
        return json.loads(self.body)

    def per_session(self):
        """Whether settings and temporary things are to be the session's, or
        only the transaction's."""
        return self.query.get('scope') == 'session'


class Problem(Exception):
    """An answer that is not the one hoped for."""

    def __init__(self, status, error, **more):
        super().__init__(error)
        self.status, self.answer = status, {'error': error, **more}


def encode(answer):
    """(content type, bytes)"""
    if isinstance(answer, bytes):
        return 'text/csv', answer
    return 'application/json', json.dumps(answer, default=str).encode()


def health(status, started, now, **more):
    return {'status': status, 'latency_ms': round((now - started) * 1000, 3), **more}


def tenant_of(request):
    if request.tenant not in TENANTS:
        raise Problem(400, 'no such tenant')
    return request.tenant


def backoff(attempt):
    """Seconds to wait before a transaction is tried again."""
    return random.uniform(0, min(0.05, 0.002 * 2 ** attempt))


def check_order(total, spent, credit):
    if credit is None:
        raise Problem(404, 'no such customer')
    if spent + total > credit:
        raise Problem(402, 'over the credit limit')


def say_port(port):
    print('listening on %d' % port, flush=True)


def main(serve, worker, migrate):
    dsn = os.environ['DATABASE_URL']
    what = sys.argv[1]
    if what == 'serve':
        serve(dsn, int(os.environ.get('PORT', '0')))
    elif what == 'worker':
        worker(dsn)
    elif what == 'migrate':
        print('migrated %d steps' % migrate(dsn))
    else:
        sys.exit('usage: %s serve|worker|migrate' % sys.argv[0])
