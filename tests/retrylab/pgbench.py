"""pgbench, half of its clients in the simple protocol and half with prepared
statements, at the same time and on the same rows; and what they were told.

SPDX-License-Identifier: ISC
"""
import os
import re
import subprocess
import time

from cluster import BIN, tail

MODES = ('simple', 'prepared')
PATIENCE = 60           # beyond the time that pgbench was given


class Told:
    """What the clients of one run were told, all together."""

    def __init__(self):
        self.done = self.failed = self.serialization = self.deadlock = self.retries = 0
        self.tps = 0.0
        self.times = []         # of what was done, in milliseconds
        self.bad = []           # what no client may see

    @property
    def share(self):
        """Failures that clients saw, of all transactions."""
        return self.failed / max(1, self.failed + self.done)

    def quantile(self, q):
        t = self.times
        return t[min(len(t) - 1, int(len(t) * q))] if t else 0.0

    def add(self, text, times):
        """The output of one pgbench and the times of its log."""
        def number(what, also=None):
            m = re.search(r'^%s: (\d+)' % what, text, re.M)
            if not m and also is None:
                self.bad.append('pgbench does not say "%s":\n%s' % (what, text[-2000:]))
            return int(m.group(1)) if m else also or 0
        self.done += number('number of transactions actually processed')
        self.failed += number('number of failed transactions')
        self.serialization += number('number of serialization failures', 0)
        self.deadlock += number('number of deadlock failures', 0)
        self.retries += number('total number of retries', 0)
        m = re.search(r'^tps = ([\d.]+)', text, re.M)
        self.tps += float(m.group(1)) if m else 0.0
        self.bad += re.findall(r'^.*(?:aborted|ERROR|FATAL|fatal).*$', text, re.M)
        self.times = sorted(self.times + times)


def read_log(base, prefix):
    """Milliseconds of each transaction that was done; the files are removed."""
    out = []
    for name in os.listdir(base):
        if name.startswith(prefix + '.'):
            with open(os.path.join(base, name)) as f:
                out += [int(v[2]) / 1000 for v in map(str.split, f) if v[2].isdigit()]
            os.unlink(os.path.join(base, name))
    return out


def run(base, port, database, script=None, clients=8, seconds=4, tries=1, level=None,
        modes=MODES):
    """Runs for so many seconds. script: a text, or None for TPC-B."""
    what = ['-b', 'tpcb-like']
    if script is not None:
        path = os.path.join(base, 'script.sql')
        with open(path, 'w') as f:
            f.write(script)
        what = ['-f', path]
    env = dict(os.environ)
    env.pop('PGOPTIONS', None)
    if level:
        env['PGOPTIONS'] = options(level)
    procs, told = [], Told()
    try:
        for mode in modes:
            argv = [os.path.join(BIN, 'pgbench'), '-h', '127.0.0.1', '-p', str(port), '-U', 'app',
                    '-n', '-M', mode, '-c', str(clients // len(modes)), '-j', '1',
                    '-T', str(seconds), '--max-tries=%d' % tries, '--failures-detailed', '-l',
                    '--log-prefix=' + os.path.join(base, 'times-' + mode), *what, database]
            out = open(os.path.join(base, 'pgbench-' + mode), 'wb')
            procs.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, cwd=base, env=env))
            out.close()
        end = time.monotonic() + seconds + PATIENCE
        for p in procs:
            try:
                if p.wait(max(0.1, end - time.monotonic())):
                    told.bad.append('pgbench ended with %d' % p.returncode)
            except subprocess.TimeoutExpired:
                told.bad.append('pgbench does not end')
    finally:
        for p in procs:
            if p.poll() is None:
                p.kill()
                p.wait(10)
    for mode in modes:
        told.add(tail(os.path.join(base, 'pgbench-' + mode), 400),
                 read_log(base, 'times-' + mode))
    return told


def options(level):
    """A client's wish in its startup packet, as PGOPTIONS has it."""
    return '-c default_transaction_isolation=' + level.replace(' ', '\\ ')
