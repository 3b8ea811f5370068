"""auth_query: secrets of users that auth_file does not have, asked of real servers."""
import hashlib
import re
import signal
import subprocess

import pytest

import wire
from cluster import Postgres
from conftest import PGWEIR, SLOW, Spawned, db, ini, run_threads, until
from wire import Conn, PgError, query

pytestmark = pytest.mark.weir_only

AUTHN = 'SECRET of authn'

SCHEMA = '''
CREATE ROLE authn LOGIN PASSWORD '%s';
CREATE ROLE boss SUPERUSER LOGIN;
CREATE TABLE pw (name text, secret text);
CREATE TABLE asked (name text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION lookup(n text, OUT name text, OUT secret text) RETURNS SETOF record AS $$
BEGIN
    INSERT INTO asked VALUES (n);
    RETURN QUERY SELECT p.name, p.secret FROM pw p WHERE p.name = n;
END $$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp;
CREATE SCHEMA pgbouncer;
CREATE FUNCTION pgbouncer.user_lookup(i_username text, OUT uname text, OUT phash text) RETURNS record AS $$
BEGIN
    SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
    FROM pg_authid WHERE rolname = i_username AND rolcanlogin INTO uname, phash;
    RETURN;
END $$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM public;
GRANT USAGE ON SCHEMA pgbouncer TO authn;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO authn;
''' % AUTHN

LOOKUP = 'SELECT name, secret FROM lookup($1)'
ADVISED = 'SELECT uname, phash FROM pgbouncer.user_lookup($1)'


def start_server(base, template, name):
    p = Postgres(base, name).copy_from(template)
    p.hba('local all all trust\nhost all postgres 127.0.0.1/32 trust\n'
          'host all authn 127.0.0.1/32 scram-sha-256\nhost all c_plain 127.0.0.1/32 scram-sha-256\n'
          'host all c_md5 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 trust\n')
    p.start()
    p.sql(SCHEMA)
    return p


@pytest.fixture(scope='module')
def _server(base, template):
    p = start_server(base, template, 'authquery')
    try:
        yield p
    finally:
        p.stop(signal.SIGQUIT)


@pytest.fixture
def server(_server):
    if _server.proc.poll() is not None:
        _server.start()
    _server.sql('TRUNCATE pw, asked')
    yield _server
    if _server.proc.poll() is None:
        _server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")


def md5(user, secret):
    return 'md5' + hashlib.md5((secret + user).encode()).hexdigest()


def stored(kind, user, secret, salt=b'0123456789abcdef'):
    if kind == 'md5':
        return md5(user, secret)
    return wire.scram_secret(secret, salt) if kind == 'scram' else secret


def quote(text):
    return "'%s'" % text.replace("'", "''")


def give(pg, user, secret, kind='plain', **kw):
    """In the table that lookup() reads, with a role for the server."""
    pg.sql("DELETE FROM pw WHERE name = %s; INSERT INTO pw VALUES (%s, %s)"
           % (quote(user), quote(user), quote(stored(kind, user, secret, **kw))))
    if not pg.sql('SELECT 1 FROM pg_roles WHERE rolname = %s' % quote(user)):
        pg.sql('CREATE ROLE "%s" LOGIN' % user.replace('"', '""'))


def questions(pg, user=None):
    return int(pg.one('SELECT count(*) FROM asked' + (' WHERE name = ' + quote(user) if user else '')))


@pytest.fixture
def start(weir, server, tmp_path):
    """start(...) -> a daemon that asks `server`; no log line of it shows a secret."""
    made = []

    def make(databases=None, users='', **kw):
        f = tmp_path / ('users%d' % len(made))
        f.write_text('"authn" "%s"\n"admin" "SECRET adm"\n%s' % (AUTHN, users))
        kw = {'auth_type': 'scram-sha-256', 'auth_file': f, 'auth_user': 'authn', 'auth_query': LOOKUP,
              'verbose': 3, **kw}
        w = weir(ini(databases or {'app': db(server)}, **kw))
        w.users = f
        made.append(w)
        return w
    yield make
    for w in made:
        log = w.log()
        for word in ('SECRET', 'SCRAM-SHA-256$'):
            assert word not in log, [x for x in log.splitlines() if word in x][:3]


def refused(w, user, secret='SECRET wrong', code='28P01', database='app', **kw):
    """The words of a refusal."""
    with pytest.raises(PgError) as e:
        w.connect(user, database, secret=secret, **kw).close()
    assert e.value.fields['C'] == code, e.value.fields
    assert e.value.fields['S'] == 'FATAL'
    assert not any('SECRET' in v for v in e.value.fields.values()), e.value.fields
    return e.value.fields['M'].replace(user, '?')


def gets_in(w, user, secret, database='app', **kw):
    with w.connect(user, database, secret=secret, **kw) as c:
        assert c.one('SELECT session_user') == user
        return c


def console(w, text):
    with w.connect('admin', 'pgweir', secret='SECRET adm') as c:
        names, out = [], []
        for m in c.ask(query(text)):
            if m[0] == 'T':
                names = m[1]
            elif m[0] == 'D':
                out.append(dict(zip(names, m[1])))
        return out


def stat(w, name):
    return next(int(r['value']) for r in console(w, 'SHOW COUNTERS') if r['name'] == name)


# ---- secrets and methods ---------------------------------------------------------------

@pytest.mark.parametrize('method', ['plain', 'md5', 'scram-sha-256'])
@pytest.mark.parametrize('kind', ['plain', 'md5', 'scram'])
def test_every_kind_of_secret_with_every_method(start, server, method, kind):
    give(server, 'carl', 'SECRET carl', kind)
    w = start(auth_type=method)
    if (kind, method) == ('md5', 'scram-sha-256'):
        said = refused(w, 'carl', 'SECRET carl')
    else:
        gets_in(w, 'carl', 'SECRET carl')
        gets_in(w, 'carl', 'SECRET carl')
        said = refused(w, 'carl')
    for _ in range(2):
        assert refused(w, 'nobody') == said
        assert refused(w, 'nobody', 'SECRET carl') == said
    assert refused(w, 'carl', secret='x' * 300) == said
    # the secret itself is no password
    if kind != 'plain':
        assert refused(w, 'carl', stored(kind, 'carl', 'SECRET carl')) == said


@pytest.mark.parametrize('method', ['plain', 'md5', 'scram-sha-256'])
@pytest.mark.parametrize('kind', ['plain', 'md5', 'scram'])
def test_nobody_is_asked_in_the_same_way_as_a_user(start, server, method, kind):
    """The messages up to the refusal, for a user and for nobody, known or not."""
    give(server, 'carl', 'SECRET carl', kind)
    w = start(auth_type=method)

    def seen(user):
        c = Conn(w.port, login=False)
        with pytest.raises(PgError):
            c.login(user, 'app', 'SECRET wrong')
        c.close()
        out = []
        for letter, body in c.login_messages:
            if letter == 'R':
                code, rest = body
                if code == 11:
                    rest = [p[:2] + ('' if p[0] in 'rs' else p[2:]) + str(len(p)) for p in rest.decode().split(',')]
                out.append((code, len(rest) if code == 5 else rest))
            else:
                out.append((letter, {k: v.replace(user, '?') for k, v in body.items()}))
        return out
    if method != 'scram-sha-256' or kind != 'md5':
        gets_in(w, 'carl', 'SECRET carl')
    want = seen('carl')
    assert len(want) >= 2
    for user in ('nobody', 'carl', 'nobody', 'none2'):
        assert seen(user) == want or (kind == 'scram' and 11 in [m[0] for m in want] and
                                      [m[0] for m in seen(user)] == [m[0] for m in want])


def test_as_pgbouncer_advises(start, server):
    server.sql("""SET password_encryption = 'scram-sha-256';
CREATE ROLE r_scram LOGIN PASSWORD 'SECRET 1'; CREATE ROLE r_late LOGIN PASSWORD 'SECRET 1' VALID UNTIL '2001-01-01';
CREATE ROLE r_soon LOGIN PASSWORD 'SECRET 1' VALID UNTIL '2999-01-01'; CREATE ROLE r_out NOLOGIN PASSWORD 'SECRET 1';
CREATE ROLE r_null LOGIN; SET password_encryption = 'md5'; CREATE ROLE r_md5 LOGIN PASSWORD 'SECRET 1'""")
    try:
        w = start(auth_type='md5', auth_query=ADVISED)
        for user in ('r_scram', 'r_soon', 'r_md5'):
            gets_in(w, user, 'SECRET 1')
            refused(w, user)
        for user in ('r_late', 'r_out', 'r_null', 'r_never'):
            refused(w, user, 'SECRET 1')
        w2 = start(auth_type='md5', auth_user='boss', auth_query=None)      # PgBouncer's own query
        for user in ('r_scram', 'r_soon', 'r_md5'):
            gets_in(w2, user, 'SECRET 1')
        for user in ('r_late', 'r_out', 'r_null', 'r_never'):
            refused(w2, user, 'SECRET 1')
        assert not w.log_lines('auth_query_failed') and not w2.log_lines('auth_query_failed')
    finally:
        server.sql('DROP ROLE r_scram, r_late, r_soon, r_out, r_null, r_md5')


def test_as_the_manual_says(start, server):
    manual = subprocess.run([PGWEIR, '--manual'], stdout=subprocess.PIPE, check=True, text=True).stdout
    sql = re.search(r'^CREATE ROLE pgbouncer.*TO pgbouncer;$', manual, re.S | re.M)[0].replace('\\(aq', "'")
    ask = re.search(r'^auth_query = (.*)$', manual, re.M)[1]
    server.sql('CREATE DATABASE manual')
    server.sql(sql, database='manual')
    server.sql("CREATE ROLE m_user LOGIN PASSWORD 'SECRET m'")
    w = start({'manual': db(server, dbname='manual')}, users='"pgbouncer" "secret"\n', auth_user='pgbouncer',
              auth_query=ask)
    gets_in(w, 'm_user', 'SECRET m', database='manual')
    refused(w, 'm_user', database='manual')
    refused(w, 'nobody', database='manual')


def test_secrets_that_are_none(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', auth_query_cache_time=0)
    good = wire.scram_secret('SECRET carl')
    bad = ['', 'SCRAM-SHA-256$SECRET', good[:-1], good + 'x', good.replace('$4096', '$0'), 'md5SECRET',
           md5('carl', 'SECRET carl')[:-1], md5('carl', 'SECRET carl')[:-1] + 'g', 'SECRET' * 2000]
    for secret in bad:
        server.sql("UPDATE pw SET secret = %s WHERE name = 'carl'" % quote(secret))
        for said in (secret[:8000], 'SECRET carl', 'x'):    # no longer password is looked at
            refused(w, 'carl', said)
    server.sql("UPDATE pw SET secret = NULL WHERE name = 'carl'")
    refused(w, 'carl', 'x')
    refused(w, 'carl', '')
    server.sql('UPDATE pw SET secret = %s' % quote(good))
    gets_in(w, 'carl', 'SECRET carl')
    assert not w.log_lines('auth_query_failed')


def test_invented_databases_take_no_room_from_real_ones(start, server):
    """* stands for any name, and who invents many has many questions under way. They are
    bounded; those of databases that have a name are apart."""
    give(server, 'carl', 'SECRET carl')
    hangs = "SELECT name, secret FROM lookup($1) WHERE CASE WHEN $1 = 'slow' THEN pg_sleep(60) IS NULL ELSE true END"
    w = start({'*': db(server, dbname='app'), 'app': db(server)}, auth_type='plain', auth_query=hangs, workers=1,
              max_db_connections=2)
    give(server, 'slow', 'SECRET slow')
    out = []
    for i in range(64):
        c = Conn(w.port, login=False)
        c.send(wire.startup('slow', 'invented%d' % i))
        out.append(c)
    until(lambda: server.backends("query LIKE '%pg_sleep%' AND state = 'active'") == 64, why='64 questions to hang')
    refused(w, 'carl', 'SECRET carl', code='57P03', database='invented64')
    gets_in(w, 'carl', 'SECRET carl')
    for c in out:
        c.close()


# ---- answers that are none ----------------------------------------------------------------

BAD = {
    "SELECT $1, 'SECRET x' UNION ALL SELECT $1, 'SECRET y'": 'more_than_one_row',
    "SELECT $1, 'SECRET x' FROM generate_series(1, 5)": 'more_than_one_row',
    "SELECT $1, 'SECRET x', 1": 'not_two_columns',
    'SELECT $1': 'not_two_columns',
    'SELECT $1, 42': 'not_of_type_text',
    "SELECT $1, 'SECRET x'::bytea": 'not_of_type_text',
    "SELECT 1, $1": 'not_of_type_text',
    "SELECT 'other' || $1, 'SECRET x'": 'another_user',
    "SELECT upper($1), 'SECRET x'": 'another_user',
    "SELECT $1, repeat('SECRET', 10000)": 'too_long',
    'SELECT name, secret FROM nowhere WHERE name = $1': '42P01',
    'SELECT name, secret FROM pw WHERE name = $1': '42501',
    'SELECT SECRET FROM FROM $1': '42601',
    'SELECT name, secret FROM lookup($1, $2)': '42883',
    "INSERT INTO asked VALUES ($1)": '42501',
    "SET application_name = 'SECRET'": 'gives_no_rows',
    'SELECT $1, ($1::int)::text': '22P02',
    "SELECT $1, ('SECRET' || $1)::int::text": '22P02',
    'SELECT $1, 1/0 || $1': '22012',
    "DO $$ BEGIN RAISE 'SECRET in words'; END $$": 'gives_no_rows',
    "COPY (SELECT 'SECRET') TO STDOUT": 'gives_no_rows',
}


@pytest.mark.parametrize('text', sorted(BAD))
def test_an_answer_that_is_none_lets_nobody_in(start, server, text):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', auth_query=text)
    with pytest.raises(PgError) as e:
        w.connect('carl', secret='SECRET x').close()
    assert e.value.fields['C'] in ('28000', '57P03')
    assert e.value.fields['M'] == 'authentication of user "carl" is not possible now'
    line = w.wait_log('auth_query_failed')[0].replace(' ', '_')
    assert BAD[text] in line, line
    # who is in auth_file is not touched by that, and it is asked for again
    with pytest.raises(PgError):
        w.connect('carl', secret='SECRET x').close()
    with w.connect('admin', 'pgweir', secret='SECRET adm') as c:
        assert c.sql('SHOW VERSION')


def test_auth_user_cannot_log_in(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_user='nobody', auth_query=LOOKUP)
    with pytest.raises(PgError) as e:
        w.connect('carl', secret='SECRET carl').close()
    assert e.value.fields['C'] == '28000', e.value.fields
    assert 'nobody' not in e.value.fields['M']
    assert w.wait_log('auth_query_failed', 'auth_user=nobody', 'sqlstate=28000')


# ---- names ---------------------------------------------------------------------------------

def test_names_are_never_part_of_the_query(start, server):
    names = ["o'brien", 'a"b', '\\', "\\'; DROP TABLE pw; --", '$1', "$1; SELECT pg_sleep(9)", '%s', 'x' * 63,
             "'' OR true", 'ünï', '{"a"}', ' ', 'a b', "E'\\x41'", '/*', '\x01\x02']
    for n in names:
        give(server, n, 'SECRET ' + n, 'scram')
    w = start()
    for n in names:
        gets_in(w, n, 'SECRET ' + n)
        refused(w, n)
    asked = {r[0] for r in server.sql('SELECT DISTINCT name FROM asked')}
    assert asked == set(names)
    for n in ('x' * 64, 'x' * 500, 'x' * 999, 'x' * 2000, 'x' * 9000, "o''brien", 'A"B'):
        refused(w, n, 'SECRET ' + n)
    assert not w.log_lines('auth_query_failed')
    with pytest.raises(PgError) as e:
        w.connect('', secret='x').close()
    assert e.value.fields['C'] == '28000'
    assert server.one('SELECT count(*) FROM pw') == str(len(names))
    for n in names:
        server.sql('DROP ROLE "%s"' % n.replace('"', '""'))


def test_a_name_that_is_no_text(start, server):
    w = start(auth_type='plain')
    for raw in (b'\xff\xfe', b'carl\xc3', b'\xed\xa0\x80'):
        c = Conn(w.port, login=False)
        body = wire.struct.pack('!i', 196608) + b'user\0' + raw + b'\0database\0app\0\0'
        c.send(wire.struct.pack('!i', len(body) + 4) + body)
        assert c.read()[1][0] == 3
        c.send(wire.password('SECRET x'))
        m = c.read()
        assert m[0] == 'E' and m[1]['C'] == '28P01'
        c.close()
    assert not w.log_lines('auth_query_failed')


# ---- what is kept ------------------------------------------------------------------------------

def test_one_question_for_two_hundred_logins(start, server):
    give(server, 'carl', 'SECRET carl', 'scram')
    w = start(auth_query_cache_time=600, max_client_conn=300)
    run_threads(200, lambda i: gets_in(w, 'carl', 'SECRET carl'))
    assert questions(server) == 1
    assert server.backends("usename = 'authn'") == 1
    assert stat(w, 'client_logins') == 201      # and the console's


def test_two_hundred_users_at_once(start, server):
    for i in range(200):
        server.sql("INSERT INTO pw VALUES ('many%d', %s)" % (i, quote('SECRET %d' % i)))
    w = start({'app': db(server, user='app')}, auth_type='md5', max_client_conn=300)

    def one(i):
        with w.connect('many%d' % i, secret='SECRET %d' % i) as c:
            assert c.one('SELECT session_user') == 'app'
    run_threads(200, one)
    assert questions(server) == 200
    assert server.backends("usename = 'authn'") == 1


def test_two_workers_ask_each_for_itself(start, server):
    give(server, 'carl', 'SECRET carl', 'scram')
    w = start(auth_query_cache_time=600, workers=2)
    run_threads(40, lambda i: gets_in(w, 'carl', 'SECRET carl'))
    run_threads(40, lambda i: refused(w, 'nobody'))
    assert 1 <= questions(server, 'carl') <= 2


def test_nothing_is_kept_when_that_is_asked_for(start, server):
    give(server, 'carl', 'SECRET carl', 'scram')
    w = start(auth_query_cache_time=0)
    for _ in range(3):
        gets_in(w, 'carl', 'SECRET carl')
    assert questions(server) == 3
    refused(w, 'carl')
    assert questions(server) == 4


@pytest.mark.parametrize('method,kind', [('plain', 'plain'), ('plain', 'md5'), ('plain', 'scram'), ('md5', 'md5'),
                                         ('md5', 'plain')])
def test_a_changed_password_works_at_once(start, server, method, kind):
    give(server, 'carl', 'SECRET old', kind)
    w = start(auth_type=method, auth_query_cache_time=600)
    gets_in(w, 'carl', 'SECRET old')
    give(server, 'carl', 'SECRET new', kind)
    gets_in(w, 'carl', 'SECRET new')
    assert questions(server) == 2
    refused(w, 'carl', 'SECRET old')
    refused(w, 'carl', 'SECRET old')
    gets_in(w, 'carl', 'SECRET new')
    # and who was nobody a moment ago
    refused(w, 'dora', 'SECRET dora')
    give(server, 'dora', 'SECRET dora', kind)
    gets_in(w, 'dora', 'SECRET dora')
    # from one kind to another
    give(server, 'carl', 'SECRET third', 'plain')
    gets_in(w, 'carl', 'SECRET third')
    server.sql("DELETE FROM pw")
    refused(w, 'carl', 'SECRET third2')
    refused(w, 'carl', 'SECRET third')


@pytest.mark.parametrize('method', ['plain', 'md5'])
def test_guesses_while_a_server_is_asked_again(start, server, method):
    """What was kept does not fit, so a server is asked once more. Guesses that come before
    its answer are not compared as if nothing had failed."""
    users = ['carl', 'dora']
    for u in users:
        give(server, u, 'SECRET ' + u)
    w = start(auth_type=method, auth_query_cache_time=600, login_throttle_base=60, login_throttle_max=600)
    for u in users:
        gets_in(w, u, 'SECRET ' + u)
    conns = []
    for i in range(40):
        c = Conn(w.port, login=False)
        c.send(wire.startup(users[i % 2], 'app'))
        conns.append((c, c.read()[1][0]))
    for i, (c, code) in enumerate(conns):
        c.send(wire.password('SECRET %d' % i if code == 3 else 'md5%032x' % i))
    codes = {u: [] for u in users}
    for i, (c, _) in enumerate(conns):
        codes[users[i % 2]].append(c.read()[1]['C'])
        c.close()
    # from this machine each user has failures of its own
    for u in users:
        assert codes[u].count('28P01') == 1 and codes[u].count('53300') == 19, codes
    assert questions(server) == 4


def test_many_with_a_new_password_at_once(start, server):
    """A password that is new is no failure of those who know it."""
    give(server, 'carl', 'SECRET old')
    w = start(auth_type='plain', auth_query_cache_time=600, login_throttle_base=60, login_throttle_max=600)
    gets_in(w, 'carl', 'SECRET old')
    give(server, 'carl', 'SECRET new')
    conns = []
    for _ in range(30):
        c = Conn(w.port, login=False)
        c.send(wire.startup('carl', 'app'))
        assert c.read() == ('R', (3, b''))
        conns.append(c)
    for c in conns:
        c.send(wire.password('SECRET new'))
    for c in conns:
        assert c.until('Z')[0] == ('R', (0, b''))
        c.close()
    assert questions(server) == 2
    refused(w, 'carl', 'SECRET old')
    refused(w, 'carl', 'SECRET new', code='53300')


def test_a_changed_password_works_at_the_next_login_with_scram(start, server):
    give(server, 'carl', 'SECRET old', 'scram')
    w = start(auth_query_cache_time=600)
    gets_in(w, 'carl', 'SECRET old')
    give(server, 'carl', 'SECRET new', 'scram', salt=b'fedcba9876543210')
    refused(w, 'carl', 'SECRET new')        # the old salt has been told
    gets_in(w, 'carl', 'SECRET new')
    refused(w, 'carl', 'SECRET old')
    give(server, 'dora', 'SECRET dora', 'scram')
    gets_in(w, 'dora', 'SECRET dora')


def test_md5_becomes_scram_between_the_question_and_the_answer(start, server):
    """The text of the SCRAM secret must not be a password for MD5."""
    give(server, 'carl', 'SECRET old', 'md5')
    w = start(auth_type='md5', auth_query_cache_time=600)
    gets_in(w, 'carl', 'SECRET old')
    new = wire.scram_secret('SECRET new')
    c = Conn(w.port, login=False)
    c.send(wire.startup('carl', 'app'))
    code, salt = c.read()[1]
    assert code == 5
    server.sql('UPDATE pw SET secret = %s' % quote(new))
    inner = hashlib.md5((new + 'carl').encode()).hexdigest().encode()
    c.send(wire.password('md5' + hashlib.md5(inner + salt).hexdigest()))
    assert c.read()[1]['C'] == '28P01'
    c.close()
    gets_in(w, 'carl', 'SECRET new')


def test_a_reload_forgets(start, server):
    give(server, 'carl', 'SECRET one')
    server.sql("CREATE TABLE IF NOT EXISTS pw2 AS SELECT 'carl' AS name, 'SECRET two' AS secret; GRANT SELECT ON pw2 TO authn")
    w = start(auth_type='plain', auth_query_cache_time=600)
    gets_in(w, 'carl', 'SECRET one')
    held = w.connect('carl', secret='SECRET one')
    conf = open(w.path).read()
    w.hup()
    until(lambda: w.log_lines('event=reloaded'), why='the reload')
    gets_in(w, 'carl', 'SECRET one')
    assert questions(server) == 2
    w.rewrite(conf.replace(LOOKUP, 'SELECT name, secret FROM pw2 WHERE name = $1'))
    w.hup()

    def newer():
        try:
            w.connect('carl', secret='SECRET two').close()
            return True
        except PgError:
            return False
    until(newer, why='the new query')
    refused(w, 'carl', 'SECRET one')
    assert held.one('SELECT session_user') == 'carl'
    w.rewrite(conf.replace('auth_user = authn\n', ''))
    w.hup()
    until(lambda: not newer(), why='nobody to be asked')
    # the pools of askers that are not needed any more go
    until(lambda: server.backends("usename = 'authn'") == 0, 30, why='no connection of auth_user')
    held.close()


# ---- servers ---------------------------------------------------------------------------------

def test_a_query_that_hangs_is_cut_by_client_login_timeout(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', client_login_timeout=1)
    gets_in(w, 'carl', 'SECRET carl')
    with server.connect() as lock:
        lock.sql('BEGIN; LOCK TABLE pw')
        with pytest.raises(PgError) as e:
            w.connect('dora', secret='x').close()
        assert 'client_login_timeout' in e.value.fields['M'] or e.value.fields['C'] == '57P03'
        # nothing of it runs on
        until(lambda: server.backends("usename = 'authn' AND state = 'active'") == 0, why='the query to be cancelled')
        lock.sql('ROLLBACK')
    gets_in(w, 'carl', 'SECRET carl')
    refused(w, 'dora', 'x')


def test_pg_sleep_in_the_query(start, server):
    w = start(auth_type='plain', auth_query="SELECT $1, 'SECRET x' || pg_sleep(600)", client_login_timeout=1)
    with pytest.raises(PgError):
        w.connect('carl', secret='SECRET x').close()
    until(lambda: server.backends("usename = 'authn' AND state = 'active'") == 0, why='the query to be cancelled')


def test_a_node_that_comes_back(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', auth_query_cache_time=0, health_check_interval=0.2, server_login_retry=0.2)
    gets_in(w, 'carl', 'SECRET carl')
    server.kill()
    login = Spawned(gets_in, w, 'carl', 'SECRET carl')
    with Conn(w.port, login=False) as c:        # one that does not wait
        c.send(wire.startup('dora', 'app'))
    server.start()
    login.result(60 * SLOW)
    gets_in(w, 'carl', 'SECRET carl')
    refused(w, 'dora')


def test_no_node_within_query_wait_timeout(start, server):
    w = start({'app': 'host=127.0.0.1 port=1'}, auth_type='plain', query_wait_timeout=0.5, health_check_interval=0.2)
    with pytest.raises(PgError) as e:
        w.connect('carl', secret='x').close()
    assert e.value.fields['C'] == '57P03', e.value.fields
    assert w.wait_log('auth_query_failed')


def test_two_nodes_one_dies(start, server, base, template):
    other = start_server(base, template, 'authquery2')
    try:
        for p in (server, other):
            give(p, 'carl', 'SECRET carl')
        w = start({'app': db(server, other)}, auth_type='plain', auth_query_cache_time=0, health_check_interval=0.2)
        for _ in range(4):
            gets_in(w, 'carl', 'SECRET carl')
        other.kill()
        for _ in range(10):
            gets_in(w, 'carl', 'SECRET carl')
    finally:
        other.stop(signal.SIGQUIT)


def test_a_pool_that_is_full_is_waited_for(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start({'app': db(server, max_db_connections=1)}, auth_type='plain', auth_query_cache_time=0)
    c = w.connect('carl', secret='SECRET carl')
    c.hold()
    login = Spawned(gets_in, w, 'carl', 'SECRET carl')
    until(lambda: w.log_lines('peer=auth_query') and questions(server) == 1 and
          sum(int(r['cl_waiting']) for r in console(w, 'SHOW POOLS')) >= 1, why='the question to wait')
    assert login.is_alive()
    c.sql('COMMIT')
    login.result()
    c.close()


def test_the_secret_serves_for_the_server_too(start, server):
    server.sql("SET password_encryption = 'scram-sha-256'; DROP ROLE IF EXISTS c_plain; DROP ROLE IF EXISTS c_md5; "
               "CREATE ROLE c_plain LOGIN PASSWORD 'SECRET p'; "
               "SET password_encryption = 'md5'; CREATE ROLE c_md5 LOGIN PASSWORD 'SECRET m'")
    give(server, 'c_plain', 'SECRET p')
    give(server, 'c_md5', 'SECRET m', 'md5')
    w = start(auth_type='md5', min_pool_size=3, workers=2)
    with w.connect('c_plain', secret='SECRET p') as a, w.connect('c_md5', secret='SECRET m') as b:
        assert a.one('SELECT session_user') == 'c_plain' and b.one('SELECT session_user') == 'c_md5'
        for user in ('c_plain', 'c_md5'):
            until(lambda: server.backends("usename = '%s'" % user) >= 3, why='min_pool_size of ' + user)
        # also after a reload, and without any login since
        n = len(w.log_lines('event=reloaded'))
        w.hup()
        until(lambda: len(w.log_lines('event=reloaded')) > n, why='the reload')
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('c_plain', 'c_md5')")
        for c, user in ((a, 'c_plain'), (b, 'c_md5')):
            assert c.one('SELECT session_user') == user
        # and a password that has changed everywhere is that of the next login
        server.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE c_plain PASSWORD 'SECRET p2'")
        give(server, 'c_plain', 'SECRET p2')
        with w.connect('c_plain', secret='SECRET p2') as d:
            server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'c_plain'")
            assert d.one('SELECT session_user') == 'c_plain'
    # idle servers of the asker are not kept by min_pool_size
    assert server.backends("usename = 'authn'") <= 2


# ---- whom, where, as whom ----------------------------------------------------------------------

def test_another_database_and_a_forced_user(start, server):
    give(server, 'carl', 'SECRET carl', 'scram')
    w = start({'one': db(server, dbname='app2', user='app', auth_dbname='where'), 'where': db(server, dbname='app'),
               'two': db(server, dbname='app2', auth_user='authn'), 'four': db(server, dbname='app', user='app'),
               'three': db(server, dbname='app2', user='app', auth_dbname='where', auth_user='boss',
                           auth_query="'SELECT name, ''SECRET three'' FROM lookup($1)'")})
    with w.connect('carl', 'one', secret='SECRET carl') as c:
        assert c.one("SELECT session_user || ' ' || current_database()") == 'app app2'
    with pytest.raises(PgError) as e:           # lookup() is not in app2
        w.connect('carl', 'two', secret='SECRET carl').close()
    assert e.value.fields['C'] == '28000'
    with w.connect('carl', 'four', secret='SECRET carl') as c:
        assert c.one('SELECT session_user') == 'app'
    with w.connect('carl', 'three', secret='SECRET three') as c:
        assert c.one('SELECT session_user') == 'app'
    refused(w, 'carl', 'SECRET carl', database='three')
    refused(w, 'carl', 'SECRET carl', code='28P01', database='nowhere')


def test_global_auth_dbname(start, server):
    give(server, 'carl', 'SECRET carl', 'scram')
    w = start({'app2': db(server), 'app': db(server)}, auth_dbname='app')
    gets_in(w, 'carl', 'SECRET carl', database='app2')
    # that it is not there is told to who may know
    refused(w, 'carl', 'SECRET carl', '3D000', database='nowhere')
    refused(w, 'carl', database='nowhere')


def test_who_is_never_asked_for(start, server):
    """The console's users, those of auth_file, and who asks."""
    give(server, 'carl', 'SECRET carl')
    give(server, 'empty', 'SECRET empty')
    give(server, 'filed', 'SECRET db')
    give(server, 'authn', 'SECRET authn2')
    give(server, 'root', 'SECRET root')
    w = start(auth_type='plain', users='"filed" "SECRET file"\n"empty" ""\n', admin_users='admin,root')
    gets_in(w, 'filed', 'SECRET file')
    refused(w, 'filed', 'SECRET db')
    refused(w, 'empty', 'SECRET empty')
    refused(w, 'empty', '')
    gets_in(w, 'authn', AUTHN)
    refused(w, 'authn', 'SECRET authn2')
    refused(w, 'root', 'SECRET root', database='pgweir')
    refused(w, 'root', 'SECRET root', database='pgbouncer')
    assert questions(server) == 0
    gets_in(w, 'root', 'SECRET root')
    w2 = start({'app': db(server)}, auth_type='plain', auth_user='boss', auth_query=None)
    refused(w2, 'boss', '')             # not in auth_file: would be asked for as itself
    refused(w2, 'boss', 'x')
    assert not w2.log_lines('peer=auth_query')


def test_a_stored_hash_is_no_password(start):
    """Of auth_file, where the method asks for the password as it is."""
    hashed = md5('carl', 'SECRET carl')
    w = start(auth_type='plain', auth_user=None, users='"carl" "%s"\n' % hashed)
    gets_in(w, 'carl', 'SECRET carl')
    refused(w, 'carl', hashed)


def test_users_with_settings_are_asked_for(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain')
    w.rewrite(open(w.path).read() + '[users]\ncarl = pool_size=3\n')
    w.hup()
    until(lambda: w.log_lines('event=reloaded'), why='the reload')
    gets_in(w, 'carl', 'SECRET carl')


def test_nothing_of_a_client_reaches_the_one_who_asks(start, server):
    """CVE-2025-12819, and what a session of the same user leaves behind."""
    give(server, 'carl', 'SECRET carl')
    server.sql("CREATE SCHEMA IF NOT EXISTS evil; GRANT ALL ON SCHEMA evil TO PUBLIC; "
               "CREATE OR REPLACE FUNCTION evil.lookup(n text, OUT name text, OUT secret text) "
               "AS $$ SELECT n, 'SECRET evil' $$ LANGUAGE sql")
    for mode in ('transaction', 'session'):
        w = start(auth_type='plain', auth_query_cache_time=0, pool_mode=mode, server_reset_query='', pin='off',
                  users='"app" "SECRET app"\n')
        bad = {'search_path': 'evil', 'options': '-c search_path=evil'}
        for _ in range(2):
            refused(w, 'carl', 'SECRET evil', search_path='evil')
            refused(w, 'carl', 'SECRET evil', options=bad['options'])
            gets_in(w, 'carl', 'SECRET carl', search_path='evil')
        # who may log in as auth_user, and even who takes the name of its pool
        with w.connect('authn', secret=AUTHN) as c:
            c.sql("SET search_path = evil")
            c.sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        refused(w, 'carl', 'SECRET evil')
        gets_in(w, 'carl', 'SECRET carl')
        refused(w, 'authn (auth_query)')


def test_a_client_cannot_take_the_pool_of_the_one_who_asks(weir, server, tmp_path):
    """With trust a client may call itself anything; the name of that pool gives it nothing."""
    give(server, 'carl', 'SECRET carl')
    users, rules = tmp_path / 'users', tmp_path / 'hba'
    users.write_text('"authn" "%s"\n' % AUTHN)
    rules.write_text('host all carl 127.0.0.1/32 password\nhost all all 127.0.0.1/32 trust\n')
    w = weir(ini({'app': db(server)}, auth_type='hba', auth_hba_file=rules, auth_file=users, auth_user='authn',
                 auth_query=LOOKUP))
    gets_in(w, 'carl', 'SECRET carl')
    with pytest.raises(PgError) as e:
        w.connect('authn (auth_query)').close()
    assert e.value.fields['C'] == '28000' and 'authn (auth_query)' in e.value.fields['M']
    gets_in(w, 'carl', 'SECRET carl')


# ---- what it counts as ------------------------------------------------------------------------

def test_who_asks_is_no_client(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', max_client_conn=1, auth_query_cache_time=0)
    gets_in(w, 'carl', 'SECRET carl')
    until(lambda: logins_end(w) == 1, why='its end')
    gets_in(w, 'carl', 'SECRET carl')
    until(lambda: logins_end(w) == 2, why='its end')
    assert stat(w, 'client_logins') == 3        # and the console's
    assert w.log_lines('peer=auth_query', 'user=authn')


def logins_end(w):
    return len(w.log_lines('client_closed', 'user=carl'))


def test_clients_that_leave_while_they_wait(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', auth_query_cache_time=0)
    with server.connect() as lock:
        lock.sql('BEGIN; LOCK TABLE pw')
        conns = [Conn(w.port, login=False) for _ in range(20)]
        for i, c in enumerate(conns):
            c.send(wire.startup('carl' if i % 2 else 'gone%d' % i, 'app'))
        until(lambda: server.backends("usename = 'authn' AND wait_event_type = 'Lock'") == 1, why='the question to hang')
        for c in conns[:15]:
            c.close()
        for c in conns[15:]:
            c.reset()
        login = Spawned(gets_in, w, 'carl', 'SECRET carl')
        until(lambda: len(w.log_lines('client_closed', 'state=auth')) == 20, why='all of them to be gone')
        lock.sql('ROLLBACK')
        login.result()


def test_shutdown_while_a_question_hangs(start, server):
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain')
    with server.connect() as lock:
        lock.sql('BEGIN; LOCK TABLE pw')
        c = Conn(w.port, login=False)
        c.send(wire.startup('carl', 'app'))
        until(lambda: server.backends("usename = 'authn' AND wait_event_type = 'Lock'") == 1, why='the question to hang')
        w.term()
        assert w.wait(20) == 0
        c.close()


def test_shutdown_while_a_question_waits_for_a_server(start):
    w = start({'app': 'host=127.0.0.1 port=1'})
    c = Conn(w.port, login=False)
    c.send(wire.startup('carl', 'app'))
    until(lambda: w.log_lines('peer=auth_query'), why='somebody to ask')
    w.term()
    assert w.wait(20) == 0
    c.close()


def test_a_password_in_several_pieces_and_pipelined(start, server):
    """Bytes that come while the server is asked are read when it is time."""
    give(server, 'carl', 'SECRET carl')
    w = start(auth_type='plain', auth_query_cache_time=0)
    c = Conn(w.port, login=False)
    c.send(wire.startup('carl', 'app') + wire.password('SECRET carl'))
    got = c.until('Z')
    assert got[-1][0] == 'Z'
    assert c.one('SELECT session_user') == 'carl'
    c.close()
