# SPDX-License-Identifier: ISC
"""What a client was told is what has happened, once, wherever a connection breaks.

tokens.py has the transactions and the judgement, relay.py the relay that cuts. First
each shape of a transaction with a cut at each message, in both directions; then
many clients at once on hot rows while backends and whole servers are killed; and last
relays that do what must not be, to see that the judgement notices.
"""
import contextlib
import itertools
import os
import random
import signal
import threading

import pytest

import tokens
import wire
from cluster import Postgres, children_of
from conftest import Spawned, db, ini, run_threads, until
from relay import Cut, Never, Plan, Relays, Storm, Twice
from tokens import SHAPES, Client, Ledger, Shape

pytestmark = pytest.mark.weir_only

QUICK = {'health_check_interval': '0.2', 'health_check_timeout': '1', 'server_login_retry': '0.05',
         'default_pool_size': 4, 'query_wait_timeout': 20, 'retry_backoff_base': '0.0005'}
K = 3       # the counter of who plays alone


# ---- a cut at each message --------------------------------------------------------------

class Cuts:
    """Plays one shape again and again, with a cut at another message each time."""

    def __init__(self, weir, pg, mode, shape, **conf):
        self.mode, self.shape, self.pg = mode, shape, pg
        pg.sql(tokens.SCHEMA, user='app')
        self.ledger, self.wrong, self.n = Ledger(), [], 0
        self.relays = Relays(pg, 2)
        self.w = weir(ini({'app': db(*self.relays.nodes, dbname='app')}, retry=mode, **QUICK, **conf))
        self.client = Client(self.w.port)
        self.explicit = shape.end in ('COMMIT', 'ROLLBACK')
        self.decides = 'INSERT' if not self.explicit else shape.end

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.client.hang_up()
        self.relays.__exit__()

    def every(self, side, how, times=1):
        """At message 1, 2, ... until the transaction has no more. How many it had."""
        for n in itertools.count(1):
            if not self.one(Cut(side, n, how, times=times), '%s-%s-%d-x%d' % (side, how, n, times)):
                return n - 1

    def one(self, cut, name):
        """One transaction under a plan. False: nothing was cut."""
        self.n += 1
        t = '%d-%s' % (self.n, name)
        self.relays.texts, self.relays.plan = [], cut
        out = self.client.play(self.shape, t, K)
        cut.wait()
        self.relays.plan = Plan()
        self.ledger.enter(t, out)
        bad = self.judge(cut, out)
        if bad:
            self.wrong.append('%s: %s: %r; pgweir wrote %s' % (
                t, bad, out, [(cut_no(cut, p), x) for p, x in self.relays.texts]))
        return bool(cut.fired)

    def judge(self, cut, out):
        """What is wrong with what the client was told, or None."""
        cuts = [p for _, p in cut.fired]
        deciding = [p for p, text in self.relays.texts if self.decides in text]
        sent = any(p in cuts for p in deciding)
        if not cuts:
            return (out.codes or out.closed) and 'an error, and nothing was cut'
        if out.closed:
            return 'the client was cut off'
        if len(deciding) > 1 and self.shape.end != 'ROLLBACK':
            return 'what decides was sent %d times' % len(deciding)
        if self.shape.end == 'ROLLBACK' or not sent:
            return self.judge_before(out)
        if out.codes[:1] == ['40003']:
            return None
        if out.codes:
            return 'its outcome was not known'
        whole = cut.side == 'B' and cut.how == 'after' and cut.fired[-1][0] == 'Z'
        return not whole and 'it was told that it is done'

    def judge_before(self, out):
        """Nothing was on its way that could have lasted."""
        if self.mode == 'replay':
            return out.codes and 'an error, and COMMIT was not sent'
        first = out.codes[:1]
        # 40003 is more careful than it need be when the tag of ROLLBACK has been passed on,
        # when something came with BEGIN, and when a COMMIT waits to be sent
        if first == ['40003'] and ('ROLLBACK' in out.tags or len(out.sent) == 1):
            return None
        return first not in ([], ['40001']) and 'it was known that nothing was done'

    def result(self):
        return self.wrong + self.ledger.check(self.pg)


def cut_no(cut, pair):
    return next((i for i, (_, p) in enumerate(cut.fired) if p is pair), None)



# With retry = off a lost server is dealt with as with implicit: some of the shapes.
OFF = ('simple-separate', 'simple-joined', 'extended-whole', 'extended-pipelined', 'simple-single')
IMPLICIT = [s for s in SHAPES if s not in ('named-joined', 'simple-whole', 'simple-joined-pipelined')]


@pytest.mark.parametrize('shape, mode', [
    *[(s, 'off') for s in OFF], *[(s, 'implicit') for s in IMPLICIT], *[(s, 'replay') for s in SHAPES]])
def test_cut_at_each_message(weir, pg, shape, mode):
    with Cuts(weir, pg, mode, SHAPES[shape]) as c:
        n = {'before': c.every('F', 'before'), 'after': c.every('F', 'after'),
             'answer': c.every('B', 'after')}
        if mode == 'replay' or shape.startswith('simple'):
            n['inside'] = c.every('B', 'inside')
        if mode == 'replay':
            n['thrice'] = c.every('F', 'after', 3)      # the connections of the replay, too
        print(n, {k: len(v) for k, v in c.ledger.told.items()}, dict(c.ledger.codes))
        bad = c.result()
    assert not bad, '%d wrong:\n%s' % (len(bad), '\n'.join(bad))
    assert c.ledger.told['unknown'] or c.shape.end == 'ROLLBACK'


# ---- the judge itself --------------------------------------------------------------------

WRONG = {
    'simple-single': Twice, 'extended-implicit': Twice, 'simple-whole': Twice,
    'extended-whole': Twice, 'simple-joined': Twice, 'extended-pipelined': Twice,
    'extended-separate': Twice, 'simple-separate': Never, 'extended-joined': Never,
}


@pytest.mark.parametrize('shape', WRONG)
def test_the_judge_sees_a_relay_that_is_wrong(weir, pg, shape):
    """One that sends what commits once more, or never."""
    with Cuts(weir, pg, 'off', SHAPES[shape]) as c:
        c.one(Plan(), 'as it should be')
        assert not c.result()
        c.one(WRONG[shape](), 'as it should not be')
        want = ['2-as it should not be (acknowledged) is there %d times' % (2 if WRONG[shape] is Twice else 0)]
        assert [b.split(':')[0] for b in c.result()][:1] == want


@pytest.mark.parametrize('damage, says', [
    ('UPDATE counters SET n = n + 1 WHERE k = 3', 'counter 3 is 3, and there are 2 tokens'),
    ('UPDATE tokens SET was = 0', 'counter 3: not every value was read once: twice or more [0], missing []'),
    ("INSERT INTO tokens VALUES ('mine', 4, 0); UPDATE counters SET n = 1 WHERE k = 4",
     'mine was never asked for'),
    ("DELETE FROM tokens WHERE t LIKE '1-%'", '1-a (acknowledged) is there 0 times'),
])
def test_the_judge_sees_damage(weir, pg, damage, says):
    with Cuts(weir, pg, 'off', SHAPES['simple-separate']) as c:
        c.one(Plan(), 'a')
        c.one(Plan(), 'b')
        assert not c.result()
        pg.sql(damage)
        assert [b for b in c.result() if b.startswith(says)]


# ---- many at once, and servers that die ----------------------------------------------------

SEED = int(os.environ.get('TOKENS_SEED') or random.SystemRandom().randrange(1 << 32))
CLIENTS = 8
EACH = int(os.environ.get('TOKENS_EACH') or 100)     # transactions of a client
HOT = 3                                             # counters
LEAVES = 0.02       # how often a client goes in the middle


def any_shape(rng):
    """A shape that is right at its isolation: the default is SERIALIZABLE."""
    if rng.random() < 0.25:
        return SHAPES[rng.choice(['simple', 'extended']) + '-' + rng.choice(['implicit', 'single'])]
    how = rng.choice([tokens.separate, tokens.separate, tokens.joined, tokens.whole,
                      tokens.separate_at_once, tokens.joined_at_once])
    way = rng.choice(list(tokens.WAYS.values()))
    begin = rng.choice(['BEGIN', 'BEGIN', 'BEGIN ISOLATION LEVEL REPEATABLE READ',
                        'BEGIN ISOLATION LEVEL READ COMMITTED'])
    lock = ' FOR UPDATE' if begin.endswith('COMMITTED') or rng.random() < 0.3 else ''
    return Shape(how(way, begin, lock))


class Crowd:
    """Clients in threads, each with its own random numbers."""

    def __init__(self, port, seed, each):
        self.port, self.seed, self.each = port, seed, each
        self.ledger, self.lock = Ledger(), threading.Condition()
        self.done = 0

    def body(self, i):
        rng = random.Random('%d client %d' % (self.seed, i))
        with Client(self.port) as c:
            for n in range(self.each):
                shape, t, k = any_shape(rng), 'c%d-%d' % (i, n), rng.randrange(HOT)
                leave = rng.choice([1, 2, 3]) if rng.random() < LEAVES else None
                out = c.play(shape, t, k, leave)
                with self.lock:
                    if out.closed and leave is None:
                        self.ledger.wrong.append('%s: the client was cut off: %r' % (t, out))
                    self.ledger.enter(t, out)
                    self.done += 1
                    self.lock.notify_all()

    def wait_for(self, n):
        with self.lock:
            assert self.lock.wait_for(lambda: self.done >= n, 60), 'only %d were done' % self.done


@contextlib.contextmanager
def server(base, template, name):
    p = Postgres(base, name).copy_from(template).start()
    try:
        p.sql(tokens.SCHEMA, user='app')
        yield p
    finally:
        p.stop(signal.SIGQUIT)


BUSY = "usename = 'app' AND backend_type = 'client backend'"


def ask(pg, sql):
    """Its rows, when it has recovered."""
    def rows():
        with contextlib.suppress(wire.PgError, wire.Closed, OSError):
            return [pg.sql(sql)]
        return None
    return until(rows, 30, why='the server to answer')[0]


def kill_backend(pg, rng):
    """SIGKILL of one that is at work, if there is one: the postmaster ends all others and
    starts again."""
    for state in ("state <> 'idle'", 'true'):
        rows = ask(pg, 'SELECT pid FROM pg_stat_activity WHERE %s AND %s' % (state, BUSY))
        pids = sorted({int(r[0]) for r in rows} & set(children_of(pg.proc.pid)))
        with contextlib.suppress(ProcessLookupError):
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)
                return


def terminate(pg, rng):
    """One backend, or all."""
    ask(pg, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE %s%s' %
        (BUSY, rng.choice(['', " AND state <> 'idle' LIMIT 1"])))


def kill_all(pg, _):
    pg.kill()
    pg.start()


FAULTS = [kill_backend, kill_backend, terminate, terminate, terminate, kill_all]


def settled(pg):
    until(lambda: ask(pg, 'SELECT count(*) FROM pg_stat_activity WHERE ' + BUSY) == [['0']],
          why='all backends to be gone')


@pytest.mark.parametrize('mode', ['implicit', 'terminated', 'replay'])
def test_many_at_once(weir, base, template, mode):
    """TOKENS_SEED plays the same transactions and faults again (in what order threads
    come to them is left to the machine), TOKENS_EACH how many."""
    print('TOKENS_SEED=%d' % SEED)
    rng = random.Random('%d faults' % SEED)
    todo = FAULTS * max(1, EACH // 100)
    rng.shuffle(todo)
    conf = {'retry': 'implicit', 'retry_terminated': 1} if mode == 'terminated' else {'retry': mode}
    with server(base, template, 'tokens-' + mode) as pg:
        with Relays(pg, 2) as relays:
            storm = relays.plan = Storm(rng, 400)
            w = weir(ini({'app': db(*relays.nodes, dbname='app', options=
                                    "'-c default_transaction_isolation=serializable'")},
                         workers=2, **{**QUICK, **conf}))
            crowd = Crowd(w.port, SEED, EACH)
            t = Spawned(run_threads, CLIENTS, crowd.body)
            for i, fault in enumerate(todo):
                crowd.wait_for(CLIENTS * EACH * (i + 1) // (len(todo) + 1))
                fault(pg, rng)
            t.result(60)
            relays.plan = Plan()
            counts = w.retries()
        settled(pg)
        told = {k: len(v) for k, v in crowd.ledger.told.items()}
        print(told, dict(crowd.ledger.codes), '%d cuts' % storm.cuts, {k: v for k, v in counts.items() if v})
        bad = crowd.ledger.check(pg)
    assert not bad, '%d wrong:\n%s' % (len(bad), '\n'.join(bad))
    assert storm.cuts and told['acknowledged'] > CLIENTS * EACH // 10
    if mode == 'replay':
        assert counts['replay_ok'] and counts['replay_lost'] and counts['replay_mismatch']
