"""The table in docs/retry.md and the picture beside it. The table is what is kept:
rows of workloads that were not run this time stay as they are, and the picture is
drawn from all of them.

SPDX-License-Identifier: ISC
"""
import os
import re
import time

import arena
import lab
import picture
import workloads

BEGIN = '<!-- table by make retry-lab -->'
END = '<!-- end of the table by make retry-lab -->'
DOC = os.path.join(lab.ROOT, 'docs', 'retry.md')
PICTURE = os.path.join(lab.ROOT, 'docs', 'retry-lab.svg')
TITLE = 'transactions that clients saw fail, of all'
COLUMNS = ['workload', *arena.WAYS, 'run again by replay: went on / came out otherwise / given up',
           'went on after 1 / 2 / 3 to 5 / 6 to 10 / more attempts', 'measured']
COSTS = ['protocol', *('%s, µs' % w for w in arena.WAYS[1:]), 'implicit / off', 'replay / off',
         'transactions/s with off', 'with replay', 'measured']


def stamp(seconds):
    return '%s, %g s' % (time.strftime('%Y-%m-%d'), seconds)


def one_way(r):
    """What stands in the table for one run."""
    t = r.told
    share = t.share * 100
    cell = '%s %%, %.0f/s, %s / %s ms' % (
        '0' if not share else '%.2f' % share if share < 1 else '%.1f' % share, t.tps,
        short(t.quantile(0.5)), short(t.quantile(0.99)))
    if r.workload.tries > 1:
        cell += ', %d client retries' % t.retries
    if r.numbers.get('nobody'):
        cell += ', nobody on call %d times' % r.numbers['nobody']
    return cell


def short(ms):
    return '%.1f' % ms if ms < 9.95 else '%.0f' % ms


def again(r):
    ok, mismatch, exhausted = r.again()
    return '%d / %d / %d' % (ok, mismatch, exhausted)


def attempts(r):
    got = r.attempts()
    return ' / '.join('%d' % x for x in got) if any(got) else ''


def rows_of(runs, seconds):
    """{(level, workload): cells} of these runs."""
    out = {}
    for r in runs:
        key = r.level, r.workload.name
        cells = out.setdefault(key, [r.workload.name] + [''] * (len(COLUMNS) - 1))
        cells[COLUMNS.index(r.way)] = one_way(r)
        if r.way == 'replay':
            cells[-3:-1] = again(r), attempts(r)
        cells[-1] = stamp(seconds)
    return out


def costs_of(costs, seconds):
    out = {}
    for c in costs:
        out[c.mode] = [c.mode, *('%.1f' % c.cpu(w) for w in arena.WAYS[1:]),
                       ratio(c, 'implicit'), ratio(c, 'replay'),
                       '%.0f' % c.tps('off'), '%.0f' % c.tps('replay'), stamp(seconds)]
    return out


def ratio(c, way):
    low, middle, high = c.ratio(way)
    return '%.2f (%.2f to %.2f)' % (middle, low, high)


def parse(text):
    """What stands between the markers: (rows, costs)."""
    rows, costs, level = {}, {}, None
    for line in text.splitlines():
        m = re.match(r'### (\w+( \w+)?)$', line)
        if m:
            level = m.group(1).lower()
        cells = [x.strip() for x in line.split('|')[1:-1]]
        if len(cells) == len(COLUMNS) and level in workloads.LEVELS and \
                cells[0] in (w.name for w in workloads.WORKLOADS):
            rows[level, cells[0]] = cells
        elif len(cells) == len(COSTS) and cells[0] in ('simple', 'prepared'):
            costs[cells[0]] = cells
    return rows, costs


def table(columns, rows):
    return ['| ' + ' | '.join(columns) + ' |', '|' + '---|' * len(columns),
            *('| ' + ' | '.join(r) + ' |' for r in rows)]


def render(rows, costs):
    out = [BEGIN, '', lab.machine(),
           'pgweir: %s, all else by default.' % ', '.join('%s = %s' % s for s in
                                                          arena.SETTINGS.items()), '',
           '![%s](retry-lab.svg)' % TITLE, '']
    for level in workloads.LEVELS:
        mine = [rows[level, w.name] for w in workloads.WORKLOADS if (level, w.name) in rows]
        if mine:
            out += ['### ' + level.upper(), '', *table(COLUMNS, mine), '']
    if costs:
        out += ['### Without conflicts', '',
                *table(COSTS, [costs[m] for m in ('simple', 'prepared') if m in costs]), '']
    out += ['### What is run', '',
            *table(['workload', 'what it is', 'clients'],
                   [[w.name, w.text, str(w.clients)] for w in workloads.WORKLOADS])]
    return '\n'.join(out + ['', END])


def shares(rows):
    """The picture's bars, from the table."""
    out = {}
    for (level, name), cells in rows.items():
        for w in arena.WAYS:
            m = re.match(r'([\d.]+) %', cells[COLUMNS.index(w)])
            if m:
                out[level, name, w] = float(m.group(1)) / 100
    return out


def draw(rows):
    names = {name for _, name in rows}
    return picture.draw(TITLE, workloads.LEVELS,
                        [(w.name, w.text) for w in workloads.WORKLOADS if w.name in names],
                        arena.WAYS, shares(rows))


def write(runs, costs, seconds, cost_seconds, doc=DOC, image=PICTURE):
    with open(doc) as f:
        text = f.read()
    head, rest = text.split(BEGIN)
    old, foot = rest.split(END)
    rows, had = parse(old)
    rows.update(rows_of(runs, seconds))
    had.update(costs_of(costs, cost_seconds))
    with open(doc, 'w') as f:
        f.write(head + render(rows, had) + foot)
    with open(image, 'w') as f:
        f.write(draw(rows))
