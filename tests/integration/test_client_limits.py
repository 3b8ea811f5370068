"""How many clients there may be: of all, of a database, of a user, on the console,
and before they have logged in; and what the refused are told."""
import os
import random
import ssl
import struct
import threading
import time

import pytest

import certs
import wire
from conftest import SLOW, db, ini, run_threads, until
from wire import Closed, Conn, PgError

pytestmark = pytest.mark.weir_only


def refused(w, code, *words, user='app', database='app', **kw):
    """The refusal, which is FATAL, names what is in words, and closes."""
    c = Conn(w.port, login=False)
    with pytest.raises(PgError) as e:
        c.login(user, database, **kw)
    f = e.value.fields
    assert (f['S'], f['C']) == ('FATAL', code), f
    for x in words:
        assert x in f['M'] + ' ' + f.get('H', ''), f
    assert c.closed()
    c.close()
    return f


def let_in(w, user='app', database='app', **kw):
    """A client, once there is room: what has just been closed is counted until then."""
    def attempt():
        try:
            return w.connect(user, database, **kw)
        except PgError as e:
            assert e.code == '53300', e
            return None
    return until(attempt, why='a place')


def close_all(cs):
    for c in cs:
        c.close()


def lists(w):
    return {r['list']: int(r['items']) for r in w.console('SHOW LISTS')}


# ---- clients of a database, of a user ----------------------------------------------------

@pytest.mark.parametrize('workers', [1, 2])
def test_clients_of_a_database(weir, pg, workers):
    """Its own bound, that of [pgweir] for the others, and 0 is none."""
    w = weir(ini({'app': db(pg, max_db_client_connections=2), 'b': db(pg, dbname='app'),
                  'c': db(pg, dbname='app', max_db_client_connections=0)},
                 max_db_client_connections=3, workers=workers))
    a = [w.connect('app'), w.connect('other')]
    f = refused(w, '53300', '"app"', 'max_db_client_connections', '[databases]')
    assert f['M'] == 'too many connections for database "app" (max_db_client_connections)'
    assert f['H'] == 'At most 2 clients of this database are let in: see max_db_client_connections in [databases].'
    b = [w.connect(database='b') for _ in range(3)]
    f = refused(w, '53300', '"b"', database='b')
    assert f['H'] == 'At most 3 clients of this database are let in: see max_db_client_connections in [pgweir].'
    close_all([w.connect(database='c') for _ in range(10)])
    a.pop().close()
    a.append(let_in(w))
    for c in a + b:
        assert c.one('SELECT 1') == '1'
        c.close()
    w.wait_log('event=client_closed', 'why=max_db_client_connections', 'sqlstate=53300')


@pytest.mark.parametrize('workers', [1, 2])
def test_clients_of_a_user(weir, pg, workers):
    """Over all databases; by the name they log in with, whoever they are on the server."""
    w = weir(ini({'app': db(pg), 'b': db(pg, dbname='app', user='app')},
                 users={'app': 'max_user_client_connections=2', 'other': 'max_user_client_connections=0'},
                 max_user_client_connections=1, workers=workers))
    a = [w.connect('app'), w.connect('app', 'b')]
    for d in ('app', 'b'):
        f = refused(w, '53300', database=d)
        assert f['M'] == 'too many connections for user "app" (max_user_client_connections)'
        assert f['H'] == 'At most 2 clients of this user are let in: see max_user_client_connections in [users].'
    s = w.connect('somebody', 'b')
    f = refused(w, '53300', '[pgweir]', user='somebody', database='b')
    close_all([w.connect('other') for _ in range(10)])
    a.pop().close()
    a.append(let_in(w, 'app', 'b'))
    close_all(a + [s])


def test_one_bound_does_not_eat_of_another(weir, pg):
    """Who is refused for one of them holds nothing of the others."""
    w = weir(ini({'app': db(pg, max_db_client_connections=3), 'b': db(pg, dbname='app')},
                 users={'app': 'max_user_client_connections=1'}, max_client_conn=5))
    a = w.connect('app')
    for _ in range(20):
        refused(w, '53300', 'max_user_client_connections')
    o = [w.connect('other') for _ in range(2)]
    for _ in range(20):
        refused(w, '53300', 'max_db_client_connections', user='other')
    b = [w.connect('other', 'b') for _ in range(2)]
    for _ in range(20):
        f = refused(w, '53300', 'max_client_conn', user='other', database='b')
        assert f['M'] == 'sorry, too many clients already'
    a.close()
    o.append(let_in(w, 'other'))
    assert lists(w)['clients'] == 5
    close_all(o + b)
    until(lambda: lists(w)['clients'] == 0, why='all places to be given back')


def test_who_is_refused_holds_nothing(weir, pg):
    """Not even as long as he stays to hear why."""
    w = weir(ini({'app': db(pg)}, users={'app': 'max_user_client_connections=1'}, max_client_conn=2))
    a, stays = w.connect(), strangers(w, 3, wire.startup())
    for c in stays:
        assert c.read() == ('R', (0, b'')) and c.read()[1]['C'] == '53300'
    w.connect('other').close()
    close_all(stays + [a])


def test_reload_lowers_and_raises(weir, pg):
    """Who is in stays; nobody more before there are fewer than the new bound."""
    def conf(n):
        return ini({'app': db(pg, max_db_client_connections=n)}, users={'app': 'max_user_client_connections=10'})
    w = weir(conf(4))
    cs = [w.connect() for _ in range(4)]
    w.rewrite(conf(2))
    w.hup()
    w.wait_log('event=reloaded')
    for c in cs:
        assert c.one('SELECT 1') == '1'
    refused(w, '53300', 'At most 2')
    for _ in range(2):
        cs.pop().close()
        until(lambda: lists(w)['clients'] == len(cs), why='a place to be given back')
    refused(w, '53300', 'At most 2')
    cs.pop().close()
    cs.append(let_in(w))
    refused(w, '53300', 'At most 2')
    w.rewrite(conf(5))
    w.hup()
    w.wait_log('event=reloaded', n=2)
    cs += [let_in(w) for _ in range(3)]
    refused(w, '53300', 'At most 5')
    w.rewrite(conf(0))
    w.hup()
    w.wait_log('event=reloaded', n=3)
    cs += [let_in(w) for _ in range(5)]
    refused(w, '53300', 'max_user_client_connections')
    close_all(cs)


def test_reload_that_removes_the_database(weir, pg):
    """What its clients held is given back with them, and there is as much room as before
    when it comes again."""
    with_app = ini({'app': db(pg, max_db_client_connections=2), 'b': db(pg, dbname='app')},
                   users={'app': 'max_user_client_connections=2'})
    without = ini({'b': db(pg, dbname='app')})
    w = weir(with_app)
    cs = [w.connect(), w.connect()]
    w.rewrite(without)
    w.hup()
    w.wait_log('event=reloaded')
    for c in cs:
        with pytest.raises((PgError, Closed)):
            c.sql('SELECT 1')
        c.close()
    assert refused(w, '3D000', '"app"')
    w.rewrite(with_app)
    w.hup()
    w.wait_log('event=reloaded', n=2)
    cs = [let_in(w), let_in(w)]
    refused(w, '53300')
    close_all(cs)
    until(lambda: lists(w)['clients'] == 0, why='all places to be given back')


# ---- the console -------------------------------------------------------------------------

def test_console_is_exempt(weir, pg):
    """An operator gets in when nobody else does; but not for ever."""
    w = weir(ini({'app': db(pg)}, max_client_conn=1, max_db_client_connections=1,
                 max_user_client_connections=1, max_client_logins=8, admin_users='admin, app'))
    c = w.connect()
    refused(w, '53300')
    ops = [w.connect('admin', 'pgweir') for _ in range(50)] + [w.connect('app', 'pgbouncer') for _ in range(50)]
    f = refused(w, '53300', user='admin', database='pgweir')
    assert f['M'] == 'too many clients of the console' and '100' in f['H']
    ops.pop().close()
    ops.append(let_in(w, 'admin', 'pgweir'))
    assert c.one('SELECT 1') == '1'
    close_all(ops)
    until(lambda: try_lists(w) == 1, why='the console to be free')
    c.close()


def try_lists(w):
    try:
        return lists(w)['clients']
    except PgError:
        return None


# ---- before the login ----------------------------------------------------------------------

HALF = wire.startup()[:20]


def strangers(w, n, data=b''):
    out = []
    for _ in range(n):
        c = Conn(w.port, login=False)
        if data:
            c.send(data)
        c.asked_tls = data == wire.special(wire.CODE_SSL)
        out.append(c)
    return out


def users_ini(pg, tmp_path, **kw):
    f = tmp_path / 'users.txt'
    f.write_text('"alice" "%s"\n"admin" "x"\n' % wire.scram_secret('pencil'))
    os.chmod(tmp_path, 0o755)
    # who says nothing is here to be seen
    kw.setdefault('tcp_defer_accept', 0)
    return ini({'app': db(pg, user='app')}, auth_type='scram-sha-256', auth_file=f, **kw)


def logging_in(w):
    """Who has not logged in; the asker himself has."""
    with w.connect('admin', 'pgweir', secret='x') as c:
        for m in c.ask(wire.query('SHOW LISTS')):
            if m[0] == 'D' and m[1][0] == 'login_clients':
                return int(m[1][1])


@pytest.mark.parametrize('workers', [1, 2])
@pytest.mark.parametrize('what', ['nothing', 'half', 'startup', 'sslrequest'])
def test_strangers_do_not_keep_clients_out(weir, pg, tmp_path, what, workers):
    """Connections that stop somewhere on their way in: the oldest goes for each new one, and
    whoever logs in quickly gets in, up to max_client_conn."""
    data = {'nothing': b'', 'half': HALF, 'startup': wire.startup('alice'),
            'sslrequest': wire.special(wire.CODE_SSL)}[what]
    w = weir(users_ini(pg, tmp_path, max_client_conn=5, max_client_logins=20, workers=workers))
    kept = [w.connect('alice', secret='pencil')]
    out = strangers(w, 1, data)
    if what == 'startup':
        assert out[0].read()[1][0] == 10
    out += strangers(w, 59, data)
    assert until(lambda: logging_in(w) <= 20 and logging_in(w), why='no more than 20 strangers') >= 18
    for _ in range(4):
        kept.append(w.connect('alice', secret='pencil'))
    refused(w, '53300', 'max_client_conn', user='alice', secret='pencil')
    for c in kept:
        assert c.one('SELECT 1') == '1'
    # the first are gone, the last are there
    gone = [until_gone(c) for c in out[:35]]
    assert all(gone)
    if what == 'startup':
        assert gone[0] == 'E:53300'
    for c in out[-10:]:
        if what == 'startup':
            assert c.read()[1][0] == 10
        elif what == 'sslrequest':
            assert c.take(1) == b'N'
        assert c.quiet(0.01)
    w.wait_log('event=client_shed', 'why=max_client_logins')
    assert int({r['name']: r['value'] for r in rows(w, 'SHOW COUNTERS')}['client_logins_shed']) >= 40
    close_all(out)
    until(lambda: logging_in(w) == 0, why='all strangers to be gone')
    close_all(kept)


@pytest.mark.parametrize('workers', [1, 2])
def test_the_silent_wait_in_the_kernel(weir, pg, tmp_path, workers):
    """tcp_defer_accept: who says nothing takes no place of those who do, nor a descriptor."""
    w = weir(users_ini(pg, tmp_path, max_client_logins=20, workers=workers, tcp_defer_accept=30))
    before = len(os.listdir('/proc/%d/fd' % w.pid))
    out = strangers(w, 100)
    with w.connect('alice', secret='pencil') as c:
        assert c.one('SELECT 1') == '1'
        assert logging_in(w) == 0
        assert len(os.listdir('/proc/%d/fd' % w.pid)) <= before + 4
    # one of them speaks after all, in two pieces
    hello = wire.startup('alice')
    out[0].send(hello[:20])
    until(lambda: logging_in(w) == 1, why='him who has begun to speak')
    out[0].send(hello[20:])
    assert out[0].read()[1][0] == 10
    # from now on they are seen at once
    w.rewrite(users_ini(pg, tmp_path, max_client_logins=20, workers=workers))
    w.hup()
    w.wait_log('event=reloaded')
    out += strangers(w, 5)
    until(lambda: logging_in(w) == 6, why='those who came since')
    close_all(out)


def rows(w, text, **kw):
    with w.connect('admin', 'pgweir', secret='x', **kw) as c:
        msgs = c.ask(wire.query(text))
        names = next(m[1] for m in msgs if m[0] == 'T')
        return [dict(zip(names, m[1])) for m in msgs if m[0] == 'D']


def until_gone(c):
    """Its end: what it was told last, or that it was told nothing. An N, to who asked for
    TLS, is no message."""
    said = 'nothing'
    while True:
        try:
            if c.asked_tls:
                assert c.take(1) == b'N'
                c.asked_tls = False
            m = c.read()
        except (Closed, ConnectionResetError):
            return said
        if m[0] == 'E':
            said = 'E:' + m[1]['C']


def finish_login(c, secret, to_the_end=True):
    """From the request for SCRAM to ReadyForQuery, or to the client's last message."""
    assert c.read()[1][0] == 10
    s = wire.Scram(secret)
    first = s.first()
    c.send(wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
    c.send(wire.msg('p', s.final(c.read()[1][1])))
    if to_the_end:
        c.until('Z')


def test_a_burst_of_logins_is_let_in(weir, pg, tmp_path):
    """As many as may be in may also come all at once: nobody makes room for another."""
    w = weir(users_ini(pg, tmp_path, max_client_conn=200, workers=2))
    cs = strangers(w, 199, wire.startup('alice'))
    until(lambda: logging_in(w) == 199, why='all to be there')
    for c in cs:
        finish_login(c, 'pencil')
    for c in cs:
        assert c.one('SELECT 1') == '1'
    assert not w.log_lines('event=client_shed')
    assert logging_in(w) == 0
    close_all(cs)


def test_reload_of_max_client_logins(weir, pg, tmp_path):
    """Lowered: the oldest go at once. Raised: more may come."""
    w = weir(users_ini(pg, tmp_path, max_client_logins=30, workers=2))
    out = strangers(w, 25)
    until(lambda: logging_in(w) == 25, why='all to be there')
    w.rewrite(users_ini(pg, tmp_path, max_client_logins=10, workers=2))
    w.hup()
    for c in out[:15]:
        assert until_gone(c) == 'nothing'
    # who asks comes in by the same door
    assert logging_in(w) == 9
    w.rewrite(users_ini(pg, tmp_path, max_client_logins=50, workers=2))
    w.hup()
    w.wait_log('event=reloaded', n=2)
    out += strangers(w, 30)
    until(lambda: logging_in(w) == 39, why='all to be there')
    close_all(out)


def test_who_is_in_is_no_stranger(weir, pg, tmp_path):
    """A client that has logged in does not make room for strangers, however old it is."""
    w = weir(users_ini(pg, tmp_path, max_client_logins=3))
    cs = [w.connect('alice', secret='pencil') for _ in range(10)]
    close_all(strangers(w, 30, HALF))
    for c in cs:
        assert c.one('SELECT 1') == '1'
    close_all(cs)


# ---- server connections of a user ----------------------------------------------------------

class Watch(threading.Thread):
    """The most server connections of `where` that the server has had at one time, and the
    longest time that they were more than bound: PostgreSQL may list one that is closed until
    its process is gone."""

    def __init__(self, pg, where, bound):
        super().__init__(daemon=True)
        self.c = pg.connect('postgres', 'postgres')
        self.sql = ("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND " + where)
        self.bound, self.most, self.over, self.n, self.end = bound, 0, 0.0, 0, False
        self.start()

    def run(self):
        since = None
        while not self.end:
            got, now = int(self.c.one(self.sql)), time.monotonic()
            since = None if got <= self.bound else since or now
            self.over = max(self.over, now - since if since else 0)
            self.most, self.n = max(self.most, got), self.n + 1

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.end = True
        self.join(10)
        self.c.close()


@pytest.mark.parametrize('workers', [1, 2])
def test_servers_of_a_user(weir, pg, workers):
    """Over its pools; the idle server of one database makes room for another, and all are
    served. Another user has its own bound."""
    w = weir(ini({'app': db(pg), 'app2': db(pg), 'three': db(pg, dbname='app')},
                 users={'app': 'max_user_connections=2'}, max_user_connections=3, default_pool_size=5,
                 workers=workers))

    def body(i):
        user, database = ('app', 'other')[i % 2], ('app', 'app2', 'three')[i % 3]
        with w.connect(user, database) as c:
            for _ in range(15):
                c.hold()
                c.sql('SELECT pg_sleep(0.001)')
                c.sql('COMMIT')
        return 1
    with Watch(pg, "usename = 'app'", 2) as a, Watch(pg, "usename = 'other'", 3) as b:
        assert sum(run_threads(18, body)) == 18
    assert a.n > 20 and 2 <= a.most <= 4 and a.over < 0.1 * SLOW, (a.most, a.over)
    assert b.n > 20 and 3 <= b.most <= 6 and b.over < 0.1 * SLOW, (b.most, b.over)


def test_servers_of_a_forced_user(weir, pg):
    """It is the user on the servers that counts, not the client's."""
    w = weir(ini({'app': db(pg, user='app'), 'b': db(pg, dbname='app')}, users={'app': 'max_user_connections=1'},
                 query_wait_timeout='0.3'))
    with w.connect('other', 'app') as a, w.connect('app', 'b') as b:
        a.hold()
        assert a.one('SELECT current_user') == 'app'
        m = b.ask(wire.query('SELECT 1'))
        assert wire.shape(m) == 'E:53300 Z:I' and 'max_user_connections' in m[0][1]['H']
        a.sql('COMMIT')
        assert b.one('SELECT current_user') == 'app'


def test_servers_of_a_user_by_reload(weir, pg):
    """Lowered: idle ones go, busy ones when they are free. Raised: more come."""
    def conf(n):
        return ini({'app': db(pg)}, users={'app': 'max_user_connections=%d' % n})
    w = weir(conf(4))
    cs = [w.connect() for _ in range(4)]
    for c in cs:
        c.hold()
    w.rewrite(conf(1))
    w.hup()
    w.wait_log('event=reloaded')
    for c in cs:
        assert c.one('SELECT 1') == '1'
        c.sql('COMMIT')
    until(lambda: pg.backends() <= 1, why='three servers to go')
    cs[0].hold()
    cs[1].send(wire.query('BEGIN; SELECT 1'))
    assert cs[1].quiet(0.2)
    w.rewrite(conf(2))
    w.hup()
    assert wire.shape(cs[1].until()) == 'C:BEGIN T D C:SELECT 1 Z:T'
    close_all(cs)


# ---- what a stranger may cost ----------------------------------------------------------------

def packet(body):
    return struct.pack('!ii', len(body) + 8, wire.PROTO_3_0) + body


LONG = packet(b'user\0' + b'a' * 4900 + b'\0database\0' + b'b' * 4900 + b'\0\0')
STRANGE = {                           # bytes, and the most that one may cost, in KB
    'nothing': (b'', 4),
    'half': (HALF, 18),
    'most of the longest': (packet(b'user\0' + b'a' * 9980)[:9980], 18),
    'startup': (wire.startup('alice'), 6),
    'long names': (LONG, 14),
    'many settings': (wire.startup('alice', 'app', **{'x.p%03d' % i: 'v' * 55 for i in range(125)}), 20),
}


@pytest.mark.no_san
@pytest.mark.parametrize('what', sorted(STRANGE))
def test_two_thousand_strangers(weir, pg, tmp_path, what):
    """They are held, each costs no more than a buffer, and others log in as if they were not
    there."""
    data, most = STRANGE[what]
    w = weir(users_ini(pg, tmp_path, max_client_conn=10, max_client_logins=2100, workers=2,
                       log_disconnections=0))
    kept = w.connect('alice', secret='pencil')
    before = int(w.status('VmRSS'))
    out = strangers(w, 2000, data)
    until(lambda: logging_in(w) == 2000, why='all to be there')
    if data and data not in (HALF, STRANGE['most of the longest'][0]):
        for c in out:
            assert c.read()[1][0] == 10
    each = (int(w.status('VmRSS')) - before) / 2000
    assert each < most, '%.1f KB' % each
    cs = [w.connect('alice', secret='pencil') for _ in range(9)]
    for c in cs + [kept]:
        assert c.one('SELECT 1') == '1'
    assert not w.log_lines('event=client_shed')
    close_all(out + cs + [kept])
    until(lambda: logging_in(w) == 0, why='all to be gone')


def test_strangers_have_their_time(weir, pg, tmp_path):
    """client_login_timeout ends each of them, whatever they have said so far."""
    w = weir(users_ini(pg, tmp_path, client_login_timeout='0.5'))
    out = [strangers(w, 1, d)[0] for d in (b'', HALF, wire.startup('alice'), wire.special(wire.CODE_SSL))]
    for c in out:
        assert until_gone(c) in ('nothing', 'E:08P01')
    until(lambda: logging_in(w) == 0, why='all to be gone')
    assert len(w.wait_log('event=client_closed', 'why=client_login_timeout', n=4)) >= 4


# ---- every refusal of a login --------------------------------------------------------------

@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certs')
    os.chmod(folder, 0o755)
    a = certs.Authority(str(folder), 'ca')
    a.mine, a.app = a.server(), a.client('admin')
    return a


@pytest.fixture
def doors(weir, pg, tmp_path, authority):
    """A daemon for each way of letting clients in."""
    f = tmp_path / 'users.txt'
    f.write_text('"alice" "%s"\n"admin" "x"\n' % wire.scram_secret('pencil'))
    os.chmod(tmp_path, 0o755)
    tls = {'client_tls_cert_file': authority.mine.cert, 'client_tls_key_file': authority.mine.key,
           'client_tls_ca_file': authority.ca}
    conf = {
        'trust': {},
        'scram': {'auth_type': 'scram-sha-256', 'auth_file': f},
        'tls': {**tls, 'client_tls_sslmode': 'require'},
        'cert': {**tls, 'client_tls_sslmode': 'verify-ca'},
        'full': {'max_client_conn': 1},
        'full_db': {'max_db_client_connections': 1},
        'full_user': {'max_user_client_connections': 1},
        'hurried': {'auth_type': 'scram-sha-256', 'auth_file': f, 'client_login_timeout': '0.2'},
    }
    return lambda name: weir(ini({'app': db(pg, user='app')}, **conf[name]))


def sasl(mech, data):
    return wire.msg('p', wire.cstr(mech) + struct.pack('!i', len(data)) + data)


LAYOUT = 'invalid startup packet layout: expected terminator as last byte'
WRONG = 'password authentication failed for user "alice"'
NOBODY = 'password authentication failed for user "nobody"'
S = wire.startup
# What is asked of whom, in how many steps, and the end: SQLSTATE, message, hint; None: closed
# without a word, as PostgreSQL does where no protocol can be assumed.
REFUSALS = {
    'no packet': ('trust', [struct.pack('!i', 7)], None),
    'a long packet': ('trust', [struct.pack('!ii', 10001, 196608)], None),
    'a bad cancel request': ('trust', [wire.special(wire.CODE_CANCEL, b'1234')], None),
    'SSLRequest twice': ('trust', [wire.special(wire.CODE_SSL), 'N', wire.special(wire.CODE_SSL)],
                         ('0A000', 'unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0', None)),
    'an old protocol': ('trust', [packet(b'\0')[:4] + struct.pack('!i', 2 << 16) + b'\0'],
                        ('0A000', 'unsupported frontend protocol 2.0: server supports 3.0 to 3.0', None)),
    'no end of the packet': ('trust', [packet(b'user\0app\0')], ('08P01', LAYOUT, None)),
    'a name without value': ('trust', [packet(b'user\0app\0database\0')], ('08P01', LAYOUT, None)),
    'bytes behind the end': ('trust', [packet(b'user\0app\0\0x')], ('08P01', LAYOUT, None)),
    'no user': ('trust', [packet(b'database\0app\0\0')],
                ('28000', 'no PostgreSQL user name specified in startup packet', None)),
    'an empty user': ('trust', [S('')], ('28000', 'no PostgreSQL user name specified in startup packet', None)),
    'replication': ('trust', [S(replication='maybe')],
                    ('22023', 'invalid value for parameter "replication": "maybe"', None)),
    'too many settings': ('trust', [S(**{'x.p%d' % i: '' for i in range(129)})],
                          ('22023', 'startup parameter "x.p128": out of memory, or too many or too long settings',
                           None)),
    'bad options': ('trust', [S(options='x')],
                    ('22023', 'startup parameter "options": only -c name=value and --name=value are understood',
                     None)),
    'our setting': ('trust', [S(**{'pgweir.retry': 'maybe'})],
                    ('22023', 'invalid value for parameter "pgweir.retry": "maybe"',
                     'Available values: off, observe, implicit, replay.')),
    'unknown database': ('trust', [S(database='nosuch')],
                         ('3D000', 'database "nosuch" does not exist',
                          'pgweir serves the names in [databases]; * there serves all.')),
    'unknown database, known user': ('scram', [S('alice', 'nosuch'), 'scram'],
                                     ('3D000', 'database "nosuch" does not exist',
                                      'pgweir serves the names in [databases]; * there serves all.')),
    'unknown database, wrong password': ('scram', [S('alice', 'nosuch'), 'wrong'], ('28P01', WRONG, None)),
    'wrong password': ('scram', [S('alice'), 'wrong'], ('28P01', WRONG, None)),
    'unknown user': ('scram', [S('nobody'), 'scram'], ('28P01', NOBODY, None)),
    'no password message': ('scram', [S('alice'), 'R', wire.query('SELECT 1')],
                            ('08P01', 'expected password response, got message type 81', None)),
    'a long password message': ('scram', [S('alice'), 'R', wire.msg('p', b'x' * 100000)],
                                ('08P01', 'invalid message length', None)),
    'another mechanism': ('scram', [S('alice'), 'R', sasl('MD5', b'x')], ('28P01', WRONG, None)),
    'no console user': ('trust', [S('app', 'pgweir')],
                        ('28000', 'user "app" may not use the console', 'Name the user in admin_users or stats_users.')),
    'no console user, wrong password': ('scram', [S('alice', 'pgweir'), 'wrong'], ('28P01', WRONG, None)),
    'no TLS': ('tls', [S()], ('28000', 'SSL required',
                              'client_tls_sslmode lets nobody in without TLS: use sslmode=require.')),
    'no TLS, unknown database': ('tls', [S(database='nosuch')],
                                 ('28000', 'SSL required',
                                  'client_tls_sslmode lets nobody in without TLS: use sslmode=require.')),
    'no certificate': ('cert', ['TLS', S()],
                       ('28000', 'connection requires a valid client certificate',
                        'client_tls_sslmode asks for one that client_tls_ca_file has signed.')),
    'bytes in clear behind SSLRequest': ('tls', [wire.special(wire.CODE_SSL) + S()],
                                         ('08P01', 'received unencrypted data after SSL request', None)),
    'max_client_conn': ('full', ['another', S()],
                        ('53300', 'sorry, too many clients already', 'The limit is the setting max_client_conn.')),
    'max_client_conn, unknown database': ('full', ['another', S(database='nosuch')],
                                          ('3D000', 'database "nosuch" does not exist',
                                           'pgweir serves the names in [databases]; * there serves all.')),
    'max_db_client_connections': ('full_db', ['another', S()],
                                  ('53300', 'too many connections for database "app" (max_db_client_connections)',
                                   'At most 1 clients of this database are let in: see '
                                   'max_db_client_connections in [pgweir].')),
    'max_user_client_connections': ('full_user', ['another', S()],
                                    ('53300', 'too many connections for user "app" (max_user_client_connections)',
                                     'At most 1 clients of this user are let in: see '
                                     'max_user_client_connections in [pgweir].')),
    'too slow with the password': ('hurried', [S('alice'), 'R'], ('08P01', 'client_login_timeout', None)),
    'too slow with the packet': ('hurried', [HALF], None),
}


@pytest.mark.parametrize('name', list(REFUSALS))
def test_refusal(doors, authority, name):
    """SQLSTATE, message and hint of each; the connection is closed, nothing is left of it, and
    who has a right to it gets in."""
    door, steps, want = REFUSALS[name]
    w = doors(door)
    other = w.connect() if 'another' in steps else None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if 'TLS' in steps else None
    if tls:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    c = Conn(w.port, login=False, tls=tls)
    for x in steps:
        if x in ('scram', 'wrong'):
            finish_login(c, 'pencil' if x == 'scram' else 'eraser', to_the_end=False)
        elif x == 'R':
            assert c.read()[1][0] == 10
        elif x == 'N':
            assert c.take(1) == b'N'
        elif x not in ('TLS', 'another'):
            c.send(x)
    got = None
    while True:
        try:
            m = c.read()
        except (Closed, OSError):
            break
        if m[0] == 'E':
            assert got is None and m[1]['S'] == m[1]['V'] == 'FATAL'
            got = (m[1]['C'], m[1]['M'], m[1].get('H'))
        else:
            assert m[0] in 'Rv', m
    assert got == want
    c.close()
    if other:
        other.close()
    until(lambda: places(w, tls or door in ('tls', 'cert'), authority) == (0, 0), why='nothing to be left')


def places(w, tls, authority):
    """Clients, and who has not logged in."""
    kw = {}
    if tls:
        kw['tls'] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        kw['tls'].check_hostname, kw['tls'].verify_mode = False, ssl.CERT_NONE
        kw['tls'].load_cert_chain(authority.app.cert, authority.app.key)
    n = {r['list']: int(r['items']) for r in rows(w, 'SHOW LISTS', **kw)}
    return n['clients'], n['login_clients']


# ---- all of them together -------------------------------------------------------------------

@pytest.mark.parametrize('seed', [1, 2])
def test_walk(weir, pg, seed):
    """Clients come and go in any way, bounds are raised and lowered, a database leaves and
    comes back: each is let in or refused as a model says, for the first bound that is reached,
    and in the end nothing is counted."""
    rng = random.Random(seed)

    def conf(m):
        dbs = {d: db(pg, dbname='app', max_db_client_connections=n) for d, n in m['db'].items() if n is not None}
        return ini(dbs, users={u: 'max_user_client_connections=%d' % n for u, n in m['user'].items()},
                   max_client_conn=m['all'], workers=2, min_pool_size=1)

    def bounds():
        return {'db': {'app': rng.choice((0, 2, 3, 5)), 'b': rng.choice((None, 0, 1, 4)), 'c': 0},
                'user': {'app': rng.choice((0, 2, 4)), 'other': rng.choice((0, 1, 3, 6))},
                'all': rng.choice((4, 8, 12))}

    def expected(m, live, user, database):
        if m['db'][database] is None:
            return '3D000', 'does not exist'
        for name, n, most in (('sorry', len(live), m['all']),
                              ('max_db_client', sum(x[2] == database for x in live), m['db'][database]),
                              ('max_user_client', sum(x[1] == user for x in live), m['user'][user])):
            if most and n >= most:
                return '53300', name
        return None, None

    m, live, reloads, refusals = bounds(), [], 0, 0
    w = weir(conf(m))
    for _ in range(250):
        what = rng.random()
        if what < 0.55:
            user, database = rng.choice(('app', 'other')), rng.choice(('app', 'b', 'c'))
            code, word = expected(m, live, user, database)
            if code:
                assert word in refused(w, code, user=user, database=database)['M']
                refusals += 1
            else:
                live.append((w.connect(user, database), user, database))
        elif what < 0.65:
            for c in strangers(w, 3, rng.choice((b'', HALF))):
                c.reset() if rng.random() < 0.5 else c.close()
        elif what < 0.95 and live:
            c, user, database = live.pop(rng.randrange(len(live)))
            if database == 'b' and m['db']['b'] is None:
                pass
            elif rng.random() < 0.3:
                c.send(wire.query('BEGIN; SELECT 1'))
            elif rng.random() < 0.3:
                c.send(wire.terminate())
            c.reset() if rng.random() < 0.5 else c.close()
            until(lambda: lists(w)['clients'] == len(live), why='its place to be given back')
        elif what >= 0.95:
            m = bounds()
            w.rewrite(conf(m))
            w.hup()
            reloads += 1
            w.wait_log('event=reloaded', n=reloads)
            assert lists(w)['clients'] == len(live)
    assert reloads > 3 and refusals > 20
    close_all(x[0] for x in live)
    until(lambda: lists(w)['clients'] == 0 and lists(w)['login_clients'] == 0, why='nothing to be counted')


# ---- where a client comes from ---------------------------------------------------------------

def from_where(c):
    return '%s:%d' % c.sock.getsockname()[:2]


@pytest.mark.parametrize('mode', ['transaction', 'session'])
def test_application_name_add_host(weir, pg, mode):
    """As the client gave it, or as the settings have it, or app; with its address behind it,
    on every server that it comes to."""
    w = weir(ini({'app': db(pg), 'b': db(pg, dbname='app', application_name='shop')},
                 application_name_add_host=1, pool_mode=mode, default_pool_size=1 if mode == 'transaction' else 5))
    name = ("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    with w.connect(application_name='x') as a, w.connect(application_name='y' * 60) as b, \
            w.connect() as c, w.connect(database='b') as d:
        for _ in range(2):      # they take turns on one server
            assert a.one(name) == a.one('SHOW application_name') == 'x - ' + from_where(a)
            at = ' - ' + from_where(b)
            assert b.one(name) == 'y' * (63 - len(at)) + at and len(b.one(name)) == 63
            assert c.one(name) == 'app - ' + from_where(c)
            assert d.one(name) == 'shop - ' + from_where(d)
        assert a.params['application_name'] == 'x - ' + from_where(a)
        a.sql("SET application_name = 'mine'")
        assert b.one(name).startswith('yyy') and a.one(name) == 'mine'
        a.sql('RESET application_name')
        assert a.one(name) == 'x - ' + from_where(a)
    with w.connect(application_name='\u00e9' * 30) as e:     # 60 bytes: cut, and not in a character
        assert e.one(name).endswith(' - ' + from_where(e))


def test_application_name_add_host_off_and_local(weir, pg, tmp_path):
    os.chmod(tmp_path, 0o777)
    def conf(on):
        return ini({'app': db(pg)}, application_name_add_host=on, unix_socket_dir=tmp_path)
    w = weir(conf(0))
    with w.connect(application_name='x') as c:
        assert c.one('SHOW application_name') == 'x'
    w.rewrite(conf(1))
    w.hup()
    w.wait_log('event=reloaded')
    with Conn(w.port, host=str(tmp_path), user='app', database='app', application_name='x') as c:
        assert c.one('SHOW application_name') == 'x - unix(%d)' % os.getpid()


class Node(wire.FakeServer):
    """Keeps what each login said of itself; answers every Query with 1."""

    def __init__(self):
        self.said, self.heard = [], b''
        super().__init__(self.answer)

    def answer(self, c):
        self.said.append((c, c.startup.get('crdb:remote_addr')))
        try:
            while True:
                letter, body = c.read_raw()
                self.heard += body
                if letter == 'X':
                    return
                c.send(wire.result('1') + wire.ready() if letter == 'Q' else b'')
        except Closed:
            return


def test_crdb_remote_addr(weir):
    """A client's server says whose it is, is never another's, and ends with it. (What
    CockroachDB sees of it nobody else can be asked, so this is a scripted server.)"""
    with Node() as n:
        w = weir(ini({'app': db(n, pool_mode='session', crdb_remote_addr=1, user='app'),
                      'b': db(n, user='app')}, users={'app': 'pool_mode=transaction'}, workers=2,
                     health_check_interval=3600, default_pool_size=1, max_db_connections=4))
        told = {}
        cs = [w.connect() for _ in range(3)]
        for c in cs * 2:
            assert c.one('SELECT 1') == '1'
            told[from_where(c)] = 1
        assert sorted(x[1] for x in n.said) == sorted(told) and len(n.said) == 3
        # nobody may claim to come from elsewhere
        with w.connect(**{'crdb:remote_addr': '10.0.0.1:1'}) as c:
            c.one('SELECT 1')
            assert n.said[-1][1] == from_where(c)
        until(lambda: n.said[3][0].ended, why='its server to end')
        # one goes, and its server with it; the next one has a new one
        cs[0].close()
        until(lambda: sum(x[0].ended for x in n.said[:3]) == 1, why='its server to end')
        with w.connect() as c:
            assert c.one('SELECT 1') == '1'
            assert [x[1] for x in n.said[4:]] == [from_where(c)]
        close_all(cs)
        until(lambda: all(x[0].ended for x in n.said), why='all servers to end')
        # elsewhere none is sent, whatever the client says
        with w.connect(database='b', **{'crdb:remote_addr': '10.0.0.1:1'}) as c:
            assert c.one('SELECT 1') == '1'
        assert n.said[-1][1] is None and b'SELECT 1' in n.heard and b'crdb:' not in n.heard
        until(lambda: w.pool('app') is None, why='the pools of those clients to go')


def test_crdb_remote_addr_is_bounded(weir):
    """Servers of one client each are bounded by max_db_connections."""
    with Node() as n:
        w = weir(ini({'app': db(n, pool_mode='session', crdb_remote_addr=1, user='app', max_db_connections=2)},
                     health_check_interval=3600, query_wait_timeout='0.3'))
        cs = [w.connect() for _ in range(2)]
        for c in cs:
            assert c.one('SELECT 1') == '1'     # theirs from now on
        refused(w, '53300', 'query_wait_timeout')
        cs.pop().close()
        cs.append(let_in(w))
        for c in cs:
            assert c.one('SELECT 1') == '1'
        close_all(cs)


@pytest.mark.parametrize('total', [30000, 40000])
def test_a_handshake_is_bounded(weir, pg, authority, total):
    """A first message of TLS that goes on and on: not more than 32 KB of it are taken."""
    w = weir(ini({'app': db(pg)}, client_tls_sslmode='prefer', client_tls_cert_file=authority.mine.cert,
                 client_tls_key_file=authority.mine.key))
    c = strangers(w, 1, wire.special(wire.CODE_SSL))[0]
    assert c.take(1) == b'S'
    c.asked_tls = False
    body = b'\x01' + (131000).to_bytes(3, 'big') + b'\x03\x03' + b'a' * total
    for i in range(0, len(body), 10000):
        part = body[i:i + 10000]
        c.send(b'\x16\x03\x01' + len(part).to_bytes(2, 'big') + part)
    if total < 32000:
        assert c.quiet(0.2)
    else:
        assert until_gone(c) == 'nothing'
        w.wait_log('event=tls_failed', 'Message too long')
    c.close()
    assert w.one('SELECT 1') == '1'
