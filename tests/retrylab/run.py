#!/usr/bin/python3
"""make retry-lab: transactions that conflict, against a real server directly and
through pgweir with each setting of `retry`; what clients saw, and whether the tables
agree with what they were told.

Exit status 1 when something happened that never may: an acknowledged COMMIT that is
not there or there twice, money made or lost, a shift with nobody on call at
SERIALIZABLE, an error other than 40001 and 40P01, the daemon gone. Never for how
many transactions failed, or how long they took.

SPDX-License-Identifier: ISC
"""
import argparse
import os
import shutil
import signal
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, *(os.path.join(ROOT, 'tests', x) for x in ('faults', 'integration'))]

import arena as arena_  # noqa: E402
import lab  # noqa: E402
import page  # noqa: E402
import workloads  # noqa: E402
from cluster import make_base, tail  # noqa: E402

COST = 'cost'
MODES = ('simple', 'prepared')
T0 = time.monotonic()


def say(text):
    print('%6.1f s  %s' % (time.monotonic() - T0, text), flush=True)


def options():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    p.add_argument('names', nargs='*',
                   help='workloads, or beginnings of their names; "cost" for the cost alone')
    p.add_argument('--seconds', type=int, default=4, help='of each run (4)')
    p.add_argument('--cost-seconds', type=int, default=1, help='of each round of the cost (1)')
    p.add_argument('--ways', default=','.join(arena_.WAYS), help='some of %(default)s')
    p.add_argument('--levels', default=','.join(workloads.LEVELS), help='some of "%(default)s"')
    p.add_argument('--markdown', action='store_true',
                   help='put the table into docs/retry.md, draw docs/retry-lab.svg')
    p.add_argument('--list', action='store_true', help='name the workloads')
    o = p.parse_args()
    o.ways, o.levels = o.ways.split(','), o.levels.split(',')
    exact = [w for w in workloads.WORKLOADS if w.name in o.names]
    o.workloads = [w for w in workloads.WORKLOADS
                   if not o.names or w in exact or
                   any(w.name.startswith(n) and n not in [x.name for x in exact] for n in o.names)]
    o.cost = not o.names or COST in o.names
    if not o.workloads and not o.cost:
        p.error('no such workload: try --list')
    if set(o.ways) - set(arena_.WAYS) or set(o.levels) - set(workloads.LEVELS):
        p.error('no such way or level')
    return o


def tell(r):
    t = r.told
    say('%-9s %-9s %-15s %s  [%d done, %d × 40001, %d × 40P01]%s' % (
        r.workload.name, r.way, r.level, page.one_way(r), t.done, t.serialization, t.deadlock,
        '' if r.way == 'direct' else '  again: %s  %s' % (page.again(r), page.attempts(r))))
    for b in r.bad:
        say('    BROKEN ' + b)


def measure(opts, arena):
    """(runs, costs, broken promises)"""
    runs, costs, bad = [], [], []
    for w in opts.workloads:
        for level in opts.levels:
            for way in opts.ways:
                r = arena.run(w, way, level, opts.seconds)
                runs.append(r)
                tell(r)
                bad += ['%s: %s' % (r.name, b) for b in r.bad]
    for mode in MODES if opts.cost else ():
        c, wrong = arena_.cost(arena, mode, opts.cost_seconds)
        bad += ['cost, %s: %s' % (mode, b) for b in wrong]
        costs.append(c)
        say('%s without conflicts: %s' % (mode, ', '.join(
            '%s %.1f µs, %.0f/s' % (w, c.cpu(w), c.tps(w)) for w in arena_.WAYS[1:])))
        say('    against off: ' + ', '.join(
            '%s %s' % (w, page.ratio(c, w)) for w in arena_.WAYS[2:]))
    return runs, costs, bad


def play(opts, base):
    arena = arena_.Arena(base)
    ended = ''
    try:
        arena.open()
        runs, costs, bad = measure(opts, arena)
    except BaseException:
        if arena.daemon:
            print(tail(arena.daemon.logfile, 40), file=sys.stderr)
        raise
    finally:
        ended = arena.close()
    if ended:
        bad.append(ended)
    if bad:
        print(tail(arena.daemon.logfile, 40), file=sys.stderr)
    return runs, costs, bad


def main():
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(num, _frame):
        for s in ends:      # once: a second one must not leave half of it running
            signal.signal(s, signal.SIG_IGN)
        raise SystemExit(128 + num)
    for s in ends:
        signal.signal(s, leave)
    opts = options()
    if opts.list:
        for w in workloads.WORKLOADS:
            print('%-10s %s (%d clients)' % (w.name, w.text, w.clients))
        return 0
    print(lab.machine(), flush=True)
    base = make_base()
    try:
        runs, costs, bad = play(opts, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if opts.markdown and bad:
        say('docs/retry.md is left as it is')
    elif opts.markdown:
        page.write(runs, costs, opts.seconds, opts.cost_seconds)
        say('written: docs/retry.md, docs/retry-lab.svg')
    for b in bad[:40]:
        print('BROKEN ' + b)
    print('retry-lab: %d runs of %d s, %d broken promises' % (len(runs), opts.seconds, len(bad)))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
