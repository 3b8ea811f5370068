# SPDX-License-Identifier: ISC
"""A node of a CockroachDB cluster, as clients see it, in front of PostgreSQL.

A process of its own (crdb.py starts it, talks to it and ends it): it listens on
a port for SQL and on one for HTTP, gives each client a PostgreSQL session of
its own, and answers as CockroachDB does. Several of these before one server are
a cluster: the data is the same on each. "wire X" below is a section of the notes
of what v21.2 was seen to answer, byte by byte; "facts X" of those on what its
documentation and source say of newer versions.

It works as CockroachDB's executor does: one message of the client at a time,
each to its end. PostgreSQL is told to Sync behind each Execute, so that this
commits by itself (wire A, E7); a CommandComplete waits for that (wire A2).

What is not imitated:
 - TLS and passwords (wire J): it is an insecure node, and PostgreSQL trusts it.
 - SQL that PostgreSQL does not know (UPSERT, AS OF SYSTEM TIME, crdb_internal but
   for force_error, most of SHOW), types, OIDs, texts of errors other than those
   below; SQL that CockroachDB does not know is refused for the first words of a
   statement only (wire E2). SHOW node_id and the like have the tag of a SELECT.
 - Parse, Bind and Describe in a failed transaction work there (wire B2); here
   Parse is answered by 25P02, as PostgreSQL does.
 - The server's own retries: a single statement outside a block is run again while
   nothing of its answer has left (wire B3); the first batch behind BEGIN (B4) and
   BEGIN..COMMIT in one Query (B6) are not. What conflicts is PostgreSQL's opinion.
 - Generic savepoints do not cure a 40001 (wire D3 has one that does).
 - set_config() with parameters, in a block that is rolled back, is undone (wire C1
   holds for SET, RESET and set_config() of constants only).
 - Order of schema changes and writes in a block (wire E1), XXA00 (B12).
 - An unknown database is refused at the login (wire F6), application_name is cut
   at 63 bytes, CANCEL QUERY does not exist.
 - A COPY that fails says so at its end only.
 - Locks left behind by a dead node (wire H10), stalled ranges (H9).
 - Versions from 22.2 on: a batch is one transaction to its Sync, but SET and what
   begins and ends a block sync there; nothing is run again in a batch, the commit
   of which fails at Sync with the CommandComplete already said.
"""
import asyncio
import collections
import contextlib
import json
import os
import random
import re
import struct
import sys
import traceback

from crdbsql import OTHER, Stmt, classify, split

V21 = ('CockroachDB OSS v21.2.0-alpha.00000000-4194-g585a4406 '
       '(x86_64-pc-linux-gnu, built 2021/08/30 12:00:00, go1.16.6)')
V26 = 'CockroachDB CCL v26.2.0 (x86_64-pc-linux-gnu, built 2026/05/18 12:00:00, go1.25.5)'

PROTO_3_0, CODE_CANCEL, CODE_SSL, CODE_GSS = 196608, 80877102, 80877103, 80877104
MAX_MESSAGE = 16 << 20
LEN = struct.Struct('!i').unpack_from
TOKEN = re.compile(rb'tok_\w+')
PLAIN = frozenset(('other', 'set', 'set_config', 'reset'))
KEPT = b'123ntT'    # said before an Execute begins
SYNC, FLUSH = b'S\0\0\0\4', b'H\0\0\0\4'
DOCS = 'See: https://www.cockroachlabs.com/docs/v21.2/transaction-retry-error-reference.html#'
RESTART = 'restart transaction: TransactionRetryWithProtoRefreshError: '
META = ('"sql txn" meta={id=6f21b0c5 key=/Table/53/1/1/0 pri=0.01 epo=0 ts=1636000000.000000000,0 '
        'min=1636000000.000000000,0 seq=1} lock=true stat=PENDING')
TOO_OLD = (RESTART + 'WriteTooOldError: write at timestamp 1636000000.000000000,0 too old; '
           'wrote at 1636000000.000000001,1', DOCS + 'retry_write_too_old')
REFRESH = (RESTART + 'TransactionRetryError: retry txn (RETRY_SERIALIZABLE - failed preemptive '
           'refresh): ' + META, DOCS + 'retry_serializable')
PUSHER = (RESTART + 'TransactionAbortedError(ABORT_REASON_PUSHER_ABORTED): ' + META,
          DOCS + 'abort_reason_pusher_aborted')
AMBIGUOUS = ('result is ambiguous (error=rpc error: code = Unavailable desc = transport is '
             'closing [exhausted])')
NO_BLOCK = ('XXUUU', 'there is no transaction in progress')
IN_BLOCK = ('XXUUU', 'there is already a transaction in progress')
PORTALS = ('0A000', 'unimplemented: multiple active portals not supported')
DRAIN_PORTAL = ('0A000', PORTALS[1] + ': cannot perform operation sql.DrainRequest while a '
                'different portal is open')
ABORTED = ('25P02', 'current transaction is aborted, commands ignored until end of transaction '
           'block')
COMMITTED = ('25000', 'current transaction is committed, commands ignored until end of '
             'transaction block')
NOT_FIRST = ('42601', 'SAVEPOINT "cockroach_restart" needs to be the first statement in a '
             'transaction')


# ---- messages ---------------------------------------------------------------------

def cstr(s):
    return (s if isinstance(s, bytes) else s.encode()) + b'\0'


def msg(letter, body=b''):
    return letter.encode() + struct.pack('!i', len(body) + 4) + body


def error(code, text, hint=None, source=None, detail=None, letter='E', severity='ERROR'):
    """The fields in CockroachDB's order; no V, and never FATAL (wire H2, facts 1.5)."""
    parts = [('S', severity), ('C', code), ('D', detail), ('H', hint)]
    parts += zip('FLR', source or ())
    parts.append(('M', text))
    return msg(letter, b''.join(k.encode() + cstr(v) for k, v in parts if v is not None) + b'\0')


def shutdown_error(text):
    """Wire H2 and H3, to the byte."""
    return error('57P01', text, source=('server.go', '1105', 'newAdminShutdownErr'))


def parameter(name, value):
    return msg('S', cstr(name) + cstr(value))


def fields_of(m):
    return {p[:1].decode(): p[1:].decode('utf-8', 'replace')
            for p in m[5:].split(b'\0') if p}


# ---- sockets --------------------------------------------------------------------------

class Gone(Exception):
    """The peer has closed."""


class Leave(Exception):
    """The drain ends this connection: 57P01, and the end."""


class Oversize(Exception):
    """A message over 16 MiB: (letter, length with the letter)."""


class Pipe(asyncio.Protocol):
    """A socket: what came, cut into messages, and what goes."""

    FULL = 1 << 20

    def __init__(self, accepted=None):
        self.accepted = accepted
        self.buf, self.at = bytearray(), 0
        self.eof = self.paused = self.blocked = False
        self.waiter = self.room = self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        if self.accepted:
            self.accepted(self)

    def data_received(self, data):
        self.buf += data
        if len(self.buf) - self.at > self.FULL and not self.paused:
            self.transport.pause_reading()
            self.paused = True
        self.wake()

    def eof_received(self):
        self.eof = True
        self.wake()

    def connection_lost(self, exc):
        self.eof = True
        self.wake()
        if self.room and not self.room.done():
            self.room.set_result(None)

    def pause_writing(self):
        self.blocked = True

    def resume_writing(self):
        self.blocked = False
        if self.room and not self.room.done():
            self.room.set_result(None)

    def wake(self):
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(None)

    def take(self, n):
        """n bytes, or None when there are fewer."""
        at = self.at
        if len(self.buf) - at < n:
            return None
        out = bytes(self.buf[at:at + n])
        self.at = at + n
        if self.at > 65536 or self.at == len(self.buf):
            del self.buf[:self.at]
            self.at = 0
        return out

    def pop(self, most=None):
        """A whole message, or None."""
        have = len(self.buf) - self.at
        if have < 5:
            return None
        n = LEN(self.buf, self.at + 1)[0] + 1
        if most and n > most + 1:
            raise Oversize(self.buf[self.at], n)
        return self.take(n) if have >= n else None

    async def more(self, timeout=None):
        """Waits for bytes, the end, wake(), or the timeout."""
        if self.paused:
            self.transport.resume_reading()
            self.paused = False
        self.waiter = asyncio.get_running_loop().create_future()
        timer = None
        if timeout is not None:
            timer = asyncio.get_running_loop().call_later(max(0, timeout), self.wake)
        try:
            await self.waiter
        finally:
            self.waiter = None
            if timer:
                timer.cancel()

    async def discard(self, n):
        while n:
            got = min(n, len(self.buf) - self.at)
            self.take(got)
            n -= got
            if n and self.eof:
                raise Gone
            if n:
                await self.more()

    def write(self, data):
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self):
        while self.blocked and not self.transport.is_closing():
            self.room = asyncio.get_running_loop().create_future()
            await self.room

    def close(self):
        if self.transport:
            self.transport.close()


class Answer:
    """What PostgreSQL said to one thing."""

    __slots__ = ('tag', 'error', 'end', 'counted', 'changed', 'fatal')

    def __init__(self):
        self.tag = self.error = self.end = None
        self.counted, self.changed, self.fatal = 0, set(), False


# ---- the login (wire F) -----------------------------------------------------------------

KNOWN = {'application_name': 'application_name', 'client_encoding': 'client_encoding',
         'datestyle': 'DateStyle', 'intervalstyle': 'IntervalStyle', 'timezone': 'TimeZone'}
PASSED = set(KNOWN) | {'search_path', 'extra_float_digits', 'statement_timeout', 'row_security',
                       'synchronous_commit', 'client_min_messages', 'standard_conforming_strings',
                       'default_transaction_read_only', 'default_transaction_deferrable',
                       'idle_in_transaction_session_timeout'}
READ_ONLY = {'server_version', 'node_id', 'transaction_isolation', 'tracing',
             'session_authorization'}
ORDER_OLD = ('server_version server_encoding client_encoding application_name DateStyle '
             'IntervalStyle TimeZone integer_datetimes standard_conforming_strings crdb_version '
             'session_authorization is_superuser').split()
ORDER_NEW = ('server_version server_encoding client_encoding application_name DateStyle '
             'IntervalStyle is_superuser TimeZone integer_datetimes standard_conforming_strings '
             'crdb_version session_authorization').split()
REPORTED_OLD = {'application_name', 'timezone'}                             # wire C3
REPORTED_NEW = REPORTED_OLD | {'intervalstyle', 'datestyle', 'is_superuser'}    # facts 3.2


def options(text):
    """-c k=v, -ck=v, --k=v with backslash escapes (wire F4, F5)."""
    words = [re.sub(r'\\(.)', r'\1', w) for w in re.findall(r'(?:\\.|[^\s\\])+', text)]
    i = 0
    while i < len(words):
        w = words[i]
        if w == '-c' and i + 1 < len(words):
            i += 1
            w = words[i]
        elif w.startswith('--'):
            w = w[2:]
        elif w.startswith('-c'):
            w = w[2:]
        else:
            raise Refused('08P01', 'option "%s" is invalid, must have prefix \'-c\' or \'--\'' % w)
        if '=' not in w:
            raise Refused('08P01', 'option "%s" is invalid, check \'=\'' % w)
        yield w.split('=', 1)
        i += 1


class Refused(Exception):
    """A login is refused: (code, text, hint)."""


def check_setting(name, value):
    """True: PostgreSQL gets it; False: nobody does (wire F4, F5)."""
    if name in READ_ONLY:
        raise Refused('55P02', 'parameter "%s" cannot be changed' % name)
    if name == 'crdb:remote_addr':
        raise Refused('08P01', 'server not configured to accept remote address override')
    if name == 'client_encoding' and value.lower().replace('-', '') not in ('utf8', 'unicode'):
        raise Refused('0A000', 'unimplemented: unimplemented client encoding: "%s"' % value)
    if name == 'datestyle' and not re.fullmatch(r'iso(\s*,\s*mdy)?', value.strip(), re.I):
        raise Refused('22023', 'invalid value for parameter "datestyle": "%s"' % value)
    if name == 'standard_conforming_strings' and value.lower() not in ('on', 'true', '1', 'yes'):
        raise Refused('22023', 'invalid value for parameter "%s": "%s"' % (name, value))
    return name in PASSED


def size_of(text):
    m = re.fullmatch(r'\s*(\d+)\s*([kKmM]?)(?:i?B)?\s*', text)
    if not m:
        raise Refused('22023', 'could not parse results_buffer_size: %s' % text)
    return int(m.group(1)) << {'': 0, 'k': 10, 'm': 20}[m.group(2).lower()]


# ---- a client ------------------------------------------------------------------------------

class Session:
    """A client and its PostgreSQL session."""

    def __init__(self, node, client):
        self.node, self.client = node, client
        self.pg = Pipe()
        self.pg_key = None
        self.status = 'I'
        self.virtual = None     # wire D1: 'T' in CommitWait, 'E' when that RELEASE has failed
        self.values, self.buffer = {}, node.buffer
        self.out, self.out_size, self.pushes = [], 0, 0
        self.group = []         # messages of the extended protocol that are not sent yet
        self.unsynced = False   # some are, with no Sync behind
        self.stmts, self.portals = {}, {}
        self.skip = self.copying = self.expired = self.busy = self.told = False
        self.suspended = None
        self.sets, self.block_work, self.begin = [], 0, b'BEGIN'
        self.tell_at, self.keyfile = None, None

    # -- to the client

    def say(self, m):
        self.out.append(m)
        self.out_size += len(m)

    async def push(self):
        if self.out:
            self.client.write(b''.join(self.out))
            self.out, self.out_size = [], 0
            self.pushes += 1
            if self.client.blocked:
                await self.client.drained()

    def tx(self):
        return self.virtual or self.status

    async def ready(self):
        self.say(b'Z\0\0\0\5' + self.tx().encode())
        if self.tx() == 'I':
            self.portals.clear()
            self.suspended = None
            if self.node.draining:          # wire H5: C[COMMIT] Z:I E[57P01]
                raise Leave
        await self.push()

    async def goodbye(self):
        """What is to be said, then the end; what the client still sends is thrown away, so
        that no reset overtakes it."""
        await self.push()
        loop = asyncio.get_running_loop()
        end = loop.time() + 2
        with contextlib.suppress(OSError):      # the client may have gone
            if not self.client.transport.is_closing():
                self.client.transport.write_eof()
        while not self.client.eof and loop.time() < end:
            await self.client.more(end - loop.time())
            if self.told:
                self.count_refused()

    def count_refused(self):
        """What came and is not passed on, for the statistics."""
        c, n = self.client, 0
        if len(c.buf) == c.at:
            return
        data = bytes(c.buf[c.at:])
        for t in TOKEN.findall(data):
            self.node.refused_tokens[t.decode()] += 1
        at = 0
        while len(data) - at >= 5:
            n += data[at] in b'QE'
            at += 1 + max(4, LEN(data, at + 1)[0])
        self.node.stats['refused'] += n
        c.buf.clear()
        c.at = 0

    # -- its life

    async def run(self):
        node = self.node
        try:
            if await self.login():
                node.stats['logins'] += 1
                await self.loop()
        except Leave:
            node.stats['told'] += 1
            self.told = True
            node.changed()
            self.count_refused()
            self.say(shutdown_error('server is shutting down'))
            self.pg.close()             # what is open is rolled back
            await self.goodbye()
        except (Gone, ConnectionError):
            pass
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            node.sessions.discard(self)
            node.changed()
            self.pg.close()
            self.client.close()
            if self.keyfile:
                os.unlink(self.keyfile)

    def cut(self):
        """Both connections, at once."""
        for p in (self.client, self.pg):
            if p.transport:
                p.transport.abort()

    async def wait_client(self):
        """Until there is more from the client; Leave when the drain ends it (wire H3..H6)."""
        c = self.client
        have = len(c.buf)
        if self.out_size > self.buffer:
            await self.push()
        while len(c.buf) == have:
            if c.eof:
                raise Gone
            timeout = None
            if self.expired:
                if self.copying:
                    self.say(error('XXUUU', 'context canceled'))
                raise Leave
            if self.node.draining and self.tx() == 'I' and not self.copying:
                now = asyncio.get_running_loop().time()
                if self.tell_at is None:
                    self.tell_at = now + self.node.rng.uniform(0, self.node.draining['tell'])
                timeout = self.tell_at - now
                if timeout <= 0:
                    raise Leave
            await c.more(timeout)
        if self.node.draining and self.tx() == 'I' and self.tell_at is not None:
            raise Leave                     # wire H3, H4: answered by that, and not run

    async def login(self):
        c, node, asked = self.client, self.node, False
        try:
            while True:
                size = await self.need(4)
                packet = await self.need(max(0, struct.unpack('!i', size)[0] - 4))
                code = LEN(packet)[0]
                if code == CODE_CANCEL:         # wire F3, H2; facts 3.3
                    await node.forward_cancel(packet[4:])
                    return False
                if node.refusing:               # wire H2: also to an SSLRequest
                    return await self.not_accepting()
                if code == CODE_SSL and not asked:      # wire F7
                    asked = True
                    c.write(b'N')
                    continue
                if code == CODE_GSS:
                    raise Refused('08P01', 'GSS encryption is not yet supported')
                if code == PROTO_3_0:
                    return await self.welcome(packet[4:])
                if node.version >= (26, 1) and code >> 16 == 3:     # facts 3.1
                    self.say(msg('v', struct.pack('!ii', PROTO_3_0, 0)))
                    return await self.welcome(packet[4:])
                if node.rpc_port:               # wire F8: HTTP/2 SETTINGS, and silence
                    c.write(bytes.fromhex('000012040000000000'
                                          '0005000040000003000000fa000600100140'))
                    while not c.eof:
                        await c.more()
                    return False
                raise Refused('08P01', 'unknown protocol version %d' % code)
        except Refused as e:
            self.out.clear()
            self.say(error(*e.args))
            await self.goodbye()
            return False

    async def not_accepting(self):
        self.node.stats['refused_logins'] += 1
        self.out.clear()
        self.say(shutdown_error('server is not accepting clients' +
                                ('' if self.node.old else ', try another node')))
        await self.goodbye()
        return False

    async def need(self, n):
        while True:
            got = self.client.take(n)
            if got is not None:
                return got
            if self.client.eof:
                raise Gone
            await self.client.more()

    def settings(self, body):
        """The startup packet: (user, database, settings for PostgreSQL, as they were typed)."""
        parts = body.decode('utf-8', 'replace').split('\0')
        user = database = ''
        wanted, typed = {}, {}
        pairs = [p for p in zip(parts[0::2], parts[1::2]) if p[0]]
        for name, value in pairs:
            name = name.lower()
            if name == 'user':
                user = value.lower()
            elif name == 'database':
                database = value
            elif name == 'options':
                pairs += options(value)
            elif name == 'results_buffer_size':
                self.buffer = size_of(value)
            elif check_setting(name, value):
                wanted[name] = typed[name] = value
        return user, database or self.node.conf['defaultdb'], wanted, typed

    async def welcome(self, body):
        node = self.node
        user, database, wanted, typed = self.settings(body)
        if node.busy_logins:                # facts 1.1: before AuthenticationOk
            node.busy_logins -= 1
            node.stats['busy_logins'] += 1
            raise Refused('53300', 'sorry, too many clients already',
                          'the maximum number of allowed connections is 100 and can be modified '
                          'using the server.max_connections_per_gateway config key')
        if not user:
            raise Refused('XXUUU', 'password authentication failed for user ')
        if node.login_latency:
            await asyncio.sleep(node.login_latency)
        packet = struct.pack('!i', PROTO_3_0)
        for k, v in {'user': user, 'database': database, **wanted,
                     'options': '-c default_transaction_isolation=serializable'}.items():
            packet += cstr(k) + cstr(v)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.pg, '127.0.0.1', node.conf['pg_port'])
        self.pg.write(struct.pack('!i', len(packet) + 5) + packet + b'\0')
        while True:
            m = await self.pg_message()
            if m[:1] == b'E':
                f = fields_of(m)
                if f['C'] in ('28000', '28P01'):
                    raise Refused('XXUUU', 'password authentication failed for user ' + user)
                raise Refused(f['C'], f['M'])
            if m[:1] == b'S':
                self.note_value(m)
            if m[:1] == b'K':
                self.pg_key = m[5:13]
            if m[:1] == b'Z':
                break
        values = {k.lower(): v for k, v in self.values.items()}
        values.update(typed)                # wire F2
        values.update(server_version='13.0.0', crdb_version=node.conf['version'])
        self.say(msg('R', b'\0\0\0\0'))
        for name in ORDER_OLD if node.old else ORDER_NEW:
            self.say(parameter(name, values.get(name.lower(), '')))
        self.say(msg('K', node.new_key(self)))
        if node.refusing:                   # it began to while we were at it
            return await self.not_accepting()
        await self.ready()
        return True

    def note_value(self, m):
        name, value = m[5:-1].decode('utf-8', 'replace').split('\0')
        self.values[name] = value
        return name.lower()

    # -- PostgreSQL

    async def pg_message(self):
        while True:
            m = self.pg.pop()
            if m is not None:
                return m
            if self.pg.eof:
                raise Gone
            await self.pg.more()

    async def talk(self, data, want=None, quiet=False, drop=b'', execute=False):
        """Sends, and reads to ReadyForQuery; behind a Flush, until `want` answers have come,
        with `execute` also the end of an Execute. What the client gets is said, apart from
        CommandComplete, errors, and letters in `drop`."""
        pg, a = self.pg, Answer()
        pg.write(data)
        if pg.blocked:
            await pg.drained()
        self.busy = True
        try:
            while True:
                m = pg.pop()
                if m is None:
                    if pg.eof:
                        raise Gone
                    await pg.more()
                    continue
                k = m[:1]
                if k == b'D' or k in b'NtHdc':
                    if not quiet and (k != b'N' or not self.expired):
                        self.say(m)
                        if self.out_size > self.buffer:     # wire B3
                            await self.push()
                elif k in b'12n3T':
                    a.counted += 1
                    if not quiet and k not in drop:
                        self.say(m)
                elif k == b'C':
                    a.tag = m[5:-1]
                elif k in b'sI':
                    a.end = m
                elif k == b'E':
                    a.error = fields_of(m)
                    a.fatal = a.error.get('V') in ('FATAL', 'PANIC')
                    if want is not None:
                        want = None
                        pg.write(SYNC)
                elif k == b'S':
                    a.changed.add(self.note_value(m))
                elif k == b'G':
                    self.say(m)
                    await self.push()
                    await self.copy_in()
                elif k == b'Z':
                    self.status = chr(m[5])
                    self.unsynced = False
                    return a
                ended = not execute or a.tag is not None or a.end
                if want is not None and a.counted >= want and ended:
                    self.unsynced = True
                    return a
        finally:
            self.busy = False

    async def copy_in(self):
        """The client's data to PostgreSQL (wire E3)."""
        self.copying, self.busy = True, False
        try:
            while True:
                m = self.client.pop(MAX_MESSAGE)
                if m is None:
                    await self.wait_client()
                    continue
                if m[:1] in b'dcf':
                    self.pg.write(m)
                    if self.pg.blocked:
                        await self.pg.drained()
                    if m[:1] != b'd':
                        return
                elif m[:1] == b'X':
                    raise Gone
        finally:
            self.copying, self.busy = False, True

    async def quietly(self, sql):
        """SQL of our own."""
        return await self.talk(msg('Q', sql + b'\0'), quiet=True)

    async def abort_block(self):
        """Into the state of a failed transaction."""
        if self.status == 'T':
            await self.quietly(b'ROLLBACK TO SAVEPOINT crdbnode_abort')

    async def refuse(self, code, text, hint=None):
        """An error of CockroachDB's own."""
        self.say(error(code, text, hint))
        if self.unsynced:
            await self.talk(msg('P', b'\0crdbnode\0\0\0') + SYNC, quiet=True)
        if not self.virtual:
            await self.abort_block()

    def mapped(self, f, stmt):
        """PostgreSQL's error in CockroachDB's words (wire B1, B14, E8)."""
        code, text, hint = f.get('C', 'XX000'), f.get('M', ''), f.get('H')
        if code == '40001':
            text, hint = REFRESH if stmt and stmt.kind in ('commit', 'release') else TOO_OLD
        elif code == '40P01':
            code, (text, hint) = '40001', PUSHER
        elif code == '57014' and stmt and stmt.kind == 'copy':
            code, text = 'XXUUU', 'context canceled' if self.expired else 'client canceled COPY'
        elif code == '57014':
            late = ' due to statement timeout' if 'timeout' in text else ''
            text = 'query execution canceled' + late
        elif code == '26000' and (not stmt or stmt.word not in (b'EXECUTE', b'DEALLOCATE')):
            name = re.search('".*"', text)
            text = 'unknown prepared statement ' + (name.group() if name else '""')
        elif code == '25P02':
            text = ABORTED[1]
        return error(code, text, hint, (f['F'], f['L'], f['R']) if 'F' in f else None, f.get('D'))

    # -- the extended protocol

    def enqueue(self, m, undo=None):
        self.group.append((m, undo))

    def remember(self, table, key, value):
        """Sets or removes; gives what undoes it."""
        was = table.get(key)
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
        return (table, key, was)

    def settle(self, group, done):
        """The first `done` of the group have happened, the others have not."""
        for _, undo in reversed(group[done:]):
            if undo:
                table, key, was = undo
                self.remember(table, key, was)

    async def run_group(self, end=FLUSH):
        """What waits, with a Flush or a Sync behind; False when it failed."""
        group, self.group = self.group, []
        if not group and end == FLUSH:
            return True
        data = b''.join(m for m, _ in group) + end
        a = await self.talk(data, want=len(group) if end == FLUSH else None)
        self.settle(group, a.counted)
        if a.error:
            self.say(self.mapped(a.error, None))
            self.skip = True
        self.check(a)
        return not a.error

    def check(self, a):
        if a.fatal:
            raise Gone
        if self.expired:
            raise Leave

    async def on_parse(self, m):
        name, text = m[5:].split(b'\0', 2)[:2]
        s = classify(text, self.node.old)
        err = s.err
        if s.kind == 'copy' and not err and self.node.old:
            err = ('XXUUU', 'CopyFrom not supported in extended protocol mode')     # wire E3
        if not err and len(split(text)) > 1:
            err = ('42P14', 'prepared statement had %d statements, expected 1' % len(split(text)))
        if err:
            if await self.run_group():
                await self.refuse(*err)
                self.skip = True
            return
        sql = self.shown(s)
        if sql is not s.text:
            m = msg('P', name + b'\0' + sql + m[5 + len(name) + 1 + len(text):])
        self.enqueue(m, self.remember(self.stmts, name, s))

    def shown(self, s):
        """The text for PostgreSQL."""
        if s.kind in ('refused', 'nothing'):
            return b'SELECT'
        if s.kind != 'show':
            return s.sql
        name = re.sub(r'\s+', ' ', s.names[0])
        state = {'I': 'NoTxn', 'T': 'CommitWait' if self.virtual else 'Open', 'E': 'Aborted'}
        value = {'node_id': str(self.node.conf['id']), 'crdb_version': self.node.conf['version'],
                 'locality': '', 'session_id': '%032x' % id(self),
                 'transaction status': state[self.tx()]}[name]
        return ("SELECT '%s'::text AS \"%s\"" % (value, name)).encode()

    async def on_bind(self, m):
        portal, name = m[5:].split(b'\0', 2)[:2]
        self.enqueue(m, self.remember(self.portals, portal, self.stmts.get(name, OTHER)))

    async def on_close(self, m):
        name = m[6:-1]
        if m[5:6] == b'P' and name == self.suspended:
            self.suspended = None
        self.enqueue(m, self.remember(self.stmts if m[5:6] == b'S' else self.portals, name, None))

    async def on_execute(self, m):
        portal = m[5:m.index(b'\0', 5)]
        s = self.portals.get(portal, OTHER)
        resumed = self.suspended is not None and self.suspended == portal
        if await self.local(s, portal):
            return
        group, self.group = self.group, []
        for x, _ in group:
            self.tokens(x)
        bind = next((x for x, _ in reversed(group) if x[:1] == b'B'), None)
        batch = self.node.batches and self.status == 'I' and s.kind == 'other'
        if batch:           # one transaction to the Sync (facts 2.2)
            data, want = b''.join(x for x, _ in group) + m + FLUSH, len(group)
        else:
            data, want = b''.join(x for x, _ in group) + m + SYNC, None
        again = bind + m + SYNC if bind and not batch and not self.unsynced else None
        a = await self.execute(s, data, again, want)
        self.settle(group, a.counted)
        if not a.error:
            self.suspended = portal if a.end and a.end[:1] == b's' and self.status == 'T' else \
                None if resumed else self.suspended
        self.finish(s, a)
        if a.error:
            self.skip = True
        await self.afterwards(s, a)

    # -- statements of both protocols

    def tokens(self, data):
        if b'tok_' in data:
            for t in TOKEN.findall(data):
                self.node.passed_tokens[t.decode()] += 1

    def refusal(self, s, portal):
        """Why a statement cannot be run, by what state we are in: (code, text)."""
        tx = self.tx()
        if self.suspended not in (None, portal) and tx == 'T':
            return PORTALS                  # wire E6
        if tx == 'I' and s.kind in ('commit', 'rollback', 'savepoint', 'release', 'rollback_to'):
            return NO_BLOCK                 # wire B7
        if tx == 'T' and s.kind == 'begin' and not self.virtual:
            return IN_BLOCK
        first = self.virtual or not self.block_work
        if s.kind == 'savepoint' and s.restart and tx == 'T' and not first:
            return NOT_FIRST
        if tx != 'E' and s.kind == 'refused':
            return ('42704', s.names[0])
        if tx != 'E' and s.kind == 'force':
            return s.names
        return None

    async def local(self, s, portal=None):
        """Answers what PostgreSQL is not asked; True when that was all."""
        err = self.refusal(s, portal)
        inj = None if err or self.tx() == 'E' else self.node.injection(s, self.tx())
        mine = self.virtual or s.kind == 'nothing' or \
            (s.restart and s.kind in ('release', 'rollback_to'))
        if not err and not mine and (not inj or inj['when'] != 'before'):
            self.pending = inj
            return False
        if not await self.run_group():
            return True
        if err or inj:
            if inj:
                err = (inj['code'], inj['text'], inj['hint'])
                if s.kind == 'commit':
                    await self.quietly(b'ROLLBACK')
                    await self.end_block(True)
            await self.refuse(*err)
            self.skip = portal is not None
        elif s.kind == 'nothing':
            self.say(msg('I'))
        elif not await self.restarting(s):
            self.skip = portal is not None
        return True

    async def restarting(self, s):
        """cockroach_restart (wire D1): RELEASE is the commit. False: an error was said."""
        tag = None
        if self.virtual == 'T' and s.kind in ('commit', 'rollback'):
            self.virtual, tag = None, b'COMMIT'
        elif self.virtual == 'T':
            self.say(error(*COMMITTED))
            return False
        elif self.tx() == 'E' and s.kind == 'release':
            self.say(error(*ABORTED))
            return False
        elif s.kind == 'rollback_to' and s.restart:
            if not self.virtual:
                a = await self.quietly(b'ROLLBACK TO SAVEPOINT cockroach_restart')
                if a.error:
                    self.say(error('3B001', 'savepoint "cockroach_restart" does not exist'))
                    return False
                await self.quietly(b'ROLLBACK')
                await self.end_block(True, keep=True)
            self.virtual = None
            for sql in (self.begin, b'SAVEPOINT cockroach_restart'):
                await self.quietly(sql)
            self.block_work, tag = 0, b'ROLLBACK'
        elif self.virtual == 'E' and s.kind in ('commit', 'rollback'):
            self.virtual, tag = None, b'ROLLBACK'
        elif self.virtual == 'E':
            self.say(error(*ABORTED))
            return False
        else:
            a = await self.quietly(b'RELEASE SAVEPOINT cockroach_restart')
            if not a.error:
                a = await self.quietly(b'COMMIT')
                self.virtual = 'E' if a.error else 'T'
            if a.error:
                self.say(self.mapped(a.error, s))
                return False
            tag = b'COMMIT'
        self.say(msg('C', tag + b'\0'))
        return True

    async def execute(self, s, data, again, want=None):
        """Runs it; outside a block again, as the server does, while nothing has left and
        it is 40001 (wire B3)."""
        node, inj = self.node, self.pending
        self.pending = None
        if node.latency:
            await asyncio.sleep(node.latency)
        node.stats['passed'] += 1
        if data[:1] == b'Q':
            self.tokens(data)
        alone = self.status == 'I'
        if inj and inj['when'] == 'rows' and alone:
            await self.quietly(b'BEGIN')
        mark, pushes, drop = len(self.out), self.pushes, b''
        tries = node.retries if alone and s.kind == 'other' and again and not inj else 0
        while True:
            a = await self.talk(data, want, drop=drop, execute=want is not None)
            again_may = tries and pushes == self.pushes and not self.expired
            if not a.error or a.error['C'] not in ('40001', '40P01') or not again_may:
                break
            tries -= 1
            node.stats['retried'] += 1
            self.strip(mark, b'' if data[:1] == b'Q' else KEPT)
            await asyncio.sleep(random.uniform(0, 0.01))
            data, drop = again, b'2' if again[:1] == b'B' else b''
        if inj and not a.error:
            await self.injected(s, a, inj, alone, mark if pushes == self.pushes else 0,
                                data[:1] == b'Q')
        self.block_work += s.kind not in ('begin', 'settx', 'set', 'savepoint', 'rollback_to')
        return a

    def strip(self, mark, keep):
        """Takes back what has not left, but for these letters."""
        kept = [m for m in self.out[mark:] if m[:1] in keep]
        del self.out[mark:]
        self.out += kept
        self.out_size = sum(map(len, self.out))

    async def injected(self, s, a, inj, alone, mark, simple):
        """It has been run, and the client is told that it failed."""
        if inj['when'] == 'rows':
            if alone:
                await self.quietly(b'ROLLBACK')
            else:
                await self.abort_block()
        else:
            self.strip(mark, b'' if simple else KEPT)
            if self.status == 'T' and s.kind != 'commit':
                await self.abort_block()
        a.error = {'C': inj['code'], 'M': inj['text'], 'H': inj['hint'], 'injected': '1'}
        a.tag = a.end = None

    def finish(self, s, a):
        """Says how it ended; ParameterStatus goes before CommandComplete (wire C3)."""
        if a.error and 'injected' in a.error:
            self.say(error(a.error['C'], a.error['M'], a.error['H']))
            return
        if a.error:
            self.say(self.mapped(a.error, s))
            return
        if a.end:
            self.say(a.end)
            return
        if a.tag is None:
            return
        tag = a.tag
        if tag in (b'RESET', b'START TRANSACTION', b'DISCARD ALL'):     # wire C4, C5, D6
            tag = {b'R': b'SET', b'S': b'BEGIN', b'D': b'DISCARD'}[tag[:1]]
        if a.changed or s.kind in ('set', 'reset', 'set_config', 'discard'):
            names = a.changed
            if self.node.old:
                names = names | (REPORTED_OLD if s.kind == 'discard' else set(s.names))
            for name, value in sorted(self.values.items(), key=lambda p: p[0].lower()):
                if name.lower() in names & (REPORTED_OLD if self.node.old else REPORTED_NEW):
                    self.say(parameter(name, value))
        self.say(msg('C', tag + b'\0'))

    async def afterwards(self, s, a):
        """What stays of a transaction (wire C1), and whether to go on."""
        if s.kind == 'discard' and not a.error:
            self.stmts.clear()
        if s.kind == 'begin' and not a.error:
            self.begin, self.block_work = s.sql, 0
            self.sets.clear()
        elif self.status == 'T' and not a.error and s.kind in ('set', 'reset', 'set_config'):
            self.sets.append(s.sql)
        elif self.status == 'I':
            await self.end_block(a.tag == b'ROLLBACK' or a.error)
        elif s.kind == 'rollback_to' and not a.error:
            await self.end_block(True, keep=True)
        self.check(a)

    async def end_block(self, undone, keep=False):
        """SET is not undone by a rollback."""
        sets, self.sets = self.sets, self.sets if keep else []
        if sets and undone:
            await self.quietly(b'; '.join(x.rstrip(b'; \n') for x in sets))

    # -- the simple protocol

    async def on_query(self, m):
        if self.group and not await self.run_group():
            self.skip = False
            await self.ready()
            return
        texts = split(m[5:-1])
        stmts = [classify(t, self.node.old) for t in texts] or [OTHER]
        bad = next((s for s in stmts if s.err), None)
        if bad:             # what the parser refuses executes nothing (wire B8)
            await self.refuse(*bad.err)
        elif len(stmts) == 1:
            await self.statement(stmts[0])
        elif self.node.batches and all(s.kind in PLAIN for s in stmts):
            whole = Stmt('batch', b'', m[5:-1], names=tuple(n for s in stmts for n in s.names))
            await self.statement(whole)
        elif self.status != 'I' or self.virtual or await self.parses(stmts):
            for s in stmts:
                if s.kind == 'copy':
                    await self.refuse('08P01', 'COPY together with other statements in a query '
                                      'string is not supported')
                    break
                if not await self.statement(s):
                    break
        await self.ready()

    async def parses(self, stmts):
        """A syntax error anywhere executes nothing (wire B8)."""
        for s in stmts:
            a = await self.talk(msg('P', b'\0' + self.shown(s) + b'\0\0\0') + SYNC, quiet=True)
            if a.error and a.error['C'] == '42601':
                self.say(self.mapped(a.error, s))
                return False
        return True

    async def statement(self, s):
        """One statement of a Query; False when it failed."""
        if await self.local(s):
            return not self.out or self.out[-1][:1] != b'E'
        data = msg('Q', self.shown(s) + b'\0')
        if s.kind == 'batch':
            a = await self.talk_batch(data)
        else:
            a = await self.execute(s, data, data)
        self.finish(s, a)
        await self.afterwards(s, a)
        return not a.error

    async def talk_batch(self, data):
        """Several statements at once: each CommandComplete as it comes."""
        self.pending = None
        self.node.stats['passed'] += 1
        self.tokens(data)
        pg = self.pg
        pg.write(data)
        a = Answer()
        while True:
            m = await self.pg_message()
            if m[:1] == b'E':
                a.error = fields_of(m)
                a.fatal = a.error.get('V') in ('FATAL', 'PANIC')
            elif m[:1] == b'S':
                a.changed.add(self.note_value(m))
            elif m[:1] == b'Z':
                self.status = chr(m[5])
                return a
            elif m[:1] == b'C' and m[5:-1] == b'RESET':
                self.say(msg('C', b'SET\0'))
            else:
                self.say(m)

    # -- messages

    async def on_sync(self):
        if self.group or self.unsynced:
            await self.run_group(SYNC)
            self.skip = False
        await self.ready()

    async def skipping(self, k):
        """Behind an error: to Sync, or a Query, which is answered by Z alone (wire B10)."""
        if k in b'SQ':
            self.skip = False
            await self.ready()
        elif k == b'H':
            await self.push()

    async def too_big(self, letter, n):
        """Wire E9."""
        if letter != ord('Q'):
            raise Gone
        await self.client.discard(n)
        await self.refuse('08P01', 'message size %d MiB bigger than maximum allowed message size '
                          '16 MiB' % round((n - 5) / (1 << 20)))
        await self.ready()

    async def loop(self):
        c = self.client
        handlers = {b'P': self.on_parse, b'B': self.on_bind, b'C': self.on_close,
                    b'E': self.on_execute, b'Q': self.on_query}
        while True:
            try:
                m = c.pop(MAX_MESSAGE)
            except Oversize as e:
                await self.too_big(*e.args)
                continue
            if m is None:
                await self.wait_client()
                continue
            k = m[:1]
            if k == b'X':
                return
            if self.skip:
                await self.skipping(k)
            elif k == b'S':
                await self.on_sync()
            elif k in handlers:
                await handlers[k](m)
            elif k == b'D':
                self.enqueue(m)
            elif k == b'H':
                await self.run_group()
                await self.push()
            elif k not in b'dcf':           # stray ones are ignored (wire E3); others: wire E5
                if await self.run_group():
                    await self.refuse('08P01', "unrecognized client message type '%s'" %
                                      k.decode('latin1'))
                    self.skip = True
                await self.push()

    pending = None


# ---- the node ---------------------------------------------------------------------------------

class Node:
    """What all its clients share."""

    def __init__(self, conf):
        self.conf = conf
        self.version = tuple(int(x) for x in re.search(r'v(\d+)\.(\d+)', conf['version']).groups())
        self.old = self.version < (22, 2)
        self.batches = self.version >= (22, 2)
        self.rpc_port = conf.get('rpc_port', False)
        self.buffer = conf.get('results_buffer', 16 << 10 if self.version < (24, 1) else 512 << 10)
        self.sessions = set()
        self.waiters = []
        self.tasks = set()
        self.reset()

    def reset(self):
        """As it was at its start; connections are closed."""
        self.stop_drain()
        self.rng = random.Random(self.conf.get('seed', 1))
        self.phase, self.not_ready = 'running', None
        self.refusing, self.draining = False, None
        self.latency = self.login_latency = 0
        self.busy_logins, self.injections = 0, []
        self.retries = self.conf.get('retries', 100)
        self.stats = collections.Counter()
        self.passed_tokens, self.refused_tokens = collections.Counter(), collections.Counter()
        for s in list(self.sessions):
            s.cut()

    def stop_drain(self):
        for t in list(self.tasks):
            t.cancel()

    def spawn(self, coroutine):
        t = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(t)
        t.add_done_callback(self.tasks.discard)

    def accept(self, pipe):
        pipe.transport.set_write_buffer_limits(1 << 20)
        s = Session(self, pipe)
        self.sessions.add(s)
        s.task = asyncio.get_running_loop().create_task(s.run())

    def changed(self):
        for w in self.waiters:
            if not w.done():
                w.set_result(None)
        self.waiters = []

    async def until_empty(self, seconds):
        """Until no client is left, or so many seconds have gone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while any(not s.told for s in self.sessions) and loop.time() < end:
            w = loop.create_future()
            self.waiters.append(w)
            await asyncio.wait([w], timeout=end - loop.time())

    # -- cancel (wire F3, facts 3.3)

    def new_key(self, s):
        if not self.conf.get('real_keys'):
            return bytes(8)
        key = self.conf['id'] << 52 | random.getrandbits(52)
        s.keyfile = os.path.join(self.conf['keys'], '%016x' % key)
        os.symlink(s.pg_key.hex(), s.keyfile)
        return struct.pack('!Q', key)

    async def forward_cancel(self, key):
        """To whichever node the session is on: all know PostgreSQL's key for it."""
        self.stats['cancels'] += 1
        if not self.conf.get('real_keys'):
            return
        try:
            inner = os.readlink(os.path.join(self.conf['keys'], key.hex()))
        except OSError:
            return
        await self.cancel(bytes.fromhex(inner))

    async def cancel(self, pg_key):
        pipe = Pipe()
        await asyncio.get_running_loop().create_connection(lambda: pipe, '127.0.0.1',
                                                           self.conf['pg_port'])
        pipe.write(struct.pack('!ii', 16, CODE_CANCEL) + pg_key)
        while not pipe.eof:
            await pipe.more(5)
        pipe.close()

    # -- hooks

    def injection(self, s, tx):
        """The hook that a statement meets, if any; each is used up after n."""
        if not self.injections or b'pg_is_in_recovery' in s.text:
            return None
        for inj in self.injections:
            on = inj['on']
            hit = s.kind == 'commit' and tx == 'T' if on == 'commit' else \
                s.kind in ('other', 'copy', 'set_config') if on == 'statement' else s.kind == on
            if not hit or (inj['block'] is not None and inj['block'] != (tx == 'T')):
                continue
            if inj['match'] and not re.search(inj['match'].encode(), s.text):
                continue
            inj['n'] -= 1
            if inj['n'] <= 0:
                self.injections.remove(inj)
            self.stats['injected'] += 1
            return inj
        return None

    def inject(self, code='40001', n=1, on='statement', when='before', match=None, block=None,
               text=None):
        usual = {'40001': REFRESH if on == 'commit' else TOO_OLD, '40003': (AMBIGUOUS, None)}
        said, hint = usual.get(code, ('injected', None))
        self.injections.append({'code': code, 'n': n, 'on': on, 'when': when, 'match': match,
                                'block': block, 'text': text or said, 'hint': hint})

    # -- drain (wire H, facts 1.5)

    async def drain(self, initial_wait, connections_timeout, transactions_timeout, tell, seed,
                    leave):
        if seed is not None:
            self.rng = random.Random(seed)
        self.phase, self.not_ready = 'unready', 'node is shutting down'
        if initial_wait:
            await asyncio.sleep(initial_wait)
        self.phase, self.refusing = 'refusing', True
        if connections_timeout:
            await self.until_empty(connections_timeout)
        self.phase, self.draining = 'draining', {'tell': tell}
        for s in list(self.sessions):
            s.client.wake()
        half = min(0.5, transactions_timeout)
        await self.until_empty(half)
        for s in list(self.sessions):       # wire H6
            if s.suspended is not None and not s.busy and s.tx() == 'T':
                s.client.write(error(*DRAIN_PORTAL))
        await self.until_empty(transactions_timeout - half)
        await self.expire()
        self.phase = 'drained'
        if leave:
            await asyncio.sleep(0.05)
            os._exit(0)

    async def expire(self):
        """transactions_timeout is over: 57014 for who runs, then 57P01 for all; a second
        later they are cut."""
        for s in list(self.sessions):
            s.expired = True
            s.client.wake()
        for _ in range(10):
            busy = [s for s in self.sessions if s.busy and s.pg_key]
            if busy:
                await asyncio.gather(*(self.cancel(s.pg_key) for s in busy), return_exceptions=True)
            await self.until_empty(0.1)
            if all(s.told for s in self.sessions):
                return
        for s in list(self.sessions):
            if not s.told:
                s.cut()

    # -- what the tests ask for

    def command(self, c):
        what = c.pop('do')
        if what == 'drain':
            self.spawn(self.drain(**c))
        elif what == 'inject':
            self.inject(**c)
        elif what == 'set':
            for k, v in c.items():
                if k not in ('latency', 'login_latency', 'busy_logins', 'not_ready', 'retries'):
                    raise ValueError('no such knob: ' + k)
                setattr(self, k, v)
        elif what == 'clear':
            self.injections.clear()
        elif what == 'reset':
            self.reset()
        elif what == 'break':
            for s in list(self.sessions):
                s.client.transport.abort()
        elif what != 'stats':
            raise ValueError('no such command: ' + what)
        return {'phase': self.phase, 'connections': len(self.sessions),
                'counts': dict(self.stats), 'passed_tokens': dict(self.passed_tokens),
                'refused_tokens': dict(self.refused_tokens), 'injections': len(self.injections)}


class Http(asyncio.Protocol):
    """GET /health (facts 1.4)."""

    node = None

    def __init__(self):
        self.buf = b''
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buf += data
        while b'\r\n\r\n' in self.buf:
            head, self.buf = self.buf.split(b'\r\n\r\n', 1)
            line = (head.split(b'\r\n', 1)[0].decode('latin1').split(' ') + ['', '', ''])[:3]
            status, body = self.answer(line[0], line[1])
            ends = line[2] != 'HTTP/1.1' or b'connection: close' in head.lower()
            out = 'HTTP/1.1 %s\r\nContent-Type: application/json\r\n' % status
            out += 'Content-Length: %d\r\n' % len(body)
            out += 'Connection: close\r\n\r\n' if ends else '\r\n'
            self.transport.write(out.encode() + (b'' if line[0] == 'HEAD' else body.encode()))
            if ends:
                self.transport.close()
                return

    def answer(self, method, target):
        path, _, question = target.partition('?')
        if method not in ('GET', 'HEAD'):
            return '405 Method Not Allowed', ''
        if path.rstrip('/') not in ('/health', '/api/v2/health'):
            return '404 Not Found', 'Not Found\n'
        self.node.stats['health'] += 1
        why = self.node.not_ready
        if question in ('ready=1', 'ready=true') and why:
            return '503 Service Unavailable', json.dumps(
                {'error': why, 'code': 14, 'message': why, 'details': []}, separators=(',', ':'))
        return '200 OK', '{}'


async def control(node):
    """A line of JSON in, a line of JSON out; the end of input ends the process."""
    reader = asyncio.StreamReader(limit=1 << 22)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        line = await reader.readline()
        if not line:
            return
        try:
            answer = node.command(json.loads(line))
        except (TypeError, ValueError, KeyError) as e:
            answer = {'wrong': repr(e)}
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


async def main(conf):
    node = Node(conf)
    Http.node = node
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Pipe(node.accept), conf.get('host', '127.0.0.1'), conf['port'], backlog=500)
    await loop.create_server(Http, conf.get('host', '127.0.0.1'), conf['http_port'], backlog=100)
    sys.stdout.write('ready\n')
    sys.stdout.flush()
    await control(node)
    os._exit(0)


if __name__ == '__main__':
    asyncio.run(main(json.loads(sys.argv[1])))
