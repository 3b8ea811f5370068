"""The PostgreSQL protocol by hand: a client, a scripted server, a cancel.

Messages are made by functions that return bytes (query(), parse(), ...), so
that a test can join, cut and damage them. What comes back is read as tuples
whose first part is the message's letter:

    ('T', ['col', ...])  ('D', ['1', None, ...])  ('C', 'SELECT 1')  ('Z', 'I')
    ('E', {'S': ..., 'C': '40001', 'M': ...})     ('S', ('name', 'value'))
    ('K', (pid, key))  ('R', (0, b''))  ('1',) ('2',) ('n',) ('s',) ...

SPDX-License-Identifier: ISC
"""
import base64
import hashlib
import hmac
import os
import queue
import socket
import struct
import threading

PROTO_3_0 = 196608
CODE_CANCEL, CODE_SSL, CODE_GSS = 80877102, 80877103, 80877104


def cstr(s):
    return (s if isinstance(s, bytes) else s.encode()) + b'\0'


def msg(letter, body=b''):
    return letter.encode() + struct.pack('!i', len(body) + 4) + body


# ---- what clients say -------------------------------------------------------

def startup(user='app', database='app', proto=PROTO_3_0, **params):
    body = struct.pack('!i', proto)
    pairs = {'user': user, 'database': database, **params}
    for k, v in pairs.items():
        if v is not None:
            body += cstr(k) + cstr(v)
    body += b'\0'
    return struct.pack('!i', len(body) + 4) + body


def special(code, rest=b''):
    """SSLRequest, GSSENCRequest, CancelRequest."""
    return struct.pack('!ii', 8 + len(rest), code) + rest


def query(sql):
    return msg('Q', cstr(sql))


def parse(sql, name='', oids=()):
    return msg('P', cstr(name) + cstr(sql) + struct.pack('!h', len(oids)) +
               b''.join(struct.pack('!i', o) for o in oids))


def bind(params=(), name='', portal='', result=()):
    body = cstr(portal) + cstr(name) + struct.pack('!hh', 0, len(params))
    for p in params:
        if p is None:
            body += struct.pack('!i', -1)
        else:
            p = p if isinstance(p, bytes) else str(p).encode()
            body += struct.pack('!i', len(p)) + p
    body += struct.pack('!h', len(result)) + b''.join(struct.pack('!h', r) for r in result)
    return msg('B', body)


def describe(kind='P', name=''):
    return msg('D', kind.encode() + cstr(name))


def execute(portal='', rows=0):
    return msg('E', cstr(portal) + struct.pack('!i', rows))


def close(kind, name):
    return msg('C', kind.encode() + cstr(name))


def flush():
    return msg('H')


def sync():
    return msg('S')


def terminate():
    return msg('X')


def copy_data(data):
    return msg('d', data if isinstance(data, bytes) else data.encode())


def copy_done():
    return msg('c')


def copy_fail(why='no'):
    return msg('f', cstr(why))


def function_call(oid, *args):
    body = struct.pack('!ihhh', oid, 1, 0, len(args))
    for a in args:
        a = str(a).encode()
        body += struct.pack('!i', len(a)) + a
    return msg('F', body + struct.pack('!h', 0))


def password(text):
    return msg('p', cstr(text))


def extended(sql, params=(), name='', rows=0):
    """Parse, Bind, Describe, Execute; no Sync."""
    return parse(sql, name) + bind(params, name) + describe() + execute('', rows)


# ---- what servers say -------------------------------------------------------

def auth_ok():
    return msg('R', struct.pack('!i', 0))


def parameter(name, value):
    return msg('S', cstr(name) + cstr(value))


def key_data(pid, key):
    return msg('K', struct.pack('!ii', pid, key))


def ready(status='I'):
    return msg('Z', status.encode())


def row_description(*names):
    body = struct.pack('!h', len(names))
    for n in names:
        body += cstr(n) + struct.pack('!ihihih', 0, 0, 25, -1, -1, 0)
    return msg('T', body)


def data_row(*values):
    body = struct.pack('!h', len(values))
    for v in values:
        if v is None:
            body += struct.pack('!i', -1)
        else:
            v = v if isinstance(v, bytes) else str(v).encode()
            body += struct.pack('!i', len(v)) + v
    return msg('D', body)


def complete(tag):
    return msg('C', cstr(tag))


def error(code, text='scripted', severity='ERROR', letter='E', v=None):
    fields = {'S': severity, 'V': v or severity, 'C': code, 'M': text}
    return msg(letter, b''.join(k.encode() + cstr(x) for k, x in fields.items()) + b'\0')


def notice(text, code='00000'):
    return error(code, text, 'NOTICE', 'N')


def result(value='1', tag='SELECT 1', col='?column?'):
    """A whole answer of one row, without ReadyForQuery."""
    return row_description(col) + data_row(value) + complete(tag)


# ---- reading ----------------------------------------------------------------

class Closed(Exception):
    """The peer closed the connection."""


def _fields(body):
    out = {}
    for part in body.rstrip(b'\0').split(b'\0'):
        if part:
            out[part[:1].decode()] = part[1:].decode('utf-8', 'replace')
    return out


def _strings(body):
    return [s.decode('utf-8', 'replace') for s in body.split(b'\0')]


def decode(letter, body):
    """Turns a server's message into a tuple."""
    if letter in 'EN':
        return (letter, _fields(body))
    if letter == 'Z':
        return ('Z', body.decode())
    if letter == 'C':
        return ('C', body[:-1].decode())
    if letter == 'S':
        return ('S', tuple(_strings(body)[:2]))
    if letter == 'K':
        return ('K', struct.unpack('!ii', body))
    if letter == 'R':
        return ('R', (struct.unpack('!i', body[:4])[0], body[4:]))
    if letter == 'T':
        n, at, names = struct.unpack('!h', body[:2])[0], 2, []
        for _ in range(n):
            end = body.index(b'\0', at)
            names.append(body[at:end].decode())
            at = end + 19
        return ('T', names)
    if letter == 'D':
        n, at, vals = struct.unpack('!h', body[:2])[0], 2, []
        for _ in range(n):
            size = struct.unpack('!i', body[at:at + 4])[0]
            at += 4
            vals.append(None if size < 0 else body[at:at + size].decode('utf-8', 'replace'))
            at += max(size, 0)
        return ('D', vals)
    if letter == 'v':
        newest, n = struct.unpack('!ii', body[:8])
        return ('v', (newest, _strings(body[8:])[:n]))
    if letter in 'dAV':
        return (letter, body)
    return (letter,) if not body or letter in '123nstIGHWc' else (letter, body)


def spell(data):
    """Messages of either side for people."""
    out, at = [], 0
    while at + 5 <= len(data):
        n = struct.unpack_from('!i', data, at + 1)[0]
        body = data[at + 5:at + 1 + n].rstrip(b'\0')
        out.append((data[at:at + 1].decode('latin1') + ' ' + (repr(body)[2:-1] if body else '')).strip()[:160])
        at += 1 + max(n, 4)
    return ' | '.join(out) or '(nothing)'


class Stream:
    """Bytes in and out of a socket, cut into messages."""

    def __init__(self, sock, timeout=20):
        self.sock = sock
        self.sock.settimeout(timeout)
        if sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b''

    def send(self, *parts):
        self.sock.sendall(b''.join(parts))

    def send_bytewise(self, data):
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])

    def take(self, n):
        while len(self.buf) < n:
            try:
                got = self.sock.recv(max(65536, n - len(self.buf)))
            except ConnectionError as e:
                raise Closed(str(e)) from e
            if not got:
                raise Closed('end of file, %d bytes left over: %r' % (len(self.buf), self.buf[:80]))
            self.buf = self.buf + got if self.buf else got
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def read_raw(self):
        head = self.take(5)
        size = struct.unpack('!i', head[1:])[0]
        if size < 4:
            raise AssertionError('bad length from peer: %r' % head)
        return head[:1].decode('latin1'), self.take(size - 4)

    def exact(self, want, what='the peer'):
        """The next bytes must be these whole messages."""
        got, why = b'', ''
        while not why and len(got) < len(want):
            try:
                letter, body = self.read_raw()
                got += msg(letter, body)
            except (Closed, TimeoutError) as e:
                why = ', then: %r' % e
            if not want.startswith(got):
                why = why or ' (not that)'
        assert not why, '%s should have sent\n    %s\nand sent\n    %s%s' % (
            what, spell(want), spell(got), why)

    def closed(self):
        """True when the peer has closed (waits for it); False when bytes came."""
        if self.buf:
            return False
        try:
            self.buf = self.sock.recv(65536)
        except ConnectionError:
            return True
        return not self.buf

    def quiet(self, seconds=0.2):
        """True when nothing comes for that long."""
        if self.buf:
            return False
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.buf = self.sock.recv(65536)
            return False
        except (socket.timeout, TimeoutError):
            return True
        finally:
            self.sock.settimeout(old)

    def reset(self):
        """Ends with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


def unix_path(directory, port):
    """Where libpq looks for the unix socket of a port; @ stands for an abstract one."""
    return ('%s/.s.PGSQL.%d' % (directory, port)).replace('@', '\0', directory[:1] == '@')


def dial(host, port, timeout=20, rcvbuf=None):
    """A connected socket; a host that is a path, or begins with @, is as with libpq."""
    unix = host[:1] in '/@'
    s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(timeout)
    try:
        s.connect(unix_path(host, port) if unix else (host, port))
    except OSError:
        s.close()
        raise
    return s


class Conn(Stream):
    """A client."""

    def __init__(self, port, host='127.0.0.1', timeout=20, login=True, rcvbuf=None, tls=None, direct=False,
                 sni=None, **kw):
        """tls: an ssl.SSLContext; direct: without asking first."""
        s = dial(host, port, timeout, rcvbuf)
        if tls:
            if not direct:
                s.sendall(special(CODE_SSL))
                answer = s.recv(1)
                if answer != b'S':
                    raise Closed('TLS was refused: %r' % answer)
            s = tls.wrap_socket(s, server_hostname=sni)
        super().__init__(s, timeout)
        self.params, self.key, self.login_messages = {}, None, []
        if login:
            self.login(**kw)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()

    def login(self, user='app', database='app', secret=None, **params):
        """Startup to the first ReadyForQuery; PgError when refused."""
        self.send(startup(user, database, **params))
        scram = None
        while True:
            m = self.read()
            self.login_messages.append(m)
            if m[0] == 'E':
                raise PgError(m[1])
            if m[0] == 'S':
                self.params[m[1][0]] = m[1][1]
            elif m[0] == 'K':
                self.key = m[1]
            elif m[0] == 'Z':
                return self
            elif m[0] == 'R':
                code, rest = m[1]
                if code == 3:
                    self.send(password(secret))
                elif code == 5:
                    inner = hashlib.md5((secret + user).encode()).hexdigest().encode()
                    self.send(password('md5' + hashlib.md5(inner + rest).hexdigest()))
                elif code == 10:
                    scram = Scram(secret)
                    first = scram.first()
                    self.send(msg('p', cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
                elif code == 11:
                    self.send(msg('p', scram.final(rest)))
                elif code == 12:
                    scram.check(rest)
                elif code != 0:
                    raise AssertionError('authentication request %d' % code)

    def read(self):
        return decode(*self.read_raw())

    def until(self, letter='Z', skip='NS'):
        """Messages up to and including the first of that letter. Notices and
        ParameterStatus are left out unless skip is ''."""
        out = []
        while True:
            m = self.read()
            if m[0] == 'S':
                self.params[m[1][0]] = m[1][1]
            if m[0] not in skip or m[0] == letter:
                out.append(m)
            if m[0] == letter:
                return out

    def ask(self, *parts, readies=1):
        """Sends, and reads that many ReadyForQuery."""
        self.send(*parts)
        out = []
        for _ in range(readies):
            out += self.until('Z')
        return out

    def sql(self, text):
        """Simple query: the rows of all its results; PgError on error."""
        rows, err = [], None
        for m in self.ask(query(text)):
            if m[0] == 'D':
                rows.append(m[1])
            elif m[0] == 'E':
                err = PgError(m[1])
        if err:
            raise err
        return rows

    def hold(self):
        """Begins a transaction that has a server. (A BEGIN alone needs none.)"""
        self.sql('BEGIN')
        self.sql('SELECT 1')

    def one(self, text):
        return self.sql(text)[0][0]

    def count_bytes(self):
        """Reads and forgets everything up to ReadyForQuery: (bytes, letters
        seen other than D). For results too big to keep."""
        total, letters = 0, []
        while True:
            head = self.take(5)
            size = struct.unpack('!i', head[1:])[0] - 4
            total += size + 5
            if head[:1] == b'Z':
                letters.append('Z' + self.take(size).decode())
                return total, letters
            if head[:1] != b'D':
                letters.append(head[:1].decode())
            left = size - len(self.buf)
            if left <= 0:
                self.buf = self.buf[size:]
                continue
            self.buf = b''
            while left > 0:
                got = self.sock.recv(min(left, 1 << 20))
                if not got:
                    raise Closed('in the middle of a message')
                left -= len(got)


class PgError(Exception):
    def __init__(self, fields):
        super().__init__('%s %s' % (fields.get('C'), fields.get('M')))
        self.fields = fields
        self.code = fields.get('C')


def shape(messages):
    """A transcript to compare: letters, with tag, status or code."""
    out = []
    for m in messages:
        if m[0] in 'CZ':
            out.append('%s:%s' % m)
        elif m[0] in 'EN':
            out.append('%s:%s' % (m[0], m[1].get('C')))
        else:
            out.append(m[0])
    return ' '.join(out)


def cancel(port, key, host='127.0.0.1'):
    """Sends a CancelRequest and waits until the peer has closed."""
    with dial(host, port) as s:
        s.sendall(special(CODE_CANCEL, struct.pack('!ii', *key)))
        try:
            return s.recv(1) == b''
        except ConnectionError:
            return True


class Scram:
    """SCRAM-SHA-256, the client's part (RFC 5802, RFC 7677)."""

    def __init__(self, secret):
        self.secret = (secret or '').encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = 'n=,r=' + self.nonce

    def first(self):
        return ('n,,' + self.bare).encode()

    def salted(self, salt, rounds):
        return hashlib.pbkdf2_hmac('sha256', self.secret, salt, rounds)

    def final(self, server_first):
        server_first = server_first.decode()
        f = dict(p.split('=', 1) for p in server_first.split(','))
        assert f['r'].startswith(self.nonce) and len(f['r']) > len(self.nonce)
        salted = self.salted(base64.b64decode(f['s']), int(f['i']))
        client_key = hmac.digest(salted, b'Client Key', 'sha256')
        stored = hashlib.sha256(client_key).digest()
        bare = 'c=biws,r=' + f['r']
        auth = ','.join([self.bare, server_first, bare]).encode()
        sig = hmac.digest(stored, auth, 'sha256')
        proof = bytes(a ^ b for a, b in zip(client_key, sig))
        self.server_sig = hmac.digest(hmac.digest(salted, b'Server Key', 'sha256'), auth, 'sha256')
        return (bare + ',p=' + base64.b64encode(proof).decode()).encode()

    def check(self, server_final):
        v = server_final.decode().split(',')[0]
        assert v == 'v=' + base64.b64encode(self.server_sig).decode(), 'the server does not know the secret'


def scram_secret(text, salt=b'0123456789abcdef', rounds=4096):
    """SCRAM-SHA-256$... as auth_file and pg_authid keep it."""
    salted = hashlib.pbkdf2_hmac('sha256', text.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b'Client Key', 'sha256')).digest()
    server = hmac.digest(salted, b'Server Key', 'sha256')
    b64 = lambda b: base64.b64encode(b).decode()
    return 'SCRAM-SHA-256$%d:%s$%s:%s' % (rounds, b64(salt), b64(stored), b64(server))


# ---- a server that does what a script says ----------------------------------

class FakeConn(Stream):
    """One accepted connection, seen from the scripted server."""

    def __init__(self, server, sock):
        super().__init__(sock, server.timeout)
        self.server = server
        self.startup = {}
        self.is_cancel = None
        self.ended = False

    def read_startup(self):
        """Reads the startup packet (answers N to encryption). False: a cancel
        request or nothing at all."""
        while True:
            size, code = struct.unpack('!ii', self.take(8))
            rest = self.take(size - 8)
            if code in (CODE_SSL, CODE_GSS):
                self.send(b'N')
                continue
            if code == CODE_CANCEL:
                self.is_cancel = struct.unpack('!ii', rest)
                self.server.cancels.append(self.is_cancel)
                return False
            parts = _strings(rest)
            self.startup = dict(zip(parts[0::2], parts[1::2]))
            return True

    def welcome(self, params=None):
        pid = self.server.next_pid()
        self.send(auth_ok(), *[parameter(k, v) for k, v in (params or PARAMS).items()],
                  key_data(pid, 1000 + pid), ready('I'))
        return pid

    def expect(self, letter):
        """The body of the next message, which must be of that letter."""
        got, body = self.read_raw()
        assert got == letter, 'scripted server: expected %s, got %s %r' % (letter, got, body[:200])
        self.server.seen.append((got, body))
        return body

    def expect_query(self, text=None):
        """A simple query; its text."""
        got = self.expect('Q')[:-1].decode()
        assert text is None or got == text, 'scripted server: expected %r, got %r' % (text, got)
        return got

    def wait_close(self):
        """Reads until the peer ends; the letters that came."""
        out = []
        try:
            while True:
                out.append(self.read_raw()[0])
        except Closed:
            return out


PARAMS = {
    'application_name': '', 'client_encoding': 'UTF8', 'DateStyle': 'ISO, MDY',
    'default_transaction_read_only': 'off', 'in_hot_standby': 'off', 'integer_datetimes': 'on',
    'IntervalStyle': 'postgres', 'is_superuser': 'off', 'server_encoding': 'UTF8',
    'server_version': '15.0', 'session_authorization': 'app', 'standard_conforming_strings': 'on',
    'TimeZone': 'UTC',
}


class FakeServer:
    """Listens; each connection runs in a thread:

        script(conn)   after a login that is done for it, and with probes
                       answered, when login=True
        script(conn)   from the first byte, when login=False

    What a script raises (a failed expectation above all) is kept and raised
    by close(), so that a test cannot pass over it.
    """

    def __init__(self, script, login=True, timeout=15, params=None, port=0):
        self.script, self.do_login, self.timeout, self.params = script, login, timeout, params
        self.seen, self.cancels, self.errors, self.conns, self.probes = [], [], [], [], 0
        self.logins = 0
        self.pids = 100
        self.lock = threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', port), backlog=50)
        self.port = self.listener.getsockname()[1]
        self.closing = False
        threading.Thread(target=self.accept, daemon=True).start()

    def next_pid(self):
        with self.lock:
            self.pids += 1
            return self.pids

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        conn = FakeConn(self, sock)
        self.conns.append(conn)
        try:
            if self.do_login and not self.log_in(conn):
                return
            self.script(conn)
        except Exception as e:  # pylint: disable=broad-except
            if not self.closing:
                self.errors.append(e)
        finally:
            conn.ended = True
            sock.close()

    def log_in(self, conn):
        """False: nobody for the script (a cancel, a probe, gone again)."""
        try:
            if not conn.read_startup():
                return False
            conn.welcome(self.params)
            if self.is_probe(conn):
                return False
        except (Closed, OSError):
            return False
        self.logins += 1
        return True

    def is_probe(self, conn):
        """Answers a health check (known by its question) to its end."""
        first = conn.read_raw()
        if first[0] != 'Q' or b'pg_is_in_recovery' not in first[1]:
            # not one: put it back
            conn.buf = msg(first[0], first[1]) + conn.buf
            return False
        self.probes += 1
        cols = first[1].lower().count(b',') + 1
        conn.send(row_description(*['c%d' % i for i in range(cols)]),
                  data_row(*(['f', 'off', 'off', 'off'][:cols])), complete('SELECT 1'), ready('I'))
        conn.wait_close()
        return True

    def close(self, check=True):
        self.closing = True
        self.listener.close()
        for c in self.conns:
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if check and self.errors:
            raise self.errors[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, *a):
        self.close(check=kind is None)


class Puppet(FakeServer):
    """A server whose connections are played by the test itself: next() is the next one
    that has logged in and said something. Those of several servers come out of one
    inbox, in the order in which they spoke."""

    def __init__(self, inbox=None, **kw):
        self.inbox = inbox or queue.Queue()
        super().__init__(self.hand_over, **kw)

    def hand_over(self, conn):
        conn.over = threading.Event()
        self.inbox.put(conn)
        conn.over.wait()

    def next(self, timeout=10):
        try:
            return self.inbox.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError('no connection has spoken to the server') from None

    def refuse(self):
        """Nobody gets in from now on."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def close(self, check=True):
        super().close(check)
        for c in self.conns:
            if hasattr(c, 'over'):
                c.over.set()
