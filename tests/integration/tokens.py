# SPDX-License-Identifier: ISC
"""Transactions with tokens, and the judgement of what was told about them.

Each transaction reads a counter (its client sees the value), stores a token with that
value and adds one to the counter. So for each counter, whatever happened:

    the counter            = the number of its tokens     (all or nothing)
    the values with them   = 0, 1, 2, ... each once       (what was read still held)
    a token acknowledged   is there once
    ... refused            is not there: any error but 40003, or a connection that was
                             lost before COMMIT was sent
    ... unknown            is there at most once: 40003, or the connection was lost

Nothing in the tables keeps a token from being there twice.
"""
import collections

import wire
from cluster import until

SCHEMA = '''
DROP TABLE IF EXISTS tokens, counters;
CREATE TABLE tokens (t text NOT NULL, k int NOT NULL, was int NOT NULL);
CREATE INDEX ON tokens (t);
CREATE TABLE counters (k int PRIMARY KEY, n int NOT NULL) WITH (fillfactor = 50);
INSERT INTO counters SELECT i, 0 FROM generate_series(0, 9) i;
'''
UNKNOWN = '40003'


# ---- what is said ---------------------------------------------------------------------

def read(k, lock=''):
    return 'SELECT n FROM counters WHERE k = %d%s' % (k, lock)


def store(t, k, was=None):
    if was is None:
        return "INSERT INTO tokens SELECT '%s', k, n FROM counters WHERE k = %d" % (t, k)
    return "INSERT INTO tokens VALUES ('%s', %d, %s)" % (t, k, was)


def add(k):
    return 'UPDATE counters SET n = n + 1 WHERE k = %d' % k


def at_once(t, k):
    return ("WITH u AS (UPDATE counters SET n = n + 1 WHERE k = %d RETURNING k, n - 1 AS was) "
            "INSERT INTO tokens SELECT '%s', k, was FROM u RETURNING was" % (k, t))


# ---- and how --------------------------------------------------------------------------
# A way takes groups of statements, each of which ends in ReadyForQuery:
# (bytes, how many ReadyForQuery).

def simple(*sqls):
    return wire.query('; '.join(sqls)), 1


def extended(*sqls):
    return b''.join(wire.extended(s) for s in sqls) + wire.sync(), 1


def named(*sqls):
    """Statements of the protocol with names, given anew each time."""
    return b''.join(wire.close('S', 's%d' % i) + wire.parse(s, 's%d' % i) + wire.bind((), 's%d' % i) +
                    wire.describe() + wire.execute() for i, s in enumerate(sqls)) + wire.sync(), 1


def pipelined(way, *groups):
    """Several groups in one write."""
    parts = [way(*g) for g in groups]
    return b''.join(p[0] for p in parts), len(parts)


class Shape:
    """How a transaction is cut into what is sent at once. units(t, k) is a generator
    that yields (bytes, ReadyForQuerys, commits) and is sent the rows of the answer."""

    def __init__(self, units, end='COMMIT'):
        self.units, self.end = units, end
        self.name = units.__qualname__.split('.')[0]


def separate(way, begin='BEGIN', lock='', end='COMMIT'):
    """Each statement alone."""
    def units(t, k):
        yield (*way(begin), False)
        rows = yield (*way(read(k, lock)), False)
        yield (*way(store(t, k, rows[0][0])), False)
        yield (*way(add(k)), False)
        yield (*way(end), True)
    return units


def joined(way, begin='BEGIN', lock=''):
    """BEGIN goes with the first statement, COMMIT with the last."""
    def units(t, k):
        rows = yield (*way(begin, read(k, lock)), False)
        yield (*way(store(t, k, rows[0][0])), False)
        yield (*way(add(k), 'COMMIT'), True)
    return units


def whole(way, begin='BEGIN', lock=''):
    """All of it in one."""
    def units(t, k):
        yield (*way(begin, read(k, lock), store(t, k), add(k), 'COMMIT'), True)
    return units


def separate_at_once(way, begin='BEGIN', lock=''):
    """Each statement with a ReadyForQuery of its own, all in one write."""
    def units(t, k):
        yield (*pipelined(way, [begin], [read(k, lock)], [store(t, k)], [add(k)], ['COMMIT']), True)
    return units


def joined_at_once(way, begin='BEGIN', lock=''):
    """BEGIN goes with the first statement, COMMIT with the last, all in one write."""
    def units(t, k):
        yield (*pipelined(way, [begin, read(k, lock)], [store(t, k)], [add(k), 'COMMIT']), True)
    return units


def implicit(way):
    """No BEGIN; several statements."""
    def units(t, k):
        yield (*way(read(k), store(t, k), add(k)), True)
    return units


def single(way):
    """No BEGIN; one statement."""
    def units(t, k):
        yield (*way(at_once(t, k)), True)
    return units


WAYS = {'simple': simple, 'extended': extended, 'named': named}
SHAPES = {
    **{w + '-separate': Shape(separate(WAYS[w])) for w in WAYS},
    **{w + '-joined': Shape(joined(WAYS[w])) for w in WAYS},
    **{w + '-whole': Shape(whole(WAYS[w])) for w in ('simple', 'extended')},
    **{w + '-pipelined': Shape(separate_at_once(WAYS[w])) for w in ('simple', 'extended')},
    **{w + '-joined-pipelined': Shape(joined_at_once(WAYS[w])) for w in ('simple', 'extended')},
    'extended-rollback': Shape(separate(extended, end='ROLLBACK'), 'ROLLBACK'),
    'simple-implicit': Shape(implicit(simple), 'UPDATE 1'),
    'extended-implicit': Shape(implicit(extended), 'UPDATE 1'),
    'simple-single': Shape(single(simple), 'INSERT 0 1'),
    'extended-single': Shape(single(extended), 'INSERT 0 1'),
}


# ---- who says it ----------------------------------------------------------------------

class Outcome:
    """What a client was told about one transaction."""

    def __init__(self, shape):
        self.shape = shape
        self.codes = []         # SQLSTATEs, in order
        self.tags = []
        self.closed = False
        self.sent = []          # for each unit sent: does it commit?
        self.statuses = ''

    committing = property(lambda self: any(self.sent))

    def __repr__(self):
        return '%s: %s%s after %d units, %s, status %s' % (
            self.shape.name, self.codes or 'no error', ', closed' if self.closed else '',
            len(self.sent), self.tags, self.statuses)


class Client:
    """A connection that plays transactions, and opens itself again when it must."""

    def __init__(self, port, timeout=30, **login):
        self.port, self.timeout, self.kw = port, timeout, login
        self.conn = None

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.hang_up()

    def hang_up(self, reset=False):
        if self.conn:
            (self.conn.reset if reset else self.conn.close)()
        self.conn = None

    def play(self, shape, t, k, leave=None):
        """Runs it to its end or its first error, out of which it rolls back. `leave`:
        resets the connection when that many units were sent."""
        out = Outcome(shape)
        units = shape.units(t, k)
        try:
            if not self.conn:
                self.conn = wire.Conn(self.port, timeout=self.timeout, **self.kw)
            rows = None
            while True:
                try:
                    data, readies, commits = units.send(rows)
                except StopIteration:
                    return out
                out.sent.append(commits)
                self.conn.send(data)
                if leave == len(out.sent):
                    self.hang_up(reset=True)
                    out.closed = True
                    return out
                rows = self.answer(out, readies)
                if out.codes:
                    self.roll_back(out)
                    return out
        except (wire.Closed, ConnectionError):
            self.hang_up()
            out.closed = True
        return out

    def roll_back(self, out):
        """Twice if it must be: the server may go, with words, while the first is on its way."""
        for _ in range(2):
            if out.statuses[-1] != 'I':
                self.conn.send(wire.query('ROLLBACK'))
                self.answer(out, 1)

    def answer(self, out, readies):
        rows = []
        while readies:
            m = self.conn.read()
            if m[0] == 'D':
                rows.append(m[1])
            elif m[0] == 'C':
                out.tags.append(m[1])
            elif m[0] == 'E':
                out.codes.append(m[1]['C'])
            elif m[0] == 'Z':
                out.statuses += m[1]
                readies -= 1
        return rows


# ---- who judges -----------------------------------------------------------------------

class Ledger:
    """What was told, to be compared with what is there."""

    def __init__(self):
        self.told = collections.defaultdict(dict)       # acknowledged, ...: token: Outcome
        self.codes = collections.Counter()
        self.wrong = []

    def enter(self, t, out):
        """Files t under what its client may believe; returns under what."""
        self.codes.update(out.codes[:1])
        if out.statuses and out.statuses[-1] != 'I' and not out.closed:
            self.wrong.append('%s: left in status %s: %r' % (t, out.statuses[-1], out))
        what = self.what(t, out)
        self.told[what][t] = out
        return what

    def what(self, t, out):
        if UNKNOWN in out.codes[:1]:
            return 'unknown'
        if out.codes:
            return 'refused'
        if out.closed:
            return 'unknown' if out.committing else 'refused'
        end = out.shape.end
        if out.tags[-1:] != [end]:
            self.wrong.append('%s: ends with %r, not %s' % (t, out, end))
        return 'refused' if end == 'ROLLBACK' else 'acknowledged'

    def check(self, pg):
        """All that is wrong in the tables; nothing may still be under way."""
        until(lambda: pg.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND "
                             "backend_type = 'client backend' AND state <> 'idle'") == '0',
              30, why='what was left behind to end')
        there = collections.Counter(r[0] for r in pg.sql('SELECT t FROM tokens'))
        bad = list(self.wrong)
        for what, least, most in (('acknowledged', 1, 1), ('refused', 0, 0), ('unknown', 0, 1)):
            bad += ['%s (%s) is there %d times: %r' % (t, what, there[t], out)
                    for t, out in self.told[what].items() if not least <= there[t] <= most]
        told = {t for ts in self.told.values() for t in ts}
        bad += ['%s was never asked for' % t for t in there if t not in told]
        for k, n, have, was in pg.sql(
                'SELECT k, n, (SELECT count(*) FROM tokens t WHERE t.k = c.k), '
                '(SELECT string_agg(was::text, \',\' ORDER BY was) FROM tokens t WHERE t.k = c.k) '
                'FROM counters c ORDER BY k'):
            if n != have:
                bad.append('counter %s is %s, and there are %s tokens' % (k, n, have))
            if was and was != ','.join(map(str, range(int(have)))):
                bad.append('counter %s: not every value was read once: %s' % (k, odd(was)))
        return bad


def odd(was):
    """What is missing, and what is there twice."""
    n = collections.Counter(map(int, was.split(',')))
    return 'twice or more %s, missing %s' % ([v for v in n if n[v] > 1],
                                             [v for v in range(max(n) + 1) if v not in n])
