"""make instructions: what a transaction costs in user space, counted by callgrind, which is
the same to half a per cent however busy the machine is, beside pgbouncer, and beside what
the last release took (instructions.txt).

    tests/bench/instructions.py [KIND...] [--record]

With --record the counts become those to compare with. Ends with 1 when pgweir takes 3 %
more than recorded.

SPDX-License-Identifier: ISC
"""
import argparse
import contextlib
import glob
import os
import re
import subprocess
import sys

import bench
import load
import peers
from cluster import AS_POSTGRES

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, 'instructions.txt')
KINDS = ['simple', 'extended', 'prepared', 'pipeline', 'connect', 'tls']
# one: how much of a turn of the loop several share is a matter of chance
CLIENTS = 1
# of the transactions that are counted; the others are before, so that all is warm
EACH = {'pipeline': 100, 'connect': 1000}
LIMIT = 1.03


def pgbench(b, p, kind, each):
    argv = [load.BIN + '/pgbench', '-h', '127.0.0.1', '-p', str(p.port), '-U', 'app', '-n', '-c', str(CLIENTS), '-j',
            '1', '-t', str(each), *load.KINDS['simple' if kind == 'tls' else kind], 'app']
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=b.dir,
                         env={**os.environ, 'PGSSLMODE': 'require' if kind == 'tls' else 'disable'}).stdout.decode()
    if 'number of transactions actually processed: %d/' % (CLIENTS * each) not in out:
        raise RuntimeError(out)


def control(p, *args):
    who = AS_POSTGRES if p.name == 'pgbouncer' else []
    subprocess.run([*who, 'callgrind_control', *args, str(p.proc.pid)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def count(b, start, kind):
    """Instructions for each transaction; connections of pgbench's own are few among them."""
    each = EACH.get(kind, 4000)
    out = b.path('callgrind/out')
    with b.with_tls() if kind == 'tls' else contextlib.nullcontext():
        p = start(b, who=['valgrind', '--tool=callgrind', '--instr-atstart=no',
                          '--callgrind-out-file=%s.%%p' % out])
    try:
        pgbench(b, p, kind, each // 4)
        control(p, '-i', 'on')
        pgbench(b, p, kind, each)
        control(p, '-i', 'off')
    finally:
        p.stop()
    total = 0
    for path in glob.glob(out + '.*'):
        with open(path) as f:
            total += max([int(x) for x in re.findall(r'^(?:summary|totals): (\d+)', f.read(), re.M)] or [0])
        os.unlink(path)
    if not total:
        raise RuntimeError('callgrind has counted nothing')
    return total / (CLIENTS * each)


def recorded():
    with open(RECORD) as f:
        return {k: int(n) for k, n in (line.split() for line in f if line.strip() and line[0] != '#')}


def record(got):
    old = recorded()
    with open(RECORD, 'w') as f:
        f.write('# Instructions in user space for a transaction of pgbench -S: make instructions\n')
        for k in KINDS:
            if k in got or k in old:
                f.write('%s %d\n' % (k, round(got[k]) if k in got else old[k]))


def main():
    a = argparse.ArgumentParser()
    a.add_argument('kinds', nargs='*', default=KINDS, metavar='KIND')
    a.add_argument('--record', action='store_true')
    a = a.parse_args()
    b = bench.Bench(1, 4)
    got, worse, old = {}, [], recorded()
    print('%-9s %10s %10s %8s %10s %8s' % ('', 'pgweir', 'recorded', 'ratio', 'pgbouncer', 'ratio'))
    try:
        b.start()
        os.mkdir(b.path('callgrind'))
        os.chmod(b.path('callgrind'), 0o777)
        for k in a.kinds:
            got[k] = n = count(b, peers.pgweir, k)
            # before 1.21 it prepares nothing for its clients in transaction mode
            theirs = count(b, peers.pgbouncer, k) if b.bouncer_prepares or k not in ('prepared', 'pipeline') else 0
            print('%-9s %10.0f %10s %8s %10s %8s' % (
                k, n, old.get(k, '-'), '%.3f' % (n / old[k]) if k in old else '-',
                '%.0f' % theirs if theirs else '-', '%.2f' % (n / theirs) if theirs else '-'), flush=True)
            if k in old and n > old[k] * LIMIT:
                worse.append(k)
    finally:
        b.close()
    if a.record:
        record(got)
    elif worse:
        print('more than %.0f %% above what is recorded: %s' % (LIMIT * 100 - 100, ' '.join(worse)))
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
