"""What `make history` found, made to happen.

SPDX-License-Identifier: ISC
"""
import pytest

import wire
from conftest import db, ini
from wire import bind, complete, data_row, describe, error, execute, parse, query, ready, row_description, sync

pytestmark = pytest.mark.weir_only
READ = data_row('1') + complete('SELECT 1')


def test_a_name_stays_when_an_attempt_fails_before_its_parse(weir):
    """A replay sends all units of its log; one that fails takes those behind it along,
    and a Parse that is answered with 25P02 there has nothing to do with the name."""
    seen = []

    def script(c):
        """The first UPDATE y and the second UPDATE x fail."""
        failed, names = False, set()
        while True:
            kind, body = c.read_raw()
            if kind == 'Q':
                text = body[:-1].decode()
                seen.append(text)
                failed = failed and text != 'ROLLBACK'
                if failed:
                    c.send(error('25P02'))
                elif (text, seen.count(text)) in (('UPDATE y', 1), ('UPDATE x', 2)):
                    failed = True
                    c.send(error('40001'))
                else:
                    c.send(complete('UPDATE 1' if text.startswith('UPDATE') else text))
                c.send(ready('E' if failed else 'I' if text == 'ROLLBACK' else 'T'))
            elif kind == 'C':
                names.discard(body[1:-1])
                c.send(wire.msg('3'))
            elif kind == 'P':
                if not failed:
                    names.add(body.split(b'\0')[0])
                c.send(error('25P02') if failed else wire.msg('1'))
            elif kind == 'B' and not failed:
                failed = body.split(b'\0')[1] not in names
                c.send(error('26000') if failed else wire.msg('2'))
            elif kind == 'D' and not failed:
                c.send(row_description('v'))
            elif kind == 'E' and not failed:
                c.send(READ)
            elif kind == 'S':
                c.send(ready('E' if failed else 'T'))
    f = wire.FakeServer(script)
    w = weir(ini({'app': db(f)}, health_check_interval=3600, default_pool_size=1, retry='replay'))
    try:
        with w.connect() as c:
            c.ask(query('BEGIN'))
            c.ask(query('UPDATE x'))
            c.ask(parse('SELECT v', 's'), bind((), 's'), describe(), execute(), sync())
            assert wire.shape(c.ask(query('UPDATE y'))) == 'C:UPDATE 1 Z:T', seen
            assert seen.count('UPDATE x') == 3, seen      # the second attempt came through
            assert wire.shape(c.ask(bind((), 's'), execute(), sync())) == '2 D C:SELECT 1 Z:T'
    finally:
        f.close()
