# SPDX-License-Identifier: ISC
"""A node of CockroachDB drains, and no client notices: through pgweir, before the
double of crdbnode.py.

What makes it possible: to a unit that begins outside of a transaction, "57P01 server
is shutting down" as the only answer means that it was not run, and "server is not
accepting clients" at a login that nothing was. /health?ready=1 tells beforehand, if
the operator lets the node wait.
"""
import itertools
import threading

import pytest

from conftest import db, ini, run_threads, until
from crdb import V26
from wire import (Closed, bind, close, copy_data, copy_done, execute, extended, parse, query, shape,
                  sync)

pytestmark = pytest.mark.weir_only

NUMBERS = itertools.count(1)


def token():
    return 'tok_%d' % next(NUMBERS)


@pytest.fixture
def table(crdb):
    """tok(t): what was done; without a key, so that twice can be seen."""
    crdb.sql('DROP TABLE IF EXISTS tok; CREATE TABLE tok (t text NOT NULL)')
    return crdb


@pytest.fixture
def start(weir):
    """start(nodes): a daemon before them that notices quickly. http=True: with
    health_check_http."""
    def make(nodes, http=False, **kw):
        how = {'dbname': 'app'}
        if http:
            how['health_check_http'] = ','.join(str(n.http_port) for n in nodes)
        return weir(ini({'app': db(*nodes, **how)}, **{
            'default_pool_size': 16, 'health_check_interval': 0.2, 'query_wait_timeout': 15, **kw}))
    return make


def stored(crdb):
    return sorted(r[0] for r in crdb.sql('SELECT t FROM tok'))


# ---- a load ------------------------------------------------------------------------------

class Load:
    """Clients that insert tokens, each over one connection and in one way, until told to
    stop. They never connect again: a connection that is closed is a failure."""

    WAYS = ('simple', 'extended', 'named', 'block', 'block extended', 'begin in front')

    def __init__(self, weir, clients=16):
        self.done, self.errors = [], []
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.rounds = [0] * clients
        self.conns = [weir.connect(timeout=30) for _ in range(clients)]
        self.threads = [threading.Thread(target=self.client, args=(i,), daemon=True)
                        for i in range(clients)]
        for t in self.threads:
            t.start()

    def client(self, i):
        c, how = self.conns[i], self.WAYS[i % len(self.WAYS)]
        if how == 'named':
            c.ask(parse('INSERT INTO tok VALUES ($1)', 's'), sync())
        while not self.over.is_set():
            tokens = [token(), token()]
            try:
                bad = self.round(c, how, tokens)
            except (Closed, OSError) as e:
                bad = ['%s: %r' % (how, e)]
            with self.lock:
                if bad:
                    self.errors.append((how, bad))
                else:
                    self.done += tokens
            if bad:
                return
            self.rounds[i] += 1
            self.over.wait(0.003)

    def round(self, c, how, tokens):
        """What went wrong; of two tokens both must be done."""
        insert = "INSERT INTO tok VALUES ('%s')"
        one, two = (insert % t for t in tokens)
        units = {
            'simple': [query(one), query(two)],
            'extended': [extended('INSERT INTO tok VALUES ($1)', [t]) + sync() for t in tokens],
            'named': [bind([t], 's') + execute() + sync() for t in tokens],
            'block': [query(q) for q in ('BEGIN', one, two, 'COMMIT')],
            'block extended': [extended(q) + sync() for q in ('BEGIN', one, two, 'COMMIT')],
            # as pgjdbc does it
            'begin in front': [parse('BEGIN') + bind() + execute() + extended(one) + sync(),
                               extended(two) + sync(), extended('COMMIT') + sync()],
        }[how]
        got = []
        for u in units:
            got += c.ask(u)
        bad = [m[1] for m in got if m[0] == 'E']
        ends = [m[1] for m in got if m[0] == 'C' and m[1].startswith('INSERT')]
        return bad or ([] if ends == ['INSERT 0 1'] * 2 and got[-1] == ('Z', 'I') else [shape(got)])

    def more(self, rounds=20, timeout=30):
        """Until every client has done so many more rounds, or one has failed."""
        goal = [n + rounds for n in self.rounds]
        until(lambda: self.errors or all(a >= b for a, b in zip(self.rounds, goal)), timeout,
              why='the load to go on')

    def end(self, crdb):
        """Stops, and looks: no errors, every token once, no connection closed."""
        self.over.set()
        for t in self.threads:
            t.join(60)
        assert not any(t.is_alive() for t in self.threads)
        assert not self.errors, '%d clients failed: %s' % (len(self.errors), self.errors[:5])
        assert stored(crdb) == sorted(self.done)
        for c in self.conns:
            assert c.one('SELECT 1') == '1'
            c.close()


def is_up(w, node):
    return any(r['node'].endswith(':%d' % node.port) and r['state'] == 'up'
               for r in w.console('SHOW NODES'))


def conns(w, node):
    return sum(int(r['conns']) for r in w.console('SHOW NODES')
               if r['node'].endswith(':%d' % node.port))


def unaware(start, nodes):
    """A daemon whose checks are over: it learns of a drain by its queries."""
    w = start(nodes, default_pool_size=1, health_check_interval=3600)
    until(lambda: all(is_up(w, n) for n in nodes), why='the first checks')
    return w


def refused(nodes):
    return sum((list(n.refused_tokens()) for n in nodes), [])


# ---- statements that meet the drain -----------------------------------------------------

CASES = {
    'simple': lambda t: query("INSERT INTO tok VALUES ('%s')" % t),
    'extended': lambda t: extended('INSERT INTO tok VALUES ($1)', [t]) + sync(),
    'named': lambda t: bind([t], 's') + execute() + sync(),
    'returning': lambda t: query("INSERT INTO tok VALUES ('%s') RETURNING t" % t),
    'two in a query': lambda t: query("INSERT INTO tok VALUES ('%s'); SELECT 1" % t),
}


@pytest.mark.parametrize('how', CASES)
def test_a_statement_in_the_window(start, table, how):
    """The pooled connection looks healthy; the statement is answered by 57P01 alone, and
    goes to another node."""
    w = unaware(start, table.nodes)
    with w.connect() as c:
        c.ask(parse('INSERT INTO tok VALUES ($1)', 's'), sync())
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        n.drain(tell=60)
        n.wait_phase('draining')
        t = token()
        got = c.ask(CASES[how](t))
        assert not [m for m in got if m[0] == 'E'], got
        assert got[-1] == ('Z', 'I') and stored(table) == [t]
        assert refused([n]) == [t]
        assert [t in x.passed_tokens() for x in table.nodes].count(True) == 1
        assert c.one('SHOW node_id') != str(n.id)


@pytest.mark.parametrize('how', ['lazy', 'in one Query', 'extended', 'with a batch'])
def test_a_begin_in_the_window(start, table, how):
    w = unaware(start, table.nodes)
    with w.connect() as c:
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        n.drain(tell=60)
        n.wait_phase('draining')
        t = token()
        insert = "INSERT INTO tok VALUES ('%s')" % t
        got = {'lazy': lambda: c.ask(query('BEGIN')) + c.ask(query(insert)),
               'in one Query': lambda: c.ask(query('BEGIN; ' + insert)),
               'extended': lambda: c.ask(extended('BEGIN'), sync()) +
                                   c.ask(extended(insert), sync()),
               'with a batch': lambda: c.ask(parse('BEGIN'), bind(), execute(), extended(insert),
                                             sync())}[how]()
        assert not [m for m in got if m[0] == 'E'] and got[-1] == ('Z', 'T'), got
        assert shape(c.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        assert stored(table) == [t]


def test_a_copy_in_the_window(start, table):
    """Nothing of its data was sent yet."""
    w = unaware(start, table.nodes)
    with w.connect() as c:
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        n.drain(tell=60)
        n.wait_phase('draining')
        c.send(query('COPY tok FROM STDIN'))
        assert c.read()[0] == 'G'
        assert shape(c.ask(copy_data('x\n'), copy_done())) == 'C:COPY 1 Z:I'
        assert stored(table) == ['x']


def test_idle_connections_that_are_told(start, table):
    """57P01 and the end, while nobody uses them: nothing to be seen but the log."""
    w = start(table.nodes, default_pool_size=6)
    cs = [w.connect() for _ in range(6)]
    for c in cs:
        c.hold()
    for c in cs:
        c.sql('COMMIT')
    n = table.nodes[0]
    n.drain(tell=0)
    until(lambda: n.stats()['told'] > 0 and n.stats()['connections'] == 0)
    run_threads(6, lambda i: [cs[i].sql('SELECT 1') for _ in range(20)])
    for c in cs:
        c.close()


# ---- transactions -----------------------------------------------------------------------

def in_blocks(w, table, n=6):
    """Clients in transactions, some on each node."""
    cs = [w.connect() for _ in range(n)]
    for c in cs:
        c.sql('BEGIN')
        c.token = token()
        c.sql("INSERT INTO tok VALUES ('%s')" % c.token)
        c.node = int(c.one('SHOW node_id'))
    assert len({c.node for c in cs}) == len(table.nodes)
    return cs


def test_transactions_in_progress_complete(start, table):
    w = start(table.nodes, default_pool_size=6)
    cs = in_blocks(w, table)
    n = table.nodes[0]
    n.drain()
    n.wait_phase('draining')
    second = [token() for _ in cs]
    for c, t in zip(cs, second):
        assert shape(c.ask(extended('INSERT INTO tok VALUES ($1)', [t]), sync())) == \
            '1 2 n C:INSERT 0 1 Z:T'
        assert int(c.one('SHOW node_id')) == c.node
        assert shape(c.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        assert shape(c.ask(query('BEGIN'))) == 'C:BEGIN Z:T'
        assert c.one('SHOW node_id') != str(n.id)
        c.sql('COMMIT')
    n.wait_phase('drained')
    assert stored(table) == sorted([c.token for c in cs] + second)
    for c in cs:
        c.close()


def done_of(messages):
    """Whether each unit ended well."""
    out, ok = [], True
    for m in messages:
        ok = ok and m[0] != 'E'
        if m[0] == 'Z':
            out.append(ok)
            ok = True
    return out


@pytest.mark.parametrize('how', ['idle', 'running'])
def test_a_pipeline_meets_the_drain(start, table, how):
    """Units in one write: each is done, or its error is told and it is not."""
    w = unaware(start, table.nodes)
    with w.connect() as c:
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        tokens = [token() for _ in range(4)]
        sql = "INSERT INTO tok SELECT '%s' FROM pg_sleep(0.2)"
        if how == 'idle':
            n.drain(tell=60)
            n.wait_phase('draining')
        c.send(*[extended(sql % t) + sync() for t in tokens])
        if how == 'running':
            until(lambda: tokens[0] in n.passed_tokens())
            n.drain(tell=60)
        done = done_of(c.ask(readies=4))
        assert stored(table) == sorted(t for t, ok in zip(tokens, done) if ok)
        assert how == 'idle' or done[0]
        assert c.one('SHOW node_id') != str(n.id)


def test_a_pipeline_behind_the_commit(start, table):
    """What stood behind it in the same write was not run there."""
    w = start(table.nodes, default_pool_size=6)
    cs = in_blocks(w, table)
    table.nodes[0].drain()
    table.nodes[0].wait_phase('draining')
    more, told = [token() for _ in cs], []
    for c, t in zip(cs, more):
        done = done_of(c.ask(query('COMMIT'), extended('INSERT INTO tok VALUES ($1)', [t]), sync(),
                             readies=2))
        assert done[0]
        told += [t] if done[1] else []
        assert c.one('SELECT 1') == '1'
    assert stored(table) == sorted([c.token for c in cs] + told)


def test_transactions_that_take_too_long(start, table):
    """At the end of transactions_timeout: one error that says that nothing was committed;
    the connection stays."""
    w = start(table.nodes, default_pool_size=6)
    cs = in_blocks(w, table)
    n = table.nodes[0]
    n.drain(transactions_timeout=0.3)
    n.wait_phase('drained')
    for c in cs:
        got = c.ask(query('SELECT 1'))
        assert shape(got) == ('E:40001 Z:E' if c.node == n.id else 'T D C:SELECT 1 Z:T')
        assert c.ask(query('ROLLBACK'))[-1] == ('Z', 'I')
        assert c.one('SELECT 1') == '1'
    assert stored(table) == []


def test_a_statement_that_takes_too_long(start, table):
    """57014, then 57P01: one error for the client, its connection stays."""
    w = unaware(start, table.nodes[:2])
    with w.connect() as c:
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        t = token()
        c.send(query("INSERT INTO tok SELECT '%s' FROM pg_sleep(30)" % t))
        until(lambda: t in n.passed_tokens())
        n.drain(transactions_timeout=0.2)
        got = c.until('Z')
        assert shape(got) in ('E:57014 Z:I', 'E:40003 Z:I')
        assert c.one('SHOW node_id') != str(n.id) and stored(table) == []


def test_a_suspended_portal(start, table):
    """The node says so without being asked: not to the client."""
    w = unaware(start, table.nodes)
    with w.connect() as c:
        n = table.nodes[int(c.one('SHOW node_id')) - 1]
        c.sql('BEGIN')
        five = parse('SELECT generate_series(1, 5)')
        assert shape(c.ask(five, bind((), '', 'p'), execute('p', 2), sync())) == '1 2 D D s Z:T'
        n.drain()
        n.wait_phase('draining')
        assert c.quiet(1)
        assert shape(c.ask(execute('p', 1), sync())) == 'D s Z:T'
        assert shape(c.ask(close('P', 'p'), sync())) == '3 Z:T'
        assert shape(c.ask(query('COMMIT'))) == 'C:COMMIT Z:I'
        assert c.one('SHOW node_id') != str(n.id)


# ---- under load -------------------------------------------------------------------------

def test_drain_under_load(start, table):
    """No warning at all: CockroachDB's defaults. Until statements have met the drain."""
    w = start(table.nodes, workers=2, slowstart=0, rebalance_interval='0.2')
    load = Load(w)
    n, met = table.nodes[0], []
    for seed in range(10):
        until(lambda: load.errors or conns(w, n) > 2, why='the node to have its share')
        load.more()
        n.drain(seed=seed)
        n.wait_phase('drained')
        met += refused([n])
        if len(met) > 3 or load.errors:
            break
        n.undrain()
        until(lambda: load.errors or is_up(w, n), why='the node to be up again')
    load.more()
    load.end(table)
    assert met and set(met) <= set(load.done)


def test_drains_without_a_pause(start, table):
    """Three in a row, each with another seed, the node back at once."""
    w = start(table.nodes, workers=2)
    load = Load(w)
    for seed in (1, 2, 3):
        n = table.nodes[seed - 1]
        load.more(10)
        n.drain(seed=seed, tell=0.5)
        n.wait_phase('drained')
        n.restart()
        until(lambda n=n: load.errors or is_up(w, n), why='the node to be up again')
    load.end(table)


def test_drain_of_a_new_version(start, make_crdb):
    """Its refusal has another text, and a batch of it is one transaction."""
    c = make_crdb(version=V26, real_keys=True)
    c.sql('DROP TABLE IF EXISTS tok; CREATE TABLE tok (t text NOT NULL)')
    load = Load(start(c.nodes, workers=2))
    load.more()
    c.nodes[1].drain(leave=True)
    until(lambda: not c.nodes[1].up)
    load.more()
    load.end(c)


def test_drain_that_waits(start, table):
    """health_check_http: the node is left before it begins to refuse anything."""
    load = Load(start(table.nodes, http=True, workers=2))
    load.more()
    n = table.nodes[0]
    n.drain(initial_wait=3)
    n.wait_phase('drained')
    load.more()
    load.end(table)
    assert refused(table.nodes) == [] and n.stats()['refused'] == 0
    assert n.stats()['health'] > 0


def test_one_port_for_all(start, table, weir):
    """health_check_http=PORT: one port for every host; here those of the other nodes are
    asked at the first one's, which is enough to see that all are left and taken back."""
    n = table.nodes[0]
    w = weir(ini({'app': db(*table.nodes, dbname='app', health_check_http=n.http_port)},
                 health_check_interval=0.2, query_wait_timeout=15))
    with w.connect() as c:
        assert c.one('SELECT 1') == '1'
    assert until(lambda: n.stats()['health'] >= 3)


def test_decommission(start, table):
    """503 for as long as it takes, while SQL works: left, and taken back at 200."""
    n = table.nodes[0]
    load = Load(start(table.nodes, http=True))
    load.more()
    n.decommission()

    def left():
        before = len(n.passed_tokens())
        load.more(3)
        return load.errors or len(n.passed_tokens()) == before
    until(left, 20)
    n.decommission(False)
    before = len(n.passed_tokens())
    for other in table.nodes[1:]:
        other.decommission()
    until(lambda: load.errors or len(n.passed_tokens()) > before, 20)
    load.end(table)
    assert table.total('told') == 0


@pytest.mark.parametrize('http', [False, True])
def test_rolling_restart(start, table, http):
    """As an operator upgrades a cluster: drain, stop, start, one node after the other."""
    w = start(table.nodes, http=http, workers=2)
    load = Load(w)
    seen = []
    for n in table.nodes:
        load.more(10)
        n.drain(initial_wait=2 if http else 0, tell=1)
        n.wait_phase('drained')
        seen += refused([n])
        n.kill()
        load.more(5)
        n.start()
        until(lambda n=n: load.errors or is_up(w, n), 20, why='the node to be up again')
    load.end(table)
    assert set(seen) <= set(load.done)
    if http:
        assert seen == []


def test_health_says_ready_again(start, table):
    """A node that is back in the same process (undrain) is used again; the others die."""
    n = table.nodes[0]
    w = start(table.nodes, http=True)
    load = Load(w)
    load.more()
    n.drain(initial_wait=1, tell=0)
    n.wait_phase('drained')
    n.undrain()
    until(lambda: load.errors or is_up(w, n), 20)
    for other in table.nodes[1:]:
        other.drain(initial_wait=1)
    load.more()
    for other in table.nodes[1:]:
        other.wait_phase('drained')
    load.more()
    load.end(table)
    assert n.passed_tokens()
