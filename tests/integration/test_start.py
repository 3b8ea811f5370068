"""The command line, the two forms of configuration, --check, and every way to
be told that it will not start."""
import os
import re
import signal
import socket
import subprocess

import pytest

import wire
from conftest import PGWEIR, ROOT, SLOW, alive, db, free_port, ini, until

pytestmark = pytest.mark.weir_only


def run(*args, timeout=15):
    return subprocess.run([PGWEIR, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout * SLOW, text=True, check=False)


def check(tmp_path, text, *args, name='x.ini'):
    p = tmp_path / name
    p.write_text(text)
    r = run('--check', *args, str(p))
    return r, str(p), r.stdout + r.stderr


def uri(pg, extra=''):
    return 'postgresql://app@127.0.0.1:%d/app%s' % (pg.port, extra)


# ---- the URI form -----------------------------------------------------------------

def test_uri_is_a_whole_configuration(weir, pg):
    w = weir(uri(pg))
    assert w.banner.startswith('pgweir: ready, connect with: psql ')
    assert 'host=127.0.0.1' in w.banner and 'user=app' in w.banner and 'dbname=app' in w.banner
    assert w.one('SELECT current_user') == 'app'


def test_the_line_it_prints_works_with_psql(weir, pg):
    w = weir(uri(pg))
    dsn = re.search(r"psql '([^']*)'", w.banner).group(1)
    r = subprocess.run(['psql', '-XAt', dsn, '-c', 'SELECT 41 + 1'], stdout=subprocess.PIPE,
                       text=True, timeout=20, check=True)
    assert r.stdout == '42\n'


def test_uri_every_client_is_its_user(weir, pg):
    """No password on loopback, any user name, the URI's user at the server."""
    w = weir(uri(pg))
    assert w.one('SELECT current_user', user='somebody') == 'app'


def test_uri_database_is_passed_on_and_the_default(weir, pg):
    w = weir(uri(pg))
    assert w.one('SELECT current_database()', database='app2') == 'app2'
    # no database in the startup packet: libpq would put the user there, a raw
    # client need not; then the URI's is meant
    with w.connect(user='app', database=None) as c:
        assert c.one('SELECT current_database()') == 'app'


def test_uri_unknown_database_says_so(weir, pg):
    w = weir(uri(pg))
    with pytest.raises(wire.PgError) as e:
        w.connect(database='nosuchdb')
    assert e.value.code == '3D000'
    assert w.one('SELECT 1') == '1'


def test_uri_multi_host(weir, cluster):
    w = weir(cluster.uri())
    assert w.one('SELECT 1') == '1'


def test_uri_target_session_attrs(weir, cluster):
    w = weir(cluster.uri(target_session_attrs='read-write'))
    for _ in range(5):
        assert w.one('SELECT pg_is_in_recovery()') == 'f'


def test_keyword_value_string(weir, pg):
    w = weir('host=127.0.0.1 port=%d user=app dbname=app' % pg.port)
    assert w.one('SELECT current_database()') == 'app'


def test_uri_with_password(weir, scram_pg):
    w = weir('postgresql://u_scram:marcs_u%%21@127.0.0.1:%d/app' % scram_pg.port)
    assert w.one('SELECT current_user', user='x') == 'u_scram'


@pytest.mark.parametrize('bad, say', [
    ('postgresql://u@h:notaport/x', 'port'),
    ('postgresql://u@h:5432/x?nosuch=1', 'nosuch'),
    ('postgresql://u@127.0.0.1/x?target_session_attrs=sometimes', 'target_session_attrs'),
    ('postgresql://u@a,b:1,c:2,d:3:4/x', ''),
    ('postgresql://%zz@h/x', ''),
    ('postgresql://u@no..host/x', 'no..host'),
])
def test_bad_uri(bad, say):
    r = run(bad, '-p', '0')
    assert r.returncode == 1
    assert say in r.stderr
    assert r.stderr.strip() and 'ready' not in r.stdout


def test_uri_beyond_loopback_is_refused(pg):
    r = run(uri(pg), '-l', '0.0.0.0', '-p', '0')
    assert r.returncode == 1
    assert re.search(r'0\.0\.0\.0|loopback', r.stderr)
    r = run(uri(pg), '-l', '*', '-p', '0')
    assert r.returncode == 1


# ---- the ini form -------------------------------------------------------------------

def test_ini(weir, pg):
    w = weir(ini({'app': db(pg, dbname='app')}))
    assert w.one('SELECT current_user') == 'app'


def test_ini_section_pgbouncer_defaults_to_session(weir, pg):
    """In [pgbouncer] pool_mode defaults to session, as there."""
    w = weir(ini({'app': db(pg)}, section='pgbouncer', listen_addr='127.0.0.1'))
    with w.connect() as c:
        c.sql("SET work_mem = '123kB'")
        with w.connect() as d:
            d.sql('SELECT 1')
            assert c.one('SHOW work_mem') == '123kB'
        assert c.one('SELECT pg_backend_pid()') == c.one('SELECT pg_backend_pid()')
    rows = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert rows['pool_mode'] == 'session'


def test_ini_one_port_for_all_hosts(weir, pg):
    w = weir(ini({'app': 'host=127.0.0.1,localhost port=%d' % pg.port}))
    assert w.one('SELECT 1') == '1'


def test_ini_fallback_database(weir, pg):
    w = weir(ini({'*': db(pg)}))
    assert w.one('SELECT current_database()', database='app2') == 'app2'


def test_ini_other_name_and_user(weir, pg):
    w = weir(ini({'shop': db(pg, dbname='app', user='other')}))
    assert w.sql('SELECT current_database(), current_user', database='shop') == [['app', 'other']]


def test_ini_unknown_database(weir, pg):
    w = weir(ini({'app': db(pg)}))
    with pytest.raises(wire.PgError) as e:
        w.connect(database='nosuch')
    assert e.value.code == '3D000'


def test_line_of_20_kib_and_more(weir, pg):
    """inih as packaged splits lines at 199 bytes without a word."""
    text = ini({'app': db(pg, password='x' * 20500)})
    assert len(text) > 20 * 1024
    w = weir(text)
    assert w.one('SELECT 1') == '1'


def test_long_value_comes_through_intact(weir, pg):
    users = ','.join('somebody_%05d' % i for i in range(1500))
    w = weir(ini({'app': db(pg)}, admin_users='admin', stats_users=users))
    got = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert got['stats_users'] == users
    assert w.console('SHOW VERSION', user='somebody_01499')


def test_indented_file(weir, pg):
    """inih takes an indented line for a continuation of the one above."""
    text = ini({'app': db(pg)}, default_pool_size=3)
    text = '\n'.join('   \t' + line for line in text.splitlines()) + '\n'
    w = weir(text)
    got = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert got['default_pool_size'] == '3'


def test_value_with_semicolon(weir, pg):
    """inih cuts a value at ' ;'."""
    w = weir(ini({'app': db(pg)}, server_reset_query='DISCARD ALL ; SELECT 1'))
    got = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert got['server_reset_query'] == 'DISCARD ALL ; SELECT 1'


def test_comment_lines(weir, pg):
    w = weir('; first\n# second\n' + ini({'app': db(pg)}))
    assert w.one('SELECT 1') == '1'


def test_no_newline_at_the_end_and_crlf(weir, pg):
    w = weir(ini({'app': db(pg)}).rstrip('\n').replace('\n', '\r\n'))
    assert w.one('SELECT 1') == '1'


def test_quoted_value_in_databases(weir, pg):
    w = weir(ini({'app': db(pg, dbname="'app'", application_name="'it''s me'")}))
    with w.connect() as c:
        assert c.one('SHOW application_name') == "it's me"


# ---- --check ---------------------------------------------------------------------------

def test_check_good(tmp_path):
    r, _, _ = check(tmp_path, ini({'app': 'host=127.0.0.1'}))
    assert r.returncode == 0


def test_check_uri():
    assert run('--check', 'postgresql://app@127.0.0.1:1,127.0.0.1:2/app').returncode == 0
    assert run('--check', 'postgresql://app@127.0.0.1:x/app').returncode == 1


GLOBAL_LINE = 7     # [databases], app, [pgweir] and four settings stand above


@pytest.mark.parametrize('line, say', [
    ('no_such_key = 1', 'no_such_key'),
    ('default_pool_size = many', 'default_pool_size'),
    ('default_pool_size = -1', 'default_pool_size'),
    ('default_pool_size = 100001', '100000'),
    ('default_pool_size = 5 apples', 'default_pool_size'),
    ('listen_port = 65536', '65535'),
    ('pool_mode = packet', 'transaction'),
    ('target_session_attrs = primary-ish', 'prefer-standby'),
    ('load_balance_hosts = fair', 'round-robin'),
    ('auth_type = ldap', 'scram-sha-256'),
    ('retry = maybe', 'observe'),
    ('query_wait_timeout = soon', 'query_wait_timeout'),
    ('query_wait_timeout = 1 fortnight', 'query_wait_timeout'),
    ('retry_hold_max = 1', '1024'),
    ('retry_hold_max = 1q', 'retry_hold_max'),
    ('log_connections = perhaps', 'log_connections'),
    ('workers = 0', 'workers'),
    ('workers = 129', '128'),
    ('a line without an equals sign', ''),
    ('[nosuchsection]', 'nosuchsection'),
    ('[unclosed', ''),
])
def test_check_says_line_and_what_is_allowed(tmp_path, line, say):
    text = ('[databases]\napp = host=127.0.0.1\n[pgweir]\nauth_type = trust\nlisten_port = 0\n\n' + line + '\n')
    r, path, out = check(tmp_path, text)
    assert r.returncode == 1
    assert '%s:%d: ' % (path, GLOBAL_LINE) in out, out
    assert say in out, out


@pytest.mark.parametrize('value, say', [
    ('host=127.0.0.1 nosuch=1', 'nosuch'),
    ('host=127.0.0.1 port=0', 'port'),
    ('host=127.0.0.1 port=1,2', 'port'),
    ('host=127.0.0.1 port=70000', 'port'),
    ('host=127.0.0.1 pool_size=x', 'pool_size'),
    ('host=127.0.0.1 retry=x', 'retry'),
    ("host='127.0.0.1", ''),
    ('host=no..host', 'no..host'),
    ('host', ''),
])
def test_check_databases(tmp_path, value, say):
    r, path, out = check(tmp_path, '[databases]\n\napp = %s\n[pgweir]\nauth_type = trust\n' % value)
    assert r.returncode == 1
    assert path + ':3: ' in out, out
    assert say in out, out


def test_check_users(tmp_path):
    r, path, out = check(tmp_path, '[databases]\napp = host=127.0.0.1\n[users]\nx = pool_mode=often\n'
                         '[pgweir]\nauth_type = trust\n')
    assert r.returncode == 1 and path + ':4: ' in out, out


def test_check_auth_file(tmp_path):
    users = tmp_path / 'users.txt'
    users.write_text('"a" "pw"\nnot quoted\n')
    r, _, out = check(tmp_path, ini({'app': 'host=127.0.0.1'}, auth_type='scram-sha-256', auth_file=users))
    assert r.returncode == 1 and '%s:2: ' % users in out, out
    r, _, out = check(tmp_path, ini({'app': 'host=127.0.0.1'}, auth_type='scram-sha-256',
                                    auth_file=tmp_path / 'nosuch'))
    assert r.returncode == 1 and 'nosuch' in out


def test_check_does_not_show_secrets(tmp_path):
    users = tmp_path / 'users.txt'
    users.write_text('"a" "hunter2-secret" extra words\n"b" hunter2-secret\n')
    _, _, out = check(tmp_path, ini({'app': 'host=127.0.0.1 password=hunter2-secret nosuch=1'},
                                    auth_file=users))
    assert 'hunter2' not in out
    _, _, out = check(tmp_path, ini({'app': 'host=127.0.0.1'}, auth_type='scram-sha-256', auth_file=users))
    assert 'hunter2' not in out


def test_beyond_loopback_needs_authentication(tmp_path):
    r, _, out = check(tmp_path, ini({'app': 'host=127.0.0.1'}, listen_addr='0.0.0.0', auth_type='trust'))
    assert r.returncode == 1 and re.search('trust|auth', out)
    users = tmp_path / 'users.txt'
    users.write_text('"a" "pw"\n')
    r, _, _ = check(tmp_path, ini({'app': 'host=127.0.0.1'}, listen_addr='0.0.0.0',
                                  auth_type='scram-sha-256', auth_file=users))
    assert r.returncode == 0


# ---- refusing to start ----------------------------------------------------------------------

def test_nothing_half_started(tmp_path):
    """A bad file: no listening socket, no ready line, one clear sentence."""
    port = free_port()
    p = tmp_path / 'x.ini'
    p.write_text('[databases]\napp = host=127.0.0.1\n[pgweir]\nauth_type = trust\nlisten_port = %d\nbad = 1\n' % port)
    r = run(str(p))
    assert r.returncode == 1 and r.stdout == '' and '%s:6: ' % p in r.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', port), timeout=5)


@pytest.mark.parametrize('args', [
    (), ('/nonexistent/pgweir.ini',), ('/',), ('a.ini', 'b.ini'), ('-p',), ('-p', 'x', 'postgresql://u@h/x'),
    ('-p', '65536', 'postgresql://u@127.0.0.1/x'), ('-p', '-1', 'postgresql://127.0.0.1/x'),
    ('--nosuch', 'postgresql://u@127.0.0.1/x'), ('-l', 'not an address', 'postgresql://127.0.0.1/x'),
    ('-u', 'no-such-user', 'postgresql://u@127.0.0.1/x', '-p', '0'),
])
def test_bad_command_line(args):
    r = run(*args)
    assert r.returncode == 1
    assert r.stderr.strip()


@pytest.mark.skipif(os.geteuid() == 0, reason='root reads everything')
def test_unreadable_file(tmp_path):
    p = tmp_path / 'x.ini'
    p.write_text(ini({'app': 'host=127.0.0.1'}))
    p.chmod(0)
    r = run(str(p))
    assert r.returncode == 1 and str(p) in r.stderr


def test_port_in_use(pg):
    with socket.create_server(('127.0.0.1', 0)) as s:
        port = s.getsockname()[1]
        r = run(uri(pg), '-p', str(port))
        assert r.returncode == 1 and str(port) in r.stderr


def test_empty_file(tmp_path):
    p = tmp_path / 'x.ini'
    p.write_text('')
    assert run(str(p)).returncode == 1


# ---- options -----------------------------------------------------------------------------------

def test_version_and_help():
    r = run('-V')
    assert r.returncode == 0 and re.match(r'pgweir \d', r.stdout, re.I)
    assert run('--version').stdout == r.stdout
    r = run('-h')
    assert r.returncode == 0
    for o in ('-p', '-l', '-d', '-q', '-v', '-u', '-V', '-h', '--check', '--port', '--listen'):
        assert o in r.stdout


def test_manual_names_every_setting():
    r = run('--manual')
    assert r.returncode == 0
    text = r.stdout.replace('\\', '')
    with open(ROOT + '/conf/keys.def') as f:
        keys = re.findall(r'^KEY\(\w+,\s*\w+,\s*(\w+),', f.read(), re.M)
    assert len(keys) > 60
    for k in keys:
        assert k in text, k


def test_long_options(weir, pg):
    port = free_port()
    w = weir(uri(pg), args=['-p', str(port), '--listen', '127.0.0.1'])
    assert w.port == port and w.one('SELECT 1') == '1'


def test_port_option_wins_over_the_file(weir, pg):
    a, b = free_port(), free_port()
    w = weir(ini({'app': db(pg)}, listen_port=a), args=['-p', str(b)])
    assert w.port == b


def test_quiet(weir, pg):
    """No line on standard output, warnings only in the log."""
    port = free_port()
    w = weir(uri(pg), args=['-q', '-p', str(port)], wait=False)
    w.port = port

    def served():
        try:
            return w.one('SELECT 1') == '1'
        except OSError:
            return False
    until(served, why='it to listen')
    assert not w.log_lines('level=info') and not w.log_lines('level=debug')
    w.term()
    assert w.wait() == 0
    assert w.proc.stdout.read() == b''


def test_verbose(weir, pg):
    w = weir(uri(pg), args=['-v', '-v'])
    assert w.one('SELECT 1') == '1'
    w.wait_log('event=server_login')


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can become somebody else')
def test_becomes_user(weir, pg):
    w = weir(uri(pg), args=['-u', 'nobody'])
    assert w.one('SELECT 1') == '1'
    assert w.status('Uid') != '0'
    with open('/proc/%d/status' % w.pid) as f:
        groups = next(x for x in f if x.startswith('Groups:')).split()[1:]
    assert '0' not in groups


def test_daemon_mode(tmp_path, pg):
    """-d: the parent ends when the child is ready; pidfile names the child."""
    pidfile, log, port = tmp_path / 'pid', tmp_path / 'log', free_port()
    p = tmp_path / 'x.ini'
    p.write_text(ini({'app': db(pg)}, listen_port=port, pidfile=pidfile, logfile=log))
    r = run('-d', str(p))
    assert r.returncode == 0, r.stderr
    there = pidfile.exists()
    pid = int(until(lambda: pidfile.exists() and pidfile.read_text(), why='the pidfile'))
    try:
        assert there, 'the parent ended before the pidfile was written'
        assert wire.Conn(port).one('SELECT 1') == '1'
        assert 'event=' in log.read_text()
    finally:
        os.kill(pid, signal.SIGQUIT)
    until(lambda: not alive(pid), why='the daemon to end')
    assert not pidfile.exists()


def test_daemon_mode_needs_pidfile(tmp_path, pg):
    p = tmp_path / 'x.ini'
    p.write_text(ini({'app': db(pg)}))
    r = run('-d', str(p))
    assert r.returncode == 1 and 'pidfile' in r.stderr


def test_show_config_has_every_global_key(one):
    with open(ROOT + '/conf/keys.def') as f:
        keys = re.findall(r'^KEY\(GLOBAL,\s*\w+,\s*(\w+),', f.read(), re.M)
    rows = {r['key']: r for r in one.console('SHOW CONFIG')}
    assert sorted(rows) == sorted(keys)
    assert rows['default_pool_size']['value'] == '20'
