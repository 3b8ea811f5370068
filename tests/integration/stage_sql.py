"""A server that keeps statements and portals as PostgreSQL does, so that what is done to
them on the way to it need not be known byte for byte: a Parse of a name that is there
is 42P05, a Bind of one that is not 26000, a rollback takes none away. It runs what it
is asked as a list of texts, and fails with 40001 where it is told to.

SPDX-License-Identifier: ISC
"""
import struct

import wire
from wire import complete, data_row, error, msg, ready, row_description


def _text(body, at):
    end = body.index(b'\0', at)
    return body[at:end].decode(), end + 1


class Sql:
    """What several connections have in common: script=Sql(...) of a FakeServer."""

    def __init__(self):
        self.fail = {}          # {text: how often it still fails with 40001}
        self.ran, self.committed, self.refused, self.parsed = [], [], [], []
        self.rollbacks = 0

    def __call__(self, conn):
        try:
            Backend(self, conn).run()
        except wire.Closed:
            pass


class Backend:
    def __init__(self, sql, conn):
        self.sql, self.conn = sql, conn
        self.names, self.portals, self.tx, self.done, self.skip = {}, {}, 'I', [], False

    def run(self):
        do = {'Q': self.query, 'P': self.parse, 'B': self.bind, 'D': self.describe, 'E': self.execute,
              'C': self.close}
        while True:
            letter, body = self.conn.read_raw()
            if letter == 'X':
                return
            if letter == 'S':
                self.skip = False
                self.conn.send(ready(self.tx))
            elif letter in do and not (self.skip and letter != 'Q'):
                out = do[letter](body)
                if out[:1] == b'E':
                    self.skip = letter != 'Q'
                    self.tx = 'E' if self.tx != 'I' else 'I'
                self.conn.send(out + (ready(self.tx) if letter == 'Q' else b''))

    def query(self, body):
        self.names.pop('', None)
        text = body[:-1].decode()
        return self.answer(text, rows(text)) if not text.startswith(('SELECT', 'UPDATE')) else \
            self.answer(text, rows(text), row_description('v') if text.startswith('SELECT') else b'')

    def refuse(self, code, what):
        self.sql.refused.append((code, what))
        return error(code, what)

    def parse(self, body):
        name, at = _text(body, 0)
        text, _ = _text(body, at)
        if self.tx == 'E' and text not in ('ROLLBACK', 'COMMIT'):
            return self.refuse('25P02', text)
        if name and name in self.names:
            return self.refuse('42P05', name)
        self.names[name] = text
        self.sql.parsed.append((name, text))
        return msg('1')

    def bind(self, body):
        portal, at = _text(body, 0)
        name, _ = _text(body, at)
        if name not in self.names:
            return self.refuse('26000', name)
        text = self.names[name]
        if self.tx == 'E' and text not in ('ROLLBACK', 'COMMIT'):
            return self.refuse('25P02', text)
        self.portals[portal] = [text, rows(text)]
        return msg('2')

    def describe(self, body):
        what, (name, _) = body[:1], _text(body, 1)
        if name not in (self.names if what == b'S' else self.portals):
            return self.refuse('26000' if what == b'S' else '34000', name)
        text = self.names[name] if what == b'S' else self.portals[name][0]
        return (msg('t', b'\0\0') if what == b'S' else b'') + \
            (row_description('v') if text.startswith('SELECT') else msg('n'))

    def execute(self, body):
        portal, at = _text(body, 0)
        most = struct.unpack_from('!i', body, at)[0]
        if portal not in self.portals:
            return self.refuse('34000', portal)
        text, left = self.portals[portal]
        if most and len(left) > most and not self.sql.fail.get(text):
            self.portals[portal][1] = left[most:]
            self.done.append(text)
            return b''.join(map(data_row, left[:most])) + msg('s')
        return self.answer(text, left)

    def close(self, body):
        (self.names if body[:1] == b'S' else self.portals).pop(_text(body, 1)[0], None)
        return msg('3')

    def answer(self, text, left, head=b''):
        word = text.split()[0]
        if text.startswith('ROLLBACK TO'):
            return self.refuse('3B001', text)
        if self.tx == 'E' and word not in ('ROLLBACK', 'COMMIT'):
            return self.refuse('25P02', text)
        if self.sql.fail.get(text):
            self.sql.fail[text] -= 1
            if word == 'COMMIT':
                self.end()
            return error('40001', 'scripted conflict')
        self.sql.ran.append(text)
        if word == 'BEGIN':
            self.tx, self.done = 'T', []
            return complete('BEGIN')
        if word in ('COMMIT', 'ROLLBACK'):
            if word == 'COMMIT' and self.tx == 'T':
                self.sql.committed.append(list(self.done))
            else:
                word = 'ROLLBACK'
                self.sql.rollbacks += 1
            self.end()
            return complete(word)
        self.done.append(text)
        if word != 'SELECT':
            return complete(word + ' 1')
        return head + b''.join(map(data_row, left)) + complete('SELECT %d' % len(left))

    def end(self):
        """Of the transaction: portals go, statements stay."""
        self.tx, self.portals = 'I', {}


def rows(text):
    """SELECT 'a', 3: three rows that tell of their text."""
    if not text.startswith('SELECT'):
        return []
    n = int(text.rsplit(',', 1)[1]) if ',' in text else 1
    return ['%s #%d' % (text, i) for i in range(n)]
