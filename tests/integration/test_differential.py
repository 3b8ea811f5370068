"""Everything a client can see, compared with PostgreSQL itself, byte for byte.

Each script of diff_*.py is played to the server directly and through daemons
with one and two workers and pools of one and five servers; whole and cut at
random places; alone and with neighbours that use the same servers meanwhile.
The answers must be the same (diff.py says what is not compared). DIFF_SEED
makes the random things what they were.

The daemons run on for the whole module: what one script leaves behind on a
server is seen by the next.

SPDX-License-Identifier: ISC
"""
import concurrent.futures
import os
import shutil
import signal
import tempfile

import pytest

import diff
import diff_extended
import diff_simple
import wire
from cluster import Postgres
from conftest import DIRECT, LIVE, Weir, db, ini

SCRIPTS = [s for m in (diff_simple, diff_extended) for s in m.SCRIPTS]
MATRIX = [(w, p) for w in (1, 2) for p in (1, 5)]
ROLES = 'CREATE ROLE diff_role; GRANT diff_role TO app;'
TABLES = '''
CREATE TABLE public.ten (i int PRIMARY KEY, s text);
INSERT INTO public.ten SELECT i, 'row ' || i FROM generate_series(1, 10) i;
GRANT SELECT ON public.ten TO PUBLIC;
'''


class Field:
    """The server, the lanes, and what was seen."""

    def __init__(self, base, template):
        self.weirs, self.lanes, self.references, self.again = [], [], {}, {}
        self.pg = Postgres(base, 'differential').copy_from(template).start()
        with self.pg.connect(database='postgres') as c:
            for line in ROLES.split(';')[:-1]:
                c.sql(line)
            for i in range(len(MATRIX) + 1):
                c.sql('CREATE DATABASE d%d OWNER app' % i)
        for i in range(len(MATRIX) + 1):
            self.pg.sql(TABLES, user='app', database='d%d' % i)
        self.direct = diff.Lane('direct', self.pg.port, self.pg.port, 'd0')
        self.lanes = [self.lane(base, 'd%d' % (i + 1), *m) for i, m in enumerate(MATRIX)]
        self.threads = concurrent.futures.ThreadPoolExecutor(len(self.lanes) + 1)

    def lane(self, base, name, workers, pool):
        full = 'workers=%d pool=%d' % (workers, pool)
        if DIRECT:
            return diff.Lane(full, self.pg.port, self.pg.port, name, pool=pool)
        w = Weir(base, ini({'app': db(self.pg, dbname=name)}, workers=workers, default_pool_size=pool,
                           max_pinned_servers=pool, server_round_robin=1, log_connections=0,
                           log_disconnections=0), wait=False)
        self.weirs.append((full, w))
        w.wait_ready()
        held = [w.connect() for _ in range(pool)]
        for c in held:
            c.sql('BEGIN')          # so that there are as many servers as there may be
        for c in held:
            c.sql('COMMIT')
            c.close()
        return diff.Lane(full, w.port, self.pg.port, name, asks='app', pool=pool,
                         ping=w.connect('admin', 'pgweir'))

    def reference(self, script):
        """How PostgreSQL answers; and how it answers the same again, cut and
        with neighbours, which must not matter to it."""
        if script.name not in self.references:
            self.references[script.name] = self.direct.play(script)
            self.again[script.name] = self.direct.play(script, cut=True, noisy=True)
        return self.references[script.name]

    def variants(self, lane, script):
        """[(variant, transcripts)] of this script on this lane, until it hangs."""
        out = []
        if script.needs > lane.pool:
            return out
        for noisy in (False, True):
            for cut in (False, True):
                name = '%s%s%s' % (lane.name, ' cut' if cut else '', ' neighbours' if noisy else '')
                seen = lane.play(script, cut, noisy)
                out.append((name, seen, lane.last))
                if any(t and t[-1][0] == 'nothing more' for t in seen.values()):
                    return out
        lane.last = script.name
        return out

    def all(self, script):
        jobs = [self.threads.submit(self.variants, lane, script) for lane in self.lanes]
        want = self.threads.submit(self.reference, script).result()
        return want, [v for j in jobs for v in j.result()]

    def close(self):
        bad = []
        for lane in [self.direct, *self.lanes]:
            lane.close()
        for name, w in self.weirs:
            bad += ['pgweir %s %s' % (name, b) for b in w.stop()]
            shutil.rmtree(w.dir, ignore_errors=True)
        self.pg.stop(signal.SIGQUIT)
        return bad


@pytest.fixture(scope='module')
def _field(base, template):
    f = Field(base, template)
    yield f
    bad = f.close()
    if bad:
        pytest.fail('\n'.join(bad), pytrace=False)


@pytest.fixture
def field(_field):
    for name, path in [('postgres', _field.pg.log)] + [('pgweir ' + n, w.logfile) for n, w in _field.weirs]:
        LIVE.append((name, path, os.path.getsize(path)))
    return _field


def complain(script, want, seen):
    """Fails with the first difference, and the names of all variants that have one."""
    bad = [(name, got, before, diff.difference(script, want, got)) for name, got, before in seen]
    bad = [b for b in bad if b[3]]
    if bad:
        name, got, before, where = bad[0]
        pytest.fail('script %s, DIFF_SEED=%d\ndiffers in %d of %d: %s\n%s (before it: %s)\n%s' % (
            script.name, diff.SEED, len(bad), len(seen), '; '.join(b[0] for b in bad), name, before,
            diff.side_by_side(script, want, got, where)), pytrace=False)


@pytest.mark.parametrize('script', SCRIPTS, ids=str)
def test_through_pgweir(field, script):
    want, seen = field.all(script)
    complain(script, want, seen)


@pytest.mark.parametrize('script', SCRIPTS, ids=str)
def test_postgres_against_itself(field, script):
    """Every script has one answer."""
    want = field.reference(script)
    assert not [m for t in want.values() for m in t if m[0] == 'nothing more'], 'the script waits in vain:\n' + \
        '\n'.join(diff.shown(m) for t in want.values() for m in t)
    complain(script, want, [('PostgreSQL again', field.again[script.name], None)])
