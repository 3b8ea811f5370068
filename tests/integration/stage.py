"""A daemon between one client and one or two servers, all of them played by the test,
message by message, in one thread: what each side must get is compared byte for byte
when its turn comes, so that the order of things is compared too.

    st = stage(lazy_begin=1)
    st.begin()                          # client: BEGIN; the server gets it when it must
    st.one(READ, READ_OK)               # client asks, server must get just that, answers,
                                        # client must get just that
    st.ask(WRITE); st.get(WRITE)        # one by one: the client sends; the server must get
    st.say(FAILS)                       # the server sends
    st.told(WRITE_OK)                   # the client must get

SPDX-License-Identifier: ISC
"""
import os
import queue
import select

import wire
from conftest import SLOW, db, ini, until
from wire import bind, complete, data_row, describe, error, execute, msg, parse, query, ready, result, sync

PATIENCE = float(os.environ.get('STAGE_PATIENCE') or 5) * SLOW
QUIET = 0.15
CONF = {'retry': 'replay', 'retry_backoff_base': '0.001', 'retry_backoff_max': '0.001', 'workers': 1,
        'health_check_interval': 3600, 'default_pool_size': 1, 'query_wait_timeout': 5,
        'log_disconnections': 1}
QUESTION = b'SELECT 0 OPERATOR(pg_catalog.+) CASE'
CRDB = {**wire.PARAMS, 'crdb_version': 'CockroachDB CCL v23.1.0 (test)'}
del CRDB['in_hot_standby'], CRDB['default_transaction_read_only']


# ---- what is said ---------------------------------------------------------------------

def tag(text, status='T'):
    return complete(text) + ready(status)


def row(value, status='T', name='SELECT 1'):
    return result(value, name) + ready(status)


def x(sql, params=(), name='', portal=''):
    """A unit of the extended protocol."""
    return parse(sql, name) + bind(params, name, portal) + describe('P', portal) + execute(portal) + sync()


def x_told(text, status='T', value=None):
    """The answer to x()."""
    rows = wire.row_description('v') + data_row(value) if value is not None else msg('n')
    return msg('1') + msg('2') + rows + complete(text) + ready(status)


BEGIN, COMMIT, ROLLBACK = query('BEGIN'), query('COMMIT'), query('ROLLBACK')
BEGIN_OK, COMMIT_OK, ROLLBACK_OK = tag('BEGIN'), tag('COMMIT', 'I'), tag('ROLLBACK', 'I')
READ, READ_OK = query('SELECT v FROM kv WHERE k = 1'), row('10')
READ2, READ2_OK = query('SELECT v FROM kv WHERE k = 2'), row('20')
WRITE, WRITE_OK = query('UPDATE kv SET v = v + 1 WHERE k = 1'), tag('UPDATE 1')
WRITE2, WRITE2_OK = query('UPDATE kv SET v = 7 WHERE k = 2 RETURNING v'), row('7', name='UPDATE 1')
E1 = error('40001', 'could not serialize access due to concurrent update')
FAILS, FAILS_IDLE = E1 + ready('E'), E1 + ready('I')
AGAIN = error('40001', 'another attempt')      # where it must be told from the first
ABORTED = error('25P02', 'current transaction is aborted') + ready('E')
CANCELED = error('57014', 'canceling statement due to user request') + ready('E')
NO_SAVEPOINT = error('3B001', 'savepoint "pgweir_giveup" does not exist') + ready('E')
GIVE_UP = query('ROLLBACK TO SAVEPOINT "pgweir_giveup"')


class Stage:
    """See above. What is logged (st.log) is what one() and begin() have done."""

    def __init__(self, weir, nodes=1, params=None, client=None, dbkw=None, users=(), **conf):
        inbox = queue.Queue()
        self.nodes = [wire.Puppet(inbox, params=params, timeout=PATIENCE) for _ in range(nodes)]
        kw = {'load_balance_hosts': 'disable', **(dbkw or {})}
        self.conf = {**CONF, **conf}
        self.w = weir(ini({'app': db(*self.nodes, **kw)}, users, **self.conf))
        if nodes > 1:
            until(lambda: all(r['state'] == 'up' for r in self.w.console('SHOW NODES')))
        self.c = self.w.connect(timeout=PATIENCE, **(client or {}))
        self.s, self.log, self.lazily, self.tx = None, [], False, 'I'

    def close(self, check=True):
        self.c.close()
        for n in self.nodes:
            n.close(check)

    # ---- the four moves

    def ask(self, *data):
        """The client sends."""
        self.c.send(*data)

    def get(self, *data):
        """The server must get."""
        if not self.s:
            self.s = self.nodes[0].next(PATIENCE)
        if self.lazily:
            self.lazily = False
            self.s.exact(self.lazy, 'the daemon (its BEGIN)')
            self.s.send(BEGIN_OK)
            self.log.append((self.lazy, BEGIN_OK))
        data = b''.join(data)
        if data:
            self.answer_questions(data[:40])
        self.s.exact(data, 'the daemon, to the server,')

    def answer_questions(self, want=b'none'):
        """The daemon asks a server what a transaction has left on it: nothing."""
        while self.s and not self.s.buf.startswith(want):
            letter, body = self.s.read_raw()
            if letter != 'Q' or not body.startswith(QUESTION):
                self.s.buf = msg(letter, body) + self.s.buf
                return
            self.s.send(row('0', 'I'))

    def say(self, *data):
        """The server sends."""
        data = b''.join(data)
        if data[-6:-1] == ready()[:-1]:
            self.tx = data[-1:].decode()
        self.s.send(data)

    def told(self, *data):
        """The client must get."""
        while self.s and not self.c.buf and self.tx == 'I' and self.server_is_first(PATIENCE):
            self.answer_questions()
            if self.s.buf:
                break       # that is for later
        self.c.exact(b''.join(data), 'the daemon, to the client,')

    # ---- several in one

    def through(self, unit, answer, sent=None):
        """Asked, and answered, and no more."""
        self.ask(unit)
        self.get(sent or unit)
        self.say(answer)
        self.told(answer)

    def one(self, unit, answer, sent=None):
        """A unit of the transaction that goes well."""
        self.through(unit, answer, sent)
        self.log.append((sent or unit, answer))

    def begin(self, text='BEGIN'):
        if not int(self.conf.get('lazy_begin', 1)):
            self.one(query(text), BEGIN_OK)
            return
        self.lazy, self.lazily = query(text), True
        self.ask(self.lazy)
        self.told(BEGIN_OK)

    def start(self, *log):
        """BEGIN, and these units."""
        self.begin()
        for unit, answer in log or [(READ, READ_OK)]:
            self.one(unit, answer)

    def commit(self):
        self.through(COMMIT, COMMIT_OK)
        self.log = []

    def rollback(self):
        """By the client."""
        self.through(ROLLBACK, ROLLBACK_OK)
        self.log = []

    def undo(self):
        """By the daemon."""
        self.get(ROLLBACK)
        self.say(ROLLBACK_OK)

    def fails(self, unit=WRITE, failed=FAILS, sent=None):
        """A unit that fails, and is not passed on: ROLLBACK, if there is something to."""
        self.ask(unit)
        self.get(sent or unit)
        self.say(failed)
        if failed.endswith(ready('E')):
            self.undo()

    def redo(self, instead=None):
        """The log is replayed: the first unit, and when that is answered the others, all
        of them before the first of them is answered. instead: {index: other answer}."""
        other = instead or {}
        unit, told = self.log[0]
        if unit[:1] == b'P' and unit[5:6] == b'\0':
            # in front of it, perhaps, the unnamed statement that there was at the BEGIN
            one, two = msg(*self.s.read_raw()), msg(*self.s.read_raw())
            if one == two:
                self.s.send(msg('1'))
            self.s.buf = (b'' if one == two else one) + two + self.s.buf
        self.get(unit)
        self.say(other.get(0, told))
        if 0 not in other and len(self.log) > 1:
            self.get(*[u for u, _ in self.log[1:]])
            self.say(*[other.get(i + 1, a) for i, (_, a) in enumerate(self.log[1:])])

    def replayed(self, unit=WRITE, failed=FAILS, answer=WRITE_OK, sent=None):
        """A unit that fails once, and nobody hears of it."""
        self.fails(unit, failed, sent)
        self.redo()
        self.get(sent or unit)
        self.say(answer)
        self.told(answer)
        self.log.append((sent or unit, answer))

    def giving_up(self, in_block=True):
        """The daemon brings the server to where the client believes it to be."""
        want = [BEGIN, GIVE_UP] if in_block else []
        if self.tx != 'I':
            want.insert(0, ROLLBACK)
        if not want and not self.server_is_first():
            return
        while want or self.tx != 'I' and not in_block:
            letter, body = self.s.read_raw()
            got = msg(letter, body)
            if got != ROLLBACK or want[:1] == [ROLLBACK]:   # one more ROLLBACK does no harm
                assert want and got == want.pop(0), 'the daemon gives up with ' + wire.spell(got)
            self.say({ROLLBACK: ROLLBACK_OK, BEGIN: BEGIN_OK, GIVE_UP: NO_SAVEPOINT}[got])

    def gives_up(self, told, in_block=True):
        """And then the client gets that."""
        self.giving_up(in_block)
        self.told(told)
        self.log = []
        if in_block:
            self.still_failed()

    def server_is_first(self, patience=None):
        """Does the server get something, before the client does?"""
        if self.s.buf or self.c.buf:
            return bool(self.s.buf)
        have = select.select([self.s.sock, self.c.sock], [], [], patience or PATIENCE)[0]
        return self.s.sock in have and self.c.sock not in have

    def still_failed(self):
        """The life of a failed transaction, until the client ends it."""
        self.through(READ, ABORTED)
        self.rollback()

    def passed_on(self, unit=WRITE, failed=FAILS, sent=None):
        """A unit that fails, and is not for us to repeat; then the client goes on as it
        can, and everything reaches the server as it is."""
        self.through(unit, failed, sent)
        if failed.endswith(ready('E')):
            self.still_failed()
        elif failed.endswith(ready('T')):
            self.rollback()
        self.log = []

    def end(self, **counters):
        """Outside a transaction: neither side has more to say. Counters as SHOW RETRIES
        has them; those of replays that are not given are 0."""
        self.over()
        self.counts(**counters)
        self.ask(wire.terminate())
        assert self.c.closed(), wire.spell(self.c.buf)

    def over(self):
        """The same, without a look at the counters."""
        self.log = []
        self.through(query("SELECT 'the end'"), row('the end', 'I'))

    def counts(self, **want):
        got = self.w.retries()
        names = ('replay_begun', 'replay_ok', 'replay_mismatch', 'replay_exhausted', 'replay_lost')
        have = {n: got.get(n, 0) for n in names}
        assert have == {**dict.fromkeys(names, 0), **want}, got

    def nothing_comes(self):
        """For what cannot be seen by the order of things."""
        assert self.c.quiet(QUIET), wire.spell(self.c.buf)

    def server_hears_nothing(self):
        assert self.s.quiet(QUIET), wire.spell(self.s.buf)

    def told_with_notifications(self, data, note, n=1):
        """The client must get that, and so many notifications somewhere around it."""
        got = []
        while len(b''.join(got)) < len(data) + n * len(note):
            try:
                got.append(msg(*self.c.read_raw()))
            except (wire.Closed, TimeoutError):
                break
        assert b''.join(m for m in got if m != note) == data and got.count(note) == n, \
            'the client got ' + wire.spell(b''.join(got))

    # ---- ends

    def lose(self, words=b'', for_good=True):
        """The server goes, with these words."""
        if for_good:
            self.s.server.refuse()
        if words:
            self.s.send(words)
        self.s.sock.shutdown(2)
        self.s.over.set()
        self.s, self.tx = None, 'I'

    def another(self):
        """The next connection that speaks, wherever."""
        self.s = self.nodes[0].next(PATIENCE)
        return self.s

    def gone(self):
        """Waits until the daemon knows of it."""
        until(lambda: self.w.pool()['sv_total'] == '0', why='the daemon to see that its server is gone')

    def barrier(self):
        """What was sent to the daemon before has been read."""
        self.w.console('SHOW VERSION')

    def nobody_left(self, answer, giving_up=False):
        """The client has gone, and the server says this: nothing more is done for it, and
        the next client is served."""
        allowed = (ROLLBACK, BEGIN, GIVE_UP) if giving_up else (ROLLBACK,)
        if answer:
            self.say(answer)
        with self.w.connect(timeout=PATIENCE) as other:
            other.send(READ2)
            while True:
                try:
                    got = msg(*self.s.read_raw())
                except wire.Closed:
                    self.another()
                    continue
                if got == READ2:
                    break
                assert got in allowed or got[:1] in b'Xf', 'for nobody: ' + wire.spell(got)
                if got[:1] not in b'Xf':      # CopyFail is for a COPY that there may be
                    self.say({ROLLBACK: ROLLBACK_OK, BEGIN: BEGIN_OK, GIVE_UP: NO_SAVEPOINT}[got])
            self.say(row('20', 'I'))
            other.exact(row('20', 'I'))

    def cancel(self):
        wire.cancel(self.w.port, self.c.key)

    def cancels(self):
        return sum(len(n.cancels) for n in self.nodes)
