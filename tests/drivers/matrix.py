"""The drivers, their programs, and how what they saw is compared.

Each program does the same with its driver: some twenty features, as users write
them, and prints `feature<TAB>what was seen` for each. It is run once against
PostgreSQL and then several copies at once through pgweir; the lines must be
the same. `raised ...` as a result is a failure wherever it appears, and
`n.a. ...` says why a driver does not have the feature.

The runner sets PGHOST, PGPORT, PGUSER, PGDATABASE and RUN_ID; a program puts
RUN_ID into every name that it creates and prints RUN instead of it.

SPDX-License-Identifier: ISC
"""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(ROOT, 'build-drivers')
COPIES = 3
POOL = 4                # one more than copies: each may be bound to one server

# Columns of the table; what a program prints beyond these is shown as "more".
FEATURES = ('connect', 'crud', 'types', 'transactions', 'prepared', 'batch', 'cursor', 'copy', 'cancel',
            'notify', 'errors', 'settings', 'temp', 'locks', 'pool')


# What is known to differ and cannot but differ in transaction pooling, shown as
# "limit": why, and what the program may have seen then. That is an error; a
# wrong answer is never known or allowed.
LIMITS = {
    ('knex', 'cancel'): (
        'Knex cancels by pg_cancel_backend() with the process number it was given at login. In transaction pooling '
        'that is no process, so nothing is cancelled; statement_timeout works.',
        'raised Error: nothing for 20 s'),
    ('php_pdo', 'lastval'): (
        'PDO::lastInsertId() without a name is lastval(). Outside a transaction it is refused with 55000 when the server '
        'has been with others since, and from then on the client keeps its server; RETURNING always works.',
        r'\|'.join(r'(%d\|no error|55000)' % i for i in range(1, 6))),
}


class Driver:
    def __init__(self, key, argv, packages, builder=None, python=False, tools=(), cwd='/', version=''):
        self.key, self.argv, self.packages, self.builder = key, argv, packages, builder
        self.cwd = cwd
        self.version = version          # the package whose version it prints as its own
        self.python = python            # part of `make check`
        self.tools = tools              # programs that are as good as the packages

    def absent(self):
        """Why it cannot be run here, or ''."""
        missing = [p for p in self.packages if not installed(p)]
        if missing and not (self.tools and all(shutil.which(t) for t in self.tools)):
            return 'not packaged here: ' + ' '.join(missing)
        return ''


def installed(package):
    r = subprocess.run(['dpkg-query', '-W', '-f', '${db:Status-Status}', package], capture_output=True, check=False)
    return r.stdout == b'installed'


def package_version(package):
    """As upstream has it: without epoch and Debian's revision."""
    if not package:
        return ''
    r = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', package], capture_output=True, check=False)
    return r.stdout.decode().split(':')[-1].split('-')[0].split('+')[0]


def py(key, *packages):
    return Driver(key, ['/usr/bin/python3', HERE + '/python/use_%s.py' % key], packages, python=True)


def run(*argv, cwd=None, **env):
    """A step of a build; its output is in the exception when it fails."""
    subprocess.run(argv, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, timeout=600, check=True)


def install(*parts):
    """Our sources in a directory of build-drivers/, which it returns."""
    out = os.path.join(OUT, parts[0])
    os.makedirs(out, exist_ok=True)
    for f in glob.glob(os.path.join(HERE, *parts, '*')):
        shutil.copy(f, out)
    return out


def build_node():
    out = install('node')
    with open(out + '/package.json') as f:
        want = f.read()
    stamp = out + '/installed'
    if os.path.exists(stamp):
        with open(stamp) as f:
            if f.read() == want:
                return
    run('npm', 'install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts', '--loglevel=error', cwd=out)
    with open(stamp, 'w') as f:
        f.write(want)


def node(key):
    return Driver(key, ['node', OUT + '/node/use_%s.js' % key], ['nodejs', 'npm'], build_node, tools=('node', 'npm'),
                  cwd=OUT + '/node')


def golang(key, package):
    def build():
        run('go', 'build', '-o', OUT + '/go/' + key, HERE + '/go/%s/main.go' % key, GO111MODULE='off',
            GOPATH='/usr/share/gocode', GOCACHE=OUT + '/go/cache', CGO_ENABLED='0')
    return Driver(key, [OUT + '/go/' + key], ['golang-go', package], build, version=package)


JAR = '/usr/share/java/postgresql.jar'


def java(key, *parameters):
    def build():
        run('javac', '-cp', JAR, '-d', OUT + '/java', HERE + '/java/Drive.java')
    return Driver(key, ['java', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-cp', JAR + ':' + OUT + '/java', 'Drive',
                        *parameters], ['default-jdk-headless', 'libpostgresql-jdbc-java'], build,
                  version='libpostgresql-jdbc-java')


def build_cpp():
    os.makedirs(OUT + '/cpp', exist_ok=True)
    run('g++', '-std=c++17', '-O1', '-Wall', '-Wno-deprecated-declarations', '-o', OUT + '/cpp/drive',
        HERE + '/cpp/drive.cc', '-lpqxx', '-lpq')


def build_rust():
    """Debian's crates and Debian's cargo, offline."""
    src = install('rust')
    run('/usr/bin/cargo', 'build', '--offline', '--quiet', '--manifest-path', src + '/Cargo.toml',
        '--config', src + '/config.toml', CARGO_HOME=src + '/home', CARGO_TARGET_DIR=src, CARGO_PROFILE_DEV_DEBUG='0',
        RUSTC='/usr/bin/rustc')


DRIVERS = [
    py('psycopg2', 'python3-psycopg2'),
    py('psycopg', 'python3-psycopg', 'python3-psycopg-pool'),
    py('psycopg_async', 'python3-psycopg', 'python3-psycopg-pool'),
    py('asyncpg', 'python3-asyncpg'),
    py('pg8000', 'python3-pg8000'),
    py('sqlalchemy', 'python3-sqlalchemy', 'python3-psycopg2'),
    py('sqlalchemy_asyncpg', 'python3-sqlalchemy', 'python3-asyncpg', 'python3-greenlet'),
    py('django', 'python3-django', 'python3-psycopg2'),
    Driver('psql', [HERE + '/psql.sh'], ['postgresql-client-15']),
    Driver('pgbench', [HERE + '/pgbench.sh'], ['postgresql-15']),
    Driver('psqlodbc', ['/usr/bin/python3', HERE + '/python/use_odbc.py'],
           ['odbc-postgresql', 'unixodbc', 'python3-pyodbc']),
    node('pg'),
    node('postgres'),
    node('sequelize'),
    node('knex'),
    node('drizzle'),
    golang('pgx', 'golang-github-jackc-pgx-v4-dev'),
    golang('libpq', 'golang-github-lib-pq-dev'),
    java('pgjdbc'),
    java('pgjdbc_threshold_1', 'prepareThreshold=1'),
    java('pgjdbc_simple', 'preferQueryMode=simple'),
    Driver('ruby_pg', ['ruby', HERE + '/ruby/drive.rb'], ['ruby', 'ruby-pg']),
    Driver('dbd_pg', ['/usr/bin/perl', HERE + '/perl/drive.pl'], ['libdbd-pg-perl']),
    Driver('libpqxx', [OUT + '/cpp/drive'], ['g++', 'libpqxx-dev', 'libpq-dev'], build_cpp, version='libpqxx-dev'),
    Driver('tokio_postgres', [OUT + '/rust/debug/drive'], ['cargo', 'librust-tokio-postgres-dev', 'librust-tokio-dev'],
           build_rust, version='librust-tokio-postgres-dev'),
    Driver('php_pdo', ['php', HERE + '/php/drive.php'], ['php-cli', 'php-pgsql']),
]


class Result:
    """What a run of a program said."""

    def __init__(self, rc, out, err):
        self.rc, self.err = rc, err
        self.version, self.lines = '', {}
        for line in out.splitlines():
            name, tab, text = line.partition('\t')
            if name == 'driver':
                self.version = text
            elif tab:
                self.lines[name] = text

    def trouble(self):
        """What is wrong with this run by itself."""
        bad = ['%s: %s' % p for p in self.lines.items() if p[1].startswith('raised')]
        if self.rc:
            bad.append('exit status %s: %s' % (self.rc, self.err[-1500:].strip()))
        if not self.lines:
            bad.append('printed no feature')
        return bad


def start(driver, port, run_id):
    env = {k: v for k, v in os.environ.items() if not k.startswith('PG')}
    env.update(PGHOST='127.0.0.1', PGPORT=str(port), PGUSER='app', PGDATABASE='app', RUN_ID=run_id,
               DRIVER_VERSION=package_version(driver.version), PYTHONDONTWRITEBYTECODE='1', TZ='UTC', LC_ALL='C.UTF-8')
    return subprocess.Popen(driver.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=env, cwd=driver.cwd, start_new_session=True)


def finish(proc, timeout):
    try:
        out, err = proc.communicate(timeout=timeout)
        rc = proc.returncode
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(proc.pid, signal.SIGKILL)     # its own session: it and its children
        out, err = proc.communicate()
        rc = 'none, it hung for %d s' % timeout
    return Result(rc, out.decode(errors='replace'), err.decode(errors='replace'))


def direct(driver, port, timeout=90):
    return finish(start(driver, port, driver.key + '_d'), timeout)


def proxied(driver, port, copies=COPIES, timeout=90):
    ps = [start(driver, port, '%s_%d' % (driver.key, i)) for i in range(copies)]
    return [finish(p, timeout) for p in ps]


def compare(ref, got):
    """{feature: what differs} of one proxied run."""
    diff = {}
    for name in [*ref.lines, *(n for n in got.lines if n not in ref.lines)]:
        a, b = ref.lines.get(name, 'nothing'), got.lines.get(name, 'nothing')
        if a != b:
            diff[name] = 'PostgreSQL: %s\npgweir:     %s' % (a, b)
    if got.rc:
        diff['exit'] = 'exit status %s: %s' % (got.rc, got.err[-1500:].strip())
    return diff


def limit(driver, feature, text):
    """Is it a difference that is known?"""
    why, may_see = LIMITS.get((driver.key, feature), ('', ''))
    return bool(why) and re.fullmatch(may_see, text) is not None


def packages(drivers=None):
    return sorted({p for d in drivers or DRIVERS for p in d.packages
                   if not (d.tools and all(shutil.which(t) for t in d.tools))})


if __name__ == '__main__':
    if sys.argv[1:] == ['--packages']:
        print('\n'.join(packages()))
