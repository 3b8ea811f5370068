"""Differential scripts: startup packets, encodings, violations of the protocol.

Where pgweir must speak itself the places in PostgreSQL's source (file, line,
function) are not compared.

SPDX-License-Identifier: ISC
"""
import struct

from diff import RAW, Script, byte, hello, q, say, x
from wire import (CODE_SSL, bind, cstr, execute, extended, msg, parse, password, query, special,
                  startup, sync, terminate)

# an error that is not the server's has no line in the server's source
NO_SOURCE = [(rb'\0F[\w./]+\0L\d+\0R\w+\0', b'\0')]
SCRIPTS = []

# Not here, because the answers differ on purpose or for good: the NOTICE that an
# application_name is cut; which of two reasons a login is refused for; switches
# other than -c in options, which are refused before the password is asked for.

# ---- logins ------------------------------------------------------------------------------

STARTUPS = {
    'nothing special': {},
    'application_name': {'application_name': 'myself'},
    'application_name with umlauts': {'application_name': 'Grüße'},
    'application_name with a newline': {'application_name': 'a\nb'},
    'client_encoding': {'client_encoding': 'LATIN1'},
    'client_encoding, other spelling': {'client_encoding': 'utf-8'},
    'client_encoding, quoted': {'client_encoding': "'utf8'"},
    'client_encoding, auto': {'client_encoding': 'auto'},
    'client_encoding, unknown': {'client_encoding': 'nonsense'},
    'DateStyle': {'DateStyle': 'German'},
    'datestyle, half of it': {'datestyle': 'dmy'},
    'datestyle, wrong': {'datestyle': 'nonsense'},
    'TimeZone': {'TimeZone': 'Asia/Tokyo'},
    'timezone in small letters': {'timezone': 'asia/tokyo'},
    'timezone, wrong': {'timezone': 'Nowhere/None'},
    'as JDBC does it': {'client_encoding': 'UTF8', 'DateStyle': 'ISO', 'TimeZone': 'Europe/Berlin',
                        'extra_float_digits': '2', 'application_name': 'j'},
    'as psql does it': {'application_name': 'psql', 'client_encoding': 'UTF8'},
    'search_path': {'search_path': 'pg_catalog, public'},
    'statement_timeout': {'statement_timeout': '9000'},
    'a custom setting': {'my.var': 'mine'},
    'an unknown setting': {'nosuchsetting': '1'},
    'a setting for the start only': {'shared_buffers': '1MB'},
    'a setting for superusers': {'log_statement': 'all'},
    'a wrong value': {'work_mem': 'lots'},
    'a read only setting': {'server_version': '1'},
    'options': {'options': '-c work_mem=88kB'},
    'options with --': {'options': '--work_mem=88kB --my.dashes=x'},
    'options with several': {'options': '-c work_mem=88kB  -c  search_path=public,pg_catalog -cmy.x=1'},
    'options with escapes': {'options': '-c my.sp=a\\ b\\\\c'},
    'options with an umlaut': {'options': '-c my.sp=ü'},
    'options, empty': {'options': ''},
    'options, a value twice': {'options': '-c work_mem=88kB -c work_mem=99kB'},
    'options and parameter': {'options': '-c work_mem=88kB', 'work_mem': '99kB'},
    'options, reported': {'options': '-c DateStyle=German -c TimeZone=Asia/Tokyo -c application_name=opt'},
    'options, unknown setting': {'options': '-c nosuchsetting=1'},
    'options, wrong value': {'options': '-c work_mem=lots'},
    'default_transaction_read_only': {'default_transaction_read_only': 'on'},
    'standard_conforming_strings': {'standard_conforming_strings': 'off'},
    'role': {'role': 'diff_role'},
    'role, unknown': {'role': 'nosuchrole'},
    'session_authorization': {'session_authorization': 'app'},
    'session_authorization of another': {'session_authorization': 'other'},
    'an empty value': {'application_name': '', 'search_path': ''},
    'an unknown database': {'database': 'nosuchdb'},
    'an unknown user': {'user': 'nosuchuser'},
    'a user without a name': {'user': ''},
    'no user': {'user': None},
    'replication off': {'replication': 'off'},
    'replication, nonsense': {'replication': 'perhaps'},
    'replication on': {'replication': 'true'},
    'a protocol option': {'_pq_.nosuch': '1'},
    'another user': {'user': 'other'},
}
LOOK = q("SELECT current_user, session_user", 'SHOW work_mem', 'SHOW search_path', 'SHOW application_name',
         'SHOW client_encoding', 'SHOW DateStyle', 'SHOW TimeZone',
         "SELECT nullif(current_setting('my.var', true), ''), nullif(current_setting('my.x', true), ''), nullif(current_setting('my.sp', true), ''), nullif(current_setting('my.dashes', true), '')",
         "SELECT 1::float8 / 3, now()::date = now()::date, '2021-03-04'::date")
for name, params in STARTUPS.items():
    SCRIPTS.append(Script('login: ' + name, LOOK, startup=params, norm=NO_SOURCE))


def raw(name, *steps, **kw):
    SCRIPTS.append(Script('startup: ' + name, *steps, startup=RAW, norm=NO_SOURCE, **kw))


for minor in (1, 2, 9999):
    raw('protocol 3.%d' % minor, hello(proto=(3 << 16) + minor), q('SELECT 1'))
raw('protocol 3.1 with options', hello(proto=(3 << 16) + 1, **{'_pq_.a': '1', '_pq_.b': '2', 'application_name': 'x'}),
    q('SHOW application_name'))
for major in (4, 255):
    raw('protocol %d.0' % major, hello(proto=major << 16, wait='eof'))
raw('SSLRequest', say(special(CODE_SSL)), byte(), hello(), q('SELECT 1'))
raw('SSLRequest twice', say(special(CODE_SSL)), byte(), say(special(CODE_SSL), wait='eof'))
raw('nothing at all', say(b'\0\0\0\0', wait='eof'))
raw('a length of 7', say(struct.pack('!i', 7) + b'\0\3\0', wait='eof'))
raw('a length of 8 and no user', say(struct.pack('!ii', 8, 196608), wait='eof'))
raw('a length of 9, no user', say(struct.pack('!ii', 9, 196608) + b'\0', wait='eof'))
raw('a length of 20000', say(struct.pack('!ii', 20000, 196608) + b'user\0app\0' + b'\0' * 19983, wait='eof'))
raw('a length of 2 GiB', say(struct.pack('!ii', 0x7fffffff, 196608), wait='eof'))
raw('a negative length', say(struct.pack('!ii', -5, 196608), wait='eof'))
raw('no terminator', say(struct.pack('!ii', 17, 196608) + b'user\0app\0', wait='eof'))
raw('bytes behind the terminator', say(struct.pack('!ii', 20, 196608) + b'user\0app\0\0xy', wait='eof'))
raw('a name without a value', say(struct.pack('!ii', 13, 196608) + b'user\0', wait='eof'))
raw('a query first', say(query('SELECT 1'), wait='eof'))
raw('HTTP', say(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', wait='eof'))
raw('an unknown code', say(special(80877105), wait='eof'))
raw('a cancel of nobody', say(special(80877102, struct.pack('!ii', 1, 1)), wait='eof'))
raw('a cancel that is too short', say(special(80877102, b'\0\0\0\1'), wait='eof'))
raw('pipelined behind the startup', hello(wait=0), q('SELECT 1', wait=2))
raw('terminate behind the startup', hello(), say(terminate(), wait='eof'))

# ---- violations -----------------------------------------------------------------------------

VIOLATIONS = {
    'unknown type': msg('@'), 'unknown type y': msg('y', b'abc'), 'zero type': b'\0\0\0\0\4',
    'lower case q': msg('q', cstr('SELECT 1')),
    'startup again': startup(), 'password message': password('secret'), 'a server message': msg('Z', b'I'),
    'length of 3': b'Q\0\0\0\3', 'length of zero': b'S\0\0\0\0', 'negative length': b'Q' + struct.pack('!i', -1),
    'length of 2 GiB': b'Q\x7f\xff\xff\xff',
    'Sync of 20000': b'S' + struct.pack('!i', 20000), 'Terminate with a body': msg('X', b'x'),
    'Bind of 1.2 GiB': b'B' + struct.pack('!i', 1200 << 20),
    'query without a zero': msg('Q', b'SELECT 1'), 'query of nothing': msg('Q'),
    'query with two strings': msg('Q', b'SELECT 1\0SELECT 2\0'),
    'parse of nothing': msg('P'), 'parse without types': msg('P', b'n\0SELECT 1\0'),
    'parse cut in the types': msg('P', b'n\0SELECT 1\0' + struct.pack('!hi', 2, 23)),
    'parse with too much': msg('P', b'\0SELECT 1\0\0\0more'),
    'parse with a negative count': msg('P', b'\0SELECT 1\0\xff\xff'),
    'bind of nothing': msg('B'), 'bind cut in the names': msg('B', b'p'),
    'bind cut in the formats': msg('B', b'\0\0' + struct.pack('!hh', 3, 0)),
    'bind cut in a parameter': msg('B', b'\0\0' + struct.pack('!hhi', 0, 1, 100) + b'xx'),
    'bind with a length of -2': msg('B', b'\0\0' + struct.pack('!hhi', 0, 1, -2)),
    'bind with too much': msg('B', b'\0\0' + struct.pack('!hhh', 0, 0, 0) + b'more'),
    'bind without results': msg('B', b'\0\0' + struct.pack('!hh', 0, 0)),
    'describe of nothing': msg('D'), 'describe without a zero': msg('D', b'Sname'),
    'describe with too much': msg('D', b'S\0\0'),
    'execute of nothing': msg('E'), 'execute without rows': msg('E', b'\0'),
    'execute with too much': msg('E', b'\0\0\0\0\0more'),
    'close of nothing': msg('C'), 'close without a zero': msg('C', b'Sx'), 'sync with a body': msg('S', b'x'),
    'flush with a body': msg('H', b'x'),
    'function call of nothing': msg('F'), 'function call cut': msg('F', struct.pack('!ih', 177, 0)),
    'copy done with a body': msg('c', b'x'),
    'copy fail without a zero': msg('f', b'x'),
}
LOST = ('unknown type', 'unknown type y', 'zero type', 'lower case q', 'startup again', 'a server message',
        'length of 3', 'length of zero', 'negative length',
        'length of 2 GiB', 'Sync of 20000', 'Bind of 1.2 GiB', 'Terminate with a body')
for name, bad in VIOLATIONS.items():
    if name in LOST:
        SCRIPTS += [
            Script('violation: %s' % name, q('SELECT 1'), say(bad, wait='eof'), norm=NO_SOURCE),
            Script('violation in a block: %s' % name, q('BEGIN', 'SELECT 1'), say(bad, wait='eof'), norm=NO_SOURCE),
            Script('violation behind a unit: %s' % name, say(query('SELECT 1'), extended('SELECT 2'), sync(), bad,
                                                             wait='eof'), norm=NO_SOURCE),
        ]
    else:
        one = name.startswith(('query', 'function call', 'sync'))
        quiet = name.startswith('copy')
        tail = () if one or quiet else (sync(),)
        n = 0 if quiet else 1
        SCRIPTS += [
            Script('violation: %s' % name, q('SELECT 1'), say(bad, *tail, wait=n), q('SELECT 2'), norm=NO_SOURCE),
            Script('violation behind a unit: %s' % name, say(query('SELECT 1'), extended('SELECT 2'), sync(), bad,
                                                             *tail, wait=2 + n), q('SELECT 2'), norm=NO_SOURCE),
        ]

# ---- encodings --------------------------------------------------------------------------------

TEXTS = {'LATIN1': 'Grüße', 'LATIN9': 'Preis: 5 €', 'WIN1252': '„Grüße“', 'EUC_JP': '日本語', 'SJIS': '日本語', 'BIG5': '中文',
         'GB18030': '中文', 'KOI8R': 'Привет',
         'UTF8': '世界 😀', 'EUC_KR': '한국어', 'SQL_ASCII': 'plain'}
CODECS = {'WIN1252': 'cp1252', 'LATIN9': 'iso8859-15', 'KOI8R': 'koi8_r', 'SQL_ASCII': 'ascii', 'EUC_JP': 'euc_jp',
          'EUC_KR': 'euc_kr'}
for enc, text in TEXTS.items():
    b = text.encode(CODECS.get(enc, enc.lower()))
    sql = b"SELECT '" + b + b"' AS \"" + b + b'", length(\'' + b + b"')"
    SCRIPTS += [
        Script('encoding: %s' % enc, q("SET client_encoding = '%s'" % enc), q(sql),
               x(parse(sql, b), bind([], b), execute()), q(b'SELECT ' + b),
               q('RESET client_encoding', "SELECT '%s'" % text)),
        Script('encoding at startup: %s' % enc, q(sql), x(parse('SELECT $1::text, length($1::text)'), bind([b]),
                                                          execute()), q('RESET ALL'), q(sql), q('DISCARD ALL'), q(sql),
               startup={'client_encoding': enc}),
    ]
SCRIPTS += [
    Script('encoding: a letter that is not there', q("SET client_encoding = 'LATIN1'", "SELECT U&'\\4e16'",
                                                     'SELECT 1')),
    Script('encoding: a column name that is not there', q('CREATE TABLE u ("世" int)'),
           q("SET client_encoding = 'LATIN1'"), q('TABLE u'), q('SELECT 1'), setup=''),
    Script('encoding: invalid bytes', q(b"SELECT '\xff'"), q(b"SELECT '\xc3'"), q(b"SELECT '\xf0\x9f\x98'"),
           q('SELECT 1')),
    Script('encoding: an error message in it', q("SET client_encoding = 'LATIN1'"), q(b'SELECT * FROM "Gr\xfc\xdfe"'),
           q("DO $$BEGIN RAISE NOTICE '%', chr(252); END$$")),
    Script('encoding: changed in a batch', x(extended("SET client_encoding = 'LATIN1'"), parse("SELECT chr(252)"),
                                             bind(), execute(), extended('RESET client_encoding'),
                                             extended('SELECT chr(252)'))),
    Script('encoding: changed in one write', q("SET client_encoding = 'LATIN1'", 'SELECT chr(252)',
                                               'RESET client_encoding', 'SELECT chr(252)')),
    Script('encoding: rolled back', q('BEGIN', "SET client_encoding = 'LATIN1'", 'SELECT chr(252)', 'ROLLBACK',
                                      'SELECT chr(252)')),
    Script('encoding: with set names', q("SET NAMES 'LATIN1'", 'SELECT chr(252)', 'SET NAMES DEFAULT',
                                         'SELECT chr(252)')),
    Script('encoding: a prepared statement goes along', x(parse("SELECT chr(252) || $1::text", 's1')),
           q("SET client_encoding = 'LATIN1'"), x(bind([b'\xfc'], 's1'), execute()),
           q('RESET client_encoding'), x(bind(['ü'], 's1'), execute())),
    Script('encoding: of two clients', q('SELECT chr(252)'), q('SELECT chr(252)', conn='b'),
           q(b"SELECT '\xfc'", conn='b'), q("SELECT 'ü'"),
           others={'b': {'client_encoding': 'LATIN1'}}),
]
