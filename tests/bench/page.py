"""docs/performance.md: the tables of a run, between marks; the text around them is
written by hand and stays. And the picture of the first one.

SPDX-License-Identifier: ISC
"""
import os
import re
import subprocess
import time
from xml.sax.saxutils import escape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOC = os.path.join(ROOT, 'docs', 'performance.md')
PICTURE = os.path.join(ROOT, 'docs', 'performance.svg')
BEGIN, END = '<!-- make bench: %s -->', '<!-- end of %s -->'

STYLE = '''
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 10px; fill: #57606a }
.other { fill: #8c959f } .pgweir { fill: #1a7f37 } .floor { fill: #bc4c00 }
.gap { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9da7b1 } .gap { fill: #0d1117 }
.other { fill: #8b949e } .pgweir { fill: #3fb950 } .floor { fill: #f0883e }
}
'''


def machine():
    with open('/proc/cpuinfo') as f:
        m = re.search(r'^model name\s*:\s*(.+)$', f.read(), re.M)
    return '%s, %d processors, Linux %s' % (m.group(1).strip() if m else 'unknown processor',
                                            len(os.sched_getaffinity(0)), os.uname().release.split('-')[0])


def version(argv, pattern):
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()
    m = re.search(pattern, out)
    return m.group(1) if m else '?'


def peers():
    return 'pgbouncer %s, haproxy %s, pgpool2 %s, PostgreSQL %s' % (
        version(['/usr/sbin/pgbouncer', '--version'], r'PgBouncer (\S+)'),
        version(['/usr/sbin/haproxy', '-v'], r'version (\S+?)-'),
        version(['/usr/sbin/pgpool', '--version'], r'version (\S+)'),
        version(['psql', '--version'], r'\) (\S+)'))


def markdown(t, bench):
    out = ['%s.%s Medians of %d rounds of %d s, %s; %s; %s.' % (
        t.title[0].upper() + t.title[1:], ' ' + t.said + '.' if t.said else '', bench.rounds, bench.seconds,
        time.strftime('%Y-%m-%d'), machine(), peers()), '',
        '| | %s |' % ' | '.join(t.head), '|---|%s' % ('---:|' * len(t.head))]
    out += ['| %s | %s |' % (name, ' | '.join(cells)) for name, cells in t.rows]
    if t.verdicts:
        out += ['', '| ratio | measured | aim: at most |', '|---|---:|---:|']
        out += ['| %s | %s%.2f%s | %.2f |' % (what, '' if got <= most else '**', got, '' if got <= most else '**', most)
                for what, got, most in t.verdicts]
    return '\n'.join(out) + '\n'


def put(name, t, bench):
    """Replaces what stands for this case; at the end when it is new."""
    with open(DOC) as f:
        text = f.read()
    begin, end = BEGIN % name, END % name
    new = '%s\n\n%s\n%s' % (begin, markdown(t, bench), end)
    if begin in text:
        text = text[:text.index(begin)] + new + text[text.index(end) + len(end):]
    else:
        text = text.rstrip('\n') + '\n\n' + new + '\n'
    with open(DOC, 'w') as f:
        f.write(text)
    if name == 'core':
        with open(PICTURE, 'w') as f:
            f.write(draw(t))


def draw(t):
    """Processor time for each transaction, as bars."""
    rows = [(name, float(cells[0])) for name, cells in t.rows if cells[0]]
    wide, left, high = 420, 170, 18
    most = max(v for n, v in rows if 'pgpool' not in n)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">' %
           (left + wide + 90, 40 + high * len(rows), left + wide + 90, 40 + high * len(rows)),
           '<title>Processor time of each proxy for a transaction</title><style>%s</style>' % STYLE,
           '<text x="8" y="20">proxy CPU, µs per transaction, %s (bars with a gap are cut)</text>' % escape(t.title)]
    for i, (name, v) in enumerate(rows):
        y = 34 + i * high
        who = name.split(', ')[-1]
        cut = v / most > 1.1
        w = min(v / most, 1.1) * wide
        out += ['<text x="8" y="%d">%s</text>' % (y + 12, escape(name)),
                '<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>' %
                (who if who in ('pgweir', 'floor') else 'other', left, y, w, high - 4),
                '<text class="small" x="%.1f" y="%d">%.1f</text>' % (left + w + 4, y + 11, v)]
        if cut: # a gap says that it goes on
            out.append('<rect class="gap" x="%.1f" y="%d" width="4" height="%d"/>' % (left + w - 14, y - 1, high - 2))
    return '\n'.join(out + ['</svg>', ''])
