"""retry_commit: what became of a COMMIT whose connection broke is looked up, and told only
where it is proven. A relay before a real server breaks the connection (relay.py)."""
import signal
import threading

import pytest

import wire
from cluster import Postgres
from conftest import db, ini
from relay import Plan, Relays
from wire import bind, describe, execute, parse, query, sync

pytestmark = pytest.mark.weir_only


class AtCommit(Plan):
    """Breaks the connection of the first COMMIT: behind it, with its answer not passed on
    (done), or in front of it (not done), once what was asked before has been answered."""

    def __init__(self, done):
        self.is_done, self.fired, self.held = done, [], None
        self.over = threading.Semaphore(0)

    @staticmethod
    def commits(m):
        return (m.letter == 'Q' and m.body == b'COMMIT\0') or (m.letter == 'P' and b'\0COMMIT\0' in m.body)

    def front(self, pair, m):
        if self.held is not pair and not self.fired and not self.is_done and self.commits(m):
            self.held = pair
        if self.held is not pair:
            pair.to_server(m.raw)

    def back(self, pair, m):
        mine = self.held is pair and m.letter == 'Z'
        if not self.fired and self.is_done and m.letter == 'C' and m.body == b'COMMIT\0' and self.armed(pair):
            self.fired.append(pair)
            pair.cut(wait=True, done=self.over)
        pair.to_pgweir(m.raw)
        if mine and not self.fired:
            self.fired.append(pair)
            pair.cut(done=self.over)

    @staticmethod
    def armed(pair):
        """It is the client's COMMIT and not that of its settings."""
        return any('COMMIT' == t for t in pair.texts)


def do(c, how, sql):
    if how == 'simple':
        return c.ask(query(sql))
    return c.ask(parse(sql), bind([]), describe(), execute(), sync())


def codes(msgs):
    return [m[1]['C'] for m in msgs if m[0] == 'E']


def value(pg):
    return int(pg.one('SELECT v FROM kv WHERE k = 500'))


@pytest.fixture
def relays(pg):
    with Relays(pg, 2) as r:
        yield r


def daemon(weir, relays, **kw):
    ports = ','.join(str(n.port) for n in relays.nodes)
    return weir('[databases]\napp = host=127.0.0.1,127.0.0.1 port=%s user=app\n[pgweir]\n' % ports +
                '\n'.join('%s = %s' % i for i in {
                    'auth_type': 'trust', 'admin_users': 'admin', 'retry': 'replay', 'retry_commit': 1,
                    'health_check_interval': 60, 'lazy_begin': 0, **kw}.items()) + '\n')


HOW = pytest.mark.parametrize('how', ['simple', 'extended'])


@HOW
@pytest.mark.parametrize('done', [True, False], ids=['done', 'not done'])
def test_commit_is_looked_up(weir, pg, relays, how, done):
    """Done: its client is told so. Not done: the transaction is replayed, and is done then."""
    w, before = daemon(weir, relays), value(pg)
    with w.connect() as c:
        do(c, how, 'BEGIN')
        do(c, how, 'UPDATE kv SET v = v + 1 WHERE k = 500')
        relays.plan = AtCommit(done)
        m = do(c, how, 'COMMIT')
        assert relays.plan.fired, 'nothing was cut'
        assert not codes(m) and ('C', 'COMMIT') in m and m[-1] == ('Z', 'I'), m
        assert [x[0] for x in m] == (['C', 'Z'] if how == 'simple' else ['1', '2', 'n', 'C', 'Z'])
        assert value(pg) == before + 1
        assert do(c, how, 'SELECT 1')[-1] == ('Z', 'I')
    got = w.retries()
    assert got['retry_commits_found'] == done and got['replay_ok'] == (not done), got


@HOW
def test_without_the_setting_it_is_not_known(weir, pg, relays, how):
    w, before = daemon(weir, relays, retry_commit=0), value(pg)
    with w.connect() as c:
        do(c, how, 'BEGIN')
        do(c, how, 'UPDATE kv SET v = v + 1 WHERE k = 500')
        relays.plan = AtCommit(True)
        m = do(c, how, 'COMMIT')
        assert codes(m) == ['40003'] and m[-1] == ('Z', 'I'), m
    assert value(pg) == before + 1


def test_another_postmaster_proves_nothing(weir, base, template):
    """The server crashes behind the COMMIT: the next one may have given the number away."""
    own = Postgres(base, 'outcome').copy_from(template).start()
    try:
        with Relays(own, 2) as relays:
            crash(daemon(weir, relays), own, relays)
    finally:
        own.stop()


def crash(w, pg, relays):
    with w.connect() as c:
        do(c, 'simple', 'BEGIN')
        do(c, 'simple', 'UPDATE kv SET v = v + 1 WHERE k = 500')

        class Crash(AtCommit):
            def back(self, pair, m):
                if not self.fired and m.letter == 'C' and m.body == b'COMMIT\0' and self.armed(pair):
                    self.fired.append(pair)
                    pg.stop(signal.SIGQUIT)
                    pg.start()
                    pair.cut(done=self.over)
                pair.to_pgweir(m.raw)
        relays.plan = Crash(True)
        m = do(c, 'simple', 'COMMIT')
        assert codes(m) == ['40003'] and m[-1] == ('Z', 'I'), m
    assert w.retries()['retry_commits_found'] == 0


def test_not_done_and_the_data_moved(weir, pg, relays):
    """It was rolled back, and what its client has read is not so any more."""
    w, before = daemon(weir, relays), value(pg)
    with w.connect() as c:
        do(c, 'simple', 'BEGIN')
        do(c, 'simple', 'SELECT v FROM kv WHERE k = 500')
        do(c, 'simple', 'UPDATE kv SET v = v + 1 WHERE k = 600')

        class Moved(AtCommit):
            def back(self, pair, m):
                if self.held is pair and m.letter == 'Z' and not self.fired:
                    with pg.connect('app') as other:
                        other.sql('UPDATE kv SET v = v + 1 WHERE k = 500')
                super().back(pair, m)
        relays.plan = Moved(False)
        m = do(c, 'simple', 'COMMIT')
        assert codes(m) == ['40003'] and m[-1] == ('Z', 'I'), m
        assert do(c, 'simple', 'SELECT 1')[-1] == ('Z', 'I')
    assert value(pg) == before + 1
    assert w.retries()['replay_mismatch'] == 1


def test_the_question_costs_no_answer_of_its_own(weir, pg):
    """With the setting on and nothing lost, the answers are what they are without."""
    w = weir(ini({'app': db(pg)}, retry='replay', retry_commit=1))
    with w.connect() as c:
        for how in ('simple', 'extended'):
            for sql in ('BEGIN', 'UPDATE kv SET v = v + 1 WHERE k = 500', 'COMMIT'):
                assert not codes(do(c, how, sql))
            assert do(c, how, 'SELECT 1')[-1] == ('Z', 'I')
        # a transaction that has written nothing, one that has failed, one that is rolled back
        for sql, end in (('SELECT 1', 'COMMIT'), ('SELECT 1/0', 'COMMIT'), ('SELECT 1', 'ROLLBACK')):
            do(c, 'simple', 'BEGIN')
            do(c, 'simple', sql)
            m = do(c, 'simple', end)
            assert m[-1] == ('Z', 'I') and not codes(m)
        assert c.ask(wire.query('BEGIN; UPDATE kv SET v = v WHERE k = 500; COMMIT'))[-1] == ('Z', 'I')
