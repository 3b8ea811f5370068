#!/usr/bin/python3
"""make faults: a cluster of real servers, pgweir in front of it, load, and one
fault after the other; a table of what clients saw.

Exit status 1 when something happened that never may: an acknowledged write lost
or doubled, money made or lost, a wrong answer, a client disconnected, the daemon
gone; or when a fault could not be played. Never for times or numbers of errors.

SPDX-License-Identifier: ISC
"""
import argparse
import os
import random
import shutil
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, 'tests', 'integration')]

import ha  # noqa: E402
import lab as lab_  # noqa: E402
import scenarios  # noqa: E402,F401
import scenarios_net  # noqa: E402,F401
import scenarios_ha  # noqa: E402,F401
import scenarios_crdb  # noqa: E402,F401
from crdblab import CrdbLab  # noqa: E402
from cluster import make_base, tail  # noqa: E402
from net import NetLab  # noqa: E402

DOC = os.path.join(ROOT, 'docs', 'failover.md')
BEGIN, END = '<!-- table by make faults -->', '<!-- end of the table by make faults -->'
COLUMNS = ['fault', 'done', 'errors: reads', 'errors: writes', 'errors: transactions',
           'disconnects', 'longest pause of one client, s', 'longest time without any answer, s',
           'lost', 'doubled', 'unknown (done)']
ROOT_ONLY = 'not run: needs root'
T0 = time.monotonic()


def say(text):
    print('%6.1f s  %s' % (time.monotonic() - T0, text), flush=True)


def why_not(f):
    """Why this fault cannot be played here, or ''."""
    if f.kind in ('net', 'slow'):
        if os.geteuid():
            return ROOT_ONLY
        if not shutil.which('nft') or not shutil.which('ip'):
            return 'not run: needs nftables and iproute2'
        if f.kind == 'slow' and not os.path.exists('/dev/net/tun'):
            return 'not run: needs /dev/net/tun'
    if f.kind == 'patroni' and ha.missing():
        return 'not run: ' + ha.missing()
    return ''


def make_lab(f, base, template, seconds, seed):
    args = (base, template, f.name)
    kw = {'seconds': seconds, 'seed': seed}
    if f.kind == 'patroni':
        return ha.PatroniLab(*args, **kw)
    if f.kind == 'crdb':
        return CrdbLab(*args, **kw)
    if f.kind == 'net' or f.kind == 'best' and not os.geteuid() and shutil.which('nft'):
        return NetLab(*args, **kw)
    if f.kind == 'slow':
        return NetLab(*args, relayed=(0, 1), **kw)
    return lab_.Lab(*args, **kw)


def run_one(f, base, template, opts):
    """(verdict, seconds from the start of the load to fault and end)."""
    lab = daemon = None
    try:
        lab = make_lab(f, base, template, opts.seconds, opts.seed)
        lab.says = lambda text: say('    ' + text)
        lab.open()
        daemon = lab_.Daemon(lab.base, lab_.config(lab.nodes, lab.more))
        v = lab_.play(f, lab, daemon, lab_.Timing(seconds=opts.seconds), opts.serializable)
        v.daemon = v.daemon or daemon.stop()
        if v.violations():
            print(tail(daemon.logfile, 40), file=sys.stderr)
        return v
    except Exception:
        if daemon:
            print(tail(daemon.logfile, 40), file=sys.stderr)
        raise
    finally:
        if daemon and daemon.proc.poll() is None:
            daemon.stop()
        if opts.keep_logs and lab:
            keep_logs(lab, opts.keep_logs, f.name)
        if lab:
            lab.close()


def keep_logs(lab, where, name):
    os.makedirs(where, exist_ok=True)
    for p in os.listdir(lab.base):
        if p.endswith('.log'):
            shutil.copyfile(os.path.join(lab.base, p), os.path.join(where, name + '-' + p))


# ---- what was seen ------------------------------------------------------------------------

def pair(values):
    return '%.2f / %.2f' % tuple(values)


def cells(f, v):
    gave_up = ' (pgbench: %d of 4)' % v.gave_up if v.gave_up else ''
    reads = v.codes('read') + gave_up
    logins = v.codes('login')
    if logins != '0':
        reads += ' (logins: %s)' % logins
    hung = ' (%d hung)' % v.hung if v.hung else ''
    unknown = '%d (%d)' % (v.unknown, v.applied) if v.unknown else '0'
    return [f.name, str(v.done), reads, v.codes('write'), v.codes('transaction'),
            '%d%s' % (v.disconnects, hung), pair(v.pauses), pair(v.silences), str(v.lost),
            str(v.doubled), unknown]


def not_run(f, why):
    return [f.name, why] + [''] * (len(COLUMNS) - 2)


def show(rows):
    rows = [COLUMNS, *rows]
    heads = [[], []]
    for c in COLUMNS:       # in two lines, at most
        words = c.split()
        half = len(words) if len(c) < 16 else (len(words) + 1) // 2
        heads[0].append(' '.join(words[:half]))
        heads[1].append(' '.join(words[half:]))
    rows = [*heads, *rows[1:]]
    width = [max(len(r[i]) for r in rows) for i in range(len(COLUMNS))]
    width[1] = max(len(r[1]) for r in rows if not r[1].startswith('not run'))
    for r in rows:
        if r[1].startswith('not run') or r[1].startswith('failed'):
            print('%-*s  %s' % (width[0], r[0], r[1]))
        else:
            print('  '.join(x.ljust(w) for x, w in zip(r, width)).rstrip())


def markdown(rows, opts):
    """Puts these rows into the page; those of other faults stay."""
    with open(DOC) as f:
        text = f.read()
    head, rest = text.split(BEGIN)
    old, foot = rest.split(END)
    have = {}
    for line in old.splitlines():
        c = [x.strip() for x in line.split('|')[1:-1]]
        if len(c) == len(COLUMNS) and line.startswith('| ') and c[0] != COLUMNS[0]:
            have[c[0]] = line
    for r in rows:
        have[r[0]] = '| ' + ' | '.join(r) + ' |'
    order = [f.name for f in lab_.FAULTS]
    out = [BEGIN, '', 'Measured by `make faults` (faults of %g s, seed %d): %s' %
           (opts.seconds, opts.seed, lab_.machine()),
           'Settings: ' + ', '.join('%s = %s' % s for s in lab_.SETTINGS.items()) + '.', '',
           '| ' + ' | '.join(COLUMNS) + ' |', '|' + '---|' * len(COLUMNS)]
    out += [have[n] for n in order if n in have]
    out += ['', '| fault | what happens |', '|---|---|']
    out += ['| %s | %s |' % (f.name, f.text) for f in lab_.FAULTS]
    with open(DOC, 'w') as f:
        f.write(head + '\n'.join(out) + '\n\n' + END + foot)
    say('written: docs/failover.md')


# ---- main ---------------------------------------------------------------------------------

def options():
    p = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    p.add_argument('names', nargs='*', help='faults, or beginnings of their names')
    p.add_argument('--seconds', type=float, default=6, help='how long a fault lasts (6)')
    p.add_argument('--seed', type=int, help='of the random faults')
    p.add_argument('--markdown', action='store_true', help='put the table into docs/failover.md')
    p.add_argument('--serializable', action='store_true', help='transfers at SERIALIZABLE')
    p.add_argument('--keep-logs', metavar='DIR', help='copy all logs there')
    p.add_argument('--list', action='store_true', help='name the faults')
    o = p.parse_args()
    if o.seed is None:
        o.seed = random.SystemRandom().randrange(1, 100000)
    o.faults = [f for f in lab_.FAULTS
                if not o.names or any(f.name == n or f.name.startswith(n) for n in o.names)]
    exact = [f for f in o.faults if f.name in o.names]
    if o.names and len(exact) == len(o.names):
        o.faults = exact
    if not o.faults:
        p.error('no such fault: try --list')
    return o


def run_all(opts, base):
    rows, bad = [], []
    template = lab_.make_template(base)
    for f in opts.faults:
        why = why_not(f)
        if why:
            say('%s: %s' % (f.name, why))
            rows.append(not_run(f, why))
            continue
        say('%s: %s' % (f.name, f.text))
        try:
            v = run_one(f, base, template, opts)
        except Exception as e:  # pylint: disable=broad-except
            traceback.print_exc()
            rows.append(not_run(f, 'failed: %s' % str(e).split('\n', maxsplit=1)[0][:120]))
            bad.append('%s: could not be played: %s' % (f.name, e))
            continue
        rows.append(cells(f, v))
        tell(f, v)
        bad += ['%s: %s' % (f.name, x) for x in v.violations()]
    return rows, bad


def tell(f, v):
    say('    ' + '; '.join('%s: %s' % p for p in list(zip(COLUMNS, cells(f, v)))[1:]))
    for (kind, code, verb), text in sorted(v.samples.items()):
        say('    %s, %s: %s %s' % (kind, verb, code, text))
    say('    pgweir used %.1f s of processor' % v.cpu)
    say('    longest pauses: ' + ', '.join('%.2f s %s' % p for p in v.longest[:6]))
    if v.gave_up:
        say('    ' + v.gave_up_why)


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
        for f in lab_.FAULTS:
            print('%-26s %s' % (f.name, f.text))
        return 0
    print('settings: ' + ', '.join('%s = %s' % s for s in lab_.SETTINGS.items()))
    print('seed: %d' % opts.seed, flush=True)
    base = make_base()
    try:
        rows, bad = run_all(opts, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print()
    show(rows)
    print('Pauses and times: readers (standbys first) / writers. Errors: SQLSTATE × times.')
    if opts.markdown:
        markdown(rows, opts)
    for b in bad[:40]:
        print('BROKEN ' + b)
    print('faults: %d played, %d broken promises, seed %d' % (
        sum(not r[1].startswith('not run') for r in rows), len(bad), opts.seed))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
