"""Replays of transactions whose statements have names: the server must find each of
them as it was, whatever was prepared and closed meanwhile, and the client must get,
byte for byte, what it gets when nothing fails.

SPDX-License-Identifier: ISC
"""
import pytest

import wire
from conftest import SLOW, db, ini, until
from stage import CONF
from stage_sql import Backend, Sql
from wire import bind, close, describe, execute, parse, query, sync

pytestmark = pytest.mark.weir_only


def run(name, portal='', most=0):
    return bind((), name, portal) + execute(portal, most)


A, B, C = "SELECT 'a'", "SELECT 'b'", "UPDATE t SET c = 1"
LONG = "SELECT 'long', 5"
Q = query
# Units: those in front of the transaction, and those of it. Any unit of the second list
# may fail, and so may the COMMIT behind it.
STORIES = {
    'prepared before': ([parse(A, 's1'), parse(C, 's2') + describe('S', 's2')],
                        [run('s1'), run('s2'), run('s1')]),
    'prepared in it': ([], [parse(A, 's1') + run('s1'), parse(C, 's2'), run('s2') + run('s1')]),
    'prepared and used at once': ([], [Q(A), parse(C, 's1') + run('s1'), parse(B, 's2') + run('s2')]),
    'described': ([parse(A, 's1')], [describe('S', 's1'), run('s1'), parse(LONG, 's2') + describe('S', 's2'),
                                     bind((), 's2') + describe() + execute()]),
    'closed in it': ([], [parse(A, 's1') + run('s1'), close('S', 's1'), Q(C)]),
    'closed in it, prepared before': ([parse(A, 's1')], [run('s1'), close('S', 's1'), Q(C), Q(B)]),
    'closed and prepared anew': ([parse(A, 's1')], [run('s1'), close('S', 's1') + parse(B, 's1') + run('s1'),
                                                    run('s1'), close('S', 's1'), parse(C, 's1') + run('s1')]),
    'closed in the unit that prepared it': ([], [parse(A, 's1') + run('s1') + close('S', 's1'), Q(C)]),
    'closed before': ([parse(A, 's1'), close('S', 's1'), parse(B, 's1')], [run('s1'), Q(C)]),
    'closed without being there': ([], [close('S', 'nobody') + parse(A) + run(''), Q(C)]),
    'the same text twice': ([parse(A, 's1')], [parse(A, 's2') + run('s2'), run('s1'), close('S', 's1'), run('s2')]),
    'unnamed': ([], [parse(A) + run(''), parse(B) + run(''), run('')]),
    'unnamed, across units': ([], [parse(A), run(''), parse(B), describe('S', ''), run('')]),
    'unnamed, of before': ([parse(A)], [run(''), parse(B) + run(''), run('')]),
    'unnamed, ended by a Query': ([parse(A)], [run(''), Q(B), parse(C) + run(''), Q(A), parse(B) + run('')]),
    'unnamed, closed': ([parse(A)], [run(''), close('S', ''), parse(B) + run('')]),
    'unnamed, never used in it': ([parse(B)], [Q(A), Q(C)]),
    'named and unnamed': ([parse(A, 's1'), parse(B)], [run('') + run('s1'), parse(C) + run(''), run('s1')]),
    'portals': ([], [parse(LONG, 's1') + run('s1', 'p', 2), execute('p', 2), Q(C), execute('p', 2)]),
    'portals of unnamed statements': ([], [parse(LONG) + run('', 'p', 1), parse(A) + run(''), execute('p', 1),
                                           close('P', 'p'), Q(C)]),
}
# A Close behind the statement that fails is skipped with it: it is not known whether it was.
PASSED_ON = [('closed in the unit that prepared it', A)]
# a BEGIN that is a Query ends the unnamed statement, and one that is unnamed takes its place
ONLY_NAMED = [n for n, (before, _) in STORIES.items() if any(b'P' == m[:1] and m[5:6] == b'\0' for m in before)]
BEGINS = {'simple': [Q('BEGIN')], 'extended': [parse('BEGIN') + bind() + execute()],
          'named': [parse('BEGIN', 'begin') + run('begin')]}


def unit(messages):
    return messages if messages[:1] == b'Q' else messages + sync()


class Lossy(Backend):
    """Goes away, once in all, instead of running that text in a transaction."""

    def answer(self, text, left, head=b''):
        if self.tx == 'T' and text == self.text and not self.lost:
            self.lost.append(text)
            raise wire.Closed('as it was told')
        return super().answer(text, left, head)


class Play:
    """A story, as often as it is wanted, on one daemon before one server."""

    def __init__(self, weir, **conf):
        self.sql = Sql()
        self.fake = wire.FakeServer(self.sql, timeout=10 * SLOW)
        self.w = weir(ini({'app': db(self.fake)}, **{**CONF, **conf}))

    def tell(self, story, begin, fail=None):
        """What the client is told, raw. fail: {text: times} from the BEGIN on."""
        before, inside = STORIES[story]
        told = []
        self.sql.fail = {}
        with self.w.connect(timeout=10 * SLOW) as c:
            for i, u in enumerate([*before, *BEGINS[begin], *inside, Q('COMMIT')]):
                if i == len(before) + len(BEGINS[begin]):
                    self.sql.fail = dict(fail or {})
                c.send(unit(u))
                told.append(wire.spell(raw_until_ready(c)))
        return told


def raw_until_ready(c):
    out = b''
    while True:
        letter, body = c.read_raw()
        out += wire.msg(letter, body)
        if letter == 'Z':
            return out


@pytest.fixture(params=[0, 1], ids=['begun', 'lazy'])
def play(weir, request):
    made = []

    def make(**conf):
        made.append(Play(weir, **{'lazy_begin': request.param, **conf}))
        return made[-1]
    yield make
    for p in made:
        p.fake.close()


def compared(p, story, begin):
    """Every text of the story fails once and twice, and COMMIT does; a client that saw a
    failure, or other rows, or a server that got something it could not do, is an error."""
    want = p.tell(story, begin)
    assert not any(' E ' in t or t.startswith('E ') for t in want), want
    done = p.sql.committed[-1]
    for text in [t for t in (A, B, C, LONG) if t in done and (story, t) not in PASSED_ON] + ['COMMIT']:
        for times in (1, 2):
            n, before = len(p.sql.committed), p.w.retries()
            got = p.tell(story, begin, {text: times})
            assert got == want, (text, times)
            assert p.sql.committed[n:] == [done], (text, times)
            now = p.w.retries()
            assert now['replay_ok'] - before['replay_ok'] >= 1 and not now['replay_mismatch'], (text, now)
    strange = [r for r in p.sql.refused if r[0] != '25P02' and 'pgweir_giveup' not in r[1]]
    assert not strange, strange


@pytest.mark.parametrize('story, begin', [(s, b) for s in STORIES for b in BEGINS
                                          if b == 'named' or s not in ONLY_NAMED])
def test_story(play, story, begin):
    compared(play(), story, begin)


@pytest.mark.parametrize('story', STORIES)
def test_with_a_cache_of_one(play, story):
    """What is needed has been given up for another in between."""
    compared(play(max_prepared_statements=1), story, 'named')


@pytest.mark.parametrize('story', STORIES)
def test_on_a_server_that_has_them(play, story):
    """Another client has prepared the same texts there."""
    p = play()
    with p.w.connect() as other:
        for i, text in enumerate((A, B, C, LONG)):
            other.ask(parse(text, 'other%d' % i), sync())
        compared(p, story, 'named')
        for i in range(4):
            assert other.ask(run('other%d' % i), sync())[-1] == ('Z', 'I')


@pytest.mark.parametrize('story', STORIES)
def test_on_another_server(play, weir, story):
    """The server is lost with each unit in turn: the next one has nothing of it."""
    p = play()
    want = p.tell(story, 'named')
    done = p.sql.committed[-1]
    for text in sorted(set(done) - {LONG}):
        lost = []

        def script(conn, text=text, lost=lost):
            b = Lossy(p.sql, conn)
            b.text, b.lost = text, lost
            try:
                b.run()
            except wire.Closed:
                pass
        n = len(p.sql.committed)
        with wire.FakeServer(script) as f, wire.FakeServer(p.sql) as g:
            w = weir(ini({'app': db(f, g, load_balance_hosts='disable')}, **CONF))
            until(lambda w=w: all(r['state'] == 'up' for r in w.console('SHOW NODES')))
            was, p.w = p.w, w
            got = p.tell(story, 'named')
            p.w = was
            assert lost and got == want, text
            assert p.sql.committed[n:] == [done]
            assert w.retries()['replay_ok'] == 1
    assert not [r for r in p.sql.refused if r[0] != '25P02'], p.sql.refused
