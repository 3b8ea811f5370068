"""The pages: every block of code says of what kind it is, and what can be run is run, as it
stands there, on a machine of its own (machine.py) with servers where the page has them.

    ```ini                    a whole configuration: checked
    ```ini file=PATH          ... and written there
    ```ini lines              lines of one
    ```sh run                 run by sh -e, from the tree; as root, so that sudo asks nothing
    ```sh live                each line is run until it has said something, then ended
    ```sql run                as user app through pgweir, a line at a time, in one session
    ```text output            what the block before has printed: numbers may be others,
                              "..." stands for anything
    ```sh not run: REASON     what a test cannot do
    ```text                   a picture, a file of another kind, an error

All pages are held to that.

SPDX-License-Identifier: ISC
"""
import glob
import os
import re
import shutil
import signal
import subprocess

import pytest

import certs
from conftest import PGWEIR, ROOT, SLOW, readable
from crdb import Node
from machine import Machine

pytestmark = pytest.mark.weir_only

PAGES = sorted(os.path.relpath(p, ROOT) for p in [os.path.join(ROOT, 'README.md'), *glob.glob(os.path.join(ROOT, 'docs', '*.md'))])
KINDS = r'ini( file=\S+| lines)?|sh (run|live|not run: \S.*)|sql (run|not run: \S.*)|text( output)?'


def read(page):
    with open(os.path.join(ROOT, page)) as f:
        return f.read()


def blocks(page):
    """(kind, text, line) of each."""
    out, kind, text = [], None, []
    for n, line in enumerate(read(page).split('\n'), 1):
        fence = re.match(r'```(.*)', line)
        if fence and kind is None:
            kind, text, at = fence.group(1).strip(), [], n
        elif fence:
            out.append((kind, '\n'.join(text) + '\n', at))
            kind = None
        elif kind is not None:
            text.append(line)
    assert kind is None, '%s: a block does not end' % page
    return out


@pytest.mark.parametrize('page', PAGES)
def test_every_block_says_what_it_is(page):
    for kind, _, line in blocks(page):
        assert re.fullmatch(KINDS, kind), '%s:%d: of what kind is this block? %r' % (page, line, kind)
    # and none hides as an indented one
    text = re.sub(r'(?ms)^```.*?^```$', '', read(page))
    assert not re.search(r'\n\n    \S', text), 'a block without a kind: %r' % re.search(r'\n\n    \S.*', text).group()


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    """To files of the tree and headings in them."""
    for to in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'(?ms)^```.*?^```$|`[^`\n]*`', '', read(page))):
        if re.match(r'https?:', to):
            continue
        path, _, anchor = to.partition('#')
        there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        assert os.path.exists(os.path.join(ROOT, there)), '%s: %s' % (page, to)
        if anchor:
            heads = [re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-') for h in re.findall(r'^#+ (.*)$', read(there), re.M)]
            assert anchor in heads, '%s: %s' % (page, to)


def test_the_index_has_every_page():
    index = read('docs/README.md')
    for page in PAGES:
        if page.startswith('docs/') and page != 'docs/README.md':
            assert '(%s)' % os.path.basename(page) in index, page


@pytest.fixture(scope='module')
def etc(tmp_path_factory):
    """What stands in /etc/pgweir when configurations are checked."""
    d = tmp_path_factory.mktemp('etc')
    ca = certs.Authority(str(d), 'ca')
    server = ca.server()
    for name, text in (('users.txt', '"app" "secret"\n'), ('hba', 'hostssl all all all scram-sha-256\n'), ('app', 'x\n'),
                       ('app.password', 'x\n'), ('monitor.password', 'x\n')):
        (d / name).write_text(text)
    for name, path in (('servers-ca.crt', ca.ca), ('clients-ca.crt', ca.ca), ('ca.crt', ca.ca), ('server.crt', server.cert), ('server.key', server.key)):
        if os.path.join(str(d), name) != path:
            shutil.copy(path, d / name)
    return str(d)


@pytest.mark.parametrize('page', [p for p in PAGES if any(re.match(r'ini(?! lines)', k) for k, _, _ in blocks(p))])
def test_configurations_are_right(page, etc, tmp_path):
    for kind, text, line in blocks(page):
        if not re.match(r'ini(?! lines)', kind):
            continue
        (tmp_path / 'x.ini').write_text(text.replace('/etc/pgweir', etc))
        out = subprocess.run([PGWEIR, '--check', str(tmp_path / 'x.ini')], capture_output=True, text=True, timeout=60,
                             env={**os.environ, 'CREDENTIALS_DIRECTORY': etc})
        assert out.returncode == 0, '%s:%d: %s' % (page, line, out.stderr)


# ---- what is run ---------------------------------------------------------------------------

@pytest.fixture
def machine(tmp_path):
    if os.geteuid():
        pytest.skip('only root can make namespaces')
    m = Machine(str(tmp_path))
    yield m
    m.stop()


def cluster(m, base, template):
    """A primary and two standbys at 10.0.0.1 to 3, port 5432."""
    for i in (1, 2, 3):
        m.address('10.0.0.%d' % i)
    p = m.postgres(base, 'docs-1', '10.0.0.1', template)
    assert p.psql("ALTER ROLE app PASSWORD 'secret'").returncode == 0
    for i in (2, 3):
        m.postgres(base, 'docs-%d' % i, '10.0.0.%d' % i, p)
    p.streams_to(2)


def crdb(m, base, template):
    """crdb1 to crdb3, port 26257 and 8080, in the machine's network."""
    m.address('10.0.0.9')
    p = m.postgres(base, 'docs-crdb', '127.0.0.1', template)
    p.hba('host all all 127.0.0.1/32 trust\n')
    p.reload()
    os.makedirs(base + '/docs-keys', exist_ok=True)
    for i in (1, 2, 3):
        m.address('10.0.1.%d' % i, 'crdb%d' % i)
        n = Node(base, 'docs-crdb%d' % i, {'id': i, 'pg_port': 5432, 'version': 'CockroachDB CCL v23.1.11', 'defaultdb': 'postgres', 'seed': i,
                                             'keys': base + '/docs-keys', 'host': '10.0.1.%d' % i, 'port': 26257, 'http_port': 8080})
        n.inside = m.net
        m.servers.append(n.start())


def anybody(m, base, template):
    """A service that runs, and a user for its numbers."""
    cluster(m, base, template)
    m.write('/etc/pgweir/pgweir.ini', '[databases]\n* = host=10.0.0.1,10.0.0.2,10.0.0.3 user=app password=secret\n[pgweir]\nlisten_addr = 127.0.0.1\n'
            'unix_socket_dir = /run/pgweir\nauth_type = trust\nadmin_users = ops\nstats_users = monitor\nhttp_addr = 9630\n')
    m.sh('systemctl start pgweir')


def begun(m, base, template):
    m.sh('systemctl start pgweir')


STAGES = {'docs/quickstart-cockroachdb.md': crdb, 'docs/top.md': anybody, 'docs/retry.md': anybody, 'docs/http.md': anybody, 'docs/install.md': begun}


@pytest.mark.no_san
@pytest.mark.timeout(180)
@pytest.mark.parametrize('page', [p for p in PAGES if any(re.match(r'(sh|sql) (run|live)', k) for k, _, _ in blocks(p))])
def test_what_stands_there_is_run(page, machine, base, template):
    m = machine
    m.install()
    STAGES.get(page, cluster)(m, base, template)
    printed = None
    for kind, text, line in blocks(page):
        try:
            if kind.startswith('ini file='):
                m.write(kind[9:], text)
            elif kind == 'sh run':
                printed = m.run('sh', '-ec', 'cd %s\n%s' % (ROOT, text), stderr=subprocess.PIPE)
            elif kind == 'sql run':
                printed = m.run('psql', '-XAt', 'host=127.0.0.1 port=6432 user=app password=secret dbname=app',
                                *[x for line in text.splitlines() for x in ('-c', line)])
            elif kind == 'sh live':
                printed = ''.join(live(m, x) for x in text.splitlines())
            elif kind == 'text output':
                assert alike(text, printed), 'it printed\n%s' % printed
        except AssertionError as e:
            pytest.fail('%s:%d: %s\n%s' % (page, line, e, m.sh('tail -n 30 /run/log', check=False)), pytrace=False)


def live(m, command):
    """Until it has said something; it must end well when it is told to."""
    p = subprocess.Popen([*m.argv, 'sh', '-c', 'cd %s; exec %s' % (ROOT, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, env=m.env())
    try:
        assert readable(p.stdout, 20 * SLOW), '%s: says nothing' % command
        out = os.read(p.stdout.fileno(), 65536)
        p.send_signal(signal.SIGTERM)
        rest, err = p.communicate(timeout=20 * SLOW)
        assert out and p.returncode == 0, '%s: %d %s' % (command, p.returncode, err.decode())
        return (out + rest).decode()
    finally:
        if p.poll() is None:
            p.kill()
            p.communicate()


def alike(want, got):
    """Line by line: numbers may be others, ... is anything; how many blanks there are does
    not matter."""
    def pattern(line):
        return r'\s+'.join('.*' if w == '...' else re.sub(r'\d+(?:\\\.\d+)?', lambda _: r'[\d.]+', re.escape(w)) for w in line.split())
    a, b = want.strip().splitlines(), (got or '').strip().splitlines()
    return len(a) == len(b) and all(re.fullmatch(pattern(x), y.strip()) for x, y in zip(a, b))


def test_alike():
    assert alike('a 12 b', 'a   7 b') and alike('... 1.5 ms', 'x y 22 ms') and alike('10.0.0.1|f\nt', '10.0.0.1|f\nt\n')
    assert not alike('a', 'b') and not alike('a\nb', 'a') and not alike('1', 'x')
