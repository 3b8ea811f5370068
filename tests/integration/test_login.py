"""Both logins: the client's at the daemon, the daemon's at the server; and the
first packet in every shape."""
import os
import struct

import pytest

import wire
from conftest import SECRETS, db, ini
from wire import Closed, Conn, PgError


def auth_conf(pg, tmp_path, users, **kw):
    f = tmp_path / 'users.txt'
    f.write_text('; a comment\n' + ''.join('"%s" "%s"\n' % (u.replace('"', '""'), s) for u, s in users))
    os.chmod(tmp_path, 0o755)
    return ini({'app': db(pg, user='app')}, auth_type='scram-sha-256', auth_file=f, **kw)


# ---- the client's ------------------------------------------------------------------------

def test_trust(one):
    with one.connect() as c:
        assert c.login_messages[0] == ('R', (0, b''))
        assert c.one('SELECT current_user') == 'app'
        assert c.key


@pytest.mark.weir_only
@pytest.mark.parametrize('stored', ['plain', 'scram'])
def test_scram(weir, pg, tmp_path, stored):
    secret = 'pen cil"' if stored == 'scram' else 'pen cil'
    text = secret if stored == 'plain' else wire.scram_secret(secret)
    w = weir(auth_conf(pg, tmp_path, [('alice', text), ('admin', 'x')]))
    with w.connect('alice', secret=secret) as c:
        kinds = [m[1][0] for m in c.login_messages if m[0] == 'R']
        assert kinds == [10, 11, 12, 0]
        assert c.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_scram_wrong_and_unknown_look_alike(weir, pg, tmp_path):
    w = weir(auth_conf(pg, tmp_path, [('alice', 'right')]))
    seen = []
    for user, secret in (('alice', 'wrong'), ('nobody_here', 'right')):
        c = Conn(w.port, login=False)
        with pytest.raises(PgError) as e:
            c.login(user, 'app', secret=secret)
        assert e.value.code == '28P01'
        assert e.value.fields['S'] == 'FATAL'
        assert c.closed()
        seen.append([m[1][0] for m in c.login_messages if m[0] == 'R'] +
                    [e.value.fields['M'].replace(user, 'U')])
    assert seen[0] == seen[1]
    w.wait_log('event=client_closed', n=2)
    assert 'right' not in w.log() and 'wrong' not in w.log()


@pytest.mark.weir_only
def test_scram_mock_salt_is_stable(weir, pg, tmp_path):
    """An unknown user has the same salt each time, as a known one has."""
    w = weir(auth_conf(pg, tmp_path, [('alice', wire.scram_secret('x'))]))

    def salt(user):
        with Conn(w.port, login=False) as c:
            c.send(wire.startup(user))
            assert c.read()[1][0] == 10
            first = wire.Scram('x').first()
            c.send(wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
            f = dict(p.split('=', 1) for p in c.read()[1][1].decode().split(','))
            return f['s'], f['i']
    assert salt('ghost') == salt('ghost')
    assert salt('ghost') != salt('ghost2')
    assert salt('alice') == salt('alice')


@pytest.mark.weir_only
@pytest.mark.parametrize('answer', [
    wire.msg('p', b''),
    wire.msg('p', b'SCRAM-SHA-256'),
    wire.msg('p', wire.cstr('SCRAM-SHA-256-PLUS') + struct.pack('!i', 0)),
    wire.msg('p', wire.cstr('MD5') + struct.pack('!i', 3) + b'abc'),
    wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', 1 << 30) + b'n,,'),
    wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', -1)),
    wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', 9) + b'p=x,,n=,r'),
    wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', 10) + b'n,,n=,r=\0\xff'),
    wire.msg('p', b'x' * 5000),
    wire.query('SELECT 1'),
    wire.sync(),
    wire.terminate(),
    b'p' + struct.pack('!i', 3),
    b'p' + struct.pack('!i', -5),
    b'p' + struct.pack('!i', 0x7fffffff) + b'x' * 1000,
    b'\0' * 64,
], ids=lambda a: 'p%d' % len(a))
def test_scram_bad_messages(weir, pg, tmp_path, answer):
    w = weir(auth_conf(pg, tmp_path, [('alice', 'right')]))
    with Conn(w.port, login=False) as c:
        c.send(wire.startup('alice'))
        assert c.read()[1][0] == 10
        c.send(answer)
        with pytest.raises(Closed):
            while True:
                m = c.read()
                assert m[0] == 'E', m
                assert m[1]['C'][:2] in ('08', '28')
    assert w.one('SELECT 1', user='alice', secret='right') == '1'


@pytest.mark.weir_only
def test_scram_final_damaged(weir, pg, tmp_path):
    """Wrong nonce, wrong channel binding, proof cut, anything behind the end."""
    w = weir(auth_conf(pg, tmp_path, [('alice', 'right')]))

    def damage(how):
        with Conn(w.port, login=False) as c:
            c.send(wire.startup('alice'))
            c.read()
            s = wire.Scram('right')
            first = s.first()
            c.send(wire.msg('p', wire.cstr('SCRAM-SHA-256') + struct.pack('!i', len(first)) + first))
            final = s.final(c.read()[1][1])
            c.send(wire.msg('p', how(final)))
            m = c.read()
            assert m[0] == 'E' and m[1]['C'][:2] in ('08', '28'), m
            assert c.closed()
    damage(lambda f: f.replace(b'c=biws', b'c=eSws'))
    damage(lambda f: f.replace(b'r=', b'r=x'))
    damage(lambda f: f[:-4])
    damage(lambda f: f + b',x=1')
    damage(lambda f: f + b'\0')
    damage(lambda f: f.split(b',p=')[0])
    damage(lambda f: b'')


@pytest.mark.weir_only
def test_auth_file_quoting(weir, pg, tmp_path):
    w = weir(auth_conf(pg, tmp_path, [('odd "name"', 'a')]))
    assert w.one('SELECT 1', user='odd "name"', secret='a') == '1'


@pytest.mark.weir_only
def test_login_timeout(weir, pg):
    """Half a startup packet, or nothing: told once, closed, logged."""
    w = weir(ini({'app': db(pg)}, client_login_timeout='0.3'))
    for part in (wire.startup()[:6], b''):
        with Conn(w.port, login=False) as c:
            c.send(part)
            out = []
            with pytest.raises(Closed):
                while True:
                    out.append(c.read()[0])
            assert out in ([], ['E'])
    w.wait_log('event=client_closed', n=2)


# ---- the server's ---------------------------------------------------------------------------

@pytest.mark.weir_only
@pytest.mark.parametrize('user', list(SECRETS))
def test_server_login(weir, scram_pg, user):
    w = weir(ini({'app': db(scram_pg, user=user, password="'%s'" % SECRETS[user])}))
    assert w.one('SELECT current_user', user='whoever') == user


@pytest.mark.weir_only
@pytest.mark.parametrize('user', ['u_plain', 'u_md5', 'u_scram'])
def test_server_login_with_the_client_secret(weir, scram_pg, tmp_path, user):
    """No user= in the database: the client's own name, secret from auth_file."""
    f = tmp_path / 'users.txt'
    f.write_text('"%s" "%s"\n' % (user, SECRETS[user]))
    w = weir(ini({'app': db(scram_pg)}, auth_type='scram-sha-256', auth_file=f))
    assert w.one('SELECT current_user', user=user, secret=SECRETS[user]) == user


@pytest.mark.weir_only
def test_server_login_md5_hash_in_auth_file(weir, scram_pg, tmp_path):
    import hashlib
    f = tmp_path / 'users.txt'
    h = 'md5' + hashlib.md5((SECRETS['u_md5'] + 'u_md5').encode()).hexdigest()
    f.write_text('"u_md5" "%s"\n' % h)
    w = weir(ini({'app': db(scram_pg)}, auth_type='trust', auth_file=f))
    assert w.one('SELECT current_user', user='u_md5') == 'u_md5'


@pytest.mark.weir_only
@pytest.mark.parametrize('user', ['u_plain', 'u_md5', 'u_scram'])
def test_server_login_wrong_secret(weir, scram_pg, user):
    """The client is told at once; the text does not hold the secret."""
    w = weir(ini({'app': db(scram_pg, user=user, password='not-it-12345'), 'ok': db(scram_pg, user='u_trust', dbname='app')},
                 query_wait_timeout=10))
    with pytest.raises(PgError) as e:
        w.one('SELECT 1')
    assert e.value.code in ('28P01', '08006', '08001', '28000'), e.value
    assert 'not-it-12345' not in w.log() and 'not-it' not in str(e.value)
    assert w.one('SELECT 1', database='ok') == '1'


@pytest.mark.weir_only
def test_server_login_scram_server_must_prove_itself(weir):
    """A server that lets us in without knowing the secret (a wrong v=) is
    not one we talk to."""
    def script(c):
        if not c.read_startup():
            return
        c.send(wire.msg('R', struct.pack('!i', 10) + b'SCRAM-SHA-256\0\0'))
        body = c.expect('p')
        first = body[body.index(b'\0') + 5:].decode()
        nonce = first.split('r=')[1]
        c.send(wire.msg('R', struct.pack('!i', 11) + ('r=%sxyz,s=QUFB,i=4096' % nonce).encode()))
        c.expect('p')
        c.send(wire.msg('R', struct.pack('!i', 12) + b'v=' + b'A' * 43 + b'='))
        c.send(wire.auth_ok(), wire.ready())
        c.wait_close()
    with wire.FakeServer(script, login=False) as fake:
        w = weir(ini({'app': db(fake, user='u', password='pw')}, query_wait_timeout=3,
                     health_check_interval=60))
        with pytest.raises((PgError, Closed)):
            w.one('SELECT 1')
        fake.errors.clear()


@pytest.mark.weir_only
@pytest.mark.parametrize('request_code', [2, 6, 7, 8, 9, 13, 99])
def test_server_asks_for_unknown_authentication(weir, request_code):
    def script(c):
        if c.read_startup():
            c.send(wire.msg('R', struct.pack('!i', request_code)))
            c.wait_close()
    with wire.FakeServer(script, login=False) as fake:
        w = weir(ini({'app': db(fake, user='u', password='pw')}, query_wait_timeout=3,
                     health_check_interval=60))
        with pytest.raises((PgError, Closed)):
            w.one('SELECT 1')


# ---- the first packet ------------------------------------------------------------------------

@pytest.mark.weir_only   # a server built with GSSAPI says G
@pytest.mark.parametrize('code', [wire.CODE_SSL, wire.CODE_GSS])
def test_encryption_is_declined(one, code):
    with Conn(one.port, login=False) as c:
        c.send(wire.special(code))
        assert c.take(1) == b'N'
        c.login()
        assert c.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_both_encryption_requests(one):
    with Conn(one.port, login=False) as c:
        for code in (wire.CODE_GSS, wire.CODE_SSL):
            c.send(wire.special(code))
            assert c.take(1) == b'N'
        c.login()


@pytest.mark.weir_only
def test_encryption_asked_again_and_again(one):
    """Twice the same request is no conversation."""
    with Conn(one.port, login=False) as c:
        got = 0
        try:
            for _ in range(50):
                c.send(wire.special(wire.CODE_SSL))
                if c.take(1) != b'N':
                    break
                got += 1
        except (Closed, ConnectionError):
            pass
        assert got <= 10
    assert one.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_plaintext_behind_ssl_request_is_refused_or_used_as_plain(one):
    """No byte may be lost or taken twice: SSLRequest and startup in one segment."""
    with Conn(one.port, login=False) as c:
        c.send(wire.special(wire.CODE_SSL) + wire.startup())
        try:
            assert c.take(1) == b'N'
            m = c.read()
            assert m[0] in 'RE'
        except Closed:
            pass
    assert one.one('SELECT 1') == '1'


@pytest.mark.parametrize('minor', [1, 2, 9999])
def test_newer_minor_is_negotiated(one, minor):
    with Conn(one.port, login=False) as c:
        c.login(proto=wire.PROTO_3_0 + minor)
        v = [m for m in c.login_messages if m[0] == 'v']
        assert v and v[0][1][0] in (0, wire.PROTO_3_0)
        assert c.one('SELECT 1') == '1'


def test_protocol_extension_is_negotiated(one):
    with Conn(one.port, login=False) as c:
        c.login(proto=wire.PROTO_3_0 + 2, **{'_pq_.nosuch': '1', '_pq_.other': '2'})
        v = [m for m in c.login_messages if m[0] == 'v'][0][1]
        assert v[1] == ['_pq_.nosuch', '_pq_.other']
        assert c.one('SELECT 1') == '1'


@pytest.mark.parametrize('proto', [0, 131072, 262144, 0x7fffffff, -1, 80877105])
def test_other_protocols_are_refused(one, proto):
    with Conn(one.port, login=False) as c:
        c.send(wire.startup(proto=proto))
        try:
            m = c.read()
            assert m[0] == 'E' and m[1]['C'] in ('08P01', '0A000')
            assert c.closed()
        except Closed:
            pass
    assert one.one('SELECT 1') == '1'


def test_startup_cut_at_every_byte(one):
    """Half a startup packet and the end: nothing is left of it."""
    full = wire.startup(application_name='cut')
    for n in range(len(full)):
        with Conn(one.port, login=False) as c:
            c.send(full[:n])
            c.sock.shutdown(1)
            assert c.closed()
    assert one.one('SELECT 1') == '1'


def test_startup_one_byte_at_a_time(one):
    with Conn(one.port, login=False) as c:
        c.send_bytewise(wire.special(wire.CODE_SSL))
        assert c.take(1) == b'N'
        c.send_bytewise(wire.startup())
        assert c.read() == ('R', (0, b''))
        c.until('Z')
        c.send_bytewise(wire.query('SELECT 7'))
        assert c.until('Z')[1] == ('D', ['7'])


BAD_STARTUPS = {
    'length 0': struct.pack('!i', 0) + b'\0' * 8,
    'length 4': struct.pack('!i', 4),
    'length 7': struct.pack('!ii', 7, wire.PROTO_3_0),
    'negative': struct.pack('!ii', -1, wire.PROTO_3_0),
    'most negative': struct.pack('!ii', -2**31, wire.PROTO_3_0),
    'huge': struct.pack('!ii', 0x7fffffff, wire.PROTO_3_0),
    'over 10000': struct.pack('!ii', 20008, wire.PROTO_3_0) + b'user\0app\0' + b'a' * 19990 + b'\0',
    'no terminator': struct.pack('!ii', 16, wire.PROTO_3_0) + b'user\0app',
    'no end': struct.pack('!ii', 17, wire.PROTO_3_0) + b'user\0app\0',
    'key without value': struct.pack('!ii', 14, wire.PROTO_3_0) + b'user\0\0',
    'only key': struct.pack('!ii', 13, wire.PROTO_3_0) + b'user\0',
    'no user': wire.startup(user=None),
    'empty user': wire.startup(user=''),
    'behind the end': struct.pack('!ii', 22, wire.PROTO_3_0) + b'user\0app\0\0xyz\0',
    'http': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'zeros': b'\0' * 100,
    'ff': b'\xff' * 100,
    'tls hello': bytes.fromhex('16030100f8010000f40303') + b'x' * 240,
    'cancel short': struct.pack('!iii', 12, wire.CODE_CANCEL, 1),
    'cancel long': struct.pack('!iiiii', 20, wire.CODE_CANCEL, 1, 2, 3),
    'ssl long': struct.pack('!iii', 12, wire.CODE_SSL, 0),
}


@pytest.mark.parametrize('name', list(BAD_STARTUPS))
def test_bad_startup(one, name):
    with Conn(one.port, login=False, timeout=10) as c:
        c.send(BAD_STARTUPS[name])
        try:
            c.sock.shutdown(1)
        except OSError:
            pass
        try:
            while True:
                m = c.read()
                assert m[0] == 'E', m
        except Closed:
            pass
    assert one.one('SELECT 1') == '1'


@pytest.mark.weir_only
def test_memory_before_login_is_bounded(one):
    """Two hundred strangers who promise much and send little."""
    before = int(one.status('VmRSS'))
    cs = []
    for i in range(200):
        c = Conn(one.port, login=False)
        c.send(struct.pack('!ii', 9999, wire.PROTO_3_0) + b'x' * 2000)
        cs.append(c)
    assert one.one('SELECT 1') == '1'
    assert int(one.status('VmRSS')) - before < 30000
    for c in cs:
        c.close()


# ---- parameters ------------------------------------------------------------------------------

def test_parameter_status_reaches_the_client(one, pg):
    with pg.connect('app') as d, one.connect() as c:
        for k, v in d.params.items():
            assert c.params.get(k) == v, k


def test_parameter_status_during_the_session(one):
    with one.connect() as c:
        c.send(wire.query("SET application_name = 'later'"))
        assert ('S', ('application_name', 'later')) in c.until('Z', skip='')


def test_startup_parameters_reach_the_server(one):
    with one.connect(application_name='first', DateStyle='SQL, DMY', TimeZone='Europe/Berlin') as c:
        assert c.params['application_name'] == 'first'
        assert c.params['TimeZone'] == 'Europe/Berlin'
        assert c.one('SHOW application_name') == 'first'
        assert c.one('SHOW DateStyle') == 'SQL, DMY'
        assert c.one('SHOW TimeZone') == 'Europe/Berlin'


@pytest.mark.weir_only
def test_startup_parameters_do_not_leak(weir, pg):
    """One server, two clients with different settings, in turns."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect(application_name='aaa', TimeZone='Europe/Berlin') as a, \
            w.connect(application_name='bbb') as b, w.connect() as n:
        for _ in range(3):
            assert a.sql("SELECT current_setting('application_name'), current_setting('TimeZone')") == \
                [['aaa', 'Europe/Berlin']]
            assert b.sql("SELECT current_setting('application_name'), current_setting('TimeZone')") == \
                [['bbb', 'UTC']]
            assert n.one('SHOW application_name') == ''


@pytest.mark.weir_only
def test_set_is_kept_for_the_client_that_set_it(weir, pg):
    """Tracked settings follow the client, not the server."""
    w = weir(ini({'app': db(pg)}, default_pool_size=1))
    with w.connect() as a, w.connect() as b:
        a.sql("SET TimeZone = 'Asia/Tokyo'")
        assert b.one('SHOW TimeZone') == 'UTC'
        assert a.one('SHOW TimeZone') == 'Asia/Tokyo'


def test_options_parameter(one):
    """libpq's options: -c name=value; for a tracked setting at least."""
    with one.connect(options="-c timezone=Asia/Tokyo") as c:
        assert c.one('SHOW TimeZone') == 'Asia/Tokyo'


def test_replication_is_refused_or_served(one):
    """Never mistaken for an ordinary client."""
    c = Conn(one.port, login=False)
    if one.direct:
        pytest.skip('about the daemon')
    with pytest.raises((PgError, Closed)):
        c.login(replication='database')
