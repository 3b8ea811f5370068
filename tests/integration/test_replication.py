"""Replication connections pass through, one server to one client.

SPDX-License-Identifier: ISC
"""
import os
import signal
import subprocess

import pytest

import wire
from conftest import SLOW, db, ini, until
from wire import Conn, PgError, query, shape

pytestmark = pytest.mark.weir_only


@pytest.fixture
def w(weir, pg):
    return weir(ini({'app': db(pg), 'postgres': db(pg), 'replication': db(pg)}, default_pool_size=1, client_idle_timeout='30s'))


@pytest.mark.parametrize('kind', ['database', 'true', 'on', '1'])
def test_identify_system(w, pg, kind):
    """The same answers as PostgreSQL's, but for the position."""
    def ask(port):
        with Conn(port, user='postgres', replication=kind, application_name='wal') as c:
            m = c.ask(query('IDENTIFY_SYSTEM'))
            e = c.ask(query('NOSUCH_COMMAND'))
            n = c.ask(query('SHOW application_name'))
        return shape(m), m[1][1][:2], shape(e), n[1]
    assert ask(w.port) == ask(pg.port)


def test_wrong_value(w):
    with pytest.raises(PgError) as e:
        w.connect(user='postgres', replication='perhaps')
    assert e.value.fields['C'] == '22023'
    with w.connect(replication='off') as c:
        assert c.one('SELECT 1') == '1'


@pytest.mark.parametrize('option', ['user=postgres', 'database=postgres', 'replication=true', 'options=-crole=postgres',
                                    'User=postgres'])
def test_options_are_settings_only(w, pg, option):
    """Its settings go into the packet that its server gets: nobody becomes somebody else by one, or
    comes to another database. PostgreSQL's words."""
    def ask(port):
        with pytest.raises(PgError) as e:
            Conn(port, user='app', database='app', replication='database', options='-c ' + option)
        return e.value.fields['C'], e.value.fields['M']
    pg.sql('ALTER ROLE app REPLICATION')
    try:
        assert ask(w.port) == ask(pg.port)
    finally:
        pg.sql('ALTER ROLE app NOREPLICATION')


@pytest.mark.parametrize('name', ['USER', 'Database', 'Replication', 'Options', '_PQ_.x'])
def test_words_of_the_packet_in_other_letters(w, name):
    """CockroachDB does not tell them apart."""
    with pytest.raises(PgError) as e:
        w.connect(user='postgres', replication='database', **{name: 'app'})
    assert e.value.fields['C'] == '42704' and name in e.value.fields['M']


def test_nobody_says_where_a_client_comes_from(weir, fake):
    """crdb: parameters are stripped from options too."""
    seen = []

    def script(c):
        seen.append(c.startup)
        c.read_raw()
        c.send(wire.result(), wire.ready())
        c.wait_close()
    w, _ = fake(script)
    for how in ({'crdb:remote_addr': '192.0.2.1:1'}, {'options': '-c crdb:remote_addr=192.0.2.1:1 -c CRDB:x=1'}):
        with w.connect(user='postgres', replication='database', application_name='wal', **how) as c:
            assert c.one('SELECT 1') == '1'
    assert len(seen) == 2 and all('wal' in str(s) and 'crdb' not in str(s).lower() for s in seen), seen


def test_rules_for_replication_are_not_for_the_console(weir, pg, tmp_path):
    """A physical replication connection has no database to the rules: whom they let in for
    that would have had the console."""
    os.chmod(tmp_path, 0o755)
    (tmp_path / 'hba').write_text('host pgweir,pgbouncer all all reject\nhost replication all 127.0.0.1/32 trust\n')
    w = weir(ini({'app': db(pg), 'pgadmin': db(pg)}, auth_type='hba', auth_hba_file=tmp_path / 'hba',
                 admin_users='admin,pgweir,pgbouncer'))
    for kind in ('true', 'database', '1'):
        for user, name in (('admin', 'pgweir'), ('admin', 'pgbouncer'), ('pgweir', None), ('pgbouncer', None), ('pgweir', '')):
            with pytest.raises(PgError) as e:
                w.connect(user, name, replication=kind)
            assert e.value.code == '0A000', (kind, user, name)
    with w.connect('postgres', 'app', replication='true') as c:
        assert c.sql('IDENTIFY_SYSTEM')


def test_it_does_not_take_the_pool(w):
    """Several of them beside a pool of one; each has its own server, which goes
    with it."""
    with w.connect() as a:
        a.hold()
        cs = [Conn(w.port, user='postgres', database='app', replication='database') for _ in range(3)]
        pids = {c.one('SELECT pg_backend_pid()') for c in cs}
        assert len(pids) == 3
        for c in cs:
            c.close()
        with w.connect(user='postgres') as b:
            until(lambda: b.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'") == '0',
                  why='the servers to go')


def tool(name, *args):
    return subprocess.run([name, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * SLOW,
                          text=True, check=False)


def test_base_backup_and_wal(w, pg, tmp_path):
    """pg_basebackup streams a whole cluster and its WAL at the same time. It names
    the database "replication"."""
    r = tool('pg_basebackup', '-h', '127.0.0.1', '-p', str(w.port), '-U', 'postgres', '-D', str(tmp_path / 'b'),
             '-X', 'stream', '-c', 'fast', '--no-sync')
    assert r.returncode == 0, r.stdout
    assert (tmp_path / 'b' / 'PG_VERSION').exists() and os.listdir(tmp_path / 'b' / 'pg_wal')


@pytest.mark.parametrize('how', ['SIGINT', 'SIGTERM'])
def test_shutdown_ends_it(weir, pg, how):
    """At once when transactions are to end, which after SIGTERM is behind most of the time."""
    w = weir(ini({'app': db(pg)}, shutdown_timeout=60 if how == 'SIGINT' else 2))
    c = Conn(w.port, user='postgres', database='app', replication='database')
    w.proc.send_signal(getattr(signal, how))
    assert c.closed()
    assert w.wait() == 0
    assert not w.log_lines('event=shutdown_timeout')
