"""Upgrades under load: every kind of client goes on while one process after another takes
over, and not one sees an error.

SPDX-License-Identifier: ISC
"""
import asyncio
import os
import tempfile
import threading
import time

import asyncpg
import psycopg2
import pytest

import certs
import wire
from conftest import Spawned, alive, db, free_port, ini, until
from wire import cancel, query

pytestmark = pytest.mark.weir_only


class Load:
    """Clients of all kinds, until stop(). Each counts what it has done; the first error of
    any is the test's."""

    def __init__(self, port, sockets, ca):
        self.port, self.sockets, self.ca = port, sockets, ca
        self.stopping = threading.Event()
        self.done = {}
        self.errors = []
        self.threads = []
        for kind in (self.newcomers, self.by_unix, self.transactions, self.pipelines, self.copies,
                     self.cancels, self.tls, self.asyncpg, self.prepared, self.slow_to_speak):
            self.done[kind.__name__] = 0
            self.threads.append(Spawned(self.run, kind))

    def run(self, kind):
        while not self.stopping.is_set() and not self.errors:
            try:
                kind()
            except BaseException as e:  # pylint: disable=broad-except
                self.errors.append((kind.__name__, repr(e), time.strftime('%H:%M:%S')))
                raise
            self.done[kind.__name__] += 1

    def more(self, n=2):
        """Each kind has done this many more, from the beginning to the end."""
        was = dict(self.done)
        until(lambda: self.errors or all(self.done[k] >= was[k] + n + 1 for k in was), timeout=60,
              why='every kind of client to go on: %r' % self.done)
        assert not self.errors, self.errors

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.result(60)

    def psycopg2(self, **kw):
        return psycopg2.connect(host='localhost', port=self.port, user='app', dbname='app',
                                **{'sslmode': 'disable', **kw})

    def newcomers(self):
        for i in range(20):
            with wire.Conn(self.port) as c:
                assert c.one('SELECT %d' % i) == str(i)

    def by_unix(self):
        with wire.Conn(self.port, host=self.sockets) as c:
            assert c.one('SELECT 1') == '1'

    def transactions(self):
        c = self.psycopg2()
        for _ in range(10):
            with c, c.cursor() as cur:
                cur.execute('INSERT INTO takeover VALUES (%s)', (os.getpid(),))
                time.sleep(0.01)
                cur.execute('SELECT count(*) > 0 FROM takeover')
                assert cur.fetchone() == (True,)
        c.close()

    def pipelines(self):
        with wire.Conn(self.port) as c:
            for _ in range(10):
                n = 12
                c.send(*[wire.extended('SELECT %d' % i) + wire.sync() for i in range(n)])
                got = [wire.shape(c.until()) for i in range(n)]
                assert got == ['1 2 T D C:SELECT 1 Z:I'] * n or all('C:SELECT 1 Z:I' in g for g in got), got

    def copies(self):
        with wire.Conn(self.port) as c:
            c.send(query('COPY takeover FROM STDIN'))
            assert c.until('G')[-1][0] == 'G'
            for i in range(20):
                c.send(wire.copy_data(b'%d\n' % i))
                time.sleep(0.005)
            c.send(wire.copy_done())
            assert 'C:COPY 20' in wire.shape(c.until())
            assert 'C:COPY 3000' in wire.shape(c.ask(query(
                'COPY (SELECT repeat(chr(97), 500) FROM generate_series(1, 3000)) TO STDOUT')))

    def cancels(self):
        with wire.Conn(self.port) as c:
            c.send(query('SELECT pg_sleep(60)'))
            time.sleep(0.15)
            assert cancel(self.port, c.key)
            assert [m[1]['C'] for m in c.until() if m[0] == 'E'] == ['57014']
            assert c.one('SELECT 1') == '1'

    def tls(self):
        c = self.psycopg2(sslmode='verify-full', sslrootcert=self.ca)
        assert c.info.ssl_in_use
        with c, c.cursor() as cur:
            cur.execute('SELECT 7')
            assert cur.fetchone() == (7,)
        c.close()

    def asyncpg(self):
        async def body():
            c = await asyncpg.connect(host='127.0.0.1', port=self.port, user='app', database='app')
            for i in range(5):
                async with c.transaction():
                    assert await c.fetchval('SELECT $1::int', i) == i
            await c.close()
        asyncio.run(body())

    def prepared(self):
        with wire.Conn(self.port) as c:
            c.ask(wire.parse('SELECT $1::int + 1', 's'), wire.sync())
            for i in range(20):
                m = c.ask(wire.bind([str(i).encode()], 's'), wire.execute(), wire.sync())
                assert [x[1][0] for x in m if x[0] == 'D'] == [str(i + 1)]

    def slow_to_speak(self):
        """Connected to one process, and logging in while another takes over."""
        with wire.Conn(self.port, login=False) as c:
            time.sleep(0.3)
            c.login()
            time.sleep(0.3)
            assert c.one('SELECT 1') == '1'


@pytest.fixture
def pki(tmp_path):
    os.chmod(tmp_path, 0o755)
    return certs.Authority(str(tmp_path), 'ca')


@pytest.mark.parametrize('workers', [2])
def test_upgrades_under_load(weir, pg, base, pki, workers):
    pg.sql('DROP TABLE IF EXISTS takeover; CREATE TABLE takeover (n int); GRANT ALL ON takeover TO app')
    home = tempfile.mkdtemp(prefix='load-', dir=base)
    server = pki.server()
    text = ini({'app': db(pg)}, takeover_dir=home, unix_socket_dir=home, workers=workers, default_pool_size=8,
               client_tls_sslmode='allow', client_tls_cert_file=server.cert, client_tls_key_file=server.key,
               shutdown_timeout=60)
    port = free_port()
    now = weir(text, args=('-p', str(port)))
    load = Load(port, home, pki.ca)
    ended = []
    try:
        load.more()
        for _ in range(4):
            before, now = now, weir(text, args=('-p', str(port), '-R'))
            now.wait_log('event=took_over')
            load.more()
            assert before.wait() == 0
            ended.append(before)
    finally:
        load.stop()
    assert not load.errors, load.errors
    assert alive(now.pid)
    # nobody was told to go, anywhere
    for w in [*ended, now]:
        assert not w.log_lines('sqlstate=57P01') and not w.log_lines('level=error')
    print(load.done)
