#!/usr/bin/python3
"""Clients that append to lists and read them, and write down what they were told.

    workload.py --port N --clients N --first N --seed N --isolation LEVEL --out FILE

Each client keeps one connection and runs transactions of two to four operations on few
hot keys until standard input ends. A key's list is a text, an array, or rows with an
order; keys take turns (EPOCH), so that lists stay short. Between the hot keys lie enough
others that predicate locks are on pages of an index and not on whole tables.

How a transaction is sent differs (STYLES): by simple queries or the extended protocol,
each statement alone or all in one go, in a block or as one implicit transaction, with
savepoints, cursors, row limits, Flush. Reads come in several forms, one of them padded to a
width, so that answers with different lists have the same length.

What is written down is a line of JSON for each transaction, see `load_history`. An answer
of the wrong shape (a status that does not fit, a result that is missing) is written down
as well: {"wrong": text}.

SPDX-License-Identifier: ISC
"""
import argparse
import collections
import json
import os
import random
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'integration')]

import wire  # noqa: E402
from cluster import SLOW  # noqa: E402
from checker import FAIL, OK, UNKNOWN, Txn  # noqa: E402

SLOTS = 6               # hot keys at a time
STRIDE = 2000           # keys between two of them
EPOCH = 0.5             # seconds until the next key of a slot has its turn
WIDTH = 900             # of a padded read
PATIENCE = 20 * SLOW    # an answer that takes longer is none
CLOSED = 'connection closed'
TABLES = ('texts', 'arrays', 'elems')
# Errors that leave nothing behind, and those of a lost server; nobody sees others.
DEFINITE = ('40001', '40P01', '23505', '25P02', '3B001', '34000')
UNSURE = ('40003', '57P01')

SCHEMA = '''
CREATE TABLE texts (k int PRIMARY KEY, v text NOT NULL) WITH (fillfactor = 50);
CREATE TABLE arrays (k int PRIMARY KEY, v int[] NOT NULL) WITH (fillfactor = 50);
CREATE TABLE elems (k int, pos int, v int NOT NULL, PRIMARY KEY (k, pos));
INSERT INTO texts SELECT k, '' FROM generate_series(0, %(last)d) k;
INSERT INTO arrays SELECT k, '{}' FROM generate_series(0, %(last)d) k;
INSERT INTO elems SELECT k, 0, 0 FROM generate_series(0, %(last)d) k
    WHERE k / %(stride)d %% 3 <> 2;
ANALYZE;
''' % {'last': SLOTS * STRIDE - 1, 'stride': STRIDE}


def table(key):
    return TABLES[key // STRIDE % 3]


def final_lists(sql):
    """{key: list}: all that was appended; sql(text) gives rows."""
    out = {}
    for name in ('texts', 'arrays'):
        for k, v in sql("SELECT k, v::text FROM %s WHERE v::text NOT IN ('', '{}')" % name):
            out[int(k)] = values([[v]])
    for k, v in sql('SELECT k, v FROM elems WHERE v <> 0 ORDER BY k, pos'):
        out.setdefault(int(k), []).append(int(v))
    return out


def values(rows):
    return [int(x) for r in rows for x in re.findall(r'\d+', r[0] or '')]


def load_history(lines):
    """([Txn], [wrong]) of lines of JSON."""
    txns, wrong = [], []
    for line in lines:
        x = json.loads(line)
        if 'wrong' in x:
            wrong.append(x['wrong'])
        else:
            ops = [tuple(op) for op in x['ops']]
            txns.append(Txn(x['client'], x['begun'], x['ended'], x['fate'], ops))
    return txns, wrong


# ---- statements ----------------------------------------------------------------------------

def read_sql(key, form):
    """form: plain, padded, locked."""
    name, v = table(key), 'v'
    if name == 'elems':
        if form != 'padded':
            return 'SELECT v FROM elems WHERE k = %d ORDER BY pos' % key
        v = "string_agg(v::text, ',' ORDER BY pos)"
    if form == 'padded':
        v = "rpad(coalesce(%s::text, ''), greatest(%d, length(%s::text)))" % (v, WIDTH, v)
    return 'SELECT %s FROM %s WHERE k = %d%s' % (v, name, key, ' FOR UPDATE' if form == 'locked' else '')


def append_sql(key, value, returning):
    name = table(key)
    if name == 'elems':
        return ('INSERT INTO elems SELECT %d, coalesce(max(pos), 0) + 1, %d FROM elems WHERE k = %d'
                % (key, value, key))
    more = "',%d'" % value if name == 'texts' else '%d' % value
    return 'UPDATE %s SET v = v || %s WHERE k = %d%s' % (
        name, more, key, ' RETURNING v' if returning else '')


class Step:
    """One statement: what is sent, what it does, the tag that its answer must have."""

    def __init__(self, sql, does=(), tag=None, key=None):
        self.sql, self.does, self.tag, self.key = sql, does, tag, key
        self.append = ('a', key, does[1]) if does[:1] == ('a',) else None


def read_step(key, form):
    return Step(read_sql(key, form), ('r',), 'SELECT', key)


def append_step(key, value, returning=False):
    returning = returning and table(key) != 'elems'
    does = ('a', value, 'r') if returning else ('a', value)
    tag = 'INSERT 0 1' if table(key) == 'elems' else 'UPDATE 1'
    return Step(append_sql(key, value, returning), does, tag, key)


STYLES = ['simple'] * 5 + ['extended'] * 4 + ['named'] * 2 + ['flushed'] * 2 + [
    'limited', 'one query', 'implicit', 'implicit extended', 'pipeline', 'one sync']


def letters(data):
    """The types of messages, with the names of statements."""
    out = []
    while data:
        size = 1 + int.from_bytes(data[1:5], 'big')
        kind, body = data[:1].decode(), data[5:size]
        name = {'P': body, 'B': body[1:], 'C': body[1:]}.get(kind, b'').split(b'\0')[0].decode()
        out.append(kind + (':' + name if name else ''))
        data = data[size:]
    return ' '.join(out)


class Sent:
    """What was sent, and what has come of it so far."""

    def __init__(self, data, step, answer):
        self.data, self.step, self.answer = data, step, answer

    def __str__(self):
        return '%s %s -> %s' % (letters(self.data), self.step.sql, wire.shape(self.answer))


class Wrong(Exception):
    """An answer that no server gives."""


class Failed(Exception):
    def __init__(self, fields):
        super().__init__(fields.get('M'))
        self.code = fields.get('C')
        if self.code not in DEFINITE + UNSURE:
            raise Wrong('%s %s' % (self.code, self))


class Client(threading.Thread):
    def __init__(self, opts, number, end, out):
        super().__init__(daemon=True)
        self.opts, self.number, self.end, self.out = opts, number, end, out
        self.rng = random.Random(opts.seed * 1000 + number)
        self.conn, self.count = None, 0
        self.names, self.named, self.naming = {}, set(), None
        self.ops, self.trying, self.commit_sent = [], None, False
        self.trace = collections.deque(maxlen=20)

    def run(self):
        while not self.end.is_set():
            try:
                if not self.conn:
                    self.connect()
                self.transaction()
            except Wrong as e:
                self.out.append({'wrong': 'client %d: %s' % (self.number, e)})
                self.drop()
            except (wire.PgError, wire.Closed, OSError):
                self.drop()
                self.end.wait(0.05)         # nobody there, or no room
        self.drop()

    def connect(self):
        self.named, self.naming = set(), None
        self.conn = wire.Conn(self.opts.port, timeout=PATIENCE, user='app', database='app', options=(
            '-c default_transaction_isolation=%s' % self.opts.isolation.replace(' ', '\\ ')))

    def drop(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    # what it will do

    def key(self):
        """A hot key, at times the one before it."""
        epoch = int((time.monotonic() - self.opts.start) / EPOCH)
        epoch = max(0, epoch - (self.rng.random() < 0.1))
        return self.rng.randrange(SLOTS) * STRIDE + epoch % STRIDE

    def value(self):
        self.count += 1
        return self.number * 1000000 + self.count

    def steps(self, savepoints):
        rng = self.rng
        out = []
        key = self.key()
        for _ in range(rng.randint(2, 4)):
            if rng.random() < 0.6:
                key = self.key()
            if rng.random() < 0.5:
                form = rng.choice(('plain', 'padded', 'padded', 'locked'))
                out.append(read_step(key, form))
            else:
                out.append(append_step(key, self.value(), rng.random() < 0.3))
        if savepoints:
            at = rng.randrange(len(out))
            out.insert(at, Step('SAVEPOINT s', ('s',), 'SAVEPOINT'))
            if rng.random() < 0.5:
                end = rng.randint(at + 1, len(out))
                undo = rng.random() < 0.5
                out.insert(end, Step('ROLLBACK TO s', ('u',), 'ROLLBACK') if undo
                           else Step('RELEASE s', (), 'RELEASE'))
        return out

    def with_cursor(self, steps):
        """The last read by way of a cursor."""
        at = next((i for i, s in enumerate(steps) if s.does == ('r',) and 'FOR UPDATE' not in s.sql), None)
        if at is not None:
            s = steps[at]
            steps[at:at + 1] = [Step('DECLARE c CURSOR FOR ' + s.sql, (), 'DECLARE CURSOR'),
                                Step('FETCH ALL FROM c', ('r',), 'FETCH', s.key),
                                Step('CLOSE c', (), 'CLOSE CURSOR')]
        return steps

    def begin(self):
        rng = self.rng
        if rng.random() < 0.5:
            return [Step('BEGIN', (), 'BEGIN')]
        if rng.random() < 0.5:
            return [Step('BEGIN ISOLATION LEVEL ' + self.opts.isolation.upper(), (), 'BEGIN')]
        return [Step('START TRANSACTION', (), 'START TRANSACTION'),
                Step('SET TRANSACTION ISOLATION LEVEL ' + self.opts.isolation.upper(), (), 'SET')]

    def transaction(self):
        style = self.rng.choice(STYLES)
        alone = style in ('simple', 'extended', 'named', 'limited', 'flushed')
        steps = self.steps(alone and self.rng.random() < 0.25)
        if alone and self.rng.random() < 0.1:
            steps = self.with_cursor(steps)
        if not style.startswith('implicit'):
            steps = self.begin() + steps + [Step('COMMIT', (), 'COMMIT')]
        self.ops, self.trying, self.commit_sent = [], None, False
        begun, fate, code = time.monotonic(), UNKNOWN, None
        try:
            if alone:
                fate, code = self.one_by_one(steps, style)
            else:
                fate, code = self.at_once(steps, style)
        except (wire.Closed, OSError) as e:
            fate, code = UNKNOWN if self.commit_sent else FAIL, CLOSED
            if self.trying:
                self.ops.append(self.trying)
            if isinstance(e, TimeoutError):
                self.out.append({'wrong': 'client %d, %s: no answer within %d s; the last it sent: %s' % (
                    self.number, style, PATIENCE, '; '.join(map(str, self.trace)))})
            self.drop()
        except Wrong as e:
            self.out.append({'wrong': 'client %d, %s: %s; the last it sent: %s' % (
                self.number, style, e, '; '.join(map(str, self.trace)))})
            self.drop()
        finally:
            self.out.append({'client': self.number, 'style': style, 'begun': begun,
                             'ended': None if fate == UNKNOWN else time.monotonic(), 'fate': fate,
                             'code': code, 'ops': self.ops})

    # how it is sent

    def message(self, step, style):
        """Without Sync."""
        if style == 'simple':
            return wire.query(step.sql)
        if style == 'named' and step.does and step.key is not None and step.sql.startswith('SELECT'):
            sql = step.sql.replace('k = %d' % step.key, 'k = $1')
            return self.prepared(sql) + wire.bind([step.key], self.names[sql]) + wire.describe() + \
                wire.execute()
        if style == 'limited' and step.does == ('r',):
            return wire.parse(step.sql) + wire.bind() + wire.describe() + wire.execute('', 5) + \
                wire.execute('', 5) + wire.execute('', 0)
        return wire.extended(step.sql)

    def prepared(self, sql):
        """What makes its name known, at times anew."""
        name = self.names.setdefault(sql, 's%d' % len(self.names))
        if sql in self.named and self.rng.random() < 0.7:
            return b''
        out = wire.close('S', name) if sql in self.named else b''
        self.naming = sql
        return out + wire.parse(sql, name, (23,))

    def named_now(self, answer):
        """What a Close or a Parse has done stays, also when the rest fails."""
        if self.naming and ('3',) in answer:
            self.named.discard(self.naming)
        if self.naming and ('1',) in answer:
            self.named.add(self.naming)
        self.naming = None

    def ask(self, step, style):
        """One statement with an answer of its own: (answer or Failed, status)."""
        data = self.message(step, style) + (b'' if style == 'simple' else wire.sync())
        answer = []
        self.send(data, step, answer)
        while not answer or answer[-1][0] != 'Z':
            self.read(answer)
        failed = next((Failed(m[1]) for m in answer if m[0] == 'E'), None)
        self.named_now(answer)
        return failed or answer, answer[-1][1]

    def note(self, step, answer):
        """Writes down what a statement did, by what it answered."""
        tags = [m[1] for m in answer if m[0] == 'C']
        many = step.tag in ('SELECT', 'FETCH')      # rows, and parts of a portal
        if not (tags and all(t.startswith(step.tag) for t in tags) if many else tags == [step.tag]):
            raise Wrong('%s answered %s' % (step.sql, wire.shape(answer)))
        rows = [m[1] for m in answer if m[0] == 'D']
        if step.append:
            self.ops.append(step.append)
        if step.does and step.does[-1] == 'r':
            self.ops.append(('r', step.key, values(rows)))
        elif step.does and step.does[0] in 'su':
            self.ops.append(step.does)
        elif rows:
            raise Wrong('%s answered with rows' % step.sql)

    def send(self, data, step, answer):
        self.trace.append(Sent(data, step, answer))
        self.conn.send(data)

    def read(self, answer):
        m = self.conn.read()
        if m[0] not in 'NS':
            answer.append(m)

    def flush(self, step, answer):
        """One statement and Flush: it is answered, and the batch goes on. False: it failed,
        and the answer of the whole batch is there."""
        self.trying = step.append
        self.send(wire.extended(step.sql) + wire.flush(), step, answer)
        while not answer or answer[-1][0] not in 'CE':
            self.read(answer)
        if answer[-1][0] == 'C':
            self.note(step, answer)
            return True
        self.send(wire.sync(), step, answer)
        while answer[-1][0] != 'Z':
            self.read(answer)
        return False

    def one_by_one(self, steps, style):
        saved = False
        for i, s in enumerate(steps):
            if style == 'flushed' and s.key is not None and steps[i + 1].key is not None:
                answer = []
                if self.flush(s, answer):
                    continue
                if self.trying:
                    self.ops.append(self.trying)
                self.trying = None
                error = next(Failed(m[1]) for m in answer if m[0] == 'E')
                return self.failed(error, answer[-1][1], s, saved, steps[i + 1:], style)
            self.commit_sent = s.tag == 'COMMIT'
            self.trying = s.append
            answer, status = self.ask(s, style)
            if isinstance(answer, Failed):
                if self.trying:                 # it must be nowhere
                    self.ops.append(self.trying)
                self.trying = None
                return self.failed(answer, status, s, saved, steps[i + 1:], style)
            self.trying = None
            self.note(s, answer)
            if status != ('I' if s.tag == 'COMMIT' else 'T'):
                raise Wrong('%s answered %s' % (s.sql, wire.shape(answer)))
            saved = s.tag == 'SAVEPOINT' or saved and s.tag != 'RELEASE'
        return OK, None

    def failed(self, error, status, step, saved, rest, style):
        if step.tag == 'COMMIT' and status == 'E' and self.opts.lossy and error.code == '40001':
            return self.leave(error, 'ROLLBACK', style)     # lost before it was asked for
        if step.tag == 'COMMIT':
            if status != 'I':
                raise Wrong('COMMIT failed with %s, and the status is %s' % (error.code, status))
            return (FAIL if error.code in DEFINITE else UNKNOWN), error.code
        if status != 'E':
            raise Wrong('%s failed with %s, and the status is %s' % (step.sql, error.code, status))
        choice = self.rng.random()
        if choice < 0.2:
            again, status = self.ask(Step('SELECT 1', (), 'SELECT'), style)
            told = ('25P02', '40001') if self.opts.lossy else ('25P02',)
            if not isinstance(again, Failed) or again.code not in told or status != 'E':
                raise Wrong('in a failed block: %s, status %s' % (again, status))
        if saved and choice > 0.5:
            return self.from_savepoint(error, rest, style)
        return self.leave(error, 'COMMIT' if choice < 0.4 else 'ROLLBACK', style)

    def leave(self, error, how, style):
        answer, status = self.ask(Step(how, (), 'ROLLBACK'), style)
        if self.opts.lossy and how == 'COMMIT' and isinstance(answer, Failed) and status == 'I' and \
                answer.code in ('40001', '40003'):
            return FAIL, answer.code + ' for the COMMIT of a failed block'  # its server was lost
        if isinstance(answer, Failed) or status != 'I' or ('C', 'ROLLBACK') not in answer:
            raise Wrong('%s of a failed block: %s, status %s' % (how, answer, status))
        return FAIL, error.code

    def from_savepoint(self, error, rest, style):
        """Goes on from there, as a server allows after any error."""
        answer, status = self.ask(Step('ROLLBACK TO s', ('u',), 'ROLLBACK'), style)
        if isinstance(answer, Failed):
            if status != 'E':
                raise Wrong('ROLLBACK TO failed, and the status is %s' % status)
            return self.leave(error, 'ROLLBACK', style)
        if status != 'T':
            raise Wrong('ROLLBACK TO: status %s' % status)
        self.ops.append(('u',))
        rest = [s for s in rest if s.tag not in ('RELEASE', 'ROLLBACK', 'FETCH', 'CLOSE CURSOR')]
        return self.one_by_one(rest, style)

    def at_once(self, steps, style):
        """All statements in one write; answers are read together."""
        if style == 'pipeline':
            data = b''.join(wire.extended(s.sql) + wire.sync() for s in steps)
        elif style in ('one sync', 'implicit extended'):
            data = b''.join(wire.extended(s.sql) for s in steps) + wire.sync()
        else:
            data = wire.query('; '.join(s.sql for s in steps))
        self.commit_sent = True
        self.ops = [s.append for s in steps if s.append]
        self.conn.send(data)
        answer = []
        for _ in range(len(steps) if style == 'pipeline' else 1):
            answer += self.conn.until()
        errors = [Failed(m[1]) for m in answer if m[0] == 'E']
        status = answer[-1][1]
        if errors:
            return self.at_once_failed(errors, answer, style)
        if status != 'I':
            raise Wrong('all went well, and the status is %s: %s' % (status, wire.shape(answer)))
        parts, part = [], []
        for m in answer:
            part.append(m)
            if m[0] == 'C':
                parts.append(part)
                part = []
        if len(parts) != len(steps):
            raise Wrong('%d statements: %s' % (len(steps), wire.shape(answer)))
        self.ops = []
        for s, part in zip(steps, parts):
            self.note(s, part)
        return OK, None

    def at_once_failed(self, errors, answer, style):
        code, status = errors[0].code, answer[-1][1]
        known = all(e.code in DEFINITE for e in errors)
        tags = [m[1] for m in answer if m[0] == 'C']
        if 'COMMIT' in tags:
            raise Wrong('an error and COMMIT: %s' % wire.shape(answer))
        if status == 'E' and style in ('one query', 'one sync'):
            self.leave(errors[0], 'ROLLBACK', 'simple')     # COMMIT was never run
            return FAIL, code
        if status != 'I':
            raise Wrong('status %s: %s' % (status, wire.shape(answer)))
        return (FAIL if known else UNKNOWN), code


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    p.add_argument('--port', type=int, required=True)
    p.add_argument('--clients', type=int, default=6)
    p.add_argument('--first', type=int, default=1, help='number of the first client')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--start', type=float, default=0, help='of the first epoch, by time.monotonic()')
    p.add_argument('--isolation', default='serializable')
    p.add_argument('--lossy', action='store_true', help='servers are lost now and then')
    p.add_argument('--out', required=True)
    opts = p.parse_args()
    end, out = threading.Event(), []
    clients = [Client(opts, opts.first + i, end, out) for i in range(opts.clients)]
    for c in clients:
        c.start()
    sys.stdin.read()
    end.set()
    for c in clients:
        c.join(2 * PATIENCE)
        if c.is_alive():
            out.append({'wrong': 'client %d still waits for an answer' % c.number})
    with open(opts.out, 'w') as f:
        for x in list(out):
            f.write(json.dumps(x) + '\n')
    os._exit(0)         # without those that hang


if __name__ == '__main__':
    main()
