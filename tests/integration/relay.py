# SPDX-License-Identifier: ISC
"""A relay of TCP between pgweir and a PostgreSQL server that knows where messages
begin and end, notes what SQL passes it, and cuts a connection at a message.

    with Relays(pg, 2) as r:        two of them before one server: two nodes
        r.plan = Cut('F', 3, 'before')

A plan is asked for each message of the sessions of user app, behind their login, in
both directions. Plan passes everything on. What is passed to the server and what was
received from pgweir are two things: `note` has all that pgweir wrote, also what it
wrote while its connection was being cut.

A connection that is cut ends on both sides: pgweir sees EOF (or a reset), the
server what was passed on and then EOF. With wait=True the server has answered all
and its backend is gone before pgweir sees anything.
"""
import contextlib
import select
import socket
import struct
import threading

from cluster import until

CODE_CANCEL, CODE_SSL = 80877102, 80877103
USER = 'app'


class Over(Exception):
    """This connection has ended."""


class Message:
    """One message: its letter, its bytes."""

    __slots__ = ('letter', 'raw')

    def __init__(self, letter, raw):
        self.letter, self.raw = letter, raw

    body = property(lambda self: self.raw[5:])


class Buffer:
    """Bytes, cut into messages."""

    def __init__(self):
        self.buf = b''

    def __iter__(self):
        while len(self.buf) >= 5:
            n = struct.unpack_from('!i', self.buf, 1)[0] + 1
            if len(self.buf) < n:
                return
            m, self.buf = self.buf[:n], self.buf[n:]
            yield Message(chr(m[0]), m)


class Plan:
    """Everything passes. Subclasses do something else with a message."""

    fired = ()              # (letter, pair) at which it has cut

    def wait(self):
        """Until what it does by itself is done."""

    def front(self, pair, m):
        pair.to_server(m.raw)

    def back(self, pair, m):
        pair.to_pgweir(m.raw)


class Cut(Plan):
    """Cuts at the n-th message (from 1, over all connections) since this was made:

        'F', n, 'before'    received from pgweir, not passed on
        'F', n, 'after'     passed on and dealt with; nothing of an answer goes back
        'B', n, 'after'     this message of the answer goes back, nothing behind it
        'B', n, 'inside'    the first half of it does

    `times`: and then the next connections at their own n-th message."""

    def __init__(self, side, n, how, reset=False, times=1):
        self.side, self.n, self.how, self.reset = side, n, how, reset
        self.left, self.seen = times, {}
        self.lock = threading.Lock()
        self.fired = []
        self.done = threading.Semaphore(0)

    def hit(self, side, pair, m):
        if side != self.side:
            return False
        with self.lock:
            key = pair if self.fired else None
            self.seen[key] = self.seen.get(key, 0) + 1
            if not self.left or self.seen[key] != self.n:
                return False
            self.left -= 1
            self.fired.append((m.letter, pair))
            return True

    def front(self, pair, m):
        if not self.hit('F', pair, m):
            pair.to_server(m.raw)
            return
        if self.how == 'after':
            pair.to_server(m.raw)
        pair.cut(wait=self.how == 'after', reset=self.reset, done=self.done)

    def back(self, pair, m):
        if not self.hit('B', pair, m):
            pair.to_pgweir(m.raw)
            return
        pair.to_pgweir(m.raw if self.how == 'after' else m.raw[:(len(m.raw) + 1) // 2])
        pair.cut(reset=self.reset, done=self.done)

    def wait(self):
        """Until what was begun to be cut has ended on both sides."""
        for _ in self.fired:
            assert self.done.acquire(timeout=20), 'a connection that was cut does not end'


class Storm(Plan):
    """Cuts at one message in `every`, of either side, in any of the ways."""

    def __init__(self, rng, every):
        self.rng, self.every, self.lock = rng, every, threading.Lock()
        self.cuts = 0

    def how(self):
        """None: not here. Else whether the message passes, whether the server ends first,
        and whether pgweir sees a reset."""
        with self.lock:
            if self.rng.randrange(self.every):
                return None
            self.cuts += 1
            return [self.rng.random() < 0.5 for _ in range(3)]

    def front(self, pair, m):
        how = self.how()
        if not how or how[0]:
            pair.to_server(m.raw)
        if how:
            pair.cut(wait=how[1], reset=how[2])

    def back(self, pair, m):
        how = self.how()
        if not how or how[0]:
            pair.to_pgweir(m.raw)
        if how:
            pair.cut(wait=how[1], reset=how[2])


class Twice(Plan):
    """What must not be: when a transaction has ended, all of it is sent once more, and
    pgweir does not see the second answers."""

    def __init__(self):
        self.log, self.swallow = {}, {}

    def front(self, pair, m):
        self.log.setdefault(pair, []).append(m)
        pair.to_server(m.raw)

    def back(self, pair, m):
        if self.swallow.get(pair):
            self.swallow[pair] -= m.letter == 'Z'
            return
        if m.letter == 'Z' and m.body == b'I':
            again = self.log.pop(pair, [])
            self.swallow[pair] = sum(a.letter in 'QS' for a in again)
            pair.to_server(b''.join(a.raw for a in again))
        pair.to_pgweir(m.raw)

    def wait(self):
        until(lambda: not any(self.swallow.values()), why='what was sent once more to be answered')


class Never(Plan):
    """What must not be either: COMMIT is acknowledged, and a ROLLBACK was sent."""

    def front(self, pair, m):
        pair.to_server(m.raw.replace(b'COMMIT\0', b'ABORT \0') if m.letter in 'QP' else m.raw)

    def back(self, pair, m):
        if m.letter == 'C' and m.body == b'ROLLBACK\0':
            pair.to_pgweir(b'C\0\0\0\x0bCOMMIT\0')
        else:
            pair.to_pgweir(m.raw)


class Pair(threading.Thread):
    """A connection of pgweir and the one of the relay to the server."""

    def __init__(self, relay, front):
        super().__init__(daemon=True)
        self.relay, self.front, self.back = relay, front, None
        self.user, self.at_work = '', False     # at_work: the login is over
        self.stmts, self.portals = {}, {}
        self.fbuf, self.bbuf = Buffer(), Buffer()
        self.texts = []                         # SQL that pgweir has told it to run, in order

    # -- for plans

    def to_server(self, data):
        self.back.sendall(data)

    def to_pgweir(self, data):
        self.front.sendall(data)

    def cut(self, wait=False, reset=False, done=None):
        """Ends the connection; does not return."""
        try:
            if wait:
                self.end_server()
            self.end_pgweir(reset)
            if not wait:
                self.end_server()
        finally:
            self.close()
            if done:
                done.release()
        raise Over

    def end_server(self):
        """The server gets what was passed on, then EOF, and ends its session."""
        with contextlib.suppress(OSError):
            self.back.shutdown(socket.SHUT_WR)
            self.back.settimeout(20)
            while self.back.recv(1 << 16):
                pass

    def end_pgweir(self, reset):
        with contextlib.suppress(OSError):
            if reset:
                self.front.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                self.front.close()
                return
            self.front.shutdown(socket.SHUT_WR)
            self.front.settimeout(20)
            while True:
                for m in self.fbuf:
                    self.note(m)
                data = self.front.recv(1 << 16)
                if not data:
                    return
                self.fbuf.buf += data

    # -- what passes

    def note(self, m):
        """Keeps what is run: the texts of Queries and of the portals executed."""
        parts = m.body.split(b'\0')
        if m.letter == 'Q':
            self.ran(parts[0])
        elif m.letter == 'P':
            self.stmts[parts[0]] = parts[1]
        elif m.letter == 'B':
            self.portals[parts[0]] = self.stmts.get(parts[1], b'?')
        elif m.letter == 'E':
            self.ran(self.portals.get(parts[0], b'?'))

    def ran(self, text):
        text = text.decode()
        self.texts.append(text)
        with self.relay.all.lock:
            self.relay.all.texts.append((self, text))

    # -- the thread

    def run(self):
        self.relay.all.pairs.add(self)
        try:
            self.back = socket.create_connection((self.relay.all.host, self.relay.all.port), 20)
            for s in (self.front, self.back):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.startup()
            while True:
                for s in select.select([self.front, self.back], [], [])[0]:
                    data = s.recv(1 << 16)
                    if not data:
                        raise Over
                    (self.from_front if s is self.front else self.from_back)(data)
        except (Over, OSError, ValueError):
            pass
        finally:
            self.close()
            self.relay.all.pairs.discard(self)

    def startup(self):
        """Passes on the first packet, and learns whose session it is. There is no TLS here, as it
        has to read what passes."""
        code, got = CODE_SSL, b''
        while code == CODE_SSL:
            while len(got) < 8 or len(got) < struct.unpack('!i', got[:4])[0]:
                more = self.front.recv(1 << 16)
                if not more:
                    raise Over
                got += more
            n, code = struct.unpack('!ii', got[:8])
            if code == CODE_SSL:
                self.front.sendall(b'N')
                got = got[n:]
        if code != CODE_CANCEL:
            parts = got[8:n].split(b'\0')
            self.user = dict(zip(parts[0::2], parts[1::2])).get(b'user', b'').decode()
        self.back.sendall(got[:n])
        self.fbuf.buf = got[n:]

    def from_front(self, data):
        if self.user != USER:
            self.back.sendall(data)
            return
        self.fbuf.buf += data
        for m in self.fbuf:
            self.note(m)
            self.relay.all.plan.front(self, m)

    def from_back(self, data):
        if self.user != USER:
            self.front.sendall(data)
            return
        self.bbuf.buf += data
        for m in self.bbuf:
            if self.at_work:
                self.relay.all.plan.back(self, m)
            else:
                self.front.sendall(m.raw)
                self.at_work = m.letter == 'Z'

    def close(self):
        for s in (self.front, self.back):
            if s:
                with contextlib.suppress(OSError):
                    s.close()


class Relay:
    """One port of several before a server."""

    def __init__(self, all_):
        self.all = all_
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                Pair(self, self.listener.accept()[0]).start()


class Relays:
    """n nodes that are one server."""

    def __init__(self, pg, n):
        self.host, self.port = pg.host, pg.port
        self.lock = threading.Lock()
        self.plan = Plan()
        self.pairs = set()
        self.texts = []         # (pair, SQL): what pgweir wrote, over all
        self.nodes = [Relay(self) for _ in range(n)]

    def __enter__(self):
        return self

    def __exit__(self, *a):
        for r in self.nodes:
            with contextlib.suppress(OSError):
                r.listener.shutdown(socket.SHUT_RDWR)
            r.listener.close()
        for p in list(self.pairs):
            for s in (p.front, p.back):
                with contextlib.suppress(OSError, AttributeError):
                    s.shutdown(socket.SHUT_RDWR)
