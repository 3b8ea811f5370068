"""One key=value line per event; one at each connection's end with its reason;
never query text, never secrets."""
import re
import time

import pytest

import wire
from conftest import Spawned, db, ini, until
from wire import query

pytestmark = pytest.mark.weir_only

LINE = re.compile(r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z level=(error|warn|info|debug)( [a-z_0-9]+=("([^"\\]|\\.)*"|[^ "]*))+$')


def ends(w):
    """Lines that tell the end of a client."""
    return w.log_lines('event=client_closed')


def why(line):
    return re.search(r' why=("[^"]*"|\S+)', line).group(1).strip('"')


def test_every_line_is_key_value(one):
    with one.connect(application_name='odd "name" = x\ty') as c:
        c.sql('SELECT 1')
        c.ask(query('SELECT 1/0'))
    with pytest.raises(wire.PgError):
        one.connect(database='no "such" db', user='evil\nlevel=error event=forged')
    with wire.Conn(one.port, login=False) as c:
        c.send(b'GET / HTTP/1.1\r\n\r\n')
        c.closed()
    until(lambda: len(ends(one)) >= 3)
    lines = one.log().splitlines()
    assert lines
    for line in lines:
        assert LINE.match(line), line
        assert 'event=' in line
    assert not [x for x in lines if x.startswith('level=error event=forged')]


ENDINGS = ['terminate', 'eof', 'reset', 'idle timeout', 'bad message', 'bad startup', 'no such database',
           'in transaction']


@pytest.mark.parametrize('how', ENDINGS)
def test_one_line_at_the_end_with_its_reason(weir, pg, how):
    w = weir(ini({'app': db(pg)}, client_idle_timeout='0.2' if how == 'idle timeout' else 0))
    if how == 'bad startup':
        c = wire.Conn(w.port, login=False)
        c.send(b'\0\0\0\3')
        c.closed()
    elif how == 'no such database':
        with pytest.raises(wire.PgError):
            w.connect(database='nosuch')
    else:
        c = w.connect()
        c.sql('SELECT 1')
        if how == 'terminate':
            c.send(wire.terminate())
            c.closed()
        elif how == 'eof':
            c.close()
        elif how == 'reset':
            c.reset()
        elif how == 'bad message':
            c.send(b'Q\0\0\0\0')
            while not c.closed():
                c.buf = b''
        elif how == 'in transaction':
            c.sql('BEGIN')
            c.close()
        else:
            while not c.closed():
                c.buf = b''
    until(lambda: ends(w), why='the line')
    time.sleep(0.1)
    got = ends(w)
    assert len(got) == 1, got
    # the reason itself, in this very line
    assert len(why(got[0])) > 5 and why(got[0]) != 'told why', got
    assert 'peer=127.0.0.1' in got[0]
    if how not in ('bad startup', 'no such database'):
        assert 'db=app' in got[0] and 'user=app' in got[0]


def test_reasons_differ(weir, pg):
    """The reason tells the endings apart."""
    w = weir(ini({'app': db(pg)}))
    whys = []

    def end(fn):
        n = len(ends(w))
        fn()
        until(lambda: len(ends(w)) > n)
        whys.append(why(ends(w)[-1]))

    def terminated():
        c = w.connect()
        c.send(wire.terminate())
        c.closed()

    def bad():
        c = w.connect()
        c.send(b'Q\0\0\0\0')
        while not c.closed():
            c.buf = b''
    end(terminated)
    end(lambda: w.connect().close())
    end(bad)
    assert len(set(whys)) == 3, whys


def test_no_query_text_and_no_secrets(weir, scram_pg, tmp_path):
    """At the most talkative level."""
    secret, marker = 'marcs_u!', 'my_private_text_in_a_query'
    f = tmp_path / 'users.txt'
    f.write_text('"u_scram" "%s"\n"wrong" "another_secret_99"\n' % secret)
    w = weir(ini({'app': db(scram_pg)}, auth_type='scram-sha-256', auth_file=f, verbose=3), args=['-v', '-v', '-v'])
    with w.connect('u_scram', secret=secret) as c:
        c.sql("SELECT '%s'" % marker)
        c.ask(query("SELECT '%s' FROM nowhere_%s" % (marker, marker)))
        c.ask(wire.extended("SELECT $1::text || '%s'" % marker, [marker]), wire.sync())
        c.ask(wire.parse("SELECT '%s'" % marker, marker), wire.sync())
    with pytest.raises(wire.PgError):
        w.connect('u_scram', secret='not_my_secret_77')
    until(lambda: ends(w))
    text = w.log()
    for s in (secret, marker, 'another_secret_99', 'not_my_secret_77'):
        assert s not in text, s


def test_show_config_hides_secrets(weir, pg):
    w = weir(ini({'app': db(pg, password='topsecret1')}, health_check_password='topsecret2'))
    text = str(w.console('SHOW CONFIG'))
    assert 'topsecret' not in text and '********' in text
    assert 'topsecret' not in w.log()


def test_log_connections_can_be_switched_off(weir, pg):
    w = weir(ini({'app': db(pg)}, log_connections=0, log_disconnections=0))
    for _ in range(5):
        w.sql('SELECT 1')
    assert not ends(w)
    w2 = weir(ini({'app': db(pg)}))
    w2.sql('SELECT 1')
    until(lambda: ends(w2))


def test_a_flood_of_events_is_counted_not_written(weir, pg):
    """The same event at most so many times a second, and how many were left
    out."""
    w = weir(ini({'app': db(pg)}))
    for _ in range(400):
        with wire.Conn(w.port, login=False) as c:
            c.send(b'\0\0\0\1')
            c.closed()
    time.sleep(1.1)
    with wire.Conn(w.port, login=False) as c:
        c.send(b'\0\0\0\1')
        c.closed()
    w.wait_log('left_out=')


def test_logfile_and_reopen(weir, pg, tmp_path):
    import os
    os.chmod(tmp_path, 0o777)
    path = tmp_path / 'weir.log'
    w = weir(ini({'app': db(pg)}, logfile=path))
    w.sql('SELECT 1')
    until(lambda: path.exists() and 'event=' in path.read_text())


def test_a_full_stderr_does_not_stop_the_daemon(weir, pg):
    """Nobody reads the log pipe: clients are served all the same."""
    import os
    r, wr = os.pipe()
    w = weir(ini({'app': db(pg)}, verbose=3),
             wrap=['/usr/bin/python3', '-c',
                   'import os,sys; os.dup2(int(sys.argv[1]), 2); os.execv(sys.argv[2], sys.argv[2:])', str(wr)],
             popen={'pass_fds': [wr]})
    os.close(wr)
    try:
        t = Spawned(lambda: [w.one('SELECT 1') for _ in range(800)])
        assert set(t.result(60)) == {'1'}
    finally:
        os.close(r)
