"""The laboratory of retries in short, and its judge: `make retry-lab` measures.

SPDX-License-Identifier: ISC
"""
import os
import shutil
import sys
from xml.dom import minidom

import pytest

from conftest import ROOT

sys.path[:0] = [os.path.join(ROOT, 'tests', 'retrylab'), os.path.join(ROOT, 'tests', 'faults')]

import arena as arena_  # noqa: E402
import page  # noqa: E402
import pgbench  # noqa: E402
import workloads  # noqa: E402

pytestmark = [pytest.mark.weir_only, pytest.mark.no_san]
WORKLOADS = {w.name: w for w in workloads.WORKLOADS}
LEVEL = workloads.SERIALIZABLE


@pytest.fixture(scope='module')
def arena(base):
    where = base + '/retrylab'
    os.mkdir(where)
    shutil.chown(where, os.stat(base).st_uid, os.stat(base).st_gid)
    a = arena_.Arena(where)
    try:
        yield a.open()
    finally:
        ended = a.close()
    assert not ended


@pytest.fixture(scope='module')
def played(arena):
    """played(way): one second of the statement without BEGIN."""
    seen = {}

    def make(way):
        if way not in seen:
            seen[way] = arena.run(WORKLOADS['implicit'], way, LEVEL, 1)
        return seen[way]
    return make


@pytest.mark.parametrize('way', ['off', 'implicit'])
def test_promises(played, way):
    r = played(way)
    assert r.bad == []
    assert r.told.failed == r.told.serialization + r.told.deadlock
    assert len(r.told.times) == r.told.done == r.numbers['total'] > 0


def counted(r, n):
    """pgbench does not count a failure of a client's last transaction, when its time is up."""
    return r.told.failed <= n <= r.told.failed + r.workload.clients


def test_off_runs_nothing_again(played):
    r = played('off')
    assert r.counter('retried') == 0 and counted(r, r.counter('retry_seen'))


def test_implicit_fails_only_when_exhausted(played):
    r = played('implicit')
    assert counted(r, r.counter('retry_exhausted'))


# ---- the judge ------------------------------------------------------------------------------

@pytest.mark.parametrize('name', WORKLOADS)
def test_doctored_numbers_are_rejected(arena, name):
    """One more or less of anything that was counted, or of what clients were told."""
    w = WORKLOADS[name]
    arena.reset()
    honest = w.read(arena.pg)
    assert w.violations(honest, 0, LEVEL) == []
    for key in honest:
        for by in (1, -1):
            assert w.violations(workloads.Numbers(honest, **{key: honest[key] + by}), 0, LEVEL), \
                '%s, %+d' % (key, by)
    assert w.violations(honest, 1, LEVEL)


def test_skew_is_allowed_below_serializable_only(arena):
    w = WORKLOADS['skew']
    arena.reset()
    numbers = workloads.Numbers(w.read(arena.pg), nobody=3)
    assert w.violations(numbers, 0, workloads.REPEATABLE) == []
    assert w.violations(numbers, 0, LEVEL)


ONE_ROW = 'WHERE ctid = (SELECT min(ctid) FROM %s)'
AGAIN = 'INSERT INTO log (k, m, level) SELECT k, m, level FROM log ' + ONE_ROW % 'log'
DAMAGE = {      # workload: what is changed behind the clients' back, and how it is named
    'ticket': [("DELETE FROM log " + ONE_ROW % 'log', 'strangers'),
               ("UPDATE log SET m = -1 " + ONE_ROW % 'log', 'strangers'),
               ("UPDATE log SET level = 'read committed' " + ONE_ROW % 'log', 'level'),
               ("UPDATE counters SET n = n + 1 WHERE id = 1000", 'total')],
    'rmw': [(AGAIN, 'twice'), ("UPDATE counters SET n = n - 1 WHERE id = 1000", 'wrong')],
    'bank': [("UPDATE accounts SET balance = balance + 1 WHERE id = 1", 'total'),
             ("UPDATE transfers SET x = x + 1 " + ONE_ROW % 'transfers', 'wrong'),
             ("UPDATE accounts SET balance = balance + CASE id WHEN 1 THEN -101 ELSE 101 END "
              "WHERE id IN (1, 2)", 'negative')],
    'skew': [("UPDATE oncall SET on_call = false WHERE shift = 500", 'nobody'),
             ("UPDATE log SET m = 0 " + ONE_ROW % 'log', 'nobody')],
    'tpcb': [("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1", 'accounts'),
             ("DELETE FROM pgbench_history " + ONE_ROW % 'pgbench_history', 'rows')],
}
SAID = {'strangers': 'tickets', 'level': 'rows written at', 'total': 'counters against|money',
        'twice': 'twice', 'wrong': 'are not what', 'negative': 'below nothing',
        'nobody': 'nobody on call', 'accounts': 'sum over accounts', 'rows': 'rows written down'}


@pytest.mark.parametrize('name', DAMAGE)
def test_damage_is_noticed(arena, name):
    """Real transactions, one client, then something is changed by hand."""
    w = WORKLOADS[name]
    port, database = arena.where('direct')
    for sql, what in DAMAGE[name]:
        arena.reset()
        told = pgbench.run(arena.base, port, database, w.script, 1, 1, 1, LEVEL, modes=['simple'])
        assert not told.bad and told.done
        assert w.violations(w.read(arena.pg), told.done, LEVEL) == []
        arena.pg.sql(sql)
        got = w.violations(w.read(arena.pg), told.done, LEVEL)
        assert any(x in g for g in got for x in SAID[what].split('|')), '%s: %s' % (sql, got)


# ---- what is written ------------------------------------------------------------------------

def test_the_page_can_be_read_back(played, tmp_path):
    """What was not run stays, and the picture has all of it."""
    doc, image = tmp_path / 'retry.md', tmp_path / 'lab.svg'
    doc.write_text('before\n%s\n%s\nafter\n' % (page.BEGIN, page.END))
    runs = [played('off'), played('implicit')]
    cost = arena_.Cost('simple', {w: [(10.0, 100.0)] * 2 for w in arena_.WAYS[1:]})
    page.write(runs, [cost], 1, 1, doc, image)
    rows, costs = page.parse(doc.read_text())
    assert list(rows) == [(LEVEL, 'implicit')] and list(costs) == ['simple']
    cells = rows[LEVEL, 'implicit']
    assert cells[page.COLUMNS.index('off')] == page.one_way(runs[0])
    assert cells[page.COLUMNS.index('direct')] == ''
    page.write([], [], 1, 1, doc, image)
    assert page.parse(doc.read_text()) == (rows, costs)
    assert doc.read_text().startswith('before\n') and doc.read_text().endswith('\nafter\n')
    svg = minidom.parse(str(image))
    bars = [r for r in svg.getElementsByTagName('rect') if not r.getAttribute('rx')]
    assert [r.getAttribute('class') for r in bars] == ['w1', 'w2']
