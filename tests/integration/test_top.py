"""`pgweir top` in a terminal (python3-pyte shows what one would), against real daemons.

SPDX-License-Identifier: ISC
"""
import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import termios
import time

import pytest

import wire
from cluster import AS_POSTGRES
from conftest import PGWEIR, SLOW, db, free_port, ini, readable, until

pyte = pytest.importorskip('pyte', reason='python3-pyte is not installed')
pytestmark = pytest.mark.weir_only


class Top:
    """It, in a terminal of this size."""

    def __init__(self, port, *args, size=(80, 24), user='admin', env=None, host='127.0.0.1'):
        self.screen = pyte.Screen(*size)
        self.stream = pyte.Stream(self.screen)
        self.decode = codecs.getincrementaldecoder('utf-8')('replace')
        self.raw = b''
        self.fd, tty = pty.openpty()
        self.resize(*size, tell=False)
        self.before = termios.tcgetattr(tty)
        self.tty = tty
        argv = [PGWEIR, 'top', '-h', host, '-p', str(port), '-U', user, '-s', '0.1', *args]
        self.proc = subprocess.Popen(argv, stdin=tty, stdout=tty, stderr=tty, start_new_session=True,
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                     env={**clean_env(), 'TERM': 'xterm-256color', 'LC_ALL': 'C.UTF-8', **(env or {})})

    def resize(self, w, h, tell=True):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', h, w, 0, 0))
        if tell:
            self.screen.resize(h, w)

    def read(self, seconds=0.05):
        """What has come, onto the screen."""
        while readable(self.fd, seconds):
            try:
                more = os.read(self.fd, 65536)
            except OSError:         # the other end is closed
                return False
            if not more:
                return False
            self.raw += more
            self.stream.feed(self.decode.decode(more))
            seconds = 0
        return True

    def text(self):
        return '\n'.join(x.rstrip() for x in self.screen.display).rstrip('\n')

    def wait(self, *parts, gone=(), timeout=10):
        """Until all of these are on the screen and none of those."""
        def there():
            self.read()
            t = self.text()
            return all(re.search(p, t, re.M) for p in parts) and not any(re.search(p, t, re.M) for p in gone) and t
        end = time.monotonic() + timeout * SLOW
        while time.monotonic() < end:
            t = there()
            if t:
                return t
        pytest.fail('%s (not %s) is not on the screen:\n%s' % (parts, gone, self.text()))

    def keys(self, text):
        os.write(self.fd, text.encode())

    def end(self, timeout=10):
        """Its exit status, all that it wrote read."""
        stop = time.monotonic() + timeout * SLOW
        while self.proc.poll() is None and time.monotonic() < stop:
            self.read()
        self.read()
        return self.proc.wait(0.1)

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait(10)
        os.close(self.fd)
        os.close(self.tty)


def clean_env():
    return {k: v for k, v in os.environ.items() if not k.startswith(('PG', 'LC_', 'LANG', 'NO_COLOR', 'COLORTERM')) or k.startswith('PGWEIR')}


@pytest.fixture
def top():
    made = []

    def make(*args, **kw):
        made.append(Top(*args, **kw))
        return made[-1]
    yield make
    for t in made:
        t.close()


@pytest.fixture
def busy(weir, pg):
    """A daemon with three databases, a pool that is full and clients that wait."""
    w = weir(ini({'app': db(pg, dbname='app', pool_size=2), 'app2': db(pg, dbname='app2', pool_size=5), 'third': db(pg, dbname='app', pool_size=7)}))
    held = [w.connect() for _ in range(2)] + [w.connect('other', 'app2')]
    for c in held:
        c.sql('BEGIN; SELECT 1')
    waiting = [w.connect() for _ in range(3)]
    for c in waiting:
        c.send(wire.query('SELECT 1'))
    until(lambda: w.pool_waiting() == 3)
    yield w
    for c in held + waiting:
        c.close()


# ---- what stands there -----------------------------------------------------------------

NODE = r'^127\.0\.0\.1:%d +up +primary +[\d.]+ .?s +3 +0$'
FULL = r'^app +app +2 +0 +3 +2 +[\d.]+ (ms|s) +2( |$)'


def test_nodes_and_pools(busy, pg, top):
    t = top(busy.port)
    page = t.wait(NODE % pg.port, FULL, r'^Traffic .*[\d.]+ queries/s').splitlines()
    assert re.match(r'pgweir \S+  127\.0\.0\.1:%d .* 0\.1 s  \d\d:\d\d:\d\d$' % busy.port, page[0])
    assert re.match(r'Waiting +3 waiting  longest [\d.]+ (ms|s)', page[3]), page[3]
    assert re.match(r'app2 +other +1 +0 +0 +5 +0 +1', page[page.index(next(x for x in page if x.startswith('app '))) + 1])
    assert page[-1].startswith('q quit  ? help')
    t.keys('q')
    assert t.end() == 0


def test_traffic_is_what_clients_do(weir, pg):
    """A client that asks all the time is seen on most pages."""
    w = weir(ini({'app': db(pg, dbname='app')}))
    p = subprocess.Popen([PGWEIR, 'top', '-h', '127.0.0.1', '-p', str(w.port), '-U', 'admin', '-b', '-n', '40', '-s', '0.1'],
                         stdout=subprocess.PIPE, text=True, env=clean_env())
    with w.connect() as c:
        while p.poll() is None:
            c.sql('SELECT 1')
    out = p.stdout.read()
    p.stdout.close()
    rates = [float(x.replace(',', '')) for x in re.findall(r'^Traffic +([\d.,]+) queries/s', out, re.M)]
    assert p.returncode == 0 and len(rates) == 40
    assert sum(x > 10 for x in rates) > 20, rates
    # and how long they took
    assert re.search(r'query p99 [\d.]+ (us|ms|s)  ', out)
    assert re.search(r'^ +[▁-█]{20,} +up to [\d.,]+ queries/s$', out, re.M) or '#' in out


@pytest.mark.parametrize('size', [(132, 50), (80, 24), (60, 18), (40, 12), (24, 8), (10, 3), (1, 1)])
def test_sizes(busy, pg, top, size):
    """Nothing is wider than the terminal: what is told row by row ends up in these rows. From
    40x12 on nodes, states, who waits and pools are there."""
    t = top(busy.port, size=size)
    if size[0] < 40:
        until(lambda: t.read() and t.text())
    else:
        page = t.wait(r'3 waiting', r'^NODE +STATE', r'^127\.0\.0\.1:%d +up' % pg.port, r'^DATABASE', r'^app +(app +)?2 +0 +3').splitlines()
        assert page[0].startswith('pgweir ') and page[-1].startswith('q quit')
        assert len(page) <= size[1]
    t.keys('q')
    assert t.end() == 0


def test_another_size_while_it_runs(busy, top):
    t = top(busy.port)
    assert t.wait(FULL)
    t.resize(44, 12)
    page = t.wait(r'^app +2 +0 +3', r'^DATABASE +USED')
    assert max(len(x) for x in page.splitlines()) <= 44
    t.resize(140, 30)
    assert t.wait(FULL, r'[█▒·]{20}$', r'replays given up')


def test_keys(weir, pg, top):
    names = ['db%02d' % i for i in range(30)]
    w = weir(ini({n: db(pg, dbname='app') for n in names}))
    held = []
    for n in names:
        c = w.connect('app', n)
        c.sql('SELECT 1')
        held.append(c)
    held[17].sql('BEGIN; SELECT 1')
    t = top(w.port)
    # who uses servers stands first; what does not fit is counted
    page = t.wait(r'^db17 +app +1 ', r'^db00 +app', r'^\.\.\. \d+ more$')
    assert page.index('db17') < page.index('db00') and 'db29' not in page
    t.keys('j\x1b[6~')
    t.wait(r'^db10 ', gone=[r'^db17 ', r'^db09 '])
    t.keys('\x1b[H')
    t.wait(r'^db17 ')
    t.keys('ssss')
    page = t.wait(r'pools by name', r'^db00 ')
    assert page.index('db00') < page.index('db01')
    t.keys('r')
    t.wait(r'^db29 ', r'reversed', gone=[r'^db00 '])
    t.keys('n')
    t.wait(r'nodes by state')
    t.keys('?')
    t.wait(r'^space, p +pause', gone=[r'^db29 '])
    t.keys('?-')
    t.wait(r'^db29 ', r' 0\.1 s ')
    t.keys('+')
    t.wait(r' 0\.2 s ')
    # while it pauses nothing changes
    t.keys(' ')
    t.wait(r'PAUSED', r'space go on')
    held[17].sql('COMMIT')
    t.keys('rssss')
    t.wait(r'pools by longest')
    t.keys('sss')
    t.wait(r'^db17 +app +1 ')
    t.keys(' ')
    t.wait(r'^db00 +app +0 ', gone=[r'PAUSED', r'^db17 '])
    for c in held:
        c.close()


def test_a_node_that_is_down(weir, pg, top):
    port = free_port()
    w = weir(ini({'app': 'host=127.0.0.1,127.0.0.1 port=%d,%d dbname=app' % (pg.port, port)}, health_check_interval=0.1))
    t = top(w.port)
    t.wait(r'^127\.0\.0\.1:%d +down ' % port, r'^127\.0\.0\.1:%d +up ' % pg.port)
    # in red, the other in green
    rows = {r.split()[0]: y for y, r in enumerate(t.screen.display) if r.startswith('127.')}
    at = t.screen.display[rows['127.0.0.1:%d' % port]].index('down')
    assert t.screen.buffer[rows['127.0.0.1:%d' % port]][at].fg == 'red'
    assert t.screen.buffer[rows['127.0.0.1:%d' % pg.port]][at].fg == 'green'
    t.keys('n')
    page = t.wait(r'nodes by state')
    assert page.index(':%d' % port) < page.index(':%d' % pg.port)


# ---- terminals ---------------------------------------------------------------------------

@pytest.mark.parametrize('env', [{'NO_COLOR': '1'}, {'TERM': 'vt100'}, {'TERM': 'xterm-mono'}])
def test_without_colours(busy, top, env):
    t = top(busy.port, env=env)
    t.wait(FULL)
    assert not re.search(rb'\x1b\[[\d;]*3\d', t.raw)


@pytest.mark.parametrize('args, env', [(['--ascii'], {}), ([], {'LC_ALL': 'C'})])
def test_ascii(busy, top, args, env):
    t = top(busy.port, *args, env=env, size=(140, 30))
    t.wait(FULL, r'#{20}$', r'####\.{16}$')
    assert max(t.raw) < 128


def test_names_cannot_steer_the_terminal(weir, pg, top):
    """A name comes from whoever connects."""
    w = weir(ini({'*': db(pg, dbname='app')}))
    names = ('x\x1b]0;title\x07\x1b[2J', 'a\nb', 'grün', '漢字漢字', 'e\u0301\u202eright', b'\xff\xfe\x9b2J'.decode('latin1'))
    held = [w.connect('app', n) for n in names]
    for c in held:
        c.send(wire.query('SELECT 1'))
    t = top(w.port)
    t.wait(r'^x\?\]0;title\?\?\[2J +app +\d', r'^a\?b +app +\d', r'^grün +app +\d', r'^漢字漢字 +app +\d', r'^e\?\?right +app +\d')
    assert b'\x1b]' not in t.raw and b'\x07' not in t.raw and b'\xc2\x9b' not in t.raw
    for c in held:
        c.close()


def leaves_it_as_it_was(t):
    assert termios.tcgetattr(t.tty) == t.before
    assert t.raw.endswith(b'\x1b[?25h\x1b[?1049l')


@pytest.mark.parametrize('how', ['q', '\x03', '\x04', signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_leaves_the_terminal_as_it_was(busy, top, how):
    t = top(busy.port)
    t.wait(FULL)
    assert termios.tcgetattr(t.tty) != t.before
    if isinstance(how, str):
        t.keys(how)
    else:
        t.proc.send_signal(how)
    assert t.end() == 0
    leaves_it_as_it_was(t)


def test_suspended(busy, top):
    t = top(busy.port)
    t.wait(FULL)
    t.keys('\x1a')
    until(lambda: t.read() and state(t.proc.pid) == 'T')
    leaves_it_as_it_was(t)
    t.proc.send_signal(signal.SIGCONT)
    t.screen.reset()
    t.wait(FULL)
    t.keys('q')
    assert t.end() == 0


def state(pid):
    with open('/proc/%d/stat' % pid) as f:
        return f.read().rsplit(')', 1)[1].split()[0]


# ---- the connection ------------------------------------------------------------------------

def test_a_daemon_that_goes_and_comes_back(weir, pg, top):
    conf = ini({'app': db(pg, dbname='app')}, listen_port=free_port())
    port = int(re.search(r'listen_port = (\d+)', conf).group(1))
    w = weir(conf, args=['-p', str(port)])
    t = top(port)
    t.wait(r'^127\.0\.0\.1:%d +up' % pg.port)
    w.term()
    assert w.wait() == 0
    t.wait(r'^not connected, trying again: ', gone=[r'^NODE'])
    again = weir(conf, args=['-p', str(port)])
    t.wait(r'^127\.0\.0\.1:%d +up' % pg.port, gone=[r'not connected'])
    assert again.port == port
    t.keys('q')
    assert t.end() == 0


def run(*args, env=None, **kw):
    return subprocess.run([PGWEIR, 'top', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=30 * SLOW, env={**clean_env(), **(env or {})}, **kw)


def test_nobody_there():
    out = run('--once', '-h', '127.0.0.1', '-p', str(free_port()))
    assert out.returncode == 1 and out.stdout == '' and 'Connection refused' in out.stderr


def test_who_may_not(busy):
    out = run('--once', '-h', '127.0.0.1', '-p', str(busy.port), '-U', 'app')
    assert out.returncode == 1 and out.stdout == '' and 'app' in out.stderr


@pytest.mark.parametrize('args, says', [
    (['--interval', '0'], 'from 0.1 to 3600'), (['-n', 'x'], 'from 1 on'), (['a=b', 'c=d'], 'more than one'), (['--what'], '--help'),
    (['/nonexistent.ini'], 'No such file')])
def test_wrong_options(args, says):
    out = run(*args)
    assert out.returncode == 1 and says in out.stderr, out.stderr


def test_help():
    out = run('--help')
    assert out.returncode == 0 and out.stdout.startswith('pgweir top: ') and out.stderr == ''


def test_for_scripts(busy, pg):
    """One page of plain text: from a file, a connection string, the environment."""
    for out in (run('--once', '-s', '0.1', busy.path, '-p', str(busy.port)),
                run('--once', '-s', '0.1', 'host=127.0.0.1 port=%d user=admin dbname=pgweir' % busy.port),
                run('--once', '-s', '0.1', env={'PGHOST': '127.0.0.1', 'PGPORT': str(busy.port), 'PGUSER': 'admin'})):
        assert (out.returncode, out.stderr) == (0, '')
        assert '\x1b' not in out.stdout
        for want in (NODE % pg.port, FULL, r'^Waiting +3 waiting', r'^app2 +other +1 '):
            assert re.search(want, out.stdout, re.M), out.stdout


def test_a_password(weir, pg, top, tmp_path):
    """Asked for, and not shown."""
    (tmp_path / 'users.txt').write_text('"admin" "word"\n')
    w = weir(ini({'app': db(pg, dbname='app')}, auth_type='scram-sha-256', auth_file=tmp_path / 'users.txt'))
    t = top(w.port)
    t.wait(r'^Password for the console at 127\.0\.0\.1:%d:' % w.port)
    t.keys('word\n')
    t.wait(r'^127\.0\.0\.1:%d +up' % pg.port)
    assert b'word' not in t.raw.replace(b'Password', b'')
    out = run('--once', '-s', '0.1', '-h', '127.0.0.1', '-p', str(w.port), '-U', 'admin', start_new_session=True)
    assert out.returncode == 1 and 'password' in out.stderr


def test_pgbouncers_console_too(pg, base):
    """It has no nodes and fewer numbers; what it has is shown."""
    port = free_port()
    d = tempfile.mkdtemp(dir=base)
    with open(d + '/u', 'w') as f:
        f.write('"app" ""\n"admin" ""\n')
    with open(d + '/b.ini', 'w') as f:
        f.write('[databases]\napp = host=127.0.0.1 port=%d dbname=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n'
                'unix_socket_dir =\nauth_type = trust\nauth_file = %s/u\nadmin_users = admin\npool_mode = transaction\n' % (pg.port, port, d))
    os.chmod(d, 0o755)
    p = subprocess.Popen([*AS_POSTGRES, 'pgbouncer', '-q', d + '/b.ini'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def answers():
            with contextlib.suppress(OSError):
                return wire.Conn(port, user='app', database='app')
        with until(answers) as c:
            c.sql('BEGIN; SELECT 1')
            out = run('--once', '-s', '0.1', '-h', '127.0.0.1', '-p', str(port), '-U', 'admin', '-d', 'pgbouncer')
        assert (out.returncode, out.stderr) == (0, ''), out.stderr
        assert out.stdout.startswith('PgBouncer 1.')
        assert re.search(r'^app +app +1 +0 +0 +- +0 +1', out.stdout, re.M), out.stdout
        assert re.search(r'^Traffic +[\d.]+ queries/s  [\d.]+ transactions/s', out.stdout, re.M)
        assert not re.search('^NODE', out.stdout, re.M)
    finally:
        p.terminate()
        p.wait(10)
