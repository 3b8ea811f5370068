"""Settings: PgBouncer's that mean nothing here, statement pooling.

SPDX-License-Identifier: ISC
"""
import subprocess

import pytest

import wire
from conftest import PGWEIR, db, ini, until


def check(path):
    return subprocess.run([PGWEIR, '--check', path], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=30)


def test_settings_without_effect_are_warned_of(weir, pg):
    """At start, at reload and by --check; once each, and the daemon runs."""
    text = ini({'app': db(pg)}, pkt_buf=4096, syslog=1, stats_period=30)
    w = weir(text)
    lines = w.wait_log('event=configuration', n=2)
    assert len(lines) == 2 and 'pkt_buf has no effect' in lines[0] and 'journal' in lines[1]
    assert 'level=warn' in lines[0]
    w.rewrite(text.replace('syslog = 1', 'track_extra_parameters = x'))
    w.hup()
    w.wait_log('event=reloaded')
    lines = w.log_lines('event=configuration')
    assert len(lines) == 4 and 'track_extra_parameters has no effect' in lines[3]
    r = check(w.path)
    assert r.returncode == 0 and r.stdout == 'pgweir: the configuration is fine\n'
    said = r.stderr.splitlines()
    assert len(said) == 2 and all(x.startswith('pgweir: warning: %s:' % w.path) for x in said)
    assert w.one('SELECT 1') == '1'


@pytest.mark.parametrize('lazy', [0, 1])
def test_statement_pooling(weir, pg, lazy):
    """Each statement has a server; a transaction block ends its client, and is rolled back."""
    pg.sql('DROP TABLE IF EXISTS sp; CREATE TABLE sp (i int); GRANT ALL ON sp TO app')
    w = weir(ini({'app': db(pg)}, pool_mode='statement', default_pool_size=1, lazy_begin=lazy))
    with w.connect() as a, w.connect() as b:
        for _ in range(3):
            assert a.one('SELECT 1') == '1' and b.one('SELECT 2') == '2'
        assert a.sql('INSERT INTO sp VALUES (1); INSERT INTO sp VALUES (2)') == []
        a.ask(wire.query('BEGIN; INSERT INTO sp VALUES (3)'))
        kind, fields = a.read()[:2]
        assert (kind, fields['S'], fields['C']) == ('E', 'FATAL', '0A000')
        assert fields['M'] == 'transaction blocks not allowed in statement pooling mode'
        assert b.one('SELECT count(*) FROM sp') == '2'
        b.ask(wire.query('BEGIN'))
        assert b.read()[0] == 'E'
    assert w.log_lines('event=client_closed', 'sqlstate=0A000', 'why=transaction_in_statement_mode')
    assert w.one('SELECT 1') == '1'
    rows = {r['key']: r['value'] for r in w.console('SHOW CONFIG')}
    assert rows['pool_mode'] == 'statement'


# ---- what PgBouncer's settings do --------------------------------------------------

def test_ignore_startup_parameters(weir, pg):
    w = weir(ini({'app': db(pg)}, ignore_startup_parameters='nosuch, work_mem ,statement_timeout'))
    with w.connect(nosuch='1', work_mem='321kB', options='-c statement_timeout=7s -c lock_timeout=5s') as c:
        assert c.one('SHOW work_mem') == pg.one('SHOW work_mem')
        assert c.one('SHOW statement_timeout') == '0'
        assert c.one('SHOW lock_timeout') == '5s'
    with pytest.raises(wire.PgError) as e:
        w.connect(other_nosuch='1')
    assert e.value.code == '42704'
    w.rewrite(ini({'app': db(pg)}, ignore_startup_parameters='options'))
    w.hup()
    w.wait_log('event=reloaded')
    with w.connect(options='-c nosuch=1 --rubbish') as c:
        assert c.one('SELECT 1') == '1'


def test_connect_query(weir, pg):
    """Sent to each new server before it is used; an error is logged and changes nothing."""
    pg.sql('DROP TABLE IF EXISTS cq; CREATE TABLE cq (pid int, app text); GRANT ALL ON cq TO app')
    q = "INSERT INTO cq VALUES (pg_backend_pid(), ''%s'')" % ('x' * 3000)
    w = weir(ini({'app': db(pg, connect_query="'%s'" % q), 'bad': db(pg, dbname='app', connect_query="'nonsense'")},
                 default_pool_size=2))
    with w.connect() as a, w.connect() as b:
        a.hold()
        b.hold()
        pids = sorted([a.one('SELECT pg_backend_pid()'), b.one('SELECT pg_backend_pid()')])
        assert [r[0] for r in pg.sql('SELECT pid FROM cq ORDER BY pid::text')] == pids
        a.sql('COMMIT')
        b.sql('COMMIT')
        a.sql('SELECT 1')
    assert pg.one('SELECT count(*) FROM cq') == '2'
    assert w.one('SELECT 1', database='bad') == '1'
    w.wait_log('event=connect_query_failed', 'sqlstate=42601')


def test_settings_of_a_database(weir, pg):
    """client_encoding, datestyle and timezone of who asks for none."""
    w = weir(ini({'app': db(pg, client_encoding='latin1', datestyle="'german, dmy'", timezone='Asia/Tokyo')}))
    with w.connect() as c:
        assert c.one('SHOW client_encoding') == 'LATIN1'
        assert c.one('SHOW datestyle') == 'German, DMY'
        assert c.one('SHOW timezone') == 'Asia/Tokyo'
        c.sql("SET timezone = 'UTC'")
        c.sql('RESET timezone')
        assert c.one('SHOW timezone') == 'Asia/Tokyo'
    with w.connect(client_encoding='UTF8', TimeZone='UTC') as c:
        assert c.one('SHOW client_encoding') == 'UTF8' and c.one('SHOW timezone') == 'UTC'
        assert c.one('SHOW datestyle') == 'German, DMY'


def test_disable_pqexec(weir, pg):
    w = weir(ini({'app': db(pg)}, disable_pqexec=1))
    with w.connect() as c:
        assert 'D' in [m[0] for m in c.ask(wire.extended('SELECT 1') + wire.sync())]
        c.send(wire.query('SELECT 1'))
        kind, fields = c.read()[:2]
        assert (kind, fields['S'], fields['C'], fields['M']) == ('E', 'FATAL', '08P01', 'PQexec disallowed')
    assert w.console('SHOW VERSION')


def test_login_notify_message(weir, pg):
    text = 'Maintenance at noon; see https://example.org/' + 'x' * 900
    w = weir(ini({'app': db(pg)}, login_notify_message=text))
    for name in ('app', 'pgweir'):
        with w.connect('admin' if name == 'pgweir' else 'app', name, login=False) as c:
            c.send(wire.startup('admin' if name == 'pgweir' else 'app', name))
            got = c.until('Z', skip='')
            notes = [m[1] for m in got if m[0] == 'N']
            assert [(n['S'], n['C'], n['M']) for n in notes] == [('NOTICE', '00000', text)]


def test_scram_iterations(weir, pg, tmp_path):
    """Of secrets that are made from passwords; those of nobody look the same."""
    users = tmp_path / 'users'
    users.write_text('"app" "app-password"\n')
    w = weir(ini({'app': db(pg)}, auth_type='scram-sha-256', auth_file=users, scram_iterations=10000))
    for user in ('app', 'nobody'):
        with w.connect(login=False) as c:
            c.send(wire.startup(user, 'app'))
            assert c.read()[0] == 'R'
            first = wire.Scram('app-password').first()
            c.send(wire.msg('p', wire.cstr('SCRAM-SHA-256') + len(first).to_bytes(4, 'big') + first))
            assert b',i=10000' in c.read_raw()[1]
    assert w.one('SELECT 1', secret='app-password') == '1'


# ---- the log's file ------------------------------------------------------------------

def test_logfile_is_opened_again(weir, pg, tmp_path):
    """By SIGHUP: renamed, another one, none, and one that cannot be."""
    one, two = tmp_path / 'one', tmp_path / 'two'

    def says(path, what, n=1):
        until(lambda: path.exists() and path.read_text().count(what) == n, why='%s in %s' % (what, path))

    w = weir(ini({'app': db(pg)}, logfile=one))
    says(one, 'event=started')
    one.rename(tmp_path / 'old')
    w.hup()
    says(one, 'event=reloaded')
    assert 'event=reloaded' not in (tmp_path / 'old').read_text()
    w.rewrite(ini({'app': db(pg)}, logfile=tmp_path / 'nosuch' / 'file', default_pool_size=7))
    w.hup()
    says(one, 'event=reload_failed')
    assert 'No such file' in one.read_text()
    w.rewrite(ini({'app': db(pg)}, logfile=two))
    w.hup()
    says(two, 'event=reloaded')
    w.rewrite(ini({'app': db(pg)}))
    w.hup()
    w.wait_log('event=reloaded')
    assert w.one('SELECT 1') == '1'
    w.wait_log('event=client_login')
    assert 'client_login' not in two.read_text()


def test_advice_is_for_check(weir, pg, tmp_path):
    """What is allowed and probably wrong is said by --check, and not in the log."""
    users = tmp_path / 'users'
    users.write_text('"app" "x"\n')
    users.chmod(0o644)
    w = weir(ini({'app': db(pg)}, auth_file=users))
    assert not w.log_lines('event=configuration')
    r = check(w.path)
    assert r.returncode == 0 and 'everybody on this machine may read %s' % users in r.stderr
    users.chmod(0o600)
    assert not check(w.path).stderr
