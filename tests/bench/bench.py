#!/usr/bin/python3
"""Cost, memory and latency of pgweir beside a naive relay, pgbouncer, haproxy and
pgpool2, on this machine, in one run.

    bench.py [CASE ...] [--rounds N] [--seconds N] [--markdown]

Rounds are interleaved, and medians shown. The load generator, the server and the
proxy share the processors: what can be compared is a proxy's own processor time,
and ratios of it. Nothing here is asserted.

SPDX-License-Identifier: ISC
"""
import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'integration'))
sys.dont_write_bytecode = True

import cases  # noqa: E402
import load  # noqa: E402
import page  # noqa: E402
import peers  # noqa: E402
from cluster import BIN, Postgres, make_base, make_template  # noqa: E402


class Bench:
    """A server, and a directory for what the proxies need."""

    def __init__(self, rounds, seconds):
        self.rounds, self.seconds = rounds, seconds
        self.files = peers.files_hard()
        self.dir = make_base()
        os.chmod(self.dir, 0o755)
        self.tls, self.count = None, 0
        self.write('pipeline.sql', load.PIPELINE)
        self.pg = None

    def start(self):
        template = make_template(self.dir)
        template.settings("max_connections = 1200\nshared_buffers = '256MB'\nfsync = off")
        self.pg = Postgres(self.dir, 'bench').copy_from(template)
        self.pg.start()
        subprocess.run([BIN + '/pgbench', '-i', '-q', '-s', '10', '-h', '127.0.0.1', '-p', str(self.pg.port), '-U',
                        'app', 'app'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        out = subprocess.run(['/usr/sbin/pgbouncer', '--version'], stdout=subprocess.PIPE, check=False).stdout.decode()
        self.bouncer = out.split()[1]
        self.bouncer_prepares = tuple(map(int, self.bouncer.split('.')[:2])) >= (1, 21)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        os.chmod(self.path(name), 0o644)
        return self.path(name)

    @contextlib.contextmanager
    def with_tls(self):
        """What is started meanwhile offers TLS."""
        cert, key = self.path('server.crt'), self.path('server.key')
        if not os.path.exists(cert):
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                            '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            os.chmod(key, 0o644)
        self.tls = cert, key
        try:
            yield
        finally:
            self.tls = None

    def number(self):
        self.count += 1
        return self.count

    def close(self):
        if self.pg:
            self.pg.stop(signal.SIGQUIT)
        shutil.rmtree(self.dir, ignore_errors=True)


def show(t):
    print('\n%s' % t.title)
    if t.said:
        print('  ' + t.said)
    wide = max([len(n) for n, _ in t.rows] + [0])
    print('  %-*s  %s' % (wide, '', '  '.join(t.head)))
    for name, cells in t.rows:
        print('  %-*s  %s' % (wide, name, '  '.join('%*s' % (len(h), c) for h, c in zip(t.head, cells))))
    for what, got, most in t.verdicts:
        print('  %-50s %6.2f (aim: at most %.2f)%s' % (what, got, most, '' if got <= most else '  MISSED'))
    sys.stdout.flush()


def main():
    names = [n for n in dir(cases) if hasattr(getattr(cases, n), 'case')]
    p = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    p.add_argument('case', nargs='*', choices=[[], *names])
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float, default=4)
    p.add_argument('--markdown', action='store_true', help='writes docs/performance.md too')
    a = p.parse_args()
    b = Bench(a.rounds, int(a.seconds))
    try:
        b.start()
        for n in a.case or sorted(names, key=lambda n: getattr(cases, n).case):
            t = getattr(cases, n)(b)
            show(t)
            if a.markdown:
                page.put(n, t, b)
    finally:
        b.close()


if __name__ == '__main__':
    for s in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda n, f: sys.exit(128 + n))
    main()
