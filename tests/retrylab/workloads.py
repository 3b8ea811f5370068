"""What the laboratory of retries runs: transactions that get in each other's way,
and what must hold when they have ended.

Each is a pgbench script, and each writes down in a table what it has done and at
which isolation level, so that the tables can be compared with each other and with
the number of COMMITs that clients were told of.

So that serializable transactions fail for what they do and not for what lies next
to it: tables have 10,000 rows and an index, the rows that are fought over lie on
pages of their own (of the table and of the index), and updates find room on their
page (fillfactor), so that the index is left alone. plans() asks the server whether
it really goes by the index. Only pgbench's own branches and tellers are small, as
they are meant to be: everybody fights over the one branch.

SPDX-License-Identifier: ISC
"""
import collections

ROWS = 10000                # of each table
HOT, STEP = 8, 1000         # counters that are fought over: 1000, 2000 ... 8000
ACCOUNTS, SPREAD, BALANCE = 50, 200, 100
SHIFTS, GAP = 16, 500
TRIES = 20                  # of a client with a loop of its own

SERIALIZABLE, REPEATABLE = 'serializable', 'repeatable read'
LEVELS = (SERIALIZABLE, REPEATABLE)

SCHEMA = '''
CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL, pad text NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE log (k int NOT NULL, m bigint NOT NULL, %(level)s);
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL, pad text NOT NULL)
    WITH (fillfactor = 50);
CREATE TABLE transfers (a int NOT NULL, b int NOT NULL, x int NOT NULL, %(level)s);
CREATE TABLE oncall (shift int, doc int, on_call bool NOT NULL, pad text NOT NULL,
                     PRIMARY KEY (shift, doc)) WITH (fillfactor = 50);
CREATE TABLE tickets (id bigserial PRIMARY KEY, k int NOT NULL);
ALTER TABLE pgbench_history ALTER filler SET DEFAULT current_setting('transaction_isolation');
INSERT INTO counters SELECT i, 0, repeat('x', 100) FROM generate_series(1, %(rows)d) i;
INSERT INTO accounts SELECT i, %(balance)d, repeat('x', 100) FROM generate_series(1, %(rows)d) i;
INSERT INTO oncall SELECT i, d, true, repeat('x', 100)
    FROM generate_series(1, %(rows)d) i, generate_series(1, 2) d;
''' % {'rows': ROWS, 'balance': BALANCE,
       'level': "level text DEFAULT current_setting('transaction_isolation')"}

# As if nobody had been here.
RESET = '''
TRUNCATE log, transfers, tickets, pgbench_history;
UPDATE counters SET n = 0 WHERE n <> 0;
UPDATE accounts SET balance = %d WHERE balance <> %d;
UPDATE oncall SET on_call = true WHERE NOT on_call;
UPDATE pgbench_accounts SET abalance = 0 WHERE abalance <> 0;
UPDATE pgbench_branches SET bbalance = 0;
UPDATE pgbench_tellers SET tbalance = 0;
VACUUM ANALYZE counters, log, accounts, transfers, oncall, tickets,
    pgbench_history, pgbench_accounts, pgbench_branches, pgbench_tellers;
''' % (BALANCE, BALANCE)

# Each must go by its index: a sequential scan locks the whole table.
BY_INDEX = ('SELECT n FROM counters WHERE id = 1000',
            'UPDATE counters SET n = n + 1 WHERE id = 1000',
            'SELECT balance FROM accounts WHERE id = 200 FOR UPDATE',
            'UPDATE accounts SET balance = balance + 1 WHERE id = 200',
            'SELECT count(*) FILTER (WHERE on_call) FROM oncall WHERE shift = 500',
            'UPDATE oncall SET on_call = false WHERE shift = 500 AND doc = 1',
            'UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 7')


def plans(pg):
    """What does not go by an index, or shares a page with another hot row."""
    bad = []
    for sql in BY_INDEX:
        plan = '\n'.join(r[0] for r in pg.sql('EXPLAIN ' + sql))
        if 'Index' not in plan or 'Seq Scan' in plan:
            bad.append('%s: %s' % (sql, plan))
    for table, where in (('counters', 'id %% %d = 0 AND id <= %d' % (STEP, HOT * STEP)),
                         ('accounts', 'id %% %d = 0 AND id <= %d' % (SPREAD, ACCOUNTS * SPREAD)),
                         ('oncall', 'doc = 1 AND shift %% %d = 0 AND shift <= %d' %
                          (GAP, SHIFTS * GAP))):
        if pg.one('SELECT count(*) - count(DISTINCT (ctid::text::point)[0]) FROM %s WHERE %s' %
                  (table, where)) != '0':
            bad.append('%s: hot rows share a page' % table)
    return bad


# ---- what must hold -------------------------------------------------------------------------

class Numbers(dict):
    """What the tables say after a run; complain() collects what should be otherwise."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.bad = []

    def same(self, name, should, what):
        if self[name] != should:
            self.bad.append('%s: %d, and should be %d' % (what, self[name], should))

    def rows(self, acked, level):
        """One row for each COMMIT that was acknowledged, written at that level."""
        self.same('rows', acked, 'rows written down against COMMITs acknowledged')
        for x in LEVELS:
            self.same('rows at ' + x, acked if x == level else 0, 'rows written at ' + x)


def check_tpcb(v, acked, level):
    v.rows(acked, level)
    for name in ('accounts', 'branches', 'tellers'):
        v.same(name, v['history'], 'sum over %s against sum over the history' % name)


def check_counters(v, acked, level):
    v.same('total', acked, 'sum of the counters against COMMITs acknowledged')
    v.same('cold', 0, 'sum of the counters that nobody counts with')
    if 'rows' in v:
        v.rows(acked, level)
    for name, what in (('wrong', 'counters that are not what the log says'),
                       ('twice', 'values that were written twice'),
                       ('strangers', 'tickets whose number the client was not told')):
        if name in v:
            v.same(name, 0, what)


def check_bank(v, acked, level):
    v.rows(acked, level)
    v.same('total', ROWS * BALANCE, 'money in the bank')
    v.same('wrong', 0, 'accounts that are not what the transfers say')
    v.same('negative', 0, 'accounts below nothing')


def check_skew(v, acked, level):
    v.rows(acked, level)
    if level == SERIALIZABLE:   # below it, write skew is what one gets
        v.same('nobody', 0, 'shifts with nobody on call')


def _rows(table, column='level'):
    out = {'rows': 'SELECT count(*) FROM ' + table}
    for x in LEVELS:
        out['rows at ' + x] = "SELECT count(*) FROM %s WHERE %s = '%s'" % (table, column, x)
    return out


TPCB_NUMBERS = {
    **_rows('pgbench_history', 'filler'),
    'history': 'SELECT coalesce(sum(delta), 0) FROM pgbench_history',
    'accounts': 'SELECT sum(abalance) FROM pgbench_accounts',
    'branches': 'SELECT sum(bbalance) FROM pgbench_branches',
    'tellers': 'SELECT sum(tbalance) FROM pgbench_tellers',
}

COUNTED = {
    'total': 'SELECT sum(n) FROM counters',
    'cold': 'SELECT coalesce(sum(n), 0) FROM counters WHERE id %% %d <> 0 OR id > %d' %
            (STEP, HOT * STEP),
}

LOGGED = {
    **COUNTED, **_rows('log'),
    'wrong': 'SELECT count(*) FROM counters c WHERE n <> (SELECT count(*) FROM log WHERE k = c.id) '
             'AND id %% %d = 0' % STEP,
}

# Each value of each counter was written by one transaction.
ONCE = {**LOGGED, 'twice': 'SELECT count(*) - count(DISTINCT (k, m)) FROM log'}

# The number that the client was told is in the log, and is the ticket's.
TICKETS = {
    **LOGGED,
    'strangers': 'SELECT count(*) FROM tickets t FULL JOIN log l ON t.id = l.m AND t.k = l.k '
                 'WHERE t.id IS NULL OR l.m IS NULL',
}

BANK_NUMBERS = {
    **_rows('transfers'),
    'total': 'SELECT sum(balance) FROM accounts',
    'negative': 'SELECT count(*) FROM accounts WHERE balance < 0',
    'wrong': 'SELECT count(*) FROM accounts c '
             'LEFT JOIN (SELECT a, sum(x) AS s FROM transfers GROUP BY a) o ON o.a = c.id '
             'LEFT JOIN (SELECT b, sum(x) AS s FROM transfers GROUP BY b) i ON i.b = c.id '
             'WHERE balance <> %d - coalesce(o.s, 0) + coalesce(i.s, 0)' % BALANCE,
}

SKEW_NUMBERS = {
    **_rows('log'),
    # seen by a transaction and written down, or so at the end
    'nobody': 'SELECT (SELECT count(*) FROM log WHERE m = 0) + (SELECT count(*) FROM '
              '(SELECT 1 FROM oncall GROUP BY shift HAVING NOT bool_or(on_call)) s)',
}


# ---- scripts --------------------------------------------------------------------------------

HOT_ID = '\\set k %d * random(1, %d)\n' % (STEP, HOT)

BLIND = HOT_ID + '''BEGIN;
UPDATE counters SET n = n + 1 WHERE id = :k;
INSERT INTO log (k, m) VALUES (:k, 0);
COMMIT;
'''

# The client computes the new value from what it has read.
RMW = HOT_ID + '''BEGIN;
SELECT n FROM counters WHERE id = :k%s \\gset
\\set m :n + 1
UPDATE counters SET n = :m WHERE id = :k;
INSERT INTO log (k, m) VALUES (:k, :m);
COMMIT;
'''

IMPLICIT = HOT_ID + 'UPDATE counters SET n = n + 1 WHERE id = :k;\n'

# The client is told a number that will never come again.
TICKET = HOT_ID + '''BEGIN;
INSERT INTO tickets (k) VALUES (:k) RETURNING id AS t \\gset
UPDATE counters SET n = n + 1 WHERE id = :k;
INSERT INTO log (k, m) VALUES (:k, :t);
COMMIT;
'''

BANK = '''\\set i random(1, %(n)d)
\\set j (:i + random(1, %(n)d - 1) - 1) %% %(n)d + 1
\\set a :i * %(spread)d
\\set b :j * %(spread)d
\\set x random(1, 10)
BEGIN;
SELECT balance AS have FROM accounts WHERE id = :a%(lock)s \\gset
\\if :have >= :x
UPDATE accounts SET balance = balance - :x WHERE id = :a;
UPDATE accounts SET balance = balance + :x WHERE id = :b;
\\else
\\set x 0
\\endif
INSERT INTO transfers (a, b, x) VALUES (:a, :b, :x);
COMMIT;
'''

# Two doctors to a shift. Who sees both on call leaves; who sees one calls the other.
# Nobody on call is written down, and both are called.
SKEW = '''\\set s %d * random(1, %d)
\\set d random(1, 2)
BEGIN;
SELECT count(*) FILTER (WHERE on_call) AS c FROM oncall WHERE shift = :s \\gset
\\if :c = 2
UPDATE oncall SET on_call = false WHERE shift = :s AND doc = :d;
\\else
UPDATE oncall SET on_call = true WHERE shift = :s AND NOT on_call;
\\endif
INSERT INTO log (k, m) VALUES (:s, :c);
COMMIT;
''' % (GAP, SHIFTS)

# Each client has rows of its own, and nothing ever conflicts.
CALM = '''\\set id :client_id * 1000 + random(1, 900)
BEGIN;
SELECT n FROM counters WHERE id = :id;
UPDATE counters SET n = n + 1 WHERE id = :id;
INSERT INTO log (k, m) VALUES (:id, 0);
COMMIT;
'''


def bank(lock=''):
    return BANK % {'n': ACCOUNTS, 'spread': SPREAD, 'lock': lock}


class Workload(collections.namedtuple('Workload', 'name text script numbers check clients tries')):
    """script: None for pgbench's own TPC-B. tries: how often a client tries by itself."""

    def read(self, pg):
        with pg.connect() as c:
            return Numbers((k, int(c.one(sql))) for k, sql in self.numbers.items())

    def violations(self, numbers, acked, level):
        numbers.bad = []
        self.check(numbers, acked, level)
        return numbers.bad


def _w(name, text, script, numbers, check, clients=8, tries=1):
    return Workload(name, text, script, numbers, check, clients, tries)


WORKLOADS = [
    _w('tpcb', 'TPC-B, scale 1', None, TPCB_NUMBERS, check_tpcb),
    _w('tpcb-24', 'TPC-B, scale 1, 24 clients', None, TPCB_NUMBERS, check_tpcb, 24),
    _w('blind', 'counter n = n + 1 and an insert', BLIND, LOGGED, check_counters),
    _w('bank', 'transfer: read the balance, move money', bank(), BANK_NUMBERS, check_bank),
    _w('bank-lock', 'transfer, read FOR UPDATE', bank(' FOR UPDATE'), BANK_NUMBERS, check_bank),
    _w('rmw', 'counter, the client computes n + 1', RMW % '', ONCE, check_counters),
    _w('rmw-lock', 'the same counter, read FOR UPDATE', RMW % ' FOR UPDATE', ONCE, check_counters),
    _w('implicit', 'UPDATE n = n + 1, no BEGIN', IMPLICIT, COUNTED, check_counters),
    _w('skew', 'doctors on call, write skew', SKEW, SKEW_NUMBERS, check_skew),
    _w('ticket', 'INSERT ... RETURNING id, then a counter', TICKET, TICKETS, check_counters),
    _w('bank-loop', 'transfer, client tries %d times itself' % TRIES, bank(), BANK_NUMBERS,
       check_bank, 8, TRIES),
]
