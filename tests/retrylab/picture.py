"""Bars of failed transactions as an SVG, by hand: workloads below each other, one
panel for each isolation level. Readable on light and on dark pages.

SPDX-License-Identifier: ISC
"""
from xml.sax.saxutils import escape

LEFT, PANEL, GAP, RIGHT = 236, 280, 56, 44
TOP, BAR, SPACE, FOOT = 66, 10, 14, 26

STYLE = '''
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 10px; fill: #57606a }
.head { font-size: 14px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.w0 { fill: #8c959f } .w1 { fill: #bc4c00 } .w2 { fill: #0969da } .w3 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9da7b1 } .grid { stroke: #3d444d }
.w0 { fill: #8b949e } .w1 { fill: #f0883e } .w2 { fill: #58a6ff } .w3 { fill: #3fb950 }
}
'''


def text(x, y, what, cls='', anchor=''):
    return '<text x="%g" y="%g"%s%s>%s</text>' % (
        x, y, ' class="%s"' % cls if cls else '',
        ' text-anchor="%s"' % anchor if anchor else '', escape(what))


def percent(share):
    p = share * 100
    return '0' if p == 0 else '%.1f %%' % p if p < 9.95 else '%.0f %%' % p


def draw(title, panels, rows, ways, shares):
    """shares[panel, row, way]: 0..1, or missing. rows: (key, what it is)."""
    high = BAR * len(ways) + SPACE
    width = LEFT + len(panels) * (PANEL + GAP) - GAP + RIGHT
    height = TOP + len(rows) * high + FOOT
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" '
           'role="img">' % (width, height, width, height),
           '<title>%s</title>' % escape(title), '<style>%s</style>' % STYLE]
    x = 8
    for i, w in enumerate(ways):
        out += ['<rect class="w%d" x="%d" y="10" width="12" height="12" rx="2"/>' % (i, x),
                text(x + 17, 20, w)]
        x += 34 + 7 * len(w)
    out.append(text(LEFT + PANEL + GAP, 20, title, 'small'))
    for p, panel in enumerate(panels):
        out += frame(LEFT + p * (PANEL + GAP), height - FOOT, panel)
    for i, (key, label) in enumerate(rows):
        y = TOP + i * high
        out += [text(8, y + BAR * len(ways) / 2 - 3, key),
                text(8, y + BAR * len(ways) / 2 + 11, label, 'small')]
        for p, panel in enumerate(panels):
            for j, w in enumerate(ways):
                share = shares.get((panel, key, w))
                if share is not None:
                    out += bar(LEFT + p * (PANEL + GAP), y + j * BAR, j, share)
    return '\n'.join(out + ['</svg>', ''])


def frame(x, bottom, panel):
    out = [text(x, TOP - 18, panel.upper(), 'head')]
    for s in (0, 0.25, 0.5, 0.75, 1):
        at = x + PANEL * s
        out += ['<line class="grid" x1="%g" y1="%d" x2="%g" y2="%d"/>' %
                (at, TOP - 8, at, bottom - 4),
                text(at, bottom + 12, '%d %%' % (s * 100), 'small', 'middle')]
    return out


def bar(x, y, way, share):
    wide = max(share * PANEL, 1)
    return ['<rect class="w%d" x="%g" y="%g" width="%.1f" height="%d"/>' %
            (way, x, y, wide, BAR - 1), text(x + wide + 3, y + BAR - 1, percent(share), 'small')]
