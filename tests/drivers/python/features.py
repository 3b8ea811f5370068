"""What every program of the matrix does: a feature at a time, each with fresh
connections, and one line `feature<TAB>what was seen` for each.

SPDX-License-Identifier: ISC
"""
import asyncio
import datetime
import decimal
import inspect
import json
import os
import signal
import time

RUN = os.environ['RUN_ID']
DEADLINE = 20

VALUES = (42, 2 ** 53 + 1, decimal.Decimal('12345678901234567890.123456789'), 'Grüße 🐘 日本',
          b'\x00\xff\x10\\\'', datetime.datetime(2024, 2, 29, 12, 34, 56, 789000, datetime.timezone.utc),
          {'a': [1, None]}, [1, None, 3], None, True)
CASTS = ('int', 'int8', 'numeric', 'text', 'bytea', 'timestamptz', 'jsonb', 'int[]', 'text', 'bool')


def canon(v):
    """A value as text, the same for every driver."""
    if v is None:
        return 'NULL'
    if isinstance(v, bool):
        return str(v).lower()
    if isinstance(v, (bytes, bytearray, memoryview)):
        return bytes(v).hex()
    if isinstance(v, datetime.datetime):
        return v.astimezone(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
    if isinstance(v, dict):
        return json.dumps(v)
    if isinstance(v, (list, tuple)):
        return '{' + ','.join(canon(x) for x in v) + '}'
    return str(v)


def row(r):
    return '|'.join(canon(v) for v in r)


def rows(rs):
    return ' '.join(row(r) for r in rs)


def distinct(seen):
    return ' / '.join(sorted(set(seen)))


def wait_for(what):
    end = time.monotonic() + DEADLINE
    while not what():
        if time.monotonic() > end:
            raise TimeoutError('what was waited for did not come')
        time.sleep(0.01)


# A statement that is to be cancelled, and how many of it run at this moment
SLEEP = "SELECT pg_sleep(20), '%s'" % RUN
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '%s'" % SLEEP.replace("'", "''")


def late(*_):
    raise TimeoutError('nothing for %d s' % DEADLINE)


def main(driver, names):
    """Runs every function called f_..., in the order of the names."""
    print('driver\t' + driver)
    signal.signal(signal.SIGALRM, late)
    only = os.environ.get('FEATURES', '').split()
    for name, f in list(names.items()):
        if not name.startswith('f_') or only and name[2:] not in only:
            continue
        signal.alarm(DEADLINE)
        try:
            got = asyncio.run(f()) if inspect.iscoroutinefunction(f) else f()
        except Exception as e:  # pylint: disable=broad-except
            got = 'raised %s: %s' % (type(e).__name__, e)
        print('%s\t%s' % (name[2:], ' '.join(str(got).replace(RUN, 'RUN').split())), flush=True)
    signal.alarm(0)
