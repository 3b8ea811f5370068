"""A pgbouncer.ini as it is: Debian's, one with every setting, and docs/from-pgbouncer.md.

SPDX-License-Identifier: ISC
"""
import os
import re
import shutil
import signal
import subprocess
import tempfile

import psycopg2
import pytest

from cluster import AS_POSTGRES
from conftest import PGWEIR, ROOT, SLOW, db, free_port, ini, until

pytestmark = pytest.mark.weir_only

SHIPPED = '/etc/pgbouncer/pgbouncer.ini'

# Every key of PgBouncer 1.25 with a value that is not its default.
KEYS = '''admin_users=app application_name_add_host=1 auth_dbname=app auth_query=SELECT+1,2
auth_user=app autodb_idle_timeout=60 cancel_wait_timeout=5 client_idle_timeout=300 client_login_timeout=30
client_tls13_ciphers=TLS_AES_256_GCM_SHA384 client_tls_ciphers=HIGH client_tls_dheparams=none
client_tls_ecdhcurve=prime256v1 client_tls_protocols=tlsv1.3 client_tls_sslmode=disable conffile=/x
default_pool_size=5 disable_pqexec=0 dns_max_ttl=5 dns_nxdomain_ttl=5 dns_zone_check_period=1
idle_transaction_timeout=60 ignore_startup_parameters=extra_float_digits job_name=x listen_backlog=64
log_connections=0 log_disconnections=0 log_pooler_errors=0 log_stats=0 login_notify_message=hello
max_client_conn=50 max_db_client_connections=40 max_db_connections=30 max_packet_size=1000000
max_prepared_statements=10 max_user_client_connections=40 max_user_connections=30 min_pool_size=1
peer_id=3 pkt_buf=8192 pool_idle_timeout=60 pool_mode=transaction query_timeout=50 query_wait_notify=1
query_wait_timeout=20 reserve_pool_size=2 reserve_pool_timeout=1 resolv_conf=/etc/resolv.conf sbuf_loopcnt=2
scram_iterations=8192 server_check_delay=5 server_check_query=SELECT+1 server_connect_timeout=5
server_fast_close=1 server_idle_timeout=60 server_lifetime=600 server_login_retry=2 server_reset_query=DISCARD+ALL
server_reset_query_always=1 server_round_robin=1 server_tls13_ciphers=TLS_AES_256_GCM_SHA384
server_tls_ciphers=HIGH server_tls_protocols=tlsv1.2 server_tls_sslmode=prefer service_name=x so_reuseport=1
stats_period=30 stats_users=app suspend_timeout=5 syslog=1 syslog_facility=local0 syslog_ident=x
tcp_defer_accept=0 tcp_keepalive=1 tcp_keepcnt=3 tcp_keepidle=30 tcp_keepintvl=10 tcp_socket_buffer=65536
tcp_user_timeout=10000 track_extra_parameters=search_path transaction_timeout=100 unix_socket_mode=0770
verbose=1'''


@pytest.fixture
def here(base):
    """A directory for a daemon that runs as postgres."""
    d = tempfile.mkdtemp(prefix='b', dir=base)
    os.chmod(d, 0o777)
    yield d
    shutil.rmtree(d, ignore_errors=True)


def write(here, name, text):
    path = os.path.join(here, name)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, 0o644)
    return path


def moved(text, here, port):
    """Debian's file, in a place of ours."""
    for old in ('/var/log/postgresql', '/var/run/postgresql', '/etc/pgbouncer'):
        assert old in text
        text = text.replace(old, here)
    assert 'listen_port = 6432' in text
    return text.replace('listen_port = 6432', 'listen_port = %d' % port)


class Daemon:
    """pgbouncer or pgweir, with the same arguments, as the same user."""

    def __init__(self, program, path, here, port):
        self.here, self.port = here, port
        self.out = os.path.join(here, 'out')
        with open(self.out, 'wb') as f:
            self.proc = subprocess.Popen([*AS_POSTGRES, program, path], stdin=subprocess.DEVNULL, stdout=f,
                                         stderr=f, cwd='/')

    def __enter__(self):
        def answers():
            if self.proc.poll() is not None:
                pytest.fail('ended with %d:\n%s' % (self.proc.returncode, open(self.out).read()))
            try:
                self.connect(user='pgbouncer', dbname='pgbouncer', password='x').close()
            except psycopg2.OperationalError as e:
                return 'refused' not in str(e) and 'No such file' not in str(e)
            return True
        until(answers, 20 * SLOW, why='it to listen')
        return self

    def __exit__(self, *a):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
        try:
            self.proc.wait(10 * SLOW)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()

    def connect(self, unix=False, **kw):
        kw = {'user': 'app', 'password': 'right', 'dbname': 'app', 'connect_timeout': 20,
              'host': self.here if unix else '127.0.0.1', **kw}
        return psycopg2.connect(port=self.port, **kw)

    def seen(self):
        """What clients see of it: of both programs the same."""
        out = []
        for unix in (False, True):
            with self.connect(unix) as a, self.connect(unix) as b:
                for c in (a, b):
                    c.autocommit = True
                cur, other = a.cursor(), b.cursor()
                cur.execute("SET work_mem = '321kB'")
                other.execute('SHOW work_mem')
                first = other.fetchone()
                cur.execute('SHOW work_mem')
                out.append((unix, first, cur.fetchone()))
            for wrong in ({'password': 'wrong'}, {'user': 'nobody'}, {'dbname': 'nosuch'}):
                try:
                    self.connect(unix, **wrong).close()
                    out.append('in with %s' % wrong)
                except psycopg2.OperationalError:
                    out.append('refused with %s' % wrong)
        return out


def show_config(c):
    c.autocommit = True
    cur = c.cursor()
    cur.execute('SHOW CONFIG')
    return {r[0]: r[1] for r in cur.fetchall()}


PROGRAMS = ['/usr/sbin/pgbouncer', PGWEIR]


def test_debians_file_with_a_database(pg, here):
    """Both take it, and clients see the same; one line is added, for a database."""
    port = free_port()
    text = moved(open(SHIPPED).read(), here, port)
    text = text.replace('[databases]\n', '[databases]\napp = host=127.0.0.1 port=%d\n' % pg.port, 1)
    path = write(here, 'pgbouncer.ini', text)
    write(here, 'userlist.txt', '"app" "right"\n')
    saw = []
    for program in PROGRAMS:
        with Daemon(program, path, here, port) as d:
            saw.append(d.seen())
    assert saw[0] == saw[1] and len(saw[0]) == 8
    assert 'event=stopped' in open(here + '/pgbouncer.log').read()


@pytest.mark.parametrize('program', PROGRAMS)
def test_debians_file_as_shipped(here, program):
    """No database: there is the console, for the same Unix user without a password."""
    port = free_port()
    path = write(here, 'pgbouncer.ini', moved(open(SHIPPED).read(), here, port))
    write(here, 'userlist.txt', '')
    with Daemon(program, path, here, port):
        out = subprocess.run([*AS_POSTGRES, 'psql', '-XAt', '-h', here, '-p', str(port), '-U', 'pgbouncer',
                              'pgbouncer', '-c', 'SHOW VERSION'], capture_output=True, text=True, timeout=30, cwd='/')
        assert out.returncode == 0 and 'gBouncer 1.' in out.stdout or 'pgweir' in out.stdout, out.stderr


def test_every_setting_that_pgbouncer_shows(pg, here):
    """What SHOW CONFIG of Debian's lists, written into a file: both start with it, and show
    the same where they have the same setting."""
    port = free_port()
    base = ('[databases]\napp = host=127.0.0.1 port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n'
            'auth_type = trust\nauth_file = %s/userlist.txt\nadmin_users = app\nunix_socket_dir = %s\n'
            % (pg.port, port, here, here))
    write(here, 'userlist.txt', '"app" "right"\n')
    path = write(here, 'pgbouncer.ini', base)
    with Daemon(PROGRAMS[0], path, here, port) as d:
        rows = show_config(d.connect(dbname='pgbouncer'))
    assert len(rows) > 70
    lines = ['%s = %s' % (k, v) for k, v in rows.items() if v and k not in ('conffile', 'unix_socket_mode')]
    path = write(here, 'pgbouncer.ini', base + '\n'.join(lines) + '\n')
    shown = []
    for program in PROGRAMS:
        with Daemon(program, path, here, port) as d:
            shown.append(show_config(d.connect(dbname='pgbouncer')))
    both = set(shown[0]) & set(shown[1])
    assert len(both) > 60
    other = {k: (shown[0][k], shown[1][k]) for k in both if (shown[0][k] or '') != (shown[1][k] or '')}
    assert set(other) <= {'unix_socket_mode', 'conffile'}, other
    check = subprocess.run([PGWEIR, '--check', path], capture_output=True, text=True, timeout=30)
    warned = re.findall(r'warning: \S+: (\w+) has no effect', check.stderr)
    assert len(set(warned)) == len(warned) == len(check.stderr.splitlines()) - 1
    assert 'auth_file: everybody on this machine may read' in check.stderr
    assert set(rows) - set(shown[1]) - {'conffile'} == set(warned)


def test_every_key_of_1_25(weir, pg, tmp_path):
    """Accepted, and in force where pgweir has it."""
    keys = dict(k.replace('+', ' ').split('=', 1) for k in KEYS.split())
    w = weir(ini({'app': db(pg, reserve_pool=1, connect_query="'SELECT 1'", client_encoding='UTF8', datestyle='ISO',
                            timezone='UTC', application_name='x', auth_user='app', auth_query="'SELECT 1, 2'",
                            auth_dbname='app', pool_size=3, min_pool_size=0, max_db_connections=9,
                            max_db_client_connections=9, server_lifetime=60, query_wait_timeout=9,
                            load_balance_hosts='disable', pool_mode='session')},
                 users={'app': 'pool_mode=transaction pool_size=2 reserve_pool_size=1 max_user_connections=5 '
                               'max_user_client_connections=5 query_timeout=9 query_wait_timeout=9 '
                               'idle_transaction_timeout=9 transaction_timeout=9 client_idle_timeout=9'},
                 section='pgbouncer', listen_addr='127.0.0.1', unix_socket_dir=tmp_path, **keys)
             + '[peers]\n3 = host=%s\n4 = host=127.0.0.1 port=1 pool_size=2\n' % tmp_path)
    assert w.one('SELECT 1') == '1'
    shown = {r['key']: r['value'] for r in w.console('SHOW CONFIG', user='app')}
    warned = {re.search(r': (\w+) has no effect', x).group(1) for x in w.log_lines('event=configuration')}
    for k, v in keys.items():
        assert (k in shown) != (k in warned), k
        assert k in warned or shown[k] == v, k


# ---- docs/from-pgbouncer.md ----------------------------------------------------------

def tables():
    """Rows of the tables, by their first column's head."""
    out = {}
    with open(os.path.join(ROOT, 'docs', 'from-pgbouncer.md')) as f:
        for block in re.findall(r'((?:^\|.*\n)+)', f.read(), re.M):
            rows = [tuple(c.strip() for c in line.strip().strip('|').split('|')) for line in block.splitlines()]
            out[rows[0]] = [list(r) for r in rows[2:]]
    return out


def test_the_defaults_are_as_written(weir, pg, tmp_path):
    got = {}
    for section in ('pgweir', 'pgbouncer'):
        text = ini({'app': db(pg)}, section=section, auth_type='trust')
        w = weir(text if section == 'pgweir' else text + 'listen_addr = 127.0.0.1\n')
        got[section] = {r['key']: r['default'] or '' for r in w.console('SHOW CONFIG')}
    rows = next(v for k, v in tables().items() if 'in `[pgweir]`' in k)
    assert rows == [[k, got['pgweir'][k], got['pgbouncer'][k]] for k in sorted(got['pgweir'])
                    if got['pgweir'][k] != got['pgbouncer'][k]]


def test_what_does_nothing_is_as_written(tmp_path):
    rows = next(v for k, v in tables().items() if k == ('setting', 'why'))
    path = tmp_path / 'x.ini'
    path.write_text('[databases]\na = host=::1\n[pgbouncer]\nauth_type = trust\n'
                    + ''.join('%s = 1\n' % r[0] for r in rows))
    out = subprocess.run([PGWEIR, '--check', str(path)], capture_output=True, text=True, timeout=30)
    assert [re.search(r': (\w+) has no effect: (.*)', x).groups() for x in out.stderr.splitlines()] == \
        [tuple(r) for r in rows]
    page = subprocess.run([PGWEIR, '--manual'], capture_output=True, text=True, check=True).stdout
    assert [r[0] for r in rows] == re.findall(r'^\.B (\w+)$', page.split('.SH SETTINGS WITHOUT EFFECT')[1]
                                              .split('\n.SH')[0], re.M)


# ---- docs/tuning.md --------------------------------------------------------------------

def test_the_time_limits_are_as_written(weir, pg):
    w = weir(ini({'app': db(pg)}))
    default = {r['key']: float(r['default'] or 0) for r in w.console('SHOW CONFIG') if r['key'].count('_')
               and re.fullmatch(r'\d*\.?\d*', r['default'] or '')}
    with open(os.path.join(ROOT, 'docs', 'tuning.md')) as f:
        text = f.read()
    rows = re.findall(r'^\| ([a-z_, ]+) \| [^|]* \| ([^|]+) \|$', text, re.M)
    unit = {'s': 1, 'min': 60, 'h': 3600}
    seen = 0
    for names, values in rows:
        for name, value in zip(names.split(', '), values.split(', ')):
            if name == 'limit':
                continue
            want = 0 if value == 'off' else int(value.split()[0]) * unit[value.split()[1]]
            assert default[name] == want, name
            seen += 1
    assert seen == 10
