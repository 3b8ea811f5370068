"""Where the password for a server comes from: each source against a real server that
asks for SCRAM, new ones by SIGHUP under a client, and that no place shows any."""
import os
import signal
import subprocess

import pytest

import wire
from cluster import Postgres
from conftest import PGWEIR, SLOW, db, ini, until
from wire import Conn, PgError, query

pytestmark = pytest.mark.weir_only

FIRST, SECOND = 'SECRET one: 1\\', 'SECRET two'     # a : and a \, for the passfile


def make_server(base, template, name):
    p = Postgres(base, name).copy_from(template)
    p.hba('local all all trust\nhost all postgres 127.0.0.1/32 trust\n'
          'host all clara 127.0.0.1/32 password\nhost all all 127.0.0.1/32 scram-sha-256\n')
    p.start()
    for user in ('owner', 'amy', 'ben', 'cid', 'clara'):
        p.sql('CREATE ROLE %s LOGIN; GRANT pg_monitor TO %s' % (user, user))
    return p


@pytest.fixture(scope='module')
def _servers(base, template):
    made = []
    try:
        for name in ('passwords1', 'passwords2'):
            made.append(make_server(base, template, name))
        yield made
    finally:
        for p in made:
            p.stop(signal.SIGQUIT)


def give(pg, user, secret, salt=None):
    """The role's password from now on."""
    if salt:
        secret = wire.scram_secret(secret, salt)
    pg.sql("ALTER ROLE %s PASSWORD '%s'" % (user, secret))


@pytest.fixture
def servers(_servers):
    for p in _servers:
        give(p, 'owner', FIRST)
    return _servers


@pytest.fixture
def locked(servers):
    return servers[0]


class Place:
    """A directory for secrets, and the environment that goes with it."""

    def __init__(self, path):
        self.path = path
        self.env = {'HOME': str(path / 'nobody'), 'CREDENTIALS_DIRECTORY': str(path),
                    'PGPASSFILE': '', 'PGPASSWORD': ''}

    def put(self, name, text, mode=0o600):
        """As careful people do it: written aside, then renamed."""
        p = self.path / name
        p.parent.mkdir(exist_ok=True)
        new = self.path / 'new'
        new.write_text(text)
        os.chmod(new, mode)
        new.rename(p)
        return p


@pytest.fixture
def place(tmp_path):
    os.chmod(tmp_path, 0o755)
    return Place(tmp_path)


def escaped(secret):
    return secret.replace('\\', '\\\\').replace(':', '\\:')


def line(pg, user, secret, host='127.0.0.1', database='app'):
    return '%s:%s:%s:%s:%s\n' % (host, pg.port, database, user, escaped(secret))


def shown(w):
    """All that people can see of it: log, console, arguments."""
    out = w.log() + w.banner
    for what in ('CONFIG', 'POOLS', 'NODES', 'STATS', 'LISTS', 'DATABASES'):
        try:
            out += repr(w.console('SHOW ' + what, user='owner' if w.uri else 'admin'))
        except PgError as e:
            out += str(e.fields)
    for name in ('cmdline', 'comm'):
        with open('/proc/%d/%s' % (w.pid, name), 'rb') as f:
            out += f.read().decode(errors='replace')
    return out


def no_secret(text):
    assert 'SECRET' not in text, text[max(0, text.index('SECRET') - 200):][:400]


# ---- each source ---------------------------------------------------------------------

def source(name, pg, place, secret):
    """The pairs of the entry, for a source that holds this secret."""
    if name == 'password':
        return {'password': "'%s'" % secret}
    if name == 'password_env':
        place.env['THE_PW'] = secret
        return {'password_env': 'THE_PW'}
    if name == 'password_file':
        return {'password_file': place.put('pw', secret + '\n')}
    if name == 'credential':
        place.put('cred', secret)
        return {'password_file': 'credential:cred'}
    if name == 'passfile':
        return {'passfile': place.put('pass', '# a comment\n' + line(pg, 'owner', secret))}
    place.put('cred', line(pg, '*', secret, '*', '*'), 0o440)
    return {'passfile': 'credential:cred'}


SOURCES = ['password', 'password_env', 'password_file', 'credential', 'passfile', 'passfile credential']
FILES = ['password_file', 'credential', 'passfile', 'passfile credential']


def start(weir, pg, place, name, **kw):
    pairs = source(name, pg, place, FIRST)
    return weir(ini({'app': db(pg, user='owner', dbname='app', **pairs)},
                    **{'verbose': 3, 'health_check_user': None, 'health_check_dbname': None, **kw}),
                env=place.env)


def role_known(w):
    """The checks have logged in, if nobody else has: without a password they could not
    tell a role."""
    return until(lambda: [r for r in w.console('SHOW NODES', user='owner' if w.uri else 'admin')
                          if r['role'] == 'primary'], why='a check that logs in')


@pytest.mark.parametrize('name', SOURCES)
def test_each_source(weir, locked, place, name):
    w = start(weir, locked, place, name)
    role_known(w)       # first: a server that logs in tells it too
    assert w.one('SELECT current_user') == 'owner'
    no_secret(shown(w))


@pytest.mark.parametrize('name', SOURCES)
def test_wrong_secret_is_not_told(weir, locked, place, name):
    give(locked, 'owner', SECOND)
    w = start(weir, locked, place, name)
    with pytest.raises(PgError) as e:
        w.one('SELECT 1')
    assert e.value.code == '28P01', e.value
    no_secret(repr(e.value.fields))
    w.wait_log('28P01')
    no_secret(shown(w))


def uri(pg, extra=''):
    return 'postgresql://owner@127.0.0.1:%d/app%s' % (pg.port, extra)


@pytest.mark.parametrize('name', ['PGPASSWORD', 'PGPASSFILE', 'pgpass', 'passfile', 'host and hostaddr'])
def test_uri(weir, locked, place, name):
    conf = uri(locked)
    if name == 'PGPASSWORD':
        place.env['PGPASSWORD'] = FIRST
        place.env['PGPASSFILE'] = str(place.put('pass', line(locked, 'owner', SECOND)))
    elif name == 'PGPASSFILE':
        place.env['PGPASSFILE'] = str(place.put('pass', line(locked, 'owner', FIRST)))
    elif name == 'pgpass':
        place.put('nobody/.pgpass', line(locked, 'owner', FIRST))
    elif name == 'passfile':
        conf += '?passfile=%s' % place.put('pass', line(locked, 'owner', FIRST))
    else:
        place.env['PGPASSFILE'] = str(place.put('pass', line(locked, 'owner', SECOND) +
                                                line(locked, 'owner', FIRST, host='db.test')))
        conf = 'postgresql://owner@db.test:%d/app?hostaddr=127.0.0.1' % locked.port
    w = weir(conf, env=place.env, args=['-v'])
    role_known(w)
    assert w.one('SELECT current_user', user='whoever') == 'owner'
    no_secret(shown(w))


def test_uri_without_any(weir, locked, place):
    """A passfile that is named by the environment need not be there."""
    place.env['PGPASSFILE'] = '/nonexistent/passfile'
    w = weir(uri(locked), env=place.env)
    with pytest.raises(PgError) as e:
        w.one('SELECT 1', user='whoever')
    assert 'password' in str(e.value)


def test_passfile_serves_each_user(weir, locked, place, tmp_path):
    """No user=: its lines for those whom it names, auth_file for the others."""
    for user in ('amy', 'ben', 'cid'):
        give(locked, user, 'SECRET of ' + user)
    users = tmp_path / 'users.txt'
    users.write_text('"amy" "SECRET wrong"\n"cid" "SECRET of cid"\n"admin" ""\n')
    passfile = place.put('pass', ''.join(line(locked, u, 'SECRET of ' + u) for u in ('amy', 'ben')))
    w = weir(ini({'app': db(locked, dbname='app', passfile=passfile)}, auth_file=users, verbose=3))
    for user in ('amy', 'ben', 'cid'):
        assert w.one('SELECT current_user', user=user) == user
    no_secret(shown(w))


def test_passfile_knows_the_server_database(weir, locked, place):
    passfile = place.put('pass', line(locked, 'owner', SECOND, database='alias') +
                         line(locked, 'owner', FIRST))
    w = weir(ini({'alias': db(locked, user='owner', dbname='app', passfile=passfile)}))
    assert w.one('SELECT current_database()', database='alias') == 'app'


def test_hosts_have_passwords_of_their_own(weir, servers, place):
    """Both servers keep the same salt, as copies of one server do: what was worked out
    for one password is not taken for the other's."""
    give(servers[0], 'owner', FIRST, salt=b'0123456789abcdef')
    give(servers[1], 'owner', SECOND, salt=b'0123456789abcdef')
    passfile = place.put('pass', line(servers[0], 'owner', FIRST) + line(servers[1], 'owner', SECOND))
    w = weir(ini({'app': db(*servers, user='owner', dbname='app', passfile=passfile,
                            load_balance_hosts='round-robin')}, default_pool_size=4))
    conns = [w.connect() for _ in range(4)]
    for c in conns:
        c.sql('BEGIN')
    ports = [c.one("SELECT current_setting('port')") for c in conns]
    assert set(ports) == {str(p.port) for p in servers}
    for c in conns:
        c.close()
    assert not w.log_lines('event=server_failed') and '28P01' not in w.log()


def test_long_passwords(weir, locked, place):
    """As long as they may be: in SCRAM the length is nothing, in the clear all of it is sent."""
    secret = 'x' * 8000
    for user in ('amy', 'clara'):
        give(locked, user, secret)
    file = place.put('pw', secret)
    w = weir(ini({u: db(locked, user=u, dbname='app', password_file=file) for u in ('amy', 'clara')}))
    for user in ('amy', 'clara'):
        assert w.one('SELECT current_user', database=user) == user


def test_health_check_password_file(weir, locked, place):
    give(locked, 'amy', 'SECRET of amy')
    w = weir(ini({'app': db(locked, user='owner', password="'%s'" % FIRST)}, health_check_user='amy',
                 health_check_password_file=place.put('check', 'SECRET of amy\n'), verbose=3))
    role_known(w)
    no_secret(shown(w))
    rows = {r['key']: r for r in w.console('SHOW CONFIG')}
    assert rows['health_check_password_file']['value'] == str(place.path / 'check')


def test_health_check_password_env(weir, locked, place):
    give(locked, 'amy', 'SECRET of amy')
    place.env['CHECK_PW'] = 'SECRET of amy'
    w = weir(ini({'app': db(locked, user='owner', password="'%s'" % FIRST)}, health_check_user='amy',
                 health_check_password_env='CHECK_PW'), env=place.env)
    role_known(w)
    no_secret(shown(w))


# ---- another one, under a client ---------------------------------------------------------

@pytest.mark.parametrize('name', FILES)
def test_rotation(weir, locked, place, name):
    w = start(weir, locked, place, name)
    with w.connect() as old, w.connect() as second:
        old.sql('BEGIN')
        server = old.one('SELECT pg_backend_pid()')
        give(locked, 'owner', SECOND)
        # a second server cannot log in with the old one; its client waits for either
        second.send(query('SELECT current_user'))
        w.wait_log('event=server_login_failed', '28P01')
        source(name, locked, place, SECOND)
        w.hup()
        w.wait_log('event=reloaded')
        assert ('D', ['owner']) in second.until('Z')
        assert second.one('SELECT pg_backend_pid()') != server
        # ... and the first is still there, in its transaction
        assert old.one('SELECT pg_backend_pid()') == server
        old.sql('COMMIT')
    no_secret(shown(w))


def test_rotation_of_the_checks(weir, locked, place):
    give(locked, 'amy', 'SECRET 1')
    file = place.put('check', 'SECRET 2')
    w = weir(ini({'app': db(locked, user='owner', password="'%s'" % FIRST)}, health_check_user='amy',
                 health_check_password_file=file, health_check_interval='0.05'))
    w.wait_log('28P01')
    assert all(r['role'] != 'primary' for r in w.console('SHOW NODES'))
    place.put('check', 'SECRET 1')
    w.hup()
    role_known(w)
    no_secret(shown(w))


# ---- what is wrong ------------------------------------------------------------------------

def bad_sources(place):
    """Pairs of an entry, and what is said of them."""
    place.put('empty', '\n')
    place.put('open', '*:*:*:*:SECRET\n', 0o644)
    (place.path / 'nul').write_bytes(b'SEC\0RET')
    (place.path / 'dir').mkdir()
    long = place.put('long', 'SECRET' * 2000)
    os.mkfifo(place.path / 'fifo')
    p = place.path
    return [
        ({'password_file': p / 'none'}, 'password_file: cannot read "%s/none": No such file' % p),
        ({'password_file': p / 'dir'}, 'it is not a regular file'),
        ({'password_file': p / 'fifo'}, 'it is not a regular file'),
        ({'password_file': p / 'empty'}, 'empty" is empty'),
        ({'password_file': p / 'nul'}, 'holds a NUL byte'),
        ({'password_file': long}, 'it is larger than 8002 bytes'),
        ({'password_file': 'credential:none'}, 'No such file'),
        ({'password_file': 'credential:../x'}, 'is not credential:NAME'),
        ({'password_env': 'NOT_SET_AT_ALL'}, 'the environment variable NOT_SET_AT_ALL is not set'),
        ({'password_env': "'SECRET !'"}, 'password_env is not the name of an environment variable'),
        ({'passfile': p / 'open'}, 'open" is open to its group or to everybody: chmod 0600 it'),
        ({'passfile': p / 'none'}, 'passfile: cannot read'),
        ({'password': 'SECRET', 'password_file': p / 'none'}, 'password and password_file are both given'),
    ]


def conf_with(pg, pairs):
    return ini({'app': db(pg, user='owner', dbname='app', **pairs)})


def test_errors_at_start(locked, place, tmp_path):
    file = tmp_path / 'x.ini'
    for pairs, said in bad_sources(place):
        file.write_text(conf_with(locked, pairs))
        for args in ([], ['--check']):
            r = subprocess.run([PGWEIR, *args, str(file)], stdin=subprocess.DEVNULL, text=True,
                               capture_output=True, timeout=20 * SLOW, check=False,
                               env={**os.environ, **place.env})
            assert r.returncode == 1, (pairs, r)
            assert r.stderr.startswith('pgweir: %s:2: database "app": ' % file), r.stderr
            assert said in r.stderr, r.stderr
            no_secret(r.stdout + r.stderr)


def test_errors_at_reload(weir, locked, place):
    """The configuration before it stays, and so does the password."""
    w = weir(conf_with(locked, {'password_file': place.put('pw', FIRST)}), env=place.env)
    with w.connect() as c:
        c.sql('BEGIN')
        for i, (pairs, said) in enumerate(bad_sources(place)):
            w.rewrite(conf_with(locked, pairs))
            w.hup()
            text = w.wait_log('event=reload_failed', n=i + 1)[-1]
            assert 'pgweir.ini:2: database' in text, text
            assert said.replace('"', '\\"') in text, text
        assert c.one('SELECT 1') == '1'
        # a server of its own, with the password of before
        assert w.one('SELECT current_user') == 'owner'
    no_secret(shown(w))


def test_file_goes_and_comes_back(weir, locked, place):
    """The file alone, no other line changed: as when a secret store is slow."""
    w = weir(conf_with(locked, {'password_file': place.put('pw', FIRST)}))
    with w.connect() as c:
        c.sql('BEGIN')
        (place.path / 'pw').unlink()
        w.hup()
        w.wait_log('event=reload_failed', 'No such file')
        assert w.one('SELECT current_user') == 'owner'
        place.put('pw', FIRST)
        w.hup()
        w.wait_log('event=reloaded')
        c.sql('COMMIT')


def test_password_goes_in_the_middle_of_a_login(weir):
    """The server has asked for SCRAM, and a reload takes the password away."""
    asked, on = [], []

    def script(c):
        if not c.read_startup() or c.startup.get('application_name') == 'pgweir-health':
            return
        c.send(wire.msg('R', b'\0\0\0\x0aSCRAM-SHA-256\0\0'))
        first = c.expect('p')
        asked.append(1)
        until(lambda: on, why='the reload')
        nonce = first[first.index(b'\0') + 5:].decode().split('r=')[1]
        c.send(wire.msg('R', b'\0\0\0\x0b' + ('r=%sxyz,s=QUFBQUFBQUE=,i=4096' % nonce).encode()))
        c.wait_close()
    with wire.FakeServer(script, login=False) as f:
        conf = {'health_check_interval': 3600, 'query_wait_timeout': 5}
        w = weir(ini({'app': db(f, user='u', password='SECRET')}, **conf))
        with Conn(w.port, login=False) as c:
            c.send(wire.startup('u', 'app'))
            until(lambda: asked, why='a login under way')
            w.rewrite(ini({'app': db(f, user='u')}, **conf))
            w.hup()
            w.wait_log('event=reloaded')
            on.append(1)
            w.wait_log('event=server_login_failed', 'the password went with a reload')
            assert c.read() == ('R', (0, b''))
            m = c.read()
            assert m[0] == 'E' and m[1]['C'] == '28000', m
            no_secret(repr(m))
        no_secret(shown(w))
