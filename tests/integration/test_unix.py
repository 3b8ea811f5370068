"""Listening on unix sockets: where, for whom, what is left behind, and who is at the
other end.

SPDX-License-Identifier: ISC
"""
import contextlib
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

import psycopg2
import pytest

import certs
import wire
from conftest import PGWEIR, SLOW, alive, db, free_port, ini, run_threads, until
from test_login import auth_conf
from test_systemd import activate
from wire import Conn, PgError, cancel, query

pytestmark = pytest.mark.weir_only

ROOT = os.geteuid() == 0
by_root = pytest.mark.skipif(not ROOT, reason='only root can become somebody else')


@pytest.fixture
def here(base):
    """A directory for sockets, with a short name."""
    d = tempfile.mkdtemp(prefix='s', dir=base)
    os.chmod(d, 0o777)
    yield d
    shutil.rmtree(d, ignore_errors=True)


def conf(pg, here, **kw):
    return ini({'app': db(pg, user='app')}, unix_socket_dir=here, **kw)


def on_port(port):
    return {'args': ['-p', str(port)]}


def path(here, port):
    return '%s/.s.PGSQL.%d' % (here, port)


def psql(dsn, sql='SELECT 41 + 1', user=None, groups='--clear-groups'):
    """What psql writes, as this user; else what it complains of."""
    became = []
    if user:
        pw = pwd.getpwnam(user)
        became = ['setpriv', '--reuid=%d' % pw.pw_uid, '--regid=%d' % pw.pw_gid, groups, '--']
    r = subprocess.run([*became, 'psql', '-XAtw', dsn, '-c', sql], stdout=subprocess.PIPE, timeout=60,
                       stderr=subprocess.PIPE, text=True, check=False, cwd='/')
    return r.stderr if r.returncode else r.stdout.strip()


def dsn(w, here, user='app', database='app'):
    return 'host=%s port=%d user=%s dbname=%s' % (here, w.port, user, database)


def refused(text, *args):
    """The complaint of a daemon that does not start."""
    with tempfile.NamedTemporaryFile('w', suffix='.ini') as f:
        f.write(text)
        f.flush()
        os.chmod(f.name, 0o644)
        r = subprocess.run([PGWEIR, *args, f.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=30 * SLOW, text=True, check=False)
    assert r.returncode == 1 and r.stdout == '', (r.returncode, r.stdout, r.stderr)
    # the last line is for people; what is in front of it is the log
    return r.stderr.splitlines()[-1]


def unix_one(w, here, **kw):
    with Conn(w.port, here, **kw) as c:
        return c.one('SELECT 1')


# ---- where --------------------------------------------------------------------------------

def test_path(weir, pg, here):
    w = weir(conf(pg, here))
    assert stat.S_ISSOCK(os.stat(path(here, w.port)).st_mode)
    assert psql(dsn(w, here)) == '42'
    with contextlib.closing(psycopg2.connect(dsn(w, here))) as c, c.cursor() as cur:
        cur.execute('SELECT current_user, count(*) FROM generate_series(1, 10000)')
        assert cur.fetchone() == ('app', 10000)
    assert unix_one(w, here) == '1'
    w.wait_log('event=started', ' unix=%s' % here)
    # TCP as ever
    assert w.one('SELECT 1') == '1'
    assert 'host=127.0.0.1 port=%d' % w.port in w.banner


def test_abstract(weir, pg):
    name = '@pgweir-test-%d-%d' % (os.getpid(), free_port())
    w = weir(conf(pg, name))
    assert psql(dsn(w, name)) == '42'
    assert unix_one(w, name) == '1'
    # a second one, on another port of TCP, cannot have the name
    say = refused(conf(pg, name, listen_addr=''), '-p', str(w.port))
    assert path(name, w.port) in say and 'in use' in say.lower()
    assert unix_one(w, name) == '1'
    w.term()
    assert w.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        Conn(w.port, name)


def test_listen_addr_empty(weir, pg, here):
    port = free_port()
    w = weir(conf(pg, here, listen_addr=''), **on_port(port))
    assert w.port == port
    with pytest.raises(ConnectionRefusedError):
        w.connect()
    # the line it prints is the way in
    assert psql(re.search(r"psql '([^']*)'", w.banner).group(1)) == '42'
    assert 'host=%s ' % here in w.banner


@pytest.mark.parametrize('kw,args,say', [
    ({'listen_addr': ''}, (), 'nothing to listen on'),
    ({'listen_addr': '', 'unix_socket_dir': '/tmp'}, ('-p', '0'), 'listen_port'),
    ({'unix_socket_dir': '/nonexistent'}, (), '/nonexistent/.s.PGSQL'),
    ({'unix_socket_dir': '/proc'}, (), '/proc/.s.PGSQL'),
    ({'unix_socket_dir': '/' + 95 * 'x', 'listen_port': 12345}, (), 'too long'),
    ({'unix_socket_dir': '/tmp', 'unix_socket_group': 'no-such-group'}, (), 'no-such-group'),
])
def test_cannot_listen(pg, kw, args, say):
    text = refused(ini({'app': db(pg)}, **{'listen_port': free_port(), **kw}), *args)
    assert say in text and text.startswith('pgweir: ')


def test_section_pgbouncer_listens_in_tmp(weir, pg):
    w = weir(ini({'app': db(pg)}, section='pgbouncer', listen_addr='127.0.0.1'))
    assert psql(dsn(w, '/tmp')) == '42'
    w.term()
    assert w.wait() == 0
    assert not os.path.exists(path('/tmp', w.port))
    w = weir(ini({'app': db(pg)}, section='pgbouncer', listen_addr='127.0.0.1', unix_socket_dir=''))
    assert not os.path.exists(path('/tmp', w.port))


def test_pgweir_has_none_by_default(weir, pg):
    w = weir(ini({'app': db(pg)}))
    assert not os.path.exists(path('/tmp', w.port))
    with open('/proc/%d/net/unix' % w.pid) as f:
        assert '.s.PGSQL.%d' % w.port not in f.read()


def test_show_config_and_reload(weir, pg, here):
    text = conf(pg, here, unix_socket_mode='0770')
    w = weir(text)
    row = {r['key']: r for r in w.console('SHOW CONFIG')}
    assert row['unix_socket_mode']['value'] == '0770' and row['unix_socket_mode']['default'] == '0777'
    assert row['unix_socket_dir']['value'] == here and row['unix_socket_dir']['changeable'] == 'no'
    w.rewrite(text.replace('0770', '0700'))
    w.hup()
    w.wait_log('needs_restart', 'setting=unix_socket_mode')
    assert stat.S_IMODE(os.stat(path(here, w.port)).st_mode) == 0o770
    assert unix_one(w, here) == '1'


# ---- for whom -----------------------------------------------------------------------------

def test_default_mode(weir, pg, here):
    old = os.umask(0o077)
    try:
        w = weir(conf(pg, here))
    finally:
        os.umask(old)
    st = os.stat(path(here, w.port))
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o777, os.geteuid(), os.getegid())
    # the lock file is nobody else's business
    assert stat.S_IMODE(os.stat(path(here, w.port) + '.lock').st_mode) == 0o600


@by_root
def test_mode_keeps_others_out(weir, pg, here):
    w = weir(conf(pg, here, unix_socket_mode='0700'))
    assert psql(dsn(w, here)) == '42'
    assert 'Permission denied' in psql(dsn(w, here), user='nobody')


@by_root
@pytest.mark.parametrize('number', [False, True])
def test_group_as_root(weir, pg, here, number):
    gid = pwd.getpwnam('postgres').pw_gid
    group = str(gid) if number else grp.getgrgid(gid).gr_name
    w = weir(conf(pg, here, unix_socket_mode='0770', unix_socket_group=group))
    st = os.stat(path(here, w.port))
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o770, 0, gid)
    assert psql(dsn(w, here), user='postgres') == '42'
    assert 'Permission denied' in psql(dsn(w, here), user='nobody')


@by_root
def test_as_another_user(weir, pg, here):
    """The socket is the property of the user that pgweir becomes, who takes it away again."""
    nobody = pwd.getpwnam('nobody')
    os.chmod(here, 0o1777)
    w = weir(conf(pg, here, unix_socket_mode='0700'), args=['-u', 'nobody'])
    st = os.stat(path(here, w.port))
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o700, nobody.pw_uid, nobody.pw_gid)
    assert psql(dsn(w, here), user='nobody') == '42'
    assert 'Permission denied' in psql(dsn(w, here), user='postgres')
    w.term()
    assert w.wait() == 0
    assert os.listdir(here) == []


@by_root
def test_group_as_another_user(weir, pg, here):
    """It can give the socket to its own groups only."""
    own = grp.getgrgid(pwd.getpwnam('nobody').pw_gid).gr_name
    w = weir(conf(pg, here, unix_socket_group=own), args=['-u', 'nobody'])
    assert psql(dsn(w, here), user='postgres') == '42'
    port = free_port()
    say = refused(conf(pg, here, unix_socket_group='postgres', listen_port=port), '-u', 'nobody')
    assert 'unix_socket_group' in say and 'Operation not permitted' in say
    assert not os.path.exists(path(here, port)) and not os.path.exists(path(here, port) + '.lock')


@by_root
def test_directory_not_writable(pg, base):
    d = tempfile.mkdtemp(prefix='ro', dir=base)
    os.chmod(d, 0o755)
    say = refused(conf(pg, d, listen_port=free_port()), '-u', 'nobody')
    assert d in say and 'Permission denied' in say


def strace(weir, text, what, out, **kw):
    return weir(text, wrap=['strace', '-D', '-f', '-e', 'trace=' + what, '-o', out], **kw)


@pytest.mark.no_san      # leaks cannot be looked for under strace
def test_mode_is_set_before_anybody_can_connect(weir, pg, here, tmp_path):
    out = str(tmp_path / 'trace')
    w = strace(weir, conf(pg, here, unix_socket_mode='0700', unix_socket_group=str(os.getegid())),
               'bind,chmod,lchown,listen', out)
    with open(out) as f:
        lines = [x.split(None, 1)[1] for x in f]
    at = next(i for i, x in enumerate(lines) if x.startswith('bind(') and path(here, w.port) in x)
    fd = re.match(r'bind\((\d+)', lines[at]).group(1)
    calls = [x.split('(')[0] for x in lines[at:]]
    end = next(i for i, x in enumerate(lines[at:]) if x.startswith('listen(%s,' % fd))
    assert calls[:end + 1] == ['bind', 'lchown', 'chmod', 'listen'], lines[at:]


@pytest.mark.no_san      # leaks cannot be looked for under strace
def test_no_settings_of_tcp(weir, pg, here, tmp_path):
    out = str(tmp_path / 'trace')
    w = strace(weir, conf(pg, here), 'setsockopt', out)
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
    before = os.path.getsize(out)
    assert unix_one(w, here) == '1'
    w.term()
    w.wait()
    with open(out) as f:
        text = f.read()
    assert 'TCP_NODELAY' in text[:before]
    assert '= -1' not in text[before:], text[before:]


# ---- what is left behind --------------------------------------------------------------------

def leftovers(here, port):
    return sorted(x for x in os.listdir(here) if x.startswith('.s.PGSQL.%d' % port))


def test_second_is_refused(weir, pg, here, tmp_path):
    pidfile = tmp_path / 'pid'
    w = weir(conf(pg, here, pidfile=pidfile))
    say = refused(conf(pg, here, listen_addr='', pidfile=pidfile), '-p', str(w.port))
    assert path(here, w.port) in say and 'process %d' % w.pid in say and 'another pgweir' in say
    # nothing of the first has changed
    assert pidfile.read_text() == '%d\n' % w.pid
    assert len(leftovers(here, w.port)) == 2
    assert unix_one(w, here) == '1'


def test_second_is_refused_without_the_lock_file(weir, pg, here):
    """Somebody has tidied up: who answers is not pushed away."""
    w = weir(conf(pg, here))
    os.unlink(path(here, w.port) + '.lock')
    say = refused(conf(pg, here, listen_addr=''), '-p', str(w.port))
    assert path(here, w.port) in say and 'in use' in say
    assert leftovers(here, w.port) == ['.s.PGSQL.%d' % w.port]
    assert unix_one(w, here) == '1'


def killed(weir, text, **kw):
    """A daemon that ended by SIGKILL."""
    w = weir(text, **kw)
    w.ended = True
    w.proc.kill()
    w.proc.wait(10)
    w.stop = lambda: []         # its exit status is no complaint
    return w


def test_left_by_a_crash(weir, pg, here):
    old = killed(weir, conf(pg, here))
    assert len(leftovers(here, old.port)) == 2
    with pytest.raises(ConnectionRefusedError):
        Conn(old.port, here)
    new = weir(conf(pg, here), **on_port(old.port))
    assert psql(dsn(new, here)) == '42'
    with open(path(here, new.port) + '.lock') as f:
        assert f.readline() == '%d\n' % new.pid
    new.term()
    assert new.wait() == 0
    assert leftovers(here, new.port) == []


def test_left_by_a_crash_and_its_number_is_somebodys(weir, pg, here):
    """Process ids come again, above all in containers."""
    old = killed(weir, conf(pg, here))
    lock = path(here, old.port) + '.lock'
    with open(lock) as f:
        text = f.read()
    with open(lock, 'w') as f:
        f.write(text.replace(str(old.pid), str(os.getpid())))
    new = weir(conf(pg, here), **on_port(old.port))
    assert unix_one(new, here) == '1'


def test_lock_file_of_another_program(weir, pg, here):
    port = free_port()
    lock = path(here, port) + '.lock'

    def write(pid):
        with open(lock, 'w') as f:
            f.write('%d\n/var/lib/postgresql/15/main\n1700000000\n%d\n%s\n' % (pid, port, here))
    write(os.getpid())
    say = refused(conf(pg, here, listen_port=port))
    assert 'process %d' % os.getpid() in say and 'another program' in say
    assert leftovers(here, port) == ['.s.PGSQL.%d.lock' % port]
    p = subprocess.Popen(['true'])
    p.wait()
    write(p.pid)                # has ended
    w = weir(conf(pg, here), **on_port(port))
    assert unix_one(w, here) == '1'


@pytest.mark.skipif(not ROOT, reason='the directory is of the user of the servers')
def test_beside_a_real_postgresql(weir, pg, here, base, template):
    """Neither takes the other's socket."""
    sock = path(pg.data, pg.port)
    say = refused(conf(pg, pg.data, listen_addr='', listen_port=pg.port))
    assert sock in say and 'another program' in say
    with open(pg.data + '/postmaster.pid') as f:
        assert 'process %d' % int(f.readline()) in say
    assert psql('host=%s port=%d user=app dbname=app' % (pg.data, pg.port)) == '42'
    # and the other way
    from cluster import Postgres
    w = weir(conf(pg, here), args=['-u', 'postgres'])
    other = Postgres(base, os.path.basename(here) + '-pg', free_port()).copy_from(template)
    try:
        other.start(wait=False, options=('-k', here, '-p', str(w.port), '-c', 'listen_addresses='))
        assert other.proc.wait(30) != 0
        with open(other.log) as f:
            said = f.read()
        assert 'lock file "%s.lock" already exists' % path(here, w.port) in said
        assert '(PID %d)' % w.pid in said
    finally:
        other.stop(signal.SIGQUIT)
    assert unix_one(w, here) == '1'


@pytest.mark.parametrize('kind', ['file', 'directory', 'link to a socket'])
def test_something_else_has_the_name(weir, pg, here, kind):
    port = free_port()
    name = path(here, port)
    first = None
    if kind == 'file':
        with open(name, 'w') as f:
            f.write('mine')
    elif kind == 'directory':
        os.mkdir(name)
    else:
        first = weir(conf(pg, here))
        os.symlink(path(here, first.port), name)
    say = refused(conf(pg, here, listen_port=port))
    assert name in say and 'is no socket' in say
    assert leftovers(here, port) == ['.s.PGSQL.%d' % port]
    if first:
        assert unix_one(first, here) == '1'


@pytest.mark.parametrize('kind', ['symbolic', 'hard', 'dangling', 'directory', 'fifo'])
def test_lock_file_that_leads_elsewhere(pg, here, kind):
    """In a directory where others may write: what a link leads to is not touched."""
    port = free_port()
    victim, lock = here + '/victim', path(here, port) + '.lock'
    with open(victim, 'w') as f:
        f.write('precious\n')
    if kind == 'symbolic':
        os.symlink(victim, lock)
    elif kind == 'dangling':
        os.symlink(here + '/made', lock)
    elif kind == 'hard':
        os.link(victim, lock)
    elif kind == 'directory':
        os.mkdir(lock)
    else:
        os.mkfifo(lock)
    say = refused(conf(pg, here, listen_port=port))
    assert lock in say
    with open(victim) as f:
        assert f.read() == 'precious\n'
    assert not os.path.exists(here + '/made')
    assert not os.path.exists(path(here, port))


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_end_leaves_nothing(weir, pg, here, how):
    w = weir(conf(pg, here))
    assert unix_one(w, here) == '1'
    assert len(leftovers(here, w.port)) == 2
    w.proc.send_signal(how)
    assert w.wait() == 0
    assert os.listdir(here) == []


def test_drain_gives_the_name_free(weir, pg, here):
    """The next one may begin while the last transactions of the old one end, and keeps what
    is its own when the old one goes."""
    old = weir(conf(pg, here, listen_addr=''), **on_port(free_port()))
    c = Conn(old.port, here)
    c.sql('BEGIN')
    assert c.one('SELECT 1') == '1'
    old.term()
    until(lambda: leftovers(here, old.port) == [], why='the socket to be gone')
    assert alive(old.pid)
    new = weir(conf(pg, here, listen_addr=''), **on_port(old.port))
    assert unix_one(new, here) == '1'
    assert c.one('SELECT 2') == '2'
    c.sql('COMMIT')
    c.close()
    assert old.wait() == 0
    assert len(leftovers(here, new.port)) == 2
    assert unix_one(new, here) == '1'


def test_end_takes_only_its_own(weir, pg, here):
    """The files were removed by hand and another one has made them anew."""
    old = weir(conf(pg, here))
    for x in leftovers(here, old.port):
        os.unlink(here + '/' + x)
    new = weir(conf(pg, here, listen_addr=''), **on_port(old.port))
    old.term()
    assert old.wait() == 0
    assert len(leftovers(here, new.port)) == 2
    assert unix_one(new, here) == '1'


def test_failed_start_leaves_nothing(pg, here):
    port = free_port()
    refused(conf(pg, here, listen_port=port, unix_socket_group='no-such-group'))
    assert os.listdir(here) == []
    with socket.create_server(('127.0.0.1', port)):
        refused(conf(pg, here, listen_port=port))
    assert os.listdir(here) == []


def test_in_the_background(pg, here, tmp_path):
    """-d: the child has the lock, and the end of its parent takes nothing away."""
    port, pidfile = free_port(), tmp_path / 'pid'
    p = tmp_path / 'x.ini'
    p.write_text(conf(pg, here, listen_addr='', listen_port=port, pidfile=pidfile, logfile=tmp_path / 'log'))
    r = subprocess.run([PGWEIR, '-d', str(p)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=30 * SLOW, check=False)
    assert r.returncode == 0, r.stderr
    pid = int(pidfile.read_text())
    try:
        with open(path(here, port) + '.lock') as f:
            assert f.readline() == '%d\n' % pid
        with Conn(port, here) as c:
            assert c.one('SELECT 1') == '1'
        assert 'process %d' % pid in refused(p.read_text())
        assert pidfile.read_text() == '%d\n' % pid
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid), why='the daemon to end')
    assert os.listdir(here) == []


def test_race_for_one_name(pg, here):
    """Of several that start at once over the leftovers of a crash, one gets it."""
    port = free_port()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path(here, port))        # nobody listens
    ini_path = here + '/x.ini'
    with open(ini_path, 'w') as f:
        f.write(conf(pg, here, listen_addr='', listen_port=port))
    for _ in range(5):
        ps = [subprocess.Popen([PGWEIR, ini_path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True) for _ in range(6)]
        try:
            until(lambda: sum(p.poll() is not None for p in ps) == 5, why='five to be refused')
            up = [p for p in ps if p.poll() is None]
            assert 'ready' in up[0].stdout.readline()
            assert Conn(port, here).one('SELECT 1') == '1'
            for p in ps:
                if p is not up[0]:
                    assert p.returncode == 1 and 'in use' in p.stderr.read()
        finally:
            for p in ps:
                if p.poll() is None:
                    p.kill()        # leaves the next round what it left
                p.communicate()


# ---- sockets of the service manager -----------------------------------------------------------

@contextlib.contextmanager
def opened(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(name)
        if not name.startswith('\0'):
            os.chmod(name, 0o777)
        s.listen(10)
        yield s


def test_inherited(weir, pg, here):
    name = path(here, 16432)
    with opened(name) as s:
        # what was asked for otherwise is not opened
        w = activate(weir, conf(pg, here), [s])
        assert w.port == 16432
        assert psql(re.search(r"psql '([^']*)'", w.banner).group(1)) == '42'
        assert os.listdir(here) == ['.s.PGSQL.16432']
        w.term()
        assert w.wait() == 0
        assert os.path.exists(name), 'the socket is the service manager\'s'


def test_inherited_with_a_name_of_its_own(weir, pg, here):
    with opened(here + '/pooler.sock') as s:
        activate(weir, conf(pg, ''), [s], wait=False)
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(20)
        c.connect(here + '/pooler.sock')
        stream = wire.Stream(c)
        stream.send(wire.startup())
        assert stream.read_raw()[0] == 'R'
        c.close()


def test_inherited_abstract_in_the_uri_form(weir, pg):
    """A unix socket counts as loopback: no password, and the URI's user."""
    name = '@pgweir-test-%d-%d' % (os.getpid(), free_port())
    with opened(wire.unix_path(name, 5000)) as s:
        w = activate(weir, 'postgresql://app@127.0.0.1:%d/app' % pg.port, [s])
        assert psql('host=%s port=5000 user=whoever dbname=app' % name, 'SELECT current_user') == 'app'
        assert 'host=%s port=5000' % name in w.banner


# ---- who is at the other end -------------------------------------------------------------------

def test_many_clients(weir, pg, here):
    w = weir(conf(pg, here, workers=2, default_pool_size=5, max_client_conn=400))

    def body(i):
        with Conn(w.port, here) as c:
            c.sql('BEGIN')
            assert c.one("SELECT set_config('application_name', 'c%d', true)" % i) == 'c%d' % i
            big = c.one("SELECT repeat('x', 100000)")
            assert len(big) == 100000
            assert c.one('SHOW application_name') == 'c%d' % i
            c.sql('COMMIT')
        return True
    assert all(run_threads(200, body))


@pytest.mark.parametrize('workers', [1, 2])
def test_cancel(weir, pg, here, workers):
    w = weir(conf(pg, here, workers=workers))
    with Conn(w.port, here) as c:
        c.send(query('SELECT pg_sleep(20)'))
        until(lambda: pg.backends("usename = 'app' AND state = 'active'") == 1, why='the query to run')
        cancel(w.port, (c.key[0], c.key[1] ^ 1), here)
        cancel(w.port, c.key, here)
        msgs = c.until()
        assert [m[1]['C'] for m in msgs if m[0] == 'E'] == ['57014'] and msgs[-1] == ('Z', 'I')


def test_cancel_by_libpq(weir, pg, here):
    w = weir(conf(pg, here))
    with contextlib.closing(psycopg2.connect(dsn(w, here))) as c, c.cursor() as cur:
        def stop(_):
            until(lambda: pg.backends("usename = 'app' AND state = 'active'") == 1, why='the query to run')
            c.cancel()

        def sleep(_):
            with pytest.raises(psycopg2.errors.QueryCanceled):
                cur.execute('SELECT pg_sleep(20)')
        run_threads(2, lambda i: (stop, sleep)[i](i))


@pytest.mark.parametrize('code', [wire.CODE_SSL, wire.CODE_GSS])
def test_encryption_is_declined(weir, pg, here, code):
    w = weir(conf(pg, here))
    with Conn(w.port, here, login=False) as c:
        c.send(wire.special(code))
        assert c.take(1) == b'N'
        c.login()
        assert c.one('SELECT 1') == '1'


@pytest.mark.parametrize('mode', ['prefer', 'require', 'verify-full'])
def test_never_tls(weir, pg, here, tmp_path, mode):
    """Nothing on a unix socket can be read on the way: there is no TLS, and none is asked for."""
    os.chmod(tmp_path, 0o755)
    ca = certs.Authority(str(tmp_path), 'ca')
    cert = ca.server()
    w = weir(conf(pg, here, client_tls_sslmode=mode, client_tls_cert_file=cert.cert,
                  client_tls_key_file=cert.key, client_tls_ca_file=ca.ca))
    with Conn(w.port, here, login=False) as c:
        c.send(wire.special(wire.CODE_SSL))
        assert c.take(1) == b'N'
        c.login()
        assert c.one('SELECT 1') == '1'
    with socket.create_connection(('127.0.0.1', w.port), timeout=20) as s:
        s.sendall(wire.special(wire.CODE_SSL))
        assert s.recv(1) == b'S', 'TLS is not set up, and the above says nothing'
    with wire.dial(here, w.port) as s:      # directly: no startup packet at all
        s.sendall(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')
        assert s.recv(1) == b''
    assert psql(dsn(w, here) + ' sslmode=prefer') == '42'


def test_log_names_the_process_and_its_user(weir, pg, here):
    w = weir(conf(pg, here))
    with Conn(w.port, here) as c:
        c.sql('SELECT 1')
    line = w.wait_log('event=client_closed')[0]
    assert ' peer=unix:pid=%d,uid=%d ' % (os.getpid(), os.geteuid()) in line
    assert ' db=app user=app ' in line
    if ROOT:
        psql(dsn(w, here), user='postgres')
        w.wait_log('event=client_closed', ',uid=%d ' % pwd.getpwnam('postgres').pw_uid)


def test_scram(weir, pg, here, tmp_path):
    w = weir(auth_conf(pg, tmp_path, [('alice', 'right')], unix_socket_dir=here))
    assert unix_one(w, here, user='alice', secret='right') == '1'
    with pytest.raises(PgError) as e:
        Conn(w.port, here, user='alice', secret='wrong')
    assert e.value.code == '28P01'


# ---- the console for who runs pgweir ---------------------------------------------------------

@pytest.fixture
def console(weir, pg, here, tmp_path):
    """A daemon whose clients have passwords, and how user asks for a database of it: True when
    it is let in without one."""
    w = weir(auth_conf(pg, tmp_path, [('alice', 'x'), ('pgbouncer', 'y'), ('app', 'z')],
                       unix_socket_dir=here))

    def asks(user, database, host=here, start=w):
        with Conn(start.port, host, login=False) as c:
            c.send(wire.startup(user, database))
            m = c.read()
            assert m[0] == 'R'
            return m[1][0] == 0
    asks.weir = w
    return asks


@pytest.mark.parametrize('user', ['pgbouncer', 'pgweir'])
@pytest.mark.parametrize('database', ['pgbouncer', 'pgweir'])
def test_console_by_uid(console, here, user, database):
    assert console(user, database)
    w = console.weir
    assert psql(dsn(w, here, user, database), 'SHOW VERSION').startswith('pgweir ')
    # it may do all, not only look
    assert psql(dsn(w, here, user, database), 'PROBE') == 'PROBE'


@pytest.mark.parametrize('user,database', [
    ('pgbouncer', 'app'), ('pgweir', 'app'), ('alice', 'pgbouncer'), ('admin', 'pgweir'), ('root', 'pgweir'),
    ('pgbouncer', 'pgbouncer2'), ('Pgbouncer', 'pgbouncer'), ('pgweir', 'postgres')])
def test_console_by_uid_is_for_its_own_names(console, user, database):
    assert not console(user, database)


def test_console_by_uid_is_for_the_unix_socket(console):
    assert not console('pgbouncer', 'pgbouncer', '127.0.0.1')


@by_root
def test_console_is_not_for_other_users(console, here):
    for user in ('nobody', 'postgres'):
        say = psql(dsn(console.weir, here, 'pgbouncer', 'pgbouncer'), 'SHOW VERSION', user=user)
        assert 'no password supplied' in say


@by_root
def test_console_is_for_the_user_that_pgweir_becomes(weir, pg, here, tmp_path):
    w = weir(auth_conf(pg, tmp_path, [('alice', 'x')], unix_socket_dir=here), args=['-u', 'postgres'])
    assert psql(dsn(w, here, 'pgweir', 'pgweir'), 'SHOW VERSION', user='postgres').startswith('pgweir ')
    # not for root either: who started it, but is not what it runs as
    for user in ('root', 'nobody'):
        assert 'no password supplied' in psql(dsn(w, here, 'pgweir', 'pgweir'), 'SHOW VERSION', user=user)


def test_console_with_trust_is_for_who_is_listed(weir, pg, here):
    """Without passwords the name alone says nothing."""
    w = weir(conf(pg, here))
    with pytest.raises(PgError) as e:
        Conn(w.port, user='pgbouncer', database='pgbouncer')
    assert e.value.code == '28000'
    with Conn(w.port, here, user='pgbouncer', database='pgbouncer') as c:
        assert c.sql('SHOW VERSION')


def can_unshare():
    return ROOT and subprocess.run(['unshare', '--user', '--map-user=65534', 'true'], check=False,
                                   stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason='needs user namespaces')
def test_users_of_another_namespace_are_nobody(weir, pg, here, tmp_path):
    """In a user namespace (PrivateUsers= of systemd) all users that it does not know have the
    number 65534. If pgweir has that number itself they are not taken for it."""
    os.chmod(tmp_path, 0o755)
    w = weir(auth_conf(pg, tmp_path, [('alice', 'x')], unix_socket_dir=here),
             wrap=['unshare', '--user', '--map-user=65534'])
    assert w.status('Uid') == '0'       # from here; in there it is 65534
    for user in ('postgres', 'nobody', None):
        assert 'no password supplied' in psql(dsn(w, here, 'pgweir', 'pgweir'), 'SHOW VERSION', user=user)
    with pytest.raises(PgError):
        Conn(w.port, here, user='alice', secret='wrong')
    assert w.wait_log('event=client_closed', 'peer=unix:pid=%d,uid=? ' % os.getpid())
