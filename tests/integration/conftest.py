"""PostgreSQL clusters, the daemon, and how failures are told.

    PGWEIR          the binary under test (default build/pgweir)
    PGWEIR_SAN      asan or tsan: what it was built with (limits are wider)
    PGWEIR_DIRECT   set: the `weir` fixture hands out the server itself, so that
                    the tests of what clients see are proven against PostgreSQL;
                    tests that need the daemon are skipped
    PG_BINDIR       PostgreSQL's programs (default: Debian's, 15 first)

Nothing here ends a process that it did not start, and nothing waits without a
deadline.

SPDX-License-Identifier: ISC
"""
import glob
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
from urllib.parse import urlsplit

import pytest

import wire
from cluster import (SAN, SLOW, Cluster, Postgres, Spawned, alive, free_port, make_base,
                     make_template, run_threads, tail, until)

# what tests take from here
__all__ = ['PGWEIR', 'ROOT', 'SAN', 'SLOW', 'Spawned', 'Weir', 'alive', 'db', 'free_port', 'ini',
           'run_threads', 'until', 'SECRETS']

pytest_plugins = ['crdb']       # its fixtures

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PGWEIR = os.path.abspath(os.environ.get('PGWEIR') or os.path.join(ROOT, 'build', 'pgweir'))
# With a limit of 0 for core files pgweir hides its /proc, which only root may look into then.
if os.geteuid() and resource.getrlimit(resource.RLIMIT_CORE)[1]:
    resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))
DIRECT = bool(os.environ.get('PGWEIR_DIRECT'))


def readable(f, seconds):
    """Descriptors above 1,024 too, which select() does not know."""
    p = select.poll()
    p.register(f, select.POLLIN)
    return p.poll(max(seconds, 0) * 1000)


# ---- PostgreSQL -----------------------------------------------------------------

@pytest.fixture(scope='session')
def base():
    d = make_base()
    yield d
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture(scope='session')
def template(base):
    """A directory that was set up once and is copied."""
    return make_template(base)


LIVE = []           # everything to show when a test fails


@pytest.fixture(scope='session')
def _pg(base, template):
    p = Postgres(base, 'single').copy_from(template).start()
    yield p
    p.stop(signal.SIGQUIT)


@pytest.fixture
def pg(_pg):
    """The single server, shared by all tests; each finds it without the
    connections of the one before."""
    if _pg.proc.poll() is not None:
        _pg.start()
    mark = os.path.getsize(_pg.log)
    LIVE.append(('postgres', _pg.log, mark))
    yield _pg
    if _pg.proc.poll() is None:
        _pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('app', 'other') "
                "AND backend_type = 'client backend'")


@pytest.fixture(scope='module')
def _cluster(base, template, request):
    c = Cluster(base, request.module.__name__, template)
    yield c
    c.stop()


@pytest.fixture
def cluster(_cluster):
    """Shared by a module; whatever is down or frozen is brought back first.
    Tests that promote take `new_cluster`."""
    for n in _cluster.nodes:
        if n.proc.poll() is not None:
            n.start()
        elif n.stopped:
            n.cont()
        LIVE.append((n.name, n.log, os.path.getsize(n.log)))
    for n in _cluster.nodes:
        n.wait_ready()
    yield _cluster


_numbers = iter(range(1, 1000000))


@pytest.fixture
def new_cluster(base, template):
    c = Cluster(base, 'own%d' % next(_numbers), template)
    for n in c.nodes:
        LIVE.append((n.name, n.log, 0))
    yield c
    c.stop()


# Users of scram_pg. The password of each is its name backwards and a !.
SECRETS = {'u_trust': 'tsurt_u!', 'u_plain': 'nialp_u!', 'u_md5': '5dm_u!', 'u_scram': 'marcs_u!'}


@pytest.fixture(scope='session')
def scram_pg(base, template):
    """A server that asks each user of SECRETS in another way."""
    p = Postgres(base, 'secrets').copy_from(template)
    p.hba('''local all all trust
host all postgres 127.0.0.1/32 trust
host all u_trust 127.0.0.1/32 trust
host all u_plain 127.0.0.1/32 password
host all u_md5 127.0.0.1/32 md5
host all u_scram 127.0.0.1/32 scram-sha-256
''')
    p.start()
    for u, s in SECRETS.items():
        enc = 'md5' if u == 'u_md5' else 'scram-sha-256'
        p.sql("SET password_encryption = '%s'; CREATE ROLE %s LOGIN PASSWORD '%s'; "
              "GRANT pg_monitor TO %s" % (enc, u, s, u))
    yield p
    p.stop(signal.SIGQUIT)


# ---- the daemon -------------------------------------------------------------------

def ini(databases, users=(), section='pgweir', **settings):
    """The text of an ini file for tests: trust, an admin, quick checks, and no pauses after
    failed logins (test_throttle.py has them)."""
    s = {'auth_type': 'trust', 'admin_users': 'admin', 'health_check_user': 'postgres',
         'health_check_dbname': 'postgres', 'workers': 1, 'listen_port': 0,
         'login_throttle_base': 0, **settings}
    out = ['[databases]']
    out += ['%s = %s' % d for d in dict(databases).items()]
    if users:
        out += ['[users]'] + ['%s = %s' % u for u in dict(users).items()]
    out += ['[%s]' % section]
    out += ['%s = %s' % (k, v) for k, v in s.items() if v is not None]
    return '\n'.join(out) + '\n'


def db(*servers, **kw):
    """A [databases] value for these servers (anything with .port)."""
    kw = {'host': ','.join('127.0.0.1' for _ in servers),
          'port': ','.join(str(s.port) for s in servers), **kw}
    return ' '.join('%s=%s' % p for p in kw.items())


class Weir:
    """A running daemon."""

    direct = False

    def __init__(self, base, conf, args=(), env=None, popen=None, wait=True, wrap=()):
        self.dir = tempfile.mkdtemp(prefix='weir-', dir=base)
        os.chmod(self.dir, 0o755)
        self.path = None
        self.uri = conf.startswith('postgres') or '=' in conf.split('\n')[0] and '[' not in conf
        if not self.uri:
            self.path = self.dir + '/pgweir.ini'
            with open(self.path, 'w') as f:
                f.write(conf)
        self.logfile = self.dir + '/log'
        self.ended = False
        opts = 'log_path=%s/san:exitcode=66:halt_on_error=1:detect_leaks=1' % self.dir
        self.env = {**os.environ, 'ASAN_OPTIONS': opts, 'TSAN_OPTIONS': opts.replace(':detect_leaks=1', ''),
                    'UBSAN_OPTIONS': opts + ':print_stacktrace=1', **(env or {})}
        for k in ('NOTIFY_SOCKET', 'LISTEN_FDS', 'LISTEN_PID', 'WATCHDOG_USEC'):
            if not env or k not in env:
                self.env.pop(k, None)
        argv = [*wrap, PGWEIR, conf if self.uri else self.path]
        if '-p' not in args:
            argv += ['-p', '0']
        argv += list(args)
        self.argv = argv
        with open(self.logfile, 'wb') as err:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=err, env=self.env, cwd='/', **(popen or {}))
        self.port = None
        self.banner = ''
        LIVE.append(('pgweir %s' % ' '.join(argv[len(wrap):]), self.logfile, 0))
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise

    pid = property(lambda self: self.proc.pid)

    def wait_ready(self, timeout=20):
        end = time.monotonic() + timeout * SLOW
        got = b''
        while b'\n' not in got:
            left = end - time.monotonic()
            if left <= 0:
                pytest.fail('pgweir printed no ready line within %d s' % (timeout * SLOW))
            if readable(self.proc.stdout, left):
                more = os.read(self.proc.stdout.fileno(), 65536)
                if not more:
                    self.proc.wait(10)
                    pytest.fail('pgweir ended at start with %d:\n%s' % (self.proc.returncode, self.log()))
                got += more
        self.banner = got.decode()
        m = re.search(r'port=(\d+)', self.banner)
        assert m, 'no port in the ready line: %r' % self.banner
        self.port = int(m.group(1))

    def log(self):
        with open(self.logfile, errors='replace') as f:
            return f.read()

    def log_lines(self, *parts):
        """Log lines that hold all these strings."""
        return [x for x in self.log().splitlines() if all(p in x for p in parts)]

    def wait_log(self, *parts, n=1, timeout=10):
        return until(lambda: len(self.log_lines(*parts)) >= n and self.log_lines(*parts), timeout,
                     why='log lines with %s' % (parts,))

    def connect(self, user='app', database='app', **kw):
        return wire.Conn(self.port, user=user, database=database, **kw)

    def sql(self, text, **kw):
        with self.connect(**kw) as c:
            return c.sql(text)

    def one(self, text, **kw):
        return self.sql(text, **kw)[0][0]

    def dsn(self, user='app', database='app'):
        return 'host=127.0.0.1 port=%d user=%s dbname=%s' % (self.port, user, database)

    def console(self, text, user='admin'):
        """The console's answer as dictionaries."""
        with self.connect(user, 'pgweir') as c:
            names, out, err = [], [], None
            for m in c.ask(wire.query(text)):
                if m[0] == 'T':
                    names = m[1]
                elif m[0] == 'D':
                    out.append(dict(zip(names, m[1])))
                elif m[0] == 'E':
                    err = wire.PgError(m[1])
            if err:
                raise err
            return out

    def retries(self):
        """SHOW RETRIES: the counters by name."""
        return {r['name']: int(r['value']) for r in self.console('SHOW RETRIES')}

    def pool(self, database='app', user=None):
        for row in self.console('SHOW POOLS'):
            if row.get('database') == database and (user is None or row.get('user') == user):
                return row
        return None

    def pool_waiting(self):
        """Clients that wait for a server, by SHOW POOLS."""
        return sum(int(r.get('cl_waiting') or 0) for r in self.console('SHOW POOLS'))

    def status(self, key):
        with open('/proc/%d/status' % self.pid) as f:
            return next(x.split()[1] for x in f if x.startswith(key + ':'))

    def rss_peak_kb(self):
        return int(self.status('VmHWM'))

    def fds(self):
        return len(os.listdir('/proc/%d/fd' % self.pid))

    def rewrite(self, text):
        with open(self.path, 'w') as f:
            f.write(text)

    def hup(self):
        self.proc.send_signal(signal.SIGHUP)

    def term(self):
        self.proc.send_signal(signal.SIGTERM)

    def wait(self, timeout=15):
        self.ended = True
        try:
            return self.proc.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            pytest.fail('pgweir still runs after %g s' % (timeout * SLOW))

    def reports(self):
        return [tail(f, 200) for f in glob.glob(self.dir + '/san*')]

    def stop(self):
        """Ends it and says what went wrong: a list of complaints."""
        bad = []
        if self.proc.poll() is None:
            # SIGINT waits for servers in use; the second one ends at once
            self.proc.send_signal(signal.SIGINT)
            try:
                self.proc.wait(0.3)
            except subprocess.TimeoutExpired:
                self.proc.send_signal(signal.SIGINT)
            try:
                self.proc.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                bad.append('did not end within %d s of the second SIGINT' % (20 * SLOW))
                self.proc.kill()
                self.proc.wait(10)
        elif not self.ended:
            bad.append('had ended by itself')
        rc = self.proc.returncode
        if rc != 0 and not bad:
            bad.append('exit status %d' % rc)
        if rc == 66 or self.reports():
            bad += ['sanitizer report:\n' + r for r in self.reports()]
        self.proc.stdout.close()
        return bad


class Direct:
    """What `weir` hands out when PGWEIR_DIRECT is set: the server itself."""

    direct = True

    def __init__(self, conf):
        if conf.startswith('postgres'):
            u = urlsplit(re.sub(r',[^/]*', '', conf))
            self.port = u.port
        else:
            self.port = int(re.search(r'\bport\s*=\s*\'?(\d+)', conf).group(1))

    connect, sql, one, dsn = Weir.connect, Weir.sql, Weir.one, Weir.dsn

    def stop(self):
        return []

    def __getattr__(self, name):
        pytest.skip('needs the daemon (%s)' % name)


@pytest.fixture
def weir(base):
    """weir(CONF, ...) starts a daemon; all are ended after the test, which
    fails when one of them crashed, hung, or a sanitizer complained."""
    started = []

    def make(conf, **kw):
        if DIRECT:
            return Direct(conf)
        wait = kw.pop('wait', True)
        w = Weir(base, conf, wait=False, **kw)
        started.append(w)      # before anything can fail: it must be ended
        if wait:
            w.wait_ready()
        return w
    try:
        yield make
    finally:
        bad = []
        for w in started:
            bad += ['pgweir %s' % b for b in w.stop()]
        shown = ''.join('\n---- log\n' + tail(w.logfile, 60) for w in started) if bad else ''
        for w in started:
            shutil.rmtree(w.dir, ignore_errors=True)
    if bad:
        pytest.fail('\n'.join(bad) + shown, pytrace=False)


@pytest.fixture
def fake(weir):
    """fake(script, **settings): a daemon before a scripted server."""
    fakes = []

    def make(script, **kw):
        f = wire.FakeServer(script)
        fakes.append(f)
        return weir(ini({'app': db(f)}, **{'health_check_interval': 3600, 'default_pool_size': 1,
                                           'query_wait_timeout': 3, **kw})), f
    yield make
    for f in fakes:
        f.close()


@pytest.fixture
def one(weir, pg):
    """The usual: one server, one worker, a pool of 20."""
    return weir(ini({'app': db(pg, dbname='app'), 'app2': db(pg, dbname='app2')}))


# ---- how failures are told ----------------------------------------------------------

@pytest.fixture(autouse=True)
def _live():
    del LIVE[:]
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    rep = (yield).get_result()
    if rep.failed and call.when in ('setup', 'call'):
        for name, path, mark in LIVE:
            try:
                with open(path, errors='replace') as f:
                    f.seek(mark)
                    text = f.read()[-6000:]
            except OSError:
                continue
            rep.sections.append(('log of ' + name, text))


def pytest_collection_modifyitems(items):
    for item in items:
        if DIRECT and item.get_closest_marker('weir_only') and not item.get_closest_marker('direct_too'):
            item.add_marker(pytest.mark.skip(reason='about the daemon itself'))
        if SAN and item.get_closest_marker('no_san'):
            item.add_marker(pytest.mark.skip(reason='says nothing under a sanitizer'))
        if SLOW > 1:
            item.add_marker(pytest.mark.timeout(300))


def pytest_configure(config):
    config.addinivalue_line('markers', 'weir_only: says nothing about a server reached directly')
    config.addinivalue_line('markers', 'direct_too: in a module that is weir_only, this one is not')
    config.addinivalue_line('markers', 'no_san: measures what a sanitizer changes')
    if not DIRECT and not os.path.exists(PGWEIR):
        pytest.exit('%s is not there: make' % PGWEIR, 2)
