"""Everything a client can see, compared with PostgreSQL itself, byte for byte.

Each script of diff_*.py is played to the server directly and through daemons
with one and two workers and pools of one and five servers, and with transactions that
may be replayed and answers that are soon too long to be held; whole and cut at random
places; alone and with neighbours that use the same servers meanwhile.
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
import struct

import pytest

import diff
import diff_copy
import diff_extended
import diff_login
import diff_session
import diff_settings
import diff_simple
import wire
from cluster import Postgres
from conftest import DIRECT, LIVE, SAN, Weir, db, ini

SCRIPTS = [s for m in (diff_simple, diff_extended, diff_copy, diff_settings, diff_session,
                       diff_login) for s in m.SCRIPTS]
REPLAY = {'retry': 'replay', 'retry_hold_max': 1024}
# the sanitizers look at the code and not at every pair of settings
MATRIX = [(1, 1, {}), (2, 5, REPLAY)] if SAN else \
    [(w, p, {}) for w in (1, 2) for p in (1, 5)] + [(1, 1, REPLAY), (2, 5, REPLAY)]
# (cut, noisy)
WAYS = [(False, False), (True, True)] if SAN else [(c, n) for n in (False, True) for c in (False, True)]
ROLES = 'CREATE ROLE diff_role; GRANT diff_role TO app;'
TABLES = '''
CREATE TABLE public.ten (i int PRIMARY KEY, s text);
INSERT INTO public.ten SELECT i, 'row ' || i FROM generate_series(1, 10) i;
GRANT SELECT ON public.ten TO PUBLIC;
'''


class Field:
    """The server, the lanes, and what was seen."""

    def __init__(self, base, template):
        self.base, self.weirs, self.lanes, self.references, self.again, self.others = base, [], [], {}, {}, {}
        self.pg = Postgres(base, 'differential').copy_from(template).start()
        with self.pg.connect(database='postgres') as c:
            for line in ROLES.split(';')[:-1]:
                c.sql(line)
            for i in range(len(MATRIX) + 1):
                c.sql('CREATE DATABASE d%d OWNER app' % i)
        for i in range(len(MATRIX) + 1):
            self.pg.sql(TABLES, user='app', database='d%d' % i)
        self.direct = diff.Lane('direct', self.pg.port, self.pg.port, 'd0')
        self.lanes = [self.lane('d%d' % (i + 1), *m) for i, m in enumerate(MATRIX)]
        self.threads = concurrent.futures.ThreadPoolExecutor(len(self.lanes) + 1)

    def lane(self, name, workers, pool, conf):
        full = ' '.join(['workers=%d pool=%d' % (workers, pool), *map('%s=%s'.__mod__, conf.items())])
        if DIRECT:
            return diff.Lane(full, self.pg.port, self.pg.port, name, pool=pool)
        w = Weir(self.base, ini({'app': db(self.pg, dbname=name)}, workers=workers, default_pool_size=pool,
                                max_pinned_servers=pool, server_round_robin=1, log_connections=0,
                                log_disconnections=0, **conf), wait=False)
        self.weirs.append((full, w))
        w.wait_ready()
        held = [w.connect() for _ in range(pool)]
        for c in held:
            c.sql('BEGIN; SELECT 1')          # so that there are as many servers as there may be
        for c in held:
            c.sql('COMMIT')
            c.close()
        lane = diff.Lane(full, w.port, self.pg.port, name, asks='app', pool=pool, ping=w.connect('admin', 'pgweir'))
        lane.weir, lane.again = w, lambda: self.lane(name, workers, pool, conf)
        return lane

    def reference(self, script):
        """How PostgreSQL answers; and how it answers the same again, cut and
        with neighbours, which must not matter to it."""
        if script.name not in self.references:
            self.references[script.name] = self.direct.play(script)
            self.again[script.name] = self.direct.play(script, cut=True, noisy=True)
            self.others[script.name] = self.direct.play(script, afresh=True) if script.choice else None
        return self.references[script.name]

    def variants(self, lane, script):
        """[(variant, transcripts)] of this script on this lane, until it hangs."""
        out = []
        if script.needs > lane.pool:
            return out
        for cut, noisy in WAYS:
            name = '%s%s%s' % (lane.name, ' cut' if cut else '', ' neighbours' if noisy else '')
            try:
                seen = lane.play(script, cut, noisy)
            except (OSError, wire.Closed, wire.PgError) as e:
                seen = {'pgweir': diff.Transcript([('ended', repr(e).encode())])}
            out.append((name, seen, lane.last))
            if any(t and t[-1][0] in ('nothing more', 'ended', 'complaint') for t in seen.values()):
                lane.suspect = True
                break
        lane.last = script.name
        return out

    def all(self, script):
        """The reference, and all variants. A daemon that has died or kept
        somebody waiting is no place for other scripts: there is a new one."""
        for i, lane in enumerate(self.lanes):
            if lane.suspect and not DIRECT:
                lane.close()
                if lane.weir.proc.poll() is None:
                    lane.weir.ended = True
                    lane.weir.proc.send_signal(signal.SIGQUIT)
                    lane.weir.wait()
                self.lanes[i] = lane.again()
        jobs = [self.threads.submit(self.variants, lane, script) for lane in self.lanes]
        want = self.threads.submit(self.reference, script).result()
        return want, [v for j in jobs for v in j.result()]

    def close(self):
        bad = []
        for lane in [self.direct, *self.lanes]:
            lane.close()
        for name, w in self.weirs:
            bad += ['pgweir %s (%s) %s' % (name, w.proc.returncode, b) for b in w.stop()]
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


def complain(script, want, seen, other=None):
    """Fails with the first difference, and the names of all variants that have one."""
    bad = [(name, got, before, diff.difference(script, want, got, other)) for name, got, before in seen]
    bad = [b for b in bad if b[3]]
    if bad:
        name, got, before, where = bad[0]
        pytest.fail('script %s, DIFF_SEED=%d\ndiffers in %d of %d: %s\n%s (before it: %s)\n%s' % (
            script.name, diff.SEED, len(bad), len(seen), '; '.join(b[0] for b in bad), name, before,
            diff.side_by_side(script, want, got, where)), pytrace=False)


@pytest.mark.parametrize('script', SCRIPTS, ids=str)
def test_through_pgweir(field, script):
    want, seen = field.all(script)
    complain(script, want, seen, field.others[script.name])


@pytest.mark.parametrize('script', SCRIPTS, ids=str)
def test_postgres_against_itself(field, script):
    """Every script has one answer."""
    want = field.reference(script)
    assert not [m for t in want.values() for m in t if m[0] == 'nothing more'], 'the script waits in vain:\n' + \
        '\n'.join(diff.shown(m) for t in want.values() for m in t)
    complain(script, want, [('PostgreSQL again', field.again[script.name], None)])


# ---- the harness itself ---------------------------------------------------------------------

PROOF = next(s for s in SCRIPTS if s.name == 'batch: describe all')


def test_each_byte_counts(field):
    """One byte of one message other than it was, for each byte of a script."""
    want = field.reference(PROOF)
    n = free = 0
    for i, (letter, body) in enumerate(want['a'][:-1]):
        for at in range(len(body)):
            n += 1
            got = {'a': diff.Transcript(want['a'])}
            got['a'].marks = want['a'].marks
            got['a'][i] = (letter, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])
            try:
                where = diff.difference(PROOF, want, got)
            except (struct.error, ValueError, IndexError):
                continue        # no such message can be read
            if where != ('a', i):
                # an oid's number is given by the first message that has it
                assert letter == 'K' and not where or letter == 'T' and (not where or where > ('a', i)), (letter, at)
                free += 1
    # the key, and the four bytes of the oid of a table, twice
    assert n > 400 and free <= 8 + 2 * 4


@pytest.mark.parametrize('what', ['lost', 'twice', 'turned', 'another', 'cut', 'byte'])
def test_a_spoiled_stream_is_seen(field, what):
    """A live run whose messages are spoiled on their way."""
    want = field.reference(PROOF)
    for n, m in enumerate(want['a']):
        if m[0] in ('K', 'eof'):
            continue

        def spoil(i, m, n=n):
            if i != n:
                return m
            return {'lost': ('N', b''), 'twice': (m[0], m[1] * 2 + b'x'), 'turned': (m[0].swapcase(), m[1]),
                    'another': ('I', b''), 'cut': (m[0], m[1][:-1]), 'byte': (m[0], m[1][:-1] + b'~')}[what]
        if spoil(n, m) == m or (m[0] == 'Z') == (spoil(n, m)[0] != 'Z'):
            continue            # as it was; or nothing would end the wait
        try:
            got = field.lanes[0].play(PROOF, spoil=spoil)
            assert diff.difference(PROOF, want, got), (what, n, m)
        except (struct.error, ValueError, IndexError):
            pass


def test_less_and_more_is_seen(field):
    want = field.reference(PROOF)
    for i in range(len(want['a'])):
        for part in (want['a'][:i] + want['a'][i + 1:], want['a'][:i] + want['a'][i:i + 1] + want['a'][i:]):
            assert diff.difference(PROOF, want, {'a': diff.Transcript(part)})
    assert diff.difference(PROOF, want, {})
    assert diff.difference(PROOF, want, {**want, 'b': want['a']})
