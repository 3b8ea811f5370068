"""Passwords that are not ASCII: a real server makes secrets of them, and
wire/saslprep makes the same; pgweir logs in there, and libpq logs in to pgweir.

    SASLPREP_SEED, SASLPREP_TEXTS   which random passwords, and how many
"""
import os
import random
import signal
import subprocess
import unicodedata

import pytest

import wire
from cluster import BIN, Postgres
from conftest import db, ini
from scramtool import Tool

pytestmark = pytest.mark.weir_only


def u8(text):
    return text.encode()


# What is in them; the forms of one character stand side by side.
PASSWORDS = {
    'ascii': b'pencil', 'ascii long': b'x' * 3000, 'ascii control': b'a\x01b\x1f\x7fc',
    'composed': u8('caf\u00e9'), 'decomposed': u8('cafe\u0301'),
    'marks in order': u8('a\u0323\u0307'), 'marks out of order': u8('a\u0307\u0323'),
    'soft hyphen': u8('pen\u00adcil'), 'soft hyphen alone': u8('\u00ad'),
    'no-break space': u8('pen\u00a0cil'), 'ideographic space': u8('pen\u3000cil'),
    'zero width space': u8('pen\u200bcil'), 'joiners': u8('p\u200de\u2060n\ufeff'),
    'ligature': u8('\ufb01n'), 'full width': u8('\uff30\uff57\uff44'), 'roman': u8('\u2168'),
    'feminine': u8('\u00aa'), 'angstrom': u8('\u212b'), 'hangul': u8('\u1112\u1161\u11ab'),
    'eighteen of one': u8('\ufdfa'), 'cyrillic': u8('\u043f\u0430\u0440\u043e\u043b\u044c'),
    'control in text': u8('\u00e9\x01'), 'C1 control': u8('x\u0085'), 'direction mark': u8('x\u200e'),
    'tone mark': u8('x\u0340'), 'private': u8('\ue000'), 'replacement': u8('\ufffd'),
    'tag': u8('\U000e0041'), 'not in 3.2': u8('\u20b9'), 'emoji': u8('\U0001f600'),
    'hebrew': u8('\u05e9\u05dc\u05d5\u05dd'), 'hebrew and latin': u8('\u05d0a'),
    'hebrew, digit last': u8('\u05d01'), 'digit between': u8('\u05d01\u05d0'),
    'yod hiriq': u8('\ufb1d'), 'yod hiriq, two': u8('\u05d9\u05b4'),
    'arabic': u8('\u0633\u0644\u0627\u0645'), 'trade mark between': u8('\u05d0\u2122\u05d0'),
    'latin-1': b'caf\xe9', 'cut': b'caf\xc3', 'overlong': b'\xc0\xafx', 'surrogate': b'\xed\xa0\x80',
    'too far': b'\xf4\x90\x80\x80', 'utf-8 and not': u8('\u00e9\u00ad') + b'\xff',
    'corrected 1': u8('\U0002f868'), 'corrected 2': u8('\U0002f874'), 'corrected 3': u8('\U0002f91f'),
    'corrected 4': u8('\U0002f95f'), 'corrected 5': u8('\U0002f9bf'),
    'long': u8('\u00e9' * 1000), 'long decomposed': u8('e\u0301' * 1500),
    'long, nothing': u8('\u00ad' * 1200), 'long, raw': u8('\u00e9' * 1000) + b'\xff',
    'longest': u8('\u00e9' * 4096),
}

# docs: the head of wire/saslprep.c
KNOWN = u8('\u1100\u0300\u1161')


@pytest.fixture(scope='module')
def raw_pg(base, template):
    """A server that takes passwords of any bytes, and asks for them."""
    p = Postgres(base, 'raw').copy_from(template)
    p.hba('local all all trust\nhost all postgres 127.0.0.1/32 trust\n'
          'host all all 127.0.0.1/32 scram-sha-256\n')
    p.start()
    p.sql("CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0", database='postgres')
    with p.connect(database='raw') as c:
        for i, text in enumerate(PASSWORDS.values()):
            c.sql('CREATE ROLE u%d LOGIN' % i)
            set_password(c, 'u%d' % i, text)
    yield p
    p.stop(signal.SIGQUIT)


def set_password(c, role, text):
    """The secret that the server makes."""
    quoted = text.replace(b'\\', b'\\\\').replace(b"'", b"\\'")
    c.ask(wire.query(b"ALTER ROLE %s PASSWORD E'%s'" % (role.encode(), quoted)))
    got = c.one("SELECT rolpassword FROM pg_authid WHERE rolname = '%s'" % role)
    assert got.startswith('SCRAM-SHA-256$4096:')
    return got


@pytest.mark.parametrize('name', PASSWORDS)
def test_secret(raw_pg, name):
    with raw_pg.connect(database='raw') as c, Tool() as tool:
        secret = set_password(c, 'u%d' % list(PASSWORDS).index(name), PASSWORDS[name])
        assert tool.one('make', PASSWORDS[name], secret) == secret


def test_known_difference(raw_pg):
    """Composition across combining marks, which Unicode corrected and libidn does not."""
    with raw_pg.connect(database='raw') as c, Tool() as tool:
        c.sql('CREATE ROLE known')
        secret = set_password(c, 'known', KNOWN)
        assert tool.one('make', KNOWN, secret) != secret


def seconds():
    """Characters that join the one before them without being marks."""
    out = set(range(0x1161, 0x1176)) | set(range(0x11a8, 0x11c3))
    for c in range(0x110000):
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and parts[0][0] != '<' and not unicodedata.combining(chr(int(parts[1], 16))):
            out.add(int(parts[1], 16))
    return out


def is_known(text, second):
    """One of those behind a mark."""
    text = unicodedata.normalize('NFKD', text)
    return any(unicodedata.combining(a) and ord(b) in second for a, b in zip(text, text[1:]))


def text_of(rng, pools, second):
    """A few characters of up to three kinds; one in ten is broken."""
    text = KNOWN.decode()
    while is_known(text, second):
        some = rng.sample(pools, rng.randint(1, 3))
        text = ''.join(chr(rng.choice(rng.choice(some))) for _ in range(rng.randint(1, 6)))
    out = text.encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(out))
        out = out[:at] + bytes([rng.randrange(0x80, 0x100)]) + out[at + 1:]
    return out


def test_random(raw_pg):
    u = unicodedata.ucd_3_2_0
    every = [c for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000]
    assigned = [c for c in every if u.category(chr(c)) != 'Cn']
    right = [c for c in assigned if u.bidirectional(chr(c)) in ('R', 'AL')]
    decomposed = [c for c in assigned if u.decomposition(chr(c))]
    special = [0xa0, 0xad, 0x34f, 0x6dd, 0x1680, 0x1806, 0x200b, 0x200d, 0x200e, 0x2028, 0x2060,
               0x2ff0, 0x3000, 0xfe00, 0xfeff, 0xfffd, 0xe0001]
    marks = [c for c in assigned if u.combining(chr(c))]
    pools = [every, assigned, right, right, decomposed, marks, special, range(0x20, 0x7f), range(0xa0, 0x250),
             [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11a8, 0x11c3), 0x300]]
    second = seconds()
    rng = random.Random(int(os.environ.get('SASLPREP_SEED', '1')))
    prepared = 0
    with raw_pg.connect(database='raw') as c, Tool() as tool:
        c.sql('CREATE ROLE anyone')
        n = int(os.environ.get('SASLPREP_TEXTS', '400'))
        for _ in range(n):
            text = text_of(rng, pools, second)
            secret = set_password(c, 'anyone', text)
            assert tool.one('make', text, secret) == secret, text
            prepared += tool.one('prepare', text) != '.'
        c.sql('DROP ROLE anyone')
    assert n < 100 or n / 10 < prepared < n * 9 / 10      # of both kinds, many


# ---- through pgweir --------------------------------------------------------------------

def psql(port, role, text, dbname='app'):
    """libpq's login: who it is there, or what it was told."""
    done = subprocess.run([BIN + '/psql', '-h', '127.0.0.1', '-p', str(port), '-U', role, '-d', dbname, '-w',
                           '-XAtc', 'SELECT current_user'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={b'PGPASSWORD': text, b'PGSSLMODE': b'disable', b'PGCONNECT_TIMEOUT': b'20'},
                          timeout=60, check=False)
    return done.stdout.decode(errors='replace').strip()


@pytest.fixture
def front(weir, raw_pg, tmp_path):
    f = tmp_path / 'users.txt'
    f.write_bytes(b''.join(b'"u%d" "%s"\n' % (i, text.replace(b'"', b'""'))
                           for i, text in enumerate(PASSWORDS.values())))
    os.chmod(tmp_path, 0o755)
    return weir(ini({'app': db(raw_pg)}, auth_type='scram-sha-256', auth_file=f))


def test_login(front, raw_pg):
    """libpq to the server, libpq to pgweir, pgweir to the server."""
    for i, (name, text) in enumerate(PASSWORDS.items()):
        assert psql(raw_pg.port, 'u%d' % i, text) == 'u%d' % i, name
        assert psql(front.port, 'u%d' % i, text) == 'u%d' % i, name


def test_other_forms_log_in_and_others_do_not(front):
    role = {name: 'u%d' % i for i, name in enumerate(PASSWORDS)}
    for name, other in (('composed', 'decomposed'), ('decomposed', 'composed'), ('full width', 'Pwd'),
                        ('soft hyphen', 'pencil'), ('no-break space', 'pen cil')):
        text = PASSWORDS[other] if other in PASSWORDS else other.encode()
        assert psql(front.port, role[name], text) == role[name], name
    for name, text in (('tone mark', u8('x\u0300')), ('latin-1', u8('caf\u00e9')), ('composed', b'cafe'),
                       ('soft hyphen alone', b''), ('hebrew', b'x')):
        if text:
            assert 'password authentication failed' in psql(front.port, role[name], text), name
