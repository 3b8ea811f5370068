"""List-append histories: the checker of tests/history on histories made by hand, and
short runs of it. `make history` has the long ones.

SPDX-License-Identifier: ISC
"""
import os
import random
import subprocess
import sys

import pytest

from conftest import PGWEIR, ROOT, SLOW

sys.path.insert(0, os.path.join(ROOT, 'tests', 'history'))

import checker  # noqa: E402
import trial  # noqa: E402
from checker import FAIL, OK, REPEATABLE_READ, SERIALIZABLE, UNKNOWN, Txn, check  # noqa: E402

pytestmark = pytest.mark.no_san
BOTH = (SERIALIZABLE, REPEATABLE_READ)


# ---- histories made by hand ----------------------------------------------------------------

def txn(begun, ended, *ops, fate=OK, client=1):
    """ops: 'x+=1', 'x=1,2', 's', 'u'."""
    out = []
    for op in ops:
        if '+=' in op:
            key, value = op.split('+=')
            out.append(('a', key, int(value)))
        elif '=' in op:
            key, seen = op.split('=')
            out.append(('r', key, [int(v) for v in seen.split(',') if v]))
        else:
            out.append((op,))
    return Txn(client, begun, None if fate == UNKNOWN else ended, fate, out)


def kinds(txns, final=None, level=SERIALIZABLE):
    return dict(check(txns, final, level).kinds())


GOOD = {
    'nothing': ([], {}),
    'one after the other': ([txn(0, 1, 'x+=1'), txn(2, 3, 'x=1', 'x+=2', 'x=1,2'), txn(4, 5, 'x=1,2')],
                            {'x': [1, 2]}),
    'at the same time': ([txn(0, 9, 'x=', 'y+=1'), txn(0, 9, 'x+=2', 'z=')], {'x': [2], 'y': [1]}),
    # the order of a serial execution is not that of the ends
    'the other order': ([txn(0, 5, 'x=', 'y+=1'), txn(0, 4, 'x+=2')], {'x': [2], 'y': [1]}),
    'two values of one': ([txn(0, 1, 'x+=1', 'x+=2', 'x=1,2'), txn(2, 3, 'x=1,2')], {'x': [1, 2]}),
    'own appends': ([txn(0, 1, 'x+=1'), txn(2, 3, 'x+=2', 'x=1,2', 'x=1,2', 'x+=3', 'x=1,2,3')],
                    {'x': [1, 2, 3]}),
    'undone': ([txn(0, 1, 'x+=1', 's', 'x+=2', 'x=1,2', 'u', 'x=1', 'x+=3')], {'x': [1, 3]}),
    'undone twice': ([txn(0, 1, 's', 'x+=2', 'u', 'x+=3', 'y=', 'u', 'x+=4')], {'x': [4]}),
    'failed': ([txn(0, 1, 'x+=1', fate=FAIL), txn(2, 3, 'x=')], {}),
    'unknown and done': ([txn(0, 1, 'x+=1', 'y+=2', fate=UNKNOWN), txn(2, 3, 'x=1')], {'x': [1], 'y': [2]}),
    'unknown and not done': ([txn(0, 1, 'x+=1', 'y+=2', fate=UNKNOWN), txn(2, 3, 'x=')], {}),
    # it may take effect after its client was told that nobody knows
    'unknown and late': ([txn(0, 1, 'x+=1', fate=UNKNOWN), txn(2, 3, 'x='), txn(4, 5, 'x=1')], {'x': [1]}),
    'unknown and only read': ([txn(0, 9, 'x=', 'y=2', fate=UNKNOWN), txn(0, 9, 'x+=1'),
                               txn(0, 9, 'y+=2')], {'x': [1], 'y': [2]}),
}


@pytest.mark.parametrize('level', BOTH)
@pytest.mark.parametrize('name', GOOD)
def test_nothing_is_found(name, level):
    txns, final = GOOD[name]
    r = check(txns, final, level)
    assert not r.anomalies and not r.cycles
    assert not check(txns, None, level).anomalies


W1, W2 = txn(0, 1, 'x+=1'), txn(2, 3, 'x+=2')
# name: transactions, final lists, kinds of anomalies at both levels
BAD = {
    'lost': ([W1, W2], {'x': [2]}, {'lost append'}),
    'lost with its key': ([W1], {}, {'lost append'}),
    'doubled': ([W1, W2], {'x': [1, 2, 1]}, {'duplicate append', 'G0'}),
    'doubled at once': ([W1, W2], {'x': [1, 1, 2]}, {'duplicate append'}),
    'made up': ([W1], {'x': [1, 7]}, {'garbage'}),
    'in another key': ([W1], {'x': [1], 'y': [1]}, {'garbage'}),
    'made up and read': ([W1, txn(2, 3, 'y=7')], {'x': [1]}, {'garbage', 'not a prefix'}),
    'failed and there': ([W1._replace(fate=FAIL)], {'x': [1]}, {'aborted append'}),
    'undone and there': ([txn(0, 1, 's', 'x+=1', 'u', 'x+=2')], {'x': [1, 2]}, {'aborted append'}),
    'half of unknown': ([txn(0, 1, 'x+=1', 'y+=2', fate=UNKNOWN)], {'x': [1]}, {'torn transaction'}),
    'half of unknown in one key': ([txn(0, 1, 'x+=1', 'x+=2', fate=UNKNOWN)], {'x': [2]},
                                   {'torn transaction'}),
    'read of a failed one': ([W1._replace(fate=FAIL), txn(0, 1, 'x=1')], {},
                             {'aborted read', 'not a prefix'}),
    'read of what was undone': ([txn(0, 9, 's', 'x+=1', 'u'), txn(0, 9, 'x=1')], {},
                                {'aborted read', 'not a prefix'}),
    'read by a failed one': ([W1._replace(fate=FAIL), txn(0, 1, 'x=1', fate=FAIL)], {},
                             {'aborted read', 'not a prefix'}),
    'not a prefix': ([W1, W2, txn(4, 5, 'x=2,1')], {'x': [1, 2]}, {'not a prefix', 'G-single-realtime'}),
    'a gap': ([W1, W2, txn(0, 9, 'x=2')], {'x': [1, 2]}, {'not a prefix'}),
    'intermediate': ([txn(0, 9, 'x+=1', 'x+=2'), txn(0, 9, 'x=1')], {'x': [1, 2]},
                     {'intermediate read', 'G-single'}),
    'own append not read': ([txn(0, 1, 'x+=1', 'x=')], {'x': [1]}, {'internal'}),
    'own append in front': ([W1, txn(2, 3, 'x+=2', 'x=2,1')], {'x': [1, 2]}, {'internal'}),
    'read before it was done': ([txn(0, 1, 'x=1', 'x+=1')], {'x': [1]}, {'internal'}),
    'not repeatable': ([W1, txn(0, 9, 'x=', 'x=1')], {'x': [1]}, {'internal'}),
    'undone and read': ([txn(0, 1, 's', 'x+=1', 'u', 'x=1')], {}, {'internal'}),
    'own appends swapped': ([txn(0, 1, 'x+=1', 'x+=2')], {'x': [2, 1]}, {'append order'}),
    # cycles
    'G0': ([txn(0, 9, 'x+=1', 'y+=1001'), txn(0, 9, 'x+=2', 'y+=1002')],
           {'x': [1, 2], 'y': [1002, 1001]}, {'G0'}),
    'torn apart': ([txn(0, 9, 'x+=1', 'x+=2'), txn(0, 9, 'x+=3')], {'x': [1, 3, 2]}, {'G0'}),
    'G1c': ([txn(0, 9, 'x+=1', 'y=2'), txn(0, 9, 'x=1', 'y+=2')], {'x': [1], 'y': [2]}, {'G1c'}),
    'G1c with ww': ([txn(0, 9, 'x+=1', 'y=3'), txn(0, 9, 'x+=2', 'y+=3')], {'x': [1, 2], 'y': [3]},
                    {'G1c'}),
    'read skew': ([txn(0, 9, 'x+=1', 'y+=2'), txn(0, 9, 'x=', 'y=2')], {'x': [1], 'y': [2]},
                  {'G-single'}),
    'lost update': ([W1, txn(4, 9, 'x=1', 'x+=2'), txn(4, 9, 'x=1', 'x+=3')], {'x': [1, 2, 3]},
                    {'G-single'}),
    'G-single of three': ([txn(0, 9, 'x=', 'z=3'), txn(0, 9, 'x+=1', 'y+=2'), txn(0, 9, 'y=2', 'z+=3')],
                          {'x': [1], 'y': [2], 'z': [3]}, {'G-single'}),
    'long fork': ([txn(0, 9, 'x+=1'), txn(0, 9, 'y+=2'), txn(0, 9, 'x=1', 'y='), txn(0, 9, 'x=', 'y=2')],
                  {'x': [1], 'y': [2]}, {'G-nonadjacent'}),
    'a stale read': ([W1, W2, txn(4, 5, 'x=1')], {'x': [1, 2]}, {'G-single-realtime'}),
    'a stale read of nothing': ([W1, txn(2, 3, 'x=')], {'x': [1]}, {'G-single-realtime'}),
    'an append that came before': ([W1, W2], {'x': [2, 1]}, {'G0-realtime'}),
    'a read of the future': ([txn(0, 1, 'x=1'), txn(2, 3, 'x+=1')], {'x': [1]}, {'G1c-realtime'}),
    'a stale chain': ([W1, txn(2, 3, 'y+=5'), txn(4, 5, 'y+=6'), txn(6, 7, 'x=')], {'x': [1], 'y': [5, 6]},
                      {'G-single-realtime'}),
    'a stale read behind another': ([W1, txn(0, 2, 'y+=5'), txn(3, 4, 'x=')], {'x': [1], 'y': [5]},
                                    {'G-single-realtime'}),
    'long fork in time': ([txn(0, 3, 'x+=1'), txn(0, 9, 'y+=2'), txn(4, 9, 'z+=3', 'y='),
                           txn(0, 9, 'x=', 'y=2')], {'x': [1], 'y': [2], 'z': [3]},
                          {'G-nonadjacent-realtime'}),
}


@pytest.mark.parametrize('level', BOTH)
@pytest.mark.parametrize('name', BAD)
def test_is_found(name, level):
    txns, final, want = BAD[name]
    assert set(kinds(txns, final, level)) == want


SKEW = {
    'write skew': ([txn(0, 9, 'x=', 'y+=1'), txn(0, 9, 'y=', 'x+=2')], {'y': [1], 'x': [2]}, 'G2'),
    'of three': ([txn(0, 9, 'x=', 'y+=1'), txn(0, 9, 'y=', 'z+=2'), txn(0, 9, 'z=', 'x+=3')],
                 {'y': [1], 'z': [2], 'x': [3]}, 'G2'),
    # the reader sees the deposit's report before the withdrawal that was there first
    'read-only': ([txn(0, 9, 'x=', 'y=', 'x+=1'), txn(1, 2, 'y=', 'y+=2'), txn(3, 4, 'x=', 'y=2')],
                  {'x': [1], 'y': [2]}, 'G2'),
    'only in time': ([txn(0, 9, 'x=', 'y+=1'), txn(0, 3, 'x+=2'), txn(4, 9, 'y=', 'z+=3')],
                     {'x': [2], 'y': [1], 'z': [3]}, 'G2-realtime'),
}


@pytest.mark.parametrize('name', SKEW)
def test_write_skew_is_found_and_allowed(name):
    txns, final, kind = SKEW[name]
    assert kinds(txns, final) == {kind: 1}
    r = check(txns, final, REPEATABLE_READ)
    assert not r.anomalies and [c.kind for c in r.cycles] == [kind]


def test_a_cycle_that_is_not_allowed_is_not_hidden_by_others():
    """One component with write skew and a lost update in it."""
    txns = [txn(0, 9, 'x=', 'y+=1'), txn(0, 9, 'y=', 'x+=2', 'z=', 'z+=3'), txn(0, 9, 'z=', 'z+=4')]
    final = {'y': [1], 'x': [2], 'z': [3, 4]}
    assert kinds(txns, final, REPEATABLE_READ) == {'G-single': 1}
    assert len(check(txns, final, REPEATABLE_READ).cycles) == 1


def test_without_the_end_the_longest_read_counts():
    assert kinds([W1, W2, txn(4, 5, 'x=1,2'), txn(0, 9, 'x=2')]) == {'not a prefix': 1}
    assert kinds([W1, W2, txn(4, 5, 'x=1,2'), txn(6, 7, 'x=1')]) == {'G-single-realtime': 1}


def naive(adj):
    """Which nodes are together on a cycle, by going everywhere."""
    reach = []
    for n in range(len(adj)):
        seen, todo = set(), [n]
        while todo:
            for m, _ in adj[todo.pop()]:
                if m not in seen:
                    seen.add(m)
                    todo.append(m)
        reach.append(seen)
    return {frozenset(m for m in reach[n] if n in reach[m]) for n in range(len(adj)) if n in reach[n]}


def test_components():
    rng = random.Random(3)
    for _ in range(400):
        n = rng.randint(1, 12)
        adj = [[(m, 'ww') for m in rng.sample(range(n), rng.randint(0, min(n, 3))) if m != i]
               for i in range(n)]
        found = checker.components(adj)
        assert {frozenset(f) for f in found} == naive(adj)
        assert all(checker.around(adj, f) for f in found)
    deep = [[(i + 1, 'ww')] for i in range(50000)] + [[(0, 'ww')]]
    assert [len(f) for f in checker.components(deep)] == [50001]


def serial(rng, n, snapshots=False):
    """A run as a database would do it: one after the other, or each on the state of up
    to three commits before, refused where it appends to what was changed since."""
    states, changed, out, value = [{}], [set()], [], 0
    for i in range(n):
        age = rng.randint(0, min(3, len(states) - 1)) if snapshots else 0
        at = len(states) - 1 - age
        ops, mine = [], {}
        for _ in range(rng.randint(1, 4)):
            k = rng.choice('xyz')
            if rng.random() < 0.5:
                ops.append(('r', k, states[at].get(k, []) + mine.get(k, [])))
            else:
                value += 1
                mine.setdefault(k, []).append(value)
                ops.append(('a', k, value))
        refused = any(k in c for c in changed[at + 1:] for k in mine)
        # it began after the commit that it sees, and ends with its own
        out.append(Txn(1, at + 0.5 if snapshots else i + 0.1, len(states) - 0.0 if snapshots else i + 0.9,
                       FAIL if refused else OK, ops))
        if not refused:
            states.append({k: states[-1].get(k, []) + mine.get(k, []) for k in 'xyz'})
            changed.append(set(mine))
    return out, states[-1]


def test_made_histories_are_what_they_are():
    """Serial ones have no cycle; those of snapshots have write skew and nothing else."""
    rng = random.Random(5)
    skews = 0
    for _ in range(60):
        txns, final = serial(rng, 60)
        r = check(txns, final)
        assert not r.anomalies and r.edges['rw']
        txns, final = serial(rng, 60, True)
        r = check(txns, final, REPEATABLE_READ)
        assert not r.anomalies
        skews += len(r.cycles)
        assert len(r.cycles) == len(check(txns, final).anomalies)
    assert skews > 60


def test_damage_to_a_made_history_is_found():
    rng = random.Random(7)
    for _ in range(100):
        txns, final = serial(rng, 40)
        key = rng.choice([k for k in final if len(final[k]) > 2])
        values, at = final[key], rng.randrange(len(final[key]))
        how = rng.choice(('lose', 'double', 'swap'))
        if how == 'lose':
            del values[at]
        elif how == 'double':
            values.append(values[at])
        else:
            values[at - 1], values[at] = values[at], values[at - 1]
        assert kinds(txns, final)


# ---- runs ----------------------------------------------------------------------------------

def told(r):
    return '\n'.join([r.head(), *r.more(), *(b[:1500] for b in r.bad[:5])])


def run(pg, base, binary, way, isolation, seconds, **kw):
    r = trial.run(pg, base, binary, way, isolation, seconds, clients=8, **kw)
    print(told(r))
    return r


def test_direct(pg, base):
    """The load and the checker on the server itself."""
    r = run(pg, base, None, trial.DIRECT, SERIALIZABLE, 2)
    assert not r.bad, told(r)
    assert r.fates[OK] and r.fates[FAIL] and all(r.report.edges[e] for e in ('ww', 'wr', 'rw'))


def runs(pg, base, isolation, judge=None):
    """A few: what is looked for happens soon, but not at a known time."""
    for _ in range(5):
        yield run(pg, base, None, trial.DIRECT, isolation, 2, judge=judge)


def test_direct_snapshots(pg, base):
    """Write skew happens here, and is told from what may not happen."""
    for r in runs(pg, base, REPEATABLE_READ):
        assert not r.bad, told(r)
        if r.report.cycles:
            return
    pytest.fail('no write skew')


def test_read_committed_is_not_repeatable_read(pg, base):
    """A control: clients that get less than what the history is judged by."""
    assert any(r.report.kinds()['internal'] and r.report.kinds()['G-single']
               for r in runs(pg, base, 'read committed', REPEATABLE_READ))


@pytest.fixture(scope='module')
def mutants():
    """Where pgweir with the bugs of tests/history/mutants.txt is."""
    where = os.environ.get('PGWEIR_MUTANTS')
    if not where:
        done = subprocess.run(['make', '-C', ROOT, 'history-mutants'], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=600, check=False)
        assert not done.returncode, done.stdout.decode(errors='replace')
        where = os.path.join(ROOT, 'build', 'history')
    return where


@pytest.mark.weir_only
@pytest.mark.timeout(120 * SLOW)
def test_replay(pg, base):
    r = run(pg, base, PGWEIR, trial.REPLAY, SERIALIZABLE, 6, min_replays=100)
    assert not r.bad, told(r)


@pytest.mark.weir_only
@pytest.mark.timeout(120 * SLOW)
@pytest.mark.parametrize('name', ['blind-replay', 'weak-digest'])
def test_replay_that_does_not_compare_is_noticed(pg, base, mutants, name):
    """The controls: a comparison that always says equal, a digest without the bytes."""
    r = run(pg, base, os.path.join(mutants, name, 'pgweir'), trial.REPLAY, SERIALIZABLE, 3,
            min_replays=100)
    assert r.replays >= 100
    assert r.report.anomalies, told(r)
