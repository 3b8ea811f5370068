"""The differential harness: one script of a client's messages, played to
PostgreSQL itself and to pgweir, and every byte of the answers compared.

A script is a name and a list of steps; steps are made by q(), x(), say(),
wait() and the others below. Each has one or more connections ('a' unless said
otherwise), which log in at the first step that uses them. What comes back is
kept as it came: (letter, body), the login included.

Compared is every message, type and body, but for what differs between two
sessions of PostgreSQL too:

    K   the body: process id and key
    A   the process id in front
    T   object ids of tables and types made by users (16384 and up) are numbered
    t   in the order of their appearance in the connection
    E   the source's line and function in 25P02: a statement that is not on its
        server yet is parsed there, and it is the Parse that tells of the abort;
        the source's file and line of the 0A000 for a changed result, which may
        be a pooler's own; of an error that ends the session all but severity,
        SQLSTATE and message
    D, E, N   the script's own rules (norm=), each a regular expression

and for one choice: where a table has changed under a prepared statement (or
the names in it mean another one by now), the old session's answer is right,
and that of a session that has just parsed it (anew() below).

A place to play at is a Lane: a port, a database of its own, and neighbours.

SPDX-License-Identifier: ISC
"""
import itertools
import os
import random
import re
import select
import socket
import struct
import textwrap
import time

import wire
from cluster import SLOW
from wire import bind, close, execute, extended, parse, query, sync

SEED = int(os.environ.get('DIFF_SEED') or random.randrange(1 << 32))
PATIENCE = float(os.environ.get('DIFF_PATIENCE') or 5) * SLOW
USER_OIDS = 16384


# ---- the language of scripts -------------------------------------------------------

class Step:
    """One thing that is done: kind, connection, bytes to send, what to wait for.

    wait: a number of ReadyForQuery, a message's letter, 'eof', or None for as
    many ReadyForQuery as the bytes ask for."""

    def __init__(self, kind, conn='a', data=b'', wait=0):
        self.kind, self.conn, self.data, self.wait = kind, conn, data, wait
        self.first, self.fate = b'', None


def asked(data):
    """How many ReadyForQuery these messages ask for."""
    n, at = 0, 0
    while at + 5 <= len(data):
        n += data[at:at + 1] in (b'Q', b'S', b'F')
        at += 1 + max(4, struct.unpack_from('!i', data, at + 1)[0])
    return n


def say(*parts, wait=None, conn='a'):
    """Messages, in one write; then the answer."""
    data = b''.join(parts)
    return Step('say', conn, data, asked(data) if wait is None else wait)


def q(*sqls, wait=None, conn='a'):
    """Simple queries, in one write."""
    return say(*[query(s) for s in sqls], wait=wait, conn=conn)


def x(*parts, wait=None, conn='a'):
    """A batch with its Sync."""
    return say(*parts, sync(), wait=wait, conn=conn)


def wait(what, conn='a'):
    return Step('say', conn, b'', what)


def hello(conn='a', wait='Z', proto=wire.PROTO_3_0, **params):
    """A startup packet on a connection that does not log in by itself. The
    database is the lane's unless it is given."""
    return Step('hello', conn, (proto, params), wait)


def byte(conn='a'):
    """The single byte that answers an SSLRequest."""
    return Step('byte', conn)


def elsewhere(*sqls):
    """Somebody else, who is not pooled, does this; no answer is kept."""
    return Step('elsewhere', None, sqls)


def until_waiting(event, n=1):
    """Goes on when n sessions wait for this (pg_stat_activity's wait_event)."""
    return Step('until', None, (event, n))


def cancel(conn='a', spoil=0):
    """A cancel with the key of that connection (changed by spoil)."""
    return Step('cancel', conn, spoil)


def bye(conn='a'):
    """Terminate, and everything that still comes."""
    return Step('bye', conn)


def anew(sql, *steps, name='s1'):
    """Steps with a statement that PostgreSQL may hold against the client, and a
    pooler need not, as it parses it anew. They share one fate: all are
    answered as without, or all as with a Close and Parse in front of each."""
    fate, out = object(), []
    for s in steps:
        t = Step(s.kind, s.conn, s.data, s.wait)
        t.fate = fate
        if s.data[:1] in (b'B', b'D'):
            t.first = close('S', name) + parse(sql, name)
        out.append(t)
    return out


class Script:
    def __init__(self, name, *steps, startup=None, others=None, setup=None, norm=(), needs=1, settle=False):
        """startup: parameters of connection 'a', None in others' values: no
        login. setup: SQL that is run in a fresh schema. needs: the servers it
        holds at once. settle: waits for the advisory locks of its last run."""
        self.name, self.steps = name, []
        for s in steps:
            self.steps += s if isinstance(s, list) else [s]
        self.choice = any(s.fate for s in self.steps)
        self.startup = {'a': startup if startup is not None else {}, **(others or {})}
        self.setup, self.needs, self.settle = setup, needs, settle
        self.norm = [(re.compile(a), b) for a, b in norm]

    def __repr__(self):
        return self.name


RAW = {'raw': True}          # startup= of a connection that does not log in


# ---- a connection --------------------------------------------------------------------

class Gone(Exception):
    """The peer has closed."""


class Late(Exception):
    """Nothing came in time."""


class Transcript(list):
    """What came, and where the steps began: [(index, fate)]."""

    def __init__(self, *messages):
        super().__init__(*messages)
        self.marks = []

    def parts(self, like):
        """Cut where the steps of one fate end, as many parts as in like."""
        if len(self.marks) != len(like.marks):
            return [(None, 0, len(self))]
        out = []
        for (at, fate), nxt in zip(self.marks, [m[0] for m in self.marks[1:]] + [len(self)]):
            if out and (fate is out[-1][0]):
                out[-1] = (fate, out[-1][1], nxt)
            else:
                out.append((fate, at, nxt))
        return out


class Line:
    """A connection that keeps what it reads, and reads while it writes (a
    pipeline may be longer than all the buffers on its way)."""

    def __init__(self, port):
        # what a test does to (number, message) to see the harness complain
        self.spoil = None
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.poll = select.poll()
        self.poll.register(self.sock, select.POLLIN)
        self.buf, self.at, self.got, self.key, self.dead = bytearray(), 0, Transcript(), None, False

    def fill(self, seconds):
        if not self.poll.poll(max(0, seconds) * 1000):
            raise Late()
        try:
            more = self.sock.recv(1 << 18)
        except ConnectionError:
            more = b''
        if not more:
            raise Gone()
        if self.at:
            del self.buf[:self.at]
            self.at = 0
        self.buf += more

    def send(self, data):
        left = memoryview(data)
        end = time.monotonic() + PATIENCE
        try:
            while left:
                try:
                    left = left[self.sock.send(left):]
                except BlockingIOError:
                    self.poll.modify(self.sock, select.POLLIN | select.POLLOUT)
                    events = self.poll.poll(max(0, end - time.monotonic()) * 1000)
                    self.poll.modify(self.sock, select.POLLIN)
                    if not events:
                        raise Late() from None
                    if events[0][1] & select.POLLIN:
                        self.fill(0)
        except (ConnectionError, Gone):
            pass         # its last words are read by the next wait

    def take(self, n, end):
        while len(self.buf) - self.at < n:
            self.fill(end - time.monotonic())
        out = bytes(self.buf[self.at:self.at + n])
        self.at += n
        return out

    def message(self, end):
        head = self.take(5, end)
        m = (head[:1].decode('latin1'), self.take(struct.unpack('!i', head[1:])[0] - 4, end))
        if self.spoil:
            m = self.spoil(len(self.got), m)
        if m[0] == 'K':
            self.key = struct.unpack('!ii', m[1])
        self.got.append(m)
        return m

    def wait(self, what, patience=None):
        """Reads until that has come; False when the connection is of no more use."""
        end = time.monotonic() + (patience or PATIENCE)
        n = what if isinstance(what, int) else 1
        letter = 'Z' if isinstance(what, int) else what
        try:
            while n:
                n -= self.message(end)[0] == letter
            return True
        except Gone:
            self.got.append(('eof', bytes(self.buf[self.at:])))
        except Late:
            self.got.append(('nothing more', ('waited for %s' % what).encode()))
        self.dead = True
        return False

    def close(self):
        self.dead = True
        self.sock.close()


# ---- neighbours -------------------------------------------------------------------------

def noises(who, n):
    """What a neighbour says: (name, bytes, rows it must get). One write each,
    and nothing is left behind that would keep a server."""
    t = '%s.%d' % (who, n)
    ext = parse("SELECT '%s' || $1::text" % t, 's1') + bind(['!'], 's1') + execute() + close('S', 's1')
    block = query('BEGIN') + query('SET LOCAL search_path = pg_catalog') + query("SELECT '%s'" % t) + query('COMMIT')
    return [
        ('query', query("SELECT '%s'" % t), [t]),
        ('named', ext + sync(), [t + '!']),
        ('unnamed', extended("SELECT '%s', 2" % t) + sync(), [t]),
        ('kept', parse("SELECT '%s'" % t) + sync() + bind() + execute() + sync(), [t]),
        ('block', block, [t]),
        ('rollback', query('BEGIN') + query("SET DateStyle = 'German'") + query('ROLLBACK'), []),
        ('error', query('SELECT 1/0') + query("SELECT '%s'" % t), [t]),
        ('error in a batch', extended('SELECT 1/0') + extended('SELECT 1') + sync(), []),
        ('reported', query("SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'; "
                           "SET extra_float_digits = -3") + query('SHOW TimeZone'), ['Asia/Tokyo']),
        ('application_name', query("SET application_name = '%s'" % t) + query('SHOW application_name'), [t]),
        ('encoding', query("SET client_encoding = 'LATIN1'") + query('SHOW client_encoding'), ['LATIN1']),
        ('unreported', query("SET search_path = pg_catalog; SET work_mem = '77kB'; SET statement_timeout = '7s'")
         + query('SHOW work_mem'), ['77kB']),
        ('custom', query("SET my.var = '%s'" % t) + query('SHOW my.var'), [t]),
        ('role', query('SET ROLE diff_role') + query('SELECT current_user'), ['diff_role']),
        ('reset role', query('RESET ROLE') + query('SELECT current_user'), ['app']),
        ('read only', query('SET default_transaction_read_only = on') + query('SHOW transaction_read_only'), ['on']),
        ('reset', query('RESET ALL') + query("SELECT '%s'" % t), [t]),
        ('discard', query('DISCARD ALL') + query("SELECT '%s'" % t), [t]),
        ('prepare', query("PREPARE n1 AS SELECT '%s'; EXECUTE n1; DEALLOCATE n1" % t), [t]),
        ('temp',
         query('BEGIN READ WRITE; CREATE TEMP TABLE ten (i int) ON COMMIT DROP; SELECT count(*) FROM ten; COMMIT'),
         ['0']),
        ('lock', query("BEGIN; SELECT pg_advisory_xact_lock(900, %d), '%s'; COMMIT" % (n % 7, t)), ['']),
        ('copy', query('COPY (SELECT 1) TO STDOUT') + query("SELECT '%s'" % t), [t]),
        ('listen', query('BEGIN; LISTEN neighbour; ROLLBACK'), []),
        ('work', query("SELECT '%s', count(*) FROM generate_series(1, 3000)" % t), [t]),
    ]


class Neighbour:
    """Another client of the same pool. It says something before each step of
    the script and hears the answer before the next, if it has come by then."""

    def __init__(self, lane, who, holds):
        self.lane, self.who, self.holds = lane, who, holds
        self.n, self.line, self.owed, self.want, self.said, self.held = 0, None, 0, [], '', False

    def say(self, name, data, want):
        self.said, self.want, self.owed = name, want, asked(data)
        del self.line.got[:]
        self.line.send(data)

    def poke(self, rng):
        if not self.line:
            self.line = Line(self.lane.port)
            self.line.send(self.lane.startup({}))
            self.said, self.want, self.owed = 'login', [], 1
            self.hear(PATIENCE)
        if not self.hear(0):
            return
        self.n += 1
        if self.held:
            self.held = False
            self.say('end', query('COMMIT'), [])
        elif self.holds and rng.random() < 0.4:
            self.held = True
            self.say('hold', query('BEGIN') + query("SELECT 'held'"), ['held'])
        else:
            self.say(*rng.choice(noises(self.who, self.n)))

    def hear(self, seconds):
        """True when nothing is owed any more."""
        end = time.monotonic() + seconds
        try:
            while self.owed:
                m = self.line.message(end)
                if m[0] == 'Z':
                    self.owed -= 1
        except Late:
            return False
        except Gone:
            raise AssertionError('the neighbour was hung up on after its %s: %s' %
                                 (self.said, [shown(m) for m in self.line.got])) from None
        rows = [first_column(m[1]) for m in self.line.got if m[0] == 'D']
        if rows != self.want:
            raise AssertionError('the neighbour said %s, should have got %s, and got %s' %
                                 (self.said, self.want, [shown(m) for m in self.line.got]))
        self.want = []
        del self.line.got[:]
        return True

    def rest(self):
        """After a script: nothing owed, nothing held."""
        if not self.line:
            return
        if not self.hear(PATIENCE):
            raise AssertionError('the neighbour waits for the answer to its %s, got %s: no server?' %
                                 (self.said, [shown(m) for m in self.line.got]))
        if self.held:
            self.held = False
            self.say('end', query('COMMIT'), [])
            self.hear(PATIENCE)

    def close(self):
        if self.line:
            self.line.close()
        self.line, self.owed, self.held = None, 0, False


def first_column(body):
    size = struct.unpack_from('!i', body, 2)[0]
    return body[6:6 + max(0, size)].decode('latin1')


# ---- a lane -------------------------------------------------------------------------------

class Lane:
    """Where scripts are played: one after the other, in a database of its own
    that is also reached directly (pg_port), to prepare it and to look."""

    def __init__(self, name, port, pg_port, database, asks=None, pool=5, ping=None):
        self.name, self.port, self.database, self.asks, self.pool = name, port, database, asks or database, pool
        self.admin = wire.Conn(pg_port, database=database, timeout=PATIENCE * 2)
        self.admin.sql("SET client_min_messages = error; SET lock_timeout = '%ds'" % PATIENCE)
        self.neighbours = [Neighbour(self, 'n1', False), Neighbour(self, 'n2', pool > 2)]
        self.ping, self.last, self.suspect = ping, None, False

    def startup(self, params, proto=wire.PROTO_3_0):
        p = {'user': 'app', 'database': self.asks, **params}
        return wire.startup(proto=proto, **p)

    def barrier(self):
        """What was sent before this has been read when it returns."""
        if self.ping:
            self.ping.sql('SHOW VERSION')

    def prepare(self, script):
        if script.setup is not None:
            self.admin.sql('DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app; ' + script.setup)
        if script.settle:
            self.poll_for("SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND database = "
                          "(SELECT oid FROM pg_database WHERE datname = current_database())")

    def poll_for(self, sql):
        end = time.monotonic() + PATIENCE
        while self.admin.one(sql) != 't':
            if time.monotonic() > end:
                raise AssertionError('never true: ' + sql)

    def play(self, script, cut=False, noisy=False, afresh=False, spoil=None):
        """The transcripts by connection. afresh: parse again where anew() says
        so. spoil: see Line.spoil."""
        self.prepare(script)
        run = Run(self, script, random.Random('%d/%s/%s/%s' % (SEED, self.name, script.name, (cut, noisy))), cut)
        run.afresh, run.spoil = afresh, spoil
        neighbours = [n for n in self.neighbours if noisy and not (n.holds and script.needs + 2 > self.pool)]
        try:
            for step in script.steps:
                for n in neighbours:
                    n.poke(run.rng)
                run.step(step)
                if run.stuck:
                    break
            run.end()
            for n in neighbours:
                n.rest()
        except AssertionError as e:
            for n in neighbours:
                n.close()
            run.complaints.append(str(e))
        finally:
            run.close()
        return run.result()

    def close(self):
        self.admin.close()
        for n in self.neighbours:
            n.close()
        if self.ping:
            self.ping.close()


class Run:
    """One script on one lane."""

    def __init__(self, lane, script, rng, cut):
        self.lane, self.script, self.rng, self.cut = lane, script, rng, cut
        self.lines, self.complaints, self.stuck = {}, [], False
        self.afresh, self.spoil = False, None

    def line(self, name):
        if name not in self.lines:
            line = self.lines[name] = Line(self.lane.port)
            line.spoil = self.spoil
            line.got.marks.append((0, None))
            params = self.script.startup.get(name, {})
            if params != RAW:
                self.write(line, self.lane.startup(params))
                line.wait('Z')
        return self.lines[name]

    def write(self, line, data):
        if not self.cut or len(data) < 2:
            line.send(data)
            return
        at = 0
        for to in sorted(self.rng.randrange(1, len(data)) for _ in range(self.rng.choice((1, 1, 2, 3)))):
            if to > at:
                line.send(data[at:to])
                self.lane.barrier()
                at = to
        line.send(data[at:])

    def step(self, step):
        if step.kind == 'elsewhere':
            for sql in step.data:
                self.lane.admin.sql(sql)
            return
        if step.kind == 'until':
            self.lane.poll_for("SELECT count(*) = %d FROM pg_stat_activity WHERE datname = current_database() "
                               "AND wait_event = '%s'" % (step.data[1], step.data[0]))
            return
        line = self.line(step.conn)
        if line.dead:
            return
        start = len(line.got)
        line.got.marks.append((start, step.fate))
        if step.kind == 'cancel':
            wire.cancel(self.lane.port, (line.key[0], line.key[1] ^ step.data))
        elif step.kind == 'bye':
            self.write(line, wire.terminate())
            line.wait('eof')
        elif step.kind == 'byte':
            try:
                line.got.append(('byte', line.take(1, time.monotonic() + PATIENCE)))
            except (Late, Gone) as e:
                line.got.append((type(e).__name__, b''))
        else:
            data = step.data
            if step.kind == 'hello':
                data = self.lane.startup(data[1], data[0])
            first = step.first if self.afresh else b''
            self.write(line, first + data)
            if step.wait:
                line.wait(step.wait)
            for letter in '31' if first else '':
                if line.got[start:] and line.got[start][0] == letter:
                    del line.got[start]
        # one that hangs has hung enough
        self.stuck = bool(line.got) and line.got[-1][0] == 'nothing more'

    def end(self):
        for line in self.lines.values():
            if not line.dead:
                line.send(wire.terminate())
        for line in self.lines.values():
            if not line.dead:
                line.wait('eof')

    def close(self):
        for line in self.lines.values():
            line.close()

    def result(self):
        out = {name: line.got for name, line in self.lines.items()}
        if self.complaints:
            out['neighbours'] = Transcript(('complaint', c.encode()) for c in self.complaints)
        return out


# ---- comparison ------------------------------------------------------------------------------

def columns(body):
    """The values of a DataRow."""
    out, at = [], 2
    for _ in range(struct.unpack_from('!h', body)[0]):
        size = struct.unpack_from('!i', body, at)[0]
        out.append(None if size < 0 else body[at + 4:at + 4 + size])
        at += 4 + max(0, size)
    return out


def row_fields(body):
    """The columns of a RowDescription: (name, table, attribute, type, ...)."""
    out, at = [], 2
    for _ in range(struct.unpack_from('!h', body)[0]):
        end = body.index(b'\0', at)
        out.append((body[at:end],) + struct.unpack_from('!ihihih', body, end + 1))
        at = end + 19
    return out


def normal(messages, rules):
    """What is compared of a transcript."""
    oids, out = {}, []

    def rank(oid):
        return oid if oid < USER_OIDS else 'user object %d' % oids.setdefault(oid, len(oids))

    def ruled(text):
        for pattern, instead in rules:
            text = pattern.sub(instead, text)
        return text
    for letter, body in messages:
        if letter == 'K':
            out.append((letter, len(body)))
        elif letter == 'A':
            out.append((letter, body[4:]))
        elif letter == 'T':
            fields = [(f[0], rank(f[1]), f[2], rank(f[3]), *f[4:]) for f in row_fields(body)]
            out.append((letter, fields, len(body)))
        elif letter == 't':
            out.append((letter, [rank(o) for o in struct.unpack('!%di' % (len(body) // 4), body[2:])], body[:2]))
        elif letter == 'E' and b'\0C25P02\0' in body:
            out.append((letter, re.sub(rb'\0L\d+\0R\w+\0', b'\0', ruled(body))))
        elif letter == 'E' and body.startswith(b'SFATAL\0'):
            out.append((letter, [f for f in body.split(b'\0') if f[:1] in b'SVCM']))
        elif letter == 'E' and b'\0C0A000\0' in body and b'cached plan' in body:
            out.append((letter, re.sub(rb'\0F[\w./]+\0L\d+\0', b'\0', ruled(body))))
        elif rules and letter == 'D':
            out.append((letter, [c if c is None else ruled(c) for c in columns(body)]))
        elif rules and letter in 'EN':
            out.append((letter, ruled(body)))
        else:
            out.append((letter, body))
    return out


def difference(script, want, got, other=None):
    """None, or (connection, index) of the first message that is not the same as
    in want, nor, where there is a choice, in other."""
    # a complaint says why the script was not played to its end
    for name in sorted(set(want) | set(got), key=lambda n: (n != 'neighbours', n)):
        ta, tb, tc = (t.get(name) or Transcript() for t in (want, got, other or {}))
        a, b = normal(ta, script.norm), normal(tb, script.norm)
        if a == b:
            continue
        c = normal(tc, script.norm)
        parts = [t.parts(ta) for t in (ta, tb, tc)]
        if not len(parts[0]) == len(parts[1]) == len(parts[2]):
            parts = [[(None, 0, len(t))] for t in (a, b, c)]
        for (fate, *pa), (_, *pb), (_, *pc) in zip(*parts):
            m, n = a[slice(*pa)], b[slice(*pb)]
            if m != n and not (fate and n == c[slice(*pc)]):
                return name, pb[0] + next(i for i, (v, w) in enumerate(itertools.zip_longest(m, n)) if v != w)
    return None


def shown(m):
    """A message for people."""
    letter, body = m
    try:
        if letter == 'T':
            text = ', '.join('%s(%s)' % (f[0].decode('utf-8', 'replace'), ' '.join(map(str, f[1:])))
                             for f in row_fields(body))
        elif letter == 'D':
            text = ', '.join('NULL' if c is None else repr(c)[1:] for c in columns(body))
        elif letter in ('E', 'N'):
            text = ' '.join(p[:1].decode() + '=' + p[1:].decode('utf-8', 'replace')
                            for p in body.rstrip(b'\0').split(b'\0'))
        elif letter == 'K':
            text = '(key)'
        else:
            text = repr(body)[1:] if body else ''
    except (struct.error, ValueError, IndexError):
        text = 'malformed ' + repr(body)[1:]
    if len(text) > 400:
        text = '%s... (%d bytes)' % (text[:400], len(body))
    return '%s %s' % (letter, text)


def side_by_side(script, want, got, where, width=74, around=5):
    """Both transcripts around their first difference."""
    name, at = where
    a, b = want.get(name, []), got.get(name, [])
    out = ['connection %s, message %d' % (name, at),
           '  %-*s | %s' % (width, 'PostgreSQL', 'pgweir')]
    lo = max(0, at - around)
    if lo:
        out.append('  (%d the same)' % lo)
    for i in range(lo, min(max(len(a), len(b)), at + around + 1)):
        cells = [textwrap.wrap(shown(t[i]) if i < len(t) else '(nothing)', width) or [''] for t in (a, b)]
        for j, (p, r) in enumerate(itertools.zip_longest(*cells, fillvalue='')):
            out.append('%s %-*s | %s' % ('>' if i == at and j == 0 else ' ', width, p, r))
    return '\n'.join(out)
