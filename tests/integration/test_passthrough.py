"""Passthrough: a client is who it says it is when a server takes its password. Servers
that ask in every way, and clients that are right, wrong, many, late or gone.

SPDX-License-Identifier: ISC
"""
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import pytest

import certs
import wire
from cluster import Postgres
from conftest import PGWEIR, SLOW, Spawned, db, ini, run_threads, until
from test_tls import context
from wire import Closed, Conn, PgError

pytestmark = pytest.mark.weir_only

RIGHT, WRONG, NEXT = 'RIGHTpassword', 'WRONGpassword', 'NEXTpassword'
USERS = {'u_scram': 'scram-sha-256', 'u_md5': 'md5', 'u_plain': 'password'}

HBA = 'local all u_plain password\nlocal all all trust\nhost all postgres 127.0.0.1/32 trust\n' + ''.join(
    'host all %s 127.0.0.1/32 %s\n' % u for u in [*USERS.items(), ('u_trust', 'trust'), ('all', 'scram-sha-256')])

RULES = 'host pgweir admin 127.0.0.1/32 trust\nlocal all all passthrough\nhost all all all passthrough\n'


def make_server(base, template, name):
    p = Postgres(base, name).copy_from(template)
    p.hba(HBA)
    p.settings('log_connections = on')
    p.start()
    for u in [*USERS, 'u_trust']:
        p.sql('CREATE ROLE %s LOGIN; GRANT pg_monitor TO %s' % (u, u))
    return p


@pytest.fixture(scope='module')
def _servers(base, template):
    made = []
    try:
        for name in ('pass1', 'pass2'):
            made.append(make_server(base, template, name))
        yield made
    finally:
        for p in made:
            p.stop(signal.SIGQUIT)


def give(pg, user, secret):
    how = 'md5' if user == 'u_md5' else 'scram-sha-256'
    pg.sql("SET password_encryption = '%s'; ALTER ROLE %s PASSWORD '%s'" % (how, user, secret.replace("'", "''")))


@pytest.fixture
def servers(_servers):
    for p in _servers:
        if p.proc.poll() is not None:
            p.start()
        elif p.stopped:
            p.cont()
            p.wait_ready()
        for u in [*USERS, 'u_trust']:
            give(p, u, RIGHT)
    return _servers


@pytest.fixture
def server(servers):
    return servers[0]


class Front:
    """A daemon with a unix socket whose clients are asked by passthrough."""

    def __init__(self, weir, *servers, pairs=None, rules=RULES, settings=None, env=None, **kw):
        self.dir = tempfile.mkdtemp(prefix='pass-')
        os.chmod(self.dir, 0o755)
        with open(self.dir + '/hba', 'w') as f:
            f.write(rules)
        self.cert = certs.Authority(self.dir, 'ca').server()
        self.servers = servers
        s = {'auth_type': 'hba', 'auth_hba_file': self.dir + '/hba', 'unix_socket_dir': self.dir, 'verbose': 3,
             'client_tls_sslmode': 'prefer', 'client_tls_cert_file': self.cert.cert,
             'client_tls_key_file': self.cert.key, 'query_wait_timeout': 5 * SLOW, **kw}
        self.text = ini({'app': db(*servers, **{'dbname': 'app', **(pairs or {})}), **(settings or {})}, **s)
        self.weir = weir(self.text, env=env)

    def connect(self, user='u_scram', secret=RIGHT, tls=False, database='app', **kw):
        if tls:
            return Conn(self.weir.port, user=user, database=database, secret=secret, tls=context(), **kw)
        return Conn(self.weir.port, host=self.dir, user=user, database=database, secret=secret, **kw)

    def refused(self, *a, **kw):
        """The error of a login that must fail."""
        try:
            self.connect(*a, **kw).close()
        except PgError as e:
            return e
        pytest.fail('was let in')

    def pool(self, user='u_scram', database='app'):
        return self.weir.pool(database, user) or {}

    def total(self, user='u_scram'):
        return int(self.pool(user).get('sv_total') or 0)


@pytest.fixture
def front(weir):
    made = []

    def make(*servers, **kw):
        made.append(Front(weir, *servers, **kw))
        return made[-1]
    yield make
    for f in made:
        shutil.rmtree(f.dir, ignore_errors=True)


class Logins:
    """What a server's log says of a user's logins from now on."""

    def __init__(self, pg, user):
        self.pg, self.user = pg, user
        self.mark = os.path.getsize(pg.log)

    def text(self):
        with open(self.pg.log, errors='replace') as f:
            f.seek(self.mark)
            return f.read()

    def good(self):
        return len(re.findall('connection authorized: user=%s ' % self.user, self.text()))

    def bad(self):
        return len(re.findall('FATAL:  password authentication failed for user "%s"' % self.user, self.text()))


def is_wrong(e, user='u_scram'):
    assert e.code == '28P01' and e.fields['M'] == 'password authentication failed for user "%s"' % user, e.fields
    assert set(e.fields) <= {'S', 'V', 'C', 'M'}, e.fields


# ---- who gets in ------------------------------------------------------------------------

@pytest.mark.parametrize('tls', [False, True], ids=['unix', 'tls'])
@pytest.mark.parametrize('user', USERS)
def test_each_method(front, server, user, tls):
    f = front(server)
    with f.connect(user, tls=tls) as c:
        assert c.one('SELECT current_user') == user
        is_wrong(f.refused(user, WRONG, tls=tls), user)
        is_wrong(f.refused(user, '', tls=tls), user)
        assert c.one('SELECT 1') == '1'
    with f.connect(user, tls=tls) as c:
        assert c.one('SELECT current_user') == user
    is_wrong(f.refused('nobody', RIGHT, tls=tls), 'nobody')


def test_auth_type(weir, server):
    """Without rules; who runs it has the console."""
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        w = weir(ini({'app': db(server, dbname='app')}, auth_type='passthrough', unix_socket_dir=d))
        with Conn(w.port, host=d, user='u_scram', secret=RIGHT) as c:
            assert c.one('SELECT current_user') == 'u_scram'
        with pytest.raises(PgError) as e:
            Conn(w.port, host=d, user='u_scram', secret=WRONG)
        is_wrong(e.value)
        with pytest.raises(PgError) as e:
            Conn(w.port, host=d, user='u_scram', database='pgweir', secret=RIGHT)
        assert e.value.code == '28000' and 'auth_hba_file' in e.value.fields['H']
        with Conn(w.port, host=d, user='pgweir', database='pgweir') as c:
            assert c.sql('SHOW POOLS')


def not_asked(c, user='u_scram', database='app'):
    """Refused before any question."""
    with c:
        c.send(wire.startup(user, database))
        m = c.read()
        assert m[0] == 'E', m
        return PgError(m[1])


def test_never_in_clear(front, server):
    f = front(server)
    e = not_asked(Conn(f.weir.port, login=False))
    assert e.code == '28000' and 'sslmode=require' in e.fields['H']


@pytest.mark.parametrize('name', ['pgweir', 'pgbouncer'])
def test_never_the_console(front, server, name):
    """Not for its own operators either: no server knows them."""
    server.sql("DROP ROLE IF EXISTS admin; CREATE ROLE admin LOGIN PASSWORD '%s'" % RIGHT)
    f = front(server, rules='local all all passthrough\nhost all all all passthrough\n', settings={'*': db(server, dbname='app')})
    for tls in (False, True):
        c = Conn(f.weir.port, host='127.0.0.1' if tls else f.dir, login=False, tls=context() if tls else None)
        e = not_asked(c, 'admin', name)
        assert e.code == '28000' and 'console' in e.fields['M'] and 'auth_hba_file' in e.fields['H']


def test_never_as_another(front, server):
    """user= of the database: the client's own password proves nothing of it."""
    f = front(server, settings={'forced': db(server, dbname='app', user='postgres'),
                                '*': db(server, user='postgres')})
    for name in ('forced', 'whatever'):
        e = not_asked(Conn(f.weir.port, host=f.dir, login=False), database=name)
        assert e.code == '28000' and 'user=' in e.fields['H']
    with f.connect() as c:
        assert c.one('SELECT current_user') == 'u_scram'


def test_unknown_database(front, server):
    """Who has shown nothing is not told which there are."""
    f = front(server)
    is_wrong(f.refused(database='nothing'))
    assert f.weir.wait_log('client_closed', 'why=unknown_database', 'sqlstate=28P01')


def test_nothing_asked_nothing_proven(front, server):
    """The server lets this user in from here, whoever asks."""
    f = front(server)
    assert server.one('SELECT 1', user='u_trust') == '1'
    for secret in (RIGHT, WRONG):
        e = f.refused('u_trust', secret)
        assert e.code == '28000' and 'asked for no password' in e.fields['M']


def test_what_a_server_says_behind_the_password(front, server):
    server.sql("DROP ROLE IF EXISTS u_out; CREATE ROLE u_out NOLOGIN PASSWORD '%s'" % RIGHT)
    f = front(server, settings={'gone': db(server, dbname='gone')})
    e = f.refused(database='gone')
    assert e.code == '3D000' and 'database "gone" does not exist' in e.fields['M']
    e = f.refused('u_out')
    assert e.code == '28000' and 'not permitted to log in' in e.fields['M']
    is_wrong(f.refused('u_out', WRONG), 'u_out')


@pytest.mark.parametrize('user', USERS)
@pytest.mark.parametrize('secret', ['é', 'ｐａｓｓ\u00a0word', "x'\"\\ \t;", 'I\u00adX', 'x' * 8000, '密' * 2666],
                         ids=['letter', 'wide', 'signs', 'invisible', 'longest', 'long'])
def test_odd_passwords(front, server, user, secret):
    give(server, user, secret)
    f = front(server)
    with f.connect(user, secret) as c:
        assert c.one('SELECT current_user') == user
    is_wrong(f.refused(user, secret + 'x'), user)
    is_wrong(f.refused(user, secret[:-1] + 'y'), user)
    is_wrong(f.refused(user, 'x' * 8001), user)
    assert f.refused(user, 'x' * 100000).code == '08P01'


@pytest.mark.parametrize('user', ['u_scram', 'u_plain'])
def test_no_utf8(front, server, user):
    """Bytes that are no text go as they are."""
    secret = b'caf\xe9\xff\x01'
    odd = secret.decode('latin-1')

    class Raw(str):
        def encode(self, *a):
            return secret
    server.sql("ALTER ROLE %s PASSWORD '%s'" % (user, wire.scram_secret(Raw(odd))))
    f = front(server)
    with f.connect(user, secret) as c:
        assert c.one('SELECT current_user') == user
    is_wrong(f.refused(user, odd), user)


@pytest.mark.parametrize('how', ['database', 'true'])
def test_replication(front, server, how):
    """Its connection is its own, and logs in with what was proven."""
    server.sql("DROP ROLE IF EXISTS u_repl; CREATE ROLE u_repl LOGIN REPLICATION PASSWORD '%s'" % RIGHT)
    server.hba(HBA + 'host replication all 127.0.0.1/32 scram-sha-256\n')
    server.reload()
    f = front(server, rules=RULES + 'local replication all passthrough\n')
    with f.connect('u_repl', replication=how) as c:
        assert len(c.sql('IDENTIFY_SYSTEM')[0]) == 4
    is_wrong(f.refused('u_repl', WRONG, replication=how), 'u_repl')


# ---- what is remembered -------------------------------------------------------------------

def test_remembered_and_not(front, server):
    """The same password costs one login, a wrong one costs one each time."""
    f = front(server, default_pool_size=1)
    log = Logins(server, 'u_scram')
    for _ in range(4):
        with f.connect() as c:
            assert c.one('SELECT 1') == '1'
    assert (log.good(), log.bad()) == (1, 0)
    for n in range(3):
        is_wrong(f.refused(secret=WRONG))
        until(lambda n=n: log.bad() == n + 1)
    with f.connect() as c:
        assert c.one('SELECT 1') == '1'
    assert log.bad() == 3


def test_not_remembered(front, server):
    f = front(server, passthrough_cache=0, default_pool_size=1)
    log = Logins(server, 'u_scram')
    for _ in range(3):
        with f.connect() as c:
            assert c.one('SELECT 1') == '1'
    assert log.good() == 3


def test_forgotten_in_time(front, server):
    f = front(server, passthrough_cache=0.05, default_pool_size=1)
    log = Logins(server, 'u_scram')
    f.connect().close()
    until(lambda: f.connect().close() or log.good() == 2, why='a second login')


def test_not_of_another(front, server):
    """One user's password is remembered for that user and database."""
    f = front(server, settings={'app2': db(server, dbname='app2')})
    give(server, 'u_md5', NEXT)
    with f.connect(), f.connect(database='app2'):
        is_wrong(f.refused('u_md5', RIGHT), 'u_md5')
    log = Logins(server, 'u_scram')
    give(server, 'u_scram', NEXT)
    with f.connect('u_md5', NEXT):
        is_wrong(f.refused(secret=NEXT + 'x'))
    f.connect(secret=NEXT).close()
    is_wrong(f.refused(secret=RIGHT))           # what was proven before is forgotten
    assert log.bad() == 2
    assert log.good() == 1


def kill_backends(pg, user='u_scram', f=None):
    """f: until it has none either; one that was just logging in is ended in the next round."""
    def gone():
        pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'" % user)
        return pg.backends("usename = '%s'" % user) == 0 and (not f or f.total() == 0)
    until(gone)


@pytest.mark.parametrize('workers', [1, 2])
def test_rotation(front, server, workers):
    """A new password on the server, under clients of each worker."""
    f = front(server, workers=workers, server_login_retry=0.05)
    old = [f.connect() for _ in range(4)]
    for c in old:
        assert c.one('SELECT current_user') == 'u_scram'
    give(server, 'u_scram', NEXT)
    for c in old:                               # connections that are there stay
        assert c.one('SELECT 1') == '1'
    kill_backends(server, f=f)
    for c in old:                               # what the pool knows is refused: they are told, and stay
        with pytest.raises(PgError) as e:
            c.one('SELECT 1')
        assert e.value.code in ('28P01', '28000'), e.value.fields
    is_wrong(f.refused())                       # and the old one gets nobody in, though it was remembered
    with f.connect(secret=NEXT) as c:
        assert c.one('SELECT 1') == '1'
        for o in old:                           # the pools of all workers have learned the new one
            until(lambda o=o: works(o), why='a server for a client of before')
        kill_backends(server, f=f)
        for o in [c, *old]:                     # each has one of its own
            until(lambda o=o: works(o), why='a server with the new password')
            o.hold()
    for o in old:
        o.close()


def works(c):
    try:
        return c.one('SELECT 1') == '1'
    except PgError as e:
        assert e.code in ('28P01', '28000'), e.fields
        return False


def test_rotation_while_the_pool_lives(front, server):
    """The new password proves itself beside servers of the old one; the pool takes it on."""
    f = front(server, default_pool_size=2)
    with f.connect() as a:
        a.sql('SELECT 1')
        give(server, 'u_scram', NEXT)
        with f.connect(secret=NEXT) as b:
            assert b.one('SELECT 1') == '1'
            is_wrong(f.refused())
            kill_backends(server)
            assert a.one('SELECT 1') == b.one('SELECT 1') == '1'


def test_other_servers_after_a_reload(front, servers):
    """What the old ones have said of a password is nothing to the new ones, into which the
    pool gets by itself."""
    old, new = servers
    give(new, 'u_scram', NEXT)
    f = front(old, passthrough_cache='10min')
    with f.connect() as c:
        assert c.one('SELECT inet_server_port()') == str(old.port)
    f.weir.rewrite(f.text.replace(db(old, dbname='app'), db(new, dbname='app', password=NEXT)))
    f.weir.hup()
    f.weir.wait_log('event=reloaded')
    is_wrong(f.refused(secret=RIGHT))
    with f.connect(secret=NEXT) as c:
        assert c.one('SELECT inet_server_port()') == str(new.port)


def test_other_servers_while_one_is_asked(front, servers):
    """The reload comes while an old one looks at the password."""
    old, new = servers
    give(new, 'u_scram', NEXT)
    f = front(old)
    old.freeze()
    c = Conn(f.weir.port, host=f.dir, login=False)
    c.send(wire.startup('u_scram', 'app'))
    assert c.read() == ('R', (3, b''))
    c.send(wire.password(RIGHT))
    f.weir.wait_log('event=password_trial')
    f.weir.rewrite(f.text.replace(db(old, dbname='app'), db(new, dbname='app')))
    f.weir.hup()
    f.weir.wait_log('event=reloaded')
    old.cont()
    m = c.read()
    assert m[0] == 'E' and m[1]['C'] == '28P01', m
    c.close()


# ---- places -------------------------------------------------------------------------------

def test_storm(front, server):
    """50 at once, half of them wrong, and places for two: each gets its own answer."""
    f = front(server, default_pool_size=2, client_login_timeout=60 * SLOW)
    most, stop = [0], []

    def watch():
        while not stop:
            most[0] = max(most[0], *[sum(int(r[k]) for k in ('sv_active', 'sv_idle', 'sv_login', 'sv_cleaning'))
                                     for r in f.weir.console('SHOW POOLS') if r['user'] == 'u_scram'] or [0])
            time.sleep(0.002)
    watcher = Spawned(watch)

    def one(i):
        if i % 2:
            return f.refused(secret=WRONG if i % 4 == 1 else WRONG + str(i), timeout=60 * SLOW)
        with f.connect(timeout=60 * SLOW) as c:
            return c.one('SELECT %d' % i)
    try:
        got = run_threads(50, one)
    finally:
        stop.append(1)
    watcher.result()
    for i, g in enumerate(got):
        if i % 2:
            is_wrong(g)
        else:
            assert g == str(i)
    assert 1 <= most[0] <= 2
    assert 'password authentication failed' not in ''.join(f.weir.log_lines('event=server_login_failed'))


def test_a_queue_of_guesses(front, server):
    """Sent before the first one has failed: those that have places are told what the server
    says, the others that they have to wait; a place more or less, each guess that reaches a
    server is one failure."""
    f = front(server, default_pool_size=3, login_throttle_base=60, login_throttle_max=600)
    log = Logins(server, 'u_scram')
    conns = [Conn(f.weir.port, host=f.dir, login=False) for _ in range(60)]
    for c in conns:
        c.send(wire.startup('u_scram', 'app'))
        assert c.read() == ('R', (3, b''))
    for i, c in enumerate(conns):
        c.send(wire.password('guess %d' % i))
    codes = []
    for c in conns:
        codes.append(c.read()[1]['C'])
        c.close()
    assert set(codes) == {'28P01', '53300'}
    assert codes.count('28P01') <= 3, codes
    assert log.bad() == codes.count('28P01')
    # the right one has the same pause before it, and so has nobody else
    assert f.refused().code == '53300'
    with f.connect('u_md5') as c:
        assert c.one('SELECT 1') == '1'


def test_room_is_made(front, server):
    """The only place is idle: it goes to who is to be proven, and the pool goes on."""
    f = front(server, default_pool_size=1)
    with f.connect() as c:
        pid = c.one('SELECT pg_backend_pid()')
        for _ in range(3):
            is_wrong(f.refused(secret=WRONG))
            assert c.one('SELECT 1') == '1'
        assert c.one('SELECT pg_backend_pid()') != pid


@pytest.mark.parametrize('workers', [1, 2])
def test_waits_for_its_turn(front, server, workers):
    """The only place is in use: by a transaction, and then by who came before."""
    f = front(server, default_pool_size=1, workers=workers, query_wait_timeout=30 * SLOW)
    with f.connect() as a, f.connect() as b, f.connect() as d:
        a.hold()
        b.send(wire.query('SELECT pg_sleep(0.2), 2'))
        until(lambda: f.weir.pool_waiting() == 1)
        e = Spawned(f.refused, 'u_scram', WRONG)
        f.weir.wait_log('event=password_trial', n=2)
        assert e.is_alive()
        a.sql('COMMIT')
        assert b.until()[-2:] == [('C', 'SELECT 1'), ('Z', 'I')]
        is_wrong(e.result())
        assert d.one('SELECT 3') == '3'


def test_not_before_who_waits(front, server):
    """Wrong passwords without end do not keep a place from clients that wait."""
    f = front(server, default_pool_size=1)
    stop = []

    def guess():
        while not stop:
            is_wrong(f.refused(secret=WRONG))
    with f.connect() as c:
        guessers = [Spawned(guess) for _ in range(4)]
        try:
            for i in range(30):
                assert c.one('SELECT %d' % i) == str(i)
        finally:
            stop.append(1)
        for g in guessers:
            g.result()


def test_turn_across_workers(front, server):
    """The place is another worker's, and used without a pause: it is given up all the same."""
    f = front(server, default_pool_size=1, workers=2, client_login_timeout=30 * SLOW)
    stop = []
    clients = [f.connect() for _ in range(4)]

    def busy(i):
        while not stop:
            assert clients[i].one('SELECT 1') == '1'
    threads = [Spawned(busy, i) for i in range(4)]
    try:
        for _ in range(4):          # these land on both workers
            is_wrong(f.refused(secret=WRONG, timeout=30 * SLOW))
    finally:
        stop.append(1)
    for t in threads:
        t.result()
    for c in clients:
        c.close()


def test_no_place_in_time(front, server):
    f = front(server, default_pool_size=1, client_login_timeout=1 * SLOW)
    with f.connect() as a:
        a.hold()
        e = f.refused(secret=WRONG)
        assert e.code == '53300' and 'client_login_timeout' in e.fields['M'], e.fields
        a.sql('COMMIT')
        assert a.one('SELECT 1') == '1'


# ---- nodes --------------------------------------------------------------------------------

def test_one_node_down(front, servers):
    servers[0].stop()
    f = front(*servers, health_check_interval=60)
    for _ in range(3):
        with f.connect() as c:
            assert c.one('SELECT current_user') == 'u_scram'
        is_wrong(f.refused(secret=WRONG))


def test_all_nodes_down(front, server):
    server.stop()
    f = front(server, client_login_timeout=1 * SLOW)
    e = f.refused()
    assert e.code == '57P03', e.fields
    assert 'D' not in e.fields                  # nothing of the nodes for who is not known
    server.start()
    until(lambda: 'state=up' in f.weir.log())
    f.connect().close()


def test_comes_up_in_time(front, server):
    server.stop()
    f = front(server, client_login_timeout=30 * SLOW, health_check_interval=0.1)
    s = Spawned(f.connect)
    f.weir.wait_log('event=password_not_taken')
    server.start()
    with s.result() as c:
        assert c.one('SELECT 1') == '1'


def frozen_front(front, servers, **kw):
    """Checks that are too slow to notice."""
    f = front(*servers, health_check_interval=60, health_check_timeout=60, **kw)
    until(lambda: len(f.weir.log_lines('state=up')) >= len(servers))
    return f


def test_frozen_node(front, servers):
    """It takes the connection and says nothing: the other one is asked."""
    f = frozen_front(front, servers, pairs={'load_balance_hosts': 'disable'})
    servers[0].freeze()
    with f.connect(timeout=10 * SLOW) as c:
        assert c.one('SELECT current_user') == 'u_scram'
    is_wrong(f.refused(secret=WRONG))


def test_frozen_alone(front, server):
    f = frozen_front(front, [server], client_login_timeout=1 * SLOW)
    server.freeze()
    e = f.refused()
    assert e.code == '57P03', e.fields
    server.cont()
    f.connect().close()


def test_gone_meanwhile(front, server):
    """The client leaves: its trial goes, and its place is free."""
    f = frozen_front(front, [server], default_pool_size=1)
    server.freeze()
    c = Conn(f.weir.port, host=f.dir, login=False)
    c.send(wire.startup('u_scram'), wire.password(RIGHT))
    until(lambda: f.total() == 1)
    c.close()
    until(lambda: f.total() == 0)
    server.cont()
    f.connect().close()


def test_gone_while_it_waits(front, server):
    f = front(server, default_pool_size=1)
    with f.connect() as a:
        a.hold()
        for ending in (Conn.close, Conn.reset):
            c = Conn(f.weir.port, host=f.dir, login=False)
            c.send(wire.startup('u_scram'), wire.password(WRONG))
            assert c.read() == ('R', (3, b''))
            ending(c)
        a.sql('COMMIT')
        assert a.one('SELECT 1') == '1'
    f.weir.wait_log('event=client_closed', 'why=client_c', n=2)


def test_reload_meanwhile(front, server):
    """The database goes, or becomes another user's, while a password is tried."""
    f = frozen_front(front, [server], settings={'other': db(server)}, passthrough_cache=0)
    for new in (f.text.replace('\napp = ', '\napq = '), f.text.replace('\napp = ', '\napp = user=postgres ')):
        server.freeze()
        c = Conn(f.weir.port, host=f.dir, login=False)
        n = len(f.weir.log_lines('event=password_trial'))
        c.send(wire.startup('u_scram'), wire.password(RIGHT))
        f.weir.wait_log('event=password_trial', n=n + 1)
        f.weir.rewrite(new)
        f.weir.hup()
        assert c.read() == ('R', (3, b''))
        m = c.read()
        assert m[0] == 'E' and m[1]['C'] == '3D000', m
        c.close()
        server.cont()
        n = len(f.weir.log_lines('event=reload'))
        f.weir.rewrite(f.text)
        f.weir.hup()
        until(lambda n=n: len(f.weir.log_lines('event=reload')) > n)
        f.connect().close()


def test_stop_meanwhile(front, server):
    f = frozen_front(front, [server])
    server.freeze()
    c = Conn(f.weir.port, host=f.dir, login=False)
    c.send(wire.startup('u_scram'), wire.password(RIGHT))
    until(lambda: f.total() == 1)
    f.weir.term()
    assert f.weir.wait() == 0
    c.close()


# ---- CockroachDB's way --------------------------------------------------------------------

def cockroach(refusal=None):
    """Version 21: the password as it is, and one code for everything."""
    def script(c):
        if not c.read_startup():
            return
        c.send(wire.msg('R', struct.pack('!i', 3)))
        try:
            if c.expect('p') != RIGHT.encode() + b'\0' or refusal:
                code, text = refusal or ('XXUUU', 'password authentication failed for user ' + c.startup['user'])
                c.send(wire.error(code, text, severity='ERROR'))
                return
        except Closed:
            return                  # a check
        c.welcome({**wire.PARAMS, 'crdb_version': 'CockroachDB'})
        while True:
            try:
                c.expect_query()
            except Closed:
                return
            c.send(wire.row_description('c'), wire.data_row('1'), wire.complete('SELECT 1'), wire.ready('I'))
    return script


def test_cockroach(front):
    with wire.FakeServer(cockroach(), login=False) as s:
        f = front(s, health_check_interval=3600)
        is_wrong(f.refused(secret=WRONG))
        with f.connect() as c:
            assert c.one('SELECT 1') == '1'
            is_wrong(f.refused(secret=WRONG))
        assert not f.weir.log_lines('event=node_state', 'state=down')


def test_cockroach_in_trouble(front):
    """The same code for trouble of its own: another node is asked."""
    with wire.FakeServer(cockroach(('XXUUU', 'context deadline exceeded')), login=False) as bad, \
            wire.FakeServer(cockroach(), login=False) as good:
        f = front(bad, good, pairs={'load_balance_hosts': 'disable'}, health_check_interval=3600)
        f.connect().close()


# ---- what is shown ------------------------------------------------------------------------

def memory(pid):
    """All that the process may write to."""
    out = []
    with open('/proc/%d/maps' % pid) as maps, open('/proc/%d/mem' % pid, 'rb', 0) as mem:
        for line in maps:
            at, mode = line.split()[:2]
            if not mode.startswith('rw') or '[vvar' in line:
                continue
            a, b = (int(x, 16) for x in at.split('-'))
            try:
                mem.seek(a)
                out.append(mem.read(b - a))
            except OSError:
                continue
    return out


def in_memory(f, secret):
    return sum(m.count(secret.encode()) for m in memory(f.weir.pid))


def shown(f):
    text = f.weir.log() + f.weir.banner
    for what in ('CONFIG', 'POOLS', 'NODES', 'STATS', 'LISTS', 'DATABASES', 'CLIENTS', 'SERVERS'):
        try:
            text += repr(f.weir.console('SHOW ' + what))
        except PgError as e:
            text += str(e.fields)
    with open('/proc/%d/cmdline' % f.weir.pid) as c:
        return text + c.read()


@pytest.mark.parametrize('tls', [False, True], ids=['unix', 'tls'])
def test_shown_nowhere(front, server, tls):
    f = front(server, default_pool_size=1)
    with f.connect(tls=tls) as c:
        c.sql('SELECT 1')
        is_wrong(f.refused(secret=WRONG, tls=tls))
        for user in USERS:
            is_wrong(f.refused(user, WRONG, tls=tls), user)
        give(server, 'u_scram', NEXT)
        f.connect(secret=NEXT, tls=tls).close()
        is_wrong(f.refused(tls=tls))
    text = shown(f)
    assert 'password_not_taken' in text         # it does say what happens
    for secret in (RIGHT, WRONG, NEXT):
        assert secret not in text


@pytest.mark.no_san
@pytest.mark.skipif(os.geteuid() != 0, reason='reads the memory of another process')
@pytest.mark.parametrize('tls', [False, True], ids=['unix', 'tls'])
@pytest.mark.parametrize('user', USERS)
def test_wiped(front, server, user, tls):
    """Once it is over no copy is left: of a wrong one at once, of the pool's with the pool."""
    f = front(server, default_pool_size=2)
    # long, and looked for by their ends: free() writes over the beginning
    wrong, right = ['%s%s:END-OF-%s' % (s, 'x' * 99, s) for s in (WRONG, RIGHT)]
    give(server, user, right)
    is_wrong(f.refused(user, wrong, tls=tls), user)
    with f.connect(user, right, tls=tls) as c:
        c.sql('SELECT 1')
        assert in_memory(f, right[-20:]) > 0    # the pool's: or this test would see nothing
    assert in_memory(f, wrong[-20:]) == 0
    kill_backends(server, user)
    until(lambda: not f.pool(user), 30, why='the pool to be forgotten')
    assert in_memory(f, right[-20:]) == 0


# ---- at load ------------------------------------------------------------------------------

def test_check(tmp_path):
    def said(**kw):
        pairs = kw.pop('pairs', 'host=127.0.0.1')
        path = tmp_path / 'x.ini'
        path.write_text(ini({'app': pairs}, **kw))
        r = subprocess.run([PGWEIR, '--check', str(path)], capture_output=True, text=True)
        return r.stderr if r.returncode else ''
    assert 'client_tls_sslmode' in said(auth_type='passthrough')
    assert 'user=' in said(auth_type='passthrough', unix_socket_dir='/tmp', pairs='host=127.0.0.1 user=x')
    assert said(auth_type='passthrough', unix_socket_dir='/tmp') == ''
    hba = tmp_path / 'hba'
    hba.write_text('host all all all passthrough\n')
    assert 'hba:1: the method passthrough' in said(auth_type='hba', auth_hba_file=hba, unix_socket_dir='/tmp')
    hba.write_text('local all all passthrough\n')
    assert 'unix_socket_dir' in said(auth_type='hba', auth_hba_file=hba)
    assert said(auth_type='hba', auth_hba_file=hba, unix_socket_dir='/tmp') == ''
