#!/usr/bin/python3
"""make history: clients append to lists and read them, on a real PostgreSQL server,
directly or through pgweir; then the whole history is checked (checker.py).

    run.py --way direct|off|replay --isolation serializable|'repeatable read'
           --seconds N --binary build/pgweir
    run.py --all            the runs of `make history`, and the controls, which must fail
    run.py --recheck FILE   judges a history that was saved

Exit status 1 on any anomaly, 2 when a run shows nothing.

SPDX-License-Identifier: ISC
"""
import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests', 'integration'), os.path.join(ROOT, 'tests', 'sim')]

import mutate  # noqa: E402
import trial  # noqa: E402
from checker import REPEATABLE_READ, SERIALIZABLE  # noqa: E402
from cluster import make_base, make_template, Postgres  # noqa: E402
from trial import DIRECT, OFF, REPLAY  # noqa: E402

MUTANTS = os.path.join(HERE, 'mutants.txt')
CUT = 0.01              # of the transactions, where connections are cut
T0 = time.monotonic()


def say(text):
    print('%6.1f s  %s' % (time.monotonic() - T0, text), flush=True)


def show(r, opts, expect_bad=False):
    say(r.head())
    for line in r.more():
        say('    ' + line)
    kinds = ', '.join('%d %s' % (n, k) for k, n in sorted(r.report.kinds().items()))
    if kinds:
        say('    anomalies: ' + kinds)
    for b in r.bad[:1 if expect_bad else 10]:
        say('    ANOMALY ' + b[:2000])
    if (r.bad and not expect_bad or opts.save) and not opts.recheck:
        path = opts.save or os.path.join(tempfile.gettempdir(), 'history-%d-%d.jsonl' % (os.getpid(), opts.runs))
        r.save(path)
        say('    saved: run.py --recheck %s' % path)


def play(pg, base, opts, binary, way, isolation, seconds, **kw):
    opts.runs += 1
    say('%s, %s, %g s, seed %d' % (way, isolation, seconds, opts.seed + opts.runs))
    return trial.run(pg, base, binary, way, isolation, seconds, opts.clients, opts.seed + opts.runs, **kw)


def one(pg, base, opts):
    kw = {'terminate': opts.terminate, 'cut': opts.cut}
    if opts.way == REPLAY:
        kw['min_replays'] = opts.min_replays
    r = play(pg, base, opts, opts.binary, opts.way, opts.isolation, opts.seconds, **kw)
    show(r, opts)
    return bool(r.bad)


def everything(pg, base, opts):
    """The comparison and its controls."""
    s, need = opts.seconds, opts.min_replays
    bad = 0
    for way, isolation, seconds, kw in (
            (DIRECT, SERIALIZABLE, s / 4, {}), (DIRECT, REPEATABLE_READ, s / 4, {}),
            (OFF, SERIALIZABLE, s / 4, {}),
            (REPLAY, SERIALIZABLE, s, {'min_replays': need}),
            (REPLAY, REPEATABLE_READ, s / 2, {'min_replays': need // 4}),
            (REPLAY, SERIALIZABLE, s / 2, {'min_replays': need // 8, 'terminate': 0.05}),
            (REPLAY, SERIALIZABLE, s / 2, {'min_replays': need // 8, 'cut': CUT}),
            (REPLAY, REPEATABLE_READ, s / 4, {'min_replays': need // 16, 'cut': CUT})):
        r = play(pg, base, opts, opts.binary, way, isolation, seconds, **kw)
        show(r, opts)
        bad += bool(r.bad)
    missed = 0
    mutants = mutate.read_mutants(MUTANTS)
    for m in mutants:
        say('control: %s' % m.note)
        r = play(pg, base, opts, os.path.join(opts.mutants, m.name, 'pgweir'), REPLAY, SERIALIZABLE,
                 m.seeds, min_replays=100, cut=CUT if m.name.startswith('lost-') else 0)
        show(r, opts, expect_bad=True)
        missed += not r.anomalies
        if not r.anomalies:
            say('    MISSED: %s' % m.name)
    say('history: %d runs, %d with anomalies; %d controls, %d of them missed' % (
        opts.runs - len(mutants), bad, len(mutants), missed))
    return bad + missed


def options():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n', maxsplit=1)[0])
    p.add_argument('--way', choices=(DIRECT, OFF, REPLAY), default=REPLAY)
    p.add_argument('--isolation', choices=(SERIALIZABLE, REPEATABLE_READ), default=SERIALIZABLE)
    p.add_argument('--seconds', type=float, default=60)
    p.add_argument('--clients', type=int, default=12)
    p.add_argument('--binary', default=os.path.join(ROOT, 'build', 'pgweir'))
    p.add_argument('--min-replays', type=int, help='successful ones that are demanded (10 a second)')
    p.add_argument('--terminate', type=float, default=0, metavar='SECONDS',
                   help='end a random backend every so often')
    p.add_argument('--cut', type=float, default=0, metavar='P',
                   help='cut the connection to the server in P of the transactions, thrice')
    p.add_argument('--seed', type=int, help='of what clients choose; a run is not repeated by it')
    p.add_argument('--save', metavar='FILE', help='keep the history, whatever is found')
    p.add_argument('--recheck', metavar='FILE')
    p.add_argument('--all', action='store_true')
    p.add_argument('--mutants', default=os.path.join(ROOT, 'build', 'history'),
                   help='where the controls are: make history-mutants')
    o = p.parse_args()
    o.runs = 0
    if o.seed is None:
        o.seed = random.SystemRandom().randrange(1, 100000)
    if o.min_replays is None:
        o.min_replays = int(10 * o.seconds)
    return o


def main():
    opts = options()
    if opts.recheck:
        r = trial.recheck(opts.recheck)
        show(r, opts)
        return 1 if r.bad else 0

    def leave(num, _frame):
        for s in ends:
            signal.signal(s, signal.SIG_IGN)
        raise SystemExit(128 + num)
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for s in ends:
        signal.signal(s, leave)
    base, pg = make_base(), None
    try:
        pg = Postgres(base, 'lists').copy_from(make_template(base)).start()
        return 1 if (everything if opts.all else one)(pg, base, opts) else 0
    finally:
        if pg:
            pg.stop(signal.SIGQUIT)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
