"""The status page in a real browser: what it shows against what is so, in light and dark, on a
phone and on a screen; PAGE_SHOTS=DIR keeps pictures of it.

SPDX-License-Identifier: ISC
"""
import os
import shutil

import pytest

from conftest import Spawned, db, ini, until
from test_nodes import QUICK
from webs import get, web_port

pytestmark = [pytest.mark.weir_only, pytest.mark.no_san]

WEB = {**QUICK, 'http_addr': 0, 'health_slow': 0}
EVIL = '<img src=x onerror=alert(1)>'


@pytest.fixture(scope='module')
def chromium():
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        pytest.skip('python3-selenium is not installed')
    driver = shutil.which('chromedriver')
    if not driver or not shutil.which('chromium'):
        pytest.skip('chromium and chromium-driver are not installed')
    o = webdriver.ChromeOptions()
    o.binary_location = shutil.which('chromium')
    for a in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
              '--hide-scrollbars', '--disable-background-networking', '--disable-component-update'):
        o.add_argument(a)
    o.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    d = webdriver.Chrome(service=Service(driver), options=o)
    d.set_page_load_timeout(60)
    d.set_script_timeout(60)
    yield d
    d.quit()


class Page:
    def __init__(self, d, port):
        self.d, self.port = d, port

    def look(self, width=1180, height=900, scheme='light'):
        self.d.execute_cdp_cmd('Emulation.setDeviceMetricsOverride',
                               {'width': width, 'height': height, 'deviceScaleFactor': 1,
                                'mobile': width < 600})
        self.d.execute_cdp_cmd('Emulation.setEmulatedMedia',
                               {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})

    def open(self):
        self.d.get('http://127.0.0.1:%d/' % self.port)
        return self

    def js(self, what):
        return self.d.execute_script('return ' + what)

    def text(self, id_):
        return self.js("document.getElementById('%s').textContent" % id_)

    def rows(self, id_):
        """What the cells of a table hold."""
        return self.js("[...document.querySelectorAll('#%s tbody tr')].map("
                       "r => [...r.cells].map(c => c.textContent))" % id_)

    def shot(self, name):
        if os.environ.get('PAGE_SHOTS'):
            self.d.save_screenshot('%s/%s.png' % (os.environ['PAGE_SHOTS'], name))

    def complaints(self):
        """The browser's: of the policy, of what was not found, of the script."""
        return [x['message'] for x in self.d.get_log('browser')]


@pytest.fixture
def page(chromium):
    chromium.get('about:blank')
    chromium.get_log('browser')
    yield lambda port: Page(chromium, port)
    chromium.get('about:blank')


def contrast(p):
    """The lowest of all text, by WCAG 2, and where."""
    return p.js("""(() => {
        const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
        const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 :
            ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        let worst = [99, ''];
        const w = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (w.nextNode()) {
            const e = w.currentNode.parentElement;
            if (!w.currentNode.data.trim() || !e.checkVisibility() || e.closest('script')) continue;
            let bg = e;
            while (bg && (rgb(getComputedStyle(bg).backgroundColor)[3] ?? 1) < 1) bg = bg.parentElement;
            const a = lum(rgb(getComputedStyle(e).color)),
                b = lum(rgb(getComputedStyle(bg || document.documentElement).backgroundColor));
            const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (c < worst[0]) worst = [c, e.outerHTML.slice(0, 100)];
        }
        return worst;
    })()""")


def test_page(weir, cluster, page):
    """Load, a node that dies, clients that wait."""
    w = weir(ini({'app': db(*cluster.nodes, dbname='app', user='app'), 'orders': db(*cluster.nodes, dbname='app',
                                                                        user='app', target_session_attrs='primary'),
                  '*': db(*cluster.nodes, dbname='app', user='app')},
                 **{**WEB, 'default_pool_size': 4, 'retry': 'implicit'}))
    port = web_port(w)
    until(lambda: get(port, '/health').json['status'] == 'healthy')
    p = page(port)
    p.look()
    p.open()
    until(lambda: p.text('status') == 'healthy')
    assert p.js("document.getElementById('pools-empty').checkVisibility()")
    p.shot('empty')
    stop = []

    def load(i):
        n = 0
        with w.connect(database=('app', 'app', 'orders')[i]) as c:
            while not stop:
                c.sql('SELECT pg_sleep(0.0%d)' % (i + 1))
                n += 1
        return n
    loads = [Spawned(load, i) for i in range(3)]
    w.one('SELECT 1', database=EVIL)
    # live, without a reload
    until(lambda: len(p.rows('pools')) == 3 and p.text('qps') not in ('–', '0'))
    assert {r[0] for r in p.rows('pools')} == {'app / app', 'orders / app', EVIL + ' / app'}
    nodes = p.rows('nodes')
    assert [(r[1], r[2]) for r in nodes] == [('up', n['role']) for n in get(port, '/health').json['nodes']]
    assert all(r[3].endswith('s') for r in nodes)
    with w.connect(database='orders') as c, w.connect(database='orders') as c2, \
            w.connect(database='orders') as c3, w.connect(database='orders') as c4:
        for x in (c, c2, c3, c4):
            x.sql('BEGIN')
        stop.append(1)
        counts = [x.result() for x in loads]
        for x in (c, c2, c3, c4):
            x.sql('SELECT 1')
        waiting = Spawned(lambda: w.sql('SELECT 1', database='orders'))
        until(lambda: any(r[0] == 'orders / app' and r[2] == '4 of 4' and r[5].startswith('1 ·')
                          for r in p.rows('pools')))
        cluster.nodes[2].kill()
        until(lambda: p.text('status') == 'degraded' and 'is down' in p.text('reasons'))
        assert p.js("document.title") == 'degraded · pgweir'
        assert 'down' in {r[1] for r in p.rows('nodes')}
        for scheme in ('light', 'dark'):
            for width, height in ((1180, 900), (375, 1500)):
                p.look(width, height, scheme)
                assert p.js('document.documentElement.scrollWidth') <= width
                worst = contrast(p)
                assert worst[0] >= 4.5, worst
                p.shot('%s-%d' % (scheme, width))
        for x in (c, c2, c3, c4):
            x.sql('COMMIT')
        waiting.result()
    assert sum(counts) > 0
    cluster.nodes[2].start()
    until(lambda: p.text('status') == 'healthy' and not p.js("document.getElementById('trouble').checkVisibility()"))
    # nothing from elsewhere, nothing that the policy forbids, no error
    assert p.complaints() == []
    assert p.js("performance.getEntriesByType('resource').every(r => r.name.startsWith(location.origin + '/status'))")
    assert p.js("performance.getEntriesByType('resource').length") > 2
    assert p.js("document.querySelectorAll('main img').length") == 0


def test_reach(weir, pg, page):
    """By keyboard and by what reads pages aloud; the theme is a choice that stays."""
    w = weir(ini({'app': db(pg)}, **WEB))
    port = web_port(w)
    w.sql('SELECT 1')
    p = page(port)
    p.look()
    p.open()
    until(lambda: p.text('status') == 'healthy' and p.rows('pools'))
    assert p.js("document.documentElement.lang") == 'en'
    assert p.js("document.getElementById('status').getAttribute('role')") == 'status'
    # each chart and bar says what it is, each column has a head, each link a text
    assert p.js("[...document.querySelectorAll('[role=img]')].every(e => e.getAttribute('aria-label'))")
    assert p.js("[...document.querySelectorAll('th')].every(e => e.scope === 'col' && e.textContent)")
    assert p.js("[...document.querySelectorAll('main h2')].length") >= 5
    assert p.js("document.querySelectorAll('h1').length") == 1
    dark = "getComputedStyle(document.body).backgroundColor"
    light = p.js(dark)
    p.look(scheme='dark')
    assert p.js(dark) != light
    for want, same in (('light', True), ('dark', False), ('auto', False)):
        p.js("(document.getElementById('theme').focus(), document.activeElement.click())")
        assert p.text('theme') == 'Theme: ' + want
        assert (p.js(dark) == light) == same
        p.open()
        until(lambda: p.text('theme') == 'Theme: ' + want)
    assert p.complaints() == []


def test_no_answer(weir, pg, page):
    """pgweir ends: the page says so, and goes on when there is one again."""
    w = weir(ini({'app': db(pg)}, **WEB))
    port = web_port(w)
    p = page(port)
    p.look()
    p.open()
    until(lambda: p.text('status') == 'healthy')
    w.term()
    assert w.wait() == 0
    until(lambda: p.text('status') == 'no answer')
    weir(ini({'app': db(pg)}, **{**WEB, 'http_addr': port}))
    until(lambda: p.text('status') == 'healthy', 30)
