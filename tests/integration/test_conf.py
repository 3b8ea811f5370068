"""Settings: PgBouncer's that mean nothing here, statement pooling.

SPDX-License-Identifier: ISC
"""
import subprocess

import pytest

import wire
from conftest import PGWEIR, db, ini


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
