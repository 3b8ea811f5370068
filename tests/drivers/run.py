#!/usr/bin/python3
"""The story of `make drivers`: every driver against PostgreSQL and through
pgweir, a table, and docs/drivers.md kept up to date with it.

    run.py [--keep-docs] [DRIVER...]

While the copies of a program run, strangers take servers away from them all the
time, with settings of their own, so that servers really change hands.

SPDX-License-Identifier: ISC
"""
import datetime
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import matrix  # noqa: E402
sys.path.insert(0, os.path.join(matrix.ROOT, 'tests', 'integration'))
import wire  # noqa: E402
from cluster import SETUP, SCHEMA, Postgres, make_base, tail  # noqa: E402

PGWEIR = os.environ.get('PGWEIR') or os.path.join(matrix.ROOT, 'build', 'pgweir')
DOCS = os.path.join(matrix.ROOT, 'docs', 'drivers.md')
BEGIN, END = '<!-- make drivers: begin -->', '<!-- make drivers: end -->'
T0 = time.monotonic()


class Pgweir:
    """The daemon: one database, two workers, a small pool."""

    def __init__(self, base, port):
        conf = os.path.join(base, 'pgweir.ini')
        with open(conf, 'w') as f:
            f.write('[databases]\napp = host=127.0.0.1 port=%d\n[pgweir]\nauth_type = trust\nlisten_port = 0\n'
                    'workers = 2\ndefault_pool_size = %d\nhealth_check_user = postgres\n'
                    'health_check_dbname = postgres\nquery_wait_timeout = 30\n' % (port, matrix.POOL))
        self.log = os.path.join(base, 'pgweir.log')
        with open(self.log, 'wb') as err:
            self.proc = subprocess.Popen([PGWEIR, conf], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=err, cwd='/', start_new_session=True)
        ready = select.select([self.proc.stdout], [], [], 20)[0] and self.proc.stdout.readline().decode()
        m = re.search(r'port=(\d+)', ready or '')
        if not m:
            raise RuntimeError('pgweir does not start:\n' + tail(self.log))
        self.port = int(m.group(1))

    def stop(self):
        self.proc.send_signal(signal.SIGQUIT)
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
        self.proc.stdout.close()


class Stranger(threading.Thread):
    """Another client, which takes a server, sees that its settings are its own,
    and gives it back."""
    ASK = 'SELECT pg_backend_pid(), ' + ', '.join("current_setting('%s')" % n for n in (
        'TimeZone', 'search_path', 'statement_timeout', 'work_mem'))

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port = port
        self.mine = [('Asia/Tokyo', 'America/New_York', 'Australia/Perth')[number], 'stranger_%d' % number,
                     '5%ds' % number, '1%dMB' % number]
        self.pids, self.bad = set(), []
        self.end = threading.Event()
        self.start()

    def run(self):
        try:
            with wire.Conn(self.port, user='app', database='app', timeout=60) as c:
                c.sql("SET TimeZone = '%s'; SET search_path = %s; SET statement_timeout = '%s'; SET work_mem = '%s'" %
                      tuple(self.mine))
                while not self.end.wait(0.002):
                    pid, *seen = c.sql(self.ASK)[0]
                    self.pids.add(pid)
                    if seen != self.mine and not self.bad:
                        self.bad.append('a stranger set %s and has %s' % (self.mine, seen))
        except (OSError, wire.PgError, wire.Closed) as e:
            self.bad.append('a stranger: %s' % e)

    def stop(self):
        self.end.set()
        self.join(70)
        return self.pids, self.bad


def try_driver(d, pg, weir):
    """(version, {feature: result}, [what went wrong])"""
    why = d.absent()
    if why:
        return why, None, []
    if d.builder:
        try:
            d.builder()
        except (OSError, subprocess.SubprocessError) as e:
            out = getattr(e, 'stdout', None) or b''
            return 'cannot be built', {}, ['%s: %s\n%s' % (d.key, e, out.decode(errors='replace')[-3000:])]
    ref = matrix.direct(d, pg.port)
    bad = ['%s against PostgreSQL: %s' % (d.key, t) for t in ref.trouble()]
    strangers = [Stranger(weir.port, i) for i in range(3)]
    runs = matrix.proxied(d, weir.port)
    pids = set()
    for s in strangers:
        seen, wrong = s.stop()
        pids |= seen
        bad += ['%s: %s' % (d.key, w) for w in wrong]
    if len(pids) < 2 and not bad:
        bad.append('%s: servers did not change hands' % d.key)
    cells = {n: 'n.a.' if t.startswith('n.a.') else 'ok' for n, t in ref.lines.items()}
    for i, r in enumerate(runs):
        for name, text in matrix.compare(ref, r).items():
            if matrix.limit(d, name, r.lines.get(name, '')):
                cells[name] = 'limit'
                continue
            if cells.get(name) != 'differs':
                bad.append('%s, %s differs (copy %d):\n%s' % (d.key, name, i, text))
            cells[name] = 'differs'
    return ref.version, cells, bad


def table(results):
    head = ['driver', *matrix.FEATURES, 'more']
    out = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for key, (version, cells, _) in results.items():
        if cells is None:
            continue
        more = ' '.join(n if c == 'ok' else '%s: %s' % (n, c) for n, c in cells.items() if n not in matrix.FEATURES)
        name = version if version != 'cannot be built' else '%s (%s)' % (key, version)
        out.append('| ' + ' | '.join([name, *(cells.get(f, 'n.a.') for f in matrix.FEATURES), more]) + ' |')
    limits = ['- limit, %s, %s: %s' % (*k, why) for k, (why, _) in matrix.LIMITS.items()
              if (results.get(k[0], ('', None))[1] or {}).get(k[1]) == 'limit']
    absent = ['- %s: %s' % (k, v) for k, (v, cells, _) in results.items() if cells is None]
    return '\n'.join(out + ([''] + limits + absent if limits + absent else []))


def write_docs(text):
    with open(DOCS) as f:
        old = f.read()
    a, b = old.index(BEGIN) + len(BEGIN), old.index(END)
    with open(DOCS, 'w') as f:
        f.write('%s\n%s\n%s' % (old[:a], text, old[b:]))


def main(argv):
    def leave(num, _frame):
        raise SystemExit(128 + num)
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, leave)
    wanted = [a for a in argv if not a.startswith('-')]
    drivers = [d for d in matrix.DRIVERS if not wanted or d.key in wanted]
    base, pg, weir, results = make_base(), None, None, {}
    try:
        pg = Postgres(base, 'single').init().start()
        with pg.connect(database='postgres') as c:
            for line in SETUP.strip().splitlines():
                c.sql(line)
        pg.sql(SCHEMA, user='app')
        weir = Pgweir(base, pg.port)
        for d in drivers:
            t = time.monotonic()
            results[d.key] = r = try_driver(d, pg, weir)
            cells = r[1] or {}
            print('%5.1f s  %-16s %-26s %2d ok%s%s  (%.1f s)' % (
                time.monotonic() - T0, d.key, r[0], sum(c == 'ok' for c in cells.values()),
                ''.join(', %s differs' % n for n, c in cells.items() if c == 'differs'),
                ', failed' if r[2] and 'differs' not in cells.values() else '', time.monotonic() - t), flush=True)
            for b in r[2]:
                print('         ' + b.replace('\n', '\n         '), flush=True)
            if weir.proc.poll() is not None:
                print('pgweir ended with %s:\n%s' % (weir.proc.returncode, tail(weir.log)))
                return 1
    finally:
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        for x in (weir, pg):
            if x:
                x.stop()
        shutil.rmtree(base, ignore_errors=True)
    text = table(results)
    print('\n' + text + '\n')
    ran = [r for r in results.values() if r[1] is not None]
    differ = sum(bool(r[2]) for r in ran)
    closing = 'drivers: %d drivers, %d differ%s' % (len(ran), differ, ''.join(
        ', %d %s' % p for p in ((sum('limit' in r[1].values() for r in ran), 'with a limit'),
                                (len(results) - len(ran), 'not available')) if p[0]))
    if not wanted and '--keep-docs' not in argv:
        write_docs('%s, Debian 12, PostgreSQL 15, pgweir with %d servers and 2 workers:\n\n%s\n\n%s' %
                   (datetime.date.today().isoformat(), matrix.POOL, text, closing))
    print(closing)
    return 1 if differ else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
