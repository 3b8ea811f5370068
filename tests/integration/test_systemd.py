"""What the service manager says and hears, and signals."""
import os
import re
import signal
import socket
import time

import pytest

import wire
from conftest import ROOT, SLOW, Spawned, alive, db, free_port, ini, until
from wire import query

pytestmark = pytest.mark.weir_only


class Notify:
    """A real notify socket."""

    def __init__(self, tmp_path, abstract=False):
        self.name = '\0pgweir-test-%d-%d' % (os.getpid(), free_port()) if abstract else str(tmp_path / 'notify')
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.name)
        if not abstract:
            os.chmod(self.name, 0o777)
        self.sock.settimeout(20 * SLOW)
        self.env = {'NOTIFY_SOCKET': self.name.replace('\0', '@')}

    def next(self, key):
        """The value of the next message that holds key=; other messages on
        the way are kept in .passed."""
        self.passed = []
        while True:
            fields = dict(x.split('=', 1) for x in self.sock.recv(4096).decode().splitlines())
            if key in fields:
                return fields
            self.passed.append(fields)


def conf(pg, **kw):
    return ini({'app': db(pg)}, **{'default_pool_size': 1, **kw})


@pytest.mark.parametrize('abstract', [False, True])
def test_ready_and_stopping(weir, pg, tmp_path, abstract):
    n = Notify(tmp_path, abstract)
    w = weir(conf(pg), env=n.env)
    assert n.next('READY')['READY'] == '1'
    # what is ready takes connections
    assert w.one('SELECT 1') == '1'
    w.term()
    assert n.next('STOPPING')['STOPPING'] == '1'
    assert w.wait() == 0


def test_ready_comes_after_listening(weir, pg, tmp_path):
    n = Notify(tmp_path)
    port = free_port()
    w = weir(conf(pg, listen_port=port), env=n.env, args=['-p', str(port)], wait=False)
    n.next('READY')
    socket.create_connection(('127.0.0.1', port), timeout=5).close()
    w.wait_ready()


def test_reloading(weir, pg, tmp_path):
    """RELOADING=1 with MONOTONIC_USEC, then READY=1, as Type=notify-reload
    wants it."""
    n = Notify(tmp_path)
    w = weir(conf(pg), env=n.env)
    n.next('READY')
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    w.hup()
    m = n.next('RELOADING')
    assert m['RELOADING'] == '1'
    assert before <= int(m['MONOTONIC_USEC']) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert n.next('READY')['READY'] == '1'


def test_reload_that_fails_is_ready_again(weir, pg, tmp_path):
    n = Notify(tmp_path)
    w = weir(conf(pg), env=n.env)
    n.next('READY')
    w.rewrite('[databases]\nbroken')
    w.hup()
    n.next('RELOADING')
    n.next('READY')
    assert w.one('SELECT 1') == '1'


def test_watchdog(weir, pg, tmp_path):
    """At least twice per interval, also when nobody is connected; and not when
    the daemon hangs (stopped: no more)."""
    n = Notify(tmp_path)
    w = weir(conf(pg), env={**n.env, 'WATCHDOG_USEC': '400000'})
    times = []
    for _ in range(6):
        n.next('WATCHDOG')
        times.append(time.monotonic())
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert max(gaps) < 0.4 * SLOW
    os.kill(w.pid, signal.SIGSTOP)
    try:
        n.sock.settimeout(0.05)
        with pytest.raises(OSError):
            while True:
                n.sock.recv(4096)
        n.sock.settimeout(0.6)
        with pytest.raises(OSError):
            n.next('WATCHDOG')
    finally:
        os.kill(w.pid, signal.SIGCONT)
    n.sock.settimeout(10)
    n.next('WATCHDOG')


def test_watchdog_for_another_process_is_ignored(weir, pg, tmp_path):
    n = Notify(tmp_path)
    weir(conf(pg), env={**n.env, 'WATCHDOG_USEC': '200000', 'WATCHDOG_PID': '1'})
    n.next('READY')
    n.sock.settimeout(0.7)
    with pytest.raises(OSError):
        n.next('WATCHDOG')


def test_notify_socket_that_is_gone_is_no_reason_to_die(weir, pg, tmp_path):
    w = weir(conf(pg), env={'NOTIFY_SOCKET': str(tmp_path / 'nobody')})
    assert w.one('SELECT 1') == '1'


ACTIVATE = '''
import os, sys
fds = [int(x) for x in sys.argv[1].split(',')]
high = [os.dup(os.dup2(f, 50 + i)) for i, f in enumerate(fds)]
for i in range(len(fds)):
    os.dup2(50 + i, 3 + i)
os.environ['LISTEN_FDS'] = str(len(fds))
os.environ['LISTEN_PID'] = sys.argv[2] if sys.argv[2] != 'self' else str(os.getpid())
os.closerange(3 + len(fds), 100)
os.execv(sys.argv[3], sys.argv[3:])
'''


def activate(weir, text, socks, pid='self', **kw):
    fds = [s.fileno() for s in socks]
    return weir(text, wrap=['/usr/bin/python3', '-c', ACTIVATE, ','.join(map(str, fds)), pid],
                popen={'pass_fds': fds}, **kw)


def test_socket_activation(weir, pg):
    with socket.create_server(('127.0.0.1', 0)) as s:
        port = s.getsockname()[1]
        # whoever knocked before it was started is served
        early = socket.create_connection(('127.0.0.1', port), timeout=20)
        w = activate(weir, conf(pg), [s])
        assert w.port == port
        c = wire.Stream(early)
        c.send(wire.startup())
        assert c.read_raw()[0] == 'R'
        assert wire.Conn(port).one('SELECT 1') == '1'
        early.close()


def test_socket_activation_tcp_and_unix(weir, pg, base):
    path = base + '/act-%d' % free_port()
    with socket.create_server(('127.0.0.1', 0)) as a, socket.socket(socket.AF_UNIX) as b:
        b.bind(path)
        os.chmod(path, 0o777)
        b.listen(10)
        w = activate(weir, conf(pg), [a, b])
        assert w.one('SELECT 1') == '1'
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        s.connect(path)
        s.sendall(wire.startup())
        head = s.recv(1)
        assert head == b'R'
        s.close()


def test_socket_beyond_loopback_needs_authentication(weir, pg):
    with socket.create_server(('0.0.0.0', 0)) as s:
        w = activate(weir, conf(pg), [s], wait=False)
        assert w.wait() == 1
        assert 'from the service manager' in w.log() and 'auth_type' in w.log()
        w.stop = lambda: []     # its exit status is no complaint


def test_listen_fds_for_another_process_are_ignored(weir, pg):
    with socket.create_server(('127.0.0.1', 0)) as s:
        w = activate(weir, conf(pg), [s], pid='1')
        assert w.port != s.getsockname()[1]
        assert w.one('SELECT 1') == '1'


def test_environment_is_not_passed_on(weir, pg):
    """LISTEN_FDS and NOTIFY_SOCKET mean this process only; it starts no other."""
    w = weir(conf(pg))
    assert w.one('SELECT 1') == '1'


# ---- SIGHUP ------------------------------------------------------------------------------

def test_reload_drops_nobody(weir, pg):
    text = ini({'app': db(pg)}, default_pool_size=1, workers=2)
    w = weir(text)
    idle, busy = w.connect(), w.connect()
    idle.sql('SELECT 1')
    busy.sql('BEGIN')
    pid = busy.one('SELECT pg_backend_pid()')
    w.rewrite(text.replace('default_pool_size = 1', 'default_pool_size = 3') + 'log_connections = 0\n')
    w.hup()
    until(lambda: dict((r['key'], r['value']) for r in w.console('SHOW CONFIG'))['default_pool_size'] == '3')
    assert busy.one('SELECT pg_backend_pid()') == pid
    # the new size holds for those who were there
    assert idle.one('SELECT 1') == '1'
    busy.sql('COMMIT')
    cs = [w.connect() for _ in range(3)]
    for c in cs:
        c.sql('BEGIN')
    for c in cs + [idle, busy]:
        c.close()


def test_reload_adds_and_removes_databases(weir, pg):
    w = weir(ini({'app': db(pg), 'old': db(pg, dbname='app')}))
    c = w.connect(database='old')
    c.sql('SELECT 1')
    w.rewrite(ini({'app': db(pg), 'new': db(pg, dbname='app')}))
    w.hup()
    until(lambda: works(w, 'new'), why='the new database')
    with pytest.raises(wire.PgError) as e:
        w.connect(database='old')
    assert e.value.code == '3D000'
    # a client of a database that is gone gets a clear end or goes on, never a hang
    try:
        c.ask(query('SELECT 1'))
    except wire.Closed:
        pass


def works(w, database):
    try:
        return w.one('SELECT 1', database=database) == '1'
    except (wire.PgError, wire.Closed):
        return False


def test_reload_moves_to_another_server(weir, pg, cluster):
    w = weir(ini({'app': db(pg)}))
    c = w.connect()
    where = "SELECT setting FROM pg_settings WHERE name = 'port'"
    assert c.one(where) == str(pg.port)
    w.rewrite(ini({'app': db(cluster.primary)}))
    w.hup()
    until(lambda: c.one(where) == str(cluster.primary.port), why='the new server to be used')
    until(lambda: pg.backends() == 0, why='the old connections to be closed')


@pytest.mark.parametrize('inherited', [False, True])
def test_reload_opens_nothing_to_everybody(weir, pg, tmp_path, inherited):
    """auth_type is for reload and listen_addr for a restart: what listens beyond loopback goes on
    to ask for passwords, whatever address the file now has."""
    users = tmp_path / 'users.txt'
    users.write_text('"app" "secret"\n')
    os.chmod(tmp_path, 0o755)
    asks = ini({'app': db(pg, user='app')}, auth_type='scram-sha-256', auth_file=users)
    trusts = ini({'app': db(pg, user='app')}, auth_type='trust', listen_addr='127.0.0.1')
    with socket.create_server(('0.0.0.0', 0)) as s:
        w = activate(weir, asks, [s]) if inherited else weir(asks.replace('[pgweir]', '[pgweir]\nlisten_addr = 0.0.0.0'))
        w.rewrite(trusts)
        w.hup()
        w.wait_log('event=reload_failed', 'auth_type')
        with pytest.raises(wire.PgError):
            w.connect(secret='wrong')
        assert w.one('SELECT 1', secret='secret') == '1'


@pytest.mark.parametrize('bad', ['[databases]\nnonsense', 'default_pool_size = x', ''])
def test_reload_of_a_bad_file_changes_nothing(weir, pg, bad):
    w = weir(conf(pg))
    w.rewrite(bad)
    w.hup()
    w.wait_log('level=error')
    assert w.one('SELECT 1') == '1'
    assert {r['key']: r['value'] for r in w.console('SHOW CONFIG')}['default_pool_size'] == '1'


def test_reload_of_what_needs_a_restart_is_told(weir, pg):
    text = conf(pg)
    w = weir(text)
    w.rewrite(text.replace('workers = 1', 'workers = 2'))
    w.hup()
    w.wait_log('workers')
    assert w.one('SELECT 1') == '1'


def test_reload_under_load(weir, pg):
    text = ini({'app': db(pg)}, default_pool_size=4, workers=2)
    w = weir(text)
    from conftest import run_threads
    stop = []

    def body(i):
        n = 0
        with w.connect() as c:
            while not stop:
                assert c.one('SELECT 1') == '1'
                n += 1
        return n
    t = Spawned(run_threads, 8, body)
    for i in range(30):
        w.rewrite(text.replace('default_pool_size = 4', 'default_pool_size = %d' % (1 + i % 6)))
        w.hup()
        time.sleep(0.03)
    stop.append(1)
    assert all(n > 10 for n in t.result())


def test_reload_in_the_uri_form_is_harmless(weir, pg):
    w = weir('postgresql://app@127.0.0.1:%d/app' % pg.port)
    w.hup()
    time.sleep(0.2)
    assert w.one('SELECT 1') == '1'


# ---- the end -------------------------------------------------------------------------------

def test_sigterm_drains(weir, pg):
    """Nobody new is let in, and everybody is served until the last one has left; nobody is told
    anything (test_orders.py has more)."""
    w = weir(conf(pg, default_pool_size=3))
    idle, busy, running = w.connect(), w.connect(), w.connect()
    idle.sql('SELECT 1')
    busy.sql('BEGIN')
    busy.sql('UPDATE kv SET v = 4242 WHERE k = 42')
    running.send(query('SELECT pg_sleep(0.6)'))
    until(lambda: pg.backends("state = 'active'") == 1)
    w.term()
    w.wait_log('event=draining')

    def refused():
        try:
            w.connect().close()
        except (wire.Closed, OSError):
            return True
        return False
    until(refused)
    assert alive(w.pid)
    assert wire.shape(running.until()) == 'T D C:SELECT 1 Z:I'
    assert busy.one('SELECT 1') == '1'
    assert wire.shape(busy.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
    assert idle.one('SELECT 2') == '2'
    for c in idle, busy, running:
        assert alive(w.pid)
        c.close()
    assert w.wait() == 0
    assert pg.one('SELECT v FROM kv WHERE k = 42') == '4242'
    until(lambda: pg.backends() == 0)


def test_sigterm_idle_ends_at_once(weir, pg):
    w = weir(conf(pg))
    w.sql('SELECT 1')
    t = time.monotonic()
    w.term()
    assert w.wait() == 0
    assert time.monotonic() - t < 2 * SLOW


def test_shutdown_timeout(weir, pg):
    w = weir(conf(pg, shutdown_timeout='0.5'))
    c = w.connect()
    c.sql('BEGIN')
    t = time.monotonic()
    w.term()
    assert w.wait() == 0
    assert 0.3 < time.monotonic() - t < 5 * SLOW
    with pytest.raises(wire.Closed):
        while True:
            assert c.read()[0] == 'E'


@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(weir, pg, second):
    w = weir(conf(pg))
    c = w.connect()
    c.sql('BEGIN')
    w.term()
    w.wait_log('event=', n=1)
    time.sleep(0.2)
    assert alive(w.pid)
    t = time.monotonic()
    w.proc.send_signal(signal.SIGTERM if second == signal.SIGTERM else signal.SIGQUIT)
    assert w.wait() == 0
    assert time.monotonic() - t < 2 * SLOW


def test_sigquit_ends_at_once(weir, pg):
    w = weir(conf(pg))
    c = w.connect()
    c.sql('BEGIN')
    c.sql('UPDATE kv SET v = 777 WHERE k = 43')
    t = time.monotonic()
    w.proc.send_signal(signal.SIGQUIT)
    assert w.wait() == 0
    assert time.monotonic() - t < 2 * SLOW
    # the server saw a closed connection, not a commit
    until(lambda: pg.backends() == 0)
    assert pg.one('SELECT v FROM kv WHERE k = 43') != '777'


def test_sigpipe_and_sigusr_do_not_kill(weir, pg):
    w = weir(conf(pg))
    w.proc.send_signal(signal.SIGPIPE)
    assert w.one('SELECT 1') == '1'


def test_sigterm_while_clients_wait_for_a_node(weir):
    """All down: those who wait are told, and it ends."""
    w = weir(ini({'app': 'host=127.0.0.1 port=%d' % free_port()}, query_wait_timeout=60, shutdown_timeout=1))
    c = wire.Conn(w.port, login=False)
    c.send(wire.startup())
    time.sleep(0.2)
    t = time.monotonic()
    w.term()
    assert w.wait() == 0
    assert time.monotonic() - t < 5 * SLOW


# ---- the unit files --------------------------------------------------------------------------

def unit(name):
    with open(ROOT + '/systemd/' + name) as f:
        return dict(re.findall(r'^(\w+)=(.*)$', f.read(), re.M))


def test_unit_files():
    s = unit('pgweir.service')
    assert s['Type'] in ('notify', 'notify-reload')
    assert float(re.match(r'\d+', s['WatchdogSec']).group()) > 0
    for key, value in (('NoNewPrivileges', 'yes'), ('ProtectSystem', 'strict'), ('ProtectHome', 'yes'),
                       ('PrivateTmp', 'yes'), ('MemoryDenyWriteExecute', 'yes')):
        assert s[key] in (value, 'true'), key
    assert '/usr/bin/pgweir' in s['ExecStart']
    assert 'ListenStream' in unit('pgweir.socket')


@pytest.mark.weir_only
def test_reload_says_what_needs_a_restart(weir, pg):
    w = weir(ini({'app': db(pg)}, workers=1))
    w.rewrite(ini({'app': db(pg)}, workers=2, default_pool_size=7))
    w.hup()
    w.wait_log('event=reloaded')
    assert [x for x in w.log_lines('needs_restart') if 'setting=workers' in x]
    assert not w.log_lines('needs_restart', 'default_pool_size')
    assert len(w.log_lines('needs_restart')) == 1
