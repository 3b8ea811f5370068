"""The load of the fault laboratory, and the judgement of what it was told.

Clients that keep one connection for the whole run and check every answer:

    readers     the sum over all accounts, on database ro (standbys first)
    writers     an INSERT of a token in autocommit, then a look whether it is there
    bank        BEGIN, two UPDATEs, an INSERT of a token, COMMIT

and pgbench -S, simple and prepared. After 40001 a client tries the same token
again, as applications do; after any other error it goes on with the next token.
What an error says is taken by its word: after one of REFUSED the token must not
be there, after any other it may be (counted as unknown, and looked up).

SPDX-License-Identifier: ISC
"""
import collections
import os
import re
import subprocess
import threading
import time

import wire
from cluster import BIN, until

ACCOUNTS, BALANCE = 20, 1000
PAUSE = 0.002               # between two units of a client
PATIENCE = 60               # an answer that takes longer is none
AGAIN = '40001'
# What promises that nothing was done: wrong role, too many, nobody there.
REFUSED = ('25006', '53300', '57P03')

SCHEMA = '''
CREATE TABLE tokens (t text NOT NULL);
CREATE INDEX ON tokens (t);
CREATE TABLE transfers (t text NOT NULL, a int NOT NULL, b int NOT NULL, x int NOT NULL);
CREATE TABLE bank (id int PRIMARY KEY, balance int NOT NULL);
INSERT INTO bank SELECT i, %d FROM generate_series(1, %d) i;
''' % (BALANCE, ACCOUNTS)


class Gone(Exception):
    """The connection was closed, or nothing came in PATIENCE seconds."""


class Failed(Exception):
    """One error; the connection stays."""

    def __init__(self, fields):
        super().__init__('%s %s' % (fields.get('C'), fields.get('M')))
        self.code = fields.get('C')


class Client(threading.Thread):
    """One connection in a loop of step()."""

    group, database = 'writers', 'app'

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.name = '%s%d' % (type(self).__name__.lower(), number)
        self.extended = number % 2 == 1
        self.conn = None
        self.kind = 'login'
        self.times = []                             # of what was done
        self.errors = collections.Counter()         # (kind, SQLSTATE)
        self.samples = {}                           # (kind, SQLSTATE, verb): message
        self.disconnects = self.hung = self.units = 0
        self.acked, self.refused, self.unknown = [], [], {}     # tokens
        self.wrong = []

    ended = property(lambda self: self.load.end.is_set())

    def run(self):
        try:
            while not self.ended:
                try:
                    if not self.conn:
                        self.login()
                    self.step()
                except Gone:
                    self.conn = None
                self.load.end.wait(PAUSE)
        finally:
            self.hang_up()

    def login(self):
        self.kind = 'login'
        try:
            self.conn = wire.Conn(self.load.port, timeout=PATIENCE, database=self.database)
        except wire.PgError as e:
            self.note(e.fields)
        except (OSError, wire.Closed):
            self.errors['login', 'refused'] += 1
        if not self.conn:
            self.load.end.wait(0.2)
            raise Gone

    def hang_up(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def note(self, fields, sql=''):
        """Counts an error."""
        key = self.kind, fields.get('C')
        self.errors[key] += 1
        self.samples.setdefault((*key, sql.split()[0] if sql else ''), fields.get('M'))

    def ask(self, sql, tag):
        """The rows of one statement; Failed on an error. An answer that is not
        one (no tag, another tag) is wrong."""
        c, rows, tags, err = self.conn, [], [], None
        try:
            c.send(wire.extended(sql) + wire.sync() if self.extended else wire.query(sql))
            while True:
                m = c.read()
                if m[0] == 'D':
                    rows.append(m[1])
                elif m[0] == 'C':
                    tags.append(m[1])
                elif m[0] == 'E':
                    self.note(m[1], sql)
                    err = err or m[1]
                elif m[0] == 'Z':
                    break
        except (wire.Closed, OSError) as e:
            if isinstance(e, TimeoutError):
                self.hung += 1
            else:
                self.disconnects += 1
            c.close()
            raise Gone from e
        if err:
            raise Failed(err)
        if tags != [tag]:
            self.wrong.append('%s: %r is answered %r' % (self.name, sql, tags))
        return rows

    def done(self):
        self.times.append(time.monotonic())

    def next_token(self):
        """Unknown until something is known."""
        self.units += 1
        token = '%s-%d' % (self.name, self.units)
        self.unknown[token] = 'in flight'
        return token

    def sure(self, token, where):
        del self.unknown[token]
        where.append(token)

    def pause(self, start, end):
        """The longest time from one success to the next."""
        at = [start, *self.times, end]
        return max(b - a for a, b in zip(at, at[1:]))


class Reader(Client):
    group, database = 'readers', 'ro'

    def step(self):
        self.kind = 'read'
        try:
            rows = self.ask('SELECT sum(balance) FROM bank', 'SELECT 1')
        except Failed:
            return
        if rows != [[str(ACCOUNTS * BALANCE)]]:
            self.wrong.append('%s: the bank has %r' % (self.name, rows))
        self.done()


class Writer(Client):
    def step(self):
        token = self.next_token()
        if not self.insert(token):
            return
        self.kind = 'read'
        try:
            rows = self.ask("SELECT count(*) FROM tokens WHERE t = '%s'" % token, 'SELECT 1')
        except Failed:
            return
        if rows != [['1']]:
            self.wrong.append('%s: after it was acknowledged %s is there %r times' %
                              (self.name, token, rows))
        self.done()

    def insert(self, token):
        self.kind = 'write'
        while True:
            try:
                self.ask("INSERT INTO tokens VALUES ('%s')" % token, 'INSERT 0 1')
            except Failed as e:
                if e.code == AGAIN and not self.ended:
                    continue
                if e.code in REFUSED + (AGAIN,):
                    self.sure(token, self.refused)
                return False
            self.sure(token, self.acked)
            self.done()
            return True


class Bank(Client):
    def step(self):
        self.kind = 'transaction'
        token = self.next_token()
        n = self.number * 7919 + self.units * 31
        a = n % ACCOUNTS + 1
        b = (a + n // ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS + 1
        x = n % 9 + 1
        while not self.transfer(token, a, b, x):
            if self.ended:
                self.sure(token, self.refused)
                return

    def transfer(self, token, a, b, x):
        """False: to be tried again."""
        moves = [(a, -x), (b, x)]
        moves.sort()                # one order of locks
        at = 'BEGIN'
        try:
            self.ask('BEGIN' + self.load.isolation, 'BEGIN')
            for i, d in moves:
                self.ask('UPDATE bank SET balance = balance + %d WHERE id = %d' % (d, i),
                         'UPDATE 1')
            self.ask("INSERT INTO transfers VALUES ('%s', %d, %d, %d)" % (token, a, b, x),
                     'INSERT 0 1')
            at = 'COMMIT'
            self.ask('COMMIT', 'COMMIT')
        except Failed as e:
            return self.failed(token, at, e.code)
        except Gone:
            if at != 'COMMIT':
                self.sure(token, self.refused)
            raise
        self.sure(token, self.acked)
        self.done()
        return True

    def failed(self, token, at, code):
        if at != 'COMMIT':
            try:
                self.ask('ROLLBACK', 'ROLLBACK')
            except Failed:
                pass
        if code == AGAIN:
            return False
        if at != 'COMMIT' or code in REFUSED:
            self.sure(token, self.refused)
        return True


class Pgbench:
    """pgbench -S in the background. One of its clients that meets an error
    gives up, and is counted."""

    def __init__(self, base, port, mode, seconds, clients=2, rate=300):
        self.mode, self.dir = mode, base
        self.prefix = os.path.join(base, 'pgbench-%s-%d' % (mode, port))
        self.done = self.gave_up = self.cut = 0
        self.pause = 0.0
        self.proc = subprocess.Popen(
            [os.path.join(BIN, 'pgbench'), '-h', '127.0.0.1', '-p', str(port), '-U', 'app', '-n',
             '-S', '-M', mode, '-c', str(clients), '-T', str(int(seconds)), '-R', str(rate),
             '-l', '--log-prefix=' + self.prefix, 'ro'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=base)

    def result(self, timeout=PATIENCE):
        try:
            text = self.proc.communicate(timeout=timeout)[0].decode(errors='replace')
        except subprocess.TimeoutExpired:
            self.proc.kill()
            text = self.proc.communicate()[0].decode(errors='replace') + 'client 0 aborted: hung'
        m = re.search(r'actually processed: (\d+)', text)
        self.done = int(m.group(1)) if m else 0
        gave_up = re.findall(r'client \d+ (?:script \d+ )?aborted.*', text)
        self.gave_up = len(gave_up)
        self.cut = sum('backend died' in g for g in gave_up)
        self.why = gave_up[0] if gave_up else ''
        for p in os.listdir(self.dir):
            path = os.path.join(self.dir, p)
            if path.startswith(self.prefix + '.'):
                with open(path) as log:
                    # latency counts from when it was due, and the last is by how
                    # much it began later
                    us = [int(v[2]) - int(v[6]) for v in map(str.split, log) if len(v) > 6]
                self.pause = max([self.pause, *[x / 1e6 for x in us]])
                os.unlink(path)
        return self


class Load:
    """All clients of one run."""

    def __init__(self, base, port, readers=4, writers=4, bank=4, pgbench=0, serializable=False):
        self.port = port
        self.isolation = ' ISOLATION LEVEL SERIALIZABLE' if serializable else ''
        self.end = threading.Event()
        kinds = ((Reader, readers), (Writer, writers), (Bank, bank))
        self.clients = [cls(self, i) for cls, n in kinds for i in range(n)]
        self.benches = []
        if pgbench:
            self.benches = [Pgbench(base, port, m, pgbench) for m in ('simple', 'prepared')]
        self.start = time.monotonic()
        for c in self.clients:
            c.start()

    def stop(self):
        """Lets each finish what it is in; who hangs is counted. Once."""
        if self.end.is_set():
            return
        self.end.set()
        deadline = time.monotonic() + PATIENCE + 5
        for c in self.clients:
            c.join(max(0.1, deadline - time.monotonic()))
        self.stuck = [c.name for c in self.clients if c.is_alive()]
        self.over = time.monotonic()
        for b in self.benches:
            if b.proc.returncode is None:
                b.result()

    def of(self, group):
        return [c for c in self.clients if c.group == group]

    def pause(self, group):
        pauses = [c.pause(self.start, self.over) for c in self.of(group)]
        if group == 'readers':
            pauses += [b.pause for b in self.benches]
        return max(pauses, default=0.0)

    def longest(self):
        """Who paused, the longest first."""
        all_ = [(c.pause(self.start, self.over), c.name) for c in self.clients]
        all_ += [(b.pause, 'pgbench ' + b.mode) for b in self.benches]
        return sorted(all_, reverse=True)

    def silence(self, group):
        """The longest time without any success in the group."""
        at = sorted(t for c in self.of(group) for t in c.times)
        at = [self.start, *at, self.over]
        return max(b - a for a, b in zip(at, at[1:]))


class Verdict:
    """What a run was told, against what the primary has."""

    def __init__(self, load, primary):
        cs = load.clients
        self.done = sum(len(c.times) for c in cs) + sum(b.done for b in load.benches)
        self.errors = sum((c.errors for c in cs), collections.Counter())
        self.samples = {k: v for c in cs for k, v in c.samples.items()}
        self.disconnects = sum(c.disconnects for c in cs) + sum(b.cut for b in load.benches)
        self.hung = sum(c.hung for c in cs) + len(load.stuck)
        self.gave_up = sum(b.gave_up for b in load.benches)
        self.gave_up_why = next((b.why for b in load.benches if b.why), '')
        self.pauses = [load.pause(g) for g in ('readers', 'writers')]
        self.silences = [load.silence(g) for g in ('readers', 'writers')]
        self.longest = load.longest()
        self.wrong = [w for c in cs for w in c.wrong]
        self.daemon = ''                # how it died, if it did
        self.settle(primary)
        self.compare(cs, primary)

    @staticmethod
    def settle(primary):
        """What was cut off may still run."""
        until(lambda: primary.one(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND "
            "backend_type = 'client backend' AND state <> 'idle'") == '0', 30, 0.1,
            'what clients left behind to end')

    def compare(self, cs, primary):
        rows = primary.sql('SELECT t FROM tokens UNION ALL SELECT t FROM transfers')
        there = collections.Counter(r[0] for r in rows)
        asked = set()
        self.lost = self.doubled = self.unknown = self.applied = 0
        self.broken = []
        for c in cs:
            asked.update(c.acked, c.refused, c.unknown)
            for t in c.acked:
                self.judge(t, there[t], 1, 1, 'acknowledged')
            for t in c.refused:
                self.judge(t, there[t], 0, 0, 'refused')
            for t in c.unknown:
                self.judge(t, there[t], 0, 1, 'unknown')
                self.unknown += 1
                self.applied += there[t] > 0
        for t in set(there) - asked:
            self.judge(t, there[t], 0, 0, 'never asked for')
        self.count_money(primary)

    def judge(self, token, n, least, most, what):
        if n < least:
            self.lost += 1
        elif n > most:
            self.doubled += 1
        else:
            return
        self.broken.append('%s (%s) is there %d times' % (token, what, n))

    def count_money(self, primary):
        rows = primary.sql(
            'SELECT id, balance, %d + coalesce((SELECT sum(x) FROM transfers WHERE b = id), 0) - '
            'coalesce((SELECT sum(x) FROM transfers WHERE a = id), 0) FROM bank' % BALANCE)
        self.total = sum(int(r[1]) for r in rows)
        for i, balance, should in rows:
            if balance != should:
                self.broken.append('account %s has %s and should have %s' % (i, balance, should))
        if self.total != ACCOUNTS * BALANCE:
            self.broken.append('the bank has %d' % self.total)

    def codes(self, kind):
        got = sorted((c, n) for (k, c), n in self.errors.items() if k == kind)
        return ', '.join('%s × %d' % p for p in got) or '0'

    def violations(self):
        """What must never happen; empty when all is well."""
        out = self.broken + self.wrong
        if self.disconnects:
            out.append('%d clients were disconnected' % self.disconnects)
        if self.daemon:
            out.append(self.daemon)
        return out
