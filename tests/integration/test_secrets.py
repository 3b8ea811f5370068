"""Where secrets are not: logs, the console, error texts, the command line, what --check says,
core dumps; and what is left of a client's password in memory when its login is over.

SPDX-License-Identifier: ISC
"""
import hashlib
import os
import re
import resource
import ssl
import subprocess

import pytest

import certs
import wire
from conftest import PGWEIR, SLOW, db, ini, until
from test_auth import talk
from wire import Closed, Conn, PgError, startup

pytestmark = pytest.mark.weir_only

ROOT = os.geteuid() == 0


def memory(pid):
    """All that the process could write to, as (address, bytes)."""
    with open('/proc/%d/maps' % pid) as maps, open('/proc/%d/mem' % pid, 'rb', 0) as mem:
        for line in maps:
            where, mode = line.split()[:2]
            if 'w' not in mode or '[vvar]' in line:
                continue
            a, b = (int(x, 16) for x in where.split('-'))
            mem.seek(a)
            try:
                yield a, mem.read(b - a), line.split()[-1]
            except OSError:
                continue


def found(pid, needle):
    """Where the bytes are: [(address, mapping, what stands around)]."""
    out = []
    for a, data, name in memory(pid):
        at = data.find(needle)
        while at >= 0:
            out.append((hex(a + at), name, data[max(0, at - 16):at + len(needle) + 8]))
            at = data.find(needle, at + 1)
    return out


@pytest.fixture
def tls(tmp_path):
    ca = certs.Authority(str(tmp_path), 'ca')
    os.chmod(tmp_path, 0o755)
    server = ca.server()
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.load_verify_locations(ca.ca)
    return c, {'client_tls_sslmode': 'prefer', 'client_tls_cert_file': server.cert,
               'client_tls_key_file': server.key}


def users_file(tmp_path, users, name='users.txt'):
    f = tmp_path / name
    f.write_text(''.join('"%s" "%s"\n' % u for u in users))
    f.chmod(0o600)
    return f


def log_in(w, user, secret, context=None, cut=0):
    """Like talk(), with the password message in pieces when cut is given."""
    c = Conn(w.port, login=False, tls=context)
    c.asked = []
    if not cut:
        return c, talk(c, user, 'app', secret, {})
    c.send(startup(user, 'app'))
    assert c.read()[1][0] == 3
    whole = wire.password(secret)
    c.send(whole[:cut])
    return c, None


CLEAR = b'Correct-Horse-7431-Battery'


@pytest.mark.skipif(not ROOT, reason='reads the memory of another process')
@pytest.mark.no_san
@pytest.mark.parametrize('kind', ['md5', 'scram'])
@pytest.mark.parametrize('secure', [False, True], ids=['clear', 'tls'])
def test_password_in_memory(weir, pg, tmp_path, tls, kind, secure):
    """With auth_type = plain, and no password in auth_file, nothing is left of what the client
    sent: not of right ones, wrong ones, half ones, long ones, nor in connections that stay."""
    context, settings = tls
    stored = (wire.scram_secret(CLEAR.decode()) if kind == 'scram' else
              'md5' + hashlib.md5(CLEAR + b'app').hexdigest())
    w = weir(ini({'app': db(pg, user='app')}, auth_type='plain', auth_file=users_file(tmp_path, [('app', stored)]),
                 **settings))
    how = context if secure else None
    # the reader finds what is there: the server's name for the database, at least
    assert found(w.pid, b'dbname=') or found(w.pid, b'client_login')
    look = lambda what: left.extend((what, *x) for x in found(w.pid, CLEAR[:19]))
    left = []
    stay = [log_in(w, 'app', CLEAR, how) for _ in range(5)]
    assert [r for _, r in stay] == ['in'] * 5
    look('logged in')
    # a message that is cut and goes on; some that are left in the middle, all at once
    c, _ = log_in(w, 'app', CLEAR, how, cut=26)
    c.send(wire.password(CLEAR)[26:])
    assert c.read() == ('R', (0, b''))
    look('in two pieces')
    half = [log_in(w, 'app', CLEAR, how, cut=len(CLEAR) + 5)[0] for _ in range(5)]
    until(lambda: any(True for _ in found(w.pid, CLEAR[:19])), why='the half messages to arrive')
    for h in half:
        h.close()
    until(lambda: len(w.log_lines('event=client_closed')) >= 5, why='the half clients to be gone')
    look('left in the middle')
    # wrong ones, and such as are no password at all
    for n, (secret, want) in enumerate(((b'wrong' + CLEAR, '28P01'), (CLEAR + b'x' * 7000, '28P01'),
                                        (CLEAR + b'y' * 9000, '28P01'), (CLEAR + b'\0\0', '28P01'))):
        bad, got = log_in(w, 'app', secret, how)
        assert got[:2] in ('28', '08')
        bad.close()
        until(lambda n=n: len(w.log_lines('event=client_closed')) >= 6 + n, why='the refused client to be gone')
        look('refused %d' % n)
    # in front of the question, with more behind it than one buffer holds
    eager = Conn(w.port, login=False, tls=how)
    eager.send(startup('app', 'app', application_name='x' * 9000), wire.password(CLEAR), wire.query('SELECT 7'))
    assert eager.until('Z') and ('D', ['7']) in eager.until('Z')
    look('in front of the question')
    assert not left, left
    assert stay[0][0].one('SELECT 1') == '1'


# ---- what is told --------------------------------------------------------------------------------

WORDS = {'file': 'In-The-Auth-File-1', 'server': 'For-The-Server-2', 'check': 'For-Checks-3', 'env': 'In-The-Environment-4',
         'path': 'In-A-File-5', 'pass': 'In-A-Passfile-6', 'typed': 'Typed-By-A-Client-7'}
SHOWS = ('CONFIG', 'POOLS', 'NODES', 'STATS', 'RETRIES', 'MISMATCHES', 'LISTS', 'VERSION', 'CLIENTS', 'SERVERS',
         'DATABASES', 'USERS', 'HELP', 'MEM', 'STATE', 'FDS')


def test_secrets_are_told_nowhere(weir, scram_pg, tmp_path):
    """Neither those of the configuration nor what clients type, right or wrong, in a log at its
    most talkative, on the console, in an error, or on the command line."""
    os.chmod(tmp_path, 0o755)
    (tmp_path / 'pw').write_text(WORDS['path'] + '\n')
    (tmp_path / 'passfile').write_text('*:*:*:*:%s\n' % WORDS['pass'])
    (tmp_path / 'passfile').chmod(0o600)
    scram, md5 = wire.scram_secret(WORDS['file']), 'md5' + 32 * 'b'
    users = users_file(tmp_path, [('u_plain', WORDS['file']), ('u_md5', md5), ('u_scram', scram), ('admin', 'adm-8')])
    wrong = {'user': 'u_scram', 'connect_timeout': 2}
    dbs = {'app': db(scram_pg, user='u_trust', password=WORDS['server'], dbname='app'),
           'wrong': db(scram_pg, password="'%s'" % WORDS['server'], **wrong),
           'env': db(scram_pg, password_env='PW_OF_TEST', **wrong),
           'path': db(scram_pg, password_file=tmp_path / 'pw', **wrong),
           'pass': db(scram_pg, passfile=tmp_path / 'passfile', **wrong)}
    text = ini(dbs, auth_type='plain', auth_file=users, health_check_user='u_scram', health_check_password=WORDS['check'],
               log_connections=1, log_disconnections=1, verbose=3, query_wait_timeout=5)
    w = weir(text, env={'PW_OF_TEST': WORDS['env']}, args=('-vvv',))
    told = []
    assert w.one('SELECT 1', user='u_plain', secret=WORDS['file']) == '1'
    for name in ('wrong', 'env', 'path', 'pass'):
        with pytest.raises((PgError, Closed)) as e:
            w.one('SELECT 1', user='u_plain', secret=WORDS['file'], database=name)
        told.append(repr(getattr(e.value, 'fields', e.value)))
    for user in ('u_plain', 'u_md5', 'u_scram', 'stranger', WORDS['typed'][:5]):
        with pytest.raises((PgError, Closed)) as e:
            w.one('SELECT 1', user=user, secret=WORDS['typed'])
        told.append(repr(getattr(e.value, 'fields', e.value)))
    with w.connect('admin', 'pgweir', secret='adm-8') as c:
        for what in SHOWS:
            told.append(repr(c.ask(wire.query('SHOW ' + what))))
    w.rewrite(text.replace('query_wait_timeout = 5', 'query_wait_timeout = 6'))
    w.hup()
    w.wait_log('event=reloaded')
    with open('/proc/%d/cmdline' % w.pid) as f:
        told.append(f.read())
    whole = w.log() + w.banner + ''.join(told)
    assert len(w.log()) > 3000 and 'auth_file' in whole and 'u_plain' in whole
    parts = [*WORDS.values(), scram, md5, 'adm-8', *re.findall(r'[A-Za-z0-9+/=]{24,}', scram)]
    assert [p for p in parts if p in whole] == []


@pytest.mark.parametrize('line', ['"u" "%s', '"u" %s', 'u "%s"', '"u" "%s" x', '"u" "SCRAM-SHA-256$%s"', '"" "%s"'])
def test_check_does_not_tell_secrets(tmp_path, line):
    users = tmp_path / 'users'
    users.write_text('"a" "b"\n' + line % WORDS['file'] + '\n')
    f = tmp_path / 'x.ini'
    f.write_text("[databases]\napp = host=127.0.0.1 user=u password='%s'\n[pgweir]\nauth_file = %s\n" % (
        WORDS['server'], users))
    r = subprocess.run([PGWEIR, '--check', str(f)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=30 * SLOW, check=False)
    assert r.returncode == 1 and 'users:2: ' in r.stdout, r.stdout
    assert not any(p in r.stdout for p in WORDS.values())


@pytest.mark.parametrize('form', ['postgresql://u_trust:%s@127.0.0.1:%d/app',
                                  'host=127.0.0.1 password=%s port=%d user=u_trust dbname=app'])
def test_command_line(weir, scram_pg, form):
    """A password that was given there is not to be seen by who lists processes; and is still
    known when the configuration is read again."""
    w = weir(form % (WORDS['server'], scram_pg.port))
    with open('/proc/%d/cmdline' % w.pid, 'rb') as f:
        shown = f.read()
    assert WORDS['server'].encode() not in shown and b'*****' in shown
    assert w.one('SELECT 1', user='u_trust') == '1'
    w.hup()
    w.wait_log('event=reloaded')
    assert not w.log_lines('event=reload_failed') and w.one('SELECT 1', user='u_trust') == '1'


@pytest.mark.no_san
def test_no_core(weir, pg, tmp_path):
    """Nobody but root may take a core of it, unless the limit was raised on purpose."""
    conf = ini({'app': db(pg)})
    dumpable = lambda w: os.stat('/proc/%d/mem' % w.pid).st_uid
    none = {'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))}
    some = {'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, resource.RLIM_INFINITY))}
    if not ROOT:
        assert dumpable(weir(conf, popen=none)) == 0 and dumpable(weir(conf, popen=some)) == os.geteuid()
        return
    # as root the owner tells nothing: become somebody else
    wrap = ('setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--')
    a, b = weir(conf, popen=none, wrap=wrap), weir(conf, popen=some, wrap=wrap)
    assert dumpable(a) == 0 and dumpable(b) != 0
    assert a.one('SELECT 1') == b.one('SELECT 1') == '1'
