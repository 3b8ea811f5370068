"""Everything malformed, from both sides: a clear error or a close for that one
connection, and nobody else notices."""
import random
import struct
import time

import pytest

import wire
from conftest import SAN, SLOW, Spawned, db, ini, run_threads, until
from wire import Closed, Conn, PgError, bind, error, execute, extended, msg, parse, query, ready, result, sync


def raw(letter, length, body=b''):
    return letter.encode() + struct.pack('!i', length) + body


@pytest.fixture
def witness(weir, pg):
    """A daemon with a pool of two and a bystander in a transaction, who must
    be served before and after."""
    w = weir(ini({'app': db(pg)}, default_pool_size=3, workers=1))
    by = w.connect()
    by.hold()
    pid = by.one('SELECT pg_backend_pid()')
    yield w
    assert by.one('SELECT pg_backend_pid()') == pid
    by.sql('COMMIT')
    by.close()
    assert w.one('SELECT 1') == '1'
    if not w.direct:
        until(lambda: pg.backends("state <> 'idle'") == 0, why='no server left busy')


def by_name(rows):
    return [pytest.param(*r, id=r[0]) for r in rows]


def drain(c):
    """Reads to the end of the connection; the messages that made sense."""
    out = []
    try:
        while len(out) < 10000:
            out.append(c.read())
    except (Closed, ConnectionError):
        return out
    raise AssertionError('never closed')


FATAL = {
    'length 0': raw('Q', 0),
    'length 3': raw('Q', 3),
    'negative length': raw('Q', -1, b'x' * 100),
    'most negative length': raw('Q', -2**31, b'x'),
    'zero bytes': b'\0' * 1000,
    'all ff': b'\xff' * 1000,
    'unknown letter': raw('z', 4),
    'unknown letter with a body': raw('!', 20, b'x' * 16),
    'letter of a server': raw('T', 6, b'\0\0'),
    'http': b'GET / HTTP/1.1\r\nHost: example\r\n\r\n',
    'tls hello': bytes.fromhex('16030100f8010000f40303') + b'x' * 240,
    'startup packet again': wire.startup(),
    'ssl request again': wire.special(wire.CODE_SSL),
    'password out of place': wire.password('x'),
    'sync with a negative length': raw('S', -4),
    'terminate with a negative length': raw('X', -4),
}


@pytest.mark.weir_only
@pytest.mark.parametrize('where', ['idle', 'transaction', 'batch'])
@pytest.mark.parametrize('name', list(FATAL))
def test_malformed_ends_that_connection(witness, name, where):
    """In every state of the client: at most one error of class 08, then the end."""
    with witness.connect() as c:
        if where == 'transaction':
            c.hold()
        elif where == 'batch':
            c.send(extended('SELECT 1'))
        c.send(FATAL[name])
        try:
            c.sock.shutdown(1)
        except OSError:
            pass
        out = drain(c)
        errs = [m[1] for m in out if m[0] == 'E']
        assert len(errs) <= 1, out
        for e in errs:
            assert e['C'][:2] == '08' and e['S'] in ('FATAL', 'ERROR'), e
    witness.wait_log('why=')


@pytest.mark.weir_only
@pytest.mark.parametrize('letter', list('QPBDECHSFXdcfp'))
def test_huge_length_takes_no_memory(witness, letter):
    """Two gigabytes promised, a little sent: no memory for the promise, no
    server for half a message, and a clean end."""
    before = int(witness.status('VmHWM'))
    with witness.connect() as c:
        try:
            c.send(raw(letter, 0x7fffffff, b'x' * 100000))
        except ConnectionError:
            pass
        assert witness.one('SELECT 1') == '1'
    if not SAN:
        assert int(witness.status('VmHWM')) - before < 3000


# Bodies that PostgreSQL itself refuses: same answer, same state afterwards.
BODIES = {
    'empty query message': msg('Q'),
    'query without terminator': msg('Q', b'SELECT 1'),
    'bytes behind the query': msg('Q', b'SELECT 1\0SELECT 2\0'),
    'parse without anything': msg('P') + sync(),
    'parse without end': msg('P', b'name') + sync(),
    'parse with short types': msg('P', b'\0SELECT 1\0\0\5') + sync(),
    'parse with negative types': msg('P', b'\0SELECT 1\0\xff\xff') + sync(),
    'bind empty': msg('B') + sync(),
    'bind without end': msg('B', b'\0') + sync(),
    'bind with too few formats': parse('SELECT 1') + msg('B', b'\0\0\0\5\0\0') + sync(),
    'bind with negative length': parse('SELECT $1::text') + msg('B', b'\0\0\0\0\0\1' + struct.pack('!i', -2)) + sync(),
    'bind with a length beyond': parse('SELECT $1::text') + msg('B', b'\0\0\0\0\0\1' + struct.pack('!i', 1000) + b'x') + sync(),
    'describe of nothing': msg('D') + sync(),
    'describe of an unknown kind': msg('D', b'Xname\0') + sync(),
    'describe without end': msg('D', b'Sname') + sync(),
    'execute empty': msg('E') + sync(),
    'execute without number': msg('E', b'\0') + sync(),
    'close of an unknown kind': msg('C', b'Qx\0') + sync(),
    'close empty': msg('C') + sync(),
    'sync with a body': msg('S', b'surprise'),
    'flush with a body': msg('H', b'surprise') + sync(),
    'copy data out of place': msg('d', b'x') + sync(),
    'copy done out of place': msg('c') + sync(),
    'copy fail out of place': msg('f', b'x\0') + sync(),
    'function call empty': msg('F'),
    'function call short': msg('F', b'\0\0\0\1\0'),
    'text that is no utf-8': msg('Q', b"SELECT '\xff\xfe'\0"),
    'nul in a parameter': extended('SELECT $1::text', [b'a\0b']) + sync(),
}


@pytest.mark.parametrize('name', list(BODIES))
def test_bad_body(witness, pg, name):
    """As the server takes it: an error and a usable connection, or the end."""
    outcome = []
    for port in (witness.port, pg.port):
        with Conn(port, timeout=10) as c:
            c.send(BODIES[name] + query('SELECT 77'))
            c.sock.shutdown(1)
            out = [m for m in drain(c) if m[0] not in 'SN']
            outcome.append(([m[1]['C'] for m in out if m[0] == 'E'], ('D', ['77']) in out))
    mine, server = outcome
    if mine != server:
        # ours may be stricter: a class 08 error and the end of that connection
        assert not mine[1] and all(c[:2] == '08' for c in mine[0]) and len(mine[0]) <= 1, outcome


@pytest.mark.weir_only
def test_garbage_of_every_kind(witness):
    """Random bytes behind a good login, and random damage to good messages."""
    rnd = random.Random(4711)
    good = (query('SELECT 1') + extended('SELECT $1::int', [1], name='g') + sync() +
            query('BEGIN') + query('COMMIT') + bind([2], 'g') + execute() + sync())
    for i in range(150):
        with witness.connect(timeout=15) as c:
            if i % 2:
                data = bytes(rnd.randrange(256) for _ in range(rnd.randrange(1, 300)))
            else:
                b = bytearray(good)
                for _ in range(rnd.randrange(1, 6)):
                    b[rnd.randrange(len(b))] = rnd.randrange(256)
                data = bytes(b)
            try:
                c.send(data)
                c.sock.shutdown(1)
            except OSError:
                pass
            drain(c)


@pytest.mark.weir_only
def test_good_messages_cut_at_every_byte(witness):
    """The connection ends after n bytes of a legal conversation."""
    good = (query('SELECT 1') + extended('SELECT $1::int', [1], name='g') + sync() +
            query('COPY t (a) FROM STDIN') + wire.copy_data('x\n') + wire.copy_done() + query('BEGIN'))
    for n in range(len(good)):
        with witness.connect() as c:
            c.send(good[:n])
            if n % 3 == 0:
                c.reset()
            elif n % 3 == 1:
                c.sock.shutdown(1)
                drain(c)


@pytest.mark.weir_only
def test_names_that_are_too_long(witness):
    """Statement and portal names have a bound; beyond it a clear error."""
    with witness.connect() as c:
        for n in (63, 64, 500, 70000):
            name = 'n' * n
            try:
                c.send(parse('SELECT 1', name) + bind([], name) + execute() + sync())
                out = c.until()
            except (Closed, ConnectionError):
                break
            assert ('D', ['1']) in out or [m for m in out if m[0] == 'E']


@pytest.mark.weir_only
def test_statements_without_end_are_bounded(weir, pg):
    """A client that prepares for ever under ever new names meets a bound or at
    least costs no more than what it sent."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    c = w.connect()
    c.sql('SELECT 1')
    before = int(w.status('VmHWM'))
    sent = 0
    try:
        for i in range(0, 20000, 500):
            part = b''.join(parse('SELECT %d' % j, 's%d' % j) for j in range(i, i + 500)) + sync()
            sent += len(part)
            c.ask(part)
    except (Closed, PgError):
        pass
    if not SAN:
        assert int(w.status('VmHWM')) - before < 40000 + sent / 1024 * 4
    assert w.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_slow_loris_does_not_block_others(weir, pg):
    """A hundred clients that send one byte now and then."""
    w = weir(ini({'app': db(pg)}, default_pool_size=2, max_client_conn=500))
    loris = [Conn(w.port, login=False) for _ in range(100)]
    data = wire.startup()
    for i in range(10):
        for c in loris:
            c.send(data[i:i + 1])
        t = time.monotonic()
        assert w.one('SELECT 1') == '1'
        assert time.monotonic() - t < 2 * SLOW
    for c in loris:
        c.close()


@pytest.mark.weir_only
def test_out_of_descriptors(weir, pg):
    """EMFILE: those who are in stay in, and when some leave others come."""
    import resource
    w = weir(ini({'app': db(pg)}, default_pool_size=2, max_client_conn=10000),
             popen={'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))})
    first = w.connect()
    assert first.one('SELECT 1') == '1'
    many = []
    for _ in range(150):
        c = Conn(w.port, login=False, timeout=20)
        c.send(wire.startup())
        many.append(c)
    for _ in range(20):
        assert first.one('SELECT 1') == '1'
    for c in many:
        c.close()

    def again():
        try:
            return w.one('SELECT 1') == '1'
        except (PgError, Closed, OSError):
            return False
    until(again, why='new clients to be let in')
    assert first.one('SELECT 1') == '1'


# ---- from the server ---------------------------------------------------------------------------

@pytest.fixture
def rude(weir):
    """rude(bytes): a server whose answer to a query that holds 'rude' is these
    bytes and then the end; other queries are answered. Retry off, so that what
    is asked is asked once."""
    made = []

    def make(answer, end=True, **kw):
        def script(c):
            while True:
                try:
                    letter, body = c.read_raw()
                except Closed:
                    return
                if letter == 'X':
                    return
                if letter == 'Q' and b'rude' in body:
                    c.send(answer)
                    if end:
                        c.sock.shutdown(1)
                    c.wait_close()
                    return
                if letter in 'QS':
                    c.send(result('polite') + ready())
        f = wire.FakeServer(script)
        made.append(f)
        w = weir(ini({'app': db(f)}, **{'health_check_interval': 3600, 'default_pool_size': 2, 'retry': 'off', **kw}))
        return w
    yield make
    for f in made:
        f.close()


GARBAGE = {
    'nothing': b'',
    'zero bytes': b'\0' * 100,
    'all ff': b'\xff' * 100,
    'length 0': raw('D', 0),
    'length 3': raw('C', 3),
    'negative': raw('D', -7, b'xxxx'),
    'unknown letter': raw('@', 4),
    'half a header': b'D\0\0',
    'half a row': wire.data_row('x' * 100)[:50],
    'ready without status': msg('Z'),
    'ready with a wrong status': msg('Z', b'?'),
    'ready too long': msg('Z', b'II'),
    'error without end': msg('E', b'SERROR'),
    'error empty': msg('E'),
    'error without a code': msg('E', b'Mhm\0\0') + ready(),
    'parameter without value': msg('S', b'name') + ready(),
    'row count that lies': msg('D', b'\x7f\xff') + ready(),
    'copy both': msg('W', b'\0\0\0') ,
    'authentication out of place': wire.auth_ok(),
    'http': b'HTTP/1.1 400 Bad Request\r\n\r\n',
    'answer and garbage': result() + b'\0\0\0\0\0\0',
}


@pytest.mark.weir_only
@pytest.mark.parametrize('name', list(GARBAGE))
def test_garbage_from_the_server(rude, name):
    """One error or the end for the one who asked; another client of the same
    pool, and the same client's next query, are served by a fresh server."""
    w = rude(GARBAGE[name])
    with w.connect() as by, w.connect(timeout=20) as c:
        assert by.one('hello') == 'polite'
        c.send(query('rude'))
        try:
            out = c.until()
            assert out[-1][1] in 'IE?', out
            assert len([m for m in out if m[0] == 'E']) <= 2
            if out[-1][1] == 'I':
                try:
                    assert c.one('hello') == 'polite'
                except PgError as e:
                    # the end came behind this query: nobody can know what became of it
                    assert e.fields['C'] == '40003'
                    assert c.one('hello') == 'polite'
        except (Closed, struct.error, IndexError, ValueError):
            # ended, or a body that nobody looks into on the way was passed on
            pass
        assert by.one('hello') == 'polite'
        assert w.one('hello') == 'polite'


@pytest.mark.weir_only
@pytest.mark.parametrize('name', ['ready twice', 'answer nobody asked for', 'garbage while idle', 'unknown letter idle'])
def test_a_server_that_speaks_unasked_is_not_used_again(rude, name):
    """Bytes on an idle server connection must never become the answer of the
    next client."""
    extra = {'ready twice': ready(), 'answer nobody asked for': result('stolen') + ready(),
             'garbage while idle': b'\xff' * 20, 'unknown letter idle': raw('@', 4)}[name]
    w = rude(result('mine') + ready() + extra, end=False, default_pool_size=1)
    with w.connect() as a, w.connect() as b:
        a.send(query('rude'))
        assert a.until()[1] == ('D', ['mine'])
        for _ in range(3):
            assert b.one('hello') == 'polite'
            assert a.one('hello') == 'polite'


@pytest.mark.weir_only
@pytest.mark.parametrize('name, first', by_name([
    ('garbage', b'\xff' * 50), ('http', b'HTTP/1.1 400 Bad Request\r\n\r\n'), ('closes', b''),
    ('length 0', raw('R', 0)), ('huge', raw('R', 0x7fffffff, b'x' * 100)), ('negative', raw('S', -9)),
    ('row before login', wire.data_row('x')), ('ready before auth', ready()),
    ('short auth', msg('R', b'\0')), ('short key', wire.auth_ok() + msg('K', b'\0')),
    ('error', error('28000', 'go away', 'FATAL')), ('endless parameters', None),
]))
def test_garbage_in_the_server_login(weir, pg, name, first):
    """The node counts as unusable; the client is told; memory is bounded."""
    def script(c):
        try:
            if not c.read_startup():
                return
            if first is None:
                c.send(wire.auth_ok())
                for i in range(20000):
                    c.send(wire.parameter('p%d' % i, 'v' * 1000))
            else:
                c.send(first)
            c.wait_close()
        except (OSError, Closed):
            pass
    with wire.FakeServer(script, login=False) as fake:
        w = weir(ini({'bad': db(fake, user='u'), 'app': db(pg)}, query_wait_timeout=1, server_connect_timeout='0.5',
                     health_check_interval=60))
        with pytest.raises((PgError, Closed)):
            w.one('SELECT 1', database='bad')
        assert w.one('SELECT 1') == '1'
        if not SAN:
            assert w.rss_peak_kb() < 60000


@pytest.mark.weir_only
def test_error_and_close_are_told_once(rude):
    """FATAL and the end of the connection: one ErrorResponse, not two, and not
    FATAL, because the client's connection stays. Its code may be the server's
    or say that the outcome is not known."""
    w = rude(error('57P01', 'terminating connection due to administrator command', 'FATAL'))
    with w.connect() as c:
        m = c.ask(query('rude'))
        assert wire.shape(m) in ('E:57P01 Z:I', 'E:40003 Z:I')
        assert m[-2][1]['S'] == 'ERROR'
        assert c.one('hello') == 'polite'


@pytest.mark.weir_only
def test_partial_result_then_death(rude):
    """Rows were passed on, then the server dies: an error follows the rows, the
    protocol stays in step."""
    w = rude(wire.row_description('a') + wire.data_row('1') * 1000)
    with w.connect() as c:
        m = c.ask(query('rude'))
        assert [x[0] for x in m].count('E') == 1 and m[-1] == ('Z', 'I')
        assert c.one('hello') == 'polite'


@pytest.mark.weir_only
def test_death_in_the_middle_of_a_row(weir):
    """Half a DataRow is already at the client: nothing can be put behind it,
    so that connection ends."""
    big = wire.data_row('x' * 1000000)

    def script(c):
        c.expect_query()
        c.send(wire.row_description('a') + big[:500000])
        c.sock.shutdown(2)
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, health_check_interval=3600, retry='off'))
        with w.connect() as c:
            c.send(query('SELECT 1'))
            with pytest.raises(Closed):
                while True:
                    m = c.read()
                    assert m[0] in 'TE', m


@pytest.mark.weir_only
def test_message_of_the_server_one_byte_at_a_time(weir):
    def script(c):
        while True:
            try:
                letter, _ = c.read_raw()
            except Closed:
                return
            if letter == 'Q':
                c.send_bytewise(wire.notice('n') + result('slow') + ready())
    with wire.FakeServer(script) as fake:
        w = weir(ini({'app': db(fake)}, health_check_interval=3600))
        with w.connect() as c:
            for _ in range(20):
                assert c.one('SELECT 1') == 'slow'


@pytest.mark.weir_only
def test_login_of_the_server_one_byte_at_a_time(weir):
    def script(c):
        if not c.read_startup():
            return
        data = wire.auth_ok() + b''.join(wire.parameter(k, v) for k, v in wire.PARAMS.items()) + \
            wire.key_data(1, 2) + ready()
        c.send_bytewise(data)
        if not c.server.is_probe_of(c):
            while True:
                try:
                    c.expect_query()
                except Closed:
                    return
                c.send(result('in') + ready())
    with wire.FakeServer(script, login=False) as fake:
        fake.is_probe_of = lambda c: safe_probe(fake, c)
        w = weir(ini({'app': db(fake)}, health_check_interval=3600))
        assert w.one('SELECT 1') == 'in'


def safe_probe(fake, c):
    try:
        return fake.is_probe(c)
    except (Closed, OSError):
        return True


@pytest.mark.weir_only
def test_noise_on_many_connections_at_once(weir, pg):
    """Rude and polite clients together, two workers: the polite ones see only
    their own answers."""
    w = weir(ini({'app': db(pg)}, default_pool_size=4, workers=2))
    stop = []

    def rude_one(i):
        rnd = random.Random(i)
        while not stop:
            try:
                with w.connect(timeout=15) as c:
                    c.send(rnd.choice(list(FATAL.values())))
                    c.sock.shutdown(1)
                    drain(c)
            except (OSError, PgError, Closed):
                pass

    def polite(i):
        with w.connect() as c:
            for j in range(300):
                assert c.one('SELECT %d' % (i * 1000 + j)) == str(i * 1000 + j)
        return True
    t = Spawned(run_threads, 4, rude_one)
    try:
        assert all(run_threads(6, polite))
    finally:
        stop.append(1)
        t.result()
