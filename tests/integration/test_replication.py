"""Replication connections pass through, one server to one client.

SPDX-License-Identifier: ISC
"""
import os
import subprocess

import pytest

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


def test_shutdown_ends_it(w, pg):
    c = Conn(w.port, user='postgres', database='app', replication='database')
    w.term()
    assert c.closed()
    assert w.wait() == 0
