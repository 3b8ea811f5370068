"""Who is let in: pgweir and PostgreSQL with the same pg_hba.conf, pg_ident.conf, roles and
passwords are given the same attempts to log in, and must agree about each: in or not, and by
which SQLSTATE. Clients come in clear, in TLS with and without certificates, from several
addresses, and as several users of the machine.

AUTH_SEED makes other rules and attempts. What is otherwise on purpose stands in excuse()
and in test_known_differences.

SPDX-License-Identifier: ISC
"""
import contextlib
import hashlib
import os
import pwd
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

import certs
import wire
from cluster import Postgres, until
from conftest import SLOW, Weir, free_port, ini
from wire import Closed, cstr, msg

pytestmark = pytest.mark.weir_only

SEED = int(os.environ.get('AUTH_SEED', '1'))
ROOT = os.geteuid() == 0

# role: (how its secret is kept, the password)
ROLES = {
    'app': ('scram-sha-256', b'right of app'),
    'u_scram': ('scram-sha-256', 'p\u00e4ss \u2014 w\u00f6rd'.encode()),
    'u_md5': ('md5', 'sm\u00f6rrebr\u00f6d'.encode()),
    'u_long': ('scram-sha-256', b'0123456789' * 700),
    'u_longmd5': ('md5', b'9876543210' * 799),
    'u_none': (None, b''),
    'u v,"w': ('scram-sha-256', b'a"b,c'),
    '\u00dcn\u00ef': ('md5', b'x'),
    'repl': ('scram-sha-256', b'replicate'),
    'barred': ('scram-sha-256', b'no login'),
    'root': ('scram-sha-256', b'toor'),
    'games': ('md5', b'semag'),
    'daemon': (None, b''),
}
NAMES = [*ROLES, 'stranger', 'str\u00e4nger']
MORE = {'repl': 'LOGIN REPLICATION', 'barred': 'NOLOGIN'}
DATABASES = ('app', 'app2', 'u_md5')   # and nosuch on neither


# ---- a client that tells how it ended --------------------------------------------------------

DIALLER = '''
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
while True:
    path = s.recv(300)
    if not path:
        break
    with socket.socket(socket.AF_UNIX) as u:
        try:
            u.connect(path.decode())
            socket.send_fds(s, [b'+'], [u.fileno()])
        except OSError as e:
            s.send(str(e).encode())
'''


class Diallers:
    """Connects to unix sockets as other users of the machine: a process for each hands its
    sockets over. The kernel keeps who connected."""

    def __init__(self):
        self.by_user = {}

    def start(self, user):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        became = []
        if user != 'root':
            pw = pwd.getpwnam(user)
            became = ['setpriv', '--reuid=%d' % pw.pw_uid, '--regid=%d' % pw.pw_gid, '--clear-groups', '--']
        with theirs:
            p = subprocess.Popen([*became, sys.executable, '-c', DIALLER, str(theirs.fileno())],
                                 pass_fds=[theirs.fileno()], cwd='/')
        ours.settimeout(30 * SLOW)
        self.by_user[user] = (ours, p)

    def dial(self, user, path):
        if user not in self.by_user:
            self.start(user)
        s = self.by_user[user][0]
        s.send(path.encode())
        said, fds, _, _ = socket.recv_fds(s, 300, 1)
        assert said == b'+', said
        return socket.socket(fileno=fds[0])

    def close(self):
        for s, p in self.by_user.values():
            s.close()
            p.wait(30)


class Scram(wire.Scram):
    """With passwords that are bytes."""

    def __init__(self, secret):
        super().__init__('')
        self.secret = secret


def md5_answer(secret, user, salt):
    inner = hashlib.md5(secret + user).hexdigest().encode()
    return b'md5' + hashlib.md5(inner + salt).hexdigest().encode()


def talk(c, user, db, secret, params):
    """What a login comes to: in, or the SQLSTATE."""
    c.send(wire.startup(user, db, **params))
    scram = None
    while True:
        m = c.read()
        if m[0] == 'E':
            return m[1]['C']
        if m[0] == 'Z':
            return 'in'
        if m[0] != 'R':
            continue
        code, rest = m[1]
        c.asked.append(code)
        if code == 3:
            c.send(msg('p', cstr(secret)))
        elif code == 5:
            c.send(msg('p', cstr(md5_answer(secret, user.encode(), rest))))
        elif code == 10:
            scram = Scram(secret)
            first = scram.first()
            c.send(msg('p', cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
        elif code == 11:
            c.send(msg('p', scram.final(rest)))
        elif code == 12:
            scram.check(rest)


class Client(wire.Stream):
    """asked: the authentication requests that came."""

    def __init__(self, sock):
        super().__init__(sock, 20 * SLOW)
        self.asked = []

    def read(self):
        return wire.decode(*self.read_raw())


def connect(side, place, tls, diallers):
    if place.startswith('unix:'):
        return diallers.dial(place[5:], side.socket)
    six = ':' in place
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
    s.settimeout(20 * SLOW)
    try:
        if not six:
            s.bind((place, 0))
        s.connect(('::1' if six else '127.0.0.1', side.port))
        if tls:
            s.sendall(wire.special(wire.CODE_SSL))
            assert s.recv(1) == b'S'
            s = tls.wrap_socket(s)
    except BaseException:
        s.close()
        raise
    return s


def attempt(side, a, world):
    """in, a SQLSTATE, or tls when the certificate was refused by the handshake."""
    c = None
    try:
        c = Client(connect(side, a['place'], a['cert'] and world.context(a['cert']), world.diallers))
        return talk(c, a['user'], a['db'], a['secret'], a['params'])
    except (ssl.SSLError, ConnectionError, Closed) as e:
        if not a['cert']:
            raise AssertionError('%s: %r for %r' % (side.name, e, a)) from e
        return 'tls'
    finally:
        if c:
            c.close()


# ---- both sides ------------------------------------------------------------------------------

def attribute(oid, value, kind=None):
    return x509.NameAttribute(oid, value, _type=kind) if kind else x509.NameAttribute(oid, value)


def odd_name(ca, file, *attributes, names=()):
    """A client's certificate with any subject."""
    key = certs.new_key()
    cert = ca._sign(x509.Name(attributes), key.public_key(), ca, names=names)
    return certs.Cert(os.path.join(ca.folder, file), cert, key)


CN, OU, ORG = NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME


def make_certs(folder):
    ca, other = certs.Authority(folder, 'ca'), certs.Authority(folder, 'other')
    out = {'none': None, 'app': ca.client('app'), 'u_md5': ca.client('u_md5'), 'prefixed': ca.client('cert-app'),
           'stranger': ca.client('stranger'), 'other': other.client('app'), 'late': ca.client('late', days=(-9, -2)),
           'gone': ca.client('gone'), 'umlaut': ca.client('\u00dcn\u00ef'), 'server': ca.server('as-server', cn='app'),
           'comma': ca.client('u v,"w')}
    ca.revoke(out['gone'])
    out['first-app'] = odd_name(ca, 'first-app', attribute(CN, 'app'), attribute(CN, 'u_md5'))
    out['last-app'] = odd_name(ca, 'last-app', attribute(CN, 'u_md5'), attribute(CN, 'app'))
    out['unit'] = odd_name(ca, 'unit', attribute(ORG, 'Weir, Inc'), attribute(OU, 'db+x'), attribute(CN, 'app'))
    out['unit-first'] = odd_name(ca, 'unit-first', attribute(CN, 'app'), attribute(OU, 'db'))
    out['nul'] = odd_name(ca, 'nul', attribute(CN, 'app\0.evil'))
    out['nul-alt'] = odd_name(ca, 'nul-alt', attribute(CN, 'evil\0app'), names=['app'])
    out['no-cn'] = odd_name(ca, 'no-cn', attribute(OU, 'app'))
    out['no-cn-other'] = odd_name(ca, 'no-cn-other', attribute(OU, 'x'), names=['u_md5', 'app@example.com', 'app'])
    out['bmp'] = odd_name(ca, 'bmp', attribute(CN, 'app', _ASN1Type.BMPString))
    out['long'] = odd_name(ca, 'long', *[attribute(CN, 'app')] * 30 + [attribute(OU, 'x' * 64)] * 30)
    out['printable'] = odd_name(ca, 'printable', attribute(CN, 'app', _ASN1Type.PrintableString))
    out['t61'] = odd_name(ca, 't61', attribute(CN, 'app', _ASN1Type.T61String))
    out['cn-and-alt'] = odd_name(ca, 'cn-and-alt', attribute(CN, 'stranger'), names=['app', 'u_md5'])
    return ca, out


class Side:
    def __init__(self, name, port, unix):
        self.name, self.port, self.socket = name, port, '%s/.s.PGSQL.%d' % (unix, port)


IDENT = r'''
m    cert-app                 app
m    /^cert-(.*)$             \1
m    postgres                 u_md5
m    /^(root|games)$         app
m    games                   "u v,""w"
m    app                      app
m    root                     \1
dn   "CN=app,OU=db\+x,O=Weir\, Inc"    app
dn   "/^OU=db,CN=(.*)$"       \1
dn   "CN=app"                 u_md5
dn   CN=u_md5                 u_md5
'''


class World:
    """PostgreSQL that is asked (oracle), and two pgweirs with its rules before a PostgreSQL that
    trusts them: their auth_file has what pg_authid has (copied), or the passwords (plain)."""

    def __init__(self, base, template):
        self.dir = tempfile.mkdtemp(prefix='auth', dir=base)
        os.chmod(self.dir, 0o777)
        self.diallers, self.contexts, self.weirs, self.n = Diallers(), {}, [], 0
        self.ca, self.certs = make_certs(self.dir)
        self.server = self.ca.server()
        self.pg = Postgres(base, 'auth-oracle').copy_from(template)
        self.back = Postgres(base, 'auth-back').copy_from(template)

    def start(self, base):
        self.own_files()
        self.pg.settings("listen_addresses = '127.0.0.1,::1'\nssl = on\nssl_cert_file = 'server.crt'\n"
                         "ssl_key_file = 'server.key'\nssl_ca_file = 'ca.crt'\nssl_crl_file = 'ca.crl'")
        self.pg.start(options=('-k', self.dir))
        self.back.start()
        for p in (self.pg, self.back):
            self.roles(p)
        self.stored = {r[0]: r[1] or '' for r in self.pg.sql('SELECT rolname, rolpassword FROM pg_authid')}
        self.oracle = Side('PostgreSQL', self.pg.port, self.dir)
        self.copied, self.plain = (self.weir(base, kind) for kind in ('copied', 'plain'))

    def own_files(self):
        st = os.stat(self.pg.data)
        for name, source in (('server.crt', self.server.cert), ('server.key', self.server.key),
                             ('ca.crt', self.ca.ca), ('ca.crl', self.ca.crl)):
            path = os.path.join(self.pg.data, name)
            with open(source, 'rb') as f:
                certs.write(path, f.read(), 0o600)
            os.chown(path, st.st_uid, st.st_gid)

    def roles(self, p):
        with p.connect() as c:
            for name, (kind, secret) in ROLES.items():
                q = '"%s"' % name.replace('"', '""')
                if name != 'app':
                    c.sql('CREATE ROLE %s %s' % (q, MORE.get(name, 'LOGIN')))
                if kind:
                    c.sql("SET password_encryption = '%s'; ALTER ROLE %s PASSWORD '%s'" % (
                        kind, q, secret.decode().replace("'", "''")))
            c.sql('CREATE DATABASE u_md5')

    def weir(self, base, kind):
        quote = lambda s: '"%s"' % s.replace('"', '""')
        text = ''
        for name, (_, secret) in ROLES.items():
            text += '%s %s\n' % (quote(name), quote(self.stored[name] if kind == 'copied' else secret.decode()))
        users = certs.write(os.path.join(self.dir, kind + '.txt'), text.encode())
        unix = os.path.join(self.dir, kind)
        os.mkdir(unix)
        os.chmod(unix, 0o755)
        self.rules('local all all trust\n')
        dbs = {d: 'host=127.0.0.1 port=%d dbname=%s' % (self.back.port, d) for d in DATABASES}
        w = Weir(base, ini(dbs, auth_type='hba', auth_file=users, auth_hba_file=self.dir + '/hba',
                           auth_ident_file=self.dir + '/ident', listen_addr='127.0.0.1,::1', unix_socket_dir=unix,
                           client_tls_sslmode='prefer', client_tls_ca_file=self.ca.ca, client_tls_crl_file=self.ca.crl,
                           client_tls_cert_file=self.server.cert, client_tls_key_file=self.server.key,
                           pidfile=None), args=('-p', str(free_port())))
        self.weirs.append(w)
        side = Side('pgweir, ' + kind, w.port, unix)
        side.weir = w
        return side

    def context(self, name):
        if name not in self.contexts:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            c.check_hostname = False
            c.load_verify_locations(self.ca.ca)
            if self.certs[name]:
                c.load_cert_chain(self.certs[name].cert, self.certs[name].key)
            self.contexts[name] = c
        return self.contexts[name]

    def rules(self, text):
        """All sides have these rules when it returns."""
        self.n += 1
        full = 'local sentinel%d all reject\n' % self.n + text
        for name, what in (('hba', full), ('ident', IDENT)):
            certs.write(os.path.join(self.dir, name), what.encode())
        for name, what in (('pg_hba.conf', full), ('pg_ident.conf', IDENT)):
            certs.write(os.path.join(self.pg.data, name), what.encode())
        self.pg.reload()
        for w in self.weirs:
            w.hup()
        sides = [self.oracle, *([self.copied, self.plain] if len(self.weirs) == 2 else [])]
        for side in sides:
            until(lambda side=side: self.is_rejected(side, 'sentinel%d' % self.n), 20, why='the reload of ' + side.name)

    def is_rejected(self, side, db):
        c = Client(connect(side, 'unix:root', None, self.diallers))
        with contextlib.closing(c):
            c.send(wire.startup('x', db))
            m = c.read()
            return m[0] == 'E' and 'rejects' in m[1]['M']

    def stop(self):
        bad = []
        for w in self.weirs:
            bad += w.stop()
        self.diallers.close()
        for p in (self.pg, self.back):
            p.stop(signal.SIGQUIT)
        assert not bad, bad


@pytest.fixture(scope='module')
def world(base, template):
    w = World(base, template)
    try:
        w.start(base)
        yield w
    finally:
        w.stop()


# ---- what may differ ---------------------------------------------------------------------------

def excuse(a, side, want, got):
    """Why this difference is meant; None: it is not."""
    right = a['secret'] == ROLES.get(a['user'], (0, None))[1]
    if (side.name.endswith('plain') and want == '28P01' and got in ('in', '3D000', '42501') and right and
            ROLES[a['user']][0] == 'md5'):
        return 'an MD5 secret cannot serve SCRAM, a password in auth_file can'
    if (want, got) == ('28P01', '28000') and a['cert'] not in (None, 'none'):
        return 'a certificate of somebody else is refused before the password is asked for'
    if want in ('28000', '42501') and got == '3D000' and a['db'] not in DATABASES and (
            a['user'] not in ROLES or a['user'] == 'barred' or want == '42501'):
        return 'roles are known to the servers, and there is none for this database'
    if (want, got) == ('tls', '28000') and a['cert'] in ('nul', 'nul-alt'):
        return 'PostgreSQL drops a certificate with a zero byte in its name without a word'
    return None


def compare(world, attempts, rules=''):
    """Counts of what came out."""
    count, bad, excused = {}, [], {}
    for a in attempts:
        want = attempt(world.oracle, a, world)
        count[want] = count.get(want, 0) + 1
        for side in (world.copied, world.plain):
            got = attempt(side, a, world)
            if got == want:
                continue
            why = excuse(a, side, want, got)
            if why:
                excused[why] = excused.get(why, 0) + 1
            else:
                bad.append('%s: %s, PostgreSQL %s: %r' % (side.name, got, want, dict(a, secret=a['secret'][:60])))
    assert not bad, '%d of %d (AUTH_SEED=%d), the first:\n%s\n%s' % (len(bad), len(attempts), SEED,
                                                                    '\n'.join(bad[:12]), rules)
    return count, excused


def trial(user='app', db='app', secret=None, place='127.0.0.1', cert=None, **params):
    if secret is None:
        secret = ROLES.get(user, (None, b'whatever'))[1]
    return {'user': user, 'db': db, 'secret': secret, 'place': place, 'cert': cert, 'params': params}


# ---- every method with every secret ---------------------------------------------------------

METHODS = ('trust', 'password', 'md5', 'scram-sha-256', 'reject')


def passwords(world, user):
    """Right and wrong ones."""
    right = ROLES.get(user, (None, b'whatever'))[1]
    hashed = [world.stored[user].encode()] if world.stored.get(user) else []
    return [right, right + b'x', right[:-1], b'', b'\xff\xfe\x80', b'\xc3', b'x' * 7000, b'md5' + b'f' * 32,
            *hashed, right.upper() + b' ']


def test_methods_and_secrets(world):
    """The stored text itself is no password either."""
    rules = ''.join('host all all 127.0.1.%d/32 %s\n' % (i, m) for i, m in enumerate(METHODS))
    world.rules(rules)
    rnd = random.Random(SEED)
    todo = []
    for i, m in enumerate(METHODS):
        for user in NAMES:
            some = passwords(world, user) if m not in ('trust', 'reject') else [b'x']
            # the right one, the stored one, the empty one always; of the others some
            keep = [p for p in some if p in (some[0], b'') or p.startswith((b'SCRAM', b'md5')) or rnd.random() < 0.4]
            todo += [trial(user, secret=p, place='127.0.1.%d' % i) for p in keep]
        todo += [trial(db=d, place='127.0.1.%d' % i) for d in ('app2', 'nosuch', 'App')]
        todo += [trial('stranger', 'nosuch', place='127.0.1.%d' % i)]
    count, excused = compare(world, todo, rules)
    print('%r excused: %r' % (count, excused))
    assert count['in'] > 25 and count['28P01'] > 60 and count['28000'] > 15 and count['3D000'] > 6


# ---- certificates -----------------------------------------------------------------------------

# otherwise than PostgreSQL on purpose: test_known_differences
KNOWN = ('no-cn', 'no-cn-other', 'bmp')
ODD = KNOWN + ('nul', 'nul-alt')

CERT_RULES = '''
hostssl app   all 127.0.0.1/32 cert
hostssl app   all 127.0.0.2/32 cert map=m
hostssl app   all 127.0.0.3/32 cert map=dn clientname=DN
hostssl app   all 127.0.0.4/32 trust clientcert=verify-ca
hostssl app   all 127.0.0.5/32 trust clientcert=verify-full
hostssl app   all 127.0.0.6/32 scram-sha-256 clientcert=verify-full map=m
hostssl app   all 127.0.0.7/32 password clientcert=verify-ca
hostssl app   all 127.0.0.8/32 cert clientname=DN
hostssl app   all 127.0.0.9/32 cert map=nothing
hostssl app2  all all reject
hostnossl app all 127.0.0.1/32 reject
'''


def test_certificates(world):
    """Whose each certificate is, for each rule that asks for one."""
    rules = CERT_RULES.replace('6/32 scram-sha-256 clientcert=verify-full map=m',
                               '6/32 scram-sha-256 clientcert=verify-full')
    world.rules(rules)
    todo = [trial(user, place='127.0.0.%d' % i, cert=cert)
            for cert in world.certs for i in range(1, 10) for user in ('app', 'u_md5')
            if not (i in (4, 7) and user != 'app')]
    todo += [trial(u, cert=c) for u, c in (('\u00dcn\u00ef', 'umlaut'), ('u v,"w', 'comma'), ('stranger', 'stranger'),
                                           ('app\0.evil'.split('\0')[0], 'nul'), ('cert-app', 'prefixed'))]
    todo += [trial(), trial(db='app2', cert='app'), trial(db='nosuch', cert='app')]
    # a common name that is no user, and one in the other names, which PostgreSQL does not look at
    todo = [a for a in todo if a['cert'] not in KNOWN]
    count, excused = compare(world, todo, rules)
    print('%r excused: %r' % (count, excused))
    assert count['in'] > 40 and count['28000'] > 100 and count['tls'] > 20


# ---- users of the machine -----------------------------------------------------------------------

PEER_RULES = '''
local app    all   peer
local app2   all   peer map=m
local u_md5  app   peer map=nothing
local u_md5  u_md5 reject
local u_md5  root,u_scram  scram-sha-256
local replication all peer
host  all    all  all trust
'''


@pytest.mark.skipif(not ROOT, reason='only root can become somebody else')
def test_peer(world):
    world.rules(PEER_RULES)
    todo = [trial(user, db, place='unix:' + unix)
            for unix in ('root', 'games', 'daemon', 'postgres') for db in DATABASES
            for user in ('app', 'root', 'games', 'daemon', 'u_md5', 'u v,"w', 'stranger')]
    todo += [trial('root', 'nosuch', place='unix:root'), trial('games', 'nosuch', place='unix:root')]
    todo += [trial(u, place='unix:root', replication='true') for u in ('root', 'repl')]
    count, excused = compare(world, todo, PEER_RULES)
    print('%r excused: %r' % (count, excused))
    assert count['in'] > 10 and count['28000'] > 30


# ---- rules of any kind, attempts of any kind ------------------------------------------------------

PLACES = ['127.0.0.1', '127.0.0.2', '127.0.1.1', '127.1.0.1', '::1', 'unix:root', 'unix:games']
ADDRESSES = ['all', 'all', 'all', 'samehost', '127.0.0.1/32', '127.0.0.0/24', '127.0.0.2/16', '127.0.0.0 255.255.0.255',
             '127.1.0.0/16', '0.0.0.0/0', '::1/128', '::/0', '10.0.0.0/8']


def some_of(rnd, words, everything):
    if rnd.random() < 0.65:
        return everything
    quote = lambda w: w if w in ('sameuser', 'replication') else '"%s"' % w.replace('"', '""')
    return ','.join(quote(rnd.choice(words)) for _ in range(rnd.choice([1, 1, 2, 4])))


def rule(rnd):
    kind = rnd.choice(['local', 'local', 'host', 'host', 'host', 'hostssl', 'hostssl', 'hostssl', 'hostnossl'])
    parts = [kind, some_of(rnd, ['app', 'app2', 'u_md5', 'sameuser', 'replication', 'nosuch'], 'all'),
             some_of(rnd, NAMES, 'all')]
    methods = ['trust', 'reject', 'password', 'md5', 'scram-sha-256', 'scram-sha-256']
    if kind != 'local':
        parts.append(rnd.choice(ADDRESSES))
    if kind == 'hostssl' and rnd.random() < 0.4:
        more = rnd.choice(['', 'map=m', 'map=dn clientname=DN', 'clientname=CN', 'clientcert=verify-full map=m'])
        return ' '.join(parts + ['cert', more])
    if kind == 'local' and rnd.random() < 0.5:
        return ' '.join(parts + ['peer', rnd.choice(['', 'map=m', 'map=none'])])
    more = []
    if kind == 'hostssl' and rnd.random() < 0.3:
        more = [rnd.choice(['clientcert=verify-ca', 'clientcert=verify-full', 'clientcert=verify-full clientname=DN'])]
    return ' '.join(parts + [rnd.choice(methods)] + more)


def any_attempt(rnd, world):
    user = rnd.choice(NAMES)
    place = rnd.choice(PLACES if ROOT else PLACES[:5])
    right = ROLES.get(user, (0, b'whatever'))[1]
    secret = right if rnd.random() < 0.75 else rnd.choice([b'', b'wrong', b'\xff', right * 2])
    cert = None
    if place[0] != 'u' and rnd.random() < 0.5:
        cert = rnd.choice([c for c in world.certs if c not in ODD] + ['none', 'app', 'u_md5'] * 5)
        if cert in ('app', 'u_md5') and rnd.random() < 0.7:
            user = cert
            secret = ROLES[user][1]
    params = {}
    if rnd.random() < 0.1:
        params = {'replication': rnd.choice(['true', 'database', 'off'])}
        user = rnd.choice(['repl', user])
    db = rnd.choice(['app', 'app', 'app', 'app2', 'u_md5', 'nosuch'])
    if params.get('replication') == 'true':
        db = 'app'     # PostgreSQL does not look at it
    return trial(user, db, ROLES[user][1] if user == 'repl' else secret, place, cert, **params)


def test_any_rules(world):
    rnd = random.Random(SEED)
    total, excuses = {}, {}
    for _ in range(14):
        text = '\n'.join(rule(rnd) for _ in range(rnd.randint(3, 14))) + '\n'
        world.rules(text)
        count, excused = compare(world, [any_attempt(rnd, world) for _ in range(45)], text)
        for k, v in count.items():
            total[k] = total.get(k, 0) + v
        for k, v in excused.items():
            excuses[k] = excuses.get(k, 0) + v
    print('AUTH_SEED=%d: %r excused: %r' % (SEED, total, excuses))
    assert total['in'] > 60 and total['28000'] > 60 and total['28P01'] > 20, total


# ---- otherwise than PostgreSQL ---------------------------------------------------------------------

def outcomes(world, a):
    return tuple(attempt(s, a, world) for s in (world.oracle, world.copied, world.plain))


def test_known_differences(world):
    """Each is what it is said to be, on both sides."""
    world.rules('''
host    all all 127.0.0.1/32 password
host    all all 127.0.0.3/32 trust
hostssl all all 127.0.0.2/32 cert
local   all all peer
''')
    # names: PostgreSQL cuts them at 63 bytes
    long = 'app' + 'x' * 61
    assert outcomes(world, trial(long, place='127.0.0.3')) == ('28000', '28000', '28000')
    assert outcomes(world, trial('app', 'app' + 61 * 'y', place='127.0.0.3')) == ('3D000',) * 3
    # without a common name: the other names, of which PostgreSQL takes no notice
    for cert, user, got in (('no-cn', 'app', '28000'), ('no-cn-other', 'app', 'in'), ('no-cn-other', 'u_md5', 'in'),
                            ('no-cn-other', 'u_none', '28000'), ('cn-and-alt', 'app', '28000'),
                            ('nul-alt', 'app', '28000')):
        a = trial(user, place='127.0.0.2', cert=cert)
        assert attempt(world.copied, a, world) == got, a
        assert attempt(world.oracle, a, world) in ('28000', 'tls'), a
    # what is not ASCII is compared as UTF-8, whatever it is stored in
    assert outcomes(world, trial(place='127.0.0.2', cert='bmp')) == ('tls', 'in', 'in')
    # the number 65534 stands for everybody whom a user namespace does not know
    if ROOT:
        a = trial('nobody', place='unix:nobody')
        assert attempt(world.copied, a, world) == '28000'


def test_the_comparison_notices(world):
    """Sides that differ are told apart."""
    world.rules('host all all 127.0.0.1/32 password\n')
    compare(world, [trial()])
    certs.write(os.path.join(world.dir, 'hba'), b'local sentinel0 all reject\nhost all all 127.0.0.1/32 reject\n')
    for w in world.weirs:
        w.hup()
    for side in (world.copied, world.plain):
        until(lambda side=side: world.is_rejected(side, 'sentinel0'), 20)
    with pytest.raises(AssertionError, match='28000, PostgreSQL in'):
        compare(world, [trial()])
